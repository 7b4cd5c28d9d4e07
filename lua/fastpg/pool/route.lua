-- SPDX-License-Identifier: MIT
--
-- route: how a statement finds its connection: the state behind a user's `db`.
--
-- Two kinds share the methods.  A *root* has a pool, a catalog and ambient scopes.  A *bound* route (that of a
-- transaction's `tx`, of what acquire and init are given) has one connection and leaves everything else to its root.
--
-- What the user holds is a facade (fastpg.database) with nothing in it but its route, under a key that is no
-- string: routes, pools and catalogs know routes, and only what is handed to the user's code is a facade.

local error, ipairs, next, pcall, rawget, select, setmetatable, type =
  error, ipairs, next, pcall, rawget, select, setmetatable, type

local ambient = require "fastpg.host.ambient"
local compat = require "fastpg.base.compat"
local Connection = require "fastpg.pg.connection"
local core = require "fastpg.core"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local from_above = require "fastpg.base.from_above"
local later = require "fastpg.base.later"
local Pool = require "fastpg.pool.pool"
local reading = require "fastpg.pool.reading"
local session_use = require "fastpg.pg.session_use"
local transaction_control = require "fastpg.pg.transaction_control"
local trip = require "fastpg.pool.trip"
local turn = require "fastpg.host.turn"
local type_lookup = require "fastpg.pg.type_lookup"
local user_sql = require "fastpg.sql.user_sql"
local wait = require "fastpg.host.wait"
local writer = require "fastpg.sql.writer"

local hooks = later.module(function() return require "fastpg.pool.hooks" end)
local Servers = later.module(function() return require "fastpg.pool.servers" end)
local stream = later.module(function() return require "fastpg.pg.stream" end)

local unpack = compat.unpack
local is_plain = wait.is_plain

local Route = { __name = "fastpg.route" }
Route.__index = Route

--- The key of a facade's route.
Route.KEY = {}

--- The route of a user's database, nil for any other value.
---@param db any
---@return table?
function Route.of(db)
  return type(db) == "table" and rawget(db, Route.KEY) or nil
end

-- ---- making ---------------------------------------------------------------------------------

--- A root that is not connected yet.
function Route.new()
  local self = setmetatable({
    ambient = ambient.new(), bound_conn = false, catalog = false, closed = false, config = false, owns = false,
    pool = false, direct = false, server_info = false, strict = true, over = false, bound_kind = false,
    getters = false, listener = false, servers = false, direct_servers = false, streams = 0, standard_strings = true,
    types = false, writes = false,
  }, Route)
  self.root = self
  self.facade = from_above.make_facade(self)
  self.row_target = { origin = self } -- what rows of plain SQL become (fastpg.value.rows)
  return self
end

--- What the user's code is given.
function Route:user()
  self.facade = self.facade or from_above.make_facade(self)
  return self.facade
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

-- What a new connection gets before anybody uses it, to whatever server.
local function begin_set_up(root, conn, init)
  conn.types = root.types
  conn.deadline_of = function() return deadline_of(root) end
  conn.pick = function() return wait.pick(root.config.loop) end
  conn.on_names = function() root.catalog:part() end
  if root.hooks then hooks.install(root, conn) end
  if init then root:bind(conn, "connection"):lend(init, true) end
end

local function set_up(root, conn, init)
  root.server_info = conn.c:info()
  conn.on_unlisten = function()
    if root.listener then root.listener:unheard() end
  end
  begin_set_up(root, conn, init)
  local as_others = conn:start_path()
  if not as_others and conn.pool == root.direct then
    errors.raise("invalid_argument", "direct: names mean something else there (the role or the search_path differ): it has to lead "
      .. "to the same database as the same user")
  end
  if not as_others then -- ALTER DATABASE or ALTER ROLE … SET search_path since then
    conn.pool.homes.key = conn.key
    root.catalog:part()
    root.catalog:stale()
    conn.pool:retire()
    if conn.pool.other then conn.pool.other:retire() end
  end
  root.standard_strings, conn.strings_at_start = conn.standard_strings, conn.standard_strings
  if root.listener then root.listener:fresh(conn) end
  if root.hooks then hooks.opened(root, conn) end
end

-- To a replica, where names have to mean what they mean on the primary.
local function set_up_replica(root, conn, init)
  begin_set_up(root, conn, init)
  if not conn:start_path() then
    errors.raise("object_not_in_prerequisite_state", "the replica has another search_path or role than the primary")
  end
  conn.strings_at_start = conn.standard_strings
  if root.hooks then hooks.opened(root, conn) end
end

--- The pool of connections to a replica.
function Route:replica_pool(server)
  return self.servers:pool_of(server, function(conn) set_up_replica(self, conn, self.config.init) end, self.schema_changed)
end

-- The servers of a config that says anything of several (fastpg.pg.server_list).
local function servers_of(config)
  if config.replicas or config.failover_timeout or config.reads or config.max_lag then return Servers.new(config) end
  return nil
end

--- Connected from here on: by connect (a pool of one, opened now) or create_pool (opened when needed).
---@param config table  as fastpg.pg.conninfo reads it
function Route:open(config)
  if self.config and not self.closed then errors.raise("invalid_argument", "the database is connected already: close it first") end
  self.config, self.closed, self.server_info = config, false, false
  self.ambient = ambient.new(config.loop)
  self.strict = config.strict ~= false
  local catalog = from_above.new_catalog(self, config.schema)
  self.types = type_lookup.new(self)
  self.catalog = catalog
  local servers = servers_of(config)
  local function schema_changed(change, conn)
    if servers then servers:each_pool(function(pool) pool:forget_change(change) end) end
    if not change or change.all then
      catalog:stale()
      self.types:reset()
    else
      catalog:forget_changed(change, conn)
    end
  end
  self.pool = Pool.new(config, function(conn) set_up(self, conn, config.init) end, schema_changed)
  self.servers, self.schema_changed = servers or false, schema_changed
  local function forsake(server, why)
    if self.listener then self.listener:forsake(server, why) end
  end
  if servers then
    servers:serve(self.pool)
    servers.on_change = function(change) hooks.server_changed(self, change) end
    servers.on_demoted = forsake
  end
  if config.direct then
    self.direct = Pool.new(config.direct, function(conn) set_up(self, conn, config.init) end, schema_changed)
    self.direct.homes, self.direct.other, self.pool.other = self.pool.homes, self.pool, self.direct
    self.direct_servers = servers_of(config.direct) or false
    if self.direct_servers then
      self.direct_servers:serve(self.direct, servers)
      self.direct_servers.on_demoted = forsake
    end
  end
  local ok, err = pcall(self.pool.fill, self.pool)
  if ok then return end
  self.pool:close()
  if servers then servers:close() end
  self.config, self.pool, self.direct, self.catalog, self.servers, self.direct_servers = false, false, false, false, false, false
  error(err, 0)
end

--- The route; raises where its database is not connected (one that was closed had been).
function Route:connected()
  if not self.root.pool then errors.raise("closed", "the database is not connected") end
  return self
end

--- The pool; raises where there is none or it is closed.
function Route:live_pool()
  local root = self:connected().root
  if root.closed then errors.raise("closed", "the database is closed") end
  return root.pool
end

-- ---- which connection -----------------------------------------------------------------------

--- The connection this coroutine's statements belong on (of tx, of the ambient transaction or
--- acquire), and the route bound to it; nil where each statement takes one from the pool.
function Route:bound_connection()
  if self.bound_conn then return self:connection(), self end
  local scope = self.ambient:current()
  local bound = scope and scope.bound
  if bound then return bound:connection(), bound end
  return nil
