-- SPDX-License-Identifier: MIT
--
-- database: what a user calls `db`: one connection or a pool, and everything that runs on it.
--
-- Two kinds share the methods.  A *root* has a pool, a catalog and ambient scopes.  A *bound*
-- database (`tx` of a transaction, the argument of acquire and init) has one connection and leaves
-- everything else to its root.

local batch = require "fastpg.batch"
local closing = require "fastpg.closing"
local conninfo = require "fastpg.conninfo"
local Connection = require "fastpg.connection"
local core = require "fastpg.core"
local errors = require "fastpg.errors"
local listen = require "fastpg.listen"
local ambient = require "fastpg.ambient"
local options = require "fastpg.options"
local Pool = require "fastpg.pool"
local statement = require "fastpg.statement"
local stream = require "fastpg.stream"
local suggest = require "fastpg.suggest"
local transaction = require "fastpg.transaction"
local turn = require "fastpg.turn"
local types = require "fastpg.types"
local undoing = require "fastpg.undoing"
local wait = require "fastpg.wait"

local fetch = statement.fetch

local Database = {}

-- ---- making ---------------------------------------------------------------------------------

local methods = {}
local properties = {}

-- The root's fields are raw; only names that are none of them come here.
local function index(self, key)
  local method = methods[key]
  if method ~= nil then return method end
  local property = properties[key]
  if property then return property(self) end
  if type(key) == "string" then
    local known = {}
    for k in pairs(methods) do known[k] = true end
    for k in pairs(properties) do known[k] = true end
    errors.raise("invalid_argument", ('a database has no method "%s"%s (tables are db.t.%s)')
      :format(key, suggest.phrase(key, known), key))
  end
  return nil
end

local function describe(self)
  local root = self.root
  if not root.config then return "Database (not connected)" end
  local params = root.config.params
  if root.closed then return "Database (closed)" end
  return conninfo.uri(root.server_info or params)
end

local metatable = { __name = "fastpg.database", __index = index, __tostring = describe }
metatable.__concat = function(a, b) return tostring(a) .. tostring(b) end

--- fastpg.database(): not connected yet.
function Database.new()
  local db = {
    ambient = ambient.new(), bound_conn = false, catalog = false, closed = false, config = false, owns = false,
    pool = false, row_target = false, server_info = false, strict = true, over = false, bound_kind = false,
    getters = false, listener = false, streams = 0, standard_strings = true, types = false,
  }
  db.root = db
  db.row_target = { db = db }
  return setmetatable(db, metatable)
end

-- When a statement of this coroutine must be over: command_timeout from now, or the end of the
-- db:timeout around it.
local function deadline_of(root)
  local limit = root.config.command_timeout
  local deadline = limit and core.clock() + limit or nil
  local scope = root.ambient:current()
  local ends = scope and scope.deadline
  if not ends or deadline and deadline < ends then return deadline end
  if ends <= core.clock() then errors.raise("timeout", "the time of db:timeout is over") end
  return ends
end

-- What a new connection gets before anybody uses it.
local function set_up(db, conn, init)
  db.server_info = conn.c:info()
  conn.types = db.types
  conn.on_settings = function(c) db.standard_strings = c.standard_strings end
  conn:on_settings()
  conn.deadline_of = function() return deadline_of(db) end
  conn.pick = function() return wait.pick(db.config.loop) end
  if init then db:bind(conn, "connection"):lend(init) end
  if db.listener then db.listener:fresh(conn) end
end

-- Connected from here on: by connect (a pool of one, opened now) or create_pool (opened when needed).
local function open(db, config)
  if db.config and not db.closed then errors.raise("invalid_argument", "the database is connected already: close it first") end
  db.config, db.closed, db.server_info = config, false, false
  db.ambient = ambient.new(config.loop)
  db.strict = config.strict ~= false
  local catalog = require("fastpg.catalog").new(db, config.schema)
  db.types = types.new(db)
  db.catalog = catalog
  local function schema_changed()
    catalog:stale()
    db.types:reset()
  end
  db.pool = Pool.new(config, function(conn) set_up(db, conn, config.init) end, schema_changed)
  local ok, err = pcall(db.pool.fill, db.pool)
  if ok then return end
  db.pool:close()
  db.config, db.pool, db.catalog = false, false, false
  error(err, 0)
