-- SPDX-License-Identifier: MIT
--
-- wait: which host serves a call.
--
-- A host knows how to suspend the running coroutine (one small file each, lua/fastpg/host/wait/):
--
--   wait(fd, mode, timeout) -> the ready mode, nil when the time is over, "woken"; fd nil: only time
--   wake(co)       the wait that coroutine is in ends soon with "woken"; absent: nobody can be woken
--   spawn(fn)      runs fn soon in a coroutine of its own
--   can_wait()     whether the running coroutine can be suspended by this host, here
--   spend(n)       n rows were decoded without waiting; the hosts of this file get one
--   exact          true: of the coroutines with status "normal" each runs inside the one before
--
-- Nothing above this file knows which one it has.  "auto" is decided at each call.

local pcall, rawget, setmetatable, tostring, type = pcall, rawget, setmetatable, tostring, type

local block = require "fastpg.host.wait.block"
local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local step = require "fastpg.host.wait.step"
local stepper = require "fastpg.host.stepper"

local wait = {}

local default = "auto"
local NAMES = { block = true, step = true, luv = true, cqueues = true, copas = true, nginx = true }
local loaded = { block = block, step = step }

-- Rows that are there already are decoded for so many seconds since the coroutine waited last, then others
-- have a turn.  (The stepper has a budget of its own.)
local SLICE = 0.001
local function share_turns(host)
  local suspend, ends = host.wait, 0
  function host.wait(...)
    local result = suspend(...)
    ends = core.clock() + SLICE
    return result
  end
  function host.spend()
    if core.clock() >= ends and host.can_wait() then host.wait(nil, nil, 0) end
  end
  return host
end

local function load_host(name)
  local host = loaded[name]
  if not host then
    host = share_turns(require("fastpg.host.wait." .. name))
    host.on_error = function(...) return step.on_error(...) end -- which fastpg.host.task sets
    loaded[name] = host
  end
  return host
end

-- With this module, not at the first call: what a master of nginx loads its workers may not be allowed to read.
local function in_nginx()
  local ngx = rawget(_G, "ngx")
  return type(ngx) == "table" and ngx.get_phase ~= nil
end
if in_nginx() then load_host "nginx" end

local customs = setmetatable({}, { __mode = "k" }) -- a user's table -> the host made of it

local function custom(loop)
  local host = customs[loop]
  if not host then
    host = share_turns(require("fastpg.host.wait.custom").new(loop))
    customs[loop] = host
  end
  return host
end

-- A loop that is loaded would be frozen by a call that blocks inside one of its coroutines.
local function refuse_to_freeze()
  if not compat.running() then return end
  local modules = package.loaded
  local name = modules.copas and "copas" or (modules.luv or rawget(_G, "vim")) and "luv"
  if name then
    errors.raise("blocking_call", ('this call would block the event loop: fastpg.set_loop("%s") lets it wait there, '
      .. 'fastpg.set_loop("block") allows it to block'):format(name))
  end
end

-- The loop that is running around this call, or nil.
local function around()
  if in_nginx() then return load_host "nginx" end
  if step.can_wait() then return step end
  if package.loaded.cqueues then
    local cqueues = load_host "cqueues"
    if cqueues.can_wait() then return cqueues end
  end
  return nil
end

local function named(loop)
  return type(loop) == "table" and custom(loop) or load_host(loop)
end

--- What loop it is, whether the call can wait there or not; nil where it is decided by the coroutine,
--- between hosts that are exact.
local function kind(loop)
  loop = loop or default
  if loop == "auto" then return in_nginx() and load_host "nginx" or nil end
  return named(loop)
end

--- Whether a coroutine of status "normal" is always one that the running coroutine runs inside.
function wait.is_exact(loop)
  local host = kind(loop)
  return host == nil or host.exact == true
end

--- What tells coroutines apart that have nothing to do with each other (in nginx the request), or nil.
function wait.group(loop)
  local host = kind(loop)
  return host and host.group and host.group()
end

local running, NGINX = coroutine.running, in_nginx()

--- Whether this is the main thread of a plain script: nothing else can run while a call waits, and no task of
--- fastpg's, no scope of another coroutine has anything to do with it.
---@param loop string|table|nil  a `loop =` option
function wait.is_plain(loop)
  local co, is_main = running()
  if co ~= nil and not is_main or NGINX then return false end
  loop = loop or default
  return loop == "auto" or loop == "block"
end

--- The host that a call waits with.
---@param loop string|table|nil  a `loop =` option; nil means the default of this Lua state
---@return table
function wait.pick(loop)
  if wait.is_plain(loop) then return block end
  loop = loop or default
  if loop == "block" then return block end
  local host
  if loop ~= "auto" then
    host = named(loop)
  else
    host = around()
    if not host then
      if not stepper.is_running() then refuse_to_freeze() end
      return block
    end
  end
  if host.can_wait() then return host end
  if host.refuse then host.refuse() end
  return block
end

--- Lets others have a turn, where this coroutine has had its share: for what goes through long lists, now and then.
function wait.share(loop)
  if wait.is_plain(loop) then return end
  local ok, host = pcall(wait.pick, loop)
  if ok and host.spend then host.spend(0) end
end

--- Whether other coroutines may run while this one waits.
function wait.under_loop(loop)
  local ok, host = pcall(wait.pick, loop)
  return not ok or host ~= block
end

--- Whether a name may be looked up here, which talks to the server.  In nginx not where that would
--- block, even where it is allowed to: a module that is loaded early should connect to nothing.
function wait.may_look_up(loop)
  local ok, host = pcall(wait.pick, loop)
  return ok and (host ~= block or not in_nginx())
end

--- Whether a block that is being left may still talk to the server: not where a coroutine is closed in
--- the middle (Lua 5.4), which can't yield any more.
function wait.can_finish()
  return not compat.running() or not coroutine.close or core.is_yieldable()
end

--- The host that runs new coroutines here.
---@param what string  for the message
---@return table
function wait.host(what)
  local host
  if default == "auto" or default == "block" then host = around() or step else host = named(default) end
  if not host.spawn then
    errors.argument("%s: this loop is a table without a function spawn", what)
  end
  return host
end

--- Raises unless `loop` is one that can be picked.
function wait.check(loop, what)
  if loop == nil or loop == "auto" then return end
  if type(loop) == "table" then
    if type(loop.wait) ~= "function" then errors.argument("%s: a loop is a table with a function wait", what) end
    custom(loop)
  elseif NAMES[loop] then
    local ok, problem = pcall(load_host, loop)
    if not ok then
      errors.raise("undefined_loop", ('%s: loop = "%s" can\'t be loaded: %s'):format(what, loop, tostring(problem)))
    end
  else
    errors.argument('%s: unknown loop %s; known are "block", "step", "luv", "cqueues", "copas", "nginx" and a table '
      .. "{ wait = …, sleep = … }", what, type(loop) == "string" and '"' .. loop .. '"' or type(loop))
  end
end

--- fastpg.set_loop: the default of every `loop =` of this Lua state, and where tasks run.
---@param loop string|table|nil
function wait.set_default(loop)
  wait.check(loop, "fastpg.set_loop")
  default = loop or "auto"
end

--- fastpg.loop_info: which loop serves a call made here, and how.
---@return { name: string, method: string }
function wait.info()
  local ok, host = pcall(wait.pick, nil)
  if not ok then return { name = "none", method = tostring(host) } end
  local info = host.info and host.info() or {}
  info.name = host.name
  info.method = info.method or host.method
  info.libpq = core.libpq_version()
  return info
end

return wait
