-- SPDX-License-Identifier: MIT
--
-- parking: how coroutines wait for each other: for a task that ends, a connection that comes back (pool), their turn on
-- one (turn).
--
-- Who waits has an entry { host, co, ready } that somebody signals.  It says for whom it waits (`waits_for`), so that a
-- circle of waits is an error at once and never a silence.

local error, ipairs, pairs, pcall, setmetatable, type = error, ipairs, pairs, pcall, setmetatable, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local errors = require "fastpg.base.errors"

local pack, unpack = compat.pack, compat.unpack

local parking = {}

local waits_for = setmetatable({}, { __mode = "kv" }) -- who -> { others = fn, any = }: whom it waits for

--- What the running coroutine can be woken by; raises where it can't wait.
---@param host table
---@param what string  what it would wait for, for the message
function parking.entry(host, what)
  if not host.wake then
    errors.raise("blocking_call", ("%s would have to wait for another coroutine, and here nothing else can run: "
      .. "wait inside a task (fastpg.spawn) or a coroutine of the event loop"):format(what))
  end
  return { host = host, co = coroutine.running(), ready = false }
end

--- Waits until the entry is signaled.
---@param seconds number?
---@return boolean  false: the time is over first
function parking.park(entry, seconds)
  local deadline = seconds and core.clock() + seconds
  while not entry.ready do
    current_task.check()
    local left = deadline and deadline - core.clock()
    if left and left <= 0 then return false end
    entry.parked = true
    entry.host.wait(nil, nil, left)
  end
  return true
end

--- Takes an entry out of a list of those who wait.
function parking.remove(list, entry)
  for i, other in ipairs(list) do
    if other == entry then
      table.remove(list, i)
      return
    end
  end
end

--- Lets whoever waits with this entry go on.
function parking.signal(entry)
  entry.ready = true
  entry.host.wake(entry.co)
end

--- Whether the coroutine of an entry will not come: in nginx its request is over, or the light thread was killed.
function parking.is_gone(entry)
  local host = entry.host
  return entry.group and host.is_lost(-1, entry.group) or entry.parked and host.is_gone and host.is_gone(entry.co)
end

-- ---- circles --------------------------------------------------------------------------------

--- Whether that task or coroutine, as `me` gives it, waits for nobody.
function parking.goes_on(who)
  return not waits_for[who] or type(who) == "table" and who.canceled
end

-- Whom `who` waits for at this moment, and whether one of them is enough; nil: it can go on by itself.
local function needs(who)
  if parking.goes_on(who) then return nil end
  local waiting = waits_for[who]
  return waiting.others(), waiting.any
end

-- Adds to `graph` everybody that `others` wait for, directly or through others.
local function explore(graph, others)
  for _, who in ipairs(others) do
    if graph[who] == nil then
      local list, any = needs(who)
      graph[who] = list and { list = list, any = any } or false
      if list then explore(graph, list) end
    end
  end
end

local function is_stuck(graph, node)
  for _, who in ipairs(node.list) do
    local stuck = graph[who] ~= false
    if stuck ~= node.any then return stuck end -- one is enough: to be stuck, or to go on
  end
  return node.any and #node.list > 0
end

-- Whether `me`, once it waits for those, would wait for ever: everybody is taken to be stuck who is not
-- found to go on.
local function is_circle(me, others, any)
  local graph = { [me] = { list = others, any = any } }
  explore(graph, others)
  local changed
  repeat
    changed = false
    for who, node in pairs(graph) do
      if node and not is_stuck(graph, node) then graph[who], changed = false, true end
    end
  until not changed
  return graph[me] ~= false
end

-- The list is forgotten with this call: who waits must not keep those who are gone.
local function would_be_circle(me, others, any)
  local list = others()
  return list ~= nil and is_circle(me, list, any)
end

--- The running coroutine waits for nobody: in nginx it may be one that was killed in a wait, and is used
--- again for another request.
function parking.awake()
  waits_for[current_task.me()] = nil
end

--- Runs fn(...) while it is known that this coroutine waits for all (or any) of those; raises where
--- that would be a circle.
---@param others fun(): table?  list of tasks and coroutines, as `me` gives them; nil: it is over
---@param any boolean  one of them is enough to go on
function parking.waiting_for(others, any, what, fn, ...)
  local me = current_task.me()
  if would_be_circle(me, others, any) then
    errors.raise("deadlock", what .. " would never end: what it waits for waits for this coroutine")
  end
  local before = waits_for[me]
  local node = { others = others, any = any } -- held by this coroutine alone, with what the function refers to
  waits_for[me] = node
  local results = pack(pcall(fn, ...))
  node.others = nil
  waits_for[me] = before
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end

return parking
