-- SPDX-License-Identifier: MIT
--
-- rows: the metatables of rows and of lists of rows.
--
-- A row is a plain table; everything it knows beside its values is in its metatable, made once per
-- statement (and class) and kept with the statement's shape:
--
--   mt.shape       { columns = {names}, types = {oids}, index = {name -> position}, typemap = map? }
--   mt.class       the class, or nil          mt.class_name   its name, for printing
--   mt.related     { name -> true } of the fields that hold rows of other tables, or nil: no columns, so that
--                  writing a row leaves them alone (csrc/table/sql_builder.c looks at it)
--   mt.db          the database it came from  mt.types        its types (fastpg.pg.type_lookup)
--   mt.strict      reading an unknown name is an error          mt.partial      true for an instance made by hand
--   mt.state       the state of the Table that it was read by   mt.filters      what confined that
--
-- They come from a target: { origin = { facade = the database, types =, strict = }, class =, class_name =, state =,
-- filters = }.

local getmetatable, ipairs, next, rawget, type = getmetatable, ipairs, next, rawget, type

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local later = require "fastpg.base.later"
local suggest = require "fastpg.base.suggest"
local surface = require "fastpg.base.surface"
local pretty = later.module(function() return require "fastpg.value.pretty" end)

local rows = {}

local function unknown_column(shape, key)
  errors.raise("undefined_column", suggest.no_such("the row", "column", key, shape.index))
end

-- __pairs in column order; keys that the user added come after.
local function ordered_pairs(row)
  local columns, index, position = getmetatable(row).shape.columns, getmetatable(row).shape.index, 0
  local seen_columns, key = false, nil
  return function()
    while not seen_columns do
      position = position + 1
      local name = columns[position]
      if name == nil then
        seen_columns = true
      elseif index[name] == position then
        local value = rawget(row, name)
        if value ~= nil then return name, value end
      end
    end
    local value
    repeat
      key, value = next(row, key)
    until key == nil or index[key] == nil
    return key, value
  end
end

local NOWHERE = {}

--- Makes the metatable of rows.
---@param shape table  { columns, types, index }
---@param options { class: table?, class_name: string?, origin: table?, partial: boolean? }
function rows.metatable(shape, options)
  local class, origin, index, related = options.class, options.origin or NOWHERE, shape.index, options.related
  local strict = origin.strict ~= false
  return {
    __name = "fastpg.row",
    __tostring = pretty.row,
    __pairs = ordered_pairs,
    __index = function(_, key)
      if type(key) ~= "string" then return nil end
      if index[key] then return nil end
      if class then
        local member = class[key]
        if member ~= nil then return member end
      end
      if related and related[key] then return nil end
      if strict and key:sub(1, 2) ~= "__" then unknown_column(shape, key) end
      return nil
    end,
    shape = shape,
    class = class,
    class_name = options.class_name,
    db = origin.facade,
    types = origin.types,
    partial = options.partial,
    related = related,
    state = options.state,
    filters = options.filters,
    strict = strict,
  }
end

local function shape_of_list(list, name)
  local mt = getmetatable(list)
  if type(mt) ~= "table" or not mt.shape then errors.misused("a list of rows", "rows", name, list) end
  return mt.shape
end

local VECTORS = { [22] = true, [30] = true } -- int2vector, oidvector: arrays under a name of their own

-- As SQL writes it, format_type(oid, null); nil where it is not known.
local function name_of_type(map, oid)
  local kind, element = core.type_kind(map, oid)
  if kind == "array" and element and not VECTORS[oid] then
    local name = name_of_type(map, element)
    return name and name .. "[]"
  end
  return core.type_name(map, oid)
end

--- The types of a result's columns: for each { name =, oid =, column = }, in order and by the column's name.
---@param shape table
---@param map userdata?  the types that are not built in
---@return table
function rows.types_of(shape, map)
  local list = {}
  for i, oid in ipairs(shape.types) do
    list[i] = { name = name_of_type(map, oid), oid = oid, column = shape.columns[i] }
  end
  for i, column in ipairs(shape.columns) do list[column] = list[i] end
  return list
end

local list_methods = {
  --- An HTML table of the rows, everything escaped.
  html = function(list)
    shape_of_list(list, "html")
    return pretty.html(list)
  end,
  --- The names of the columns, in order.
  columns = function(list)
    local names = {}
    for i, name in ipairs(shape_of_list(list, "columns").columns) do names[i] = name end
    return names
  end,
  --- The types of the columns: for each { name =, oid =, column = }, in order and by the column's name.
  types = function(list)
    local shape = shape_of_list(list, "types")
    local first = getmetatable(list[1])
    return rows.types_of(shape, shape.typemap or type(first) == "table" and first.types and first.types.map or nil)
  end,
}
surface.methods(list_methods, { html = 0, columns = 0, types = 0 }, false)

