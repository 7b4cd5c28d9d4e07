-- SPDX-License-Identifier: MIT
--
-- table: what `db.t.artist` is: reading by key, by call and by query; filters.  Writing is in
-- fastpg.table.write, the job queue in fastpg.table.claim; both add their methods to Table.methods.
--
-- A Table is a userdata (core.table_new), so that `t[1]`, `t.name` and `#t` come here on every Lua.
-- A string key is a method or property, never data: t[user_input] can't reach a row by accident.

local ipairs, pairs, select, tostring, type = ipairs, pairs, select, tostring, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local filters = require "fastpg.table.filters"
local later = require "fastpg.base.later"
local lists = require "fastpg.base.lists"
local options = require "fastpg.base.options"
local primary_key = require "fastpg.table.primary_key"
local query = require "fastpg.table.query"
local query_run = require "fastpg.table.query_run"
local related_options = require "fastpg.table.related_options"
local recorder = require "fastpg.table.recorder"
local relation = require "fastpg.table.relation"
local select_sql = require "fastpg.table.select_sql"
local selection = require "fastpg.table.selection"
local suggest = require "fastpg.base.suggest"
local surface = require "fastpg.base.surface"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"
local wait = require "fastpg.host.wait"

local related = later.module(function() return require "fastpg.table.related" end)

local PENDING = recorder.PENDING
local state_of, read_selection, OPTIONS = core.table_state, selection.read, selection.OPTIONS

local Table = {}
local methods = {}
local properties = {}
Table.methods, Table.properties = methods, properties

--- Adds methods of another file; each makes sure of self by check_self.
---@param more table<string, function>
---@param most table<string, integer>  how many arguments each takes (fastpg.base.surface)
function Table.extend(more, most)
  for name, method in pairs(surface.methods(more, most, false)) do methods[name] = method end
end

local metatable = core.table_metatable

--- Makes a Table of a state (fastpg.table.table_state).
function Table.new(st)
  return core.table_new(st)
end

local function check_self(t, what)
  local st = state_of(t)
  if not st then
    errors.argument("%s: a Table expected as self, got %s (call it as t:%s)", what, type(t), what)
  end
  return table_state.current(st)
end
Table.check_self = check_self

-- ---- rows by key ----------------------------------------------------------------------------

