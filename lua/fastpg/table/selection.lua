-- SPDX-License-Identifier: MIT
--
-- selection: from what the user says of rows (a fragment, conditions, options) to SQL and arguments.
--
-- A selection is { conds =, select =, order_by =, limit =, offset =, as_cls =, with_pk =, debug = };
-- a condition is { map = } or { text =, args =, n =, names = }.  Tables make one per call, queries
-- carry one and never change it.

local ipairs, next, tostring, type = ipairs, next, tostring, type

local catalog = require "fastpg.table.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local filters = require "fastpg.table.filters"
local lists = require "fastpg.base.lists"
local options = require "fastpg.base.options"
local placeholders = require "fastpg.sql.placeholders"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"
local user_sql = require "fastpg.sql.user_sql"

local selection = {}

local NATURAL = options.whole(0)
local OPTIONS = options.declare("t{…}", {
  where = options.condition, args = options.arguments, order_by = options.columns, limit = NATURAL, offset = NATURAL,
  select = options.columns, with_pk = options.boolean, as_cls = options.boolean, debug = options.boolean,
})
local COUNT_OPTIONS = options.declare("t:count", {
  where = options.condition, args = options.arguments, debug = options.boolean,
})
selection.OPTIONS, selection.COUNT_OPTIONS = OPTIONS, COUNT_OPTIONS

-- ---- conditions -----------------------------------------------------------------------------

--- A condition from a fragment and the arguments behind it.
function selection.fragment_condition(what, text, n, ...)
  if not text:find("%S") then
    errors.argument("%s: the condition is empty; no argument at all means every row", what)
  end
  local first = ...
  if n == 1 and user_sql.is_args(first) then return { text = text, args = first.list, n = first.n } end
  return { text = text, args = { ... }, n = n }
end

--- A condition from a map of columns and values.
function selection.map_condition(what, map)
  if table_columns.column_of(map) then errors.argument("%s: conditions expected, got a column", what) end
  if next(map) == nil then
    errors.argument("%s: the table of conditions is empty (was a value nil?); no argument at all means every row", what)
  end
  return { map = map }
end

--- A condition from the arguments of where, delete_where, count and the like.
function selection.condition(what, n, first, ...)
  if type(first) == "string" then return selection.fragment_condition(what, first, n - 1, ...) end
  if core.table_state(first) == nil and type(first) == "table" then
    if n > 1 then errors.argument("%s: nothing goes behind a table of conditions", what) end
    return selection.map_condition(what, first)
  end
  if first == nil and what == "where" then
    errors.argument("where: a condition expected, got nil; without a where there is none: every row")
  end
  errors.argument("%s: a condition expected (a SQL fragment or a table), got %s", what, first == nil and
    "nil; no argument at all means every row" or type(first))
end

--- Raises unless value is nil or a whole number from 0.
function selection.check_natural(what, name, value)
  if value ~= nil then options.check_value(what, name, NATURAL, value) end
end

-- The option form: `where` is a fragment with `args`, or a map.
local function condition_of_options(what, opts)
  local where, args = opts.where, opts.args
  if where == nil then
    if args ~= nil then errors.argument("%s: args without where", what) end
    return nil
  end
  if type(where) == "table" then
    if args ~= nil then errors.argument("%s: args belong to a where in SQL, not to a table", what) end
    return selection.map_condition(what, where)
  end
  if type(where) ~= "string" then
    errors.argument("%s: where is a SQL fragment or a table, got %s", what, type(where))
  end
  if args ~= nil and type(args) ~= "table" then
    errors.argument("%s: args is a list (or a table of names), got %s", what, type(args))
  end
  if args == nil then args = {} end
  local cond = selection.fragment_condition(what, where, 1, args)
  if cond.args ~= args and cond.args[1] ~= args then return cond end -- fastpg.args
  return { text = where, option_args = args }
end

