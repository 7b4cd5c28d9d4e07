-- SPDX-License-Identifier: MIT
--
-- selection: from what the user says of rows (a fragment, conditions, options) to SQL and arguments.
--
-- A selection is { conds =, select =, order_by =, limit =, offset =, as_cls =, with_pk =, debug = };
-- a condition is { map = } or { text =, args =, n =, names = }.  Tables make one per call, queries
-- carry one and never change it.

local ipairs, next, pairs, tostring, type = ipairs, next, pairs, tostring, type

local bounded = require "fastpg.base.bounded"
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
  what = what or rel.name
  options.check(opts, allowed or OPTIONS, what, rel.index)
  local cond = condition_of_options(what, opts)
  local columns, order = opts.select, opts.order_by
  if columns ~= nil then selection.read_columns("select", 1, columns) end
  if order ~= nil then selection.read_columns("order_by", 1, order) end
  local limit, offset = opts.limit, opts.offset
  if cond == nil and columns == nil and order == nil and opts.as_cls == nil and opts.with_pk == nil and opts.debug == nil then
    return { conds = {}, limit = limit, offset = offset }
  end
  return {
    conds = { cond }, select = columns, order_by = order, limit = limit, offset = offset, as_cls = opts.as_cls,
    with_pk = opts.with_pk, debug = opts.debug,
  }
end

--- A selection from the arguments of t(), all, each, selectone, count: nothing, a fragment with its
--- arguments, or options.
---@param what string?  for messages; nil: the name of the table
function selection.read(st, what, allowed, n, first, ...)
  if n == 0 then return { conds = {} } end
  if type(first) == "table" and n == 1 then return selection.from_options(st, what, first, allowed) end
  what = what or table_state.resolve(st).name
  if type(first) == "string" then
    return { conds = { selection.fragment_condition(what, first, n - 1, ...) } }
  end
  if type(first) ~= "table" then
    errors.argument("%s: a SQL fragment or a table of options expected, got %s", what, first == nil and
      "nil; no argument at all means every row" or type(first))
  end
  errors.argument("%s: nothing goes behind a table of options", what)
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

-- Converted fragments, by the number of arguments before them, for standard_conforming_strings on and off.
local MOST_FRAGMENTS = 500
local FEW = 4
local fragments = { [true] = {}, [false] = {} }
for _, by_number in pairs(fragments) do
  for n = 0, FEW do by_number[n] = bounded.new(MOST_FRAGMENTS) end
end

-- What the fragment is behind n arguments: { text =, npos =, names = }.
local function converted(st, fragment, n)
  local standard = table_state.standard_strings(st)
  local cache = fragments[standard][n]
  local known = cache and cache.kept[fragment]
  if known then return known end
  local text, npos, names = core.convert(fragment, n, standard)
  known = { text = text, npos = npos, names = names }
  return cache and cache:keep(fragment, known) or known
end

-- Appends a fragment's arguments; its placeholders are numbered behind those that are there.
local function fragment_text(st, cond, args, n)
  if st.filters then filters.check_fragment("where", cond.text) end
  local known = converted(st, cond.text, n)
  local text, npos, names = known.text, known.npos, known.names
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
  local rel = table_state.resolve(st) -- which finds out what filters there are
  local where, text
  local alone = not (st.filters or conds[2])
  for _, cond in ipairs(conds) do
    if cond.map then
      text, n = table_state.conditions(st, args, n, cond.map)
    else
      text, n = fragment_text(st, cond, args, n)
      if not alone then text = "(" .. text .. ")" end
    end
    where = where and where .. " AND " .. text or text
  end
  if not st.filters then return where, n end
  text, n = table_state.filter_conditions(st, rel, args, n)
  return where and where .. " AND " .. text or text, n
end

-- ---- whole statements -----------------------------------------------------------------------

-- The texts of SELECTs are kept with the state by what they are made of, so that one is built once:
-- { [where] = { [order] = { [columns] = { [form] = text } } } }, false where there is none; the form is what else there is.
local MOST_TEXTS = 500
local LIMITED, FIXED, OFFSET, LOCKED = 1, 2, 8, 16

