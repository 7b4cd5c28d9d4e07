-- SPDX-License-Identifier: MIT
--
-- wait: which waiter serves a call.
--
-- A waiter is { wait = function(fd, mode, timeout) -> ready mode or nil, sleep = function(seconds) };
-- nothing above this file knows which one it has.  "auto" is decided at each call.

local errors = require "fastpg.errors"
local block = require "fastpg.wait.block"

local wait = {}

local default = "auto"

local coming = { step = true, luv = true, cqueues = true, copas = true, nginx = true }

-- A loop that is loaded would be frozen by a call that blocks inside one of its coroutines.
local function refuse_to_freeze()
  local co, is_main = coroutine.running()
  if co == nil or is_main then return end
  local loaded = package.loaded
  if loaded.copas or loaded.luv or rawget(_G, "vim") then
    errors.raise("blocking_call", 'this call would block the event loop: fastpg.set_loop("block") allows it')
  end
end

--- The waiter of a `loop =` option.
---@param loop string|table|nil  nil means the default of this Lua state
---@return { wait: function, sleep: function }
function wait.pick(loop)
  loop = loop or default
  if loop == "block" then return block end
  if type(loop) == "table" then return loop end
  refuse_to_freeze()
  return block
end

--- Raises unless `loop` is one that can be picked.
function wait.check(loop, what)
  if loop == nil or loop == "block" or loop == "auto" then return end
  if type(loop) == "table" then
    if type(loop.wait) ~= "function" then errors.argument("%s: a loop is a table with a function wait", what) end
    return
  end
  if coming[loop] then
    errors.raise("feature_not_supported", ('%s: loop = "%s" is not there yet; "block" is'):format(what, loop))
  end
  errors.argument('%s: unknown loop %s; known are "block" and a table { wait = … }', what,
    type(loop) == "string" and '"' .. loop .. '"' or type(loop))
end

--- fastpg.set_loop: the default of every `loop =` of this Lua state.
function wait.set_default(loop)
  wait.check(loop, "fastpg.set_loop")
  default = loop or "auto"
end

return wait