--- A selection from an options table.
function selection.from_options(st, what, opts, allowed)
  local rel = table_state.resolve(st)
  options.check(opts, allowed or OPTIONS, what, rel.index)
  local cond = condition_of_options(what, opts)
  for _, name in ipairs{ "select", "order_by" } do
    if opts[name] ~= nil then selection.read_columns(name, 1, opts[name]) end
  end
  return {
    conds = cond and { cond } or {}, select = opts.select, order_by = opts.order_by, limit = opts.limit,
    offset = opts.offset, as_cls = opts.as_cls, with_pk = opts.with_pk, debug = opts.debug,
  }
end

--- A selection from the arguments of t(), all, each, selectone, count: nothing, a fragment with its
--- arguments, or options.
function selection.read(st, what, allowed, n, first, ...)
  if n == 0 then return { conds = {} } end
  if type(first) == "string" then
    return { conds = { selection.fragment_condition(what, first, n - 1, ...) } }
  end
  if type(first) ~= "table" then
    errors.argument("%s: a SQL fragment or a table of options expected, got %s", what, first == nil and
      "nil; no argument at all means every row" or type(first))
  end
  if n > 1 then errors.argument("%s: nothing goes behind a table of options", what) end
  return selection.from_options(st, what, first, allowed)
end

-- ---- pieces of SQL --------------------------------------------------------------------------

-- What stands for a column in a list of them.
local function is_item(value)
  return type(value) == "string" or table_columns.column_of(value) ~= nil or core.is_sql(value)
end

local function check_items(what, list)
  local n = lists.length(what, list)
  if n == 0 then errors.argument("%s: the list of columns is empty", what) end
  for i = 1, n do
    if not is_item(list[i]) then
      errors.argument("%s: item %d: the name of a column, a column or fastpg.sql expected, got %s", what, i, type(list[i]))
    end
  end
end

--- Reads the arguments of select and order_by: a fragment, or names one after the other or as a list.  Types are
--- judged here, names when the query runs.
function selection.read_columns(what, n, first, ...)
  if type(first) == "string" and n == 1 and not first:find "%S" then
    errors.argument("%s: the text is empty: names of columns or a SQL fragment expected", what)
  end
  if n <= 1 and is_item(first) then return first end
  if n > 1 then
    local list = { first, ... }
    for i = 1, n do
      if list[i] == nil then errors.argument("%s: argument %d is nil", what, i) end
    end
    check_items(what, list)
    return list
  end
  if type(first) ~= "table" then
    errors.argument("%s: names of columns or a SQL fragment expected, got %s", what, n == 0 and "nothing" or type(first))
  end
  check_items(what, first)
  local copy = {}
  for i, item in ipairs(first) do copy[i] = item end
  return copy
end

local function sql_text(st, what, value)
  local text = tostring(value)
  if st.filters then filters.check_fragment(what, text) end
  return text
end

local function unknown_item(rel, what, name)
  local word = name:lower()
  if word == "asc" or word == "desc" or word:find("^nulls%s") then
    errors.raise("undefined_column", ('%s: %s has no column "%s"; a direction stands behind its name: "name %s"')
      :format(what, rel.ref, name, word))
  end
  if name:find("[^%w_%s]") then
    errors.raise("undefined_column", ("%s: %s has no column %s (SQL among names is fastpg.sql)")
      :format(what, rel.ref, core.quote_ident(name)))
  end
  catalog.unknown_column(rel, name, what)
end

-- A name, and the order that may follow it ("name desc nulls last") where the whole is no column.
local function split_order(rel, text)
  local name, order = text, ""
  local head, word = name:match("^(.-)%s+[Nn][Uu][Ll][Ll][Ss]%s+(%a+)%s*$")
  word = word and word:upper()
  if not rel.index[name] and (word == "FIRST" or word == "LAST") then name, order = head, " NULLS " .. word end
  head, word = name:match("^(.-)%s+(%a+)%s*$")
  word = word and word:upper()
  if not rel.index[name] and (word == "ASC" or word == "DESC") then name, order = head, " " .. word .. order end
  if rel.index[name] then return name, order end
  return text, ""
end

