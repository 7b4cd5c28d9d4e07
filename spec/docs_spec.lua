-- SPDX-License-Identifier: MIT
--
-- The pages show what really comes out.

local check_docs = dofile "tools/check_docs.lua"
local pg = require "spec.support.pg"

describe("the page", function()
  for page, least in pairs{ ["README.md"] = 7, ["doc/manual.md"] = 20, ["doc/how-it-is-built.md"] = 0,
    ["doc/coming-from-fastasyncpg.md"] = 0, ["doc/performance.md"] = 3, ["doc/shards.md"] = 4, ["doc/types.md"] = 0 } do
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

-- ---- nothing is left out --------------------------------------------------------------------

local function read(path)
  local f = assert(io.open(path))
  local text = f:read "*a"
  f:close()
  return text
end


-- The public names that a text does not have, in this form.
local function missing(names, text, form)
  local list = {}
  for name in pairs(names) do
    if not text:find(form:format(name) .. "%f[^%w_]") then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

describe("every public name", function()
  local fastpg = require "fastpg"
  local Database = require "fastpg.database"
  local Table = require "fastpg.table.table"
  local meta, manual = read "lua/fastpg/annotations.lua", read "doc/manual.md"

  it("is known to editors", function()
    assert.same({}, missing(getmetatable(fastpg).__index, meta, "fastpg%%.%s"))
    assert.same({}, missing(Database.methods, meta, "Database:%s"))
    assert.same({}, missing(Database.properties, meta, "@field %s"))
    assert.same({}, missing(Table.methods, meta, "Table:%s"))
    assert.same({}, missing(Table.properties, meta, "@field %s"))
  end)

  it("is in the manual", function()
    assert.same({}, missing(getmetatable(fastpg).__index, manual, "%s"))
    assert.same({}, missing(Database.methods, manual, "[:.]%s"))
    assert.same({}, missing(Table.methods, manual, "[:.]%s"))
  end)

  it("of the other manual has its place", function()
    local page = read "doc/coming-from-fastasyncpg.md"
    local names = {}
    for name in ([[Results FRecord table_names view_names columns_info pk_cols Database Table connect refresh db.t
      Table.c xtra conv_placeholders Database.q get_typ setup_json dataclass all_dcs dataclass_src NotFoundError
      Table.get rows_where count_where Table.count get_field pks_and_rows_where __call__ selectone Database.item
      create_mod link_dcs set_classes get_tables insert table2glb update delete delete_where col_def
      Database.create Table.drop upsert create_pool conn.fetch fetchrow fetchval execute executemany cursor
      transaction close claim_one UNSET _retr_tbl with_pk as_cls record_class]]):gmatch "%S+" do
      names[name:gsub("%.", "%%.")] = true
    end
    assert.same({}, missing(names, page, "%s"))
  end)

  it("of a file is where the way of a statement is told", function()
    local page = read "doc/how-it-is-built.md"
    local pipe = io.popen "find lua/fastpg csrc -type f -printf '%f\\n'"
    local left_out = {}
    for file in pipe:lines() do
      local name = file:match "^([%w_]+)%.%w+$"
      local family = name and name:match "^(%w+)_" -- `numeric*` stands for numeric_math too
      if name and not page:find("%f[%w_]" .. name .. "%f[^%w_]") and not (family and page:find("`" .. family .. "*`", 1, true))
      then
        left_out[#left_out + 1] = file
      end
    end
    pipe:close()
    assert.same({}, left_out)
  end)

  it("is no file that a program loads", function()
    assert.truthy(meta:find("^%-%-%-@meta fastpg\n"))
    assert.is_nil(package.loaded["fastpg.annotations"])
  end)
end)
