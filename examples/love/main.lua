-- SPDX-License-Identifier: MIT
--
-- A game that goes on while a slow query and a big result arrive, and says how long its worst frame was.
--
--   eval "$(make env LUA=luajit)"; PGDATABASE=test love examples/love

local fastpg = require "fastpg"

local db = fastpg.create_pool({}, { max_size = 2 })
local frames, worst, angle, rows, slow = 0, 0, 0, 0, "…"

local function sleepy()
  slow = db:item "select 'slept' from pg_sleep(0.5)"
end

local function big()
  for _ in db:each "select n, md5(n::text) as text from generate_series(1, 200000) n" do rows = rows + 1 end
end

local tasks = { fastpg.spawn(sleepy), fastpg.spawn(big) }

function love.update(dt)
  angle = angle + dt
  local before = love.timer.getTime()
  fastpg.step(0) -- never waits
  worst, frames = math.max(worst, love.timer.getTime() - before), frames + 1
  if not (tasks[1].done and tasks[2].done) then return end
  for _, t in ipairs(tasks) do t:wait() end -- raises, should one have failed
  print(("%s; %d rows in %d frames, fastpg's share of the worst: %.2f ms"):format(slow, rows, frames, 1000 * worst))
  db:close()
  love.event.quit()
end

function love.draw()
  love.graphics.print(("%d rows, the query %s"):format(rows, slow), 20, 20)
  love.graphics.circle("fill", 160 + 100 * math.cos(angle), 80, 10)
end
