-- SPDX-License-Identifier: MIT
--
-- What a user can reach: every function of every public object is walked, and called with one argument too many.
--
-- `surface` below is the list of what there is.  A function that is not in it fails here, as does one in it that is
-- gone: whoever adds one says how many arguments it takes (ANY: as many as its SQL, or what it runs, asks for) and
-- writes it down in the manual.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local unpack = table.unpack or unpack
local ANY = "any"
local CMP = { cmp = 1, eq = 1, lt = 1, le = 1 }

local function with(base, more)
  local all = {}
  for k, v in pairs(base) do all[k] = v end
  for k, v in pairs(more) do all[k] = v end
  return all
end

local surface = {
  fastpg = {
    is = 2, try = ANY, guard = ANY, http_status = 1, args = 2, set_loop = 1, loop_info = 0, spawn = ANY, gather = ANY, sleep = 1, step = 2, run = ANY,
    conv_placeholders = 2, sql = ANY, op = 2, any = 1, none = 1, from = 2, load = ANY, quote_ident = 1, quote_literal = 1, class = 3, class_source = 1, all_classes = 2, col_def = 4,
    lua_type = 1, html = 1, columns = 1, values = 1, db_of = 1, to_json = 1, from_json = 1, json_text = 1, array = 2,
    lower_bounds = 1, numeric = 1, date = 3, time = 3, timetz = 4, timestamp = 6, timestamptz = 7, interval = 1, now = 1, range = 3,
    multirange = 1, connect = 2, create_pool = 2, database = 0, cluster = 1, uri = 1, diagram = 2, migrate = 3,
  },
  db = {
    q = ANY, fetch = ANY, first = ANY, fetchrow = ANY, qone = ANY, item = ANY, fetchval = ANY, arrays = ANY, execute = ANY, results = ANY, each = ANY,
    executemany = 2, prepare = 1, pipeline = 1, transaction = 2, read = 2, lsn = 0, begin = 1, commit = 0, rollback = 0, acquire = 1,
    advisory_lock = 2, scope = 2, timeout = 2, connect = 2, close = 1, stats = 0, on = 3, metrics = 0, set_type_codec = 2, ping = 0, parameter = 1, table = 2,
    tables = 1, views = 1, table_names = 1, view_names = 1, has = 2, columns_info = 2, pk_cols = 2, refresh = 0,
    link_classes = 1, set_classes = 1, get_tables = 1, table2glb = 2, create = 2, create_from_schema = 3, create_mod = 2,
    copy_from = 2, copy_to = 2, listen = 2, unlisten = 2, notify = 2, poll = 1, notifications = 2,
  },
  t = {
    get = 2, has = 1, all = ANY, selectone = ANY, count = ANY, first = ANY, each = ANY, where = ANY, select = ANY, order_by = ANY, limit = 1,
    offset = 1, groupby = ANY, xtra = 2, scope = 2, drop = 1, insert = 3, insert_from = 2, update = 4, upsert = 3, delete = 2,
    exists = 0, explain = 0,
    having = ANY, group_by = ANY, distinct = 0, with = 1, on_replica = 0, for_update = 1, join = 2, left_join = 2, where_exists = ANY,
    where_missing = ANY, cte = 2, union = 1, union_all = 1, item = 1, pluck = ANY, map = 2, page = 2,
    delete_where = ANY, inserts = 3, updates = 3, upserts = 3, claim = ANY, claim_one = 2, copy = 2, class = 1,
  },
  ["t.c"] = { has = 1 },
  q = {
    where = ANY, select = ANY, order_by = ANY, limit = 1, offset = 1, first = 0, one = 0, all = 0, count = 0, each = 1, exists = 0,
    update = 2, delete = 1, explain = 0,
    having = ANY, group_by = ANY, distinct = 0, with = 1, on_replica = 0, for_update = 1, join = 2, left_join = 2, where_exists = ANY,
    where_missing = ANY, cte = 2, union = 1, union_all = 1, item = 1, pluck = ANY, map = 2, page = 2,
  },
  rows = { html = 0, columns = 0, types = 0 },
  ["db:arrays"] = { types = 0 },
  prepared = { q = ANY, first = ANY, qone = ANY, item = ANY, fetchval = ANY, arrays = ANY, each = ANY, execute = ANY },
  pipeline = { q = ANY, first = ANY, item = ANY, execute = ANY },
  stream = { close = 0 },
  notifications = { close = 0 },
  task = { wait = 0, cancel = 0 },
  cluster = { connect = 1, create_pool = 2, stop = 1, crash = 0, start = 0, restart = 1, close = 0, promote = 1, pause_replay = 1,
    resume_replay = 1, partition = 1, heal = 1 },
  server = { connect = 1, create_pool = 2, stop = 1, crash = 0, start = 0, restart = 1 },
  error = { is = 1 },
  numeric = with(CMP, { tonumber = 0, round = 1, abs = 0 }),
  date = with(CMP, { epoch = 0 }), time = with(CMP, { epoch = 0 }), timetz = with(CMP, { epoch = 0 }),
  timestamp = with(CMP, { epoch = 0 }), timestamptz = with(CMP, { epoch = 0 }), interval = with(CMP, { epoch = 0 }),
  range = {}, multirange = { ranges = 0 },
}

