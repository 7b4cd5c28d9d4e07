-- SPDX-License-Identifier: MIT
--
-- transaction: BEGIN to COMMIT on one connection, savepoints inside.
--
-- A transaction lives and dies with its connection: when that is lost every later call in it fails,
-- and nothing of it runs elsewhere.  `tx` is a database bound to the connection; once the
-- transaction is over every use of it is an error.
--
-- PostgreSQL manual: BEGIN, SET TRANSACTION, SAVEPOINT.

local error, next, pairs, pcall, type = error, next, pairs, pcall, type

local claimed_rows = require "fastpg.pg.claimed_rows"
local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local later = require "fastpg.base.later"
local options = require "fastpg.base.options"
local reading = require "fastpg.pool.reading"
local retry = require "fastpg.pool.retry"
local savepoint = require "fastpg.pg.savepoint"
local transaction_settings = require "fastpg.pg.transaction_settings"
local turn = require "fastpg.host.turn"

local once = later.module(function() return require "fastpg.pool.once" end)

local pack, unpack = compat.pack, compat.unpack

local transaction = {}

local ISOLATION = {
  ["serializable"] = true, ["repeatable read"] = true, ["read committed"] = true, ["read uncommitted"] = true,
}

-- "repeatable_read" is one, in any case of letters.
local function level_of(isolation)
  local level = type(isolation) == "string" and isolation:lower():gsub("_", " ")
  return ISOLATION[level] and level or nil
end

local isolation = {
  wanted = '"serializable", "repeatable read", "read committed" or "read uncommitted"',
  test = function(value) return level_of(value) ~= nil end,
  values = ISOLATION,
}

local settings_type = options.kinds("a table of names and values", "table")

local OPTIONS = options.declare("db:transaction", {
  isolation = isolation, readonly = options.boolean, deferrable = options.boolean, retries = options.whole(0),
  settings = settings_type, id = options.any, -- once.key says more
})
local BEGIN_OPTIONS = options.declare("db:begin", {
  isolation = isolation, readonly = options.boolean, deferrable = options.boolean, settings = settings_type,
  retries = options.refused "what ran since BEGIN can only be run again where it is a function: db:transaction",
  id = options.refused "what happens once is a function: db:transaction",
})

-- ---- the commands ---------------------------------------------------------------------------

