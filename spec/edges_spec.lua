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

describe("code of the user's that runs while arguments are encoded", function()
  local fastpg = require "fastpg"
  local db, list, calls

  -- Strings that nothing but the list holds, and what is garbage overwritten.
  local function text_of(i) return ("value %d "):format(i):rep(20) end
  local function churn()
    calls = calls + 1
    if list then
      for k in pairs(list) do list[k] = nil end
    end
    collectgarbage()
    local junk = {}
    for i = 1, 100 do junk[i] = ("junk %d "):format(i):rep(20) end
    assert(#junk == 100)
  end

  setup(function()
    db = pg.db()
    db:execute [[
      create type shaky as enum ('a', 'b');
      create type holds_shaky as (t text, s shaky, u text);
      create table takes_shaky (t text, s shaky, u text, l shaky[], c holds_shaky)]]
    db:set_type_codec("shaky", { encode = function(v)
      churn()
      return v
    end })
  end)
  before_each(function() calls = 0 end)
  teardown(function() db:close() end)

  local sql = "select concat_ws('|', $1::text, $2::shaky, $3::text, $4::int)"

  it("may change the list that fastpg.args stands for", function()
    for _ = 1, 20 do
      list = { text_of(1), "a", text_of(3), 4 }
      -- what is behind the change is NULL: the list has it no more
      assert.are.equal(text_of(1) .. "|a", db:item(sql, fastpg.args(list, 4)))
      local big = ("x"):rep(100000)
      list = { big .. text_of(1), "a" }
      assert.are.equal(big .. text_of(1) .. "|a", db:item(sql, fastpg.args(list, 4)))
    end
    assert.are.equal(40, calls)
  end)

  it("may change the lists of executemany, of a pipeline and of conditions", function()
    list = { text_of(1), "a", text_of(3) }
    assert.are.equal(1, db:executemany("insert into takes_shaky (t, s, u) values (?, ?, ?)", { list }))
    assert.are.equal(text_of(1), db:item "select t from takes_shaky")
    list = { text_of(1), "a", text_of(3), 4 }
    assert.are.same({ text_of(1) .. "|a", n = 1 }, db:pipeline(function(p) p:item(sql, fastpg.args(list, 4)) end))
    list = { text_of(1), "a" }
    assert.are.equal(1, #db.t.takes_shaky("t = ? and s = ?", fastpg.args(list, 2)))
    list = { text_of(1), "a" }
    assert.are.equal(1, #db.t.takes_shaky{ where = "t = ? and s = ?", args = list })
    db:execute "truncate takes_shaky"
  end)

  it("may change records, arrays and composite values", function()
    list = nil
    for _, how in ipairs{ "insert", "inserts", "copy" } do
      local record = { t = text_of(1), s = "a", u = text_of(2), l = { "a", "b" },
        c = { t = text_of(3), s = "b", u = text_of(4) } }
      list = record.c
      if how == "insert" then
        db.t.takes_shaky:insert(record)
      else
        db.t.takes_shaky[how](db.t.takes_shaky, { record })
      end
      local row = db:first "delete from takes_shaky returning t, s::text as s, (c).t as ct"
      assert.are.same({ text_of(1), "a" }, { row.t, row.s })
      assert.is_true(row.ct == nil or row.ct == text_of(3))
    end
    list = { "a", "b", "a" }
    assert.truthy(db:item("select $1::shaky[]::text", list):find "^{a")
  end)

  it("may close the connection", function()
    local own = pg.db()
    own:set_type_codec("shaky", { encode = function(v)
      own:close()
      return v
    end })
    for i = 1, 2 do
      local ok, result = pcall(own.item, own, "select $1::shaky::text", "a")
      assert.are.equal(i == 1, ok)
      assert.are.equal(i == 1 and "a" or "closed", ok and result or result.name)
    end
  end)

  it("is not the program's own tostring", function()
    local original = tostring
    local seen = 0
    local load = loadstring or load
    local wide = load(rawget(_G, "jit") and "return 9007199254740993LL" or "return '9007199254740993'")()
    rawset(_G, "tostring", function(v)
      if type(v) == type(wide) and v == wide then seen = seen + 1 end
      return original(v)
    end)
    local ok, err = pcall(function()
      assert.are.equal("9007199254740993", db:item("select ($1::int8)::text", wide))
      assert.are.equal("9007199254740993", db:item("select ($1::numeric)::text", wide))
      assert.are.equal(0, fastpg.numeric(wide):cmp "9007199254740993")
    end)
    rawset(_G, "tostring", original)
    assert.is_true(ok, err)
    assert.are.equal(0, seen)
  end)
end)

describe("the field n of a list", function()
  local fastpg = require "fastpg"
  local db
  setup(function()
    db = pg.db()
    db:execute "create table counted (id int primary key, ids int[], t text[])"
  end)
  teardown(function() db:close() end)

  local function refused(fn, ...)
    local before = collectgarbage "count"
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    assert.are.equal("invalid_argument", err.name)
    assert.truthy(err.message:find("fastpg.args", 1, true), err.message)
    assert.truthy(err.message:find("fastpg.array", 1, true), err.message)
    assert.is_true(collectgarbage "count" - before < 10000)
  end
  local function sent(value, cast) return db:item(("select ($1::%s)::text"):format(cast or "int[]"), value) end

  it("is not believed of a list that somebody else made", function()
    local t = db.t.counted
    for _, cast in ipairs{ "int[]", "text[]", "numeric[]" } do
      refused(sent, { n = 5000000 }, cast)
      refused(sent, { 1, 2, n = 3 }, cast)
      refused(sent, { { 1 }, { n = 5000000 } }, cast)
    end
    local body = fastpg.from_json '{"id": 1, "ids": {"n": 20000000}}'
    refused(t.insert, t, body)
    refused(t.inserts, t, { body })
    refused(t.copy, t, { body })
    refused(t.update, t, body)
    refused(db.execute, db, "select ?::int[]", body.ids)
    refused(db.execute, db, "select :ids::int[]", body)
    refused(t, { where = "id = ?", args = { n = 1 } })
    refused(t, { where = "id = any(?)", args = { { n = 100 } } })
    assert.are.equal(0, #t)
  end)

  it("is refused where it is no length", function()
    for _, n in ipairs{ -1, 1.5, 0 / 0, 1 / 0, 2 ^ 53, "2", true, {} } do
      for _, list in ipairs{ { n = n }, { 1, 2, n = n }, { { n = n } } } do
        local ok, err = pcall(sent, list)
        assert.is_false(ok, tostring(n))
        assert.are.equal("invalid_argument", err.name)
      end
    end
  end)

  it("counts where fastpg made the list or was told", function()
    assert.are.equal("{1,NULL}", sent(fastpg.array{ 1, n = 2 }))
    assert.are.equal("{NULL,NULL}", sent(fastpg.array{ n = 2 }))
    assert.are.equal("[0:1]={1,NULL}", sent(fastpg.array({ 1, n = 2 }, { lower = { 0 } })))
    assert.are.equal("{1,NULL}", sent(fastpg.array(setmetatable({ 1, n = 2 }, { __name = "mine" }))))
    assert.are.equal("{1,NULL}", sent(db:arrays("select 1, null::int")[1]))
    assert.are.equal("{1,NULL,3}", sent{ 1, nil, 3, n = 3 })
    assert.are.equal("{1,2}", sent{ 1, 2, n = 2 })
    assert.are.equal("a", db:item("select $1::text || coalesce($2, '')", fastpg.args({ "a" }, 2)))
    assert.are.equal(0, #db.t.counted{ where = "id = ? and t = ?", args = fastpg.args({ 1 }, 2) })
    for _, n in ipairs{ -1, 1.5, 0 / 0, 1 / 0, "2" } do
      local ok, err = pcall(fastpg.array, { n = n })
      assert.is_false(ok)
      assert.are.equal("invalid_argument", err.name)
      ok, err = pcall(fastpg.args, {}, n)
      assert.is_false(ok)
      assert.are.equal("invalid_argument", err.name)
    end
  end)
end)

describe("connections that the server closed while they were idle", function()
  local fastpg = require "fastpg"
  local watch
  setup(function() watch = pg.db() end)
  teardown(function() watch:close() end)

  local function pids_of(db, n)
    local txs, pids = {}, {}
    for i = 1, n do
      txs[i] = db:begin()
      pids[i] = txs[i].pid
    end
    for i = 1, n do txs[i]:rollback() end
    return pids
  end
  local function kill(pids)
    watch:execute("select pg_terminate_backend(p) from unnest(?::int[]) p", pids)
    for _ = 1, 6000 do
      if watch:item("select count(*) from pg_stat_activity where pid = any(?::int[])", pids) == 0 then return end
      watch:execute "select pg_sleep(0.01)"
    end
    error "they live on"
  end

  it("are not lent again, however many there are and however soon", function()
    for _, n in ipairs{ 1, 3 } do
      local db = pg.pool(nil, { max_size = n })
      for _ = 1, 5 do
        local pids = pids_of(db, n)
        kill(pids)
        for i = 1, n + 1 do assert.are.equal(i, db:item("select ?::int", i)) end
        kill(pids_of(db, n))
        db:transaction(function(tx) assert.are.equal(1, tx:item "select 1") end)
      end
      db:close()
    end
    local single = pg.db()
    kill{ single.pid }
    assert.are.equal(1, single:item "select 1")
    single:close()
  end)

  it("are told from those that other messages lie on", function()
    local db = pg.db()
    local pid = db.pid
    db:execute "listen words"
    watch:execute "notify words"
    assert.are.equal(pid, db.pid)
    kill{ pid }
    assert.are.not_equal(pid, db.pid)
    assert.is_true(fastpg.is((select(2, pcall(db.item, db, "select 1/0"))), "division_by_zero"))
    db:close()
  end)
end)

describe("a method of a value", function()
  local fastpg = require "fastpg"
  local values = {
    numeric = fastpg.numeric "1.5", date = fastpg.date "2024-02-29", time = fastpg.time "10:00",
    timetz = fastpg.timetz "10:00+01", timestamp = fastpg.timestamp "2024-02-29 10:00",
    timestamptz = fastpg.timestamptz "2024-02-29 10:00+00", interval = fastpg.interval "1 day",
    range = fastpg.range(1, 10), multirange = fastpg.multirange{ fastpg.range(1, 10) },
  }
  local others = { "1.5", 7, true, fastpg.null, {}, print, io.stdout, coroutine.create(function() end) }
  local METHODS = { "cmp", "eq", "lt", "le", "round", "abs", "tonumber", "epoch", "ranges" }
  local META = { "__eq", "__lt", "__le", "__add", "__sub", "__mul", "__div", "__mod", "__pow", "__unm", "__concat",
    "__tostring", "__index", "__newindex", "__len" }

  local function method(value, name)
    local ok, found = pcall(function() return value[name] end)
    return ok and type(found) == "function" and found or nil
  end
  -- One of the errors of fastpg, or a value: nothing that only reading beyond a value gives.
  local function judge(what, ok, result)
    if ok then return end
    assert.is_truthy(type(result) == "string" and result:find "argument" or type(result) == "table" and result.name,
      what .. ": " .. tostring(result))
  end

  it("takes values of its own class only, whatever else it is given", function()
    local taken = 0
    for class, value in pairs(values) do
      for _, name in ipairs(METHODS) do
        local fn = method(value, name)
        for other, self in pairs(values) do
          for _, arg in pairs(values) do
            if fn then
              local ok, result = pcall(fn, self, arg)
              judge(class .. "." .. name .. "(" .. other .. ")", ok, result)
              if other ~= class then
                assert.is_false(ok, ("%s.%s took a %s"):format(class, name, other))
                if result.message:find "takes 0 arguments" then ok, result = pcall(fn, self) end
                assert.is_false(ok)
                assert.are.equal(("fastpg.%s expected, got fastpg.%s"):format(class, other), result.message)
                taken = taken + 1
              end
            end
          end
        end
        for _, self in ipairs(others) do
          if fn then assert.is_false(pcall(fn, self, value), class .. "." .. name) end
        end
        if fn then assert.is_false((pcall(fn))) end
      end
    end
    assert.is_true(taken > 500)
  end)

  it("and of its metatable", function()
    for class, value in pairs(values) do
      local meta = debug.getmetatable(value)
      for _, name in ipairs(META) do
        local fn = rawget(meta, name)
        local lists = { values, others }
        for _, selves in ipairs(fn and lists or {}) do
          for _, self in pairs(selves) do
            for _, args in ipairs(lists) do
              for _, arg in pairs(args) do judge(class .. name, pcall(fn, self, arg)) end
            end
            judge(class .. name, pcall(fn, self, "lower"))
            judge(class .. name, pcall(fn, self, "year"))
          end
        end
      end
    end
  end)
end)

describe("a number of seconds", function()
  local fastpg = require "fastpg"
  local db
  setup(function() db = pg.db() end)
  teardown(function() db:close() end)

  local takers = {
    ["fastpg.sleep"] = function(s) fastpg.sleep(s) end,
    ["fastpg.step"] = function(s) fastpg.step(s) end,
    ["db:timeout"] = function(s) db:timeout(s, function() return db:item "select 1" end) end,
    ["db:close"] = function(s) pg.db():close(s) end,
    ["db:poll"] = function(s) db:poll(s) end,
    ["db:notifications"] = function(s) db:notifications("c", s):close() end,
  }
  for _, name in ipairs{ "command_timeout", "connect_timeout", "acquire_timeout", "max_lifetime",
    "max_inactive_connection_lifetime" } do
    takers[name] = function(s)
      local own = pg.pool({}, { [name] = s })
      assert.are.equal(1, own:item "select 1")
      own:close()
    end
  end

  it("is never NaN", function()
    for name, take in pairs(takers) do
      for _, nan in ipairs{ 0 / 0, -(0 / 0) } do
        local ok, err = pcall(take, nan)
        assert.is_false(ok, name)
        assert.are.equal("invalid_argument", err.name, name)
        assert.truthy(err.message:find "seconds", name .. ": " .. err.message)
      end
    end
  end)

  it("may be without an end, or as good as", function()
    for name, take in pairs(takers) do
      if name ~= "fastpg.sleep" and name ~= "fastpg.step" and name ~= "db:poll" then
        for _, long in ipairs{ math.huge, 1e300, 1e12, 2 ^ 31, 2 ^ 63 } do
          local ok, err = pcall(take, long)
          assert.is_true(ok, name .. ": " .. tostring(err))
        end
      end
    end
  end)

  it("is NaN for no function of the core either", function()
    local core = require "fastpg.core"
    assert.is_false((pcall(core.poll, -1, "r", 0 / 0)))
    local poller = core.poller and core.poller()
    if poller then
      assert.is_false((pcall(poller.wait, poller, 0 / 0)))
      assert.is_false((pcall(poller.watch, poller, 1, nil, nil, 0 / 0)))
    end
  end)
end)

describe("a numeric of more digits than the server's", function()
  local fastpg = require "fastpg"

  it("is refused before it is calculated", function()
    local n = fastpg.numeric
    local big = n "1e131071"
    local begun = os.clock()
    for name, calc in pairs{
      product = function() return big * big end,
      square = function() return big ^ 2 end,
      power = function() return n "10" ^ 131072 end,
      ["huge power"] = function() return n "12345678901234567890.5" ^ 2147483647 end,
      ["power of a fraction"] = function() return n "0.1" ^ -200000 end,
      text = function() return n "1e131072" end,
      ["long exponent"] = function() return n "1e999999999999999999999" end,
      ["small text"] = function() return n "1e-20000" end,
      sum = function() return n("9" .. ("9"):rep(131071)) + 1 end,
    } do
      local ok, err = pcall(calc)
      assert.is_false(ok, name)
      assert.are.equal("numeric_value_out_of_range", err.name, name)
    end
    assert.is_true(os.clock() - begun < 20)
    assert.are.equal("1e131071", "1e" .. #tostring(big * 1) - 1)
    assert.are.equal(131072, #tostring(n "10" ^ 131071):match "^%d+")
  end)
end)

describe("a forked child", function()
  local has_ffi, ffi = pcall(require, "ffi")

  it("without a free descriptor leaves its parent's sessions alone", function()
    if not has_ffi or not ffi.C then return pending("fork is called through LuaJIT's ffi") end
    for _, how in ipairs{ "db:close()", "db = nil", "os.exit(0, true)" } do
      assert.are.equal("true", run({ "ulimit -n 100" }, [[
        local ffi = require "ffi"
        ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);"
        local fastpg = require "fastpg"
        local db = fastpg.connect(info)
        local pid = db.pid
        io.stdout:flush()
        local id = ffi.C.fork()
        if id == 0 then
          local files = {}
          for i = 1, 1000 do
            files[i] = io.open "/dev/null"
            if not files[i] then break end
          end
          ]] .. how .. [[ collectgarbage() collectgarbage()
          ffi.C._exit(0)
        end
        ffi.C.waitpid(id, nil, 0)
        local same = false
        db:transaction(function(tx) same = tx:item "select pg_backend_pid()" == pid end)
        print(same)]]))
    end
  end)
end)

describe("a Lua state that is being closed", function()
  it("closes what a finalizer opens, and opens nothing when it is done", function()
    -- Under the sanitizers whatever is left is an error.
    local out = run({}, [[
      local function on_close(fn)
        if rawget(_G, "newproxy") then
          local proxy = newproxy(true)
          getmetatable(proxy).__gc = fn
          return proxy
        end
        return setmetatable({}, { __gc = fn })
      end
      local fastpg
      EARLY = on_close(function()
        local ok, err = pcall(function() return fastpg.connect(info):item "select 1" end)
        print(ok and 1 or err.name)
      end)
      fastpg = require "fastpg"
      LATE = on_close(function()
        KEPT = fastpg.connect(info)
        print(KEPT:item("select ?::int + 1", 1))
      end)]])
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[line] = true end
    assert.is_true(lines["2"], out)
    assert.is_true(lines["1"] or lines["closed"], out)
  end)
end)

describe("a password", function()
  local fastpg = require "fastpg"
  local SECRETS = { password = "hunter2-marker", sslpassword = "swordfish-marker" }

  -- Everything that following tables, metatables and user values leads to; the way to a marker, or nil.
  local function way_to_secret(start)
    local seen, todo = {}, { { start, "it" } }
    local function add(value, way)
      if type(value) == "string" then
        for _, secret in pairs(SECRETS) do
          if value:find(secret, 1, true) then return way end
        end
      elseif (type(value) == "table" or type(value) == "userdata") and not seen[value] then
        seen[value] = true
        todo[#todo + 1] = { value, way }
      end
    end
    local n = 0
    while n < #todo do
      n = n + 1
      local value, way = todo[n][1], todo[n][2]
      local found = add(debug.getmetatable(value), way .. "<metatable>")
      if type(value) == "table" then
        for k, v in next, value do
          found = found or add(k, way .. "<key>") or add(v, way .. "." .. tostring(k))
        end
      elseif debug.getuservalue then
        for i = 1, 3 do found = found or add(debug.getuservalue(value, i), way .. "<uservalue>") end
      elseif debug.getfenv then
        found = found or add(debug.getfenv(value), way .. "<environment>")
      end
      if found then return found end
    end
    return nil, n
  end

  it("is reached from nothing that the user holds", function()
    local function check(what, value)
      local way, n = way_to_secret(value)
      assert.is_nil(way, ("%s: %s"):format(what, tostring(way)))
      return n
    end
    do -- the walk finds what is there
      local planted = setmetatable({}, { { db = setmetatable({}, { __index = { x = "a hunter2-marker b" } }) } })
      assert.truthy(way_to_secret(planted))
    end
    local ways = {
      table = function(make) return make(SECRETS) end,
      uri = function(make)
        local c = pg.conninfo()
        return make(("postgresql://%s:%s@/%s?host=%s&port=%s&sslpassword=%s"):format(c.user, SECRETS.password, c.database,
          c.host:gsub("/", "%%2F"), c.port, SECRETS.sslpassword), {})
      end,
    }
    for _, give in pairs(ways) do
      for _, make in ipairs{ fastpg.connect, fastpg.create_pool } do
        local db = give(function(a, b)
          if b then return make(a, b) end
          local all = pg.conninfo()
          for k, v in pairs(a) do all[k] = v end
          return make(all)
        end)
        db:execute "create table if not exists held (id int primary key, x text)"
        local t = db.t.held
        local row = t:upsert{ id = 1, x = "a" }
        db:transaction(function(tx) check("tx", tx) end)
        local tx = db:begin()
        check("begun", tx)
        tx:rollback()
        assert.is_true(check("db", db) > 50)
        check("row", row)
        check("its database", fastpg.db_of(row))
        check("rows", db:q "select 1 as a")
        check("a row of SQL", db:first "select 1 as a")
        check("table", t)
        check("tables", db.t)
        check("column", t.c.id)
        check("query", t:where{ id = 1 }:order_by "id")
        check("class", t:class())
        check("instance", t:get(1))
        check("prepared", db:prepare "select 1")
        check("stats", db:stats())
        check("stream", db:each "select generate_series(1, 3)")
        check("notifications", db:notifications("c", 0))
        local _, err = pcall(db.q, db, "select nothing")
        check("error", err)
        _, err = pcall(t.insert, t, { id = 1 })
        check("error of a table", err)
        _, err = pcall(fastpg.connect, { host = "127.0.0.1", port = 1, password = SECRETS.password })
        check("error of connect", err)
        for _, value in ipairs{ db, row, t, err, t.c.id } do check("text", { tostring(value) }) end
        check("module", fastpg)
        db:close()
        check("closed db", db)
      end
    end
  end)
end)

describe("a URI", function()
  local fastpg = require "fastpg"

  it("keeps all but what is secret", function()
    local given = {
      user = "me", host = "a,b", port = "5432,5433", dbname = "x y", password = "hunter2", sslmode = "verify-full",
      sslrootcert = "/etc/a b&c.pem", sslpassword = "hunter2", target_session_attrs = "read-write",
      options = "-c geqo=off -c a.b='%'", passfile = "/home/me/pass", application_name = "naïve=?",
    }
    local uri = fastpg.uri(given)
    assert.is_nil(uri:find("hunter2", 1, true))
    local core = require "fastpg.core"
    local again = core.conninfo_parse(uri)
    given.password, given.sslpassword = nil, nil
    assert.are.same(given, again)
    assert.are.equal(uri, fastpg.uri(again))
    local pool = fastpg.create_pool(given)
    assert.are.equal(uri, tostring(pool))
    pool:close()
    pool = fastpg.create_pool(uri, { password = "hunter2" })
    assert.are.equal(uri, tostring(pool))
    pool:close()
  end)

  it("has the simple form where nothing else was said", function()
    assert.are.equal("postgresql://me@127.0.0.1:5432/chinook",
      fastpg.uri{ user = "me", host = "127.0.0.1", database = "chinook", password = "x" })
    assert.are.equal("postgresql://me@%2Fvar%2Frun%2Fpostgresql:5432/chinook",
      fastpg.uri{ user = "me", host = "/var/run/postgresql", database = "chinook" })
    assert.are.equal("postgresql://me@[::1]:5432,%2Ftmp%2Fa%3Ab:5433/x",
      fastpg.uri{ user = "me", host = "::1,/tmp/a:b", port = "5432,5433", database = "x" })
  end)

  it("says what a service or the environment decided about servers and certificates", function()
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write "[mine]\nhost=one,two\nsslmode=verify-full\nuser=me\ndbname=d\npassword=hunter2\n"
    f:close()
    local out = child({ PGSERVICEFILE = path, PGSSLROOTCERT = "/root.pem", PGAPPNAME = "env", PGPASSWORD = "hunter2" }, [[
      local fastpg = require "fastpg"
      print(fastpg.create_pool "service=mine")
      print(fastpg.uri{ service = "mine" })]])
    local uri = "postgresql://me@one:5432,two:5432/d?service=mine&sslmode=verify-full&sslrootcert=/root.pem"
    assert.are.equal(uri .. "\n" .. uri, out)
    os.remove(path)
  end)

  it("keeps what was given beside a service that is not there", function()
    local given = { service = "nowhere", host = "one", port = "5433", user = "me", dbname = "d" }
    local uri = "postgresql://me@one:5433/d?service=nowhere"
    assert.are.equal(uri, fastpg.uri(given))
    given.password = "hunter2"
    assert.are.equal(uri, fastpg.uri(given))
  end)

  it("is no host, nor anything else that messages show", function()
    for _, name in ipairs{ "host", "hostaddr", "user", "database", "service", "application_name" } do
      for _, call in ipairs{ fastpg.uri, fastpg.connect, fastpg.create_pool } do
        local ok, err = pcall(call, { [name] = "postgresql://me:hunter2@127.0.0.1/x" })
        assert.is_false(ok)
        assert.are.equal("invalid_argument", err.name)
        assert.truthy(err.message:find("connection string", 1, true), err.message)
        assert.is_nil(err.message:find("hunter2", 1, true))
      end
    end
  end)

  it("connects again", function()
    local c = pg.conninfo()
    local db = fastpg.connect{ host = "/nonexistent," .. c.host, port = "1," .. c.port, user = c.user,
      database = c.database, target_session_attrs = "read-write", options = "-c geqo=off" }
    local again = fastpg.connect(tostring(db))
    assert.are.equal(tostring(db), tostring(again))
    assert.are.equal("off", again:item "show geqo")
    again:close()
    db:close()
  end)

  it("is refused where a URI can't say it", function()
    for given, message in pairs{
      [{ loop = "step" }] = "loop is fastpg's own", [{ command_timeout = 1 }] = "command_timeout is fastpg's own",
      [{ hots = "a" }] = 'did you mean "host"', [{ host = {} }] = "host must be a string",
      [{ user = "a\0b" }] = "user has a NUL byte",
    } do
      local ok, err = pcall(fastpg.uri, given)
      assert.is_false(ok)
      assert.are.equal("invalid_argument", err.name)
      assert.truthy(err.message:find(message, 1, true), err.message)
    end
  end)
end)

describe("luv", function()
  it("may be loaded first by a call inside a coroutine", function()
    if not pcall(require, "luv") then return pending "luv is not installed for this Lua" end
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return pending "PUC 5.1 blocks" end
    assert.are.equal("1\n50\ncallback 7\nover", run({}, [[
      local fastpg = require "fastpg"
      local db
      coroutine.wrap(function()
        info.loop = "luv"
        db = fastpg.create_pool(info)
        print(db:item "select 1")
      end)()
      assert(package.loaded.luv)
      local uv = require "luv"
      uv.run()
      local n = 0
      for i = 1, 50 do
        collectgarbage()
        collectgarbage()
        local garbage = {}
        for j = 1, 100 do garbage[j] = coroutine.create(function() end) end
        coroutine.wrap(function() n = n + (db:item("select ?::int", i) == i and #garbage / 100 or 0) end)()
        uv.run()
      end
      print(("%d"):format(n))
      local timer = uv.new_timer()
      timer:start(1, 0, function()
        timer:close()
        coroutine.wrap(function() print("callback " .. db:item "select 7") end)()
      end)
      uv.run()
      db:close()
      uv.run()
      print "over"]]))
  end)
end)

describe("long arguments", function()
  local fastpg = require "fastpg"
  local db
  setup(function() db = pg.db() end)
  teardown(function() db:close() end)

  it("are refused before anything is sent where the server would end the session", function()
    local piece = ("x"):rep(2 ^ 26)
    local list, marks = {}, {}
    for i = 1, 17 do list[i], marks[i] = piece, "length(?)" end
    local sql = "select " .. table.concat(marks, " + ")
    local pid = db.pid
    local ok, err = pcall(db.item, db, sql, fastpg.args(list))
    assert.is_false(ok)
    assert.are.equal("program_limit_exceeded", err.name)
    assert.truthy(err.message:find("$16", 1, true), err.message)
    assert.is_nil(err.message:find "xxx")
    assert.are.equal(pid, db.pid)
    assert.are.equal(1, db:item "select 1")
  end)

  it("arrive whole, in a script and under a loop", function()
    local long = ("0123456789"):rep(1000000)
    local function check()
      assert.are.equal(#long, db:item("select length(?)", long))
      assert.are.equal(long, db:item("select ?::text", long))
      assert.are.same({ #long, 1, n = 2 }, db:pipeline(function(p)
        p:item("select length(?)", long)
        p:item "select 1"
      end))
    end
    check()
    db:timeout(60, check)
    fastpg.run(check)
  end)
end)
