-- SPDX-License-Identifier: MIT
--
-- fastpg.migrate: directories of migrations, on a server, by one process and by several.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

local lua = os.getenv "FPG_TEST_LUA"

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return tostring(err), err
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q in %q"):format(part, text))
end

describe("migrate", function()
  local db, dir, name
  before_each(function()
    name = pg.database()
    db = pg.db()
    db:execute "set client_min_messages = error; drop schema if exists public, one, two cascade; create schema public; reset client_min_messages"
    dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
  end)
  after_each(function()
    db:close()
    os.execute("rm -r " .. dir)
  end)

  -- Writes files: name, text, name, text, …
  local function files(...)
    for i = 1, select("#", ...), 2 do
      local path, text = dir .. "/" .. select(i, ...), select(i + 1, ...)
      if text then
        local file = assert(io.open(path, "wb"))
        file:write(text)
        file:close()
      else
        os.remove(path)
      end
    end
  end

  -- "1 up 0001_a.sql" for each step.
  local function steps(list)
    local lines = {}
    for i, step in ipairs(list) do
      lines[i] = ("%d %s %s"):format(step.number, step.direction, (step.file:gsub("^.*/", "")))
    end
    return table.concat(lines, ", ")
  end

  local function run(opts) return steps(fastpg.migrate(db, dir, opts)) end
  local function records() return db:fetchval "select string_agg(number || ' ' || file || ' ' || state, ', ' order by number) from fastpg_migrations" end
  local function locks() return db:item "select count(*)::int from pg_locks where locktype = 'advisory'" end

  -- What fails, and that it left nothing held and nothing open.
  local function refused(part, opts)
    local text, err = fails(fastpg.migrate, db, dir, opts)
    has(text, part)
    assert.equal(0, locks())
    return err, text
  end

  local function three()
    files("0001_people.sql", "create table person (id int primary key, name text);\ninsert into person values (1, 'it''s; one'); -- ; no more",
      "0001_people.down.sql", "drop table person",
      "0002_fill.lua", [[return {
        up = function(tx) tx.t.person:insert{ id = 2, name = "two" } end,
        down = function(tx) tx.t.person:delete(2) end }]],
      "0003_index.sql", "-- fastpg: no transaction\ncreate index concurrently person_name on person (name);\n",
      "0003_index.down.sql", "-- fastpg: no transaction\ndrop index concurrently person_name",
      "README.md", "no migration", ".hidden.sql", "nor this", "0001_people.sql~", "nor this")
  end

  describe("runs", function()
    it("what has not run yet, in order, once", function()
      three()
      assert.equal("1 up 0001_people.sql, 2 up 0002_fill.lua, 3 up 0003_index.sql", run())
      assert.equal(2, db.t.person:count())
      assert.equal(1, db:item "select count(*)::int from pg_indexes where indexname = 'person_name'")
      assert.equal("1 0001_people.sql done, 2 0002_fill.lua done, 3 0003_index.sql done", records())
      assert.equal("", run())
      files("0004_more.sql", "alter table person add n int")
      assert.equal("4 up 0004_more.sql", run())
      assert.equal("id, name, n", table.concat(db.t.person.cols, ", "))
      assert.equal(0, locks())
    end)

    it("up and down to a number", function()
      three()
      assert.equal("1 up 0001_people.sql", run{ to = 1 })
      assert.equal("2 up 0002_fill.lua", run{ to = 2 })
      assert.equal("", run{ to = 2 })
      assert.equal("3 up 0003_index.sql", run{ to = 3 })
      assert.equal("3 down 0003_index.down.sql, 2 down 0002_fill.lua", run{ to = 1 })
      assert.equal(1, db.t.person:count())
      assert.equal("1 0001_people.sql done", records())
      assert.equal("1 down 0001_people.down.sql", run{ to = 0 })
      assert.is_false(db:has "person")
      assert.is_nil(records())
      assert.equal("1 up 0001_people.sql, 2 up 0002_fill.lua, 3 up 0003_index.sql", run())
      refused("to is 4, and the last number is 3", { to = 4 })
    end)

    it("nothing where it is dry, and tells what would run", function()
      three()
      local list = fastpg.migrate(db, dir, { dry_run = true })
      assert.equal("1 up 0001_people.sql, 2 up 0002_fill.lua, 3 up 0003_index.sql", steps(list))
      assert.same({ "create table person (id int primary key, name text)", "insert into person values (1, 'it''s; one')" }, list[1].statements)
      assert.is_nil(list[2].statements)
      assert.same({ number = 3, name = "index", direction = "up", file = dir .. "/0003_index.sql",
        statements = { "create index concurrently person_name on person (name)" } }, list[3])
      assert.same({}, db:table_names())
      run()
      assert.equal("3 down 0003_index.down.sql", run{ to = 2, dry_run = true })
      assert.equal("", run{ dry_run = true })
      assert.equal(1, db:item "select count(*)::int from pg_indexes where indexname = 'person_name'")
    end)

    it("an empty directory, and one that ends in a slash", function()
      assert.same({}, fastpg.migrate(db, dir))
      files("1_a.sql", "\239\187\191create table a ();\r\n-- the end\r\n")
      assert.equal("1 up 1_a.sql", steps(fastpg.migrate(db, dir .. "//")))
      files("2.sql", "", "3-b.lua", "return function(tx) return tx:item 'select 1' end")
      assert.equal("2 up 2.sql, 3 up 3-b.lua", run())
    end)

    it("in the schema of the connection, each for itself", function()
      files("1_a.sql", "create table a (id int)")
      db:execute "create schema one; create schema two"
      for _, schema in ipairs{ "one", "two" } do
        local other = pg.db{ database = name, schema = schema, init = function(c) c:execute("set search_path = " .. schema) end }
        assert.equal("1 up 1_a.sql", steps(fastpg.migrate(other, dir)))
        assert.equal("1", other:item("select count(*)::text from " .. schema .. ".fastpg_migrations"))
        other:close()
      end
      assert.same({ "a", "fastpg_migrations" }, db:table_names "one")
      assert.same({}, db:table_names())
    end)

    it("on a pool", function()
      three()
      local pool = pg.pool({ database = name }, { max_size = 3 })
      assert.equal(3, #fastpg.migrate(pool, dir))
      assert.equal(0, pool:stats().in_use)
      pool:acquire(function(bound) assert.same({}, fastpg.migrate(bound, dir)) end)
      pool:close()
    end)

    it("each Lua file in its transaction, which is ambient there", function()
      files("1_a.lua", [[return function(tx)
        tx:execute "create table a (id int)"
        _G.migrate_spec_db:execute "insert into a values (1)"
        tx:transaction(function() tx:execute "insert into a values (2)" end)
      end]], "2_b.lua", "-- fastpg: no transaction\nreturn function(db) db:execute 'create index concurrently on a (id)' end")
      _G.migrate_spec_db = db
      assert.equal(2, #fastpg.migrate(db, dir))
      _G.migrate_spec_db = nil
      assert.equal(2, db.t.a:count())
    end)
  end)

  describe("refuses", function()
    it("files that are no migrations, gaps and doubles", function()
      for _, case in ipairs{
        { "0001_a.SQL", "no name of a migration" }, { "0001_a.txt", "no name of a migration" }, { "a.sql", "no name of a migration" },
        { "a.lua", "no name of a migration" }, { "99999999999_a.sql", "no name of a migration" },
        { "0000_a.sql", "numbers begin at 1" }, { "2_a.sql", "2_a.sql: number 1 is missing before it" },
        { "20240101120000_a.sql", "no name of a migration" }, { "20240101_a.sql", "number 1 is missing" },
        { "1_a.down.sql", "leads down from a migration that is not there" }, { "1_a.down.lua", "has its way down in itself" },
      } do
        files(case[1], "")
        refused(case[2])
        files(case[1], nil)
      end
      files("1_a.sql", "", "3_c.sql", "")
      refused "3_c.sql: number 2 is missing before it"
      files("2_b.sql", "", "02_c.sql", "")
      refused "have the same number"
      files("02_c.sql", nil, "2_c.lua", "")
      refused "have the same number"
      files("2_c.lua", nil, "2_c.down.sql", "")
      refused "2_b.sql and 2_c.down.sql have the same number and different names"
      files("2_c.down.sql", nil, "2_b.sql", nil, "2_b.lua", "return print", "2_b.down.sql", "")
      refused "has its way down in itself"
      assert.same({}, db:table_names())
      refused("must be a whole number", { to = -1 })
      has(fails(fastpg.migrate, db, dir .. "/nowhere"), "can't be read: No such file or directory")
      has(fails(fastpg.migrate, db, dir .. "/1_a.sql"), "can't be read: Not a directory")
      has(fails(fastpg.migrate, db), "the path of a directory expected, got nil")
      has(fails(fastpg.migrate, {}, dir), "a database expected, got table")
      has(fails(fastpg.migrate, fastpg.database(), dir), "not connected")
    end)

    it("texts that can't run, before anything runs", function()
      files("1_a.sql", "create table a (id int)")
      for _, case in ipairs{
        { "select 1;\n\n  begin;", "2_b.sql:3: BEGIN: the file runs in a transaction of fastpg's" },
        { "select 1; commit", "2_b.sql:1: COMMIT" }, { "rollback work", "ROLLBACK" }, { "prepare transaction 'x'", "PREPARE" },
        { "-- fastpg: no transaction\nbegin", "2_b.sql:2: BEGIN: each statement of this file is a transaction by itself" },
        { "\n\\set x 1\n", "2_b.sql:2: a backslash" }, { "select 1 \\gset\n", "2_b.sql:1: a backslash" },
        { "copy a from stdin;\n1\n\\.\n", "2_b.sql:1: COPY FROM STDIN: its rows can't stand in a file of SQL" },
        { "copy a to stdout", "COPY TO STDOUT" },
        { "-- fastpg: notransaction\nselect 1", "2_b.sql:1: -- fastpg: notransaction says nothing here" },
        { "select 1;\n-- fastpg: no transaction\n", "2_b.sql:2: -- fastpg: no transaction says nothing here" },
        { "select '\0'", "has a NUL byte" },
      } do
        files("2_b.sql", case[1])
        local err = refused(case[2])
        assert.equal("migration", err.name)
        assert.equal(dir .. "/2_b.sql", err.file)
      end
      files("2_b.sql", nil)
      for _, case in ipairs{
        { "return 5", "2_b.lua returns a number: it has to return a function(db)" }, { "x = = 1", "2_b.lua:1:" }, { "", "returns a nil" },
        { "return { down = print }", "returns a table" }, { "return { up = print, dwon = print }", "returns a table with dwon" },
        { "error 'no'", "2_b.lua:1: no" }, { "\27Lua", "compiled chunk" },
      } do
        files("2_b.lua", case[1])
        refused(case[2])
      end
      assert.same({ "fastpg_migrations" }, (function()
        files("2_b.lua", nil)
        files("1_a.sql", "select 1")
        run()
        return db:table_names()
      end)())
    end)

    it("takes savepoints, functions and strings as they are", function()
      files("1_a.sql", [[
        create table a (x text); savepoint s; insert into a values ('x'); rollback to savepoint s; release s;
        create function f() returns void language plpgsql as $x$ begin insert into a values ('; commit'); end; $x$;
        create function g() returns text language sql begin atomic; select 1; select case when true then 'a' end; end;
        create rule r as on delete to a do also (select 1; select 2);
        set standard_conforming_strings = off; insert into a values ('it\'s; here');
        select f(), g()]])
      run()
      assert.equal("it's; here|; commit", db:item "select string_agg(x, '|' order by x desc) from a")
      assert.equal("on", db:item "show standard_conforming_strings")
    end)

    it("a history that is another one", function()
      three()
      run()
      files("0001_people.sql", "create table person (id int primary key)")
      local err = refused "0001_people.sql was changed after it ran (as 0001_people.sql)"
      assert.equal(dir .. "/0001_people.sql", err.file)
      refused("0001_people.sql was changed", { dry_run = true })
      three()
      files("0001_people.down.sql", "drop table person cascade")
      assert.equal("", run())
      files("0003_index.sql", nil, "0003_index.down.sql", nil)
      refused "0003_index.sql ran on this database, and is not in the directory"
      three()
      db:execute "delete from fastpg_migrations where number = 2"
      refused "0002_fill.lua did not run, and number 3 did"
    end)

    it("ways down that are not there, before anything runs", function()
      files("1_a.sql", "create table a (id int)", "2_b.lua", "return function() end", "3_c.sql", "", "3_c.down.sql", "create table gone_down ()")
      run()
      refused("2_b.lua has no way down: it returns no down", { to = 1 })
      files("2_b.lua", "return function() end")
      db:execute "update fastpg_migrations set checksum = 'x' where number = 2"
      refused("2_b.lua was changed", { to = 2 })
      assert.is_false(db:has "gone_down")
      assert.equal("3 down 3_c.down.sql", (function()
        db:execute "delete from fastpg_migrations where number = 2; update fastpg_migrations set number = 2 where number = 3"
        files("2_b.lua", nil, "3_c.sql", nil, "3_c.down.sql", nil, "2_c.sql", "", "2_c.down.sql", "")
        return (run{ to = 1 }:gsub("2", "3"))
      end)())
      refused("1_a.sql has no way down: there is no file 1_a.down.sql", { to = 0 })
    end)

    it("to run inside a transaction", function()
      files("1_a.sql", "create table a (id int)")
      db:transaction(function(tx)
        for _, inner in ipairs{ db, tx } do has(fails(fastpg.migrate, inner, dir), "a transaction is open here") end
      end)
      db:acquire(function(bound)
        bound:execute "begin"
        has(fails(fastpg.migrate, bound, dir), "a transaction is open here")
        bound:execute "rollback"
      end)
      assert.same({}, db:table_names())
    end)
  end)

  describe("says what failed", function()
    it("file, line and statement, and leaves what ran before", function()
      files("1_a.sql", "create table a (id int)", "2_b.sql", "insert into a values (1);\n\n-- ü\n/* x */ select 'ü',\n  'ö' as x,\n  nothing from a;\nselect 2")
      local err, text = refused "undefined_column"
      assert.equal(dir .. "/2_b.sql", err.file)
      assert.equal(6, err.line)
      assert.equal("select 'ü',\n  'ö' as x,\n  nothing from a", err.query)
      assert.equal("42703", err.sqlstate)
      has(text, dir .. "/2_b.sql:6: column \"nothing\" does not exist, in the statement: select 'ü', 'ö' as x, nothing from a")
      assert.equal("1 1_a.sql done", records())
      assert.equal(0, db.t.a:count())
      files("2_b.sql", "insert into a values (1);\n\n insert into a select " .. ("1 as é, "):rep(40) .. " 1/0")
      err, text = refused "2_b.sql:3: "
      assert.equal(3, err.line)
      has(text, "…")
      files("2_b.sql", "insert into a values (1)")
      assert.equal("2 up 2_b.sql", run())
    end)

    it("what can't run in a transaction, and the way out", function()
      files("1_a.sql", "create table a (id int);\ncreate index concurrently on a (id)")
      refused("1_a.sql:2: CREATE INDEX CONCURRENTLY cannot run inside a transaction block, in the statement: create index concurrently on a (id); "
        .. "a file whose first line is -- fastpg: no transaction runs without one")
    end)

    it("at the end of the transaction, too", function()
      files("1_a.sql", "create table a (id int primary key, b int references a deferrable initially deferred);\ninsert into a values (1, 2)")
      local err = refused "1_a.sql: insert or update on table \"a\" violates foreign key"
      assert.equal("foreign_key_violation", err.name)
      assert.is_false(db:has "a")
    end)

    it("of Lua", function()
      files("1_a.lua", "return function(tx)\n  tx:execute 'create table a (id int)'\n  error('no luck')\nend")
      local err, text = refused "1_a.lua:3: no luck"
      assert.equal("migration", err.name)
      assert.equal(dir .. "/1_a.lua", err.file)
      assert.is_nil(text:find(dir .. ".*" .. dir .. ".*" .. dir))
      files("1_a.lua", "return function(tx)\n  tx:execute 'select nothing'\nend")
      err, text = refused "undefined_column"
      assert.equal(dir .. "/1_a.lua", err.file)
      has(text, "1_a.lua:2: undefined_column: ")
      files("1_a.lua", "return function(tx) error{ 5 } end")
      err = refused "1_a.lua"
      assert.same({ 5 }, err.cause)
      files("1_a.lua", "return function(tx) tx:commit() end")
      refused "commits at the end of its function"
      assert.same({ "fastpg_migrations" }, db:table_names())
    end)

    it("without a transaction, half-way", function()
      files("1_a.sql", "create table a (id int)", "2_b.sql",
        "-- fastpg: no transaction\ninsert into a values (1);\ninsert into a values (2);\ninsert into a values (1/0);\ninsert into a values (4)",
        "2_b.down.sql", "-- fastpg: no transaction\ndelete from a where id = 1; select 1/0")
      local err = refused "2_b.sql:4: division by zero"
      assert.equal(4, err.line)
      assert.equal(2, db.t.a:count())
      assert.equal("1 1_a.sql done, 2 2_b.sql up", records())
      local _, text = refused "2_b.sql, which runs without a transaction, stopped half-way: 2 of its statements are known to have run"
      refused("stopped half-way", { dry_run = true })
      refused("stopped half-way", { to = 0 })
      -- both ways out are what the message says
      local over, again = text:match "finish it by hand and run `(.-)`, or undo it by hand and run `(.-)`"
      db:execute(again)
      db:execute "delete from a"
      files("2_b.sql", "-- fastpg: no transaction\ninsert into a values (1);\ninsert into a values (2);\nselect 1/0")
      refused "2_b.sql:4: division by zero"
      db:execute(over)
      assert.equal("", run())
      -- and down
      refused("2_b.down.sql:2: division by zero", { to = 1 })
      assert.equal("1 1_a.sql done, 2 2_b.sql down", records())
      _, text = refused "stopped half-way down: 1 of its statements"
      over, again = text:match "finish it by hand and run `(.-)`, or undo it by hand and run `(.-)`"
      db:execute(again)
      files("2_b.down.sql", "delete from a where id = 2")
      assert.equal("2 down 2_b.down.sql", run{ to = 1 })
      assert.equal(0, db.t.a:count())
      assert.truthy(over:find "^delete")
    end)
  end)

  it("what a file sets for the session ends with it", function()
    db:execute("create role migrate_role; grant create, usage on schema public to migrate_role")
    db:execute "set work_mem = '5MB'"
    local before = db:q "select name, setting from pg_settings where source = 'session' order by 1"
    files("1_dump.sql", [[
        SET statement_timeout = 0; SET lock_timeout = '0'; SET client_min_messages = warning; SET work_mem = '9MB';
        set timezone = 'Asia/Tokyo';
        SELECT pg_catalog.set_config('search_path', '', false);
        create table public.a (id int); SET default_table_access_method = heap]],
      "2_role.sql", "set role migrate_role; create table b (id int)",
      "3_here.sql", "insert into a values (1); create table c (id int)",
      "4_half.sql", "-- fastpg: no transaction\nset search_path = pg_catalog; select 1/0")
    refused "4_half.sql:2: division by zero"
    assert.equal(tostring(before), tostring(db:q "select name, setting from pg_settings where source = 'session' order by 1"))
    assert.equal(db:item "select session_user", db:item "select current_user")
    assert.equal("migrate_role", db:item "select tableowner from pg_tables where tablename = 'b'")
    assert.not_equal("migrate_role", db:item "select tableowner from pg_tables where tablename = 'c'")
    assert.equal("1", tostring(db.t.a:count()))
    db:execute "drop table b; revoke all on schema public from migrate_role; drop role migrate_role"
  end)

  -- ---- several at once ------------------------------------------------------------------------

  local KEY = 'fastpg.migrate "public".fastpg_migrations'

  it("waits for its turn, and time limits hold", function()
    files("1_a.sql", "create table a (id int)")
    local other = pg.db{ database = name }
    other:advisory_lock(KEY, function()
      local text, err = fails(db.timeout, db, 0.2, function() return fastpg.migrate(db, dir) end)
      has(text, "time")
      assert.equal("timeout", err.name)
      assert.equal("1 up 1_a.sql", run{ dry_run = true })
    end)
    assert.equal("1 up 1_a.sql", run())
    other:close()
  end)

  if yields then
    it("waiting lets others run, and ends when it is canceled", function()
      files("1_a.sql", "create table a (id int)")
      local pool, events = pg.pool({ database = name }, { max_size = 4 }), {}
      fastpg.run(function()
        local waiter, held
        pool:advisory_lock(KEY, function()
          waiter = fastpg.spawn(function()
            events[#events + 1] = "waits"
            fastpg.migrate(pool, dir)
            events[#events + 1] = "ran"
          end)
          held = fastpg.spawn(function() fastpg.migrate(pool, dir) end)
          for i = 1, 3 do
            fastpg.sleep(0.05)
            events[#events + 1] = "tick " .. i
          end
          held:cancel()
        end)
        waiter:wait()
        assert.is_false((pcall(held.wait, held)))
      end)
      assert.equal("waits, tick 1, tick 2, tick 3, ran", table.concat(events, ", "))
      assert.equal("1 1_a.sql done", records())
      assert.equal(0, locks())
      pool:close()
    end)
  end

  -- A process that migrates: a pipe of what it prints, its first line its pid.
  local function process(code)
    local c, script = pg.conninfo(), os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write('local fastpg = require "fastpg"\nlocal db = fastpg.connect()\n'
      .. (code or ('print(pcall(function() return #fastpg.migrate(db, "%s") end))'):format(dir)))
    file:close()
    return io.popen(("echo $$; PGHOST='%s' PGPORT=%d PGUSER='%s' PGDATABASE='%s' exec timeout 60 %s %s 2>&1"):format(c.host, c.port,
      c.user, name, lua, script)), script
  end

  it("two processes run each file once", function()
    files("1_a.sql", "create table a (id int, at timestamptz default clock_timestamp()); select pg_sleep(0.2)",
      "2_b.sql", "insert into a values (2)", "3_c.sql", "-- fastpg: no transaction\ncreate index concurrently on a (id);\ninsert into a values (3)",
      "4_d.lua", "return function(tx) tx:execute 'insert into a values (4)' end")
    local pipes, scripts, counts = {}, {}, {}
    for i = 1, 3 do pipes[i], scripts[i] = process() end
    for i = 1, 3 do
      local out = pipes[i]:read "*a"
      pipes[i]:close()
      os.remove(scripts[i])
      counts[i] = out:match "\ntrue\t(%d+)\n" or out
    end
    table.sort(counts)
    assert.same({ "0", "0", "4" }, counts)
    assert.equal("2,3,4", db:item "select string_agg(id::text, ',' order by id) from a")
    assert.equal(4, db:item "select count(*)::int from fastpg_migrations where state = 'done'")
  end)

  -- Kills a process that migrates as soon as the condition holds.
  local function kill_when(condition)
    local pipe, script = process()
    local pid = pipe:read "*l"
    local limit = os.time() + 60
    while not db:item(condition) do assert(os.time() < limit, condition) end
    os.execute(("kill -9 $(ps -o pid= --ppid %s) %s"):format(pid, pid))
    pipe:close()
    os.remove(script)
  end

  local FOREVER = "for i = 1, 1e6 do db:execute 'select pg_sleep(0.02)' end"

  it("a process that is killed leaves no lock, and nothing of its transaction", function()
    files("1_a.sql", "create table a (id int)",
      "2_b.lua", "return function(db) db:execute 'insert into a values (1); create table b ()'\n" .. FOREVER .. " end")
    kill_when "select exists (select from pg_stat_activity where query like '%pg_sleep(0.02)%' and pid <> pg_backend_pid())"
    files("2_b.lua", "return function(db) db:execute 'insert into a values (2)' end")
    assert.equal("2 up 2_b.lua", run())
    assert.equal(2, db:item "select sum(id)::int from a")
    assert.is_false(db:has "b")
  end)

  it("one that is killed without a transaction is known to be half-way", function()
    files("1_a.sql", "create table a (id int)",
      "2_b.lua", "-- fastpg: no transaction\nreturn function(db) db:execute 'insert into a values (1)'\n" .. FOREVER .. " end")
    kill_when "select exists (select from pg_stat_activity where query like '%pg_sleep(0.02)%' and pid <> pg_backend_pid())"
    refused "2_b.lua, which runs without a transaction, stopped half-way"
    assert.equal(1, db.t.a:count())
  end)

  it("a lost connection is an error, and the file runs again", function()
    files("1_a.sql", "create table a (id int); select pg_terminate_backend(pg_backend_pid())")
    local _, err = fails(fastpg.migrate, db, dir)
    assert.is_true(fastpg.is(err, "connection"), tostring(err))
    files("1_a.sql", "create table a (id int)")
    assert.equal("1 up 1_a.sql", run())
  end)
end)
