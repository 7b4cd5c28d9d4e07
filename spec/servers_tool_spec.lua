-- SPDX-License-Identifier: MIT
--
-- tools/servers.lua shows what becomes of servers.

local fastpg = require "fastpg"

local lua = os.getenv "FPG_TEST_LUA"

local function start(arguments)
  return io.popen(("timeout 120 %s tools/servers.lua %s 2>&1; echo \"exit $?\""):format(lua, arguments))
end

describe("tools/servers.lua", function()
  it("shows what each server is, and what changes", function()
    local pg = fastpg.cluster{ standbys = 1 }
    local one, other = pg.conninfo.host, pg.standbys[1].conninfo.host
    local pipe = start(("--every 0.3 --count 25 '%s' '%s'"):format(pg.uri, pg.standbys[1].uri))
    local out = {}
    local function read_to(pattern)
      for line in pipe:lines() do
        out[#out + 1] = line
        if line:find(pattern) then return end
      end
    end
    read_to "^$"
    pg:promote()
    local rest = pipe:read "*a"
    pipe:close()
    pg:close()
    local first = table.concat(out, "\n")
    assert.matches("^%d%d:%d%d:%d%d  failovers 0\nserver +role +answers +lag, s +position +timeline +connections\n", first)
    assert.matches("/0:5432 primary +yes +%x+/%x+ +1 ", first)
    assert.matches("/1:5432 standby +yes +%d+%.%d%d +%x+/%x+ ", first)
    assert.truthy(rest:find(other .. ":5432: standby -> primary\n", 1, true), rest)
    assert.truthy(rest:find(one .. ":5432: primary -> former\n", 1, true), rest)
    assert.matches("failovers 1\n", rest)
    assert.matches("/1:5432 primary +yes +%x+/%x+ +2 ", rest)
    assert.matches("exit 0\n$", rest)
  end)

  it("says what is wrong", function()
    local out = start("--every 0.1 --count 2 'host=/nowhere'"):read "*a"
    assert.truthy(out:find("no primary answers: ", 1, true), out)
    assert.matches("exit 0\n$", out)
    assert.matches("^unknown option %-%-evry\nusage: .*exit 2\n$", start("--evry 1 x"):read "*a")
    assert.matches("^%-%-count takes a number above 0\n.*exit 2\n$", start("--count none x"):read "*a")
    assert.matches("^which servers%?\n.*exit 2\n$", start(""):read "*a")
    assert.matches("create_pool: unknown option.*exit 1\n$", start("'hots=x'"):read "*a")
  end)

  it("plays a demo", function()
    local out = start("--demo --every 0.1"):read "*a"
    assert.matches("\nserver +role .*writes/s %d+  reads/s %d+\n", out)
    assert.truthy(out:find("  * another primary is promoted\n", 1, true), out)
    assert.truthy(out:find("  * the crashed one comes back\n", 1, true), out)
    assert.matches("failovers 2  ", out)
    assert.matches("exit 0\n$", out)
  end)
end)
