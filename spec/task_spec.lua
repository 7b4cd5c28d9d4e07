-- SPDX-License-Identifier: MIT
--
-- The stepper: tasks, what they wait for, and what is left of them when they fail, are canceled,
-- closed or forgotten.
--
-- Where a test must know that others go on meanwhile, what is waited for is a lock that the test
-- holds, never a length of time.

local core = require "fastpg.core"
local route_of = require("fastpg.pool.route").of
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields" -- else a task blocks, and they run one after the other

local closes = coroutine.close ~= nil -- Lua 5.4

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

local function is(err, name)
  assert.is_true(fastpg.is(err, name), tostring(err))
end

local LIMIT = 60 -- seconds after which what was waited for will never come

-- Steps until `over()`.
local function step_until(over)
  local ends = core.clock() + LIMIT
  while not over() do
    assert.is_true(core.clock() < ends, "it takes too long")
    fastpg.step(0.01)
  end
end

local function collect()
  for _ = 1, 4 do collectgarbage() end
end

if not yields then
  it("tasks block on this Lua, one after the other", function()
    local db = pg.pool(nil, { max_size = 2 })
    local a, b = fastpg.run(function() return db:item("select 1") end, function() return db:item("select 2") end)
    assert.are.same({ 1, 2 }, { a, b })
    db:close()
  end)
  return
end

