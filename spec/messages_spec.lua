-- SPDX-License-Identifier: MIT
--
-- What messages say: safe to print whatever is in them, true, and with the place of what is wrong.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()
db:execute [[
  CREATE TABLE cat(id int PRIMARY KEY, name text, weight int, born date, tags int[])]]
local cats = db.t.cat

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "no error was raised")
  assert.equal("table", type(err), tostring(err))
  return err
end

describe("the text of an error is safe on a terminal", function()
  local nasty = {
    "\27[2J", "a\7b", "\0", "\127", "\r", "\194\155", "\194\133", "\226\128\174", "\226\129\166", "\226\128\142", "\216\156",
    "\239\187\191", "\226\128\139", "\255\254", "\192\128", "\237\160\128", "\243\160\129\129", "\194", "\226\128\168",
  }

  local function is_safe(text)
    assert.is_nil(text:find "%c", "a control character in " .. ("%q"):format(text))
    assert.is_true(core.printable(text) == text)
    for _, s in ipairs(nasty) do assert.is_nil(text:find(s, 1, true), ("%q"):format(text)) end
  end

  it("escaped as Lua would write it", function()
    for given, wanted in pairs{
      ["a\27[2J"] = "a\\x1B[2J", ["\226\128\174x"] = "\\u{202E}x", ["\194\155"] = "\\u{009B}", ["\255"] = "\\xFF",
      ["\t\r\n\0"] = "\\t\\r\\n\\x00", ["\226\128"] = "\\xE2\\x80", ["\243\160\129\129"] = "\\u{E0041}",
    } do
      assert.equal(wanted, core.printable(given))
    end
    for _, text in ipairs{ "", "plain", "käse €", "日本語", "👨\226\128\141👩\226\128\141👧", "e\204\129", 'a "b" \\ c' } do
      assert.equal(text, core.printable(text))
    end
  end)

  local ways = {
    ["a table"] = function(s) return db.t["x" .. s] end,
    ["a column of a record"] = function(s) cats:insert{ ["x" .. s] = 1 } end,
    ["a column of a condition"] = function(s) return cats{ where = { ["x" .. s] = 1 } } end,
    ["an option"] = function(s) return cats{ ["x" .. s] = 1 } end,
    ["a method"] = function(s) return db["x" .. s] end,
    ["a field of a row"] = function(s) return db:q("select 1 as a")[1]["x" .. s] end,
    ["a text key"] = function(s) return cats["x" .. s] end,
    ["a database"] = function(s) pg.cluster():connect{ dbname = "x" .. s } end,
    ["an option of connect"] = function(s) fastpg.connect{ ["x" .. s] = "1" } end,
    ["a text of SQL"] = function(s) db:q('select 1 "' .. s) end,
    ["the server's message"] = function(s) db:q("do $$ begin raise exception '%', " .. fastpg.quote_literal("x" .. s) .. "; end $$") end,
    ["a value"] = function(s) db:q("select cast(? as date)", "x" .. s) end,
    ["an error of a program"] = function(s) fastpg.guard(function() cats{ ["x" .. s] = 1 } end) end,
  }
  for what, way in pairs(ways) do
    it("whatever is in " .. what, function()
      for _, s in ipairs(nasty) do
        local ok, err = pcall(way, s)
        assert.is_false(ok, ("%q"):format(s))
        if type(err) == "table" then
          is_safe(tostring(err))
          is_safe("x: " .. err)
        else
          is_safe(err:match "^[^\n]*")
        end
      end
    end)
  end

  it("and the fields keep what was there", function()
    local err = failure(db.q, db, "do $$ begin raise exception 'a\27[2Jb'; end $$")
    assert.equal("a\27[2Jb", err.message)
    err = failure(cats, { ["\226\128\174"] = 1 })
    assert.truthy(err.message:find("\226\128\174", 1, true))
  end)
end)
