-- SPDX-License-Identifier: MIT
--
-- wait.custom: a host from a user's table { wait = fn(fd, mode, seconds), spawn = fn?, can_wait = fn? }.
--
-- Such a wait ends by a descriptor or a time only.  Where it must end when called, too, the descriptor
-- is a gate's (csrc/host/gate.c), which turns readable for all three: always when nothing but a call or the
-- time is waited for, and for connections where there are tasks, that is, where there is `spawn`.

local type = type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local gated = require "fastpg.host.wait.gated"

local custom = {}

-- In a coroutine it depends on what is around the call (a callback of sort, say); in the main thread on
-- the user's wait.
local function can_wait()
  return not compat.running() or core.is_yieldable()
end

--- The host of a user's table.
---@param user { wait: function, spawn: function?, can_wait: function?, name: string? }
function custom.new(user)
  local host = { name = type(user.name) == "string" and user.name or "custom" }
  local wait
  wait, host.wake = gated(user)
  host.can_wait = user.can_wait or can_wait
  host.wait = wait
  if not user.spawn then
    function host.wait(fd, mode, timeout)
      if fd then return user.wait(fd, mode, timeout) end
      return wait(nil, nil, timeout)
    end
    return host
  end
  local first, last, list = 1, 0, {} -- started in order, whatever order coroutines go on in
  function host.spawn(fn)
    last = last + 1
    list[last] = fn
    user.spawn(function()
      wait(nil, nil, 0) -- the user's spawn may run it at once
      local next_one = list[first]
      list[first], first = nil, first + 1
      next_one()
    end)
  end
  return host
end

return custom
