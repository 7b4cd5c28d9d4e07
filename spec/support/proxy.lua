-- SPDX-License-Identifier: MIT
--
-- proxy.lua: a proxy between client and server that does what networks do; a process of its own, so
-- that it works whatever this one is doing.
--
--   local proxy = require("spec.support.proxy").start(pg.conninfo())     -- nil and why without luv
--   local db = fastpg.create_pool(proxy:conninfo())
--   proxy:fault("cut", { from = "server", after = 100 })     proxy:fault "pass"     proxy:close()
--
-- A fault is for all connections, present and to come, until the next order; with `times = n` for so
-- many of them. `from` says whose bytes are meant ("server", "client", "both"), `after` how many of
-- them still pass, counted from the order on:
--   pass      nothing
--   cut       both ends are closed (reset = true: by a reset)
--   truncate  the bytes before are delivered, then the connection ends
--   stall     silence; with `seconds` it is cut after them; "pass" lets what waited go on
--   dribble   `chunk` bytes each `every` milliseconds
--   refuse    nobody listens; connections that are open stay
--   halfopen  the server's side is gone, and the client is not told
--   random    each new connection comes to an end of its own: { seed =, calm = percent without a fault,
--             bytes = the most before it, seconds = the longest silence }

local core = require "fastpg.core"

local proxy = {}
proxy.__index = proxy

local ANSWER_SECONDS = 10

-- Sets lua to an interpreter that has luv.
local FIND = [[
for lua in luajit lua5.4 lua5.3 lua5.1 ''; do
  if [ -z "$lua" ] || $lua -e 'require "luv"' >/dev/null 2>&1; then break; fi
done
]]

-- (A write to a server that has just gone would end it by a signal: libuv asks for an error by sockets only.)
local SCRIPT = "unset FASTPG_SCRIPT\ntrap '' PIPE\n" .. FIND .. [[
if [ -n "$lua" ]; then exec $lua -e "$program"; fi
echo "-no Lua here has luv (package lua-luv)"
]]

local function read(path)
  local f = assert(io.open(path))
  local text = f:read "*a"
  f:close()
  return text
end

local function answer(self)
  local line, timeout = self.process:receive(ANSWER_SECONDS)
  if timeout or not line then error("the proxy " .. (timeout and "does not answer" or "has ended"), 3) end
  if line:sub(1, 1) == "+" then return line:sub(2) end
  return nil, line:sub(2)
end

local function order(self, name, options)
  local words = { name }
  for key, value in pairs(options or {}) do words[#words + 1] = ("%s=%s"):format(key, tostring(value)) end
  self.process:send(table.concat(words, " ") .. "\n")
  return answer(self)
end

--- Whether a proxy can be started here.
function proxy.available()
  local pipe = io.popen(FIND .. 'echo "$lua"')
  local found = pipe:read "*l"
  pipe:close()
  return found ~= ""
end

local function place_of(conninfo)
  if conninfo.host:sub(1, 1) ~= "/" then return { host = conninfo.host, port = conninfo.port } end
  return { path = ("%s/.s.PGSQL.%d"):format(conninfo.host, conninfo.port) }
end

--- Starts one before the server of this conninfo (host, a folder of sockets too, and port).
function proxy.start(conninfo)
  local program = read "spec/support/proxy_process.lua"
  local script = ("program='%s'\n"):format((program:gsub("'", "'\\''"))) .. SCRIPT
  local self = setmetatable({ process = core.supervise(script, { "postgres", "nobody" }), upstream = conninfo }, proxy)
  local port, why = order(self, "upstream", place_of(conninfo))
  if not port then
    self.process:close()
    return nil, why
  end
  self.port = tonumber(port)
  return self
end

--- What reaches the server by the proxy; `more` is added.
function proxy.conninfo(self, more)
  local all = {}
  for key, value in pairs(self.upstream) do all[key] = value end
  all.host, all.port, all.sslmode, all.gssencmode = "127.0.0.1", self.port, "disable", "disable"
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

function proxy.fault(self, mode, options)
  local o = { mode = mode, from = "both" }
  for key, value in pairs(options or {}) do o[key] = value end
  assert(order(self, "fault", o))
end

--- Connections to come go to another server.
function proxy.redirect(self, conninfo)
  assert(order(self, "redirect", place_of(conninfo)))
end

--- Ends the connections there are; the mode stays.
function proxy.cut(self, reset)
  assert(order(self, "cut", { reset = reset }))
end

--- accepted, open, cancels (cancel requests), faults, to_server, to_client (bytes)
function proxy.counts(self)
  local counts = {}
  for name, n in assert(order(self, "counts")):gmatch "(%w[%w_]*)=(%d+)" do counts[name] = tonumber(n) end
  return counts
end

function proxy.close(self)
  self.process:close()
end

return proxy
