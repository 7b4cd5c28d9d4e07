-- SPDX-License-Identifier: MIT
--
-- Clusters with standbys: replication, promotion, crashes and a network that loses everything are real here.

local cluster = require "fastpg.cluster"
local core = require "fastpg.core"
local fastpg = require "fastpg"

local LUA = os.getenv "FPG_TEST_LUA" or arg[-1]

-- Servers that are begun and ended in as little time as they can.
local function start(opts)
  opts.settings = { shared_buffers = "8MB", autovacuum = "off" }
  return cluster.start(opts)
end

local function sh(command)
  local pipe = assert(io.popen("exec 2>&1; " .. command))
  local out = pipe:read "*a"
  pipe:close()
  return (out:gsub("\n$", ""))
end

-- Until it gives something, with a limit that only tells hanging from working.
local function eventually(fn, what)
  local ends = core.clock() + 60
  repeat
    local ok, result = pcall(fn)
    if ok and result then return result end
    fastpg.sleep(0.01)
  until core.clock() > ends
  error((what or "it") .. " does not come", 2)
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

-- Runs functions as tasks until all have ended; the first one's results.
local function together(...)
  local tasks = {}
  for i = 1, select("#", ...) do tasks[i] = fastpg.spawn((select(i, ...))) end
  return fastpg.run(function()
    local first = tasks[1]:wait()
    for i = 2, #tasks do tasks[i]:wait() end
    return first
  end)
end

local function follows(db, count)
  eventually(function() return db:item "select count(*) from t" == count end, count .. " rows on a standby")
end

local fleet -- of the first two groups

