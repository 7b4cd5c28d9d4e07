-- SPDX-License-Identifier: MIT
--
-- cluster_settings: what the servers of a cluster are told in postgresql.conf, and the password that TCP asks for.

local assert, ipairs, pairs, tonumber, tostring, type = assert, ipairs, pairs, tonumber, tostring, type

local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"

local cluster_settings = {}

local PORT = 5432 -- names the socket
local PASSWORD_BYTES = 24

-- fsync and full pages guard against a crash of the machine, which this data does not outlive.
local FAST = { fsync = "off", full_page_writes = "off", synchronous_commit = "off" }

-- dynamic_shared_memory_type: mmap needs no /dev/shm, so a bare chroot will do.
local BASE = {
  listen_addresses = "",
  port = PORT,
  dynamic_shared_memory_type = "mmap",
  timezone = "UTC",
  log_timezone = "UTC",
  log_destination = "stderr",
  logging_collector = "off",
}

-- WAL is kept for a standby that is away for a while; who lost its primary finds the next one at once, and who hears
-- nothing of it gives it up soon. A commit waits for no standby, but it is sent at once (with "off" it would lie for
-- 0.2 seconds first).
local REPLICATED = {
  synchronous_commit = "local",
  wal_keep_size = "512MB",
  wal_retrieve_retry_interval = "100ms",
  wal_sender_timeout = "5s",
  wal_receiver_timeout = "5s",
  wal_receiver_status_interval = "1s",
  max_wal_senders = 24,
}

-- Where its files are, and who comes in, is the cluster's own business.
local OWN_SETTINGS = options.set("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file",
  "unix_socket_directories", "include", "include_dir", "include_if_exists")

-- And where there are standbys, whom a server follows, and who waits for whom.
local OWN_OF_STANDBYS = options.set("cluster_name", "primary_conninfo", "primary_slot_name", "synchronous_standby_names",
  "recovery_target_timeline")

-- A standby needs at least as much of these as its primary has.
local NEEDED_BY_STANDBYS = { "max_connections", "max_locks_per_transaction", "max_prepared_transactions", "max_wal_senders",
  "max_worker_processes" }

--- Whether they may be less than what a server is made with.
function cluster_settings.may_lower(settings)
  for _, name in ipairs(NEEDED_BY_STANDBYS) do
    if settings[name] ~= nil then return true end
  end
  return false
end

--- The settings that a user gave, by their names in lower case: a setting's name has no case; two spellings of one would
--- fall to chance.
function cluster_settings.read(given, standbys)
  local settings = {}
  for name, value in pairs(given) do
    if type(name) ~= "string" or not name:find("^[%a_][%w_.]*$") then
      errors.argument "cluster: settings is a table { name = value, ... }"
    end
    local lower = name:lower()
    if OWN_SETTINGS[lower] or standbys and OWN_OF_STANDBYS[lower] then
      errors.argument("cluster: settings: %s is the cluster's own", lower)
    end
    if settings[lower] ~= nil then errors.argument("cluster: settings: %s is there twice", lower) end
    settings[lower] = value
  end
  return settings
end

--- The port of all of its servers.
function cluster_settings.port(settings)
  local port = settings.port
  if port == nil then return PORT end
  local number = (type(port) == "number" or type(port) == "string") and tonumber(port)
  if not number or number % 1 ~= 0 or number < 1 or number > 65535 then
    errors.argument("cluster: settings: port must be a whole number from 1 to 65535, got %s", type(port))
  end
  settings.port = ("%d"):format(number)
  return tonumber(settings.port)
end

--- Whether it listens on TCP.
function cluster_settings.listens(settings)
  local addresses = settings.listen_addresses
  if addresses ~= nil and type(addresses) ~= "string" then
    errors.argument("cluster: settings: listen_addresses must be a string, got %s", type(addresses))
  end
  return addresses ~= nil and addresses:find "%S" ~= nil
end

function cluster_settings.new_password()
  local source = assert(io.open("/dev/urandom", "rb"))
  local bytes = source:read(PASSWORD_BYTES)
  source:close()
  if not bytes or #bytes < PASSWORD_BYTES then errors.raise("cluster", "no random bytes for its password") end
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function quote_setting(name, value)
  if type(value) == "boolean" then value = value and "on" or "off" end
  if type(value) ~= "string" and type(value) ~= "number" then
    errors.argument("cluster: setting %s: string, number or boolean expected, got %s", name, type(value))
  end
  return "'" .. tostring(value):gsub("['\\]", "%0%0"):gsub("\n", "\\n") .. "'"
end

-- A commit waits for one of the others: a server is no standby of itself.
local function synchronous(standbys)
  local names = {}
  for i = 0, standbys do names[#names + 1] = "fastpg" .. i end
  return { synchronous_commit = "on", synchronous_standby_names = "ANY 1 (" .. table.concat(names, ", ") .. ")" }
end

--- The lines for postgresql.conf; of settings given twice the server takes the last.
---@param opts { durable: boolean?, standbys: integer?, synchronous: boolean? }
function cluster_settings.configuration(opts, settings)
  local lines = { "" }
  local function add(from)
    local names = {}
    for name in pairs(from) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      lines[#lines + 1] = name .. " = " .. quote_setting(name, from[name])
    end
  end
  add(BASE)
  if not opts.durable then add(FAST) end
  if opts.standbys then add(REPLICATED) end
  if opts.standbys and opts.durable then add{ synchronous_commit = "on" } end
  if opts.synchronous then add(synchronous(opts.standbys)) end
  add(settings)
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

return cluster_settings
