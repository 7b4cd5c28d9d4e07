-- SPDX-License-Identifier: MIT
--
-- tables from classes: create, transform, create_from_schema, col_def.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return tostring(err), err
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q in %q"):format(part, text))
end

-- "id integer, name text"
local function cols(t)
  local parts, c = {}, t.cols
  for i, name in ipairs(c) do parts[i] = name .. " " .. c[name] end
  return table.concat(parts, ", ")
end

describe("ddl", function()
  local db
  setup(function() db = pg.db() end)
  teardown(function() db:close() end)

  -- "name not null default" of each column
  local function details(name)
    return db:fetchval([[select string_agg(format('%s%s%s', a.attname, case when a.attnotnull then '!' else '' end,
        '=' || pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attnum)
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped]], name)
  end

  describe("col_def", function()
    it("gives the manual's results", function()
      assert.equal('"id" SERIAL PRIMARY KEY', fastpg.col_def("id", "int", "id"))
      assert.equal('"name" TEXT NOT NULL', fastpg.col_def("name", "text", "id", { name = true }))
      assert.equal('"name" TEXT NOT NULL', fastpg.col_def("name", "str", "id", { "name" }))
      assert.equal('"age" INTEGER', fastpg.col_def("age", "int", "id"))
    end)
    it("knows other keys and types", function()
      assert.equal('"id" BIGSERIAL PRIMARY KEY', fastpg.col_def("id", "bigint", "id"))
      assert.equal('"id" SMALLSERIAL PRIMARY KEY', fastpg.col_def("id", "smallint", { "id" }))
      assert.equal('"id" UUID PRIMARY KEY', fastpg.col_def("id", "uuid", "id", { "id" }))
      assert.equal('"id" INTEGER', fastpg.col_def("id", "int", { "id", "b" }))
      assert.equal('"a""b" varchar(20)[]', fastpg.col_def('a"b', "varchar(20)[]"))
      assert.equal('"w" DOUBLE PRECISION', fastpg.col_def("w", "float", nil, { w = false }))
      assert.equal('"t" TIMESTAMPTZ', fastpg.col_def("t", "timestamp with time zone"))
    end)
    it("refuses the rest", function()
      has(fails(fastpg.col_def, "", "int"), "a name expected")
      has(fails(fastpg.col_def, "a", "int; drop table x"), "the name of a type expected")
      has(fails(fastpg.col_def, "a", nil), "the name of a type expected, got nil")
      has(fails(fastpg.col_def, "a", "int", 5), "pk: a name or a list")
      has(fails(fastpg.col_def, ("x"):rep(64), "int"), "longer than 63 bytes")
      has(fails(fastpg.col_def, "a\0b", "int"), "NUL")
    end)
  end)

  describe("create", function()
    it("walks as the manual does", function()
      local Dog = fastpg.class("Dog", { "id int", "name text", "age int" })
      local dogs = db:create(Dog, { replace = true })
      assert.equal("id integer, name text, age integer", cols(dogs))
      assert.equal(dogs, db.t.dog)
      assert.equal(Dog, dogs.cls)
      local d = dogs:insert{ name = "Rex", age = 5 }
      assert.equal("Dog(id=1, name='Rex', age=5)", tostring(d))
      local Toy = fastpg.class("Toy", { "id int", "name str", "dog_id int" })
      local toys = db:create(Toy, { replace = true, foreign_keys = { dog_id = { "dog", "id" } } })
      assert.equal("id integer, name text, dog_id integer", cols(toys))
      assert.equal("Toy(id=1, name='Ball', dog_id=1)", tostring(toys:insert{ name = "Ball", dog_id = d.id }))
      local _, err = fails(toys.insert, toys, { name = "Ball", dog_id = 99 })
      assert.is_true(fastpg.is(err, "foreign_key_violation"))
      d.age = 6
      assert.equal("Dog(id=1, name='Rex', age=6)", tostring(dogs:upsert(d)))
      assert.equal("Dog(id=2, name='Spot', age=3)", tostring(dogs:upsert{ name = "Spot", age = 3 }))
      dogs:drop{ cascade = true }
      assert.is_false(db:has "dog")
    end)

    it("takes all its options", function()
      local Person = fastpg.class("Person", { "id bigint", "name text" })
      db:create(Person)
      local Thing = fastpg.class("OwnerThing", { "note text", "part int", "owner_id bigint", "id int", "doc jsonb",
        "raw bytea", "at timestamptz", "ok bool", "price numeric", "w float", "q text", "parent int" })
      local things = db:create(Thing, {
        pk = { "id", "part" }, foreign_keys = { owner_id = { db.t.person, "id" } }, not_null = { "note", ok = true },
        column_order = { "id", "part" },
        defaults = { note = "it's \\ \"x\"", doc = { a = { 1, 2 } }, raw = "\0\255'", at = fastpg.sql "now()",
          ok = true, price = fastpg.numeric "1.50", w = 0.1, q = 5, parent = fastpg.null },
      })
      assert.equal("owner_thing", things.name)
      assert.same({ "id", "part" }, things.pks)
      assert.equal("id integer, part integer, note text, owner_id bigint, doc jsonb, raw bytea, "
        .. "at timestamp with time zone, ok boolean, price numeric, w double precision, q text, parent integer", cols(things))
      local t = things:insert{ id = 1, part = 2 }
      assert.equal("it's \\ \"x\"", t.note)
      assert.same({ 1, 2 }, { t.doc.a[1], t.doc.a[2] })
      assert.equal("\0\255'", t.raw)
      assert.equal(true, t.ok)
      assert.equal("1.50", tostring(t.price))
      assert.equal(0.1, t.w)
      assert.equal("5", t.q)
      assert.is_nil(t.parent)
      assert.is_truthy(t.at)
      has(fails(things.insert, things, { id = 1, part = 3, note = fastpg.null }), "not_null_violation")
      has(fails(things.insert, things, { id = 1, part = 3, owner_id = 7 }), "foreign_key_violation")
    end)

    it("makes keys of every kind", function()
      assert.same({ "name" }, db:create(fastpg.class("KeyText", { "name text" }), { pk = "name" }).pks)
      assert.same({}, db:create(fastpg.class("KeyNone", { "name text" })).pks)
      assert.same({ "b", "a" }, db:create(fastpg.class("KeyTwo", { "a int", "b int" }), { pk = { "b", "a" } }).pks)
      local t = db:create(fastpg.class("KeyOwn", { "id int" }), { defaults = { id = 7 } })
      assert.equal(7, t:insert{}.id)
      t = db:create(fastpg.class("KeySelf", { "id int", "boss int" }), {
        foreign_keys = { boss = { "key_self", "id" } },
      })
      has(fails(t.insert, t, { boss = 9 }), "foreign_key_violation")
      t = db:create(fastpg.class("KeyRef", { "id int", "other int" }), { foreign_keys = { other = { "key_self" } } })
      has(fails(t.insert, t, { other = 9 }), "foreign_key_violation")
    end)

    it("quotes every name", function()
      local hostile = 'x"); drop table person; --'
      local Evil = fastpg.class("Evil", { { name = hostile, type = "int" }, { name = "select", type = "text" } })
      local t = db:create(Evil, { name = 'My "Table"; --', pk = hostile, not_null = { "select" },
        defaults = { select = "'); --" } })
      assert.equal('My "Table"; --', t.name)
      assert.equal("'); --", t:insert{}.select)
      assert.is_true(db:has "person")
      local R = fastpg.class("R", { "id int", "evil int" })
      local r = db:create(R, { foreign_keys = { evil = { 'My "Table"; --', hostile } } })
      has(fails(r.insert, r, { evil = 9 }), "foreign_key_violation")
      has(fails(db.create, db, R, { replace = true, foreign_keys = { evil = { hostile, hostile } } }),
        "undefined_table")
      assert.is_true(db:has "person")
      assert.is_true(db:has "r")
    end)

    it("a key to a table of another schema, a table in one", function()
      db:execute 'create schema "s.1"; create table "s.1".base (id int primary key)'
      local Far = fastpg.class("Far", { "id int", "base_id int" })
      local far = db:create(Far, { schema = "s.1", foreign_keys = { base_id = { "s.1.base", "id" } } })
      assert.equal('"s.1"."far"', tostring(far))
      has(fails(far.insert, far, { base_id = 1 }), "foreign_key_violation")
      local there = pg.db{ schema = "s.1" }
      local Near = fastpg.class("Near", { "id int" })
      assert.equal("s.1", there:create(Near).schema)
      assert.equal("Near(id=1)", tostring(there.t.near:insert{}))
      there:close()
    end)

    it("if_not_exists and replace", function()
      local Once = fastpg.class("Once", { "id int", "a text" })
      db:create(Once):insert{ a = "kept" }
      has(fails(db.create, db, Once), "duplicate_table")
      assert.equal("kept", db:create(Once, { if_not_exists = true })[1].a)
      db:execute "create table refers (id int references once)"
      local t = db:create(Once, { replace = true })
      assert.equal(0, #t())
      assert.equal(0, db:item "select count(*)::int from pg_constraint where conrelid = 'refers'::regclass")
    end)

    it("is one transaction, and can be part of one", function()
      local Whole = fastpg.class("Whole", { "id int", "a text" })
      db:create(Whole):insert{ a = "kept" }
      has(fails(db.create, db, Whole, { replace = true, foreign_keys = { a = { "nowhere", "id" } } }),
        "undefined_table")
      assert.equal("kept", db.t.whole[1].a)
      local Never = fastpg.class("Never", { "id int" })
      pcall(db.transaction, db, function(tx)
        assert.equal("Never(id=1)", tostring(tx:create(Never):insert{}))
        error "no"
      end)
      assert.is_false(db:has "never")
      assert.equal("Never(id=1)", tostring(db:create(Never):insert{}))
    end)

    it("takes the class of another table", function()
      local Person = db.t.person:class()
      local copy = db:create(Person, { name = "person_copy" })
      assert.equal("id bigint, name text", cols(copy))
      assert.equal("Person(id=1, name='x')", tostring(copy:insert{ name = "x" }))
    end)

    it("refuses a value as the default of a column that can't hold it, as a parameter is refused", function()
      local span = fastpg.range(fastpg.timestamp "2024-01-01", nil)
      local stamp, zoned = fastpg.timestamp "2024-02-29 12:00:00.5", fastpg.timestamptz "2024-02-29 12:00:00+02"
      local one = fastpg.numeric "1"
      for _, case in ipairs{
        { "timestamp", span }, { "date", span }, { "time", span }, { "timestamptz", span }, { "bytea", span }, { "date", stamp },
        { "time", stamp }, { "time", zoned }, { "date", zoned }, { "interval", one }, { "boolean", one }, { "bytea", one },
        { "double precision", fastpg.date "infinity" }, { "text[]", fastpg.multirange{ fastpg.range(1, 2) } }, { "int[]", one },
        { "bytea", 1 / 0 }, { "bytea", 5 }, { "oid", -1 }, { "oid", 2^32 }, { "time", fastpg.timetz "12:00+02" },
      } do
        local Class = fastpg.class("NoFit", { "id int", { name = "v", type = case[1] } })
        has(fails(db.create, db, Class, { replace = true, defaults = { v = case[2] } }), 'the default of "v"')
        assert.is_false(pcall(db.item, db, "select $1::" .. case[1], case[2]))
      end
      db:execute "create domain stamp_domain as timestamp"
      for kind, value in pairs{ timestamp = zoned, stamp_domain = zoned, timestamptz = stamp, text = one, numrange = fastpg.range(1, 2) } do
        local Class = fastpg.class("DoFit", { "id int", { name = "v", type = kind } })
        local t = db:create(Class, { replace = true, defaults = { v = value } })
        local param = kind == "stamp_domain" and "timestamp" or kind
        assert.equal(kind == "text" and "1" or db:item("select $1::" .. param .. "::text", value), tostring(t:insert{}.v))
      end
      db:execute "drop table do_fit; drop domain stamp_domain"
    end)

    it("stores defaults as they are, every digit", function()
      local minus_zero = -tonumber("0.0") -- (PUC 5.1 takes the constant -0.0 for the 0 beside it)
      local numbers = {
        2^53 - 1, 2^53, 2^53 + 2, 2^60, -2^60, 2^62, -2^63, 1e15, 1e16, 123456789012345680, 0, minus_zero, 1, -1, 2^63, -2^64, 1e19, 1e22, 1e300, -1e300,
        5e-324, 2^1023, 0.1, 1 / 3, 1.5, 3.4028234663852886e38,
      }
      local is_int64 = function(v) return v % 1 == 0 and v >= -2^63 and v < 2^63 end
      for i, v in ipairs(numbers) do
        local fields, defaults = { "id int", "d float", "n numeric", "t text" }, { d = v, n = v, t = v }
        if is_int64(v) then fields[5], defaults.j = "j bigint", v end
        local t = db:create(fastpg.class("Exact", fields), { replace = true, defaults = defaults })
        t:insert{}
        local row = db:first "select *, d::text as dt, n::text as nt from exact"
        assert.equal(v, row.d)
        assert.equal(1 / v, 1 / row.d, "the sign of zero")
        if v % 1 == 0 then assert.equal(("%.0f"):format(v):gsub("^%-0$", "0"), row.nt, tostring(i)) end
        if is_int64(v) then assert.equal(("%.0f"):format(v):gsub("^%-0$", "0"), db:item "select j::text from exact") end
        assert.equal(v, tonumber(row.t))
      end
      local t = db:create(fastpg.class("Exact", { "id int", "d float", "r real", "n numeric", "e numeric" }), { replace = true,
        defaults = { d = 0 / 0, r = -1 / 0, n = 1 / 0, e = 0 / 0 } })
      assert.equal("NaN -Infinity Infinity NaN", db:item("select concat_ws(' ', d, r, n, e) from exact where id = ?", t:insert{}.id))
      db:execute "create domain exact_float as float8; create domain exact_int as int8"
      t = db:create(fastpg.class("Exact", { "id int", "d exact_float", "j exact_int" }), { replace = true, defaults = { d = minus_zero, j = 2^60 } })
      local row = t:insert{}
      assert.equal(-1 / 0, 1 / row.d)
      assert.equal("1152921504606846976", db:item "select j::text from exact")
      for _, kind in ipairs{ "int", "smallint", "bigint", "oid" } do
        has(fails(db.create, db, fastpg.class("Exact", { "id int", { name = "j", type = kind } }), { replace = true, defaults = { j = 1.5 } }),
          'the default of "j" is no whole number')
        for _, v in ipairs{ 0 / 0, 1 / 0, 2^63, -2^64 } do
          has(fails(db.create, db, fastpg.class("Exact", { "id int", { name = "j", type = kind } }), { replace = true, defaults = { j = v } }),
            'the default of "j" is no whole number of 64 bits')
        end
      end
      has(fails(db.create, db, fastpg.class("Exact", { "id int", "t text" }), { replace = true, defaults = { t = io.stdout } }), 'write fastpg.sql"…"')
      assert.is_true(db:has "exact")
      local ok, ffi = pcall(require, "ffi")
      if ok then
        t = db:create(fastpg.class("Exact", { "id int", "j bigint", "n numeric", "b bool", "t text" }), { replace = true,
          defaults = { j = ffi.new("int64_t", -2^63), n = ffi.new("uint64_t", 0) - 1, t = ffi.new("int64_t", 5) } })
        t:insert{}
        assert.equal("-9223372036854775808 18446744073709551615 5", db:item "select concat_ws(' ', j, n, t) from exact")
        local sly = ffi.metatype(ffi.typeof "struct { int x; }", { __tostring = function() return "now(); drop table exact --" end })
        for _, value in ipairs{ ffi.new "int[2]", ffi.new("complex", 1, 2), ffi.new(sly), ffi.cast("void *", 0), ffi.new("struct { int a; }") } do
          has(fails(db.create, db, fastpg.class("Exact", { "id int", "t text" }), { replace = true, defaults = { t = value } }),
            "a cdata that is no 64-bit integer")
        end
      end
      db:execute "drop table exact; drop domain exact_float, exact_int"
    end)

    it("says what is wrong before anything is sent", function()
      local X = fastpg.class("Xx", { "id int", "name text", "tags text[]" })
      local function bad(opts, part) has(fails(db.create, db, X, opts), part) end
      bad({ pks = "id" }, '"pks" (did you mean "pk"?)')
      bad({ pk = "idd" }, 'Xx has no field "idd" (did you mean "id"?)')
      bad({ pk = 1 }, "create: pk")
      bad({ not_null = { "nam" } }, '(did you mean "name"?)')
      bad({ not_null = { name = "yes" } }, "{ name = true }")
      bad({ defaults = { nam = 1 } }, '(did you mean "name"?)')
      bad({ defaults = { tags = { "a" } } }, 'write fastpg.sql"…"')
      bad({ defaults = { name = print } }, "is a function")
      bad({ defaults = "x" }, "got string")
      bad({ foreign_keys = { nam = { "a", "b" } } }, '(did you mean "name"?)')
      bad({ foreign_keys = { name = "a" } }, '{ "table", "column" } expected, got string')
      bad({ foreign_keys = { name = { "a", "b", "c" } } }, '{ "table", "column" } expected')
      bad({ foreign_keys = 5 }, "got number")
      bad({ column_order = { "x" } }, 'has no field "x"')
      bad({ name = ("x"):rep(64) }, "longer than 63 bytes")
      bad({ name = 5 }, "name must be a name, got number 5")
      bad({ replace = 1 }, "replace must be true or false, got number 1")
      bad({ replace = true, transform = true }, "transform goes with neither")
      has(fails(db.create, db, {}), "a class expected")
      has(fails(db.create, db), "got nil")
      has(fails(db.create, db, X, { pks = 1 }), "ddl_spec.lua:")
      has(fails(db.create, fastpg.database(), X), "not connected")
      assert.is_false(db:has "xx")
    end)
  end)

  describe("transform", function()
    it("creates where nothing is", function()
      local t = db:create(fastpg.class("TNew", { "id int", "a text" }), { transform = true, not_null = { "a" } })
      assert.equal("TNew(id=1, a='x')", tostring(t:insert{ a = "x" }))
    end)

    it("adds columns and changes types without losing data", function()
      local t = db:create(fastpg.class("TPet", { "id int", "name text", "age text", "old text" }))
      t:inserts{ { name = "Rex", age = "5", old = "stays" }, { name = "Spot", age = "7" } }
      local Pet = fastpg.class("TPet", { "id bigint", "name varchar(30)", "age int", "weight float", "born date" })
      t = db:create(Pet, { transform = true })
      assert.equal("id bigint, name character varying(30), age integer, old text, weight double precision, born date",
        cols(t))
      assert.equal("TPet(id=1, name='Rex', age=5, old='stays', weight=nil, born=nil)", tostring(t[1]))
      assert.equal(3, t:insert{ name = "Third" }.id)
      assert.equal(Pet, t.cls)
      -- once more changes nothing
      local before = details "t_pet"
      db:create(Pet, { transform = true })
      assert.equal(before, details "t_pet")
    end)

    it("sets and takes away not null and defaults where they are given", function()
      local Class = fastpg.class("TDef", { "id int", "a text", "b int", "c int" })
      local t = db:create(Class, { not_null = { "a" }, defaults = { a = "x", b = 1 } })
      t:insert{}
      local at_first = "id!=nextval('t_def_id_seq'::regclass), a!='x'::text, b=1, c"
      assert.equal(at_first, details "t_def")
      db:create(Class, { transform = true })
      assert.equal(at_first, details "t_def")
      db:create(Class, { transform = true, not_null = { "b" }, defaults = { b = 2, c = fastpg.sql "1 + 1" } })
      assert.equal("id!=nextval('t_def_id_seq'::regclass), a, b!=2, c=(1 + 1)", details "t_def")
      db:create(Class, { transform = true, not_null = {}, defaults = {} })
      assert.equal("id!=nextval('t_def_id_seq'::regclass), a, b, c", details "t_def")
      assert.equal("TDef(id=1, a='x', b=1, c=nil)", tostring(t[1]))
    end)

    it("changes the type of a column with a default", function()
      local t = db:create(fastpg.class("TTyp", { "id int", "a text", "b text", "c int" }), { defaults = { a = "5",
        b = "7", c = 1 } })
      t:insert{}
      t = db:create(fastpg.class("TTyp", { "id int", "a int", "b int", "c text" }), { transform = true })
      assert.equal("TTyp(id=2, a=5, b=7, c='1')", tostring(t:insert{}))
      t = db:create(fastpg.class("TTyp", { "id int", "a text", "b text", "c int" }), { transform = true,
        defaults = { a = "new" } })
      assert.equal("TTyp(id=3, a='new', b=nil, c=nil)", tostring(t:insert{}))
      assert.equal("TTyp(id=1, a='5', b='7', c=1)", tostring(t[1]))
    end)

    it("changes types as a plain ALTER does, and never cuts what is too long", function()
      db:execute "drop table if exists t_cut; create domain short as varchar(4)"
      -- from, to, a value that fits and what becomes of it, a value that does not fit
      local cases = {
        { "text", "varchar(3)", "abc", "abc", "abcd" }, { "varchar(9)", "varchar(3)", "abc", "abc", "abcd" },
        { "text", "char(3)", "abc", "abc", "abcd" }, { "char(5)", "char(3)", "ab", "ab", "abcd" }, { "text", "short", "abcd", "abcd", "abcde" },
        { "bit(8)", "bit(4)", nil, nil, "10101010" }, { "varbit(8)", "varbit(4)", "1010", "1010", "10101" },
        { "varbit", "bit(4)", "1010", "1010", "10101" }, { "text", "bit(4)", "1010", "1010", "10101010" },
        { "text", "varbit(4)", "1010", "1010", "10101010" }, { "bigint", "bit(64)", "5", ("0"):rep(61) .. "101" }, { "bigint", "bit(4)", nil, nil, "21" },
        { "int", "bit(1)", nil, nil, "5" }, { "int", "varchar(3)", "123", "123", "1234" }, { "jsonb", "varchar(3)", "[1]", "[1]", "[1, 2]" },
        { "text[]", "varchar(3)[]", "{abc}", "{abc}", "{abcd}" }, { "bit(8)[]", "bit(4)[]", nil, nil, "{10101010}" },
        { "text[]", "bit(4)[]", "{1010}", "{1010}", "{10101010}" }, { "numeric(9,2)", "numeric(4,2)", "12.34", "12.34", "123.45" },
        { "text", "numeric(4,2)", "12.34", "12.34", "123.45" }, { "bigint", "smallint", "7", "7", "70000" }, { "text", "int", "7", "7", "7.5" },
        { "text", "smallint", "7", "7", "70000" }, { "text", "boolean", "t", "true", "maybe" }, { "text", "date", "2024-02-29", "2024-02-29", "2024-02-30" },
        { "text", "uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001", "x" },
        { "text", "timestamptz(0)", "2024-01-01 00:00:00+00", "2024-01-01 00:00:00+00", "x" }, { "text", "int[]", "{1,2}", "{1,2}", "1" },
        -- as the server does it in a plain ALTER
        { "numeric(9,2)", "numeric(9,1)", "1.25", "1.3" }, { "float", "int", "2.6", "3" }, { "timestamptz", "date", "2024-01-01 10:00:00+00", "2024-01-01" },
        { "timestamp", "time", "2024-01-01 10:00:00", "10:00:00" }, { "bool", "text", "t", "true" }, { "date", "timestamp", "2024-01-01", "2024-01-01 00:00:00" },
      }
      db:execute "set timezone = 'UTC'"
      for _, case in ipairs(cases) do
        local from, to, fits, becomes, too_long = case[1], case[2], case[3], case[4], case[5]
        local what = from .. " to " .. to
        local function change(value)
          db:execute(("drop table if exists t_cut; create table t_cut (a %s)"):format(from))
          if value then db:execute(("insert into t_cut values (%s)"):format(value == "21" and value or "'" .. value .. "'")) end
          return pcall(db.create, db, fastpg.class("TCut", { { name = "a", type = to } }), { transform = true })
        end
        if fits or not too_long then
          local ok, err = change(fits)
          assert.is_true(ok, what .. ": " .. tostring(err))
          assert.equal(becomes, db:item "select a::text from t_cut", what)
        end
        if too_long then
          assert.is_false((change(too_long)), what)
          assert.equal(too_long, db:item "select a::text from t_cut", what)
        end
      end
      db:execute "reset timezone; drop table t_cut; drop domain short"
    end)

    it("a default that is too long for the new type is not cut either", function()
      db:execute "create table t_cut_default (id int, a text default 'abcdef', b text default '12', c bit(8) default B'10101010')"
      local t = db:create(fastpg.class("TCutDefault", { "id int", "a varchar(3)", "b int", "c varbit(4)" }), { transform = true, pk = {} })
      assert.equal(12, t:insert{ id = 1, a = "x", c = "1" }.b)
      local _, err = fails(t.insert, t, { id = 2, c = "1" })
      assert.is_true(fastpg.is(err, "string_data_right_truncation"), tostring(err))
      fails(t.insert, t, { id = 2, a = "x" })
      assert.equal(1, t:count())
    end)

    it("is no matter of what temporary tables and types there are", function()
      db:execute [[create temp table fastpg_transform (a int); create temp table fastpg_transform_1 (a int);
        create type pg_temp.fastpg_transform_2 as enum ('x'); create temp sequence fastpg_transform_3]]
      local before = db:item "select count(*)::int from pg_class where relpersistence = 't'"
      for _, kind in ipairs{ "int", "text", "varchar(9)" } do
        assert.equal("id integer, a " .. (kind == "int" and "integer" or kind == "varchar(9)" and "character varying(9)" or kind),
          cols(db:create(fastpg.class("TTemp", { "id int", "a " .. kind }), { transform = true })))
      end
      assert.equal(before, db:item "select count(*)::int from pg_class where relpersistence = 't'")
      db:execute "drop table fastpg_transform, fastpg_transform_1; drop type pg_temp.fastpg_transform_2; drop sequence fastpg_transform_3"
    end)

    it("fails whole", function()
      local t = db:create(fastpg.class("TFail", { "id int", "a text" }))
      t:insert{ a = "no number" }
      has(fails(db.create, db, fastpg.class("TFail", { "id int", "a int", "more int" }), { transform = true }),
        "invalid_text_representation")
      assert.equal("id integer, a text", cols(t))
      has(fails(db.create, db, t:class(), { transform = true, not_null = { "a" }, foreign_keys = { a = { "nowhere",
        "x" } } }),
        "undefined_table")
      assert.equal("id!=nextval('t_fail_id_seq'::regclass), a", details "t_fail")
      db:execute "create view t_view as select 1 as id"
      has(fails(db.create, db, fastpg.class("TView", { "id int" }), { transform = true }), "is no table")
    end)

    it("adds keys", function()
      db:execute "create table t_key (a int not null, b int not null); insert into t_key values (1, 2)"
      local t = db:create(fastpg.class("TKey", { "id int", "a int", "b int" }), { transform = true })
      assert.same({ "id" }, t.pks)
      assert.equal("TKey(a=1, b=2, id=1)", tostring(t[1]))
      t = db:create(t.cls, { transform = true, pk = { "b", "a" } })
      assert.same({ "b", "a" }, t.pks)
      assert.equal(1, t[{ 2, 1 }].id)
      t = db:create(t.cls, { transform = true })
      assert.same({ "b", "a" }, t.pks)
      db:execute "create table t_key2 (a int primary key, b int)"
      t = db:create(fastpg.class("TKey2", { "n bigint", "a int" }), { transform = true, pk = "n" })
      assert.same({ "n" }, t.pks)
      assert.equal("TKey2(a=1, b=nil, n=1)", tostring(t:insert{ a = 1 }))
    end)

    it("adds foreign keys once", function()
      local Child = fastpg.class("TChild", { "id int", "person_id bigint" })
      db:create(fastpg.class("TChild", { "id int" }))
      for _ = 1, 2 do
        local t = db:create(Child, { transform = true, foreign_keys = { person_id = { "person", "id" } } })
        has(fails(t.insert, t, { person_id = 999 }), "foreign_key_violation")
        assert.equal(1,
          db:item "select count(*)::int from pg_constraint where conrelid = 't_child'::regclass and contype = 'f'")
      end
    end)

    it("leaves identity and generated columns to themselves", function()
      db:execute [[create table t_auto (id int generated always as identity primary key, a int,
        twice int generated always as (a * 2) stored)]]
      local t = db:create(fastpg.class("TAuto", { "id bigint", "a int", "twice int" }), { transform = true,
        defaults = {}, not_null = {} })
      assert.equal("id bigint, a integer, twice integer", cols(t))
      assert.equal("TAuto(id=1, a=2, twice=4)", tostring(t:insert{ a = 2 }))
    end)

    it("with hostile names", function()
      local name, col = 'T"; drop table person; --', "c'; --"
      db:create(fastpg.class("TEvil", { "id int" }), { name = name }):insert{}
      local t = db:create(fastpg.class("TEvil", { "id int", { name = col, type = "int" } }),
        { name = name, transform = true, not_null = { col }, defaults = { [col] = 4 } })
      assert.equal(4, t[1][col])
      assert.is_true(db:has "person")
    end)
  end)

  describe("create_from_schema", function()
    it("makes a table from SQL", function()
      local job = db:create_from_schema("job", "id serial primary key, payload text default 'a?b :c -- '")
      assert.equal("id integer, payload text", cols(job))
      assert.equal("<Record id=1 payload='a?b :c -- '>", tostring(job:insert{}))
      has(fails(db.create_from_schema, db, "job", "id int"), "duplicate_table")
      assert.equal("id integer, payload text", cols(db:create_from_schema("job", "id int", { if_not_exists = true })))
      local Job = fastpg.class("Job", { "id int", "n int" })
      job = db:create_from_schema("job", "id int primary key, n int -- the end", { replace = true, cls = Job })
      assert.equal("Job(id=1, n=2)", tostring(job:insert{ id = 1, n = 2 }))
    end)
    it("runs one statement only", function()
      has(fails(db.create_from_schema, db, "two", "id int); drop table person; create table three (id int"),
        "syntax_error")
      assert.is_true(db:has "person")
      assert.is_false(db:has "two")
    end)
    it("says what is wrong", function()
      has(fails(db.create_from_schema, db, "x", nil), "got nil")
      has(fails(db.create_from_schema, db, 5, "id int"), "a name expected, got number")
      has(fails(db.create_from_schema, db, "x", "id int", { if_not_exist = true }),
        '(did you mean "if_not_exists"?)')
      has(fails(db.create_from_schema, db, "x", "id int", { cls = {} }), "a class expected")
    end)
  end)

  describe("drop", function()
    it("drops", function()
      local t = db:create(fastpg.class("Gone", { "id int" }))
      db:create(fastpg.class("GoneChild", { "id int", "gone_id int" }), { foreign_keys = { gone_id = { "gone",
        "id" } } })
      has(fails(t.drop, t), "dependent_objects_still_exist")
      t:drop{ cascade = true }
      assert.is_false(db:has "gone")
      assert.is_true(db:has "gone_child")
    end)
  end)
end)
