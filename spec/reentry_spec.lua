-- SPDX-License-Identifier: MIT
--
-- reentry: Lua code that runs while a result is decoded or arguments are encoded, a codec or a
-- finalizer, may use the same connection.

local pg = require "spec.support.pg"
local fastpg = require "fastpg"

local db = pg.db()
db:execute "CREATE TYPE nested AS ENUM ('a', 'b')"

-- Calls fn when the garbage is collected.
local function on_collect(fn)
  if rawget(_G, "newproxy") then
    getmetatable(newproxy(true)).__gc = fn
  else
    setmetatable({}, { __gc = fn })
  end
end

describe("a statement inside another's values", function()
  for _, size in ipairs{ 100, 0 } do
    it("runs in a codec, with statement_cache_size = " .. size, function()
      local inner = pg.db{ statement_cache_size = size }
      local conn
      inner:set_type_codec("nested", {
        decode = function(s) return s .. conn:item("SELECT 'decoded'") end,
        encode = function(v) return size == 0 and v or conn:item("SELECT $1::text", v) end,
      })
      inner:acquire(function(c)
        conn = c
        local rows = c:q("SELECT e, i FROM unnest(ARRAY['a', 'b', 'a']::nested[]) WITH ORDINALITY AS t(e, i) ORDER BY i")
        assert.equal(3, #rows)
        assert.equal("adecoded", rows[1].e)
        assert.equal("bdecoded", rows[2].e)
        assert.equal(3, rows[3].i)
        assert.equal("bdecoded", c:item("SELECT $2::nested WHERE $1 = 'x' AND $3 = 7.5::float8", "x", "b", 7.5))
        assert.same({ "adecoded", "bdecoded" }, c:item("SELECT $1::nested[]", { "a", "b" }))
      end)
      inner:close()
    end)
  end

  it("is refused while a batch takes statements, which goes on", function()
    for _, size in ipairs{ 100, 0 } do
      local inner = pg.db{ statement_cache_size = size }
      inner:execute "CREATE TEMP TABLE nests (id int PRIMARY KEY, e nested)"
      local conn, refused
      inner:set_type_codec("nested", { encode = function(v)
        local ok, err = pcall(conn.item, conn, "SELECT 1")
        if not ok then refused = err.name end
        return v
      end })
      local rows = { { id = 1, e = "a" }, { id = 2, e = "b" }, { id = 3 } }
      local ways = {
        function(d) return #d.t.nests:inserts(rows) end,
        function(d) return #d.t.nests:upserts(rows) end,
        function(d) return #d.t.nests:updates{ rows[1], rows[2], { id = 3, e = "a" } } end,
        function(d) return d:executemany("INSERT INTO nests VALUES ($1, $2)", { { 4, "a" }, { 5, "b" }, { 6, "a" } }) end,
        function(d)
          return #d:pipeline(function(p) for _ = 1, 3 do p:q("SELECT $1::nested", "a") end end)
        end,
      }
      for i, way in ipairs(ways) do
        conn, refused = inner, nil
        assert.equal(3, way(inner), i)
        assert.is_true(refused == "connection_busy" or refused == "deadlock", i)
        inner:transaction(function(tx)
          tx:execute "DELETE FROM nests WHERE id > 3"
          if i == 1 then tx:execute "DELETE FROM nests" end
          conn, refused = tx, nil
          assert.equal(3, way(tx), i)
          assert.equal("connection_busy", refused, i)
          assert.equal(42, tx:item "SELECT 42", i)
        end)
        inner:execute "DELETE FROM nests WHERE id > 3"
      end
      inner:close()
    end
  end)

  it("fails alone when the codec fails", function()
    local conn
    local inner = pg.db()
    inner:set_type_codec("nested", { decode = function() conn:item("SELECT 1/0") end })
    inner:acquire(function(c)
      conn = c
      local ok, err = pcall(c.q, c, "SELECT 'a'::nested AS e")
      assert.is_false(ok)
      assert.equal("division_by_zero", err.name)
      for _ = 1, 3 do assert.equal(2, c:item("SELECT 2")) end
    end)
    inner:close()
  end)

  it("runs in a finalizer", function()
    local ran, sum = 0, 0
    db:transaction(function(tx)
      for _ = 1, 20 do
        on_collect(function()
          ran = ran + 1
          pcall(tx.item, tx, "SELECT $1::int, 'another'", 1)
        end)
        for _, row in ipairs(tx:q("SELECT i, i::numeric AS n, repeat('x', 100) AS x FROM generate_series(1, 500) i")) do
          sum = sum + row.i
          assert.equal(row.i, row.n:tonumber())
        end
        local list = {}
        for i = 1, 200 do list[i] = fastpg.numeric(i) end
        assert.equal(20100, tx:item("SELECT sum(x)::int FROM unnest($1::numeric[]) x", list))
      end
      collectgarbage()
      collectgarbage()
    end)
    assert.equal(20 * 125250, sum)
    assert.is_true(ran > 0)
  end)
end)
