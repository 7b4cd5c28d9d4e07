-- SPDX-License-Identifier: MIT
--
-- seeds.lua: writes spec/fuzz/seeds/TARGET/NAME.hex anew (make fuzz-seeds): the values of
-- spec/types/values.lua as the server's own send and output functions write them, and some text.

local pg = require "spec.support.pg"
local groups = require "spec.types.values"
local hex = require "spec.fuzz.hex"
local targets = require "spec.fuzz.targets"

local LONGEST = 400 -- bytes of a seed
local PER_FILE = 12

local db = pg.cluster():connect{ database = pg.new_database "fuzz" }
db:execute[[
  CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
  CREATE TYPE fuzz_mood AS ENUM ('happy', 'sad', 'so "so"');
  CREATE TYPE mood AS ENUM ('happy', 'sad', 'so "so"');
  CREATE DOMAIN fuzz_positive AS integer;
  CREATE DOMAIN positive AS integer;
  CREATE TYPE fuzz_pair AS (a integer, b text);
  CREATE TYPE pair AS (a integer, b text);
  CREATE TYPE fuzz_nest AS (p fuzz_pair, l fuzz_pair[], n numeric, r int4range, j jsonb, x point);
  CREATE TYPE fuzz_range AS RANGE (subtype = text, multirange_type_name = fuzz_multirange);
  SET TimeZone = 'Europe/Dublin';
]]

local function be32(n)
  return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
end

-- ---- files ------------------------------------------------------------------------------------

local files, count = {}, 0

