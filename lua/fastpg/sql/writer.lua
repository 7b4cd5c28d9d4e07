-- SPDX-License-Identifier: MIT
--
-- writer: writes a statement from left to right, and numbers what it is given as values.
--
--   w.args, w.n    the arguments so far
--   w.standard     standard_conforming_strings where the statement will run
--   w.uses         the tables that were written: { { st =, filters = }, … } (fastpg.table.select_sql)
--   w.inherited    the filters that the statement stands under, as far as they are known
--   w.is_settled   whether somebody writes it once more where one turns out later
--   w.ctes         the CTEs that are known where it is now, by name
--   w.check        nil, or what is told of each text that is a user's: check(what, text) raises where it may not stand
--
-- What may stand in the place of a value without being one (a fragment, a column, a query) says how it is written:
-- writer.register.

local getmetatable, setmetatable, tostring, type = getmetatable, setmetatable, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fragment = require "fastpg.sql.fragment"

local writer = {}

local Writer = {}
Writer.__index = Writer

local COLUMNS = core.columns_key

--- A writer of a new statement.
---@param standard boolean  standard_conforming_strings
---@param check? fun(what: string, text: string)
---@param args? table  that others will be put behind
---@param n? integer  how many these are
function writer.new(standard, check, args, n)
  return setmetatable({
    parts = {}, length = 0, args = args or {}, n = n or 0, depth = 0, standard = standard, check = check, uses = {},
  }, Writer)
end

--- Appends SQL.
function Writer:put(text)
  self.length = self.length + 1
  self.parts[self.length] = text
end

--- Appends a value as a parameter.
---@param value any  nil is NULL
---@param column? string  the column that it is for, which an error about the value names
function Writer:value(value, column)
  local n = self.n + 1
  self.n, self.args[n] = n, value
  if column then
    local columns = self.args[COLUMNS]
    if not columns then
      columns = {}
      self.args[COLUMNS] = columns
    end
    columns[n] = column
  end
  self:put("$" .. n)
end

-- ---- what is no value -----------------------------------------------------------------------

local MOST_NESTED = 100

local writers = {} -- metatable -> function(value, writer, what)

--- Says how what has this metatable is written where a value may stand.
---@param write fun(value: any, w: table, what: string)
function writer.register(mt, write)
  writers[mt] = write
end

local function writer_of(value)
  local kind = type(value)
  if kind ~= "table" then return nil end
  local mt = getmetatable(value)
  return type(mt) == "table" and writers[mt] or nil
end

--- Whether this is written as SQL where it stands in the place of a value.
function writer.is_sql(value)
  return core.is_sql(value) or writer_of(value) ~= nil
end

--- Appends what may be a value or SQL, which stands in parentheses.
---@param what string  who is blamed for it
---@param column? string
function Writer:operand(value, what, column)
  if core.is_sql(value) then
    self:put "("
    self:fragment(value, what)
    return self:put ")"
  end
  local write = writer_of(value)
  if write then return write(value, self, what) end
  self:value(value, column)
end

local function placeholder(self, values, k, numbers, what)
  local value = values[k]
  if writer.is_sql(value) then return self:operand(value, what) end
  local n = numbers[k]
  if n then return self:put("$" .. n) end
  self:value(value)
  numbers[k] = self.n
end

--- Appends a text with its values, whose number was checked.
---@param parsed table  what fragment.parse gives
---@param values table?  of the positions, then of the names
---@param what string  who is blamed for it: "where"
function Writer:template(parsed, values, what)
  local pieces = parsed.pieces
  if #pieces == 1 then return self:put(pieces[1]) end
  self.depth = self.depth + 1
  if self.depth > MOST_NESTED then errors.argument("%s: fragments are nested too deeply", what) end
  local numbers = {} -- of these values: one that is asked for twice is sent once
  for i = 1, #pieces do
    local piece = pieces[i]
    if i % 2 == 1 then self:put(piece) else placeholder(self, values, piece, numbers, what) end
  end
  self.depth = self.depth - 1
end

--- Appends a fragment, without parentheses.
---@param what string  who is blamed for it
function Writer:fragment(f, what)
  local text = tostring(f)
  if self.check then self.check(what, text) end
  local parsed, values = fragment.read(f, text, self.standard)
  self:template(parsed, values, what)
end

--- The SQL, its arguments and their number.
function Writer:finish()
  return table.concat(self.parts, "", 1, self.length), self.args, self.n
end

--- Takes back what was written behind that place.
---@param length integer  the number of parts
---@param n integer  the number of arguments
function Writer:back_to(length, n)
  local columns = self.args[COLUMNS]
  for i = length + 1, self.length do self.parts[i] = nil end
  for i = n + 1, self.n do
    self.args[i] = nil
    if columns then columns[i] = nil end
  end
  self.length, self.n = length, n
end

--- Writes a part that stands somewhere else in the end, or is left out: a piece of SQL whose values are numbered already.
---@param write fun(w: table)
---@return string
function Writer:aside(write)
  local from = self.length
  write(self)
  local text = table.concat(self.parts, "", from + 1, self.length)
  for i = from + 1, self.length do self.parts[i] = nil end
  self.length = from
  return text
end

return writer
