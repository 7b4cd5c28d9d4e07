-- SPDX-License-Identifier: MIT
--
-- round_trips.lua: how often a function waits for the server's answer.

local compat = require "fastpg.base.compat"
local Connection = require "fastpg.pg.connection"

--- Round trips (and results of a pipeline) of fn, whichever way they go: over a waiter, or straight in the core.
---@param fn function
---@return integer
return function(fn)
  local core, kept, n = debug.getregistry()["fastpg.connection"].__index, {}, 0
  for name, object in pairs{ drive = Connection, ask = core, ask_list = core, command = core } do
    local method = object[name]
    kept[name] = function() object[name] = method end
    object[name] = function(...)
      local results = compat.pack(method(...))
      if results[1] ~= false then n = n + 1 end -- (false: nothing was sent)
      return compat.unpack(results, 1, results.n)
    end
  end
  local ok, err = pcall(fn)
  for _, restore in pairs(kept) do restore() end
  if not ok then error(err, 0) end
  return n
end
