-- SPDX-License-Identifier: MIT
--
-- once: db:transaction{ id = … }: a transaction that happens once, however often it is asked for.
--
-- Its key is a row that is inserted first: a second runner of the same key waits there for the first one to end, and finds
-- what that gave, or that it was rolled back and the key is free.  The results stand in the same row, written right before
-- COMMIT: they are there exactly when all else of the transaction is.  So who never heard how a COMMIT ended asks again.
--
-- What comes back is JSON: a result that JSON does not give back as it was is refused before anything is committed.
--
-- PostgreSQL manual: INSERT, "ON CONFLICT Clause" (speculative insertion waits for who inserts the same key).

local error, getmetatable, ipairs, pairs, pcall, rawequal, rawget, tostring, type =
  error, getmetatable, ipairs, pairs, pcall, rawequal, rawget, tostring, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local retry = require "fastpg.pool.retry"

local pack, unpack = compat.pack, compat.unpack

local once = {}

--- For how many days a key is known at least.
once.DAYS = 7
local PRUNE_EVERY = 3600 -- seconds
local PRUNE_MOST = 1000
local MOST_CONFLICTS = 100 -- of snapshots that are older than a key which somebody else has just committed

local MAKE = [[CREATE SCHEMA IF NOT EXISTS fastpg; CREATE TABLE IF NOT EXISTS fastpg.transactions (]]
  .. [[scope pg_catalog.text NOT NULL, id pg_catalog.text NOT NULL, results pg_catalog.json, ]]
  .. [[done_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(), ]]
  .. [[PRIMARY KEY (scope, id)); CREATE INDEX IF NOT EXISTS transactions_done_at ON fastpg.transactions (done_at)]]
local ALLOW = "GRANT USAGE ON SCHEMA fastpg TO …; GRANT SELECT, INSERT, UPDATE, DELETE ON fastpg.transactions TO …"

local CLAIM = "INSERT INTO fastpg.transactions (scope, id) VALUES ($1, $2) ON CONFLICT (scope, id) DO NOTHING"
-- The lock makes this a transaction that writes: its COMMIT, too, waits for a synchronous standby, which then has what was found.
local FIND = "SELECT results::pg_catalog.text FROM fastpg.transactions WHERE scope = $1 AND id = $2 FOR UPDATE"
local KEEP = "UPDATE fastpg.transactions SET results = $3::pg_catalog.text::pg_catalog.json WHERE scope = $1 AND id = $2"
local PRUNE = ("DELETE FROM fastpg.transactions WHERE ctid = ANY (ARRAY(SELECT ctid FROM fastpg.transactions "
  .. "WHERE done_at < pg_catalog.now() - interval '%d days' LIMIT %d FOR UPDATE SKIP LOCKED))"):format(once.DAYS, PRUNE_MOST)

-- ---- the key --------------------------------------------------------------------------------

local function part(value)
  local kind = type(value)
  if kind == "string" and value ~= "" then return value end
  if kind == "number" and value % 1 == 0 and math.abs(value) <= 2 ^ 53 then return ("%d"):format(value) end
  errors.argument("transaction: id is a text or a whole number, or { scope, key } of such, got %s",
    value == "" and "an empty text" or kind)
end

--- The key of what the option `id` is.
---@param id string|integer|{ [1]: string|integer, [2]: string|integer }
---@return string scope
---@return string key
function once.key(id)
  if type(id) ~= "table" then return "", part(id) end
  local scope, key = rawget(id, 1), rawget(id, 2)
  for name in pairs(id) do
    if name ~= 1 and name ~= 2 then errors.argument "transaction: id is a text or a whole number, or { scope, key } of such" end
  end
  return part(scope), part(key)
end

-- ---- results as JSON ------------------------------------------------------------------------

local kind_of = math.type or type

-- Whether b, read back, is what a was.  (What contains itself to_json has refused before.)
local function is_same(a, b)
  if rawequal(a, b) then return kind_of(a) == kind_of(b) end
  if type(a) == "cdata" and type(b) == "cdata" then return tostring(a) == tostring(b) end
  if type(a) == "number" and type(b) == "number" then return a == b and kind_of(a) == kind_of(b) end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  local mt, other = getmetatable(a), getmetatable(b)
  if mt ~= other and not (mt == nil and other == core.array_mt) then return false end
  for key, value in pairs(a) do
    if not is_same(value, rawget(b, key)) then return false end
  end
  for key in pairs(b) do
    if rawget(a, key) == nil then return false end
  end
  return true
