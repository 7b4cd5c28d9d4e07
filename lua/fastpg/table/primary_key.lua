-- SPDX-License-Identifier: MIT
--
-- primary_key: the key of a row: read from what names it (a scalar, a list in the key's order, a table by columns) or
-- from a record, and what the row is called in messages: cat[1].

local ipairs, next, rawget, type = ipairs, next, rawget, type

local catalog = require "fastpg.table.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local later = require "fastpg.base.later"
local lists = require "fastpg.base.lists"
local rows = require "fastpg.value.rows"
local pretty = later.module(function() return require "fastpg.value.pretty" end)

local primary_key = {}

-- Where a list of arguments has the names of their columns.
local COLUMNS = core.columns_key

-- ---- what names a row -----------------------------------------------------------------------

-- A key as a table has nothing in it but the key: values in its order, or all by name (a row has more).
local function check(rel, given)
  if given[1] ~= nil then
    lists.length(rel.ref .. ": the key", given)
  elseif not rows.shape(given) then
    for name in next, given do
      local column = type(name) == "string" and rel.index[name]
      if not column or column.pk == 0 then
        errors.argument("%s: the key is %s, got %s in it", rel.ref, table.concat(rel.pks, ", "),
          type(name) == "string" and core.quote_ident(name) or "a key of type " .. type(name))
      end
    end
  end
end

--- The values of a primary key as a list in key order, with the names of their columns.
---@param st table  of fastpg.table.table_state: its filters say what the key does not
---@param given any  a scalar, a list in key order, or a table by column names
function primary_key.values(st, rel, given)
  local pks = rel.pks
  if #pks == 0 then catalog.misfit("%s has no primary key: use where", rel.ref) end
  if type(given) ~= "table" then
    if #pks > 1 then
      catalog.misfit("%s has a key of %d columns: write %s[{ %s }]", rel.ref, #pks, rel.name, table.concat(pks, ", "))
    end
    if given == nil or given == core.null then
      errors.argument("%s: the key is %s", rel.ref, given == nil and "nil" or "NULL")
    end
    return { given, [COLUMNS] = { pks[1] } }
  end
  check(rel, given)
  local values, names = {}, {}
  for i, name in ipairs(pks) do
    local value = given[i]
    if value == nil and given[1] == nil then value = rawget(given, name) end
    if value == nil and st.filters then value = st.filters[name] end
    if value == nil or value == core.null then
      catalog.misfit("%s: the key has no value for %s", rel.ref, core.quote_ident(name))
    end
    values[i], names[i] = value, name
  end
  values[COLUMNS] = names
  if given[#pks + 1] ~= nil then errors.argument("%s: the key has %d columns, got more", rel.ref, #pks) end
  return values
end

--- Whether every type of its kind takes the key: then nothing is to be read from it, and no list of arguments needed,
--- which names the column in an error.
function primary_key.is_plain(given)
  local kind = type(given)
  return kind == "string" or kind == "number" and given % 1 == 0 and given < 32768 and given >= -32768
end

-- Text that can only be a key of such a column.
local FORMS = {
  int2 = "^%-?%d+$", int4 = "^%-?%d+$", int8 = "^%-?%d+$", oid = "^%d+$", numeric = "^%-?%d+%.?%d*$",
  float4 = "^%-?%d+%.?%d*$", float8 = "^%-?%d+%.?%d*$",
  uuid = "^%x%x%x%x%x%x%x%x%-?%x%x%x%x%-?%x%x%x%x%-?%x%x%x%x%-?%x%x%x%x%x%x%x%x%x%x%x%x$",
  date = "^%d%d%d%d+%-%d%d%-%d%d$", time = "^%d%d:%d%d", timetz = "^%d%d:%d%d",
  timestamp = "^%d%d%d%d+%-%d%d%-%d%d[ T]%d%d:%d%d", timestamptz = "^%d%d%d%d+%-%d%d%-%d%d[ T]%d%d:%d%d",
}

--- Whether a text can be nothing else than a key: of what t["…"] reads all other texts are methods and properties.
---@param text string
function primary_key.looks_like(rel, text)
  local column = #rel.pks == 1 and rel.index[rel.pks[1]]
  local form = column and FORMS[column.base_type]
  return form and text:find(form) ~= nil
end

-- ---- of a record ----------------------------------------------------------------------------

-- What a record, with what replaces its values and the filters around it, says of a column.
local function value_of(st, name, record, overrides)
  local value = overrides and rawget(overrides, name)
  if value == nil then value = rawget(record, name) end
  if value == nil and st.filters then value = st.filters[name] end
  return value
end

--- The key that a record names.  (A row that filters hide is not found, whatever else has that key.)
---@param what string  for the message: "update"
---@param overrides table?
function primary_key.of_record(st, rel, what, record, overrides)
  if #rel.pks == 0 then catalog.misfit("%s: %s has no primary key: use where(…):update{…}", what, rel.ref) end
  local values = {}
  for i, name in ipairs(rel.pks) do
    local value = value_of(st, name, record, overrides)
    if value == nil or value == core.null then
      catalog.misfit('%s: the record has no value for the key column "%s"', what, name)
    end
    values[i] = value
  end
  return values
end

--- What a record says of columns that need not be those of the primary key; what it does not say is nil.
---@param columns string[]
function primary_key.of_columns(st, columns, record, overrides)
  local values = {}
  for i, name in ipairs(columns) do values[i] = value_of(st, name, record, overrides) end
  return values
end

--- The key of a row that was read.
function primary_key.of_row(rel, row)
  local values = {}
  for i, name in ipairs(rel.pks) do values[i] = rawget(row, name) end
  return values
end

-- ---- in messages ----------------------------------------------------------------------------

-- `cat[1]`, `publication['Alma', 2019]`
local function row_name(rel, values)
  local parts = {}
  for i, value in ipairs(values) do
    parts[i] = pretty.value(value, type(value) == "string" and rel.index[rel.pks[i]].oid or nil)
  end
  return ("%s[%s]"):format(rel.name, table.concat(parts, ", "))
end

--- Raises NotFoundError for the row of that key.
---@param values any[]  in key order
function primary_key.raise_missing(rel, values)
  errors.raise("not_found", row_name(rel, values), { table_name = rel.name })
end

--- The row of that key; raises where there is none (of a call that counts, where that is 0).
function primary_key.present(row, rel, values)
  if row == nil or row == 0 then primary_key.raise_missing(rel, values) end
  return row
end

return primary_key
