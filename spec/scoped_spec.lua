-- SPDX-License-Identifier: MIT
--
-- A filtered Table in queries of every shape: nothing of another tenant is shown, counted, ordered by, locked or changed.
--
-- Random queries are run twice: by Tables with a scope on tables of all tenants, and by plain Tables on tables that hold
-- nothing but that tenant's rows, in a schema of their own.  What both give is the same.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null, sql, op, any, none = fastpg.null, fastpg.sql, fastpg.op, fastpg.any, fastpg.none

local TABLES = [[
  create table shop (id int primary key, tenant int, name text, boss int);
  create table bill (id int primary key, tenant int, shop int, note text, total int);
  create table line (id int primary key, tenant int, bill int, amount int, word text);
  create table tag (id int primary key, tenant int, word text);
  create table bill_tag (bill int, tag int, tenant int, primary key (bill, tag));
]]
local KEYS = [[
  alter table shop add foreign key (boss) references shop not valid;
  alter table bill add foreign key (shop) references shop not valid;
  alter table line add foreign key (bill) references bill not valid;
  alter table bill_tag add foreign key (bill) references bill not valid, add foreign key (tag) references tag not valid;
]]
-- Every third row is another tenant's, and so is every fifth row that one of ours refers to.
local ROWS = [[
  insert into shop select i, case when i % 3 = 0 then 8 else 7 end, case when i % 3 = 0 then 'SECRET' else 'shop' end || i,
    nullif((i * 7) % 13, 0) from generate_series(1, 12) i;
  insert into bill select i, case when i % 3 = 0 then 8 else 7 end, nullif((i * 5) % 13, 0),
    case when i % 3 = 0 then 'SECRET' else 'note' end || i % 7, case when i % 3 = 0 then 1000000 else i % 5 end
    from generate_series(1, 40) i;
  insert into line select i, case when i % 3 = 0 then 8 else 7 end, nullif((i * 11) % 41, 0),
    case when i % 3 = 0 then 1000000 else nullif(i % 9, 0) end, case when i % 3 = 0 then 'SECRET' else 'word' end || i % 4
    from generate_series(1, 90) i;
  insert into tag select i, case when i % 3 = 0 then 8 else 7 end, case when i % 3 = 0 then 'SECRET' else 'tag' end || i
    from generate_series(1, 9) i;
  insert into bill_tag select distinct 1 + (i * 3) % 40, 1 + (i * 5) % 9, case when i % 4 = 0 then 8 else 7 end
    from generate_series(1, 60) i on conflict do nothing;
]]
local NAMES = { "shop", "bill", "line", "tag", "bill_tag" }
local PKS = { shop = { "id" }, bill = { "id" }, line = { "id" }, tag = { "id" }, bill_tag = { "bill", "tag" } }
local COLUMNS = {
  shop = { "id", "name", "boss" }, bill = { "id", "shop", "note", "total" }, line = { "id", "bill", "amount", "word" },
  tag = { "id", "word" }, bill_tag = { "bill", "tag" },
}
local TEXTS = { name = true, note = true, word = true }
local NEAR = {
  shop = { "bill" }, bill = { "shop", "line", "bill_tag" }, line = { "bill" }, tag = { "bill_tag" }, bill_tag = { "bill", "tag" },
}
local WITH = {
  shop = { "bill", boss_row = "boss", team = "shop.boss" }, line = { bill_row = "bill" },
  bill = { shop_row = "shop", "line", "tag", few = { "line.bill", limit = 2, order_by = "amount desc nulls last" },
    n = { "line.bill", count = true } },
  tag = { "bill" }, bill_tag = { tag_row = "tag", bill_row = { "bill", with = { "line", shop_row = { "shop", with = { "bill" } } } } },
}

-- ---- random queries -------------------------------------------------------------------------

-- The same numbers on every Lua.
local seed = 1
local function random(n)
  seed = seed * 16807 % 2147483647
  return math.floor(seed / 4096) % n + 1
