-- SPDX-License-Identifier: MIT
--
-- database: what a user calls `db`: one connection or a pool, and everything that can be asked of it.
--
-- A database is a facade: it has the methods and properties that the manual lists, and no fields but its route
-- (fastpg.pool.route), which finds the connection.  The functions below are given routes; `Database.methods`, at the end, are
-- those that the user calls.

local error, getmetatable, ipairs, pairs, pcall, select, setmetatable, tostring, type =
  error, getmetatable, ipairs, pairs, pcall, select, setmetatable, tostring, type

local command = require "fastpg.pg.command"
local compat = require "fastpg.base.compat"
local conninfo = require "fastpg.pg.conninfo"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local filters = require "fastpg.table.filters"
local from_above = require "fastpg.base.from_above"
local later = require "fastpg.base.later"
local options = require "fastpg.base.options"
local Route = require "fastpg.pool.route"
local session_use = require "fastpg.pg.session_use"
local suggest = require "fastpg.base.suggest"
local surface = require "fastpg.base.surface"
local transaction = require "fastpg.pool.transaction"
local user_sql = require "fastpg.sql.user_sql"
local wait = require "fastpg.host.wait"

local ROUTE = Route.KEY

local Database = {}

local methods = {} -- of routes
local properties = {}

-- ---- opening and closing --------------------------------------------------------------------

local function connect(self, target, extra)
  local config = conninfo.read("connect", target, extra, false)
  config.max_size, config.min_size = 1, 1
  self.root:open(config)
end

--- db:connect(...): opens one connection; arguments as fastpg.connect.
function methods.connect(self, target, extra)
  connect(self, target, extra)
  return self:user()
end

--- A pool; arguments as fastpg.create_pool.
function Database.create_pool(target, extra)
  local config = conninfo.read("create_pool", target, extra, true)
  config.max_size = config.max_size or 10
  if (config.min_size or 0) > config.max_size then
    errors.argument("create_pool: min_size is %d, max_size %d", config.min_size, config.max_size)
  end
  local route = Route.new()
  route:open(config)
  return route:user()
end

--- Closes the connection or pool.  Connections in use are closed when they come back, with a timeout
--- after that many seconds at the latest: then nothing is open when it returns.
---@param timeout number?  seconds
function methods.close(self, timeout)
  local root = self.root
  if self ~= root then errors.raise("invalid_argument", "the database of a transaction or of db:scope can't be closed") end
  timeout = timeout ~= nil and options.seconds("close", timeout) or nil
  if root.pool and (not root.closed or timeout) then
    root.closed = true
    if root.listener then root.listener:stop() end
    root.pool:close(timeout)
    if root.servers then root.servers:close(timeout) end
    if root.direct then root.direct:close(timeout) end
    if root.direct_servers then root.direct_servers:close(timeout) end
  end
end

--- How the pool stands: size, idle, in_use, waiting, min_size, max_size, and counts since it was made:
--- opened, closed, acquired, waited, together, timeouts.
---@return table<string, integer>
function methods.stats(self)
  local root = self:connected().root
  local stats = root.pool:stats()
  if root.servers then stats.servers, stats.failovers = root.servers:stats(), root.servers.failovers end
  return stats
end

-- ---- running SQL ----------------------------------------------------------------------------

--- The command tag; without arguments several statements are allowed.
function methods.execute(self, sql, ...)
  if select("#", ...) > 0 or core.is_sql(sql) then return self:query(fetch.status, sql, ...) end
  if type(sql) ~= "string" then errors.argument("execute: SQL text expected, got %s", type(sql)) end
  return self:on_connection(command.run, sql)
end

-- ---- streams and prepared statements --------------------------------------------------------

local function split_callback(...)
  local n = select("#", ...)
  local fn = n > 0 and (select(n, ...)) or nil
  if type(fn) ~= "function" then return nil, { ... }, n end
  local list = { ... }
  list[n] = nil
  return fn, list, n - 1
end

--- Rows one after the other in constant memory: an iterator, or with a function as last argument
--- that function called for each row until it returns false.
function methods.each(self, sql, ...)
  local fn, given, n = split_callback(...)
  self:live_pool()
  if core.is_sql(sql) then return self:iterate(fn, function() return self:open_written_stream(sql, n) end) end
  local parsed = user_sql.parse(sql, self:strings())
  local list
  list, n = user_sql.collect(parsed, compat.unpack(given, 1, n))
  return self:iterate(fn, self.row_target, parsed.text, list, n)
end

-- The forms of a query: what each fetches.
local FETCHES = {
  q = fetch.rows, first = fetch.first, qone = fetch.one, item = fetch.item, fetchval = fetch.value, arrays = fetch.arrays,
}

local ANY = surface.ANY

local Prepared = { __name = "fastpg.prepared" }
local prepared = {}
for name, how in pairs(FETCHES) do
  prepared[name] = function(self, ...) return self.route:query(how, self.sql, ...) end
