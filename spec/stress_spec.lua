-- SPDX-License-Identifier: MIT
--
-- stress: every step of a statement, for every codec, with an allocator that fails at each of its
-- allocations in turn, and with a collector that never rests.  What is left must work.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local alloc, why_not = require("spec.support.alloc")()

local null = fastpg.null

-- { what, SQL, arguments }: the codecs both ways, in both forms.
local statements = {
  { "integers", "SELECT $1::int, $2::bigint, $3::smallint, $4::oid", 1, 2, 3, 4 },
  { "floats and booleans", "SELECT $1::float8, $2::float4, $3::bool", 1.5, 0.25, true },
  { "text and bytes", "SELECT $1::text, $2::bytea, $3::uuid, $4::text", ("x"):rep(300), "\1bytes\127", "00000000-0000-0000-0000-000000000001", 5 },
  { "numeric", "SELECT $1::numeric, $2::numeric", fastpg.numeric "12345678901234567890.5", 7 },
  { "dates and times", "SELECT $1::date, $2::timestamptz, $3::interval, $4::timetz, $5::timestamp", fastpg.date "2024-02-29",
    fastpg.timestamptz "2024-02-29 12:00:00+00", fastpg.interval "1 mon 2 days", "10:00+01", { year = 2024, month = 1, day = 2 } },
  { "json", "SELECT $1::jsonb, $2::json", { a = { 1, null, "x", { b = {} } } }, "text" },
  { "odd json", [==[SELECT '["\u0000\ud800\u0041", 1e999999, {"\udc00": -1e-99999}]'::json]==] },
  { "arrays", "SELECT $1::int[], $2::text[], $3::jsonb[]", { 1, null, 3 }, { { 'a"', "b" }, { "c", null } }, { { 1 }, { a = 2 } } },
  { "ranges and rows", "SELECT $1::int4range, $2::stress_row, ARRAY[$2::stress_row, NULL], ROW(1, 'x')", "[1,5)", { a = 1, b = "x" } },
  { "geometry, addresses, search", "SELECT $1::point, ARRAY[$2::path], '<(1,2),3>'::circle, '10.0.0.1'::inet, 'a & (b | !c)'::tsquery, "
    .. "'a:1,2B'::tsvector, B'101'::varbit, '1 2'::int2vector, '1:9:3,4'::pg_snapshot", { x = 1, y = 2 }, { points = { { x = 1, y = 2 } } } },
  { "strings in binary, or not", "SELECT $1::inet, $2::varbit, $3::macaddr8, $4::path, $5::uuid[], $6::point[], $7::hstore, $8::name", "10.0.0.0/8",
    ("10"):rep(300), "08:00:2b:01:02:03:04:05", "[(1,2),(3,4)]", { "{00000000-0000-0000-0000-000000000001}" }, { "(1,2)", { x = 1, y = 2 } },
    { a = "1", b = null, c = 2 }, ("n"):rep(64) },
  { "text form", "SELECT '1'::money, 1.5::float8, 1.50::numeric, ARRAY[1, 2], '{\"a\": [1]}'::jsonb, '\\x4142'::bytea, '(1,x)'::stress_row, now(), '1 day'::interval" },
}

