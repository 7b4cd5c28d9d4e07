-- SPDX-License-Identifier: MIT
--
-- Attacks on filtered Tables: each way to read, change, take over or create a row of another tenant
-- is repelled, and beside each stands the same call on one's own rows, which works.
--
-- Every case runs on a Table filtered by xtra, by scope, and on a transaction's handle of a Table
-- with xtra.  After it the rows of the others are looked at, and what the attack gave back is
-- searched for anything secret.

local fastpg = require "fastpg"
local core = require "fastpg.core"
local pg = require "spec.support.pg"

local null, sql = fastpg.null, fastpg.sql
local db
local untouched -- what others() says after a reset

local SETUP = [[
  create table note (
    id serial primary key, tenant int, email text unique, body text, n int not null default 0, tags text[]);
  create table ledger (tenant int, id int, body text, primary key (id, tenant));
  create table vault (x text);
  create table place (code text primary key, tenant int, body text);
]]

local RESET = [[
  delete from note; delete from ledger; delete from vault; delete from place;
  select setval('note_id_seq', 1, false);
  insert into note (tenant, email, body, n) values
    (1, 'a@1', 'mine', 10), (1, 'b@1', 'mine too', 20),
    (2, 'a@2', 'secret', 30), (2, 'b@2', 'secret too', 40), (null, 'n@0', 'secret of nobody', 50);
  insert into ledger values (1, 1, 'mine'), (2, 1, 'secret'), (2, 2, 'secret two');
  insert into vault values ('secret of the vault');
  insert into place values ('x', 1, 'mine'), ('y', 2, 'secret');
]]

-- All that is not tenant 1's.
local OTHERS = [[
  select 'note' as t, note::text as row from note where tenant is distinct from 1
  union all select 'ledger', ledger::text from ledger where tenant is distinct from 1
  union all select 'vault', vault::text from vault
  union all select 'place', place::text from place where tenant is distinct from 1
  order by 1, 2]]

local function others()
  return tostring(db:q(OTHERS))
end

-- Whether anything secret is in what came back.
local function leaks(value, seen)
  if type(value) == "string" then return value:find("secret", 1, true) ~= nil end
  if type(value) ~= "table" or seen[value] then return false end
  seen[value] = true
  for k, v in next, value do
    if leaks(k, seen) or leaks(v, seen) then return true end
  end
  return false
end

