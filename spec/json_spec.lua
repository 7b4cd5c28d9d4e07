-- SPDX-License-Identifier: MIT
--
-- json: documents to Lua values and back.  Tables of cases; a document that is accepted must also
-- come back equal, one that is refused must name the place.

local core = require "fastpg.core"
local from_json, to_json, json_text = core.from_json, core.to_json, core.json_text
local null, json_null = core.null, core.json_null
local integers = math.type ~= nil
local list = function(t) return setmetatable(t or {}, core.array_mt) end

-- Equality of Lua values that sees types, array marks and the subtype of numbers.
local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then return a == b and (not integers or math.type(a) == math.type(b)) end
  if type(a) == "userdata" and a ~= b then
    return a ~= null and b ~= null and tostring(a) == tostring(b)
  end
  if type(a) ~= "table" then return a == b end
  if (getmetatable(a) == core.array_mt) ~= (getmetatable(b) == core.array_mt) then return false end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

local function fails(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.are.equal("table", type(err), "an error object, got " .. tostring(err))
  return err
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q in %q"):format(part, text))
end

local function title(s)
  return (s:sub(1, 60):gsub("[%z\1-\31\127-\255]", "?"))
end

describe("from_json", function()
  local values = {
    { "true", true }, { "false", false }, { " \t\r\n1 \t\r\n", 1 },
    { "0", 0 }, { "-0", 0 }, { "7", 7 }, { "-12", -12 }, { "2147483648", 2147483648 },
    { "9007199254740992", integers and math.tointeger(2 ^ 53) or 2 ^ 53 },
    { "0.1", 0.1 }, { "-0.1", -0.1 }, { "1.5", 1.5 }, { "100.25", 100.25 },
    { "1e2", 1e2 }, { "1E2", 1e2 }, { "1e+2", 1e2 }, { "1.5e-3", 0.0015 },
    { "0.000", 0.0 }, { "0e5", 0.0 }, { "0e99999999999", 0.0 },
    { "0.30000000000000004", 0.1 + 0.2 }, { "1.7976931348623157e308", 1.7976931348623157e308 },
    { "2.2250738585072014e-308", 2.2250738585072014e-308 }, { "5e-324", 5e-324 },
    { "100000000000000000000", 1e20 }, { "1e22", 1e22 }, { "9.999999999999999e22", 1e23 },
    { "123456789012345680000", 1.2345678901234568e20 },
    { "0.1000000000000000000000000000000000000000000", 0.1 }, { "1000.0000", 1000.0 },
    { "0.00001", 1e-5 }, { "3.141592653589793", 3.141592653589793 }, { "1e-7", 1e-7 },
    { "12345678.875", 12345678.875 },
    { '""', "" }, { '"a"', "a" }, { '"\127"', "\127" }, { '"é€😀"', "é€😀" },
    { '"' .. ("x"):rep(100) .. '"', ("x"):rep(100) },
    { [["\"\\\/\b\f\n\r\t"]], '"\\/\b\f\n\r\t' },
    { [["\u0041\u00e9\u20AC"]], "Aé€" }, { [["\ud83d\ude00!"]], "😀!" },
    { [["\u0001\uffff\uE000"]], "\1\239\191\191\238\128\128" },
    { [["abcdefgh\u0041ijklmnopq\nr"]], "abcdefghAijklmnopq\nr" },
    { [["\udbff\udfff\ud800\udc00"]], "\244\143\191\191\240\144\128\128" },
    { '"\194\128\223\191\224\160\128\237\159\191\238\128\128\240\144\128\128\244\143\191\191"',
      "\194\128\223\191\224\160\128\237\159\191\238\128\128\240\144\128\128\244\143\191\191" },
    { "[]", list() }, { "{}", {} }, { "[ ]", list() }, { "{ }", {} },
    { "[1]", list { 1 } }, { "[null]", list { null } },
    { "[[],{},[[]]]", list { list(), {}, list { list() } } },
    { '{"a":1}', { a = 1 } }, { '{"":""}', { [""] = "" } }, { '{"1":1}', { ["1"] = 1 } },
    { '{"a":null}', { a = null } },
    { ' { "a" : [ 1 , { "b" : false } ] , "c" : { } } ', { a = list { 1, { b = false } }, c = {} } },
    { '{"a":1,"a":2}', { a = 2 } }, { '{"a":1,"b":3,"\\u0061":null}', { a = null, b = 3 } },
    { '{"a\\nb\\u00e9":"\\t"}', { ["a\nbé"] = "\t" } },
  }
  for _, case in ipairs(values) do
    it("reads " .. title(case[1]), function()
      local v = from_json(case[1])
      assert.is_true(same(case[2], v))
      assert.is_true(same(case[2], from_json(to_json(v))))
      assert.are.equal("userdata", type(json_text(case[1])))
    end)
  end

  it("tells integers from floats where Lua does", function()
    if not integers then return assert.are.equal(1, from_json("1.0")) end
    assert.are.equal("integer", math.type(from_json("1")))
    assert.are.equal("float", math.type(from_json("1.0")))
    assert.are.equal("float", math.type(from_json("1e0")))
    assert.are.equal(math.mininteger, from_json("-9223372036854775808"))
    assert.are.equal(math.maxinteger, from_json("9223372036854775807"))
    assert.are.equal("integer", math.type(from_json("-0")))
    assert.are.equal("-0.0", tostring(from_json("-0.0")))
    assert.are.equal(9007199254740993, from_json("9007199254740993.0")) -- no float has it, an integer does
    assert.are.equal(-198214464493290830, from_json("-1.9821446449329083e+17"))
  end)

  local numerics = {
    "12345678901234567890", "-12345678901234567890", "0.12345678901234567890123", "1e400",
    "-1e400", "1e-400", "9223372036854775808", "-9223372036854775809",
    "0.1000000000000000055511151231257827", "1.00000000000000001", "3.14159265358979312", "1e309",
    "123456789.123456789123", "1.7976931348623158e308", "4e-324", "18446744073709551616",
    "0.30000000000000005", "1e23", "8.000000000000000001", "99999999999999999999", "1e131071", "1e-16383",
  }
  if not integers then
    for _, s in ipairs { "9007199254740993", "-9007199254740993", "1152921504606846976",
      "9223372036854775807" } do
      numerics[#numerics + 1] = s
    end
  end
  for _, text in ipairs(numerics) do
    it("keeps the value of " .. text, function()
      local v = from_json("[" .. text .. "]")[1]
      assert.are.equal("userdata", type(v))
      if not text:find "e" then
        assert.are.equal(text, tostring(v))
        assert.are.equal("[" .. text .. "]", to_json { v })
      end
    end)
  end

  -- what no text of PostgreSQL is: the document, the string, what is written for it
  local no_text = {
    { [["\u0000"]], "\0" }, { [["a\u0000b"]], "a\0b" }, { [["\ud800"]], "\237\160\128" },
    { [["\uDFFF"]], "\237\191\191", [["\udfff"]] }, { [["\udc00\ud800"]], "\237\176\128\237\160\128" },
    { [["\ud83d\u0041"]], "\237\160\189A", [["\ud83dA"]] }, { [["\ud83dx"]], "\237\160\189x" },
    { [["\ud83d\n"]], "\237\160\189\n" }, { [["\ud83d\ud83d\ude00"]], "\237\160\189😀", [["\ud83d😀"]] },
    { [["\ud83d\ud83d"]], "\237\160\189\237\160\189" }, { [["1234567\udabc123456789\u0000"]], "1234567\237\170\188123456789\0" },
  }
  for _, case in ipairs(no_text) do
    it("keeps " .. title(case[1]), function()
      assert.are.equal(case[2], from_json(case[1]))
      assert.are.equal(case[3] or case[1], to_json(case[2]))
      local object = from_json("{" .. case[1] .. ":[" .. case[1] .. "]}")
      assert.is_true(same({ [case[2]] = list { case[2] } }, object))
      assert.is_true(same(object, from_json(to_json(object))))
    end)
  end

  for _, text in ipairs { "1e999999", "-1e999999", "1e131072", "1e-16384", "1.50E-999999999999999999999" } do
    it("keeps the text of " .. text, function()
      local v = from_json("[" .. text .. ", 1]")
      assert.are.equal(json_text(text), v[1])
      assert.are.equal("[" .. text .. ",1]", to_json(v))
      assert.are.equal(text, tostring(from_json(text)))
    end)
  end

  it("keeps the text of what is nested too deeply", function()
    local inner = '[1, {"a":"]\\"" , "b": [ ]}]'
    local deep = ("["):rep(1000) .. inner .. ", {}, []," .. inner .. ("]"):rep(1000)
    local v = from_json(deep)
    for _ = 1, 999 do v = v[1] end
    assert.are.same({ inner, "{}", "[]", inner }, { tostring(v[1]), tostring(v[2]), tostring(v[3]), tostring(v[4]) })
    assert.are.equal(json_text(inner), v[4])
    assert.are.equal(4, #v)
    assert.are.equal((deep:gsub(", ({}), ", ",%1,")), to_json(from_json(deep)))
    local far = ('{"a":['):rep(50000) .. ("]}"):rep(50000)
    assert.are.equal(far, to_json(from_json(far)))
    local err = fails(from_json, ("["):rep(1002) .. "x")
    has(err.message, "a value expected at $[1]")
    has(err.message, "(byte 1003)")
    has(fails(from_json, ("["):rep(100000)).message, "(byte 100001)")
    has(fails(from_json, ("["):rep(1001) .. "}").message, "a value expected")
    has(fails(from_json, ("["):rep(1001) .. "1}").message, "',' or ']' expected")
    has(fails(from_json, ('{"a":'):rep(1001) .. "1]").message, "',' or '}' expected")
  end)

  it("gives null at the top its own value", function()
    assert.are.equal(json_null, from_json "null")
    assert.are.equal(json_null, from_json " null\n")
    assert.are.equal("null", tostring(json_null))
    assert.are.equal(null, from_json("[null]")[1])
    assert.are_not.equal(null, json_null)
  end)

  it("fills arrays and objects of any size", function()
    for _, n in ipairs { 1, 2, 63, 64, 65, 127, 128, 129, 1000 } do
      local array, object, nested = {}, {}, {}
      for i = 1, n do
        array[i] = i
        object[i] = ('"k%d":%d'):format(i, i)
        nested[i] = ('{"k":[%d]}'):format(i)
      end
      local a = from_json("[" .. table.concat(array, ",") .. "]")
      local o = from_json("{" .. table.concat(object, ", ") .. "}")
      local d = from_json("[" .. table.concat(nested, ",") .. "]")
      assert.are.equal(core.array_mt, getmetatable(a))
      assert.is_nil(getmetatable(o))
      assert.are.same({ n, n, n }, { #a, a[n], #d })
      local count = 0
      for k, v in pairs(o) do
        count = count + 1
        assert.are.equal("k" .. v, k)
      end
      assert.are.equal(n, count)
      for i = 1, n do assert.are.equal(i, d[i].k[1]) end
    end
  end)

  it("lets the last of equal keys win, near and far", function()
    local parts = { '"k":1' }
    for i = 1, 200 do parts[#parts + 1] = ('"x%d":0'):format(i) end
    parts[#parts + 1] = '"k":2'
    assert.are.equal(2, from_json("{" .. table.concat(parts, ",") .. "}").k)
    assert.are.equal(3, from_json('{"k":1,"k":2,"k":3}').k)
  end)

  it("goes 1,000 levels deep", function()
    local v = from_json(("["):rep(1000) .. ("]"):rep(1000))
    local depth = 0
    while v do v, depth = v[1], depth + 1 end
    assert.are.equal(1000, depth)
    local deep = ('{"a":'):rep(1000) .. "1" .. ("}"):rep(1000)
    assert.are.equal(deep, to_json(from_json(deep)))
    local mixed = from_json(('[1,2,{"a":true,"b":'):rep(500) .. "0" .. ("}]"):rep(500))
    assert.are.equal("0", (to_json(mixed):gsub("[^0]", "")))
    for _, s in ipairs { ("["):rep(1001), ("["):rep(100000), ('{"a":'):rep(1001) } do
      local err = fails(from_json, s)
      assert.are.equal("invalid_json", err.name)
      assert.is_true(#err.message < 400)
      has(fails(json_text, s).message, "nested too deeply")
    end
  end)

  -- text, path, byte
  local refused = {
    { "", "$", 1 }, { "  ", "$", 3 }, { "nul", "$", 1 }, { "nulll", "$", 5 }, { "True", "$", 1 },
    { "tru", "$", 1 }, { "NaN", "$", 1 }, { "Infinity", "$", 1 }, { "-Infinity", "$", 1 },
    { "undefined", "$", 1 }, { "'a'", "$", 1 }, { "01", "$", 2 }, { "-01", "$", 3 }, { "-", "$", 1 },
    { "+1", "$", 1 }, { ".5", "$", 1 }, { "1.", "$", 1 }, { "1.e5", "$", 1 }, { "1e", "$", 1 },
    { "1e+", "$", 1 }, { "-.5", "$", 1 }, { "0x10", "$", 2 }, { "1_000", "$", 2 }, { "00", "$", 2 },
    { "--1", "$", 1 }, { "1 2", "$", 3 }, { "[1,]", "$[2]", 4 }, { "[,1]", "$[1]", 2 },
    { "[1 2]", "$[2]", 4 }, { "[", "$[1]", 2 }, { "[1", "$[2]", 3 }, { "[1,", "$[2]", 4 },
    { "]", "$", 1 }, { "[}", "$[1]", 2 }, { "[1}", "$[2]", 3 }, { "[1]]", "$", 4 }, { "{", "$", 2 },
    { "{]", "$", 2 }, { "{1:2}", "$", 2 }, { "{a:1}", "$", 2 }, { "{'a':1}", "$", 2 },
    { '{"a"}', "$.a", 5 }, { '{"a":}', "$.a", 6 }, { '{"a":1,}', "$", 8 }, { '{"a":1', "$", 7 },
    { '{"a" 1}', "$.a", 6 }, { '{"a":1 "b":2}', "$", 8 }, { '{"a":1]', "$", 7 }, { "{,}", "$", 2 },
    { "{null:1}", "$", 2 }, { "[1]x", "$", 4 }, { "/* c */1", "$", 1 }, { "1// c", "$", 2 },
    { "\239\187\1911", "$", 1 }, { "1\0", "$", 2 }, { "\0", "$", 1 }, { "\f1", "$", 1 },
    { '"', "$", 2 }, { '"a', "$", 3 }, { '"\\', "$", 3 }, { '"\\"', "$", 4 }, { '"\\x41"', "$", 2 },
    { '"\\\'"', "$", 2 }, { '"\\U0041"', "$", 2 }, { '"\\u12"', "$", 2 }, { '"\\u12g4"', "$", 2 },
    { '"\\u"', "$", 2 }, { '"\\u+123"', "$", 2 }, { '"a\nb"', "$", 3 }, { '"a\0b"', "$", 3 },
    { '"\31"', "$", 2 }, { '"\\\0"', "$", 2 }, { '"12345678\t"', "$", 10 }, { '"\128"', "$", 2 },
    { '"\255"', "$", 2 }, { '"\192\128"', "$", 2 }, { '"\193\191"', "$", 2 },
    { '"\224\159\191"', "$", 2 }, { '"\237\160\128"', "$", 2 }, { '"\240\143\191\191"', "$", 2 },
    { '"\244\144\128\128"', "$", 2 }, { '"\226\130"', "$", 2 }, { '"\195', "$", 2 },
    { '"a\195\40"', "$", 3 }, { '"\245\128\128\128"', "$", 2 }, { '"abcdefgh\226\40\161"', "$", 10 },
    { '["a",["b",{"c":"\255"}]]', "$[2][2].c", 17 }, { '{"odd key":[tru]}', '$["odd key"][1]', 13 },
    { '{"a":[1,2,{"b":01}]}', "$.a[3]", 17 }, { '{"a\\n\\"":x}', '$["a\\x0a\\""]', 10 },
    { '{"":x}', '$[""]', 5 }, { "[[1,2],[3,[4,x]]]", "$[2][2][2]", 14 },
    { '{"k":{"l":{"m":nil}}}', "$.k.l.m", 16 },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. title(case[1]), function()
      local err = fails(from_json, case[1])
      assert.are.equal("invalid_json", err.name)
      assert.are.equal(("at %s (byte %d)"):format(case[2], case[3]), err.message:match("at %$.*$"))
      local byte = fails(json_text, case[1]).message:match("%(byte (%d+)%)$")
      assert.are.equal(case[3], tonumber(byte))
    end)
  end

  it("shortens long keys and paths", function()
    local err = fails(from_json, '{"' .. ("k"):rep(1000) .. '":x}')
    assert.is_true(#err.message < 150)
    err = fails(from_json, ('{"a":['):rep(200) .. "x")
    has(err.message, ".a[1]....a[1]")
    assert.is_true(#err.message < 250)
  end)

  it("takes only a string", function()
    for _, v in ipairs { 1, true, {}, print } do
      local err = fails(from_json, v)
      assert.are.equal("invalid_argument", err.name)
      has(err.message, "from_json: string expected, got")
    end
    assert.are.equal("from_json: string expected, got no value", fails(from_json).message)
    assert.are.equal("json_text: string expected, got nil", fails(json_text, nil).message)
  end)

  it("names the caller's line", function()
    local function wrong() local v = from_json "[1,"; return v end
    has(fails(wrong).where, "json_spec.lua:")
    local function wrong_value() local v = to_json(print); return v end
    has(fails(wrong_value).where, "json_spec.lua:")
  end)
end)

describe("to_json", function()
  local texts = {
    { nil, "null" }, { null, "null" }, { json_null, "null" }, { true, "true" }, { false, "false" },
    { 0, "0" }, { -1, "-1" }, { 10, "10" }, { 99, "99" }, { 100, "100" }, { 1234567, "1234567" },
    { -2147483648, "-2147483648" }, { 2 ^ 53, integers and "9.007199254740992e+15" or "9007199254740992" },
    { 1.5, "1.5" }, { 0.1, "0.1" }, { 0.1 + 0.2, "0.30000000000000004" }, { 1 / 3, "0.3333333333333333" },
    { 1e14 + 0.5, "100000000000000.5" }, { 1e300, "1e+300" }, { 1e-5, "1e-05" }, { 1e-4, "0.0001" },
    { 1.25e-4, "0.000125" }, { 1.5e-7, "1.5e-07" }, { 5e-324, "5e-324" }, { -2.5, "-2.5" },
    { 123456.789, "123456.789" }, { 1.7976931348623157e308, "1.7976931348623157e+308" },
    { 1e22, "1e+22" }, { 1e23, "9.999999999999999e+22" }, { 2 ^ 554, "5.896816288783659e+166" },
    { 2 ^ -44, "5.684341886080802e-14" }, { 22315050873321208 + 0.0, "2.2315050873321208e+16" },
    { 1.2345678901234568e20, "1.2345678901234568e+20" },
    { "", '""' }, { "abc", '"abc"' }, { "é€😀", '"é€😀"' }, { "a\"b\\c/d", [["a\"b\\c/d"]] },
    { "</script>", '"</script>"' }, { "\b\f\n\r\t", [["\b\f\n\r\t"]] },
    { "\1\31\127", '"\\u0001\\u001f\127"' }, { ("0123456\n"):rep(3), '"' .. ("0123456\\n"):rep(3) .. '"' },
    { {}, "{}" }, { list(), "[]" }, { { 1, 2 }, "[1,2]" }, { { { {} } }, "[[{}]]" },
    { { a = 1 }, '{"a":1}' }, { { ["1"] = 2 }, '{"1":2}' }, { { null }, "[null]" },
    { list { null, true }, "[null,true]" }, { { a = list() }, '{"a":[]}' }, { { ["a\n"] = "b" }, '{"a\\n":"b"}' },
    { list { 1, nil, 3, n = 3 }, "[1,null,3]" }, { list { n = 2 }, "[null,null]" },
    { list { 1, 2, n = 2 }, "[1,2]" }, { list { n = 0 }, "[]" }, { { [3] = 3, [2] = 2, [1] = 1 }, "[1,2,3]" },
    { json_text ' {"a" : 1.00}', ' {"a" : 1.00}' }, { { json_text "[]" }, "[[]]" },
    { setmetatable({ 1 }, { __jsontype = "array" }), "[1]" }, { setmetatable({}, { __jsontype = "array" }), "[]" },
    { setmetatable({ x = 1 }, { __index = { y = 2 } }), '{"x":1}' },
    { setmetatable({ x = 1 }, { __pairs = function() error "called" end, __len = function() error "called" end }),
      '{"x":1}' },
  }
  for i = 1, #texts do
    it("writes " .. title(texts[i][2]), function()
      assert.are.equal(texts[i][2], to_json(texts[i][1]))
    end)
  end

  it("keeps the subtype of numbers", function()
    if not integers then return assert.are.equal("[1,0]", to_json { 1.0, -0.0 }) end
    assert.are.equal("[1,1.0,-0.0,1e+15,100000.0]", to_json { 1, 1.0, -0.0, 1e15, 1e5 })
    assert.are.equal("[9223372036854775807,-9223372036854775808]", to_json { math.maxinteger, math.mininteger })
  end)

  it("writes and reads the same double, in as few digits as it takes", function()
    local seed = 12345
    local function random()
      seed = (seed * 1103515 + 12345) % 2147483648
      return seed / 2147483648
    end
    for _ = 1, 400 do
      local v = (random() + random() * 2 ^ -31) * 10 ^ math.floor(random() * 40 - 20)
      local short = tonumber(("%.6g"):format(v))
      for _, x in ipairs { v, -v, short, v * 2 ^ 900, v * 2 ^ -900, v * 2 ^ -1000 } do
        local text = to_json(x)
        assert.are.equal(x, tonumber(text))
        assert.are.equal(x, from_json(text))
        local digits = text:gsub("e.*", ""):gsub("%.0$", ""):gsub("[-.]", ""):gsub("^0*", ""):gsub("0*$", "")
        if x ~= math.floor(x) then -- a whole number may lie between two doubles when it is shorter
          for n = 1, #digits - 1 do
            if n >= 14 or #digits < 14 then assert.are_not.equal(x, tonumber(("%." .. n .. "g"):format(x))) end
          end
        end
      end
    end
  end)

  it("takes the 64-bit integers of LuaJIT", function()
    if type(jit) ~= "table" then return assert.are.equal("[5]", to_json { 5 }) end
    local ffi = require "ffi"
    local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
    assert.are.equal("[-5,9007199254740993,7]", to_json { int64(-5), int64(2 ^ 53) + 1, uint64(7) })
    local err = fails(to_json, { a = uint64(0) - 1 })
    has(err.message, "cdata that is no integer of 64 bits with sign has no JSON form at $.a")
    assert.are.equal("invalid_argument", fails(to_json, ffi.new "int[2]").name)
  end)

  local cycle = { a = { 1, 2 } }
  cycle.a[3] = { b = cycle }
  local mutual = {}
  mutual[1] = { mutual }
  local refused = {
    { print, "function has no JSON form", "$" },
    { { a = { 1, 2, { b = print } } }, "function has no JSON form", "$.a[3].b" },
    { coroutine.create(function() end), "thread has no JSON form", "$" }, { io.stdout, "has no JSON form", "$" },
    { { [true] = 1 }, "a key that is a boolean", "$" }, { { x = { [{}] = 1 } }, "a key that is a table", "$.x" },
    { { 1, a = 2 }, "keys of both kinds", "$" }, { { x = { { y = 1, [1] = 2 } } }, "keys of both kinds", "$.x[1]" },
    { { [1] = 1, [3] = 3 }, "a list with holes", "$" }, { { x = { [2] = 1 } }, "a list with holes", "$.x" },
    { { [0] = 1 }, "keys of both kinds", "$" }, { { [-1] = 1 }, "keys of both kinds", "$" },
    { { [1.5] = 1 }, "keys of both kinds", "$" }, { { 1, 2, [4] = 4 }, "a list with holes", "$" },
    { list { 1, nil, nil, 4 }, "a list with holes", "$" }, { list { a = 1 }, "keys of both kinds", "$" },
    { list { 1, nil, 3, n = 2 }, "a list with holes", "$" }, { { 1, 2, n = 2 }, "keys of both kinds", "$" },
    { { [2 ^ 53] = 1 }, "a list with holes", "$" }, { 0 / 0, "NaN or Infinity has no JSON form", "$" },
    { { 1, { x = 1 / 0 } }, "NaN or Infinity has no JSON form", "$[2].x" }, { { -1 / 0 }, "NaN or Infinity", "$[1]" },
    { "a\255b", "text that is not UTF-8", "$" }, { { core.range "[a\255,b)" }, "text that is not UTF-8", "$[1]" }, { { k = "\255" }, "text that is not UTF-8", "$.k" },
    { { "ok", "abcdefgh\237\160" }, "text that is not UTF-8", "$[2]" }, { "\237\160\192", "text that is not UTF-8", "$" }, { { "\195" }, "text that is not UTF-8", "$[1]" },
    { { ["\255"] = 1 }, "a key that is not UTF-8", '$["\\xff"]' },
    { { ["a b"] = { ["x\255"] = 1 } }, "a key that is not UTF-8", '$["a b"]["x\\xff"]' },
    { cycle, "a table inside itself", "$.a[3].b" }, { mutual, "a table inside itself", "$[1][1]" },
  }
  for i, case in ipairs(refused) do
    it(("refuses %d: %s"):format(i, case[2]), function()
      local err = fails(to_json, case[1])
      assert.are.equal("invalid_argument", err.name)
      has(err.message, case[2])
      assert.are.equal(case[3], err.message:match(" at (%$.*)$"))
    end)
  end

  it("refuses what is nested too deeply, and writes a table twice", function()
    local t = {}
    for _ = 1, 999 do t = { t } end
    assert.are.equal(2000, #to_json(t))
    has(fails(to_json, { t }).message, "nested too deeply")
    local shared = { x = 1 }
    assert.are.equal('[{"x":1},{"x":1}]', to_json { shared, shared })
    assert.are.equal("to_json: value expected, got no value", fails(to_json).message)
  end)

  it("writes each element once when keys come out of order", function()
    local t = {}
    for _ = 1, 60 do -- 2^60 steps if each level were written again
      local new = {}
      new[2], new[1] = 0, t
      t = new
    end
    assert.are.equal(("["):rep(60) .. "{}" .. (",0]"):rep(60), to_json(t))
  end)

  it("works after an error and after a long text", function()
    fails(to_json, { "some text before the error", print })
    assert.are.equal('["x"]', to_json { "x" })
    local long = ("y"):rep(3000000)
    assert.are.equal(#long + 2, #to_json(long))
    assert.are.equal('["x"]', to_json { "x" })
  end)
end)

describe("rows", function()
  local shape = { columns = { "id", "name", "no" }, types = { 23, 25, 23 }, index = { id = 1, name = 2, no = 3 } }
  local twins = { columns = { "a", "b", "a" }, types = { 23, 23, 23 }, index = { a = 3, b = 2 } }
  local function row(t, more)
    local mt = { __name = "fastpg.row", shape = shape, __index = function() error "called" end }
    for k, v in pairs(more or {}) do mt[k] = v end
    return setmetatable(t, mt)
  end
  local function rows(t) return setmetatable(t, { __name = "fastpg.rows", shape = shape }) end

  it("are objects in column order", function()
    assert.are.equal('{"id":1,"name":"x","no":2}', to_json(row { no = 2, name = "x", id = 1 }))
    assert.are.equal('{"id":1,"name":null,"no":null}', to_json(row { id = 1 }))
    assert.are.equal('{"id":null,"name":null,"no":null}', to_json(row {}))
  end)

  it("have the user's keys after the columns", function()
    assert.are.equal('{"id":1,"name":null,"no":null,"track":[{"id":2,"name":null,"no":null}]}',
      to_json(row { id = 1, track = rows { row { id = 2 } } }))
    local text = to_json(row { id = 1, name = "n", no = 2, x = 1, y = { 1 } })
    assert.are.equal('{"id":1,"name":"n","no":2,', text:sub(1, 26))
    assert.is_true(same({ id = 1, name = "n", no = 2, x = 1, y = list { 1 } }, from_json(text)))
    has(fails(to_json, row { id = 1, [1] = 2 }).message, "both kinds")
    has(fails(to_json, rows { row { id = 1, x = print } }).message, "at $[1].x")
    has(fails(to_json, rows { row { name = "\255" } }).message, "at $[1].name")
  end)

  it("make lists, also empty ones", function()
    assert.are.equal("[]", to_json(rows {}))
    assert.are.equal('[{"id":1,"name":null,"no":null},{"id":null,"name":"b","no":null}]',
      to_json(rows { row { id = 1 }, row { name = "b" } }))
  end)

  it("of columns with one name show the last", function()
    local mt = { __name = "fastpg.row", shape = twins }
    assert.are.equal('[{"b":2,"a":3},{"b":null,"a":1,"c":0}]',
      to_json { setmetatable({ a = 3, b = 2 }, mt), setmetatable({ a = 1, c = 0 }, mt) })
  end)

  it("made by hand leave out what they lack", function()
    local hand = { partial = true }
    assert.are.equal('{"name":"x"}', to_json(row({ name = "x" }, hand)))
    assert.are.equal('{"id":null,"z":1}', to_json(row({ id = null, z = 1 }, hand)))
    assert.are.equal("{}", to_json(row({}, hand)))
  end)
end)

describe("value objects", function()
  local cases = { -- constructor, text, JSON as to_json of the server gives it
    { "numeric", "1.50", "1.50" }, { "numeric", "-1e5", "-100000" },
    { "numeric", "123456789012345678901234567890.123", "123456789012345678901234567890.123" },
    { "date", "2024-02-29", '"2024-02-29"' }, { "date", "infinity", '"infinity"' },
    { "date", "0044-03-15 BC", '"0044-03-15 BC"' }, { "time", "10:00:00.5", '"10:00:00.5"' },
    { "timetz", "10:00:00+02", '"10:00:00+02"' }, { "timestamp", "2024-02-29 10:00:00", '"2024-02-29T10:00:00"' },
    { "timestamp", "2024-02-29 10:00:00.000001", '"2024-02-29T10:00:00.000001"' },
    { "timestamp", "-infinity", '"-infinity"' }, { "timestamp", "0044-03-15 10:00:00 BC", '"0044-03-15T10:00:00 BC"' },
    { "timestamptz", "2024-02-29 10:00:00+00", '"2024-02-29T10:00:00+00:00"' },
    { "timestamptz", "2024-02-29 10:00:00-05", '"2024-02-29T10:00:00-05:00"' },
    { "timestamptz", "2024-02-29 10:00:00.25+05:30", '"2024-02-29T10:00:00.25+05:30"' },
    { "timestamptz", "1800-02-28 10:00:00+00:19:32", '"1800-02-28T10:00:00+00:19:32"' },
    { "timestamptz", "0044-03-15 10:00:00+01 BC", '"0044-03-15T10:00:00+01:00 BC"' },
    { "timestamptz", "infinity", '"infinity"' },
    { "interval", "1 year 2 mons 3 days 04:05:06", '"1 year 2 mons 3 days 04:05:06"' },
  }
  for _, case in ipairs(cases) do
    it("writes the " .. case[1] .. " " .. case[2], function()
      assert.are.equal("[" .. case[3] .. "]", to_json { core[case[1]](case[2]) })
    end)
  end

  it("has no JSON for NaN and Infinity", function()
    for _, s in ipairs { "NaN", "Infinity", "-Infinity" } do
      has(fails(to_json, { a = core.numeric(s) }).message, "numeric NaN or Infinity has no JSON form at $.a")
    end
  end)

  it("reads numbers that no Lua number holds as numerics", function()
    assert.are.equal("1" .. ("0"):rep(400), tostring(from_json "1e400"))
    assert.are.equal("0." .. ("0"):rep(16382) .. "1", tostring(from_json "1e-16383"))
    assert.is_true(core.numeric("12345678901234567890.50"):eq(from_json "12345678901234567890.50"))
  end)
end)

describe("json_text", function()
  it("is written as it stands and prints its text", function()
    local t = json_text "[1, 2]"
    assert.are.equal("[1, 2]", tostring(t))
    assert.are.equal('{"a":[1, 2]}', to_json { a = t })
    assert.is_true(t == json_text "[1, 2]")
    assert.is_false(t == json_text "[1,2]")
    assert.are.equal('"\\u0000"', to_json(json_text '"\\u0000"'))
  end)
end)

describe("array_mt", function()
  local own = core.array_mt
  after_each(function() core.set_array_mt(own) end)

  it("can be another, and the first stays good", function()
    local before = from_json "[]"
    local other = {}
    core.set_array_mt(other)
    assert.are.equal(other, core.array_mt)
    assert.are.equal(other, getmetatable(from_json "[]"))
    assert.are.equal("[[],[],{}]", to_json { before, from_json "[]", {} })
    has(fails(core.set_array_mt, nil).message, "set_array_mt: table expected, got nil")
  end)
end)

describe("json columns", function()
  local pg = require "spec.support.pg"
  local db
  setup(function() db = pg.db() end)
  teardown(function() db:close() end)

  local documents = { [=[["a\u0000b","\ud800x",{"\u0000":1e999999}]]=], "-1e999999", [["\udfff"]], "[1e-20000]" }
  for _, text in ipairs(documents) do
    it("hold and give back " .. text, function()
      local v = db:item("select ?::json", json_text(text))
      assert.are.equal(text, to_json(v))
      assert.are.equal(text, db:item("select ?::json::text", v))
      assert.are.equal(text, to_json(db:q("select ?::text::json as j, '1'::money", text)[1].j)) -- as text
      assert.are.equal(text, to_json(db:item("select array[?::json]", v)[1]))
    end)
  end

  it("hold what is nested deeper than tables are made", function()
    local text = ("["):rep(3000) .. ("]"):rep(3000)
    local v = db:item("select ?::text::json", text)
    assert.are.equal(text, db:item("select ?::json::text", v))
    assert.are.equal(text, to_json(db:item("select ?::text::jsonb", text)))
  end)

  it("of jsonb refuse what is no text before anything is sent", function()
    for _, v in ipairs { "a\0b", { x = "\237\160\128" }, { ["\0"] = 1 } } do
      has(fails(db.item, db, "select ?::jsonb", v).message, "that is not UTF-8 or has a zero byte at $")
    end
  end)

  it("print what is no text as the server does", function()
    assert.are.equal([[<Record j="a\u0000\ud800-\udfffx\ude00">]],
      tostring(db:first [[select '"a\u0000\ud800-\udfffx\ude00"'::json as j]]))
  end)
end)
