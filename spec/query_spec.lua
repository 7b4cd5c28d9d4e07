-- SPDX-License-Identifier: MIT
--
-- What artist:where(…) gives: immutable, nothing runs before it is called.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null, sql = fastpg.null, fastpg.sql

local function fails(name, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(name, err.name, tostring(err))
  return tostring(err)
end

local function ids(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = row.id end
  return list
end

describe("a query:", function()
  local db, cat

  before_each(function()
    db = db or pg.db()
    db:execute [[drop table if exists cat; drop table if exists pair; drop table if exists plain;
      create table cat (id int primary key, name text, weight float8, uid int);
      insert into cat values (1, 'a', 1, 1), (2, 'b', 2, 1), (3, 'c', 3, 2), (4, 'd', 4, 2), (5, null, null, 2);
      create table pair (a int, b int, n int, primary key (b, a)); insert into pair values (1, 1, 10), (1, 2, 20), (2, 1, 30);
      create table plain (n int); insert into plain values (1), (2)]]
    cat = db.t.cat
  end)

  teardown(function() db:close() end)

  it("runs when it is called", function()
    local q = cat:where("weight > ?", 1):order_by("id desc"):limit(2)
    cat:insert{ id = 9, weight = 9 }
    assert.same({ 9, 4 }, ids(q()))
    assert.same({ 9, 4 }, ids(q:all()))
    assert.equal(9, q:first().id)
  end)

  it("is immutable", function()
    local q = cat:where("uid = ?", 2)
    local limited = q:limit(1)
    assert.equal(3, #q())
    assert.equal(1, #limited())
    assert.equal(2, #q:where("weight > ?", 0)())
    assert.equal(3, #q())
    local map, list, order = { uid = 1, id = { 1, 2 } }, { "id" }, { "id desc" }
    local kept = cat:where(map):select(list):order_by(order)
    map.uid, map.id[1], list[1], order[1] = 2, 3, "name", "id"
    assert.same({ 2, 1 }, ids(kept()))
    assert.same({ "id" }, kept():columns())
  end)

  it("ands its conditions", function()
    assert.same({ 4 }, ids(cat:where("uid = ?", 2):where("weight > ?", 3)()))
    assert.same({ 3 }, ids(cat:where{ uid = 2 }:where("name = :n or name = :m", { n = "c", m = "a" }):where("id < $1", 9)()))
    assert.same({ 1 }, ids(cat:where("id = 1 or id = 3"):where("uid = 1 or false")()))
    assert.same({ 5 }, ids(cat:where{ name = null }:where{ id = { 4, 5 } }()))
    assert.equal(0, cat:where("id = ?", 1):where("id = ?", 2):count())
    assert.equal(1, cat:where("id = $1 and uid = $2", 1, 1):where("weight = $1", 1):count())
  end)

  it("may begin with any part", function()
    assert.same({ 5, 4, 3, 2, 1 }, ids(cat:order_by("id desc")()))
    assert.same({ 1, 2 }, ids(cat:limit(2):order_by{ "id" }()))
    assert.same({ 4, 5 }, ids(cat:offset(3):order_by("id")()))
    assert.same({ "name" }, cat:select{ "name" }():columns())
    assert.same({ "x" }, cat:select("id + 1 as x"):limit(1)():columns())
    assert.same({}, cat:limit(0)())
  end)

  it("gives first and one", function()
    assert.equal(1, cat:order_by("id"):first().id)
    assert.is_nil(cat:where("false"):first())
    assert.equal(2, cat:order_by("id"):offset(1):first().id)
    assert.equal(3, cat:where{ id = 3 }:one().id)
    fails("not_found", function() return cat:where("false"):one() end)
    fails("not_unique", function() return cat:where("true"):one() end)
    assert.equal(1, cat:order_by("id"):limit(1):one().id)
  end)

  it("counts what it gives", function()
    assert.equal(5, cat:order_by("id"):count())
    assert.equal(2, cat:limit(2):count())
    assert.equal(1, cat:offset(4):count())
    assert.equal(0, cat:limit(0):count())
    assert.equal(3, cat:where("uid = ?", 2):count())
    assert.equal(2, cat:where("uid = ?", 2):limit(2):count())
    assert.equal(2, cat:select("distinct uid"):count())
    assert.equal(2, #cat:select("distinct uid")())
    assert.equal(5, cat:select{ "uid" }:count())
  end)

  it("tells whether there is any", function()
    assert.is_true(cat:where("uid = ?", 2):exists())
    assert.is_false(cat:where("uid = ?", 9):exists())
    assert.is_false(cat:limit(0):exists())
    assert.is_false(cat:offset(5):exists())
    assert.is_true(cat:order_by("id"):offset(4):exists())
  end)

  it("is read one row after the other", function()
    local seen = {}
    cat:where("uid = ?", 1):order_by("id"):each(function(row) seen[#seen + 1] = row.id end)
    assert.same({ 1, 2 }, seen)
    db:transaction(function()
      for row in cat:order_by("id"):limit(3):each() do seen[#seen + 1] = row.id end
    end)
    assert.same({ 1, 2, 1, 2, 3 }, seen)
  end)

  it("updates its rows", function()
    local rows = cat:where("uid = ?", 2):where("weight > ?", 3):update{ name = "x", weight = sql "weight + 1" }
    assert.equal(1, #rows)
    assert.same({ 4, "x", 5 }, { rows[1].id, rows[1].name, rows[1].weight })
    assert.is_nil(cat:where{ id = 1 }:update{ name = null }[1].name)
    assert.equal(5, #cat:order_by("id"):update{ uid = 7 })
    assert.equal(0, #cat:where("false"):update{ uid = 8 })
    -- the values come first among the arguments, the conditions' behind them
    assert.equal("y", cat:where("id = ? and uid = :u", 2, { u = 7 }):where("weight = $1", 2):update{ name = "y", uid = 1 }[1].name)
    fails("invalid_argument", function() cat:where("true"):update{} end)
    fails("invalid_argument", function() cat:where("true"):update() end)
    fails("undefined_column", function() cat:where("true"):update{ nme = 1 } end)
    fails("invalid_argument", function() cat:where("true"):select("id"):update{ uid = 1 } end)
  end)

  it("updates and deletes limited rows by key", function()
    assert.equal(2, #cat:order_by("id desc"):limit(2):update{ name = "z" })
    assert.equal(2, cat:count("name = 'z'"))
    assert.equal(2, cat:count("id in (4, 5) and name = 'z'"))
    assert.equal(1, #cat:where("uid = ?", 2):order_by("id"):offset(1):limit(1):update{ name = "o" })
    assert.equal("o", cat[4].name)
    assert.same({ 1 }, ids(cat:where("uid = ?", 1):order_by("id"):limit(1):delete()))
    assert.equal(0, #cat:limit(0):delete())
    assert.equal(0, #cat:limit(0):update{ name = "never" })
    assert.equal(3, #cat:order_by("id"):offset(1):delete())
    assert.equal(1, #cat)
    local pair = db.t.pair
    assert.equal(30, pair:order_by("n desc"):limit(1):update{ n = sql "n" }[1].n)
    assert.equal(10, pair:order_by("n"):limit(1):delete()[1].n)
    assert.equal(2, #pair)
    assert.matches("primary key", fails("invalid_argument", function() db.t.plain:limit(1):delete() end))
    assert.matches("primary key", fails("invalid_argument", function() db.t.plain:limit(1):update{ n = 1 } end))
  end)

  it("deletes its rows", function()
    assert.same({ 3 }, ids(cat:where{ id = 3 }:delete()))
    assert.equal(0, #cat:where{ id = 3 }:delete())
    assert.equal(4, #cat:order_by("id"):delete())
    fails("invalid_argument", function() cat:select("id"):delete() end)
  end)

  it("explains", function()
    local plan = cat:where("id = ?", 1):explain()
    assert.matches("cat", plan)
    assert.matches("id = 1", plan)
    fails("undefined_column", function() return cat:where("nme = 1"):explain() end)
  end)

  it("shows its SQL", function()
    assert.equal('SELECT * FROM "cat" WHERE uid = $1 ORDER BY id LIMIT 3', tostring(cat:where("uid = ?", 1):order_by("id"):limit(3)))
    assert.equal('SELECT * FROM "cat" WHERE (uid = $1) AND (id > $2) OFFSET $3', tostring(cat:where("uid = ?", 1):where("id > ?", 1):offset(2)))
    assert.equal('SELECT "id", "name" FROM "cat" WHERE "id" = ANY($1) AND "uid" IS NULL',
      tostring(cat:where{ id = { 1 }, uid = null }:select{ "id", "name" }))
    assert.equal('SELECT * FROM "cat" WHERE (uid = $1) AND "weight" = $2', tostring(cat:scope{ weight = 1 }:where("uid = ?", 1)))
    assert.equal('SELECT * FROM "cat" LIMIT 0', tostring(cat:limit(0)))
  end)

  it("refuses what it can't read", function()
    fails("invalid_argument", function() return cat:where() end)
    fails("invalid_argument", function() return cat:where(nil) end)
    fails("invalid_argument", function() return cat:where{} end)
    fails("invalid_argument", function() return cat:where("") end)
    fails("invalid_argument", function() return cat:where(1) end)
    fails("invalid_argument", function() return cat:where({ id = 1 }, 2) end)
    fails("invalid_argument", function() return cat:limit(nil) end)
    fails("invalid_argument", function() return cat:limit() end)
    fails("invalid_argument", function() return cat:limit(-1) end)
    fails("invalid_argument", function() return cat:offset("1") end)
    fails("invalid_argument", function() return cat:select(nil) end)
    fails("invalid_argument", function() return cat:order_by(nil) end)
    fails("invalid_argument", function() return cat:order_by({})() end)
    fails("undefined_column", function() return cat:order_by({ "nme" })() end)
    fails("undefined_column", function() return cat:where{ nme = 1 }() end)
    fails("invalid_argument", function() return cat:where("id = ?")() end)
  end)

  it("belongs to its transaction", function()
    pcall(db.transaction, db, function(tx)
      assert.equal(1, #tx.t.cat:where{ id = 1 }:delete())
      assert.equal(4, cat:order_by("id"):count())
      error("back")
    end)
    assert.equal(5, #cat)
  end)
end)
