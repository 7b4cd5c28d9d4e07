-- SPDX-License-Identifier: MIT
--
-- A newcomer's slips: each is an error that names the line it was made in and the way out.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

describe("a slip", function()
  local db, cat

  setup(function()
    db = pg.db()
    db:execute "create table cat (id serial primary key, name text, lives int)"
    cat = db.t.cat
  end)
  teardown(function() db:close() end)

  local slips = {
    { "a dot for a colon on a database", function() local q = db.q; local _ = q("select 1") end, "call it as db:q" },
    { "a dot for a colon on a Table", function() local _ = cat.get(1) end, "call it as t:get" },
    { "a method of Tables on a database", function() local _ = db:insert("cat", {}) end, "tables are db.t.insert" },
    { "a value too few", function() local _ = cat("name = ?") end, "takes 1, got 0" },
    { "a value too many", function() local _ = db:q("select 1", 2) end, "takes 0, got 1" },
    { "a name without a value", function() local _ = db:q("select :x", { y = 1 }) end, "no value for :x" },
    { "a condition among the options", function() local _ = cat{ name = "x" } end, "write where = { name" },
    { "an option misspelt", function() local _ = cat{ limt = 1 } end, 'did you mean "limit"' },
    { "a column misspelt", function() local _ = cat:insert{ nmae = "x" } end, 'did you mean "name"' },
    { "a table misspelt", function() local _ = db.t.cats end, 'did you mean "cat"' },
    { "an update without a key", function() local _ = cat:update{ name = "x" } end, 'key column "id"' },
    { "a text key without braces", function() local _ = cat["meow"] end, 'cat[{"meow"}]' },
    { "a nil where a condition is meant", function() local _ = cat:delete_where(nil) end, "no argument at all means every row" },
    { "an assignment to a Table", function() cat.name = "x" end, "use insert, update or upsert" },
    { "a fraction for an integer", function() local _ = cat:insert{ lives = 1.5 } end, "integer expected, got number 1.5" },
    { "a function as a value", function() local _ = cat:insert{ name = print } end, "got function" },
  }
  for _, slip in ipairs(slips) do
    it(slip[1], function()
      local ok, err = pcall(slip[2])
      assert.is_false(ok)
      local text = tostring(err)
      assert.truthy(text:find(slip[3], 1, true), text)
      local line = debug.getinfo(slip[2], "S").linedefined
      assert.truthy(text:find("slips_spec.lua:" .. line .. ": ", 1, true), text)
      assert.equal("string", type(err.message))
      assert.is_true(#cat == 0 and fastpg.is(err, err.name))
    end)
  end
end)

describe("tables of a schema", function()
  it("are listed and asked for by it", function()
    local db = pg.db()
    db:execute "create schema elsewhere; create table elsewhere.thing (id int); create view elsewhere.seen as select 1 as a"
    assert.equal('"elsewhere"."thing"', tostring(db:tables("elsewhere")[1]))
    assert.equal('"elsewhere"."seen"', tostring(db:views("elsewhere")[1]))
    assert.same({}, db:tables "nope")
    assert.same({}, db:views "nope")
    assert.same({ true, false, false, true }, { db:has("thing", "elsewhere"), db:has("thing", "public"), db:has("thing", "nope"),
      db:has(db:table("thing", "elsewhere")) })
    assert.is_false(pcall(db.has, db, db:table("thing", "elsewhere"), "elsewhere"))
    assert.is_false(pcall(db.columns_info, db, db:table("thing", "elsewhere"), "elsewhere"))
    assert.is_false(pcall(db.tables, db, 1))
    db:execute "drop schema elsewhere cascade"
    db:close()
  end)
end)

-- ---- what is dropped nowhere -------------------------------------------------------------------

describe("nothing slips", function()
  local db, cat

  setup(function()
    db = pg.db()
    db:execute [[
      drop table if exists cat, dog;
      create table cat (id serial primary key, name text, lives int, count int);
      create table dog (id serial primary key, name text);
      create type slip_pair as (x int, y text);
      create type slip_mood as enum ('sad', 'ok')]]
    cat = db.t.cat
  end)
  before_each(function()
    db:execute "truncate cat restart identity"
    cat:inserts{ { name = "a", lives = 3, count = 5 }, { name = "b", lives = 1, count = 5 }, { name = "c", count = 6 } }
  end)
  teardown(function()
    db:execute "drop table cat, dog; drop type slip_pair, slip_mood"
    db:close()
  end)

  -- Raises, with that in its message, at the line of the function; and nothing was changed.
  local function refuses(part, fn)
    local before = tostring(cat:order_by("id")())
    local ok, err = pcall(fn)
    assert.is_false(ok, "line " .. debug.getinfo(fn, "S").linedefined)
    assert.truthy(tostring(err):find(part, 1, true), tostring(err))
    assert.truthy(tostring(err):find("slips_spec.lua:" .. debug.getinfo(fn, "S").linedefined .. ": ", 1, true), tostring(err))
    assert.equal(before, tostring(cat:order_by("id")()))
    return err
  end

  it("in an order", function()
    refuses('"name desc"', function() cat:order_by("lives", "desc"):limit(1):delete() end)
    refuses('"name nulls last"', function() cat:order_by("lives", "nulls last")() end)
    refuses('did you mean "name"', function() cat:order_by("nmae", "id")() end)
    refuses("fastpg.sql", function() cat:order_by("lower(name)", "id")() end)
    refuses("argument 2 is nil", function() cat:order_by("name", nil) end)
    refuses("got number", function() cat:order_by(1) end)
    refuses("item 2", function() cat:order_by{ "name", 2 } end)
    refuses("got nothing", function() cat:order_by() end)
    refuses("empty", function() cat:order_by{} end)
    refuses("another table", function() cat:order_by(db.t.dog.c.name)() end)
    local function ids(q)
      local list = {}
      for i, row in ipairs(q()) do list[i] = row.id end
      return table.concat(list, " ")
    end
    assert.equal("1 2 3", ids(cat:order_by("lives desc nulls last")))
    assert.equal("3 1 2", ids(cat:order_by("lives DESC  NULLS FIRST", "id")))
    assert.equal("2 1 3", ids(cat:order_by{ "lives asc" }))
    assert.equal("3 2 1", ids(cat:order_by{ "count desc", "id desc" }))
    assert.equal("3 2 1", ids(cat:order_by(fastpg.sql "-count", fastpg.sql "-id")))
    assert.equal("3 2 1", ids(cat:order_by(fastpg.sql "lower(name) desc")))
    assert.equal("1 2 3", ids(cat:order_by("lower(name)")))
    assert.equal("1 2 3", ids(cat:order_by(cat.c.name, cat.c.id)))
    assert.equal("3 1 2", ids(cat:where("true"):order_by("count desc", "id")))
    assert.equal("2 1", ids(cat:where("lives is not null"):order_by("lives")))
    assert.equal("1 2 3", ids(setmetatable({}, { __call = function() return cat{ order_by = { "count", "id" } } end })))
  end)

  it("among what is selected", function()
    refuses("another table", function() cat{ select = { db.t.dog.c.name } } end)
    refuses("another table", function() cat{ select = db.t.dog.c.name } end)
    refuses("another table", function() cat:select("id", db.t.dog.c.name)() end)
    refuses("another table", function() cat:groupby({ db.t.dog.c.name }, "count(*)") end)
    refuses("another table", function() cat:upsert({ id = 1 }, nil, { on = { db.t.dog.c.id } }) end)
    refuses("another table", function() cat:copy({ { name = "x" } }, { columns = { db.t.dog.c.name } }) end)
    refuses("is nil", function() cat:select("id", nil) end)
    refuses("item 2 is nil", function() cat{ select = { "id", nil, "name" } } end)
    assert.same({ "id", "name" }, cat:select("id", "name")():columns())
    assert.same({ "id", "upper" }, cat:select("id", fastpg.sql "upper(name)")():columns())
    assert.same({ "name" }, cat{ select = { cat.c.name } }:columns())
    db:transaction(function(tx) assert.same({ "name" }, cat:scope{ id = 1 }:select(tx.t.cat.c.name)():columns()) end)
    refuses("DISTINCT", function() cat{ select = "distinct name", with_pk = true } end)
    refuses("DISTINCT", function() cat{ select = "/* all */ DISTINCT on (name) name", with_pk = true } end)
    assert.equal(3, #cat{ select = "name as distinct_name", with_pk = true })
    assert.equal(3, cat{ select = fastpg.sql "distinct name" } and cat:select(fastpg.sql "distinct name"):count())
  end)

  it("in a group that is called like a column", function()
    assert.same({ [5] = 2, [6] = 1 }, cat:groupby("count", "count(*)"))
    assert.same({ [5] = { 2, 4 }, [6] = { 1, fastpg.null } }, cat:groupby({ "count" }, { "count(*)", fastpg.sql "sum(lives)" }))
    assert.same({ A = 1, B = 1, C = 1 }, cat:groupby(fastpg.sql "upper(name)", "count(*)"))
    refuses("item 2 is nil", function() cat:groupby({ "name", nil, "count" }, "count(*)") end)
  end)

  -- ---- lists ----------------------------------------------------------------------------------

  it("in a list of rows", function()
    local a, b = { id = 11, name = "x" }, { id = 12, name = "y" }
    for _, method in ipairs{ "inserts", "upserts", "updates", "copy" } do
      refuses("item 2 is nil", function() cat[method](cat, { a, nil, b }) end)
      refuses("item 1 is nil", function() cat[method](cat, { nil, a }) end)
      refuses('the key "x" is no position', function() cat[method](cat, { a, b, x = b }) end)
      refuses("the key 0 is no position", function() cat[method](cat, { [0] = a, b }) end)
      refuses("1.5", function() cat[method](cat, { a, [1.5] = b }) end)
      refuses("though n is 3", function() cat[method](cat, { a, b, n = 3 }) end)
      refuses("got one record", function() cat[method](cat, a) end)
      refuses("expected, got", function() cat[method](cat, { a, fastpg.null }) end)
    end
    assert.equal(2, #cat:inserts{ a, b, n = 2 })
    assert.equal(0, cat:copy{})
    refuses("item 2 is nil", function() db:copy_from("copy cat (name) from stdin", { "x\n", nil, "y\n" }) end)
    refuses('"n" is no position', function() db:copy_from("copy cat (name) from stdin", { "x\n", n = "y" }) end)
  end)

  it("in a list of arguments", function()
    local sql = "insert into cat (name, lives) values (?, ?)"
    refuses('the key "a"', function() db:executemany(sql, { a = 1 }) end)
    refuses("item 2 is nil", function() db:executemany(sql, { { "x", 1 }, nil, { "y", 2 } }) end)
    refuses("item 2: too few arguments", function() db:executemany(sql, { { "x", 1 }, { "y" } }) end)
    refuses("item 1: too many arguments", function() db:executemany(sql, { { "x", 1, 2 } }) end)
    refuses("item 1: a list expected, and item 1 is nil", function() db:executemany(sql, { { nil, 1 } }) end)
    refuses('item 1: a list expected, and the key "x"', function() db:executemany(sql, { { "y", 1, x = 2 } }) end)
    assert.equal(3, db:executemany(sql, { { "x", fastpg.null }, fastpg.args({ "y" }, 2), db:arrays("select 'z', 1")[1] }))
    refuses("item 2 is nil", function() fastpg.args{ 1, nil, 3 } end)
    refuses("item 2 is nil", function() cat{ where = "id = ? or lives = ? or id = ?", args = { 1, nil, 3 } } end)
    refuses('"x" is no position', function() cat{ where = "id = ?", args = { 1, x = 2 } } end)
    assert.equal(1, #cat{ where = "id = :x", args = { x = 1, y = 2 } })
    refuses("without holes", function() cat{ where = { id = { 1, nil, 3 } } } end)
    refuses("without holes", function() db:item("select $1::int[]", { 1, nil, 3 }) end)
    refuses("item 2 is nil", function() fastpg.multirange{ fastpg.range(1, 2), nil, fastpg.range(3, 4) } end)
  end)

  it("in a list of names", function()
    refuses("item 2 is nil", function() return db.t[{ "cat", nil, "dog" }] end)
    refuses('"x" is no position', function() return db.t[{ "cat", x = "dog" }] end)
    refuses("item 2 is nil", function() cat:upsert({ id = 1 }, nil, { on = { "id", nil, "name" } }) end)
    refuses("item 2 is nil", function() cat:copy({ { name = "x" } }, { columns = { "name", nil, "id" } }) end)
    local Dog = fastpg.class("SlipDog", { "id int", "name text" })
    refuses("item 2 is nil", function() db:create(Dog, { pk = { "id", nil, "name" } }) end)
    refuses("item 1 is nil", function() db:create(Dog, { column_order = { nil, "name" } }) end)
    refuses("key 3", function() fastpg.class("SlipDog", { "id int", nil, "name text" }) end)
    assert.is_false(db:has "slip_dog")
  end)

  it("in a key", function()
    refuses('the key is id, got "x" in it', function() cat:get{ id = 1, x = 2 } end)
    refuses("item 2 is nil", function() cat:delete{ 1, nil, 3 } end)
    refuses('"x" is no position', function() return cat[{ 1, x = 2 }] end)
    assert.equal("a", cat[{ id = 1 }].name)
    assert.equal("a", cat[{ 1 }].name)
    assert.equal("a", cat[cat:get(1)].name)
  end)

  -- ---- records --------------------------------------------------------------------------------

  it("in a record: a row or a list under a name that is no column", function()
    local row, list = db:first "select 1 as a", db:q "select 1 as a"
    for _, value in ipairs{ row, list, cat:get(1), cat() } do
      refuses('no column "hoem"', function() cat:insert{ name = "x", hoem = value } end)
      refuses('no column "hoem"', function() cat:update{ id = 1, hoem = value } end)
      refuses('no column "hoem"', function() cat:upsert{ id = 1, hoem = value } end)
      refuses('no column "hoem"', function() cat:insert({ name = "x" }, { hoem = value }) end)
      refuses('no column "hoem"', function() cat:inserts{ { name = "x" }, { hoem = value } } end)
      refuses('no column "hoem"', function() cat:copy{ { name = "x" }, { hoem = value } } end)
      refuses('no column "hoem"', function() cat:where("true"):update{ hoem = value } end)
    end
    local r = cat:get(1)
    r.nmae = row
    refuses('did you mean "name"', function() cat:update(r) end)
  end)

  it("and what was read with a row stays where it is", function()
    local rows = require "fastpg.value.rows"
    local r = cat:get(1)
    local marked = rows.metatable(getmetatable(r).shape, { origin = getmetatable(r).origin, related = { dogs = true } })
    setmetatable(r, marked)
    r.dogs, r.name = db:q "select 1 as a", "new"
    assert.equal("new", cat:update(r).name)
    r.id = 50
    assert.equal(1, cat:copy{ r })
    r.id = 51
    assert.equal(51, cat:insert(r).id)
    r.cats = r.dogs
    refuses('no column "cats"', function() cat:update(r) end)
  end)

  -- ---- two columns of one name ----------------------------------------------------------------

  it("of two columns of one name", function()
    local sql = "select 1 as a, 2 as a, 3 as b"
    local returning = "insert into cat (name) values ('x') returning id, id"
    for _, text in ipairs{ sql, returning } do
      for _, method in ipairs{ "q", "fetch", "first", "fetchrow", "qone" } do
        local err = refuses("several columns are called", function() db[method](db, text) end)
        assert.is_true(fastpg.is(err, "duplicate_column") and fastpg.is(err, "42701"))
        refuses("several columns", function() db:transaction(function(tx) tx[method](tx, text) end) end)
      end
      refuses("several columns", function() for _ in db:each(text) do error "a row" end end)
      refuses("several columns", function() db:each(text, function() error "a row" end) end)
      refuses("several columns", function() db:transaction(function() for _ in db:each(text) do error "a row" end end) end)
      refuses("several columns", function() db:prepare(text)() end)
      refuses("several columns", function() db:prepare(text):first() end)
      for _, method in ipairs{ "q", "first" } do
        refuses("several columns", function() db:pipeline(function(p)
          p:execute "insert into cat (name) values ('y')"
          p[method](p, text)
        end) end)
      end
    end
    refuses("several columns", function() cat{ select = "id, id" } end)
    refuses("several columns", function() cat{ select = { "id", "id" }, with_pk = true } end)
    refuses("several columns", function() cat:select("id", "id"):first() end)
    refuses("several columns", function() cat:select("id", "id"):one() end)
    assert.equal(2, db:arrays(sql)[1][2])
    assert.equal("SELECT 1", db:execute(sql .. " where $1", true))
    assert.equal(1, db:fetchval(sql))
    assert.equal(1, db:executemany(returning:gsub("'x'", "?"), { { "x" } }))
    assert.same({ "SELECT 1", n = 1 }, db:pipeline(function(p) p:execute(sql) end))
  end)

  it("of such columns with and without a cache, and where the last is to win", function()
    for _, size in ipairs{ 0, 1, 100 } do
      local other = pg.db{ statement_cache_size = size }
      for _ = 1, 3 do
        assert.is_false(pcall(other.q, other, "select 1 as a, 2 as a"))
        assert.equal(3, other:item "select 3")
        other:transaction(function(tx)
          assert.is_false(pcall(tx.first, tx, "select 1 as a, 2 as a"))
          assert.equal(3, tx:item "select 3")
        end)
      end
      other:close()
      local last = pg.db{ statement_cache_size = size, duplicates = "last" }
      assert.equal(2, last:first("select 1 as a, 2 as a").a)
      assert.is_nil(last:q("select 1 as a, null as a")[1].a)
      for row in last:each "select 1 as a, 2 as a" do assert.equal(2, row.a) end
      assert.equal(2, last:pipeline(function(p) p:first "select 1 as a, 2 as a" end)[1].a)
      last:close()
    end
    assert.is_false(pcall(pg.db, { duplicates = "first" }))
  end)

  -- ---- the rest -------------------------------------------------------------------------------

  it("in a text that is executed without arguments", function()
    refuses("takes 1, got 0", function() db:execute "select ?" end)
    refuses("takes 2, got 0", function() db:execute "update cat set name = ? where id = ?" end)
    refuses("no value for :name", function() db:execute "update cat set name = :name" end)
    assert.equal("SELECT 1", db:execute [[select '{"a":1}'::jsonb ?? 'a']])
    assert.equal("SELECT 1", db:execute [[select 1; select '{"a":1}'::jsonb ? 'a']])
    assert.equal("SELECT 1", db:execute [==[select '?', '??', ':x', $$ ? :y $$, (array[1,2])[1:2]]==])
    assert.equal("PREPARE", db:execute "prepare slip as select $1::int")
    db:execute "deallocate slip"
  end)

  it("when a codec has one function only", function()
    local other = pg.db()
    other:execute [[create table slip_codec (id serial primary key, doc jsonb, docs jsonb[], p slip_pair, ps slip_pair[], n numeric,
      m slip_mood)]]
    local t = other.t.slip_codec
    for _, nothing in ipairs{ {}, { schema = "public" } } do
      local ok, err = pcall(other.set_type_codec, other, "jsonb", nothing)
      assert.is_false(ok)
      assert.truthy(err.message:find("encode or decode expected", 1, true), err.message)
    end
    other:set_type_codec("jsonb", { decode = function(s) return "J" .. s end })
    local row = t:insert{ doc = { a = { 1, 2 } }, docs = { { a = 1 }, { 2 } } }
    assert.same({ 'J{"a": [1, 2]}', 'J{"a": 1}', "J[2]" }, { row.doc, row.docs[1], row.docs[2] })
    other:set_type_codec("slip_pair", { decode = function(s) return "P" .. s end })
    row = t:insert{ p = { x = 1, y = "a b" }, ps = { { x = 2, y = "," } } }
    assert.same({ 'P(1,"a b")', 'P(2,",")' }, { row.p, row.ps[1] })
    other:set_type_codec("slip_pair", { encode = function(v) return "(" .. v .. ",e)" end })
    row = t:insert{ p = 5, ps = { 6 } }
    assert.same({ 5, "e", 6 }, { row.p.x, row.p.y, row.ps[1].x })
    other:set_type_codec("slip_pair", { encode = function(v) return "(" .. v .. ",e)" end, decode = function(s) return s end })
    assert.equal("(5,e)", t:insert{ p = 5 }.p)
    other:set_type_codec("slip_mood", { decode = function(s) return s:upper() end })
    assert.equal("OK", t:insert{ m = "ok" }.m)
    other:set_type_codec("numeric", { encode = function(v) return tostring(v) .. "0" end })
    assert.equal("1.50", tostring(t:insert{ n = 1.5 }.n))
    assert.equal("2.50", tostring(other:item("select $1::numeric[]", { 2.5 })[1]))
    other:set_type_codec("numeric", { decode = function(s) return "N" .. s end })
    assert.equal("N1.5", t:insert{ n = fastpg.numeric "1.5" }.n)
    assert.equal(2, t:copy{ { n = 1 }, { n = fastpg.numeric "2.25" } })
    assert.equal("N2.25", other:item "select max(n) from slip_codec")
    other:execute "drop table slip_codec"
    other:close()
  end)

  it("when values are concatenated", function()
    local values = {
      numeric = "1.50", date = "2024-02-29", time = "10:20:30", timetz = "10:20:30+01", timestamp = "2024-02-29 10:20:30",
      timestamptz = "2024-02-29 10:20:30+00", interval = "1 day", range = "[1,2)",
    }
    for kind, text in pairs(values) do
      local v = fastpg[kind](text)
      assert.equal("on " .. text .. "!", "on " .. v .. "!")
      assert.equal(text .. text, v .. v)
      assert.equal("1" .. text .. "2", 1 .. v .. 2)
      assert.equal(text .. "1.50", v .. fastpg.numeric "1.50")
      assert.equal('"cat"' .. text, cat .. v)
      assert.equal(text .. '"cat"', v .. cat)
      assert.is_false(pcall(function() return v .. nil end))
      assert.is_false(pcall(function() return {} .. v end))
      assert.is_false(pcall(function() return v .. true end))
    end
    assert.equal("x{[1,2)}", "x" .. fastpg.multirange{ fastpg.range(1, 2) })
    assert.is_false(pcall(function() return "x" .. fastpg.sql "a" end))
  end)

  it("of an empty name, or what is none", function()
    refuses("empty", function() cat:select("")() end)
    refuses("empty", function() cat:order_by(" ")() end)
    refuses("empty", function() local _ = db:table("cat", "") end)
    refuses("empty", function() local _ = db:has("cat", "") end)
    refuses("empty", function() local _ = db:tables "" end)
    refuses("got nil", function() local _ = cat.c:has() end)
    refuses("got number", function() local _ = cat.c:has(1) end)
    refuses("got number", function() db:unlisten("slips", 1) end)
    refuses("fastpg.guard: a function expected", function() fastpg.guard(1) end)
  end)

  it("when a list of rows, or a value, is taken for something else", function()
    local rows = cat()
    refuses("rows[1].name", function() return rows.name end)
    refuses('did you mean "columns"', function() return rows.colums end)
    refuses("no", function() return db:arrays("select 1").colums end)
    assert.is_nil(rows[10])
    assert.is_nil(rows.__index)
    refuses('did you mean "null"', function() cat:delete_where{ id = { 1, 2 }, name = fastpg.Null } end)
    refuses("call it as rows:html", function() rows.html() end)
  end)
end)
