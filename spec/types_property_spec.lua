-- SPDX-License-Identifier: MIT
--
-- types_property: random values of every type, made by the server, through the whole circle.
--
-- Of each type the server fills a table with values: alone, in arrays, in a composite type, in a
-- range and a multirange over the type where it has an order.  They are read in binary and as text,
-- sent back as parameters and by COPY, and the server compares.  FASTPG_SEED (0 to 1) makes other
-- values; a failure names the seed that made it.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local SEED = tonumber(os.getenv "FASTPG_SEED") or 0.42
local COUNT = 30

-- { type, SQL of a random value (i is 1, 2, ...), n = how many, json = compare by jsonb, text = by text only }
local TYPES = {
  { "boolean", "r_chance(0.5)" },
  { "smallint", "r_int8() >> 48" },
  { "integer", "r_int8() >> 32" },
  { "bigint", "r_int8()", n = 120 },
  { "oid", "(r_int8() & 4294967295)" },
  { "real", "r_float4()", n = 120 },
  { "double precision", "r_float8()", n = 120 },
  { "numeric", "r_numeric(CASE WHEN i % 10 = 0 THEN 1000 ELSE 40 END)", n = 120 },
  { "money", "(r_int8()::numeric / 100)" },
  { "text", "r_text(CASE WHEN i % 20 = 0 THEN 1000 ELSE i END)", n = 100 },
  { "character varying", "r_word()" },
  { "character(20)", "r_word()" },
  { "name", "left(r_word(), 15)" },
  { '"char"', "(i * 3)::int" },
  { "bytea", "r_bytes(i - 1)", n = 256 },
  { "date", "r_date()", n = 100 },
  { "time", "r_time()", n = 50 },
  { "time with time zone", "r_timetz()", n = 50 },
  { "timestamp", "r_timestamp()", n = 100 },
  { "timestamp with time zone", "r_timestamp() AT TIME ZONE 'UTC'", n = 100 },
  { "interval", "r_interval()", n = 100 },
  { "uuid", "r_hex(32)" },
  { "json", "r_json(3)", n = 50, json = true },
  { "jsonb", "r_json(3)", n = 50, json = true },
  { "xml", "xmlelement(name a, xmlattributes(r_hex(3) AS b), '<é&' || r_hex(5))" },
  { "inet", "r_inet()", n = 100 },
  { "cidr", "network(r_inet())", n = 50 },
  { "macaddr", "r_hex(12)" },
  { "macaddr8", "r_hex(16)" },
  { "bit(17)", "r_varbit(17)" },
  { "bit varying", "r_varbit(i - 1)", n = 70 },
  { "point", "point(r_float8(), r_float8())", n = 50 },
  { "line", "format('{%s,%s,%s}', r_int(1, 9) + r_finite(), r_finite(), r_float8())" },
  { "lseg", "lseg(point(r_float8(), r_float8()), point(r_float8(), r_float8()))" },
  { "box", "box(point(r_float8(), r_float8()), point(r_float8(), r_float8()))" },
  { "path", "CASE WHEN r_chance(0.5) THEN r_points('[', ']') ELSE r_points('(', ')') END" },
  { "polygon", "r_points('(', ')')" },
  { "circle", "circle(point(r_float8(), r_float8()), abs(r_finite()))" },
  { "tsvector", "r_tsvector()" },
  { "tsquery", "r_tsquery(4)", n = 50, text = true }, -- the server compares groups that its text does not show
  { "pg_lsn", "to_hex(r_int(0, 4294967295)) || '/' || to_hex(r_int(0, 4294967295))" },
  { "tid", "format('(%s,%s)', r_int(0, 4294967295), r_int(0, 65535))" },
  { "xid", "r_int(0, 4294967295)::text" },
  { "cid", "r_int(0, 4294967295)::text" },
  { "xid8", "(r_int8() & 9223372036854775807)::text" },
  { "int2vector", "format('%s %s', r_int(-32768, 32767), r_int(-9, 9))" },
  { "oidvector", "format('%s %s', r_int(0, 4294967295), r_int(0, 9))" },
  { "pg_snapshot", "r_snapshot()" },
  { "txid_snapshot", "r_snapshot()" },
  { "refcursor", "r_word()" },
  { "jsonpath", "format('$.%s[%s] ? (@ > %s)', to_json(r_word()), r_int(0, 99), r_finite())" },
  { "regclass", "(ARRAY(SELECT oid::regclass FROM pg_class ORDER BY oid))[r_int(1, 300)]" },
  { "regtype", "(ARRAY(SELECT oid::regtype FROM pg_type ORDER BY oid))[r_int(1, 300)]" },
  { "regprocedure", "(ARRAY(SELECT oid::regprocedure FROM pg_proc ORDER BY oid))[r_int(1, 2000)]" },
  { "regoperator", "(ARRAY(SELECT oid::regoperator FROM pg_operator ORDER BY oid))[r_int(1, 500)]" },
  { "int4range", "int4range(r_int(-2147483648, 0)::int, r_int(1, 2147483647)::int)" },
  { "numrange", "numrange(nullif(r_numeric(20), 'NaN'), NULL, r_pick('[]', '()', '[)', '(]'))" },
  { "tsrange", "tsrange(NULL, r_timestamp(), r_pick('[]', '()', '[)', '(]'))" },
  { "tstzrange", "tstzrange(r_timestamp() AT TIME ZONE 'UTC', NULL, r_pick('[]', '()'))" },
  { "daterange", "daterange(nullif(r_date(), '5874897-12-31'), NULL, r_pick('[]', '()', '[)', '(]'))" },
  { "mood", "r_pick('happy', 'sad', 'so \"so\"', '')" },
  { "positive", "r_int(1, 2147483647)" },
  { "words", "ARRAY[r_word(), NULL, r_word()]" },
  { "mixed", "ROW(r_int8(), CASE WHEN r_chance(0.7) THEN r_word() END, ARRAY[r_numeric(9), NULL], r_timestamp(), r_bytes(5))", n = 50 },
  { "nested", "ROW(ROW(1, r_word(), NULL, NULL, NULL)::mixed, ARRAY[ROW(2, r_word(), '{}', NULL, '')::mixed, NULL], r_json(2)::jsonb)" },
  { "hstore", "hstore(ARRAY[r_word(), r_word(), 'x'], ARRAY[r_word(), NULL, r_word()])", n = 50, extension = "hstore" },
  { "citext", "r_word()", extension = "citext" },
  { "ltree", "r_hex(5) || '.' || r_hex(3)", extension = "ltree" },
}

