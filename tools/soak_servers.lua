-- SPDX-License-Identifier: MIT
--
-- soak_servers.lua: a load on a primary and two standbys that are promoted, crash, stand still and are cut off from the network.
--
--   make soak SERVERS=1 SECONDS=1800 LOOP=luv LUA=luajit          LOOP: step, luv, cqueues, copas, nginx
--
--   tasks ─┬─ a pool with replicas ─────────────────────────────────┬──▶ primary, standby, standby  (commits wait for a standby)
--          ├─ another one ──▶ a proxy before each, in random mode ──┤
--          └─ a pool ──▶ a virtual address ──▶ a PgBouncer each ────┘
--
-- What must hold, and ends the run with exit code 1 where it doesn't:
--   what was confirmed is stored exactly once, what was not at most once, and never what failed without commit_unknown;
--   a key of db:transaction{ id = } counts once, and gives what the first one gave
--   a task reads what it wrote, and what somebody else's db:lsn() covers; nobody sees another's answer
--   an error is one of the kinds that a fault may bring, and comes in time
--   WELL seconds after the last fault each kind of work succeeds, on every way
--   no backend and no descriptor is left over

local core = require "fastpg.core"
local fastpg = require "fastpg"
local poolers = require "spec.support.pooler"
local proxies = require "spec.support.proxy"
local soak = require "spec.support.soak"

local seconds, loop = tonumber(arg[1]), arg[2]
local seed = tonumber(arg[3]) or os.time() % 100000
local WORKERS, CONNECTIONS = 16, 6
local FAILOVER, COMMAND, LIMIT = 40, 45, 90 -- seconds: to find a primary, for a call, and what a call may take at most
local WELL = 30 -- seconds after the last fault
local ROUND = 12 -- seconds of faults
local KEPT = 300 -- descriptors: gates that a loop keeps for its next waits, and helper threads
local problem = soak.problem
math.randomseed(seed)

io.stdout:setvbuf "line"

local pg = fastpg.cluster{ standbys = 2, synchronous = true, settings = { max_connections = 150 } }
local all = { [0] = pg.conninfo, pg.standbys[1].conninfo, pg.standbys[2].conninfo } -- by place at the start
local before_server, bouncers, of_host = {}, {}, {}
for i = 0, 2 do
  before_server[i] = assert(proxies.start(all[i]))
  bouncers[i] = poolers.start(all[i],
    { pool_mode = "transaction", max_db_connections = 10, server_login_retry = 1, query_wait_timeout = 20 })
  of_host[all[i].host] = i
end
local address = assert(proxies.start(bouncers[0]:conninfo())) -- what an operator moves
fastpg.set_loop(loop)

local OPTIONS = { failover_timeout = FAILOVER, command_timeout = COMMAND, reads = "replica" }
local function options(more)
  local o = {}
  for k, v in pairs(OPTIONS) do o[k] = v end
  for k, v in pairs(more) do o[k] = v end
  return o
end
local POOL = { max_size = CONNECTIONS, acquire_timeout = COMMAND }
local behind_proxies = {}
for i = 1, 2 do behind_proxies[i] = before_server[i]:conninfo() end
local direct = pg:create_pool(options{ replicas = true }, POOL)
local proxied = fastpg.create_pool(before_server[0]:conninfo(options{ replicas = behind_proxies }), POOL)
local pooled = fastpg.create_pool(address:conninfo{ pooler = "transaction", command_timeout = COMMAND }, POOL)

direct:execute [[
  create table soak (n int, half int);
  create table own (k int primary key, n int);
  create table counted (key text, n int)]]

-- ---- what is done ---------------------------------------------------------------------------

local counts = {}
local confirmed, unknown, refused, keys = {}, {}, {}, {}
local serial = 0
local function new_number()
  serial = serial + 1
  return serial
end

-- Notes what became of a write.
local function note(n, ok, err)
  if ok then
    confirmed[n] = true
  elseif type(err) == "table" and err.commit_unknown then
    unknown[n] = true
  else
    refused[n] = err
  end
  if not ok then error(err, 0) end
end

