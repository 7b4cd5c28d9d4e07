-- SPDX-License-Identifier: MIT

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

describe("rows of a result", function()
  local db = pg.db()

  it("have a key for each column that is not NULL", function()
    local row = db:first("SELECT 1 AS a, NULL::text AS b, '' AS c, ''::bytea AS d, false AS e")
    assert.same({ a = 1, c = "", d = "", e = false }, setmetatable(row, nil))
  end)

  it("let the last of several columns with one name win, NULL too, where that is asked for", function()
    local last = pg.db{ duplicates = "last" }
    assert.equal(3, last:first("SELECT 1 AS a, 2 AS b, 3 AS a").a)
    assert.is_nil(last:first("SELECT 1 AS a, 2 AS b, NULL::int AS a").a)
    assert.equal(3, last:first("SELECT NULL::int AS a, 2 AS b, 3 AS a").a)
    assert.is_nil(last:first("SELECT 1 AS a, NULL::int AS a").a)
    for _, row in ipairs(last:q("SELECT i AS a, nullif(i, 2) AS a, i AS b FROM generate_series(1, 3) i ORDER BY i")) do
      assert.equal(row.b ~= 2 and row.b or nil, row.a)
    end
    last:close()
  end)

  it("keep all columns of one name as positional lists", function()
    local lists = db:arrays("SELECT 1 AS a, NULL::int AS a, '' AS a")
    assert.same({ 1, fastpg.null, "", n = 3 }, lists[1])
    assert.same({ "a", "a", "a" }, lists.columns)
  end)

  it("can have no columns, or not be there", function()
    assert.same({ {}, {} }, setmetatable(db:q("SELECT FROM generate_series(1, 2)"), nil))
    assert.same({}, setmetatable(db:q("SELECT 1 AS a WHERE false"), nil))
    assert.is_nil(db:fetchval("SELECT 1 WHERE false"))
    assert.is_nil(db:item("SELECT NULL::int"))
    assert.equal("", db:item("SELECT ''"))
    assert.has_error(function() db:item("SELECT") end)
  end)

  it("show timestamps in the session's time zone of that moment", function()
    local function now() return tostring(db:item("SELECT timestamptz '2024-01-01 12:00:00+00'")) end
    db:acquire(function(c)
      c:execute("SET TimeZone = 'UTC'")
      assert.equal("2024-01-01 12:00:00+00", now())
      c:item("SELECT set_config('TimeZone', 'Asia/Kolkata', false)")
      assert.equal("2024-01-01 17:30:00+05:30", now())
      assert.equal("2024-01-01 17:30:00+05:30", tostring(db:first("SELECT $1::timestamptz AS t",
        fastpg.timestamptz("2024-01-01 12:00:00+00")).t))
    end)
  end)
end)
