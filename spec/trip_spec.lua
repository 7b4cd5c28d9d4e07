-- SPDX-License-Identifier: MIT
--
-- Statements of several coroutines in one round trip (fastpg.pool.trip): who gets what, and what becomes of them where one
-- fails, is canceled, killed, held up, or the connection is lost.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local proxies = require "spec.support.proxy"
local route_of = require("fastpg.pool.route").of
local yields_across_pcall = require "spec.support.yields"

local closes = coroutine.close ~= nil -- Lua 5.4

local READS = {
  "select 1", "  /* a */ select * from t where id = $1;", "SELECT count(*), max(a) FROM t GROUP BY b HAVING count(*) > 1",
  "values (1), (2)", "table t", "(select 1) union all (select 2)", "with x(a) as (select 1) select * from x",
  "with recursive x as (select 1 as n union all select n + 1 from x where n < 9) select * from x",
  "select * from (values (1)) v(a), unnest(array[1]) as u(b)", 'select "t"."update" from "t" where id in (1, 2)',
  "select substring(a from 2 for 3), cast(a as varchar(3)), a::numeric(10, 2) from t", "select pg_catalog.now()",
  "select t.a, x.b from t join lateral (select 1 as b) x on (true) where exists (select 1) and a = any($1)",
  "select json_agg(row_to_json(t)) filter (where a > 1), row_number() over (partition by a) from t",
  "select extract(year from now()), coalesce(a, 'for update'), $$insert into t$$ from t",
}
local OTHERS = {
  "", "  ", "-- nothing", "insert into t values (1)", "update t set a = 1", "delete from t", "select f(1)", "select public.now()",
  'select "now"()', "select nextval('s')", "select set_config('a.b', 'c', false)", "select pg_sleep(1)", "select pg_notify('a', 'b')",
  "select * from t for update", "select * from t for no key update", "select * from t for share", "select * into u from t",
  "with x as (delete from t returning *) select * from x", "with x as (insert into t values (1) returning a) select * from x",
  "select 1; select 2", "select 1; delete from t", "begin", "set a.b = 'c'", "show work_mem", "explain analyze select 1", "call p()",
  "select distinct on (a) f(b) from t", "select 'open", "copy t to stdout", "listen a", "fetch all from c", "execute p",
  "select a.b.c.f(1)", "merge into t using u on true when matched then delete", "select (select f(1))", "do $$ begin end $$",
  "select current_setting('a.b')", "select pg_advisory_lock(1)", "lock table t", "select lo_import('/x')",
}

describe("texts that only read", function()
  it("are told from others", function()
    for _, sql in ipairs(READS) do assert.is_true(core.only_reads(sql, true), sql) end
    for _, sql in ipairs(OTHERS) do assert.is_false(core.only_reads(sql, true), sql) end
  end)

  it("may call each function that is known", function()
    local file = assert(io.open("csrc/sql/reads.c"))
    local list = file:read("*a"):match "harmless%[%] = (%b{})"
    file:close()
    local n, before = 0, ""
    for word in list:gmatch '"([^"]+)"' do
      assert.is_true(before < word, word) -- it is searched by halves
      assert.is_true(core.only_reads("select " .. word .. "(1)", true), word)
      assert.is_true(core.only_reads("select " .. word:upper() .. "(1)", true), word)
      assert.is_false(core.only_reads("select " .. word .. "x(1)", true) and not list:find('"' .. word .. 'x"', 1, true), word)
      n, before = n + 1, word
    end
    assert.is_true(n > 100)
  end)
end)

if not yields_across_pcall then return end

