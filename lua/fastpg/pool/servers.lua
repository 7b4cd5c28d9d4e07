-- SPDX-License-Identifier: MIT
--
-- servers: which of the servers that were named is the primary, how far the others are, and which connections still count.
--
--   look (a question to one server, by a connection of its own)  ──▶ role, timeline, position in the WAL
--      │ a primary on a higher timeline           │ the primary is a standby now      │ no answer
--      ▼                                          ▼                                   ▼
--   it is the primary from here on: connections   it has none: the next write         away: asked again after a pause,
--   to the one before are closed                  looks for another                   longer each time
--
-- Nobody looks by a timer: whoever takes a connection, reads from a replica, or waits long for an answer looks
-- (fastpg.pool.looking).  A server that was a primary on a lower timeline is never written to again: what it would confirm is
-- lost for the others.
--
-- PostgreSQL manual: "High Availability, Load Balancing, and Replication"; timelines in "Continuous Archiving".

local error, ipairs, pairs, pcall, setmetatable, tostring = error, ipairs, pairs, pcall, setmetatable, tostring

local core = require "fastpg.core"
local Connection = require "fastpg.pg.connection"
local conninfo = require "fastpg.pg.conninfo"
local errors = require "fastpg.base.errors"
local looking = require "fastpg.pool.looking"
local Pool = require "fastpg.pool.pool"
local probe = require "fastpg.pg.probe"
local random = require "fastpg.base.random"
local server_list = require "fastpg.pg.server_list"
local trail = require "fastpg.host.trail"
local wait = require "fastpg.host.wait"

local Servers = {}
Servers.__index = Servers
looking.extend(Servers)

local AGE = looking.AGE

local ASK_SECONDS = 1 -- for a new connection's server to say what it is
local PAUSE, LONGEST_PAUSE = 0.25, 5 -- seconds until one that is away is asked again
local SEEK_PAUSE = 0.1 -- seconds between two looks for a primary
local SAMPLE_EVERY, MOST_SAMPLES = 0.25, 2000 -- of where the primary was when: minutes of it, for the lag
local MOST_MARKS = 100 -- of where it was after which writes, for those who read them
local ALIKE = 1.5 -- round trips that differ by less say nothing

--- Seconds without a byte from a server until it is looked after.
Servers.SILENCE = 1

--- The servers of a config; nil where it names no several (fastpg.pg.server_list).
---@param config table
function Servers.new(config)
  local list = server_list.read(config, config.what)
  if not list then return nil end
  for _, server in ipairs(list) do
    server.role, server.timeline, server.position, server.asked, server.seen = false, 0, 0, -math.huge, -math.huge
    server.looking, server.beside_until = false, -math.huge -- (fastpg.pool.looking)
    server.doubted = false -- it did not take a write
    server.away_until, server.seek_after, server.pause, server.answers, server.trip = 0, 0, PAUSE, 0, 0
    server.silent_since, server.problem, server.pool, server.suspected = false, false, false, -math.huge
  end
  return setmetatable({
    config = config, list = list, primary = false, last_primary = false, timeline = 0, failovers = 0, writes = 0,
    samples = {}, -- { time =, position = } of the primary: how far it was, and when
    marks = {}, -- { writes =, position = }: how far it was, and which writes that covers
    draw = random.source(), timeout = config.failover_timeout or conninfo.FAILOVER_TIMEOUT,
    closed = false, pool = false, others = false, on_change = false, on_demoted = false, changes = {},
  }, Servers)
end

--- Connections of this pool are to the primary from here on.
---@param others table?  the servers of the same database by another way: what is written by this one is read there
function Servers:serve(pool, others)
  self.pool, pool.is_plain, pool.servers, self.others = pool, false, self, others or false
  pool.opener = function(wait_for, deadline, place) return self:open(wait_for, deadline, place) end
end

-- ---- roles ----------------------------------------------------------------------------------

