-- SPDX-License-Identifier: MIT
--
-- types_page: doc/types.md is what the table of types gives, and every example prints what it says.

local pg = require "spec.support.pg"
local types_page = dofile "tools/gen_types_page.lua"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local page = read(types_page.path)
local examples, setup = types_page.examples(page)

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]*" do list[#list + 1] = line end
  return list
end

describe("the page of types", function()
  local db = pg.db()
  for name in setup:gmatch "create extension if not exists (%w+)" do
    if db:item("select count(*) from pg_available_extensions where name = $1", name) == 0 then
      it("needs the extension " .. name, function() pending "which is not installed" end)
      return
    end
  end
  types_page.prepare(db, setup)

  for _, example in ipairs(examples) do
    it(("prints what it says of %s: %s"):format(example.name, example.sql), function()
      assert.equal(example.printed, types_page.run(db, example.sql, example.expression))
    end)
  end

  it("has an example of every row of the table", function()
    local names, left_out = {}, {}
    for _, example in ipairs(examples) do names[example.name] = true end
    for _, row in ipairs(types_page.rows()) do if not names[row.name] then left_out[#left_out + 1] = row.name end end
    assert.same({}, left_out)
    assert.is_true(#types_page.rows() > 70 and #examples > #types_page.rows())
  end)

  it("is not stale (else: make generated)", function()
    local fresh = pg.db{ database = pg.new_database "types_page" }
    local made = types_page.make(fresh)
    fresh:close()
    local old, new = lines(page), lines(made)
    for i = 1, math.max(#old, #new) do assert.equal(new[i], old[i]) end
  end)

  it("says why a type has no binary form", function()
    for _, row in ipairs(types_page.rows()) do
      assert(row.binary or row.why, row.name)
    end
  end)
end)