local function add(target, name, input, remark)
  if #input > LONGEST then return end
  name = name:gsub("%W+", "_"):gsub("^_", ""):gsub("_$", "")
  local path = ("spec/fuzz/seeds/%s/%s.hex"):format(target, name)
  local file = files[path] or { target = target, seen = {} }
  files[path] = file
  if file.seen[input] or #file >= PER_FILE then return end
  file.seen[input] = true
  file[#file + 1] = ("%s # %s\n"):format(hex.encode(input), (remark:gsub("[^ -~]", "?"):sub(1, 60)))
end

local function write()
  os.execute "rm -rf spec/fuzz/seeds"
  for path, file in pairs(files) do
    os.execute("mkdir -p spec/fuzz/seeds/" .. file.target)
    local f = assert(io.open(path, "w"))
    f:write(table.concat(file))
    f:close()
    count = count + #file
  end
end

-- ---- values -----------------------------------------------------------------------------------

-- The oids of this database's types, and those of targets.lua.
local ours = {}
for _, t in ipairs(targets.types) do
  local oid = db:item("SELECT to_regtype($1)::oid", (t.name:gsub("^_(.*)", "%1[]")))
  ours[oid] = t.oid
end

local function replace(bytes)
  for theirs, oid in pairs(ours) do
    local from = be32(theirs):gsub("%W", "%%%0"):gsub("%z", "%%z")
    bytes = bytes:gsub(from, (be32(oid):gsub("%%", "%%%%")))
  end
  return bytes
end

-- The call of a type's send or output function: refcursor's is that of text.
local function call(typename, column, expression)
  local f = db:first(([[SELECT p.proname AS name, p.proargtypes[0]::regtype::text AS argument, a.typtype AS kind
    FROM pg_type t JOIN pg_proc p ON p.oid = t.%s JOIN pg_type a ON a.oid = p.proargtypes[0] WHERE t.oid = $1::regtype]]):format(column), typename)
  return f and ("SELECT %s((%s)%s)"):format(f.name, expression, f.kind ~= "p" and "::" .. f.argument or "")
end

local function add_value(typename, expression, binary_target, text_target)
  local name = typename:gsub("%b()", "")
  local theirs = db:item("SELECT $1::regtype::oid", name)
  if theirs > 16384 and not ours[theirs] then return end
  local oid = be32(ours[theirs] or theirs)
  local send = call(name, "typsend", expression)
  local ok, bytes = false, nil
  if send then ok, bytes = pcall(db.item, db, send) end -- (that of an array of a type without one fails)
  if ok then add(binary_target, typename, "b" .. oid .. replace(bytes), expression) end
  add(text_target, typename, "t" .. oid .. db:item(call(name, "typoutput", expression)), expression)
end

local special = {
  numeric = "numeric", date = "time", time = "time", timetz = "time", timestamp = "time", timestamptz = "time", interval = "time",
  ranges = "range", tstzrange = "range", multirange = "range", numeric_with_scale = "numeric",
}

local names = {}
for name in pairs(groups) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  local group = groups[name]
  for _, typename in ipairs(group.types) do
    for i, row in ipairs(group.rows) do
      local literal = ("(%s)::%s"):format(row[1], typename)
      if typename == "hstore" or db:item("SELECT to_regtype($1) IS NOT NULL", (typename:gsub("%b()", ""))) then
        add_value(typename, literal, "binary", "text")
        if special[name] then add_value(typename, literal, special[name], special[name]) end
        if i <= 2 then
          add_value(typename .. "[]", ("ARRAY[%s, NULL, %s]"):format(literal, literal), "array", "array")
        end
      end
    end
  end
end

local function add_all(target, typename, ...)
  for _, literal in ipairs{ ... } do add_value(typename, ("%s::%s"):format(literal, typename), target, target) end
end

add_all("array", "int4[]", "'{}'", "'{{{1,2},{3,4}},{{5,6},{7,NULL}}}'", "'[-5:-4][0:1]={{1,2},{3,4}}'", "'{NULL}'")
add_all("array", "text[]", [[ARRAY['a','b"c','\',NULL,'NULL','','{}',' x'] ]], "'{{a},{b}}'")
add_all("array", "numeric[]", "'{1.5,NaN,NULL,-1e10}'")
add_all("array", "fuzz_pair[]", "ARRAY[ROW(1, 'a,\"b'), NULL, ROW(NULL, '')]")
add_all("array", "hstore[]", "ARRAY['a=>1', NULL, 'b=>NULL']")
add_all("array", "box[]", "'{(1,2),(3,4);(5,6),(7,8)}'")
add_all("composite", "fuzz_pair", "ROW(1, 'x')", "ROW(NULL, NULL)", "ROW(-5, '')", [[ROW(7, 'a,"b\c()')]])
add_all("composite", "fuzz_nest", "ROW(ROW(1, 'x'), ARRAY[ROW(2, 'y'), NULL]::fuzz_pair[], 1.50, '[1,5)', '{\"a\": [1, null]}', '(1,2)')",
  "ROW(NULL, NULL, NULL, NULL, NULL, NULL)")
add_all("composite", "fuzz_nest[]", "ARRAY[ROW(ROW(1, NULL), '{}', 'NaN', 'empty', '[]', NULL), NULL]")
add_all("composite", "fuzz_mood", "'sad'")
add_all("composite", "fuzz_positive", "'5'")
add_all("composite", "hstore", "'a=>1,b=>NULL,\"c\\\"\"=>\"\"'", "''")
add_all("composite", "citext", "'Abc'")
add_all("composite", "ltree", "'a.b.c'")
add_all("range", "fuzz_range", "'[a,b)'", "'(,\"x,\\\"y\"]'", "'empty'", "'[\"\",]'")
add_all("range", "fuzz_range[]", "ARRAY['[a,b)', NULL]")
add_all("range", "fuzz_multirange", "'{[a,b),[c,\"d]\"]}'", "'{}'")
for _, t in ipairs{ "int8range", "numrange", "tsrange", "tstzrange", "daterange" } do
  local bounds = t:find "ts" and "'[2024-01-01 10:00,2024-02-01 00:00)'" or t:find "date" and "'[2024-01-01,infinity)'" or "'[1,50)'"
  add_all("range", t, bounds, "'empty'", "'(,)'")
  local m = t:gsub("range", "multirange")
  add_all("range", m, "('{' || " .. bounds .. " || '}')", "'{}'")
end

-- An anonymous record has no type to cast to.
for _, expression in ipairs{ "ROW(1, 'x'::text, ARRAY[1.5], ROW(2, '2024-02-29 12:00:00.5+00'::timestamptz))", "ROW()", "ROW(NULL::int, true, ROW(ROW(ROW(1.5::float8))))",
  "ROW(ROW(1, 'x')::fuzz_pair, '[1,2)'::int4range)" } do
  add("composite", "record", "b" .. be32(2249) .. replace(db:item(("SELECT record_send(%s)"):format(expression))), expression)
  add("composite", "record", "t" .. be32(2249) .. db:item(("SELECT %s::text"):format(expression)), expression)
end

-- ---- text for the constructors, JSON, SQL -----------------------------------------------------

local function add_text(target, name, oid, ...)
  for _, text in ipairs{ ... } do add(target, name, (oid and "c" .. be32(oid) or "") .. text, text) end
end

add_text("numeric", "made", 1700, "0", "-1.50", "1e10", "1.5E-7", "NaN", "Infinity", "-inf", " 12 ", "0.00000001", "99999999999999999999.9")
add_text("time", "made_date", 1082, "2024-02-29", "0044-03-15 BC", "infinity", "5874897-12-31", "20240229")
add_text("time", "made_time", 1083, "12:34:56.789", "24:00:00", "04:05", "040506")
add_text("time", "made_timetz", 1266, "12:34:56+05:30", "00:00:00-15:59:59")
add_text("time", "made_timestamp", 1114, "2024-02-29 12:34:56.5", "2024-02-29T00:00:00", "-infinity", "294276-12-31 23:59:59.999999",
  "0001-01-01 00:00:00 BC")
add_text("time", "made_timestamptz", 1184, "2024-02-29 12:34:56.5+00", "2024-07-01 12:00:00 Europe/Dublin", "2024-01-01T00:00:00Z", "infinity",
  "4714-11-24 00:00:00+00 BC")
add_text("time", "made_interval", 1186, "1 year 2 mons 3 days 04:05:06.789", "-1 day", "P1Y2M3DT4H5M6.5S", "00:00:00.000001", "2 weeks",
  "178956970 years 7 mons", "1.5 hours", "1 day ago")
add_text("range", "made_range", 3904, "[1,5)", "empty", "(,)", '["a,b","c""d"]', "[1,)")
add_text("range", "made_multirange", 4451, "{[1,5),[7,9)}", "{}")
add_text("json", "json", nil, "null", "true", "1", "-1.5e10", '"a\\u00e9\\ud83d\\udc18\\n"', "[]", "{}", '[1, "two", null, [], {}]',
  '{"a": {"b": [1, {"c": null}]}, "é": 2}', "9007199254740993", "123456789012345678901234567890.5", ' [ 1e400 , -0 ] ',
  '["\\u0000", "\\ud800", {"x\\udc00": -1.5e999999}]')
add_text("json", "deep", nil, ("["):rep(100) .. ("]"):rep(100), ('{"a":'):rep(40) .. "1" .. ("}"):rep(40), ("["):rep(380))
add_text("sql", "values", nil, "SELECT ? FROM t WHERE a = :name AND b = $1", "SELECT 'it''s ?', E'\\'?', \"q?\" -- ?\n, ?", "SELECT a ? 'b', c ?| d, ?",
  "SELECT $$ ? $$, $tag$ :x $tag$", "SELECT U&'d\\0061t' UESCAPE '!', B'01', x::int, a[1:2], :x", "/* a /* ? */ b */ SELECT \\?",
  "SELECT 'a\\' ? ''", "x = ANY(?) AND y BETWEEN :a AND :b")
add_text("sql", "statements", nil, "WITH x AS (INSERT INTO t VALUES (?) RETURNING *) SELECT * FROM x; SELECT 1",
  "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 ELSE 2 END; END; SELECT 2", "(SELECT 1) UNION SELECT 2",
  "WITH a AS (SELECT * FROM b FOR NO KEY UPDATE) UPDATE ONLY c SET d = e", "INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING",
  "EXPLAIN (ANALYZE, VERBOSE off) WITH a AS NOT MATERIALIZED (DELETE FROM t) TABLE a", "PREPARE p (int) AS (VALUES ($1)); COMMIT AND CHAIN",
  "DECLARE c CURSOR WITH HOLD FOR SELECT 1; COPY (UPDATE t SET a = 1 RETURNING *) TO STDOUT; COPY a.\"b\" (c) FROM STDIN",
  "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b); ROLLBACK TO \"a\"\"b\"")
add_text("sql", "fragments", nil, "a = 1 AND (b = 2 OR c)", "name LIKE 'x%' ORDER BY a", "count(*) FILTER (WHERE a) OVER (PARTITION BY b)",
  "id IN (SELECT id FROM t LIMIT 1)", "a = 1) OR (1 = 1", "a; DROP TABLE b", "JSON_OBJECT('a' VALUE 1 NULL ON NULL)", "extract(year FROM d) > 2000",
  "CASE a WHEN 1 THEN 'x' END = 'x'", "a OPERATOR(pg_catalog.+) b", "CAST(a AS int)")

write()
print(count .. " seeds")
db:close()
