-- SPDX-License-Identifier: MIT
--
-- Transactions: what is committed and what is not, on which connection it runs, and what becomes of
-- it when statements, connections and coroutines end badly.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

local has_close = _VERSION == "Lua 5.4"

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

-- What two ways of connecting have in common is tested on both.
local function describe_both(name, body)
  describe(name .. ", one connection", function() body(pg.db()) end)
  describe(name .. ", a pool", function() body(pg.pool(nil, { max_size = 3 })) end)
end

setup(function()
  local db = pg.db()
  db:execute("drop table if exists acct; create table acct (id int primary key, n int not null)")
  db:close()
end)

describe_both("transaction", function(db)
  before_each(function() db:execute("truncate acct; insert into acct values (1, 10), (2, 20)") end)
  teardown(function() db:close() end)

  local function n(id) return db:item("select n from acct where id = ?", id) end

  it("commits and gives the function's results, nils included", function()
    local results = { n = 0 }
    local function take(...) results = { n = select("#", ...), ... } end
    take(db:transaction(function()
      db:execute("update acct set n = 11 where id = 1")
      return 1, nil, "x", nil
    end))
    assert.are.same({ n = 4, 1, nil, "x", nil }, results)
    assert.are.equal(11, n(1))
  end)

  it("rolls back on an error and rethrows it as it is", function()
    local mine = {}
    local err = error_of(db.transaction, db, function()
      db:execute("update acct set n = 11 where id = 1")
      error(mine)
    end)
    assert.are.equal(mine, err)
    assert.are.equal(10, n(1))
    assert.are.equal("plain", error_of(db.transaction, db, function() error("plain", 0) end))
  end)

  it("is ambient: db, tables and tx are the same connection", function()
    db:transaction(function(tx)
      local pid = tx:item("select pg_backend_pid()")
      assert.are.equal(pid, db:item("select pg_backend_pid()"))
      assert.are.equal(pid, db.pid)
      db.t.acct:insert{ id = 3, n = 30 }
      assert.are.equal(3, tx.t.acct:count())
      assert.are.equal(3, tx:item("select count(*) from acct"))
    end)
    assert.are.equal(30, n(3))
  end)

  it("nests as savepoints", function()
    db:transaction(function()
      db:execute("update acct set n = 11 where id = 1")
      local err = error_of(db.transaction, db, function()
        db:execute("update acct set n = 21 where id = 2")
        db:q("select 1/0")
      end)
      assert.is_true(fastpg.is(err, "division_by_zero"))
      db:transaction(function()
        db:execute("update acct set n = n + 1 where id = 1")
        db:transaction(function(tx) tx:execute("update acct set n = n + 1 where id = 1") end)
      end)
    end)
    assert.are.equal(13, n(1))
    assert.are.equal(20, n(2))
  end)

  it("takes isolation, readonly and deferrable", function()
    local err = error_of(db.transaction, db, { isolation = "serializable", readonly = true, deferrable = true },
      function(tx)
        assert.are.equal("serializable", tx:item("show transaction_isolation"))
        assert.are.equal("on", tx:item("show transaction_read_only"))
        assert.are.equal("on", tx:item("show transaction_deferrable"))
        tx:execute("update acct set n = 1")
      end)
    assert.is_true(fastpg.is(err, "read_only_sql_transaction"))
    db:transaction({ isolation = "repeatable_read", readonly = false }, function(tx)
      assert.are.equal("repeatable read", tx:item("show transaction_isolation"))
      assert.are.equal("off", tx:item("show transaction_read_only"))
    end)
  end)

  it("sets settings for its own time", function()
    local seen = db:transaction({ settings = { ["app.tenant"] = "7'; --", work_mem = "1MB", enable_seqscan = false } },
      function(tx)
        return tx:item("select current_setting('app.tenant') || '|' || current_setting('work_mem') || '|' || "
          .. "current_setting('enable_seqscan')")
      end)
    assert.are.equal("7'; --|1MB|off", seen)
    assert.are_not.equal("7'; --", db:item("select current_setting('app.tenant', true)"))
    local err = error_of(db.transaction, db, { settings = { no_such_setting = 1 } }, function() end)
    assert.is_true(fastpg.is(err, "undefined_object"))
    assert.are.equal(10, n(1))
  end)

  it("nests to a depth that is the same everywhere", function()
    local function go(wrap)
      local deepest = 0
      local function level(depth)
        deepest = depth
        return wrap(function() return level(depth + 1) end)
      end
      local err = error_of(level, 0)
      assert.equal("program_limit_exceeded", err.name, tostring(err))
      assert.equal("54000", err.sqlstate)
      assert.is_truthy(err.message:find("50", 1, true), err.message)
      assert.equal(50, deepest)
      assert.are.equal(1, db:item("select 1"))
    end
    local function plain(fn) return db:transaction(fn) end
    local function caught(fn)
      local ok, err = pcall(db.transaction, db, fn)
      if not ok then error(err, 0) end
    end
    go(plain)
    go(caught)
    go(function(fn) return db:timeout(60, function() return caught(fn) end) end)
    coroutine.wrap(function() go(caught) end)()
    fastpg.run(function() go(caught) end)
    db:transaction(function() -- one after the other is no depth
      for _ = 1, 60 do db:transaction(function() end) end
      for _ = 1, 60 do pcall(db.transaction, db, error) end
    end)
  end)

  it("checks its arguments at the caller's line", function()
    for _, case in ipairs{
      { { isolaton = "serializable" }, 'unknown option "isolaton" (did you mean "isolation"' },
      { { isolation = "snapshot" }, "isolation must be" },
      { { isolation = 1 }, "isolation must be" },
      { { retries = -1 }, "retries must be a whole number" },
      { { settings = "x" }, "settings must be a table" },
      { 5, "a table of options expected, got number" },
    } do
      local line = debug.getinfo(1, "l").currentline + 1
      local err = error_of(function() db:transaction(case[1], function() end) end)
      assert.is_true(fastpg.is(err, "invalid_argument"))
      assert.is_truthy(err.message:find(case[2], 1, true), err.message)
      assert.is_truthy(tostring(err):find("transaction_spec.lua:" .. line .. ":", 1, true), tostring(err))
    end
    assert.is_truthy(error_of(db.transaction, db, {}).message:find("a function expected, got nil", 1, true))
    assert.is_truthy(error_of(db.transaction, db, "x").message:find("options expected", 1, true))
    db:transaction(function()
      local err = error_of(db.transaction, db, { readonly = true }, function() end)
      assert.is_truthy(err.message:find("outermost", 1, true))
    end)
  end)

  it("retries serialization failures, as often as it was told", function()
    local other = pg.db()
    local runs = 0
    local function conflict(times)
      return function(tx)
        runs = runs + 1
        local seen = tx:item("select n from acct where id = 1")
        if runs <= times then other:execute("update acct set n = n + 100 where id = 1") end
        tx:execute("update acct set n = ? where id = 1", seen + 1)
      end
    end
    local err = error_of(db.transaction, db, { isolation = "repeatable read" }, conflict(1))
    assert.is_true(fastpg.is(err, "serialization_failure"))
    assert.are.equal(1, runs)
    assert.are.equal(110, n(1))
    runs = 0
    db:transaction({ isolation = "repeatable read", retries = 3 }, conflict(2))
    assert.are.equal(3, runs)
    assert.are.equal(311, n(1))
    runs = 0
    err = error_of(db.transaction, db, { isolation = "serializable", retries = 1 }, conflict(9))
    assert.is_true(fastpg.is(err, "40001"))
    assert.are.equal(2, runs)
    runs = 0
    err = error_of(db.transaction, db, { retries = 5 }, function()
      runs = runs + 1
      db:q("select 1/0")
    end)
    assert.is_true(fastpg.is(err, "22012"))
    assert.are.equal(1, runs)
    other:close()
  end)

  it("tells when a swallowed error made COMMIT a rollback", function()
    local err = error_of(db.transaction, db, function(tx)
      tx:execute("update acct set n = 0")
      pcall(tx.q, tx, "select 1/0")
    end)
    assert.is_true(fastpg.is(err, "in_failed_sql_transaction"))
    assert.are.equal(10, n(1))
    db:transaction(function(tx)
      tx:execute("update acct set n = 1 where id = 1")
      err = error_of(tx.transaction, tx, function()
        tx:execute("update acct set n = 2 where id = 1")
        pcall(tx.q, tx, "select 1/0")
      end)
      assert.is_true(fastpg.is(err, "in_failed_sql_transaction"))
    end)
    assert.are.equal(1, n(1))
  end)

  it("fails at COMMIT where a deferred constraint does", function()
    db:execute("create temp table later (id int, constraint u unique (id) deferrable initially deferred)")
    local err = error_of(db.transaction, db, function(tx)
      tx:execute("create table kept (id int primary key deferrable initially deferred)")
      tx:execute("insert into kept values (1), (1)")
    end)
    assert.is_true(fastpg.is(err, "unique_violation"))
    assert.is_false(db:has("kept"))
  end)

  it("makes every use of tx after its end an error", function()
    local kept, inner
    db:transaction(function(tx)
      kept = tx
      tx:transaction(function(t) inner = t end)
      assert.is_true(fastpg.is(error_of(inner.q, inner, "select 1"), "closed"))
      assert.are.equal(10, tx.t.acct[1].n)
    end)
    for _, tx in ipairs{ kept, inner } do
      for _, call in ipairs{ "q", "first", "item", "execute", "arrays", "each" } do
        local err = error_of(tx[call], tx, "select 1")
        assert.is_true(fastpg.is(err, "closed"))
        assert.is_truthy(err.message:find("the transaction is over", 1, true))
      end
      assert.is_true(fastpg.is(error_of(tx.transaction, tx, function() end), "closed"))
      assert.is_true(fastpg.is(error_of(function() return tx.t.acct[1] end), "closed"))
      assert.is_true(fastpg.is(error_of(tx.commit, tx), "closed"))
    end
  end)

  it("refuses BEGIN left open by a plain statement", function()
    local err = error_of(db.execute, db, "begin")
    assert.is_truthy(err.message:find("use db:transaction", 1, true))
    assert.are.equal(10, n(1))
    err = error_of(db.acquire, db, function(c)
      c:execute("begin")
      c:execute("update acct set n = 0")
    end)
    assert.is_truthy(err.message:find("has been rolled back", 1, true))
    assert.are.equal(10, n(1))
    db:acquire(function(c)
      c:execute("begin")
      c:execute("update acct set n = 0")
      c:execute("rollback")
    end)
    assert.are.equal(10, n(1))
  end)

  it("reads through a cursor in between other statements", function()
    db:transaction(function(tx)
      local sum, count = 0, 0
      for row in db:each("select g as n, ?::text as t from generate_series(1, 1000) g", "x") do
        sum = sum + tx:item("select ?::int", row.n)
        count = count + 1
        assert.are.equal("x", row.t)
      end
      assert.are.equal(500500, sum)
      assert.are.equal(1000, count)
    end)
  end)

  it("leaves each early by close, callback and error", function()
    db:transaction(function(tx)
      local rows = tx:each("select generate_series(1, 100000) as n")
      assert.are.equal(1, rows().n)
      rows:close()
      rows:close()
      assert.is_nil(rows())
      assert.are.equal(0, tx:item("select count(*) from pg_cursors where name like 'fastpg%'"))
      local seen = 0
      tx:each("select generate_series(1, 100000) as n", function(row)
        seen = row.n
        return row.n < 300
      end)
      assert.are.equal(300, seen)
      assert.are.equal("stop", error_of(tx.each, tx, "select 1", function() error("stop", 0) end))
      assert.are.equal(0, tx:item("select count(*) from pg_cursors where name like 'fastpg%'"))
    end)
  end)

  it("gives the rows of a statement that has no cursor", function()
    db:transaction(function(tx)
      local seen = {}
      for row in tx:each("update acct set n = n + 1 where id > ? returning id, n", 0) do seen[row.id] = row.n end
      assert.are.same({ 11, 21 }, seen)
    end)
  end)

  it("makes a stream that outlives its transaction an error", function()
    local rows, nested
    db:transaction(function(tx)
      rows = tx:each("select generate_series(1, 1000) as n")
      rows()
      tx:transaction(function(inner)
        nested = inner:each("select generate_series(1, 1000) as n")
        nested()
      end)
    end)
    db:transaction(function(tx)
      local err = error_of(rows)
      assert.is_true(fastpg.is(err, "closed"))
      assert.is_nil(rows())
      nested:close()
      assert.are.equal(10, tx:item("select n from acct where id = 1"))
    end)
  end)
end)

