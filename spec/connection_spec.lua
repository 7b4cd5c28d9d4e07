-- SPDX-License-Identifier: MIT
--
-- Connecting: what may be said, what is printed of it, how it ends.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local is_luajit = rawget(_G, "jit") ~= nil

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return err
end

local function escape(text)
  return (text:gsub("[^%w%-%._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- Runs Lua code in a process of its own, with these environment variables: what it prints.
local function run_lua(code, environment)
  local script = os.tmpname()
  local f = assert(io.open(script, "w"))
  f:write(code)
  f:close()
  local parts = { "env" }
  for name, value in pairs(environment or {}) do parts[#parts + 1] = ("%s='%s'"):format(name, value) end
  parts[#parts + 1] = os.getenv("FPG_TEST_LUA") or (rawget(_G, "arg") or {})[-1] or "lua"
  parts[#parts + 1] = script .. " 2>&1"
  local pipe = assert(io.popen(table.concat(parts, " ")))
  local out = pipe:read("*a")
  pipe:close()
  os.remove(script)
  return (out:gsub("%s+$", ""))
end

describe("connect", function()
  local c, uri
  setup(function()
    c = pg.conninfo()
    uri = ("postgresql://%s@%s:%d/%s"):format(escape(c.user), escape(c.host), c.port, escape(c.database))
  end)

  local function check(db)
    assert.are.equal(c.database, db:item("select current_database()"))
    assert.are.equal(uri, tostring(db))
    db:close()
  end

  it("takes strings, URIs and tables", function()
    check(fastpg.connect(("host=%s port=%d user=%s dbname=%s"):format(c.host, c.port, c.user, c.database)))
    check(fastpg.connect(uri))
    check(fastpg.connect((uri:gsub("^postgresql", "postgres"))))
    check(fastpg.connect(c))
    check(fastpg.connect{ host = c.host, port = tostring(c.port), user = c.user, dbname = c.database })
    check(fastpg.connect(uri, { statement_cache_size = 5 }))
    check(fastpg.connect{ database = uri })
    check(fastpg.connect{ database = uri .. "_not", dbname = uri })
  end)

  it("what connects is what is printed", function()
    local db = fastpg.connect(c)
    check(fastpg.connect(tostring(db)))
    assert.are.equal("x " .. uri, "x " .. db)
    db:close()
  end)

  it("a table beside a URI in it says the last word", function()
    local db = fastpg.connect{ database = uri .. "?application_name=first", application_name = "second" }
    assert.are.equal("second", db:item("show application_name"))
    db:close()
  end)

  it("takes the environment and service files", function()
    local file = os.tmpname()
    local f = assert(io.open(file, "w"))
    f:write(("[mine]\nhost=%s\nport=%d\nuser=%s\ndbname=%s\n"):format(c.host, c.port, c.user, c.database))
    f:close()
    local ask = [[local db = require("fastpg").connect(%s) print(db) print(db:item("select current_database()"))]]
    local wanted = uri .. "\n" .. c.database
    assert.are.equal(wanted, run_lua(ask:format('"service=mine"'), { PGSERVICEFILE = file }))
    assert.are.equal(wanted, run_lua(ask:format('{ service = "mine" }'), { PGSERVICEFILE = file }))
    assert.are.equal(wanted, run_lua(ask:format(""), { PGSERVICEFILE = file, PGSERVICE = "mine" }))
    assert.are.equal(wanted, run_lua(ask:format(""),
      { PGHOST = c.host, PGPORT = c.port, PGUSER = c.user, PGDATABASE = c.database }))
    assert.are.equal(wanted, run_lua(ask:format(("%q"):format(c.database)),
      { PGHOST = c.host, PGPORT = c.port, PGUSER = c.user, PGDATABASE = "other", PGCLIENTENCODING = "LATIN1" }))
    os.remove(file)
  end)

  it("a bare name is a database, also one that begins like a URI", function()
    local out = run_lua([[print(require("fastpg").connect("postgres"):item("select current_database()"))]],
      { PGHOST = c.host, PGPORT = c.port, PGUSER = c.user })
    assert.are.equal("postgres", out)
  end)

  it("names itself, and lets itself be named", function()
    local db = fastpg.connect(c)
    assert.are.equal("fastpg", db:item("show application_name"))
    db:close()
    db = fastpg.connect{ host = c.host, port = c.port, user = c.user, database = c.database, application_name = "x" }
    assert.are.equal("x", db:item("show application_name"))
    db:close()
  end)

  it("runs init, whose database is good for that time only", function()
    local kept
    local db = pg.db{ init = function(inner)
      kept = inner
      inner:execute("set application_name = 'init'")
    end }
    assert.are.equal("init", db:item("show application_name"))
    assert.is_true(fastpg.is(error_of(kept.q, kept, "select 1"), "closed"))
    db:close()
  end)

  it("tells of the server", function()
    local db = pg.db()
    assert.is_true(db:ping())
    assert.are.equal(tonumber(db:item("show server_version_num")), db.server_version)
    assert.are.equal(db:item("select pg_backend_pid()"), db.pid)
    assert.are.equal("UTF8", db:parameter("client_encoding"))
    assert.is_nil(db:parameter("no such"))
    assert.is_true(fastpg.is(error_of(db.parameter, db), "invalid_argument"))
    db:close()
    assert.is_true(fastpg.is(error_of(db.ping, db), "closed"))
    assert.is_true(fastpg.is(error_of(function() return db.pid end), "closed"))
  end)

  it("may come later", function()
    local db = fastpg.database()
    assert.are.equal("Database (not connected)", tostring(db))
    local err = error_of(db.q, db, "select 1")
    assert.is_true(fastpg.is(err, "closed"))
    assert.is_truthy(err.message:find("not connected", 1, true))
    assert.is_true(fastpg.is(error_of(db.connect, db, { host = "/nowhere" }), "connection"))
    assert.are.equal("Database (not connected)", tostring(db))
    assert.are.equal(db, db:connect(c))
    assert.are.equal(1, db:item("select 1"))
    assert.is_truthy(error_of(db.connect, db, c).message:find("connected already", 1, true))
    db:close()
    assert.are.equal("Database (closed)", tostring(db))
    assert.is_true(fastpg.is(error_of(db.q, db, "select 1"), "closed"))
    db:close()
    db:connect(c)
    assert.are.equal(1, db:item("select 1"))
    db:close()
  end)

  it("gives up on a listener that says nothing", function()
    -- a server that accepts and is silent: a unix socket nobody reads
    local python = os.execute("command -v python3 >/dev/null 2>&1")
    if not (python == true or python == 0) then return pending("no python3 to listen") end
    local mktemp = io.popen("mktemp -d")
    local dir = mktemp:read("*l")
    mktemp:close()
    local listener = io.popen(([[exec python3 -c "
import os, socket, time
s = socket.socket(socket.AF_UNIX)
s.bind('%s/.s.PGSQL.5432')
s.listen(5)
print(os.getpid(), flush=True)
time.sleep(60)
"]]):format(dir))
    local listener_pid = assert(tonumber(listener:read("*l")))
    finally(function()
      os.execute(("kill %d; rm -rf '%s'"):format(listener_pid, dir))
      listener:close()
    end)
    local start = os.time()
    for _, call in ipairs{
      function() fastpg.connect{ host = dir, connect_timeout = 0.2 } end,
      function() fastpg.connect("host=" .. dir .. " connect_timeout=1") end,
      function()
        local db = fastpg.create_pool({ host = dir, command_timeout = 0.2 })
        db:q("select 1")
      end,
      function()
        local db = fastpg.create_pool{ host = dir }
        db:timeout(0.2, function() db:q("select 1") end)
      end,
      function()
        local db = fastpg.create_pool{ host = dir }
        db:timeout(0.2, function() db:begin() end)
      end,
    } do
      local err = error_of(call)
      assert.is_true(fastpg.is(err, "timeout"), tostring(err))
    end
    assert.is_true(os.time() - start < 10)
  end)

  it("says what failed", function()
    local err = error_of(fastpg.connect, { host = "/nowhere", port = 1, password = "s3cret" })
    assert.are.equal("connection", err.name)
    assert.is_truthy(err.message:find("/nowhere", 1, true))
    err = error_of(pg.cluster().connect, pg.cluster(), { database = "no such database" })
    assert.is_true(fastpg.is(err, "connection"))
    assert.is_truthy(err.message:find("no such database", 1, true))
  end)
end)

describe("a password", function()
  local secret = "s3cr%et"
  it("is never printed", function()
    local c = pg.conninfo()
    local base = { host = c.host, port = c.port, user = c.user, database = c.database }
    local as_uri = ("postgresql://%s:%s@%s:%d/%s"):format(escape(c.user), escape(secret), escape(c.host), c.port, c.database)
    for _, target in ipairs{
      { host = c.host, port = c.port, user = c.user, database = c.database, password = secret },
      ("host=%s port=%d user=%s dbname=%s password='%s'"):format(c.host, c.port, c.user, c.database, secret),
      as_uri, { database = as_uri }, { dbname = as_uri },
    } do
      for _, make in ipairs{ fastpg.connect, fastpg.create_pool } do
        local db = make(target)
        assert.is_nil(tostring(db):find("s3cr", 1, true), tostring(db))
        db:q("select 1")
        assert.is_nil(tostring(db):find("s3cr", 1, true), tostring(db))
        assert.is_nil(tostring(error_of(db.q, db, "selec")):find("s3cr", 1, true))
        db:close()
      end
    end
    base.password = secret
    assert.is_nil(fastpg.uri(base):find("s3cr", 1, true))
  end)

  it("is in no error", function()
    for _, target in ipairs{
      "host=/nowhere password=s3cret", "host=/nowhere password=s3cret x", "host=/nowhere password='s3cret", "password=a s3cret=b",
      "postgresql://u:s3cret@/nowhere:x:y/z?q", "postgresql://u:s3cret@[::1/z", "postgresql://u:s3cret%zz@h/db", "postgresql://u:s3cret@h:port/db",
      { host = "/nowhere", password = "s3cret" }, { host = "/nowhere", password = { "s3cret" } },
      { database = "postgresql://u:s3cret@[::1/z" }, { host = "/nowhere", password = "s3cret\0x" },
      { host = "127.0.0.1", port = 1, password = "s3cret" }, { host = "/nowhere", pasword = "s3cret" },
    } do
      local err = error_of(fastpg.connect, target)
      assert.is_truthy(err.name)
      for _, field in pairs(err) do assert.is_nil(tostring(field):find("s3cret", 1, true), tostring(field)) end
      assert.is_nil(tostring(err):find("s3cret", 1, true), tostring(err))
    end
  end)
end)

describe("options", function()
  it("are checked", function()
    for _, case in ipairs{
      { { command_timeout = "x" }, "command_timeout must be a number of at least 0, got string" },
      { { command_timeout = -1 }, "command_timeout must be a number of at least 0" },
      { { statement_cache_size = 1.5 }, "statement_cache_size must be a whole number" },
      { { init = "x" }, "init must be a function" },
      { { schema = 5 }, "schema must be a string" },
      { { strict = 1 }, "strict must be a boolean" },
      { { host = true }, "host must be a string or a number, got boolean" },
      { { loop = "lov" }, "unknown loop" },
      { { [1] = "x" }, "unknown option" },
      { 5, "a connection string or a table expected, got number" },
      { { host = "a\0b" }, "NUL" }, { "host=a\0b", "NUL" },
    } do
      local err = error_of(fastpg.connect, case[1])
      assert.is_true(fastpg.is(err, "invalid_argument"), tostring(err))
      assert.is_truthy(err.message:find(case[2], 1, true), err.message)
    end
    assert.is_truthy(error_of(fastpg.connect, "dbname=x", 5).message:find("a table of options expected", 1, true))
  end)
end)

describe("a connection ends", function()
  local watch
  setup(function() watch = pg.db() end)
  teardown(function() watch:close() end)

  local function gone(pid)
    for _ = 1, 200 do
      if watch:item("select count(*) from pg_stat_activity where pid = $1", pid) == 0 then return true end
      watch:execute("select pg_sleep(0.01)")
    end
    return false
  end

  it("when it is closed", function()
    local db = pg.db()
    local pid = db.pid
    db:close()
    assert.is_true(gone(pid))
  end)

  it("when it is collected", function()
    local pid = pg.db().pid
    for _ = 1, 4 do collectgarbage() end
    assert.is_true(gone(pid))
  end)

  if _VERSION == "Lua 5.4" then
    it("when its scope is left", function()
      local pid = assert(load("local db <close> = ... return db.pid"))(pg.db())
      assert.is_true(gone(pid))
    end)
  else
    pending("when its scope is left: <close> is Lua 5.4's")
  end

  it("in the parent alone, after a fork", function()
    if not is_luajit then return pending("a fork from Lua needs LuaJIT's ffi") end
    local c = pg.conninfo()
    local out = run_lua(([[
      local ffi = require "ffi"
      ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);"
      local fastpg = require "fastpg"
      local target = { host = %q, port = %d, user = %q, database = %q }
      local db = fastpg.connect(target)
      local pool = fastpg.create_pool(target, { min_size = 2, max_size = 2 })
      local tx = pool:begin()
      tx:execute("create temp table kept (n int)")
      local pid = db.pid
      local rows = db:each("select generate_series(1, 100000) as n")
      rows()
      io.stdout:flush()
      local child = ffi.C.fork()
      if child == 0 then
        local ok, err = pcall(tx.q, tx, "select 1")
        print("tx", ok, fastpg.is(err, "connection"))
        ok, err = pcall(rows)
        print("rows", ok, fastpg.is(err, "connection"))
        print("db", db.pid ~= pid, db:item("select 1"))
        print("pool", pool:item("select 2"))
        tx, rows = nil, nil
        db:close()
        pool:close()
        collectgarbage() collectgarbage()
        io.stdout:flush()
        ffi.C._exit(0)
      end
      ffi.C.waitpid(child, nil, 0)
      print("parent", rows().n, tx:item("select count(*) from kept"))
      rows:close()
      tx:commit()
      print("parent", db.pid == pid, pool:item("select 3"))
    ]]):format(c.host, c.port, c.user, c.database))
    assert.are.equal(table.concat({
      "tx\tfalse\ttrue", "rows\tfalse\ttrue", "db\ttrue\t1", "pool\t2", "parent\t2\t0", "parent\ttrue\t3",
    }, "\n"), out)
  end)
end)
