-- SPDX-License-Identifier: MIT
--
-- deadlines: a time that is over stops the server, and nothing but the statement it is meant for.

local Connection = require "fastpg.pg.connection"
local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

local watcher = pg.db()

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("no error was raised", 2) end
  assert.equal("table", type(err), tostring(err))
  return err
end

local function timed_out(db, seconds, sql)
  local err = failure(db.timeout, db, seconds, function() db:q(sql) end)
  assert.is_true(fastpg.is(err, "timeout"), tostring(err))
  return err
end

local function state_of(pid, expected)
  local state
  for _ = 1, 1500 do
    state = watcher:fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", pid) or "gone"
    if state == expected then break end
    watcher:item "SELECT pg_sleep(0.02)"
  end
  return state
end

describe("a time that is over", function()
  it("stops the server's statement, and leaves the connection", function()
    local db = pg.db()
    local pid = db.pid
    timed_out(db, 0.1, "SELECT pg_sleep(60)")
    assert.equal("idle", watcher:fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", pid))
    assert.equal(pid, db.pid)
    db:close()
  end)

  it("counts while rows keep coming", function()
    local db = pg.db()
    local err = timed_out(db, 0.3, "SELECT repeat('x', 1000) FROM generate_series(1, 100000000)")
    assert.equal("57014", err.sqlstate)
    assert.equal(1, db:item "SELECT 1")
    db:close()
  end)

  it("never hits the next statement", function()
    for _, size in ipairs{ 100, 0 } do
      local db = pg.db{ statement_cache_size = size }
      local pid, seed = db.pid, 7
      for i = 1, 60 do
        seed = seed * 16807 % 2147483647
        local limit = 0.001 + seed % 1000 * 50e-6 -- about as long as the statement takes
        local ok, err = pcall(db.timeout, db, limit, function() return db:item "SELECT 1 FROM pg_sleep(0.03)" end)
        if not ok then assert.is_true(fastpg.is(err, "timeout"), tostring(err)) end
        assert.equal(i, db:item("SELECT $1::int FROM pg_sleep(0.001)", i))
        if i % 20 == 0 then
          db:transaction(function(tx)
            pcall(tx.transaction, tx, function() db:timeout(limit, function() db:q "SELECT pg_sleep(0.03)" end) end)
            assert.equal(i, tx:item("SELECT $1::int", i))
          end)
        end
      end
      assert.equal(pid, db.pid)
      db:close()
    end
  end)

  it("is over for streams, batches and copies too", function()
    local db = pg.db()
    db:execute "CREATE TEMP TABLE sink (n int)"
    local pid = db.pid
    for i = 1, 8 do
      for _, call in ipairs{
        function() for _ in db:each "SELECT pg_sleep(0.002) FROM generate_series(1, 30000)" do end end, -- luacheck: ignore
        function() db:executemany("SELECT pg_sleep($1)", { { 0 }, { 60 }, { 0 } }) end,
        function() db:copy_to "COPY (SELECT pg_sleep(0.002) FROM generate_series(1, 30000)) TO STDOUT" end,
        function() db:copy_from("COPY sink FROM STDIN", function() watcher:execute "SELECT pg_sleep(0.001)" return "1\n" end) end,
      } do
        assert.is_true(fastpg.is(failure(db.timeout, db, 0.004 * i, call), "timeout"))
        assert.equal(1, db:item "SELECT 1 FROM pg_sleep(0.001)")
      end
    end
    assert.equal(0, db:item "SELECT count(*) FROM sink")
    assert.equal(pid, db.pid)
    db:close()
  end)
end)

describe("a stream that is left early", function()
  it("stops the server where much is to come", function()
    local db = pg.db()
    local pid = db.pid
    for _ = 1, 5 do
      for _ in db:each("SELECT generate_series(1, 100000000)") do break end -- luacheck: ignore
      if _VERSION ~= "Lua 5.4" then
        collectgarbage()
        collectgarbage()
      end
      db:each("SELECT repeat('x', 20000), pg_sleep(CASE n WHEN 3 THEN 60 ELSE 0 END) FROM generate_series(1, 3) n",
        function() return false end)
      db:each("SELECT generate_series(1, 3)", function() return false end)
      assert.equal(1, db:item "SELECT 1 FROM pg_sleep(0.001)")
      assert.equal("idle", state_of(db.pid, "idle"))
    end
    if _VERSION == "Lua 5.4" then assert.equal(pid, db.pid) end -- else the collected ones took theirs along
    db:close()
  end)
end)

describe("a server that does not answer", function()
  local own, admin, grace
  setup(function()
    own = fastpg.cluster()
    admin = own:connect()
    grace = Connection.GRACE
    Connection.GRACE = 2
  end)
  teardown(function()
    os.execute("kill -CONT " .. own.pid)
    Connection.GRACE = grace
    admin:close()
    own:close()
  end)

  local function canceled_while_it_is_prepared(size)
    if not yields then return pending "a task blocks on PUC Lua 5.1" end
    local db = fastpg.create_pool(own.conninfo, { max_size = 1, loop = "step", statement_cache_size = size })
    local pid, second = fastpg.run(function() return db.pid end), nil
    os.execute("kill -STOP " .. pid)
    local t = fastpg.spawn(function()
      local _, err = pcall(db.q, db, "SELECT pg_sleep(3)")
      second = { pcall(db.item, db, "SELECT 1") }
      error(err, 0)
    end)
    for _ = 1, 5 do fastpg.step(0.01) end
    t:cancel()
    for _ = 1, 5 do fastpg.step(0.01) end
    os.execute("kill -CONT " .. pid)
    assert.equal("canceled", failure(t.wait, t).name)
    assert.same({ true, 1 }, second)
    assert.equal(pid, fastpg.run(function() return db.pid end))
    -- and where the server never answers
    os.execute("kill -STOP " .. pid)
    t = fastpg.spawn(function() db:q "SELECT 1" end)
    for _ = 1, 5 do fastpg.step(0.01) end
    t:cancel()
    assert.equal("canceled", failure(t.wait, t).name)
    os.execute("kill -CONT " .. pid)
    db:close()
  end

  it("is told a task that is canceled while its statement is prepared, once", function() canceled_while_it_is_prepared(100) end)
  it("is told it, too, where statements have no names", function() canceled_while_it_is_prepared(0) end)

  it("is left when its time of grace is over", function()
    local db = own:connect()
    local pid = db.pid
    os.execute("kill -STOP " .. pid)
    local began = core.clock()
    local err = timed_out(db, 0.2, "SELECT pg_sleep(60)")
    assert.truthy(err.message:find("does not answer", 1, true), err.message)
    assert.is_true(core.clock() - began >= 2.1)
    os.execute("kill -CONT " .. pid)
    assert.is_true(db.pid ~= pid)
    assert.equal(1, db:item "SELECT 1")
    db:close()
  end)

  it("nor takes a request to cancel, is left, and nothing waits for it but by the host", function()
    local stopped, waits = false, 0
    local block = require "fastpg.host.wait.block"
    local wait = block.wait
    function block.wait(fd, mode, timeout)
      if stopped then waits = waits + 1 end
      assert(fd >= 0)
      return core.poll(fd, mode, math.min(timeout or 0.02, 0.02))
    end
    finally(function() block.wait = wait end)
    local db = own:connect()
    local pid = db.pid
    os.execute("kill -STOP " .. own.pid) -- the backend lives: its answer comes, and the request never ends
    stopped = true
    local err = timed_out(db, 0.1, "SELECT pg_sleep(0.3)")
    assert.is_true(waits > 10)
    assert.truthy(err.message:find("does not answer", 1, true), err.message)
    os.execute("kill -CONT " .. own.pid)
    assert.is_true(db.pid ~= pid)
    for i = 1, 20 do assert.equal(i, db:item("SELECT $1::int FROM pg_sleep(0.01)", i)) end
    db:close()
  end)

  it("is not waited for when a transaction is rolled back", function()
    local db = own:connect()
    local pid = db.pid
    local err = failure(db.transaction, db, function()
      os.execute("kill -STOP " .. pid)
      db:timeout(0.1, function() db:q "SELECT 1" end)
    end)
    os.execute("kill -CONT " .. pid)
    assert.is_true(fastpg.is(err, "timeout") or fastpg.is(err, "connection"), tostring(err))
    assert.equal(1, db:item "SELECT 1")
    db:close()
  end)
end)
