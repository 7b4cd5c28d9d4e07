-- SPDX-License-Identifier: MIT
--
-- behaviours.lua: what user code may rely on under every host, as one list of functions that use
-- nothing but public names.  spec/behaviours_spec.lua runs them; so does a request in nginx.
--
--   behaviours[i] = { name =, fn =, then_ =, blocking =, inherits =, only = }
--     fn(t)       runs as a task of the host; t is made by behaviours.context
--     then_(t)    runs after it under another loop or controller of the same kind
--     blocking    makes sense in a plain script as well
--
-- No busted here: errors say what was wrong.
--
-- The machine may be busy: nothing here is judged by how long it took, but by what came before what.  Who must be
-- under way before something happens waits in a gate (Context:gate).

local behaviours = {}

-- Seconds: long for a busy machine, and shorter than what must be interrupted sleeps (20).
local SOON = 15

local function pack(...) return { n = select("#", ...), ... } end

-- ---- what a behaviour is given --------------------------------------------------------------

local Context = {}
Context.__index = Context

--- What fn(t) gets: `env` is { fastpg, host = name, exact, conninfo, silent = conninfo?, clock,
--- ticker = fn(seconds, fn) -> stop }.
function behaviours.context(env, name)
  return setmetatable({ env = env, fastpg = env.fastpg, host = env.host, exact = env.exact, clock = env.clock,
    name = name, dbs = {}, app = ("b %s %d"):format(env.host, math.random(1e9)) }, Context)
end

