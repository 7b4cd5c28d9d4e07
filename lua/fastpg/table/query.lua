-- SPDX-License-Identifier: MIT
--
-- query: what `artist:where(…)` gives.
--
-- A query is immutable: each method gives a new one.  Calling it runs it (fastpg.table.query_run).  Other files add what
-- changes rows (fastpg.table.query_write) and pages (fastpg.table.page).

local getmetatable, ipairs, next, pairs, select, setmetatable, tostring, type =
  getmetatable, ipairs, next, pairs, select, setmetatable, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local operation = require "fastpg.sql.operation"
local options = require "fastpg.base.options"
local query_run = require "fastpg.table.query_run"
local recorder = require "fastpg.table.recorder"
local related_options = require "fastpg.table.related_options"
local select_sql = require "fastpg.table.select_sql"
local selection = require "fastpg.table.selection"
local surface = require "fastpg.base.surface"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"
local writer = require "fastpg.sql.writer"

local query = {}

local PENDING = recorder.PENDING

-- ---- the object -----------------------------------------------------------------------------

local Query = { __name = "fastpg.query", __fastpg_sql = true }
local methods = {}

-- The state of its Table, for the connection that statements run on now.
local function state(self) return table_state.current(self.state) end
query.state = state

function query.new(st, sel)
  return setmetatable({ state = st.base or st, sel = sel or { conds = {} } }, Query)
end

--- The value when it is a query, else nil.
function query.of(value) return type(value) == "table" and getmetatable(value) == Query and value or nil end

local function with(self, field, value)
  local sel = {}
  for k, v in pairs(self.sel) do sel[k] = v end
  sel[field] = value
  return setmetatable({ state = self.state, sel = sel }, Query)
end
query.with = with

