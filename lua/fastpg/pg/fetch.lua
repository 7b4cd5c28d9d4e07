-- SPDX-License-Identifier: MIT
--
-- fetch: what a finished statement gives: rows, one row, a value, arrays, the command tag; and the running of a user's
-- SQL so.
--
-- Under a loop (where the connection has `spend`) nothing here takes longer than about a millisecond at once: long lists are
-- made piece by piece, long values read in slices before (csrc/pg/heavy.c), and others have a turn in between.
--
-- Each of these functions takes (connection, statement, target): the target says what rows become, { origin =, class =,
-- class_name = } (fastpg.value.rows) or `to` = such a one, and of a `select *` of a Table also { rel =, compare = }
-- (fastpg.table.table_state).

local error, ipairs, pcall, rawget, rawset = error, ipairs, pcall, rawget, rawset

local errors = require "fastpg.base.errors"
local flat_rows = require "fastpg.pg.flat_rows"
local rows = require "fastpg.value.rows"
local surface = require "fastpg.base.surface"
local user_sql = require "fastpg.sql.user_sql"

local parse, is_args = user_sql.parse, user_sql.is_args

local fetch = {}

-- ---- under a loop ---------------------------------------------------------------------------

-- Runs fn(conn, st, target) with the long values of the result read.
local function with_heavy(conn, st, heavy, fn, target)
  local c = conn.c
  while not c:heavy_more(heavy, st) do conn.spend(0) end
  c:heavy_ready(heavy)
  local function over(ok, ...)
    c:heavy_over()
    if not ok then error((...), 0) end
    return ...
  end
  return over(pcall(fn, conn, st, target))
end

-- fn, which reads the first `most` rows (nil: all), so that long values hold up nobody.
local function in_slices(fn, most)
  local function sliced(conn, st, target)
    if conn.spend then
      local heavy = conn.c:heavy(st, most)
      if heavy then return with_heavy(conn, st, heavy, fn, target) end
    end
    return fn(conn, st, target)
  end
  return sliced
end
fetch.in_slices = in_slices

-- ---- rows -----------------------------------------------------------------------------------

local function row_metatable(conn, st, target)
  local shape = st:shape()
  if shape.duplicates and conn.duplicates ~= "last" then rows.refuse_duplicates(shape) end
  local rel = target.rel
  if rel and shape.relation ~= rel then target.compare(target, shape) end
  return rows.of(shape, target.to or target), shape
end
fetch.row_metatable = row_metatable

-- Rows of a piece, the first, whose length nobody has asked for yet, and the others: fewer where they are heavy.
local FIRST, MOST = 64, 512

-- On LuaJIT what is not in the first few rows is made by compiled code.
local FEW = flat_rows.more and flat_rows.FIRST or nil
local fetch_more = flat_rows.more or function(c, st, _, mt, most, list, rest) return c:fetch_more(st, mt, most, list, rest) end

