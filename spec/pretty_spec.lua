-- SPDX-License-Identifier: MIT
local core = require "fastpg.core"
local pretty = require "fastpg.value.pretty"
local pg = require "spec.support.pg"

local NULL = core.null

local function shape_of(columns, types)
  local shape = { columns = columns, types = types, index = {} }
  for i, name in ipairs(columns) do shape.index[name] = i end
  return shape
end

-- Rows as the library makes them: strict, so that a careless read raises.
local function row_mt(shape, fields)
  local mt = { shape = shape, strict = true, __index = function(_, k) error("read " .. k) end }
  for k, v in pairs(fields or {}) do mt[k] = v end
  return mt
end

local function list(columns, types, rows)
  local shape = shape_of(columns, types)
  local mt = row_mt(shape)
  for _, row in ipairs(rows) do setmetatable(row, mt) end
  return setmetatable(rows, { shape = shape })
end

-- A value object.
local function object(text)
  return setmetatable({}, { __tostring = function() return text end })
end

local artist = shape_of({ "artist_id", "name" }, { 23, 25 })

describe("pretty.value", function()
  local cases = {
    { "nil", nil }, { "true", true }, { "false", false },
    { "''", "" }, { "'AC/DC'", "AC/DC" }, { [['it\'s']], "it's" }, { [['a\\b']], "a\\b" },
    { [['say "x"']], 'say "x"' }, { "'[x]^'", "[x]^" },
    { [['\n\t\r\x00\x1B\x7F']], "\n\t\r\0\27\127" },
    { "'é日👍'", "é日👍" }, { [['\xC2\x85']], "\194\133" },
    { [['a\xFFb\xC0\xAF\xE2\x82']], "a\255b\192\175\226\130" },
    { "7", 7, 23 }, { "-7", -7 }, { "0", 0 }, { "9007199254740992", 2 ^ 53, 20 },
    { "9223372036854775807", "9223372036854775807", 20 }, { "-12", "-12", 20 },
    { "'12'", "12", 25 }, { "'12a'", "12a", 20 },
    { "6.0", 6, 701 }, { "-6.0", -6, 700 }, { "0.1", 0.1, 701 }, { "1e+30", 1e30, 701 },
    { "0.10000000149011612", 0.10000000149011612, 701 }, { "0.1", 0.10000000149011612, 700 },
    { "NaN", 0 / 0, 701 }, { "Infinity", math.huge, 700 }, { "-Infinity", -math.huge, 701 },
    { "1.5", 1.5 }, { "1e+300", 1e300 }, { "1.50", object "1.50", 1700 },
    { "{}", {} }, { "{1, 2, nil, 4}", { 1, 2, nil, 4 } }, { "{1, null}", { 1, NULL } },
    { "{1, nil}", { 1, nil, n = 2 } },
    { "{a=1, b='x'}", { b = "x", a = 1 } },
    { "{{1,2.5},{3,4}}", { { 1, 2.5 }, { 3, 4 } }, 1022 },
    { "{1,9223372036854775807}", { 1, "9223372036854775807" }, 1016 },
    { [[{a,NULL,"x y","a\"b",""}]], { "a", NULL, "x y", 'a"b', "" }, 1009 },
    { [[{"a\nb"}]], { "a\nb" }, 1009 }, { "{t,f}", { true, false }, 1000 },
    { [[\x00ff]], "\0\255", 17 }, { [[{"\\x00ff"}]], { "\0\255" }, 1001 },
    { [[{"a": [1, null], "bb": {}}]], { bb = {}, a = { 1, NULL } }, 3802 },
    { [["a\"b\n\u0000"]], 'a"b\n\0', 114 }, { "true", true, 3802 }, { "null", core.json_null, 3802 },
    { "{x=1}", { x = 1 }, 1009 }, { "{1, 2}", { 1, 2 }, 25 },
    { "{[1000000]=true}", { [1000000] = true } },
    { "{{{{{{...}}}}}}", { { { { { { { 1 } } } } } } } },
  }
  for _, case in ipairs(cases) do
    it("prints " .. case[1], function()
      assert.equal(case[1], pretty.value(case[2], case[3]))
    end)
  end

  it("prints keys in order: numbers, then names", function()
    assert.equal("{[3]=2, ['a b']=1, c=true}", pretty.value{ ["a b"] = 1, [3] = 2, c = true })
  end)

  it("prints fastpg.null", function()
    assert.equal("null", pretty.value(NULL))
  end)

  it("survives cycles, and shows a table met twice twice", function()
    local t = { 1 }
    t[2] = t
    assert.equal("{1, ...}", pretty.value(t))
    local shared = { 5 }
    assert.equal("{{5}, {5}}", pretty.value{ shared, shared })
  end)

  it("is bounded where tables share tables", function()
    local t = { 1 }
    for _ = 1, 5 do
      local outer = {}
      for i = 1, 50 do outer[i] = t end
      t = outer
    end
    assert.is_true(#pretty.value(t) < 200000)
  end)

  it("keeps the digits of LuaJIT's int64", function()
    local ok, ffi = pcall(require, "ffi")
    local v = ok and ffi.new("int64_t", 2 ^ 53) + 1 or object "9007199254740993"
    assert.equal("9007199254740993", pretty.value(v, 20))
  end)
end)

describe("core.float_text", function()
  local doubles = { "0", "-0", "1", "-1.5", "0.1", "123456789012345", "1e+15", "0.0001", "1e-05",
    "5e-324", "2.2250738585072014e-308", "1.7976931348623157e+308", "0.30000000000000004",
    "9.999999999999999e+22", "9.007199254740992e+15", "1234.5678", "-1.2345e-07" }
  for _, text in ipairs(doubles) do
    it("writes float8 " .. text, function()
      local v = text == "-0" and -1 / math.huge or tonumber(text) * 1.0
      assert.equal(text, core.float_text(v, false))
    end)
  end

  local singles = { ["1e-45"] = 1.401298464324817e-45, ["3.4028235e+38"] = 3.4028234663852886e38,
    ["123456"] = 123456, ["1.234567e+06"] = 1234567, ["16.7"] = 16.700000762939453,
    ["1.6777216e+07"] = 16777216, ["1.1754944e-38"] = 1.1754943508222875e-38,
    ["0.1"] = 0.1, ["-0.33333334"] = -0.3333333432674408, ["9.8786864e+07"] = 98786864 }
  for text, v in pairs(singles) do
    it("writes float4 " .. text, function()
      assert.equal(text, core.float_text(v, true))
    end)
  end
end)

describe("pretty.row", function()
  it("prints a class's row and a record", function()
    local row = { name = "AC/DC", artist_id = 1 }
    setmetatable(row, row_mt(artist, { class_name = "Artist" }))
    assert.equal("Artist(artist_id=1, name='AC/DC')", pretty.row(row))
    setmetatable(row, row_mt(artist))
    assert.equal("<Record artist_id=1 name='AC/DC'>", pretty.row(row))
  end)

  it("prints NULL as nil, and leaves out what a partial instance lacks", function()
    assert.equal("<Record artist_id=nil name='X'>",
      pretty.row(setmetatable({ name = "X" }, row_mt(artist))))
    assert.equal("Artist(name='X')", pretty.row(setmetatable({ name = "X" },
      row_mt(artist, { class_name = "Artist", partial = true }))))
    assert.equal("Artist()", pretty.row(setmetatable({},
      row_mt(artist, { class_name = "Artist", partial = true }))))
  end)

  it("shows no key that is no column, and a column of a doubled name once", function()
    local row = setmetatable({ artist_id = 1, name = "A", mood = 3 }, row_mt(artist))
    assert.equal("<Record artist_id=1 name='A'>", pretty.row(row))
    local shape = shape_of({ "a", "b", "a" }, { 23, 23, 701 })
    assert.equal("<Record b=2 a=3.0>", pretty.row(setmetatable({ a = 3, b = 2 }, row_mt(shape))))
  end)

  it("prints rows inside rows", function()
    local shape = shape_of({ "id", "who" }, { 23, 16400 })
    local row = setmetatable({ id = 1 }, row_mt(shape, { class_name = "Album" }))
    row.who = setmetatable({ artist_id = 2 }, row_mt(artist))
    assert.equal("Album(id=1, who=(2,))", pretty.row(row))
    setmetatable(row.who, row_mt(artist, { class_name = "Artist" }))
    assert.equal("Album(id=1, who=Artist(artist_id=2, name=nil))", pretty.row(row))
    row.who = row
    assert.equal("Album(id=1, who=...)", pretty.row(row))
    row.who = list({ "n" }, { 23 }, { { n = 1 }, { n = 2 } })
    assert.equal("Album(id=1, who={(1),(2)})", pretty.row(row))
    assert.matches("|  1 | {(1),(2)}", (pretty.list(row):gsub("\n  1", "\n|  1")), 1, true)
  end)

  it("has a row without columns, and escapes odd names", function()
    assert.equal("<Record>", pretty.row(setmetatable({}, row_mt(shape_of({}, {})))))
    local shape = shape_of({ "?column?", "a\nb" }, { 23, 23 })
    assert.equal([[<Record ?column?=1 a\nb=2>]],
      pretty.row(setmetatable({ ["?column?"] = 1, ["a\nb"] = 2 }, row_mt(shape))))
  end)

  it("refuses what is no row", function()
    local ok, err = pcall(pretty.row, 42)
    assert.is_false(ok)
    assert.matches("row: a row expected, got number", tostring(err), 1, true)
  end)
end)

describe("pretty.columns and pretty.values", function()
  it("follow the order of the columns", function()
    local row = setmetatable({ name = "A", extra = 1 }, row_mt(artist))
    assert.same({ "artist_id", "name" }, pretty.columns(row))
    local values = pretty.values(row)
    assert.equal(NULL, values[1])
    assert.equal("A", values[2])
    assert.equal(2, #values)
  end)

  it("columns takes a list, and gives a table of its own", function()
    local rows = list({ "a", "b" }, { 23, 23 }, {})
    local columns = pretty.columns(rows)
    columns[1] = "x"
    assert.same({ "a", "b" }, pretty.columns(rows))
  end)

  it("refuse anything else", function()
    for _, v in ipairs{ 1, "x", {} } do
      assert.is_false((pcall(pretty.columns, v)))
      assert.is_false((pcall(pretty.values, v)))
    end
  end)
end)

-- Tables as they stand below: the last newline is the spec's, @ keeps blanks at the end of a line.
local function drawn(text)
  return (text:gsub("@\n", "\n"):gsub("\n$", ""))
end

-- What psql 15 prints for the same values, with `\pset` untouched.
describe("pretty.list", function()
  it("draws what psql draws", function()
    local comp = row_mt(shape_of({ "a", "b" }, { 23, 25 }))
    local rows = list(
      { "id", "näme", "b", "num", "float\n8", "cash", "txt", "arr", "js", "by", "co", "ta" },
      { 23, 25, 16, 1700, 701, 790, 25, 1007, 3802, 17, 99999, 1009 }, {
        { id = 1, ["näme"] = "AC/DC", b = true, num = object "1.50", ["float\n8"] = 6,
          cash = "$12.00", txt = "two\nlines", arr = { 1, 2, NULL },
          js = { b = { 1, "x" }, aa = NULL }, by = "\222\173",
          co = setmetatable({ a = 1, b = "a b" }, comp), ta = { "a b", NULL, "", "x" } },
        { id = -20, ["näme"] = "日本語", b = false, num = object "123456.7", ["float\n8"] = 0.1,
          txt = "a\tb\r\1\194\133é", arr = {}, js = setmetatable({}, core.array_mt),
          co = setmetatable({ b = "" }, comp) },
        { ["näme"] = "ｆｕｌｌ", ["float\n8"] = 1e30, cash = "-$3.50", txt = "\n",
          arr = { { 1, 2 }, { 3, 4 } }, js = "s", by = "", ta = {} },
        { id = 7, ["näme"] = "é한", num = object "0", ["float\n8"] = 0 / 0, txt = "last",
          js = {} },
      })
    -- luacheck: push no max line length
    assert.equal(drawn [==[
 id  |   näme   | b |   num    | float+|  cash  |          txt           |      arr      |             js              |   by   |    co     |        ta         @
     |          |   |          |   8   |        |                        |               |                             |        |           |                   @
-----+----------+---+----------+-------+--------+------------------------+---------------+-----------------------------+--------+-----------+-------------------
   1 | AC/DC    | t |     1.50 |     6 | $12.00 | two                   +| {1,2,NULL}    | {"b": [1, "x"], "aa": null} | \xdead | (1,"a b") | {"a b",NULL,"",x}
     |          |   |          |       |        | lines                  |               |                             |        |           | @
 -20 | 日本語   | f | 123456.7 |   0.1 |        | a       b\r\x01\u0085é | {}            | []                          |        | (,"")     | @
     | ｆｕｌｌ |   |          | 1e+30 | -$3.50 |                       +| {{1,2},{3,4}} | "s"                         | \x     |           | {}
     |          |   |          |       |        |                        |               |                             |        |           | @
   7 | é한      |   |        0 |   NaN |        | last                   |               | {}                          |        |           | @
(4 rows)
]==], pretty.list(rows))
    -- luacheck: pop
  end)

  it("centres headers of several lines", function()
    assert.equal(drawn [==[
 a long header | 日 |    z     | q+@
               |    |          | r+@
               |    |          | s @
---------------+----+----------+---
 x             |  2 | l1      +| m+@
               |    | line two | n+@
               |    |          | o
(1 row)
]==], pretty.list(list({ "a long header", "日", "z", "q\nr\ns" }, { 25, 23, 25, 25 },
      { { ["a long header"] = "x", ["日"] = 2, z = "l1\nline two", ["q\nr\ns"] = "m\nn\no" } })))
  end)

  it("draws lists without rows, without columns, of one column", function()
    assert.equal(" z @\n---\n(0 rows)", (pretty.list(list({ "z" }, { 23 }, {}))
      :gsub(" \n", " @\n")))
    assert.equal("--\n(0 rows)", pretty.list(list({}, {}, {})))
    assert.equal("--\n(1 row)", pretty.list(list({}, {}, { {} })))
    assert.equal("--\n(0 rows)", pretty.list({}))
    assert.equal(" only @\n------\n x   +\n y\n(1 row)",
      (pretty.list(list({ "only" }, { 25 }, { { only = "x\ny" } })):gsub(" \n", " @\n")))
  end)

  it("pads an empty last line, and numbers stay on the right beside it", function()
    assert.equal(drawn [==[
 one | two @
-----+-----
 a  +|  10
     | @
 bbb |   2
(2 rows)
]==], pretty.list(list({ "one", "two" }, { 25, 23 },
      { { one = "a\n", two = 10 }, { one = "bbb", two = 2 } })))
  end)

  it("counts emoji sequences as what they look like", function()
    assert.equal(drawn [==[
 e  | x @
----+---
 👨‍👩‍👧 | 1
 ❤️ | 2
(2 rows)
]==], pretty.list(list({ "e", "x" }, { 25, 23 }, { { e = "👨‍👩‍👧", x = 1 }, { e = "❤️", x = 2 } })))
  end)

  it("shows bytes that are no UTF-8", function()
    assert.matches("a\\xFFb", pretty.list(list({ "t" }, { 25 }, { { t = "a\255b" } })), 1, true)
  end)

  it("takes one row, and plain lists of rows", function()
    local rows = list({ "a" }, { 23 }, { { a = 1 }, { a = 22 } })
    assert.equal(" a  @\n----\n  1\n 22\n(2 rows)",
      (pretty.list({ rows[1], rows[2] }):gsub(" \n", " @\n")))
    assert.matches("(1 row)", pretty.list(rows[1]), 1, true)
  end)

  it("is linear in the number of rows", function()
    local rows = {}
    for i = 1, 20000 do rows[i] = { id = i, name = "row " .. i } end
    local start = os.clock()
    local text = pretty.list(list({ "id", "name" }, { 23, 25 }, rows))
    assert.is_true(os.clock() - start < 10)      -- a cap, not a measurement
    assert.matches(" 20000 | row 20000\n(20000 rows)", text, 1, true)
  end)

  it("refuses anything else", function()
    for _, v in ipairs{ 1, "x", { 1 }, { a = 1 } } do
      local ok, err = pcall(pretty.list, v)
      assert.is_false(ok)
      assert.matches("list: a row or a list of rows expected", tostring(err), 1, true)
    end
  end)
end)

describe("pretty.html", function()
  it("draws a table of rows, and of one row", function()
    local rows = list({ "id", "name" }, { 23, 25 }, { { id = 1, name = "A" }, { id = 2 } })
    local head = "<table><thead><tr><th>id</th><th>name</th></tr></thead><tbody>"
    assert.equal(head .. "<tr><td>1</td><td>A</td></tr><tr><td>2</td><td></td></tr>"
      .. "</tbody></table>", pretty.html(rows))
    assert.equal(head .. "<tr><td>1</td><td>A</td></tr></tbody></table>", pretty.html(rows[1]))
  end)

  it("keeps the header of no rows", function()
    assert.equal("<table><thead><tr><th>id</th></tr></thead><tbody></tbody></table>",
      pretty.html(list({ "id" }, { 23 }, {})))
  end)

  it("escapes everything, names included", function()
    local evil = [[<script>alert("1&'2'")</script>]]
    local safe = "&lt;script&gt;alert(&quot;1&amp;&#39;2&#39;&quot;)&lt;/script&gt;"
    local function html(v, oid)
      return pretty.html(list({ evil }, { oid }, { { [evil] = v } }))
    end
    local expected = "<table><thead><tr><th>" .. safe .. "</th></tr></thead><tbody><tr><td>" .. safe
      .. "</td></tr></tbody></table>"
    assert.equal(expected, html(evil, 25))
    assert.equal(expected, html(object(evil), 99999))
    for _, nested in ipairs{ { evil }, { [evil] = evil }, { a = { evil } } } do
      for _, oid in ipairs{ 3802, 1009, 99999 } do
        assert.is_nil(html(nested, oid):find("<script", 1, true))
      end
    end
  end)

  it("writes values as a printed row does, without quotes", function()
    assert.equal("<table><thead><tr><th>b</th><th>f</th><th>y</th></tr></thead><tbody>"
      .. "<tr><td>true</td><td>6.0</td><td>\\x00ff</td></tr></tbody></table>",
      pretty.html(list({ "b", "f", "y" }, { 16, 701, 17 }, { { b = true, f = 6, y = "\0\255" } })))
  end)
end)

-- One table with columns of all kinds; what is printed is compared with what the server prints.
describe("a row of the server's", function()
  local db, fastpg = nil, require "fastpg"
  local literals = {
    pair = [[row(1,'x y')::pretty_pair]], pairs = [[array[row(1,'a"b\')::pretty_pair,null] ]],
    nested = "array[row(array[row(null,'')::pretty_pair], '{1.5,2}')::pretty_nest]",
    jsonb = [['{"bb":1,"a":[true,"\u00e9\n",1.5,[],{},12345678901234567890]}'::jsonb]],
    words = [['{a,NULL,"x y","null","",",","\\"}'::text[] ]], none = "'{}'::text[]",
    bytes = [['\x00ff5c'::bytea]], byteas = [[array['\x00ff'::bytea] ]],
    hstore = [['b=>NULL, a=>"x y"'::hstore]], hstores = "array['a=>1'::hstore, 'b=>2']",
    point = "'(1,-2.5)'::point", boxes = "array[box '(1,2),(3,4)', '(0,0),(1,1)']",
    reals = "'{0.1,1e30,6,NaN}'::float4[]", domain_reals = "'{0.1,2}'::pretty_real[]",
    domain_json = [==[array['[1]'::pretty_json,'{"a": 0.1}']]==], booleans = "'{t,f,NULL}'::bool[]",
    bounds = "'[0:1][3:4]={{1,2},{3,4}}'::int[]", int8s = "'{9223372036854775807,1}'::int8[]",
    json_matrix = [==[array[array['[1, 2]'::jsonb,'3'],array['"x"'::jsonb,'null']]]==],
    jsons = "'[1:1]={null}'::jsonb[]", range = "'[1,5)'::int4range", multi = "'{[1,3),[5,9)}'::int4multirange",
    numerics = "'{1.50,2}'::numeric[]", days = "'{2024-02-29,infinity}'::date[]", stamps = "'{2024-02-29 10:00}'::timestamp[]",
    record = "row(1,'a,b',null,'{1,2}'::int[])", typed_record = [[row('f2','{"f3":1}'::jsonb,'"s"'::jsonb,'\x00ff'::bytea,1::float4)]],
    own_record = [[row('"s"'::pretty_json,row(1,'x y')::pretty_pair,'a b'::pretty_mood,array['{}'::pretty_json])]],
    large_json = [['[1e100, -1.5e-20, 1.25e5, 12345678901234567, 1e300]'::jsonb]], records = "array[row(1,2)]", enums = "'{\"a b\",c}'::pretty_mood[]",
  }
  local names = {}
  for name in pairs(literals) do names[#names + 1] = name end
  table.sort(names)

  setup(function()
    db = pg.db()
    db:execute [[create extension if not exists hstore; create type pretty_pair as (a int, b text);
      create type pretty_nest as (p pretty_pair[], f float4[]);
      create domain pretty_real as float4; create domain pretty_json as jsonb;
      create type pretty_mood as enum ('a b', 'c')]]
  end)
  teardown(function()
    db:execute [[drop type pretty_nest, pretty_pair, pretty_real, pretty_json, pretty_mood]]
  end)

  for _, name in ipairs(names) do
    it("prints " .. name .. " as the server does", function()
      local row = db:first("select v, v::text as t from (select " .. literals[name] .. " as v) s")
      local function escaped(s) return (s:gsub("\n", "\\n")) end
      assert.equal(("<Record v=%s t=%s>"):format(escaped(row.t), pretty.value(row.t)), tostring(row))
      local cell = pretty.html(row):match("<td>(.-)</td>")
      assert.equal(row.t, (cell:gsub("&quot;", '"'):gsub("&gt;", ">"):gsub("&amp;", "&")))
      if not row.t:find("[^ -~]") then assert.is_truthy(pretty.list(row):find("\n " .. row.t .. " ", 1, true)) end
    end)
  end

  it("prints the same when it came as text", function()
    for _, name in ipairs(names) do
      local one = db:first("select " .. literals[name] .. " as v")
      local two = db:first("select " .. literals[name] .. " as v, '1'::money as m")
      assert.equal((tostring(one):sub(1, -2)), (tostring(two):gsub(" m=.*$", "")))
    end
  end)

  it("prints what a codec of the user's made in Lua's form", function()
    local other = pg.db()
    other:set_type_codec("pretty_pair", { decode = function(text) return { text } end })
    other:set_type_codec("jsonb", { decode = function() return { 1, { 2 } } end })
    local row = other:first("select " .. literals.pair .. " as a, " .. literals.pairs .. " as b, '1'::jsonb as c")
    assert.equal([[<Record a={'(1,"x y")'} b={{'(1,"a""b\\\\")'}, null} c={1, {2}}>]], tostring(row))
    other:close()
  end)

  it("prints whatever somebody put into it", function()
    local function broken() error "broken" end
    local evil = setmetatable({}, { __index = broken, __tostring = broken, __pairs = broken, __len = broken })
    local silent = setmetatable({ 1 }, { __tostring = function() return nil end })
    local values = { evil, silent, print, { 1, x = 2 }, { [evil] = evil }, coroutine.create(function() end), { { 1 }, 2 },
      { { x = 1 } }, true, 5, "x", { evil } }
    for _, name in ipairs(names) do
      local row = db:first("select " .. literals[name] .. " as v")
      local rows = db:q("select " .. literals[name] .. " as v")
      for _, value in ipairs(values) do
        row.v, rows[1].v = value, value
        assert.equal("string", type(tostring(row)))
        assert.equal("string", type(tostring(rows)))
        assert.equal("string", type(fastpg.html(rows)))
      end
    end
  end)
end)
