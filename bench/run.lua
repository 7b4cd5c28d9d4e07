-- SPDX-License-Identifier: MIT
--
-- run.lua: one private server, all contestants in turn for several rounds, one table of medians.
--
-- A contestant is a program: `program URI case=count ...` prints "case cpu_us wall_us" per query.
-- Run by bench/run.sh, which says in CONTESTANTS ("name=command;…") who takes part.

local fastpg = require "fastpg"

local ROUNDS = tonumber(os.getenv("ROUNDS")) or 5
local SCALE = tonumber(os.getenv("SCALE")) or 1

-- name, what it is, queries a round
local CASES = {
  { "select1", "SELECT 1+1", 5000 },
  { "artist", "artist[1] (one row by primary key)", 5000 },
  { "ints", "1,000 rows of one int", 400 },
  { "pg_type", "617 rows x 12 columns of pg_type", 100 },
}

-- A copy of pg_type with a size that does not depend on the server's version.
local SETUP = [[
CREATE TABLE bench_type AS
  SELECT oid, typname, typnamespace, typowner, typlen, typbyval, typtype, typcategory, typispreferred,
         typisdefined, typdelim, typrelid
  FROM (SELECT * FROM pg_type UNION ALL SELECT * FROM pg_type) twice LIMIT 617;
ANALYZE;
]]

local function read_all(path)
  local f = assert(io.open(path))
  local text = f:read("*a")
  f:close()
  return text
end

local function contestants()
  local list = {}
  for name, command in os.getenv("CONTESTANTS"):gmatch("([^;=]+)=([^;]+)") do
    list[#list + 1] = { name = name, command = command, cpu = {}, wall = {} }
  end
  return list
end

local function cases()
  local only, list = os.getenv("ONLY"), {}
  for _, case in ipairs(CASES) do
    if not only or only == case[1] then
      list[#list + 1] = { name = case[1], title = case[2], count = math.max(1, math.floor(case[3] * SCALE)) }
    end
  end
  return list
end

local function run(contestant, uri, orders)
  local pipe = assert(io.popen(("%s '%s' %s"):format(contestant.command, uri, orders)))
  for line in pipe:lines() do
    local case, cpu, wall = line:match("^(%S+) (%S+) (%S+)$")
    if not case then error(contestant.name .. ": " .. line) end
    for key, value in pairs{ cpu = cpu, wall = wall } do
      local list = contestant[key][case] or {}
      contestant[key][case] = list
      list[#list + 1] = tonumber(value)
    end
  end
  if not pipe:close() then error(contestant.name .. " failed: " .. contestant.command) end
end

local function median(list)
  if not list then return nil end
  table.sort(list)
  local middle = math.floor(#list / 2)
  return #list % 2 == 1 and list[middle + 1] or (list[middle] + list[middle + 1]) / 2
end

local function ratio(value, base)
  return value and base and ("%.2f"):format(value / base) or "-"
end

local ROW = "  %-16s %10s %10s %10s %12s"

local function report(case, list)
  print(("%s  (median of %d x %d queries)"):format(case.title, ROUNDS, case.count))
  print(ROW:format("", "us cpu", "us wall", "/ libpq", "/ asyncpg"))
  local base = {}
  for _, c in ipairs(list) do base[c.name] = median(c.cpu[case.name]) end
  for _, c in ipairs(list) do
    local cpu = base[c.name]
    print(ROW:format(c.name, ("%.1f"):format(cpu), ("%.1f"):format(median(c.wall[case.name])),
      ratio(cpu, base.libpq), ratio(cpu, base.asyncpg)))
  end
  print("")
end

local pg = fastpg.cluster()
local db = pg:connect()
db:execute(read_all("examples/music.sql"))
db:execute(SETUP)
local uri = tostring(db)
db:close()

local chosen, orders = cases(), {}
for i, case in ipairs(chosen) do orders[i] = case.name .. "=" .. case.count end
local list = contestants()
for round = 1, ROUNDS do
  io.stderr:write(("round %d of %d\r"):format(round, ROUNDS))
  for i = 1, #list do -- each round begins with another one
    run(list[(i + round - 2) % #list + 1], uri, table.concat(orders, " "))
  end
end
io.stderr:write("\n")
print("client CPU per query (user and system), over a unix socket\n")
for _, case in ipairs(chosen) do report(case, list) end
pg:close()
