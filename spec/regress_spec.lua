-- SPDX-License-Identifier: MIT
--
-- The files of spec/regress, statement by statement, by every way through fastpg and beside psql: see
-- tools/regress.lua, which runs here in a process and with a server of its own.  REGRESS=all (make test-all): by all
-- ways; else by some, the ones in which what is remembered of a statement matters most.

local function run(variables, lua)
  local command = ("TOGETHER=100 %s LUA_PATH='./?.lua;%s' LUA_CPATH='%s' timeout 300 %s tools/regress.lua 2>&1; echo \"exit $?\"")
    :format(variables, package.path, package.cpath, lua)
  local pipe = assert(io.popen(command))
  local out = pipe:read "*a"
  pipe:close()
  return out
end

local LUA = os.getenv "FPG_TEST_LUA" or "lua5.4"

local all = os.getenv "REGRESS" == "all"

describe("statements beside psql", function()
  it("give the same by every way", function()
    local out = run(("SQL=spec/regress WAYS='%s'"):format(all and "" or "q each prepare pipeline"), LUA)
    assert.truthy(out:find "exit 0\n$", out)
    local compared, differences = out:match "\nall%s+%d+%s+%d+%s+(%d+)%s+%d+%s+%d+%s+%d+%s+(%d+)\n"
    assert.equal("0", differences, out)
    assert.is_true(tonumber(compared) > (all and 4000 or 1500), out)
  end)

  it("are told apart where they differ", function()
    local name = os.tmpname() .. ".sql"
    local file = assert(io.open(name, "w"))
    -- what fastpg's session is told by this, and psql's is not, is the name of the program
    file:write("select 1 as a;\nselect current_setting('application_name') <> 'psql' as b;\nselect 2;\n")
    file:close()
    local out = run(("SQL=%s WAYS='q arrays'"):format(name), LUA)
    os.remove(name)
    assert.truthy(out:find("sql:2 [q] value: row 1, column b: psql has \"f\", fastpg \"t\"", 1, true), out)
    assert.truthy(out:find "exit 1\n$", out)
    assert.truthy(out:find "\nall%s+3%s+0%s+6%s+0%s+0%s+0%s+2\n", out)
  end)
end)