local db, zone

local function available(extension)
  return db:item("SELECT count(*) FROM pg_available_extensions WHERE name = $1", extension) > 0
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

setup(function()
  db = pg.db()
  db:execute(read "spec/types/random.sql")
  db:execute[[
    CREATE TYPE mood AS ENUM ('happy', 'sad', 'so "so"', '');
    CREATE DOMAIN positive AS integer CHECK (value > 0);
    CREATE DOMAIN words AS text[];
    CREATE TYPE mixed AS (a bigint, gone integer, "b ""c" text, d numeric[], e timestamp, f bytea);
    ALTER TYPE mixed DROP ATTRIBUTE gone;
    CREATE TYPE nested AS (m mixed, ms mixed[], j jsonb);
  ]]
  db:execute "SET TimeZone = 'America/New_York'"
  zone = db:item "SHOW TimeZone"
end)

-- Makes table `circle` of the type's values: v alone, a in an array, c in a composite, and r and m in
-- a range and a multirange. Returns its columns and their types.
local function make(t)
  db:execute "DROP TABLE IF EXISTS circle, copied; DROP TYPE IF EXISTS around, span"
  db:execute(("CREATE TYPE around AS (n integer, v %s, t text, w %s)"):format(t[1], t[1]))
  local ordered = pcall(db.execute, db, ("CREATE TYPE span AS RANGE (subtype = %s)"):format(t[1]))
  local columns, types = { "v", "a", "c" }, { t[1], t[1] .. "[]", "around" }
  local span = ""
  if ordered then
    columns[4], types[4] = "r", "span"
    span = [[, CASE i % 7 WHEN 0 THEN 'empty' WHEN 1 THEN span(NULL, v, r_pick('[]', '()')) WHEN 2 THEN span(v, NULL, r_pick('[]', '()'))
      ELSE span(least(v, w), greatest(v, w), r_pick('[]', '(]', '[)', '()')) END AS r]]
    if db:item "SELECT to_regtype('span_multirange') IS NOT NULL" then
      columns[5], types[5] = "m", "span_multirange"
    end
  end
  db:item("SELECT setseed($1)", SEED)
  -- (in steps, so that the dice of one value are rolled once)
  local multi = columns[5] and ", r, span_multirange(r, coalesce(lag(r) OVER (ORDER BY i), 'empty')) AS m" or ordered and ", r" or ""
  local sql = [==[
    CREATE TABLE circle AS WITH made AS MATERIALIZED (
      SELECT i, (@value)::@type AS v, (@value)::@type AS w FROM generate_series(1, @count) i
    ), ranges AS MATERIALIZED (SELECT *@span FROM made)
    SELECT i, v,
      CASE i % 5 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[v] WHEN 2 THEN ARRAY[v, NULL::@type, w] WHEN 3 THEN ARRAY[[v, w], [NULL::@type, v]]
        ELSE (format('[%s:%s]=', i - 20, i - 18) || ARRAY[w, v, v]::@type[]::text)::@type[] END AS a,
      CASE WHEN i % 9 > 0 THEN ROW(i, v, CASE i % 3 WHEN 0 THEN '' WHEN 1 THEN 'x"' END, CASE i % 2 WHEN 1 THEN w END)::around END AS c
      @multi FROM ranges]==]
  local parts = { value = t[2], type = t[1], count = t.n or COUNT, span = span, multi = multi }
  db:execute((sql:gsub("@(%l+)", parts)))
  db:refresh()
  return columns, types
