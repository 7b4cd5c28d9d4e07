-- SPDX-License-Identifier: MIT
--
-- cluster_standbys: what is done to a cluster with standbys: promoting one, letting it fall behind, cutting off a server.
--
-- A place is 0 for the primary, and i for pg.standbys[i].  Servers keep their numbers and addresses; with a promotion the
-- new primary and the old one change places.

local error, ipairs, pcall, type = error, ipairs, pcall, type

local errors = require "fastpg.base.errors"
local orders = require "fastpg.cluster_orders"
local servers = require "fastpg.cluster_server"

local cluster_standbys = {}

local name = servers.name

-- ---- places ---------------------------------------------------------------------------------

--- The server in a place.
---@param least integer  0 where the primary may be meant, 1 where not
function cluster_standbys.at(state, what, place, least)
  if not state.standbys then
    errors.argument("%s: this cluster has no standbys: fastpg.cluster{ standbys = 1 }", what)
  end
  if type(place) ~= "number" or place % 1 ~= 0 or place < least or place > #state.places then
    errors.argument("%s: a number from %d to %d expected%s, got %s", what, least, #state.places,
      least == 0 and " (0 is the primary)" or "", type(place) == "number" and place or type(place))
  end
  return place == 0 and state.primary or state.places[place]
end

-- ---- promoting ------------------------------------------------------------------------------

-- Who could be promoted: they run, and can be reached.
local function candidates(state, chosen)
  local running, list = servers.running(state), {}
  for _, server in ipairs(chosen and { chosen } or state.places) do
    local problem = not running[server.number] and "does not run" or server.partitioned and "is cut off"
      or server.stale and "was the primary before, and has to be started again"
    if not problem then
      list[#list + 1] = server
    elseif chosen then
      errors.raise("cluster", ("promote: %s %s"):format(name(chosen), problem))
    end
  end
  if not list[1] then errors.raise("cluster", "promote: no standby runs and can be reached") end
  return list, running
end

-- Stops a running primary when one of them is sure to get all of its WAL.
local function hand_over(state, list)
  local missing = servers.wait_until_streaming(state, list, false)
  if missing then
    servers.fail(state, missing, ("promote: %s gets nothing from the primary; nothing was done"):format(name(missing)))
  end
  servers.stop(state, state.primary, "fast")
end

-- How far a standby has come, when nothing more comes to it: both in bytes.
local function received(state, server)
  return servers.ask(state, server, function(db)
    local over = server.partitioned or servers.wait_for(function() -- (one that is cut off gets nothing)
      return db:item "select count(*) = 0 from pg_stat_wal_receiver where status = 'streaming'"
    end)
    if not over then servers.fail(state, server, ("promote: %s still follows the primary"):format(name(server))) end
    return db:item "select (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint"
  end)
end

local function promote_server(state, server)
  local done = servers.ask(state, server, function(db)
    db:execute "select pg_promote(false)"
    return servers.wait_for(function() return db:item "select not pg_is_in_recovery()" end)
  end)
  if not done then servers.fail(state, server, ("promote: %s is still a standby"):format(name(server))) end
end

-- The places of the two are changed; the rest goes to the new primary.
local function follow(state, new, far, running)
  local old = state.primary
  for i, server in ipairs(state.places) do
    if server == new then state.places[i], state.list[i] = old, old.object end
  end
  state.primary, old.stale = new, true
  local list = {}
  for _, server in ipairs(state.places) do
    if server ~= old then
      servers.follow(state, server, new)
      local ahead = far[server] and far[server] > far[new]
      if ahead and running[server.number] and not server.partitioned then
        servers.replace(state, server)
      elseif ahead then
        server.stale = true
      end
      if running[server.number] and not server.partitioned and not server.stale then list[#list + 1] = server end
    end
  end
  return list
end

local function is_paused(state, server)
  return servers.ask(state, server, function(db) return db:item "select pg_is_wal_replay_paused()" end)
end

local function promote(state, place)
  local chosen = place ~= nil and cluster_standbys.at(state, "promote", place, 1) or nil
  local list, running = candidates(state, chosen)
  local old = state.primary
  if running[old.number] and not old.partitioned then hand_over(state, list) end
  local far, best = {}, nil
  for _, server in ipairs(state.places) do
    if running[server.number] and not server.stale then
      if old.partitioned then servers.follow(state, server, nil) end -- it would go on waiting for it
      far[server] = received(state, server)
    end
  end
  for _, server in ipairs(list) do
    if not best or far[server] > far[best] then best = server end
  end
  promote_server(state, best)
  local followers = {}
  for _, server in ipairs(follow(state, best, far, running)) do
    -- one whose replay is paused asks for no more before it goes on
    if not is_paused(state, server) then followers[#followers + 1] = server end
  end
  servers.settle(state, followers)
end

--- Makes a standby the primary: the one in that place, or the one that has received most.
---@param place integer?
function cluster_standbys.promote(state, place)
  if not state.standbys then cluster_standbys.at(state, "promote", 1, 1) end
  orders.alone(state.lock, promote, state, place)
end

-- ---- falling behind -------------------------------------------------------------------------

--- A standby receives, and replays nothing of it, until `resume_replay`.
function cluster_standbys.pause_replay(state, place)
  local server = cluster_standbys.at(state, "pause_replay", place, 1)
  local paused = servers.ask(state, server, function(db)
    db:execute "select pg_wal_replay_pause()"
    local sql = db:item "select to_regproc('pg_get_wal_replay_pause_state') is null" and "select pg_is_wal_replay_paused()"
      or "select pg_get_wal_replay_pause_state() = 'paused'" -- from PostgreSQL 14 on
    return servers.wait_for(function() return db:item(sql) end)
  end)
  if not paused then servers.fail(state, server, name(server) .. " does not stop its replay") end
end

function cluster_standbys.resume_replay(state, place)
  local server = cluster_standbys.at(state, "resume_replay", place, 1)
  servers.ask(state, server, function(db)
    servers.wait_for(function() -- what is replayed at once may cancel the question
      local ok, err = pcall(db.execute, db, "select pg_wal_replay_resume()")
      if not ok and not errors.is(err, "40001") then error(err, 0) end
      return ok
    end)
  end)
end

-- ---- the network ----------------------------------------------------------------------------

local function network(state, what, place, partitioned)
  local server = cluster_standbys.at(state, what, place, 0)
  if not state.relay then errors.raise("cluster", ("%s: there is no relay here: %s"):format(what, state.no_relay)) end
  state.relay:order(("%s %d"):format(what, server.number))
  server.partitioned = partitioned
end

--- Every packet from and to the server is lost from now on.
function cluster_standbys.partition(state, place)
  network(state, "partition", place, true)
end

--- The network is there again.
function cluster_standbys.heal(state, place)
  network(state, "heal", place, nil)
end

return cluster_standbys
