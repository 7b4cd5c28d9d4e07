-- SPDX-License-Identifier: MIT
--
-- value_types: parameters whose type the server can't tell by the text.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local Route = require "fastpg.pool.route"

local db = pg.db()
db:execute[[
  create function f(int) returns text language sql as 'select ''int''';
  create function f(bool) returns text language sql as 'select ''bool''';
  create function f(date) returns text language sql as 'select ''date''';
  create table t (id serial primary key, name text, ok bool, doc jsonb);
]]

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

-- How often Parse was sent while fn ran.
local function parses(fn)
  local methods = getmetatable(Route.of(db):on_connection(function(conn) return conn.c end)).__index
  local original, count = methods.send_prepare, 0
  methods.send_prepare = function(...)
    count = count + 1
    return original(...)
  end
  local ok, err = pcall(fn)
  methods.send_prepare = original
  assert(ok, err)
  return count
end

local DATE = fastpg.date(2020, 2, 3)

-- SQL, arguments, what comes; of a text all in the order that they stand in.
local CASES = {
  { "select $1 as v", true, true }, { "select $1 as v", 1, "1" }, { "select $1 as v", false, false }, { "select $1 as v", "x", "x" },
  { "select $1 as v", nil, nil }, { "select $1 as v", DATE, "2020-02-03" },
  { "select pg_typeof($1)::text as v", nil, "text" }, { "select pg_typeof($1)::text as v", true, "boolean" },
  { "select pg_typeof($1)::text as v", 1, "text" }, { "select pg_typeof($1)::text as v", "x", "text" },
  { "select pg_typeof($1)::text as v", DATE, "date" }, { "select pg_typeof($1)::text as v", fastpg.numeric "1.5", "numeric" },
  { "select pg_typeof($1)::text as v", true, "boolean" }, { "select pg_typeof($1)::text as v", fastpg.null, "text" },
  { "select $1 is null as v", fastpg.null, true }, { "select $1 is null as v", false, false }, { "select $1 is null as v", 2, false },
  { "select f($1) as v", true, "bool" }, { "select f($1) as v", DATE, "date" }, { "select f($1) as v", false, "bool" },
  { "select to_json($1)::text as v", "x", '"x"' }, { "select to_json($1)::text as v", true, "true" },
  { "select concat($1, 'y') as v", 1, "1y" }, { "select concat($1, 'y') as v", true, "ty" }, { "select concat($1, 'y') as v", nil, "y" },
  { "select coalesce($1, false) as v", true, true }, { "select $1 || 'a' as v", true, "truea" },
  { "select $1 as v union all select null", true, true },
}

local WAYS = {
  q = function(base, sql, value) return base:q(sql, value)[1].v end,
  first = function(base, sql, value) return base:first(sql, value).v end,
  arrays = function(base, sql, value)
    local v = base:arrays(sql, value)[1][1]
    if v == fastpg.null then return nil end
    return v
  end,
  results = function(base, sql, value) return base:results(sql, value)[1].rows[1].v end,
  each = function(base, sql, value)
    local v
    base:each(sql, value, function(row)
      v = row.v
      return false
    end)
    return v
  end,
  args = function(base, sql, value) return base:q(sql, fastpg.args({ value }, 1))[1].v end,
  prepare = function(base, sql, value) return base:prepare(sql):q(value)[1].v end,
  pipeline = function(base, sql, value)
    return base:pipeline(function(p)
      p:q "select 1"
      p:q(sql, value)
    end)[2][1].v
  end,
  fragment = function(base, sql, value)
    if value == nil then value = fastpg.null end
    return base:q(fastpg.sql((sql:gsub("%$1", "?")), value))[1].v
  end,
}