-- The command that begins it; the search_path that it sets, if it does; whether it sets anything.
local function begin_command(opts, what)
  if next(opts) == nil then return "BEGIN", nil, false end
  local parts = { "BEGIN" }
  if opts.isolation ~= nil then parts[#parts + 1] = "ISOLATION LEVEL " .. level_of(opts.isolation):upper() end
  if opts.readonly ~= nil then parts[#parts + 1] = opts.readonly and "READ ONLY" or "READ WRITE" end
  if opts.deferrable ~= nil then parts[#parts + 1] = opts.deferrable and "DEFERRABLE" or "NOT DEFERRABLE" end
  local command = parts[1] .. " " .. table.concat(parts, ", ", 2)
  if not opts.settings then return command, nil, false end
  return table.concat({ command, unpack(transaction_settings.commands(opts.settings, what)) }, "; "),
    transaction_settings.path(opts.settings, what), true
end

-- An aborted transaction answers COMMIT with ROLLBACK: what was done is lost, which is no success.
local function commit_now(conn)
  if conn.lost then errors.raise("connection", "the connection was given up, and the transaction with it: " .. conn.lost) end
  if conn.c:transaction_status() == "idle" then
    errors.raise("no_active_sql_transaction", "the transaction was ended inside, by a COMMIT or ROLLBACK of one's own")
  end
  conn:arm()
  if conn.servers then conn.servers:attend(conn) end
  conn.in_transaction = false
  claimed_rows.forget(conn)
  local ok, tag = pcall(conn.command, conn, "COMMIT")
  if not ok then
    if errors.is_error(tag) and not conn.c:usable() then tag.commit_unknown = true end
    error(tag, 0)
  end
  if tag == "ROLLBACK" then
    errors.raise("in_failed_sql_transaction",
      "the transaction was rolled back at its end, because a statement in it had failed")
  end
end

-- Another coroutine may be in the middle of a statement of this transaction: that comes first.
local function commit(conn) return turn.run(conn, commit_now) end

-- What such a one does is of no use any more.
local function undo_by(conn, fn)
  if turn.is_taken(conn) then conn:cancel() end
  return pcall(turn.run_by, conn, core.clock() + conn.GRACE, fn)
end

local function roll_back(conn)
  local ok, clean = undo_by(conn, conn.reset)
  if not (ok and clean) then conn:close() end -- and the server rolls back by itself
end

-- Of one that SQL began (in db:acquire) the server would make no second: ours would end it.
local function check_none_open(conn)
  local status = conn.c:transaction_status()
  if status ~= "intrans" and status ~= "inerror" then return end
  errors.raise("active_sql_transaction",
    "a transaction that SQL began is open on this connection: let db:transaction begin it too, which nests", { sqlstate = "25001" })
end

-- A failure at BEGIN leaves nothing open.
---@param path string?  the search_path that it sets
---@param sets boolean  whether it sets anything
local function start(conn, command, path, sets)
  check_none_open(conn)
  local busy = conn.c:busy()
  if not busy then conn:bury() end
  local ok, err = pcall(sets and conn.begin_with_path or conn.command, conn, command, path)
  if ok then
    conn.in_transaction, conn.nested = true, 1
    conn.reads_only = conn.servers ~= nil and command:find("READ ONLY", 1, true) ~= nil
    conn.one_snapshot = command:find "^BEGIN ISOLATION LEVEL [RS]E[PR]" ~= nil -- REPEATABLE READ, SERIALIZABLE
    claimed_rows.forget(conn)
    return
  end
  if not busy then roll_back(conn) end -- else it did not begin
  if errors.is_error(err) then
    err.commit_unknown = nil
    if sets then err.query = command:match "^[^;]*" end -- the settings have values
  end
  error(err, 0)
end

-- ---- db:transaction -------------------------------------------------------------------------

-- After fn, with what pcall said of it: finish or undo.  The connection may be in other hands by then, when a coroutine
-- left this transaction half-way and came back after the one around it had ended.
local function end_inside(conn, lease, finish, undo, ok, ...)
  if lease ~= conn.lease then
    if ok then errors.raise("closed", "the transaction around this one is over") end
    error((...), 0)
  end
  conn.nested = conn.nested - 1
  local problem = ...
  if ok then
    ok, problem = pcall(finish, conn)
    if ok then return ... end
  end
  undo(conn)
  error(problem, 0)
end

-- Runs fn(tx) in the transaction that is open.
local function run_inside(db, conn, fn, is_users, finish, undo)
  return end_inside(conn, conn.lease, finish, undo, db:bind(conn, "transaction"):try_lending(fn, is_users))
end

local savepoints = 0

-- Transactions inside each other, the outermost included: the same everywhere, and where PUC Lua's 200 C
-- calls are far, even with a pcall, a db:timeout or a coroutine around each of them.
local DEEPEST = 50

local function check_depth(conn)
  if conn.nested < DEEPEST then return end
  errors.raise("program_limit_exceeded",
    ("transaction: %d are open inside each other, and no more can be"):format(DEEPEST))
end

local function nested(db, conn, fn, is_users)
  check_depth(conn)
  savepoints = savepoints + 1
  local name = savepoint.name(savepoints)
  local function run(command, note)
    return turn.run(conn, function()
      conn:arm()
      conn:command(command(name))
      note(conn, name)
    end)
  end
  local function release() run(savepoint.release, claimed_rows.release) end
  local function undo_work()
    conn:arm_recovery()
    conn:settle()
    conn:simple(savepoint.undo(name))
    claimed_rows.rolled_back(conn, name)
    claimed_rows.release(conn, name)
  end
  local function undo()
    if not conn.c:usable() then return end
    if not undo_by(conn, undo_work) then conn:close() end -- it can't be brought back to a known state
  end
  run(savepoint.make, claimed_rows.savepoint)
  conn.nested = conn.nested + 1
  return run_inside(db, conn, fn, is_users, release, undo)
end

local function outermost(conn, db, command, path, sets, fn, is_users)
  start(conn, command, path, sets)
  return run_inside(db, conn, fn, is_users, commit, roll_back)
end

-- (SERIALIZABLE is not for standbys.)
local function attempt(db, apart, ...)
  if apart then return db:on_replica(nil, outermost, db, ...) end
  return db:on_connection(outermost, db, ...)
end

--- db:transaction([opts,] fn): commits when fn(tx) returns, rolls back when it raises; inside
--- another one it is a savepoint.
---@param opts { isolation: string?, readonly: boolean?, deferrable: boolean?, retries: integer?, settings: table?, id: any }?
---@param is_users boolean?  fn is given a database, not a route
function transaction.run(db, opts, fn, is_users)
  if fn == nil and type(opts) == "function" then opts, fn = nil, opts end
  local what = "transaction"
  opts = options.check(opts, OPTIONS, what)
  if type(fn) ~= "function" then errors.argument("%s: a function expected, got %s", what, type(fn)) end
  local conn = db:bound_connection()
  if conn and conn.in_transaction then
    for name in pairs(opts) do
      errors.argument("%s: %s can only be set by the outermost transaction", what, name)
    end
    return nested(db, conn, fn, is_users)
  end
  local command, path, sets = begin_command(opts, what)
  local retries = opts.retries or 0
  if opts.id ~= nil then
    if opts.readonly then errors.argument("%s: what happens once is written down: readonly can't be", what) end
    return once.run(db, opts.id, fn, function(body)
      return db:on_connection(outermost, db, command, path, sets, body, is_users)
    end, retries)
  end
  local apart = opts.readonly and db.root.servers and not conn and level_of(opts.isolation) ~= "serializable"
  if retries == 0 then return attempt(db, apart, command, path, sets, fn, is_users) end
  local tries = retry.new(db.root.config, retries, opts.readonly)
  local results
  repeat
    results = pack(pcall(attempt, db, apart, command, path, sets, fn, is_users))
    if results[1] then return unpack(results, 2, results.n) end
  until not tries:after(results[2])
  error(results[2], 0)
end

-- Of one that SQL began nobody has counted what is open inside.
local function in_savepoint(conn, db, fn)
  if not conn.in_transaction then conn.nested = 1 end
  return nested(db, conn, fn)
end

--- db:read([opts,] fn): reads in a READ ONLY transaction, where there are replicas on one of them; inside a transaction fn
--- runs in that.
---@param opts { at_least: string?, staleness: number?, isolation: string? }?
---@param is_users boolean?  fn is given a database, not a route
function transaction.read(db, opts, fn, is_users)
  if fn == nil and type(opts) == "function" then opts, fn = nil, opts end
  local needs = reading.options(opts)
  if type(fn) ~= "function" then errors.argument("read: a function expected, got %s", type(fn)) end
  local conn = db:bound_connection()
  if conn and conn.in_transaction then
    if opts and opts.isolation then errors.argument "read: isolation can only be set by the outermost transaction" end
    return nested(db, conn, fn, is_users)
  end
  local command = begin_command({ isolation = needs.isolation, readonly = true }, "read")
  if not db.root.servers or conn then return attempt(db, false, command, nil, false, fn, is_users) end
  return db:on_replica(needs, outermost, db, command, nil, false, fn, is_users)
end

-- ---- db:begin -------------------------------------------------------------------------------

--- db:begin([opts]): a transaction that is not ambient: tx:commit(), tx:rollback(), `local tx <close>`.
function transaction.begin(db, opts)
  local command, path, sets = begin_command(options.check(opts, BEGIN_OPTIONS, "begin"), "begin")
  local conn = db:bound_connection()
  if conn then
    if conn.in_transaction then
      errors.raise("active_sql_transaction", "begin: a transaction is open here: db:transaction nests")
    end
    turn.run(conn, function()
      conn:arm()
      start(conn, command, path, sets)
    end)
    local tx = db:bind(conn, "transaction")
    tx:own("transaction")
    return tx
  end
  conn = db:checkout()
  defer.undo(function(closed)
    if closed then conn.pool:abandon(conn) else conn.pool:checkin(conn) end
  end, start, conn, command, path, sets)
  local tx = db:bind(conn, "transaction")
  tx:own("connection")
  return tx
end

local function finish_own(tx, finish)
  local conn = tx:connection()
  tx:finish_use()
  local ok, err = pcall(finish, conn)
  if not ok then roll_back(conn) end
  if tx.owns == "connection" then conn.pool:checkin(conn) end
  if not ok then error(err, 0) end
end

-- Of a database that did not begin a transaction itself: there may be none at all.
local function raise_not_own(tx, what, ends)
  local conn = tx:bound_connection()
  if conn and conn.in_transaction then errors.raise("invalid_argument", what .. ": this transaction " .. ends) end
  errors.raise("no_active_sql_transaction",
    what .. ": there is no transaction here: db:transaction runs a function in one, db:begin gives one to end yourself")
end

function transaction.commit(tx)
  if not tx.owns then raise_not_own(tx, "commit", "commits at the end of its function") end
  finish_own(tx, commit)
end

function transaction.rollback(tx)
  if not tx.owns then raise_not_own(tx, "rollback", "rolls back when its function raises an error") end
  finish_own(tx, roll_back)
end

-- ---- all or nothing -------------------------------------------------------------------------

-- In a transaction that is not ambient: what else fn runs goes where it would go without it.
local function run_apart(db, fn)
  local tx = transaction.begin(db)
  local ok, result = pcall(fn, tx)
  if ok then
    transaction.commit(tx)
    return result
  end
  pcall(transaction.rollback, tx) -- what went wrong first says why
  error(result, 0)
end

--- Runs fn(tx), which gives one value, in a transaction, or, where one is open, be it by SQL, in a savepoint of it, and lets
--- nobody else use the connection meanwhile.
---@param apart boolean  where none is open, `db` is to go on meaning what it means
---@param fn fun(tx: table): any
function transaction.atomic(db, apart, fn)
  local conn = db:bound_connection()
  if not conn then
    if apart then return run_apart(db, fn) end
    return transaction.run(db, nil, fn)
  end
  local is_open = conn.in_transaction or conn.c:transaction_status() ~= "idle"
  return db:on_connection(function()
    if is_open then return in_savepoint(conn, db, fn) end
    return transaction.run(db, nil, fn)
  end)
end

-- ---- db:acquire, db:advisory_lock -----------------------------------------------------------------------

--- Runs fn with one connection of its own, ambient, without a transaction.
---@param is_users boolean?  fn is given a database, not a route
---@param what string?  what it is for: "acquire"
function transaction.acquire(db, fn, is_users, what)
  return db:on_session(what or "acquire", function(conn) return db:bind(conn, "connection"):lend(fn, is_users) end)
end

local LOCK = {
  number = "SELECT pg_catalog.%s($1)",
  string = "SELECT pg_catalog.%s(pg_catalog.hashtextextended($1, 0))",
}

--- db:advisory_lock(key, fn): waits for the lock of that key, then runs fn(db) on the connection that
--- holds it and gives its results.  Inside a transaction the lock is the transaction's and is held
--- until that ends, so that others see what was done under it; else until fn ends.
---@param key integer|string  a string is hashed by the server
function transaction.advisory_lock(db, key, fn)
  local sql = LOCK[type(key) == "cdata" and "number" or type(key)]
  if not sql then errors.argument("advisory_lock: the key is a whole number or a string, got %s", type(key)) end
  if type(fn) ~= "function" then errors.argument("advisory_lock: a function expected, got %s", type(fn)) end
  return transaction.acquire(db, function(bound)
    local conn = bound:connection()
    if conn.in_transaction then
      bound:query(fetch.status, sql:format("pg_advisory_xact_lock"), key)
      return fn(bound:user())
    end
    bound:query(fetch.status, sql:format("pg_advisory_lock"), key)
    local results = pack(pcall(fn, bound:user()))
    conn:arm_recovery()
    if not pcall(conn.run, conn, sql:format("pg_advisory_unlock"), fetch.status, nil, key) then
      conn:close() -- which releases it
    end
    if not results[1] then error(results[2], 0) end
    return unpack(results, 2, results.n)
  end, false, "advisory_lock")
end

return transaction
