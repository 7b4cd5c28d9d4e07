-- SPDX-License-Identifier: MIT
--
-- forgotten: connections of a pool whose users are gone without giving them back.
--
--   a coroutine that is never resumed again    the garbage collector finds it: `lent` and `places` of the
--                                              pool have weak keys, and what it had is closed by finalizers
--   a light thread that was killed, a request
--   that is over (nginx)                       the host says so: `reap` asks it
--
-- No timer runs.  The collector is run only for those who would have to wait.

local collectgarbage, pairs, type = collectgarbage, pairs, type

local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local parking = require "fastpg.host.parking"

local forgotten = {}

local COLLECT_PAUSE = 20 -- times as long as the collector took until it runs again

-- ---- what the collector finds ---------------------------------------------------------------

local function recount(pool)
  local n = #pool.idle
  for _ in pairs(pool.places) do n = n + 1 end
  for _ in pairs(pool.lent) do n = n + 1 end
  pool.size = n
end

--- Runs the collector; where others can give one back meanwhile, for a part of the time only.
---@param at_once boolean?  it can't wait
function forgotten.collect(pool, at_once)
  local before = core.clock()
  if not at_once and before < pool.collect_after then return end
  collectgarbage()
  collectgarbage() -- 5.1 and LuaJIT finalize in the first and free in the second
  local after = core.clock()
  pool.collect_after = after + COLLECT_PAUSE * (after - before)
  recount(pool)
end

--- Whether some of those that are lent may be forgotten.  A task that has not ended uses what it has, of
--- a request the host says when it is over, and a full collection would cost the others a frame.
---@return boolean, boolean at_once  whether nothing is to be waited for before that is known
function forgotten.may_be(pool, host)
  local me, at_once, maybe = current_task.me(), not host.wake, false
  for conn in pairs(pool.lent) do
    local holder = pool.holders[conn]
    at_once = at_once or holder == me
    maybe = maybe or not conn.request and (type(holder) ~= "table" or holder.done ~= false)
  end
  return maybe or at_once, at_once
end

-- ---- what the host knows --------------------------------------------------------------------

--- The connection, or the place where one is being opened, is the running request's until let_go.
---@param it table
function forgotten.hold(pool, it, host)
  if not host.hold then return end
  it.request, it.host = host.hold(), host
  parking.awake()
  if pool.watched then return end
  pool.watched = true
  host.watch(pool, forgotten.reap)
end

function forgotten.let_go(it)
  if it.request then it.host.release(it.request) end
  it.request = nil
end

--- Takes back what killed coroutines and requests that are over had.
function forgotten.reap(pool)
  for place in pairs(pool.places) do
    if place.request and place.host.is_lost(place.fd or -1, place.request) then
      pool.places[place] = nil
      if place.c then place.c:close() end
      pool.size = pool.size - 1
    end
  end
  for conn in pairs(pool.lent) do
    if conn.request and conn.host.is_lost(conn.fd, conn.request) then
      conn.waiter = nil -- nobody waits for it any more
      forgotten.let_go(conn)
      if not (conn.trip and conn.trip:lose_driver()) then pool:discard(conn) end
    elseif conn.trip and not conn.request then -- whoever was told to drive it may be gone, too
      conn.trip:look()
    end
  end
  pool.queue:serve()
end

--- Before anyone has to wait: looks whether that is needed.
function forgotten.look(pool, host)
  forgotten.reap(pool)
  if pool.size < pool.max_size then return end
  recount(pool)
  if pool.size < pool.max_size then return end
  local maybe, at_once = forgotten.may_be(pool, host)
  if maybe then forgotten.collect(pool, at_once) end
end

return forgotten
