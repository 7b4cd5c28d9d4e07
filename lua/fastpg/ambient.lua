-- SPDX-License-Identifier: MIT
--
-- ambient: which transaction, connection or deadline a statement runs under.
--
-- A scope is what transaction, acquire and timeout open: { bound =, deadline =, parent = }, where
-- `bound` is the database bound to the connection.  It belongs to the coroutine that opened it, and
-- to those running inside that one: an ancestor is the coroutine of status "normal" among those with
-- open scopes.
--
-- Coroutines are weak keys and scopes don't name them: one that is never resumed again takes its
-- scope along when it is collected.

local errors = require "fastpg.errors"

local ambient = {}

local Ambient = {}
Ambient.__index = Ambient

local MAIN = {} -- stands for the main thread on every Lua

local function current_thread()
  local thread, is_main = coroutine.running()
  if thread == nil or is_main then return MAIN end
  return thread
end

function ambient.new()
  return setmetatable({ scopes = setmetatable({}, { __mode = "k" }), open = 0, serial = 0 }, Ambient)
end

local function encloses(scope, other)
  while other do
    if other == scope then return true end
    other = other.parent
  end
  return false
end

-- The innermost scope of those that coroutines of status "normal" have open.  The main thread is
-- outside of them all; of the others each must have been opened inside the one before, or nobody
-- can tell which of them runs inside which.
local function inherited(self)
  local scope, main_scope
  for thread, candidate in pairs(self.scopes) do
    if thread == MAIN then
      main_scope = candidate
    elseif coroutine.status(thread) == "normal" then
      if scope == nil or encloses(scope, candidate) then
        scope = candidate
      elseif not encloses(candidate, scope) then
        errors.raise("ambiguous_scope", "several of the coroutines around this one have transactions or"
          .. " connections of their own: use tx instead of db")
      end
    end
  end
  return scope or main_scope
end

--- The innermost scope that this coroutine runs in, or nil.
function Ambient:current()
  if self.open == 0 then return nil end
  return self.scopes[current_thread()] or inherited(self)
end

--- Opens a scope inside the current one: what it does not set it inherits.
---@param scope { bound: table?, deadline: number? }
function Ambient:push(scope)
  local parent = self:current()
  local thread = current_thread()
  scope.parent = parent
  scope.below = self.scopes[thread]
  if parent then
    scope.bound = scope.bound or parent.bound
    if parent.deadline and (not scope.deadline or parent.deadline < scope.deadline) then
      scope.deadline = parent.deadline
    end
  end
  self.scopes[thread] = scope
  self.open = self.open + 1
  return scope
end

--- Closes a scope, in the coroutine that opened it.
function Ambient:pop(scope)
  self.scopes[current_thread()] = scope.below
  self.open = self.open - 1
end

return ambient
