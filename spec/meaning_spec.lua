-- SPDX-License-Identifier: MIT
--
-- What a name means on a connection is known at any time: held against what the server says after long walks of SET,
-- RESET, transactions, savepoints and temporary tables; and what was built for one meaning never runs under another.

local fastpg = require "fastpg"
local Connection = require "fastpg.pg.connection"
local pg = require "spec.support.pg"
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

-- Round trips (and results of a pipeline) of fn.
local function trips(fn)
  local drive, n = Connection.drive, 0
  Connection.drive = function(...)
    n = n + 1
    return drive(...)
  end
  local ok, err = pcall(fn)
  Connection.drive = drive
  if not ok then error(err, 0) end
  return n
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
