-- SPDX-License-Identifier: MIT
--
-- row_description: a result is read by its own description, and composite types as they are now, whatever was remembered.

local fastpg = require "fastpg"
local compat = require "fastpg.base.compat"
local pg = require "spec.support.pg"
local trips = require "spec.support.round_trips"

local db = pg.db()
local other = pg.db() -- another session: what it does is not seen by fastpg's own doing

local function fails(name, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("no error was raised", 2) end
  if not fastpg.is(err, name) then error(("%s expected, got %s"):format(name, tostring(err)), 2) end
  return err
end

-- Every way to run a statement that gives one row, and its first row's text by it.
local ways = {
  q = function(on, sql) return tostring(on:q(sql)[1]) end,
  first = function(on, sql) return tostring(on:first(sql)) end,
  qone = function(on, sql) return tostring(on:qone(sql)) end,
  prepare = function(on, sql) return tostring(on:prepare(sql)()[1]) end,
  each = function(on, sql)
    local text
    on:each(sql, function(row) text = tostring(row) end)
    return text
  end,
  pipeline = function(on, sql) return tostring(on:pipeline(function(p) p:q(sql) end)[1][1]) end,
}

local function each_way(fn)
  for _, name in ipairs{ "q", "first", "qone", "prepare", "each", "pipeline" } do fn(ways[name], name) end
end

-- ---- columns -----------------------------------------------------------------------------------

local QUERIES = {
  { "select 1::int as a", "<Record a=1>" },
  { "select 'abcd'::text as b", "<Record b='abcd'>" },
  { "select 5::int8 as a, 'x'::text as a2", "<Record a=5 a2='x'>" },
  { "select 'abcdefgh'::text as a", "<Record a='abcdefgh'>" },
  { "select 1::float4 as a", "<Record a=1.0>" },
  { "select date '2024-02-29' as a", "<Record a=2024-02-29>" },
  { "select '1'::money as a, 2 as b", "<Record a='$1.00' b=2>" },
  { "select 'pg_class'::regclass as a", "<Record a='pg_class'>" },
  { "select 7::int as renamed", "<Record renamed=7>" },
  { "select array[1,2] as a", "<Record a={1,2}>" },
  { "select 'sad'::described_mood as a, '(1,x)'::described_pair as b", "<Record a='sad' b=(1,x)>" },
  { "select row(1, 'x'::described_mood) as a", "<Record a=(1,sad)>", "select row(1, 'sad'::described_mood) as a" },
}

describe("a result is read by its own description", function()
  setup(function()
    db:execute "create type described_mood as enum ('sad', 'ok'); create type described_pair as (n int, t text)"
    db:execute "set lc_monetary = 'C'"
  end)

  local function texts(i) return QUERIES[i][3] or QUERIES[i][1], QUERIES[i][2] end

  it("of FETCH, in every way", function()
    each_way(function(way, name)
      db:transaction(function(tx)
        for i = 1, #QUERIES do
          local sql, expected = texts(i)
          tx:execute("declare c scroll cursor for " .. sql)
          assert.equal(expected, way(tx, "fetch first from c"), name .. ": " .. sql)
          assert.equal(expected, way(tx, "fetch first from c"), name .. ": " .. sql)
          tx:execute "close c"
        end
      end)
    end)
  end)

  it("of FETCH, one field or a positional row", function()
    db:transaction(function(tx)
      for i = 1, #QUERIES do
        local sql = texts(i)
        tx:execute("declare c scroll cursor for " .. sql)
        local plain = tx:arrays(sql)
        local got = tx:arrays "fetch first from c"
        assert.same(plain.columns, got.columns)
        assert.same(plain[1], got[1])
        assert.same(plain[1][1], tx:fetchval "fetch first from c")
        tx:execute "close c"
      end
    end)
  end)

  it("of EXECUTE", function()
    each_way(function(way, name)
      db:acquire(function(c)
        for i = 1, #QUERIES do
          local sql, expected = texts(i)
          c:execute("prepare mine as " .. sql)
          assert.equal(expected, way(c, "execute mine"), name .. ": " .. sql)
          assert.equal(expected, way(c, "execute mine"), name .. ": " .. sql)
          c:execute "deallocate mine"
        end
      end)
    end)
  end)

  it("of a FETCH in a pipeline that was described before its cursor was another one", function()
    db:transaction(function(tx)
      tx:execute "declare c cursor for select 1::int as a"
      local results = tx:pipeline(function(p)
        p:q "fetch 1 from c"
        p:execute "close c"
        p:execute "declare c cursor for select 'abcd'::text as b, 2 as n"
        p:q "fetch 1 from c"
        p:item "select 7"
      end)
      assert.equal("<Record a=1>", tostring(results[1][1]))
      assert.equal("<Record b='abcd' n=2>", tostring(results[4][1]))
      assert.equal(7, results[5])
    end)
  end)

  it("or is an error where it came in a form that can't be read", function()
    db:transaction(function(tx)
      tx:execute "declare c cursor for select 1::int as a"
      local err = fails("feature_not_supported", tx.pipeline, tx, function(p)
        p:execute "close c"
        p:execute "declare c cursor for select 'pg_class'::regclass as a"
        p:q "fetch 1 from c"
      end)
      assert.truthy(err.message:find("run it once more", 1, true), err.message)
      tx:execute "close c"
      tx:execute "declare c cursor for select 'pg_class'::regclass as a"
      assert.equal("pg_class", tx:item "fetch 1 from c")
    end)
  end)

  it("of SHOW, EXPLAIN and CALL", function()
    db:execute [[create procedure described_call(inout a int) language sql as 'select 1'; create table described_t (id int)]]
    for _ = 1, 2 do
      assert.truthy(tostring(db:q "explain select * from described_t"[1]):find "Seq Scan")
      assert.equal("table", type(db:item "explain (format json) select * from described_t"))
      assert.equal("string", type(db:first "show datestyle".DateStyle))
      assert.equal("<Record a=1>", tostring(db:first "call described_call(1)"))
    end
    other:execute [[drop procedure described_call(int); create procedure described_call(inout b text) language sql as $$select 'abcd'$$]]
    for _ = 1, 2 do assert.equal("<Record b='abcd'>", tostring(db:first "call described_call('1')")) end
    other:execute [[drop procedure described_call(text); create procedure described_call(inout a int, inout b text) language sql as $$select 7, 'x'$$]]
    for _ = 1, 2 do assert.equal("<Record a=7 b='x'>", tostring(db:first "call described_call(1, '1')")) end
  end)

  it("of a select from a table that another session altered", function()
    other:execute "create table described_w (a int, b text); insert into described_w values (1, 'x')"
    local sql = "select * from described_w"
    assert.equal("<Record a=1 b='x'>", tostring(db:q(sql)[1]))
    for _, step in ipairs{
      { "alter table described_w add c date default '2024-01-01'", "<Record a=1 b='x' c=2024-01-01>" },
      { "alter table described_w rename b to bb", "<Record a=1 bb='x' c=2024-01-01>" },
      { "alter table described_w alter a type text", "<Record a='1' bb='x' c=2024-01-01>" },
      { "alter table described_w drop bb", "<Record a='1' c=2024-01-01>" },
      { "drop table described_w; create table described_w (z float8); insert into described_w values (2)", "<Record z=2.0>" },
    } do
      other:execute(step[1])
      each_way(function(way, name) assert.equal(step[2], way(db, sql), name .. " after " .. step[1]) end)
    end
  end)

  it("of functions that return a record", function()
    other:execute [[
      create function described_f() returns table (a int) language sql as 'select 1';
      create function described_r() returns record language sql as $$select 1, 'x'::text$$]]
    assert.equal("<Record a=1>", tostring(db:q "select * from described_f()"[1]))
    assert.equal("<Record described_r=(1,x)>", tostring(db:q "select described_r()"[1]))
    other:execute [[
      drop function described_f(); create function described_f() returns table (b text) language sql as $$select 'abcd'$$;
      create or replace function described_r() returns record language sql as $$select date '2024-01-01', 2.5$$]]
    each_way(function(way, name)
      assert.equal("<Record b='abcd'>", way(db, "select * from described_f()"), name)
      assert.equal("<Record described_r=(2024-01-01,2.5)>", way(db, "select described_r()"), name)
    end)
  end)
end)

-- ---- composite types ---------------------------------------------------------------------------

describe("a composite type that another session altered", function()
  local count = 0

  -- Tables with a value of the type in every place, made anew for each step.
  local function fresh(text)
    count = count + 1
    local name = "stale_" .. count
    local sql = [[
      create type NAME as (a int, b text);
      create domain NAME_d as NAME;
      create type NAME_outer as (i NAME, n int);
      create table NAME_t (id int primary key, v NAME, vs NAME[], o NAME_outer, d NAME_d);
      insert into NAME_t values (1, 'TEXT', array['TEXT'::NAME], row('TEXT'::NAME, 7), 'TEXT')]]
    other:execute((sql:gsub("NAME", name):gsub("TEXT", text)))
    return name
  end

  -- How its values look by each way, in each place; server: as the server has it as text.
  local function check(name, keys, what)
    local sql = ("select v, vs, o, d from %s_t where id = 1"):format(name)
    local server = other:first(("select v::text as v, vs::text as vs, o::text as o, d::text as d from %s_t where id = 1"):format(name))
    local expected = ("<Record v=%s vs=%s o=%s d=%s>"):format(server.v, server.vs, server.o, server.d)
    local function keys_of(value)
      local list = {}
      for _, k in ipairs(fastpg.columns(value)) do list[#list + 1] = k end
      return table.concat(list, ",")
    end
    each_way(function(way, how)
      assert.equal(expected, way(db, sql), what .. " by " .. how)
    end)
    local row = db:first(sql)
    assert.equal(keys, keys_of(row.v), what)
    assert.equal(keys, keys_of(row.vs[1]), what)
    assert.equal(keys, keys_of(row.o.i), what)
    assert.equal(keys, keys_of(row.d), what)
    -- beside a column without a binary form all of it is text
    local with_text = sql:gsub("select", "select 'pg_class'::regclass as r, ")
    row = db:first(with_text)
    assert.equal(keys, keys_of(row.v), what .. " as text")
    assert.equal(keys, keys_of(row.o.i), what .. " as text")
    assert.equal(expected:gsub("<Record ", "<Record r='pg_class' "), tostring(row))
  end

  local ALTERS = {
    { "add attribute c date", "a,b,c" },
    { "drop attribute a", "b" },
    { "rename attribute a to z", "z,b" },
    { "rename attribute b to a2", "a,a2" },
  }

  it("is read as it is, in every way and place", function()
    for _, alter in ipairs(ALTERS) do
      local name = fresh "(1,x)"
      check(name, "a,b", "before " .. alter[1])
      other:execute(("alter type %s %s cascade"):format(name, alter[1]))
      check(name, alter[2], "after " .. alter[1])
      other:execute(("alter type %s add attribute later numeric cascade"):format(name))
      check(name, alter[2] .. ",later", "after another one behind " .. alter[1])
    end
  end)

  it("is a table's row as well", function()
    other:execute "create table stale_w (a int, b text); insert into stale_w values (1, 'x')"
    local sql = "select w from stale_w w"
    for _, step in ipairs{
      { "select 1", "<Record w=(1,x)>" },
      { "alter table stale_w drop a, add c date default '1994-03-01'", "<Record w=(x,1994-03-01)>" },
      { "alter table stale_w rename b to bb", "<Record w=(x,1994-03-01)>" },
      { "alter table stale_w alter c type text", "<Record w=(x,1994-03-01)>" },
      { "alter table stale_w alter c drop default, alter c type int using 7", "<Record w=(x,7)>" },
      { "alter table stale_w drop c", "<Record w=(x)>" },
      { "alter table stale_w drop bb", "<Record w=()>" },
      { "alter table stale_w add n int default 3", "<Record w=(3)>" },
    } do
      other:execute(step[1])
      each_way(function(way, how) assert.equal(step[2], way(db, sql), how .. " after " .. step[1]) end)
      db:transaction(function(tx)
        each_way(function(way, how) assert.equal(step[2], way(tx, sql), how .. " in a transaction after " .. step[1]) end)
      end)
      local value = tostring(db:item(sql))
      assert.equal(value, tostring(db:item "select row(w) as f from stale_w w".f1), step[1])
      assert.equal(value, tostring(db:item "select array[w] from stale_w w"[1]), step[1])
    end
  end)

  it("is written as it is, or not at all", function()
    for _, alter in ipairs(ALTERS) do
      for _, how in ipairs{ "execute", "insert", "executemany", "transaction", "copy", "pipeline" } do
        local name = fresh "(1,x)"
        local sql = ("insert into %s_t (id, v) values ($1, $2)"):format(name)
        local t = db.t[name .. "_t"]
        local function write(id, value)
          if how == "execute" then return db:execute(sql, id, value) end
          if how == "insert" then return t:insert{ id = id, v = value } end
          if how == "executemany" then return db:executemany(sql, { { id, value } }) end
          if how == "copy" then return t:copy{ { id = id, v = value } } end
          if how == "pipeline" then return db:pipeline(function(p) p:execute(sql, id, value) end) end
          db:transaction(function(tx) tx:execute(sql, id, value) end)
        end
        write(2, { a = 2, b = "y" })
        other:execute(("alter type %s %s cascade"):format(name, alter[1]))
        local old = fails("invalid_argument", write, 3, alter[2] == "a,b,c" and { aa = 3 } or { a = 3, b = "z" })
        assert.truthy(old.message:find("which has no column", 1, true), old.message)
        local value, i = {}, 0
        for key in alter[2]:gmatch "[^,]+" do
          i = i + 1
          value[key] = key == "c" and fastpg.date(2024, 1, 2) or (key == "b" or key == "a2") and "new" or 30 + i
        end
        write(4, value)
        local stored = other:item(("select v::text from %s_t where id = 4"):format(name))
        local expected = ({ ["a,b,c"] = "(31,new,2024-01-02)", b = "(new)", ["z,b"] = "(31,new)", ["a,a2"] = "(31,new)" })[alter[2]]
        assert.equal(expected, stored, how .. " after " .. alter[1])
        assert.equal(3, other:item(("select count(*) from %s_t"):format(name)))
      end
    end
  end)

  it("is known as it is where two of the same types change places", function()
    other:execute "create type stale_swap as (a int, b int); create table stale_swap_t (id int, v stale_swap)"
    db:execute("insert into stale_swap_t values (1, $1)", { a = 1, b = 2 })
    assert.equal(1, db:item("select v from stale_swap_t where id = 1").a)
    other:execute "alter type stale_swap drop attribute a cascade; alter type stale_swap add attribute c int cascade"
    local v = db:item "select v from stale_swap_t where id = 1"
    assert.equal("b,c", table.concat(fastpg.columns(v), ","))
    assert.equal(2, v.b)
    assert.is_nil(v.c)
    fails("invalid_argument", db.execute, db, "insert into stale_swap_t values (2, $1)", { a = 1, b = 2 })
    db:execute("insert into stale_swap_t values (2, $1)", { b = 5, c = 6 })
    assert.equal("(5,6)", other:item "select v::text from stale_swap_t where id = 2")
  end)

  it("is an error in a transaction whose snapshot is older, and right after it", function()
    local name = fresh "(1,x)"
    local sql = ("select v from %s_t"):format(name)
    assert.equal("<Record v=(1,x)>", tostring(db:first(sql)))
    db:transaction({ isolation = "repeatable read" }, function(tx)
      tx:item "select 1"
      other:execute(("alter type %s add attribute c date cascade"):format(name))
      local err = fails("protocol_violation", tx.first, tx, sql)
      assert.truthy(err.hint:find("can run again", 1, true))
      assert.equal(1, tx:item "select 1")
    end)
    assert.equal("<Record v=(1,x,)>", tostring(db:first(sql)))
  end)

  it("costs one look, where there is one, and no other statement any", function()
    other:execute "create type stale_cost as (a int)"
    local one = pg.db()
    local function round_trips(sql, ...)
      for _ = 1, 2 do one:item(sql, ...) end
      local args = compat.pack(...)
      return trips(function() one:item(sql, compat.unpack(args, 1, args.n)) end)
    end
    assert.equal(1, round_trips "select 1")
    assert.equal(1, round_trips "select row(1, 'x')")
    assert.equal(1, round_trips("select $1::int[]", { 1 }))
    assert.equal(2, round_trips "select '(1)'::stale_cost")
    assert.equal(2, round_trips("select ($1::stale_cost).a", { a = 1 }))
    one:close()
  end)

  it("is known without a statement cache, too", function()
    local name = fresh "(1,x)"
    local one = pg.db{ statement_cache_size = 0 }
    local sql = ("select v from %s_t"):format(name)
    assert.equal("<Record v=(1,x)>", tostring(one:first(sql)))
    other:execute(("alter type %s rename attribute a to z cascade"):format(name))
    assert.equal(1, one:item(sql).z)
    assert.equal("INSERT 0 1", one:execute(("insert into %s_t (id, v) values (5, $1)"):format(name), { z = 5, b = "y" }))
    fails("invalid_argument", one.execute, one, ("insert into %s_t (id, v) values (6, $1)"):format(name), { a = 5, b = "y" })
    assert.equal(1, one:item "select 1")
    one:transaction(function(tx)
      tx:prepare(sql)
      assert.equal("<Record v=(1,x)>", tostring(tx:first(sql)))
    end)
    one:close()
  end)
end)

-- ---- anonymous records -------------------------------------------------------------------------

describe("an anonymous record", function()
  local QUERY = [[select row(i, '12.5'::money * i, row('pg_class'::regclass, array['2'::money], null::money),
    (i, '3')::record_cost, 4::record_fee, 'x'::record_mood) as r from generate_series(1, 3) i order by i]]

  setup(function()
    db:execute "set lc_monetary = 'C'"
    db:execute "create type record_cost as (n int, m money); create domain record_fee as money; create type record_mood as enum ('x')"
  end)

  -- What the server makes of the rows, in text.
  local function expected()
    local list = {}
    for i, row in ipairs(db:q("select r::text from (" .. QUERY .. ") t")) do list[i] = "<Record r=" .. row.r .. ">" end
    return list
  end

  local function texts(rows)
    local list = {}
    for i, row in ipairs(rows) do list[i] = tostring(row) end
    return list
  end

  -- A connection that knows none of the types.
  local function each_on_a_new_one(fn)
    for _, how in ipairs{ "alone", "transaction" } do
      local one = pg.db()
      one:execute "set lc_monetary = 'C'"
      if how == "alone" then fn(one, how) else one:transaction(function(tx) fn(tx, how) end) end
      one:close()
    end
  end

  it("holds types that are read as text, and types that were never seen", function()
    each_on_a_new_one(function(on, how)
      assert.same(expected(), texts(on:q(QUERY)), how)
      local value = on:q(QUERY)[2].r
      assert.equal(2, value.f1)
      assert.equal("$25.00", value.f2)
      assert.equal("pg_class", value.f3.f1)
      assert.same({ "$2.00" }, { value.f3.f2[1] })
      assert.is_nil(value.f3.f3)
      assert.equal("$3.00", value.f4.m)
      assert.equal("$4.00", value.f5)
      assert.equal(1, on:item "select 1")
    end)
  end)

  it("is read by every way", function()
    for _, name in ipairs{ "q", "first", "qone", "prepare", "each", "pipeline" } do
      each_on_a_new_one(function(on, how)
        local sql = QUERY .. " limit 1"
        for _ = 1, 2 do assert.equal(expected()[1], ways[name](on, sql), name .. " " .. how) end
        assert.equal("$12.50", on:item(sql).f2)
        assert.equal("$12.50", on:arrays(sql)[1][1].f2)
      end)
    end
  end)

  it("in a stream: the rows behind it come too, other statements go on, and an error at the end is raised", function()
    each_on_a_new_one(function(on, how)
      local list = {}
      on:each(QUERY, function(row) list[#list + 1] = tostring(row) end)
      assert.same(expected(), list, how)
      list = {}
      on:each("select row('1'::money, i, 6 / (3 - i)) as r from generate_series(1, 2) i", function(row) list[#list + 1] = tostring(row) end)
      assert.same({ "<Record r=($1.00,1,3)>", "<Record r=($1.00,2,6)>" }, list)
      on:each(QUERY, function(row)
        list[1] = tostring(row)
        return false
      end)
      assert.equal(expected()[1], list[1])
      assert.equal(7, on:item "select 7")
    end)
    local one, list = pg.db(), {}
    fails("division_by_zero", one.each, one, "select row('1'::money, 6 / (3 - i)) as r from generate_series(1, 3) i", function(row)
      list[#list + 1] = row.r.f2
    end)
    assert.same({ 3, 6 }, list)
    assert.equal(7, one:item "select 7")
    one:close()
  end)

  it("in a pipeline: each result is where it belongs", function()
    each_on_a_new_one(function(on, how)
      local results = on:pipeline(function(p)
        p:item "select 5"
        p:q(QUERY)
        p:first "select 'x'::record_mood as m"
        p:item "select row('pg_type'::regclass)"
        p:execute "create temp table record_t as select 1 as a"
        p:item "select 6"
      end)
      assert.equal(5, results[1])
      assert.same(expected(), texts(results[2]), how)
      assert.equal("<Record m='x'>", tostring(results[3]))
      assert.equal("pg_type", results[4].f1)
      assert.equal("SELECT 1", results[5])
      assert.equal(6, results[6])
    end)
    local one = pg.db()
    fails("division_by_zero", one.pipeline, one, function(p)
      p:q(QUERY)
      p:q "select 1 / 0"
    end)
    assert.equal(7, one:item "select 7")
    one:close()
  end)

  it("of many values asks once for five hundred, each that is there twice once", function()
    local methods = debug.getregistry()["fastpg.connection"].__index
    local send, sent = methods.send_printing, {}
    methods.send_printing = function(c, values)
      sent[#sent + 1] = #values
      return send(c, values)
    end
    local ok, err = pcall(function()
      local rows = db:q "select row((i % 400)::text::money) as r from generate_series(1, 800) i order by i"
      assert.equal("<Record r=($399.00)>", tostring(rows[799]))
      assert.same({ 400 }, sent)
      rows = db:q "select row(i::text::money, 'pg_class'::regclass) as r from generate_series(1, 1100) i order by i"
      assert.equal("<Record r=(\"$1,100.00\",pg_class)>", tostring(rows[1100]))
      assert.same({ 400, 500, 500, 101 }, sent)
    end)
    methods.send_printing = send
    assert(ok, err)
  end)

  it("of a type that the server only gives is an error that says so, and the transaction goes on", function()
    db:transaction(function(tx)
      tx:execute "create table record_d (a int default 7)"
      local err = fails("feature_not_supported", tx.q, tx, "select row(adbin) from pg_attrdef where adrelid = 'record_d'::regclass")
      assert.truthy(err.message:find("cast it to text", 1, true), err.message)
      assert.equal(1, tx:item "select 1")
    end)
  end)
end)