end
local function pick(list) return list[random(#list)] end

-- A step is a function of a query and of what gives Tables: both runs take the same ones.
local function random_condition(at)
  local column = pick(COLUMNS[at])
  local value = TEXTS[column] and pick{ "note1", "word2", "SECRET3", "shop2", "SECRET1" } or random(9)
  local forms = {
    function() return { [column] = value } end,
    function() return { [column] = null } end,
    function() return { [column] = op("<>", value) } end,
    function() return { [column] = op(">=", value) } end,
    function() return { [column] = op("in", { value, value }) } end,
    function() return any{ { [column] = value }, { [column] = null }, none{ { [column] = op("<", value) } } } end,
    function() return sql(("%s.%s = ? or %s.%s > :v"):format(at, column, at, column), value, { v = value }) end,
  }
  return pick(forms)
end

local steps = {}

function steps.where(state)
  local cond = random_condition(state.at)
  local column = pick(COLUMNS[state.at])
  if state.many then -- of the first table: bare names in SQL would be ambiguous
    local value = TEXTS[column] and "SECRET1" or random(9)
    return function(q) return q:where(any{ { [column] = op(">", value) }, { [column] = op("<=", value) } }) end
  end
  return function(q) return q:where(cond()) end
end

function steps.join(state)
  local other = pick(NEAR[state.at])
  if state.taken[other] then return nil end
  state.names[other], state.taken[other], state.many = true, true, true
  local kind, by_name = pick{ "join", "left_join" }, random(2) == 1
  return function(q, T) return q[kind](q, by_name and other or T(other)) end
end

function steps.joined_column(state)
  for _, other in ipairs(NEAR[state.at]) do
    if state.names[other] then
      local column = pick(COLUMNS[other])
      local value = TEXTS[column] and "SECRET1" or random(9)
      return function(q) return q:where{ [other .. "." .. column] = op(">", value) } end
    end
  end
end

function steps.exists(state)
  local other, method, by_name = pick(NEAR[state.at]), pick{ "where_exists", "where_missing" }, random(2) == 1
  if state.taken[other] then return nil end
  state.taken[other] = true
  local cond = random(2) == 1 and random_condition(other) or nil
  return function(q, T)
    if cond then return q[method](q, by_name and other or T(other), cond()) end
    return q[method](q, by_name and other or T(other))
  end
end

function steps.among(state)
  local other = pick{ "bill", "line", "shop" }
  local column, operator, cond = pick(PKS[state.at]), pick{ "in", "not in" }, random_condition(other)
  return function(q, T) return q:where{ [column] = op(operator, T(other):where(cond()):select("id")) } end
end

function steps.value(state)
  local column = pick(PKS[state.at])
  return function(q, T)
    return q:where(sql("? <= ?", T(state.at).c[column], T "bill":join("shop"):select{ n = sql "max(shop.id)" }))
  end
end

local function ordered(q, at)
  local order = {}
  for i, pk in ipairs(PKS[at]) do order[i] = pk end
  return q:order_by(order)
end

local endings = {
  function(q, at) return ordered(q, at)() end,
  function(q) return q:count() end,
  function(q) return q:exists() end,
  function(q, at) return q:item("sum(" .. at .. "." .. PKS[at][1] .. ")") end,
  function(q, at) return ordered(q, at):pluck(PKS[at][1]) end,
  function(q, at) return ordered(q, at):limit(3)() end,
  function(q, at) return ordered(q, at):limit(5):offset(1):count() end,
  function(q, at) return q:select{ at .. "." .. PKS[at][1] }:distinct():order_by(PKS[at][1])() end,
  function(q, at)
    return q:select{ at .. ".tenant", n = sql "count(*)" }:group_by(at .. ".tenant"):having("count(*) > ?", 0)()
  end,
  function(q, at) return fastpg.from(q, "x"):where{ [PKS[at][1]] = op(">", 2) }:order_by(PKS[at][1]):pluck(PKS[at][1]) end,
  function(q, at)
    return fastpg.from(q, "x"):join("shop", { on = sql("shop.id = x." .. PKS[at][1]) }):order_by(PKS[at][1]):pluck("shop.name")
  end,
  function(q, at, T) return T "shop":cte("c", q):join("c", { on = sql("c." .. PKS[at][1] .. " = shop.id") }):order_by("id")() end,
  function(q, at, T) return q:union(T(at):where{ [PKS[at][1]] = { 3, 4, 5 } }):order_by(PKS[at])() end,
  function(q, at)
    local list, token = {}, nil
    repeat
      local rows, next_token = ordered(q, at):page(4, token)
      for _, row in ipairs(rows) do list[#list + 1] = row end
      token = next_token
    until not token
    return list
  end,
  function(q, at) return ordered(q, at):with(WITH[at])() end,
  function(q, at) return fastpg.load(ordered(q, at)(), WITH[at]) end,
  function(q, at)
    local list = {}
    for row in ordered(q, at):each() do list[#list + 1] = row end
    return list
  end,
}

local function random_query()
  local at = pick(NAMES)
  local state, chosen, kinds = { at = at, names = { [at] = true }, taken = { [at] = true } }, {}, { "where", "join", "joined_column", "exists", "among", "value" }
  for _ = 1, random(4) do
    local step = steps[pick(kinds)](state)
    if step then chosen[#chosen + 1] = step end
  end
  local ending = pick(endings)
  return function(T, last)
    local q = T(at):where(sql "true")
    for _, step in ipairs(chosen) do q = step(q, T) end
    return (last or ending)(q, at, T), q
  end, at
end

describe("scoped queries:", function()
  local db, alone, t

  setup(function()
    db = pg.db()
    db:execute("drop schema if exists everyone, only_seven cascade; create schema everyone; create schema only_seven;"
      .. "set search_path to everyone;" .. TABLES .. ROWS .. KEYS .. "set search_path to only_seven;" .. TABLES)
    for _, name in ipairs(NAMES) do
      db:execute(("insert into only_seven.%s select * from everyone.%s where tenant = 7"):format(name, name))
    end
    -- what refers to rows of others refers to nothing there
    db:execute [[alter table shop add foreign key (boss) references shop not valid;
      alter table bill add foreign key (shop) references shop not valid; alter table line add foreign key (bill) references bill not valid;
      alter table bill_tag add foreign key (bill) references bill not valid, add foreign key (tag) references tag not valid;
      set search_path to everyone]]
    alone = pg.db()
    alone:execute "set search_path to only_seven"
    t = db.t
  end)
  teardown(function()
    alone:close()
    db:execute "drop schema everyone, only_seven cascade"
    db:close()
  end)

  local function scoped(name) return db.t[name]:scope{ tenant = 7 } end
  local function plain(name) return alone.t[name] end
  local function shown(value) return fastpg.to_json(value) end
  local function others()
    local list = {}
    for i, name in ipairs(NAMES) do
      list[i] = db:item(("select md5(coalesce(string_agg(x::text, ',' order by x::text), '')) from everyone.%s x where tenant <> 7"):format(name))
    end
    return table.concat(list)
  end

  it("1,000 random ones give what there would be without the other tenants", function()
    local some = 0
    for i = 1, 1000 do
      local run = random_query()
      local expected = shown((run(plain)))
      local ok, found, q = pcall(run, scoped)
      assert.is_true(ok, ("query %d: %s"):format(i, tostring(found)))
      assert.is_nil(shown(found):find("SECRET", 1, true), tostring(q))
      assert.equal(expected, shown(found), ("query %d: %s"):format(i, tostring(q)))
      if #expected > 4 then some = some + 1 end
    end
    assert.is_true(some > 500) -- most of them have something to give
  end)

  it("200 random writes change and lock what is theirs", function()
    local before = others()
    for i = 1, 200 do
      local run = random_query()
      local kind = random(3)
      local function write(q, at)
        if kind == 1 then return #q:delete() end
        if kind == 2 then return #q:for_update()() end
        local column = COLUMNS[at][#COLUMNS[at]]
        return #q:update{ [column] = TEXTS[column] and "changed" or sql(at .. "." .. column) }
      end
      local results = {}
      for k, T in ipairs{ plain, scoped } do
        local tx = (T == plain and alone or db):begin()
        tx:execute "set local session_replication_role = replica" -- deleted without a look at who refers to it
        local inside = T == plain and function(name) return tx.t[name] end
          or function(name) return tx.t[name]:scope{ tenant = 7 } end
        local ok, n, q = pcall(run, inside, write)
        results[k] = ok and n or tostring(n)
        if ok then assert.is_nil(tx:first("select 1 from shop where name = 'changed' and tenant <> 7"), tostring(q)) end
        tx:rollback()
      end
      assert.equal(results[1], results[2], "write " .. i)
      assert.equal("number", type(results[2]), tostring(results[2]))
    end
    assert.equal(before, others())
  end)

  -- ---- shapes by hand -----------------------------------------------------------------------

  local function refused(fn, pattern)
    local ok, err = pcall(fn)
    assert.is_false(ok)
    assert.is_true(err.name == "invalid_argument" or err.name == "undefined_column", tostring(err))
    if pattern then assert.matches(pattern, tostring(err)) end
  end

  it("a scoped query in a value is confined whatever it stands in", function()
    local mine = scoped "bill":join("shop"):select{ n = sql "max(shop.name)" }
    local want = alone:item [[select max(shop.name) from bill join shop on shop.id = bill.shop]]
    db:execute "create table everyone.plain (id int primary key, word text)"
    local free = db.t.plain
    assert.equal(want, free:insert{ id = 1, word = mine }.word)
    assert.equal(want, free:update({ word = mine }, 1).word)
    assert.equal(want, free:upsert({ id = 1 }, nil, { on = "id", set = { word = mine } }).word)
    assert.equal(want, free:upsert({ id = 1, word = mine }, nil, { on = "id", set = { word = sql "excluded.word" } }).word)
    assert.equal(want, free:where{ id = 1 }:update{ word = mine }[1].word)
    assert.equal(want, free:insert({ id = 2 }, nil, { returning = { word = mine } }).word)
    assert.equal(want, free:where{ id = 1 }:update({ id = 1 }, { returning = { w = mine } })[1].w)
    assert.equal(want, db:item(sql("select ?", mine)))
    assert.equal(want, db:item(sql("select (select max(name) from shop) || ?", mine)):match("(shop%d+)$"))
    assert.equal(want, free:where{ id = 1 }:item(sql("?", mine)))
    assert.equal(want, free:where{ id = 1 }:order_by(sql("?", mine)):select{ n = mine }()[1].n)
    local function hostile() return scoped "bill":where("true) or (true"):select{ n = sql "max(note)" } end
    refused(function() free:insert{ id = 3, word = hostile() } end)
    refused(function() free:insert({ id = 3 }, nil, { returning = { w = hostile() } }) end)
    refused(function() return db:item(sql("select ?", hostile())) end)
    refused(function() return free:item(sql("?", hostile())) end)
    refused(function() free:insert{ id = 3, word = sql("(select max(name) from shop where ?::text is not null)", mine) } end)
    db:execute "drop table everyone.plain"
  end)

  it("with behind a Table that has no such column inherits what stood beside it", function()
    db:execute [[create table everyone.page (id int primary key, bill int references everyone.bill);
      insert into page select i, i from generate_series(1, 40) i]]
    local rows = db.t.page:join(scoped "bill"):order_by("id"):with{ bill_row = { "bill", with = { "line" } } }()
    assert.is_true(#rows > 0)
    assert.is_nil(shown(rows):find("SECRET", 1, true))
    local again = fastpg.load(db.t.page:join(scoped "bill"):order_by("id")(), { bill_row = { "bill", with = { "line" } } })
    assert.equal(shown(rows), shown(again))
    local lines = {}
    for _, row in ipairs(rows) do
      for _, line in ipairs(row.bill_row.line) do lines[#lines + 1] = line end
    end
    assert.is_nil(shown(fastpg.load(lines, { of = "bill" })):find("SECRET", 1, true)) -- also of rows that came by with
    local page = db.t.page:join(scoped "bill"):order_by("id"):with{ bill_row = "bill" }:page(50)
    assert.is_nil(shown(page):find("SECRET", 1, true))
    db:execute "drop table everyone.page"
  end)

  it("rows that were read under different filters are not loaded together", function()
    local rows = scoped "bill"()
    local list = { rows[1], db.t.bill:scope{ tenant = 8 }:first() }
    refused(function() fastpg.load(list, "line") end, "same filter")
    refused(function() fastpg.load({ rows[1], db.t.bill:get(1) }, "line") end, "same filter")
  end)

  it("every filter beside a table confines it", function()
    refused(function() return scoped "bill":join(t.shop:scope{ name = "shop1" })() end, "tenant")
    refused(function() return scoped "bill":where_exists(t.shop:scope{ name = "shop1" })() end, "tenant")
    refused(function() return scoped "bill"{ with = { x = t.shop:scope{ name = "shop1" } } } end, "tenant")
    refused(function() return scoped "bill":join(t.line:scope{ tenant = 8 }):join("shop")() end, "different values")
    assert.equal(0, scoped "bill":join(t.shop:scope{ tenant = 8, name = "shop1" }):count())
    refused(function() return scoped "bill":join(t.shop:scope{ tenant = 7, name = "shop1" }):join("line")() end, "name")
  end)

  it("a CTE hides no table", function()
    local nobody = db.t.shop:scope{ tenant = 8 }:select("id", "tenant", "name")
    refused(function() return scoped "bill":cte("bill", nobody)() end, "CTE")
    refused(function() return scoped "bill":cte("shop", nobody):join(scoped "shop")() end, "CTE")
    refused(function() return scoped "bill":cte("shop", scoped "shop"):where_exists(scoped "shop")() end, "CTE")
    refused(function() return scoped "bill":cte("c", sql "select * from shop"):join("c", { on = sql "true" })() end, "sub%-select")
    refused(function() return scoped "bill":cte("c", db.t.shop:where{ id = 3 }):join("c", { on = sql "true" })() end, "tenant")
    local q = scoped "bill":cte("a", scoped "shop":where{ id = op("<", 9) })
    q = q:cte("b", fastpg.from(scoped "shop", "s"):join("a", { on = sql "a.id = s.id" }):select{ sql "s.id" })
    local plain_q = alone.t.bill:where{ shop = op("<", 9) }:join("shop")
    assert.equal(plain_q:count(), q:join("b", { on = sql "b.id = bill.shop" }):count())
    assert.equal(plain_q:count(), #db:transaction(function(tx)
      local changed = q:join("b", { on = sql "b.id = bill.shop" }):update{ note = "x" }
      tx:execute "update bill set note = 'note' || id % 7 where tenant = 7"
      return changed
    end))
    refused(function() return scoped "bill":cte("c", scoped "shop"):where_exists("c")() end, "on =")
    assert.equal(alone.t.bill:join("shop"):count(), scoped "bill":cte("c", scoped "shop"):where_exists("c", sql "true",
      { on = sql "c.id = bill.shop" }):count())
  end)

  it("queries as tables, of every kind", function()
    local from = fastpg.from(scoped "bill", "x")
    assert.equal(alone.t.bill:join("shop"):count(), from:join("shop", { on = sql "shop.id = x.shop" }):count())
    assert.equal(alone.t.bill:where_exists("shop"):count(), from:where_exists("shop", sql "true", { on = sql "shop.id = x.shop" }):count())
    refused(function() return from:join(t.shop, { on = sql "shop.id = x.shop" })() end)
    refused(function() return from:union(fastpg.from(t.bill:where{ id = 3 }, "y"))() end)
    refused(function() return from:where("true) or (true")() end)
    refused(function() return from:order_by("(select name from shop limit 1)")() end)
    refused(function() return from:item("(select max(name) from shop)") end)
    refused(function() return scoped "bill":union(scoped "bill":where("1=1) union select * from bill where (1=1"))() end)
  end)

  it("pages: a token brings no rows and no SQL of its own", function()
    local _, token = scoped "bill":order_by("note"):page(2)
    local _, foreign = t.bill:order_by("note"):page(12)
    for _, given in ipairs{ token, foreign } do
      local rows = scoped "bill":order_by("note"):page(50, given)
      assert.is_nil(shown(rows):find("SECRET", 1, true))
    end
    refused(function() return scoped "bill":order_by("(select 1)"):page(2) end)
    refused(function() return scoped "bill":order_by("note"):page(2, token:sub(1, -3)) end)
  end)

  it("inserts and upserts of queries", function()
    local tx = db:begin()
    local mine = tx.t.tag:scope{ tenant = 7 }
    local rows = mine:insert_from(tx.t.line:scope{ tenant = 7 }:select{ "tenant", id = sql "id + 100", word = "word" })
    assert.is_true(#rows > 0)
    for _, row in ipairs(rows) do assert.equal(7, row.tenant) end
    tx:rollback()
    refused(function() scoped "tag":insert_from(t.line:select{ id = sql "id + 100", word = "word" }) end)
    refused(function() t.tag:insert_from(scoped "line":select{ id = sql "id + 100", word = "word" }) end)
    refused(function() scoped "tag":upsert({ id = 1, word = "x" }, nil, { set = { tenant = 8 } }) end, "tenant")
    refused(function() scoped "tag":upsert({ id = 1 }, nil, { set = { word = sql "(select max(word) from tag)" } }) end)
    refused(function() scoped "tag":upsert({ id = 1 }, nil, { set = { word = "x" }, where = sql "true) or (true" }) end)
    local ok, err = pcall(function() scoped "tag":upsert({ id = 3 }, nil, { set = { word = "x" } }) end)
    assert.is_false(ok)
    assert.equal("not_found", err.name)
    assert.is_nil(scoped "tag":upsert({ id = 3 }, nil, { set = { word = "x" }, where = sql "true" }))
    assert.equal("SECRET3", db:item "select word from tag where id = 3")
  end)

  it("db:scope: a database all of whose tables are filtered", function()
    local seven = db:scope{ tenant = 7 }
    assert.equal(tostring(db), tostring(seven))
    assert.equal(alone.t.bill:count(), seven.t.bill:count())
    assert.equal(alone.t.bill:join("shop"):count(), seven.t.bill:join(seven.t.shop):count())
    assert.equal(shown(alone.t.bill{ with = { "line" }, order_by = "id" }), shown(seven.t.bill{ with = { seven.t.line }, order_by = "id" }))
    assert.is_false(pcall(function() return seven.t.bill[3] end))
    assert.equal(db.t.bill:count(), 40)
    seven.t.bill:xtra{ id = 1 }
    assert.equal(1, seven.t.bill:count())
    seven.t.bill:xtra()
    assert.equal(alone.t.bill:count(), seven.t.bill:count())
    seven:transaction(function(tx)
      assert.equal(alone.t.bill:count(), tx.t.bill:count())
      assert.equal(alone.t.bill:count(), seven.t.bill:count())
      assert.equal(40, db.t.bill:count())
      tx:transaction(function(inner) assert.equal(alone.t.bill:count(), inner.t.bill:count()) end)
      assert.equal(7, tx.t.tag:insert{ id = 1000, word = "x", tenant = 8 }.tenant)
      assert.equal(1, #tx.t.tag:where{ id = 1000 }:delete())
    end)
    local tx = seven:begin()
    assert.equal(alone.t.shop:count(), tx.t.shop:count())
    assert.equal(alone.t.shop:count(), tx:scope("name", "shop1").t.shop:count() + alone.t.shop:count() - 1)
    assert.equal(seven, fastpg.db_of(tx.t.shop:first()))
    tx:rollback()
    assert.equal(alone.t.shop:count(), fastpg.db_of(seven.t.bill:first()).t.shop:count())
    assert.equal(alone.t.shop:count(), fastpg.db_of(seven.t.bill{ as_cls = false }[1]).t.shop:count())
    for _, name in ipairs(seven:table_names "everyone") do assert.equal(alone.t[name]:count(), seven:table(name):count()) end
    local eight = db:scope("tenant", 8)
    assert.equal(40, eight.t.bill:count() + seven.t.bill:count())
    refused(function() return seven:scope{ tenant = 8 } end, "another value")
    refused(function() return seven:scope() end)
    refused(function() return seven:scope{} end, "empty")
    refused(function() return seven.t.bill:join(t.shop)() end, "tenant")
    db:execute "create table everyone.free (id int primary key)"
    refused(function() return seven.t.free:count() end, "without that scope")
    assert.equal(0, db.t.free:count())
    db:execute "drop table everyone.free"
    assert.is_false(pcall(seven.close, seven))
    assert.equal(40, seven:item "select count(*) from bill")
  end)

  it("a Table of another database is none of the statement's", function()
    refused(function() return scoped "bill":join(alone.t.shop)() end, "another database")
    refused(function() return t.bill:join(alone.t.shop)() end, "another database")
    refused(function() return t.bill:where{ shop = op("in", alone.t.shop:select("id")) }() end, "another database")
  end)
end)
