-- SPDX-License-Identifier: MIT
--
-- user_sql: what a user's SQL and arguments become before they are sent (fastpg.pg.fetch runs them).
--
-- Placeholders are converted once per text.  Named arguments, fastpg.args and plain arguments end as a list.

local getmetatable, next, select, setmetatable, tostring, type =
  getmetatable, next, select, setmetatable, tostring, type

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local placeholders = require "fastpg.sql.placeholders"

local user_sql = {}

-- ---- texts ----------------------------------------------------------------------------------

-- From so many arguments on they go by the list, where the connection looks at their number.
local MANY = 1000

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
function user_sql.refuse_copy(sql, standard)
  local direction = core.copy_direction(sql, standard)
  if not direction then return end
  errors.raise("feature_not_supported", direction == "in" and
    "COPY FROM STDIN can't run as a plain statement: db:copy_from(sql, source) sends the rows, t:copy(rows) makes them"
    or "COPY TO STDOUT can't run as a plain statement: db:copy_to(sql, sink) takes the rows", { sqlstate = "0A000", query = sql })
end

--- The converted text: { text =, npos = number of positional arguments, names = list or nil, standard =,
--- is_long = its arguments go as a list }.
---@param sql string
---@param standard boolean  standard_conforming_strings
function user_sql.parse(sql, standard)
  local parsed = texts[standard].kept[sql]
  if parsed then return parsed end
  check_text(sql)
  local text, npos, names = core.convert(sql, 0, standard)
  user_sql.refuse_copy(text, standard)
  return texts[standard]:keep(sql, {
    text = text, npos = npos, names = names, standard = standard, is_long = names ~= nil or npos > MANY,
  })
end

-- ---- arguments ------------------------------------------------------------------------------

local Args = { __name = "fastpg.args" }

-- What the list holds beyond n, or under a key that is no position, would be dropped.
local function check_within(list, n)
  for key in next, list do
    local position = type(key) == "number" and key >= 1 and key <= n and key % 1 == 0
    if not position and key ~= "n" then
      errors.argument("fastpg.args: the list has an item at %s, and n is %d",
        type(key) == "string" and ('"%s"'):format(key) or type(key) == "number" and ("%.14g"):format(key) or "a " .. type(key), n)
    end
  end
end

--- Stands for many arguments: db:q(sql, fastpg.args(list, n)).
---@param list table
---@param n integer?  how many (default #list); nil in between is NULL, an item behind is an error
function user_sql.args(list, n)
  if type(list) ~= "table" then errors.argument("fastpg.args: a list expected, got %s", type(list)) end
  if n ~= nil and (type(n) ~= "number" or n < 0 or n % 1 ~= 0) then
    errors.argument("fastpg.args: the number of arguments expected, got %s", type(n))
  end
  if n then check_within(list, n) end
  return setmetatable({ list = list, n = n or lists.length("fastpg.args", list) }, Args)
end

--- The list that the option `args` is, and how many arguments that makes.
---@param given table  a list, or fastpg.args
---@param names string[]?  of named placeholders, whose values are in it beside the positions
---@return table list, integer n
function user_sql.option_list(given, names)
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

user_sql.is_args = is_args

--- The arguments as a list: positional ones first, then the named ones in order.
---@return table list, integer n
function user_sql.collect(parsed, ...)
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

return user_sql
