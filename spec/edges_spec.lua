-- SPDX-License-Identifier: MIT
--
-- Trust at the edges: what surrounds a statement fails (files, descriptors, memory, other processes, code
-- of the user's that runs meanwhile), and no value is wrong for it.

local child = require "spec.support.child"
local pg = require "spec.support.pg"

-- A script in a Lua of its own, with `info`: what connects to this file's database.
local function run(variables, script)
  local c = pg.conninfo()
  return child(variables, ("local info = { host = %q, port = %q, user = %q, database = %q }\n"):format(c.host,
    tostring(c.port), c.user, c.database) .. script)
end

describe("a time zone that can't be loaded", function()
  -- Europe/Berlin is 2 hours east in July.
  local script = [[
    local fastpg = require "fastpg"
    local db = fastpg.connect(info)
    db:execute "set timezone = 'Europe/Berlin'"
    local local_time = fastpg.timestamp(2024, 7, 1, 12, 0, 0)
    local function sent(value, cast)
      return db:item("select ($1::" .. (cast or "timestamptz") .. ")::text", value)
    end
    local function show(...) io.write(table.concat({ ... }, " | "), "\n") end
    local function all()
      show(sent(local_time))
      show(sent{ year = 2024, month = 7, day = 1, hour = 12 })
      show(sent{ year = 2024, month = 7, day = 1, hour = 12, offset = 0 })
      show(sent(fastpg.date(2024, 7, 1)))
      show(sent({ local_time, fastpg.timestamp(2024, 1, 1, 12, 0, 0) }, "timestamptz[]"))
      show(sent(fastpg.range(local_time, nil), "tstzrange"))
      show(sent("2024-07-01 12:00"))
      local row = db:first "select timestamptz '2024-07-01 12:00+02' as at, timestamp '2024-07-01 12:00' as clock"
      show(tostring(row.at), tostring(row.clock), sent(row.at))
      local ok, err = pcall(sent, fastpg.timestamptz("2024-07-01 12:00+02"), "timestamp")
      show(ok and err or (err.message:gsub("^.-(can't be loaded)", "%1")))
    end
  ]]
  local right = {
    "2024-07-01 12:00:00+02", "2024-07-01 12:00:00+02", "2024-07-01 14:00:00+02", "2024-07-01 00:00:00+02",
    '{"2024-07-01 12:00:00+02","2024-01-01 12:00:00+01"}', '["2024-07-01 12:00:00+02",)', "2024-07-01 12:00:00+02",
    "2024-07-01 12:00:00+02 | 2024-07-01 12:00:00 | 2024-07-01 12:00:00+02", "2024-07-01 12:00:00",
  }
  local without = {}
  for i, line in ipairs(right) do without[i] = line end
  without[8] = "2024-07-01 10:00:00+00 | 2024-07-01 12:00:00 | 2024-07-01 12:00:00+02"
  without[9] = "can't be loaded here (is tzdata installed?): cast to timestamptz in the SQL"

  it("is no reason to store another time", function()
    local lines = {}
    for line in (run({ TZDIR = "/nonexistent" }, script .. "all() all()") .. "\n"):gmatch "(.-)\n" do
      lines[#lines + 1] = line
    end
    for i = 1, 9 do without[i + 9] = without[i] end
    assert.are.same(without, lines)
  end)

  it("is looked for again: a failure is not kept", function()
    local out = run({ "ulimit -n 200" }, script .. [[
      local files = {}
      for i = 1, 100000 do
        files[i] = io.open "/dev/null"
        if not files[i] then break end
      end
      local read = db:item "select timestamptz '2024-07-01 12:00+02'"
      show(tostring(read), sent(local_time))
      for _, f in ipairs(files) do f:close() end
      show(tostring(db:item "select timestamptz '2024-07-01 12:00+02'"))
      all()
    ]])
    assert.are.equal("2024-07-01 10:00:00+00 | 2024-07-01 12:00:00+02\n2024-07-01 12:00:00+02\n"
      .. table.concat(right, "\n"), out)
  end)

  it("makes COPY use the text format", function()
    local out = run({ TZDIR = "/nonexistent" }, script .. [[
      db:execute "create temp table copied (id int primary key, at timestamptz)"
      show(db.t.copied:copy{ { id = 1, at = local_time }, { id = 2, at = fastpg.timestamptz("2024-07-01 12:00+02") } })
      show(db:item "select string_agg(at::text, ',' order by id) from copied")
      local ok, err = pcall(function() return db.t.copied:copy({ { id = 3, at = local_time } }, { format = "binary" }) end)
      show(tostring(ok), (err.message:match "format = .*"))
    ]])
    assert.are.equal('2\n2024-07-01 12:00:00+02,2024-07-01 12:00:00+02\nfalse | format = "text" takes it)', out)
  end)

  it("is one of a name, not of a rule: EST5EDT has a history in its file", function()
    local out = run({ TZDIR = "/nonexistent" }, script .. [[
      for _, zone in ipairs{ "EST5EDT", "<+03>-3", "UTC", "CET-1CEST,M3.5.0,M10.5.0/3" } do
        db:execute("set timezone = '" .. zone .. "'")
        local row = db:first("select t, t::text as text from (select $1::timestamptz) s (t)",
          fastpg.timestamp(1975, 3, 1, 12, 0, 0))
        show(zone, tostring(row.t), row.text)
      end
    ]])
    assert.are.equal([[
EST5EDT | 1975-03-01 16:00:00+00 | 1975-03-01 12:00:00-04
<+03>-3 | 1975-03-01 12:00:00+03 | 1975-03-01 12:00:00+03
UTC | 1975-03-01 12:00:00+00 | 1975-03-01 12:00:00+00
CET-1CEST,M3.5.0,M10.5.0/3 | 1975-03-01 12:00:00+01 | 1975-03-01 12:00:00+01]], out)
  end)
end)
