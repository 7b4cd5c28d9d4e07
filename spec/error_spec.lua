-- SPDX-License-Identifier: MIT
--
-- Errors: objects with every field, found by name and class, at the caller's line, without secrets.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

local function here() return debug.getinfo(2, "l").currentline end

describe("errors", function()
  local db
  setup(function()
    db = pg.db()
    db:execute[[
      create schema "S x";
      create domain "S x".positive as int constraint "is positive" check (value > 0);
      create table "S x"."T" (id int primary key, n int not null, "C c" int constraint "c ok" check ("C c" < 10));
      insert into "S x"."T" values (1, 1, 1)]]
  end)
  teardown(function() db:close() end)

  it("carry every field of the server's report", function()
    local err = error_of(db.execute, db, [[insert into "S x"."T" values (?, 2, 2)]], 1)
    assert.are.equal("unique_violation", err.name)
    assert.are.equal("23505", err.sqlstate)
    assert.are.equal("ERROR", err.severity)
    assert.are.equal("S x", err.schema_name)
    assert.are.equal("T", err.table_name)
    assert.are.equal("T_pkey", err.constraint_name)
    assert.are.equal("Key (id)=(1) already exists.", err.detail)
    assert.is_truthy(err.message:find("duplicate key", 1, true))
    assert.is_string(err.source_file)
    assert.is_string(err.source_line)
    assert.is_string(err.source_function)
    assert.are.equal([[insert into "S x"."T" values ($1, 2, 2)]], err.query)
    assert.is_nil(err.position)
    err = error_of(db.execute, db, [[insert into "S x"."T" values (2, null)]])
    assert.are.equal("n", err.column_name)
    assert.are.equal("not_null_violation", err.name)
    err = error_of(db.q, db, [[select (-1)::"S x".positive]])
    assert.are.equal("is positive", err.constraint_name)
    assert.are.equal("positive", err.datatype_name)
    err = error_of(db.q, db, "select nme from pg_class")
    assert.are.equal(8, err.position)
    assert.are.equal("undefined_column", err.name)
    err = error_of(db.q, db, "select relnam from pg_class")
    assert.is_truthy(err.hint:find("relname", 1, true))
    err = error_of(db.execute, db, "do $$ begin execute 'selec 1'; end $$")
    assert.are.equal("selec 1", err.internal_query)
    assert.are.equal(1, err.internal_position)
    assert.is_truthy(err.context:find("PL/pgSQL", 1, true))
    err = error_of(db.execute, db, [[do $$ begin raise exception using errcode = 'ZZ123', message = 'm', detail = 'd',
      hint = 'h', column = 'c', constraint = 'k', datatype = 't', table = 'tab', schema = 's'; end $$]])
    assert.are.same({ "ZZ123", "m", "d", "h", "c", "k", "t", "tab", "s" }, { err.sqlstate, err.message, err.detail,
      err.hint, err.column_name, err.constraint_name, err.datatype_name, err.table_name, err.schema_name })
    assert.are.equal("error", err.name)
  end)

  it("are found by name, class, SQLSTATE and group", function()
    local err = error_of(db.execute, db, [[insert into "S x"."T" values (1, 2, 2)]])
    for _, what in ipairs{ "unique_violation", "23505", "23", "integrity_constraint_violation" } do
      assert.is_true(fastpg.is(err, what), what)
      assert.is_true(err:is(what), what)
    end
    for _, what in ipairs{ "not_found", "check_violation", "22", "data_exception", "connection", "timeout", "" } do
      assert.is_false(fastpg.is(err, what), what)
    end
    err = error_of(db.qone, db, "select 1 where false")
    assert.is_true(fastpg.is(err, "not_found"))
    assert.is_true(fastpg.is(err, fastpg.NotFoundError))
    for _, code in ipairs{ "08000", "08006", "57P01", "57P02", "57P03" } do
      err = error_of(db.execute, db, ("do $$ begin raise exception 'x' using errcode = '%s'; end $$"):format(code))
      assert.is_true(fastpg.is(err, "connection"), code)
    end
    err = error_of(db.execute, db, "do $$ begin raise exception 'x' using errcode = '57014'; end $$")
    assert.is_false(fastpg.is(err, "connection"))
    for _, other in ipairs{ "text", 5, {}, print, false } do assert.is_false(fastpg.is(other, "not_found")) end
    assert.is_false(fastpg.is(nil, "not_found"))
    assert.is_true(fastpg.is(error_of(fastpg.is, err, 5), "invalid_argument"))
    assert.is_true(fastpg.is(error_of(fastpg.is, err), "invalid_argument"))
  end)

  it("read as one line", function()
    local err = error_of(db.execute, db, [[insert into "S x"."T" values (1, 2, 2)]])
    local text = tostring(err)
    assert.is_nil(text:find("\n", 1, true))
    assert.is_truthy(text:find("unique_violation: duplicate key", 1, true), text)
    assert.is_truthy(text:find("(SQLSTATE 23505)", 1, true), text)
    assert.is_nil(text:find("(1)", 1, true), "the detail holds values")
    assert.are.equal("x: " .. text, "x: " .. err)
    err = error_of(db.execute, db, "do $$ begin raise exception E'two\nlines'; end $$")
    assert.are.equal("two\nlines", err.message)
    assert.is_truthy(tostring(err):find("two lines", 1, true))
  end)

  it("are at the caller's line, whoever raises them", function()
    local line
    local function check(fn)
      local err = error_of(fn)
      assert.is_string(err.where, tostring(err))
      assert.are.equal("error_spec.lua:" .. line, err.where:match("error_spec.lua:%d+$"), tostring(err))
    end
    check(function() line = here() db:q("select 1/0") end)
    check(function() line = here() db:q("select ?::int", 1.5) end)
    check(function() line = here() db:q("select ?::int") end)
    check(function() line = here() db:q(5) end)
    check(function() line = here() db:first("select $1::int", {}) end)
    check(function() line = here() db:executemany("select ?::int", { { 1.5 } }) end)
    check(function() line = here() db:executemany("select ?::int", { { "x" } }) end)
    check(function() line = here() db:pipeline(function(p) p:q("select 1/0") end) end)
    check(function() line = here() db:transaction({ x = 1 }, function() end) end)
    check(function() line = here() db:nothing() end)
    check(function() db:transaction(function() line = here() db:q("select ?::int", 1.5) end) end)
    check(function() db:transaction(function(tx) line = here() tx:q("select ?::int", 1.5) end) end)
    check(function() db:acquire(function() line = here() db:q("selec") end) end)
    check(function() local p = db:prepare("select ?::int") line = here() p:item(1.5) end)
    check(function()
      line = here() for _ in db:each("select ?::int", 1.5) do end -- luacheck: ignore
    end)
    check(function()
      line = here() for _ in db:each("select 1 / (3 - g) from generate_series(1, 5) g") do end -- luacheck: ignore
    end)
    check(function()
      coroutine.wrap(function() line = here() db:q("select ?::int", 1.5) end)()
    end)
    check(function() line = here() fastpg.connect{ prot = 5 } end)
    check(function() line = here() fastpg.connect("host='") end)
    check(function() line = here() fastpg.connect{ host = "/nowhere/at/all" } end)
  end)

  it("hold the statement, and no parameter's value", function()
    local secret = "s3cret-value"
    for _, call in ipairs{
      function() db:q("select ?::int", secret .. "x", 1) end,
      function() db:q("select ?::int", { secret }) end,
      function() db:q("select :a::int", { b = secret }) end,
      function() db:execute([[insert into "S x"."T" values (?, null)]], 1, secret) end,
      function() db:executemany("select ?::int", { { 1, secret } }) end,
      function() db:q("select ?::json", function() return secret end) end,
    } do
      local err = error_of(call)
      assert.is_nil(tostring(err):find(secret, 1, true), tostring(err))
      assert.is_nil((err.message or ""):find(secret, 1, true), err.message)
      assert.is_nil((err.query or ""):find(secret, 1, true), err.query)
    end
    local err = error_of(db.q, db, "select ?::int + 1/0", 1)
    assert.are.equal("select $1::int + 1/0", err.query)
  end)

  it("name near options", function()
    local err = error_of(fastpg.connect, { datbase = "x" })
    assert.is_truthy(err.message:find('unknown option "datbase" (did you mean "database"?)', 1, true), err.message)
    err = error_of(fastpg.connect, { comand_timeout = 5 })
    assert.is_truthy(err.message:find('did you mean "command_timeout"', 1, true), err.message)
    err = error_of(fastpg.connect, { max_size = 5 })
    assert.is_truthy(err.message:find('unknown option "max_size"', 1, true), err.message)
    err = error_of(fastpg.create_pool, "dbname=x", { maxsize = 5 })
    assert.is_truthy(err.message:find('did you mean "max_size"', 1, true), err.message)
    err = error_of(function() db:fetchrw("select 1") end)
    assert.is_truthy(err.message:find("did you mean", 1, true), err.message)
  end)
end)

describe("try and guard", function()
  it("try gives the results, or nil and the error", function()
    local function pack(...) return { n = select("#", ...), ... } end
    assert.are.same({ n = 3, 1, nil, 3 }, pack(fastpg.try(function(a, b) return a, nil, b end, 1, 3)))
    assert.are.same({ n = 0 }, pack(fastpg.try(function() end)))
    local mine = {}
    local result, err = fastpg.try(function() error(mine) end)
    assert.is_nil(result)
    assert.are.equal(mine, err)
  end)

  it("guard raises one line of text with the traceback", function()
    local db = pg.db()
    assert.are.equal(3, (fastpg.guard(function(a, b) return a + b end, 1, 2)))
    local err = error_of(fastpg.guard, function() db:q("select 1/0") end)
    assert.are.equal("string", type(err))
    assert.is_truthy(err:find("division_by_zero", 1, true))
    assert.is_truthy(err:find("stack traceback", 1, true))
    assert.is_truthy(err:find("error_spec.lua", 1, true))
    db:close()
  end)
end)
