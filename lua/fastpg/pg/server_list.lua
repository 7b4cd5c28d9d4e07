-- SPDX-License-Identifier: MIT
--
-- server_list: the servers that a database may use, each with what reaches it alone: those of `host`, and the replicas.
--
-- Which of them is the primary is no matter of where it was named: any may be, and is asked (fastpg.pool.servers).

local ipairs, pairs, rawget, setmetatable, type = ipairs, pairs, rawget, setmetatable, type

local conninfo = require "fastpg.pg.conninfo"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local opening = require "fastpg.pg.opening"

local server_list = {}

-- libpq's own limits are hours: what is gone without a word is to be found out in seconds.
local SIGNS_OF_LIFE = { keepalives_idle = "5", keepalives_interval = "2", keepalives_count = "3", tcp_user_timeout = "10000" }
local CONNECT_TIMEOUT = 3 -- seconds for an address

local PLACE = { host = true, hostaddr = true, port = true }

-- A config that differs from `config` in these keywords.
local function varied(config, all, changes)
  local params = {}
  for name, value in pairs(all) do
    if not PLACE[name] then params[name] = value end
  end
  for name, value in pairs(SIGNS_OF_LIFE) do params[name] = params[name] or value end
  for name, value in pairs(changes) do params[name] = value end
  params.target_session_attrs = "any"
  local copy = {
    params = {}, all_params = function() return params end, connect_timeout = config.connect_timeout or CONNECT_TIMEOUT,
  }
  for name in pairs(config.params) do copy.params[name] = params[name] end
  for name in pairs(PLACE) do copy.params[name] = params[name] end
  return setmetatable(copy, { __index = config })
end

local function name_of(server)
  local host, port = server.host or server.hostaddr or "", server.port or "5432"
  return host:find ":" and ("[%s]:%s"):format(host, port) or host .. ":" .. port
end

local function add(list, config, all, what)
  local known = core.conninfo_effective(all, config.environment == false)
  local servers = known and opening.servers(known)
  if not servers then errors.argument("%s: the lists of hosts, addresses and ports are not of the same length", what) end
  for _, server in ipairs(servers) do
    if not server.host and not server.hostaddr then server.host = known.host end
    local name = name_of(server)
    if not list[name] then
      list[name] = true
      list[#list + 1] = { name = name, config = varied(config, all, server) }
    end
  end
end

-- The keywords of a replica: what is not said of it is as with the primary.
local function of_replica(config, given, what)
  for name in pairs(type(given) == "table" and given or {}) do
    if conninfo.is_option(name) then errors.argument("%s: replicas: %s is the option of the whole database", what, name) end
  end
  local own = conninfo.read(what, given, nil, false)
  local all, place = {}, own.all_params()
  for name, value in pairs(config.all_params()) do
    if not PLACE[name] then all[name] = value end
  end
  for name, value in pairs(place) do
    if name ~= "fallback_application_name" and name ~= "client_encoding" then all[name] = value end
  end
  if not (place.host or place.hostaddr or place.port) then
    errors.argument("%s: a replica has a host or a port of its own", what)
  end
  if not place.host and not place.hostaddr then all.host = config.all_params().host end
  return all
end

local KNOWN = { max_size = true }

local function check(replicas, what)
  for key, value in pairs(replicas) do
    if type(key) ~= "number" and not KNOWN[key] then
      errors.argument("%s: replicas: a list of connection strings or tables, and max_size; unknown: %s", what,
        type(key) == "string" and key or type(key))
    end
    if key == "max_size" and not (type(value) == "number" and value >= 1 and value % 1 == 0) then
      errors.argument("%s: replicas: max_size is a whole number of at least 1, got %s", what, type(value))
    end
  end
  if rawget(replicas, 1) == nil then errors.argument("%s: replicas: a list of connection strings or tables is empty", what) end
end

--- The servers of a config: a list of { name = "host:port", config = what reaches it alone }; nil where it says nothing of
--- several (`replicas`, `failover_timeout`): then the hosts are libpq's matter.
---@param config table  as conninfo.read gives it
---@param what string  for messages
---@return table[]?
function server_list.read(config, what)
  local replicas = config.replicas
  if not replicas and not config.failover_timeout then
    for _, name in ipairs{ "reads", "max_lag" } do
      if config[name] and config[name] ~= "primary" then errors.argument("%s: %s needs replicas", what, name) end
    end
    return nil
  end
  if replicas then check(replicas, what) end
  local list = {}
  add(list, config, config.all_params(), what)
  for _, given in ipairs(replicas or {}) do
    local kind = type(given)
    if kind ~= "string" and kind ~= "table" then
      errors.argument("%s: replicas: a list of connection strings or tables, got %s", what, kind)
    end
    add(list, config, of_replica(config, given, what), what)
  end
  for name in pairs(list) do
    if type(name) == "string" then list[name] = nil end
  end
  return list
end

return server_list
