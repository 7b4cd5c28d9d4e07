-- SPDX-License-Identifier: MIT
--
-- trail: what the running task did before, and those whose end it waited for: who reads after a write is to see it.
--
-- A task begins with the trail of who spawned it, and whoever waits for it has its trail from then on.  Of coroutines that
-- are none of fastpg's nobody knows who started them: what is new there begins with everything (`all`).  In nginx it is the
-- request that has a trail.

local pairs, setmetatable = pairs, setmetatable

local current_task = require "fastpg.host.current_task"
local wait = require "fastpg.host.wait"

local trail = {}

local of_others = setmetatable({}, { __mode = "k" }) -- coroutine -> { key = number }
local used = false -- most programs have none of it

-- Requests of nginx have numbers that grow.  Those of the latest are kept; of one that is forgotten, as of a coroutine
-- that is new, it is not known what it did.
local MOST_REQUESTS = 1000
local young, old, count, forgotten = {}, {}, 0, 0

local function of_request(id)
  local known = young[id]
  if known then return known, false end
  known = old[id]
  local is_new = not known and id <= forgotten
  known = known or {}
  if count >= MOST_REQUESTS then
    for one in pairs(old) do
      if one > forgotten then forgotten = one end
    end
    young, old, count = {}, young, 0
  end
  young[id], count = known, count + 1
  return known, is_new
end

-- The trail of whoever runs, and whether it is new and what came before unknown.
local function mine()
  local task = current_task.enclosing()
  if task then
    task.trail = task.trail or {}
    return task.trail, false
  end
  local request = wait.group()
  if request then return of_request(request) end
  local me = current_task.me()
  local known = of_others[me]
  if known then return known, false end
  known = {}
  of_others[me] = known
  return known, me ~= current_task.main
end

--- Notes that whoever runs has done the thing of that number, which grows.
---@param key table
function trail.note(key, number)
  used = true
  local known = mine()
  if number > (known[key] or 0) then known[key] = number end
end

--- The greatest number that whoever runs has done, or has waited for.
---@param key table
---@param all number  what somebody begins with of whom nothing is known
function trail.of(key, all)
  if not used then return 0 end
  local known, is_new = mine()
  if is_new then known[key] = all end
  return known[key] or 0
end

local function add(to, from)
  for key, number in pairs(from) do
    if number > (to[key] or 0) then to[key] = number end
  end
end

--- A task that is being spawned begins with what its spawner has done.
function trail.begin(t)
  if not used then return end
  t.trail = {}
  add(t.trail, (mine()))
end

--- Whoever waited for a task knows what it did.
function trail.join(t)
  if used and t.trail then add((mine()), t.trail) end
end

return trail
