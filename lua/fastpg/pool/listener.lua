-- SPDX-License-Identifier: MIT
--
-- listener: what listens for a database: its connection, who reads it, and who is told.
--
-- Who reads the socket depends on whether anything can run beside the program:
--
--   under a loop      a connection of its own, and a coroutine that reads it (the reader)
--   a script, pool    a connection of its own, read after each statement and in db:poll
--   a script, single  the connection itself, likewise; not where a pool of one resets its session (reset =)
--
-- Notifications go to an inbox first and from there to functions and to the queues of
-- db:notifications, so that a function may run statements, listen and unlisten.  When the connection
-- is lost another one listens, and everybody is told of the gap.  So they are when SQL of the user's took a
-- listening away from the connection that is shared with it (DISCARD ALL, UNLISTEN).
--
-- PostgreSQL manual: LISTEN, NOTIFY, "Asynchronous Notification".

local error, ipairs, next, pairs, pcall, setmetatable, type, xpcall =
  error, ipairs, next, pairs, pcall, setmetatable, type, xpcall

local core = require "fastpg.core"
local Connection = require "fastpg.pg.connection"
local errors = require "fastpg.base.errors"
local parking = require "fastpg.host.parking"
local session_use = require "fastpg.pg.session_use"
local task = require "fastpg.host.task"
local wait = require "fastpg.host.wait"

local Listener = {}
Listener.__index = Listener

local FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5 -- seconds between attempts to connect again
local COMMAND_TIMEOUT = 30
local LONGEST_NAME = 63

local function nothing() return nil end

-- ---- the inbox ------------------------------------------------------------------------------

