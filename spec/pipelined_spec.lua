-- SPDX-License-Identifier: MIT
--
-- pipelined: Tables inside a pipeline: each call gives what it gives by itself, and the errors that it raises.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local Route = require "fastpg.pool.route"

local db = pg.db()
db:execute[[
  create type mood as enum ('sad', 'ok');
  create table artist (id serial primary key, name text unique, n int default 0, m mood, doc jsonb, tenant int default 7);
  create table album (id serial primary key, artist_id int references artist, title text, tenant int default 7);
  create table pair (a int, b text, v text, tenant int default 7, primary key (a, b));
  insert into artist (name, n, m, tenant) values ('AC/DC', 1, 'ok', 7), ('Accept', 2, null, 7), ('Other', 3, 'sad', 8);
  insert into album (artist_id, title, tenant) values (1, 'Let There Be Rock', 7), (1, 'Powerage', 7), (2, 'Balls', 7), (3, 'Theirs', 8);
  insert into pair values (1, 'x', 'v', 7), (1, 'y', null, 8);
]]

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local UNDO = {}

-- Runs fn(tx) and undoes what it did.
local function undone(base, fn)
  local result
  local ok, err = pcall(base.transaction, base, function(tx)
    result = { fn(tx) }
    error(UNDO)
  end)
  assert.is_false(ok)
  if err ~= UNDO then error(err, 0) end
  db:execute "select setval('artist_id_seq', 3); select setval('album_id_seq', 4)" -- which no rollback does
  return result[1]
end

local function show(v)
  if type(v) ~= "table" then return type(v) .. " " .. tostring(v) end
  local mt = getmetatable(v)
  return ("%s %s %s %s"):format(mt and mt.__name or "table", fastpg.to_json(v), mt and mt.__tostring and tostring(v) or "",
    tostring(mt and (mt.class or mt.class_name)))
end

-- Each a call of t.
local CALLS = {
  function(t) return t.artist:get(1) end,
  function(t) return t.artist:get(99) end,
  function(t) return t.artist[2] end,
  function(t) return t.pair[{ 1, "x" }] end,
  function(t) return t.artist:has(1) end,
  function(t) return t.artist:has(99) end,
  function(t) return t.artist() end,
  function(t) return t.artist{ limit = 1, order_by = "id desc" } end,
  function(t) return t.artist{ with_pk = true, order_by = "id" } end,
  function(t) return t.artist{ select = { "name" }, order_by = "name", as_cls = false } end,
  function(t) return t.artist("name like ?", "A%") end,
  function(t) return t.artist:all{ where = { id = { 1, 2 } }, order_by = "id" } end,
  function(t) return t.artist{ where = { id = {} } } end,
  function(t) return t.artist:selectone("name = ?", "Accept") end,
  function(t) return t.artist:first{ order_by = "id desc" } end,
  function(t) return t.artist:first("id > ?", 1000) end,
  function(t) return t.artist:count() end,
  function(t) return t.artist:count("n > ?", 1) end,
  function(t) return t.artist:where{ n = fastpg.op(">", 1) }:order_by("id")() end,
  function(t) return t.artist:where{ n = 1 }:first() end,
  function(t) return t.artist:where{ n = 1 }:one() end,
  function(t) return t.artist:where("n < ?", 3):count() end,
  function(t) return t.artist:where{ n = 77 }:exists() end,
  function(t) return t.artist:exists() end,
  function(t) return t.artist:order_by("id"):pluck("name") end,
  function(t) return t.artist:order_by("id"):pluck("id", "m") end,
  function(t) return t.artist:map("name", "n") end,
  function(t) return t.artist:item("sum(n)") end,
  function(t) return t.album:groupby("artist_id", "count(*)") end,
  function(t) return t.album:groupby({ "artist_id", "title" }, { "count(*)", "max(id)" }) end,
  function(t) return t.album:join("artist"):where{ ["artist.name"] = "AC/DC" }:order_by("title")() end,
  function(t) return t.album:left_join("artist"):select{ "album.title", artist = "artist.name" }:order_by("title")() end,
  function(t) return t.artist:where_exists("album", { title = "Powerage" })() end,
  function(t) return t.artist:where_exists(t.album)() end,
  function(t) return t.artist:where_missing("album"):count() end,
  function(t) return t.artist:limit(1):offset(1):order_by("id"):for_update{ skip_locked = true }() end,
  function(t) return t.artist:where{ id = 1 }:union_all(t.artist:where{ id = 2 })() end,
  function(t) return t.artist:insert{ name = "New", doc = { a = { 1 } } } end,
  function(t) return t.artist:insert{} end,
  function(t) return t.artist:insert({ name = "New" }, { n = 9 }, { returning = { "name", "n" } }) end,
  function(t) return t.artist:insert({ name = "New" }, nil, { returning = false }) end,
  function(t) return t.artist:insert({ name = "Accept" }, nil, { on_conflict = "nothing" }) end,
  function(t) return t.artist:update{ id = 1, name = "changed" } end,
  function(t) return t.artist:update({ name = "changed" }, 1) end,
  function(t) return t.artist:update({ n = fastpg.sql "n + 10" }, 1, { m = "sad" }, { returning = { "n", "m" } }) end,
  function(t) return t.artist:update({ id = 1, n = 5 }, nil, nil, { returning = false }) end,
  function(t) return t.pair:update{ a = 1, b = "x", v = "w" } end,
  function(t) return t.artist:upsert{ id = 1, name = "up" } end,
  function(t) return t.artist:upsert({ name = "Accept", n = 4 }, nil, { on = "name" }) end,
  function(t)
    return t.artist:upsert({ name = "Accept" }, nil, { on = "name", set = { n = fastpg.sql "artist.n + 100" }, where = "artist.n = 2" })
  end,
  function(t)
    return t.artist:upsert({ name = "Accept" }, nil, { on = "name", set = { n = 1 }, where = "artist.n = 77" })
  end,
  function(t) return t.album:delete(1) end,
  function(t) return t.album:delete(1, { returning = { "title" } }) end,
  function(t) return t.album:delete_where("title like ?", "B%") end,
  function(t) return t.album:delete_where() end,
  function(t) return t.album:where{ artist_id = 1 }:update({ title = "same" }, { returning = { "id" } }) end,
  function(t) return t.album:where{ artist_id = 1 }:order_by("id"):limit(1):delete() end,
  function(t) return t.album:join("artist"):where{ ["artist.n"] = 1 }:update({ title = "j" }, { returning = false }) end,
  function(t) return t.pair:insert_from(t.artist:select{ "tenant", a = "id", b = "name", v = "m" }:where{ id = 1 }, { columns = { "tenant", "a", "b", "v" } }) end,
  function(t) return t.artist:scope{ n = 1 }() end,
  function(t) return t.artist:scope("n", 1):insert{ name = "scoped" } end,
}

