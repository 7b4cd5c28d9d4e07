-- SPDX-License-Identifier: MIT
--
-- compat: what the Luas do not have alike; in C it is csrc/lua/compat.h.

local select = select

local compat = {}

--- All arguments, with their number in `n`.
compat.pack = table.pack or function(...) return { n = select("#", ...), ... } end

compat.unpack = table.unpack or unpack

--- The length of a list, without its metatable's __len (which Lua 5.1 has not got).
compat.rawlen = rawlen or function(list) return #list end

--- The running coroutine; nil in the main thread, which has a coroutine of its own from Lua 5.2 on.
---@return thread?
function compat.running()
  local co, is_main = coroutine.running()
  if is_main then return nil end
  return co
end

return compat