local function show(v)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) ~= "table" or getmetatable(v) then return tostring(v) end
  local parts = {}
  for i = 1, math.min(#v, 20) do parts[i] = show(v[i]) end
  for k, x in pairs(v) do
    if type(k) ~= "number" then parts[#parts + 1] = tostring(k) .. "=" .. show(x) end
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

function Context.ok(_, condition, ...)
  if not condition then
    local parts = pack(...)
    for i = 1, parts.n do parts[i] = type(parts[i]) == "string" and parts[i] or show(parts[i]) end
    error("not so: " .. table.concat(parts, " "), 2)
  end
  return condition
end

function Context.eq(_, expected, got, what)
  if not same(expected, got) then
    error(("%sexpected %s, got %s"):format(what and what .. ": " or "", show(expected), show(got)), 2)
  end
end

--- fn(...) must raise an error object of that kind; gives it.
function Context:fails(kind, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("an error " .. kind .. " was expected, and there was none", 2) end
  if type(err) ~= "table" or not err.name then error("an error object was expected, got " .. show(err), 2) end
  if not self.fastpg.is(err, kind) and err.name ~= kind then
    error(("an error %s was expected, got %s: %s"):format(kind, err.name, tostring(err)), 2)
  end
  return err
end

local function options(t, opts)
  local all = { application_name = t.app }
  for k, v in pairs(t.env.conninfo) do all[k] = v end
  for k, v in pairs(opts or {}) do all[k] = v end
  return all
end

--- A single connection.
function Context:db(opts)
  local db = self.fastpg.connect(options(self, opts))
  self.dbs[#self.dbs + 1] = db
  return db
end

--- A pool.
function Context:pool(max_size, opts)
  local all = options(self, opts)
  all.max_size = max_size
  local db = self.fastpg.create_pool(all)
  self.dbs[#self.dbs + 1] = db
  return db
end

--- A connection that blocks: for looking at the server from outside of what is tested.
function Context:admin()
  local env = self.env
  env.admin = env.admin or self.fastpg.connect(options(self, { loop = "block", application_name = "admin" }))
  return env.admin
end

--- How many backends this behaviour has (in that state).
function Context:backends(state)
  return self:admin():item([[select count(*) from pg_stat_activity where application_name = $1
    and ($2::text is null or state = $2)]], self.app, state)
end

--- A gate on the server: SQL that waits in it (`gate.sql`, a function to select from) until gate.open().  An open gate
--- stays open.
function Context:gate()
  local admin, key = self:admin(), math.random(1e9)
  local gate = { sql = ("pg_advisory_xact_lock_shared(%d)"):format(key) }
  admin:execute("select pg_advisory_lock($1)", key)
  function gate.open() admin:execute("select pg_advisory_unlock($1)", key) end
  --- Waits until n stand before it.
  function gate.await(n)
    self:wait_for(function()
      return admin:item("select count(*) from pg_locks where locktype = 'advisory' and objid = $1 and not granted", key) == n
    end, n .. " wait in the gate")
  end
  --- Opens it when the host's own timer has come n times while something waits in it, which ends only if the timer
  --- goes on meanwhile.
  function gate.open_after_ticks(n)
    self.fastpg.spawn(function()
      gate.await(1)
      local ticker = self:tick()
      self:wait_for(function() return ticker.count >= n end, n .. " ticks")
      ticker.stop()
      gate.open()
    end)
  end
  return gate
end

--- Waits until n queries with pg_sleep run on the server.
function Context:wait_until_busy(n)
  self:wait_for(function()
    return self:admin():item([[select count(*) from pg_stat_activity where application_name = $1
      and state = 'active' and query like '%pg_sleep%']], self.app) == (n or 1)
  end, "the query runs")
end

--- Waits until condition() is true.
function Context:wait_for(condition, what, seconds)
  local ends = self.clock() + (seconds or SOON)
  while not condition() do
    if self.clock() > ends then error("it never came to be: " .. what, 2) end
    self.fastpg.sleep(0.01)
  end
end

--- Waits until this behaviour has no more than n backends (in that state): what is closed or canceled is gone a moment later.
function Context:at_most(n, state)
  self:wait_for(function() return self:backends(state) <= n end, ("%d backends %s"):format(n, state or ""))
end

--- Ends that backend from outside.
function Context:kill(pid)
  self:admin():execute("select pg_terminate_backend($1)", pid)
  self:wait_for(function()
    return self:admin():item("select count(*) from pg_stat_activity where pid = $1", pid) == 0
  end, "the backend is gone")
end

--- Runs fn(i) as n tasks and waits for them all: the list of first results.
function Context:together(n, fn)
  local tasks, results = {}, {}
  for i = 1, n do tasks[i] = self.fastpg.spawn(fn, i) end
  for i = 1, n do results[i] = tasks[i]:wait() end
  return results
end

--- Counts how often the host's own timer comes until stop().
function Context:tick()
  local ticker = { count = 0 }
  ticker.stop = self.env.ticker(0.005, function() ticker.count = ticker.count + 1 end)
  return ticker
end

--- Nothing may be left: no connection in use, nobody waiting, and after close no backend.
function Context:finish(ok)
  for _, db in ipairs(self.dbs) do
    local there, stats = pcall(db.stats, db)
    if ok and there then
      self:eq(0, stats.in_use, "connections in use at the end")
      self:eq(0, stats.waiting, "waiters at the end")
    end
    db:close()
  end
  if ok then self:at_most(0) end
end

local function add(name, opts, fn)
  if type(opts) == "function" then opts, fn = {}, opts end
  opts.name, opts.fn = name, fn
  behaviours[#behaviours + 1] = opts
end

-- ---- waiting --------------------------------------------------------------------------------

add("a query gives its result", { blocking = true }, function(t)
  local db = t:db()
  t:eq(42, db:item("select $1::int + 1", 41))
  t:eq({ 1, 2, 3 }, { db:item "select 1", db:first("select 2 as n").n, db:q("select 3 as n")[1].n })
  t:ok(db:ping())
end)

add("many coroutines wait at the same time, each gets its own result", function(t)
  local db, gate = t:pool(10), t:gate()
  t.fastpg.spawn(function()
    gate.await(10)
    gate.open()
  end)
  local results = t:together(20, function(i)
    return db:item("select $1::int from " .. gate.sql, i)
  end)
  for i = 1, 20 do t:eq(i, results[i]) end
  t:eq(10, db:stats().size)
end)

add("the host's own timer goes on during a slow query", function(t)
  local db, gate = t:db(), t:gate()
  gate.open_after_ticks(10)
  t:eq(1, db:item("select 1 from " .. gate.sql))
end)

add("the timer goes on while connecting to a silent server, which ends in time", { silent = true }, function(t)
  local patient = t.fastpg.create_pool(t.env.silent, { connect_timeout = 60, max_size = 2 })
  local ticker = t:tick()
  local connecting = t.fastpg.spawn(function() patient:q "select 1" end)
  t:wait_for(function() return ticker.count >= 10 end, "ten ticks")
  ticker.stop()
  t:eq({ false, 1 }, { connecting.done, patient:stats().size })
  connecting:cancel()
  t:fails("canceled", connecting.wait, connecting)
  patient:close()
  local db = t.fastpg.create_pool(t.env.silent, { connect_timeout = 0.3, max_size = 2 })
  local started = t.clock()
  t:fails("timeout", db.q, db, "select 1")
  t:ok(t.clock() - started >= 0.29)
  t:eq(0, db:stats().size)
  db:close()
end)

add("command_timeout covers connecting", { silent = true }, function(t)
  local db = t.fastpg.create_pool(t.env.silent, { command_timeout = 0.2, connect_timeout = 60, max_size = 1 })
  t:fails("timeout", db.q, db, "select 1")
  db:close()
end)

add("a refused connection is an error of its kind, everywhere", { blocking = true }, function(t)
  local db = t.fastpg.create_pool{ host = "127.0.0.1", port = 1, user = "x", connect_timeout = 30 }
  for _ = 1, 3 do t:fails("connection", db.q, db, "select 1") end
  t:eq(0, db:stats().size)
  db:close()
end)

add("the timer goes on while a big result arrives", function(t)
  local db = t:db()
  local ticker = t:tick()
  local rows = db:q "select g, repeat('x', 100) as s from generate_series(1, 30000) g"
  ticker.stop()
  t:eq(30000, #rows)
  t:eq(30000, rows[30000].g)
  t:ok(ticker.count >= 1, "ticks", ticker.count)
end)

add("sleep sleeps", { blocking = true }, function(t)
  local started = t.clock()
  t.fastpg.sleep(0.05)
  t.fastpg.sleep(0)
  t.fastpg.sleep(-1)
  t:ok(t.clock() - started >= 0.05)
end)

add("coroutines on one connection take turns, first come first served", function(t)
  local db = t:db()
  local order, pid = {}, db.pid
  t:together(10, function(i)
    t:eq(i, db:item("select $1::int from pg_sleep(0.01)", i))
    order[#order + 1] = i
    t:eq(pid, db.pid)
  end)
  t:eq({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
  t:eq(1, t:backends())
end)

-- ---- tasks ----------------------------------------------------------------------------------

add("a task gives its results and its error", function(t)
  local fastpg = t.fastpg
  local db = t:pool(3)
  local task = fastpg.spawn(function(a, ...) return a, nil, db:item "select 7", select("#", ...) end, "a", nil, nil)
  t:eq(false, task.done)
  local a, b, c, d = task:wait()
  t:eq({ "a", false, 7, 2 }, { a, b or false, c, d })
  t:eq(true, task.done)
  t:eq(nil, task.error)
  t:eq("a", (task:wait()))
  local failing = fastpg.spawn(function() db:q "select 1/0" end)
  local err = t:fails("division_by_zero", failing.wait, failing)
  t:eq(true, failing.done)
  t:ok(failing.error == err, "task.error is the error")
  t:ok(t:fails("division_by_zero", failing.wait, failing) == err)
  local any = fastpg.spawn(function() error { "mine" } end)
  local ok, mine = pcall(any.wait, any)
  t:ok(not ok and mine[1] == "mine", "any value may be raised")
  local none = fastpg.spawn(function() error() end)
  t:eq(false, (pcall(none.wait, none)))
end)

add("several wait for the same task", function(t)
  local db = t:pool(2)
  local task = t.fastpg.spawn(function() return db:item "select 5 from pg_sleep(0.05)" end)
  t:eq({ 5, 5, 5 }, t:together(3, function() return task:wait() end))
end)

add("gather gives each first result, and holes", function(t)
  local db = t:pool(3)
  local a, b, c = t.fastpg.gather(function() return db:item "select 1 from pg_sleep(0.05)" end,
    function() return nil, 9 end, function() return db:item "select 3" end)
  t:eq({ 1, false, 3 }, { a, b or false, c })
  t:eq(0, select("#", t.fastpg.gather()))
end)

add("the first error of gather cancels the siblings, on the server too", function(t)
  local db = t:pool(4)
  local others, sleeping = {}, false
  local started = t.clock()
  t:fails("division_by_zero", t.fastpg.gather,
    function()
      local ok, err = pcall(db.execute, db, "select pg_sleep(20)")
      others[1] = not ok and err
      error(err, 0)
    end,
    function()
      t:wait_until_busy()
      t:wait_for(function() return sleeping end, "the third began")
      db:q "select 1/0"
    end,
    function()
      sleeping = true
      local ok, err = pcall(t.fastpg.sleep, 20)
      others[2] = not ok and err
    end)
  t:ok(t.clock() - started < SOON)
  t:ok(others[1] and others[1].name == "canceled", others[1] and tostring(others[1]))
  t:ok(others[2] and others[2].name == "canceled", others[2] and tostring(others[2]))
  t:at_most(0, "active")
end)

add("an error that nobody waits for goes to on_error and stops nobody", function(t)
  local fastpg, told = t.fastpg, {}
  local before = fastpg.on_error
  fastpg.on_error = function(err, traceback) told[#told + 1] = { err, traceback } end
  local db = t:pool(2)
  fastpg.spawn(function() db:q "select 1/0" end)
  fastpg.spawn(function() error "plain" end)
  local canceled = fastpg.spawn(function() db:q "select pg_sleep(20)" end)
  local value = fastpg.spawn(function() return db:item "select 1 from pg_sleep(0.05)" end):wait()
  canceled:cancel()
  local ok, err = pcall(t.wait_for, t, function() return #told == 2 and canceled.done end, "two errors told")
  fastpg.on_error = before
  if not ok then error(err, 0) end
  t:eq(1, value)
  t:ok(fastpg.is(told[1][1], "division_by_zero") or fastpg.is(told[2][1], "division_by_zero"))
  t:ok(type(told[1][2]) == "string" and told[1][2]:find "stack traceback", told[1][2])
end)

add("an error that somebody waits for later is not told twice", function(t)
  local fastpg, told = t.fastpg, 0
  local before = fastpg.on_error
  fastpg.on_error = function() told = told + 1 end
  local task = fastpg.spawn(function() error({}, 0) end)
  local ok = pcall(task.wait, task)
  fastpg.sleep(0.02)
  fastpg.on_error = before
  t:eq(false, ok)
  t:eq(0, told)
end)

add("circles of waits are errors", function(t)
  local fastpg = t.fastpg
  local task, other
  task = fastpg.spawn(function() return pcall(task.wait, task) end)
  local ok, err = task:wait()
  t:eq(false, ok)
  t:ok(fastpg.is(err, "deadlock"), err)
  task = fastpg.spawn(function()
    fastpg.sleep(0.01)
    return other:wait()
  end)
  other = fastpg.spawn(function() return task:wait() end)
  t:fails("deadlock", other.wait, other)
  pcall(task.wait, task)
end)

add("a thousand tasks on a pool of ten", function(t)
  local db = t:pool(10)
  local results = t:together(1000, function(i) return db:item("select $1::int * 2", i) end)
  for i = 1, 1000 do t:eq(2 * i, results[i]) end
  t:ok(db:stats().size <= 10)
  t:eq(true, db:stats().acquired >= 1000)
end)

-- ---- cancel ---------------------------------------------------------------------------------

local function canceled(t, task)
  local started = t.clock()
  task:cancel()
  local err = t:fails("canceled", task.wait, task)
  t:ok(t.clock() - started < SOON, "cancel took", t.clock() - started)
  return err
end

add("a task is canceled in a query, which stops on the server", function(t)
  local db = t:db()
  local pid = db.pid
  local task = t.fastpg.spawn(function() db:q "select pg_sleep(20)" end)
  t:wait_until_busy()
  canceled(t, task)
  t:at_most(0, "active")
  t:eq(pid, db.pid)
  t:eq(1, db:item "select 1")
end)

add("a task is canceled in a transaction, which rolls back", function(t)
  local db = t:pool(2)
  t:admin():execute "drop table if exists b_cancel; create table b_cancel (n int)"
  local task = t.fastpg.spawn(function()
    db:transaction(function()
      db:q "insert into b_cancel values (1)"
      db:transaction(function() t.fastpg.sleep(20) end)
    end)
  end)
  t:wait_for(function() return t:backends "idle in transaction" == 1 end, "the transaction is open")
  canceled(t, task)
  task = t.fastpg.spawn(function()
    db:transaction(function()
      db:q "insert into b_cancel values (1)"
      db:q "select pg_sleep(20)"
    end)
  end)
  t:wait_until_busy()
  canceled(t, task)
  t:eq(0, db:item "select count(*) from b_cancel")
  t:at_most(0, "idle in transaction")
end)

add("a task is canceled while it waits for the pool, in sleep, for another task", function(t)
  local fastpg = t.fastpg
  local db = t:pool(1)
  local tx = db:begin()
  local waiting = fastpg.spawn(function() db:q "select 1" end)
  local next_one = fastpg.spawn(function() return db:item "select 2" end)
  local sleeping = fastpg.spawn(function() fastpg.sleep(20) end)
  local third = fastpg.spawn(function() sleeping:wait() end)
  t:wait_for(function() return db:stats().waiting == 2 end, "two wait")
  canceled(t, waiting)
  canceled(t, third)
  canceled(t, sleeping)
  t:eq(1, db:stats().waiting)
  tx:rollback()
  t:eq(2, next_one:wait())
end)

add("a task is canceled while it connects", { silent = true }, function(t)
  local db = t.fastpg.create_pool(t.env.silent, { connect_timeout = 20, max_size = 1 })
  local task = t.fastpg.spawn(function() db:q "select 1" end)
  t:wait_for(function() return db:stats().size == 1 end, "it connects")
  canceled(t, task)
  t:eq(0, db:stats().size)
  db:close()
end)

add("a task is canceled before it starts, twice, and after it ended", function(t)
  local ran = false
  local task = t.fastpg.spawn(function() ran = true end)
  task:cancel()
  task:cancel()
  t:fails("canceled", task.wait, task)
  t:eq(false, ran)
  task = t.fastpg.spawn(function() return 1 end)
  t:eq(1, task:wait())
  task:cancel()
  t:eq(1, task:wait())
end)

add("a canceled task may go on: it is told once", function(t)
  local db = t:db()
  local task = t.fastpg.spawn(function()
    local ok, err = pcall(db.q, db, "select pg_sleep(20)")
    return ok, err, db:item "select 3"
  end)
  t:wait_until_busy()
  task:cancel()
  local ok, err, n = task:wait()
  t:eq({ false, "canceled", 3 }, { ok, err.name, n })
end)

add("a task is canceled while it reads a stream", function(t)
  local db = t:pool(1)
  local seen = 0
  local task = t.fastpg.spawn(function()
    for _ in db:each "select generate_series(1, 100000000) as n" do
      seen = seen + 1
      if seen % 100 == 0 then t.fastpg.sleep(0) end
    end
  end)
  t:wait_for(function() return seen > 100 end, "rows come")
  canceled(t, task)
  t:eq(1, db:item "select 1")
end)

add("a task is canceled in a batch, a pipeline, a stream, a copy, and told so once", function(t)
  local db = t:pool(2)
  t:admin():execute "drop table if exists b_batch; create table b_batch (n int)"
  local list = {}
  for i = 1, 300 do list[i] = { i } end
  local rows = "select g, pg_sleep(0.002) as s from generate_series(1, 100000) g"
  for name, fn in pairs{
    executemany = function() db:executemany("insert into b_batch select $1 from pg_sleep(0.02)", list) end,
    pipeline = function() db:pipeline(function(p) for _ = 1, 300 do p:q "select pg_sleep(0.02)" end end) end,
    each = function() for _ in db:each(rows) do end end, -- luacheck: ignore 542
    copy = function() db:copy_to("copy (" .. rows .. ") to stdout", function() end) end,
  } do
    local after
    local task = t.fastpg.spawn(function()
      local ok, err = pcall(fn)
      after = db:item "select 7"
      if not ok then error(err, 0) end
    end)
    t:wait_until_busy()
    t.fastpg.sleep(0.1)
    task:cancel()
    local ok, err = pcall(task.wait, task)
    t:eq({ name, false, "canceled", 7 }, { name, ok, ok or err.name, after })
  end
  t:at_most(0, "active")
  t:eq(0, t:admin():item "select count(*) from b_batch")
end)

add("tasks canceled at any moment leave neither a wrong result nor a connection", function(t)
  local fastpg = t.fastpg
  local db = t:pool(4)
  local wrong, finished = 0, 0
  local tasks = {}
  for i = 1, 80 do
    tasks[i] = fastpg.spawn(function()
      for round = 1, 5 do
        local tag = i * 100 + round
        local ok, n
        if i % 2 == 0 then
          ok, n = pcall(db.transaction, db, function()
            local a = db:item("select $1::int from pg_sleep(0.002)", tag)
            local b = db:item("select $1::int", tag)
            if a ~= b then wrong = wrong + 1 end
            return a
          end)
        else
          ok, n = pcall(db.item, db, "select $1::int from pg_sleep(0.001)", tag)
        end
        if ok and n ~= tag then wrong = wrong + 1 end
        if not ok then
          if not fastpg.is(n, "canceled") then error(n, 0) end
          error(n, 0)
        end
      end
      finished = finished + 1
    end)
  end
  for round = 1, 40 do
    fastpg.sleep(0.002)
    tasks[(round * 37) % 80 + 1]:cancel()
  end
  for i = 1, 80 do
    local ok, err = pcall(tasks[i].wait, tasks[i])
    if not ok and not fastpg.is(err, "canceled") then error(err, 0) end
  end
  t:eq(0, wrong)
  t:ok(finished >= 30, finished)
  t:eq(9, db:item "select 9")
  t:at_most(0, "active")
  t:at_most(0, "idle in transaction")
end)

-- ---- time -----------------------------------------------------------------------------------

add("command_timeout stops the query on the server and keeps the connection", { blocking = true }, function(t)
  local db = t:db{ command_timeout = 0.2 }
  local pid, started = db.pid, t.clock()
  local err = t:fails("timeout", db.q, db, "select pg_sleep(20)")
  t:ok(t.clock() - started < SOON)
  t:ok(tostring(err):find "time", tostring(err))
  t:at_most(0, "active")
  t:eq({ pid, 1 }, { db.pid, db:item "select 1" })
end)

add("db:timeout likewise, and what it gives", { blocking = true }, function(t)
  local db = t:pool(2)
  t:eq({ 1, 2 }, { db:timeout(20, function() return 1, 2 end) })
  local err = t:fails("timeout", db.timeout, db, 0.1, function() db:q "select pg_sleep(20)" end)
  t:ok(tostring(err):find "time")
  t:fails("timeout", db.timeout, db, 0.1, function()
    for _ = 1, 100 do db:q "select pg_sleep(0.02)" end
  end)
  t:fails("timeout", db.timeout, db, 0.1, function() -- an inner one can't prolong it
    db:timeout(20, function() db:q "select pg_sleep(20)" end)
  end)
  t:at_most(0, "active")
  t:eq(1, db:item "select 1")
end)

add("db:timeout covers waiting for a connection", function(t)
  local db = t:pool(1)
  local tx = db:begin()
  local started = t.clock()
  t:fails("timeout", db.timeout, db, 0.1, function() return db:q "select 1" end)
  t:ok(t.clock() - started < SOON)
  tx:rollback()
  t:eq(1, db:item "select 1")
end)

add("a timeout in a transaction rolls it back", { blocking = true }, function(t)
  local db = t:db()
  t:admin():execute "drop table if exists b_time; create table b_time (n int)"
  t:fails("timeout", db.transaction, db, function()
    db:q "insert into b_time values (1)"
    db:timeout(0.1, function() db:q "select pg_sleep(20)" end)
  end)
  t:fails("timeout", db.timeout, db, 0.1, function()
    db:transaction(function()
      db:q "insert into b_time values (1)"
      db:q "select pg_sleep(20)"
    end)
  end)
  db:transaction(function() -- a savepoint around it: the rest goes on
    db:q "insert into b_time values (2)"
    t:fails("timeout", db.transaction, db, function()
      db:timeout(0.1, function() db:q "select pg_sleep(20)" end)
    end)
    db:q "insert into b_time values (3)"
  end)
  t:eq({ 2, 3 }, { db:item "select min(n) from b_time", db:item "select max(n) from b_time" })
  t:at_most(0, "idle in transaction")
end)

add("timeouts at any moment never give one the result of another", function(t)
  local fastpg = t.fastpg
  local db = t:pool(4, { min_size = 4 }) -- a time too short to connect in is no time
  t:together(20, function(i)
    for round = 1, 10 do
      local tag = i * 1000 + round
      local enough = round % 5 == 0
      local ok, n = pcall(db.timeout, db, enough and 60 or 0.005 * (1 + (i * 7 + round * 3) % 20), function()
        return db:item("select $1::int from pg_sleep($2)", tag, 0.001 * ((i + round) % 6))
      end)
      if ok then t:eq(tag, n) elseif enough or not fastpg.is(n, "timeout") then error(n, 0) end
    end
  end)
  t:eq(5, db:item "select 5")
  t:at_most(0, "active")
end)

-- ---- pools ----------------------------------------------------------------------------------

add("a pool serves those who wait in order", function(t)
  local db = t:pool(1)
  local order = {}
  local tx = db:begin()
  local tasks = {}
  for i = 1, 8 do
    tasks[i] = t.fastpg.spawn(function()
      db:acquire(function() order[#order + 1] = i end)
    end)
    t.fastpg.sleep(0)
  end
  t:wait_for(function() return db:stats().waiting == 8 end, "eight wait")
  tx:rollback()
  for i = 1, 8 do tasks[i]:wait() end
  t:eq({ 1, 2, 3, 4, 5, 6, 7, 8 }, order)
end)

add("acquire_timeout is an error of kind timeout, and the queue goes on", function(t)
  local db = t:pool(1, { acquire_timeout = 1.5 }) -- which the second one does not need
  local held, done = false, false
  local holder = t.fastpg.spawn(function() -- not this task, whose waiting for itself would be a deadlock
    db:transaction(function()
      held = true
      while not done do t.fastpg.sleep(0.01) end
    end)
  end)
  t:wait_for(function() return held end, "the connection is held")
  local err = t:fails("timeout", db.q, db, "select 1")
  t:ok(tostring(err):find "in use", tostring(err))
  local task = t.fastpg.spawn(function() return db:item "select 2" end)
  t:wait_for(function() return db:stats().waiting == 1 end, "the next one waits")
  done = true
  holder:wait()
  t:eq(2, task:wait())
  t:eq(1, db:stats().timeouts)
end)

add("a pool opens as many as are needed and no more; init sees each", { blocking = true }, function(t)
  local inits = 0
  local db = t:pool(4, { min_size = 2, init = function(c)
    inits = inits + 1
    c:execute "set work_mem = '5MB'"
  end })
  t:eq(2, t:backends())
  if t.host ~= "block" then
    local gate = t:gate()
    t.fastpg.spawn(function()
      gate.await(4)
      gate.open()
    end)
    t:together(12, function() t:eq("5MB", db:item("select current_setting('work_mem') from " .. gate.sql)) end)
    t:eq(4, t:backends())
    t:eq(4, inits)
  end
  t:eq("5MB", db:item "show work_mem")
end)

add("a connection comes back clean", { blocking = true }, function(t)
  local db = t:pool(1, { reset = true })
  t:fails("invalid_transaction_termination", db.execute, db, "begin; create temp table b_left (n int)")
  pcall(db.acquire, db, function(c)
    c:execute "begin"
    c:q "select 1/0"
  end)
  db:execute "set search_path = pg_catalog"
  t:ok(db:item "show search_path" ~= "pg_catalog", "session state is reset where asked for")
  t:at_most(0, "idle in transaction")
  t:eq(1, t:backends())
end)

add("acquire keeps one connection, nested too", function(t)
  local db = t:pool(2)
  t:together(6, function()
    db:acquire(function(c)
      local pid = db.pid
      t:eq(pid, c.pid)
      db:item "select 1 from pg_sleep(0.01)"
      db:acquire(function(d)
        t:eq(pid, d.pid)
        db:transaction(function(tx) t:eq(pid, tx.pid) end)
      end)
      t:eq(pid, db.pid)
    end)
  end)
end)

add("close waits for those in use as long as it is told", function(t)
  local db = t:pool(3)
  local result
  local gate = t:gate()
  local task = t.fastpg.spawn(function()
    result = db:item("select 1 from " .. gate.sql)
    return result
  end)
  gate.await(1)
  t.fastpg.spawn(function()
    t.fastpg.sleep(0.05)
    gate.open()
  end)
  db:close(60)
  t:eq(1, result)
  t:eq(1, task:wait())
  t:fails("closed", db.q, db, "select 1")
  local other = t:pool(3)
  task = t.fastpg.spawn(function() return pcall(other.item, other, "select 1 from pg_sleep(20)") end)
  t:wait_until_busy()
  local started = t.clock()
  other:close(0.1)
  t:ok(t.clock() - started < SOON)
  local ok, err = task:wait()
  t:ok(not ok and (t.fastpg.is(err, "closed") or t.fastpg.is(err, "connection")), ok, err)
end)

add("close ends what is being opened, and whoever else closes", { silent = true }, function(t)
  local db = t.fastpg.create_pool(t.env.silent, { connect_timeout = 60, max_size = 2 })
  local task = t.fastpg.spawn(function() return pcall(db.item, db, "select 1") end)
  t:wait_for(function() return db:stats().size == 1 end, "it connects")
  local started = t.clock()
  db:close(0.1)
  t:ok(t.clock() - started < SOON)
  t:eq(0, db:stats().size)
  local ok, err = task:wait()
  t:eq({ false, "closed" }, { ok, ok or err.name })
  local other, gate = t:pool(2), t:gate()
  task = t.fastpg.spawn(function() return other:item("select 1 from " .. gate.sql) end)
  gate.await(1)
  started = t.clock()
  t:together(3, function(i)
    if i < 3 then return other:close(20) end
    t.fastpg.sleep(0.05)
    gate.open()
  end)
  t:ok(t.clock() - started < SOON, "closing took", t.clock() - started)
  t:eq(1, task:wait())
end)

add("close wakes those who wait for a connection", function(t)
  local db = t:pool(1)
  local tx = db:begin()
  local task = t.fastpg.spawn(function() return db:item "select 1" end)
  t:wait_for(function() return db:stats().waiting == 1 end, "it waits")
  db:close()
  t:fails("closed", task.wait, task)
  tx:rollback()
end)

local kept = {}

add("a pool goes on under the next loop or controller", { blocking = true, then_ = function(t)
  local db, pid = kept.db, kept.pid
  t:eq(pid, db.pid)
  t:eq(3, db:item "select 3")
  if t.host ~= "block" then
    t:eq({ 1, 2, 3 }, t:together(3, function(i) return db:item("select $1::int from pg_sleep(0.02)", i) end))
  end
  db:transaction(function() t:eq(1, db:item "select 1") end)
end }, function(t)
  kept.db = t:pool(4)
  kept.pid = kept.db.pid
  t:eq(1, kept.db:item "select 1")
end)

add("an age limit ends connections, and nobody notices", function(t)
  local db = t:pool(2, { max_lifetime = 0.05 })
  t:together(4, function(i)
    for _ = 1, 3 do t:eq(i, db:item("select $1::int from pg_sleep(0.03)", i)) end
  end)
  t:ok(db:stats().opened > 2, db:stats().opened)
  t:at_most(2)
end)

-- ---- transactions ---------------------------------------------------------------------------

add("200 coroutines on 10 connections, each in its own transaction, half of them failing", function(t)
  local db = t:pool(10)
  t:admin():execute "drop table if exists b_tx; create table b_tx (n int, pid int, xid text)"
  local failed = 0
  t:together(200, function(i)
    local ok, err = pcall(db.transaction, db, function(tx)
      local pid = db.pid
      local xid = db:item "select pg_current_xact_id()::text"
      for step = 1, 3 do
        db:q("insert into b_tx values ($1, pg_backend_pid(), pg_current_xact_id()::text)", i)
        t:eq(pid, db:item "select pg_backend_pid()")
        t:eq(xid, tx:item "select pg_current_xact_id()::text")
        t:eq(step, db:item("select count(*) from b_tx where n = $1", i))
      end
      if i % 4 == 0 then db:q "select 1/0" end
      if i % 4 == 2 then error({ mine = i }, 0) end
      return i
    end)
    if ok then return t:eq(i, err) end
    failed = failed + 1
    if i % 4 == 0 then t:ok(t.fastpg.is(err, "division_by_zero"), err) else t:eq(i, err.mine) end
  end)
  t:eq(100, failed)
  t:eq({ 300, 100 }, { db:item "select count(*) from b_tx", db:item "select count(distinct n) from b_tx" })
  t:eq(0, db:item "select count(*) from b_tx where n % 2 = 0")
  t:eq(100, db:item "select count(distinct (n, pid, xid)) from b_tx")
  t:at_most(0, "idle in transaction")
end)

add("savepoints nest, each in its own coroutine", function(t)
  local db = t:pool(4)
  t:admin():execute "drop table if exists b_save; create table b_save (n int, depth int)"
  local function save(i, depth) db:q("insert into b_save values ($1, $2)", i, depth) end
  t:together(12, function(i)
    db:transaction(function()
      save(i, 1)
      pcall(db.transaction, db, function()
        save(i, 2)
        t.fastpg.sleep(0.001)
        pcall(db.transaction, db, function()
          save(i, 3)
          db:q "select pg_sleep(0.002)"
          if i % 3 == 0 then db:q "select 1/0" end
        end)
        save(i, 4)
        if i % 2 == 0 then error "two" end
      end)
      save(i, 5)
    end)
  end)
  local function depths(i) return db:item("select string_agg(depth::text, '' order by depth) from b_save where n = $1", i) end
  for i = 1, 12 do
    t:eq(i % 2 == 0 and "15" or i % 3 == 0 and "1245" or "12345", depths(i), "of " .. i)
  end
end)

add("a spawned task never inherits the transaction", function(t)
  local db = t:pool(3)
  t:admin():execute "drop table if exists b_inherit; create table b_inherit (n int)"
  db:transaction(function()
    local pid = db.pid
    db:q "insert into b_inherit values (1)"
    local task = t.fastpg.spawn(function()
      return db:item "select count(*) from b_inherit", db.pid
    end)
    local n, other = task:wait()
    t:eq(0, n)
    t:ok(other ~= pid, "the task has a connection of its own")
    local a, b = t.fastpg.gather(function() return db.pid end, function()
      db:item "select pg_sleep(0.01)"
      return db:transaction(function() return db.pid end)
    end)
    t:ok(a ~= pid and b ~= pid)
    t:eq(pid, db.pid)
    db:timeout(0.05, function() -- nor a deadline
      t:eq(1, t.fastpg.spawn(function() return db:item "select 1 from pg_sleep(0.1)" end):wait())
    end)
  end)
end)

add("a generator inside of a transaction belongs to it, or says that nobody can tell", { blocking = true }, function(t)
  local db = t:pool(3)
  db:transaction(function(tx)
    local pid = db.pid
    local generator = coroutine.create(function() return db:item "select pg_backend_pid()" end)
    local _, got = coroutine.resume(generator) -- ngx_lua's coroutine.wrap ends the request with an error
    if t.exact then
      t:eq(pid, got)
    else
      t:ok(type(got) == "table" and got.name == "ambiguous_scope", got)
      t:ok(tostring(got):find "tx" and tostring(got):find "fastpg.spawn", tostring(got))
    end
    t:eq(pid, db.pid)
    t:eq(1, tx:item "select 1")
  end)
end)

add("a timeout or transaction in one coroutine does not reach another", function(t)
  local db = t:pool(4)
  local free = t.fastpg.spawn(function()
    for _ = 1, 5 do t:eq(1, db:item "select 1 from pg_sleep(0.05)") end
    return true
  end)
  t:together(3, function()
    t:fails("timeout", db.timeout, db, 0.02, function() db:q "select pg_sleep(5)" end)
  end)
  t:eq(true, free:wait())
end)

add("several coroutines take turns on tx", function(t)
  local db = t:pool(3)
  db:transaction(function(tx)
    local pid = tx.pid
    local results = t:together(15, function(i)
      local n, p = i, tx:item("select pg_backend_pid() from pg_sleep(0.002)")
      t:eq(pid, p)
      return tx:item("select $1::int", n)
    end)
    for i = 1, 15 do t:eq(i, results[i]) end
  end)
  t:eq(1, t:backends())
end)

add("tx after its end is an error, in every coroutine", function(t)
  local db = t:pool(2)
  local late, kept_tx, over
  db:transaction(function(tx)
    kept_tx = tx
    late = t.fastpg.spawn(function()
      t:wait_for(function() return over end, "the end")
      return tx:item "select 1"
    end)
  end)
  over = true
  t:fails("closed", kept_tx.q, kept_tx, "select 1")
  t:fails("closed", late.wait, late)
end)

add("gather on the one connection of a transaction is an error and no deadlock", function(t)
  for _, db in ipairs{ t:db(), t:pool(1) } do
    local started = t.clock()
    db:transaction(function()
      t:fails("deadlock", t.fastpg.gather, function() return db:item "select 1" end,
        function() return db:item "select 2" end)
      t:eq(3, db:item "select 3")
    end)
    t:ok(t.clock() - started < SOON)
    t:eq(4, db:item "select 4")
  end
end)

add("streams and statements of several coroutines share tx", function(t)
  local db = t:pool(2)
  db:transaction(function(tx)
    local sums = t:together(4, function(i)
      if i == 4 then
        for n = 1, 20 do t:eq(n, tx:item("select $1::int from pg_sleep(0.001)", n)) end
        return 0
      end
      local sum = 0
      for row in tx:each("select n from generate_series(1, 2000) n") do sum = sum + row.n end
      return sum
    end)
    t:eq({ 2001000, 2001000, 2001000, 0 }, sums)
  end)
end)

add("a transaction that ends while others use tx waits for their statements, and is over for the rest", function(t)
  local db = t:pool(2)
  t:admin():execute "drop table if exists b_end; create table b_end (n int)"
  local tasks = {}
  local wrong = 0
  db:transaction(function(tx)
    local pid = tx.pid
    for i = 1, 4 do
      tasks[i] = t.fastpg.spawn(function()
        return pcall(function()
          while true do
            local row = tx:first("insert into b_end select $1::int from pg_sleep(0.005) returning pg_backend_pid() as pid", i)
            if row.pid ~= pid then wrong = wrong + 1 end
          end
        end)
      end)
    end
    t.fastpg.sleep(0.05)
    db:transaction(function() db:q "select 1" end)
    pcall(db.transaction, db, function() error "undone" end)
  end)
  local other = t.fastpg.spawn(function()
    for _ = 1, 20 do db:item "select 1" end
    return true
  end)
  for i = 1, 4 do
    local ok, err = tasks[i]:wait()
    t:ok(not ok and t.fastpg.is(err, "closed"), ok, tostring(err))
  end
  t:eq(true, other:wait())
  t:eq(0, wrong)
  t:at_most(0, "idle in transaction")
  local begun = t.clock()
  local slow
  pcall(db.transaction, db, function(tx) -- what fails does not wait for statements of others
    slow = t.fastpg.spawn(function() return pcall(tx.q, tx, "select pg_sleep(20)") end)
    t:wait_until_busy()
    error "out"
  end)
  t:eq(false, (slow:wait()))
  t:ok(t.clock() - begun < SOON)
  t:eq(1, db:item "select 1")
end)

add("begin is not ambient; what is forgotten is rolled back", { blocking = true }, function(t)
  local db = t:pool(2)
  t:admin():execute "drop table if exists b_begin; create table b_begin (n int)"
  local tx = db:begin()
  tx:q "insert into b_begin values (1)"
  t:eq(0, db:item "select count(*) from b_begin")
  tx:commit()
  t:eq(1, db:item "select count(*) from b_begin")
  t:fails("closed", tx.q, tx, "select 1")
  local function forget() db:begin():q "insert into b_begin values (2)" end
  for _ = 1, 5 do forget() end
  collectgarbage()
  collectgarbage()
  t:eq(1, db:item "select count(*) from b_begin")
end)

add("deadlocks of transactions are retried", function(t)
  local db = t:pool(4)
  t:admin():execute("drop table if exists b_dead; create table b_dead (id int primary key, n int);"
    .. "insert into b_dead values (1, 0), (2, 0)")
  t:together(2, function(i)
    db:transaction({ retries = 5 }, function()
      db:q("update b_dead set n = n + 1 where id = $1", i)
      db:q "select pg_sleep(0.05)"
      db:q("update b_dead set n = n + 1 where id = $1", 3 - i)
    end)
  end)
  t:eq(4, db:item "select sum(n) from b_dead")
end)

add("an advisory lock is held by one coroutine at a time", function(t)
  local db = t:pool(3)
  local inside, most = 0, 0
  t:together(4, function()
    db:advisory_lock("behaviour " .. t.app, function()
      inside = inside + 1
      most = math.max(most, inside)
      db:q "select pg_sleep(0.01)"
      inside = inside - 1
    end)
  end)
  t:eq(1, most)
end)

-- ---- lost connections -----------------------------------------------------------------------

add("a lost connection is an error once, then there is a fresh one", { blocking = true }, function(t)
  for _, db in ipairs{ t:db(), t:pool(2) } do
    local pid
    db:acquire(function(c)
      pid = c.pid
      t:kill(pid)
      t:fails("connection", c.q, c, "select 1")
    end)
    t:eq(1, db:item "select 1")
    t:ok(db.pid ~= pid)
  end
end)

add("one that was killed while idle is not lent", { blocking = true }, function(t)
  for _, db in ipairs{ t:db(), t:pool(2) } do
    local pid = db.pid
    t:kill(pid)
    t:eq(1, db:item "select 1")
    t:ok(db.pid ~= pid)
  end
end)

add("a connection lost in the middle of a query", function(t)
  local db = t:pool(2)
  local task = t.fastpg.spawn(function() return db:item "select 1 from pg_sleep(20)" end)
  t:wait_until_busy()
  t:admin():execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", t.app)
  t:fails("connection", task.wait, task)
  t:eq(1, db:item "select 1")
end)

add("in a transaction that lost its connection every later call fails", { blocking = true }, function(t)
  local db = t:pool(3)
  t:admin():execute "drop table if exists b_lost; create table b_lost (n int)"
  local kept_tx
  t:fails("connection", db.transaction, db, function(tx)
    kept_tx = tx
    db:q "insert into b_lost values (1)"
    t:kill(tx.pid)
    local first = t:fails("connection", db.q, db, "insert into b_lost values (2)")
    t:fails("connection", db.q, db, "insert into b_lost values (3)")
    t:fails("connection", tx.q, tx, "insert into b_lost values (4)")
    t:fails("connection", db.transaction, db, function() db:q "insert into b_lost values (5)" end)
    error(first, 0)
  end)
  t:fails("closed", kept_tx.q, kept_tx, "select 1")
  t:eq(0, db:item "select count(*) from b_lost")
  t:fails("connection", db.transaction, db, function(tx) -- also where nobody looked
    db:q "insert into b_lost values (6)"
    t:kill(tx.pid)
    pcall(db.q, db, "select 1")
  end)
  t:eq(0, db:item "select count(*) from b_lost")
end)

add("all connections of a pool are lost", function(t)
  local db = t:pool(3)
  t:together(3, function() db:item "select pg_sleep(0.03)" end)
  t:admin():execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", t.app)
  t:wait_for(function() return t:backends() == 0 end, "all are gone")
  local errors = 0
  t:together(20, function(i)
    local ok, n = pcall(db.item, db, "select $1::int", i)
    if ok then return t:eq(i, n) end
    t:ok(t.fastpg.is(n, "connection"), tostring(n))
    errors = errors + 1
  end)
  t:ok(errors <= 3, "errors", errors)
  t:eq(1, db:item "select 1")
end)

-- ---- streams --------------------------------------------------------------------------------

local function memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count"
end

add("each runs in constant memory", { blocking = true }, function(t)
  local db = t:pool(2)
  local before, most, n = memory(), 0, 0
  for row in db:each "select g, repeat('x', 200) as s from generate_series(1, 40000) g" do
    n = n + 1
    if row.g ~= n then error "a row is missing" end
    if n % 10000 == 0 then most = math.max(most, memory()) end
  end
  t:eq(40000, n)
  t:ok(most - before < 1500, "kilobytes", most - before)
end)

add("rows that are there leave others a turn", function(t)
  local db = t:pool(2)
  local turns, answers, done = 0, 0, false
  local sleeper = t.fastpg.spawn(function()
    while not done do
      t.fastpg.sleep(0)
      turns = turns + 1
    end
  end)
  local asker = t.fastpg.spawn(function()
    while not done do answers = answers + db:item "select 1" end
  end)
  local n = 0 -- it has more rows than can be read in the time a behaviour has
  db:each("select generate_series(1, 1000000000) as n", function()
    n = n + 1
    return n < 100000 or turns < 20 or answers < 5
  end)
  local function others_go_on(what, fn) -- some of it: who asks is at the server's mercy
    for _ = 1, 20 do
      local before, asked = turns, answers
      t:eq(100000, fn())
      if turns - before > 2 and answers - asked > 2 then return end
    end
    error(what .. " holds the others up")
  end
  others_go_on("a list", function() return #db:arrays "select generate_series(1, 100000) as n" end)
  others_go_on("a copy", function() return db:copy_to("copy (select generate_series(1, 100000)) to stdout", function() end) end)
  done = true
  sleeper:wait()
  asker:wait()
end)

add("each is left early by close, false, an error, break", { blocking = true }, function(t)
  local db = t:pool(1)
  local sql = "select generate_series(1, 100000000) as n"
  local pid = db.pid
  local started = t.clock()
  local rows = db:each(sql)
  t:eq({ 1, 2 }, { rows().n, rows().n })
  rows:close()
  rows:close()
  t:eq(nil, rows())
  t:eq(1, db:item "select 1")
  local seen = 0
  db:each("select generate_series(1, $1::int) as n", 100000000, function(row)
    seen = row.n
    return row.n < 3
  end)
  t:eq(3, seen)
  local ok, err = pcall(db.each, db, sql, function() error({ "mine" }, 0) end)
  t:ok(not ok and err[1] == "mine")
  t:eq(1, db:item "select 1")
  if _VERSION == "Lua 5.4" then
    for row in db:each(sql) do
      if row.n == 3 then break end
    end
    pcall(function() for _ in db:each(sql) do error "out" end end)
    t:eq(1, db:item "select 1")
  end
  t:ok(t.clock() - started < SOON, t.clock() - started)
  t:at_most(0, "active")
  t:eq(pid, db.pid)
end)

add("an error in the middle of a stream", { blocking = true }, function(t)
  local db = t:pool(1)
  local seen = 0
  t:fails("division_by_zero", function()
    for row in db:each "select 100 / (50 - n) as q, n from generate_series(1, 100) n" do seen = row.n end
  end)
  t:eq(49, seen)
  t:eq(1, db:item "select 1")
  t:fails("undefined_table", db.each, db, "select * from b_nowhere")
  t:eq(1, db:item "select 1")
end)

add("ten streams at once", function(t)
  local db = t:pool(10)
  local sums = t:together(10, function(i)
    local sum = 0
    for row in db:each("select n from generate_series(1, $1::int) n", 1000 * i) do sum = sum + row.n end
    return sum
  end)
  for i = 1, 10 do t:eq(1000 * i * (1000 * i + 1) / 2, sums[i]) end
end)

add("a stream in a transaction lets other statements run between", { blocking = true }, function(t)
  local db = t:pool(2)
  t:admin():execute "drop table if exists b_between; create table b_between (n int)"
  db:transaction(function()
    local pid, n = db.pid, 0
    for row in db:each "select n from generate_series(1, 600) n" do
      n = n + 1
      if row.n % 100 == 0 then
        t:eq(pid, db.pid)
        db:q("insert into b_between values ($1)", row.n)
      end
    end
    t:eq(600, n)
    t:eq(6, db:item "select count(*) from b_between")
    local rows = db:each "select n from generate_series(1, 1000) n"
    rows()
    rows:close()
    t:eq(pid, db.pid)
  end)
  t:eq(1, t:backends())
end)

add("a stream outside of a transaction: another statement takes another connection", { blocking = true }, function(t)
  local db = t:pool(2)
  local pids = {}
  for row in db:each "select pg_backend_pid() as pid, n from generate_series(1, 3) n" do
    pids[#pids + 1] = db.pid ~= row.pid
  end
  t:eq({ true, true, true }, pids)
  local single = t:db()
  local rows = single:each "select n from generate_series(1, 100000) n"
  rows()
  local started = t.clock()
  local ok, err = pcall(single.q, single, "select 1")
  t:eq(false, ok)
  t:ok(tostring(err):find "transaction", tostring(err))
  t:ok(t.clock() - started < SOON)
  rows:close()
  t:eq(1, single:item "select 1")
end)

add("streams that are forgotten give their connection back", { blocking = true }, function(t)
  local db = t:pool(2)
  local function forget() return db:each("select generate_series(1, 10000000) as n")().n end
  for _ = 1, 5 do t:eq(1, forget()) end
  for _ = 1, 4 do collectgarbage() end
  t:eq(1, db:item "select 1")
end)

add("a slow stream leaves the timer alone", function(t)
  local db, gate, n = t:pool(1), t:gate(), 0
  gate.open_after_ticks(10)
  for _ in db:each("select n, pg_sleep(0.002) from generate_series(1, 10) n, " .. gate.sql) do n = n + 1 end
  t:eq(10, n)
end)

-- ---- notifications --------------------------------------------------------------------------

add("listen and notify", function(t)
  local db = t:pool(3)
  local channel, got, last = "b" .. math.random(1e9), {}, 0
  local function note(n) got[#got + 1] = n.payload end
  -- What was sent before has come when this has.
  db:listen(channel .. "_last", function() last = last + 1 end)
  local function sent()
    local before = last
    t.fastpg.spawn(function() db:notify(channel .. "_last") end):wait() -- outside of a transaction
    t:wait_for(function() return last > before end, "the last one")
  end
  db:listen(channel, note)
  db:notify(channel, "one")
  db:notify(channel)
  db:transaction(function()
    db:notify(channel, "three")
    sent()
    t:eq(2, #got)
  end)
  t:wait_for(function() return #got == 3 end, "three notifications")
  t:eq({ "one", "", "three" }, got)
  pcall(db.transaction, db, function()
    db:notify(channel, "never")
    error "back"
  end)
  db:unlisten(channel, note)
  db:notify(channel, "unheard")
  sent()
  t:eq(3, #got)
end)

add("a function of a notification may query, and may fail", function(t)
  local fastpg = t.fastpg
  local db = t:pool(3)
  local channel, got, told = "b" .. math.random(1e9), {}, 0
  local before = fastpg.on_error
  fastpg.on_error = function() told = told + 1 end
  db:listen(channel, function(n)
    if n.payload == "bad" then error "bad" end
    got[#got + 1] = db:item("select $1 || '!' from pg_sleep(0.01)", n.payload)
  end)
  for _, payload in ipairs{ "a", "bad", "b" } do db:notify(channel, payload) end
  local ok, err = pcall(t.wait_for, t, function() return #got == 2 end, "two answers")
  fastpg.on_error = before
  db:unlisten()
  if not ok then error(err, 0) end
  t:eq({ "a!", "b!" }, got)
  t:eq(1, told)
end)

add("many listen and leave at the same time, on one connection more", function(t)
  local db = t:pool(3)
  local base, got = "b" .. math.random(1e9) .. "_", {}
  local functions = {}
  t:together(12, function(i)
    functions[i] = function(n) got[#got + 1] = n.payload end
    db:listen(base .. i % 4, functions[i])
    db:notify(base .. i % 4, i) -- whoever listens has heard it when listen returned
  end)
  t:ok(t:backends() <= 4, t:backends())
  t:wait_for(function()
    local seen = {}
    for _, payload in ipairs(got) do seen[payload] = true end
    for i = 1, 12 do if not seen[tostring(i)] then return false end end
    return true
  end, "each heard its own")
  t:together(12, function(i)
    db:unlisten(base .. i % 4, functions[i])
    if i % 3 == 0 then db:listen(base .. "again", functions[i]) end
  end)
  got = {}
  db:notify(base .. "again", "x")
  t:wait_for(function() return #got == 4 end, "four functions")
  db:unlisten()
  t:wait_for(function() return t:backends() <= 3 end, "nobody listens")
end)

add("close ends a loop over notifications", function(t)
  local db = t:pool(3)
  local channel = "b" .. math.random(1e9)
  local listens, n = false, 0
  local task = t.fastpg.spawn(function()
    local all = db:notifications(channel)
    listens = true
    for _ in all do n = n + 1 end
    return n
  end)
  t:wait_for(function() return listens end, "it listens")
  db:notify(channel, "one")
  t:wait_for(function() return n == 1 end, "it came")
  db:close()
  t:eq(1, task:wait())
end)

add("a listener goes on under the next loop or controller", { then_ = function(t)
  local db, got = kept.listening, {}
  db:listen(kept.channel, function(n)
    if not n.gap then got[#got + 1] = n.payload end
  end)
  db:notify(kept.channel, "two")
  t:wait_for(function() return #got == 1 end, "the second")
  t:eq({ "two" }, got)
  t:ok(t:backends() <= 3, t:backends())
end }, function(t)
  local got = {}
  kept.listening, kept.channel = t:pool(2), "b" .. math.random(1e9)
  kept.listening:listen(kept.channel, function(n) got[#got + 1] = n.payload end)
  kept.listening:notify(kept.channel, "one")
  t:wait_for(function() return #got > 0 end, "the first")
end)

add("notifications as a loop, which ends by its time", function(t)
  local db = t:pool(3)
  local channel, got = "b" .. math.random(1e9), {}
  local loop = db:notifications(channel, 1.5)
  local sender = t.fastpg.spawn(function()
    for i = 1, 3 do
      t.fastpg.sleep(0.02)
      db:notify(channel, i)
    end
  end)
  local ticker = t:tick()
  for n in loop do
    got[#got + 1] = n.payload
    t:eq(channel, n.channel)
    t:ok(n.pid)
  end
  ticker.stop()
  sender:wait()
  t:eq({ "1", "2", "3" }, got)
  t:ok(ticker.count >= 10, ticker.count)
end)

add("two thousand notifications, none lost, in order", function(t)
  local db = t:pool(3)
  local channel, n, wrong = "b" .. math.random(1e9), 0, 0
  db:listen(channel, function(e)
    n = n + 1
    if tonumber(e.payload) ~= n then wrong = wrong + 1 end
  end)
  for i = 0, 3 do
    db:execute("select pg_notify($1, (($2 * 500) + g)::text) from generate_series(1, 500) g", channel, i)
  end
  t:wait_for(function() return n >= 2000 end, "two thousand notifications")
  db:unlisten()
  t:eq({ 2000, 0 }, { n, wrong })
end)

add("a listener whose connection was killed tells of the gap and goes on", function(t)
  local db = t:pool(3)
  local channel, gaps, got = "b" .. math.random(1e9), 0, {}
  db:listen(channel, function(n)
    if n.gap then gaps = gaps + 1 else got[#got + 1] = n.payload end
  end)
  db:notify(channel, "before")
  t:wait_for(function() return #got == 1 end, "the first")
  local pid = t:admin():item("select pid from pg_stat_activity where application_name = $1 and query like 'LISTEN%'", t.app)
  t:kill(pid)
  t:wait_for(function() return gaps == 1 end, "the gap")
  db:notify(channel, "after")
  t:wait_for(function() return #got == 2 end, "the second")
  db:unlisten()
  t:eq({ "before", "after" }, got)
  t:eq(1, gaps)
end)

-- ---- the rest of the library ----------------------------------------------------------------

add("tables: metamethods wait too", { blocking = true }, function(t)
  local db = t:pool(4)
  t:admin():execute [[drop table if exists b_cat cascade; create table b_cat (id serial primary key, name text not null, weight int);
    insert into b_cat (name, weight) select 'cat ' || g, g from generate_series(1, 20) g;
    create or replace view b_slow as select id, name from b_cat limit 2]]
  if t.host ~= "block" then
    local gate = t:gate()
    t:admin():execute("create or replace view b_slow as select id, name from b_cat, " .. gate.sql .. " limit 2")
    gate.open_after_ticks(5)
  end
  local cats = db.t.b_cat
  t:eq("cat 1", cats[1].name)
  t:eq(20, #cats)
  t:eq({ "cat 2", "cat 3" }, { db.t.b_cat[2].name, cats{ where = { id = 3 } }[1].name })
  t:eq(5, #cats("weight > ?", 15))
  t:fails("not_found", function() return cats[99] end)
  t:eq(2, #db.v.b_slow())
  if t.host ~= "block" then
    local names = t:together(20, function(i) return cats[i].name .. "/" .. db.t.b_cat:get(i).weight end)
    for i = 1, 20 do t:eq(("cat %d/%d"):format(i, i), names[i]) end
  end
  local row = cats:insert{ name = "new", weight = 1 }
  row.weight = 2
  t:eq(2, cats:update(row).weight)
  t:eq("up", cats:upsert({ id = row.id, name = "up" }).name)
  cats:delete(row.id)
  t:eq(nil, cats:get(row.id))
  local n = 0
  for _ in cats:each{ order_by = "id" } do n = n + 1 end
  t:eq(20, n)
end)

add("a fresh database's tables are looked up by many at once", function(t)
  local db = t:pool(3)
  t:admin():execute "create table if not exists b_many (id int primary key, name text); truncate b_many"
  t:admin():execute "insert into b_many select g, 'n' || g from generate_series(1, 30) g"
  local names = t:together(30, function(i) return db.t.b_many[i].name end)
  for i = 1, 30 do t:eq("n" .. i, names[i]) end
end)

add("scope confines, in many coroutines", function(t)
  local db = t:pool(2)
  t:admin():execute "drop table if exists b_tenant; create table b_tenant (id serial primary key, tenant int, name text)"
  t:together(10, function(i)
    local mine = db.t.b_tenant:scope("tenant", i)
    local row = mine:insert{ name = "x" }
    t:eq(i, row.tenant)
    t:eq(1, #mine)
    t:fails("not_found", function() return db.t.b_tenant:scope("tenant", i + 100)[row.id] end)
  end)
end)

add("prepared statements, pipelines, executemany", { blocking = true }, function(t)
  local db = t:pool(3)
  local double = db:prepare "select $1::int * 2 as n"
  local function all(i)
    t:eq(2 * i, double(i)[1].n)
    t:eq(2 * i, double:item(i))
    local p = db:pipeline(function(p)
      for k = 1, 10 do p:item("select $1::int + $2::int", i, k) end
    end)
    for k = 1, 10 do t:eq(i + k, p[k]) end
    t:fails("division_by_zero", db.pipeline, db, function(q)
      q:item "select 1"
      q:item "select 1/0"
      q:item "select 2"
    end)
  end
  if t.host == "block" then all(1) else t:together(10, all) end
  t:admin():execute "drop table if exists b_exec; create table b_exec (n int)"
  local list = {}
  for i = 1, 500 do list[i] = { i } end
  t:eq(500, db:executemany("insert into b_exec values ($1)", list))
  t:eq(125250, db:item "select sum(n) from b_exec")
end)

add("copy moves megabytes, and the timer goes on", { blocking = true }, function(t)
  local db = t:pool(2)
  t:admin():execute "drop table if exists b_copy; create table b_copy (n int, s text)"
  local ticker = t.host ~= "block" and t:tick()
  local line, sent = ("x"):rep(200), 0
  local count = db:copy_from("copy b_copy from stdin", function()
    if sent == 12000 then return nil end
    local parts = {}
    for i = 1, 1000 do parts[i] = (sent + i) .. "\t" .. line .. "\n" end
    sent = sent + 1000
    return table.concat(parts)
  end)
  t:eq(12000, count)
  local bytes, lines = 0, 0
  db:copy_to("copy b_copy to stdout", function(chunk)
    bytes = bytes + #chunk
    lines = lines + select(2, chunk:gsub("\n", ""))
  end)
  t:eq(12000, lines)
  t:ok(bytes > 2400000, bytes)
  if ticker then
    ticker.stop()
    t:ok(ticker.count >= 1, ticker.count)
  end
  local ok, err = pcall(db.copy_to, db, "copy b_copy to stdout", function() error({ "enough" }, 0) end)
  t:ok(not ok and err[1] == "enough", err)
  ok, err = pcall(db.copy_from, db, "copy b_copy from stdin", function() error({ "nothing" }, 0) end)
  t:ok(not ok and err[1] == "nothing", err)
  t:fails("timeout", db.timeout, db, 0.1, function()
    db:copy_to("copy (select repeat('x', 1000), pg_sleep(0.01) from generate_series(1, 1000)) to stdout", function() end)
  end)
  t:eq(12000, db:item "select count(*) from b_copy")
end)

add("a sink and a source may wait themselves", function(t)
  local db, other = t:pool(2), t:pool(2)
  t:admin():execute "drop table if exists b_pump; create table b_pump (n int)"
  local sent = 0
  t:eq(20, db:copy_from("copy b_pump from stdin", function()
    if sent == 20 then return nil end
    sent = sent + 1
    return other:item("select $1::int from pg_sleep(0.001)", sent) .. "\n"
  end))
  local sum = 0
  db:copy_to("copy b_pump to stdout", function(chunk)
    t.fastpg.sleep(0.001)
    for n in chunk:gmatch "%d+" do sum = sum + tonumber(n) end
  end)
  t:eq(210, sum)
end)

add("bulk writes, by many at once, all or nothing", { blocking = true }, function(t)
  local db = t:pool(4)
  t:admin():execute "drop table if exists b_bulk; create table b_bulk (id int primary key, who int, name text default 'none')"
  local bulk = db.t.b_bulk
  local function rows(who)
    local list = {}
    for i = 1, 300 do list[i] = { id = who * 1000 + i, who = who, name = i % 2 == 0 and "even" or nil } end
    return list
  end
  if t.host == "block" then
    bulk:inserts(rows(1))
    bulk:copy(rows(2))
  else
    t:together(6, function(who)
      if who % 2 == 0 then return #bulk:inserts(rows(who)) end
      return bulk:copy(rows(who))
    end)
  end
  local n = #bulk
  t:eq(t.host == "block" and 600 or 1800, n)
  local list = rows(7)
  list[300].id = 1001
  t:fails("unique_violation", bulk.inserts, bulk, list)
  t:eq(n, #bulk)
  t:eq(150, #bulk:upserts((function()
    local some = {}
    for i = 1, 150 do some[i] = { id = 1000 + i, name = "again" } end
    return some
  end)()))
  t:eq(150, bulk:count("name = ?", "again"))
end)

add("workers claim jobs, none twice", function(t)
  local db = t:pool(3)
  t:admin():execute [[drop table if exists b_job; create table b_job (id serial primary key, status text default 'pending');
    insert into b_job select from generate_series(1, 30)]]
  local done = {}
  t:together(3, function()
    repeat
      local p = db.t.b_job:claim_one({ order_by = "id" }, function(p)
        done[p.row.id] = (done[p.row.id] or 0) + 1
        p.db:q "select pg_sleep(0.002)"
      end)
    until not p
  end)
  for id = 1, 30 do t:eq(1, done[id], "job " .. id) end
  t:eq(30, db:item "select count(*) from b_job where status = 'completed'")
end)

add("events and errors are objects of their own coroutine", function(t)
  local db = t:pool(2)
  t:together(20, function(i)
    local err = t:fails("division_by_zero", db.q, db, "select $1::int / 0", i)
    t:eq("22012", err.sqlstate)
    t:ok(tostring(err):find "division by zero", tostring(err))
    t:ok(not tostring(err):find "\n")
    err = t:fails("undefined_table", db.q, db, "select * from b_nowhere_" .. i)
    t:ok(err.message:find("b_nowhere_" .. i, 1, true), err.message)
  end)
end)

add("what can't yield blocks, or in nginx is an error", { blocking = true }, function(t)
  local db = t:pool(2)
  local function compare() return db:item "select 1" > 5 end
  local ok, err = pcall(table.sort, { 3, 1, 2 }, compare)
  if t.host == "nginx" then
    t:eq(false, ok)
    t:ok(type(err) == "table" and err.name, err)
  else
    t:ok(ok, err)
    t:eq("[1]", (("x"):gsub("x", function() return "[" .. db:item "select 1" .. "]" end)))
  end
  t:eq(1, db:item "select 1")
end)

add("queries inside of pcall, iterators and metamethods of the user's own", { blocking = true }, function(t)
  local db = t:pool(2)
  local object = setmetatable({}, {
    __index = function(_, k) return db:item("select $1 || '!'", k) end,
    __add = function(_, n) return db:item("select $1::int + 1", n) end,
    __call = function(_, n) return db:item("select $1::int * 2", n) end,
  })
  t:eq({ "a!", 6, 8 }, { object.a, object + 5, object(4) })
  local ok, n = pcall(pcall, function() return db:item "select 3" end)
  t:eq({ true, true }, { ok, n })
  local _, caught = xpcall(function() db:q "select 1/0" end, function(err) return { err } end)
  t:ok(t.fastpg.is(caught[1], "division_by_zero"))
  local sum = 0
  local function numbers(_, i)
    if i < 5 then return db:item("select $1::int + 1", i) end
  end
  for i in numbers, nil, 0 do sum = sum + i end
  t:eq(15, sum)
end)

-- ---- leaks ----------------------------------------------------------------------------------

-- A turn of everything.
local function exercise(t, db)
  t:together(6, function(i)
    db:item("select $1::int", i)
    pcall(db.transaction, db, function() db:q "select 1/0" end)
    pcall(db.timeout, db, 0.01, function() db:q "select pg_sleep(5)" end)
    for _ in db:each "select generate_series(1, 10)" do end -- luacheck: ignore 542
  end)
  local task = t.fastpg.spawn(function() db:q "select pg_sleep(5)" end)
  t.fastpg.sleep(0.02)
  task:cancel()
  pcall(task.wait, task)
end

add("descriptors do not become more", function(t)
  local count = t.env.descriptors
  if not count then return end
  local function turn()
    local db = t:pool(3)
    exercise(t, db)
    local channel = "b" .. math.random(1e9)
    for _ in db:notifications(channel, 0.01) do end -- luacheck: ignore 542
    t:wait_for(function() return t:backends() <= 3 end, "the listener left")
    db:close()
    collectgarbage()
    collectgarbage()
  end
  turn()
  local before = count()
  turn()
  t:wait_for(function() return count() <= before end, "as few descriptors as before")
end)

-- ---- hooks ----------------------------------------------------------------------------------

add("a hook on queries may query and wait, and others go on", { blocking = true }, function(t)
  local db, seen, answers = t:pool(16), {}, 0
  local off = db:on("query", function(e)
    seen[#seen + 1] = e.sql
    t.fastpg.sleep(0.001)
    if db:item "select 7" == 7 then answers = answers + 1 end
  end)
  local function run() t:eq(1, db:item "select 1") end
  if t.host == "block" then run() else t:together(8, run) end
  off()
  run()
  t:eq(t.host == "block" and 1 or 8, #seen)
  t:eq(#seen, answers)
  for _, sql in ipairs(seen) do t:eq("select 1", sql) end
end)

add("a hook's error goes to on_error, and the hook that takes itself away is gone", { blocking = true }, function(t)
  local fastpg, told, n = t.fastpg, {}, 0
  local before = fastpg.on_error
  fastpg.on_error = function(err) told[#told + 1] = err end
  local db = t:pool(2)
  local off
  off = db:on("query", function()
    n = n + 1
    off()
    db:q "select 1/0"
  end)
  local ok, err = pcall(function()
    t:eq(5, db:item "select 5")
    t:eq(6, db:item "select 6")
  end)
  fastpg.on_error = before
  t:ok(ok, err)
  t:eq({ 1, 1 }, { n, #told })
  t:ok(fastpg.is(told[1], "division_by_zero"))
end)

add("a task that is canceled in a hook is told so, and its transaction is undone", function(t)
  local db = t:pool(3)
  db:execute "drop table if exists in_hook; create table in_hook (id int primary key)"
  for _, kind in ipairs{ "query", "write", "audit" } do
    local inside = false
    local off = db:on(kind, function(e)
      if kind ~= "write" and not e.sql:lower():find "insert" then return end
      inside = true
      db:q "select pg_sleep(20)"
    end)
    local task = t.fastpg.spawn(function()
      db:transaction(function(tx) tx.t.in_hook:insert{ id = 1 } end)
    end)
    t:wait_for(function() return inside end, "the hook of " .. kind)
    t:wait_until_busy(1)
    canceled(t, task)
    off()
    t:eq(0, db:item "select count(*) from in_hook")
    t:eq(0, db:stats().in_use)
  end
  db:execute "drop table in_hook"
end)

add("a hook on writes commits with the write, and fails it", { blocking = true }, function(t)
  local db = t:pool(3)
  db:execute "drop table if exists of_hook; create table of_hook (id int primary key, told boolean)"
  local off = db:on("write", function(e)
    t.fastpg.sleep(0.001)
    for _, key in ipairs(e.keys) do
      if key == 3 then error("not three", 0) end
    end
    e.tx.t.of_hook:insert{ id = 100 + e.keys[1], told = true }
  end)
  local function run(i)
    local ok, err = pcall(db.t.of_hook.insert, db.t.of_hook, { id = i })
    t:eq(i ~= 3, ok, tostring(err))
  end
  if t.host == "block" then
    for i = 1, 5 do run(i) end
  else
    t:together(5, run)
  end
  off()
  t:eq({ 1, 2, 4, 5, 101, 102, 104, 105 }, db.t.of_hook:order_by("id"):pluck("id"))
  db:execute "drop table of_hook"
end)

add("memory does not grow with queries", { blocking = true }, function(t)
  local db = t:pool(4)
  local function queries(n)
    if t.host == "block" then
      for i = 1, n do t:eq(i, db:item("select $1::int", i)) end
    else
      t:together(4, function()
        for i = 1, n / 4 do
          if i % 100 == 0 then
            db:transaction(function() db:item("select $1::int", i) end)
            pcall(db.q, db, "select 1/0")
          elseif db:item("select $1::int", i) ~= i then
            error "another's result"
          end
        end
      end)
    end
  end
  queries(400)
  local before = memory()
  queries(4000)
  t:ok(memory() - before < 100, "kilobytes", memory() - before)
end)

return behaviours