-- `select * from t where key and filters`: the same text each time.
local function key_sql(st, rel)
  local sql = table_state.known_sql(st, "get")
  if sql then return sql end
  local where = rel.core:key_conditions(0)
  if st.filters then where = where .. " AND " .. table_state.filter_conditions(st, rel, {}, #rel.pks) end
  return table_state.keep_sql(st, "get", rel.core:select(nil, where))
end

local function read_by_key(st, key)
  local rel = table_state.resolve(st)
  if primary_key.is_plain(key) and not st.filters and #rel.pks == 1 and not st.db.root.servers then
    return table_state.run(st, key_sql(st, rel), fetch.first, st.link, key)
  end
  local values = primary_key.values(st, rel, key)
  local n = #values
  if st.filters then
    local _
    _, n = table_state.filter_conditions(st, rel, values, n)
  end
  return table_state.read_list(st, key_sql(st, rel), fetch.first, st.link, values, n)
end

local function get(st, key)
  st = table_state.current(st)
  return table_state.steady(st, read_by_key, st, key)
end

local function get_or_raise(st, key)
  local row = get(st, key)
  if row == nil then
    local rel = table_state.resolve(st)
    primary_key.raise_missing(rel, primary_key.values(st, rel, key))
  elseif row == PENDING then
    local rel = table_state.resolve(st)
    return recorder.after(primary_key.present, rel, primary_key.values(st, rel, key))
  end
  return row
end

local GET_OPTIONS = options.declare("t:get", { with = options.any })

--- The row of that key, or nil.
---@param key any  a scalar, or a list for a compound key
---@param opts { with: any }?  related rows beside it
function methods.get(self, key, opts)
  local st = check_self(self, "get")
  local specs = opts ~= nil and related_options.read("with", options.check(opts, GET_OPTIONS, "get").with)
  local row = get(st, key)
  if specs and row ~= nil then related.add(table_state.current(st), { row }, specs, "with", st.filters or nil) end
  return row
end

local function is_there(row) return row ~= nil end

--- Whether there is a row of that key.
function methods.has(self, key)
  local row = get(check_self(self, "has"), key)
  if row == PENDING then return recorder.after(is_there) end
  return is_there(row)
end

local function by_text(st, key)
  local rel = table_state.resolve(st)
  if primary_key.looks_like(rel, key) then return get_or_raise(st, key) end
  local known = {}
  for k in pairs(methods) do known[k] = true end
  for k in pairs(properties) do known[k] = true end
  errors.argument("%s; columns are %s.c.%s, a text key is %s[{%q}]",
    suggest.no_such(rel.ref, "method or property", key, known), rel.name, key, rel.name, key)
end

metatable.__index = function(self, key)
  local method = methods[key]
  if method then return method end
  if type(key) == "string" then
    local property = properties[key]
    if property then return property(state_of(self)) end
    return by_text(state_of(self), key)
  end
  return get_or_raise(state_of(self), key)
end

metatable.__newindex = function(_, key)
  errors.argument("a Table can't be assigned to (%s): use insert, update or upsert", type(key) == "string" and key or type(key))
end

-- ---- what it is -----------------------------------------------------------------------------

function properties.name(st) return table_state.resolve(st).name end
function properties.schema(st) return table_state.resolve(st).schema end
function properties.pks(st)
  local copy = {}
  for i, name in ipairs(table_state.resolve(st).pks) do copy[i] = name end
  return copy
end
function properties.cols(st) return relation.columns_of(table_state.resolve(st)) end
function properties.c(st) return table_columns.of(st) end
function properties.cls(st) return table_state.class_of(st) end
function properties.db(st) return st.db:user() end

local function text(self)
  local st = state_of(self)
  if not st.rel then
    local plain = not st.schema and st.db.root.pool and st.db.catalog.schema == "" and not st.name:find(".", 1, true)
    if not st.db.root.pool or plain and st.db:has_one_snapshot() then return core.quote_ident(st.name) end
  end
  return table_state.resolve(st).qualified
end
metatable.__tostring = text
metatable.__concat = function(a, b) return tostring(a) .. tostring(b) end

-- ---- reading many ---------------------------------------------------------------------------

local function read(self, what, ...)
  local st = check_self(self, what)
  return st, read_selection(st, nil, OPTIONS, select("#", ...), ...)
end

--- Rows: all of them, of a fragment with its arguments, or of options.
table_state.add_steady(methods, {
  all = function(st, ...)
    local opts = ...
    if select("#", ...) == 1 and type(opts) == "table" and table_state.is_fresh(st) and not st.filters then
      local sql, a, b = selection.known(st, opts)
      if sql and b then return table_state.run(st, sql, fetch.rows, st.link, a, b) end
      if sql and a then return table_state.run(st, sql, fetch.rows, st.link, a) end
    end
    return query_run.fetch_all(st, read_selection(st, nil, OPTIONS, select("#", ...), ...))
  end,
}, check_self)
metatable.__call = methods.all

--- Exactly one row: NotFoundError, or "not_unique".
function methods.selectone(self, ...)
  local st, sel = read(self, "selectone", ...)
  return query_run.fetch_one(st, sel)
end

--- The number of rows.
function methods.count(self, ...)
  local st = check_self(self, "count")
  local sel = selection.read(st, "count", selection.COUNT_OPTIONS, select("#", ...), ...)
  return query_run.count(st, sel)
end
metatable.__len = function(self) return methods.count(self) end

-- A function as the last argument is the callback.
local function split_callback(n, ...)
  local last = n > 0 and (select(n, ...)) or nil
  if type(last) ~= "function" then return nil, n end
  return last, n - 1
end

--- Rows one after the other, in constant memory; with a function as last argument, called for each.
function methods.each(self, ...)
  local st = check_self(self, "each")
  local fn, n = split_callback(select("#", ...), ...)
  local sel
  if n == 0 then
    sel = { conds = {} }
  else
    local args = { ... }
    sel = selection.read(st, "each", selection.OPTIONS, n, compat.unpack(args, 1, n))
  end
  return query_run.each(st, sel, fn)
end

--- A query: immutable, nothing runs before it is called.
function methods.where(self, ...)
  local st = check_self(self, "where")
  return query.new(st):where(...)
end
local BY_QUERY = {
  "select", "order_by", "limit", "offset", "distinct", "group_by", "having", "with", "on_replica", "for_update", "join",
  "left_join",
  "where_exists", "where_missing", "cte", "union", "union_all", "exists", "item", "pluck", "map", "explain", "page",
}
for _, name in ipairs(BY_QUERY) do
  methods[name] = function(self, ...)
    local q = query.new(check_self(self, name))
    return q[name](q, ...)
  end
end

--- The first row, or nil; arguments as of all.
function methods.first(self, ...)
  local st, sel = read(self, "first", ...)
  return query_run.fetch_first(st, sel)
end

-- ---- groups ---------------------------------------------------------------------------------

local function as_list(what, value)
  if type(value) == "string" or table_columns.column_of(value) or core.is_sql(value) then return { value } end
  if type(value) ~= "table" then errors.argument("groupby: a list of %s expected, got %s", what, type(value)) end
  if lists.length("groupby: " .. what, value) == 0 then errors.argument("groupby: the list of %s is empty", what) end
  return value
end

local function insert_group(groups, row, nkeys, naggs)
  local at = groups
  for i = 1, nkeys - 1 do
    local key = query.key_of(row[i])
    at[key] = at[key] or {}
    at = at[key]
  end
  local value = row[nkeys + 1]
  if naggs > 1 then
    value = {}
    for i = 1, naggs do value[i] = row[nkeys + i] end
  end
  at[query.key_of(row[nkeys])] = value
end

local function grouped(list, ncolumns, naggregates)
  local groups = {}
  for _, row in ipairs(list) do insert_group(groups, row, ncolumns, naggregates) end
  return groups
end

--- Aggregates by group: { group -> value or list of values }, nested for several columns.  NULL is
--- fastpg.null, as a group and as an aggregate: no group gets lost.
---@param columns string|string[]  names (checked)
---@param aggregates string|string[]  SQL: "count(*)", "sum(total)"
function methods.groupby(self, columns, aggregates, ...)
  local st = check_self(self, "groupby")
  columns = as_list("columns", columns)
  selection.read_columns("groupby", 1, columns) -- checks them
  aggregates = as_list("aggregates", aggregates)
  local sel = selection.read(st, "groupby", selection.COUNT_OPTIONS, select("#", ...), ...)
  for _, aggregate in ipairs(aggregates) do
    if not selection.is_fragment(aggregate) then errors.argument("groupby: an aggregate is SQL text, got %s", type(aggregate)) end
  end
  local w = select_sql.statement(st, function(w) select_sql.write_groups(w, st, sel, columns, aggregates) end)
  local sql, args, n = w:finish()
  if sel.debug then print(sql) end
  local list = table_state.run_list(st, sql, fetch.arrays, nil, args, n, w.uses)
  if list == PENDING then return recorder.after(grouped, #columns, #aggregates) end
  return grouped(list, #columns, #aggregates)
end

-- ---- filters --------------------------------------------------------------------------------

--- t:xtra{ col = value }: filters this Table from here on; t:xtra() takes them away.
function methods.xtra(self, ...)
  local st = check_self(self, "xtra")
  local root = st.db.root
  if st.db == root and not st.scope and root.config and wait.under_loop(root.config.loop) then
    errors.raise("shared_handle", ("xtra: %s is the same Table for every coroutine, and others would get this filter: use scope, "
      .. "which gives a Table of its own"):format(st.name))
  end
  local n = select("#", ...)
  table_state.set_xtra(st, n > 0 and filters.read("xtra", n, ...) or nil)
  return self
end

--- t:scope{ col = value }: a new Table with filters that nothing takes away.
function methods.scope(self, ...)
  local st = check_self(self, "scope")
  return Table.new(table_state.scoped(st, filters.read("scope", select("#", ...), ...)))
end

-- ---- the whole table ------------------------------------------------------------------------

local KINDS = { v = "VIEW", m = "MATERIALIZED VIEW", f = "FOREIGN TABLE" }

local DROP_OPTIONS = options.declare("t:drop", { cascade = options.boolean })

--- Drops the table; `cascade = true` drops what depends on it too.
function methods.drop(self, opts)
  local st = check_self(self, "drop")
  opts = options.check(opts, DROP_OPTIONS, "drop")
  local rel = table_state.resolve(st)
  if st.filters then errors.argument("drop: not allowed on a filtered Table") end
  table_state.simple(st, ("DROP %s %s%s"):format(KINDS[rel.kind] or "TABLE", rel.qualified, opts.cascade and " CASCADE" or ""))
end

local ANY = surface.ANY
table_state.make_steady(methods, state_of, "selectone", "count", "first", "groupby", "drop")
local most = {
  get = 2, has = 1, all = ANY, selectone = ANY, count = ANY, first = ANY, each = ANY, where = ANY, groupby = ANY, xtra = 2,
  scope = 2, drop = 1,
}
for _, name in ipairs(BY_QUERY) do most[name] = ANY end -- the query's own method looks at them
surface.methods(methods, most, false)

return Table
