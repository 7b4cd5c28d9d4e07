-- SPDX-License-Identifier: MIT
--
-- inserts, updates, upserts: whichever way a list goes, what it gives, leaves and raises is what a call for each record
-- does.  Two tables of one definition are kept alike: one is written by single calls, the other by lists.

local fastpg = require "fastpg"
local batch = require "fastpg.pg.batch"
local bulk_sql = require "fastpg.table.bulk_sql"
local pg = require "spec.support.pg"

local null, sql = fastpg.null, fastpg.sql

-- ---- chance ---------------------------------------------------------------------------------

local seed
local function random(n) -- 1 to n, the same on every Lua
  seed = (seed * 16807) % 2147483647
  return seed % n + 1
end
local function chance(percent) return random(100) <= percent end
local function pick(list) return list[random(#list)] end

-- ---- values ---------------------------------------------------------------------------------

-- By type: what a record may hold of it, and what no record can.
local VALUES = {
  int = function() return random(900) end,
  text = function() return pick{ "", "a", "NULL", 'q"uo\\te', "x,{y}", "ü", "long " .. ("z"):rep(random(300)) } end,
  ["varchar(8)"] = function() return pick{ "abc", "12345678", 42 } end,
  ["char(4)"] = function() return pick{ "ab", "abcd" } end,
  ["bit(3)"] = function() return pick{ "101", "000" } end,
  ["numeric(6,2)"] = function() return pick{ 1.005, "12.345", fastpg.numeric "99.999", 7 } end,
  float8 = function() return pick{ 1.5, 2, "Infinity", "0.1" } end,
  bool = function() return chance(50) end,
  bytea = function() return pick{ "", "\0\1\255", "\\x41" } end,
  jsonb = function() return pick{ { a = { 1, null } }, { 1, 2 }, "text", 5, true, fastpg.json_null, fastpg.json_text '{"b": [1]}' } end,
  json = function() return pick{ { { 1 }, { 2 } }, "s", fastpg.array{} } end,
  timestamp = function() return pick{ "2024-02-29 12:00:00", fastpg.timestamp "2020-01-01 00:00:00.5", "infinity" } end,
  timestamptz = function() return pick{ "2024-02-29 12:00:00+02", "today" } end,
  date = function() return pick{ "2024-02-29", { year = 2024, month = 2, day = 28 }, "29 Feb 2024" } end,
  interval = function() return pick{ "1 day", "2 mons 3 days" } end,
  uuid = function() return pick{ "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12}" } end,
  box = function() return pick{ "(1,2),(0,0)", { high = { x = 3, y = 4 }, low = { x = 1, y = 1 } } } end,
  int4range = function() return pick{ "[1,5)", "empty" } end,
  inet = function() return pick{ "10.0.0.1/8", "::1" } end,
  ["bulk_mood"] = function() return pick{ "sad", "ok", "happy" } end,
  ["bulk_small"] = function() return random(90) end,
  ["int[]"] = function() return pick{ { 1, 2 }, {}, { null }, "{3,4}" } end,
  ["bulk_pair"] = function() return pick{ { a = 1, b = "x" }, "(2,y)" } end,
  money = function() return pick{ "12.50", "1" } end,
}
local BAD = { int = { {}, "x", 1.5 }, text = { {}, "\0" }, jsonb = { print }, bulk_mood = { "angry" }, bulk_small = { 500 },
  ["varchar(8)"] = { "123456789" }, uuid = { "no" }, date = { "2023-02-29" }, ["int[]"] = { 5 } }

-- ---- tables ---------------------------------------------------------------------------------

-- { what goes on behind CREATE TABLE x, columns by type; `after`: further statements, `x` stands for the table; `arrays`:
-- whether lists go as arrays }
local TABLES = {
  plain = { "(id serial primary key, name text default 'd', n int check (n <> 13), u int unique)",
    { name = "text", n = "int", u = "int" }, arrays = true },
  numbers = { "(id serial primary key, a numeric(6,2), b float8, c bool default true, d bit(3), m money)",
    { a = "numeric(6,2)", b = "float8", c = "bool", d = "bit(3)", m = "money" }, arrays = true },
  texts = { "(id serial primary key, a varchar(8), b char(4), c bytea, d jsonb, e json, f uuid, g inet)",
    { a = "varchar(8)", b = "char(4)", c = "bytea", d = "jsonb", e = "json", f = "uuid", g = "inet" }, arrays = true },
  times = { "(id serial primary key, a timestamp, b timestamptz, c date, d interval)",
    { a = "timestamp", b = "timestamptz", c = "date", d = "interval" }, arrays = true },
  own = { "(id serial primary key, a bulk_mood, b bulk_small, c box, d int4range)",
    { a = "bulk_mood", b = "bulk_small", c = "box", d = "int4range" }, arrays = true },
  nested = { "(id serial primary key, a int[], b bulk_pair, n int)", { a = "int[]", b = "bulk_pair", n = "int" } },
  identity = { "(id int generated always as identity primary key, n int, twice int generated always as (n * 2) stored)",
    { n = "int" }, arrays = true },
  partitioned = { "(id serial, n int, name text, primary key (id)) partition by range (id)", { n = "int", name = "text" },
    after = { "create table x_1 partition of x for values from (0) to (40)", "create table x_2 partition of x default" }, arrays = true },
  to_itself = { "(id serial primary key, n int references x, name text)", { n = "int", name = "text" } },
  skipping = { "(id serial primary key, n int, name text)", { n = "int", name = "text" },
    after = { "create trigger s before insert or update on x for each row execute function bulk_skip()" } },
  changing = { "(id serial primary key, n int, name text)", { n = "int", name = "text" },
    after = { "create trigger s before insert or update on x for each row execute function bulk_count('x')" } },
  counted = { "(id serial primary key, n int, name text)", { n = "int", name = "text" },
    after = { "create trigger s after insert or update on x for each statement execute function bulk_log('x')" } },
  partition_trigger = { "(id serial, n int, primary key (id)) partition by range (id)", { n = "int" },
    after = { "create table x_1 partition of x default",
      "create trigger s before insert or update on x_1 for each row execute function bulk_skip()" } },
  ruled = { "(id serial primary key, n int, name text)", { n = "int", name = "text" },
    after = { "create rule r as on insert to x where new.n < 100 do also insert into bulk_seen values ('x', 1)" } },
  computed = { "(id serial primary key, n int default bulk_next(), name text)", { n = "int", name = "text" } },
  collated = { "(id text collate \"C\" primary key, n int, c1 text)", { n = "int", c1 = "text" }, key = "text", arrays = true },
  compound = { "(a int, b int, n int, name text, primary key (b, a))", { n = "int", name = "text" }, key = "two", arrays = true },
  no_columns_set = { "(id serial primary key)", {}, arrays = true },
}

local FUNCTIONS = [[
create type bulk_mood as enum ('sad', 'ok', 'happy');
create domain bulk_small as int check (value < 100);
create type bulk_pair as (a int, b text);
create table bulk_seen (what text, n int);
create sequence bulk_numbers;
create function bulk_next() returns int language sql volatile as 'select nextval(''bulk_numbers'')::int % 50';
create function bulk_skip() returns trigger language plpgsql as 'begin if new.n % 3 = 0 then return null; end if; return new; end';
create function bulk_count() returns trigger language plpgsql as $$
declare c int; begin execute 'select count(*) from ' || tg_argv[0] into c; new.name := c; return new; end $$;
create function bulk_log() returns trigger language plpgsql as $$ begin insert into bulk_seen values (tg_op, 1); return null; end $$;
]]

local NAMES = {}
for name in pairs(TABLES) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

-- ---- lists ----------------------------------------------------------------------------------

local function put_key(record, kind, i, how)
  if kind == "two" then
    record.a, record.b = how.keys(i), i % 7
  elseif kind == "text" then
    record.id = "k" .. how.keys(i)
  elseif how.keyed then
    record.id = how.keys(i)
  end
end

-- A list of records that are alike for a while, then have other columns.
local function make_list(def, n, how)
  local list, names = {}, {}
  for name in pairs(def[2]) do names[#names + 1] = name end
  table.sort(names)
  local given
  for i = 1, n do
    if not given or chance(how.changing) then
      given = {}
      for _, name in ipairs(names) do given[name] = chance(80) end
    end
    local record = {}
    put_key(record, def.key, i, how)
    for _, name in ipairs(names) do
      if given[name] then record[name] = chance(15) and null or VALUES[def[2][name]]() end
    end
    if record.u and record.u ~= null then record.u = how.offset + i end -- unique, mostly
    list[i] = record
  end
  if how.bad and n > 0 then
    local name = names[#names > 0 and random(#names) or 1]
    local record, bad = list[random(n)], name and BAD[def[2][name]]
    if bad then record[name] = pick(bad) end
    if def[2].n == "int" and chance(30) then list[random(n)].n = 13 end
    if def[2].u and chance(50) then list[random(n)].u, list[random(n)].u = 5, 5 end
  end
  return list
end

-- ---- one way and the other ------------------------------------------------------------------

local function shown(rows)
  local lines = {}
  for i, row in ipairs(rows) do lines[i] = tostring(row) end
  return table.concat(lines, "\n")
end

describe("bulk:", function()
  local db

  setup(function()
    db = pg.db()
    db:execute(FUNCTIONS)
  end)
  teardown(function() db:close() end)

  local function make_tables(def)
    for _, name in ipairs{ "bulk_a", "bulk_b" } do
      db:execute("drop table if exists " .. name .. " cascade")
      db:execute("create table " .. name .. " " .. (def[1]:gsub("references x", "references " .. name)))
      for _, text in ipairs(def.after or {}) do
        db:execute((text:gsub("%f[%w]x(_?%d?)%f[^%w_]", name .. "%1")))
      end
    end
  end

  local function contents(name)
    return shown(db:q("select * from " .. name .. " t order by t::text")) .. "\n"
      .. shown(db:q "select what, count(*) from bulk_seen group by what order by what")
  end

  local function restart(name, rows)
    db:execute("truncate " .. name .. " restart identity; truncate bulk_seen; select setval('bulk_numbers', 1)")
    for _, row in ipairs(rows) do db.t[name]:insert(row) end
    db:execute "truncate bulk_seen"
  end

  -- What one call for each record does: the rows, or the error and the row it is of; nothing stored then.
  local function one_by_one(t, op, list, overrides, opts)
    local at
    local ok, result = pcall(db.transaction, db, function()
      local rows = {}
      for i, record in ipairs(list) do
        at = i
        local row
        if op == "update" then row = t:update(record, nil, overrides) else row = t[op](t, record, overrides, opts) end
        rows[#rows + 1] = row
      end
      return rows
    end)
    return ok, result, at
  end

  local ARGS = { insert = true, upsert = true }
  local function at_once(t, op, list, overrides, opts)
    if ARGS[op] then return pcall(t[op .. "s"], t, list, overrides, opts) end
    return pcall(t[op .. "s"], t, list, overrides)
  end

  local function compare(name, op, list, how)
    local opts, overrides = how.opts, how.overrides
    local a, b = db.t.bulk_a, db.t.bulk_b
    if how.scope then a, b = a:scope(how.scope), b:scope(how.scope) end
    restart("bulk_a", how.before)
    local ok, rows, at = one_by_one(a, op, list, overrides, opts)
    local left = contents "bulk_a"
    restart("bulk_b", how.before)
    local done, given
    if how.inside then
      db:transaction(function()
        done, given = at_once(b, op, list, overrides, opts)
        assert.equal(1, db:item "select 1") -- it goes on
      end)
    else
      done, given = at_once(b, op, list, overrides, opts)
    end
    local place = ("%s %s of %d (%s)"):format(name, op, #list, how.seed)
    assert.equal(ok, done, place .. ": " .. tostring(ok and given or rows))
    assert.equal(left, (contents("bulk_b"):gsub("bulk_b", "bulk_a")), place)
    if ok then
      assert.equal(shown(rows), shown(given), place)
      assert.equal(#rows, #given, place)
      if given[1] then assert.equal(db, fastpg.db_of(given[1])) end
    else
      assert.equal(rows.name, given.name, place .. ": " .. tostring(rows) .. " / " .. tostring(given))
      assert.equal(at, given.row or 1, place .. ": " .. tostring(given)) -- (one of all rows is found when the first is prepared)
      assert.equal(rows.sqlstate, given.sqlstate, place)
    end
  end

  local SIZES = { 1, 3, 20, 128, 129, 150, 170 }

  local function try_all(name, first, count)
    local def = TABLES[name]
    make_tables(def)
    for i = first, first + count - 1 do
      seed = i
      for _ = 1, 10 do random(10) end
      local n = pick(SIZES)
      local twice = false
      local how = { seed = i, changing = pick{ 0, 2, 30 }, bad = chance(30), inside = chance(30), offset = 0, keyed = true }
      function how.keys(k) return twice and k == n and 1 or k end
      how.before = {}
      local repeated = chance(20)
      local op = pick{ "insert", "update", "upsert" }
      if op ~= "insert" then
        local bad = how.bad
        how.bad, how.offset = false, 10000
        how.before = make_list(def, op == "update" and n or math.floor(n / 2), how)
        for k, record in ipairs(how.before) do
          for column, value in pairs(record) do if column == "n" and value == 13 then record.n = 14 end end
          if name == "identity" then record.id = nil end
          if name == "to_itself" and record.n ~= null then record.n = k end
        end
        how.bad, how.offset = bad, 20000
        twice = repeated
      end
      if op == "insert" then
        how.keyed = chance(50) and name ~= "identity"
        if chance(20) then how.opts = { on_conflict = "nothing" } end
      end
      local list = make_list(def, n, how)
      if def[2].n == "int" and chance(20) then how.overrides = { n = pick{ 3, 13, null } } end
      if name == "to_itself" then
        how.overrides = nil
        for k, record in ipairs(list) do if record.n and record.n ~= null then record.n = chance(95) and k or k + 1 end end
      elseif def[2].n == "int" and not how.overrides and chance(20) then
        how.scope = { n = 7 }
      end
      if op == "update" and chance(10) then list[#list][def.key == "two" and "a" or "id"] = def.key == "text" and "none" or 777777 end
      compare(name, op, list, how)
    end
  end

  -- Counts the statements of arrays that a call was answered by.
  local function counting(fn)
    local fetch, count = bulk_sql.fetch, 0
    bulk_sql.fetch = function(...)
      count = count + 1
      return fetch(...)
    end
    local ok, err = pcall(fn)
    bulk_sql.fetch = fetch
    if not ok then error(err, 0) end
    return count
  end

  for _, name in ipairs(NAMES) do
    it("lists do what single calls do: " .. name:gsub("_", " "), function()
      local count = counting(function() try_all(name, 1, 12) end)
      if TABLES[name].arrays then assert.is_true(count > 0) else assert.equal(0, count) end
    end)
  end

  -- ---- what is sent -------------------------------------------------------------------------

  local function commands(fn)
    local run, sent = batch.run, {}
    local conn
    batch.run = function(c, ...)
      conn = c
      sent[#sent + 1] = c.c:transaction_status()
      return run(c, ...)
    end
    local ok, err = pcall(fn)
    batch.run = run
    if not ok then error(err, 0) end
    return sent, conn
  end

  it("no BEGIN around what is one transaction to the server anyway", function()
    make_tables(TABLES.plain)
    local t = db.t.bulk_a
    local list = {}
    for i = 1, 150 do list[i] = { id = i, name = "n" .. i } end
    for _, n in ipairs{ 3, 150 } do
      local some = {}
      for i = 1, n do some[i] = list[i] end
      for _, op in ipairs{ "inserts", "updates", "upserts" } do
        assert.same({ "idle" }, (commands(function() assert.equal(n, #t[op](t, some)) end)))
      end
      t:delete_where()
    end
  end)

  it("lists of thousands, with the error's row", function()
    make_tables(TABLES.plain)
    local t = db.t.bulk_a
    local list = {}
    for i = 1, 3500 do list[i] = { n = i % 10, name = "n" .. i } end
    local rows = t:inserts(list)
    assert.equal(3500, #rows)
    for i, row in ipairs(rows) do
      assert.equal(i, row.id)
      assert.equal("n" .. i, row.name)
      row.name = "m" .. i
    end
    rows[1], rows[3500] = rows[3500], rows[1]
    local updated = t:updates(rows)
    assert.equal("m3500", updated[1].name)
    assert.equal("m1", updated[3500].name)
    list[2222] = { n = 13, name = "bad" }
    local ok, err = pcall(t.inserts, t, list)
    assert.is_false(ok)
    assert.equal(2222, err.row)
    assert.equal("check_violation", err.name)
    list[2222] = { n = {}, name = "bad" }
    ok, err = pcall(t.inserts, t, list)
    assert.is_false(ok)
    assert.equal(2222, err.row)
    assert.matches('row 2222, column "n" ($2): integer', tostring(err), 1, true)
    assert.equal(3500, #t)
  end)

  it("what is wrong with a record is said before anything is sent, with its row", function()
    make_tables(TABLES.plain)
    local t = db.t.bulk_a
    for _, n in ipairs{ 10, 150 } do
      local list = {}
      for i = 1, n do list[i] = { id = i, name = "x" } end
      list[1].n = 13 -- which only the server knows
      for op, bad in pairs{ inserts = { nmae = "x" }, upserts = { id = 1, nmae = "x" }, updates = { name = "x" } } do
        list[n - 2] = bad
        local err
        local sent = commands(function() err = select(2, pcall(t[op], t, list)) end)
        assert.equal(n - 2, err.row, tostring(err))
        assert.equal(op == "updates" and "invalid_argument" or "undefined_column", err.name)
        assert.same({}, sent)
      end
      list[n - 2] = 5
      assert.equal(n - 2, select(2, pcall(t.inserts, t, list)).row or n - 2)
    end
    assert.equal(0, #t)
  end)

  it("a value that can't be read undoes the list", function()
    local other = pg.db()
    other:execute "drop table if exists bulk_read; create table bulk_read (id int primary key, m bulk_mood)"
    local fine = true
    other:set_type_codec("bulk_mood", { encode = function(v) return v.mood end, decode = function(s)
      if not fine and s == "sad" then error("too sad", 0) end
      return { mood = s }
    end })
    local t = other.t.bulk_read
    for _, n in ipairs{ 5, 140 } do
      local list = {}
      for i = 1, n do list[i] = { id = i, m = { mood = "ok" } } end
      assert.equal("ok", t:inserts(list)[n].m.mood)
      assert.equal(n, #t)
      list[n - 1].m.mood = "sad"
      fine = false
      for _, op in ipairs{ "updates", "upserts" } do
        for _, inside in ipairs{ false, true } do
          local function run() return pcall(t[op], t, list) end
          local ok, err
          if inside then other:transaction(function() ok, err = run() end) else ok, err = run() end
          assert.is_false(ok)
          assert.equal("too sad", err)
          assert.equal(0, other:item("select count(*) from bulk_read where m = 'sad'::bulk_mood"))
        end
      end
      fine = true
      assert.equal("sad", t:upserts(list)[n - 1].m.mood)
      t:delete_where()
    end
    other:close()
  end)

  it("fragments, defaults and other shapes between records that are alike", function()
    make_tables(TABLES.plain)
    local t = db.t.bulk_a
    local list = {}
    for i = 1, 200 do list[i] = { name = "n" .. i, n = 1 } end
    list[50] = { name = sql "upper('x')", n = 2 }
    list[100] = {}
    list[150] = { u = 4 }
    local rows
    assert.equal(4, counting(function() rows = t:inserts(list) end))
    assert.same({ "n49", "X", "n51", "d", "n149", "d" },
      { rows[49].name, rows[50].name, rows[51].name, rows[100].name, rows[149].name, rows[150].name })
    for i, row in ipairs(rows) do assert.equal(i, row.id) end
  end)

  it("a list that a codec changes while it is written", function()
    local other = pg.db()
    other:execute "drop table if exists bulk_changed; create table bulk_changed (m bulk_mood, n int)"
    local list
    other:set_type_codec("bulk_mood", { encode = function(v)
      list[80].n = nil
      return v
    end })
    list = {}
    for i = 1, 150 do list[i] = { m = "ok", n = i } end
    local t = other.t.bulk_changed
    local ok, err = pcall(t.inserts, t, list)
    assert.is_false(ok)
    assert.matches("row 80 was changed while the list was being written", tostring(err), 1, true)
    assert.equal(0, #t)
    other:close()
  end)

  it("under a loop others have their turns while a list is looked through, encoded and read", function()
    make_tables{ "(id serial primary key, j jsonb)" }
    local other = pg.db{ loop = "step" }
    local t = other.t.bulk_a
    local list = {}
    for i = 1, 3000 do list[i] = { j = { a = i, b = { "x", "y" }, c = { d = i } } } end
    local turns, done = 0, false
    fastpg.run(
      function()
        assert.equal(3000, #t:inserts(list))
        done = true
      end,
      function()
        while not done do
          turns = turns + 1
          fastpg.sleep(0)
        end
      end)
    assert.is_true(turns > 10)
    other:close()
  end)

  it("rows of lists that go as arrays are what rows of the table are", function()
    db:execute "create table kind (id int primary key, n int); insert into kind select i, i from generate_series(1, 300) i"
    db:link_classes{ Kind = fastpg.class("Kind", { "id int", "n int" }, { table = "kind" }) }
    local list = {}
    for i = 1, 300 do list[i] = { id = i, n = -i } end
    for _, row in ipairs{ db.t.kind:updates(list)[300], db.t.kind:upserts(list)[300], db.t.kind:update(list[300]) } do
      assert.matches("^Kind%(", tostring(row))
      assert.equal(db, fastpg.db_of(row))
      assert.is_false(pcall(function() return row.no_column end))
    end
  end)
end)