local function below(map, key)
  local inner = map[key]
  if not inner then
    inner = {}
    map[key] = inner
  end
  return inner
end

local function keep_text(st, where, order, columns, form, text)
  local sql = st.sql
  sql.count = (sql.count or MOST_TEXTS) + 1
  if sql.count > MOST_TEXTS then sql.selects, sql.count = {}, 1 end
  below(below(below(sql.selects, where), order), columns)[form] = text
  return text
end

local function known_text(st, where, order, columns, form)
  local map = table_state.known_sql(st, "selects")
  map = map and map[where]
  map = map and map[order]
  map = map and map[columns]
  return map and map[form]
end

-- Whether it is a limit or an offset, or nil.
local function is_count(value)
  return value == nil or type(value) == "number" and value >= 0 and value <= 2 ^ 53 and value % 1 == 0
end

--- The text of a SELECT that is known, where the options say nothing but a limit, an offset, and an order in SQL: the
--- text, and its arguments.  Nil: the other way is to be taken, which also says what is wrong.
---@param st table  whose relation is known, and has no filters
---@return string? sql
---@return integer? limit
---@return integer? offset
function selection.known(st, opts)
  local limit, offset, order
  for name, value in next, opts do
    if name == "limit" then limit = value
    elseif name == "offset" then offset = value
    elseif name == "order_by" and type(value) == "string" then order = value
    else return nil end
  end
  if not is_count(limit) or offset ~= nil and not is_count(offset) then return nil end
  local selects = st.sql.selects
  local map = selects and selects[false]
  map = map and map[order or false]
  map = map and map[false]
  if not map then return nil end
  if not offset or offset == 0 then
    if limit then return map[LIMITED], limit end
    return map[0]
  end
  if limit then return map[LIMITED + OFFSET], limit, offset end
  return map[OFFSET], offset
end

--- The SELECT of a selection.  Its limit and offset are parameters, so that all of them are one statement; a limit
--- that the call itself makes (one row, at most two) is part of the text, where the planner sees it.
---@param overrides? { select: string?, limit: integer?, lock: string?, unordered: boolean? }
---@return string sql, table args, integer n
function selection.sql(st, sel, overrides)
  local rel, form = table_state.resolve(st), 0
  local args = sel.limit and { sel.limit, sel.offset } or {} -- (of a good size: conditions put theirs in their place)
  local where, n = selection.where(st, sel.conds, args, 0)
  if where then rel = table_state.resolve(st) end -- which a column that was not known had looked up again
  local order, columns, lock, limit, offset
  if overrides then
    columns, limit, lock = overrides.select, overrides.limit, overrides.lock
    if lock then form = LOCKED end
  end
  if sel.order_by ~= nil and not (overrides and overrides.unordered) then order = selection.order_list(st, rel, sel.order_by) end
  if sel.select ~= nil and not columns then columns = selection.select_list(st, rel, sel.select) end
  if limit then
    form = form + FIXED + limit
  elseif sel.limit then
    n, form = n + 1, form + LIMITED
    args[n], limit = sel.limit, "$" .. n
  end
  if sel.offset and sel.offset > 0 then
    n, form = n + 1, form + OFFSET
    args[n], offset = sel.offset, "$" .. n
  end
  if sel.debug then print(selection.shown(st, sel, overrides)) end
  local sql = known_text(st, where or false, order or false, columns or false, form)
  if sql then return sql, args, n end
  sql = rel.core:select(columns, where, order, limit, offset, lock)
  return keep_text(st, where or false, order or false, columns or false, form, sql), args, n
end

--- The same to be read by people: the limit stands in it as the number that it is.
---@return string
function selection.shown(st, sel, overrides)
  local rel, o = table_state.resolve(st), overrides or {}
  local where, n = selection.where(st, sel.conds, {}, 0)
  local offset = sel.offset and sel.offset > 0 and "$" .. n + 1 or nil
  return rel.core:select(o.select or selection.select_list(st, rel, sel.select), where,
    not o.unordered and selection.order_list(st, rel, sel.order_by) or nil, o.limit or sel.limit, offset, o.lock)
end

return selection