describe("begin", function()
  local db, watch
  setup(function() db, watch = pg.pool(nil, { max_size = 3 }), pg.db{ command_timeout = 60 } end)
  before_each(function() watch:execute("truncate acct; insert into acct values (1, 10)") end)
  teardown(function()
    db:close()
    watch:close()
  end)

  local function n() return watch:item("select n from acct where id = 1") end
  local function open_transactions()
    return watch:item([[select count(*) from pg_stat_activity where datname = current_database()
      and state like 'idle in transaction%']])
  end
  -- The server notices a closed socket a moment later.
  local function wait_until_none_open()
    for _ = 1, 1500 do
      if open_transactions() == 0 then return 0 end
      watch:execute("select pg_sleep(0.02)")
    end
    return open_transactions()
  end

  it("commits and rolls back by method, and is not ambient", function()
    local tx = db:begin()
    tx:execute("update acct set n = 11")
    assert.are.equal(10, db:item("select n from acct"))
    assert.are.equal(11, tx.t.acct[1].n)
    tx:transaction(function() tx:execute("update acct set n = n + 1") end)
    tx:commit()
    assert.are.equal(12, n())
    assert.is_true(fastpg.is(error_of(tx.commit, tx), "closed"))
    tx = db:begin{ isolation = "serializable" }
    assert.are.equal("serializable", tx:item("show transaction_isolation"))
    tx:execute("update acct set n = 13")
    tx:rollback()
    assert.are.equal(12, n())
    assert.is_true(fastpg.is(error_of(tx.q, tx, "select 1"), "closed"))
    assert.is_true(fastpg.is(error_of(tx.rollback, tx), "closed"))
    assert.are.equal(0, open_transactions())
  end)

  it("does not commit what failed", function()
    local tx = db:begin()
    pcall(tx.q, tx, "select 1/0")
    assert.is_true(fastpg.is(error_of(tx.commit, tx), "in_failed_sql_transaction"))
    assert.are.equal(0, open_transactions())
    assert.is_true(fastpg.is(error_of(db.begin, db, { settings = { nonsense = 1 } }), "undefined_object"))
    assert.are.equal(0, open_transactions())
    assert.is_true(fastpg.is(error_of(db.commit, db), "no_active_sql_transaction"))
  end)

  it("rolls back when collected", function()
    for _ = 1, 5 do -- more than the pool has: each gives its place back
      local tx = db:begin()
      tx:execute("update acct set n = 99")
      tx = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.are.equal(0, wait_until_none_open())
    end
    assert.are.equal(10, n())
  end)

  if has_close then
    it("rolls back where its scope is left", function()
      local leave = assert(load([[local db, fail = ...
        local tx <close> = db:begin()
        tx:execute("update acct set n = 99")
        if fail then error("left") end
        tx:commit()]]))
      pcall(leave, db, true)
      assert.are.equal(10, n())
      leave(db, false)
      assert.are.equal(99, n())
      assert.are.equal(0, open_transactions())
    end)
  else
    pending("rolls back where its scope is left: <close> is Lua 5.4's")
  end

  it("runs on the connection of acquire, and nests nowhere", function()
    db:acquire(function(c)
      local tx = db:begin()
      assert.are.equal(c.pid, tx.pid)
      local err = error_of(db.begin, db)
      assert.is_truthy(err.message:find("db:transaction nests", 1, true))
      tx:execute("update acct set n = 20")
      tx:commit()
      assert.are.equal(20, n())
      tx = db:begin()
      tx:execute("update acct set n = 30")
    end)
    assert.are.equal(20, n())
    assert.are.equal(0, open_transactions())
  end)
end)

