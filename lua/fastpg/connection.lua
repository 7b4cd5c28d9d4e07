-- SPDX-License-Identifier: MIT
--
-- connection: one connection, its prepared statements, and the loop that drives the C core's steps
-- over a waiter.
--
-- This is the only file that calls `step`.  Everything above says what to send and how to fetch;
-- everything below (the waiter) knows a file descriptor and nothing of SQL.

local core = require "fastpg.core"
local errors = require "fastpg.errors"

local Connection = {}
Connection.__index = Connection

-- What core.conn:outcome reports of a statement beside its error (csrc/conn.h, FPG_EVENT_*).
local EVENT_DDL, EVENT_DISCARD, EVENT_ROLLBACK, EVENT_SET = 1, 2, 4, 8

local SESSION = {
  { "DateStyle", "^ISO", "SET DateStyle = ISO" },
  { "IntervalStyle", "^postgres$", "SET IntervalStyle = postgres" },
  { "client_encoding", "^UTF8$", "SET client_encoding = UTF8" },
}

local function remaining(deadline)
  if not deadline then return nil end
  local left = deadline - core.clock()
  return left > 0 and left or 0
end

-- ---- opening --------------------------------------------------------------------------------

local function await_connect(c, wait, deadline)
  while true do
    local want = c:connect_step()
    if want == true then return end
    if not wait(c:fd(), want, remaining(deadline)) and deadline and core.clock() >= deadline then
      errors.raise("timeout", "no connection to the server within connect_timeout")
    end
  end
end

--- Opens a connection; raises "connection" or "timeout".
---@param config { params: table, connect_timeout: number?, statement_cache_size: integer }
---@param wait fun(fd: integer, mode: string, timeout: number?): string?
function Connection.open(config, wait)
  local c = core.connect(config.params)
  local ok, err = pcall(await_connect, c, wait, config.connect_timeout and core.clock() + config.connect_timeout)
  if not ok then
    c:close()
    error(errors.annotate(err), 0)
  end
  local self = setmetatable({
    c = c,
    fd = c:fd(),
    wait = wait,
    statements = {}, -- SQL text -> prepared statement
    count = 0, -- how many of them
    serial = 0, -- for their names
    cache_size = config.statement_cache_size,
    deadline = nil, -- of the statement under way
    stale = nil, -- "ALL" when the server holds statements that are forgotten here
  }, Connection)
  self:set_session()
  return self
end