end

-- SQL that is true where two values differ. json's own text may.
local function differ(t, a, b)
  if t.json then return ("to_jsonb(%s) IS DISTINCT FROM to_jsonb(%s)"):format(a, b) end
  return ("(%s)::text IS DISTINCT FROM (%s)::text"):format(a, b)
end

-- Raises what the server found: rows with the column's name, i, and both texts.
local function complain(t, columns, way, other, from, with, args)
  local checks = {}
  for n, column in ipairs(columns) do
    local a, b = "t." .. column, other .. "." .. column
    local same_text, same = differ(t, a, b), ("%s IS DISTINCT FROM %s"):format(a, b)
    local condition = (n < 4 or t.text) and same_text or t.json and same or same_text .. " OR " .. same
    checks[n] = ("SELECT '%s' AS col, t.i, left(%s::text, 300) AS sent, left(%s::text, 300) AS came FROM %s WHERE %s"):format(
      column, a, b, from, condition)
  end
  local sql = table.concat(checks, " UNION ALL ")
  local bad = args and db:q(with .. sql, fastpg.args(args, args.n)) or db:q(sql)
  if #bad == 0 then return end
  local first = bad[1]
  error(("%s, %s, seed %s: %d differ, as %s %d: %s came as %s"):format(t[1], way, SEED, #bad, first.col, first.i,
    tostring(first.sent), tostring(first.came)), 0)
end

-- The rows as parameters, a hundred at a time.
local function send_back(t, columns, types, rows, way)
  for from = 1, #rows, 100 do
    local args, tuples = { n = 0 }, {}
    for at = from, math.min(from + 99, #rows) do
      local tuple = {}
      for n = 0, #columns do
        args.n = args.n + 1
        args[args.n] = rows[at][columns[n] or "i"]
        tuple[#tuple + 1] = ("$%d::%s"):format(args.n, types[n] or "integer")
      end
      tuples[#tuples + 1] = "(" .. table.concat(tuple, ", ") .. ")"
    end
    local with = ("WITH s(i, %s) AS (VALUES %s) "):format(table.concat(columns, ", "), table.concat(tuples, ", "))
    complain(t, columns, way, "s", "s JOIN circle t USING (i)", with, args)
  end
end

local function iterator(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

-- A list goes in binary where its types have such a form, an iterator as text.
local function copy_back(t, columns, rows)
  db:execute "CREATE TABLE copied (LIKE circle)"
  assert.equal(#rows, db.t.copied:copy(rows))
  assert.equal(#rows, db.t.copied:copy(iterator(rows)))
  complain(t, columns, "read in binary, sent by COPY", "s", "copied s RIGHT JOIN circle t USING (i)")
end

describe("random values go through the circle, seed " .. SEED .. ":", function()
  for _, t in ipairs(TYPES) do
    it(t[1], function()
      if t.extension then
        if not available(t.extension) then pending("the extension is not installed") return end
        db:execute("CREATE EXTENSION IF NOT EXISTS " .. t.extension)
      end
      local columns, types = make(t)
      local rows = db:q "SELECT * FROM circle ORDER BY i"
      assert.equal(t.n or COUNT, #rows)
      send_back(t, columns, types, rows, "read in binary, sent as parameters")
      send_back(t, columns, types, db:q "SELECT *, '1'::money FROM circle ORDER BY i", "read as text, sent as parameters")
      copy_back(t, columns, rows)
    end)
  end

  it("in a zone with summer time", function()
    assert.equal("America/New_York", zone)
  end)
end)
