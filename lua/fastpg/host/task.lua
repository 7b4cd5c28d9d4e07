-- SPDX-License-Identifier: MIT
--
-- task: coroutines that fastpg started, and how they wait for each other.
--
--   spawn ──▶ running ──▶ done (results or error) ──▶ everybody in `waiters` goes on
--                │ ▲
--                └─┘ cancel: the wait it is in raises "canceled", once
--
-- Waiting is parking: an entry { host, co, ready } that somebody signals.  The same entries serve
-- those who wait for a connection (pool) or for their turn on one (turn).
--
-- A coroutine that waits says for whom (`waits_for`), so that a circle of waits is an error at once
-- and never a silence.

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"
local step = require "fastpg.host.wait.step"
local stepper = require "fastpg.host.stepper"
local surface = require "fastpg.base.surface"
local wait = require "fastpg.host.wait"

local task = {}

-- A coroutine keeps its task, and the task the coroutine: were either value strong, LuaJIT would never
-- collect them.
local by_thread = setmetatable({}, { __mode = "kv" }) -- coroutine -> its task
local waits_for = setmetatable({}, { __mode = "kv" }) -- who -> { others = fn, any = }: whom it waits for

local pack, unpack = compat.pack, compat.unpack

-- ---- who is running -------------------------------------------------------------------------

--- The task whose coroutine this is, or nil.  nginx uses the coroutine of one that was killed again, for
--- another request.
function task.of(co)
  local t = co and by_thread[co]
  if not t or t.group == wait.group() then return t end
  by_thread[co] = nil
  return nil
end

--- The tasks that the running coroutine runs inside of (of a coroutine of the user's own inside a
--- task it is that task).
---@return table?  the task
---@return boolean several  it can't be told which: loops run inside loops
function task.enclosing()
  local co = compat.running()
  if not co then return nil, false end
  local own = task.of(co)
  if own then return own, false end
  local group, found, several = wait.group(), nil, nil
  for thread, t in pairs(by_thread) do
    -- of a coroutine whose request is over ngx_lua would read what it has freed
    if t.group == group and not t.done and coroutine.status(thread) == "normal" then found, several = t, found ~= nil end
  end
  return found, several or false
end

--- Raises when somebody canceled the task that this coroutine is.
function task.check()
  local t = task.of(coroutine.running())
  if t and t.canceled then
    t.canceled = false
    t.cancels = t.cancels + 1
    errors.raise("canceled", "the task was canceled")
  end
end

--- Like check, but tells: the error, or nil.
function task.take_cancel()
  local ok, err = pcall(task.check)
  return not ok and err or nil
end

--- Undoes take_cancel: the next call raises.
---@param co thread?  whose it was; of the running one
function task.put_cancel_back(co)
  local t
  if co then t = by_thread[co] else t = task.of(coroutine.running()) end
  if t then t.canceled, t.cancels = true, t.cancels - 1 end
end

--- How many cancels the task has been told that the running coroutine is inside of: whoever compares knows whether
--- an error in between, whatever it became on its way, came of one.
---@return integer
function task.cancels()
  local t = task.enclosing()
  return t and t.cancels or 0
end

-- ---- parking --------------------------------------------------------------------------------

--- What the running coroutine can be woken by; raises where it can't wait.
---@param host table
---@param what string  what it would wait for, for the message
function task.entry(host, what)
  if not host.wake then
    errors.raise("blocking_call", ("%s would have to wait for another coroutine, and here nothing else can run: "
      .. "wait inside a task (fastpg.spawn) or a coroutine of the event loop"):format(what))
  end
  return { host = host, co = coroutine.running(), ready = false }
end

--- Waits until the entry is signaled.
---@param seconds number?
---@return boolean  false: the time is over first
function task.park(entry, seconds)
  local deadline = seconds and core.clock() + seconds
  while not entry.ready do
    task.check()
    local left = deadline and deadline - core.clock()
    if left and left <= 0 then return false end
    entry.parked = true
    entry.host.wait(nil, nil, left)
  end
  return true
end

--- Takes an entry out of a list of those who wait.
function task.remove(list, entry)
  for i, other in ipairs(list) do
    if other == entry then
      table.remove(list, i)
      return
    end
  end
end

--- Lets whoever waits with this entry go on.
function task.signal(entry)
  entry.ready = true
  entry.host.wake(entry.co)
end

-- ---- circles --------------------------------------------------------------------------------

local MAIN = {} -- stands for the main thread on every Lua
task.main = MAIN

--- Who runs: the task, or the coroutine that is none.
function task.me()
  local co = compat.running()
  if not co then return MAIN end
  return task.of(co) or co
end

--- Whether that task or coroutine, as `me` gives it, waits for nobody.
function task.goes_on(who)
  return not waits_for[who] or type(who) == "table" and who.canceled
end

-- Whom `who` waits for at this moment, and whether one of them is enough; nil: it can go on by itself.
local function needs(who)
  if task.goes_on(who) then return nil end
  local waiting = waits_for[who]
  return waiting.others(), waiting.any
end

-- Adds to `graph` everybody that `others` wait for, directly or through others.
local function explore(graph, others)
  for _, who in ipairs(others) do
    if graph[who] == nil then
      local list, any = needs(who)
      graph[who] = list and { list = list, any = any } or false
      if list then explore(graph, list) end
    end
  end
