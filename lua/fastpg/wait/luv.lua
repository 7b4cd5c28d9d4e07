-- SPDX-License-Identifier: MIT
--
-- wait.luv: libuv's loop, by luv or by Neovim (vim.uv, vim.loop).
--
-- A wait is a poll handle, a timer or both, closed when it ends; the coroutine yields nothing and is
-- resumed here, so any coroutine will do, whoever made it.  Between waits there is no handle, and
-- nothing keeps the loop alive.  Closing a waiting coroutine (Lua 5.4) closes its handles too.

local core = require "fastpg.core"
local errors = require "fastpg.errors"

local nvim = rawget(_G, "vim")
local uv = type(nvim) == "table" and (nvim.uv or nvim.loop) or require "luv"

local host = { name = "luv", can_wait = core.is_yieldable or coroutine.isyieldable }
local waiting = {} -- coroutine -> its wait

--- Told of errors that end a coroutine which is nobody's task; replaced from outside.
function host.on_error(err, traceback) io.stderr:write(tostring(err), "\n", traceback, "\n") end

local function start_timer(seconds, fn)
  local timer = assert(uv.new_timer())
  uv.update_time() -- the loop's clock stands still while Lua runs
  timer:start(math.ceil(math.min(seconds, 1e6) * 1000), 0, fn) -- a wait may end early
  return timer
end

local function release(w)
  if w.poll then w.poll:close() end
  if w.timer then w.timer:close() end
  w.poll, w.timer, waiting[w.co] = nil, nil, nil
end

local function resume(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if not ok then host.on_error(err, debug.traceback(co)) end
end

local function finish(w, result)
  release(w)
  w.over = true
  if coroutine.status(w.co) == "suspended" then resume(w.co, result) end
end

local Wait = { __close = release }

-- For the loop "for _ in once, nil, nil, w", which runs once and on Lua 5.4 closes w however it is left.
local function once(_, again) return not again or nil end

function host.wait(fd, mode, timeout)
  local w = setmetatable({ co = coroutine.running() }, Wait)
  if fd then
    local poll, why = uv.new_poll(fd)
    if not poll then errors.raise("connection", ("descriptor %d can't be waited for: %s"):format(fd, why)) end
    w.poll = poll -- an error of the descriptor is for libpq to find
    poll:start(mode, function(err, ready) finish(w, err and mode or ready) end)
  end
  if timeout then w.timer = start_timer(timeout, function() finish(w) end) end
  waiting[w.co] = w
  local result
  for _ in once, nil, nil, w do result = coroutine.yield() end
  if w.over then return result end
  release(w) -- resumed by somebody else
end

function host.wake(co)
  local w = waiting[co]
  if not w then return end
  release(w)
  w.timer = start_timer(0, function() finish(w, "woken") end)
end

function host.spawn(fn)
  local timer
  timer = start_timer(0, function() timer:close() resume(coroutine.create(fn)) end)
end

return host
