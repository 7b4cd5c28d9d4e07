-- SPDX-License-Identifier: MIT
--
-- query: what `artist:where(…)` gives, and the running of selections.
--
-- A query is immutable: each method gives a new one.  Calling it runs it.

local getmetatable, ipairs, pairs, select, setmetatable, tostring, type =
  getmetatable, ipairs, pairs, select, setmetatable, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local rows = require "fastpg.value.rows"
local selection = require "fastpg.table.selection"
local surface = require "fastpg.base.surface"
local table_state = require "fastpg.table.table_state"

local query = {}

-- ---- running selections ---------------------------------------------------------------------

--- What fetched rows become: the table's class unless as_cls = false.
local function target_of(st, sel)
  if sel.as_cls == false then return st.db.row_target end
  return sel.select == nil and st.link or st.plain
end
query.target_of = target_of

-- The key's columns behind what was selected, under names that no column of the table has.
local function with_key_columns(rel, columns)
  if #rel.pks == 0 then errors.argument("with_pk: %s has no primary key", rel.ref) end
  local parts, names = { columns or "*" }, {}
  for i, pk in ipairs(rel.pks) do
    local name = "fastpg_pk_" .. i
    while rel.index[name] do name = name .. "_" end
    names[i] = name
    parts[#parts + 1] = ("%s.%s AS %s"):format(rel.qualified, core.quote_ident(pk), core.quote_ident(name))
  end
  return table.concat(parts, ", "), names
end

--- The shape of rows without their last columns, which are for fastpg itself; kept beside the statement's own.
function query.shape_without_last(shape, count)
  if shape.trimmed then return shape.trimmed end
  local trimmed = { columns = {}, types = {}, index = {}, typemap = shape.typemap }
  for i = 1, #shape.columns - count do
    trimmed.columns[i], trimmed.types[i] = shape.columns[i], shape.types[i]
    trimmed.index[shape.columns[i]] = i
  end
  shape.trimmed = trimmed
  return trimmed
end

local function fetch_pairs(conn, st, target)
  local shape = st:shape()
  if shape.duplicates and conn.duplicates ~= "last" then rows.refuse_duplicates(shape) end
  local key_names = target.key_names
  local nkeys = #key_names
  local mt = rows.of(query.shape_without_last(shape, nkeys), target.to.origin, target.to.class, target.to.class_name)
  local list = conn.c:fetch_rows(st, {}, nil, {})
  for i, row in ipairs(list) do
    setmetatable(row, nil)
    local key = {}
    for k = 1, nkeys do
      local name = key_names[k]
      key[k], row[name] = row[name], nil
    end
    list[i] = { nkeys == 1 and key[1] or key, setmetatable(row, mt) }
  end
  return setmetatable(list, nil)
end

fetch.keyed[fetch_pairs] = true

--- All rows of a selection.
function query.fetch_all(st, sel)
  if not sel.with_pk then
    local sql, args, n = selection.sql(st, sel)
    return table_state.run_list(st, sql, fetch.rows, target_of(st, sel), args, n)
  end
  local rel = table_state.resolve(st)
  if selection.is_distinct(st, sel.select) then
    errors.argument("with_pk: rows that are DISTINCT have no key of their own: leave with_pk or distinct away")
  end
  local columns, key_names = with_key_columns(rel, selection.select_list(st, rel, sel.select))
  local sql, args, n = selection.sql(st, sel, { select = columns })
  return table_state.run_list(st, sql, fetch_pairs, { to = target_of(st, sel), key_names = key_names }, args, n)
end

local function refuse_pairs(sel, what)
  if sel.with_pk then errors.argument("%s: with_pk belongs to t{…} and all{…}", what) end
end

--- The first row, or nil.
function query.fetch_first(st, sel)
  refuse_pairs(sel, "first")
  local sql, args, n = selection.sql(st, sel, { limit = sel.limit == 0 and 0 or 1 })
  return table_state.run_list(st, sql, fetch.first, target_of(st, sel), args, n)
end

--- Exactly one row.
function query.fetch_one(st, sel)
  refuse_pairs(sel, "selectone")
  local limit = math.min(sel.limit or 2, 2)
  local sql, args, n = selection.sql(st, sel, { limit = limit })
  local to = target_of(st, sel)
  local name = table_state.resolve(st).name
  local target = {
    origin = to.origin, class = to.class, class_name = to.class_name, missing = name .. ": no such row", many = "several",
  }
  return table_state.run_list(st, sql, fetch.one, target, args, n)
end

--- How many rows fetch_all would give.
function query.count(st, sel)
  local sql, args, n
  local fragment = selection.is_fragment(sel.select) -- "distinct name"
  if sel.limit or sel.offset or fragment then
    sql, args, n = selection.sql(st, sel, not fragment and { select = "1" } or nil)
    sql = "SELECT count(*) FROM (" .. sql .. ") AS counted"
  else
    sql, args, n = selection.sql(st, sel, { select = "count(*)", unordered = true })
  end
  return table_state.run_list(st, sql, fetch.item, nil, args, n)
end

local function open_stream(st, sel)
  return table_state.open_stream(st, function()
    local sql, args, n = selection.sql(st, sel)
    return target_of(st, sel), sql, args, n
  end)
end

function query.each(st, sel, fn)
  refuse_pairs(sel, "each")
  if fn ~= nil and type(fn) ~= "function" then errors.argument("each: a function expected, got %s", type(fn)) end
  return st.db:iterate(fn, function() return table_state.steady(st, open_stream, st, sel) end)
end

-- ---- the object -----------------------------------------------------------------------------

local Query = { __name = "fastpg.query" }
local methods = {}

-- The state of its Table, for the connection that statements run on now.
local function state(self) return table_state.current(self.state) end

function query.new(st)
  return setmetatable({ state = st.base or st, sel = { conds = {} } }, Query)
end

local function with(self, field, value)
  local sel = {}
  for k, v in pairs(self.sel) do sel[k] = v end
  sel[field] = value
  return setmetatable({ state = self.state, sel = sel }, Query)
end

-- What the caller may change later: lists and maps of the plain kind.
local function copy_of(value)
  if type(value) ~= "table" or getmetatable(value) ~= nil then return value end
  local copy = {}
  for k, v in pairs(value) do copy[k] = copy_of(v) end
  return copy
end

--- One more condition (and): a fragment with its arguments, or a table.
function methods.where(self, ...)
  local n = select("#", ...)
  if n == 0 then errors.argument("where: a condition expected, got nothing; without a where there is none: every row") end
  local conds = {}
  for i, cond in ipairs(self.sel.conds) do conds[i] = cond end
  local cond = selection.condition("where", n, ...)
  if cond.map then cond.map = copy_of(cond.map) end
  conds[#conds + 1] = cond
  return with(self, "conds", conds)
end

--- select: names of columns (checked), one after the other or as a list, or a fragment; order_by: the same
--- ("name desc nulls last").
for _, name in ipairs{ "select", "order_by" } do
  methods[name] = function(self, ...)
    return with(self, name, selection.read_columns(name, select("#", ...), ...))
  end
end

for _, name in ipairs{ "limit", "offset" } do
  methods[name] = function(self, n)
    if n == nil then errors.argument("%s: a whole number from 0 expected, got nil", name) end
    selection.check_natural(name, name, n)
    return with(self, name, n)
  end
end

function methods.first(self) return query.fetch_first(state(self), self.sel) end
function methods.one(self) return query.fetch_one(state(self), self.sel) end
function methods.all(self) return query.fetch_all(state(self), self.sel) end
function methods.count(self) return query.count(state(self), self.sel) end
function methods.each(self, fn) return query.each(state(self), self.sel, fn) end

local function exists_sql(self, st)
  local sql, args, n = selection.sql(st, self.sel, { select = "1", unordered = true })
  return "SELECT EXISTS (" .. sql .. ")", args, n
end

--- Whether there is such a row.
function methods.exists(self)
  local st = state(self)
  local sql, args, n = exists_sql(self, st)
  return table_state.run_list(st, sql, fetch.item, nil, args, n)
end

-- WHERE of a statement that changes rows: with limit, offset or order by way of the key.
local function change_where(self, st, args, n)
  local sel = self.sel
  if sel.select ~= nil then errors.argument("select does not go with update or delete") end
  if not (sel.limit or sel.offset) then return selection.where(st, sel.conds, args, n) end
  local rel = table_state.resolve(st)
  if #rel.pks == 0 then errors.argument("limit with update or delete needs a primary key, which %s lacks", rel.ref) end
  local where
  where, n = selection.where(st, sel.conds, args, n)
  local columns = {}
  for i, name in ipairs(rel.pks) do columns[i] = core.quote_ident(name) end
  local key = table.concat(columns, ", ")
  local limit, offset
  if sel.limit then
    n = n + 1
    args[n], limit = sel.limit, "$" .. n
  end
  if sel.offset then
    n = n + 1
    args[n], offset = sel.offset, "$" .. n
  end
  local inner = rel.core:select(key, where, selection.order_list(st, rel, sel.order_by), limit, offset)
  local outer = ("(%s) IN (%s)"):format(key, inner)
  if st.filters then -- also here: a row that another session just moved out of reach is left alone
    local more
    more, n = table_state.filter_conditions(st, rel, args, n)
    outer = outer .. " AND " .. more
  end
  return outer, n
end

--- Changes all rows of the query: the list of rows as they are now.
function methods.update(self, record)
  local st = state(self)
  if type(record) ~= "table" then errors.argument("update: a table of values expected, got %s", type(record)) end
  local args = {}
  local set, n = table_state.assignments(st, args, record)
  if set == "" then errors.argument("update: no column to set") end
  local where
  where, n = change_where(self, st, args, n)
  local rel = table_state.resolve(st)
  local sql = ("UPDATE %s SET %s%s RETURNING *"):format(rel.qualified, set, where and " WHERE " .. where or "")
  return table_state.run_list(st, sql, fetch.rows, target_of(st, self.sel), args, n)
end

--- Deletes all rows of the query: the list of what was there.
function methods.delete(self)
  local st = state(self)
  local args = {}
  local where, n = change_where(self, st, args, 0)
  return table_state.run_list(st, table_state.resolve(st).core:delete(where), fetch.rows, target_of(st, self.sel), args, n)
end

--- The server's plan, as text.
function methods.explain(self)
  local st, lines = state(self), {}
  local sql, args, n = selection.sql(st, self.sel)
  for i, row in ipairs(table_state.run_list(st, "EXPLAIN " .. sql, fetch.arrays, nil, args, n)) do lines[i] = row[1] end
  return table.concat(lines, "\n")
end

table_state.make_steady(methods, function(self) return getmetatable(self) == Query and self.state or nil end,
  "first", "one", "all", "count", "exists", "update", "delete", "explain")
surface.methods(methods, {
  where = surface.ANY, select = surface.ANY, order_by = surface.ANY, limit = 1, offset = 1, first = 0, one = 0, all = 0, count = 0,
  each = 1, exists = 0, update = 1, delete = 0, explain = 0,
}, Query, "a query", "q")
Query.__index = surface.names(methods, "a query")
Query.__call = methods.all
Query.__newindex = function(_, key)
  errors.argument("a query can't be assigned to (%s): its methods give a new one", tostring(key))
end
Query.__tostring = function(self) return selection.shown(state(self), self.sel) end

return query
