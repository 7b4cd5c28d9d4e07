-- SPDX-License-Identifier: MIT
--
-- wait.custom: a host from a user's table { wait = fn(fd, mode, seconds), spawn = fn?, can_wait = fn? }.
--
-- Such a wait ends by a descriptor or a time only.  Where it must end when called, too, the descriptor
-- is a gate's (csrc/gate.c), which turns readable for all three: always when nothing but a call or the
-- time is waited for, and for connections where there are tasks, that is, where there is `spawn`.

local gates = require "fastpg.gates"

local custom = {}

local MAIN = {} -- stands for the main thread, where Lua 5.1 has no name for it

local function yes() return true end

-- A wait that can be woken, by a gate.
local function gated(user)
  local waiting = setmetatable({}, { __mode = "k" }) -- coroutine -> its gate

  local function wait(fd, mode, timeout)
    local gate = gates.take()
    gate:arm(fd, mode, timeout)
    local co = coroutine.running() or MAIN
    waiting[co] = gate
    user.wait(gate:fd(), "r", timeout)
    local result = gate:result()
    waiting[co] = nil
    gates.give(gate)
    if result ~= "timeout" then return result end
  end

  local function wake(co)
    local gate = waiting[co or MAIN]
    if gate then gate:wake() end
  end

  return wait, wake
end

--- The host of a user's table.
---@param user { wait: function, spawn: function?, can_wait: function?, name: string? }
function custom.new(user)
  local host = { name = type(user.name) == "string" and user.name or "custom" }
  local wait
  wait, host.wake = gated(user)
  host.can_wait = user.can_wait or yes
  host.wait = wait
  if not user.spawn then
    function host.wait(fd, mode, timeout)
      if fd then return user.wait(fd, mode, timeout) end
      return wait(nil, nil, timeout)
    end
    return host
  end
  -- the user's spawn may run it at once
  function host.spawn(fn)
    user.spawn(function()
      wait(nil, nil, 0)
      fn()
    end)
  end
  return host
end

return custom
