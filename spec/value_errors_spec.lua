-- SPDX-License-Identifier: MIT
--
-- What can't be made or calculated in Lua fails as it does on the server: each case is run on both, and
-- the errors have one name and one SQLSTATE.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()
db:execute "create type text_range as range (subtype = text)"
local numeric, date, time, timetz = fastpg.numeric, fastpg.date, fastpg.time, fastpg.timetz
local timestamp, timestamptz, interval, range = fastpg.timestamp, fastpg.timestamptz, fastpg.interval, fastpg.range

local function same_failure(sql, fn)
  local fine, theirs = pcall(db.item, db, sql)
  assert.is_false(fine, "the server takes " .. sql .. ": " .. tostring(theirs))
  local ok, ours = pcall(fn)
  assert.is_false(ok, "fastpg takes " .. sql)
  assert.equal("table", type(ours), tostring(ours))
  local place = sql .. "\n" .. tostring(ours) .. "\n" .. tostring(theirs)
  assert.equal(theirs.sqlstate, ours.sqlstate, place)
  assert.is_true(fastpg.is(ours, theirs.name), place)
  if ours.name ~= "invalid_json" then assert.equal(theirs.name, ours.name, place) end
  assert.is_true(fastpg.is(ours, theirs.sqlstate) and fastpg.is(ours, theirs.sqlstate:sub(1, 2)), place)
  assert.truthy(ours.where and ours.where:find("value_errors_spec", 1, true), place)
end

describe("text that is no", function()
  local texts = {
    numeric = { "", "x", "1x", "1e200000", "--1", "0x", "1.2.3" },
    date = { "", "x", "2024-02-30", "2024-13-01", "2024-01", "99999999-01-01", "2024-01-32", "4714-01-01 BC x" },
    time = { "", "x", "25:00:00", "24:00:01", "10:60:00", "10:00:61", "10" },
    timetz = { "x", "25:00:00+00", "10:00:00+99", "10:00:00+16:00" },
    timestamp = { "", "x", "2024-02-30 00:00:00", "2024-01-01 25:00:00", "999999-01-01 00:00:00", "2024-01-01 10:61:00" },
    timestamptz = { "x", "2024-02-30 00:00:00+00", "2024-01-01 00:00:00+99", "999999-01-01 00:00:00+00", "2024-01-01 24:00:01" },
    interval = { "", "x", "1 x", "3000000000 months", "99999999999999 days", "9999999999999999 hours", "1 day 1 day x" },
  }
  local values = {
    numeric = numeric(1), date = date(2024, 1, 1), time = time(1, 2, 3), timetz = timetz(1, 2, 3, 0),
    timestamp = timestamp(2024, 1, 1, 0, 0, 0), timestamptz = timestamptz(0), interval = interval(1),
  }
  for type_name, list in pairs(texts) do
    for _, text in ipairs(list) do
      it(("%s: %q"):format(type_name, text), function()
        local sql = ("select %s '%s'"):format(type_name, text)
        same_failure(sql, function() return fastpg[type_name](text) end)
        same_failure(sql, function() return values[type_name]:cmp(text) end)
      end)
    end
  end

  for _, text in ipairs{ "", "x", "[1,2", "1,2", "[1,2,3]", "[1)2,3]", "[1,2]x", "(", "[a,b,]", "empty x", "[1,2] [1,2]" } do
    it(("range: %q"):format(text), function()
      same_failure(("select int4range '%s'"):format(text), function() return range(text) end)
    end)
  end
  for _, text in ipairs{ "", "x", "{", "{[1,2}", "{[1,2)(3,4)}", "{1}", "{[1,2]} x", "{[1,2],}", "{,}", "[1,2]" } do
    it(("multirange: %q"):format(text), function()
      same_failure(("select int4multirange '%s'"):format(text), function() return fastpg.multirange(text) end)
    end)
  end
end)

