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
--   sql       statements of this state that never change, by name

local catalog = require "fastpg.catalog"
local core = require "fastpg.core"
local filters = require "fastpg.filters"

local handle = {}

--- Makes the state of a handle.
function handle.new_state(db, name, schema, view, link)
  return {
    db = db, name = name, schema = schema, view = view, rel = false, generation = -1,
    scope = nil, xtra = nil, filters = nil, link = link, sql = {},
  }
end

local function check_filter(st, rel)
  for name in pairs(st.filters or {}) do
    if not rel.index[name] then catalog.unknown_column(rel, name, "filter") end
  end
end

--- What the catalog knows of the table; looked up where that is not known or stale.
function handle.resolve(st)
  local db = st.db
  local cat = db.catalog
  if st.rel and cat and st.generation == cat.generation then return st.rel end
  if not cat then db:on_connection(function() end) end -- raises: not connected
  local rel = cat:relation(db, st.name, st.schema)
  if not rel then cat:missing(db, st.name, st.schema, st.view and "view" or "table") end
  check_filter(st, rel)
  st.rel, st.generation, st.sql = rel, cat.generation, {}
  return rel
end

--- Sets the filters again after scope or xtra changed.
function handle.refilter(st, what)
  st.filters = filters.merge(what, st.scope, st.xtra)
  st.sql = {}
  if st.rel then check_filter(st, st.rel) end
end

--- Calls a builder of the relation; a column it does not know is looked up once more before it is
--- an error.
function handle.build(st, method, ...)
  local rel = handle.resolve(st)
  local sql, n = rel.core[method](rel.core, ...)
  if sql then return sql, n end
  st.db.catalog:stale()
  rel = handle.resolve(st)
  sql, n = rel.core[method](rel.core, ...)
  if sql then return sql, n end
  catalog.unknown_column(rel, n)
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

--- A column of the table, whether there is one or not: the server judges.
function handle.column(st, name)
  return setmetatable({ state = st, name = name }, Column)
end

--- The value when it is a column, else nil.
function handle.column_of(value)
  if type(value) == "table" and getmetatable(value) == Column then return value end
end

local columns_methods = {}

function columns_methods.has(self, what)
  local column = handle.column_of(what)
  local name = column and column.name or what
  if column and column.state.name ~= self.state.name then return false end
  return type(name) == "string" and handle.resolve(self.state).index[name] ~= nil
end

local Columns = { __name = "fastpg.columns" }
Columns.__index = function(self, name)
  if type(name) ~= "string" then return nil end
  return columns_methods[name] or handle.column(rawget(self, "state"), name)
end
Columns.__call = function(self, name)
  if name ~= nil then return handle.column(self.state, name) end
  local list = {}
  for i, col in ipairs(handle.resolve(self.state).columns) do list[i] = handle.column(self.state, col.name) end
  return list
end
Columns.__tostring = function(self)
  local names = {}
  for i, col in ipairs(handle.resolve(self.state).columns) do names[i] = col.name end
  return table.concat(names, ", ")
end
Columns.__len = function(self) return #handle.resolve(self.state).columns end

--- What `t.c` gives.
function handle.columns(st)
  return setmetatable({ state = st }, Columns)
end

return handle