end

--- db:connect(...): opens one connection; arguments as fastpg.connect.
function methods.connect(self, target, extra)
  local config = conninfo.read("connect", target, extra, false)
  config.max_size, config.min_size = 1, 1
  open(self.root, config)
  return self
end

--- A pool; arguments as fastpg.create_pool.
function Database.create_pool(target, extra)
  local config = conninfo.read("create_pool", target, extra, true)
  config.max_size = config.max_size or 10
  if (config.min_size or 0) > config.max_size then
    errors.argument("create_pool: min_size is %d, max_size %d", config.min_size, config.max_size)
  end
  local db = Database.new()
  open(db, config)
  return db
end

--- Closes the connection or pool.  Connections in use are closed when they come back, with a timeout
--- after that many seconds at the latest: then nothing is open when it returns.
---@param timeout number?  seconds
function methods.close(self, timeout)
  local root = self.root
  if self ~= root then errors.raise("invalid_argument", "a transaction's database can't be closed") end
  if timeout ~= nil and (type(timeout) ~= "number" or timeout < 0) then
    errors.argument("close: a number of seconds expected, got %s", type(timeout))
  end
  if root.pool and (not root.closed or timeout) then
    root.closed = true
    listen.stop(root)
    root.pool:close(timeout)
  end
end

--- How the pool stands: size, idle, in_use, waiting, min_size, max_size, and counts since it was made:
--- opened, closed, acquired, waited, timeouts.
---@return table<string, integer>
function methods.stats(self)
  local pool = self.root.pool
  if not pool then errors.raise("closed", "the database is not connected") end
  return pool:stats()
end

-- ---- which connection -----------------------------------------------------------------------

local function live_pool(root)
  local pool = root.pool
  if not pool then errors.raise("closed", "the database is not connected") end
  if root.closed then errors.raise("closed", "the database is closed") end
  return pool
end

--- The connection this coroutine's statements belong on (of tx, of the ambient transaction or
--- acquire), and the database bound to it; nil where each statement takes one from the pool.
function methods.bound_connection(self)
  if self.bound_conn then return self:connection(), self end
  local scope = self.ambient:current()
  local bound = scope and scope.bound
  if bound then return bound:connection(), bound end
  return nil
end

--- Of a bound database: its connection; raises when its time is over.
function methods.connection(self)
  local conn = self.bound_conn
  if self.over or self.lease ~= conn.lease then
    errors.raise("closed", self.bound_kind == "transaction" and "the transaction is over" or "the connection was given back")
  end
  return conn
end

--- A connection from the pool, armed with the time its statement has.
function methods.checkout(self)
  local root = self.root
  local pool = live_pool(root)
  local deadline = deadline_of(root)
  local ok, conn = pcall(pool.checkout, pool, deadline)
  if ok then
    conn.deadline = deadline
    return conn
  end
  if root.streams > 0 and pool:is_exhausted() and (errors.is(conn, "timeout") or errors.is(conn, "deadlock")) then
    conn.message = conn.message .. "; a db:each is being read: use a transaction around both, or db:q"
  end
  error(errors.annotate(conn), 0)
end

local function release(root, conn, ok, ...)
  local left_open = conn.pool:checkin(conn)
  if root.listener then root.listener:pump() end
  if not ok then error((...), 0) end
  if left_open then
    errors.raise("invalid_transaction_termination",
      "a transaction was left open and has been rolled back: use db:transaction, db:begin or db:acquire")
  end
  return ...
end

local function in_turn(conn, bound, fn, ...)
  bound:connection() -- it may have ended while this coroutine waited
  conn:arm()
  if conn.abandoned then conn:clear() end
  return fn(conn, ...)
end

local function lent(root, conn, fn, ...)
  return release(root, conn, pcall(fn, conn, ...))
end

--- Runs fn(conn, ...) on the connection that it belongs on.
function methods.on_connection(self, fn, ...)
  local conn, bound = methods.bound_connection(self)
  if conn then return turn.run(conn, in_turn, bound, fn, ...) end
  conn = methods.checkout(self)
  return closing(conn, lent, self.root, conn, fn, ...)
end

-- Statements that fastpg built: the text is final, the arguments are counted.
function methods.run(self, sql, how, target, ...)
  return methods.on_connection(self, Connection.run, sql, how, target, ...)
