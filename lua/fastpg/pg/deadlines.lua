-- SPDX-License-Identifier: MIT
--
-- deadlines: how long a statement may take, and how one is stopped: the part of a connection that the
-- clock and `task:cancel()` drive.
--
--   running ──time is over, task canceled──▶ overdue: the server is asked to stop, again and again
--      │                                        │              │
--      ▼                                        ▼              ▼ GRACE is over
--   result                    its answer: "timeout", "canceled"  closed: "timeout"
--
-- A request to cancel goes over a connection of its own, by a thread.  It may reach the server late, and
-- would hit the next statement: nobody sends one before it is through (`end_cancel`).

local error, pairs, pcall = error, pairs, pcall

local block_wait = require("fastpg.host.wait.block").wait
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local deadlines = {}

local Connection = {}

function deadlines.none() return nil end

-- How long the server may take to answer a cancel, or to bring a connection back to a clean state,
-- before it is closed.
Connection.GRACE = 2

-- What a connection has to know of tasks (fastpg.host.task sets them): take_cancel gives the error of one that
-- was canceled, once; put_cancel_back lets it be raised later; check_canceled raises it.
Connection.take_cancel, Connection.put_cancel_back, Connection.check_canceled =
  deadlines.none, deadlines.none, deadlines.none

--- When the statement must be over.  Where there is no such time and nothing else can run, the core waits by itself.
---@param deadline number?
function Connection:limit(deadline)
  self.deadline, self.overdue, self.eventful = deadline, nil, true
  local blocks = not deadline and self.wait == block_wait and not self.servers
  if blocks ~= self.blocks then
    self.blocks = blocks
    self.c:set_blocking(blocks)
  end
end

--- As in a plain script, without a limit.
function Connection:unlimited()
  self.wait, self.spend, self.wake = block_wait, nil, nil
  self:limit(nil)
end

--- The time that a statement has from here on, and the host that it waits with.
function Connection:arm()
  if self.lost then errors.raise("connection", "the connection was given up: " .. self.lost) end
  local host = self.pick()
  self.wait, self.spend, self.wake = host.wait, host.spend, host.wake
  if self.canceling then self:end_cancel() end
  self:tell_later()
  self.check_canceled()
  self:limit(self.deadline_of())
end

--- Time to clean up after a failure, whatever the statement's own was.
function Connection:arm_recovery()
  local host = self.pick()
  self.wait, self.wake = host.wait, host.wake
  self:limit(core.clock() + self.GRACE)
  if self.canceling then pcall(self.end_cancel, self) end
end

local function give_up(self)
  local err = self.interrupted or errors.new("timeout",
    "the statement's time is over and the server does not answer: the connection was closed", { where = core.where() })
  self.interrupted = nil
  self:doubt_commit(err)
  self:close()
  error(err, 0)
end

-- Seconds until a request that is not answered is repeated; the next pause is twice as long.
local PAUSE = 0.2

-- Asks the server to stop what it does, by a thread: that takes a connection of its own.  The server
-- forgets a request that comes between two messages of one statement, so it may be asked again.
local function ask_to_stop(self)
  local now = core.clock()
  if self.canceling and self.canceling:done() then self.canceling = nil end
  self.canceling = self.canceling or core.cancel_job(self.c)
  self.deadline = math.min(now + self.pause, self.patience)
  self.pause = 2 * self.pause
end

--- From now on the server is asked to stop; `drive` goes on until it has, or its time of grace is over.
function Connection:cancel()
  local now = core.clock()
  self.allowed = self.deadline
  self.overdue, self.patience, self.pause = now, now + self.GRACE, PAUSE
  ask_to_stop(self)
end

--- Waits until the request to cancel is through: one that comes late would hit the next statement.
function Connection:end_cancel()
  local job = self.canceling
  while job and self.c:usable() and not job:done() do
    local left = self.patience - core.clock()
    if left <= 0 then give_up(self) end
    self.wait(job:fd(), "r", left)
  end
  self.canceling = nil
end

-- The time is over: the server is asked to stop, and its answer ("canceled") ends the statement.  One
-- that does not answer either is left.
local function time_out(self)
  if not self.overdue then return self:cancel() end
  if core.clock() >= self.patience then give_up(self) end
  ask_to_stop(self)
end

-- The running task may have been canceled: likewise.
local function interrupt(self)
  if self.interrupted then return end
  self.interrupted, self.whom = self.take_cancel(), coroutine.running()
  if self.interrupted and not self.overdue then time_out(self) end
end

--- Waits for the socket, as `step` wants it, as long as the deadline allows.  It may come back early:
--- whoever waits steps again.
function Connection:await(want)
  local deadline, left = self.deadline, nil
  if deadline then
    left = deadline - core.clock()
    if left <= 0 then return time_out(self) end
  end
  local servers, slice = self.servers, nil
  if servers and (not left or left > servers.SILENCE) then left, slice = servers.SILENCE, true end
  self.waiter = coroutine.running()
  local ready = self.wait(self.fd, want, left)
  self.waiter = nil
  if slice and not ready and not self.lost and self.c:usable() then servers:silent(self) end
  if self.lost then
    local err = self:doubt_commit(errors.new("connection", "the connection was given up: " .. self.lost, { where = core.where() }))
    self:close()
    error(err, 0)
  end
  if self.doomed then
    self:close()
    error(self:doubt_commit(errors.new("closed", "the connection was closed while its statement ran", { where = core.where() })), 0)
  end
  if ready == "woken" then interrupt(self) end
end

--- For those who seldom wait: lets others go on where the host says that it is time.
function Connection:breathe()
  local spend = self.spend
  if not spend then return end
  spend(0)
  interrupt(self)
end

--- For those who seldom wait: looks whether the time is over.
---@return boolean  false: it is, and the server was asked to stop
function Connection:in_time()
  local deadline = self.deadline
  if deadline and core.clock() >= deadline then time_out(self) end
  return not self.overdue
end

--- What a statement whose time is over is told.
function Connection.timeout_error()
  return errors.new("timeout", "the statement was canceled: its time was over", { sqlstate = "57014" })
end

--- Why what comes next is not to begin any more: the task was canceled, or the time is over; nil: it may.
---@return table? err
function Connection:late_reason()
  local interrupted = self.interrupted
  self.interrupted = nil
  return interrupted or self.take_cancel() or self.overdue and self.timeout_error() or nil
end

--- Where a task was canceled and nothing failed: it is told at its next call.
function Connection:tell_later()
  if not self.interrupted then return end
  self.interrupted, self.overdue, self.deadline = nil, nil, self.allowed
  self.put_cancel_back(self.whom)
end

-- A result that was on its way before the cancel reached the server is a success.  Of several (a batch,
-- rows one by one) one that is still to come may be what was canceled.
function Connection:late_outcome(err)
  local interrupted = self.interrupted
  if not err then
    if not self.c:busy() then self:tell_later() end
    return nil
  end
  if err.sqlstate == "57014" then
    self.interrupted, self.overdue = nil, nil
    local late = interrupted or self.timeout_error()
    if err.commit_unknown then late.message, late.commit_unknown = late.message .. ": " .. err.message, true end
    return late
  end
  self:tell_later()
  self.overdue = nil
  return err
end

--- Adds these methods to a connection's.
function deadlines.extend(to)
  for name, method in pairs(Connection) do to[name] = method end
end

return deadlines
