-- SPDX-License-Identifier: MIT
--
-- A real nginx, real requests.  Everything runs twice: with nginx's event loop watching the sockets, and
-- polling (what a build without nginx's headers does).

local nginx = require "spec.support.nginx"
local pg = require "spec.support.pg"

-- The Lua of nginx is LuaJIT: the driver's Lua does not matter, once is enough.  A .so that needs a
-- sanitizer or valgrind around it can't be loaded.
if not rawget(_G, "jit") or not nginx.available() or os.getenv("FPG_TEST_LUA"):find " " then return end

local _, problem = require("fastpg.core").nginx_events(print)
local built = not problem:find("without nginx's headers", 1, true)

-- Each function is a page: /app/NAME.
local APP = [==[
local fastpg = require "fastpg"
local host = require "fastpg.host.wait.nginx"
local app, conninfo = {}, $conninfo

local function options(more)
  local all = {}
  for k, v in pairs(conninfo) do all[k] = v end
  for k, v in pairs(more or {}) do all[k] = v end
  return all
end
app.options = options

local pool = fastpg.create_pool(options(), { max_size = 64 })
app.pool = pool

-- What a wait gives: the error's name and text, where there is one.
function app.try(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then return "ok " .. tostring(err) end
  return (type(err) == "table" and err.name or "?") .. ": " .. tostring(err)
end
function app.one() return pool:item("select 1 + $1", 41) end

local page = {}

function page.one() ngx.say(app.one()) end
function page.info() ngx.say(host.info().method) end
function page.sleep() pool:item("select pg_sleep($1)", tonumber(ngx.var.arg_t)) ngx.say "slept" end

function page.nested()
  local numbers = coroutine.wrap(function()
    for i = 1, 3 do coroutine.yield(pool:item("select $1 * 2", i)) end
  end)
  ngx.say(numbers(), numbers(), numbers())
end

function page.threads()
  local list, sum = {}, 0
  for i = 1, 20 do list[i] = ngx.thread.spawn(function() return pool:item("select $1 + 0 * length(pg_sleep(0.05)::text)", i) end) end
  for i = 1, 20 do
    local _, n = ngx.thread.wait(list[i])
    sum = sum + n
  end
  ngx.say(sum)
end

function page.places()
  local function say(what, fn, ...) ngx.say(what, " ", app.try(fn, ...)) end
  say("sort", table.sort, { 2, 1 }, function(a, b) app.one() return a < b end)
  say("gsub", string.gsub, "a", "a", function() app.one() end)
  say("require", require, "toplevel")
  say("pcall", pcall, app.one)
end

-- Queries that wait until they are let go.
local holder
function page.shut()
  holder = fastpg.connect(options())
  holder:execute "select pg_advisory_lock(77)"
  ngx.say "shut"
end
function page.held() ngx.say(pool:item "select 'went on' from pg_advisory_xact_lock_shared(77)") end
function page.open()
  holder:execute "select pg_advisory_unlock(77)"
  holder:close()
end

local four = fastpg.create_pool(options(), { max_size = 4 })
function page.waiting()
  ngx.print(four:item "select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and not granted")
end
-- until a statement sleeps on the server
function app.sleeping()
  repeat ngx.sleep(0.02) until four:item [[select count(*) from pg_stat_activity
    where query like '%pg_sleep(20)%' and state = 'active' and pid <> pg_backend_pid()]] > 0
end
function page.small() ngx.say(four:item("select length(pg_sleep(0.05)::text) + 1")) end

function page.big()
  local rows = pool:q("select i, repeat('x', 1000) || i as t from generate_series(1, $1) i", 4000)
  local bytes = 0
  for i = 1, #rows do bytes = bytes + #rows[i].t end
  ngx.say(#rows, " ", bytes)
end

function page.send()
  ngx.say(pool:item("select length($1::text)", ("y"):rep(8000000)))
end

function page.timer()
  local got
  local me = coroutine.running()
  assert(ngx.timer.at(0, function() got = app.one() host.wake(me) end))
  while not got do host.wait(nil, nil, 5) end
  ngx.say(got)
end

function page.spawn()
  local me, done = coroutine.running(), {}
  for i = 1, 3 do
    host.spawn(function()
      local n = pool:item("select $1", i)
      done[#done + 1] = n
      host.wake(me)
    end)
  end
  ngx.print(#done, " ")
  while #done < 3 do host.wait(nil, nil, 5) end
  ngx.say(#done)
end

function page.waits()
  ngx.say(tostring(host.wait(nil, nil, 0.02)))
  ngx.say(tostring(host.wait(nil, nil, 0)))
  local me = coroutine.running()
  host.wake(me)
  ngx.thread.spawn(function() ngx.sleep(0.01) host.wake(me) host.wake(me) end)
  ngx.say(tostring(host.wait(nil, nil, 5)))
  ngx.say(tostring(host.wait(nil, nil, 0.02)))
  ngx.say(tostring(host.wait(app.fd(), "r", 0.02)))
  ngx.say(tostring(host.wait(app.fd(), "w", 5)), tostring(host.wait(app.fd(), "rw", 5)))
end

function app.fd()
  return pool:acquire(function() return app.connection().fd end)
end
-- a connection that is not the pool's
function app.connection()
  if not app.conn then
    local params = { host = conninfo.host, port = tostring(conninfo.port), user = conninfo.user, dbname = conninfo.database }
    app.conn = require("fastpg.pg.connection").open(
      { params = params, all_params = function() return params end, statement_cache_size = 10 }, host.wait)
  end
  return app.conn
end

function page.fail()
  fastpg.guard(function() pool:q("select * from no_such_table") end)
end

-- ---- for those that are killed

local small = fastpg.create_pool(options{ application_name = "held" }, { max_size = 50 })
function page.hold_query() small:item("select pg_sleep(20)") ngx.say "done" end
function page.hold_idle() small:acquire(function() small:item("select 1") ngx.sleep(20) end) ngx.say "done" end
function page.hold_transaction() small:transaction(function() small:item("select 1") ngx.sleep(20) end) ngx.say "done" end
function page.hold_nothing() ngx.say(small:item("select 'done'")) end
function page.in_use() ngx.say(small:stats().in_use) end

function page.kill()
  local t = ngx.thread.spawn(page.hold_query)
  app.sleeping()
  ngx.say(small:stats().in_use, " ", ngx.thread.kill(t), " ", small:stats().in_use)
end

-- Killed in all sorts of moments: while it opens, in the queue, in a statement, between its event and going on.
local two = fastpg.create_pool(options{ application_name = "held" }, { max_size = 2 })
function page.kill_many()
  for i = 1, 40 do
    local t = ngx.thread.spawn(function() two:transaction(function() two:item("select 1") end) end)
    ngx.sleep(0)
    if i % 2 == 0 then ngx.sleep(0.001) end
    ngx.thread.kill(t)
  end
  local started = require("fastpg.core").clock()
  local answer = two:item "select 42"
  local stats = two:stats()
  ngx.say(answer, " ", stats.in_use, " ", stats.waiting, " ", require("fastpg.core").clock() - started < 25)
end

-- Several whose statements go together, the `killed` of them in turn, while they wait for the server.
local one = fastpg.create_pool(options{ application_name = "held" }, { max_size = 1 })
local ABOARD = "select n from aboard where n = $1"
local function killed_aboard(killed)
  local blocker, threads, answers, let_go, tx = fastpg.connect(options()), {}, {}, false, nil
  blocker:execute "create table if not exists aboard (n int)"
  blocker:execute "truncate aboard; insert into aboard values (1), (2), (3), (4)"
  local holder = ngx.thread.spawn(function()
    one:acquire(function(c)
      c:item(ABOARD, 1)
      while not let_go do ngx.sleep(0.005) end
    end)
  end)
  for i = 1, 4 do
    threads[i] = ngx.thread.spawn(function()
      local n = one:item(ABOARD, i)
      answers[i] = n
    end)
  end
  while one:stats().statements == 0 or one:stats().waiting < 4 do ngx.sleep(0.005) end
  for _, shape in pairs(require("fastpg.pool.route").of(one).pool.trips.shapes.kept) do shape.mean = 0.0001 end
  tx = blocker:begin()
  tx:execute "lock table aboard in access exclusive mode"
  local before = one:stats().together
  let_go = true
  while tx:item "select count(*) from pg_locks where relation = 'aboard'::regclass and not granted" == 0 do ngx.sleep(0.005) end
  for _, i in ipairs(killed) do
    ngx.thread.kill(threads[i])
    ngx.sleep(0.01)
  end
  tx:rollback()
  blocker:close()
  ngx.thread.wait(holder)
  for i = 1, 4 do ngx.thread.wait(threads[i]) end
  local list = {}
  for i = 1, 4 do list[i] = tostring(answers[i]) end
  return table.concat(list, " ") .. " " .. one:stats().together - before .. " " .. one:item(ABOARD, 2) .. " " .. one:stats().in_use
end
function page.kill_aboard()
  ngx.say(killed_aboard{}) -- with no one killed
  ngx.say(killed_aboard{ 2 })
  ngx.say(killed_aboard{ 1 })
  ngx.say(killed_aboard{ 1, 2, 3 })
  ngx.say(killed_aboard{ 3, 4, 2, 1 })
end
function page.hold_task()
  ngx.say(fastpg.spawn(function() return small:item("select length(pg_sleep(20)::text)") end):wait())
end

function page.exit()
  ngx.thread.spawn(page.hold_query)
  app.sleeping()
  ngx.exit(204)
end

-- Tasks that run as timers, and end without a word.
function app.left()
  app.tasks = app.tasks or {}
  app.tasks[#app.tasks + 1] = fastpg.spawn(function() app.one() ngx.exit(0) end)
  return "left"
end
function page.cancel_left()
  for _, t in ipairs(app.tasks) do t:cancel() end
  ngx.say(#app.tasks)
end

function page.close_under()
  local own = fastpg.connect(options())
  local t = ngx.thread.spawn(app.try, own.item, own, "select pg_sleep(20)")
  app.sleeping()
  own:close(0)
  ngx.say((select(2, ngx.thread.wait(t))))
end

function page.idle()
  ngx.timer.at(0, function()
    local fd = app.connection().fd
    ngx.log(ngx.WARN, "idle wait begins")
    local ok, err = pcall(host.wait, fd, "r", nil, true)
    ngx.log(ngx.WARN, "idle wait: ", tostring(ok), " ", tostring(err))
  end)
  ngx.say "started"
end

function page.gc() collectgarbage() collectgarbage() ngx.say "collected" end

function app.run(name) fastpg.guard(page[name]) end
return app
]==]

local PHASES = [==[
  location = /rewrite { rewrite_by_lua_block { ngx.say(require("app").one()) ngx.exit(200) } }
  location = /access { access_by_lua_block { ngx.say(require("app").one()) ngx.exit(200) } }
  location = /filters {
    set_by_lua_block $set { return require("app").try(require("app").one) }
    content_by_lua_block { ngx.say(ngx.var.set) }
    header_filter_by_lua_block { ngx.header.X = require("app").try(require("app").one) }
    body_filter_by_lua_block { if not ngx.ctx.told then ngx.ctx.told = true ngx.log(ngx.WARN, "body ", require("app").try(require("app").one)) end }
    log_by_lua_block { ngx.log(ngx.WARN, "log ", require("app").try(require("app").one)) }
  }
  location = /left { set_by_lua_block $left { return require("app").left() } content_by_lua_block { ngx.say(ngx.var.left) } }
  location ~ ^/app/(?<page>\w+)$ { content_by_lua_block { require("app").run(ngx.var.page) } }
  location ~ ^/abort/(?<page>\w+)$ { lua_check_client_abort on; content_by_lua_block { require("app").run(ngx.var.page) } }
]==]

local function start(way, opts)
  opts = opts or {}
  opts.environment = way == "polling" and "FASTPG_NGINX=polling" or ""
  opts.files = { ["app.lua"] = APP, ["toplevel.lua"] = 'return { n = require("app").one() }' }
  opts.server = PHASES .. (opts.server or "")
  return nginx.start(opts)
end

local function backends(where)
  return tonumber(pg.psql("select count(*) from pg_stat_activity where " .. (where or "true")
    .. " and pid <> pg_backend_pid() and datname = '" .. pg.database() .. "'"))
end

local function eventually(fn, expected)
  local got
  for _ = 1, 600 do
    got = fn()
    if got == expected then break end
    os.execute "sleep 0.05"
  end
  assert.equal(expected, got)
end

for _, way in ipairs(built and { "events", "polling" } or { "polling" }) do
  describe("nginx by " .. way, function()
    local server

    setup(function()
      server = start(way, {
        http = [==[
          lua_socket_log_errors off;
          init_by_lua_block { package.loaded.in_init = require("app").try(function()
            local db = require("fastpg").connect(require("app").options())
            local n = db:item("select 7")
            db:close()
            return n
          end) }
          init_worker_by_lua_block { package.loaded.in_worker = require("app").try(require("app").one) }
        ]==],
        server = 'location = /init { content_by_lua_block { ngx.say(package.loaded.in_init, " ", package.loaded.in_worker) } }',
      })
    end)

    teardown(function()
      assert.equal("", server:stop())
      eventually(backends, 0)
    end)

    local function page(name) return (server:get("/app/" .. name)) end

    it("says so", function() assert.equal(way .. "\n", page "info") end)

    it("works in each phase that can wait", function()
      assert.equal("42\n", page "one")
      assert.equal("42\n", (server:get "/rewrite"))
      assert.equal("42\n", (server:get "/access"))
    end)

    it("blocks in init and init_worker", function()
      assert.equal("ok 7 ok 42\n", (server:get "/init"))
    end)

    it("says where it can't wait", function()
      local answer = server:get("/filters", "-i")
      assert.truthy(answer:find("X: blocking_call: .*nginx can't wait in its phase header_filter"))
      assert.truthy(answer:find("\nblocking_call: [^\n]*phase set"))
      eventually(function() return server:log():find("log blocking_call: [^\n]*phase log") ~= nil end, true)
      assert.truthy(server:log():find("body blocking_call: [^\n]*phase body_filter"))
      local places = page "places"
      assert.truthy(places:find("sort blocking_call: [^\n]*sort or gsub"), places)
      assert.truthy(places:find("gsub blocking_call: ", 1, true), places)
      assert.truthy(places:find("require blocking_call: ", 1, true), places)
      assert.truthy(places:find("pcall ok true", 1, true), places)
      assert.equal("42\n", page "one")
    end)

    it("works in timers, nested coroutines and light threads", function()
      assert.equal("42\n", page "timer")
      assert.equal("246\n", page "nested")
      assert.equal("210\n", page "threads")
      assert.equal("0 3\n", page "spawn")
    end)

    it("waits for time, a wake-up, a socket", function()
      assert.equal("nil\nnil\nwoken\nnil\nnil\nw" .. "w\n", page "waits")
    end)

    it("takes large results and parameters", function()
      local answers = server:get_all{ "/app/big", "/app/big", "/app/big", "/app/send", "/app/send" }
      for i = 1, 3 do assert.equal("4000 4014893\n", answers[i].body) end
      for i = 4, 5 do assert.equal("8000000\n", answers[i].body) end
    end)

    it("serves others while 64 queries run", function()
      local paths = {}
      for i = 1, 64 do paths[i] = "/app/held" end
      assert.equal("shut\n", page "shut")
      -- They are let go only when all wait and others have been served.
      os.execute(("{ until [ \"$(%s)\" = 64 ]; do sleep 0.05; done; %s; } >%s/between && %s &"):format(
        server:command "/app/waiting", server:command "/static", server.dir, server:command "/app/open"))
      local answers = server:get_all(paths)
      for i = 1, 64 do assert.equal("went on\n", answers[i].body) end
      assert.equal("static\n", nginx.read_file(server.dir .. "/between"))
    end)

    it("logs what guard says of an error", function()
      assert.equal(500, select(2, server:get "/app/fail"))
      assert.truthy(server:log():find('undefined_table: relation "no_such_table" does not exist', 1, true))
      assert.is_nil(server:log():find("unknown reason", 1, true))
    end)

    it("loses no connection to clients that go away", function()
      local paths = {}
      local pages = { "hold_query", "hold_idle", "hold_transaction" }
      for i = 1, 40 do paths[i] = "/abort/" .. pages[i % 3 + 1] end
      page "hold_nothing" -- nginx sees only clients go away that are there when their request begins
      server:get_all(paths, "--max-time 3")
      eventually(function() return page "in_use" end, "0\n")
      eventually(function() return backends "application_name = 'held'" < 2 end, true)
      eventually(function() return backends "query like '%pg_sleep%' and state = 'active'" end, 0)
      assert.equal("done\n", (server:get "/abort/hold_nothing"))
    end)

    it("asks nothing of tasks whose request is over", function()
      local paths = {}
      for i = 1, 40 do paths[i] = "/abort/" .. (i % 2 == 0 and "hold_task" or "hold_transaction") end
      for _ = 1, 3 do
        page "hold_nothing"
        server:get_all(paths, "--max-time 1")
        eventually(function() return page "in_use" end, "0\n")
      end
      assert.equal("", server:alerts())
    end)

    if way == "events" then
      it("sees light threads that were killed", function()
        assert.equal("1 1 0\n", page "kill")
        assert.equal(204, select(2, server:get "/app/exit"))
        eventually(function() return page "in_use" end, "0\n")
        eventually(function() return backends "query like '%pg_sleep%' and state = 'active'" end, 0)
        assert.equal("collected\n", page "gc")
      end)

      it("goes on with the others where some of those are killed whose statements go together", function()
        assert.equal("1 2 3 4 3 2 0\n1 nil 3 4 3 2 0\nnil 2 3 4 3 2 0\nnil nil nil 4 3 2 0\nnil nil nil nil 0 2 0\n", page "kill_aboard")
      end)

      it("sees them whenever they were killed", function()
        for _ = 1, 3 do assert.equal("42 0 0 true\n", page "kill_many") end
      end)

      it("ends a wait when the connection is closed under it", function()
        assert.truthy(page("close_under"):find "closed: the connection %a+ closed")
      end)
    end

    it("takes no request for a task that ended without a word", function()
      for _ = 1, 10 do assert.equal("left\n", (server:get "/left")) end
      eventually(function() return page "cancel_left" end, "10\n")
      for _ = 1, 20 do assert.equal("42\n", page "one") end
    end)

    it("waits for a connection of a pool", function()
      local paths = {}
      for i = 1, 24 do paths[i] = "/app/small" end
      for _, answer in ipairs(server:get_all(paths)) do assert.equal("1\n", answer.body) end
    end)

    it("reloads with queries under way", function()
      local paths = {}
      for i = 1, 20 do paths[i] = "/app/sleep?t=1" end
      os.execute(("(sleep 0.4; kill -HUP %d) &"):format(server.pid))
      local before = server:workers()
      for i, answer in ipairs(server:get_all(paths)) do assert.equal("slept\n", answer.body, i) end
      eventually(function() return server:workers() ~= before and not server:workers():find " " end, true)
      eventually(backends, 1) -- init_worker's
      assert.equal("42\n", page "one")
    end)
  end)
end

if built then describe("nginx at its end", function()
  it("does not wait for idle waits", function()
    local server = start "events"
    assert.equal("started\n", (server:get "/app/idle"))
    eventually(function() return server:log():find("idle wait begins", 1, true) ~= nil end, true)
    assert.equal("", server:stop())
    assert.falsy(server.killed)
    assert.truthy(server.last_log:find "idle wait: false [^\n]*closed: this worker of nginx ends", server.last_log)
    eventually(backends, 0)
  end)

  it("stops what is under way after worker_shutdown_timeout", function()
    local server = start("events", { main = "worker_shutdown_timeout 500ms;" })
    os.execute(("%s >/dev/null &"):format(server:command "/app/sleep?t=30"))
    eventually(function() return backends "query like '%pg_sleep%'" end, 1)
    assert.equal("", server:stop())
    assert.falsy(server.killed)
    eventually(backends, 0)
  end)

  it("may come at once", function()
    local server = start "events"
    os.execute(("%s >/dev/null &"):format(server:command "/app/sleep?t=2"))
    eventually(function() return backends "query like '%pg_sleep%'" end, 1)
    assert.equal("", server:stop "TERM")
    eventually(backends, 0)
  end)
end) end

describe("nginx", function()
  if not built then pending "make nginx builds with nginx's headers" return end
  it("polls where it has no connection left", function()
    local server = start("events", { connections = 16 })
    local paths = {}
    for i = 1, 6 do paths[i] = "/app/threads" end
    for _, answer in ipairs(server:get_all(paths)) do
      if answer.status == 200 then assert.equal("210\n", answer.body) end
    end
    assert.equal("42\n", (server:get "/app/one"))
    assert.is_nil(server:log():find "%[error%]")
    server:stop()
  end)

  it("waits in ssl_certificate_by_lua, and in a client's TLS handshake nobody else does", function()
    nginx.output [[cd /tmp && rm -rf fastpg-spec-tls && mkdir fastpg-spec-tls && cd fastpg-spec-tls && openssl req -x509 -newkey rsa:2048 -nodes \
      -keyout key.pem -out cert.pem -subj /CN=localhost -days 2 2>&1]]
    local server = start("events", {
      http = [==[
        ssl_certificate /tmp/fastpg-spec-tls/cert.pem;
        ssl_certificate_key /tmp/fastpg-spec-tls/key.pem;
      ]==],
      server = [==[
        listen unix:$dir/tls.sock ssl;
        ssl_certificate_by_lua_block { package.loaded.tls = require("app").try(require("app").one) }
        location = /tls { content_by_lua_block { ngx.say(package.loaded.tls) } }
      ]==],
    })
    local command = "curl -sk --max-time 60 --unix-socket %s/tls.sock https://localhost/tls"
    assert.equal("ok 42\n", nginx.output(command:format(server.dir)))
    assert.equal("", server:stop())
    os.execute "rm -rf /tmp/fastpg-spec-tls"
  end)

  it("works with lua_code_cache off", function()
    local server = start("events", { http = "lua_code_cache off;" })
    for _ = 1, 5 do assert.equal("42\n", (server:get "/app/one")) end
    assert.equal("210\n", (server:get "/app/threads"))
    server:get("/abort/hold_query", "--max-time 0.5")
    assert.equal("42\n", (server:get "/app/timer"))
    local alerts = server:stop():gsub("[^\n]*%[alert%][^\n]*lua_code_cache is off[^\n]*", "")
    assert.equal("", alerts)
    eventually(backends, 0)
  end)
end)

describe("a script run in nginx", function()
  local SCRIPT = [==[
    local fastpg = require "fastpg"
    local options = function(more)
      local all = { host = arg[1], port = tonumber(arg[2]), user = arg[3], database = arg[4] }
      for name, value in pairs(more or {}) do all[name] = value end
      return all
    end
    local db = fastpg.connect(options())
    print(fastpg.loop_info().name, db:item "select 42", select(2, pcall(db.q, db, "select nope")).name)

    local pool, sum = fastpg.create_pool(options(), { max_size = 4 }), 0
    local threads = {}
    for i = 1, 12 do
      threads[i] = ngx.thread.spawn(function() return pool:item("select $1::int from pg_sleep(0.02)", i) end)
    end
    for i = 1, 12 do sum = sum + select(2, assert(ngx.thread.wait(threads[i]))) end
    print("threads", sum, pool:stats().opened)
    print("task", fastpg.spawn(function() return pool:item "select 7" end):wait())
    print("gather", fastpg.gather(function() return 1 end, function() return pool:item "select 2" end))

    local seen = 0
    for row in pool:each "select g from generate_series(1, 3000) g" do seen = seen + row.g end
    print("each", seen)
    local heard
    pool:listen("spec", function(n)
      heard = n.payload
      print("heard", heard)
    end)
    pool:notify("spec", "hello")
    while not heard do fastpg.sleep(0.01) end

    if arg[5] == "raise" then db:q "select nope" end
    if arg[5] == "exit" then os.exit(7) end
    if arg[5] == "leave" then fastpg.spawn(function() db:q "select pg_sleep(30)" end) fastpg.sleep(0.1) end
  ]==]
  local SAID = "nginx\t42\tundefined_column\nthreads\t78\t4\ntask\t7\ngather\t1\t2\neach\t4501500\nheard\thello\n"

  local function run(how)
    local c, path = pg.conninfo(), os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(SCRIPT)
    f:close()
    local out = nginx.output(("timeout 60 tools/nginx_lua.sh %s '%s' %d %s %s %s 2>&1; echo code $?"):format(path, c.host,
      c.port, c.user, c.database, how))
    os.remove(path)
    eventually(backends, 0)
    return out
  end

  it("waits in nginx's event loop and ends with the script", function()
    assert.equal(SAID .. "code 0\n", run "end")
  end)

  it("ends with what the script says", function()
    assert.equal(SAID .. "code 7\n", run "exit")
    local out = run "raise"
    assert.truthy(out:find('undefined_column: column "nope" does not exist', 1, true), out)
    assert.truthy(out:find "code 1\n$")
  end)

  it("ends with a query under way", function()
    assert.equal(SAID .. "code 0\n", run "leave")
  end)
end)

describe("the example nginx/", function()
  local function example_server(c, database)
    local conf = nginx.read_file "examples/nginx/nginx.conf"
    conf = conf:gsub("listen 127.0.0.1:8080;", "listen unix:$dir/http.sock;"):gsub("pid /tmp/[^;]*;", "pid $dir/pid; $user")
      :gsub("error_log stderr;", ""):gsub("%$prefix/%?.lua;;", "$here/examples/nginx/?.lua;$here/lua/?.lua;$here/lua/?/init.lua;;")
      :gsub("access_log off;", [[access_log off; lua_package_cpath "$here/$build/?.so;;"; client_body_temp_path $dir/body;
        proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi; uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;]])
    return nginx.start{ conf = conf,
      environment = ("PGHOST=%s PGPORT=%d PGUSER=%s PGDATABASE=%s"):format(c.host, c.port, c.user, database) }
  end

  it("serves each tenant its own notes", function()
    local c = pg.conninfo()
    local server = example_server(c, c.database)
    local function ask(options, path) return server:get(path or "/notes", options) end
    local answer, status = ask "-H 'X-Tenant: 7' -d milk"
    assert.equal(201, status)
    assert.equal('{"id":1,"tenant":7,"body":"milk"}\n', answer)
    assert.equal(201, select(2, ask "-H 'X-Tenant: 8' -d bread"))
    assert.equal('[{"id":2,"tenant":8,"body":"bread"}]\n', (ask "-H 'X-Tenant: 8'"))
    assert.equal('{"id":1,"tenant":7,"body":"milk"}\n', (ask("-H 'X-Tenant: 7'", "/notes/1")))
    assert.equal(404, select(2, ask("-H 'X-Tenant: 8'", "/notes/1")))
    assert.equal(401, select(2, ask ""))
    assert.equal(405, select(2, ask "-X PUT -H 'X-Tenant: 8'"))

    -- what people send
    local function send(bytes)
      local path = os.tmpname()
      local f = assert(io.open(path, "wb"))
      f:write(bytes)
      f:close()
      local body, code = ask(("-H 'X-Tenant: 9' --data-binary @%s"):format(path))
      os.remove(path)
      return code, body
    end
    local big = ("0123456789"):rep(30000) -- nginx puts it into a file
    assert.equal(201, (send(big)))
    assert.equal(201, (send "")) -- an empty note
    assert.equal(#big, tonumber((pg.psql("select max(length(body)) from note where tenant = 9", c.database))))
    assert.equal(400, (send "\255\254"))
    assert.equal(400, (send "a\0b"))
    for _, key in ipairs{ "99999999999999999999", "9223372036854775808", ("9"):rep(400) } do
      local body, code = ask("-H 'X-Tenant: 7'", "/notes/" .. key)
      assert.is_true(code == 400 or code == 404, code .. " " .. body)
    end
    assert.equal(404, select(2, ask("-H 'X-Tenant: 7'", "/notes/99999999999")))
    for _, tenant in ipairs{ "99999999999", "x", "7 or 1=1", "1.5", "NaN" } do
      local body, code = ask(("-H 'X-Tenant: %s'"):format(tenant))
      assert.equal(400, code, body)
      assert.is_nil(body:find "traceback")
    end
    assert.equal("", server:stop())
    assert.is_nil(server.last_log:find "%[error%]")
  end)

  it("answers 503 without a database, and serves when there is one", function()
    local own = require("fastpg").cluster()
    local c = own.conninfo
    own:stop()
    local server = example_server(c, "postgres")
    local body, status = server:get("/notes", "-H 'X-Tenant: 7'")
    assert.equal(503, status)
    assert.equal('{"error":"try again later"}\n', body)
    own:start()
    assert.equal(201, select(2, server:get("/notes", "-H 'X-Tenant: 7' -d milk")))
    assert.equal("", server:stop())
    own:close()
  end)

  it("is short", function()
    local lines = 0
    for _ in io.lines "examples/nginx/notes.lua" do lines = lines + 1 end
    assert.is_true(lines <= 60)
  end)
end)
