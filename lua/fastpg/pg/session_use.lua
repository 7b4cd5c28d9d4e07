-- SPDX-License-Identifier: MIT
--
-- session_use: what SQL leaves behind in a session, or expects to find there.
--
-- A pooler in transaction mode gives each transaction a session that others had before and will have after it.  What is set,
-- prepared, locked or made there for longer than the transaction is somebody else's afterwards, and nobody is told: a second
-- holder gets the same lock, a LISTEN hears nothing.  So texts that do so are an error on such a connection, before they
-- are sent.  A connection is one where the user said so (pooler = "transaction", `sharing` is "declared"), or where the
-- server's process is another one than the connection was told at its start (`sharing` is "noticed"): poolers invent that.
--
-- What functions and the SQL in strings do is not seen, but for locks in a DO.
--
-- PostgreSQL manual: SET, PREPARE, LISTEN, DECLARE, CREATE TABLE, "Advisory Lock Functions"; PgBouncer: "SQL feature map".

local ipairs, pairs = ipairs, pairs

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local session_use = {}

local DIRECT = "or db:acquire with direct = …"

local WAY_OUT = {
  setting = "write SET LOCAL in a transaction, db:transaction{ settings = { … } }, " .. DIRECT,
  reset = "what SET LOCAL set ends with its transaction; for a session of your own db:acquire with direct = …",
  listen = "db:listen takes the connection of direct = …",
  prepare = "give the values as arguments: fastpg prepares by itself; " .. DIRECT,
  temp = "CREATE TEMP TABLE … ON COMMIT DROP in a transaction, " .. DIRECT,
  hold = "a cursor without it, or db:each, in a transaction, " .. DIRECT,
  lock = "pg_advisory_xact_lock or db:advisory_lock in a transaction, or direct = …, which db:advisory_lock takes else",
  sequence = "in the transaction that drew the number, or INSERT … RETURNING",
  acquire = "db:transaction, or direct = …, the server's own address",
  load = "the server's session_preload_libraries, " .. DIRECT,
  process = "each transaction has another process of the server, which SELECT pg_backend_pid() in it tells",
}

-- ---- what a statement does ------------------------------------------------------------------

local SESSION_VERBS = {
  RESET = "reset", DISCARD = "reset", LISTEN = "listen", UNLISTEN = "listen", EXECUTE = "prepare", DEALLOCATE = "prepare",
  LOAD = "load",
}

local SET_IN_TRANSACTION = { LOCAL = true, TRANSACTION = true, CONSTRAINTS = true }

