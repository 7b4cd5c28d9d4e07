-- SPDX-License-Identifier: MIT
--
-- class: what rows of a table are instances of.
--
-- A class is an empty table for the user's methods; calling it makes an instance:
--
--   Artist = artist:class()     Artist{ name = "X" }     function Artist:shout() … end
--
-- What fastpg knows of a class is kept beside it, in `infos`:
--
--   name, fields = { { name =, type =, sql =, lua =, oid = }, … }, index = { name -> field }
--   shape      of its instances (see fastpg.value.rows); it and fields are filled anew, never replaced
--   relation   { name =, schema = or nil } of the table it was made from, or nil
--   generated  whether the fields follow the table's columns
--   place      { root =, name =, schema =, oid =, relation = }, weak: the table whose rows it is for, or nil; oid and
--              relation (its own name) as far as they are known
--
-- A class follows its table: where a field is not known, or its source is asked for, the table is looked up again.
--
-- A table's rows get the class that is kept for its relation (fastpg.table.table_state) when the statement runs.  Columns
-- win over methods: a row whose column `count` is NULL has nil there, whatever the class holds.

local error, getmetatable, ipairs, next, pairs, pcall, rawget, select, setmetatable, tostring, type =
  error, getmetatable, ipairs, next, pairs, pcall, rawget, select, setmetatable, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"
local rows = require "fastpg.value.rows"
local suggest = require "fastpg.base.suggest"
local Table = require "fastpg.table.table"
local table_lookup = require "fastpg.table.table_lookup"
local table_state = require "fastpg.table.table_state"
local type_names = require "fastpg.value.type_names"

local class = {}

local infos = setmetatable({}, { __mode = "k" })

--- What is known of a class, or nil for any other value.
function class.info(value)
  return type(value) == "table" and infos[value] or nil
end

--- What is known of a class; raises for any other value.
function class.check(what, value)
  local info = class.info(value)
  if not info then errors.argument("%s: a class expected (fastpg.class, table:class()), got %s", what, type(value)) end
  return info
end

-- ---- names ----------------------------------------------------------------------------------