end
for _, name in ipairs{ "each", "execute" } do
  prepared[name] = function(self, ...) return methods[name](self.route, self.sql, ...) end
end
surface.methods(prepared, {
  q = ANY, first = ANY, qone = ANY, item = ANY, fetchval = ANY, arrays = ANY, each = ANY, execute = ANY,
}, Prepared, "a prepared statement", "statement")
Prepared.__index = surface.names(prepared, "a prepared statement")
Prepared.__call = function(self, ...) return self.route:query(fetch.rows, self.sql, ...) end
Prepared.__tostring = function(self) return self.sql end

local function check_statement(conn, sql)
  local st, err = conn:describe(user_sql.parse(sql, conn.standard_strings).text, nil, nil, true)
  if not st and conn.c:transaction_status() ~= "idle" then error(err, 0) end -- else its arguments say which types they have
end

--- A callable query; the server checks the SQL now.
function methods.prepare(self, sql)
  self:on_connection(check_statement, sql)
  return setmetatable({ route = self, sql = sql }, Prepared)
end

-- ---- transactions, connections, time --------------------------------------------------------

--- db:transaction([opts,] fn), as fastpg.pool.transaction has it; fn is given a database.
function methods.transaction(self, opts, fn) return transaction.run(self, opts, fn, true) end

--- db:read([opts,] fn): a READ ONLY transaction, on a replica where there are some (fastpg.pool.reading).
---@param opts { at_least: string?, staleness: number?, isolation: string? }?  at_least: what db:lsn() gave; staleness:
--- seconds to wait for a replica that has replayed it, before the primary is asked
function methods.read(self, opts, fn) return transaction.read(self, opts, fn, true) end

methods.lsn = Route.lsn

--- db:begin([opts]), likewise.
function methods.begin(self, opts) return transaction.begin(self, opts):user() end

methods.commit = transaction.commit
methods.rollback = transaction.rollback

--- Runs fn with one connection of its own, ambient, without a transaction.
function methods.acquire(self, fn)
  if type(fn) ~= "function" then errors.argument("acquire: a function expected, got %s", type(fn)) end
  return transaction.acquire(self, fn, true)
end

--- db:advisory_lock(key, fn), as fastpg.pool.transaction has it; fn is given a database.
function methods.advisory_lock(self, key, fn) return transaction.advisory_lock(self, key, fn) end

--- Runs fn; its statements together have this many seconds.
function methods.timeout(self, seconds, fn)
  seconds = options.seconds("timeout", seconds)
  if type(fn) ~= "function" then errors.argument("timeout: a function expected, got %s", type(fn)) end
  local scope = self.ambient:push{ deadline = core.clock() + seconds }
  local function finish(ok, ...)
    self.ambient:pop(scope)
    if not ok then error((...), 0) end
    return ...
  end
  return finish(pcall(fn, self:user()))
end

--- db:scope{ tenant = 7 }: this database with all of its tables filtered so, also those of its transactions; nothing takes
--- that away.  A table without such a column is an error there.  SQL of the program's own (db:q) is not looked at.
---@param ... any  a table of columns and values, or a name and a value
function methods.scope(self, ...)
  local scope = filters.read("scope", select("#", ...), ...)
  return self:scoped(filters.merge("scope", self.scope or nil, scope)):user()
end

-- ---- types ----------------------------------------------------------------------------------

local CODEC = options.declare("db:set_type_codec", {
  encode = options.fn, decode = options.fn, schema = options.name,
})

local function set_codec(conn, types_of_root, name, codec) return types_of_root:set_codec(conn, name, codec) end

--- Sets how values of a type are written and read, in every connection of this database, in arrays,
--- ranges and composite types as well.  Both functions know the type's text.
---@param name string  the type's name ("mood", "integer")
---@param codec { encode: (fun(value: any): string)?, decode: (fun(text: string): any)?, schema: string? }
function methods.set_type_codec(self, name, codec)
  if type(name) ~= "string" then errors.argument("set_type_codec: the name of a type expected, got %s", type(name)) end
  if type(codec) ~= "table" then errors.argument("set_type_codec: a table of functions expected, got %s", type(codec)) end
  options.check(codec, CODEC, "set_type_codec")
  if not codec.encode and not codec.decode then
    errors.argument("set_type_codec: encode or decode expected, or both: this would change nothing")
  end
  local root = self.root
  if not self:on_connection(set_codec, root.types, name, codec) then
    errors.raise("undefined_object", ('set_type_codec: there is no type "%s"'):format(name))
  end
  root.pool:forget_statements()
end

-- ---- about the server -----------------------------------------------------------------------

--- One round trip; raises when the server does not answer.
function methods.ping(self)
  self:simple("")
  return true
end

local function parameter(conn, name) return conn.c:parameter(name) end

