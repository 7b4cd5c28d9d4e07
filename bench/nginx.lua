-- SPDX-License-Identifier: MIT
--
-- nginx.lua: requests per second of one nginx worker whose page reads one row: by fastpg, by raw libpq through LuaJIT's FFI
-- (which blocks the worker meanwhile: the floor) and by pgmoon, in one run.
--
--   make bench-nginx                    PGMOON=directory that has pgmoon/init.lua     CLIENTS="16 64"
--                                       ROUNDS=5  SECONDS=3  QUICK=1
--
-- What is measured is the worker: its CPU time per request, beside the requests per second, which on a
-- machine of few cores are as much the server's and wrk's own.

local fastpg = require "fastpg"
local nginx = require "spec.support.nginx"

local results = dofile "bench/results.lua"

local QUICK = os.getenv "QUICK"
local ROUNDS = tonumber(os.getenv "ROUNDS") or QUICK and 2 or 5
local SECONDS = tonumber(os.getenv "SECONDS") or QUICK and 1 or 3
local PGMOON = os.getenv "PGMOON"
local TICKS = tonumber(nginx.output "getconf CLK_TCK")
local PORT = 20000 + tonumber(nginx.output "echo $$") % 10000

local PAGES = [==[
  listen 127.0.0.1:$port;
  location = /lua { content_by_lua_block { ngx.say "n1" } }
  location = /fastpg { content_by_lua_block { require("pages").fastpg() } }
  location = /libpq { content_by_lua_block { require("pages").libpq() } }
  location = /pgmoon { content_by_lua_block { require("pages").pgmoon() } }
]==]

local MODULE = [==[
local pages = {}
local conninfo = { host = "127.0.0.1", port = %d, user = %q, password = %q, database = "postgres" } -- for both
local random = math.random
local artist = require("fastpg").create_pool(conninfo, { max_size = 30 }).t.bench_artist
function pages.fastpg() ngx.say(artist[random(300)].name) end
local ffi = require "ffi"
ffi.cdef[[
  typedef struct PGconn PGconn; typedef struct PGresult PGresult;
  PGconn *PQconnectdb(const char *conninfo); int PQstatus(PGconn *); void PQclear(PGresult *);
  PGresult *PQprepare(PGconn *, const char *, const char *, int, void *);
  PGresult *PQexecPrepared(PGconn *, const char *, int, const char *const *, const int *, const int *, int);
  int PQresultStatus(PGresult *); char *PQgetvalue(PGresult *, int, int); int PQgetlength(PGresult *, int, int);
]]
local pq, raw = ffi.load "libpq.so.5"
local key, values, lengths, binary = ffi.new "uint8_t[4]", ffi.new "const char *[1]", ffi.new("int[1]", 4), ffi.new("int[1]", 1)
values[0] = ffi.cast("const char *", key)
function pages.libpq()
  if not raw then
    raw = pq.PQconnectdb(("host=127.0.0.1 port=%%d user=%%s password=%%s dbname=postgres"):format(
      conninfo.port, conninfo.user, conninfo.password))
    assert(pq.PQstatus(raw) == 0)
    pq.PQclear(pq.PQprepare(raw, "artist", "SELECT * FROM bench_artist WHERE artist_id = $1", 0, nil))
  end
  local id = random(300)
  key[2], key[3] = math.floor(id / 256), id %% 256
  local result = pq.PQexecPrepared(raw, "artist", 1, values, lengths, binary, 1)
  assert(pq.PQresultStatus(result) == 2)
  local name = ffi.string(pq.PQgetvalue(result, 0, 1), pq.PQgetlength(result, 0, 1))
  pq.PQclear(result)
  ngx.say(name)
end
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

-- pgmoon comes by TCP
local pg = fastpg.cluster{ settings = { port = PORT + 10000, listen_addresses = "127.0.0.1", max_connections = 200 } }
local at, db = pg.conninfo, pg:connect()
db:execute[[create table bench_artist (artist_id int primary key, name text);
  insert into bench_artist select i, 'n' || i from generate_series(1, 300) i; analyze bench_artist]]
db:close()
local contestants = { "lua", "libpq", "fastpg" }
if PGMOON then contestants[4] = "pgmoon" else print "bench-nginx: without pgmoon (PGMOON=directory)" end
server = nginx.start{
  http = "lua_socket_log_errors off; keepalive_requests 100000000;" ,
  server = PAGES:gsub("$port", tostring(PORT)), connections = 1024,
  files = { ["pages.lua"] = MODULE:format(at.port, at.user, at.password) },
  path = PGMOON and ("%s/?.lua;%s/?/init.lua"):format(PGMOON, PGMOON),
}


print(("%8s  %-8s %12s %22s"):format("clients", "page", "requests/s", "CPU of worker, µs"))
local found = {}
for clients in (os.getenv "CLIENTS" or "16 64"):gmatch "%d+" do
  local costs = {}
  for _, page in ipairs(contestants) do
    costs[page] = { cpu = {}, wall = {} }
    measure(page, clients) -- it connects
  end
  for round = 1, ROUNDS do
    for i = 1, #contestants do
      local page = contestants[(i + round - 2) % #contestants + 1]
      local rate, cost = measure(page, clients)
      costs[page].cpu[round], costs[page].wall[round] = cost, 1e6 / rate
    end
  end
  for _, page in ipairs(contestants) do
    local wall, cpu = results.spread(costs[page].wall), results.spread(costs[page].cpu)
    print(("%8s  %-8s %12.0f %22.0f"):format(clients, page, 1e6 / wall, cpu))
  end
  for _, target in ipairs(results.nginx_targets) do
    local ratio, least, most = results.ratio(costs[target.other], costs.fastpg, target.key)
    if ratio and target.clients == clients then
      print(("%8s  fastpg: %.2f (%.2f-%.2f) of %s's %s, to be %.2f: %s"):format(clients, ratio, least, most, target.other,
        target.what, target.least, ratio >= target.least and "reached" or "NOT reached"))
    end
  end
  found["clients" .. clients] = costs
end
local file = QUICK and results.scaled or nil
local all = results.read(file)
all.nginx = found
results.write(all, file)
io.write(server:stop())
pg:close()
