-- SPDX-License-Identifier: MIT
--
-- ambient: which transaction, connection or deadline a statement runs under.
--
-- A scope is what transaction, acquire and timeout open: { bound =, deadline =, parent = }, where
-- `bound` is the database bound to the connection.  It belongs to the coroutine that opened it, and
-- to those running inside that one: an ancestor is the coroutine of status "normal" among those with
-- open scopes.  A task of fastpg's never inherits: scopes end at its border.
--
-- Some hosts (nginx, luv, copas) show status "normal" of coroutines that have nothing to do with the
-- running one: there what can't be placed raises, and never silently takes another connection.
--
-- Coroutines are weak keys and scopes don't name them: one that is never resumed again takes its
-- scope along when it is collected.

local pairs, setmetatable = pairs, setmetatable

local compat = require "fastpg.base.compat"
local current_task = require "fastpg.host.current_task"
local errors = require "fastpg.base.errors"
local wait = require "fastpg.host.wait"

local ambient = {}

local Ambient = {}
Ambient.__index = Ambient

local MAIN = {} -- stands for the main thread on every Lua
local weak_keys = { __mode = "k" }

local running = compat.running

--- Ambient scopes of one database.
---@param loop string|table|nil  its `loop =` option
function ambient.new(loop)
  return setmetatable({
    loop = loop, scopes = setmetatable({}, weak_keys), open = 0,
    known = setmetatable({}, weak_keys), -- coroutines that ran statements of their own before
  }, Ambient)
end

local function is_around(thread)
  return thread == MAIN or coroutine.status(thread) == "normal"
end

local function encloses(scope, other)
  while other do
    if other == scope then return true end
    other = other.parent
  end
  return false
end

local function raise_ambiguous()
  errors.raise("ambiguous_scope", "several of the coroutines around this one have transactions or"
    .. " connections of their own: use tx instead of db")
end

-- The innermost scope of those that coroutines around this one have open.  The main thread is
-- outside of them all; of the others each must have been opened inside the one before, or nobody
-- can tell which of them runs inside which.
local function inherited(self)
  local scope, main_scope
  local inside, several = current_task.enclosing()
  for thread, candidate in pairs(self.scopes) do
    if (several or candidate.task == inside) and is_around(thread) then
      if several and candidate.task ~= inside then raise_ambiguous() end
      if thread == MAIN then
        main_scope = candidate
      elseif scope == nil or encloses(scope, candidate) then
        scope = candidate
      elseif not encloses(candidate, scope) then
        raise_ambiguous()
      end
    end
  end
  return scope or main_scope
end

-- Where "normal" says nothing: a coroutine that was here before is one of its own.
local function check_stranger(self, thread)
  if self.known[thread] then return end
  local group = wait.group(self.loop)
  for other, candidate in pairs(self.scopes) do
    if candidate.group == group and other ~= thread and is_around(other) then
      errors.raise("ambiguous_scope", "it can't be told whether this coroutine belongs to the transaction (or acquire,"
        .. " timeout) that is open around it: use tx, or start it by fastpg.spawn")
    end
  end
end

-- The scope that the coroutine itself has open.  nginx uses the coroutine of a request that was killed
-- for another request: what it had open then is not its own any more.
local function own(self, thread)
  local scope = self.scopes[thread]
  if not scope or scope.group == wait.group(self.loop) then return scope end
  self.scopes[thread] = nil
  while scope do
    self.open, scope = self.open - 1, scope.below
  end
  return nil
end

--- The innermost scope that this coroutine runs in, or nil.
function Ambient:current()
  if wait.is_plain(self.loop) then return self.scopes[MAIN] end -- it runs inside of no other one
  local thread = running() or MAIN
  if self.open > 0 then
    local scope = own(self, thread)
    if scope then return scope end
    if current_task.of(thread) then return nil end
    if wait.is_exact(self.loop) then return inherited(self) end
    check_stranger(self, thread)
    self.known[thread] = true
  elseif thread ~= MAIN and not self.known[thread] and not wait.is_exact(self.loop) then
    self.known[thread] = true
  end
  return nil
end

--- Opens a scope inside the current one: what it does not set it inherits.
---@param scope { bound: table?, deadline: number? }
function Ambient:push(scope)
  local parent, thread = self:current(), MAIN
  if not wait.is_plain(self.loop) then
    thread = running() or MAIN
    scope.task = current_task.enclosing()
    scope.group = wait.group(self.loop)
  end
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
  self.scopes[running() or MAIN] = scope.below
  self.open = self.open - 1
end

return ambient
