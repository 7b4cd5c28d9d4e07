-- SPDX-License-Identifier: MIT
--
-- failover.lua: a primary crashes under a writer, and a standby takes over: nothing that was confirmed is lost.
--
--   lua5.4 examples/failover.lua

local fastpg = require "fastpg"

local pg = fastpg.cluster{ standbys = 2, synchronous = true }
pg:connect():execute "create table entry (n int)"
local confirmed, stop = 0, false

local function write() -- whoever is the primary gets it
  local db
  while not stop do
    local ok = pcall(function()
      db = db or pg:connect()
      confirmed = db:item("insert into entry values (?) returning n", confirmed + 1)
    end)
    if not ok then
      db = nil
      fastpg.sleep(0.01)
    end
  end
end

fastpg.run(function()
  local writer = fastpg.spawn(write)
  while confirmed < 50 do fastpg.sleep(0.01) end
  print "the primary crashes"
  pg:crash()
  pg:promote()
  print "a standby is the primary"
  pg:start() -- the old primary comes back as a standby
  stop = true
  writer:wait()
end)

local there = pg:connect():item "select count(distinct n) from entry"
print(("%d writes confirmed, %d of them lost"):format(confirmed, confirmed - there))
print(#pg.standbys .. " standbys again")
pg:close()
