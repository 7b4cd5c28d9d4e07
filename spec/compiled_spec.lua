-- SPDX-License-Identifier: MIT
-- The Lua files as the compiler leaves them (csrc/lua/compiled.c): what is run is what the files hold, whatever was compiled.

local fastpg = require "fastpg"
local core = require "fastpg.core"
local child = require "spec.support.child"

local version, places = core.compiled_files()
local here = debug.getinfo(require("fastpg.base.errors").argument, "S").source:match "^@(.*)base/errors%.lua$"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

-- A copy of the Lua files in a directory of its own, as a LUA_PATH.
local function with_copy(fn)
  local dir = os.tmpname()
  os.remove(dir)
  os.execute(("mkdir -p '%s' && cp -r '%s' '%s/fastpg'"):format(dir, here, dir))
  local ok, err = pcall(fn, dir .. "/fastpg/", ("%s/?.lua;%s/?/init.lua;;"):format(dir, dir))
  os.execute(("rm -rf '%s'"):format(dir))
  if not ok then error(err, 0) end
end

local function run(path, script, ...) return child({ LUA_PATH = path, LUA_PATH_5_4 = path, LUA_PATH_5_3 = path }, script, ...) end

-- The lines of a function and of those in it that have code.
local function shape(fn)
  local info = debug.getinfo(fn, "SL")
  local lines = {}
  for line in pairs(info.activelines) do lines[#lines + 1] = line end
  table.sort(lines)
  return info.source .. ":" .. info.linedefined .. "-" .. info.lastlinedefined .. ":" .. table.concat(lines, " ")
end

describe("the compiled files", function()
  it("are all that there are, compiled by this Lua, with the path that they are found under", function()
    assert.equal(rawget(_G, "jit") and rawget(_G, "jit").version or _VERSION, version)
    local n, pipe = 0, io.popen(("cd '%s' && find . -name '*.lua'"):format(here))
    for file in pipe:lines() do
      file = file:gsub("^%./", "")
      if file ~= "init.lua" and file ~= "load_core.lua" and file ~= "annotations.lua" then
        n = n + 1
        local compiled = core.load_compiled(assert(places[file], file), here .. file)
        assert.is_function(compiled, file)
        local plain = assert(loadfile(here .. file))
        assert.equal(shape(plain), shape(compiled))
        if not rawget(_G, "jit") then assert.is_true(string.dump(plain) == string.dump(compiled), file) end
        assert.equal(read(here .. file), (core.compiled_text(places[file])))
      end
    end
    pipe:close()
    assert.is_true(n > 90)
  end)

  it("have paths of any length", function()
    with_copy(function(dir)
      local path = dir
      for _ = 1, 12 do
        path = path .. ("d"):rep(30) .. "/"
        os.execute(("mkdir '%s' && cp '%sbase/lists.lua' '%s'"):format(path, here, path))
        local compiled = assert(core.load_compiled(places["base/lists.lua"], path .. "lists.lua"))
        assert.equal(shape(assert(loadfile(path .. "lists.lua"))), shape(compiled))
      end
    end)
  end)

  it("are nothing where the file holds something else, or is not there", function()
    with_copy(function(dir)
      local path, place = dir .. "base/lists.lua", places["base/lists.lua"]
      local text = read(path)
      assert.is_function(core.load_compiled(place, path))
      for _, other in ipairs{ text .. "\n", text:sub(1, -2), text:gsub("local", "Local", 1), "" } do
        write(path, other)
        assert.is_nil(core.load_compiled(place, path))
      end
      os.remove(path)
      assert.is_nil(core.load_compiled(place, path))
      assert.is_nil(core.load_compiled(place, dir))
    end)
    assert.is_false(pcall(core.load_compiled, -1, here))
    assert.is_false(pcall(core.load_compiled, 1e15, here))
  end)

  it("give way to a file that was changed", function()
    with_copy(function(dir, path)
      local script = [[local fastpg = require "fastpg"
        print(fastpg.quote_ident "a", require("fastpg.base.lists").mark, debug.getinfo(require("fastpg.base.errors").argument, "S").source)]]
      assert.equal(('"a"\tnil\t@%sbase/errors.lua'):format(dir), run(path, script))
      local text = read(dir .. "base/lists.lua")
      write(dir .. "base/lists.lua", (text:gsub("\nreturn lists%s*$", "\nlists.mark = 'changed'\nreturn lists\n")))
      assert.equal(('"a"\tchanged\t@%sbase/errors.lua'):format(dir), run(path, script))
      write(dir .. "base/lists.lua", "return +\n")
      assert.truthy(run(path, script):find("base/lists.lua:", 1, true))
      os.remove(dir .. "base/lists.lua")
      local out = run(dir .. "/../?.lua;" .. dir .. "/../?/init.lua", script)
      assert.truthy(out:find("fastpg.base.lists", 1, true), out)
    end)
  end)

  it("leave what the program has put into package.preload, and nothing of theirs behind", function()
    assert.equal("own\t0", child({}, [[
      package.preload["fastpg.base.base64url"] = function() return "own" end
      local ok, fastpg = pcall(require, "fastpg")
      local left = 0
      for name in pairs(package.loaded) do if package.preload[name] and name:find "^fastpg" and name ~= "fastpg.base.base64url" then left = left + 1 end end
      print(require "fastpg.base.base64url", left)]]))
  end)

  it("leave errors at the line of the program", function()
    local ok, err = pcall(fastpg.quote_ident)
    local line = debug.getinfo(1, "l").currentline - 1
    assert.is_false(ok)
    assert.truthy(tostring(err):find("compiled_spec.lua:" .. line .. ":", 1, true), tostring(err))
  end)
end)

describe("what is loaded later", function()
  local MODULES = { "class.class", "class.codegen", "class.ddl", "class.link_classes", "class.migrate", "diagram", "value.pretty",
    "value.type_names" }
  local COUNT = ([[
    local function count()
      local n = 0
      for name in ("%s"):gmatch "%%S+" do n = n + (package.loaded["fastpg." .. name] and 1 or 0) end
      return n
    end]]):format(table.concat(MODULES, " "))
  local USE = [[
    local C = fastpg.class("Thing", { "id int" })
    say(C{ id = 7 })
    say(fastpg.lua_type "int4", fastpg.col_def("a", "int"), (fastpg.class_source(C):match "Thing"))
    say(select(2, pcall(fastpg.columns, 1)), select(2, pcall(fastpg.class, 1)))]]

  it("is not there until it is called", function()
    assert.equal("0\nThing(id=7)\ntrue", child({}, COUNT .. [[
      local fastpg = require "fastpg"
      print(count())
      print(fastpg.class("Thing", { "id int" }){ id = 7 })
      print(count() > 0)]]))
  end)

  it("needs no file any more, and has Lua's own functions", function()
    local script = COUNT .. [[
      local fastpg = require "fastpg"
      local concat, next, tostring, error, select, pcall, n = table.concat, next, tostring, error, select, pcall, count()
      local function say(...)
        local t = { ... }
        for i = 1, select("#", ...) do t[i] = tostring(t[i]) end
        io.write(concat(t, "|"), "\n")
      end
      os.execute("rm -rf '" .. arg[1] .. "'")
      package.path = ""
      for name in ("assert error getmetatable ipairs next pairs pcall rawequal rawget rawset select setmetatable tonumber tostring type"):gmatch "%a+" do
        _G[name] = function() error(name .. " was fetched", 0) end
      end
      say(n)]] .. "\n" .. USE
    local later
    with_copy(function(dir, path) later = run(path, script, dir) end)
    assert.truthy(later:find "^0\nThing%(id=7%)\ninteger|.*|Thing\n", later)
    assert.truthy(later:find("a list of rows", 1, true) or later:find("columns", 1, true), later)
    assert.is_nil(later:find("fetched", 1, true), later)
  end)

  it("is loaded at once where one of its files is not what was compiled", function()
    with_copy(function(dir, path)
      local text = read(dir .. "class/class.lua")
      write(dir .. "class/class.lua", (text:gsub("\nreturn class%s*$", "\nclass.mark = 'changed'\nreturn class\n")))
      assert.equal(#MODULES .. "\tchanged\tThing(id=7)", run(path, COUNT .. [[
        local fastpg = require "fastpg"
        print(count(), require("fastpg.class.class").mark, fastpg.class("Thing", { "id int" }){ id = 7 })]]))
    end)
  end)
end)
