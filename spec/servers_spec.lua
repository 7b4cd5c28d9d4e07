-- SPDX-License-Identifier: MIT
--
-- A database of several servers: reads go to replicas and see what the reader wrote, and the primary is found again when it
-- is another one.  On real standbys (fastpg.cluster), which are paused, stopped, promoted, and cut off.

local core = require "fastpg.core"
local fastpg = require "fastpg"

local unpack = unpack or table.unpack -- luacheck: ignore 113 143

local SLACK = 20 -- seconds, for a busy machine

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "it did not fail")
  return err
end

-- Calls fn until it gives something true.
local function within(seconds, fn)
  local ends = core.clock() + seconds
  repeat
    local found = fn()
    if found then return found end
    fastpg.sleep(0.02)
  until core.clock() > ends
  error("it did not come to that in " .. seconds .. " seconds", 2)
end

local IN_RECOVERY = "pg_is_in_recovery()"

describe("replicas", function()
  local pg, db, watch

  setup(function()
    pg = fastpg.cluster{ standbys = 2, settings = { max_standby_streaming_delay = 0 } }
    watch = pg:connect()
    watch:execute "create table v (name text primary key, n int)"
    watch:execute "insert into v select i::text, i from generate_series(1, 100) i"
    db = pg:create_pool({ replicas = true, reads = "replica" }, { max_size = 4 })
  end)
  teardown(function()
    db:close()
    watch:close()
    pg:close()
  end)

  local function server(name)
    for _, one in ipairs(db:stats().servers) do
      if one.name:find(name, 1, true) then return one end
    end
  end
  local function name_of(i) return i == 0 and pg.conninfo.host or pg.standbys[i].conninfo.host end
  local function on_standby() return db.t.v:limit(1):item(IN_RECOVERY) end

  it("answer plain reads of Tables and queries, and nothing else", function()
    assert.is_true(on_standby())
    assert.is_true(db.t.v:on_replica():limit(1):item(IN_RECOVERY))
    assert.equal(100, db.t.v:count())
    assert.equal(7, db.t.v[{ "7" }].n)
    assert.equal(100, #db.t.v{})
    assert.is_true(db.t.v:where{ n = 5 }:exists())
    assert.equal(3, #db.t.v:order_by("n"):page(3))
    assert.is_true(db:read(function(tx) return tx:item("select " .. IN_RECOVERY) end))
    assert.is_true(db:transaction({ readonly = true }, function(tx) return tx:item("select " .. IN_RECOVERY) end))
    assert.is_false(db:item("select " .. IN_RECOVERY))
    assert.is_false(db:transaction(function(tx) return tx.t.v:limit(1):item(IN_RECOVERY) end))
    assert.is_false(db:transaction(function(tx)
      return tx:read(function(inner) return inner.t.v:on_replica():limit(1):item(IN_RECOVERY) end)
    end))
    assert.is_false(db:transaction({ readonly = true, isolation = "serializable" }, function(tx)
      return tx:item("select " .. IN_RECOVERY)
    end))
    local plain = pg:create_pool{ replicas = true }
    assert.is_false(plain.t.v:limit(1):item(IN_RECOVERY))
    within(SLACK, function() return plain.t.v:on_replica():limit(1):item(IN_RECOVERY) end)
    plain:close()
  end)

  it("are no matter where none is named", function()
    assert.is_false(watch.t.v:on_replica():limit(1):item(IN_RECOVERY))
    assert.equal("on", watch:read(function(tx) return tx:item "show transaction_read_only" end))
    assert.matches("^%x+/%x+$", watch:lsn())
  end)

  it("give the rows of streams, to who wrote too", function()
    local select = "n, name, " .. IN_RECOVERY .. " as apart"
    local function read(rows)
      local n, apart = 0, nil
      for row in rows do n, apart = n + 1, row.apart end
      return n, apart
    end
    assert.same({ 100, true }, { read(db.t.v:each{ select = select }) })
    assert.same({ 1, true }, { read(db.t.v:where{ n = 5 }:select(select):each()) })
    assert.same({ 100, true }, { db:read(function(tx) return read(tx.t.v:each{ select = select }) end) })
    assert.same({ 100, false }, { read(db:each("select " .. select .. " from v")) })
    assert.same({ 100, false }, { db:transaction(function(tx) return read(tx.t.v:on_replica():select(select):each()) end) })
    local apart
    db.t.v:select(select):each(function(row)
      apart = row.apart
      return false
    end)
    assert.is_true(apart)
    local plain = pg:create_pool{ replicas = true }
    assert.same({ 100, false }, { read(plain.t.v:each{ select = select }) })
    assert.same({ 100, true }, { read(plain.t.v:on_replica():select(select):each()) })
    plain:close()
    pg:pause_replay(1)
    for i = 1, 50 do
      db.t.v:update{ name = "7", n = i }
      for row in db.t.v:where{ name = "7" }:each() do assert.equal(i, row.n) end
    end
    db.t.v:update{ name = "7", n = 7 }
    pg:resume_replay(1)
  end)

  it("may be short of connections, which is no fault of theirs", function()
    local one = pg:connect{ replicas = true, reads = "replica" }
    one:ping()
    local seen = {}
    one.t.v:each(function()
      one.t.v:each(function()
        assert.equal(100, one.t.v:count())
        seen[#seen + 1] = true
        return #seen < 3
      end)
      for _, each in ipairs(one:stats().servers) do assert.is_true(each.answers) end
      return false
    end)
    assert.equal(3, #seen)
    one:close()
  end)

  it("end a stream with an error where what they replay takes its rows away", function()
    watch:execute [[create table long (n int, filler text);
      insert into long select i, repeat(md5(i::text), 60) from generate_series(1, 20000) i]]
    within(SLACK, function() local ok, n = pcall(db.t.long.count, db.t.long) return ok and n == 20000 and on_standby() end)
    fastpg.run(function()
      local n, truncated = 0, nil
      local err = failure(function()
        for row in db.t.long:each() do
          n = n + 1
          if n == 1 then
            truncated = fastpg.spawn(function() watch:execute "truncate long" end)
            within(SLACK, function() return truncated.results end)
            fastpg.sleep(0.3)
          end
          assert.equal(1920, #row.filler)
        end
      end)
      assert.equal("40001", err.sqlstate)
      assert.is_true(n >= 1 and n < 20000, n)
      assert.equal(0, db.t.long:count())
    end)
  end)

  it("refuse to write, and what they refuse runs on the primary", function()
    local err = failure(db.read, db, function(tx) tx.t.v:insert{ name = "x", n = 1 } end)
    assert.equal("25006", err.sqlstate)
    watch:execute "create or replace function touch() returns int language sql as 'update v set n = n where n = 1 returning n'"
    within(SLACK, function() return pcall(db.item, db, "select touch()") end)
    assert.equal(1, db.t.v:limit(1):item "touch()")
  end)

  it("show a reader what it wrote, also while one of them stands still", function()
    for _, paused in ipairs{ 1, 2 } do
      pg:pause_replay(paused)
      for i = 1, 150 do
        db.t.v:update{ name = "1", n = 1000 + i }
        assert.equal(1000 + i, db.t.v[{ "1" }].n)
        assert.equal(1, db.t.v:where{ n = 1000 + i }:count())
      end
      pg:resume_replay(paused)
    end
  end)

  it("leave it to the primary where all of them stand still", function()
    pg:pause_replay(1)
    pg:pause_replay(2)
    for i = 1, 5 do
      db.t.v:update{ name = "2", n = 2000 + i }
      assert.equal(2000 + i, db.t.v[{ "2" }].n)
      assert.is_false(on_standby())
    end
    local before = core.clock()
    assert.is_false(db:read({ staleness = 0.4 }, function(tx) return tx:item("select " .. IN_RECOVERY) end))
    assert.is_true(core.clock() - before >= 0.4)
    pg:resume_replay(1)
    pg:resume_replay(2)
    within(SLACK, on_standby)
  end)

  it("show a task what its spawner and those it waited for wrote", function()
    pg:pause_replay(2)
    fastpg.run(function()
      for i = 1, 60 do
        db.t.v:update{ name = "3", n = i }
        local seen = fastpg.gather(
          function() return db.t.v[{ "3" }].n end,
          function()
            db.t.v:update{ name = "4", n = i }
            fastpg.spawn(function() db.t.v:update{ name = "5", n = i } end):wait()
          end)
        assert.equal(i, seen)
        assert.equal(i, db.t.v[{ "4" }].n)
        assert.equal(i, db.t.v[{ "5" }].n)
      end
    end)
    pg:resume_replay(2)
  end)

  it("show another program what was there at a position that it is given", function()
    pg:pause_replay(1)
    local other = pg:create_pool{ replicas = true }
    for i = 1, 60 do
      db.t.v:update{ name = "6", n = i }
      assert.equal(i, other:read({ at_least = db:lsn() }, function(tx) return tx.t.v[{ "6" }].n end))
    end
    other:close()
    pg:resume_replay(1)
    for _, bad in ipairs{ "", "x", "1/", "1/123456789", "-1/2" } do
      assert.equal("invalid_argument", failure(db.read, db, { at_least = bad }, print).name)
    end
  end)

  it("are left out while they are too far behind, by the WAL and not by the clock", function()
    local near = pg:create_pool({ replicas = true, reads = "replica", max_lag = 0.3 }, { max_size = 4 })
    local function ports()
      local seen = {}
      for _ = 1, 20 do seen[near.t.v:limit(1):item "current_setting('unix_socket_directories')"] = true end
      return seen
    end
    local function count()
      local n = 0
      for _ in pairs(ports()) do n = n + 1 end
      return n
    end
    near.t.v:count()
    fastpg.sleep(1.2) -- an idle primary is no lag
    assert.is_true(near.t.v:limit(1):item(IN_RECOVERY))
    pg:pause_replay(1)
    pg:pause_replay(2)
    watch:execute "update v set n = n where name = '9'"
    within(SLACK, function()
      fastpg.sleep(0.1)
      return not near.t.v:limit(1):item(IN_RECOVERY)
    end)
    for _, one in ipairs(near:stats().servers) do
      if one.role == "standby" then assert.is_true(one.lag > 0.3, one.name) end
    end
    pg:resume_replay(1)
    within(SLACK, function()
      fastpg.sleep(0.1)
      return near.t.v:limit(1):item(IN_RECOVERY)
    end)
    assert.equal(1, count())
    pg:resume_replay(2)
    near:close()
  end)

  it("are left out while they are away, and come back by themselves", function()
    for _ = 1, 10 do on_standby() end
    pg.standbys[1]:crash()
    for _ = 1, 20 do assert.is_true(on_standby()) end
    within(SLACK, function()
      assert.is_true(on_standby())
      return not server(name_of(1)).answers
    end)
    pg.standbys[2]:stop()
    for _ = 1, 20 do assert.is_false(on_standby()) end
    assert.equal(100, db.t.v:count())
    pg.standbys[1]:start()
    pg.standbys[2]:start()
    within(SLACK, on_standby)
    within(SLACK, function() on_standby() return server(name_of(1)).answers and server(name_of(2)).answers end)
  end)

  it("are asked once more elsewhere where what they replay takes the rows away", function()
    watch:execute "create table if not exists short (n int); truncate short; insert into short values (1), (2)"
    within(SLACK, function() local ok, n = pcall(db.t.short.count, db.t.short) return ok and n == 2 end)
    local runs, where = 0, {}
    fastpg.run(function()
      local reader = fastpg.spawn(function()
        return db:read(function(tx)
          runs = runs + 1
          where[runs] = tx:item "select current_setting('unix_socket_directories')"
          local n = tx:item "select count(*) from short"
          if runs == 1 then tx:q "select pg_sleep(3)" end
          return n
        end)
      end)
      fastpg.sleep(0.3)
      watch:execute "truncate short" -- a lock that the standby replays at once
      assert.equal(0, tonumber(reader:wait()))
    end)
    assert.is_true(runs >= 2)
    assert.are_not.equal(where[1], where[2])
  end)

  it("that swallow what they are sent hold up nobody for long", function()
    for _ = 1, 10 do on_standby() end
    pg:partition(1)
    local before = core.clock()
    for _ = 1, 50 do assert.equal(100, db.t.v:count()) end
    assert.is_true(core.clock() - before < SLACK)
    pg:heal(1)
    within(SLACK, function() on_standby() return server(name_of(1)).answers end)
  end)

  it("are named in options that are looked at", function()
    for _, bad in ipairs{ {}, { 1 }, { "host=a", max_size = 0 }, { "host=a", size = 2 }, { "dbname=x" }, { true } } do
      assert.equal("invalid_argument", failure(fastpg.connect, { host = "127.0.0.1", replicas = bad }).name)
    end
    assert.equal("invalid_argument", failure(fastpg.connect, { reads = "standby" }).name)
    assert.equal("invalid_argument", failure(fastpg.connect, { max_lag = -1 }).name)
    assert.matches("connect: reads needs replicas", failure(fastpg.connect, { reads = "replica" }).message)
    assert.matches("create_pool: max_lag needs replicas", failure(fastpg.create_pool, { max_lag = 5 }).message)
  end)
end)

describe("a primary", function()
  local pg, db

  setup(function()
    pg = fastpg.cluster{ standbys = 2, synchronous = true }
    db = pg:create_pool({ replicas = true, failover_timeout = 30 }, { max_size = 10 })
    db:execute "create table w (id text primary key)"
  end)
  teardown(function()
    db:close()
    pg:close()
  end)

  -- 20 tasks write until `fault` is over, and what is confirmed is there: gives what they were told.
  local function under_load(fault)
    local confirmed, told, unknown, stop, last, gap = {}, {}, {}, false, core.clock(), 0
    local round = tostring({})
    local tasks = {}
    for w = 1, 20 do
      tasks[w] = function()
        local i = 0
        while not stop do
          i = i + 1
          local id = ("%s %d-%d"):format(round, w, i)
          local ok, err = pcall(db.execute, db, "insert into w values ($1)", id)
          if ok then
            confirmed[#confirmed + 1] = id
            gap, last = math.max(gap, core.clock() - last), core.clock()
          else
            told[#told + 1] = err
            if type(err) == "table" and err.commit_unknown then unknown[id] = true end
          end
        end
      end
    end
    tasks[21] = function()
      fastpg.sleep(0.3)
      local ok, err = pcall(fault)
      if ok then
        local n = #confirmed
        ok, err = pcall(within, 60, function() return #confirmed > n + 100 end)
      end
      stop = true
      if not ok then error(err, 0) end
    end
    fastpg.run(unpack(tasks))
    local there = {}
    for _, row in ipairs(db:q("select id from w where id like $1", round .. "%")) do there[row.id] = true end
    for _, id in ipairs(confirmed) do assert.is_true(there[id], "confirmed, and not there: " .. id) end
    local sum = 0
    for id in pairs(there) do sum = sum + 1 end -- luacheck: ignore 213
    local left = sum - #confirmed
    for id in pairs(unknown) do
      if there[id] then left = left - 1 end
    end
    assert.equal(0, left, "rows that were told to have failed")
    for _, err in ipairs(told) do
      assert.is_true(fastpg.is(err, "connection"), tostring(err))
    end
    return told, gap
  end

  it("that is promoted away while 20 tasks write is found again, and who asked for it is told", function()
    local changes = {}
    local off = db:on("server", function(e) changes[#changes + 1] = e end)
    finally(off)
    for _ = 1, 2 do
      local _, gap = under_load(function() pg:promote() end)
      assert.is_true(gap < 30)
      within(SLACK, function() return pcall(pg.start, pg) end)
    end
    assert.is_true(db:stats().failovers >= 2)
    local seen = {}
    for _, e in ipairs(changes) do seen[e.role] = e end
    assert.equal(pg.conninfo.host, seen.primary.server:match "^(.*):%d+$")
    assert.truthy(seen.former)
    assert.truthy(db:metrics():find('fastpg_server_up{server="[^"]+",role="primary"} 1'))
  end)

  it("that crashes is found again, and nothing that was confirmed is lost", function()
    under_load(function()
      pg:crash()
      fastpg.sleep(0.3)
      pg:promote()
    end)
    pg:start()
  end)

  it("that the network loses without a word is left for the next one", function()
    local told, gap = under_load(function()
      pg:partition(0)
      fastpg.sleep(0.5)
      pg:promote(1)
    end)
    assert.is_true(gap < 30)
    for _, err in ipairs(told) do assert.is_true(err.commit_unknown) end
    pg:heal(1) -- the one before, which never stopped, and takes writes for all it knows
    under_load(function() fastpg.sleep(1.5) end)
    within(SLACK, function() -- whoever reads looks around
      db.t.w:on_replica():exists()
      for _, one in ipairs(db:stats().servers) do
        if one.name:find(pg.standbys[1].conninfo.host, 1, true) then return one.role == "former" end
      end
    end)
    pg.standbys[1]:stop{ mode = "immediate" }
    pg:start()
    assert.is_false(db:item("select " .. IN_RECOVERY))
  end)

  it("that only starts anew is waited for", function()
    under_load(function() pg:restart() end)
  end)

  it("that is sought holds nobody who is canceled, and a caller without time marks nobody as away", function()
    local one = pg:create_pool({ replicas = true, failover_timeout = 20 }, { max_size = 2 })
    one:ping()
    pg:stop()
    fastpg.run(function()
      local task = fastpg.spawn(function() one:execute "insert into w values ('canceled')" end)
      fastpg.sleep(0.4)
      local before = core.clock()
      task:cancel()
      assert.equal("canceled", failure(task.wait, task).name)
      assert.is_true(core.clock() - before < SLACK / 2)
    end)
    pg:start()
    assert.is_true(one:ping())
    one:close()
    one = pg:create_pool({ replicas = true }, { max_size = 2 })
    for _ = 1, 3 do assert.is_true(fastpg.is(failure(one.timeout, one, 1e-9, function() one:ping() end), "timeout")) end
    assert.is_true(one:ping())
    one:close()
    assert.equal(0, db:item "select count(*) from w where id = 'canceled'")
  end)

  it("is found in a plain script, too", function()
    db:execute "insert into w values ('plain')"
    pg:crash()
    pg:promote()
    local ok, err = pcall(db.execute, db, "insert into w values ('plain 2')")
    if not ok then
      assert.is_true(fastpg.is(err, "connection"), tostring(err))
      db:execute "insert into w values ('plain 3')"
    end
    assert.is_false(db:item("select " .. IN_RECOVERY))
    pg:start()
  end)

  it("that does not come back is an error, in time, that says what each server is", function()
    local one = pg:create_pool({ replicas = true, failover_timeout = 1 }, { max_size = 2 })
    one:ping()
    pg:stop()
    pcall(one.ping, one)
    local before = core.clock()
    local err = failure(one.ping, one)
    local took = core.clock() - before
    assert.is_true(fastpg.is(err, "connection"), tostring(err))
    assert.is_true(took >= 0.9 and took < 1 + SLACK, took)
    assert.matches("a standby", err.message)
    assert.equal("timeout", failure(one.timeout, one, 0.3, function() one:ping() end).name)
    pg:start()
    assert.is_true(one:ping())
    one:close()
    local never = failure(fastpg.connect, { host = "/nowhere", failover_timeout = 30 })
    assert.is_true(fastpg.is(never, "connection"), tostring(never))
  end)

  it("says that something happened once when a standby has it, also to who asks again", function()
    db:execute "create table if not exists once (n int)"
    db:transaction({ id = "before" }, function() end)
    pg:partition(1)
    pg:partition(2)
    local runs = 0
    local function ask()
      return db:timeout(3, function()
        return db:transaction({ id = "alone" }, function(tx)
          runs = runs + 1
          tx:execute "insert into once values (1)"
          return runs
        end)
      end)
    end
    for _ = 1, 2 do
      local err = failure(ask)
      assert.is_true(err.commit_unknown, tostring(err))
    end
    pg:heal(1)
    pg:heal(2)
    within(SLACK, function() return pcall(ask) end)
    assert.equal(1, ask())
    assert.equal(1, runs)
    assert.equal(1, db:item "select count(*)::int from once")
  end)

  it("counts what happens once exactly once, whoever it is", function()
    db:execute "create table if not exists counted (id text)"
    local stop, done = false, {}
    local tasks = {}
    for w = 1, 10 do
      tasks[w] = function()
        local i = 0
        while not stop do
          i = i + 1
          local id = ("%d-%d"):format(w, i)
          assert.equal(id, db:transaction({ id = id, retries = 50 }, function(tx)
            tx:execute("insert into counted values ($1)", id)
            return id
          end))
          done[#done + 1] = id
        end
      end
    end
    tasks[11] = function()
      for i = 1, 2 do
        fastpg.sleep(0.3)
        if i == 1 then pg:crash() end
        pg:promote()
        fastpg.sleep(0.5)
        pg:start()
      end
      stop = true
    end
    fastpg.run(unpack(tasks))
    local seen = {}
    for _, row in ipairs(db:q "select id, count(*)::int as n from counted group by id") do seen[row.id] = row.n end
    for _, id in ipairs(done) do assert.equal(1, seen[id], id) end
    local n = 0
    for _ in pairs(seen) do n = n + 1 end
    assert.equal(#done, n)
  end)
end)

-- The network that a cluster's servers have between them is cut, and a client reaches all of them: each has a socket of its own
-- behind the relay's.
describe("a primary that lives on while another one is promoted", function()
  local has_luv, uv = pcall(require, "luv")
  local pg, db

  local function own(place) return place.conninfo.host .. "/server" end
  local function options(more)
    local all = {
      host = own(pg), port = pg.conninfo.port, user = pg.conninfo.user, database = "postgres", replicas = { { host = own(pg.standbys[1]) } },
    }
    for name, value in pairs(more or {}) do all[name] = value end
    return all
  end
  local WRITE = "insert into w values ('x') returning current_setting('unix_socket_directories')"
  local function place_of(text) return (text:match "[^,\"]*/server") end

  -- The primary lives on, cut off from the others, and the other one takes its place.
  local function pass_by()
    local old = own(pg)
    pg:partition(0)
    pg:promote(1)
    return old, own(pg)
  end
  local function begin(more)
    pg = fastpg.cluster{ standbys = 1 }
    db = fastpg.create_pool(options(more), { max_size = 4 })
    db:execute "create table w (id text)"
    assert.equal(own(pg), place_of(db:item(WRITE)))
  end
  after_each(function()
    db:close()
    pg:close()
  end)

  -- Who does nothing but write comes to write to the new one, and stays there.
  local function write_on()
    local old, new = pass_by()
    within(SLACK, function()
      local ok, where = pcall(db.item, db, WRITE)
      if not ok then assert.is_true(fastpg.is(where, "connection"), tostring(where)) end
      return ok and place_of(where) == new
    end)
    for _ = 1, 20 do assert.equal(new, place_of(db:item(WRITE))) end
    for _, one in ipairs(db:stats().servers) do
      assert.equal(one.name:find(old, 1, true) and "former" or "primary", one.role)
    end
    assert.equal(1, db:stats().failovers)
  end

  local loops = {
    block = function(fn) fn() end,
    step = function(fn) fastpg.run(fn) end,
    luv = has_luv and function(fn)
      fastpg.set_loop "luv"
      local task = fastpg.spawn(fn)
      uv.run()
      fastpg.set_loop()
      task:wait()
    end,
  }
  for name, run in pairs(loops) do
    it("is written to no more by who only writes, loop " .. name, function()
      if not run then return end
      begin{ loop = name ~= "block" and name or nil }
      run(write_on)
    end)
  end

  it("commits no transaction that was open, and is not what a new client takes for the primary", function()
    begin()
    local tx = db:begin()
    tx:execute "insert into w values ('open')"
    local _, new = pass_by()
    fastpg.sleep(1)
    local err = failure(tx.commit, tx)
    assert.is_true(fastpg.is(err, "connection"), tostring(err))
    assert.matches("is not the primary any more", err.message)
    assert.is_nil(err.commit_unknown)
    local other = fastpg.connect(options{ host = own(pg.standbys[1]), replicas = { { host = own(pg) } } })
    assert.equal(new, place_of(other:item(WRITE)))
    assert.equal(0, other:item "select count(*)::int from w where id = 'open'")
    other:close()
  end)

  it("is heard no more by who only listens", function()
    begin()
    local got = {}
    local function hear(wait_a_little)
      pass_by()
      local other = pg:connect()
      within(SLACK, function()
        other:notify("c", "heard")
        wait_a_little()
        return got[2]
      end)
      other:close()
      assert.equal("gap", got[1])
      assert.equal("heard", got[2])
    end
    local function listen() db:listen("c", function(n) got[#got + 1] = n.gap and "gap" or n.payload end) end
    listen()
    hear(function() db:poll(0.3) end)
    db:close()
    pg:close()
    begin()
    got = {}
    fastpg.run(function()
      listen()
      hear(function() fastpg.sleep(0.1) end)
      db:unlisten "c"
    end)
  end)
end)