it("text of ranges is read as the server reads it", function()
  for _, text in ipairs{ "empty", " EMPTY ", "[1,2)", "  [1,2)  ", '("a b","c"")")', "[,]", "(,)", '[\\,,2]' } do
    local ours = range(text)
    local theirs = db:q("select lower_inc(r), upper_inc(r), lower_inf(r), isempty(r), lower(r), upper(r) from (select ?::text_range r) x",
      text)[1]
    assert.equal(theirs.isempty, ours.empty, text)
    assert.equal(theirs.lower_inc, ours.lower_inc, text)
    assert.equal(theirs.upper_inc, ours.upper_inc, text)
    assert.equal(theirs.lower, ours.lower, text)
    assert.equal(theirs.upper, ours.upper, text)
  end
  for _, text in ipairs{ "{}", " { } ", "{[1,2)}", "{ [1,2) , (5,9] }", "{empty}", "{ Empty , [3,4)}" } do
    assert.equal(db:item("select int4multirange(" .. fastpg.quote_literal(text) .. ")::text"),
      db:item("select (?::int4multirange)::text", fastpg.multirange(text)), text)
  end
end)

describe("what can't be calculated or made", function()
  local last = "timestamp '294276-12-31 23:59:59'"
  local last_ts = timestamp(294276, 12, 31, 23, 59, 59)
  local huge, first_day = interval{ days = 2000000000 }, date "4713-01-01 BC"
  local cases = {
    { "1::numeric / 0", function() return numeric(1) / 0 end },
    { "1::numeric / 0::numeric", function() return 1 / numeric(0) end },
    { "1::numeric % 0", function() return numeric(1) % 0 end },
    { "0::numeric ^ -1", function() return numeric(0) ^ -1 end },
    { "(-2)::numeric ^ 0.5", function() return numeric(-2) ^ numeric "0.5" end },
    { "10::numeric ^ 200000", function() return numeric(10) ^ 200000 end },
    { "'1e131000'::numeric * '1e131000'::numeric", function() return numeric "1e131000" * numeric "1e131000" end },
    { "1e131071::numeric * 10", function() return numeric "1e131071" * 10 end },
    { "interval '1 day' / 0", function() return interval{ days = 1 } / 0 end },
    { "interval '1 day' / 0.0", function() return interval{ days = 1 } / numeric(0) end },
    { "interval '2000000000 days' * 2", function() return huge * 2 end },
    { "2 * interval '2000000000 days'", function() return 2 * huge end },
    { "interval '2000000000 days' / 0.1", function() return huge / 0.1 end },
    { "interval '2000000000 days' + interval '2000000000 days'", function() return huge + huge end },
    { "-interval '2000000000 days' - interval '2000000000 days'", function() return -huge - huge end },
    { last .. " + interval '1 day'", function() return last_ts + interval{ days = 1 } end },
    { last .. " - interval '-1 mon'", function() return last_ts - interval{ months = -1 } end },
    { "date '4713-01-01 BC' - interval '10 years'", function() return first_day - interval{ years = 10 } end },
    { "date '2024-01-01' + 2147483647", function() return date(2024, 1, 1) + 2147483647 end },
    { "date '2024-01-01' - 2147483647", function() return date(2024, 1, 1) - 2147483647 end },
    { "date '5874897-12-31' + 1", function() return date(5874897, 12, 31) + 1 end },
    { "date '5874897-12-31' + time '10:00'", function() return date(5874897, 12, 31) + time(10, 0, 0) end },
    { "date '5874897-12-31' + interval '1 s'", function() return date(5874897, 12, 31) + interval(1) end },
    { "date '5874897-12-31'::timestamp", function() return timestamp(date(5874897, 12, 31)) end },
    { "date '5874897-12-31'::timestamptz", function() return timestamptz(date(5874897, 12, 31)) end },
    { "date '5874897-12-31' - timestamp '2024-01-01'", function() return date(5874897, 12, 31) - timestamp(2024, 1, 1, 0, 0, 0) end },
    { "date 'infinity' - date '2024-01-01'", function() return date "infinity" - date(2024, 1, 1) end },
    { "timestamp 'infinity' - timestamp '2024-01-01'", function() return timestamp "infinity" - timestamp(2024, 1, 1, 0, 0, 0) end },
    { "make_date(2024, 2, 30)", function() return date(2024, 2, 30) end },
    { "make_date(2024, 13, 1)", function() return date{ year = 2024, month = 13, day = 1 } end },
    { "make_date(99999999, 1, 1)", function() return date(99999999, 1, 1) end },
    { "make_time(25, 0, 0)", function() return time(25, 0, 0) end },
    { "make_time(10, 0, 61)", function() return time{ hour = 10, sec = 61 } end },
    { "make_timestamp(2024, 2, 30, 0, 0, 0)", function() return timestamp(2024, 2, 30, 0, 0, 0) end },
    { "make_timestamptz(2024, 2, 30, 0, 0, 0)", function() return timestamptz(2024, 2, 30, 0, 0, 0) end },
    { "make_timestamptz(2024, 2, 3, 0, 0, 0, 'Nowhere/Land')", function() return timestamptz(2024, 2, 3, 0, 0, 0, "Nowhere/Land") end },
    { "now() at time zone 'Nowhere/Land'", function() return fastpg.now "Nowhere/Land" end },
    { "to_timestamp(1e300)", function() return timestamptz(1e300) end },
    { "to_timestamp('NaN'::float8)", function() return timestamptz(0 / 0) end },
    { "make_interval(secs => 'NaN')", function() return interval(0 / 0) end },
    { "int4range(2, 1)", function() return range(2, 1) end },
    { "numrange(2.5, 1)", function() return range(numeric "2.5", 1) end },
    { "daterange('2024-01-02', '2024-01-01')", function() return range(date(2024, 1, 2), date(2024, 1, 1)) end },
    { "int4range(1, 2, '<>')", function() return range(1, 2, "<>") end },
    { "int4range(1, 2, '[')", function() return range(1, 2, "[") end },
    { "'{'::json", function() return fastpg.from_json "{" end },
    { "'1 2'::json", function() return fastpg.from_json "1 2" end },
  }
  for _, case in ipairs(cases) do
    it(case[1], function() same_failure("select " .. case[1], case[2]) end)
  end

  it("is a bound of another kind", function()
    local function refused(...)
      local ok, err = pcall(range, ...)
      assert.is_false(ok)
      assert.equal("invalid_argument", err.name)
      assert.truthy(err.message:find("bounds of one kind", 1, true), err.message)
    end
    refused(1, date(2024, 1, 1))
    refused(numeric(1), time(1, 0, 0))
    refused(date(2024, 1, 1), interval(1))
    refused(range(1, 2), 3)
    refused(timetz(1, 0, 0, 0), 7)
    for _, pair in ipairs{ { 1, numeric(2) }, { 1, 2.5 }, { date(2024, 1, 1), timestamp(2024, 1, 2, 0, 0, 0) }, { "a", 1 },
      { 1, "b" }, { nil, date(2024, 1, 1) }, { date(2024, 1, 1), nil }, { 1, 1 } } do
      assert.is_string(tostring(range(pair[1], pair[2])))
    end
  end)
end)

describe("an error of fastpg's own", function()
  it("has the SQLSTATE of its name where PostgreSQL has one", function()
    local function check(name, sqlstate, fn, ...)
      local ok, err = pcall(fn, ...)
      assert.is_false(ok)
      assert.equal(name, err.name)
      assert.equal(sqlstate, err.sqlstate)
    end
    db:execute "create table if not exists ve(id int primary key)"
    check("undefined_table", "42P01", function() return #db.t.no_such end)
    check("undefined_column", "42703", function() db.t.ve:insert{ nope = 1 } end)
    check("undefined_object", "42704", db.set_type_codec, db, "no_such", { decode = tostring })
    check("invalid_argument", nil, db.q, db, 5)
    check("not_found", nil, function() return db.t.ve[1] end)
  end)
end)
