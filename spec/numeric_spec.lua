-- SPDX-License-Identifier: MIT
--
-- numerics: text, scale, order, conversion, arithmetic; the same against a server.

local core = require "fastpg.core"
local pg = require "spec.support.pg"
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
    assert.truthy(fails(function() return n.rond end).message:find('did you mean "round"', 1, true))
    assert.is_nil(n.__name)
    assert.equal("fastpg.numeric", getmetatable(n))
  end)
end)

describe("arithmetic of fastpg.numeric", function()
  local operations = {
    ["+"] = function(a, b) return a + b end,
    ["-"] = function(a, b) return a - b end,
    ["*"] = function(a, b) return a * b end,
    ["/"] = function(a, b) return a / b end,
    ["%"] = function(a, b) return a % b end,
    ["^"] = function(a, b) return a ^ b end,
  }

  it("follows the server's rules of scale", function()
    for _, case in ipairs {
      { "1.10", "+", "2.005", "3.105" }, { "1.1", "-", "1.1", "0.0" }, { "-0.5", "+", "0.5", "0.0" },
      { "1.10", "*", "2.00", "2.2000" }, { "-1.5", "*", "0", "0.0" },
      { "1", "/", "3", "0.33333333333333333333" }, { "10", "/", "3", "3.3333333333333333" },
      { "2", "/", "3", "0.66666666666666666667" }, { "1.00", "/", "4", "0.25000000000000000000" },
      { "100000000", "/", "7", "14285714.285714285714" }, { "0", "/", "5", "0.00000000000000000000" },
      { "7", "%", "3", "1" }, { "-7", "%", "3", "-1" }, { "7.5", "%", "-2", "1.5" }, { "1.00", "%", "0.3", "0.10" },
      { "2", "^", "10", "1024.0000000000000000" }, { "2", "^", "-2", "0.2500000000000000" },
      { "2", "^", "0.5", "1.4142135623730950" }, { "0", "^", "0", "1.0000000000000000" },
      { "100", "^", "0.5", "10.000000000000000" }, { "-8", "^", "3", "-512.0000000000000000" },
      { "0", "^", "0.5", "0.0000000000000000" }, { "1.5", "^", "1000.5", nil },
    } do
      local got = tostring(operations[case[2]](numeric(case[1]), numeric(case[3])))
      if case[4] then assert.equal(case[4], got) else assert.truthy(got:find "^%d+%.%d+$") end
    end
  end)

  it("treats NaN and the infinities as the server does", function()
    for _, case in ipairs {
      { "NaN", "+", "1", "NaN" }, { "Infinity", "-", "Infinity", "NaN" }, { "Infinity", "+", "Infinity", "Infinity" },
      { "Infinity", "*", "0", "NaN" }, { "-Infinity", "*", "-2", "Infinity" }, { "1", "/", "Infinity", "0" },
      { "-Infinity", "/", "2", "-Infinity" }, { "Infinity", "/", "-Infinity", "NaN" },
      { "5.0", "%", "Infinity", "5.0" },
      { "Infinity", "%", "5", "NaN" }, { "NaN", "^", "0", "1" }, { "1", "^", "NaN", "1" },
      { "Infinity", "^", "-1", "0" },
      { "-Infinity", "^", "3", "-Infinity" }, { "-Infinity", "^", "2", "Infinity" }, { "0.5", "^", "Infinity", "0" },
    } do
      assert.equal(case[4], tostring(operations[case[2]](numeric(case[1]), numeric(case[3]))))
    end
  end)

  it("raises what the server raises", function()
    for _, case in ipairs {
      { "1", "/", "0", "division_by_zero" }, { "1", "%", "0.0", "division_by_zero" },
      { "Infinity", "/", "0", "division_by_zero" }, { "0", "^", "-1", "invalid_argument_for_power_function" },
      { "-1", "^", "0.5", "invalid_argument_for_power_function" },
      { "1e131071", "*", "10", "numeric_value_out_of_range" }, { "10", "^", "131072", "numeric_value_out_of_range" },
      { "1e100", "^", "1e100", "numeric_value_out_of_range" },
    } do
      local err = fails(operations[case[2]], numeric(case[1]), numeric(case[3]))
      assert.equal(case[4], err.name)
    end
    local err = fails(function() return numeric "1" / 0 end)
    assert.truthy(err.where:find "numeric_spec.lua:%d+$")
    assert.equal("invalid_argument", fails(function() return numeric "1" + {} end).name)
    assert.equal("invalid_argument", fails(function() return numeric "1" + true end).name)
    assert.equal("invalid_argument", fails(function() return numeric "1" + core.date "2024-01-01" end).name)
  end)

  it("mixes with numbers", function()
    assert.equal("2.10", tostring(numeric "1.10" + 1))
    assert.equal("0.90", tostring(2 - numeric "1.10"))
    assert.equal("0.11", tostring(numeric "1.1" * 0.1))
    assert.equal("1.5000000000000000", tostring(3 / numeric "2"))
    assert.equal("1.0000000000000000", tostring(numeric "5" ^ 0))
    assert.equal("1", tostring(numeric "7" % 3))
  end)

  it("negates, takes absolute values and rounds", function()
    assert.equal("-1.10", tostring(-numeric "1.10"))
    assert.equal("0.00", tostring(-numeric "0.00"))
    assert.equal("-Infinity", tostring(-numeric "Infinity"))
    assert.equal("NaN", tostring(-numeric "NaN"))
    assert.equal("1.10", tostring(numeric "-1.10":abs()))
    assert.equal("Infinity", tostring(numeric "-Infinity":abs()))
    for _, case in ipairs {
      { "2.5", nil, "3" }, { "-2.5", 0, "-3" }, { "2.45", 1, "2.5" }, { "1.005", 2, "1.01" }, { "1", 3, "1.000" },
      { "1250", -2, "1300" }, { "49", -2, "0" }, { "50", -2, "100" }, { "-0.4", 0, "0" }, { "NaN", 2, "NaN" },
    } do
      assert.equal(case[3], tostring(numeric(case[1]):round(case[2])))
    end
    assert.equal("invalid_argument", fails(function() return numeric "1":round "x" end).name)
  end)

  it("leaves its operands alone", function()
    local a, b = numeric "1.10", numeric "0.90"
    local c = a + b
    assert.equal("2.00", tostring(c))
    assert.equal("1.10 0.90", tostring(a) .. " " .. tostring(b))
    assert.equal("4.0000", tostring(c * c))
  end)

  -- The same numbers on every Lua.
  local state = 20240229
  local function random(n)
    state = state * 16807 % 2147483647
    return state % n
  end
  local function digits(n)
    local t = {}
    for i = 1, n do t[i] = random(10) end
    return table.concat(t)
  end
  local odd = { "0", "0.00", "1", "-1", "NaN", "Infinity", "-Infinity", "0.5", "9999", "10000", "1e-20", "1e30",
    "2", "10" }
  local shapes = {
    function() return digits(1 + random(3)) end,
    function() return digits(1 + random(20)) .. "." .. digits(1 + random(20)) end,
    function() return "-" .. digits(1 + random(8)) .. "." .. digits(1 + random(4)) end,
    function() return "0." .. ("0"):rep(random(12)) .. digits(1 + random(10)) end,
    function() return "1." .. ("0"):rep(random(8)) .. digits(6) end,
    function() return digits(30 + random(30)) end,
    function() return odd[1 + random(#odd)] end,
    function() return tostring(random(41) - 20) end,
  }
  local function number() return shapes[1 + random(#shapes)]() end

  it("agrees with the server on ten thousand operations", function()
    local db = pg.db()
    db:execute [[
      create function try_op(op text, a numeric, b numeric) returns text language plpgsql as $$
      begin
        return case op when '+' then a + b when '-' then a - b when '*' then a * b
                       when '/' then a / b when '%' then a % b when '^' then a ^ b else round(a, b::int) end;
      exception when others then return sqlstate;
      end $$]]
    local names = { division_by_zero = "22012", numeric_value_out_of_range = "22003",
      invalid_argument_for_power_function = "2201F" }
    local ops, wrong = { "+", "-", "*", "/", "%", "^", "/", "^", "round" }, {}
    operations.round = function(a, b) return a:round(b:tonumber()) end
    for _ = 1, 4 do
      local op, a, b = {}, {}, {}
      for i = 1, 2500 do
        op[i], a[i], b[i] = ops[1 + i % #ops], number(), number()
        if op[i] == "round" then b[i] = tostring(random(40) - 15) end
      end
      local rows = db:q([[select try_op(op, a, b) as r
        from unnest($1::text[], $2::numeric[], $3::numeric[]) as t(op, a, b)]], op, a, b)
      assert.equal(2500, #rows)
      for i, row in ipairs(rows) do
        local ok, v = pcall(operations[op[i]], numeric(a[i]), numeric(b[i]))
        local got = ok and tostring(v) or names[v.name] or tostring(v)
        if got ~= row.r then wrong[#wrong + 1] = ("%s %s %s: %s, not %s"):format(a[i], op[i], b[i], row.r, got) end
      end
    end
    db:close()
    assert.same({}, wrong)
  end)
end)

describe("numeric on the wire", function()
  local literals = {
    "0", "0.00", "1.10", "-0.001", "10000", "99999999.99999999", "0.0001", "100000000000000000000", "1e-100",
    "NaN", "Infinity", "-Infinity", "1e131071", "-1e-16383", "12345678901234567890.123456789",
    ("9"):rep(131072) .. "." .. ("7"):rep(16383),
  }

  it("comes and goes exactly, in both formats", function()
    local db = pg.db()
    local rows = db:q("select v, v::text as t from unnest($1::text[]::numeric[]) as v", literals)
    assert.equal(#literals, #rows)
    for _, row in ipairs(rows) do
      assert.equal(row.t, tostring(row.v))
      assert.is_true(db:item([[select $1 = n and scale($1) is not distinct from scale(n)
        from (select $2::text::numeric as n) s]], row.v, row.t))
    end
    -- a column without a binary form makes the whole result text
    local text = db:q("select v, '=r/postgres'::aclitem as acl from unnest($1::text[]::numeric[]) as v", literals)
    for i, row in ipairs(text) do assert.equal(tostring(rows[i].v), tostring(row.v)) end
    db:close()
  end)

  it("takes numbers, in arrays too", function()
    local db = pg.db()
    assert.equal("0.1", tostring(db:item("select $1::numeric", 0.1)))
    assert.equal("9007199254740992", tostring(db:item("select $1::numeric", 9007199254740992)))
    assert.equal("NaN", tostring(db:item("select $1::numeric", 0 / 0)))
    assert.equal("{1.50,2,3.25,NULL}", db:item("select $1::numeric[]::text", { numeric "1.50", 2, "3.25", core.null }))
    local err = fails(db.item, db, "select $1::numeric", true)
    assert.truthy(tostring(err):find("$1: numeric expected, got boolean", 1, true))
    db:close()
  end)
end)
