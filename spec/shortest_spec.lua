-- SPDX-License-Identifier: MIT
--
-- shortest: the shortest decimals of floats are the server's, of every exponent, at its ends and between.

local core = require "fastpg.core"
local pg = require "spec.support.pg"

describe("the text of a float", function()
  local db
  setup(function()
    db = pg.db()
    db:execute [[
      create function of_single(bits bigint) returns float4 language plpgsql immutable as $$
      declare e int := (bits >> 23)::int; m float8 := bits & 8388607;
      begin
        if e = 0 then return ((m / 8388608)::float8 * 2::float8 ^ -126)::float4; end if;
        return ((8388608 + m) * 2::float8 ^ (e - 150))::float4;
      end $$]]
  end)

  -- Compares, of rows { bytes, text }; of what differs the first is shown.
  local function compare(rows, single, number_of)
    for _, row in ipairs(rows) do
      local text = core.float_text(number_of(row[1]), single)
      if text ~= row[2] then assert.equal(row[2], text) end
    end
    return #rows
  end

  local function bits(bytes)
    local n = 0
    for i = 1, #bytes do n = n * 256 + bytes:byte(i) end
    return n
  end

  it("is the server's for float4 of all exponents", function()
    local rows = db:arrays [[
      select float4send(x), x::text from generate_series(0, 254) e,
        lateral (select (random() * 8388607)::bigint m from generate_series(1, 60 + e - e)
          union select unnest('{0,1,2,3,4194303,4194304,4194305,8388605,8388606,8388607}'::bigint[])) m,
        of_single((e::bigint << 23) | m.m) x where x <> 0]]
    local n = compare(rows, true, function(bytes)
      local all = bits(bytes)
      local e, m = math.floor(all / 2 ^ 23), all % 2 ^ 23
      return e == 0 and m * 2.0 ^ -149 or (m + 2 ^ 23) * 2.0 ^ (e - 150)
    end)
    assert.is_true(n > 255 * 50)
  end)

  it("is the server's for float8 of all exponents", function()
    local rows = db:arrays [[
      select float8send(x), x::text from generate_series(1, 2046) e,
        lateral (select (random() * 4503599627370495)::bigint m from generate_series(1, 5 + e - e)
          union select unnest('{0,1,4503599627370494,4503599627370495}'::bigint[])) m,
        lateral (select (4503599627370496 + m.m)::float8 * 2::float8 ^ ((e - 1075) / 2) * 2::float8 ^ (e - 1075 - (e - 1075) / 2)) x(x)]]
    local n = compare(rows, false, function(bytes)
      local high, low = bits(bytes:sub(1, 4)), bits(bytes:sub(5))
      local e, m = math.floor(high / 2 ^ 20), high % 2 ^ 20 * 2 ^ 32 + low
      local half = math.floor((e - 1075) / 2)
      return (m + 2 ^ 52) * 2.0 ^ half * 2.0 ^ (e - 1075 - half)
    end)
    assert.is_true(n > 2046 * 7)
  end)

  it("is no decimal right between two of them", function()
    for _, digits in ipairs{ "1.1754944e-38", "7.038531e-26", "9007199254740993e0", "5e22", "9.5e22", "16777217", "1.5e-45",
      "67108864", "9.223372e+18", "1.329228e+36", "10633823966279326983230456482242756608", "2.3509887e-38" } do
      for _, t in ipairs{ "float4", "float8" } do
        local v, text = db:item(("select %s '%s'"):format(t, digits)), db:item(("select %s '%s'::text"):format(t, digits))
        assert.equal(text, core.float_text(v, t == "float4"))
      end
    end
  end)
end)
