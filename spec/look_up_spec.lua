-- SPDX-License-Identifier: MIT
--
-- fastpg's own questions to the catalogs (fastpg.pg.look_up): a round trip each, whatever the connection is like.

local pg = require "spec.support.pg"
local round_trips = require "spec.support.round_trips"

describe("a look-up of fastpg's own", function()
  local admin

  setup(function()
    admin = pg.db()
    admin:execute [[
      create table look_one (id int primary key, name text);
      create table look_two (id int primary key, one int references look_one);
      create type look_pair as (a int, b text);
      insert into look_one values (1, 'x')]]
  end)
  teardown(function()
    admin:execute "drop table look_two, look_one; drop type look_pair"
    admin:close()
  end)

  local function with(options, fn)
    local db = pg.db(options)
    local ok, err = pcall(fn, db)
    db:close()
    if not ok then error(err, 0) end
  end

  it("is one round trip: the first use of a table, of another one, a list of names", function()
    for _, size in ipairs{ 100, 0 } do
      with({ statement_cache_size = size }, function(db)
        assert.equal(1, round_trips(function() assert.same({ "id" }, db.t.look_one.pks) end))
        assert.equal(1, round_trips(function() assert.same({ "id" }, db.t.look_two.pks) end))
        assert.equal(1, round_trips(function() db:table_names() end))
        assert.equal("x", db.t.look_one[1].name)
      end)
    end
  end)

  it("asks for the types that the server would find, and keeps the statement", function()
    with({}, function(db)
      local used = { db.t.look_one.pks, db.t.look_two.pks, db:table_names(), db:q "select row(1, 'x')::look_pair as p" }
      assert.equal(4, #used)
      local kept = db:q "select name, statement, parameter_types::text[] as types from pg_prepared_statements where name like 'fastpg%'"
      local seen = 0
      for _, st in ipairs(kept) do
        if st.statement:find "pg_catalog" and #st.types > 0 then
          seen = seen + 1
          db:execute(("prepare look_again as %s"):format(st.statement))
          local again = db:qone "select parameter_types::text[] as types from pg_prepared_statements where name = 'look_again'"
          db:execute "deallocate look_again"
          assert.same({ (table.unpack or unpack)(again.types) }, { (table.unpack or unpack)(st.types) }, st.statement)
        end
      end
      assert.is_true(seen >= 3, tostring(seen))
    end)
  end)

  it("reads the answer as it is, whatever codecs there are", function()
    with({}, function(db)
      for _, name in ipairs{ "name", "text", "bool", "int4", "oid" } do
        db:set_type_codec(name, { decode = function() return "mine" end, encode = function() return "0" end })
      end
      assert.same({ "id" }, db.t.look_one.pks)
      assert.equal("mine", db:item "select 'x'::text")
    end)
  end)

  it("that fails leaves the connection as it was", function()
    with({}, function(db)
      admin:transaction(function(tx)
        tx:execute "lock table pg_catalog.pg_constraint in access exclusive mode"
        db:execute "set lock_timeout = '50ms'"
        local ok, err = pcall(function() return db.t.look_one.pks end)
        assert.is_false(ok)
        assert.equal("55P03", err.sqlstate)
      end)
      assert.same({ "id" }, db.t.look_one.pks)
      for i = 1, 3 do assert.equal(i, db:item("select ? + 0" .. (" "):rep(i), i)) end
    end)
  end)

  it("in a transaction that failed says so", function()
    with({}, function(db)
      pcall(db.transaction, db, function(tx)
        pcall(tx.q, tx, "select 1/0")
        local ok, err = pcall(function() return tx.t.look_one.pks end)
        assert.is_false(ok)
        assert.equal("25P02", err.sqlstate)
      end)
      assert.same({ "id" }, db.t.look_one.pks)
    end)
  end)

  it("and a statement go on where those that were to be closed are gone already", function()
    with({ statement_cache_size = 1 }, function(db)
      assert.equal(1, db:item "select 1")
      assert.equal(2, db:item "select 2")
      admin:execute "create or replace function look_gone() returns void language plpgsql as $$begin execute 'deallocate all'; end$$"
      db:execute "select look_gone()"
      for i = 1, 3 do assert.equal(i, db:item(("select %d + 0"):format(i))) end
      assert.same({ "id" }, db.t.look_one.pks)
      admin:execute "drop function look_gone()"
    end)
  end)
end)
