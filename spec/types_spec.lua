-- SPDX-License-Identifier: MIT
--
-- types: each value of spec/types/values.lua, read in every way and sent back.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local groups = require "spec.types.values"

local null = fastpg.null
local db = pg.db()
db:execute[[
  CREATE TYPE mood AS ENUM ('happy', 'sad', 'so "so"');
  CREATE DOMAIN positive AS integer CHECK (value > 0);
  CREATE TYPE pair AS (a integer, b text);
]]

-- ---- comparing ------------------------------------------------------------------------------

-- The text of a value, as the server would print it.
local function default_text(v)
  if type(v) == "number" then return ("%d"):format(v) end
  return tostring(v)
end

local function same_number(a, b)
  return a == b and 1 / a == 1 / b or a ~= a and b ~= b
end

-- Equal, of the same type, a float with its sign and its NaN.
local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then
    return same_number(a, b) and (not math.type or math.type(a) == math.type(b))
  end
  if type(a) == "userdata" then
    return rawequal(a, b) or getmetatable(a) == getmetatable(b) and tostring(a) == tostring(b)
  end
  if type(a) ~= "table" then return a == b end
  if getmetatable(a) ~= getmetatable(b) then return false end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

local function show(v)
  local s = type(v) == "table" and fastpg.to_json(v) or tostring(v)
  return ("%s %s"):format(type(v), #s > 200 and s:sub(1, 200) .. "…" or s)
end

local function assert_same(expected, got, what)
  if not same(expected, got) then
    assert(false, ("%s: expected %s, got %s"):format(what, show(expected), show(got)))
  end
end

-- A float written as an integer in the table of values.
local function expected_value(expected, v)
  if math.type and math.type(v) == "float" and math.type(expected) == "integer" then return expected + 0.0 end
  return expected
end

-- ---- the checks -----------------------------------------------------------------------------

local checks = {}

-- Alone, in binary where the type has such a form.
function checks.read(t)
  local v = db:item(("SELECT %s"):format(t.sql))
  if t.expected ~= nil then
    assert_same(expected_value(t.expected, v), v, "read")
  elseif not t.group.equal then
    assert.equal(t.server_text, t.text(v))
  end
  assert_same(v, db:item(("SELECT %s"):format(t.sql)), "read again")
  return v
end

-- Beside a column that has no binary form.
function checks.read_text(t, v)
  assert_same(v, db:first(("SELECT %s AS v, '1'::money AS x"):format(t.sql)).v, "read as text")
end

-- In an array, with NULL in it, in both forms.
function checks.read_array(t, v)
  for _, sql in ipairs{ "SELECT ARRAY[%s, NULL, %s] AS v", "SELECT ARRAY[%s, NULL, %s] AS v, '1'::money AS x" } do
    local list = db:first(sql:format(t.sql, t.sql)).v
    assert.equal(fastpg.array_mt, getmetatable(list))
    assert.equal(3, #list)
    assert_same(v, list[1], "element of an array")
    assert.equal(null, list[2])
    assert_same(v, list[3], "element of an array")
  end
end

-- As a parameter, by a statement that is there after the first time.
function checks.send(t, v)
  for _ = 1, 2 do
    if t.group.equal then
      assert.is_true(db:item("SELECT " .. t.group.equal:format(t.sql), v))
    else
      assert.equal(t.server_text, db:item(("SELECT ($1::%s)::text"):format(t.type), v))
    end
  end
end

-- In a list as a parameter.
function checks.send_array(t, v)
  local sql = ("SELECT ($1::%s[])::text = (ARRAY[%s, NULL, %s])::text"):format(t.type, t.sql, t.sql)
  if t.type == "json" then sql = "SELECT to_json($1::json[])::jsonb = to_jsonb(ARRAY[" .. t.sql .. ", NULL, " .. t.sql .. "])" end
  assert.is_true(db:item(sql, { v, null, v }))
end

-- Printed inside of anonymous records and of an array of them.  (A json's own layout is gone once it is read, and
-- bytes are printed in hex.)
function checks.print_in_record(t)
  if t.type == "json" or db:item "SHOW bytea_output" ~= "hex" then return end
  local ok, list = pcall(db.q, db, ("SELECT row(%s, 1) AS v, row(row(NULL, %s)) AS w, array[row(%s)] AS x"):format(t.sql, t.sql, t.sql))
  if not ok then -- of a type of which the server has no binary form, and a record has no other for it
    assert.is_true(fastpg.is(list, "undefined_function"), tostring(list))
    assert.truthy(list.hint:find("cast it to text", 1, true))
    return
  end
  local texts = db:first(("SELECT row(%s, 1)::text AS v, row(row(NULL, %s))::text AS w, array[row(%s)]::text AS x"):format(t.sql, t.sql, t.sql))
  local cells = {}
  for cell in fastpg.html(list[1]):gmatch "<td>(.-)</td>" do
    cells[#cells + 1] = cell:gsub("&quot;", '"'):gsub("&#39;", "'"):gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&amp;", "&")
  end
  for i, name in ipairs{ "v", "w", "x" } do assert.equal((texts[name]:gsub("\n", "\\n")), cells[i]) end
end

local order = { "read_text", "read_array", "send", "send_array", "print_in_record" }

local function check(group, typename, row)
  local t = { group = group, type = typename, expected = row[2], text = group.text or default_text }
  t.sql = ("(%s)::%s"):format(row[1], typename)
  if not group.equal then t.server_text = db:item(("SELECT (%s)::text"):format(t.sql)) end
  local v = checks.read(t)
  for _, name in ipairs(order) do checks[name](t, v) end
end

-- ---- the specs ------------------------------------------------------------------------------

local function available(extension)
  return db:item("SELECT count(*) FROM pg_available_extensions WHERE name = $1", extension) > 0
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

describe("type", function()
  for _, name in ipairs(sorted(groups)) do
    local group = groups[name]
    for _, typename in ipairs(group.types) do
      it(typename .. " is read and sent in every form", function()
        if group.extension then
          if not available(group.extension) then pending("the extension is not installed") return end
          db:execute("CREATE EXTENSION IF NOT EXISTS " .. group.extension)
        end
        local seen = 0
        for _, setting in ipairs(group.settings or { "" }) do
          db:execute(setting)
          for _, row in ipairs(group.rows) do
            local ok, err = pcall(check, group, typename, row)
            if not ok then error(("%s %s: %s"):format(row[1]:sub(1, 80), setting, tostring(err)), 0) end
            seen = seen + 1
          end
        end
        assert.is_true(seen >= #group.rows)
      end)
    end
  end

  it("of a NULL is nil, and of an array's NULL fastpg.null", function()
    for _, typename in ipairs{ "bool", "int4", "int8", "float8", "numeric", "text", "bytea", "date", "interval", "jsonb", "xml",
      "uuid", "int4[]", "jsonb[]", "mood" } do
      assert.is_nil(db:item(("SELECT NULL::%s"):format(typename)))
      assert.is_nil(db:item(("SELECT $1::%s"):format(typename), nil))
      assert.is_nil(db:item(("SELECT $1::%s"):format(typename), null))
    end
    assert.is_true(rawequal(null, db:item("SELECT ARRAY[NULL::jsonb]")[1]))
    assert.equal(fastpg.json_null, db:item("SELECT ARRAY['null'::jsonb]")[1])
    assert.equal("{NULL,\"null\"}", db:item("SELECT $1::jsonb[]::text", { null, fastpg.json_null }):gsub("null}", '"null"}'))
  end)

  it("void is the empty string", function()
    assert.equal("", db:item("SELECT pg_sleep(0)"))
    assert.equal("", db:first("SELECT pg_sleep(0) AS v, '1'::money").v)
  end)

  it("char prints a byte above 127 as the server does, in both forms, and takes it back", function()
    local value = db:item("SELECT (-1)::int::\"char\"")
    assert.equal("\\377", value)
    assert.equal(value, db:first("SELECT (-1)::int::\"char\" AS c, '1'::money").c)
    if db.server_version >= 150000 then
      assert.equal(-1, db:item("SELECT $1::\"char\"::int", value))
      assert.equal("\\200", db:item("SELECT $1::\"char\"[]", { "\\200", "a" })[1])
    end
  end)
end)

describe("an array", function()
  it("may be empty, in every form", function()
    for _, typename in ipairs{ "int", "text", "numeric", "jsonb", "xml", "date", "inet", "box" } do
      for _, sql in ipairs{ "SELECT '{}'::%s[] AS v", "SELECT '{}'::%s[] AS v, '1'::money AS x" } do
        local list = db:first(sql:format(typename)).v
        assert.same({}, list)
        assert.equal("[]", fastpg.to_json(list))
      end
      assert.equal("{}", db:item(("SELECT $1::%s[]::text"):format(typename), {}))
    end
  end)

  it("may have up to six dimensions", function()
    local deep = "{{{{{{1,2},{3,NULL}}}}}}"
    for _, sql in ipairs{ "SELECT $1::int[] AS v", "SELECT $1::int[] AS v, '1'::money AS x" } do
      local list = db:first(sql, deep).v
      assert.equal("[[[[[[1,2],[3,null]]]]]]", fastpg.to_json(list))
      assert.equal(deep, db:item("SELECT $1::int[]::text", list))
    end
    assert.equal("[[\"a\",\"b,\"],[\"{\",null]]", fastpg.to_json(db:item([[SELECT '{{a,"b,"},{"{",NULL}}'::text[] ]])))
    assert.equal("{{1,2},{3,4},{5,6}}", db:item("SELECT $1::int[]::text", { { 1, 2 }, { 3, 4 }, { 5, 6 } }))
  end)

  it("may have other lower bounds", function()
    assert.same({ 1, 2, 3 }, db:item("SELECT '[0:2]={1,2,3}'::int[]"))
    assert.same({ { 1 }, { 2 } }, db:first("SELECT '[-1:0][5:5]={{1},{2}}'::int[] AS v, '1'::money AS x").v)
  end)

  it("of boxes is split at semicolons", function()
    for _, column in ipairs{ "", ", '1'::money" } do
      local boxes = db:first("SELECT '{(1,2),(3,4);(5,6),(7,8)}'::box[] AS v" .. column).v
      assert.equal(2, #boxes)
      assert.equal("(3,4),(1,2)", tostring(boxes[1]))
      assert.equal("(7,8),(5,6)", tostring(boxes[2]))
      assert.equal("{(3,4),(1,2);NULL;(7,8),(5,6)}", db:item("SELECT $1::box[]::text", { boxes[1], null, boxes[2] }))
    end
    assert.equal("{(3,4),(1,2);NULL}", db:item("SELECT $1::box[]::text", { "(1,2),(3,4)", null }))
  end)

  it("may be of an enum", function()
    assert.same({ "happy", 'so "so"' }, db:item("SELECT $1::mood[]", { "happy", 'so "so"' }))
    assert.is_true(db:item("SELECT 'sad'::mood = ANY($1)", { "happy", "sad" }))
    assert.is_false(db:item("SELECT 'sad'::mood = ANY($1)", {}))
  end)

  it("can be long", function()
    local list = {}
    for i = 1, 100000 do list[i] = i end
    assert.equal(5000050000, db:item("SELECT sum(x)::float8 FROM unnest($1::int[]) x", list))
    assert.equal(100000, #db:item("SELECT array_agg(i) FROM generate_series(1, 100000) i"))
    assert.equal(100000, #db:first("SELECT array_agg(i) AS v, '1'::money AS x FROM generate_series(1, 100000) i").v)
  end)

  it("goes back as it came, and may come from table.pack or db:arrays", function()
    local rows = db:arrays("SELECT 1, NULL::int, 3 UNION ALL SELECT 4, 5, 6")
    assert.equal("{1,NULL,3}", db:item("SELECT $1::int[]::text", rows[1]))
    assert.equal("{{1,NULL,3},{4,5,6}}", db:item("SELECT $1::int[]::text", rows))
    assert.equal("{1,NULL,NULL}", db:item("SELECT $1::int[]::text", fastpg.array{ 1, n = 3 }))
    assert.equal("[[1,null,3],[4,5,6]]", fastpg.to_json(rows))
    assert.equal("[]", fastpg.to_json(db:arrays("SELECT 1 WHERE false")))
    assert.same({ "a", "b" }, db:arrays("SELECT 1 AS a, 2 AS b").columns)
  end)

  it("is a list to cjson", function()
    local ok, cjson = pcall(require, "cjson")
    if not ok then pending("lua-cjson is not installed for this Lua") return end
    assert.equal("[1,null,2]", cjson.encode(db:item("SELECT ARRAY[1, NULL, 2]")))
  end)
end)

describe("a string inside of another value", function()
  setup(function()
    db:execute[[
      SET bytea_output = 'hex';
      CREATE TYPE bytes_range AS RANGE (subtype = bytea);
      CREATE TYPE json_range AS RANGE (subtype = jsonb);
      CREATE TYPE text_range AS RANGE (subtype = text);
      CREATE TYPE parts AS (b bytea, j jsonb, n numeric, big bigint, u uuid);
      CREATE DOMAIN words AS text[];
      CREATE DOMAIN some_parts AS parts;
    ]]
  end)

  it("is the bytes of a bytea and the string of a json", function()
    for _, column in ipairs{ "", ", '1'::money" } do
      local v = db:first("SELECT bytes_range('\\x00ff', '\\x9c') AS v" .. column).v
      assert.equal("\0\255", v.lower)
      assert.equal([=[["\\x00ff","\\x9c")]=], db:item("SELECT $1::bytes_range::text", v))
      v = db:first([=[SELECT json_range('"a"', '[1]') AS v]=] .. column).v
      assert.equal("a", v.lower)
      assert.is_true(db:item([=[SELECT $1::json_range = json_range('"a"', '[1]')]=], v))
    end
    assert.equal([[("\\x00ff","""s""",1.5,9223372036854775807,)]],
      db:item("SELECT $1::parts::text", { b = "\0\255", j = "s", n = "1.5", big = "9223372036854775807" }))
  end)

  it("must be text as anywhere else", function()
    for typename, values in pairs{
      text_range = { { lower = "a\0b" }, fastpg.range("a\0b", "c"), { upper = "\255" } },
      text = { fastpg.range("a\0b", "c") },
      parts = { { n = "1\0002" }, { u = "\255" } },
      ["numeric[]"] = { { "1\0002" } },
      ["text_range[]"] = { { fastpg.range("a\0b", "c") } },
    } do
      for _, value in ipairs(values) do
        local ok, err = pcall(db.item, db, "SELECT $1::" .. typename, value)
        assert.is_false(ok)
        assert(fastpg.is(err, "invalid_argument"), tostring(err))
      end
    end
  end)

  it("may be an element that is a list itself, of a domain over an array", function()
    local text = '{"{a,b}",NULL,"{{c},{d}}","{}"}'
    for _, column in ipairs{ "", ", '1'::money" } do
      local v = db:first("SELECT '" .. text .. "'::words[] AS v" .. column).v
      assert.equal(text, db:item("SELECT $1::words[]::text", v))
    end
    assert.equal('{"{a}","{b,c}"}', db:item("SELECT $1::words[]::text", { { "a" }, { "b", "c" } }))
  end)

  it("may be of a domain over a composite type", function()
    local text = "(,,1.5,9223372036854775807,)"
    for _, column in ipairs{ "", ", '1'::money" } do
      local v = db:first("SELECT ARRAY[$1::some_parts, NULL] AS v" .. column, text).v
      assert.equal("1.5", tostring(v[1].n))
      assert.equal(text, db:item("SELECT $1::some_parts::text", v[1]))
      assert.equal(text, db:item("SELECT ($1::some_parts[])[1]::text", v))
    end
    assert.has_error(function() db:q("SELECT $1::some_parts", { nn = 1 }) end)
    local _, err = pcall(db.q, db, "SELECT $1::some_parts", { 1, 2 })
    assert.truthy(err.message:find("a row of some_parts by its names %(%l+, .*%l+%) expected, got table"), err.message)
    local other = pg.db()
    other:set_type_codec("parts", { encode = function(v) return v[1] end })
    assert.equal(text, other:item("SELECT $1::some_parts::text", { text }))
    other:close()
  end)

  it("goes through the functions of a codec, alone too", function()
    local other = pg.db()
    other:set_type_codec("uuid", {
      decode = function(s) return "u" .. s end,
      encode = function(s) return (s:gsub("^u", "")) end,
    })
    local id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    local u = other:item("SELECT $1::uuid", id)
    assert.equal("u" .. id, u)
    assert.equal(id, other:item("SELECT $1::uuid::text", u))
    assert.equal("{" .. id .. "}", other:item("SELECT $1::uuid[]::text", { u }))
    assert.equal("(,,,," .. id .. ")", other:item("SELECT $1::parts::text", { u = u }))
    other:close()
  end)
end)

describe("xml", function()
  it("stands in an anonymous record, and says of itself what its text says", function()
    for _, text in ipairs{ "<a/>", '<?xml version="1.0" encoding="latin1"?><a>é</a>', '<?xml version="1.1" standalone="yes"?>\n<a>é</a>' } do
      local row = db:first("SELECT $1::xml AS v, row($1::xml) AS r", text)
      local as_text = db:first("SELECT $1::xml AS v, '1'::money AS m", text).v -- as xml_out prints it
      assert.equal(as_text, row.v)
      assert.equal(as_text, row.r.f1)
      db:execute "CREATE TEMP TABLE sheet (v xml)"
      db.t.sheet:copy{ { v = text } }
      assert.equal(as_text, db:item "SELECT v FROM sheet")
      db:execute "DROP TABLE sheet"
    end
  end)
end)
