-- SPDX-License-Identifier: MIT
--
-- yields.lua: whether coroutines can wait here at all: not on PUC Lua 5.1, where pcall stands in the way.

return select(2, coroutine.resume(coroutine.create(function() return pcall(coroutine.yield, 1) end))) == 1
