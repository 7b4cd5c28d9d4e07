-- SPDX-License-Identifier: MIT
--
-- ambient: which transaction, connection or deadline a statement runs under.
--
-- A scope is what transaction, acquire and timeout open: { conn =, deadline =, parent = }.  It
-- belongs to the coroutine that opened it, and to those running inside that one: an ancestor is the
-- coroutine of status "normal" among those with open scopes (the innermost of several).

local ambient = {}

local Ambient = {}
Ambient.__index = Ambient

local MAIN = {} -- stands for the main thread where coroutine.running() gives nil (5.1, LuaJIT)

local function current_thread()
  return coroutine.running() or MAIN
end

local function is_ancestor(thread)
  if thread == MAIN then return coroutine.running() ~= nil end
  return coroutine.status(thread) == "normal"
end

function ambient.new()
  return setmetatable({ scopes = setmetatable({}, { __mode = "k" }), open = 0, serial = 0 }, Ambient)
end

--- The innermost scope that this coroutine runs in, or nil.
function Ambient:current()
  if self.open == 0 then return nil end
  local scope = self.scopes[current_thread()]
  if scope then return scope end
  for thread, candidate in pairs(self.scopes) do
    if is_ancestor(thread) and (scope == nil or candidate.serial > scope.serial) then scope = candidate end
  end
  return scope
end

--- Opens a scope inside the current one: what it does not set it inherits.
function Ambient:push(scope)
  local parent = self:current()
  scope.parent = parent
  scope.thread = current_thread()
  scope.below = self.scopes[scope.thread]
  if parent then
    scope.conn = scope.conn or parent.conn
    scope.tx = scope.tx or parent.tx
    if parent.deadline and (not scope.deadline or parent.deadline < scope.deadline) then
      scope.deadline = parent.deadline
    end
  end
  self.serial = self.serial + 1
  scope.serial = self.serial
  self.scopes[scope.thread] = scope
  self.open = self.open + 1
  return scope
end

function Ambient:pop(scope)
  self.scopes[scope.thread] = scope.below
  self.open = self.open - 1
end

return ambient
