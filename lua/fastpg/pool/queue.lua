-- SPDX-License-Identifier: MIT
--
-- queue: those who wait for a connection of a pool, first come first served.
--
-- Nobody is handed a connection: whose turn it is is told so, and takes one.  One that was killed
-- meanwhile loses its turn, never a connection.  A statement that only reads has a seat (fastpg.pool.trip): whoever
-- takes a turn may take it along, and then it waits for its result.
--
-- The first of the queue looks for connections whose users are gone (fastpg.pool.forgotten) for all of it.

local setmetatable = setmetatable

local core = require "fastpg.core"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local forgotten = require "fastpg.pool.forgotten"
local parking = require "fastpg.host.parking"

local Queue = {}
Queue.__index = Queue

local ACQUIRE_TIMEOUT = 30
local LOOK_AGAIN = 1.0 -- those who wait look at the queue so often
local LOOK_LATER = 5.0 -- while all that are lent have users that are alive
local LOOK_AT_ALL = 0.2 -- those who do not come are looked for so often
local TURN = 1.0 -- whoever does not take their turn in this time will not come

--- A queue: entries linked by `next` and `previous`.
function Queue.new(pool)
  return setmetatable({ pool = pool, first = nil, last = nil, n = 0, told = 0, looked = 0 }, Queue)
end

function Queue:length()
  return self.n
end

local function append(self, entry)
  local last = self.last
  entry.previous, entry.is_in = last, true
  if last then last.next = entry else self.first = entry end
  self.last, self.n = entry, self.n + 1
end

local function prepend(self, entry)
  local first = self.first
  entry.next, entry.is_in = first, true
  if first then first.previous = entry else self.last = entry end
  self.first, self.n = entry, self.n + 1
end

--- Takes an entry out.
function Queue:remove(entry)
  if not entry.is_in then return end
  local before, behind = entry.previous, entry.next
  if before then before.next = behind else self.first = behind end
  if behind then behind.previous = before else self.last = before end
  entry.previous, entry.next, entry.is_in = nil, nil, false
  self.n = self.n - 1
end

local function tell(self, entry, now)
  entry.turn, self.told = now, self.told + 1
  parking.signal(entry)
end

-- Looks at each from the first on: those who were told and do not come lose their turn.
local function serve_all(self, now)
  local pool, entry = self.pool, self.first
  local free = #pool.idle + pool.max_size - pool.size
  self.looked = now
  while entry and (free > 0 or pool.closed) do
    local behind = entry.next
    if parking.is_gone(entry) or entry.turn and now - entry.turn > TURN then
      self:remove(entry) -- its coroutine will not take the turn
      if entry.turn then self.told = self.told - 1 end
      entry.is_out = true
    else
      if not entry.turn then tell(self, entry, now) end
      free = free - 1
    end
    entry = behind
  end
end

--- Tells as many of those who wait that it is their turn as there are connections for them.
function Queue:serve()
  local pool, entry = self.pool, self.first
  if not entry then return end
  local now = core.clock()
  local may_be_gone = entry.group or entry.host.is_gone -- without a word
  if may_be_gone or pool.closed or now - self.looked > LOOK_AT_ALL then return serve_all(self, now) end
  local free = #pool.idle + pool.max_size - pool.size - self.told
  while entry and entry.turn do entry = entry.next end -- those who were told stand before the others
  for _ = 1, free do
    if not entry then return end
    if entry.turn or parking.is_gone(entry) then return serve_all(self, now) end
    tell(self, entry, now)
    entry = entry.next
  end
end

local function exhausted(pool)
  local what = "the connection is"
  if pool.max_size > 1 then what = ("all %d connections of the pool are"):format(pool.max_size) end
  return what .. " in use"
end

-- How long to park, and whether those who were forgotten are to be looked for then.
local function next_look(self, host, entry)
  local pool = self.pool
  if self.first ~= entry then return LOOK_AGAIN, false end
  if not forgotten.may_be(pool, host) then return LOOK_LATER, true end
  return math.max(0.001, math.min(LOOK_AGAIN, pool.collect_after - core.clock())), true
end

-- With others: how long that takes is the server's business.
local function wait_for_arrival(entry)
  local seat = entry.seat
  while not (seat.outcome or seat.drives) do
    entry.ready = false
    if not parking.park(entry, LOOK_AGAIN) then seat.trip:look() end
  end
end

local function wait_for_turn(self, host, entry, deadline)
  local pool, seat = self.pool, entry.seat
  if entry.is_first then prepend(self, entry) else append(self, entry) end
  self:serve()
  while not entry.turn do
    if seat and seat.trip then return wait_for_arrival(entry) end
    local left = deadline - core.clock()
    if left <= 0 then
      pool.counts.timeouts = pool.counts.timeouts + 1
      errors.raise("timeout", exhausted(pool) .. ": none came back within the time allowed")
    end
    entry.ready = false
    local pause, look = next_look(self, host, entry)
    local signaled = parking.park(entry, math.min(left, pause))
    if not (entry.turn or seat and seat.trip) then
      if look and not signaled then forgotten.collect(pool) end
      forgotten.reap(pool)
      if not signaled then self:serve() end
    end
  end
end

local function leave(self, entry, took_turn)
  self:remove(entry)
  if entry.turn and not entry.is_out then self.told = self.told - 1 end
  if took_turn then return end
  if entry.turn then self:serve() end
  local seat = entry.seat
  if seat and seat.trip then seat.trip:leave(seat) end
end

--- Waits until it is this coroutine's turn to take a connection, or the pool was closed; or where it has a seat, until
--- what others took along has arrived.
---@param deadline number?  when it must be there
---@param seat table?
---@param is_first boolean?  before all others
function Queue:wait(host, deadline, seat, is_first)
  local pool = self.pool
  if not host.wake then
    errors.raise("deadlock", exhausted(pool) .. ", and nothing else can run to give one back: end what uses it before, "
      .. "or wait in a task (fastpg.spawn)")
  end
  local limit = core.clock() + (pool.config.acquire_timeout or ACQUIRE_TIMEOUT)
  if deadline and deadline < limit then limit = deadline end
  pool.counts.waited = pool.counts.waited + 1
  local entry = parking.entry(host, "the pool")
  entry.group, entry.is_first, entry.seat = host.group and host.group(), is_first, seat
  if seat then seat.entry, seat.host = entry, host end
  local function others() return not (entry.turn or seat and seat.trip) and pool:holders_who_wait() or nil end
  defer.undo(function() leave(self, entry, false) end, parking.waiting_for, others, true,
    exhausted(pool) .. ": waiting for one", wait_for_turn, self, host, entry, limit)
  leave(self, entry, true)
end

return Queue