-- Calls that fail when they run, and the error's name.
local FAIL = {
  { "not_found", function(t) return t.artist[99] end },
  { "not_found", function(t) return t.artist:update{ id = 99, n = 1 } end },
  { "not_found", function(t) return t.artist:update({ n = 1 }, 99, nil, { returning = false }) end },
  { "not_found", function(t) return t.artist:delete(99) end },
  { "not_found", function(t) return t.artist:delete(99, { returning = { "id" } }) end },
  { "not_found", function(t) return t.artist:selectone("id = ?", 99) end },
  { "not_unique", function(t) return t.artist:selectone() end },
  { "not_found", function(t) return t.artist:where{ id = 99 }:one() end },
  { "not_unique", function(t) return t.album:map("artist_id", "title") end },
  { "not_found", function(t) return t.artist:scope{ n = 77 }:upsert{ id = 1, name = "x" } end },
  { "not_found", function(t) return t.artist:scope{ n = 77 }:upsert({ name = "Accept" }, nil, { on = "name", set = { m = "ok" } }) end },
  { "unique_violation", function(t) return t.artist:insert{ name = "Accept" } end },
  { "foreign_key_violation", function(t) return t.artist:delete(1) end },
  { "invalid_text_representation", function(t) return t.artist:insert{ m = "nonsense" } end },
}

-- Calls that fail at once, whatever the database holds.
local REFUSED = {
  { "undefined_column", function(t) return t.artist:insert{ nme = 1 } end },
  { "undefined_column", function(t) return t.artist{ order_by = "nme" } end },
  { "invalid_argument", function(t) return t.artist:where{ limt = {} }:limit "x" end },
  { "invalid_argument", function(t) return t.artist{ limt = 1 } end },
  { "invalid_argument", function(t) return t.artist:delete_where(nil) end },
  { "invalid_argument", function(t) return t.artist.nme end },
  { "invalid_argument", function(t) t.artist.name = 1 end },
  { "undefined_table", function(t) return t.nonesuch() end },
}

local BASES = {
  { "a database", function() return db end },
  { "db:scope", function() return db:scope{ tenant = 7 } end },
}

