-- SPDX-License-Identifier: MIT
--
-- Pools: what is opened and when, what comes back and in which state, who gets it next.

local fastpg = require "fastpg"
local route_of = require("fastpg.pool.route").of
local pg = require "spec.support.pg"

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

describe("a pool", function()
  local db, watch
  setup(function() watch = pg.db() end)
  teardown(function() watch:close() end)
  after_each(function() if db then db:close() end end)

  local function connections()
    return watch:item([[select count(*) from pg_stat_activity where datname = current_database()
      and pid <> pg_backend_pid() and backend_type = 'client backend']])
  end
  local function wait_for(n)
    for _ = 1, 3000 do
      if connections() == n then return n end
      watch:execute("select pg_sleep(0.01)")
    end
    return connections()
  end

  it("opens nothing before it is used, min_size at once", function()
    db = pg.pool(nil, { max_size = 3 })
    assert.are.equal(0, wait_for(0))
    assert.are.equal(1, db:item("select 1"))
    assert.are.equal(1, connections())
    db:close()
    assert.are.equal(0, wait_for(0))
    db = pg.pool(nil, { min_size = 2, max_size = 3 })
    assert.are.equal(2, connections())
  end)

  it("uses the warmest connection again", function()
    db = pg.pool(nil, { min_size = 2, max_size = 3 })
    local pid = db.pid
    for _ = 1, 5 do assert.are.equal(pid, db.pid) end
  end)

  it("runs init on every new connection, once", function()
    local pids = {}
    db = pg.pool({ init = function(c)
      pids[#pids + 1] = c.pid
      c:execute("set application_name = 'mine'")
      assert.are.equal(c.pid, db and db.pid or c.pid)
    end }, { max_size = 2 })
    assert.are.equal("mine", db:item("show application_name"))
    db:acquire(function(c)
      local tx = c
      assert.are.equal(1, #pids)
      coroutine.wrap(function() end)()
      assert.are.equal(tx.pid, pids[1])
    end)
    local a, b = db:begin(), db:begin()
    assert.are.equal(2, #pids)
    assert.are.equal("mine", b:item("show application_name"))
    a:rollback()
    b:rollback()
    assert.are.equal("mine", db:item("show application_name"))
    assert.are.equal(2, #pids)
  end)

  it("an init that fails leaves no connection, one that leaves a transaction open is cleaned up", function()
    local fail = true
    db = pg.pool({ init = function(c)
      if fail then error("init says no", 0) end
      c:execute("begin")
    end }, { max_size = 1 })
    for _ = 1, 3 do assert.are.equal("init says no", error_of(db.q, db, "select 1")) end
    assert.are.equal(0, wait_for(0))
    fail = false
    assert.are.equal(1, db:item("select 1"))
    assert.are.equal(0, watch:item("select count(*) from pg_stat_activity where state like 'idle in%'"))
    local err = error_of(pg.db, { init = function() error("no") end })
    assert.is_truthy(tostring(err):find("no", 1, true))
  end)

  it("says what is the matter when nothing is left", function()
    db = pg.pool(nil, { max_size = 2 })
    local a, b = db:begin(), db:begin()
    local err = error_of(db.q, db, "select 1")
    assert.equal("deadlock", err.name)
    assert.is_true(fastpg.is(err, "timeout"))
    assert.is_truthy(err.message:find("all 2 connections of the pool are in use, and nothing else can run", 1, true))
    a:rollback()
    assert.are.equal(1, db:item("select 1"))
    b:rollback()
    local single = pg.db()
    local tx = single:begin()
    err = error_of(single.q, single, "select 1")
    assert.is_truthy(err.message:find("the connection is in use", 1, true), err.message)
    tx:rollback()
    single:close()
  end)

  it("gives each a connection of its own while an each is read", function()
    db = pg.pool(nil, { max_size = 2 })
    for row in db:each("select pg_backend_pid() as pid, g from generate_series(1, 5) g") do
      assert.are_not.equal(row.pid, db.pid)
    end
    local outer = db:each("select generate_series(1, 5) as n")
    local inner = db:each("select generate_series(1, 5) as n")
    outer() inner()
    local err = error_of(db.q, db, "select 1")
    assert.is_truthy(err.message:find("a db:each is being read", 1, true), err.message)
    assert.equal("connection_busy", err.name)
    outer:close()
    assert.are.equal(1, db:item("select 1"))
    assert.are.equal(2, inner().n)
    inner:close()
    assert.are.equal(2, connections())
  end)

  it("an each that is forgotten gives its place back", function()
    db = pg.pool(nil, { max_size = 2 })
    for _ = 1, 5 do
      local rows = db:each("select generate_series(1, 10000000) as n")
      assert.are.equal(1, rows().n)
      rows = nil -- luacheck: ignore
    end
    for _ = 1, 4 do collectgarbage() end
    assert.are.equal(1, db:item("select 1"))
    assert.are.equal(1, wait_for(1))
  end)

  it("takes nothing back half-way or inside a transaction", function()
    db = pg.pool(nil, { max_size = 1 })
    watch:execute("create table if not exists counter (n int); truncate counter")
    local pid = db.pid
    pcall(db.execute, db, "begin; insert into counter values (1)")
    assert.are.equal("idle", watch:item("select state from pg_stat_activity where pid = $1", pid))
    pcall(db.acquire, db, function(c)
      c:execute("begin")
      c:execute("insert into counter values (1)")
      c:q("select 1/0")
    end)
    pcall(db.acquire, db, function(c) c:each("select generate_series(1, 10000000) as n")() end)
    assert.are.equal(0, db:item("select count(*) from counter"))
    assert.are.equal(pid, db.pid)
  end)

  it("replaces what was lost", function()
    db = pg.pool(nil, { max_size = 2 })
    local pid = db.pid
    watch:execute("select pg_terminate_backend($1)", pid)
    assert.are.equal(0, wait_for(0)) -- an idle connection is looked at before each use
    assert.are.equal(1, db:item("select 1"))
    pid = db.pid
    assert.is_true(fastpg.is(error_of(db.q, db, "select pg_terminate_backend(pg_backend_pid())"), "57P01"))
    assert.are.equal(1, db:item("select 1"))
    assert.are_not.equal(pid, db.pid)
  end)

  it("max_lifetime and max_inactive_connection_lifetime end connections", function()
    db = pg.pool(nil, { max_size = 2, max_lifetime = 1 })
    local pid = db.pid
    assert.are.equal(pid, db.pid)
    watch:execute("select pg_sleep(1.1)")
    assert.are_not.equal(pid, db.pid)
    db:close()
    db = pg.pool(nil, { max_size = 2, max_inactive_connection_lifetime = 1 })
    pid = db.pid
    for _ = 1, 4 do
      watch:execute("select pg_sleep(0.3)")
      assert.are.equal(pid, db.pid)
    end
    watch:execute("select pg_sleep(1.1)")
    assert.are_not.equal(pid, db.pid)
  end)

  it("close ends what is idle now, and what is in use when it comes back", function()
    db = pg.pool(nil, { min_size = 2, max_size = 3 })
    watch:execute("create table if not exists closing (n int); truncate closing")
    db:transaction(function(tx)
      tx:execute("insert into closing values (1)")
      db:close()
      assert.are.equal("Database (closed)", tostring(db))
      tx:execute("insert into closing values (2)")
      assert.are.equal(1, wait_for(1))
    end)
    assert.are.equal(2, watch:item("select count(*) from closing"))
    assert.are.equal(0, wait_for(0))
    assert.is_true(fastpg.is(error_of(db.q, db, "select 1"), "closed"))
    assert.is_true(fastpg.is(error_of(db.begin, db), "closed"))
    assert.is_true(fastpg.is(error_of(db.each, db, "select 1"), "closed"))
    db:close()
  end)

  it("a connection of before does not come into the pool of after close and connect", function()
    local single = pg.db()
    local tx = single:begin()
    local pid = tx.pid
    local rows
    single:close()
    single:connect(pg.conninfo())
    assert.are_not.equal(pid, single.pid)
    tx:rollback()
    for _ = 1, 3 do assert.are_not.equal(pid, single.pid) end
    rows = single:each("select generate_series(1, 1000) as n")
    rows()
    single:close()
    rows:close()
    assert.are.equal(0, wait_for(0))
  end)

  it("that is collected closes its connections", function()
    do
      local forgotten = pg.pool(nil, { min_size = 2 })
      forgotten:q("select 1")
      local row = forgotten:first("select 1 as a")
      assert.are.equal(forgotten, fastpg.db_of(row))
    end
    local single = pg.db()
    single:q("select 1")
    single = nil -- luacheck: ignore
    for _ = 1, 4 do collectgarbage() end
    assert.are.equal(0, wait_for(0))
  end)

  it("checks its options", function()
    for _, opts in ipairs{
      { max_size = 0 }, { max_size = 1.5 }, { min_size = -1 }, { min_size = 3, max_size = 2 }, { max_lifetime = "x" },
      { acquire_timeout = -1 },
    } do
      assert.is_true(fastpg.is(error_of(fastpg.create_pool, pg.conninfo(), opts), "invalid_argument"))
    end
    assert.are.equal(10, (function()
      db = pg.pool()
      return route_of(db).pool.max_size
    end)())
  end)
end)
