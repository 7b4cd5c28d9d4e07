-- SPDX-License-Identifier: MIT
--
-- looking: when servers are asked what they are (fastpg.pool.servers makes something of what they say): methods of Servers.
--
-- One is asked by one coroutine at a time, by a connection of its own; who wants to know, too, waits for that answer.  Who
-- asks may never go on (a light thread that was killed, a task whose loop was left): after a while, or where nothing else can
-- run at all, somebody else asks by another connection.
--
-- Before a connection to the primary is used, the others have been asked within the last second: one of them may be the
-- primary by now, while this one, which knows nothing of it, goes on to take writes.  Under a loop they are asked beside, by
-- coroutines of their own, from half a second on, so that who writes all the time waits for nothing; where half a second more
-- is over, and in a plain script, they are waited for.  No timer runs.

local error, ipairs, pairs, pcall = error, ipairs, pairs, pcall

local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local probe = require "fastpg.pg.probe"
local wait = require "fastpg.host.wait"

local looking = {}

local LOOK_SECONDS = 1 -- a server that does not say what it is within this time is away
local EARLY = 0.5 -- seconds after which one is asked beside
local SHARE = 10 -- a plain script is held up by one that is away for no more than a tenth of its time
local TICK = 0.001

--- Seconds for which an answer is fresh enough to write, or to choose a replica by.
looking.AGE = 1

local AGE = looking.AGE

-- What says nothing of the server: the task was canceled, the database closed, memory short, Ctrl-C.
function looking.raise_ours(err)
  if not errors.is_error(err) or errors.is(err, "canceled") or errors.is(err, "closed") then error(err, 0) end
end

-- ---- one server -----------------------------------------------------------------------------

local methods = {}

-- Whether nobody asks it, or nobody who will go on.
local function is_free(self, server)
  local one = server.looking
  return not one or core.clock() >= one.ends or not wait.pick(self.config.loop).wake
end

-- What was found counts from when it was asked for.
local function conclude(server, one)
  server.looking, server.seen = false, one.began
  server.answers = server.answers + 1
end

-- Asks it; `deadline` is the caller's.
local function ask(self, server, wait_for, deadline)
  local began, writes = core.clock(), self.writes
  local limit = began + LOOK_SECONDS
  local one = { began = began, ends = limit + LOOK_SECONDS }
  local ok, role, timeline, position
  server.looking = one
  defer.undo(function()
    if server.looking == one then server.looking = false end
  end, function()
    ok, role, timeline, position = pcall(probe.look, server, wait_for, deadline and math.min(deadline, limit) or limit)
    if not ok then looking.raise_ours(role) end
  end)
  if self.closed then probe.close(server) end
  if server.looking ~= one then return end -- another one took its place: this is old
  local took = core.clock() - began
  if not ok and deadline and began + took >= deadline then
    server.looking = false
    error(role, 0) -- the caller had no more time, which is no fault of the server
  end
  conclude(server, one)
  if not ok then return self:note_away(server, role, took) end
  server.trip = server.trip == 0 and took or 0.8 * server.trip + 0.2 * took
  self:note(server, role, timeline, position, writes)
end

--- Asks a server what it is; false where it does not say.  Another coroutine may be asking it: then its answer is waited for.
---@param wait_for fun(fd: integer?, mode: string?, timeout: number?): string?
---@param fresh boolean?  it is to be asked after this call
---@param deadline number?  raises "timeout" then
function methods:look(server, wait_for, fresh, deadline)
  local wanted = server.answers + (fresh and not is_free(self, server) and 2 or 1)
  local ends = core.clock() + 2 * LOOK_SECONDS
  while server.answers < wanted do
    if is_free(self, server) then
      ask(self, server, wait_for, deadline)
    else
      local now = core.clock()
      if deadline and now >= deadline then
        errors.raise("timeout", server.name .. " did not say what it is in the time there was")
      end
      if now >= ends then return false end
      wait_for(nil, nil, TICK)
      current_task.check()
    end
  end
  return not server.problem
end

--- Asks all that have not been asked for `age` seconds, but for those whose pause is not over.
function methods:look_around(wait_for, age)
  for _, server in ipairs(self.list) do
    local now = core.clock()
    if now - server.asked >= age and now >= server.away_until then self:look(server, wait_for) end
  end
end

-- ---- the others, before the primary is used -----------------------------------------------------

-- Asks it in a coroutine of its own; false where there can be none.
local function ask_beside(self, server, host, now)
  if server.looking or now < server.beside_until then return true end
  if not host.spawn then return false end
  server.beside_until = now + EARLY
  return (pcall(host.spawn, function()
    if server.looking or self.closed or server.seen >= now then return end
    pcall(ask, self, server, host.wait) -- (what went wrong is noted)
  end, true))
end

local function is_due(server, age, now) return now >= server.seen + age and now >= server.away_until end

-- Under a loop.
local function watch_beside(self, server, host, deadline)
  local now, is_late = core.clock(), false
  for _, other in ipairs(self.list) do
    if other ~= server and is_due(other, EARLY, now) then
      other.is_beside = ask_beside(self, other, host, now)
      is_late = is_late or is_due(other, AGE, now)
    end
  end
  if not is_late then return end
  for _, other in ipairs(self.list) do
    if other ~= server and is_due(other, AGE, now) and not (other.silent_since and other.is_beside) then
      self:look(other, host.wait, false, deadline)
    end
  end
end

-- In a plain script, which can do nothing else meanwhile.
local function watch_alone(self, server, host, deadline)
  for _, other in ipairs(self.list) do
    local now = core.clock()
    if other ~= server and is_due(other, AGE, now) and not self:look(other, host.wait, false, deadline) then
      local after = core.clock()
      other.away_until = math.max(other.away_until, after + SHARE * (after - now))
    end
  end
end

--- Before a connection to this server is used for something that may write: the others were asked within the last second, or
--- are asked now.  (One that is away can't tell: it is asked again when its pause is over, which nobody waits for under a loop.)
---@param server table
---@param deadline number?  of the caller
function methods:watch(server, deadline)
  local now, is_one_due = core.clock(), false
  for _, other in ipairs(self.list) do
    if other ~= server and is_due(other, EARLY, now) then is_one_due = true end
  end
  if not is_one_due then return end
  local host = wait.pick(self.config.loop)
  if host.wake then watch_beside(self, server, host, deadline) else watch_alone(self, server, host, deadline) end
end

--- Before a statement on a connection that somebody has had for a while: raises where its server turns out to be the primary
--- no more.
---@param conn table
function methods:attend(conn)
  if conn.pool and conn.pool ~= self.pool then return end
  self:watch(conn.server, conn.deadline)
  if conn.lost then errors.raise("connection", "the connection was given up: " .. conn.lost) end
end

--- Adds them to the methods of Servers.
function looking.extend(Servers)
  for name, method in pairs(methods) do Servers[name] = method end
end

return looking
