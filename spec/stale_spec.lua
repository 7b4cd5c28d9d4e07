-- SPDX-License-Identifier: MIT
--
-- Tables that another session changes: what is remembered of them is doubted by an error or a result that does not fit,
-- looked up again, and the call made once more where nothing was changed.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local table_state = require "fastpg.table.table_state"
local route_of = require("fastpg.pool.route").of

local other -- the other session's connection

local function elsewhere(sql)
  other = other or pg.db{ options = "-c lock_timeout=5s" }
  other:execute(sql)
end

local RESET = [[drop table if exists item, moved cascade; create table item (id int primary key, name text, k int unique);
  insert into item select i, 'n' || i, i from generate_series(1, 3) i]]

for _, size in ipairs{ 0, 100 } do
  describe(("a table changed by another session (statement_cache_size = %d):"):format(size), function()
    local db, t

    before_each(function()
      elsewhere(RESET)
      db = pg.db{ statement_cache_size = size }
      t = db.t.item
      assert.equal("n1", t[1].name)
    end)
    after_each(function() db:close() end)

    -- what each call gives after the change, the first time it is made
    local CALLS = {
      { "by key", function() return t[1].name end, "n1" },
      { "get", function() return t:get(2).name end, "n2" },
      { "has", function() return t:has(3) end, true },
      { "all", function() return #t{ order_by = { "key" } } end, 3 },
      { "a condition", function() return #t{ where = { key = 2 } } end, 1 },
      { "a query", function() return t:where{ key = 1 }:order_by("key"):first().name end, "n1" },
      { "its update", function() return #t:where("true"):order_by("key"):limit(1):update{ name = "x" } end, 1 },
      { "its delete", function() return #t:where("true"):order_by("key"):limit(1):delete() end, 1 },
      { "each", function()
        local n = 0
        t:each({ order_by = { "key" } }, function() n = n + 1 end)
        return n
      end, 3 },
      { "update", function() return t:update{ key = 1, name = "x" }.name end, "x" },
      { "update by key", function() return t:update({ name = "x" }, 1).name end, "x" },
      { "upsert", function() return t:upsert{ key = 1, name = "y" }.name end, "y" },
      { "insert", function() return t:insert{ key = 9, name = "y" }.key end, 9 },
      { "inserts", function() return #t:inserts{ { key = 9 }, { key = 10 } } end, 2 },
      { "updates", function() return #t:updates{ { key = 1, name = "y" } } end, 1 },
      { "upserts", function() return #t:upserts{ { key = 1, name = "y" } } end, 1 },
      { "delete", function() return t:delete(1).name end, "n1" },
      { "copy", function() return t:copy{ { key = 9 } } end, 1 },
      { "groupby", function() return t:groupby("key", "count(*)")[1] end, 1 },
    }

    for _, call in ipairs(CALLS) do
      it("its key is renamed, then " .. call[1], function()
        elsewhere "alter table item rename id to key"
        assert.equal(call[3], call[2]())
        assert.same({ "key" }, t.pks)
        assert.equal("n2", t[2].name)
      end)
    end

    it("another column is its key", function()
      elsewhere "alter table item drop constraint item_pkey; alter table item add primary key (k); alter table item drop id"
      assert.equal("n1", t[1].name)
      assert.same({ "k" }, t.pks)
      assert.equal("z", t:upsert{ k = 1, name = "z" }.name)
    end)

    it("it was made anew with another key (42P10)", function()
      elsewhere "alter table item drop constraint item_pkey; alter table item drop constraint item_k_key; alter table item add primary key (k)"
      assert.equal("z", t:upsert{ id = 5, k = 1, name = "z" }.name)
      assert.same({ "k" }, t.pks)
    end)

    it("it has moved to another schema of the search_path", function()
      elsewhere "create schema if not exists elsewhere; drop table if exists elsewhere.item"
      db:execute "set search_path = elsewhere, public"
      assert.equal("n1", t[1].name)
      elsewhere "alter table item set schema elsewhere"
      assert.equal("n1", t[1].name)
      elsewhere "drop table elsewhere.item"
    end)

    it("a column that was added shows in rows and in t.cols", function()
      assert.equal(3, #t.cols)
      elsewhere "alter table item add extra int default 7"
      assert.equal(7, t[1].extra)
      assert.equal(4, #t.cols)
      assert.equal(8, t:update{ id = 1, extra = 8 }.extra)
      elsewhere "alter table item drop extra, add another text"
      assert.equal(3, #t())
      assert.equal("text", t.cols.another)
      elsewhere "alter table item alter another type int using 1"
      local rows = t:each()
      assert.equal(1, rows().another)
      rows:close()
      assert.equal("integer", t.cols.another)
    end)

    it("where it is the same the error stays, and nothing runs twice", function()
      db:execute "create sequence if not exists calls"
      local before = db:item "select nextval('calls')"
      local ok, err = pcall(t.insert, t, { id = 1, name = fastpg.sql "nextval('calls') || nope" })
      assert.is_false(ok)
      assert.equal("undefined_column", err.name)
      ok, err = pcall(t.where(t, "nope = 1"))
      assert.is_false(ok)
      assert.equal("42703", err.sqlstate)
      assert.equal(before + 1, db:item "select nextval('calls')")
      db:execute "drop sequence calls"
    end)

    it("in a transaction the error is raised, and the next one knows better", function()
      local ok, err = pcall(db.transaction, db, function()
        assert.equal("n1", t[1].name)
        db:execute "select 1"
      end)
      assert.is_true(ok, tostring(err))
      elsewhere "alter table item rename id to key"
      ok, err = pcall(db.transaction, db, function() return t[1] end)
      assert.is_false(ok)
      assert.is_true(fastpg.is(err, "undefined_column") or fastpg.is(err, "0A000"), tostring(err))
      db:transaction(function() assert.equal("n1", t[1].name) end)
    end)
  end)
end

describe("a look-up", function()
  it("that DDL overtakes is not kept", function()
    local pool = pg.pool({}, { max_size = 4 })
    pool:execute(RESET)
    local cat = route_of(pool).catalog
    local before = cat.generation
    -- the DDL ends while the look-up waits: as another coroutine would do it
    local original = route_of(pool).on_connection
    local st = core.table_state(pool.t.item)
    pool:refresh()
    rawset(route_of(pool), "on_connection", function(self, ...)
      rawset(self, "on_connection", nil)
      local list, key = original(self, ...)
      elsewhere "alter table item rename id to key"
      cat:stale()
      return list, key
    end)
    assert.same({ "id" }, table_state.resolve(st).pks) -- what was true when it was asked
    assert.is_true(cat.generation > before)
    assert.same({ "key" }, table_state.resolve(st).pks)
    assert.equal("n1", pool.t.item[1].name)
    pool:close()
  end)
end)

describe("the texts that a relation keeps", function()
  it("are bounded, whatever keys records have", function()
    local db = pg.db()
    local columns = {}
    for i = 1, 14 do columns[i] = ("c%d int"):format(i) end
    db:execute("create table wide (id int primary key, " .. table.concat(columns, ", ") .. ")")
    local rel = table_state.resolve(core.table_state(db.t.wide))
    local function build(i)
      local record = { id = 1 }
      for bit = 1, 14 do
        if math.floor(i / 2 ^ (bit - 1)) % 2 == 1 then record["c" .. bit] = 1 end
      end
      return (rel.core:insert({}, record, nil, nil, false))
    end
    local first = build(5)
    for i = 1, 2000 do build(i) end
    collectgarbage()
    collectgarbage()
    local before = collectgarbage "count"
    for i = 2001, 12000 do build(i) end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 150)
    assert.equal(first, build(5))
    db:execute "drop table wide"
    db:close()
  end)
end)