-- The list of a field, and one more.
local function with_more(self, field, item)
  local list = {}
  for i, known in ipairs(self.sel[field] or {}) do list[i] = known end
  list[#list + 1] = item
  return with(self, field, list)
end

local function condition(what, n, ...)
  local cond = selection.condition(what, n, ...)
  if cond.is_plain then cond.map = operation.copy_of(cond.map) end
  return cond
end

--- One more condition (and): a fragment with its arguments, fastpg.sql, fastpg.any, fastpg.none or a table.
function methods.where(self, ...)
  local n = select("#", ...)
  if n == 0 then errors.argument("where: a condition expected, got nothing; without a where there is none: every row") end
  return with_more(self, "conds", condition("where", n, ...))
end

--- A condition on groups; as where.
function methods.having(self, ...)
  local n = select("#", ...)
  if n == 0 then errors.argument("having: a condition expected, got nothing") end
  return with_more(self, "having", condition("having", n, ...))
end

--- select, group_by: names of columns (checked), one after the other or as a list, or a fragment; in select also
--- under another name, { title = "album.title" }; order_by: the same with "name desc nulls last".
for _, name in ipairs{ "select", "order_by", "group_by" } do
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

--- Rows that are equal once.
function methods.distinct(self) return with(self, "distinct", true) end

--- Related rows beside each row (fastpg.table.related_options).
function methods.with(self, given)
  return with(self, "with", related_options.read("with", given))
end

--- Read from a replica, where there are some (fastpg.pool.reading).
function methods.on_replica(self) return with(self, "on_replica", true) end

local LOCK_OPTIONS = options.declare("q:for_update", { skip_locked = options.boolean, nowait = options.boolean })

--- Locks the rows of the first table until the transaction ends.
---@param opts { skip_locked: boolean?, nowait: boolean? }?
function methods.for_update(self, opts)
  opts = options.check(opts, LOCK_OPTIONS, "for_update")
  if opts.skip_locked and opts.nowait then errors.argument("for_update: skip_locked and nowait contradict each other") end
  return with(self, "lock", { skip_locked = opts.skip_locked, nowait = opts.nowait })
end

-- ---- other tables ---------------------------------------------------------------------------

local ON = {
  wanted = 'the key\'s column, "column" or "table.column", or fastpg.sql',
  test = function(value) return type(value) == "string" and value ~= "" or core.is_sql(value) end,
}
local JOIN_OPTIONS = options.declare("q:join", { on = ON, as = options.name })
local EXISTS_OPTIONS = options.declare("q:where_exists", { on = ON, as = options.name })

-- The columns that a query gives, as a set; nil where only the server knows them.
local function columns_of(q)
  local sel = q.sel
  if sel.source then return sel.select == nil and sel.source.columns and sel.source.columns() or nil end
  local set = {}
  if sel.select == nil then
    for name, column in pairs(table_state.resolve(state(q)).index) do set[name] = column end
    return set
  end
  if type(sel.select) ~= "table" or table_columns.column_of(sel.select) then return nil end
  for _, item in ipairs(sel.select) do
    if type(item) ~= "string" then return nil end
    set[item:match("([^.]+)$") or item] = {}
    set[item] = set[item] or {}
  end
  for name in next, sel.select.aliases or {} do set[name] = {} end
  return set
end

--- The names of a query's columns in their order, nil where only the server knows them.
---@return string[]?
function query.column_names(q)
  local sel = q.sel
  if sel.source then
    local inner = sel.source.query or sel.source.parts[1]
    if sel.select == nil then return query.column_names(inner) end
  end
  if sel.select == nil then
    local list = {}
    for i, column in ipairs(table_state.resolve(state(q)).columns) do list[i] = column.name end
    return list
  end
  if type(sel.select) ~= "table" or table_columns.column_of(sel.select) then return nil end
  local list, names = {}, {}
  for i, item in ipairs(sel.select) do
    local column = table_columns.column_of(item)
    if core.is_sql(item) then return nil end
    list[i] = column and column.name or item:match("([^.]+)$")
  end
  for name in next, sel.select.aliases or {} do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do list[#list + 1] = name end
  return list
end

-- What a join is with: a name, a Table, or a query that has a name (fastpg.from).
local function read_table(what, other, opts)
  local join = { on = opts.on, as = opts.as }
  local st = core.table_state(other)
  if st then
    join.st = st
  elseif type(other) == "string" and other ~= "" then
    join.table = other
  elseif query.of(other) and other.sel.source and other.sel.source.query then
    join.query, join.as = other.sel.source.query, opts.as or other.sel.source.name
    join.columns = other.sel.source.columns
  else
    errors.argument("%s: the name of a table, a Table or fastpg.from(…) expected, got %s", what,
      other == nil and "nil" or type(other))
  end
  return join
end

for name, kind in pairs{ join = "JOIN", left_join = "LEFT JOIN" } do
  methods[name] = function(self, other, opts)
    local join = read_table(name, other, options.check(opts, JOIN_OPTIONS, name))
    join.kind = kind
    return with_more(self, "joins", join)
  end
end

-- A text takes what stands behind it as its arguments; behind another condition there may be options.
local function read_exists(what, other, n, first, ...)
  local opts, cond
  if n > 0 and type(first) ~= "string" then
    if n > 2 then errors.argument("%s: a condition and options expected, got %d arguments", what, n + 1) end
    cond, opts = condition(what, 1, first), ...
  elseif n > 0 then
    cond = condition(what, n, first, ...)
  end
  local join = read_table(what, other, options.check(opts, EXISTS_OPTIONS, what))
  return { exists = join, conds = { cond }, negated = what == "where_missing" }
end

--- Rows that have such rows of another table, which a foreign key joins to them; where_missing: that have none.
---@param other any  a name or a Table
---@param ... any  a condition on the other table: SQL and its arguments; or fastpg.sql or a table, and options { on =, as = }
for _, name in ipairs{ "where_exists", "where_missing" } do
  methods[name] = function(self, other, ...)
    return with_more(self, "conds", read_exists(name, other, select("#", ...), ...))
  end
end

-- A query, or a Table, which is one of all its rows; nil for any other value.
local function as_query(value)
  local st = core.table_state(value)
  return st and query.new(st) or query.of(value)
end

local function check_query(what, value)
  return as_query(value) or errors.argument("%s: a query or a Table expected, got %s", what, value == nil and "nil" or type(value))
end
query.check = check_query

--- WITH name AS (query): the name can be joined, and stands for a table in fragments.
---@param name string
---@param other table  a query, a Table, or fastpg.sql with a SELECT
function methods.cte(self, name, other)
  if type(name) ~= "string" or name == "" then errors.argument("cte: a name expected, got %s", type(name)) end
  local columns
  other = as_query(other) or other
  if query.of(other) then columns = function() return columns_of(other) end
  elseif not core.is_sql(other) then errors.argument("cte: a query, a Table or fastpg.sql expected, got %s", type(other)) end
  for _, cte in ipairs(self.sel.ctes or {}) do
    if cte.name == name then errors.argument("cte: there are two of the name %s", core.quote_ident(name)) end
  end
  return with_more(self, "ctes", { name = name, query = other, columns = columns })
end

local function united(self, other, word, what)
  other = check_query(what, other)
  local parts = { self, word, other }
  local source = self.sel.source
  if source and source.parts and source.parts[2] == word and next(self.sel, next(self.sel)) == nil then
    parts = {}
    for i, part in ipairs(source.parts) do parts[i] = part end
    parts[#parts + 1], parts[#parts + 2] = word, other
  end
  return query.new(self.state, { conds = {}, source = { parts = parts, columns = function() return columns_of(self) end },
    as_cls = self.sel.as_cls })
end

--- The rows of both queries, equal ones once (union), or all of them.  What comes behind it is of the whole.
function methods.union(self, other) return united(self, other, "UNION", "union") end
function methods.union_all(self, other) return united(self, other, "UNION ALL", "union_all") end

--- fastpg.from: a query whose rows are those of another one, under a name.
---@param q table|userdata  a query or a Table
---@param name string
function query.from(q, name)
  q = check_query("fastpg.from", q)
  if type(name) ~= "string" or name == "" then
    errors.argument("fastpg.from: a name for the query expected, got %s", name == nil and "nil" or type(name))
  end
  return query.new(q.state, { conds = {}, source = { query = q, name = name, columns = function() return columns_of(q) end } })
end

-- ---- running --------------------------------------------------------------------------------

function methods.first(self) return query_run.fetch_first(state(self), self.sel) end
function methods.one(self) return query_run.fetch_one(state(self), self.sel) end
function methods.all(self) return query_run.fetch_all(state(self), self.sel) end
function methods.count(self) return query_run.count(state(self), self.sel) end
function methods.each(self, fn) return query_run.each(state(self), self.sel, fn) end

--- Whether there is such a row.
function methods.exists(self)
  local st, sel = state(self), self.sel
  local all = sel.distinct or sel.group_by ~= nil or sel.source
  local over = { select = not all and "1" or nil, unordered = true }
  local sql, args, n, uses = query_run.around(st, sel, "SELECT EXISTS (", ")", over)
  return table_state.read_list(st, sql, fetch.item, nil, args, n, uses, sel.on_replica)
end

--- One value of all rows: an aggregate, q:item("sum(total)").
---@param value any  SQL, fastpg.sql, or a column
function methods.item(self, value)
  if not selection.is_item(value) then
    errors.argument("item: SQL or a column expected, got %s", value == nil and "nil" or type(value))
  end
  local st, sel = state(self), self.sel
  local of = self
  if query_run.is_composed(sel) and not (sel.source and sel.source.query) then of = query.from(self, sel.source and "united"
    or table_state.resolve(st).name) end
  if self.sel.on_replica then of = with(of, "on_replica", true) end
  return query_run.run(st, with(of, "select", value).sel, fetch.item, nil, { unordered = true })
end

-- A column that is a parameter of these is one by its name, or SQL.
local function run_arrays(self, what, n, ...)
  if n == 0 then errors.argument("%s: the name of a column expected, got nothing", what) end
  for i = 1, n do
    local value = select(i, ...)
    if not selection.is_item(value) then
      errors.argument("%s: argument %d: the name of a column, a column or fastpg.sql expected, got %s", what, i,
        value == nil and "nil" or type(value))
    end
  end
  return query_run.run(state(self), with(self, "select", { ... }).sel, fetch.arrays)
end

local function plucked(list, n)
  local values = {}
  for i, row in ipairs(list) do
    if n == 1 then values[i] = row[1] else values[i] = row end
  end
  return values
end

--- The values of a column, NULL as fastpg.null; of several columns a list for each row.
function methods.pluck(self, ...)
  local n = select("#", ...)
  local list = run_arrays(self, "pluck", n, ...)
  if list == PENDING then return recorder.after(plucked, n) end
  return plucked(list, n)
end

local function mapped(list)
  local map = {}
  for _, row in ipairs(list) do
    local k = query.key_of(row[1])
    if map[k] ~= nil then
      errors.raise("not_unique", "map: two rows have the same key: pluck gives them all")
    end
    map[k] = row[2]
  end
  return map
end

--- A table from the values of a column to those of another.
function methods.map(self, key, value)
  local list = run_arrays(self, "map", 2, key, value)
  if list == PENDING then return recorder.after(mapped) end
  return mapped(list)
end

--- A value as the key of a table: value objects by their text, lists and documents by their JSON; NaN can't be a key.
function query.key_of(value)
  if value == core.null then return value end
  if type(value) == "table" then return core.to_json(value) end
  if type(value) == "userdata" then return tostring(value) end
  if value ~= value then return "NaN" end
  return value
end

--- The server's plan, as text.
function methods.explain(self)
  if recorder.count > 0 then recorder.refuse() end
  local st, lines = state(self), {}
  local sql, args, n, uses = selection.sql(st, self.sel)
  for i, row in ipairs(table_state.run_list(st, "EXPLAIN " .. sql, fetch.arrays, nil, args, n, uses)) do lines[i] = row[1] end
  return table.concat(lines, "\n")
end

-- A query in the place of a value or a table is a select in parentheses.
writer.register(Query, function(q, w)
  w:put "("
  select_sql.write_within(w, state(q), q.sel)
  w:put ")"
end)

-- A column likewise, with the name of its table.
writer.register(table_columns.metatable, function(column, w)
  w:put(tostring(column))
end)

--- Adds methods of another file.
---@param more table<string, function>
---@param most table<string, integer>  how many arguments each takes
---@param ... string  those that are made once more where a table turns out to be another one
function query.extend(more, most, ...)
  table_state.make_steady(more, function(self) return query.of(self) and self.state or nil end, ...)
  surface.methods(more, most, Query, "a query", "q")
  for name, method in pairs(more) do methods[name] = method end
end

local own = methods
methods = {}
query.extend(own, {
  where = surface.ANY, having = surface.ANY, select = surface.ANY, order_by = surface.ANY, group_by = surface.ANY, limit = 1,
  offset = 1, distinct = 0, with = 1, on_replica = 0, for_update = 1, join = 2, left_join = 2, where_exists = surface.ANY,
  where_missing = surface.ANY, cte = 2, union = 1, union_all = 1, first = 0, one = 0, all = 0, count = 0, each = 1, exists = 0,
  item = 1, pluck = surface.ANY, map = 2, explain = 0,
}, "first", "one", "all", "count", "exists", "item", "pluck", "map", "explain")
query.methods = methods

Query.__index = surface.names(methods, "a query")
Query.__call = methods.all
Query.__newindex = function(_, key)
  errors.argument("a query can't be assigned to (%s): its methods give a new one", tostring(key))
end
Query.__tostring = function(self) return selection.shown(state(self), self.sel) end

return query
