-- SPDX-License-Identifier: MIT
--
-- undoing: runs a function that would leave something half-done if it did not return: because it raises,
-- or because Lua 5.4's coroutine.close ends its coroutine in the middle.

local closing = require "fastpg.base.closing"

local Guard = { __close = function(guard)
  if guard.undo then guard.undo(true) end
end }

local function finish(guard, ok, ...)
  local undo = guard.undo
  guard.undo = nil
  if ok then return ... end
  undo(false)
  error((...), 0)
end

local function run(guard, fn, ...)
  return finish(guard, pcall(fn, ...))
end

--- Gives what fn(...) gives, raises what it raises.
---@param undo fun(closed: boolean)  called unless it returns; closed: nothing can be waited for any more
---@param fn function
return function(undo, fn, ...)
  local guard = setmetatable({ undo = undo }, Guard)
  return closing(guard, run, guard, fn, ...)
end
