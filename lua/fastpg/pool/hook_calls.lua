-- SPDX-License-Identifier: MIT
--
-- hook_calls: how a hook is called, and who is inside of one: what a hook runs is no event itself.
--
-- Inside are the coroutine that called it, and coroutines that it made and resumed, as far as the host shows them.  A task is a
-- program of its own, also one that a hook spawned.

local coroutine, debug, error, ipairs, next, pairs, setmetatable, type, xpcall =
  coroutine, debug, error, ipairs, next, pairs, setmetatable, type, xpcall

local compat = require "fastpg.base.compat"
local current_task = require "fastpg.host.current_task"
local errors = require "fastpg.base.errors"
local task = require "fastpg.host.task"
local wait = require "fastpg.host.wait"

local hook_calls = {}

local MAIN = current_task.main

local marks = setmetatable({}, { __mode = "k" }) -- coroutine -> { task =, group = }

-- A mark, unless it is of a request that was killed, whose coroutine nginx gave to another one.
local function own(loop, co)
  local mark = marks[co]
  if not mark or mark.group == wait.group(loop) then return mark end
  marks[co] = nil
end

--- Whether the running coroutine is inside of a hook.
---@param loop string|table|nil  the database's `loop =` option
function hook_calls.is_inside(loop)
  if next(marks) == nil then return false end
  local co = compat.running() or MAIN
  if own(loop, co) then return true end
  if current_task.of(co ~= MAIN and co or nil) or not wait.is_exact(loop) then return false end
  local inside, several = current_task.enclosing()
  for other, mark in pairs(several and {} or marks) do
    if mark.task == inside and (other == MAIN or coroutine.status(other) == "normal") then return true end
  end
  return false
end

local function traced(err)
  return { err, debug.traceback("", 2):sub(2) }
end

--- Calls one: whether that went well, or the error and where it comes from.
---@param hook { fn: fun(event: table) }
function hook_calls.call(loop, hook, event)
  local co = compat.running() or MAIN
  local before = own(loop, co)
  marks[co] = before or { task = current_task.enclosing(), group = wait.group(loop) }
  local ok, problem = xpcall(function() hook.fn(event) end, traced)
  marks[co] = before
  if ok then return true end
  return false, problem[1], problem[2]
end

-- What is meant for who called: that the task is canceled, and Ctrl-C, of which the interpreter makes this text.
local function is_for_caller(err, cancels)
  if type(err) == "string" then return err:find "interrupted!$" ~= nil end
  return errors.is(err, "canceled") and current_task.cancels() ~= cancels
end

--- Tells all of a list, each with an event of its own.  Their errors go to fastpg.on_error.
---@param make fun(hook: table): table
function hook_calls.tell(loop, list, make)
  local ended
  for _, hook in ipairs(list) do
    local cancels = current_task.cancels()
    local ok, err, trace = hook_calls.call(loop, hook, make(hook))
    if not ok and is_for_caller(err, cancels) then
      ended = ended or { err }
    elseif not ok then
      task.report(err, trace)
    end
  end
  if ended then error(ended[1], 0) end
end

return hook_calls
