-- SPDX-License-Identifier: MIT
--
-- surface: what users call and read, and what is refused there before anything else is looked at.
--
-- Every public function says how many arguments it takes at most; a surplus one is an error, never
-- dropped: `t:order_by("n", "desc")` meant something.  Methods make sure of their object, and a name
-- that an object does not have is an error with the near one.  spec/surface_spec.lua walks everything
-- that can be reached from a public object, and calls it with one argument too many.
--
-- (The methods of value objects are C's: csrc/lua/surface.c, fpg_set_methods, says the same of them.)

local assert, getmetatable, pairs, select, setmetatable, type = assert, getmetatable, pairs, select, setmetatable, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local suggest = require "fastpg.base.suggest"

local surface = {}

--- For a function that looks at the number of its arguments itself: SQL with its values, a list of functions.
surface.ANY = math.huge
local ANY = surface.ANY

-- ---- arguments ------------------------------------------------------------------------------

--- Raises: there are more arguments than the function takes.
local function surplus(name, most, got)
  errors.argument("%s: takes %s%d argument%s, got %d", name, most > 0 and "at most " or "", most, most == 1 and "" or "s", got)
end

surface.surplus = surplus

--- A function that refuses more arguments than that.
---@param name string  for the message: "fastpg.sleep"
---@param most integer
---@param fn function
---@return function
function surface.limited(name, most, fn)
  if most == ANY then return fn end
  return function(...)
    local n = select("#", ...)
    if n > most then surplus(name, most, n) end
    return fn(...)
  end
end

-- A method, with a look at its object (unless it takes one itself) and at the number of arguments.
local function method_of(name, most, fn, metatable, what, variable)
  if metatable then
    return function(self, ...)
      if getmetatable(self) ~= metatable then errors.misused(what, variable, name, self) end
      local n = select("#", ...)
      if n > most then surplus(name, most, n) end
      return fn(self, ...)
    end
  elseif most == ANY then
    return fn
  end
  return function(self, ...)
    local n = select("#", ...)
    if n > most then surplus(name, most, n) end
    return fn(self, ...)
  end
end

--- Gives methods their check of the object and of the number of arguments.  A method without a number,
--- and a number without a method, is a mistake of ours, found when the module is loaded.
---@param methods table<string, function>
---@param most table<string, integer>  the most arguments beside self
---@param metatable table|false  of the objects; false: the methods look at self themselves
---@param what string?  "a query"
---@param variable string?  what the manual calls one: "q"
---@return table methods
function surface.methods(methods, most, metatable, what, variable)
  for name in pairs(methods) do assert(most[name], name) end
  for name, n in pairs(most) do
    methods[name] = method_of(name, n, assert(methods[name], name), metatable, what, variable)
  end
  return methods
end

-- ---- names ----------------------------------------------------------------------------------

--- Raises for a name that an object does not have.
---@param what string  "a query"
---@param name string
---@param known table  the names there are
---@param hint string?  the end of the message
function surface.unknown(what, name, known, hint)
  errors.argument("%s%s", suggest.no_such(what, "", name, known), hint or "")
end

--- Whether a key that was read is a name of the user's: none of Lua's own kind (__name), which tools ask for.
function surface.is_name(key)
  return type(key) == "string" and key:sub(1, 2) ~= "__"
end

--- Lets a name that is not in the table say so; the table is then an __index.
---@param hint (fun(name: string): string?)?  what else to say of a name
---@return table names
function surface.names(names, what, hint)
  return setmetatable(names, {
    __index = function(_, key)
      if surface.is_name(key) then surface.unknown(what, key, names, hint and hint(key)) end
    end,
  })
end

--- The names of what a generic `for` takes and that may be left early: `close`, and no other.
---@param metatable table  of the objects
---@param what string  "what db:each gave"
---@param variable string  what the manual calls one: "rows"
---@param close function
---@param fields table<string, boolean>  its own, which may be nil
function surface.closable(metatable, what, variable, close, fields)
  local names = surface.methods({ close = close }, { close = 0 }, metatable, what, variable)
  metatable.__index = function(_, name)
    local method = names[name]
    if method == nil and not fields[name] and surface.is_name(name) then surface.unknown(what, name, names) end
    return method
  end
end

core.set_unknown_name(surface.unknown)
surface.methods(core.Error.__index, { is = 1 }, false)

return surface