end

--- Whether this coroutine's statements run in a transaction all of whose statements see what the first one saw: that
--- is for the user to choose, so nothing is looked up before it is needed.
function Route:has_one_snapshot()
  local scope = not self.bound_conn and self.ambient:current()
  local bound = self.bound_conn and self or scope and scope.bound
  local conn = bound and bound.bound_conn
  return conn and conn.in_transaction and conn.one_snapshot and not bound.over and bound.lease == conn.lease or false
end

--- standard_conforming_strings where this coroutine's statements run, as far as that is known before a connection is
--- chosen: those of a pool begin all alike, and are so again when they come back.
function Route:strings()
  local conn = self:bound_connection()
  local pool = self.root.pool
  if not conn and pool and pool.max_size == 1 then conn = pool.idle[1] or next(pool.lent) end
  if conn then return conn.standard_strings end
  return self.root.standard_strings
end

--- Of a bound route: its connection; raises when its time is over.
function Route:connection()
  local conn = self.bound_conn
  if self:is_over() then
    errors.raise("closed", self.bound_kind == "transaction" and "the transaction is over" or "the connection was given back")
  end
  return conn
end

-- Of a pool, before it is known which connection it will be: as all have it when they come back.  (What is built by it
-- and meets another one all the same is built again: fastpg.table.table_state.)
local function unbound_key(self, name)
  local pool = self.root.pool
  if not pool then return "" end
  if pool.max_size > 1 then return pool.homes.key or "" end
  local conn = pool.idle[1]
  if conn then return nil, conn end
  conn = next(pool.lent)
  return conn and conn.home_key and conn:names_key_later(name) or pool.homes.key or ""
