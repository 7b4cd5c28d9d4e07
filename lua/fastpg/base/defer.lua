-- SPDX-License-Identifier: MIT
--
-- defer: what is run when a function is left, in whatever way: it returns, it raises, or Lua 5.4's coroutine.close
-- ends its coroutine in the middle, which no pcall sees; and what is run when an object is collected.

local error, getmetatable, pcall, rawget, setmetatable = error, getmetatable, pcall, rawget, setmetatable

local defer = {}

local function once(_, before)
  return not before or nil
end

--- Gives what fn(...) gives, and closes the value on leaving (on Lua 5.4; the others have no __close).
---
--- The fourth value of a generic `for` is to be closed in Lua 5.4, and ignored by every Lua before: the one way to say
--- so in a source that all of them read.
---@param value table  with a __close
---@param fn function
function defer.close(value, fn, ...)
  for _ in once, nil, false, value do -- luacheck: ignore 512
    return fn(...)
  end
end

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

--- Gives what fn(...) gives, raises what it raises; what it would leave half-done is undone unless it returns.
---@param undo fun(closed: boolean)  closed: its coroutine was, so that nothing can be waited for any more
---@param fn function
function defer.undo(undo, fn, ...)
  local guard = setmetatable({ undo = undo }, Guard)
  return defer.close(guard, run, guard, fn, ...)
end

--- Runs fn when the object is collected, on 5.1 and LuaJIT, where tables have no __gc (elsewhere its metatable's is
--- run).  An error of fn ends there: LuaJIT would raise it in whatever code happened to run.
---@param object table  keeps what stands in for it in a field `sentinel`
function defer.collected(object, fn)
  local new_proxy = rawget(_G, "newproxy")
  if not new_proxy then return end
  object.sentinel = new_proxy(true)
  getmetatable(object.sentinel).__gc = function() pcall(fn) end
end

return defer
