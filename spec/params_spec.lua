-- SPDX-License-Identifier: MIT
--
-- parameters: every Lua value for every type is taken as the server would, or refused before
-- anything is sent, by an error that names the parameter, its type and what would do.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null = fastpg.null
local cached = pg.db()
local uncached = pg.db{ statement_cache_size = 0 }
cached:execute "CREATE TYPE param_mood AS ENUM ('happy', 'sad')"

local has_integers = math.type ~= nil
local ok_ffi, ffi = pcall(require, "ffi")

local LIST_HINT = ' (one of a list of values is "= any(?)", not "in (?)")'

-- Raises with that message, on a connection with and without a statement cache, alone and in a
-- transaction, which goes on; nothing but the preparation reached the server.
local function refused(message, typename, ...)
  local args = fastpg.args({ ... }, select("#", ...))
  local sql = ("SELECT $1::%s"):format(typename)
  for _, db in ipairs{ cached, uncached } do
    for _ = 1, 2 do
      local ok, err = pcall(db.item, db, sql, args)
      assert.is_false(ok)
      assert.equal("invalid_argument", err.name)
      assert.equal(message, err.message)
      assert.is_nil(err.sqlstate)
      assert.equal(7, db:item("SELECT 3 + $1::int", 4))
    end
  end
  cached:transaction(function(tx)
    assert.is_false((pcall(tx.item, tx, sql, args)))
    assert.equal(1, tx:item("SELECT 1")) -- not "in error": nothing was sent
  end)
end

local function taken(expected, typename, value)
  assert.equal(expected, cached:item(("SELECT ($1::%s)::text"):format(typename), value))
end

describe("integers", function()
  it("have a range", function()
    for typename, limit in pairs{ smallint = 32768, integer = 2147483648, oid = 4294967296 } do
      refused(("$1: %s expected, got number %.0f, which is out of range"):format(typename, limit), typename, limit)
      refused(("$1: %s expected, got number %.0f, which is out of range"):format(typename, -limit - 1), typename, -limit - 1)
      taken(("%.0f"):format(limit - 1), typename, limit - 1)
    end
    refused("$1: oid expected, got number -1, which is out of range", "oid", -1)
    refused(("$1: bigint expected, got number %s, which is out of range"):format(core.float_text(2 ^ 63)), "bigint", 2 ^ 63)
    refused("$1: integer expected, got number 1e+300, which is out of range", "integer", 1e300)
    taken("-9223372036854775808", "bigint", -2 ^ 63)
    taken("1", "integer", 1.0)
    taken("9007199254740992", "bigint", 2 ^ 53)
  end)

  it("have no fraction and are finite", function()
    refused("$1: integer expected, got number 1.5", "integer", 1.5)
    refused("$1: bigint expected, got number -0.25", "bigint", -0.25)
    refused("$1: integer expected, got number NaN", "integer", 0 / 0)
    refused("$1: smallint expected, got number Infinity", "smallint", math.huge)
    refused("$1: oid expected, got number -Infinity", "oid", -math.huge)
  end)

  it("are numbers", function()
    refused("$1: integer expected, got boolean", "integer", true)
    refused("$1: integer expected, got table", "integer", {})
    refused("$1: integer expected, got function", "integer", print)
    refused("$1: integer expected, got thread", "integer", coroutine.create(function() end))
    refused("$1: bigint expected, got fastpg.date", "bigint", fastpg.date "2024-01-01")
    refused("$1: bigint expected, got fastpg.numeric", "bigint", fastpg.numeric "1.5")
    refused("$1: bigint expected, got fastpg.numeric", "bigint", fastpg.numeric "NaN")
    refused("$1: bigint expected, got fastpg.numeric", "bigint", fastpg.numeric "9223372036854775808")
  end)

  it("may be exact numerics and digits", function()
    taken("9223372036854775807", "bigint", fastpg.numeric "9223372036854775807")
    taken("-9223372036854775808", "bigint", fastpg.numeric "-9223372036854775808")
    taken("5", "integer", fastpg.numeric "5.000000000000000000000000000000")
    taken("9223372036854775807", "bigint", "9223372036854775807")
  end)

  it("may be Lua's own of 64 bits", function()
    if not has_integers then pending("this Lua has no integers") return end
    taken("9223372036854775807", "bigint", math.maxinteger)
    taken("-9223372036854775808", "bigint", math.mininteger)
    taken("9223372036854775807", "text", math.maxinteger)
    taken("9223372036854775807", "numeric", math.maxinteger)
    refused("$1: integer expected, got number 9223372036854775807, which is out of range", "integer", math.maxinteger)
  end)

  it("may be LuaJIT's cdata", function()
    if not ok_ffi then pending("this Lua has no ffi") return end
    local max = ffi.new("int64_t", 2 ^ 53) + 1
    local huge = ffi.new("uint64_t", 0) - 1
    for _, typename in ipairs{ "bigint", "text", "numeric", "bigint[]" } do
      if typename == "bigint[]" then
        taken("{9007199254740993}", typename, { max })
      else
        taken("9007199254740993", typename, max)
      end
    end
    taken("18446744073709551615", "text", huge)
    taken("18446744073709551615", "numeric", huge)
    taken("5", "smallint", ffi.new("uint64_t", 5))
    refused("$1: bigint expected, got cdata, which is out of range", "bigint", huge)
    refused("$1: integer expected, got cdata, which is out of range", "integer", max)
    refused("$1: boolean (true or false) expected, got cdata", "boolean", max)
    refused("$1: integer expected, got cdata", "integer", ffi.new("struct { int x; }"))
    refused("$1: text (a string or a number) expected, got cdata", "text", ffi.new("int[2]"))
  end)
end)

