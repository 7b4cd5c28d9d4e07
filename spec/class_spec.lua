-- SPDX-License-Identifier: MIT
--
-- classes: of tables and made by hand, instances, names, types, and the namespaces they go into.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return tostring(err)
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q in %q"):format(part, text))
end

local function fields_of(source)
  local fields = {}
  for line in source:gmatch('\n  ([^\n]+),') do fields[#fields + 1] = line end
  return fields
end

describe("class", function()
  local db

  setup(function()
    db = pg.db()
    db:execute[[
      create table artist (artist_id serial primary key, name varchar(120));
      insert into artist (name) values ('AC/DC'), ('Accept'), (null);
      create table album (album_id serial primary key, title text not null, artist_id int references artist);
      insert into album (title, artist_id) values ('For Those About To Rock', 1);
      create table invoice_line (id serial primary key, price numeric(10,2), gen int generated always as (7) stored);
      create view loud as select * from artist where name like 'A%';
      create table a_b (id int); create table "a b" (id int); create table "AB2" (id int);
      create table "Mixed Case" (id int primary key, "select" text, "sp ace" text)]]
  end)
  teardown(function() db:close() end)

  describe("of a table", function()
    it("makes rows instances", function()
      local artist = db.t.artist
      assert.is_nil(artist.cls)
      assert.equal("<Record artist_id=1 name='AC/DC'>", tostring(artist[1]))
      local acdc = db:q("select * from " .. artist .. " where name like 'AC/%'")
      local Artist = artist:class()
      assert.equal("Artist", tostring(Artist))
      assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(Artist(acdc[1])))
      assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(artist[1]))
      assert.equal("Artist(artist_id=3, name=nil)", tostring(artist[3]))
      assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(artist{ limit = 1 }[1]))
      assert.equal("Artist(artist_id=2, name='Accept')", tostring(artist:selectone("name = ?", "Accept")))
      assert.equal("<Record artist_id=1 name='AC/DC'>", tostring(artist{ limit = 1, as_cls = false }[1]))
      assert.equal("<Record artist_id=1 name='AC/DC'>", tostring(db:first "select * from artist order by 1"))
      assert.equal(Artist, artist.cls)
      assert.equal(Artist, artist:class())
    end)

    it("is the class of all handles", function()
      local Artist = db.t.artist:class()
      assert.equal(Artist, db.t.artist:scope{ name = "AC/DC" }.cls)
      assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(db.t.artist:scope{ name = "AC/DC" }()[1]))
      db:transaction(function(tx)
        assert.equal(Artist, tx.t.artist.cls)
        assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(tx.t.artist[1]))
      end)
    end)

    it("made in a transaction is kept after it", function()
      local InvoiceLine
      db:transaction(function(tx) InvoiceLine = tx.t.invoice_line:class() end)
      assert.equal("InvoiceLine", tostring(InvoiceLine))
      assert.equal(InvoiceLine, db.t.invoice_line.cls)
    end)

    it("of a view", function()
      local Loud = db.v.loud:class()
      assert.equal("Loud(artist_id=1, name='AC/DC')", tostring(db.v.loud{ order_by = "artist_id", limit = 1 }[1]))
      assert.equal("Loud(name='x')", tostring(Loud{ name = "x" }))
    end)

    it("with a suffix or unstored leaves or replaces what is there", function()
      local album = db.t.album
      local AlbumRow = album:class{ suf = "Row", store = false }
      assert.equal("AlbumRow", tostring(AlbumRow))
      assert.is_nil(album.cls)
      assert.equal("Album", tostring(album:class()))
      has(fails(album.class, album, { stor = true }), '"stor" (did you mean "store"?)')
      has(fails(album.class, album, { suf = "; os.exit()" }), "suf")
    end)

    it("follows the table's columns", function()
      db:execute "create table growing (id int)"
      local Growing = db.t.growing:class()
      has(fails(Growing, { more = 1 }), 'no field "more"')
      db:execute "alter table growing add more text"
      assert.equal(Growing, db.t.growing:class())
      assert.equal("Growing(more='x')", tostring(Growing{ more = "x" }))
    end)

    it("follows them by itself, whoever changed the table", function()
      local other = pg.db()
      local function watched(by, name)
        db:execute(("drop table if exists %s; create table %s (id int); insert into %s values (1)"):format(name, name, name))
        local t, n = db.t[name], 0
        local X = t:class(by.options)
        return X, t, function(sql)
          n = n + 1;
          (by.other and other or db):execute(sql:format(name, n))
          return "c" .. n
        end
      end
      for i, by in ipairs{ {}, { other = true }, { options = { store = false } }, { options = { store = false }, other = true } } do
        local X, t, change = watched(by, "follow_" .. i)
        local column = change "alter table %s add c%d text default 'x'"
        has(tostring(X(db:first("select * from " .. t))), column .. "='x')") -- a row of plain SQL
        column = change "alter table %s add c%d text default 'y'"
        has(tostring(X{ [column] = 5 }), "(" .. column .. "=5)")
        column = change "alter table %s add c%d text"
        has(fastpg.class_source(X), column .. " text")
        column = change "alter table %s add c%d int[]"
        has(tostring(X(t()[1])), column .. "=nil)")
        change "alter table %s rename id to no"
        has(fastpg.class_source(X), '"no integer"')
        has(fails(X, { id = 1 }), 'no field "id"')
        change "alter table %s drop c1, add c%d int"
        assert.is_nil(fastpg.class_source(X):find("c1 ", 1, true))
        has(fails(X, db:first("select *, 1 as nn from " .. t)), 'no field "nn" (did you mean "no"?)')
        has(fails(X, { c1 = 1 }), 'no field "c1"')
      end
      other:close()
    end)

    it("follows a table that is renamed, whoever does it, and one that is moved to another schema", function()
      local other = pg.db()
      db:execute "drop schema if exists elsewhere cascade; create schema elsewhere"
      for i, by in ipairs{ db, other } do
        for _, use in ipairs{ false, true } do
          local was, now = ("was_%d_%s"):format(i, tostring(use)), ("now_%d_%s"):format(i, tostring(use))
          db:execute(("create table %s (id int); insert into %s values (1)"):format(was, was))
          local X = db.t[was]:class()
          by:execute(("alter table %s rename to %s"):format(was, now))
          if use then assert.equal(X, db.t[now]:class()) end
          other:execute(("alter table %s add more int default 7"):format(now))
          has(tostring(X(db:first("select * from " .. now))), "more=7)")
          has(fastpg.class_source(X), ('table = "%s"'):format(now))
          has(tostring(X{ more = 2 }), "(more=2)")
          by:execute(("alter table %s set schema elsewhere"):format(now))
          other:execute(("alter table elsewhere.%s add moved int"):format(now))
          has(tostring(X{ moved = 2 }), "(moved=2)")
          has(fastpg.class_source(X), ('table = "%s", schema = "elsewhere"'):format(now))
          -- one of the name it had is another
          db:execute(("drop table elsewhere.%s; create table %s (id int, anew int)"):format(now, was))
          assert.equal(0, #db.t[was])
        end
      end
      other:close()
      db:execute "drop schema elsewhere"
    end)

    it("one that was made in a transaction, or by hand, takes the rows of its table", function()
      db:execute "create table follow_tx (id int); create table by_hand (id int); insert into by_hand values (1)"
      local Made
      db:transaction(function(tx) Made = tx.t.follow_tx:class() end)
      local Hand = fastpg.class("ByHand", { "id int" })
      db:link_classes{ Hand }
      db:execute "alter table follow_tx add more int; alter table by_hand add more int default 2"
      assert.equal("FollowTx(more=1)", tostring(Made{ more = 1 }))
      assert.equal("ByHand(id=1, more=2)", tostring(Hand(db:first "select * from by_hand")))
      assert.equal("ByHand(id=1, more=2)", tostring(Hand(db.t.by_hand()[1])))
      has(fails(Hand, db:first "select *, 3 as moor from by_hand"), 'ByHand has no field "m')
      has(fails(Hand, { more = 1 }), 'ByHand has no field "more"') -- what it has is said by hand
      assert.is_nil(fastpg.class_source(Hand):find("more", 1, true))
      pcall(db.transaction, db, function(tx)
        pcall(tx.q, tx, "select 1/0")
        has(fails(Made, { mor = 1 }), 'no field "mor" (did you mean "more"?)') -- nothing can be asked there
      end)
    end)

    it("is what it was where nothing can be asked", function()
      local gone = pg.db()
      local Artist = gone.t.artist:class()
      local source = fastpg.class_source(Artist)
      gone:close()
      assert.equal(source, fastpg.class_source(Artist))
      has(fails(Artist, { nam = 1 }), 'no field "nam" (did you mean "name"?)')
      db:execute "create table short_lived (id int)"
      local Short = db.t.short_lived:class()
      db:execute "drop table short_lived"
      assert.equal("ShortLived(id=1)", tostring(Short{ id = 1 }))
      has(fails(Short, { more = 1 }), 'no field "more"')
      has(fastpg.class_source(Short), "id integer")
    end)
  end)

  describe("names", function()
    local names = require "fastpg.class.class"
    it("from table to class", function()
      for given, wanted in pairs{
        artist = "Artist", invoice_line = "InvoiceLine", ["a b"] = "AB", ["2fast"] = "_2fast",
          HTTPServer = "HTTPServer",
        ["--"] = "Table", ["_x__y_"] = "XY", ["été"] = "été", ["we\"ird]]"] = "WeIrd", ["end"] = "End",
      } do assert.equal(wanted, names.camel(given)) end
    end)
    it("from class to table", function()
      for given, wanted in pairs{
        Artist = "artist", OwnerThing = "owner_thing", HTTPServer = "http_server", Dog2Cat = "dog2_cat", A = "a",
        already_snake = "already_snake", MyHTTP = "my_http", My_Thing = "my_thing",
      } do assert.equal(wanted, names.snake(given)) end
    end)
  end)

  describe("instances", function()
    local Artist
    setup(function() Artist = db.t.artist:class() end)

    it("hold what they are given", function()
      local a = Artist{ name = "X" }
      assert.equal("Artist(name='X')", tostring(a))
      assert.equal("X", a.name)
      assert.is_nil(a.artist_id)
      assert.equal("Artist()", tostring(Artist()))
      assert.equal("Artist()", tostring(Artist{}))
      assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(Artist{ name = "AC/DC", artist_id = 1 }))
      assert.equal("Artist(name=null)", tostring(Artist{ name = fastpg.null }))
    end)

    it("are fresh tables", function()
      local given = { name = "X" }
      local a = Artist(given)
      a.name = "Y"
      assert.equal("X", given.name)
      assert.is_nil(getmetatable(given))
      local b = Artist(a)
      b.name = "Z"
      assert.equal("Artist(name='Y')", tostring(a))
      assert.equal("Artist(name='Z')", tostring(b))
    end)

    it("know their fields", function()
      has(fails(Artist, { nme = 1 }), 'Artist has no field "nme" (did you mean "name"?)')
      has(fails(Artist, { 1 }), "fields have names")
      has(fails(Artist, "x"), "got string")
      has(fails(Artist, nil), "got nil")
      has(fails(Artist, { name = "a" }, 2), "2 arguments")
      has(fails(Artist, Artist), "got a class")
      has(fails(Artist, db.t.artist()), "list of rows")
      has(fails(function() return Artist{ name = "X" }.nme end), '"nme"')
      has(fails(Artist, { nme = 1 }), "class_spec.lua:")
    end)

    it("leave out what is unset when they are written", function()
      local inserted = db.t.artist:insert(Artist{ name = "New" })
      assert.equal("New", inserted.name)
      local updated = db.t.artist:update(Artist{ artist_id = inserted.artist_id })
      assert.equal("New", updated.name)
      updated = db.t.artist:update(Artist{ artist_id = inserted.artist_id, name = fastpg.null })
      assert.is_nil(updated.name)
      db.t.artist:delete(inserted.artist_id)
    end)

    it("copied from a row know what it was selected with", function()
      local row = db.t.artist:insert{ name = "gone" }
      row.name = nil
      local copy = Artist(row)
      assert.equal(("Artist(artist_id=%d, name=nil)"):format(row.artist_id), tostring(copy))
      assert.is_nil(db.t.artist:update(copy).name)
      db.t.artist:delete(row.artist_id)
      local narrow = Artist(db:first "select artist_id from artist order by 1")
      assert.equal("Artist(artist_id=1)", tostring(narrow))
      assert.equal("AC/DC", db.t.artist:update(narrow).name)
      has(fails(Artist, db:first "select 1 as artist_idd"), '"artist_idd" (did you mean "artist_id"?)')
    end)
  end)

  describe("methods", function()
    it("are seen by rows and instances", function()
      local artist = db.t.artist
      local Artist = artist:class()
      function Artist:shout() return (self.name or "nobody"):upper() end
      Artist.kind = "music"
      assert.equal("ACCEPT", artist[2]:shout())
      assert.equal("NOBODY", artist[3]:shout())
      assert.equal("X", Artist{ name = "x" }:shout())
      assert.equal("music", artist[1].kind)
      assert.equal("AC/DC", Artist(db:first "select * from artist order by 1"):shout())
      Artist.shout, Artist.kind = nil, nil
      has(fails(function() return artist[1].shout end), '"shout"')
    end)

    it("never hide a column", function()
      local artist = db.t.artist
      local Artist = artist:class()
      Artist.name = function() return "the method" end
      assert.equal("Accept", artist[2].name)
      assert.is_nil(artist[3].name)
      assert.is_nil(Artist{ artist_id = 1 }.name)
      Artist.name = nil
    end)

    it("may come from a class above", function()
      local artist = db.t.artist
      getmetatable(artist:class()).__index = { whisper = function(self) return self.name:lower() end }
      assert.equal("ac/dc", artist[1]:whisper())
      getmetatable(artist:class()).__index = nil
    end)
  end)

  describe("made by hand", function()
    it("takes fields in order", function()
      local Dog = fastpg.class("Dog", { "id int", "name text", { name = "ag e", type = "int" } })
      assert.equal("Dog", tostring(Dog))
      assert.equal("Dog(id=1, name='Rex', ag e=3)", tostring(Dog{ ["ag e"] = 3, name = "Rex", id = 1 }))
      assert.equal("Dog(w=1.0)", tostring(fastpg.class("Dog", { "w float" }){ w = 1 }))
      assert.equal(0, #fields_of(fastpg.class_source(fastpg.class("Nothing", {}))))
    end)

    it("refuses what is no field", function()
      has(fails(fastpg.class, 1, {}), "a name expected, got number")
      has(fails(fastpg.class, "", {}), "a name expected")
      has(fails(fastpg.class, "a\nb", {}), "a name expected")
      has(fails(fastpg.class, "X", "id int"), "got string")
      has(fails(fastpg.class, "X", { "id" }), '"name type" expected, got "id"')
      has(fails(fastpg.class, "X", { id = "int" }), "the key id")
      has(fails(fastpg.class, "X", { 5 }), "field 1")
      has(fails(fastpg.class, "X", { { name = "a", typ = "int" } }), '"typ" (did you mean "type"?)')
      has(fails(fastpg.class, "X", { "a int", "a text" }), '"a" is there twice')
      has(fails(fastpg.class, "X", { "a int" }, { tabel = "x" }), '"tabel" (did you mean "table"?)')
    end)

    it("refuses what is no type", function()
      for _, bad in ipairs{
        "int; drop table x", "int)", "int)--", "int /* */", "text default 'x'", "int primary key", "int not null",
        "int--",
        "numeric(5,--2)", "numeric(5", "numeric((5))", "'int'", 'a"b', '""', '"a', "a..b", ".a", "a.", "int[", "int[x]",
        "int]", "int[] text", "5", "$1", "int,b int", "varchar(1)(2)", "int generated always as (1) stored",
        "timestamp with zone", "double precisely", "int check", "int\ntext", "numeric(')')", "a b", "double(3)",
      } do
        has(fails(fastpg.class, "X", { { name = "a", type = bad } }), "is not the name of a type")
      end
    end)

    it("passes every type's name on", function()
      for _, good in ipairs{
        "int", "numeric(10,2)", "numeric(5, -2)", "varchar(20)[]", "character varying(5)",
        "timestamp(3) with time zone",
        "time without time zone", "interval day to second(3)", "double precision[]", "int[3][3]", "int array[4]",
        "int array",
        "public.mood", '"My Type"', 'sch."t""x"', '"a; drop table x; --"', "geometry(Point,4326)", "bit varying(3)",
        "über",
        '"char"', '""""', "pg_catalog.int4",
      } do
        local cls = fastpg.class("X", { { name = "a", type = good } })
        has(fastpg.class_source(cls), (good:gsub('"', '\\"')))
      end
    end)
  end)

  describe("lua_type", function()
    it("names the Lua type", function()
      for given, wanted in pairs{
        ["character varying(120)"] = "string", integer = "integer", bigint = "integer", smallint = "integer",
        boolean = "boolean",
        real = "number", ["double precision"] = "number", numeric = "fastpg.numeric",
          ["numeric(10,2)"] = "fastpg.numeric",
        text = "string", uuid = "string", bytea = "string", ["bit varying(4)"] = "string", date = "fastpg.date",
        ["timestamp without time zone"] = "fastpg.timestamp", ["timestamp(3) with time zone"] = "fastpg.timestamptz",
        ["time with time zone"] = "fastpg.timetz", ["interval day to second(2)"] = "fastpg.interval", jsonb = "any",
        json = "any",
        ["integer[]"] = "integer[]", ["text[][]"] = "string[][]", ["numeric(3,1)[]"] = "fastpg.numeric[]",
        mood = "string",
        ["public.mood"] = "string", int4range = "fastpg.range", tsmultirange = "fastpg.multirange",
        ['"char"'] = "string",
        point = "table", hstore = "table<string, string>", int = "integer", str = "string", ["INTEGER"] = "integer",
        ["pg_catalog.int4"] = "integer", ['"integer"'] = "string",
      } do assert.equal(wanted, fastpg.lua_type(given), given) end
    end)
    it("knows every built-in type", function()
      for _, row in ipairs(db:q[[select format_type(oid, null) as t, typcategory::text as c from pg_type
          where typtype = 'b' and typnamespace = 'pg_catalog'::regnamespace and typcategory in ('N', 'B', 'D', 'T',
            'A')]]) do
        local lua_type = fastpg.lua_type(row.t)
        if row.c == "A" then
          if row.t:find "%[%]" then assert.is_truthy(lua_type:find "%[%]$", row.t) end
        elseif row.c == "D" or row.c == "T" then
          assert.is_truthy(lua_type:find "^fastpg%.", row.t)
        elseif row.c == "B" then
          assert.equal("boolean", lua_type)
        elseif not row.t:find "^reg" and row.t ~= "money" then
          assert.is_truthy(lua_type ~= "string", row.t)
        end
      end
    end)
    it("wants a name", function() has(fails(fastpg.lua_type, 1), "got number") end)
  end)

  describe("namespaces", function()
    it("set_classes reads", function()
      local ns = { Album = fastpg.class("Album", { "album_id int", "title text", "artist_id int" }),
        Artist = "no class",
        Nonsense = fastpg.class("Nonsense", { "id int" }) }
      local linked = db:set_classes(ns)
      assert.equal(ns.Album, linked.Album)
      assert.is_nil(linked.Artist)
      assert.is_nil(linked.Nonsense)
      assert.equal(ns.Album, db.t.album.cls)
      assert.equal("Album(album_id=1, title='For Those About To Rock', artist_id=1)",
        tostring(db.t.album{ limit = 1 }[1]))
      has(fails(db.set_classes, db), "got nil")
    end)

    it("set_classes and get_tables in a strict namespace", function()
      local ns = setmetatable({}, {
        __index = function(_, k) error("undefined " .. k) end, __newindex = function(_, k) error("assign " .. k) end })
      assert.same({}, db:set_classes(ns))
      local written = db:get_tables(ns)
      assert.equal("artist", written.artists.name)
      assert.equal(rawget(ns, "artists"), written.artists)
    end)

    it("get_tables writes and overwrites nothing", function()
      local ns = setmetatable({ albums = "mine" }, { __index = { invoice_lines = "inherited" } })
      local written = db:get_tables(ns)
      assert.equal("mine", ns.albums)
      assert.equal("inherited", ns.invoice_lines)
      assert.is_nil(written.albums)
      assert.equal(db.t.artist, ns.artists)
      assert.equal("Mixed Case", ns["mixed cases"].name)
      assert.equal("AC/DC", ns.artists[1].name)
      has(fails(db.get_tables, db, 5), "got number")
    end)

    it("table2glb writes both", function()
      db:execute "create table cat (id SERIAL PRIMARY KEY, name TEXT, weight REAL, uid INTEGER)"
      local ns = {}
      local written = db:table2glb("cat", ns)
      assert.equal(ns.cats, written.cats)
      assert.equal(ns.Cat, written.Cat)
      assert.equal("Cat", tostring(ns.Cat))
      assert.equal('"cat"', tostring(ns.cats))
      local c = ns.cats:insert{ name = "meow", weight = 6, uid = 2 }
      assert.equal("Cat(id=1, name='meow', weight=6.0, uid=2)", tostring(c))
      c.name, c.uid = "moo", 1
      assert.equal("Cat(id=1, name='moo', weight=6.0, uid=1)", tostring(c))
      assert.equal("Cat(id=1, name='moo', weight=6.0, uid=1)", tostring(ns.cats:update(c)))
      assert.equal("Cat(id=1, name='moo', weight=6.0, uid=1)", tostring(ns.cats:delete(c.id)))
      assert.equal("Cat(name='x', weight=1.0)", tostring(ns.Cat{ name = "x", weight = 1 }))
      assert.same({}, db:table2glb("cat", ns))
      local other = { Cat = 1 }
      assert.is_nil(db:table2glb("cat", other).Cat)
      assert.equal(1, other.Cat)
      -- the table is another one now
      db:execute "drop table cat; create table cat (id int, colour text)"
      assert.equal("Cat(colour='red')", tostring(db:table2glb("cat", {}).Cat{ colour = "red" }))
      has(fails(db.table2glb, db, "catt", {}), 'does not exist (did you mean "cat"?)')
      has(fails(db.table2glb, db, "cat"), "table2glb: a namespace")
      has(fails(db.table2glb, db, 1, {}), "a table's name expected")
    end)
  end)

  describe("all_classes", function()
    it("gives each table a class and loses none", function()
      local fresh = pg.db()
      local classes = fastpg.all_classes(fresh)
      assert.equal(classes.Artist, fresh.t.artist.cls)
      assert.is_nil(classes.Loud)
      local seen = {}
      for name in pairs(classes) do seen[#seen + 1] = name end
      assert.equal(#fresh:tables(), #seen)
      assert.equal(classes.AB, fresh.t["a b"].cls)
      assert.equal(classes.AB3, fresh.t.a_b.cls)
      assert.equal(classes.AB2, fresh.t.AB2.cls)
      assert.is_truthy(fastpg.all_classes(fresh, { with_views = true }).Loud)
      assert.equal(classes.AB3, fastpg.all_classes(fresh).AB3)
      fresh:close()
    end)

    it("takes options", function()
      local fresh = pg.db()
      local classes = fastpg.all_classes(fresh, { store = false, suf = "DC" })
      assert.equal("ArtistDC", tostring(classes.ArtistDC))
      assert.is_nil(fresh.t.artist.cls)
      classes = fastpg.all_classes(fresh, { suf = "DC" })
      assert.equal(classes.ArtistDC, fresh.t.artist.cls)
      assert.equal(classes.ArtistDC, fastpg.all_classes(fresh).ArtistDC)
      has(fails(fastpg.all_classes, fresh, { sufix = "x" }), '"sufix" (did you mean "suf"?)')
      has(fails(fastpg.all_classes, {}), "a database expected")
      fresh:close()
    end)
  end)

  describe("link_classes", function()
    it("links by table and by name", function()
      local fresh = pg.db()
      local map = {
        fastpg.class("Artist", { "artist_id int", "name text" }),
        Any = fastpg.class("Record", { "album_id int" }, { table = "album" }),
        Gone = fastpg.class("Gone", { "id int" }),
      }
      local linked = fresh:link_classes(map)
      assert.same({ Artist = map[1], Record = map.Any }, linked)
      assert.equal(map[1], fresh.t.artist.cls)
      assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(fresh.t.artist[1]))
      assert.equal("Record", tostring(fresh.t.album.cls))
      has(fails(fresh.link_classes, fresh, true), "got boolean")
      has(fails(fresh.link_classes, fresh, { Artist = map[1], X = 1 }), 'got number as "X" (db:set_classes')
      has(fails(fresh.link_classes, fresh, { map[1], "album" }), "got string as [2]")
      has(fails(fresh.link_classes, fresh, { Artist = { "artist_id int" } }), 'got table as "Artist"')
      db:execute "create table seen_late (id int)" -- after the tables were listed
      assert.equal(map[1], fresh:link_classes(map).Artist)
      local Late = fastpg.class("SeenLate", { "id int" })
      assert.same({ SeenLate = Late }, fresh:link_classes{ Late })
      assert.equal(Late, fresh.t.seen_late.cls)
      db:execute "drop table seen_late"
      has(fails(fastpg.database().link_classes, fastpg.database(), {}), "not connected")
      fresh:close()
    end)

    it("links a table of another schema", function()
      local fresh = pg.db()
      fresh:execute "create schema sales; create table sales.orders (id int)"
      local Orders = fastpg.class("Orders", { "id int" }, { table = "orders", schema = "sales" })
      assert.same({ Orders = Orders }, fresh:link_classes{ Orders })
      assert.equal(Orders, fresh:table("orders", "sales").cls)
      fresh:close()
    end)
  end)
end)
