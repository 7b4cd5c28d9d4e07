-- SPDX-License-Identifier: MIT
--
-- cluster: a private PostgreSQL server from the installed binaries, for demos, tests and tools.
--
--   local pg <close> = fastpg.cluster()      -- initdb and start, about a second
--   local db = pg:connect()
--
-- Everything lives in one temporary directory (mode 0700): data/, log, and the unix socket, which is the only way in
-- unless `listen_addresses` says otherwise: who can enter the directory is the server's own user, so there it asks for
-- nothing; by TCP, where any user of the machine may come, it wants the password that was made for this cluster
-- (scram-sha-256).  A shell script (fastpg.cluster_script), started by csrc/host/supervisor.c in a session of its own,
-- makes the directory, starts the server and waits for orders; when this process closes the cluster or ends in whatever
-- way, the script reads end-of-file, stops the server and removes the directory.
--
-- The script's answers are lines: text of a failure, then one line that begins with "+" (done, with
-- a value) or "-" (failed). A server of root's runs as `postgres`, else `nobody`.

local assert, error, ipairs, pairs, pcall, setmetatable, tonumber, tostring, type =
  assert, error, ipairs, pairs, pcall, setmetatable, tonumber, tostring, type

local core = require "fastpg.core"
local Database = require "fastpg.database"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"
local SCRIPT = require "fastpg.cluster_script"
local surface = require "fastpg.base.surface"

local cluster = {}

local PORT = 5432 -- names the socket
local PASSWORD_BYTES = 24
local START_SECONDS = 120

-- fsync and full pages guard against a crash of the machine, which this data does not outlive.
local FAST = { fsync = "off", full_page_writes = "off", synchronous_commit = "off" }

local SIGNALS = { smart = "TERM", fast = "INT", immediate = "QUIT" }

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

local START_OPTIONS = options.declare("fastpg.cluster", {
  bindir = options.name, superuser = options.name, durable = options.boolean,
  settings = options.kinds("a table of names and values", "table"),
})
local STOP_OPTIONS = options.declare("pg:stop", { mode = options.one_of("smart", "fast", "immediate") })

-- Where its files are, and who comes in, is the cluster's own business.
local OWN_SETTINGS = options.set("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file",
  "unix_socket_directories", "include", "include_dir", "include_if_exists")

-- A setting's name has no case; two spellings of one would fall to chance.
local function read_settings(given)
  local settings = {}
  for name, value in pairs(given) do
    if type(name) ~= "string" or not name:find("^[%a_][%w_.]*$") then
      errors.argument "cluster: settings is a table { name = value, ... }"
    end
    local lower = name:lower()
    if OWN_SETTINGS[lower] then errors.argument("cluster: settings: %s is the cluster's own", lower) end
    if settings[lower] ~= nil then errors.argument("cluster: settings: %s is there twice", lower) end
    settings[lower] = value
  end
  return settings
end

local function port_of(settings)
  local port = settings.port
  if port == nil then return PORT end
  local number = (type(port) == "number" or type(port) == "string") and tonumber(port)
  if not number or number % 1 ~= 0 or number < 1 or number > 65535 then
    errors.argument("cluster: settings: port must be a whole number from 1 to 65535, got %s", type(port))
  end
  settings.port = ("%d"):format(number)
  return tonumber(settings.port)
end

local function listens(settings)
  local addresses = settings.listen_addresses
  if addresses ~= nil and type(addresses) ~= "string" then
    errors.argument("cluster: settings: listen_addresses must be a string, got %s", type(addresses))
  end
  return addresses ~= nil and addresses:find "%S" ~= nil
end

local function new_password()
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

-- The lines for postgresql.conf; of settings given twice the server takes the last.
local function configuration(durable, settings)
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
  if not durable then add(FAST) end
  add(settings)
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

