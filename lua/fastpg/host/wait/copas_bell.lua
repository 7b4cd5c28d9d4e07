-- SPDX-License-Identifier: MIT
--
-- wait.copas_bell: coroutines of copas that wait for a time or a call only.
--
-- Copas waits by select(2), which knows no descriptor over 1023: a thousand tasks that wait for a pool must
-- not need one each.  One thread lets them go on, which waits for one gate and ends when nobody is left.

local ipairs, next, pairs = ipairs, next, pairs

local copas = require "copas"
local core = require "fastpg.core"
local gates = require "fastpg.host.gates"

local bell = {}
local ELSEWHERE = { insert = function() end, push = function() end } -- looks like a queue of copas's

local parked = {} -- coroutine -> when it goes on; math.huge: when it is called only
local due, results = {}, {} -- those that go on now, in order; coroutine -> what its wait gives
local socket, earliest = nil, math.huge -- the thread's, while there is one; when it looks at the clock

local function let_go(co, result)
  if parked[co] == nil then return end
  parked[co] = nil
  due[#due + 1], results[co] = co, result
end

local function look_at_clock()
  local now, late = core.clock(), {}
  earliest = math.huge
  for co, ends in pairs(parked) do
    if ends <= now then late[#late + 1] = co elseif ends < earliest then earliest = ends end
  end
  table.sort(late, function(a, b) return parked[a] < parked[b] end)
  for _, co in ipairs(late) do let_go(co, nil) end
end

local function arm()
  local ends = due[1] and 0 or earliest
  socket.gate:arm(nil, nil, ends < math.huge and math.max(ends - core.clock(), 0) or nil)
end

local function thread()
  while due[1] or next(parked) do
    arm()
    socket.asked = false
    copas.receive(socket, 0)
    if earliest <= core.clock() then look_at_clock() end
    local list = due
    due = {}
    for _, co in ipairs(list) do copas.addthread(co) end
  end
  gates.give(socket.gate)
  socket = nil
end

--- Waits that long, or until wake.
---@param new_socket fun(): table  what copas can wait for (wait.copas)
function bell.wait(new_socket, timeout)
  local co, ends = coroutine.running(), timeout and core.clock() + timeout or math.huge
  parked[co] = ends
  if timeout and timeout <= 0 then let_go(co, nil) end
  local sooner = ends < earliest
  earliest = math.min(earliest, ends)
  if not socket then
    socket = new_socket()
    copas.addthread(thread)
  elseif sooner then
    arm()
  end
  coroutine.yield(socket, ELSEWHERE)
  local result = results[co]
  results[co] = nil
  return result
end

function bell.wake(co)
  let_go(co, "woken")
  if socket and not due[2] then arm() end
end

return bell
