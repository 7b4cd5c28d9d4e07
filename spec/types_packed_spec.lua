-- SPDX-License-Identifier: MIT
--
-- types_packed: strings, tables of geometry and hstore as parameters: in binary where they are spelled
-- as the server prints them, as text where they are not, with the same value in any place.
--
-- Which form it was, COPY tells: its binary format has no other.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local groups = dofile "spec/types/values.lua"

local null = fastpg.null
local db = pg.db()

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function available(extension)
  return db:item("SELECT count(*) FROM pg_available_extensions WHERE name = $1", extension) > 0
end

-- Tables packed (what is sent) and wanted (what the server made of literals), with a type of rows and
-- one of ranges over the type, where it has an order.
local function make(typename)
  db:execute "DROP TABLE IF EXISTS packed, wanted; DROP TYPE IF EXISTS packed_row, packed_range"
  db:execute(("CREATE TYPE packed_row AS (n int, v %s, vs %s[])"):format(typename, typename))
  local ordered = pcall(db.execute, db, ("CREATE TYPE packed_range AS RANGE (subtype = %s)"):format(typename))
  db:execute(("CREATE TABLE packed (i int, v %s, vs %s[], c packed_row, r %s)"):format(typename, typename,
    ordered and "packed_range" or "int"))
  db:execute "CREATE TABLE wanted (LIKE packed)"
  db:refresh()
  return ordered
end

-- The record that holds the value everywhere, beside one of the others.
local function record(i, v, beside, ordered)
  return { i = i, v = v, vs = { v, null, beside }, c = { n = i, v = v, vs = { beside, v } },
    r = ordered and { lower = v, upper = v, upper_inc = true } or nil }
end

-- The same from SQL expressions.
local function insert_wanted(i, v, beside, ordered)
  db:execute(("INSERT INTO wanted SELECT %d, %s, ARRAY[%s, NULL, %s], ROW(%d, %s, ARRAY[%s, %s])::packed_row, %s"):format(
    i, v, v, beside, i, v, beside, v, ordered and ("packed_range(%s, %s, '[]')"):format(v, v) or "NULL"))
end

