-- SPDX-License-Identifier: MIT
--
-- pool: connections that are handed out and come back clean.
--
--   idle ──checkout──▶ lent ──checkin──▶ idle         closed when lost, too old, or left in a state
--    ▲                                    │           that can't be mended
--    └── queue: who came while all were lent, first come first served
--
-- A single connection is a pool of one.  The queue is in fastpg.pool.queue; what becomes of connections whose
-- users are gone, in fastpg.pool.forgotten.  No timer runs: an idle pool keeps no loop alive.

local collectgarbage, error, ipairs, next, pairs, pcall, setmetatable =
  collectgarbage, error, ipairs, next, pairs, pcall, setmetatable

local core = require "fastpg.core"
local Connection = require "fastpg.pg.connection"
local current_task = require "fastpg.host.current_task"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local forgotten = require "fastpg.pool.forgotten"
local parking = require "fastpg.host.parking"
local Queue = require "fastpg.pool.queue"
local trip = require "fastpg.pool.trip"
local wait = require "fastpg.host.wait"

local Pool = {}
Pool.__index = Pool

Connection.take_cancel, Connection.put_cancel_back, Connection.check_canceled =
  current_task.take_cancel, current_task.put_cancel_back, current_task.check

local MAIN = current_task.main
local IDLE_PING = 30 -- a connection that nobody used for so long may be dead without a sign
local PING_TIMEOUT = 5
local LAST_WORDS = 1.0 -- how long those who are woken by `close` may take to see that it is over

--- Makes a pool; no connection is opened yet.
---@param config table  what conninfo.read gives
---@param on_open fun(conn: table)  called with each new connection
---@param on_ddl fun(change: table?, conn: table?)  called when the schema may have changed: what (fastpg.sql.changes), and
--- on which connection
function Pool.new(config, on_open, on_ddl)
  local self
  self = setmetatable({
    config = config,
    is_plain = not (config.command_timeout or config.max_lifetime or config.max_inactive_connection_lifetime or config.reset),
    on_open = on_open,
    on_ddl = function(change, conn) self:note_ddl(change, conn) end,
    on_change = on_ddl,
    other = nil, -- the second one of its database (fastpg.pool.route)
    homes = {}, -- what names mean: to the first connection (`first`), and the key of that for new ones (`key`)
    min_size = config.min_size or 0,
    max_size = config.max_size or 1,
    idle = {}, -- a stack: the connection used last is the warmest
    lent = setmetatable({}, { __mode = "k" }),
    holders = setmetatable({}, { __mode = "kv" }), -- connection -> the task or coroutine that has it
    unclosed = 0, -- connections that count no more and could not be closed
    size = 0, -- open connections, lent ones and those being opened included
    places = setmetatable({}, { __mode = "k" }), -- of those being opened: who opens one may be gone, too
    collect_after = 0, -- when the collector may run again for those who wait
    closers = {}, -- entries of those who wait in `close`
    counts = { opened = 0, closed = 0, acquired = 0, waited = 0, together = 0, timeouts = 0 },
    cache_counts = { hits = 0, misses = 0, prepared = 0, evicted = 0 }, -- of connections that are closed (Connection:add_counts)
  }, Pool)
  self.queue = Queue.new(self)
  self.trips = trip.new(self)
  return self
end

-- ---- opening and closing --------------------------------------------------------------------

-- While a connection is opened nothing is under way on it that would have to be brought to an end.
local function interruptible(self, host, place)
  return function(fd, mode, timeout)
    place.fd, place.waiter, place.wake = fd, coroutine.running(), host.wake
    local ready = host.wait(fd, mode, timeout)
    place.waiter = nil
    if self.over then errors.raise("closed", "the database was closed") end
    if ready == "woken" then current_task.check() end
    return ready
  end
end

-- Tells who waits in `close` when nothing is in use any more.
local function tell_closers(self)
  if next(self.places) or next(self.lent) then return end
  for _, entry in ipairs(self.closers) do parking.signal(entry) end
end

local function leave_place(self, place, ok)
  if not self.places[place] then return end
  self.places[place] = nil
  forgotten.let_go(place)
  if ok then return end
  self.size = self.size - 1
  self.queue:serve()
  tell_closers(self)
end

-- (`opener` of a pool is called likewise: one of several servers has to be found; fastpg.pool.servers.)
local function open_one(wait_for, deadline, place, self)
  return Connection.open(self.config, wait_for, deadline, place)
end

