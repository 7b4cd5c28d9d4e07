-- SPDX-License-Identifier: MIT
--
-- placeholders: `?` and `:name` become PostgreSQL's `$n`.
--
-- The reading of SQL is the core's (core.convert); here a table of names becomes a list of values.

local getmetatable, rawget, type = getmetatable, rawget, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local placeholders = {}

-- The value for :name, or nil.  In a row an absent column is NULL; its own error for a key that is
-- no column is not wanted here.
local function value_of(named, name)
  local value = rawget(named, name)
  if value ~= nil then return value end
  local mt = getmetatable(named)
  local shape = type(mt) == "table" and rawget(mt, "shape")
  if type(shape) ~= "table" then return named[name] end
  if shape.index[name] then return core.null end
  return nil
end

--- Appends the values of the names that core.convert listed, in that order, behind n others.
---@param list table
---@param n integer
---@param names string[]?  nil when the text has none
---@param named table?  name -> value; fastpg.null is NULL, further names are no error
---@return integer n
function placeholders.append(list, n, names, named)
  for i = 1, names and #names or 0 do
    local value
    if named ~= nil then value = value_of(named, names[i]) end
    if value == nil then
      errors.raise("invalid_argument", "no value for :" .. names[i] .. " (use fastpg.null for NULL)")
    end
    list[n + i] = value
  end
  return n + (names and #names or 0)
end

--- Converts `?` and `:name` placeholders to `$n`.
---
--- Each `?` takes the next number from 1, whatever `$n` the text holds; the names follow the
--- positional parameters, each with one number however often it appears.
---@param sql string
---@param named? table  the values of the names
---@return string sql
---@return table values  the values of the names in the order of their numbers
function placeholders.conv(sql, named)
  if type(sql) ~= "string" then
    errors.raise("invalid_argument", "conv_placeholders: SQL text expected, got " .. type(sql))
  end
  if named ~= nil and type(named) ~= "table" then
    errors.raise("invalid_argument", "conv_placeholders: a table of names expected, got " .. type(named))
  end
  local text, _, names = core.convert(sql)
  local values = {}
  placeholders.append(values, 0, names, named)
  return text, values
end

return placeholders
