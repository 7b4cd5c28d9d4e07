-- SPDX-License-Identifier: MIT
--
-- gen_types_page.lua: writes doc/types.md, the manual's page of types.
--
--   lua tools/gen_types_page.lua [--check]
--
-- A type's name, oid and form come from csrc/type/codecs.def, its example from spec/types/values.lua, and
-- what Lua prints for it from a server.  What a type is in Lua and what a parameter takes is said
-- here once per reader and writer: a new type with functions of its own adds a line to each list.

local types_page = { path = "doc/types.md" }

-- ---- what the functions of a row mean ---------------------------------------------------------

local SECTIONS = {
  { "numbers", "Booleans and numbers" },
  { "strings", "Strings", "Text itself, and what is read as the server prints it." },
  { "times", "Dates and times", [[
Objects of fastpg with fields, arithmetic and comparison; `tostring` is the server's text. A timestamptz stands in
the connection's TimeZone (here UTC). A table is one of fields: `{ year = 2024, month = 2, day = 29 }`.]] },
  { "json", "JSON", [[
`null` inside a document is `fastpg.null`, a document that is `null` is `fastpg.json_null`. A string is a JSON
string; JSON *text* is `fastpg.json_text(s)`.]] },
  { "geometry", "Geometry", "Tables, whose `tostring` is the server's text." },
  { "ranges", "Ranges and multiranges", [[
Objects with the fields `lower`, `upper`, `lower_inc`, `upper_inc`, `empty`; the bounds are values of the subtype. Of
a multirange, `#v` and `v[i]`.]] },
  { "other", "No types of columns", "What a function or a literal may be all the same." },
}

-- The kind of a row (of what is a string, its reader): its section, and what it gives.
local READS = {
  BOOL = { "numbers", "boolean" },
  INT2 = { "numbers", "integer" }, INT4 = { "numbers", "integer" }, INT8 = { "numbers", "integer" },
  OID = { "numbers", "integer" },
  FLOAT4 = { "numbers", "float" }, FLOAT8 = { "numbers", "float" },
  NUMERIC = { "numbers", "`fastpg.numeric`" },
  fpg_bytes_decode = { "strings", "string" },
  fpg_char_decode_text = { "strings", "string" },
  BYTEA = { "strings", "string of bytes" },
  DATE = { "times", "`fastpg.date`" },
  TIME = { "times", "`fastpg.time`" },
  TIMETZ = { "times", "`fastpg.timetz`" },
  TIMESTAMP = { "times", "`fastpg.timestamp`" },
  TIMESTAMPTZ = { "times", "`fastpg.timestamptz`" },
  INTERVAL = { "times", "`fastpg.interval`" },
  JSON = { "json", "what the document is" }, JSONB = { "json", "what the document is" },
  POINT = { "geometry", "table: `x y`" },
  LINE = { "geometry", "table: `a b c`" },
  LSEG = { "geometry", "table: `p1 p2`" },
  BOX = { "geometry", "table: `high low`" },
  PATH = { "geometry", "table: `points closed`" },
  POLYGON = { "geometry", "table: `points`" },
  CIRCLE = { "geometry", "table: `center radius`" },
  RANGE = { "ranges", "`fastpg.range`" },
  MULTIRANGE = { "ranges", "`fastpg.multirange`" },
  RECORD = { "other", "row" },
}

local TEXT = "string, number, value of fastpg"
local OF_STRING = "string"

-- The writer of a row, or its kind where one writer serves several: what a parameter takes.
local TAKES = {
  fpg_bool_encode = "boolean, text",
  fpg_int_encode = "integer, numeric without a fraction, text",
  fpg_float4_encode = "number, numeric, text", fpg_float8_encode = "number, numeric, text",
  fpg_numeric_encode = "numeric, number, text",
  fpg_text_encode = TEXT, fpg_string_encode = OF_STRING,
  fpg_bytea_encode = "string: the bytes themselves",
  DATE = "date, table, text",
  TIME = "time, table, text",
  TIMETZ = "timetz, table, text",
  TIMESTAMP = "timestamp, timestamptz, date, table, text",
  TIMESTAMPTZ = "timestamptz, timestamp, date, table, text",
  INTERVAL = "interval, time, table, text",
  fpg_json_encode = "any value: table, string, number, boolean, row, value of fastpg",
  fpg_geo_encode = "table with these fields, text",
  fpg_range_encode = "range, table with `lower` and `upper`, text",
  fpg_multirange_encode = "multirange, list of ranges, text",
}

-- What else there is to say of a row, and examples of what no column can be.
local NOTES = {
  int8 = "on Lua 5.1 and LuaJIT a number, beyond 2^53 a string of its digits",
  oid = "on every Lua a number",
  float4 = "prints as the server's text in a row",
  numeric = "exact, keeps its scale",
  bpchar = "with its padding",
  json = "the order of keys and white space are not kept",
  record = "read only: the server has no input for it",
}
local PSEUDO = { void = "pg_sleep(0)", record = "row(1, 'x')", unknown = "'x'::unknown", cstring = "'x'::cstring" }
local PSEUDO_PRINTS = { void = 'v == ""' }

-- ---- types without a row ------------------------------------------------------------------------

local SETUP = [[
create type mood as enum ('happy', 'sad', 'so "so"');
create domain positive as integer check (value > 0);
create type pair as (a integer, b text);
create type textrange as range (subtype = text);
create extension if not exists hstore;
create extension if not exists citext;
create extension if not exists ltree;]]

-- { kind, Lua value, group of values.lua or { SQL, what is printed }, a parameter takes, note }
local KINDS = {
  { "array", "list", { "'{7,NULL,9}'::int[]", "#v, v[1], v[2] == fastpg.null" }, "list of what the elements take, text",
    "of any type here; lists in lists are more dimensions; `fastpg.array`, `fastpg.lower_bounds`" },
  { "enum", "string", "enum", "string", "" },
  { "domain", "as its base type", "domain", "as its base type", "" },
  { "composite", "row", "composite", "row, table by the names of columns, text", "binary where all its columns are" },
  { "range of your own", "`fastpg.range`", { "textrange('a', 'c')", "v, v.upper" }, TAKES.fpg_range_encode,
    "binary where its subtype is" },
  { "multirange of your own", "`fastpg.multirange`", { "textmultirange(textrange('a', 'c'))", "v, #v" },
    TAKES.fpg_multirange_encode, "" },
  { "hstore", "table", "hstore", "table of strings and numbers, `fastpg.null` for NULL; text", "" },
  { "citext", "string", "citext", TEXT, "" },
  { "ltree", "string", "ltree", OF_STRING, "" },
  { "lquery", "string", "lquery", OF_STRING, "" },
  { "ltxtquery", "string", "ltxtquery", OF_STRING, "" },
}

local HEAD = [[
# Types

<!-- Generated by tools/gen_types_page.lua from csrc/type/codecs.def and spec/types/values.lua: do not edit. -->

Every type, what it is in Lua, and what a parameter of that type takes; how they work together is told in
[the manual](manual.md#5-rows-null-values). Each example was run: `v` is `db:item("select " .. example)`, and what
`print` shows for `v`, or for the expressions before the arrow, stands beside it (commas for tabs).

NULL is `nil` in a row, and `fastpg.null` in lists, in JSON and as a parameter. *Text* is a string that the server
parses. *Form* is how values travel: `binary`; `binary, text` is read in binary and sent as text; `text` has no
binary form here, so that a result with such a column comes as text whole, with the same values. Of strings, those of
types that are strings in Lua, and those of geometry, are sent in binary where they are spelled as the server prints
such a value; all others are sent as they are. `db:set_type_codec` replaces what is said here, for any type.
]]

-- ---- reading the sources ------------------------------------------------------------------------

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function split(text)
  local list = {}
  for arg in text:gmatch "[^,%s][^,]*" do list[#list + 1] = arg end
  return list
end

-- One line of codecs.def as a row, or nil. `ranges`: kind and functions of rows that don't name them.
local function parse_row(line, ranges)
  local macro, args, why = line:match "^(FPG_[A-Z_]+)%((.-)%)%s*(.*)$"
  if not macro then return nil end
  local list = split(args)
  local name = list[2]:match('^"(.*)"$'):gsub('\\"', '"')
  local first = macro == "FPG_TYPE_ALONE" and 3 or 4
  local f = ranges[macro] or { list[first + 1], list[first + 2], list[first + 3], list[first + 4], list[first + 5] }
  local kind, binary, reader, writer, text_writer = f[1], f[2], f[3], f[4], f[5]
  return { id = list[1], name = name, oid = tonumber(list[3]), kind = kind, binary = binary ~= "NULL", reader = reader,
    writer = writer, writes_binary = writer ~= text_writer or macro == "FPG_PACKED", why = why:match "^/%*%s*(.-)%s*%*/" }
end

---The rows of codecs.def, in its order.
function types_page.rows()
  local rows, ranges = {}, {}
  for line in read("csrc/type/codecs.def"):gmatch "[^\n]+" do
    local macro, functions = line:match "^#define (FPG_%u*RANGE)%b() FPG_TYPE%(id, name, oid, array, (.-)%)$"
    if macro then ranges[macro] = split(functions) end
    rows[#rows + 1] = parse_row(line, ranges)
  end
  return rows
end

-- 'x'::type, where the literal needs no parentheses.
local function cast(literal, typename)
  local plain = literal:find "^B?'[^']*'$" or literal:find "^[%d.]+$" or literal:find "^%a+$"
  return (plain and "%s::%s" or "(%s)::%s"):format(literal, typename)
end

-- The row of a group to show: { sql, what is printed }.
local function example_of(group, typename)
  local row = group.rows[1]
  for _, r in ipairs(group.rows) do if r.example then row = r break end end
  return { cast(row[1], typename), type(row.example) == "string" and row.example or "v" }
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Examples by the names of types, with and without a modifier as in "bit(5)".
local function examples_by_type(groups)
  local exact, modified = {}, {}
  for _, name in ipairs(sorted(groups)) do
    for _, typename in ipairs(groups[name].types) do
      local base = typename:gsub("%b()", "")
      local into = base == typename and exact or modified
      into[base] = into[base] or example_of(groups[name], typename)
    end
  end
  return function(row)
    if PSEUDO[row.id] then return { PSEUDO[row.id], PSEUDO_PRINTS[row.id] or "v" } end
    return exact[row.id] or exact[row.name] or modified[row.id] or modified[row.name]
      or error(("spec/types/values.lua has no value of %s"):format(row.name), 0)
  end
end

-- ---- running an example -------------------------------------------------------------------------

local function load_with(env, code)
  if not setfenv then return assert(load(code, "=example", "t", env)) end
  return setfenv(assert(loadstring(code, "=example")), env)
end

---Makes the types of the page's own, and the settings of its examples.
function types_page.prepare(db, setup)
  db:execute("set TimeZone = 'UTC'; set lc_monetary = 'C'; " .. (setup or SETUP))
end

---What print shows for an example, with ", " between values.
function types_page.run(db, sql, expression)
  local env = { v = db:item("select " .. sql), fastpg = require "fastpg" }
  local out = {}
  local function collect(...)
    for i = 1, select("#", ...) do out[i] = tostring((select(i, ...))) end
  end
  collect(load_with(env, "return " .. expression)())
  return table.concat(out, ", ")
end

-- ---- writing ------------------------------------------------------------------------------------

local function code(text) return "`" .. text:gsub("|", "\\|") .. "`" end

local function line(...) return "| " .. table.concat({ ... }, " | "):gsub("%s+|", " |") .. " |" end

-- The two cells of an example.
local function shown(db, example)
  local printed = code(types_page.run(db, example[1], example[2]))
  return code(example[1]), example[2] == "v" and printed or code(example[2]) .. " → " .. printed
end

local function form_of(row)
  if not row.binary then return "text" end
  return row.writes_binary and "binary" or "binary, text"
end

local function row_line(db, row, reads, example)
  local takes = TAKES[row.writer] or TAKES[row.kind] or error(("gen_types_page: what does %s take?"):format(row.writer), 0)
  local note = (NOTES[row.id] or "") .. (NOTES[row.id] and row.why and "; " or "") .. (row.why or "")
  if row.id == "record" then takes = "nothing" end
  local sql, printed = shown(db, example)
  return line(row.name:gsub("|", "\\|"), tostring(row.oid), form_of(row), reads[2], sql, printed, takes, note)
end

local function section_lines(db, rows, find_example)
  local by_section = {}
  for _, row in ipairs(rows) do
    local reads = READS[row.kind] or READS[row.reader] or error(("gen_types_page: what does %s give?"):format(row.reader), 0)
    local section = PSEUDO[row.id] and "other" or reads[1]
    by_section[section] = by_section[section] or {}
    table.insert(by_section[section], row_line(db, row, reads, find_example(row)))
  end
  return by_section
end

local function kinds_lines(db, groups)
  local lines = {}
  for i, kind in ipairs(KINDS) do
    local example = kind[3]
    if type(example) == "string" then example = example_of(groups[example], groups[example].types[1]) end
    local sql, printed = shown(db, example)
    lines[i] = line(kind[1], kind[2], sql, printed, kind[4], kind[5])
  end
  return lines
end

---The page, with what db's server says; in a database where it may make types.
---@return string markdown
function types_page.make(db)
  local groups = dofile "spec/types/values.lua"
  types_page.prepare(db)
  local by_section = section_lines(db, types_page.rows(), examples_by_type(groups))
  local page = { HEAD }
  local function put(...) for _, s in ipairs{ ... } do page[#page + 1] = s end end
  for _, section in ipairs(SECTIONS) do
    put("## " .. section[2], "")
    if section[3] then put(section[3], "") end
    put("| PostgreSQL | oid | Form | Lua | `v` | Lua prints | A parameter takes | |",
      "| --- | --- | --- | --- | --- | --- | --- | --- |", table.concat(by_section[section[1]], "\n"), "")
  end
  put("## Types of a database", "", [[
They have no oid of their own before they are made, and are looked up when a statement first has one. Types that are
not named anywhere here (of other extensions) are strings, as the server prints them, and take strings, numbers,
booleans and lists. After]], "", "```sql", SETUP, "```", "",
    "| PostgreSQL | Lua | `v` | Lua prints | A parameter takes | |", "| --- | --- | --- | --- | --- | --- |",
    table.concat(kinds_lines(db, groups), "\n"))
  return table.concat(page, "\n") .. "\n"
end

-- ---- reading the page -----------------------------------------------------------------------------

local function cells(row)
  local list = {}
  for cell in row:gsub("\\|", "\1"):gmatch "|([^|\n]*)" do
    list[#list + 1] = cell:gsub("\1", "|"):match "^%s*(.-)%s*$"
  end
  return list
end

---The examples of a page: { name =, sql =, expression =, printed = }, and the SQL that goes before them.
function types_page.examples(text)
  local list = {}
  for row in text:gmatch "[^\n]+" do
    local c = row:find "^| " and cells(row) or {}
    local at = tonumber(c[2]) and 5 or 3
    local sql, shown_as = c[at] and c[at]:match "^`(.+)`$", c[at + 1]
    if sql and sql ~= "v" then
      local expression, printed = shown_as:match "^`(.-)` → `(.*)`$"
      list[#list + 1] = { name = c[1], sql = sql, expression = expression or "v", printed = printed or shown_as:match "^`(.*)`$" }
    end
  end
  return list, text:match "```sql\n(.-)```"
end

-- ---- as a script ----------------------------------------------------------------------------------

if arg and arg[0] and arg[0]:find "gen_types_page%.lua$" then
  local pg = require("fastpg").cluster()
  local page = types_page.make(pg:connect())
  pg:close()
  if arg[1] ~= "--check" then
    local f = assert(io.open(types_page.path, "wb"))
    f:write(page)
    f:close()
    print(("%s: %d examples"):format(types_page.path, #types_page.examples(page)))
  elseif page == read(types_page.path) then
    print(types_page.path .. ": as csrc/type/codecs.def and spec/types/values.lua give it")
  else
    print(types_page.path .. " is stale: make generated")
    os.exit(1)
  end
end

return types_page
