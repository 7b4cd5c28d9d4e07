-- SPDX-License-Identifier: MIT
--
-- pooler.lua: a private PgBouncer for specs, in a directory and on a unix socket of its own.  It ends with this process.
--
--   local pooler = require("spec.support.pooler").start(pg.conninfo(), { pool_mode = "transaction" })
--   local db = fastpg.connect(pooler:conninfo())          pooler:close()

local core = require "fastpg.core"

local pooler = {}
pooler.__index = pooler

local START_SECONDS = 20

-- ini is set before.
local SCRIPT = [==[
unset FASTPG_SCRIPT
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/sbin:/sbin"
umask 077
dir=$(mktemp -d /tmp/fastpg-XXXXXXXX) || { echo "-no directory"; exit 1; }
printf '%s\n' "$ini" | sed "s|@dir@|$dir|g" >"$dir/ini"
pgbouncer "$dir/ini" </dev/null >"$dir/out" 2>&1 &
pid=$!
for _ in $(seq 200); do
  if grep -q "process up" "$dir/log" 2>/dev/null; then break; fi # (its socket is there before it listens)
  kill -0 $pid 2>/dev/null || break
  sleep 0.05
done
if [ -S "$dir/.s.PGSQL.5432" ]; then echo "+$dir"; else tail -n 5 "$dir/out" "$dir/log"; echo "-PgBouncer does not start"; fi
while read -r _; do :; done
kill $pid 2>/dev/null
wait $pid
rm -rf "$dir"
echo "+"
]==]

local INI = [[
[databases]
* = host=%s port=%d user=%s
[pgbouncer]
listen_addr =
listen_port = 5432
unix_socket_dir = @dir@
logfile = @dir@/log
auth_type = any
max_client_conn = 200
server_check_query =
]]

--- Whether this machine has one.
function pooler.available()
  local pipe = io.popen 'PATH="$PATH:/usr/sbin" command -v pgbouncer'
  local found = pipe:read "*l"
  pipe:close()
  return found ~= nil
end

--- Starts one before the server of this conninfo.
---@param conninfo { host: string, port: integer, user: string }
---@param settings table<string, string|integer>?  of PgBouncer
function pooler.start(conninfo, settings)
  local ini = INI:format(conninfo.host, conninfo.port, conninfo.user)
  for name, value in pairs(settings or {}) do ini = ("%s%s = %s\n"):format(ini, name, value) end
  local script = ("ini='%s'\n"):format((ini:gsub("'", "'\\''"))) .. SCRIPT
  local self = setmetatable({ process = core.supervise(script, { "postgres", "nobody" }), upstream = conninfo }, pooler)
  local said = {}
  repeat
    local line, timeout = self.process:receive(START_SECONDS)
    said[#said + 1] = line
    if timeout or not line or line:sub(1, 1) == "-" then error("PgBouncer: " .. table.concat(said, "; "), 2) end
  until line:sub(1, 1) == "+"
  self.dir = said[#said]:sub(2)
  return self
end

--- What reaches the server by it; `more` is added.
function pooler.conninfo(self, more)
  local all = {}
  for key, value in pairs(self.upstream) do all[key] = value end
  all.host, all.port = self.dir, 5432
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

function pooler.close(self)
  self.process:close()
end

return pooler