describe("a parameter whose type the server can't tell", function()
  for name, way in pairs(WAYS) do
    it("has that of its value: " .. name, function()
      for _, options in ipairs{ {}, { statement_cache_size = 0 }, { statement_cache_size = 1 } } do
        options.dbname = db:item "select current_database()"
        local one = pg.db(options)
        for round = 1, 2 do
          for i, case in ipairs(CASES) do
            assert.equal(case[3], way(one, case[1], case[2]), ("round %d, case %d: %s"):format(round, i, case[1]))
          end
        end
        one:close()
      end
    end)
  end

  it("costs a round trip the first time, and none later", function()
    local sql = "select pg_typeof($1)::text as once"
    assert.equal(2, parses(function() db:q(sql, true) end))
    assert.equal(0, parses(function() db:q(sql, false) end))
    assert.equal(1, parses(function() db:q(sql, "x") end))
    assert.equal(0, parses(function()
      db:q(sql, true) db:q(sql, "y") db:q(sql, nil) db:q(sql, 3)
    end))
    sql = "select $1 as twice"
    assert.equal(1, parses(function() db:q(sql, "x") end))
    assert.equal(1, parses(function() db:q(sql, true) end))
    assert.equal(0, parses(function() db:q(sql, false) db:q(sql, 1) db:q(sql, true) end))
  end)

  it("leaves the others to the server", function()
    db:execute "insert into t (id, name, ok) values (1, 'a', true)"
    local sql = "select pg_typeof($1)::text as a, id, $3 as c from t where id = $2"
    local row = db:first(sql, true, 1, false)
    assert.equal("boolean", row.a)
    assert.equal(1, row.id)
    assert.equal(false, row.c)
    assert.equal("text", db:first(sql, 5, 1, 7).a)
    assert.equal("7", db:first(sql, 5, 1, 7).c)
    assert.equal(true, db:item("select count(*) = 1 from t where f($1) = 'bool' and id = $2", true, 1))
    db:execute "delete from t"
  end)

  it("is one of executemany's, whose items may differ", function()
    assert.equal(4, db:executemany("insert into t (name) values (pg_typeof($1)::text)", { { true }, { 1 }, { DATE }, { "x" } }))
    assert.same({ "boolean", "text", "date", "text" }, db.t.t:order_by("id"):pluck("name"))
    db:execute "delete from t"
    assert.equal(3, db:executemany("select $1 as v", { { "a" }, { false }, { 2 } }))
    assert.equal(3, db:executemany("select pg_typeof($1), $1 as v", { { "a" }, { false }, { 2 } }))
    local err = error_of(db.executemany, db, "insert into t (name) values ($1)", { { "a" }, { true } })
    assert.truthy(tostring(err):find("$1: text", 1, true))
    assert.equal(0, db.t.t:count())
  end)

  it("is several in a pipeline, each with its own", function()
    local list = db:pipeline(function(p)
      for _, value in ipairs{ true, 1, DATE, "x" } do p:item("select pg_typeof($1)::text as p", value) end
      for _, value in ipairs{ 1, true, "x", false } do p:item("select $1 as p", value) end
    end)
    assert.same({ "boolean", "text", "date", "text", "1", true, "x", false, n = 8 }, list)
  end)
end)

describe("in a transaction a parameter of no type", function()
  it("is an error that says what to write, as the transaction is lost", function()
    local err = error_of(db.transaction, db, function(tx) tx:q("select num_nulls($1) as fresh", true) end)
    assert.equal("indeterminate_datatype", err.name)
    assert.truthy(err.hint:find("$1::boolean", 1, true))
    assert.equal(true, db:transaction(function(tx) return tx:item("select $1::boolean", true) end))
  end)

  it("is none where it is known already", function()
    db:q("select pg_typeof($1)::text as known", true)
    db:transaction(function(tx)
      assert.equal("boolean", tx:item("select pg_typeof($1)::text as known", true))
      assert.equal("date", tx:item("select pg_typeof($1)::text as known", DATE))
      assert.equal("text", tx:item("select pg_typeof($1)::text as known", 1))
    end)
  end)

  it("that is taken for text loses nothing", function()
    db:transaction(function(tx)
      tx:execute "insert into t (name) values ('kept')"
      assert.equal(true, tx:item("select $1 as inside", true))
      local err = error_of(tx.q, tx, "select * from t where name = $1", true)
      assert.truthy(tostring(err):find("$1: text", 1, true))
      assert.equal("kept", tx:item "select name from t")
      for row in tx:each("select $1 as v, name from t", true) do assert.equal(true, row.v) end
      local list = tx:pipeline(function(p) p:item("select $1 as piped", false) p:item("select name from t") end)
      assert.same({ false, "kept", n = 2 }, list)
    end)
    assert.equal(1, #db.t.t:delete_where())
  end)
end)

describe("what no type helps", function()
  it("is the error that it was, with a hint", function()
    local err = error_of(db.q, db, "select f($1)", "x")
    assert.equal("ambiguous_function", err.name)
    assert.truthy(err.hint)
    db:q("select f($1)", true)
    assert.equal("ambiguous_function", error_of(db.q, db, "select f($1)", 1).name)
    assert.truthy(tostring(error_of(db.q, db, "select $1", { 1 })):find("got table", 1, true))
    err = error_of(db.q, db, "select pg_typeof($1)", { 1 })
    assert.equal("indeterminate_datatype", err.name)
    assert.truthy(err.hint:find("jsonb", 1, true))
    assert.truthy(tostring(error_of(db.q, db, "select * from t where name = ?", true)):find("$1: text", 1, true))
    for _, call in ipairs{
      function() db:execute("insert into t (name) values (?)", true) end, function() db.t.t:insert{ name = true } end,
      function() db:q("select $1::text", true) end, function() db:q("select $1, cast( $1 AS text)", true) end,
      function() db:execute("with x as (update t set name = ? returning 1) select * from x", true) end,
      function() db.t.t:inserts{ { name = "a" }, { name = false } } end,
      function() db:pipeline(function(p) p:execute("insert into t (name) values (?)", true) end) end,
    } do
      assert.truthy(tostring(error_of(call)):find("text (a string or a number) expected", 1, true))
    end
    assert.equal("syntax_error", error_of(db.q, db, "select $1 from from", true).name)
    assert.equal(0, db.t.t:count())
  end)

  it("is a number of arguments that is not that of the statement", function()
    assert.equal("invalid_argument", error_of(db.q, db, "select $1 as a, $2 as b", true).name)
    assert.equal("invalid_argument", error_of(db.q, db, "select $1", true, true).name)
  end)
end)
