-- SPDX-License-Identifier: MIT
--
-- A newcomer's slips: each is an error that names the line it was made in and the way out.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

describe("a slip", function()
  local db, cat

  setup(function()
    db = pg.db()
    db:execute "create table cat (id serial primary key, name text, lives int)"
    cat = db.t.cat
  end)
  teardown(function() db:close() end)

  local slips = {
    { "a dot for a colon on a database", function() local q = db.q; local _ = q("select 1") end, "call it as db:q" },
    { "a dot for a colon on a Table", function() local _ = cat.get(1) end, "call it as t:get" },
    { "a method of Tables on a database", function() local _ = db:insert("cat", {}) end, "tables are db.t.insert" },
    { "a value too few", function() local _ = cat("name = ?") end, "takes 1, got 0" },
    { "a value too many", function() local _ = db:q("select 1", 2) end, "takes 0, got 1" },
    { "a name without a value", function() local _ = db:q("select :x", { y = 1 }) end, "no value for :x" },
    { "a condition among the options", function() local _ = cat{ name = "x" } end, "write where = { name" },
    { "an option misspelt", function() local _ = cat{ limt = 1 } end, 'did you mean "limit"' },
    { "a column misspelt", function() local _ = cat:insert{ nmae = "x" } end, 'did you mean "name"' },
    { "a table misspelt", function() local _ = db.t.cats end, 'did you mean "cat"' },
    { "an update without a key", function() local _ = cat:update{ name = "x" } end, 'key column "id"' },
    { "a text key without braces", function() local _ = cat["meow"] end, 'cat[{"meow"}]' },
    { "a nil where a condition is meant", function() local _ = cat:delete_where(nil) end, "no argument at all means every row" },
    { "an assignment to a Table", function() cat.name = "x" end, "use insert, update or upsert" },
    { "a fraction for an integer", function() local _ = cat:insert{ lives = 1.5 } end, "integer expected, got number 1.5" },
    { "a function as a value", function() local _ = cat:insert{ name = print } end, "got function" },
  }
  for _, slip in ipairs(slips) do
    it(slip[1], function()
      local ok, err = pcall(slip[2])
      assert.is_false(ok)
      local text = tostring(err)
      assert.truthy(text:find(slip[3], 1, true), text)
      local line = debug.getinfo(slip[2], "S").linedefined
      assert.truthy(text:find("slips_spec.lua:" .. line .. ": ", 1, true), text)
      assert.equal("string", type(err.message))
      assert.is_true(#cat == 0 and fastpg.is(err, err.name))
    end)
  end
end)

describe("tables of a schema", function()
  it("are listed and asked for by it", function()
    local db = pg.db()
    db:execute "create schema elsewhere; create table elsewhere.thing (id int); create view elsewhere.seen as select 1 as a"
    assert.equal('"elsewhere"."thing"', tostring(db:tables("elsewhere")[1]))
    assert.equal('"elsewhere"."seen"', tostring(db:views("elsewhere")[1]))
    assert.same({}, db:tables "nope")
    assert.same({}, db:views "nope")
    assert.same({ true, false, false, true }, { db:has("thing", "elsewhere"), db:has("thing", "public"), db:has("thing", "nope"),
      db:has(db:table("thing", "elsewhere")) })
    assert.is_false(pcall(db.has, db, db:table("thing", "elsewhere"), "elsewhere"))
    assert.is_false(pcall(db.columns_info, db, db:table("thing", "elsewhere"), "elsewhere"))
    assert.is_false(pcall(db.tables, db, 1))
    db:execute "drop schema elsewhere cascade"
    db:close()
  end)
end)
