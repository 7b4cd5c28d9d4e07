-- SPDX-License-Identifier: MIT
--
-- dates, times, timestamps and intervals: text, fields, order, conversion, arithmetic; the same
-- against a server.

local core = require "fastpg.core"
local pg = require "spec.support.pg"

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function same_text(make, cases)
  for _, case in ipairs(cases) do
    local from, to = case, case
    if type(case) == "table" then from, to = case[1], case[2] end
    assert.equal(to, tostring(make(from)))
  end
end

local function fields(v, ...)
  local list = {}
  for _, name in ipairs { ... } do list[#list + 1] = tostring(v[name]) end
  return table.concat(list, " ")
end

describe("fastpg.date", function()
  it("reads and prints ISO text", function()
    same_text(core.date, {
      "2024-02-29", "2000-01-01", "1999-12-31", "1900-03-01", "0001-01-01", "0044-03-15 BC", "4714-11-24 BC",
      "5874897-12-31", "10000-01-01", "infinity", "-infinity", { " 2024-2-9 ", "2024-02-09" },
      { "2024-02-29 AD", "2024-02-29" }, { "Infinity", "infinity" },
    })
  end)

  it("refuses what no calendar has", function()
    for _, s in ipairs { "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-01-32", "0000-01-01",
      "4714-11-23 BC", "5874898-01-01", "99999999-01-01" } do
      assert.equal("datetime_field_overflow", fails(core.date, s).name)
    end
    for _, s in ipairs { "", "x", "2024", "2024-01", "24-01-01", "2024-01-01x", "2024-01-01 10:00", "infinityx",
      "2024-01-01 BCE" } do
      assert.equal("invalid_datetime_format", fails(core.date, s).name)
    end
  end)

  it("has fields", function()
    assert.equal("2024 2 29", fields(core.date "2024-02-29", "year", "month", "day"))
    assert.equal("-44 3 15", fields(core.date "0044-03-15 BC", "year", "month", "day"))
    assert.truthy(fails(function() return core.date "2024-02-29".hour end).message:find('fastpg.date has no "hour"', 1, true))
    assert.equal(math.huge, core.date "infinity".year)
    assert.is_nil(core.date "infinity".day)
    if math.type then assert.equal("integer", math.type(core.date "2024-02-29".year)) end
  end)

  it("is made of fields and of other values", function()
    assert.equal("2024-02-29", tostring(core.date(2024, 2, 29)))
    assert.equal("0044-03-15 BC", tostring(core.date(-44, 3, 15)))
    assert.equal("2024-02-29", tostring(core.date { year = 2024, month = 2, day = 29 }))
    assert.equal("2009-02-13", tostring(core.date(os.date("!*t", 1234567890))))
    assert.equal("2024-02-29", tostring(core.date(core.timestamp "2024-02-29 23:59:59")))
    assert.equal("infinity", tostring(core.date(core.timestamp "infinity")))
    assert.equal("1999-12-31", tostring(core.date(core.timestamp "1999-12-31 23:59:59")))
    assert.equal("datetime_field_overflow", fails(core.date, 2023, 2, 29).name)
    assert.equal("datetime_field_overflow", fails(core.date, 2023, 2.5, 1).name)
    assert.equal("datetime_field_overflow", fails(core.date, "2023-02-29").name)
    assert.equal("invalid_argument", fails(core.date, 2024, 2).name)
    assert.equal("invalid_argument", fails(core.date, { year = 2024, mon = 2, day = 1 }).name)
    assert.equal("invalid_argument", fails(core.date).name)
    assert.equal("invalid_argument", fails(core.date, core.time "10:00").name)
  end)

  it("compares", function()
    local a, b = core.date "2024-02-28", core.date "2024-02-29"
    assert.is_true(a < b and a <= b and a ~= b and a == core.date(2024, 2, 28))
    assert.is_true(core.date "-infinity" < a and a < core.date "infinity")
    assert.equal(-1, a:cmp "2024-03-01")
    assert.is_true(a:eq "2024-02-28" and a:lt(b) and a:le(b))
    assert.is_false(a == core.timestamp "2024-02-28 00:00")
    assert.is_false(pcall(function() return a < core.time "10:00" end))
    assert.equal("invalid_argument", fails(a.lt, a, core.time "10:00").name)
    assert.equal("invalid_argument", fails(a.cmp, a, 1).name)
  end)

  it("counts seconds", function()
    assert.equal(0, core.date "1970-01-01":epoch())
    assert.equal(1709164800, core.date "2024-02-29":epoch())
    assert.equal(-math.huge, core.date "-infinity":epoch())
  end)
end)

describe("fastpg.time and timetz", function()
  it("read and print ISO text", function()
    same_text(core.time, { "00:00:00", "24:00:00", "23:59:59.999999", "10:20:30.5", { "10:20", "10:20:00" },
      { "10:20:60", "10:21:00" },
      { "00:00:00.0000005", "00:00:00.000001" }, { "23:59:59.9999999", "24:00:00" } })
    same_text(core.timetz, { "10:20:30+01", "10:20:30-03:30", "10:20:30+15:59:59", "00:00:00-00:00:01", { "10:20Z",
      "10:20:00+00" },
      { "10:20 +0530", "10:20:00+05:30" }, { "10:20", "10:20:00+00" } })
    for _, s in ipairs { "24:00:01", "10:60:00", "25:00:00", "10:00:61" } do
      assert.equal("datetime_field_overflow", fails(core.time, s).name)
    end
    for _, s in ipairs { "", "10", "10:0", "10:00:", "10:00:00+01" } do
      assert.equal("invalid_datetime_format", fails(core.time, s).name)
    end
    assert.equal("invalid_time_zone_displacement_value", fails(core.timetz, "10:00+16").name)
  end)

  it("have fields and are made of them", function()
    assert.equal("10 20 30 500000", fields(core.time "10:20:30.5", "hour", "min", "sec", "usec"))
    assert.equal("24 0 0 0", fields(core.time "24:00", "hour", "min", "sec", "usec"))
    assert.equal("invalid_argument", fails(function() return core.time "24:00".offset end).name)
    assert.equal("-12600", fields(core.timetz "10:20:30-03:30", "offset"))
    assert.equal("10:20:30.25", tostring(core.time(10, 20, 30.25)))
    assert.equal("10:20:00", tostring(core.time(10, 20)))
    assert.equal("10:00:00.000007", tostring(core.time { hour = 10, usec = 7 }))
    assert.equal("10:20:30-01", tostring(core.timetz(10, 20, 30, -3600)))
    assert.equal("10:00:00+01", tostring(core.timetz { hour = 10, offset = 3600 }))
    assert.equal("10:20:30", tostring(core.time(core.timestamp "2024-01-01 10:20:30")))
    assert.equal("23:00:00", tostring(core.time(core.interval "-1 hours")))
    assert.equal("10:20:30+01", tostring(core.timetz(core.timestamptz "2024-01-01 10:20:30+01")))
    assert.equal("invalid_argument", fails(core.time, {}).name)
    assert.equal("datetime_field_overflow", fails(core.timetz, { hour = 1, offset = 57600 }).name)
  end)

  it("compare and count", function()
    assert.is_true(core.time "10:00" < core.time "10:00:00.000001")
    assert.is_true(core.timetz "10:00+01" ~= core.timetz "09:00+00")
    assert.is_true(core.timetz "10:00+01" < core.timetz "09:00+00")
    assert.is_true(core.timetz "10:00+01" < core.timetz "10:00+00")
    assert.equal(36000.5, core.time "10:00:00.5":epoch())
    assert.equal(32400, core.timetz "10:00+01":epoch())
  end)
end)

describe("fastpg.timestamp", function()
  it("reads and prints ISO text", function()
    same_text(core.timestamp, {
      "2024-02-29 10:00:00", "1999-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999",
      "0044-03-15 12:00:00 BC", "infinity", "-infinity", { "2024-02-29", "2024-02-29 00:00:00" },
      { "2024-02-29T10:00:00", "2024-02-29 10:00:00" }, { "2024-02-29 24:00:00", "2024-03-01 00:00:00" },
      { "2024-02-29T10:00:00Z", "2024-02-29 10:00:00" }, { "2024-02-29 10:00:00+01", "2024-02-29 10:00:00" },
    })
    for _, s in ipairs { "294277-01-01", "294276-12-31 24:00", "4714-11-23 BC", "2024-02-30 10:00" } do
      assert.equal("datetime_field_overflow", fails(core.timestamp, s).name)
    end
    for _, s in ipairs { "2024-02-29 10", "10:00", "2024-02-29 10:00 x", "now" } do
      assert.equal("invalid_datetime_format", fails(core.timestamp, s).name)
    end
  end)

  it("has fields and is made of them", function()
    local t = core.timestamp "2024-02-29 10:20:30.000040"
    assert.equal("2024 2 29 10 20 30 40", fields(t, "year", "month", "day", "hour", "min", "sec", "usec"))
    assert.equal("invalid_argument", fails(function() return t.offset end).name)
    assert.equal("-1 12 31 23 59 59 999999", fields(core.timestamp "0001-12-31 23:59:59.999999 BC", "year",
      "month", "day", "hour", "min", "sec", "usec"))
    assert.equal("2024-02-29 10:00:00", tostring(core.timestamp(2024, 2, 29, 10, 0, 0)))
    assert.equal("2024-02-29 00:00:00", tostring(core.timestamp(2024, 2, 29)))
    assert.equal("2024-02-29 10:00:01.5", tostring(core.timestamp(2024, 2, 29, 10, 0, 1.5)))
    assert.equal("2009-02-13 23:31:30", tostring(core.timestamp(os.date("!*t", 1234567890))))
    assert.equal("2024-02-29 00:00:00", tostring(core.timestamp(core.date "2024-02-29")))
    assert.equal("datetime_field_overflow", fails(core.timestamp, core.date "294277-01-01").name)
    assert.equal("invalid_argument", fails(core.timestamp, 1234567890).name)
  end)

  it("compares and counts", function()
    local a = core.timestamp "2024-02-29 10:00:00"
    assert.is_true(a < core.timestamp "2024-02-29 10:00:00.000001")
    assert.is_true(a:eq "2024-02-29T10:00")
    assert.equal(1709200800.5, core.timestamp "2024-02-29 10:00:00.5":epoch())
    assert.equal(math.huge, core.timestamp "infinity":epoch())
    assert.is_true(core.timestamp "294276-12-31 23:59:59":epoch() > 9.2e12)
  end)
end)

describe("fastpg.timestamptz", function()
  local tstz = core.timestamptz

  it("keeps the offset of its text, or the zone it is given", function()
    assert.equal("2024-02-29 10:00:00+00", tostring(tstz "2024-02-29 10:00:00"))
    assert.equal("2024-02-29 10:00:00+01", tostring(tstz "2024-02-29 10:00:00+01"))
    assert.equal("2024-02-29 10:00:00-03:30", tostring(tstz "2024-02-29T10:00:00-0330"))
    assert.equal("2024-02-29 10:00:00+01", tostring(tstz("2024-02-29 10:00:00", "Europe/Berlin")))
    assert.equal("2024-07-29 10:00:00+02", tostring(tstz("2024-07-29 10:00:00", "Europe/Berlin")))
    assert.equal("2024-02-29 10:00:00+01", tostring(tstz("2024-02-29 09:00:00Z", "Europe/Berlin")))
    assert.equal("2024-02-29 05:00:00-05", tostring(tstz(tstz "2024-02-29 10:00:00Z", "America/New_York")))
    assert.equal("2024-02-29 10:00:00+01", tostring(tstz(2024, 2, 29, 10, 0, 0, "Europe/Berlin")))
    assert.equal("2024-02-29 10:00:00-01", tostring(tstz { year = 2024, month = 2, day = 29, hour = 10,
      offset = -3600 }))
    assert.equal("2009-02-13 23:31:30.5+00", tostring(tstz(1234567890.5)))
    assert.equal("2009-02-14 00:31:30+01", tostring(tstz(1234567890, "Europe/Berlin")))
    assert.equal("infinity", tostring(tstz "infinity"))
    assert.equal("infinity", tostring(tstz(math.huge)))
    assert.equal("0044-03-15 12:00:00+00 BC", tostring(tstz "0044-03-15 12:00:00+00 BC"))
    assert.equal("invalid_parameter_value", fails(tstz, "2024-02-29", "Nowhere/Town").name)
    assert.equal("invalid_parameter_value", fails(tstz, "2024-02-29", "../../etc/passwd").name)
  end)

  it("knows the zones' history and future", function()
    local function at(text, zone) return tostring(tstz(tstz(text), zone)) end
    assert.equal("1850-01-01 00:53:28+00:53:28", at("1850-01-01 00:00Z", "Europe/Berlin"))
    assert.equal("2500-07-01 02:00:00+02", at("2500-07-01 00:00Z", "Europe/Berlin"))
    assert.equal("2500-01-01 01:00:00+01", at("2500-01-01 00:00Z", "Europe/Berlin"))
    assert.equal("2024-01-01 05:45:00+05:45", at("2024-01-01 00:00Z", "Asia/Kathmandu"))
    assert.equal("2024-01-01 03:00:00+03", at("2024-01-01 00:00Z", "<+03>-3"))
    assert.equal("2024-01-01 02:00:00+02", at("2024-01-01 00:00Z", "+02"))
    assert.equal("2024-07-01 02:00:00+02", at("2024-07-01 00:00Z", "CET-1CEST,M3.5.0,M10.5.0/3"))
  end)

  it("resolves clocks that never are and those that are twice as the server does", function()
    local zone = "Europe/Berlin"
    assert.equal("2024-03-31 03:30:00+02", tostring(tstz("2024-03-31 02:30", zone)))
    assert.equal("2024-10-27 02:30:00+01", tostring(tstz("2024-10-27 02:30", zone)))
    assert.equal("2024-10-27 01:59:59+02", tostring(tstz("2024-10-27 01:59:59", zone)))
    assert.equal("2024-10-27 03:00:00+01", tostring(tstz("2024-10-27 03:00:00", zone)))
  end)

  it("has fields of its zone and compares by the instant", function()
    local t = tstz("2024-02-29 09:20:30.5Z", "Europe/Berlin")
    assert.equal("2024 2 29 10 20 30 500000 3600", fields(t, "year", "month", "day", "hour", "min", "sec", "usec",
      "offset"))
    assert.is_true(t == tstz "2024-02-29 09:20:30.5+00")
    assert.is_true(t < tstz "2024-02-29 09:20:30.6+00")
    assert.equal(1709198430.5, t:epoch())
    assert.equal("2024-02-29 10:20:30.5", tostring(core.timestamp(t)))
    assert.equal("2024-02-29", tostring(core.date(t)))
  end)
end)

describe("fastpg.interval", function()
  it("reads and prints the style postgres", function()
    same_text(core.interval, {
      "00:00:00", "1 day", "1 day 02:03:04", "-1 days +02:03:04", "1 year 2 mons 3 days 04:05:06.7",
        "-1 years -2 mons +3 days -04:05:06.7",
      "178956970 years 7 mons", "-178956970 years -8 mons", "-2147483648 days", "2562047788:00:54.775807",
        "-2562047788:00:54.775808",
      "100:00:00", "1 mon -1 days", "00:00:00.000001", "infinity", "-infinity",
      { "13 months", "1 year 1 mon" }, { "1 week", "7 days" }, { "@ 1 day 2 hours ago", "-1 days -02:00:00" },
      { "P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5" }, { "PT36H", "36:00:00" }, { "P2W", "14 days" },
      { "1.5 hours", "01:30:00" }, { "1.5 days", "1 day 12:00:00" }, { "1.5 months", "1 mon 15 days" },
        { "1.5 years", "1 year 6 mons" },
      { "90", "00:01:30" }, { "1h 30m", "01:30:00" }, { "10:20", "10:20:00" }, { "-0:00:01", "-00:00:01" },
    })
    for _, s in ipairs { "", "x", "1 parsec", "P", "P1", "1 day day", "ago", "10:", "--1 day" } do
      assert.equal("invalid_datetime_format", fails(core.interval, s).name)
    end
    for _, s in ipairs { "2147483648 days", "9999999999 months", "99999999999999999999 sec", "10:60:00",
      "2562047788:00:54.775808" } do
      assert.equal("interval_field_overflow", fails(core.interval, s).name)
    end
  end)

  it("keeps months, days and microseconds apart", function()
    local i = core.interval "1 year 2 mons -3 days 00:00:04"
    assert.equal("14 -3 4000000", fields(i, "months", "days", "usec"))
    assert.equal("14 mons", ("%d mons"):format(i.months))
    assert.equal("1 year 2 mons -3 days +00:00:04", tostring(core.interval { months = 14, days = -3,
      usec = 4000000 }))
    assert.equal("1 year 7 days 02:03:04.5", tostring(core.interval { years = 1, weeks = 1, hours = 2, mins = 3,
      secs = 4.5 }))
    assert.equal("00:01:30", tostring(core.interval(90)))
    assert.equal("10:00:00", tostring(core.interval(core.time "10:00")))
    assert.equal("invalid_argument", fails(core.interval, { month = 1 }).name)
    assert.equal("invalid_argument", fails(core.interval, {}).name)
    assert.equal("datetime_field_overflow", fails(core.interval, { months = 2147483648 }).name)
  end)

  it("compares a month as 30 days, a day as 24 hours", function()
    assert.is_true(core.interval "1 mon" == core.interval "30 days")
    assert.is_true(core.interval "1 day" == core.interval "24:00:00")
    assert.is_true(core.interval "1 mon" < core.interval "31 days")
    assert.is_true(core.interval "-1 days" < core.interval "-23:59:59")
    assert.is_true(core.interval "178956970 years" < core.interval "infinity")
    assert.is_true(core.interval "1 day":eq "24 hours")
    assert.equal(86400 * 365.25 + 86400 * 30 + 1.5, core.interval "1 year 1 mon 00:00:01.5":epoch())
  end)
end)

describe("arithmetic of dates and times", function()
  local date, time, timetz, ts, tstz, interval =
    core.date, core.time, core.timetz, core.timestamp, core.timestamptz, core.interval

  local function gives(expected, v) assert.equal(expected, tostring(v)) end

  it("counts days", function()
    gives("2024-03-01", date "2024-02-29" + 1)
    gives("2024-03-01", 1 + date "2024-02-29")
    gives("2024-02-28", date "2024-02-29" - 1)
    assert.equal(366, date "2025-01-01" - date "2024-01-01")
    gives("infinity", date "infinity" - 5)
    gives("0001-12-31 BC", date "0001-01-01" - 1)
  end)

  it("clamps at the ends of months", function()
    gives("2024-02-29 00:00:00", date "2024-01-31" + interval "1 month")
    gives("2023-02-28 10:00:00", ts "2023-01-31 10:00" + interval "1 month")
    gives("2023-02-28 00:00:00", date "2024-02-29" - interval "1 year")
    gives("2024-02-29 12:00:00", interval "1 month" + ts "2024-01-31 12:00")
    gives("2024-03-01 00:00:00", ts "2024-01-31" + interval "1 month 1 day")
    gives("0044-02-28 00:00:00 BC", ts "0044-03-31 00:00:00 BC" - interval "1 month")
  end)

  it("moves timestamps and measures between them", function()
    gives("2024-03-01 00:00:00.5", ts "2024-02-29 23:59:59.5" + interval "1 second")
    gives("1 day 01:00:00", ts "2024-03-01 11:00" - ts "2024-02-29 10:00")
    gives("-1 days -01:00:00", ts "2024-02-29 10:00" - ts "2024-03-01 11:00")
    gives("10:00:00", ts "2024-02-29 10:00" - date "2024-02-29")
    gives("infinity", ts "infinity" + interval "1 day")
    gives("2024-02-29 10:30:00", date "2024-02-29" + time "10:30")
    gives("2024-02-29 10:30:00+02", timetz "10:30+02" + date "2024-02-29")
  end)

  it("moves the clock of a timestamptz's zone", function()
    local before = tstz("2024-03-30 12:00", "Europe/Berlin")
    gives("2024-03-31 12:00:00+02", before + interval "1 day")
    gives("2024-03-31 13:00:00+02", before + interval "24 hours")
    gives("2024-02-29 12:00:00+01", before - interval "1 month")
    gives("23:00:00", tstz("2024-03-31 12:00", "Europe/Berlin") - before)
    gives("2024-03-31 12:00:00+01", tstz "2024-03-30 12:00+01" + interval "1 day")
    gives("01:00:00", ts "2024-03-30 13:00" - before)
  end)

  it("turns the clock of times", function()
    gives("01:00:00", time "23:00" + interval "2 hours")
    gives("21:00:00", time "23:00" - interval "1 day 2 hours")
    gives("-02:00:00", time "10:00" - time "12:00")
    gives("01:00:00+05:30", timetz "23:00+05:30" + interval "2 hours")
  end)

  it("adds, scales and negates intervals", function()
    gives("1 mon 1 day 01:00:00", interval "1 month" + interval "1 day 1 hour")
    gives("1 mon -1 days", interval "1 month" - interval "1 day")
    gives("-1 mons +1 day -02:00:00", -interval "1 month -1 day 2 hours")
    gives("3 days 12:00:00", interval "1 day" * 3.5)
    gives("2 mons", 2 * interval "1 month")
    gives("10 days", interval "1 month" / 3)
    gives("1 mon 15 days", interval "3 months" / 2)
    gives("1 day 12:00:00", interval "1 day" * core.numeric "1.5")
    gives("1 day 12:00:00", core.numeric "1.5" * interval "1 day")
  end)

  it("raises out of range and what is not defined", function()
    for _, fn in ipairs {
      function() return date "5874897-12-31" + 1 end,
      function() return date "4714-11-24 BC" - 1 end,
      function() return ts "294276-12-31" + interval "1 day" end,
      function() return ts "2024-01-01" + interval "2147483647 days" end,
      function() return ts "2024-01-01" - interval "178000000 years" end,
      function() return interval "178956970 years" + interval "1 year" end,
      function() return interval "1 month" * 1e10 end,
      function() return date "infinity" - date "2024-01-01" end,
      function() return ts "infinity" - ts "infinity" end,
      function() return date "294277-01-01" + interval "1 day" end,
    } do
      assert.equal("datetime_field_overflow", fails(fn).name)
    end
    for _, fn in ipairs {
      function() return date "2024-01-01" + date "2024-01-01" end,
      function() return date "2024-01-01" + 1.5 end,
      function() return 1 - date "2024-01-01" end,
      function() return date "2024-01-01" * 2 end,
      function() return ts "2024-01-01" + 1 end,
      function() return 2 / interval "1 day" end,
      function() return interval "1 day" * interval "1 day" end,
      function() return interval "1 day" - date "2024-01-01" end,
      function() return -date "2024-01-01" end,
      function() return interval "1 day" ^ 2 end,
      function() return ts "2024-01-01" + core.numeric "1" end,
    } do
      local err = fails(fn)
      assert.equal("invalid_argument", err.name)
      assert.truthy(err.where:find "datetime_spec.lua:%d+$")
    end
    assert.equal("division_by_zero", fails(function() return interval "1 day" / 0 end).name)
  end)

  it("knows the time", function()
    local now = core.now()
    assert.is_true(math.abs(now:epoch() - os.time()) < 5)
    assert.equal(0, now.offset)
    assert.is_true(core.now() >= now)
    assert.equal(20700, core.now "Asia/Kathmandu".offset)
    assert.equal("invalid_parameter_value", fails(core.now, "Nowhere").name)
  end)
end)

describe("dates and times on the wire", function()
  local literals = {
    date = { "2024-02-29", "0044-03-15 BC", "4714-11-24 BC", "5874897-12-31", "infinity", "-infinity" },
    time = { "00:00:00", "24:00:00", "23:59:59.999999" },
    timetz = { "10:20:30+01", "00:00:00-15:59:59", "24:00:00+05:30" },
    timestamp = { "2024-02-29 10:20:30.000001", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity" },
    timestamptz = { "2024-02-29 10:20:30+00", "1850-01-01 00:00:00+00", "2500-07-01 00:00:00+00", "-infinity",
      "4714-11-25 00:00:00+00 BC", "294276-12-31 00:00:00+00" },
    interval = { "00:00:00", "-1 years -2 mons +3 days -04:05:06.7", "178956970 years 7 mons", "-2147483648 days",
      "2562047788:00:54.775807", "1 mon -1 days" },
  }
  local zones = { "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "<+03>-03",
    "EST5EDT" }

  for typename, list in pairs(literals) do
    it("brings and takes every " .. typename .. " exactly", function()
      local db = pg.db()
      for _, zone in ipairs(typename == "timestamptz" and zones or { "UTC" }) do
        db:execute("set timezone = '" .. zone .. "'")
        local unnest = ("from unnest($1::text[]::%s[]) as v"):format(typename)
        local rows = db:q("select v, v::text as t " .. unnest, list)
        local text = db:q("select v, '=r/postgres'::aclitem as acl " .. unnest, list)
        assert.equal(#list, #rows)
        for i, row in ipairs(rows) do
          assert.equal(row.t, tostring(row.v))
          assert.equal(row.t, tostring(text[i].v))
          assert.is_true(row.v == text[i].v)
          assert.is_true(db:item(("select $1::%s = $2::text::%s"):format(typename, typename), row.v, row.t))
        end
        local values = {}
        for i, row in ipairs(rows) do values[i] = row.v end
        assert.is_true(db:item(("select $1::%s[] = $2::text[]::%s[]"):format(typename, typename), values, list))
      end
      db:close()
    end)
  end

  it("agrees with the server on a thousand instants in many zones", function()
    local db = pg.db()
    for _, zone in ipairs { "Europe/Berlin", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran", "Pacific/Apia",
      "Europe/Dublin", "America/Nuuk", "Antarctica/Troll" } do
      db:execute("set timezone = '" .. zone .. "'")
      local rows = db:q [[select v, v::text as t, v::timestamp as clock, v::timestamp::timestamptz::text as back
        from (select timestamptz '1880-01-01' + make_interval(hours => i * 12347) as v
              from generate_series(0, 130) i) s]]
      for _, row in ipairs(rows) do
        assert.equal(row.t, tostring(row.v))
        assert.equal(tostring(row.clock), tostring(core.timestamp(row.v)))
        assert.equal(row.back, tostring(core.timestamptz(row.clock, zone)))
      end
    end
    db:close()
  end)

  it("takes tables of fields and other values, as the server would assign them", function()
    local db = pg.db()
    db:execute "set timezone = 'Europe/Berlin'"
    local function sent(typename, v) return db:item("select ($1::" .. typename .. ")::text", v) end
    assert.equal("2024-02-29", sent("date", { year = 2024, month = 2, day = 29 }))
    assert.equal("2009-02-13 23:31:30", sent("timestamp", os.date("!*t", 1234567890)))
    assert.equal("2024-07-01 12:00:00+02", sent("timestamptz", { year = 2024, month = 7, day = 1, hour = 12 }))
    assert.equal("2024-07-01 14:00:00+02", sent("timestamptz",
      { year = 2024, month = 7, day = 1, hour = 12, offset = 0 }))
    assert.equal("1 mon -1 days", sent("interval", { months = 1, days = -1 }))
    assert.equal("2024-02-29 00:00:00", sent("timestamp", core.date "2024-02-29"))
    assert.equal("2024-02-29 00:00:00+01", sent("timestamptz", core.date "2024-02-29"))
    assert.equal("2024-07-01 12:00:00+02", sent("timestamptz", core.timestamp "2024-07-01 12:00"))
    assert.equal("2024-07-01 14:00:00", sent("timestamp", core.timestamptz "2024-07-01 12:00Z"))
    assert.equal("10:00:00", sent("interval", core.time "10:00"))
    for _, case in ipairs {
      { "date", core.timestamp "2024-02-29 10:00", "$1: date expected, got fastpg.timestamp" },
      { "time", core.timestamp "2024-02-29 10:00", "$1: time expected, got fastpg.timestamp" },
      { "timestamp", core.interval "1 day", "$1: timestamp expected, got fastpg.interval" },
      { "interval", core.numeric "1", "$1: interval expected, got fastpg.numeric" },
      { "date", 20240229, "$1: date expected, got number 20240229" },
      { "date", { year = 2024 }, "$1: date (year, month, day) expected, got table" },
      { "date", { year = 2024, month = 2, day = 30 }, "$1: date in range expected, got table" },
    } do
      local err = fails(sent, case[1], case[2])
      assert.truthy(tostring(err):find(case[3], 1, true))
    end
    db:close()
  end)
end)

describe("an interval with all of its fields at their ends", function()
  local db = require("spec.support.pg").db()
  local LEAST = "-2147483648 months -2147483648 days -9223372036854775808 us"
  local MOST = "2147483647 months 2147483647 days 9223372036854775807 us"

  it("is a number to a server before 17, whatever its bits say", function()
    if db.server_version >= 170000 then pending("this server has infinite intervals") return end
    for _, literal in ipairs{ LEAST, MOST } do
      local text = db:item(("select interval '%s'::text"):format(literal))
      for _, sql in ipairs{ "select interval '%s' as v", "select interval '%s' as v, '1'::money", "select row(interval '%s') as v",
        "select array[interval '%s'] as v" } do
        local v = db:first(sql:format(literal)).v
        v = type(v) == "table" and (rawget(v, 1) or v.f1) or v
        assert.equal(text, tostring(v))
        assert.equal(text, db:item("select $1::interval::text", v))
        assert.is_true(v == db:item(("select interval '%s'"):format(literal)))
        assert.is_true(v ~= core.interval "infinity" and v ~= core.interval "-infinity")
      end
    end
    local ok, err = pcall(db.item, db, "select $1::interval", core.interval "infinity")
    assert.is_false(ok)
    assert.truthy(tostring(err):find "before 17")
  end)
end)

describe("a constructor from fields", function()
  local DATE, CLOCK = { year = 2024, month = 2, day = 29 }, { hour = 10, min = 20, sec = 30, usec = 5 }
  local function all(...)
    local result = {}
    for _, part in ipairs{ ... } do
      for name, value in pairs(part) do result[name] = value end
    end
    return result
  end
  local kinds = {
    date = DATE, time = CLOCK, timetz = all(CLOCK, { offset = 3600 }), timestamp = all(DATE, CLOCK),
    timestamptz = all(DATE, CLOCK, { offset = 3600 }),
    interval = { years = 1, months = 1, weeks = 1, days = 1, hours = 1, mins = 1, secs = 1, usec = 1 },
  }
  local slips = { -- what people write, or what another value has
    year = 1, years = 1, month = 1, months = 1, week = 1, weeks = 1, day = 1, days = 1, hour = 1, hours = 1, min = 1, mins = 1,
    minute = 1, minutes = 1, sec = 1, secs = 1, second = 1, seconds = 1, msec = 1, usec = 1, offset = 1, zone = "UTC",
    isdst = false, wday = 1, Year = 1, [1] = 2024, [true] = 1,
  }

  it("takes each of its own and refuses every other, by name and with the near one", function()
    for kind, own in pairs(kinds) do
      assert.truthy(core[kind](own), kind)
      for name, value in pairs(slips) do
        if own[name] == nil then
          local err = fails(core[kind], all(own, { [name] = value }))
          assert.equal("invalid_argument", err.name)
          local said = type(name) == "string" and ('has no "%s"'):format(name) or "its fields have names"
          assert.truthy(err.message:find("^fastpg%." .. kind .. "{ .*" .. said), err.message)
        end
      end
    end
    for kind, slip in pairs{ date = "months", time = "minute", interval = "hour", timestamp = "hours", timestamptz = "ofset" } do
      assert.truthy(fails(core[kind], all(kinds[kind], { [slip] = 1 })).message:find("did you mean", 1, true), kind)
    end
  end)

  it("takes what os.date gives whole, as the moment it is", function()
    local moment = os.date("!*t", 1234567890)
    assert.equal("2009-02-13", tostring(core.date(moment)))
    assert.equal("23:31:30", tostring(core.time(moment)))
    assert.equal("2009-02-13 23:31:30", tostring(core.timestamp(moment)))
    assert.equal("2009-02-13 23:31:30+00", tostring(core.timestamptz(moment)))
    assert.truthy(fails(core.time, all(moment, { offset = 3600 })).message:find('has no "offset"', 1, true))
    assert.truthy(fails(core.interval, moment).message:find("fastpg.interval{", 1, true))
  end)

  it("as an argument of a statement likewise", function()
    local db = pg.db()
    for kind, own in pairs(kinds) do
      assert.truthy(db:item("select $1::" .. kind, own), kind)
      local err = fails(db.item, db, "select $1::" .. kind, all(own, { hoer = 1 }))
      assert.truthy(err.message:find('got table with "hoer"', 1, true), err.message)
    end
    assert.equal("2009-02-13", tostring(db:item("select $1::date", os.date("!*t", 1234567890))))
    db:close()
  end)
end)