-- A column's name belongs to one of the rows, not to their list.
local function unknown_in_list(list, key)
  local hint
  if getmetatable(list).shape.index[key] then hint = (": write rows[1].%s, or db:first for one row"):format(key) end
  surface.unknown("a list of rows", key, list_methods, hint)
end

local function index_list(list, key)
  local method = list_methods[key]
  if method == nil and surface.is_name(key) then unknown_in_list(list, key) end
  return method
end

--- Makes the metatable of a list of rows.
function rows.list_metatable(shape)
  return { __name = "fastpg.rows", __index = index_list, __tostring = pretty.list, shape = shape }
end

-- Of one shape, or of one metatable.  (Weak keys would not do: a metatable leads to its class.)
local MOST_KEPT = 16

--- The metatable of the rows of a statement.
---@param shape table     kept with the statement; the metatables are kept in it
---@param target table    what rows become: the same table each time
function rows.of(shape, target)
  if shape.last_target == target then return shape.last_metatable end
  local kept = shape.metatables
  if not kept then
    kept = bounded.new(MOST_KEPT)
    shape.metatables = kept
  end
  local mt = kept.kept[target] or kept:keep(target, rows.metatable(shape, target))
  shape.last_target, shape.last_metatable = target, mt
  return mt
end

local function kept_by(mt, name, key, options)
  local kept = rawget(mt, name)
  if not kept then
    kept = bounded.new(MOST_KEPT)
    mt[name] = kept
  end
  if kept.kept[key] then return kept.kept[key] end
  options.origin, options.state, options.filters = rows.origin_of(mt), mt.state, mt.filters
  return kept:keep(key, rows.metatable(mt.shape, options))
end

--- The metatable of the same rows as instances of a class.
function rows.as_class(mt, class, class_name)
  return kept_by(mt, "by_class", class, { class = class, class_name = class_name })
end

--- The metatable of the same rows with rows of other tables beside their columns.
---@param fields string[]  the names of what is beside
function rows.with_related(mt, fields)
  local related = {}
  for name in next, mt.related or {} do related[name] = true end
  for _, name in ipairs(fields) do related[name] = true end
  local names = {}
  for name in next, related do names[#names + 1] = name end
  table.sort(names)
  return kept_by(mt, "by_related", table.concat(names, "\0"),
    { class = mt.class, class_name = mt.class_name, related = related, partial = mt.partial })
end

--- The shape of rows without their last columns, which are for fastpg itself; kept beside the statement's own.
function rows.without_last(shape, count)
  if shape.trimmed then return shape.trimmed end
  local trimmed = { columns = {}, types = {}, index = {}, typemap = shape.typemap }
  for i = 1, #shape.columns - count do
    trimmed.columns[i], trimmed.types[i] = shape.columns[i], shape.types[i]
    trimmed.index[shape.columns[i]] = i
  end
  shape.trimmed = trimmed
  return trimmed
end

--- Raises: a result that is fetched so has two columns of one name.
---@param shape table
function rows.refuse_duplicates(shape)
  local names = {}
  for i, name in ipairs(shape.duplicates) do names[i] = core.quote_ident(name) end
  errors.raise("duplicate_column", ('several columns are called %s, and a row has one of each name: tell them apart with "as", '
    .. 'take db:arrays, or connect with duplicates = "last"'):format(table.concat(names, ", ")), { sqlstate = "42701" })
end

--- The metatable of a list of such rows.
function rows.list_of(shape)
  local mt = shape.list_metatable
  if not mt then
    mt = rows.list_metatable(shape)
    shape.list_metatable = mt
  end
  return mt
end

--- The shape of a row or of a list of rows, or nil for any other value.
function rows.shape(value)
  if type(value) ~= "table" then return nil end
  local mt = getmetatable(value)
  return type(mt) == "table" and mt.shape or nil
end

--- Whether the field of a row holds rows of another table that were read with it.
function rows.is_related(row, name)
  local mt = getmetatable(row)
  local related = type(mt) == "table" and rawget(mt, "related")
  return type(related) == "table" and related[name] == true
end

--- Whether the table is a row that came from the server (not an instance made by hand).
function rows.is_fetched(value)
  local mt = getmetatable(value)
  return type(mt) == "table" and mt.shape ~= nil and not mt.partial
end

--- The origin of a row with this metatable.
function rows.origin_of(mt)
  return { facade = mt.db, types = mt.types, strict = mt.strict }
end

--- The database of a table's row, or nil.
function rows.db_of(row)
  local mt = type(row) == "table" and getmetatable(row)
  return type(mt) == "table" and mt.db or nil
end

return rows