local handed = {} -- { lsn =, n = } from task to task
local TWO_ROWS = "insert into soak values ($1::int, 1), ($1::int, 2) returning n"

local function insert(db)
  local n = new_number()
  local ok, rows = pcall(db.q, db, TWO_ROWS, n)
  note(n, ok, rows)
  if rows[1].n ~= n or rows[2].n ~= n then problem("insert %d was told %s", n, tostring(rows[1])) end
end

local function transaction(db, opts)
  local n = new_number()
  local function both(tx)
    tx:execute("insert into soak values ($1::int, 1)", n)
    tx:execute("insert into soak values ($1::int, 2)", n)
  end
  if opts then note(n, pcall(db.transaction, db, opts, both)) else note(n, pcall(db.transaction, db, both)) end
end

local function answers(db)
  local n = new_number()
  local rows = db:q("select $1::int as n, i, repeat('x', 500) as x from generate_series(1, $2::int) i", n, n % 50)
  if #rows ~= n % 50 then problem("%d rows, not %d", #rows, n % 50) end
  for i, row in ipairs(rows) do
    if row.n ~= n or row.i ~= i or #row.x ~= 500 then return problem("a row of another answer in that of %d", n) end
  end
end

local function stream(db)
  local n, seen = new_number(), 0
  for row in db:each("select $1::int as n, i from generate_series(1, 3000) i", n) do
    seen = seen + 1
    if row.n ~= n or row.i ~= seen then return problem("a row of another answer in the stream of %d", n) end
    if n % 5 == 0 and seen == 1000 then return end
  end
  if seen ~= 3000 then problem("a stream of %d rows, not 3000", seen) end
end

-- Writes its own row and reads it on a replica.
local function own(db, worker)
  local n = new_number()
  local ok, err = pcall(db.execute, db, "insert into own values ($1, $2) on conflict (k) do update set n = excluded.n", worker, n)
  if not ok then error(err, 0) end
  local row = db.t.own:get(worker)
  if not row or row.n < n then problem("worker %d wrote %d and read %s", worker, n, row and row.n or "nothing") end
end

