-- SPDX-License-Identifier: MIT
--
-- jobs.lua: a table as a job queue.  Run it several times at once: no job is done twice.
--
--   PGDATABASE=test lua5.4 examples/jobs.lua [number of jobs to add]

local fastpg = require "fastpg"

local db = fastpg.connect()
local jobs = db:create_from_schema("job", [[
  id bigserial primary key, payload jsonb not null, status text not null default 'pending',
  added timestamptz not null default now()
]], { if_not_exists = true })

local new = {}
for i = 1, tonumber(arg[1] or 3) do new[i] = { payload = { number = i, tags = { "odd", "even" } } } end
jobs:inserts(new)

-- An error marks the job as failed; the next one is taken all the same.
local function work(p)
  local number = p.row.payload.number
  if number % 3 == 0 then error("job " .. number .. " can't be done", 0) end
  print("done: " .. number)
end

while true do
  local p = jobs:claim_one({ order_by = "id" }, work)
  if not p then break end
  if p.failed then print("failed: " .. tostring(p.error)) end
end

for status, count in pairs(jobs:groupby("status", "count(*)")) do print(status, count) end
db:close()
