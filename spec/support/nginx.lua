-- SPDX-License-Identifier: MIT
--
-- nginx.lua: a private nginx for specs: its own directory, unix socket and processes.
--
--   local server = nginx.start{ http = "...", server = "location ... { }", main = "...", workers = 1 }
--   server:get("/path")             -> body, status
--   server:get_all({ paths }, ...)  -> list of { body, status }, asked at the same time
--   server:log()                    -> what it logged so far;  server:errors() the lines that are [error] or worse
--   server:reload()  server:stop()  -> stop waits for the end and returns the log's lines of level alert and worse
--
-- In the texts $conninfo is the server of the specs as a Lua table, $dir the nginx's directory.

local pg = require "spec.support.pg"

local Server = {}
Server.__index = Server

local nginx = {}

local function read_file(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local text = f:read "*a"
  f:close()
  return text
end
nginx.read_file = read_file

local function write_file(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end
nginx.output = output

local function quoted(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local here = output("pwd -P"):gsub("\n", "")

--- Whether this machine has what is needed.
function nginx.available()
  return output("test -f /usr/lib/nginx/modules/ngx_http_lua_module.so && command -v nginx curl"):find "nginx" ~= nil
end

--- The server of the specs, written as a Lua table.
local function conninfo()
  local c = pg.conninfo()
  return ("{ host = %q, port = %d, user = %q, database = %q }"):format(c.host, c.port, c.user, c.database)
end

-- Modules as Debian ships them; workers without privileges where the master has some.
local CONF = [[
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
$user
daemon off;
worker_processes $workers;
error_log $dir/error.log $level;
pid $dir/pid;
env FASTPG_NGINX;
$main
events { worker_connections $connections; $events }
http {
  access_log off;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  lua_package_path "$dir/?.lua;$here/lua/?.lua;$here/lua/?/init.lua;$more;;";
  lua_package_cpath "$here/$build/?.so;;";
  $http
  server {
    listen unix:$dir/http.sock;
    root $dir;
    location = /static { return 200 "static\n"; }
    $server
  }
}
]]

local function fill(text, values)
  for _ = 1, 3 do text = text:gsub("%$([%l_]+)", values) end
  return text
end

-- The workers' user may not be allowed to read this checkout.
local function readable_copy(dir, build)
  output(("mkdir -p %s/here/%s && cp -r %s/lua %s/spec %s/examples %s/here && cp -r %s/%s/fastpg %s/here/%s"):format(
    dir, build, here, here, here, dir, here, build, dir, build))
  return dir .. "/here"
end

local function succeeds(command)
  local result = os.execute(command)
  return result == 0 or result == true
end

--- Starts one; raises what it says when it does not come up.
---@param opts { http: string?, server: string?, main: string?, events: string?, workers: integer?, connections: integer?, level: string?, path: string?, environment: string?, files: table? }
function nginx.start(opts)
  local dir = output("mktemp -d /tmp/fastpg-nginx-XXXXXX"):gsub("\n", "")
  -- the workers' user is the server's, whose socket nobody else may open
  local user = output("id -u"):find "^0" and "user " .. output(("stat -c '%%U %%G' '%s'"):format(pg.conninfo().host)) .. ";"
  os.execute("chmod 755 " .. dir)
  local self = setmetatable({ dir = dir, opts = opts }, Server)
  local build = opts.build or "build/" .. (os.getenv "BUILD_PREFIX" or "") .. "luajit"
  local values = {
    dir = dir, here = readable_copy(dir, build), main = opts.main or "", http = opts.http or "", server = opts.server or "",
    events = opts.events or "", workers = tostring(opts.workers or 1), level = opts.level or "warn",
    connections = tostring(opts.connections or 512), conninfo = conninfo(),
    user = user or "",
    build = build,
    more = opts.path or "",
  }
  self.values = values
  for name, text in pairs(opts.files or {}) do write_file(dir .. "/" .. name, fill(text, values)) end
  write_file(dir .. "/nginx.conf", fill(opts.conf or CONF, values))
  local command = ("cd / && %s exec %s nginx -p %s -c %s/nginx.conf -e %s/error.log"):format(
    opts.environment or "", opts.runner or "", dir, dir, dir)
  self.pid = tonumber((output(("sh -c %s >%s/out 2>&1 </dev/null & echo $!"):format(quoted(command), dir))))
  local seconds = 60
  if not self:wait_for("test -S " .. dir .. "/http.sock -o ! -d /proc/" .. self.pid, seconds)
    or not succeeds("test -d /proc/" .. self.pid) then
    local text = read_file(dir .. "/out") .. self:log()
    self:stop()
    error("nginx did not start: " .. text, 2)
  end
  return self
end

--- Runs a shell command again and again until it succeeds; false when it never did.
function Server:wait_for(command, seconds) -- luacheck: no unused
  return succeeds(("timeout %g sh -c %s"):format(seconds or 30, quoted("until " .. command .. "; do sleep 0.02; done")))
end

local function curl(self, path, options)
  return ("curl -s --max-time 90 %s --unix-socket %s/http.sock %s"):format(options or "", self.dir,
    quoted("http://localhost" .. path))
end

---@return string body
---@return integer status
function Server:get(path, options)
  local text = output(curl(self, path, "-w '\\n%{http_code}' " .. (options or "")))
  local body, status = text:match "^(.*)\n(%d+)$"
  return body, tonumber(status)
end

--- Asks all at the same time.
---@return { body: string, status: integer, seconds: number }[]
function Server:get_all(paths, options)
  local script = {}
  for i, path in ipairs(paths) do
    local files = ("-o %s/answer.%d -w '%%{http_code} %%{time_total}'"):format(self.dir, i)
    script[i] = ("%s >%s/status.%d &"):format(curl(self, path, files .. " " .. (options or "")), self.dir, i)
  end
  script[#script + 1] = "wait"
  write_file(self.dir .. "/ask.sh", table.concat(script, "\n"))
  os.execute("sh " .. self.dir .. "/ask.sh")
  local answers = {}
  for i = 1, #paths do
    local status, seconds = read_file(("%s/status.%d"):format(self.dir, i)):match "(%d+) ([%d.]+)"
    answers[i] = {
      body = read_file(("%s/answer.%d"):format(self.dir, i)), status = tonumber(status), seconds = tonumber(seconds),
    }
  end
  return answers
end

--- The command that asks, for a spec's own script.
function Server:command(path, options) return curl(self, path, options) end

function Server:log() return read_file(self.dir .. "/error.log") end

--- The lines of the log from this level on.
function Server:lines(pattern)
  local found = {}
  for line in self:log():gmatch "[^\n]+" do
    if line:find(pattern) then found[#found + 1] = line end
  end
  return table.concat(found, "\n")
end

--- Lines of level alert, crit, emerg: what must never be there.
function Server:alerts()
  return self:lines "%[alert%]" .. self:lines "%[emerg%]" .. self:lines "%[crit%]" .. self:lines "exited on signal"
end

function Server:signal(name) os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid)) end

function Server:workers()
  return output(("grep -ls '^PPid:[[:space:]]*%d$' /proc/[0-9]*/status | cut -d/ -f3"):format(self.pid)):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
end

function Server:reload() self:signal "HUP" end

--- Stops it (QUIT: after the requests under way; TERM: at once); returns its alerts.
function Server:stop(how)
  if not self.pid then return "" end
  local workers = self:workers()
  self:signal(how or "QUIT")
  if not self:wait_for(("! kill -0 %d 2>/dev/null"):format(self.pid)) then
    self:signal "KILL"
    os.execute("kill -KILL " .. workers .. " 2>/dev/null")
    self.killed = true
  end
  self.pid = nil
  local alerts = self:alerts()
  self.last_log = self:log()
  os.execute("rm -rf " .. self.dir)
  return alerts
end

return nginx