end

--- What a name means on the connection that this coroutine's statements belong on (Connection:names_key).
---@param name string?  nil: any name
---@return string
function Route:names_key(name)
  if self:is_over() then return self.last_key or "" end -- whatever is asked of it, but what it knew, says that it is over
  local conn = self:bound_connection()
  if not conn then
    local key
    key, conn = unbound_key(self, name)
    if key then return key end
  end
  local key = conn.path_known and conn.role_known and conn:names_key(name) or self:on_connection(Connection.names_key, name)
  if self.bound_conn then self.last_key = key end
  return key
end

--- Of a bound route: whether its time is over.
function Route:is_over()
  local conn = self.bound_conn
  return conn and (self.over or self.lease ~= conn.lease) or false
end

local function run_pinned(conn, root, fn, what, ...)
  local bound = root:bind(conn, "connection")
  local result = fn(what, bound, ...)
  bound:finish_use()
  return result
end

--- Calls fn(what, route, ...) with a route whose statements all run on one connection.
function Route:pinned(fn, what, _, ...)
  return self:on_connection(run_pinned, self.root, fn, what, ...)
end

--- Calls fn(...), and all that it runs on this database has one connection.
function Route:on_one_connection(fn, ...)
  local n, args = select("#", ...), { ... }
  return self:on_connection(function(conn)
    return self.root:bind(conn, "connection"):lend(function() return fn(unpack(args, 1, n)) end)
  end)
end

--- A connection from the pool, armed with the time its statement has; nil where it went with others (Pool:checkout).
---@param seat table?
---@param is_first boolean?
---@param from table?  another pool than that of the database
function Route:checkout(seat, is_first, from)
  local root = self.root
  local pool = self:live_pool()
  pool = from or pool
  local deadline = not seat and deadline_of(root) or nil -- what has a seat has no time limit
  local ok, conn = pcall(pool.checkout, pool, deadline, seat, is_first)
  if ok then
    if conn then conn:limit(deadline) end
    return conn
  end
  if errors.is(conn, "deadlock") then conn.acquiring = true end
  if root.streams > 0 and pool:is_exhausted() and (errors.is(conn, "timeout") or errors.is(conn, "deadlock")) then
    conn.message = conn.message .. "; a db:each is being read: use a transaction around both, or db:q"
    if conn.name == "deadlock" then conn.name = "connection_busy" end -- as it is on the connection of an acquire
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
  if conn.servers then conn.servers:attend(conn) end
  if conn.abandoned then conn:clear() end
  return fn(conn, ...)
end

local function lent(root, conn, fn, ...)
  return release(root, conn, pcall(fn, conn, ...))
end

