-- SPDX-License-Identifier: MIT
--
-- hooks: db:on and db:metrics.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()
db:execute "CREATE TABLE hooked(id int PRIMARY KEY, name text)"

local function line() return debug.getinfo(2, "l").currentline end

-- Runs fn with a hook; the events.
local function events(kind, opts, fn)
  local list = {}
  local off = db:on(kind, function(e) list[#list + 1] = e end, opts)
  local ok, err = pcall(fn)
  off()
  return list, ok, err
end

local function verbs(fn)
  local list = {}
  for i, e in ipairs((events("audit", nil, fn))) do list[i] = e.kind .. " " .. e.verb end
  return table.concat(list, ", ")
end

describe("a hook on queries", function()
  it("tells of each statement", function()
    local at
    local list = events("query", nil, function()
      at = line() + 1
      db:q("select generate_series(1, ?) i", 3)
    end)
    assert.equal(1, #list)
    local e = list[1]
    assert.equal("select generate_series(1, $1) i", e.sql)
    assert.equal(3, e.rows)
    assert.is_true(e.bytes > 0 and e.seconds >= 0)
    assert.is_nil(e.error)
    assert.is_nil(e.values)
    assert.equal(db.pid, e.pid)
    assert.truthy(e.where:find("hooks_spec.lua:" .. at, 1, true), e.where)
  end)

  it("tells of every way to run one, once", function()
    local t = db.t.hooked
    local ways = {
      function() db:first("select 1 a") end, function() db:item "select 1" end, function() db:arrays "select 1" end,
      function() db:q("select :a::int a", { a = 1 }) end, function() db:q(fastpg.sql("select ?::int a", 1)) end,
      function() db:execute "select 1" end, function() db:execute "select 1; select 2" end,
      function() t:upsert{ id = 1, name = "a" } end, function() return t[1] end, function() t{ where = { name = "a" } } end,
      function() t:where{ id = 1 }:update{ name = "b" } end, function() t:delete_where{ name = "none" } end, function() return #t end,
    }
    t:count()
    for i, way in ipairs(ways) do
      for round = 1, 2 do -- prepared, and kept
        local list, ok, err = events("query", nil, way)
        assert.is_true(ok, tostring(err))
        assert.equal(1, #list, "way " .. i .. ", round " .. round)
      end
    end
    t:delete(1)
  end)

  it("has rows of what was changed", function()
    local list = events("query", nil, function() db:execute("insert into hooked values (?, 'x'), (?, 'y')", 11, 12) end)
    assert.equal(2, list[1].rows)
    list = events("query", nil, function() db.t.hooked:delete_where{ id = { 11, 12 } } end)
    assert.equal(2, list[1].rows)
  end)

  it("has the error, which is raised all the same", function()
    local list, ok, err = events("query", nil, function() db:q "select 1/0" end)
    assert.is_false(ok)
    assert.equal("22012", err.sqlstate)
    assert.equal(err, list[1].error)
    assert.equal(1, db:item "select 1")
  end)

  it("shows values only when asked for", function()
    local list = events("query", { values = true }, function() db:q("select ?::text, ?::text", nil, "secret") end)
    assert.equal(2, list[1].values.n)
    assert.equal("secret", list[1].values[2])
    for _, e in ipairs((events("query", nil, function() db:q("select ?::text a", "secret") end))) do
      for _, v in pairs(e) do assert.is_nil(tostring(v):find("secret", 1, true)) end
    end
  end)

  it("gives its error to on_error", function()
    local before, seen = fastpg.on_error, nil
    fastpg.on_error = function(err) seen = err end
    local off = db:on("query", function() error("in a hook", 0) end)
    local ok, value = pcall(db.item, db, "select 7")
    off()
    fastpg.on_error = before
    assert.is_true(ok)
    assert.equal(7, value)
    assert.equal("in a hook", seen)
  end)

  it("gives others tables of their own, and goes alone", function()
    local a, b
    local off_a = db:on("query", function(e) a, e.sql = e.sql, "changed" end)
    local off_b = db:on("query", function(e) b = e.sql end)
    db:q "select 1 a"
    assert.equal("select 1 a", a)
    assert.equal("select 1 a", b)
    off_a()
    off_a()
    db:q "select 2 a"
    assert.equal("select 1 a", a)
    assert.equal("select 2 a", b)
    off_b()
    db:q "select 3 a"
    assert.equal("select 2 a", b)
  end)

  it("refuses two columns of one name as ever", function()
    local other = pg.cluster():connect()
    local off = other:on("query", function() end)
    assert.is_false(pcall(other.q, other, "select 1 a, 2 a"))
    assert.same(2, #other:arrays("select 1 a, 2 a")[1])
    off()
    other:close()
  end)

  it("is there in transactions and on new connections", function()
    local pool = pg.cluster():create_pool({}, { max_size = 2 })
    local opened, n = 0, 0
    local off = pool:on("connect", function(e)
      opened = opened + 1
      assert(e.pid > 0 and e.server_version > 0)
    end)
    local off_query = pool:on("query", function() n = n + 1 end)
    pool:transaction(function(tx)
      tx:q "select 1 a"
      pool:q "select 1 a"
    end)
    assert.equal(1, opened)
    assert.equal(4, n) -- with BEGIN and COMMIT
    off()
    off_query()
    pool:close()
  end)
end)

describe("a hook on notices", function()
  it("has the fields of an error", function()
    local list = events("notice", nil, function()
      db:execute [[do $$ begin raise notice 'a %', 1; raise warning 'b' using hint = 'h', errcode = '01234'; end $$]]
      db:execute "drop table if exists nothing_like_that"
    end)
    assert.equal(3, #list)
    assert.equal("a 1", list[1].message)
    assert.equal("NOTICE", list[1].severity)
    assert.equal(db.pid, list[1].pid)
    assert.equal("WARNING", list[2].severity)
    assert.equal("01234", list[2].sqlstate)
    assert.equal("h", list[2].hint)
    assert.truthy(list[3].message:find("nothing_like_that", 1, true))
    db:execute "drop table if exists nothing_like_that"
    assert.equal(0, #(events("notice", nil, function() db:q "select 1 a" end)))
  end)

  it("loses those that nobody fetches, beyond a megabyte", function()
    local list = events("notice", nil, function()
      db:execute [[do $$ begin for i in 1..100 loop raise notice '%', repeat('x', 20000); end loop; end $$]]
    end)
    assert.is_true(#list > 40 and #list < 100, #list)
    assert.equal(20000, #list[1].message)
  end)
end)

describe("a hook on slow queries", function()
  it("has the plan of a read", function()
    local list = events("slow", { over = 0, explain = true }, function()
      db:q("select * from hooked where id = ?", 1)
      db:execute("insert into hooked values (?, 'x')", 50)
      db:transaction(function() db:q("select * from hooked where id = ?", 1) end)
    end)
    assert.equal(5, #list)
    assert.truthy(list[1].plan:find("hooked", 1, true))
    for i = 2, 5 do assert.is_nil(list[i].plan) end
    assert.equal(1, db:item "select count(*) from hooked where id = 50")
    db:execute "delete from hooked"
  end)

  it("passes by what is fast", function()
    assert.equal(0, #(events("slow", { over = 1000 }, function() db:q "select 1 a" end)))
  end)
end)

describe("an audit", function()
  it("comes once for each verb, by whatever way", function()
    local t = db.t.hooked
    t:count()
    assert.equal("", verbs(function() db:q "select 'insert into x' a" end))
    assert.equal("dml INSERT", verbs(function() db:q("insert into hooked values (?, 'a') returning id", 1) end))
    assert.equal("dml DELETE, dml INSERT", verbs(function()
      db:q "with d as (delete from hooked returning *) insert into hooked select id + 1, name from d returning id"
    end))
    assert.equal("dml UPDATE", verbs(function() t:update{ id = 2, name = "b" } end))
    assert.equal("dml DELETE", verbs(function() t:delete(2) end))
    assert.equal("ddl CREATE, ddl DROP", verbs(function() db:execute "create table hooked2(id int); drop table hooked2" end))
    assert.equal("dml INSERT", verbs(function() db:executemany("insert into hooked values (?, ?)", { { 1, "a" }, { 2, "b" } }) end))
    assert.equal("dml INSERT, dml UPDATE", verbs(function()
      db:pipeline(function(p)
        p:q("insert into hooked values (?, ?)", 3, "c")
        p:execute "update hooked set name = 'z'"
      end)
    end))
    assert.equal("dml COPY", verbs(function() db:copy_from("copy hooked from stdin", "4\tq\n") end))
    assert.equal("", verbs(function() db:copy_to "copy hooked to stdout" end))
    assert.equal("dml DELETE", verbs(function()
      for _ in db:each "delete from hooked returning id" do end -- luacheck: ignore
    end))
    assert.equal("", verbs(function() db:prepare "delete from hooked" end))
    assert.truthy(verbs(function() t:inserts{ { id = 7, name = "x" }, { id = 8, name = "y" } } end):find "^dml INSERT")
    db:execute "delete from hooked"
  end)

  it("that raises stops the statement", function()
    local off = db:on("audit", function(e) error("no " .. e.verb, 0) end)
    local t = db.t.hooked
    local ways = {
      function() db:q "insert into hooked values (1, 'a') returning id" end,
      function() db:execute "insert into hooked values (1, 'a')" end,
      function() db:execute "select 1; insert into hooked values (1, 'a')" end,
      function() t:insert{ id = 1 } end, function() t:inserts{ { id = 1 }, { id = 2 } } end,
      function() db:executemany("insert into hooked values (?, ?)", { { 1, "a" }, { 2, "b" } }) end,
      function() db:pipeline(function(p) p:q("insert into hooked values (?, ?)", 3, "c") end) end,
      function() db:copy_from("copy hooked from stdin", "4\tq\n") end,
      function() t:copy{ { id = 1, name = "a" } } end,
      function()
        for _ in db:each "insert into hooked values (1, 'a') returning id" do end -- luacheck: ignore
      end,
    }
    local wrong = {}
    for i, way in ipairs(ways) do
      local ok, err = pcall(way)
      if ok or not tostring(err):find "no %u+" then wrong[#wrong + 1] = i .. ": " .. tostring(err) end
    end
    off()
    assert.same({}, wrong)
    assert.equal(0, db:item "select count(*) from hooked")
  end)

  it("stops one that is prepared already, too", function()
    local function insert(id) return db:q("insert into hooked values (?, 'a') returning id", id) end
    insert(1)
    local off = db:on("audit", function() error("no", 0) end)
    assert.is_false(pcall(insert, 2))
    off()
    insert(3)
    assert.same({ { 1 }, { 3 } }, (function()
      local list = {}
      for i, row in ipairs(db:arrays "select id from hooked order by 1") do list[i] = { row[1] } end
      return list
    end)())
    db:execute "delete from hooked"
  end)
end)

describe("a coroutine that is closed inside of a statement", function()
  if not coroutine.close then return end

  it("hides nothing that comes after it on its connection", function()
    local own, seen = pg.db(), {}
    local off = own:on("audit", function(e) seen[#seen + 1] = e.verb end)
    fastpg.run(function()
      local tx, co = own:begin(), nil
      fastpg.spawn(function()
        co = coroutine.running()
        tx:q "select pg_sleep(3)"
      end)
      while not co do fastpg.sleep(0) end
      fastpg.sleep(0.05)
      assert.is_true(coroutine.close(co))
      pcall(tx.execute, tx, "create table never_made (id int)")
      pcall(tx.rollback, tx)
    end)
    assert.same({ "CREATE" }, seen)
    off()
    own:close()
  end)
end)

describe("db:on", function()
  it("knows its kinds", function()
    for _, args in ipairs{ { "nope", print }, { 1, print }, { "query" }, { "query", "print" } } do
      local ok, err = pcall(db.on, db, args[1], args[2])
      assert.is_false(ok)
      assert.equal("invalid_argument", err.name)
    end
  end)

  it("leaves nothing behind", function()
    events("query", nil, function() db:q "select 1 a" end)
    local n = 0
    local off = db:on("query", function() n = n + 1 end)
    off()
    db:q "select 1 a"
    assert.equal(0, n)
  end)
end)
