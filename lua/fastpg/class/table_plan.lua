-- SPDX-License-Identifier: MIT
--
-- table_plan: what the arguments of db:create say, and the pieces of SQL of it.
--
-- A *plan* is checked against the class before anything is sent:
--
--   class, info, name, schema, target   the class, what is known of it, the table (target is quoted)
--   fields     of the class, in the order of the columns     pks, pk_given   the key; whether the user named it
--   not_null   set of columns, or nil                        defaults        column -> SQL, or nil
--   foreign_keys   list of { column =, table =, key = }      keys_given  whether the user named any, or none
--   checks, indexes (nil where they were not given), renames, drop, using   as fastpg.class.table_extras reads them
--
-- Names are quoted, defaults are literals, types are names of types (fastpg.value.type_names).
--
-- PostgreSQL manual: CREATE TABLE.

local getmetatable, ipairs, pairs, tostring, type = getmetatable, ipairs, pairs, tostring, type

local class = require "fastpg.class.class"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local options = require "fastpg.base.options"
local table_extras = require "fastpg.class.table_extras"
local type_names = require "fastpg.value.type_names"

local quote_ident, quote_literal = core.quote_ident, core.quote_literal

local table_plan = {}

-- ---- columns --------------------------------------------------------------------------------

local SERIAL = { SMALLINT = "SMALLSERIAL", INTEGER = "SERIAL", BIGINT = "BIGSERIAL" }

-- `"id" SERIAL PRIMARY KEY`; with a default of its own a key does not count.
local function column_sql(field, is_pk, not_null, default)
  local sql = quote_ident(field.name) .. " " .. (is_pk and not default and SERIAL[field.sql] or field.sql)
  if is_pk then
    sql = sql .. " PRIMARY KEY"
  elseif not_null then
    sql = sql .. " NOT NULL"
  end
  if default then sql = sql .. " DEFAULT " .. default end
  return sql
end

table_plan.check_ident = table_extras.check_ident