describe("floats", function()
  it("are numbers that the type can hold", function()
    refused("$1: real expected, got number 1e+39, which is out of range", "real", 1e39)
    refused("$1: real expected, got number 1e-50, which is out of range", "real", 1e-50)
    refused("$1: double precision expected, got boolean", "double precision", false)
    refused("$1: real expected, got table" .. LIST_HINT, "real", { 1 })
    taken("1e-45", "real", 2 ^ -149)
    taken("Infinity", "real", math.huge)
    taken("1.5", "double precision", fastpg.numeric "1.5")
    taken("{0.1,NaN,-Infinity,-0}", "double precision[]", { 0.1, 0 / 0, -math.huge, -1 / math.huge })
    refused("$1[2]: real expected, got number 1e+39, which is out of range", "real[]", { 1, 1e39 })
  end)
end)

describe("booleans", function()
  it("are true and false, or text of the server", function()
    taken("true", "boolean", true)
    taken("false", "boolean", "off")
    taken("{t,f}", "boolean[]", { true, false })
    refused("$1: boolean (true or false) expected, got number 1", "boolean", 1)
    refused("$1: boolean (true or false) expected, got table", "boolean", {})
  end)
end)

describe("text", function()
  it("takes numbers as integers or as the server's floats, and value objects", function()
    assert.equal("1", cached:item("SELECT $1", 1))
    assert.equal("1.5", cached:item("SELECT $1", 1.5))
    assert.equal("1000000000000000", cached:item("SELECT $1", has_integers and math.tointeger(1e15) or 1e15))
    assert.equal("1e+100", cached:item("SELECT $1", 1e100))
    assert.equal("-0", cached:item("SELECT $1", -1 / math.huge))
    assert.equal("NaN", cached:item("SELECT $1", 0 / 0))
    assert.equal("1.50", cached:item("SELECT $1", fastpg.numeric "1.50"))
    assert.equal("2024-02-29", cached:item("SELECT $1", fastpg.date "2024-02-29"))
    assert.equal("1 day", cached:item("SELECT $1", fastpg.interval "1 day"))
    for _, typename in ipairs{ "text", "varchar", "name", "char(3)" } do
      assert.equal("123", cached:item(("SELECT $1::%s"):format(typename), 123))
    end
    if not has_integers then assert.equal("1152921504606846976", cached:item("SELECT $1", 2 ^ 60)) end
  end)

  it("is UTF-8 without zero bytes", function()
    local hint = "(bytes are for bytea parameters)"
    for _, typename in ipairs{ "text", "character varying", "name", "xml", "uuid", "date", "integer", "inet", "interval" } do
      refused(("$1: %s expected, got a string with a zero byte %s"):format(typename, hint), typename, "a\0b")
      refused(("$1: %s expected, got a string that is not UTF-8 %s"):format(typename, hint), typename, "\255")
    end
    for _, s in ipairs{ "\192\128", "\237\160\128", "\244\144\128\128", "\195", "a\128", "\240\128\128\128", "\248\136\128\128\128" } do
      refused("$1: text expected, got a string that is not UTF-8 " .. hint, "text", s)
    end
    refused("$1[2]: text expected, got a string with a zero byte " .. hint, "text[]", { "a", "\0" })
    refused("$1: param_mood expected, got a string that is not UTF-8 " .. hint, "param_mood", "\255")
    refused("$1[1]: param_mood expected, got a string that is not UTF-8 " .. hint, "param_mood[]", { "\255" })
  end)

  it("is no boolean, table or function", function()
    refused("$1: text (a string or a number) expected, got boolean", "text", true)
    refused("$1: text (a string or a number) expected, got table" .. LIST_HINT, "text", { "a" })
    refused("$1: text (a string or a number) expected, got function", "text", print)
    refused("$1: uuid (a string) expected, got number 5", "uuid", 5)
    refused("$1: inet (a string) expected, got boolean", "inet", true)
    refused("$1: macaddr (a string) expected, got fastpg.numeric", "macaddr", fastpg.numeric "1")
    refused("$1: point (text, or a table with x and y) expected, got fastpg.numeric", "point", fastpg.numeric "1")
  end)

  it("of bytea is bytes, whatever they look like", function()
    for _, s in ipairs{ "", "\\x41", "\\001", "\0\255", "é" } do
      assert.equal(s, cached:item("SELECT $1::bytea", s))
      assert.equal(s, cached:item("SELECT $1::bytea[]", { s })[1])
    end
    refused("$1: bytea (a string of bytes) expected, got number 1", "bytea", 1)
    refused("$1: bytea (a string of bytes) expected, got table", "bytea", {})
  end)
end)

