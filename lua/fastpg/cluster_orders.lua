-- SPDX-License-Identifier: MIT
--
-- cluster_orders: how a cluster talks to the processes that do its work: the script (fastpg.cluster_script) and the relay
-- (csrc/relay.c).
--
-- An order is a line.  An answer is lines, too: any text, then one that begins with "+" (done, with a value) or one "-"
-- (failed: the text says why).  Under an event loop others go on while an answer is awaited; one order after the other
-- is given, and who is canceled in the middle leaves an answer behind, which the next one reads first.

local pairs, pcall, setmetatable = pairs, pcall, setmetatable

local block = require "fastpg.host.wait.block"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local errors = require "fastpg.base.errors"
local turn = require "fastpg.host.turn"
local wait = require "fastpg.host.wait"

local cluster_orders = {}

local ANSWER_SECONDS = 120
local END_SECONDS = 30

local Channel = {}
Channel.__index = Channel

local function no_deadline() return nil end

--- The channel to a process.
---@param process userdata  of core.supervise
---@return table
function cluster_orders.channel(process)
  return setmetatable({ process = process, owed = 0, deadline_of = no_deadline }, Channel)
end

-- The host that lets others go on; nil where the call holds everything else, as a plain script's does.
local function loop()
  local ok, host = pcall(wait.pick, nil)
  return ok and host ~= block and host or nil
end

--- Waits, and lets others go on where there are any.
function cluster_orders.pause(seconds)
  local host = loop()
  if not host then return core.poll(-1, "r", seconds) end
  host.wait(nil, nil, seconds)
  current_task.check()
end

-- The next line; nil when the process has ended; nil, true when the time is over.
local function receive(process, deadline)
  while true do
    local host = loop()
    local line, timeout = process:receive(host and 0 or math.max(deadline - core.clock(), 0))
    if not timeout then return line end
    local left = deadline - core.clock()
    if left <= 0 then return nil, true end
    if host then
      host.wait(process:fd(), "r", left)
      current_task.check()
      if process:closed() then errors.raise("closed", "the cluster is closed") end
    end
  end
end

-- true, the value and the lines before it; false and the lines of a failure.
local function read(self)
  local said, deadline = {}, core.clock() + ANSWER_SECONDS
  while true do
    local line, timeout = receive(self.process, deadline)
    if timeout then errors.raise("cluster", "the server's supervisor does not answer") end
    local mark = line and line:sub(1, 1)
    local text = table.concat(said, "\n")
    if mark == "+" then
      self.owed = self.owed - 1
      return true, line:sub(2), text
    elseif line == "-" then
      self.owed = self.owed - 1
      return false, text
    elseif not line then
      self.owed = 0 -- who has ended owes nothing
      return false, text ~= "" and text or "the supervisor has ended"
    end
    said[#said + 1] = line
  end
end

local function answer(self)
  while self.owed > 1 do read(self) end
  local ok, value, text = read(self)
  if not ok then errors.raise("cluster", value) end
  return value, text
end

--- The answer to no order: what the script says when it has begun.
---@return string value
function Channel.first(self)
  self.owed = self.owed + 1
  return (answer(self))
end

local function give(self, text)
  if self.process:closed() then errors.raise("closed", "the cluster is closed") end
  self.process:send(text .. "\n")
  self.owed = self.owed + 1
  return answer(self)
end

--- Gives an order and waits for what it was answered.
---@param text string
---@return string value
---@return string text  what came before it
function Channel.order(self, text)
  return turn.run_by(self, nil, give, text)
end

--- Ends the process and waits until it is gone.  Harmless when it is.
---@return boolean  false: it has not ended
function Channel.close(self)
  local process = self.process
  if not process:closed() and loop() then
    process:finish()
    local deadline = core.clock() + END_SECONDS
    while true do
      local line, timeout = receive(process, deadline)
      if timeout then return false end
      if not line then break end
    end
  end
  return process:close()
end

--- A name for what only one coroutine does at a time, in a cluster.
function cluster_orders.lock()
  return { deadline_of = no_deadline }
end

--- Runs fn(...) when nobody else is in such a function.
function cluster_orders.alone(lock, fn, ...)
  return turn.run_by(lock, nil, function(_, ...) return fn(...) end, ...)
end

--- Shell assignments of strings, whatever is in them.
function cluster_orders.assign(variables)
  local lines = {}
  for name, value in pairs(variables) do
    lines[#lines + 1] = ("%s='%s'\n"):format(name, (value:gsub("'", "'\\''")))
  end
  return table.concat(lines)
end

return cluster_orders
