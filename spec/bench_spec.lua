-- SPDX-License-Identifier: MIT
--
-- bench/run.sh still measures: each contestant that is installed runs each case, and reads what the others read. What it
-- costs is asked by nobody here.

local results -- bench/results.lua, of a directory of our own

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- One run measures both Luas, and takes half a minute: `make test-hosts`, which also installs the other clients, sets this.
local here = os.getenv "FPG_TEST_NAME" == "lua5.4" and os.getenv "FPG_TEST_BENCH"
local dir

local function run(settings, command)
  return output(("{ BENCH_DIR='%s' SCALE=0.001 ROUNDS=1 %s %s; echo exit code $?; } 2>&1"):format(dir, settings, command))
end

local function all_cases()
  local list = {}
  for path in output("ls bench/questions/*.lua"):gmatch "%S+" do
    local question = dofile(path)
    for _, case in ipairs(question.cases) do
      list[#list + 1] = { question = path:match "([^/]*)%.lua$", name = case.name, kind = case.kind, tasks = case.tasks,
        who = question.who and table.concat(question.who, " ") or "libpq asyncpg psycopg fastpg luasql luadbi" }
    end
  end
  return list
end

-- What a contestant is not for; the floor knows neither tasks nor anything of fastpg's own.
local function is_for(who, case)
  if not case.who:find(who:match "^%l+") then return false end
  if who == "libpq" then return not (case.tasks or case.kind == "load" or case.kind == "firstuse") end
  return who:find "^fastpg" or who == "asyncpg" and case.kind ~= "firstuse"
end

describe("the checksum", function()
  local peer = dofile "bench/peers/peer.lua"
  local columns = { { name = "n", kind = "i" }, { name = "s", kind = "s" }, { name = "l", kind = "a" }, { name = "b", kind = "b" } }

  it("is of every field, in order, modulo 2^32", function()
    local row = { n = -1, s = "ab", l = { 5, 6 }, b = false }
    local h = 4294967295
    for _, v in ipairs{ (7 * 31 + 97) * 31 + 98, 5, 6, 3 } do h = (h * 31 + v) % 4294967296 end
    assert.equal(h, peer.sum({ row }, columns))
    for _, other in ipairs{ { n = 1, s = "ab", l = { 5, 6 }, b = false }, { n = -1, s = "aB", l = { 5, 6 }, b = false },
      { n = -1, s = "ab", l = { 6, 5 }, b = false }, { n = -1, s = "ab", l = { 5, 6 } }, { n = -1.5, s = "ab", l = { 5, 6 }, b = false } } do
      assert.not_equal(h, peer.sum({ other }, columns))
    end
  end)

  it("of text is that of the values it stands for", function()
    local some = { columns[1], columns[2], columns[4] }
    assert.equal(peer.sum({ { n = 12, s = "12", b = true } }, some), peer.sum({ { n = "12", s = "12", b = "t" } }, some, peer.from_text))
  end)

  it("comes with a reader that reads every field by name", function()
    local read = {}
    local rows = { setmetatable({}, { __index = function(_, name) read[#read + 1] = name end }) }
    assert.equal(1, peer.reader(columns)(rows))
    assert.same({ "n", "s", "l", "b" }, read)
  end)
end)

describe("the figures", function()
  local figures = dofile "bench/results.lua"

  it("are medians, and ratios round by round", function()
    assert.same({ 2.5, 1, 9 }, { figures.spread{ 3, 9, 1, 2 } })
    assert.same({ 2, 1, 3 }, { figures.ratio({ cpu = { 2, 3, 40 } }, { cpu = { 1, 3, 13.333333333333334 } }, "cpu") })
    assert.is_nil((figures.ratio({ cpu = { 1 } }, nil, "cpu")))
  end)
end)

describe("bench/run.sh", function()
  setup(function() dir = output("mktemp -d /tmp/fastpg-bench-XXXXXX"):gsub("%s", "") end)
  teardown(function() os.execute("rm -rf '" .. dir .. "'") end)

  it("has every contestant run every case, and names who is missing", function()
    if not here then return pending "by make test-hosts, once, on lua5.4" end
    local said = run("QUICK=1", "bench/run.sh")
    assert.truthy(said:find "exit code 0%s*$", said)
    results = dofile "bench/results.lua"
    local all = results.read(dir .. "/scaled.tsv")
    local left_out = {}
    for _, who in ipairs{ "libpq", "asyncpg", "fastpg lua5.4", "fastpg luajit" } do
      for _, case in ipairs(all_cases()) do
        local there = all[case.question] and all[case.question][case.name] and all[case.question][case.name][who]
        if is_for(who, case) and not there and not said:find("without " .. who, 1, true) then
          left_out[#left_out + 1] = who .. ": " .. case.question .. " " .. case.name
        end
      end
    end
    assert.same({}, left_out)
    for name, peer in pairs{ psycopg = "psycopg", LuaSQL = "luasql lua5.4", LuaDBI = "luadbi lua5.4", pgmoon = "pgmoon lua5.4" } do
      assert.truthy(all.queries.one[peer] or said:find("without " .. name, 1, true), name .. "\n" .. said)
    end
  end)

  it("fails where one has read something else", function()
    if not here then return pending "by make test-hosts, once, on lua5.4" end
    local f = assert(io.open(dir .. "/other.sh", "w"))
    f:write [[printf 'one\t1.5\t2.5\t99\t1\n']]
    f:close()
    local said = run(("ONLY=queries CONTESTANTS='fastpg=bench/with.sh lua5.4 bench/peers/fastpg_peer.lua;other=sh %s/other.sh'"):format(
      dir), "bench/with.sh lua5.4 bench/run.lua")
    assert.truthy(said:find("one: fastpg read 2 of 1 rows, other read 99 of 1 rows", 1, true), said)
    assert.truthy(said:find "exit code 1%s*$", said)
  end)
end)
