-- SPDX-License-Identifier: MIT
--
-- statement: what a user's SQL and arguments become before they are sent, and what is fetched.
--
-- Placeholders are converted once per text.  Named arguments, fastpg.args and plain arguments end
-- as one of two calls of the connection: run (arguments on the stack) or run_list.

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local placeholders = require "fastpg.sql.placeholders"
local rows = require "fastpg.value.rows"
local surface = require "fastpg.base.surface"

local statement = {}

-- ---- texts ----------------------------------------------------------------------------------

-- Converted texts, for standard_conforming_strings on and off.
local MOST_TEXTS = 2000
local texts = { [true] = bounded.new(MOST_TEXTS), [false] = bounded.new(MOST_TEXTS) }

local function check_text(sql)
  if type(sql) == "string" then return sql end
  local text = type(sql) ~= "table" and type(sql) ~= "userdata" and "" or tostring(sql)
  errors.argument("SQL text expected, got %s%s", type(sql), text ~= "" and " (write tostring(…) to use it as SQL)" or "")
end

--- Raises where the text holds a COPY whose rows go through the connection: what runs a statement has no place for
--- them.  Before anything is sent, so that nothing of the text has run.
---@param sql string
---@param standard boolean  standard_conforming_strings
function statement.refuse_copy(sql, standard)
  local direction = core.copy_direction(sql, standard)
  if not direction then return end
  errors.raise("feature_not_supported", direction == "in" and
    "COPY FROM STDIN can't run as a plain statement: db:copy_from(sql, source) sends the rows, t:copy(rows) makes them"
    or "COPY TO STDOUT can't run as a plain statement: db:copy_to(sql, sink) takes the rows", { sqlstate = "0A000", query = sql })
end

--- The converted text: { text =, npos = number of positional arguments, names = list or nil, standard = }.
---@param sql string
---@param standard boolean  standard_conforming_strings
function statement.parse(sql, standard)
  local parsed = texts[standard].kept[sql]
  if parsed then return parsed end
  check_text(sql)
  local text, npos, names = core.convert(sql, 0, standard)
  statement.refuse_copy(text, standard)
  return texts[standard]:keep(sql, { text = text, npos = npos, names = names, standard = standard })
end

--- What the text's statements are, as core.statements says (csrc/sql/statements.c); looked at when first asked for.
---@param parsed table  what parse gave
---@return table
function statement.list(parsed)
  local list = parsed.statements
  if not list then
    list = core.statements(parsed.text, parsed.standard)
    parsed.statements = list
  end
  return list
end

-- ---- arguments ------------------------------------------------------------------------------

local Args = { __name = "fastpg.args" }

