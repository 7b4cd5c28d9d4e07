-- SPDX-License-Identifier: MIT
--
-- each: rows are made some at a time, and handed out one by one as if they were made so.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

-- All rows until the end or an error, and that error.
local function read(db, sql)
  local list = {}
  local ok, err = pcall(function()
    for row in db:each(sql) do list[#list + 1] = row end
  end)
  return list, not ok and err or nil
end

describe("each", function()
  local db
  setup(function() db = pg.db{ duplicates = "last" } end)
  teardown(function() db:close() end)

  it("gives what q gives, however many rows come at once", function()
    for _, n in ipairs{ 0, 1, 2, 63, 64, 65, 127, 128, 129, 1000 } do
      local sql = ("select g as n, nullif(g %% 3, 0) as null, 'n' || g as text, g %% 2 = 0 as bool, array[g, null] as list, "
        .. "g::numeric / 7 as num, jsonb_build_object('g', g) as doc, 'first' as text, null::text as list "
        .. "from generate_series(1, %d) g"):format(n)
      local list, err = read(db, sql)
      assert.is_nil(err)
      local expected = db:q(sql)
      assert.equal(n, #list)
      for i, row in ipairs(list) do
        assert.are.same(expected[i], row)
        assert.equal(getmetatable(expected[i]), getmetatable(row))
      end
    end
  end)

  it("gives heavy rows one after the other", function()
    local n = 0
    for row in db:each "select g as n, repeat(chr(64 + g), 100000 * (g % 3)) as x from generate_series(1, 20) g" do
      n = n + 1
      assert.equal(n, row.n)
      assert.equal(string.char(64 + n):rep(100000 * (n % 3)), row.x)
    end
    assert.equal(20, n)
  end)

  it("gives the rows before the server's error first", function()
    for _, n in ipairs{ 1, 2, 64, 65, 100, 1000 } do
      local list, err = read(db, ("select 1 / (%d - g) as x, g as n from generate_series(1, %d) g"):format(n, n + 100))
      assert.equal(n - 1, #list)
      assert.equal(n > 1 and n - 1 or nil, list[1] and list[#list].n)
      assert.is_true(fastpg.is(err, "division_by_zero"), tostring(err))
      assert.equal(1, db:item "select 1")
    end
  end)

  it("gives the rows before one that can't be read first", function()
    local own = pg.db()
    own:execute "drop type if exists stream_odd; create type stream_odd as enum ('fine', 'odd')"
    own:set_type_codec("stream_odd", { decode = function(text)
      if text == "odd" then error("no odd one", 0) end
      return text
    end })
    local sql = "select g as n, (case g when 70 then 'odd' else 'fine' end)::stream_odd as e from generate_series(1, 1000) g"
    local list, err = read(own, sql)
    assert.equal(69, #list)
    assert.are.same({ 69, "fine" }, { list[69].n, list[69].e })
    assert.is_truthy(tostring(err):find("no odd one", 1, true), tostring(err))
    assert.equal(1, own:item "select 1")
    own:each(sql, function(row) return row.n < 60 end) -- what lies ready behind it is nobody's
    assert.equal(1, own:item "select 1")
    own:close()
  end)

  it("is left and closed in the middle", function()
    for _, n in ipairs{ 1, 2, 64, 100, 100000 } do
      local rows = db:each(("select generate_series(1, %d) as n"):format(n))
      assert.equal(1, rows().n)
      rows:close()
      assert.is_nil(rows())
      assert.equal(1, db:item "select 1")
    end
  end)

  it("has its connection for itself until its last row is taken", function()
    local own = fastpg.connect(pg.conninfo())
    for _, n in ipairs{ 2, 64, 1000 } do
      local rows = own:each(("select generate_series(1, %d) as n"):format(n))
      assert.equal(1, rows().n)
      assert.is_true(fastpg.is(error_of(own.item, own, "select 1"), "connection_busy"))
      for i = 2, n do assert.equal(i, rows().n) end
      assert.is_nil(rows())
      assert.equal(1, own:item "select 1")
    end
    own:close()
  end)

  it("notes what its statement did to the session, when it is left too", function()
    local own = fastpg.connect(pg.conninfo())
    local rows = own:each "select set_config('TimeZone', 'Asia/Tokyo', false) as zone from generate_series(1, 3)"
    assert.equal("Asia/Tokyo", rows().zone)
    rows:close()
    assert.equal("2024-01-01 12:00:00+09", tostring(own:item "select '2024-01-01 03:00:00Z'::timestamptz"))
    own:close()
  end)

  it("keeps no row that it has handed out", function()
    local rows = db:each "select generate_series(1, 100) as n"
    local kept = setmetatable({}, { __mode = "k" })
    kept[rows()] = true
    rows()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(kept))
    rows:close()
  end)

  it("gives rows whose values name types", function()
    db:execute "drop type if exists stream_row; create type stream_row as (a int, b text)"
    local list, err = read(db, "select row(g, row(g, 'x')::stream_row) as r from generate_series(1, 200) g")
    assert.is_nil(err)
    assert.equal(200, #list)
    assert.are.same(db:first("select row(200, row(200, 'x')::stream_row) as r"), list[200])
  end)

  it("fails with the connection, behind the rows that came", function()
    local own, killer = fastpg.connect(pg.conninfo()), pg.db()
    local pid = own:item "select pg_backend_pid()"
    local rows = own:each "select g as n, repeat('x', 100) as x, pg_sleep(g / 1001 * 60)::text as s from generate_series(1, 1001) g"
    local first = rows()
    assert.equal(1, first.n)
    killer:execute("select pg_terminate_backend(?)", pid)
    local n = 1
    local err = error_of(function()
      for row in rows do
        n = n + 1
        assert.equal(n, row.n)
      end
    end)
    assert.is_true(fastpg.is(err, "admin_shutdown") or fastpg.is(err, "connection"), tostring(err))
    own:close()
    killer:close()
  end)
end)
