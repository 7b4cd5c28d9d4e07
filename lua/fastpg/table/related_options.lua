-- SPDX-License-Identifier: MIT
--
-- related_options: reads what `with` says of related rows; names are judged when the statement runs (fastpg.table.related).
--
--   with = { "artist", handle, boss = "reports_to", team = "employee.reports_to", track = { options } }
--
-- Each becomes { field = its name, or nil: the table's, said = "column" or "table.column", table = a name, st = a state,
-- through = a name or a state, sel = a selection of the related table, count =, with = the same of its rows }.

local getmetatable, ipairs, next, rawequal, tostring, type = getmetatable, ipairs, next, rawequal, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"

local related_options = {}

local HANDLE = {
  wanted = "the name of a table or a Table",
  test = function(value) return type(value) == "string" and value ~= "" or core.table_state(value) ~= nil end,
}
local OPTIONS = options.declare("with", {
  where = options.condition, args = options.arguments, order_by = options.columns, limit = options.whole(0),
  select = options.columns, count = options.boolean, with = options.any, through = HANDLE, table = HANDLE,
  as_cls = options.boolean,
})

local read

-- A Table is a userdata; of what else stands there a name is made.
local function put_table(spec, value)
  local st = core.table_state(value)
  if st then spec.st = st else spec.table = value end
end

local function read_options(what, field, given)
  local said, named = given[1], {}
  for key, value in next, given do
    if key ~= 1 then named[key] = value end
  end
  local where = ("%s: %s"):format(what, field)
  options.check(named, OPTIONS, where)
  if said ~= nil and not HANDLE.test(said) then
    errors.argument("%s: the first item is the key's column (a text) or a Table, got %s", where, type(said))
  end
  local spec = { field = field, given = named, count = named.count }
  if type(said) == "string" then spec.said = said elseif said ~= nil then put_table(spec, said) end
  if named.table ~= nil then put_table(spec, named.table) end
  if named.through ~= nil then spec.through = core.table_state(named.through) or named.through end
  if named.with ~= nil then spec.with = read(where .. ": with", named.with) end
  if named.count and (named.with or named.select ~= nil or named.limit or named.order_by ~= nil) then
    errors.argument("%s: count gives a number: select, order_by, limit and with do not go with it", where)
  end
  return spec
end

local function read_field(what, field, value)
  if type(value) == "string" then return { field = field, said = value, given = {} } end
  local st = core.table_state(value)
  if st then return { field = field, st = st, given = {} } end
  if type(value) ~= "table" or getmetatable(value) ~= nil or rawequal(value, core.null) then
    errors.argument("%s: %s: a column, a Table or a table of options expected, got %s", what, core.quote_ident(field), type(value))
  end
  return read_options(what, field, value)
end

local function read_item(what, i, value)
  if type(value) == "string" and value ~= "" then return { field = value, table = value, given = {} } end
  local st = core.table_state(value)
  if st then return { st = st, given = {} } end
  errors.argument("%s: item %d: the name of a table or a Table expected, got %s; options have a name, "
    .. "{ track = { limit = 3 } }", what, i, type(value))
end

--- Reads a `with`: a name, a Table, or a table of them.
---@param what string
---@param given any
---@return table[]
function read(what, given)
  if type(given) == "string" or core.table_state(given) then given = { given } end
  if type(given) ~= "table" or getmetatable(given) ~= nil then
    errors.argument("%s: a table of related tables expected, got %s", what, given == nil and "nil" or type(given))
  end
  if next(given) == nil then errors.argument("%s: the table is empty (was a value nil?)", what) end
  local list, names = {}, {}
  for i, item in ipairs(given) do list[i] = read_item(what, i, item) end
  for key in next, given do
    if type(key) == "string" then
      names[#names + 1] = key
    elseif type(key) ~= "number" or key < 1 or key > #list or key % 1 ~= 0 then
      errors.argument("%s: the key %s is no position and no name", what, tostring(key))
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do list[#list + 1] = read_field(what, name, given[name]) end
  local seen = {}
  for _, spec in ipairs(list) do
    if spec.field and seen[spec.field] then
      errors.argument("%s: two related tables would be the field %s: give one another name", what, core.quote_ident(spec.field))
    end
    if spec.field then seen[spec.field] = true end
  end
  return list
end
related_options.read = read

return related_options
