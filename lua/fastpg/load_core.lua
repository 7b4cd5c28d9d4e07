-- SPDX-License-Identifier: MIT
--
-- load_core: loads the C core, and says which Lua it was built for when it is the wrong one.  And has the other files of the
-- library loaded as they were compiled when the core was built, where their text is the same (csrc/lua/compiled.c).

local error, ipairs, next, pairs, pcall = error, ipairs, next, pairs, pcall
local rawget, setmetatable, type = rawget, setmetatable, type

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

local preloaded, place_of, here, known = package.preload, {}, nil, false

local function path_of(name) return here .. name:sub(#"fastpg." + 1):gsub("%.", "/") .. ".lua" end

-- What a file that is loaded later finds as its globals: Lua's own as they are now, whatever a program puts in their place.
-- (`print` and `require` are meant as they are then.)
local function originals()
  local own = {}
  for name, value in pairs(_G) do
    local is_lua = type(value) == "function" or package.loaded[name] == value
    if is_lua and name ~= "print" and name ~= "require" then own[name] = value end
  end
  return setmetatable(own, { __index = _G, __newindex = _G })
end

local env, setfenv, setupvalue = nil, rawget(_G, "setfenv"), debug.setupvalue

local function load_file(name)
  preloaded[name] = nil
  local path = path_of(name)
  local run = core.load_compiled(place_of[name], path, known)
  if run then
    if known and setfenv then setfenv(run, env) elseif known then setupvalue(run, 1, env) end
    return run(name, path)
  end
  for _, searcher in ipairs(package.searchers or package.loaders) do -- as if nothing had been preloaded
    local loader, extra = searcher(name)
    if type(loader) == "function" then return loader(name, extra) end
  end
  return error(("module '%s' not found"):format(name), 0)
end

-- By package.preload, which is asked before package.path is searched: for the files beside this one only, and none that the
-- program has put there itself.
local function preload(version, places)
  here = debug.getinfo(1, "S").source:match "^@(.*)load_core%.lua$"
  if not here or not is_ours(version, places.probe) then return end
  for file, place in pairs(places) do
    local name = "fastpg." .. file:gsub("%.lua$", ""):gsub("/", ".")
    if file ~= "probe" and preloaded[name] == nil then preloaded[name], place_of[name] = load_file, place end
  end
end
preload(core.compiled_files())

local load_core = {}

--- May what is not loaded yet be loaded when it is needed?  Then it will be what its file holds now, and no file is read any
--- more: the process may have gone into another directory, have no descriptors left, or be an older one than the files.
---@return boolean
function load_core.settled()
  local ngx = rawget(_G, "ngx")
  if not next(place_of) or type(ngx) == "table" and ngx.get_phase ~= nil then return false end
  for name, place in pairs(place_of) do
    if preloaded[name] == load_file and not core.holds_compiled(place, path_of(name)) then return false end
  end
  env, known = originals(), true
  return true
end

return load_core
