-- SPDX-License-Identifier: MIT
--
-- nginx.lua: requests per second of one nginx worker whose page reads one row, fastpg and pgmoon in one run.
--
--   make bench-nginx                    PGMOON=directory that has pgmoon/init.lua     CLIENTS="16 64"
--                                       ROUNDS=3  SECONDS=3
--
-- What is measured is the worker: its CPU time per request, beside the requests per second, which on a
-- machine of few cores are as much the server's and wrk's own.

local fastpg = require "fastpg"
local nginx = require "spec.support.nginx"

local ROUNDS = tonumber(os.getenv "ROUNDS") or 3
local SECONDS = tonumber(os.getenv "SECONDS") or 3
local PGMOON = os.getenv "PGMOON"
local TICKS = tonumber(nginx.output "getconf CLK_TCK")
local PORT = 20000 + tonumber(nginx.output "echo $$") % 10000

local PAGES = [==[
  listen 127.0.0.1:$port;
  location = /lua { content_by_lua_block { ngx.say "n1" } }
  location = /fastpg { content_by_lua_block { require("pages").fastpg() } }
  location = /pgmoon { content_by_lua_block { require("pages").pgmoon() } }
]==]

local MODULE = [==[
local pages = {}
local conninfo = { host = "127.0.0.1", port = %d, user = %q, password = %q, database = "postgres" } -- for both
local random = math.random
local artist = require("fastpg").create_pool(conninfo, { max_size = 30 }).t.bench_artist
function pages.fastpg() ngx.say(artist[random(300)].name) end
function pages.pgmoon()
  local conn = require("pgmoon").new(
    { socket_type = "nginx", host = conninfo.host, port = conninfo.port, user = conninfo.user,
      password = conninfo.password, database = conninfo.database })
  assert(conn:connect())
  local rows = assert(conn:query("SELECT * FROM bench_artist WHERE artist_id = " .. conn:escape_literal(random(300))))
  ngx.say(rows[1].name)
  conn:keepalive(nil, 30)
end
return pages
]==]

local function cpu_of(pid)
  local user, system = nginx.read_file("/proc/" .. pid .. "/stat")
    :match "%) %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)"
  return (user + system) / TICKS
end

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

local server
local function measure(page, clients)
  local worker = server:workers():match "%d+"
  local before = cpu_of(worker)
  local said = nginx.output(("wrk -t1 -c%d -d%d http://127.0.0.1:%d/%s"):format(clients, SECONDS, PORT, page))
  local rate = tonumber(said:match "Requests/sec:%s*([%d.]+)")
  local refused = said:match "Non%-2xx or 3xx responses: (%d+)"
  if refused then error(page .. ": " .. refused .. " requests failed\n" .. server:log()) end
  return rate, (cpu_of(worker) - before) / tonumber(said:match "(%d+) requests in") * 1e6
end

local pg = fastpg.cluster{ settings = { listen_addresses = "127.0.0.1", max_connections = 200 } } -- pgmoon comes by TCP
local at, db = pg.conninfo, pg:connect()
db:execute[[create table bench_artist (artist_id int primary key, name text);
  insert into bench_artist select i, 'n' || i from generate_series(1, 300) i; analyze bench_artist]]
db:close()
local contestants = { "lua", "fastpg" }
if PGMOON then contestants[3] = "pgmoon" else print "bench-nginx: without pgmoon (PGMOON=directory)" end
server = nginx.start{
  http = "lua_socket_log_errors off; keepalive_requests 100000000;" ,
  server = PAGES:gsub("$port", tostring(PORT)), connections = 1024,
  files = { ["pages.lua"] = MODULE:format(at.port, at.user, at.password) },
  path = PGMOON and ("%s/?.lua;%s/?/init.lua"):format(PGMOON, PGMOON),
}

print(("%8s  %-8s %12s %22s"):format("clients", "page", "requests/s", "CPU of worker, µs"))
for clients in (os.getenv "CLIENTS" or "16 64"):gmatch "%d+" do
  local rates, costs = {}, {}
  for round = 0, ROUNDS do
    for _, page in ipairs(contestants) do
      local rate, cost = measure(page, clients)
      if round == 0 then rates[page], costs[page] = {}, {} -- it connects
      else
        rates[page][round], costs[page][round] = rate, cost
      end
    end
  end
  for _, page in ipairs(contestants) do
    print(("%8s  %-8s %12.0f %22.0f"):format(clients, page, median(rates[page]), median(costs[page])))
  end
  if PGMOON then
    print(("%8s  fastpg serves %.1f times pgmoon's requests, with %.1f times less CPU each"):format(clients,
      median(rates.fastpg) / median(rates.pgmoon), median(costs.pgmoon) / median(costs.fastpg)))
  end
end
io.write(server:stop())
pg:close()