-- A connection that was opened is the pool's, and set up.
local function take_over(self, conn, host)
  self.counts.opened = self.counts.opened + 1
  conn.pool = self
  conn.on_ddl = self.on_ddl
  conn.opened = core.clock()
  conn.used = conn.opened
  self.lent[conn] = true
  forgotten.hold(self, conn, host)
  self.on_open(conn)
end

local function open(self, deadline)
  local host, place = wait.pick(self.config.loop), {}
  if self.unclosed > 0 then
    collectgarbage()
    collectgarbage() -- 5.1 and LuaJIT finalize in the first and free in the second
    self.unclosed = 0
  end
  self.size = self.size + 1
  self.places[place] = true
  forgotten.hold(self, place, host)
  local conn = defer.undo(function()
    if place.c then place.c:close() end -- also where there was no memory for what holds it
    leave_place(self, place, false)
  end, self.opener or open_one, interruptible(self, host, place), deadline, place, self)
  leave_place(self, place, true)
  if self.over then
    self.size = self.size - 1
    conn:close()
    errors.raise("closed", "the database was closed")
  end
  local ok, err = pcall(take_over, self, conn, host)
  if ok and (conn:is_clean() or conn:reset()) then return conn end
  self:discard(conn)
  error(err or errors.new("connection", "the new connection was lost while it was being set up"), 0)
end

--- Closes a connection for good.  (It counts no more before anything is done that may fail for want of memory.)
function Pool:discard(conn)
  if conn.discarded then return conn:close() end
  conn.discarded = true
  conn.lease = conn.lease + 1
  self.lent[conn], self.holders[conn] = nil, nil
  self.size = self.size - 1
  self.counts.closed = self.counts.closed + 1
  self.unclosed = self.unclosed + 1
  conn:close() -- where there is no memory even for the call the collector closes it (`open` runs it)
  self.unclosed = self.unclosed - 1
  forgotten.let_go(conn)
  conn:add_counts(self.cache_counts)
  self.queue:serve()
  tell_closers(self)
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

-- Of one of several servers: whether it is still what the connection was made for, which may have to be asked.
local function is_trusted(self, conn, deadline)
  local ok, answer = pcall(conn.servers.trusts, conn.servers, conn, deadline)
  if ok then return answer end
  self:discard(conn)
  error(answer, 0)
end

local function healthy(self, conn, deadline)
  local now, server = core.clock(), conn.server
  if too_old(self, conn, now) then return false end
  if server and not is_trusted(self, conn, deadline) then return false end
  local is_doubtful = server and server.suspected > conn.used -- another connection to it was lost since then
  local ready = conn.c:ready(IDLE_PING)
  if ready ~= nil and not (ready and is_doubtful) then return ready end
  local limit = now + (is_doubtful and conn.servers.SILENCE or PING_TIMEOUT)
  conn:limit(deadline and deadline < limit and deadline or limit)
  local ok = pcall(conn.simple, conn, "")
  conn.deadline = nil
  return ok
end

-- ---- lending --------------------------------------------------------------------------------

local function lend(self, conn, host)
  conn.wait, conn.spend, conn.wake = host.wait, host.spend, host.wake
  self.lent[conn], self.holders[conn] = true, current_task.me()
  if not conn.request then forgotten.hold(self, conn, host) end
  self.counts.acquired = self.counts.acquired + 1
  return conn
end

local function take_idle(self, host, deadline)
  local idle = self.idle
  while #idle > 0 do
    local conn = table.remove(idle)
    self.lent[conn] = true
    conn.wait = host.wait
    forgotten.hold(self, conn, host)
    if healthy(self, conn, deadline) then return lend(self, conn, host) end
    self:discard(conn)
  end
  return nil
end

--- Takes over a connection that somebody else had.
function Pool:take_over(conn, host)
  conn.waiter = nil
  forgotten.let_go(conn)
  self.lent[conn] = true
  conn.wait, conn.spend, conn.wake = host.wait, host.spend, host.wake
  self.holders[conn] = current_task.me()
  forgotten.hold(self, conn, host)
end

--- Whether who comes now has to wait.
function Pool:is_busy()
  return self.queue.n > 0 or self.size >= self.max_size and #self.idle == 0
end

--- Whether all connections there may be are in use.
function Pool:is_exhausted()
  return self.size >= self.max_size and #self.idle == 0
end

