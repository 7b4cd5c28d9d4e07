-- SPDX-License-Identifier: MIT
--
-- One list of behaviours (spec/support/behaviours.lua), the same code under every host.  It takes half a
-- minute for each, so each Lua runs some of them; HOSTS="step luv" runs these, HOSTS=all all there are.

local behaviours = require "spec.support.behaviours"
local core = require "fastpg.core"
local fastpg = require "fastpg"
local nginx = require "spec.support.nginx"
local pg = require "spec.support.pg"
local proxy = require "spec.support.proxy"
local yields = require "spec.support.yields"

local SHARE = {
  ["Lua 5.4"] = "block step luv cqueues", ["Lua 5.3"] = "step", ["Lua 5.1"] = "block",
  LuaJIT = "copas custom nginx",
}
local ALL = "block step luv cqueues copas custom nginx"
local hosts = os.getenv "HOSTS" or SHARE[rawget(_G, "jit") and "LuaJIT" or _VERSION] or "step"
if hosts == "all" then hosts = ALL end

local LIMIT = 60 -- seconds that one may take

-- ---- the drivers ----------------------------------------------------------------------------

-- Each gives { loop =, run = fn(begin, is_over), ticker = fn(seconds, fn) -> stop }: `run` starts the
-- loop, calls begin() where tasks can be spawned, and returns when is_over() is true.
local drivers = {}

-- A timer of fastpg's own.
local function own_ticker(seconds, fn)
  local task = fastpg.spawn(function()
    while true do
      fastpg.sleep(seconds)
      fn()
    end
  end)
  return function() task:cancel() end
end

function drivers.block()
  return { loop = "block", exact = true, run = function(begin) begin() end, ticker = own_ticker }
end

function drivers.step()
  return { loop = "step", exact = true, ticker = own_ticker, run = function(begin, is_over)
    begin()
    while not is_over() do fastpg.step(0.1) end
    fastpg.step(0)
  end }
end

function drivers.luv()
  local uv = require "luv"
  return {
    loop = "luv",
    run = function(begin, is_over)
      local clock = uv.new_timer() -- else "once" waits for ever where nothing comes
      clock:start(100, 100, function() end)
      clock:unref()
      begin()
      while not is_over() do
        if not uv.run "once" then core.poll(-1, "r", 0.001) end
      end
      clock:close()
      uv.run "nowait" -- luv itself crashes at exit where handles are still being closed
    end,
    ticker = function(seconds, fn)
      local timer = uv.new_timer()
      timer:start(seconds * 1000, seconds * 1000, fn)
      return function() timer:close() end
    end,
  }
end

function drivers.cqueues()
  local cqueues = require "cqueues"
  return {
    loop = "cqueues", exact = true,
    run = function(begin, is_over)
      local controller = cqueues.new()
      controller:wrap(begin)
      while not is_over() do assert(controller:step(0.1)) end
      controller:close()
    end,
    ticker = function(seconds, fn)
      local stopped
      cqueues.running():wrap(function()
        while not stopped do
          cqueues.sleep(seconds)
          fn()
        end
      end)
      return function() stopped = true end
    end,
  }
end

function drivers.copas()
  local copas = require "copas"
  return { loop = "copas", ticker = own_ticker, run = function(begin, is_over)
    begin()
    while not is_over() do copas.step(0.1) end
  end }
end

