-- SPDX-License-Identifier: MIT
--
-- turn: one statement at a time on a connection that several coroutines share (`tx`, acquire).
--
-- First come, first served; the same coroutine may come again inside its own turn.  Nobody is handed
-- a turn: whoever waits is told that the connection is free and takes it, so that one that was killed
-- meanwhile takes nothing along.

local error, pcall, setmetatable = error, pcall, setmetatable

local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local parking = require "fastpg.host.parking"
local wait = require "fastpg.host.wait"

local turn = {}

local MAIN = current_task.main

local LOOK_AGAIN = 1.0 -- the one before may have been killed after it was told

local function give(conn)
  conn.depth = conn.depth - 1
  if conn.depth > 0 then return end
  conn.user = nil
  local first = conn.turns and conn.turns[1]
  if first then parking.signal(first) end
end

-- The value that ends a turn when its coroutine is closed in the middle (Lua 5.4).
local Guard = { __close = function(guard)
  if guard.conn.user == guard.user then
    guard.conn.depth = 1
    give(guard.conn)
  end
end }

local function wait_until_free(conn, entry, deadline)
  repeat
    local left = deadline and deadline - core.clock() or LOOK_AGAIN
    if left <= 0 then errors.raise("timeout", "the connection is in use by another coroutine: its turn took too long") end
    entry.ready = false
    parking.park(entry, math.min(left, LOOK_AGAIN))
  until conn.user == nil
end

local function queue_up(conn, deadline)
  local what = "the connection is in use by another coroutine: this call"
  local entry = parking.entry(wait.pick(conn.pool and conn.pool.config.loop), what)
  conn.turns = conn.turns or {}
  conn.turns[#conn.turns + 1] = entry
  local function in_use() return conn.user and { conn.user } end
  local ok, err = pcall(parking.waiting_for, in_use, false, what, wait_until_free, conn, entry, deadline)
  parking.remove(conn.turns, entry)
  if not ok then error(err, 0) end
end

local function take(conn, me, deadline)
  if conn.user == me then
    conn.depth = conn.depth + 1
    return
  end
  if conn.user ~= nil or conn.turns and conn.turns[1] then queue_up(conn, deadline or conn.deadline_of()) end
  conn.user, conn.depth = me, 1
end

local function finish(conn, ok, ...)
  give(conn)
  if not ok then error((...), 0) end
  return ...
end

local function protected(conn, fn, ...)
  return finish(conn, pcall(fn, conn, ...))
end

--- Runs fn(conn, ...) in this coroutine's turn on the connection, which must come by `deadline`.
---@param deadline number?  nil: the statement's own
function turn.run_by(conn, deadline, fn, ...)
  local me = current_task.me()
  take(conn, me, deadline)
  -- nobody closes the main thread, and the guard of a turn that this one is inside of ends both
  if me == MAIN or conn.depth > 1 then return finish(conn, pcall(fn, conn, ...)) end
  return defer.close(setmetatable({ conn = conn, user = me }, Guard), protected, conn, fn, ...)
end

--- Whether nobody is in the middle of a statement there, and nobody waits for a turn.
function turn.is_free(conn)
  return conn.user == nil and not (conn.turns and conn.turns[1])
end

--- The turn of the main thread, on a connection that is free.
function turn.run_free(conn, fn, ...)
  conn.user, conn.depth = MAIN, 1
  return finish(conn, pcall(fn, conn, ...))
end

--- The same in the time that a statement has.
function turn.run(conn, fn, ...)
  return turn.run_by(conn, nil, fn, ...)
end

--- Whether another coroutine is in the middle of a statement there.
function turn.is_taken(conn)
  return conn.user ~= nil and conn.user ~= current_task.me()
end

return turn
