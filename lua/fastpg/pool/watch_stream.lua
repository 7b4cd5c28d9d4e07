-- SPDX-License-Identifier: MIT
--
-- watch_stream: db:each on a connection of a database that has hooks: one operation, from its start to its last row, or to
-- where it was left.  Its time is what was spent in fastpg, not what the program did with the rows.

local error, pcall, setmetatable = error, pcall, setmetatable

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local watch_events = require "fastpg.pool.watch_events"

local watch_stream = {}

local MAIN = current_task.main

-- In front of a source of rows (fastpg.pg.stream).
local Watched = {}
Watched.__index = Watched

-- Calls fn(...) as a part of the operation.
local function call(self, fn, ...)
  local inside, co, op = self.conn.inside, compat.running() or MAIN, self.op
  local before, began = inside[co], core.clock()
  inside[co] = true
  local ok, result = pcall(fn, ...)
  inside[co] = before
  op.seconds = op.seconds + core.clock() - began
  if ok then return result end
  op.error = op.error or result
  error(result, 0)
end

function Watched:next_row()
  local source, op = self.source, self.op
  local row = call(self, source.next_row, source)
  if row ~= nil then op.rows = op.rows + 1 end
  return row
end

function Watched:finish()
  local source = self.source
  local ok, err = pcall(call, self, source.finish, source)
  self:left()
  if not ok then error(err, 0) end
end

--- It ends where nothing more can be asked of its connection.
function Watched:left()
  watch_events.over(self.hooks, self.conn, { self.op })
end

--- It is collected: a hook can't be called now, and is told with what comes next.
function Watched:lost(owned)
  watch_events.late(self.hooks, self.op)
  if self.source.lost then self.source:lost(owned) end
end

--- Opens a source with open(conn, target, sql, list, n, owner).
---@param hooks table  (fastpg.pool.hooks)
function watch_stream.open(hooks, conn, open, target, sql, list, n, owner)
  local op = { sql = sql, values = list, n = n, where = core.where(), rows = 0, seconds = 0, pid = conn.hook_pid }
  watch_events.audit(hooks, conn, op)
  local self = setmetatable({ hooks = hooks, conn = conn, op = op }, Watched)
  local ok, source = pcall(call, self, open, conn, target, sql, list, n, owner)
  if not ok then
    self:left()
    error(source, 0)
  end
  self.source = source
  return self
end

return watch_stream
