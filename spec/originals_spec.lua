-- SPDX-License-Identifier: MIT
--
-- The functions of Lua that every program has are taken when a file is loaded, not at each use: a program, or a codec of
-- its own that runs in the middle of a call, may put others in their place.

-- What is seen in the source: `print`, which shows SQL where it is asked for, and `require` are meant as they are then.
local BASE = { "assert", "collectgarbage", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
  "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall" }
for _, name in ipairs(BASE) do BASE[name] = true end

-- The source without comments and without what is in strings.
local function bare(source)
  local out, at = {}, 1
  while at <= #source do
    local from, to, level = source:find("^%-%-%[(=*)%[", at)
    if not from then from, to, level = source:find("^%[(=*)%[", at) end
    if from then
      to = select(2, source:find("]" .. level .. "]", to + 1, true))
    elseif source:find("^%-%-", at) then
      to = source:find("\n", at, true) - 1
    elseif source:find("^[\"']", at) then
      local quote = source:sub(at, at)
      to = at + 1
      while source:sub(to, to) ~= quote do to = to + (source:sub(to, to) == "\\" and 2 or 1) end
    end
    if to then
      out[#out + 1], at = '""', to + 1
    else
      out[#out + 1], at = source:sub(at, at), at + 1
    end
  end
  return table.concat(out)
end

-- The names that the file itself has, from its first column on.
local function own_names(code)
  local own = {}
  for list in ("\n" .. code):gmatch "\nlocal ([%w_, ]+)" do
    for name in list:gmatch "[%w_]+" do own[name] = true end
  end
  for name in ("\n" .. code):gmatch "\nlocal function ([%w_]+)" do own[name] = true end
  return own
end

-- The first base function that is fetched from the globals, and its line.
local function fetched(source)
  local code = bare(source)
  local own = own_names(code)
  local before = 1
  for from, name, to in code:gmatch "()%f[%w_]([%a_][%w_]*)()" do
    if BASE[name] and not own[name] and not code:find("^%s*=[^=]", to) and not code:sub(before, from - 1):find "[.:]%s*$" then
      return name, select(2, code:sub(1, from):gsub("\n", "")) + 1
    end
    before = to
  end
end

local files = {}
local pipe = io.popen "find lua -name '*.lua'"
for path in pipe:lines() do files[#files + 1] = path end
pipe:close()

describe("the originals", function()
  it("are what each file of the library uses", function()
    assert.is_true(#files > 50)
    for _, path in ipairs(files) do
      local f = assert(io.open(path))
      local name, line = fetched(f:read "*a")
      f:close()
      if name then
        error(("%s:%d fetches the global %s at each use: write `local %s = %s` on top of the file"):format(path, line, name, name, name))
      end
    end
  end)

  it("are told from fields, methods, keys and texts", function()
    assert.equal("tostring", (fetched "return tostring(1)"))
    assert.equal("type", (fetched "local function f(x)\n  return x == type(x) end"))
    for _, fine in ipairs{
      "return a.tostring, b:type(), { next = 1, select\n = 2 }", "-- tostring\nreturn 'type(x)' .. \"\\\"pcall\"",
      "--[[ type ]] return [==[ error ]==]", "local type, next = type, next\nreturn function() return type(next) end",
    } do assert.is_nil(fetched(fine), fine) end
  end)

  it("stay, whatever a program puts in their place", function()
    local out = require "spec.support.child"({}, [[
      local fastpg = require "fastpg"
      local db = fastpg.connect(arg[1])
      local next, tostring, error, raised = next, tostring, error, "%s was fetched" -- (LuaJIT's print looks for tostring)
      local function say(value) io.write(tostring(value), "\n") end
      for name in ("]] .. table.concat(BASE, " ") .. [["):gmatch "%a+" do
        _G[name] = function() error(raised:format(name), 0) end
      end
      db:execute "create temp table thing (id int primary key, name text, at date)"
      local things = db.t.thing
      things:insert{ id = 1, name = "a", at = fastpg.date(2024, 2, 29) }
      things:inserts{ { id = 2 }, { id = 3, name = "c" } }
      things:copy{ { id = 4 } }
      db:transaction(function(tx) tx.t.thing:update{ id = 2, name = "b" } end)
      local n = 0
      for row in db:each "select * from thing" do n = n + row.id end
      local _, err = fastpg.try(function() return things[9] end)
      for _, value in next, { n, things[2].name, #things:where("id > ?", 2):all(), fastpg.is(err, "not_found"),
        db:item "select array[1, 2]"[2], db:q "select 1 as one":html() } do say(value) end]], require("spec.support.pg").cluster().uri)
    assert.truthy(out:find("^10\nb\n2\ntrue\n2\n"), out)
    assert.truthy(out:find("<table", 1, true), out)
  end)
end)