local function has(words, wanted, first, last)
  for i = first, math.min(last, #words) do
    if words[i]:upper() == wanted then return i end
  end
  return nil
end

local OF_SESSION = { TABLE = true, VIEW = true, SEQUENCE = true, RECURSIVE = true }
local PART_OF_ANOTHER = { INDEX = true, POLICY = true, STATISTICS = true } -- which they end with
local BEFORE_TEMP = { LOCAL = true, GLOBAL = true, REPLACE = true }

-- CREATE [OR REPLACE] [LOCAL] TEMP …, CREATE … pg_temp.name
local function is_temporary(words)
  local temp = has(words, "TEMP", 2, 5) or has(words, "TEMPORARY", 2, 5)
  if temp then -- and no name of a table, a function …
    for i = temp + 1, math.min(temp + 2, #words) do
      if OF_SESSION[words[i]:upper()] then return temp == 2 or BEFORE_TEMP[words[temp - 1]:upper()] or false end
    end
  end
  if PART_OF_ANOTHER[words[2] or ""] or has(words, "TRIGGER", 2, 5) or has(words, "RULE", 2, 5) or has(words, "INDEX", 2, 4) then
    return false
  end
  for i = 3, math.min(#words, 8) do
    if words[i]:upper():find "^PG_TEMP%." then return true end
  end
  return false
end

local function drops_itself(text) return text:lower():find "on%s+commit%s+drop" ~= nil end

local function selects_into_temporary(one, text)
  local lower = text:lower()
  if one.verb == "CREATE" or not has(one.verbs, "CREATE", 1, #one.verbs) then return false end
  return lower:find "into%s+temp" or lower:find "into%s+local%s+temp" or lower:find "into%s+pg_temp%." or false
end

-- What one statement does to the session, as its way out is called, and what it is called itself.
local function use_of(one, text)
  local verb, words = one.verb, one.words
  if SESSION_VERBS[verb] then return SESSION_VERBS[verb], verb end
  if verb == "SET" and not SET_IN_TRANSACTION[words[2] or ""] then return "setting", "SET" end
  if verb == "PREPARE" and (words[2] ~= "TRANSACTION" or one.inner) then return "prepare", "PREPARE" end
  if verb == "DECLARE" then
    local at = has(words, "HOLD", 2, #words)
    if at and words[at - 1]:upper() == "WITH" then return "hold", "DECLARE … WITH HOLD" end
  end
  if verb == "CREATE" and is_temporary(words) and not drops_itself(text) then return "temp", "a temporary object" end
  if verb and selects_into_temporary(one, text) then return "temp", "a temporary table" end
  return nil
end

local LOCKS = {}
for _, name in ipairs{
  "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared", "pg_advisory_unlock",
  "pg_advisory_unlock_shared", "pg_advisory_unlock_all",
} do
  LOCKS[name] = true
end

-- What the functions do that a text calls.  These need no more than a transaction around both: `inside`.
local function use_by_call(sql, standard)
  local lower = sql:lower()
  for _, name in ipairs(core.calls(sql, standard)) do
    if LOCKS[name] then return "lock", name end
    if name == "lastval" or name == "currval" then return "sequence", name, true end
    if name == "set_config" and lower:find "set_config%s*%([^()]*,%s*false%s*%)" then
      return "setting", "set_config(…, false)"
    end
  end
  return nil
end

local function lock_in_do(text)
  local lower = text:lower()
  for name in pairs(LOCKS) do
    if lower:find(name .. "%s*%(") then return name end
  end
  return nil
end

-- ---- what a text does -----------------------------------------------------------------------

local function find(sql, standard)
  local list = core.statements(sql, standard)
  for _, one in ipairs(list) do
    local text = sql:sub(one.first, one.last)
    local use, name = use_of(one, text)
    if use then return { use = use, name = name } end
    local lock = one.verb == "DO" and lock_in_do(text)
    if lock then return { use = "lock", name = lock .. " in DO" } end
  end
  local use, name, inside = use_by_call(sql, standard)
  return use and { use = use, name = name, inside = inside or false, together = #list > 1 } or false
end

local MOST_TEXTS = 500
local LONG = 4096 -- a text that will not come again
local texts = {}
for _, standard in ipairs{ true, false } do texts[standard] = bounded.new(MOST_TEXTS) end

--- What a text does to the session: { use =, name = }, or false.
---@param sql string
---@param standard boolean  standard_conforming_strings
---@return table|false
function session_use.of(sql, standard)
  local known = texts[standard].kept[sql]
  if known ~= nil then return known end
  known = find(sql, standard)
  return #sql > LONG and known or texts[standard]:keep(sql, known)
end

-- ---- the error ------------------------------------------------------------------------------

session_use.LOOKS = 'this looks like a transaction pooler: connect with pooler = "transaction" (with pooler = "session" '
  .. "where each client keeps one connection of the server)"

--- Raises where a connection's session may be somebody else's at the next transaction.
---@param conn table
---@param name string  what needs a session of its own
---@param use string  which way out there is
function session_use.refuse(conn, name, use)
  local sharing = conn.sharing
  if not sharing then return end
  local why = sharing == "declared" and 'behind a pooler in transaction mode (pooler = "transaction") no session is one\'s own: '
    or session_use.LOOKS .. "; there: "
  errors.raise("feature_not_supported", ("%s: %s%s"):format(name, why, WAY_OUT[use]), { sqlstate = "0A000" })
end

--- Looks at a text of the user's that is about to be sent.
---@param conn table
---@param sql string
function session_use.check(conn, sql)
  if not conn.sharing then return end
  local found = session_use.of(sql, conn.standard_strings)
  if not found then return end
  if found.inside and (found.together or conn.c:transaction_status() ~= "idle") then return end
  session_use.refuse(conn, found.name, found.use)
end

--- Before a session of one's own is used for something that is no SQL of the user's.
---@param what "acquire"|"advisory_lock"|"listen"|"migrate"
function session_use.check_own(conn, what)
  session_use.refuse(conn, what, what == "listen" and "listen" or what == "advisory_lock" and "lock" or "acquire")
end

--- The error of a database that has no direct way to its server.
---@param what string
function session_use.needs_direct(what)
  errors.raise("feature_not_supported", ('%s: behind a pooler in transaction mode (pooler = "transaction") no session is one\'s '
    .. "own: name the server itself too, direct = …%s"):format(what, what == "listen" and "" or ", or use a transaction"),
    { sqlstate = "0A000" })
end

return session_use
