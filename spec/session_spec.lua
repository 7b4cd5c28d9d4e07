-- SPDX-License-Identifier: MIT
--
-- session: nothing of fastpg's own runs in a user's transaction, and settings of the session never change
-- what a value is.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

-- Each of these fails behind anything that took the transaction's snapshot.
local function has_no_snapshot(tx)
  tx:execute "set transaction isolation level serializable"
  tx:execute "set transaction isolation level repeatable read"
end

describe("settings of a transaction", function()
  local db = pg.db()

  local function show(settings, name)
    return db:transaction({ settings = settings }, function(tx) return tx:item("select current_setting($1)", name) end)
  end

  it("mean what set_config makes of them", function()
    for name, values in pairs{
      search_path = { "a, b", "public", '"$user", public', "$user,public", 'A, "B c","d""e"', "", "  x ", '"a, b"', "pg_temp , Public",
        "\tx,\ny" },
      temp_tablespaces = { "", "pg_default" },
      DateStyle = { "ISO, DMY", "sql", "german, ymd" },
      ["app.tenant"] = { "7'; drop table x; --", "\\", "a\\'b", "", "é", "a, b", " x " },
      ["app.Mixed.name_1"] = { "x" }, ["_a.b$c"] = { "x" },
      TimeZone = { "Europe/Berlin", "UTC", "-3" }, intervalstyle = { "iso_8601" },
      work_mem = { "1MB", "64" }, statement_timeout = { "5s" }, role = { "none" }, ENABLE_SEQSCAN = { "off", "true" },
      default_transaction_isolation = { "serializable" },
    } do
      for _, value in ipairs(values) do
        local expected = db:transaction(function(tx)
          tx:item("select set_config($1, $2, true)", name, value)
          return tx:item("select array[current_setting($1), current_schemas(false)::text]", name)
        end)
        local got = db:transaction({ settings = { [name] = value } }, function(tx)
          return tx:item("select array[current_setting($1), current_schemas(false)::text]", name)
        end)
        assert.equal(expected[2], got[2])
        local is_list = name == "search_path" or name == "temp_tablespaces" -- of which an empty name says the same as none
        if not is_list then assert.equal(expected[1], got[1]) end
      end
    end
  end)

  it("find the same tables by a search_path as set_config's", function()
    db:execute [[create schema "A"; create schema a; create schema "b, c"; create schema "d""e"; create schema "$user"]]
    for i, schema in ipairs{ '"A"', "a", '"b, c"', '"d""e"', '"$user"' } do
      db:execute(("create table %s.here (n int); insert into %s.here values (%d)"):format(schema, schema, i))
    end
    for path, n in pairs{ ['"A"'] = 1, A = 2, ["a,x"] = 2, ['nix , "b, c", a'] = 3, ['"d""e"'] = 4, ['b, c, "A"'] = 1 } do
      db:transaction({ settings = { search_path = path } }, function(tx)
        assert.equal(n, tx:item "select n from here")
      end)
    end
    for _, path in ipairs{ ",a", "a,", "a b", '"a', 'a"b" c', "a,,b" } do
      local err = error_of(db.transaction, db, { settings = { search_path = path } }, print)
      assert.is_true(fastpg.is(err, "invalid_argument"), path)
      assert.truthy(tostring(err):find "search_path is no list of names")
    end
  end)

  it("are strings, numbers and booleans", function()
    assert.equal("7", show({ ["app.n"] = 7 }, "app.n"))
    assert.equal("7", show({ ["app.n"] = 7.0 }, "app.n"))
    assert.equal("0.1", show({ ["app.n"] = 0.1 }, "app.n"))
    assert.equal("-9007199254740992", show({ ["app.n"] = -2 ^ 53 }, "app.n"))
    assert.equal("1e+300", show({ ["app.n"] = 1e300 }, "app.n"))
    assert.equal("on", show({ ["app.n"] = true }, "app.n"))
    assert.equal("off", show({ ["app.n"] = false }, "app.n"))
    for _, value in ipairs{ {}, { 7 }, fastpg.null, print, 0 / 0, 1 / 0, fastpg.numeric "1.5", "a\0b" } do
      local err = error_of(db.transaction, db, { settings = { ["app.n"] = value } }, print)
      assert.is_true(fastpg.is(err, "invalid_argument"))
      assert.truthy(tostring(err):find("app.n", 1, true))
      assert.is_true(fastpg.is(error_of(db.begin, db, { settings = { ["app.n"] = value } }), "invalid_argument"))
    end
    for _, name in ipairs{ "", ".", "a.", ".a", "a..b", "app." .. ("x"):rep(64), "a\0b", 1, true } do
      local err = error_of(db.transaction, db, { settings = { [name] = "x" } }, print)
      assert.is_true(fastpg.is(err, "invalid_argument"), tostring(name))
    end
    assert.equal("idle", db:item "select case when pg_backend_pid() > 0 then 'idle' end")
  end)

  it("are set in the order of their names", function()
    local err = error_of(db.transaction, db, { settings = { zz = 1, aa = 1, mm = 1 } }, print)
    assert.truthy(tostring(err):find '"aa"')
    err = error_of(db.transaction, db, { settings = { zz = 1, ["a.ok"] = 1, mm = 1 } }, print)
    assert.truthy(tostring(err):find '"mm"')
  end)

  it("take no snapshot", function()
    db:execute "create table stock (n int)"
    local other = pg.db()
    db:transaction({ settings = { ["app.tenant"] = 7, search_path = "public", work_mem = "1MB" } }, has_no_snapshot)
    db:transaction({ isolation = "repeatable read", settings = { ["app.tenant"] = 7, search_path = "public" } }, function(tx)
      other:execute "insert into stock values (1)"
      tx:execute "lock table stock"
      assert.equal(1, tx:item "select count(*) from stock")
    end)
    other:close()
  end)
end)

