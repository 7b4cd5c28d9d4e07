-- SPDX-License-Identifier: MIT
-- The rooms of the house (doc/how-it-is-built.md): what stands in a room knows what stands below it, and nothing above.

local C_ROOMS = { "plain", "lua", "value", "json", "host", "sql", "type", "pg", "table" } -- as ROOMS of the Makefile
local LUA_ROOMS = { "base", "value", "host", "sql", "pg", "pool", "table", "class" }

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function files(command)
  local list, pipe = {}, io.popen(command)
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  table.sort(list)
  return list
end

local function heights(rooms)
  local of = {}
  for i, room in ipairs(rooms) do of[room] = i end
  return of
end

-- The room's height; what stands in none is on top of all.
local function height(of, path, top)
  local room = path:match("^" .. top .. "/([^/]+)/")
  return room and assert(of[room], path .. ": no such room") or #C_ROOMS + #LUA_ROOMS
end

-- Arrows that lead up.
local function upward(arrows, of, top)
  local found = {}
  for from, list in pairs(arrows) do
    for to in pairs(list) do
      if height(of, to, top) > height(of, from, top) then found[#found + 1] = from .. " -> " .. to end
    end
  end
  table.sort(found)
  return found
end

-- One circle, as a text, or nil.
local function circle(arrows)
  local state = {}
  local function visit(node, way)
    if state[node] == "done" then return end
    way[#way + 1] = node
    if state[node] then return table.concat(way, " -> ") end
    state[node] = "open"
    for to in pairs(arrows[node] or {}) do
      local found = visit(to, way)
      if found then return found end
    end
    way[#way] = nil
    state[node] = "done"
  end
  for node in pairs(arrows) do
    local found = visit(node, {})
    if found then return found end
  end
end

local function lua_arrows(sources)
  local arrows = {}
  for path, text in pairs(sources) do
    arrows[path] = {}
    text = text:gsub("%[%[.-%]%]", ""):gsub("'[^'\n]*'", "") -- Lua that is written, not run
    for line in text:gmatch "[^\n]+" do
      -- in any function, and in any form: require "x", require("x"), pcall(require, "x")
      for name in (line:match "^%s*%-%-" and "" or line):gmatch "require[%s(,]*[\"'](fastpg[%w_.]*)" do
        local file = "lua/" .. name:gsub("%.", "/") .. ".lua"
        if name == "fastpg" then file = "lua/fastpg/init.lua" end
        if name:sub(-1) == "." then -- the rest is known when it runs: any file of that folder
          for to in pairs(sources) do
            if to:match "^(.*/)" == file:gsub("/%.lua$", "/") and to ~= path then arrows[path][to] = true end
          end
        elseif name ~= "fastpg.core" then
          assert(sources[file], path .. ": there is no " .. name)
          arrows[path][file] = true
        end
      end
    end
  end
  return arrows
end

-- What the .c files define: name -> subject.
local function c_definitions(sources)
  local defined = {}
  for path, text in pairs(sources) do
    for line in (path:find "%.c$" and text or ""):gmatch "[^\n]+" do
      local name = line:find "^%a" and not line:find "^static"
        and (line:match "(fpg_[%w_]+) =" or line:match "(fpg_[%w_]+)%[" or (not line:find ";$" and line:match "(fpg_[%w_]+)%("))
      if name then defined[name] = path:gsub("%.%w+$", "") end
    end
  end
  return defined
end

-- A subject is a header with its .c: it knows what it includes, and what it calls.
local function c_arrows(sources)
  local where, arrows, defined = {}, {}, c_definitions(sources)
  for path in pairs(sources) do where[path:match "[^/]+$"] = path:gsub("%.%w+$", "") end
  for path, text in pairs(sources) do
    local subject = path:gsub("%.%w+$", "")
    arrows[subject] = arrows[subject] or {}
    for name in text:gmatch '#include "([^"]+)"' do
      local to = assert(where[name], path .. ": there is no " .. name)
      if to ~= subject then arrows[subject][to] = true end
    end
    for name in text:gsub("/%*.-%*/", ""):gmatch "%f[%w_]fpg_[%w_]+" do
      if defined[name] and defined[name] ~= subject then arrows[subject][defined[name]] = true end
    end
  end
  return arrows
end

local function sources(command)
  local texts = {}
  for _, path in ipairs(files(command)) do texts[path] = read(path) end
  return texts
end

describe("rooms", function()
  local lua = lua_arrows(sources "find lua/fastpg -name '*.lua'")
  local c = c_arrows(sources "find csrc -name '*.[chd]*'")

  it("of Lua: no file requires one of a room above", function()
    assert.same({}, upward(lua, heights(LUA_ROOMS), "lua/fastpg"))
  end)

  it("of Lua: no circles", function() assert.is_nil(circle(lua)) end)

  it("of Lua: what a room calls that a higher one has is named, given and called where its list says", function()
    local of, gives, calls = heights(LUA_ROOMS), {}, {}
    for path, text in pairs(sources "find lua/fastpg -name '*.lua'") do
      local file = path:match "^lua/fastpg/(.*)%.lua$"
      for what, behind in text:gmatch "%f[%w_]from_above%.([%w_]+)([^\n]?[^\n]?[^\n]?)" do
        if what:find "^[%w_]+$" and file ~= "base/from_above" then
          local given = behind:find "^ = " or text:find("function from_above." .. what .. "(", 1, true)
          local list = given and gives or calls
          list[what] = list[what] or {}
          list[what][file] = true
        end
      end
    end
    local names = getmetatable(require "fastpg.base.from_above").names
    for what, pair in pairs(names) do
      assert.same({ [pair[1]] = true }, calls[what], what)
      assert.same({ [pair[2]] = true }, gives[what], what)
      local function room(file) return height(of, "lua/fastpg/" .. file .. ".lua", "lua/fastpg") end
      assert.is_true(room(pair[2]) >= room(pair[1]), what)
      gives[what] = nil
    end
    assert.same({}, gives)
  end)

  it("of C: no file includes or calls one of a room above, and no other is on its include path", function()
    assert.same({}, upward(c, heights(C_ROOMS), "csrc"))
    assert.equal(table.concat(C_ROOMS, " "), read("Makefile"):match "\nROOMS = ([^\n]+)")
  end)

  it("of C: no circles", function() assert.is_nil(circle(c)) end)

  it("have names of their own: no two files of one name in C or in Lua", function()
    for _, command in ipairs{ "find csrc -name '*.[ch]'", "find lua/fastpg -name '*.lua'" } do
      local seen = {}
      for _, path in ipairs(files(command)) do
        local name = path:match "[^/]+$"
        if not path:find "/wait/" then assert.is_nil(seen[name], path) end
        seen[name] = path
      end
    end
  end)

  it("would tell of an arrow that leads up, and of a circle", function()
    local made = lua_arrows{
      ["lua/fastpg/base/a.lua"] = 'local b = require "fastpg.pg.b"',
      ["lua/fastpg/pg/b.lua"] = 'function f() return require("fastpg.base.a") end',
    }
    assert.same({ "lua/fastpg/base/a.lua -> lua/fastpg/pg/b.lua" }, upward(made, heights(LUA_ROOMS), "lua/fastpg"))
    assert.truthy(circle(made))
    local made_c = c_arrows{ ["csrc/lua/a.h"] = '#include "b.h"', ["csrc/pg/b.h"] = "", ["csrc/pg/b.c"] = '#include "a.h"' }
    assert.same({ "csrc/lua/a -> csrc/pg/b" }, upward(made_c, heights(C_ROOMS), "csrc"))
    assert.truthy(circle(made_c))
    made_c = c_arrows{
      ["csrc/lua/a.c"] = "int fpg_a(int n) {\n  return fpg_b(n);\n}",
      ["csrc/lua/b.c"] = "/* of fpg_a */\nint fpg_b(int n) {\n  return n + *fpg_table;\n}",
      ["csrc/lua/c.c"] = "const fpg_row fpg_table[] = {1};",
    }
    assert.same({ ["csrc/lua/a"] = { ["csrc/lua/b"] = true }, ["csrc/lua/b"] = { ["csrc/lua/c"] = true }, ["csrc/lua/c"] = {} }, made_c)
  end)
end)
