-- SPDX-License-Identifier: MIT
--
-- The pages show what really comes out.

local check_docs = dofile "tools/check_docs.lua"
local pg = require "spec.support.pg"

describe("the page", function()
  for page, least in pairs{ ["README.md"] = 7, ["doc/manual.md"] = 20, ["doc/how-it-is-built.md"] = 0,
    ["doc/coming-from-fastasyncpg.md"] = 0 } do
    it(page .. " prints what it says", function()
      local ran, problems = check_docs.page(page, pg.cluster())
      assert.same({}, problems)
      assert.is_true(ran >= least)
    end)
  end
end)

describe("check_docs", function()
  it("finds the blocks and their output", function()
    local page = "x\n```lua\nprint(1)\n```\n```text\n1\n```\n```lua\na\n```\nwords\n```text\nb\n```\n"
    assert.same({ { line = 2, code = "print(1)", output = "1", first = 6, last = 6 }, { line = 8, code = "a" } },
      check_docs.blocks(page))
  end)
end)