--- What the server reports of a setting ("TimeZone", "server_version", …), or nil for one it doesn't.
function methods.parameter(self, name)
  if type(name) ~= "string" then errors.argument("parameter: a name expected, got %s", type(name)) end
  return self:on_connection(parameter, name)
end

local function info(conn) return conn.c:info() end

--- 150004 for PostgreSQL 15.4.
function properties.server_version(self) return self:on_connection(info).server_version end

local function pid(conn)
  session_use.refuse(conn, "pid", "process")
  return conn.pid
end

--- The process id of the server's side of the connection.
function properties.pid(self) return self:on_connection(pid) end

-- ---- tables ---------------------------------------------------------------------------------

require("fastpg.table.table_lookup").extend(methods, properties)
later.methods(methods, function() return require "fastpg.class.link_classes" end,
  "link_classes", "set_classes", "get_tables", "table2glb")
later.methods(methods, function() return require "fastpg.class.ddl" end, "create", "create_from_schema")
later.methods(methods, function() return require "fastpg.class.codegen" end, "create_mod")
later.methods(methods, function() return require "fastpg.pg.copy" end, "copy_from", "copy_to")
later.methods(methods, function()
  require "fastpg.table.pipelined" -- gives it its tables
  return require "fastpg.pg.pipeline"
end, "executemany", "pipeline")
methods.results = later.module(function() return require "fastpg.pg.results" end).of_database
later.methods(methods, function() return require "fastpg.pool.hooks" end, "on")
later.methods(methods, function() return require "fastpg.pool.metrics" end, "metrics")
later.methods(methods, function() return require "fastpg.listen" end, "listen", "unlisten", "notify", "poll", "notifications")

-- ---- what the user holds --------------------------------------------------------------------

local facade = {} -- the methods of databases
local metatable = { __name = "fastpg.database" }

local known = {}
metatable.__index = function(self, key)
  local method = facade[key]
  if method ~= nil then return method end
  local property = properties[key]
  if property then return property(self[ROUTE]) end
  if surface.is_name(key) then
    errors.argument("%s (tables are db.t.%s)", suggest.no_such("a database", "method", key, known), key)
  end
  return nil
end

metatable.__newindex = function(_, key)
  errors.argument("a database can't be assigned to (%s): its options are those of fastpg.connect", tostring(key))
end

metatable.__tostring = function(self)
  local root = self[ROUTE].root
  if not root.config then return "Database (not connected)" end
  if root.closed then return "Database (closed)" end
  return conninfo.uri_of(root.config, root.server_info)
end
metatable.__concat = function(a, b) return tostring(a) .. tostring(b) end

metatable.__close = function(self)
  local route = self[ROUTE]
  if not route.owns then
    if route == route.root then methods.close(route) end
  elseif not route.over and route.lease == route.bound_conn.lease then
    if wait.can_finish() then transaction.rollback(route) else route:abandon() end
  end
end

for name, method in pairs(methods) do
  facade[name] = function(self, ...) return method(self[ROUTE], ...) end
end
surface.methods(facade, {
  connect = 2, close = 1, stats = 0, execute = ANY, results = ANY, executemany = 2, each = ANY, pipeline = 1, prepare = 1,
  transaction = 2, read = 2, lsn = 0, begin = 1, commit = 0, rollback = 0, acquire = 1, advisory_lock = 2, timeout = 2,
  scope = 2,
  set_type_codec = 2, ping = 0, parameter = 1,
  table = 2, tables = 1, views = 1, table_names = 1, view_names = 1, has = 2, columns_info = 2, pk_cols = 2, refresh = 0,
  link_classes = 1, set_classes = 1, get_tables = 1, table2glb = 2, create = 2, create_from_schema = 3, create_mod = 2,
  copy_from = 2, copy_to = 2, on = 3, metrics = 0, listen = 2, unlisten = 2, notify = 2, poll = 1, notifications = 2,
}, metatable, "a database", "db")

-- Most statements come this way: straight to the route.
for name, how in pairs(FETCHES) do
  facade[name] = function(self, sql, ...)
    if getmetatable(self) ~= metatable then errors.misused("a database", "db", name, self) end
    local route = self[ROUTE]
    if type(sql) ~= "string" then return route:query(how, sql, ...) end
    return route:on_connection(fetch.run, how, route.row_target, sql, ...)
  end
end
facade.fetch, facade.fetchrow = facade.q, facade.first -- fastasyncpg's names

for name in pairs(facade) do known[name] = true end
for name in pairs(properties) do known[name] = true end

function from_above.make_facade(route)
  return setmetatable({ [ROUTE] = route }, metatable)
end

--- fastpg.connect: one connection, opened now.
function Database.connect(target, extra)
  local route = Route.new()
  connect(route, target, extra)
  return route:user()
end

--- fastpg.database(): not connected yet.
function Database.new()
  return Route.new():user()
end

Database.methods, Database.properties = facade, properties
return Database
