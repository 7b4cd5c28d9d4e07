-- SPDX-License-Identifier: MIT
--
-- cluster: a private PostgreSQL server from the installed binaries, for demos, tests and tools; or one with standbys.
--
--   local pg <close> = fastpg.cluster()                    -- initdb and start, about a second
--   local db = pg:connect()
--   local pg <close> = fastpg.cluster{ standbys = 2 }      -- a primary and two that follow it
--   pg:promote(1)
--
-- Everything lives in one temporary directory (mode 0700): data/, log, and the unix socket, which is the only way in
-- unless `listen_addresses` says otherwise: who can enter the directory is the server's own user, so there it asks for
-- nothing; by TCP, where any user of the machine may come, it wants the password that was made for this cluster
-- (scram-sha-256).  A shell script (fastpg.cluster_script), started by csrc/host/supervisor.c in a session of its own,
-- makes the directory, starts the server and waits for orders; when this process closes the cluster or ends in whatever
-- way, the script reads end-of-file, stops the server and removes the directory.
--
-- With standbys each server has a directory of its own in that one, and a relay (csrc/relay.c), another process that
-- ends with this one, is the network between them and whoever wants them.  They are reached by unix sockets only.
--
-- A server of root's runs as `postgres`, else `nobody`.

local ipairs, pairs, pcall, setmetatable, tostring, type = ipairs, pairs, pcall, setmetatable, tostring, type

local core = require "fastpg.core"
local Database = require "fastpg.database"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"
local orders = require "fastpg.cluster_orders"
local SCRIPT = require "fastpg.cluster_script"
local servers = require "fastpg.cluster_server"
local settings_of = require "fastpg.cluster_settings"
local standbys = require "fastpg.cluster_standbys"
local surface = require "fastpg.base.surface"

local cluster = {}

local MOST_STANDBYS = 9
local USERS = { "postgres", "nobody" }

local START_OPTIONS = options.declare("fastpg.cluster", {
  bindir = options.name, superuser = options.name, durable = options.boolean,
  settings = options.kinds("a table of names and values", "table"),
  standbys = options.whole(0, MOST_STANDBYS), synchronous = options.boolean,
})
local STOP_OPTIONS = options.declare("pg:stop", { mode = options.one_of("smart", "fast", "immediate") })

-- ---- what a cluster and a server of it have in common ---------------------------------------

local STATE = {} -- the key of both for their state (fastpg.cluster_server); a server has its record behind the other
local RECORD = {}

-- A database made by a cluster keeps it: cluster.start():connect() is not collected under it.
local kept = setmetatable({}, { __mode = "k" })

local function check_open(state)
  if state.script.process:closed() then errors.raise("closed", "the cluster is closed") end
end

local function copy(from, into)
  for k, v in pairs(from) do into[k] = v end
  return into
end

