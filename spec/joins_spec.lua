-- SPDX-License-Identifier: MIT
--
-- Queries over several tables, and what conditions are made of: each result beside plain SQL.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null, sql, op, any, none = fastpg.null, fastpg.sql, fastpg.op, fastpg.any, fastpg.none

local function fails(name, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(name, err.name, tostring(err))
  return tostring(err.message)
end

local SCHEMA = [[
  drop schema if exists trouble cascade; create schema trouble; set search_path to trouble, public;
  create table artist (id int primary key, name text);
  create table album (id int primary key, artist int references artist, title text, "order" int);
  create table track (id int primary key, album int references album, name text, length int, rating float8, tags text[]);
  create table person (id int primary key, name text, boss int references person);
  create table match (id int primary key, home int references person, guest int references person);
  create table part (a int, b int, name text, primary key (a, b));
  create table piece (id int primary key, b int, a int, foreign key (a, b) references part (a, b));
  create table "Odd.Name" ("Key""x" int primary key, "track.name" text, "select" int references artist);
  create table playlist (id int primary key, name text);
  create table playlist_track (playlist int references playlist, track int references track, primary key (playlist, track));
  insert into artist select i, 'artist ' || i from generate_series(1, 5) i;
  insert into album select i, nullif(i % 5, 0), 'album ' || i, i % 3 from generate_series(1, 12) i;
  insert into track select i, 1 + i % 11, 'track ' || i, i * 100, i / 2.0, array['t' || i % 3, 'all'] from generate_series(1, 60) i;
  insert into person values (1, 'top', null), (2, 'mid', 1), (3, 'low', 2), (4, 'low too', 2);
  insert into match values (1, 1, 2), (2, 3, 4);
  insert into part values (1, 1, 'one'), (1, 2, 'two'); insert into piece values (1, 2, 1), (2, 1, 1), (3, null, 1);
  insert into "Odd.Name" values (1, 'x', 1), (2, 'y', null);
  insert into playlist values (1, 'all'), (2, 'none'); insert into playlist_track select 1, i from generate_series(1, 60, 2) i]]

describe("queries over several tables:", function()
  local db, t

  setup(function()
    db = pg.db()
    db:execute(SCHEMA)
    t = db.t
  end)
  teardown(function()
    db:execute "drop schema trouble cascade"
    db:close()
  end)

  local function ids(rows)
    local list = {}
    for i, row in ipairs(rows) do list[i] = row.id end
    return list
  end
  local function plain(text, ...) return ids(db:q(text, ...)) end

  describe("conditions", function()
    local function track(cond, ...) return ids(t.track:where(cond, ...):order_by("id")()) end

    it("fragments carry their values, nested at will", function()
      local long = sql("length > ?", 5000)
      assert.same(plain "select id from track where length > 5000 or (name like '%9' and rating < 10) order by id",
        track(sql("? or ?", long, sql("name like :n and rating < ?", 10, { n = "%9" }))))
      assert.same({ 59 }, ids(t.track:where(long):where("id = ?", 59):where{ name = "track 59" }()))
      local q = t.track:where("id > ?", 3):where(sql("length between ? and ?", 1, 900)):where{ id = { 4, 5, 90 } }
      assert.equal('SELECT * FROM "track" WHERE (id > $1) AND (length between $2 and $3) AND "id" = ANY($4)', tostring(q))
      assert.same({ 4, 5 }, ids(q:order_by("id")()))
    end)

    it("one value that is named twice is sent once", function()
      assert.equal('SELECT * FROM "track" WHERE id > $1 or -id > $1', tostring(t.track:where(sql("id > :x or -id > :x", { x = 1 }))))
    end)

    it("operators", function()
      local cases = {
        { { id = op(">=", 58) }, "id >= 58" }, { { name = op("ilike", "TRACK 1%") }, "name ilike 'TRACK 1%'" },
        { { name = op("not like", "%1%") }, "name not like '%1%'" }, { { tags = op("@>", { "t1" }) }, "tags @> '{t1}'" },
        { { id = op("between", { 3, 5 }) }, "id between 3 and 5" }, { { id = op("not between", { 3, 55 }) }, "id not between 3 and 55" },
        { { id = op("not in", { 1, 2 }) }, "id not in (1, 2)" }, { { id = op("in", {}) }, "false" }, { { id = op("not in", {}) }, "true" },
        { { id = op("= any", { 1, 9 }) }, "id in (1, 9)" }, { { id = op("<> all", { 1, 9 }) }, "id not in (1, 9)" },
        { { id = op("=", { 1, 9 }) }, "id in (1, 9)" }, { { rating = op("<>", null) }, "rating is not null" },
        { { rating = op("=", null) }, "rating is null" }, { { name = op("~", "9$") }, "name ~ '9$'" },
        { { name = op("similar to", "%(7|8)") }, "name similar to '%(7|8)'" }, { { id = op("is distinct from", 4) }, "id is distinct from 4" },
        { { album = op("is not", null) }, "album is not null" }, { { id = op("operator(pg_catalog.=)" == "" and "=" or "=", 7) }, "id = 7" },
        { { length = op(">", sql("id * ?", 99)) }, "length > id * 99" }, { { length = t.track.c.id }, "length = id" },
        { { [t.track.c.id] = op("<", 3), name = op("<>", "x") }, "id < 3" }, { { id = { 3, sql "2 + 2" } }, "id in (3, 4)" },
        { { id = op("in", t.track:where{ album = 3 }:select("id")) }, "id in (select id from track where album = 3)" },
        { { album = t.album:where{ title = "album 4" }:select("id") }, "album = 4" },
      }
      for _, case in ipairs(cases) do
        assert.same(plain("select id from track where " .. case[2] .. " order by id"), track(case[1]), case[2])
      end
    end)

    it("any and none, nested", function()
      local a, b = { id = op("<", 5), album = op(">", 2) }, { rating = null }
      assert.same(plain "select id from track where (id < 5 and album > 2) or rating is null or (length > 5000 and name like '%9') order by id",
        track(any{ a, b, { sql("length > ?", 5000), name = op("like", "%9") } }))
      assert.same(plain "select id from track where not (id < 50 or not (album = 3 or album = 4)) order by id",
        track(none{ { id = op("<", 50) }, none{ { album = 3 }, { album = 4 } } }))
      assert.same({ 3 }, track{ any{ { id = 3 }, { id = 4 } }, name = "track 3" })
    end)

    it("of wrong kinds are errors at the call", function()
      for _, bad in ipairs{ "", "foo", ">= 1 or", "--", "a = b", "like 'x'", ";", "(" } do fails("invalid_argument", op, bad, 1) end
      fails("invalid_argument", op, ">", nil)
      assert.matches("never true", fails("invalid_argument", op, ">", null))
      assert.matches("item 2 is NULL", fails("invalid_argument", op, "not in", { 1, null }))
      fails("invalid_argument", op, "between", { 1 })
      fails("invalid_argument", op, "between", { 1, 2, 3 })
      fails("invalid_argument", op, "is", 3)
      fails("invalid_argument", any, {})
      fails("invalid_argument", any, { {}, { a = 1 } })
      fails("invalid_argument", none, { [1] = { a = 1 }, [3] = { b = 2 } })
      fails("invalid_argument", none, { "a = 1" })
      fails("invalid_argument", sql, "a = ?")
      fails("invalid_argument", sql, "a = ?", 1, 2)
      fails("invalid_argument", sql, "a = :n", { m = 1 })
      assert.matches("values", fails("invalid_argument", function() return sql("a") .. "b" end))
      fails("undefined_column", function() return t.track:where(any{ { nme = 1 } })() end)
      fails("invalid_argument", function() return t.track:where{ [t.album.c.id] = 1 }() end)
    end)

    it("are the query's: what the caller changes later is not seen", function()
      local list, map = { 1, 2 }, { id = 3 }
      local q = t.track:where(any{ { id = op("in", list) }, map })
      list[1], map.id = 50, 60
      assert.same({ 1, 2, 3 }, ids(q:order_by("id")()))
    end)

    it("db:q and its like take fastpg.sql", function()
      assert.equal(60, db:item(sql("select count(*) from track where id <= ?", 60)))
      assert.same({ 1, 2 }, ids(db:q(sql("select id from track where id in ? order by id", t.track:where("id < ?", 3):select("id")))))
      assert.equal("UPDATE 0", db:execute(sql("update track set id = id where id = ?", 0)))
      local seen = 0
      for _ in db:each(sql("select * from track where id < ?", 4)) do seen = seen + 1 end
      assert.equal(3, seen)
      fails("invalid_argument", db.q, db, sql("select 1"), 1)
    end)
  end)

  describe("joins", function()
    it("by the one foreign key, from any table that is there", function()
      local q = t.track:join("album"):join("artist"):where{ ["artist.name"] = "artist 2" }:order_by("album.title desc", "id")
      assert.same(plain [[select track.id from track join album on album.id = track.album join artist on artist.id = album.artist
        where artist.name = 'artist 2' order by album.title desc, track.id]], ids(q()))
      assert.equal(#q(), q:count())
      assert.is_true(q:exists())
      local row = q:first()
      row.name = "changed"
      assert.equal("changed", t.track:update(row).name) -- a row of track
    end)

    it("select, group, having", function()
      local rows = t.artist:left_join("album"):select{ "artist.id", n = sql "count(album.id)" }:group_by("artist.id")
        :having("count(album.id) >= ?", 0):order_by("n desc", "artist.id")()
      assert.same(plain [[select artist.id from artist left join album on album.artist = artist.id group by 1
        order by count(album.id) desc, artist.id]], ids(rows))
      assert.equal(5, t.artist:left_join("album"):select{ "artist.id", n = sql "count(*)" }:group_by("artist.id"):count())
    end)

    it("to itself and by one of several keys: the error says how", function()
      assert.matches("as = ", fails("invalid_argument", t.person:join("person").all, t.person:join("person")))
      assert.same({ 3, 4 }, ids(t.person:join("person", { on = "boss", as = "b" }):where{ ["b.name"] = "mid" }:order_by("id")()))
      assert.same({ 1, 2, 2 }, ids(t.person:join("person", { on = "r.boss", as = "r" }):order_by("id")()))
      local message = fails("invalid_argument", t.match:join("person").all, t.match:join("person"))
      assert.matches("match.home", message)
      assert.matches("match.guest", message)
      local q = t.match:join("person", { on = "home", as = "h" }):join("person", { on = "guest", as = "g" })
      assert.same({ { "top", "mid" }, { "low", "low too" } }, (function()
        local list = {}
        for i, row in ipairs(q:order_by("match.id"):pluck("h.name", "g.name")) do list[i] = { row[1], row[2] } end
        return list
      end)())
      fails("invalid_argument", function() return t.artist:join("person")() end)
    end)

    it("compound keys, odd names", function()
      assert.same({ 1, 2 }, ids(t.piece:join("part"):order_by("id")()))
      local odd = db.t["Odd.Name"]
      assert.equal(1, #odd:join("artist"):where{ ["artist.name"] = "artist 1" }())
      assert.equal("x", odd:join("artist"):where{ ["track.name"] = "x" }:pluck("track.name")[1])
      assert.equal(1, t.artist:join("Odd.Name"):where{ ["Odd.Name.track.name"] = "x" }:count())
      assert.equal(2, t.album:where{ order = 1 }:join("artist"):where{ ["album.order"] = 1, ["artist.id"] = { 1, 2 } }:count())
    end)

    it("exists and missing double nothing", function()
      assert.same(plain "select id from artist where exists (select from album where artist = artist.id and title like '%1%') order by id",
        ids(t.artist:where_exists("album", "title like ?", "%1%"):order_by("id")()))
      assert.same({ 5 }, ids(t.artist:where_missing("album")()))
      assert.same({ 12 }, ids(t.album:where_missing("track")()))
      assert.same({ 1, 2 }, ids(t.person:where_exists("person", sql "true", { on = "r.boss", as = "r" }):order_by("id")()))
    end)

    it("queries as tables", function()
      local counts = t.track:select{ "album", n = sql "count(*)" }:group_by("album")
      assert.equal(5, fastpg.from(counts, "c"):where{ n = 6 }:count())
      assert.same({ 1, 7 }, ids(t.album:join(fastpg.from(counts, "c"), { on = sql "c.album = album.id" }):order_by("c.n", "id"):limit(2)()))
      assert.equal(11, t.album:cte("c", counts):join("c", { on = sql "c.album = album.id" }):count())
      local both = t.artist:where{ id = 1 }:union(t.artist:where{ id = { 1, 2 } })
      assert.same({ 1, 2 }, ids(both:order_by("id")()))
      assert.equal(3, t.artist:where{ id = 1 }:union_all(t.artist:where{ id = { 1, 2 } }):count())
      assert.same({ 2 }, ids(both:where{ id = 2 }()))
    end)

    it("update and delete", function()
      local rows = t.track:join("album"):where{ ["album.title"] = "album 2" }:update{ name = sql("album.title || ?", "!") }
      assert.equal("album 2!", rows[1].name)
      assert.equal(db:item "select count(*) from track where album = 2", #rows)
      assert.equal(6, t.track:join("album"):where{ ["album.id"] = 2 }:update({ rating = 0 }, { returning = false }))
      assert.same({ 1 }, ids(t.track:where{ id = 1 }:update({ rating = 1 }, { returning = { "id" } })))
      assert.equal(2, #t.track:order_by("id"):limit(2):update{ rating = 5 })
      local tx = db:begin()
      assert.equal(1, #tx.t.album:left_join("track"):where{ ["track.id"] = null }:delete())
      tx:rollback()
    end)

    it("locks need a transaction", function()
      fails("no_active_sql_transaction", function() return t.artist:for_update()() end)
      db:transaction(function()
        assert.equal(1, #t.artist:where{ id = 1 }:join("album"):where{ ["album.id"] = 1 }:for_update{ nowait = true }())
      end)
    end)

    it("values: pluck, map, item", function()
      assert.same({ "artist 1", "artist 2" }, t.artist:order_by("id"):limit(2):pluck("name"))
      assert.same({ [1] = "artist 1", [2] = "artist 2" }, t.artist:where("id < 3"):map("id", "name"))
      fails("not_unique", function() return t.track:map("album", "id") end)
      assert.equal(15, t.artist:item("sum(id)"))
      assert.equal(3, t.artist:order_by("id"):limit(2):item("sum(id)"))
      assert.equal(11, t.track:select("album"):distinct():count())
    end)
  end)

  describe("with", function()
    it("gives what nested selects give", function()
      local rows = t.album{ order_by = "id", with = { artist_row = "artist", "track" } }
      for _, row in ipairs(rows) do
        local artist = db:first("select * from artist where id = ?", row.artist)
        assert.equal(artist and artist.name, row.artist_row and row.artist_row.name)
        assert.same(plain("select id from track where album = ? order by id", row.id), ids(row.track))
      end
    end)

    it("limits, conditions, orders, counts, nested", function()
      local rows = t.artist{ order_by = "id", with = { albums = { "album.artist", order_by = "title desc", limit = 2,
        with = { long = { "track.album", where = "length > ?", args = { 1000 }, select = { "id", "name" }, order_by = { "id" } },
          tracks = { "track.album", count = true } } } } }
      for _, row in ipairs(rows) do
        assert.same(plain("select id from album where artist = ? order by title desc limit 2", row.id), ids(row.albums))
        for _, album in ipairs(row.albums) do
          assert.same(plain("select id from track where album = ? and length > 1000 order by id", album.id), ids(album.long))
          assert.equal(db:item("select count(*) from track where album = ?", album.id), album.tracks)
        end
      end
    end)

    it("many to many, compound keys, self references", function()
      local lists = t.playlist{ order_by = "id", with = { "track" } }
      assert.equal(30, #lists[1].track)
      assert.equal(0, #lists[2].track)
      local two = t.playlist:get(1, { with = { songs = { table = "track", through = "playlist_track", limit = 2, order_by = "id desc" } } })
      assert.same({ 59, 57 }, ids(two.songs))
      local pieces = t.piece{ order_by = "id", with = { "part" } }
      assert.equal("two", pieces[1].part.name)
      assert.equal("one", pieces[2].part.name)
      assert.is_nil(pieces[3].part)
      local people = t.person{ order_by = "id", with = { chief = "boss", team = "person.boss" } }
      assert.is_nil(people[1].chief)
      assert.equal("mid", people[3].chief.name)
      assert.same({ 3, 4 }, ids(people[2].team))
      assert.equal("top", t.match:get(1, { with = { h = "home" } }).h.name)
    end)

    it("is in what cjson writes, but for NULLs and empty lists, which to_json writes", function()
      local ok, cjson = pcall(require, "cjson")
      if not ok then pending "lua-cjson is not installed for this Lua" return end
      local rows = t.album{ where = { id = { 1, 2 } }, order_by = "id", select = { "id", "title", "artist" },
        with = { maker = "artist", tracks = { "track.album", select = { "id", "album" }, order_by = "id", limit = 2 } } }
      for _, text in ipairs{ cjson.encode(rows), fastpg.to_json(rows) } do
        local read = cjson.decode(text)
        assert.equal(2, #read)
        for i, row in ipairs(rows) do
          assert.equal(row.id, read[i].id)
          assert.equal(row.maker and row.maker.name, read[i].maker and read[i].maker.name)
          assert.same(ids(row.tracks), ids(read[i].tracks))
        end
      end
    end)

    it("marks its fields", function()
      local row = t.album:get(1, { with = { artist_row = "artist", "track" } })
      assert.matches("artist_row=<1 row> track=<%d+ rows>", tostring(row))
      local counted = t.album:get(1, { with = { tracks = { "track.album", count = true } } })
      assert.matches(" tracks=" .. counted.tracks .. ">$", tostring(counted))
      assert.matches('"track":%[{"id"', fastpg.to_json(row))
      row.title = "new"
      assert.equal("new", t.album:update(row).title)
      fails("undefined_column", function() return row.nothing end)
    end)

    it("names that collide and keys that are not clear are errors", function()
      assert.matches("is a column", fails("invalid_argument", t.album, { with = { "artist" } }))
      assert.matches("home", fails("invalid_argument", t.match, { with = { "person" } }))
      fails("invalid_argument", t.match, { with = { x = "nothing" } })
      fails("invalid_argument", t.artist, { with = { "person" } })
      fails("invalid_argument", t.artist, { with = {} })
      fails("invalid_argument", t.artist, { with = { album = { lmit = 1 } } })
      fails("invalid_argument", t.artist, { with = { album = { count = true, limit = 1 } } })
      fails("invalid_argument", t.track, { select = { "id" }, with = { "playlist_track", alb = "album" } })
    end)

    it("loads into rows that are there", function()
      local rows = t.track:order_by("id"):limit(3)()
      assert.equal(rows, fastpg.load(rows, { alb = { "album", with = { by = "artist" } } }))
      assert.equal("album " .. rows[1].album, rows[1].alb.title)
      assert.equal("artist " .. rows[1].alb.artist, rows[1].alb.by.name)
      fastpg.load(rows[1], "playlist_track")
      assert.equal(1, #rows[1].playlist_track)
      assert.is_not_nil(rows[1].alb)
      fails("invalid_argument", fastpg.load, db:q "select 1 as id", "album")
    end)
  end)

  describe("pages", function()
    local function all_of(q, n)
      local seen, token, pages = {}, nil, {}
      repeat
        local rows, next_token, before = q:page(n, token)
        token = next_token
        for _, row in ipairs(rows) do seen[#seen + 1] = row.id end
        pages[#pages + 1] = { rows = rows, before = before }
      until not token
      return seen, pages
    end

    it("in any order concatenate to the whole, forwards and backwards", function()
      for _, order in ipairs{ { "id" }, { "album desc", "id" }, { "rating", "name desc" }, { "album nulls first", "rating desc nulls last" } } do
        local q = t.track:order_by(order)
        local whole = ids(t.track:order_by((unpack or table.unpack)(order)):order_by((function()
          local list = { (unpack or table.unpack)(order) }
          list[#list + 1] = "id"
          return list
        end)())())
        local seen, pages = all_of(q, 7)
        assert.same(whole, seen, table.concat(order, ", "))
        assert.is_nil(pages[1].before)
        for i = 2, #pages do assert.same(ids(pages[i - 1].rows), ids((q:page(7, pages[i].before)))) end
      end
    end)

    it("of NULLs, of joins", function()
      db:execute "update track set rating = null where id % 4 = 0"
      for _, order in ipairs{ "rating", "rating desc", "rating nulls first", "rating desc nulls last" } do
        assert.same(ids(t.track:order_by(order, "id")()), (all_of(t.track:order_by(order), 7)), order)
      end
      local q = t.track:join("album"):order_by("album.title desc")
      assert.same(ids(t.track:join("album"):order_by("album.title desc", "track.id")()), (all_of(q, 7)))
    end)

    it("stand while rows come and go", function()
      local q = t.artist:order_by("name")
      local _, token = q:page(2)
      db:execute "insert into artist values (0, 'artist 0'), (9, 'artist 3 and a half')"
      local rows, _, before = q:page(2, token)
      assert.same({ 3, 9 }, ids(rows))
      assert.same({ 1, 2 }, ids((q:page(2, before))))
      db:execute "delete from artist where id in (0, 9)"
    end)

    it("tokens belong to their order", function()
      local _, token = t.track:order_by("id"):page(3)
      assert.matches("another order", fails("invalid_argument", function() return t.track:order_by("id desc"):page(3, token) end))
      fails("invalid_argument", function() return t.track:order_by("id"):page(3, "x" .. token) end)
      fails("invalid_argument", function() return t.track:order_by("id"):page(3, "!!") end)
      fails("invalid_argument", function() return t.track:order_by("id"):page(0) end)
      fails("invalid_argument", function() return t.track:order_by("lower(name)"):page(2) end)
      fails("invalid_argument", function() return t.track:select("album"):distinct():page(2) end)
    end)
  end)

  describe("what is written", function()
    it("fragments with values, queries, columns", function()
      assert.equal(70, t.artist:insert{ id = sql("?::int + ?", 60, 10), name = sql("upper(:n)", { n = "abc" }) }.id)
      assert.equal("artist 1", t.artist:insert{ id = 71, name = t.artist:where{ id = 1 }:select("name") }.name)
      assert.equal("ABC!", t.artist:update({ name = sql("name || ?", "!") }, 70).name)
      assert.equal(20, t.album:update({ order = t.album.c.id }, 10).order + 10)
      assert.equal("both", t.artist:upsert{ id = 71, name = sql("lower(?)", "BOTH") }.name)
      t.artist:delete_where{ id = { 70, 71 } }
    end)
  end)

  describe("what is given back", function()
    local count

    before_each(function()
      db:execute [[drop table if exists count; create table count (k text primary key, mail text unique, n int default 1, note text)]]
      count = t.count
      count:insert{ k = "a", mail = "m", n = 1, note = "x" }
    end)

    it("some columns, or the number", function()
      local row = count:insert({ k = "b" }, nil, { returning = { "k", up = sql("upper(k) || ?", "!") } })
      assert.equal("B!", row.up)
      assert.same({ "k", "up" }, fastpg.columns(row))
      assert.equal(1, count:update({ note = "y" }, "a", nil, { returning = false }))
      assert.equal("a", count:delete({ "a" }, { returning = "k" }).k)
      assert.is_true(fastpg.is(select(2, pcall(count.update, count, { n = 1 }, "z", nil, { returning = false })), "not_found"))
      assert.same({ "c", "d" }, (function()
        local list = count:inserts({ { k = "c" }, { k = "d" } }, nil, { returning = { "k" } })
        return { list[1].k, list[2].k }
      end)())
      assert.equal(2, count:upserts({ { k = "c", n = 3 }, { k = "d", n = 3 } }, nil, { returning = false }))
      fails("undefined_column", function() count:insert({ k = "e" }, nil, { returning = { "nme" } }) end)
    end)

    it("an upsert sets what it says, of the rows that it says", function()
      local sum = { on = { "k" }, set = { n = sql "count.n + excluded.n" } }
      assert.equal(6, count:upsert({ k = "a", n = 5 }, nil, sum).n)
      assert.is_nil(count:upsert({ k = "a", n = 5 }, nil, { where = sql("count.n > ?", 100) }))
      assert.equal(7, count:upsert({ k = "a", n = 7 }, nil, { where = { n = op("<", 100) } }).n)
      assert.equal("z", count:upsert({ k = "z", mail = "m" }, nil, { on = { "mail" }, where = sql "true" }).k) -- as without where
      fails("invalid_argument", function() count:upsert({ k = "a" }, nil, { set = {} }) end)
      fails("undefined_column", function() count:upsert({ k = "a" }, nil, { set = { nn = 1 } }) end)
      fails("invalid_argument", function() count:scope{ note = "x" }:upsert({ k = "a" }, nil, { set = { note = "y" } }) end)
    end)

    it("a row that was read is upserted with its NULLs, whatever else is said", function()
      local row = count["a" == "" and 1 or { "a" }]
      row.note, row.n = nil, 9
      local stored = count:upsert(row, nil, { where = sql "true" })
      assert.is_nil(stored.note)
      assert.equal(9, stored.n)
      local part = count:select("k", "n"):first()
      assert.equal(9, count:upsert(part, nil, { where = sql "true" }).n) -- reads no column that it has not
      row.k, row.mail, row.n = "new", "new", nil
      assert.is_nil(count:upsert(row, nil, { set = { n = 0 } }).n)
    end)

    it("rows of a query", function()
      local rows = count:insert_from(t.artist:where("id < 3"):select{ k = "name", n = "id" })
      assert.same({ 1, 2 }, { rows[1].n, rows[2].n })
      assert.equal(1, count:scope{ note = "mine" }:insert_from(t.artist:where{ id = 4 }:select{ k = "name", note = sql "'else'" },
        { returning = false }))
      assert.equal("mine", count{ where = { k = "artist 4" } }[1].note)
      fails("invalid_argument", function() count:insert_from(t.artist:select("name as k")) end)
      fails("undefined_column", function() count:insert_from(t.artist) end)
      fails("invalid_argument", count.insert_from, count, {})
    end)
  end)

  describe("columns of one name", function()
    it("are an error in pages and related rows, too", function()
      fails("duplicate_column", function() t.track:join("album"):select("track.id", "album.id"):page(2) end)
      fails("duplicate_column", function() t.album{ limit = 1, with = { track = { select = { "id", sql "1 as id" } } } } end)
    end)
  end)

  it("a page is read once more where its table changed", function()
    db:execute "create table moves (id int primary key, a int); insert into moves values (1, 1), (2, 2)"
    local q = t.moves:order_by("a")
    q:page(1)
    local other = pg.cluster():connect{ database = db:item "select current_database()::text" }
    other:execute "alter table trouble.moves rename a to b"
    other:close()
    fails("undefined_column", function() q:page(1) end)
    assert.equal(1, #t.moves:order_by("b"):page(1))
    db:execute "drop table moves"
  end)

  it("a stream is of the tables that its statement was made of", function()
    db:execute [[create schema if not exists beside; drop table if exists beside.album; create table beside.album (like trouble.album)]]
    db:acquire(function()
      local q = t.track:join("album"):where{ ["album.id"] = 2 }
      local seen = 0
      for _ in q:each() do seen = seen + 1 end
      assert.is_true(seen > 0)
      for _ in db:each(sql("select ?", t.album:where{ id = 1 }:select("id"))) do seen = seen + 1 end
    end)
    db:execute "drop schema beside cascade"
  end)

  it("a list with a hole is not loaded in part", function()
    local rows = t.track:limit(3)()
    fails("invalid_argument", fastpg.load, { rows[1], nil, rows[3] }, "playlist_track")
  end)

  describe("filters", function()
    local mine

    before_each(function()
      db:execute [[drop table if exists line, bill, shop cascade;
        create table shop (id int primary key, tenant int, name text);
        create table bill (id int primary key, tenant int, shop int references shop, note text);
        create table line (id int primary key, bill int references bill, amount int);
        insert into shop values (1, 7, 'seven'), (2, 8, 'eight');
        insert into bill select i, 7 + i % 2, 1 + i % 2, 'n' || i from generate_series(1, 20) i;
        insert into line select i, 1 + i % 20, i from generate_series(1, 60) i]]
      mine = t.bill:scope{ tenant = 7 }
    end)

    it("confine every table of a statement", function()
      assert.equal(10, mine:join("shop"):count())
      assert.equal(0, mine:join("shop"):where{ ["shop.name"] = "eight" }:count())
      db:execute "update bill set shop = 2 where id = 2" -- a bill of 7 in the shop of 8
      assert.equal(9, mine:join("shop"):count())
      assert.equal(10, mine:left_join("shop"):count())
      assert.is_nil(mine:get(2, { with = { place = "shop" } }).place)
      assert.equal("seven", mine:get(4, { with = { place = "shop" } }).place.name)
      assert.equal(1, mine:where_missing("shop"):count())
    end)

    it("a table without the filter's column is given as a Table", function()
      assert.matches("tenant", fails("invalid_argument", function() return mine:join("line")() end))
      assert.matches("tenant", fails("invalid_argument", function() return mine{ with = { "line" } } end))
      assert.equal(30, mine:join(t.line):count())
      assert.equal(3, #mine:get(2, { with = { lines = t.line } }).lines)
    end)

    it("a Table that has the column and no filter is an error", function()
      fails("invalid_argument", function() return mine:join(t.shop)() end)
      fails("invalid_argument", function() return mine:where{ shop = op("in", t.shop:select("id")) }() end)
      fails("invalid_argument", function() return t.shop:join(mine)() end)
      fails("invalid_argument", function() return t.shop:where{ id = op("in", mine:select("shop")) }() end)
      fails("invalid_argument", function() return mine:union(t.bill:where{ id = 1 })() end)
      fails("invalid_argument", function() return t.bill:where{ id = 1 }:union(mine:where{ id = 2 })() end)
      fails("invalid_argument", function() return t.shop:insert{ id = 9, name = mine:select("note"):limit(1) } end)
      assert.equal(10, mine:join(t.shop:scope{ tenant = 7 }):count())
    end)

    it("fragments of any place are looked at", function()
      for _, bad in ipairs{ "true) or (true", "id in (select 1)", "true --", "true; drop table x" } do
        fails("invalid_argument", function() return mine:where(sql(bad))() end)
        fails("invalid_argument", function() return mine:where(any{ sql(bad), { id = 1 } })() end)
        fails("invalid_argument", function() return mine:where{ id = op("=", sql(bad)) }() end)
        fails("invalid_argument", function() return mine:where(sql("?", sql("true and ?", sql(bad))))() end)
        fails("invalid_argument", function() return mine:select{ x = sql(bad) }() end)
        fails("invalid_argument", function() return mine:group_by("id"):select("id"):having(bad)() end)
        fails("invalid_argument", function() return mine:join("shop", { on = sql(bad) })() end)
        fails("invalid_argument", function() return mine:where_exists("shop", bad)() end)
        fails("invalid_argument", function() return mine{ with = { place = { "shop", where = bad } } } end)
        fails("invalid_argument", function() return mine:where{ id = 2 }:update{ note = sql("? || ?", "x", sql(bad)) } end)
        fails("invalid_argument", function() return mine:where{ id = 2 }:update({ note = "x" }, { returning = { sql(bad) } }) end)
      end
    end)

    it("rows remember them", function()
      db:execute "update bill set shop = 2 where id = 2"
      local rows = mine:order_by("id"):limit(1)()
      assert.is_nil(fastpg.load(rows, { place = "shop" })[1].place)
      assert.is_nil(rawget(rows[1], "place"))
    end)
  end)
end)
