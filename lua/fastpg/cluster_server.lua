-- SPDX-License-Identifier: MIT
--
-- cluster_server: one server of a cluster: how it is started and stopped, and how a standby comes to follow the primary.
--
-- A server is a record { number, socket = the directory of its own socket, conninfo, uri = by which others come, pid,
-- partitioned, stale, object = what users have of it }.  Its number stays with it, whoever is the primary.  What a cluster
-- has to know to serve it is in a state { script, relay = channels, lock, servers = records from 0 on, primary = one of
-- them, places = the others, list = what pg.standbys is }.
--
-- A server that was the primary when another one was promoted is stale: what it wrote last may be on no other.  It comes
-- back as a copy of the new primary.

local ipairs, pairs, tonumber = ipairs, pairs, tonumber

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local Database = require "fastpg.database"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local orders = require "fastpg.cluster_orders"

local cluster_server = {}

local LIMIT = 30 -- seconds
local PAUSE = 0.01
local LOOK_AT_LOG = 10 -- pauses

local SIGNALS = { smart = "TERM", fast = "INT", immediate = "QUIT" }

--- What a message calls it.
function cluster_server.name(server)
  return "server fastpg" .. server.number
end

--- Raises with what the server's log says last.
function cluster_server.fail(state, server, message)
  local _, log = state.script:order("log " .. server.number)
  errors.raise("cluster", ("%s; its log:\n%s"):format(message, log))
end

-- ---- asking ---------------------------------------------------------------------------------

--- Runs fn with a connection to the server itself, whatever the network is.
function cluster_server.ask(state, server, fn)
  local db = Database.connect{
    host = server.socket, port = state.port, user = state.superuser, dbname = "postgres", environment = false,
    application_name = "fastpg cluster", connect_timeout = LIMIT, command_timeout = LIMIT, statement_cache_size = 0,
  }
  local function close() db:close() end
  local results = compat.pack(defer.undo(close, fn, db))
  close()
  return compat.unpack(results, 1, results.n)
end

--- Asks again and again until fn gives something.
---@return any  what it gave; nil after half a minute
function cluster_server.wait_for(fn)
  local ends = core.clock() + LIMIT
  while true do
    local result = fn()
    if result then return result end
    if core.clock() >= ends then return nil end
    orders.pause(PAUSE)
  end
end

--- The numbers of the servers that run, as a set.
function cluster_server.running(state)
  local set = {}
  for number in state.script:order("running"):gmatch "%d+" do set[tonumber(number)] = true end
  return set
end

--- The server goes to that one for what it replicates; nil: to none.
function cluster_server.follow(state, server, primary)
  if state.relay then
    state.relay:order(("follow %d %d"):format(server.number, primary and primary.number or -1))
  elseif primary then
    state.script:order(("link %d %d"):format(server.number, primary.number))
  end
end

-- ---- following the primary ------------------------------------------------------------------

local function streaming(db)
  local set = {}
  for _, row in ipairs(db:q "select application_name as name from pg_stat_replication where state = 'streaming'") do
    set[row.name] = true
  end
  return set
end

--- Waits until one of the servers (or all) streams from the primary.
---@param all boolean
---@param look (fun(server: table))?  called with each that does not yet, now and then
---@return table?  one that does not; nil: that is as it should be
function cluster_server.wait_until_streaming(state, servers, all, look)
  local missing
  cluster_server.ask(state, state.primary, function(db)
    local tries = 0
    return cluster_server.wait_for(function()
      local there, found = streaming(db), 0
      tries, missing = tries + 1, nil
      for _, server in ipairs(servers) do
        if there["fastpg" .. server.number] then
          found = found + 1
        else
          missing = missing or server
          if look and tries % LOOK_AT_LOG == 0 then look(server) end
        end
      end
      if not all and found > 0 then missing = nil end
      return not missing
    end)
  end)
  return missing
end

local function launch(state, servers)
  local numbers = {}
  for i, server in ipairs(servers) do numbers[i] = server.number end
  if #numbers == 0 then return end
  local i = 0
  for pid in state.script:order("start " .. table.concat(numbers, " ")):gmatch "%d+" do
    i = i + 1
    servers[i].pid = tonumber(pid)
  end
  for _, server in ipairs(servers) do
    if state.relay then state.relay:order("up " .. server.number) end
  end
end

local function halt(state, server, signal)
  state.script:order(signal .. " " .. server.number)
  if state.relay then state.relay:order("down " .. server.number) end
  server.pid = nil
end

--- A server that is stopped becomes a copy of the primary.
local function rebuild(state, server)
  if server.partitioned or state.primary.partitioned then
    errors.raise("cluster", cluster_server.name(server) .. " comes back as a copy of the primary, and is cut off from it: "
      .. "pg:heal comes first")
  end
  if not cluster_server.running(state)[state.primary.number] then
    errors.raise("cluster", cluster_server.name(server) .. " comes back as a copy of the primary, which does not run: "
      .. "pg:start() starts both")
  end
  cluster_server.follow(state, server, state.primary)
  state.script:order(("rebuild %d %d"):format(server.number, state.primary.number))
  server.stale = nil
end

--- A standby that has gone another way than the primary becomes a copy of it.
function cluster_server.replace(state, server)
  halt(state, server, "QUIT")
  rebuild(state, server)
  launch(state, { server })
end

-- Waits until they follow; one whose history is another than the primary's is replaced.
function cluster_server.settle(state, servers)
  local list = {}
  for _, server in ipairs(servers) do
    if server ~= state.primary and not server.partitioned then list[#list + 1] = server end
  end
  if #list == 0 or state.primary.partitioned then return end
  local replaced = {}
  local missing = cluster_server.wait_until_streaming(state, list, true, function(server)
    if not replaced[server] and state.script:order("diverged " .. server.number) == "yes" then
      replaced[server] = true
      cluster_server.replace(state, server)
    end
  end)
  if missing then
    cluster_server.fail(state, missing, cluster_server.name(missing) .. " does not follow the primary")
  end
end

-- ---- starting and stopping ------------------------------------------------------------------

local function start(state, servers)
  local running, standbys = cluster_server.running(state), {}
  for _, server in ipairs(servers) do
    if server == state.primary then
      launch(state, { server })
      running[server.number] = true
    end
  end
  for _, server in ipairs(servers) do
    local runs = running[server.number]
    if server ~= state.primary and not (runs and server.pid) then -- (its start may have been canceled in the middle)
      if server.stale and not runs then rebuild(state, server) end
      standbys[#standbys + 1] = server
    end
  end
  launch(state, standbys)
  if running[state.primary.number] then cluster_server.settle(state, standbys) end
end

--- Starts those that are stopped (also one that was killed); a standby then follows the primary, if that is to be reached.
function cluster_server.start(state, servers)
  orders.alone(state.lock, start, state, servers)
end

--- Starts them all, for the first time.
function cluster_server.first_start(state)
  local all = {}
  for number, server in pairs(state.servers) do all[number + 1] = server end
  for i = 2, #all do cluster_server.follow(state, all[i], state.primary) end
  launch(state, all)
  cluster_server.settle(state, all)
end

local function stop(state, server, mode)
  halt(state, server, SIGNALS[mode])
end

--- Stops a server; one that is cut off, too.
---@param mode "smart"|"fast"|"immediate"
function cluster_server.stop(state, server, mode)
  orders.alone(state.lock, stop, state, server, mode)
end

return cluster_server
