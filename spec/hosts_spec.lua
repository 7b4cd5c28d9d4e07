-- SPDX-License-Identifier: MIT
--
-- The hosts: each waits for many coroutines at once, ends a wait by time or call, and keeps nothing
-- of a connection that is idle.

local core = require "fastpg.core"
local route_of = require("fastpg.pool.route").of
local custom = require "fastpg.host.wait.custom"
local pg = require "spec.support.pg"

local LIMIT = 60 -- seconds that a loop may run

-- ---- the loops ------------------------------------------------------------------------------

-- How each loop runs `begin` in it until done() is true; `idle` says whether it has nothing to wait for.
local loops = {}

function loops.luv()
  local host, uv = require "fastpg.host.wait.luv", require "luv"
  return {
    host = host,
    loop = "luv",
    run = function(begin)
      local watchdog = uv.new_timer()
      uv.update_time()
      watchdog:start(LIMIT * 1000, 0, function() uv.stop() end)
      watchdog:unref()
      begin()
      uv.run()
      watchdog:close()
      uv.run "nowait"
    end,
    idle = function() return not uv.loop_alive() end,
  }
end

function loops.cqueues()
  local host, cqueues = require "fastpg.host.wait.cqueues", require "cqueues"
  local controller
  return {
    host = host,
    loop = "cqueues",
    run = function(begin) -- a new controller each time
      controller = cqueues.new()
      controller:wrap(begin)
      local ok, why = controller:loop(LIMIT)
      if not ok then error(why, 0) end
    end,
    idle = function() return controller:empty() end,
  }
end

function loops.copas()
  local copas, socket = require "copas", require "socket"
  local host = require "fastpg.host.wait.copas"
  local waited_for
  local select_sockets = socket.select
  return {
    host = host,
    loop = "copas",
    run = function(begin, done)
      local deadline = core.clock() + LIMIT
      begin()
      while not done() and core.clock() < deadline do copas.step(1) end
    end,
    idle = function()
      function socket.select(r, w, timeout) -- luacheck: ignore 122
        waited_for = #r + #w
        return select_sockets(r, w, timeout)
      end
      copas.step(0)
      socket.select = select_sockets -- luacheck: ignore 122
      return waited_for == 0
    end,
  }
end

