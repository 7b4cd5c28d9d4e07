-- SPDX-License-Identifier: MIT
--
-- trip: statements of several coroutines in one round trip, where all connections of a pool are in use.
--
--   queue: A B C D …        a connection comes free, A takes it and drives: its statement, B's, C's, D's, one Sync
--                           results come ─▶ the connection goes back, each coroutine reads its own rows
--
-- Only what reads goes so, and was quick of late (csrc/sql/reads.c; QUICK).  Up to its Sync a pipeline is one transaction
-- to the server, so nobody is told anything before the Sync is answered: either all went well, or one failed, and then
-- nothing happened: the server rolled it back, and each runs its statement alone, as if there had been no trip.  So one's
-- error never touches another's, and nothing that happened is run twice.
--
-- One that turns out slow holds up the others for STALLED seconds: then the server is asked to stop, which rolls all
-- back, and each goes alone; and what was aboard counts as slow, until it was quick alone again.
--
-- The driver waits for the socket, the others for the driver (in the queue).  A driver that is canceled or killed hands over to
-- another one; of any other one who leaves the result is thrown away.  Where the connection is lost each is told.
-- The rows of each are made in its own coroutine, by a reader (csrc/pg/reader.c): the connection may be another's by then.
--
-- PostgreSQL manual: "Pipeline Mode" of libpq.

local error, ipairs, pairs, pcall, select, setmetatable, type = error, ipairs, pairs, pcall, select, setmetatable, type

local bounded = require "fastpg.base.bounded"
local Connection = require "fastpg.pg.connection"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local parking = require "fastpg.host.parking"
local user_sql = require "fastpg.sql.user_sql"

local trip = {}

local MOST_SHAPES = 1000 -- texts whose times are known
local MOST_ABOARD = 32
local MOST_LOOKED_AT = 100 -- of those who wait
local MOST_BYTES = 8192 -- of the texts among the arguments of a statement
local QUICK = 0.005 -- seconds that a statement takes on average
local TOGETHER = 0.02 -- and all of a trip together
local STALLED = 0.25 -- when the server is asked to stop; again after twice as long
local MOST_REQUESTS = 3
local WEIGHT = 0.25 -- of the newest time in the average
local MOST_READERS = 64 -- kept for later
local BIG = 65536 -- bytes of a result, from which on its statement goes alone

-- ---- what a call asks for -------------------------------------------------------------------

--- What a function that is given to Route:on_connection asks for, by its arguments:
--- asks[fn](...) -> text, how, target, list, n, fits, arg; nil: it has to be called.  `fits(conn, arg)`: whether it
--- may go by that connection as it is.
trip.asks = {}

local function in_pool(conn) return conn.standard_strings == true end

trip.asks[fetch.run] = function(how, target, sql, ...)
  if type(sql) ~= "string" then return nil end
  local parsed, first = user_sql.parse(sql, true), ...
  if parsed.is_long or first ~= nil and user_sql.is_args(first) then
    local list, n = user_sql.collect(parsed, ...)
    return parsed.text, how, target, list, n, in_pool
  end
  return parsed.text, how, target, { ... }, select("#", ...), in_pool
end

trip.asks[Connection.run] = function(sql, how, target, ...) return sql, how, target, { ... }, select("#", ...) end
trip.asks[Connection.run_list] = function(sql, how, target, list, n) return sql, how, target, list, n end

local SCALARS = { ["nil"] = true, boolean = true, number = true }

-- Whether whoever drives may write these arguments: what Lua code of the user's may have a part in stays in its coroutine.
local function may_be_written(list, n)
  local bytes = 0
  for i = 1, n do
    local value = list[i]
    local kind = type(value)
    if kind == "string" then
      bytes = bytes + #value
      if bytes > MOST_BYTES then return false end
    elseif not SCALARS[kind] and value ~= core.null then
      return false
    end
  end
  return true
end

-- ---- seats ----------------------------------------------------------------------------------

local Trips = {}
Trips.__index = Trips

--- The trips of a pool.
function trip.new(pool)
  return setmetatable({
    pool = pool,
    shapes = bounded.new(MOST_SHAPES), -- text -> { reads =, mean = seconds, nil: not known }
    readers = {}, -- that nobody uses
  }, Trips)