local function set_role(self, server, role)
  local before = server.role
  if before == role then return end
  server.role = role
  if self.on_change then self.changes[#self.changes + 1] = { server = server.name, role = role, before = before or nil } end
end

-- Tells of what changed, when all of it has.
local function tell(self)
  local changes = self.changes
  if #changes == 0 then return end
  self.changes = {}
  for _, change in ipairs(changes) do self.on_change(change) end
end

-- Connections to a server that is not what they were made for.
local function close_connections(pool, is_lost, why)
  for i = #pool.idle, 1, -1 do
    local conn = pool.idle[i]
    if is_lost(conn) then
      table.remove(pool.idle, i)
      pool:discard(conn)
    end
  end
  local lent = {}
  for conn in pairs(pool.lent) do lent[#lent + 1] = conn end
  for _, conn in ipairs(lent) do
    if is_lost(conn) then conn:lose(why) end
  end
end

local function demote(self, server, role)
  set_role(self, server, role)
  if self.primary ~= server then return end
  self.primary = false
  if not self.pool then return end
  local why = server.name .. " is not the primary any more"
  close_connections(self.pool, function(conn) return conn.server == server end, why)
  if self.on_demoted then self.on_demoted(server, why) end
end

-- What another way to the same database has found.
local function doubt_all(self, timeline)
  if timeline <= self.timeline then return end
  for _, server in ipairs(self.list) do server.seen, server.asked, server.doubted = -math.huge, -math.huge, true end
end

local function promote(self, server, timeline)
  local before = self.primary
  if before and before ~= server then demote(self, before, "former") end
  if self.last_primary ~= server then self.samples, self.marks = {}, {} end -- the new one's WAL goes on from elsewhere
  if server.was_primary ~= timeline and self.timeline > 0 then self.failovers = self.failovers + 1 end
  self.primary, self.last_primary, self.timeline, server.was_primary = server, server, timeline, timeline
  if self.others then doubt_all(self.others, timeline) end
  set_role(self, server, "primary")
end

local function sample(self, position, writes)
  local samples, marks, now = self.samples, self.marks, core.clock()
  local last = samples[#samples]
  if not last or now - last.time >= SAMPLE_EVERY then
    samples[#samples + 1] = { time = now, position = position }
    if #samples > MOST_SAMPLES then table.remove(samples, 1) end
  end
  last = marks[#marks]
  if last and last.writes >= writes then return end
  marks[#marks + 1] = { writes = writes, position = position }
  if #marks > MOST_MARKS then table.remove(marks, 1) end
end

local function note(self, server, role, timeline, position, writes)
  server.asked, server.position, server.problem, server.silent_since = core.clock(), position, false, false
  server.doubted = false
  server.away_until, server.seek_after, server.pause = 0, 0, PAUSE
  if role ~= "primary" then return demote(self, server, "standby") end
  server.timeline = timeline
  if timeline < self.timeline then return demote(self, server, "former") end
  if self.primary ~= server then
    -- two of one timeline: copies of one another, of which the first to be found is the one
    if self.primary and timeline == self.timeline then return set_role(self, server, "former") end
  end
  if self.primary ~= server or timeline > self.timeline then promote(self, server, timeline) end
  set_role(self, server, "primary")
  if writes then sample(self, position, writes) end
end

--- Notes what a server says of itself.
---@param writes integer?  how many writes were over before it was asked
function Servers:note(server, role, timeline, position, writes)
  note(self, server, role, timeline, position, writes)
  tell(self)
end

--- Notes that a server does not answer.
---@param took number?  seconds that it took to find that out
function Servers:note_away(server, err, took)
  local now = core.clock()
  server.seek_after = now + math.max(SEEK_PAUSE, took or 0)
  server.problem = tostring(errors.is_error(err) and err.message or err)
  server.away_until, server.pause = now + server.pause, math.min(2 * server.pause, LONGEST_PAUSE)
  server.silent_since = server.silent_since or now
  if self.primary ~= server then set_role(self, server, "away") end
  tell(self)
end

-- ---- the primary ----------------------------------------------------------------------------

-- Asks one after the other until a primary answers, the last one there was first.  A server that did not answer is asked again
-- when as much time is over as that took.
local function seek(self, wait_for)
  local last = self.primary or self.last_primary
  for i = 0, #self.list do
    local server
    if i == 0 then server = last else server = self.list[i] end
    if server and (i == 0 or server ~= last) and core.clock() >= server.seek_after then
      self:look(server, wait_for)
      if self.primary and not self.primary.silent_since then return end
    end
  end
end

-- What each of them is, for a message.
local function problems(self)
  local list = {}
  for i, server in ipairs(self.list) do
    list[i] = ("%s: %s"):format(server.name, server.problem or server.role == "primary" and "the primary, which takes too long"
      or server.role == "standby" and "a standby"
      or server.role == "former" and "was the primary, and another one is now" or "not asked")
  end
  return table.concat(list, "; ")
end

local function open_to(self, server, wait_for, deadline, place)
  local limit = core.clock() + server.config.connect_timeout
  local conn = Connection.open(server.config, wait_for, deadline and math.min(deadline, limit) or limit, place)
  conn.server, conn.servers = server, self
  return conn
end

-- A connection to the server that is taken for the primary; nil where it is none.
local function connect(self, server, wait_for, deadline, place)
  local ok, conn = pcall(open_to, self, server, wait_for, deadline, place)
  if ok then
    local role, timeline, position
    ok, role, timeline, position = pcall(probe.ask, conn.c, wait_for, core.clock() + ASK_SECONDS)
    if ok then
      self:note(server, role, timeline, position)
      if self.primary == server then return conn end
    end
    conn:close()
    if ok then return nil end
    conn = role
  end
  looking.raise_ours(conn)
  if not errors.is(conn, "connection") and not errors.is(conn, "timeout") then error(conn, 0) end
  if errors.is(conn, "28") or errors.is(conn, "3D000") then error(conn, 0) end -- a wrong password is so everywhere
  if deadline and core.clock() >= deadline then error(conn, 0) end -- the caller had no more time, which is no fault of its
  self:note_away(server, conn)
  return nil
end

--- A new connection to the primary, as Pool wants it: where there is none it is waited for, `failover_timeout` at most, but
--- not when there never was one.
function Servers:open(wait_for, deadline, place)
  local began, known = core.clock(), self.timeline > 0
  local ends = began + (known and math.min(self.timeout, self.config.acquire_timeout or self.timeout) or 0)
  if deadline and deadline < ends then ends = deadline end
  while true do
    local server = self.primary
    if server and not server.silent_since then
      local conn = connect(self, server, wait_for, deadline, place)
      if conn then
        local ok, err = pcall(self.watch, self, server, deadline)
        if ok and self.primary == server then return conn end
        conn:close()
        if not ok then error(err, 0) end
      end
    end
    seek(self, wait_for)
    local left = ends - core.clock()
    if not self.primary or self.primary.silent_since then
      if left <= 0 then break end
      wait_for(nil, nil, math.min(SEEK_PAUSE, left))
    elseif left <= 0 and known then
      break
    end
    if self.closed then errors.raise("closed", "the database was closed") end
  end
  if deadline and core.clock() >= deadline then
    errors.raise("timeout", "no primary was found in the time there was: " .. problems(self))
  end
  errors.raise("connection", ("none of the servers is the primary%s: %s"):format(
    known and (" after %.3g seconds"):format(core.clock() - began) or "", problems(self)))
end

-- The server says so when that changes; a pooler says what was so when it first connected.
local function is_standby(conn) return conn.in_person and conn.c:parameter "in_hot_standby" == "on" end

--- Whether an idle connection may be used: its server is still the primary, or a replica that answers.
---@param deadline number?  of who is to have it
function Servers:trusts(conn, deadline)
  local server = conn.server
  if conn.pool ~= self.pool then return not server.silent_since end
  if server.doubted and server == self.primary then self:look(server, wait.pick(self.config.loop).wait, false, deadline) end
  self:watch(server, deadline)
  return server == self.primary and not server.silent_since and not is_standby(conn)
end

--- A connection that was given back: one whose server turned out to take no writes is dropped, and so is what else there is.
function Servers:returned(conn)
  local server, pool = conn.server, conn.pool
  if pool ~= self.pool then return end
  local written = self.others or self
  if not conn.reads_only then
    written.writes = written.writes + 1
    trail.note(written, written.writes)
    server.doubted = server.doubted or conn.doubted
  end
  conn.reads_only, conn.doubted = false, false
  if not conn.c:usable() then
    server.suspected, server.asked = core.clock(), -math.huge
  elseif is_standby(conn) then
    demote(self, server, "standby")
    tell(self)
  end
end

--- Nothing has come for a while: whether the server is still there, and still the one, is found out beside.  Raises, by
--- closing the connection (Connection:lose), where it is not.
---@param conn table
function Servers:silent(conn)
  local server = conn.server
  local wait_for = conn.wait
  if self:look(server, wait_for) then return end
  if conn.pool ~= self.pool and conn.c:usable() then return conn:lose(server.name .. " does not answer") end -- others do
  self:look_around(wait_for, AGE)
  local since = server.silent_since
  if conn.c:usable() and since and core.clock() - since >= self.timeout then
    close_connections(conn.pool, function(other) return other.server == server end,
      ("%s has not answered for %.3g seconds"):format(server.name, core.clock() - since))
    if conn.c:usable() then conn:lose(server.name .. " does not answer") end
  end
end

-- ---- replicas -------------------------------------------------------------------------------

--- Seconds that a standby is behind: since when the primary has been beyond where it is, by the samples there are.
function Servers:lag(server)
  local samples, since = self.samples, nil
  for i = #samples, 1, -1 do
    if samples[i].position <= server.position then break end
    since = samples[i].time
  end
  return since and math.max(server.asked - since, 0) or 0
end

-- Where the primary was when at least so many writes were over; nil: that is not known yet.
local function position_of(self, writes)
  local found
  for i = #self.marks, 1, -1 do
    local one = self.marks[i]
    if one.writes < writes then break end
    found = one.position
  end
  return found
end

--- The position that a reader of these writes has to see; nil where the primary does not say.
---@param writes integer  the number of its last write
function Servers:position_after(writes, wait_for)
  if self.primary then self:watch(self.primary) end
  local position = position_of(self, writes)
  if position then return position end
  local primary = self.primary
  if not primary or not self:look(primary, wait_for, true) or self.primary ~= primary then return nil end
  return position_of(self, writes)
end

local function is_usable(self, server, tried)
  if server.role ~= "standby" or server.silent_since or tried[server] then return false end
  local most = self.config.max_lag
  return not most or self:lag(server) <= most
end

-- Of two, the one that has less to do; of equals the one that answers sooner.
local function better(a, b)
  local x, y = a.pool and a.pool.size - #a.pool.idle or 0, b.pool and b.pool.size - #b.pool.idle or 0
  if x ~= y then return x < y and a or b end
  return a.trip <= ALIKE * b.trip and a or b
end

local function choose(self, list)
  local n = #list
  if n <= 1 then return list[1] end
  local i, j = self.draw(n), self.draw(n - 1)
  if j >= i then j = j + 1 end
  return better(list[i], list[j])
end

local function candidates(self, position, tried)
  local all, ready = {}, {}
  for _, server in ipairs(self.list) do
    if is_usable(self, server, tried) then
      all[#all + 1] = server
      if not position or server.position >= position then ready[#ready + 1] = server end
    end
  end
  return all, ready
end

--- A replica to read from that has got so far, waited for if need be; nil: the primary is to be asked.
---@param position number?  what it has to have replayed
---@param staleness number  seconds to wait for that
---@param tried table<table, true>  those that failed this reader
function Servers:replica(position, staleness, tried, wait_for)
  self:look_around(wait_for, AGE)
  local all, ready = candidates(self, position, tried)
  local ends, pause = core.clock() + staleness, 0.001
  while #ready == 0 and #all > 0 do
    for _, server in ipairs(all) do self:look(server, wait_for) end
    all, ready = candidates(self, position, tried)
    if #ready > 0 or core.clock() >= ends then break end
    wait_for(nil, nil, math.max(0, math.min(pause, ends - core.clock())))
    pause = math.min(2 * pause, 0.02)
  end
  return choose(self, ready)
end

--- The pool of a replica.
---@param on_open fun(conn: table)
---@param on_ddl fun(change: table?, conn: table?)
function Servers:pool_of(server, on_open, on_ddl)
  local pool = server.pool
  if pool then return pool end
  local config = setmetatable({ min_size = 0, max_size = (self.config.replicas or {}).max_size or self.config.max_size },
    { __index = server.config })
  pool = Pool.new(config, on_open, on_ddl)
  pool.homes, pool.is_plain, pool.servers = self.pool.homes, false, self
  pool.opener = function(wait_for, deadline, place) return open_to(self, server, wait_for, deadline, place) end
  server.pool = pool
  return pool
end

--- What is to be known of each: { name, role, answers, lag (seconds), timeline, position, size, in_use }.
function Servers:stats()
  local list = {}
  for i, server in ipairs(self.list) do
    local pool = server == self.primary and self.pool or server.pool
    list[i] = {
      name = server.name, role = server.role or "unknown", answers = not server.silent_since and server.asked > 0,
      lag = server.role == "standby" and self:lag(server) or nil, timeline = server.timeline > 0 and server.timeline or nil,
      position = server.asked > 0 and probe.text(server.position) or nil,
      size = pool and pool.size or 0, in_use = pool and pool.size - #pool.idle or 0,
    }
  end
  return list
end

--- Calls fn with each pool of replicas.
function Servers:each_pool(fn)
  for _, server in ipairs(self.list) do
    if server.pool then fn(server.pool) end
  end
end

function Servers:close(timeout)
  self.closed = true
  for _, server in ipairs(self.list) do
    probe.close(server) -- (who is asking it has that connection)
  end
  self:each_pool(function(pool) pool:close(timeout) end)
end

return Servers
