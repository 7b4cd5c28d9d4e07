-- SPDX-License-Identifier: MIT
--
-- stepper: the built-in loop, for games, tools and those who embed Lua: coroutines that wait in one
-- poll(2) and go on when somebody calls `step`, once per frame say.
--
-- Only coroutines that `spawn` made wait here: one of the user's own inside them can't be told apart
-- from a generator, whose yield would go to the wrong resumer.

local error, pcall = error, pcall

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local host = { name = "step", method = "poll", exact = true } -- see fastpg.host.wait
local stepper = { host = host }

local SLICE = 0.0003 -- seconds of a step after which what is ready waits for the next one
local ROWS = 1000

local poller = core.poller()
local slots = {} -- coroutine -> its slot, as long as it lives
local at = {} -- slot -> coroutine
local free = {} -- slots of those that ended
local waiting = {} -- coroutine -> true
local queue, first, queued = {}, 1, 0 -- coroutines that go on at once
local background = {} -- coroutines that nobody waits for the end of
local running, alive, in_background, rows_left, ends = nil, 0, 0, ROWS, 0

local function enqueue(co)
  queue[queued + 1] = co
  queued = queued + 1
end

---@param fn function
---@param is_background boolean?  it does not count among those that are left
function host.spawn(fn, is_background)
  local co = coroutine.create(fn)
  local slot = free[#free] or alive + 1
  queue[queued + 1], at[slot] = co, co -- what may fail for want of memory comes before it counts
  slots[co] = slot
  if is_background then background[co], in_background = true, in_background + 1 end
  queued, alive, free[#free] = queued + 1, alive + 1, nil
end

function host.can_wait() return slots[coroutine.running() or host] ~= nil and core.is_yieldable() end

function host.wait(fd, mode, timeout)
  local co = coroutine.running()
  poller:watch(slots[co], fd, mode, timeout)
  waiting[co] = true
  local result
  repeat result = coroutine.yield() until not waiting[co]
  return result
end

function host.wake(co)
  if not waiting[co] then return end
  waiting[co] = nil
  poller:forget(slots[co])
  enqueue(co)
end

--- Counts rows that were decoded (0: looks at the clock alone): when a step has had its share, the rest comes in the next
--- one.  Gives how many rows are left of the share.
function host.spend(n)
  local before = rows_left
  rows_left = before - n
  if rows_left > 0 and (n > 0 and before % 32 >= n or core.clock() < ends) then return rows_left end
  rows_left = 0
  if host.can_wait() then host.wait(nil, nil, 0) end
  return rows_left
end

--- Whether a coroutine of the stepper is running.
function stepper.is_running() return running ~= nil end

local function forget(co)
  local slot = slots[co]
  free[#free + 1] = slot -- first: it may fail for want of memory
  if background[co] then background[co], in_background = nil, in_background - 1 end
  alive, slots[co], at[slot] = alive - 1, nil, nil
end

local function resume(co, result)
  local before = running
  running = co
  local ok, err = true, nil
  if coroutine.status(co) ~= "dead" then ok, err = coroutine.resume(co, result) end -- else closed by somebody
  running = before
  if coroutine.status(co) == "dead" then
    forget(co)
    if not ok then host.on_error(err, debug.traceback(co)) end
  elseif not waiting[co] then -- a yield of its own: on with it in the next step
    waiting[co] = true
    poller:watch(slots[co], nil, nil, 0)
  end
end

-- Whether the step has had its share: whoever else is ready goes on in the next one.
local function is_spent() return rows_left <= 0 or core.clock() >= ends end

local function run_queue() -- allocates nothing: a turn with nothing to do leaves no garbage
  local last = queued
  while first <= last and first <= queued do
    local co = queue[first]
    queue[first] = nil
    first = first + 1
    resume(co, "woken")
    if is_spent() then break end
  end
  if first > queued then first, queued = 1, 0 end
end

-- Whether that were all: those that are left are the first of the next step.
local function run_ready()
  local slot, mode = poller:next()
  while slot do
    local co = at[slot]
    waiting[co] = nil
    resume(co, mode)
    if is_spent() then return false end
    slot, mode = poller:next()
  end
  return true
end

-- Who waits for more than time says when it is over.
local function turn(timeout, is_over)
  local found
  repeat
    run_queue()
    if not run_ready() then break end -- of the step before, or of a turn that this one is inside of
    if alive == 0 or is_over and is_over() then break end
    if queued > 0 or timeout == nil and alive == in_background then timeout = 0 end
    if timeout == nil and poller:idle() then
      errors.raise("deadlock", "every task waits for another one, and nothing can wake any of them")
    end
    found = poller:wait(timeout)
    timeout = 0
    run_ready()
  until found == 0 and queued == 0 or is_spent()
end

-- As turn, which may end half-way for want of memory: whose turn it was is not running then, and goes on later.
local function whole_turn(timeout, is_over)
  local before = running
  local ok, err = pcall(turn, timeout, is_over)
  if ok then return end
  local co = running
  running = before
  if co ~= before and slots[co] and not waiting[co] then
    if coroutine.status(co) == "dead" then forget(co) else enqueue(co) end
  end
  error(err, 0)
end

--- One turn: lets what is ready go on; waits at most `timeout` seconds (nil: for ever) for something.
---@return boolean  whether coroutines are left
function stepper.step(timeout, rows)
  if running then errors.raise("invalid_argument", "fastpg.step and fastpg.run can't be called inside a task") end
  rows_left, ends = rows or ROWS, core.clock() + SLICE
  whole_turn(timeout)
  return alive > in_background
end

--- Turns until is_over() says so, from outside of all tasks or inside of one that can't yield.
---@param is_over fun(): boolean
function stepper.run_until(is_over)
  while not is_over() do
    rows_left, ends = ROWS, core.clock() + SLICE
    whole_turn(nil, is_over)
  end
end

return stepper
