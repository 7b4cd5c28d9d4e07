-- SPDX-License-Identifier: MIT
local wcwidth = require "fastpg.value.wcwidth"

describe("wcwidth", function()
  local widths = {
    { "", 0 }, { "abc", 3 }, { "naïve", 5 }, { "日本語", 6 }, { "ｆｕｌｌ", 8 }, { "한글", 4 },
    { "e\204\129", 1, "combining acute" },
    { "\225\132\146\225\133\161\225\134\171", 2, "Hangul from conjoining jamo" },
    { "a\226\128\139b", 2, "zero width space" },
    { "\239\187\191x", 1, "byte order mark" },
    { "so\194\173ft", 5, "soft hyphen shows" },
    { "👍", 2 }, { "👍🏽", 2, "skin tone" }, { "🏽", 2, "a skin tone alone" },
    { "❤", 1, "text presentation" }, { "❤️", 2, "emoji presentation" },
    { "a\239\184\143", 1, "a variation selector on a letter" },
    { "1️⃣", 2, "keycap" }, { "🇩🇪", 2, "flag" },
    { "👨‍👩‍👧", 2, "joined" }, { "🏳️‍🌈", 2, "joined after a variation selector" },
    { "👩🏽‍💻x", 3, "joined after a skin tone" },
    { "👍👍", 4, "not joined" }, { "क्‍ष", 2, "a joiner that is no emoji's" },
    { "a\255b", 3, "a byte that is no UTF-8" }, { "\226\130", 2, "cut off" },
    { "a\0b\27c", 3, "control characters count nothing" },
  }
  for _, case in ipairs(widths) do
    it(("gives %d columns to %s"):format(case[2], case[3] or case[1]), function()
      assert.equal(case[2], wcwidth.width(case[1]))
    end)
  end

  it("gives a code point 0, 1, 2 or -1", function()
    assert.equal(0, wcwidth.char(0))
    for _, cp in ipairs{ 1, 10, 0x1F, 0x7F, 0x80, 0x9F } do assert.equal(-1, wcwidth.char(cp)) end
    for _, cp in ipairs{ 0x20, 0x7E, 0xA0, 0xFF, 0x378, 0x1F1E6, 0x10FFFF } do
      assert.equal(1, wcwidth.char(cp))
    end
    for _, cp in ipairs{ 0x300, 0x36F, 0x200D, 0xFE0F, 0xE0100, 0xE0020 } do
      assert.equal(0, wcwidth.char(cp))
    end
    for _, cp in ipairs{ 0x1100, 0x3042, 0x4E00, 0x9FFF, 0xAC00, 0xFF21, 0x1F600, 0x20000,
      0x3FFFD } do
      assert.equal(2, wcwidth.char(cp))
    end
    assert.equal(1, wcwidth.char(0x3FFFE))
  end)

  it("decodes UTF-8 as strictly as the server", function()
    local function decoded(s) return { wcwidth.decode(s, 1) } end
    assert.same({ 0x41, 2 }, decoded("A"))
    assert.same({ 0xE9, 3 }, decoded("é"))
    assert.same({ 0x20AC, 4 }, decoded("€"))
    assert.same({ 0x1F44D, 5 }, decoded("👍"))
    assert.same({ 0x10FFFF, 5 }, decoded("\244\143\191\191"))
    for _, bad in ipairs{ "", "\128", "\192\128", "\193\191", "\224\159\191", "\237\160\128",
      "\240\143\191\191", "\244\144\128\128", "\245\128\128\128", "\195", "\195A", "\226\130",
      "\240\159\145" } do
      assert.is_nil((wcwidth.decode(bad, 1)))
    end
  end)
end)
