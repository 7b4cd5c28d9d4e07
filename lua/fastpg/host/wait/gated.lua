-- SPDX-License-Identifier: MIT
--
-- wait.gated: waits that can be woken, made of a user's wait that can't, by gates (csrc/host/gate.c).

local setmetatable = setmetatable

local gates = require "fastpg.host.gates"

local MOST_PARKED = 100 -- a gate is three descriptors: no more than so many wait by gates for a call or a time
local PAUSE = 0.01 -- seconds; how often the others look
local MAIN = {} -- stands for the main thread, where Lua 5.1 has no name for it

--- wait(fd, mode, timeout) and wake(co) of a host.
---@param user { wait: function, sleep: function? }
return function(user)
  local waiting = setmetatable({}, { __mode = "k" }) -- coroutine -> its gate
  local parked = 0

  -- Without a gate: a short time, after which whoever waits looks again.
  local function look_again(co, timeout)
    local called = { wake = function(self) self.woken = true end }
    waiting[co] = called
    user.sleep(math.min(timeout or PAUSE, PAUSE))
    waiting[co] = nil
    return called.woken and "woken" or nil
  end

  local function gate_wait(co, fd, mode, timeout)
    local gate = gates.take()
    gate:arm(fd, mode, timeout)
    waiting[co] = gate
    user.wait(gate:fd(), "r", timeout)
    local result = gate:result()
    waiting[co] = nil
    gates.give(gate)
    if result ~= "timeout" then return result end
  end

  local function wait(fd, mode, timeout)
    local co = coroutine.running() or MAIN
    if fd then return gate_wait(co, fd, mode, timeout) end
    if parked >= MOST_PARKED and user.sleep then return look_again(co, timeout) end
    parked = parked + 1
    local result = gate_wait(co, nil, nil, timeout)
    parked = parked - 1
    return result
  end

  local function wake(co)
    local gate = waiting[co or MAIN]
    if gate then gate:wake() end
  end

  return wait, wake
end
