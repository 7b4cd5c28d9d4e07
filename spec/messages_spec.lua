-- SPDX-License-Identifier: MIT
--
-- What messages say: safe to print whatever is in them, true, and with the place of what is wrong.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()
db:execute [[
  CREATE TABLE cat(id int PRIMARY KEY, name text, weight int, born date, tags int[])]]
local cats = db.t.cat

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "no error was raised")
  assert.equal("table", type(err), tostring(err))
  return err
end

describe("the text of an error is safe on a terminal", function()
  local nasty = {
    "\27[2J", "a\7b", "\0", "\127", "\r", "\194\155", "\194\133", "\226\128\174", "\226\129\166", "\226\128\142", "\216\156",
    "\239\187\191", "\226\128\139", "\255\254", "\192\128", "\237\160\128", "\243\160\129\129", "\194", "\226\128\168",
  }

  local function is_safe(text)
    assert.is_nil(text:find "%c", "a control character in " .. ("%q"):format(text))
    assert.is_true(core.printable(text) == text)
    for _, s in ipairs(nasty) do assert.is_nil(text:find(s, 1, true), ("%q"):format(text)) end
  end

  it("escaped as Lua would write it", function()
    for given, wanted in pairs{
      ["a\27[2J"] = "a\\x1B[2J", ["\226\128\174x"] = "\\u{202E}x", ["\194\155"] = "\\u{009B}", ["\255"] = "\\xFF",
      ["\t\r\n\0"] = "\\t\\r\\n\\x00", ["\226\128"] = "\\xE2\\x80", ["\243\160\129\129"] = "\\u{E0041}",
    } do
      assert.equal(wanted, core.printable(given))
    end
    for _, text in ipairs{ "", "plain", "käse €", "日本語", "👨\226\128\141👩\226\128\141👧", "e\204\129", 'a "b" \\ c' } do
      assert.equal(text, core.printable(text))
    end
  end)

  local ways = {
    ["a table"] = function(s) return db.t["x" .. s] end,
    ["a column of a record"] = function(s) cats:insert{ ["x" .. s] = 1 } end,
    ["a column of a condition"] = function(s) return cats{ where = { ["x" .. s] = 1 } } end,
    ["an option"] = function(s) return cats{ ["x" .. s] = 1 } end,
    ["a method"] = function(s) return db["x" .. s] end,
    ["a field of a row"] = function(s) return db:q("select 1 as a")[1]["x" .. s] end,
    ["a text key"] = function(s) return cats["x" .. s] end,
    ["a database"] = function(s) pg.cluster():connect{ dbname = "x" .. s } end,
    ["an option of connect"] = function(s) fastpg.connect{ ["x" .. s] = "1" } end,
    ["a text of SQL"] = function(s) db:q('select 1 "' .. s) end,
    ["the server's message"] = function(s) db:q("do $$ begin raise exception '%', " .. fastpg.quote_literal("x" .. s) .. "; end $$") end,
    ["a value"] = function(s) db:q("select cast(? as date)", "x" .. s) end,
    ["an error of a program"] = function(s) fastpg.guard(function() cats{ ["x" .. s] = 1 } end) end,
  }
  for what, way in pairs(ways) do
    it("whatever is in " .. what, function()
      for _, s in ipairs(nasty) do
        local ok, err = pcall(way, s)
        assert.is_false(ok, ("%q"):format(s))
        if type(err) == "table" then
          is_safe(tostring(err))
          is_safe("x: " .. err)
        else
          is_safe(err:match "^[^\n]*")
        end
      end
    end)
  end

  it("and the fields keep what was there", function()
    local err = failure(db.q, db, "do $$ begin raise exception 'a\27[2Jb'; end $$")
    assert.equal("a\27[2Jb", err.message)
    err = failure(cats, { ["\226\128\174"] = 1 })
    assert.truthy(err.message:find("\226\128\174", 1, true))
  end)
end)

