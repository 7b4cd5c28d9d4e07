-- SPDX-License-Identifier: MIT
--
-- table.lua: writes what was measured last into the pages.
--
--   lua bench/table.lua PAGE ...        between the lines <!-- bench NAME --> and <!-- end of bench -->
--
-- Each NAME is a function below. A table whose question was not measured (build/bench/results.tsv) stays as it is.

local results = dofile "bench/results.lua"

local all = results.read()
local short = results.short

local function question(name)
  local q = dofile("bench/questions/" .. name .. ".lua")
  for _, case in ipairs(q.cases) do case.title = case.title:gsub("{many}", "10,000") end
  return q
end

local function row(lines, cells) lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |" end

local function head(lines, cells)
  row(lines, cells)
  lines[#lines + 1] = "| --- " .. ("| ---: "):rep(#cells - 1) .. "|"
end

-- A number with three digits that count: 12345.6 is 12,300.
local function rounded(v)
  if not v then return "-" end
  if v < 10 then return ("%.1f"):format(v) end
  local unit = 10 ^ math.max(0, math.floor(math.log(v) / math.log(10) + 1e-9) - 2)
  local text = ("%.0f"):format(math.floor(v / unit + 0.5) * unit)
  return (text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local tables = {}

local CLIENTS = {
  { "libpq", "raw libpq (C)" }, { "asyncpg", "asyncpg" }, { "fastpg lua5.4", "**fastpg**, Lua 5.4" },
  { "fastpg luajit", "**fastpg**, LuaJIT" }, { "psycopg", "psycopg 3" }, { "pgmoon luajit", "pgmoon, LuaJIT" },
  { "luasql lua5.4", "LuaSQL" }, { "luadbi lua5.4", "LuaDBI" },
}

-- The contestants that this question has figures of.
local function present(measured)
  local list = {}
  for _, client in ipairs(CLIENTS) do
    for _, costs in pairs(measured) do
      if costs[client[1]] then
        list[#list + 1] = client
        break
      end
    end
  end
  return list
end

-- A line a case, a column a client: each as a ratio to `base`, whose own column has µs; without one all have µs.
local function compared(name, base, key)
  local measured = all[name]
  if not measured then return nil end
  local clients, lines = present(measured), {}
  local titles = { "" }
  for i, client in ipairs(clients) do titles[i + 1] = client[1] == base and client[2] .. ", µs" or client[2] end
  head(lines, titles)
  for _, case in ipairs(question(name).cases) do
    local costs = measured[case.name] or {}
    local cells = { case.title }
    for i, client in ipairs(clients) do
      local mine = costs[client[1]]
      if client[1] == base or not base then cells[i + 1] = rounded((results.spread(mine and mine[key])))
      else cells[i + 1] = short((results.ratio(mine, costs[base], key)))
      end
    end
    row(lines, cells)
  end
  return lines
end

function tables.queries() return compared("queries", "asyncpg", "cpu") end
function tables.time() return compared("queries", "asyncpg", "wall") end
function tables.connections() return compared("connections", "asyncpg", "wall") end
function tables.tables() return compared("tables", "libpq", "cpu") end
function tables.stream() return compared("stream", "libpq", "cpu") end
function tables.bulk() return compared("bulk", "asyncpg", "cpu") end
function tables.ways() return compared("ways", nil, "cpu") end
function tables.start() return compared("start", nil, "cpu") end
function tables.held() return compared("held", nil, "cpu") end
function tables.growth() return compared("growth", nil, "cpu") end

function tables.nginx()
  if not all.nginx then return nil end
  local lines = {}
  head(lines, { "page", "16 clients: requests/s", "CPU of the worker, µs", "64 clients: requests/s", "CPU of the worker, µs" })
  for _, page in ipairs{ { "libpq", "raw libpq by FFI, blocking" }, { "fastpg", "**fastpg**" }, { "pgmoon", "pgmoon" } } do
    local cells = { page[2] }
    for _, clients in ipairs{ "16", "64" } do
      local costs = (all.nginx["clients" .. clients] or {})[page[1]]
      cells[#cells + 1] = rounded(costs and 1e6 / results.spread(costs.wall))
      cells[#cells + 1] = rounded(costs and results.spread(costs.cpu))
    end
    row(lines, cells)
  end
  return lines
end

local function add_target(cells, figure, limit, reached)
  cells[#cells + 1] = figure and (reached and "%s" or "**%s**"):format(short(figure)) or "-"
  cells[#cells + 1] = limit and short(limit) or "-"
end

-- What each target of each question came to; bold where it was missed.
function tables.targets()
  local lines = {}
  head(lines, { "", "Lua 5.4", "to be", "LuaJIT", "to be" })
  for _, name in ipairs{ "queries", "connections", "tables", "stream", "bulk", "start" } do
    for _, case in ipairs(all[name] and question(name).cases or {}) do
      for _, target in ipairs(case.targets or {}) do
        local base = target.case == "few" and "among 10 tables" or target.case and "db:q" or target[1]
        local what = target.cpu and "CPU, µs" or (target.wall and "time" or "CPU") .. " / " .. base
        local cells = { ("%s%s: %s"):format(case.title, case.tasks and ", ten tasks" or "", what) }
        for _, who in ipairs{ "fastpg lua5.4", "fastpg luajit" } do
          local median, _, _, limit = results.judge(all[name], case, target, who)
          add_target(cells, median, limit, median and median <= limit)
        end
        row(lines, cells)
      end
    end
  end
  for _, target in ipairs(all.nginx and results.nginx_targets or {}) do
    local costs = all.nginx["clients" .. target.clients]
    local ratio = costs and results.ratio(costs[target.other], costs.fastpg, target.key)
    local cells = { ("nginx, %s clients: of %s's %s, at least"):format(target.clients, target.other, target.what), "-", "-" }
    add_target(cells, ratio, target.least, ratio and ratio >= target.least)
    row(lines, cells)
  end
  return #lines > 2 and lines or nil
end

-- What a program of bench/ printed, on both Luas.
local function printed(name)
  local lines = { "```text" }
  for _, lua in ipairs{ "lua5.4", "luajit" } do
    local f = io.open(("%s/%s-%s"):format(results.dir, name, lua))
    if not f then return nil end
    if #lines > 1 then lines[#lines + 1] = "" end
    for line in f:lines() do lines[#lines + 1] = (line:gsub("%s+$", "")) end
    f:close()
  end
  lines[#lines + 1] = "```"
  return #lines > 3 and lines or nil
end

function tables.frames() return printed "frames" end
function tables.memory() return printed "memory" end

-- What was measured, in one line.
function tables.versions()
  local f = io.open(results.dir .. "/versions")
  if not f then return nil end
  local words = {}
  for line in f:lines() do words[#words + 1] = line end
  f:close()
  return { "Measured with " .. table.concat(words, ", ") .. "; by a unix socket (pgmoon, and the pages of nginx: TCP)." }
end

-- ---- pages ----------------------------------------------------------------------------------

local function write_page(path)
  local f = assert(io.open(path))
  local text = f:read "*a"
  f:close()
  text = text:gsub("(<!%-%- bench (%l+) %-%->\n)(.-)(<!%-%- end of bench %-%->)", function(open, name, old, close)
    if not tables[name] then error(path .. ": there is no table " .. name, 0) end
    local lines = tables[name]()
    if lines then return open .. "\n" .. table.concat(lines, "\n") .. "\n\n" .. close end
    print(("%s: %s was not measured, and stays as it is"):format(path, name))
    return open .. old .. close
  end)
  f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
end

for _, path in ipairs(arg) do write_page(path) end
