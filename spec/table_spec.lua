-- SPDX-License-Identifier: MIT
--
-- Reading: by key, by call, by options; counting, grouping, iterating.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null, sql = fastpg.null, fastpg.sql

local function fails(name, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(name, err.name, tostring(err))
  return tostring(err)
end

local function pluck(rows, column)
  local values = {}
  for i, row in ipairs(rows) do values[i] = row[column] end
  return values
end

-- What fn prints.
local function printed(fn)
  local lines, real = {}, print
  _G.print = function(...) lines[#lines + 1] = table.concat({ ... }, "\t") end
  local ok, err = pcall(fn)
  _G.print = real
  assert(ok, err)
  return lines
end

describe("a Table:", function()
  local db, artist, users, publication, thing

  setup(function()
    db = pg.db()
    db:execute [[
      create table artist (artist_id int primary key, name varchar(120), kind text, weight float8, total numeric);
      insert into artist values (1, 'AC/DC', 'band', 1.5, 10.50), (2, 'Accept', 'band', null, 20), (3, 'Aerosmith', 'band', 2, 1),
        (4, 'Alanis', 'solo', 3, null), (5, null, null, null, null);
      create table users (name text primary key, email text); insert into users values ('Alma', 'a@x'), ('delete', 'd@x');
      create table publication (title text, authors text, year int, primary key (authors, year));
      insert into publication values ('FastHTML', 'Alma', 2019), ('more', 'Alma', 2030);
      create type mood as enum ('sad', 'ok', 'happy');
      create table thing (id bigint primary key, mood mood, moods mood[], tags text[], numbers int[], doc jsonb, day date, uid uuid, ok boolean);
      insert into thing values
        (1, 'sad', '{sad,ok}', '{a,b}', '{1,2}', '{"a": 1}', '2024-01-02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', true),
        (9007199254740993, 'ok', '{}', '{}', null, '[1, 2]', null, null, false)]]
    artist, users, publication, thing = db.t.artist, db.t.users, db.t.publication, db.t.thing
  end)

  teardown(function() db:close() end)

  describe("by key", function()
    it("a number", function()
      assert.equal("AC/DC", artist[1].name)
      assert.equal("NotFoundError: artist[99]", fails("not_found", function() return artist[99] end))
      assert.is_true(fastpg.is(select(2, pcall(function() return artist[99] end)), fastpg.NotFoundError))
      fails("invalid_argument", function() return artist[1.5] end)
    end)

    it("a text key in braces", function()
      assert.equal("a@x", users[{ "Alma" }].email)
      assert.equal("d@x", users[{ "delete" }].email)
      assert.is_function(users["delete"])
      assert.equal("NotFoundError: users['Nobody']", fails("not_found", function() return users[{ "Nobody" }] end))
      assert.matches('users%[{"Alma"}%]', fails("invalid_argument", function() return users["Alma"] end))
    end)

    it("a compound key in key order", function()
      assert.equal("FastHTML", publication[{ "Alma", 2019 }].title)
      assert.equal("more", publication:get{ year = 2030, authors = "Alma" }.title)
      assert.equal("NotFoundError: publication['Alma', 1]", fails("not_found", function() return publication[{ "Alma", 1 }] end))
      assert.is_true(publication:has(publication[{ "Alma", 2019 }]))
      fails("invalid_argument", function() return publication["Alma"] end)
      fails("invalid_argument", function() return publication[{ "Alma" }] end)
      fails("invalid_argument", function() return publication:get{ "Alma", nil } end)
      fails("invalid_argument", function() return publication:get{ "Alma", null } end)
      fails("invalid_argument", function() return publication:get{ year = 2019 } end)
      fails("invalid_argument", function() return publication:get{} end)
    end)

    it("get and has", function()
      assert.equal("AC/DC", artist:get(1).name)
      assert.is_nil(artist:get(99))
      assert.is_true(artist:has(1))
      assert.is_false(artist:has(99))
      fails("invalid_argument", artist.get, artist)
      fails("invalid_argument", artist.get, artist, nil)
      fails("invalid_argument", artist.has, artist, null)
    end)

    it("a string that has the key's form", function()
      assert.equal("AC/DC", artist["1"].name)
      assert.equal("sad", thing["1"].mood)
      assert.equal("ok", thing["9007199254740993"].mood)
      assert.equal("ok", thing[thing:selectone("mood = 'ok'").id].mood)
      fails("not_found", function() return artist["-7"] end)
      db:execute [[create table by_uuid (id uuid primary key, n int); insert into by_uuid values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1);
        create table by_day (id date primary key, n int); insert into by_day values ('2024-01-02', 1);
        create table by_time (id timestamptz primary key, n int); insert into by_time values ('2024-01-02 03:04:05+00', 1);
        create table by_numeric (id numeric primary key, n int); insert into by_numeric values (1.50, 1)]]
      assert.equal(1, db.t.by_uuid["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"].n)
      assert.equal(1, db.t.by_day["2024-01-02"].n)
      assert.equal(1, db.t.by_day[db.t.by_day()[1].id].n)
      assert.equal(1, db.t.by_time["2024-01-02 03:04:05+00"].n)
      assert.equal(1, db.t.by_time[db.t.by_time()[1].id].n)
      assert.equal(1, db.t.by_numeric["1.5"].n)
      assert.equal(1, db.t.by_numeric[db.t.by_numeric()[1].id].n)
      fails("invalid_argument", function() return db.t.by_uuid["nme"] end)
      db:execute "drop table by_uuid, by_day, by_time, by_numeric"
    end)

    it("any other string is a mistake, without a query", function()
      pcall(db.transaction, db, function()
        pcall(db.q, db, "select 1/0") -- from here on a query would fail otherwise
        local message = fails("invalid_argument", function() return artist.nme end)
        assert.matches('did you mean "name"', message)
        assert.matches("artist%.c%.nme", message)
      end)
      assert.equal("artist", artist.name)
    end)
  end)

  describe("rows", function()
    it("all, by call and by all", function()
      assert.equal(5, #artist())
      assert.equal(5, #artist{})
      assert.equal(5, #artist:all())
      assert.equal(2, #artist:all{ limit = 2 })
      assert.equal(1, #artist("name like ?", "Ac%"))
      assert.equal("AC/DC", artist("name = :n", { n = "AC/DC" })[1].name)
      assert.equal("AC/DC", artist("name = $1 and artist_id = $2", "AC/DC", 1)[1].name)
      assert.equal(1, #artist("name = ? and kind = :k", "AC/DC", { k = "band" }))
      assert.equal(0, #artist("name = ?", nil)) -- NULL is no name
      assert.equal(1, #artist("name is not distinct from ?", nil))
      assert.equal(3, #artist("artist_id = any(?)", { 1, 2, 3 }))
      assert.equal(1, #artist("artist_id = ? and name = ?", fastpg.args({ 1, "AC/DC" }, 2)))
    end)

    it("of wrong arguments", function()
      fails("invalid_argument", artist, nil)
      fails("invalid_argument", artist, 1)
      fails("invalid_argument", artist, true)
      fails("invalid_argument", artist, artist)
      fails("invalid_argument", artist, "")
      fails("invalid_argument", artist, " \n")
      fails("invalid_argument", artist, {}, 1)
      fails("invalid_argument", artist, "name = ?")
      fails("invalid_argument", artist, "name = ?", "a", "b")
      fails("invalid_argument", artist, "name = :n", "a")
      fails("invalid_argument", artist, "name = :n", {})
      fails("invalid_argument", artist, "name = :n")
      assert.matches("did you mean \"limit\"", fails("invalid_argument", artist, { limt = 1 }))
      assert.matches("where = { name", fails("invalid_argument", artist, { name = "x" }))
      fails("invalid_argument", artist.all, {})
      fails("syntax_error", artist, "name ==")
    end)

    it("by options", function()
      local rows = artist{ where = "name like ?", args = { "A%" }, order_by = "name desc", limit = 2, offset = 1, select = "name" }
      assert.same({ { name = "Aerosmith" }, { name = "Accept" } }, { { name = rows[1].name }, { name = rows[2].name } })
      assert.same({ "name" }, fastpg.columns(rows[1]))
      assert.equal(1, #artist{ where = "name = :n", args = { n = "Accept" } })
      assert.equal(1, #artist{ where = "name = ?", args = fastpg.args({ "Accept" }) })
      assert.equal(1, #artist{ where = "name is not distinct from ?", args = fastpg.args({}, 1) })
      assert.equal(2, #artist{ where = "artist_id in (?, ?)", args = { 1, 2 } })
      fails("invalid_argument", artist, { args = { 1 } })
      fails("invalid_argument", artist, { where = 1 })
      fails("invalid_argument", artist, { where = "name = ?", args = "A" })
      fails("invalid_argument", artist, { where = "name = ?", args = { "A", "B" } })
      fails("invalid_argument", artist, { where = "name = ?" })
      fails("invalid_argument", artist, { where = { name = "A" }, args = {} })
    end)

    it("limit and offset", function()
      assert.equal(0, #artist{ limit = 0 })
      assert.equal(0, #artist{ limit = 0, with_pk = true })
      assert.is_nil(artist:limit(0):first())
      assert.same({ 3, 4 }, pluck(artist{ order_by = "artist_id", limit = 2, offset = 2 }, "artist_id"))
      assert.same({ 5 }, pluck(artist{ order_by = "artist_id", offset = 4 }, "artist_id"))
      assert.equal(5, #artist{ offset = 0 })
      for _, bad in ipairs{ -1, 1.5, "2", {}, true, 0 / 0 } do
        fails("invalid_argument", artist, { limit = bad })
        fails("invalid_argument", artist, { offset = bad })
      end
    end)

    it("order and selection", function()
      assert.same({ 5, 4, 3, 2, 1 }, pluck(artist{ order_by = "artist_id desc" }, "artist_id"))
      assert.same({ 5, 4, 3, 2, 1 }, pluck(artist{ order_by = { "artist_id desc" } }, "artist_id"))
      assert.same({ 1, 2, 3, 4, 5 }, pluck(artist{ order_by = { "artist_id ASC" } }, "artist_id"))
      assert.same({ 4, 3, 2, 1 }, pluck(artist{ order_by = { "kind desc", "artist_id desc" }, where = "kind is not null" }, "artist_id"))
      assert.same({ "artist_id", "name" }, fastpg.columns(artist{ select = { "artist_id", "name" } }[1]))
      assert.same({ "n" }, fastpg.columns(artist{ select = "upper(name) as n" }[1]))
      assert.matches('did you mean "name"', fails("undefined_column", artist, { select = { "nme" } }))
      fails("undefined_column", artist, { order_by = { "nme desc" } })
      fails("undefined_column", artist, { order_by = { "name sideways" } })
      fails("invalid_argument", artist, { order_by = {} })
      fails("invalid_argument", artist, { select = 1 })
    end)

    it("with_pk", function()
      local pairs_ = artist{ with_pk = true, order_by = "artist_id", limit = 2 }
      assert.equal(1, pairs_[1][1])
      assert.equal("AC/DC", pairs_[1][2].name)
      assert.same({ "artist_id", "name", "kind", "weight", "total" }, fastpg.columns(pairs_[1][2]))
      local compound = publication{ with_pk = true, order_by = "year", select = { "title" } }
      assert.same({ "Alma", 2019 }, compound[1][1])
      assert.equal("FastHTML", compound[1][2].title)
      assert.same({ "title" }, fastpg.columns(compound[1][2]))
      assert.is_nil(rawget(compound[1][2], "fastpg_pk_1"))
      fails("undefined_column", function() return compound[1][2].fastpg_pk_1 end)
      fails("invalid_argument", artist.selectone, artist, { with_pk = true })
      fails("invalid_argument", artist.each, artist, { with_pk = true })
      db:execute "create table odd (id int primary key, fastpg_pk_1 int, fastpg_pk_1_ int); insert into odd values (1, 2, 3)"
      assert.equal(2, db.t.odd{ with_pk = true }[1][2].fastpg_pk_1)
      assert.equal(1, db.t.odd{ with_pk = true }[1][1])
      db.t.odd:drop()
    end)

    it("debug prints the SQL", function()
      assert.same({ 'SELECT "name" FROM "artist" WHERE "kind" = $1 ORDER BY "name" LIMIT 1' }, printed(function()
        artist{ where = { kind = "band" }, order_by = { "name" }, select = { "name" }, limit = 1, debug = true }
      end))
      assert.equal(1, #printed(function() artist:count{ where = "kind = 'band'", debug = true } end))
      assert.equal(1, #printed(function() artist:groupby("kind", "count(*)", { debug = true }) end))
      assert.same({}, printed(function() artist{ debug = false } end))
    end)

    it("selectone", function()
      assert.equal(1, artist:selectone("name = ?", "AC/DC").artist_id)
      assert.equal(1, artist:selectone{ where = { name = "AC/DC" } }.artist_id)
      fails("not_found", artist.selectone, artist, "name = ?", "nobody")
      fails("not_unique", artist.selectone, artist, "kind = 'band'")
      fails("not_unique", artist.selectone, artist)
      fails("invalid_argument", artist.selectone, artist, nil)
    end)

    it("first", function()
      assert.equal(5, artist:first{ order_by = "artist_id desc" }.artist_id)
      assert.equal(2, artist:first("artist_id = ?", 2).artist_id)
      assert.is_nil(artist:first("false"))
      fails("invalid_argument", artist.first, artist, nil)
    end)

    it("count and length", function()
      assert.equal(5, #artist)
      assert.equal(5, artist:count())
      assert.equal(5, artist:count{})
      assert.equal(3, artist:count("kind = ?", "band"))
      assert.equal(3, artist:count{ where = { kind = "band" } })
      assert.equal(3, artist:count{ where = "kind = :k", args = { k = "band" } })
      fails("invalid_argument", artist.count, artist, nil)
      fails("invalid_argument", artist.count, artist, { limit = 1 })
      fails("invalid_argument", artist.count, artist, { where = {} })
    end)
  end)

  describe("conditions in a table", function()
    local function ids(where) return pluck(thing{ where = where, order_by = "id", select = { "id" } }, "id") end
    local function n(where) return #thing{ where = where } end

    it("equality and lists", function()
      assert.equal(1, #artist{ where = { name = "AC/DC", artist_id = { 1, 2, 3 } } })
      assert.equal(0, #artist{ where = { name = "AC/DC", artist_id = { 2, 3 } } })
      assert.equal(0, #artist{ where = { artist_id = {} } })
      assert.equal(2, #artist{ where = { name = { "AC/DC", "Accept", "x" } } })
      assert.equal(1, #artist{ where = { name = null } })
      assert.equal(1, #artist{ where = { weight = 1.5 } })
      assert.equal(1, #artist{ where = { total = "10.5" } })
      assert.equal(2, #artist{ where = { total = { "10.5", 20 } } })
      assert.same({ 1 }, ids{ ok = true })
      assert.equal(1, n{ ok = false })
      assert.equal(2, n{ ok = { true, false } })
    end)

    it("on enum, array, json, date and uuid columns", function()
      assert.same({ 1 }, ids{ mood = "sad" })
      assert.equal(2, n{ mood = { "sad", "ok" } })
      assert.equal(0, n{ mood = {} })
      assert.same({ 1 }, ids{ moods = { "sad", "ok" } })
      assert.equal(1, n{ moods = {} }) -- equality: the empty array
      assert.same({ 1 }, ids{ tags = { "a", "b" } })
      assert.equal(0, n{ tags = { "a" } })
      assert.equal(1, n{ tags = {} })
      assert.same({ 1 }, ids{ numbers = { 1, 2 } })
      assert.equal(1, n{ numbers = null })
      assert.same({ 1 }, ids{ doc = { a = 1 } })
      assert.equal(1, n{ doc = thing:selectone("mood = 'ok'").doc })
      assert.equal(1, n{ doc = { { a = 1 }, "x" } })
      assert.same({ 1 }, ids{ day = "2024-01-02" })
      assert.same({ 1 }, ids{ day = { "2024-01-02", "2024-01-03" } })
      assert.same({ 1 }, ids{ day = thing[1].day })
      assert.same({ 1 }, ids{ day = { thing[1].day } })
      assert.same({ 1 }, ids{ uid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" })
      assert.same({ 1 }, ids{ uid = { "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" } })
      assert.equal(1, n{ id = "9007199254740993" })
      assert.equal(2, n{ id = { 1, "9007199254740993" } })
    end)

    it("SQL", function()
      assert.equal(1, #artist{ where = { total = sql "weight * 7", artist_id = 1 } })
      assert.equal(5, #artist{ where = { artist_id = sql "artist_id" } })
    end)

    it("of wrong names and values", function()
      assert.matches('did you mean "name"', fails("undefined_column", artist, { where = { nme = 1 } }))
      fails("invalid_argument", artist, { where = { [1] = "name" } })
      fails("invalid_argument", artist, { where = {} })
      fails("invalid_argument", artist, { where = { artist_id = 1.5 } })
      fails("invalid_argument", artist, { where = { name = print } })
    end)
  end)

  describe("each", function()
    it("as an iterator", function()
      local seen = {}
      db:transaction(function()
        for row in artist:each{ order_by = "artist_id" } do
          seen[#seen + 1] = row.artist_id
          assert.equal(5, #artist) -- inside a transaction others run between
        end
      end)
      assert.same({ 1, 2, 3, 4, 5 }, seen)
    end)

    it("with a function", function()
      local seen = {}
      artist:each("artist_id > ?", 2, function(row)
        seen[#seen + 1] = row.artist_id
        if #seen == 2 then return false end
      end)
      assert.equal(2, #seen)
      artist:each(function(row) seen[#seen + 1] = row.artist_id end)
      assert.equal(7, #seen)
      artist:each({ limit = 1 }, function(row) seen[#seen + 1] = row.artist_id end)
      assert.equal(8, #seen)
      artist:each("artist_id = ? or artist_id = ?", nil, 1, function(row) seen[#seen + 1] = row.artist_id end)
      assert.equal(9, #seen)
    end)

    it("of wrong arguments", function()
      fails("invalid_argument", artist.each, artist, nil)
      fails("invalid_argument", artist.each, artist, { limt = 1 })
      fails("undefined_column", artist.each, artist, { select = { "nme" } })
    end)
  end)

  describe("groupby", function()
    it("one column, one aggregate", function()
      local groups = artist:groupby("kind", "count(*)")
      assert.equal(3, groups.band)
      assert.equal(1, groups.solo)
      assert.equal(1, groups[null])
    end)

    it("one column, several aggregates", function()
      local groups = artist:groupby({ "kind" }, { "count(*)", "max(artist_id)", "max(total)" })
      assert.same({ 3, 3 }, { groups.band[1], groups.band[2] })
      assert.equal("20", tostring(groups.band[3]))
      assert.equal(null, groups.solo[3])
    end)

    it("several columns nest", function()
      local groups = artist:groupby({ "kind", "artist_id" }, "min(name)")
      assert.equal("AC/DC", groups.band[1])
      assert.equal("Alanis", groups.solo[4])
      assert.equal(null, groups[null][5]) -- NULL, and the group is not lost
    end)

    it("with conditions", function()
      assert.same({ solo = 1 }, artist:groupby("kind", "count(*)", { where = { kind = "solo" } }))
      assert.same({ band = 1 }, artist:groupby("kind", "count(*)", { where = "artist_id = ?", args = { 1 } }))
      assert.same({}, artist:groupby("kind", "count(*)", "false"))
    end)

    it("objects are keyed by their text", function()
      assert.equal(1, thing:groupby("day", "count(*)")["2024-01-02"])
      assert.equal(1, artist:groupby("total", "count(*)")["10.50"])
      assert.equal(1, thing:groupby("tags", "count(*)")['["a","b"]'])
      assert.equal(1, thing:groupby("ok", "count(*)")[true])
      assert.equal(1, thing:groupby("numbers", "count(*)")[null])
      db:execute "create table nan (x float8); insert into nan values ('NaN'), ('NaN'), (1.5)"
      assert.same({ NaN = 2, [1.5] = 1 }, db.t.nan:groupby("x", "count(*)"))
      db.t.nan:drop()
    end)

    it("of wrong arguments", function()
      fails("undefined_column", artist.groupby, artist, "knd", "count(*)")
      fails("invalid_argument", artist.groupby, artist, {}, "count(*)")
      fails("invalid_argument", artist.groupby, artist, "kind", {})
      fails("invalid_argument", artist.groupby, artist, "kind")
      fails("invalid_argument", artist.groupby, artist, "kind", { 1 })
      fails("invalid_argument", artist.groupby, artist, nil, "count(*)")
      fails("invalid_argument", artist.groupby, artist, "kind", "count(*)", nil)
      fails("invalid_argument", artist.groupby, artist, "kind", "count(*)", { limit = 1 })
    end)
  end)

  describe("itself", function()
    it("as text", function()
      assert.equal('"artist"', tostring(artist))
      assert.equal(5, #db:q("select * from " .. artist))
      assert.equal('"artist" a', artist .. " a")
      assert.equal("artist", artist.name)
      assert.equal("public", artist.schema)
      assert.same({ "authors", "year" }, publication.pks)
      assert.equal(db, artist.db)
      assert.is_nil(artist.cls)
    end)

    it("can't be assigned to", function()
      fails("invalid_argument", function() artist[1] = {} end)
      fails("invalid_argument", function() artist.name = "x" end)
    end)

    it("wants to be called with a colon", function()
      assert.matches("t:count", fails("invalid_argument", function() artist.count() end))
      fails("invalid_argument", function() artist.where("x = 1") end)
      fails("invalid_argument", function() artist.get(1) end)
    end)

    it("drops", function()
      db:execute "create table gone (id int); create view on_gone as select * from gone"
      local gone = db.t.gone
      fails("dependent_objects_still_exist", gone.drop, gone)
      fails("invalid_argument", gone.drop, gone, { cascde = true })
      gone:drop{ cascade = true }
      assert.is_false(db:has("gone"))
      assert.is_false(db:has("on_gone"))
      fails("undefined_table", function() return gone() end)
    end)

    it("filters with xtra and back", function()
      assert.equal(artist, artist:xtra{ kind = "band" })
      assert.equal(3, #artist)
      assert.equal(3, #db.t.artist)
      assert.equal(artist, artist:xtra("kind", "solo"))
      assert.equal(1, #artist)
      artist:xtra()
      assert.equal(5, #artist)
      local bands = artist:scope{ kind = "band" }
      assert.not_equal(artist, bands)
      assert.equal(3, #bands)
      assert.equal(5, #artist)
    end)
  end)

  it("statement caches of any size", function()
    for _, size in ipairs{ 0, 1, 3 } do
      local other = pg.db{ statement_cache_size = size }
      local t = other.t.artist
      for _ = 1, 2 do
        assert.equal("AC/DC", t[1].name)
        assert.is_nil(t:get(99))
        assert.equal(5, #t)
        assert.equal(2, #t{ limit = 2 })
        assert.equal(3, t:groupby("kind", "count(*)").band)
        assert.equal(1, #t:where{ name = "Accept" }())
        assert.equal(5, #t{ with_pk = true })
        fails("invalid_argument", function() return t:get(1.5) end)
        assert.equal(1, #t("artist_id = ?", 2))
      end
      other:close()
    end
  end)
end)
