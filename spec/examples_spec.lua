-- SPDX-License-Identifier: MIT
--
-- The examples run as they stand, in a process of their own each, against the server of the specs.

local pg = require "spec.support.pg"

local lua = os.getenv "FPG_TEST_LUA"

-- What a command printed, and whether it ended well.
local function run(command)
  local c = pg.conninfo()
  local env = ("PGHOST='%s' PGPORT=%d PGUSER='%s' PGDATABASE='%s'"):format(c.host, c.port, c.user, c.database)
  local pipe = io.popen(("%s %s 2>&1; echo \"exit $?\""):format(env, command))
  local out = pipe:read "*a"
  pipe:close()
  return out:gsub("exit %d+\n$", ""), out:match "exit (%d+)\n$" == "0"
end

local function example(args)
  local out, ok = run(lua .. " examples/" .. args)
  assert.is_true(ok, out)
  return out
end

describe("the example", function()
  it("script.lua counts words", function()
    local out = example "script.lua README.md LICENSE"
    assert.truthy(out:find("%(5 rows%)"))
    assert.truthy(out:find('%d+ words in "word"'))
  end)

  it("jobs.lua does each job once", function()
    local out = example "jobs.lua 4"
    assert.truthy(out:find("done: 1\ndone: 2\nfailed: job 3 can't be done\ndone: 4\n", 1, true))
    assert.truthy(out:find("completed\t3\n", 1, true))
    assert.truthy(out:find("failed\t1\n", 1, true))
    assert.truthy(example("jobs.lua 0"):find("completed\t3\n", 1, true))
  end)

  it("tenants.lua keeps users apart", function()
    local out = example "tenants.lua"
    assert.truthy(out:find("(2 rows)", 1, true))
    assert.is_nil(out:find("bread", 1, true))
    assert.truthy(out:find("nil\t2\nnil\tNotFoundError: note[2]", 1, true))
  end)

  -- Loops that are not there for every Lua.
  local function with(name, fn)
    if pcall(require, name) then
      it(name .. ".lua waits in that loop", fn)
    else
      pending(name .. ".lua: no " .. name .. " for this Lua")
    end
  end

  with("luv", function()
    assert.equal("after 0.1 s\nafter 0.2 s\nafter 0.3 s\ntogether 0.6 s of waiting\nthe timer ticked all the time\n",
      example "luv.lua")
  end)

  with("cqueues", function()
    assert.equal("100 transfers tried\nin all accounts: 1000\n", example "cqueues.lua")
  end)

  with("copas", function()
    local out = example "copas.lua"
    for _, line in ipairs{ "Anna has 4 letters", "Christine has 9 letters", "Emil has 4 letters" } do
      assert.truthy(out:find(line .. "\n", 1, true))
    end
  end)

  it("demo.lua ends well, and says how many steps went wrong", function()
    local out = example "demo.lua"
    assert.truthy(out:find("\n%d+ steps, 0 wrong\n$"))
    assert.is_nil(out:find("WRONG", 1, true))
  end)

  it("each is short", function()
    for _, name in ipairs{ "script", "jobs", "tenants", "luv", "cqueues", "copas" } do
      local lines = 0
      for _ in io.lines("examples/" .. name .. ".lua") do lines = lines + 1 end
      assert.is_true(lines <= 40, name .. " has " .. lines .. " lines")
    end
  end)
end)
