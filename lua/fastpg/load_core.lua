-- SPDX-License-Identifier: MIT
--
-- load_core: loads the C core, and says which Lua it was built for when it is the wrong one.  And has the other files of the
-- library loaded as they were compiled when the core was built, where their text is the same (csrc/lua/compiled.c).

local error, ipairs, pairs, pcall, rawget, type = error, ipairs, pairs, pcall, rawget, type

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

-- Is what was compiled this very Lua's?  A short text is compiled again to see: with the name that it was dumped with, which
-- takes one byte and its length.
local function is_ours(version, probe)
  if not version or version ~= (rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION) then return false end
  local text, head, tail = core.compiled_text(probe)
  local compiled = (rawget(_G, "loadstring") or load)(text, "@fastpg")
  local dump = compiled and string.dump(compiled)
  return dump and dump:sub(1, #head) == head and dump:sub(-#tail) == tail
end

-- By package.preload, which is asked before package.path is searched: for the files beside this one only, and none that the
-- program has put there itself.
local function preload(version, places)
  local here = debug.getinfo(1, "S").source:match "^@(.*)load_core%.lua$"
  if not here or not is_ours(version, places.probe) then return end
  local preloaded, place_of = package.preload, {}

  local function load_file(name)
    preloaded[name] = nil
    local path = here .. name:sub(#"fastpg." + 1):gsub("%.", "/") .. ".lua"
    local run = core.load_compiled(place_of[name], path)
    if run then return run(name, path) end
    for _, searcher in ipairs(package.searchers or package.loaders) do -- as if nothing had been preloaded
      local loader, extra = searcher(name)
      if type(loader) == "function" then return loader(name, extra) end
    end
    return error(("module '%s' not found"):format(name), 0)
  end

  for file, place in pairs(places) do
    local name = "fastpg." .. file:gsub("%.lua$", ""):gsub("/", ".")
    if file ~= "probe" and preloaded[name] == nil then preloaded[name], place_of[name] = load_file, place end
  end
end
preload(core.compiled_files())

return core
