-- SPDX-License-Identifier: MIT
--
-- returning: what a call that writes gives back: the rows as stored, some of their columns (`returning = { "id" }`), or
-- their number (`returning = false`).
--
-- PostgreSQL manual: "Returning Data from Modified Rows".

local ipairs, next, rawget, setmetatable, type = ipairs, next, rawget, setmetatable, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local filters = require "fastpg.table.filters"
local options = require "fastpg.base.options"
local primary_key = require "fastpg.table.primary_key"
local rows = require "fastpg.value.rows"
local select_sql = require "fastpg.table.select_sql"
local selection = require "fastpg.table.selection"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"
local wait = require "fastpg.host.wait"
local writer = require "fastpg.sql.writer"

local unpack = compat.unpack

local returning = {}

local RETURNING = {
  wanted = "false, names of columns or fastpg.sql",
  test = function(value)
    if value == false then return true end
    return type(value) == "string" and value ~= "" or type(value) == "table" or core.is_sql(value)
  end,
}

--- Declares the options of a call that writes.
---@param what string
---@param types table<string, table>  its other options
function returning.declare(what, types)
  local all = { returning = RETURNING }
  for name, wanted in next, types do all[name] = wanted end
  return options.declare(what, all)
end

--- Checks options; gives them with `returning` as it will be written: nil for all, false, or a list of columns.
function returning.check(given, types, what)
  local opts = options.check(given, types, what)
  if opts.returning == nil or opts.returning == false then return opts end
  local copy = {}
  for name, value in next, opts do copy[name] = value end
  local value = opts.returning
  if type(value) == "string" or core.is_sql(value) or table_columns.column_of(value) then value = { value } end
  copy.returning = selection.read_columns("select", 1, value)
  return copy
end

-- ---- what is noted for a hook on writes (fastpg.table.write_hook) ------------------------------

local NOTED = 1000 -- keys in one go, where others are to have a turn

-- Of rows, or of what was asked for to be their keys: key_at(i) gives that of one.
local function note(st, seen, n, key_at)
  local at = #(seen.keys or {})
  seen.rows = seen.rows + n
  for i = 1, seen.keys and n or 0 do
    seen.keys[at + i] = key_at(i)
    if i % NOTED == 0 then wait.share(st.db.root.config.loop) end
  end
end

-- The key of a whole row, as t[key] takes it.
local function key_of(rel, row)
  if #rel.pks == 1 then return rawget(row, rel.pks[1]) end
  return primary_key.of_row(rel, row)
end

