-- SPDX-License-Identifier: MIT
--
-- table_columns: what `t.c` gives, and its columns, which may stand wherever the name of one may.

local getmetatable, ipairs, rawget, select, setmetatable, tostring, type =
  getmetatable, ipairs, rawget, select, setmetatable, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local surface = require "fastpg.base.surface"
local table_state = require "fastpg.table.table_state"

local table_columns = {}

-- ---- one column -----------------------------------------------------------------------------

local Column = { __name = "fastpg.column", __fastpg_sql = true }
table_columns.metatable = Column

Column.__tostring = function(column)
  local rel = column.state.rel
  return (rel and rel.qualified or core.quote_ident(column.state.name)) .. "." .. core.quote_ident(column.name)
end
Column.__concat = function(a, b) return tostring(a) .. tostring(b) end
Column.__eq = function(a, b) return tostring(a) == tostring(b) end
Column.__index = surface.names({}, "a column")

--- A column of the table, whether there is one or not: the server judges.
function table_columns.column(st, name)
  return setmetatable({ state = st, name = name }, Column)
end

--- The value when it is a column, else nil.
function table_columns.column_of(value)
  if type(value) == "table" and getmetatable(value) == Column then return value end
end

--- The name that a column is meant by, which may be one of t.c: a column of another table is an error.
---@param value any  a name, a column, or what is neither, which is given back
function table_columns.column_name(st, value, what)
  local column = table_columns.column_of(value)
  if not column then return value end
  if column.state ~= st and table_state.resolve(column.state).oid ~= table_state.resolve(st).oid then
    errors.argument("%s: %s is a column of another table than %s", what, tostring(column), table_state.resolve(st).ref)
  end
  return column.name
end

-- ---- all of a Table's ------------------------------------------------------------------------

-- What t.c gives keeps its state under a key that is no string: every string is a column's name.
local STATE = {}
local methods = {}

function methods.has(self, what)
  if type(self) ~= "table" or not rawget(self, STATE) then errors.misused("the columns of a Table", "t.c", "has", self) end
  local st = self[STATE]
  local column = table_columns.column_of(what)
  if column and column.state ~= st and table_state.resolve(column.state).oid ~= table_state.resolve(st).oid then return false end
  local name = column and column.name or what
  if type(name) ~= "string" then errors.argument("has: the name of a column, or a column, expected, got %s", type(name)) end
  return table_state.resolve(st).index[name] ~= nil
end

surface.methods(methods, { has = 1 }, false)

local Columns = { __name = "fastpg.columns" }
Columns.__index = function(self, name)
  if type(name) == "string" then return methods[name] or table_columns.column(self[STATE], name) end
  if name == STATE then return nil end
  errors.argument("t.c: the name of a column expected, got %s (t.c() lists them)", type(name))
end

local function all_or_one(self, ...)
  local st = self[STATE]
  if select("#", ...) > 0 then
    local name = ...
    if type(name) ~= "string" then errors.argument("the name of a column expected, got %s", type(name)) end
    return table_columns.column(st, name)
  end
  local list = {}
  for i, col in ipairs(table_state.resolve(st).columns) do list[i] = table_columns.column(st, col.name) end
  return list
end
Columns.__call = surface.methods({ c = all_or_one }, { c = 1 }, false).c
Columns.__tostring = function(self)
  return table.concat(table_state.resolve(self[STATE]).shape.columns, ", ")
end
Columns.__newindex = function(_, name) errors.argument("the columns of a Table can't be assigned to (%s)", tostring(name)) end
Columns.__len = function(self) return #table_state.resolve(self[STATE]).columns end

--- What `t.c` gives.
function table_columns.of(st)
  return setmetatable({ [STATE] = st }, Columns)
end

return table_columns
