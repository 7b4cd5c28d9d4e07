-- SPDX-License-Identifier: MIT
--
-- table_lookup: from names to Tables: db.t, db.v, db:table, and the lists of what there is.
--
-- A name has one handle as long as anybody holds that; a transaction's database has handles of its own.  What belongs
-- to the relation (filters, the class of its rows) is not the handle's: see fastpg.table.relation_registry.

local getmetatable, ipairs, pairs, select, setmetatable, tostring, type =
  getmetatable, ipairs, pairs, select, setmetatable, tostring, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local relation = require "fastpg.table.relation"
local Table = require "fastpg.table.table"
local table_state = require "fastpg.table.table_state"
local wait = require "fastpg.host.wait"

local table_lookup = {}

-- ---- handles --------------------------------------------------------------------------------

local function handles_of(db)
  if not db.getters then db.getters = { handles = setmetatable({}, { __mode = "v" }) } end
  return db.getters.handles
end

local function key_of(name, schema)
  return (schema or "") .. "\0" .. name
end

-- The handle of a name, made without a look at the server.
local function handle_of(db, name, schema, view)
  local handles, key = handles_of(db), key_of(name, schema)
  local t = handles[key]
  if not t then
    t = Table.new(table_state.new_state(db, name, schema, view))
    handles[key] = t
  end
  return t
end

--- Where names can be looked up they are checked now; elsewhere (a database that is not connected yet,
--- the top of a module in nginx, a transaction whose snapshot that would take) it is a handle that is resolved at its
--- first use.
---@param db table  a route
function table_lookup.table_of(db, name, schema, view)
  if type(name) ~= "string" then errors.argument("the name of a table expected, got %s", type(name)) end
  if schema ~= nil and type(schema) ~= "string" then
    errors.argument("the name of a schema expected, got %s", type(schema))
  end
  if schema == "" then errors.argument("the name of a schema is empty (nil is the search_path)") end
  if name:find "%z" or schema and schema:find "%z" then
    errors.argument("%s: the name of a %s has no NUL byte", view and "db.v" or "db.t", view and "view" or "table")
  end
  local root = db.root
  local t = handles_of(db)[key_of(name, schema)]
  if t and table_state.is_fresh(core.table_state(t)) then return t end
  if not root.pool or root.closed or not wait.may_look_up(root.config.loop) then return handle_of(db, name, schema, view) end
  if db:has_one_snapshot() then return t or handle_of(db, name, schema, view) end
  if not db.catalog:relation(db, name, schema) then -- no handle is made for a name that there is not
    db.catalog:missing(db, name, schema, view and "view" or "table")
  end
  return t or handle_of(db, name, schema, view)
end

-- ---- db.t and db.v --------------------------------------------------------------------------

-- Its fields have keys that are no strings: every string is a table's name.
local DB, VIEWS = {}, {}
local Getter = { __name = "fastpg.tables" }

local function names_of(getter)
  local cat = getter[DB].catalog
  return cat and cat:list(getter[DB], getter[VIEWS]) or {}
end

local AT_ONCE = 100 -- handles, of thousands, before others have a turn

--- All tables, or all views, of a schema (default: the search_path).
---@param db table  a route
---@param views boolean
---@param schema string?
function table_lookup.list(db, views, schema)
  local tables = {}
  for i, name in ipairs(db:connected().catalog:list(db, views, schema)) do
    tables[i] = handle_of(db, name, schema, views)
    if i % AT_ONCE == 0 then wait.share(db.root.config.loop) end
  end
  return tables
end

local function several(getter, keys, n)
  local tables = {}
  for i = 1, n do tables[i] = table_lookup.table_of(getter[DB], keys[i], nil, getter[VIEWS]) end
  return tables
end

Getter.__index = function(getter, key)
  if type(key) == "table" then
    if key == DB or key == VIEWS then return nil end
    return several(getter, key, lists.length("db.t", key))
  end
  return table_lookup.table_of(getter[DB], key, nil, getter[VIEWS])