end
function methods.run_list(self, sql, how, target, list, n)
  return methods.on_connection(self, Connection.run_list, sql, how, target, list, n)
end

-- ---- bound databases ------------------------------------------------------------------------

--- A database bound to one connection.
---@param kind "transaction"|"connection"
function methods.bind(self, conn, kind)
  local root = self.root
  local bound = {
    root = root, bound_conn = conn, bound_kind = kind, lease = conn.lease, ambient = root.ambient,
    catalog = root.catalog, types = root.types, config = root.config, strict = root.strict, row_target = root.row_target,
    over = false, owns = false, getters = false, closed = false, pool = root.pool, server_info = false, streams = 0,
  }
  return setmetatable(bound, metatable)
end

function methods.finish_use(self)
  self.over = true
end

local function finish_lending(self, scope, ok, ...)
  self.ambient:pop(scope)
  self:finish_use()
  if not ok then error((...), 0) end
  return ...
end

--- Runs fn(self) while its connection is ambient.
function methods.lend(self, fn)
  local scope = self.ambient:push{ bound = self }
  return finish_lending(self, scope, pcall(fn, self))
end

-- A transaction that is collected while open: its connection is closed, which rolls it back.
local function abandon(self)
  if not rawget(self, "owns") or self.over then return end
  self.over = true
  local conn = self.bound_conn
  if self.lease ~= conn.lease then return end
  if self.owns == "connection" then conn.pool:discard(conn) else conn:close() end
end
metatable.__gc = abandon

metatable.__close = function(self)
  if self.owns then
    if self.over or self.lease ~= self.bound_conn.lease then return end
    if wait.can_finish() then transaction.rollback(self) else abandon(self) end
  elseif self == self.root then
    methods.close(self)
  end
end

--- The transaction ends with this object.
---@param what "connection"|"transaction"  whether the connection is given back then
function methods.own(self, what)
  self.owns = what
  stream.on_collect(self, function() abandon(self) end)
end

methods.commit = transaction.commit
methods.rollback = transaction.rollback

-- ---- running SQL ----------------------------------------------------------------------------

local function query(self, name, how, sql, ...)
  if getmetatable(self) ~= metatable then errors.misused("a database", "db", name, self) end
  return methods.on_connection(self, statement.run, how, self.row_target, sql, ...)
end

--- All rows, as a list.
function methods.q(self, sql, ...) return query(self, "q", fetch.rows, sql, ...) end
methods.fetch = methods.q

--- The first row, or nil.
function methods.first(self, sql, ...) return query(self, "first", fetch.first, sql, ...) end
methods.fetchrow = methods.first

--- The one row: NotFoundError where there is none, "not_unique" where there are several.
function methods.qone(self, sql, ...) return query(self, "qone", fetch.one, sql, ...) end

--- The one field of the one row.
function methods.item(self, sql, ...) return query(self, "item", fetch.item, sql, ...) end

--- The first field of the first row, or nil.
function methods.fetchval(self, sql, ...) return query(self, "fetchval", fetch.value, sql, ...) end

--- Rows as positional lists with n, NULL as fastpg.null; the list has `columns`.
function methods.arrays(self, sql, ...) return query(self, "arrays", fetch.arrays, sql, ...) end

local function simple(conn, sql)
  return conn:simple(sql)
end

--- The command tag; without arguments several statements are allowed.
function methods.execute(self, sql, ...)
  if select("#", ...) > 0 then return query(self, "execute", fetch.status, sql, ...) end
  if type(sql) ~= "string" then errors.argument("execute: SQL text expected, got %s", type(sql)) end
  return self:on_connection(simple, sql)
end

-- One set of executemany's arguments as a list of as many as the statement takes.
local function arguments_of(parsed, args, position)
  if type(args) ~= "table" then
    errors.argument("executemany: item %d: a table of arguments expected, got %s", position, type(args))
  end
  if parsed.names then return statement.collect(parsed, args) end
  for k in pairs(args) do
    if type(k) == "number" and k > parsed.npos and k % 1 == 0 then
      errors.argument("executemany: item %d: too many arguments: the statement takes %d", position, parsed.npos)
    end
  end
  return args, parsed.npos
end

