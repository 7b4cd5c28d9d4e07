-- SPDX-License-Identifier: MIT
--
-- fastpg_peer.lua: the cases in fastpg, on the Lua that runs it.
--
--   lua5.4 bench/peers/fastpg_peer.lua URI CASES [name=count ...]        see peer.lua

local began = os.clock()
local fastpg = require "fastpg"
local loading = os.clock() - began

local peer = dofile "bench/peers/peer.lua"
local clock = require("fastpg.core").clock
local unpack = table.unpack or unpack

local uri = arg[1]
local contestant = { name = "fastpg", clock = clock, db = fastpg.connect(uri) }

function contestant.execute(sql) contestant.db:execute(sql) end

function contestant.rows_sum(sql, columns) return peer.sum(contestant.db:q(sql), columns) end

-- ---- reading ------------------------------------------------------------------------------------

-- What the Table layer is asked, for the cases that go through it; each gives a list of rows.
local ways = {}

function ways.get(t, case)
  local key = case.args[1]
  return function() return { t[key] } end
end

function ways.list(t, case)
  local limit = case.args[1]
  return function() return t{ limit = limit } end
end

local function record_of(case)
  local record, i = {}, 0
  for name in case.names:gmatch "[^,]+" do
    i = i + 1
    record[name] = case.args[i]
  end
  return record
end

function ways.insert(t, case)
  local record = record_of(case)
  return function() return { t:insert(record) } end
end

function ways.update(t, case)
  local record = record_of(case)
  return function() return { t:update(record) } end
end

-- Written out: a program passes its arguments, it does not unpack a list each time.
local function by_sql(db, case)
  local sql, a, b, c = case.sql, unpack(case.args)
  local n = #case.args
  if n == 0 then return function() return db:q(sql) end end
  if n == 1 then return function() return db:q(sql, a) end end
  if n == 2 then return function() return db:q(sql, a, b) end end
  return function() return db:q(sql, a, b, c) end
end

local kinds = {}

-- By position, as db:arrays gives them.
local function positional(columns)
  local places = {}
  for i, column in ipairs(columns) do places[i] = { name = i, kind = column.kind } end
  return places
end

function kinds.arrays(db, case)
  local columns = positional(case.columns)
  local read, sql = peer.reader(columns), case.sql
  local function fetch() return db:arrays(sql) end
  return function() return read(fetch()) end, function() return peer.sum(fetch(), columns) end
end

function kinds.rows(db, case)
  local fetch = case.way and ways[case.way](db.t[case.table], case) or by_sql(db, case)
  local read = peer.reader(case.columns)
  return function() return read(fetch()) end, function() return peer.sum(fetch(), case.columns) end
end

function kinds.held(db, case) return peer.held(by_sql(db, case), case.columns) end

function kinds.stream(db, case)
  local read = peer.row_reader(case.columns)
  return function()
    local n = 0
    for row in db:each(case.sql) do
      read(row)
      n = n + 1
    end
    return n
  end, function()
    local h = 0
    for row in db:each(case.sql) do h = peer.add_row(h, row, case.columns) end
    return h
  end
end

function kinds.execute(db, case)
  return function()
    db:execute(case.sql)
    return 0
  end
end

-- ---- writing ------------------------------------------------------------------------------------

function kinds.copy(db, case)
  local t, n = db.t.record, case.n
  if case.source == "iterator" then
    return function()
      local i = 0
      return t:copy(function()
        i = i + 1
        if i <= n then return peer.record() end
      end)
    end
  end
  local list = peer.list(n, peer.record)
  if case.way == "inserts" then return function() return #t:inserts(list) end end
  return function() return t:copy(list) end
end

function kinds.copytext(db, case)
  local text = ("10\t11\t10\tTESTTESTTEST\t10.333\t12341234\t123412341234\n"):rep(case.n)
  return function() return db:copy_from("COPY record FROM STDIN", text) end
end

function kinds.batch(db, case)
  local list = peer.list(case.n, peer.record_values)
  return function() return db:executemany(case.sql, list) end
end

-- The ways to write case.n rows, one after the other or together.
local write_ways = {}

function write_ways.insert(_, t, list)
  return function()
    for i = 1, #list do t:insert(list[i]) end
    return #list
  end
end

function write_ways.transaction(db, t, list)
  local once = write_ways.insert(db, t, list)
  return function() return db:transaction(once) end
end

function write_ways.pipeline(db, _, list)
  return function()
    return #db:pipeline(function(p)
      for i = 1, #list do
        local r = list[i]
        p:execute("INSERT INTO record (a, b, c, d, e, f, g) VALUES ($1, $2, $3, $4, $5, $6, $7)", r.a, r.b, r.c, r.d, r.e, r.f, r.g)
      end
    end)
  end
end

function write_ways.inserts(_, t, list) return function() return #t:inserts(list) end end

function write_ways.copy(_, t, list) return function() return t:copy(list) end end

function kinds.write(db, case) return write_ways[case.way](db, db.t.record, peer.list(case.n, peer.record)) end

-- ---- starting -----------------------------------------------------------------------------------

function kinds.load() return function() end, nil, function(count) return loading * count, 0 end end

function kinds.connect()
  return function()
    fastpg.connect(uri):close()
    return 0
  end
end

-- The first row of a table by a new connection, which has read no catalog yet.
function kinds.firstuse(_, case)
  local there = uri:match "^.*/" .. case.database
  local function use()
    local db = fastpg.connect(there)
    local cpu, wall = os.clock(), clock()
    local row = db.t[case.table][1]
    cpu, wall = os.clock() - cpu, clock() - wall
    db:close()
    return cpu, wall, row
  end
  return function() return 1 end, function() return peer.sum({ (select(3, use())) }, case.columns) end, function(count)
    local cpu, wall = 0, 0
    for _ = 1, count do
      local more_cpu, more_wall = use()
      cpu, wall = cpu + more_cpu, wall + more_wall
    end
    return cpu, wall
  end
end

contestant.kinds = kinds

-- ---- several at once ------------------------------------------------------------------------------

local pool

--- So many tasks under luv share ten connections and the work.
function contestant.together(case)
  local uv = require "luv"
  fastpg.set_loop "luv"
  pool = pool or fastpg.create_pool(uri, { max_size = 10 })
  return pool, function(once, count)
    local tasks = math.min(case.tasks, count)
    for i = 1, tasks do
      fastpg.spawn(function()
        for _ = i, count, tasks do once() end
      end)
    end
    uv.run()
  end
end

peer.main(contestant)