local function post(self, n)
  self.inbox[#self.inbox + 1] = n
end

-- Takes what the connection has received.
local function drain(self, conn)
  local c = conn.c
  local channel, payload, pid = c:next_notification()
  while channel do
    post(self, { channel = channel, payload = payload, pid = pid })
    channel, payload, pid = c:next_notification()
  end
end

local function call(fn, n)
  local traceback
  local ok, err = xpcall(function() fn(n) end, function(err)
    traceback = debug.traceback("", 2):sub(2)
    return err
  end)
  if not ok then task.report(err, traceback) end
end

-- Whether a function is still to be called: one before it may have ended that.
local function is_listening(self, channel, fn)
  if self.stopped then return false end
  for _, other in ipairs(self.channels[channel] or {}) do
    if other == fn then return true end
  end
  return false
end

local function hand_out(self, n)
  for subscription in pairs(self.subscriptions) do
    if subscription.channel == n.channel then
      subscription.last = subscription.last + 1
      subscription[subscription.last] = n
      if subscription.entry then parking.signal(subscription.entry) end
    end
  end
  local list = {}
  for i, fn in ipairs(self.channels[n.channel] or {}) do list[i] = fn end -- it may change while they run
  for _, fn in ipairs(list) do
    if is_listening(self, n.channel, fn) then call(fn, n) end
  end
end

-- Gives out what is in the inbox; one at a time, whoever calls.
function Listener:deliver()
  if self.delivering then return 0 end
  self.delivering = true
  local count = 0
  while #self.inbox > 0 and not self.stopped do
    local inbox = self.inbox
    self.inbox = {}
    for _, n in ipairs(inbox) do
      hand_out(self, n)
      count = count + 1
    end
  end
  self.delivering = false
  return count
end

local function each_channel(self, fn)
  local seen = {}
  for channel in pairs(self.channels) do seen[channel] = true end
  for subscription in pairs(self.subscriptions) do seen[subscription.channel] = true end
  for channel in pairs(seen) do fn(channel) end
  return next(seen) ~= nil
end

-- Whether anybody listens to anything.
local function is_used(self)
  return each_channel(self, nothing)
end

local function post_gap(self)
  each_channel(self, function(channel) post(self, { channel = channel, gap = true }) end)
end

-- ---- the connection -------------------------------------------------------------------------

-- On a fresh connection: listens to everything.
local function listen_again(self, conn)
  local commands = {}
  each_channel(self, function(channel) commands[#commands + 1] = "LISTEN " .. core.quote_ident(channel) end)
  conn.c:listening(true)
  if #commands > 0 then conn:simple(table.concat(commands, "; ")) end
end

local function connect(self)
  local config, host = self.db.config, self.host
  local opener, deadline = self.db.pool.opener, core.clock() + COMMAND_TIMEOUT
  if config.pooler == "transaction" then
    if not config.direct then session_use.needs_direct "listen" end
    config, opener = config.direct, self.db.direct.opener
  end
  local conn = opener and opener(host.wait, deadline, {}) or Connection.open(config, host.wait, deadline)
  conn.pick, conn.deadline_of = function() return self.host end, nothing
  self.conn = conn
  session_use.check_own(conn, "listen")
  listen_again(self, conn)
  conn.deadline = nil
end

local function drop(self)
  if self.conn then self.conn:close() end
  self.conn = nil
end

-- Another connection in the place of the lost one; waits between attempts, until `deadline`.
---@return boolean
local function recover(self, deadline)
  drop(self)
  local pause = FIRST_PAUSE
  while not self.stopped do
    if pcall(connect, self) then
      post_gap(self)
      return true
    end
    drop(self)
    local left = deadline and deadline - core.clock()
    if left and left <= 0 then return false end
    self.host.wait(nil, nil, left and math.min(left, pause) or pause, true)
    pause = math.min(pause * 2, LONGEST_PAUSE)
  end
  return false
end

-- Waits for what comes, `seconds` at most.  Where there are several servers the others are asked now and then whether one of
-- them is the primary by now: nothing comes from a server that is not, and nothing says so.
---@param wait_for function
---@param idle boolean?  it keeps nobody from ending
local function await(conn, wait_for, seconds, idle)
  local servers = conn.servers
  if not servers then return wait_for(conn.c:fd(), "r", seconds, idle) end
  local ends = seconds and core.clock() + seconds
  repeat
    servers:attend(conn)
    local left = ends and math.max(ends - core.clock(), 0)
    local ready = wait_for(conn.c:fd(), "r", left and math.min(left, servers.SILENCE) or servers.SILENCE, idle)
  until ready or conn.lost or ends and core.clock() >= ends
  if conn.lost then servers:attend(conn) end
end

--- The server of its connection is not the primary any more: it is heard no more, and another connection takes its place.
function Listener:forsake(server, why)
  local conn = self.conn
  if not conn or conn.server ~= server then return end
  conn.lost = why
  if not self.spawned then return conn:close() end
  if self.reader then self.host.wake(self.reader) end
end

-- ---- the reader -----------------------------------------------------------------------------

-- LISTEN and UNLISTEN of others, who wait for them.
local function run_commands(self)
  local conn = self.conn -- not there any more where somebody stopped it meanwhile
  while self.commands[1] and not self.stopped do
    local command = table.remove(self.commands, 1)
    self.command = command
    conn.deadline, conn.overdue = core.clock() + COMMAND_TIMEOUT, nil
    local ok, err = pcall(conn.simple, conn, command.sql)
    conn.deadline = nil
    self.command = nil
    if not ok then command.error = err end
    parking.signal(command.entry)
    if not ok and not conn.c:usable() then error(err, 0) end
  end
end

local function read(self)
  while not self.stopped do
    run_commands(self)
    if self.stopped then break end
    drain(self, self.conn)
    self:deliver()
    if not self.stopped and not self.commands[1] then
      await(self.conn, self.host.wait, nil, true) -- it keeps nobody from ending
      if not self.stopped then self.conn.c:consume() end
    end
  end
end

-- Nobody listens any more.
---@param err table?  what those are told who are about to
function Listener:stop(err)
  self.stopped = true
  if self.db.listener == self then self.db.listener = false end
  for subscription in pairs(self.subscriptions) do
    if subscription.entry then parking.signal(subscription.entry) end
  end
  for _, command in ipairs(self.commands) do
    command.error = err or errors.new("closed", "the database is closed")
    parking.signal(command.entry)
  end
  self.commands = {}
  if self.reader then self.host.wake(self.reader) elseif not self.spawned then drop(self) end
  if self.host.leave and self.conn and self.conn.c:usable() then -- a controller of cqueues: it may be over
    self.host.leave(self.conn.c:fd())
    drop(self)
  end
end

local function read_on(self)
  if not self.stopped then connect(self) end
  while not self.stopped do
    local ok, err = pcall(read, self)
    if not ok and errors.is(err, "closed") then self.stopped = true end -- the host is about to end
    if not self.stopped and not ok then recover(self) end
  end
end

local function reader(self)
  self.reader = coroutine.running()
  local ok, err = pcall(read_on, self)
  self:stop(not ok and err or nil)
  drop(self)
end

-- ---- listening ------------------------------------------------------------------------------

-- With the connection that is read where there is no reader.
local function with_connection(self, fn)
  if self.shared then return self.db:on_connection(fn) end
  if not self.conn then connect(self) end
  return fn(self.conn)
end

local function run(self, sql)
  if not self.spawned then
    with_connection(self, function(conn)
      session_use.check_own(conn, "listen")
      conn.c:listening(true)
      self.telling = true
      local ok, err = pcall(conn.simple, conn, sql)
      self.telling = false
      if not ok then error(err, 0) end
      if conn.c:transaction_status() ~= "idle" then self.unsure = true end -- it may be rolled back
    end)
    return
  end
  if coroutine.running() == self.reader then return self.conn:simple(sql) end
  local command = { sql = sql, entry = parking.entry(self.host, "listen") }
  self.commands[#self.commands + 1] = command
  if self.reader then self.host.wake(self.reader) end
  if not parking.park(command.entry, COMMAND_TIMEOUT) then errors.raise("timeout", "the server did not answer LISTEN in time") end
  if command.error then error(command.error, 0) end
end

local function start(db)
  local host = wait.pick(db.config.loop)
  local self = setmetatable({
    db = db, host = host, loop = host.loop and host.loop(), channels = {}, heard = {},
    subscriptions = setmetatable({}, { __mode = "k" }), inbox = {}, commands = {},
    delivering = false, stopped = false, shared = not host.wake and db.pool.max_size == 1 and not db.config.reset
      and db.config.pooler ~= "transaction",
    spawned = false,
  }, Listener)
  db.listener = self -- at once: who comes while it connects finds it
  if host.wake then
    self.spawned = true
    host.spawn(function() reader(self) end, true)
  end
  return self
end

-- Whether the reader is in another loop, which may be over (a controller of cqueues).
local function is_elsewhere(self)
  return self.spawned and self.host.loop ~= nil and self.host.loop() ~= self.loop
end

-- A listener in this loop in the place of one in another.
local function move(self)
  local new = start(self.db)
  new.channels, new.subscriptions = self.channels, self.subscriptions
  for subscription in pairs(self.subscriptions) do subscription.listener = new end
  self:stop()
  post_gap(new)
  return new
end

-- Whether anybody listens to this channel; `heard` is what the server was told.
local function is_wanted(self, channel)
  local wanted = self.channels[channel] ~= nil
  for subscription in pairs(self.subscriptions) do wanted = wanted or subscription.channel == channel end
  return wanted
end

-- The listener, and whether the server is to be told of this channel.
function Listener.of(db, channel, what)
  local root = db.root
  if type(channel) ~= "string" or channel == "" then
    errors.argument("%s: the name of a channel expected, got %s", what, type(channel))
  end
  if #channel > LONGEST_NAME then -- the server would listen to its beginning, and nothing ever come
    errors.argument("%s: the name of a channel has at most %d bytes, this one %d", what, LONGEST_NAME, #channel)
  end
  root:live_pool()
  local self = root.listener or start(root)
  if is_elsewhere(self) and wait.pick(root.config.loop) == self.host then self = move(self) end
  return self, not self.heard[channel]
end

-- Tells the server, unless it knows.
---@param undo fun()?  when it could not be told
function Listener:hear(channel, new, undo)
  if new then
    local ok, err = pcall(run, self, "LISTEN " .. core.quote_ident(channel))
    if not ok then
      if undo then undo() end
      if not is_used(self) then self:stop() end
      error(err, 0)
    end
  end
  self.heard[channel] = true
end

function Listener:leave(channel)
  if is_wanted(self, channel) then return end
  self.heard[channel] = nil
  if self.shared or is_used(self) then
    run(self, "UNLISTEN " .. core.quote_ident(channel))
  end
  local others = self.commands[1] or self.command -- who is about to listen
  if not others and not is_used(self) then self:stop() end
end

-- ---- what SQL took away ----------------------------------------------------------------------

--- SQL of the user's may have ended what this connection listens to.
function Listener:unheard()
  if self.shared and not self.telling then self.unsure, self.missed = true, true end
end

-- Listens again where that is in doubt; within a transaction it would be in doubt again.
local function make_sure(self, conn)
  if not self.unsure or conn.c:transaction_status() ~= "idle" then return end
  listen_again(self, conn)
  if self.missed then post_gap(self) end
  self.unsure, self.missed = nil, nil
end

-- ---- without a reader -----------------------------------------------------------------------

local function receive(self, seconds)
  with_connection(self, function(conn)
    make_sure(self, conn)
    drain(self, conn)
    if #self.inbox == 0 then await(conn, conn.wait, seconds) end
    conn.c:consume()
    drain(self, conn)
  end)
end

local function look_now(self, seconds)
  local deadline = core.clock() + seconds
  if pcall(receive, self, seconds) then return end
  if self.shared then
    while not pcall(receive, self, 0) and core.clock() < deadline do -- opens another one, which listens (fresh)
      self.host.wait(nil, nil, math.min(FIRST_PAUSE, seconds))
    end
  elseif not self.retry or core.clock() >= self.retry then
    self.retry = not recover(self, deadline) and core.clock() + 1 or nil
  end
end

-- Looks for what came, waiting `seconds` for it.  What it runs itself is no occasion to give it out.
function Listener:look(seconds)
  local before = self.looking
  self.looking = true
  local ok, err = pcall(look_now, self, seconds)
  self.looking = before
  if not ok then error(err, 0) end
end

--- After each statement outside of transactions.
function Listener:pump()
  if self.spawned or self.delivering or self.looking then return end
  self.looking = true
  local conn = self.conn
  if self.shared then
    if self.unsure then pcall(with_connection, self, function(c) make_sure(self, c) end) end
    local idle = self.db.pool.idle[1]
    if idle and idle.c:usable() then drain(self, idle) end
  elseif not conn or not conn.c:usable() or core.poll(conn.c:fd(), "r", 0) then
    self:look(0)
  end
  self.looking = false
  self:deliver()
end

--- The pool's one connection is a new one.
function Listener:fresh(conn)
  if not self.shared then return end
  listen_again(self, conn)
  post_gap(self)
  self.unsure, self.missed = nil, nil
end

return Listener
