-- SPDX-License-Identifier: MIT
--
-- What goes wrong on the way (spec/support/proxy.lua): each fault is an error object, in time, and the
-- next statement outside a transaction works; what was confirmed is there exactly once; nothing of one
-- statement's result reaches another.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local proxies = require "spec.support.proxy"

local COMMAND, CONNECT = 1.5, 4 -- seconds that a statement has, and a connection
local GRACE = 5 -- what fastpg adds before it closes a connection that does not even cancel
local SLACK = 30 -- for a busy machine

local BIG = "select i, repeat('x', 1000) as x from generate_series(1, 100) i" -- about 100 kB

describe("behind a proxy", function()
  local proxy, why, db

  setup(function()
    proxy, why = proxies.start(pg.conninfo())
    if not proxy then return end
    db = fastpg.create_pool(proxy:conninfo{ command_timeout = COMMAND, connect_timeout = CONNECT }, { max_size = 2 })
    db:q "create table confirmed (n int)"
  end)

  teardown(function()
    if db then db:close() end
    if proxy then proxy:close() end
  end)

  if not proxies.available() then
    pending "luv is not there: package lua-luv"
    return
  end

  before_each(function()
    assert.truthy(proxy, why)
    proxy:fault "pass"
    assert.equal(1, db:q("select 1 as n")[1].n)
  end)

  local function timed(fn, ...)
    local started = core.clock()
    local ok, err = pcall(fn, ...)
    return core.clock() - started, ok, err
  end

  -- fn fails as one of these kinds within `limit` seconds.
  local function fails(limit, kinds, fn, ...)
    local took, ok, err = timed(fn, ...)
    assert.is_false(ok)
    local known = false
    for kind in kinds:gmatch "%a+" do known = known or fastpg.is(err, kind) end
    assert.is_true(known, tostring(err))
    assert.is_true(took < limit + SLACK, ("%s after %.1f s"):format(tostring(err), took))
    return err
  end

  local function well_again()
    proxy:fault "pass"
    for i = 1, 3 do
      local rows = db:q("select $1::int + 7 as n", i)
      assert.equal(1, #rows)
      assert.equal(i + 7, rows[1].n)
    end
  end

  -- ---- statements -----------------------------------------------------------------------------

  for _, mode in ipairs{ "cut", "truncate" } do
    for _, from in ipairs{ "server", "client" } do
      it(("a statement whose connection is %s at a byte of the %s's"):format(mode, from), function()
        -- at each border of a message, in it, and far on
        for _, after in ipairs(from == "server" and { 0, 1, 4, 5, 6, 30, 33, 100, 5000, 50000 } or { 0, 1, 5, 20, 40 }) do
          for _, reset in ipairs{ false, true } do
            proxy:fault(mode, { from = from, after = after, reset = reset })
            fails(COMMAND, "connection", db.q, db, BIG)
            well_again()
          end
        end
      end)
    end
  end

  it("a statement that gets no answer is over in time", function()
    for _, after in ipairs{ 3, 5000 } do
      proxy:fault("stall", { from = "server", after = after })
      fails(COMMAND + GRACE, "timeout", db.q, db, BIG)
      well_again() -- and what was held back arrives now
    end
  end)

  it("a statement that does not get through is over in time", function()
    proxy:fault("stall", { from = "client" })
    fails(COMMAND + GRACE, "timeout", db.q, db, BIG)
    well_again()
  end)

  it("a server that is gone without a word", function()
    proxy:fault "halfopen"
    fails(COMMAND + GRACE, "timeout", db.q, db, "select 1")
    well_again()
  end)

  it("a few bytes at a time arrive whole", function()
    proxy:fault("dribble", { chunk = 7, every = 1 })
    local rows = db:q "select i, i::text as t, array[i, null] as a, now() as at from generate_series(1, 6) i"
    assert.equal(6, #rows)
    for i, row in ipairs(rows) do assert.same({ i, tostring(i), i }, { row.i, row.t, row.a[1] }) end
    assert.is_true(proxy:counts().faults >= 0)
    well_again()
  end)

  it("a stream that ends in the middle raises", function()
    for _, mode in ipairs{ "cut", "truncate" } do
      proxy:fault(mode, { from = "server", after = 30000 })
      local n = 0
      fails(COMMAND, "connection", function()
        for row in db:each(BIG) do
          n = n + 1
          assert.equal(n, row.i)
        end
      end)
      assert.is_true(n < 100)
      well_again()
    end
  end)

  it("a COPY that ends in the middle raises, and stored nothing", function()
    db:q "create table if not exists copied (t text)"
    local line = ("y"):rep(999) .. "\n"
    proxy:fault("cut", { from = "client", after = 50000 })
    fails(COMMAND, "connection", function() db:copy_from("copy copied from stdin", line:rep(1000)) end)
    well_again()
    proxy:fault("truncate", { from = "server", after = 10000 })
    fails(COMMAND, "connection", function()
      db:copy_to("copy (select repeat('z', 100) from generate_series(1, 1000)) to stdout", function() end)
    end)
    well_again()
    assert.equal(0, #db:q "select * from copied")
  end)

  it("several statements in one pipeline", function()
    for _, after in ipairs{ 0, 10, 40 } do
      proxy:fault("cut", { from = "server", after = after })
      fails(COMMAND, "connection", db.executemany, db, "insert into confirmed values ($1)", { { -1 }, { -2 }, { -3 } })
      well_again()
    end
    local n = #db:q "select * from confirmed where n < 0"
    assert.is_true(n % 3 == 0, "all or nothing")
  end)

  -- ---- connecting -----------------------------------------------------------------------------

  it("nobody listens", function()
    proxy:fault "refuse"
    proxy:cut()
    fails(COMMAND, "connection", db.q, db, "select 1") -- the connection is lost
    fails(CONNECT, "connection", db.q, db, "select 1") -- there is no other one
    well_again()
  end)

  it("a connection that is cut while it begins", function()
    for _, from in ipairs{ "server", "client" } do
      for _, after in ipairs{ 0, 1, 9, 60, 200 } do
        proxy:fault("cut", { from = from, after = after })
        proxy:cut()
        pcall(db.q, db, "select 1")
        local _, ok, err = timed(db.q, db, "select 1")
        if not ok then assert.is_true(fastpg.is(err, "connection"), tostring(err)) end
        well_again()
      end
    end
  end)

  it("a connection that never answers", function()
    for _, fault in ipairs{ { "stall" }, { "halfopen" }, { "stall", { from = "server", after = 9 } } } do
      proxy:fault(fault[1], fault[2])
      proxy:cut()
      pcall(db.q, db, "select 1")
      fails(CONNECT, "timeout connection", db.q, db, "select 1")
      well_again()
    end
  end)

  -- ---- transactions ---------------------------------------------------------------------------

  it("a transaction whose connection is lost fails in every later call, and nothing of it stays", function()
    local later
    fails(COMMAND, "connection", db.transaction, db, function(tx)
      tx:q "insert into confirmed values (1000)"
      proxy:cut()
      pcall(tx.q, tx, "insert into confirmed values (1001)")
      later = { pcall(tx.q, tx, "insert into confirmed values (1002)") }
      local _, err = pcall(db.q, db, "insert into confirmed values (1003)")
      error(err, 0)
    end)
    assert.is_false(later[1])
    assert.is_true(fastpg.is(later[2], "connection"), tostring(later[2]))
    well_again()
    assert.equal(0, #db:q "select * from confirmed where n between 1000 and 1003")
  end)

  it("a COMMIT whose answer is lost is an error", function()
    fails(COMMAND, "connection", db.transaction, db, function(tx)
      tx:q "insert into confirmed values (2000)"
      proxy:fault("cut", { from = "server", after = 3 })
    end)
    well_again()
    assert.is_true(#db:q "select * from confirmed where n = 2000" <= 1)
  end)

  -- ---- many -----------------------------------------------------------------------------------

  it("what was confirmed is there exactly once, and every answer is one's own", function()
    proxy:fault("random", { seed = 42, bytes = 3000, seconds = 0.1, calm = 10 })
    proxy:cut()
    local confirmed, failed = {}, 0
    local deadline = core.clock() + 8
    for i = 1, 400 do
      local ok, rows = pcall(db.q, db, "insert into confirmed values ($1) returning n, repeat('z', 200) as z", 10000 + i)
      if ok then
        assert.equal(1, #rows)
        assert.equal(10000 + i, rows[1].n)
        confirmed[#confirmed + 1] = 10000 + i
      else
        assert.is_true(fastpg.is(rows, "connection") or fastpg.is(rows, "timeout"), tostring(rows))
        failed = failed + 1
      end
      if core.clock() > deadline and failed > 0 and #confirmed > 0 then break end
    end
    proxy:fault "pass"
    proxy:cut()
    pcall(db.q, db, "select 1")
    well_again()
    assert.is_true(failed > 0 and #confirmed > 0)
    local times = {}
    for _, row in ipairs(db:q "select n, count(*) as times from confirmed where n > 10000 group by n") do
      times[row.n] = row.times
      assert.equal(1, row.times)
    end
    for _, n in ipairs(confirmed) do assert.equal(1, times[n]) end
  end)
end)