end
Getter.__call = function(getter, ...)
  local n = select("#", ...)
  if n == 0 then return table_lookup.list(getter[DB], getter[VIEWS]) end
  return compat.unpack(several(getter, { ... }, n), 1, n)
end
Getter.__newindex = function(getter, key)
  errors.argument("db.%s can't be assigned to (%s)", getter[VIEWS] and "v" or "t", tostring(key))
end
Getter.__tostring = function(getter) return table.concat(names_of(getter), ", ") end
Getter.__pairs = function(getter)
  local names_list, i = names_of(getter), 0
  return function()
    i = i + 1
    local name = names_list[i]
    if name then return name, handle_of(getter[DB], name, nil, getter[VIEWS]) end
  end
end

local function getter(views)
  return function(db)
    handles_of(db)
    local field = views and "views" or "tables"
    local found = db.getters[field]
    if not found then
      found = setmetatable({ [DB] = db, [VIEWS] = views }, Getter)
      db.getters[field] = found
    end
    return found
  end
end

--- The route of db.t or db.v, and whether it is of views; nil for any other value.
---@return table?
---@return boolean?
function table_lookup.getter_of(value)
  if type(value) ~= "table" or getmetatable(value) ~= Getter then return nil end
  return value[DB], value[VIEWS]
end

-- ---- methods of a database ------------------------------------------------------------------

local function check_schema(what, schema)
  if schema ~= nil and type(schema) ~= "string" then
    errors.argument("%s: the name of a schema expected, got %s", what, type(schema))
  end
  if schema == "" then errors.argument("%s: the name of a schema is empty (nil is the search_path)", what) end
end

-- A name and its schema, or the state of a Table, which has one.
local function check_place(what, t, schema)
  local st = core.table_state(t)
  check_schema(what, schema)
  if st and schema ~= nil then errors.argument("%s: a Table has its schema: give a name with a schema, or the Table", what) end
  if not st and type(t) ~= "string" then errors.argument("%s: a name or a Table expected, got %s", what, type(t)) end
  return st
end

local function relation_of(db, what, t, schema)
  local st = check_place(what, t, schema)
  if st then return table_state.resolve(st) end
  return db:connected().catalog:relation(db, t, schema) or db.catalog:missing(db, t, schema)
end

--- Adds the methods and properties of this file to a database's.
function table_lookup.extend(methods, properties)
  properties.t = getter(false)
  properties.v = getter(true)

  --- A table by name, in the search_path or a schema.
  function methods.table(self, name, schema) return table_lookup.table_of(self, name, schema, false) end

  --- The tables (partitioned and foreign ones too) and the views (materialized ones too) of a schema or the
  --- search_path, as a list sorted by name; a schema that there is not has none.
  for name, views in pairs{ tables = false, views = true } do
    methods[name] = function(self, schema)
      check_schema(name, schema)
      return table_lookup.list(self, views, schema)
    end
  end

  --- Their names.
  for name, views in pairs{ table_names = false, view_names = true } do
    methods[name] = function(self, schema)
      check_schema(name, schema)
      return self:connected().catalog:list(self, views, schema)
    end
  end

  --- Whether there is a table or view of that name, in the search_path or a schema (or whether the Table still
  --- exists).
  function methods.has(self, what, schema)
    local st = check_place("has", what, schema)
    local name = what
    if st then name, schema = st.name, st.schema end
    return self:connected().catalog:relation(self, name, schema) ~= nil
  end

  --- { "artist_id", "name", artist_id = "integer", … }
  function methods.columns_info(self, t, schema) return relation.columns_of(relation_of(self, "columns_info", t, schema)) end

  --- The columns of the primary key, in the key's order.
  function methods.pk_cols(self, t, schema)
    local copy = {}
    for i, name in ipairs(relation_of(self, "pk_cols", t, schema).pks) do copy[i] = name end
    return copy
  end

  --- Forgets what is known of tables; it is read again when needed.
  function methods.refresh(self)
    self:connected().catalog:stale()
    return self:user()
  end
end

return table_lookup
