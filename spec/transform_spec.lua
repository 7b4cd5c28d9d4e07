-- SPDX-License-Identifier: MIT
--
-- db:create{ transform = true } with renames, drop, using, checks, indexes and dry_run.  (Types and defaults: ddl_spec.)

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

local function merged(base, more)
  local all = {}
  for _, from in ipairs{ base, more or {} } do
    for k, v in pairs(from) do all[k] = v end
  end
  return all
end

describe("transform", function()
  local db
  setup(function()
    db = pg.db()
    db:execute "set client_min_messages = error; create table ref (id int primary key); insert into ref select generate_series(1, 999)"
  end)
  teardown(function() db:close() end)

  local DESCRIPTION = [[
    select string_agg(line, chr(10) order by line) from (
      select format('column %I %s%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), case when a.attnotnull then ' not null' end,
        regexp_replace(pg_get_expr(d.adbin, d.adrelid), '^nextval\(.*', 'nextval'),
        (select format_type(q.seqtypid, null) from pg_sequence q where pg_get_expr(d.adbin, d.adrelid) like 'nextval%'
          and q.seqrelid = pg_get_serial_sequence(quote_ident($1), a.attname)::regclass)) as line
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = quote_ident($1)::regclass and a.attnum > 0 and not a.attisdropped
      union all
      select format('constraint %s', pg_get_constraintdef(oid))
      from pg_constraint where conrelid = quote_ident($1)::regclass and contype <> 'n'
      union all
      select format('index %s %s', i.indisunique, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', ''))
      from pg_index i where i.indrelid = quote_ident($1)::regclass and not i.indisprimary) x]]
  local function describe_table(name) return db:item(DESCRIPTION, name) end

  -- All of it, names and rows included.
  local function everything(name)
    return describe_table(name) .. "\n" .. tostring(db:fetchval(("select string_agg(t::text, '|' order by t::text) from %s t"):format(
      fastpg.quote_ident(name)))) .. tostring(db:fetchval([[select string_agg(conname, ',' order by conname) from pg_constraint
      where conrelid = quote_ident($1)::regclass]], name)) .. tostring(db:fetchval([[select string_agg(attname, ',' order by attnum)
      from pg_attribute where attrelid = quote_ident($1)::regclass and attnum > 0]], name))
  end

  before_each(function()
    db:execute [[drop view if exists v_pet; drop table if exists pet cascade;
      create table pet (id serial primary key, nam text not null, cents int, old text, born date default '2024-01-01');
      insert into pet (nam, cents, old) values ('Rex', 150, 'x'), ('Spot', 299, 'y')]]
  end)

  local Pet = fastpg.class("Pet", { "id int", "name text", "price numeric(9,2)", "born date" })
  local OPTIONS = { transform = true, renames = { nam = "name" }, drop = "old" }

  it("renames, adds, drops and fills in one transaction", function()
    local opts = merged(OPTIONS, { using = { price = "cents / 100.0" }, drop = { "old", "cents" }, not_null = { "price" } })
    local list = db:create(Pet, merged(opts, { dry_run = true }))
    assert.same({
      'ALTER TABLE "pet" RENAME COLUMN "nam" TO "name"',
      'ALTER TABLE "pet" ADD COLUMN "price" numeric(9,2)',
      'ALTER TABLE "pet" ALTER COLUMN "price" TYPE numeric(9,2) USING (cents / 100.0)',
      'ALTER TABLE "pet" DROP COLUMN "old", DROP COLUMN "cents"',
      'ALTER TABLE "pet" ALTER COLUMN "name" DROP NOT NULL, ALTER COLUMN "price" SET NOT NULL',
    }, list)
    assert.equal("id, nam, cents, old, born", table.concat(db.t.pet.cols, ", "))
    local t = db:create(Pet, opts)
    assert.equal("Pet(id=1, name='Rex', born=2024-01-01, price=1.50)", tostring(t[1]))
    assert.equal("Pet(id=2, name='Spot', born=2024-01-01, price=2.99)", tostring(t[2]))
    assert.equal(3, t:insert{ name = "x", price = 1 }.id)
    -- again: nothing is left to do
    assert.same({}, db:create(Pet, merged(opts, { dry_run = true })))
    db:create(Pet, opts)
    assert.equal(3, #t)
  end)

  it("drops nothing that was not named", function()
    local t = db:create(Pet, { transform = true, renames = { nam = "name" } })
    assert.equal("id, name, cents, old, born, price", table.concat(t.cols, ", "))
    assert.equal("x", db:item "select old from pet where id = 1")
  end)

  it("a table that is not there is made, and can be told before", function()
    local opts = { transform = true, renames = { nam = "name" }, drop = { "x" }, name = "pets2", indexes = { "born" },
      checks = { "price > 0" }, dry_run = true }
    local list = db:create(Pet, opts)
    assert.same({ 'CREATE TABLE "pets2" (\n  "id" SERIAL PRIMARY KEY,\n  "name" TEXT,\n  "price" numeric(9,2),\n  "born" DATE,\n  CHECK (price > 0)\n)',
      'CREATE INDEX ON "pets2" ("born")' }, list)
    assert.is_false(db:has "pets2")
    opts.dry_run = nil
    db:create(Pet, opts)
    has(describe_table "pets2", "index f btree (born)")
    list = db:create(Pet, { name = "pets2", replace = true, dry_run = true })
    assert.equal('DROP TABLE IF EXISTS "pets2" CASCADE', list[1])
    db:create(Pet, { name = "pets2", if_not_exists = true, indexes = { "born", "born", "name" } })
    assert.equal(1, db:item "select count(*)::int from pg_indexes where tablename = 'pets2' and indexname not like '%pkey'")
    db:execute "drop table pets2"
  end)

  it("retypes by what using says", function()
    db:execute "update pet set old = case id when 1 then 'yes' else 'no' end"
    local Kind = fastpg.class("Pet", { "id int", "old boolean", "cents text" })
    local opts = { transform = true, using = { old = "old = 'yes'", cents = fastpg.sql "'c' || cents -- here" } }
    local t = db:create(Kind, opts)
    assert.equal("true c150", tostring(t[1].old) .. " " .. t[1].cents)
    assert.equal("false c299", tostring(t[2].old) .. " " .. t[2].cents)
    assert.same({}, db:create(Kind, merged(opts, { dry_run = true })))
  end)

  it("checks, indexes and foreign keys say everything where they are given", function()
    db:execute [[alter table pet add constraint ck_mine check (cents > 0), add check (born > '2000-01-01'), add constraint stays check (old <> 'q'),
      add foreign key (cents) references ref; create index ix_old on pet (old); create index ix_nam on pet (nam desc nulls last);
      create unique index ix_uniq on pet (nam) where cents > 5]]
    local Same = fastpg.class("Pet", { "id int", "name text", "cents int", "born date" })
    local before = describe_table "pet"
    db:create(Same, { transform = true, renames = { nam = "name" } })
    assert.equal((before:gsub("nam", "name")), describe_table "pet")
    local opts = { transform = true, checks = { ck_mine = "cents > 0", "born > '2000-01-01'" }, foreign_keys = { cents = { "ref", "id" } },
      indexes = { { "name desc nulls last" }, ix_uniq = { "name", unique = true, where = "cents > 5" } } }
    assert.same({}, db:create(Same, merged(opts, { dry_run = true })))
    opts = { transform = true, checks = { ck_mine = "cents > 1", ck_new = "id > 0" }, foreign_keys = {}, dry_run = true,
      indexes = { ix_uniq = { "name", unique = true, where = "cents > 6" }, { fastpg.sql "lower(name)", "id", using = "btree" } } }
    assert.same({
      'DROP INDEX public.ix_nam', 'DROP INDEX public.ix_uniq',
      'ALTER TABLE "pet" DROP CONSTRAINT "ck_mine", DROP CONSTRAINT "pet_born_check", DROP CONSTRAINT "pet_cents_fkey"',
      'ALTER TABLE "pet" ADD CONSTRAINT "ck_mine" CHECK (cents > 1), ADD CONSTRAINT "ck_new" CHECK (id > 0)',
      'CREATE UNIQUE INDEX "ix_uniq" ON "pet" ("name") WHERE (cents > 6)', 'CREATE INDEX ON "pet" USING "btree" ((lower(name)), "id")',
    }, db:create(Same, opts))
    opts.dry_run = nil
    db:create(Same, opts)
    has(describe_table "pet", "constraint CHECK ((old <> 'q'::text))")
    has(describe_table "pet", "index f btree (old)")
    assert.same({}, db:create(Same, merged(opts, { dry_run = true })))
  end)

  it("the key moves, and what counts counts on", function()
    local Big = fastpg.class("Pet", { "id bigint", "nam text" })
    db:create(Big, { transform = true })
    assert.equal("bigint", db:item "select format_type(seqtypid, null) from pg_sequence where seqrelid = 'pet_id_seq'::regclass")
    db:execute "select setval('pet_id_seq', 3000000000)"
    assert.equal("3000000001", tostring(db.t.pet:insert{ nam = "big" }.id))
    local Coded = fastpg.class("Pet", { "id bigint", "cents int", "nam text" })
    db.t.pet:update({ cents = 7 }, db:item "select max(id) from pet")
    local t = db:create(Coded, { transform = true, pk = "cents" })
    assert.same({ "cents" }, t.pks)
    assert.equal(300, t:insert{ nam = "behind the highest" }.cents)
    t = db:create(Coded, { transform = true, pk = {} })
    assert.same({}, t.pks)
    t = db:create(Coded, { transform = true, pk = { "id", "cents" } })
    assert.same({ "id", "cents" }, t.pks)
    has(fails(db.create, db, fastpg.class("Pet", { "id bigint" }), { transform = true, drop = "cents" }), "cents\" is of the primary key: pk says")
    assert.same({ "id" }, db:create(fastpg.class("Pet", { "id bigint" }), { transform = true, drop = "cents", pk = "id" }).pks)
  end)

  it("what depends is an honest error, and all is as before", function()
    db:execute "create view v_pet as select nam, old, cents from pet"
    local before = everything "pet"
    local _, err = fails(db.create, db, Pet, OPTIONS)
    assert.equal("dependent_objects_still_exist", err.name)
    has(err.detail, "v_pet")
    assert.equal(before, everything "pet")
    _, err = fails(db.create, db, fastpg.class("Pet", { "id int", "cents text" }), { transform = true, renames = {} })
    has(err.message, "cannot alter type of a column used by a view or rule")
    assert.equal(before, everything "pet")
    db:create(fastpg.class("Pet", { "id int", "name text" }), { transform = true, renames = { nam = "name" } }) -- a view follows that
    assert.equal("Rex", db:item "select nam from v_pet limit 1")
  end)

  it("says what can't be", function()
    local function bad(opts, part) has(fails(db.create, db, Pet, merged({ transform = true }, opts)), part) end
    local before = everything "pet"
    bad({ renames = { nam = "nmae" } }, 'has no field "nmae" (did you mean "name"?)')
    bad({ renames = { born = "name" } }, 'has a column "born" itself')
    bad({ renames = { nam = "name", old = "name" } }, "two columns can't become")
    bad({ renames = { naam = "name" } }, '"pet" has no column "naam" (did you mean "nam"?)')
    bad({ renames = { "name" } }, "a name expected, got number")
    bad({ renames = { nam = 5 } }, "a name expected, got number")
    bad({ drop = "born" }, 'has a column "born"')
    bad({ drop = { "nam" }, renames = { nam = "name" } }, '"nam" is renamed')
    bad({ drop = 5 }, "drop must be a name or a list of names")
    bad({ using = { cents = "1" } }, 'has no field "cents"')
    bad({ using = { price = "" } }, "SQL expected, got an empty text")
    bad({ using = { price = 5 } }, "SQL expected, got number")
    bad({ checks = { 5 } }, "SQL expected, got number")
    bad({ checks = { "born > 'x'" } }, "invalid_datetime_format")
    local values = fastpg.sql("id > ?", 3)
    for _, opts in ipairs{ { checks = { values } }, { indexes = { values } }, { indexes = { { "id", where = values } } }, { using = { price = values } },
      { defaults = { price = values } } } do
      bad(opts, "a definition can't hold a fragment's values")
    end
    bad({ checks = { "true), drop column id, add check (true; drop table pet" } }, "syntax_error")
    bad({ indexes = { "bron" } }, 'did you mean "born"?')
    bad({ indexes = { "born upwards" } }, 'has no field "born upwards"')
    bad({ indexes = { {} } }, "an index without columns")
    bad({ indexes = { { "born", uniqe = true } } }, 'unknown option "uniqe"')
    bad({ indexes = { { "born", nil, "name" } } }, "create: indexes")
    db:execute "alter table pet add name text"
    has(fails(db.create, db, Pet, OPTIONS), 'the table has both columns, "nam" and "name"')
    db:execute "alter table pet drop name"
    for _, name in ipairs{ "renames", "drop", "using" } do
      has(fails(db.create, db, Pet, { [name] = { nam = "name" } }), name .. " goes with transform = true")
    end
    assert.equal((before:gsub("nam,cents", "%0")), (everything("pet"):gsub(",[^,\n]*dropped[^,\n]*", "")))
  end)

  it("names are names", function()
    local Evil = fastpg.class("Pet", { "id int", { name = "a b", type = "text" }, { name = 'q"; drop table ref; --', type = "bigint" } })
    local opts = { transform = true, renames = { nam = "a b", cents = 'q"; drop table ref; --' }, drop = { "old", "born" },
      indexes = { ['ix "1"'] = { "a b", 'q"; drop table ref; -- desc' } }, checks = { ["ck_ 'x'"] = '"a b" <> \'\'' } }
    local t = db:create(Evil, opts)
    assert.equal("Rex", t[1]["a b"])
    assert.is_true(db:has "ref")
    assert.same({}, db:create(Evil, merged(opts, { dry_run = true })))
  end)

  it("two processes that begin at once do it once", function()
    local c, lua, script = pg.conninfo(), os.getenv "FPG_TEST_LUA", os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write [[
      local fastpg = require "fastpg"
      local db = fastpg.connect()
      local Pet = fastpg.class("Pet", { "id int", "name text", "price numeric(9,2)", "born date" })
      print(pcall(function()
        return #db:create(Pet, { transform = true, renames = { nam = "name" }, drop = "old", using = { price = "cents / 100.0" }, pk = "id" })
      end))]]
    file:close()
    local pipes, other = {}, pg.db()
    db:transaction(function() -- both wait for this
      db:execute "lock table pet in access exclusive mode"
      for i = 1, 3 do
        pipes[i] = io.popen(("PGHOST='%s' PGPORT=%d PGUSER='%s' PGDATABASE='%s' timeout 60 %s %s 2>&1"):format(c.host, c.port, c.user,
          c.database, lua, script))
      end
      local limit = os.time() + 60
      while other:item "select count(*)::int from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()" < 3 do assert(os.time() < limit) end
    end)
    other:close()
    for i = 1, 3 do
      assert.equal("true\t2\n", pipes[i]:read "*a")
      pipes[i]:close()
    end
    os.remove(script)
    assert.equal("1.50", tostring(db:item "select price from pet where id = 1"))
  end)

  it("of a partitioned table, inside a transaction, in another schema", function()
    db:execute [[create schema if not exists other; create table other.ev (id int, at date, note text) partition by range (at);
      create table other.ev1 partition of other.ev for values from ('2020-01-01') to ('2021-01-01');
      insert into other.ev values (1, '2020-05-05', '12')]]
    local Ev = fastpg.class("Ev", { "id int", "day date", "note int" })
    local opts = { schema = "other", transform = true, renames = { at = "day" }, indexes = { "note" }, pk = {}, checks = { "note > 0" } }
    db:transaction(function() db:create(Ev, opts) end)
    assert.equal(12, db:item "select note from other.ev1 where day = '2020-05-05'")
    assert.same({}, db:create(Ev, merged(opts, { dry_run = true })))
    fails(db.transaction, db, function()
      db:create(Ev, merged(opts, { indexes = {}, checks = {} }))
      assert.equal(0, db:item "select count(*)::int from pg_indexes where schemaname = 'other'")
      error "no"
    end)
    assert.equal(2, db:item "select count(*)::int from pg_indexes where schemaname = 'other'")
    db:execute "drop table other.ev"
  end)

  -- ---- random schemas -------------------------------------------------------------------------

  local seed = tonumber(os.getenv "SEED" or 20241201)
  local function random(n)
    seed = seed * 16807 % 2147483647
    return math.floor(seed / 65536) % n + 1
  end
  local function chance(percent) return random(100) <= percent end
  local function pick(list) return list[random(#list)] end

  local NAMES = { "id", "a", "b", "c", "Dd", "e f", 'g"h' }
  local TYPES = { "int", "bigint", "text", "numeric(9,2)", "varchar(9)", "smallint" }
  local KEY_TYPES = { int = true, bigint = true, smallint = true }

  local function some(list, percent)
    local found = {}
    for _, item in ipairs(list) do
      if chance(percent) then found[#found + 1] = item end
    end
    return found
  end

  local function random_index(names)
    local index = { pick(names) .. (chance(30) and " desc" or "") }
    if chance(40) then index[2] = fastpg.sql(("length(%s::text)"):format(fastpg.quote_ident(pick(names)))) end
    index.unique = #index == 1 and chance(30) or nil
    if chance(20) then index.where = fastpg.quote_ident(pick(names)) .. " is not null" end
    return index
  end

  -- A class and its options, all said.
  local function random_schema(names, suffix)
    local fields, types = {}, {}
    for i, name in ipairs(names) do
      types[name] = pick(TYPES)
      fields[i] = { name = name, type = types[name] }
    end
    local opts = { pk = chance(20) and {} or chance(30) and { names[1], names[2] } or pick(names), not_null = some(names, 40), defaults = {},
      checks = {}, indexes = {}, foreign_keys = {} }
    for _, name in ipairs(some(names, 30)) do opts.defaults[name] = tostring(random(99)) end
    for i, name in ipairs(some(names, 30)) do
      local sql = ("length(%s::text) < %d"):format(fastpg.quote_ident(name), 20 + random(2))
      if chance(50) then opts.checks["ck_" .. i] = sql else opts.checks[#opts.checks + 1] = sql end
    end
    for i = 1, random(4) - 1 do
      if chance(50) then opts.indexes["ix_" .. i .. "_" .. suffix] = random_index(names) else opts.indexes[#opts.indexes + 1] = random_index(names) end
    end
    for _, name in ipairs(names) do
      if KEY_TYPES[types[name]] and chance(25) then opts.foreign_keys[name] = { "ref", "id" } end
    end
    return fastpg.class("Random", fields), opts, types
  end

  -- The same indexes under names for another table.
  local function renamed_indexes(opts, suffix)
    local indexes = {}
    for name, index in pairs(opts.indexes) do
      indexes[type(name) == "string" and name:gsub("%d*$", "") .. suffix or name] = index
    end
    return merged(opts, { indexes = indexes })
  end

  local function fill(name, columns)
    for row = 1, 5 do
      local values, quoted = {}, {}
      for i, column in ipairs(columns) do
        values[i], quoted[i] = ("'%d'"):format(row + 10 * i), fastpg.quote_ident(column)
      end
      db:execute(("insert into %s (%s) values (%s)"):format(name, table.concat(quoted, ", "), table.concat(values, ", ")))
    end
  end

  local function contents(name, exprs)
    return tostring(db:arrays(("select %s from %s order by 1"):format(table.concat(exprs, ", "), name)).columns and db:item((
      "select string_agg(x::text, '|' order by x::text) from (select %s from %s) x"):format(table.concat(exprs, ", "), name)))
  end

  -- Names of B with those that A has; which are renamed.
  local function random_change(a_names)
    local b_names, renames, drop, free = {}, {}, {}, {}
    local of_a = {}
    for _, name in ipairs(a_names) do of_a[name] = true end
    for _, name in ipairs(NAMES) do
      if not of_a[name] then free[#free + 1] = name end
    end
    for i = 1, 4 do free[#free + 1] = "new" .. i end
    for _, name in ipairs(a_names) do
      if chance(55) or #b_names == 0 then
        b_names[#b_names + 1] = name
      elseif chance(60) then
        local new = table.remove(free, random(#free))
        renames[name], b_names[#b_names + 1] = new, new
      else
        drop[#drop + 1] = name
      end
    end
    while #b_names < 3 or chance(40) and #free > 0 do b_names[#b_names + 1] = table.remove(free, random(#free)) end
    return b_names, renames, drop
  end

  it("any schema becomes any other, as if it had been made so, with its values", function()
    local changed, made_serial = 0, 0
    for round = 1, tonumber(os.getenv "ROUNDS" or 25) do
      db:execute "drop table if exists one, two, fresh, three cascade"
      local a_names = {}
      while #a_names < 3 do a_names = some(NAMES, 60) end
      local A, a_opts = random_schema(a_names, "a")
      for _, name in ipairs{ "one", "two" } do
        db:create(A, merged(renamed_indexes(a_opts, name == "two" and "2" or "1"), { name = name }))
        fill(name, a_names)
      end
      local b_names, renames, drop = random_change(a_names)
      local B, b_opts, types = random_schema(b_names, "b")
      -- a column that comes has no values that a key, NOT NULL or unique index could take: it gets some
      local using, olds, news, old_of = {}, {}, {}, {}
      for old, new in pairs(renames) do old_of[new] = old end
      local of_a = {}
      for _, name in ipairs(a_names) do of_a[name] = true end
      local first_kept = next(renames) and renames[next(renames)] or (function()
        for _, name in ipairs(b_names) do
          if of_a[name] then return name end
        end
      end)()
      for _, name in ipairs(b_names) do
        local old = old_of[name] or of_a[name] and name
        if old then
          olds[#olds + 1] = ("%s::%s"):format(fastpg.quote_ident(old), types[name])
          news[#news + 1] = fastpg.quote_ident(name)
        else
          using[name] = ("(%s::text::numeric + 100)::%s"):format(fastpg.quote_ident(first_kept), types[name])
        end
      end
      local opts = merged(b_opts, { transform = true, renames = renames, drop = drop, using = using })
      local what = ("round %d, seed %d"):format(round, seed)
      db:create(B, merged(renamed_indexes(b_opts, "3"), { name = "fresh" }))
      local expected, before = contents("one", olds), everything "one"
      -- a failing step, first or last, leaves all as it was
      local broken = merged(renamed_indexes(opts, "1"), { name = "one" })
      broken.checks = merged(broken.checks, { ck_never = "1 = 2" })
      fails(db.create, db, B, broken)
      assert.equal(before, everything "one", what)
      local statements = db:create(B, merged(renamed_indexes(opts, "1"), { name = "one", dry_run = true }))
      assert.equal(before, everything "one", what)
      db:create(B, merged(renamed_indexes(opts, "1"), { name = "one" }))
      assert.equal(describe_table "fresh", describe_table "one", what .. "\n" .. table.concat(statements, "\n"))
      assert.equal(expected, contents("one", news), what)
      for name in pairs(merged(b_opts.checks, renamed_indexes(b_opts, "1").indexes)) do
        assert.is_true(type(name) ~= "string" or db:item("select exists (select from pg_constraint where conname = $1 and conrelid = 'one'::regclass "
          .. "union all select from pg_indexes where indexname = $1 and tablename = 'one')", name), what)
      end
      assert.same({}, db:create(B, merged(renamed_indexes(opts, "1"), { name = "one", dry_run = true })), what)
      -- the same by hand
      local by_hand = db:create(B, merged(renamed_indexes(opts, "2"), { name = "two", dry_run = true }))
      assert.equal(#statements, #by_hand)
      for _, sql in ipairs(by_hand) do db:execute(sql) end
      assert.equal(describe_table "fresh", describe_table "two", what)
      assert.equal(expected, contents("two", news), what)
      changed = changed + #statements
      if table.concat(statements):find "setval" then made_serial = made_serial + 1 end
    end
    assert.is_true(changed > 100)
    assert.is_true(made_serial > 0)
  end)
end)
