-- SPDX-License-Identifier: MIT
--
-- options: an unknown name in an options table is an error that says which one was meant.

local errors = require "fastpg.errors"
local suggest = require "fastpg.suggest"

local options = {}

--- A set of allowed names.
function options.set(...)
  local set = {}
  for i = 1, select("#", ...) do set[select(i, ...)] = true end
  return set
end

--- Raises for a name that is not in `allowed`.
---@param given table?  what the user gave; nil is fine
---@param allowed table<string, any>  the names
---@param what string  who takes these options, for the message ("artist{…}")
---@param columns? table<string, any>  column names: one of them where an option is expected is a common slip
---@return table  given, or an empty table
function options.check(given, allowed, what, columns)
  if given == nil then return {} end
  if type(given) ~= "table" then
    errors.argument("%s: a table of options expected, got %s", what, type(given))
  end
  for name in pairs(given) do
    if allowed[name] == nil then
      if type(name) ~= "string" then
        errors.argument("%s: options have names, got a %s key", what, type(name))
      end
      if columns and columns[name] ~= nil then
        errors.argument('%s: "%s" is a column, not an option: write where = { %s = … }', what, name, name)
      end
      errors.argument('%s: unknown option "%s"%s', what, name, suggest.phrase(name, allowed))
    end
  end
  return given
end

return options
