-- SPDX-License-Identifier: MIT
--
-- wait.copas: a copas loop, of any version.
--
-- Copas waits until sockets can be read.  What it is given is an object that looks like one and whose
-- descriptor is a gate (csrc/host/gate.c), readable when the connection is ready, the time is over or
-- somebody wakes it: of timers and threads copas offers too little in its older versions.

local setmetatable = setmetatable

local bell = require "fastpg.host.wait.copas_bell"
local copas = require "copas"
local core = require "fastpg.core"
local gates = require "fastpg.host.gates"

local host = { name = "copas", method = "copas.receive on an epoll descriptor", can_wait = core.is_yieldable }

-- ---- what looks like a socket -----------------------------------------------------------------

local Socket = {}
Socket.__index = Socket

function Socket:getfd() return self.gate:fd() end
function Socket:dirty() return false end
function Socket:close() end -- copas closes what a thread waited for last
function Socket:settimeout() end

-- Asked by copas.receive before and after it waits.  The first time there is nothing: other threads
-- get their turn.
function Socket:receive()
  self.result = self.asked and self.gate:result() or nil
  self.asked = true
  if self.result then return "" end
  return nil, "timeout"
end

-- ---- the host ---------------------------------------------------------------------------------

local waiting = setmetatable({}, { __mode = "k" }) -- coroutine -> the socket it waits for

local function new_socket() return setmetatable({ gate = gates.take() }, Socket) end

function host.wait(fd, mode, timeout)
  if not fd then return bell.wait(new_socket, timeout) end
  local socket = new_socket()
  socket.gate:arm(fd, mode, timeout)
  local co = coroutine.running()
  waiting[co] = socket
  copas.receive(socket, 0)
  waiting[co] = nil
  gates.give(socket.gate)
  if socket.result ~= "timeout" then return socket.result end
end

function host.wake(co)
  local socket = waiting[co]
  if socket then socket.gate:wake() else bell.wake(co) end
end

function host.spawn(fn)
  copas.addthread(function()
    host.wait(nil, nil, 0)
    fn()
  end)
end

return host