--- "invoice_line" -> "InvoiceLine": what a class of that table is called.
---@param table_name string
---@return string
function class.camel(table_name)
  local parts = {}
  for part in table_name:gmatch("[%w\128-\255]+") do
    parts[#parts + 1] = part:sub(1, 1):upper() .. part:sub(2)
  end
  local name = table.concat(parts)
  if name == "" then return "Table" end
  return name:find("^%d") and "_" .. name or name
end

--- "OwnerThing" -> "owner_thing", "HTTPServer" -> "http_server": what a class's table is called.
---@param class_name string
---@return string
function class.snake(class_name)
  return (class_name:gsub("(%u+)(%u%l)", "%1_%2"):gsub("([%l%d])(%u)", "%1_%2"):lower())
end

-- ---- fields ---------------------------------------------------------------------------------

local function field_of(name, pg_type)
  local parsed = type_names.parse(pg_type)
  if not parsed then return nil end
  return { name = name, type = parsed.text, sql = parsed.sql, lua = parsed.lua, oid = parsed.oid, base = parsed.base,
    depth = parsed.depth, is_known = parsed.is_known }
end

-- Fills what a class knows of its fields.
local function set_fields(info, fields)
  local shape = info.shape
  for _, t in ipairs{ info.fields, info.index, shape.columns, shape.types, shape.index } do
    for k in pairs(t) do t[k] = nil end
  end
  for i, field in ipairs(fields) do
    info.fields[i], info.index[field.name] = field, field
    shape.columns[i], shape.types[i], shape.index[field.name] = field.name, field.oid, i
  end
end

local FIELD_OPTIONS = options.declare("fastpg.class: a field", { name = options.name, type = options.name })

-- "name type", or { name =, type = }.
local function read_item(what, i, item)
  local name, pg_type
  if type(item) == "string" then
    name, pg_type = item:match("^%s*(%S+)%s+(.-)%s*$")
    if not name or pg_type == "" then
      errors.argument('%s: field %d: "name type" expected, got %q', what, i, item)
    end
  elseif type(item) == "table" then
    options.check(item, FIELD_OPTIONS, what .. ": field " .. i)
    name, pg_type = item.name, item.type
  end
  if type(name) ~= "string" or name == "" or type(pg_type) ~= "string" then
    errors.argument('%s: field %d: "name type" or { name =, type = } expected', what, i)
  end
  local field = field_of(name, pg_type)
  if not field then
    errors.argument('%s: "%s": %q is not the name of a type', what, name, pg_type)
  end
  return field
end

local function read_fields(what, list)
  if type(list) ~= "table" then errors.argument('%s: a list of "name type" expected, got %s', what, type(list)) end
  local fields, seen = {}, {}
  for i, item in ipairs(list) do
    local field = read_item(what, i, item)
    if seen[field.name] then errors.argument('%s: "%s" is there twice', what, field.name) end
    seen[field.name] = true
    fields[i] = field
  end
  for k in pairs(list) do
    if type(k) ~= "number" or fields[k] == nil then
      errors.argument('%s: fields are a list of "name type", got the key %s', what, tostring(k))
    end
  end
  return fields
end

local function fields_of_relation(rel)
  local fields = {}
  for i, col in ipairs(rel.columns) do
    -- (a type whose name is no type's name can't be: text is what its values are)
    local field = field_of(col.name, col.type) or field_of(col.name, "text")
    field.oid = col.oid
    fields[i] = field
  end
  return fields
end

-- ---- following the table ----------------------------------------------------------------------

-- (weak, so that a class and its database can be collected on every Lua)
local weak = { __mode = "v" }

local function set_place(info, st)
  local rel = st.rel
  info.place = setmetatable({
    root = st.db.root, name = st.name, schema = st.schema, oid = rel and rel.oid, relation = rel and rel.name,
  }, weak)
end

-- Of a class that was made from it.
local function relation_of(rel)
  return { name = rel.name, schema = rel.qualified ~= rel.ref and rel.schema or nil }
end

-- The class's table has another name now: so has what is said of the class.
---@param is_moved boolean?  it is not where it was in any case
local function note_rename(info, rel, is_moved)
  local place = info.place
  if not place or place.oid ~= rel.oid or place.relation == rel.name and not is_moved then return end
  if info.generated and info.relation.name == place.relation then info.relation = relation_of(rel) end
  place.name, place.schema, place.relation = rel.name, rel.schema, rel.name
end

local function look_up(place)
  local st = core.table_state(table_lookup.table_of(place.root, place.name, place.schema))
  table_state.doubt(st)
  return table_state.resolve(st)
end

-- By its name, which may be another table's by now; else what has been renamed.
local function find(info)
  local place = info.place
  local ok, rel = pcall(look_up, place)
  if ok then
    place.oid, place.relation = rel.oid, rel.name
    return rel
  end
  if not errors.is(rel, "undefined_table") or not place.oid then error(rel, 0) end
  local schema, name = place.root.catalog:place_of(place.root, place.oid)
  if not name then error(rel, 0) end
  rel = look_up{ root = place.root, name = name, schema = schema }
  note_rename(info, rel, true)
  return rel
end

-- What the class's table is now; nil where there is none, or nothing can be asked.
local function relation_now(info)
  local place = info.place
  if not place or not place.root then return nil end
  local ok, rel = pcall(find, info)
  if ok then return rel end
  if errors.is(rel, "canceled") or errors.is(rel, "timeout") then error(rel, 0) end
  return nil
end

-- Looks the table up; a class made from it gets its columns.
local function look_again(info)
  local rel = relation_now(info)
  if rel and info.generated and info.relation.name == rel.name then set_fields(info, fields_of_relation(rel)) end
  return rel
end

--- Lets a class that was made from a table have the columns that the table has now.
function class.refresh(cls)
  local info = infos[cls]
  if info.generated then look_again(info) end
end

-- ---- instances ------------------------------------------------------------------------------

local function check_field(info, key)
  if type(key) ~= "string" then errors.argument("%s{…}: fields have names, got a %s key", info.name, type(key)) end
  if not info.index[key] and not (look_again(info) and info.index[key]) then
    errors.raise("undefined_column", suggest.no_such(info.name, "field", key, info.index))
  end
end

-- Whether all of these are columns that the class's table has, whatever a class made by hand says of it.
local function are_columns(info, columns)
  local rel = look_again(info)
  for _, name in ipairs(columns) do
    if not (rel and rel.index[name] or info.index[name]) then return false end
  end
  return true
end

local function check_columns(info, columns)
  for _, name in ipairs(columns) do
    if not info.index[name] then
      if are_columns(info, columns) then return end
      check_field(info, name)
    end
  end
end

-- A copy of a row that came from the server: it still knows what it was selected with, so a column
-- that is nil in it is NULL and not unset.
local function copy_row(cls, info, row, mt)
  local copy = {}
  check_columns(info, mt.shape.columns)
  for _, name in ipairs(mt.shape.columns) do
    copy[name] = rawget(row, name)
  end
  return setmetatable(copy, rows.as_class(mt, cls, info.name))
end

local function construct(cls, info, instance_mt, n, values)
  if n == 0 then return setmetatable({}, instance_mt) end
  if n > 1 or type(values) ~= "table" then
    local got = n > 1 and n .. " arguments" or type(values)
    errors.argument("%s{…}: one table of fields expected, got %s", info.name, got)
  end
  if class.info(values) then errors.argument("%s(…): a row or a table of fields expected, got a class", info.name) end
  if rows.is_fetched(values) then
    local mt = getmetatable(values)
    if rawget(mt, "strict") ~= nil then return copy_row(cls, info, values, mt) end
    errors.argument("%s(…): one row expected, got a list of rows", info.name)
  end
  local instance = {}
  for key, value in next, values do
    check_field(info, key)
    instance[key] = value
  end
  return setmetatable(instance, instance_mt)
end

-- ---- making ---------------------------------------------------------------------------------

local function make(name, fields, relation, generated)
  local info = {
    name = name, fields = {}, index = {}, shape = { columns = {}, types = {}, index = {} }, relation = relation,
    generated = generated,
  }
  set_fields(info, fields)
  local cls = {}
  -- `infos` holds nothing that leads back to the class, so that a class can be collected on every Lua.
  local instance_mt = rows.metatable(info.shape, { class = cls, class_name = name, partial = true })
  infos[cls] = info
  return setmetatable(cls, {
    __name = "fastpg.class",
    __tostring = function() return name end,
    __call = function(self, ...) return construct(self, info, instance_mt, select("#", ...), (...)) end,
  })
end

local CLASS_OPTIONS = options.declare("fastpg.class", { table = options.name, schema = options.name })

--- fastpg.class: a class made by hand.
---@param name string   "Dog"
---@param fields (string|{ name: string, type: string })[]  "name type" in order; types as SQL or Lua names them
---@param opts { table: string?, schema: string? }?  the table that db:link_classes gives it to (default: by its name)
---@return table
function class.new(name, fields, opts)
  local what = "fastpg.class"
  if type(name) ~= "string" or name == "" or name:find("%c") then
    errors.argument("%s: a name expected, got %s", what, type(name) == "string" and ("%q"):format(name) or type(name))
  end
  opts = options.check(opts, CLASS_OPTIONS, what)
  local relation = opts.table and { name = opts.table, schema = opts.schema }
  return make(name, read_fields(('%s "%s"'):format(what, name), fields), relation, false)
end

--- Makes a class for the rows of a relation.
---@param rel table  of fastpg.table.catalog
---@param name string
function class.of_relation(rel, name)
  return make(name, fields_of_relation(rel), relation_of(rel), true)
end

--- Makes rows of the table instances of the class.
---@param st table  of fastpg.table.table_state
function class.link(st, cls)
  table_state.set_class(st, cls, infos[cls].name)
  set_place(infos[cls], st)
end

--- Takes from a relation what only the server knows of the types; a class made from it gets its columns.
function class.follow(cls, rel)
  local info = infos[cls]
  note_rename(info, rel)
  if info.generated and info.relation.name == rel.name then return set_fields(info, fields_of_relation(rel)) end
  for i, field in ipairs(info.fields) do
    local col = rel.index[field.name]
    if col then field.oid, info.shape.types[i] = col.oid, col.oid end
  end
end

-- ---- of a Table -----------------------------------------------------------------------------

--- The class of a table: the one it has, or a new one.
---@param st table
---@param opts { store: boolean?, suf: string?, name: string? }  store = false leaves the table without it
function class.of_table(st, opts)
  local rel = table_state.resolve(st)
  local existing = table_state.class_of(st)
  local info = infos[existing]
  local name = opts.name or class.camel(rel.name) .. (opts.suf or "")
  if info and (info.name == name or not opts.name and not opts.suf) then
    class.follow(existing, rel)
    return existing
  end
  local cls = class.of_relation(rel, name)
  set_place(infos[cls], st)
  if opts.store ~= false then class.link(st, cls) end
  return cls
end

local TABLE_OPTIONS = options.declare("t:class", { store = options.boolean, suf = options.text })

--- Raises unless `suf` can end a class's name.
function class.check_options(what, opts, allowed)
  opts = options.check(opts, allowed, what)
  if opts.suf and opts.suf:find("[^%w_]") then
    errors.argument("%s: suf is made of letters, digits and _, got %q", what, opts.suf)
  end
  return opts
end

--- t:class (lua/fastpg/init.lua adds it to Tables): the class of this table's rows, made at the first call; from then on
--- rows are instances of it.
---@param opts { store: boolean?, suf: string? }?  suf: an end for the name; store = false: the table does not get it
---@return table
function class.method(self, opts)
  local st = Table.check_self(self, "class")
  return class.of_table(st, class.check_options("class", opts, TABLE_OPTIONS))
end

--- The error for a name that is no field.
function class.unknown_field(what, info, name)
  if type(name) ~= "string" then errors.argument("%s: columns have names, got a %s", what, type(name)) end
  errors.argument("%s: %s", what, suggest.no_such(info.name, "field", name, info.index))
end

return class
