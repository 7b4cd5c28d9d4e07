-- SPDX-License-Identifier: MIT
--
-- COPY: t:copy, db:copy_from, db:copy_to.

local core = require "fastpg.core"
local route_of = require("fastpg.pool.route").of
local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db

local function fresh()
  db:execute [[
    drop table if exists cat, vault, doc, big;
    create table cat (id int8 primary key, name text, weight float8 default 9, born date, tags text[]);
    create table vault (id serial primary key, tenant int not null, secret text);
    create table doc (id int, body text);
    create table big (n int8, a int, b float8, t text)]]
end

local function fails(name, pattern, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(fastpg.is(err, name), tostring(err))
  if pattern then assert.truthy(err.message:find(pattern, 1, true), err.message) end
  return err
end

-- The connection is as if nothing had happened.
local function works(count)
  assert.equal(1, db:item "select 1")
  assert.equal(count or 0, db:item "select count(*)::int from cat")
  assert.equal("idle", route_of(db).pool.idle[1].c:transaction_status())
end

local function iterator(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

setup(function() db = pg.db() end)
before_each(fresh)

describe("t:copy", function()
  it("writes a list, and what a row lacks is NULL", function()
    assert.equal(3, db.t.cat:copy{
      { id = 1, name = "a\tb\\n\n", weight = 1.5 }, { id = 2, born = fastpg.date(2024, 2, 29) },
      { id = 3, name = "", weight = fastpg.null, tags = { "x", fastpg.null, 'y"' } } })
    local r = db.t.cat{ order_by = "id" }
    assert.equal("<Record id=1 name='a\\tb\\\\n\\n' weight=1.5 born=nil tags=nil>", tostring(r[1]))
    assert.equal("2024-02-29", tostring(r[2].born))
    assert.is_nil(r[2].weight)
    assert.equal("", r[3].name)
    assert.same({ "x", fastpg.null, 'y"' }, { r[3].tags[1], r[3].tags[2], r[3].tags[3] })
  end)

  it("leaves columns that no row has to their defaults", function()
    assert.equal(2, db.t.cat:copy{ { id = 1 }, { id = 2, name = "x" } })
    assert.equal(9, db.t.cat[1].weight)
    assert.equal(2, db.t.cat:copy(iterator{ { id = 3, weight = 1 }, { id = 4 } }))
    assert.is_nil(db.t.cat[4].weight)
  end)

  it("writes what is plain and what is not, row by row as it comes", function()
    db:execute "drop table if exists many; create table many (i int, a int2, b int4, c int8, d oid, e float8, f text, g bytea)"
    local ints = { 0, 1, -1, 32767, -32768, 255, 256, -255 }
    local list = {}
    for i = 1, 3000 do
      local k = ints[i % #ints + 1]
      list[i] = { i = i, a = k, b = k * 65535, c = k * 2 ^ 37 + i, d = k < 0 and 2 ^ 32 + k or k, e = k / 3,
        f = ("é%d "):format(i):rep(i % 9), g = "\0\255" .. i }
      if i % 50 == 0 then list[i].b = nil end
      if i % 70 == 0 then list[i].f = fastpg.null end
      if i % 90 == 0 then list[i].c = fastpg.numeric "9223372036854775807" end
      if i == 1000 then list[i].f = ("x"):rep(200000) end
      if i > 2500 then list[i].a = nil end
    end
    assert.equal(3000, db.t.many:copy(list))
    local rows = db:q "select * from many order by i"
    assert.equal(3000, #rows)
    for i, row in ipairs(rows) do
      local record = list[i]
      for _, name in ipairs{ "i", "a", "b", "d", "e", "f", "g" } do
        local expected = record[name]
        if expected == fastpg.null then expected = nil end
        assert(row[name] == expected, name .. " of row " .. i)
      end
      assert(type(record.c) == "userdata" and tostring(row.c) == "9223372036854775807" or tonumber(row.c) == record.c, "c of row " .. i)
    end
    for name, value in pairs{ a = 32768, b = 2 ^ 31, c = 0.5, d = -1, f = "\255" } do
      local record = list[2000]
      local kept = record[name]
      record[name] = value
      local err = fails("invalid_argument", ('row 2000, column "%s"'):format(name), db.t.many.copy, db.t.many, list)
      assert.equal(2000, err.row)
      record[name] = kept
    end
    works()
    db:execute "drop table many"
  end)

  it("has nothing to do for nothing", function()
    assert.equal(0, db.t.cat:copy{})
    assert.equal(0, db.t.cat:copy(function() return nil end))
    works()
  end)

  it("takes an iterator, or anything callable", function()
    local n = 0
    assert.equal(1000, db.t.cat:copy(function()
      n = n + 1
      if n <= 1000 then return { id = n, name = "cat " .. n } end
    end))
    assert.equal("cat 777", db.t.cat[777].name)
    assert.equal(1, db.t.cat:copy(setmetatable({}, { __call = iterator{ { id = 2000 } } })))
    assert.equal(1, db.t.cat:copy(coroutine.wrap(function() coroutine.yield{ id = 2001 } end)))
    works(1002)
  end)

  it("copies what each gives, of another connection", function()
    db.t.cat:copy{ { id = 1 }, { id = 2 } }
    local pool = pg.pool()
    assert.equal(2, pool.t.cat:copy(pool:each "select id + 10 as id, 'x' as name from cat"))
    pool:close()
    works(4)
  end)

  it("reads rows that came from the server", function()
    db:execute "drop table cat; create table cat (id int generated always as identity primary key, name text, up text generated always as (upper(name)) stored)"
    db.t.cat:inserts{ { name = "a" }, { name = "b" } }
    local list = db.t.cat()
    assert.equal(2, db.t.cat:copy(list))
    assert.equal("A", db.t.cat[3].up)
    list[1].id, list[2].id = 98, 99
    assert.equal(2, db.t.cat:copy(list, { columns = { "id", "name" } }))
    assert.equal("b", db.t.cat[99].name)
    db:execute "drop table cat"
  end)

  it("skips the related rows of a row", function()
    local album = setmetatable({ id = 1 }, { shape = { columns = { "id" }, types = { 23 }, index = { id = 1 } } })
    local cat = setmetatable({ id = 1, album = album }, -- as `with` marks them
      { shape = { columns = { "id" }, types = { 23 }, index = { id = 1 } }, related = { album = true } })
    assert.equal(1, db.t.cat:copy{ cat })
  end)

  it("takes the columns it is told", function()
    local rows = { { id = 1, name = "a", weight = 5 }, { id = 2, name = "b" } }
    assert.equal(2, db.t.cat:copy(rows, { columns = { "name", "id" } }))
    assert.equal(9, db.t.cat[1].weight)
    assert.equal(1, db.t.cat:copy(iterator{ { id = 3, weight = 4 } }, { columns = { db.t.cat.c.id, "weight" } }))
    assert.equal(4, db.t.cat[3].weight)
  end)

  it("refuses what can't be", function()
    local cat = db.t.cat
    local function bad(pattern, ...) fails("invalid_argument", pattern, cat.copy, cat, ...) end
    bad("a list of records or an iterator expected, got nil")
    bad("a list of records or an iterator expected, got string", "x")
    bad("got one record", { id = 1 })
    bad("row 2: a record expected, got string", { { id = 1 }, "x" })
    bad("row 1: a record expected, got a list", { db:q "select 1", 1 })
    bad('format must be "text" or "binary"', {}, { format = "csv" })
    bad("unknown option", {}, { column = {} })
    bad("columns must be a list of column names", {}, { columns = "id" })
    bad("columns is a list of names", {}, { columns = {} })
    bad('"id" is named twice', {}, { columns = { "id", "id" } })
    bad("the rows have no columns", { {}, {} })
    bad('row 3 has a column "weight"', iterator{ { id = 1 }, { id = 2 }, { id = 3, weight = 2 } })
    works()
  end)

  it("names the row and the column of a mistake", function()
    local cat = db.t.cat
    local e = fails("undefined_column", 'row 2: "cat" has no column "nmae" (did you mean "name"?)', cat.copy, cat,
      { { id = 1 }, { id = 2, nmae = "x" } })
    assert.equal(2, e.row)
    e = fails("undefined_column", 'row 2: "cat" has no column "nmae"', cat.copy, cat, iterator{ { id = 1 }, { id = 2, nmae = "x" } })
    assert.equal(2, e.row)
    fails("undefined_column", 'columns: "cat" has no column "nmae"', cat.copy, cat, {}, { columns = { "nmae" } })
    e = fails("invalid_argument", 'row 2, column "id": bigint expected, got number 1.5', cat.copy, cat, { { id = 1 }, { id = 1.5 } })
    assert.equal(2, e.row)
    assert.equal("id", e.column_name)
    assert.truthy(tostring(e):find("copy_spec.lua:%d+: row 2"))
    fails("invalid_argument", 'row 1, column "tags": [2]: ', cat.copy, cat, { { id = 1, tags = { "x", {} } } })
    fails("invalid_argument", 'row 1, column "name": text (a string or a number) expected, got table', cat.copy, cat, { { name = {} } })
    fails("invalid_argument", 'row 1, column "id": COPY takes values, not fastpg.sql', cat.copy, cat, { { id = fastpg.sql "1" } })
    works()
  end)

  for _, format in ipairs{ "text", "binary" } do
    it("names the server's row and column, and no value: " .. format, function()
      db:execute "drop table cat; create table cat (id int primary key, name varchar(3), weight int not null check (weight > 0))"
      local cat = db.t.cat
      local e = fails("string_data_right_truncation", "row 2", cat.copy, cat,
        { { id = 1, name = "abc", weight = 1 }, { id = 2, name = "secret", weight = 2 } }, { format = format })
      assert.equal(2, e.row)
      assert.equal("name", e.column_name)
      assert.is_nil(tostring(e):find "secret")
      e = fails("not_null_violation", 'row 1, column "weight"', cat.copy, cat, { { id = 1 }, { id = 2, weight = 1 } }, { format = format })
      assert.equal("weight", e.column_name)
      e = fails("check_violation", "row 2: ", cat.copy, cat, { { id = 1, weight = 1 }, { id = 2, weight = 0 } }, { format = format })
      assert.equal(2, e.row)
      e = fails("unique_violation", "row 3: ", cat.copy, cat, { { id = 1, weight = 1 }, { id = 2, weight = 2 }, { id = 1, weight = 3 } },
        { format = format })
      assert.equal("cat_pkey", e.constraint_name)
      works()
    end)
  end

  it("takes strings for any type, as text", function()
    assert.equal(2, db.t.cat:copy{ { id = "7", born = "Jan 5, 2024", weight = "1e3", tags = "{a,b}" }, { id = 8, born = fastpg.date(2024, 1, 6) } })
    assert.equal("2024-01-05", tostring(db.t.cat[7].born))
    assert.equal(1000, db.t.cat[7].weight)
    assert.equal(2, db.t.cat:copy(iterator{ { id = 1, born = fastpg.null }, { id = 2, born = "yesterday" } }))
    assert.equal(db:item "select 'yesterday'::date", db.t.cat[2].born)
    local e = fails("invalid_text_representation", 'row 1, column "id"', db.t.cat.copy, db.t.cat, { { id = "nine" } })
    assert.is_nil(tostring(e):find "COPY cat, line")
  end)

  it("is binary where all values have a binary form", function()
    local sent = {}
    local real = route_of(db).pool.idle[1].c.send_copy
    local methods = getmetatable(route_of(db).pool.idle[1].c).__index
    methods.send_copy = function(c, sql)
      sent[#sent + 1] = sql:find("binary", 1, true) and "binary" or "text"
      return real(c, sql)
    end
    finally(function() methods.send_copy = real end)
    local big = db.t.big
    big:copy{ { n = 1, a = 2, b = 3.5, t = "x" }, { t = 5 } }
    big:copy{ { n = "1" } }
    big:copy{ { b = fastpg.numeric "1.5" }, { b = 1 } }
    big:copy{ { n = fastpg.numeric "12" } }
    big:copy(iterator{ { n = 1 } })
    big:copy(iterator{ { n = 1 } }, { format = "binary" })
    big:copy(iterator{ { t = "1" } })
    big:copy({ { n = 1 } }, { format = "text" })
    db.t.cat:copy{ { id = 1, tags = { "x" } } }
    big:scope("a", "5"):copy{ { n = 1 } }
    assert.equal("binary text text binary text binary binary text binary text", table.concat(sent, " "))
    assert.equal("6.0", ("%.1f"):format(db:item "select sum(b) from big"))
    fails("invalid_argument", 'row 2, column "n": bigint: string has no binary form here', big.copy, big,
      iterator{ { n = 1 }, { n = "2" } }, { format = "binary" })
    db:execute "alter table cat add at xml"
    fails("invalid_argument", 'column "at" has no binary form here (xml)', db.t.cat.copy, db.t.cat,
      { { at = "x" } }, { format = "binary" })
    works(1)
  end)

  it("is not fooled by a change of the table elsewhere", function()
    db.t.big:copy{ { n = 1, a = 1, b = 1 } }
    local other = pg.db()
    other:execute "alter table big alter n type timestamp using null, alter a type text, alter b type int8"
    fails("invalid_argument", 'column "n": timestamp', db.t.big.copy, db.t.big, { { n = 1 } })
    assert.equal(1, db.t.big:copy{ { a = 5, b = 5 } })
    assert.equal("5 5", db:item "select a || ' ' || b from big where a = '5'")
    other:execute "alter table big add extra int"
    assert.equal(1, db.t.big:copy{ { extra = 5 } })
    other:close()
  end)

  it("keeps quotes and schemas in names", function()
    db:execute [[drop schema if exists "S S" cascade; create schema "S S"; create table "S S"."T""t" ("A ""b" int, "select" text)]]
    local t = db:table('T"t', "S S")
    assert.equal(1, t:copy{ { ['A "b'] = 1, select = "x" } })
    local e = fails("invalid_text_representation", nil, t.copy, t, { { ['A "b'] = "z" } })
    assert.equal('A "b', e.column_name)
    db:execute [[drop schema "S S" cascade]]
  end)

  it("works without named statements", function()
    local bare = pg.db{ statement_cache_size = 0 }
    assert.equal(2, bare.t.cat:copy{ { id = 1 }, { id = 2, name = "x" } })
    assert.equal(2, bare:transaction(function() return bare.t.cat:copy(iterator{ { id = 3 }, { id = 4 } }) end))
    fails("unique_violation", "row 1", bare.t.cat.copy, bare.t.cat, { { id = 1 } })
    assert.equal(4, bare:item "select count(*)::int from cat")
    bare:close()
  end)

  it("reads types of the database's own, looked up when first met", function()
    db:execute [[drop type if exists cmood, cpair cascade; drop domain if exists posint, blob;
      create type cmood as enum ('sad', 'ok'); create type cpair as (a int, b text);
      create domain posint as int check (value > 0); create domain blob as bytea;
      create table odd (m cmood, p cpair, d posint, ms cmood[], x blob)]]
    local other = pg.db()
    assert.equal(1, other.t.odd:copy{ { m = "ok", d = 5, x = "\0\\x" } })
    assert.equal(1, other.t.odd:copy{ { m = "ok", p = { a = 1, b = 'x,"\\' }, d = 5, ms = { "sad", "ok" }, x = "\0\\x" } })
    assert.equal([[(ok,"(1,""x,""""\\\\"")",5,"{sad,ok}","\\x005c78")]], other:item "select odd::text from odd where p is not null")
    fails("check_violation", "row 1", other.t.odd.copy, other.t.odd, { { d = 0 } })
    fails("invalid_text_representation", 'row 1, column "m"', other.t.odd.copy, other.t.odd, { { m = "mad" } })
    other:set_type_codec("cmood", { encode = function(v)
      if v.bad then error("no such mood", 0) end
      return v.mood
    end })
    assert.equal(1, other.t.odd:copy{ { m = { mood = "sad" } } })
    assert.has_error(function() other.t.odd:copy{ { m = { mood = "ok" } }, { m = { bad = true } } } end,
      'row 2, column "m": no such mood')
    assert.equal(3, other:item "select count(*)::int from odd")
    local list -- an encoder that changes the very list
    for _, put in ipairs{ false, 7, "x" } do
      other:set_type_codec("cmood", { encode = function()
        list[2], list[3] = put or nil, nil
        return "ok"
      end })
      list = { { m = {} }, { m = {} }, { m = {} } }
      fails("invalid_argument", "row 2 was a record when copy began", other.t.odd.copy, other.t.odd, list)
    end
    assert.equal(3, other:item "select count(*)::int from odd")
    other:close()
    db:execute "drop table odd"
  end)
end)

-- ---- every type -----------------------------------------------------------------------------

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function available(extension)
  return db:item("select count(*) from pg_available_extensions where name = ?", extension) > 0
end

-- Inserts the values, copies them in the format that fits and as text with arrays of them, and lets
-- the server compare.
local function check_copies(typ, group)
  db:execute(("drop table if exists v; create table v (n int, v %s, vs %s[])"):format(typ, typ))
  local list, n = {}, 0
  for i, row in ipairs(group.rows) do
    local value = db:item(("select (%s)::%s"):format(row[1], typ))
    if typ ~= "tsquery" or #value < 2000 then -- which no table can hold three of
      n = n + 1
      list[n] = { n = i, v = value == nil and fastpg.null or value }
      db.t.v:insert(list[n])
      db.t.v:insert{ n = i, vs = { list[n].v, fastpg.null, list[n].v } }
    end
  end
  assert.equal(n, db.t.v:copy(list))
  assert.equal(n, db.t.v:copy(iterator(list)))
  for _, record in ipairs(list) do record.vs, record.v = { record.v, fastpg.null, record.v }, nil end
  assert.equal(n, db.t.v:copy(list))
  local bad = db:q [[select n, array_agg(distinct v::text) as one, array_agg(distinct vs::text) as lists from v group by n
    having count(distinct v::text) > 1 or count(distinct vs::text) <> 1 or count(v) not in (0, 3) or count(vs) <> 2]]
  assert(#bad == 0, typ .. ": " .. tostring(bad))
  return n
end

describe("a value copied is the value inserted:", function()
  setup(function()
    db:execute [[create type mood as enum ('happy', 'sad', 'so "so"'); create domain positive as integer check (value > 0);
      create type pair as (a integer, b text)]]
  end)
  teardown(function() db:execute "reset all; drop table v; drop type mood, pair; drop domain positive" end)

  local groups = dofile "spec/types/values.lua"
  for _, name in ipairs(sorted(groups)) do
    local group = groups[name]
    it(table.concat(group.types, ", "), function()
      if group.extension then
        if not available(group.extension) then pending("the extension is not installed") return end
        db:execute("create extension if not exists " .. group.extension)
      end
      db:execute(group.settings and group.settings[#group.settings] or "reset all")
      for _, typ in ipairs(group.types) do assert.is_true(check_copies(typ, group) > 0) end
    end)
  end
end)

-- ---- filters --------------------------------------------------------------------------------

describe("a filtered Table", function()
  it("can't create another's row", function()
    local mine = db.t.vault:scope{ tenant = 1 }
    assert.equal(3, mine:copy{ { secret = "a" }, { tenant = 2, secret = "b" }, { tenant = fastpg.null, secret = "c" } })
    assert.equal(1, mine:copy(iterator{ { tenant = 2, secret = "d" } }))
    assert.equal(1, mine:copy({ { tenant = 2, secret = "e" } }, { columns = { "tenant", "secret" } }))
    assert.equal(1, mine:copy({ { tenant = 2, secret = "f" } }, { columns = { "secret" } }))
    assert.equal(1, mine:copy({ { tenant = "2", secret = "1\t2\n2\t2" } }, { format = "text" }))
    assert.equal(1, mine:copy(iterator{ setmetatable({ secret = "g" }, { __index = { tenant = 2 } }) }))
    assert.equal(1, mine:copy{ setmetatable({ secret = "h" }, { __index = function() return 2 end, __pairs = function() return next, { tenant = 2 } end }) })
    fails("invalid_argument", "fastpg.sql", mine.copy, mine, { { secret = fastpg.sql "2" } })
    assert.equal(9, db:item "select count(*)::int from vault where tenant = 1")
    assert.equal(9, db:item "select count(*)::int from vault")
  end)

  it("can't take over a row, nor is undone by xtra", function()
    db.t.vault:insert{ id = 1000, tenant = 2, secret = "theirs" }
    local mine = db.t.vault:scope("tenant", 1)
    fails("unique_violation", "row 1", mine.copy, mine, { { id = 1000, secret = "mine" } })
    mine:xtra{ secret = "fixed" }
    mine:xtra()
    assert.equal(1, mine:copy{ { id = 1001, tenant = 2 } })
    assert.equal(1, db:item "select tenant from vault where id = 1001")
    assert.equal("theirs", db:item "select secret from vault where id = 1000")
    local nulls = db.t.doc:xtra{ body = fastpg.null }
    assert.equal(1, nulls:copy{ { id = 1, body = "x" } })
    assert.is_nil(db:item "select body from doc")
    db.t.doc:xtra()
  end)

  it("names the filter's column when its value does not fit", function()
    local t = db.t.vault:scope{ tenant = 1.5 }
    fails("invalid_argument", 'row 1, column "tenant": integer expected, got number 1.5', t.copy, t, { { secret = "x" } })
    works()
  end)
end)

-- ---- copy_from and copy_to ------------------------------------------------------------------

describe("db:copy_from", function()
  local sql = "copy doc from stdin"

  it("takes text, a list, a function and a file", function()
    assert.equal(2, db:copy_from(sql, "1\tone\n2\ttwo\n"))
    assert.equal(2, db:copy_from(sql, { "3\tth", "", "ree\n4", "\tfour" }))
    assert.equal(1, db:copy_from(sql, iterator{ "5\t", "five\n" }))
    assert.equal(0, db:copy_from(sql, ""))
    assert.equal(0, db:copy_from(sql, {}))
    local name = os.tmpname()
    local f = assert(io.open(name, "wb"))
    for i = 6, 20000 do f:write(i, "\tline ", i, "\n") end
    f:close()
    f = assert(io.open(name, "rb"))
    assert.equal(19995, db:copy_from(sql .. " -- stdin", f))
    f:close()
    os.remove(name)
    assert.equal("<Record count=20000 sum=200010000>", tostring(db:first "select count(*), sum(id) from doc"))
    fails("invalid_argument", "got closed file", db.copy_from, db, sql, f)
  end)

  it("takes csv and its options", function()
    assert.equal(2, db:copy_from("copy doc (body, id) from stdin (format csv, header, delimiter ';')", 'body;id\n"a;b\nc";1\n;2\n'))
    assert.equal("a;b\nc", db:item "select body from doc where id = 1")
    assert.is_nil(db:item "select body from doc where id = 2")
  end)

  it("refuses other statements before they run, and other sources", function()
    for _, bad in ipairs{ "select 1", "insert into doc values (1) -- stdin", "copy doc to stdout", "", "delete from doc -- ; copy doc from stdin",
      "copy doc from '/x'" } do
      fails("invalid_argument", "the statement is no COPY … FROM STDIN", db.copy_from, db, bad, "1\tx\n")
    end
    fails("invalid_argument", "one statement expected, got 2", db.copy_from, db, "copy doc from stdin; drop table doc", "1\tx\n")
    fails("invalid_argument", "one statement expected, got 2", db.copy_from, db, "delete from doc; copy doc from stdin", "1\tx\n")
    fails("invalid_argument", "is no COPY … FROM STDIN", db.copy_from, db, "copy doc to stdout -- stdin", "1\tx\n")
    fails("invalid_argument", "SQL text expected", db.copy_from, db, nil, "")
    fails("invalid_argument", "got nil", db.copy_from, db, sql, nil)
    fails("invalid_argument", "item 2 of the list expected to be text, got number", db.copy_from, db, sql, { "x", 2 })
    fails("invalid_argument", "what the source gives is expected to be text, got table", db.copy_from, db, sql, iterator{ "1\tx\n", {} })
    fails("undefined_table", nil, db.copy_from, db, "copy nowhere from stdin", "1")
    assert.equal(0, db:item "select count(*)::int from doc")
    works()
  end)

  it("names the line and the column", function()
    local e = fails("invalid_text_representation", 'line 2, column "id"', db.copy_from, db, sql, "1\ta\nsecret\tb\n")
    assert.equal(2, e.row)
    assert.equal("id", e.column_name)
    assert.equal(sql, e.query)
    assert.is_nil(e.message:find("COPY doc", 1, true))
    e = fails("bad_copy_file_format", "line 3", db.copy_from, db, sql, "1\ta\n2\tb\n3\n")
    assert.equal(3, e.row)
    works()
  end)

  it("is undone when the source raises", function()
    local reason = {}
    for _, pieces in ipairs{ 0, 1, 500 } do
      local n = 0
      local ok, err = pcall(db.copy_from, db, sql, function()
        n = n + 1
        if n > pieces then error(reason, 0) end
        return ("1\t" .. ("x"):rep(1000) .. "\n"):rep(10)
      end)
      assert.is_false(ok)
      assert.equal(reason, err)
      assert.equal(0, db:item "select count(*)::int from doc")
    end
    works()
  end)

  it("does not go on when the server has ended it", function()
    local n = 0
    fails("invalid_text_representation", "line 1", db.copy_from, db, sql, function()
      n = n + 1
      return "x\ty\n" -- for ever
    end)
    assert.is_true(n > 0)
    db.t.cat:insert{ id = 5 }
    n = 0
    fails("unique_violation", "row 5", db.t.cat.copy, db.t.cat, function()
      n = n + 1
      return { id = n, name = ("x"):rep(100) }
    end)
    works(1)
  end)

  it("reads the notices of a talkative server", function()
    db:execute [[create or replace function shout() returns trigger language plpgsql as
      'begin raise notice ''%'', repeat(''E'', 2000); if new.id = 3000 then raise exception ''enough''; end if; return new; end';
      create trigger shout before insert on doc for each row execute function shout()]]
    assert.equal(2999, db:copy_from(sql, ("1\tx\n"):rep(2999)))
    local list = {}
    for i = 1, 3500 do list[i] = i .. "\tx\n" end
    fails("raise_exception", "line 3000", db.copy_from, db, sql, table.concat(list))
    works()
  end)
end)

describe("db:copy_to", function()
  local series = "copy (select g, 'row ' || g from generate_series(1, %d) g) to stdout"

  it("gives the text, or fills a file or a function", function()
    db:copy_from("copy doc from stdin", "1\tone\n2\t\\N\n")
    local text, n = db:copy_to "copy doc to stdout"
    assert.equal("1\tone\n2\t\\N\n", text)
    assert.equal(2, n)
    text, n = db:copy_to "copy (select 1 where false) to stdout"
    assert.equal("", text)
    assert.equal(0, n)
    assert.equal("id,body\n1,one\n", (db:copy_to "copy (select * from doc limit 1) to stdout (format csv, header)"))
    local name = os.tmpname()
    local f = assert(io.open(name, "w+b"))
    assert.equal(30000, db:copy_to(series:format(30000), f))
    f:seek("set")
    local lines = 0
    for line in f:lines() do
      lines = lines + 1
      assert(line == lines .. "\trow " .. lines)
    end
    assert.equal(30000, lines)
    f:close()
    os.remove(name)
    local chunks, whole = 0, true
    assert.equal(30000, db:copy_to(series:format(30000), function(chunk)
      chunks = chunks + 1
      whole = whole and chunk:sub(-1) == "\n"
    end))
    assert.is_true(whole and chunks > 3 and chunks < 1000)
    works()
  end)

  it("refuses other statements and sinks", function()
    for _, bad in ipairs{ "select 1", "copy doc from stdin", "copy doc to '/x'" } do
      fails("invalid_argument", "is no COPY … TO STDOUT", db.copy_to, db, bad)
    end
    fails("invalid_argument", "is no COPY … TO STDOUT", db.copy_to, db, "copy doc from stdin -- stdout")
    fails("invalid_argument", "got string", db.copy_to, db, "copy doc to stdout", "x")
    fails("undefined_table", nil, db.copy_to, db, "copy nowhere to stdout")
    fails("division_by_zero", nil, db.copy_to, db, "copy (select 1 / (3 - g) from generate_series(1, 5) g) to stdout")
    works()
  end)

  it("ends early when the sink says so, and when it raises", function()
    local calls = 0
    local n = db:copy_to(series:format(1e8), function()
      calls = calls + 1
      return calls < 3
    end)
    assert.equal(3, calls)
    assert.is_true(n > 10 and n < 1e6)
    works()
    local reason = {}
    local ok, err = pcall(db.copy_to, db, series:format(1e8), function() error(reason, 0) end)
    assert.is_false(ok)
    assert.equal(reason, err)
    works()
  end)

  it("raises when the file can't be written", function()
    local name = os.tmpname()
    local f = assert(io.open(name, "rb"))
    fails("io_error", "the file can't be written", db.copy_to, db, series:format(1e6), f)
    f:close()
    os.remove(name)
    works()
  end)

  it("goes into copy_from, whole tables in both formats", function()
    db:execute "insert into cat select g, 'n' || g, g / 3.0, date '2000-01-01' + g, array['a', null] from generate_series(1, 5000) g"
    for _, format in ipairs{ "text", "binary", "csv" } do
      db:execute "drop table if exists cat2; create table cat2 (like cat)"
      local data, n = db:copy_to(("copy cat to stdout (format %s)"):format(format))
      assert.equal(5000, n)
      assert.equal(5000, db:copy_from(("copy cat2 from stdin (format %s)"):format(format), data))
      assert.equal(0, db:item "select count(*)::int from (table cat except table cat2) x")
    end
    db:execute "drop table cat2"
  end)
end)

-- ---- size, memory, waiting ------------------------------------------------------------------

describe("COPY of much", function()
  for _, format in ipairs{ "text", "binary" } do
    it("is 100,000 rows there and back: " .. format, function()
      local list = {}
      for i = 1, 100000 do list[i] = { n = i * 1000, a = i % 7, b = i / 4, t = "row\t" .. i } end
      assert.equal(100000, db.t.big:copy(list, { format = format }))
      assert.equal("5000050000000 300000 1250012500", db:item "select sum(n) || ' ' || sum(a) || ' ' || sum(b) from big")
      assert.equal(100000, db:item "select count(*)::int from big where t = E'row\\t' || n / 1000")
      local data, n = db:copy_to(("copy (select * from big order by n) to stdout (format %s)"):format(format))
      assert.equal(100000, n)
      db:execute "create table big2 (like big)"
      assert.equal(100000, db:copy_from(("copy big2 from stdin (format %s)"):format(format), data))
      assert.equal(0, db:item "select count(*)::int from (table big except all table big2) x")
      db:execute "drop table big2"
    end)
  end

  it("takes rows of a megabyte", function()
    local rows = {}
    for i = 1, 12 do rows[i] = { id = i, body = ("%d\\\n\t"):format(i):rep(300000) } end
    for _, format in ipairs{ "text", "binary" } do
      db:execute "truncate doc"
      assert.equal(12, db.t.doc:copy(rows, { format = format }))
      for row in db:each "select * from doc" do assert.is_true(row.body == rows[row.id].body) end
    end
    local data = db:copy_to "copy doc to stdout"
    assert.is_true(#data > 12e6)
    db:execute "truncate doc"
    assert.equal(12, db:copy_from("copy doc from stdin", data))
    assert.equal(12, db:item "select count(*)::int from doc where body = repeat(id || E'\\\\\\n\\t', 300000)")
  end)

  it("uses constant memory", function()
    local function used()
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    local before, most = used(), 0
    local i = 0
    local line = ("x"):rep(1000)
    db.t.doc:copy(function()
      i = i + 1
      if i % 5000 == 0 then most = math.max(most, used() - before) end
      if i <= 20000 then return { id = i, body = line } end
    end)
    local chunks = 0
    db:copy_to("copy doc to stdout", function()
      chunks = chunks + 1
      if chunks % 100 == 0 then most = math.max(most, used() - before) end
    end)
    assert.is_true(chunks > 100)
    assert.is_true(most < 2000, "grew by KB: " .. most)
  end)

  it("is stopped when its time is over", function()
    local quick = pg.db{ command_timeout = 1 }
    local endless = ("1\tx\n"):rep(1000)
    fails("timeout", nil, quick.copy_from, quick, "copy doc from stdin", function() return endless end)
    fails("timeout", nil, quick.copy_to, quick, "copy (select generate_series(1, 1000000000)) to stdout", function() end)
    fails("timeout", nil, quick.copy_to, quick, "copy (select pg_sleep(5)) to stdout")
    local n = 0
    fails("timeout", nil, quick.t.doc.copy, quick.t.doc, function()
      n = n + 1
      return { id = n, body = "x" }
    end)
    assert.equal(0, db:item "select count(*)::int from doc")
    quick:close()
  end)

  it("ends a source without end where the server refuses at once, together with its consent", function()
    db:execute [[create table refusing (id int, body text);
      create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not here'; end $$;
      create trigger refuse before insert on refusing for each statement execute function refuse();
      create view of_refusing as select * from refusing]]
    local one = pg.pool({ command_timeout = 20 }, { max_size = 1 })
    local piece = ("1\tx\n"):rep(10000)
    for _, name in ipairs{ "refusing", "of_refusing" } do
      for _ = 1, 10 do -- (the first finds nothing in the server's caches, and its error comes late)
        local sqlstate = name == "refusing" and "P0001" or "42809"
        fails(sqlstate, nil, one.copy_from, one, ("copy %s from stdin"):format(name), function() return piece end)
        assert.equal(7, one:item "select 7")
      end
    end
    one:close()
    db:execute "drop table refusing cascade; drop function refuse"
  end)

  it("waits for the socket by the connection's waiter only", function()
    local modes = {}
    local host = pg.db{ loop = { wait = function(fd, mode, timeout)
      modes[mode] = (modes[mode] or 0) + 1
      return core.poll(fd, mode, timeout)
    end } }
    host:execute [[create or replace function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.02); return new; end';
      create trigger slow before insert on doc for each row execute function slow()]]
    assert.equal(8, host.t.doc:copy(iterator((function()
      local list = {}
      for i = 1, 8 do list[i] = { id = i, body = ("x"):rep(2e6) } end
      return list
    end)())))
    assert.is_true((modes.rw or 0) > 0)
    host:close()
  end)
end)

-- ---- transactions, lost servers -------------------------------------------------------------

describe("COPY in a transaction", function()
  it("uses its connection, and is rolled back with it", function()
    pcall(db.transaction, db, function(tx)
      assert.equal(1, db.t.cat:copy{ { id = 1 } })
      assert.equal(1, tx.t.cat:copy{ { id = 2 } })
      assert.equal(1, tx:copy_from("copy cat (id) from stdin", "3\n"))
      assert.equal("3\n", (db:copy_to "copy (select count(*) from cat) to stdout"))
      error "no"
    end)
    works()
    db:transaction(function() db.t.cat:copy{ { id = 1 } } end)
    works(1)
  end)

  it("fails it as any failed statement does, unless nothing was sent", function()
    db:transaction(function(tx)
      local conn = route_of(tx):connection().c
      fails("invalid_argument", "row 2", db.t.cat.copy, db.t.cat, { { id = 1 }, { id = 1.5 } })
      fails("undefined_column", "row 1", db.t.cat.copy, db.t.cat, { { idd = 1 } })
      fails("invalid_argument", "is no COPY", db.copy_from, db, "select 1", "")
      assert.equal("intrans", conn:transaction_status())
      for _, fn in ipairs{
        function() db.t.cat:copy{ { id = 1 }, { id = 1 } } end,
        function() db.t.cat:copy(iterator{ { id = 1 }, { id = 1.5 } }) end,
        function() db:copy_from("copy doc from stdin", function() error "x" end) end,
        function() db:copy_from("copy doc from stdin", "x") end,
        function() db:copy_to "copy (select 1/0) to stdout" end,
      } do
        pcall(db.transaction, db, function()
          assert.is_false(pcall(fn))
          assert.equal("inerror", conn:transaction_status())
          fails("in_failed_sql_transaction", nil, db.t.cat.copy, db.t.cat, { { id = 1 } })
          error "undo"
        end)
        assert.equal("intrans", conn:transaction_status())
      end
      assert.equal(1, db.t.cat:copy{ { id = 7 } })
    end)
    works(1)
  end)

  it("goes on after copy_to was ended early", function()
    db:transaction(function()
      db.t.cat:insert{ id = 1 }
      assert.is_true(db:copy_to("copy (select generate_series(1, 10000000)) to stdout", function() return false end) > 0)
      assert.is_false(pcall(db.copy_to, db, "copy (select generate_series(1, 10000000)) to stdout", function() error "x" end))
      assert.equal(1, db:copy_to("copy cat to stdout", function() end))
      db.t.cat:insert{ id = 2 }
    end)
    works(2)
  end)

  it("does not let its source use the same connection", function()
    fails("connection_busy", "a COPY is under way", db.transaction, db, function()
      db:copy_from("copy doc from stdin", function() return db:item "select '1\tx\n'" end)
    end)
    fails("connection_busy", "a COPY is under way", db.transaction, db, function()
      local n = 0
      db.t.cat:copy(function()
        n = n + 1
        return { id = n > 1 and db:item "select 1" or 2 }
      end)
    end)
    works()
  end)
end)

describe("a lost server", function()
  it("is an error of the copy, and no more", function()
    for _, what in ipairs{ "from", "to", "rows" } do
      local doomed = pg.db()
      local pid = doomed.pid
      local n = 0
      local function kill()
        n = n + 1
        if n == 3 then db:execute("select pg_terminate_backend(" .. pid .. ")") end
      end
      local ok, err = pcall(function()
        if what == "from" then
          doomed:copy_from("copy doc from stdin", function()
            kill()
            return ("1\tx\n"):rep(10000)
          end)
        elseif what == "to" then
          doomed:copy_to("copy (select generate_series(1, 1000000000)) to stdout", kill)
        else
          doomed.t.doc:copy(function()
            kill()
            return { id = n, body = ("x"):rep(1000) }
          end)
        end
      end)
      assert.is_false(ok)
      assert.is_true(fastpg.is(err, "connection"), what .. ": " .. tostring(err))
      assert.equal(1, doomed:item "select 1")
      doomed:close()
    end
    works()
  end)
end)

describe("an abandoned copy", function()
  it("is ended by whoever uses the connection next", function()
    local conn = route_of(db).pool:checkout()
    conn.c:send_copy "copy doc from stdin"
    conn:drive()
    assert.equal("in", conn.c:copying())
    conn.c:copy_put("1\tx\n", 0)
    conn:clear()
    assert.is_nil(conn.c:copying())
    conn.c:send_copy "copy (select generate_series(1, 1000000)) to stdout"
    conn:drive()
    assert.equal("out", conn.c:copying())
    route_of(db).pool:checkin(conn)
    assert.equal(0, db:item "select count(*)::int from doc")
    fails("feature_not_supported", "can't run as a plain statement", db.execute, db, "copy doc from stdin")
    works()
  end)
end)