end

local function describe(value)
  local mt = getmetatable(value)
  local name = type(mt) == "table" and rawget(mt, "__name")
  return type(name) == "string" and name or type(value)
end

-- Each result as a list of one or none: a nil is no null.
local function encode(results)
  local parts = {}
  for i = 1, results.n do
    local value = results[i]
    if value == nil then
      parts[i] = "[]"
    else
      local ok, text = pcall(core.to_json, value)
      if not ok or not is_same(value, core.from_json("[" .. text .. "]")[1]) then
        errors.argument("transaction: with an id its results are kept as JSON, which does not give back result %d (%s): "
          .. "return plain values, as the key of a row", i, describe(value))
      end
      parts[i] = "[" .. text .. "]"
    end
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function decode(text)
  local list = core.from_json(text)
  local results = { n = #list }
  for i, one in ipairs(list) do results[i] = one[1] end
  return results
end

-- ---- in the transaction ---------------------------------------------------------------------

-- One way through db:transaction: { db =, scope =, key =, fn =, problem = of the claim that failed }
local function claim(job)
  local bound = job.bound
  if bound:run(CLAIM, fetch.count, nil, job.scope, job.key) == 1 then return nil end
  local text = bound:run(FIND, fetch.value, nil, job.scope, job.key)
  if text == nil then -- it was pruned in between
    errors.raise("serialization_failure", "transaction: its id was there and is gone again", { sqlstate = "40001" })
  end
  return decode(text)
end

local function body(job, ...)
  local _, bound = job.db:bound_connection()
  job.bound = bound
  local ok, found = pcall(claim, job)
  if not ok then
    job.problem = found
    error(found, 0)
  end
  if found then return unpack(found, 1, found.n) end
  local results = pack(job.fn(...))
  bound:run(KEEP, fetch.count, nil, job.scope, job.key, encode(results))
  return unpack(results, 1, results.n)
end

-- ---- around it ------------------------------------------------------------------------------

-- The table for the keys, apart from any transaction of the user's.  Who makes it at the same time as others may be told
-- that one of its parts is there already.
local function make_table(db)
  local ok, err = pcall(db.simple, db, MAKE)
  if ok or errors.is(err, "23505") or errors.is(err, "42P07") or errors.is(err, "42P06") then return end
  if not errors.is(err, "42501") then error(err, 0) end
  errors.raise("insufficient_privilege", "transaction: an id needs a table that this role may not make or use; let an owner "
    .. "of the database run: " .. MAKE .. "; " .. ALLOW, { sqlstate = "42501" })
end

local function prune(db)
  local root = db.root
  local now = core.clock()
  if root.pruned and now - root.pruned < PRUNE_EVERY then return end
  root.pruned = now
  pcall(db.run, db, PRUNE, fetch.count, nil) -- whoever comes next does it
end

local function is_missing(err) return errors.is(err, "42P01") or errors.is(err, "3F000") end

--- Runs fn in a transaction that happens once.
---@param db table  a route
---@param id any  the option
---@param fn function
---@param run fun(body: function): ...  runs a function in a transaction
---@param times integer  how often it may be run again (fastpg.pool.retry)
---@return ...  what fn returned, now or the first time
function once.run(db, id, fn, run, times)
  local scope, key = once.key(id)
  local made, conflicts, tries = false, 0, retry.new(db.root.config, times)
  while true do
    local job = { db = db, scope = scope, key = key, fn = fn }
    local results = pack(pcall(run, function(...) return body(job, ...) end))
    if results[1] then
      prune(db)
      return unpack(results, 2, results.n)
    end
    local err, problem = results[2], job.problem
    if problem and not made and (is_missing(problem) or errors.is(problem, "42501")) then
      made = true
      make_table(db)
    elseif problem and errors.is(problem, "40001") and conflicts < MOST_CONFLICTS then
      conflicts = conflicts + 1
    elseif not tries:after(err, true) then
      error(err, 0)
    end
  end
end

return once