--- Notes rows as they are stored.
---@param list table[]
function returning.note(st, opts, list)
  if not opts or not opts.seen then return end
  local rel = table_state.resolve(st)
  note(st, opts.seen, #list, function(i) return key_of(rel, list[i]) end)
end

local function note_row(st, opts, row)
  if opts.seen and row ~= nil then returning.note(st, opts, { row }) end
end

-- The columns of the key under names of our own; nil where nobody wants to know.
local function hidden_names(rel, opts)
  if not opts.seen or #rel.pks == 0 then return nil end
  local names = {}
  for i = 1, #rel.pks do
    local name = "fastpg_key_" .. i
    while rel.index[name] do name = name .. "_" end
    names[i] = name
  end
  return names
end

local function hidden_columns(rel, names, is_joined)
  local list = {}
  for i, pk in ipairs(rel.pks) do
    local column = core.quote_ident(pk)
    list[i] = ("%s AS %s"):format(is_joined and rel.ref .. "." .. column or column, core.quote_ident(names[i]))
  end
  return table.concat(list, ", ")
end

-- ---- RETURNING ------------------------------------------------------------------------------

-- Rows of a table without columns are empty: they come through a WITH.
local WITH, BARE = "WITH stored AS (", " RETURNING 1) SELECT FROM stored"
local ALL = " RETURNING *"

local function is_bare(st, opts)
  return #table_state.resolve(st).columns == 0 and opts.returning ~= false
end

--- Writes what stands before a statement that gives rows.
function returning.begin(w, st, opts)
  if is_bare(st, opts) then w:put(WITH) end
end

--- Writes RETURNING behind a statement.
---@param is_joined boolean?  other tables stand beside the one that is written
function returning.put(w, st, opts, is_joined)
  local value, rel = opts.returning, table_state.resolve(st)
  local hidden = value ~= nil and hidden_names(rel, opts)
  if value == false then
    if hidden then w:put(" RETURNING " .. hidden_columns(rel, hidden, is_joined)) end
    return
  end
  if is_bare(st, opts) then
    if value ~= nil then errors.argument("returning: %s has no columns", rel.ref) end
    return w:put(BARE)
  end
  w:put " RETURNING "
  if value == nil then return w:put(is_joined and rel.ref .. ".*" or "*") end
  local at = select_sql.open(w, st, {})
  at.is_many = is_joined or false
  select_sql.put_list(w, at, { select = value })
  if hidden then w:put(", " .. hidden_columns(rel, hidden, is_joined)) end
end

--- The text of a builder, which gives all columns, without that.
function returning.bare(st, sql)
  if #table_state.resolve(st).columns == 0 then return sql:sub(#WITH + 1, -#BARE - 1) end
  return sql:sub(1, -#ALL - 1)
end

--- The text of a builder, which gives all columns, with what is asked for instead.
---@param sql string
---@return string sql, integer n
function returning.replace(st, sql, args, n, opts)
  if opts.returning == nil then return sql, n end
  local head = returning.bare(st, sql)
  if opts.returning == false and not opts.seen then return head, n end
  local w = filters.settle(st.filters or nil, function(known)
    local one = writer.new(table_state.standard_strings(st), known and filters.check_fragment or nil, args, n)
    one.inherited, one.is_settled = known, true
    one:put(head)
    returning.put(one, st, opts)
    return one
  end)
  local text, _, count = w:finish()
  return text, count
end

--- What a call that wrote many rows gives, of the rows as stored.
---@param list table[]
function returning.project(st, opts, list)
  local value = opts.returning
  if value == nil then return list end
  if value == false then return #list end
  local shape = { columns = {}, types = {}, index = {} }
  local whole = rows.shape(list)
  if value.aliases then errors.argument("returning: of many rows columns have their own names") end
  for i, item in ipairs(value) do
    local name = table_columns.column_name(st, item, "returning")
    if core.is_sql(item) or not whole.index[name] then
      errors.argument("returning: item %d: the name of a column expected", i)
    end
    shape.columns[i], shape.types[i], shape.index[name] = name, whole.types[whole.index[name]], i
  end
  shape.typemap = whole.typemap
  local mt, projected = rows.metatable(shape, st.plain), {}
  for i, row in ipairs(list) do
    local copy = {}
    for _, name in ipairs(shape.columns) do copy[name] = rawget(row, name) end
    projected[i] = setmetatable(copy, mt)
  end
  return setmetatable(projected, rows.list_of(shape))
end

--- What fetched rows become.
function returning.target(st, opts, uses)
  return table_state.under(opts.returning == nil and st.link or st.plain, uses and uses.filters)
end

-- The number of rows, whose keys are asked for.
local function run_counted(st, sql, args, n, uses, opts)
  if not hidden_names(table_state.resolve(st), opts) then
    local count = table_state.run_list(st, sql, fetch.count, nil, args, n, uses)
    if opts.seen then opts.seen.rows = opts.seen.rows + count end
    return count
  end
  local list = table_state.run_list(st, sql, fetch.arrays, nil, args, n, uses)
  note(st, opts.seen, #list, function(i) return #list[i] > 1 and { unpack(list[i]) } or list[i][1] end)
  return #list
end

-- Rows of which the keys are asked for beside what they are to have.
local function run_apart(st, sql, args, n, uses, opts, names)
  local target = { to = returning.target(st, opts, uses), hidden = names }
  local list, keys = table_state.run_list(st, sql, fetch.apart, target, args, n, uses)
  note(st, opts.seen, #list, function(i) return keys[i] end)
  return list
end

--- Runs a statement of that RETURNING.
---@param one boolean  a row, or nil; else a list
function returning.run(st, sql, args, n, uses, opts, one)
  if opts.returning == false then return run_counted(st, sql, args, n, uses, opts) end
  local names = opts.returning ~= nil and hidden_names(table_state.resolve(st), opts)
  if names then
    local list = run_apart(st, sql, args, n, uses, opts, names)
    if one then return list[1] end
    return list
  end
  local result = table_state.run_list(st, sql, one and fetch.first or fetch.rows, returning.target(st, opts, uses), args, n, uses)
  if one then note_row(st, opts, result) else returning.note(st, opts, result) end
  return result
end

return returning
