-- SPDX-License-Identifier: MIT
--
-- query_run: runs selections: for what `artist{ … }` and queries (fastpg.table.query) give.

local ipairs, setmetatable, type = ipairs, setmetatable, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local later = require "fastpg.base.later"
local select_sql = require "fastpg.table.select_sql"
local selection = require "fastpg.table.selection"
local table_state = require "fastpg.table.table_state"

local related = later.module(function() return require "fastpg.table.related" end)

local query_run = {}

local target_of = select_sql.target_of

-- ---- running selections ---------------------------------------------------------------------

-- The key's columns behind what was selected, under names that no column of the table has.
local function key_columns(rel)
  if #rel.pks == 0 then errors.argument("with_pk: %s has no primary key", rel.ref) end
  local parts, names = {}, {}
  for i, pk in ipairs(rel.pks) do
    local name = "fastpg_pk_" .. i
    while rel.index[name] do name = name .. "_" end
    names[i] = name
    parts[i] = ("%s.%s AS %s"):format(rel.qualified, core.quote_ident(pk), core.quote_ident(name))
  end
  return table.concat(parts, ", "), names
end

local function fetch_pairs(conn, st, target)
  local list, keys = fetch.apart(conn, st, target)
  for i, row in ipairs(list) do list[i] = { keys[i], row } end
  return setmetatable(list, nil)
end

fetch.keyed[fetch_pairs] = true

-- Puts what belongs to the rows beside them.
local function add_related(st, sel, list, uses)
  if sel.with then related.add(st, list, sel.with, "with", uses and uses.filters or st.filters or nil) end
end

local function refuse_without_table(sel, what)
  if sel.source or sel.group_by ~= nil then
    errors.argument("%s: the rows of this query are not those of a table", what)
  end
end

-- A lock lasts as long as its transaction.
local function check_lock(st, sel)
  if not sel.lock then return end
  local conn = st.db:bound_connection()
  if not (conn and conn.in_transaction) then
    errors.raise("no_active_sql_transaction",
      "for_update: a locked row is yours until the transaction ends, and there is none: use db:transaction")
  end
end

--- Runs the SELECT of a selection.
---@param how function  one of fastpg.pg.fetch
---@param target nil|table|fun(rows: table): table  what rows become; a function makes it of that
---@param over table?  (fastpg.table.select_sql)
---@return any
---@return table? uses  the tables of the statement
function query_run.run(st, sel, how, target, over)
  check_lock(st, sel)
  local sql, args, n, uses = selection.sql(st, sel, over)
  if type(target) == "function" then target = target(target_of(st, sel, uses)) end
  if sel.lock then return table_state.run_list(st, sql, how, target, args, n, uses), uses end
  return table_state.read_list(st, sql, how, target, args, n, uses, sel.on_replica), uses
end

local function rows_alone(target) return target end

--- All rows of a selection.
function query_run.fetch_all(st, sel)
  if sel.with then refuse_without_table(sel, "with") end
  if not sel.with_pk then
    local list, uses = query_run.run(st, sel, fetch.rows, rows_alone)
    add_related(st, sel, list, uses)
    return list
  end
  refuse_without_table(sel, "with_pk")
  if sel.distinct or selection.is_distinct(st, sel.select) then
    errors.argument("with_pk: rows that are DISTINCT have no key of their own: leave with_pk or distinct away")
  end
  local also, key_names = key_columns(table_state.resolve(st))
  local function keyed(target) return { to = target, hidden = key_names } end
  local list, uses = query_run.run(st, sel, fetch_pairs, keyed, { also = also })
  if sel.with then
    local plain = {}
    for i, pair in ipairs(list) do plain[i] = pair[2] end
    add_related(st, sel, plain, uses)
  end
  return list
end

local function refuse_pairs(sel, what)
  if sel.with_pk then errors.argument("%s: with_pk belongs to t{…} and all{…}", what) end
end

--- The first row, or nil.
function query_run.fetch_first(st, sel)
  refuse_pairs(sel, "first")
  local row, uses = query_run.run(st, sel, fetch.first, rows_alone, { limit = sel.limit == 0 and 0 or 1 })
  if row ~= nil then add_related(st, sel, { row }, uses) end
  return row
end

--- Exactly one row.
function query_run.fetch_one(st, sel)
  refuse_pairs(sel, "selectone")
  local name = table_state.resolve(st).name
  local function only(target) return { to = target, missing = name .. ": no such row", many = "several" } end
  local row, uses = query_run.run(st, sel, fetch.one, only, { limit = math.min(sel.limit or 2, 2) })
  add_related(st, sel, { row }, uses)
  return row
end

--- Whether what it gives is more, or less, than the rows that its conditions choose.
function query_run.is_composed(sel)
  return sel.limit or sel.offset or sel.distinct or sel.group_by ~= nil or sel.having or sel.source
end

--- The statement `before … after` around the SELECT.
function query_run.around(st, sel, before, after, over)
  local w = select_sql.statement(st, function(w)
    w:put(before)
    select_sql.write(w, st, sel, over or {})
    w:put(after)
  end)
  local sql, args, n = w:finish()
  if sel.debug then print(sql) end
  return sql, args, n, w.uses
end

--- How many rows fetch_all would give.
function query_run.count(st, sel)
  local sql, args, n, uses
  local given = selection.is_fragment(sel.select) -- "distinct name"
  if query_run.is_composed(sel) or given then
    local all = given or sel.distinct or sel.group_by ~= nil or sel.source
    sql, args, n, uses = query_run.around(st, sel, "SELECT count(*) FROM (", ") AS counted", not all and { select = "1" } or nil)
  else
    sql, args, n, uses = selection.sql(st, sel, { select = "count(*)", unordered = true })
  end
  return table_state.read_list(st, sql, fetch.item, nil, args, n, uses, sel.on_replica)
end

local function open_stream(st, sel)
  check_lock(st, sel)
  return table_state.open_stream(st, function()
    local sql, args, n, uses = selection.sql(st, sel)
    return target_of(st, sel, uses), sql, args, n, uses
  end, sel.on_replica)
end

function query_run.each(st, sel, fn)
  refuse_pairs(sel, "each")
  if sel.with then
    errors.argument("each: related rows are read for all rows at once: fastpg.load(rows, …) reads them for some")
  end
  if fn ~= nil and type(fn) ~= "function" then errors.argument("each: a function expected, got %s", type(fn)) end
  return st.db:iterate(fn, function() return table_state.steady(st, open_stream, st, sel) end)
end

return query_run
