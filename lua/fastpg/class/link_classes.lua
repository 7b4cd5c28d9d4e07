-- SPDX-License-Identifier: MIT
--
-- link_classes: many tables and their classes at once: classes for all of a database, classes of a module
-- or a namespace given to the tables, tables and classes written into a namespace.

local ipairs, pairs, pcall, rawget, rawset, tostring, type = ipairs, pairs, pcall, rawget, rawset, tostring, type

local class = require "fastpg.class.class"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"
local Route = require "fastpg.pool.route"
local table_lookup = require "fastpg.table.table_lookup"
local table_state = require "fastpg.table.table_state"

local link_classes = {}

-- ---- all classes ----------------------------------------------------------------------------

local ALL_OPTIONS = options.declare("fastpg.all_classes", {
  with_views = options.boolean, store = options.boolean, suf = options.text,
})

--- Every table of the search_path, then every view.
local function each_table(db, with_views, fn)
  for _, t in ipairs(table_lookup.list(db, false)) do fn(core.table_state(t)) end
  for _, t in ipairs(with_views and table_lookup.list(db, true) or {}) do fn(core.table_state(t)) end
end

-- Their columns in one round trip, not in one each.
local function load_all(db, states)
  local wanted = {}
  for i, st in ipairs(states) do wanted[i] = st.name end
  if #wanted > 0 then db.catalog:load(db, wanted) end
end

-- A name for the class of each table: those that would share one ("a_b" and "a b") are numbered in
-- the order of their tables, past what another table has by right.
local function distinct_names(states, suf)
  local natural, counts, distinct, taken = {}, {}, {}, {}
  for i, st in ipairs(states) do
    local info = not suf and class.info(table_state.class_of(st))
    natural[i] = info and info.name or class.camel(st.name) .. (suf or "")
    counts[natural[i]] = true
  end
  for i in ipairs(states) do
    local name, n = natural[i], 1
    while taken[name] or n > 1 and counts[name] do
      n = n + 1
      name = natural[i] .. n
    end
    distinct[i], taken[name] = name, true
  end
  return distinct
end

-- What all_classes makes, with the tables: a list of { name =, class =, state = }.
---@param leave boolean?  tables that have a class keep it
local function collect(what, db, opts, leave)
  opts = class.check_options(what, opts, ALL_OPTIONS)
  local states, list = {}, {}
  each_table(db, opts.with_views, function(st) states[#states + 1] = st end)
  load_all(db, states)
  for i, name in ipairs(distinct_names(states, opts.suf)) do
    local has = table_state.class_of(states[i])
    local store = opts.store
    if leave and has then store = false end
    local cls = class.of_table(states[i], { name = (opts.suf or not has) and name or nil, store = store })
    list[i] = { name = name, class = cls, state = states[i] }
  end
  return list
end
link_classes.collect = collect

--- Classes of all tables of a database: those they have, or new ones.
---@param db table
---@param opts { with_views: boolean?, store: boolean?, suf: string? }?  suf: an end for the names;
--- store = false: the tables don't get them
---@return table<string, table>  class name -> class
function link_classes.all_classes(db, opts)
  local classes = {}
  local route = Route.of(db) or errors.argument("all_classes: a database expected, got %s", type(db))
  for _, item in ipairs(collect("all_classes", route, opts)) do classes[item.name] = item.class end
  return classes
end

-- ---- namespaces -----------------------------------------------------------------------------

local function check_namespace(what, ns)
  if type(ns) ~= "table" then errors.argument("%s: a namespace (such as _G) expected, got %s", what, type(ns)) end
end

-- What the namespace holds; a strict one raises for names that it lacks.
local function read_name(ns, name)
  local value = rawget(ns, name)
  if value ~= nil then return value end
  local ok, inherited = pcall(function() return ns[name] end)
  return ok and inherited or nil
end

-- Writes a name that is not there yet.
local function write_name(ns, name, value, written)
  if read_name(ns, name) ~= nil then return end
  rawset(ns, name, value)
  written[name] = value
end

-- ---- linking --------------------------------------------------------------------------------

local function is_of(info, st)
  return not info.relation or info.relation.name == st.name
end

-- Links each table to the class that find(st) gives: map class name -> class.
local function link_each(db, find)
  local linked = {}
  each_table(db, true, function(st)
    local cls = find(st)
    if not cls then return end
    class.link(st, cls)
    linked[class.info(cls).name] = cls
  end)
  return linked
end

local function are_linked(linked, classes)
  for _, cls in pairs(classes) do
    if linked[class.info(cls).name] ~= cls then return false end
  end
  return true
end

local function link_module(db, module)
  if type(module) ~= "table" then
    errors.argument("link_classes: a map of classes expected (as create_mod's modules return), got %s", type(module))
  end
  db:connected()
  local by_table, by_name, elsewhere = {}, {}, {}
  for name, cls in pairs(module) do
    local info = class.info(cls)
    if not info then
      errors.argument("link_classes: classes expected, got %s as %s (db:set_classes takes the classes of a namespace)",
        type(cls), type(name) == "string" and ('"%s"'):format(name) or ("[%s]"):format(tostring(name)))
    end
    local relation = info.relation
    if relation and relation.schema and relation.schema ~= db.catalog.schema then
      elsewhere[cls] = relation
    elseif relation then
      by_table[relation.name] = cls
    else
      by_name[info.name] = cls
    end
  end
  local function find(st) return by_table[st.name] or by_name[class.camel(st.name)] end
  local linked = link_each(db, find)
  if not (are_linked(linked, by_table) and are_linked(linked, by_name)) then -- somebody else may have made the table
    db.catalog:stale()
    linked = link_each(db, find)
  end
  for cls, relation in pairs(elsewhere) do
    if db.catalog:relation(db, relation.name, relation.schema) then
      class.link(core.table_state(table_lookup.table_of(db, relation.name, relation.schema)), cls)
      linked[class.info(cls).name] = cls
    end
  end
  return linked
end

--- Adds to a database's methods.
function link_classes.extend(methods)
  --- Gives the tables the classes of a module that create_mod wrote (any map of classes): the map of
  --- what was linked.
  methods.link_classes = link_module

  --- Gives each table the class that the namespace has under its CamelCase name.
  function methods.set_classes(self, ns)
    check_namespace("set_classes", ns)
    return link_each(self, function(st)
      local cls = read_name(ns, class.camel(st.name))
      local info = class.info(cls)
      return info and is_of(info, st) and cls or nil
    end)
  end

  --- Writes each table into the namespace as its name in lower case with an "s".
  function methods.get_tables(self, ns)
    check_namespace("get_tables", ns)
    local written = {}
    for _, t in ipairs(table_lookup.list(self, false)) do
      write_name(ns, core.table_state(t).name:lower() .. "s", t, written)
    end
    return written
  end

  --- Looks one table up afresh, makes its class unless it has one, and writes both.
  function methods.table2glb(self, name, ns)
    if type(name) ~= "string" then errors.argument("table2glb: a table's name expected, got %s", type(name)) end
    check_namespace("table2glb", ns)
    methods.refresh(self)
    local t = table_lookup.table_of(self, name)
    local cls = t:class()
    local written = {}
    write_name(ns, table_state.resolve(core.table_state(t)).name:lower() .. "s", t, written)
    write_name(ns, class.info(cls).name, cls, written)
    return written
  end
end

return link_classes