end

local function is_stuck(graph, node)
  for _, who in ipairs(node.list) do
    local stuck = graph[who] ~= false
    if stuck ~= node.any then return stuck end -- one is enough: to be stuck, or to go on
  end
  return node.any and #node.list > 0
end

-- Whether `me`, once it waits for those, would wait for ever: everybody is taken to be stuck who is not
-- found to go on.
local function is_circle(me, others, any)
  local graph = { [me] = { list = others, any = any } }
  explore(graph, others)
  local changed
  repeat
    changed = false
    for who, node in pairs(graph) do
      if node and not is_stuck(graph, node) then graph[who], changed = false, true end
    end
  until not changed
  return graph[me] ~= false
end

-- The list is forgotten with this call: who waits must not keep those who are gone.
local function would_be_circle(me, others, any)
  local list = others()
  return list ~= nil and is_circle(me, list, any)
end

--- The running coroutine waits for nobody: in nginx it may be one that was killed in a wait, and is used
--- again for another request.
function task.awake()
  waits_for[task.me()] = nil
end

--- Runs fn(...) while it is known that this coroutine waits for all (or any) of those; raises where
--- that would be a circle.
---@param others fun(): table?  list of tasks and coroutines, as `me` gives them; nil: it is over
---@param any boolean  one of them is enough to go on
function task.waiting_for(others, any, what, fn, ...)
  local me = task.me()
  if would_be_circle(me, others, any) then
    errors.raise("deadlock", what .. " would never end: what it waits for waits for this coroutine")
  end
  local before = waits_for[me]
  local node = { others = others, any = any } -- held by this coroutine alone, with what the function refers to
  waits_for[me] = node
  local results = pack(pcall(fn, ...))
  node.others = nil
  waits_for[me] = before
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end

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
  if t.co then by_thread[t.co] = nil end
  local waiters = t.waiters
  t.waiters = {}
  for _, entry in ipairs(waiters) do task.signal(entry) end
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
  by_thread[co], t.group = t, wait.group()
  local function call()
    task.check()
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
  local args = pack(...)
  host.spawn(function() body(t, fn, args) end)
  return t
end

-- Waits until is_over() says so, which the tasks bring about.  Outside of any loop, and in a task that
-- can't yield (as on PUC Lua 5.1), the stepper is run from here.
local function until_over(tasks, what, is_over)
  local here = wait.pick(nil)
  local function left() return not is_over() and tasks or nil end
  if tasks[1].host == step and not here.wake and not (stepper.is_running() and core.is_yieldable()) then
    return task.waiting_for(left, false, what, stepper.run_until, is_over)
  end
  task.waiting_for(left, false, what, function()
    while not is_over() do
      local entry = task.entry(here, what)
      for _, t in ipairs(tasks) do
        t.seen = true
        if not t.done then t.waiters[#t.waiters + 1] = entry end
      end
      task.park(entry)
    end
  end)
end

--- Waits until the task is done: its results; raises its error.
function methods.wait(t)
  if t.co and t.co == coroutine.running() then errors.raise("deadlock", "task:wait: a task can't wait for itself") end
  t.seen = true
  if not t.done then until_over({ t }, "task:wait", function() return t.done end) end
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
local fields = { error = true, co = true, group = true, results = true, traceback = true }
Task.__index = function(_, name)
  if fields[name] then return nil end
  return methods[name]
end
Task.__tostring = function(t)
  return ("task (%s)"):format(not t.done and "running" or t.results and "done" or "failed")
end

-- ---- several --------------------------------------------------------------------------------

local function spawn_all(what, ...)
  local tasks = {}
  for i = 1, select("#", ...) do
    local fn = select(i, ...)
    if type(fn) ~= "function" then errors.argument("%s: functions expected, got %s", what, type(fn)) end
  end
  for i = 1, select("#", ...) do tasks[i] = task.spawn((select(i, ...))) end
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
  for i, t in ipairs(tasks) do results[i] = t.results[1] end
  return unpack(results, 1, #tasks)
end

--- Runs the functions side by side, each as a task, and gives the first result of each.  The first
--- error cancels the others, and is raised when they have ended.
function task.gather(...)
  local tasks = spawn_all("fastpg.gather", ...)
  if #tasks == 0 then return end
  for _, t in ipairs(tasks) do t.seen = true end
  local failed
  local function is_over()
    local left = false
    for _, t in ipairs(tasks) do
      if t.done and not t.results then
        failed = failed or t
        return true
      end
      left = left or not t.done
    end
    return not left
  end
  local ok, err = pcall(until_over, tasks, "fastpg.gather", is_over)
  if ok and not failed then return first_results(tasks) end
  pcall(cancel_rest, tasks)
  error(failed and failed.error or err, 0)
end

--- Waits for that many seconds: this coroutine under a loop, the program in a script.
---@param seconds number
function task.sleep(seconds)
  seconds = options.seconds("fastpg.sleep", seconds, -math.huge)
  local host, ends = wait.pick(nil), core.clock() + seconds
  task.check() -- a cancel that came too late for the statement before
  repeat
    host.wait(nil, nil, math.max(ends - core.clock(), 0))
    task.check()
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
