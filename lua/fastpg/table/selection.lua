-- SPDX-License-Identifier: MIT
--
-- selection: what the user says of rows (a fragment, conditions, options), read and judged, for
-- fastpg.table.select_sql to write.
--
-- A selection is { conds =, select =, order_by =, limit =, offset =, as_cls =, with_pk =, with =, debug = } and what
-- queries add (fastpg.table.select_sql); a condition is { map = }, { node = a fragment or group }, { exists = … } or
-- { text =, read = function(standard) -> its placeholders, its values }.  Tables make one per call, queries carry one and
-- never change it.

local ipairs, next, pairs, tostring, type = ipairs, next, pairs, tostring, type

local bounded = require "fastpg.base.bounded"
local conditions = require "fastpg.table.conditions"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local filters = require "fastpg.table.filters"
local fragment = require "fastpg.sql.fragment"
local lists = require "fastpg.base.lists"
local operation = require "fastpg.sql.operation"
local options = require "fastpg.base.options"
local placeholders = require "fastpg.sql.placeholders"
local related = require "fastpg.table.related_options"
local select_sql = require "fastpg.table.select_sql"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"
local user_sql = require "fastpg.sql.user_sql"
local writer = require "fastpg.sql.writer"

local selection = {}

local NATURAL = options.whole(0)
local OPTIONS = options.declare("t{…}", {
  where = options.condition, args = options.arguments, order_by = options.columns, limit = NATURAL, offset = NATURAL,
  select = options.columns, with_pk = options.boolean, as_cls = options.boolean, debug = options.boolean, with = options.table,
})
local COUNT_OPTIONS = options.declare("t:count", {
  where = options.condition, args = options.arguments, debug = options.boolean,
})
selection.OPTIONS, selection.COUNT_OPTIONS = OPTIONS, COUNT_OPTIONS

-- ---- conditions -----------------------------------------------------------------------------

local function check_count(what, given, npos)
  if given == npos then return end
  errors.argument("%s: too %s arguments: the fragment takes %d, got %d", what, given < npos and "few" or "many", npos, given)
end

-- What the placeholders of a text stand for: the values by position, then those of the names.
local function read_text(what, cond, standard)
  local parsed = fragment.parse(cond.text, standard)
  local list, given, names = cond.args, cond.n, parsed.names
  local named = cond.option_args
  if named then
    list, given = user_sql.option_list(named, names)
  elseif names then
    if given == 0 or type(list[given]) ~= "table" then
      errors.argument("%s: the fragment has named placeholders (:%s): the last argument is the table of names", what, names[1])
    end
    named, given = list[given], given - 1
  end
  check_count(what, given, parsed.npos)
  local values = {}
  for i = 1, given do values[i] = list[i] end
  placeholders.append(values, given, names, named)
  return parsed, values
end

-- Whether a value is SQL, so that it is written and not sent.
local function has_sql(list, n)
  for i = 1, n do
    if writer.is_sql(list[i]) then return true end
  end
  return false
end

local function text_condition(what, cond)
  cond.read = function(standard) return read_text(what, cond, standard) end
  cond.is_text = not (cond.args and has_sql(cond.args, cond.n))
  for _, value in next, cond.option_args or {} do
    if writer.is_sql(value) then cond.is_text = false end
  end
  return cond
end

--- A condition from a fragment and the arguments behind it.
function selection.fragment_condition(what, text, n, ...)
  if not text:find("%S") then
    errors.argument("%s: the condition is empty; no argument at all means every row", what)
  end
  local first = ...
  if n == 1 and user_sql.is_args(first) then return text_condition(what, { text = text, args = first.list, n = first.n }) end
  return text_condition(what, { text = text, args = { ... }, n = n })
end

--- A condition from a map of columns and values.
function selection.map_condition(what, map)
  if table_columns.column_of(map) then errors.argument("%s: conditions expected, got a column", what) end
  if next(map) == nil then
    errors.argument("%s: the table of conditions is empty (was a value nil?); no argument at all means every row", what)
  end
  if conditions.is_plain(map) then return { map = map, is_plain = true } end
  return { map = operation.read_condition(what, map) }
end

-- Whether it is a condition by itself: a fragment with its values, fastpg.any, fastpg.none.
local function is_node(value)
  return core.is_sql(value) or operation.group_of(value) ~= nil
end

