-- SPDX-License-Identifier: MIT
--
-- frames.lua: how long does a call hold the loop?
--
--   lua5.4 bench/frames.lua [scenario ...]      a private server; QUICK=1: a tenth of the work, REPEAT=3
--
-- Each scenario runs as a task of the stepper; printed is the CPU time of the calling thread that one fastpg.step took, so
-- that neighbours on the machine change nothing: the worst, the 99th percentile, how many there were. "own" is measured
-- with Lua's collector stopped, "all" with it running: what lies between is Lua's own (a list of a million tables is
-- marked in one go), and grows with what the program holds, whoever made it.

local core = require "fastpg.core"
local fastpg = require "fastpg"

local QUICK = os.getenv "QUICK"
local REPEAT = tonumber(os.getenv "REPEAT") or 3
local function n(count) return math.floor(QUICK and count / 10 or count) end

local pg = fastpg.cluster()
local admin = pg:connect()
local db -- of the scenario

-- ---- the scenarios: { name, title, run, prepare } ------------------------------------------------------------------

local scenarios = {}
local function scenario(name, title, run, prepare)
  scenarios[#scenarios + 1] = { name = name, title = title, run = run, prepare = prepare }
end

local ROWS = "SELECT g AS a, g::text AS b FROM generate_series(1, ?::int) g"

scenario("rows", "q: 1,000,000 rows of two columns", function()
  local rows = db:q(ROWS, n(1000000))
  assert(#rows == n(1000000) and rows[#rows].b == tostring(#rows))
end)

scenario("rows_300k", "q: 300,000 rows of two columns", function()
  assert(#db:q(ROWS, n(300000)) == n(300000))
end)

scenario("arrays", "arrays: 300,000 rows of two columns", function()
  assert(#db:arrays(ROWS, n(300000)) == n(300000))
end)

scenario("first", "first: of 300,000 rows", function()
  assert(db:first(ROWS, n(300000)).a == 1)
end)

scenario("dropped", "execute: 300,000 rows that nobody wants", function()
  assert(db:execute(ROWS, n(300000)) == "SELECT " .. n(300000))
end)

scenario("wide", "q: 2,000 rows of 300 columns", function()
  assert(#db:q(("SELECT %s FROM generate_series(1, ?::int) g"):format(("g, "):rep(300):gsub("g, ", (function()
    local i = 0
    return function()
      i = i + 1
      return "g AS c" .. i .. (i < 300 and ", " or "")
    end
  end)())), n(2000)) == n(2000))
end)

scenario("each", "each: 1,000,000 rows", function()
  local count = 0
  for _ in db:each(ROWS, n(1000000)) do count = count + 1 end
  assert(count == n(1000000))
end)

scenario("each_left", "each: left after 10 of 1,000,000 rows", function()
  local count = 0
  db:each(ROWS, n(1000000), function()
    count = count + 1
    return count < 10
  end)
end)

scenario("cursor", "each in a transaction: 100,000 rows", function()
  local count = 0
  db:transaction(function(tx)
    for _ in tx:each(ROWS, n(100000)) do count = count + 1 end
  end)
  assert(count == n(100000))
end)

