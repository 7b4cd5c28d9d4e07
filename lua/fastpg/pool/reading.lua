-- SPDX-License-Identifier: MIT
--
-- reading: which reads go to a replica, and what they see there: the methods of a route that know of several servers
-- (fastpg.pool.servers).
--
-- A reader sees what it wrote itself, and what those wrote whose end it waited for (fastpg.host.trail): every connection to
-- the primary that comes back counts as a write, unless all that ran on it was READ ONLY.  Where the WAL was after the write
-- is asked at the first read behind it, and a replica that is not so far is waited for, `staleness` seconds at most; then the
-- primary is asked.
--
-- PostgreSQL manual: "Hot Standby", "Handling Query Conflicts".

local error, next, pcall, select = error, next, pcall, select

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local later = require "fastpg.base.later"
local options = require "fastpg.base.options"
local trail = require "fastpg.host.trail"
local wait = require "fastpg.host.wait"

local probe = later.module(function() return require "fastpg.pg.probe" end)

local pack, unpack = compat.pack, compat.unpack

local reading = {}

local STALENESS = 0.1 -- seconds
local TRIES = 2 -- replicas

local READ_OPTIONS = options.declare("db:read", {
  at_least = options.text, staleness = options.duration,
  isolation = options.one_of("read committed", "repeatable read"),
})

local NOTHING = {}
local routes = {}

--- Whether a plain read of this coroutine goes to a replica.
---@param marked boolean?  the query says so (q:on_replica)
function routes.reads_apart(self, marked)
  local root = self.root
  return root.servers and (marked or root.config.reads == "replica") and not self:bound_connection() and not root.closed or false
end

-- What a reader has to see: a position in the WAL; nil for anything; false where nobody can say.
local function position_for(servers, at_least, wait_for)
  local writes = trail.of(servers, servers.writes)
  if writes == 0 then return at_least end
  local position = servers:position_after(writes, wait_for)
  if not position then return false end
  return at_least and at_least > position and at_least or position
end

-- What is to be done after an error on a replica: "again" on another one, "primary", or nil where it is the reader's.
-- A standby cancels what stands in the way of its WAL; it refuses to write; and what is not there yet, or means something else
-- to that connection, may be on the primary.
local function what_next(err, conn)
  if not errors.is_error(err) then return nil end
  local code = err.sqlstate
  if conn.discarded and (errors.is(err, "connection") or conn.lost) then return "again" end
  if code == "40001" or code == "40P01" then return "again" end
  if code == "25006" or code == "55000" or code and code:sub(1, 2) == "42" then return "primary" end
  return nil
end

local function take(pool, deadline)
  local conn = pool:checkout(deadline)
  conn:limit(deadline)
  return conn
end

-- Whether it was the pool that had no connection to give: no fault of the server.
local function is_short(pool, err) return pool:is_exhausted() and (errors.is(err, "timeout") or errors.is(err, "deadlock")) end

-- What becomes of a connection that was not to be had: raises where it is the reader's matter.
local function not_taken(self, server, pool, err, deadline)
  if errors.is(err, "canceled") or errors.is(err, "closed") or deadline and core.clock() >= deadline then error(err, 0) end
  if not is_short(pool, err) then return self.root.servers:note_away(server, err) end
  if errors.is(err, "timeout") then error(err, 0) end -- whoever has all of them waits for this reader, then: others answer
end

--- Runs fn(conn, ...), which only reads, on a replica that is as far as the reader has to see: true and its results; false
--- where none is, or it is refused there.  After a conflict with what is replayed, or a lost connection, it runs once more
--- elsewhere.
---@param needs { at_least: number?, staleness: number? }?
---@param lent fun(root: table, conn: table, fn: function, ...): ...  runs fn and sees to the connection (fastpg.pool.route)
function reading.try(self, needs, lent, deadline, fn, ...)
  local root = self.root
  local servers = root.servers
  local wait_for = wait.pick(root.config.loop).wait
  needs = needs or NOTHING
  local position = position_for(servers, needs.at_least, wait_for)
  local tried = {}
  for _ = 1, position == false and 0 or TRIES do
    local server = servers:replica(position, needs.staleness or STALENESS, tried, wait_for)
    if not server then break end
    tried[server] = true
    local pool = root:replica_pool(server)
    local ok, conn = pcall(take, pool, deadline)
    if ok then
      local results = pack(pcall(lent, root, conn, fn, ...))
      if results[1] then return unpack(results, 1, results.n) end
      local next_step = what_next(results[2], conn)
      if not next_step then error(results[2], 0) end
      if conn.discarded then server.asked = -math.huge end
      if next_step == "primary" then break end
    else
      not_taken(self, server, pool, conn, deadline)
    end
  end
  return false
end

local function or_primary(self, fn, n, args, ok, ...)
  if ok then return ... end
  return self:on_connection(fn, unpack(args, 1, n))
end

--- The same; what no replica answers runs on the primary.
function reading.run(self, needs, lent, deadline, fn, ...)
  return or_primary(self, fn, select("#", ...), { ... }, reading.try(self, needs, lent, deadline, fn, ...))
end

--- The options of db:read.
function reading.options(opts)
  opts = options.check(opts, READ_OPTIONS, "read")
  local position = opts.at_least and probe.position(opts.at_least)
  if opts.at_least and not position then
    errors.argument "read: at_least is what db:lsn() gave, a position in the WAL as 16/B374D848"
  end
  return { at_least = position, staleness = opts.staleness, isolation = opts.isolation }
end

local POSITION = [[SELECT CAST(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
  ELSE pg_catalog.pg_current_wal_insert_lsn() END AS pg_catalog.text)]]

--- db:lsn(): how far the primary's WAL is now: all that was committed before, by anybody, is in it.
---@return string
function routes.lsn(self)
  local root = self:connected().root
  local servers = root.servers
  if not servers or self:bound_connection() then return self:run(POSITION, fetch.value) end
  self:live_pool()
  local primary = servers.primary
  if primary and servers:look(primary, wait.pick(root.config.loop).wait, true) and servers.primary == primary then
    return probe.text(primary.position)
  end
  return self:run(POSITION, fetch.value)
end

--- Adds them to the methods of routes.
function reading.extend(Route)
  for name, method in next, routes do Route[name] = method end
end

return reading
