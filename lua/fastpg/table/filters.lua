-- SPDX-License-Identifier: MIT
--
-- filters: what xtra and scope put around a Table, and the fragments a filtered Table lets through.
--
-- A filter is a map column -> scalar or fastpg.null.  A Table has the filters it was scoped with,
-- which nothing takes away, and those of xtra; `merged` is both.  Every statement of a filtered
-- Table is confined to rows that match it.

local next, pairs, rawequal, tostring, type = next, pairs, rawequal, tostring, type

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local filters = {}

local function check_value(what, name, value)
  local kind = type(value)
  if kind == "table" or kind == "function" or kind == "thread" or core.is_sql(value) then
    errors.argument('%s: the value for "%s" must be a scalar or fastpg.null, got %s', what, tostring(name), kind)
  end
end

--- Reads the arguments of xtra or scope: a table, or a name and a value.
---@param what string  "xtra" or "scope"
---@return table filter
function filters.read(what, n, first, second)
  if n == 2 and type(first) == "string" then
    if second == nil then
      errors.argument('%s: the value for "%s" is nil (fastpg.null filters on NULL)', what, first)
    end
    check_value(what, first, second)
    return { [first] = second }
  end
  if n ~= 1 or type(first) ~= "table" then
    errors.argument("%s: a table of columns and values expected, got %s", what, n == 0 and "nothing" or type(first))
  end
  if next(first) == nil then
    errors.argument("%s: the table is empty, which would filter nothing (was a value nil?)", what)
  end
  local filter = {}
  for name, value in pairs(first) do
    if type(name) ~= "string" then errors.argument("%s: columns have names, got a %s key", what, type(name)) end
    check_value(what, name, value)
    filter[name] = value
  end
  return filter
end

local function same(a, b)
  return rawequal(a, b) or type(a) == type(b) and tostring(a) == tostring(b)
end

--- Both filters together; a column that both name must have the same value.
---@return table?
function filters.merge(what, a, b)
  if not a then return b end
  if not b then return a end
  local merged = {}
  for name, value in pairs(a) do merged[name] = value end
  for name, value in pairs(b) do
    if merged[name] ~= nil and not same(merged[name], value) then
      errors.argument('%s: the Table is scoped to another value of "%s" already', what, name)
    end
    merged[name] = value
  end
  return merged
end

local passed = bounded.new(1000) -- fragments

--- Raises unless the fragment can be put into a statement of a filtered Table.  Both readings of
--- backslashes are looked at, whatever the session says now.
---@param what string   "where", "order_by", …
---@param text string
function filters.check_fragment(what, text)
  if passed.kept[text] then return end
  local reason = core.check_fragment(text, true) or core.check_fragment(text, false)
  if reason then
    errors.argument("%s: not allowed on a filtered Table: %s", what, reason)
  end
  passed:keep(text, true)
end

--- Raises for a fastpg.sql value that could look past the filter.
function filters.check_values(record)
  for name, value in next, record do
    if core.is_sql(value) then filters.check_fragment(tostring(name), tostring(value)) end
  end
end

return filters
