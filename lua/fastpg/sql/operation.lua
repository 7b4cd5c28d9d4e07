-- SPDX-License-Identifier: MIT
--
-- operation: fastpg.op, fastpg.any and fastpg.none: conditions as values.
--
--   op     { operator =, value =, form = }     stands where the value of a column stands
--   group  { word = "OR", negated =, items = } stands where a condition stands
--
-- What they are made of is judged here, the columns where the condition is written (fastpg.table.conditions).

local getmetatable, ipairs, next, rawequal, setmetatable, tostring, type =
  getmetatable, ipairs, next, rawequal, setmetatable, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local surface = require "fastpg.base.surface"
local writer = require "fastpg.sql.writer"

local operation = {}

local NULL = core.null

-- ---- operators ------------------------------------------------------------------------------

-- Words that are operators, and what they take: one value, a list, a pair, or what can be asked of a truth value.
local WORDS = {
  ["like"] = "value", ["not like"] = "value", ["ilike"] = "value", ["not ilike"] = "value",
  ["similar to"] = "value", ["not similar to"] = "value",
  ["is distinct from"] = "nullable", ["is not distinct from"] = "nullable",
  ["is"] = "truth", ["is not"] = "truth",
  ["in"] = "list", ["not in"] = "list",
  ["between"] = "pair", ["not between"] = "pair", ["between symmetric"] = "pair", ["not between symmetric"] = "pair",
}
local EACH = { any = "ANY", some = "ANY", all = "ALL" } -- behind an operator: it holds for one, or all, of an array

