-- SPDX-License-Identifier: MIT
--
-- poolers: behind PgBouncer in transaction mode each transaction may run on another connection of the server.  By default
-- settings that may be an error, which says what to do; it is never another statement's answer.

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
