-- SPDX-License-Identifier: MIT
--
-- executemany: items that are plain lists are sent and read by loops in C, all others one by one in Lua.  Both give the
-- same, whatever the values, and wherever something goes wrong.

local fastpg = require "fastpg"
local route_of = require("fastpg.pool.route").of
local pg = require "spec.support.pg"

local db
setup(function()
  db = pg.db()
  db:execute "create table batch (id int primary key, name text); create table plain (id int, name text)"
end)
before_each(function() db:execute "truncate batch, plain" end)

local INSERT = "insert into batch values ($1, $2)"

local function items(n, careful_at)
  local list = {}
  for i = 1, n do
    list[i] = i == careful_at and fastpg.args({ i, "item" .. i }, 2) or { i, "item" .. i }
  end
  return list
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function count() return db:item "select count(*)::int from batch" end

-- The connection is as if nothing had happened.
local function works(expected)
  assert.equal(expected or 0, count())
  local c = route_of(db).pool.idle[1].c
  assert.equal("idle", c:transaction_status())
  assert.is_false(c:busy())
end

describe("executemany", function()
  it("gives the number of rows, whichever way an item goes", function()
    assert.equal(1000, db:executemany(INSERT, items(1000)))
    assert.equal(1000, db:executemany("update batch set name = $2 where id = $1", items(1000, 300)))
    assert.equal(7, db:executemany("delete from batch where id between $1 and $2", { { 1, 5 }, { 6, 7 }, { 2000, 2001 } }))
    assert.equal(993, db:executemany("select * from batch where id > $1", { { 0 } }))
    works(993)
  end)

  it("takes proxies for lists, and lists with n", function()
    assert.equal(2, db:executemany(INSERT, setmetatable({}, { __index = function(_, i) return items(2)[i] end })))
    assert.equal(2, db:executemany(INSERT, { { 3, "x", n = 2 }, setmetatable({}, { __index = { 4, "y" } }) }))
    works(4)
  end)

  it("refuses an item that is no list of its arguments, wherever it is", function()
    local bad = {
      ["item 300: a table of arguments expected, got string"] = "x",
      ["item 300: too few arguments"] = { 1 },
      ["item 300: too many arguments"] = { 1, "x", 2 },
      ["item 300: a list expected, and item 1 is nil"] = { nil, "x" },
      ['item 300: a list expected, and the key "name" is no position'] = { 1, "x", name = "y" },
      ["item 300: a list expected, and the key 1.5 is no position"] = { 1, "x", [1.5] = 1 },
    }
    for message, item in pairs(bad) do
      local list = items(1000)
      list[300] = item
      local err = failure(db.executemany, db, INSERT, list)
      assert.equal("invalid_argument", err.name)
      assert.truthy(err.message:find(message, 1, true), err.message)
      works()
    end
  end)

  it("names the item whose value can't be encoded", function()
    for _, at in ipairs{ 1, 64, 65, 256, 257, 999 } do
      for _, careful in ipairs{ false, at - 1 } do
        local list = items(1000, careful)
        list[at][1] = 1.5
        local err = failure(db.executemany, db, INSERT, list)
        assert.equal(at, err.row)
        assert.equal(("row %d, $1: integer expected, got number 1.5"):format(at), err.message)
        works()
      end
    end
  end)

  it("names the item that the server refuses, and undoes all", function()
    for _, at in ipairs{ 2, 65, 257, 700, 1000 } do
      local list = items(1000)
      list[at][1] = 1
      local err = failure(db.executemany, db, INSERT, list)
      assert.equal("unique_violation", err.name)
      assert.equal(at, err.row)
      works()
      db:transaction(function(tx)
        tx:execute "insert into batch values (-1, 'before')"
        assert.equal(at, failure(tx.executemany, tx, INSERT, list).row)
        assert.equal(1, count())
        assert.equal(10, tx:executemany(INSERT, items(10)))
        tx:execute "delete from batch"
      end)
    end
  end)

  it("tells of what happens to the session", function()
    assert.equal(3, db:executemany("select set_config('application_name', $1, false)", { { "a" }, { "b" }, { "c" } }))
    assert.equal("c", db:item "show application_name")
    db:executemany("create temp table if not exists one_of_many (a int)", { {}, {} })
    assert.equal(2, db:executemany("insert into one_of_many values ($1)", { { 1 }, { 2 } }))
    db:execute "drop table one_of_many"
  end)

  it("reads while it sends: neither side waits for the other with full buffers", function()
    local long = ("x"):rep(20000)
    local list = {}
    for i = 1, 300 do list[i] = { i, long } end
    assert.equal(300, db:executemany(INSERT .. " returning name, name || name", list))
    works(300)
  end)

  it("is an error of the batch where the server is lost", function()
    local doomed = pg.db()
    local list = items(3000)
    list[1500][2] = "die"
    db:execute [[create function die() returns trigger language plpgsql as
      'begin if new.name = ''die'' then perform pg_terminate_backend(pg_backend_pid()); end if; return new; end';
      create trigger die before insert on batch for each row execute function die()]]
    assert.is_true(fastpg.is(failure(doomed.executemany, doomed, INSERT, list), "connection"))
    assert.equal(1, doomed:item "select 1")
    doomed:close()
    db:execute "drop function die cascade"
    works()
  end)
end)

