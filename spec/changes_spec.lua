-- SPDX-License-Identifier: MIT
--
-- changes: what DDL makes forget, statement by statement; and set_config.c: what a call may set.

local changes = require "fastpg.sql.changes"
local core = require "fastpg.core"

local function of(sql, conn)
  conn = conn or { path = "'public'", has_temporaries = function() return nil end }
  return changes.of(conn, sql, core.statements(sql, true))
end

local function keys(set)
  local list = {}
  for name in pairs(set or {}) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, " ")
end

-- "all", or what it has.
local function told(change)
  if change.all then return change.any_temps and "all, temps" or "all" end
  local parts = {}
  if change.plans then parts[#parts + 1] = "plans" end
  for _, field in ipairs{ "names", "temps", "lasting" } do
    if change[field] then parts[#parts + 1] = field .. ":" .. keys(change[field]) end
  end
  if change.private then parts[#parts + 1] = "private" end
  return table.concat(parts, ", ")
end

describe("changes:", function()
  for sql, expected in pairs{
    ["create table t (a int)"] = "plans, names:t",
    ["CREATE UNLOGGED TABLE IF NOT EXISTS s.T (a int)"] = "plans, names:s.t t",
    ['create table "S x"."T.u" (a int)'] = "plans, names:s x.t.u t.u u",
    ["create table t (a int references u)"] = "all",
    ["create table t () inherits (u)"] = "all",
    ["create table t partition of u for values in (1)"] = "all",
    ['create table U&"\\0074" (a int)'] = "all",
    ["create table größe (a int)"] = "all",
    ["create table " .. ("x"):rep(61) .. " (a int)"] = "all",
    ["create table t as select 1"] = "plans, names:t",
    ["select 1 as a into t"] = "plans, names:t",
    ["select 1 as a into temporary table t"] = "temps:t, lasting:t",
    ["select 1 as a into temp t from u"] = "temps:t, lasting:t",
    ["select a, b, c, d, e, f, g, h, i, j, k, l, m into temp t from u"] = "all, temps",
    ["explain analyze create table t as select 1"] = "all, temps",
    ["create temp table t (a int)"] = "temps:t, lasting:t",
    ["create table pg_temp.t (a int)"] = "temps:pg_temp.t t, lasting:pg_temp.t t",
    ["create local temporary table t (a int primary key) on commit drop"] = "temps:t",
    ["create temp table t on commit drop as select 1"] = "temps:t",
    ["create temp table t as select 1 on_, commit from drop"] = "temps:t, lasting:t",
    ["create temp table t (a int references u) on commit drop"] = "temps:t, private",
    ["create temp view v as select 1"] = "temps:v, lasting:v",
    ["create or replace view v as select 1"] = "plans, names:v",
    ["create materialized view v as select 1"] = "plans, names:v",
    ["create sequence q"] = "plans, names:q",
    ["create unique index concurrently if not exists i on t (a)"] = "names:i",
    ["create index on t (a)"] = "",
    ["drop index i"] = "names:i",
    ["drop index if exists s.i, j"] = "names:i j s.i",
    ["drop index i cascade"] = "all",
    ["create function f() returns int language sql as 'select 1'"] = "plans",
    ["drop function f"] = "plans",
    ["drop function f cascade"] = "all",
    ["create trigger x before insert on t for each row execute function f()"] = "",
    ["create role r"] = "", ["alter role r set search_path = a"] = "", ["alter role r rename to s"] = "all",
    ["alter system set work_mem = 1"] = "", ["alter default privileges grant select on tables to r"] = "",
    ["create schema s"] = "all", ["create extension e"] = "all", ["create type e as enum ('a')"] = "all",
    ["drop table t"] = "all", ["alter table t add a int"] = "all", ["alter table t rename to u"] = "all",
    ["alter index i rename to j"] = "all", ["alter index i set (fillfactor = 70)"] = "",
    ["import foreign schema s from server x into y"] = "all",
    ["discard temp"] = "private", ["discard all"] = "private",
    ["create index i on t (a); create temp table u (a int) on commit drop"] = "names:i, temps:u",
    ["create temp table u (a int); alter table t add b int"] = "all",
    ["select 1"] = "all", -- that something changed is known, and not by what
  } do
    it(sql, function() assert.equal(expected, told(of(sql))) end)
  end

  it("of a text that nobody knows is all", function() assert.is_true(changes.of({}, nil, nil).all) end)

  it("under a search_path of temporary tables a table is one", function()
    local conn = { path = "'pg_temp', 'public'", has_temporaries = function() return true end }
    assert.equal("temps:t, lasting:t", told(of("create table t (a int)", conn)))
    assert.equal("all, temps", told(of("alter table t rename to u", conn)))
  end)

  it("rights of a schema, and who is whose member, decide what names mean", function()
    local function rights(sql) return told(changes.of_rights(core.statements(sql, true))) end
    assert.equal("plans", rights "grant select on t to r")
    assert.equal("plans", rights "revoke all on function f from r")
    assert.equal("all", rights "grant usage on schema s to r")
    assert.equal("all", rights "grant r to s")
    assert.is_true(changes.of_rights(nil).all)
  end)

  it("texts that may name one", function()
    local set = { t = true, ["s.t"] = true }
    for _, sql in ipairs{ "select * from t", 'select * from "t"', "select T.a from s.T", "select 't'::regclass",
      "select * from u, t", "table t", 'select * from U&"\\0074"', "select E'\\x74'::regclass" } do
      assert.is_true(changes.mentions(set, sql), sql)
    end
    for _, sql in ipairs{ "select * from tt", "select at from b", "select 1", "select t1, at_2 from x" } do
      assert.is_false(changes.mentions(set, sql), sql)
    end
    assert.is_true(changes.matcher(set) "t_pkey")
    assert.is_true(changes.matcher(set) "x.T")
    assert.is_false(changes.matcher(set) "tt")
  end)
end)

describe("what a call may set:", function()
  for sql, expected in pairs{
    ["select set_config('app.x', 'v', true)"] = "nil", ["select set_config('work_mem', $1, false)"] = "nil",
    ["select set_config('search_path', 'v', true)"] = "path, local",
    ["select set_config('search_path', f(1, true), false)"] = "path",
    ["select set_config('search_path', 'a', true and false)"] = "path", ["select set_config('search_path', 'a', true"] = "path",
    ["select pg_catalog.set_config('ROLE', 'v', true)"] = "any, local", ["select set_config($1, $2, true)"] = "any, local",
    ["select set_config($1, $2, $3)"] = "any",
    ["select set_config('search' || '_path', 'a', true)"] = "any", ["select set_config('a' 'b', 'a', true)"] = "any",
    ["select set_config(E'search_path', 'a', true)"] = "any, local",
    ["select set_config(setting_name => 'search_path', new_value => 'a', is_local => true)"] = "any",
    [ [[select "set_config"('app.x', 'a', true), set_config('search_path', 'x', true)]] ] = "path, local",
    [ [[select U&"set\005fconfig"('search_path', 'x', true)]] ] = "path, local",
    ["select set_config('app.x', set_config('search_path', 'y', false), true)"] = "any",
    ["select current_setting('search_path')"] = "nil", ["show search_path"] = "nil", ["select 'search_path'"] = "path",
    ["select f() /* search_path */"] = "path", ["select f() -- Search_Path"] = "path",
    ["do $$ begin perform set_config('search_path', 'x', true); end $$"] = "any",
    ["do $$ begin set local search_path = x; end $$"] = "path",
  } do
    it(sql, function()
      local sets, is_local = core.sets_by_call(sql, true)
      assert.equal(expected, tostring(sets) .. (is_local and ", local" or ""))
    end)
  end
end)
