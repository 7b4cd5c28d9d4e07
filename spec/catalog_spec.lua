-- SPDX-License-Identifier: MIT
--
-- Tables, views and columns by name: what the catalog says, when it is asked, when it is stale.

local fastpg = require "fastpg"
local route_of = require("fastpg.pool.route").of
local core = require "fastpg.core"
local pg = require "spec.support.pg"

local quote = fastpg.quote_ident

local HOSTILE = {
  'a"b', "a.b", "select", "größe", "日本語", ("x"):rep(63), ("é"):rep(31), "Upper", "with space", "semi;colon", "it's", "--", "/*", "$1", "?",
  ":name", "%s", "a\nb", "\\", "{}", "..", "a.", ".a", "db", "views", "state", "has", "name", "pks", "insert", "__index", "1", "nil", "\"", "''",
}

local function names_of(tables)
  local names = {}
  for i, t in ipairs(tables) do names[i] = t.name end
  return names
end

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then return true end
  end
  return false
end

local function fails(name, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(name, err.name, tostring(err))
  return tostring(err)
end

describe("the catalog:", function()
  local db

  setup(function() db = pg.db() end)
  teardown(function() db:close() end)

  describe("names", function()
    it("of tables, however hostile", function()
      for i, name in ipairs(HOSTILE) do
        db:execute(("create table %s (id int primary key, v text)"):format(quote(name)))
        local t = db.t[name]
        assert.equal(quote(name), tostring(t))
        assert.equal(name, t.name)
        assert.equal("w", t:insert{ id = i, v = "w" }.v)
        assert.equal("w", t[i].v)
        assert.equal("x", t:update{ id = i, v = "x" }.v)
        assert.equal("y", t:upsert{ id = i, v = "y" }.v)
        assert.equal(1, #t{ where = { v = "y" }, order_by = { "v" }, select = { "id" }, with_pk = true })
        assert.equal(1, t:groupby("v", "count(*)").y)
        assert.equal(1, #t:order_by("id"):limit(1):update{ v = "z" })
        assert.is_true(db:has(name))
        assert.is_true(contains(db:table_names(), name))
        assert.same({ "id", "v", id = "integer", v = "text" }, db:columns_info(name))
        assert.equal("z", t:delete(i).v)
        t:drop()
        assert.is_false(db:has(name))
      end
    end)

    it("of columns, however hostile", function()
      local defs, record = { "id int primary key" }, { id = 1 }
      for i, name in ipairs(HOSTILE) do
        defs[#defs + 1] = quote(name) .. " int"
        record[name] = i
      end
      db:execute("create table hostile (" .. table.concat(defs, ", ") .. ")")
      local t = db.t.hostile
      t:insert(record)
      for i, name in ipairs(HOSTILE) do
        assert.equal(i, t[1][name])
        assert.equal('"hostile".' .. quote(name), tostring(t.c(name)))
        if name ~= "has" then assert.equal(tostring(t.c(name)), tostring(t.c[name])) end
        assert.is_true(t.c:has(name))
        assert.equal(1, #t{ where = { [name] = i }, order_by = { name }, select = { name } })
        assert.equal(i + 1, t:update({ [name] = i + 1 }, 1)[name])
        assert.equal(i + 2, t:upsert{ id = 1, [name] = i + 2 }[name])
        assert.equal(i + 3, t:where{ [name] = i + 2 }:update{ [name] = i + 3 }[1][name])
        assert.equal(1, t:groupby(name, "count(*)")[i + 3])
        assert.equal(1, #t:scope(name, i + 3))
        assert.equal(1, #t("hostile." .. quote(name) .. " is not null"))
        local row = t[1]
        row[name] = nil
        assert.is_nil(t:update(row)[name])
      end
      assert.equal(#HOSTILE + 1, #t.c())
      t:drop()
    end)

    it("of schemas, however hostile", function()
      for _, name in ipairs(HOSTILE) do
        local schema = "s" .. name:sub(1, #name > 60 and 40 or 60)
        db:execute(("create schema %s; create table %s.item (id int primary key)"):format(quote(schema), quote(schema)))
        local t = db:table("item", schema)
        assert.equal(quote(schema) .. '."item"', tostring(t))
        assert.equal(schema, t.schema)
        t:insert{ id = 1 }
        assert.equal(1, t[1].id)
        assert.equal(1, db.t[schema .. ".item"][1].id)
        assert.same({ "item" }, db:table_names(schema))
        db:execute(("drop schema %s cascade"):format(quote(schema)))
        assert.same({}, db:table_names(schema))
      end
    end)

    it("longer than the server's are none of a table", function()
      db:execute(("create table %s (id int)"):format(quote(("y"):rep(63))))
      fails("undefined_table", function() return db.t[("y"):rep(64)] end)
      db.t[("y"):rep(63)]:drop()
    end)

    it("that can't be one are errors", function()
      fails("invalid_argument", function() return db.t[1] end)
      fails("invalid_argument", function() return db.t(nil) end)
      fails("invalid_argument", function() return db:table("x", 1) end)
      fails("invalid_argument", function() return db:has(1) end)
      assert.has_error(function() return db.t["a\0b"] end)
      assert.has_error(function() return db.t["\255"] end)
    end)

    it("are case-sensitive and matched as they are written", function()
      db:execute 'create table "Mixed" (id int); create table mixed (id int, n int)'
      assert.equal(1, #db.t.Mixed.cols)
      assert.equal(2, #db.t.mixed.cols)
      assert.matches('did you mean "', fails("undefined_table", function() return db.t.MIXED end))
      db.t.Mixed:drop()
      db.t.mixed:drop()
    end)
  end)

  describe("schemas", function()
    setup(function()
      db:execute [[create schema sales; create table sales.orders (id int primary key, n int);
        create table orders (id int primary key); create schema "a.b"; create table "a.b".c (id int, x int); create schema a]]
    end)
    teardown(function() db:execute 'drop schema sales cascade; drop table orders; drop schema "a.b" cascade; drop schema a cascade' end)

    it("a table in another one", function()
      local t = db.t["sales.orders"]
      assert.equal('"sales"."orders"', tostring(t))
      assert.equal("orders", t.name)
      assert.equal("sales", t.schema)
      assert.same({ "id", "n", id = "integer", n = "integer" }, t.cols)
      assert.equal(tostring(t), tostring(db:table("orders", "sales")))
      assert.equal('"sales"."orders"."n"', tostring(t.c.n))
      t:insert{ id = 1, n = 5 }
      assert.equal(5, t[1].n)
      assert.equal(6, t:update{ id = 1, n = 6 }.n)
      assert.equal(7, t:upsert{ id = 1, n = 7 }.n)
      assert.equal(7, t:upsert{ id = 1 }.n)
      assert.equal(8, t:scope("n", 7):upsert{ id = 1, n = 8 } and 8)
      assert.equal(1, t{ with_pk = true }[1][1])
      assert.equal(1, #t:where("n = 7"):limit(1):delete())
      assert.same({ "orders" }, db:table_names("sales"))
      assert.equal(1, #db.t.orders.cols)
      assert.is_true(db:has("sales.orders"))
      assert.is_false(db:has("sales.order"))
      assert.same({ "id" }, db:pk_cols("orders", "sales"))
    end)

    it("an exact name beats the split", function()
      db:execute 'create table "sales.orders" (exact int)'
      assert.equal('"sales.orders"', tostring(db.t["sales.orders"]))
      assert.same({ "exact" }, { db.t["sales.orders"].cols[1] })
      assert.equal(2, #db:table("orders", "sales").cols)
      db:execute 'drop table "sales.orders"'
      assert.equal('"sales"."orders"', tostring(db.t["sales.orders"]))
    end)

    it("several dots", function()
      assert.equal('"a.b"."c"', tostring(db.t["a.b.c"]))
      db:execute 'create table a."b.c" (id int)'
      assert.equal('"a"."b.c"', tostring(db.t["a.b.c"])) -- the first split that names a table
      db:execute 'create table "a.b.c" (id int)'
      assert.equal('"a.b.c"', tostring(db.t["a.b.c"]))
      db:execute 'drop table "a.b.c"'
    end)

    it("the search_path decides, and its change is seen", function()
      assert.equal(1, #db.t.orders.cols)
      db:execute "set search_path = sales, public"
      assert.equal(2, #db.t.orders.cols)
      assert.equal('"orders"', tostring(db.t.orders))
      assert.equal('"orders"', tostring(db.t["sales.orders"]))
      assert.equal("sales", db.t.orders.schema)
      db:execute "set search_path = public"
      assert.equal(1, #db.t.orders.cols)
      assert.equal('"sales"."orders"', tostring(db.t["sales.orders"]))
      db:transaction(function()
        db:execute "set local search_path = sales"
        assert.equal(2, #db.t.orders.cols)
      end)
      assert.equal(1, #db.t.orders.cols)
      pcall(db.transaction, db, { settings = { search_path = "sales" } }, function()
        assert.equal(2, #db.t.orders.cols)
        error("back")
      end)
      assert.equal(1, #db.t.orders.cols)
    end)

    it("a default of the connection's own", function()
      local other = pg.db{ schema = "sales" }
      assert.same({ "orders" }, names_of(other:tables()))
      assert.equal('"sales"."orders"', tostring(other.t.orders))
      assert.equal(2, #other.t.orders.cols)
      other:close()
    end)

    it("system catalogs by their names", function()
      assert.is_true(#db.v["pg_catalog.pg_tables"]{ limit = 1 } == 1)
      assert.is_true(#db.t["pg_catalog.pg_class"]{ limit = 2 } == 2)
      assert.is_false(contains(db:table_names(), "pg_class"))
    end)
  end)

  describe("keys", function()
    it("in key order, which is not the columns' order", function()
      db:execute "create table k (a int, b int, c int, primary key (c, a)); insert into k values (1, 2, 3)"
      assert.same({ "c", "a" }, db.t.k.pks)
      assert.same({ "c", "a" }, db:pk_cols("k"))
      assert.equal(2, db.t.k[{ 3, 1 }].b)
      assert.is_nil(db.t.k:get{ 1, 3 })
      assert.equal(2, db.t.k:get{ a = 1, c = 3 }.b)
      assert.equal(9, db.t.k:update{ a = 1, c = 3, b = 9 }.b)
      assert.equal(8, db.t.k:update({ b = 8 }, { 3, 1 }).b)
      assert.equal(7, db.t.k:upsert{ a = 1, c = 3, b = 7 }.b)
      assert.equal(7, db.t.k:upsert{ a = 1, c = 3 }.b)
      assert.same({ 3, 1 }, db.t.k{ with_pk = true }[1][1])
      assert.equal(1, #db.t.k:order_by("b"):limit(1):update{ b = 6 })
      assert.equal("NotFoundError: k[9, 9]", fails("not_found", function() return db.t.k[{ 9, 9 }] end))
      assert.matches("k%[{ c, a }%]", fails("invalid_argument", function() return db.t.k[1] end))
      fails("invalid_argument", function() return db.t.k[{ 1 }] end)
      fails("invalid_argument", function() return db.t.k[{ 1, 2, 3 }] end)
      assert.equal(6, db.t.k:delete{ 3, 1 }.b)
      db.t.k:drop()
    end)

    it("without the columns that an index only carries", function()
      db:execute "create table k (a int, b int, c int, primary key (b) include (a)); insert into k values (1, 2, 3)"
      assert.same({ "b" }, db.t.k.pks)
      assert.equal(3, db.t.k[2].c)
      db.t.k:drop()
    end)

    it("after a column was dropped", function()
      db:execute "create table k (x int, a int, y int, b int, primary key (b, a)); alter table k drop x; alter table k drop y"
      assert.same({ "a", "b", a = "integer", b = "integer" }, db.t.k.cols)
      assert.same({ "b", "a" }, db.t.k.pks)
      assert.equal("a, b", tostring(db.t.k.c))
      db.t.k:insert{ a = 1, b = 2 }
      assert.equal(1, db.t.k[{ 2, 1 }].a)
      db.t.k:drop()
    end)

    it("a domain as key", function()
      db:execute "create domain nr as int; create table k (id nr primary key, doc text); insert into k values (5, 'x')"
      assert.equal("x", db.t.k["5"].doc)
      assert.equal("x", db.t.k[5].doc)
      db.t.k:drop()
      db:execute "drop domain nr"
    end)

    it("none", function()
      db:execute "create table k (a int); insert into k values (1)"
      local k = db.t.k
      assert.same({}, k.pks)
      assert.equal(1, #k())
      assert.equal(1, k:insert{ a = 2 }.a - 1)
      fails("invalid_argument", function() return k[1] end)
      fails("invalid_argument", function() return k:get(1) end)
      fails("invalid_argument", function() k:update{ a = 3 } end)
      fails("invalid_argument", function() k:upsert{ a = 3 } end)
      fails("invalid_argument", function() k:delete(1) end)
      fails("invalid_argument", function() k{ with_pk = true } end)
      fails("invalid_argument", function() k:limit(1):delete() end)
      assert.equal(2, #k:where("a > 0"):update{ a = 5 })
      assert.equal(2, #k:delete_where("a = 5"))
      k:drop()
    end)

    it("none and no columns either", function()
      db:execute "create table k ()"
      local k = db.t.k
      assert.same({}, k.cols)
      assert.equal("", tostring(k.c))
      local row = k:insert{}
      assert.equal(tostring(k()[1]), tostring(row))
      assert.equal(db, fastpg.db_of(row))
      assert.same({}, k:insert({}, {}, { on_conflict = "nothing" }))
      assert.same({ {}, {} }, k:inserts{ {}, {} })
      assert.equal(4, #k)
      assert.same({}, k()[1])
      fails("undefined_column", function() k:insert{ a = 1 } end)
      fails("invalid_argument", function() k:upsert{} end)
      fails("undefined_column", function() k:upsert({}, nil, { on = { "a" } }) end)
      assert.equal(4, #k:delete_where())
      assert.equal(0, #k)
      db:transaction(function() assert.same({}, k:insert{}) end)
      assert.equal(1, #k:where("true"):delete())
      k:drop()
    end)
  end)

  describe("columns", function()
    setup(function() db:execute "create table artist (artist_id serial primary key, name varchar(120), has int, state text); create table album (name text)" end)
    teardown(function() db:execute "drop table artist, album" end)

    it("and their types", function()
      assert.same({ "artist_id", "name", "has", "state", artist_id = "integer", name = "character varying(120)", has = "integer", state = "text" },
        db.t.artist.cols)
      db.t.artist.cols.name = "changed"
      assert.equal("character varying(120)", db.t.artist.cols.name)
      db.t.artist.pks[1] = "changed"
      assert.same({ "artist_id" }, db.t.artist.pks)
    end)

    it("as objects", function()
      local c = db.t.artist.c
      assert.equal('"artist"."name"', tostring(c.name))
      assert.equal('order by "artist"."name" desc', "order by " .. c.name .. " desc")
      assert.equal("artist_id, name, has, state", tostring(c))
      assert.equal(4, #c())
      assert.equal('"artist"."has"', tostring(c()[3]))
      assert.equal('"artist"."has"', tostring(c("has")))
      assert.equal('"artist"."state"', tostring(c.state))
      assert.equal('"artist"."Nme"', tostring(c.Nme)) -- the server judges
      assert.is_true(c:has("name"))
      assert.is_true(c:has(c.name))
      assert.is_false(c:has("nme"))
      assert.is_false(c:has(c.nme))
      assert.is_false(c:has(db.t.album.c.name)) -- another table's
      fails("invalid_argument", c.has, c, 1)
      assert.is_true(c:has(db.t["public.artist"].c.name)) -- the same table by another handle
      assert.is_true(c:has(db.t.artist:scope("name", "x").c.name))
      fails("invalid_argument", function() return c(1) end)
    end)

    it("as order, selection and group", function()
      local t = db.t.artist
      t:insert{ name = "b" }
      t:insert{ name = "a" }
      assert.equal("a", t{ order_by = t.c.name }[1].name)
      assert.equal("a", t{ order_by = { t.c.name, "artist_id desc" }, select = { t.c.name } }[1].name)
      assert.equal(1, t:groupby(t.c.name, "count(*)").a)
      fails("invalid_argument", function() return t:where(t.c.name) end)
      assert.equal(2, #db:q("select " .. t.c.name .. " from " .. t))
      t:delete_where()
    end)
  end)

  describe("kinds", function()
    it("views", function()
      db:execute [[create table base (id int primary key, n int); insert into base values (1, 10), (2, 20);
        create view big as select * from base where n > 10; create materialized view kept as select * from base]]
      assert.same({ "base" }, names_of(db:tables()))
      assert.same({ "big", "kept" }, names_of(db:views()))
      assert.same({ "big", "kept" }, db:view_names())
      assert.equal("big, kept", tostring(db.v))
      assert.equal(1, #db.v.big())
      assert.equal(2, #db.v.kept{ order_by = "id" })
      assert.equal(20, db.v.big:selectone("id = 2").n)
      assert.equal(1, #db.v.big)
      assert.equal(21, db.v.big:where("id = 2"):update{ n = 21 }[1].n)
      assert.is_true(db:has("big"))
      assert.equal(db.v.big, db.t.big)
      fails("undefined_table", function() return db.v.bigg end)
      db.v.kept:drop()
      db.v.big:drop()
      assert.same({}, db:views())
      db.t.base:drop()
    end)

    it("partitioned tables", function()
      db:execute [[create table part (id int, day date, primary key (id, day)) partition by range (day);
        create table part_1 partition of part for values from ('2024-01-01') to ('2025-01-01')]]
      assert.same({ "part", "part_1" }, names_of(db:tables()))
      assert.equal(1, db.t.part:insert{ id = 1, day = "2024-05-01" }.id)
      assert.equal(1, db.t.part[{ 1, "2024-05-01" }].id)
      assert.equal(1, db.t.part:upsert{ id = 1, day = "2024-05-01" }.id)
      assert.equal(1, #db.t.part_1)
      db.t.part:drop()
    end)

    it("foreign tables", function()
      local found = db:first "select 1 from pg_available_extensions where name = 'postgres_fdw'"
      if found then
        local c = pg.conninfo()
        db:execute(([[create extension postgres_fdw; create table near (id int primary key, n text); insert into near values (1, 'x');
          create server far foreign data wrapper postgres_fdw options (host '%s', port '%s', dbname '%s');
          create user mapping for current_user server far options (user '%s');
          create foreign table far_table (id int, n text) server far options (table_name 'near')]])
          :format(c.host, c.port, c.database, c.user))
        assert.equal("x", db.t.far_table:selectone("id = ?", 1).n)
        assert.equal("y", db.t.far_table:insert{ id = 2, n = "y" }.n)
        assert.equal(2, #db.t.far_table)
      else
        db:execute "create foreign data wrapper nothing; create server far foreign data wrapper nothing; create foreign table far_table (id int) server far"
      end
      assert.is_true(db:has("far_table"))
      assert.is_true(contains(db:table_names(), "far_table"))
      db.t.far_table:drop()
      db:execute(found and "drop extension postgres_fdw cascade; drop table near" or "drop foreign data wrapper nothing cascade")
      assert.same({}, db:tables())
    end)

    it("temporary tables, also before a real one", function()
      db:execute "create table twice (id int primary key); create temp table twice (a int, b int primary key)"
      assert.same({ "b" }, db.t.twice.pks)
      assert.equal(2, db.t.twice:insert{ a = 1, b = 2 }.b)
      db.t.twice:drop()
      assert.same({ "id" }, db.t.twice.pks)
      db.t.twice:drop()
    end)
  end)

  describe("lists", function()
    setup(function() db:execute "create table b (id int); create table a (id int); create table c (id int)" end)
    teardown(function() db:execute "drop table a, b, c" end)

    it("of tables", function()
      assert.equal("a, b, c", tostring(db.t))
      assert.same({ "a", "b", "c" }, names_of(db:tables()))
      assert.same({ "a", "b", "c" }, names_of(db.t()))
      assert.same({ "a", "b", "c" }, db:table_names())
      local list = db.t[{ "c", "a" }]
      assert.same({ "c", "a" }, names_of(list))
      local one, two = db.t("b", "a")
      assert.equal(db.t.b, one)
      assert.equal(db.t.a, two)
      assert.equal(db.t.a, db.t()[1])
      fails("undefined_table", function() return db.t("a", "nope") end)
    end)

    it("by pairs where Lua has __pairs", function()
      local probe = pairs(setmetatable({}, { __pairs = function() return "hooked" end })) == "hooked"
      if not probe then
        pending "this Lua's pairs has no hook"
        return
      end
      local names = {}
      for name, t in pairs(db.t) do
        names[#names + 1] = name
        assert.equal(name, t.name)
      end
      assert.same({ "a", "b", "c" }, names)
    end)

    it("are the caller's to change", function()
      db:table_names()[1] = "changed"
      assert.equal("a", db:table_names()[1])
    end)
  end)

  it("foreign keys are read with the columns, in both directions", function()
    db:execute [[create schema fk; create table fk.parent (a int, b int, primary key (b, a));
      create table child (id int primary key, pb int, pa int, boss int references child,
        constraint to_parent foreign key (pa, pb) references fk.parent (a, b));
      create table whole (id int primary key) partition by range (id);
      create table whole_1 partition of whole for values from (0) to (10);
      create table refers (id int primary key, w int references whole) partition by range (id);
      create table refers_1 partition of refers for values from (0) to (10)]]
    local function keys(name)
      local rel = require("fastpg.table.table_state").resolve(core.table_state(db.t[name]))
      local function plain(list)
        local out = {}
        for i, key in ipairs(list) do
          out[i] = ("%s(%s) %s.%s(%s)"):format(key.name, table.concat(key.columns, ","), key.schema, key.table,
            table.concat(key.refers, ","))
          assert.equal(db:item("select oid from pg_class where oid = $1::regclass", key.schema .. "." .. key.table), key.oid)
        end
        return out
      end
      return plain(rel.foreign_keys), plain(rel.referenced_by)
    end
    local own, others = keys "child"
    assert.same({ "child_boss_fkey(boss) public.child(id)", "to_parent(pa,pb) fk.parent(a,b)" }, own)
    assert.same({ "child_boss_fkey(id) public.child(boss)" }, others)
    own, others = keys "fk.parent"
    assert.same({}, own)
    assert.same({ "to_parent(a,b) public.child(pa,pb)" }, others)
    assert.same({ "refers_w_fkey(w) public.whole(id)" }, (keys "refers"))
    assert.same({ "refers_w_fkey(w) public.whole(id)" }, (keys "refers_1"))
    assert.same({ "refers_w_fkey(id) public.refers(w)" }, select(2, keys "whole"))
    db:execute "drop table child, refers, whole; drop schema fk cascade"
  end)

  describe("time:", function()
    it("connecting reads nothing, a handle is kept", function()
      local other = pg.db()
      assert.is_nil(next(route_of(other).catalog.spaces.kept))
      db:execute "create table once (id int primary key)"
      local t = other.t.once
      assert.equal(t, other.t.once)
      assert.is_true(t == other.t.once and t ~= other.t["public.once"])
      local generation = route_of(other).catalog.generation
      assert.equal(0, #t())
      assert.equal(generation, route_of(other).catalog.generation)
      other:close()
      db.t.once:drop()
    end)

    it("a database that is not connected gives handles", function()
      local later = fastpg.database()
      local t = later.t.later
      assert.equal('"later"', tostring(t))
      assert.equal(t, later.t.later)
      fails("closed", function() return t() end)
      assert.equal("", tostring(later.t))
      db:execute "create table later (id int primary key); insert into later values (1)"
      later:connect(pg.conninfo())
      assert.equal(1, t[1].id)
      later:close()
      db.t.later:drop()
    end)

    it("a missing table is looked up again, and near names are told", function()
      db:execute "create table artist (id int)"
      assert.matches('table "artst" does not exist.*did you mean "artist"', fails("undefined_table", function() return db.t.artst end))
      assert.equal("", pg.psql("create table artst (id int)", pg.database()))
      assert.equal('"artst"', tostring(db.t.artst))
      db:execute "drop table artist, artst"
      fails("undefined_table", function() return db.t.artst end)
    end)

    it("our DDL", function()
      db:execute "create table d (id int primary key)"
      local d = db.t.d
      assert.equal(1, #d.cols)
      db:execute "alter table d add n int"
      assert.equal(2, #d.cols)
      assert.equal(5, d:insert{ id = 1, n = 5 }.n)
      db:execute "alter table d rename n to m"
      assert.equal(5, d[1].m)
      assert.equal(6, d:update{ id = 1, m = 6 }.m)
      fails("undefined_column", function() d:update{ id = 1, n = 6 } end)
      db:q "alter table d drop m"
      assert.same({ id = 1 }, d[1])
      db:execute "alter table d rename to e"
      fails("undefined_table", function() return #d end)
      assert.equal(1, #db.t.e)
      db:execute "alter table e rename to d"
      assert.equal(1, #d)
      d:drop()
      fails("undefined_table", function() return db.t.d end)
      assert.is_false(db:has(d))
    end)

    it("DDL behind our back", function()
      local name = pg.database()
      db:execute "create table d (id int primary key)"
      local d = db.t.d
      d:insert{ id = 1 }
      assert.equal(1, d[1].id)
      pg.psql("alter table d add n int", name)
      assert.is_nil(d[1].n) -- the changed shape of the result was noticed
      assert.equal(5, d:update{ id = 1, n = 5 }.n) -- a new column in a record is looked up
      pg.psql("alter table d add o int default 7", name)
      assert.equal(6, d:insert{ id = 2, o = 6 }.o)
      pg.psql("alter table d add p int", name)
      assert.equal(0, #d{ where = { p = 1 } })
      pg.psql("alter table d drop n", name)
      assert.same({ id = 1, o = 7 }, d[1])
      pg.psql("alter table d drop constraint d_pkey; alter table d add primary key (o, id)", name)
      db:refresh()
      assert.equal(1, d[{ 7, 1 }].id)
      d:drop()
    end)

    it("DDL that is rolled back", function()
      db:execute "create table d (id int primary key)"
      pcall(db.transaction, db, function()
        db:execute "alter table d add n int; create table fresh (id int primary key)"
        assert.equal(2, #db.t.d.cols)
        assert.equal(5, db.t.d:insert{ id = 1, n = 5 }.n)
        assert.equal(1, db.t.fresh:insert{ id = 1 }.id)
        error("back")
      end)
      assert.equal(1, #db.t.d.cols)
      fails("undefined_table", function() return db.t.fresh end)
      assert.equal(1, db.t.d:insert{ id = 1 }.id)
      db:transaction(function()
        pcall(db.transaction, db, function()
          db:execute "alter table d add n int"
          assert.equal(2, #db.t.d.cols)
          error("back to the savepoint")
        end)
        assert.equal(1, #db.t.d.cols)
        assert.equal(1, db.t.d[1].id)
      end)
      db.t.d:drop()
    end)

    it("a transaction's own tables", function()
      local pool = pg.pool({}, { max_size = 2 })
      local tx = pool:begin()
      tx:execute "create table mine (id int primary key)"
      assert.equal(1, tx.t.mine:insert{ id = 1 }.id)
      tx:rollback()
      fails("undefined_table", function() return pool.t.mine end)
      fails("undefined_table", function() return pool.t.mine end) -- no handle was left
      pool:close()
    end)

    it("ten thousand tables slow nothing", function()
      local many = pg.new_database("many")
      -- as the server sees them, but made in a second: rows of pg_class alone
      pg.psql([[create table t0 (); set allow_system_table_mods = on;
        insert into pg_class select (jsonb_populate_record(c, jsonb_build_object(
          'oid', 1000000 + i, 'relname', 't' || i, 'relfilenode', 0, 'reltype', 0))).*
        from pg_class c, generate_series(1, 9999) i where relname = 't0'; analyze pg_class]], many)
      local started = core.clock()
      local other = pg.cluster():connect{ database = many }
      assert.is_nil(next(route_of(other).catalog.spaces.kept))
      assert.equal('"t5000"', tostring(other.t.t5000))
      local first = core.clock() - started
      started = core.clock()
      for i = 1, 100 do assert.equal("t" .. i, other.t["t" .. i].name) end
      local hundred = core.clock() - started
      started = core.clock()
      assert.equal(10000, #other:tables())
      local listed = core.clock() - started
      started = core.clock()
      fails("undefined_table", function() return other.t.t10001x end)
      local missing = core.clock() - started
      other:close()
      if os.getenv "FPG_TIMES" then print("", first, hundred, listed, missing) end
      assert.is_true(first < 20, "connecting and one table: " .. first)
      assert.is_true(hundred < 20, "a hundred tables: " .. hundred)
      assert.is_true(listed < 20, "the list: " .. listed)
      assert.is_true(missing < 20, "a missing one: " .. missing)
    end)
  end)
end)
