-- SPDX-License-Identifier: MIT
local suggest = require "fastpg.base.suggest"

-- The definition, written down plainly.
local function distance(a, b)
  local d = {}
  for i = 0, #a do d[i] = { [0] = i } end
  for j = 0, #b do d[0][j] = j end
  for i = 1, #a do
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      local least = math.min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + same)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        least = math.min(least, d[i - 2][j - 2] + 1)
      end
      d[i][j] = least
    end
  end
  return d[#a][#b]
end

-- The same numbers on every Lua.
local seed = 1
local function random(n)
  seed = (seed * 16807) % 2147483647
  return seed % n + 1
end

local function word(longest, letters)
  local out = {}
  for i = 1, random(longest) do out[i] = string.char(96 + random(letters)) end
  return table.concat(out)
end

describe("suggest.near", function()
  it("finds one edit: missing, superfluous, wrong and swapped letters", function()
    for _, typo in ipairs{ "limt", "limmit", "lemit", "liimt" } do
      assert.same({ "limit" }, suggest.near(typo, { "offset", "limit", "where" }))
    end
  end)

  it("takes lists, sets and tables that are both", function()
    assert.same({ "name" }, suggest.near("nme", { "artist_id", "name" }))
    assert.same({ "name" }, suggest.near("nme", { artist_id = true, name = 2 }))
    assert.same({ "name" }, suggest.near("nme", { "artist_id", "name", name = "text" }))
  end)

  it("ignores the case and leaves out the very same name", function()
    assert.same({ "Artist" }, suggest.near("artist", { "Artist", "artist" }))
    assert.same({ "ALBUM" }, suggest.near("albmu", { "ALBUM" }))
  end)

  it("counts names that begin alike as near", function()
    assert.same({ "artist" }, suggest.near("art", { "artist", "track" }))
    assert.same({ "invoice" }, suggest.near("invoice_lines_all", { "invoice", "in" }))
  end)

  it("sorts by distance, then name, and stops at three or max", function()
    local names = { "cart", "care", "cat", "card", "carts" }
    assert.same({ "card", "care", "cart" }, suggest.near("car", names))
    assert.same({ "card" }, suggest.near("car", names, 1))
    assert.same({ "card", "care", "cart", "cat", "carts" }, suggest.near("car", names, 9))
    assert.same({}, suggest.near("car", names, 0))
  end)

  it("gives nothing for the unlike, the empty and what is no name", function()
    assert.same({}, suggest.near("zzz", { "artist", "album" }))
    assert.same({}, suggest.near("", { "a" }))
    assert.same({}, suggest.near("a", {}))
    assert.same({}, suggest.near(nil, { "a" }))
    assert.same({}, suggest.near("a", nil))
  end)

  it("agrees with the definition", function()
    for _ = 1, 400 do
      local name, names, expected = word(14, 3), {}, {}
      local seen = { [name] = true }
      for i = 1, 12 do
        local candidate = word(14, 3)
        names[i] = candidate
        local d = distance(name, candidate)
        local prefix = candidate:sub(1, #name) == name
          or #candidate >= 3 and name:sub(1, #candidate) == candidate
        if not seen[candidate] and (prefix or d <= math.max(1, math.floor(#name / 3))) then
          expected[#expected + 1] = { d, candidate }
        end
        seen[candidate] = true
      end
      table.sort(expected, function(a, b)
        if a[1] ~= b[1] then return a[1] < b[1] end
        return a[2] < b[2]
      end)
      for i, e in ipairs(expected) do expected[i] = e[2] end
      for i = #expected, 4, -1 do expected[i] = nil end
      assert.same(expected, suggest.near(name, names))
    end
  end)

  it("is quick over ten thousand names of 63 bytes, however alike", function()
    local names = {}
    for i = 1, 10000 do
      local letters = {}
      for j = 1, 63 do letters[j] = string.char(96 + random(4)) end
      names[i] = table.concat(letters)
    end
    local start = os.clock()
    local near = suggest.near(names[77]:sub(1, 60) .. "zzz", names)
    assert.equal(names[77], near[1])
    assert.is_true(os.clock() - start < 5)     -- a cap, not a measurement
  end)
end)

describe("suggest.phrase", function()
  it("ends a message", function()
    assert.equal(' (did you mean "limit"?)', suggest.phrase("limt", { limit = 1, offset = 1 }))
    assert.equal(' (did you mean "ab" or "ac"?)', suggest.phrase("ad", { "ab", "ac" }))
    assert.equal(' (did you mean "ab", "ac" or "ad"?)', suggest.phrase("a", { "ad", "ac", "ab" }))
    assert.equal("", suggest.phrase("zzz", { "limit" }))
  end)

  it("keeps to one line", function()
    assert.equal(' (did you mean "na\\x0Ame"?)', suggest.phrase("naxme", { "na\nme" }))
  end)
end)