-- The value of the script's next answer; a failure raises with what the script said before it.
local function answer(supervisor)
  local said = {}
  while true do
    local line, timeout = supervisor:receive(START_SECONDS)
    if timeout then errors.raise("cluster", "the server's supervisor does not answer") end
    local mark = line and line:sub(1, 1)
    if mark == "+" then return line:sub(2) end
    if not line or mark == "-" and line == "-" then
      local text = table.concat(said, "\n")
      errors.raise("cluster", (text ~= "" and text or "the supervisor has ended"))
    end
    said[#said + 1] = line
  end
end

local methods = {}
local mt = { __name = "fastpg.Cluster" }
mt.__index = function(_, name)
  local method = methods[name]
  if method == nil and name ~= "pid" and surface.is_name(name) then surface.unknown("a cluster", name, methods) end
  return method
end

-- A database made by a cluster keeps it: cluster.start():connect() is not collected under it.
local kept = setmetatable({}, { __mode = "k" })

local function check_open(pg)
  if pg.supervisor:closed() then errors.raise("closed", "the cluster is closed") end
end

local function order(pg, text)
  check_open(pg)
  pg.supervisor:send(text .. "\n")
  return answer(pg.supervisor)
end

local function merged(pg, opts, what)
  check_open(pg)
  if opts ~= nil and type(opts) ~= "table" then
    errors.argument("%s: a table of options expected, got %s", what, type(opts))
  end
  local all = {}
  for k, v in pairs(pg.conninfo) do all[k] = v end
  all.environment = false -- what is meant is this server, whatever PGHOSTADDR, PGSERVICE, PGOPTIONS or PGTZ say
  for k, v in pairs(opts or {}) do all[k] = v end
  if opts and opts.database ~= nil then all.dbname = nil end
  return all
end

---Connects to the server as its superuser.
---@param opts table? as of `fastpg.connect`, over the cluster's own host, port, user and dbname
---@return table db
function methods.connect(pg, opts)
  local db = Database.connect(merged(pg, opts, "connect"))
  kept[db] = pg
  return db
end

---A pool of connections to the server.
---@param opts table? as of `connect`
---@param pool_opts table? as of `fastpg.create_pool`
---@return table db
function methods.create_pool(pg, opts, pool_opts)
  local db = Database.create_pool(merged(pg, opts, "create_pool"), pool_opts)
  kept[db] = pg
  return db
end

---Stops the server; its data stays until `close`.
---@param opts { mode: "smart"|"fast"|"immediate" }? default fast; smart waits for clients to leave
function methods.stop(pg, opts)
  local mode = options.check(opts, STOP_OPTIONS, "stop").mode or "fast"
  order(pg, SIGNALS[mode])
  pg.pid = nil
end

---Starts a stopped server (also one that was killed) on the same socket.
function methods.start(pg)
  pg.pid = tonumber(order(pg, "start"))
end

---`stop` and `start`.
---@param opts { mode: "smart"|"fast"|"immediate" }?
function methods.restart(pg, opts)
  pg:stop(opts)
  pg:start()
end

---Stops the server and removes its directory. Harmless when closed.
function methods.close(pg)
  pg.pid = nil
  if not pg.supervisor:close() then
    errors.raise("cluster", "the server did not stop; its directory is " .. pg.dir)
  end
end

surface.methods(methods, { connect = 1, create_pool = 2, stop = 1, start = 0, restart = 1, close = 0 }, mt, "a cluster", "pg")

function mt.__tostring(pg)
  if pg.supervisor:closed() then return "Cluster (closed)" end
  local without_password = pg.uri:gsub("^(postgresql://[^:@]*):[^@]*@", "%1@")
  return ("Cluster (%s)"):format(pg.pid and without_password or "stopped")
end

function mt.__close(pg)
  pg:close()
end

local function uri_escape(s)
  return (s:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- Shell assignments of strings, whatever is in them.
local function assign(variables)
  local lines = {}
  for name, value in pairs(variables) do
    lines[#lines + 1] = ("%s='%s'\n"):format(name, (value:gsub("'", "'\\''")))
  end
  return table.concat(lines)
end

-- A data directory of a stopped server that is copied in place of initdb, which takes much longer: of this project's
-- specs (spec/support/server.lua).  Its superuser is postgres, and its password is not known.
local function template(opts, bindir, by_tcp)
  if bindir ~= "" or opts.superuser or opts.durable or by_tcp then return "" end
  return os.getenv "FPG_TEST_TEMPLATE" or ""
end

---Makes a private server and starts it. Unix only; blocks for about a second.
---@param opts { bindir: string?, superuser: string?, settings: table?, durable: boolean? }?
--- bindir: the directory of initdb and postgres (default: $PG_BINDIR, pg_config --bindir, the newest
--- of /usr/lib/postgresql/*/bin, PATH); superuser: its name (default postgres); settings: the server's
--- settings by name; durable: true keeps fsync, full_page_writes and synchronous_commit on
---@return table cluster with `dir`, `pid` (the postmaster's), `uri`, `conninfo`
function cluster.start(opts)
  opts = options.check(opts, START_OPTIONS, "cluster")
  local superuser, settings = opts.superuser or "postgres", read_settings(opts.settings or {})
  local port, by_tcp, password = port_of(settings), listens(settings), new_password()
  if superuser:find "%c" then errors.argument("cluster: superuser has a control character") end
  local bindir = opts.bindir or os.getenv "PG_BINDIR" or ""
  local script = assign{
    bindir = bindir,
    superuser = superuser,
    password = password,
    template = template(opts, bindir, by_tcp),
    tmpdir = os.getenv "TMPDIR" or "",
    conf = configuration(opts.durable, settings),
  } .. SCRIPT
  local pg = { supervisor = core.supervise(script, { "postgres", "nobody" }) }
  local ok, err = pcall(function()
    pg.dir = answer(pg.supervisor)
    pg.pid = tonumber(answer(pg.supervisor))
  end)
  if not ok then
    pg.supervisor:close()
    error(err, 0)
  end
  pg.conninfo = { host = pg.dir, port = port, user = superuser, dbname = "postgres" }
  local user = uri_escape(superuser)
  if by_tcp then
    pg.conninfo.password = password
    user = user .. ":" .. password
  end
  pg.uri = ("postgresql://%s@%s:%d/postgres"):format(user, uri_escape(pg.dir), port)
  return setmetatable(pg, mt)
end

return cluster
