-- SPDX-License-Identifier: MIT
--
-- types_wire: the binary readers of the types that are tables, or strings of the server's making:
-- random values against the text readers, within composite types too, and bytes no server sends.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null = fastpg.null
local db = pg.db()
db:execute[[
  CREATE EXTENSION hstore;
  CREATE EXTENSION ltree;
  -- a tree of operators over lexemes, weights and prefixes
  CREATE FUNCTION random_query(depth int) RETURNS tsquery LANGUAGE plpgsql AS $$
  DECLARE what float := random() * 5;
  BEGIN
    IF depth = 0 OR what < 1 THEN
      RETURN (quote_literal(chr(97 + (random() * 25)::int) || (ARRAY['', '''', '\', ' é'])[1 + (random() * 3)::int])
        || (ARRAY['', ':A', ':*', ':*BD', ':ABCD'])[1 + (random() * 4)::int])::tsquery;
    ELSIF what < 2 THEN RETURN !!random_query(depth - 1);
    ELSIF what < 3 THEN RETURN random_query(depth - 1) && random_query(depth - 1);
    ELSIF what < 4 THEN RETURN random_query(depth - 1) || random_query(depth - 1);
    ELSE RETURN tsquery_phrase(random_query(depth - 1), random_query(depth - 1), (random() * 3)::int);
    END IF;
  END $$;
  CREATE FUNCTION coordinate() RETURNS float8 LANGUAGE sql AS
    $$ SELECT (CASE WHEN random() < 0.3 THEN round(random() * 20 - 10) ELSE (random() - 0.5) * 10 ^ (random() * 40 - 20) END)::float8 $$;
  CREATE FUNCTION points() RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(point(coordinate(), coordinate())::text, ',') FROM generate_series(0, (random() * 5)::int) $$;
]]

-- A type, and an expression that differs from row to row.
local random = {
  { "inet", "set_masklen('0.0.0.0'::inet + (random() * 4294967295)::bigint, 32 - (random() * 4)::int * 8)" },
  { "inet", "set_masklen((SELECT string_agg(CASE WHEN random() < 0.6 THEN '0' ELSE to_hex((random() * 65535)::int) END, ':')"
    .. " FROM generate_series(1, 8) WHERE i = i)::inet, 128 - (random() * 2)::int * 10)" },
  { "inet", "(repeat('0:', i % 8) || 'ffff' || repeat(':' || (random() * 2)::int, 7 - i % 8))::inet" },
  { "cidr", "network(set_masklen('0.0.0.0'::inet + (random() * 4294967295)::bigint, (random() * 32)::int))" },
  { "macaddr", "left(md5(random()::text), 12)::macaddr" },
  { "macaddr8", "left(md5(random()::text), 16)::macaddr8" },
  { "varbit", "substring(('x' || md5(random()::text))::bit(128)::varbit FROM 1 FOR (random() * 128)::int)" },
  { "pg_lsn", "'0/0'::pg_lsn + (random() * 18446744073709551615)::numeric(20)" },
  { "tid", "format('(%s,%s)', (random() * 4294967295)::bigint, (random() * 65535)::int)::tid" },
  { "xid", "(random() * 4294967295)::bigint::text::xid" },
  { "xid8", "(random() * 18446744073709551615)::numeric(20)::text::xid8" },
  { "int2vector",
    "coalesce((SELECT string_agg(((random() - 0.5) * 65534)::int::text, ' ') FROM generate_series(1, i % 9)), '')::int2vector" },
  { "oidvector",
    "coalesce((SELECT string_agg((random() * 4294967295)::bigint::text, ' ') FROM generate_series(1, i % 9)), '')::oidvector" },
  { "pg_snapshot",
    "format('%s:%s:%s', i, i + 9, (SELECT string_agg((i + k)::text, ',') FROM generate_series(0, i % 9 - 1) k))::pg_snapshot" },
  { "jsonpath", "format('$.a[%s] ? (@.b >= %s || @ like_regex \"^\\\"\")', i, round(random()::numeric, 5))::jsonpath" },
  { "tsvector", "coalesce((SELECT string_agg("
    .. "quote_literal(chr(97 + (random() * 25)::int) || (ARRAY['', '''', '\\', ' é'])[1 + (random() * 3)::int])"
    .. " || CASE WHEN random() < 0.5 THEN '' ELSE ':' || (1 + random() * 20000)::int || chr(65 + (random() * 3)::int) || ',7' END, ' ')"
    .. " FROM generate_series(1, i % 9)), '')::tsvector" },
  { "tsquery", "random_query(i % 6)" },
  { "point", "point(coordinate(), coordinate())" },
  { "line", "line(point(coordinate(), coordinate()), point(11, coordinate()))" },
  { "lseg", "lseg(point(coordinate(), coordinate()), point(coordinate(), coordinate()))" },
  { "box", "box(point(coordinate(), coordinate()), point(coordinate(), coordinate()))" },
  { "circle", "circle(point(coordinate(), coordinate()), abs(coordinate()))" },
  { "path", "(CASE WHEN i % 2 = 0 THEN '[' || points() || ']' ELSE '(' || points() || ')' END)::path" },
  { "polygon", "('(' || points() || ')')::polygon" },
  { "hstore", "hstore(ARRAY[i::text, 'a', '\"\\', ', ', ''], ARRAY[NULL, '', i::text, '\"\\=>', 'NULL'])" },
  { "ltree", "(repeat('a_' || i || '.', i % 5 + 1) || 'z')::ltree" },
}

-- A text that is the same for the same value.
local function text(v)
  if type(v) ~= "table" or getmetatable(v) then return tostring(v) end
  local out = {}
  for key, value in pairs(v) do out[#out + 1] = ("%q=%s"):format(key, value == null and "NULL" or ("%q"):format(value)) end
  table.sort(out)
  return table.concat(out, " ")
end

local READ = "SELECT v, ARRAY[v, NULL] AS w, ROW(1, v, ARRAY[v], '')::holder AS h %s FROM random_values ORDER BY n"
local SENT = [[
  SELECT $1::TYPE::text = v::text AND $2::TYPE[]::text = ARRAY[v, NULL]::text
    AND $3::holder::text = ROW(1, v, ARRAY[v], '')::holder::text FROM random_values WHERE n = $4]]

describe("random values of type", function()
  for i, case in ipairs(random) do
    local typename, expression = case[1], case[2]
    it(("%s (%d) are the same in binary, as text, in arrays, in rows, and sent back"):format(typename, i), function()
      db:execute("DROP TABLE IF EXISTS random_values; DROP TYPE IF EXISTS holder")
      db:execute(("CREATE TYPE holder AS (a int, v %s, w %s[], z text)"):format(typename, typename))
      db:execute(("CREATE TABLE random_values AS SELECT i AS n, (%s) AS v FROM generate_series(1, 100) i"):format(expression))
      db:refresh()
      local binary, as_text, sent = db:q(READ:format ""), db:q(READ:format ", '1'::money AS x"), SENT:gsub("TYPE", typename)
      assert.equal(100, #binary)
      for n, row in ipairs(binary) do
        local other = as_text[n]
        local expected = text(other.v)
        for _, v in ipairs{ row.v, row.w[1], row.h.v, row.h.w[1], other.w[1], other.h.v, other.h.w[1] } do
          assert.equal(expected, text(v))
        end
        assert.is_true(rawequal(row.w[2], null))
        if typename ~= "hstore" then assert.is_true(db:item(sent, row.v, row.w, row.h, n)) end
        assert.is_true(db:item(sent, other.v, other.w, other.h, n))
      end
    end)
  end
end)

-- ---- bytes that no server sends -------------------------------------------------------------

-- In a database of its own the types' output functions are replaced by one that sends what it is told.
describe("bytes that no server sends", function()
  local evil = pg.cluster():connect{ database = pg.new_database "evil" }
  evil:execute "CREATE EXTENSION hstore; CREATE EXTENSION ltree"

  -- { a type, a value; whether bytes of the right length can be wrong }
  local cases = {
    { "inet", "'10.0.0.0/8'" }, { "cidr", "'2001:db8::/32'" }, { "macaddr", "'08002b010203'" }, { "macaddr8", "'08002b0102030405'" },
    { "bit", "'1'" }, { "varbit", "'1011011101'" }, { "pg_lsn", "'1/2'" }, { "tid", "'(1,2)'" }, { "xid", "'7'" }, { "xid8", "'7'" },
    { "int2vector", "'1 2 3'" }, { "oidvector", "'1 2'" }, { "pg_snapshot", "'10:20:11,14'" }, { "jsonpath", "'$.a'" },
    { "tsvector", "'a:1A,2 cat fat:3'" }, { "tsquery", "'a:A <-> !(b | c:*) & d'" }, { "point", "'(1,2)'" }, { "line", "'{1,2,3}'" },
    { "lseg", "'[(1,2),(3,4)]'" }, { "box", "'(1,2),(3,4)'" }, { "circle", "'<(1,2),3>'" }, { "path", "'[(1,2),(3,4)]'" },
    { "polygon", "'((1,2),(3,4))'" }, { "hstore", "'a=>1,b=>NULL'" }, { "ltree", "'a.b'" },
  }

  local expected_names = { protocol_violation = true, invalid_binary_representation = true, feature_not_supported = true }

  -- Reads the bytes as the type: a value, or an error that names the type.
  local function read(typename, sql, bytes)
    evil:item("SELECT set_config('evil.bytes', $1, false)", (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
    local ok, err = pcall(evil.item, evil, sql)
    if ok then return true end
    assert.is_true(expected_names[err.name] or false, tostring(err))
    assert.truthy(err.message:find(typename, 1, true) or typename == "bit" or typename == "varbit", err.message)
    return false
  end

  local function with_byte(bytes, i, c) return bytes:sub(1, i - 1) .. string.char(c) .. bytes:sub(i + 1) end

  for _, case in ipairs(cases) do
    local typename, literal = case[1], case[2]
    it("are refused or read, but do no harm: " .. typename, function()
      local send = evil:item("SELECT typsend::regproc::text FROM pg_type WHERE oid = $1::text::regtype", typename)
      local good = evil:item(("SELECT %s(%s::%s)"):format(send, literal, typename))
      evil:execute(([[CREATE FUNCTION evil_%s("%s") RETURNS bytea LANGUAGE plpgsql AS
        $$ BEGIN RETURN decode(current_setting('evil.bytes'), 'hex'); END $$]]):format(typename, typename))
      evil:execute(("UPDATE pg_type SET typsend = 'evil_%s'::regproc WHERE oid = '\"%s\"'::regtype"):format(typename, typename))
      local alone = ("SELECT %s::\"%s\""):format(literal, typename)
      assert.is_true(read(typename, alone, good))
      for n = 0, #good - 1 do -- (a shorter text with a version is a text)
        if typename ~= "jsonpath" and typename ~= "ltree" or n == 0 then assert.is_false(read(typename, alone, good:sub(1, n))) end
      end
      if typename ~= "jsonpath" and typename ~= "ltree" then assert.is_false(read(typename, alone, good .. "\0")) end
      local list = ("SELECT ARRAY[%s]::\"%s\"[]"):format(literal, typename)
      for i = 1, #good do
        for _, c in ipairs{ 0, 1, 2, 3, 127, 128, 255 } do read(typename, alone, with_byte(good, i, c)) end
        read(typename, list, with_byte(good, i, 255))
        read(typename, alone, good:sub(1, i) .. "\127\255\255\255" .. good:sub(i + 5))
        read(typename, alone, good:sub(1, i) .. good:sub(i))
      end
      assert.equal(1, evil:item "SELECT 1")
    end)
  end
end)
