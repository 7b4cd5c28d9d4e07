-- SPDX-License-Identifier: MIT
--
-- What a name means on a connection is known at any time: held against what the server says after long walks of SET,
-- RESET, transactions, savepoints and temporary tables; and what was built for one meaning never runs under another.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local trips = require "spec.support.round_trips"
local route_of = require("fastpg.pool.route").of

local SCHEMAS = { "public", "one", "two" }

local SETUP = [[drop table if exists public.artist; drop schema if exists one, two cascade; create schema one; create schema two;
  create table public.artist (id int primary key, tenant int, src text default 'public');
  create table one.artist (id int primary key, tenant int, src text default 'one', more int);
  create table two.artist (id int primary key, src text default 'two', tenant int);
  insert into public.artist select i, i % 2 from generate_series(1, 10) i;
  insert into one.artist select i, i % 2 from generate_series(1, 10) i;
  insert into two.artist (id, tenant) select i, i % 2 from generate_series(1, 10) i]]

local function setup_schemas()
  local db = pg.db()
  db:execute(SETUP)
  db:close()
end

local function random_of(seed)
  return function(n)
    seed = (seed * 16807) % 2147483647
    return seed % n + 1
  end
end

-- ---- walks ----------------------------------------------------------------------------------

-- What may be done; %s is a schema.  A step that fails is a step, too.
local STEPS = {
  "set search_path = %s", "set search_path to '%s', public", "SET SESSION search_path = \"%s\"", "set local search_path = %s",
  "set local search_path to %s, pg_temp", "set schema '%s'", "set local schema '%s'", "set U&\"search\\005fpath\" = %s",
  "set search_path to default", "reset search_path", "reset all", "discard all", "discard temp",
  "select set_config('search_path', '%s', true)", "select set_config('search_path', '%s', false)",
  "select set_config('app.tenant', '%s', true)", "select set_config('search' || '_path', '%s', true)",
  "do $$ begin perform set_config('search_path', '%s', true); end $$",
  "set search_path = %s; select 1/0", "set search_path = %s; set local search_path = two",
  "begin", "begin", "begin; set local search_path = %s", "commit", "commit", "rollback", "commit and chain", "rollback and chain",
  "savepoint s", "savepoint s", "rollback to s", "rollback to s", "release s", "select 1/0", "set local role none",
  "begin; set search_path = %s; commit", "begin; set search_path = %s; rollback",
  "create temp table artist as select 1 as id, 0 as tenant, 'temp'::text as src",
  "create temp table artist on commit drop as select 1 as id, 0 as tenant, 'temp'::text as src",
  "create temporary table if not exists artist (id int primary key, tenant int, src text default 'temp')",
  "select 1 as id, 0 as tenant, 'temp'::text as src into temp artist",
  "create temp view artist as select 1 as id, 0 as tenant, 'temp'::text as src",
  "drop table if exists pg_temp.artist", "create temp table other (a int); drop table other", "create sequence if not exists %s.counter",
  "alter table if exists pg_temp.artist rename to artist_2", "alter table if exists pg_temp.artist_2 rename to artist",
  "create or replace view %s.shown as select 1 as a",
  "set role walker", "set local role walker", "reset role", "select set_config('role', 'walker', true)",
  "prepare p as select set_config('search_path', '%s', false)", "execute p", "deallocate all",
}

local SHOW = "select coalesce((select case when nspname like 'pg_temp%' then 'temp' else nspname end from pg_class c"
  .. " join pg_namespace n on n.oid = relnamespace where c.oid = to_regclass($1)), 'none')"

-- Whether the transaction has failed, where nothing can be looked up.
local function is_failed(conn) return not pcall(conn.q, conn, "select 1") end

