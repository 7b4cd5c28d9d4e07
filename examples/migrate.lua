-- SPDX-License-Identifier: MIT
--
-- A schema that grows by numbered files, which each database runs once, one process at a time.
--
--   lua examples/migrate.lua              runs what has not run yet of examples/migrate/
--   lua examples/migrate.lua --dry-run    tells what that would be
--   lua examples/migrate.lua 1            goes up or down to that number

local fastpg = require "fastpg"

local argument = ...
local db = fastpg.connect() -- PGHOST, PGDATABASE, …
local ok, result = pcall(fastpg.migrate, db, "examples/migrate", {
  dry_run = argument == "--dry-run" or nil,
  to = tonumber(argument),
})
if not ok then
  io.stderr:write(tostring(result), "\n")
  os.exit(1)
end

for _, step in ipairs(result) do
  print(step.direction, step.file)
  for _, statement in ipairs(step.statements or {}) do print("  " .. statement:gsub("%s+", " ")) end
end
print(#result == 0 and "nothing to do" or #result .. " files")
db:close()