end

local function shape_of(self, text)
  local shape = self.shapes.kept[text]
  return shape or self.shapes:keep(text, { reads = core.only_reads(text, true), mean = nil })
end

local function new_seat(self, codecs, text, how, target, list, n, fits, arg)
  if not text then return nil end
  local shape = shape_of(self, text)
  if not shape.reads or n > 0 and (codecs or not may_be_written(list, n)) then return nil end
  return { text = text, how = how, target = target, list = list, n = n, fits = fits, arg = arg, shape = shape,
    trip = nil, outcome = nil, drives = false, is_gone = false }
end

--- A seat for what fn(conn, ...) would run; nil where that has to go alone.
---@param codecs boolean  whether types may be written by Lua code of the user's
function Trips:seat(codecs, fn, ...)
  return new_seat(self, codecs, trip.asks[fn](...))
end

local function note_time(shape, seconds)
  local mean = shape.mean
  shape.mean = mean and mean + (seconds - mean) * WEIGHT or seconds
end

local function timed(shape, began, ...)
  note_time(shape, core.clock() - began)
  return ...
end

--- Runs it alone, and notes how long that takes.
function trip.alone(conn, shape, fn, ...)
  return timed(shape, core.clock(), fn(conn, ...))
end

-- Its prepared statement, where it may go by that connection now.
local function statement_on(conn, seat)
  local mean = seat.shape.mean
  if not mean or mean > QUICK then return nil end
  local st = conn.statements[seat.text]
  if not st or not st:is_plain() or seat.fits and not seat.fits(conn, seat.arg) then return nil end
  return st
end

-- ---- departure ------------------------------------------------------------------------------

local Trip = {}
Trip.__index = Trip

-- One more statement; false where its arguments can't be written, which it finds out when it goes alone.
local function board(self, seat, st)
  local c = self.conn.c
  if not pcall(c.send_batch, c, st, seat.list, seat.n) then return false end
  local n = #self.seats + 1
  self.seats[n], self.statements[n] = seat, st
  seat.trip, seat.st = self, st
  return true
end

local function send(self, queue, driver, st, others)
  local c = self.conn.c
  c:batch()
  if board(self, driver, st) then
    for _, other in ipairs(others) do
      if board(self, other.seat, other.st) then queue:remove(other.seat.entry) end
    end
  end
  c:send_sync()
end