local function collect(iterator)
  local list = {}
  for row in iterator do list[#list + 1] = row end
  return list
end

-- ---- the cases ------------------------------------------------------------------------------

-- { what, attack(t), how it ends, control(t) }.  How it ends: the name of an error, or { value }
-- where the call has an answer that tells nothing.  A control returns true.
local cases = {}
local function case(what, attack, ending, control)
  cases[#cases + 1] = { what = what, attack = attack, ending = ending, control = control }
end

-- reading by key
case("a foreign row by index", function(t) return t.note[3] end, "not_found", function(t) return t.note[1].body == "mine" end)
case("a foreign row by a string of the key's form", function(t) return t.note["3"] end, "not_found",
  function(t) return t.note["2"].body == "mine too" end)
case("a foreign row by get", function(t) return t.note:get(3) end, { nil }, function(t) return t.note:get(1).id == 1 end)
case("a foreign row by get with a list", function(t) return t.note:get{ 3 } end, { nil }, function(t) return t.note:get{ 1 }.id == 1 end)
case("a foreign row by get with names", function(t) return t.note:get{ id = 3 } end, { nil },
  function(t) return t.note:get{ id = 1 }.id == 1 end)
case("a row of nobody by get", function(t) return t.note:get(5) end, { nil }, function(t) return t.note:get(2).id == 2 end)
case("has tells nothing", function(t) return t.note:has(3) end, { false }, function(t) return t.note:has(1) end)
case("a compound key with the other tenant", function(t) return t.ledger[{ 1, 2 }] end, "not_found",
  function(t) return t.ledger[{ 1, 1 }].body == "mine" end)
case("a compound key by names with the other tenant", function(t) return t.ledger:get{ id = 2, tenant = 2 } end, { nil },
  function(t) return t.ledger:get{ id = 1, tenant = 1 }.body == "mine" end)
case("a compound key without the tenant stays ours", function(t) return t.ledger:get{ id = 2 } end, { nil },
  function(t) return t.ledger:get{ id = 1 }.body == "mine" end)
case("a compound key of too many", function(t) return t.ledger:get{ 1, 2, 2 } end, "invalid_argument",
  function(t) return t.ledger:has{ 1, 1 } end)
case("a text key", function(t) return t.place[{ "y" }] end, "not_found", function(t) return t.place[{ "x" }].body == "mine" end)
case("a text key that is SQL", function(t) return t.place:get("y' or code = 'y") end, { nil },
  function(t) return t.place:get("x") ~= nil end)
case("SQL as a key", function(t) return t.note:get(sql "3") end, "invalid_argument", function(t) return t.note:has(1) end)
case("SQL in a list key", function(t) return t.ledger:get{ sql "1", sql "2" } end, "invalid_argument",
  function(t) return t.ledger:has{ 1, 1 } end)
case("a nil key", function(t) return t.note:get(nil) end, "invalid_argument", function(t) return t.note:get(1) ~= nil end)
case("a NULL key", function(t) return t.note:get(null) end, "invalid_argument", function(t) return t.note:get(1) ~= nil end)

-- reading many
case("all rows by call", function(t) return #t.note() end, { 2 }, function(t) return t.note()[1].body == "mine" end)
case("all rows by all", function(t) return #t.note:all() end, { 2 }, function(t) return #t.note:all{} == 2 end)
case("all rows by a condition", function(t) return #t.note("true") end, { 2 }, function(t) return #t.note("n > 10") == 1 end)
case("the other tenant in a fragment", function(t) return #t.note("tenant = ?", 2) end, { 0 },
  function(t) return #t.note("tenant = ?", 1) == 2 end)
case("or in a fragment", function(t) return #t.note("true or tenant = 2") end, { 2 },
  function(t) return #t.note("n = 10 or n = 20") == 2 end)
case("the other tenant in a map", function(t) return #t.note{ where = { tenant = 2 } } end, { 0 },
  function(t) return #t.note{ where = { tenant = 1 } } == 2 end)
case("all tenants in a list", function(t) return #t.note{ where = { tenant = { 1, 2 } } } end, { 2 },
  function(t) return #t.note{ where = { id = { 1, 2, 3 } } } == 2 end)
case("nobody's in a map", function(t) return #t.note{ where = { tenant = null } } end, { 0 },
  function(t) return #t.note{ where = { tags = null } } == 2 end)
case("SQL in a map", function(t) return #t.note{ where = { tenant = sql "tenant" } } end, { 2 },
  function(t) return #t.note{ where = { n = sql "id * 10" } } == 2 end)
case("a sub-select in a map", function(t) return t.note{ where = { body = sql "(select x from vault)" } } end, "invalid_argument",
  function(t) return #t.note{ where = { body = sql "lower('MINE')" } } == 1 end)
case("an empty map", function(t) return t.note{ where = {} } end, "invalid_argument", function(t) return #t.note{} == 2 end)
case("nil for rows", function(t) return t.note(nil) end, "invalid_argument", function(t) return #t.note() == 2 end)
case("nil for all", function(t) return t.note:all(nil) end, "invalid_argument", function(t) return #t.note:all() == 2 end)
case("limit and offset", function(t) return #t.note{ limit = 100, offset = 2 } end, { 0 },
  function(t) return #t.note{ limit = 1, offset = 1 } == 1 end)
case("limit in words", function(t) return t.note{ limit = "all" } end, "invalid_argument", function(t) return #t.note{ limit = 1 } == 1 end)
case("offset in words", function(t) return t.note{ offset = "0 union select 1" } end, "invalid_argument",
  function(t) return #t.note{ offset = 1 } == 1 end)
case("order by a foreign column", function(t) return #t.note{ order_by = "tenant nulls first" } end, { 2 },
  function(t) return t.note{ order_by = "n desc" }[1].n == 20 end)
case("order_by with more behind it", function(t) return t.note{ order_by = "id limit 10 offset 0) --" } end, "invalid_argument",
  function(t) return t.note{ order_by = { "n desc" } }[1].n == 20 end)
case("order_by with a sub-select", function(t) return t.note{ order_by = "(select x from vault)" } end, "invalid_argument",
  function(t) return #t.note{ order_by = "n + 1" } == 2 end)
case("order_by for update", function(t) return t.note{ order_by = "id for update" } end, "invalid_argument",
  function(t) return #t.note{ order_by = "id" } == 2 end)
case("order_by with an unknown name", function(t) return t.note{ order_by = { "id; drop table note" } } end, "undefined_column",
  function(t) return #t.note{ order_by = { "id" } } == 2 end)
case("select from another table", function(t) return t.note{ select = "x from vault" } end, "invalid_argument",
  function(t) return t.note{ select = "body" }[1].body == "mine" end)
case("select with a sub-select", function(t) return t.note{ select = "(select string_agg(x, '') from vault) as x" } end,
  "invalid_argument", function(t) return t.note{ select = "upper(body) as x" }[1].x == "MINE" end)
case("select with from in brackets", function(t) return t.note{ select = "id, (table vault)" } end, "invalid_argument",
  function(t) return t.note{ select = "(id, n)" }[1] ~= nil end)
case("select into", function(t) return t.note{ select = "* into stolen" } end, "invalid_argument",
  function(t) return #t.note{ select = "*" } == 2 end)
case("select with union", function(t) return t.note{ select = "body union all select x" } end, "invalid_argument",
  function(t) return #t.note{ select = "distinct body" } == 2 end)
case("a window over everything", function(t) return t.note{ select = "count(*) over () as c" }[1].c end, { 2 },
  function(t) return t.note{ select = "row_number() over (order by n) as c", order_by = "n" }[2].c == 2 end)
case("a named window", function(t) return t.note{ select = "count(*) over w", order_by = "1 window w as ()" } end,
  "invalid_argument", function(t) return #t.note{ order_by = "1" } == 2 end)
case("an aggregate over everything", function(t) return t.note{ select = "string_agg(body, '') as s" }[1].s end, { "minemine too" },
  function(t) return t.note{ select = "max(n) as m" }[1].m == 20 end)
case("a whole row of another table", function(t) return t.note{ select = "vault" } end, "undefined_column",
  function(t) return t.note{ select = "note" }[1] ~= nil end)
case("a column of another table", function(t) return t.note{ where = "vault.x is not null" } end, "undefined_table",
  function(t) return #t.note{ where = "note.id is not null" } == 2 end)
case("an unknown column in a list", function(t) return t.note{ select = { "x from vault" } } end, "undefined_column",
  function(t) return t.note{ select = { "body" } }[1].body == "mine" end)
case("with_pk", function(t) return #t.note{ with_pk = true } end, { 2 },
  function(t) return t.note{ with_pk = true, order_by = "id" }[2][1] == 2 end)
case("with_pk and where", function(t) return t.note{ with_pk = true, where = "id = 3" } end, { {} },
  function(t) return t.note{ with_pk = true, where = "id = 1" }[1][2].body == "mine" end)
case("as_cls = false", function(t) return t.note{ as_cls = false, where = "id = 3" } end, { {} },
  function(t) return #t.note{ as_cls = false } == 2 end)
case("an unknown option", function(t) return t.note{ tenant = 2 } end, "invalid_argument", function(t) return #t.note{} == 2 end)
case("more behind the options", function(t) return t.note({ limit = 1 }, "true") end, "invalid_argument",
  function(t) return #t.note{ limit = 1 } == 1 end)
case("selectone of a foreign row", function(t) return t.note:selectone("id = 3") end, "not_found",
  function(t) return t.note:selectone("id = 1").body == "mine" end)
case("selectone of anything", function(t) return t.note:selectone("true or id = 3") end, "not_unique",
  function(t) return t.note:selectone("n = ?", 20).id == 2 end)
case("first of a foreign row", function(t) return t.note:first("id = 3") end, { nil },
  function(t) return t.note:first("id = 2").id == 2 end)
case("length", function(t) return #t.note end, { 2 }, function(t) return #t.ledger == 1 end)
case("count", function(t) return t.note:count() end, { 2 }, function(t) return t.note:count{} == 2 end)
case("count of foreign rows", function(t) return t.note:count("tenant = 2") end, { 0 }, function(t) return t.note:count("n = 10") == 1 end)
case("count of a map", function(t) return t.note:count{ where = { tenant = 2 } } end, { 0 },
  function(t) return t.note:count{ where = { n = 10 } } == 1 end)
case("count of nil", function(t) return t.note:count(nil) end, "invalid_argument", function(t) return t.note:count() == 2 end)
case("count of an empty map", function(t) return t.note:count{ where = {} } end, "invalid_argument",
  function(t) return t.note:count{} == 2 end)
case("each", function(t) local n = 0; t.note:each(function() n = n + 1 end); return n end, { 2 },
  function(t) local got; t.note:each("id = 1", function(row) got = row end); return got.body == "mine" end)
case("each of foreign rows", function(t) local n = 0; t.note:each("tenant = ?", 2, function() n = n + 1 end); return n end, { 0 },
  function(t) local n = 0; t.note:each("tenant = ?", 1, function() n = n + 1 end); return n == 2 end)
case("each as an iterator", function(t) return #collect(t.note:each{ where = "id = 3" }) end, { 0 },
  function(t) return #collect(t.note:each{ where = "id = 1" }) == 1 end)
case("each of nil", function(t) return t.note:each(nil) end, "invalid_argument", function(t) return #collect(t.note:each()) == 2 end)

-- groups
case("groups of everything", function(t) return t.note:groupby("tenant", "count(*)") end, { { [1] = 2 } },
  function(t) return t.note:groupby("body", "sum(n)").mine == 10 end)
case("groups of foreign rows", function(t) return t.note:groupby("tenant", "count(*)", { where = "tenant = 2" }) end, { {} },
  function(t) return t.note:groupby("tenant", "count(*)", { where = "n = 10" })[1] == 1 end)
case("an aggregate that ends the list", function(t) return t.note:groupby("tenant", "max(x) from vault --") end, "invalid_argument",
  function(t) return t.note:groupby("tenant", "max(n)")[1] == 20 end)
case("an aggregate with a sub-select", function(t) return t.note:groupby("tenant", "max((select x from vault))") end,
  "invalid_argument", function(t) return t.note:groupby("tenant", "max(n + 1)")[1] == 21 end)
case("an aggregate with having", function(t) return t.note:groupby("tenant", "count(*) having true") end, "invalid_argument",
  function(t) return t.note:groupby("tenant", { "count(*)" })[1] == 2 end)
case("SQL as a group", function(t) return t.note:groupby("tenant from vault", "count(*)") end, "undefined_column",
  function(t) return t.note:groupby({ "tenant" }, "count(*)")[1] == 2 end)
case("groups of an empty map", function(t) return t.note:groupby("tenant", "count(*)", { where = {} }) end, "invalid_argument",
  function(t) return t.note:groupby("tenant", "count(*)", {})[1] == 2 end)

-- queries
case("a query of everything", function(t) return #t.note:where("true")() end, { 2 }, function(t) return #t.note:where("n = 10")() == 1 end)
case("a query of foreign rows", function(t) return #t.note:where{ tenant = 2 }() end, { 0 },
  function(t) return #t.note:where{ tenant = 1 }() == 2 end)
case("a query without a condition", function(t) return #t.note:order_by("id")() end, { 2 }, function(t) return #t.note:limit(1)() == 1 end)
case("or in the second where", function(t) return #t.note:where("id = 3"):where("false or true")() end, { 0 },
  function(t) return #t.note:where("id = 1"):where("n = 10")() == 1 end)
case("where of nil", function(t) return t.note:where(nil) end, "invalid_argument", function(t) return #t.note:where("true")() == 2 end)
case("where of nothing", function(t) return t.note:where() end, "invalid_argument", function(t) return #t.note:where("true")() == 2 end)
case("where of an empty map", function(t) return t.note:where{} end, "invalid_argument",
  function(t) return #t.note:where{ id = 1 }() == 1 end)
case("where of blanks", function(t) return t.note:where(" ") end, "invalid_argument", function(t) return #t.note:where("true")() == 2 end)
case("first of a query", function(t) return t.note:where("id = 3"):first() end, { nil },
  function(t) return t.note:where("id = 1"):first().body == "mine" end)
case("one of a query", function(t) return t.note:where("id = 3"):one() end, "not_found",
  function(t) return t.note:where("id = 1"):one().body == "mine" end)
case("count of a query", function(t) return t.note:where("tenant = 2"):count() end, { 0 },
  function(t) return t.note:where("tenant = 1"):count() == 2 end)
case("count of a limited query", function(t) return t.note:limit(10):count() end, { 2 }, function(t) return t.note:limit(1):count() == 1 end)
case("exists", function(t) return t.note:where("id = 3"):exists() end, { false }, function(t) return t.note:where("id = 1"):exists() end)
case("each of a query", function(t) local n = 0; t.note:where("true"):each(function() n = n + 1 end); return n end, { 2 },
  function(t) local n = 0; t.note:where("id = 1"):each(function() n = n + 1 end); return n == 1 end)
case("select of a query", function(t) return t.note:select("(select x from vault)")() end, "invalid_argument",
  function(t) return #t.note:select("body")() == 2 end)
case("order_by of a query", function(t) return t.note:order_by("id fetch first 1 row only")() end, "invalid_argument",
  function(t) return #t.note:order_by("n desc")() == 2 end)
case("explain that runs", function(t) return t.note:where("true) or (true"):explain() end, "invalid_argument",
  function(t) return t.note:where("id = 3"):explain():find("tenant = 1", 1, true) ~= nil end)
case("the text of a query", function(t) return tostring(t.note:where("true) --")) end, "invalid_argument",
  function(t) return tostring(t.note:where("id = 3")):find('"tenant" = $1', 1, true) ~= nil end)
case("update by a query", function(t) return #t.note:where("true"):update{ body = "x" } end, { 2 },
  function(t) return t.note:where("id = 1"):update{ n = 11 }[1].n == 11 end)
case("update of foreign rows by a query", function(t) return #t.note:where("id = 3"):update{ body = "taken" } end, { 0 },
  function(t) return #t.note:where("id = 1"):update{ body = "kept" } == 1 end)
case("giving rows away by a query", function(t) return #t.note:where("true"):update{ tenant = 2, n = 1 } end, { 2 },
  function(t) return t.note:where("true"):update{ tenant = 2, n = 2 }[1].tenant == 1 end)
case("giving rows away by a query, nothing else", function(t) return t.note:where("true"):update{ tenant = 2 } end, "invalid_argument",
  function(t) return #t.note:where("true"):update{ n = 2 } == 2 end)
case("giving rows away by SQL", function(t) return t.note:where("true"):update{ tenant = sql "2", n = 1 } and #t.note end, { 2 },
  function(t) return #t.note:where("true"):update{ n = sql "n + 1" } == 2 end)
case("a sub-select as a value", function(t) return t.note:where("true"):update{ body = sql "(select x from vault)" } end,
  "invalid_argument", function(t) return t.note:where("id = 1"):update{ body = sql "upper(body)" }[1].body == "MINE" end)
case("a value that goes on", function(t) return t.note:where("true"):update{ n = sql "1, tenant = 2" } end, "datatype_mismatch",
  function(t) return #t.note:where("true"):update{ n = sql "1 + 1" } == 2 end)
case("a value that closes its bracket", function(t) return t.note:where("true"):update{ n = sql "1), tenant = (2" } end,
  "invalid_argument", function(t) return #t.note:where("true"):update{ n = sql "(1)" } == 2 end)
case("a limited update", function(t) return #t.note:where("tenant = 2"):limit(5):update{ body = "x" } end, { 0 },
  function(t) return #t.note:order_by("id"):limit(1):update{ body = "x" } == 1 end)
case("delete by a query", function(t) return #t.note:where("true"):delete() end, { 2 },
  function(t) return #t.note:where("id = 1"):delete() == 1 end)
case("delete of foreign rows by a query", function(t) return #t.note:where("id = 3 or tenant = 2"):delete() end, { 0 },
  function(t) return #t.note:where("id = 2"):delete() == 1 end)
case("a limited delete", function(t) return #t.note:order_by("id desc"):limit(5):delete() end, { 2 },
  function(t) return #t.note:order_by("id desc"):limit(1):delete() == 1 end)
case("a limited delete with an offset", function(t) return #t.note:order_by("id"):offset(1):limit(5):delete() end, { 1 },
  function(t) return t.note:order_by("id"):offset(1):limit(5):delete()[1].id == 2 end)

-- inserting
case("a row for the other", function(t) return t.note:insert{ tenant = 2, email = "x", body = "planted" }.tenant end, { 1 },
  function(t) return t.note:insert{ email = "x", body = "mine" }.tenant == 1 end)
case("a row for the other by overrides", function(t) return t.note:insert({ email = "x" }, { tenant = 2 }).tenant end, { 1 },
  function(t) return t.note:insert({ email = "x" }, { n = 7 }).n == 7 end)
case("a row for the other by SQL", function(t) return t.note:insert{ email = "x", tenant = sql "2" }.tenant end, { 1 },
  function(t) return t.note:insert{ email = "x", n = sql "3 + 4" }.n == 7 end)
case("a row for nobody", function(t) return t.note:insert{ email = "x", tenant = null }.tenant end, { 1 },
  function(t) return t.note:insert{ email = "x", body = null }.body == nil end)
case("an empty row", function(t) return t.note:insert{}.tenant end, { 1 }, function(t) return t.note:insert{}.n == 0 end)
case("a sub-select in a row", function(t) return t.note:insert{ body = sql "(select x from vault)" } end, "invalid_argument",
  function(t) return t.note:insert{ body = sql "lower('X')" }.body == "x" end)
case("a sub-select in the overrides", function(t) return t.note:insert({}, { body = sql "(table vault)" }) end, "invalid_argument",
  function(t) return t.note:insert({}, { body = sql "lower('X')" }).body == "x" end)
case("SQL that makes a second row", function(t) return t.note:insert{ n = sql "1), (2" } end, "invalid_argument",
  function(t) return t.note:insert{ n = sql "(2)" }.n == 2 end)
case("a foreign row given to insert", function(t)
  local row = db:first("select * from note where id = 3")
  row.id, row.email, row.body = 77, "z", "copy"
  return t.note:insert(row).tenant
end, { 1 }, function(t) return t.note:insert{ id = 78 }.id == 78 end)
case("a foreign key on insert", function(t) return t.note:insert{ id = 3 } end, "unique_violation",
  function(t) return t.note:insert{ id = 79 }.id == 79 end)
case("on_conflict nothing tells nothing", function(t) return t.note:insert({ id = 3, body = "x" }, nil, { on_conflict = "nothing" }) end,
  { nil }, function(t) return t.note:insert({ id = 80 }, nil, { on_conflict = "nothing" }).id == 80 end)
case("on_conflict with SQL", function(t) return t.note:insert({ id = 3 }, nil, { on_conflict = "(id) do update set body = 'x'" }) end,
  "invalid_argument", function(t) return t.note:insert({ id = 1 }, nil, { on_conflict = "nothing" }) == nil end)
case("an unknown column", function(t) return t.note:insert{ ["tenant) values (2) --"] = 1 } end, "undefined_column",
  function(t) return t.note:insert{ n = 1 }.n == 1 end)
case("many rows for the other", function(t)
  local list = t.note:inserts{ { tenant = 2, email = "x" }, { tenant = null, n = 1 }, {} }
  return list[1].tenant + list[2].tenant + list[3].tenant
end, { 3 }, function(t) return #t.note:inserts{ { n = 1 }, { email = "y" } } == 2 end)
case("many rows for the other by overrides", function(t) return t.note:inserts({ {}, {} }, { tenant = 2 })[2].tenant end, { 1 },
  function(t) return t.note:inserts({ {}, {} }, { n = 3 })[2].n == 3 end)
case("one foreign key among many", function(t) return t.note:inserts{ { email = "x" }, { id = 3 } } end, "unique_violation",
  function(t) return #t.note:inserts({ { id = 3 }, { id = 81 } }, nil, { on_conflict = "nothing" }) == 1 end)

-- updating
case("a foreign row", function(t) return t.note:update{ id = 3, body = "taken" } end, "not_found",
  function(t) return t.note:update{ id = 1, body = "x" }.body == "x" end)
case("a foreign row with its tenant", function(t) return t.note:update{ id = 3, tenant = 2, body = "taken" } end, "not_found",
  function(t) return t.note:update{ id = 1, tenant = 1, body = "x" }.body == "x" end)
case("a foreign row by key", function(t) return t.note:update({ body = "taken" }, 3) end, "not_found",
  function(t) return t.note:update({ body = "x" }, 1).body == "x" end)
case("a foreign row by overrides", function(t) return t.note:update({ body = "taken" }, nil, { id = 3 }) end, "not_found",
  function(t) return t.note:update({ body = "x" }, nil, { id = 1 }).body == "x" end)
case("a fetched foreign row", function(t)
  local row = db:first("select * from note where id = 3")
  row.body = "taken"
  return t.note:update(row)
end, "not_found", function(t)
  local row = t.note[1]
  row.body = "x"
  return t.note:update(row).body == "x"
end)
case("a foreign row made to look ours", function(t)
  local row = db:first("select * from note where id = 3")
  row.tenant = 1
  return t.note:update(row)
end, "not_found", function(t) return t.note:update(t.note[2]).id == 2 end)
case("giving a row away", function(t) return t.note:update{ id = 1, tenant = 2 }.tenant end, { 1 },
  function(t) return t.note:update{ id = 1, n = 5 }.n == 5 end)
case("giving a row away by overrides", function(t) return t.note:update({ id = 1 }, nil, { tenant = 2 }).tenant end, { 1 },
  function(t) return t.note:update({ id = 1 }, nil, { n = 5 }).n == 5 end)
case("giving a row away by SQL", function(t) return t.note:update{ id = 1, tenant = sql "tenant + 1" }.tenant end, { 1 },
  function(t) return t.note:update{ id = 1, n = sql "n + 1" }.n == 11 end)
case("giving a row away by NULL", function(t) return t.note:update{ id = 1, tenant = null }.tenant end, { 1 },
  function(t) return t.note:update{ id = 1, body = null }.body == nil end)
case("giving a fetched row away", function(t)
  local row = t.note[1]
  row.tenant = nil
  return t.note:update(row).tenant
end, { 1 }, function(t)
  local row = t.note[1]
  row.body = nil
  return t.note:update(row).body == nil
end)
case("moving to a foreign key", function(t) return t.note:update({ id = 3 }, 1) end, "unique_violation",
  function(t) return t.note:update({ id = 90 }, 1).id == 90 end)
case("moving a compound key to the other", function(t) return t.ledger:update({ tenant = 2, body = "x" }, { 1, 1 }).tenant end, { 1 },
  function(t) return t.ledger:update({ id = 9 }, { 1, 1 }).id == 9 end)
case("a foreign row by a compound key", function(t) return t.ledger:update{ id = 1, tenant = 2, body = "taken" } end, "not_found",
  function(t) return t.ledger:update{ id = 1, body = "x" }.body == "x" end)
case("a foreign row by a compound key apart", function(t) return t.ledger:update({ body = "taken" }, { 1, 2 }) end, "not_found",
  function(t) return t.ledger:update({ body = "x" }, { 1, 1 }).body == "x" end)
case("a sub-select in an update", function(t) return t.note:update{ id = 1, body = sql "(select x from vault)" } end,
  "invalid_argument", function(t) return t.note:update{ id = 1, body = sql "upper(body)" }.body == "MINE" end)
case("SQL as the key of an update", function(t) return t.note:update{ id = sql "3", body = "x" } end, "invalid_argument",
  function(t) return t.note:update{ id = 1, body = "x" }.id == 1 end)
case("one foreign row among many", function(t) return t.note:updates{ { id = 1, body = "x" }, { id = 3, body = "x" } } end, "not_found",
  function(t) return #t.note:updates{ { id = 1, body = "x" }, { id = 2, n = 3 } } == 2 end)
case("giving many away", function(t) return t.note:updates({ { id = 1, n = 1 }, { id = 2, tenant = 2 } }, { tenant = 2 })[2].tenant end, { 1 },
  function(t) return t.note:updates({ { id = 1 }, { id = 2 } }, { n = 9 })[2].n == 9 end)

-- upserting
case("taking a row over", function(t) return t.note:upsert{ id = 3, body = "taken" } end, "not_found",
  function(t) return t.note:upsert{ id = 1, body = "x" }.body == "x" end)
case("taking a row over with its tenant", function(t) return t.note:upsert{ id = 3, tenant = 2, body = "taken" } end, "not_found",
  function(t) return t.note:upsert{ id = 91, tenant = 2 }.tenant == 1 end)
case("taking nobody's row over", function(t) return t.note:upsert{ id = 5, body = "taken" } end, "not_found",
  function(t) return t.note:upsert{ id = 92, body = "new" }.tenant == 1 end)
case("taking a row over by another key", function(t) return t.note:upsert({ email = "a@2", body = "taken" }, nil, { on = { "email" } }) end,
  "not_found", function(t) return t.note:upsert({ email = "a@1", body = "x" }, nil, { on = { "email" } }).id == 1 end)
case("taking a row over by overrides", function(t) return t.note:upsert({ body = "taken" }, { id = 3 }) end, "not_found",
  function(t) return t.note:upsert({ body = "x" }, { id = 2 }).body == "x" end)
case("taking a row over with nothing to set", function(t) return t.note:upsert{ id = 3 } end, "not_found",
  function(t) return t.note:upsert{ id = 1 }.body == "mine" end)
case("giving a row away by upsert", function(t) return t.note:upsert{ id = 1, tenant = 2 }.tenant end, { 1 },
  function(t) return t.note:upsert{ id = 1, n = 3 }.n == 3 end)
case("a compound upsert for the other", function(t) return t.ledger:upsert{ id = 2, tenant = 2, body = "new" }.tenant end, { 1 },
  function(t) return t.ledger:upsert{ id = 1, body = "x" }.body == "x" end)
case("an upsert with SQL as column", function(t) return t.note:upsert({ id = 3 }, nil, { on = { "id) do nothing --" } }) end,
  "undefined_column", function(t) return t.note:upsert({ id = 1 }, nil, { on = "id" }).id == 1 end)
case("an upsert with a sub-select", function(t) return t.note:upsert{ id = 1, body = sql "(select x from vault)" } end,
  "invalid_argument", function(t) return t.note:upsert{ id = 1, body = sql "lower('X')" }.body == "x" end)
case("one row of many taken over", function(t) return t.note:upserts{ { id = 1, body = "x" }, { id = 4, body = "taken" } } end,
  "not_found", function(t) return #t.note:upserts{ { id = 1, body = "x" }, { id = 93 }, { email = "q" } } == 3 end)
case("many taken over by another key", function(t)
  return t.note:upserts({ { email = "a@2", body = "taken" } }, nil, { on = { "email" } })
end, "not_found", function(t) return #t.note:upserts({ { email = "a@1", body = "x" } }, { tenant = 2 }, { on = "email" }) == 1 end)

-- deleting
case("deleting a foreign row", function(t) return t.note:delete(3) end, "not_found", function(t) return t.note:delete(1).id == 1 end)
case("deleting by a foreign row", function(t) return t.note:delete(db:first("select * from note where id = 3")) end, "not_found",
  function(t) return t.note:delete(t.note[1]).id == 1 end)
case("deleting by a compound key", function(t) return t.ledger:delete{ 1, 2 } end, "not_found",
  function(t) return t.ledger:delete{ 1, 1 }.body == "mine" end)
case("deleting nil", function(t) return t.note:delete(nil) end, "invalid_argument", function(t) return t.note:delete(2).id == 2 end)
case("deleting nothing named", function(t) return t.note:delete() end, "invalid_argument", function(t) return t.note:delete(2).id == 2 end)
case("deleting all", function(t) return #t.note:delete_where() end, { 2 }, function(t) return #t.ledger:delete_where() == 1 end)
case("deleting where true", function(t) return #t.note:delete_where("true or tenant = 2") end, { 2 },
  function(t) return #t.note:delete_where("n = ?", 10) == 1 end)
case("deleting where the tenant is the other", function(t) return #t.note:delete_where{ tenant = 2 } end, { 0 },
  function(t) return #t.note:delete_where{ n = { 10, 20 } } == 2 end)
case("deleting where nil", function(t) return t.note:delete_where(nil) end, "invalid_argument",
  function(t) return #t.note:delete_where("n = 10") == 1 end)
case("deleting where an empty map", function(t) return t.note:delete_where{} end, "invalid_argument",
  function(t) return #t.note:delete_where{ n = 10 } == 1 end)
case("deleting where blank", function(t) return t.note:delete_where("  ") end, "invalid_argument",
  function(t) return #t.note:delete_where("true") == 2 end)
case("deleting with a sub-select in a map", function(t) return t.note:delete_where{ n = sql "(select 10)" } end, "invalid_argument",
  function(t) return #t.note:delete_where{ n = sql "5 + 5" } == 1 end)
case("deleting with using", function(t) return t.note:delete_where("true) using vault where (true") end, "invalid_argument",
  function(t) return #t.note:delete_where("true") == 2 end)
case("dropping", function(t) return t.note:drop() end, "invalid_argument", function(t) return #t.note == 2 end)
case("dropping with cascade", function(t) return t.note:drop{ cascade = true } end, "invalid_argument",
  function(t) return #t.ledger == 1 end)

-- claiming
local function inside(fn)
  return function(t) return t.db:transaction(function() return fn(t) end) end
end
case("claiming a foreign row", inside(function(t) return t.note:claim("tenant = 2") end), { nil },
  inside(function(t) return t.note:claim("id = 1").body == "mine" end))
case("claiming everything", inside(function(t) return #t.note:claim{ limit = 10 } end), { 2 },
  inside(function(t) return t.note:claim{ order_by = "id desc" }.id == 2 end))
case("claiming by a map", inside(function(t) return t.note:claim{ where = { tenant = 2 } } end), { nil },
  inside(function(t) return t.note:claim{ where = { id = 2 } }.id == 2 end))
case("claiming by SQL in a map", inside(function(t) return t.note:claim{ where = { id = sql "(select 3)" } } end), "invalid_argument",
  inside(function(t) return t.note:claim{ where = { id = sql "1 + 1" } }.id == 2 end))
case("claiming nil", inside(function(t) return t.note:claim(nil) end), "invalid_argument", inside(function(t) return t.note:claim().id ~= nil end))
case("claiming by a fragment that closes", inside(function(t) return t.note:claim("true) or (true") end), "invalid_argument",
  inside(function(t) return t.note:claim("true").tenant == 1 end))
case("claiming with a sub-select", inside(function(t) return t.note:claim{ select = "(select x from vault)" } end), "invalid_argument",
  inside(function(t) return t.note:claim{ select = "id, body" }.body ~= nil end))
case("claiming one of the others' jobs", function(t)
  return t.note:claim_one({ status_col = "body", pending = "secret", completed = "taken" }, function() end)
end, { nil }, function(t)
  return t.note:claim_one({ status_col = "body", pending = "mine", completed = "x" }, function() end).row.id == 1
end)
case("claiming one by a fragment", function(t)
  return t.note:claim_one({ status_col = "body", pending = "mine", completed = "x", where = "true) or (true" }, function() end)
end, "invalid_argument", function(t)
  return t.note:claim_one({ status_col = "body", pending = "mine", completed = "x", where = "n = 10" }, function() end).row.id == 1
end)
case("claiming with the tenant as status", function(t)
  return t.note:claim_one({ status_col = "tenant", pending = 2, completed = 1 }, function() end)
end, "invalid_argument", function(t)
  return t.note:claim_one({ status_col = "n", pending = 10, completed = 11 }, function() end).row.n == 10
end)
case("claiming with a sub-select as status", function(t)
  return t.note:claim_one({ status_col = "body", pending = "mine", completed = sql "(select x from vault)" }, function() end)
end, "invalid_argument", function(t)
  return t.note:claim_one({ status_col = "body", pending = "mine", completed = sql "upper('x')" }, function() end).row.id == 1
end)
case("claiming a job and giving it away", function(t)
  t.note:claim_one({ status_col = "body", pending = "mine", completed = "x" }, function(p) p.row.tenant = 2; t.note:update(p.row) end)
  return t.note[1].tenant
end, { 1 }, function(t)
  t.note:claim_one({ status_col = "body", pending = "mine", completed = "x" }, function(p) p.row.n = 2; t.note:update(p.row) end)
  return t.note[1].n == 2
end)

-- the filter itself
case("scope over to another value", function(t) return #t.note:scope("tenant", 2)() end, { n = "either" },
  function(t) return #t.note:scope("tenant", 1)() == 2 end)
case("a scope of nil", function(t) return t.note:scope("tenant", nil) end, "invalid_argument",
  function(t) return #t.note:scope("n", 10)() == 1 end)
case("a scope of an empty table", function(t) return t.note:scope{ tenant = nil } end, "invalid_argument",
  function(t) return #t.note:scope{ n = 10 }() == 1 end)
case("a scope of nothing", function(t) return t.note:scope() end, "invalid_argument", function(t) return #t.note:scope{ n = 10 } == 1 end)
case("a scope of SQL", function(t) return t.note:scope("tenant", sql "tenant") end, "invalid_argument",
  function(t) return #t.note:scope("body", "mine")() == 1 end)
case("a scope of a list", function(t) return t.note:scope("tenant", { 1, 2 }) end, "invalid_argument",
  function(t) return #t.note:scope("body", "mine")() == 1 end)
case("a scope of an unknown column", function(t) return t.note:scope("tennant", 1) end, "undefined_column",
  function(t) return #t.note:scope("body", "mine")() == 1 end)
case("xtra of an empty table", function(t) return t.note:xtra{} end, "invalid_argument", function(t) return #t.note == 2 end)
case("xtra of nil", function(t) return t.note:xtra(nil) end, "invalid_argument", function(t) return #t.note == 2 end)
case("xtra of a name without a value", function(t) return t.note:xtra("tenant", nil) end, "invalid_argument",
  function(t) return #t.note == 2 end)
case("xtra of an unknown column", function(t) return t.note:xtra{ tennant = 2 } end, "undefined_column",
  function(t) return #t.note == 2 end)
case("a failed xtra changes nothing", function(t) pcall(t.note.xtra, t.note, { tennant = 2 }); return #t.note end, { 2 },
  function(t) return t.note[1].body == "mine" end)
case("assigning to a key", function(t) t.note[3] = { body = "taken" } end, "invalid_argument", function(t) return #t.note == 2 end)
case("a filtered Table made into a class", function(t) return #t.note:where("true"):where("tenant = 2")() end, { 0 },
  function(t) return tostring(t.note) == '"note"' end)

-- ---- fragments ------------------------------------------------------------------------------

local FRAGMENTS = {
  "true) or (true", "true) or (tenant = 2", "1=1)) or ((1=1", "true --", "true -- \n", "true /*", "true /* */", "true/**/", "/* */ true",
  "true; delete from note", ";", "true;", "id in (select 3)", "exists (select 1 from note where tenant = 2)", "(((select true)))",
  "f((select 1))", "id = any(array(select id from note))", "case when (select true) then true else true end", "id in (values (3))",
  "id in (table vault)", "id in (with x as (select 3) select * from x)", "true union select * from note", "true union all table note",
  "true intersect select 1", "true except select 1", "true limit all", "true limit 1", "true offset 1", "true fetch first row only",
  "true for update", "true for share", "true into stolen", "true returning *", "true group by id", "true having true",
  "true window w as ()", "true order by 1) --", "true\"", "\"tenant", "'", "E'\\'", "E'\\\\\\'", "$$", "$a$ $b$", "U&'\\0027",
  "body = '' or ''; --'", "body = E'\\'' or true --'", "body = U&'d!0061t' uescape '!' --", "body = '\\' or true --'",
  "body = '\\'' or tenant = 2 or body = '", "true) from vault where (true", "id = 3 where true", "true \0", "true \\g", "\255",
  "sel\\0065ct", "body = $$ ' $$ or (true", "[", "array[(select 1)]", "(array(select 3))[1] = id", "true)::bool or (true",
  "id = (select 3)::int", "true or exists(select)", "true) union (select * from note", "id in (SeLeCt 3)", "id in (\nselect\n3)",
  "id in (select\t3)", "(sElEcT 1)=1", "id in(select 3)", "true--", "true or--\ntrue", "id=1/**/or/**/true", "{}", "copy vault to '/tmp/x';",
}

local CALLS = {
  { "call", function(t, f) return t(f) end },
  { "options", function(t, f) return t{ where = f } end },
  { "count", function(t, f) return t:count(f) end },
  { "selectone", function(t, f) return t:selectone(f) end },
  { "each", function(t, f) return collect(t:each(f)) end },
  { "query", function(t, f) return t:where(f)() end },
  { "second where", function(t, f) return t:where("true"):where(f)() end },
  { "exists", function(t, f) return t:where(f):exists() end },
  { "explain", function(t, f) return t:where(f):explain() end },
  { "update", function(t, f) return t:where(f):update{ body = "x" } end },
  { "limited update", function(t, f) return t:where(f):limit(9):update{ body = "x" } end },
  { "delete", function(t, f) return t:where(f):delete() end },
  { "delete_where", function(t, f) return t:delete_where(f) end },
  { "groupby", function(t, f) return t:groupby("id", "max(body)", { where = f }) end },
  { "order_by", function(t, f) return t{ order_by = f } end },
  { "select", function(t, f) return t{ select = f } end },
  { "aggregate", function(t, f) return t:groupby("id", f) end },
  { "value", function(t, f) return t:where("true"):update{ n = sql(f) } end },
  { "insert", function(t, f) return t:insert{ n = sql(f) } end },
  { "upsert", function(t, f) return t:upsert{ id = 3, n = sql(f) } end },
  { "override", function(t, f) return t:update({ id = 1 }, nil, { n = sql(f) }) end },
  { "map", function(t, f) return t{ where = { n = sql(f) } } end },
  { "claim", function(t, f) return db:transaction(function() return t:claim(f) end) end },
  { "claim_one", function(t, f)
    return t:claim_one({ status_col = "n", pending = 10, completed = 11, where = f }, function() end)
  end },
}

-- ---- running --------------------------------------------------------------------------------

local ways = {
  xtra = function(fn)
    db.t.note:xtra{ tenant = 1 }
    db.t.ledger:xtra{ tenant = 1 }
    db.t.place:xtra("tenant", 1)
    return fn{ db = db, note = db.t.note, ledger = db.t.ledger, place = db.t.place }
  end,
  scope = function(fn)
    return fn{ db = db, note = db.t.note:scope("tenant", 1), ledger = db.t.ledger:scope{ tenant = 1 }, place = db.t.place:scope{ tenant = 1 } }
  end,
  ["a transaction's handle"] = function(fn)
    local tx = db:begin()
    local early = tx.t.note -- made before the filter is set
    db.t.note:xtra{ tenant = 1 }
    db.t.ledger:xtra{ tenant = 1 }
    db.t.place:xtra{ tenant = 1 }
    local ok, value = pcall(fn, { db = tx, note = early, ledger = tx.t.ledger, place = tx.t.place })
    if ok then tx:commit() else tx:rollback() end
    if not ok then error(value, 0) end
    return value
  end,
  ["scope in a transaction"] = function(fn)
    return db:transaction(function(tx)
      return fn{ db = tx, note = tx.t.note:scope{ tenant = 1 }, ledger = tx.t.ledger:scope{ tenant = 1 }, place = db.t.place:scope{ tenant = 1 } }
    end)
  end,
}

local function unfilter()
  for _, name in ipairs{ "note", "ledger", "place" } do db.t[name]:xtra() end
end

local function attempt(way, fn)
  unfilter()
  db:execute(RESET)
  untouched = untouched or others()
  local ok, value = pcall(ways[way], fn)
  unfilter()
  assert.equal(untouched, others())
  return ok, value
end

describe("attacks on filtered Tables:", function()
  setup(function()
    db = pg.pool({}, { max_size = 3 })
    db:execute(SETUP)
  end)

  teardown(function() db:close() end)

  for way in pairs(ways) do
    describe(way .. ":", function()
      for _, c in ipairs(cases) do
        it(c.what, function()
          local ok, value = attempt(way, c.attack)
          if type(c.ending) == "string" then
            assert.is_false(ok)
            assert.equal(c.ending, value.name, tostring(value))
          elseif c.ending.n == "either" then -- two filters of which one can't be taken away, or xtra's replaced by scope's
            assert.is_true(not ok and value.name == "invalid_argument")
          else
            assert.is_true(ok, tostring(value))
            assert.same(c.ending[1], value)
          end
          assert.is_false(leaks(ok and value or tostring(value), {}))
          ok, value = attempt(way, c.control)
          assert.is_true(ok and value, tostring(value))
        end)
      end
    end)
  end

  it("fragments at every place", function()
    unfilter()
    db:execute(RESET)
    local before, n = others(), 0
    local t = db.t.note:scope("tenant", 1)
    for _, call in ipairs(CALLS) do
      for _, fragment in ipairs(FRAGMENTS) do
        local ok, err = pcall(call[2], t, fragment)
        assert.is_false(ok, call[1] .. ": " .. fragment)
        assert.equal("invalid_argument", err.name, call[1] .. ": " .. fragment .. ": " .. tostring(err))
        n = n + 1
      end
    end
    assert.equal(before, others())
    assert.equal(2, #t)
    assert.is_true(n > 1000)
  end)

  it("random fragments: whatever passes, nothing leaks", function()
    local words = {
      "true", "false", "or", "and", "not", "(", ")", "(", ")", "'", "''", "'a'", "E'", "\\'", "\\", "$$", "$a$", "--", "/*", "*/", "\n", " ", "id",
      "tenant", "body", "n", "=", "<>", "1", "2", "$1", "?", ":x", '"', '"id"', "U&'", "N'", "B'", "select", "from", "union", "limit", "where", "[", "]",
      "array[", "case when", "then", "else", "end", ",", "::int", "is", "distinct", "null", "in", "any(", "exists(", "with", "values", "table", "note",
      "note.*", "*", "+", "-", "~", "like", "order by", "1.", "..", "over()", "count(*)", "max(body)", "filter(", "within group(", "between", "current of",
      "for", "only", "row(", "extract(year from now())", "||", "variadic", "as", "using", "returning", "into", "vault", "uescape", "'!'", ";", "@?", "?|",
    }
    local seed = 20241124
    local function random(limit) -- the same on every Lua
      seed = (seed * 16807) % 2147483647
      return seed % limit + 1
    end
    unfilter()
    db:execute(RESET)
    local before = others()
    local t, passed, ran = db.t.note:scope("tenant", 1), 0, 0
    while passed < 60 do
      local parts = {}
      for i = 1, random(8) do parts[i] = words[random(#words)] end
      local fragment = table.concat(parts, random(2) == 1 and " " or "")
      if not core.check_fragment(fragment, true) and not core.check_fragment(fragment, false) then
        passed = passed + 1
        for _, call in ipairs(CALLS) do
          local ok, value = pcall(call[2], t, fragment)
          if ok then ran = ran + 1 end
          assert.is_false(leaks(ok and value or tostring(value), {}), call[1] .. ": " .. fragment)
        end
        assert.equal(before, others(), fragment)
      end
    end
    assert.is_true(ran > 20)
  end)

  it("ordinary fragments at every place", function()
    local t = db.t.note:scope("tenant", 1)
    for _, call in ipairs(CALLS) do
      db:execute(RESET)
      local takes_value = ({ value = 1, insert = 1, upsert = 1, override = 1, map = 1, order_by = 1, select = 1, aggregate = 1 })[call[1]]
      local fragment = takes_value and "greatest(7, extract(year from date '2024-01-01')::int)" or "id = 1 and body like 'mi%'"
      if call[1] == "aggregate" then fragment = "max(n) filter (where n is distinct from 0)" end
      local ok, value = pcall(call[2], t, fragment)
      if call[1] == "upsert" then
        assert.equal("not_found", value.name)
      else
        assert.is_true(ok, call[1] .. ": " .. tostring(value))
      end
    end
  end)

  it("strings, whatever standard_conforming_strings says", function()
    local one = pg.db()
    one:execute "set standard_conforming_strings = off"
    local t = one.t.note:scope("tenant", 1)
    db:execute(RESET)
    local before = others()
    for _, fragment in ipairs{
      [[body = '\' or true --']], [[body = '\' or tenant = 2 or body = '']], [[body = '\\' or true or body = '\']],
      [[body = '\'' or true) or (true or body = '']], [[body = U&'\0027']], [[body = '\') or (true or body = '']],
    } do
      local ok, value = pcall(t, fragment)
      if ok then
        for _, row in ipairs(value) do assert.equal(1, row.tenant) end
      else
        assert.is_true(value.name == "invalid_argument" or value.sqlstate ~= nil)
      end
      ok = pcall(t.delete_where, t, fragment)
      assert.equal(before, others(), fragment .. tostring(ok))
    end
    assert.equal(1, #t([[body = E'mine']]))
    one:execute "set standard_conforming_strings = on"
    one:close()
  end)

  it("parameters reach no other's", function()
    db:execute(RESET)
    local t = db.t.note:scope("tenant", 1)
    assert.has_error(function() t("n = $2", 10) end)
    assert.has_error(function() t("n = $1 or tenant <> $2", 10) end)
    assert.equal(1, #t("n = $1", 10))
    assert.equal(0, #t("n = $1 and tenant <> $2", 10, 1))
    assert.equal(2, #t("n = $1 or tenant <> $2", 10, 7))
    assert.equal(2, #t{ where = "tenant = $1", args = { 1 }, order_by = "id" })
    assert.equal(0, #t:where("n = $1", 30):where("tenant = $1", 2)())
    assert.equal(0, #t:where("n = :n", { n = 30 }):where("tenant = ?", 2):update{ body = "x" })
    -- a filter's own parameter in order_by or select tells what is known: the filter
    local ok, rows = pcall(t, { select = "$1::text as x" })
    assert.is_true(not ok or rows[1].x == "1")
  end)

  it("instances of a class", function()
    db:execute [[create table paper (id int primary key, tenant int, body text); insert into paper values (1, 1, 'mine'), (2, 2, 'secret')]]
    local t = db.t.paper:scope("tenant", 1)
    local Paper = t:class()
    assert.equal(Paper, db.t.paper.cls)
    assert.equal("Paper(id=1, tenant=1, body='mine')", tostring(t[1]))
    assert.equal(1, t:insert(Paper{ id = 3, tenant = 2, body = "x" }).tenant)
    assert.equal(1, t:update(Paper{ id = 3, tenant = 2, body = "y" }).tenant)
    assert.is_false((pcall(t.update, t, Paper{ id = 2, tenant = 1, body = "taken" })))
    assert.is_false((pcall(t.upsert, t, Paper{ id = 2, tenant = 2, body = "taken" })))
    assert.is_false((pcall(t.upserts, t, { Paper{ id = 2, body = "taken" } })))
    assert.is_false((pcall(t.delete, t, Paper{ id = 2, tenant = 1 })))
    assert.is_false((pcall(t.delete, t, db.t.paper[2])))
    assert.equal(1, t:inserts{ Paper{ id = 4, tenant = 2 } }[1].tenant)
    assert.equal(1, t:upsert(Paper{ id = 4, tenant = 2, body = "z" }).tenant)
    assert.equal("Paper(id=2, tenant=2, body='secret')", tostring(db.t.paper[2]))
    db.t.paper:drop()
  end)

  it("a filter on NULL is one", function()
    db:execute(RESET)
    local t = db.t.note:scope("tenant", null)
    assert.equal(1, #t)
    assert.equal(5, t[5].id)
    assert.is_nil(t:get(1))
    assert.is_nil(t:insert{ email = "x", tenant = 2 }.tenant)
    assert.is_nil(t:update{ id = 5, tenant = 2, body = "x" }.tenant)
    assert.is_false((pcall(t.update, t, { id = 1, body = "x" })))
    assert.is_false((pcall(t.upsert, t, { id = 1, body = "x" })))
    assert.equal("y", t:upsert{ id = 5, body = "y" }.body)
    assert.is_false((pcall(t.delete, t, 1)))
    assert.equal(2, #t:delete_where())
    assert.equal(4, #db.t.note)
  end)

  it("scope adds, xtra on it clears only its own", function()
    db:execute(RESET)
    local t = db.t.note:scope("tenant", 1)
    assert.equal(t, t:xtra{ n = 10 })
    assert.equal(1, #t)
    assert.has_error(function() t:xtra{ tenant = 2 } end)
    assert.equal(1, #t) -- and the xtra that was there stays
    t:xtra()
    assert.equal(2, #t)
    local deeper = t:scope("n", 20)
    assert.equal(1, #deeper)
    deeper:xtra()
    assert.equal(1, #deeper)
    assert.has_error(function() deeper:scope("n", 10) end)
    assert.has_error(function() deeper:scope{ n = "20" } end)
    assert.equal(1, #deeper:scope("n", 20))
    -- what xtra had set when scope was called is part of the scope
    t:xtra{ n = 10 }
    local both = t:scope("body", "mine")
    t:xtra()
    both:xtra()
    assert.equal(1, #both)
    assert.is_nil(both:get(2))
    assert.equal(5, #db.t.note)
  end)

  it("a filter's table belongs to the caller", function()
    db:execute(RESET)
    local filter = { tenant = 1 }
    local t = db.t.note:scope(filter)
    filter.tenant = 2
    assert.equal(1, t[1].tenant)
    filter.tenant = nil
    assert.equal(2, #t)
  end)

  it("a query follows its Table's filters", function()
    db:execute(RESET)
    local t = db.t.note
    local q = t:where("true")
    assert.equal(5, #q())
    t:xtra{ tenant = 2 }
    assert.equal(2, #q())
    assert.equal(2, q:count())
    t:xtra()
    assert.equal(5, #q())
  end)

  it("a transaction's handle has the filters of the root's at each moment, or its own", function()
    db:execute(RESET)
    db.t.note:xtra{ tenant = 1 }
    local tx = db:begin()
    local t = tx.t.note
    assert.equal(2, #t)
    assert.is_nil(t:get(3))
    db.t.note:xtra{ tenant = 2 }
    assert.is_nil(t:get(1))
    assert.equal(3, t:get(3).id)
    db.t.note:xtra()
    assert.equal(5, #t)
    t:xtra{ n = 10 }
    assert.equal(1, #t)
    assert.equal(5, #db.t.note)
    db.t.note:xtra{ tenant = 1 }
    assert.equal(1, #t)
    tx:rollback()
    db.t.note:xtra()
  end)

  it("a filter whose column is gone lets nothing through", function()
    db:execute "create table brief (id int primary key, tenant int); insert into brief values (1, 1), (2, 2)"
    local t = db.t.brief:scope("tenant", 1)
    assert.equal(1, #t)
    db:execute "alter table brief drop column tenant"
    assert.has_error(function() return #t end)
    assert.has_error(function() return t[2] end)
    assert.has_error(function() t:delete(2) end)
    assert.has_error(function() t:delete_where() end)
    assert.has_error(function() t:upsert{ id = 2 } end)
    assert.has_error(function() t:insert{ id = 3 } end)
    assert.has_error(function() t:where("true"):update{ id = 9 } end)
    assert.equal(2, #db.t.brief)
    db.t.brief:drop()
  end)

  it("a filter whose column is renamed behind our back lets nothing through", function()
    db:execute "create table brief (id int primary key, tenant int, n int); insert into brief values (1, 1), (2, 2)"
    local t = db.t.brief:scope("tenant", 1)
    assert.equal(1, #t)
    assert.equal("", pg.psql("alter table brief rename tenant to owner", pg.database()))
    assert.has_error(function() return #t end)
    assert.has_error(function() return t[2] end)
    assert.has_error(function() t:delete_where() end)
    assert.has_error(function() t:update{ id = 2, n = 1 } end)
    assert.has_error(function() t:upsert{ id = 2, n = 1 } end)
    assert.has_error(function() t:insert{ id = 3, owner = 2 } end)
    assert.equal(2, db:item "select count(*) from brief")
    db.t.brief:drop()
  end)

  it("the builders refuse a filter they don't know", function()
    local rel = core.relation('"x"', { { name = "id", pk = 1 }, { name = "n", pk = 0 } })
    for _, build in ipairs{
      function() return rel:insert({}, { n = 1 }, nil, { tenant = 1 }) end,
      function() return rel:update({}, { n = 1 }, nil, { tenant = 1 }, { 1 }, true) end,
      function() return rel:upsert({}, { id = 1 }, nil, { tenant = 1 }, { "id" }) end,
      function() return rel:assignments({}, { n = 1 }, { tenant = 1 }) end,
      function() return rel:conditions({}, 0, { tenant = 1 }) end,
    } do
      local text, name = build()
      assert.is_nil(text)
      assert.equal("tenant", name)
    end
  end)
end)
