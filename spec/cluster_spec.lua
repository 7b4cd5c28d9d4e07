-- SPDX-License-Identifier: MIT
local cluster = require "fastpg.cluster"

local LUA = os.getenv "FPG_TEST_LUA" or arg[-1]

local function sh(command)
  local pipe = assert(io.popen("exec 2>&1; " .. command))
  local out = pipe:read "*a"
  pipe:close()
  return (out:gsub("\n$", ""))
end

local function exists(dir)
  return sh("test -e '" .. dir .. "' && echo yes") == "yes"
end

-- A zombie that nobody has waited for yet has ended too.
local function alive(pid)
  return sh(("kill -0 %d 2>/dev/null && ! grep -q '^State:.*Z' /proc/%d/status 2>/dev/null && echo yes")
    :format(pid, pid)) == "yes"
end

local function gone_soon(pid, dir)
  for _ = 1, 1200 do
    if not exists(dir) and not alive(pid) then return true end
    os.execute "sleep 0.05"
  end
  return false, ("process %d: %s, directory %s: %s")
    :format(pid, tostring(alive(pid)), dir, tostring(exists(dir)))
end

-- Runs a Lua program that has `pg`, a cluster, and has printed its pid and directory; returns these
-- and what the program's shell said at the end.
local function with_child(body, prefix)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(([[
    io.stdout:setvbuf "no"
    local pg = require "fastpg.cluster".start()
    print("cluster", pg.pid, pg.dir)
    %s
  ]]):format(body))
  f:close()
  os.execute(("chmod 644 '%s'"):format(name))
  local out = sh(("%s %s '%s'; echo status $?"):format(prefix or "", LUA, name))
  os.remove(name)
  local pid, dir = out:match "cluster%s+(%d+)%s+(%S+)"
  assert(pid, out)
  return tonumber(pid), dir, out
end

local function psql(pg, sql)
  return sh(("psql -X -A -t -h '%s' -p %d -U %s -d postgres -c \"%s\"")
    :format(pg.conninfo.host, pg.conninfo.port, pg.conninfo.user, sql))
end

describe("a cluster", function()
  local pg

  setup(function() pg = cluster.start{ settings = { work_mem = "7MB", ["my.quoted"] = "it's \\" } } end)
  teardown(function() pg:close() end)

  it("answers on a socket in its directory", function()
    assert.equal("2", psql(pg, "select 1 + 1"))
    assert.equal(pg.dir, pg.conninfo.host)
    assert.truthy(exists(pg.dir .. "/.s.PGSQL.5432"))
    assert.equal("", psql(pg, "show listen_addresses"))
  end)

  it("has its settings, and no durability", function()
    assert.equal("7MB", psql(pg, "show work_mem"))
    assert.equal("it's \\", psql(pg, "show my.quoted"))
    assert.equal("off", psql(pg, "show fsync"))
    assert.equal("UTF8", psql(pg, "show server_encoding"))
  end)

  it("keeps its directory to itself", function()
    assert.equal("700", sh("stat -c %a " .. pg.dir))
    local owner = sh("stat -c %U " .. pg.dir)
    assert.not_equal("root", owner)
    assert.equal(owner, sh("stat -c %U " .. pg.dir .. "/data/PG_VERSION"))
  end)

  it("prints its URI", function()
    assert.equal("Cluster (" .. pg.uri .. ")", tostring(pg))
    assert.equal("2", sh(("psql -X -A -t '%s' -c 'select 1 + 1'"):format(pg.uri)))
  end)

  it("has two servers side by side", function()
    local other = cluster.start{ superuser = "me" }
    assert.equal("me", psql(other, "select current_user"))
    assert.not_equal(pg.dir, other.dir)
    other:close()
    assert.equal("2", psql(pg, "select 1 + 1"))
  end)

  it("stops, starts and restarts", function()
    local first = pg.pid
    psql(pg, "create table kept (id int)")
    for _, mode in ipairs{ "smart", "fast" } do
      pg:stop{ mode = mode }
      assert.is_nil(pg.pid)
      assert.equal("Cluster (stopped)", tostring(pg))
      assert.matches("onnect", psql(pg, "select 1"))
      pg:start()
      assert.equal("0", psql(pg, "select count(*) from kept"))
    end
    pg:restart{ mode = "immediate" }
    assert.not_equal(first, pg.pid)
    assert.equal("0", psql(pg, "select count(*) from kept"))
  end)

  it("starts again after its server was killed", function()
    os.execute("kill -9 " .. pg.pid)
    for _ = 1, 100 do
      if psql(pg, "select 1") ~= "1" then break end
    end
    pg:start()
    assert.equal("2", psql(pg, "select 1 + 1"))
  end)
end)