local function item_sql(st, rel, what, value)
  if core.is_sql(value) then return sql_text(st, what, value) end
  local name, order = table_columns.column_name(st, value, what), ""
  if what == "order_by" then name, order = split_order(rel, name) end
  if not rel.index[name] then unknown_item(rel, what, name) end
  return core.quote_ident(name) .. order
end

local function columns_sql(st, rel, what, value)
  if value == nil then return nil end
  if type(value) == "string" or core.is_sql(value) then return sql_text(st, what, value) end
  if table_columns.column_of(value) then return item_sql(st, rel, what, value) end
  check_items(what, value)
  local parts = {}
  for i, item in ipairs(value) do parts[i] = item_sql(st, rel, what, item) end
  return table.concat(parts, ", ")
end

--- What is selected as SQL, nil where that is everything.
---@param what string?  who is blamed for a name that is no column's: select
function selection.select_list(st, rel, value, what) return columns_sql(st, rel, what or "select", value) end
function selection.order_list(st, rel, value) return columns_sql(st, rel, "order_by", value) end

--- Whether what is selected is SQL of the user's, which may be DISTINCT or aggregate.
function selection.is_fragment(value)
  return type(value) == "string" or core.is_sql(value)
end

--- Whether it begins with DISTINCT.
function selection.is_distinct(st, value)
  if type(value) == "table" and not table_columns.column_of(value) then value = value[1] end
  if not selection.is_fragment(value) then return false end
  local first = core.statements("SELECT " .. tostring(value), table_state.standard_strings(st))[1]
  return first ~= nil and first.words[2] == "DISTINCT"
end

local function check_count(given, npos)
  if given == npos then return end
  errors.argument("where: too %s arguments: the fragment takes %d, got %d", given < npos and "few" or "many", npos, given)
end

-- Appends a fragment's arguments; its placeholders are numbered behind those that are there.
local function fragment_text(st, cond, args, n)
  if st.filters then filters.check_fragment("where", cond.text) end
  local text, npos, names = core.convert(cond.text, n, table_state.standard_strings(st))
  local list, given = cond.args, cond.n
  if cond.option_args then
    list, given = user_sql.option_list(cond.option_args, names)
  elseif names then
    if given == 0 or type(list[given]) ~= "table" then
      errors.argument("where: the fragment has named placeholders (:%s): the last argument is the table of names", names[1])
    end
    given = given - 1
  end
  check_count(given, npos)
  for i = 1, npos do args[n + i] = list[i] end
  n = n + npos
  if names then n = placeholders.append(args, n, names, cond.option_args or list[given + 1]) end
  return text, n
end

--- WHERE text (nil for every row) and the number of arguments, after n that are there already.
function selection.where(st, conds, args, n)
  local rel = table_state.resolve(st)
  local parts = {}
  for _, cond in ipairs(conds) do
    local text
    if cond.map then
      text, n = table_state.conditions(st, args, n, cond.map)
    else
      text, n = fragment_text(st, cond, args, n)
      if st.filters or #conds > 1 then text = "(" .. text .. ")" end
    end
    parts[#parts + 1] = text
  end
  if st.filters then
    parts[#parts + 1], n = table_state.filter_conditions(st, rel, args, n)
  end
  if #parts == 0 then return nil, n end
  return table.concat(parts, " AND "), n
end

-- ---- whole statements -----------------------------------------------------------------------

--- The SELECT of a selection.
---@param overrides? { select: string?, limit: integer?, lock: string?, unordered: boolean? }
---@return string sql, table args, integer n
function selection.sql(st, sel, overrides)
  local rel = table_state.resolve(st)
  overrides = overrides or {}
  local args = {}
  local where, n = selection.where(st, sel.conds, args, 0)
  local order = not overrides.unordered and selection.order_list(st, rel, sel.order_by) or nil
  local columns = overrides.select or selection.select_list(st, rel, sel.select)
  local limit, offset = overrides.limit or sel.limit, nil
  if sel.offset and sel.offset > 0 then
    n = n + 1
    args[n] = sel.offset
    offset = "$" .. n
  end
  local sql = rel.core:select(columns, where, order, limit, offset, overrides.lock)
  if sel.debug then print(sql) end
  return sql, args, n
end

return selection