local function known_words()
  local words = {}
  for word in next, WORDS do words[#words + 1] = word end
  table.sort(words)
  return table.concat(words, ", ")
end

-- The operator as it is written, what it takes, and ANY or ALL behind it.
local function read_operator(text)
  if type(text) ~= "string" then errors.argument("fastpg.op: an operator expected, got %s", type(text)) end
  local clean = text:gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s+", " ")
  local lower = clean:lower()
  if WORDS[lower] then return lower:upper(), WORDS[lower] end
  if core.operator(clean) then return clean == "!=" and "<>" or clean, "value" end
  local head, each = lower:match("^(.-)%s*(%a+)$")
  if head and EACH[each] and (core.operator(head) or WORDS[head] == "value") then return head:upper(), "array", EACH[each] end
  errors.argument("fastpg.op: no operator of SQL: %s; an operator is one such as >= or @>, or one of: %s",
    core.quote_literal(text), known_words())
end

local function check_list(operator, list)
  if type(list) ~= "table" then
    errors.argument("fastpg.op: %s takes a list or a query, got %s", operator, type(list))
  end
  for i = 1, lists.length("fastpg.op: " .. operator, list) do
    if rawequal(list[i], NULL) then
      errors.argument("fastpg.op: %s: item %d is NULL, which nothing is equal to: test for it beside, "
        .. "fastpg.any{ { column = … }, { column = fastpg.null } }", operator, i)
    end
  end
end

local function check_pair(operator, pair)
  if type(pair) ~= "table" or lists.length("fastpg.op: " .. operator, pair) ~= 2 then
    errors.argument("fastpg.op: %s takes a list of two values, got %s", operator, type(pair) == "table" and "another" or type(pair))
  end
  check_list(operator, pair)
end

local TRUTHS = { [true] = "TRUE", [false] = "FALSE" }

-- What stands behind the operator: its form, and for a form without a value the word.
local function read_value(operator, takes, value)
  if value == nil then
    errors.argument("fastpg.op: the value for %s is nil (fastpg.null is NULL)", operator)
  end
  local is_null = rawequal(value, NULL)
  if takes == "nullable" then return "value" end
  if takes == "truth" then
    local word = is_null and "NULL" or TRUTHS[value]
    if not word then errors.argument("fastpg.op: %s takes true, false or fastpg.null, got %s", operator, type(value)) end
    return "word", word
  end
  if is_null then
    if operator == "=" or operator == "<>" then return "word", "NULL" end
    errors.argument("fastpg.op: %s with NULL is never true: = and <> test for NULL", operator)
  end
  if takes == "list" and not writer.is_sql(value) then check_list(operator, value) end
  if takes == "pair" then check_pair(operator, value) end
  if takes == "list" and writer.is_sql(value) then return "query" end
  return takes
end

--- A copy of what the caller may change later: lists and maps of the plain kind, and what is in them.
local function copy_of(value)
  if type(value) ~= "table" or getmetatable(value) ~= nil then return value end
  local copy = {}
  for k, v in next, value do copy[k] = copy_of(v) end
  return copy
end
operation.copy_of = copy_of

local Op = { __name = "fastpg.op", __index = surface.names({}, "an operation") }

--- An operator and what stands behind it, in the place of a column's value: { age = fastpg.op(">=", 18) }.
---
--- The operator is any that SQL reads as one (also one of an extension), or a word: like, not ilike, similar to, is
--- distinct from, is, in, between … ; `any` or `all` may follow one that takes an array ("= any").
---@param text string
---@param value any  fastpg.null for NULL with = and <>; for in a list or a query, for between a pair
function operation.op(text, value)
  local operator, takes, each = read_operator(text)
  local form, word = read_value(operator, takes, value)
  if word == "NULL" and (operator == "=" or operator == "<>") then operator = operator == "=" and "IS" or "IS NOT" end
  return setmetatable({ operator = operator, value = copy_of(value), form = form, word = word, each = each }, Op)
end

-- ---- groups ---------------------------------------------------------------------------------

local Group = { __name = "fastpg.conditions", __index = surface.names({}, "a group of conditions") }

local read_condition

local function copy_map(what, map)
  if next(map) == nil then errors.argument("%s: a table of conditions is empty (was a value nil?)", what) end
  local copy = {}
  for key, value in next, map do
    if type(key) == "number" then value = read_condition(what, value) else value = copy_of(value) end
    copy[key] = value
  end
  return copy
end

--- A condition as it is kept: a fragment, a group, or a map of columns and values (a copy; what has a position in it is a
--- condition itself).
---@param what string
function read_condition(what, value)
  if core.is_sql(value) or operation.group_of(value) then return value end
  if type(value) == "table" and getmetatable(value) == nil then return copy_map(what, value) end
  local kind = value == nil and "nil" or type(value)
  if kind == "string" then kind = "a string: SQL is fastpg.sql(…)" end
  errors.argument("%s: a condition expected (a table of columns and values, fastpg.sql, fastpg.any or fastpg.none), got %s", what,
    kind)
end
operation.read_condition = read_condition

local function group(what, list, negated)
  if type(list) ~= "table" or getmetatable(list) ~= nil then
    errors.argument("%s: a list of conditions expected, got %s", what, list == nil and "nil" or type(list))
  end
  local n = lists.length(what, list)
  if n == 0 then errors.argument("%s: the list of conditions is empty", what) end
  local items = {}
  for i, item in ipairs(list) do items[i] = read_condition(("%s: item %d"):format(what, i), item) end
  return setmetatable({ items = items, negated = negated }, Group)
end

--- A condition that holds where one of these does.
---@param list table[]  conditions
function operation.any(list) return group("fastpg.any", list, false) end

--- A condition that holds where none of these does: NOT (a OR b), which is NULL where that is.
---@param list table[]
function operation.none(list) return group("fastpg.none", list, true) end

--- The value when it is such an object, else nil.
function operation.op_of(value) return type(value) == "table" and getmetatable(value) == Op and value or nil end
function operation.group_of(value) return type(value) == "table" and getmetatable(value) == Group and value or nil end

Op.__tostring = function(op) return "fastpg.op(" .. op.operator .. (op.each and " " .. op.each or "") .. ")" end
Group.__tostring = function(g) return ("fastpg.%s(%d conditions)"):format(g.negated and "none" or "any", #g.items) end
for _, mt in ipairs{ Op, Group } do
  mt.__newindex = function(_, key) errors.argument("%s can't be assigned to (%s)", mt.__name, tostring(key)) end
end

return operation
