-- SPDX-License-Identifier: MIT
--
-- What takes long is done in slices under a loop: others have turns in between, nothing else is different, and whoever is
-- stopped in the middle leaves nothing behind. (How long a slice takes bench/frames.lua tells.)

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local Route = require "fastpg.pool.route"

local db = pg.db()

setup(function() fastpg.on_error = function() end end) -- of those who are stopped
teardown(function() fastpg.on_error = nil end)

-- Runs fn as a task of the stepper; what it gave, and how many turns another task had meanwhile.
local function beside(fn)
  local turns, over = 0, false
  local t = fastpg.spawn(function()
    local result = fn()
    over = true
    return result
  end)
  fastpg.spawn(function()
    while not over and not t.done do
      turns = turns + 1
      fastpg.sleep(0)
    end
  end)
  while fastpg.step(0.01) do end
  return t:wait(), turns
end

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local ROWS = "SELECT g AS a, 'text ' || g AS b FROM generate_series(1, ?::int) g"

describe("a pipeline of many statements", function()
  it("gives turns while it is prepared, sent and read", function()
    local results, turns = beside(function()
      return db:pipeline(function(p)
        for i = 1, 5000 do p:execute("SELECT ?::int", i) end
      end)
    end)
    assert.equal(5000, #results)
    assert.equal("SELECT 1", results[5000])
    assert.is_true(turns >= 5, turns)
  end)
end)

describe("a long list of rows", function()
  it("is made in pieces, and is the same", function()
    local expected = db:q(ROWS, 20000)
    local rows, turns = beside(function() return db:q(ROWS, 20000) end)
    assert.is_true(turns >= 20, turns) -- fastpg.step decodes 1,000 rows at most
    assert.equal(fastpg.to_json(expected), fastpg.to_json(rows))
    assert.equal(tostring(expected[1]), tostring(rows[1]))
  end)

  it("of any kind", function()
    for _, method in ipairs{ "q", "arrays" } do
      local rows, turns = beside(function() return db[method](db, ROWS, 5000) end)
      assert.is_true(turns >= 5, turns)
      assert.equal(5000, #rows)
    end
  end)

  it("counts bytes, too: heavy rows come a few at a time", function()
    local sql = "SELECT repeat('x', 100000) AS t FROM generate_series(1, 60)"
    local reads, originals = 0, {}
    beside(function()
      db:acquire(function(conn)
        local c = Route.of(conn):connection()
        local methods = getmetatable(c.c).__index
        for _, name in ipairs{ "fetch_more", "lay_rows" } do -- (the second: fastpg.pg.flat_rows)
          originals[name] = methods[name]
          methods[name] = function(...)
            reads = reads + 1
            return originals[name](...)
          end
        end
        local rows = conn:q(sql)
        for name, original in pairs(originals) do methods[name] = original end
        assert.equal(60, #rows)
        assert.equal(100000, #rows[60].t)
      end)
    end)
    assert.is_true(reads >= 30, reads)
  end)

  it("a task that is canceled in the middle, a database that is closed: the connection is of use, or gone", function()
    for _, way in ipairs{ "cancel", "close" } do
      local own = pg.db()
      local turns = 0
      local t = fastpg.spawn(function() return own:q(ROWS, 50000) end)
      fastpg.spawn(function()
        while not t.done do
          turns = turns + 1
          if turns == 20 then
            if way == "cancel" then t:cancel() else own:close(0) end
          end
          fastpg.sleep(0)
        end
      end)
      while fastpg.step(0.01) do end
      pcall(t.wait, t)
      if way == "cancel" then assert.equal(1, own:item "SELECT 1") end
      own:close()
      collectgarbage()
      collectgarbage()
    end
  end)
end)

-- ---- long values ------------------------------------------------------------------------------------------------------

local DOCUMENTS = {
  { "a list", "SELECT jsonb_agg(g) FROM generate_series(1, 20000) g" },
  { "objects", "SELECT jsonb_agg(jsonb_build_object('id', g, 'n', null, 't', ARRAY['a', 'b'], 'x', g / 7.0, 'y', '{}'::jsonb)) "
    .. "FROM generate_series(1, 3000) g" },
  { "one object", "SELECT jsonb_object_agg('key ' || g, g % 3 = 0) FROM generate_series(1, 5000) g" },
  { "nested deeply", "SELECT (repeat('[1, {\"a\": ', 400) || '\"x\"' || repeat('}]', 400) || repeat(' ', 20000))::json" },
  { "nested too deeply", "SELECT (repeat('[', 1500) || repeat(' ', 20000) || repeat(']', 1500))::json" },
  { "strings with escapes", [[SELECT jsonb_agg('line' || chr(10) || '"' || g || E'\\é') FROM generate_series(1, 3000) g]] },
  { "one string", "SELECT to_json(repeat('é', 50000))" },
  { "equal keys", [[SELECT ('{' || string_agg('"k": ' || g, ', ') || '}')::json FROM generate_series(1, 5000) g]] },
  { "numbers", "SELECT json_agg(10::numeric ^ (g % 60) / 3) FROM generate_series(1, 2000) g" },
  { "ints", "SELECT array_agg(g) FROM generate_series(1, 20000) g" },
  { "texts", "SELECT array_agg(CASE WHEN g % 3 > 0 THEN 'text ' || g END) FROM generate_series(1, 5000) g" },
  { "two dimensions", "SELECT array_agg(ARRAY[g, g + 1, NULL]) FROM generate_series(1, 5000) g" },
  { "three dimensions", "SELECT array_agg(ARRAY[ARRAY[g, 1], ARRAY[g, 2]]) FROM generate_series(1, 3000) g" },
  { "lower bounds", "SELECT ('[5:20004]={' || string_agg(g::text, ',') || '}')::int[] FROM generate_series(1, 20000) g" },
  { "lists of json", "SELECT array_agg(to_jsonb(ARRAY[g, 2])) FROM generate_series(1, 3000) g" },
}

-- How a connection's result is read by slices that are over at once.
local function in_shortest_slices(sql)
  local value, slices
  db:acquire(function(conn)
    local route = Route.of(conn)
    local connection = route:connection()
    local c = connection.c
    local st = connection:statement(sql)
    connection:send("send_query", st)
    connection:drive()
    local heavy = c:heavy(st)
    assert.is_truthy(heavy, sql)
    slices = 1
    while not c:heavy_more(heavy, st, 0) do
      slices = slices + 1
      if slices % 50 == 0 then collectgarbage() end
    end
    c:heavy_ready(heavy)
    value = c:fetch_item(st)
    c:heavy_over()
  end)
  return value, slices
end

describe("a long value", function()
  for _, document in ipairs(DOCUMENTS) do
    local name, sql = document[1], document[2]
    it("is read in slices, and is the same: " .. name, function()
      local expected = db:item(sql)
      local value, slices = in_shortest_slices(sql)
      if type(expected) == "table" and name:find "deeply" == nil then assert.is_true(slices > 10, slices) end
      assert.same(type(expected), type(value))
      assert.equal(fastpg.to_json(expected), fastpg.to_json(value))
      if type(expected) == "table" then assert.equal(getmetatable(expected), getmetatable(value)) end
      assert.equal(fastpg.to_json(expected), fastpg.to_json((beside(function() return db:item(sql) end))))
    end)
  end

  local LIST = DOCUMENTS[2][2]
  local function all_ways()
    return {
      q = function(d) return d:q(LIST .. " -- q")[1].jsonb_agg end,
      first = function(d) return d:first(LIST).jsonb_agg end,
      qone = function(d) return d:qone(LIST).jsonb_agg end,
      item = function(d) return d:item(LIST) end,
      fetchval = function(d) return d:fetchval(LIST) end,
      arrays = function(d) return d:arrays(LIST)[1][1] end,
      each = function(d)
        local found
        d:each(LIST, function(row) found = row.jsonb_agg end)
        return found
      end,
      pipeline = function(d) return d:pipeline(function(p) p:item(LIST) end)[1] end,
      transaction = function(d) return d:transaction(function(tx) return tx:item(LIST) end) end,
    }
  end

  it("in every way to fetch it", function()
    local expected = fastpg.to_json(db:item(LIST))
    for name, way in pairs(all_ways()) do
      assert.equal(expected, fastpg.to_json((beside(function() return way(db) end))), name)
    end
  end)

  it("beside others that are short, in many rows", function()
    local sql = "SELECT g AS id, CASE WHEN g % 10 = 0 THEN (SELECT jsonb_agg(x + g) FROM generate_series(1, 4000) x) END AS doc, "
      .. "CASE WHEN g % 7 = 0 THEN (SELECT array_agg(x) FROM generate_series(1, 5000) x) ELSE '{1}' END AS list "
      .. "FROM generate_series(1, 60) g"
    local rows, turns = beside(function() return db:q(sql) end)
    assert.is_true(turns >= 2, turns)
    assert.equal(fastpg.to_json(db:q(sql)), fastpg.to_json(rows))
    assert.is_nil(rows[1].doc)
    assert.equal(4010, rows[10].doc[4000])
  end)

  it("whoever is stopped in the middle leaves nothing behind", function()
    for _, way in ipairs{ "cancel", "close" } do
      local own = pg.db()
      local t = fastpg.spawn(function() return own:item "SELECT jsonb_agg(g) FROM generate_series(1, 300000) g" end)
      local methods = getmetatable(own:acquire(function(conn) return Route.of(conn):connection().c end)).__index
      local more, calls = methods.heavy_more, 0
      methods.heavy_more = function(...)
        calls = calls + 1
        return more(...)
      end
      for _ = 1, 10000 do
        fastpg.step(0.01)
        if calls >= 2 then break end
      end
      methods.heavy_more = more
      assert.is_false(t.done)
      if way == "cancel" then t:cancel() elseif way == "close" then own:close(0) end
      while fastpg.step(0.01) do end
      if way == "close" then
        assert.equal("closed", error_of(t.wait, t).name)
      else
        pcall(t.wait, t)
        assert.equal(1, own:item "SELECT 1")
      end
      own:close()
      collectgarbage()
      collectgarbage()
    end
  end)

  it("is read at once where nobody has to have a turn", function()
    local methods = getmetatable(db:acquire(function(conn) return Route.of(conn):connection().c end)).__index
    local heavy = methods.heavy
    methods.heavy = function() error "a script has nobody to let go on" end
    local ok, value = pcall(db.item, db, LIST)
    methods.heavy = heavy
    assert.is_true(ok, value)
    assert.equal(3000, #value)
  end)
end)

describe("a big result", function()
  it("is cleared by a thread, where the caller may not be held up", function()
    for _ = 1, 3 do
      beside(function()
        db:execute("SELECT g, repeat('x', 100) FROM generate_series(1, 40000) g")
        assert.equal(1, db:first("SELECT g FROM generate_series(1, 100000) g").g)
      end)
    end
  end)
end)

describe("many tasks", function()
  -- How many steps it takes, what each of them runs being over at once.
  local function steps_of(fn)
    local t, steps = fastpg.spawn(fn), 0
    while fastpg.step(0) do steps = steps + 1 end
    return t:wait(), steps
  end

  it("are made and run a share a step", function()
    local sum, steps = steps_of(function()
      local fns = {}
      for i = 1, 3000 do
        fns[i] = function()
          fastpg.sleep(0)
          return i
        end
      end
      local sum = 0
      for _, n in ipairs{ fastpg.gather((table.unpack or unpack)(fns)) } do sum = sum + n end -- luacheck: ignore
      return sum
    end)
    assert.equal(3000 * 3001 / 2, sum)
    assert.is_true(steps >= 3, steps)
  end)

  it("whose share is over go on in the next step, in their order", function()
    local order = {}
    for i = 1, 50 do
      fastpg.spawn(function()
        local ends = require("fastpg.core").clock() + 0.001 -- longer than a step's share
        repeat until require("fastpg.core").clock() >= ends
        order[#order + 1] = i
      end)
    end
    local steps = 0
    while fastpg.step(0) do
      steps = steps + 1
      assert.is_true(#order <= 2 * steps, #order)
    end
    for i = 1, 50 do assert.equal(i, order[i]) end
  end)

  it("the first error of gather cancels those that were not begun, too", function()
    local fns = { function() error "first" end }
    for i = 2, 500 do
      fns[i] = function() fastpg.sleep(100) end
    end
    local t = fastpg.spawn(function() fastpg.gather((table.unpack or unpack)(fns)) end) -- luacheck: ignore
    while fastpg.step(0.01) do end
    local err = error_of(t.wait, t)
    assert.is_truthy(tostring(err):find "first", err)
  end)

  it("a pool of many connections is closed a few at a time", function()
    local pool = pg.cluster():create_pool({}, { max_size = 30, min_size = 30 })
    local _, steps = steps_of(function() pool:close() end)
    assert.is_true(steps >= 1, steps)
    assert.equal(0, pool:stats().size)
  end)
end)