describe("dates and times", function()
  it("take each other where nothing of the time is lost", function()
    cached:execute "SET TimeZone = 'Asia/Kolkata'"
    taken("2024-02-29 00:00:00", "timestamp", fastpg.date "2024-02-29")
    taken("2024-02-29 00:00:00+05:30", "timestamptz", fastpg.date "2024-02-29")
    taken("2024-02-29 12:00:00+05:30", "timestamptz", fastpg.timestamp "2024-02-29 12:00:00")
    taken("2024-02-29 17:30:00", "timestamp", fastpg.timestamptz "2024-02-29 12:00:00+00")
    cached:execute "SET TimeZone = 'UTC'"
    taken("2024-02-29 12:00:00", "timestamp", fastpg.timestamptz "2024-02-29 12:00:00+00")
    taken("12:00:00", "interval", fastpg.time "12:00:00")
    taken("2024-02-29", "date", "2024-02-29")
    taken("2024-02-29", "date", { year = 2024, month = 2, day = 29 })
    taken("{2024-02-29,NULL}", "date[]", { { year = 2024, month = 2, day = 29 }, null })
  end)

  it("take nothing else", function()
    refused("$1: date expected, got number 5", "date", 5)
    refused("$1: date expected, got boolean", "date", true)
    refused("$1: timestamp expected, got function", "timestamp", print)
    refused("$1: interval expected, got fastpg.date", "interval", fastpg.date "2024-01-01")
    refused("$1: date expected, got fastpg.timestamp", "date", fastpg.timestamp "2024-01-01 10:00:00")
    refused("$1[1]: date expected, got number 5", "date[]", { 5 })
    refused("$1: numeric expected, got boolean", "numeric", true)
    refused("$1: numeric expected, got fastpg.date", "numeric", fastpg.date "2024-01-01")
  end)
end)

describe("json", function()
  it("takes the value: a string is a JSON string", function()
    taken('"{\\"a\\": 1}"', "jsonb", '{"a": 1}')
    taken('{"a": 1}', "jsonb", fastpg.json_text '{"a": 1}')
    taken('{"a": [1, null, {}]}', "jsonb", { a = { 1, null, {} } })
    taken("null", "jsonb", fastpg.json_null)
    taken("true", "jsonb", true)
    taken("1.5", "json", 1.5)
    assert.is_nil(cached:item("SELECT $1::jsonb", null))
    assert.equal('{"[1, 2]","{\\"a\\": 1}",NULL,"null"}',
      (cached:item("SELECT $1::jsonb[]::text", { { 1, 2 }, { a = 1 }, null, fastpg.json_null }):gsub(",null}", ',"null"}')))
  end)

  it("refuses what has no JSON form", function()
    refused("$1: json: function has no JSON form at $", "jsonb", print)
    refused("$1: json: function has no JSON form at $.a[2]", "json", { a = { 1, print } })
    local cycle = {}
    cycle.a = cycle
    refused("$1: json: a table inside itself at $.a", "jsonb", cycle)
    refused("$1: json: text that is not UTF-8 or has a zero byte at $", "jsonb", "\255")
    refused("$1: json: NaN or Infinity has no JSON form at $", "jsonb", 0 / 0)
  end)
end)

