-- SPDX-License-Identifier: MIT
--
-- Texts without a name (statement_cache_size = 0, as behind poolers): how many round trips they take, and that what is
-- remembered of them is never a wrong value.

local compat = require "fastpg.base.compat"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"

-- Whatever the server is asked to answer at once.
local ASKS = { "send_sync", "send_flush", "send_prepare", "send_known", "send_query", "send_list", "send_simple", "command", "ask", "ask_list" }

local function trips(fn)
  local core, kept, n = debug.getregistry()["fastpg.connection"].__index, {}, 0
  for _, name in ipairs(ASKS) do
    local method = core[name]
    kept[name] = method
    core[name] = function(...)
      local results = compat.pack(method(...))
      if results[1] ~= false then n = n + 1 end
      return compat.unpack(results, 1, results.n)
    end
  end
  local ok, err = pcall(fn)
  for name, method in pairs(kept) do core[name] = method end
  if not ok then error(err, 0) end
  return n
end

for _, options in ipairs{ { statement_cache_size = 0 }, { pooler = "transaction" } } do
  describe(options.pooler and "behind a pooler" or "without names", function()
    local db, other
    setup(function()
      other = pg.db()
      other:execute [[create table d (a int primary key, b text, c float8); insert into d select i, 'row ' || i, i / 4.0 from generate_series(1, 50) i;
        create type d_pair as (x int, y text); create schema d_away; create table d_away.d (a text, b int);
        insert into d_away.d values ('far', 7)]]
    end)
    teardown(function()
      other:execute "drop table d; drop type d_pair cascade; drop schema d_away cascade"
      other:close()
    end)
    before_each(function() db = fastpg.connect(pg.conninfo(), options) end)
    after_each(function() db:close() end)

    it("a new text takes two round trips, a known one one", function()
      local function one(a) return function() assert.equal("row " .. a, db:item("select b from d where a = $1", a)) end end
      assert.equal(2, trips(one(1)))
      assert.equal(1, trips(one(2)))
      assert.equal(1, trips(one(3)))
      assert.equal(1, trips(function() assert.is_nil(db:first("select b from d where a = $1", 0)) end))
      db.t.d:count()
      assert.equal("row 4", db.t.d[4].b)
      assert.equal(1, trips(function() assert.equal("row 5", db.t.d[5].b) end))
      assert.equal(0, db:item "select count(*) from pg_prepared_statements")
      assert.equal(0, db:stats().statements)
    end)

    it("a batch takes two, however many texts are new, and one when all are known", function()
      local function batch(a)
        return function()
          assert.same({ "row " .. a, a + 1, 1, "UPDATE 1", "row " .. a, n = 5 }, db:pipeline(function(p)
            p:item("select b from d where a = $1", a)
            p:item("select a + 1 from d where a = $1", a)
            p:item("select count(*)::int from d where c = $1", a / 4)
            p:execute("update d set b = $1 where a = $2", "row " .. a, a)
            p:item("select b from d where a = $1", a)
          end))
        end
      end
      assert.equal(2, trips(batch(5)))
      assert.equal(1, trips(batch(6)))
      db:transaction(function()
        assert.equal(1, trips(batch(7)))
        assert.equal(2, trips(function()
          db:pipeline(function(p)
            p:item "select 1 + 1"
            p:item "select 1 + 2"
          end)
        end))
      end)
      local function many(from) return function() db:executemany("insert into d values ($1, $2)", { { from, "x" }, { from + 1, "y" } }) end end
      assert.equal(2, trips(many(100)))
      assert.equal(1, trips(many(200)))
      local function insert(from) return function() db.t.d:inserts{ { a = from, b = "x" }, { a = from + 1, b = "y" } } end end
      db.t.d:count()
      assert.equal(2, trips(insert(300)))
      assert.equal(1, trips(insert(400)))
      other:execute "delete from d where a >= 100"
    end)

    it("an error in a batch says which statement it was, and undoes the others", function()
      for _ = 1, 2 do
        for _, bad in ipairs{ "selec 1", "select * from d_nowhere", "select 1 / (a - a) from d" } do
          local function run(on)
            on:pipeline(function(p)
              p:execute("insert into d values ($1, 'new')", 900)
              p:item(bad)
              p:item "select 1"
            end)
          end
          local ok, err = pcall(run, db)
          assert.is_false(ok)
          assert.equal(2, err.statement, tostring(err))
          ok, err = pcall(db.transaction, db, run)
          assert.is_false(ok)
          assert.truthy(err.sqlstate == "42601" or err.sqlstate == "42P01" or err.sqlstate == "22012", tostring(err))
          assert.is_nil(db:first "select 1 from d where a = 900")
        end
        assert.equal("row 1", db:item("select b from d where a = $1", 1))
      end
    end)

    it("a batch that was committed is not run again for what its results are", function()
      for i = 1, 3 do
        local ok, err = pcall(db.pipeline, db, function(p)
          p:execute("insert into d values ($1, 'once')", 700 + i)
          p:item "select 1 where false"
        end)
        assert.is_false(ok)
        assert.equal("not_found", err.name)
        assert.equal(i, db:item "select count(*)::int from d where b = 'once'")
      end
      other:execute "delete from d where b = 'once'"
    end)

    it("values whose type depends on them, or that don't fit, are right each time", function()
      for _ = 1, 3 do
        assert.equal(true, db:item("select $1", true))
        assert.equal("x", db:item("select $1", "x"))
        assert.same({ true, "y", n = 2 }, db:pipeline(function(p)
          p:item("select $1", true)
          p:item("select $1", "y")
        end))
        assert.is_false(pcall(db.item, db, "select b from d where a = $1", {}))
        assert.is_false(pcall(db.item, db, "select b from d where a = $1", 1, 2))
        assert.equal("row 2", db:item("select b from d where a = $1", 2))
        assert.equal("duplicate_column", (select(2, pcall(db.q, db, "select 1 as x, 2 as x"))).name)
        assert.equal(2, db:arrays("select 1 as x, 2 as x")[1][2])
      end
    end)

    it("a column that others change in between is read and written as it is by now", function()
      local get, set = "select c from d where a = $1", "update d set c = $1 where a = 10"
      local find = "select a from d where c = $1 and a = 10"
      local function check(value)
        assert.equal("UPDATE 1", db:execute(set, value))
        assert.equal(tostring(value), tostring(db:item(get, 10)))
        assert.equal(10, db:item(find, value))
        assert.same({ "UPDATE 1", 10, n = 2 }, db:pipeline(function(p)
          p:execute(set, value)
          p:item(find, value)
        end))
      end
      check(2.5)
      for _, change in ipairs{ { "int", 3 }, { "float4", 4.5 }, { "bigint", 5 }, { "numeric", 6 }, { "float8", 7.5 } } do
        other:execute(("alter table d alter c type %s"):format(change[1]))
        check(change[2])
        check(change[2])
      end
      other:execute "alter table d alter c type text using c::text"
      assert.equal("UPDATE 1", db:execute(set, "a text"))
      assert.equal("a text", db:item(get, 10))
      local seen = db:transaction(function(tx) return tx:item(get, 10) end)
      assert.equal("a text", seen)
      other:execute "alter table d alter c type float8 using null"
      assert.is_nil(db:item(get, 10))
      other:execute "alter table d drop c"
      local ok, err = pcall(db.item, db, get, 10)
      assert.is_false(ok)
      assert.equal("42703", err.sqlstate)
      other:execute "alter table d add c float8"
    end)

    it("values of types that others change are what they are by now", function()
      local row = "select (1, 'x')::d_pair as p"
      for _ = 1, 2 do assert.equal(1, db:item(row).x) end
      other:execute "alter type d_pair rename attribute x to z"
      for _ = 1, 2 do assert.equal(1, db:item(row).z) end
      other:execute "alter type d_pair rename attribute z to x"
      for _ = 1, 2 do assert.equal(1, db:item(row).x) end
    end)

    it("names mean what they mean where they are run", function()
      for _ = 1, 3 do
        assert.equal("row 3", db:item("select b from d where a = $1", 3))
        assert.equal(7, db:transaction({ settings = { search_path = "d_away" } }, function(tx)
          return tx:item("select b from d where a = $1", "far")
        end))
      end
      assert.equal(1, db:transaction(function(tx)
        tx:execute "create temp table d (a int, b int) on commit drop"
        tx:execute "insert into d values (3, 1)"
        return tx:item("select b from d where a = $1", 3)
      end))
      assert.equal("row 3", db:item("select b from d where a = $1", 3))
    end)

    it("settings count in texts that are known", function()
      local text = "select timestamptz '2024-01-02 03:04:05' = $1::text::timestamptz"
      for _ = 1, 2 do
        assert.is_true(db:transaction({ settings = { timezone = "Asia/Tokyo" } }, function(tx) return tx:item(text, "2024-01-01 18:04:05+00") end))
        assert.is_true(db:transaction({ settings = { timezone = "UTC" } }, function(tx) return tx:item(text, "2024-01-02 03:04:05+00") end))
      end
    end)
  end)
end