-- The straight way of a plain script's main thread: on an idle connection where nothing is ambient, and where a
-- transaction is, on its connection.  Gives the connection, and the route that it is bound to.  Nil: the other way.
local function straight(self, pool)
  local scopes = self.ambient
  if not is_plain(scopes.loop) then return nil end
  local bound = self.bound_conn and self
  if scopes.open > 0 then
    local scope = scopes:current()
    if scope and scope.deadline then return nil end
    bound = bound or scope and scope.bound
  end
  if not bound then return pool:take() end
  local conn = bound:connection()
  if conn.blocks and turn.is_free(conn) and not (conn.canceling or conn.interrupted or conn.abandoned) then return conn, bound end
end

local function put(root, conn, ok, ...)
  if not ok or not conn.pool:put(conn) then return release(root, conn, ok, ...) end
  if root.listener then root.listener:pump() end
  return ...
end

-- A seat for what fn would run, where all connections are in use and it may go with others: no hook is to be called, it may
-- take as long as it likes, and it reads.
local function seat_of(self, pool, fn, ...)
  local root = self.root
  local config = root.config
  if root.hooks or config.command_timeout or config.reset or root.standard_strings ~= true then return nil end
  local scope = root.ambient:current()
  if scope and scope.deadline then return nil end
  return pool.trips:seat(root.types and root.types.codecs[1] ~= nil, fn, ...)
end

-- With others where there are any, else alone.
local function by_seat(self, pool, seat, fn, ...)
  local root = self.root
  local conn = self:checkout(seat)
  local one = seat.trip
  if conn then
    one = pool.trips:depart(conn, seat)
    if not one then return defer.close(conn, lent, root, conn, trip.alone, seat.shape, fn, ...) end
  elseif not seat.outcome then
    one:take_over(seat)
  end
  if not seat.outcome then
    one:drive(seat)
    if root.listener then root.listener:pump() end
  end
  if seat.outcome ~= "alone" then return pool.trips:read(seat) end
  conn = self:checkout(nil, true)
  return defer.close(conn, lent, root, conn, trip.alone, seat.shape, fn, ...)
end

--- Runs fn(conn, ...) on the connection that it belongs on.
function Route:on_connection(fn, ...)
  local pool = self.pool
  if pool and pool.is_plain then
    local idle, owner = straight(self, pool)
    if owner then return turn.run_free(idle, fn, ...) end
    if idle then return put(self, idle, pcall(fn, idle, ...)) end
  end
  local conn, bound = self:bound_connection()
  if conn then return turn.run(conn, in_turn, bound, fn, ...) end
  pool = self.root.pool
  if pool and trip.asks[fn] and pool:is_busy() then
    local seat = seat_of(self, pool, fn, ...)
    if seat then return by_seat(self, pool, seat, fn, ...) end
  end
  conn = self:checkout()
  return defer.close(conn, lent, self.root, conn, fn, ...)
end

local function lent_by(root, conn, fn, ...)
  return defer.close(conn, lent, root, conn, fn, ...)
end

--- Runs fn(conn, ...), which only reads, on a replica where one is to be had (fastpg.pool.reading).
---@param needs { at_least: number?, staleness: number? }?
function Route:on_replica(needs, fn, ...)
  self:live_pool()
  return reading.run(self, needs, lent_by, deadline_of(self.root), fn, ...)
end

--- Runs fn(conn, ...) on a connection whose session is one's own until fn ends: past a pooler where one stands before the
--- server.
---@param what "acquire"|"advisory_lock"
function Route:on_session(what, fn, ...)
  local root = self.root
  local pooled = root.config and root.config.pooler == "transaction"
  if not pooled or self:bound_connection() then
    return self:on_connection(function(conn, ...)
      if conn.sharing and not conn.in_transaction then session_use.check_own(conn, what) end
      return fn(conn, ...)
    end, ...)
  end
  if not root.direct then session_use.needs_direct(what) end
  local conn = self:checkout(nil, nil, root.direct)
  return defer.close(conn, lent, root, conn, fn, ...)
end

