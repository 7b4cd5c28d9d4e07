-- SPDX-License-Identifier: MIT
--
-- values.lua: values of every type, for spec/types_spec.lua.
--
-- A group: { types, rows, settings?, text?, equal?, extension? }.
--   types     names of types; every row is read as each of them
--   rows      { literal, expected }: an SQL expression, and the Lua value it is; without `expected`,
--             a value whose tostring is the server's text
--   settings  SQL run before; of several, all rows are read under each
--   text      fn(value) -> what the server prints for it (default: tostring, integers with %d)
--   binary    COPY takes each of the values in binary (spec/types_packed_spec.lua)
--   other     texts that are values of the first type, which the server prints otherwise: they go as text
--   equal     SQL comparison of $1 (the value, sent back) with the literal, instead of their texts
--
-- doc/types.md shows one row of each type: the one with `example = true`, or `example = "expression"`
-- where `v` printed says little; else the first.

local core = require "fastpg.core"
local fastpg = require "fastpg"

local inf = math.huge
local nan = inf - inf
local minus_zero = -1 / inf -- PUC 5.1 keeps one constant for 0 and -0
local big = 2 ^ 53
local has_integers = math.type ~= nil

-- The value of an int8: an integer, or on a Lua without them a number up to 2^53, else its digits.
local function int8(digits)
  if has_integers then return math.tointeger(digits) or load("return " .. digits)() end
  local n = tonumber(digits)
  if n >= -big and n <= big and ("%.0f"):format(n) == digits then return n end
  return digits
end

local function utf8_char(code)
  local char = string.char
  local function tail(n) return 128 + math.floor(code / 64 ^ n) % 64 end
  if code < 128 then return char(code) end
  if code < 2048 then return char(192 + math.floor(code / 64), tail(0)) end
  if code < 65536 then return char(224 + math.floor(code / 4096), tail(1), tail(0)) end
  return char(240 + math.floor(code / 262144), tail(2), tail(1), tail(0))
end

