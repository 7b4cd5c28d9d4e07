-- SPDX-License-Identifier: MIT
--
-- luasql_bench.lua: the cases of bench/README.md in LuaSQL, where it is installed.
--
--   lua5.4 luasql_bench.lua URI case=count ...     prints "case cpu_us wall_us"
--
-- LuaSQL has neither parameters nor prepared statements: every value is text, put into the SQL,
-- and the server plans each statement again (its time is not in these figures).

local driver = require "luasql.postgres"
local clock = require("fastpg.load").clock

local env = driver.postgres()
local db = assert(env:connect(arg[1]))

local function each_row(sql, use)
  local cursor = assert(db:execute(sql))
  local row = cursor:fetch({}, "a")
  while row do
    use(row)
    row = cursor:fetch({}, "a")
  end
  cursor:close()
end

local function nothing() end

local cases = {}

function cases.select1()
  each_row("SELECT 1+1 AS n", function(row) return tonumber(row.n) end)
end

function cases.artist()
  each_row("SELECT * FROM artist WHERE artist_id = '" .. db:escape(tostring(1)) .. "'",
    function(row) nothing(tonumber(row.artist_id), row.name) end)
end

local sum = 0

function cases.ints()
  each_row("SELECT i FROM generate_series(1, 1000) i", function(row) sum = sum + tonumber(row.i) end)
end

function cases.pg_type()
  each_row([[SELECT oid, typname, typnamespace, typowner, typlen, typbyval, typtype, typcategory,
    typispreferred, typisdefined, typdelim, typrelid FROM bench_type]], function(row)
    nothing(tonumber(row.oid), row.typname, tonumber(row.typnamespace), tonumber(row.typowner),
      tonumber(row.typlen), row.typbyval == "t")
    nothing(row.typtype, row.typcategory, row.typispreferred == "t", row.typisdefined == "t", row.typdelim,
      tonumber(row.typrelid))
  end)
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
env:close()