describe("a transaction and coroutines", function()
  local db
  setup(function() db = pg.pool(nil, { max_size = 4 }) end)
  before_each(function() db:execute("truncate acct; insert into acct values (1, 10), (2, 20)") end)
  teardown(function() db:close() end)

  if not yields then
    pending("pcall of PUC Lua 5.1 can't be yielded across: a coroutine can't leave a transaction half-way")
  else
    it("a generator inside one runs in it", function()
      db:transaction(function(tx)
        local ids = coroutine.wrap(function()
          for _, row in ipairs(db:q("select id, pg_backend_pid() as pid from acct order by id")) do
            coroutine.yield(row.id, row.pid)
          end
        end)
        local id, pid = ids()
        assert.are.equal(1, id)
        assert.are.equal(tx.pid, pid)
        assert.are.equal(2, (ids()))
      end)
    end)

    it("one opened in a coroutine is that coroutine's", function()
      local co = coroutine.wrap(function()
        db:transaction(function(tx)
          tx:execute("update acct set n = 11 where id = 1")
          coroutine.yield(tx.pid)
          db:execute("update acct set n = 12 where id = 1")
        end)
        return "done"
      end)
      local pid = co()
      assert.are_not.equal(pid, db.pid)
      assert.are.equal(10, db:item("select n from acct where id = 1"))
      assert.are.equal("done", co())
      assert.are.equal(12, db:item("select n from acct where id = 1"))
    end)

    it("the innermost of nested ones counts, though the outer was opened later", function()
      local function in_transaction(fn)
        return coroutine.wrap(function()
          db:transaction(function(tx)
            coroutine.yield(tx.pid)
            fn(tx)
          end)
        end)
      end
      local inner = in_transaction(function(tx)
        assert.are.equal(tx.pid, db.pid)
        coroutine.wrap(function() assert.are.equal(tx.pid, db.pid) end)()
      end)
      inner()
      db:transaction(function() inner() end)
    end)

    it("is an error where nobody can tell which one is meant", function()
      local function worker(fn)
        return coroutine.wrap(function()
          db:transaction(function(tx)
            coroutine.yield()
            fn(tx)
          end)
        end)
      end
      local err
      local a = worker(function()
        coroutine.wrap(function() err = error_of(db.q, db, "select 1") end)()
      end)
      a()
      local b = worker(function() a() end)
      b()
      b()
      assert.is_truthy(err.message:find("use tx instead of db", 1, true), tostring(err))
    end)

    it("a nested one that comes back too late runs nowhere", function()
      local late
      local kept
      db:transaction(function()
        late = coroutine.wrap(function()
          return pcall(db.transaction, db, function(tx)
            kept = tx
            coroutine.yield()
            local err = error_of(db.execute, db, "update acct set n = 99")
            assert.is_true(fastpg.is(err, "closed"))
            assert.is_true(fastpg.is(error_of(tx.execute, tx, "update acct set n = 99"), "closed"))
          end)
        end)
        late()
      end)
      db:transaction(function(tx)
        local ok, err = late()
        assert.is_false(ok)
        assert.is_true(fastpg.is(err, "closed"), tostring(err))
        assert.is_true(fastpg.is(error_of(kept.q, kept, "select 1"), "closed"))
        assert.are.equal(10, tx:item("select n from acct where id = 1"))
      end)
    end)

    it("a coroutine that is never resumed gives its connection back", function()
      for i = 1, 8 do
        local co = coroutine.wrap(function()
          db:transaction(function(tx)
            tx:execute("insert into acct values (?, 99)", 10 + i)
            coroutine.yield()
          end)
        end)
        co()
      end
      assert.are.equal(2, db:item("select count(*) from acct"))
    end)
  end

  it("tx may be used by any coroutine", function()
    local tx = db:begin()
    local pid = tx.pid
    coroutine.wrap(function() assert.are.equal(pid, tx:item("select pg_backend_pid()")) end)()
    tx:rollback()
  end)
end)

