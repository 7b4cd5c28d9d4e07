-- SPDX-License-Identifier: MIT
--
-- connections: every way to name a server, what is refused and how, and how one ends.

local fastpg = require "fastpg"
local child = require "spec.support.child"
local pg = require "spec.support.pg"

local server = pg.conninfo()
local watcher = pg.db()

local function uri(params) return fastpg.uri(params or { user = server.user, host = server.host, port = server.port, dbname = server.database }) end

local function merged(...)
  local all = {}
  for i = 1, select("#", ...) do
    for k, v in pairs((select(i, ...))) do all[k] = v end
  end
  return all
end

local function keywords(more)
  return ("host='%s' port=%d user=%s dbname=%s %s"):format(server.host, server.port, server.user, server.database, more or "")
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("no error was raised", 2) end
  assert.equal("table", type(err), tostring(err))
  assert.truthy(err.name)
  assert.equal(tostring(err), (tostring(err):gsub("\n", "")))
  return err
end

local function database_of(db)
  local name = db:item("SELECT current_database()")
  db:close()
  return name
end

-- How many server processes belong to connections of that application_name, when it has settled.
local function backends(name, expected)
  local n
  for _ = 1, 1500 do
    n = watcher:item("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name)
    if n == expected then break end
    watcher:item("SELECT pg_sleep(0.02)")
  end
  return n
end

local function temporary(text)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  return path
end

describe("a server is named", function()
  it("by a string of keywords", function()
    assert.equal(server.database, database_of(fastpg.connect(keywords())))
  end)

  it("by a URI", function()
    assert.equal(server.database, database_of(fastpg.connect(uri())))
    assert.equal(server.database, database_of(fastpg.connect((uri():gsub("^postgresql:", "postgres:")))))
    local db = fastpg.connect(uri() .. "?application_name=by%20uri")
    assert.equal("by uri", db:parameter "application_name")
    db:close()
  end)

  it("by a table", function()
    assert.equal(server.database, database_of(fastpg.connect(server)))
    local named = merged(server, { dbname = server.database })
    named.database = nil
    assert.equal(server.database, database_of(fastpg.connect(named)))
    local other = merged(server, { port = tostring(server.port), application_name = "by table" })
    local db = fastpg.connect(other)
    assert.equal("by table", db:parameter "application_name")
    db:close()
  end)

  it("by a string or table and a table of options over it", function()
    local db = fastpg.connect(keywords "application_name=first", { application_name = "second", strict = false })
    assert.equal("second", db:parameter "application_name")
    assert.is_nil(db:first("SELECT 1 AS a").b)
    db:close()
    assert.equal("postgres", database_of(fastpg.connect(server, { database = "postgres" })))
    assert.equal("postgres", database_of(fastpg.connect(keywords(), { dbname = "postgres" })))
  end)

  it("by a database's name alone, the rest from the environment", function()
    local environment = { PGHOST = server.host, PGPORT = server.port, PGUSER = server.user }
    for _, name in ipairs{ server.database, "postgres" } do
      assert.equal(name, child(environment, [[
        print(require("fastpg").connect(arg[1]):item("SELECT current_database()"))]], name))
    end
  end)

  it("by the environment alone", function()
    assert.equal(server.database .. "|env|" .. uri(), child({
      PGHOST = server.host, PGPORT = server.port, PGUSER = server.user, PGDATABASE = server.database, PGAPPNAME = "env",
    }, [[
      local db = require("fastpg").connect()
      print(db:item("SELECT current_database()") .. "|" .. db:parameter "application_name" .. "|" .. tostring(db))]]))
  end)

  it("by a service file", function()
    local path = temporary(("[mine]\nhost=%s\nport=%d\nuser=%s\ndbname=%s\n"):format(server.host, server.port,
      server.user, server.database))
    local script = [[
      local fastpg = require "fastpg"
      local a, b = fastpg.connect "service=mine", fastpg.connect{ service = "mine" }
      print(a:item("SELECT current_database()"), b:item("SELECT current_database()"), tostring(a) == tostring(b), a)
      print(select(2, pcall(fastpg.connect, "service=other")).name)]]
    assert.equal(("%s\t%s\ttrue\t%s\nconnection"):format(server.database, server.database, uri() .. "?service=mine"),
      child({ PGSERVICEFILE = path }, script))
    os.remove(path)
  end)

  it("by a database name with every character", function()
    local name = 'a=b "c" \'d\' \\e:f@g/h?i%20'
    watcher:execute("CREATE DATABASE " .. fastpg.quote_ident(name))
    local db = fastpg.connect(server, { database = name })
    assert.equal(name, db:item("SELECT current_database()"))
    local again = tostring(db)
    db:close()
    assert.equal(name, database_of(fastpg.connect(again)))
    assert.equal(name, database_of(fastpg.connect(
      keywords("dbname='" .. name:gsub("[\\']", "\\%0") .. "'"))))
    watcher:execute("DROP DATABASE " .. fastpg.quote_ident(name))
  end)
end)

describe("an option", function()
  it("init runs on the new connection, whose database it is given", function()
    local seen
    local db = pg.db{ init = function(conn)
      seen = conn
      conn:execute("SET application_name = 'initialized'")
    end }
    assert.equal("initialized", db:parameter "application_name")
    assert.equal("closed", failure(seen.item, seen, "SELECT 1").name)
    db:close()
  end)

  it("init that fails lets connect fail, with its own error", function()
    local err = failure(pg.db, { application_name = "bad init", init = function(conn) conn:execute("SELECT 1/0") end })
    assert.equal("division_by_zero", err.name)
    local ok, plain = pcall(pg.db, { application_name = "bad init", init = function() error("mine", 0) end })
    assert.is_false(ok)
    assert.equal("mine", plain)
    assert.equal(0, backends("bad init", 0))
  end)

  it("schema says where names are looked up", function()
    watcher:execute("CREATE SCHEMA apart; CREATE TABLE apart.only_here(id int PRIMARY KEY); INSERT INTO apart.only_here VALUES (7)")
    local db = pg.db{ schema = "apart" }
    assert.equal(7, db.t.only_here[7].id)
    assert.is_true(db:has "only_here")
    assert.is_false(watcher:has "only_here")
    db:close()
  end)

  it("that is unknown is named, and the near one", function()
    local err = failure(fastpg.connect, { hots = "x" })
    assert.equal("invalid_argument", err.name)
    assert.equal('connect: unknown option "hots" (did you mean "host"?)', err.message)
    assert.truthy(failure(fastpg.connect, nil, { statement_cache = 1 }).message:find("statement_cache_size", 1, true))
    assert.truthy(failure(fastpg.connect, { max_size = 3 }).message:find 'unknown option "max_size"')
    assert.truthy(failure(fastpg.create_pool, {}, { max_sise = 3 }).message:find '"max_size"')
    assert.truthy(failure(fastpg.connect, "dbnam=x").message:find('unknown option "dbnam" (did you mean "dbname"?)', 1, true))
    assert.truthy(failure(fastpg.connect, "command_timeout=3").message:find("table of options", 1, true))
  end)

  it("of a wrong type is named", function()
    for name, value in pairs{ init = 1, strict = "yes", schema = 1, command_timeout = "5", connect_timeout = -1,
      statement_cache_size = 1.5, host = true, user = {} } do
      local err = failure(fastpg.connect, { [name] = value })
      assert.equal("invalid_argument", err.name)
      assert.truthy(err.message:find(name .. " must be", 1, true), err.message)
      assert.truthy(err.where:find "connection_spec", err.where)
    end
    assert.equal("invalid_argument", failure(fastpg.connect, 1).name)
    assert.equal("invalid_argument", failure(fastpg.connect, {}, "x").name)
    assert.equal("invalid_argument", failure(fastpg.connect, { port = 1.5 }).name)
    assert.equal("invalid_argument", failure(fastpg.connect, { "x" }).name)
    assert.equal("invalid_argument", failure(fastpg.connect, { host = "a\0b" }).name)
    assert.equal("invalid_argument", failure(fastpg.connect, "dbname=a\0b").name)
  end)
end)

describe("settings", function()
  it("that decide how values read are ours, whatever role and database say", function()
    watcher:execute(([[
      CREATE ROLE odd LOGIN;
      ALTER ROLE odd SET DateStyle = 'SQL, DMY';
      ALTER ROLE odd SET extra_float_digits = -15;
      ALTER ROLE odd SET client_encoding = 'LATIN1';
      ALTER ROLE odd IN DATABASE %s SET IntervalStyle = 'iso_8601']]):format(server.database))
    local db = fastpg.connect(merged(server, { user = "odd" }))
    assert.same({ "ISO, DMY", "postgres", "UTF8", "1" }, {
      db:item("SHOW DateStyle"), db:item("SHOW IntervalStyle"), db:item("SHOW client_encoding"),
      db:item("SHOW extra_float_digits"),
    })
    assert.equal("é", db:item("SELECT U&'\\00e9'"))
    assert.equal("1 mon 00:00:01", db:item("SELECT interval '1 month 1 s'::text"))
    assert.equal("0.30000000000000004", db:item("SELECT (0.1::float8 + 0.2::float8)::text"))
    assert.equal("2024-02-01", tostring(db:item("SELECT date '1.2.2024'")))
    db:close()
    watcher:execute("DROP OWNED BY odd; ALTER ROLE odd RESET ALL; DROP ROLE odd")
  end)

  it("of the environment do not count either", function()
    assert.equal("ISO, DMY|postgres|UTF8", child({
      PGHOST = server.host, PGPORT = server.port, PGUSER = server.user, PGDATABASE = server.database,
      PGDATESTYLE = "German", PGCLIENTENCODING = "LATIN1", PGOPTIONS = "-c intervalstyle=sql_standard",
    }, [[
      local db = require("fastpg").connect()
      print(db:item("SHOW DateStyle") .. "|" .. db:item("SHOW IntervalStyle") .. "|" .. db:item("SHOW client_encoding"))]]))
  end)

  it("given as libpq's options stay", function()
    local db = pg.db{ options = "-c work_mem=1MB" }
    assert.equal("1MB", db:item("SHOW work_mem"))
    db:close()
  end)
end)

describe("a database tells", function()
  it("what it is connected to", function()
    local db = pg.db()
    assert.equal(watcher:item("SHOW server_version_num"), tostring(db.server_version))
    assert.equal(db:item("SELECT pg_backend_pid()"), db.pid)
    assert.is_true(db:ping())
    assert.equal("UTF8", db:parameter "client_encoding")
    assert.is_nil(db:parameter "no_such_thing")
    db:execute("SET TimeZone = 'Asia/Kolkata'")
    assert.equal("Asia/Kolkata", db:parameter "TimeZone")
    assert.equal("invalid_argument", failure(db.parameter, db).name)
    db:close()
  end)

  it("its URI, which connects again", function()
    local db = pg.db()
    assert.equal(("postgresql://%s@%s:%d/%s"):format(server.user, (server.host:gsub("/", "%%2F")),
      server.port, server.database), tostring(db))
    assert.equal(tostring(db), uri())
    assert.equal(tostring(db) .. "!", db .. "!")
    assert.equal(server.database, database_of(fastpg.connect(tostring(db))))
    db:close()
    assert.equal("Database (closed)", tostring(db))
  end)

  it("its URI over TCP, without the password", function()
    assert.equal("postgresql://me@127.0.0.1:5432/chinook",
      uri{ user = "me", host = "127.0.0.1", port = 5432, dbname = "chinook", password = "secret" })
    assert.equal("postgresql://a%40b@[::1]:5433/x%2Fy", uri{ user = "a@b", host = "::1", port = "5433", dbname = "x/y" })
    local pool = fastpg.create_pool{ user = "me", host = "127.0.0.1", port = 5432, database = "chinook", password = "secret" }
    assert.equal("postgresql://me@127.0.0.1:5432/chinook", tostring(pool))
    pool:close()
    pool = fastpg.create_pool "postgresql://me:secret@127.0.0.1/chinook"
    assert.equal("postgresql://me@127.0.0.1:5432/chinook", tostring(pool))
    pool:close()
  end)

  it("a wrong name of a method, and the near one", function()
    assert.truthy(failure(function() return watcher.exekute end).message:find("execute", 1, true))
  end)
end)

describe("a database that is not connected", function()
  it("says so", function()
    local db = fastpg.database()
    assert.equal("Database (not connected)", tostring(db))
    for _, name in ipairs{ "q", "first", "qone", "item", "fetchval", "execute", "arrays", "each", "prepare" } do
      local err = failure(db[name], db, "SELECT 1")
      assert.equal("closed", err.name, name)
      assert.truthy(err.message:find "not connected")
      assert.truthy(err.where:find "connection_spec", name)
    end
    for _, name in ipairs{ "ping", "begin", "tables", "views" } do
      assert.equal("closed", failure(db[name], db).name, name)
    end
    for _, name in ipairs{ "transaction", "acquire" } do
      assert.equal("closed", failure(db[name], db, function() end).name, name)
    end
    assert.equal("closed", failure(db.pipeline, db, function(p) p:q "SELECT 1" end).name)
    assert.equal("closed", failure(db.executemany, db, "SELECT 1", {}).name)
    assert.equal("closed", failure(db.parameter, db, "TimeZone").name)
    assert.equal("closed", failure(db.has, db, "x").name)
    assert.equal("closed", failure(function() return db.pid end).name)
    assert.equal("closed", failure(function() return db.server_version end).name)
    local later = db.t.x -- a name alone needs no server
    assert.equal("closed", failure(function() return later() end).name)
    assert.equal("closed", failure(function() return db.t() end).name)
    assert.equal("", tostring(db.t))
    db:close()
    assert.equal("Database (not connected)", tostring(db))
  end)

  it("connects later, with the same arguments", function()
    local db = fastpg.database()
    assert.equal(db, db:connect(keywords(), { application_name = "later" }))
    assert.equal("later", db:parameter "application_name")
    assert.equal("invalid_argument", failure(db.connect, db, server).name)
    db:close()
    db:connect(server)
    assert.equal(1, db:item("SELECT 1"))
    db:close()
  end)

  it("stays so when the server refuses", function()
    local db = fastpg.database()
    assert.equal("connection", failure(db.connect, db, { host = "/nonexistent" }).name)
    assert.equal("Database (not connected)", tostring(db))
    db:connect(server)
    assert.equal(1, db:item("SELECT 1"))
    db:close()
  end)
end)

describe("a connection ends", function()
  it("by close, as often as one likes", function()
    local db = pg.db{ application_name = "to close" }
    local artist = db:create_from_schema("closing", "id int PRIMARY KEY")
    assert.equal(1, backends("to close", 1))
    db:close()
    db:close()
    assert.equal(0, backends("to close", 0))
    for i, fn in ipairs{
      function() db:q "SELECT 1" end, function() db:ping() end, function() return db.pid end,
      function() return artist[1] end, function() artist:insert{ id = 1 } end, function() return artist() end,
      function() db:transaction(function() end) end, function() return db:begin() end,
      function() return db.t.other() end, function() db:prepare "SELECT 1" end,
      function() return db:each "SELECT 1" end,
    } do
      local ok, err = pcall(fn)
      assert.is_false(ok, "item " .. i)
      assert.equal("closed", err.name)
      assert.truthy(fastpg.is(err, "closed"))
    end
  end)

  it("when the database is collected", function()
    do
      local db = pg.db{ application_name = "to collect" }
      db:item("SELECT 1")
      assert.equal(1, backends("to collect", 1))
    end
    collectgarbage()
    collectgarbage()
    assert.equal(0, backends("to collect", 0))
  end)

  it("at the end of a <close> variable's scope (Lua 5.4)", function()
    local chunk = (loadstring or load)("local db <close> = ...; return db:item('SELECT 1')") -- luacheck: ignore
    if not chunk then return pending("this Lua has no <close>") end
    local db = pg.db{ application_name = "to leave" }
    assert.equal(1, chunk(db))
    assert.equal(0, backends("to leave", 0))
    assert.equal("Database (closed)", tostring(db))
  end)

  it("with the process", function()
    assert.equal("1", child({}, [[
      db = require("fastpg").connect(arg[1])
      print(db:item("SELECT 1"))]], uri() .. "?application_name=to_exit"))
    assert.equal(0, backends("to_exit", 0))
  end)
end)

describe("a server that refuses", function()
  local function refused(...)
    local err = failure(fastpg.connect, ...)
    assert.equal("connection", err.name, tostring(err))
    assert.is_true(fastpg.is(err, "connection"))
    assert.truthy(err.where:find "connection_spec", err.where)
    return err
  end

  it("raises connection", function()
    assert.truthy(refused{ host = "127.0.0.1", port = 1 }.message:find "refused")
    refused{ host = "/nonexistent" }
    assert.truthy(refused(merged(server, { database = "no_such_database" })).message:find "no_such_database")
    assert.truthy(refused(merged(server, { user = "no_such_role" })).message:find "no_such_role")
    refused{ host = "no.host.invalid" }
  end)

  it("is passed over where another host is named", function()
    local db = fastpg.connect(merged(server, { host = "/nonexistent," .. server.host, port = "1," .. server.port }))
    assert.equal(1, db:item("SELECT 1"))
    assert.equal(uri{ user = server.user, host = "/nonexistent," .. server.host, port = "1," .. server.port,
      dbname = server.database }, tostring(db))
    db:close()
  end)

  it("leaves nothing open", function()
    for _ = 1, 50 do refused{ host = "/nonexistent", application_name = "refused" } end
    assert.equal(0, backends("refused", 0))
  end)
end)

describe("a password", function()
  local secret = "hun/ter2@x"
  local function hidden(...)
    for i = 1, select("#", ...) do
      local err = (select(i, ...))
      local texts = { tostring(err) }
      for _, v in pairs(err) do texts[#texts + 1] = tostring(v) end
      for _, text in ipairs(texts) do
        assert.is_nil(text:find("hun", 1, true), text)
        assert.is_nil(text:find("ter2", 1, true), text)
      end
    end
  end

  it("is in no message about a conninfo that can't be read", function()
    for _, text in ipairs{
      "host=x password='" .. secret, "host=x password=" .. secret .. " hunter2", "host=x password=a hunter2=b",
      "password = " .. secret .. " port=abc", "host=x password=" .. secret .. " nonsense=1", "passwd=" .. secret,
      "host=x hunter2", "password=" .. secret .. " sslmode=maybe",
      "postgresql://me:" .. secret .. "@127.0.0.1:1/x", "postgresql://me:hunter2@127.0.0.1:abc/x",
      "postgresql://me:hun?ter2@127.0.0.1/x", "postgresql://me:hun@ter2@127.0.0.1:1/x",
      "postgresql://me:hun%zzter2@127.0.0.1/x", "postgresql://me:hunter2@[::1/x", "postgresql://me:hun/ter2@127.0.0.1/x",
      "postgresql://me:hunter2@127.0.0.1:1/x?nonsense=1", "postgresql://me:hunter2@127.0.0.1:1/x?sslmode=maybe",
      "postgresql:/me:hunter2@127.0.0.1/x", "postgres:me:hunter2@127.0.0.1/x", "me:hunter2@127.0.0.1/x",
      "mysql://me:hunter2@127.0.0.1:1/x", "127.0.0.1 me hunter2", "postgresql://me@127.0.0.1:1/x?password=hunter2&password",
      "postgresql://127.0.0.1:1/x?password=hun%zzter2", "//me:hunter2@127.0.0.1/x",
    } do
      hidden(failure(fastpg.connect, text))
      if text:find("^%w+://") or text:find("^%w+%s*=") and not text:find "^passwd" then
        hidden(failure(fastpg.connect, { dbname = text, host = "127.0.0.1", port = 1 }),
          failure(fastpg.connect, { host = "127.0.0.1", port = 1 }, { database = text }),
          failure(fastpg.create_pool, { database = text }))
      end
      local ok, pool = pcall(fastpg.create_pool, text)
      if ok then
        hidden({ tostring(pool) }, failure(pool.ping, pool))
        pool:close()
      else
        hidden(pool)
      end
    end
    hidden(failure(fastpg.connect, { password = secret, port = "abc" }), failure(fastpg.connect, { passwort = secret }),
      failure(fastpg.connect, { host = "/nonexistent", password = secret }))
  end)

  it("that a URI must spell differently is said so", function()
    assert.truthy(failure(fastpg.connect, "postgresql://me:a@b@127.0.0.1:1/x").message:find("%40", 1, true))
  end)
end)

describe("a server of its own", function()
  local own, dir
  setup(function()
    own = fastpg.cluster()
    dir = own.dir
    local admin = own:connect()
    admin:execute("CREATE ROLE wary LOGIN PASSWORD 'hunter2'")
    local path = dir .. "/data/pg_hba.conf"
    local f = assert(io.open(path))
    local rest = f:read "*a"
    f:close()
    f = assert(io.open(path, "w"))
    f:write("local all wary scram-sha-256\n", rest)
    f:close()
    admin:item("SELECT pg_reload_conf()")
    admin:close()
  end)
  teardown(function() own:close() end)

  it("wants a password, which shows nowhere", function()
    for _ = 1, 100 do -- the reload takes a moment
      local ok, db = pcall(own.connect, own, { user = "wary" })
      if not ok then break end
      db:close()
    end
    local db = own:connect{ user = "wary", password = "hunter2" }
    assert.equal("wary", db:item("SELECT current_user"))
    assert.equal(own.uri:gsub("postgres@", "wary@"), tostring(db))
    db:close()
    assert.equal("connection", failure(own.connect, own, { user = "wary" }).name)
    for _, wrong in ipairs{ "Hunter2", "hunter2x", "%s", "hunter2 password=x" } do
      local err = failure(own.connect, own, { user = "wary", password = wrong })
      assert.equal("connection", err.name)
      assert.truthy(err.message:find("password authentication failed", 1, true))
      for _, v in pairs(err) do assert.is_nil(tostring(v):find(wrong, 1, true)) end
      assert.is_nil(tostring(err):find(wrong, 1, true))
    end
    local pool = own:create_pool{ user = "wary", password = "hunter2" }
    assert.equal("wary", pool:item("SELECT current_user"))
    assert.is_nil(tostring(pool):find("hunter2", 1, true))
    pool:close()
  end)

  it("is silent: connect_timeout ends the wait", function()
    os.execute("kill -STOP " .. own.pid)
    local core = require "fastpg.core"
    local began = core.clock()
    local results = {}
    for i, target in ipairs{ { connect_timeout = 0.3 }, own.uri .. "?connect_timeout=1" } do
      results[i] = { pcall(function()
        if type(target) == "table" then return own:connect(target) end
        return fastpg.connect(target)
      end) }
    end
    local late = own:create_pool{ command_timeout = 0.2 }
    results[3] = { pcall(late.ping, late) }
    local took = core.clock() - began
    os.execute("kill -CONT " .. own.pid)
    for _, result in ipairs(results) do
      assert.is_false(result[1])
      assert.equal("timeout", result[2].name, tostring(result[2]))
    end
    assert.is_true(took >= 1.5 and took < 30, took)
    late:close()
    local db = own:connect{ connect_timeout = 60 } -- it works again as soon as the server does
    assert.equal(1, db:item("SELECT 1"))
    db:close()
  end)

  it("restarts: the database connects anew", function()
    local db = own:connect()
    local before = db.pid
    own:restart()
    local ok, err = pcall(db.item, db, "SELECT 1")
    if not ok then assert.is_true(fastpg.is(err, "connection"), tostring(err)) end
    assert.equal(1, db:item("SELECT 1"))
    assert.is_true(db.pid ~= before)
    db:close()
  end)
end)

describe("after fork", function()
  local ok, ffi = pcall(require, "ffi")
  local script = [[
    local ffi = require "ffi"
    ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);"
    local fastpg = require "fastpg"
    local how, uri = arg[1], arg[2]
    local db = fastpg.connect(uri)
    local pool = fastpg.create_pool(uri, { max_size = 2 })
    local tx = pool:begin()
    tx:execute("CREATE TEMP TABLE mine(n int)")
    local prepared = db:prepare "SELECT 41 + 1 AS n"
    assert(prepared:item() == 42)
    local pid, pool_pid = db.pid, tx.pid
    local rows = fastpg.connect(uri):each "SELECT generate_series(1, 100000) AS n"
    assert(rows().n == 1)
    io.stdout:flush()
    local id = ffi.C.fork()
    if id == 0 then
      local status, problem = pcall(function()
        if how == "use" then
          assert(db.pid ~= pid and prepared:item() == 42)
          assert(pool.pid ~= pool_pid)
          assert(fastpg.is(select(2, pcall(tx.item, tx, "SELECT 1")), "connection"))
          local taken, ok, err = 1 -- rows that the parent had taken in are a copy, and no more are read
          repeat
            ok, err = pcall(rows)
            taken = taken + 1
          until not ok or taken > 1000
          assert(fastpg.is(err, "connection") and taken < 100)
        elseif how == "close" then
          db:close()
          pool:close()
        end
        db, pool, tx, prepared, rows = nil, nil, nil, nil, nil
        collectgarbage()
        collectgarbage()
      end)
      if not status then print("child", problem) end
      io.stdout:flush()
      if how == "exit" then os.exit(0, true) end
      ffi.C._exit(0)
    end
    ffi.C.waitpid(id, nil, 0)
    assert(db.pid == pid and tx.pid == pool_pid)
    assert(prepared:item() == 42)
    assert(db:item("SELECT pg_backend_pid()") == pid)
    for n = 2, 50000 do assert(rows().n == n) end
    rows:close()
    tx:execute("INSERT INTO mine VALUES (1)")
    assert(tx:item("SELECT n FROM mine") == 1)
    tx:commit()
    print "parent works"]]
  for how, what in pairs{ use = "uses the database", close = "closes it", collect = "collects it", exit = "exits" } do
    it("the parent's connections work when the child " .. what, function()
      if not ok or not ffi.C then return pending("fork is called through LuaJIT's ffi") end
      assert.equal("parent works", child({}, script, how, uri()))
    end)
  end
end)

describe("a connection that is given up", function()
  local route_of = require("fastpg.pool.route").of

  it("is lost for who has it, wherever that is in a call", function()
    local db = fastpg.connect(uri())
    db:acquire(function(tx)
      local conn = next(route_of(db).pool.lent)
      conn:lose "another server is the primary"
      local err = failure(tx.item, tx, "select 1")
      assert.equal("connection", err.name)
    end)
    assert.equal(1, db:item "select 1")
    db:acquire(function()
      local conn = next(route_of(db).pool.lent)
      conn.c:send_simple "select 1"
      conn:lose "another server is the primary"
      local err = failure(function()
        conn:drive()
        local problem = conn:outcome()
        if problem then error(problem, 0) end
      end)
      assert.equal("connection", err.name)
      assert.is_false(conn.c:usable())
    end)
    assert.equal(1, db:item "select 1")
    db:close()
  end)
end)