-- Those who wait and may come along, in their order.
local function passengers(self, conn, mean)
  local list, left, entry = {}, TOGETHER - mean, self.pool.queue.first
  for _ = 1, MOST_LOOKED_AT do
    if not entry or #list >= MOST_ABOARD - 1 then break end
    local seat = entry.seat
    if seat and not entry.turn and not parking.is_gone(entry) then
      local st = statement_on(conn, seat)
      if st and seat.shape.mean <= left then
        list[#list + 1] = { seat = seat, st = st }
        left = left - seat.shape.mean
      end
    end
    entry = entry.next
  end
  return list
end

--- A trip of the seat's statement, which has got this connection, and of others that wait; nil where there are none.  What
--- they ask for is sent.
---@return table?
function Trips:depart(conn, seat)
  local queue = self.pool.queue
  if not queue.first or conn.run ~= Connection.run then return nil end -- hooks stand before its methods
  local st = statement_on(conn, seat)
  local others = st and passengers(self, conn, seat.shape.mean)
  if not others or not others[1] then return nil end
  local now = core.clock()
  local one = setmetatable({
    trips = self, conn = conn, seats = {}, statements = {}, results = {}, failure = nil, asked = 0, began = now,
    stalls = now + STALLED, who = setmetatable({}, { __mode = "v" }),
  }, Trip)
  conn.trip = one
  one:seat_driver(seat)
  local ok, err = pcall(send, one, queue, seat, st, others)
  if not ok then one.unsent = err end
  return one
end

-- ---- who drives -----------------------------------------------------------------------------

--- The running coroutine drives from here on.  (Nobody holds a coroutine that is not resumed any more.)
function Trip:seat_driver(seat)
  local entry = seat.entry
  self.driver, self.host, self.group = seat, entry and entry.host, entry and entry.group
  self.who.co = coroutine.running()
  seat.entry, seat.drives = nil, true
end

-- Lets another one drive, who wakes up for it; false where nobody is left.
local function hand_over(self)
  local before = self.driver
  before.is_gone, self.driver = true, nil
  for _, seat in ipairs(self.seats) do
    local entry = seat.entry
    if entry and not seat.is_gone then
      if parking.is_gone(entry) then
        seat.is_gone = true
      else
        self.driver, seat.drives = seat, true
        parking.signal(entry)
        return true
      end
    end
  end
  return false
end

--- The one who drove was killed: whether there is another one.
function Trip:lose_driver()
  return hand_over(self)
end

--- Somebody leaves: nobody reads what comes for it.
function Trip:leave(seat)
  seat.is_gone = true
  if self.driver ~= seat or seat.outcome then return end
  local pool = self.trips.pool
  if not hand_over(self) then pool:discard(self.conn) end
end

-- Whether whoever drives, or was told to, will not do it any more.
local function is_stranded(self)
  local driver = self.driver
  if not driver then return false end
  local entry = driver.entry
  if entry then return parking.is_gone(entry) or coroutine.status(entry.co) == "dead" end
  local co, host = self.who.co, self.host
  if self.group and host.is_lost(-1, self.group) or host and host.is_gone and co and host.is_gone(co) then return true end
  return not co or not self.group and coroutine.status(co) == "dead"
end

--- For those who wait, now and then: whether somebody drives.
function Trip:look()
  if is_stranded(self) and not hand_over(self) then self.trips.pool:discard(self.conn) end
end

-- ---- under way ------------------------------------------------------------------------------

local LEFT = {} -- what is raised where a driver leaves

-- It takes too long.
local function stall(self)
  local conn = self.conn
  self.asked = self.asked + 1
  self.stalls = self.asked < MOST_REQUESTS and core.clock() + STALLED * 2 ^ self.asked or nil
  if self.seats[2] then conn:cancel() end
end

local function check_canceled(self)
  self.canceled = current_task.take_cancel()
  if self.canceled then error(LEFT, 0) end
end

local function await(self, want)
  local conn, left = self.conn, nil
  if self.stalls then
    left = self.stalls - core.clock()
    if left <= 0 then return stall(self) end
  end
  conn.waiter = coroutine.running()
  local ready = conn.wait(conn.fd, want, left)
  conn.waiter = nil
  if conn.doomed then
    conn:close()
    errors.raise("closed", "the connection was closed while its statement ran")
  end
  if ready == "woken" then check_canceled(self) end
end

-- A result that is no good one.  Those behind it were not run.
local function look_at(self)
  local conn, i = self.conn, #self.results + 1
  local seat = self.seats[i]
  local err, reader = conn:outcome(self.statements[i], seat and seat.text)
  if err or self.failure or not seat then
    self.failure = self.failure or err
  elseif reader == self.statements[i] then
    self.results[i] = conn.c:take() -- and something happened to the session, which is noted
  else
    self.failure = errors.new("protocol_violation", "the result has other columns than its statement was described with")
  end
end

local function drive(self)
  local c = self.conn.c
  check_canceled(self) -- also one who was canceled while it was told to drive
  local at = c:take_all(self.statements, self.results)
  while at ~= "sync" do
    if at == true then
      look_at(self)
      if not c:busy() then return end
    else
      await(self, at)
    end
    at = c:take_all(self.statements, self.results)
  end
  local err = self.conn:outcome() -- what the server reports of settings comes last
  self.failure = self.failure or err
end

-- ---- arrival --------------------------------------------------------------------------------

local function version_of(conn)
  conn.version = conn.version or conn.c:info().server_version
  return conn.version
end

-- What became of each.
local function conclude(self, lost)
  local conn, n = self.conn, #self.seats
  local seconds = core.clock() - self.began
  local well = not lost and not self.failure and #self.results == n
  local zone, version = nil, nil
  if well then zone, version = conn.c:parameter "TimeZone" or "UTC", version_of(conn) end
  self.driver.outcome = "alone" -- where it did not come aboard itself
  for i, seat in ipairs(self.seats) do
    if self.asked > 0 then seat.shape.mean = math.max(seat.shape.mean or 0, STALLED) else note_time(seat.shape, seconds / n) end
    if well then
      seat.outcome, seat.result, seat.zone, seat.version = "result", self.results[i], zone, version
    elseif lost then
      seat.outcome, seat.error = "lost", lost
    else
      seat.outcome = "alone"
    end
  end
  local counts = self.trips.pool.counts
  if n > 1 then counts.acquired, counts.together = counts.acquired + n - 1, counts.together + n - 1 end
end

local function wake_others(self)
  for _, seat in ipairs(self.seats) do
    if seat.entry and not seat.is_gone then parking.signal(seat.entry) end
  end
end

-- The connection goes back before the others read, so that its next user begins meanwhile.
local function arrive(self, lost)
  local conn = self.conn
  conclude(self, lost)
  conn.trip, conn.overdue, conn.deadline = nil, nil, nil
  local at_once = conn.c:idle() and not conn.canceling
  if not at_once then wake_others(self) end
  local ok, err = pcall(conn.pool.checkin, conn.pool, conn)
  if at_once then wake_others(self) end
  if not ok then error(err, 0) end
end

local function finish(self, ok, err)
  if not ok and err == LEFT then
    local canceled = self.canceled
    if not hand_over(self) then self.conn.trip = nil self.conn.pool:checkin(self.conn) end
    error(canceled, 0)
  end
  local lost = nil
  if not ok then lost = err elseif not self.conn.c:usable() then lost = self.failure end
  arrive(self, lost)
end

-- A driver whose coroutine is closed in the middle (Lua 5.4).
local Guard = { __close = function(guard)
  local self = guard.trip
  if guard.is_over or self.driver and self.driver ~= guard.seat then return end
  self.conn.waiter = nil
  if guard.seat.outcome then -- while the connection was given back
    wake_others(self)
  elseif self.driver and hand_over(self) then
    return
  end
  self.conn.pool:abandon(self.conn)
end }

local function run(guard)
  local ok, err = pcall(drive, guard.trip)
  finish(guard.trip, ok, err)
  guard.is_over = true
end

-- No Sync was sent, and none will be: nothing of it happens.
local function give_up(self)
  self.conn.trip = nil
  self.driver.outcome = "alone"
  for _, seat in ipairs(self.seats) do seat.outcome = "alone" end
  self.conn.pool:discard(self.conn)
  wake_others(self)
end

--- Drives it to its end, in the coroutine of that seat; what came of each is in its seat then.
function Trip:drive(seat)
  if self.unsent then return give_up(self) end
  local guard = setmetatable({ trip = self, seat = seat, is_over = false }, Guard)
  defer.close(guard, run, guard)
end

--- The seat's coroutine, which waited, was told to drive.
function Trip:take_over(seat)
  local conn, host = self.conn, seat.host
  conn.pool:take_over(conn, host)
  self:seat_driver(seat)
  self.host, self.group = host, host.group and host.group()
end

-- ---- reading --------------------------------------------------------------------------------

local function give_back(self, reader, ok, ...)
  reader.spend = nil
  if #self.readers < MOST_READERS then self.readers[#self.readers + 1] = reader end
  if not ok then error((...), 0) end
  return ...
end

local function copy_of(err)
  if not errors.is_error(err) then return err end
  local copy = {}
  for key, value in pairs(err) do copy[key] = value end
  copy.query, copy.where = nil, nil
  return errors.new(err.name, err.message, copy)
end

--- What its function makes of the seat's result; raises where there is none.
function Trips:read(seat)
  if seat.outcome == "lost" then error(errors.annotate(copy_of(seat.error), seat.text), 0) end
  local readers = self.readers
  local n = #readers
  local reader = readers[n] or { c = core.reader(), duplicates = self.pool.config.duplicates }
  readers[n] = nil
  reader.spend = seat.host and seat.host.spend
  local c = reader.c
  c:read(seat.result, seat.version, seat.zone)
  seat.result = nil
  local _, bytes = c:extent()
  if bytes > BIG then seat.shape.mean = STALLED end
  return give_back(self, reader, pcall(seat.how, reader, seat.st, seat.target))
end

return trip