local function check(conn, done)
  local where = table.concat(done, " | ", math.max(1, #done - 25))
  local expected = conn:item(SHOW, "artist")
  local ok, schema = pcall(function() return conn.t.artist.schema end)
  if expected == "none" then
    return assert.is_false(ok, where)
  end
  if not ok then error(tostring(schema) .. "\n" .. where, 0) end
  assert.equal(expected, schema:find "^pg_temp" and "temp" or schema, where)
  ok, schema = pcall(function()
    local row = conn.t.artist:first()
    return row and row.src or expected
  end)
  if not ok and fastpg.is(schema, "insufficient_privilege") then return end -- the role's, of another's temporary table
  assert.equal(expected, ok and schema or tostring(schema), where)
end

local function walk(conn, seed, length, run)
  local random, done = random_of(seed), {}
  for _ = 1, length do
    local sql = STEPS[random(#STEPS)]:format(SCHEMAS[random(#SCHEMAS)])
    local ok, err = pcall(run, conn, sql)
    done[#done + 1] = sql .. (ok and "" or " -- " .. tostring(err):sub(1, 60))
    if is_failed(conn) then
      if random(3) == 1 then conn:execute "rollback" end
    elseif random(3) > 1 then
      check(conn, done)
    end
  end
  conn:execute "rollback"
  check(conn, done)
end

local function by_execute(conn, sql) conn:execute(sql) end
local function by_q(conn, sql)
  if sql:find ";" then conn:execute(sql) else conn:q(sql) end
end

for _, options in ipairs{ {}, { statement_cache_size = 0 } } do
  describe(("names, after any way (statement_cache_size = %s):"):format(tostring(options.statement_cache_size)), function()
    setup(function()
      setup_schemas()
      local db = pg.db()
      db:execute [[do $$ begin
        if not exists (select from pg_roles where rolname = 'walker') then create role walker; end if; end $$;
        grant usage on schema one, two to walker;
        grant select on all tables in schema public, one, two to walker]]
      db:close()
    end)

    for seed = 1, 4 do
      it("walk " .. seed, function()
        local db = pg.pool(options, { max_size = 3 })
        db:acquire(function(conn) walk(conn, seed * 7919, 120, seed % 2 == 0 and by_q or by_execute) end)
        -- and nobody else ever notices
        assert.equal("public", db.t.artist:first().src)
        assert.equal("public", db:item(SHOW, "artist"))
        db:acquire(function()
          assert.equal("public", db.t.artist:first().src)
          assert.equal("none", db:item "show role")
        end)
        db:close()
      end)
    end

    it("on a database of one connection, where all of it stays", function()
      local db = pg.db(options)
      local random, done = random_of(4711), {}
      for _ = 1, 80 do
        local sql = STEPS[random(#STEPS)]:format(SCHEMAS[random(#SCHEMAS)])
        pcall(db.execute, db, sql)
        done[#done + 1] = sql
        check(db, done)
      end
      db:close()
    end)

    it("where init has set it, RESET gives what the session began with", function()
      local db = pg.pool(options, { max_size = 2, init = function(c) c:execute "set search_path = one" end })
      assert.equal("one", db.t.artist.schema)
      for _, sql in ipairs{ "reset search_path", "reset all", "discard all", "set search_path to default" } do
        db:acquire(function(c)
          assert.equal("one", c.t.artist.schema)
          c:execute(sql)
          assert.equal("public", c.t.artist.schema)
          assert.equal("public", c:item(SHOW, "artist"))
          assert.equal("one", db.t["one.artist"].schema)
        end)
        assert.equal("one", db.t.artist:first().src)
        db:acquire(function(c)
          assert.is_false(pcall(c.transaction, c, function(tx)
            tx:execute(sql == "discard all" and "reset all" or sql)
            assert.equal("public", tx.t.artist:first().src)
            error "back"
          end))
          assert.equal("one", c.t.artist:first().src)
        end)
      end
      db:close()
    end)
  end)
end

-- ---- new connections mean something else ------------------------------------------------------

describe("ALTER DATABASE … SET search_path while a pool lives:", function()
  local other

  setup(function()
    setup_schemas()
    other = pg.db()
  end)
  after_each(function() other:execute(("alter database %s reset search_path"):format(pg.database())) end)
  teardown(function() other:close() end)

  local function alter(schema) other:execute(("alter database %s set search_path = %s"):format(pg.database(), schema)) end

  local function lose_all(db)
    for _, conn in ipairs(route_of(db).pool.idle) do
      local pid = conn.c:info().pid
      other:q("select pg_terminate_backend(?)", pid)
      while other:item("select count(*) from pg_stat_activity where pid = ?", pid) > 0 do fastpg.sleep(0.005) end
      while conn.c:ready(1e6) do fastpg.sleep(0.005) end
    end
  end

  for _, most in ipairs{ 1, 3 } do
    it(("what was built for the old one does not run on the new one (max_size = %d)"):format(most), function()
      local calls = {
        function(t) return t:get(1).src end,
        function(t) return t[1].src end,
        function(t) return t:where{ id = 1 }:first().src end,
        function(t) return t:update{ id = 1, tenant = 1 }.src end,
        function(t) return t:updates({ { id = 1, tenant = 1 } })[1].src end,
        function(t) return t:upsert{ id = 1, tenant = 1 }.src end,
        function(t) return t{ order_by = "id", limit = 1 }[1].src end,
        function(t)
          local src
          t:each({ order_by = "id", limit = 1 }, function(row) src = row.src end)
          return src
        end,
        function(t)
          local src
          for row in t:each{ order_by = "id", limit = 1 } do src = row.src end
          return src
        end,
        function(t) return next(t:groupby("src", "count(*)")) end,
        function(t)
          t:delete_where("id = 77")
          t:insert{ id = 77 }
          return t:delete(77).src
        end,
      }
      for _, call in ipairs(calls) do
        other:execute(("alter database %s reset search_path"):format(pg.database()))
        local db = pg.pool({}, { max_size = most })
        local t = db.t.artist
        db.t["one.artist"]:xtra{ tenant = 1 }
        assert.equal("public", call(t))
        assert.equal(10, #t)
        alter "one"
        assert.equal("public", call(t)) -- of the connection that is there
        lose_all(db)
        assert.equal("one", call(t))
        assert.equal(5, #t) -- with the wall of that one
        assert.is_nil(t:get(2))
        assert.equal("one", db:first("select * from artist").src)
        db:close()
      end
    end)
  end

  it("copy, too, or it says so", function()
    local db = pg.pool({}, { max_size = 1 })
    assert.equal("public", db.t.artist.schema)
    alter "one"
    lose_all(db)
    local ok, err = pcall(db.t.artist.copy, db.t.artist, { { id = 99, tenant = 5 } })
    if not ok then assert.equal("object_not_in_prerequisite_state", err.name) end
    assert.equal(0, other:item "select count(*) from public.artist where id = 99")
    assert.equal(ok and 1 or 0, other:item "select count(*) from one.artist where id = 99")
    other:execute "delete from one.artist where id = 99"
    db:close()
  end)

  it("a transaction keeps what its connection began with, and the others have the new one", function()
    local db = pg.pool({}, { max_size = 3, loop = "step" })
    local ended = 0
    fastpg.spawn(function()
      db.t.artist:get(1)
      local go = false
      local holder = fastpg.spawn(function()
        db:transaction(function(tx)
          assert.equal("public", tx.t.artist[1].src)
          while not go do fastpg.sleep(0.005) end
          assert.equal("public", tx.t.artist[1].src)
          assert.equal("public", db.t.artist[1].src)
        end)
        ended = ended + 1
      end)
      fastpg.sleep(0.05)
      alter "two"
      assert.equal("two", db.t.artist[1].src) -- a new connection
      go = true
      holder:wait()
      for _ = 1, 5 do assert.equal("two", db.t.artist[1].src) end
      assert.equal(1, db:stats().size) -- the old one is gone
      ended = ended + 1
    end)
    fastpg.run()
    assert.equal(2, ended)
    db:close()
  end)
end)

-- ---- what others must not notice --------------------------------------------------------------

describe("names of one task", function()
  setup(setup_schemas)

  it("are not those of another that waits for the same connection", function()
    local db = pg.db{ loop = "step" }
    local wrong, n = {}, 0
    fastpg.spawn(function()
      local t = db.t.artist
      t:get(1)
      local fns = {}
      for i = 1, 6 do
        fns[i] = function()
          for k = 1, 6 do
            local schema = SCHEMAS[(i + k) % 3 + 1]
            if i % 2 == 0 then
              local src = t:get(1).src
              if src ~= "public" or #t.cols ~= 3 then wrong[#wrong + 1] = src end
            else
              db:transaction({ settings = { search_path = schema } }, function(tx)
                local src = (k % 2 == 0 and t or tx.t.artist):get(1).src
                if src ~= schema then wrong[#wrong + 1] = src end
                fastpg.sleep(0)
              end)
            end
            n = n + 1
          end
        end
      end
      fastpg.gather((table.unpack or unpack)(fns))
    end)
    fastpg.run()
    assert.same({}, wrong)
    assert.equal(36, n)
    db:close()
  end)

  it("may change while another of the same transaction waits for its turn", function()
    local db, got = pg.pool({ loop = "step" }, { max_size = 2 }), {}
    fastpg.spawn(function()
      db:transaction(function(tx)
        local t = tx.t.artist
        t:get(1)
        local a = fastpg.spawn(function() tx:execute "set local search_path = one; select pg_sleep(0.05)" end)
        local b = fastpg.spawn(function() got[1] = t:get(1).src end)
        a:wait()
        b:wait()
        got[2] = t:get(1).src
      end)
    end)
    fastpg.run()
    assert.same({ "one", "one" }, got)
    db:close()
  end)

  it("end with its transaction, whose Tables say that it is over", function()
    local db = pg.pool({}, { max_size = 2 })
    local t, q
    db:transaction({ settings = { search_path = "one" } }, function(tx)
      t = tx.t.artist
      q = t:where "true"
      assert.equal("one", t[1].src)
    end)
    for _, call in ipairs{ function() return t[1] end, function() return #t end, function() return q() end,
      function() return t:insert{ id = 50 } end, function() return t:inserts{ { id = 50 } } end,
      function() return t:each() end, function() return q:delete() end } do
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.equal("closed", err.name)
      assert.matches("the transaction is over", err.message)
    end
    assert.equal('"artist"', tostring(t)) -- what it knew it knows
    assert.equal("one", t.schema)
    assert.equal(4, #t.cols)
    assert.is_true(t.c:has "more")
    assert.is_nil(t.cls)
    db:close()
  end)

  it("a role that SQL has set ends when its connection comes back to a pool", function()
    local db = pg.pool({}, { max_size = 2 })
    db:execute "do $$ begin create role walker; exception when duplicate_object then end $$"
    for _, sql in ipairs{ "set role walker", "select set_config('role', 'walker', false)", "set session authorization walker" } do
      db:execute(sql)
      assert.equal("none", db:item "show role")
      assert.equal(db:item "select current_user", db:item "select session_user")
      assert.not_equal("walker", db:item "select current_user")
    end
    db:close()
  end)
end)

describe("temporary tables on a pool", function()
  local function count(db, sql) return db:item("select count(*) from " .. sql) end

  before_each(setup_schemas)

  local WAYS = {
    ["CREATE TEMP TABLE"] = "create temp table artist (id int primary key, tenant int, src text default 'temp')",
    ["CREATE TEMP TABLE AS"] = "create temp table artist as select 1 as id, 0 as tenant, 'temp'::text as src",
    ["pg_temp"] = "create table pg_temp.artist (id int, tenant int, src text)",
    ["SELECT INTO"] = "select 1 as id, 0 as tenant, 'temp'::text as src into temporary table artist",
    ["a view"] = "create temp view artist as select 1 as id, 0 as tenant, 'temp'::text as src",
    ["a function"] = "select make_artist()",
  }

  for name, sql in pairs(WAYS) do
    it("open no wall: made by " .. name, function()
      local db = pg.pool({}, { max_size = 3 })
      db:execute [[create or replace function make_artist() returns int language plpgsql as $$ begin
        create temp table artist (id int, tenant int, src text); return 1; end $$]]
      db.t["public.artist"]:xtra{ tenant = 1 }
      local function hold(where)
        -- (what a function makes is not seen before it is looked up: but the wall stands before it, too)
        local is_unseen = name == "a function"
        for _, t in ipairs{ db.t.artist, db.t["public.artist"] } do
          local found = #t
          if not (is_unseen and found <= 1) then assert.equal(5, found, where) end
          assert.is_nil(t:get(2), where)
        end
      end
      hold "before"
      db:execute(sql)
      for i = 1, 3 do hold("made on a connection of the pool " .. i) end
      db:acquire(function(c)
        pcall(c.execute, c, sql)
        assert.matches("^pg_temp", (c:refresh().t.artist.schema))
        assert.is_true(#c.t.artist <= 1)
        assert.equal(5, #c.t["public.artist"]) -- which has its schema here, as the name alone is another's
        assert.equal('"public"."artist"', tostring(c.t["public.artist"]))
        assert.equal(5, #c:table("artist", "public"))
        -- while another connection is used
        local fresh
        fastpg.spawn(function() fresh = #db.t.artist end):wait()
        assert.equal(5, fresh)
      end)
      for i = 1, 3 do hold("after acquire " .. i) end
      db:transaction(function(tx)
        tx:execute(sql)
        assert.is_true(#tx:refresh().t.artist <= 1)
        assert.equal(5, #tx.t["public.artist"])
      end)
      for i = 1, 3 do hold("after a transaction " .. i) end
      assert.equal(10, count(db, "public.artist"))
      db:close()
    end)
  end

  it("that init makes stay, each with its connection", function()
    local db = pg.pool({ loop = "step" }, { max_size = 3, init = function(c)
      c:execute "create temp table mine (id int primary key, pid int default pg_backend_pid())"
      c.t.mine:insert{ id = 1 }
    end })
    local pids = {}
    fastpg.spawn(function()
      local fns = {}
      for i = 1, 6 do
        fns[i] = function()
          for _ = 1, 3 do
            local row = db.t.mine:get(1)
            pids[row.pid] = true
            db.t.mine:each({}, function(r) pids[r.pid] = true end)
            assert.equal(1, #db.t.mine)
            db:q "select pg_sleep(0.001)"
          end
          pids.n = (pids.n or 0) + 1
        end
      end
      fastpg.gather((table.unpack or unpack)(fns))
      assert.equal(6, pids.n)
      db:acquire(function(c) c:execute "create temp table artist (id int)" end)
      assert.equal(10, #db.t.artist)
      assert.equal(1, #db.t.mine)
    end)
    fastpg.run()
    assert.equal(6, pids.n)
    db:close()
  end)

  it("of a database of one connection stay", function()
    local db = pg.db()
    db:execute "create temp table mine (id int primary key); insert into mine values (1)"
    assert.equal(1, db.t.mine[1].id)
    db:q "select 1"
    assert.equal(1, #db.t.mine)
    db:close()
  end)
end)

-- ---- what it costs ----------------------------------------------------------------------------

describe("round trips of a transaction", function()
  local db, n

  local function body(tx)
    tx.t.artist:get(1)
    tx:q "select 1"
  end
  local function plain()
    return trips(function() db:transaction(function(tx)
      tx:execute "set local work_mem = '1MB'"
      body(tx)
    end) end)
  end

  setup(function()
    setup_schemas()
    db = pg.db()
    plain()
    n = plain()
  end)
  teardown(function() db:close() end)

  local CASES = {
    { "SET LOCAL search_path", "set local search_path = one" },
    { "SET LOCAL search_path, quoted", [[set local search_path to "one", 'public']] },
    { "SET LOCAL SCHEMA", "set local schema 'one'" },
    { "RESET", "reset search_path" },
    { "set_config of another setting", "select set_config('app.tenant', '7', true)" },
    { "CREATE TEMP TABLE … ON COMMIT DROP", "create temp table tmp (id int primary key) on commit drop" },
    { "CREATE TEMP TABLE … AS", "create temp table tmp on commit drop as select 1 as id" },
    { "CREATE INDEX", "create index artist_src on public.artist (src)", "drop index artist_src" },
    { "COMMENT", "comment on table public.artist is 'x'" },
    { "ANALYZE", "analyze public.artist" },
    { "TRUNCATE", "truncate one.artist" },
    { "CREATE TRIGGER", [[create trigger watch before update on public.artist for each row
      execute function suppress_redundant_updates_trigger()]], "drop trigger watch on public.artist" },
    { "CREATE ROLE", "create role passing", "drop role passing" },
  }
  for _, case in ipairs(CASES) do
    it("with " .. case[1] .. " are no more than of any other", function()
      local function run()
        return trips(function() db:transaction(function(tx)
          tx:execute(case[2])
          body(tx)
          if case[3] then tx:execute(case[3]) end
        end) end)
      end
      run()
      assert.equal(n + (case[3] and 1 or 0), run())
      assert.equal(n, plain())
    end)
  end

  it("with its settings are one less: BEGIN carries them", function()
    local function run() return trips(function() db:transaction({ settings = { search_path = "one" } }, body) end) end
    run()
    assert.equal(n - 1, run())
    assert.equal(n, plain())
  end)

  it("with set_config of the search_path one more: it is asked for", function()
    local function run()
      return trips(function() db:transaction(function(tx)
        tx:execute "select set_config('search_path', 'one', true)"
        body(tx)
      end) end)
    end
    run()
    assert.equal(n + 1, run())
    assert.equal(n, plain())
  end)

  it("of names that one of them made, after it", function()
    db:transaction(function(tx)
      assert.equal(10, #tx.t.artist)
      tx:execute "create schema zero; set local search_path = zero, public; select 1"
      assert.equal(10, #tx.t.artist)
      tx:execute "create table zero.artist (id int, src text default 'zero'); insert into zero.artist values (1)"
      assert.equal(1, #tx.t.artist)
      assert.equal(1, #tx:q "select * from artist")
      tx:execute "drop table zero.artist"
      assert.equal(10, #tx.t.artist)
      assert.equal(10, #tx:q "select * from artist")
      tx:execute "drop schema zero"
    end)
  end)
end)

describe("a table that stands before another one", function()
  it("is seen by all connections, whatever they have prepared", function()
    setup_schemas()
    local db = pg.pool({}, { max_size = 3, init = function(c) c:execute "set search_path = one, public" end })
    db:execute "drop table one.artist; drop table two.artist"
    local function all(expected)
      db:acquire(function()
        db:acquire(function() end)
        for _ = 1, 2 do
          fastpg.spawn(function() assert.equal(expected, db.t.artist:get(1).src) end):wait()
          assert.equal(expected, db.t.artist:get(1).src)
          assert.equal(expected, db:first("select * from artist where id = 1").src)
        end
      end)
    end
    all "public"
    db.t["public.artist"]:xtra{ tenant = 1 }
    for _ = 1, 2 do
      db:execute "create table one.artist (id int primary key, src text default 'one'); insert into one.artist values (1)"
      all "one"
      db:execute "alter table one.artist rename to artist_2"
      all "public"
      db:execute "alter table one.artist_2 rename to artist"
      all "one"
      db:execute "alter table one.artist set schema two"
      all "public"
      db:execute "drop table two.artist"
    end
    -- made in a transaction: for nobody else before its end
    db:transaction(function(tx)
      tx:execute "create table one.artist (id int primary key, src text default 'one'); insert into one.artist values (1)"
      assert.equal("one", tx.t.artist[1].src)
      fastpg.spawn(function()
        assert.equal("public", db.t.artist[1].src)
        assert.is_nil(db.t.artist:get(2)) -- behind its wall
      end):wait()
      assert.equal("one", tx.t.artist[1].src)
    end)
    all "one"
    db:close()
  end)
end)
