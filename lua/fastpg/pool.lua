-- SPDX-License-Identifier: MIT
--
-- pool: connections that are handed out and come back clean.
--
--   idle ──checkout──▶ lent ──checkin──▶ idle         closed when lost, too old, or left in a state
--    ▲                                    │           that can't be mended
--    └── queue: who came while all were lent, first come first served
--
-- A single connection is a pool of one.  Who waits is told that it is their turn and takes the
-- connection themselves: one that was killed meanwhile loses its turn, never a connection.
--
-- `lent` and `holders` are weak: who forgets a connection for good gives its place back when the
-- garbage collector has seen it.  No timer runs: an idle pool keeps no loop alive.

local closing = require "fastpg.closing"
local core = require "fastpg.core"
local Connection = require "fastpg.connection"
local errors = require "fastpg.errors"
local task = require "fastpg.task"
local wait = require "fastpg.wait"

local Pool = {}
Pool.__index = Pool

Connection.take_cancel, Connection.put_cancel_back, Connection.check_canceled =
  task.take_cancel, task.put_cancel_back, task.check

local ACQUIRE_TIMEOUT = 30
local IDLE_CHECK = 1.0 -- looking at the socket costs a system call: only after a while
local IDLE_PING = 30 -- a connection that nobody used for so long may be dead without a sign
local PING_TIMEOUT = 5
local LOOK_AGAIN = 1.0 -- those who wait look at the queue so often
local LOOK_LATER = 5.0 -- while all that are lent have users that are alive
local COLLECT_PAUSE = 20 -- times as long as the collector took until it runs again
local PATIENCE = 3.0 -- waiting longer than this for what can't come is refused at once
local TURN = 1.0 -- whoever does not take their turn in this time will not come

--- Makes a pool; no connection is opened yet.
---@param config table  what conninfo.read gives
---@param on_open fun(conn: table)  called with each new connection
---@param on_ddl fun()  called when the schema may have changed
function Pool.new(config, on_open, on_ddl)
  return setmetatable({
    config = config,
    on_open = on_open,
    on_ddl = on_ddl,
    min_size = config.min_size or 0,
    max_size = config.max_size or 1,
    idle = {}, -- a stack: the connection used last is the warmest
    lent = setmetatable({}, { __mode = "k" }),
    holders = setmetatable({}, { __mode = "kv" }), -- connection -> the task or coroutine that has it
    size = 0, -- open connections, lent ones and those being opened included
    places = setmetatable({}, { __mode = "k" }), -- of those being opened: who opens one may be gone, too
    collect_after = 0, -- when the collector may run again for those who wait
    queue = {}, -- entries of those who wait, in order
    counts = { opened = 0, closed = 0, acquired = 0, waited = 0, timeouts = 0 },
  }, Pool)
end

-- ---- the queue ------------------------------------------------------------------------------

-- Tells as many of those who wait that it is their turn as there are connections for them.
local function serve(self)
  local queue = self.queue
  if #queue == 0 then return end
  local free, now, i = #self.idle + self.max_size - self.size, core.clock(), 1
  while i <= #queue and (free > 0 or self.closed) do
    local entry = queue[i]
    if entry.turn and now - entry.turn > TURN then
      table.remove(queue, i) -- killed: its coroutine will not take the turn
    else
      if not entry.turn then
        entry.turn = now
        task.signal(entry)
      end
      free, i = free - 1, i + 1
    end
  end
end

-- Connections whose users are gone without a word (a coroutine that is never resumed) are counted
-- until the garbage collector has seen that.
local function recount(self)
  local n = #self.idle
  for _ in pairs(self.places) do n = n + 1 end
  for _ in pairs(self.lent) do n = n + 1 end
  self.size = n
end

-- So the collector is run; where others can give one back meanwhile, for a part of the time only.
local function collect(self, at_once)
  local before = core.clock()
  if not at_once and before < self.collect_after then return end
  collectgarbage()
  collectgarbage() -- 5.1 and LuaJIT finalize in the first and free in the second
  local after = core.clock()
  self.collect_after = after + COLLECT_PAUSE * (after - before)
  recount(self)
end

