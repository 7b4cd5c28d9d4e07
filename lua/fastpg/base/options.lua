-- SPDX-License-Identifier: MIT
--
-- options: what an options table may hold.
--
-- Every function that takes one declares it: names and the type of each.  An unknown name is an error
-- that says which one was meant, a value of another type one that says what is wanted: `readonly =
-- "false"` or `limit = "3"` must not mean something by Lua's own idea of truth.
--
--   local OPTIONS = options.declare("t:drop", { cascade = options.boolean })
--   opts = options.check(opts, OPTIONS, "drop")
--
-- A type is { wanted = its description, test = function(value) -> boolean }.

local next, pairs, select, tostring, type = next, pairs, select, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local suggest = require "fastpg.base.suggest"

local options = {}

--- What was declared, by name: the specs walk all of it.
---@type table<string, table<string, table>>
options.declared = {}

-- ---- types ----------------------------------------------------------------------------------

--- What has one of these Lua types.
local function of_kinds(wanted, ...)
  local kinds = {}
  for i = 1, select("#", ...) do kinds[select(i, ...)] = true end
  return { wanted = wanted, test = function(value) return kinds[type(value)] == true and value ~= core.null end }
end

options.kinds = of_kinds

options.boolean = of_kinds("true or false", "boolean")
options.text = of_kinds("a string", "string")
options.table = of_kinds("a table", "table")
options.fn = of_kinds("a function", "function")

--- A name: a string that is not empty.
options.name = { wanted = "a name", test = function(value) return type(value) == "string" and value ~= "" end }

--- Anything but nil: who takes it looks for itself.
options.any = { wanted = "a value", test = function() return true end }

-- What SQL is made of is judged where the statement is built, which knows the columns.
options.condition = of_kinds("a SQL fragment or a table of conditions", "string", "table", "userdata")
options.columns = of_kinds("column names or a SQL fragment", "string", "table", "userdata")
options.arguments = of_kinds("a list of arguments, or a table of names", "table", "userdata")

--- A name or a list of them.
options.names = of_kinds("a name or a list of names", "string", "table")

--- A number from min on; never NaN.
function options.number(min)
  return {
    wanted = "a number of at least " .. min,
    test = function(value) return type(value) == "number" and value >= min end,
  }
end

-- More than any clock of a host needs: some thirty years.
local LONGEST = 1e9

--- Seconds, from 0.
options.duration = {
  wanted = "a number of seconds, from 0",
  test = function(value) return type(value) == "number" and value >= 0 end,
}

--- The seconds that a user gave, as the clocks of all hosts take them: never NaN, never without an end.
---@param what string  who takes them
---@param value any  nil where it may be left out
---@param least number?  0; for where fewer mean no time
---@return number
function options.seconds(what, value, least)
  if type(value) ~= "number" or value ~= value or value < (least or 0) then
    errors.argument("%s: a number of seconds expected%s, got %s", what, least and "" or ", from 0",
      type(value) == "number" and tostring(value) or type(value))
  end
  return value < LONGEST and value or LONGEST
end

--- A whole number from min to max (without an end when that is nil).
function options.whole(min, max)
  return {
    wanted = max and ("a whole number from %d to %d"):format(min, max) or "a whole number of at least " .. min,
    test = function(value)
      return type(value) == "number" and value >= min and value <= (max or 2 ^ 53) and value % 1 == 0
    end,
  }
end

--- One of a few strings.
function options.one_of(...)
  local values, quoted = {}, {}
  for i = 1, select("#", ...) do
    values[select(i, ...)] = true
    quoted[i] = '"' .. select(i, ...) .. '"'
  end
  local last = table.remove(quoted)
  return {
    wanted = (#quoted > 0 and table.concat(quoted, ", ") .. " or " or "") .. last,
    test = function(value) return values[value] == true end,
    values = values,
  }
end

--- A list without holes.
---@param item table  the type of what is in it
---@param wanted string
function options.list_of(item, wanted)
  return {
    wanted = wanted,
    test = function(value)
      if type(value) ~= "table" then return false end
      local n = 0
      for _, v in next, value do
        n = n + 1
        if value[n] == nil or not item.test(v) then return false end
      end
      return n > 0
    end,
  }
end

--- Any of the values, or a type's.
function options.either(wanted, literal, other)
  return { wanted = wanted, test = function(value) return value == literal or other.test(value) end }
end

--- A name that belongs to another function, and why.
function options.refused(why)
  return { refused = why }
end

-- ---- declaring and checking -----------------------------------------------------------------

--- Declares an options table: its names and types.
---@param what string  who takes it, as the manual writes it ("fastpg.array")
---@param types table<string, table>
---@return table<string, table>  types
function options.declare(what, types)
  options.declared[what] = types
  return types
end

--- A set of names, which is no options table.
function options.set(...)
  local set = {}
  for i = 1, select("#", ...) do set[select(i, ...)] = true end
  return set
end

-- What was given, in a message: the type, and of a number the number.
local function describe(value)
  if value == core.null then return "fastpg.null" end
  if type(value) == "number" then return "number " .. tostring(value) end
  return type(value)
end

local function raise_wrong(what, name, wanted, value)
  local near = wanted.values and type(value) == "string" and suggest.phrase(value, wanted.values) or ""
  errors.argument("%s: %s must be %s, got %s%s", what, name, wanted.wanted, describe(value), near)
end

--- Raises unless a value is of a type.
---@param what string  who takes it
---@param name string  the option's
function options.check_value(what, name, wanted, value)
  if wanted.refused then errors.argument("%s: %s is not for it: %s", what, name, wanted.refused) end
  if not wanted.test(value) then raise_wrong(what, name, wanted, value) end
end

--- Raises for a name that is none of those that are known.
---@param what string  who takes options
---@param known table<string, any>
function options.unknown(what, name, known)
  errors.argument('%s: unknown option "%s"%s', what, tostring(name), suggest.phrase(tostring(name), known))
end

local function raise_unknown(what, name, types, columns)
  if type(name) ~= "string" then
    errors.argument("%s: options have names, got a %s key", what, type(name))
  end
  if columns and columns[name] ~= nil then
    errors.argument('%s: "%s" is a column, not an option: write where = { %s = … }', what, name, name)
  end
  local known = {}
  for option, wanted in pairs(types) do known[option] = not wanted.refused or nil end
  options.unknown(what, name, known)
end

--- Raises for a name that is not declared, and for a value that is not of its type.
---@param given table?  what the user gave; nil is fine
---@param types table<string, table>  as declared
---@param what string  who takes these options, for the message ("artist{…}")
---@param columns? table<string, any>  column names: one of them where an option is expected is a common slip
---@return table  given, or an empty table
function options.check(given, types, what, columns)
  if given == nil then return {} end
  if type(given) ~= "table" then
    errors.argument("%s: a table of options expected, got %s", what, type(given))
  end
  for name, value in next, given do
    local wanted = types[name]
    if wanted == nil then raise_unknown(what, name, types, columns) end
    if wanted.refused or not wanted.test(value) then options.check_value(what, name, wanted, value) end
  end
  return given
end

return options
