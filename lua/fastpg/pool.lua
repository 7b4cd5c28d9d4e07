-- SPDX-License-Identifier: MIT
--
-- pool: connections that are handed out and come back clean.
--
-- A single connection is a pool of one.

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
    lent = setmetatable({}, { __mode = "k" }), -- weak: who forgets one for good gives its place back
    size = 0, -- open connections, lent ones included
  }, Pool)
end

local function open(self, deadline)
  local conn = Connection.open(self.config, wait.pick(self.config.loop).wait, deadline)
  conn.pool = self
  conn.on_ddl = self.on_ddl
  conn.opened = core.clock()
  conn.used = conn.opened
  self.size = self.size + 1
  self.lent[conn] = true
  local ok, err = pcall(self.on_open, conn)
  if ok and (conn:is_clean() or conn:reset()) then return conn end
  self:discard(conn)
  error(err, 0)
end

--- Closes a connection for good.
function Pool:discard(conn)
  conn:close()
  if conn.discarded then return end
  conn.discarded = true
  conn.lease = conn.lease + 1
  self.lent[conn] = nil
  self.size = self.size - 1
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

-- Connections whose users are gone without a word (a coroutine that is never resumed) are counted
-- until the garbage collector has seen that.
local function recount(self)
  collectgarbage()
  collectgarbage() -- 5.1 and LuaJIT finalize in the first and free in the second
  local n = #self.idle
  for _ in pairs(self.lent) do n = n + 1 end
  self.size = n
end

local function raise_exhausted(self)
  local what = "the connection is"
  if self.max_size > 1 then what = ("all %d connections of the pool are"):format(self.max_size) end
  errors.raise("timeout", what .. " in use, and nothing else can run to give one back")
end

--- A connection of one's own until checkin.
---@param deadline number?  for opening one
function Pool:checkout(deadline)
  if self.closed then errors.raise("closed", "the database is closed") end
  local idle = self.idle
  while #idle > 0 do
    local conn = table.remove(idle)
    self.lent[conn] = true
    if healthy(self, conn) then
      conn.wait = wait.pick(self.config.loop).wait
      return conn
    end
    self:discard(conn)
  end
  if self.size >= self.max_size then recount(self) end
  if self.size >= self.max_size then raise_exhausted(self) end
  return open(self, deadline)
end

--- Takes a connection back.  Nothing is under way on it then and no transaction open, or it is
--- closed: nobody ever reads what belongs to somebody else.
---@return boolean  whether a transaction was open that fastpg did not begin
function Pool:checkin(conn)
  if conn.discarded then return false end
  local clean, left_open = conn:is_clean() and not conn.in_transaction, false
  if not clean and not conn.in_transaction then
    local status = conn.c:usable() and conn.c:transaction_status()
    left_open = status == "intrans" or status == "inerror"
  end
  conn.deadline, conn.overdue, conn.abandoned = nil, nil, nil
  if self.closed or not (clean or conn:reset()) then
    self:discard(conn)
    return left_open
  end
  conn.lease = conn.lease + 1
  conn.used = core.clock()
  self.lent[conn] = nil
  self.idle[#self.idle + 1] = conn
  return left_open
end

--- Lets every connection prepare its statements anew: what types they have is read anew.
function Pool:forget_statements()
  for _, conn in ipairs(self.idle) do conn:forget_all(true) end
  for conn in pairs(self.lent) do conn:forget_all(true) end
end

--- Opens min_size connections now.
function Pool:fill()
  local opened = {}
  local function open_all()
    while self.size < (self.config.min_size or 0) do opened[#opened + 1] = open(self) end
  end
  local ok, err = pcall(open_all)
  for _, conn in ipairs(opened) do self:checkin(conn) end
  if not ok then error(err, 0) end
end

--- Closes what is idle, and each connection in use when it comes back.
function Pool:close()
  self.closed = true
  for _, conn in ipairs(self.idle) do self:discard(conn) end
  self.idle = {}
end

return Pool