describe("a transaction whose connection is lost", function()
  local killer
  setup(function() killer = pg.db() end)
  teardown(function() killer:close() end)

  local function kill(pid)
    killer:execute("select pg_terminate_backend($1)", pid)
    for _ = 1, 3000 do
      if killer:item("select count(*) from pg_stat_activity where pid = $1", pid) == 0 then return end
      killer:execute("select pg_sleep(0.01)")
    end
  end

  for _, how in ipairs{ "one connection", "a pool" } do
    it("fails in every later call, and nothing of it runs elsewhere: " .. how, function()
      local db = how == "a pool" and pg.pool(nil, { max_size = 3 }) or pg.db()
      db:execute("truncate acct; insert into acct values (1, 10)")
      local errs = {}
      local err = error_of(db.transaction, db, function(tx)
        tx:execute("update acct set n = 11")
        kill(tx.pid)
        for i, call in ipairs{
          function() db:execute("update acct set n = 12") end,
          function() db:execute("update acct set n = ?", 12) end,
          function() tx:execute("update acct set n = 13") end,
          function() db.t.acct:update{ id = 1, n = 14 } end,
          function() db:executemany("update acct set n = ?", { { 15 } }) end,
          function() db:pipeline(function(p) p:execute("update acct set n = 16") end) end,
          function() tx:transaction(function() db:execute("update acct set n = 17") end) end,
          function() for _ in tx:each("update acct set n = 18 returning *") do end end, -- luacheck: ignore
          function() db:begin() end,
        } do
          errs[i] = error_of(call)
        end
      end)
      assert.are.equal(9, #errs)
      for i = 1, 8 do assert.is_true(fastpg.is(errs[i], "connection"), tostring(errs[i])) end
      assert.is_true(fastpg.is(err, "connection"), tostring(err))
      assert.are.equal(10, db:item("select n from acct"))
      db:close()
    end)
  end

  it("fails at COMMIT when it was idle until then", function()
    local db = pg.db()
    local err = error_of(db.transaction, db, function(tx)
      tx:execute("update acct set n = n")
      kill(tx.pid)
    end)
    assert.is_true(fastpg.is(err, "connection"), tostring(err))
    local tx = db:begin()
    kill(tx.pid)
    assert.is_true(fastpg.is(error_of(tx.commit, tx), "connection"))
    assert.are.equal(1, db:item("select 1"))
    db:close()
  end)

  it("makes an each that is being read fail", function()
    local db = pg.db()
    local err = error_of(function()
      for row in db:each("select g, pg_backend_pid() as pid, repeat('x', 1000) as x from generate_series(1, 100000) g") do
        if row.g == 10 then kill(row.pid) end
      end
    end)
    assert.is_true(fastpg.is(err, "connection"), tostring(err))
    assert.are.equal(1, db:item("select 1"))
    db:close()
  end)
end)

describe("acquire", function()
  local db
  setup(function() db = pg.pool(nil, { max_size = 2 }) end)
  teardown(function() db:close() end)

  it("holds one connection without a transaction, and gives the results", function()
    local a, b = db:acquire(function(c)
      assert.are.equal(c.pid, db.pid)
      db:execute("create temp table here (n int)")
      db:execute("insert into here values (1)")
      db:transaction(function(tx)
        assert.are.equal(c.pid, tx.pid)
        tx:execute("insert into here values (2)")
      end)
      c:transaction(function() c:execute("insert into here values (3)") end)
      db:transaction(function()
        db:acquire(function(inner)
          assert.are.equal(c.pid, inner.pid)
          inner:transaction(function() inner:execute("insert into here values (4)") end)
          pcall(inner.transaction, inner, function()
            inner:execute("insert into here values (5)")
            error("no")
          end)
        end)
      end)
      return c:item("select count(*) from here"), nil
    end)
    assert.are.equal(4, a)
    assert.is_nil(b)
  end)

  it("makes its database useless afterwards", function()
    local kept
    db:acquire(function(c) kept = c end)
    assert.is_truthy(error_of(kept.q, kept, "select 1").message:find("the connection was given back", 1, true))
    assert.is_truthy(error_of(kept.close, kept).message:find("can't be closed", 1, true))
  end)

  it("does not let a statement into an each that is being read", function()
    db:acquire(function(c)
      local rows = c:each("select generate_series(1, 100000) as n")
      assert.are.equal(1, rows().n)
      for _, call in ipairs{
        function() c:item("select 1") end,
        function() db:execute("select 1") end,
        function() c:transaction(function() end) end,
        function() c:executemany("select ?::int", { { 1 } }) end,
      } do
        local err = error_of(call)
        assert.is_truthy(err.message:find("use a transaction around both, or db:q", 1, true), tostring(err))
      end
      assert.are.equal(2, rows().n)
      rows:close()
      assert.are.equal(1, c:item("select 1"))
    end)
  end)

  it("an each that was forgotten is cleared away", function()
    db:acquire(function(c)
      do
        local rows = c:each("select generate_series(1, 10000000) as n")
        rows()
        rows = nil -- luacheck: ignore
      end
      collectgarbage()
      collectgarbage()
      assert.are.equal(1, c:item("select 1"))
      c:each("select generate_series(1, 10000000) as n")()
    end)
    assert.are.equal(1, db:item("select 1"))
  end)
end)

describe("time", function()
  local db, watch
  setup(function() watch = pg.db{ command_timeout = 60 } end)
  teardown(function() watch:close() end)
  before_each(function() watch:execute("truncate acct; insert into acct values (1, 10)") end)
  after_each(function() if db then db:close() end end)

  -- The machine may be too busy for a short time.
  local function in_time(fn, ...)
    for _ = 1, 50 do
      local ok, result = pcall(fn, ...)
      if ok then return result end
      if not fastpg.is(result, "timeout") then error(result, 0) end
    end
    error "it is never in time"
  end

  local function running()
    return watch:item([[select count(*) from pg_stat_activity where datname = current_database()
      and state = 'active' and pid <> pg_backend_pid()]])
  end

  for _, size in ipairs{ 100, 0 } do
    it("command_timeout cancels on the server, with statement_cache_size = " .. size, function()
      db = in_time(pg.db, { command_timeout = 0.3, statement_cache_size = size })
      local pid = db.pid
      for _, call in ipairs{
        function() db:q("select pg_sleep(20)") end,
        function() db:execute("select pg_sleep(20)") end,
        function() db:execute("select pg_sleep(?)", 20) end,
        function() db:executemany("select pg_sleep(?)", { { 0 }, { 20 } }) end,
        function() db:pipeline(function(p) p:q("select pg_sleep(20)") end) end,
        function() for _ in db:each("select pg_sleep(20)") do end end, -- luacheck: ignore
        function() db:transaction(function() db:q("select pg_sleep(20)") end) end,
      } do
        local err = error_of(call)
        assert.is_true(fastpg.is(err, "timeout"), tostring(err))
        assert.are.equal("57014", err.sqlstate)
        assert.is_truthy(err.where:find("transaction_spec.lua", 1, true))
        assert.are.equal(0, running())
        assert.are.equal(1, in_time(db.item, db, "select 1"))
      end
      assert.are.equal(pid, db.pid)
    end)
  end

  it("each statement of a transaction has its own, COMMIT too", function()
    db = pg.db{ command_timeout = 1.5 }
    db:transaction(function(tx)
      tx:execute("update acct set n = 11")
      watch:execute("select pg_sleep(1.6)")
    end)
    assert.are.equal(11, watch:item("select n from acct"))
    local tx = db:begin()
    tx:execute("update acct set n = 12")
    watch:execute("select pg_sleep(1.6)")
    tx:commit()
    assert.are.equal(12, watch:item("select n from acct"))
    db:transaction(function(t)
      local sum = 0
      for row in t:each("select generate_series(1, 1000) as n") do
        if row.n == 256 then watch:execute("select pg_sleep(1.6)") end
        sum = sum + row.n
      end
      assert.are.equal(500500, sum)
    end)
  end)

  it("db:timeout is for all statements inside together", function()
    db = pg.db()
    local err = error_of(db.timeout, db, 0.3, function()
      for _ = 1, 20 do db:execute("select pg_sleep(0.1)") end
    end)
    assert.is_true(fastpg.is(err, "timeout"))
    assert.are.equal(0, running())
    assert.are.equal(7, (db:timeout(60, function(inner) return inner:item("select 7") end)))
    err = error_of(db.timeout, db, 0, function() db:q("select 1") end)
    assert.is_true(fastpg.is(err, "timeout"))
    err = error_of(db.timeout, db, 60, function()
      db:timeout(0.1, function() db:q("select pg_sleep(3)") end)
    end)
    assert.is_true(fastpg.is(err, "timeout"))
    err = error_of(db.timeout, db, 0.1, function()
      db:timeout(60, function() db:q("select pg_sleep(3)") end)
    end)
    assert.is_true(fastpg.is(err, "timeout"))
    assert.is_true(fastpg.is(error_of(db.timeout, db, "x", function() end), "invalid_argument"))
    assert.is_true(fastpg.is(error_of(db.timeout, db, 1), "invalid_argument"))
  end)

  it("rolls back a transaction whose statement was canceled", function()
    db = pg.db()
    local err = error_of(db.transaction, db, function(tx)
      tx:execute("update acct set n = 11")
      db:timeout(0.1, function() db:q("select pg_sleep(3)") end)
    end)
    assert.is_true(fastpg.is(err, "timeout"))
    assert.are.equal(10, db:item("select n from acct"))
    db:transaction(function(tx)
      tx:execute("update acct set n = 12")
      pcall(tx.transaction, tx, function()
        db:timeout(0.1, function() db:q("select pg_sleep(3)") end)
      end)
    end)
    assert.are.equal(12, db:item("select n from acct"))
  end)

  it("covers a wait for a lock", function()
    db = in_time(pg.db, { command_timeout = 0.2 })
    watch:transaction(function()
      watch:execute("update acct set n = 11")
      assert.is_true(fastpg.is(error_of(db.execute, db, "update acct set n = 12"), "timeout"))
    end)
    assert.are.equal(11, db:item("select n from acct"))
  end)

  it("the server's own statement_timeout is not ours", function()
    db = pg.db{ command_timeout = 60 }
    db:execute("set statement_timeout = 50")
    local err = error_of(db.q, db, "select pg_sleep(3)")
    assert.are.equal("query_canceled", err.name)
    assert.is_false(fastpg.is(err, "timeout"))
  end)
end)

describe("advisory_lock", function()
  local db
  setup(function() db = pg.pool(nil, { max_size = 2 }) end)
  teardown(function() db:close() end)

  local function held()
    return db:item("select count(*) from pg_locks where locktype = 'advisory' and granted")
  end

  it("is held while the function runs, and released in any case", function()
    for _, key in ipairs{ 7, -1, "a text" } do
      local a, b = db:advisory_lock(key, function(c)
        assert.are.equal(1, held())
        assert.are.equal(c.pid, db.pid)
        return 1, 2
      end)
      assert.are.same({ 1, 2 }, { a, b })
      assert.are.equal(0, held())
      assert.are.equal("oops", error_of(db.advisory_lock, db, key, function() error("oops", 0) end))
      assert.are.equal(0, held())
      local err = error_of(db.advisory_lock, db, key, function() db:q("select 1/0") end)
      assert.is_true(fastpg.is(err, "division_by_zero"))
      assert.are.equal(0, held())
    end
  end)

  it("keeps others out", function()
    local other = pg.db{ command_timeout = 1 }
    db:advisory_lock("x", function()
      assert.is_true(fastpg.is(error_of(other.advisory_lock, other, "x", function() end), "timeout"))
      assert.are.equal(1, other:advisory_lock("y", function() return 1 end))
    end)
    assert.are.equal(2, other:advisory_lock("x", function() return 2 end))
    other:close()
  end)

  it("inside a transaction is held until its end", function()
    db:transaction(function()
      db:advisory_lock(5, function() assert.are.equal(1, held()) end)
      assert.are.equal(1, held())
    end)
    assert.are.equal(0, held())
    pcall(db.transaction, db, function()
      db:advisory_lock(5, function() db:q("select 1/0") end)
    end)
    assert.are.equal(0, held())
  end)

  it("wants a key and a function", function()
    for _, key in ipairs{ {}, true } do
      assert.is_true(fastpg.is(error_of(db.advisory_lock, db, key, function() end), "invalid_argument"))
    end
    assert.is_true(fastpg.is(error_of(db.advisory_lock, db, nil, function() end), "invalid_argument"))
    assert.is_true(fastpg.is(error_of(db.advisory_lock, db, 1), "invalid_argument"))
    assert.is_true(fastpg.is(error_of(db.advisory_lock, db, 1.5, function() end), "invalid_argument"))
    assert.are.equal(0, held())
  end)
end)

describe("SQL that ends or begins a transaction inside one", function()
  local db, uncached
  setup(function()
    db, uncached = pg.pool(nil, { max_size = 2 }), pg.db{ statement_cache_size = 0 }
    db:execute "create table half (id int); create table half_2 (id int)"
  end)
  before_each(function() db:execute "truncate half, half_2" end)
  teardown(function()
    db:close()
    uncached:close()
  end)

  local function rows() return db:item "select count(*)::int from half" end

  local ends = {
    "commit", "COMMIT", " commit ;", "commit work", "Commit Transaction", "commit and chain", "commit and no chain", "end", "end work and chain",
    "END TRANSACTION", "abort", "abort work", "rollback", "rollback work", "ROLLBACK TRANSACTION AND CHAIN", "rollback and no chain",
    "prepare transaction 'x'", "/* a /* b */ */ commit", "-- it's\n commit", ";;commit",
  }
  local begins = { "begin", "BEGIN WORK", "begin isolation level serializable", "start transaction", "Start Transaction Read Only", ";begin;" }
  local several = {
    "commit; begin", "select 1; commit", "insert into half values (1); commit; begin; insert into half values (2)", "rollback; begin",
    "savepoint a; rollback to a; commit", "create function pg_temp.f() returns int begin atomic select 1; end; commit",
    "select 'a;' ; commit and chain; select $$;$$", "do 'begin end'; end", "select 1;\n\n-- x\nabort", "begin; commit",
  }
  local ways = {
    execute = function(tx, sql) tx:execute(sql) end,
    q = function(tx, sql) tx:q(sql) end,
    first = function(tx, sql) tx:first(sql) end,
    qone = function(tx, sql) tx:qone(sql) end,
    item = function(tx, sql) tx:item(sql) end,
    fetchval = function(tx, sql) tx:fetchval(sql) end,
    arrays = function(tx, sql) tx:arrays(sql) end,
    args = function(tx, sql) tx:q(sql, fastpg.args({})) end,
    each = function(tx, sql) tx:each(sql)() end,
    ["each with a function"] = function(tx, sql) tx:each(sql, function() end) end,
    executemany = function(tx, sql) tx:executemany(sql, { {}, {} }) end,
    prepare = function(tx, sql) tx:prepare(sql) end,
    copy_from = function(tx, sql)
      local ok, err = pcall(tx.copy_from, tx, "copy half from stdin; " .. sql, "77\n")
      assert.is_false(ok)
      if fastpg.is(err, "syntax_error") or fastpg.is(err, "invalid_argument") then return tx:q(sql) end -- several are refused
      error(err, 0)
    end,
    pipeline = function(tx, sql)
      tx:pipeline(function(p)
        p:q "select 1"
        p:execute(sql)
      end)
    end,
    nested = function(tx, sql) tx:transaction(function(inner) inner:execute(sql) end) end,
    acquire = function(tx, sql) tx:acquire(function(c) c:q(sql) end) end,
    ["an advisory lock"] = function(tx, sql) tx:advisory_lock(1, function() db:q(sql) end) end,
    timeout = function(tx, sql) tx:timeout(60, function() tx:q(sql) end) end,
  }

  local function refused(tx, way, sql)
    local err = error_of(way, tx, sql)
    assert.is_true(fastpg.is(err, "invalid_transaction_termination") or fastpg.is(err, "active_sql_transaction"), sql .. ": " .. tostring(err))
    return err
  end

  it("is refused before it is sent, in every way that a statement can go", function()
    local function try_all(on, name, way)
      on:transaction(function(tx)
        tx:execute "insert into half_2 values (1)"
        for _, list in ipairs{ ends, begins, name == "execute" and several or {} } do
          for _, sql in ipairs(list) do
            local err = refused(tx, way, sql)
            assert.is_truthy(err.message:find("inside a", 1, true), err.message)
          end
        end
        -- still the same transaction, and well
        assert.are.equal(1, tx:item "select count(*)::int from half_2 where xmin = pg_current_xact_id()::xid")
        tx:execute "truncate half_2"
      end)
    end
    for name, way in pairs(ways) do
      try_all(db, name, way)
      if name ~= "an advisory lock" then try_all(uncached, name, way) end
    end
    assert.are.equal(0, rows())
  end)

  it("leaves nothing of the transaction when the refusal ends it", function()
    for _, sql in ipairs(several) do
      error_of(db.transaction, db, function(tx)
        tx:execute "insert into half values (77)"
        tx:execute(sql)
        tx:execute "insert into half values (78)"
      end)
      assert.are.equal(0, rows(), sql)
    end
    local tx = db:begin()
    tx:execute "insert into half values (77)"
    local err = refused(tx, ways.q, "commit")
    assert.is_truthy(err.message:find("tx:commit()", 1, true))
    tx:rollback()
    assert.are.equal(0, rows())
  end)

  it("is refused where it was prepared outside", function()
    db:acquire(function(c)
      for _ = 1, 3 do
        c:q "begin"
        c:q("insert into half values (?)", 1)
        c:q "rollback"
      end
      local rollback = c:prepare "rollback"
      c:transaction(function(tx)
        tx:execute "insert into half values (77)"
        for _ = 1, 3 do refused(tx, ways.q, "rollback") end
        refused(tx, function() rollback() end, "rollback")
      end)
    end)
    assert.are.equal(1, rows())
  end)

  it("is refused in a batch, which is all or nothing, outside of transactions too", function()
    for _, on in ipairs{ db, uncached } do
      local err = error_of(on.pipeline, on, function(p)
        p:execute "insert into half values (1)"
        p:execute "commit"
        p:execute "select 1/0"
      end)
      assert.is_true(fastpg.is(err, "invalid_transaction_termination"), tostring(err))
      assert.is_truthy(err.message:find("all or nothing", 1, true))
      assert.is_true(fastpg.is(error_of(on.executemany, on, "begin", { {} }), "active_sql_transaction"))
    end
    assert.are.equal(0, rows())
  end)

  it("is no matter of what only looks like it", function()
    db:transaction(function(tx)
      tx:execute "set transaction isolation level repeatable read"
      assert.are.equal("commit; begin", tx:item "select 'commit; begin'")
      assert.are.equal(1, tx:item "select 1 as commit -- ; commit")
      tx:execute "prepare transaction as select 1; deallocate transaction"
      tx:execute "create temp table rollback (begin int, \"commit\" int) on commit drop; insert into rollback values (1, 2)"
      assert.are.equal(1, tx:item "select begin from rollback")
      tx:execute "do $$ begin perform 1; end $$"
      tx:execute "create function pg_temp.f() returns int begin atomic; select case when true then 7 end; end"
      assert.are.equal(7, tx:item "select pg_temp.f()")
      assert.is_true(fastpg.is(error_of(tx.transaction, tx, function(inner) inner:execute "do 'begin commit; end'" end),
        "invalid_transaction_termination")) -- the server's own word
      tx:execute "insert into half values (1)"
    end)
    assert.are.equal(1, rows())
    db:execute "begin; insert into half values (2); commit" -- a whole one, in a text of its own
    assert.are.equal(2, rows())
  end)

  it("does not mean savepoints, but those under fastpg's own names", function()
    for _, on in ipairs{ db, uncached } do
      on:transaction(function(tx)
        tx:execute "savepoint a"
        tx:q "insert into half values (1)"
        tx:q "rollback to savepoint a"
        tx:execute("savepoint b; insert into half values (2); rollback work to b; release savepoint b")
        tx:prepare("rollback transaction to a")()
        error_of(tx.q, tx, "select 1/0")
        tx:q "rollback to a"
        tx:transaction(function(inner)
          inner:execute "savepoint a; insert into half values (3); release a"
        end)
        tx:q "release savepoint a"
        for _, sql in ipairs{ [[savepoint U&"\0066astpg_1"]], [[rollback to u&"\0061"]], [[release savepoint U&"d!0061t" uescape '!']] } do
          local err = error_of(tx.execute, tx, sql)
          assert.is_true(fastpg.is(err, "feature_not_supported"), tostring(err))
        end
        for _, sql in ipairs{ "savepoint fastpg_1", "rollback to fastpg_1", "release FASTPG_BATCH", "rollback to savepoint \"fastpg_1\"" } do
          assert.is_true(fastpg.is(error_of(tx.execute, tx, sql), "invalid_argument"), sql)
        end
        tx:pipeline(function(p)
          p:execute "savepoint a"
          p:execute "insert into half values (4)"
          p:execute "rollback to a"
        end)
      end)
      assert.are.equal(1, rows())
      db:execute "truncate half"
    end
  end)

  it("does not go back beyond the db:transaction that it runs in", function()
    db:transaction(function(tx)
      tx:execute "savepoint a"
      tx:execute "insert into half values (1)"
      tx:transaction(function(inner)
        for _, sql in ipairs{ "rollback to a", "ROLLBACK TO SAVEPOINT a", "release a", "savepoint b; rollback to a" } do
          assert.is_true(fastpg.is(error_of(inner.execute, inner, sql), "invalid_savepoint_specification"), sql)
        end
        inner:execute "savepoint a; insert into half values (2); rollback to a"
        inner:execute "insert into half values (3)"
      end)
      tx:execute "savepoint c; rollback to c"
      assert.are.equal(2, tx:item "select count(*)::int from half")
      tx:execute "rollback to a"
    end)
    assert.are.equal(0, rows())
  end)

  it("frees what was claimed since a savepoint of SQL", function()
    db:execute "create table half_jobs (id int primary key); insert into half_jobs select generate_series(1, 4)"
    db:transaction(function(tx)
      local jobs = tx.t.half_jobs
      local function claim() return jobs:claim{ order_by = "id" }.id end
      assert.are.equal(1, claim())
      tx:execute "savepoint a"
      assert.are.equal(2, claim())
      tx:execute "SAVEPOINT b"
      assert.are.equal(3, claim())
      tx:q "rollback to savepoint \"a\""
      assert.are.equal(2, claim())
      tx:q "release A"
      assert.are.equal(3, claim())
    end)
    db:execute "drop table half_jobs"
  end)

  it("is noticed at once where it should get by, and nothing runs after it", function()
    local Route = require "fastpg.pool.route"
    for _, sql in ipairs{ "commit", "commit and chain", "rollback", "commit; begin", "rollback; begin; commit" } do
      local after
      local err = error_of(db.transaction, db, function(tx)
        tx:execute "insert into half_2 values (1)"
        local conn = Route.of(tx).bound_conn
        after = error_of(conn.simple, conn, sql) -- past the look at the text
        assert.is_true(fastpg.is(after, "invalid_transaction_termination"), tostring(after))
        error_of(tx.execute, tx, "insert into half values (77)")
        error(after, 0)
      end)
      assert.are.equal(after, err)
      assert.are.equal(0, rows())
      assert.are.equal(1, db:item "select 1")
    end
  end)

  it("db:transaction on a connection where SQL began one is an error, and ends nothing", function()
    db:acquire(function(c)
      c:execute "begin"
      c:execute "insert into half values (1)"
      for _, call in ipairs{ function() c:transaction(function() end) end, function() c:begin() end } do
        assert.is_true(fastpg.is(error_of(call), "active_sql_transaction"))
      end
      c:execute "rollback"
      c:transaction(function() c:execute "insert into half values (2)" end)
    end)
    assert.are.equal(1, rows())
  end)
end)
