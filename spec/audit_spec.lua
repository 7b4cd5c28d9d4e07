-- SPDX-License-Identifier: MIT
--
-- What tries to pass an audit by: each text with what it is told as.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()
db:execute [[
  create table a (id serial primary key, name text);
  create table b (id int);
  create type atomic as enum ('x');
]]

-- The verbs that fn is told as; the first but CREATE is refused.
local function verbs(fn)
  local list, refused = {}, false
  local off = db:on("audit", function(e)
    list[#list + 1] = e.verb
    refused = e.verb ~= "CREATE"
    if refused then error("refused", 0) end
  end)
  local ok, err = pcall(fn)
  off()
  if refused then assert(not ok and tostring(err):find "refused$", tostring(err)) end
  return table.concat(list, " ")
end

local function of(sql) return verbs(function() db:execute(sql) end) end

describe("an audit", function()
  local cases = {
    ["a CTE that writes"] = {
      DELETE = {
        "with x as (delete from b returning id) select * from x", "with x as not materialized (delete from b returning id) select 1",
        "with recursive x as (select 1), y as (delete from b returning id) select * from y", "(with x as (delete from b returning 1) select 1)",
        "with x (a) as (delete from b returning id) table x", "with \"insert\" as (select 1), x as (delete from b returning 1) select 1",
      },
      CREATE = { "select * into temp t1 from a", "create table t2 as select 1", "create table if not exists t2 as (select 1)" },
    },
    ["EXPLAIN that runs"] = {
      DELETE = {
        "explain analyze delete from b", "explain analyse delete from b", "explain analyze verbose delete from b",
        "explain (analyze) delete from b", "explain (costs off, analyze) delete from b", "explain (analyze on) delete from b",
        "explain (analyze 'on') delete from b", "explain (analyze 1) delete from b", "explain (analyze off, analyze) delete from b",
        'explain ("analyze") delete from b', 'explain (costs off, "analyze") delete from b', 'explain (U&"\\0061nalyze") delete from b',
        "explain/**/analyze/**/delete from b",
      },
      CREATE = { "explain (analyze) select * into t6 from a", "explain analyze create table t5 as select 1" },
      EXECUTE = { "explain analyze execute p1" },
    },
    ["what hides behind text"] = {
      DELETE = {
        "select 1; delete from b", ";;delete from b", "/* c */ delete from b", "-- c\ndelete from b", "/* /* */ */delete from b",
        "select ';'; delete from b", "select $q$;$q$; delete from b", "select $a$ $b$ $a$; delete from b", "select E'\\';'; delete from b",
        "select 'it''s'; delete from b", "select U&'\\0041'; delete from b", 'select 1 as ";"; delete from b', "delete/**/from b", "\fdelete from b",
        "begin; delete from b; commit", "select '\\'; delete from b; --'", "values (1); table a; delete from b",
      },
    },
    ["bodies of functions that are none"] = {
      ["CREATE DELETE"] = {
        "create table tq (begin atomic); delete from b", "create domain begin atomic; delete from b", "create domain begin as atomic; delete from b",
        "create function g() returns int language sql begin atomic select case when true then 1 end; end; delete from b",
        "create or replace procedure pq() language sql begin atomic delete from b; end; delete from b",
      },
      ["CREATE"] = {
        "create function g() returns int language sql begin atomic delete from b; select 1; end",
        "create or replace procedure pp() language plpgsql as $$ begin delete from b; end $$",
        "create function g(x atomic) returns table (begin atomic) language sql begin atomic delete from b; select 'x'::atomic; end",
      },
    },
    ["other ways to change something"] = {
      DO = { "do $$ begin delete from b; end $$" }, CALL = { "call nope()" }, EXECUTE = { "execute p1" }, TRUNCATE = { "truncate a, b" },
      MERGE = { "merge into b using a on false when not matched then insert values (1)" },
      COPY = { "copy b from '/tmp/x'", "copy b from program 'echo 1'", "copy b to '/tmp/x'", "copy (select 1) to program 'cat'",
        "copy stdout to '/tmp/x'", "select 1; copy b to '/tmp/x'" },
      ALTER = { "alter system set work_mem = '4MB'" }, REFRESH = { "refresh materialized view nope" }, GRANT = { "grant select on a to public" },
    },
    ["what changes nothing"] = {
      [""] = {
        "select 1 as insert", "select 'delete from b'", "select 1 /*; delete from b */", "select 1 --; delete from b",
        "explain delete from b", "explain (analyze off) delete from b", "explain (analyze, analyze false) delete from b", "select $a$ ; delete from b $a$",
        "select * from a for update", 'with "insert" as (select 1) select * from "insert"', "prepare p9 as delete from b", "deallocate p9",
        "declare c cursor with hold for select 1; close c", "set local a.b = 'delete'",
      },
    },
  }
  for what, by_verbs in pairs(cases) do
    it("knows " .. what, function()
      for wanted, texts in pairs(by_verbs) do
        for _, sql in ipairs(texts) do assert.equal(wanted, of(sql), sql) end
      end
    end)
  end

  it("reads backslashes both ways behind what may change that in its batch", function()
    local evil = [[with x as (select 'a\''), y as (delete from b returning 1) select ', z as (select 1) select 'b']]
    assert.equal("DELETE", verbs(function()
      db:pipeline(function(p)
        p:execute "set standard_conforming_strings = off"
        p:q(evil)
      end)
    end))
    assert.equal("on", db:item "show standard_conforming_strings")
  end)

  it("is not passed by COPY, streams, prepared statements, batches, tables, classes, migrations", function()
    local t = db.t.a
    t:count()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir .. " && echo 'create table m1 (id int);' > " .. dir .. "/0001_a.sql")
    local prepared = db:prepare "delete from b"
    local ways = {
      COPY = function() db:copy_from("copy b from stdin", "") end,
      DELETE = function() prepared() end,
      INSERT = function() db:executemany("insert into b values (?)", { { 1 } }) end,
      UPDATE = function() db:pipeline(function(p) p.t.a:update{ id = 1, name = "x" } end) end,
      MERGE = function() db:results "select 1; merge into b using a on false when matched then delete" end,
      DROP = function() t:drop() end,
      ALTER = function() db:transaction({ settings = { ["app.x"] = "1" } }, function() db:execute "alter table a add x int" end) end,
      CREATE = function() fastpg.migrate(db, dir) end,
    }
    for wanted, way in pairs(ways) do assert.equal(wanted, verbs(way):match "^%S+") end
    assert.equal("CREATE", verbs(function() db:create(fastpg.class("Dog", { "id int", "name text" }), {}) end))
    assert.equal("DELETE", verbs(function() db:copy_to "copy (delete from b returning *) to stdout" end))
    assert.equal("COPY", verbs(function() t:copy{ { name = "x" } } end))
    assert.equal("DELETE", verbs(function() for _ in db:each "delete from b returning 1" do end end)) -- luacheck: ignore
    assert.equal("INSERT", verbs(function() db:transaction({ id = "x" }, function() end) end):match "^%S+")
    os.execute("rm -r " .. dir)
    assert.equal(0, #t)
  end)
end)