--- Who has the connections, for those who wait for one: nil where one of them may come back all the same.
---@return table?  tasks and coroutines, as current_task.me gives them
function Pool:holders_who_wait()
  if next(self.places) or #self.idle > 0 then return nil end
  local list, me = {}, current_task.me() -- who is about to wait
  for conn in pairs(self.lent) do
    local holder = self.holders[conn]
    if not holder or holder ~= me and parking.goes_on(holder) then return nil end
    list[#list + 1] = holder
  end
  return list
end

--- A connection of one's own until checkin; nil where the statement of the seat went with others, and what came of it
--- is in the seat (fastpg.pool.trip).
---@param deadline number?  when it must be there
---@param seat table?
---@param is_first boolean?  before all who wait
function Pool:checkout(deadline, seat, is_first)
  if self.closed then errors.raise("closed", "the database is closed") end
  current_task.check()
  local host, my_turn = wait.pick(self.config.loop), self.queue:length() == 0
  while true do
    if my_turn then
      local conn = take_idle(self, host, deadline)
      if conn then return conn end
      if self.size >= self.max_size then forgotten.look(self, host) end
      if self.size < self.max_size then return lend(self, open(self, deadline), host) end
    end
    self.queue:wait(host, deadline, seat, is_first)
    if seat and seat.trip then return nil end
    if self.closed then errors.raise("closed", "the database is closed") end
    my_turn = true
  end
end

--- The straight way, for the main thread of a plain script (wait.is_plain), where the pool has an idle connection in
--- good health and nothing of its config has a say (`is_plain`); nil where the other way is to be taken.
---@return table?
function Pool:take()
  local idle = self.idle
  local n = #idle
  local conn = idle[n]
  if not conn or not conn.c:ready(IDLE_PING) then return nil end
  if not conn.blocks then conn:unlimited() end
  idle[n] = nil
  self.lent[conn], self.holders[conn] = true, MAIN
  self.counts.acquired = self.counts.acquired + 1
  return conn
end

-- Whether what happened on the connection left something to do before others get it.
local function is_as_before(conn)
  if conn.in_transaction or conn.canceling or conn.abandoned or conn.interrupted or not conn:is_home()
    or conn.standard_strings ~= conn.strings_at_start or not conn.blocks then return false end
  conn.eventful = false
  return true
end

--- And back, after what went well; false where the other way is to be taken.
function Pool:put(conn)
  if self.closed or not conn.c:idle() or conn.eventful and not is_as_before(conn) or conn.home_key ~= self.homes.key
    or self.queue.n > 0 then
    return false
  end
  conn.lease = conn.lease + 1
  local idle = self.idle
  idle[#idle + 1] = conn
  self.lent[conn] = nil
  return true
end

-- Before others get it, to whom texts and names mean what they mean in the pool; false where that can't be.
local function bring_home(self, conn)
  local shared, reset = self.max_size > 1, self.config.reset
  if conn.home_key ~= self.homes.key then return false end
  if shared and conn.standard_strings ~= conn.strings_at_start and not conn:put_strings_back() then return false end
  if shared and not conn:is_home() and not conn:put_path_back() then return false end
  if not reset then return true end
  return conn:reset_session(reset) and (not shared or conn:is_home() or conn:put_path_back())
end

local function check_in(self, conn)
  conn:tell_later()
  if conn.servers then conn.servers:returned(conn) end
  if conn.discarded then return false end
  local clean, left_open = conn:is_clean() and not conn.in_transaction, false
  if not clean and not conn.in_transaction then
    local status = conn.c:usable() and conn.c:transaction_status()
    left_open = status == "intrans" or status == "inerror"
  end
  conn.deadline, conn.overdue, conn.abandoned = nil, nil, nil
  if self.closed or not (clean or conn:reset()) or not bring_home(self, conn) then
    self:discard(conn)
    return left_open
  end
  if conn.discarded then return left_open end -- closed while it was being reset
  forgotten.let_go(conn)
  conn.lease = conn.lease + 1
  conn.used = core.clock()
  conn.c:rest()
  if self.closed then
    self:discard(conn)
    return left_open
  end
  self.idle[#self.idle + 1] = conn
  self.lent[conn], self.holders[conn] = nil, nil
  self.queue:serve()
  if too_old(self, self.idle[1], conn.used) then close_aged(self) end
  return left_open
end

--- Takes a connection back.  Nothing is under way on it then and no transaction open, or it is
--- closed: nobody ever reads what belongs to somebody else.
---@return boolean  whether a transaction was open that fastpg did not begin
function Pool:checkin(conn)
  local ok, left_open = pcall(check_in, self, conn)
  if ok then return left_open end
  if self.lent[conn] then self:discard(conn) end -- no memory, say: nobody would ever get it again
  error(left_open, 0)
end

--- What a coroutine had that was closed in the middle (Lua 5.4's coroutine.close): nothing can be
--- waited for any more.
function Pool:abandon(conn)
  if self.lent[conn] then self:discard(conn) end
end

-- ---- all of them ----------------------------------------------------------------------------

-- Calls fn with each connection of the pool, and of the other one of its database (`other`: the way past a pooler).
local function each_connection(self, fn)
  for _, conn in ipairs(self.idle) do fn(conn) end
  for conn in pairs(self.lent) do fn(conn) end
  local other = self.other
  if not other then return end
  for _, conn in ipairs(other.idle) do fn(conn) end
  for conn in pairs(other.lent) do fn(conn) end
end

Pool.each_connection = each_connection

--- Lets every connection prepare its statements anew: what types they have is read anew.
function Pool:forget_statements()
  each_connection(self, function(conn) conn:forget_all(true) end)
end

local function forget_mentions(self, names)
  each_connection(self, function(conn) conn:forget_mentions(names) end)
end

--- The schema changed: the server plans anew what it knows to have changed, but texts in which a name may mean another
--- object by now are prepared anew, on all connections.
---@param change table?  nil: what nobody told us of, which no name of ours was made for
---@param conn table?  where it was done
function Pool:note_ddl(change, conn)
  self:forget_change(change)
  self.on_change(change, conn)
end

--- Forgets what a change concerns, wherever it was done.
function Pool:forget_change(change)
  if change and (change.all or change.plans) then
    self:forget_statements()
  elseif change and change.names then
    forget_mentions(self, change.names)
  end
end

--- New connections begin with another search_path (or role): the others end when nobody has them.
function Pool:retire()
  local idle = self.idle
  for i = #idle, 1, -1 do
    local conn = idle[i]
    if conn.home_key ~= self.homes.key then
      table.remove(idle, i)
      self:discard(conn)
    end
  end
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

-- The statements that are kept on a connection, and what its cache has counted, are added to the sums.
local function add_statements(sums, conn)
  sums.statements = sums.statements + conn.count
  conn:add_counts(sums)
end

--- How it stands: size (open connections, those being opened included), idle, in_use, waiting, the
--- limits, and since it was made opened, closed, acquired, waited, together (fastpg.pool.trip) and timeouts; of the
--- statement caches of its connections together statements (kept now), hits, misses, prepared, evicted.
function Pool:stats()
  forgotten.reap(self)
  local stats = {
    size = self.size, idle = #self.idle, in_use = self.size - #self.idle, waiting = self.queue:length(),
    min_size = self.min_size, max_size = self.max_size,
  }
  for name, n in pairs(self.counts) do stats[name] = n end
  local sums = { statements = 0 }
  for name, n in pairs(self.cache_counts) do sums[name] = n end
  for _, conn in ipairs(self.idle) do add_statements(sums, conn) end
  for conn in pairs(self.lent) do add_statements(sums, conn) end
  for name, n in pairs(sums) do stats[name] = n end
  return stats
end

local function close_lent(self, host)
  self.over = true -- for those being opened
  local list, ends = {}, core.clock() + LAST_WORDS
  for conn in pairs(self.lent) do list[#list + 1] = conn end
  for _, conn in ipairs(list) do self:discard(conn) end
  for place in pairs(self.places) do
    if place.waiter and place.wake then place.wake(place.waiter) end
  end
  while next(self.places) and host.wake and core.clock() < ends do host.wait(nil, nil, 0.001) end
  for _, conn in ipairs(list) do -- those that wait for one close it themselves
    while conn.c:usable() and host.wake and core.clock() < ends do host.wait(nil, nil, 0.001) end
    conn.c:close() -- its loop is over
  end
end

-- Where others are to have a turn, a few at a time.
local CLOSED_AT_ONCE = 8

local function discard_idle(self)
  local ok, host = pcall(wait.pick, self.config.loop)
  local spend, n = ok and host.spend, 0
  while #self.idle > 0 do
    self:discard(table.remove(self.idle))
    n = n + 1
    if spend and n % CLOSED_AT_ONCE == 0 then spend(0) end
  end
end

--- Closes what is idle, and each connection in use when it comes back.
---@param timeout number?  seconds: waits so long for those in use, then closes them all the same
function Pool:close(timeout)
  self.closed = true
  discard_idle(self)
  self.queue:serve()
  if not timeout then return end
  local host = wait.pick(self.config.loop)
  if host.wake and (next(self.places) or next(self.lent)) then -- else nobody can run to give one back
    local entry = parking.entry(host, "close")
    self.closers[#self.closers + 1] = entry
    parking.park(entry, timeout)
    parking.remove(self.closers, entry)
  end
  close_lent(self, host)
end

return Pool
