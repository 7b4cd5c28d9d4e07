-- SPDX-License-Identifier: MIT
--
-- watch_events: what hooks are told of an operation of a connection (fastpg.pool.watch).
--
--   { sql =, values = a list or nil, n =, seconds =, rows =, bytes =, error =, runs =, where =, pid = }
--
-- `where` and `pid` are there where they were noted before; `runs` in a batch.

local error, ipairs, pairs, pcall = error, ipairs, pairs, pcall

local Connection = require "fastpg.pg.connection"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local hook_calls = require "fastpg.pool.hook_calls"

local watch_events = {}

-- Of CALL, DO and EXECUTE nobody knows what they do: they may change something.  (COPY: kind_of)
local DML = { INSERT = true, UPDATE = true, DELETE = true, MERGE = true, TRUNCATE = true, CALL = true, DO = true, EXECUTE = true }
local DDL = {
  CREATE = true, ALTER = true, DROP = true, COMMENT = true, GRANT = true, REVOKE = true, REASSIGN = true, SECURITY = true,
  IMPORT = true, REINDEX = true, CLUSTER = true, REFRESH = true,
}
local READS = { SELECT = true, VALUES = true, TABLE = true }

local function copy_of(list, n)
  local copy = { n = n }
  for i = 1, n do copy[i] = list[i] end
  return copy
end

-- ---- audit ----------------------------------------------------------------------------------

-- COPY … TO STDOUT changes nothing (the statement that it may have inside is among the verbs, too); FROM, and TO a file or a
-- program of the server, does.
local function kind_of(sql, one, verb, standard)
  if verb == "COPY" then return core.copy_direction(sql:sub(one.first, one.last), standard) ~= "out" and "dml" or nil end
  return DML[verb] and "dml" or DDL[verb] and "ddl" or nil
end

local function add_changes(list, sql, standard)
  for _, one in ipairs(core.statements(sql, standard)) do
    for _, verb in ipairs(one.verbs) do
      local kind = kind_of(sql, one, verb, standard)
      if kind then list[#list + 1] = { kind = kind, verb = verb } end
    end
  end
  return list
end

-- What a text changes.  In a batch one that stands before it may change how backslashes read: then both readings count.
local function changes_of(conn, op)
  local standard = conn.standard_strings
  local list = add_changes({}, op.sql, standard)
  if op.in_batch and #list == 0 and op.sql:find("\\", 1, true) then add_changes(list, op.sql, not standard) end
  return list
end

--- Tells of what an operation is about to change; raises what a hook raises.
function watch_events.audit(self, conn, op)
  local list = self.audit
  if not list or hook_calls.is_inside(self.loop) then return end
  for _, change in ipairs(changes_of(conn, op)) do
    for _, hook in ipairs(list) do
      local ok, err = hook_calls.call(self.loop, hook, {
        kind = change.kind, verb = change.verb, sql = op.sql, where = op.where or core.where(), pid = conn.hook_pid,
        values = hook.values and op.values and copy_of(op.values, op.n) or nil,
      })
      if not ok then
        conn.refused = err
        error(err, 0)
      end
    end
  end
end

-- ---- plans ----------------------------------------------------------------------------------

local function is_read(conn, sql)
  local list = core.statements(sql, conn.standard_strings)
  if #list ~= 1 or not READS[list[1].verb] then return false end
  for _, verb in ipairs(list[1].verbs) do
    if not READS[verb] then return false end
  end
  return true
end

local function explain(conn, sql, values, n)
  local lines = {}
  for i, row in ipairs(Connection.run_once(conn, "EXPLAIN " .. sql, fetch.arrays, nil, values, n)) do lines[i] = row[1] end
  return table.concat(lines, "\n")
end

local NAME = "fastpg_explain"

-- A plan shows the values that it was made for.  So it is made for none, as the server makes one of a statement that it has
-- prepared.
local function explain_without(conn, sql, n)
  conn:simple_own("BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; PREPARE " .. NAME .. " AS " .. sql)
  local ok, plan = pcall(explain, conn, ("EXECUTE %s(%s)"):format(NAME, ("NULL, "):rep(n):sub(1, -3)), {}, 0)
  conn:simple_own("ROLLBACK; DEALLOCATE " .. NAME)
  if not ok then error(plan, 0) end
  return plan
end

-- The plan of what was run, which is not run again; nil where it writes, or where a failure would end a transaction.
local function plan_of(conn, op, with_values)
  if op.error or not op.values or not conn.c:usable() or conn.c:transaction_status() ~= "idle" or not is_read(conn, op.sql) then
    return nil
  end
  local co, cancels = current_task.me(), current_task.cancels()
  conn.inside[co] = true
  local ok, plan
  if op.n == 0 or with_values then
    ok, plan = pcall(explain, conn, op.sql, op.values, op.n)
  else
    ok, plan = pcall(explain_without, conn, op.sql, op.n)
  end
  conn.inside[co] = nil
  if ok then return plan end
  if conn.c:usable() and conn.c:transaction_status() ~= "idle" then conn:reset() end
  if errors.is(plan, "canceled") and current_task.cancels() ~= cancels then error(plan, 0) end
  return nil
end

-- ---- query and slow -------------------------------------------------------------------------

local function event_of(conn, op, hook)
  return {
    sql = op.sql, seconds = op.seconds, rows = op.rows, bytes = op.bytes, error = op.error, runs = op.runs, where = op.where,
    pid = op.pid or conn.hook_pid, values = hook.values and op.values and copy_of(op.values, op.n) or nil,
    plan = hook.explain and plan_of(conn, op, hook.values) or nil,
  }
end

local function tell_notices(self, conn)
  local list = conn.c:notices()
  if not list or hook_calls.is_inside(self.loop) then return end
  for _, notice in ipairs(list) do
    hook_calls.tell(self.loop, self.notice, function()
      local event = { pid = conn.hook_pid }
      for name, value in pairs(notice) do event[name] = value end
      return event
    end)
  end
end

local function tell(self, conn, op)
  local function event(hook) return event_of(conn, op, hook) end
  local slow = {}
  for _, hook in ipairs(self.slow or slow) do
    if op.seconds >= hook.over then slow[#slow + 1] = hook end
  end
  if self.query or slow[1] then op.where = op.where or core.where() end
  hook_calls.tell(self.loop, self.query or {}, event)
  hook_calls.tell(self.loop, slow, event)
end

local MOST_LATE = 100 -- for who never runs anything again

--- An operation is over where no hook can be called: it is told of with what comes next.
function watch_events.late(self, op)
  if self.meter then self.meter:count{ op } end
  local late = self.late or {}
  if not (self.query or self.slow) or #late >= MOST_LATE then return end
  late[#late + 1], self.late = op, late
end

--- Operations are over: tells of notices and of them.
---@param list table[]
function watch_events.over(self, conn, list)
  if self.meter then self.meter:count(list) end
  if self.notice then tell_notices(self, conn) end
  if not (self.query or self.slow) or hook_calls.is_inside(self.loop) then return end
  local late = self.late
  self.late = nil
  for _, op in ipairs(late or {}) do tell(self, conn, op) end
  for _, op in ipairs(list) do tell(self, conn, op) end
end

return watch_events