-- A name, a list of names or a set of them: a list and a set.
local function read_names(what, value)
  if value == nil then return {}, {} end
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" then
    errors.argument("%s: a name or a list of names expected, got %s", what, type(value))
  end
  local list, set = {}, {}
  local function add(name)
    table_plan.check_ident(what, name)
    if not set[name] then list[#list + 1] = name end
    set[name] = true
  end
  local positions = {}
  for key, name in pairs(value) do
    if type(key) == "number" then positions[key] = name end
  end
  for i = 1, lists.length(what, positions) do add(positions[i]) end
  for key, wanted in pairs(value) do
    if type(key) ~= "number" and wanted then
      if wanted ~= true then errors.argument("%s: a list of names, or { name = true }, expected", what) end
      add(key)
    end
  end
  return list, set
end

--- fastpg.col_def: the definition of a column in CREATE TABLE.
---@param name string
---@param pg_type string  as in fastpg.class
---@param pk string|string[]|nil  the primary key; one integer column counts by itself
---@param not_null string[]|table<string, boolean>|nil
---@return string
function table_plan.col_def(name, pg_type, pk, not_null)
  local what = "fastpg.col_def"
  table_plan.check_ident(what, name)
  local parsed = type(pg_type) == "string" and type_names.parse(pg_type)
  if not parsed then errors.argument("%s: the name of a type expected, got %s", what,
    type(pg_type) == "string" and ("%q"):format(pg_type) or type(pg_type)) end
  local pks, key = read_names(what .. ": pk", pk)
  local _, set = read_names(what .. ": not_null", not_null)
  return column_sql({ name = name, sql = parsed.sql }, #pks == 1 and key[name], set[name])
end

-- ---- defaults -------------------------------------------------------------------------------

local FLOATS = options.set("REAL", "DOUBLE PRECISION")
local TEXTS = options.set("TEXT", "CHARACTER VARYING", "CHARACTER", "BPCHAR", "NAME")
local WHOLE = options.set("SMALLINT", "INTEGER", "BIGINT", "SMALLSERIAL", "SERIAL", "BIGSERIAL", "OID") -- SQL would round

-- What takes a value of a class, as a parameter would; texts and types of the database are besides.  The server, which gets
-- the default as text, would read something out of nearly everything: a time out of a range, seconds out of a number.
local COLUMNS = {
  ["fastpg.date"] = options.set("DATE", "TIMESTAMP", "TIMESTAMPTZ"),
  ["fastpg.time"] = options.set("TIME", "TIMETZ"),
  ["fastpg.timetz"] = options.set("TIMETZ"),
  ["fastpg.timestamp"] = options.set("TIMESTAMP", "TIMESTAMPTZ"),
  ["fastpg.timestamptz"] = options.set("TIMESTAMP", "TIMESTAMPTZ"),
  ["fastpg.interval"] = options.set("INTERVAL"),
  ["fastpg.numeric"] = options.set("SMALLINT", "INTEGER", "BIGINT", "SMALLSERIAL", "SERIAL", "BIGSERIAL", "OID", "REAL",
    "DOUBLE PRECISION", "NUMERIC", "MONEY"),
  ["fastpg.range"] = options.set("INT4RANGE", "INT8RANGE", "NUMRANGE", "TSRANGE", "TSTZRANGE", "DATERANGE"),
  ["fastpg.multirange"] = options.set("INT4MULTIRANGE", "INT8MULTIRANGE", "NUMMULTIRANGE", "TSMULTIRANGE", "TSTZMULTIRANGE",
    "DATEMULTIRANGE"),
}

-- Their offset counts in a column without one, too.
local ZONED = { ["fastpg.timestamptz"] = "TIMESTAMPTZ ", ["fastpg.timetz"] = "TIMETZ " }

local function is_in_int64(value) return value >= -2^63 and value < 2^63 end

-- A whole number is written with all its digits (on LuaJIT every number is a float).  Where SQL would make another
-- value of a number on its way to the column, it goes as text, which the column's own type reads: to floats (-0),
-- texts and types of the database.
local function number_literal(field, value)
  local finite = value - value == 0
  local is_integer = math.type and math.type(value) == "integer"
  local digits = is_integer and ("%d"):format(value) or finite and value % 1 == 0 and ("%.0f"):format(value)
  if WHOLE[field.base] and field.depth == 0 and not (digits and is_in_int64(value)) then
    errors.argument('create: the default of "%s" is no whole number of 64 bits', field.name)
  end
  if field.base == "OID" and (value < 0 or value >= 2^32) then
    errors.argument('create: the default of "%s" is no oid (0 to 4294967295)', field.name)
  end
  if field.base == "BYTEA" then
    errors.argument('create: the default of "%s" is a number: a string of bytes expected', field.name)
  end
  if is_integer then return digits end
  local negative_zero = value == 0 and 1 / value < 0
  if digits and is_in_int64(value) and not negative_zero then return digits end
  if not finite or FLOATS[field.base] or TEXTS[field.base] or field.oid == 0 then return quote_literal(core.float_text(value)) end
  return digits or core.float_text(value)
end

-- LuaJIT's 64-bit integers; any other cdata is no value, whatever it says it is.
local function cdata_literal(field, value)
  local ffi = require "ffi"
  if not (ffi.istype("int64_t", value) or ffi.istype("uint64_t", value)) then
    errors.argument('create: the default of "%s" is a cdata that is no 64-bit integer: write fastpg.sql"…"', field.name)
  end
  return (tostring(value):gsub("U?LL$", ""))
end

-- The class of a date, a numeric …: what prints as the server would; a file or a library's object is none.
local function value_class(object)
  local name = getmetatable(object) -- a string: value classes hide their metatables
  local is_one = type(name) == "string" and name:find("^fastpg%.") ~= nil and not core.table_state(object)
  return is_one and name or nil
end

local function value_literal(field, class_name, value)
  local literal = quote_literal(tostring(value))
  if field.depth == 0 and TEXTS[field.base] then return literal end
  local columns = COLUMNS[class_name]
  if field.depth > 0 or field.is_known and columns and not columns[field.base] then
    errors.argument('create: the default of "%s", which is %s, is a %s: write fastpg.sql"…"', field.name, field.sql, class_name)
  end
  return (ZONED[class_name] or "") .. literal
end

local function bytes_literal(bytes)
  return quote_literal("\\x" .. bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- A value as SQL.  For json the value is the document, for bytea the bytes.
local function default_sql(field, value)
  local kind = type(value)
  if value == core.null then return "NULL" end
  if core.is_sql(value) then
    return "(" .. table_extras.fragment_text(('create: the default of "%s"'):format(field.name), value) .. ")"
  end
  if (field.base == "JSON" or field.base == "JSONB") and field.depth == 0 and kind ~= "function" then
    return quote_literal(core.to_json(value))
  end
  if kind == "number" then return number_literal(field, value) end
  if kind == "boolean" then return value and "true" or "false" end
  if kind == "cdata" then return cdata_literal(field, value) end
  if kind == "string" then
    return field.base == "BYTEA" and field.depth == 0 and bytes_literal(value) or quote_literal(value)
  end
  local class_name = kind == "userdata" and value_class(value)
  if class_name then return value_literal(field, class_name, value) end
  errors.argument('create: the default of "%s" is a %s: write fastpg.sql"…"', field.name, kind)
end

local function read_defaults(info, defaults)
  if defaults == nil then return nil end
  if type(defaults) ~= "table" then
    errors.argument("create: defaults is a table of values by column, got %s", type(defaults))
  end
  local sql = {}
  for name, value in pairs(defaults) do
    local field = info.index[name] or class.unknown_field("create: defaults", info, name)
    sql[name] = default_sql(field, value)
  end
  return sql
end

-- ---- plans ----------------------------------------------------------------------------------

local function check_fields(what, info, list)
  for _, name in ipairs(list) do
    if not info.index[name] then class.unknown_field(what, info, name) end
  end
  return list
end

-- The key: what the user names, else "id" where the class has it.
local function read_key(info, pk)
  if pk == nil then return info.index.id and { "id" } or {}, false end
  return check_fields("create: pk", info, (read_names("create: pk", pk))), true
end

-- The fields, those of column_order first.
local function ordered_fields(info, order)
  local fields, placed = {}, {}
  for _, name in ipairs(check_fields("create: column_order", info, (read_names("create: column_order", order)))) do
    fields[#fields + 1], placed[name] = info.index[name], true
  end
  for _, field in ipairs(info.fields) do
    table_plan.check_ident("create", field.name)
    if not placed[field.name] then fields[#fields + 1] = field end
  end
  return fields
end

-- owner_id = { "person", "id" }, a Table in place of the name, or no column for the key of that table.
local function read_foreign_key(name, target)
  local what = ('create: foreign_keys: "%s"'):format(name)
  if type(target) ~= "table" or target[1] == nil or #target > 2 then
    errors.argument('%s: { "table", "column" } expected, got %s', what, type(target))
  end
  local other, key = target[1], target[2]
  if not core.table_state(other) then table_plan.check_ident(what, other) end
  if key ~= nil then table_plan.check_ident(what, key) end
  return { column = name, table = other, key = key }
end

local function read_foreign_keys(info, given)
  if given == nil then return {} end
  for name in pairs(given) do
    if not info.index[name] then class.unknown_field("create: foreign_keys", info, name) end
  end
  local list = {}
  for _, field in ipairs(info.fields) do
    if given[field.name] ~= nil then list[#list + 1] = read_foreign_key(field.name, given[field.name]) end
  end
  return list
end

local CREATE_OPTIONS = options.declare("db:create", {
  pk = options.names, foreign_keys = options.kinds("a table of { table, column } by column", "table"),
  defaults = options.kinds("a table of values by column", "table"), not_null = options.names, column_order = options.names,
  name = options.name, schema = options.name, if_not_exists = options.boolean,
  replace = options.boolean, transform = options.boolean, dry_run = options.boolean,
  checks = options.kinds("a table of SQL", "table"), indexes = options.kinds("a table of indexes", "table"),
  renames = options.kinds("a table of new names by old ones", "table"), drop = options.names,
  using = options.kinds("a table of SQL by column", "table"),
})

-- Where the table is: in the schema that was asked for, or the database's own, or the search_path.
function table_plan.place(db, plan, name, schema)
  plan.name = name
  plan.schema = schema or db.catalog and db.catalog.schema ~= "" and db.catalog.schema or nil
  plan.target = (plan.schema and quote_ident(plan.schema) .. "." or "") .. quote_ident(name)
  plan.asked_schema = schema
  return plan
end

-- What only makes sense of a table that is there.
local OF_TRANSFORM = { "renames", "drop", "using" }

local function read_changes(plan, info, opts)
  for _, name in ipairs(OF_TRANSFORM) do
    if opts[name] ~= nil and not opts.transform then errors.argument("create: %s goes with transform = true", name) end
  end
  plan.renames = table_extras.read_renames(info, opts.renames)
  plan.drop = table_extras.check_drop(info, (read_names("create: drop", opts.drop)), plan.renames)
  plan.using = table_extras.read_using(info, opts.using)
end

function table_plan.read(db, cls, opts)
  local info = class.check("create", cls)
  opts = options.check(opts, CREATE_OPTIONS, "create")
  if opts.transform and (opts.replace or opts.if_not_exists) then
    errors.argument("create: transform goes with neither replace nor if_not_exists")
  end
  local plan = { class = cls, info = info, if_not_exists = opts.if_not_exists, replace = opts.replace }
  plan.fields = ordered_fields(info, opts.column_order)
  plan.pks, plan.pk_given = read_key(info, opts.pk)
  plan.defaults = read_defaults(info, opts.defaults)
  plan.foreign_keys, plan.keys_given = read_foreign_keys(info, opts.foreign_keys), opts.foreign_keys ~= nil
  plan.checks, plan.indexes = table_extras.read_checks(opts.checks), table_extras.read_indexes(info, opts.indexes)
  read_changes(plan, info, opts)
  if opts.not_null ~= nil then
    local list, set = read_names("create: not_null", opts.not_null)
    check_fields("create: not_null", info, list)
    plan.not_null = set
  end
  if opts.schema ~= nil then table_plan.check_ident("create: schema", opts.schema) end
  local name = table_plan.check_ident("create: name", opts.name or class.snake(info.name))
  return table_plan.place(db, plan, name, opts.schema)
end

-- ---- pieces of SQL --------------------------------------------------------------------------

local function quoted_list(names)
  local parts = {}
  for i, name in ipairs(names) do parts[i] = quote_ident(name) end
  return table.concat(parts, ", ")
end
table_plan.quoted_list = quoted_list

-- The table a key refers to: this one, one that the catalog finds ("sales.orders"), or just its name.
local function referenced(db, plan, other)
  if core.table_state(other) then return tostring(other) end
  if other == plan.name then return plan.target end
  local rel = db.catalog:relation(db, other)
  return rel and rel.qualified or quote_ident(other)
end

--- `FOREIGN KEY ("owner_id") REFERENCES "person" ("id")`, and the table's text.
function table_plan.foreign_key_sql(db, plan, fk)
  local target = referenced(db, plan, fk.table)
  local key = fk.key and (" (%s)"):format(quote_ident(fk.key)) or ""
  return ("FOREIGN KEY (%s) REFERENCES %s%s"):format(quote_ident(fk.column), target, key), target
end

--- Whether a column, as the whole of a key of these columns, counts by itself.
function table_plan.counts(plan, field, pks)
  return #pks == 1 and pks[1] == field.name and SERIAL[field.sql] ~= nil and not (plan.defaults and plan.defaults[field.name])
end

--- The definition of a plan's column.
---@param inline_key boolean  whether the key's one column says so itself
function table_plan.field_sql(plan, field, inline_key)
  local is_pk = inline_key and #plan.pks == 1 and plan.pks[1] == field.name
  local not_null = plan.not_null and plan.not_null[field.name]
  return column_sql(field, is_pk, not_null, plan.defaults and plan.defaults[field.name])
end

return table_plan
