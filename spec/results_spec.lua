-- SPDX-License-Identifier: MIT
--
-- results: db:results, and the types of a result's columns.

local fastpg = require "fastpg"
local groups = require "spec.types.values"
local pg = require "spec.support.pg"

local db = pg.db()
db:execute[[
  CREATE TYPE mood AS ENUM ('happy', 'sad', 'so "so"');
  CREATE DOMAIN positive AS integer CHECK (value > 0);
  CREATE TYPE pair AS (a integer, b text);
  CREATE TYPE deep AS (p pair, d date, m mood[]);
  CREATE TABLE item (id int PRIMARY KEY, name text);
]]

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function statuses(list)
  local texts = {}
  for i, one in ipairs(list) do texts[i] = one.status end
  return table.concat(texts, ", ")
end

describe("results", function()
  it("gives status, rows and count of each statement", function()
    local list = db:results[[
      create temp table t (a int, b text);
      insert into t values (1, 'x'), (2, null);
      select * from t order by a;
      update t set b = 'y' where a = 2 returning b;
      select from t;
      delete from t;
      drop table t]]
    assert.equal("CREATE TABLE, INSERT 0 2, SELECT 2, UPDATE 1, SELECT 2, DELETE 2, DROP TABLE", statuses(list))
    assert.is_nil(list[1].count)
    assert.is_nil(list[1].rows)
    assert.equal(2, list[2].count)
    assert.is_nil(list[2].rows)
    assert.equal(2, list[3].count)
    assert.equal(1, list[3].rows[1].a)
    assert.equal("x", list[3].rows[1].b)
    assert.is_nil(list[3].rows[2].b)
    assert.same({ "a", "b" }, list[3].rows:columns())
    assert.equal("y", list[4].rows[1].b)
    assert.equal(2, #list[5].rows) -- of no columns
    assert.equal(2, list[6].count)
    assert.is_nil(rawget(list[3], "result"))
  end)

  it("of one statement is a list of one, with arguments or without", function()
    for _, list in ipairs{ db:results "select 1 as a", db:results("select ?::int as a", 1), db:results("select :x::int as a", { x = 1 }),
      db:results(fastpg.sql("select ?::int as a", 1)), db:results "select 1 as a;" } do
      assert.equal(1, #list)
      assert.equal("SELECT 1", list[1].status)
      assert.equal(1, list[1].count)
      assert.equal(1, list[1].rows[1].a)
    end
    local list = db:results("insert into item values (?, ?)", 1, "one")
    assert.equal("INSERT 0 1", list[1].status)
    assert.is_nil(list[1].rows)
    assert.equal(1, db:results("delete from item returning *")[1].rows[1].id)
    assert.equal(0, #db:results("select * from item")[1].rows)
  end)

  it("counts no statement where there is none", function()
    assert.same({}, db:results "")
    assert.same({}, db:results ";")
    assert.same({}, db:results " ; -- nothing\n ;; ")
    assert.equal("SELECT 1, SELECT 1", statuses(db:results "select 1;; /* ; */ ;select 2; --"))
  end)

  it("reads each value as q does", function()
    for _, group in ipairs(groups) do
      local may = not group.extension or db:first("select 1 from pg_available_extensions where name = ?", group.extension)
      if group.extension and may then db:execute("create extension if not exists " .. group.extension) end
      for _, settings in ipairs(may and (group.settings or { "" }) or {}) do
        db:acquire(function(one)
          if settings ~= "" then one:execute(settings) end
          for _, type_name in ipairs(group.types) do
            for _, row in ipairs(group.rows) do
              local sql = ("select %s as v"):format(row[1]:find("::", 1, true) and row[1] or ("(%s)::%s"):format(row[1], type_name))
              local ok, single = pcall(one.q, one, sql)
              if ok then
                local many = one:results(sql .. "; select 1")[1].rows
                assert.equal(fastpg.to_json(single), fastpg.to_json(many), sql)
                assert.equal(tostring(single), tostring(many), sql)
                assert.equal(type(single[1].v), type(many[1].v), sql)
                assert.equal(getmetatable(single[1].v) ~= nil, getmetatable(many[1].v) ~= nil, sql)
                assert.equal(fastpg.to_json(single), fastpg.to_json(one:results(sql)[1].rows), sql)
              end
            end
          end
          if settings ~= "" then one:execute "reset all" end
        end)
      end
    end
  end)

  it("knows types that the text itself makes, composite types and those with a codec", function()
    local list = db:results[[create type fresh as enum ('new', 'old');
      select 'new'::fresh as f, array['old']::fresh[] as l;
      select row(row(1, 'b'), '2020-02-03', '{happy,sad}')::deep as d;
      select 5::positive as p]]
    assert.equal("new", list[2].rows[1].f)
    assert.equal("old", list[2].rows[1].l[1])
    assert.equal("b", list[3].rows[1].d.p.b)
    assert.equal(2020, list[3].rows[1].d.d.year)
    assert.equal("sad", list[3].rows[1].d.m[2])
    assert.equal(5, list[4].rows[1].p)
    local own = pg.db()
    own:execute "create type mood2 as enum ('a')"
    own:set_type_codec("mood2", { encode = tostring, decode = function(text) return { mood = text } end })
    assert.equal("a", own:results("select 'a'::mood2 as m; select 1")[1].rows[1].m.mood)
    own:close()
  end)

  it("knows a composite type as it is now", function()
    db:execute "create type changing as (a int)"
    assert.equal(1, db:results("select row(1)::changing as c; select 1")[1].rows[1].c.a)
    local other = pg.db{ dbname = db:item "select current_database()" }
    other:execute "alter type changing rename attribute a to b"
    other:close()
    assert.equal(1, db:results("select row(1)::changing as c; select 1")[1].rows[1].c.b)
  end)

  it("reads texts by the settings they were printed with, or raises", function()
    db:acquire(function(one)
      local set = "set datestyle = 'sql, dmy'; select date '2020-02-01' as d"
      assert.equal("ambiguous_text", error_of(one.results, one, set).name)
      assert.equal("2020-02-01", tostring(one:results("select date '2020-02-01' as d; select 1")[1].rows[1].d))
      one:execute "set datestyle = iso; set extra_float_digits = 0"
      assert.equal(0.1 + 0.2, one:results("select 0.1::float8 + 0.2::float8 as f; select 1")[1].rows[1].f)
      assert.equal("0", one:item "show extra_float_digits")
      one:execute "reset extra_float_digits"
      local err = error_of(one.results, one, "set extra_float_digits = 0; select 1.5::float8")
      assert.equal("ambiguous_text", err.name)
      assert.truthy(tostring(err):find("set it before", 1, true))
      assert.equal("SET, SELECT 1", statuses(one:results "set extra_float_digits = 1; select 1"))
      one:execute "reset all"
    end)
  end)
end)

describe("a failure of results", function()
  it("says which statement it was, and nothing of the text is done", function()
    local sql = "insert into item values (1, 'ö'); select 1/0; select 3"
    local err = error_of(db.results, db, sql)
    assert.equal("division_by_zero", err.name)
    assert.equal(2, err.statement)
    assert.equal(sql, err.query)
    err = error_of(db.results, db, "select 'öö'; select 1, nope; select 3")
    assert.equal(2, err.statement)
    assert.equal(24, err.position)
    assert.equal(3, error_of(db.results, db, "select 1; select 2; selec 3").statement) -- a text that is no SQL is refused whole
    assert.equal(1, error_of(db.results, db, "selec 1; select 2").statement)
    assert.equal(0, db.t.item:count())
    assert.equal(1, db:results("select 1 as a; select 2")[1].rows[1].a)
  end)

  it("is a COPY, a value that lacks, or two columns of one name", function()
    local err = error_of(db.results, db, "insert into item values (1); copy item from stdin; select 1")
    assert.equal("feature_not_supported", err.name)
    assert.truthy(tostring(err):find("db:copy_from", 1, true))
    assert.truthy(tostring(error_of(db.results, db, "select 1; copy item to stdout")):find("db:copy_to", 1, true))
    assert.equal("invalid_argument", error_of(db.results, db, "select 1; select ?").name)
    assert.equal("invalid_argument", error_of(db.results, db, "select 1; select :a").name)
    assert.equal("invalid_argument", error_of(db.results, db, 1).name)
    assert.equal("syntax_error", error_of(db.results, db, "select ?; select 2", 1).name)
    assert.equal(0, db.t.item:count())
    for _, sql in ipairs{ "select 1 a, 2 a", "select 1 a, 2 a; select 3" } do
      assert.equal("duplicate_column", error_of(db.results, db, sql).name)
    end
    local last = pg.db{ duplicates = "last" }
    assert.equal(2, last:results("select 1 a, 2 a; select 3")[1].rows[1].a)
    last:close()
  end)

  it("leaves a transaction as that of any statement does", function()
    local err = error_of(db.transaction, db, function(tx)
      tx:results "insert into item values (1); insert into item values (2)"
      tx:results "insert into item values (3); insert into item values (1)"
    end)
    assert.equal("unique_violation", err.name)
    assert.equal(2, err.statement)
    assert.equal(0, db.t.item:count())
    assert.equal("invalid_transaction_termination", error_of(db.transaction, db, function(tx) tx:results "select 1; commit" end).name)
    db:transaction(function(tx)
      tx:transaction(function() tx:results "insert into item values (4); select 1" end)
      assert.equal(1, db:results("select 1; select count(*) as n from item")[2].rows[1].n)
    end)
    assert.equal(1, db.t.item:delete_where() and db:results("select 1; select 2")[1].count)
  end)

  it("is a transaction that is left open", function()
    assert.equal("BEGIN, SELECT 1, COMMIT", statuses(db:results "begin; select 1; commit"))
    assert.equal("invalid_transaction_termination", error_of(db.results, db, "begin; select 1").name)
    assert.equal(1, db:item "select 1")
  end)
end)

describe("what results does to the session", function()
  it("is noticed", function()
    db:acquire(function(one)
      one:results "create schema other; create table other.item (z int); set search_path = other; select 1"
      assert.same({ "z" }, (one:q("select * from item")):columns())
      assert.equal("z", one.t.item.cols[1])
      one:results "reset search_path; drop schema other cascade; select 1"
      assert.equal("id", one.t.item.cols[1])
    end)
  end)

  it("is told to hooks", function()
    local verbs, queries, notices = {}, {}, {}
    local offs = {
      db:on("audit", function(e) verbs[#verbs + 1] = e.verb end),
      db:on("query", function(e) queries[#queries + 1] = e.sql end),
      db:on("notice", function(e) notices[#notices + 1] = e.message end),
    }
    db:results "insert into item values (9); do $$ begin raise notice 'here'; end $$; select 1"
    db:results("delete from item where id = ?", 9)
    for _, off in ipairs(offs) do off() end
    assert.same({ "INSERT", "DO", "DELETE" }, verbs)
    assert.equal(2, #queries)
    assert.same({ "here" }, notices)
    local off = db:on("audit", function() error "no" end)
    assert.is_false((pcall(db.results, db, "select 1; delete from item")))
    off()
  end)
end)

describe("results under a loop", function()
  it("reads in turns, in a pool, and is stopped by a timeout", function()
    local pool = pg.pool(nil, { max_size = 2 })
    local turns, list = 0, nil
    local t = fastpg.spawn(function()
      list = pool:results "select g as a, 'text ' || g as b from generate_series(1, 8000) g; select 2 as c"
    end)
    fastpg.spawn(function()
      while not t.done do
        turns = turns + 1
        fastpg.sleep(0)
      end
    end)
    while fastpg.step(0.01) do end
    t:wait()
    assert.is_true(turns >= 8, turns)
    assert.equal(8000, #list[1].rows)
    assert.equal("text 8000", list[1].rows[8000].b)
    assert.equal(2, list[2].rows[1].c)
    assert.equal("timeout", error_of(pool.timeout, pool, 0.05, function() pool:results "select 1; select pg_sleep(20)" end).name)
    assert.equal(1, pool:item "select 1")
    pool:close()
  end)
end)

describe("the types of a result's columns", function()
  local function types(list)
    local texts = {}
    for i, t in ipairs(list:types()) do
      texts[i] = ("%s %s %s"):format(t.column, t.name, t.oid)
      assert.equal(t, list:types()[t.column] and t.column == list:types()[t.column].column and t)
    end
    return table.concat(texts, ", ")
  end

  it("are names as SQL has them, and oids", function()
    local mood = db:item "select 'mood'::regtype::oid::int"
    local mood_array = db:item "select 'mood[]'::regtype::oid::int"
    local sql = "select 1 as i, 'x'::varchar(3) as v, 'sad'::mood as m, null::mood[] as l, 1::positive as p where false"
    local expected = ("i integer 23, v character varying 1043, m mood %d, l mood[] %d, p integer 23"):format(mood, mood_array)
    assert.equal(expected, types(db:q(sql)))
    assert.equal(expected, types(db:arrays(sql)))
    assert.equal(expected, types(db:results(sql)[1].rows))
    assert.equal(expected, types(db:results(sql .. "; select 1")[1].rows))
    assert.equal("integer", db:q("select 1 as i"):types().i.name)
  end)

  it("are the server's for each type", function()
    local checked = 0
    for _, row in ipairs(db:q[[select oid::int as oid, format_type(oid, null) as f from pg_type
      where typtype in ('b', 'r', 'm', 'e') and typnamespace = 'pg_catalog'::regnamespace]]) do
      local ok, list = pcall(db.q, db, ("select null::%s as a"):format(row.f))
      if ok then
        local t = list:types()[1]
        assert.equal(row.oid, t.oid, row.f)
        assert.equal(row.f, t.name)
        checked = checked + 1
      end
    end
    assert.is_true(checked > 100, checked)
  end)

  it("are there for rows of Tables, of joins and of what wrote", function()
    db:execute "create table owner (id int primary key, m mood); create table pet (id int primary key, owner_id int references owner)"
    local owners = db.t.owner:inserts{ { id = 1, m = "sad" } }
    assert.equal("mood", owners:types().m.name)
    assert.equal("mood", db.t.owner():types()[2].name)
    db.t.pet:insert{ id = 1, owner_id = 1 }
    assert.equal("integer", db.t.pet{ with = { "owner" } }:types().owner_id.name)
    assert.equal(2, #db.t.pet{ with = { "owner" } }:types())
    assert.equal("mood", db.t.pet:join("owner"):select{ "pet.id", mood = "owner.m" }():types().mood.name)
    assert.equal("mood", db.t.owner:select("m")():types()[1].name)
    assert.equal("integer", db.t.pet:delete_where():types().owner_id.name)
  end)

  it("take no arguments, and names that are none are errors", function()
    assert.equal("invalid_argument", error_of(function() db:q("select 1"):types(1) end).name)
    assert.equal("invalid_argument", error_of(function() return db:q("select 1").typs end).name)
  end)
end)