local function fetch_list(conn, st, mt, list_mt)
  local c, spend = conn.c, conn.spend
  if not spend then
    local list, rest = c:fetch_rows(st, mt, FEW, list_mt)
    if not rest then return list end
    return (fetch_more(c, st, st:shape(), mt, nil, list, rest))
  end
  local list, rest, n = c:fetch_rows(st, mt, FIRST, list_mt)
  local left, before = spend(n or #list), n
  while rest do
    local most = left and left > 0 and left < MOST and left or MOST
    list, rest, n = fetch_more(c, st, st:shape(), mt, most, list, rest)
    left, before = spend((n or #list) - before), n
  end
  return list
end

--- A list of rows that get the metatable mt.
fetch.list = fetch_list

--- All rows.
fetch.rows = in_slices(function(conn, st, target)
  local mt, shape = row_metatable(conn, st, target)
  return fetch_list(conn, st, mt, rows.list_of(shape))
end)

--- The first row, or nil.
fetch.first = in_slices(function(conn, st, target)
  return (conn.c:fetch_row(st, (row_metatable(conn, st, target))))
end, 1)

--- The one row; NotFoundError, or "not_unique".
fetch.one = in_slices(function(conn, st, target)
  local row, n = conn.c:fetch_row(st, (row_metatable(conn, st, target)))
  if n == 0 then errors.raise("not_found", target.missing or "the statement gave no row") end
  if n > 1 then errors.raise("not_unique", ("not unique: one row expected, got %s"):format(target.many or n)) end
  return row
end, 1)

-- What is in these columns of a row, which are taken off: a value, or a list of several.
local function take_off(row, names)
  if #names == 1 then
    local value = rawget(row, names[1])
    rawset(row, names[1], nil)
    return value
  end
  local values = {}
  for k, name in ipairs(names) do
    values[k] = rawget(row, name)
    rawset(row, name, nil)
  end
  return values
end

--- All rows without their last columns, which are fastpg's own; and of each what was in those.
---@param target { to: table, hidden: string[] }  the names of these columns
---@return table list
---@return any[] hidden  of a row a value, or a list where there are several
fetch.apart = in_slices(function(conn, st, target)
  local shape, names = st:shape(), target.hidden
  if shape.duplicates and conn.duplicates ~= "last" then rows.refuse_duplicates(shape) end
  local trimmed, to = rows.without_last(shape, #names), target.to
  if to.rel and trimmed.relation ~= to.rel then to.compare(to, trimmed) end
  local list, hidden = fetch_list(conn, st, rows.of(trimmed, to), rows.list_of(trimmed)), {}
  for i = 1, #list do hidden[i] = take_off(list[i], names) end
  return list, hidden
end)

--- All that there is: the command tag, the number of rows that it names, and the rows where the statement gives some.
---@return { status: string, count: integer?, rows: table? }
function fetch.result(conn, st, target)
  local status, count, has_rows = conn.c:status()
  local result = { status = status, count = count }
  if has_rows then result.rows = fetch.rows(conn, st, target) else conn.c:fetch_status() end
  return result
end

--- The functions that fetch rows by the names of their columns: of two columns of one name they would lose one.
fetch.keyed = {
  [fetch.rows] = true, [fetch.first] = true, [fetch.one] = true, [fetch.apart] = true, [fetch.result] = true,
}

-- ---- other than rows -------------------------------------------------------------------------

--- The one field of the one row.
fetch.item = in_slices(function(conn, st)
  local value, nrows, ncols = conn.c:fetch_item(st)
  if nrows == 0 then errors.raise("not_found", "the statement gave no row") end
  if nrows > 1 then errors.raise("not_unique", ("not unique: one row expected, got %d"):format(nrows)) end
  if ncols ~= 1 then errors.raise("not_unique", ("one column expected, got %d"):format(ncols)) end
  return value
end, 1)

--- The first field of the first row, or nil.
fetch.value = in_slices(function(conn, st)
  return (conn.c:fetch_item(st))
end, 1)

-- Of a list of positional rows: nothing but rows is in the list, so that JSON libraries take it.
local function arrays_metatable(shape)
  local columns = {}
  for i, name in ipairs(shape.columns) do columns[i] = name end
  local members = surface.methods({ types = function() return rows.types_of(shape, shape.typemap) end }, { types = 0 }, false)
  members.columns = columns
  return { __name = "fastpg.arrays", __jsontype = "array", __index = surface.names(members, "a list of rows") }
end

--- Rows as positional lists.
fetch.arrays = in_slices(function(conn, st)
  local shape = st:shape()
  shape.arrays_metatable = shape.arrays_metatable or arrays_metatable(shape)
  return fetch_list(conn, st, false, shape.arrays_metatable)
end)

--- The command tag.
function fetch.status(conn)
  return (conn.c:fetch_status())
end

--- The number of rows of the command tag.
function fetch.count(conn)
  local _, n = conn.c:fetch_status()
  return n or 0
end

-- ---- running --------------------------------------------------------------------------------

--- Runs the user's SQL on a connection.
---@param conn table
---@param how function  one of those above
---@param target any  what that needs to know
function fetch.run(conn, how, target, sql, ...)
  local parsed, first = parse(sql, conn.standard_strings), ...
  if parsed.is_long or first ~= nil and is_args(first) then
    return conn:run_list(parsed.text, how, target, user_sql.collect(parsed, ...))
  end
  return conn:run(parsed.text, how, target, ...)
end

return fetch
