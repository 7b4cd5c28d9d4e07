-- SPDX-License-Identifier: MIT
--
-- child.lua: a script in a Lua of its own, the one that the specs run on.

local lua = os.getenv "FPG_TEST_LUA"

--- What it prints, with these environment variables and arguments.
---@param variables table<string, string>  [1]: a command of the shell before it ("ulimit -n 100")
---@param script string
---@param ... string
return function(variables, script, ...)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(script)
  f:close()
  local words = {}
  if variables[1] then words[1] = variables[1] .. ";" end
  for k, v in pairs(variables) do
    if k ~= 1 then words[#words + 1] = ("%s='%s'"):format(k, v) end
  end
  words[#words + 1] = lua .. " " .. path
  for i = 1, select("#", ...) do words[#words + 1] = "'" .. (select(i, ...)) .. "'" end
  local pipe = io.popen(table.concat(words, " ") .. " 2>&1")
  local out = pipe:read "*a"
  pipe:close()
  os.remove(path)
  return (out:gsub("\n$", ""))
end
