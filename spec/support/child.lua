-- SPDX-License-Identifier: MIT
--
-- child.lua: a script in a Lua of its own, the one that the specs run on.

local lua = os.getenv "FPG_TEST_LUA"

--- What it prints, with these environment variables and arguments.
---@param variables table<string, string>
---@param script string
---@param ... string
return function(variables, script, ...)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(script)
  f:close()
  local words = {}
  for k, v in pairs(variables) do words[#words + 1] = ("%s='%s'"):format(k, v) end
  words[#words + 1] = lua .. " " .. path
  for i = 1, select("#", ...) do words[#words + 1] = "'" .. (select(i, ...)) .. "'" end
  local pipe = io.popen(table.concat(words, " ") .. " 2>&1")
  local out = pipe:read "*a"
  pipe:close()
  os.remove(path)
  return (out:gsub("\n$", ""))
end
