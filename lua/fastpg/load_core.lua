-- SPDX-License-Identifier: MIT
--
-- load_core: loads the C core, and says which Lua it was built for when it is the wrong one.

local error, pcall, rawget = error, pcall, rawget

local this_lua = rawget(_G, "jit") and "luajit" or _VERSION:lower():gsub(" ", "")

-- The file that require would load, searched as package.searchpath does (5.1 has none).
local function find_core()
  for template in package.cpath:gmatch("[^;]+") do
    local path = template:gsub("%?", "fastpg/core")
    local f = io.open(path, "rb")
    if f then
      local bytes = f:read("*a")
      f:close()
      return path, bytes
    end
  end
end

local function explain(problem)
  local path, bytes = find_core()
  local built_for = bytes and bytes:match("fastpg%-abi:([%w%.]+);")
  if built_for and built_for ~= this_lua then
    return ("fastpg: %s was built for %s, this is %s: build with `make LUA=%s` and use the paths of `make env LUA=%s`")
      :format(path, built_for, this_lua, this_lua, this_lua)
  end
  if path then return problem end
  return ("fastpg: its C core (fastpg/core.so) is not built for %s, or not where Lua looks for it: build it with `make LUA=%s` "
    .. "and use the paths of `make env LUA=%s`, or install it (`make install`, `luarocks make`). Looked for in package.cpath: %s")
    :format(this_lua, this_lua, this_lua, package.cpath)
end

local ok, core = pcall(require, "fastpg.core")
if not ok then error(explain(core), 0) end
if core.abi ~= this_lua then error(explain(("fastpg.core was built for %s, this is %s"):format(core.abi, this_lua)), 0) end

return core