-- The properties, which are no functions.
local properties = { db = { t = 1, v = 1, server_version = 1, pid = 1 },
  t = { name = 1, schema = 1, pks = 1, cols = 1, c = 1, cls = 1, db = 1 } }

-- ---- walking --------------------------------------------------------------------------------

-- Every string that is a key in what __index can see: itself a table, or a function's upvalues (tables of names in
-- them), however deep.
local function candidates(value, names, seen, depth)
  if seen[value] or depth > 3 then return end
  seen[value] = true
  if type(value) == "table" then
    for k, v in next, value do
      if type(k) == "string" then names[k] = true end
      if type(v) == "table" then candidates(v, names, seen, depth + 1) end
    end
    local mt = debug.getmetatable(value)
    local index = mt and rawget(mt, "__index")
    if index then candidates(index, names, seen, depth) end
  elseif type(value) == "function" then
    for i = 1, 60 do
      local name, upvalue = debug.getupvalue(value, i)
      if not name then break end
      if type(upvalue) == "table" or type(upvalue) == "function" then candidates(upvalue, names, seen, depth + 1) end
    end
  end
end

-- The functions that can be read from an object: name -> function.
local function functions_of(object)
  local names, found = {}, {}
  local index = debug.getmetatable(object).__index
  candidates(index, names, {}, 0)
  if type(object) == "table" then
    for k in next, object do if type(k) == "string" then names[k] = true end end
  end
  for name in pairs(names) do
    local ok, value = pcall(function() return object[name] end)
    if ok and type(value) == "function" then found[name] = value end
  end
  return found
end