describe("statements that the cache forgets", function()
  local db = pg.db{ statement_cache_size = 3 }

  local function count()
    return db:item "select count(*) from pg_prepared_statements where name like 'fastpg%'"
  end

  it("are not deallocated in a transaction of the user's", function()
    for i = 1, 10 do db:q("select " .. i) end
    db:transaction(function(tx)
      tx:execute "set transaction isolation level repeatable read"
      tx:q "show work_mem"
      tx:q "show datestyle"
      has_no_snapshot(tx)
    end)
    db:execute "create table if not exists shelf (n int)"
    local other = pg.db()
    db:transaction({ isolation = "repeatable read" }, function(tx)
      for _, name in ipairs{ "work_mem", "datestyle", "timezone", "port", "search_path" } do tx:q("show " .. name) end
      other:execute "insert into shelf values (1)"
      tx:execute "lock table shelf"
      assert.equal(1, tx:item "select count(*) from shelf")
    end)
    other:close()
  end)

  it("are deallocated all the same, by the next statement or before the next transaction", function()
    for i = 1, 20 do db:q("select " .. i) end
    db:q "select 'next'"
    assert.is_true(count() <= 5)
    db:transaction(function(tx)
      for i = 1, 50 do tx:q("select 100 + " .. i) end
    end)
    assert.is_true(count() <= 5)
    for _ = 1, 3 do
      db:transaction(function(tx)
        for i = 1, 50 do tx:q("select 200 + " .. i) end
        assert.is_true(tx:item "select count(*) from pg_prepared_statements where name like 'fastpg%'" <= 53 + 10 + 3)
      end)
    end
  end)

  it("may be gone already", function()
    db:transaction(function(tx)
      for i = 1, 50 do tx:q("select 300 + " .. i) end
    end)
    pg.psql "select 1" -- (another session changes nothing here)
    db:execute "do $$ begin execute 'deallocate all'; end $$"
    db:transaction(function(tx) assert.equal(7, tx:item "select 7") end)
    for i = 1, 9 do assert.equal(i, db:item("select 400 + " .. i) - 400) end
  end)
end)
