-- SPDX-License-Identifier: MIT
--
-- hooks: what the user's code is told of statements and connections (db:on), and db:metrics.
--
-- A statement pays nothing where no hook is set: the methods of a connection are the plain ones.  Where one is, each
-- connection of the database has methods of its own in front of them, which are taken away with the last hook.  What such a
-- method calls in turn (a statement that is prepared first, look-ups of types, a second try) belongs to the one statement:
-- `conn.in_hooked`, the coroutine that is inside of one, lets it pass.  (One that was closed there is nobody any more.)
-- The catalog's look-ups come past them (Route:run), and are no event.
--
-- An audit has to see all that is sent: run, run_list, run_once, simple, command, what a batch or a stream prepares, COPY.

local error, ipairs, next, pairs, pcall, select, setmetatable, tostring, type, xpcall =
  error, ipairs, next, pairs, pcall, select, setmetatable, tostring, type, xpcall

local Connection = require "fastpg.pg.connection"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local options = require "fastpg.base.options"
local task = require "fastpg.host.task"

local hooks = {}

local KINDS = { "audit", "connect", "notice", "query", "slow" }

-- Of CALL, DO and EXECUTE nobody knows what they do: they may change something.  (COPY: kind_of)
local DML = { INSERT = true, UPDATE = true, DELETE = true, MERGE = true, TRUNCATE = true, CALL = true, DO = true, EXECUTE = true }
local DDL = {
  CREATE = true, ALTER = true, DROP = true, COMMENT = true, GRANT = true, REVOKE = true, REASSIGN = true, SECURITY = true,
  IMPORT = true, REINDEX = true, CLUSTER = true, REFRESH = true,
}
local READS = { SELECT = true, VALUES = true, TABLE = true }

-- ---- calling --------------------------------------------------------------------------------

local running = setmetatable({}, { __mode = "k" }) -- coroutines that are inside of a hook: what they run is no event
local MAIN = {}
local function me() return coroutine.running() or MAIN end

-- Calls one; gives false and the error where it failed.
local function call(hook, event)
  local co = me()
  running[co] = true
  local trace
  local ok, err = xpcall(function() hook.fn(event) end, function(e)
    trace = debug.traceback()
    return e
  end)
  running[co] = nil
  return ok, err, trace
end

-- Tells all of a kind, each with a table of its own.
local function tell(list, make)
  for _, hook in ipairs(list) do
    local ok, err, trace = call(hook, make(hook))
    if not ok then task.report(err, trace) end
  end