describe("a cluster with standbys", function()
  local db

  setup(function()
    fleet = start{ standbys = 2 }
    db = fleet:connect()
    db:execute "create table t (n int)"
  end)
  before_each(function() db:execute "truncate t" end)

  it("has them read what the primary wrote, and nothing else", function()
    db:execute "insert into t values (1), (2), (3)"
    for i = 1, 2 do
      local standby = fleet.standbys[i]:connect()
      follows(standby, 3)
      assert.is_true(standby:item "select pg_is_in_recovery()")
      assert.equal("25006", failure(standby.execute, standby, "insert into t values (4)").sqlstate)
      assert.not_equal(fleet.conninfo.host, fleet.standbys[i].conninfo.host)
      assert.equal("Server (" .. fleet.standbys[i].uri .. ")", tostring(fleet.standbys[i]))
      standby:close()
    end
    assert.equal("fastpg1 fastpg2", db:item "select string_agg(application_name, ' ' order by 1) from pg_stat_replication")
  end)

  it("says where its servers are", function()
    local c = fleet:conninfo{ replicas = true, database = "template1" }
    assert.equal(fleet.conninfo.host, c.host)
    assert.equal(2, #c.replicas)
    for i = 1, 2 do
      assert.equal(fleet.standbys[i].conninfo.host, c.replicas[i].host)
      assert.equal("template1", c.replicas[i].dbname)
    end
    assert.is_nil(fleet:conninfo().replicas)
    assert.equal(fleet.conninfo.host, fleet:conninfo().host)
    local pool = fleet.standbys[1]:create_pool({}, { max_size = 2 })
    assert.is_true(pool:item "select pg_is_in_recovery()")
    pool:close()
  end)

  it("lets one fall behind", function()
    fleet:pause_replay(1)
    db:execute "insert into t values (1)"
    local there = db:item "select pg_current_wal_lsn()::text"
    local one, two = fleet.standbys[1]:connect(), fleet.standbys[2]:connect()
    follows(two, 1)
    eventually(function() return one:item("select pg_last_wal_receive_lsn() >= ?::pg_lsn", there) end)
    assert.equal(0, one:item "select count(*) from t")
    fleet:resume_replay(1)
    follows(one, 1)
    one:close()
    two:close()
  end)

  it("loses every packet of the primary until its network is healed", function()
    local standby = fleet.standbys[1]:connect()
    local before = fleet:connect()
    fleet:partition(0)
    assert.equal("timeout", failure(fleet.connect, fleet, { connect_timeout = 0.1 }).name) -- taken, and not answered
    local answer
    local task = fastpg.spawn(function() answer = before:item "insert into t values (1) returning n" end)
    for _ = 1, 10 do fastpg.step(0.01) end
    assert.is_nil(answer) -- no answer, and no end
    assert.equal(0, standby:item "select count(*) from t")
    fleet:heal(0)
    fastpg.run(function() task:wait() end)
    assert.equal(1, answer) -- what had been sent has arrived
    follows(standby, 1)
    fleet:connect():close()
    before:close()
    standby:close()
  end)

  it("loses a standby's, for its replication too", function()
    local one, two = fleet.standbys[1]:connect(), fleet.standbys[2]:connect()
    fleet:partition(1)
    db:execute "insert into t values (1)"
    follows(two, 1)
    assert.equal("timeout", failure(function() fleet.standbys[1]:connect{ connect_timeout = 0.1 } end).name)
    fleet:heal(1)
    follows(one, 1)
    one:close()
    two:close()
  end)

  it("tells no end of a connection while it is cut off", function()
    local left = fleet:connect{ application_name = "left behind" }
    local count = "select count(*) from pg_stat_activity where application_name = 'left behind'"
    assert.equal(1, db:item(count))
    fleet:partition(0)
    left:close() -- the server does not hear of it
    local own = fastpg.connect{ host = fleet.conninfo.host .. "/server", port = fleet.conninfo.port, user = "postgres", dbname = "postgres" }
    assert.equal(1, own:item(count))
    fleet:heal(0)
    eventually(function() return own:item(count) == 0 end)
    own:close()
  end)

  it("goes on under an event loop while its calls wait", function()
    local turns, done = 0, false
    together(function()
      fleet.standbys[2]:restart()
      done = true
    end, function()
      while not done do
        fastpg.sleep(0.001)
        turns = turns + 1
      end
    end)
    assert.truthy(turns > 5)
  end)

  it("does one thing after the other", function()
    together(function() fleet.standbys[1]:restart() end, function() fleet.standbys[1]:restart() end)
    fleet.standbys[1]:connect():close()
  end)

  it("goes on when somebody who waited for it was canceled", function()
    local task = fastpg.spawn(function() fleet.standbys[1]:restart() end)
    for _ = 1, 3 do fastpg.step(0.01) end
    task:cancel()
    fastpg.run(function() assert.is_true(fastpg.is(failure(task.wait, task), "canceled")) end)
    fleet:start()
    fleet.standbys[1]:connect():close()
  end)

  it("can be reached again when a start was canceled in the middle", function()
    local standby = fleet.standbys[1]
    local pid_file = standby.dir .. "/data/postmaster.pid"
    local function is_there()
      local f = io.open(pid_file)
      return f and f:close()
    end
    standby:stop()
    assert.is_nil(is_there())
    local task = fastpg.spawn(function() standby:start() end)
    while not is_there() do fastpg.step(0.001) end
    task:cancel()
    fastpg.run(function() assert.is_true(fastpg.is(failure(task.wait, task), "canceled")) end)
    standby:start()
    standby:connect():close()
    assert.is_number(standby.pid)
  end)

  it("says what is no server of it", function()
    for _, place in ipairs{ 3, -1, 1.5, "1", true } do
      assert.matches("a number from 0 to 2 expected", failure(fleet.partition, fleet, place).message)
    end
    assert.matches("got nil", failure(fleet.partition, fleet).message)
    for _, name in ipairs{ "promote", "pause_replay", "resume_replay" } do
      assert.matches(name .. ": a number from 1 to 2 expected", failure(fleet[name], fleet, 0).message)
    end
    assert.matches("a server", failure(function() return fleet.standbys[1].promote end).message)
    assert.matches("a server expected as self", failure(fleet.standbys[1].connect).message)
  end)
end)

-- Tasks that write one row after the other to whoever is the primary; gives what was confirmed, and a function to stop.
local function writers(pg, count)
  local confirmed, stop, tasks = {}, false, {}
  for w = 1, count do
    tasks[w] = fastpg.spawn(function()
      local db, n = nil, 0
      while not stop do
        n = n + 1
        local id = w * 1000000 + n
        local ok = pcall(function()
          db = db or pg:connect{ connect_timeout = 5, command_timeout = 20 }
          db:execute("insert into t values (?)", id)
        end)
        if ok then
          confirmed[#confirmed + 1] = id
        else
          if db then db:close() end
          db = nil
          fastpg.sleep(0.005)
        end
      end
      if db then db:close() end
    end)
  end
  return confirmed, function()
    stop = true
    for _, task in ipairs(tasks) do task:wait() end
  end
end

-- Waits until so many more were confirmed.
local function more(confirmed, n)
  local from = #confirmed
  eventually(function() return #confirmed >= from + n end, n .. " more writes")
end

local function check_stored(db, confirmed)
  assert.equal(0, db:item "select count(*) - count(distinct n) from t")
  local stored = {}
  for _, row in ipairs(db:q "select n from t") do stored[row.n] = true end
  local lost = {}
  for _, n in ipairs(confirmed) do if not stored[n] then lost[#lost + 1] = n end end
  assert.same({}, lost)
end

describe("a promotion", function()
  setup(function() fleet = fleet or start{ standbys = 2 } end)
  teardown(function() fleet:close() end)
  before_each(function()
    fleet:start()
    local db = fleet:connect()
    db:execute "drop table if exists t; create table t (n int)"
    eventually(function()
      return db:item "select count(*) = 2 from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()"
    end)
    db:close()
  end)

  it("of a running primary's standby loses nothing, again and again", function()
    local confirmed = fastpg.run(function()
      local confirmed, finish = writers(fleet, 5)
      more(confirmed, 20)
      for _, place in ipairs{ 1, 2 } do
        local next_one, before = fleet.standbys[place], fleet.conninfo.host
        fleet:promote(place)
        assert.equal(next_one.conninfo.host, fleet.conninfo.host)
        assert.equal(before, fleet.standbys[place].conninfo.host)
        assert.is_nil(fleet.standbys[place].pid)
        assert.matches(", the primary", tostring(next_one))
        more(confirmed, 20)
        fleet.standbys[place]:start()
      end
      finish()
      return confirmed
    end)
    local db = fleet:connect()
    check_stored(db, confirmed)
    local count = db:item "select count(*) from t"
    for i = 1, 2 do
      local standby = fleet.standbys[i]:connect()
      assert.is_true(standby:item "select pg_is_in_recovery()")
      follows(standby, count)
      assert.equal(3, standby:item "select received_tli from pg_stat_wal_receiver")
    end
  end)

  it("is of the standby that has received most", function()
    fleet.standbys[1]:stop()
    fleet:connect():execute "insert into t values (1)"
    follows(fleet.standbys[2]:connect(), 1)
    fleet:crash()
    fleet.standbys[1]:start()
    local two = fleet.standbys[2]
    fleet:promote()
    assert.equal(two.conninfo.host, fleet.conninfo.host)
    assert.equal(1, fleet:connect():item "select count(*) from t")
    follows(fleet.standbys[1]:connect(), 1)
  end)

  it("of one that has received less takes the rest from the others", function()
    fleet.standbys[2]:crash()
    fleet:connect():execute "insert into t values (1)"
    follows(fleet.standbys[1]:connect(), 1)
    fleet:crash()
    fleet.standbys[2]:start()
    fleet:promote(2)
    assert.equal(0, fleet:connect():item "select count(*) from t")
    assert.equal(0, fleet.standbys[1]:connect():item "select count(*) from t")
    fleet:connect():execute "insert into t values (2)"
    follows(fleet.standbys[1]:connect(), 1)
  end)

  it("beside a primary that is cut off makes a second one, which comes back as a standby", function()
    local old = fleet:connect()
    fleet:partition(0)
    local own = fastpg.connect{ host = fleet.conninfo.host .. "/server", port = fleet.conninfo.port, user = "postgres", dbname = "postgres" }
    own:execute "insert into t values (1)" -- who is on its side of the network goes on with it
    own:close()
    fleet:promote(1)
    fleet:connect():execute "insert into t values (2)"
    fleet:heal(1)
    assert.is_false(old:item "select pg_is_in_recovery()")
    assert.equal(1, old:item "select n from t")
    old:close()
    fleet.standbys[1]:restart()
    for i = 1, 2 do
      local standby = fleet.standbys[i]:connect()
      follows(standby, 1)
      assert.equal(2, standby:item "select n from t")
    end
  end)

  it("of one whose replay is paused has it replay everything", function()
    fleet:pause_replay(1)
    fleet:connect():execute "insert into t values (1)"
    local there = fleet:connect():item "select pg_current_wal_lsn()::text"
    local one = fleet.standbys[1]:connect()
    eventually(function() return one:item("select pg_last_wal_receive_lsn() >= ?::pg_lsn", there) end)
    fleet:promote(1)
    assert.equal(1, fleet:connect():item "select count(*) from t")
  end)

  it("needs somebody who can be promoted", function()
    fleet:partition(1)
    assert.matches("promote: server fastpg%d is cut off", failure(fleet.promote, fleet, 1).message)
    fleet.standbys[2]:stop()
    assert.matches("promote: server fastpg%d does not run", failure(fleet.promote, fleet, 2).message)
    assert.matches("promote: no standby runs and can be reached", failure(fleet.promote, fleet).message)
    fleet:heal(1)
    fleet:promote()
    fleet:crash()
    assert.matches("promote: server fastpg%d does not run", failure(fleet.promote, fleet, 1).message)
    assert.matches("pg:start%(%) starts both", failure(function() fleet.standbys[1]:start() end).message)
    fleet:start()
    assert.is_true(fleet.standbys[1]:connect():item "select pg_is_in_recovery()")
    assert.is_false(fleet:connect():item "select pg_is_in_recovery()")
  end)

  it("says which standby does not start, with its log", function()
    fleet.standbys[2]:stop()
    os.execute(("rm '%s/data/global/pg_control'"):format(fleet.standbys[2].dir))
    local message = failure(fleet.start, fleet).message
    assert.matches("the server fastpg%d did not start", message)
    assert.matches("pg_control", message)
    fleet:connect():close()
  end)
end)

describe("a synchronous cluster", function()
  local pg

  setup(function()
    pg = start{ standbys = 2, synchronous = true }
    pg:connect():execute "create table t (n int)"
  end)
  teardown(function() pg:close() end)

  it("commits when one standby has it", function()
    pg:partition(1)
    pg:connect():execute "insert into t values (1)"
    pg:partition(2)
    local done = false
    local task = fastpg.spawn(function()
      pg:connect():execute "insert into t values (2)"
      done = true
    end)
    for _ = 1, 20 do fastpg.step(0.01) end
    assert.is_false(done)
    pg:heal(1)
    fastpg.run(function() task:wait() end)
    assert.is_true(done)
    pg:heal(2)
    pg:connect():execute "delete from t"
  end)

  it("confirms no commit for which no standby was waited until the end", function()
    local db = pg:connect{ command_timeout = 0.2 }
    pg:partition(1)
    pg:partition(2)
    local function is_doubtful(fn, name)
      local err = failure(fn)
      assert.equal(name, err.name)
      assert.is_true(err.commit_unknown)
    end
    is_doubtful(function() db:execute "insert into t values (11)" end, "timeout")
    is_doubtful(function() db:q("insert into t values (?) returning n", 12) end, "timeout")
    is_doubtful(function() db:transaction(function() db:execute "insert into t values (13)" end) end, "timeout")
    is_doubtful(function()
      db:pipeline(function(p) p:q "insert into t values (14)" end)
    end, "timeout")
    is_doubtful(function() db:executemany("insert into t values (?)", { { 15 }, { 16 } }) end, "timeout")
    is_doubtful(function() db:copy_from("copy t from stdin", "17\n") end, "timeout")
    is_doubtful(function() for _ in db:each "insert into t values (18) returning n" do end end, "timeout")
    local waits = pg:connect()
    local task = fastpg.spawn(function() waits:execute "insert into t values (19)" end)
    for _ = 1, 20 do fastpg.step(0.01) end
    task:cancel()
    is_doubtful(function() fastpg.run(function() task:wait() end) end, "canceled")
    local pid = waits:item "select pg_backend_pid()"
    local err
    task = fastpg.spawn(function() err = failure(waits.q, waits, "insert into t values (?) returning n", 20) end)
    fastpg.run(function() -- by somebody else
      local sql = "select pg_cancel_backend(pid) from pg_stat_activity where pid = ? and wait_event = 'SyncRep'"
      eventually(function() return db:item(sql, pid) end)
      task:wait()
    end)
    is_doubtful(function() error(err, 0) end, "query_canceled")
    assert.equal(10, db:item "select count(*) from t") -- and on this server it is
    pg:heal(1)
    pg:heal(2)
    eventually(function() return pcall(db.execute, db, "delete from t") end)
  end)

  it("loses nothing when its primary crashes under writes", function()
    local confirmed = fastpg.run(function()
      local confirmed, finish = writers(pg, 5)
      more(confirmed, 20)
      pg:crash()
      pg:promote()
      more(confirmed, 20)
      finish()
      return confirmed
    end)
    check_stored(pg:connect(), confirmed)
  end)
end)

describe("a cluster without a relay", function()
  it("has standbys that follow, and no network to be cut", function()
    local supervise_relay = core.supervise_relay
    core.supervise_relay = nil
    finally(function() core.supervise_relay = supervise_relay end)
    local pg = start{ standbys = 1 }
    core.supervise_relay = supervise_relay
    pg:connect():execute "create table t (n int)"
    pg:promote()
    pg:start()
    pg:connect():execute "insert into t values (1)"
    follows(pg.standbys[1]:connect(), 1)
    assert.matches("there is no relay here", failure(pg.partition, pg, 1).message)
    pg:close()
  end)
end)

describe("a cluster's options", function()
  it("say how many standbys", function()
    assert.matches("standbys must be a whole number from 0 to 9", failure(cluster.start, { standbys = 10 }).message)
    assert.matches("synchronous needs standbys", failure(cluster.start, { synchronous = true }).message)
    assert.matches("by unix sockets only", failure(cluster.start, { standbys = 1, settings = { listen_addresses = "127.0.0.1" } }).message)
    assert.matches("primary_conninfo is the cluster's own", failure(cluster.start, { standbys = 1, settings = { primary_conninfo = "" } }).message)
  end)

  it("of a name with quotes, another port and a directory with a space", function()
    local dir = sh "mktemp -d '/tmp/a b'\"'\"'XXXX'"
    os.execute(('chmod 777 "%s"'):format(dir))
    local out = sh(([[TMPDIR="%s" %s -e '
      local pg = require("fastpg").cluster{ standbys = 1, superuser = "the owner", settings = { port = 5999, work_mem = "5MB", max_connections = 20 } }
      print(pg:connect():item "show port", pg.standbys[1]:connect():item "show work_mem", pg:connect():item "select current_user::text")
      pg:close()']]):format(dir, LUA))
    assert.equal("5999\t5MB\tthe owner", out)
    assert.equal("", sh(('rmdir "%s"'):format(dir)))
  end)

  it("without standbys: there is nobody to promote", function()
    local pg = start{}
    finally(function() pg:close() end)
    assert.same({}, pg.standbys)
    assert.matches("partition: this cluster has no standbys", failure(pg.partition, pg, 0).message)
    assert.matches("promote: this cluster has no standbys", failure(pg.promote, pg).message)
    pg:crash()
    pg:start()
    assert.equal(1, pg:connect():item "select 1")
  end)
end)

describe("a cluster whose supervisor was killed", function()
  it("says so, also when an answer of it was not waited for", function()
    local pg = start{ standbys = 0 }
    local task = fastpg.spawn(function() pg:restart() end)
    for _ = 1, 3 do fastpg.step(0.01) end
    task:cancel()
    fastpg.run(function() assert.is_true(fastpg.is(failure(task.wait, task), "canceled")) end)
    local pid = pg.pid
    os.execute("kill -9 " .. pg.supervisor:pid())
    for _ = 1, 2 do assert.equal("the supervisor has ended", failure(pg.crash, pg).message) end
    pg:close()
    os.execute(("kill -9 %d; rm -rf '%s'"):format(pid, pg.dir)) -- there is nobody left who would
  end)
end)

-- ---- what is left of it ----------------------------------------------------------------------

local function alive(pid)
  return sh(("kill -0 %d 2>/dev/null && ! grep -q '^State:.*Z' /proc/%d/status && echo yes"):format(pid, pid)) == "yes"
end

local function descriptors()
  for _ = 1, 3 do collectgarbage() end -- what other tests left
  return tonumber(sh(("ls /proc/%s/fd | wc -l"):format(io.open("/proc/self/stat"):read "*n")))
end

describe("of a cluster with standbys", function()
  it("nothing is left open", function()
    local before = descriptors()
    local one, two = start{ standbys = 1 }, start{ standbys = 0 }
    one:promote()
    assert.same({}, two.standbys)
    two:partition(0)
    assert.equal("timeout", failure(two.connect, two, { connect_timeout = 0.05 }).name)
    two:heal(0)
    assert.equal(1, two:connect():item "select 1")
    assert.matches("no standby runs", failure(two.promote, two).message)
    assert.equal(before + 4, descriptors()) -- a script and a relay of each
    one:close()
    two:close()
    assert.equal(before, descriptors())
    assert.equal("Server (closed)", tostring(one.standbys[1]))
    assert.matches("the cluster is closed", failure(function() one.standbys[1]:connect() end).message)
    assert.matches("the cluster is closed", failure(one.promote, one).message)
  end)

  it("nothing is left when its process is killed", function()
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write([[
      io.stdout:setvbuf "no"
      local pg = require("fastpg").cluster{ standbys = 1 }
      local self = io.open "/proc/self/stat":read "*n"
      pg:partition(1)
      print("dir " .. pg.dir)
      print("pids " .. io.popen("ps -o pid= --ppid " .. self .. " | tr '\\n' ' '"):read "*l", pg.pid, pg.standbys[1].pid)
      os.execute("kill -9 " .. self)
    ]])
    f:close()
    local out = sh(("%s '%s'"):format(LUA, name))
    os.remove(name)
    local dir, count = out:match "dir (%S+)", 0
    for pid in out:match "pids ([%d%s]+)":gmatch "%d+" do
      count = count + 1
      eventually(function() return not alive(tonumber(pid)) end, "the end of " .. pid)
    end
    assert.truthy(count >= 4, out) -- script, relay, two servers
    eventually(function() return sh("test -e '" .. dir .. "' || echo gone") == "gone" end)
  end)

  it("nothing is left when it is collected", function()
    local pg = start{ standbys = 1 }
    local dir, pid = pg.dir, pg.standbys[1].pid
    local standby = pg.standbys[1]
    pg = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_true(standby:connect():item "select pg_is_in_recovery()") -- which keeps all of it
    standby = nil -- luacheck: ignore
    for _ = 1, 4 do collectgarbage() end
    assert.is_false(alive(pid))
    assert.equal("gone", sh("test -e '" .. dir .. "' || echo gone"))
  end)

  if coroutine.close then
    it("nothing is left when a block is left, also in a coroutine that is closed in the middle", function()
      local run = assert((loadstring or load)[[
        local start, out = ...
        local pg <close> = start{ standbys = 0 }
        out.dir = pg.dir
        if out.wait then pg:restart() end
      ]])
      local out = {}
      run(start, out)
      assert.equal("gone", sh("test -e '" .. out.dir .. "' || echo gone"))
      fastpg.run(function()
        out = {}
        run(start, out)
      end)
      assert.equal("gone", sh("test -e '" .. out.dir .. "' || echo gone"))
      out = { wait = true }
      local task = fastpg.spawn(function() run(start, out) end)
      while not out.dir do fastpg.step(0.01) end
      fastpg.step(0.01)
      task:cancel()
      fastpg.run(function() pcall(task.wait, task) end)
      assert.equal("gone", sh("test -e '" .. out.dir .. "' || echo gone"))
    end)
  end
end)
