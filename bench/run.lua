-- SPDX-License-Identifier: MIT
--
-- run.lua: one private server; for each question all contestants in turn for several rounds; what each costs as ratios.
--
-- Run by bench/run.sh, which says in CONTESTANTS ("name=command;…") who takes part, and in ONLY what is asked: names of
-- files in bench/questions (README.md says what is in them). It fails where two contestants did not read the same values.

local fastpg = require "fastpg"

local results = dofile "bench/results.lua"

local QUICK = os.getenv "QUICK"
local ROUNDS = tonumber(os.getenv "ROUNDS") or QUICK and 3
local SCALE = tonumber(os.getenv "SCALE") or QUICK and 0.2 or 1
local PROGRESS = os.getenv "PROGRESS"
local CASES = results.dir .. "/%s.cases" -- of a question
local MANY = math.max(100, math.floor(10000 * SCALE))

-- ---- contestants ----------------------------------------------------------------------------

local function contestants(tcp)
  local list = {}
  for name, command in os.getenv("CONTESTANTS"):gmatch "([^;=]+)=([^;]+)" do
    list[#list + 1] = { name = name, command = tcp .. command }
  end
  return list
end

local function takes_part(contestant, question)
  if not question.who then return true end
  for _, name in ipairs(question.who) do
    if contestant.name:match "^%S+" == name then return true end
  end
  return false
end

-- ---- cases ----------------------------------------------------------------------------------

local KEYS = { "name", "kind", "sql", "args", "cols", "count", "n", "tasks", "source", "before", "check", "check_cols", "way",
  "table", "names", "database" }

local function filled(text, case)
  return (text:gsub("{n}", tostring(case.n)):gsub("{many}", tostring(MANY)):gsub("%s+", " "))
end

local function write_cases(name, question)
  local f = assert(io.open(CASES:format(name), "w"))
  for _, case in ipairs(question.cases) do
    local words = {}
    case.count = math.max(1, math.floor(case.count * SCALE))
    if case.tasks then case.count = math.max(case.count, math.min(case.tasks, 1000)) end
    if case.scales then case.n = math.max(1000, math.floor(case.n * (QUICK and SCALE / 4 or SCALE))) end
    case.title = filled(case.title, case)
    for _, key in ipairs(KEYS) do
      if case[key] ~= nil then words[#words + 1] = key .. "=" .. filled(("%s"):format(case[key]), case) end
    end
    f:write(table.concat(words, "\t"), "\n")
  end
  f:close()
  return CASES:format(name)
end

-- ---- measuring ------------------------------------------------------------------------------

local function prepare(db, name, question)
  db:execute('CREATE DATABASE "bench_' .. name .. '"')
  local server = tostring(db):match "^.*/"
  local uri = server .. "bench_" .. name
  local own = fastpg.connect(uri)
  if question.setup then own:execute(question.setup) end
  own:close()
  for database, sql in pairs(question.databases or {}) do
    db:execute('CREATE DATABASE "' .. database .. '"')
    local other = fastpg.connect(server .. database)
    other:execute(filled(sql, {}))
    other:close()
  end
  return uri
end

-- Runs one contestant once; the costs go into `found`, the checksum of each case must be that of the first who had one.
local function run(contestant, orders, found, sums, unchecked)
  local pipe = assert(io.popen((unchecked and "BENCH_UNCHECKED=1 " or "") .. contestant.command .. " " .. orders))
  for line in pipe:lines() do
    local case, cpu, wall, sum, rows = line:match "^([^\t]*)\t(%S+)\t(%S+)\t(%S+)\t(%S+)$"
    if case then
      sum = sum .. " of " .. rows .. " rows"
      local first = sums[case] or { sum = sum, who = contestant.name }
      sums[case] = first
      if first.sum ~= sum and not unchecked then
        error(("%s: %s read %s, %s read %s"):format(case, first.who, first.sum, contestant.name, sum), 0)
      end
      found[case] = found[case] or {}
      local costs = found[case][contestant.name] or { cpu = {}, wall = {} }
      found[case][contestant.name] = costs
      costs.cpu[#costs.cpu + 1], costs.wall[#costs.wall + 1] = tonumber(cpu), tonumber(wall)
    elseif not line:find "\tskip$" then error(contestant.name .. ": " .. line, 0)
    end
  end
  if not pipe:close() then error(contestant.name .. " failed: " .. contestant.command, 0) end
end

-- ---- showing --------------------------------------------------------------------------------

local ROW = "  %-16s %10s %10s   %-20s %-20s %-20s"

local function shown(median, least, most)
  if not median then return "-" end
  return ("%s (%s-%s)"):format(results.short(median), results.short(least), results.short(most))
end

local function show_case(case, cases, list, rounds, unit)
  local costs = cases[case.name]
  if not costs then return end
  print(("\n%s  (%d x %d)"):format(case.title, rounds, case.count))
  print((ROW:format("", unit or "us CPU", "us wall", "CPU / libpq", "CPU / asyncpg", "wall / asyncpg"):gsub("%s+$", "")))
  for _, contestant in ipairs(list) do
    local mine = costs[contestant.name]
    if mine then
      print((ROW:format(contestant.name, results.short((results.spread(mine.cpu))), results.short((results.spread(mine.wall))),
        shown(results.ratio(mine, costs.libpq, "cpu")), shown(results.ratio(mine, costs.asyncpg, "cpu")),
        shown(results.ratio(mine, costs.asyncpg, "wall"))):gsub("%s+$", "")))
    end
  end
  for _, target in ipairs(case.targets or {}) do
    for _, contestant in ipairs(list) do
      if contestant.name:find "^fastpg" then
        local median, least, most, limit = results.judge(cases, case, target, contestant.name)
        if median then
          print(("  %s %s: %s of %s, to be %s: %s"):format(contestant.name, target.wall and "wall" or "CPU",
            shown(median, least, most), target.cpu and "us" or target.case or target[1], results.short(limit),
            median <= limit and "reached" or "NOT reached"))
        end
      end
    end
  end
end

-- ---- the run --------------------------------------------------------------------------------

local chosen = {}
for name in os.getenv("ONLY"):gmatch "[%w_]+" do chosen[#chosen + 1] = name end

-- LuaSocket, and pgmoon by it, knows TCP only: a port that no other server has.
local pipe = io.popen "echo $$"
local port = 20000 + pipe:read "*n" % 10000
pipe:close()
local pg = fastpg.cluster{ settings = { port = port, listen_addresses = os.getenv "PGMOON" and "127.0.0.1" or "",
  max_connections = 200 } }
local db = pg:connect()
local all_contestants = contestants(("BENCH_TCP='%d %s %s' "):format(pg.conninfo.port, pg.conninfo.user, pg.conninfo.password))

io.stdout:setvbuf "line"
print "Client CPU (user and system) per query, median of rounds; ratios round by round: median (least-greatest)."
for _, name in ipairs(chosen) do
  local question = dofile("bench/questions/" .. name .. ".lua")
  local uri = prepare(db, name, question)
  local orders = ("'%s' %s"):format(uri, write_cases(name, question))
  local list, found, sums = {}, {}, {}
  for _, contestant in ipairs(all_contestants) do
    if takes_part(contestant, question) then list[#list + 1] = contestant end
  end
  local rounds = ROUNDS or question.rounds or 9
  for round = 1, rounds do
    if PROGRESS then io.stderr:write(("%s: round %d of %d   \r"):format(name, round, rounds)) end
    for i = 1, #list do -- each round begins with another one
      run(list[(i + round - 2) % #list + 1], orders, found, sums, round > 1)
    end
  end
  if PROGRESS then io.stderr:write((" "):rep(40), "\r") end
  print("\n== " .. name .. ": " .. question.title)
  for _, case in ipairs(question.cases) do show_case(case, found, list, rounds, question.unit) end
  local file = SCALE ~= 1 and results.scaled or nil
  local all = results.read(file) -- of other questions
  all[name] = found
  results.write(all, file)
end
db:close()
pg:stop{ mode = "immediate" } -- millions of rows that nobody wants: no checkpoint
pg:close()
