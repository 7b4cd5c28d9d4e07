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
local TURN = 1.0 -- whoever does not take their turn in this time will not come

function Queue.new(pool)
  return setmetatable({ pool = pool, entries = {} }, Queue)
end

function Queue:length()
  return #self.entries
end

-- In nginx: the request is over, or the light thread was killed.
local function is_gone(entry)
  local host = entry.host
  return entry.group and host.is_lost(-1, entry.group) or entry.parked and host.is_gone and host.is_gone(entry.co)
end

--- Tells as many of those who wait that it is their turn as there are connections for them.
function Queue:serve()
  local entries, pool = self.entries, self.pool
  if #entries == 0 then return end
  local free, now, i = #pool.idle + pool.max_size - pool.size, core.clock(), 1
  while i <= #entries and (free > 0 or pool.closed) do
    local entry = entries[i]
    if is_gone(entry) or entry.turn and now - entry.turn > TURN then
      table.remove(entries, i) -- its coroutine will not take the turn
    else
      if not entry.turn then
        entry.turn = now
        parking.signal(entry)
      end
      free, i = free - 1, i + 1
    end
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
    end
  end
end

local function leave(self, entry, took_turn)
  parking.remove(self.entries, entry)
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
