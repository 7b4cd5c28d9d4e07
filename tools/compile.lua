-- SPDX-License-Identifier: MIT
--
-- compile.lua OUT: the files of lua/fastpg as this Lua's compiler leaves them, for csrc/lua/compiled.c, which describes the
-- format.  Where a file doesn't compile the reason is said and nothing is written.

local MARK = "@fastpg" -- the chunk's name, in whose place the file's path comes

-- Compiled and dumped again when the library is loaded: where the result differs, so does the compiler, and nothing of
-- what is compiled here is used.  Something of each kind of instruction.
local PROBE = [[
local a, b = ...
local t, s = { 1, 2.5, a, x = b }, "text"
local function f(n, ...)
  if n == 0 or a ~= n and not b then return ... end
  for i = 1, n, 2 do t[i] = (t[i] or 0) + i * 2 - i / 3 % 4 end
  for k, v in pairs(t) do t[k] = v .. s .. #s; if v == nil then break end end
  while a < b do a = -a; local c = a; t.x = function() c = c + 1; return c <= b end end
  repeat local z = t:m(n, f) until z >= 3 or z == "s"
  return f(n - 1, select("#", ...), ...)
end
return f, true, nil, false, 1e100, 70000
]]

local loadstring = rawget(_G, "loadstring") or load
local version = rawget(_G, "jit") and jit.version or _VERSION

-- What stands around the name of the chunk and its length: a byte, in 5.1 a size_t, the size of which stands in the header.
local function around_name(dump)
  local from, to = dump:find(MARK, 1, true)
  return dump:sub(1, from - 1 - (version == "Lua 5.1" and dump:byte(9) or 1)), dump:sub(to + 1)
end

local out = { version, "\n" }
local function add(name, text)
  local head, tail = around_name(string.dump(assert(loadstring(text, MARK))))
  for _, piece in ipairs{ name, "\n", #text, " ", #head, " ", #tail, "\n", text, head, tail } do out[#out + 1] = piece end
end

add("probe", PROBE)
local paths, pipe = {}, assert(io.popen "cd lua/fastpg && find . -name '*.lua'")
for path in pipe:lines() do paths[#paths + 1] = path:gsub("^%./", "") end
pipe:close()
table.sort(paths)
for _, path in ipairs(paths) do
  if path ~= "annotations.lua" and path ~= "init.lua" and path ~= "load_core.lua" then -- these are read as they are
    local file = assert(io.open("lua/fastpg/" .. path, "rb"))
    local text = file:read "*a"
    file:close()
    assert(loadstring(text, "@lua/fastpg/" .. path)) -- an error has its path
    add(path, text)
  end
end

local file = assert(io.open(arg[1], "wb"))
assert(file:write(table.concat(out)))
assert(file:close())