--- Stands for many arguments: db:q(sql, fastpg.args(list, n)).
---@param list table
---@param n integer?  how many (default #list); nil in between is NULL
function statement.args(list, n)
  if type(list) ~= "table" then errors.argument("fastpg.args: a list expected, got %s", type(list)) end
  if n ~= nil and (type(n) ~= "number" or n < 0 or n % 1 ~= 0) then
    errors.argument("fastpg.args: the number of arguments expected, got %s", type(n))
  end
  return setmetatable({ list = list, n = n or lists.length("fastpg.args", list) }, Args)
end

--- The list that the option `args` is, and how many arguments that makes.
---@param given table  a list, or fastpg.args
---@param names string[]?  of named placeholders, whose values are in it beside the positions
---@return table list, integer n
function statement.option_list(given, names)
  if getmetatable(given) == Args then return given.list, given.n end
  if not names then return given, lists.length("where: args", given) end
  local last = 0
  for k in next, given do
    if type(k) == "number" and k > last then last = k end
  end
  return given, last
end

local function is_args(value)
  return type(value) == "table" and getmetatable(value) == Args
end

statement.is_args = is_args

--- The arguments as a list: positional ones first, then the named ones in order.
---@return table list, integer n
function statement.collect(parsed, ...)
  local given = select("#", ...)
  local first = ...
  if given == 1 and is_args(first) then
    if not parsed.names then return first.list, first.n end
    errors.argument("the statement has named placeholders (:%s): the last argument is the table of names", parsed.names[1])
  end
  local list = { ... }
  if not parsed.names then return list, given end
  local names = given > 0 and list[given] or nil
  if type(names) ~= "table" then
    errors.argument("the statement has named placeholders (:%s): the last argument is the table of names, got %s",
      parsed.names[1], given == 0 and "nothing" or type(names))
  end
  list[given] = nil
  if given - 1 ~= parsed.npos then
    errors.argument("too %s arguments before the table of names: the statement takes %d, got %d",
      given - 1 < parsed.npos and "few" or "many", parsed.npos, given - 1)
  end
  return list, placeholders.append(list, parsed.npos, parsed.names, names)
end

-- From here on arguments go by the list, where the connection looks at their number.
local MANY = 1000

--- Runs the user's SQL on a connection.
---@param conn table
---@param fetch function  one of statement.fetch
---@param target any  what fetch needs to know
function statement.run(conn, fetch, target, sql, ...)
  local parsed = statement.parse(sql, conn.standard_strings)
  if parsed.names or is_args((...)) or parsed.npos > MANY then
    return conn:run_list(parsed.text, fetch, target, statement.collect(parsed, ...))
  end
  return conn:run(parsed.text, fetch, target, ...)
end

-- ---- fetching -------------------------------------------------------------------------------

-- Each takes (connection, statement, target): the target is { db =, class =, class_name = }.
local fetch = {}
statement.fetch = fetch

local function row_metatable(conn, st, target)
  local shape = st:shape()
  if shape.duplicates and conn.duplicates ~= "last" then rows.refuse_duplicates(shape) end
  local rel = target.rel
  if rel and shape.relation ~= rel then target.compare(target, shape) end
  return rows.of(shape, target.origin, target.class, target.class_name), shape
end
statement.row_metatable = row_metatable

-- Under a loop a long list is decoded piece by piece, and others go on in between.
local PIECE = 64

local function fetch_list(conn, st, mt, list_mt)
  local spend = conn.spend
  if not spend then return (conn.c:fetch_rows(st, mt, nil, list_mt)) end
  local list, rest = conn.c:fetch_rows(st, mt, PIECE, list_mt)
  spend(#list)
  while rest do
    list, rest = conn.c:fetch_more(st, mt, PIECE, list, rest)
    spend(PIECE)
  end
  return list
end

--- All rows.
function fetch.rows(conn, st, target)
  local mt, shape = row_metatable(conn, st, target)
  return fetch_list(conn, st, mt, rows.list_of(shape))
end

--- The first row, or nil.
function fetch.first(conn, st, target)
  return (conn.c:fetch_row(st, (row_metatable(conn, st, target))))
end

--- The one row; NotFoundError, or "not_unique".
function fetch.one(conn, st, target)
  local row, n = conn.c:fetch_row(st, (row_metatable(conn, st, target)))
  if n == 0 then errors.raise("not_found", target.missing or "the statement gave no row") end
  if n > 1 then errors.raise("not_unique", ("not unique: one row expected, got %s"):format(target.many or n)) end
  return row
end

rows.keyed[fetch.rows], rows.keyed[fetch.first], rows.keyed[fetch.one] = true, true, true

--- The one field of the one row.
function fetch.item(conn, st)
  local value, nrows, ncols = conn.c:fetch_item(st)
  if nrows == 0 then errors.raise("not_found", "the statement gave no row") end
  if nrows > 1 then errors.raise("not_unique", ("not unique: one row expected, got %d"):format(nrows)) end
  if ncols ~= 1 then errors.raise("not_unique", ("one column expected, got %d"):format(ncols)) end
  return value
end

--- The first field of the first row, or nil.
function fetch.value(conn, st)
  return (conn.c:fetch_item(st))
end

-- Of a list of positional rows: nothing but rows is in the list, so that JSON libraries take it.
local function arrays_metatable(shape)
  local columns = {}
  for i, name in ipairs(shape.columns) do columns[i] = name end
  return { __name = "fastpg.arrays", __jsontype = "array",
    __index = surface.names({ columns = columns }, "a list of rows") }
end

--- Rows as positional lists.
function fetch.arrays(conn, st)
  local shape = st:shape()
  shape.arrays_metatable = shape.arrays_metatable or arrays_metatable(shape)
  return fetch_list(conn, st, false, shape.arrays_metatable)
end

--- The command tag.
function fetch.status(conn)
  return (conn.c:fetch_status())
end

--- The number of rows of the command tag.
function fetch.count(conn)
  local _, n = conn.c:fetch_status()
  return n or 0
end

return statement
