-- SPDX-License-Identifier: MIT
--
-- current_task: which task (fastpg.host.task) the running coroutine is, or runs inside of, and whether somebody
-- canceled it.

local pairs, pcall, setmetatable = pairs, pcall, setmetatable

local compat = require "fastpg.base.compat"
local errors = require "fastpg.base.errors"
local wait = require "fastpg.host.wait"

local current_task = {}

-- A coroutine keeps its task, and the task the coroutine: were either value strong, LuaJIT would never
-- collect them.
local by_thread = setmetatable({}, { __mode = "kv" }) -- coroutine -> its task

--- From here on the coroutine is that task's.
function current_task.enter(co, t)
  by_thread[co], t.group = t, wait.group()
end

--- The task is done.
function current_task.leave(t)
  if t.co then by_thread[t.co] = nil end
end

--- The task whose coroutine this is, or nil.  nginx uses the coroutine of one that was killed again, for
--- another request.
function current_task.of(co)
  local t = co and by_thread[co]
  if not t or t.group == wait.group() then return t end
  by_thread[co] = nil
  return nil
end

--- The tasks that the running coroutine runs inside of (of a coroutine of the user's own inside a
--- task it is that task).
---@return table?  the task
---@return boolean several  it can't be told which: loops run inside loops
function current_task.enclosing()
  local co = compat.running()
  if not co then return nil, false end
  local own = current_task.of(co)
  if own then return own, false end
  local group, found, several = wait.group(), nil, nil
  for thread, t in pairs(by_thread) do
    -- of a coroutine whose request is over ngx_lua would read what it has freed
    if t.group == group and not t.done and coroutine.status(thread) == "normal" then found, several = t, found ~= nil end
  end
  return found, several or false
end

local MAIN = {} -- stands for the main thread on every Lua
current_task.main = MAIN

--- Who runs: the task, or the coroutine that is none.
function current_task.me()
  local co = compat.running()
  if not co then return MAIN end
  return current_task.of(co) or co
end

-- ---- cancels --------------------------------------------------------------------------------

--- Raises when somebody canceled the task that this coroutine is.
function current_task.check()
  local t = current_task.of(coroutine.running())
  if t and t.canceled then
    t.canceled = false
    t.cancels = t.cancels + 1
    errors.raise("canceled", "the task was canceled")
  end
end

--- Like check, but tells: the error, or nil.
function current_task.take_cancel()
  local ok, err = pcall(current_task.check)
  return not ok and err or nil
end

--- Undoes take_cancel: the next call raises.
---@param co thread?  whose it was; of the running one
function current_task.put_cancel_back(co)
  local t
  if co then t = by_thread[co] else t = current_task.of(coroutine.running()) end
  if t then t.canceled, t.cancels = true, t.cancels - 1 end
end

--- How many cancels the task has been told that the running coroutine is inside of: whoever compares knows whether
--- an error in between, whatever it became on its way, came of one.
---@return integer
function current_task.cancels()
  local t = current_task.enclosing()
  return t and t.cancels or 0
end

return current_task
