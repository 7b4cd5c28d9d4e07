-- SPDX-License-Identifier: MIT
--
-- Rows that compiled code makes on LuaJIT (fastpg.pg.flat_rows) are those that the core makes.

local fastpg = require "fastpg"
local flat_rows = require "fastpg.pg.flat_rows"
local groups = require "spec.types.values"
local pg = require "spec.support.pg"

local WORTH = flat_rows.worth
local has_jit = jit ~= nil

-- Whether two values are the same: of userdata what they print, of tables what is in them, and both with their metatables
-- (that of a row may be another of its kind, where the statement was prepared anew).
local function same(a, b)
  local one, other = getmetatable(a), getmetatable(b)
  if type(a) ~= type(b) or one ~= other and not (one.__name == "fastpg.row" and other.__name == "fastpg.row") then return false end
  if type(a) == "number" then return a == b and 1 / a == 1 / b or a ~= a and b ~= b end
  if type(a) == "userdata" then return a == b or tostring(a) == tostring(b) end
  if type(a) ~= "table" then return a == b end
  for key, value in next, a do
    if not same(value, rawget(b, key)) then return false end
  end
  for key in next, b do
    if rawget(a, key) == nil then return false end
  end
  return true
end

-- The statement's rows as the core makes them, and as compiled code does, on two connections of the same options.
local function both(db, name, sql)
  flat_rows.worth = math.huge
  local by_core = db[name](db, sql)
  flat_rows.worth = 0
  local flat = db[name](db, sql)
  flat_rows.worth = WORTH
  return by_core, flat
end

