-- SPDX-License-Identifier: MIT
--
-- wait.cqueues: whichever controller is running.
--
-- The descriptor is taken out of the controller after each wait, because it may be closed right then;
-- nothing is kept of a controller, so a connection goes on under the next one.

local select, setmetatable = select, setmetatable

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local host = { name = "cqueues", method = "cqueues.poll", exact = true }

-- What each coroutine polls with: `r` and `w` are the descriptor in either direction, `call` is signalled
-- by wake.
local tools = setmetatable({}, { __mode = "k" })

local function tools_of(co)
  tools[co] = tools[co] or { r = { events = "r" }, w = { events = "w" }, call = condition.new() }
  return tools[co]
end

-- What cqueues.poll returns is what is ready, or the time that is over.
local function outcome(t, ...)
  local r, w = false, false
  for i = 1, select("#", ...) do
    local object = select(i, ...)
    if object == t.call then return "woken" end
    r, w = r or object == t.r, w or object == t.w
  end
  if r then return w and "rw" or "r" end
  return w and "w" or nil
end

local function poll(t, mode, timeout)
  if mode == "r" then return outcome(t, cqueues.poll(t.r, t.call, timeout)) end
  if mode == "w" then return outcome(t, cqueues.poll(t.w, t.call, timeout)) end
  return outcome(t, cqueues.poll(t.r, t.w, t.call, timeout))
end

function host.wait(fd, mode, timeout)
  local t = tools_of(coroutine.running())
  if not fd then return outcome(t, cqueues.poll(t.call, timeout)) end
  t.r.pollfd, t.w.pollfd = fd, fd
  local result = poll(t, mode, timeout)
  cqueues.cancel(fd)
  return result
end

function host.wake(co)
  local t = tools[co]
  if t then t.call:signal() end
end

host.leave = cqueues.cancel -- the descriptor is about to be closed by another coroutine
function host.loop() return (cqueues.running()) end

local spawned = setmetatable({}, { __mode = "k" }) -- controller -> functions, for it starts the last one first
function host.spawn(fn)
  local controller = cqueues.running()
  if not controller then errors.raise("no_loop", "no cqueues controller is running: spawn inside of one") end
  local list = spawned[controller] or { first = 1, last = 0 }
  spawned[controller], list.last = list, list.last + 1
  list[list.last] = fn
  controller:wrap(function()
    local next_one = list[list.first]
    list[list.first], list.first = nil, list.first + 1
    next_one()
  end)
end

-- Not in a coroutine inside of a controller's: a yield would go to whoever resumed that one.
function host.can_wait()
  local _, own = cqueues.running()
  return own == true and core.is_yieldable()
end

return host