describe("the surface", function()
  local db, objects, tx

  setup(function()
    db = pg.cluster():create_pool({}, { max_size = 4 })
    db:execute "create table surface (id serial primary key, name text)"
    db:execute "insert into surface (name) values ('a')"
    local t = db.t.surface
    tx = db:begin()
    local pipeline
    tx:pipeline(function(p)
      pipeline = p
      p:q "select 1"
    end)
    objects = {
      fastpg = fastpg, db = db, t = t, ["t.c"] = t.c, q = t:where("id = ?", 1), rows = t(), ["db:arrays"] = db:arrays "select 1 as a",
      prepared = db:prepare "select 1", pipeline = pipeline, stream = (tx:each "select 1"),
      notifications = (db:notifications("surface", 0.01)), task = fastpg.spawn(function() end), cluster = fastpg.cluster{ standbys = 1 },
      error = select(2, pcall(db.q, db, "select 1/0")), numeric = fastpg.numeric "1.5", date = fastpg.date "2024-01-02",
      time = fastpg.time "10:00", timetz = fastpg.timetz "10:00+01", timestamp = fastpg.timestamp "2024-01-02",
      timestamptz = fastpg.now(), interval = fastpg.interval "1 day", range = fastpg.range(1, 2),
      multirange = fastpg.multirange{ fastpg.range(1, 2) },
    }
    objects.server = objects.cluster.standbys[1]
  end)
  teardown(function()
    objects.task:wait()
    objects.cluster:close()
    objects.notifications:close()
    tx:rollback()
    db:execute "drop table surface"
    db:close()
  end)

  for kind, expected in pairs(surface) do
    it("of " .. kind .. " is what is written down here", function()
      local found = {}
      for name in pairs(functions_of(objects[kind])) do found[name] = expected[name] or "not in the list" end
      assert.same(expected, found)
    end)

    it("of " .. kind .. " refuses a surplus argument", function()
      local complaints, tried = {}, 0
      for name, most in pairs(expected) do
        if most ~= ANY then
          local fn, args = objects[kind][name], {}
          local is_method = kind ~= "fastpg"
          local n = most + 1 + (is_method and 1 or 0)
          if is_method then args[1] = objects[kind] end
          local function call() return (fn(unpack(args, 1, n))) end
          local line = debug.getinfo(call, "S").linedefined
          local ok, err = pcall(call)
          local text = tostring(err)
          tried = tried + 1
          if ok or not text:find("takes .*%d arguments?, got " .. most + 1 .. "$")
            or not text:find("surface_spec.lua:" .. line .. ": ", 1, true) then
            complaints[#complaints + 1] = name .. ": " .. text
          end
        end
      end
      assert.same({}, complaints)
      assert.is_true(tried > 0 or next(expected) == nil or kind == "prepared" or kind == "pipeline")
    end)

    it("of " .. kind .. " says so of a name that it does not have", function()
      if kind == "error" then return end -- its fields come and go with the error
      local object = objects[kind]
      for known in pairs(expected) do
        local typo = known .. "x"
        if kind == "t.c" then break end -- any name is a column
        local ok, err = pcall(function() return object[typo] end)
        assert.is_false(ok, kind .. "." .. typo)
        assert.truthy(tostring(err):find('did you mean "' .. known .. '"', 1, true)
          or tostring(err):find('" or "' .. known .. '"', 1, true) or tostring(err):find('"' .. known .. '"', 1, true), tostring(err))
      end
      if kind == "t.c" then return end
      local ok, err = pcall(function() return object.nothing_like_that end)
      assert.is_false(ok, kind)
      assert.truthy(tostring(err):find("nothing_like_that", 1, true), tostring(err))
      assert.truthy(tostring(err):find("^[^ ]*surface_spec.lua:%d+: "), tostring(err))
      assert.has_no.errors(function() return kind == "t" or object.__name end) -- what tools ask for
    end)
  end

  it("takes no assignment", function()
    for _, kind in ipairs{ "fastpg", "db", "t", "t.c", "q" } do
      local object = objects[kind]
      for _, name in ipairs{ "q", "where", "connect", "null", "new_name" } do
        local ok, err = pcall(function() object[name] = function() end end)
        assert.is_false(ok, kind .. "." .. name)
        assert.truthy(tostring(err):find("surface_spec.lua:", 1, true), tostring(err))
      end
    end
    assert.is_false(pcall(function() fastpg.on_error = 1 end))
    local before = fastpg.on_error
    fastpg.on_error = print
    assert.equal(print, fastpg.on_error)
    fastpg.on_error = before
    assert.equal(before, fastpg.on_error)
  end)

  it("of an object that is called refuses surplus arguments too", function()
    assert.is_false(pcall(objects.q, 1))
    assert.is_false(pcall(objects["t.c"], "id", 1))
    assert.is_false(pcall(objects.prepared, 1))
    assert.is_false(pcall(fastpg.class("Surface", { "id int" }), {}, 1))
    for name in pairs{ date = 1, time = 1, timetz = 1, timestamp = 1, interval = 1, numeric = 1 } do
      assert.is_false(pcall(fastpg[name], tostring(objects[name]), 1), name)
      assert.is_false(pcall(fastpg[name], objects[name], 1), name)
    end
  end)

  it("of those that look for themselves is counted all the same", function()
    local t, p = objects.t, objects.prepared
    local calls = {
      function() db:q("select 1", 1) end, function() db:first("select 1", 1) end, function() db:qone("select 1", nil) end,
      function() db:item("select 1", 1) end, function() db:fetchval("select 1", 1) end, function() db:arrays("select 1", 1) end,
      function() db:execute("select 1", 1) end, function() db:each("select 1", 1) end, function() db:each("select 1", 1, print) end,
      function() p:q(1) end, function() p:first(1) end, function() p:each(1) end, function() p:execute(1) end,
      function() db:pipeline(function(q) q:q("select 1", 1) end) end,
      function() t({ limit = 1 }, 1) end, function() t("id = 1", 1) end, function() t:all({}, 1) end,
      function() t:count({}, 1) end, function() t:first({ limit = 1 }, 1) end, function() t:selectone("id = 1", 1) end,
      function() t:each({ limit = 1 }, 1) end, function() t:where({ id = 1 }, 1) end, function() t:where("id = 1", 1)() end,
      function() t:delete_where({ id = 1 }, 1) end, function() t:delete_where("id = 1", 1) end,
      function() t:groupby("name", "count(*)", {}, 1) end, function() t:xtra({ id = 1 }, 1) end, function() t:scope("id", 1, 2) end,
      function() tx:table("surface"):claim({ limit = 1 }, 1) end, function() t:copy({}, {}, 1) end,
      function() t:copy(t:each(), 1, 2) end,
    }
    for _, call in ipairs(calls) do
      local ok, err = pcall(call)
      local line = debug.getinfo(call, "S").linedefined
      assert.is_false(ok, "line " .. line)
      assert.truthy(tostring(err):find("surface_spec.lua:" .. line .. ": ", 1, true), tostring(err))
    end
    assert.equal(1, #t)
  end)

  it("is in the manual, and known to editors", function()
    local function read(path)
      local f = assert(io.open(path))
      local text = f:read "*a"
      f:close()
      return text
    end
    local manual, meta = read "doc/manual.md", read "lua/fastpg/annotations.lua"
    local missing = {}
    for kind, names in pairs(surface) do
      for name in pairs(names) do
        if not manual:find("[.:]" .. name .. "%f[^%w_]") and not manual:find("`" .. name .. "`", 1, true) then
          missing[#missing + 1] = "manual: " .. kind .. " " .. name
        end
        if not meta:find("[.:]" .. name .. "%f[^%w_]") and not meta:find("@field " .. name .. "%f[^%w_]") then
          missing[#missing + 1] = "meta: " .. kind .. " " .. name
        end
      end
    end
    for kind, names in pairs(properties) do
      for name in pairs(names) do
        local ok, value = pcall(function() return objects[kind][name] end)
        if not ok or type(value) == "function" then missing[#missing + 1] = kind .. "." .. name end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)
end)
