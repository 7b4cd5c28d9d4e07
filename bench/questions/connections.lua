-- SPDX-License-Identifier: MIT
--
-- And the same queries by ten tasks at once, on ten connections: luv for fastpg, uvloop for asyncpg?

local queries = dofile "bench/questions/queries.lua"

local cases = {}
for i, case in ipairs(queries.cases) do
  case.tasks, case.count = 10, math.max(20, case.count)
  case.targets = { case.targets[1], { "asyncpg", 1, 1, wall = true } }
  cases[i] = case
end

return {
  title = "The same by ten tasks on ten connections",
  who = { "asyncpg", "fastpg" },
  setup = queries.setup,
  cases = cases,
}
