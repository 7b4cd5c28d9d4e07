-- SPDX-License-Identifier: MIT
--
-- source from classes: the definition of one, modules of all; names made to break out of the file.

local fastpg = require "fastpg"
local class = require "fastpg.class.class"
local pg = require "spec.support.pg"

local load = loadstring or load -- luacheck: ignore

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return tostring(err)
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q in %q"):format(part, text))
end

-- What a class is, as plain data.
local function data(cls)
  local info, fields = class.info(cls), {}
  for i, field in ipairs(info.fields) do fields[i] = { field.name, field.type, field.lua } end
  return { name = info.name, fields = fields }
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- Runs the source of a module with nothing but require, so that what breaks out finds nothing and what
-- it writes is seen.
local function run(source, path)
  local chunk = assert(load(source, "@" .. path))
  local function only_fastpg(name)
    assert.equal("fastpg", name)
    return fastpg
  end
  local env = setmetatable({ require = only_fastpg }, {
    __index = function(_, k) error("reads the global " .. k) end,
    __newindex = function(_, k) error("writes the global " .. k) end,
  })
  if setfenv then
    setfenv(chunk, env) -- luacheck: ignore
  else
    chunk = assert(_G.load(source, "@" .. path, "t", env)) -- luacheck: ignore
  end
  return chunk()
end

-- Names that want out: of a string, of a comment, of a table, of an annotation.
local HOSTILE = {
  '"); os.exit(1) --', "'); os.exit(1) --", "]] os.exit(1) --[[", "]=] os.exit(1)", "--[[", "--[==[", "--]]",
  "\\", "\\\\", '\\"', '\\"); os.exit(1) --', '"', "'", '""', "\\n", "\\10", "\\065", "\\x41", "\\z", "\\u{41}",
  "%s", "%d%n", "%%", "%1", "{", "}", "}, {", "end", "nil", "function", "goto", "and", "self", "_ENV", "_G",
  "return", "classes", "fastpg", "__index", "__call", "__tostring", "1", "1a", "a.b", "a b", " ", " lead",
  "trail ", "a-b", "a:b", "a?", "a|b", "été", "日本語", "😀", "@field x", "---@class Evil", "---@alias",
  "\194\133", "\226\128\168", "\226\128\169", "\226\128\174txet", "\226\129\166iso", "\239\187\191bom",
  "\194\173soft", "\226\128\139", "<close>", "#!", "#", "$1", "?", ":name", "`", "~", ";", ",", "()", "[]", "=",
  "select", "user", "table", "<const>", "''", "//", "/*", "*/",
}