describe("tasks", function()
  local told
  before_each(function()
    told = {}
    fastpg.on_error = function(err, traceback) told[#told + 1] = { err = err, traceback = traceback } end
  end)
  after_each(function()
    fastpg.on_error = nil
    fastpg.run()
  end)

  it("give their results, with nils among them", function()
    local t = fastpg.spawn(function(...) return select("#", ...), nil, ..., nil end, 1, nil)
    assert.is_false(t.done)
    assert.are.equal("task (running)", tostring(t))
    assert.are.same({ n = 4, 2, nil, 1, nil }, (function(...) return { n = select("#", ...), ... } end)(t:wait()))
    assert.is_true(t.done)
    assert.is_nil(t.error)
    assert.are.equal("task (done)", tostring(t))
    assert.are.equal(2, (t:wait()))
  end)

  it("give their error to whoever waits, each time, and to nobody else", function()
    local object = {}
    local t = fastpg.spawn(function() error(object) end)
    assert.are.equal(object, error_of(t.wait, t))
    assert.are.equal(object, error_of(t.wait, t))
    assert.are.equal(object, t.error)
    assert.is_true(t.done)
    assert.are.equal("task (failed)", tostring(t))
    fastpg.run()
    assert.are.equal(0, #told)
  end)

  it("run gives the results of one function, and the first result of each of several", function()
    assert.are.same({ 1, 2, 3 }, { fastpg.run(function() return 1, 2, 3 end) })
    assert.are.same({ "a", "b" }, { fastpg.run(function() return "a", 1 end, function() return "b", 2 end) })
    assert.are.equal(0, select("#", fastpg.run()))
  end)

  it("run raises the first error that nobody waited for, when all have ended", function()
    local ended
    local err = error_of(fastpg.run, function() error("one", 0) end, function() error("two", 0) end, function()
      fastpg.sleep(0.02)
      ended = true
    end)
    assert.are.equal("one", err)
    assert.is_true(ended)
    assert.are.equal(1, #told)
    assert.are.equal("two", told[1].err)
    fastpg.run() -- and only once
  end)

  it("under step such errors go to fastpg.on_error, with where they happened", function()
    local t = fastpg.spawn(function() error("lost", 0) end)
    local other = fastpg.spawn(function()
      fastpg.sleep(0.01)
      return "fine"
    end)
    step_until(function() return t.done and other.done end)
    assert.are.equal(1, #told)
    assert.are.equal("lost", told[1].err)
    assert.truthy(told[1].traceback:find("spec.lua:", 1, true), told[1].traceback)
    assert.are.equal("fine", other:wait())
  end)

  it("an on_error that fails stops nothing either, and by default stderr is told", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      local fastpg = require "fastpg"
      fastpg.spawn(function() error("to stderr", 0) end)
      while fastpg.step(0.01) do end
      fastpg.on_error = function(err) error("on_error: " .. err, 0) end
      fastpg.spawn(function() error("first", 0) end)
      local t = fastpg.spawn(function() fastpg.sleep(0.01) print("second goes on") end)
      while fastpg.step(0.01) do end
      assert(t.done)
    ]])
    file:close()
    local pipe = io.popen(os.getenv "FPG_TEST_LUA" .. " " .. script .. " 2>&1")
    local out = pipe:read "*a"
    pipe:close()
    os.remove(script)
    assert.truthy(out:find("fastpg: error in a task: to stderr", 1, true), out)
    assert.truthy(out:find("on_error: first", 1, true), out)
    assert.truthy(out:find("second goes on", 1, true), out)
  end)

  it("step says whether tasks are left, and never waits with 0", function()
    assert.is_false(fastpg.step(0))
    local t = fastpg.spawn(function() fastpg.sleep(60) end)
    local before = core.clock()
    for _ = 1, 10 do assert.is_true(fastpg.step(0)) end
    assert.is_true(core.clock() - before < 30)
    t:cancel()
    step_until(function() return not fastpg.step(0) end)
    is(t.error, "canceled")
  end)

  it("a step with nothing to do leaves no garbage", function()
    local t = fastpg.spawn(function() fastpg.sleep(60) end)
    for _ = 1, 100 do fastpg.step(0) end
    collect()
    collectgarbage "stop"
    local before = collectgarbage "count"
    for _ = 1, 1000 do fastpg.step(0) end
    local left = collectgarbage "count" - before
    collectgarbage "restart"
    t:cancel()
    step_until(function() return not fastpg.step(0) end)
    assert.is_true(left < 8, left .. " KB") -- LuaJIT may compile meanwhile
  end)

  it("sleep as long as they say, the shorter ones first", function()
    local order = {}
    local function sleeper(seconds)
      return function()
        local before = core.clock()
        fastpg.sleep(seconds)
        assert(core.clock() - before >= seconds)
        order[#order + 1] = seconds
      end
    end
    fastpg.run(sleeper(0.9), sleeper(0.3), sleeper(0), sleeper(0.6))
    assert.are.same({ 0, 0.3, 0.6, 0.9 }, order)
  end)

  it("let a yield of one's own pass to the next step", function()
    local steps = 0
    local t = fastpg.spawn(function()
      for _ = 1, 3 do
        steps = steps + 1
        coroutine.yield()
      end
      return "over"
    end)
    assert.are.equal("over", t:wait())
    assert.are.equal(3, steps)
  end)

  it("can start tasks, and many of them", function()
    local n = 0
    fastpg.run(function()
      local list = {}
      for i = 1, 1000 do list[i] = fastpg.spawn(function() n = n + 1 end) end
      for _, t in ipairs(list) do t:wait() end
      assert(n == 1000)
    end)
    assert.are.equal(1000, n)
  end)

  it("canceled before they began never begin", function()
    local began
    local t = fastpg.spawn(function() began = true end)
    t:cancel()
    is(error_of(t.wait, t), "canceled")
    assert.is_nil(began)
    t:cancel() -- over: nothing happens
  end)

  it("canceled while they sleep wake up, may clean up, and may go on", function()
    local caught
    local t = fastpg.spawn(function()
      local ok, err = pcall(fastpg.sleep, 60)
      caught = not ok and err
      fastpg.sleep(0.001) -- raised once
      return "cleaned up"
    end)
    fastpg.step(0)
    t:cancel()
    assert.are.equal("cleaned up", t:wait())
    is(caught, "canceled")
  end)

  it("that nobody waits for may be canceled without a word", function()
    local t = fastpg.spawn(function() fastpg.sleep(60) end)
    fastpg.step(0)
    t:cancel()
    fastpg.run()
    assert.is_true(t.done)
    assert.are.equal(0, #told)
  end)

  it("wait in a circle raise at once", function()
    local t
    t = fastpg.spawn(function() return t:wait() end)
    is(error_of(t.wait, t), "deadlock")
    local a, b
    a = fastpg.spawn(function() return b:wait() end)
    b = fastpg.spawn(function() return a:wait() end)
    is(error_of(a.wait, a), "deadlock")
    is(error_of(b.wait, b), "deadlock")
  end)

  it("are over when they are, whatever others wait for", function()
    local host, parked = require "fastpg.host.wait.step", nil
    local t = fastpg.spawn(function()
      parked = coroutine.running()
      host.wait()
    end)
    assert.are.equal(3, fastpg.spawn(function() return 3 end):wait())
    assert.are.equal(4, (fastpg.gather(function() return 4 end)))
    host.wake(parked)
    t:cancel()
    fastpg.run()
  end)

  it("wait for others where they can't yield", function()
    local list = { 2, 1 }
    fastpg.run(function()
      table.sort(list, function(a, b)
        local x, y = fastpg.gather(function() return a end, function() return fastpg.spawn(function() return b end):wait() end)
        return x < y
      end)
    end)
    assert.are.same({ 1, 2 }, list)
  end)

  it("step and run inside a task are errors", function()
    fastpg.run(function()
      is(error_of(fastpg.step, 0), "invalid_argument")
      is(error_of(fastpg.run), "invalid_argument")
    end)
  end)

  it("check their arguments at the caller's line", function()
    for _, call in ipairs{
      function() fastpg.spawn(1) end, function() fastpg.sleep("x") end, function() fastpg.step("x") end,
      function() fastpg.step(0, 0) end, function() fastpg.gather(1) end, function() fastpg.run({}) end,
    } do
      local err = error_of(call)
      is(err, "invalid_argument")
      assert.truthy(tostring(err):find("spec.lua:%d+: fastpg%.%a+: "), tostring(err))
    end
    assert.is_nil(fastpg.spawn(function() end).error)
    local t = fastpg.spawn(function() end)
    assert.truthy(tostring(error_of(function() return t.cancle end)):find("cancel", 1, true))
    is(error_of(t.wait), "invalid_argument")
  end)

  describe("gathered", function()
    it("give the first result of each, in order", function()
      local a, b, c = fastpg.gather(function()
        fastpg.sleep(0.01)
        return 1, "x"
      end, function() end, function() return 3 end)
      assert.are.same({ 1, nil, 3 }, { a, b, c })
      assert.are.equal(0, select("#", fastpg.gather()))
      assert.are.equal(2, (select("#", fastpg.gather(function() end, function() end))))
    end)

    it("the first error cancels the others, and comes when they have ended", function()
      local order = {}
      local err = error_of(fastpg.gather, function()
        local ok, canceled = pcall(fastpg.sleep, 60)
        order[#order + 1] = ok or canceled.name
      end, function()
        fastpg.sleep(0.01)
        order[#order + 1] = "raises"
        error("the first", 0)
      end, function() error(select(2, pcall(fastpg.sleep, 60)), 0) end)
      assert.are.equal("the first", err)
      assert.are.same({ "raises", "canceled" }, order)
      assert.are.equal(0, #told)
    end)

    it("are canceled with the one that gathers", function()
      local seen = {}
      local t = fastpg.spawn(function()
        fastpg.gather(function()
          local _, err = pcall(fastpg.sleep, 60)
          seen[1] = err.name
        end, function()
          local _, err = pcall(fastpg.sleep, 60)
          seen[2] = err.name
        end)
      end)
      fastpg.step(0)
      fastpg.step(0)
      t:cancel()
      is(error_of(t.wait, t), "canceled")
      assert.are.same({ "canceled", "canceled" }, seen)
    end)

    it("may gather", function()
      local function double(n) return function() return 2 * n end end
      assert.are.equal(12, (fastpg.gather(function()
        local a, b = fastpg.gather(double(1), double(2))
        return a + b
      end, double(7))) + select(2, fastpg.gather(double(1), double(3))))
    end)
  end)
end)

describe("the stepper and the server:", function()
  local db, watch
  setup(function()
    watch = pg.db()
    watch:execute[[
      create table gate (id int primary key);
      insert into gate values (1);
      create table entry (task int, step int, txid bigint, pid int);
    ]]
  end)
  teardown(function() watch:close() end)
  after_each(function()
    fastpg.run()
    if db then db:close() end
    db = nil
  end)

  local function activity(where)
    return watch:item("select count(*) from pg_stat_activity where datname = current_database() and pid <> "
      .. "pg_backend_pid() and backend_type = 'client backend' and " .. where)
  end
  local function becomes(n, where)
    for _ = 1, LIMIT * 100 do
      if activity(where) == n then break end
      watch:execute("select pg_sleep(0.01)")
    end
    local found = activity(where)
    if found == n then return end
    error(("%d connections, not %d: %s"):format(found, n, tostring(watch:q("select pid, state, query, backend_start from "
      .. "pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"))), 0)
  end

  -- Runs fn as a task that waits for the table gate, which is locked until somebody else has gone on.
  local function while_locked(fn)
    local lock = watch:begin()
    lock:execute("lock table gate in access exclusive mode")
    local ticks = 0
    local t = fastpg.spawn(fn)
    local ticker = fastpg.spawn(function()
      while not t.done do
        ticks = ticks + 1
        fastpg.sleep(0.005)
      end
    end)
    local ends = core.clock() + LIMIT
    while ticks < 5 or not lock:item("select exists (select from pg_locks where not granted)") do
      assert.is_true(core.clock() < ends, "nobody else went on")
      fastpg.step(0.01)
    end
    assert.is_false(t.done)
    lock:rollback()
    ticker:wait()
    return t:wait()
  end

  it("a thousand tasks on a pool of ten", function()
    db = pg.pool(nil, { max_size = 10 })
    local sum = 0
    for i = 1, 1000 do
      fastpg.spawn(function()
        local n = db:item("select $1::int", i)
        assert(n == i)
        sum = sum + n
      end)
    end
    fastpg.run()
    assert.are.equal(500500, sum)
    local stats = db:stats()
    assert.is_true(stats.opened <= 10)
    assert.are.equal(0, stats.in_use)
    assert.are.equal(0, stats.waiting)
    assert.are.equal(1000, stats.acquired)
  end)

  it("statements run side by side on a pool, in turn on one connection", function()
    db = pg.pool(nil, { max_size = 3 })
    local met -- on a slow machine the first may be gone before the last looks again
    local function meet(n) -- ends only when three hold the lock at the same time
      return function()
        return db:transaction(function(tx)
          tx:execute("select pg_advisory_xact_lock_shared(77)")
          repeat
            local held = tx:item("select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and granted")
            fastpg.sleep(0.002)
            met = met or held == 3
          until met
          return n
        end)
      end
    end
    assert.are.same({ 1, 2, 3 }, { fastpg.gather(meet(1), meet(2), meet(3)) })
    local single = pg.db()
    local order = {}
    local function note(n)
      return function()
        local got = single:item("select $1::int from pg_sleep(0.002)", n)
        order[#order + 1] = got
      end
    end
    fastpg.run(note(1), note(2), note(3), note(4))
    assert.are.same({ 1, 2, 3, 4 }, order)
    single:close()
  end)

  it("transactions of 200 tasks on 10 connections never mix", function()
    db = pg.pool(nil, { max_size = 10 })
    watch:execute("truncate entry")
    local insert = "insert into entry select $1, $2, txid_current(), pg_backend_pid() returning txid, pid"
    local failed, txids, wrong = 0, {}, 0
    for i = 1, 200 do
      fastpg.spawn(function()
        local ok, err = pcall(db.transaction, db, function(tx)
          local first = db:first(insert, i, 1)
          txids[i] = first.txid
          for step = 2, 4 do
            if i % 3 == 0 then fastpg.sleep((i % 7) / 1000) end
            local row = (step % 2 == 0 and db or tx):first(insert, i, step)
            if row.txid ~= first.txid or row.pid ~= first.pid then wrong = wrong + 1 end
            if db.t.entry:count("task = ?", i) ~= step then wrong = wrong + 1 end
          end
          if i % 4 == 0 then error("half " .. i, 0) end
          if i % 4 == 2 then db:q("select 1/0") end
        end)
        if not ok then
          failed = failed + 1
          assert(i % 2 == 0, tostring(err))
          assert(i % 4 == 0 and err == "half " .. i or fastpg.is(err, "division_by_zero"), tostring(err))
        end
      end)
    end
    fastpg.run()
    assert.are.equal(100, failed)
    assert.are.equal(0, wrong)
    assert.are.equal(400, watch:item("select count(*) from entry"))
    assert.are.equal(0, watch:item("select count(*) from entry where task % 2 = 0"))
    for row in watch:each("select distinct task, txid from entry") do
      assert.are.equal(tostring(txids[row.task]), tostring(row.txid))
    end
    becomes(0, "state like 'idle in transaction%'")
    assert.are.equal(10, db:stats().idle)
  end)

  it("a task never inherits a transaction, a deadline or an acquired connection", function()
    db = pg.pool(nil, { max_size = 3 })
    fastpg.run(function()
      db:transaction(function(tx)
        tx:execute("create temp table mine (n int)")
        local function other() return db.pid, db:item("select txid_current_if_assigned() is null") end
        local pid, outside = fastpg.spawn(other):wait()
        assert(pid ~= tx.pid and outside)
        assert(tx.pid == db.pid)
        assert(fastpg.gather(function() return db.pid end) ~= tx.pid)
        db:transaction(function(inner)
          assert(inner.pid == tx.pid)
          assert(fastpg.spawn(function() return db.pid end):wait() ~= tx.pid)
        end)
      end)
      db:timeout(0.02, function()
        local t = fastpg.spawn(function() return db:item("select 1 from pg_sleep(0.06)") end)
        assert(t:wait() == 1)
      end)
    end)
  end)

  it("a generator inside a task blocks rather than yields, and is inside its transaction", function()
    db = pg.pool(nil, { max_size = 3 })
    fastpg.run(function()
      db:transaction(function(tx)
        local ticks, over = 0, false
        fastpg.spawn(function()
          while not over do
            ticks = ticks + 1
            fastpg.sleep(0)
          end
        end)
        local numbers = coroutine.wrap(function()
          for i = 1, 3 do coroutine.yield(db:first("select $1::int as i, pg_backend_pid() as pid from pg_sleep(0.01)", i)) end
        end)
        local before = ticks
        for i = 1, 3 do
          local row = numbers()
          assert(row.i == i and row.pid == tx.pid)
        end
        assert(ticks == before, "somebody ran in between")
        over = true
      end)
    end)
  end)

  it("tx used by several tasks takes turns, and is over afterwards", function()
    db = pg.pool(nil, { max_size = 2 })
    local kept
    local err = error_of(fastpg.run, function()
      db:transaction(function(tx)
        kept = tx
        local order, list = {}, {}
        for i = 1, 20 do
          list[i] = function()
            local got = tx:item("select $1::int from pg_sleep(0.001)", i)
            order[#order + 1] = got
          end
        end
        fastpg.gather((table.unpack or unpack)(list))
        for i = 1, 20 do assert(order[i] == i) end
        local failure = error_of(fastpg.gather, function() tx:q("select 1/0") end, function() tx:q("select 1") end)
        assert(fastpg.is(failure, "division_by_zero"), tostring(failure))
        error("undo", 0)
      end)
    end)
    assert.are.equal("undo", err)
    is(error_of(kept.q, kept, "select 1"), "closed")
    assert.are.equal(0, db:stats().in_use)
  end)

  it("what can never end raises at once", function()
    db = pg.db()
    fastpg.run(function()
      local err = error_of(db.transaction, db, function() fastpg.gather(function() db:q("select 1") end) end)
      is(err, "deadlock")
      err = error_of(db.acquire, db, function() fastpg.spawn(function() db:q("select 1") end):wait() end)
      is(err, "deadlock")
      assert(db:item("select 1") == 1)
    end)
    local pool = pg.pool(nil, { max_size = 2 })
    local errors = {}
    local function greedy(i)
      return function()
        local ok, err = pcall(pool.transaction, pool, function()
          repeat fastpg.sleep(0.01) until pool:stats().in_use == 2 or #errors > 0
          return fastpg.spawn(function() return pool:item("select 1") end):wait()
        end)
        if not ok then errors[#errors + 1] = { i, err } end
      end
    end
    fastpg.run(greedy(1), greedy(2))
    assert.are.equal(1, #errors) -- then there is one for the other
    is(errors[1][2], "deadlock")
    assert.are.equal(0, pool:stats().in_use)
    pool:close()
  end)

  it("a blocking call that would wait for a task raises at once", function()
    db = pg.db()
    local t = fastpg.spawn(function() db:transaction(function() fastpg.sleep(0.05) end) end)
    step_until(function() return db:stats().in_use == 1 end)
    local err = error_of(db.q, db, "select 1")
    is(err, "deadlock")
    assert.truthy(tostring(err):find("nothing else can run", 1, true), tostring(err))
    t:wait()
    assert.are.equal(1, db:item("select 1"))
  end)

  it("cancel stops the server's query, rolls back, and the connection lives on", function()
    db = pg.pool(nil, { max_size = 1 })
    watch:execute("truncate entry")
    local pid
    local t = fastpg.spawn(function()
      db:transaction(function(tx)
        pid = tx.pid
        tx:execute("insert into entry (task) values (1)")
        tx:execute("select pg_sleep(60)")
      end)
    end)
    step_until(function() return activity("query like '%pg_sleep(60)%' and state = 'active'") == 1 end)
    t:cancel()
    is(error_of(t.wait, t), "canceled")
    becomes(0, "state <> 'idle'")
    assert.are.equal(0, watch:item("select count(*) from entry"))
    assert.are.equal(pid, db.pid)
    assert.are.equal(1, db:stats().opened)
  end)

  it("cancel reaches whoever waits for the pool, for a turn, and in each", function()
    db = pg.pool(nil, { max_size = 1 })
    local holder = fastpg.spawn(function() db:acquire(function() fastpg.sleep(60) end) end)
    step_until(function() return db:stats().in_use == 1 end)
    local waiting = fastpg.spawn(function() db:q("select 1") end)
    step_until(function() return db:stats().waiting == 1 end)
    waiting:cancel()
    is(error_of(waiting.wait, waiting), "canceled")
    assert.are.equal(0, db:stats().waiting)
    holder:cancel()
    is(error_of(holder.wait, holder), "canceled")
    local n = 0
    local reader = fastpg.spawn(function()
      for _ in db:each("select generate_series(1, 100000000)") do n = n + 1 end
    end)
    step_until(function() return n > 0 end)
    reader:cancel()
    is(error_of(reader.wait, reader), "canceled")
    becomes(0, "state <> 'idle'")
    assert.are.equal(1, db:item("select 1"))
    assert.are.equal(1, db:stats().opened)
  end)

  it("timeouts are each task's own", function()
    db = pg.pool(nil, { min_size = 3, max_size = 3 })
    local function timed(seconds, sleep)
      return function()
        return fastpg.try(function()
          return db:timeout(seconds, function() return db:item("select 1 from pg_sleep($1)", sleep) end)
        end) or "timeout"
      end
    end
    assert.are.same({ "timeout", 1, "timeout" }, { fastpg.gather(timed(0.03, 60), timed(20, 0.1), timed(0.05, 60)) })
    becomes(0, "state <> 'idle'")
    assert.are.equal(3, db:stats().size) -- they were canceled, not closed
    local one = pg.pool(nil, { min_size = 1, max_size = 1 })
    fastpg.run(function()
      one:acquire(function()
        local waiting = fastpg.spawn(function() one:timeout(0.02, function() one:q("select 1") end) end)
        repeat fastpg.sleep(0.01) until waiting.done
        assert(fastpg.is(waiting.error, "timeout"))
        pcall(waiting.wait, waiting)
      end)
    end)
    one:close()
  end)

  it("command_timeout stops the server's query", function()
    db = pg.pool({ command_timeout = 0.5 }, { min_size = 1, max_size = 1 })
    local err = error_of(fastpg.run, function() db:q("select pg_sleep(60)") end)
    is(err, "timeout")
    becomes(0, "state = 'active'")
    assert.are.equal(1, db:item("select 1"))
    assert.are.equal(1, db:stats().opened)
  end)

  it("metamethods, iterators and transactions yield", function()
    db = pg.pool(nil, { max_size = 2 })
    local gate = db.t.gate
    assert.are.equal(1, gate[1].id)
    assert.are.equal(1, while_locked(function() return gate[1].id end))
    assert.are.equal(1, while_locked(function() return #gate end))
    assert.are.equal(1, while_locked(function() return #gate() end))
    assert.are.equal(1, while_locked(function()
      local last
      for row in gate:each() do last = row.id end
      return last
    end))
    assert.are.equal(1, while_locked(function()
      return db:transaction(function() return gate:where("id = ?", 1):first().id end)
    end))
    assert.are.equal(1, while_locked(function() return (pcall(gate.get, gate, 1)) and 1 end))
    assert.are.equal(1, while_locked(function() return db:pipeline(function(p) p:item("select id from gate") end)[1] end))
  end)

  it("a big list is decoded in pieces, rows by each likewise", function()
    db = pg.pool(nil, { max_size = 2 })
    local sql = "select n, n::text as t from generate_series(1, 5000) n"
    local t = fastpg.spawn(function() return db:q(sql) end)
    local steps = 0
    while fastpg.step(0, 100) do steps = steps + 1 end
    assert.is_true(steps >= 49, steps .. " steps")
    local rows = t:wait()
    assert.are.equal(5000, #rows)
    for i = 1, 5000, 99 do assert.are.equal(i, rows[i].n) end
    local n, most = 0, 0
    t = fastpg.spawn(function()
      for row in db:each(sql) do
        n = n + 1
        assert(row.n == n)
      end
    end)
    repeat
      local before = n
      fastpg.step(0, 100)
      most = math.max(most, n - before)
    until t.done
    t:wait()
    assert.are.equal(5000, n)
    assert.is_true(most <= 100, most .. " rows in one step")
  end)

  it("ten streams at once, some left early", function()
    db = pg.pool(nil, { max_size = 10 })
    local counts = {}
    for i = 1, 10 do
      fastpg.spawn(function()
        counts[i] = 0
        db:each("select generate_series(1, 2000) as n", function(row)
          counts[i] = counts[i] + 1
          assert(row.n == counts[i])
          return i % 2 == 0 or row.n < 100
        end)
      end)
    end
    fastpg.run()
    for i = 1, 10 do assert.are.equal(i % 2 == 0 and 2000 or 100, counts[i]) end
    assert.are.equal(0, db:stats().in_use)
    becomes(0, "state <> 'idle'")
  end)

  it("a task may open the connection, and be canceled meanwhile", function()
    db = pg.pool(nil, { max_size = 1 })
    local list = {}
    for i = 1, 20 do
      list[i] = fastpg.spawn(function() return db:item("select $1::int", i) end)
      for _ = 1, i % 4 do fastpg.step(0) end
      if i % 2 == 0 then list[i]:cancel() end
    end
    fastpg.run()
    for i = 1, 20 do
      if i % 2 == 1 then assert.are.equal(i, list[i]:wait()) end
    end
    assert.are.equal(0, db:stats().in_use)
    becomes(1, "true")
  end)

  if closes then
    it("a coroutine closed in the middle of a query gives its place back", function()
      db = pg.pool(nil, { max_size = 1 })
      local co
      local t = fastpg.spawn(function()
        co = coroutine.running()
        db:q("select pg_sleep(3)")
      end)
      step_until(function() return activity("query like '%pg_sleep(3)%' and state = 'active'") == 1 end)
      assert.is_true(coroutine.close(co))
      assert.is_true(t.done)
      is(t.error, "canceled")
      assert.are.equal(0, db:stats().size)
      assert.are.equal(1, fastpg.run(function() return db:item("select 1") end))
      becomes(1, "true")
    end)

    it("a coroutine closed inside a transaction, in each or while it waits leaves nothing", function()
      db = pg.pool(nil, { max_size = 2 })
      watch:execute("truncate entry")
      local function closed_when(reached, fn)
        local co
        local t = fastpg.spawn(function()
          co = coroutine.running()
          fn()
        end)
        step_until(reached)
        coroutine.close(co)
        assert.is_true(t.done)
      end
      local here = false
      local function reached() return here end
      local function sleep()
        here = true
        fastpg.sleep(60)
      end
      closed_when(reached, function()
        db:transaction(function(tx)
          tx:execute("insert into entry (task) values (1)")
          db:transaction(sleep)
        end)
      end)
      here = false
      closed_when(reached, function() for _ in db:each("select generate_series(1, 1000000)") do sleep() end end)
      here = false
      closed_when(reached, function() db:acquire(sleep) end)
      here = false
      closed_when(reached, function() db:timeout(LIMIT, sleep) end)
      assert.are.equal(0, db:stats().in_use)
      local holders = { db:begin(), db:begin() }
      closed_when(function() return db:stats().waiting == 1 end, function() db:q("select 1") end)
      for _, tx in ipairs(holders) do tx:rollback() end
      fastpg.run(function()
        assert(db:item("select txid_current_if_assigned() is null"))
      end)
      assert.are.equal(0, db:stats().waiting)
      becomes(0, "state <> 'idle'")
      assert.are.equal(0, watch:item("select count(*) from entry"))
    end)

    it("a coroutine closed while it waits for the first row or for BEGIN", function()
      db = pg.pool(nil, { max_size = 2 })
      for i, fn in ipairs{
        function() for _ in db:each("select pg_sleep(60)") do end end, -- luacheck: ignore 542
        function() db:begin() end,
      } do
        local co
        local sleeps = i == 1
        fastpg.spawn(function()
          co = coroutine.running()
          fn()
        end)
        step_until(function() return db:stats().in_use == 1 and #route_of(db).root.pool.idle == 0 end)
        for _ = 1, 3 do fastpg.step(0.01) end
        -- A request to cancel that comes before its statement does nothing.
        if sleeps then step_until(function() return activity("query like '%pg_sleep(60)%' and state = 'active'") == 1 end) end
        coroutine.close(co)
        assert.are.equal(0, db:stats().in_use)
        becomes(0, "state = 'active'")
      end
      assert.are.equal(0, route_of(db).root.streams)
    end)

    it("a coroutine closed while it opens the connection", function()
      db = pg.pool(nil, { max_size = 1 })
      for _ = 1, 6 do
        local co
        fastpg.spawn(function()
          co = coroutine.running()
          db:q("select 1")
        end)
        for _ = 1, 3 do fastpg.step(0) end
        coroutine.close(co)
      end
      assert.are.equal(0, db:stats().size)
      assert.are.equal(1, fastpg.run(function() return db:item("select 1") end))
      collect() -- what was half open
      becomes(1, "true")
    end)
  end

  it("a task leaves no memory behind", function()
    local function many()
      for i = 1, 2000 do
        fastpg.spawn(function() end)
        if i % 100 == 0 then fastpg.run() end
      end
      collect()
      return collectgarbage "count"
    end
    many()
    local before = many()
    assert.is_true(many() - before < 200)
  end)

  it("coroutines that are dropped never keep their connection", function()
    db = pg.pool(nil, { max_size = 2 })
    local function drop(fn)
      local co = coroutine.create(fn)
      assert(coroutine.resume(co))
    end
    fastpg.run(function()
      for _ = 1, 10 do
        drop(function() db:transaction(function(tx)
          tx:execute("insert into entry (task) values (99)")
          coroutine.yield()
        end) end)
        drop(function()
          for _ in db:each("select generate_series(1, 100000)") do coroutine.yield() end
        end)
        drop(function() db:acquire(coroutine.yield) end)
        drop(function()
          local tx = db:begin()
          tx:execute("select 1")
          coroutine.yield()
        end)
        assert(db:item("select 1") == 1)
      end
    end)
    collect()
    assert.are.equal(0, watch:item("select count(*) from entry where task = 99"))
    assert.are.equal(1, db:item("select 1"))
    becomes(0, "state <> 'idle'")
    assert.is_true(activity("true") <= 2)
  end)
end)

describe("in a script", function()
  it("a wait that would never end is an error at once", function()
    local db = pg.pool(nil, { max_size = 1 })
    is(error_of(db.acquire, db, function()
      return fastpg.spawn(function() return db:item("select 1") end):wait()
    end), "deadlock")
    fastpg.run()
    assert.are.equal(1, db:item("select 1"))
    db:close()
  end)
end)

describe("a pool under the stepper", function()
  local db, watch
  setup(function() watch = pg.db() end)
  teardown(function() watch:close() end)
  after_each(function()
    fastpg.run()
    if db then db:close() end
    db = nil
  end)

  local function connections()
    return watch:item([[select count(*) from pg_stat_activity where datname = current_database()
      and pid <> pg_backend_pid() and backend_type = 'client backend']])
  end
  local function becomes(n)
    for _ = 1, LIMIT * 100 do
      if connections() == n then break end
      watch:execute("select pg_sleep(0.01)")
    end
    assert.are.equal(n, connections())
  end

  it("serves who waits first come, first served, also when some give up", function()
    db = pg.pool(nil, { max_size = 2 })
    local order, tasks, held = {}, {}, true
    local function hold() db:acquire(function() while held do fastpg.sleep(0.005) end end) end
    local first, second = fastpg.spawn(hold), fastpg.spawn(hold)
    step_until(function() return db:stats().in_use == 2 end)
    for i = 1, 30 do
      tasks[i] = fastpg.spawn(function()
        db:acquire(function() order[#order + 1] = i end)
      end)
    end
    step_until(function() return db:stats().waiting == 30 end)
    for i = 1, 30, 3 do tasks[i]:cancel() end
    held = false
    fastpg.run()
    assert.is_true(first.done and second.done)
    assert.are.equal(20, #order)
    for i = 2, 20 do assert.is_true(order[i] > order[i - 1]) end
    local stats = db:stats()
    assert.are.equal(0, stats.waiting)
    assert.are.equal(30, stats.waited)
    assert.are.equal(2, stats.opened)
  end)

  it("nobody who comes later overtakes", function()
    db = pg.pool(nil, { max_size = 1 })
    local order = {}
    local function use(i, again)
      return function()
        db:acquire(function() fastpg.sleep(0.001) end)
        order[#order + 1] = i
        if again then
          db:acquire(function() end) -- at once, before the others were resumed
          order[#order + 1] = i .. " again"
        end
      end
    end
    fastpg.run(use("a", true), use("b"), use("c"))
    assert.are.same({ "a", "b", "c", "a again" }, order)
  end)

  it("acquire_timeout", function()
    db = pg.pool(nil, { min_size = 1, max_size = 1, acquire_timeout = 0.2 })
    fastpg.run(function()
      db:acquire(function()
        local t = fastpg.spawn(function() db:q("select 1") end)
        local err = error_of(t.wait, t)
        assert(err.name == "deadlock" and fastpg.is(err, "timeout"), tostring(err)) -- at once: this one waits for the other
        t = fastpg.spawn(function() db:q("select 1") end)
        repeat fastpg.sleep(0.01) until t.done
        err = error_of(t.wait, t)
        assert.are.equal("timeout", err.name)
      end)
    end)
    assert.are.equal(1, db:stats().timeouts)
    assert.are.equal(0, db:stats().waiting)
    assert.are.equal(1, db:item("select 1"))
  end)

  it("opens as many as are needed up to max_size and keeps min_size", function()
    db = pg.pool(nil, { min_size = 1, max_size = 4, max_inactive_connection_lifetime = 2 })
    assert.are.equal(1, connections())
    for _ = 1, 8 do fastpg.spawn(function() db:q("select pg_sleep(0.1)") end) end
    step_until(function() return db:stats().size == 4 end)
    fastpg.run()
    assert.are.equal(4, db:stats().size)
    fastpg.run(function()
      local ends = core.clock() + LIMIT
      repeat
        fastpg.sleep(0.06)
        db:q("select 1") -- no timer runs: the others go at the next occasion
      until db:stats().size == 1 or core.clock() > ends
    end)
    assert.are.equal(1, db:stats().size)
    becomes(1)
  end)

  it("max_lifetime renews what is used all the time", function()
    db = pg.pool(nil, { max_size = 1, max_lifetime = 0.05 })
    local pids, n = {}, 0
    fastpg.run(function()
      for _ = 1, 15 do
        local pid = db.pid
        if not pids[pid] then pids[pid], n = true, n + 1 end
        fastpg.sleep(0.01)
      end
    end)
    assert.is_true(n >= 2, n .. " connections")
    becomes(1)
  end)

  it("runs init on each new connection, in a place that can wait", function()
    local inits, ticks, over = 0, 0, false
    db = pg.pool({ init = function(c)
      c:execute("set application_name = 'from init'")
      c:q("select pg_sleep(0.02)")
      inits = inits + 1
    end }, { max_size = 3 })
    fastpg.spawn(function()
      while not over do
        ticks = ticks + 1
        fastpg.sleep(0.001)
      end
    end)
    local function name()
      return db:acquire(function(c)
        repeat fastpg.sleep(0.005) until inits == 3
        return c:item("select current_setting('application_name')")
      end)
    end
    local a, b, c = fastpg.gather(name, name, name)
    over = true
    assert.are.same({ "from init", "from init", "from init" }, { a, b, c })
    assert.are.equal(3, inits)
    assert.is_true(ticks >= 3)
  end)

  it("an init that fails is the error of who needed the connection, and the pool goes on", function()
    local fail = true
    db = pg.pool({ init = function() if fail then error("init says no", 0) end end }, { max_size = 2 })
    local function ask() return db:item("select 1") end
    local a, b, c = fastpg.spawn(ask), fastpg.spawn(ask), fastpg.spawn(ask)
    assert.are.equal("init says no", error_of(a.wait, a))
    assert.are.equal("init says no", error_of(b.wait, b))
    assert.are.equal("init says no", error_of(c.wait, c))
    assert.are.equal(0, db:stats().size)
    fail = false
    assert.are.same({ 1, 1 }, { fastpg.gather(ask, ask) })
    becomes(db:stats().size)
  end)

  it("reset takes the state of the session away", function()
    for _, reset in ipairs{ true, "reset application_name; select pg_advisory_unlock_all()" } do
      db = pg.pool(nil, { max_size = 1, reset = reset })
      fastpg.run(function()
        db:execute("set application_name = 'left'")
        assert(db:item("show application_name") ~= "left")
        db:acquire(function(c)
          c:execute("set application_name = 'kept'")
          c:q("select pg_advisory_lock(5)")
          assert(c:item("show application_name") == "kept")
        end)
        assert(db:item("select count(*) from pg_locks where locktype = 'advisory' and objid = 5") == 0)
        assert(db:item("show datestyle"):find("^ISO"))
      end)
      assert.are.equal(1, db:stats().opened)
      db:close()
    end
  end)

  it("a connection that died while idle is replaced without an error", function()
    db = pg.pool(nil, { max_size = 1 })
    fastpg.run(function()
      local pid = db.pid
      watch:execute("select pg_terminate_backend($1)", pid)
      becomes(0)
      assert(db:item("select 1") == 1)
      assert(db.pid ~= pid)
    end)
    assert.are.equal(2, db:stats().opened)
    assert.are.equal(1, db:stats().closed)
  end)

  it("close tells those who wait; who has a connection ends in peace", function()
    db = pg.pool(nil, { max_size = 1 })
    local result
    local holder = fastpg.spawn(function()
      result = db:acquire(function(c)
        fastpg.sleep(0.03)
        return c:item("select 42")
      end)
    end)
    step_until(function() return db:stats().in_use == 1 end)
    local a = fastpg.spawn(function() db:q("select 1") end)
    local b = fastpg.spawn(function() db:q("select 1") end)
    step_until(function() return db:stats().waiting == 2 end)
    db:close()
    is(error_of(a.wait, a), "closed")
    is(error_of(b.wait, b), "closed")
    holder:wait()
    assert.are.equal(42, result)
    becomes(0)
  end)

  it("close(timeout) waits for those in use, and not longer", function()
    fastpg.run(function()
      db = pg.pool(nil, { min_size = 2, max_size = 2 })
      local t = fastpg.spawn(function() return db:item("select 7 from pg_sleep(0.03)") end)
      fastpg.sleep(0.01)
      db:close(LIMIT)
      assert(t:wait() == 7)
      assert(db:stats().size == 0)
      db = pg.pool(nil, { min_size = 2, max_size = 2 })
      local slow = fastpg.spawn(function() return db:item("select 7 from pg_sleep(20)") end)
      local over = false
      local idler = fastpg.spawn(function() db:acquire(function(c)
        repeat fastpg.sleep(0.005) until over
        return c:q("select 1")
      end) end)
      repeat fastpg.sleep(0.005) until db:stats().in_use == 2
      db:close(0.02)
      over = true
      assert(db:stats().size == 0)
      is(error_of(slow.wait, slow), "closed")
      is(error_of(idler.wait, idler), "closed")
    end)
    becomes(0)
  end)

  it("a pool that is closed while it opens connections keeps none", function()
    db = pg.pool(nil, { max_size = 2 })
    local t = fastpg.spawn(function() return error_of(db.q, db, "select 1") end)
    fastpg.step(0)
    fastpg.run(function() db:close(0) end)
    is(t:wait(), "closed")
    assert.are.equal(0, db:stats().size)
    becomes(0)
  end)

  it("works in a script and under the stepper in turns", function()
    db = pg.pool(nil, { max_size = 2 })
    local pid = db.pid
    assert.are.equal(pid, fastpg.run(function() return db.pid end))
    assert.are.equal(pid, db.pid)
    assert.are.equal(2, fastpg.run(function() return db:item("select 2") end))
    assert.are.equal(1, db:stats().opened)
  end)
end)
