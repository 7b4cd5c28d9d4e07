-- SPDX-License-Identifier: MIT
--
-- task: coroutines that fastpg started, and how they wait for each other.
--
--   spawn ──▶ running ──▶ done (results or error) ──▶ everybody in `waiters` goes on
--                │ ▲
--                └─┘ cancel: the wait it is in raises "canceled", once
--
-- Which of them is running is in fastpg.host.current_task, how they wait in fastpg.host.parking.

local error, ipairs, pcall, select, setmetatable, tostring, type, xpcall =
  error, ipairs, pcall, select, setmetatable, tostring, type, xpcall

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"
local parking = require "fastpg.host.parking"
local step = require "fastpg.host.wait.step"
local stepper = require "fastpg.host.stepper"
local surface = require "fastpg.base.surface"
local trail = require "fastpg.host.trail"
local wait = require "fastpg.host.wait"

local task = {}

local pack, unpack = compat.pack, compat.unpack

-- ---- tasks ----------------------------------------------------------------------------------

local Task = { __name = "fastpg.task" }
local methods = {}

local unseen = {} -- failed tasks that nobody has waited for yet, in order

local function default_on_error(err, traceback)
  io.stderr:write("fastpg: error in a task: ", tostring(err), "\n", traceback or "", "\n")
end

task.hooks = {} -- on_error, as the user set it (fastpg.on_error)

--- Tells of an error that nothing else would tell of.
function task.report(err, traceback)
  local on_error = task.hooks.on_error or default_on_error
  local ok, problem = pcall(on_error, err, traceback)
  if ok then return end
  default_on_error(err, traceback)
  default_on_error(problem, "(raised by fastpg.on_error)")
end

local function report(t)
  t.seen = true
  task.report(t.error, t.traceback)
end

local function report_unseen()
  local list = unseen
  unseen = {}
  for _, t in ipairs(list) do
    if not t.seen then report(t) end
  end
end

