-- SPDX-License-Identifier: MIT
--
-- filters: what xtra and scope put around a Table, and the fragments a filtered Table lets through.
--
-- A filter is a map column -> scalar or fastpg.null.  A Table has the filters it was scoped with,
-- which nothing takes away, and those of xtra; `merged` is both.  Every statement of a filtered
-- Table is confined to rows that match it; and so is every other table of such a statement.
--
-- A statement is written from left to right, and may meet a filtered Table late: it is then written once more, knowing of
-- it (filters.settle).

local ipairs, next, pairs, rawequal, tostring, type = ipairs, next, pairs, rawequal, tostring, type

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

-- ---- of a whole statement -------------------------------------------------------------------

-- Stands for the value of a column by which two Tables of a statement are filtered, each by another value.
local CONTRADICTION = {}
filters.CONTRADICTION = CONTRADICTION

--- Both filters, which stand in one statement: `a` itself where `b` adds nothing.
---@return table?
function filters.beside(a, b)
  if not b or rawequal(a, b) then return a end
  local both
  for name, value in pairs(b) do
    local known = a and a[name]
    local together = known == nil and value or same(known, value) and known or CONTRADICTION
    if not rawequal(together, known) then
      if not both then
        both = {}
        for k, v in pairs(a or {}) do both[k] = v end
      end
      both[name] = together
    end
  end
  return both or a
end

--- The filters that a statement stands under, from those which were known of, and those of the Tables in it.
---@param uses table[]  { filters = … } of each
function filters.of_uses(uses, known)
  for _, use in ipairs(uses) do known = filters.beside(known, use.filters) end
  return known
end

--- Writes a statement until no Table in it has a filter that what stands before was written without.
---@param known table?  the filters that are known of
---@param write fun(known: table?): table  gives the writer
function filters.settle(known, write)
  for _ = 1, 4 do
    local w = write(known)
    local all = filters.of_uses(w.uses, known)
    if rawequal(all, known) then return w end
    known = all
  end
  errors.raise("object_not_in_prerequisite_state", "the filters of a table changed while the statement was being made")
end

--- What confines a table that stands in a statement by its bare name: its own filter, and what is beside it.
function filters.of_bare_name(what, own, inherited)
  local one_by_one = {}
  for name, value in pairs(inherited) do
    if not rawequal(value, CONTRADICTION) then one_by_one[name] = value end
  end
  return filters.merge(what, own, next(one_by_one) ~= nil and one_by_one or nil)
end

--- A text that is the same for equal filters only.
function filters.key(filter)
  local parts = {}
  for name, value in pairs(filter) do
    local text = rawequal(value, CONTRADICTION) and "!" or type(value) .. ":" .. tostring(value)
    parts[#parts + 1] = ("%d:%s%d:%s"):format(#name, name, #text, text)
  end
  table.sort(parts)
  return table.concat(parts)
end

-- ---- fragments ------------------------------------------------------------------------------

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
