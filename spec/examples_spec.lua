-- SPDX-License-Identifier: MIT
--
-- The examples run as they stand, in a process of their own each, against the server of the specs.

local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

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
  local out, ok = run("timeout 120 " .. lua .. " examples/" .. args)
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

  it("failover.lua loses nothing", function()
    assert.matches("the primary crashes\na standby is the primary\n%d+ writes confirmed, 0 of them lost\n2 standbys again\n$",
      (example "failover.lua"))
  end)

  it("shards.lua has one table on two servers", function()
    local out = example "shards.lua"
    assert.truthy(out:find("<Record region='south' id=1 total=9.90>\n", 1, true), out)
    assert.truthy(out:find("(4 rows)\n", 1, true))
    assert.truthy(out:find("south\t16.90\n", 1, true))
    assert.truthy(out:find("2 of them lie in the south\n", 1, true))
  end)

  it("audit.lua writes down who changed what", function()
    local out = example "audit.lua"
    assert.truthy(out:find("^nil\t%C-check_violation: %C+\nnil\tonly root may delete\n"), out)
    assert.truthy(out:find(table.concat({
      "  1 | ann  | insert account |    2 | [1, 2]",
      "  2 | ann  | update account |    1 | [1]",
      "  3 | ann  | update account |    1 | [2]",
      "  4 | ann  | update account |    1 | [2]",
      "  5 | root | delete account |    2 | [1, 2]",
    }, "\n"), 1, true), out)
  end)

  it("migrate.lua goes up, down and up again", function()
    assert.truthy(example("migrate.lua --dry-run"):find("\n  create index concurrently book_year on book (year)\n3 files\n", 1, true))
    assert.equal("up\texamples/migrate/0001_book.sql\nup\texamples/migrate/0002_first_books.lua\nup\texamples/migrate/0003_index.sql\n3 files\n",
      example "migrate.lua")
    assert.equal("nothing to do\n", example "migrate.lua")
    assert.equal("down\texamples/migrate/0003_index.down.sql\ndown\texamples/migrate/0002_first_books.lua\n2 files\n", example "migrate.lua 1")
    assert.truthy(example("migrate.lua"):find("2 files\n$"))
    assert.truthy(run(lua .. " examples/migrate.lua 9"):find("to is 9, and the last number is 3", 1, true))
  end)

  -- Loops that are not there for every Lua.  On PUC 5.1 no call can yield to them.
  local function with(name, fn)
    if not yields then
      pending(name .. ".lua: a call blocks on PUC Lua 5.1")
    elseif select(2, run(("%s -e 'require \"%s\"'"):format(lua, name))) then -- elsewhere: luv is not to be loaded twice
      it(name .. ".lua waits in that loop", fn)
    else
      pending(name .. ".lua: no " .. name .. " for this Lua")
    end
  end

  with("luv", function()
    local waits, rest = {}, {}
    for line in example("luv.lua"):gmatch "[^\n]+" do table.insert(line:find "^after" and waits or rest, line) end
    table.sort(waits) -- (on a busy machine one may open its connection later than another)
    assert.same({ "after 0.1 s", "after 0.2 s", "after 0.3 s" }, waits)
    assert.same({ "together 0.6 s of waiting", "the timer ticked all the time" }, rest)
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

  -- Programs that bring a LuaJIT of their own; the sanitizers and valgrind can't look into them.
  local function inside(name, programs, what, fn)
    if os.getenv "FPG_TEST_NAME" ~= "luajit" or lua ~= "luajit" then return pending(what .. ": " .. name .. " runs LuaJIT") end
    for program in programs:gmatch "%S+" do
      local there = os.execute("PATH=$PATH:/usr/games command -v " .. program .. " >/dev/null 2>&1")
      if there ~= 0 and there ~= true then
        return it(what, function() pending(program .. " is not installed (make test-hosts)") end)
      end
    end
    it(what, fn)
  end

  inside("LÖVE", "love xvfb-run", "love lets the game go on while rows arrive", function()
    local out, ok = run "PATH=$PATH:/usr/games timeout 60 xvfb-run -a love examples/love"
    assert.is_true(ok, out)
    local rows, frames = out:match "slept; (%d+) rows in (%d+) frames, fastpg's share of the worst: [%d.]+ ms\n"
    assert.equal("200000", rows, out)
    assert.is_true(tonumber(frames) > 10, out)
  end)

  inside("Neovim", "nvim", "neovim shows rows while the editor goes on", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write[[
      local ticks, timer = 0, vim.loop.new_timer()
      timer:start(5, 5, function() ticks = ticks + 1 end)
      local function show(sql, name)
        vim.cmd("Rows " .. sql)
        local came = vim.wait(10000, function() return vim.fn.bufname "%" == name end, 5)
        return came and table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
      end
      io.write("\n", show("select 7 as seven, pg_sleep(0.2) is null as slept", "rows 1"), "\n")
      io.write(ticks > 5 and "it ticked\n" or "it stood still\n")
      io.write(show("select no", "rows 2"), "\n")
      vim.cmd "qa!"
    ]]
    file:close()
    local out, ok = run("timeout 60 nvim --headless -u NONE -i NONE -n +'luafile examples/neovim/rows.lua' +'luafile " .. script .. "'")
    os.remove(script)
    assert.is_true(ok, out)
    assert.truthy(out:find("\n seven | slept \n-------+-------\n     7 | f\n(1 row)\nit ticked\n", 1, true), out)
    assert.truthy(out:find('column "no" does not exist', 1, true), out)
  end)

  it("demo.lua ends well, and says how many steps went wrong", function()
    local out = example "demo.lua"
    assert.truthy(out:find("\n%d+ steps, 0 wrong\n"))
    assert.is_nil(out:find("WRONG", 1, true))
  end)

  it("each is short", function()
    for _, name in ipairs{ "script", "jobs", "tenants", "luv", "cqueues", "copas", "love/main", "neovim/rows" } do
      local lines = 0
      for _ in io.lines("examples/" .. name .. ".lua") do lines = lines + 1 end
      assert.is_true(lines <= 40, name .. " has " .. lines .. " lines")
    end
  end)
end)
