-- SPDX-License-Identifier: MIT
--
-- retry: when a transaction that failed is run again, from its start: db:transaction{ retries = n }.
--
-- After a serialization failure or a deadlock, and when its connection was lost (the server crashed, or another one is the
-- primary now, so that the one there was refuses to write), as long as nothing of it can be committed.  The first try comes
-- at once; where a server is away further ones wait, longer each time.
--
-- PostgreSQL manual: "Serialization Failure Handling".

local setmetatable = setmetatable

local errors = require "fastpg.base.errors"
local wait = require "fastpg.host.wait"

local retry = {}
retry.__index = retry

local PAUSE, LONGEST = 0.05, 1 -- seconds

--- How often something may be tried again.
---@param config table  of the database
---@param times integer
---@param readonly boolean?  it asked not to write
function retry.new(config, times, readonly)
  local is_many = config.replicas or config.failover_timeout
  return setmetatable({ config = config, left = times, pause = 0, may_be_refused = is_many and not readonly }, retry)
end

local function is_conflict(err) return errors.is(err, "40001") or errors.is(err, "40P01") end

--- Whether it is to be tried again; where a server is away some time has passed then.
---@param err any
---@param happens_once boolean?  what may be committed is known to the next try
---@return boolean
function retry:after(err, happens_once)
  if self.left == 0 then return false end
  local is_lost = errors.is(err, "connection") and (happens_once or not err.commit_unknown)
    or self.may_be_refused and errors.is(err, "25006")
  if not is_lost and not is_conflict(err) then return false end
  self.left = self.left - 1
  if is_lost then
    if self.pause > 0 then wait.pick(self.config.loop).wait(nil, nil, self.pause) end
    self.pause = math.max(PAUSE, math.min(2 * self.pause, LONGEST))
  end
  return true
end

return retry