local function hand_over(db)
  local n = new_number()
  local ok, err = pcall(db.execute, db, TWO_ROWS, n)
  note(n, ok, err)
  local lsn = db:lsn()
  handed[#handed + 1] = { lsn = lsn, n = n }
end

local function take_over(db)
  local one = table.remove(handed)
  if not one then return end
  local found = db:read({ at_least = one.lsn, staleness = 0.05 }, function(tx)
    return tx:item("select count(*) from soak where n = $1", one.n)
  end)
  if found ~= 2 then problem("%d was written before %s, and is not seen", one.n, one.lsn) end
end

-- As a user does it: the same key until it is confirmed.
local function once(db)
  local n = new_number()
  local id = "key " .. n
  local ends = core.clock() + COMMAND
  keys[id] = "asked"
  while true do
    local ok, given = pcall(db.transaction, db, { id = id, retries = 3 }, function(tx)
      tx:execute("insert into counted values ($1, $2)", id, n)
      return { n = n, at = core.clock() }
    end)
    if ok then
      if given.n ~= n then problem("%s gave %s", id, tostring(given.n)) end
      keys[id] = "confirmed"
      return
    end
    local may_try = fastpg.is(given, "connection") or fastpg.is(given, "timeout")
    if not may_try or core.clock() > ends then error(given, 0) end
    fastpg.sleep(0.2)
  end
end

local function canceled(db)
  local n = new_number()
  local ok, err = pcall(db.timeout, db, 0.05, function() return db:item("select pg_sleep($1)", n % 2 / 5) end)
  if not ok and not fastpg.is(err, "timeout") then error(err, 0) end
end

local kinds = {
  { "insert", function() insert(direct) end },
  { "transaction", function() transaction(direct) end },
  { "retried transaction", function() transaction(direct, { retries = 5 }) end },
  { "own", function(worker) own(direct, worker) end },
  { "hand over", function() hand_over(direct) end },
  { "take over", function() take_over(direct) end },
  { "once", function() once(direct) end },
  { "stream", function() stream(direct) end },
  { "canceled", function() canceled(direct) end },
  { "proxied insert", function() insert(proxied) end },
  { "proxied transaction", function() transaction(proxied) end },
  { "proxied own", function(worker) own(proxied, WORKERS + worker) end },
  { "proxied once", function() once(proxied) end },
  { "proxied answers", function() answers(proxied) end },
  { "pooled insert", function() insert(pooled) end },
  { "pooled transaction", function() transaction(pooled) end },
  { "pooled answers", function() answers(pooled) end },
}
for _, kind in ipairs(kinds) do counts[kind[1]] = { ok = 0, failed = 0 } end

-- Errors that a fault may bring: a lost connection, time that is over, a server that is read-only by now, a conflict with what
-- is replayed, a server that goes down or comes up.
local MAY_BE = { ["25006"] = true, ["40001"] = true, ["57P01"] = true, ["57P02"] = true, ["57P03"] = true, ["57P05"] = true }
local function is_expected(err)
  if fastpg.is(err, "connection") or fastpg.is(err, "timeout") then return true end
  local code = type(err) == "table" and err.sqlstate
  return code and (MAY_BE[code] or code:sub(1, 2) == "08" or code:sub(1, 2) == "58") or false
end

local function attempt(kind, worker)
  local started = core.clock()
  local ok, err = pcall(kind[2], worker)
  local took = core.clock() - started
  if took > LIMIT then problem("%s took %.1f s: %s", kind[1], took, tostring(err)) end
  local count = counts[kind[1]]
  if ok then
    count.ok = count.ok + 1
  else
    count.failed = count.failed + 1
    if not is_expected(err) then problem("%s: %s", kind[1], tostring(err)) end
  end
  return ok, err
end

-- ---- what goes wrong ------------------------------------------------------------------------

local function place_of_primary() return of_host[pg.conninfo.host] end

-- The address leads to the primary.
local function move_address()
  address:redirect(bouncers[place_of_primary()]:conninfo())
  address:cut()
end

local function heal_all()
  for i = 0, 2 do pcall(pg.heal, pg, i) end
end

local faults = {
  promote = function()
    pg:promote()
    move_address()
    fastpg.sleep(1)
    pg:start()
  end,
  crash = function()
    pg:crash()
    fastpg.sleep(0.5)
    pg:promote()
    move_address()
    fastpg.sleep(2)
    pg:start()
  end,
  restart = function() pg:restart() end,
  crash_and_come_back = function()
    pg:crash()
    fastpg.sleep(1)
    pg:start()
  end,
  pause = function()
    local i = math.random(2)
    pg:pause_replay(i)
    fastpg.sleep(4)
    pg:resume_replay(i)
  end,
  cut_off_standby = function()
    local i = math.random(2)
    pg:partition(i)
    fastpg.sleep(4)
    pg:heal(i)
  end,
  cut_off_primary = function()
    local old = of_host[pg.conninfo.host]
    pg:partition(0)
    fastpg.sleep(1)
    pg:promote()
    move_address()
    fastpg.sleep(3)
    for i = 1, 2 do
      if of_host[pg.standbys[i].conninfo.host] == old then
        pg:heal(i)
        pg.standbys[i]:stop{ mode = "immediate" }
      end
    end
    pg:start()
  end,
  stop_standby = function()
    local one = pg.standbys[math.random(2)]
    one:stop{ mode = "immediate" }
    fastpg.sleep(3)
    pg:start()
  end,
}
local names = {}
for name in pairs(faults) do names[#names + 1] = name end
table.sort(names)

local function stir(name, round)
  for i = 0, 2 do before_server[i]:fault("random", { seed = seed + 10 * round + i, bytes = 50000, seconds = 3, calm = 30 }) end
  fastpg.sleep(1)
  local ok, err = pcall(faults[name])
  if not ok then problem("the fault itself: %s: %s", name, tostring(err)) end
end

local function calm()
  for i = 0, 2 do
    before_server[i]:fault "pass"
    before_server[i]:cut()
  end
  heal_all()
  move_address()
end

-- ---- the rounds -----------------------------------------------------------------------------

local function run(count, worker) soak.run(loop, count, worker) end

print(("%s, loop %s, %d s, seed %d"):format(_VERSION, loop, seconds, seed))

-- Each kind of work, until it succeeds, on every way; what is not well in time is told.
local function make_well(what)
  local next_kind = 0
  run(#kinds, function()
    next_kind = next_kind + 1
    local kind, worker = kinds[next_kind], next_kind
    local ends = core.clock() + WELL
    local ok, err = attempt(kind, worker)
    while not ok and core.clock() < ends do
      fastpg.sleep(0.1)
      ok, err = attempt(kind, worker)
    end
    if ok then return end
    problem("%s: %s is not well after %d seconds: %s", what, kind[1], WELL, tostring(err))
  end)
end

local before = soak.descriptors()
make_well "at the start"
local memory = { soak.memory() }
local ends, round = core.clock() + seconds, 0
while core.clock() < ends do
  round = round + 1
  local name = names[(round - 1) % #names + 1]
  local stop, over, member = core.clock() + ROUND, false, 0
  run(WORKERS + 1, function()
    member = member + 1
    local worker = member
    if worker > WORKERS then
      stir(name, round)
      over = true
      return
    end
    local i = worker + round
    repeat
      attempt(kinds[i % #kinds + 1], worker)
      i = i + 1
      fastpg.sleep(0)
    until core.clock() > stop and over
  end)
  run(1, calm)
  local began = core.clock()
  make_well(("round %d, %s"):format(round, name))
  memory[#memory + 1] = soak.memory()
  local ok, failed = 0, 0
  for _, count in pairs(counts) do ok, failed = ok + count.ok, failed + count.failed end
  print(("round %d, %s: %d ok, %d failed; well after %.1f s; %d failovers; %d kB, %d descriptors"):format(round, name, ok,
    failed, core.clock() - began, direct:stats().failovers, memory[#memory], (soak.descriptors())))
end

-- ---- what is left ---------------------------------------------------------------------------

run(1, function()
  local stored = {}
  for _, row in ipairs(direct:q "select n, count(*) as rows, count(distinct half) as halves from soak group by n") do
    stored[row.n] = true
    if row.rows ~= 2 or row.halves ~= 2 then problem("%d is stored %d times", row.n, row.rows) end
    if refused[row.n] then problem("%d is there, and was told to have failed: %s", row.n, tostring(refused[row.n])) end
  end
  for n in pairs(confirmed) do
    if not stored[n] then problem("%d was confirmed and is not there", n) end
  end
  local counted = {}
  for _, row in ipairs(direct:q "select key, count(*) as times from counted group by key") do
    counted[row.key] = true
    if row.times ~= 1 then problem("%s happened %d times", row.key, row.times) end
  end
  for id, state in pairs(keys) do
    if state == "confirmed" and not counted[id] then problem("%s was confirmed and never happened", id) end
  end
end)
local function size(set)
  local n = 0
  for _ in pairs(set) do n = n + 1 end
  return n
end
for _, kind in ipairs(kinds) do
  local count = counts[kind[1]]
  print(("%-20s %7d ok %6d failed"):format(kind[1], count.ok, count.failed))
  if count.ok == 0 then problem("%s never succeeded", kind[1]) end
end
print(("%d writes confirmed, %d unknown, %d refused; %d keys; memory %d, %d, %d kB"):format(size(confirmed), size(unknown),
  size(refused), size(keys), memory[1], memory[math.ceil(#memory / 2)], memory[#memory]))
run(1, function()
  for _, db in ipairs{ direct, proxied, pooled } do db:close(5) end
  fastpg.sleep(1)
end)
local after, open = soak.descriptors()
print(("%d descriptors, %d before"):format(after, before))
if after > before + KEPT then problem("%d descriptors, %d before: %s", after, before, open) end
for i = 0, 2 do before_server[i]:close() end
address:close()
for i = 0, 2 do bouncers[i]:close() end
run(1, function()
  local watch = pg:connect()
  local left
  for _ = 1, 50 do
    left = watch:item "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    if left == 0 then break end
    fastpg.sleep(0.2)
  end
  if left > 0 then problem("%d backends are left", left) end
  watch:close()
end)
run(1, function() pg:close() end)
soak.finish()
