-- SPDX-License-Identifier: MIT
--
-- watch: what "query" and "slow" are told of every way in which something is sent.

local pg = require "spec.support.pg"

local db = pg.db()
db:execute [[
  create table thing (id serial primary key, name text unique);
  create table part (id int primary key, thing_id int references thing);
  insert into thing (name) select 'x' || i from generate_series(1, 600) i;
  insert into part select i, i from generate_series(1, 10) i
]]
local t = db.t.thing
assert(t:count() == 600 and db.t.part:count() == 10)

local function line() return debug.getinfo(2, "l").currentline end

-- Runs fn with a hook; the events.
local function events(kind, opts, fn)
  local list = {}
  local off = db:on(kind, function(e) list[#list + 1] = e end, opts)
  local ok, err = pcall(fn)
  off()
  for _, e in ipairs(list) do assert.is_true(e.seconds >= 0 and e.pid == db.pid) end
  return list, ok, err
end

-- What is sent, with rows and runs: "select 1 a: 1".
local function told(fn, wanted)
  local list, ok, err = events("query", nil, fn)
  assert.is_true(ok, tostring(err))
  for i, e in ipairs(list) do
    assert.is_nil(e.error)
    assert.is_nil(e.values)
    list[i] = ("%s: %s%s"):format(e.sql:gsub("fastpg_%d+", "fastpg_n"):gsub("%$1.*", "$1"), e.rows or "none", e.runs and " of " .. e.runs or "")
  end
  assert.same(wanted, list)
end

describe("a hook on queries", function()
  it("has rows of SQL without arguments, and none of several statements", function()
    told(function() db:execute "update thing set name = name where id < 4" end, { "update thing set name = name where id < 4: 3" })
    told(function() db:execute "set local a.b = 1" end, { "set local a.b = 1: none" })
    told(function() db:execute "select 1; select 2" end, { "select 1; select 2: none" })
    told(function() db:results "select 1; select generate_series(1, 2)" end, { "select 1; select generate_series(1, 2): 3" })
    told(function() db:results("select generate_series(1, ?) a", 2) end, { "select generate_series(1, $1: 2" })
  end)

  it("is told of a stream once, when it is over", function()
    told(function()
      local n = 0
      for _ in db:each("select * from thing where id <= ?", 300) do
        n = n + 1
        if n == 2 then told(function() end, {}) end
      end
      assert.equal(300, n)
    end, { "select * from thing where id <= $1: 300" })
    told(function() db:each("select * from part order by id", function(row) return row.id < 5 end) end, { "select * from part order by id: 5" })
    told(function()
      local rows = db:each "select * from thing"
      rows()
      rows:close()
      rows:close()
    end, { "select * from thing: 1" })
    told(function() for _ in db:prepare "select * from thing where id < ?":each(3) do end end, { "select * from thing where id < $1: 2" }) -- luacheck: ignore
    told(function() for _ in t:each("id < 4") do end end, { 'SELECT * FROM "thing" WHERE id < 4: 3' }) -- luacheck: ignore
  end)

  it("is told of one in a transaction, and of what runs in between, but not of its cursor", function()
    told(function()
      db:transaction(function()
        for row in db:each("select id from thing where id <= ? order by id", 600) do
          if row.id == 300 then db:q "select 3 c" end
        end
      end)
    end, { "BEGIN: none", "select 3 c: 1", "select id from thing where id <= $1: 600", "COMMIT: none" })
    told(function()
      local rows
      db:transaction(function()
        rows = db:each "select * from thing"
        rows()
      end)
      rows:close()
    end, { "BEGIN: none", "COMMIT: none", "select * from thing: 1" })
  end)

  it("is told of one that was collected with what comes next", function()
    local own, list = pg.cluster():connect{ database = db:item "select current_database()" }, {}
    local off = own:on("query", function(e) list[#list + 1] = e.sql .. ": " .. e.rows end)
    do
      local rows = own:each "select 5 a"
      rows()
    end
    collectgarbage()
    collectgarbage()
    own:q "select 1 a"
    off()
    own:close()
    assert.same({ "select 5 a: 1", "select 1 a: 1" }, list)
  end)

  it("is told of a stream's error, where it comes", function()
    for text, rows in pairs{ ["select 10 / (3 - id) from thing order by id"] = 2, ["select nope from thing"] = 0 } do
      local list, ok, err = events("query", nil, function() for _ in db:each(text) do end end) -- luacheck: ignore
      assert.is_false(ok)
      assert.equal(1, #list)
      assert.equal(err, list[1].error)
      assert.equal(rows, list[1].rows)
    end
    assert.equal(1, db:item "select 1")
  end)

  it("is told of a pipeline's statements in order", function()
    told(function()
      db:pipeline(function(p)
        p:q("select generate_series(1, ?) a", 3)
        p:q("select generate_series(1, ?) a", 2)
        p:execute "update thing set name = name where id < 4"
      end)
    end, { "select generate_series(1, $1: 3 of 1", "select generate_series(1, $1: 2 of 1", "update thing set name = name where id < 4: 3 of 1" })
    local list = events("query", { values = true }, function()
      db:pipeline(function(p)
        p:q("select ?::int a", 3)
        p:q("select ?::int a", 2)
      end)
    end)
    assert.equal(3, list[1].values[1])
    assert.equal(2, list[2].values[1])
  end)

  it("is told of a pipeline's error with each statement, none of which was done", function()
    local list, ok, err = events("query", nil, function()
      db:pipeline(function(p)
        p:execute "update thing set name = name || '!'"
        p:q("select 1 / ?::int a", 0)
      end)
    end)
    assert.is_false(ok)
    assert.equal(2, #list)
    for _, e in ipairs(list) do
      assert.equal(err, e.error)
      assert.is_nil(e.rows)
    end
    list, ok, err = events("query", nil, function() db:pipeline(function(p) p:q "selec 1" end) end)
    assert.is_false(ok)
    assert.equal(1, #list)
    assert.equal("selec 1", list[1].sql)
    assert.equal(err, list[1].error)
  end)

  it("is told of rows of a list once for each text", function()
    told(function() db:executemany("update thing set name = name where id = ?", { { 1 }, { 2 }, { -1 } }) end,
      { "update thing set name = name where id = $1: 2 of 3" })
    told(function() db:executemany("update thing set name = name where id = :i", { { i = 1 }, { i = 2 } }) end,
      { "update thing set name = name where id = $1: 2 of 2" })
    told(function() db:executemany("update thing set name = name where id = ?", {}) end, {})
    db:transaction(function()
      local many = {}
      for i = 1, 1500 do many[i] = { name = "many" .. i } end
      told(function() t:inserts(many) end, { "SAVEPOINT fastpg_n: none",
        'INSERT INTO "thing" ("name") SELECT * FROM ROWS FROM (pg_catalog.unnest($1: 1500 of 2', "RELEASE SAVEPOINT fastpg_n: none" })
      told(function() t:inserts{ { name = "a" }, { name = "b" } } end, { 'INSERT INTO "thing" ("name") VALUES ($1: 2 of 2' })
      db:execute "delete from thing where id > 600"
    end)
  end)

  it("is told of related rows", function()
    told(function() t{ where = { id = { 1, 2 } }, with = { "part" } } end,
      { 'SELECT * FROM "thing" WHERE "id" = ANY($1: 2', 'SELECT "part".*, fastpg_keys.n AS fastpg_number FROM unnest($1: 2 of 1' })
  end)

  it("is told of COPY, both ways, with its bytes", function()
    local list = events("query", nil, function()
      db:transaction(function()
        assert.equal(2, db:copy_from("copy thing (name) from stdin", { "c1\n", "c2\n" }))
        assert.equal(2, t:copy{ { name = "tc1" }, { name = "tc2" } })
        db:execute "delete from thing where id > 600"
      end)
      local text = db:copy_to "copy (select id from thing where id < 10) to stdout"
      assert.equal(18, #text)
      db:copy_to("copy thing to stdout", function() return false end)
    end)
    assert.equal(7, #list)
    assert.equal(2, list[2].rows)
    assert.equal(6, list[2].bytes)
    assert.equal('COPY "thing" ("name") FROM STDIN (FORMAT binary)', list[3].sql)
    assert.equal(2, list[3].rows)
    assert.equal(39, list[3].bytes)
    assert.equal(9, list[6].rows)
    assert.equal(18, list[6].bytes)
    assert.is_true(list[7].rows >= 1 and list[7].bytes > 0)
    local ok, err
    list, ok, err = events("query", nil, function() db:copy_from("copy thing (id) from stdin", "x\n") end)
    assert.is_false(ok)
    assert.equal(1, #list)
    assert.equal(err, list[1].error)
  end)

  it("is told of what begins and ends transactions", function()
    told(function()
      db:transaction(function(tx)
        tx:transaction(function() end)
        pcall(tx.transaction, tx, function() error "x" end)
      end)
      pcall(db.transaction, db, function() error "x" end)
      db:begin():rollback()
      db:begin():commit()
    end, {
      "BEGIN: none", "SAVEPOINT fastpg_n: none", "RELEASE SAVEPOINT fastpg_n: none", "SAVEPOINT fastpg_n: none",
      "ROLLBACK TO SAVEPOINT fastpg_n; RELEASE SAVEPOINT fastpg_n: none", "COMMIT: none", "BEGIN: none", "ROLLBACK: none",
      "BEGIN: none", "ROLLBACK: none", "BEGIN: none", "COMMIT: none",
    })
  end)

  it("is told of prepared statements when they run, not of what fastpg looks up", function()
    local prepared
    told(function() prepared = db:prepare "select ?::int a" end, {})
    told(function() prepared(1) end, { "select $1: 1" })
    db:execute "create type mood as enum ('well'); create table moody (id int primary key, m mood); insert into moody values (1, 'well')"
    told(function() assert.equal("well", db.t.moody[1].m) end, { 'SELECT * FROM "moody" WHERE "id" = $1: 1' })
  end)

  it("names the line of the program, whatever the way", function()
    local at
    local ways = {
      function() at = line() db:q "select 1 a" end,
      function() at = line() for _ in db:each "select 1 a" do end end, -- luacheck: ignore
      function() at = line() db:pipeline(function(p) p:q "select 1 a" end) end,
      function() at = line() db:executemany("select ?::int", { { 1 }, { 2 } }) end,
      function() at = line() db:copy_to "copy thing to stdout" end,
      function() at = line() db:execute "select 1" end,
      function() at = line() local _ = t[1] end,
    }
    for _, way in ipairs(ways) do
      local list = events("query", nil, way)
      assert.equal(1, #list)
      assert.truthy(list[1].where:find("watch_spec.lua:" .. at, 1, true), list[1].where)
    end
  end)

  it("shows no value but where it was asked for: not of settings, in no plan, of no list", function()
    local function run()
      db:transaction({ settings = { ["app.user"] = "secret" } }, function() db:q("select ?::text a", "secret") end)
      db:q("select * from thing where name = ?", "secret")
      for _ in db:each("select * from thing where name = ?", "secret") do end -- luacheck: ignore
      t{ where = { name = "secret" } }
      t:where{ name = "secret" }:count()
      t:where{ name = "secret" }:update{ name = "secret" }
      db:pipeline(function(p) p:q("select ?::text a", "secret") end)
      db:executemany("update thing set name = ? where id = 1", { { "secret" }, { "x1" } })
      db:copy_from("copy part from stdin", "")
      pcall(db.q, db, "select ?::int", "secret")
      pcall(db.transaction, db, { settings = { ["app user"] = "secret" } }, function() end)
    end
    local seen = 0
    for kind, opts in pairs{ query = {}, slow = { over = 0, explain = true }, audit = {} } do
      for _, e in ipairs((events(kind == "audit" and "query" or kind, kind ~= "audit" and opts or nil, run))) do
        seen = seen + 1
        for name, v in pairs(e) do assert.is_nil(tostring(v):gsub("invalid input syntax.*", ""):find("secret", 1, true), name) end
        for name, v in pairs(type(e.error) == "table" and e.error or {}) do
          if name ~= "message" then assert.is_nil(tostring(v):find("secret", 1, true), name) end
        end
      end
    end
    assert.is_true(seen > 20)
  end)
end)

describe("the plan of a slow query", function()
  local function plan(fn, values)
    local list = events("slow", { over = 0, explain = true, values = values }, fn)
    assert.equal(1, #list)
    return list[1].plan
  end

  it("has places for values, or the values where they were asked for", function()
    local function run() db:q("select * from thing where name = ? and id = ? order by id -- why\n;", "secret", 1) end
    assert.truthy(plan(run):find("$1", 1, true))
    assert.truthy(plan(run, true):find("'secret'", 1, true))
    assert.equal("auto", db:item "show plan_cache_mode")
    assert.is_true(db:ping())
    assert.equal(0, #db:q "select * from pg_prepared_statements where name = 'fastpg_explain'")
  end)

  it("is there whatever way a read goes", function()
    assert.truthy(plan(function() db:execute "select * from thing" end):find("thing", 1, true))
    assert.truthy(plan(function() for _ in db:each("select * from thing where id = ?", 1) do end end):find("$1", 1, true)) -- luacheck: ignore
    assert.truthy(plan(function() db:pipeline(function(p) p:q("select * from thing where id = ?", 1) end) end):find("$1", 1, true))
    assert.truthy(plan(function() local _ = t[1] end):find("$1", 1, true))
    assert.truthy(plan(function() t:where{ name = "a" }:count() end):find("$1", 1, true))
  end)

  it("is not of what writes, nor of what failed", function()
    for _, sql in ipairs{
      "with d as (delete from part where false returning 1) select * from d", "select * into temp copied from thing",
      "delete from part where false returning 1 a", "explain analyze delete from part where false", "select 1; select 2", "select 1/0",
      "table nope",
    } do
      local list = events("slow", { over = 0, explain = true }, function() pcall(db.execute, db, sql) end)
      assert.is_nil(list[1].plan, sql)
    end
  end)
end)

describe("an audit", function()
  it("is told once of a COPY of rows, of a stream that writes, of what is prepared in a batch", function()
    local list = {}
    local off = db:on("audit", function(e) list[#list + 1] = e.verb end)
    db:transaction(function()
      t:copy{ { name = "a" } }
      for _ in db:each "delete from part where id = 10 returning id" do end -- luacheck: ignore
      db:executemany("insert into thing (name) values (?)", { { "b" }, { "c" } })
      t:delete_where "id > 600"
    end)
    off()
    assert.equal("COPY DELETE INSERT DELETE", table.concat(list, " "))
  end)

  it("that refuses is no query", function()
    local off = db:on("audit", function() error("no", 0) end)
    for _, way in ipairs{
      function() db:q "delete from part" end, function() db:execute "delete from part" end, function() db.t.part:delete_where() end,
      function() db:pipeline(function(p) p:q "delete from part" end) end, function() db:copy_from("copy part from stdin", "") end,
      function() for _ in db:each "delete from part returning 1 a" do end end, -- luacheck: ignore
    } do
      local list, ok, err = events("query", nil, way)
      assert.is_false(ok)
      assert.equal("no", err)
      assert.equal(0, #list)
    end
    off()
    assert.is_true(db.t.part:count() > 0)
  end)
end)