local function run_many(conn, sql, list)
  local parsed = statement.parse(sql, conn.standard_strings)
  local count
  batch.run(conn, function(prepare)
      count = 0
      return prepare(parsed.text)
    end,
    function(add, st)
      for i, args in ipairs(list) do add(st, arguments_of(parsed, args, i)) end
    end,
    function(c) count = count + fetch.count(c) end)
  return count
end

--- Runs the statement once for each item of the list, pipelined, all or nothing: the number of rows.
function methods.executemany(self, sql, list)
  if type(list) ~= "table" then errors.argument("executemany: a list of arguments expected, got %s", type(list)) end
  return self:on_connection(run_many, sql, list)
end

-- ---- streams and pipelines ------------------------------------------------------------------

--- A stream of statement.run's arguments with rows made for `target`.
function methods.open_stream(self, target, sql, list, n)
  local root = self.root
  local conn, owner = self:bound_connection()
  if conn then return turn.run(conn, in_turn, owner, stream.open, owner, nil, target, sql, list, n) end
  conn = self:checkout()
  root.streams = root.streams + 1
  local function give_back(lost)
    root.streams = root.streams - 1
    if lost then conn.pool:discard(conn) else conn.pool:checkin(conn) end
  end
  return undoing(give_back, stream.open, conn, nil, give_back, target, sql, list, n)
end

-- The callback form, or what a generic `for` takes: on 5.4 its fourth value is to be closed.
function methods.iterate(self, fn, target, sql, list, n)
  local s = self:open_stream(target, sql, list, n)
  if fn then return stream.for_each(s, fn) end
  return s, nil, nil, s
end

local function split_callback(...)
  local n = select("#", ...)
  local fn = n > 0 and (select(n, ...)) or nil
  if type(fn) ~= "function" then return nil, { ... }, n end
  local list = { ... }
  list[n] = nil
  return fn, list, n - 1
end

local unpack = table.unpack or unpack

--- Rows one after the other in constant memory: an iterator, or with a function as last argument
--- that function called for each row until it returns false.
function methods.each(self, sql, ...)
  local fn, given, n = split_callback(...)
  live_pool(self.root)
  local parsed = statement.parse(sql, self.root.standard_strings)
  local list
  list, n = statement.collect(parsed, unpack(given, 1, n))
  return self:iterate(fn, self.row_target, parsed.text, list, n)
end

