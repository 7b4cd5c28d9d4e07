-- SPDX-License-Identifier: MIT
--
-- db:transaction{ id = … }: what happens once, whatever becomes of the connection, and err.commit_unknown: whether what
-- was sent may be committed without anybody knowing.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local proxies = require "spec.support.proxy"

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "it did not fail")
  return err
end

local function each_lua_value(a, b)
  assert.equal(type(a), type(b))
  assert.same(a, b)
end

describe("a transaction with an id", function()
  local db

  setup(function()
    db = pg.pool(nil, { max_size = 4 })
    db:execute "create table done (id text, n int)"
  end)
  before_each(function() db:execute "truncate done" end)

  local function run(id, opts, result)
    local all = { id = id }
    for name, value in pairs(opts or {}) do all[name] = value end
    return db:transaction(all, function(tx)
      tx.t.done:insert{ id = "x", n = 1 }
      if result then return result(tx) end
      return tx:item "select count(*)::int from done"
    end)
  end

  it("runs once, and gives what it gave", function()
    assert.equal(1, run "first")
    assert.equal(1, run "first")
    assert.equal(2, run "second")
    assert.equal(1, run "first")
    assert.equal(2, db:item "select count(*)::int from done")
  end)

  it("has a scope, a text or a number each", function()
    assert.equal(1, run{ "orders", "k" })
    assert.equal(2, run{ "refunds", "k" })
    assert.equal(3, run "k")
    assert.equal(4, run(17))
    assert.equal(4, run "17")
    assert.equal(5, run{ 1, 17 })
    assert.equal(1, run{ "orders", "k" })
    assert.equal(5, db:item "select count(*)::int from done")
  end)

  it("gives several results back as they were", function()
    local given = { 1, nil, "ü\0\n\"", true, false, { a = { 1, 2, { b = "x" } }, c = {} }, fastpg.null, 0.1, -2^40, nil, n = 11 }
    local unpack = unpack or table.unpack -- luacheck: ignore 113 143
    local function all() return unpack(given, 1, 11) end
    local function pack(...) return { n = select("#", ...), ... } end
    local first, again = pack(run("several", nil, all)), pack(run("several", nil, function() error "not again" end))
    assert.equal(11, first.n)
    assert.equal(11, again.n)
    for i = 1, 11 do each_lua_value(given[i], again[i]) end
    assert.equal(0, select("#", run("none", nil, function() end)))
    assert.equal(0, select("#", run("none", nil, function() error "not again" end)))
  end)

  it("refuses results that JSON would change, before anything is committed", function()
    local round = {}
    round[1] = round
    for i, value in ipairs{ db:first "select 1 as a", 0 / 0, 1 / 0, fastpg.date(2020, 1, 2), fastpg.numeric "1.5", print, { [2.5] = 1 },
      { 1, nil, 3, x = 1 }, setmetatable({}, {}), "\255", round } do
      local err = failure(run, "bad", nil, function() return "fine", value end)
      assert.equal("invalid_argument", err.name, "value " .. i .. ": " .. tostring(err))
      assert.matches("result 2", err.message)
    end
    assert.equal(0, db:item "select count(*)::int from done")
    assert.equal("free again", run("bad", nil, function() return "free again" end))
  end)

  it("refuses ids that are none", function()
    for _, id in ipairs{ "", 1.5, 2 ^ 60, true, { "a" }, { "a", "b", "c" }, { "a", "b", x = 1 }, { "a", {} }, print } do
      assert.equal("invalid_argument", failure(run, id).name)
    end
    assert.equal("invalid_argument", failure(run, "x", { readonly = true }).name)
    assert.matches("db:transaction", failure(db.begin, db, { id = "x" }).message)
    db:transaction(function() assert.matches("outermost", failure(run, "x").message) end)
    assert.equal(0, db:item "select count(*)::int from done")
  end)

  it("never shows an id in a message", function()
    local err = failure(run, "secret-key", nil, function() return print end)
    assert.is_nil(tostring(err):find("secret", 1, true))
  end)

  it("is free again when it was rolled back", function()
    assert.equal("no", failure(run, "again", nil, function() error("no", 0) end))
    assert.equal(1, run "again")
  end)

  it("works in every isolation, and nested ones inside", function()
    for _, level in ipairs{ "read committed", "repeatable read", "serializable" } do
      local function result(tx)
        tx:transaction(function(inner) inner.t.done:insert{ id = "inner", n = 2 } end)
        return level
      end
      assert.equal(level, run("iso " .. level, { isolation = level }, result))
      assert.equal(level, run("iso " .. level, { isolation = level }, result))
    end
    assert.equal(6, db:item "select count(*)::int from done")
  end)

  it("makes its table again, where it is gone, and prunes what is old", function()
    run "kept"
    db:execute "drop schema fastpg cascade"
    assert.equal(2, run "kept")
    db:execute "update fastpg.transactions set done_at = now() - interval '8 days'"
    local other = pg.pool(nil, { max_size = 1 }) -- which has not pruned yet
    other:transaction({ id = "prunes" }, function() end)
    assert.same({ "prunes" }, { db:item "select string_agg(id, ',') from fastpg.transactions" })
    other:close()
  end)

  it("says what an owner has to run, where the role may not make its table", function()
    db:execute "create role once_weak; create table if not exists weak (n int); grant all on weak to once_weak"
    local weak = pg.db{ options = "-c role=once_weak" }
    db:execute "drop schema if exists fastpg cascade"
    local ran = false
    local err = failure(weak.transaction, weak, { id = "x" }, function() ran = true end)
    assert.equal("42501", err.sqlstate)
    assert.matches("CREATE TABLE IF NOT EXISTS fastpg.transactions", err.message)
    assert.matches("GRANT", err.message)
    assert.is_false(ran)
    run "made"
    err = failure(weak.transaction, weak, { id = "x" }, function() ran = true end)
    assert.equal("42501", err.sqlstate)
    assert.is_false(ran)
    db:execute "grant usage on schema fastpg to once_weak; grant select, insert, update, delete on fastpg.transactions to once_weak"
    assert.equal(7, weak:transaction({ id = "x" }, function() return 7 end))
    weak:close()
    db:execute "drop owned by once_weak; drop role once_weak"
  end)

  it("lets a second runner wait for the first", function()
    local order = {}
    fastpg.run(function()
      local function runner(name, isolation)
        return function()
          return db:transaction({ id = "race " .. isolation, isolation = isolation }, function(tx)
            order[#order + 1] = name
            tx:q "select pg_sleep(0.1)"
            tx.t.done:insert{ id = name }
            return name
          end)
        end
      end
      for _, isolation in ipairs{ "read committed", "repeatable read", "serializable" } do
        local results = { fastpg.gather(runner("a", isolation), runner("b", isolation), runner("c", isolation)) }
        assert.equal(results[1], results[2])
        assert.equal(results[1], results[3])
      end
    end)
    assert.equal(3, #order)
    assert.equal(3, db:item "select count(*)::int from done")
  end)
end)

describe("err.commit_unknown", function()
  local db
  local KILL = "select pg_terminate_backend(pg_backend_pid())"

  setup(function() db = pg.pool(nil, { max_size = 2 }) end)

  it("is set where a statement outside a transaction was cut off", function()
    for _, name in ipairs{ "q", "execute", "item", "first", "arrays" } do
      local err = failure(db[name], db, KILL)
      assert.is_true(fastpg.is(err, "connection"))
      assert.is_true(err.commit_unknown, name)
    end
    assert.is_true(failure(db.q, db, KILL .. " where $1", true).commit_unknown)
    assert.is_true(failure(db.pipeline, db, function(p)
      p:q "select 1"
      p:q(KILL)
    end).commit_unknown)
    assert.is_true(failure(function()
      for _ in db:each(KILL) do end -- luacheck: ignore 542
    end).commit_unknown)
  end)

  it("is not set in a transaction, but for its COMMIT", function()
    assert.is_nil(failure(db.transaction, db, function(tx) tx:q(KILL) end).commit_unknown)
    assert.is_nil(failure(db.transaction, db, function(tx) tx:pipeline(function(p) p:q(KILL) end) end).commit_unknown)
    local err = failure(db.transaction, db, function(tx)
      tx:execute [[create temp table doomed (n int);
        create function pg_temp.die() returns trigger language plpgsql as $$
          begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
        create constraint trigger t after insert on doomed deferrable initially deferred
          for each row execute function pg_temp.die(); insert into doomed values (1)]]
    end)
    assert.is_true(fastpg.is(err, "connection"))
    assert.is_true(err.commit_unknown)
  end)

  it("is not set where it is known how it ended", function()
    assert.is_nil(failure(db.q, db, "select 1/0").commit_unknown)
    assert.is_nil(failure(db.transaction, db, function(tx) tx:q "select 1/0" end).commit_unknown)
    assert.is_nil(failure(db.q, db, "selec").commit_unknown)
  end)

  it("knows a COMMIT that SQL sends", function()
    local err = failure(db.acquire, db, function(one)
      one:execute "begin"
      one:execute [[create temp table doomed (n int);
        create function pg_temp.die() returns trigger language plpgsql as $$
          begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
        create constraint trigger t after insert on doomed deferrable initially deferred
          for each row execute function pg_temp.die(); insert into doomed values (1)]]
      one:execute "commit"
    end)
    assert.is_true(err.commit_unknown)
    err = failure(db.acquire, db, function(one)
      one:execute "begin"
      one:q(KILL)
    end)
    assert.is_true(fastpg.is(err, "connection"))
    assert.is_nil(err.commit_unknown)
  end)
end)

describe("a transaction with retries", function()
  local db, watch
  setup(function() db, watch = pg.pool(nil, { max_size = 2 }), pg.db() end)
  teardown(function() watch:close() end)

  local function killed(times, fn)
    local runs = 0
    return function(tx)
      runs = runs + 1
      if runs <= times then watch:q("select pg_terminate_backend($1)", tx.pid) end
      tx:q "select 1"
      if fn then fn(tx) end
      return runs
    end
  end

  it("runs again when its connection is lost in the middle, as often as it may", function()
    assert.equal(3, db:transaction({ retries = 2 }, killed(2)))
    local err = failure(db.transaction, db, { retries = 2 }, killed(3))
    assert.is_true(fastpg.is(err, "connection"))
    assert.is_nil(err.commit_unknown)
    assert.is_true(fastpg.is(failure(db.transaction, db, killed(1)), "connection"))
  end)

  it("does not when it may be committed, but with an id", function()
    db:execute [[create table if not exists kept (n int);
      create or replace function die() returns trigger language plpgsql as $$
        begin if (select count(*) from kept) = 1 then perform pg_terminate_backend(pg_backend_pid()); end if; return null; end $$;
      create constraint trigger t after insert on kept deferrable initially deferred for each row execute function die()]]
    local runs = 0
    local function body(tx)
      runs = runs + 1
      tx.t.kept:insert{ n = runs }
    end
    local err = failure(db.transaction, db, { retries = 5 }, body)
    assert.is_true(err.commit_unknown)
    assert.equal(1, runs)
    db:execute "drop trigger t on kept; create constraint trigger t after insert on kept deferrable initially deferred \
      for each row when (new.n < 4) execute function die()"
    db:transaction({ retries = 5, id = "kept" }, body)
    assert.equal(4, runs)
  end)

  it("does not after any other error", function()
    local runs = 0
    assert.equal("mine", failure(db.transaction, db, { retries = 3 }, function()
      runs = runs + 1
      error("mine", 0)
    end))
    assert.equal(1, runs)
  end)

  it("has the time of db:timeout, and no more", function()
    local err = failure(db.timeout, db, 0.5, function() db:transaction({ retries = 1000 }, killed(1000)) end)
    assert.is_true(fastpg.is(err, "timeout"), tostring(err))
  end)
end)

describe("what happens once, behind a proxy", function()
  if not proxies.available() then
    pending "luv is not there: package lua-luv"
    return
  end

  local proxy, db, direct
  setup(function()
    direct = pg.db()
    direct:execute "create table counted (id text)"
    proxy = assert(proxies.start(pg.conninfo()))
    db = fastpg.create_pool(proxy:conninfo{ connect_timeout = 5 }, { max_size = 2 })
    db:transaction({ id = "warm" }, function() end)
  end)
  teardown(function()
    db:close()
    proxy:close()
    direct:close()
  end)

  local function once(id, retries)
    return db:transaction({ id = id, retries = retries }, function(tx)
      tx.t.counted:insert{ id = id }
      return id, tx:item "select count(*)::int from counted"
    end)
  end

  -- Every byte that either side says may be the last one: before, in and behind COMMIT and its answer.
  for _, from in ipairs{ "client", "server" } do
    it("counts once, wherever the " .. from .. "'s bytes end, when fastpg tries again", function()
      local total = direct:item "select count(*)::int from counted"
      local known, cut = {}, 0
      for after = 0, 900, 3 do
        local id = from .. after
        proxy:fault("cut", { from = from, after = after, times = 1 })
        local before = proxy:counts().faults
        local same, n = once(id, 3)
        if proxy:counts().faults > before then cut = cut + 1 end
        total = total + 1
        assert.equal(id, same)
        known[id] = n
      end
      proxy:fault "pass"
      assert.is_true(cut > 50, "only " .. cut .. " were cut")
      assert.equal(total, direct:item "select count(*)::int from counted")
      assert.equal(total, direct:item "select count(distinct id)::int from counted")
      for id, n in pairs(known) do assert.equal(n, (select(2, once(id)))) end
      assert.equal(total, direct:item "select count(*)::int from counted")
    end)

    it("tells the truth of it, wherever the " .. from .. "'s bytes end, when the program asks again", function()
      local unknown, committed, lost = 0, 0, 0
      for after = 0, 900, 7 do
        local id = "told " .. from .. after
        db:ping()
        proxy:fault("cut", { from = from, after = after, times = 1 })
        local ok, err = pcall(once, id)
        proxy:fault "pass"
        local there = direct:item("select count(*)::int from counted where id = $1", id)
        if ok then
          assert.equal(1, there)
        else
          assert.is_true(fastpg.is(err, "connection"), tostring(err))
          if err.commit_unknown then unknown = unknown + 1 else assert.equal(0, there, "it was there after all") end
          if there == 1 then committed = committed + 1 else lost = lost + 1 end
        end
        assert.equal(id, (once(id)))
        assert.equal(1, direct:item("select count(*)::int from counted where id = $1", id))
      end
      assert.is_true(unknown > 0 and lost > 0)
      if from == "server" then assert.is_true(committed > 0) end
    end)
  end
end)
