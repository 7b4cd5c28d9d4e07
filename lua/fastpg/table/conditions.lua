-- SPDX-License-Identifier: MIT
--
-- conditions: writes what a user says of rows: maps of columns and values, groups, fragments.
--
-- A condition is a map { column = value, [t.c.column] = value, condition, … }, whose parts all hold; a group
-- (fastpg.any, fastpg.none); or a fragment.  A value is data, or fastpg.op, or SQL (a fragment, a column, a query), which
-- it is compared with.  Parts of a map are written in the order of the columns, so that one shape has one text.

local getmetatable, ipairs, next, rawequal, type = getmetatable, ipairs, next, rawequal, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local operation = require "fastpg.sql.operation"
local writer = require "fastpg.sql.writer"

local conditions = {}

local NULL = core.null
local op_of, group_of = operation.op_of, operation.group_of

-- ---- one column -----------------------------------------------------------------------------

-- Whether it is a list of alternatives rather than a value itself (as is_list in csrc/table/sql_writer.c).
local function is_list(column, value)
  if type(value) ~= "table" or column and column.is_array then return false end
  if not column or not column.is_json then return true end
  return #value > 0 and getmetatable(value) == nil
end

local function has_sql(list)
  for _, item in ipairs(list) do
    if writer.is_sql(item) then return true end
  end
  return false
end

-- `IN (…)` where one of the items is SQL, else one parameter.
local function put_list(w, list, negated, what, name)
  if not has_sql(list) then
    w:put(negated and " <> ALL (" or " = ANY(")
    w:value(list, name)
    return w:put ")"
  end
  w:put(negated and " NOT IN (" or " IN (")
  for i, item in ipairs(list) do
    if i > 1 then w:put ", " end
    w:operand(item, what, name)
  end
  w:put ")"
end

local FORMS = {}

function FORMS.value(w, op, what, name)
  w:put(" " .. op.operator .. " ")
  w:operand(op.value, what, name)
end

function FORMS.word(w, op) w:put(" " .. op.operator .. " " .. op.word) end

function FORMS.array(w, op, what, name)
  w:put((" %s %s ("):format(op.operator, op.each))
  w:operand(op.value, what, name)
  w:put ")"
end

function FORMS.list(w, op, what, name) put_list(w, op.value, op.operator == "NOT IN", what, name) end

function FORMS.query(w, op, what)
  w:put(" " .. op.operator .. " ")
  w:operand(op.value, what)
end

function FORMS.pair(w, op, what, name)
  w:put(" " .. op.operator .. " ")
  w:operand(op.value[1], what, name)
  w:put " AND "
  w:operand(op.value[2], what, name)
end

-- An operation or a value behind the SQL of a column.
local function put_comparison(w, column, name, value, what)
  local op = op_of(value)
  if op and op.operator == "=" and op.form == "value" and is_list(column, op.value) and not writer.is_sql(op.value) then
    return put_list(w, op.value, false, what, name)
  end
  if op then return FORMS[op.form](w, op, what, name) end
  if rawequal(value, NULL) then return w:put " IS NULL" end
  if writer.is_sql(value) then
    w:put " = "
    return w:operand(value, what, name)
  end
  if is_list(column, value) then return put_list(w, value, false, what, name) end
  w:put " = "
  w:value(value, name)
end

-- ---- maps -----------------------------------------------------------------------------------

-- The columns of a map in their order, and the conditions behind them.
local function parts_of(at, map, what)
  local parts, others = {}, {}
  for key, value in next, map do
    if type(key) == "number" then
      others[key] = value
    else
      local source, name = at:column(key, what)
      parts[#parts + 1] = { source = source, name = name, value = value, by_object = type(key) ~= "string" }
    end
  end
  local places = {}
  for i, source in ipairs(at.list) do places[source] = i end
  local function place_of(part)
    local rel = part.source.rel
    return rel and rel.shape.index[part.name] or 0
  end
  table.sort(parts, function(a, b)
    if a.source ~= b.source then return places[a.source] < places[b.source] end
    local pa, pb = place_of(a), place_of(b)
    if pa ~= pb then return pa < pb end
    if a.name ~= b.name then return a.name < b.name end
    return not a.by_object and b.by_object
  end)
  return parts, others
end

local write

local function write_map(w, at, map, what)
  local parts, others = parts_of(at, map, what)
  local first = true
  for _, part in ipairs(parts) do
    if not first then w:put " AND " end
    first = false
    w:put(at:sql(part.source, part.name))
    put_comparison(w, part.source.index and part.source.index[part.name], part.name, part.value, what)
  end
  for _, item in ipairs(others) do
    if not first then w:put " AND " end
    first = false
    write(w, at, item, what, true)
  end
end

--- Writes the condition of one column.
function conditions.put(w, at, source, name, value, what)
  w:put(at:sql(source, name))
  put_comparison(w, source.index and source.index[name], name, value, what)
end

-- ---- conditions -----------------------------------------------------------------------------

--- Whether the map holds columns by their names and plain values only, which the core's builder writes.
function conditions.is_plain(map)
  for key, value in next, map do
    if type(key) ~= "string" then return false end
    if type(value) == "table" and getmetatable(value) ~= nil and (op_of(value) or writer.is_sql(value)) then return false end
    if type(value) == "table" and has_sql(value) then return false end
    if core.is_sql(value) and core.sql_values(value) then return false end
  end
  return true
end

--- Writes a condition.
---@param w table  a fastpg.sql.writer
---@param at table  the tables of the query (fastpg.table.sources)
---@param what string  who is blamed: "where"
---@param within boolean?  other conditions stand beside it
function write(w, at, condition, what, within)
  local group = group_of(condition)
  if group then
    if group.negated then w:put "NOT " end
    w:put "("
    for i, item in ipairs(group.items) do
      if i > 1 then w:put " OR " end
      write(w, at, item, what, true)
    end
    return w:put ")"
  end
  if core.is_sql(condition) then
    if not within then return w:fragment(condition, what) end
    return w:operand(condition, what)
  end
  if type(condition) ~= "table" then errors.argument("%s: a condition expected, got %s", what, type(condition)) end
  local several = within and next(condition, (next(condition))) ~= nil
  if several then w:put "(" end
  write_map(w, at, condition, what)
  if several then w:put ")" end
end
conditions.write = write

return conditions
