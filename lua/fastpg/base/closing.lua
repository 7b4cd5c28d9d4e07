-- SPDX-License-Identifier: MIT
--
-- closing: runs a function so that a value is closed when it is left, also by Lua 5.4's
-- coroutine.close, which no pcall sees.
--
-- The fourth value of a generic `for` is to be closed in Lua 5.4, and ignored by every Lua before: the
-- one way to say so in a source that all of them read.

local function once(_, before)
  return not before or nil
end

--- Gives what fn(...) gives.
---@param value table  its __close is called on leaving, on Lua 5.4
---@param fn function
return function(value, fn, ...)
  for _ in once, nil, false, value do -- luacheck: ignore 512
    return fn(...)
  end
end
