-- SPDX-License-Identifier: MIT
--
-- Related rows and pages of random tables, beside what plain SQL gives; and what they cost: statements, rows that are read.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local round_trips = require "spec.support.round_trips"

local unpack = unpack or table.unpack

local seed = 7
local function random(n)
  seed = seed * 16807 % 2147483647
  return math.floor(seed / 4096) % n + 1
end
local function pick(list) return list[random(#list)] end

describe("properties of related rows and pages:", function()
  local db

  setup(function()
    db = pg.db()
    db:execute 'drop schema if exists prop, "Prop.B" cascade; create schema prop; create schema "Prop.B"; set search_path to prop, "Prop.B"'
  end)
  teardown(function()
    db:execute 'drop schema prop, "Prop.B" cascade'
    db:close()
  end)

  -- ---- related rows -------------------------------------------------------------------------

  local NAMES = { "one", "Two", "thr.ee", 'fo"ur', "order" }
  local q = fastpg.quote_ident

  -- A parent and a child with one or two keys to it, of one or two columns, in one schema or two; the child may be partitioned.
  local function make_schema(i)
    local columns = {}
    for k = 1, random(2) do columns[k] = NAMES[(i + k) % #NAMES + 1] end
    local parent = { name = pick{ "par", "Par.ent", 'p"p' } .. i, schema = pick{ "prop", "Prop.B" }, columns = columns }
    local child = { name = pick{ "kid", "Kid", "ki.d" } .. i, schema = pick{ "prop", "Prop.B" }, keys = {} }
    local list, pk = {}, {}
    for k, name in ipairs(columns) do list[k], pk[k] = q(name) .. " int", q(name) end
    local at = function(t) return q(t.schema) .. "." .. q(t.name) end
    db:execute(("create table %s (%s, label text, primary key (%s))"):format(at(parent), table.concat(list, ", "), table.concat(pk, ", ")))
    local more = { "id int", "part int" }
    for k = 1, random(2) do
      local key, refs = {}, {}
      for c, name in ipairs(columns) do
        key[c] = "k" .. k .. "." .. name
        refs[c] = q(key[c])
        more[#more + 1] = refs[c] .. " int"
      end
      child.keys[k] = key
      more[#more + 1] = ("foreign key (%s) references %s"):format(table.concat(refs, ", "), at(parent))
    end
    more[#more + 1] = "primary key (id, part)"
    local is_parted = random(3) == 1
    db:execute(("create table %s (%s)%s"):format(at(child), table.concat(more, ", "), is_parted and " partition by list (part)" or ""))
    if is_parted then
      for part = 0, 1 do
        db:execute(("create table %s partition of %s for values in (%d)"):format(q(child.schema) .. "." .. q(child.name .. part),
          at(child), part))
      end
    end
    local parents = random(8) - 1
    for r = 1, parents do
      db:execute(("insert into %s values (%s, 'l%d')"):format(at(parent), columns[2] and r .. ", " .. r % 3 or tostring(r), r))
    end
    for r = 1, random(40) - 1 do
      local values = { tostring(r), tostring(r % 2) }
      for _ in ipairs(child.keys) do
        local to = random(parents + 2)
        for c = 1, #columns do
          values[#values + 1] = to > parents and "null" or tostring(c == 1 and to or to % 3)
        end
      end
      db:execute(("insert into %s values (%s)"):format(at(child), table.concat(values, ", ")))
    end
    parent.t, child.t = db:table(parent.name, parent.schema), db:table(child.name, child.schema)
    return parent, child, at
  end

  local function condition(columns, others, row)
    local parts, values = {}, {}
    for i, name in ipairs(columns) do
      parts[i] = q(name) .. " = ?"
      values[i] = rawget(row, others[i])
      if values[i] == nil then return nil end
    end
    return table.concat(parts, " and "), values
  end

  it("with gives what nested selects give, by one statement a relation", function()
    for i = 1, 25 do
      local parent, child, at = make_schema(i)
      for _, key in ipairs(child.keys) do
        local limit = random(2) == 1 and random(4) - 1 or nil
        local rows
        local trips = round_trips(function()
          rows = parent.t{ order_by = parent.t.pks, with = {
            kids = { child.name .. "." .. key[1], order_by = { "id desc" }, limit = limit,
              with = { up = { key[1] } } },
            number = { child.name .. "." .. key[1], count = true },
          } }
        end)
        assert.is_true(trips <= 40, trips) -- (with looks at the catalog, the first time)
        for _, row in ipairs(rows) do
          local text, values = condition(key, parent.columns, row)
          local want = db:q(("select * from %s where %s order by id desc%s"):format(at(child), text, limit and " limit " .. limit or ""),
            unpack(values))
          assert.equal(#want, #row.kids)
          for k, kid in ipairs(row.kids) do
            assert.equal(want[k].id, kid.id)
            assert.equal(row.label, kid.up.label)
          end
          assert.equal(db:item(("select count(*) from %s where %s"):format(at(child), text), unpack(values)), row.number)
        end
        local up = child.t{ order_by = child.t.pks, with = { up = key[1] } }
        for _, row in ipairs(up) do
          local text, values = condition(parent.columns, key, row)
          local want = text and db:first(("select * from %s where %s"):format(at(parent), text), unpack(values))
          assert.equal(want and want.label, row.up and row.up.label)
        end
      end
    end
  end)

  -- Two tables with keys of one or two columns and one that joins them, maybe beside a third; its rows are drawn.
  local function make_junction(i)
    local at = function(name) return "prop." .. q(name) end
    local sides = {}
    for k, name in ipairs{ "left", "ri.ght", "third" } do
      local side = { name = name .. i, columns = { "id" } }
      if random(2) == 1 then side.columns[2] = "order" end
      local list, keys = {}, {}
      for c, column in ipairs(side.columns) do list[c], keys[c] = q(column) .. " int", q(column) end
      db:execute(("create table %s (%s, label text, primary key (%s))"):format(at(side.name), table.concat(list, ", "),
        table.concat(keys, ", ")))
      side.n = random(6) - 1
      for r = 1, side.n do
        db:execute(("insert into %s values (%s, '%s')"):format(at(side.name), side.columns[2] and r .. ", " .. r % 2 or r, name .. r))
      end
      sides[k] = side
    end
    local many = random(2) + 1 -- how many it joins
    local columns, rows = {}, {}
    for k = 1, many do
      local refs = {}
      for c = 1, #sides[k].columns do
        refs[c] = q("k" .. k .. c)
        columns[#columns + 1] = refs[c] .. " int"
      end
      sides[k].refs = refs
      columns[#columns + 1] = ("foreign key (%s) references %s"):format(table.concat(refs, ", "), at(sides[k].name))
    end
    local joined = "joi.ned" .. i
    db:execute(("create table %s (%s)"):format(at(joined), table.concat(columns, ", ")))
    for _ = 1, random(20) do
      local values = {}
      for k = 1, many do
        local to = sides[k].n > 0 and random(sides[k].n + 1) or 1
        for c = 1, #sides[k].columns do
          values[#values + 1] = to > sides[k].n and "null" or tostring(c == 1 and to or to % 2)
        end
      end
      local text = table.concat(values, ", ")
      if not rows[text] then
        rows[text] = true
        db:execute(("insert into %s values (%s)"):format(at(joined), text))
      end
    end
    return sides[1], sides[2], joined, many, at
  end

  it("with through a table between, also one of three, gives what joins give", function()
    for i = 1, 20 do
      local left, right, joined, many, at = make_junction(i)
      local t = db:table(left.name, "prop")
      local limit = random(2) == 1 and random(3) or nil
      local spec = { table = right.name, limit = limit }
      if many == 3 or random(2) == 1 then spec.through = joined end
      local rows = t{ order_by = t.pks, with = { found = spec, number = { table = right.name, through = joined, count = true } } }
      assert.equal(left.n, #rows)
      local on, order = {}, {}
      for c, column in ipairs(right.columns) do
        on[c] = ("r.%s = j.%s"):format(q(column), right.refs[c])
        order[c] = "r." .. q(column)
      end
      for _, row in ipairs(rows) do
        local where, values = {}, {}
        for c, column in ipairs(left.columns) do
          where[c], values[c] = "j." .. left.refs[c] .. " = ?", row[column]
        end
        local joins = ("from %s r join %s j on %s where %s"):format(at(right.name), at(joined), table.concat(on, " and "),
          table.concat(where, " and "))
        local want = db:q(("select r.* %s order by %s%s"):format(joins, table.concat(order, ", "), limit and " limit " .. limit or ""),
          unpack(values))
        assert.equal(#want, #row.found)
        for k, one in ipairs(row.found) do assert.equal(want[k].label, one.label) end
      end
    end
  end)

  it("with of a table to itself, up and down, gives what nested selects give", function()
    for i = 1, 8 do
      local name = "tree" .. i
      db:execute(("create table prop.%s (id int primary key, up int references prop.%s, label text)"):format(name, name))
      local n = random(25)
      for r = 1, n do
        local up = random(r) - 1
        db:execute(("insert into prop.%s values (%d, %s, 'l%d')"):format(name, r, up == 0 and "null" or up, r))
      end
      if random(2) == 1 then db:execute(("update prop.%s set up = %d where id = 1"):format(name, n)) end -- a circle
      local rows = db:table(name, "prop"){ order_by = "id", with = {
        boss = { "up", with = { boss = "up" } },
        team = { name .. ".up", order_by = "id desc", with = { team = name .. ".up" } },
      } }
      local up, label, below = {}, {}, {}
      for _, row in ipairs(db:q("select * from prop." .. name .. " order by id desc")) do
        up[row.id], label[row.id] = row.up, row.label
        if row.up then
          below[row.up] = below[row.up] or {}
          table.insert(below[row.up], row.id)
        end
      end
      local function ids_of(list)
        local found = {}
        for k, row in ipairs(list) do found[k] = row.id end
        return found
      end
      for _, row in ipairs(rows) do
        local boss = up[row.id]
        assert.equal(boss and label[boss], row.boss and row.boss.label)
        if boss then assert.equal(up[boss] and label[up[boss]], row.boss.boss and row.boss.boss.label) end
        assert.same(below[row.id] or {}, ids_of(row.team))
        for _, one in ipairs(row.team) do
          local want = {}
          for k, id in ipairs(below[one.id] or {}) do want[#(below[one.id]) - k + 1] = id end
          assert.same(want, ids_of(one.team))
        end
      end
    end
  end)

  it("a limit per parent is the server's, and as many statements as relations", function()
    db:execute [[create table few (id int primary key); create table many (id int primary key, few int references few);
      create index on many (few); insert into few values (1), (2), (3);
      insert into many select i, 1 + i % 2 from generate_series(1, 20000) i]]
    local few = db.t.few
    local function read() return few{ order_by = "id", with = { many = { limit = 3, order_by = "id" } } } end
    read()
    local rows
    assert.is_true(round_trips(function() rows = read() end) <= 3) -- rows; related rows, and the end of their pipeline
    assert.same({ 3, 3, 0 }, { #rows[1].many, #rows[2].many, #rows[3].many })
    rows = few{ order_by = "id", with = { "many" } }
    assert.same({ 10000, 10000, 0 }, { #rows[1].many, #rows[2].many, #rows[3].many })
    -- with the limit the server sends no more rows than that
    local seen = 0
    local core = debug.getregistry()["fastpg.connection"].__index
    local fetch = core.fetch_rows
    core.fetch_rows = function(...)
      local list = fetch(...)
      seen = seen + #list
      return list
    end
    local ok, err = pcall(read)
    core.fetch_rows = fetch
    assert.is_true(ok, tostring(err))
    assert.is_true(seen <= 9, seen)
    db:execute "drop table many, few"
  end)

  -- ---- pages --------------------------------------------------------------------------------

  local ORDERS = {
    { "a" }, { "a desc" }, { "a nulls first", "b desc" }, { "a desc nulls last", "b" }, { "b", "a" }, { "b desc", "a desc", "id" },
    { "a", "b nulls first", "id desc" }, { "n", "a" }, { "n desc", "id desc" }, { "n desc", "b nulls first" }, { "id desc" },
  }
  local function ids(rows)
    local list = {}
    for i, row in ipairs(rows) do list[i] = row.id end
    return list
  end

  it("pages concatenate to the whole both ways, with NULLs and ties in any column", function()
    db:execute [[create table feed (id int primary key, a int, b text, n int not null);
      insert into feed select i, nullif(i * 7 % 5, 0), nullif('b' || i * 3 % 4, 'b0'), i % 3 from generate_series(1, 60) i]]
    for _, order in ipairs(ORDERS) do
      local name = table.concat(order, ", ")
      local query = db.t.feed:order_by(order)
      local want = ids(db:q("select id from feed order by " .. name .. (name:find "id" and "" or ", id")))
      for _, n in ipairs{ 1, 4, 7, 60, 61 } do
        local found, token, pages, before = {}, nil, {}, {}
        repeat
          local rows, next_token, prev = query:page(n, token)
          for _, row in ipairs(rows) do found[#found + 1] = row.id end
          pages[#pages + 1], before[#before + 1] = ids(rows), prev or false
          token = next_token
        until not token
        assert.same(want, found, name)
        for i = 2, #pages do
          local rows, next_token = query:page(n, before[i])
          assert.same(pages[i - 1], ids(rows), name)
          assert.same(pages[i], ids((query:page(n, next_token))), name)
        end
      end
    end
  end)

  it("a row is met once while others come and go", function()
    for _, order in ipairs(ORDERS) do
      local query, token, seen, gone = db.t.feed:order_by(order), nil, {}, {}
      local stays = {}
      for _, row in ipairs(db:q "select id from feed where id <= 60") do stays[row.id] = true end
      local k = 100
      repeat
        local rows, next_token = query:page(5, token)
        for _, row in ipairs(rows) do
          assert.is_nil(seen[row.id], table.concat(order, ", "))
          seen[row.id] = true
        end
        local victim = random(60)
        db:q("delete from feed where id = ?", victim)
        gone[victim] = true
        k = k + 1
        db:q("insert into feed values (?, ?, ?, ?)", k, pick{ 1, 3, fastpg.null }, pick{ "b1", fastpg.null }, random(3))
        token = next_token
      until not token
      for id in pairs(stays) do assert.is_true(seen[id] or gone[id], table.concat(order, ", ")) end
      db:execute [[delete from feed;
        insert into feed select i, nullif(i * 7 % 5, 0), nullif('b' || i * 3 % 4, 'b0'), i % 3 from generate_series(1, 60) i]]
    end
    db:execute "drop table feed"
  end)

  it("page 1,000 is read by an index, no more rows than the first one", function()
    db:execute [[create table log (id int primary key, at int, kind int);
      insert into log select i, case when i % 10 > 0 then i / 7 end, i % 3 from generate_series(1, 30000) i;
      analyze log]]
    -- What the plan says it read, of all scans.
    local function rows_read(plan)
      local n = 0
      local function walk(node)
        if node["Relation Name"] then
          n = n + node["Actual Rows"] * node["Actual Loops"] + (node["Rows Removed by Filter"] or 0)
          assert.not_equal("Seq Scan", node["Node Type"])
        end
        for _, inner in ipairs(node.Plans or {}) do walk(inner) end
      end
      walk(plan[1].Plan)
      return n
    end
    for _, order in ipairs{ { "id" }, { "at" }, { "at desc nulls last" }, { "kind", "at" }, { "kind desc", "at desc" } } do
      local query = db.t.log:order_by(order)
      db:execute(("drop index if exists log_order; create index log_order on log (%s, id)"):format(table.concat(order, ", ")))
      local name, token = table.concat(order, ", "), nil
      -- page 1,000 of 20 (in the middle of the rows), and of the last rows, which are NULL
      local rows, next_token = query:page(20000)
      assert.equal(20000, #rows)
      for _ = 1, 2 do
        token = next_token
        local sql, args, n
        local core = debug.getregistry()["fastpg.connection"].__index
        assert.is_not_nil(core)
        local state = require "fastpg.table.table_state"
        local run_list = state.run_list
        state.run_list = function(st, text, how, target, list, count, uses)
          sql, args, n = text, list, count
          return run_list(st, text, how, target, list, count, uses)
        end
        local ok, err = pcall(function() rows = query:page(20, token) end)
        state.run_list = run_list
        assert.is_true(ok, tostring(err))
        assert.equal(20, #rows)
        local plan = db:item("explain (analyze, format json) " .. sql, fastpg.args(args, n))
        assert.is_true(rows_read(plan) <= 25, name .. ": " .. rows_read(plan) .. " rows read\n" .. sql)
        _, next_token = query:page(8000, token)
      end
    end
    db:execute "drop table log"
  end)
end)
