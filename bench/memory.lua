-- SPDX-License-Identifier: MIT
--
-- memory.lua: does anything grow with the number of statements?
--
--   lua5.4 bench/memory.lua [kind ...]      a private server; COUNT=1000000 statements of each kind, QUICK=1: a hundredth
--
-- Printed is what the process holds (resident, kB) and what Lua holds of it after a full collection (heap, kB), after 10, 50
-- and 100 % of the statements; and what the second half added of each. What grows does so in proportion: 4 kB by 500,000
-- statements is a page by chance, 4 MB is 8 bytes each.

local fastpg = require "fastpg"

local COUNT = tonumber(os.getenv "COUNT") or os.getenv "QUICK" and 10000 or 1000000

local pg = fastpg.cluster()
local db = pg:connect()
local pool = pg:create_pool({}, { max_size = 4 })
db:execute [[
  CREATE UNLOGGED TABLE artist (artist_id int primary key, name text);
  INSERT INTO artist SELECT g, 'artist ' || g FROM generate_series(1, 100) g;
  CREATE UNLOGGED TABLE event (id bigserial primary key, name text, doc jsonb);
]]
local artist, event = db.t.artist, db.t.event

-- ---- the kinds: each runs some statements and says how many ---------------------------------------------------------

local kinds, order = {}, {}
local function kind(name, fn)
  kinds[name], order[#order + 1] = fn, name
end

kind("select by q", function(i)
  assert(#db:q("SELECT * FROM artist WHERE artist_id = ?", i % 100 + 1) == 1)
  return 1
end)
kind("one row, t[1]", function(i)
  assert(artist[i % 100 + 1].name)
  return 1
end)
kind("insert", function(i)
  if i % 100000 == 0 then db:execute "TRUNCATE event" end
  assert(event:insert{ name = "event", doc = { i } }.id)
  return 1
end)
kind("update", function(i)
  assert(artist:update{ artist_id = i % 100 + 1, name = "artist " .. i }.name)
  return 1
end)
kind("pipeline of 100", function()
  local results = db:pipeline(function(p)
    for j = 1, 100 do p:item("SELECT ?::int", j) end
  end)
  assert(results[100] == 100)
  return 100
end)
kind("executemany of 100", function(i)
  local list = {}
  for j = 1, 100 do list[j] = { "artist " .. i, j } end
  assert(db:executemany("UPDATE artist SET name = ? WHERE artist_id = ?", list) == 100)
  return 100
end)
kind("transaction", function(i)
  db:transaction(function(tx) assert(tx:item("SELECT ?::int", i) == i) end)
  return 1
end)
kind("transaction that fails", function()
  pcall(db.transaction, db, function(tx) tx:item "SELECT 1 / 0" end)
  return 1
end)
kind("each, 100 rows", function()
  local n = 0
  for _ in db:each "SELECT g, g::text AS t FROM generate_series(1, 100) g" do n = n + 1 end
  assert(n == 100)
  return 1
end)
kind("each that is left", function()
  db:each("SELECT g FROM generate_series(1, 100) g", function() return false end)
  return 1
end)
kind("copy of 100 rows", function(i)
  local list = {}
  for j = 1, 100 do list[j] = { id = i * 100 + j, name = "x" } end
  db:execute "TRUNCATE event"
  event:copy(list)
  return 10 -- (as dear as ten)
end)
kind("error of the server", function()
  assert(not pcall(db.q, db, "SELECT 1 / 0"))
  return 1
end)
kind("error of an argument", function()
  assert(not pcall(db.item, db, "SELECT ?::int", {}))
  return 1
end)
kind("prepared eviction", function(i)
  assert(db:item("SELECT " .. i) == i)
  return 1
end)
kind("tables, names unknown", function(i)
  assert(not pcall(function() return db.t["none_" .. i][1] end))
  return 10
end)
kind("pool and tasks", function()
  fastpg.run(function()
    local fns = {}
    for j = 1, 100 do fns[j] = function() return pool:item("SELECT ?::int", j) end end
    fastpg.gather((table.unpack or unpack)(fns)) -- luacheck: ignore
  end)
  return 100
end)
kind("connections", function()
  pg:connect():close()
  return 100 -- (each is a process of the server)
end)

-- ---- measuring -----------------------------------------------------------------------------------------------------

local function resident()
  local f = assert(io.open "/proc/self/statm", "no /proc here")
  local pages = tonumber(f:read("*a"):match "%d+ (%d+)")
  f:close()
  return pages * 4
end

local function look()
  collectgarbage()
  collectgarbage()
  return resident(), collectgarbage "count"
end

local function run(fn, from, to)
  while from < to do from = from + math.max(1, fn(from)) end
  return from
end

local ROW = "%-24s %8s %8s %8s   %8s %8s %8s   %9s %9s"
print(("%s, %d statements of each kind"):format(_VERSION .. (rawget(_G, "jit") and " (LuaJIT)" or ""), COUNT))
print(ROW:format("kB", "RSS 10%", "50%", "100%", "heap 10%", "50%", "100%", "RSS grew", "heap grew"))

local function measure(name)
  local fn, at, rss, heap = kinds[name], 0, {}, {}
  for i, share in ipairs{ 0.1, 0.5, 1 } do
    at = run(fn, at, COUNT * share)
    rss[i], heap[i] = look()
  end
  local function kb(n) return ("%.0f"):format(n) end
  print(ROW:format(name, kb(rss[1]), kb(rss[2]), kb(rss[3]), kb(heap[1]), kb(heap[2]), kb(heap[3]), kb(rss[3] - rss[2]),
    kb(heap[3] - heap[2])))
  io.stdout:flush()
end

local wanted = arg[1] and arg or order
for _, name in ipairs(wanted) do measure(name) end
pool:close()
db:close()
pg:close()
