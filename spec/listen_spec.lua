-- SPDX-License-Identifier: MIT
--
-- LISTEN and NOTIFY: in a script (one connection, a pool) and under the stepper.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

local LIMIT = 60 -- seconds after which what was waited for will never come

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

local function is(err, name)
  assert.is_true(fastpg.is(err, name), tostring(err))
end

local watch
setup(function() watch = pg.db() end)
teardown(function() watch:close() end)

-- The backends that listen, besides `except`.
local function listeners(except)
  return watch:arrays([[select pid from pg_stat_activity where datname = current_database()
    and backend_type = 'client backend' and pid <> pg_backend_pid() and pid <> coalesce($1, 0)]], except)
end

local function kill_others()
  watch:execute([[select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
    and backend_type = 'client backend' and pid <> pg_backend_pid()]])
end

-- What one is told, as text: "channel:payload", "channel:gap".
local function noted(list)
  return function(n) list[#list + 1] = n.channel .. ":" .. (n.gap and "gap" or n.payload) end
end

for _, kind in ipairs{ "one connection", "a pool" } do
  describe("in a script, " .. kind .. ":", function()
    local db, got, note
    before_each(function()
      db = kind == "a pool" and pg.pool(nil, { max_size = 3 }) or pg.db()
      got = {}
      note = noted(got)
      fastpg.on_error = nil
    end)
    after_each(function()
      db:close()
      fastpg.on_error = nil
    end)

    -- Until so many came; what comes needs its time where another connection sends it.
    local function poll_until(n)
      local ends = core.clock() + LIMIT
      while #got < n and core.clock() < ends do db:poll(0.1) end
      return #got
    end

    it("functions are called after each statement, and in db:poll", function()
      db:listen("news", note)
      watch:notify("news", "one")
      for _ = 1, LIMIT * 100 do
        db:q("select pg_sleep(0.01)")
        if #got > 0 then break end
      end
      assert.are.same({ "news:one" }, got)
      watch:notify("news", "two")
      assert.are.equal(1, db:poll(LIMIT))
      assert.are.equal(0, db:poll())
      assert.are.equal(0, db:poll(0.01))
      assert.are.same({ "news:one", "news:two" }, got)
    end)

    it("n has channel, payload and the sender's pid", function()
      local seen
      db:listen("news", function(n) seen = n end)
      watch:notify("news", "")
      db:poll(LIMIT)
      assert.are.same({ channel = "news", payload = "", pid = watch.pid }, seen)
      watch:notify("news", 12)
      db:poll(LIMIT)
      assert.are.equal("12", seen.payload)
      watch:notify("news")
      db:poll(LIMIT)
      assert.are.equal("", seen.payload)
    end)

    it("within a transaction they are sent at its end, and not at all where it is rolled back", function()
      db:listen("news", note)
      db:transaction(function(tx)
        tx:notify("news", "first")
        tx:q("select 1")
        assert.are.equal(0, #got)
      end)
      pcall(db.transaction, db, function(tx)
        tx:notify("news", "never")
        error "undo"
      end)
      db:notify("news", "second")
      assert.are.equal(2, poll_until(2))
      assert.are.same({ "news:first", "news:second" }, got)
    end)

    it("several channels, several functions, and each can be taken away", function()
      local other = {}
      local also = noted(other)
      db:listen("a", note)
      db:listen("a", also)
      db:listen("b", note)
      db:notify("a", 1)
      db:notify("b", 1)
      poll_until(2)
      assert.are.same({ "a:1" }, other)
      db:unlisten("a", note)
      db:notify("a", 2)
      db:notify("b", 2)
      poll_until(3)
      assert.are.same({ "a:1", "b:1", "b:2" }, got)
      assert.are.same({ "a:1", "a:2" }, other)
      db:unlisten("a")
      db:unlisten("never listened to")
      db:notify("a", 3)
      db:notify("b", 3)
      poll_until(4)
      assert.are.equal(2, #other)
      db:unlisten()
      db:notify("b", 4)
      db:q("select 1")
      assert.are.equal(4, #got)
      is(error_of(db.poll, db, 0), "invalid_argument")
    end)

    it("names of channels are quoted", function()
      for _, name in ipairs{ "MixedCase", 'with "quotes"', "semi; drop table x", "ünïcode", "select" } do
        db:listen(name, note)
        db:notify(name, "x")
        assert.are.equal(1, poll_until(1))
        assert.are.equal(name .. ":x", table.remove(got))
        db:unlisten(name)
      end
      db:listen("lower", note)
      db:notify("LOWER", "x")
      db:notify("lower", "y")
      poll_until(1)
      assert.are.same({ "lower:y" }, got)
    end)

    it("after a lost connection it listens again, and tells of the gap", function()
      db:listen("news", note)
      db:listen("more", note)
      kill_others()
      pcall(db.q, db, "select 1") -- the statement may fail; listening goes on
      poll_until(2)
      table.sort(got)
      assert.are.same({ "more:gap", "news:gap" }, got)
      watch:notify("news", "again")
      assert.are.equal(3, poll_until(3))
      assert.are.equal("news:again", got[3])
      assert.are.equal(1, db:item("select 1"))
    end)

    it("what SQL takes away is listened to again, and told as a gap", function()
      db:listen("a", note)
      db:listen("b", note)
      local ways = {
        function() db:execute "discard all" end, function() db:q "discard all" end, function() db:execute "unlisten *" end,
        function() db:q "UNLISTEN *" end, function() db:execute [[unlisten a; unlisten "b"]] end, function() db:execute "begin; unlisten *; commit" end,
        function() db:transaction(function(tx) tx:execute "unlisten *" end) end,
        function() db:pipeline(function(p) p:execute "unlisten *" end) end,
        function() db:acquire(function(c) c:execute "unlisten *" end) end,
        function() db:execute "do $$ begin unlisten *; end $$" end, function() db:q "DO $$ BEGIN EXECUTE 'UNLISTEN *'; END $$" end,
      }
      for i, way in ipairs(ways) do
        got = {}
        note = noted(got)
        db:unlisten()
        db:listen("a", note)
        db:listen("b", note)
        way()
        watch:notify("a", tostring(i))
        watch:notify("b", tostring(i))
        local gaps = kind == "a pool" and 0 or 2 -- a pool listens on a connection of its own
        poll_until(gaps + 2)
        table.sort(got)
        assert.equal((gaps > 0 and "a:%d a:gap b:%d b:gap" or "a:%d b:%d"):format(i, i), table.concat(got, " "))
      end
      got = {}
      note = noted(got)
      db:unlisten()
      db:listen("a", note)
      db:execute "reset all"
      db:unlisten "b"
      watch:notify("a", "still")
      poll_until(1)
      assert.same({ "a:still" }, got)
    end)

    it("listening begun in a transaction outlives its rollback", function()
      error_of(db.transaction, db, function()
        db:listen("a", note)
        error "back"
      end)
      pcall(db.transaction, db, function(tx)
        pcall(tx.transaction, tx, function()
          db:listen("b", note)
          error "back"
        end)
      end)
      db:item "select 1"
      watch:notify("a", "1")
      watch:notify("b", "2")
      assert.equal(2, poll_until(2))
      table.sort(got)
      assert.same({ "a:1", "b:2" }, got)
    end)

    it("no function is called after db:close, nor after it was taken away", function()
      local function stops(n)
        note(n)
        if n.payload == "close" then db:close() elseif n.payload == "unlisten" then db:unlisten "a" end
      end
      for _, way in ipairs{ "close", "unlisten" } do
        for i = #got, 1, -1 do got[i] = nil end
        db:listen("a", stops)
        db:listen("a", note)
        for _ = 1, 3 do watch:notify("a", way) end
        local ends = core.clock() + LIMIT
        while #got == 0 and core.clock() < ends and pcall(db.poll, db, 0.1) do end
        assert.same({ "a:" .. way }, got)
        if way == "close" then db = kind == "a pool" and pg.pool(nil, { max_size = 3 }) or pg.db() end
      end
    end)

    it("ten thousand, in order, none lost", function()
      local n, wrong = 0, 0
      db:listen("many", function(e)
        n = n + 1
        if tonumber(e.payload) ~= n then wrong = wrong + 1 end
      end)
      watch:execute("select pg_notify('many', i::text) from generate_series(1, 10000) i")
      local ends = core.clock() + LIMIT
      while n < 10000 and core.clock() < ends do db:poll(0.1) end
      assert.are.equal(10000, n)
      assert.are.equal(0, wrong)
    end)

    it("an error in a function goes to on_error, and the others are called", function()
      local told = {}
      fastpg.on_error = function(err, traceback) told[#told + 1] = { err, traceback } end
      db:listen("news", function() error("mine", 0) end)
      db:listen("news", note)
      db:notify("news", "x")
      poll_until(1)
      assert.are.same({ "news:x" }, got)
      assert.are.equal("mine", told[1][1])
      assert.are.equal("string", type(told[1][2]))
    end)

    it("a function may run statements, listen, unlisten and notify", function()
      db:listen("first", function(n)
        note(n)
        db:unlisten("first")
        db:listen("second", note)
        db:notify("second", db:item("select 'from ' || $1::text", n.payload))
      end)
      db:notify("first", "x")
      poll_until(2)
      assert.are.same({ "first:x", "second:from x" }, got)
      db:notify("first", "y")
      db:notify("second", "z")
      poll_until(3)
      assert.are.same({ "first:x", "second:from x", "second:z" }, got)
    end)

    it("a function may close the database", function()
      db:listen("news", function(n)
        note(n)
        db:close()
      end)
      watch:notify("news", "x")
      pcall(db.poll, db, LIMIT)
      assert.are.same({ "news:x" }, got)
      is(error_of(db.q, db, "select 1"), "closed")
      is(error_of(db.listen, db, "news", note), "closed")
    end)

    it("db:notifications ends when nothing comes for so long", function()
      local rows = db:notifications("news", 0.5)
      watch:notify("news", "one") -- it listens before it returns
      watch:notify("news", "two")
      local list = {}
      for n in rows do list[#list + 1] = n.payload end
      assert.are.same({ "one", "two" }, list)
      assert.is_nil(rows())
      for _ in db:notifications("news", 0) do error "nothing was sent" end
      assert.are.equal(1, db:item("select 1"))
    end)

    it("db:notifications left early stops listening", function()
      local rows = db:notifications("news", LIMIT)
      watch:notify("news", "one")
      watch:notify("news", "two")
      assert.are.equal("one", rows().payload)
      rows:close()
      rows:close()
      assert.is_nil(rows())
      is(error_of(db.poll, db, 0), "invalid_argument") -- nothing is listened to
      if _VERSION == "Lua 5.4" then
        local again, _, _, closed_at_the_end = db:notifications("news", LIMIT)
        watch:notify("news", "three")
        for n in again, nil, nil, closed_at_the_end do -- luacheck: ignore 512
          assert.are.equal("three", n.payload)
          break
        end
        is(error_of(db.poll, db, 0), "invalid_argument")
      end
    end)

    it("functions and an iterator beside each other get everything", function()
      db:listen("news", note)
      local list = {}
      for n in db:notifications("news", 0.05) do list[#list + 1] = n.payload end
      assert.are.same({}, list)
      local rows = db:notifications("news", 0.5)
      db:notify("news", "x")
      for n in rows do list[#list + 1] = n.payload end
      assert.are.same({ "x" }, list)
      assert.are.same({ "news:x" }, got)
      db:notify("news", "y") -- the function listens still
      poll_until(2)
      assert.are.same({ "news:x", "news:y" }, got)
    end)

    it("checks arguments", function()
      for _, call in ipairs{
        function() db:listen(1, note) end, function() db:listen("", note) end, function() db:listen("x") end,
        function() db:unlisten(1) end, function() db:notify(1) end, function() db:notify("x", {}) end,
        function() db:poll(-1) end, function() db:notifications("x", "y") end, function() db:notifications() end,
      } do is(error_of(call), "invalid_argument") end
      is(error_of(db.notify, db, "x", ("x"):rep(8000)), "22023")
      is(error_of(db.listen, db, ("x"):rep(64), note), "invalid_argument")
      assert.are.equal(1, db:item("select 1"))
    end)
  end)
end

describe("in a script, a pool:", function()
  it("a pool that resets its sessions listens all the same", function()
    for _, reset in ipairs{ true, "discard all", "unlisten *", "reset all; unlisten *" } do
      for _, size in ipairs{ 1, 2 } do
        local db = pg.pool(nil, { max_size = size, reset = reset })
        local got = {}
        db:listen("a", noted(got))
        for i = 1, 3 do
          db:q "select 1"
          db:transaction(function() db:q "select 2" end)
          watch:notify("a", tostring(i))
          local ends = core.clock() + LIMIT
          while #got < i and core.clock() < ends do db:poll(0.1) end
        end
        assert.equal("a:1 a:2 a:3", table.concat(got, " "))
        db:close()
      end
    end
  end)

  it("listens on a connection of its own, which goes with the last channel", function()
    local db = pg.pool(nil, { max_size = 2 })
    local pid = db.pid
    local function none() end
    db:listen("a", none)
    db:listen("b", none)
    assert.are.equal(1, #listeners(pid))
    db:unlisten("a")
    assert.are.equal(1, #listeners(pid))
    db:unlisten("b")
    for _ = 1, LIMIT * 100 do
      if #listeners(pid) == 0 then break end
      watch:execute("select pg_sleep(0.01)")
    end
    assert.are.equal(0, #listeners(pid))
    assert.are.equal(pid, db.pid)
    db:close()
  end)
end)

if not yields then return end

for _, kind in ipairs{ "one connection", "a pool" } do
  describe("under the stepper, " .. kind .. ":", function()
    local db, got, note
    before_each(function()
      db = kind == "a pool" and pg.pool(nil, { max_size = 2 }) or pg.db()
      got = {}
      note = noted(got)
      fastpg.on_error = nil
    end)
    after_each(function()
      db:close()
      fastpg.run()
      fastpg.on_error = nil
    end)

    local function come(n)
      local ends = core.clock() + LIMIT
      while #got < n and core.clock() < ends do fastpg.sleep(0.005) end
      return #got
    end

    it("functions are called as notifications come, while others wait", function()
      fastpg.run(function()
        db:listen("news", note)
        local slow = fastpg.spawn(function() return db:item("select 1 from pg_sleep(1)") end)
        watch:notify("news", "one")
        assert(come(1) == 1)
        assert(slow:wait() == 1)
        db:notify("news", "two")
        come(2)
        db:unlisten("news")
        db:notify("news", "three")
        fastpg.sleep(0.02)
      end)
      assert.are.same({ "news:one", "news:two" }, got)
    end)

    it("listening keeps run from no end, and no connection after close", function()
      fastpg.run(function()
        db:listen("news", note)
        db:notify("news", "x")
        come(1)
      end)
      assert.are.equal(1, #got)
      db:close()
      fastpg.run()
      fastpg.step(0.01)
      for _ = 1, LIMIT * 100 do
        if #listeners() == 0 then break end
        watch:execute("select pg_sleep(0.01)")
        fastpg.step(0)
      end
      assert.are.equal(0, #listeners())
    end)

    it("a function may call anything that listens", function()
      fastpg.run(function()
        db:listen("first", function(n)
          note(n)
          db:listen("second", note)
          db:unlisten("first")
          db:notify("second", db:item("select 'from ' || $1::text", n.payload))
        end)
        db:notify("first", "x")
        come(2)
      end)
      assert.are.same({ "first:x", "second:from x" }, got)
    end)

    it("a slow function holds back other notifications, never other tasks", function()
      local ticks = 0
      fastpg.run(function()
        db:listen("news", function(n)
          fastpg.sleep(0.03)
          note(n)
        end)
        db:notify("news", 1)
        db:notify("news", 2)
        while #got < 2 do
          fastpg.sleep(0.001)
          ticks = ticks + 1
        end
      end)
      assert.are.same({ "news:1", "news:2" }, got)
      assert.is_true(ticks > 2)
    end)

    it("an error in a function goes to on_error, and listening goes on", function()
      local told = {}
      fastpg.on_error = function(err) told[#told + 1] = err end
      fastpg.run(function()
        db:listen("news", function(n)
          note(n)
          error("mine " .. n.payload, 0)
        end)
        db:notify("news", 1)
        db:notify("news", 2)
        come(2)
      end)
      assert.are.same({ "mine 1", "mine 2" }, told)
    end)

    it("after a lost connection it listens again, and tells of the gap", function()
      fastpg.run(function()
        db:listen("news", note)
        kill_others()
        assert(come(1) == 1)
        assert(got[1] == "news:gap")
        watch:notify("news", "again")
        assert(come(2) == 2)
      end)
      assert.are.same({ "news:gap", "news:again" }, got)
    end)

    it("ten thousand, none lost, no memory kept", function()
      local n, wrong = 0, 0
      fastpg.run(function()
        db:listen("many", function(e)
          n = n + 1
          if tonumber(e.payload) % 10000 ~= n % 10000 then wrong = wrong + 1 end
        end)
        local function round(upto)
          watch:execute("select pg_notify('many', i::text) from generate_series(1, 10000) i")
          local ends = core.clock() + LIMIT
          while n < upto and core.clock() < ends do fastpg.sleep(0.005) end
          assert(n == upto, n .. " came")
          collectgarbage()
          collectgarbage()
          return collectgarbage "count"
        end
        local before = round(10000)
        assert(round(20000) - before < 500, "it grows")
      end)
      assert.are.equal(0, wrong)
    end)

    it("db:notifications in tasks", function()
      local list = {}
      fastpg.run(function()
        local rows = db:notifications("news", 1)
        fastpg.spawn(function()
          for i = 1, 5 do
            db:notify("news", i)
            fastpg.sleep(0.001)
          end
        end)
        for n in rows do list[#list + 1] = n.payload end
        local early = db:notifications("news", LIMIT)
        db:notify("news", "x")
        assert(early().payload == "x")
        early:close()
        local t = fastpg.spawn(function()
          for _ in db:notifications("news") do error "nothing was sent" end
        end)
        fastpg.sleep(0.01)
        t:cancel()
        is(error_of(t.wait, t), "canceled")
        local listening
        t = fastpg.spawn(function()
          local all = db:notifications("news")
          listening = true
          for _ in all do error "nothing was sent" end
          return "closed"
        end)
        repeat fastpg.sleep(0.01) until listening
        db:close()
        assert(t:wait() == "closed")
      end)
      assert.are.same({ "1", "2", "3", "4", "5" }, list)
    end)

    it("what was listened to in a task goes on when that has ended", function()
      fastpg.run(function() db:listen("news", note) end)
      watch:notify("news", "x")
      local ends = core.clock() + LIMIT
      while #got < 1 and core.clock() < ends do fastpg.step(0.01) end
      assert.are.same({ "news:x" }, got)
    end)
  end)
end