describe("a value that does not fit names its column", function()
  local function named(column, row, fn, ...)
    local err = failure(fn, ...)
    assert.equal("invalid_argument", err.name, tostring(err))
    assert.equal(column, err.column_name, tostring(err))
    assert.equal(row, err.row, tostring(err))
    if column then assert.truthy(err.message:find('column "' .. column .. '"', 1, true), err.message) end
    if row then assert.truthy(err.message:find("row " .. row .. ", ", 1, true), err.message) end
    return err
  end

  before_each(function() db:execute "TRUNCATE cat; INSERT INTO cat VALUES (1, 'a', 1), (2, 'b', 2)" end)

  it("in insert, update and upsert, the first time and later", function()
    for _ = 1, 2 do
      named("weight", nil, cats.insert, cats, { id = 3, name = "x", weight = 1.5 })
      named("born", nil, cats.insert, cats, { id = 3, weight = 1 }, { born = 5 })
      named("weight", nil, cats.insert, cats, { id = 3, weight = 1.5 }, nil, { on_conflict = "nothing" })
      named("weight", nil, cats.update, cats, { id = 1, name = "x", weight = 1.5 })
      named("name", nil, cats.update, cats, { name = {} }, 1)
      named("id", nil, cats.update, cats, { name = "x" }, 1.5)
      named("id", nil, cats.update, cats, { id = 1.5, name = "x" })
      named("weight", nil, cats.upsert, cats, { id = 1, name = "x", weight = 1.5 })
      named("id", nil, cats.upsert, cats, { id = 1.5, name = "x" })
      named("weight", nil, cats.insert, cats, { id = 3, name = fastpg.sql "upper('x')", weight = 1.5 })
    end
    local err = named("tags", nil, cats.insert, cats, { id = 3, tags = { 1, { 2 }, 1.5 } })
    assert.truthy(err.message:find("($", 1, true), err.message)
  end)

  it("and its row in inserts, updates, upserts and executemany", function()
    named("weight", 2, cats.inserts, cats, { { id = 3, weight = 1 }, { id = 4, weight = 1.5 } })
    named("born", 3, cats.inserts, cats, { { id = 3 }, { id = 4, weight = 1 }, { id = 5, born = true } })
    named("weight", 2, cats.updates, cats, { { id = 1, weight = 1 }, { id = 2, weight = 1.5 } })
    named("weight", 2, cats.upserts, cats, { { id = 1, weight = 1 }, { id = 2, weight = 1.5 } })
    named(nil, 2, db.executemany, db, "insert into cat(id, weight) values (?, ?)", { { 3, 1 }, { 4, 1.5 } })
    named(nil, 3, db.executemany, db, "insert into cat(id) values (:id)", { { id = 3 }, { id = 4 }, { id = 1.5 } })
    assert.equal(2, #cats)
  end)

  it("also where the server objects", function()
    local err = failure(cats.inserts, cats, { { id = 3 }, { id = 4 }, { id = 1 } })
    assert.equal("unique_violation", err.name)
    assert.equal(3, err.row)
    err = failure(db.executemany, db, "insert into cat(id) values (?)", { { 3 }, { 1 } })
    assert.equal("unique_violation", err.name)
    assert.equal(2, err.row)
    err = failure(db.pipeline, db, function(p)
      p:q "select 1"
      p:q "select 1/0"
    end)
    assert.equal("division_by_zero", err.name)
    assert.is_nil(err.row)
  end)

  it("in conditions, keys and filters", function()
    named("id", nil, cats.get, cats, 1.5)
    named("id", nil, cats.get, cats, 2 ^ 40)
    named("id", nil, cats.get, cats, true)
    named("id", nil, function() return cats[1.5] end)
    named("id", nil, cats.delete, cats, 1.5)
    named("weight", nil, cats, { where = { name = "a", weight = 1.5 } })
    named("weight", nil, cats, { where = { id = { 1, 2 }, weight = 1.5 } })
    named("weight", nil, cats.count, cats, { where = { weight = 1.5 } })
    named("weight", nil, cats.delete_where, cats, { weight = 1.5 })
    named("weight", nil, function() return cats:where{ id = 1 }:where{ weight = 1.5 }() end)
    named("weight", nil, function() return cats:where{ id = 1 }:update{ name = "x", weight = 1.5 } end)
    named("id", nil, function() return cats:where{ id = 1.5 }:update{ name = "x", weight = 1 } end)
    named("weight", nil, function() return cats:scope{ weight = 1.5 }:all() end)
    named("weight", nil, function() return cats:scope{ weight = 1.5 }:get(1) end)
    named("weight", nil, function() return cats:scope{ weight = 1.5 }:upsert{ id = 1 } end)
    named("id", nil, function() return cats:scope{ weight = 1 }:get(1.5) end)
    named("id", nil, function() return cats:scope{ weight = 1 }:update({ name = "x" }, 1.5) end)
    for name, key in pairs{ id = 1.5 } do assert.is_nil(cats.pks[key], name) end
    assert.same({ "id" }, { cats.pks[1] })
  end)

  it("and is not taken for another's", function()
    local err = failure(db.q, db, "select ?::int", 1.5)
    assert.is_nil(err.column_name)
    assert.truthy(err.message:find("$1: integer expected", 1, true), err.message)
    err = failure(cats.where(cats, "weight = ?", 1.5))
    assert.is_nil(err.column_name)
    err = failure(db.q, db, "select ?::int", fastpg.args{ 1.5 })
    assert.is_nil(err.column_name)
  end)
end)

describe("a message is true", function()
  it("where there is no transaction to end", function()
    for _, name in ipairs{ "commit", "rollback" } do
      local err = failure(db[name], db)
      assert.equal("no_active_sql_transaction", err.name)
      assert.truthy(err.message:find("there is no transaction here", 1, true), err.message)
      db:transaction(function() assert.truthy(failure(db[name], db).message:find("this transaction", 1, true)) end)
    end
  end)

  it("of where without a condition", function()
    for _, err in ipairs{ failure(cats.where, cats, nil), failure(cats.where, cats) } do
      assert.is_nil(err.message:find("no argument at all", 1, true), err.message)
    end
  end)

  it("of a connection that the server ended", function()
    local lost = pg.db()
    local err = failure(lost.q, lost, "select pg_terminate_backend(pg_backend_pid())")
    assert.equal("connection", err.name)
    assert.equal("57P01", err.sqlstate)
    for _, what in ipairs{ "connection", "admin_shutdown", "57P01", "57", "operator_intervention" } do
      assert.is_true(fastpg.is(err, what), what)
    end
    lost:close()
  end)

  local function says(text, fn, ...)
    local err = failure(fn, ...)
    assert.truthy(err.message:find(text, 1, true), err.message)
    return err
  end

  it("of groups by what is no column", function()
    says('groupby: "cat" has no column "wieght" (did you mean "weight"?)', cats.groupby, cats, "wieght", "count(*)")
    says('groupby: "cat" has no column "nope"', cats.groupby, cats, { "name", "nope" }, "count(*)")
    says("groupby: the list of columns is empty", cats.groupby, cats, {}, "count(*)")
    says("groupby: item 2", cats.groupby, cats, { "name", 7 }, "count(*)")
    local others = pg.db()
    others:execute "CREATE TABLE IF NOT EXISTS dog(id int PRIMARY KEY, name text)"
    says("groupby: ", cats.groupby, cats, others.t.dog.c.name, "count(*)")
    others:execute "DROP TABLE dog"
    others:close()
    says('select: "cat" has no column "wieght"', function() return cats{ select = { "wieght" } } end)
  end)

  it("of a list in the place of a value", function()
    local way = '(one of a list of values is "= any(?)", not "in (?)")'
    says("$1: integer expected, got table " .. way, db.q, db, "select * from cat where id in (?)", { 1, 2 })
    says("$2: integer expected, got table " .. way, db.q, db, "select * from cat where name = :n and id in (:ids)",
      { n = "x", ids = { 1, 2 } })
    says(way, db.q, db, "select * from cat where name in (?)", { "a", "b" })
    says(way, db.q, db, "select * from cat where born in ($1)", { "2024-02-29" })
    says(way, function() return cats("id in (?)", { 1, 2 }) end)
    says(way, function() return cats:where("id in (?)", { 1, 2 }):delete() end)
    says(way, db.q, db, "select * from cat where id in (?)", db:q "select 1 as a")
    assert.equal(0, #cats("id = any(?)", { 101, 102 }))
    for _, other in ipairs{ -- where it is no way out
      failure(db.q, db, "select * from cat where id in (?)", { a = 1 }),
      failure(db.q, db, "select * from cat where id in (?)", true),
      failure(db.q, db, "select * from cat where id = any(?)", { 1, { 2 } }),
      failure(cats.insert, cats, { id = { 1, 2 } }),
      failure(cats.get, cats, { { 1 } }),
    } do
      assert.is_nil(other.message:find("any(?)", 1, true), other.message)
    end
  end)

  it("of overrides in the place of the key", function()
    cats:insert{ id = 77, name = "x", weight = 1 }
    for _, overrides in ipairs{ { name = "y" }, { id = 77, name = "y" }, { weight = 2, tags = {} } } do
      local err = says("overrides are the third, update(record, nil, { … })", cats.update, cats, { id = 77 }, overrides)
      assert.equal("invalid_argument", err.name)
    end
    assert.equal("x", cats[77].name)
    assert.equal("y", cats:update({ name = "y" }, { id = 77 }).name) -- which is a key
    assert.equal("z", cats:update({ id = 77 }, nil, { name = "z" }).name)
    assert.equal("w", cats:update({ name = "w" }, cats[77]).name) -- a row is a key, too
    cats:delete(77)
  end)

  it("of a name with a NUL byte", function()
    assert.truthy(failure(function() return db.t["a\0b"] end).message:find("NUL", 1, true))
  end)
end)