describe("class_source", function()
  it("is the manual's definition", function()
    local Artist = fastpg.class("Artist", { "artist_id int", "name text", "tags text[]", "at timestamptz" })
    assert.equal([=[
---@class Artist
---@field artist_id integer?
---@field name string?
---@field tags string[]?
---@field at fastpg.timestamptz?
local Artist = require("fastpg").class("Artist", {
  "artist_id int",
  "name text",
  "tags text[]",
  "at timestamptz",
})
return Artist
]=], fastpg.class_source(Artist))
  end)

  it("gives an equal class when it is run", function()
    local list = {}
    for _, name in ipairs(HOSTILE) do
      list[#list + 1] = { name = name, type = "int" }
      local cls = fastpg.class("C" .. name, { { name = name, type = "numeric(10,2)" } })
      assert.same(data(cls), data(run(fastpg.class_source(cls), "x")))
    end
    local All = fastpg.class("end", list)
    local again = run(fastpg.class_source(All), "x")
    assert.same(data(All), data(again))
    assert.equal(fastpg.class_source(All), fastpg.class_source(again))
  end)

  it("refuses control characters and what is no class", function()
    for _, c in ipairs{ "\n", "\r", "\r\n", "\t", "\27", "\127", "\v" } do
      local cls = fastpg.class("X", { { name = "a" .. c .. "os.exit(1)", type = "int" } })
      has(fails(fastpg.class_source, cls), "control character")
    end
    has(fails(fastpg.class_source, {}), "a class expected")
    has(fails(fastpg.class_source), "got nil")
  end)
end)

describe("create_mod", function()
  local db, path
  setup(function()
    db = pg.db()
    path = os.tmpname()
    os.remove(path)
    db:execute [[create table artist (artist_id serial primary key, name varchar(120));
      insert into artist (name) values ('AC/DC');
      create table a_b (id int); create table "a b" (id int);
      create view loud as select * from artist; create type mood as enum ('x'); create domain "my ""type""; --" as int;
      create table typed (a int[], b numeric(10,2), c timestamptz(3), d mood, e "my ""type""; --", f varchar(3)[],
        g interval day to second(2),
        h "char", i bit varying(5), j json, k int4range, l time(2) with time zone, m bpchar)]]
  end)
  teardown(function()
    os.remove(path .. ".lua")
    db:close()
  end)

  it("writes a module that gives the classes without a database", function()
    assert.equal(path .. ".lua", db:create_mod(path))
    local source = read(path .. ".lua")
    local classes = run(source, "mod")
    assert.same(data(db.t.artist.cls), data(classes.Artist))
    assert.same(data(db.t.typed.cls), data(classes.Typed))
    assert.is_nil(classes.Loud)
    has(source, [=[

---@class Artist
---@field artist_id integer?
---@field name string?
classes.Artist = fastpg.class("Artist", {
  "artist_id integer",
  "name character varying(120)",
}, { table = "artist" })
]=])
    has(source, "\n---@class fastpg.table.Artist: fastpg.table\n")
    has(source, "\n---@field artist fastpg.table.Artist\n")
    has(source, '\n---@field ["a b"] fastpg.table.AB\n')
    has(source, '}, { table = "a b" })')
    assert.same(data(classes.Artist), data(assert(loadfile(path .. ".lua"))().Artist))
    -- again it is the same text
    db:create_mod(path)
    assert.equal(source, read(path .. ".lua"))
  end)

  it("links back to the tables", function()
    db:create_mod(path, { store = false })
    local fresh = pg.db()
    local classes = run(read(path .. ".lua"), "mod")
    local linked = fresh:link_classes(classes)
    assert.equal(classes.Artist, linked.Artist)
    assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(fresh.t.artist[1]))
    for _, name in ipairs{ "a_b", "a b", "typed" } do
      local cls = fresh.t[name].cls
      assert.equal(name, class.info(cls).relation.name)
      assert.equal(cls, linked[tostring(cls)])
    end
    fresh:close()
  end)

  it("takes options and a path", function()
    local fresh = pg.db()
    fresh:create_mod(path .. ".lua", { with_views = true, store = false, suf = "DC" })
    local classes = run(read(path .. ".lua"), "mod")
    assert.equal("LoudDC", tostring(classes.LoudDC))
    assert.is_nil(fresh.t.artist.cls)
    fresh:link_classes(classes)
    assert.equal("ArtistDC(artist_id=1, name='AC/DC')", tostring(fresh.t.artist[1]))
    assert.equal(classes.LoudDC, fresh.v.loud.cls)
    has(fails(fresh.create_mod, fresh, path, { with_view = true }), '"with_view" (did you mean "with_views"?)')
    has(fails(fresh.create_mod, fresh), "a path expected, got nil")
    has(fails(fresh.create_mod, fresh, "/nowhere/at/all"), "/nowhere/at/all.lua")
    fresh:close()
  end)

  it("leaves tables the classes that they have", function()
    local fresh = pg.db()
    local Artist = fresh.t.artist:class()
    local Hand = fastpg.class("Hand", { "id int" }, { table = "a_b" })
    fresh:link_classes{ Hand }
    for _, opts in ipairs{ { suf = "DC" }, { suf = "DC", with_views = true }, {}, { store = false } } do
      fresh:create_mod(path, opts)
      assert.equal(Artist, fresh.t.artist.cls)
      assert.equal(Hand, fresh.t.a_b.cls)
      assert.equal("Artist(artist_id=1, name='AC/DC')", tostring(fresh.t.artist[1]))
      local classes = run(read(path .. ".lua"), "mod")
      assert.equal("Artist" .. (opts.suf or ""), tostring(classes["Artist" .. (opts.suf or "")]))
      assert.equal("TypedDC", tostring(fresh.t.typed.cls)) -- which had none
    end
    fresh:close()
  end)

  it("of a database that looks into another schema", function()
    local schema = '"]] --'
    local quoted = fastpg.quote_ident(schema)
    db:execute(("create schema %s; create table %s.inner_table (id int)"):format(quoted, quoted))
    local there = pg.db{ schema = schema }
    there:create_mod(path, { store = false })
    local classes = run(read(path .. ".lua"), "mod")
    assert.is_nil(classes.Artist)
    assert.same({ InnerTable = classes.InnerTable }, there:link_classes(classes))
    assert.equal(classes.InnerTable, there.t.inner_table.cls)
    assert.same({ InnerTable = classes.InnerTable }, db:link_classes(classes))
    assert.equal(classes.InnerTable, db:table("inner_table", schema).cls)
    there:close()
  end)

  it("says what the table is, whatever class was made by hand for it", function()
    local fresh = pg.db()
    fresh:link_classes{ fastpg.class("Band", { "name text" }, { table = "artist" }) }
    fresh:create_mod(path)
    local Band = run(read(path .. ".lua"), "mod").Band
    assert.same({ "artist_id", "name" }, { class.info(Band).fields[1].name, class.info(Band).fields[2].name })
    fresh:close()
  end)

  it("is only data, whatever the names are", function()
    local other = pg.cluster():connect{ database = pg.new_database "codegen" }
    local expected = {}
    for _, name in ipairs(HOSTILE) do
      expected[name] = true
      other:execute(("create table %s (%s int, %s text)"):format(fastpg.quote_ident(name), fastpg.quote_ident(name),
        fastpg.quote_ident(name .. "2")))
    end
    other:create_mod(path)
    local source = read(path .. ".lua")
    assert.is_nil(source:find "[%z\1-\9\11-\31\127]")
    assert.is_nil(source:find "\226\128[\168-\174]")
    -- a line is a comment, or one of the few forms that there are
    for line in source:gmatch "[^\n]+" do
      local known = line:find "^%-%-[ -]" or line == "--" or line:find '^  ".*",$'
        or line:find "^  { name = \".*\" },$" or line == "})"
        or line:find '^}, { table = ".*" }%)$' or line:find '^classes[%.%[].- = fastpg%.class%(".*", {$'
        or line == 'local fastpg = require "fastpg"' or line == "local classes = {}" or line == "return classes"
      assert.is_truthy(known, line)
      assert.is_nil(line:find "^%-%-%[=*%[", line)
    end
    local classes = run(source, "mod")
    for _, cls in pairs(classes) do
      local info = class.info(cls)
      assert.is_true(expected[info.relation.name])
      expected[info.relation.name] = nil
      assert.same({ info.relation.name, info.relation.name .. "2" }, { info.fields[1].name, info.fields[2].name })
      assert.equal("integer", info.fields[1].type)
    end
    assert.is_nil(next(expected))
    local fresh = pg.cluster():connect{ database = other:item "select current_database()::text" }
    fresh:link_classes(classes)
    for _, name in ipairs(HOSTILE) do assert.equal(name, class.info(fresh.t[name].cls).relation.name) end
    fresh:close()
    local without = other:create_mod(path)
    without = read(without)
    for _, name in ipairs{ "a\nos.exit(1)", "a\ros.exit(1)", "a\tb", "\27[2J", "a\127" } do
      for _, sql in ipairs{ "create table %s (id int)", "create table plain (%s int)" } do
        other:execute(sql:format(fastpg.quote_ident(name)))
        local written, left_out = other:create_mod(path)
        assert.equal(path .. ".lua", written)
        assert.same({ sql:find "plain" and "plain" or name }, left_out)
        local text = read(written)
        has(text, "Left out, for a control character")
        assert.is_nil(text:gsub("\n", ""):find "%c")
        assert.equal(select(2, without:gsub("\n", "")) + 2, select(2, text:gsub("\n", ""))) -- all others are there
        local map = run(text, "mod")
        assert.is_nil(map.Plain)
        assert.is_truthy(map[next(run(without, "mod"))])
        other:execute("drop table " .. (sql:find "plain" and "plain" or fastpg.quote_ident(name)))
      end
    end
    other:close()
  end)
end)
