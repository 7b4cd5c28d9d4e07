-- SPDX-License-Identifier: MIT
--
-- opening a connection: several hosts and addresses, silent and refusing ones, and which of them is wanted.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local opening = require "fastpg.pg.opening"
local child = require "spec.support.child"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

local shared = pg.conninfo() -- takes writes
local own, port -- read-only, and on TCP as well; later a standby

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("no error was raised", 2) end
  assert.equal("table", type(err), tostring(err))
  assert.truthy(err.name)
  return err
end

-- Hosts of libpq's lists: "own", "shared", "refused", or a host and port.
local function several(list, more)
  local hosts, ports = {}, {}
  for i, item in ipairs(list) do
    local known = ({ own = { own.dir, port }, shared = { shared.host, shared.port }, refused = { "127.0.0.1", 1 } })[item]
      or item
    hosts[i], ports[i] = known[1], known[2]
  end
  local all = { host = table.concat(hosts, ","), port = table.concat(ports, ","), user = "postgres", dbname = "postgres",
    password = own.conninfo.password }
  for k, v in pairs(more or {}) do all[k] = v end
  return all
end

-- "own" or "shared": where this leads to.
local function reached(...)
  local db = fastpg.connect(...)
  local dir = db:item "SHOW unix_socket_directories"
  db:close()
  return dir == own.dir and "own" or "shared"
end

local function silence() os.execute("kill -STOP " .. own.pid) end
local function wake() os.execute("kill -CONT " .. own.pid) end

setup(function()
  local last
  for try = 1, 5 do -- the port may be taken
    port = 20000 + (math.floor(core.clock() * 1000) + try * 97) % 20000
    local ok, made = pcall(fastpg.cluster, { settings = { listen_addresses = "127.0.0.1", port = port,
      default_transaction_read_only = true } })
    if ok then
      own = made
      return
    end
    last = made
  end
  error(last)
end)
teardown(function()
  wake()
  own:close()
end)

describe("libpq's lists of hosts", function()
  local servers = opening.servers
  it("are taken apart", function()
    assert.same({ { host = "a" } }, servers{ host = "a" })
    assert.same({ {} }, servers{})
    assert.same({ { hostaddr = "1.2.3.4" } }, servers{ hostaddr = "1.2.3.4" })
    assert.same({ { host = "a", port = "1" }, { host = "/b", port = "1" } }, servers{ host = "a,/b", port = "1" })
    assert.same({ { host = "a", port = "1" }, { host = "b", port = "5432" } }, servers{ host = "a,b", port = "1," })
    assert.same({ { host = "a", hostaddr = "1.2.3.4" }, { host = "b" } }, servers{ host = "a,b", hostaddr = "1.2.3.4," })
    assert.same({ { host = "," }, { host = "b" } }, servers{ host = ",b" })
  end)

  it("that don't fit are libpq's to refuse", function()
    assert.is_nil(servers{ host = "a,b", port = "1,2,3" })
    assert.is_nil(servers{ host = "a,b", hostaddr = "1.2.3.4" })
    assert.truthy(failure(fastpg.connect, { host = "a,b", port = "1,2,3" }).message:find "could not match 3 port numbers to 2 hosts")
    assert.truthy(failure(fastpg.connect, { host = "a,b", hostaddr = "1.2.3.4" }).message:find "could not match")
    assert.truthy(failure(fastpg.connect, several({ "own" }, { target_session_attrs = "best" })).message:find "target_session_attrs")
  end)

  it("of which only values that decide are read", function()
    assert.same({ host = "a", port = "5432", target_session_attrs = "any" },
      core.conninfo_effective{ host = "a", password = "hunter2", port = "5432" })
    assert.is_nil(core.conninfo_effective{ nonsense = "1" })
    assert.is_nil(core.conninfo_effective{ service = "there is none" })
  end)
end)

