-- SPDX-License-Identifier: MIT
--
-- Rows that are taken off the socket (csrc/pg/take.h) are those that libpq reads; and whatever comes between them, or in
-- place of them, reaches whom it is for.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local groups = require "spec.types.values"
local pg = require "spec.support.pg"
local proxies = require "spec.support.proxy"
local route_of = require("fastpg.pool.route").of

-- The core's connection of a database that has one.
local function core_of(db)
  return route_of(db).pool.idle[1].c
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "it did not fail")
  return err
end

-- Whether two values are the same: of userdata what they print, of tables what is in them.
local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then return a == b or a ~= a and b ~= b end
  if type(a) == "userdata" then return a == b or tostring(a) == tostring(b) end
  if type(a) ~= "table" then return a == b end
  for key, value in next, a do
    if not same(value, rawget(b, key)) then return false end
  end
  for key in next, b do
    if rawget(a, key) == nil then return false end
  end
  return true
end

local function in_step(db)
  for i = 1, 3 do
    assert.equal(i, db:item("select $1::int", i))
    assert.equal(40 * i, #db:q("select i from generate_series(1, $1::int) i", 40 * i))
  end
end

describe("rows that are taken", function()
  local db

  before_each(function()
    db = fastpg.connect(pg.conninfo())
    db:item "select 1"
    core_of(db):take_rows "always"
  end)
  after_each(function() db:close() end)

  -- How many results were taken while fn ran.
  local function taken(fn, ...)
    local c = core_of(db)
    local before = c:take_rows()
    fn(...)
    return c:take_rows() - before
  end

  local function both(name, sql, ...)
    local c = core_of(db)
    c:take_rows "never"
    local read = db[name](db, sql, ...)
    c:take_rows "always"
    local before = c:take_rows()
    local took = db[name](db, sql, ...)
    return read, took, c:take_rows() - before
  end

  local function check(sql, least)
    for _, name in ipairs{ "q", "arrays" } do
      local read, took, count = both(name, sql)
      assert.equal(least or 1, count, sql)
      assert.equal(#read, #took)
      for i = 1, #read do
        if not same(read[i], took[i]) then error(("row %d of %s by %s"):format(i, sql, name)) end
      end
    end
  end

  it("hold each value of each type", function()
    for _, group in ipairs(groups) do
      if not group.extension then
        for _, setting in ipairs(group.settings or { "SELECT 1" }) do
          db:execute(setting)
          for _, name in ipairs(group.types) do
            for _, row in ipairs(group.rows) do
              local sql = ("SELECT i, CASE WHEN i %% 4 > 0 THEN (%s)::%s END AS v FROM generate_series(1, 5) i"):format(row[1], name)
              local read, took = both("q", sql)
              assert.is_true(same(read, took), sql)
            end
          end
          db:execute "RESET ALL"
        end
      end
    end
  end)

  it("can be none, one, of no columns, of many, long ones, and more than memory is got at once for", function()
    for _, n in ipairs{ 0, 1, 16, 17, 40, 3000 } do
      check(("SELECT i, i::text AS t, nullif(i, 3) AS x FROM generate_series(1, %d) i"):format(n))
      check(("SELECT FROM generate_series(1, %d)"):format(n))
    end
    check "SELECT repeat('x', i * 40000) AS x, i FROM generate_series(1, 30) i"
    check "SELECT repeat(chr(64 + i), 1000000) AS x, NULL::int AS n FROM generate_series(1, 7) i"
    check "SELECT CASE WHEN i % 10 = 0 THEN repeat('y', 131060 + i) ELSE 'y' END AS y FROM generate_series(1, 100) i"
    local list = {}
    for i = 1, 300 do list[i] = ("CASE WHEN i %% %d <> 0 THEN i + %d END AS c%d"):format(i + 1, i, i) end
    check(("SELECT %s FROM generate_series(1, 60) i"):format(table.concat(list, ", ")))
    for i = 301, 1600 do list[i] = ("i + %d AS a_long_name_for_a_column_%d"):format(i, i) end
    check(("SELECT %s FROM generate_series(1, 3) i"):format(table.concat(list, ", ")), 0) -- its description is libpq's
  end)

  it("are those of statements that give many, unless told otherwise", function()
    core_of(db):take_rows "usual"
    local sql = "SELECT i FROM generate_series(1, $1::int) i"
    assert.equal(0, taken(db.q, db, sql, 1000))
    assert.equal(1, taken(db.q, db, sql, 1000))
    assert.equal(1, taken(db.q, db, sql, 3))
    assert.equal(0, taken(db.q, db, sql, 3))
    assert.equal(0, taken(db.q, db, "SELECT 1"))
  end)

  it("come with the command's tag, and are no DDL", function()
    db:execute "create table tagged (i int)"
    assert.equal("SELECT 50", db:execute "select i from generate_series(1, 50) i")
    assert.equal("INSERT 0 50", db:execute "insert into tagged select i from generate_series(1, 50) i returning i")
    assert.equal("UPDATE 50", db:execute "update tagged set i = i + 1 returning i")
    local result = db:results("delete from tagged where i > $1 returning i", 10)[1]
    assert.equal("DELETE 41", result.status)
    assert.equal(41, result.count)
    assert.equal(41, #result.rows)
    assert.equal("EXPLAIN", db:execute "explain select * from tagged")
    local t = db.t.tagged
    assert.equal(9, #t{})
    db:q "select i from generate_series(1, 100) i"
    assert.equal(t, db.t.tagged)
    in_step(db)
  end)

  it("are described by what came with them", function()
    db:transaction(function(tx)
      tx:execute "declare c1 cursor for select i, i::text as t from generate_series(1, 100) i"
      assert.equal("7", tx:q("fetch 40 from c1")[7].t)
      tx:execute "close c1"
      tx:execute "declare c1 cursor for select i::text || 'x' as other from generate_series(1, 100) i"
      assert.equal("7x", tx:q("fetch 40 from c1")[7].other)
    end)
    local rows = db:q "select 1.50::numeric(10, 2) as price, 'x'::varchar(7) as code from generate_series(1, 3)"
    assert.equal("numeric", rows:types()[1].name)
    assert.equal("character varying", rows:types()[2].name)
    db:execute "create table changing (a int)"
    db:execute "insert into changing select generate_series(1, 100)"
    assert.equal(100, #db:q "select * from changing")
    local other = fastpg.connect(pg.conninfo())
    other:execute "alter table changing add b text default 'new'"
    other:close()
    assert.equal("new", db:q("select * from changing")[100].b)
    in_step(db)
  end)

  it("end with an error where the statement does", function()
    for _ = 1, 3 do
      assert.equal("22012", failure(db.q, db, "select 1 / (3000 - i) as x from generate_series(1, 5000) i").sqlstate)
      local seen = 0
      local err = failure(function()
        for row in db:each "select 1 / (3000 - i) as x, i from generate_series(1, 5000) i" do
          seen = seen + 1
          assert.equal(seen, row.i)
        end
      end)
      assert.equal("22012", err.sqlstate)
      assert.equal(2999, seen)
      in_step(db)
    end
    assert.is_true(taken(db.q, db, "select 1") == 1)
  end)

  it("are those of streams, which are left where they are left", function()
    for _, size in ipairs{ 1, 10, 5000, 200000 } do
      local n = 0
      local count = taken(function()
        for row in db:each("select i, repeat('s', i % $1::int) as s from generate_series(1, 2000) i", size) do
          n = n + 1
          assert.equal(n, row.i)
          assert.equal(n % size, #row.s)
        end
      end)
      assert.equal(2000, n)
      assert.is_true(count > 0)
    end
    for _, last in ipairs{ 1, 63, 64, 65, 4000 } do
      local n = 0
      db:each("select i from generate_series(1, 1000000) i", function(row)
        n = row.i
        return n < last
      end)
      assert.equal(last, n)
      in_step(db)
    end
    local stream = db:each "select i from generate_series(1, 100) i"
    assert.equal(1, stream().i)
    assert.equal("connection_busy", failure(db.item, db, "select 1").name)
    stream:close()
    in_step(db)
    for _ = 1, 2 do
      local sum = 0
      for row in db:each("select i from generate_series(1, $1::int) i", 0) do sum = sum + row.i end
      assert.equal(0, sum)
    end
  end)

  it("let notices through that come between them", function()
    db:execute [[create function loud(i int, every int) returns int language plpgsql as $$
      begin if i % every = 0 then raise notice 'at % %', i, repeat('!', i % 150); end if; return i; end $$]]
    local heard = {}
    db:on("notice", function(e) heard[#heard + 1] = e.message end)
    -- a result that is shorter than the one before was taken too far: what it was is given back
    for _, n in ipairs{ 5000, 5000, 30, 2, 5000, 0, 3000 } do
      for _, every in ipairs{ 1000, 7, 1 } do
        heard = {}
        local rows = db:q("select loud(i, $2::int) as i from generate_series(1, $1::int) i", n, every)
        assert.equal(n, #rows)
        for i = 1, n do assert.equal(i, rows[i].i) end
        assert.equal(math.floor(n / every), #heard)
        for k, message in ipairs(heard) do
          assert.equal(("at %d %s"):format(k * every, ("!"):rep(k * every % 150)), message)
        end
      end
      local seen = 0
      for row in db:each("select loud(i, 10) as i from generate_series(1, $1::int) i", n) do
        seen = seen + 1
        assert.equal(seen, row.i)
      end
      assert.equal(n, seen)
      in_step(db)
    end
  end)

  it("let reports and notifications through", function()
    local heard = 0
    db:listen("taken", function() heard = heard + 1 end)
    for _, n in ipairs{ 500, 500, 3, 40 } do
      heard = 0
      db:q("select set_config('application_name', 'n' || i, false) as x, pg_notify('taken', i::text) from generate_series(1, $1::int) i", n)
      in_step(db)
      db:poll(0)
      assert.equal("n" .. n, db:parameter "application_name")
      assert.equal(n, heard)
    end
  end)

  it("are nobody's but the reader's, who may look for notifications in between", function()
    local heard = 0
    db:listen("taken", function() heard = heard + 1 end)
    local other = fastpg.connect(pg.conninfo())
    local seen = 0
    for row in db:each "select i, repeat('y', 100) as y from generate_series(1, 100000) i" do
      seen = seen + 1
      assert.equal(seen, row.i)
      if seen % 20000 == 10 then
        other:notify("taken", tostring(seen))
        pcall(db.poll, db, 0)
        pcall(db.poll, db, 0.01)
      end
    end
    assert.equal(100000, seen)
    in_step(db)
    db:poll(0.1)
    assert.equal(5, heard)
    other:close()
  end)

  it("stop when the statement is canceled", function()
    for _ = 1, 2 do
      local err = failure(db.timeout, db, 0.2, function()
        return db:q "select i, case when i = 3000 then pg_sleep(30) end from generate_series(1, 5000) i"
      end)
      assert.equal("timeout", err.name)
      in_step(db)
      local seen = 0
      err = failure(db.timeout, db, 0.2, function()
        for _ in db:each "select i, case when i = 30000 then pg_sleep(30) end from generate_series(1, 50000) i" do seen = seen + 1 end
      end)
      assert.equal("timeout", err.name)
      assert.is_true(seen < 30000)
      in_step(db)
    end
  end)
end)

describe("rows that come by a network", function()
  local proxy

  if not proxies.available() then
    pending "luv is not there: package lua-luv"
    return
  end

  setup(function() proxy = assert(proxies.start(pg.conninfo())) end)
  teardown(function() proxy:close() end)

  local SQL = "select i, repeat(chr(97 + i), i) as s, nullif(i % 3, 0) as n from generate_series(1, $1::int) i"

  local function check(db, n)
    local rows = db:q(SQL, n)
    assert.equal(n, #rows)
    for i, row in ipairs(rows) do
      assert.equal(i, row.i)
      assert.equal(string.char(97 + i):rep(i), row.s)
      assert.equal(i % 3 ~= 0 and i % 3 or nil, rawget(row, "n"))
    end
  end

  it("may come in pieces of any length, the beginning and the end too", function()
    local db = fastpg.connect(proxy:conninfo())
    check(db, 20)
    core_of(db):take_rows "always"
    for chunk = 1, 13 do
      proxy:fault("dribble", { from = "server", chunk = chunk, every = 0 })
      check(db, 12)
      check(db, chunk)
      local seen = 0
      for row in db:each(SQL, 10) do
        seen = seen + 1
        assert.equal(seen, #row.s)
      end
      assert.equal(10, seen)
      proxy:fault "pass"
    end
    assert.is_true(core_of(db):take_rows() > 0)
    in_step(db)
    db:close()
  end)

  it("are lost with the connection, wherever it ends", function()
    for _, after in ipairs{ 0, 3, 5, 30, 90, 101, 150, 400, 700, 2000, 9000 } do
      for _, way in ipairs{ "q", "each" } do
        local db = fastpg.connect(proxy:conninfo())
        check(db, 22)
        core_of(db):take_rows "always"
        check(db, 22)
        proxy:fault("truncate", { from = "server", after = after })
        local err = failure(function()
          if way == "q" then return db:q("select i, repeat('z', 100) as z from generate_series(1, 200) i") end
          for _ in db:each "select i, repeat('z', 100) as z from generate_series(1, 200) i" do end
        end)
        assert.equal("connection", err.name)
        proxy:fault "pass"
        local again = core.clock() + 10
        repeat until pcall(db.item, db, "select 1") or core.clock() > again
        db:close()
      end
    end
  end)
end)
