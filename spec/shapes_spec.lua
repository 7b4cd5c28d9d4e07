-- SPDX-License-Identifier: MIT
--
-- What is kept by shape: the SQL of a Table, and prepared statements by when they were used last.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

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

describe("SQL by shape:", function()
  local db, thing

  local function statements(pattern)
    return db:item("select count(*)::int from pg_prepared_statements where statement like ?", pattern)
  end

  before_each(function()
    db = db or pg.db()
    db:execute [[drop table if exists thing; create table thing (id int primary key, name text, n int default 7);
      insert into thing select i, 'thing ' || i, i % 3 from generate_series(1, 60) i]]
    thing = db.t.thing
  end)

  it("limits and offsets are parameters of one statement", function()
    for n = 0, 50 do
      assert.equal(n, #thing{ order_by = "id", limit = n })
      local page = ids(db:q("select id from thing order by id limit $1 offset $2", n, 60 - n))
      assert.same(page, ids(thing{ order_by = "id", limit = n, offset = 60 - n }))
      assert.equal(n, #thing:where{ n = 1 }:limit(n)() + math.max(n - 20, 0))
      assert.equal(math.min(n, 20), thing:where{ n = 1 }:limit(n):count())
      assert.equal(n, #thing:where("id > ?", 0):order_by("id"):limit(n)())
    end
    assert.equal(2, statements '%FROM "thing" ORDER BY id LIMIT $1%')
    assert.equal(1, statements 'SELECT * FROM "thing" WHERE "n" = $1 LIMIT $2')
    assert.equal(1, statements 'SELECT * FROM "thing" WHERE id > $1 ORDER BY id LIMIT $2')
    assert.equal(0, statements "%LIMIT _") -- (a number)
  end)

  it("the calls that want one row say so in their text", function()
    assert.equal(3, thing:first("id = ?", 3).id)
    assert.equal(3, thing:selectone("id = ?", 3).id)
    assert.equal(1, statements '%WHERE id = $1 LIMIT 1')
    assert.equal(1, statements '%WHERE id = $1 LIMIT 2')
    assert.equal(4, thing:where("id > ?", 1):order_by("id"):offset(2):first().id)
    assert.is_nil(thing:where("id > ?", 1):limit(0):first())
  end)

  it("a text that is known gives what it gave when it was built, and refuses what was refused", function()
    for _ = 1, 3 do
      assert.same({ 60, 59 }, ids(thing{ order_by = "id desc", limit = 2 }))
      assert.same({ 58 }, ids(thing{ order_by = "id desc", limit = 1, offset = 2 }))
      assert.same({ 60 }, ids(thing{ order_by = "id desc", limit = 1, offset = 0 }))
      assert.same({ 2, 1 }, ids(thing{ order_by = "id desc", offset = 58 }))
      assert.same({}, ids(thing{ limit = 0 }))
      assert.equal(60, #thing{})
      assert.equal(2, thing{ limit = 2, with_pk = true }[2][1])
      fails("invalid_argument", thing, { limit = -1 })
      fails("invalid_argument", thing, { limit = 1.5 })
      fails("invalid_argument", thing, { limit = 0 / 0 })
      fails("invalid_argument", thing, { limit = "2" })
      fails("invalid_argument", thing, { limit = false })
      fails("invalid_argument", thing, { limit = 2, offset = fastpg.null })
      fails("invalid_argument", thing, { limt = 2 })
      fails("invalid_argument", thing, { limit = 2, name = "x" })
      fails("invalid_argument", thing, { limit = 2 }, nil)
      fails("invalid_argument", thing, { limit = 2, order_by = " " })
    end
  end)

  it("conditions by shape: values, NULL and lists are different texts", function()
    thing:insert{ id = 61 }
    for _ = 1, 2 do
      assert.same({ 5 }, ids(thing:where{ id = 5, n = 2 }()))
      assert.same({ 5, 8 }, ids(thing:where{ id = { 5, 8 }, n = 2 }:order_by("id")()))
      assert.same({ 61 }, ids(thing:where{ name = fastpg.null, n = 7 }()))
      assert.same({ 61 }, ids(thing:where("id > ?", 3):where{ name = fastpg.null, n = 7 }()))
      assert.same({ 5 }, ids(thing:where("id > ?", 3):where{ id = { 5, 3 }, n = { 0, 1, 2 } }()))
      assert.same({ 5 }, ids(thing:where{ id = fastpg.sql "2 + 3" }()))
      assert.same({ 6 }, ids(thing:where{ id = fastpg.sql "3 + 3" }()))
      assert.same({}, ids(thing:where{ id = {} }()))
    end
    local message
    for _ = 1, 2 do
      local again = fails("invalid_argument", function() return thing:where("id > ?", 3):where{ name = "x", n = 1.5 }() end)
      assert.truthy(again:find('"n"', 1, true), again)
      assert.equal(message or again, again)
      message = again
    end
  end)

  it("filters set after a text was kept hold for the next call", function()
    assert.equal(60, #thing{ limit = 100 })
    assert.equal(60, #thing{ limit = 100 })
    local scoped = thing:scope{ n = 1 }
    assert.equal(20, #scoped{ limit = 100 })
    assert.equal(20, #scoped{ limit = 100 })
    thing:xtra{ n = 2 }
    assert.equal(20, #thing{ limit = 100 })
    assert.equal(2, thing:insert{ id = 99, n = 1 }.n)
    fails("not_found", thing.update, thing, { id = 1, name = "mine" })
    fails("not_found", thing.delete, thing, 1)
    assert.equal(99, thing:delete(99).id)
    thing:xtra()
    assert.equal(60, #thing{ limit = 100 })
    assert.equal("mine", thing:update{ id = 1, name = "mine" }.name)
  end)

  it("a single row is written as by the careful way", function()
    for i = 1, 2 do
      assert.same({ 70 + i, 7 }, { fastpg.values(thing:insert{ id = 70 + i })[1], thing:get(70 + i).n })
      assert.equal("x", thing:insert({ id = 80 + i }, { name = "x" }).name)
      assert.equal("y", thing:update{ id = 80 + i, name = "y" }.name)
      assert.equal(80 + i, thing:update{ id = 80 + i }.id)
      assert.truthy(fails("not_found", thing.update, thing, { id = 1000, name = "y" }):find("thing[1000]", 1, true))
      fails("invalid_argument", thing.update, thing, { name = "y" })
      fails("invalid_argument", thing.update, thing, { id = fastpg.null, name = "y" })
      fails("undefined_column", thing.insert, thing, { id = 1, nmae = "y" })
      fails("undefined_column", thing.update, thing, { id = 1, nmae = "y" })
      fails("invalid_argument", thing.insert, thing, "x")
      fails("invalid_argument", thing.update, thing, thing{ limit = 1 })
      assert.truthy(fails("invalid_argument", thing.insert, thing, { id = 1.5 }):find("id", 1, true))
      assert.truthy(fails("invalid_argument", thing.update, thing, { name = "z", id = 1.5 }):find("id", 1, true))
    end
    local row = thing[3]
    row.name = nil
    thing:update(row)
    assert.is_nil(thing[3].name)
  end)
end)

describe("a text without arguments:", function()
  it("is looked at once, and heeded each time", function()
    local db = pg.db()
    db:execute "create schema if not exists aside; drop table if exists aside.there; create table aside.there (id int)"
    for _ = 1, 3 do
      assert.equal("SELECT 1", db:execute "select 1")
      assert.equal("SELECT 2", db:execute "select 1; select generate_series(1, 2)")
      fails("invalid_argument", db.execute, db, "select ?")
      fails("invalid_argument", db.execute, db, "select :name")
      fails("feature_not_supported", db.execute, db, "copy nowhere to stdout")
      local _, err = pcall(db.execute, db, "select 1 / 0")
      assert.equal("division_by_zero", err.name)
      assert.equal("select 1 / 0", err.query)
      assert.equal("SELECT 1", db:execute "select '{\"a\": 1}'::jsonb ?? 'a'")
      fails("invalid_transaction_termination", db.transaction, db, function() db:execute "commit" end)
      db:execute "set search_path = aside"
      assert.same({}, db.t.there{ limit = 3 })
      db:execute "reset search_path"
      fails("undefined_table", function() return db.t.there end)
      db:execute "create temp table briefly (id int)"
      assert.equal(0, #db.t.briefly)
      db:execute "drop table briefly"
    end
    db:close()
  end)
end)

describe("prepared statements:", function()
  local function kept(db)
    local list = {}
    for i, row in ipairs(db:q "select statement from pg_prepared_statements where statement ~ '^select .$' order by 1") do
      list[i] = row.statement:match "%w$"
    end
    return table.concat(list)
  end

  it("the one used longest ago goes first, and db:stats tells", function()
    local db = pg.db{ statement_cache_size = 4 }
    local function run(texts)
      for c in texts:gmatch "." do assert.equal(tonumber(c), db:item("select " .. c)) end
    end
    run "123"
    assert.equal("123", kept(db))
    run "4" -- 1 is the oldest
    assert.equal("234", kept(db))
    run "2335" -- 4 is older than both
    assert.equal("235", kept(db))
    run "2678"
    assert.equal("678", kept(db))
    local stats = db:stats()
    assert.equal(4, stats.statements)
    assert.equal(stats.prepared, stats.misses)
    assert.equal(stats.prepared - 4, stats.evicted)
    run "888"
    assert.equal(stats.hits + 3, db:stats().hits)
    assert.equal(stats.misses, db:stats().misses)
    db:close()
  end)

  it("what DDL and DISCARD take away leaves its place to others", function()
    local db = pg.db{ statement_cache_size = 3 }
    db:execute "drop table if exists place; create table place (id int)"
    for _ = 1, 3 do
      db:q "select * from place"
      db:q "select 1"
      db:execute "alter table place add column more int; alter table place drop column more"
      db:q "select 2"
      db:q "select 3"
      assert.equal("23", kept(db))
      db:execute "discard all"
      assert.equal(0, db:stats().statements)
      assert.equal("", kept(db))
      for i = 1, 9 do db:q("select " .. i) end
      assert.equal("89", kept(db))
      assert.equal(3, db:stats().statements)
    end
    db:close()
  end)

  it("of connections that are closed the counts stay", function()
    local db = pg.db()
    db:q "select 1"
    db:q "select 1"
    local stats = db:stats()
    db:close()
    local after = db:stats()
    assert.equal(stats.hits, after.hits)
    assert.equal(stats.misses, after.misses)
    assert.equal(0, after.statements)
  end)
end)
