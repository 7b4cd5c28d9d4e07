-- SPDX-License-Identifier: MIT
--
-- fastpg_bench.lua: the cases of bench/README.md in fastpg, on the Lua that runs it.
--
--   lua5.4 fastpg_bench.lua URI case=count ...     prints "case cpu_us wall_us"

local fastpg = require "fastpg"
local clock = require("fastpg.load").clock

local db = fastpg.connect(arg[1])
local artist = db.t.artist

local cases = {}

function cases.select1() return db:item("SELECT 1+1") end

function cases.artist()
  local row = artist[1]
  return row.artist_id, row.name
end

local sum = 0

function cases.ints()
  for _, row in ipairs(db:q("SELECT i FROM generate_series(1, 1000) i")) do sum = sum + row.i end
end

local function use() end

function cases.pg_type()
  local rows = db:q([[SELECT oid, typname, typnamespace, typowner, typlen, typbyval, typtype, typcategory,
    typispreferred, typisdefined, typdelim, typrelid FROM bench_type]])
  for _, row in ipairs(rows) do
    use(row.oid, row.typname, row.typnamespace, row.typowner, row.typlen, row.typbyval)
    use(row.typtype, row.typcategory, row.typispreferred, row.typisdefined, row.typdelim, row.typrelid)
  end
end

local function times(case, count)
  for _ = 1, count do case() end
end

for i = 2, #arg do
  local name, count = arg[i]:match("^(.-)=(%d+)$")
  local case = cases[name]
  count = tonumber(count)
  times(case, math.floor(count / 10) + 1)
  local cpu, wall = os.clock(), clock()
  times(case, count)
  cpu, wall = os.clock() - cpu, clock() - wall
  print(("%s %.3f %.3f"):format(name, cpu * 1e6 / count, wall * 1e6 / count))
end
db:close()