describe("statements that go together", function()
  local db, admin

  setup(function()
    admin = pg.db{ loop = "block" }
    admin:execute [[
      create table fruit (id int primary key, name text, at timestamptz default now());
      insert into fruit select i, 'fruit ' || i from generate_series(1, 300) i;
      create table locked (id int primary key); insert into locked values (1);
      create table written (id int);
      create function bump() returns int language sql as 'insert into written values (1) returning 1';
      create view bumped as select bump() as n;
    ]]
  end)
  teardown(function() admin:close() end)
  after_each(function()
    if db then db:close() end
    db = nil
    admin:execute "truncate written"
  end)

  local function shapes() return route_of(db).pool.trips.shapes.kept end

  -- Lets the statements of these texts count as quick, whatever the machine is doing.
  local function quick(...)
    local trips = route_of(db).pool.trips
    for _, sql in ipairs{ ... } do trips.shapes:keep(sql, { reads = core.only_reads(sql, true), mean = 0.0001 }) end
  end

  local function prepare(...)
    for _, sql in ipairs{ ... } do
      db:acquire(function(c) route_of(c):connection():statement(sql) end)
    end
    quick(...)
  end

  -- Runs the functions as tasks that wait for the one connection of the pool, and lets all go when they do: their results
  -- or errors, and how many went with others.
  local function together(fns, meanwhile)
    local before, results, errs, tasks = db:stats().together, {}, {}, {}
    fastpg.run(function()
      local holder = fastpg.spawn(function()
        db:acquire(function()
          while db:stats().waiting < #fns do fastpg.sleep(0.001) end
        end)
      end)
      fastpg.sleep(0)
      for i, fn in ipairs(fns) do
        tasks[i] = fastpg.spawn(fn, i)
      end
      holder:wait()
      if meanwhile then meanwhile(tasks) end
      for i, t in ipairs(tasks) do
        local ok, result = pcall(t.wait, t)
        if ok then results[i] = result else errs[i] = result end
      end
    end)
    return results, errs, db:stats().together - before
  end

  local BY_ID = "select name from fruit where id = $1"
  local QUOTIENT = "select 100 / $1::int as n"
  local LOCKED = "select id from locked where id = $1"

  it("get their own rows, in one round trip", function()
    db = pg.pool(nil, { max_size = 1 })
    prepare(BY_ID, "select $1::int as a, $2::text as b")
    local fns = {}
    for i = 1, 20 do
      fns[i] = i % 2 == 0 and function() return db:item(BY_ID, i) end
        or function() return db:q("select $1::int as a, $2::text as b", i, i % 3 == 0 and fastpg.null or "x" .. i)[1] end
    end
    local results, errs, n = together(fns)
    assert.same({}, errs)
    assert.equal(19, n)
    for i = 1, 20 do
      if i % 2 == 0 then
        assert.equal("fruit " .. i, results[i])
      else
        assert.equal(i, results[i].a)
        assert.equal(i % 3 ~= 0 and "x" .. i or nil, rawget(results[i], "b"))
        assert.equal("<Record a=" .. i .. " b=" .. (i % 3 == 0 and "nil" or "'x" .. i .. "'") .. ">", tostring(results[i]))
      end
    end
    local stats = db:stats()
    assert.equal(0, stats.in_use)
    assert.equal(0, stats.waiting)
    assert.equal(1, stats.size)
  end)

  it("are those of Tables and queries, too, on the one connection of fastpg.connect", function()
    db = pg.db()
    local fruit = db.t.fruit
    local function ways(i)
      return fruit[i].name, fruit:where{ id = i }:first().name, #fruit{ limit = 2, order_by = "id" }, fruit:count{ where = { id = i } },
        select(2, pcall(function() return fruit[-i] end)).name, db:qone(BY_ID, i).name, db:arrays(BY_ID, i)[1][1], db:fetchval(BY_ID, -i),
        db:item(fastpg.sql("select name from fruit where id = ?", i))
    end
    local function all(i) return { ways(i) } end
    for _ = 1, 3 do fastpg.run(function() fastpg.gather(function() all(1) end, function() all(2) end) end) end
    for _, shape in pairs(shapes()) do shape.mean = 0.0001 end
    local fns = {}
    for i = 1, 10 do fns[i] = all end
    local results, errs, n = together(fns)
    assert.same({}, errs)
    assert.is_true(n > 9, n)
    for i = 1, 10 do
      local name = "fruit " .. i
      assert.same({ name, name, 2, 1, "not_found", name, name, nil, name }, results[i])
      assert.equal(name, results[i][9])
    end
  end)

  it("fail alone, each with its own text and line", function()
    db = pg.pool(nil, { max_size = 1 })
    prepare(BY_ID, QUOTIENT, "select $1::int as n")
    local fns, lines = {}, {}
    for i = 1, 12 do
      fns[i] = i % 4 == 0 and function()
        lines[i] = debug.getinfo(1, "l").currentline + 1
        local n = db:item(QUOTIENT, 0)
        return n
      end or i % 4 == 1 and function()
        lines[i] = debug.getinfo(1, "l").currentline + 1
        local row = db:qone(BY_ID, -i)
        return row
      end or i % 4 == 2 and function()
        local n = db:item("select $1::int as n", "no number")
        return n
      end or function() return db:item(BY_ID, i) end
    end
    local results, errs = together(fns)
    for i = 1, 12 do
      local err = errs[i]
      if i % 4 == 0 then
        assert.equal("division_by_zero", err.name)
        assert.equal(QUOTIENT, err.query)
        assert.truthy(err.where:find("trip_spec.lua:" .. lines[i] .. "$"), err.where)
      elseif i % 4 == 1 then
        assert.equal("not_found", err.name)
        assert.truthy(err.where:find("trip_spec.lua:" .. lines[i] .. "$"), err.where)
      elseif i % 4 == 2 then
        assert.equal("22P02", err.sqlstate)
      else
        assert.equal("fruit " .. i, results[i])
      end
    end
    assert.equal(0, db:stats().in_use)
  end)

  it("are undone together where one fails, and each runs once: also what a view does", function()
    db = pg.pool(nil, { max_size = 1 })
    local bumped = "select n from bumped"
    prepare(bumped, QUOTIENT)
    local results, errs = together{
      function() return db:item(bumped) end, function() return db:item(bumped) end,
      function() return db:item(QUOTIENT, 0) end, function() return db:item(bumped) end,
    }
    assert.same({ 1, 1, [4] = 1 }, results)
    assert.equal("division_by_zero", errs[3].name)
    assert.equal(3, admin:item "select count(*) from written")
  end)

  it("are never those that write, set something, lock or have a time", function()
    db = pg.pool(nil, { max_size = 1 })
    local insert, set, lock = "insert into written values ($1)", "select set_config('a.b', $1, false)", "select id from fruit where id = $1 for share"
    prepare(insert, set, lock, BY_ID)
    local _, errs, n = together{
      function(i) db:execute(insert, i) end, function() db:item(set, "x") end, function(i) db:item(lock, i) end,
      function(i) db.t.written:insert{ id = i } end,
      function(i) db:timeout(60, function() return db:item(BY_ID, i) end) end,
      function() return db:execute "select 1" end,
      function(i) return db:item(BY_ID, { i }) end,
    }
    assert.equal(0, n)
    assert.same({ 7 }, (function() local list = {} for i in pairs(errs) do list[#list + 1] = i end return list end)())
    assert.equal(2, admin:item "select count(*) from written")
    db:close()
    db = pg.pool({ command_timeout = 60 }, { max_size = 1 })
    prepare(BY_ID)
    local results
    results, errs, n = together{ function(i) return db:item(BY_ID, i) end, function(i) return db:item(BY_ID, i) end }
    assert.same({}, errs)
    assert.same({ "fruit 1", "fruit 2" }, results)
    assert.equal(0, n)
  end)

  it("are each an event where a hook is set", function()
    db = pg.pool(nil, { max_size = 1 })
    prepare(BY_ID)
    local events = {}
    local off = db:on("query", function(e) events[#events + 1] = e.sql end)
    local function read(i) return db:item(BY_ID, i) end
    local results, errs, n = together{ read, read, read }
    off()
    assert.same({}, errs)
    assert.same({ "fruit 1", "fruit 2", "fruit 3" }, results)
    assert.equal(0, n)
    assert.same({ BY_ID, BY_ID, BY_ID }, events)
  end)

  it("have values of all kinds as alone, by the session's settings", function()
    db = pg.pool({ init = function(c) c:execute "set timezone = 'Asia/Kathmandu'" end }, { max_size = 1 })
    local sql = "select timestamptz '2024-01-02 03:04:05+00' as tz, 1.50::numeric as n, array[1, null, 3] as a, '{\"a\": [1]}'::jsonb as j,"
      .. " null::text as z, true as b, 1.5::float8 as f, '2024-02-29'::date as d, int4range(1, 5) as r, 9::int8 as i"
    prepare(sql)
    local alone = db:first(sql)
    local function read() return db:first(sql) end
    local results, errs, n = together{ read, read, read }
    assert.same({}, errs)
    assert.equal(2, n)
    for i = 1, 3 do
      assert.equal(tostring(alone), tostring(results[i]))
      assert.same(fastpg.to_json(alone), fastpg.to_json(results[i]))
    end
    assert.truthy(tostring(alone):find("08:49:05+05:45", 1, true), tostring(alone))
  end)

  it("may be big, and go alone from then on", function()
    db = pg.pool(nil, { max_size = 1 })
    local big = "select repeat('x', $1::int) as t, array_agg(i) as a from generate_series(1, 3000) i"
    prepare(big)
    local function read(i) return db:first(big, 100000 + i) end
    local results, errs, n = together{ read, read, read }
    assert.same({}, errs)
    assert.equal(2, n)
    for i = 1, 3 do
      assert.equal(100000 + i, #results[i].t)
      assert.equal(3000, results[i].a[3000])
    end
    results, errs, n = together{ read, read }
    assert.same({}, errs)
    assert.equal(100002, #results[2].t)
    assert.equal(0, n)
  end)

  it("keep what user codecs do in their own coroutine", function()
    db = pg.pool(nil, { max_size = 1 })
    db:execute "create type mood as enum ('glad', 'sad')"
    db:set_type_codec("mood", {
      encode = function(v) return (v:gsub("!", "")) end,
      decode = function(text) return text .. " " .. tostring(coroutine.running()) end,
    })
    local sql, plain = "select 'glad'::mood as m", "select $1::mood as m"
    prepare(sql, plain)
    local function read() return { db:item(sql), tostring((coroutine.running())) } end
    local results, errs, n = together{ read, read, read }
    assert.same({}, errs)
    assert.equal(2, n)
    for i = 1, 3 do assert.equal("glad " .. results[i][2], results[i][1]) end
    results, errs, n = together{ function() return db:item(plain, "sad!") end, function() return db:item(plain, "glad!") end }
    assert.same({}, errs)
    assert.equal(0, n)
    assert.equal("sad ", results[1]:sub(1, 4))
    db:execute "drop type mood"
  end)

  -- ---- those who leave -------------------------------------------------------------------------

  -- The rows of `locked` can't be read until this is called.
  local function lock()
    local holder = pg.db{ loop = "block" }
    local tx = holder:begin()
    tx:execute "lock table locked in access exclusive mode"
    return function()
      tx:rollback()
      holder:close()
    end
  end

  -- Whether a statement waits for that lock, as another session sees it.
  local function is_held() return admin:item "select count(*) from pg_locks where relation = 'locked'::regclass and not granted" > 0 end
  local function until_held()
    while not is_held() do fastpg.sleep(0.005) end
  end

  local function read_locked()
    local id = db:item(LOCKED, 1)
    return id
  end
  local function read(i)
    local name = db:item(BY_ID, i)
    return name
  end

  for what, kill in pairs{
    canceled = function(t) t:cancel() end,
    killed = closes and function(_, co) coroutine.close(co) end or nil,
  } do
    it("go on where the one who drives is " .. what, function()
      db = pg.pool(nil, { max_size = 1 })
      prepare(BY_ID, LOCKED)
      local unlock, driver = lock(), nil
      local results, errs, n = together({
        function() driver = coroutine.running() return read_locked() end, read_locked, read, read,
      }, function(tasks)
        until_held()
        kill(tasks[1], driver)
        fastpg.sleep(0.01)
        unlock()
      end)
      assert.same({ [2] = 1, [3] = "fruit 3", [4] = "fruit 4" }, results)
      assert.equal("canceled", errs[1].name)
      assert.equal(3, n)
      assert.equal(0, db:stats().in_use)
      assert.equal("fruit 7", fastpg.run(function() return db:item(BY_ID, 7) end))
    end)

    it("go on where one after the other is " .. what .. ", the last one, too", function()
      db = pg.pool(nil, { max_size = 1 })
      prepare(BY_ID, LOCKED)
      local unlock, cos = lock(), {}
      local function note(i) cos[i] = coroutine.running() return read_locked() end
      local results, errs = together({ note, note, note, note }, function(tasks)
        until_held()
        for _, i in ipairs{ 3, 1, 2, 4 } do
          kill(tasks[i], cos[i])
          if i ~= 1 then fastpg.sleep(0.01) end
        end
        fastpg.sleep(0.01)
        unlock()
      end)
      assert.same({}, results)
      for i = 1, 4 do assert.equal("canceled", errs[i].name) end
      assert.equal("fruit 7", fastpg.run(function() return db:item(BY_ID, 7) end))
      assert.equal(0, db:stats().in_use)
    end)
  end

  it("tell a passenger at once that it is canceled", function()
    db = pg.pool(nil, { max_size = 1 })
    prepare(BY_ID, LOCKED)
    local unlock, was_told = lock(), nil
    local results, errs = together({ read_locked, read, read }, function(tasks)
      until_held()
      tasks[2]:cancel()
      was_told = not pcall(tasks[2].wait, tasks[2]) and not tasks[1].done
      unlock()
    end)
    assert.is_true(was_told)
    assert.same({ 1, [3] = "fruit 3" }, results)
    assert.equal("canceled", errs[2].name)
  end)

  -- ---- what goes wrong ---------------------------------------------------------------------------

  it("are not held up by one for long", function()
    db = pg.pool(nil, { max_size = 2 })
    local unlock, results = nil, {}
    fastpg.run(function()
      local let_go = { false, false }
      for i = 1, 2 do
        fastpg.spawn(function()
          db:acquire(function(c)
            route_of(c):connection():statement(BY_ID)
            route_of(c):connection():statement(LOCKED)
            while not let_go[i] do fastpg.sleep(0.001) end
          end)
        end)
      end
      while db:stats().statements < 4 do fastpg.sleep(0.001) end
      quick(BY_ID, LOCKED)
      unlock = lock()
      local stuck = fastpg.spawn(function() results[1] = read_locked() end)
      local tasks = {}
      for i = 2, 5 do tasks[#tasks + 1] = fastpg.spawn(function() results[i] = read(i) end) end
      while db:stats().waiting < 5 do fastpg.sleep(0.001) end
      let_go[1] = true
      until_held()
      let_go[2] = true
      for _, t in ipairs(tasks) do t:wait() end -- the lock is still there
      assert(not stuck.done)
      unlock()
      stuck:wait()
    end)
    assert.same({ 1, "fruit 2", "fruit 3", "fruit 4", "fruit 5" }, results)
    assert.is_true(shapes()[LOCKED].mean >= 0.1)
    assert.equal(0, db:stats().in_use)
  end)

  it("are each told where the connection is lost", function()
    db = pg.pool(nil, { max_size = 1 })
    prepare(BY_ID, LOCKED)
    local unlock = lock()
    local results, errs = together({ read_locked, read, read }, function()
      until_held()
      admin:execute "select pg_terminate_backend(pid) from pg_locks where relation = 'locked'::regclass and not granted"
    end)
    unlock()
    assert.same({}, results)
    for i = 1, 3 do
      assert.is_true(fastpg.is(errs[i], "connection"), tostring(errs[i]))
      assert.equal(i == 1 and LOCKED or BY_ID, errs[i].query)
      assert.truthy(errs[i].where:find("trip_spec.lua", 1, true))
      for k = 1, i - 1 do assert.not_equal(errs[k], errs[i]) end
    end
    assert.equal("fruit 7", fastpg.run(function() return db:item(BY_ID, 7) end))
  end)

  it("are told where the pool is closed", function()
    for _, timeout in ipairs{ 0, 0.05 } do
      db = pg.pool(nil, { max_size = 1 })
      prepare(BY_ID, LOCKED)
      local unlock = lock()
      local results, errs = together({ read_locked, read, read }, function()
        until_held()
        db:close(timeout)
      end)
      unlock()
      assert.same({}, results)
      for i = 1, 3 do assert.equal("closed", errs[i].name) end
    end
  end)

  it("are prepared anew where their plan is stale", function()
    db = pg.pool(nil, { max_size = 1 })
    admin:execute "create table changing (id int, a int); insert into changing values (1, 2)"
    local sql = "select * from changing where id = $1"
    prepare(sql)
    admin:execute "alter table changing alter a type text, add b text default 'new'"
    local function first() return db:first(sql, 1) end
    local results, errs = together{ first, first, first }
    assert.same({}, errs)
    for i = 1, 3 do assert.equal("<Record id=1 a='2' b='new'>", tostring(results[i])) end
    admin:execute "drop table changing"
  end)

  it("mean what names mean to each: not those of another search_path", function()
    db = pg.pool(nil, { max_size = 1 })
    admin:execute "create schema other; create table other.fruit (id int, name text); insert into other.fruit values (1, 'other')"
    prepare(BY_ID)
    local results, errs = together{
      read, function() return db:acquire(function(c) c:execute "set search_path = other" return c:item(BY_ID, 1) end) end,
      read, read,
    }
    assert.same({}, errs)
    assert.same({ "fruit 1", "other", "fruit 3", "fruit 4" }, results)
    admin:execute "drop schema other cascade"
  end)

  if proxies.available() then
    it("behind a proxy that cuts anywhere: what is told is true, and a write happens once at most", function()
      local proxy = assert(proxies.start(pg.conninfo()))
      db = fastpg.create_pool(proxy:conninfo{ connect_timeout = 4 }, { max_size = 2 })
      local answered, failed = {}, 0
      for round = 1, 12 do
        proxy:fault "pass"
        fastpg.run(function() return db:item(BY_ID, 1) end)
        quick(BY_ID)
        fastpg.run(function()
          local tasks = {}
          for i = 1, 24 do
            tasks[i] = fastpg.spawn(function()
              for k = 1, 3 do
                local id = (round * 24 + i) * 10 + k
                if i % 8 == 0 then
                  db:execute("insert into written values ($1)", id)
                  answered[id] = true
                else
                  assert(db:item(BY_ID, i) == "fruit " .. i)
                end
              end
            end)
          end
          proxy:fault("cut", { from = "server", after = round * 137 })
          for _, t in ipairs(tasks) do
            local ok, err = pcall(t.wait, t)
            if not ok then
              assert(fastpg.is(err, "connection") or fastpg.is(err, "timeout"), tostring(err))
              failed = failed + 1
            end
          end
        end)
      end
      proxy:close()
      assert.is_true(failed > 0)
      local rows = admin:q "select id, count(*) as n from written group by id"
      local stored = {}
      for _, row in ipairs(rows) do
        assert.equal(1, row.n)
        stored[row.id] = true
      end
      for id in pairs(answered) do assert.is_true(stored[id]) end
    end)
  end

  -- ---- many --------------------------------------------------------------------------------------

  local function many(spawn, run_all, sleep)
    local tasks, right, wrong = {}, 0, {}
    db.t.fruit:count()
    for i = 1, 600 do
      tasks[i] = spawn(function()
        for k = 1, 4 do
          local id = (i * 7 + k) % 300 + 1
          local kind = (i + k) % 7
          local ok, got
          if kind == 0 then
            ok, got = pcall(db.item, db, QUOTIENT, 0)
            if not ok and got.name == "canceled" then error(got, 0) end
            ok = not ok and got.name == "division_by_zero"
          elseif kind == 1 then
            ok = db.t.fruit[id].name == "fruit " .. id
          elseif kind == 2 then
            ok = db:execute("insert into written values ($1)", id) == "INSERT 0 1"
          elseif kind == 3 then
            ok = db:q("select $1::int as n, $2::text as t", id, "t" .. id)[1].t == "t" .. id
          elseif kind == 4 and i % 9 == 0 then
            sleep()
            ok = true
          else
            ok = db:item(BY_ID, id) == "fruit " .. id
          end
          if ok then right = right + 1 else wrong[#wrong + 1] = tostring(got or kind) end
        end
      end)
    end
    run_all(tasks)
    assert.same({}, wrong)
    local canceled = 0
    for i, t in ipairs(tasks) do
      if t.error then
        assert(i % 11 == 0 and t.error.name == "canceled", tostring(t.error))
        canceled = canceled + 1
      end
    end
    assert.is_true(right >= 600 * 4 - canceled * 4)
    local stats = db:stats()
    assert.equal(0, stats.in_use)
    assert.equal(0, stats.waiting)
    assert.is_true(stats.size <= 5)
  end

  local function cancel_some(tasks)
    for i = 11, #tasks, 11 do tasks[i]:cancel() end
  end

  it("by the hundred under the stepper, some of them canceled", function()
    db = pg.pool(nil, { max_size = 5 })
    many(fastpg.spawn, function(tasks)
      for _ = 1, 30 do fastpg.step(0) end
      cancel_some(tasks)
      fastpg.run()
    end, function() fastpg.sleep(0) end)
  end)

  local has_luv, uv = pcall(require, "luv")
  if has_luv then
    it("by the hundred under luv, some of them canceled", function()
      fastpg.set_loop "luv"
      local ok, err = pcall(function()
        db = pg.pool(nil, { max_size = 5 })
        fastpg.spawn(function()
          many(fastpg.spawn, function(tasks)
            fastpg.sleep(0.02)
            cancel_some(tasks)
            for _, t in ipairs(tasks) do pcall(t.wait, t) end
          end, function() fastpg.sleep(0) end)
        end)
        uv.run()
      end)
      fastpg.set_loop(nil)
      if not ok then error(err, 0) end
    end)
  end
end)
