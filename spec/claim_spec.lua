-- SPDX-License-Identifier: MIT
--
-- Tables as job queues: claim and claim_one.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

local function assert_error(name, pattern, fn, ...)
  local err = error_of(fn, ...)
  assert.is_true(fastpg.is(err, name), tostring(err))
  if pattern then assert.is_truthy(err.message:find(pattern, 1, true), err.message) end
  return err
end

describe("claim", function()
  local db, other, job
  setup(function()
    db, other = pg.db(), pg.db{ command_timeout = 60 }
    db:execute("create table job (id int primary key, status text not null default 'pending', tenant int not null default 1)")
    job = db.t.job
  end)
  before_each(function() db:execute("truncate job; insert into job (id) select generate_series(1, 5)") end)
  teardown(function()
    db:close()
    other:close()
  end)

  it("is an error outside a transaction", function()
    assert_error("no_active_sql_transaction", "use db:transaction, or claim_one", job.claim, job)
    db:acquire(function() assert_error("no_active_sql_transaction", nil, job.claim, job) end)
    local tx = db:begin()
    assert.are.equal(1, tx.t.job:claim{ order_by = "id" }.id)
    tx:rollback()
  end)

  it("gives the row or nil, with a limit a list, and skips what others hold", function()
    local theirs = other.t.job
    db:transaction(function()
      assert.are.equal(1, job:claim{ order_by = "id" }.id)
      assert.are.equal(2, job:claim{ order_by = { "id" }, where = "id > ?", args = { 1 } }.id)
      assert.is_nil(job:claim("id = ?", 1)) -- ours already
      other:transaction(function()
        assert.are.equal(3, theirs:claim{ order_by = "id" }.id)
        local rows = theirs:claim{ order_by = "id", limit = 10 }
        assert.are.equal(2, #rows)
        assert.are.equal(5, rows[2].id)
        assert.is_nil(theirs:claim{ where = { id = 1 } })
        assert.are.equal(0, #theirs:claim{ where = { id = { 1, 2 } }, limit = 2 })
        assert.is_nil(job:claim{ where = { id = 3 } })
      end)
      assert.are.equal(0, #job:claim{ where = { id = { 1, 2 } }, limit = 2 })
      local rest = job:claim{ limit = 9 }
      assert.are.equal(3, #rest)
      assert.are.equal("job", fastpg.db_of(rest[1]) and job.name)
      assert.are.same({ "id", "status", "tenant" }, rest:columns())
      assert.are.equal("<Job id=3 status='pending' tenant=1>", (tostring(rest[1]):gsub("^<%w+", "<Job")))
    end)
    db:transaction(function() assert.are.equal(5, #job:claim{ limit = 9 }) end)
  end)

  local function claim_all(t, options)
    local found = {}
    for i = 1, 20 do
      local row = t:claim(options)
      if not row then break end
      found[i] = row.id
    end
    table.sort(found)
    return table.concat(found, " ")
  end

  it("gives no row twice in a transaction, whatever the table, its key and its spelling", function()
    db:execute[[
      create schema claims;
      create table claims.keyless (id int, status text, fastpg_claimed int default 7);
      create table claims."two keys" (id int, "?:k" text, status text, primary key ("?:k", id));
      create table claims.dated (id int, at timestamptz primary key, status text);
      create table claims.parts (id int primary key, status text) partition by range (id);
      create table claims.parts_a partition of claims.parts for values from (0) to (3);
      create table claims.parts_b partition of claims.parts for values from (3) to (9);
      create table claims.odd_parts (status text, id int) partition by range (id);
      create table claims.odd_parts_a partition of claims.odd_parts for values from (0) to (3);
      create table claims.odd_parts_b partition of claims.odd_parts for values from (3) to (9);
      create table claims.parent (id int primary key, status text);
      create table claims.child (id int primary key, status text) inherits (claims.parent);
      create view claims.shown as select id, status from claims.keyless;
      insert into claims.keyless (id) select generate_series(1, 4);
      insert into claims."two keys" select id, 'x' from claims.keyless;
      insert into claims.dated select id, '2024-01-01'::timestamptz + id * interval '1 day' from claims.keyless;
      insert into claims.parts select id from claims.keyless;
      insert into claims.odd_parts (id) select id from claims.keyless;
      insert into claims.parent select id from claims.keyless where id < 3;
      insert into claims.child select id from claims.keyless where id > 2;]]
    for _, name in ipairs{ "keyless", "two keys", "dated", "parts", "odd_parts", "parent", "shown" } do
      local t = db.t["claims." .. name]
      for _, options in ipairs{ {}, { select = { "id" } }, { select = "id, status" }, { as_cls = false }, { order_by = "id desc" } } do
        db:transaction(function()
          assert.are.equal("1 2 3 4", claim_all(t, options), name)
          assert.are.equal(0, #t:claim{ limit = 10 })
        end)
      end
      db:transaction(function()
        assert.are.equal(3, #t:claim{ limit = 3 })
        assert.are.equal(1, #t:claim{ limit = 3 })
        assert.is_nil(db:table(name, "claims"):claim())
      end)
      if name ~= "shown" then
        db:transaction(function()
          local row = t:claim{ order_by = "id" }
          if name ~= "keyless" and name ~= "odd_parts" then t:update{ status = "seen", id = row.id, at = rawget(row, "at"), ["?:k"] = rawget(row, "?:k") } end
          assert.are.equal("2 3 4", claim_all(t, {}), name)
        end)
      end
    end
    local row = db:transaction(function() return db.t["claims.keyless"]:claim() end)
    assert.are.equal(7, row.fastpg_claimed)
    db:transaction(function() -- a part's rows are those of the whole
      assert.are.equal("1 2", claim_all(db.t["claims.parts_a"], {}))
      assert.are.equal("3 4", claim_all(db.t["claims.parts"], {}))
      assert.are.equal("3 4", claim_all(db.t["claims.child"], {}))
      assert.are.equal("1 2", claim_all(db.t["claims.parent"], {}))
    end)
    db:execute "drop schema claims cascade"
  end)

  it("takes what a savepoint that is rolled back had claimed as free again", function()
    db:transaction(function()
      assert.are.equal(1, job:claim{ order_by = "id" }.id)
      pcall(db.transaction, db, function()
        assert.are.equal(2, job:claim{ order_by = "id" }.id)
        db:transaction(function() assert.are.equal(3, job:claim{ order_by = "id" }.id) end)
        error "back"
      end)
      assert.are.equal("2 3 4 5", claim_all(job, {}))
    end)
    db:transaction(function()
      db:transaction(function() assert.are.equal(1, job:claim{ order_by = "id" }.id) end)
      assert.are.equal(2, job:claim{ order_by = "id" }.id) -- released is kept
    end)
    assert.are.equal("1 2 3 4 5", db:transaction(function() return claim_all(job, {}) end))
    local tx = db:begin()
    assert.are.equal("1 2 3 4 5", claim_all(tx.t.job, {}))
    tx:rollback()
    tx = db:begin()
    assert.are.equal("1 2 3 4 5", claim_all(tx.t.job, {}))
    tx:commit()
  end)

  it("gives tasks of one transaction different rows", function()
    if not yields then return end
    local seen = {}
    db:transaction(function(tx)
      local function take()
        local row = tx.t.job:claim{ order_by = "id" }
        seen[#seen + 1] = row.id
      end
      fastpg.gather(take, take, take, take, take)
    end)
    table.sort(seen)
    assert.are.same({ 1, 2, 3, 4, 5 }, seen)
  end)

  it("respects filters", function()
    db:execute("update job set tenant = 2 where id > 3")
    local scoped = job:scope{ tenant = 2 }
    db:transaction(function()
      assert.are.equal(4, scoped:claim{ order_by = "id" }.id)
      assert.are.equal(1, #scoped:claim{ limit = 9 })
      assert.is_nil(scoped:claim{ where = { id = 1 } })
      assert_error("invalid_argument", nil, scoped.claim, scoped, { where = "true) or (true" })
    end)
  end)

  it("checks its options", function()
    db:transaction(function()
      assert_error("invalid_argument", 'did you mean "limit"', job.claim, job, { limt = 1 })
      assert_error("invalid_argument", "where = {", job.claim, job, { id = 1 })
      assert_error("invalid_argument", "at least 1", job.claim, job, { limit = 0 })
      assert_error("invalid_argument", "no argument at all", job.claim, job, nil)
      assert_error("invalid_argument", nil, job.claim, job, { with_pk = true })
    end)
  end)
end)

describe("claim_one", function()
  local db, job
  setup(function()
    db = pg.db()
    db:execute[[
      create table work (a int, b text, state text, note text, primary key (a, b));
      create table task (id int primary key, status text not null default 'pending', tenant int not null default 1,
        result text);
      create table done (id int)]]
    job = db.t.task
  end)
  before_each(function()
    db:execute[[truncate task, work, done; insert into task (id) select generate_series(1, 3);
      insert into work select g, 'x', 'new' from generate_series(1, 2) g]]
  end)
  teardown(function() db:close() end)

  local function status(id) return db:item("select status from task where id = ?", id) end

  it("works off the queue and marks what was done", function()
    local seen = {}
    for i = 1, 3 do
      local p = job:claim_one({ order_by = "id" }, function(p)
        seen[#seen + 1] = p.row.id
        assert.are.equal("pending", p.row.status)
        p.db:execute("insert into done values (?)", p.row.id)
        db:execute("update task set result = 'r' where id = ?", p.row.id)
        p.row.id = 99 -- the function's own copy
      end)
      assert.is_false(p.failed)
      assert.is_nil(p.error)
      assert.are.equal("completed", status(i))
    end
    assert.are.same({ 1, 2, 3 }, seen)
    assert.are.equal(3, db:item("select count(*) from done"))
    local called = false
    assert.is_nil(job:claim_one({}, function() called = true end))
    assert.is_nil(job:claim_one(function() called = true end))
    assert.is_false(called)
  end)

  it("keeps an error of the function and undoes its work", function()
    local mine = setmetatable({}, { __tostring = function() return "my own error" end })
    local function fails() error(mine) end
    local p = job:claim_one({ order_by = "id" }, function(p)
      p.db:execute("insert into done values (1)")
      fails()
    end)
    assert.is_true(p.failed)
    assert.are.equal(mine, p.error)
    assert.is_truthy(p.traceback:find("my own error", 1, true))
    assert.is_truthy(p.traceback:find("claim_spec.lua", 1, true))
    assert.are.equal("failed", status(1))
    assert.are.equal(0, db:item("select count(*) from done"))
  end)

  it("a server error inside rolls back the work and still marks the job", function()
    local p = job:claim_one({ order_by = "id" }, function(p)
      p.db:execute("insert into done values (1)")
      p.db:q("select 1/0")
    end)
    assert.is_true(p.failed)
    assert.is_true(fastpg.is(p.error, "division_by_zero"))
    assert.are.equal("failed", status(1))
    assert.are.equal(0, db:item("select count(*) from done"))
    p = job:claim_one({ order_by = "id" }, function(q)
      q.db:execute("insert into done values (2)")
      pcall(q.db.q, q.db, "select 1/0") -- swallowed: the work is lost all the same
    end)
    assert.is_true(p.failed)
    assert.is_true(fastpg.is(p.error, "in_failed_sql_transaction"))
    assert.is_string(p.traceback)
    assert.are.equal("failed", status(2))
  end)

  it("p.retry leaves the status as it was", function()
    local p = job:claim_one({ order_by = "id" }, function(p)
      p.db:execute("insert into done values (1)")
      p.retry = true
    end)
    assert.is_false(p.failed)
    assert.are.equal("pending", status(1))
    assert.are.equal(1, db:item("select count(*) from done"))
    p = job:claim_one({ order_by = "id" }, function(q)
      q.retry = true
      error("later")
    end)
    assert.is_true(p.failed)
    assert.are.equal("pending", status(1))
  end)

  it("has its own names of column and states, and compound keys", function()
    local work = db.t.work
    local opts = { status_col = "state", pending = "new", completed = "ok", failed = "bad", order_by = { "a desc" } }
    work:claim_one(opts, function(p) assert.are.equal(2, p.row.a) end)
    work:claim_one(opts, function() error("x") end)
    assert.are.same({ "bad", "ok" }, db:item("select array_agg(state order by a) from work"))
    db:execute("update work set state = null")
    opts = { status_col = "state", pending = fastpg.null, completed = "ok", where = "a = ?", args = { 1 } }
    assert.are.equal(1, work:claim_one(opts, function() end).row.a)
    assert.is_nil(work:claim_one(opts, function() end))
    assert.are.same({ "ok", fastpg.null }, db:item("select array_agg(state order by a) from work"))
  end)

  it("takes where, and respects filters", function()
    db:execute("update task set tenant = 2 where id = 2")
    local scoped = job:scope{ tenant = 2 }
    assert.are.equal(3, job:claim_one({ where = { id = 3 } }, function() end).row.id)
    assert.is_nil(job:claim_one({ where = "id = :id or id = ?", args = { 2 + 1, id = 3 } }, function() end))
    assert.are.equal(2, scoped:claim_one({}, function() end).row.id)
    assert.is_nil(scoped:claim_one({}, function() end))
    assert.are.equal("pending", status(1))
    local by_status = job:scope{ status = "pending" }
    assert_error("invalid_argument", "is filtered", by_status.claim_one, by_status, {}, function() end)
  end)

  it("a job that its function deletes is gone", function()
    local p = job:claim_one({ order_by = "id" }, function(p) db.t.task:delete(p.row.id) end)
    assert.is_false(p.failed)
    assert.are.equal(2, job:count())
  end)

  it("nests in a transaction and works through tx", function()
    pcall(db.transaction, db, function(tx)
      assert.are.equal(1, tx.t.task:claim_one({ order_by = "id" }, function() end).row.id)
      assert.are.equal("completed", status(1))
      error("back")
    end)
    assert.are.equal("pending", status(1))
  end)

  it("what is wrong with the call surfaces", function()
    local work = db.t.work
    assert_error("undefined_column", 'status', work.claim_one, work, {}, function() end)
    assert_error("undefined_column", nil, job.claim_one, job, { status_col = "stats" }, function() end)
    assert_error("invalid_argument", "a function expected, got nil", job.claim_one, job, {})
    assert_error("invalid_argument", 'did you mean "completed"', job.claim_one, job, { complete = "x" }, function() end)
    assert_error("undefined_column", nil, job.claim_one, job, { where = "nonsense = 1" }, function() end)
    assert_error("not_null_violation", nil, job.claim_one, job, { completed = fastpg.null }, function() end)
    db:execute("create temp table keyless (status text)")
    local keyless = db.t.keyless
    assert_error("invalid_argument", "no primary key", keyless.claim_one, keyless, {}, function() end)
    assert.are.equal("pending", status(1))
  end)

  it("a serialization failure, a deadlock and Ctrl-C are none of the job's: raised, and it stays pending", function()
    for _, case in ipairs{
      { "40001", function(p) p.db:execute "do $$ begin raise exception 'x' using errcode = '40001'; end $$" end },
      { "40P01", function(p) p.db:execute "do $$ begin raise exception 'x' using errcode = '40P01'; end $$" end },
      { "interrupted!", function() error "interrupted!" end },
      { "interrupted!", function() error("interrupted!", 0) end },
    } do
      local err = error_of(job.claim_one, job, { order_by = "id" }, function(p)
        p.db:execute "insert into done values (1)"
        case[2](p)
      end)
      assert.is_true(fastpg.is(err, case[1]) or type(err) == "string" and err:find(case[1], 1, true) ~= nil, tostring(err))
      assert.are.equal("pending", status(1))
      assert.are.equal(0, db:item "select count(*) from done")
    end
    local tries = 0 -- so the retries of a transaction around it see the failure
    db:transaction({ retries = 2 }, function()
      job:claim_one({ order_by = "id" }, function(p)
        tries = tries + 1
        if tries < 3 then p.db:execute "do $$ begin raise exception 'x' using errcode = '40001'; end $$" end
      end)
    end)
    assert.are.equal(3, tries)
    assert.are.equal("completed", status(1))
  end)

  it("a worker that is lost leaves its job to others", function()
    local worker = pg.db()
    local err = error_of(worker.t.task.claim_one, worker.t.task, { order_by = "id" }, function(p)
      db:execute("select pg_terminate_backend(?)", worker.pid)
      p.db:q("select 1")
    end)
    assert.is_true(fastpg.is(err, "connection"), tostring(err))
    for _ = 1, 1500 do
      local p = job:claim_one({ where = { id = 1 } }, function() end)
      if p then break end
      db:execute("select pg_sleep(0.02)")
    end
    assert.are.equal("completed", status(1))
    worker:close()
  end)

  it("inside a function of another, or of the same transaction, takes another job", function()
    local seen = {}
    local p = job:claim_one({ order_by = "id" }, function(p)
      seen[1] = p.row.id
      job:claim_one({ order_by = "id" }, function(q)
        seen[2] = q.row.id
        seen[3] = p.db.t.task:claim{ order_by = "id" }.id
        assert.is_nil(job:claim_one(error))
      end)
    end)
    assert.is_false(p.failed, tostring(p.error))
    assert.are.same({ 1, 2, 3 }, seen)
    assert.are.same({ "completed", "completed", "pending" }, { status(1), status(2), status(3) })
    db:execute "update task set status = 'pending'"
    db:transaction(function()
      for i = 1, 3 do
        assert.are.equal(i, job:claim_one({ order_by = "id" }, function(p2) p2.retry = true end).row.id)
      end
      assert.is_nil(job:claim_one(error))
    end)
  end)

  describe("a worker that is canceled", function()
    local ways = {
      ["in a sleep"] = function() fastpg.sleep(10) end,
      ["in a query"] = function(p) p.db:q "select pg_sleep(10)" end,
      ["in a query of db"] = function() db:q "select pg_sleep(10)" end,
      ["in a transaction of the function's"] = function(p) p.db:transaction(function(tx) tx:q "select pg_sleep(10)" end) end,
      ["while it waits for a task"] = function()
        local other = fastpg.spawn(function() fastpg.sleep(10) end)
        local ok, err = pcall(other.wait, other)
        other:cancel()
        if not ok then error(err, 0) end
      end,
      ["and makes another error of it"] = function()
        local _, err = pcall(fastpg.sleep, 10)
        error("wrapped: " .. tostring(err))
      end,
      ["and makes nothing of it"] = function() pcall(fastpg.sleep, 10) end,
      ["and makes nothing of it in a query"] = function(p) pcall(p.db.q, p.db, "select pg_sleep(10)") end,
      ["in a coroutine of its own, half-way"] = function(p)
        for row in p.db:each "select g, pg_sleep(0.05) from generate_series(1, 1000) g" do assert(row.g) end
      end,
    }
    local function nothing_done(id)
      assert.are.equal("pending", status(id))
      assert.are.equal(0, db:item "select count(*) from done")
      local p = job:claim_one({ where = { id = id } }, function() end)
      assert.is_false(p.failed)
    end
    for name, way in pairs(ways) do
      it(name .. ": the cancel is raised, the job stays pending", function()
        if not yields then return end
        local called, marked
        local worker = fastpg.spawn(function()
          job:claim_one({ order_by = "id" }, function(p)
            p.db:execute "insert into done values (1)"
            called = true
            way(p)
          end)
          marked = true
        end)
        fastpg.spawn(function()
          repeat fastpg.sleep(0.01) until called
          fastpg.sleep(0.1)
          worker:cancel()
        end):wait()
        assert.is_true(fastpg.is(error_of(worker.wait, worker), "canceled"))
        assert.is_true(called)
        assert.is_nil(marked)
        nothing_done(1)
      end)
    end

    it("by gather, for a sibling's error", function()
      if not yields then return end
      local err = error_of(fastpg.gather, function()
        job:claim_one({ order_by = "id" }, function(p)
          p.db:execute "insert into done values (1)"
          fastpg.sleep(10)
        end)
      end, function()
        fastpg.sleep(0.1)
        error("a sibling", 0)
      end)
      assert.are.equal("a sibling", err)
      nothing_done(1)
    end)

    it("by the end of db:timeout around it; one inside is the job's", function()
      local err = error_of(db.timeout, db, 0.15, function()
        job:claim_one({ order_by = "id" }, function(p) p.db:q "select pg_sleep(10)" end)
      end)
      assert.is_true(fastpg.is(err, "timeout"), tostring(err))
      nothing_done(1)
      local p = job:claim_one({ where = { id = 2 } }, function(p) p.db:timeout(0.05, function() p.db:q "select pg_sleep(10)" end) end)
      assert.is_true(fastpg.is(p.error, "timeout"))
      assert.are.equal("failed", status(2))
    end)

    it("where a task that it waits for was canceled, the job failed", function()
      if not yields then return end
      local p = fastpg.spawn(function()
        return job:claim_one({ order_by = "id" }, function()
          local other = fastpg.spawn(function() fastpg.sleep(10) end)
          fastpg.spawn(function() other:cancel() end)
          other:wait()
        end)
      end):wait()
      assert.is_true(fastpg.is(p.error, "canceled"))
      assert.are.equal("failed", status(1))
    end)
  end)

  it("two processes share a queue: each job is done exactly once", function()
    db:execute("truncate task; insert into task (id) select generate_series(1, 60); create table if not exists log (id int, worker int);"
      .. "create table here (n int)")
    local c = pg.conninfo()
    local script = os.tmpname()
    local f = assert(io.open(script, "w"))
    f:write(([[
      local db = require("fastpg").connect{ host = %q, port = %d, user = %q, database = %q }
      db:execute "insert into here values (1)"
      repeat local there = db:item "select count(*) from here" until there == 2 -- neither does all alone
      local n = 0
      repeat
        local p = db.t.task:claim_one({ order_by = "id" }, function(p)
          n = n + 1
          p.db:execute("insert into log values (?, pg_backend_pid())", p.row.id)
          p.db:execute("select pg_sleep(0.002)")
          if p.row.id %% 10 == 0 then error("each tenth fails") end
          if p.row.id %% 7 == 0 and db:item("select count(*) from log where id = ?", p.row.id) < 2 then p.retry = true end
        end)
      until p == nil
      print(n)
    ]]):format(c.host, c.port, c.user, c.database))
    f:close()
    local lua = os.getenv("FPG_TEST_LUA") or (rawget(_G, "arg") or {})[-1] or "lua"
    local workers = {}
    for i = 1, 2 do workers[i] = assert(io.popen(lua .. " " .. script .. " 2>&1")) end
    local counts = {}
    for i, pipe in ipairs(workers) do
      local out = pipe:read("*a")
      pipe:close()
      counts[i] = assert(tonumber(out), out)
    end
    os.remove(script)
    assert.are.equal(0, job:count("status = 'pending'"))
    assert.are.equal(6, job:count("status = 'failed'"))
    assert.are.equal(54, job:count("status = 'completed'"))
    -- what failed was undone; multiples of 7 were done twice, by retry
    assert.are.equal(54 + 8, db:item("select count(*) from log"))
    assert.are.equal(54, db:item("select count(distinct id) from log"))
    assert.are.equal(60 + 8, counts[1] + counts[2])
    assert.is_true(counts[1] > 0 and counts[2] > 0, counts[1] .. " and " .. counts[2])
  end)
end)