local function compare(base, prepare)
  for i, call in ipairs(CALLS) do
    local function alone(tx)
      if prepare then prepare(tx) end
      return (show(call(tx.t)))
    end
    local function piped(tx)
      if prepare then prepare(tx) end
      local list = tx:pipeline(function(p)
        p:q "select 1 as a"
        call(p.t)
        p:item "select 2"
      end)
      assert.equal(3, list.n)
      assert.equal(1, list[1][1].a)
      assert.equal(2, list[3])
      local row = list[2]
      if type(row) == "table" and row[1] == nil and getmetatable(row) and getmetatable(row).__name == "fastpg.row" then
        assert.equal(db, fastpg.db_of(row) and db)
      end
      return (show(row))
    end
    assert.equal(undone(base, alone), undone(base, piped), "call " .. i)
  end
  for i, fail in ipairs(FAIL) do
    local by_itself = error_of(undone, base, function(tx)
      if prepare then prepare(tx) end
      return fail[2](tx.t)
    end)
    local err = error_of(undone, base, function(tx)
      if prepare then prepare(tx) end
      tx:pipeline(function(p)
        p:q "select 1"
        fail[2](p.t)
      end)
    end)
    assert.equal(by_itself.name, err.name, i)
    assert.equal(by_itself.message, err.message, i)
    assert.equal(2, err.statement, i)
    if not prepare and base == db then assert.equal(fail[1], err.name, i) end
  end
end