--- A condition from the arguments of where, delete_where, count and the like.
function selection.condition(what, n, first, ...)
  if type(first) == "string" then return selection.fragment_condition(what, first, n - 1, ...) end
  if is_node(first) then
    if n > 1 then errors.argument("%s: nothing goes behind a condition that has its values", what) end
    return { node = first }
  end
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

--- The condition of options: `where` is a fragment with `args`, or a table; nil where there is none.
function selection.condition_of_options(what, opts)
  local where, args = opts.where, opts.args
  if where == nil then
    if args ~= nil then errors.argument("%s: args without where", what) end
    return nil
  end
  if type(where) == "table" or core.is_sql(where) then
    if args ~= nil then errors.argument("%s: args belong to a where in SQL, not to a table", what) end
    return is_node(where) and { node = where } or selection.map_condition(what, where)
  end
  if type(where) ~= "string" then
    errors.argument("%s: where is a SQL fragment or a table, got %s", what, type(where))
  end
  if args ~= nil and type(args) ~= "table" then
    errors.argument("%s: args is a list (or a table of names), got %s", what, type(args))
  end
  if args == nil then args = {} end
  local cond = selection.fragment_condition("where", where, 1, args)
  if cond.args ~= args and cond.args[1] ~= args then return cond end -- fastpg.args
  return text_condition("where", { text = where, option_args = args })
end

--- A selection from an options table.
function selection.from_options(st, what, opts, allowed)
  local rel = table_state.resolve(st)
  what = what or rel.name
  options.check(opts, allowed or OPTIONS, what, rel.index)
  local cond = selection.condition_of_options(what, opts)
  local sel = {
    conds = cond and { cond } or {}, limit = opts.limit, offset = opts.offset, as_cls = opts.as_cls, with_pk = opts.with_pk,
    debug = opts.debug,
  }
  for _, name in ipairs{ "select", "order_by" } do
    if opts[name] ~= nil then sel[name] = selection.read_columns(name, 1, opts[name]) end
  end
  if opts.with ~= nil then sel.with = related.read("with", opts.with) end
  return sel
end

--- A selection from the arguments of t(), all, each, selectone, count: nothing, a fragment with its
--- arguments, or options.
---@param what string?  for messages; nil: the name of the table
function selection.read(st, what, allowed, n, first, ...)
  if n == 0 then return { conds = {} } end
  if n == 1 and type(first) == "table" and not operation.group_of(first) then
    return selection.from_options(st, what, first, allowed)
  end
  what = what or table_state.resolve(st).name
  if type(first) == "string" then
    return { conds = { selection.fragment_condition("where", first, n - 1, ...) } }
  end
  if is_node(first) then return { conds = { selection.condition(what, n, first, ...) } } end
  if type(first) ~= "table" then
    errors.argument("%s: a SQL fragment or a table of options expected, got %s", what, first == nil and
      "nil; no argument at all means every row" or type(first))
  end
  errors.argument("%s: nothing goes behind a table of options", what)
end

-- ---- columns --------------------------------------------------------------------------------

--- Whether it stands for a column: a name, a column, SQL.
function selection.is_item(value)
  return type(value) == "string" or table_columns.column_of(value) ~= nil or core.is_sql(value)
end
local is_item = selection.is_item

local function check_items(what, list)
  local n = lists.length(what, list)
  if n == 0 then errors.argument("%s: the list of columns is empty", what) end
  for i = 1, n do
    if not is_item(list[i]) then
      errors.argument("%s: item %d: the name of a column, a column or fastpg.sql expected, got %s", what, i, type(list[i]))
    end
  end
end

-- Takes the columns under names of their own out of a list: { "track.name", album = "album.title" }.
local function split_aliases(what, list)
  local items, aliases = {}, nil
  for key, value in next, list do
    if type(key) == "string" and not (key == "n" and type(value) == "number") then
      if not is_item(value) and not writer.is_sql(value) then
        errors.argument("%s: %s: the name of a column, a column, fastpg.sql or a query expected, got %s", what,
          core.quote_ident(key), type(value))
      end
      aliases = aliases or {}
      aliases[key] = value
    else
      items[key] = value
    end
  end
  return items, aliases
end

--- Reads the arguments of select, order_by and group_by: a fragment, or names one after the other or as a list.  Types are
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
  local copy, aliases = first, nil
  if what == "select" then copy, aliases = split_aliases(what, first) end
  if not aliases or next(copy) ~= nil then check_items(what, copy) end
  local list = { aliases = aliases }
  for i, item in ipairs(copy) do list[i] = item end
  return list
