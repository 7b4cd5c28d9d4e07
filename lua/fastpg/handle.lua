-- SPDX-License-Identifier: MIT
--
-- handle: the state behind a Table, and what it knows of its relation.
--
-- A Table is a userdata whose state is a table:
--   db        the database its statements run on (a root, or a transaction's)
--   name, schema, view      what was asked for
--   rel, generation         what the catalog said, and when
--   scope, xtra, filters    see fastpg.filters; filters is both, or nil
--   link      { db =, class =, class_name = }: shared by all handles of the same table
--   sql       statements that never change as long as the filters don't, by name
--
-- The state of a transaction's handle looks up scope, xtra and filters in the one of its root
-- (handle.inherit) until it gets an xtra of its own.

local catalog = require "fastpg.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.errors"
local filters = require "fastpg.filters"
local surface = require "fastpg.surface"

local handle = {}

--- Makes the state of a handle.
function handle.new_state(db, name, schema, view, link)
  return {
    db = db, name = name, schema = schema, view = view, rel = false, generation = -1,
    scope = nil, xtra = nil, filters = nil, link = link, sql = {},
  }
end

local INHERITED = { scope = true, xtra = true, filters = true }

--- Lets a state have the filters of another, as they are at each moment.
function handle.inherit(st, base)
  return setmetatable(st, { __index = function(_, key) return INHERITED[key] and base[key] or nil end })
end

local function check_filter(st, rel)
  for name in pairs(st.filters or {}) do
    if not rel.index[name] then catalog.unknown_column(rel, name, "filter") end
  end
end

--- Whether that is so without looking up anything.
function handle.is_fresh(st)
  local cat = st.db.catalog
  return st.rel and cat and st.generation == cat.generation
end

--- What the catalog knows of the table; looked up where that is not known or stale.
function handle.resolve(st)
  local db = st.db
  local cat = db.catalog
  if handle.is_fresh(st) then return st.rel end
  if not cat then db:on_connection(function() end) end -- raises: not connected
  local rel = cat:relation(db, st.name, st.schema)
  if not rel then cat:missing(db, st.name, st.schema, st.view and "view" or "table") end
  check_filter(st, rel)
  st.rel, st.generation, st.sql = rel, cat.generation, {}
  return rel
end

--- Sets the filters again after scope or xtra changed.
function handle.refilter(st, what)
  st.filters = filters.merge(what, st.scope, st.xtra) or false
  if st.rel then check_filter(st, st.rel) end
end

--- What was found out of the relation is doubtful: it is looked up again.
function handle.doubt(st)
  st.db.catalog:forget(st.name, st.schema)
  st.generation = -1
end

-- A builder's arguments are the list it fills, then maps of values (and lists, which hold no SQL).
local function check_values(n, _, ...)
  for i = 1, n - 1 do
    local map = select(i, ...)
    if type(map) == "table" then filters.check_values(map) end
  end
end

--- Calls a builder of the relation.  Every value that a statement gets comes through here, so this is
--- where SQL in place of a value is checked on a filtered Table.  A column it does not know is looked
--- up once more before it is an error.  (A builder that meets one has not touched its arguments.)
function handle.build(st, method, ...)
  local rel = handle.resolve(st)
  if st.filters then check_values(select("#", ...), ...) end
  local sql, n = rel.core[method](rel.core, ...)
  if sql then return sql, n end
  if type(n) == "string" then
    handle.doubt(st)
    rel = handle.resolve(st)
    sql, n = rel.core[method](rel.core, ...)
    if sql then return sql, n end
  end
  catalog.unknown_column(rel, n)
end

--- The filters as conditions behind n arguments: SQL and the new number of arguments.
function handle.filter_conditions(st, rel, args, n)
  local sql, count = rel.core:conditions(args, n, st.filters)
  if not sql then catalog.unknown_column(rel, count, "filter") end
  return sql, count
end

--- A cached statement text of this state, or nil; handle.keep_sql keeps one.
function handle.known_sql(st, name)
  if st.sql.filters ~= st.filters then st.sql = { filters = st.filters } end
  return st.sql[name]
end

function handle.keep_sql(st, name, sql)
  st.sql[name] = sql
  return sql
end

--- standard_conforming_strings, as far as it is known before a connection is chosen.
function handle.standard_strings(st)
  return st.db.root.standard_strings
end

-- ---- columns --------------------------------------------------------------------------------

local Column = { __name = "fastpg.column" }

Column.__tostring = function(column)
  local rel = column.state.rel
  return (rel and rel.qualified or core.quote_ident(column.state.name)) .. "." .. core.quote_ident(column.name)
end
Column.__concat = function(a, b) return tostring(a) .. tostring(b) end
Column.__eq = function(a, b) return tostring(a) == tostring(b) end
Column.__index = surface.names({}, "a column")

--- A column of the table, whether there is one or not: the server judges.
function handle.column(st, name)
  return setmetatable({ state = st, name = name }, Column)
end

--- The value when it is a column, else nil.
function handle.column_of(value)
  if type(value) == "table" and getmetatable(value) == Column then return value end
end

-- What t.c gives keeps its state under a key that is no string: every string is a column's name.
local STATE = {}
local columns_methods = {}

-- The relation of a column's table, as one string.
local function identity(st)
  local rel = handle.resolve(st)
  return rel.schema .. "\0" .. rel.name
end

function columns_methods.has(self, what)
  if type(self) ~= "table" or not rawget(self, STATE) then errors.misused("the columns of a Table", "t.c", "has", self) end
  local st = self[STATE]
  local column = handle.column_of(what)
  if column and column.state ~= st and identity(column.state) ~= identity(st) then return false end
  local name = column and column.name or what
  return type(name) == "string" and handle.resolve(st).index[name] ~= nil
end

surface.methods(columns_methods, { has = 1 }, false)

local Columns = { __name = "fastpg.columns" }
Columns.__index = function(self, name)
  if type(name) == "string" then return columns_methods[name] or handle.column(self[STATE], name) end
  if name == STATE then return nil end
  errors.argument("t.c: the name of a column expected, got %s (t.c() lists them)", type(name))
end

local function all_or_one(self, ...)
  local st = self[STATE]
  if select("#", ...) > 0 then
    local name = ...
    if type(name) ~= "string" then errors.argument("the name of a column expected, got %s", type(name)) end
    return handle.column(st, name)
  end
  local list = {}
  for i, col in ipairs(handle.resolve(st).columns) do list[i] = handle.column(st, col.name) end
  return list
end
Columns.__call = surface.methods({ c = all_or_one }, { c = 1 }, false).c
Columns.__tostring = function(self)
  return table.concat(handle.resolve(self[STATE]).shape.columns, ", ")
end
Columns.__newindex = function(_, name) errors.argument("the columns of a Table can't be assigned to (%s)", tostring(name)) end
Columns.__len = function(self) return #handle.resolve(self[STATE]).columns end

--- What `t.c` gives.
function handle.columns(st)
  return setmetatable({ [STATE] = st }, Columns)
end

return handle