local unpack = table.unpack or unpack
local function run(db, s) return db:q(s[2], unpack(s, 3, #s)) end

local function is_memory_error(err)
  if type(err) == "table" then err = err.message end
  if type(err) ~= "string" then return false end
  return err:find("not enough memory", 1, true) ~= nil
    or err:find("stack overflow", 1, true) ~= nil -- what luaL_checkstack says where there is no memory for one
end

-- fn with each of its allocations failing; `after` says whether all is well then.  With `stride` each such one only where all
-- after it fail too: a transaction loses its connection then, and opening another takes its time.
local function exhaust(what, fn, after, stride)
  fn()
  for _, once in ipairs{ true, false } do
    local n, reached = 0, true
    local ok, err
    while reached do
      n = n + (once and 1 or stride or 1)
      assert(n < 50000, what .. ": no end")
      reached, ok, err = alloc.try(n, once, fn)
      if not ok and not is_memory_error(err) then
        error(("%s, allocation %d%s: %s"):format(what, n, once and "" or " and all after it", tostring(err)), 0)
      end
      local well, problem = pcall(after)
      if not well then
        error(("%s, after allocation %d%s failed: %s"):format(what, n, once and "" or " and all after it", tostring(problem)), 0)
      end
    end
    assert.is_true(ok)
  end
end

describe("with an allocator that fails", function()
  if not alloc then
    it("(no such allocator)", function() pending(why_not) end)
    return
  end
  local db = pg.db{ duplicates = "last" } -- columns are called as their types
  db:execute "CREATE TYPE stress_row AS (a int, b text); CREATE EXTENSION IF NOT EXISTS hstore"

  -- LuaJIT itself crashes where an allocation of its compiled code fails; it is our C that is tested.
  local jit = rawget(_G, "jit")
  if jit then
    setup(function()
      jit.off()
      jit.flush()
    end)
    teardown(jit.on)
  end

  for _, s in ipairs(statements) do
    it("at any allocation, a statement ends or fails as one: " .. s[1], function()
      exhaust(s[1], function() run(db, s) end, function() assert.equal(1, db:item("SELECT 1")) end)
    end)
  end

  it("statements are prepared or not", function()
    local n = 0
    exhaust("prepare", function()
      n = n + 1
      db:q(("SELECT $1::int AS a_%d, 'x'"):format(n), n)
    end, function() assert.equal(1, db:item("SELECT 1")) end)
  end)

  it("types are looked up or not", function()
    exhaust("look-up", function()
      db:refresh()
      run(db, statements[8])
    end, function() assert.equal(1, db:item("SELECT 1")) end)
  end)

  it("statements without a cache leave nothing open", function()
    local uncached = pg.db{ statement_cache_size = 0 }
    exhaust("uncached", function() uncached:q("SELECT $1::int[], $2::text", { 1, 2 }, "x") end,
      function() assert.equal(1, uncached:item("SELECT 1")) end)
    uncached:close()
  end)

  it("a transaction is whole or not there", function()
    -- no function of ours is on the stack then: its interpreter raises, and its own unwinding fails
    if jit then return pending "LuaJIT crashes where one of the allocations of its interpreter fails here" end
    db:execute "CREATE TABLE IF NOT EXISTS stress_tx (a int)"
    exhaust("transaction", function()
      db:transaction(function(tx)
        tx:execute("INSERT INTO stress_tx VALUES ($1)", 1)
        tx:execute("INSERT INTO stress_tx VALUES ($1)", 2)
      end)
    end, function() assert.equal(0, db:item("SELECT count(*) % 2 FROM stress_tx")) end)
  end)

  it("a COPY is whole or not there", function()
    db:execute "CREATE TABLE IF NOT EXISTS stress_copy (a int, b text, c text[])"
    local list = { { a = 1, b = "x\ty" }, { a = 2, b = ("x"):rep(3000) } }
    for _, format in ipairs{ "text", "binary" } do
      exhaust("copy", function() db.t.stress_copy:copy(list, { format = format }) end,
        function() assert.equal(0, db:item("SELECT count(*) % 2 FROM stress_copy")) end)
    end
    exhaust("copy_from", function() db:copy_from("COPY stress_copy (a) FROM STDIN", "1\n2\n") end,
      function() assert.equal(0, db:item("SELECT count(*) % 2 FROM stress_copy")) end)
    exhaust("copy_to", function() db:copy_to("COPY (SELECT repeat('x', 3000) FROM generate_series(1, 30)) TO STDOUT") end,
      function() assert.equal(1, db:item("SELECT 1")) end)
  end)

  it("each ends or fails as one", function()
    local sql = "SELECT g AS i, 'n' || g AS name, ARRAY[g, NULL] AS list, NULL AS none FROM generate_series(1, 150) g"
    exhaust("each", function()
      local n = 0
      for row in db:each(sql) do
        n = n + 1
        assert(row.i == n and row.name == "n" .. n)
      end
      assert(n == 150, n)
    end, function() assert.equal(1, db:item("SELECT 1")) end)
  end)

  it("many runs of a statement are whole or not there", function()
    db:execute "CREATE TABLE IF NOT EXISTS stress_many (a int, b text)"
    local list = {}
    for i = 1, 20 do list[i] = { i, ("x"):rep(i) } end
    exhaust("executemany", function() db:executemany("INSERT INTO stress_many VALUES (?, ?)", list) end,
      function() assert.equal(0, db:item("SELECT count(*) % 20 FROM stress_many")) end)
  end)

  it("lists of records are whole or not there", function()
    db:execute "CREATE TABLE IF NOT EXISTS stress_list (a int PRIMARY KEY, b text, c jsonb)"
    local list = {}
    for i = 1, 3 do list[i] = { a = i, b = i % 3 > 0 and ("x"):rep(i) or null, c = { i } } end
    if jit then return pending "LuaJIT crashes where one of the allocations of its interpreter fails here" end
    exhaust("inserts", function()
      db:transaction(function(tx)
        tx.t.stress_list:inserts(list)
        tx:execute "DELETE FROM stress_list"
      end)
    end, function() assert.equal(0, db:item("SELECT count(*) FROM stress_list")) end, 17)
  end)

  it("long values are read in slices or not at all, and the stepper goes on", function()
    if jit then return pending "LuaJIT crashes where one of the allocations of its interpreter fails here" end
    local sql = "SELECT array_agg(g) AS list, jsonb_build_array(1, repeat('x', 20000)) AS doc FROM generate_series(1, 3000) g"
    exhaust("slices", function()
      local row
      local task = fastpg.spawn(function() row = db:first(sql) end)
      repeat until not fastpg.step(0.01)
      if not row then error(task.error or "not enough memory", 0) end -- (it may have ended before its function was called)
      assert(#row.list == 3000 and #row.doc[2] == 20000)
    end, function()
      repeat until not fastpg.step(0.01)
      collectgarbage() -- a coroutine that had no memory to give its connection back is not waited for
      collectgarbage()
      assert.equal(1, db:item("SELECT 1"))
    end)
  end)

  it("connections are made or not", function()
    local info = pg.conninfo()
    exhaust("connect", function()
      local other = fastpg.connect(info)
      other:close()
    end, function() end)
    collectgarbage()
    collectgarbage()
    assert.equal(1, db:item("SELECT 1"))
  end)
end)

describe("with a collector that never rests", function()
  it("values are whole", function()
    local db = pg.db{ duplicates = "last" }
    db:execute "DROP TYPE IF EXISTS stress_row; CREATE TYPE stress_row AS (a int, b text); CREATE EXTENSION IF NOT EXISTS hstore"
    local generational = _VERSION == "Lua 5.4"
    local pause, mul = collectgarbage("setpause", 0), collectgarbage("setstepmul", 100000)
    for _, s in ipairs(statements) do
      local first = fastpg.to_json(run(db, s)):gsub('"now".-,', "")
      for _ = 1, 5 do assert.equal(#first, #fastpg.to_json(run(db, s)):gsub('"now".-,', "")) end
    end
    local rows = db:q("SELECT i, i::numeric AS n, ARRAY[i, NULL] AS a, '2024-01-01'::date + i AS d FROM generate_series(1, 300) i")
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", mul)
    if generational then collectgarbage("incremental") end
    for i, row in ipairs(rows) do
      assert.equal(i, row.i)
      assert.equal(tostring(i), tostring(row.n))
      assert.equal(i, row.a[1])
      assert.equal("fastpg.date", getmetatable(row.d))
    end
    db:close()
  end)
end)
