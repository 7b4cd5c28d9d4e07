-- SPDX-License-Identifier: MIT
--
-- jobs of helper threads (csrc/pg/job.c): what they do, what is left when nobody waits for them, and when there are many.

local core = require "fastpg.core"
local fastpg = require "fastpg"
local child = require "spec.support.child"
local pg = require "spec.support.pg"

local lua = os.getenv "FPG_TEST_LUA"
local watcher = pg.db()

local function await(job, seconds)
  local deadline = core.clock() + (seconds or 60)
  while not job:done() do
    local left = deadline - core.clock()
    if left <= 0 then return false end
    core.poll(job:fd(), "r", left)
  end
  return true
end

-- A core connection without anything of the Lua side around it.
local function raw(conninfo)
  local params = {}
  for k, v in pairs(conninfo or pg.conninfo()) do params[k == "database" and "dbname" or k] = tostring(v) end
  local c = core.connect(params)
  while true do
    local want = c:connect_step()
    if want == true then return c end
    core.poll(c:fd(), want, 10)
  end
end

local function finish(c)
  local want = c:step()
  while want ~= true do
    core.poll(c:fd(), want, 10)
    want = c:step()
  end
  return c:outcome()
end

-- Whether a statement with this text in it runs on the server, once that is what is expected.
local function running(text, expected)
  local n
  for _ = 1, 1500 do
    n = watcher:item("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE $1",
      "%" .. text .. "%")
    if (n > 0) == expected then break end
    watcher:item "SELECT pg_sleep(0.02)"
  end
  return n > 0
end

