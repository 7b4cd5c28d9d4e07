-- SPDX-License-Identifier: MIT
--
-- watch: what stands in front of a connection's methods while a database has hooks: "audit", "query", "slow", "notice".
--
-- What such a method calls in turn (a statement that is prepared first, look-ups of types, a second try) belongs to the one
-- statement: who is in `conn.inside`, the coroutines that are in one, passes.  (One that was closed there is nobody any
-- more.)  The catalog's look-ups come past them (Route:run), and are no event.
--
-- An audit has to see all that is sent: run, run_list, run_once, simple, command, parts, what a batch or a stream prepares, COPY.

local error, ipairs, pairs, pcall, select, setmetatable = error, ipairs, pairs, pcall, select, setmetatable

local compat = require "fastpg.base.compat"
local Connection = require "fastpg.pg.connection"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local fetch = require "fastpg.pg.fetch"
local hook_calls = require "fastpg.pool.hook_calls"

local watch = {}

local MAIN = current_task.main
local function me() return compat.running() or MAIN end

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

-- COPY t FROM writes; of COPY ( ) TO its inner statement is among the verbs, too.
local function kind_of(one, verb)
  if verb == "COPY" then
    for _, word in ipairs(one.words) do
      if word == "FROM" then return "dml" end
    end
    return nil
  end
  return DML[verb] and "dml" or DDL[verb] and "ddl" or nil
end

local function audit(self, conn, sql, values, n)
  local list = self.audit
  if not list or hook_calls.is_inside(self.loop) then return end
  for _, one in ipairs(core.statements(sql, conn.standard_strings)) do
    for _, verb in ipairs(one.verbs) do
      local kind = kind_of(one, verb)
      for _, hook in ipairs(kind and list or {}) do
        local ok, err = hook_calls.call(self.loop, hook, {
          kind = kind, verb = verb, sql = sql, where = core.where(), pid = conn.hook_pid,
          values = hook.values and values and copy_of(values, n) or nil,
        })
        if not ok then error(err, 0) end
      end
    end
  end
end

-- ---- query and slow -------------------------------------------------------------------------

local function is_read(conn, sql)
  local list = core.statements(sql, conn.standard_strings)
  if #list ~= 1 or not READS[list[1].verb] then return false end
  for _, verb in ipairs(list[1].verbs) do
    if not READS[verb] then return false end
  end
  return true
end

-- The plan of what was run, which is not run again; nil where it writes, or where a failure would end a transaction.
local function plan_of(conn, sql, values, n)
  if not values or not conn.c:usable() or conn.c:transaction_status() ~= "idle" or not is_read(conn, sql) then return nil end
  conn.inside[me()] = true
  local ok, list = pcall(Connection.run_once, conn, "EXPLAIN " .. sql, fetch.arrays, nil, values, n)
  conn.inside[me()] = nil
  if not ok then return nil end
  local lines = {}
  for i, row in ipairs(list) do lines[i] = row[1] end
  return table.concat(lines, "\n")
end

local function report(self, conn, sql, values, n, seconds, err)
  if hook_calls.is_inside(self.loop) then return end
  local where, nrows, bytes, plan = core.where(), conn.hook_rows, conn.hook_bytes, nil
  local function event(hook)
    if hook.explain and plan == nil then plan = not err and plan_of(conn, sql, values, n) or false end
    return {
      sql = sql, seconds = seconds, rows = nrows, bytes = bytes, error = err, where = where, pid = conn.hook_pid,
      values = hook.values and values and copy_of(values, n) or nil, plan = hook.explain and plan or nil,
    }
  end
  if self.query then hook_calls.tell(self.loop, self.query, event) end
  local slow = {}
  for _, hook in ipairs(self.slow or slow) do
    if seconds >= hook.over then slow[#slow + 1] = hook end
  end
  hook_calls.tell(self.loop, slow, event)
end

-- ---- in front of a connection's methods -----------------------------------------------------

-- Fetches as the function does, and notes how much there was.
local counting = setmetatable({}, { __mode = "k", __index = function(known, how)
  local function counted(conn, st, target)
    conn.hook_rows, conn.hook_bytes = conn.c:extent()
    return how(conn, st, target)
  end
  known[how] = counted
  if fetch.keyed[how] then fetch.keyed[counted] = true end
  return counted
end })

local function tell_notices(self, conn)
  local list = conn.c:notices()
  if not (list and self.notice) or hook_calls.is_inside(self.loop) then return end
  for _, notice in ipairs(list) do
    hook_calls.tell(self.loop, self.notice, function()
      local event = { pid = conn.hook_pid }
      for name, value in pairs(notice) do event[name] = value end
      return event
    end)
  end
end

local function ended(self, conn, sql, values, n, began, ok, ...)
  conn.inside[me()] = nil
  tell_notices(self, conn)
  if self.query or self.slow then
    report(self, conn, sql, values, n, core.clock() - began, not ok and (...) or nil)
  end
  if not ok then error((...), 0) end
  return ...
end

local function watched(self, conn, sql, values, n, fn, ...)
  audit(self, conn, sql, values, n)
  conn.inside[me()], conn.hook_rows, conn.hook_bytes = true, nil, nil
  return ended(self, conn, sql, values, n, core.clock(), pcall(fn, conn, ...))
end

-- What is only prepared by these is sent by whoever asks for it.
local function watch_preparing(self, fn)
  return function(conn, sql, ...)
    if not conn.inside[me()] then audit(self, conn, sql) end
    return fn(conn, sql, ...)
  end
end

local function over(conn, ok, ...)
  conn.inside[me()] = nil
  if not ok then error((...), 0) end
  return ...
end

--- The methods of a connection of a database that has hooks.
---@param self table  the hooks (fastpg.pool.hooks)
function watch.methods(self)
  local made = {}
  function made.run(conn, sql, how, target, ...)
    if conn.inside[me()] then return Connection.run(conn, sql, how, target, ...) end
    return watched(self, conn, sql, { ... }, select("#", ...), Connection.run, sql, counting[how], target, ...)
  end
  for _, name in ipairs{ "run_list", "run_once" } do
    local method = Connection[name]
    made[name] = function(conn, sql, how, target, list, n)
      if conn.inside[me()] then return method(conn, sql, how, target, list, n) end
      return watched(self, conn, sql, list, n, method, sql, counting[how], target, list, n)
    end
  end
  function made.simple(conn, sql)
    if conn.inside[me()] or sql == "" then return Connection.simple(conn, sql) end
    return watched(self, conn, sql, nil, 0, Connection.simple, sql)
  end
  function made.parts(conn, sql)
    if conn.inside[me()] then return Connection.parts(conn, sql) end
    return watched(self, conn, sql, nil, 0, Connection.parts, sql)
  end
  function made.command(conn, sql, of_user)
    if conn.inside[me()] or not of_user then return Connection.command(conn, sql, of_user) end
    return watched(self, conn, sql, nil, 0, Connection.command, sql, of_user)
  end
  made.statement = watch_preparing(self, Connection.statement)
  function made.describe(conn, sql) -- which runs nothing
    if conn.inside[me()] then return Connection.describe(conn, sql) end
    conn.inside[me()] = true
    return over(conn, pcall(Connection.describe, conn, sql))
  end
  function made.statement_of_batch(conn, sql, used)
    audit(self, conn, sql)
    conn.inside[me()] = true
    return over(conn, pcall(Connection.statement_of_batch, conn, sql, used))
  end
  function made.before_copy(conn, sql) audit(self, conn, sql) end
  return made
end

return watch