local function finish(t, ok, ...)
  t.results = ok and pack(...) or nil
  if not ok then
    t.error = (...)
    t.seen = t.seen or errors.is(t.error, "canceled")
  end
  t.done = true
  current_task.leave(t)
  local waiters, group = t.waiters, t.gathered
  t.waiters, t.gathered = {}, nil
  for _, entry in ipairs(waiters) do parking.signal(entry) end
  if group then
    group.left = group.left - 1
    if not ok then group.failed = group.failed or t end
    if group.entry and (not ok or group.left == 0) then parking.signal(group.entry) end
  end
  if t.seen or ok or not wait.can_finish() then return end
  if t.host == step then
    unseen[#unseen + 1] = t
    return
  end
  t.host.wait(nil, nil, 0) -- whoever spawned it may be about to wait
  if not t.seen then report(t) end
end

-- Lua 5.4 closes it with a coroutine that somebody closed in the middle.
local Unfinished = { __close = function(unfinished)
  local t = unfinished.task
  if t.done then return end
  finish(t, false, errors.new("canceled", "the task's coroutine was closed"))
  if t.host == step then step.wake(t.co) end -- which finds that it is dead, and waits for it no longer
end }

local function body(t, fn, args)
  local co = coroutine.running()
  t.co = co
  current_task.enter(co, t)
  local function call()
    current_task.check()
    return fn(unpack(args, 1, args.n))
  end
  local function handler(err)
    t.traceback = debug.traceback("", 2):sub(2)
    return err
  end
  defer.close(setmetatable({ task = t }, Unfinished), function() finish(t, xpcall(call, handler)) end)
end

--- Starts fn(...) as a task: a coroutine of its own on the loop that is set or running.
---@param fn function
---@return fastpg.task
function task.spawn(fn, ...)
  if type(fn) ~= "function" then errors.argument("fastpg.spawn: a function expected, got %s", type(fn)) end
  local host = wait.host("fastpg.spawn")
  local t = setmetatable({
    host = host, done = false, seen = false, canceled = false, cancels = 0, waiters = {},
  }, Task)
  trail.begin(t)
  local args = pack(...)
  host.spawn(function() body(t, fn, args) end)
  return t
end

-- Waits until is_over() says so, which the tasks bring about.  Outside of any loop, and in a task that
-- can't yield (as on PUC Lua 5.1), the stepper is run from here.
-- (`group`: they are counted, and tell it when it is over.)
local function until_over(tasks, what, is_over, group)
  local here = wait.pick(nil)
  local function left() return not is_over() and tasks or nil end
  if tasks[1].host == step and not here.wake and not (stepper.is_running() and core.is_yieldable()) then
    return parking.waiting_for(left, false, what, stepper.run_until, is_over)
  end
  parking.waiting_for(left, false, what, function()
    while not is_over() do
      local entry = parking.entry(here, what)
      if group then group.entry = entry end
      for _, t in ipairs(group and {} or tasks) do
        t.seen = true
        if not t.done then t.waiters[#t.waiters + 1] = entry end
      end
      parking.park(entry)
    end
  end)
end

--- Waits until the task is done: its results; raises its error.
function methods.wait(t)
  if t.co and t.co == coroutine.running() then errors.raise("deadlock", "task:wait: a task can't wait for itself") end
  t.seen = true
  if not t.done then until_over({ t }, "task:wait", function() return t.done end) end
  trail.join(t)
  if t.results then return unpack(t.results, 1, t.results.n) end
  error(t.error, 0)
end

--- The call that the task waits in raises "canceled"; its transaction rolls back.  A task that is done
--- stays as it is.
function methods.cancel(t)
  if t.done then return end
  t.canceled = true
  if t.co then t.host.wake(t.co) end
end

surface.names(surface.methods(methods, { wait = 0, cancel = 0 }, Task, "a task", "task"), "a task")
local fields = { error = true, co = true, group = true, gathered = true, results = true, traceback = true, trail = true }
Task.__index = function(_, name)
  if fields[name] then return nil end
  return methods[name]
end
Task.__tostring = function(t)
  return ("task (%s)"):format(not t.done and "running" or t.results and "done" or "failed")
end

-- ---- several --------------------------------------------------------------------------------

local SPAWNED = 64 -- tasks are made at once where others wait for a turn

local function spawn_all(what, ...)
  local tasks = {}
  for i = 1, select("#", ...) do
    local fn = select(i, ...)
    if type(fn) ~= "function" then errors.argument("%s: functions expected, got %s", what, type(fn)) end
  end
  local fns = pack(...)
  for i = 1, fns.n do
    tasks[i] = task.spawn(fns[i])
    if i % SPAWNED == 0 then
      local here = wait.pick(nil)
      if here.spend then here.spend(0) end
    end
  end
  return tasks
end

local function cancel_rest(tasks)
  for _, t in ipairs(tasks) do
    t.seen = true
    t:cancel()
  end
  until_over(tasks, "fastpg.gather", function()
    for _, t in ipairs(tasks) do
      if not t.done then return false end
    end
    return true
  end)
end

-- The first result of each.
local function first_results(tasks)
  local results = {}
  for i, t in ipairs(tasks) do
    trail.join(t)
    results[i] = t.results[1]
  end
  return unpack(results, 1, #tasks)
end

--- Runs the functions side by side, each as a task, and gives the first result of each.  The first
--- error cancels the others, and is raised when they have ended.
function task.gather(...)
  local tasks = spawn_all("fastpg.gather", ...)
  if #tasks == 0 then return end
  local group = { left = 0, failed = nil, entry = nil }
  for _, t in ipairs(tasks) do
    t.seen = true
    if not t.done then
      t.gathered, group.left = group, group.left + 1
    elseif not t.results then
      group.failed = group.failed or t
    end
  end
  local function is_over() return group.failed ~= nil or group.left == 0 end
  local ok, err = pcall(until_over, tasks, "fastpg.gather", is_over, group)
  local failed = group.failed
  if ok and not failed then return first_results(tasks) end
  pcall(cancel_rest, tasks)
  error(failed and failed.error or err, 0)
end

--- Waits for that many seconds: this coroutine under a loop, the program in a script.
---@param seconds number
function task.sleep(seconds)
  seconds = options.seconds("fastpg.sleep", seconds, -math.huge)
  local host, ends = wait.pick(nil), core.clock() + seconds
  current_task.check() -- a cancel that came too late for the statement before
  repeat
    host.wait(nil, nil, math.max(ends - core.clock(), 0))
    current_task.check()
  until core.clock() >= ends
end

-- ---- the stepper's drivers ------------------------------------------------------------------

step.on_error = task.report

--- One turn of the built-in stepper: what is ready goes on.  Call it once per frame.
---@param timeout number?  seconds to wait for something to do; 0 (the default) never waits
---@param rows integer?  how many rows are decoded at most (1000): the rest comes with the next call
---@return boolean  whether tasks are left
function task.step(timeout, rows)
  timeout = timeout ~= nil and options.seconds("fastpg.step", timeout, -math.huge) or 0
  if rows ~= nil and (type(rows) ~= "number" or rows ~= rows or rows < 1) then
    errors.argument("fastpg.step: rows is a number from 1, got %s", type(rows))
  end
  local left = stepper.step(timeout, rows)
  if #unseen > 0 then report_unseen() end
  return left
end

local function raise_unseen()
  local first
  local list = unseen
  unseen = {}
  for _, t in ipairs(list) do
    if not t.seen then
      if first then report(t) else first = t end
    end
  end
  if not first then return end
  first.seen = true
  error(first.error, 0)
end

--- Runs the functions as tasks, and all tasks there are, until every one has ended: the results of
--- one function, or the first result of each of several.  Raises the first error that nobody waited for.
function task.run(...)
  if wait.host("fastpg.run") ~= step then
    errors.argument("fastpg.run runs the built-in stepper; another loop is set or running: use fastpg.spawn or gather")
  end
  local tasks = spawn_all("fastpg.run", ...)
  while stepper.step(nil) do end
  raise_unseen()
  for _, t in ipairs(tasks) do
    if not t.results then error(t.error, 0) end
  end
  if #tasks == 1 then return unpack(tasks[1].results, 1, tasks[1].results.n) end
  return first_results(tasks)
end

return task
