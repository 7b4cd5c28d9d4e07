-- SPDX-License-Identifier: MIT
--
-- locale: a host that set a locale with a decimal comma (os.setlocale) gets and sends the same values.

local pg = require "spec.support.pg"

-- What the child runs in that locale; it prints nothing but "same".
local CHILD = [[
local fastpg = require "fastpg"
local db = fastpg.connect{ host = %q, port = %d, user = %q, database = %q }
local core = require "fastpg.core"

local function values()
  local out = {}
  local function add(...) for i = 1, select("#", ...) do out[#out + 1] = tostring((select(i, ...))) end end
  for _, x in ipairs{ 1.5, 0.1, 1e-7, 1e100, 123456.789, 4.9406564584124654e-324, -2.5e-310, 1/3 } do
    local float = core.float_text(db:item("SELECT $1::float8", x))
    add(float, db:item("SELECT $1::float8::text", x), db:item("SELECT $1", x), core.float_text(x, true))
    add(core.float_text(db:first("SELECT $1::float8 AS v, '1'::money AS x", x).v), db:item("SELECT $1::numeric", x))
    add(core.float_text(db:first("SELECT $1::float4 AS v, '1'::money AS x", x > 1e-40 and x < 1e30 and x or 1.5).v))
    add(fastpg.to_json{ x }, core.float_text(fastpg.from_json(fastpg.to_json{ x })[1]), db:item("SELECT $1::float8[]::text", { x, 2.5 }))
    add(core.float_text(fastpg.numeric(tostring(db:item("SELECT $1::numeric", x))):tonumber()))
  end
  add(fastpg.interval "1 day 00:00:01.5", fastpg.time(1, 2, 3.25), fastpg.numeric "1.50" + 0.25, fastpg.timestamptz(1.5))
  add(db:item("SELECT $1::jsonb::text", { 1.5 }))
  add((select(2, pcall(db.item, db, "SELECT $1::int", 1.5))).message)
  return table.concat(out, "\n")
end

local before = values()
if not os.setlocale("de_DE.UTF-8") then print("no locale") os.exit(0) end
local comma = ("%%.1f"):format(1.5)
local after = values()
print(before == after and "same" or before .. "\n----\n" .. after, comma)
]]

local function run(command)
  local pipe = io.popen(command .. " 2>&1")
  local out = pipe:read "*a"
  pipe:close()
  return out
end

describe("a locale with a decimal comma", function()
  it("changes no value", function()
    local lua = os.getenv "FPG_TEST_LUA"
    if not lua then pending("FPG_TEST_LUA does not say how to start this Lua") return end
    local dir, script = os.tmpname(), os.tmpname()
    os.remove(dir)
    run(("mkdir -m 700 '%s' && unset LD_PRELOAD && localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8'"):format(dir, dir))
    local info = pg.conninfo()
    local f = assert(io.open(script, "w"))
    f:write(CHILD:format(info.host, info.port, info.user, info.database))
    f:close()
    local out = run(("LOCPATH='%s' %s '%s'"):format(dir, lua, script))
    run(("rm -r '%s' '%s'"):format(dir, script))
    if out:find "^no locale" then pending("no such locale (package locales)") return end
    assert.equal("same", out:match "^(.-)\t" or out)
    if not rawget(_G, "jit") then assert.equal("1,5", out:match "\t(%S+)") end -- (LuaJIT formats by itself)
  end)
end)
