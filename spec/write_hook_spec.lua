-- SPDX-License-Identifier: MIT
--
-- write_hook: db:on "write".

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()
db:execute [[
  create table thing (id serial primary key, name text unique, n int);
  create table pair (x int, y text, z int, primary key (x, y));
  create table bare (v int);
  create table tenant_thing (tenant int, id int, v text, primary key (tenant, id));
  create table log (id serial primary key, what text, keys jsonb, rows int);
]]
local t = db.t.thing

local function show_key(key)
  return type(key) == "table" and table.concat(key, "/") or tostring(key)
end

-- One event as text: "insert thing 2: 1 2".
local function show(e)
  local keys = {}
  for i, key in ipairs(e.keys or {}) do keys[i] = show_key(key) end
  return ("%s %s %d: %s"):format(e.op, e.table, e.rows, e.keys and table.concat(keys, " ") or "none")
end

-- What a hook is told while fn runs; what fn gave.
local function told(fn, on)
  local list = {}
  local off = (on or db):on("write", function(e) list[#list + 1] = show(e) end)
  local ok, result = pcall(fn)
  off()
  return table.concat(list, ", "), ok, result
end

-- Runs fn while a hook fails.
local function refused(fn, on)
  local off = (on or db):on("write", function() error("no", 0) end)
  local ok, err = pcall(fn)
  off()
  assert.is_false(ok)
  assert.equal("no", err)
end

local function clear()
  db:execute "truncate thing, pair, bare, tenant_thing, log restart identity"
end

before_each(clear)

describe("a hook on writes", function()
  it("is told of each write, with the keys of its rows", function()
    local function is(wanted, fn)
      local text, ok, err = told(fn)
      assert.is_true(ok, tostring(err))
      assert.equal(wanted, text)
    end
    is("insert thing 1: 1", function() assert.equal("a", t:insert{ name = "a" }.name) end)
    is("update thing 1: 1", function() assert.equal("b", t:update{ id = 1, name = "b" }.name) end)
    is("update thing 1: 5", function() assert.equal(5, t:update({ id = 5 }, 1).id) end)
    is("upsert thing 1: 5", function() assert.equal("c", t:upsert{ id = 5, name = "c" }.name) end)
    is("upsert thing 1: 5", function() t:upsert({ id = 5, name = "c" }, nil, { set = { n = 7 } }) end)
    is("insert thing 2: 2 3", function() assert.equal(2, #t:inserts{ { name = "d" }, { name = "e" } }) end)
    is("upsert thing 2: 5 9", function() t:upserts{ { id = 5, name = "f" }, { id = 9, name = "g" } } end)
    is("update thing 2: 5 9", function() t:updates{ { id = 5, n = 1 }, { id = 9, n = 1 } } end)
    is("update thing 2: 2 3", function() assert.equal(2, #t:where("id in (2, 3)"):order_by("id"):limit(2):update{ n = 3 }) end)
    is("insert thing 2: 4 5", function()
      db:execute "delete from thing where id = 5"
      t:insert_from(t:where("id < 4"):order_by("id"):select{ name = fastpg.sql "name || '!'" })
    end)
  end)

  it("is told of one by key, of many by their condition, of all", function()
    t:inserts{ { name = "a" }, { name = "b" }, { name = "c" } }
    assert.equal("delete thing 1: 1", (told(function() t:delete(1) end)))
    assert.equal("delete thing 1: 2", (told(function() t:delete_where("name = ?", "b") end)))
    assert.equal("delete thing 1: 3", (told(function() t:where{ name = "c" }:delete() end)))
  end)

  it("gives what the call gives without it", function()
    local function both(fn)
      clear()
      local plain = fn()
      clear()
      local text, ok, hooked = told(fn)
      assert.is_true(ok, tostring(hooked))
      assert.truthy(text:find "%d", text)
      assert.equal(type(plain), type(hooked))
      if type(plain) ~= "table" then return assert.equal(plain, hooked) end
      assert.equal(tostring(plain), tostring(hooked))
      assert.same(plain, hooked)
      assert.same(fastpg.columns(plain), fastpg.columns(hooked))
    end
    for _, opts in ipairs{ {}, { returning = false }, { returning = "name" }, { returning = { "id", "n" } } } do
      both(function() return t:insert({ name = "a" }, nil, opts) end)
      both(function() return t:inserts({ { name = "a" }, { name = "b", n = 1 } }, nil, opts) end)
      both(function() return t:upsert({ id = 1, name = "a" }, nil, opts) end)
      both(function() return t:upsert({ id = 1, name = "a" }, nil, { set = { n = 1 }, returning = opts.returning }) end)
      both(function() return t:upserts({ { id = 1, name = "a" } }, nil, opts) end)
      for _, write in ipairs{
        function() return t:update({ id = 1, n = 2 }, nil, nil, opts) end,
        function() return t:updates({ { id = 1, n = 2 }, { id = 2, n = 2 } }, nil, opts) end,
        function() return t:delete(1, opts) end,
        function() return t:where("true"):update({ n = 5 }, opts) end,
        function() return t:where("true"):delete(opts) end,
        function() return t:insert_from(t:where("true"):select{ name = fastpg.sql "name || '2'" }, opts) end,
      } do
        both(function()
          t:inserts{ { name = "a" }, { name = "b" } }
          return write()
        end)
      end
    end
    both(function() return t:insert({ name = "a" }, nil, { returning = { "id", up = fastpg.sql("upper(name) || ?", "x") } }) end)
    both(function() return t:copy{ { name = "a" }, { name = "b" } } end)
  end)

  it("has lists for keys of several columns, and none where there is no key", function()
    local p = db.t.pair
    assert.equal("insert pair 1: 1/a", (told(function() p:insert{ x = 1, y = "a" } end)))
    assert.equal("insert pair 2: 2/b 2/c", (told(function() p:inserts({ { x = 2, y = "b" }, { x = 2, y = "c" } }, nil, { returning = false }) end)))
    assert.equal("update pair 1: 1/a", (told(function() p:update({ z = 1 }, { 1, "a" }, nil, { returning = { "z" } }) end)))
    assert.equal("update pair 3: 2/b 2/c 1/a", (told(function() p:where("true"):update({ z = 5 }, { returning = false }) end)))
    local off = db:on("write", function(e)
      if e.op == "update" then assert.equal(5, p[e.keys[1]].z) end
    end)
    p:update({ z = 5 }, { 1, "a" })
    off()
    assert.equal("insert bare 1: none", (told(function() db.t.bare:insert{ v = 1 } end)))
    assert.equal("update bare 1: none", (told(function() db.t.bare:where("true"):update({ v = 2 }, { returning = false }) end)))
    assert.equal("update bare 1: none", (told(function() db.t.bare:where("true"):update({ v = 2 }, { returning = "v" }) end)))
    assert.equal("copy thing 2: none", (told(function() t:copy{ { name = "a" }, { name = "b" } } end)))
  end)

  it("is told with joins, by the key of the rows that are written", function()
    db:execute "insert into thing (name, n) values ('a', 1), ('b', 2); insert into pair values (1, 'x', 1), (3, 'x', 3)"
    for _, opts in ipairs{ {}, { returning = false }, { returning = "name" } } do
      assert.equal("update thing 1: 1", (told(function()
        t:join("pair", { on = fastpg.sql "pair.z = thing.n" }):update({ name = fastpg.sql "pair.y" }, opts)
      end)))
    end
  end)

  it("is not told where no row was written", function()
    t:insert{ id = 1, name = "a" }
    assert.equal("", (told(function()
      t:insert({ id = 1, name = "b" }, nil, { on_conflict = "nothing" })
      t:delete_where("name = 'none'")
      t:where("name = 'none'"):update({ n = 1 }, { returning = false })
      t:inserts{}
      t:copy{}
    end)))
    local text, ok, err = told(function() t:update{ id = 99, name = "x" } end)
    assert.equal("", text)
    assert.is_false(ok)
    assert.is_true(fastpg.is(err, "not_found"))
    assert.is_false((select(2, told(function() t:insert{ id = 1 } end))))
  end)

  it("knows thousands of rows", function()
    local list, seen = {}, nil
    for i = 1, 2500 do list[i] = { id = i, name = "n" .. i } end
    local off = db:on("write", function(e) seen = e end)
    assert.equal(2500, t:inserts(list, nil, { returning = false }))
    off()
    assert.equal(2500, seen.rows)
    assert.equal(2500, #seen.keys)
    assert.equal(2500, seen.keys[2500])
  end)

  it("says where the program wrote, and in which schema", function()
    local seen
    local off = db:on("write", function(e) seen = e end)
    local at = debug.getinfo(1, "l").currentline + 1
    t:insert{ name = "a" }
    off()
    assert.truthy(seen.where:find("write_hook_spec.lua:" .. at, 1, true), seen.where)
    assert.equal("public", seen.schema)
    assert.equal(db.pid, seen.pid)
  end)
end)

describe("what a hook on writes does itself", function()
  it("commits with the write, by tx or by db, and is no event", function()
    local n = 0
    local off = db:on("write", function(e)
      n = n + 1
      e.tx.t.log:insert{ what = e.op, keys = e.keys, rows = e.rows }
      db.t.log:insert{ what = "again" }
      e.tx:transaction(function(inner) inner.t.log:insert{ what = "inner" } end)
      assert.equal(1, #t)
    end)
    t:insert{ name = "a" }
    off()
    assert.equal(1, n)
    assert.same({ "insert", "again", "inner" }, db.t.log:order_by("id"):pluck("what"))
    assert.same({ 1 }, db.t.log:first("what = 'insert'").keys)
  end)

  it("is rolled back with it", function()
    local other = pg.cluster():connect{ database = db:item "select current_database()" }
    local off = db:on("write", function(e)
      e.tx.t.log:insert{ what = "lost" }
      assert.equal(0, other:item "select count(*) from thing")
      error("no", 0)
    end)
    assert.is_false(pcall(t.insert, t, { name = "a" }))
    off()
    other:close()
    assert.equal(0, #t)
    assert.equal(0, #db.t.log)
  end)

  it("that fails undoes each kind of write", function()
    t:inserts{ { name = "a" }, { name = "b" } }
    local before = tostring(t{ order_by = "id" })
    local many = {}
    for i = 1, 1500 do many[i] = { name = "m" .. i } end
    for _, write in ipairs{
      function() t:insert{ name = "c" } end, function() t:inserts{ { name = "c" }, { name = "d" } } end, function() t:inserts(many) end,
      function() t:update{ id = 1, name = "c" } end, function() t:updates{ { id = 1, name = "c" }, { id = 2, name = "d" } } end,
      function() t:upsert{ id = 1, name = "c" } end, function() t:upserts{ { id = 1, name = "c" }, { id = 7, name = "d" } } end,
      function() t:delete(1) end, function() t:delete_where() end, function() t:where("true"):update({ n = 9 }, { returning = false }) end,
      function() t:insert_from(t:where("true"):select{ name = fastpg.sql "name || '2'" }) end, function() t:copy(many) end,
    } do
      refused(write)
      assert.equal(before, tostring(t{ order_by = "id" }))
      db:transaction(function()
        t:insert{ id = 50, name = "kept" }
        refused(write)
        assert.equal(3, #t)
        t:delete(50)
      end)
      assert.equal(before, tostring(t{ order_by = "id" }))
    end
  end)

  it("that fails undoes the write alone in a transaction of one's own, be it SQL's", function()
    local tx = db:begin()
    tx.t.thing:insert{ id = 1, name = "a" }
    refused(function() tx.t.thing:insert{ id = 2, name = "b" } end)
    tx:commit()
    assert.same({ 1 }, t:pluck("id"))
    db:acquire(function(own)
      own:execute "begin"
      own.t.thing:insert{ id = 3, name = "c" }
      refused(function() own.t.thing:insert{ id = 4, name = "d" } end)
      assert.equal("insert thing 1: 5", (told(function() own.t.thing:insert{ id = 5, name = "e" } end)))
      own:execute "commit"
      assert.equal("insert thing 1: 6", (told(function() own.t.thing:insert{ id = 6, name = "f" } end)))
    end)
    assert.same({ 1, 3, 5, 6 }, t:order_by("id"):pluck("id"))
  end)

  it("has its tx no longer than it runs", function()
    local kept
    local off = db:on("write", function(e) kept = e.tx end)
    db:transaction(function()
      t:insert{ name = "a" }
      local ok, err = pcall(kept.q, kept, "select 1 a")
      assert.is_false(ok)
      assert.is_true(fastpg.is(err, "closed"))
      assert.equal(1, #t)
    end)
    off()
  end)

  it("runs within a coroutine of its own making", function()
    local n = 0
    local off = db:on("write", function(e)
      n = n + 1
      coroutine.wrap(function() e.tx.t.log:insert{ what = "x" } end)()
      coroutine.wrap(function() db.t.log:insert{ what = "y" } end)()
    end)
    t:insert{ name = "a" }
    off()
    assert.equal(1, n)
    assert.equal(2, #db.t.log)
  end)
end)

describe("several hooks on writes", function()
  it("are told in order, each with tables of its own, until one fails", function()
    local list = {}
    local off_a = db:on("write", function(e)
      list[#list + 1] = "a" .. #e.keys
      e.keys[1], e.table, e.keys[2] = nil, "other", 3
    end)
    local off_b = db:on("write", function(e)
      list[#list + 1] = "b" .. #e.keys .. e.table
      if e.op == "delete" then error("no", 0) end
    end)
    local off_c = db:on("write", function() list[#list + 1] = "c" end)
    t:insert{ id = 1, name = "a" }
    assert.is_false(pcall(t.delete, t, 1))
    off_b()
    t:delete(1)
    off_a()
    off_c()
    t:insert{ id = 1, name = "a" }
    assert.equal("a1 b1thing c a1 b1thing a1 c", table.concat(list, " "))
  end)

  it("may be set in the middle of a transaction, and take themselves away", function()
    local list, off = {}, nil
    db:transaction(function()
      t:insert{ name = "a" }
      off = db:on("write", function(e)
        list[#list + 1] = show(e)
        off()
      end)
      t:insert{ name = "b" }
      t:insert{ name = "c" }
    end)
    assert.same({ "insert thing 1: 2" }, list)
  end)
end)

describe("a hook on writes of a scoped database", function()
  it("hears what is written under its scope, and writes there", function()
    local mine, list = db:scope{ tenant = 7 }, {}
    local off = mine:on("write", function(e)
      list[#list + 1] = show(e)
      e.tx.t.tenant_thing:upsert{ id = 100, v = "told" }
    end)
    mine.t.tenant_thing:insert{ id = 1, v = "a" }
    db:scope{ tenant = 8 }.t.tenant_thing:insert{ id = 1, v = "b" }
    db.t.tenant_thing:insert{ tenant = 9, id = 1 }
    db.t.tenant_thing:scope{ tenant = 7 }:insert{ id = 2 }
    off()
    assert.same({ "insert tenant_thing 1: 7/1", "insert tenant_thing 1: 7/2" }, list)
    assert.same({ 7 }, db.t.tenant_thing:where{ id = 100 }:pluck("tenant"))
  end)

  it("is not confined where it was set on the database", function()
    local off = db:on("write", function(e) e.tx.t.log:insert{ what = show(e) } end)
    db:scope{ tenant = 7 }.t.tenant_thing:insert{ id = 1 }
    off()
    assert.same({ "insert tenant_thing 1: 7/1" }, db.t.log:pluck("what"))
  end)
end)

describe("a hook on writes beside others", function()
  it("comes for the mark of a job", function()
    db:execute "create table if not exists job (id int primary key, status text); truncate job; insert into job values (1, 'pending')"
    assert.equal("update job 1: 1", (told(function() db.t.job:claim_one(function() end) end)))
    assert.equal("completed", db.t.job[1].status)
  end)

  it("is told while a table changes under it", function()
    local other = pg.cluster():connect{ database = db:item "select current_database()" }
    t:insert{ id = 1, name = "a" }
    other:execute "alter table thing add column extra int"
    assert.equal("update thing 1: 1", (told(function() t:update{ id = 1, extra = 3 } end)))
    other:execute "alter table thing drop column extra"
    assert.equal("update thing 1: 1", (told(function() t:update{ id = 1, name = "b" } end)))
    other:close()
  end)

  it("lets nobody else into a transaction that tasks share", function()
    local pool = pg.cluster():create_pool({ database = db:item "select current_database()" }, { max_size = 3 })
    local off = pool:on("write", function(e)
      fastpg.sleep(0.01)
      e.tx.t.log:insert{ what = e.keys[1] }
      if e.keys[1] % 2 == 0 then error("no", 0) end
    end)
    fastpg.run(function()
      local tx = pool:begin()
      local tasks = {}
      for i = 1, 6 do
        tasks[i] = fastpg.spawn(function() return pcall(tx.t.thing.insert, tx.t.thing, { id = i, name = "s" .. i }) end)
      end
      for i = 1, 6 do
        local ok, err = tasks[i]:wait()
        assert.equal(i % 2 == 1, ok, tostring(err))
      end
      tx:commit()
    end)
    off()
    pool:close()
    assert.same({ 1, 3, 5 }, t:order_by("id"):pluck("id"))
    assert.equal(3, #db.t.log)
  end)

  it("lets a source of t:copy go where it went without", function()
    local pool = pg.cluster():create_pool({ database = db:item "select current_database()" }, { max_size = 3 })
    local text, ok, n = told(function()
      local i = 0
      return pool.t.thing:copy(function()
        i = i + 1
        if i <= 3 then return { name = pool:item("select 'c' || ?::int", i) } end
      end)
    end, pool)
    pool:close()
    assert.is_true(ok, tostring(n))
    assert.equal(3, n)
    assert.equal("copy thing 3: none", text)
  end)
end)