describe("executemany under a loop", function()
  local one
  setup(function() one = pg.pool({ loop = "step" }, { max_size = 2 }) end)
  teardown(function() one:close() end)

  it("lets others go on", function()
    local turns, over = 0, false
    local done
    fastpg.run(function()
      done = one:executemany("select $1::int", (function()
        local list = {}
        for i = 1, 30000 do list[i] = { i } end
        return list
      end)())
      over = true
    end, function()
      while not over do
        turns = turns + 1
        fastpg.sleep(0)
      end
    end)
    assert.equal(30000, done)
    assert.is_true(turns > 2)
  end)

  it("ends where its task is canceled", function()
    local list = {}
    for i = 1, 1000 do list[i] = { 0.01 } end
    local err
    fastpg.run(function()
      local task = fastpg.spawn(function() one:executemany("select pg_sleep($1)", list) end)
      fastpg.sleep(0.1)
      task:cancel()
      local ok
      ok, err = pcall(task.wait, task)
      assert.is_false(ok)
      assert.equal(1, one:item "select 1")
    end)
    assert.is_true(fastpg.is(err, "canceled"), tostring(err))
  end)
end)

-- ---- every type -----------------------------------------------------------------------------

describe("a value is the same, whichever way it goes:", function()
  setup(function()
    db:execute [[create type mood as enum ('happy', 'sad', 'so "so"'); create domain positive as integer check (value > 0);
      create type pair as (a integer, b text)]]
  end)
  teardown(function() db:execute "reset all; drop table if exists v; drop type mood, pair; drop domain positive" end)

  local groups = dofile "spec/types/values.lua"
  local names = {}
  for name, group in pairs(groups) do
    if not group.extension then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local group = groups[name]
    it(table.concat(group.types, ", "), function()
      db:execute(group.settings and group.settings[#group.settings] or "reset all")
      for _, typ in ipairs(group.types) do
        db:execute(("drop table if exists v; create table v (n int, way int, v %s)"):format(typ))
        local fast, careful = {}, {}
        for i, row in ipairs(group.rows) do
          local value = db:item(("select (%s)::%s"):format(row[1], typ))
          if value == nil then value = fastpg.null end
          if typ ~= "tsquery" or #value < 2000 then -- which no table can hold
            fast[#fast + 1] = { i, 1, value }
            careful[#careful + 1] = fastpg.args({ i, 2, value }, 3)
          end
        end
        local sql = "insert into v values ($1, $2, $3)"
        assert.equal(#fast, db:executemany(sql, fast))
        assert.equal(#fast, db:executemany(sql, careful))
        assert.equal(0, db:item [[select count(*)::int from v a join v b using (n)
          where a.way = 1 and b.way = 2 and a.v::text is distinct from b.v::text]])
      end
    end)
  end
end)
