-- SPDX-License-Identifier: MIT
--
-- What a row and a list of rows are: plain tables that know their columns.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local rows_of = require "fastpg.value.rows"

local null = fastpg.null

local has_pairs = pairs(setmetatable({}, { __pairs = function() return "hooked" end })) == "hooked"

local function fails(name, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(name, err.name, tostring(err))
  return tostring(err)
end

describe("rows:", function()
  local db, cat

  setup(function()
    db = pg.db()
    db:execute [[create table cat (id int primary key, name text, weight float8, tags text[], ok boolean, at date);
      insert into cat values (1, 'meow', 6, '{a,b}', true, '2024-01-02'), (2, null, null, null, null, null)]]
    cat = db.t.cat
  end)

  teardown(function() db:close() end)

  it("are plain tables", function()
    local row = cat[1]
    assert.equal("table", type(row))
    assert.equal("meow", row.name)
    local seen = {}
    for k, v in next, row do seen[k] = v end
    assert.equal(6, seen.weight)
    assert.equal(true, seen.ok)
    assert.is_nil(next(cat[2], "id"))
    row.name = "x"
    assert.equal("x", row.name)
    rawset(row, "extra", 1)
    assert.equal(1, row.extra)
  end)

  it("know a NULL from a wrong name", function()
    local row = cat[2]
    assert.is_nil(row.name)
    assert.is_nil(row.weight)
    assert.matches('did you mean "name"', fails("undefined_column", function() return row.nme end))
    assert.is_nil(row[1])
    assert.is_nil(row[true])
    assert.is_nil(row.__anything)
    row.name = "x"
    row.name = nil
    assert.is_nil(row.name)
  end)

  it("are not strict where that is turned off", function()
    local lax = pg.db{ strict = false }
    assert.is_nil(lax.t.cat[1].nme)
    assert.is_nil(lax:first("select 1 as x").y)
    assert.equal("meow", lax.t.cat[1].name)
    lax:close()
  end)

  it("print in column order", function()
    assert.equal("<Record id=1 name='meow' weight=6.0 tags={a,b} ok=true at=2024-01-02>", tostring(cat[1]))
    assert.equal("<Record id=2 name=nil weight=nil tags=nil ok=nil at=nil>", tostring(cat[2]))
    assert.equal("<Record b=1 a='it\\'s'>", tostring(db:first "select 1 as b, 'it''s' as a"))
  end)

  it("go by pairs in column order where Lua has __pairs", function()
    if not has_pairs then
      pending "this Lua's pairs has no hook"
      return
    end
    local keys = {}
    local row = cat[1]
    rawset(row, "zz", 1)
    for k in pairs(row) do keys[#keys + 1] = k end
    assert.same({ "id", "name", "weight", "tags", "ok", "at", "zz" }, keys)
    keys = {}
    for k in pairs(cat[2]) do keys[#keys + 1] = k end
    assert.same({ "id" }, keys)
    keys = {}
    local last = pg.db{ duplicates = "last" }
    for k, v in pairs(last:first "select 1 as a, 2 as b, 3 as a") do keys[#keys + 1] = k .. v end
    last:close()
    assert.equal(2, #keys)
    assert.is_true(table.concat(keys, " "):find("a3", 1, true) ~= nil)
  end)

  it("tell their columns, values and database", function()
    assert.same({ "id", "name", "weight", "tags", "ok", "at" }, fastpg.columns(cat[1]))
    local values = fastpg.values(cat[2])
    assert.equal(2, values[1])
    assert.equal(null, values[2])
    assert.equal(null, values[6])
    assert.equal(db, fastpg.db_of(cat[1]))
    assert.is_nil(fastpg.db_of({}))
    assert.is_nil(fastpg.db_of(nil))
    assert.is_true(rows_of.is_fetched(cat[1]))
    assert.is_false(rows_of.is_fetched({}))
    local columns = fastpg.columns(cat[1])
    columns[1] = "changed"
    assert.equal("id", fastpg.columns(cat[1])[1])
  end)

  it("of a transaction belong to the root", function()
    db:transaction(function(tx) assert.equal(db, fastpg.db_of(tx.t.cat[1])) end)
  end)

  it("of duplicate names keep the last, where that is asked for", function()
    local last = pg.db{ duplicates = "last" }
    local row = last:first "select 1 as a, 2 as b, null as a"
    assert.is_nil(row.a)
    assert.equal(2, row.b)
    assert.equal(3, last:first("select 1 as a, 3 as a").a)
    last:close()
  end)

  it("come in lists that draw a table", function()
    local list = cat{ order_by = "id", select = { "id", "name" } }
    assert.equal(" id | name \n----+------\n  1 | meow\n  2 | \n(2 rows)", tostring(list))
    assert.same({ "id", "name" }, list:columns())
    assert.matches("<table", list:html())
    assert.matches("<table", fastpg.html(list))
    assert.equal(2, #list)
    list:columns()[1] = "changed"
    assert.equal("id", list:columns()[1])
  end)

  it("come in empty lists too", function()
    local list = cat{ where = "false", select = { "id" } }
    assert.equal(0, #list)
    assert.same({ "id" }, list:columns())
    assert.matches("%(0 rows%)", tostring(list))
  end)

  it("share one metatable for each statement", function()
    local list = cat()
    assert.equal(getmetatable(list[1]), getmetatable(list[2]))
    assert.equal(getmetatable(list[1]), getmetatable(cat()[1]))
  end)

  it("of different shapes don't mix", function()
    local one = cat{ select = { "id" } }[1]
    assert.matches("name", fails("undefined_column", function() return one.name end))
    assert.is_nil(cat[2].name)
    db:execute "alter table cat add born date"
    assert.is_nil(cat[1].born)
    db:execute "alter table cat drop born"
    fails("undefined_column", function() return cat[1].born end)
  end)
end)
