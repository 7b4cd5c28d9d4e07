-- SPDX-License-Identifier: MIT
--
-- One name, many meanings: a schema for each tenant, on a pool whose connections have different search_paths.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local unpack = table.unpack or unpack

for _, size in ipairs{ 0, 100 } do
  describe(("names under several search_paths (statement_cache_size = %d):"):format(size), function()
    local db, mine

    setup(function()
      db = pg.pool({ statement_cache_size = size }, { max_size = 4 })
      db:execute "drop schema if exists path_a, path_b cascade"
      for _, schema in ipairs{ "path_a", "path_b" } do
        db:execute(([[create schema %s;
          create table %s.thing (id int primary key, tenant int, src text default '%s');
          insert into %s.thing select i, i %% 2 from generate_series(1, 10) i]]):format(schema, schema, schema, schema))
      end
      db:execute "alter table path_b.thing add more int"
      mine = db:table("thing", "path_a")
      mine:xtra{ tenant = 1 }
    end)
    teardown(function()
      db:execute "drop schema path_a, path_b cascade"
      db:close()
    end)

    -- Every way to set it: calls fn(tx) under that path.
    local WAYS = {
      settings = function(path, fn) return db:transaction({ settings = { search_path = path } }, fn) end,
      ["settings of begin"] = function(path, fn)
        local tx = db:begin{ settings = { SEARCH_PATH = path } }
        fn(tx)
        tx:commit()
      end,
      ["SET LOCAL"] = function(path, fn)
        db:transaction(function(tx)
          tx:execute("set local search_path = " .. path)
          fn(tx)
        end)
      end,
      ["SET SCHEMA"] = function(path, fn)
        db:transaction(function(tx)
          tx:execute("set local schema '" .. path .. "'")
          fn(tx)
        end)
      end,
      ["SET"] = function(path, fn)
        db:acquire(function(conn)
          conn:execute("set search_path to " .. path)
          fn(conn)
        end)
      end,
      ["set_config"] = function(path, fn)
        db:transaction(function(tx)
          tx:item("select set_config(?, ?, true)", "search_path", path)
          fn(tx)
        end)
      end,
      ["a savepoint"] = function(path, fn)
        db:transaction(function(tx)
          pcall(tx.transaction, tx, function()
            tx:execute("set local search_path = " .. (path == "path_a" and "path_b" or "path_a"))
            error(#tx.t.thing)
          end)
          assert.is_false((pcall(function() return #tx.t.thing end)))
        end)
        db:transaction({ settings = { search_path = path } }, function(tx)
          pcall(tx.transaction, tx, function()
            tx:execute("set local search_path = " .. (path == "path_a" and "path_b" or "path_a"))
            error(#tx.t.thing)
          end)
          fn(tx)
        end)
      end,
      ["a role's own schema"] = function(path, fn)
        db:execute(("do $$ begin create role %s; exception when duplicate_object then end $$"):format(path))
        db:execute(("grant all on schema %s to %s; grant all on all tables in schema %s to %s"):format(path, path, path, path))
        db:transaction({ settings = { role = path } }, fn)
        db:execute("drop owned by " .. path .. "; drop role " .. path)
      end,
    }

    for name, way in pairs(WAYS) do
      it("set by " .. name, function()
        for _ = 1, 2 do
          way("path_a", function(tx)
            assert.equal("path_a", tx.t.thing:first().src)
            assert.equal("path_a", tx:first("select * from thing").src)
            assert.equal(5, #tx.t.thing)
            assert.equal(3, #tx.t.thing.cols)
            assert.equal(1, tx.t.thing:insert({ id = 50, tenant = 0 }).tenant)
            tx.t.thing:delete(50)
          end)
          way("path_b", function(tx)
            assert.equal("path_b", tx.t.thing:first().src)
            assert.equal("path_b", tx:first("select * from thing").src)
            assert.equal(10, #tx.t.thing)
            assert.equal(4, #tx.t.thing.cols)
            assert.equal(0, tx.t.thing:insert({ id = 50, tenant = 0 }).tenant)
            tx.t.thing:delete(50)
          end)
          assert.is_false((pcall(function() return #db.t.thing end)))
          assert.equal(5, #mine)
        end
      end)
    end

    it("of tasks side by side, with one handle for all of them", function()
      local wrong = {}
      local function one(i)
        for k = 1, 6 do
          local path = (i + k) % 2 == 0 and "path_a" or "path_b"
          db:transaction({ settings = { search_path = path } }, function(tx)
            local t = k % 3 == 0 and tx.t.thing or db.t.thing
            fastpg.sleep(0)
            local rows = t()
            if #rows ~= (path == "path_a" and 5 or 10) or rows[1].src ~= path then wrong[#wrong + 1] = path end
          end)
        end
      end
      fastpg.run(function()
        local tasks = {}
        for i = 1, 8 do tasks[i] = function() one(i) end end
        fastpg.gather(unpack(tasks))
      end)
      assert.same({}, wrong)
    end)

    it("and a temporary table, as long as it is there", function()
      db:transaction({ settings = { search_path = "path_a" } }, function(tx)
        tx:execute "create temp table thing (id int, tenant int) on commit drop; insert into thing values (1, 0)"
        assert.equal(1, #tx.t.thing)
        assert.equal(5, #tx:table("thing", "path_a"))
      end)
      db:transaction({ settings = { search_path = "path_a" } }, function(tx) assert.equal(5, #tx.t.thing) end)
    end)
  end)
end

describe("a transaction with a search_path of its own", function()
  it("costs no look-up after the first, nor do those without", function()
    local db = pg.db()
    db:execute "create schema path_c; create table path_c.thing (id int primary key)"
    local conn = require("fastpg.pool.route").of(db).pool.idle[1]
    local function once()
      db:transaction({ settings = { search_path = "path_c" } }, function(tx) return #tx.t.thing end)
    end
    once()
    once()
    local asked, drive = 0, conn.drive
    rawset(conn, "drive", function(...)
      asked = asked + 1
      return drive(...)
    end)
    once()
    rawset(conn, "drive", nil)
    assert.is_true(asked <= 5, asked) -- BEGIN and SET LOCAL are one text, of two results
    db:execute "drop schema path_c cascade"
    db:close()
  end)
end)