-- The first and last characters of every plane, and those at the borders of the encoding.
local planes = {}
for _, code in ipairs{ 1, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF } do
  planes[#planes + 1] = utf8_char(code)
end
for plane = 1, 16 do
  planes[#planes + 1] = utf8_char(plane * 65536) .. utf8_char(plane * 65536 + 65533)
end
planes = table.concat(planes)

local bytes = {}
for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
bytes = table.concat(bytes)

local function hex(s)
  return "\\x" .. s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
end

local function quoted(s)
  return "'" .. s:gsub("'", "''") .. "'"
end

local strings = {
  { "''", "" }, { "'a'", "a" }, { "' '", " " }, { "'NULL'", "NULL" }, { "'null'", "null" },
  { "'\"'", '"' }, { "'\\'", "\\" }, { "'{}'", "{}" }, { "'{a,b}'", "{a,b}" }, { "','", "," }, { "''''", "'" },
  { "E'a\\nb\\tc\\rd'", "a\nb\tc\rd" }, { "'$1 ? :x'", "$1 ? :x" }, { "'é ü 漢 🐘'", "é ü 漢 🐘", example = true },
}

local function with(list, ...)
  local all = {}
  for _, row in ipairs(list) do all[#all + 1] = row end
  for _, row in ipairs{ ... } do all[#all + 1] = row end
  return all
end

-- A value that has the metatable of its type.
local function geo(name, value)
  return setmetatable(value, debug.getregistry()["fastpg." .. name])
end

local function xy(x, y)
  return geo("point", { x = x + 0.0, y = y + 0.0 })
end

local function hstore(value) return geo("hstore", value) end

-- Zones with fractions of an hour, with summer time, at the far ends, and without a name.
local zones = {
  "SET TimeZone = 'UTC'", "SET TimeZone = 'America/New_York'", "SET TimeZone = 'Asia/Kolkata'",
  "SET TimeZone = 'Pacific/Kiritimati'", "SET TimeZone = 'Pacific/Pago_Pago'", "SET TimeZone = 'Europe/Dublin'",
}

-- For types that must not depend on the zone.
local two_zones = { zones[2], zones[3] }

return {
  bool = {
    types = { "boolean" },
    rows = { { "true", true }, { "false", false } },
  },
  int2 = {
    types = { "smallint" },
    rows = { { "0", 0 }, { "1", 1 }, { "-1", -1 }, { "32767", 32767, example = true }, { "-32768", -32768 } },
  },
  int4 = {
    types = { "integer" },
    rows = { { "0", 0 }, { "1", 1 }, { "-1", -1 }, { "2147483647", 2147483647, example = true }, { "'-2147483648'", -2147483648 } },
  },
  int8 = {
    types = { "bigint" },
    rows = {
      { "0", 0 }, { "1", 1 }, { "-1", -1 }, { "2147483648", 2147483648 }, { "9007199254740991", int8 "9007199254740991" },
      { "9007199254740992", int8 "9007199254740992" }, { "9007199254740993", int8 "9007199254740993" },
      { "-9007199254740992", int8 "-9007199254740992" }, { "-9007199254740993", int8 "-9007199254740993" },
      { "1000000000000000000", int8 "1000000000000000000" },
      { "9223372036854775807", int8 "9223372036854775807", example = true },
      { "'-9223372036854775808'", has_integers and math.mininteger or "-9223372036854775808" },
    },
  },
  oid = {
    types = { "oid" },
    rows = { { "0", 0 }, { "1", 1 }, { "2147483648", 2147483648 }, { "'4294967295'", 4294967295, example = true } },
  },
  float8 = {
    types = { "double precision" },
    text = function(v) return core.float_text(v) end,
    rows = {
      { "0", 0 }, { "'-0'", minus_zero }, { "1", 1 }, { "-1.5", -1.5, example = true }, { "0.1", 0.1 }, { "1e15", 1e15 }, { "1e14", 1e14 },
      { "123456789012345", 123456789012345 }, { "1234567890123456", 1234567890123456 }, { "1e-4", 1e-4 }, { "1e-5", 1e-5 },
      { "1e100", 1e100 }, { "'NaN'", nan }, { "'Infinity'", inf }, { "'-Infinity'", -inf },
      { "'1.7976931348623157e308'", 1.7976931348623157e308 }, { "'2.2250738585072014e-308'", 2.2250738585072014e-308 },
      { "'4.9406564584124654e-324'", 4.9406564584124654e-324 }, { "'1e-310'", 1e-310 },
      { "'2.225073858507201e-308'", 2.225073858507201e-308 }, { "9007199254740993", 9007199254740992 },
      { "0.30000000000000004", 0.30000000000000004 }, { "pi()", math.pi }, { "1.0/3", 1 / 3 }, { "'9.5367431640625e-07'", 2 ^ -20 },
      { "'5e-324'", 4.9406564584124654e-324 }, { "'1.2345678901234567e-300'", 1.2345678901234567e-300 },
    },
  },
  float4 = {
    types = { "real" },
    text = function(v) return core.float_text(v, true) end,
    rows = {
      { "0", 0 }, { "'-0'", minus_zero }, { "1", 1 }, { "-1.5", -1.5, example = true }, { "0.1" }, { "1e6", 1e6 }, { "123456", 123456 },
      { "1234567", 1234567 }, { "1e-4" }, { "1e-5" }, { "'NaN'", nan }, { "'Infinity'", inf }, { "'-Infinity'", -inf },
      { "'3.4028235e38'", 3.4028234663852886e38 }, { "'1.17549435e-38'", 1.1754943508222875e-38 },
      { "'1.4e-45'", 2 ^ -149 }, { "'1e-44'" }, { "16777217", 16777216 }, { "0.3" }, { "6.02e23" }, { "'8.5e-39'" },
    },
  },
  numeric = {
    types = { "numeric" },
    rows = {
      { "0" }, { "0.00" }, { "1" }, { "-1" }, { "1.50", example = true }, { "0.1" }, { "0.0001" }, { "0.00001" }, { "10000" }, { "99999999" },
      { "100000000.00000001" }, { "-12345.6789" }, { "'NaN'" }, { "'Infinity'" }, { "'-Infinity'" }, { "9007199254740993" },
      { "1e100" }, { "1e-100" }, { "'123456789012345678901234567890.123456789012345678901234567890'" },
      { "repeat('9', 1000)" }, { "'0.' || repeat('0', 999) || '1'" }, { "repeat('9', 131072)" }, { "'0.' || repeat('3', 16383)" },
      { "'1' || repeat('0', 131071) || '.' || repeat('0', 16382) || '1'" },
    },
  },
  numeric_with_scale = {
    types = { "numeric(10,2)" },
    rows = { { "0" }, { "1.005" }, { "-99999999.99" }, { "'NaN'" } },
  },
  text = {
    types = { "text", "character varying" },
    rows = with(strings, { quoted(planes), planes }, { "repeat('x', 1000000)", ("x"):rep(1000000) },
      { "repeat('\\\"', 100000)", ('\\"'):rep(100000) }, { "repeat('漢', 350000)", ("漢"):rep(350000) }),
  },
  bpchar = {
    types = { "character(5)" },
    equal = "$1::character(5) = %s",
    rows = { { "''", "     " }, { "'ab'", "ab   ", example = "#v" }, { "'漢字'", "漢字   " } },
  },
  name = {
    binary = true, other = { ("n"):rep(64), ("漢"):rep(30), ("n"):rep(200) },
    types = { "name" },
    rows = with(strings, { "repeat('n', 63)", ("n"):rep(63) }),
  },
  char = {
    types = { '"char"' },
    rows = { { "'a'", "a" }, { "''", "" }, { "'\"'", '"' }, { "'\\'", "\\" }, { "','", "," } },
  },
  bytea = {
    types = { "bytea" },
    settings = { "SET bytea_output = 'hex'", "SET bytea_output = 'escape'" },
    equal = "$1::bytea = %s",
    rows = {
      { "''", "" }, { "'abc'", "abc" }, { "'\\x00ff41'", "\0\255A", example = "#v, v:byte(1, -1)" }, { "'\\x00'", "\0" }, { "'\\x5c'", "\\" }, { "'\\x22'", '"' }, { "'\\x4e554c4c'", "NULL" },
      { quoted(hex(bytes)), bytes }, { quoted(hex("\\x41")), "\\x41" }, { quoted(hex("\\001")), "\\001" },
      { "decode(repeat('00ff5c22', 250000), 'hex')", ("\0\255\\\""):rep(250000) },
    },
  },
  date = {
    types = { "date" },
    settings = two_zones,
    rows = {
      { "'2024-02-29'", example = "v, v.month, v + 1" }, { "'2000-01-01'" }, { "'1970-01-01'" }, { "'1999-12-31'" }, { "'0001-01-01'" }, { "'0001-12-31 BC'" },
      { "'4714-11-24 BC'" }, { "'5874897-12-31'" }, { "'infinity'" }, { "'-infinity'" }, { "'10000-01-01'" },
    },
  },
  time = {
    types = { "time", "time(3)" },
    rows = {
      { "'00:00:00'" }, { "'23:59:59.999'" }, { "'24:00:00'" }, { "'12:34:56.5'", example = "v, v.min, v.usec" }, { "'04:05:06.001'" }, { "'00:00:00.1'" },
    },
  },
  timetz = {
    types = { "time with time zone" },
    settings = two_zones,
    rows = {
      { "'00:00:00+00'" }, { "'23:59:59.999999+05:30'" }, { "'24:00:00-12'" }, { "'12:00:00+15:59:59'" },
      { "'12:00:00-15:59:59'" }, { "'04:05:06.789-08'", example = "v, v.hour, v.offset" }, { "'04:05:06.000001+00:00:01'" },
    },
  },
  timestamp = {
    types = { "timestamp" },
    settings = two_zones,
    rows = {
      { "'2024-02-29 12:34:56.789012'", example = "v, v.hour, v.usec" }, { "'2000-01-01 00:00:00'" }, { "'1999-12-31 23:59:59.999999'" },
      { "'4714-11-24 00:00:00 BC'" }, { "'294276-12-31 23:59:59.999999'" }, { "'infinity'" }, { "'-infinity'" },
      { "'0001-12-31 23:59:59.5 BC'" }, { "'0001-01-01 00:00:00'" }, { "'1969-12-31 23:59:59.000001'" },
      { "'10000-01-01 00:00:00.1'" },
    },
  },
  timestamptz = {
    types = { "timestamp with time zone" },
    settings = with(zones, "SET TimeZone = '<+03>-03'", "SET TimeZone = '-7.5'", "SET TimeZone = 'EST5EDT'",
      "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE"),
    rows = {
      { "'2024-02-29 12:34:56.789012+00'", example = "v, v.hour, v.offset" }, { "'2024-07-01 12:00:00+00'" }, { "'2000-01-01 00:00:00+00'" },
      { "'1883-11-18 12:00:00+00'" }, { "'1883-11-19 12:00:00+00'" }, { "'1600-01-01 00:00:00.5+00'" },
      { "'0044-03-15 12:00:00+00 BC'" }, { "'4714-11-25 00:00:00+00 BC'" }, { "'294276-12-30 00:00:00+00'" },
      { "'infinity'" }, { "'-infinity'" }, { "'2024-03-10 06:59:59.999999+00'" }, { "'2024-03-10 07:00:00+00'" },
      { "'2024-11-03 05:30:00+00'" }, { "'2024-11-03 06:30:00+00'" }, { "'2100-07-01 12:00:00+00'" },
      { "'1945-08-14 23:00:00+00'" }, { "'2037-12-31 00:00:00+00'" }, { "'2400-07-01 00:00:00+00'" },
    },
  },
  interval = {
    types = { "interval" },
    rows = {
      { "'0'" }, { "'1 day'" }, { "'-1 day'" }, { "'1 mon'" }, { "'1 year'" }, { "'-1 year -1 mon'" }, { "'00:00:00.000001'" },
      { "'-00:00:01.5'" }, { "'1 year 2 mons 3 days 04:05:06.789'", example = "v, v.months, v.days" }, { "'-1 mon +1 day -01:00'" }, { "'1 day -00:00:01'" },
      { "'178956970 years 7 mons'" }, { "'-178956970 years -8 mons'" }, { "'2147483647 days'" }, { "'-2147483648 days'" },
      { "'2562047788:00:54.775807'" }, { "'100 hours'" }, { "'30 days'" }, { "'24:00:00'" },
      { "'1 year -1 day'" },
    },
  },
  uuid = {
    binary = true,
    other = {
      "a0eebc999c0b4ef8bb6d6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
      "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}",
    },
    types = { "uuid" },
    rows = {
      { "'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000" },
      { "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", example = true },
      { "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "ffffffff-ffff-ffff-ffff-ffffffffffff" },
    },
  },
  json = {
    types = { "jsonb", "json" },
    text = function(v) return v end, -- compared by the server's jsonb
    equal = "$1::jsonb = (%s)::jsonb",
    rows = {
      { "'null'", fastpg.json_null }, { "'true'", true }, { "'false'", false }, { "'1'", 1 }, { "'-1.5'", -1.5 }, { "'\"a\"'", "a" },
      { "'\"\"'", "" }, { "'\"{\\\"a\\\": 1}\"'", '{"a": 1}' }, { "'[]'" }, { "'{}'" }, { "'[1, \"two\", null, [], {}]'" },
      { "'{\"a\": {\"b\": [1, 2, {\"c\": null}]}, \"é\": \"\\u6f22\"}'", example = "v.a.b[2], v[\"é\"]" }, { "'[[[[[]]]]]'" }, { "'9007199254740993'" },
      { "'123456789012345678901234567890.5'" }, { "'1e400'" }, { "'\"\\ud83d\\udc18 \\\\ \\\" \\n\"'" },
      { "(SELECT json_agg(i) FROM generate_series(1, 2000) i)::text" },
    },
  },
  xml = {
    types = { "xml" },
    equal = "$1::xml::text = (%s)::text",
    rows = { { "'x'", "x" }, { "'<a/>'", "<a/>", example = true }, { "'<a b=\"c\">é &lt; \\</a>'", '<a b="c">é &lt; \\</a>' } },
  },
  money = {
    types = { "money" },
    rows = { { "'0'" }, { "'1.5'", example = true }, { "'-1234567.89'" }, { "'92233720368547758.07'" } },
  },
  inet = {
    binary = true,
    other = { "10.1/16", "127.0.0.1/32", "1.2.3/24", "FE80::1", "fe80:0:0:0:0:0:0:1", "::1/128", "::1:0", "1:2:3:4:5:6:7::", "010.1.1.1", "10.0.0.0/08" },
    types = { "inet" }, equal = "$1::inet = %s", -- (a cast to text adds /32)
    rows = {
      { "'127.0.0.1'", "127.0.0.1" }, { "'10.0.0.0/8'", "10.0.0.0/8", example = true }, { "'0.0.0.0/0'", "0.0.0.0/0" },
      { "'255.255.255.255/31'", "255.255.255.255/31" }, { "'::1'", "::1" }, { "'::'", "::" }, { "'fe80::1/64'", "fe80::1/64" },
      { "'::/0'", "::/0" }, { "'1:0:0:2::3'", "1:0:0:2::3" }, { "'1::2:0:0:3:4'", "1::2:0:0:3:4" }, { "'1:0:2:3:4:5:6:7'", "1:0:2:3:4:5:6:7" },
      { "'1:2:3:4:5:6:7::'", "1:2:3:4:5:6:7:0" }, { "'1:2:3:4:5:6::'", "1:2:3:4:5:6::" }, { "'::2:3:4:5:6:7:8'", "0:2:3:4:5:6:7:8" }, { "'::2'", "::2" }, { "'::1:0'", "::0.1.0.0" },
      { "'::ffff:1.2.3.4/96'", "::ffff:1.2.3.4/96" }, { "'::1.2.3.4'", "::1.2.3.4" }, { "'0:0:0:0:ffff::'", "::ffff:0:0:0" },
      { "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
    },
  },
  cidr = {
    binary = true, other = { "10", "10.1", "1.2.3.4", "192.168.1", "10.0.0.0/08", "::1", "2001:DB8::/32" },
    types = { "cidr" },
    rows = {
      { "'10.0.0.0/8'", "10.0.0.0/8" }, { "'::/0'", "::/0" }, { "'0/0'", "0.0.0.0/0" }, { "'1.2.3.4'", "1.2.3.4/32" },
      { "'2001:db8::/32'", "2001:db8::/32" }, { "'::1'", "::1/128" }, { "'::ffff:0:0/96'" },
    },
  },
  macaddr = { binary = true, other = { "08002b:010203", "0800.2b01.0203", "08-00-2b-01-02-03", "08002b010203", "8:0:2b:1:2:3", " 08:00:2b:01:02:03" }, types = { "macaddr" }, rows = { { "'08:00:2B:01:02:03'", "08:00:2b:01:02:03" }, { "'ffffffffffff'" } } },
  macaddr8 = { binary = true, other = { "08:00:2b:01:02:03", "08002b:0102030405", "08-00-2b-01-02-03-04-05", "08002b0102030405" }, types = { "macaddr8" }, rows = { { "'08:00:2b:01:02:03:04:05'", "08:00:2b:01:02:03:04:05" } } },
  bit = { binary = true, other = { "B10101", "b00000" }, types = { "bit(5)" }, rows = { { "B'10101'", "10101" }, { "B'00000'", "00000" } } },
  varbit = {
    binary = true, other = { "B10101", "x8", "X1f", "b" },
    types = { "bit varying" },
    rows = {
      { "B''", "" }, { "B'1'", "1" }, { "B'00000000'", "00000000" }, { "B'000000011'", "000000011", example = true }, { "repeat('10', 500)" },
      { "repeat('011', 100000)", ("011"):rep(100000) },
    },
  },
  point = {
    binary = true, other = { "1,2", " ( 1 , 2 ) ", "(+1,2)", "(1e2,0x10)", "(nan,inf)", "(NaN,-infinity)", "(0.0000000000000000000000000000000000000000000000000000000000001,2)" },
    types = { "point" },
    rows = {
      { "'(1,-2.5)'", geo("point", { x = 1.0, y = -2.5 }), example = "v, v.y" }, { "'(0,-0)'" }, { "'(NaN,Infinity)'" }, { "'(-Infinity,1e-300)'" },
      { "'(0.1,1e300)'" }, { "'(123456789012345678,5e-324)'" },
    },
  },
  line = {
    binary = true, other = { "{ 1, 2, 3 }", "[(0,0),(1,1)]", "0,0,1,2", "(0,0),(2,1)" },
    types = { "line" },
    rows = { { "'{1,-1,0}'", geo("line", { a = 1.0, b = -1.0, c = 0.0 }), example = true }, { "'{0.1,2e-10,-3e50}'" } },
  },
  lseg = {
    binary = true, other = { "((0,0),(1,1))", "(0,0),(1,1)", "0,0,1,1", "[ (0,0), (1,1) ]" },
    types = { "lseg" },
    rows = { { "'[(0,0),(1,1.5)]'", geo("lseg", { p1 = xy(0, 0), p2 = xy(1, 1.5) }), example = "v, v.p2" }, { "'[(-1e300,NaN),(Infinity,-0)]'" } },
  },
  box = {
    binary = true, other = { "((1,2),(3,4))", "1,2,3,4", "(1,2), (3,4)" },
    types = { "box" },
    rows = {
      { "'(1,2),(3,4)'", geo("box", { high = xy(3, 4), low = xy(1, 2) }), example = "v, v.high" }, { "'(0,0),(0,0)'" },
      { "'(Infinity,1),(-Infinity,0)'" },
    },
  },
  path = {
    binary = true, other = { "(0,0),(1,2)", "0,0,1,2", "(0,0,1,2)", "[ (0,0),(1,2)]", "(1,2)" },
    types = { "path" },
    rows = {
      { "'[(0,0),(1,2)]'", geo("path", { closed = false, points = { xy(0, 0), xy(1, 2) } }), example = "v, v.closed, #v.points" }, { "'((0,0),(1,1))'" },
      { "'((1,2))'", geo("path", { closed = true, points = { xy(1, 2) } }) }, { "'[(1,2)]'" },
      { "('[' || repeat('(1,-2.5),', 10000) || '(0,0)]')" },
    },
  },
  polygon = {
    binary = true, other = { "(0,0),(1,2)", "0,0,1,2", "(0,0,1,2)", "(1,2)" },
    types = { "polygon" },
    rows = {
      { "'((0,0),(1,1),(1,0))'", example = "v, #v.points" }, { "'((1,2))'", geo("polygon", { points = { xy(1, 2) } }) },
      { "('(' || repeat('(0.1,-2.5),', 10000) || '(0,0))')" },
    },
  },
  circle = {
    binary = true, other = { "((0,1),2)", "(0,1),2", "0,1,2", "< (0,1), 2 >" },
    types = { "circle" },
    rows = {
      { "'<(0,1),2.5>'", geo("circle", { center = xy(0, 1), radius = 2.5 }), example = "v, v.radius" }, { "'<(0,0),0>'" },
      { "'<(-1e300,NaN),Infinity>'" },
    },
  },
  tsvector = {
    types = { "tsvector" },
    rows = {
      { "'a fat cat:3'", "'a' 'cat':3 'fat'" }, { "''", "" }, { "'a:1A,2B,3C,4D,16383 b:5*'" }, { "'x:1,1,2'" },
      { "$$'it''s' 'back\\\\slash' 'a b' '''' 'é'$$" },
      { "to_tsvector('english', 'The fat cats sat on a mat and ate a fat rat')" },
      { "(SELECT string_agg('w' || i || ':' || (i % 16383 + 1) || 'B', ' ') FROM generate_series(1, 5000) i)" },
    },
  },
  tsquery = {
    types = { "tsquery" },
    rows = {
      { "'fat & !rat'", "'fat' & !'rat'" }, { "''", "" }, { "'a'", "'a'" }, { "'!a'" }, { "'!!a'" }, { "'!(a & b)'" },
      { "'a & b | c & d'" }, { "'(a | b) & (c | d)'" }, { "'a & (b & c)'" }, { "'(a & b) & c'" }, { "'a | (b | c)'" },
      { "'a <-> b'" }, { "'a <-> b <-> c'" }, { "'a <-> (b <-> c)'" }, { "'a <3> b & c'" }, { "'a <0> b'" }, { "'a <16384> b'" },
      { "'(a & b) <-> c'" }, { "'a <-> (b & c)'" }, { "'!a <-> !b'" }, { "'!(a <-> b)'" }, { "'a <-> !(b | c)'" },
      { "'(a <-> b) <2> (c <3> d | e)'" }, { "'a:A & b:*AB & c:ABCD & d:* & e:d'" },
      { "$$'it''s' & 'back\\\\slash' & 'a b' & '''' & 'é'$$" },
      { "to_tsquery('english', 'cats & (dogs | !birds) <-> fish')" },
      { "(SELECT string_agg('w' || i, ' & ') FROM generate_series(1, 1000) i)" }, { "(repeat('!', 30) || 'x')" },
      { "(repeat('(a | ', 1000) || 'x' || repeat(')', 1000))" },
    },
  },
  ranges = { types = { "int4range", "int8range", "numrange" }, rows = { { "'[1,5)'", example = "v, v.lower, v.upper_inc" }, { "'empty'" }, { "'(,)'" }, { "'[3,)'" } } },
  tstzrange = { types = { "tstzrange" }, settings = zones, rows = { { "'[2024-01-01 00:00+00,2024-02-01 00:00+00)'" } } },
  tsrange = { types = { "tsrange" }, rows = { { "'[2024-01-01 00:00:00.5,infinity)'" }, { "'(,2024-02-29)'" }, { "'empty'" } } },
  daterange = { types = { "daterange" }, rows = { { "'[2024-02-28,2024-03-01)'", example = "v, v.lower.day" }, { "'(,)'" }, { "'empty'" } } },
  multirange = {
    types = { "int4multirange", "int8multirange", "nummultirange" },
    rows = { { "'{[1,3),[5,7)}'", example = "v, #v, v[2].lower" }, { "'{}'" }, { "'{(,)}'" } },
  },
  datemultirange = { types = { "datemultirange" }, rows = { { "'{[2024-02-28,2024-03-01),[2024-05-01,)}'" }, { "'{}'" } } },
  tsmultirange = {
    types = { "tsmultirange", "tstzmultirange" }, settings = { zones[1], zones[3] },
    rows = { { "'{[2024-01-01 00:00:00,2024-02-01 00:00:00.25),[2024-05-01 12:00:00,)}'" }, { "'{}'" } },
  },
  lsn = { binary = true, other = {}, types = { "pg_lsn" }, rows = { { "'16/B374D848'", "16/B374D848" }, { "'0/0'", "0/0" }, { "'FFFFFFFF/FFFFFFFF'" } } },
  reg = { types = { "regclass" }, rows = { { "'pg_class'", "pg_class" } } },
  regtype = { types = { "regtype" }, rows = { { "'int4'", "integer" } } },
  regproc = { types = { "regproc" }, rows = { { "'now'", "now" } } },
  regprocedure = { types = { "regprocedure" }, rows = { { "'abs(int8)'", "abs(bigint)" } } },
  regoper = { types = { "regoper" }, rows = { { "'||/'", "||/" } } },
  regoperator = { types = { "regoperator" }, rows = { { "'+(int4,int4)'", "+(integer,integer)" } } },
  regconfig = { types = { "regconfig" }, rows = { { "'english'", "english" } } },
  regdictionary = { types = { "regdictionary" }, rows = { { "'simple'", "simple" } } },
  regnamespace = { types = { "regnamespace" }, rows = { { "'pg_catalog'", "pg_catalog" } } },
  regrole = { types = { "regrole" }, rows = { { "'pg_monitor'", "pg_monitor" } } },
  regcollation = { types = { "regcollation" }, rows = { { "'\"C\"'", '"C"' } } },
  aclitem = { types = { "aclitem" }, rows = { { "'pg_monitor=r*w/pg_monitor'", "pg_monitor=r*w/pg_monitor" } } },
  tid = { binary = true, other = { "( 1,2)", "(1, 2)" }, types = { "tid" }, rows = { { "'(1,2)'", "(1,2)" }, { "'(4294967295,65535)'", "(4294967295,65535)" } } },
  xid = { binary = true, other = { "010", "0x1F", " 7", "+7" }, types = { "xid", "cid" }, rows = { { "'3'", "3" }, { "'4294967295'", "4294967295" } } },
  xid8 = { binary = true, other = { "010", "0x1F", " 7", "+7" }, types = { "xid8" }, rows = { { "'18446744073709551615'", "18446744073709551615" }, { "'0'", "0" } } },
  vectors = { types = { "int2vector", "oidvector" }, rows = { { "'1 2 3'", "1 2 3" }, { "''", "" } } },
  int2vector = { types = { "int2vector" }, rows = { { "'-32768 0 32767'", "-32768 0 32767" } } },
  oidvector = { types = { "oidvector" }, rows = { { "'4294967295'", "4294967295" } } },
  snapshot = {
    types = { "pg_snapshot", "txid_snapshot" },
    rows = { { "'10:20:10,14,15'", "10:20:10,14,15" }, { "'1:1:'", "1:1:" }, { "'9223372036854775806:9223372036854775807:'" } },
  },
  refcursor = { types = { "refcursor" }, rows = with(strings) },
  jsonpath = { binary = true, other = {}, types = { "jsonpath" }, rows = { { "'$.\"a\"[*]'", '$."a"[*]' }, { "'strict $.a ? (@ > 1.5)'" } } },

  -- types of a database
  enum = { types = { "mood" }, rows = { { "'happy'", "happy" }, { "'so \"so\"'", 'so "so"' } } },
  domain = { types = { "positive" }, rows = { { "1", 1 }, { "2147483647", 2147483647 } } },
  composite = { types = { "pair" }, equal = "$1::pair = %s", rows = { { "row(1,'a b')", example = "v, v.b" }, { "row(NULL,'')" } } },
  hstore = {
    binary = true, other = { "a=>1, a=>2", "a=>NULL,b=>c" },
    types = { "hstore" }, extension = "hstore",
    rows = {
      { "'a=>1'", hstore{ a = "1" }, example = "v, v.a" }, { "''", hstore{} },
      { "'a=>NULL, b=>\"NULL\", c=>\"\"'", hstore{ a = fastpg.null, b = "NULL", c = "" } },
      { [[$$"it's"=>"\"q\"", "\\"=>"\\\\\"", ""=>"x", ", "=>"=>", "é 漢"=>"$$ || E'\n"']],
        hstore{ ["it's"] = '"q"', ["\\"] = '\\\\"', [""] = "x", [", "] = "=>", ["é 漢"] = "\n" } },
      { "(SELECT hstore(array_agg('k' || i), array_agg(repeat('\\\"', i))) FROM generate_series(1, 300) i)" },
    },
  },
  ltree = { binary = true, other = {}, types = { "ltree" }, extension = "ltree", rows = { { "'a.b_c.D9'", "a.b_c.D9" }, { "''", "" } } },
  lquery = { binary = true, other = {}, types = { "lquery" }, extension = "ltree", rows = { { "'a.*{1,3}.!b|c@%'" } } },
  ltxtquery = { binary = true, other = {}, types = { "ltxtquery" }, extension = "ltree", rows = { { "'a & !b | c*@%'" } } },
  citext = { types = { "citext" }, extension = "citext", rows = { { "'Ab'", "Ab" } } },
}