describe("a name", function()
  it("is resolved, and stays the name", function()
    local db = fastpg.connect(several{ { "localhost", port } })
    assert.equal(("postgresql://postgres@localhost:%d/postgres"):format(port), tostring(db))
    assert.equal("127.0.0.1", tostring(db:item "SELECT host(inet_server_addr())"))
    db:close()
    assert.equal("own", reached(several{ { "127.0.0.1", port } }))
  end)

  it("goes with an address that is given", function()
    local db = fastpg.connect(several({ { "no.host.invalid", port } }, { hostaddr = "127.0.0.1" }))
    assert.equal(("postgresql://postgres@no.host.invalid:%d/postgres?hostaddr=127.0.0.1"):format(port), tostring(db))
    db:close()
    local params = several({ { "x", port } }, { hostaddr = "127.0.0.1" })
    params.host = nil
    assert.equal("own", reached(params))
  end)

  it("that nobody knows is passed over", function()
    assert.equal("shared", reached(several{ { "no.host.invalid", 1 }, "shared" }))
    local err = failure(fastpg.connect, several{ { "no.host.invalid", 1 } })
    assert.equal("connection", err.name)
    assert.truthy(err.message:find('could not translate host name "no.host.invalid"', 1, true))
  end)

  it("stands beside its address in errors", function()
    for _, params in ipairs{ several{ { "localhost", 1 } }, several({ { "no.host.invalid", 1 } }, { hostaddr = "127.0.0.1" }) } do
      local err = failure(fastpg.connect, params)
      local name, address = err.message:match '^connection to server at "([^"]*)" %(([^)]*)%), port 1 failed: '
      assert.equal(params.host, name, err.message)
      assert.is_true(address == "127.0.0.1" or address == "::1", address) -- localhost may be both
      assert.is_nil(err.severity)
    end
    local start = 'connection to server at "127.0.0.1", port 1 failed: '
    assert.equal(start, failure(fastpg.connect, several{ { "127.0.0.1", 1 } }).message:sub(1, #start))
  end)
end)

describe("of several hosts", function()
  it("the first one that takes us is taken", function()
    assert.equal("own", reached(several{ "own", "shared" }))
    assert.equal("shared", reached(several{ "shared", "own" }))
    assert.equal("own", reached(several{ "refused", { "/nonexistent", 1 }, "own" }))
    local params = several{ "refused", "own", "shared" }
    local db = fastpg.connect(params)
    assert.equal(tostring(port), db:item "show port")
    assert.equal(fastpg.uri(params), tostring(db))
    db:close()
  end)

  it("all are named when none does", function()
    local err = failure(fastpg.connect, several({ "refused", { "/nonexistent", 1 }, { "127.0.0.2", 1 } }, { password = "hunter2" }))
    assert.equal("connection", err.name)
    for _, part in ipairs{ "127.0.0.1", "/nonexistent", "127.0.0.2", "refused", "No such file" } do
      assert.truthy(err.message:find(part, 1, true), err.message)
    end
    assert.is_nil(err.message:find("hunter2", 1, true))
    assert.is_nil(err.sqlstate)
  end)

  it("one that is shutting down is passed over", function()
    local keeps_it_up = own:connect()
    os.execute("kill -TERM " .. own.pid)
    local err
    for _ = 1, 100 do -- a moment passes
      local ok
      ok, err = pcall(fastpg.connect, several{ "own" })
      if not ok then break end
      err:close()
    end
    assert.equal("57P03", err.sqlstate)
    assert.equal("FATAL", err.severity)
    assert.is_true(fastpg.is(err, "connection"))
    assert.is_nil(err.message:find "57P03")
    assert.is_nil(err.message:find "%.c:")
    assert.equal("shared", reached(several{ "own", "shared" }))
    keeps_it_up:close()
    own:stop() -- returns when it has ended
    own:start()
  end)

  it("one that refuses us is the last that is tried", function()
    local err = failure(fastpg.connect, several({ "own", "shared" }, { dbname = shared.database }))
    assert.equal("connection", err.name)
    assert.equal("3D000", err.sqlstate)
    assert.truthy(err.message:find(('FATAL:  database "%s" does not exist'):format(shared.database), 1, true), err.message)
    assert.is_nil(err.message:find("LOCATION", 1, true))
    assert.equal("shared", reached(several({ "shared", "own" }, { dbname = shared.database })))
    assert.equal("28000", failure(fastpg.connect, several({ "own", "shared" }, { user = "nobody else" })).sqlstate)
    assert.equal("FATAL", err.severity)
    err = failure(fastpg.connect, several({ { "localhost", port } }, { dbname = "nope" }))
    assert.truthy(err.message:find(('server at "localhost" (127.0.0.1), port %d failed: FATAL:  '):format(port), 1, true), err.message)
    assert.equal("FATAL", err.severity)
  end)

  it("which is the first is by chance where load_balance_hosts says so", function()
    local effective = core.conninfo_effective
    if core.libpq_version() < 160000 then -- which refuses the keyword
      core.conninfo_effective = function(params)
        local known = effective(params)
        known.load_balance_hosts = "random"
        return known
      end
    end
    local more = core.libpq_version() >= 160000 and { load_balance_hosts = "random" } or nil
    local ok, err = pcall(function()
      local seen = {}
      for _ = 1, 50 do seen[reached(several({ "own", "shared" }, more))] = true end
      assert.same({ own = true, shared = true }, seen)
      assert.equal("own", reached(several({ { "localhost", port } }, more)))
    end)
    core.conninfo_effective = effective
    if not ok then error(err, 0) end
  end)
end)

describe("a server process that is killed", function()
  it("is named without what libpq says of the socket after that", function()
    local db = own:connect()
    db:acquire(function(conn)
      os.execute(("(sleep 0.1; kill -KILL %d) &"):format(conn.pid))
      local err = failure(conn.q, conn, "select pg_sleep(20)")
      assert.equal("connection", err.name)
      assert.truthy(err.message:find("server closed the connection unexpectedly", 1, true), err.message)
      assert.is_nil(err.message:find("invalid socket", 1, true), err.message)
    end)
    db:close()
    for _ = 1, 1200 do -- all processes begin anew
      local ok, again = pcall(own.connect, own)
      if ok then return again:close() end
      os.execute "sleep 0.05"
    end
    error "the server does not come back"
  end)
end)

describe("a host that is silent", function()
  before_each(silence)
  after_each(wake)

  it("has its share of connect_timeout", function()
    local began = core.clock()
    assert.equal("shared", reached(several({ "own", "shared" }, { connect_timeout = 1 })))
    assert.equal("shared", reached(several({ { "127.0.0.1", port }, "own", "shared" }, { connect_timeout = 1 })))
    assert.is_true(core.clock() - began >= 2.9)
  end)

  it("has its share of the statement's time", function()
    local pool = fastpg.create_pool(several({ "own", "shared" }, { command_timeout = 4 }))
    assert.equal(1, pool:item "SELECT 1")
    pool:close()
  end)

  it("has no more than some seconds where no time is named", function()
    local before = opening.SHARE
    opening.SHARE = 1
    local ok, where = pcall(reached, several{ "own", "shared" })
    opening.SHARE = before
    assert.is_true(ok, tostring(where))
    assert.equal("shared", where)
  end)

  it("is named", function()
    local err = failure(fastpg.connect, several({ "own", { "127.0.0.1", port } }, { connect_timeout = 0.2 }))
    assert.equal("timeout", err.name)
    assert.truthy(err.message:find(("server on socket \"%s/.s.PGSQL.%d\" failed: timeout expired"):format(own.dir, port), 1, true))
    assert.truthy(err.message:find(("server at \"127.0.0.1\", port %d failed: timeout expired"):format(port), 1, true))
    err = failure(fastpg.connect, several({ "own", "refused" }, { connect_timeout = 0.2 }))
    assert.equal("connection", err.name)
    local pool = fastpg.create_pool(several({ "own", { "127.0.0.1", port } }, { command_timeout = 0.3 }))
    assert.equal("timeout", failure(pool.ping, pool).name)
    pool:close()
  end)

  it("of a service file has that file's connect_timeout", function()
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(("[mine]\nhost=%s,%s\nport=%d,%d\nuser=postgres\ndbname=postgres\nconnect_timeout=2\ntarget_session_attrs=read-write\n")
      :format(own.dir, shared.host, port, shared.port))
    f:close()
    local script = [[
      local fastpg, core = require "fastpg", require "fastpg.core"
      require("fastpg.pg.opening").SHARE = 100
      local began = core.clock()
      local db = fastpg.connect(arg[1])
      local took = core.clock() - began
      print(db:item "SHOW default_transaction_read_only", took >= 2 and took < 60)]]
    assert.equal("off\ttrue", child({ PGSERVICEFILE = path }, script, "service=mine"))
    assert.equal("off\ttrue", child({ PGSERVICEFILE = path, PGSERVICE = "mine" }, script, ""))
    os.remove(path)
  end)

  it("holds neither other tasks nor one that is canceled", function()
    if not yields then return pending "PUC 5.1 can't yield here" end
    local where, err
    fastpg.run(function()
      local task = fastpg.spawn(function() return fastpg.connect(several{ "own" }) end)
      where = reached(several{ "shared" })
      fastpg.sleep(0.05)
      task:cancel()
      err = failure(task.wait, task)
    end)
    assert.equal("shared", where)
    assert.equal("canceled", err.name)
  end)

  it("leaves nothing open", function()
    local function descriptors()
      local pipe = io.popen("ls /proc/self/fd | wc -l; ls /proc/$PPID/fd | wc -l")
      local n = pipe:read "*a"
      pipe:close()
      return n
    end
    collectgarbage() -- of the tests before
    collectgarbage()
    local before = descriptors()
    for _ = 1, 5 do failure(fastpg.connect, several({ "own", "refused" }, { connect_timeout = 0.05 })) end
    assert.equal(before, descriptors())
  end)
end)

describe("target_session_attrs", function()
  local function choices(cases, ...)
    for list, expected in pairs(cases) do
      local hosts = {}
      for host in list:gmatch "%a+" do hosts[#hosts + 1] = host end
      for _, attributes in ipairs{ ... } do
        assert.equal(expected, reached(several(hosts, { target_session_attrs = attributes })), list .. " " .. attributes)
      end
    end
  end

  -- The same where the server reports nothing, as behind a pooler or before version 14: it is asked.
  local function unreported(fn, ...)
    local methods = debug.getregistry()["fastpg.connection"].__index
    local parameter = methods.parameter
    methods.parameter = function(c, name)
      if name == "default_transaction_read_only" or name == "in_hot_standby" then return nil end
      return parameter(c, name)
    end
    local ok, err = pcall(fn, ...)
    methods.parameter = parameter
    if not ok then error(err, 0) end
  end

  it("finds one that takes writes, or does not", function()
    for _, how in ipairs{ pcall, unreported } do
      how(choices, { ["own,shared"] = "shared", ["shared,own"] = "shared" }, "read-write")
      how(choices, { ["own,shared"] = "own", ["shared,own"] = "own", ["refused,shared,own"] = "own" }, "read-only")
      how(choices, { ["own,shared"] = "own", ["shared,own"] = "shared" }, "any", "primary", "prefer-standby")
    end
  end)

  it("says what is wrong with each", function()
    local err = failure(fastpg.connect, several({ "own", "refused" }, { target_session_attrs = "read-write" }))
    assert.equal("connection", err.name)
    assert.truthy(err.message:find("session is read-only; ", 1, true), err.message)
    err = failure(fastpg.connect, several({ "own", "shared" }, { target_session_attrs = "standby" }))
    assert.truthy(err.message:find("server is not in hot standby mode; ", 1, true), err.message)
  end)

  it("counts in the environment as well", function()
    local script = [[print(require("fastpg").connect(arg[1]):item "SHOW default_transaction_read_only")]]
    local all = several{ "shared", "own" }
    local conninfo = ("host=%s port=%s user=postgres dbname=postgres"):format(all.host, all.port)
    assert.equal("off", child({}, script, conninfo))
    assert.equal("on", child({ PGTARGETSESSIONATTRS = "read-only" }, script, conninfo))
  end)

  it("finds a standby", function()
    own:stop()
    local signal = own.dir .. "/data/standby.signal"
    assert(io.open(signal, "w")):close()
    os.execute("chmod 666 " .. signal)
    own:start()
    for _, how in ipairs{ pcall, unreported } do
      how(choices, { ["own,shared"] = "own", ["shared,own"] = "own" }, "standby", "prefer-standby", "read-only")
      how(choices, { ["own,shared"] = "shared", ["shared,own"] = "shared" }, "primary", "read-write")
      how(choices, { ["shared,refused"] = "shared" }, "prefer-standby")
    end
    assert.truthy(failure(fastpg.connect, several({ "own" }, { target_session_attrs = "primary" })).message
      :find("server is in hot standby mode", 1, true))
  end)
end)

describe("a host that wakes early", function()
  it("is not taken for a socket that is ready", function()
    local n = 0
    local block = require "fastpg.host.wait.block"
    local wait = block.wait
    function block.wait(fd, mode, timeout)
      n = n + 1
      if n % 3 == 1 then return nil end
      if n % 3 == 2 then return "woken" end
      return core.poll(fd, mode, timeout)
    end
    finally(function() block.wait = wait end)
    for _, list in ipairs{ { "shared" }, { { "127.0.0.1", port } }, { "refused", { "localhost", port }, "shared" } } do
      local db = fastpg.connect(several(list, { command_timeout = 30 }))
      assert.equal(1, db:item "SELECT 1 FROM pg_sleep(0.01)")
      assert.is_true(fastpg.is(failure(db.timeout, db, 0.1, function() db:q "SELECT pg_sleep(30)" end), "timeout"))
      assert.equal(1, db:item "SELECT 1")
      db:close()
    end
    assert.is_true(n > 20)
  end)
end)