-- Text the server sends must read the same whatever role, database or environment set.
function Connection:set_session()
  local commands = { "SET extra_float_digits = 1" }
  for _, setting in ipairs(SESSION) do
    local name, wanted, command = setting[1], setting[2], setting[3]
    if not (self.c:parameter(name) or ""):find(wanted) then commands[#commands + 1] = command end
  end
  self:simple(table.concat(commands, "; "))
  self:note_settings()
end

-- ---- driving --------------------------------------------------------------------------------

-- The deadline is over: stop the query on the server; its answer ("canceled") ends the statement.
function Connection:time_out()
  self.deadline = nil
  self.timed_out = true
  self.c:cancel()
end

--- Steps until a result is ready, a Sync was reached ("sync") or nothing is outstanding.
function Connection:drive()
  local c = self.c
  local want = c:step()
  while want ~= true and want ~= "sync" do
    local deadline = self.deadline
    if not self.wait(self.fd, want, remaining(deadline)) and deadline and core.clock() >= deadline then
      self:time_out()
    end
    want = c:step()
  end
  return want
end

--- Reads and drops whatever is still to come, so that the next statement starts clean.
function Connection:settle()
  local c = self.c
  if not c:usable() then return end
  c:send_sync()
  while c:busy() do self:drive() end
end

-- The error of a finished operation, after what it tells of the session was noted.
function Connection:outcome()
  local err, events = self.c:outcome()
  if events then
    if events % 2 >= EVENT_DDL then self:note_ddl() end
    if events % 4 >= EVENT_DISCARD then self:forget_all(false) end
    if events % 8 >= EVENT_ROLLBACK and self.ddl_in_transaction then self:note_ddl() end
    if events >= EVENT_SET then self:note_settings() end
    if self.ddl_in_transaction and self.c:transaction_status() == "idle" then self.ddl_in_transaction = nil end
  end
  if err and self.timed_out then
    self.timed_out = nil
    if err.sqlstate == "57014" then
      err = errors.new("timeout", "the statement was canceled after its timeout", { sqlstate = "57014" })
    end
  end
  return err
end

-- What the lexer has to know of the session.
function Connection:note_settings()
  self.standard_strings = self.c:parameter("standard_conforming_strings") ~= "off"
  if self.on_settings then self:on_settings() end
end

-- The schema may have changed: cached plans of this connection would fail, the catalog be wrong.
function Connection:note_ddl()
  self:forget_all(true)
  if self.c:transaction_status() ~= "idle" then self.ddl_in_transaction = true end
  if self.on_ddl then self.on_ddl() end
end

-- ---- prepared statements --------------------------------------------------------------------

--- Forgets every statement; `deallocate`: they still exist on the server.
function Connection:forget_all(deallocate)
  if deallocate and self.count > 0 then self.stale = "ALL" end
  self.statements = {}
  self.count = 0
end

-- Makes room for one more: the name of the least recently used statement, to be deallocated.
function Connection:evict()
  if self.stale then return self.stale end
  if self.count < self.cache_size then return nil end
  local oldest_sql, oldest_name, oldest_use
  for sql, st in pairs(self.statements) do
    local name, _, _, used = st:info()
    if not oldest_use or used < oldest_use then
      oldest_sql, oldest_name, oldest_use = sql, name, used
    end
  end
  self.statements[oldest_sql] = nil
  self.count = self.count - 1
  return oldest_name
end

local function prepare(self, name, sql, drop)
  local c = self.c
  c:send_prepare(name, sql, drop)
  self:drive()
  local err = self:outcome()
  if err then
    self:settle()
    error(errors.annotate(err, sql), 0)
  end
  return c:make_statement(name)
end

--- The prepared statement of this text, made on the server (one round trip) when it is new.
--- With statement_cache_size = 0 it is the unnamed one, and the pipeline stays open for its use.
function Connection:statement(sql)
  local st = self.statements[sql]
  if st then return st end
  if self.cache_size == 0 then return prepare(self, "", sql) end
  local drop = self:evict()
  self.serial = self.serial + 1
  st = prepare(self, "fastpg_" .. self.serial, sql, drop)
  self.stale = nil
  self.statements[sql] = st
  self.count = self.count + 1
  return st
end

-- The statement is not what the server has any more: its plan's result changed (the server says so
-- in its own function's name, in every language), or it was deallocated behind our back.
local function is_stale_plan(err)
  return err.sqlstate == "0A000" and err.source_function == "RevalidateCachedQuery"
    or err.sqlstate == "26000"
end

-- ---- running --------------------------------------------------------------------------------

-- After a failed statement: whether it may run once more from a fresh Parse.
function Connection:may_retry(err)
  if not is_stale_plan(err) then return false end
  self:forget_all(err.sqlstate == "0A000")
  if self.on_ddl then self.on_ddl() end
  return not self.retrying and self.c:transaction_status() == "idle"
end

local function end_retry(self, ok, ...)
  self.retrying = nil
  if not ok then error((...), 0) end
  return ...
end

-- Once more, and not a third time.
local function retry(self, method, ...)
  self.retrying = true
  return end_retry(self, pcall(method, self, ...))
end

-- Sends a statement.  Where its pipeline is open (no statement cache), an argument that can't be
-- encoded must not leave it so.
local function send(self, method, st, ...)
  if self.cache_size > 0 then return method(self.c, st, ...) end
  local ok, err = pcall(method, self.c, st, ...)
  if not ok then
    self:settle()
    error(err, 0)
  end
end

--- Runs one statement with these arguments and fetches its result.
---@param fetch fun(conn: table, st: userdata, target: any): ...
function Connection:run(sql, fetch, target, ...)
  local st = self:statement(sql)
  send(self, self.c.send_query, st, ...)
  self:drive()
  local err = self:outcome()
  if not err then return fetch(self, st, target) end
  if self:may_retry(err) then return retry(self, self.run, sql, fetch, target, ...) end
  error(errors.annotate(err, sql), 0)
end

--- The same with the arguments in a list.
function Connection:run_list(sql, fetch, target, list, n)
  local st = self:statement(sql)
  send(self, self.c.send_list, st, list, n)
  self:drive()
  local err = self:outcome()
  if not err then return fetch(self, st, target) end
  if self:may_retry(err) then return retry(self, self.run_list, sql, fetch, target, list, n) end
  error(errors.annotate(err, sql), 0)
end

--- Runs a statement that will not come again: unnamed, outside the cache.
function Connection:run_once(sql, fetch, target, list, n)
  local st = prepare(self, "", sql)
  local ok, err = pcall(self.c.send_list, self.c, st, list, n)
  if not ok then
    self:settle()
    error(err, 0)
  end
  self:drive()
  err = self:outcome()
  if err then error(errors.annotate(err, sql), 0) end
  return fetch(self, st, target)
end

--- Runs SQL text without arguments, several statements allowed: the last command tag.
function Connection:simple(sql)
  self.c:send_simple(sql)
  self:drive()
  local err = self:outcome()
  if err then error(errors.annotate(err, sql), 0) end
  local status = self.c:fetch_status()
  -- by the search_path names are found; the server reports it from version 18 on only
  if sql:lower():find("search_path", 1, true) then self:note_ddl() end
  return status
end

function Connection:close()
  self.c:close()
end

return Connection
