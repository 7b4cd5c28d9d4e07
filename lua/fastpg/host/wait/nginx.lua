-- SPDX-License-Identifier: MIT
--
-- wait.nginx: the host of light threads, in nginx with ngx_http_lua.
--
-- nginx's own event loop watches the socket (csrc/host/nginx.c); where it can't, wait.nginx_poll does.

local assert, ipairs, pairs, pcall, rawget, setmetatable, tostring =
  assert, ipairs, pairs, pcall, rawget, setmetatable, tostring

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local block = require "fastpg.host.wait.block"
local poll = require "fastpg.host.wait.nginx_poll"

local ngx, running, host = rawget(_G, "ngx"), coroutine.running, { name = "nginx" }

local PHASES = { init = "blocks", init_worker = "blocks" } -- nobody is served yet
for phase in ("rewrite access content timer server_rewrite ssl_cert ssl_session_fetch ssl_client_hello"):gmatch "%S+" do
  PHASES[phase] = "waits"
end

local watchers, notifying = setmetatable({}, { __mode = "k" }), false
local function notify()
  notifying = true
  for object, fn in pairs(watchers) do
    local ok, err = pcall(fn, object)
    if not ok then ngx.log(ngx.ERR, "fastpg: ", tostring(err)) end
  end
  notifying = false
end

local events, why
if os.getenv "FASTPG_NGINX" == "polling" then why = "FASTPG_NGINX=polling" else events, why = core.nginx_events(notify) end
-- can_wait() · group(): which request this is · for pools hold() -> group: it holds one connection more,
-- release(group): one less, is_lost(fd, group): that request is over, or who waited for fd was killed
for _, name in ipairs{ "can_wait", "group", "hold", "release", "is_lost" } do host[name] = (events or poll)[name] end

function host.info() return { method = events and "events" or "polling", reason = why } end

--- Raises, except where a call may block: before requests are served.
function host.refuse()
  local phase = notifying and "of cleaning up" or ngx and ngx.get_phase() or "init"
  if PHASES[phase] == "blocks" then return end
  errors.raise("blocking_call", PHASES[phase]
    and "Lua can't yield here, as nginx needs it to: at a module's top level or in a callback of sort or gsub"
    or ("nginx can't wait in its phase %s: ngx.timer.at(0, fn) runs fn where it can"):format(phase))
end

local waits = setmetatable({}, { __mode = "k" }) -- of each coroutine, used again and again
--- Suspends the calling light thread.
---@param idle boolean?  nginx need not wait for this one when the worker is to end: it raises then
function host.wait(fd, mode, timeout, idle)
  local co, problem, parked = running(), "place"
  if events and co then
    local wait = waits[co] or events.new()
    waits[co] = wait
    parked, problem = events.park(wait, fd, mode, timeout, idle)
    if parked ~= nil then return events.settle(wait) end
  end
  if problem == "connections" or host.can_wait() then return poll.wait(fd, mode, timeout) end
  host.refuse()
  return block.wait(fd or -1, mode or "r", timeout)
end

function host.wake(co)
  if events and waits[co] then events.wake(waits[co]) end
  poll.wake(co)
end

--- Whether that coroutine was killed in its wait.
function host.is_gone(co) return events and waits[co] and events.is_gone(waits[co]) end

function host.spawn(fn, background)
  if background or not host.can_wait() then return assert(ngx.timer.at(0, fn)) end
  ngx.thread.spawn(function() host.wait(nil, nil, 0) fn() end)
end

--- Has fn(object) called, where nothing can wait, soon after a waiter was killed or a request with a
--- connection ended.  The object is not kept alive by that.
function host.watch(object, fn) watchers[object] = fn end

return host