describe("a cluster that listens", function()
  local pg

  setup(function()
    local port, last = 20000 + math.floor(os.clock() * 1e6 + os.time() * 37) % 20000, nil
    for try = 0, 5 do -- the port may be taken
      local ok, made = pcall(cluster.start, { settings = { Listen_Addresses = "127.0.0.1", port = port + try * 101 } })
      if ok then
        pg = made
        return
      end
      last = made
    end
    error(last)
  end)
  teardown(function() if pg then pg:close() end end)

  local function tcp(password)
    local c = pg.conninfo
    return sh(("%s psql -w -X -A -t -h 127.0.0.1 -p %d -U %s -d postgres -c 'select 1 + 1' 2>&1")
      :format(password and "PGPASSWORD='" .. password .. "'" or "", c.port, c.user))
  end

  it("lets nobody in by TCP without the password made for it", function()
    assert.matches("no password supplied", tcp())
    assert.matches("password authentication failed", tcp "x")
    assert.equal("2", tcp(pg.conninfo.password))
    assert.equal("scram-sha-256", psql(pg, "select distinct auth_method from pg_hba_file_rules where type = 'host'"))
    assert.matches("^SCRAM%-SHA%-256", psql(pg, "select rolpassword from pg_authid where rolname = current_user"))
    assert.truthy(#pg.conninfo.password >= 32)
  end)

  it("comes in itself, by TCP and by the socket, on the port it was given", function()
    for _, host in ipairs{ "127.0.0.1", pg.dir } do
      local db = pg:connect{ host = host }
      assert.equal(tostring(pg.conninfo.port), db:item "show port")
      db:close()
    end
    assert.equal("2", sh(("psql -w -X -A -t '%s' -c 'select 1 + 1'"):format(pg.uri)))
    assert.truthy(exists(pg.dir .. "/.s.PGSQL." .. pg.conninfo.port))
  end)

  it("shows the password to nobody who prints it, and keeps it in no file", function()
    assert.is_nil(tostring(pg):find(pg.conninfo.password, 1, true))
    assert.truthy(pg.uri:find(pg.conninfo.password, 1, true))
    assert.equal("", sh(("grep -rl %s %s 2>/dev/null"):format(pg.conninfo.password, pg.dir)))
  end)
end)

describe("the environment", function()
  it("of libpq does not reach a cluster's connections", function()
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write [[
      local pg = require("fastpg.cluster").start()
      local db = pg:connect()
      local pool = pg:create_pool()
      for _, d in ipairs{ db, pool } do
        print(d:item "show timezone", d:item "show work_mem", d:item "select current_database()", d:item "show datestyle",
          d:item "show application_name", d:item "show geqo")
      end
      print(pcall(require("fastpg").connect))
    ]]
    f:close()
    local variables = "PGSERVICE=nowhere PGSERVICEFILE=/nonexistent PGOPTIONS='-c work_mem=9MB' PGTZ=Asia/Tokyo PGHOST=127.0.0.1 "
      .. "PGHOSTADDR=127.0.0.1 PGPORT=1 PGDATABASE=none PGUSER=nobody PGPASSWORD=x PGPASSFILE=/nonexistent PGSSLMODE=verify-full "
      .. "PGDATESTYLE=German PGAPPNAME=none PGGEQO=off PGTARGETSESSIONATTRS=standby PGCONNECT_TIMEOUT=abc PGCHANNELBINDING=require "
      .. "PGCLIENTENCODING=LATIN1"
    local out = sh(("%s %s '%s' 2>&1"):format(variables, LUA, name))
    os.remove(name)
    local line = "UTC\t4MB\tpostgres\tISO, MDY\tfastpg\ton\n"
    assert.equal(line .. line, out:sub(1, 2 * #line), out)
    assert.matches("\nfalse", out) -- the process's own environment is as it was
  end)
end)

describe("cluster options", function()
  local function message(fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    return tostring(err)
  end

  it("are checked", function()
    assert.matches("setings", message(cluster.start, { setings = {} }))
    assert.matches("settings", message(cluster.start, { settings = { "x" } }))
    assert.matches("work_mem", message(cluster.start, { settings = { work_mem = {} } }))
    for _, port in ipairs{ 0, 65536, 1.5, "x", true, {} } do
      assert.matches("port must be", message(cluster.start, { settings = { port = port } }))
    end
    assert.matches("listen_addresses must be a string", message(cluster.start, { settings = { listen_addresses = true } }))
    assert.matches("is there twice", message(cluster.start, { settings = { port = 1, PORT = 2 } }))
    for _, name in ipairs{ "unix_socket_directories", "hba_file", "data_directory", "Include", "ident_file" } do
      assert.matches("is the cluster's own", message(cluster.start, { settings = { [name] = "/tmp" } }))
    end
    assert.matches("bindir must be a name", message(cluster.start, { bindir = 5 }))
    assert.matches("control character", message(cluster.start, { superuser = "a\nb" }))
    assert.matches("durable must be", message(cluster.start, { durable = "yes" }))
    assert.matches("settings must be", message(cluster.start, { settings = "x" }))
  end)

  it("tell when there is no server", function()
    assert.matches("initdb, postgres%) in /nowhere", message(cluster.start, { bindir = "/nowhere" }))
  end)

  it("show the server's log when it does not start, and leave nothing behind", function()
    local tmp = sh "mktemp -d"
    os.execute("chmod 777 " .. tmp)
    -- (PUC 5.1's own program does not print an error that is an object)
    local text = sh(("TMPDIR=%s %s -e \"print(select(2, pcall(require 'fastpg.cluster'.start, { settings = { work_mem = 'much' } })))\"")
      :format(tmp, LUA))
    assert.matches("did not start", text)
    assert.matches('invalid value for parameter "work_mem"', text)
    assert.equal("", sh("rmdir " .. tmp))
  end)

  it("show initdb's when that fails", function()
    local text = message(cluster.start, { superuser = "pg_me" })
    assert.matches("initdb failed", text)
    assert.matches("pg_", text)
  end)

  it("raise after close", function()
    local pg = cluster.start{ durable = true }
    assert.equal("on", psql(pg, "show fsync"))
    pg:close()
    pg:close()
    assert.equal("Cluster (closed)", tostring(pg))
    assert.matches("closed", message(pg.start, pg))
    assert.matches("closed", message(pg.stop, pg))
    assert.matches("the cluster is closed", message(pg.connect, pg))
    assert.matches("a cluster expected as self", message(pg.connect))
  end)
end)

describe("a cluster ends", function()
  it("when collected", function()
    local pg = cluster.start()
    local pid, dir = pg.pid, pg.dir
    pg = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_false(alive(pid))
    assert.is_false(exists(dir))
  end)

  it("when closed, with a client inside a statement", function()
    local pg = cluster.start()
    os.execute(("psql -X -h '%s' -U postgres -c 'select pg_sleep(100)' postgres >/dev/null 2>&1 &")
      :format(pg.dir))
    local db = pg:connect()
    repeat
      local there = db:item "select count(*) from pg_stat_activity where query like '%pg_sleep(100)%' and pid <> pg_backend_pid()"
    until there == 1
    db:close()
    local pid, dir = pg.pid, pg.dir
    pg:close()
    assert.is_false(alive(pid))
    assert.is_false(exists(dir))
  end)

  for what, body in pairs{
    ["at the program's end"] = "",
    ["at an error"] = "error 'x'",
    ["at os.exit"] = "os.exit(3)",
    ["when the process is killed"] = "os.execute('kill -9 ' .. io.open('/proc/self/stat'):read '*n')",
    ["when the process is terminated"] = "os.execute('kill -TERM ' .. io.open('/proc/self/stat'):read '*n')",
  } do
    it(what, function()
      if body:find "/proc" and not exists "/proc/self/stat" then
        body = "io.popen('kill -9 $PPID'):read()"
      end
      local pid, dir, out = with_child(body)
      assert.is_true(gone_soon(pid, dir))
      assert.matches(body == "" and "status 0" or "status [1-9]", out)
    end)
  end

  it("when a child of the process lives on", function()
    local pid, dir = with_child("os.execute 'sleep 5 >/dev/null 2>&1 &' os.exit(0)")
    assert.is_true(gone_soon(pid, dir))
  end)

  it("when its supervisor is told to", function()
    local pg = cluster.start()
    local pid, dir = pg.pid, pg.dir
    os.execute("kill -TERM " .. pg.supervisor:pid())
    assert.is_true(gone_soon(pid, dir))
    pg:close()
  end)

  it("for an unprivileged user too", function()
    local prefix = ""
    if sh "id -u" == "0" then
      -- the checkout may be in a folder that only root can enter
      local copy = sh "mktemp -d"
      local lua = os.getenv "LUA_PATH":match "[^;]*":gsub("/%?.*", "")
      local so = os.getenv "LUA_CPATH":match "[^;]*":gsub("%?", "fastpg/core")
      sh(("cd %s && mkdir fastpg && cp -RL '%s' lua && cp '%s' fastpg/ && chmod -R a+rX ."):format(copy, lua, so))
      finally(function() os.execute("rm -r " .. copy) end)
      prefix = ("env LUA_PATH='%s/lua/?.lua;;' LUA_CPATH='%s/?.so;;' setpriv --reuid=nobody --clear-groups")
        :format(copy, copy)
    end
    local pid, dir, out = with_child("os.execute('stat -c %U ' .. pg.dir) pg:close() print 'closed'", prefix)
    assert.matches("closed", out)
    assert.not_matches("root", out)
    assert.is_false(exists(dir))
    assert.is_false(alive(pid))
  end)
end)
