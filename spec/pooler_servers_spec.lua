-- SPDX-License-Identifier: MIT
--
-- several servers, each behind a PgBouncer of its own in transaction mode: what they are is asked through the poolers, whose
-- own reports are old.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local Pooler = require "spec.support.pooler"

local here = Pooler.available() and describe or pending

local SLACK = 30 -- seconds, for a busy machine

local function within(seconds, fn)
  local ends = core.clock() + seconds
  local found
  repeat
    found = fn()
    if found then return found end
    fastpg.sleep(0.02)
  until core.clock() > ends
  error("it did not come to that in " .. seconds .. " seconds", 2)
end

local WHERE = "current_setting('unix_socket_directories')"
local SETTINGS = { pool_mode = "transaction", default_pool_size = 4, server_login_retry = 1, query_wait_timeout = 20 }

here("servers behind poolers", function()
  local pg, poolers, db, watch

  -- A pooler for each of the servers, which keep their addresses.
  local function begin(settings)
    pg = fastpg.cluster{ standbys = 2 }
    poolers = {}
    for i = 0, 2 do
      local conninfo = (i == 0 and pg or pg.standbys[i]).conninfo
      poolers[i] = Pooler.start({ host = conninfo.host, port = conninfo.port, user = conninfo.user, database = "postgres" }, settings or SETTINGS)
    end
    watch = pg:connect{ replicas = true }
    watch:execute "create table v (name text primary key, n int); insert into v select i::text, i from generate_series(1, 50) i"
  end
  local function options(more)
    local all = poolers[0]:conninfo{ pooler = "transaction", replicas = { { host = poolers[1].dir }, { host = poolers[2].dir } } }
    for name, value in pairs(more or {}) do all[name] = value end
    return all
  end
  local function direct()
    local all = { host = pg.conninfo.host, port = pg.conninfo.port, user = pg.conninfo.user, database = "postgres" }
    for i = 1, 2 do all.host = all.host .. "," .. pg.standbys[i].conninfo.host end
    return all
  end
  local function finish()
    db:close()
    watch:close()
    for i = 0, 2 do poolers[i]:close() end
    pg:close()
  end
  local function where() return db:item("select " .. WHERE) end
  local function primary() return '"' .. pg.conninfo.host .. '/server"' end
  local function writes_on_the_primary()
    local ok, place = pcall(db.item, db, "update v set n = n where name = '1' returning " .. WHERE)
    if not ok then assert.is_true(fastpg.is(place, "connection") or fastpg.is(place, "25006"), tostring(place)) end
    return ok and place == primary()
  end

  it("answer reads with what was written, and follow the primary", function()
    begin()
    finally(finish)
    db = fastpg.create_pool(options{ reads = "replica" }, { max_size = 3 })
    assert.equal(primary(), where())
    assert.is_true(db.t.v:limit(1):item "pg_is_in_recovery()")
    assert.equal("on", db:read(function(tx) return tx:item "show transaction_read_only" end))
    local apart
    for row in db.t.v:each{ select = "pg_is_in_recovery() as apart" } do apart = row.apart end
    assert.is_true(apart)
    for _, paused in ipairs{ 1, 2 } do
      pg:pause_replay(paused)
      for i = 1, 60 do
        db.t.v:update{ name = "1", n = 1000 + i }
        assert.equal(1000 + i, db.t.v[{ "1" }].n)
      end
      pg:resume_replay(paused)
    end

    -- twice: a pooler that is the primary's now said when it began that its server is a standby
    for i = 1, 2 do
      pg:promote()
      within(SLACK, writes_on_the_primary)
      local opened = db:stats().opened
      for _ = 1, 10 do assert.is_true(writes_on_the_primary()) end
      assert.equal(opened, db:stats().opened)
      db.t.v:update{ name = "2", n = 2000 + i }
      assert.equal(2000 + i, db.t.v[{ "2" }].n)
      pg:start() -- the one before is a standby from here on
      within(SLACK, function()
        for _, one in ipairs(db:stats().servers) do
          if one.role ~= "primary" and one.role ~= "standby" then
            db.t.v:count()
            return false
          end
        end
        return true
      end)
    end
    assert.equal(2, db:stats().failovers)
  end)

  it("that refuse a write are asked at once, and a transaction runs again elsewhere", function()
    begin()
    finally(finish)
    db = fastpg.create_pool(options(), { max_size = 2 })
    assert.is_true(writes_on_the_primary())
    pg:promote()
    pg:start()
    local runs = 0
    local place = db:transaction({ retries = 20 }, function(tx)
      runs = runs + 1
      return tx:item("update v set n = n where name = '3' returning " .. WHERE)
    end)
    assert.equal(primary(), place)
    local ok, err = pcall(db.transaction, db, { readonly = true, retries = 20 }, function(tx) tx:execute "update v set n = n" end)
    assert.is_false(ok)
    assert.equal("25006", err.sqlstate)
  end)

  it("that live on when another one is promoted are written to no more", function()
    begin()
    local own = pg.conninfo.host .. "/server" -- past the network that is cut
    poolers[0]:close()
    poolers[0] = Pooler.start({ host = own, port = pg.conninfo.port, user = pg.conninfo.user, database = "postgres" }, SETTINGS)
    finally(finish)
    db = fastpg.create_pool(options(), { max_size = 2 })
    assert.is_true(writes_on_the_primary())
    pg:partition(0)
    pg:promote(1)
    within(SLACK, writes_on_the_primary)
    for _ = 1, 10 do assert.is_true(writes_on_the_primary()) end
    local fresh = fastpg.connect(options())
    assert.equal(primary(), fresh:item("update v set n = n where name = '1' returning " .. WHERE))
    fresh:close()
  end)

  it("have a direct way that follows the primary, and what goes there is read by who wrote it", function()
    begin()
    finally(finish)
    db = fastpg.create_pool(options{ reads = "replica", direct = direct() }, { max_size = 3 })
    local got = {}
    db:listen("c", function(n) got[#got + 1] = n.gap and "gap" or n.payload end)
    for round = 1, 2 do
      assert.equal(primary(), db:acquire(function(conn) return conn:item("select " .. WHERE) end))
      for i = 1, 30 do
        db:acquire(function(conn) conn:execute("update v set n = $1 where name = '4'", 100 * round + i) end)
        assert.equal(100 * round + i, db.t.v[{ "4" }].n)
      end
      assert.is_true(db:advisory_lock("one", function(conn) return conn:item "select not pg_is_in_recovery()" end))
      got = {}
      within(SLACK, function()
        pcall(watch.notify, watch, "c", "heard")
        db:poll(0.2)
        return got[#got] == "heard"
      end)
      if round == 1 then
        pg:promote()
        within(SLACK, writes_on_the_primary)
      end
    end
    db:unlisten "c"
    for _, all in ipairs{ direct(), { host = pg.standbys[1].conninfo.host, port = 5432, user = pg.conninfo.user, database = "postgres" } } do
      local one = fastpg.connect(options{ direct = all, failover_timeout = 1 })
      local ok, place = pcall(one.acquire, one, function(conn) return conn:item("select " .. WHERE) end)
      if all.host:find(",", 1, true) then
        assert.equal(primary(), place)
      else -- a standby is no place for a session that may write
        assert.is_false(ok)
        assert.is_true(fastpg.is(place, "connection"), tostring(place))
      end
      one:close()
    end
  end)

  it("in session mode, too, say of themselves what was so at first", function()
    begin{ pool_mode = "session", default_pool_size = 10, server_login_retry = 1 }
    finally(finish)
    db = fastpg.create_pool(options{ pooler = "session", reads = "replica" }, { max_size = 2 })
    assert.is_true(writes_on_the_primary())
    assert.is_true(db.t.v:limit(1):item "pg_is_in_recovery()")
    pg:promote()
    within(SLACK, writes_on_the_primary)
    local opened = db:stats().opened
    for _ = 1, 10 do assert.is_true(writes_on_the_primary()) end
    assert.equal(opened, db:stats().opened)
  end)
end)
