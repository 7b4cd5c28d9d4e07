-- SPDX-License-Identifier: MIT
--
-- luv.lua: three slow queries side by side, while a timer of the program's own goes on ticking.
--
--   PGDATABASE=test luajit examples/luv.lua

local fastpg = require "fastpg"
local uv = require "luv"

fastpg.set_loop "luv"
local db = fastpg.create_pool({}, { max_size = 3 })

local ticks = 0
local timer = uv.new_timer()
timer:start(10, 10, function() ticks = ticks + 1 end)

-- A function that asks the server, which takes its time.
local function slow(seconds)
  return function()
    local row = db:q("select $1::float8 as seconds, pg_sleep($1)", seconds)[1]
    print("after " .. row.seconds .. " s")
    return row.seconds
  end
end

fastpg.spawn(function()
  local a, b, c = fastpg.gather(slow(0.3), slow(0.2), slow(0.1))
  print("together " .. a + b + c .. " s of waiting")
  print(ticks >= 10 and "the timer ticked all the time" or "the timer stood still")
  timer:close()
end)

uv.run() -- ends by itself: an idle connection keeps no loop alive
db:close()