-- The others by the same names, for fastpg.connect{ replicas = … }.
local function replicas_of(state, server, all)
  local list = {}
  for i = 0, state.standbys or 0 do
    local other = state.servers[i]
    if other ~= server then
      local name = all.dbname or all.database
      list[#list + 1] = { host = other.conninfo.host, port = other.conninfo.port, user = all.user, dbname = name }
    end
  end
  return #list > 0 and list or nil
end

local function merged(state, server, opts, what)
  check_open(state)
  if opts ~= nil and type(opts) ~= "table" then
    errors.argument("%s: a table of options expected, got %s", what, type(opts))
  end
  local all = copy(server.conninfo, {})
  all.environment = false -- what is meant is this server, whatever PGHOSTADDR, PGSERVICE, PGOPTIONS or PGTZ say
  copy(opts or {}, all)
  if opts and opts.database ~= nil then all.dbname = nil end
  if all.replicas == true then all.replicas = replicas_of(state, server, all) end
  return all
end

-- What pg.conninfo is: the server's own, and called as a method (pg:conninfo{ replicas = true }) what `connect` makes of that.
local function let_be_called(state, server)
  setmetatable(server.conninfo, { __call = function(_, _, opts) return merged(state, server, opts, "conninfo") end })
end

-- The methods that a cluster has for its primary, and each server for itself.
local shared = {}

---Connects to the server as its superuser.
---@param opts table? as of `fastpg.connect`, over the cluster's own host, port, user and dbname; replicas = true: the
--- cluster's other servers
---@return table db
function shared.connect(state, server, opts)
  local db = Database.connect(merged(state, server, opts, "connect"))
  kept[db] = state
  return db
end

---A pool of connections to the server.
---@param opts table? as of `connect`
---@param pool_opts table? as of `fastpg.create_pool`
---@return table db
function shared.create_pool(state, server, opts, pool_opts)
  local db = Database.create_pool(merged(state, server, opts, "create_pool"), pool_opts)
  kept[db] = state
  return db
end

---Stops the server; its data stays until `close`.
---@param opts { mode: "smart"|"fast"|"immediate" }? default fast; smart waits for clients to leave
function shared.stop(state, server, opts)
  local mode = options.check(opts, STOP_OPTIONS, "stop").mode or "fast"
  check_open(state)
  servers.stop(state, server, mode)
end

---Stops the server as a crash does: nothing is finished, nobody is waited for.
function shared.crash(state, server)
  check_open(state)
  servers.stop(state, server, "immediate")
end

---Starts a stopped server (also one that was killed) on the same socket.
function shared.start(state, server)
  check_open(state)
  servers.start(state, { server })
end

---`stop` and `start`.
---@param opts { mode: "smart"|"fast"|"immediate" }?
function shared.restart(state, server, opts)
  shared.stop(state, server, opts)
  shared.start(state, server)
end

local SHARED = { connect = 1, create_pool = 2, stop = 1, crash = 0, start = 0, restart = 1 }

local FIELDS = { conninfo = true, uri = true, pid = true }

-- An object's __index: its methods, and what its server's record says.
local function index_of(methods, what, server_of)
  return function(object, name)
    local method = methods[name]
    if method ~= nil then return method end
    if FIELDS[name] then return server_of(object)[name] end
    if surface.is_name(name) then surface.unknown(what, name, methods) end
  end
end

local function shown(server)
  return (server.uri:gsub("^(postgresql://[^:@]*):[^@]*@", "%1@")) -- without its password
end

-- ---- a server -------------------------------------------------------------------------------

local server_methods, server_mt = {}, { __name = "fastpg.Server" }
server_mt.__index = index_of(server_methods, "a server", function(object) return object[RECORD] end)

for name in pairs(SHARED) do
  server_methods[name] = function(object, ...) return shared[name](object[STATE], object[RECORD], ...) end
end
surface.methods(server_methods, copy(SHARED, {}), server_mt, "a server", "server")

function server_mt.__tostring(object)
  local state, server = object[STATE], object[RECORD]
  if state.script.process:closed() then return "Server (closed)" end
  return ("Server (%s%s)"):format(server.pid and shown(server) or "stopped", server == state.primary and ", the primary" or "")
end

-- ---- the cluster ----------------------------------------------------------------------------

local methods, mt = {}, { __name = "fastpg.Cluster" }
mt.__index = index_of(methods, "a cluster", function(pg) return pg[STATE].primary end)

for name in pairs(SHARED) do
  methods[name] = function(pg, ...) return shared[name](pg[STATE], pg[STATE].primary, ...) end
end

---Starts every server that is stopped: a primary as it was, the others as standbys.
function methods.start(pg)
  local state, list = pg[STATE], {}
  check_open(state)
  for i = 0, state.standbys or 0 do list[#list + 1] = state.servers[i] end
  servers.start(state, list)
end

for _, name in ipairs{ "promote", "pause_replay", "resume_replay", "partition", "heal" } do
  methods[name] = function(pg, place)
    check_open(pg[STATE])
    return standbys[name](pg[STATE], place)
  end
end

---Stops the servers and removes their directory. Harmless when closed.
function methods.close(pg)
  local state = pg[STATE]
  for _, server in pairs(state.servers) do server.pid = nil end
  local ended = state.script:close()
  if state.relay then ended = state.relay:close() and ended end
  if not ended then errors.raise("cluster", "the server did not stop; its directory is " .. pg.dir) end
end

surface.methods(methods, copy(SHARED, { close = 0, promote = 1, pause_replay = 1, resume_replay = 1, partition = 1, heal = 1 }),
  mt, "a cluster", "pg")

function mt.__tostring(pg)
  local state = pg[STATE]
  if state.script.process:closed() then return "Cluster (closed)" end
  return ("Cluster (%s)"):format(state.primary.pid and shown(state.primary) or "stopped")
end

function mt.__close(pg)
  pg:close()
end

-- ---- making one -----------------------------------------------------------------------------

local function uri_escape(s)
  return (s:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- A data directory of a stopped server that is copied in place of initdb, which takes much longer: of this project's
-- specs (spec/support/server.lua).  Its superuser is postgres, and its password is not known.
local function template(opts, bindir, by_tcp)
  if bindir ~= "" or opts.superuser or opts.durable or by_tcp then return "" end
  return os.getenv "FPG_TEST_TEMPLATE" or ""
end

-- A server of the cluster, whose directory is there.
local function add_server(state, number, password)
  local dir = state.standbys and ("%s/%d"):format(state.dir, number) or state.dir
  local conninfo = { host = dir, port = state.port, user = state.superuser, dbname = "postgres", password = password }
  local user = uri_escape(state.superuser) .. (password and ":" .. password or "")
  local server = {
    number = number, conninfo = conninfo, socket = state.relay and dir .. "/server" or dir,
    uri = ("postgresql://%s@%s:%d/postgres"):format(user, uri_escape(dir), state.port),
  }
  let_be_called(state, server)
  state.servers[number] = server
  if state.relay then state.relay:order(("server %d %d %s"):format(number, state.port, dir)) end
  if not state.standbys then return end
  server.object = setmetatable({ dir = dir, [STATE] = state, [RECORD] = server }, server_mt)
  if number > 0 then state.places[number], state.list[number] = server, server.object end
end

-- The network between servers, where a program can be run from memory.
local function start_relay(state)
  if not core.supervise_relay then
    state.no_relay = "it needs Linux"
    return
  end
  local ok, relay = pcall(core.supervise_relay, USERS)
  if ok then state.relay = orders.channel(relay) else state.no_relay = tostring(relay) end
end

local function read_options(opts)
  opts = options.check(opts, START_OPTIONS, "cluster")
  local settings = settings_of.read(opts.settings or {}, opts.standbys)
  local superuser, by_tcp = opts.superuser or "postgres", settings_of.listens(settings)
  local port = settings_of.port(settings)
  if superuser:find "%c" then errors.argument("cluster: superuser has a control character") end
  if opts.synchronous and (opts.standbys or 0) == 0 then
    errors.argument("cluster: synchronous needs standbys = 1 or more, for which a commit waits")
  end
  if opts.standbys and by_tcp then
    errors.argument("cluster: settings: listen_addresses: a cluster with standbys is reached by unix sockets only")
  end
  return opts, settings, superuser, by_tcp, port
end

---Makes a private server and starts it, or one with standbys. Unix only; takes about a second, in which others go on
---under an event loop.
---@param opts { bindir: string?, superuser: string?, settings: table?, durable: boolean?, standbys: integer?,
--- synchronous: boolean? }?
--- bindir: the directory of initdb and postgres (default: $PG_BINDIR, pg_config --bindir, the newest
--- of /usr/lib/postgresql/*/bin, PATH); superuser: its name (default postgres); settings: the server's
--- settings by name; durable: true keeps fsync, full_page_writes and synchronous_commit on; standbys: how many
--- servers follow it (0: none, but behind a network that can be cut); synchronous: a commit waits for one of them
---@return table cluster with `dir`, `pid` (the postmaster's), `uri`, `conninfo`, `standbys`
function cluster.start(opts)
  local settings, superuser, by_tcp, port, password
  opts, settings, superuser, by_tcp, port = read_options(opts)
  password = settings_of.new_password()
  local bindir = opts.bindir or os.getenv "PG_BINDIR" or ""
  local state = {
    port = port, superuser = superuser, standbys = opts.standbys, lock = orders.lock(), servers = {}, places = {},
    list = {},
  }
  if state.standbys then start_relay(state) end
  local script = orders.assign{
    bindir = bindir,
    superuser = superuser,
    password = password,
    template = template(opts, bindir, by_tcp),
    tmpdir = os.getenv "TMPDIR" or "",
    conf = settings_of.configuration(opts, settings),
    port = ("%d"):format(port),
    standbys = state.standbys and ("%d"):format(state.standbys) or "",
    relayed = state.relay and "yes" or "",
    lowered = settings_of.may_lower(settings) and "yes" or "",
  } .. SCRIPT
  state.script = orders.channel(core.supervise(script, USERS))
  local function close()
    state.script.process:close()
    if state.relay then state.relay.process:close() end
  end
  defer.undo(close, function()
    state.dir = state.script:first()
    for i = 0, state.standbys or 0 do add_server(state, i, by_tcp and password or nil) end
    state.primary = state.servers[0]
    servers.first_start(state)
  end)
  return setmetatable({ dir = state.dir, supervisor = state.script.process, standbys = state.list, [STATE] = state }, mt)
end

return cluster
