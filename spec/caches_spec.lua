-- SPDX-License-Identifier: MIT
--
-- Whatever is kept by a key is bounded: all caches of the library by name, each driven beyond its bound.  Keys are
-- texts, names and shapes that users of a program may choose (the keys of a PATCH body, the zone of a browser).

local core = require "fastpg.core"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local route_of = require("fastpg.pool.route").of

-- The file of each cache -> what it keeps, and how much of it.  A cache that is not here fails the first spec.
local CACHES = {
  ["user_sql.lua"] = { "converted texts, with standard_conforming_strings on: 2000", "off: 2000" },
  ["filters.lua"] = { "fragments that a filtered Table lets through: 1000" },
  ["copy_compiled.lua"] = { "functions that write rows, by their columns: 50" },
  ["flat_rows.lua"] = { "functions that make rows on LuaJIT: 200" },
  ["draw.lua"] = { "spaces of more than 64 columns: 16" },
  ["rows.lua"] = { "metatables of the rows of a shape: 16", "metatables made of another one: 16" },
  ["fragment.lua"] = { "texts cut at their placeholders: 2000", "the same where strings are not standard" },
  ["catalog.lua"] = {
    "meanings of names: 256", "relations of a meaning: 1000, or twice as many as were wanted at once",
    "lists of names of a meaning, by schema: 100",
  },
  ["trip.lua"] = { "how long texts take that wait for a connection: 1000" },
  ["descriptions.lua"] = { "what texts without a name are, of a connection: 500" },
  ["value_types.lua"] = { "texts whose arguments say types, of a connection: 200" },
  ["session_use.lua"] = { "what texts need a session for: 500" },
  ["command.lua"] = { "texts run without arguments: 500" },
  ["selection.lua"] = { "converted fragments: 500" },
  ["table_state.lua"] = { "states of a handle, by meaning: 64", "what rows become under further filters: 64" },
}

-- Bounds of those that are not made by fastpg.base.bounded.
local BOUNDS = {
  ["lua/fastpg/pg/prepared.lua"] = { "MOST_DEAD = 10", "MOST_OPEN = 1000" }, -- and statement_cache_size
  ["lua/fastpg/pg/type_lookup.lua"] = { "MOST_RECORDS = 500", "MOST_TYPES = 2000" },
  ["lua/fastpg/cluster.lua"] = { "MOST_STANDBYS = 9" },
  ["csrc/pg/take.c"] = { "MOST_SENT = 4096", "MOST_STEP = 256", "MOST_READS = 64", "MOST_HEAD = 16" },
  ["lua/fastpg/pool/once.lua"] = { "MOST_CONFLICTS = 100" },
  ["lua/fastpg/pool/trip.lua"] = {
    "MOST_SHAPES = 1000", "MOST_ABOARD = 32", "MOST_BYTES = 8192", "MOST_REQUESTS = 3", "MOST_READERS = 64",
  },
  ["lua/fastpg/host/trail.lua"] = { "MOST_REQUESTS = 1000" },
  ["lua/fastpg/host/gates.lua"] = { "MOST_FREE = 20" },
  ["lua/fastpg/host/wait/gated.lua"] = { "MOST_PARKED = 100" },
  ["lua/fastpg/host/wait/luv.lua"] = { "MOST_RESTING = 64" },
  ["lua/fastpg/sql/user_sql.lua"] = { "MOST_TEXTS = 2000" },
  ["lua/fastpg/value/rows.lua"] = { "MOST_KEPT = 16" },
  ["lua/fastpg/sql/fragment.lua"] = { "MOST_TEXTS = 2000" },
  ["lua/fastpg/sql/writer.lua"] = { "MOST_NESTED = 100" },
  ["lua/fastpg/pg/flat_rows.lua"] = { "MOST_COLUMNS = 100", "MOST_BUILDERS = 200" },
  ["lua/fastpg/table/catalog.lua"] = { "MOST_SPACES = 256", "MOST_RELATIONS = 1000", "MOST_LISTS = 100" },
  ["lua/fastpg/table/table_state.lua"] = { "MOST_PLACES = 64", "MOST_TARGETS = 64" },
  ["lua/fastpg/pool/metrics.lua"] = { "MOST_NAMES = 200" },
  ["lua/fastpg/pool/servers.lua"] = { "MOST_SAMPLES = 0.25", "MOST_MARKS = 100" },
  ["lua/fastpg/pool/watch_events.lua"] = { "MOST_LATE = 100" },
  ["lua/fastpg/pg/descriptions.lua"] = { "MOST_TEXTS = 500" },
  ["lua/fastpg/pg/value_types.lua"] = { "MOST_TEXTS = 200" },
  ["lua/fastpg/pg/session_use.lua"] = { "MOST_TEXTS = 500" },
  ["lua/fastpg/pg/command.lua"] = { "MOST_COMMANDS = 500" },
  ["lua/fastpg/table/selection.lua"] = { "MOST_FRAGMENTS = 500", "MOST_TEXTS = 500" },
  ["csrc/table/sql_texts.c"] = { "MOST_TEXTS 500" },
  ["csrc/value/zone.c"] = { "MOST_ZONES = 1500" },
  ["csrc/plain/numeric_power.c"] = { "MOST_DIGITS 131073.0" }, -- of a number: no cache
}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function sources(pattern)
  local pipe = assert(io.popen("ls " .. pattern))
  local list = {}
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

