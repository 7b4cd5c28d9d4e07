-- SPDX-License-Identifier: MIT
--
-- probe: asks one server what it is: primary or standby, on which timeline, and how far its WAL is.
--
-- By a connection of its own, which is kept, without any of what a session has: it is to answer, or not, within its time.
--
-- PostgreSQL manual: "Recovery Information Functions", "Backup Control Functions".

local error, pcall, tonumber = error, pcall, tonumber

local core = require "fastpg.core"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local opening = require "fastpg.pg.opening"

local probe = {}

-- A primary's file of WAL has its timeline in its name; a standby's is that of whom it follows.
local QUESTION = [[SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
  THEN 'standby 0 ' || COALESCE(CAST(pg_catalog.pg_last_wal_replay_lsn() AS pg_catalog.text), '0/0')
  ELSE 'primary ' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) || ' '
    || CAST(pg_catalog.pg_current_wal_insert_lsn() AS pg_catalog.text) END]]

--- A position in the WAL as a number: exact up to 2^53, which is nine petabytes of it.
---@param text string  "16/B374D848"
---@return number?
function probe.position(text)
  local high, low = text:match "^(%x+)/(%x+)$"
  if not high or #high > 8 or #low > 8 then return nil end
  return tonumber(high, 16) * 4294967296 + tonumber(low, 16)
end

--- The same as text.
function probe.text(position)
  local low = position % 4294967296
  return ("%X/%X"):format((position - low) / 4294967296, low)
end

-- Waits until the descriptor is ready; raises when the time is over.
local function await(c, want, wait, deadline)
  local left = deadline - core.clock()
  if left <= 0 or not wait(c:fd(), want, left) and core.clock() >= deadline then
    errors.raise("timeout", "the server does not answer")
  end
end

--- What a connection's server says of itself.
---@param c userdata  the core's connection, on which nothing is under way
---@param wait fun(fd: integer, mode: string, timeout: number?): string?
---@param deadline number
---@return "primary"|"standby" role
---@return number timeline  of a primary
---@return number position
function probe.ask(c, wait, deadline)
  c:send_simple(QUESTION)
  local want = c:step()
  while want ~= true do
    await(c, want, wait, deadline)
    want = c:step()
  end
  local err = c:outcome()
  if err then error(err, 0) end
  local role, timeline, position = (c:text() or ""):match "^(%a+) (%x+) (%x+/%x+)$"
  if not role then errors.raise("connection", "the server does not say what it is") end
  return role, tonumber(timeline, 16), probe.position(position)
end

local function nothing() end

-- By the connection that was kept, where there is one and the server has not closed it.
local function take(server)
  local c = server.c
  server.c = nil
  if not c or c:ready(math.huge) then return c end
  c:close()
  return nil
end

--- Asks a server: { config =, c = the connection to ask by, which is made where there is none }.  Whoever asks has that
--- connection alone.
function probe.look(server, wait, deadline)
  local place = { c = take(server) }
  return defer.undo(function() if place.c then place.c:close() end end, function()
    if not place.c then place.c = opening.open(server.config, wait, deadline, nothing, place) end
    local role, timeline, position = probe.ask(place.c, wait, deadline)
    if server.c then place.c:close() else server.c = place.c end
    return role, timeline, position
  end)
end

--- Closes what it asks by.
function probe.close(server)
  if server.c then pcall(server.c.close, server.c) end
  server.c = nil
end

return probe