local function assert_as_wanted(way, count)
  assert.equal(count, db:item "SELECT count(*) FROM packed")
  local bad = db:q [[SELECT i, p.v::text AS came, w.v::text AS wanted, p::text AS all_came, w::text AS all_wanted
    FROM packed p RIGHT JOIN wanted w USING (i) WHERE p::text IS DISTINCT FROM w::text]]
  assert(#bad == 0, way .. ": " .. tostring(bad):sub(1, 2000))
  db:execute "TRUNCATE packed"
end

local function short(sql) return #db:item(("SELECT (%s)::text"):format(sql)) < 2000 end -- of which a row can hold six

describe("a value goes as it is spelled, alone, in an array, in a row, in a range and by COPY:", function()
  for _, name in ipairs(sorted(groups)) do
    local group = groups[name]
    if group.binary then
      for _, typename in ipairs(group.types) do
        it(typename, function()
          if group.extension then
            if not available(group.extension) then pending("the extension is not installed") return end
            db:execute("CREATE EXTENSION IF NOT EXISTS " .. group.extension)
          end
          local ordered, list, n = make(typename) and name ~= "hstore", {}, 0 -- (ranges of which are text)
          local first_sql = ("(%s)::%s"):format(group.rows[1][1], typename)
          local first = db:item("SELECT " .. first_sql)
          local function add(v, sql)
            n = n + 1
            list[n] = record(n, v, first, ordered)
            insert_wanted(n, sql, first_sql, ordered)
          end
          for _, row in ipairs(group.rows) do
            local sql = ("(%s)::%s"):format(row[1], typename)
            if short(sql) then add(db:item("SELECT " .. sql), sql) end
          end
          local canonical = n
          for i = 1, n do db.t.packed:insert(list[i]) end
          assert_as_wanted("insert", n)
          assert.equal(n, db.t.packed:copy(list, { format = "binary" }))
          assert_as_wanted("COPY in binary", n)
          assert.equal(n, db.t.packed:copy(list))
          assert_as_wanted("COPY", n)
          assert.equal(n, db.t.packed:copy(list, { format = "text" }))
          assert_as_wanted("COPY as text", n)

          if typename ~= group.types[1] then return end
          for _, text in ipairs(group.other) do add(text, ("'%s'::text::%s"):format(text, typename)) end
          for i = 1, n do db.t.packed:insert(list[i]) end
          assert_as_wanted("other spellings", n)
          assert.equal(n, db.t.packed:copy(list))
          assert_as_wanted("other spellings by COPY", n)
          for i = canonical + 1, n do
            local ok, err = pcall(db.t.packed.copy, db.t.packed, { { v = list[i].v } }, { format = "binary" })
            assert.is_false(ok, group.other[i - canonical])
            assert.truthy(err.message:find('row 1, column "v": .+: string has no binary form here'), err.message)
          end
        end)
      end
    end
  end
end)

describe("a string that is no value", function()
  it("is refused by the server as before", function()
    for typename, texts in pairs{
      uuid = { "", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 x" },
      inet = { "", "1.2.3.4/33", "::1/129", "1.2.3.256", ":::", "1.2.3.4/", "1.2.3.4/-1", "fe80::1%eth0" },
      cidr = { "10.0.0.1/8", "::1/64", "1.2.3.4/24" },
      macaddr = { "", "08:00:2b:01:02", "08:00:2b:01:02:0g", "08:00:2b:01:02:03:" },
      macaddr8 = { "", "08:00:2b:01:02:03:04:0g" },
      varbit = { "2", "10 ", "1012" },
      point = { "", "(1,2", "(1,2)x", "(1e400,2)", "(1e-400,2)", "(,1)", "(1,2,3)", "(--1,2)" },
      line = { "{0,0,1}", "{1e-7,-1e-7,1}", "{1,2}" },
      circle = { "<(0,0),-1>", "<(0,0),>" },
      path = { "", "()", "[]", "[(1,2)", "((1,2),)" },
      polygon = { "", "()", "((1,2)" },
      pg_lsn = { "", "1", "/", "1/", "/1", "123456789/0", "0/123456789", "1/G" },
      tid = { "", "(1)", "(1,65536)", "(1,2", "(-1,x)" },
      hstore = { "a", "a=>" },
    } do
      for _, text in ipairs(texts) do
        if typename == "hstore" then db:execute "CREATE EXTENSION IF NOT EXISTS hstore" end
        local ok, err = pcall(db.item, db, ("SELECT $1::%s"):format(typename), text)
        local literal_ok, literal_err = pcall(db.item, db, ("SELECT '%s'::text::%s"):format(text, typename))
        assert.is_false(literal_ok, typename .. " " .. text)
        assert.is_false(ok, typename .. " " .. text)
        assert.equal(literal_err.sqlstate, err.sqlstate)
        assert.equal(literal_err.message, err.message)
      end
    end
  end)

  it("may be one to the server all the same", function()
    for typename, texts in pairs{ xid = { "99999999999", "-1", "08", "7x", "" }, xid8 = { "99999999999999999999", "-1", "08" }, cid = { "-1", "010" } } do
      for _, text in ipairs(texts) do
        local ok, came = pcall(db.item, db, ("SELECT $1::%s::text"):format(typename), text)
        local literal_ok, wanted = pcall(db.item, db, ("SELECT '%s'::text::%s::text"):format(text, typename))
        assert.equal(literal_ok, ok)
        if ok then assert.equal(wanted, came) else assert.equal(wanted.message, came.message) end
      end
    end
  end)
end)

describe("a string with a slip in it", function()
  local ROUNDS = 120
  local alphabet = "0123456789abfABF:/.,-+()[]{}<> exNIy'\"$"

  local seed = 42
  local function dice(n)
    seed = (seed * 16807) % 2147483647
    return seed % n + 1
  end

  -- One or two characters are gone, new, or others.
  local function change(text)
    for _ = 1, dice(2) do
      local i, at = dice(#text + 1), dice(#alphabet)
      local new = dice(3) == 1 and "" or alphabet:sub(at, at)
      text = text:sub(1, i - 1) .. new .. text:sub(i + dice(2) - 1)
    end
    return text
  end

  for typename, texts in pairs{
    uuid = { "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" }, inet = { "10.0.0.0/8", "192.168.100.1", "2001:db8::1:0/64", "::ffff:1.2.3.4" },
    cidr = { "10.0.0.0/8", "2001:db8::/32", "::/0", "1.2.3.4/32" }, macaddr = { "08:00:2b:01:02:03" },
    macaddr8 = { "08:00:2b:01:02:03:04:05" }, varbit = { "10110" }, pg_lsn = { "16/B374D848" }, tid = { "(17,2)" },
    xid = { "429496729" }, xid8 = { "1844674407370955161" }, point = { "(1.5,-2e-10)", "(NaN,-Infinity)" }, line = { "{1,-1,0.5}" },
    lseg = { "[(0,0),(1,1.5)]" }, box = { "(3,4),(1,2)" }, path = { "[(0,0),(1,2)]", "((0,0),(1,2))" }, polygon = { "((0,0),(1,1))" },
    circle = { "<(0,1),2.5>" }, jsonpath = { '$."a"[*]' }, name = { ("n"):rep(63) },
  } do
    it("is to the server what it is as text: " .. typename, function()
      local sent, as_text = ("SELECT format('%%s', $1::%s)"):format(typename), ("SELECT format('%%s', $1::text::%s)"):format(typename)
      for n = 1, ROUNDS do
        local text = change(texts[n % #texts + 1])
        local ok, came = pcall(db.item, db, sent, text)
        local wanted_ok, wanted = pcall(db.item, db, as_text, text)
        assert(ok == wanted_ok, ("%s: %s, but %s"):format(text, tostring(came), tostring(wanted)))
        if not ok then came, wanted = came.sqlstate .. came.message, wanted.sqlstate .. wanted.message end
        assert.equal(wanted, came)
      end
    end)
  end
end)

describe("one value that has no binary form", function()
  it("makes text of all it is in", function()
    local a, b = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}"
    assert.equal(("{%s,NULL,%s}"):format(a, a), db:item("SELECT $1::uuid[]::text", { a, null, b }))
    assert.equal(("{{%s},{%s}}"):format(a, a), db:item("SELECT $1::uuid[]::text", { { b }, { a } }))
    assert.equal('{"(1,2)","(3,4)"}', db:item("SELECT $1::point[]::text", { { x = 1, y = 2 }, "3,4" }))
    assert.equal("[0:1]={10.0.0.1,10.0.0.0/8}", db:item("SELECT $1::inet[]::text", fastpg.array({ "10.0.0.1", "10/8" }, { lower = { 0 } })))
    assert.equal("{101,11}", db:item("SELECT $1::varbit[]::text", { 101, "b11" }))
  end)

  it("is a numeric beyond float8", function()
    assert.equal("(0.1,1e+15)", db:item("SELECT $1::point::text", { x = fastpg.numeric("0.1" .. ("0"):rep(70)), y = fastpg.numeric "1e15" }))
    assert.equal("(0,NaN)", db:item("SELECT $1::point::text", { x = fastpg.numeric "0.00", y = fastpg.numeric "NaN" }))
    for _, digits in ipairs{ "1e400", "1e-400" } do
      local ok, err = pcall(db.item, db, "SELECT $1::point", { x = fastpg.numeric(digits), y = 1 })
      assert.is_false(ok)
      assert.equal("numeric_value_out_of_range", err.name)
    end
  end)
end)

describe("a number", function()
  it("goes as its digits do", function()
    assert.equal("101", db:item("SELECT $1::varbit::text", 101))
    assert.equal("7", db:item("SELECT $1::xid::text", 7))
    assert.equal("7", db:item("SELECT $1::xid8::text", fastpg.numeric "7"))
    assert.equal("12", db:item("SELECT $1::name::text", 12))
    assert.is_false((pcall(db.item, db, "SELECT $1::varbit", 2)))
    db:execute "DROP TABLE IF EXISTS numbered; CREATE TABLE numbered (b varbit, x xid, n name)"
    assert.equal(1, db.t.numbered:copy({ { b = 110, x = 5, n = 7 } }, { format = "binary" }))
    assert.equal("(110,5,7)", db:item "SELECT numbered::text FROM numbered")
    assert.is_false((pcall(db.t.numbered.copy, db.t.numbered, { { x = 1.5 } }, { format = "binary" })))
  end)
end)

describe("a name", function()
  it("of any length is cut off as the server does it", function()
    db:execute "DROP TABLE IF EXISTS named; CREATE TABLE named (n name, ns name[])"
    for _, name in ipairs{ ("n"):rep(63), ("n"):rep(64), ("漢"):rep(21), ("漢"):rep(22), ("é"):rep(40), ("n"):rep(62) .. "漢" } do
      local wanted = db:item("SELECT $1::text::name::text", name)
      assert.equal(wanted, db:item("SELECT $1::name::text", name))
      assert.equal(wanted, db:item("SELECT ($1::name[])[2]::text", { "x", name }))
      db:execute "TRUNCATE named"
      db.t.named:copy{ { n = name, ns = { name } }, { n = "short" } }
      local sent = false
      db.t.named:copy(function() if not sent then sent = true return { n = name, ns = { name } } end end)
      assert.equal(2, db:item("SELECT count(*) FROM named WHERE n::text = $1 AND ns[1] = n", wanted))
    end
  end)
end)

describe("domains over packed types", function()
  it("are packed, whatever they are called", function()
    db:execute [[
      CREATE DOMAIN mac AS macaddr; CREATE DOMAIN mac_address AS macaddr; CREATE DOMAIN m8 AS macaddr8;
      CREATE DOMAIN net AS cidr; CREATE DOMAIN corner AS point; CREATE DOMAIN id AS uuid]]
    for typename, text in pairs{ mac = "08:00:2b:01:02:03", mac_address = "08:00:2b:01:02:03", m8 = "08:00:2b:01:02:03:04:05",
      net = "10.0.0.0/8", corner = "(1,2)", id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" } do
      for _ = 1, 2 do
        assert.equal(text, tostring(db:item(("SELECT $1::%s"):format(typename), text)))
        assert.equal(text, tostring(db:item(("SELECT $1::%s[]"):format(typename), { text })[1]))
      end
    end
  end)
end)

describe("ranges whose bounds only the server can print", function()
  it("print as the server does", function()
    db:execute [[
      CREATE EXTENSION IF NOT EXISTS hstore;
      CREATE TYPE jsonb_span AS RANGE (subtype = jsonb);
      CREATE TYPE list_span AS RANGE (subtype = int[]);
      CREATE TYPE float4_span AS RANGE (subtype = float4);
      CREATE TYPE hstore_span AS RANGE (subtype = hstore);
      CREATE TYPE with_span AS (s jsonb_span, ss jsonb_span[])]]
    for _, sql in ipairs{
      [[jsonb_span('{"a": [1, 2], "b": "x y"}', '{"a": 1, "b": 2, "c": 3}')]], [[list_span('{1,2}', '{3,NULL}')]],
      [[float4_span(0.1, 0.3)]], [[hstore_span('b=>1, a=>NULL', NULL)]],
    } do
      local v, text = db:item("SELECT " .. sql), db:item("SELECT (" .. sql .. ")::text")
      assert.equal(text, tostring(v))
      local typename = sql:match "^[%w_]+"
      assert.equal(text, db:item(("SELECT $1::%s::text"):format(typename), v))
      assert.equal(text, tostring(db:item("SELECT ARRAY[" .. sql .. "]")[1]))
      assert.equal(("{%s}"):format(text), tostring(db:item(("SELECT %s(%s)"):format(typename .. "_multirange", sql))))
      assert.is_true(db:item(("SELECT ($1::%s[])[1] = %s"):format(typename, sql), { v }))
    end
    local whole = db:item [[SELECT ROW(jsonb_span('{"a": 1}', NULL), ARRAY[jsonb_span('[1, 2]', NULL)])::with_span]]
    assert.equal([=[["{""a"": 1}",)]=], tostring(whole.s))
    assert.is_true(db:item([[SELECT $1::with_span = ROW(jsonb_span('{"a": 1}', NULL), ARRAY[jsonb_span('[1, 2]', NULL)])::with_span]], whole))
    assert.equal(1, db:item([[SELECT ROW(jsonb_span('{"a": 1}', NULL), 7)]]).f1.lower.a) -- a record has no other form
  end)
end)

describe("geometric values are equal", function()
  it("by their numbers", function()
    local function value(text, typename) return db:item(("SELECT $1::%s"):format(typename), text) end
    for _, case in ipairs{
      { "point", "(0,1)", "(-0,1)" }, { "point", "(NaN,Infinity)", "(NaN,Infinity)" }, { "circle", "<(0,-0),0>", "<(-0,0),-0>" },
      { "path", "[(0,1),(2,3)]", "[(-0,1),(2,3)]" }, { "polygon", "((0,NaN))", "((-0,NaN))" }, { "line", "{1,0,0}", "{1,-0,-0}" },
    } do
      assert.is_true(value(case[2], case[1]) == value(case[3], case[1]))
    end
    for _, case in ipairs{
      { "point", "(0,1)", "(NaN,1)" }, { "point", "(Infinity,1)", "(-Infinity,1)" }, { "path", "[(0,1)]", "((0,1))" },
      { "polygon", "((0,1))", "((0,1),(0,1))" }, { "lseg", "[(0,1),(2,3)]", "[(2,3),(0,1)]" },
    } do
      assert.is_false(value(case[2], case[1]) == value(case[3], case[1]))
    end
    local p, q = value("(1,2)", "point"), value("(3,2)", "point")
    q.x = fastpg.numeric "1.0"
    assert.is_true(p == q)
  end)
end)
