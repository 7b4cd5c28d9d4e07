-- SPDX-License-Identifier: MIT
--
-- Schema per tenant: tables of the same names in many schemas, reached by the search_path, by every way to set it.  A
-- handle means what its name means on the connection it runs on, and nobody else notices.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local trips = require "spec.support.round_trips"

local N = 20

-- Each schema's table has columns and a key of its own.
local function set_up(db)
  local sql = { "create table artist (id int primary key, base text); insert into artist values (1, 'base')" }
  for i = 1, N do
    sql[#sql + 1] = ([[create schema t%d; create table t%d.artist (%s k%d int primary key, c%d %s);
      insert into t%d.artist (k%d, c%d) values (%d, '%d'); create view t%d.v as select * from t%d.artist]])
      :format(i, i, i % 2 == 0 and "extra text," or "", i, i, i % 3 == 0 and "text" or "int", i, i, i, i, i, i, i)
  end
  db:execute(table.concat(sql, ";\n"))
end

local TENANT_VIEW = "select * from artist"

-- All that a tenant does is done to its own table.
local function use(db, i)
  local key, col, value = "k" .. i, "c" .. i, i % 3 == 0 and tostring(i) or i
  assert.equal(value, db.t.artist[i][col])
  assert.equal(key, db.t.artist.pks[1])
  assert.equal("t" .. i, db.t.artist.schema)
  assert.equal('"artist"', tostring(db.t.artist))
  assert.equal(value, db:first(TENANT_VIEW)[col])
  assert.equal(i, db.t.artist:where{ [col] = value }:first()[key])
  assert.equal(i + 1000, db.t.artist:insert{ [key] = i + 1000, [col] = value }[key])
  assert.equal(2, #db.t.artist{ order_by = { key } })
  assert.equal(value, db.t.artist:upsert{ [key] = i + 1000, [col] = value }[col])
  assert.equal(i + 1000, db.t.artist:delete(i + 1000)[key])
  assert.same({ "v" }, db:view_names())
  assert.equal(i, db.v.v:first()[key])
end

local function use_base(db)
  assert.equal("base", db.t.artist[1].base)
  assert.equal("public", db.t.artist.schema)
  assert.equal("base", db:first(TENANT_VIEW).base)
  assert.equal("base", db.t.artist:where{ base = "base" }:first().base)
  assert.same({ "artist" }, db:table_names())
end

-- Every way: runs fn(db) where the path is the schema's.
local WAYS = {
  { "the settings of a transaction", function(db, schema, fn) db:transaction({ settings = { search_path = schema } }, fn) end },
  { "the settings of begin", function(db, schema, fn)
    local tx = db:begin{ settings = { search_path = schema } }
    local ok, err = pcall(fn, tx)
    tx:rollback()
    if not ok then error(err, 0) end
  end, is_ambient = false },
  { "SET LOCAL", function(db, schema, fn)
    db:transaction(function(tx)
      tx:execute("set local search_path to " .. schema)
      fn(tx)
    end)
  end },
  { "SET LOCAL of a literal, prepared", function(db, schema, fn)
    db:transaction(function(tx)
      tx:q(("set local search_path = '%s'"):format(schema))
      fn(tx)
    end)
  end },
  { "SET in a transaction that is rolled back", function(db, schema, fn)
    local _, err = pcall(db.transaction, db, function(tx)
      tx:execute("set search_path = " .. schema)
      fn(tx)
      error("back", 0)
    end)
    if err ~= "back" then error(err, 0) end
  end },
  { "SET in a transaction", function(db, schema, fn)
    db:transaction(function(tx)
      tx:execute("set search_path = " .. schema)
      fn(tx)
    end)
    db:execute "reset search_path"
  end },
  { "set_config by arguments", function(db, schema, fn)
    db:transaction(function(tx)
      tx:q("select set_config(?, ?, true)", "search_path", schema)
      fn(tx)
    end)
  end },
  { "set_config in a pipeline", function(db, schema, fn)
    db:transaction(function(tx)
      tx:pipeline(function(p)
        p:item("select set_config('search_path', ?, true)", schema)
        p:item("select 1")
      end)
      fn(tx)
    end)
  end },
  { "a DO block", function(db, schema, fn)
    db:transaction(function(tx)
      tx:execute(("do $$ begin execute 'set local search_path = %s'; end $$"):format(schema))
      fn(tx)
    end)
  end },
  { "SET SCHEMA", function(db, schema, fn)
    db:transaction(function(tx)
      tx:execute(("set local schema '%s'"):format(schema))
      fn(tx)
    end)
  end },
  { "SET of a name in escapes", function(db, schema, fn)
    db:transaction(function(tx)
      tx:execute(('set local U&"search\\005fpath" = %s'):format(schema))
      fn(tx)
    end)
  end },
  { "SET in acquire", function(db, schema, fn)
    db:acquire(function(c)
      c:execute("set search_path = " .. schema)
      fn(c)
      c:execute "reset search_path"
    end)
  end },
  { "a transaction by hand in acquire", function(db, schema, fn)
    db:acquire(function(c)
      c:execute("begin; set local search_path = " .. schema)
      fn(c)
      c:execute "commit"
      use_base(c)
    end)
  end },
  { "an inner transaction", function(db, schema, fn)
    db:transaction(function(tx)
      use_base(tx)
      local _, err = pcall(tx.transaction, tx, function(inner)
        inner:execute("set local search_path = " .. schema)
        fn(inner)
        error("back", 0)
      end)
      if err ~= "back" then error(err, 0) end
      use_base(tx)
    end)
  end },
  { "a savepoint by hand", function(db, schema, fn)
    db:transaction(function(tx)
      tx:execute "savepoint s"
      tx:execute("set local search_path = " .. schema)
      fn(tx)
      tx:execute "rollback to s"
      use_base(tx)
    end)
  end },
}

for _, options in ipairs{ {}, { statement_cache_size = 0 } } do
  describe(("tables by search_path (statement_cache_size = %s):"):format(tostring(options.statement_cache_size)), function()
    local db

    setup(function()
      local first = pg.db()
      first:execute "drop schema public cascade; create schema public"
      for i = 1, N do first:execute(("drop schema if exists t%d cascade"):format(i)) end
      set_up(first)
      first:close()
    end)
    before_each(function() db = pg.db(options) end)
    after_each(function() db:close() end)

    for _, way in ipairs(WAYS) do
      it("by " .. way[1], function()
        use_base(db)
        for round = 1, 2 do
          for _, i in ipairs{ 1, N + 1 - round } do
            way[2](db, "t" .. i, function(tx)
              use(tx, i)
              if way.is_ambient ~= false then assert.equal(i, db.t.artist[i]["k" .. i]) end
            end)
            use_base(db)
          end
        end
      end)
    end
  end)
end

describe("tables by search_path:", function()
  local db

  before_each(function() db = pg.db() end)
  after_each(function() db:close() end)

  it("in many tasks at a time, on a pool", function()
    db:close()
    local ended = 0
    fastpg.spawn(function()
      db = pg.pool({}, { max_size = 8, loop = "step" })
      local fns = {}
      for i = 1, 2 * N do
        fns[i] = function()
          if i > N then
            for _ = 1, 5 do
              use_base(db)
              db:q "select pg_sleep(0.001)"
            end
          else
            for round = 1, 2 do
              local way = WAYS[(i + round) % #WAYS + 1]
              way[2](db, "t" .. i, function(tx)
                use(tx, i)
                tx:q "select pg_sleep(0.001)"
                use(tx, i)
              end)
            end
          end
          ended = ended + 1
        end
      end
      fastpg.gather((table.unpack or unpack)(fns))
    end)
    fastpg.run()
    assert.equal(2 * N, ended)
  end)

  it("costs no round trip more", function()
    local path, plain
    local function run(settings)
      return trips(function()
        db:transaction({ settings = settings }, function(tx)
          local t = tx.t.artist
          t:get(1)
          t:get(2)
          tx:q(TENANT_VIEW)
          tx:transaction(function(inner) inner:q(TENANT_VIEW) end)
        end)
      end)
    end
    pcall(db.transaction, db, function() error() end)
    for _ = 1, 3 do plain = run{ work_mem = "1MB" } end
    for _ = 1, 3 do path = run{ search_path = "t1" } end
    assert.equal(plain, path)
    assert.equal(plain, run{ work_mem = "1MB" })
    for i = 2, 5 do run{ search_path = "t" .. i } end
    for i = 2, 5 do assert.equal(plain, run{ search_path = "t" .. i }) end
    assert.equal(plain, run{ work_mem = "1MB" })
    assert.equal(1, trips(function() return db.t.artist[1] end))
    assert.equal(1, trips(function() return db.t.artist[1] end))
  end)

  it("stays with a connection of its own, and ends with DISCARD ALL", function()
    db:execute "set search_path = t1"
    use(db, 1)
    db:transaction({ settings = { search_path = "t2" } }, function(tx) use(tx, 2) end)
    use(db, 1)
    pcall(db.transaction, db, { settings = { search_path = "t2" } }, function(tx) tx:q "select 1/0" end)
    use(db, 1)
    assert.is_false(pcall(db.transaction, db, { settings = { search_path = "t2", work_mem = "nonsense" } }, print))
    use(db, 1)
    assert.is_false(pcall(db.execute, db, "set search_path = t2; select 1/0"))
    use(db, 1)
    db:execute "set local search_path = t2"
    use(db, 1)
    db:execute "discard all"
    use_base(db)
    db:execute "prepare p as select set_config('search_path', 't3', false); execute p"
    use(db, 3)
    db:execute "reset all"
    use_base(db)
    db:q "execute p"
    use(db, 3)
  end)

  it("comes back to a pool as it began", function()
    local pool = pg.pool({}, { max_size = 2, init = function(c) c:execute "set search_path = t4" end })
    use(pool, 4)
    pool:execute "set search_path = t5"
    use(pool, 4)
    pool:acquire(function(c)
      c:execute "set search_path = t6"
      use(c, 6)
      use(pool, 6)
    end)
    use(pool, 4)
    pcall(pool.acquire, pool, function(c) c:execute "begin; set search_path = t6; select 1/0" end)
    use(pool, 4)
    pool:close()
  end)

  it("by roles: $user", function()
    db:execute [[do $$ begin
      if not exists (select from pg_roles where rolname = 'user_1') then create role user_1; create role user_2; end if; end $$;
      create schema user_1 authorization user_1; create schema user_2 authorization user_2;
      create table user_1.own (a int); create table user_2.own (b int); create table own (c int);
      alter table user_1.own owner to user_1; alter table user_2.own owner to user_2]]
    for _ = 1, 2 do
      assert.same({ "c" }, { db.t.own.cols[1] })
      db:transaction({ settings = { role = "user_1" } }, function(tx)
        assert.same({ "a" }, { tx.t.own.cols[1] })
        pcall(tx.transaction, tx, function(inner)
          inner:execute "set local role user_2"
          assert.same({ "b" }, { tx.t.own.cols[1] })
          error("back")
        end)
        assert.same({ "a" }, { tx.t.own.cols[1] })
      end)
      assert.same({ "c" }, { db.t.own.cols[1] })
    end
    db:execute "drop schema user_1 cascade; drop schema user_2 cascade; drop table own; drop role user_1; drop role user_2"
  end)

  it("walls hold for the table that the name means", function()
    local tenant = { settings = { search_path = "t9" } }
    db:execute "insert into t9.artist (k9, c9) values (10, '9'), (11, 'x')"
    db.t["t9.artist"]:xtra{ c9 = "9" }
    db:transaction(tenant, function(tx)
      assert.equal(2, #tx.t.artist)
      assert.is_nil(tx.t.artist:get(11))
      assert.equal(2, #db.t.artist)
      local scoped = db.t.artist:scope{ k9 = 10 }
      assert.equal(1, #scoped)
      assert.equal(0, #scoped:where{ k9 = 11 }())
    end)
    assert.equal(1, #db.t.artist)
    db:transaction({ settings = { search_path = "t1" } }, function(tx) assert.equal(1, #tx.t.artist) end)
    db.t["t9.artist"]:xtra()
    db:transaction(tenant, function(tx) tx.t.artist:xtra{ c9 = "x" } end)
    db:execute "delete from t9.artist where k9 > 9"
  end)

  it("a handle means what its name means where it runs", function()
    local t, query = db.t.artist, db.t.artist:where("true")
    for _ = 1, 2 do
      assert.equal("base", t[1].base)
      for _, i in ipairs{ 2, 3 } do
        db:transaction({ settings = { search_path = "t" .. i } }, function()
          assert.equal(i, t[i]["k" .. i])
          assert.equal(i, query:first()["k" .. i])
        end)
      end
      assert.equal("base", query:first().base)
    end
  end)
end)
