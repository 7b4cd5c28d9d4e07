-- SPDX-License-Identifier: MIT
--
-- Running SQL: each way to call, arguments, the statement cache, and that an error leaves the
-- connection as it was.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null = fastpg.null

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

local function assert_error(name, pattern, fn, ...)
  local err = error_of(fn, ...)
  assert.is_true(fastpg.is(err, name), tostring(err))
  if pattern then assert.is_truthy(err.message:find(pattern, 1, true), err.message) end
  return err
end

describe("the ways to run SQL", function()
  local db
  setup(function()
    db = pg.db()
    db:execute("drop table if exists item; create table item (id int primary key, name text, price float8)")
    db:execute("insert into item values (1, 'one', 1.5), (2, null, 2), (3, 'three', null)")
  end)
  teardown(function() db:close() end)

  it("q and fetch give all rows", function()
    assert.are.equal(db.q, db.fetch)
    local rows = db:q("select * from item order by id")
    assert.are.equal(3, #rows)
    assert.are.same({ 1, "one", 1.5 }, { rows[1].id, rows[1].name, rows[1].price })
    assert.is_nil(rows[2].name)
    assert.are.same({ "id", "name", "price" }, rows:columns())
    local none = db:q("select * from item where false")
    assert.are.equal(0, #none)
    assert.are.same({ "id", "name", "price" }, none:columns())
    assert.are.equal(0, #db:q("create temp table if not exists nothing (a int)"))
    assert.are.equal(0, #db:q(""))
    assert.are.equal(0, #db:q("-- a comment"))
    assert.are.equal(2, #db:q("select from item where id < 3"))
  end)

  it("first and fetchrow give the first row or nil", function()
    assert.are.equal(db.first, db.fetchrow)
    assert.are.equal("one", db:first("select * from item order by id").name)
    assert.is_nil(db:first("select * from item where id = ?", 99))
  end)

  it("qone gives the one row", function()
    assert.are.equal("one", db:qone("select * from item where id = $1", 1).name)
    assert_error("not_found", nil, db.qone, db, "select * from item where id = 99")
    assert_error("not_unique", "not unique", db.qone, db, "select * from item")
    assert.are.equal(fastpg.NotFoundError.name, error_of(db.qone, db, "select 1 where false").name)
  end)

  it("item gives the one field of the one row", function()
    assert.are.equal(3, db:item("select count(*) from item"))
    assert.is_nil(db:item("select name from item where id = 2"))
    assert_error("not_found", nil, db.item, db, "select id from item where id = 99")
    assert_error("not_unique", "one row expected, got 3", db.item, db, "select id from item")
    assert_error("not_unique", "one column expected, got 2", db.item, db, "select 1, 2")
    assert_error("not_unique", "one column expected, got 0", db.item, db, "select")
  end)

  it("fetchval is the forgiving one", function()
    assert.are.equal(1, db:fetchval("select * from item order by id"))
    assert.is_nil(db:fetchval("select id from item where id = 99"))
    assert.is_nil(db:fetchval("select"))
    assert.is_nil(db:fetchval("create temp table if not exists nothing (a int)"))
  end)

  it("execute gives the status, and takes several statements where there are no arguments", function()
    assert.are.equal("INSERT 0 1", db:execute("insert into item values (?, ?, ?)", 4, "four", 4))
    assert.are.equal("DELETE 1", db:execute("delete from item where id = 4"))
    assert.are.equal("SELECT 3", db:execute("select * from item"))
    assert.are.equal("DELETE 0", db:execute("create temp table multi (a int); insert into multi values (1); delete from multi where a = 2"))
    assert.are.equal("", db:execute(""))
    assert_error("division_by_zero", nil, db.execute, db, "insert into multi values (2); select 1/0")
    assert.are.equal(1, db:item("select count(*) from multi"))
    assert_error("syntax_error", "multiple commands", db.execute, db, "select ?; select 2", 1)
    assert_error("syntax_error", "multiple commands", db.q, db, "select 1; select 2")
    assert.are.equal("1; select 2", db:item("select ?::text", "1; select 2"))
  end)

  it("executemany gives the number of rows, all or nothing", function()
    db:execute("create temp table many (a int primary key, b text)")
    assert.are.equal(3, db:executemany("insert into many values (?, ?)", { { 1, "x" }, { 2, null }, { 3, null } }))
    assert.are.equal(2, db:executemany("update many set b = :b where a = :a", { { a = 1, b = "y" }, { a = 2, b = null } }))
    assert.are.equal(0, db:executemany("insert into many values (?, ?)", {}))
    assert.are.equal("y", db:item("select b from many where a = 1"))
    assert_error("unique_violation", nil, db.executemany, db, "insert into many values (?, ?)", { { 4, null }, { 5, null }, { 1, null } })
    assert_error("invalid_argument", "$1: integer expected, got number 2.5", db.executemany, db,
      "insert into many values (?, ?)", { { 6, null }, { 2.5, null } })
    assert_error("invalid_argument", "item 2: too many arguments", db.executemany, db,
      "insert into many values (?, ?)", { { 6, "x" }, { 7, "x", "y" } })
    assert_error("invalid_argument", "item 2: a table of arguments expected, got number", db.executemany, db,
      "insert into many values (?, ?)", { { 6, "x" }, 7 })
    assert_error("invalid_argument", "no value for :b", db.executemany, db, "insert into many values (:a, :b)", { { a = 1 } })
    assert.are.equal(3, db:item("select count(*) from many"))
    db:transaction(function()
      db:execute("insert into many values (10)")
      assert_error("unique_violation", nil, db.executemany, db, "insert into many values (?, ?)", { { 11, null }, { 1, null } })
      assert_error("invalid_argument", nil, db.executemany, db, "insert into many values (?, ?)", { { 12, null }, { 2.5, null } })
      assert.are.equal(1, db:executemany("insert into many values (?, ?)", { { 13, null } }))
    end)
    assert.are.same({ 1, 2, 3, 10, 13 }, db:item("select array_agg(a order by a) from many"))
    local list = {}
    for i = 1, 20000 do list[i] = { 100 + i, ("x"):rep(i % 50) } end
    assert.are.equal(20000, db:executemany("insert into many values (?, ?)", list))
  end)

  it("executemany does not deadlock where both sides have much to say", function()
    db:execute("create temp table big (a int, b text)")
    local list, text = {}, ("x"):rep(20000)
    for i = 1, 150 do list[i] = { i, text } end
    assert.are.equal(150, db:executemany("insert into big values (?, ?) returning a, b, b || b", list))
    db:execute("drop table big")
  end)

  it("arrays gives positional lists", function()
    local list = db:arrays("select id, name, 1 as id from item order by 1")
    assert.are.same({ "id", "name", "id" }, list.columns)
    assert.are.equal(3, #list)
    assert.are.same({ 2, null, 1, n = 3 }, list[2])
    local empty = db:arrays("select 1 as a where false")
    assert.are.equal(0, #empty)
    assert.are.same({ "a" }, empty.columns)
  end)

  it("each gives rows one after the other", function()
    local ids = {}
    for row in db:each("select * from item where id <> ? order by id", 2) do ids[#ids + 1] = row.id end
    assert.are.same({ 1, 3 }, ids)
    for _ in db:each("select 1 where false") do error("no row was expected") end
    ids = {}
    assert.is_nil(db:each("select * from item order by id", function(row)
      ids[#ids + 1] = row.id
      return row.id < 2
    end))
    assert.are.same({ 1, 2 }, ids)
    assert.are.equal("mine", error_of(db.each, db, "select 1", function() error("mine", 0) end))
    for row in db:each("select :a::int as a", { a = 5 }) do assert.are.equal(5, row.a) end
    for row in db:each("insert into item values (5) returning id") do assert.are.equal(5, row.id) end
    db:execute("delete from item where id = 5")
    assert_error("syntax_error", nil, db.each, db, "selec 1")
    assert_error("division_by_zero", nil, function()
      for _ in db:each("select 1 / (3 - g) from generate_series(1, 5) g") do end -- luacheck: ignore
    end)
    assert.are.equal(1, db:item("select 1"))
  end)

  it("each stops the server when it is left", function()
    local pid = db.pid
    local rows = db:each("select generate_series(1, 100000000) as n")
    for i = 1, 10 do assert.are.equal(i, rows().n) end
    rows:close()
    assert.is_nil(rows())
    assert.are.equal(1, db:item("select 1"))
    db:each("select generate_series(1, 100000000) as n", function(row) return row.n < 10 end)
    assert.are.equal(pid, db.pid)
    if _VERSION == "Lua 5.4" then
      for _ in db:each("select generate_series(1, 100000000) as n") do break end -- luacheck: ignore
      assert.are.equal(pid, db.pid)
    end
  end)

  it("each reads in constant memory", function()
    collectgarbage()
    collectgarbage()
    local before, most = collectgarbage("count"), 0
    for row in db:each("select g as n, repeat('x', 100) as x from generate_series(1, 50000) g") do
      if row.n % 5000 == 0 then
        collectgarbage()
        most = math.max(most, collectgarbage("count"))
      end
    end
    assert.is_true(most - before < 1000, most - before)
  end)

  it("a second statement during an each is an error on one connection", function()
    local rows = db:each("select generate_series(1, 100000) as n")
    rows()
    assert_error("timeout", "use a transaction around both, or db:q", db.q, db, "select 1")
    assert.are.equal(2, rows().n)
    rows:close()
    assert.are.equal(1, db:item("select 1"))
  end)

  it("prepare gives a callable query, checked now", function()
    local by_name = db:prepare("select * from item where name = :name")
    assert.are.equal(1, by_name{ name = "one" }[1].id)
    assert.are.equal(0, #by_name{ name = "x" })
    assert.are.equal(1, by_name:first{ name = "one" }.id)
    assert.are.equal(1, by_name:qone{ name = "one" }.id)
    assert_error("not_found", nil, by_name.qone, by_name, { name = "x" })
    local double = db:prepare("select ?::int * 2")
    assert.are.equal(42, double:item(21))
    for row in by_name:each{ name = "one" } do assert.are.equal(1, row.id) end
    assert_error("undefined_table", nil, db.prepare, db, "select * from nowhere")
    assert_error("syntax_error", nil, db.prepare, db, "selec")
    assert_error("invalid_argument", "SQL text expected, got nil", db.prepare, db)
  end)

  it("pipeline gives what each would have given", function()
    local results = db:pipeline(function(p)
      p:q("select * from item order by id")
      p:first("select * from item where id = ?", 1)
      p:item("select :n::int + 1", { n = 41 })
      p:execute("update item set price = price where id < ?", 3)
      p:first("select 1 where false")
      p:item("select null::int")
      p:item("select ?::int", fastpg.args({ 7 }))
    end)
    assert.are.equal(7, results.n)
    assert.are.equal(3, #results[1])
    assert.are.equal("one", results[2].name)
    assert.are.equal(42, results[3])
    assert.are.equal("UPDATE 2", results[4])
    assert.is_nil(results[5])
    assert.is_nil(results[6])
    assert.are.equal(7, results[7])
    assert.are.equal(0, #db:pipeline(function() end))
  end)

  it("pipeline is all or nothing", function()
    local function fails(name, fn)
      assert_error(name, nil, db.pipeline, db, function(p)
        p:execute("insert into item values (50)")
        fn(p)
        p:execute("insert into item values (51)")
      end)
      assert.are.equal(3, db:item("select count(*) from item"))
    end
    fails("division_by_zero", function(p) p:q("select 1/0") end)
    fails("invalid_argument", function(p) p:item("select ?::int", 1.5) end)
    fails("invalid_argument", function(p) p:item("select ?::int") end)
    fails("undefined_table", function(p) p:item("select * from nowhere") end)
    assert.are.equal("mine", error_of(db.pipeline, db, function(p)
      p:execute("insert into item values (50)")
      error("mine", 0)
    end))
    db:transaction(function()
      fails("division_by_zero", function(p) p:q("select 1/0") end)
      fails("invalid_argument", function(p) p:item("select ?::int", 1.5) end)
    end)
    assert.are.equal(3, db:item("select count(*) from item"))
    assert_error("invalid_argument", "a function expected, got nil", db.pipeline, db)
  end)

  it("pipeline raises what item and the like make of a result, when all has run", function()
    local function run()
      assert_error("not_found", nil, db.pipeline, db, function(p)
        p:execute("insert into item values (50)")
        p:item("select 1 where false")
        p:item("select 1, 2")
        p:execute("insert into item values (51)")
      end)
      assert.are.equal(2, #db:q("delete from item where id > 49 returning 1"))
    end
    run()
    db:transaction(run)
    assert.are.equal(3, db:item("select count(*) from item"))
  end)
end)

describe("arguments", function()
  local db
  setup(function() db = pg.db() end)
  teardown(function() db:close() end)

  it("nil and null are NULL, at the end too", function()
    assert.are.same({ null, 1, null, null, n = 4 }, db:arrays("select $1::int, $2::int, $3::int, $4::text", nil, 1, null, nil)[1])
    assert.is_true(db:item("select ?::text is null", nil))
    assert.is_true(db:item("select ?::text is null", null))
    assert.are.equal(1, db:item("select coalesce(?, 1)", nil))
  end)

  it("are counted", function()
    assert_error("invalid_argument", "too few arguments: the statement takes 1, got 0", db.q, db, "select ?::int")
    assert_error("invalid_argument", "too many arguments: the statement takes 1, got 2", db.q, db, "select ?::int", 1, nil)
    assert_error("invalid_argument", "too many arguments: the statement takes 0, got 1", db.q, db, "select 1", 1)
    assert_error("invalid_argument", "too few arguments: the statement takes 2, got 1", db.q, db, "select ?::int a, ?::int b", 1)
  end)

  it("may be named", function()
    assert.are.same({ 1, 2, 1, n = 3 }, db:arrays("select :a::int, :b::int, :a::int", { a = 1, b = 2 })[1])
    assert.are.same({ 9, 2, n = 2 }, db:arrays("select ?::int, :b::int", 9, { b = 2 })[1])
    assert_error("invalid_argument", "no value for :b (use fastpg.null for NULL)", db.q, db, "select :a::int, :b::int", { a = 1 })
    assert.is_nil(db:item("select :a::int", { a = null }))
    assert_error("invalid_argument", "the last argument is the table of names, got nothing", db.q, db, "select :a")
    assert_error("invalid_argument", "the last argument is the table of names, got number", db.q, db, "select :a", 1)
    assert_error("invalid_argument", "too many arguments before the table of names", db.q, db, "select :a::int", 1, { a = 1 })
  end)

  it("may be more than an old libpq can describe", function()
    local Connection = require "fastpg.pg.connection"
    local most = Connection.most_described
    finally(function() Connection.most_described = most end)
    Connection.most_described = 3
    local row = db:first("select $1::int a, $2::text b, $3::bool c, $4::numeric d, $5::int[] e",
      fastpg.args({ 1, "x", true, fastpg.numeric "1.50", { 1, 2 } }))
    assert.are.equal("<Record a=1 b='x' c=true d=1.50 e={1,2}>", tostring(row))
    assert_error("undefined_table", "does not exist", db.q, db, "select $1::int, $2::int, $3::int, $4::int from nowhere",
      fastpg.args{ 1, 2, 3, 4 })
    assert.are.equal(1, db:item "select 1")
  end)

  it("may be many", function()
    local numbers, marks = {}, {}
    for i = 1, 65535 do
      numbers[i], marks[i] = i, "$" .. i .. "::int"
    end
    local sql = "select " .. table.concat(marks, " + ", 1, 10)
    assert.are.equal(55, db:item(sql, fastpg.args({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 10)))
    local insert = "select count(*), sum(v) from (values (" .. table.concat(marks, "), (") .. ")) t(v)"
    local row = db:arrays(insert, fastpg.args(numbers))[1]
    assert.are.equal(65535, row[1])
    assert.are.equal(65535 * 65536 / 2, row[2])
    assert_error("invalid_argument", "at most 65535", db.q, db, sql, fastpg.args(numbers, 65536))
    assert.are.same({ 1, null, 3, n = 3 }, db:arrays("select ?::int, ?::int, ?::int", fastpg.args({ 1, nil, 3 }, 3))[1])
    assert_error("invalid_argument", "named placeholders", db.q, db, "select :a", fastpg.args{ 1 })
    assert_error("invalid_argument", "a list expected, got nil", fastpg.args)
    assert_error("invalid_argument", "number of arguments expected", fastpg.args, {}, -1)
    assert_error("invalid_argument", "an item at 3, and n is 2", fastpg.args, { 1, 2, 3 }, 2)
    assert_error("invalid_argument", "an item at 4, and n is 2", fastpg.args, { 1, 2, [4] = 4, n = 4 }, 2)
    assert_error("invalid_argument", "an item at 1.5, and n is 2", fastpg.args, { 1, [1.5] = 2 }, 2)
    assert_error("invalid_argument", 'an item at "id", and n is 1', fastpg.args, { id = 1 }, 1)
    assert.are.same({ null, 2, n = 2 }, db:arrays("select ?::int, ?::int", fastpg.args({ nil, 2, n = 2 }, 2))[1])
  end)

  it("a result may have 1,600 columns and duplicate names", function()
    local columns = {}
    for i = 1, 1600 do columns[i] = i .. " as c" .. i end
    local row = db:first("select " .. table.concat(columns, ", "))
    assert.are.equal(1600, row.c1600)
    assert.are.equal(1600, db:arrays("select " .. table.concat(columns, ", "))[1][1600])
    local last = pg.db{ duplicates = "last" }
    assert.are.equal(2, last:first("select 1 as a, 2 as a").a)
    assert.is_nil(last:first("select 1 as a, null::int as a").a)
    assert.are.equal(2, last:first("select null::int as a, 2 as a").a)
    last:close()
  end)

  it("SQL is text", function()
    for _, bad in ipairs{ 1, true, {}, print } do
      assert_error("invalid_argument", "SQL text expected, got " .. type(bad), db.q, db, bad)
      assert_error("invalid_argument", "SQL text expected, got " .. type(bad), db.execute, db, bad)
      assert_error("invalid_argument", "SQL text expected, got " .. type(bad), db.each, db, bad)
    end
    assert_error("invalid_argument", "SQL text expected, got nil", db.q, db)
    local err = error_of(db.q, db, "select 'a\0b'")
    assert.is_true(fastpg.is(err, "invalid_argument") or fastpg.is(err, "syntax_error"), tostring(err))
  end)
end)

describe("the statement cache", function()
  local other
  setup(function()
    other = pg.db()
    other:execute("drop table if exists shape; create table shape (a int)")
  end)
  teardown(function() other:close() end)
  before_each(function() other:execute("drop table shape; create table shape (a int); insert into shape values (1)") end)

  local function on_server(db) return db:item("select count(*) from pg_prepared_statements where name like 'fastpg%'") end

  for _, size in ipairs{ 100, 2, 1, 0 } do
    describe("of size " .. size, function()
      local db
      before_each(function() db = pg.db{ statement_cache_size = size } end)
      after_each(function() db:close() end)

      it("holds no more than it may", function()
        for i = 1, 5 do
          for j = 1, 4 do assert.are.equal(j, db:item("select " .. j .. " + ?::int", 0)) end
          assert.are.equal(i, db:item("select ?::int", i))
        end
        assert.are.equal(math.min(size, 6), on_server(db))
      end)

      it("runs batches of more statements than it holds", function()
        for _ = 1, 2 do
          local results = db:pipeline(function(p)
            for i = 1, 5 do
              p:item(("select ?::int + %d as c%d"):format(i, i), 10)
              p:first("select ?::text as t", "t" .. i)
            end
          end)
          for i = 1, 5 do
            assert.are.equal(10 + i, results[2 * i - 1])
            assert.are.equal("t" .. i, results[2 * i].t)
          end
        end
        assert.are.equal(3, db:executemany("insert into shape values (?)", { { 1 }, { 2 }, { 3 } }))
      end)

      it("streams, and leaves streams", function()
        local sum = 0
        for row in db:each("select generate_series(1, ?::int) as n", 1000) do sum = sum + row.n end
        assert.are.equal(500500, sum)
        local rows = db:each("select generate_series(1, ?::int) as n", 10000000)
        assert.are.equal(1, rows().n)
        assert.are.equal(2, rows().n)
        rows:close()
        assert.are.equal(7, db:item("select ?::int", 7))
      end)

      it("an argument that can't be encoded leaves it usable", function()
        for _ = 1, 3 do
          assert_error("invalid_argument", nil, db.item, db, "select ?::int", 1.5)
          assert_error("invalid_argument", nil, db.each, db, "select ?::int", 1.5)
          assert.are.equal(2, db:item("select ?::int", 2))
        end
        db:transaction(function()
          assert_error("invalid_argument", nil, db.item, db, "select ?::int", 1.5)
          assert_error("invalid_argument", nil, db.each, db, "select ?::int", 1.5)
          assert.are.equal(2, db:item("select ?::int", 2))
          assert.are.equal(1, db:executemany("insert into shape values (?)", { { 5 } }))
        end)
      end)

      it("forgets plans that DDL of another session made stale, outside a transaction", function()
        local pid = db.pid
        for round = 1, 2 do
          assert.are.same({ "a" }, db:q("select * from shape"):columns())
          for _ in db:each("select * from shape") do end -- luacheck: ignore
          db:pipeline(function(p) p:q("select * from shape") end)
          if round == 1 then other:execute("alter table shape add b text default 'x'") end
          local which = round == 1 and { "a", "b" } or { "a" }
          if round == 2 then other:execute("alter table shape add c text") end
          which = round == 2 and { "a", "c" } or which
          assert.are.same(which, db:q("select * from shape"):columns())
          other:execute("alter table shape add d int default 4")
          for row in db:each("select * from shape") do assert.are.equal(4, row.d) end
          other:execute("alter table shape add e int default 5")
          assert.are.equal(5, db:pipeline(function(p) p:q("select * from shape") end)[1][1].e)
          other:execute("alter table shape drop d, drop e")
          other:execute("alter table shape add e int default 6")
          assert.are.equal(6, db:first("select * from shape").e)
          other:execute("drop table shape; create table shape (a int); insert into shape values (1)")
        end
        assert.are.equal(pid, db.pid)
      end)

      it("says so inside a transaction", function()
        assert.are.equal(1, #db:q("select * from shape"))
        other:execute("alter table shape add b text")
        local ok, err = pcall(db.transaction, db, function() return db:q("select * from shape") end)
        if size == 0 then
          assert.is_true(ok, tostring(err))
        else
          assert.are.equal("0A000", err.sqlstate)
          assert.is_truthy(err.hint:find("transaction can run again", 1, true))
          assert.are.same({ "a", "b" }, db:transaction(function() return db:q("select * from shape") end):columns())
        end
      end)

      it("its own DDL makes nothing stale", function()
        db:transaction(function()
          assert.are.same({ "a" }, db:q("select * from shape"):columns())
          db:execute("alter table shape add b text")
          assert.are.same({ "a", "b" }, db:q("select * from shape"):columns())
        end)
        pcall(db.transaction, db, function()
          db:execute("alter table shape drop b")
          assert.are.same({ "a" }, db:q("select * from shape"):columns())
          error("back")
        end)
        assert.are.same({ "a", "b" }, db:q("select * from shape"):columns())
        db:transaction(function()
          pcall(db.transaction, db, function()
            db:execute("alter table shape drop b")
            assert.are.same({ "a" }, db:q("select * from shape"):columns())
            error("back")
          end)
          assert.are.same({ "a", "b" }, db:q("select * from shape"):columns())
        end)
      end)

      it("survives DEALLOCATE ALL and DISCARD ALL, seen and unseen", function()
        for _, sql in ipairs{
          "deallocate all", "discard all", "select 1; deallocate all", "do $$ begin execute 'deallocate all'; end $$",
        } do
          assert.are.equal(1, db:item("select ?::int", 1))
          db:execute("select 2")
          db:execute(sql)
          assert.are.equal(2, db:item("select ?::int", 2))
          assert.are.equal(3, db:item("select ?::int + 0", 3))
          assert.are.equal(4, db:item("select ?::int + 1", 3))
        end
        assert.are.equal(5, db:pipeline(function(p) p:item("select ?::int", 5) end)[1])
        db:execute("do $$ begin execute 'deallocate all'; end $$")
        assert.are.equal(6, db:pipeline(function(p) p:item("select ?::int", 6) end)[1])
      end)

      it("leaves the user's own prepared statements alone", function()
        db:execute("prepare mine as select 7 as x")
        db:execute("create temp table if not exists ddl (a int)")
        for i = 1, 5 do db:q("select " .. i) end
        assert.are.equal(7, db:item("execute mine"))
      end)

      it("a failed statement takes no place in it, also in a failed transaction", function()
        for i = 1, 5 do
          assert_error("undefined_column", nil, db.q, db, "select nonsense_" .. i)
          assert_error("division_by_zero", nil, db.q, db, "select 1/0")
        end
        db:transaction(function()
          pcall(db.transaction, db, function()
            assert_error("division_by_zero", nil, db.q, db, "select 1/0")
            for i = 1, 5 do assert_error("in_failed_sql_transaction", nil, db.q, db, "select " .. i) end
            assert_error("in_failed_sql_transaction", nil, db.pipeline, db, function(p) p:q("select 1") end)
          end)
          assert.are.equal(1, db:item("select 1"))
        end)
        assert.is_true(on_server(db) <= size)
      end)
    end)
  end
end)

describe("an error leaves the connection as it was", function()
  local db
  setup(function() db = pg.db() end)
  teardown(function() db:close() end)

  it("whatever went wrong", function()
    local pid = db.pid
    for name, call in pairs{
      syntax = function() db:q("selec 1") end,
      runtime = function() db:q("select 1/0") end,
      late = function() db:q("select 1 / (50000 - g) from generate_series(1, 60000) g") end,
      simple = function() db:execute("select 1; selec 2; select 3") end,
      encode = function() db:q("select ?::int", {}) end,
      not_found = function() db:qone("select 1 where false") end,
      raised = function() db:execute("do $$ begin raise exception 'mine' using errcode = 'ZZ001'; end $$") end,
      copy_out = function() db:execute("copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout") end,
      copy_in = function() db:execute("copy pg_class from stdin") end,
      copy_query = function() db:q("copy (select 1) to stdout") end,
      copy_several = function() db:execute("copy (select 1) to stdout; select 1; copy (select 2) to stdout") end,
      copy_each = function() for _ in db:each("copy (select 1) to stdout") do end end, -- luacheck: ignore
    } do
      local ok, err = pcall(call)
      assert.is_false(ok, name)
      assert.is_truthy(err.name, name)
      if name:find("copy", 1, true) and name ~= "copy_in" then
        assert.are.equal("feature_not_supported", err.name, tostring(err))
      end
      assert.are.equal(1, db:item("select 1"), name)
      assert.are.equal(pid, db.pid, name)
    end
  end)

  it("COPY is refused in a pipeline too", function()
    for _, sql in ipairs{ "copy (select 1) to stdout", "copy pg_temp.copied from stdin" } do
      db:execute("create temp table if not exists copied (a int)")
      local err = error_of(db.pipeline, db, function(p)
        p:item("select 1")
        p:execute(sql)
        p:item("select 2")
      end)
      assert.is_truthy(err.name, tostring(err))
      assert.are.equal(1, db:item("select 1"))
    end
  end)

  it("LISTEN, NOTIFY, notices and SET are harmless", function()
    db:execute("listen here")
    for _ = 1, 3 do
      db:execute("notify here, 'x'")
      assert.are.equal(1, db:item("select 1"))
    end
    db:execute("unlisten *")
    db:execute("do $$ begin raise notice 'hello'; raise warning 'world'; end $$")
    db:execute("set search_path = public")
    assert.are.equal(1, db:item("select 1"))
  end)
end)

describe("settings that change how text is read", function()
  it("standard_conforming_strings = off is heeded", function()
    local db = pg.db()
    db:execute("set standard_conforming_strings = off; set escape_string_warning = off")
    assert.are.equal("it's ?", db:item([[select 'it\'s ?' where ?::int = 1]], 1))
    db:execute("set standard_conforming_strings = on")
    assert.are.equal("a\\", db:item([[select 'a\' where ?::int = 1]], 1))
    db:transaction(function()
      db:execute("set local standard_conforming_strings = off")
      assert.are.equal("'?", db:item([[select '\'?' where ?::int = 1]], 1))
    end)
    assert.are.equal("a\\", db:item([[select 'a\' where ?::int = 1]], 1))
    db:close()
  end)

  it("role and database settings do not reach the values", function()
    local admin = pg.db()
    local name = admin:item("select current_database()")
    for _, set in ipairs{
      "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'", "extra_float_digits = -3", "client_encoding = 'LATIN1'",
    } do
      admin:execute(("alter database %s set %s"):format(fastpg.quote_ident(name), set))
    end
    local db = pg.db()
    assert.are.equal("ISO, DMY", db:parameter("DateStyle"))
    assert.are.equal("postgres", db:item("show intervalstyle"))
    assert.are.equal("UTF8", db:item("show client_encoding"))
    -- point has no binary reader here: the whole row comes as text
    local row = db:first("select date '2024-03-01' as d, interval '1 mon 2 days 03:00' as i, 0.1::float8 + 0.2 as f, "
      .. "timestamptz '2024-03-01 00:00+00' as t, 'é' as s, tsvector 'a' as p")
    assert.are.equal("2024-03-01", tostring(row.d))
    assert.are.equal("1 mon 2 days 03:00:00", tostring(row.i))
    assert.are.equal(0.1 + 0.2, row.f)
    assert.are.equal("é", row.s)
    assert.are.equal("2024-03-01", tostring(db:item("select date '2024-03-01'")))
    for _, set in ipairs{ "datestyle", "intervalstyle", "extra_float_digits", "client_encoding" } do
      admin:execute(("alter database %s reset %s"):format(fastpg.quote_ident(name), set))
    end
    db:close()
    admin:close()
  end)
end)

describe("memory", function()
  local function resident()
    local f = io.open("/proc/self/statm")
    if not f then return nil end
    local pages = tonumber(f:read("*a"):match("%d+ (%d+)"))
    f:close()
    return pages * 4
  end

  it("does not grow with the number of statements", function()
    if not resident() then return pending("no /proc here") end
    local db = pg.db()
    local function run(n)
      for i = 1, n do
        db:item("select 1")
        if i % 10 == 0 then
          db:q("select g, 'x' as t from generate_series(1, 10) g")
          pcall(db.item, db, "select ?::int", 1.5)
          pcall(db.q, db, "select nonsense")
        end
      end
      collectgarbage()
      collectgarbage()
    end
    run(300)
    local before, heap = resident(), collectgarbage("count")
    run(1500)
    assert.is_true(collectgarbage("count") - heap < 200, collectgarbage("count") - heap)
    assert.is_true(resident() - before < 3000, resident() - before)
    db:close()
  end)
end)
