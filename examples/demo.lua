-- SPDX-License-Identifier: MIT
--
-- demo.lua: a tour of fastpg on a small music shop, in a private PostgreSQL server that is gone
-- afterwards.  `make demo` runs it; `make demo CHINOOK=path/to/Chinook_PostgreSql.sql` takes the real
-- file's rows.  The steps are in demo/*.lua; one that gives something else than it should fails the run.

local here = arg[0]:match "^(.*)demo%.lua$"
package.path = here .. "demo/?.lua;" .. package.path

local fastpg = require "fastpg"
local tour = require "tour"

local chinook = os.getenv "CHINOOK"
if chinook == "" then chinook = nil end

local function indented(text, prefix) return prefix .. text:gsub("\n", "\n" .. prefix) end

local steps, wrong = 0, 0

local function run(step, env)
  if type(step) == "string" then
    print("\n" .. step)
    return
  end
  print("\n  > " .. step[1]:gsub("\n", "\n  . "))
  local given, raised = tour.run(step, env)
  if given ~= "" then print(indented(given, "  ")) end
  if raised then print(indented("error: " .. raised:gsub("^[%w%./_-]+:%d+: ", ""), "  ")) end
  steps = steps + 1
  local problem = tour.problem(step, chinook ~= nil, given, raised)
  if problem then
    wrong = wrong + 1
    print(indented("WRONG: it " .. problem, "  !! "))
  end
end

local pg = fastpg.cluster()
local env = tour.prepare(pg, chinook)
for i, chapter in ipairs(tour.chapters()) do
  print(("\n%d. %s\n%s"):format(i, chapter.title, ("-"):rep(70)))
  for _, step in ipairs(chapter) do run(step, env) end
end
pg:close()

print(("\n%d steps, %d wrong"):format(steps, wrong))
if wrong > 0 then os.exit(1) end
print[[

What next:
  make server              the same private server, to try things on (with how to connect)
  eval "$(make env)"       this shell's lua5.4 finds fastpg:  lua5.4 -i -e 'fastpg = require "fastpg"'
  README.md                five minutes of it; doc/manual.md is the reference
  examples/                scripts, games (LÖVE), Neovim, nginx, job queues, tenants]]