--- Runs a look-up of what a name means, fn(conn, ...): on the connection that its statement will run on; where that is
--- in a transaction whose only snapshot it would take, on an idle one to which the name means the same.
---@param name string?
function Route:on_look_up(name, fn, ...)
  if self:has_one_snapshot() then
    local pool = self.root.pool
    if #pool.idle > 0 and self:names_key(name) == pool.homes.key then
      local other = self:checkout()
      return defer.close(other, lent, self.root, other, fn, ...)
    end
  end
  return self:on_connection(fn, ...)
end

-- ---- running --------------------------------------------------------------------------------

--- The SQL of fastpg.sql as a statement of its own: its text, arguments, their number, and what is looked at when its
--- connection is there (check_written).
---@param f userdata
---@param given integer  how many arguments came beside
function Route:written(f, given)
  if given > 0 then errors.argument("fastpg.sql has its values: nothing goes behind it, got %d more", given) end
  local w = writer.new(self:strings())
  w:fragment(f, "SQL")
  local text, list, n = w:finish()
  user_sql.refuse_copy(text, w.standard)
  return text, list, n, w
end

-- What it was written for is what it meets.
local function check_written(conn, w)
  if conn.standard_strings ~= w.standard then
    errors.raise("object_not_in_prerequisite_state", "standard_conforming_strings changed while the statement was being made")
  end
  for _, use in ipairs(w.uses) do w.check_meaning(conn, use.st) end
end

local function run_written(conn, w, how, target, text, list, n)
  check_written(conn, w)
  return conn:run_list(text, how, target, list, n)
end

--- Runs a user's SQL: placeholders are converted, arguments as they were given.
---@param how function  one of fastpg.pg.fetch
---@param sql string|userdata  fastpg.sql has its values with it
function Route:query(how, sql, ...)
  if type(sql) == "userdata" and core.is_sql(sql) then
    local text, list, n, w = self:written(sql, select("#", ...))
    return self:on_connection(run_written, w, how, self.row_target, text, list, n)
  end
  return self:on_connection(fetch.run, how, self.row_target, sql, ...)
end

--- SQL of fastpg's own: its text is final, the arguments are counted.
function Route:run(sql, how, target, ...)
  return self:on_connection(Connection.run, sql, how, target, ...)
end
function Route:run_list(sql, how, target, list, n)
  return self:on_connection(Connection.run_list, sql, how, target, list, n)
end

local function simple(conn, sql)
  user_sql.refuse_copy(sql, conn.standard_strings)
  if conn.in_transaction then transaction_control.check(conn, sql) end
  if conn.sharing then session_use.check(conn, sql) end
  return conn:simple(sql)
end

--- Runs SQL text without arguments, several statements allowed: the last command tag.
function Route:simple(sql)
  return self:on_connection(simple, sql)
end

local function stream_end(root, conn)
  return function(lost)
    root.streams = root.streams - 1
    if lost then conn.pool:discard(conn) else conn.pool:checkin(conn) end
  end
end

--- A stream of fetch.run's arguments with rows made for `target`.
function Route:open_stream(target, sql, list, n)
  local root = self.root
  local conn, owner = self:bound_connection()
  if conn then return turn.run(conn, in_turn, owner, stream.open, owner, nil, target, sql, list, n) end
  conn = self:checkout()
  root.streams = root.streams + 1
  local give_back = stream_end(root, conn)
  return defer.undo(give_back, stream.open, conn, nil, give_back, target, sql, list, n)
end

local function open_checked(conn, check, ...)
  check(conn)
  return stream.open(conn, ...)
end

local function open_built(self, conn, build, give_back)
  local target, sql, list, n = self.root:bind(conn, "connection"):lend(build)
  return stream.open(conn, nil, give_back, target, sql, list, n)
end

-- The stream has the connection until its end.
local function lent_to_stream(_, conn, fn, ...)
  local function give_back(lost)
    if lost then conn.pool:discard(conn) else conn.pool:checkin(conn) end
  end
  return defer.undo(give_back, fn, conn, give_back, ...)
end

local function open_apart(conn, give_back, check, ...)
  check(conn)
  return stream.open(conn, nil, give_back, ...)
end

-- From a replica, where one is to be had.  What it is built by is looked up on the primary, as for all that is read there.
local function try_stream(self, build, check)
  self:live_pool()
  return reading.try(self, nil, lent_to_stream, deadline_of(self.root), open_apart, check, build())