end

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

-- ---- texts that are kept --------------------------------------------------------------------

-- Most statements are of one table, with plain conditions: their texts are put together from pieces that are kept.

-- Converted fragments, by the number of arguments before them, for standard_conforming_strings on and off.
local MOST_FRAGMENTS = 500
local FEW = 4
local fragments = { [true] = {}, [false] = {} }
for _, by_number in pairs(fragments) do
  for n = 0, FEW do by_number[n] = bounded.new(MOST_FRAGMENTS) end
end

-- What the fragment is behind n arguments.
local function converted(text, n, standard)
  local cache = fragments[standard][n]
  local known = cache and cache.kept[text]
  if known then return known end
  known = core.convert(text, n, standard)
  return cache and cache:keep(text, known) or known
end

-- Appends a fragment's arguments; its placeholders are numbered behind those that are there.
local function fragment_text(st, cond, args, n)
  if st.filters then filters.check_fragment("where", cond.text) end
  local standard = table_state.standard_strings(st)
  local parsed, values = cond.read(standard)
  local count = parsed.npos + (parsed.names and #parsed.names or 0)
  for i = 1, count do args[n + i] = values[i] end
  return converted(cond.text, n, standard), n + count
end

-- WHERE text (nil for every row) and the number of arguments, after n that are there already.
local function where_text(st, conds, args, n)
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

-- The texts of SELECTs are kept with the state by what they are made of, so that one is built once:
-- { [where] = { [order] = { [columns] = { [form] = text } } } }, false where there is none; the form is what else there is.
local MOST_TEXTS = 500
local LIMITED, FIXED, OFFSET = 1, 2, 8

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

local COMPOSED = { "joins", "distinct", "group_by", "having", "lock", "ctes", "source" }

-- Whether it is made of such pieces: one table, plain conditions, and columns that carry no values.
local function is_simple(sel, over)
  for _, name in ipairs(COMPOSED) do
    if sel[name] ~= nil then return false end
  end
  for _, cond in ipairs(sel.conds) do
    if not (cond.is_plain or cond.is_text) then return false end
  end
  if type(sel.select) ~= "nil" and type(sel.select) ~= "string" then return false end
  if type(sel.order_by) ~= "nil" and type(sel.order_by) ~= "string" then return false end
  return not (over and (over.also or over.lock or over.where or over.order))
end

local function check_columns(st, sel)
  if not st.filters then return end
  if sel.select then filters.check_fragment("select", sel.select) end
  if sel.order_by then filters.check_fragment("order_by", sel.order_by) end
end

-- Its limit and offset are parameters, so that all of them are one statement; a limit that the call itself makes (one
-- row, at most two) is part of the text, where the planner sees it.
local function simple_sql(st, sel, over)
  local rel, form = table_state.resolve(st), 0
  local args = sel.limit and { sel.limit, sel.offset } or {} -- (of a good size: conditions put theirs in their place)
  local where, n = where_text(st, sel.conds, args, 0)
  if where then rel = table_state.resolve(st) end -- which a column that was not known had looked up again
  check_columns(st, sel)
  local columns, limit, offset = over and over.select or sel.select, over and over.limit, nil
  local order = not (over and over.unordered) and sel.order_by or nil
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
  local sql = known_text(st, where or false, order or false, columns or false, form)
  if sql then return sql, args, n end
  sql = rel.core:select(columns, where, order, limit, offset)
  return keep_text(st, where or false, order or false, columns or false, form, sql), args, n
end

-- ---- whole statements -----------------------------------------------------------------------

--- The SELECT of a selection.
---@param over? { select: string?, also: string?, limit: integer?, lock: string?, unordered: boolean? }
---@return string sql, table args, integer n, table? uses  (fastpg.table.table_state)
function selection.sql(st, sel, over)
  if sel.debug then print(selection.shown(st, sel, over)) end
  if is_simple(sel, over) then return simple_sql(st, sel, over) end
  local w = select_sql.statement(st, function(w) select_sql.write(w, st, sel, over or {}) end)
  local sql, args, n = w:finish()
  return sql, args, n, w.uses
end

--- The same to be read by people: the limit stands in it as the number that it is.
---@return string
function selection.shown(st, sel, over)
  local shown = { is_shown = true }
  for name, value in next, over or {} do shown[name] = value end
  local w = select_sql.statement(st, function(w) select_sql.write(w, st, sel, shown) end)
  return (w:finish())
end

return selection
