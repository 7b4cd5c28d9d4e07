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

describe("naming a table in a transaction of one snapshot", function()
  it("takes none: it is looked up at its first use", function()
    local db, other = pg.db(), pg.db()
    db:execute "create table ledger (n int)"
    for _, isolation in ipairs{ "repeatable read", "serializable" } do
      db:refresh()
      other:execute "truncate ledger"
      db:transaction({ isolation = isolation }, function(tx)
        local mine, ambient = tx.t.ledger, db.t.ledger
        tx:execute("lock table " .. mine .. ", " .. db.t.ledger)
        other:execute "set lock_timeout = 100"
        tx:execute "set transaction isolation level serializable"
        assert.equal('"ledger"', tostring(ambient))
        assert.equal(0, #mine)
        assert.equal(0, ambient:count())
        assert.equal("undefined_table", error_of(function() return tx.t.leger() end).name)
      end)
    end
    db:refresh()
    local tx = db:begin{ isolation = "repeatable read" }
    local ledger = tx.t.ledger
    other:execute "insert into ledger values (1)"
    tx:execute("lock table " .. ledger)
    assert.equal(1, #ledger())
    tx:commit()
    db:transaction(function(t) assert.equal("undefined_table", error_of(function() return t.t.leger end).name) end)
    assert.equal("undefined_table", error_of(function() return db.t.leger end).name)
    db:execute "drop table ledger"
    db:close()
    other:close()
  end)
end)

describe("the first use of a table in a transaction of one snapshot", function()
  it("takes none where another connection can look it up", function()
    local db, other = pg.pool({}, { max_size = 2 }), pg.db()
    other:execute "drop table if exists ledger; create table ledger (n int, tenant int)"
    db:acquire(function()
      fastpg.spawn(function() db:q "select 1" end):wait() -- two connections
    end)
    for _, isolation in ipairs{ "repeatable read", "serializable" } do
      other:execute "truncate ledger"
      db:refresh()
      db:transaction({ isolation = isolation }, function(tx)
        local mine = tx.t.ledger:scope{ tenant = 1 }
        db.t.ledger:xtra{ n = 1 }
        other:execute "insert into ledger values (1, 1)"
        tx:execute("lock table " .. tx.t.ledger)
        assert.equal(1, #mine)
      end)
      db.t.ledger:xtra()
    end
    -- not where the name means something else there
    db:refresh()
    db:transaction({ isolation = "repeatable read" }, function(tx)
      tx:execute "create temp table ledger (other int) on commit drop"
      assert.equal("other", tx.t.ledger.cols[1])
      assert.equal("n", tx.t["public.ledger"].cols[1])
    end)
    db:transaction({ isolation = "repeatable read", settings = { search_path = "pg_catalog" } }, function(tx)
      assert.equal("undefined_table", error_of(function() return #tx.t.ledger end).name)
    end)
    other:execute "drop table ledger"
    db:close()
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

-- Beside a money column all of a result comes as text, which the session's settings shape.
describe("a result that comes as text", function()
  local db = pg.db{ command_timeout = 30 }
  local uncached = pg.db{ statement_cache_size = 0 }

  local VALUES = {
    date = { "2003-02-01", "2003-12-11", "0044-03-15 BC", "4714-11-24 BC", "5874897-12-31", "infinity", "-infinity", "2000-02-29" },
    timestamp = { "2003-02-01 04:05:06.789", "2003-11-12 00:00", "0044-03-15 12:00:00.000001 BC", "infinity", "-infinity",
      "294276-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC" },
    timestamptz = { "2003-02-01 04:05:06.789+00", "2003-07-12 04:05:06+00", "2024-10-27 00:30+00", "2024-10-27 01:30+00",
      "2024-03-31 00:59:59.5+00", "2024-03-31 01:00+00", "1880-01-01 00:00+00", "0044-03-15 12:00:00+00 BC", "infinity",
      "-infinity", "2090-07-01 00:00+00", "2014-10-25 20:00+00" },
    interval = { "1 day 2 hours", "-1 day -2 hours", "-1 day +2 hours", "1 year 2 mons", "-1 year -2 mons", "1 mon -1 day", "0",
      "1 year 2 mons 3 days 04:05:06.789", "-1 year -2 mons -3 days -04:05:06.789", "00:00:00.000001", "-00:00:01", "100:00:00",
      "1 year 2 mons -3 days 04:05:06", "13 mons 40 days -30:00", "-2147483648 days", "3 days" },
    ["date[]"] = { "{2003-02-01,NULL,0044-03-15 BC}" },
    ["timestamptz[]"] = { '{"2003-02-01 04:05:06+00",infinity}' },
    ["interval[]"] = { '{"1 day 2 hours","-1 mons"}' },
    daterange = { "[2003-02-01,2003-05-06)", "empty", "(,2003-05-06)" },
    tstzrange = { '["2003-02-01 04:05:06+00","2003-03-04 05:06:07+00")' },
    tsmultirange = { '{["2003-02-01 04:05:06","2003-03-04 05:06:07")}' },
    text_stamp = { '(2003-02-01,"2003-02-01 04:05:06","2003-07-01 04:05:06+00","1 day 2 hours",1.1)' },
    float8 = { "0.1", "1.1", "123456789.123456789", "1e-300", "0.30000000000000004" },
    float4 = { "0.1", "1.1", "7.038531e-26" },
    ["float8[]"] = { "{0.30000000000000004,NULL}" },
    point = { "(0.30000000000000004,1.1)" },
  }

  -- One statement that selects them all.
  local columns = {}
  for _, name in ipairs{ "date", "timestamp", "timestamptz", "interval", "date[]", "timestamptz[]", "interval[]", "daterange",
    "tstzrange", "tsmultirange", "text_stamp", "float8", "float4", "float8[]", "point" } do
    for _, text in ipairs(VALUES[name]) do columns[#columns + 1] = ("'%s'::%s as c%d"):format(text, name, #columns + 1) end
  end
  local in_binary = "select " .. table.concat(columns, ", ")
  -- (literals as ISO, whatever the order: the values come out of a table)
  local SQL = "select *, '1'::money as m from odd_values"

  local function texts(row)
    local out = {}
    for i = 1, #columns do out[i] = tostring(fastpg.to_json(row["c" .. i])) end
    return out
  end

  setup(function()
    db:execute "create type text_stamp as (d date, t timestamp, z timestamptz, i interval, f float8)"
    db:execute("create table odd_values as " .. in_binary)
  end)

  local ways = {
    q = function(d) return d:q(SQL)[1] end,
    first = function(d) return d:first(SQL) end,
    arrays = function(d)
      local list, row = d:arrays(SQL)[1], {}
      for i = 1, #columns do row["c" .. i] = list[i] end
      return row
    end,
    each = function(d)
      local found
      d:each(SQL, function(row) found = row end)
      return found
    end,
    prepare = function(d) return d:prepare(SQL):first() end,
    pipeline = function(d)
      return d:pipeline(function(p)
        p:q "select 1"
        p:first(SQL)
        p:first(SQL)
      end)[2]
    end,
    transaction = function(d) return d:transaction(function(tx) return tx:first(SQL) end) end,
    ["each in a transaction"] = function(d)
      local found
      d:transaction(function(tx) tx:each(SQL, function(row) found = row end) end)
      return found
    end,
    ["with an argument"] = function(d) return d:first(SQL .. " where $1::int = 7", 7) end,
  }

  local function check(settings, zone)
    for _, d in ipairs{ db, uncached } do
      d:execute("set datestyle = iso; set intervalstyle = postgres; set timezone = '" .. zone .. "'; set extra_float_digits = 1")
      local binary = texts(d:first "select * from odd_values")
      d:execute(settings)
      for name, way in pairs(ways) do
        local row = way(d)
        local got = texts(row)
        for i, text in ipairs(binary) do
          if got[i] ~= text then
            error(("%s, %s, %s: %s: expected %s, got %s"):format(settings, zone, name, columns[i], text, got[i]), 0)
          end
        end
      end
    end
  end

  local zones = { "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "<+03>-3", "Australia/Lord_Howe" }
  for _, style in ipairs{ "iso", "sql", "postgres", "german" } do
    it("is read under DateStyle " .. style .. ", whatever the order and zone", function()
      for i, order in ipairs{ "mdy", "dmy", "ymd" } do
        for j, zone in ipairs(zones) do
          if (i + j) % 3 == 0 or j <= 2 then check(("set datestyle = '%s, %s'"):format(style, order), zone) end
        end
      end
      assert.is_true(#columns > 60)
    end)
  end

  it("is read under every IntervalStyle, and with any digits", function()
    for _, style in ipairs{ "postgres", "postgres_verbose", "sql_standard", "iso_8601" } do
      check("set intervalstyle = " .. style, "Europe/Berlin")
      check("set datestyle = 'sql, dmy'; set extra_float_digits = -15; set intervalstyle = " .. style, "UTC")
    end
    for _, digits in ipairs{ "-15", "0", "1", "3" } do check("set extra_float_digits = " .. digits, "UTC") end
  end)

  it("is never read by the style of before, where the statement itself sets another one", function()
    db:execute [[create function other_style() returns text language sql as
      $$ select set_config('DateStyle', case current_setting('DateStyle') when 'SQL, MDY' then 'SQL, DMY' else 'SQL, MDY' end, false) $$]]
    for _, call in ipairs{ "set_config('DateStyle', 'SQL, DMY', false)", "other_style()" } do
      for _, style in ipairs{ "iso, mdy", "sql, mdy", "iso, dmy" } do
        for _, how in ipairs{ "q", "each", "each in a transaction" } do
          local function read(values)
            db:execute("set datestyle = '" .. style .. "'; set timezone = 'Europe/Berlin'")
            local sql, seen = ("select %s, '1'::money as m, %s"):format(call, values), nil
            local function note(row) seen = row end
            local ok, err = pcall(function()
              if how == "q" then note(db:q(sql)[1])
              elseif how == "each" then db:each(sql, note)
              else db:transaction(function(tx) tx:each(sql, note) end) end
            end)
            if not ok then assert.equal("ambiguous_text", err.name, tostring(err)) end
            return ok, seen
          end
          local ok, row = read "date '2024-02-01' as d"
          if ok then assert.equal("2024-02-01", tostring(row.d), call .. style .. how) end
          ok, row = read "timestamptz '2024-02-01 12:00+01' as d"
          if ok then assert.equal("2024-02-01 12:00:00+01", tostring(row.d), call .. style .. how) end
        end
      end
    end
    for _, d in ipairs{ db, uncached } do d:execute "reset all; set datestyle = iso" end
    db:execute "drop function other_style()"
  end)

  it("leaves the digits as they were set", function()
    for _, d in ipairs{ db, uncached } do
      d:execute "reset all; set extra_float_digits = -2"
      for name, way in pairs(ways) do
        way(d)
        assert.equal("-2", d:item "show extra_float_digits", name)
      end
      d:transaction(function(tx)
        tx:first(SQL)
        assert.equal("-2", tx:item "show extra_float_digits")
        tx:execute "set extra_float_digits = -3"
        tx:first(SQL)
        assert.equal("-3", tx:item "show extra_float_digits")
      end)
      assert.equal("-3", d:item "show extra_float_digits")
      d:execute "set extra_float_digits = 1"
    end
  end)

  it("takes no snapshot before its own", function()
    db:execute "set extra_float_digits = 0"
    local other = pg.db()
    db:transaction({ isolation = "repeatable read" }, function(tx)
      other:execute "create table if not exists later (n float8); insert into later values (0.1)"
      tx:execute "lock table later"
      assert.equal(1, #tx:q "select n, '1'::money from later")
    end)
    other:execute "drop table later"
    other:close()
    db:execute "reset all"
  end)

  it("knows what changes within a pipeline", function()
    db:execute "set datestyle = iso; set timezone = 'UTC'"
    local day = "select d, '1'::money as m from (select '2003-02-01'::date d union all select '2003-05-06') s"
    local got = db:pipeline(function(p)
      p:q(day)
      p:execute "set datestyle = 'sql, dmy'"
      p:q(day)
      p:execute "set datestyle = 'sql, mdy'"
      p:q(day)
      p:execute "set datestyle = german"
      p:q(day)
    end)
    for _, i in ipairs{ 1, 3, 5, 7 } do
      assert.equal("2003-02-01", tostring(got[i][1].d))
      assert.equal("2003-05-06", tostring(got[i][2].d))
    end
    db:execute "reset all; set datestyle = iso"
  end)

  it("is refused where the statement changes what it means itself, never wrong", function()
    db:execute "set datestyle = 'iso, mdy'; set timezone = 'UTC'"
    local sql = "select set_config('datestyle', $1, false), d, '1'::money as m from (select '%s'::date d) s"
    local err = error_of(db.q, db, sql:format "2003-02-01", "sql, dmy")
    assert.truthy(tostring(err):find "order of day and month")
    db:execute "set datestyle = 'iso, mdy'"
    assert.equal("2003-02-13", tostring(db:first(sql:format "2003-02-13", "sql, dmy").d))
    db:execute "set datestyle = 'iso, mdy'"
    assert.equal("2003-02-01", tostring(db:first(sql:format "2003-02-01", "german").d))
    db:execute "set datestyle = 'german'"
    err = error_of(db.q, db, "select set_config('timezone', 'America/New_York', false), timestamptz '2003-07-01 00:00+00', '1'::money")
    assert.truthy(tostring(err):find "abbreviation")
    db:execute "set datestyle = 'iso, mdy'; set extra_float_digits = 1"
    err = error_of(db.q, db, "select set_config('extra_float_digits', '0', false), 0.1::float8 + 0.2, '1'::money")
    assert.truthy(tostring(err):find "extra_float_digits")
    db:execute "reset all; set datestyle = iso"
    assert.equal(1, db:item "select 1")
  end)

  it("is refused where an abbreviation means two instants", function()
    db:execute "set datestyle = 'german'; set timezone = 'Europe/Moscow'" -- MSK was +4, then +3
    local ok, row = pcall(db.first, db, "select timestamptz '2014-10-25 21:30+00' as z, '1'::money")
    assert.is_true(not ok and tostring(row):find "abbreviation" ~= nil)
    assert.equal("2014-10-25 20:59:59+00", tostring(db:first("select timestamptz '2014-10-25 20:59:59+00' at time zone 'UTC' as z, "
      .. "'1'::money").z) .. "+00")
    db:execute "reset all; set datestyle = iso"
  end)

  it("is read where role, reset and discard bring another style", function()
    local name = pg.database()
    db:execute(([[create role stylish login superuser; alter role stylish set datestyle = 'german';
      alter role stylish set intervalstyle = 'sql_standard'; alter role stylish in database %s set extra_float_digits = -5]]):format(name))
    local other = pg.db{ user = "stylish" }
    assert.truthy(other:item("show datestyle"):find "^ISO")
    for _, reset in ipairs{ "reset all", "discard all", "reset datestyle; reset intervalstyle; reset extra_float_digits" } do
      other:execute(reset)
      assert.truthy(other:item("show datestyle"):find "^German")
      local row = other:first "select '1 day 2 hours'::interval i, '2003-02-01'::date d, 0.1::float8 + 0.2 f, '1'::money m"
      assert.equal("1 day 02:00:00", tostring(row.i))
      assert.equal("2003-02-01", tostring(row.d))
      assert.is_true(row.f == 0.1 + 0.2)
    end
    other:close()
  end)
end)

describe("prepared statements and the session", function()
  local db = pg.db()

  it("read literals by the settings in force", function()
    db:execute "set datestyle = 'iso, mdy'"
    local sql = "select '02/03/2004'::date::text"
    assert.equal("2004-02-03", db:item(sql))
    for _ = 1, 2 do
      db:execute "set datestyle = 'iso, dmy'"
      assert.equal("2004-03-02", db:item(sql))
      db:execute "set datestyle = 'iso, mdy'"
      assert.equal("2004-02-03", db:item(sql))
    end
    db:execute "set timezone = 'UTC'"
    local at = "select extract(epoch from timestamptz '2024-01-01 00:00')::int"
    local utc = db:item(at)
    db:transaction({ settings = { TimeZone = "Asia/Kolkata" } }, function(tx)
      assert.equal(utc - 19800, tx:item(at))
    end)
    assert.equal(utc, db:item(at))
  end)

  it("are found again by who sets the same for a transaction", function()
    local function count() return db:item "select count(*) from pg_prepared_statements where statement like '%again%'" end
    for _ = 1, 3 do
      db:transaction({ settings = { TimeZone = "Asia/Kolkata" } }, function(tx) tx:item "select 'again'" end)
      db:item "select 'again'"
      assert.equal(3, count()) -- it counts itself
    end
  end)

  it("do not freeze the time", function()
    for _, sql in ipairs{
      "select timestamp 'now'", "select 'NOW'::timestamptz", "select $$now$$::timestamp", "select E'now'::timestamp",
      "select timestamp 'no'\n'w'", "select timestamp 'n' -- it's\n 'ow'", "select timestamp E'\\x6eow'", "select timestamp E'\\156ow'",
      "select timestamp E'n\\ow'", "select timestamp E'\\u006eow'", "select timestamp U&'\\006eow'", "select timestamp U&'!006eow' uescape '!'",
      "select ('{n\\ow}'::timestamp[])[1]", "select upper('[2000-01-01,n\"o\"w)'::tsrange)", "select timestamp $a$ now$a$",
      "select ('{" .. ("2001-02-03 04:05:06,"):rep(30) .. "now}'::timestamp[])[31]", "select timestamp 'now" .. (" "):rep(300) .. "'",
    } do
      local first = db:item(sql)
      db:item "select pg_sleep(0.002)"
      assert.is_true(first < db:item(sql), sql)
    end
  end)
end)

-- What is read when a statement is prepared, or calculated when it is planned, by settings that the server doesn't report.
local UNREPORTED = {
  { "array_nulls = off", "select '{null}'::text[]::text" },
  { "transform_null_equals = on", "select (null = null) is null" },
  { "bytea_output = escape", "select 'a'::bytea::text" },
  { "extra_float_digits = -5", "select (1::float8/3)::text" },
  { "timezone_abbreviations = 'Australia'", "select (timestamptz '2020-01-01 10:00 EST' at time zone 'UTC')::text" },
  { "quote_all_identifiers = on", "select quote_ident('abc')" },
  { '"bytea_output" = escape', "select 'a'::bytea::text" },
  { 'U&"bytea\\005foutput" = escape', "select 'a'::bytea::text" },
  { "DateStyle = 'ISO, DMY'", "select date '01/02/2003'::text" }, -- this one is reported, at the end of a batch
}

describe("settings that the server does not report", function()
  local db, plain = pg.db(), pg.db{ statement_cache_size = 0 }

  -- Sets it in some way and says what the text gives then; first with nothing kept.
  local WAYS = {
    set = function(d, set, sql)
      d:execute("set " .. set)
      local first = d:item(sql)
      d:execute "reset all"
      return { first, d:item(sql) }
    end,
    ["set in a text of several"] = function(d, set, sql)
      d:execute("select 1; set session " .. set .. "; select 2")
      return d:item(sql)
    end,
    ["in a transaction"] = function(d, set, sql)
      return d:transaction(function(tx)
        tx:execute("set " .. set)
        return tx:item(sql)
      end)
    end,
    ["in a transaction that is rolled back"] = function(d, set, sql)
      pcall(d.transaction, d, function(tx)
        tx:execute("set " .. set)
        tx:item(sql)
        error "back"
      end)
      return d:item(sql)
    end,
    ["in a transaction only"] = function(d, set, sql)
      local first = d:transaction(function(tx)
        tx:execute("set local " .. set)
        return tx:item(sql)
      end)
      return { first, d:item(sql) }
    end,
    ["in a savepoint"] = function(d, set, sql)
      return d:transaction(function(tx)
        pcall(tx.transaction, tx, function()
          tx:execute("set " .. set)
          tx:item(sql)
          error "back"
        end)
        return tx:item(sql)
      end)
    end,
    ["in a text that fails behind it"] = function(d, set, sql)
      pcall(d.execute, d, "set " .. set .. "; select 1/0")
      local first = d:item(sql)
      d:execute("set " .. set)
      return { first, d:item(sql) }
    end,
    ["in a text that takes it back"] = function(d, set, sql)
      d:execute("begin; set " .. set .. "; rollback")
      local first = d:item(sql)
      d:execute("set " .. set)
      return { first, d:item(sql) }
    end,
    ["in a batch"] = function(d, set, sql)
      local r = d:pipeline(function(p)
        p:item(sql)
        p:execute("set " .. set)
        p:item(sql)
        p:execute "reset all"
        p:item(sql)
      end)
      return { r[1], r[3], r[5], d:item(sql) }
    end,
    ["in a batch that fails"] = function(d, set, sql)
      pcall(d.pipeline, d, function(p)
        p:execute("set " .. set)
        p:execute "select 1/0"
      end)
      local first = d:item(sql)
      d:execute("set " .. set)
      return { first, d:item(sql) }
    end,
  }

  for way, run in pairs(WAYS) do
    it("count for kept statements: " .. way, function()
      for _, case in ipairs(UNREPORTED) do
        local set, sql = case[1], case[2]
        local values = {}
        for i, d in ipairs{ db, plain } do
          d:item(sql)
          values[i] = run(d, set, sql)
          d:execute "reset all"
        end
        assert.same(values[2], values[1], set)
      end
    end)
  end

  it("count where a transaction is given them, and their statements are found again", function()
    local settings = { bytea_output = "escape", extra_float_digits = -3 }
    local sql = "select 'a'::bytea::text || (1::float8/3)::text"
    for _ = 1, 2 do
      assert.equal("\\x610.3333333333333333", db:item(sql))
      assert.equal("a0.333333333333", db:transaction({ settings = settings }, function(tx) return tx:item(sql) end))
    end
    local kept = db:item "select count(*) from pg_prepared_statements where statement like 'select ''a''::bytea::text || (1%'"
    assert.equal(2, kept)
  end)
end)

describe("client_encoding", function()
  it("stays, and whoever sets it is told", function()
    local db = pg.db()
    for _, sql in ipairs{ "set client_encoding to latin1", "set client_encoding = 'win1252'", "set names 'latin1'" } do
      local err = error_of(db.execute, db, sql)
      assert.truthy(tostring(err):find "client_encoding is UTF8")
      assert.equal("UTF8", db:item "show client_encoding")
      assert.equal("é", db:item "select chr(233)")
    end
    error_of(db.q, db, "select set_config('client_encoding', 'latin1', false), chr(233)")
    assert.equal("é", db:item "select chr(233)")
    db:execute "create temp table written (v text)"
    for _, set in ipairs{ "set client_encoding = latin1", "set local names 'latin1'", "set session client_encoding to latin1" } do
      for _ = 1, 2 do
        local err = error_of(db.pipeline, db, function(p)
          p:execute(set)
          p:execute("insert into written values ($1)", "é")
          p:execute "set client_encoding = utf8"
        end)
        assert.truthy(err.message:find "client_encoding is UTF8")
      end
      pcall(db.execute, db, set)
    end
    assert.equal(0, db:item "select count(*) from written")
    assert.equal("é", db:item "select chr(233)")
    error_of(db.transaction, db, function(tx) tx:execute "set local client_encoding = latin1" end)
    assert.equal("é", db:item "select chr(233)")
    for _, sql in ipairs{ "reset all", "discard all", "reset client_encoding" } do
      db:execute(sql)
      assert.equal("é", db:item "select chr(233)")
    end
    db:close()
  end)

  it("lets the bytes of a SQL_ASCII database be read", function()
    pg.psql "create database raw_bytes encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'"
    local db = pg.cluster():connect{ database = "raw_bytes" }
    for _, sql in ipairs{ "select E'a\\351'", "select E'a\\351' as v, 1::money" } do
      assert.equal("a\233", db:fetchval(sql))
    end
    assert.equal("string", type(tostring(db:q "select E'a\\351'")))
    db:execute "reset all"
    assert.equal("a\233", db:item "select E'a\\351'")
    db:close()
  end)
end)

describe("standard_conforming_strings", function()
  it("is a connection's own", function()
    local pool = fastpg.create_pool(pg.cluster().uri, { max_size = 3 })
    pool:execute "create table if not exists strings (a text)"
    pool:acquire(function(c)
      c:execute "set standard_conforming_strings = off"
      assert.equal("it's?", c:item([[select 'it\'s?']]))
      assert.same({ 7 }, { c:item([[select $1::int where '\'?' <> '']], 7) })
    end)
    for _ = 1, 3 do
      assert.equal([[a\]], pool:item([[select 'a\' where ? = 1]], 1))
      assert.equal(0, #pool.t.strings([[a = 'a\' and ? = 1]], 1))
      assert.equal("on", pool:item "show standard_conforming_strings")
    end
    pool:execute "drop table strings"
    pool:close()
    local db = pg.db()
    db:execute "set standard_conforming_strings = off"
    assert.equal("'?", db:item([[select '\'?' where ? = 1]], 1))
    assert.equal("'?", db:pipeline(function(p) p:item([[select '\'?' where ? = 1]], 1) end)[1])
    db:close()
  end)
end)
