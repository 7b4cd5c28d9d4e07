-- SPDX-License-Identifier: MIT
--
-- later: modules that are loaded when a function of theirs is called for the first time.  What a program never calls costs
-- it neither time nor memory, through which Lua's collector would go again and again.  All that a program can do without
-- that connects, reads, writes rows one by one and has transactions is loaded so.
--
-- They are as they were when fastpg was loaded: lua/fastpg/load_core.lua has their text and Lua's own functions of then, and
-- where it can't have them, or where processes will share what is loaded (nginx), all of them are loaded at once.
--
-- `load` is written as `function() return require "fastpg.…" end`, so that spec/rooms_spec.lua reads it.

local next, select, setmetatable = next, select, setmetatable

local later = {}
local waiting = {} -- of each: a function that loads it, unless that was done

local function once(load)
  local module
  local function get()
    if module == nil then module = load() end
    return module
  end
  waiting[#waiting + 1] = get
  return get
end

--- A module of functions: each field is one that loads the module and calls its own; from then on it is its own.
---@param load fun(): table
---@return table
function later.module(load)
  local module = {}
  local get = once(function()
    local own = load()
    for name in next, module do module[name] = own[name] end
    setmetatable(module, { __index = own })
    return own
  end)
  return setmetatable(module, {
    __index = function(self, name)
      local function call(...) return get()[name](...) end
      self[name] = call
      return call
    end,
  })
end

--- Methods that a module adds by its `extend(methods)`.
---@param methods table  gets functions of these names
---@param load fun(): table
---@param ... string  the names
function later.methods(methods, load, ...)
  local get = once(function()
    local own = setmetatable({}, { __index = methods })
    load().extend(own)
    return own
  end)
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    methods[name] = function(...) return get()[name](...) end
  end
end

--- Loads all that were not yet, and what those have waiting.
function later.all()
  local i = 1
  while waiting[i] do
    waiting[i]()
    i = i + 1
  end
end

return later