describe("lists", function()
  it("fit an array's type", function()
    refused("$1: a list for integer[] expected, got number 1", "integer[]", 1)
    refused("$1: a list for text[] expected, got boolean", "text[]", true)
    refused("$1: a list for integer[] expected, got fastpg.numeric", "integer[]", fastpg.numeric "1")
    refused("$1: a list for integer[] expected, got table", "integer[]", { a = 1 })
    refused("$1: a list for integer[] expected, got table", "integer[]", { 1, 2, a = 1 })
    refused("$1: a list for integer[] expected, got table", "integer[]", { [1.5] = 1, [2] = 2 })
    refused("$1: a list for integer[] expected, got table", "integer[]", { [0] = 1, 2 })
    refused("$1[2]: integer expected, got boolean", "integer[]", { 1, true })
    refused("$1[2]: integer expected, got number 2.5", "integer[]", { 1, 2.5, 3 })
    refused("$1[2][1]: smallint expected, got number 40000, which is out of range", "smallint[]", { { 1 }, { 40000 } })
    taken("{1,2}", "integer[]", { 1, "2" })
    taken("{1,2}", "integer[]", "{1,2}")
    taken("{NULL,NULL}", "integer[]", { null, null })
    taken('{"NULL","null","","{","\\"","\\\\",","," "}', "text[]", { "NULL", "null", "", "{", '"', "\\", ",", " " })
  end)

  it("have no holes, unless n says so", function()
    local holes = "$1: a list without holes for integer[] expected (fastpg.null stands for NULL)"
    refused(holes, "integer[]", { 1, nil, 3 })
    refused(holes, "integer[]", { [2] = 1 })
    refused(holes, "integer[]", { [1] = 1, [2 ^ 40] = 1 })
    taken("{1,NULL,3}", "integer[]", { 1, nil, 3, n = 3 })
    refused(holes, "integer[]", { 1, nil, 3, n = 2 })
  end)

  it("are as long as their neighbours", function()
    local level = "integer[]: all lists of one level must have the same length"
    refused("$1[2]: " .. level .. " (1, here 2)", "integer[]", { { 1 }, { 2, 3 } })
    refused("$1[2]: " .. level .. ", here is a list among elements", "integer[]", { 1, { 2 } })
    refused("$1[2]: " .. level .. ", here is an element among lists", "integer[]", { { 1 }, 2 })
    refused("$1[2]: " .. level .. ", here is an element among lists", "integer[]", { {}, 2 })
    refused("$1[2]: " .. level .. ", here is an element among lists", "integer[]", { { 1 }, null })
    taken("{}", "integer[]", { {}, {} })
    taken("{{NULL},{1}}", "integer[]", { { null }, { 1 } })
  end)

  it("end", function()
    local cycle = {}
    cycle[1] = cycle
    refused("$1[1][1][1][1][1][1]: an array has at most 6 dimensions (a table inside itself?)", "integer[]", cycle)
  end)

  it("serve types without a codec", function()
    taken("{happy,sad}", "param_mood[]", { "happy", "sad" })
    taken("{}", "param_mood[]", {})
    taken("{NULL,happy}", "param_mood[]", { null, "happy" })
    refused("$1: a string, a number, a boolean or a list expected, got function", "param_mood", print)
  end)
end)

describe("the number of arguments", function()
  it("is that of the placeholders", function()
    for _, db in ipairs{ cached, uncached } do
      local _, few = pcall(db.item, db, "SELECT $1::int + $2::int", 1)
      assert.equal("too few arguments: the statement takes 2, got 1", few.message)
      local _, many = pcall(db.item, db, "SELECT $1::int", 1, 2)
      assert.equal("too many arguments: the statement takes 1, got 2", many.message)
      local _, none = pcall(db.item, db, "SELECT 1", nil)
      assert.equal("too many arguments: the statement takes 0, got 1", none.message)
      assert.equal(3, db:item("SELECT $1::int + $2::int", 1, 2))
      assert.is_nil(db:item("SELECT $1::int", nil))
      assert.is_nil(db:item("SELECT $1::int + $2::int", 1, nil))
    end
  end)

  it("counts up to 65535", function()
    local marks, list = {}, {}
    for i = 1, 65535 do marks[i], list[i] = "$" .. i .. "::int", i end
    local sql = "SELECT (ARRAY[" .. table.concat(marks, ",") .. "])[65535]"
    assert.equal(65535, cached:item(sql, fastpg.args(list)))
    list[65536] = 1
    assert.has_error(function() cached:item(sql, fastpg.args(list)) end)
    assert.equal(1, cached:item("SELECT 1"))
  end)
end)