-- Whether some of those that are lent may be forgotten.  A task that has not ended uses what it has, of a
-- request the host says when it is over, and a full collection would cost the others a frame.
---@return boolean, boolean at_once  whether nothing is to be waited for before that is known
local function may_be_forgotten(self, host)
  local me, at_once, maybe = task.me(), not host.wake, false
  for conn in pairs(self.lent) do
    local holder = self.holders[conn]
    at_once = at_once or holder == me
    maybe = maybe or not conn.request and (type(holder) ~= "table" or holder.done ~= false)
  end
  return maybe or at_once, at_once
end

local function look_for_forgotten(self, host)
  recount(self)
  if self.size < self.max_size then return end
  local maybe, at_once = may_be_forgotten(self, host)
  if maybe then collect(self, at_once) end
end

local function let_go(conn)
  if conn.request then conn.host.release(conn.request) end
  conn.request = nil
end

-- In some hosts coroutines are killed in the middle of a wait, or their request ends, and the host says so.
local function reap(self)
  for place in pairs(self.places) do
    if place.request and place.host.is_lost(place.fd or -1, place.request) then
      self.places[place] = nil
      if place.c then place.c:close() end
      self.size = self.size - 1
    end
  end
  for conn in pairs(self.lent) do
    if conn.request and conn.host.is_lost(conn.fd, conn.request) then
      conn.waiter = nil -- nobody waits for it any more
      self:discard(conn)
    end
  end
  serve(self)
end

-- From here on until let_go the connection, or the place where one is being opened, is this request's.
local function hold(self, conn, host)
  if not host.hold then return end
  conn.request, conn.host = host.hold(), host
  task.awake()
  if not self.watched then
    self.watched = true
    host.watch(self, reap)
  end
end

local function exhausted(self)
  local what = "the connection is"
  if self.max_size > 1 then what = ("all %d connections of the pool are"):format(self.max_size) end
  return what .. " in use"
end