-- A user's own little scheduler, which polls one descriptor after the other.
function drivers.custom()
  local waits = {}
  local function resume(co, ...) assert(coroutine.resume(co, ...)) end
  return {
    loop = {
      wait = function(fd, mode, timeout)
        waits[coroutine.running()] = { fd = fd, mode = mode, ends = timeout and core.clock() + timeout }
        return coroutine.yield()
      end,
      sleep = function(seconds)
        waits[coroutine.running()] = { fd = -1, mode = "r", ends = core.clock() + seconds }
        coroutine.yield()
      end,
      spawn = function(fn) resume(coroutine.create(fn)) end,
    },
    ticker = own_ticker,
    run = function(begin, is_over)
      begin()
      while not is_over() do
        local list = {}
        for co, w in pairs(waits) do
          local mode = core.poll(w.fd, w.mode, 0)
          if mode or w.ends and w.ends <= core.clock() then list[#list + 1] = { co, mode } end
        end
        for _, item in ipairs(list) do
          waits[item[1]] = nil
          resume(item[1], item[2])
        end
        if not list[1] then core.poll(-1, "r", 0.0005) end
      end
    end,
  }
end

-- ---- running --------------------------------------------------------------------------------

local function descriptors()
  local pipe = io.popen "ls /proc/$PPID/fd | wc -l"
  local n = pipe:read "*n"
  pipe:close()
  return n
end

-- Runs fn(t) as a task under the driver's loop; raises what it raised.
local function run(driver, fn, t)
  local over, ok, err = false, nil, nil
  local ends = core.clock() + LIMIT
  local function task() ok, err = xpcall(function() return fn(t) end, function(e) return { e, debug.traceback() } end) over = true end
  driver.run(function()
    if driver.loop == "block" then return task() end
    fastpg.spawn(task)
  end, function()
    if core.clock() > ends then error("it hangs", 0) end
    return over
  end)
  if not over then error("the loop ended before the behaviour", 0) end
  if not ok then error(tostring(err[1]) .. "\n" .. err[2], 0) end
  return err
end

local function behave(driver, env, behaviour)
  local t = behaviours.context(env, behaviour.name)
  fastpg.set_loop(driver.loop)
  local ok, err = pcall(function()
    local after = run(driver, behaviour.fn, t)
    if behaviour.then_ then run(driver, behaviour.then_, t) end
    if type(after) == "function" then run(driver, after, t) end
  end)
  local finished, problem = pcall(run, driver, function() t:finish(ok) end, t)
  fastpg.set_loop "auto"
  if not ok then error(err, 0) end
  if not finished then error(problem, 0) end
end

local silent

setup(function()
  if not proxy.available() then return end
  silent = proxy.start(pg.conninfo())
  silent:fault "stall"
end)
teardown(function() if silent then silent:close() end end)

-- ---- nginx -------------------------------------------------------------------------------------

-- Each part of a behaviour is a request of its own.
local APP = [==[
package.path = "$here/?.lua;" .. package.path
local behaviours = require "spec.support.behaviours"
local core, fastpg = require "fastpg.core", require "fastpg"

local function descriptors()
  local pipe = io.popen "ls /proc/$PPID/fd | wc -l"
  local n = pipe:read "*n"
  pipe:close()
  return n
end

local function ticker(seconds, fn)
  local stopped
  ngx.thread.spawn(function()
    while not stopped do
      ngx.sleep(seconds)
      fn()
    end
  end)
  return function() stopped = true end
end

local env = { fastpg = fastpg, host = "nginx", clock = core.clock, ticker = ticker, descriptors = descriptors,
  conninfo = $conninfo, silent = $silent }
local t

local parts = {
  fn = function(b) t = behaviours.context(env, b.name) b.fn(t) end,
  then_ = function(b) b.then_(t) end,
  finish = function() t:finish(ngx.var.arg_ok == "1") end,
}

return function()
  local behaviour = behaviours[tonumber(ngx.var.arg_i)]
  local ok, err = xpcall(parts[ngx.var.arg_part], function(e) return tostring(e) .. "\n" .. debug.traceback() end, behaviour)
  ngx.print(ok and "ok" or err)
end
]==]

local function literal(conninfo)
  local parts = {}
  for k, v in pairs(conninfo) do parts[#parts + 1] = ("%s = %q"):format(k, tostring(v)) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- What runs here does not depend on this Lua: once is enough.  A .so with a sanitizer can't be loaded.
local runs_nginx = rawget(_G, "jit") and nginx.available() and not os.getenv("FPG_TEST_LUA"):find " "
if runs_nginx and hosts:find "nginx" then
  describe("under the host nginx:", function()
    local server
    setup(function()
      local app = APP:gsub("%$silent", function() return silent and literal(silent:conninfo()) or "nil" end)
      server = nginx.start{ files = { ["app.lua"] = app },
        server = 'location = /run { content_by_lua_block { require("app")() } }' }
    end)
    teardown(function() assert.are.equal("", server:stop()) end)

    local function ask(i, part, ok)
      local body = server:get(("/run?i=%d&part=%s&ok=%d"):format(i, part, ok and 1 or 0))
      return body == "ok", body
    end

    for i, behaviour in ipairs(behaviours) do
      it(behaviour.name, function()
        if behaviour.silent and not silent then return pending "needs luv, for the proxy" end
        local ok, body = ask(i, "fn")
        if ok and behaviour.then_ then ok, body = ask(i, "then_") end
        local finished, problem = ask(i, "finish", ok)
        if not ok then error(body .. "\n" .. server:lines "%[error%]", 0) end
        if not finished then error(problem, 0) end
      end)
    end
  end)
end

-- ---- the others --------------------------------------------------------------------------------

for name in hosts:gsub("nginx", ""):gmatch "%a+" do
  describe("under the host " .. name .. ":", function()
    local ok, driver = pcall(drivers[name])
    if not ok or not yields and name ~= "block" then
      pending("is not there for this Lua: " .. tostring(driver):match "[^\n]*")
      return
    end
    local env = { fastpg = fastpg, host = name, exact = driver.exact, clock = core.clock, ticker = driver.ticker,
      descriptors = descriptors }
    setup(function()
      env.conninfo, env.silent = pg.conninfo(), silent and silent:conninfo()
    end)
    teardown(function()
      if env.admin then env.admin:close() end
    end)
    for _, behaviour in ipairs(behaviours) do
      if (name ~= "block" or behaviour.blocking) then
        it(behaviour.name, function()
          if behaviour.silent and not env.silent then return pending "needs luv, for the proxy" end
          behave(driver, env, behaviour)
        end)
      end
    end
  end)
end