describe("a Table in a pipeline", function()
  for _, base in ipairs(BASES) do
    it("gives what it gives by itself: " .. base[1], function() compare(base[2]()) end)
  end

  it("is confined by xtra", function()
    compare(db, function(tx)
      tx.t.artist:xtra{ tenant = 7 }
      tx.t.album:xtra{ tenant = 7 }
      tx.t.pair:xtra{ tenant = 7 }
    end)
  end)

  it("gives rows of its class, which can be written later", function()
    db.t.artist:class()
    local list = db:pipeline(function(p) p.t.artist:get(1) p.t.artist{ order_by = "id" } end)
    assert.truthy(tostring(list[1]):find("^Artist%("))
    assert.equal(db.t.artist.cls, getmetatable(list[2][2]).class)
    list[1].n = 41
    assert.equal(41, db.t.artist:update(list[1]).n)
    assert.equal(2, #fastpg.load(list[1], "album").album)
    list[1].n = 1
    db.t.artist:update(list[1])
  end)

  it("raises at once what is wrong with a call", function()
    for i, one in ipairs(REFUSED) do
      local by_itself = error_of(one[2], db.t)
      local err = error_of(db.pipeline, db, function(p) one[2](p.t) end)
      assert.equal(one[1], err.name, i)
      assert.equal(by_itself.name, err.name, i)
    end
  end)

  it("names what it takes, where something is more than a statement", function()
    for _, call in ipairs{
      function(t) t.artist:inserts{ { name = "a" } } end, function(t) t.artist:updates{ { id = 1 } } end,
      function(t) t.artist:upserts{ { id = 1 } } end, function(t) t.artist:copy{ { name = "a" } } end,
      function(t) t.artist:claim() end, function(t) t.artist:each() end, function(t) t.artist:drop() end,
      function(t) t.artist:where{ id = 1 }:page(2) end, function(t) t.artist:where{ id = 1 }:each() end,
      function(t) t.artist:where{ id = 1 }:explain() end, function(t) t.artist:xtra{ n = 1 } end,
    } do
      local err = error_of(db.pipeline, db, function(p) call(p.t) end)
      assert.equal("feature_not_supported", err.name)
      assert.truthy(tostring(err):find("before or after", 1, true))
    end
    for _, call in ipairs{
      function(t) t.artist{ with = { "album" } } end, function(t) t.artist:get(1, { with = { "album" } }) end,
      function(t) t.artist:where{ id = 1 }:with{ "album" }() end, function(t) t.artist:with{ "album" }:first() end,
    } do
      local err = error_of(db.pipeline, db, function(p) call(p.t) end)
      assert.equal("feature_not_supported", err.name)
      assert.truthy(tostring(err):find("fastpg.load", 1, true))
    end
    assert.equal(3, db.t.artist:count())
  end)

  it("tells which statement failed, and undoes all of them", function()
    local err = error_of(db.pipeline, db, function(p)
      p.t.artist:insert{ name = "gone" }
      p.t.artist:update{ id = 99, n = 1 }
    end)
    assert.equal("not_found", err.name)
    assert.equal(2, err.statement)
    assert.equal(0, db.t.artist:count("name = ?", "gone"))
    err = error_of(db.pipeline, db, function(p) p:q "select 1" p:q "select 2" p:execute("selec 3") end)
    assert.equal(3, err.statement)
    err = error_of(db.pipeline, db, function(p) p:q "select 1" p:q("select ?::int", 1.5) end)
    assert.equal(2, err.statement)
    assert.equal(0, db.t.artist:count("name = ?", "gone"))
  end)

  it("takes one round trip, once the tables are known", function()
    local function run(base)
      return base:pipeline(function(p)
        for i = 1, 20 do p.t.artist:get(i) end
        p.t.album:count()
      end)
    end
    db:acquire(function(one)
      run(one)
      local methods, originals, sent = getmetatable(Route.of(one):connection().c).__index, {}, {}
      for _, name in ipairs{ "send_sync", "send_prepare", "send_query", "send_list", "send_simple", "ask", "ask_list", "command" } do
        originals[name] = methods[name]
        methods[name] = function(...)
          sent[name] = (sent[name] or 0) + 1
          return originals[name](...)
        end
      end
      local list = run(one)
      for name, original in pairs(originals) do methods[name] = original end
      assert.same({ send_sync = 1 }, sent)
      assert.equal(21, list.n)
      assert.equal("Accept", list[2].name)
      assert.is_nil(list[4])
    end)
  end)

  it("keeps its values when the record is used again", function()
    local list = undone(db, function(tx)
      return tx:pipeline(function(p)
        local record = {}
        for i = 1, 3 do
          record.name = "name " .. i
          p.t.artist:insert(record)
        end
      end)
    end)
    for i = 1, 3 do assert.equal("name " .. i, list[i].name) end
  end)

  it("keeps its values where all is recorded once more, and those inside of documents", function()
    for _, before in ipairs{
      false,
      function() db:execute "set search_path = elsewhere, public" end,
      function(other)
        other:execute[[alter table again drop constraint again_pkey; alter table again add primary key (name)]]
      end,
    } do
      db:execute[[drop schema if exists elsewhere cascade; create schema elsewhere; drop table if exists again;
        create table again (id int primary key, name text not null, doc jsonb)]]
      assert.equal(0, db.t.again:count())
      local other = pg.db{ dbname = db:item "select current_database()" }
      local list = db:pipeline(function(p)
        local record, condition = { doc = {} }, {}
        for i = 1, 3 do
          record.id, record.name, record.doc.at, condition.id = 100 + i, "name " .. i, fastpg.array{ i }, i
          p.t.again:upsert(record)
          p.t.artist:where(condition):first()
        end
        if before then before(other) end
      end)
      other:close()
      db:execute "set search_path = public"
      for i = 1, 3 do
        assert.same({ 100 + i, "name " .. i, i }, { list[2 * i - 1].id, list[2 * i - 1].name, list[2 * i - 1].doc.at[1] })
        assert.equal(i, list[2 * i].id)
      end
    end
  end)

  it("takes its own Tables and queries inside of arguments", function()
    local list = db:pipeline(function(p)
      p.t.album:where{ artist_id = p.t.artist:select("id"):where{ n = 1 } }:count()
    end)
    assert.equal(2, list[1])
  end)

  it("says so where a method is called without its Table", function()
    local by_itself = error_of(function() db.t.artist.get(1) end)
    local err = error_of(db.pipeline, db, function(p) p.t.artist.get(1) end)
    assert.equal(by_itself.message, err.message)
    err = error_of(db.pipeline, db, function(p) p.t.artist.where{ n = 1 } end)
    assert.equal(error_of(function() db.t.artist.where{ n = 1 } end).message, err.message)
  end)

  it("works where another session changed the table", function()
    db:execute "create table moving (id int primary key, a int); insert into moving values (1, 2)"
    assert.equal(2, db.t.moving[1].a)
    local other = pg.db{ dbname = db:item "select current_database()" }
    other:execute "drop table moving; create table moving (id int primary key, b text); insert into moving values (1, 'b')"
    other:close()
    local list = db:pipeline(function(p) p.t.moving:insert{ id = 2, b = "c" } p.t.moving:order_by("id"):all() end)
    assert.equal("c", list[1].b)
    assert.equal(2, #list[2])
  end)

  it("is over with its function", function()
    local t, table_of_it
    db:pipeline(function(p) t, table_of_it = p.t, p.t.artist end)
    assert.equal("closed", error_of(function() t.artist:count() end).name)
    assert.equal("closed", error_of(function() table_of_it:insert{} end).name)
    assert.equal("closed", error_of(function()
      local again
      db:pipeline(function(p) again = p end)
      return again.t
    end).name)
  end)

  it("does not write where a hook hears of each write", function()
    local off = db:on("write", function() end)
    local err = error_of(db.pipeline, db, function(p) p.t.artist:insert{ name = "heard" } end)
    assert.equal(3, db:pipeline(function(p) p.t.artist:count() end)[1])
    off()
    assert.equal("feature_not_supported", err.name)
  end)

  it("lets other coroutines run their own meanwhile", function()
    local pool = pg.pool({ dbname = db:item "select current_database()" }, { max_size = 2 })
    local list, count
    local a = fastpg.spawn(function()
      list = pool:pipeline(function(p)
        p.t.artist:count()
        fastpg.sleep(0)
        p.t.album:count()
      end)
    end)
    local b = fastpg.spawn(function() count = pool.t.pair:count() end)
    while fastpg.step(0.01) do end
    a:wait() b:wait()
    assert.equal(2, count)
    assert.equal(3, list[1])
    assert.equal(4, list[2])
    pool:close()
  end)
end)
