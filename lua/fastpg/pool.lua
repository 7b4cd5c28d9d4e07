-- SPDX-License-Identifier: MIT
--
-- pool: connections that are handed out and come back clean.
--
-- A single connection is a pool of one.  A connection comes back idle, outside any transaction, or
-- it is closed: nobody ever reads what belongs to somebody else.

local core = require "fastpg.core"
local Connection = require "fastpg.connection"
local errors = require "fastpg.errors"
local wait = require "fastpg.wait"

local Pool = {}
Pool.__index = Pool

--- Makes a pool; no connection is opened yet.
---@param config table  what conninfo.read gives, with min_size and max_size
---@param on_open fun(conn: table)  called with each new connection
---@param on_ddl fun()  called when the schema may have changed
function Pool.new(config, on_open, on_ddl)
  return setmetatable({
    config = config,
    on_open = on_open,
    on_ddl = on_ddl,
    max_size = config.max_size or 1,
    idle = {}, -- a stack: the connection used last is the warmest
    size = 0, -- open connections, in use ones included
  }, Pool)
end

local function open(self)
  self.size = self.size + 1
  local ok, conn = pcall(Connection.open, self.config, wait.pick(self.config.loop).wait)
  if not ok then
    self.size = self.size - 1
    error(conn, 0)
  end
  conn.on_ddl = self.on_ddl
  conn.opened = core.clock()
  conn.used = conn.opened
  ok, conn.failure = pcall(self.on_open, conn)
  if not ok then
    local err = conn.failure
    self:discard(conn)
    error(err, 0)
  end
  return conn
end

--- Closes a connection for good.
function Pool:discard(conn)
  self.size = self.size - 1
  conn:close()
end

local function too_old(self, conn, now)
  local config = self.config
  return config.max_lifetime and now - conn.opened > config.max_lifetime
    or config.max_inactive_connection_lifetime and now - conn.used > config.max_inactive_connection_lifetime
end

-- Looking at the socket costs a system call: only after a while.
local IDLE_CHECK = 1.0

local function healthy(self, conn)
  local c = conn.c
  if not c:usable() then return false end
  local now = core.clock()
  if too_old(self, conn, now) then return false end
  return now - conn.used < IDLE_CHECK or c:alive()
end

--- A connection of one's own until checkin.
function Pool:checkout()
  if self.closed then errors.raise("closed", "the database is closed") end
  local idle = self.idle
  while #idle > 0 do
    local conn = table.remove(idle)
    if healthy(self, conn) then
      conn.wait = wait.pick(self.config.loop).wait
      return conn
    end
    self:discard(conn)
  end
  if self.size >= self.max_size then
    errors.raise("timeout", ("all %d connection%s of %s in use, and nothing else can run to give one back")
      :format(self.size, self.size == 1 and "" or "s", self.max_size == 1 and "the database are" or "the pool are"))
  end
  return open(self)
end

-- Nothing under way, no transaction open: true when that could be reached.
local function clean(conn)
  if conn.c:busy() then conn:settle() end
  if conn.c:transaction_status() ~= "idle" then conn:simple("ROLLBACK") end
  return conn.c:transaction_status() == "idle" and not conn.c:busy()
end

--- Takes a connection back.
function Pool:checkin(conn)
  local c = conn.c
  conn.deadline, conn.timed_out = nil, nil
  local fine = c:usable()
  if fine and (c:busy() or c:transaction_status() ~= "idle") then
    local ok, is_clean = pcall(clean, conn)
    fine = ok and is_clean
  end
  if not fine or self.closed then
    self:discard(conn)
    return
  end
  conn.used = core.clock()
  self.idle[#self.idle + 1] = conn
end

--- Opens min_size connections now.
function Pool:fill()
  local opened = {}
  while self.size < (self.config.min_size or 0) do opened[#opened + 1] = self:checkout() end
  for _, conn in ipairs(opened) do self:checkin(conn) end
end

--- Closes what is idle, and each connection in use when it comes back.
function Pool:close()
  self.closed = true
  for _, conn in ipairs(self.idle) do self:discard(conn) end
  self.idle = {}
end

return Pool