local function check(db, sql, names)
  for _, name in ipairs(names or { "q", "arrays" }) do
    local by_core, flat = both(db, name, sql)
    assert.equal(#by_core, #flat)
    for i = 1, #by_core do
      if not same(by_core[i], flat[i]) then error(("row %d of %s by %s"):format(i, sql, name)) end
    end
  end
end

describe("rows made by compiled code", function()
  local db = pg.db()
  after_each(function() flat_rows.worth = WORTH end)

  it("are there on LuaJIT alone, for a statement that gives many", function()
    assert.equal(has_jit, flat_rows.more ~= nil)
    if not has_jit then return end
    local sql = "SELECT i, i::text AS t FROM generate_series(1, 40) i"
    local by_core, flat = both(db, "q", sql)
    local builder = getmetatable(flat[1]).shape.flat[true]
    assert.equal("ns", builder.layout)
    assert.equal(getmetatable(by_core[1]), getmetatable(flat[1]))
    assert.same(by_core, flat)
  end)

  it("hold each value of each type", function()
    for _, group in ipairs(groups) do
      if not group.extension then
        for _, setting in ipairs(group.settings or { "SELECT 1" }) do
          db:acquire(function(c)
            c:execute(setting)
            for _, name in ipairs(group.types) do
              for _, row in ipairs(group.rows) do
                check(c, ("SELECT i, nullif(i, 20) AS x, i %% 3 = 0 AS b, CASE WHEN i %% 4 > 0 THEN (%s)::%s END AS v, i::text AS t "
                  .. "FROM generate_series(1, 22) i"):format(row[1], name), { "q" })
              end
            end
            c:execute "RESET ALL"
          end)
        end
      end
    end
  end)

  it("hold NULLs, empty strings, long ones and the edges of numbers", function()
    check(db, [[SELECT CASE WHEN i % 2 = 0 THEN i END AS a, CASE WHEN i % 3 = 0 THEN '' WHEN i % 3 = 1 THEN repeat('x', i) END AS b,
      CASE WHEN i % 5 < 2 THEN i % 5 = 0 END AS c, NULL::int AS d, NULL::text AS e, NULL::bool AS f,
      9007199254740990 + i AS big, -9007199254740990 - i AS small, 'NaN'::float8 AS nan, '-0'::float8 AS zero,
      '-infinity'::float4 AS inf, (i + 4294960000)::oid AS o, chr(i % 100 + 28)::"char" AS ch, ''::"char" AS none,
      E'\\xff'::bytea AS bytes, (i - 300)::int2 AS i2 FROM generate_series(1, 700) i]])
    check(db, [[SELECT i, E'\xc3\xa9'::"char" AS c FROM generate_series(1, 40) i]])
  end)

  it("hold arrays of numbers, each row its own", function()
    check(db, [=[SELECT i, ARRAY[i, -i, 0] AS a, CASE WHEN i % 3 > 0 THEN ARRAY[i::float8 / 3, 'NaN', '-0', 'infinity'] END AS f,
      ARRAY[i::int2] AS s, ARRAY[i::oid, 4294967295] AS o, ARRAY[i + 0.5]::float4[] AS g, '{}'::int[] AS none,
      NULL::int[] AS no, ARRAY[]::float8[] AS empty FROM generate_series(1, 300) i]=])
    check(db, [=[SELECT CASE i % 5 WHEN 0 THEN ARRAY[i, NULL] WHEN 1 THEN ARRAY[[i, 2], [3, 4]] WHEN 2 THEN ('[0:1]={1,' || i || '}')::int[]
      WHEN 3 THEN ARRAY[i] END AS a, ARRAY[9007199254740990 + i, i]::int8[] AS big FROM generate_series(1, 200) i]=])
    for _, n in ipairs{ 1, 100, 3000, 4095, 4096, 4097, 8192, 8193, 20000 } do
      check(db, ("SELECT i, (SELECT array_agg(j + i) FROM generate_series(1, %d) j) AS a, ARRAY[i] AS b FROM generate_series(1, 40) i"):format(n),
        { "q" })
    end
    check(db, "SELECT i, ARRAY[i] AS a, ARRAY[i] AS b, i AS a FROM generate_series(1, 40) i", { "arrays" })
    check(db, "SELECT i, ARRAY[i::text, 'x'] AS t, ARRAY[i::numeric] AS n, ARRAY[i > 3] AS b FROM generate_series(1, 40) i")
    local rows = select(2, both(db, "q", "SELECT ARRAY[7, 8] AS a FROM generate_series(1, 40) i"))
    rows[20].a[1] = "changed"
    assert.same({ 7, 8 }, { rows[21].a[1], rows[21].a[2] })
    assert.equal(fastpg.array_mt, getmetatable(rows[21].a))
  end)

  it("can be none, one, of no columns, of many", function()
    for _, n in ipairs{ 0, 1, 16, 17, 18, 40, 3000 } do
      check(db, ("SELECT i, i::text AS t, i > 2 AS b FROM generate_series(1, %d) i"):format(n))
      check(db, ("SELECT FROM generate_series(1, %d)"):format(n))
    end
    for _, columns in ipairs{ 60, 99, 100, 101, 700 } do
      local list = {}
      for i = 1, columns do list[i] = ("CASE WHEN i %% %d <> 0 THEN i + %d END AS c%d"):format(i + 1, i, i) end
      check(db, ("SELECT %s FROM generate_series(1, 60) i"):format(table.concat(list, ", ")))
    end
  end)

  it("have keys of any name", function()
    check(db, [=[SELECT i AS "end", i AS "a""b", i::text AS "a'b\n", i > 3 AS "nil", i AS "]]", i AS "%d", i AS "n", i AS "ü",
      i AS "two
lines" FROM generate_series(1, 40) i]=])
  end)

  it("let the last of several columns of one name win", function()
    local last = pg.db{ duplicates = "last" }
    check(last, [[SELECT i AS a, nullif(i, 20) AS a, timestamptz '2024-01-01 12:00+00' AS b, i::text AS b, i % 2 = 0 AS c, NULL::int AS c, i AS d, i AS e
      FROM generate_series(1, 40) i]])
    last:close()
  end)

  it("are those of transactions, pipelines and streams", function()
    local sql = "SELECT i, nullif(i, 30) AS n, i::text AS t FROM generate_series(1, 600) i"
    local expected = db:q(sql)
    flat_rows.worth = 0
    assert.is_true(same(expected[600], db:transaction(function() return db:q(sql) end)[600]))
    assert.same(expected, db:pipeline(function(p) p:q(sql) p:q(sql) end)[2])
    db:transaction(function()
      local n = 0
      for row in db:each(sql) do
        n = n + 1
        assert.equal(expected[n].t, row.t)
        assert.equal(expected[n].n, row.n)
      end
      assert.equal(600, n)
    end)
  end)

  it("go on after a codec of the user's failed in the middle, or ran other statements", function()
    local own = pg.db()
    local fails, inner = true, nil
    own:set_type_codec("inet", { decode = function(text)
      if fails and text == "10.0.0.30" then error("not this one", 0) end
      if text == "10.0.0.31" then inner = db:q "SELECT i, i::text AS t FROM generate_series(1, 40) i" end
      return { word = text }
    end, encode = tostring })
    local sql = "SELECT 'x' || i AS x, i::text AS t, ('10.0.0.' || i)::inet AS w FROM generate_series(1, 60) i"
    flat_rows.worth = 0
    local ok, err = pcall(own.q, own, sql)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("not this one", 1, true))
    fails = false
    local rows = own:q(sql)
    if has_jit then assert.equal("sso", getmetatable(rows[1]).shape.flat[true].layout) end
    for i = 1, 60 do assert.same({ "x" .. i, tostring(i), "10.0.0." .. i }, { rows[i].x, rows[i].t, rows[i].w.word }) end
    for i = 1, 40 do assert.same({ i, tostring(i) }, { inner[i].i, inner[i].t }) end
    own:close()
  end)

  it("come piece by piece under a loop", function()
    local function run()
      return db:q "SELECT i, nullif(i, 300) AS n, repeat(i::text, 40) AS t FROM generate_series(1, 3000) i"
    end
    local expected = run()
    flat_rows.worth = 0
    local result
    fastpg.run(function() result = run() end)
    assert.same(expected, result)
  end)
end)
