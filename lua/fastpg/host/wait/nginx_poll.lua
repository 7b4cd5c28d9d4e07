-- SPDX-License-Identifier: MIT
--
-- wait.nginx_poll: how a light thread of nginx waits where nginx's event loop can't watch the socket:
-- it looks again and again, with ngx.sleep in between.  The functions are those of core.nginx_events.

local pairs, rawget, setmetatable = pairs, rawget, setmetatable

local core = require "fastpg.core"

local ngx = rawget(_G, "ngx")
local poll = { can_wait = function() return false end }

local MOST = 0.016 -- the longest pause, in seconds

local woken = setmetatable({}, { __mode = "k" }) -- coroutine -> false while it waits, true: woken

function poll.wait(fd, mode, timeout)
  local co, pause, deadline = coroutine.running(), 0.001, timeout and core.clock() + timeout
  local ready = fd and core.poll(fd, mode, 0)
  local left = timeout
  woken[co] = false
  while not ready do
    ngx.sleep(left and math.max(0.001, math.min(left, pause)) or pause)
    ready = woken[co] and "woken" or fd and core.poll(fd, mode, 0)
    left = deadline and deadline - core.clock()
    if left and left <= 0 then break end
    pause = math.min(pause * 2, MOST)
  end
  woken[co] = nil
  return ready or nil
end

function poll.wake(co)
  if woken[co] == false then woken[co] = true end
end

-- can_wait, group, hold, release, is_lost
for name, fn in pairs(core.nginx_requests() or {}) do poll[name] = fn end

return poll
