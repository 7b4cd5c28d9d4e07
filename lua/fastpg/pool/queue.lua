-- SPDX-License-Identifier: MIT
--
-- queue: those who wait for a connection of a pool, first come first served.
--
-- Nobody is handed a connection: whose turn it is is told so, and takes one.  One that was killed
-- meanwhile loses its turn, never a connection.
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

function Queue.new(pool)
  return setmetatable({ pool = pool, entries = {}, told = 0, looked = 0 }, Queue)
end

function Queue:length()
  return #self.entries
end

-- In nginx: the request is over, or the light thread was killed.
local function is_gone(entry)
  local host = entry.host
  return entry.group and host.is_lost(-1, entry.group) or entry.parked and host.is_gone and host.is_gone(entry.co)
end

local function tell(self, entry, now)
  entry.turn, self.told = now, self.told + 1
  parking.signal(entry)
end

-- Looks at each from the first on: those who were told and do not come lose their turn.
local function serve_all(self, now)
  local entries, pool = self.entries, self.pool
  local free, i = #pool.idle + pool.max_size - pool.size, 1
  self.looked = now
  while i <= #entries and (free > 0 or pool.closed) do
    local entry = entries[i]
    if is_gone(entry) or entry.turn and now - entry.turn > TURN then
      table.remove(entries, i) -- its coroutine will not take the turn
      if entry.turn then self.told = self.told - 1 end
      entry.is_out = true
    else
      if not entry.turn then tell(self, entry, now) end
      free, i = free - 1, i + 1
    end
  end
end

--- Tells as many of those who wait that it is their turn as there are connections for them.
function Queue:serve()
  local entries, pool = self.entries, self.pool
  if #entries == 0 then return end
  local now = core.clock()
  local first = entries[1]
  local may_be_gone = first.group or first.host.is_gone -- without a word
  if may_be_gone or pool.closed or now - self.looked > LOOK_AT_ALL then return serve_all(self, now) end
  -- those who were told stand before the others
  local free = #pool.idle + pool.max_size - pool.size - self.told
  for i = self.told + 1, self.told + free do
    local entry = entries[i]
    if not entry then return end
    if entry.turn or is_gone(entry) then return serve_all(self, now) end
    tell(self, entry, now)
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
  if self.entries[1] ~= entry then return LOOK_AGAIN, false end
  if not forgotten.may_be(pool, host) then return LOOK_LATER, true end
  return math.max(0.001, math.min(LOOK_AGAIN, pool.collect_after - core.clock())), true
end

local function wait_for_turn(self, host, entry, deadline)
  local pool = self.pool
  self.entries[#self.entries + 1] = entry
  self:serve()
  while not entry.turn do
    local left = deadline - core.clock()
    if left <= 0 then
      pool.counts.timeouts = pool.counts.timeouts + 1
      errors.raise("timeout", exhausted(pool) .. ": none came back within the time allowed")
    end
    entry.ready = false
    local pause, look = next_look(self, host, entry)
    local signaled = parking.park(entry, math.min(left, pause))
    if not entry.turn then
      if look and not signaled then forgotten.collect(pool) end
      forgotten.reap(pool)
      if not signaled then self:serve() end
    end
  end
end

local function leave(self, entry, took_turn)
  parking.remove(self.entries, entry)
  if entry.turn and not entry.is_out then self.told = self.told - 1 end
  if entry.turn and not took_turn then self:serve() end
end

--- Waits until it is this coroutine's turn to take a connection, or the pool was closed.
---@param deadline number?  when it must be there
function Queue:wait(host, deadline)
  local pool = self.pool
  if not host.wake then
    errors.raise("deadlock", exhausted(pool) .. ", and nothing else can run to give one back: end what uses it before, "
      .. "or wait in a task (fastpg.spawn)")
  end
  local limit = core.clock() + (pool.config.acquire_timeout or ACQUIRE_TIMEOUT)
  if deadline and deadline < limit then limit = deadline end
  pool.counts.waited = pool.counts.waited + 1
  local entry = parking.entry(host, "the pool")
  entry.group = host.group and host.group()
  local function others() return not entry.turn and pool:holders_who_wait() or nil end
  defer.undo(function() leave(self, entry, false) end, parking.waiting_for, others, true,
    exhausted(pool) .. ": waiting for one", wait_for_turn, self, host, entry, limit)
  leave(self, entry, true)
end

return Queue