-- Who has the connections; nil where that is not known of each, or one of them waits for nobody.
local function holders(self)
  local list = {}
  if next(self.places) or #self.idle > 0 then return nil end
  for conn in pairs(self.lent) do
    local holder = self.holders[conn]
    if not holder or task.goes_on(holder) then return nil end
    list[#list + 1] = holder
  end
  return list
end

-- How long to park, and whether those who were forgotten are to be looked for then: the first in the
-- queue does.
local function next_look(self, host, entry)
  if self.queue[1] ~= entry then return LOOK_AGAIN, false end
  if not may_be_forgotten(self, host) then return LOOK_LATER, true end
  return math.max(0.001, math.min(LOOK_AGAIN, self.collect_after - core.clock())), true
end

local function wait_for_turn(self, host, entry, deadline)
  local queue = self.queue
  queue[#queue + 1] = entry
  serve(self)
  while not entry.turn do
    local left = deadline - core.clock()
    if left <= 0 then
      self.counts.timeouts = self.counts.timeouts + 1
      errors.raise("timeout", exhausted(self) .. ": none came back within the time allowed")
    end
    entry.ready = false
    local pause, look = next_look(self, host, entry)
    local signaled = task.park(entry, math.min(left, pause))
    if not entry.turn then
      if look and not signaled then collect(self) end
      reap(self)
    end
  end
end

-- ---- opening and closing --------------------------------------------------------------------

-- While a connection is opened nothing is under way on it that would have to be brought to an end.
local function interruptible(host, place)
  return function(fd, mode, timeout)
    place.fd = fd
    local ready = host.wait(fd, mode, timeout)
    if ready == "woken" then task.check() end
    return ready
  end
end

-- Tells who waits in `close` when nothing is in use any more.
local function tell_closer(self)
  if self.closer and not next(self.places) and not next(self.lent) then task.signal(self.closer) end
end

local function leave_place(self, place, ok)
  if not self.places[place] then return end
  self.places[place] = nil
  let_go(place)
  if ok then return end
  self.size = self.size - 1
  serve(self)
  tell_closer(self)
end

-- Lua 5.4 closes it with a coroutine that was opening a connection.
local Place = { __close = function(place)
  if not place.pool.places[place] then return end
  if place.c then place.c:close() end
  leave_place(place.pool, place, false)
end }

local function connect(self, place, host, deadline)
  local ok, conn = pcall(Connection.open, self.config, interruptible(host, place), deadline, place)
  leave_place(self, place, ok)
  if not ok then error(conn, 0) end
  return conn
end

local function open(self, deadline)
  local host, place = wait.pick(self.config.loop), setmetatable({ pool = self }, Place)
  self.size = self.size + 1
  self.places[place] = true
  hold(self, place, host)
  local conn = closing(place, connect, self, place, host, deadline)
  if self.over then
    self.size = self.size - 1
    conn:close()
    errors.raise("closed", "the database was closed")
  end
  self.counts.opened = self.counts.opened + 1
  conn.pool = self
  conn.on_ddl = self.on_ddl
  conn.opened = core.clock()
  conn.used = conn.opened
  self.lent[conn] = true
  hold(self, conn, host)
  local ok, err = pcall(self.on_open, conn)
  if ok and (conn:is_clean() or conn:reset()) then return conn end
  self:discard(conn)
  error(err or errors.new("connection", "the new connection was lost while it was being set up"), 0)
end

--- Closes a connection for good.
function Pool:discard(conn)
  conn:close()
  if conn.discarded then return end
  let_go(conn)
  conn.discarded = true
  conn.lease = conn.lease + 1
  self.lent[conn], self.holders[conn] = nil, nil
  self.size = self.size - 1
  self.counts.closed = self.counts.closed + 1
  serve(self)
  tell_closer(self)
end

local function too_old(self, conn, now)
  local config = self.config
  return config.max_lifetime and now - conn.opened > config.max_lifetime
    or config.max_inactive_connection_lifetime and now - conn.used > config.max_inactive_connection_lifetime
end

-- What lies at the bottom of the stack longest unused goes when its time is over.
local function close_aged(self)
  local idle, now = self.idle, core.clock()
  while #idle > 0 and self.size > self.min_size and too_old(self, idle[1], now) do
    self:discard(table.remove(idle, 1))
  end
end

local function healthy(self, conn, deadline)
  local c = conn.c
  if not c:usable() then return false end
  local now = core.clock()
  if too_old(self, conn, now) then return false end
  local unused = now - conn.used
  if unused < IDLE_CHECK then return true end
  if not c:alive() then return false end
  if unused < IDLE_PING then return true end
  conn.deadline = now + PING_TIMEOUT
  if deadline and deadline < conn.deadline then conn.deadline = deadline end
  local ok = pcall(conn.simple, conn, "")
  conn.deadline = nil
  return ok
end

-- ---- lending --------------------------------------------------------------------------------

local function lend(self, conn, host)
  conn.wait, conn.spend, conn.wake = host.wait, host.spend, host.wake
  self.lent[conn], self.holders[conn] = true, task.me()
  if not conn.request then hold(self, conn, host) end
  self.counts.acquired = self.counts.acquired + 1
  return conn
end

local function take_idle(self, host, deadline)
  local idle = self.idle
  while #idle > 0 do
    local conn = table.remove(idle)
    self.lent[conn] = true
    conn.wait = host.wait
    hold(self, conn, host)
    if healthy(self, conn, deadline) then return lend(self, conn, host) end
    self:discard(conn)
  end
  return nil
end

local function leave_queue(self, entry, took_turn)
  task.remove(self.queue, entry)
  if entry.turn and not took_turn then serve(self) end
end

-- Lua 5.4 closes it with a coroutine that waits in the queue.
local Waiting = { __close = function(waiting)
  if not waiting.over then leave_queue(waiting.pool, waiting.entry, false) end
end }

local function wait_in_queue(self, host, waiting, limit)
  -- a short wait is an error soon enough, and of the kind that whoever set the time expects
  local long = limit - core.clock() > PATIENCE
  local function others() return long and not waiting.entry.turn and holders(self) or nil end
  local ok, err = pcall(task.waiting_for, others, true, exhausted(self) .. ": waiting for one",
    wait_for_turn, self, host, waiting.entry, limit)
  waiting.over = true
  leave_queue(self, waiting.entry, ok)
  if not ok then error(err, 0) end
end

-- No connection is free: waits until it is this coroutine's turn.
local function queue_up(self, host, deadline)
  if not host.wake then errors.raise("timeout", exhausted(self) .. ", and nothing else can run to give one back") end
  local limit = core.clock() + (self.config.acquire_timeout or ACQUIRE_TIMEOUT)
  if deadline and deadline < limit then limit = deadline end
  self.counts.waited = self.counts.waited + 1
  local waiting = setmetatable({ pool = self, entry = task.entry(host, "the pool") }, Waiting)
  closing(waiting, wait_in_queue, self, host, waiting, limit)
  if self.closed then errors.raise("closed", "the database is closed") end
end

--- A connection of one's own until checkin.
---@param deadline number?  when it must be there
function Pool:checkout(deadline)
  if self.closed then errors.raise("closed", "the database is closed") end
  task.check()
  local host = wait.pick(self.config.loop)
  while true do
    if #self.queue == 0 then
      local conn = take_idle(self, host, deadline)
      if conn then return conn end
    end
    if #self.queue == 0 and self.size >= self.max_size then -- else the first of the queue has looked
      reap(self)
      if self.size >= self.max_size then look_for_forgotten(self, host) end
    end
    if #self.queue == 0 and self.size < self.max_size then return lend(self, open(self, deadline), host) end
    queue_up(self, host, deadline)
    local conn = take_idle(self, host, deadline)
    if conn then return conn end
    if self.size < self.max_size then return lend(self, open(self, deadline), host) end
  end
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
  if self.closed or not (clean or conn:reset()) or self.config.reset and not conn:reset_session(self.config.reset) then
    self:discard(conn)
    return left_open
  end
  if conn.discarded then return left_open end -- closed while it was being reset
  let_go(conn)
  conn.lease = conn.lease + 1
  conn.used = core.clock()
  self.lent[conn], self.holders[conn] = nil, nil
  if self.closed then
    self:discard(conn)
    return left_open
  end
  self.idle[#self.idle + 1] = conn
  if #self.queue > 0 then serve(self) end
  if too_old(self, self.idle[1], conn.used) then close_aged(self) end
  return left_open
end

--- What a coroutine had that was closed in the middle (Lua 5.4's coroutine.close): nothing can be
--- waited for any more.
function Pool:abandon(conn)
  if self.lent[conn] then self:discard(conn) end
end

-- ---- all of them ----------------------------------------------------------------------------

--- Lets every connection prepare its statements anew: what types they have is read anew.
function Pool:forget_statements()
  for _, conn in ipairs(self.idle) do conn:forget_all(true) end
  for conn in pairs(self.lent) do conn:forget_all(true) end
end

--- Opens min_size connections now.
function Pool:fill()
  local opened = {}
  local function open_all()
    while self.size < self.min_size do opened[#opened + 1] = open(self) end
  end
  local ok, err = pcall(open_all)
  for _, conn in ipairs(opened) do self:checkin(conn) end
  if not ok then error(err, 0) end
end

--- How it stands: size (open connections, those being opened included), idle, in_use, waiting, the
--- limits, and since it was made opened, closed, acquired, waited and timeouts.
function Pool:stats()
  reap(self)
  local stats = {
    size = self.size, idle = #self.idle, in_use = self.size - #self.idle, waiting = #self.queue,
    min_size = self.min_size, max_size = self.max_size,
  }
  for name, n in pairs(self.counts) do stats[name] = n end
  return stats
end

local function close_lent(self, host)
  self.over = true -- for those being opened
  local list, ends = {}, core.clock() + TURN
  for conn in pairs(self.lent) do list[#list + 1] = conn end
  for _, conn in ipairs(list) do self:discard(conn) end
  for _, conn in ipairs(list) do -- those that wait for one close it themselves
    while conn.c:usable() and host.wake and core.clock() < ends do host.wait(nil, nil, 0.001) end
    conn.c:close() -- its loop is over
  end
end

--- Closes what is idle, and each connection in use when it comes back.
---@param timeout number?  seconds: waits so long for those in use, then closes them all the same
function Pool:close(timeout)
  self.closed = true
  local idle = self.idle
  self.idle = {}
  for _, conn in ipairs(idle) do self:discard(conn) end
  serve(self)
  if not timeout then return end
  local host = wait.pick(self.config.loop)
  if host.wake and (next(self.places) or next(self.lent)) then -- else nobody can run to give one back
    self.closer = task.entry(host, "close")
    task.park(self.closer, timeout)
  end
  close_lent(self, host)
end

return Pool