end

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
  if not list or running[me()] then return end
  for _, one in ipairs(core.statements(sql, conn.standard_strings)) do
    for _, verb in ipairs(one.verbs) do
      local kind = kind_of(one, verb)
      for _, hook in ipairs(kind and list or {}) do
        local ok, err = call(hook, {
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
  conn.in_hooked = me()
  local ok, list = pcall(Connection.run_once, conn, "EXPLAIN " .. sql, fetch.arrays, nil, values, n)
  conn.in_hooked = nil
  if not ok then return nil end
  local lines = {}
  for i, row in ipairs(list) do lines[i] = row[1] end
  return table.concat(lines, "\n")
end

local function report(self, conn, sql, values, n, seconds, err)
  if running[me()] then return end
  local where, nrows, bytes, plan = core.where(), conn.hook_rows, conn.hook_bytes, nil
  local function event(hook)
    if hook.explain and plan == nil then plan = not err and plan_of(conn, sql, values, n) or false end
    return {
      sql = sql, seconds = seconds, rows = nrows, bytes = bytes, error = err, where = where, pid = conn.hook_pid,
      values = hook.values and values and copy_of(values, n) or nil, plan = hook.explain and plan or nil,
    }
  end
  if self.query then tell(self.query, event) end
  local slow = {}
  for _, hook in ipairs(self.slow or slow) do
    if seconds >= hook.over then slow[#slow + 1] = hook end
  end
  tell(slow, event)
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
  if not (list and self.notice) or running[me()] then return end
  for _, notice in ipairs(list) do
    tell(self.notice, function()
      local event = { pid = conn.hook_pid }
      for name, value in pairs(notice) do event[name] = value end
      return event
    end)
  end
end

local function ended(self, conn, sql, values, n, began, ok, ...)
  conn.in_hooked = nil
  tell_notices(self, conn)
  if self.query or self.slow then
    report(self, conn, sql, values, n, core.clock() - began, not ok and (...) or nil)
  end
  if not ok then error((...), 0) end
  return ...
end

local function watch(self, conn, sql, values, n, fn, ...)
  audit(self, conn, sql, values, n)
  conn.in_hooked, conn.hook_rows, conn.hook_bytes = me(), nil, nil
  return ended(self, conn, sql, values, n, core.clock(), pcall(fn, conn, ...))
end

-- What is only prepared by these is sent by whoever asks for it.
local function watch_preparing(self, fn)
  return function(conn, sql, ...)
    if conn.in_hooked ~= me() then audit(self, conn, sql) end
    return fn(conn, sql, ...)
  end
end

local function over(conn, ok, ...)
  conn.in_hooked = nil
  if not ok then error((...), 0) end
  return ...
end

-- The methods of a connection of a database that has hooks.
local function methods_of(self)
  local made = {}
  function made.run(conn, sql, how, target, ...)
    if conn.in_hooked == me() then return Connection.run(conn, sql, how, target, ...) end
    return watch(self, conn, sql, { ... }, select("#", ...), Connection.run, sql, counting[how], target, ...)
  end
  for _, name in ipairs{ "run_list", "run_once" } do
    local method = Connection[name]
    made[name] = function(conn, sql, how, target, list, n)
      if conn.in_hooked == me() then return method(conn, sql, how, target, list, n) end
      return watch(self, conn, sql, list, n, method, sql, counting[how], target, list, n)
    end
  end
  function made.simple(conn, sql)
    if conn.in_hooked == me() or sql == "" then return Connection.simple(conn, sql) end
    return watch(self, conn, sql, nil, 0, Connection.simple, sql)
  end
  function made.command(conn, sql, of_user)
    if conn.in_hooked == me() or not of_user then return Connection.command(conn, sql, of_user) end
    return watch(self, conn, sql, nil, 0, Connection.command, sql, of_user)
  end
  made.statement = watch_preparing(self, Connection.statement)
  function made.describe(conn, sql) -- which runs nothing
    if conn.in_hooked == me() then return Connection.describe(conn, sql) end
    conn.in_hooked = me()
    return over(conn, pcall(Connection.describe, conn, sql))
  end
  function made.statement_of_batch(conn, sql, used)
    audit(self, conn, sql)
    conn.in_hooked = me()
    return over(conn, pcall(Connection.statement_of_batch, conn, sql, used))
  end
  function made.before_copy(conn, sql) audit(self, conn, sql) end
  return made
end

local function all_connections(root)
  local list = {}
  if root.pool then
    for _, conn in ipairs(root.pool.idle) do list[#list + 1] = conn end
    for conn in pairs(root.pool.lent) do list[#list + 1] = conn end
  end
  return list
end

local function install(self, conn)
  conn.hook_pid = conn.c:info().pid
  conn.c:hear(true)
  for name, method in pairs(self.methods) do conn[name] = method end
end

local function uninstall(self, conn)
  conn.c:hear(false)
  for name in pairs(self.methods) do conn[name] = nil end
end

--- A new connection of a database that has hooks, before anything runs on it.
function hooks.install(root, conn) install(root.hooks, conn) end

--- And when it is ready.
function hooks.opened(root, conn)
  if not root.hooks.connect then return end
  local info = conn.c:info()
  tell(root.hooks.connect, function() return { pid = info.pid, server_version = info.server_version } end)
end

-- ---- db:on ----------------------------------------------------------------------------------

local OPTIONS = {
  audit = options.declare("db:on: audit", { values = options.boolean }),
  connect = options.declare("db:on: connect", {}),
  notice = options.declare("db:on: notice", {}),
  query = options.declare("db:on: query", { values = options.boolean }),
  slow = options.declare("db:on: slow", { over = options.number(0), explain = options.boolean, values = options.boolean }),
}

local function remove(root, kind, hook)
  local self = root.hooks
  local list = self and self[kind]
  if not list then return end
  local rest = {} -- (a new list: the old one may be walked through right now)
  for _, one in ipairs(list) do
    if one ~= hook then rest[#rest + 1] = one end
  end
  self[kind] = next(rest) and rest or nil
  for _, name in ipairs(KINDS) do
    if self[name] then return end
  end
  root.hooks = nil
  for _, conn in ipairs(all_connections(root)) do uninstall(self, conn) end
end

local methods = {}

--- Sets a hook, fn(event); gives the function that takes it away again.
--- An error in it goes to fastpg.on_error; one in "audit" stops the statement.
---@param kind "audit"|"connect"|"notice"|"query"|"slow"
---@param fn fun(event: table)
---@param opts { over: number?, explain: boolean?, values: boolean? }?  over: seconds, 0.2 where nothing is said
---@return fun()
function methods.on(self, kind, fn, opts)
  local declared = type(kind) == "string" and OPTIONS[kind]
  if not declared then
    errors.argument("on: one of %s expected, got %s", table.concat(KINDS, ", "), type(kind) == "string" and '"' .. kind .. '"'
      or type(kind))
  end
  if type(fn) ~= "function" then errors.argument("on: a function expected, got %s", type(fn)) end
  opts = options.check(opts, declared, "db:on: " .. kind)
  local root = self.root
  local hook = { fn = fn, over = opts.over or 0.2, explain = opts.explain, values = opts.values }
  local set = root.hooks
  if not set then
    set = {}
    set.methods = methods_of(set)
    root.hooks = set
    for _, conn in ipairs(all_connections(root)) do install(set, conn) end
  end
  local list = {}
  for i, one in ipairs(set[kind] or list) do list[i] = one end
  list[#list + 1] = hook
  set[kind] = list
  return function() remove(root, kind, hook) end
end

-- ---- db:metrics -----------------------------------------------------------------------------

local METRICS = {
  { "size", "connections", "gauge", "open connections" },
  { "idle", "connections_idle", "gauge", "open connections that nobody uses" },
  { "in_use", "connections_in_use", "gauge", "connections in use" },
  { "waiting", "waiting", "gauge", "those who wait for a connection" },
  { "max_size", "connections_max", "gauge", "connections there may be" },
  { "min_size", "connections_min", "gauge", "connections that are kept" },
  { "opened", "connections_opened_total", "counter", "connections opened" },
  { "closed", "connections_closed_total", "counter", "connections closed" },
  { "acquired", "acquired_total", "counter", "times that a connection was taken" },
  { "waited", "waited_total", "counter", "times that one had to wait for it" },
  { "timeouts", "wait_timeouts_total", "counter", "times that none came in time" },
  { "statements", "prepared_statements", "gauge", "prepared statements that are kept" },
  { "hits", "statement_cache_hits_total", "counter", "statements that had been prepared before" },
  { "misses", "statement_cache_misses_total", "counter", "texts that had no prepared statement" },
  { "prepared", "statements_prepared_total", "counter", "statements prepared to be kept" },
  { "evicted", "statements_evicted_total", "counter", "prepared statements that made room for others" },
}

--- How the pool stands, in Prometheus' text format.
---@return string
function methods.metrics(self)
  local stats, lines = self:connected().root.pool:stats(), {}
  for _, m in ipairs(METRICS) do
    local name = "fastpg_" .. m[2]
    lines[#lines + 1] = ("# HELP %s %s\n# TYPE %s %s\n%s %s\n"):format(name, m[4], name, m[3], name, tostring(stats[m[1]]))
  end
  return table.concat(lines)
end

--- Adds db:on and db:metrics.
function hooks.extend(into)
  for name, method in pairs(methods) do into[name] = method end
end

return hooks