local function count(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

-- The variable of that name which the function uses.
local function upvalue(fn, name)
  for i = 1, 60 do
    local found, value = debug.getupvalue(fn, i)
    if found == name then return value end
    if found == nil then break end
  end
  error("no variable " .. name)
end

local function kilobytes()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count"
end

local function check_bounded(cache, most)
  assert.equal(most, cache.most)
  assert.equal(count(cache.kept), cache.n)
  assert.is_true(cache.n > 0 and cache.n <= most, cache.n)
end

describe("caches:", function()
  local db, root, conn

  setup(function()
    db = pg.db()
    root = route_of(db)
    db:acquire(function() conn = next(root.pool.lent) end)
    db:execute "create table item (id int primary key, a int, b text)"
  end)
  teardown(function() db:close() end)

  it("all are named here", function()
    for _, path in ipairs(sources "lua/fastpg/*.lua lua/fastpg/*/*.lua lua/fastpg/*/*/*.lua") do
      local found = select(2, read(path):gsub("bounded%.new%(", ""))
      local base = path:match "[^/]+$"
      if base ~= "bounded.lua" then assert.equal(#(CACHES[base] or {}), found, path) end
    end
    for _, path in ipairs(sources "lua/fastpg/*.lua lua/fastpg/*/*.lua lua/fastpg/*/*/*.lua csrc/*.c csrc/*/*.c") do
      local found = {}
      for bound in read(path):gmatch "%f[%w]MOST_[A-Z]+[ =]+[%d.]+" do found[#found + 1] = bound end
      assert.same(BOUNDS[path] or {}, found, path)
    end
  end)

  it("600 texts without a name", function()
    local nameless = pg.db{ statement_cache_size = 0 }
    local one = nameless.pid and next(route_of(nameless).pool.lent) or route_of(nameless).pool.idle[1]
    for i = 1, 600 do nameless:item("select ?::int + " .. i, 1) end
    check_bounded(one.described, 500)
    nameless:close()
  end)

  it("300 texts whose arguments say which types they have", function()
    for i = 1, 300 do db:item("select pg_typeof(?)::text || " .. i, true) end
    check_bounded(conn.by_values, 200)
    assert.is_true(conn.count <= 100)
  end)

  it("5,000 texts: conversions, prepared statements, those forgotten on the server", function()
    local parse = require("fastpg.sql.user_sql").parse
    local texts = upvalue(parse, "texts")
    for i = 1, 200 do db:item("select ? + " .. i, i) end
    for i = 1, 5000 do parse("select " .. i, true) end
    check_bounded(texts[true], 2000)
    assert.is_true(conn.count <= 100 and count(conn.statements) == conn.count)
    assert.is_true(#conn.dead <= 10)
    assert.is_true(db:item "select count(*) from pg_prepared_statements" <= 110)
    db:execute "set standard_conforming_strings = off"
    db:item "select -1"
    for i = 1, 2500 do parse("select -" .. i, false) end
    check_bounded(texts[false], 2000)
    db:execute "set standard_conforming_strings = on"
  end)

  it("1,100 texts that wait for a connection, 40 at once", function()
    if not require "spec.support.yields" then return end
    local one = pg.pool(nil, { max_size = 1 })
    local trips, n = route_of(one).pool.trips, 0
    for from = 1, 1100, 40 do
      fastpg.run(function()
        for i = from, from + 39 do
          fastpg.spawn(function()
            local got = one:item("select 1 as n" .. i)
            n = n + got
          end)
        end
      end)
    end
    assert.equal(1120, n)
    check_bounded(trips.shapes, 1000)
    assert.is_true(#trips.readers <= 64)
    one:close()
  end)

  it("sessions: DateStyles, roles and zones share one bound", function()
    for i = 1, 130 do
      db:execute(("set timezone = '<s%d>-%d:%02d'"):format(i, i % 12, i % 60))
      db:item "select 1"
    end
    assert.is_true(conn.count <= 100)
    assert.is_true(count(conn.caches) <= conn.count + 1)
    db:execute "reset timezone"
  end)

  it("1,150 texts in one transaction, which can't be closed before its end", function()
    db:transaction(function(tx)
      for i = 1, 1150 do assert.equal(i, tx:item("select " .. i .. " as inside")) end
      assert.is_true(#conn.dead <= 1000)
      assert.is_true(tx:item "select count(*) from pg_prepared_statements" <= 1101)
    end)
    db:item "select 'next'"
    assert.is_true(#conn.dead <= 10)
    assert.is_true(db:item "select count(*) from pg_prepared_statements" <= 110)
  end)

  it("300 savepoints are known until the transaction ends", function()
    db:transaction(function(tx)
      for i = 1, 300 do tx:execute("savepoint s" .. i) end
      assert.equal(300, #conn.held.marks)
    end)
    assert.is_nil(conn.held)
    assert.is_true(conn.count <= 100)
  end)

  it("1,100 shapes of records", function()
    local names, columns = {}, {}
    for i = 1, 11 do names[i], columns[i] = "c" .. i, "c" .. i .. " int" end
    db:execute("create table wide (id int primary key generated by default as identity, " .. table.concat(columns, ", ") .. ")")
    local t = db.t.wide
    t:insert{ id = 0 }
    db:transaction(function()
      for i = 1, 1100 do
        local record = {}
        for bit, name in ipairs(names) do
          if math.floor(i / 2 ^ (bit - 1)) % 2 == 1 then record[name] = i end
        end
        if i % 2 == 0 then
          t:insert(record)
        else
          record.id = 0
          t:update(record)
        end
      end
    end)
    local table_state = require "fastpg.table.table_state"
    local rel = table_state.resolve(table_state.current(core.table_state(t)))
    local kept = debug.getuservalue and debug.getuservalue(rel.core) or debug.getfenv and debug.getfenv(rel.core)
    assert.is_true(count(kept.sql) > 0 and count(kept.sql) <= 500, count(kept.sql))
    assert.is_true(count(core.table_state(t).sql) <= 2)
    t:drop()
  end)

  it("1,200 texts run without arguments", function()
    local command = require "fastpg.pg.command"
    for i = 1, 1200 do assert.equal("SELECT 1", db:execute("select " .. i)) end
    check_bounded(upvalue(command.run, "commands")[true], 500)
    local before = count(upvalue(command.run, "commands")[true].kept)
    assert.equal("SELECT 1", db:execute("select 1 -- " .. ("x"):rep(5000)))
    assert.equal(before, count(upvalue(command.run, "commands")[true].kept))
  end)

  it("1,200 conditions, orders and limits of a Table", function()
    local t = db.t.item
    for i = 1, 1200 do
      assert.same({}, t{ where = "id = " .. i, order_by = "a + " .. i, limit = i, offset = i % 2 })
    end
    local function leaves(map)
      if type(map) ~= "table" then return 1 end
      local n = 0
      for _, inner in pairs(map) do n = n + leaves(inner) end
      return n
    end
    local selection = require "fastpg.table.selection"
    local fragments = upvalue(upvalue(upvalue(upvalue(upvalue(selection.sql, "simple_sql"), "where_text"), "fragment_text"), "converted"),
      "fragments")
    check_bounded(fragments[true][0], 500)
    local kept = leaves(core.table_state(t).sql.selects)
    assert.is_true(kept > 0 and kept <= 500, kept)
  end)

  it("500 names that there are not", function()
    local before = kilobytes()
    for i = 1, 500 do
      assert.is_false(pcall(function() return db.t["nope" .. i] end))
      if i <= 110 then
        assert.is_false(pcall(db.table, db, "item", "nope" .. i))
        assert.is_false(db:has("nope" .. i))
        assert.same({}, db:table_names("nope" .. i))
      end
    end
    for _, space in pairs(root.catalog.spaces.kept) do
      check_bounded(space.names, 100)
      assert.is_true(space.relations.n <= 10)
    end
    assert.is_true(kilobytes() - before < 300, kilobytes() - before)
    local unborn = fastpg.database()
    for i = 1, 2000 do tostring(unborn.t["nope" .. i]) end
    collectgarbage()
    collectgarbage()
    assert.equal(0, count(route_of(unborn).getters.handles))
  end)

  it("2,000 fragments on a filtered Table", function()
    local t = db.t.item:scope("a", 1)
    local check = require("fastpg.table.filters").check_fragment
    for i = 1, 20 do t:where("id > " .. i):first() end
    for i = 1, 2000 do check("where", "id > " .. i) end
    check_bounded(upvalue(check, "passed"), 1000)
  end)

  it("300 classes of one statement's rows", function()
    db.t.item:insert{ id = 1, a = 1 }
    local before = kilobytes()
    local t, shape = db.t.item, nil
    for i = 1, 300 do
      local cls = fastpg.class("K" .. i, { "id int", "a int", "b text" }, { table = "item" })
      db:link_classes{ ["K" .. i] = cls }
      local row = t[1]
      assert.matches("^K" .. i, tostring(row))
      shape = getmetatable(row).shape
    end
    check_bounded(shape.metatables, 16)
    assert.is_true(kilobytes() - before < 500, kilobytes() - before)
    assert.equal(1, count(root.kept_classes.oids))
  end)

  it("600 lists of types in records, types that others drop", function()
    db:execute "create function one() returns int language sql as 'select 1'"
    local kinds = { "1::int4", "1::int8", "1::int2", "1::float8", "'x'::text", "true" }
    for i = 0, 600 do
      local list = {}
      for k = 1, 5 do list[k] = kinds[math.floor(i / 6 ^ (k - 1)) % 6 + 1] end
      db:item("select row(" .. table.concat(list, ", ") .. ")")
    end
    local types = root.types
    local other = pg.db() -- another session's DDL is not seen here
    types.count = types.count + 1800 -- as after so many
    for round = 0, 3 do
      local make, use, drop = {}, {}, {}
      for i = 1, 100 do
        local name = ("e%d_%d"):format(round, i)
        make[i], use[i], drop[i] = "create type " .. name .. " as enum ('x')", "'x'::" .. name, "drop type " .. name
      end
      other:execute(table.concat(make, ";"))
      for from = 1, 100, 100 do
        local row = db:arrays("select " .. table.concat(use, ", ", from, from + 99))[1]
        for k = 1, 100 do assert.equal("x", row[k]) end
      end
      other:execute(table.concat(drop, ";"))
    end
    other:close()
    assert.is_true(types.count > 0 and types.count < 400, types.count)
    db:execute "drop function one()"
  end)

  it("1,500 zones: one more counts as one that can't be loaded", function()
    local before = kilobytes()
    local n = 0
    while n < 1600 and pcall(fastpg.timestamptz, 2024, 7, 1, 12, 0, 0, ("<z%d>-%d"):format(n, n % 12)) do n = n + 1 end
    assert.is_true(n > 1000 and n <= 1500, n)
    for i = 2000, 2020 do
      db:execute(("set timezone = '<z%d>-%d'"):format(i, i % 12))
      local t = db:item "select timestamptz '2024-07-01 12:00:00+00'"
      assert.equal(1719835200, t:epoch())
    end
    assert.is_true(kilobytes() - before < 20000, kilobytes() - before)
    -- written as what it is, whether the zone is known here or not
    db:execute "set timezone = '<+07>-7'"
    local t = fastpg.timestamp(2024, 7, 1, 12, 0, 0)
    assert.equal("2024-07-01 05:00:00", db:item("select (? :: timestamptz at time zone 'UTC')::text", t))
    db:execute "reset timezone"
  end)

  it("the drawing of 300 widths", function()
    for i = 70, 370 do
      tostring(db:q("select repeat('x', ?) as a union all select ''", i))
    end
    local spaces = upvalue(upvalue(require("fastpg.value.draw").table, "add_row"), "spaces")
    check_bounded(upvalue(spaces, "wide"), 16)
  end)
end)

describe("tables that are gone:", function()
  local db, root

  before_each(function()
    db = pg.db()
    root = route_of(db)
  end)
  after_each(function() db:close() end)

  -- Rounds of 100 tables: made, used, dropped.
  local function churn(rounds, maker, use)
    for round = 1, rounds do
      maker:execute(("do $$ begin for i in 1..100 loop execute format('create table g%d_%%s (id int primary key, n int)', i); "
        .. "end loop; end $$"):format(round))
      for i = 1, 100 do use(("g%d_%d"):format(round, i)) end
      maker:execute(("do $$ begin for i in 1..100 loop execute format('drop table g%d_%%s', i); end loop; end $$"):format(round))
    end
  end

  it("500 of them leave nothing", function()
    local function use(name)
      local t = db.t[name]
      t:insert{ id = 1, n = 2 }
      assert.equal(2, t[1].n)
    end
    churn(1, db, use)
    db:refresh()
    local before = kilobytes()
    churn(5, db, use)
    db:refresh()
    local grown = kilobytes() - before
    assert.is_true(grown < 600, grown) -- 2.8 kB each would be 1,400; LuaJIT keeps traces too
    assert.equal(0, count(root.getters.handles))
  end)

  it("nor do those that another session drops", function()
    local other = pg.db()
    root.catalog.most_relations = 150
    churn(3, other, function(name) assert.equal(2, #db.t[name].cols) end)
    other:close()
    local relations = root.catalog.spaces.kept[""].relations
    check_bounded(relations, 150)
    collectgarbage()
    collectgarbage()
    assert.equal(0, count(root.getters.handles))
  end)

  it("temporary tables in transactions", function()
    db:execute "create table lasting (id int primary key)"
    for i = 1, 40 do
      db:transaction(function(tx)
        tx:execute(("create temp table tt%d (id int primary key) on commit drop"):format(i))
        tx.t["tt" .. i]:insert{ id = i }
        assert.equal(i, tx.t["tt" .. i][i].id)
        assert.equal(0, #db.t.lasting)
      end)
    end
    collectgarbage()
    collectgarbage()
    assert.equal(0, count(root.getters.handles))
    db.t.lasting:drop()
  end)

  it("a handle is the same as long as it is held, whatever DDL there is", function()
    db:execute "create table held (id int primary key)"
    local t, other = db.t.held, db:table("held", "public")
    for i = 1, 20 do
      db:execute(("create table more%d (id int); drop table more%d"):format(i, i))
      collectgarbage()
      assert.equal(t, db.t.held)
      assert.equal(other, db:table("held", "public"))
    end
    db.t.held:drop()
  end)

  it("filters and classes of 300 tables: those of dropped ones go, the others stay", function()
    db:execute "create table wall (id int primary key, n int); insert into wall select i, i % 2 from generate_series(1, 10) i"
    db.t.wall:xtra{ n = 1 }
    local Wall = db.t.wall:class()
    churn(3, db, function(name)
      db.t[name]:xtra{ n = 1 }
      db.t[name]:class()
      collectgarbage "step"
    end)
    collectgarbage()
    db:refresh()
    assert.equal(5, #db.t.wall)
    assert.equal(5, #db.t["public.wall"])
    assert.equal(Wall, db.t.wall.cls)
    for _, kept in pairs{ root.kept_filters, root.kept_classes } do
      assert.is_true(count(kept.oids) <= 257, count(kept.oids)) -- doubled since the last sweep
      assert.equal(count(kept.oids), kept.size)
    end
    assert.is_true(count(root.kept_classes.names) <= 257) -- a class without a table is of no use
    -- a filter's name waits for the next table
    db:execute "create table g1_1 (id int primary key, n int); insert into g1_1 values (1, 1), (2, 2)"
    assert.equal(1, #db.t.g1_1)
    db:execute "drop table wall, g1_1"
  end)
end)