describe("a name is resolved", function()
  it("at once where it is an address", function()
    for address, expected in pairs{ ["127.0.0.1"] = "127.0.0.1", ["::1"] = "::1", ["10.1.2.3"] = "10.1.2.3" } do
      local job = core.resolve_job(address)
      assert.is_true(job:done())
      assert.same({ expected }, (job:result()))
      assert.equal("r", core.poll(job:fd(), "r", 0)) -- there is a descriptor all the same
    end
  end)

  it("by a thread", function()
    local job = core.resolve_job "localhost"
    assert.is_true(await(job))
    local list = job:result()
    assert.is_true(#list >= 1)
    for _, address in ipairs(list) do assert.truthy(address == "127.0.0.1" or address == "::1", address) end
    assert.equal("r", core.poll(job:fd(), "r", 0))
    assert.same(list, (job:result()))
  end)

  it("or not, and the system says why", function()
    for _, name in ipairs{ "no.host.invalid", "", "a b", ("x"):rep(300) } do
      local job = core.resolve_job(name)
      assert.is_true(await(job, 30))
      local list, why = job:result()
      assert.is_nil(list)
      assert.truthy(#why > 0)
    end
    assert.is_false(pcall(core.resolve_job, "a\0b"))
    assert.is_false(pcall(core.resolve_job))
  end)

  it("whether or not anybody waits", function()
    for _ = 1, 200 do core.resolve_job "localhost" end
    collectgarbage()
    collectgarbage()
    local jobs = {}
    for i = 1, 200 do jobs[i] = core.resolve_job "localhost" end -- more than there are threads
    for _, job in ipairs(jobs) do
      assert.is_true(await(job))
      assert.is_true(#job:result() >= 1)
    end
  end)
end)

describe("a cancel", function()
  it("stops the server", function()
    local c = raw()
    c:send_simple "SELECT pg_sleep(60) /* to be stopped */"
    c:step()
    assert.is_true(running("to be stopped", true))
    local job = core.cancel_job(c)
    assert.is_true(await(job))
    assert.is_true((job:result()))
    assert.equal("57014", finish(c).sqlstate)
    assert.is_true(c:idle())
    c:close()
    assert.is_false(pcall(core.cancel_job, c))
    assert.is_false(pcall(core.cancel_job))
  end)

  it("that reached the server comes before anything sent afterwards", function()
    local c = raw()
    for _ = 1, 100 do
      c:send_simple "SELECT 1"
      local job = core.cancel_job(c)
      finish(c)
      assert.is_true(await(job))
      c:send_simple "SELECT pg_sleep(0.001)"
      assert.is_nil(finish(c))
    end
    c:close()
  end)
end)

describe("closing a connection stops the server", function()
  it("where a statement is under way", function()
    local c = raw()
    c:send_simple "SELECT pg_sleep(60) /* left behind */"
    c:step()
    assert.is_true(running("left behind", true))
    c:close()
    assert.is_false(running("left behind", false))
  end)

  it("when it is collected", function()
    do
      local c = raw()
      c:send_simple "SELECT pg_sleep(60) /* forgotten */"
      c:step()
      assert.is_true(running("forgotten", true))
      c = nil -- luacheck: ignore
    end
    collectgarbage()
    collectgarbage()
    assert.is_false(running("forgotten", false))
  end)

  it("at the end of the process too", function()
    local info = pg.conninfo()
    local uri = fastpg.uri{ user = info.user, host = info.host, port = info.port, dbname = info.database }
    assert.equal("stuck", child({}, [[
      local fastpg, core = require "fastpg", require "fastpg.core"
      local db = fastpg.connect(arg[1])
      local clock = math.huge
      local stuck = {}
      require("fastpg.host.wait.block").wait = function(fd, mode, timeout)
        if core.clock() > clock + 1 then error(stuck) end
        return core.poll(fd, mode, 0.1)
      end
      local other = fastpg.connect(arg[1], { command_timeout = 600 }) -- (with a limit it waits in Lua)
      clock = core.clock()
      local ok, err = pcall(other.item, other, "SELECT pg_sleep(60) /* the process ended */")
      print(err == stuck and "stuck" or err)]], uri))
    assert.is_false(running("the process ended", false))
  end)
end)

describe("a server that is silent", function()
  local own
  setup(function() own = fastpg.cluster() end)
  teardown(function()
    os.execute("kill -CONT " .. own.pid)
    own:close()
  end)

  it("holds threads, and nobody else", function()
    local c = raw(own.conninfo)
    os.execute("kill -STOP " .. own.pid)
    local jobs = {}
    for i = 1, 100 do jobs[i] = core.cancel_job(c) end -- more than there are threads
    assert.is_false(await(jobs[1], 0.2))
    for i = 1, 50 do jobs[i] = nil end
    collectgarbage()
    collectgarbage()
    os.execute("kill -CONT " .. own.pid)
    for i = 51, 100 do
      assert.is_true(await(jobs[i]))
      assert.is_true((jobs[i]:result()))
    end
    c:close()
  end)

  it("does not keep a process from ending", function()
    os.execute("kill -STOP " .. own.pid)
    os.execute(("(sleep 20; kill -CONT %d) >/dev/null 2>&1 &"):format(own.pid))
    os.execute("kill -CONT " .. own.pid)
    local began = core.clock()
    assert.equal("over", child({}, [[
      local fastpg, core = require "fastpg", require "fastpg.core"
      local db = fastpg.connect(arg[1])
      local jobs = {}
      db:acquire(function(conn)
        local c = require("fastpg.pool.route").of(conn):connection().c
        os.execute("kill -STOP " .. arg[2])
        for i = 1, 10 do jobs[i] = core.cancel_job(c) end
        core.poll(-1, "r", 0.1)
        assert(not jobs[1]:done())
      end)
      print "over"]], own.uri, tostring(own.pid)))
    assert.is_true(core.clock() - began < 15)
    os.execute("kill -CONT " .. own.pid)
  end)
end)

describe("after fork", function()
  local has_ffi, ffi = pcall(require, "ffi")
  it("the child has threads of its own, and takes the parent's as failed", function()
    if not has_ffi or not ffi.C then return pending("fork is called through LuaJIT's ffi") end
    if lua:find "asan" then return pending "the sanitizer's own allocator is locked in a child, where threads ran" end
    assert.equal("child works\nparent works", child({}, [[
      local ffi = require "ffi"
      ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);"
      local core = require "fastpg.core"
      local function await(job)
        while not job:done() do core.poll(job:fd(), "r", 10) end
        return job:result()
      end
      local old = {}
      for i = 1, 100 do old[i] = core.resolve_job "localhost" end
      -- glibc's own locks in getaddrinfo do not survive a fork in the middle of one: they end before
      for i = 1, 100 do
        while not old[i]:done() do core.poll(old[i]:fd(), "r", 10) end
      end
      local id = ffi.C.fork()
      if id == 0 then
        for i = 1, 100 do assert(old[i]:done()) old[i]:result() end
        for _ = 1, 100 do assert(#await(core.resolve_job "localhost") >= 1) end
        old = nil
        collectgarbage()
        collectgarbage()
        print "child works"
        io.stdout:flush()
        ffi.C._exit(0)
      end
      ffi.C.waitpid(id, nil, 0)
      for i = 1, 100 do assert(#await(old[i]) >= 1) end
      print "parent works"]]))
  end)
end)

describe("where no thread can be started", function()
  local has_ffi, ffi = pcall(require, "ffi")
  it("the job has failed", function()
    if not has_ffi or not ffi.C or lua:find "asan" then return pending("setrlimit is called through LuaJIT's ffi") end
    assert.equal("no thread can be started", child({}, [[
      local ffi = require "ffi"
      ffi.cdef "struct rlimit { unsigned long cur, max; }; int setrlimit(int, const struct rlimit *);"
      local core = require "fastpg.core"
      assert(ffi.C.setrlimit(9, ffi.new("struct rlimit", { 1024 * 1024, 1024 * 1024 })) == 0) -- RLIMIT_AS
      local job = core.resolve_job "localhost"
      assert(job:done())
      print((select(2, job:result())))]]))
  end)
end)
