-- SPDX-License-Identifier: MIT
--
-- transaction: BEGIN to COMMIT on one connection, savepoints inside.
--
-- A transaction lives and dies with its connection: when that is lost every later call in it fails,
-- and nothing of it runs elsewhere.  `tx` is a database bound to the connection; once the
-- transaction is over every use of it is an error.
--
-- PostgreSQL manual: BEGIN, SET TRANSACTION, SAVEPOINT.

local core = require "fastpg.core"
local errors = require "fastpg.errors"
local options = require "fastpg.options"

local transaction = {}

local OPTIONS = options.set("isolation", "readonly", "deferrable", "retries", "settings")

local ISOLATION = {
  ["serializable"] = true, ["repeatable read"] = true, ["read committed"] = true, ["read uncommitted"] = true,
}

-- ---- the commands ---------------------------------------------------------------------------

local function begin_command(opts, what)
  local parts = { "BEGIN" }
  if opts.isolation ~= nil then
    local level = type(opts.isolation) == "string" and opts.isolation:lower():gsub("_", " ")
    if not ISOLATION[level] then
      errors.argument('%s: isolation is "serializable", "repeatable read", "read committed" or "read uncommitted"', what)
    end
    parts[#parts + 1] = "ISOLATION LEVEL " .. level:upper()
  end
  if opts.readonly ~= nil then parts[#parts + 1] = opts.readonly and "READ ONLY" or "READ WRITE" end
  if opts.deferrable ~= nil then parts[#parts + 1] = opts.deferrable and "DEFERRABLE" or "NOT DEFERRABLE" end
  local command = parts[1] .. " " .. table.concat(parts, ", ", 2)
  for name, value in pairs(opts.settings or {}) do
    if type(value) == "boolean" then value = value and "on" or "off" end
    command = ("%s; SELECT set_config(%s, %s, true)"):format(command, core.quote_literal(tostring(name)),
      core.quote_literal(tostring(value)))
  end
  return command
end

local function check_options(opts, what)
  opts = options.check(opts, OPTIONS, what)
  local retries = opts.retries
  if retries ~= nil and (type(retries) ~= "number" or retries < 0 or retries % 1 ~= 0) then
    errors.argument("%s: retries is a whole number, got %s", what, type(retries))
  end
  if opts.settings ~= nil and type(opts.settings) ~= "table" then
    errors.argument("%s: settings is a table of names and values, got %s", what, type(opts.settings))
  end
  return opts
end

-- An aborted transaction answers COMMIT with ROLLBACK: what was done is lost, which is no success.
local function commit(conn)
  if conn:simple("COMMIT") == "ROLLBACK" then
    errors.raise("in_failed_sql_transaction",
      "the transaction was rolled back at its end, because a statement in it had failed")
  end
end

local function roll_back(conn)
  conn.deadline, conn.timed_out = nil, nil
  if not conn.c:usable() then return end
  conn:settle()
  if conn.c:transaction_status() ~= "idle" then conn:simple("ROLLBACK") end
end

-- ---- db:transaction -------------------------------------------------------------------------

local function is_retryable(err)
  return errors.is_error(err) and (err.sqlstate == "40001" or err.sqlstate == "40P01")
end

local function pack(...) return { n = select("#", ...), ... } end
local unpack = table.unpack or unpack

-- Runs fn(tx) between two commands on the connection; the scope makes it ambient.
local function run_inside(db, conn, tx, fn, finish, undo)
  local scope = db.ambient:push{ conn = conn, tx = tx }
  local results = pack(pcall(fn, tx))
  db.ambient:pop(scope)
  if results[1] then
    local ok, err = pcall(finish, conn)
    if not ok then results = { false, err } end
  end
  tx:finish_use()
  if results[1] then return unpack(results, 2, results.n) end
  local ok, err = pcall(undo, conn)
  if not ok and conn.c:usable() then conn:close() end -- it can't be brought back to a known state
  if not ok and not errors.is_error(results[2]) then errors.annotate(err) end
  error(results[2], 0)
end

local savepoints = 0

local function nested(db, conn, fn)
  savepoints = savepoints + 1
  local name = "fastpg_" .. savepoints
  conn:simple("SAVEPOINT " .. name)
  return run_inside(db, conn, db:bind(conn, "transaction"), fn,
    function() conn:simple("RELEASE SAVEPOINT " .. name) end,
    function()
      if conn.c:usable() then
        conn:settle()
        conn:simple(("ROLLBACK TO SAVEPOINT %s; RELEASE SAVEPOINT %s"):format(name, name))
      end
    end)
end

local function outermost(db, conn, command, fn)
  conn:simple(command)
  return run_inside(db, conn, db:bind(conn, "transaction"), fn, commit, roll_back)
end

--- db:transaction([opts,] fn): see the manual's section on transactions.
function transaction.run(db, opts, fn)
  if fn == nil and type(opts) == "function" then opts, fn = nil, opts end
  local what = "transaction"
  opts = check_options(opts, what)
  if type(fn) ~= "function" then errors.argument("%s: a function expected, got %s", what, type(fn)) end
  local conn, in_transaction = db:bound_connection()
  if conn and in_transaction then
    for name in pairs(opts) do
      errors.argument("%s: %s can only be set by the outermost transaction", what, name)
    end
    return nested(db, conn, fn)
  end
  local command = begin_command(opts, what)
  local attempts = 0
  local function attempt() return db:on_connection(function(c) return outermost(db, c, command, fn) end) end
  while true do
    local results = pack(pcall(attempt))
    if results[1] then return unpack(results, 2, results.n) end
    attempts = attempts + 1
    if attempts > (opts.retries or 0) or not is_retryable(results[2]) then error(results[2], 0) end
  end
end

-- ---- db:begin -------------------------------------------------------------------------------

--- db:begin([opts]): a transaction that is not ambient: tx:commit(), tx:rollback(), `local tx <close>`.
function transaction.begin(db, opts)
  local command = begin_command(check_options(opts, "begin"), "begin")
  local conn = db:checkout()
  local ok, err = pcall(conn.simple, conn, command)
  if not ok then
    db:checkin(conn)
    error(err, 0)
  end
  local tx = db:bind(conn, "transaction")
  tx:own_connection()
  return tx
end

local function finish_own(tx, fn)
  local conn = tx:connection()
  local ok, err = pcall(fn, conn)
  if not ok then pcall(roll_back, conn) end
  tx:finish_use()
  tx.root:checkin(conn)
  if not ok then error(err, 0) end
end

function transaction.commit(tx)
  if not tx.owns then errors.raise("invalid_argument", "this transaction commits at the end of its function") end
  finish_own(tx, commit)
end

function transaction.rollback(tx)
  if not tx.owns then
    errors.raise("invalid_argument", "this transaction rolls back when its function raises an error")
  end
  finish_own(tx, roll_back)
end

return transaction
