-- SPDX-License-Identifier: MIT
--
-- soak.lua: what the programs of `make soak` have in common: who works where, what is open, what went wrong.

local fastpg = require "fastpg"

local soak = {}

local SHOWN = 20

--- How many things went wrong; the first ones are printed.
soak.problems = 0
function soak.problem(fmt, ...)
  soak.problems = soak.problems + 1
  if soak.problems <= SHOWN then print("WRONG: " .. fmt:format(...)) end
end

--- Runs `count` workers side by side to their end, under that loop.
---@param loop string  block, step, luv, cqueues, copas, nginx
function soak.run(loop, count, worker)
  if loop == "block" then return worker() end
  local left = count
  local function one()
    worker()
    left = left - 1
  end
  local function begin() for _ = 1, count do fastpg.spawn(one) end end
  if loop == "cqueues" then
    local controller = require("cqueues").new()
    controller:wrap(begin)
    assert(controller:loop())
    return
  end
  begin()
  if loop == "luv" then
    require("luv").run()
  elseif loop == "copas" then
    while left > 0 do require("copas").step(1) end
  elseif loop == "nginx" then
    while left > 0 do fastpg.sleep(0.01) end
  else
    while left > 0 do fastpg.step(1) end
  end
  if left > 0 then soak.problem("%d workers never ended", left) end
end

--- What is open: how many descriptors, and their names.
function soak.descriptors()
  collectgarbage()
  collectgarbage()
  local pipe = io.popen "ls -l /proc/$PPID/fd | sed -n 's/.*-> //p'"
  local names = {}
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  return #names, table.concat(names, " ")
end

--- How much memory this process has, in kB.
function soak.memory()
  local f = assert(io.open "/proc/self/status")
  local kb = tonumber(f:read("*a"):match "VmRSS:%s*(%d+)")
  f:close()
  return kb
end

--- Says how it went, and ends the program.
function soak.finish()
  print(soak.problems == 0 and "all well" or soak.problems .. " problems")
  os.exit(soak.problems == 0 and 0 or 1)
end

return soak
