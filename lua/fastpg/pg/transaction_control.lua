-- SPDX-License-Identifier: MIT
--
-- transaction_control: what SQL may say inside a transaction that fastpg opened.
--
-- Such a transaction ends where its function does (or by commit and rollback of what db:begin gives): a COMMIT in
-- a text would leave half of it behind, whatever comes after it.  So the verbs of a text are looked at before it is
-- sent (csrc/sql/statements.c).  That costs a statement that is prepared once its first Parse only: those that have to
-- do with transactions are never kept, so that each run of one comes by here.  Savepoints are the user's own, and
-- noted for fastpg.pg.claimed_rows.  What should get by all the same is noticed by its command tag (Connection:outcome).
--
-- PostgreSQL manual: BEGIN, COMMIT, ROLLBACK, PREPARE TRANSACTION, SAVEPOINT.

local ipairs = ipairs

local claimed_rows = require "fastpg.pg.claimed_rows"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local savepoint = require "fastpg.pg.savepoint"

local transaction_control = {}

local BEGINS = { BEGIN = true, START = true }
local ENDS = { COMMIT = true, END = true, ROLLBACK = true, ABORT = true }
local NOISE = { WORK = true, TRANSACTION = true }

-- Behind ROLLBACK, RELEASE: the words without those that say nothing.
local function rest(words)
  local at = NOISE[words[2]] and 3 or 2
  return words[at], at
end

-- What one statement does to transactions: "begins", "ends", or the method of claimed_rows for a savepoint and its name.
local function effect(one)
  local verb, words = one.verb, one.words
  if BEGINS[verb] then return "begins" end
  if verb == "PREPARE" then return words[2] == "TRANSACTION" and not one.inner and "ends" or nil end
  if verb == "SAVEPOINT" then return "savepoint", words[2] end
  if verb == "RELEASE" then return "release", words[words[2] == "SAVEPOINT" and words[3] and 3 or 2] end
  if not ENDS[verb] then return nil end
  if words[2] == "PREPARED" then return nil end -- the server refuses it in any transaction
  local word, at = rest(words)
  if verb ~= "ROLLBACK" or word ~= "TO" then return "ends" end
  return "rolled_back", words[words[at + 1] == "SAVEPOINT" and words[at + 2] and at + 2 or at + 1]
end

-- The effects of a text, in order; nil where it has none, as nearly all.
local function effects(conn, sql)
  local list
  for _, one in ipairs(core.statements(sql, conn.standard_strings)) do
    local what, name = effect(one)
    if what then
      list = list or {}
      list[#list + 1] = { what = what, verb = one.verb, name = name and name:lower() or "" }
    end
  end
  return list
end

--- Whether the text has to do with transactions: then its statement is not kept.
---@param conn table
---@param sql string
---@return boolean
function transaction_control.is_control(conn, sql) return effects(conn, sql) ~= nil end

local function refuse(one, where, way_out)
  if one.what == "begins" then
    errors.raise("active_sql_transaction", ("%s inside %s: db:transaction nests, as a savepoint"):format(one.verb, where),
      { sqlstate = "25001" })
  end
  errors.raise("invalid_transaction_termination", ("%s inside %s would leave half of it: %s"):format(one.verb, where, way_out),
    { sqlstate = "2D000" })
end

-- Savepoints under our own names would be taken for ours; going back beyond one of ours would take that away.
---@param made table<string, boolean>  names of the savepoints that the text itself makes before
local function check_savepoint(conn, one, made)
  if one.name:sub(1, 3) == 'u&"' then
    errors.raise("feature_not_supported",
      ("%s: which savepoint U&\"…\" names is not read here: write its name plainly"):format(one.verb), { sqlstate = "0A000" })
  end
  if savepoint.is_ours(one.name) then
    errors.raise("invalid_argument", ("%s: names of savepoints that begin with fastpg_ are fastpg's own"):format(one.verb))
  end
  if one.what == "savepoint" then
    made[one.name] = true
  elseif not made[one.name] and claimed_rows.is_outside(conn, one.name) then
    errors.raise("invalid_savepoint_specification",
      ("%s: the savepoint lies outside of the db:transaction that this runs in"):format(one.verb), { sqlstate = "3B001" })
  end
end

local function is_savepoint(one) return one.what ~= "begins" and one.what ~= "ends" end

local WAY_OUT = "it ends with its function, by an error with a rollback; what db:begin gives has tx:commit() and tx:rollback()"

--- Looks at a text that is about to be sent inside a transaction of ours; raises where it must not be.
function transaction_control.check(conn, sql)
  local list = effects(conn, sql)
  if not list then return end
  local made = {}
  for _, one in ipairs(list) do
    if not is_savepoint(one) then refuse(one, "a transaction that fastpg opened", WAY_OUT) end
    check_savepoint(conn, one, made)
  end
  for _, one in ipairs(list) do claimed_rows[one.what](conn, one.name) end
end

--- Looks at a text of a batch: that is all or nothing, whether a transaction is around it or not; but one that the
--- user began by hand is the user's to end (fastpg.pg.batch puts no savepoint around such a batch).
function transaction_control.check_batch(conn, sql)
  if conn.in_transaction then return transaction_control.check(conn, sql) end
  if conn.c:transaction_status() ~= "idle" then return end
  for _, one in ipairs(effects(conn, sql) or {}) do
    if not is_savepoint(one) then refuse(one, "a batch, which is all or nothing,", "run it before or after the batch") end
  end
end

return transaction_control