-- A user's own loop, which polls one descriptor after the other.
function loops.custom()
  local ready, waits = {}, {}
  local function yielding(fd, mode, timeout)
    local w = { co = coroutine.running(), fd = fd, mode = mode, deadline = timeout and core.clock() + timeout }
    waits[w] = true
    return coroutine.yield()
  end
  local function turn()
    local now = core.clock()
    for w in pairs(waits) do
      local mode = core.poll(w.fd, w.mode, 0)
      if mode or w.deadline and w.deadline <= now then
        waits[w] = nil
        ready[#ready + 1] = function() assert(coroutine.resume(w.co, mode)) end
      end
    end
    local runnable = ready
    ready = {}
    for _, fn in ipairs(runnable) do fn() end
    core.poll(-1, "r", 0.001)
  end
  local user = {
    wait = yielding,
    spawn = function(fn) assert(coroutine.resume(coroutine.create(fn))) end,
    can_wait = core.is_yieldable,
  }
  return {
    host = custom.new(user),
    loop = user,
    run = function(begin, done)
      local deadline = core.clock() + LIMIT
      begin()
      while not done() and core.clock() < deadline do turn() end
    end,
    idle = function() return next(waits) == nil and #ready == 0 end,
  }
end

-- ---- what each of them does -----------------------------------------------------------------

-- Runs the functions side by side in one turn of the loop; raises the first error.
local function run(loop, functions)
  local ended, failure = 0, nil
  local function done() return ended == #functions end
  loop.run(function()
    for _, fn in ipairs(functions) do
      local spawned
      loop.host.spawn(function()
        spawned = true
        local ok, err = pcall(fn)
        if not ok then failure = failure or err end
        ended = ended + 1
      end)
      assert.is_nil(spawned) -- not inside spawn itself
    end
  end, done)
  if failure then error(failure, 0) end
  assert.is_true(done(), "something never ended")
end

local function seconds(fn, ...)
  local started = core.clock()
  local result = fn(...)
  return core.clock() - started, result
end

local function first(db, ...) return db:q(...)[1] end

local function behaviours(get)
  local loop, host
  before_each(function()
    loop = get()
    host = loop.host
  end)

  local function pool(size) return pg.pool({ loop = loop.loop }, { max_size = size }) end

  it("waits for many at once, and each goes on as soon as its answer comes", function()
    local db, watch, order = pool(8), pg.db{ loop = "block" }, {}
    local waiting = {}
    for i = 1, 8 do
      watch:execute("select pg_advisory_lock($1)", i)
      waiting[i] = function()
        db:q("select pg_advisory_lock_shared($1)", i)
        order[#order + 1] = i
      end
    end
    waiting[9] = function() -- lets them go in another order than they came in, one after the other
      repeat
        host.wait(nil, nil, 0.01)
      until watch:item "select count(*) from pg_locks where locktype = 'advisory' and not granted" == 8
      for n, i in ipairs{ 3, 8, 1, 2, 7, 6, 5, 4 } do
        watch:execute("select pg_advisory_unlock($1)", i)
        while #order < n do host.wait(nil, nil, 0.01) end
      end
    end
    run(loop, waiting)
    assert.same({ 3, 8, 1, 2, 7, 6, 5, 4 }, order)
    assert.is_true(loop.idle())
    db:close()
    watch:close()
  end)

  it("goes on under the next loop, and is idle between", function()
    local db = pool(3)
    for i = 1, 3 do
      local got = {}
      local function ask()
        for j = 1, 5 do
          local n = first(db, "select $1::int as n", i * j).n
          got[#got + 1] = n
        end
      end
      run(loop, { ask, ask, ask })
      assert.equal(15, #got)
      assert.is_true(loop.idle())
    end
    db:close()
  end)

  it("carries much in both directions", function()
    local db, text = pool(2), ("x"):rep(3e6)
    local function ask()
      assert.equal(#text, first(db, "select length($1) as n", text).n)
      assert.equal(20000, #db:q "select repeat('y', 100) from generate_series(1, 20000)")
    end
    run(loop, { ask, ask })
    db:close()
  end)

  it("lets others have their descriptors while one sleeps no time, again and again", function()
    local db, done = pool(2), false
    run(loop, { function()
      for i = 1, 3 do assert.equal(i, first(db, "select $1::int as n", i).n) end
      done = true
    end, function()
      local ends = core.clock() + LIMIT / 2
      while not done and core.clock() < ends do host.wait(nil, nil, 0) end
      assert.is_true(done)
    end })
    db:close()
  end)

  it("lets others have a turn while rows are decoded that are there", function()
    if not host.spend then return end
    local turns, done = 0, false
    run(loop, { function()
      local ends = core.clock() + LIMIT / 2
      while turns < 5 and core.clock() < ends do host.spend(1) end
      done = true
    end, function()
      while not done do
        host.wait(nil, nil, 0)
        turns = turns + 1
      end
    end })
    assert.is_true(turns >= 5)
  end)

  it("sleeps", function()
    local took, result
    run(loop, { function() took, result = seconds(host.wait, nil, nil, 0.1) end })
    assert.is_nil(result)
    assert.is_true(took > 0.05)
    assert.is_true(loop.idle())
  end)

  it("ends a wait for a descriptor in time", function()
    local db, result, took = pool(1), "none", nil
    run(loop, { function()
      db:acquire(function(tx) took, result = seconds(host.wait, route_of(tx):connection().fd, "r", 0.1) end)
      assert.equal(1, first(db, "select 1 as n").n)
    end })
    assert.is_nil(result)
    assert.is_true(took > 0.05)
    assert.is_true(loop.idle())
    db:close()
  end)

  it("says what is ready", function()
    local db = pool(1)
    run(loop, { function()
      db:acquire(function(tx)
        local fd = route_of(tx):connection().fd
        assert.equal("w", host.wait(fd, "w", 50))
        assert.equal("w", host.wait(fd, "rw", 50))
        assert.equal("w", host.wait(fd, "w", nil))
      end)
    end })
    db:close()
  end)

  it("is woken from parking, sleeping and waiting for a descriptor", function()
    local db, results, parked = pool(1), {}, {}
    local function park(name, ...)
      local args, n = { ... }, select("#", ...)
      return function()
        parked[#parked + 1] = coroutine.running()
        results[name] = host.wait(args[1], args[2], n > 2 and args[3] or nil)
      end
    end
    run(loop, {
      function()
        db:acquire(function(tx)
          local conn = route_of(tx):connection()
          parked[#parked + 1] = coroutine.running()
          results.fd = host.wait(conn.fd, "r", 50)
          results.after = host.wait(conn.fd, "r", 0.05)
          assert.equal(1, first(tx, "select 1 as n").n)
        end)
      end,
      park("for ever"), park("time", nil, nil, 50),
      function()
        while #parked < 3 do host.wait(nil, nil, 0.02) end
        host.wake(coroutine.running()) -- in no wait
        local asked = coroutine.create(function() end)
        host.wake(asked)
        for _, co in ipairs(parked) do
          host.wake(co)
          host.wake(co)
        end
        assert.same({}, results) -- not inside wake
        results.own = host.wait(nil, nil, 0.01)
      end,
    })
    assert.same({ fd = "woken", ["for ever"] = "woken", time = "woken" }, results)
    assert.is_true(loop.idle())
    db:close()
  end)

  it("knows where it can wait", function()
    local inside
    run(loop, { function() inside = host.can_wait() end })
    assert.is_true(inside)
    assert.is_false(host.can_wait())
  end)

  it("waits nowhere when a connection is refused, and leaves nothing", function()
    local db = require("fastpg").create_pool{ host = "127.0.0.1", port = 1, user = "x", loop = loop.loop, connect_timeout = 30 }
    local err
    run(loop, { function() err = select(2, pcall(db.q, db, "select 1")) end })
    assert.is_true(require("fastpg").is(err, "connection"))
    assert.is_true(loop.idle())
  end)

  it("waits many times without leaving descriptors", function()
    local db = pool(4)
    local function ask() for _ = 1, 100 do db:q "select 1" end end
    run(loop, { ask, ask, ask, ask })
    local function count()
      collectgarbage() -- controllers
      collectgarbage()
      local pipe = io.popen("ls /proc/$PPID/fd | wc -l")
      local n = pipe:read "*n"
      pipe:close()
      return n
    end
    local before = count()
    run(loop, { ask, ask, ask, ask })
    assert.is_true(count() <= before)
    db:close()
  end)
end

-- Not PUC Lua 5.1: there nothing that is called by pcall can wait.
local yields_across_pcall = select(2, coroutine.resume(coroutine.create(function() pcall(coroutine.yield, 1) end))) == 1

for _, name in ipairs{ "luv", "cqueues", "copas", "custom" } do
  describe("the host " .. name, function()
    local ok, loop = pcall(loops[name])
    if ok and yields_across_pcall then
      behaviours(function() return loop end)
    else
      pending("is not there for this Lua: " .. (ok and "no yield across pcall" or tostring(loop):match "[^\n]*"))
    end
  end)
end

-- ---- what only some have --------------------------------------------------------------------

describe("the host luv", function()
  local ok, uv = pcall(require, "luv")
  if not ok or not yields_across_pcall then return end
  local host = require "fastpg.host.wait.luv"

  it("keeps no loop alive where a descriptor can't be watched", function()
    local ok_wait, err = nil, nil
    assert(coroutine.resume(coroutine.create(function() ok_wait, err = pcall(host.wait, 9999, "r") end)))
    assert.is_false(ok_wait)
    assert.equal("connection", err.name)
    uv.run()
    assert.is_false(uv.loop_alive())
  end)

  it("tells of an error that nobody catches", function()
    local told
    local before = host.on_error
    function host.on_error(...) told = { ... } end
    coroutine.wrap(function()
      host.wait(nil, nil, 0.01)
      error { "lost" }
    end)()
    uv.run()
    host.on_error = before
    assert.same({ "lost" }, told[1])
    assert.truthy(told[2]:find("hosts_spec.lua", 1, true))
  end)

  it("lets go of a coroutine that was closed", function()
    if not coroutine.close then return end
    local db = pg.db{ loop = "block" }
    db:acquire(function(tx)
      local fd = route_of(tx):connection().fd
      local co = coroutine.create(function() host.wait(fd, "r", 60) end)
      assert(coroutine.resume(co))
      assert.is_true(uv.loop_alive())
      coroutine.close(co)
      uv.run "nowait"
      assert.is_false(uv.loop_alive())
      local ended
      coroutine.wrap(function() ended = host.wait(fd, "w", 60) end)()
      uv.run()
      assert.equal("w", ended)
    end)
    db:close()
  end)

  it("survives that somebody else resumes the coroutine", function()
    local result = "none"
    local co = coroutine.create(function() result = host.wait(nil, nil, 60) end)
    assert(coroutine.resume(co))
    assert(coroutine.resume(co, "junk"))
    assert.is_nil(result)
    uv.run "nowait"
    assert.is_false(uv.loop_alive())
  end)
end)

describe("the host cqueues", function()
  local ok, cqueues = pcall(require, "cqueues")
  if not ok or not yields_across_pcall then return end
  local host = require "fastpg.host.wait.cqueues"

  it("can't wait in a generator inside of a controller's coroutine, nor outside", function()
    local inside, nested
    local controller = cqueues.new()
    controller:wrap(function()
      inside = host.can_wait()
      coroutine.wrap(function() nested = host.can_wait() end)()
    end)
    assert(controller:loop())
    assert.is_true(inside)
    assert.is_false(nested)
    assert.is_false(host.can_wait())
    assert.is_false(coroutine.wrap(host.can_wait)())
  end)

  it("waits in a controller inside of a controller", function()
    local db = pg.pool({ loop = "cqueues" }, { max_size = 1 })
    local outer, inner, n = cqueues.new(), cqueues.new(), nil
    inner:wrap(function() n = first(db, "select 7 as n, pg_sleep(0.05)").n end)
    outer:wrap(function() assert(inner:loop()) end)
    assert(outer:loop())
    assert.equal(7, n)
    db:close()
  end)

  it("spawns only where a controller runs", function()
    local fine, err = pcall(host.spawn, function() end)
    assert.is_false(fine)
    assert.truthy(tostring(err):find("no cqueues controller", 1, true))
  end)
end)

describe("the host of a table", function()
  it("without spawn asks the user's wait for the descriptor itself", function()
    local asked = {}
    local user = { wait = function(fd, mode, timeout)
      asked[#asked + 1] = { fd = fd, mode = mode }
      return core.poll(fd, mode, timeout)
    end }
    local host = custom.new(user)
    assert.is_nil(host.spawn)
    assert.is_true(host.can_wait())
    local db = pg.db{ loop = user }
    assert.equal(1, first(db, "select 1 as n").n)
    db:acquire(function(tx)
      asked = {}
      local fd = route_of(tx):connection().fd
      host.wait(fd, "w", 1)
      assert.same({ { fd = fd, mode = "w" } }, asked)
      assert.is_nil(host.wait(nil, nil, 0.01))
      assert.equal("r", asked[2].mode)
    end)
    db:close()
  end)
end)