end

--- A stream of what build() gives (target, sql, list, n), which is called when its connection is there; where that was
--- there before it, check(conn) is called when it is its turn.
---@param apart boolean?  a replica may give it, where it is not read in a transaction: Route:reads_apart
function Route:open_built_stream(build, check, apart)
  local root = self.root
  if apart then
    local found, opened = try_stream(self, build, check)
    if found then return opened end
  end
  local conn, owner = self:bound_connection()
  if conn then
    local target, sql, list, n = build()
    return turn.run(conn, in_turn, owner, open_checked, check, owner, nil, target, sql, list, n)
  end
  conn = self:checkout()
  root.streams = root.streams + 1
  local give_back = stream_end(root, conn)
  return defer.undo(give_back, open_built, self, conn, build, give_back)
end

--- A stream of the SQL of fastpg.sql.
---@param given integer  how many arguments came beside
function Route:open_written_stream(f, given)
  local w
  return self:open_built_stream(function()
    local text, list, n
    text, list, n, w = self:written(f, given)
    return self.row_target, text, list, n
  end, function(conn) check_written(conn, w) end)
end

--- The callback form, or what a generic `for` takes: on 5.4 its fourth value is to be closed.
---@param open function  gives the stream; or the target of open_stream, with its other arguments behind it
function Route:iterate(fn, open, sql, list, n)
  local s
  if sql == nil then s = open() else s = self:open_stream(open, sql, list, n) end
  if fn then return stream.for_each(s, fn) end
  return s, nil, nil, s
end

-- ---- bound routes ---------------------------------------------------------------------------

--- The same database, all of whose tables have these filters (fastpg.table.table_state), which nothing takes away: a route
--- to the same connections.  `origin` is where its rows say that they come from.
---@param scope table
function Route:scoped(scope)
  local view = setmetatable({ scope = scope, getters = false, facade = false, owns = false }, { __index = self })
  view.origin, view.row_target = view, { origin = view }
  view:user()
  return view
end

--- A route bound to one connection.
---@param kind "transaction"|"connection"
function Route:bind(conn, kind)
  local root = self.root
  return setmetatable({
    root = root, bound_conn = conn, bound_kind = kind, lease = conn.lease, ambient = root.ambient,
    catalog = root.catalog, types = root.types, config = root.config, strict = root.strict, row_target = self.row_target,
    scope = self.scope, origin = self.origin,
    over = false, owns = false, getters = false, closed = false, pool = root.pool, server_info = false, streams = 0,
    facade = false,
  }, Route)
end

function Route:finish_use()
  self.over = true
end

local function finish_lending(self, scope, ...)
  self.ambient:pop(scope)
  self:finish_use()
  return ...
end

--- Runs fn while the connection of this bound route is ambient; fn is given the route, or its facade where it is
--- the user's.  Gives what pcall gives: PUC Lua allows 200 C calls inside each other, and a transaction in a
--- transaction costs one of them.
function Route:try_lending(fn, is_users)
  local given = is_users and self:user() or self
  local ok, scope = pcall(self.ambient.push, self.ambient, { bound = self })
  if not ok then return false, scope end
  return finish_lending(self, scope, pcall(fn, given))
end

local function raise_failure(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

--- The same, but what fn raises is raised.
function Route:lend(fn, is_users)
  return raise_failure(self:try_lending(fn, is_users))
end

--- A transaction that is collected, or left where nothing can wait, while open: its connection is closed, which
--- rolls it back.
function Route:abandon()
  if not self.owns or self.over then return end
  self.over = true
  local conn = self.bound_conn
  if self.lease ~= conn.lease then return end
  if self.owns == "connection" then conn.pool:discard(conn) else conn:close() end
end
Route.__gc = Route.abandon

--- The transaction ends with this object.
---@param what "connection"|"transaction"  whether the connection is given back then
function Route:own(what)
  self.owns = what
  defer.collected(self, function() self:abandon() end)
end

reading.extend(Route)

return Route
