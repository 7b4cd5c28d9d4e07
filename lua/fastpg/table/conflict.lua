-- SPDX-License-Identifier: MIT
--
-- conflict: upserts that say what is set, and inserts whose rows a query gives.
--
-- PostgreSQL manual: "INSERT", "ON CONFLICT Clause".

local ipairs, next = ipairs, next

local catalog = require "fastpg.table.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local query = require "fastpg.table.query"
local returning = require "fastpg.table.returning"
local select_sql = require "fastpg.table.select_sql"
local selection = require "fastpg.table.selection"
local table_state = require "fastpg.table.table_state"

local conflict = {}

local quote = core.quote_ident

local function quoted(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = quote(name) end
  return table.concat(list, ", ")
end

-- ---- ON CONFLICT … DO UPDATE SET … WHERE … --------------------------------------------------

local function put_set(w, at, st, set)
  local rel, first = table_state.resolve(st), true
  for name in next, set do
    if not rel.index[name] then at:column(name, "upsert: set") end
    if st.filters and st.filters[name] ~= nil then
      errors.argument("upsert: set: %s is filtered on this Table: it can't be changed", quote(name))
    end
  end
  for _, column in ipairs(rel.columns) do
    local value = set[column.name]
    if value ~= nil then
      w:put((first and "" or ", ") .. quote(column.name) .. " = ")
      w:operand(value, "upsert: set", column.name)
      first = false
    end
  end
end

--- Runs an upsert whose options say what is set where the row is there already, or of which rows.
---@param record table
---@param columns string[]  that conflict
---@param opts { set: table?, where: any, returning: any }
function conflict.upsert(st, record, overrides, columns, opts)
  local set, cond = opts.set, selection.condition_of_options("upsert", { where = opts.where })
  if set ~= nil and next(set) == nil then errors.argument("upsert: set is empty (was a value nil?)") end
  local w = select_sql.statement(st, function(w)
    local sql, n, args = table_state.writing(st, "upsert", w.args, record, overrides, columns, set and "set" or "where")
    w.args, w.n = args, n
    for _, use in ipairs(args[table_state.USES] or {}) do w.uses[#w.uses + 1] = use end
    returning.begin(w, st, opts)
    w:put(sql)
    local at = select_sql.open(w, st, {})
    at.is_many = true -- beside "excluded", whose columns have the same names
    if set then put_set(w, at, st, set) end
    select_sql.put_where(w, at, st, { cond })
    returning.put(w, st, opts)
  end)
  local sql, args, n = w:finish()
  return returning.run(st, sql, args, n, w.uses, opts, true)
end

-- ---- INSERT … SELECT ------------------------------------------------------------------------

-- The columns that are written: those of the query, but for filtered ones, which get the filter's values.
local function columns_of(st, q, opts)
  local rel, list = table_state.resolve(st), opts.columns or query.column_names(q)
  if not list then
    errors.argument("insert_from: the columns of the query are not known, since its select is SQL: say { columns = { … } }")
  end
  for _, name in ipairs(list) do
    if not rel.index[name] then catalog.unknown_column(rel, name, "insert_from") end
  end
  return list
end

--- Inserts the rows that a query gives: the list of rows as stored.
---@param opts { columns: string[]?, returning: any }
---@param q table|userdata  a query or a Table
function conflict.insert_from(st, opts, q)
  q = query.check("insert_from", q)
  local w = select_sql.statement(st, function(w)
    local rel, list = table_state.resolve(st), columns_of(st, q, opts)
    select_sql.open(w, st, {})
    local names, values, filtered = {}, {}, {}
    for _, name in ipairs(list) do
      if not (st.filters and st.filters[name] ~= nil) then
        names[#names + 1], values[#values + 1] = quote(name), "given." .. quote(name)
      end
    end
    for _, column in ipairs(rel.columns) do
      if st.filters and st.filters[column.name] ~= nil then filtered[#filtered + 1] = column end
    end
    returning.begin(w, st, opts)
    w:put(("INSERT INTO %s (%s"):format(rel.qualified, table.concat(names, ", ")))
    for i, column in ipairs(filtered) do w:put(((i > 1 or #names > 0) and ", " or "") .. quote(column.name)) end
    w:put(") SELECT " .. table.concat(values, ", "))
    for i, column in ipairs(filtered) do
      w:put((i > 1 or #names > 0) and ", " or "")
      w:value(st.filters[column.name], column.name)
      w:put("::" .. column.type)
    end
    w:put " FROM "
    w:operand(q, "insert_from")
    w:put(" AS given (" .. quoted(list) .. ")")
    returning.put(w, st, opts)
  end)
  local sql, args, n = w:finish()
  return returning.run(st, sql, args, n, w.uses, opts, false)
end

return conflict
