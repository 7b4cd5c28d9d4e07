-- SPDX-License-Identifier: MIT
--
-- wait.luv: libuv's loop, by luv or by Neovim (vim.uv, vim.loop).
--
-- A wait is a poll handle, a timer or both, closed when it ends, also by coroutine.close: between waits
-- nothing keeps the loop alive.  The coroutine yields nothing and is resumed here, whoever made it.
-- Polled are gates where there are any (csrc/host/gate.c): luv writes to stderr when a connection is refused.

local assert, error, pcall, rawget, setmetatable, type = assert, error, pcall, rawget, setmetatable, type

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

-- ---- watches --------------------------------------------------------------------------------

-- A gate and the poll handle on it, which are used again and again: between waits the handle is not referred to, so that
-- it keeps no loop alive, and the gate is silent.  One that watched a descriptor before is taken for it again.

local MOST_RESTING = 64

local resting, count = {}, 0 -- descriptor -> what watched it last

local function close(watch)
  watch.poll:close()
  watch.gate:close()
end

local function rest(watch, has_fired)
  watch.wait = nil
  if count >= MOST_RESTING or resting[watch.fd] or not has_fired and not watch.gate:unstick() then return close(watch) end
  watch.poll:unref()
  resting[watch.fd] = watch
  count = count + 1
end

local finish

local function new_watch()
  local gate = core.gate()
  local watch = { gate = gate, poll = assert(uv.new_poll(gate:fd())) }
  watch.poll:start("r", function()
    local result = gate:result()
    local w = watch.wait
    if w and result then
      w.has_fired = true
      finish(w, result)
    end
  end)
  return watch
end

-- Whether the watch is for that descriptor now; one that can't be is closed: an open handle would keep the loop alive.
local function stick(watch, fd, mode)
  local ok, is_stuck = pcall(watch.gate.stick, watch.gate, fd, mode)
  if ok and is_stuck then return true end
  close(watch)
  if not ok then error(is_stuck, 0) end
  return false
end

local function take_watch(fd, mode)
  local watch = resting[fd]
  if watch then
    resting[fd], count = nil, count - 1
    if stick(watch, fd, mode) then
      watch.poll:ref()
      return watch
    end
  end
  watch = new_watch()
  watch.fd = fd
  stick(watch, fd, mode)
  return watch
end

local function release(w)
  if w.watch then rest(w.watch, w.has_fired) end
  if w.poll then w.poll:close() end
  if w.timer then w.timer:close() end
  w.watch, w.poll, w.timer, waiting[w.co] = nil, nil, nil, nil
end
local Wait = { __close = release }

local function resume(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if not ok then host.on_error(err, debug.traceback(co)) end
end

function finish(w, result)
  release(w)
  w.over = true
  if coroutine.status(w.co) == "suspended" then resume(w.co, result) end
end

local function begin(w, fd, mode)
  if gates.available then
    w.watch = take_watch(fd, mode)
    w.watch.wait = w
    return
  end
  w.poll = assert(uv.new_poll(fd))
  w.poll:start(mode, function(err, ready) finish(w, err and mode or ready) end)
end

function host.wait(fd, mode, timeout)
  local w = setmetatable({ co = coroutine.running() }, Wait)
  if fd then begin(w, fd, mode) end
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
