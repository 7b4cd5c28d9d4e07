-- SPDX-License-Identifier: MIT
--
-- numerics: text, scale, order, conversion.

local core = require "fastpg.core"
local numeric = core.numeric

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("fastpg.numeric", function()
  it("prints as the server does, its scale kept", function()
    for _, case in ipairs {
      { "0" }, { "0.00" }, { "1.10" }, { "-0.001" }, { "10000" }, { "0.00010" }, { "-0", "0" }, { "-0.00", "0.00" },
      { "  12.5  ", "12.5" }, { "+7", "7" }, { ".5", "0.5" }, { "5.", "5" }, { "1e3", "1000" }, { "1.5e1", "15" },
      { "1.25e1", "12.5" }, { "123e-5", "0.00123" }, { "1E+2", "100" }, { "0e5", "0" }, { "0e-3", "0.000" },
      { "000123.4500", "123.4500" }, { "nan", "NaN" }, { "NaN" }, { "inf", "Infinity" }, { "-INFINITY", "-Infinity" },
      { "+Infinity", "Infinity" }, { "99999999.99999999" }, { "100000000000000000000000000000" },
      { "1e-10", "0.0000000001" }, { "12345678901234567890.12345678901234567890" },
    } do
      assert.equal(case[2] or case[1], tostring(numeric(case[1])))
    end
  end)

  it("holds what the server can hold, and no more", function()
    local whole, frac = ("9"):rep(131072), ("8"):rep(16383)
    assert.equal(whole .. "." .. frac, tostring(numeric(whole .. "." .. frac)))
    assert.equal(131072, #tostring(numeric "1e131071"))
    assert.equal("0." .. ("0"):rep(16382) .. "1", tostring(numeric "1e-16383"))
    for _, s in ipairs { "1e131072", "1e-16384", "0e-16384", "1e999999999999999999999", "9e2147483648" } do
      assert.equal("numeric_value_out_of_range", fails(numeric, s).name)
    end
  end)

  it("refuses what is no number", function()
    for _, s in ipairs { "", " ", "-", ".", "e5", "1e", "1e+", "1.2.3", "1 2", "--1", "0x10", "1_000", "infinit",
      "nano", "1\0", "NaN1", "+-1", "-nan" } do
      assert.equal("invalid_text_representation", fails(numeric, s).name)
    end
    for _, v in ipairs { {}, true, print } do
      assert.equal("invalid_argument", fails(numeric, v).name)
    end
    local err = fails(function() numeric "x" end)
    assert.truthy(err.where:find "numeric_spec.lua:%d+$")
  end)

  it("is made of numbers: integers exactly, floats by their shortest text", function()
    assert.equal("42", tostring(numeric(42)))
    assert.equal("-9007199254740992", tostring(numeric(-9007199254740992)))
    assert.equal("0.1", tostring(numeric(0.1)))
    assert.equal("1e+30", ("%.0e"):format(1e30))
    assert.equal("1" .. ("0"):rep(30), tostring(numeric(1e30)))
    assert.equal("0.00001", tostring(numeric(1e-5)))
    assert.equal("NaN", tostring(numeric(0 / 0)))
    assert.equal("-Infinity", tostring(numeric(-math.huge)))
    if math.maxinteger then
      assert.equal("9223372036854775807", tostring(numeric(math.maxinteger)))
      assert.equal("-9223372036854775808", tostring(numeric(math.mininteger)))
    end
    local n = numeric "1.0"
    assert.equal(n, numeric(n))
  end)

  if rawget(_G, "jit") then
    it("is made of LuaJIT's 64-bit integers", function()
      local ffi = require "ffi"
      assert.equal("9223372036854775807", tostring(numeric(loadstring "return 9223372036854775807LL" ())))
      assert.equal("-1", tostring(numeric(ffi.new("int64_t", -1))))
      assert.equal("18446744073709551615", tostring(numeric(loadstring "return 18446744073709551615ULL" ())))
      assert.equal("invalid_argument", fails(numeric, ffi.new "int[2]").name)
    end)
  end

  it("compares by value, across scales", function()
    assert.is_true(numeric "1.0" == numeric "1.00")
    assert.is_false(numeric "1" == numeric "1.01")
    assert.is_true(numeric "-2" < numeric "1")
    assert.is_true(numeric "-2" < numeric "-1.99")
    assert.is_true(numeric "10000" > numeric "9999.9999")
    assert.is_true(numeric "0.0001" > numeric "0.00009999")
    assert.is_true(numeric "0" <= numeric "0.000")
    assert.is_true(numeric "NaN" == numeric "NaN")
    assert.is_true(numeric "NaN" > numeric "Infinity")
    assert.is_true(numeric "-Infinity" < numeric "-1e100")
    assert.is_false(numeric "1" == 1)
    local sorted = { numeric "3", numeric "-1", numeric "2.5", numeric "-Infinity" }
    table.sort(sorted, function(a, b) return a < b end)
    for i, s in ipairs { "-Infinity", "-1", "2.5", "3" } do assert.equal(s, tostring(sorted[i])) end
  end)

  it("compares with numbers and text by method", function()
    local n = numeric "0.10"
    assert.equal(0, n:cmp(0.1))
    assert.equal(0, n:cmp "0.1")
    assert.equal(-1, n:cmp(1))
    assert.equal(1, n:cmp(-1))
    assert.is_true(n:eq(0.1) and n:lt(0.2) and n:le(0.1) and not n:lt "0.1")
    assert.equal("invalid_argument", fails(n.cmp, n, {}).name)
    assert.equal("invalid_argument", fails(n.cmp, n).name)
    assert.equal("invalid_argument", fails(n.cmp, 1, 2).name)
    assert.equal("invalid_text_representation", fails(n.cmp, n, "x").name)
    if math.type then
      assert.is_true(n < 1)
      assert.is_true(0 < n)
    end
  end)

  it("becomes a number", function()
    assert.equal(1.1, numeric "1.10":tonumber())
    assert.equal(10, numeric "10":tonumber())
    assert.equal(1e100, numeric "1e100":tonumber())
    assert.equal(-1.5e-7, numeric "-0.00000015":tonumber())
    assert.equal(math.huge, numeric "1e400":tonumber())
    assert.equal(math.huge, numeric "Infinity":tonumber())
    assert.equal(9007199254740993, numeric "9007199254740993":tonumber())
    local nan = numeric "NaN":tonumber()
    assert.is_true(nan ~= nan)
    -- between two doubles: the digit that decides stands far behind
    assert.equal(9007199254740992.0, numeric("9007199254740993." .. ("0"):rep(900)):tonumber())
    assert.equal(9007199254740994.0, numeric("9007199254740993." .. ("0"):rep(900) .. "1"):tonumber())
    if math.type then
      assert.equal("integer", math.type(numeric "10":tonumber()))
      assert.equal("float", math.type(numeric "10.0":tonumber()))
      assert.equal("float", math.type(numeric "9223372036854775808":tonumber()))
      assert.equal(math.mininteger, numeric "-9223372036854775808":tonumber())
    end
  end)

  it("does not change and has no other fields", function()
    local n = numeric "1"
    assert.equal("invalid_argument", fails(function() n.x = 1 end).name)
    assert.is_nil(n.x)
    assert.equal("fastpg.numeric", getmetatable(n))
  end)
end)
