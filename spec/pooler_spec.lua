-- SPDX-License-Identifier: MIT
--
-- poolers: behind PgBouncer in transaction mode each transaction may run on another connection of the server.  By default
-- settings that may be an error, which says what to do; it is never another statement's answer.  With pooler = "transaction"
-- all is right, and what needs a session is an error, or goes the direct way.

local fastpg = require "fastpg"
local child = require "spec.support.child"
local pg = require "spec.support.pg"
local Pooler = require "spec.support.pooler"

local here = Pooler.available() and describe or pending

here("behind a pooler in transaction mode", function()
  local pooler
  local admin = pg.db()
  setup(function()
    admin:execute "create table kept (id int primary key, body text); insert into kept select i, 'row ' || i from generate_series(1, 100) i"
    pooler = Pooler.start(pg.conninfo(), { pool_mode = "transaction", default_pool_size = 3 })
  end)
  teardown(function() pooler:close() end)

  -- What statement number n of a task asks, and what it must give.
  local function ask(db, task, n)
    local kind, value = n % 6, task * 100000 + n
    if kind == 0 then return db:item("select " .. value), value end
    if kind == 1 then return db:item(("select $1::int + %d"):format(task), n), n + task end
    if kind == 2 then return db:item("select body from kept where id = $1", n % 100 + 1), "row " .. n % 100 + 1 end
    if kind == 3 then return db:item(("select '%d of %d'::text as t%d"):format(n % 24, task, n % 24)), ("%d of %d"):format(n % 24, task) end
    if kind == 4 then return db:execute("delete from kept where id = $1", -n), "DELETE 0" end
    return db:transaction(function(tx)
      local got = tx:item("select $1::text || ' in transaction'", value)
      if tx:item "select 7" ~= 7 then error "wrong" end
      return got
    end), value .. " in transaction"
  end

  -- Six tasks, each on a connection of its own: how many answers were right, and the errors.
  local function six_tasks(options)
    local right, errors = 0, {}
    local function one_task(task)
      local db = fastpg.connect(pooler:conninfo(options))
      for n = 1, 60 do
        local ok, got, wanted = pcall(ask, db, task, n)
        if not ok then
          errors[#errors + 1] = got
        elseif got == wanted then
          right = right + 1
        else
          error(("task %d, statement %d: %s for %s"):format(task, n, tostring(got), tostring(wanted)))
        end
      end
      db:close()
    end
    fastpg.run(function()
      local tasks = {}
      for task = 1, 6 do tasks[task] = fastpg.spawn(function() one_task(task) end) end
      for _, task in ipairs(tasks) do task:wait() end
    end)
    assert.equal("<Record count=100 sum=5050>", tostring(admin:first "select count(*), sum(id) from kept"))
    return right, errors
  end

  it("an answer is never another statement's, by default settings", function()
    local right, errors = six_tasks{ loop = "step" }
    assert.equal(360, right + #errors)
    assert.is_true(right > 150, right .. " answers of 360")
    for _, err in ipairs(errors) do
      assert.equal("table", type(err), tostring(err))
      assert.truthy(err.sqlstate == "26000" or err.sqlstate == "42P05" or err.sqlstate == "25P02", tostring(err))
      if err.sqlstate ~= "25P02" then
        assert.truthy(err.hint and err.hint:find("statement_cache_size = 0", 1, true), tostring(err.hint))
        assert.truthy(err.hint:find "pooler")
      end
    end
  end)

  it("all is right with statement_cache_size = 0", function()
    local right, errors = six_tasks{ loop = "step", statement_cache_size = 0 }
    assert.is_nil(errors[1], tostring(errors[1]))
    assert.equal(360, right)
  end)

  it("statements of each kind are right with statement_cache_size = 0", function()
    local db = fastpg.connect(pooler:conninfo{ statement_cache_size = 0 })
    local other = fastpg.connect(pooler:conninfo{ statement_cache_size = 0 })
    for i = 1, 5 do
      other:transaction(function(tx) -- takes a server's connection away meanwhile
        assert.equal(i, tx:item("select $1::int", i))
        assert.same({ i, "x", n = 2 }, db:pipeline(function(p)
          p:item("select $1::int", i)
          p:item "select 'x'"
        end))
        assert.equal(2, db:executemany("insert into kept values ($1, 'new')", { { 1000 + i }, { 2000 + i } }))
        local n = 0
        for row in db:each "select generate_series(1, 500) as i" do n = n + row.i end
        assert.equal(125250, n)
        assert.equal(1, db:copy_from("copy kept from stdin", 3000 + i .. "\tx\n"))
        assert.equal("DELETE 3", db:execute "delete from kept where id >= 1000")
        assert.equal("row 5", db.t.kept[5].body)
        db:prepare "select 1"
        assert.equal(i, tx:item("select $1::int", i))
      end)
    end
    db:close()
    other:close()
  end)
end)

-- Each is an error before it is sent, outside of a transaction and, but where `inside`, in one.
local NEEDS_SESSION = {
  { "set work_mem = '1MB'" }, { "reset work_mem" }, { "discard all" }, { "set role postgres" }, { "listen c" }, { "unlisten *" },
  { "prepare mine as select 1" }, { "execute mine" }, { "deallocate all" },
  { "create temp table mine (a int)" }, { "create local temporary table mine as select 1" }, { "create temp view mine as select 1" },
  { "create table pg_temp.mine (a int)" }, { "select 1 as a into temp mine" }, { "create temporary sequence mine" },
  { "declare c cursor with hold for select 1" }, { "select pg_advisory_lock(1)" },
  { "select pg_catalog.pg_try_advisory_lock_shared(1)" }, { 'select "pg_advisory_unlock"(1)' }, { "select pg_advisory_unlock_all()" },
  { "do $$ begin perform pg_advisory_lock(1); end $$" }, { "select set_config('a.b', 'c', false)" },
  { "select lastval()", inside = true }, { "select currval('s')", inside = true }, { "load 'plpgsql'" },
}

-- And these are not.
local NEEDS_NONE = {
  "set local work_mem = '1MB'", "set transaction isolation level serializable", "set constraints all deferred",
  "create temp table passing (a int) on commit drop", "declare c cursor without hold for select 1", "declare c cursor for select 1",
  "select pg_advisory_xact_lock(1)", "select 'pg_advisory_lock(1)'", "select 1 /* pg_advisory_lock(1) */",
  "select set_config('a.b', 'c', true)", "create table temp (a int)", "drop table temp", "select 1 as listen",
  "select nextval('seq_of_pooler'), lastval()",
}

here("pooler = \"transaction\"", function()
  local pooler
  local admin = pg.db()
  local function connect(options)
    options = options or {}
    options.pooler = "transaction"
    return fastpg.connect(pooler:conninfo(options))
  end
  local function direct() return { direct = pg.conninfo() } end
  setup(function()
    admin:execute "create table counted (n int); insert into counted values (0); create sequence seq_of_pooler; create type mood as enum ('ok')"
    pooler = Pooler.start(pg.conninfo(), { pool_mode = "transaction", default_pool_size = 4 })
  end)
  teardown(function() pooler:close() end)

  it("needs no session for statements of every kind, while others take the servers away", function()
    local db, other = connect(), connect()
    assert.equal(0, db:stats().statements)
    for i = 1, 3 do
      other:transaction(function()
        assert.equal(i, db:item("select $1::int", i))
        assert.equal("ok", db:item "select 'ok'::mood")
        assert.same({ i, "x", n = 2 }, db:pipeline(function(p)
          p:item("select $1::int", i)
          p:item "select 'x'"
        end))
        local by_name = db:prepare "select $1::int + 1"
        assert.equal(i + 1, by_name:item(i))
        assert.equal(i + 2, by_name:item(i + 1))
        local n = 0
        for row in db:each "select generate_series(1, 500) as i" do n = n + row.i end
        assert.equal(125250, n)
        assert.equal("7MB", db:transaction({ settings = { work_mem = "7MB" } }, function(tx) return tx:item "show work_mem" end))
        assert.equal(0, db:item "select count(*) from pg_prepared_statements")
      end)
    end
    assert.equal(0, db:stats().statements)
    db:close()
    other:close()
  end)

  it("sets nothing when it connects", function()
    local db = connect()
    -- (these are PgBouncer's)
    local settings = db:first [[select string_agg(name, ' ') as names from pg_settings
      where source = 'session' and name not in ('client_encoding', 'application_name')]]
    assert.is_nil(settings.names)
    db:close()
  end)

  it("refuses what needs a session, before it is sent", function()
    local db = connect(direct())
    for _, case in ipairs(NEEDS_SESSION) do
      local sql = case[1]
      for name, run in pairs{
        execute = function() return db:execute(sql) end, q = function() return db:q(sql) end,
        several = not case.inside and function() return db:execute("select 1; " .. sql) end or nil,
        results = not case.inside and function() return db:results("select 1; " .. sql) end or nil,
        batch = function() return db:pipeline(function(p) p:q(sql) end) end,
        each = function() db:each(sql, function() return false end) end,
        transaction = not case.inside and function() return db:transaction(function(tx) return tx:execute(sql) end) end or nil,
      } do
        local ok, err = pcall(run)
        assert.is_false(ok, sql .. " by " .. name)
        assert.equal("feature_not_supported", err.name, sql .. " by " .. name .. ": " .. tostring(err))
        assert.truthy(err.message:find('pooler = "transaction"', 1, true), err.message)
      end
    end
    local held = admin:item "select count(*) from pg_locks where locktype = 'advisory'"
    assert.equal(0, held)
    db:close()
  end)

  it("lets through what does not", function()
    local db = connect()
    for _, sql in ipairs(NEEDS_NONE) do
      db:transaction(function(tx) tx:execute(sql) end)
    end
    db:close()
  end)

  it("acquire, locks and listening go the direct way", function()
    local db = connect(direct())
    local got
    db:listen("c", function(n) got = n.payload end)
    db:notify("c", "heard")
    db:poll(5)
    assert.equal("heard", got)
    assert.equal("8MB", db:acquire(function(conn)
      conn:execute "set work_mem = '8MB'"
      assert.equal(conn.pid, db:item "select pg_backend_pid()")
      return db:item "show work_mem"
    end))
    assert.is_true(db:advisory_lock("one", function(conn)
      assert.equal(1, admin:item "select count(*) from pg_locks where locktype = 'advisory'")
      return conn:item "select true"
    end))
    assert.equal(0, admin:item "select count(*) from pg_locks where locktype = 'advisory'")
    assert.equal("UPDATE 1", db:acquire(function() return db:execute "update counted set n = n + 1" end))
    db:execute "alter table counted add column more int default 5" -- seen on both ways
    assert.equal("integer", db.t.counted.cols.more)
    db:acquire(function() assert.equal("integer", db.t.counted.cols.more) end)
    db:execute "alter table counted drop column more; update counted set n = 0"
    db:close()
  end)

  it("without a direct way they say so", function()
    local db = connect()
    for name, run in pairs{
      acquire = function() db:acquire(print) end, advisory_lock = function() db:advisory_lock("a", print) end,
      listen = function() db:listen("c", print) end, notifications = function() db:notifications("c", 1) end,
      migrate = function() fastpg.migrate(db, "examples/migrate") end,
    } do
      local ok, err = pcall(run)
      assert.is_false(ok, name)
      assert.truthy(tostring(err):find("direct = ", 1, true), tostring(err))
    end
    assert.equal("held", db:transaction(function(tx) return tx:advisory_lock("a", function() return "held" end) end))
    assert.equal(0, admin:item "select count(*) from pg_locks where locktype = 'advisory'")
    db:close()
  end)

  it("a lock has one holder, of many tasks", function()
    local options = direct()
    options.loop = "step"
    options.pooler = "transaction"
    local db = fastpg.create_pool(pooler:conninfo(options), { max_size = 4 })
    admin:execute "update counted set n = 0"
    local inside, most, done = 0, 0, 0
    fastpg.run(function()
      local tasks = {}
      for i = 1, 6 do
        tasks[i] = fastpg.spawn(function()
          for _ = 1, 5 do
            db:advisory_lock("many", function(conn)
              inside = inside + 1
              most = math.max(most, inside)
              local n = conn:item "select n from counted"
              fastpg.sleep(0)
              conn:execute("update counted set n = $1", n + 1)
              inside, done = inside - 1, done + 1
            end)
          end
        end)
      end
      for _, task in ipairs(tasks) do task:wait() end
    end)
    assert.equal(30, done)
    assert.equal(1, most)
    assert.equal(30, admin:item "select n from counted")
    db:close()
  end)

  it("cancels through the pooler, and hits nobody else", function()
    local db = fastpg.create_pool(pooler:conninfo{ pooler = "transaction", loop = "step" }, { max_size = 3 })
    fastpg.run(function()
      local other = fastpg.spawn(function() return db:item "select 'slept' from pg_sleep(0.5)" end)
      local ok, err = pcall(db.timeout, db, 0.1, function() return db:item "select pg_sleep(30)" end)
      assert.is_false(ok)
      assert.equal("timeout", err.name)
      assert.equal("slept", other:wait())
      assert.equal(1, db:item "select 1")
    end)
    db:close()
  end)

  it("forgets the statements of a cache that was asked for, and closes none", function()
    local db = connect{ statement_cache_size = 2 }
    local names = {}
    for i = 1, 6 do
      assert.equal(i, db:item("select " .. i))
      for _, row in ipairs(db:arrays "select name from pg_prepared_statements where not from_sql") do names[row[1]] = true end
    end
    local n = 0
    for _ in pairs(names) do n = n + 1 end
    assert.is_true(n >= 6, n .. " statements are there still") -- alone behind the pooler, it has the same server each time
    db:close()
  end)

  it("reads values that come as text, in batches, streams and alone", function()
    admin:execute "alter role current_user set extra_float_digits = 0"
    local db = connect()
    db:set_type_codec("mood", { decode = function(text) return "is " .. text end })
    for row in db:each "select 'ok'::mood as m, 0.1::float8 + 0.2 as f" do
      assert.equal("is ok", row.m)
      assert.equal(0.1 + 0.2, row.f)
    end
    assert.equal("is ok", db:item "select 'ok'::mood")
    admin:execute "alter role current_user reset extra_float_digits"
    db:close()
  end)

  it("takes options that fit", function()
    for text, options in pairs{
      ["direct goes with pooler"] = { direct = "host=x" },
      ["reset: behind a pooler"] = { pooler = "transaction", reset = "select 1" },
      ['"none", "session" or "transaction"'] = { pooler = "statement" },
      ["direct: init is the option of the whole database"] = { pooler = "transaction", direct = { init = print } },
    } do
      local ok, err = pcall(fastpg.create_pool, pooler:conninfo(), options)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
    local db = fastpg.create_pool(pooler:conninfo(), { pooler = "transaction", reset = true, max_size = 1 })
    assert.equal(1, db:item "select 1")
    assert.equal(2, db:item "select 2")
    db:close()
  end)

  it("is named by the errors of a connection that was not told so", function()
    local db = fastpg.connect(pooler:conninfo())
    for _, run in ipairs{
      function() db:listen("c", print) end, function() db:advisory_lock(1, print) end, function() db:acquire(print) end,
      function() db:execute "set work_mem = '1MB'" end, function() db:q "select pg_advisory_lock(1)" end, function() return db.pid end,
    } do
      local ok, err = pcall(run)
      assert.is_false(ok)
      assert.truthy(tostring(err):find('this looks like a transaction pooler: connect with pooler = "transaction"', 1, true), tostring(err))
    end
    assert.equal(0, admin:item "select count(*) from pg_locks where locktype = 'advisory'")
    db:close()
    local plain = pg.db()
    assert.equal(plain.pid, plain:item "select pg_backend_pid()")
    plain:close()
  end)

  it("a pooler in session mode gives everything", function()
    local sessions = Pooler.start(pg.conninfo(), { pool_mode = "session" })
    local db = fastpg.connect(sessions:conninfo{ pooler = "session" })
    local got
    db:listen("c", function(n) got = n.payload end)
    db:notify("c", "heard")
    if not got then db:poll(5) end
    assert.equal("heard", got)
    db:execute "set work_mem = '6MB'"
    assert.equal("6MB", db:item "show work_mem")
    assert.equal(db.pid, db:item "select pg_backend_pid()")
    assert.equal(1, db:advisory_lock("x", function() return 1 end))
    db:close()
    sessions:close()
  end)
end)

describe("the names of statements", function()
  local function names(db) return db:arrays "select name from pg_prepared_statements where not from_sql order by name" end

  it("are unlike any other connection's, and fit", function()
    local seen = {}
    for _ = 1, 20 do
      local db = pg.db()
      for i = 1, 3 do db:item("select " .. i) end
      for _, row in ipairs(names(db)) do
        assert.is_nil(seen[row[1]])
        assert.truthy(row[1]:find "^fastpg_%w+_%d+$" and #row[1] <= 31, row[1])
        seen[row[1]] = true
      end
      db:close()
    end
  end)

  it("are new after a fork", function()
    local c = pg.conninfo()
    local script = ([[
      local fastpg = require "fastpg"
      local ok, ffi = pcall(require, "ffi")
      local fork
      if ok then ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);" fork = ffi.C.fork end
      if not fork then print "no fork" return end
      local function one() local db = fastpg.connect{ host = %q, port = %d, user = %q, database = %q }
        db:item "select 7" local name = db:item "select name from pg_prepared_statements limit 1" db:close() return name end
      io.stdout:setvbuf "no"
      print(one())
      for _ = 1, 3 do
        local pid = fork()
        if pid == 0 then io.stdout:write(one(), "\n") ffi.C._exit(0) end
        ffi.C.waitpid(pid, nil, 0)
      end
      print(one())
    ]]):format(c.host, c.port, c.user, c.database)
    local out, seen, n = child({}, script), {}, 0
    if out == "no fork" then return end
    for name in out:gmatch "[^\n]+" do
      assert.truthy(name:find "^fastpg_", out)
      assert.is_nil(seen[name])
      seen[name], n = true, n + 1
    end
    assert.equal(5, n)
  end)

  it("that the server does not know are prepared once more, outside a transaction", function()
    local db = pg.db()
    assert.equal(3, db:item("select $1::int", 3))
    db:execute "deallocate all"
    assert.equal(4, db:item("select $1::int", 4))
    db:execute("do $$ begin execute 'deallocate all'; end $$")
    assert.equal(5, db:item("select $1::int", 5))
    local ok, err = pcall(db.transaction, db, function(tx)
      tx:execute("do $$ begin execute 'deallocate all'; end $$")
      return tx:item("select $1::int", 6)
    end)
    assert.is_false(ok)
    assert.equal("26000", err.sqlstate)
    assert.truthy(err.hint:find("statement_cache_size = 0", 1, true), err.hint)
    assert.equal(7, db:item("select $1::int", 7))
    local _, mine = pcall(db.execute, db, "deallocate of_the_users_own")
    assert.equal("26000", mine.sqlstate)
    assert.is_nil(mine.hint)
    db:close()
  end)
end)

here("a server that is lost behind a pooler", function()
  it("is a lost connection, and what was under way may be committed", function()
    local own = fastpg.cluster()
    local pooler = Pooler.start(own.conninfo, { pool_mode = "transaction" })
    local db = fastpg.connect(pooler:conninfo{ pooler = "transaction" })
    fastpg.run(
      function()
        local ok, err = pcall(db.execute, db, "select pg_sleep(30)")
        assert.is_false(ok)
        assert.equal("connection", err.name)
        assert.equal("FATAL", err.severity)
        assert.is_true(err.commit_unknown)
      end,
      function()
        local other = own:connect()
        repeat fastpg.sleep(0.02) until other:item "select exists (select from pg_stat_activity where query like '%pg_sleep(30)%' and pid <> pg_backend_pid())"
        own:crash()
      end)
    db:close()
    pooler:close()
    own:close()
  end)
end)