scenario("pipeline", "pipeline: 2,000 statements, 100 rows each", function()
  local results = db:pipeline(function(p)
    for _ = 1, n(2000) do p:q("SELECT g FROM generate_series(1, 100) g") end
  end)
  assert(#results == n(2000) and #results[1] == 100)
end)

scenario("executes", "pipeline: 1,000 executes", function()
  local results = db:pipeline(function(p)
    for i = 1, n(1000) do p:execute("INSERT INTO executed VALUES (?, ?)", i, "x") end
  end)
  assert(#results == n(1000))
end, function() admin:execute "DROP TABLE IF EXISTS executed; CREATE TABLE executed (a int, b text)" end)

local objects
scenario("inserts", "inserts: 50,000 rows with a JSON object", function()
  assert(#db.t.documents:inserts(objects) == n(50000))
end, function()
  admin:execute "DROP TABLE IF EXISTS documents; CREATE TABLE documents (id int primary key, doc jsonb)"
  if objects then return end
  objects = {}
  for i = 1, n(50000) do objects[i] = { id = i, doc = { name = "n" .. i, tags = { "a", "b", i }, at = { x = i, y = 1.5 } } } end
end)

scenario("copy", "copy: 200,000 rows", function()
  local i = 0
  db.t.points:copy(function()
    i = i + 1
    return i <= n(200000) and { id = i, name = "n" .. i } or nil
  end)
end, function() admin:execute "DROP TABLE IF EXISTS points; CREATE TABLE points (id int primary key, name text)" end)

scenario("json_read", "item: one jsonb value of 10 MB", function()
  local list = db:item("SELECT jsonb_agg(jsonb_build_object('id', g, 'name', 'n' || g, 'tags', jsonb_build_array(1, 2.5, 'x'))) "
    .. "FROM generate_series(1, ?::int) g", n(200000))
  assert(#list == n(200000) and list[1].tags[3] == "x")
end)

scenario("json_rows", "q: 20 rows with a jsonb value of 500 kB", function()
  local rows = db:q("SELECT r, (SELECT jsonb_object_agg('k' || g, g) FROM generate_series(1, 30000) g) AS doc "
    .. "FROM generate_series(1, ?::int) r", n(20))
  assert(#rows == n(20) and rows[1].doc.k30000 == 30000)
end)

local document
scenario("json_write", "item: a jsonb argument of 10 MB", function()
  assert(db:item("SELECT jsonb_array_length(?::jsonb)", document) == n(200000))
end, function()
  if document then return end
  document = {}
  for i = 1, n(200000) do document[i] = { id = i, name = "n" .. i, tags = { 1, 2.5, "x" } } end
end)

scenario("array_read", "item: an array of 1,000,000 ints", function()
  assert(#db:item("SELECT array_agg(g) FROM generate_series(1, ?::int) g", n(1000000)) == n(1000000))
end)

scenario("array_text", "item: an array of 300,000 texts", function()
  assert(#db:item("SELECT array_agg('n' || g) FROM generate_series(1, ?::int) g", n(300000)) == n(300000))
end)

local list
scenario("array_write", "item: an argument of 1,000,000 ints", function()
  assert(db:item("SELECT cardinality(?::int[])", list) == n(1000000))
end, function()
  if list then return end
  list = {}
  for i = 1, n(1000000) do list[i] = i end
end)

scenario("text_10", "item: a text of 10 MB", function()
  assert(#db:item("SELECT repeat('x', ?::int)", n(10000000)) == n(10000000))
end)

scenario("text_100", "item: a text of 100 MB", function()
  assert(#db:item("SELECT repeat('x', ?::int)", n(100000000)) == n(100000000))
end)

local text
scenario("text_out", "item: an argument of 10 MB", function()
  assert(db:item("SELECT length(?::text)", text) == n(10000000))
end, function() text = ("x"):rep(n(10000000)) end)

scenario("catalog", "10,000 tables: db:tables()", function()
  assert(#db:tables() >= n(10000))
end, function()
  admin:execute(("DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE 'CREATE TABLE IF NOT EXISTS many_' || i || ' (id int primary key)'; "
    .. "IF i %% 500 = 0 THEN COMMIT; END IF; END LOOP; END $$"):format(n(10000)))
end)

scenario("near_name", "10,000 tables: a name that is none of them", function()
  local ok, err = pcall(function() return db.t.many_x[1] end)
  assert(not ok and tostring(err):find "many_")
end)

scenario("gather", "gather: 2,000 statements, a pool of 10", function()
  local list_of = {}
  for i = 1, n(2000) do list_of[i] = function() return db:item("SELECT ?::int", i) end end
  local results = { fastpg.gather((table.unpack or unpack)(list_of)) } -- luacheck: ignore
  assert(results[n(2000)] == n(2000))
end)

scenario("close", "close: a pool of 90 connections", function()
  local pool = pg:create_pool({}, { max_size = 90, min_size = 90 })
  pool:close()
end)

-- ---- measuring -----------------------------------------------------------------------------------------------------

local function quantile(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))]
end

-- The CPU time of each step until the task has ended.
local function measure(run)
  db = pg:create_pool({}, { max_size = 10 })
  local task, steps = fastpg.spawn(run), {}
  repeat
    local before = core.cpu_clock()
    fastpg.step(0)
    local took = core.cpu_clock() - before
    steps[#steps + 1] = took
    if took < 0.0001 then core.poll(-1, "r", 0.0005) end
  until task.done
  db:close()
  if task.error then error(task.error, 0) end
  table.sort(steps)
  return steps
end

local ROW = "%-44s %9s %9s %9s %9s %7s"

-- An interrupt may fall into any step, a call that takes long does so every time: the best of the repetitions' worst.
local function best(s, gc)
  local found
  for _ = 1, REPEAT do
    if s.prepare then s.prepare() end
    collectgarbage "restart"
    collectgarbage()
    collectgarbage()
    collectgarbage(gc)
    local steps = measure(s.run)
    if not found or steps[#steps] < found[#found] then found = steps end
  end
  collectgarbage "restart"
  return found
end

local function report(s)
  local own, all = best(s, "stop"), best(s, "restart")
  local function ms(seconds) return ("%.2f"):format(seconds * 1000) end
  print(ROW:format(s.title, ms(own[#own]), ms(quantile(own, 0.99)), ms(all[#all]), ms(quantile(all, 0.99)), #all))
  io.stdout:flush()
end

local wanted = {}
for _, name in ipairs(arg) do wanted[name] = true end
print(_VERSION .. (rawget(_G, "jit") and " (LuaJIT)" or "") .. ", CPU milliseconds of one step")
print(ROW:format("", "own worst", "99 %", "all worst", "99 %", "steps"))
for _, s in ipairs(scenarios) do
  if next(wanted) == nil or wanted[s.name] then report(s) end
end
admin:close()
pg:close()
