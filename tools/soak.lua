-- SPDX-License-Identifier: MIT
--
-- soak.lua: writers and readers through a pool, behind the proxy of the specs in its random mode.
--
--   make soak SECONDS=60 LOOP=luv LUA=luajit          LOOP: block, step, luv, cqueues, copas, nginx
--
-- What must hold, and ends the run with exit code 1 where it doesn't:
--   an error is of kind "connection" or "timeout", and comes in time
--   an answer is the one to its question
--   what was confirmed is stored exactly once, what was not at most once; both rows of a transaction or none
--   as soon as the faults stop, every statement works, within the time a connection may take to be noticed
--   no backend and no descriptor is left over

local core = require "fastpg.core"
local fastpg = require "fastpg"
local proxies = require "spec.support.proxy"
local soak = require "spec.support.soak"

local seconds, loop = tonumber(arg[1]), arg[2]
local seed = tonumber(arg[3]) or os.time() % 100000
local blocking = loop == "block"
local WORKERS, CONNECTIONS = blocking and 1 or 24, blocking and 1 or 8
local COMMAND, CONNECT = 1, 1
local KEPT = 4 -- descriptors that helper threads may keep
local LIMIT = 30 -- seconds that a call may take: its times, the grace after them, the queue of the pool

io.stdout:setvbuf "line"
local problem = soak.problem

local server = fastpg.cluster{ settings = { max_connections = 200 } }
local direct = server:connect{ loop = "block" }
direct:execute "create table soak (n int, half int)"
local proxy = assert(proxies.start(server.conninfo))
fastpg.set_loop(loop)
local db = fastpg.create_pool(proxy:conninfo{ command_timeout = COMMAND, connect_timeout = CONNECT },
  { max_size = CONNECTIONS })

-- ---- what is done ---------------------------------------------------------------------------

local counts = { ok = 0, connection = 0, timeout = 0 }
local confirmed, serial = {}, 0

local function new_number()
  serial = serial + 1
  return serial
end

local jobs = {
  function()
    local n = new_number()
    local row = db:q("insert into soak values ($1, 1), ($1, 2) returning n", n)[1]
    confirmed[n] = true
    if row.n ~= n then problem("insert %d was told %s", n, tostring(row.n)) end
  end,
  function()
    local n = new_number()
    db:transaction(function(tx)
      db:q("insert into soak values ($1, 1)", n)
      tx:q("insert into soak values ($1, 2)", n)
    end)
    confirmed[n] = true
  end,
  function()
    local n = new_number()
    local rows = db:q("select $1::int as n, i, repeat('x', 500) as x from generate_series(1, $2::int) i", n, n % 50)
    if #rows ~= n % 50 then problem("%d rows, not %d", #rows, n % 50) end
    for i, row in ipairs(rows) do
      if row.n ~= n or row.i ~= i or #row.x ~= 500 then return problem("a row of another answer in that of %d", n) end
    end
  end,
  function()
    local n, seen = new_number(), 0
    for row in db:each("select $1::int as n, i from generate_series(1, 300) i", n) do
      seen = seen + 1
      if row.n ~= n or row.i ~= seen then return problem("a row of another answer in the stream of %d", n) end
      if n % 7 == 0 and seen == 100 then return end
    end
    if seen ~= 300 then problem("a stream of %d rows, not 300", seen) end
  end,
  function()
    local n = new_number()
    local row = db:q("select pg_sleep($1), $2::int as n", n % 20 / 10, n)[1] -- some longer than they may
    if row.n ~= n then problem("the answer to another question than %d", n) end
  end,
}

local function attempt(number)
  local started = core.clock()
  local ok, err = pcall(jobs[number % #jobs + 1])
  local took = core.clock() - started
  if took > LIMIT then problem("a call took %.1f s: %s", took, tostring(err)) end
  local kind = ok and "ok" or fastpg.is(err, "timeout") and "timeout" or fastpg.is(err, "connection") and "connection"
  if not kind then return problem("another error: %s", tostring(err)) end
  counts[kind] = counts[kind] + 1
end

local stop

local function work()
  local number = new_number()
  repeat
    attempt(number)
    number = number + 1
    if not blocking then fastpg.sleep(0) end
  until core.clock() > stop
end

local descriptors = soak.descriptors
local function run(count, worker) soak.run(loop, count, worker) end

print(("%s, loop %s, %d s, seed %d"):format(_VERSION, loop, seconds, seed))
stop = core.clock() + math.min(1, seconds)
run(WORKERS, work)
if counts.connection > 0 then problem("%d errors before any fault", counts.connection) end
local before = descriptors()

local ends, round = core.clock() + seconds, 0
while core.clock() < ends do
  round = round + 1
  proxy:fault("random", { seed = seed + round, bytes = 20000, seconds = 2, calm = 10 })
  proxy:cut(round % 2 == 0)
  stop = math.min(core.clock() + 10, ends)
  run(WORKERS, work)
  -- the faults stop; what was half-way is found out by the statements that meet it
  proxy:fault "pass"
  proxy:cut()
  local found = 0
  run(CONNECTIONS, function() if not pcall(db.q, db, "select pg_sleep(0.05)") then found = found + 1 end end)
  run(WORKERS, function()
    for _ = 1, 3 do
      local ok, err = pcall(db.q, db, "select 1")
      if not ok then problem("not well again: %s", tostring(err)) end
    end
  end)
  print(("round %d: %d ok, %d connection, %d timeout; %d found out after it"):format(round, counts.ok, counts.connection,
    counts.timeout, found))
end

-- ---- what is left ---------------------------------------------------------------------------

local stored = {}
for _, row in ipairs(direct:q "select n, count(*) as rows, count(distinct half) as halves from soak group by n") do
  stored[row.n] = true
  if row.rows ~= 2 or row.halves ~= 2 then problem("%d is stored %d times", row.n, row.rows) end
end
for n in pairs(confirmed) do
  if not stored[n] then problem("%d was confirmed and is not there", n) end
end
local after, names = descriptors()
if after > before + CONNECTIONS + KEPT then problem("%d descriptors, %d before: %s", after, before, names) end
db:close()
proxy:close()
core.poll(-1, "r", 0.5)
local backends = direct:q("select count(*) as n from pg_stat_activity where backend_type = 'client backend'")[1].n
if backends > 1 then problem("%d backends are left", backends - 1) end
soak.finish()