local Pipeline = {}
local queue = {}
for name, how in pairs{ q = "rows", first = "first", item = "item", execute = "status" } do
  queue[name] = function(self, sql, ...)
    if rawget(self, "over") then errors.raise("closed", "the pipeline is over: it queues statements within its function only") end
    local parsed = statement.parse(sql, self.standard)
    local list, n = statement.collect(parsed, ...)
    self[#self + 1] = { text = parsed.text, how = fetch[how], list = list, n = n }
  end
end

errors.check_names(errors.check_self(queue, Pipeline, "a pipeline", "p"), "a pipeline")
Pipeline.__index = queue

local function run_pipeline(conn, target, p)
  local results = {}
  batch.run(conn, function(prepare)
    for _, item in ipairs(p) do item.st = prepare(item.text) end
  end, function(add)
    for i, item in ipairs(p) do add(item.st, item.list, item.n, i) end
  end, function(c, st, i)
    results[i] = p[i].how(c, st, target)
  end)
  results.n = #p
  return results
end

--- Queues the statements that fn(p) names and sends them in one round trip: the list of results.
function methods.pipeline(self, fn)
  if type(fn) ~= "function" then errors.argument("pipeline: a function expected, got %s", type(fn)) end
  local p = setmetatable({ standard = self.root.standard_strings }, Pipeline)
  fn(p)
  p.over = true
  return self:on_connection(run_pipeline, self.row_target, p)
end

local Prepared = { __name = "fastpg.prepared" }
local prepared = {}
for _, name in ipairs{ "q", "first", "qone", "item", "each", "fetchval", "arrays", "execute" } do
  prepared[name] = function(self, ...) return methods[name](self.db, self.sql, ...) end
end
errors.check_names(errors.check_self(prepared, Prepared, "a prepared statement", "statement"), "a prepared statement")
Prepared.__index = prepared
Prepared.__call = function(self, ...) return methods.q(self.db, self.sql, ...) end
Prepared.__tostring = function(self) return self.sql end

local function check_statement(conn, sql)
  conn:statement(statement.parse(sql, conn.standard_strings).text)
end

--- A callable query; the server checks the SQL now.
function methods.prepare(self, sql)
  self:on_connection(check_statement, sql)
  return setmetatable({ db = self, sql = sql }, Prepared)
end

-- ---- transactions, connections, time --------------------------------------------------------

methods.transaction = transaction.run
methods.begin = transaction.begin


--- Runs fn with one connection of its own, ambient, without a transaction.
function methods.acquire(self, fn)
  if type(fn) ~= "function" then errors.argument("acquire: a function expected, got %s", type(fn)) end
  return self:on_connection(function(conn) return self:bind(conn, "connection"):lend(fn) end)
end

methods.advisory_lock = transaction.advisory_lock

--- Runs fn; its statements together have this many seconds.
function methods.timeout(self, seconds, fn)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    errors.argument("timeout: a number of seconds expected, from 0, got %s", type(seconds))
  end
  if type(fn) ~= "function" then errors.argument("timeout: a function expected, got %s", type(fn)) end
  local scope = self.ambient:push{ deadline = core.clock() + seconds }
  local function finish(ok, ...)
    self.ambient:pop(scope)
    if not ok then error((...), 0) end
    return ...
  end
  return finish(pcall(fn, self))
end

-- ---- types ----------------------------------------------------------------------------------

local CODEC = { encode = "function", decode = "function", schema = "string" }

local function set_codec(conn, types_of_root, name, codec) return types_of_root:set_codec(conn, name, codec) end

--- Sets how values of a type are written and read, in every connection of this database, in arrays,
--- ranges and composite types as well.  Both functions know the type's text.
---@param name string  the type's name ("mood", "integer")
---@param codec { encode: (fun(value: any): string)?, decode: (fun(text: string): any)?, schema: string? }
function methods.set_type_codec(self, name, codec)
  if type(name) ~= "string" then errors.argument("set_type_codec: the name of a type expected, got %s", type(name)) end
  if type(codec) ~= "table" then errors.argument("set_type_codec: a table of functions expected, got %s", type(codec)) end
  options.check(codec, CODEC, "set_type_codec")
  for field, kind in pairs(CODEC) do
    if codec[field] ~= nil and type(codec[field]) ~= kind then
      errors.argument("set_type_codec: %s is a %s, got %s", field, kind, type(codec[field]))
    end
  end
  local root = self.root
  if not self:on_connection(set_codec, root.types, name, codec) then
    errors.raise("undefined_object", ('set_type_codec: there is no type "%s"'):format(name))
  end
  root.pool:forget_statements()
end

-- ---- about the server -----------------------------------------------------------------------

local function ping(conn)
  conn:simple("")
  return true
end

--- One round trip; raises when the server does not answer.
function methods.ping(self) return self:on_connection(ping) end

local function parameter(conn, name) return conn.c:parameter(name) end

--- What the server reports of a setting ("TimeZone", "server_version", …), or nil for one it doesn't.
function methods.parameter(self, name)
  if type(name) ~= "string" then errors.argument("parameter: a name expected, got %s", type(name)) end
  return self:on_connection(parameter, name)
end

local function info(conn) return conn.c:info() end

--- 150004 for PostgreSQL 15.4.
function properties.server_version(self) return self:on_connection(info).server_version end

--- The process id of the server's side of the connection.
function properties.pid(self) return self:on_connection(info).pid end

-- ---- tables ---------------------------------------------------------------------------------

require("fastpg.names").extend(methods, properties)
require("fastpg.linking").extend(methods)
require("fastpg.ddl").extend(methods)
require("fastpg.codegen").extend(methods)
require("fastpg.copy").extend(methods)
listen.extend(methods)

-- Those that every statement comes through look for themselves, or are fastpg's own.
local unchecked = options.set("q", "fetch", "first", "fetchrow", "qone", "item", "fetchval", "arrays", "on_connection",
  "run", "run_list", "checkout", "connection", "bound_connection", "iterate", "open_stream", "bind", "lend",
  "finish_use", "own")
local checked = {}
for name, method in pairs(methods) do
  if not unchecked[name] then checked[name] = method end
end
for name, method in pairs(errors.check_self(checked, metatable, "a database", "db")) do methods[name] = method end

Database.methods, Database.properties = methods, properties
return Database
