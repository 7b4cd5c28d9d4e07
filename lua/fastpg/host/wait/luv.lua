-- SPDX-License-Identifier: MIT
--
-- wait.luv: libuv's loop, by luv or by Neovim (vim.uv, vim.loop).
--
-- A wait is a poll handle, a timer or both, closed when it ends, also by coroutine.close: between waits
-- nothing keeps the loop alive.  The coroutine yields nothing and is resumed here, whoever made it.
-- Polled are gates where there are any (csrc/host/gate.c): luv writes to stderr when a connection is refused.

local assert, error, rawget, setmetatable, type = assert, error, rawget, setmetatable, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local defer = require "fastpg.base.defer"
local gates = require "fastpg.host.gates"
local nvim = rawget(_G, "vim")

-- luv runs its callbacks in the coroutine that it was first loaded in, as if that were the program, and
-- crashes the process when it is gone.  Within one it is loaded in another, which stays.
local function load_luv()
  if package.loaded.luv or not compat.running() then return require "luv" end
  local apart = coroutine.create(function() return require "luv" end)
  core.keep(apart)
  local ok, uv = coroutine.resume(apart)
  if not ok then error(uv, 0) end
  return uv
end

local uv = type(nvim) == "table" and (nvim.uv or nvim.loop) or load_luv()

local host = { name = "luv", method = "uv_poll", can_wait = core.is_yieldable }
local waiting = {} -- coroutine -> its wait
local after = require "fastpg.host.wait.luv_timer"(uv)

local function release(w)
  if w.poll then w.poll:close() end
  if w.timer then w.timer:close() end
  if w.gate then gates.give(w.gate) end
  w.poll, w.timer, w.gate, waiting[w.co] = nil, nil, nil, nil
end
local Wait = { __close = release }

local function resume(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if not ok then host.on_error(err, debug.traceback(co)) end
end

local function finish(w, result)
  release(w)
  w.over = true
  if coroutine.status(w.co) == "suspended" then resume(w.co, result) end
end

local function watch(w, fd, mode)
  local gate = gates.available and gates.take() or nil
  if gate then gate:arm(fd, mode) end
  w.gate, w.poll = gate, assert(uv.new_poll(gate and gate:fd() or fd))
  w.poll:start(gate and "r" or mode, function(err, ready) finish(w, gate and gate:result() or err and mode or ready) end)
end

function host.wait(fd, mode, timeout)
  local w = setmetatable({ co = coroutine.running() }, Wait)
  if fd then watch(w, fd, mode) end
  if timeout then w.timer = after(timeout, function() finish(w) end) end
  waiting[w.co] = w
  local result = defer.close(w, coroutine.yield)
  if w.over then return result end
  release(w) -- resumed by somebody else
end

function host.wake(co)
  local w = waiting[co]
  if not w then return end
  release(w)
  w.timer = after(0, function() finish(w, "woken") end)
end

function host.spawn(fn) after(0, function(handle) handle:close() resume(coroutine.create(fn)) end) end

return host
