-- SPDX-License-Identifier: MIT
--
-- listen: LISTEN and NOTIFY, as a database has them; what listens is in fastpg.pool.listener.
--
-- PostgreSQL manual: LISTEN, NOTIFY.

local ipairs, pairs, setmetatable, type = ipairs, pairs, setmetatable, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local Listener = require "fastpg.pool.listener"
local options = require "fastpg.base.options"
local parking = require "fastpg.host.parking"
local surface = require "fastpg.base.surface"
local task = require "fastpg.host.task"
local wait = require "fastpg.host.wait"

local listen = {}

-- ---- listen and notify ----------------------------------------------------------------------

local methods = {}

--- Calls fn(n) for each notification of the channel: n.channel, n.payload, n.pid (of who sent it); n.gap
--- is true, and nothing else there, after a lost connection: what was sent meanwhile is not known.
---@param channel string
---@param fn fun(n: { channel: string, payload: string?, pid: integer?, gap: boolean? })
function methods.listen(db, channel, fn)
  if type(fn) ~= "function" then errors.argument("listen: a function expected, got %s", type(fn)) end
  local listener, new = Listener.of(db, channel, "listen")
  listener:hear(channel, new)
  local list = listener.channels[channel] or {}
  list[#list + 1] = fn
  listener.channels[channel] = list
end

--- Ends what listen began: of this function, or of all on the channel; without a channel of all.
---@param channel string?
---@param fn function?
function methods.unlisten(db, channel, fn)
  local listener = db.root.listener
  if channel ~= nil and type(channel) ~= "string" then
    errors.argument("unlisten: the name of a channel expected, got %s", type(channel))
  end
  if fn ~= nil and type(fn) ~= "function" then errors.argument("unlisten: a function expected, got %s", type(fn)) end
  if not listener then return end
  if channel == nil then
    local all = {}
    for name in pairs(listener.channels) do all[#all + 1] = name end
    for _, name in ipairs(all) do methods.unlisten(db, name) end
    return
  end
  local left = {}
  for _, other in ipairs(listener.channels[channel] or {}) do
    if fn ~= nil and other ~= fn then left[#left + 1] = other end
  end
  if not listener.channels[channel] then return end
  listener.channels[channel] = left[1] and left or nil
  listener:leave(channel)
end

--- Sends a notification; inside a transaction when that commits.
---@param channel string
---@param payload string?  up to 7999 bytes
function methods.notify(db, channel, payload)
  if type(channel) ~= "string" then errors.argument("notify: the name of a channel expected, got %s", type(channel)) end
  if payload ~= nil and type(payload) ~= "string" and type(payload) ~= "number" then
    errors.argument("notify: the payload is a string, got %s", type(payload))
  end
  db:query(fetch.status, "SELECT pg_catalog.pg_notify($1, $2)", channel, payload or "")
end

--- Runs the functions of notifications that came; waits at most that many seconds for one.
---@param timeout number?  0
---@return integer  how many came
function methods.poll(db, timeout)
  timeout = timeout ~= nil and options.seconds("poll", timeout) or nil
  local listener = db.root.listener
  if not listener then errors.raise("invalid_argument", "poll: nothing is listened to (db:listen)") end
  if listener.spawned then
    task.sleep(timeout or 0)
    return 0
  end
  if listener.delivering then return 0 end
  if #listener.inbox == 0 then listener:look(timeout or 0) end
  return listener:deliver()
end

-- ---- db:notifications -----------------------------------------------------------------------

local Subscription = { __name = "fastpg.notifications" }

local function close(subscription)
  local listener = subscription.listener
  if not listener then return end
  subscription.listener = nil
  listener.subscriptions[subscription] = nil
  if not listener.stopped and wait.can_finish() then listener:leave(subscription.channel) end
end

local function await(listener, subscription, deadline)
  local left = deadline and math.max(deadline - core.clock(), 0) or nil
  if listener.spawned then
    subscription.entry = parking.entry(wait.pick(listener.db.config.loop), "notifications")
    parking.park(subscription.entry, left)
    subscription.entry = nil
  else
    listener:look(left or 3600)
    listener:deliver()
  end
end

Subscription.__call = function(subscription)
  local listener = subscription.listener
  local deadline = subscription.timeout and core.clock() + subscription.timeout or nil
  while listener do
    if subscription.first <= subscription.last then
      local n = subscription[subscription.first]
      subscription[subscription.first] = nil
      subscription.first = subscription.first + 1
      return n
    end
    if listener.stopped or deadline and core.clock() >= deadline then break end
    await(listener, subscription, deadline)
  end
  close(subscription)
  return nil
end
Subscription.__close = close
surface.closable(Subscription, "what db:notifications gave", "notifications", close, options.set("listener", "entry"))

--- An iterator over the channel's notifications, which listens before it returns: `for n in
--- db:notifications(channel, timeout)`.  Nothing for that many seconds ends it.
---@param channel string
---@param timeout number?
function methods.notifications(db, channel, timeout)
  timeout = timeout ~= nil and options.seconds("notifications", timeout) or nil
  local listener, new = Listener.of(db, channel, "notifications")
  local subscription = setmetatable({
    listener = listener, channel = channel, timeout = timeout or false, first = 1, last = 0, entry = nil,
  }, Subscription)
  listener.subscriptions[subscription] = true
  listener:hear(channel, new, function() listener.subscriptions[subscription] = nil end)
  return subscription, nil, nil, subscription
end

--- Adds these methods to a database's.
function listen.extend(to)
  for name, method in pairs(methods) do to[name] = method end
end

return listen
