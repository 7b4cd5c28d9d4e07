-- SPDX-License-Identifier: MIT
--
-- decode: the decoders on bytes that no server sends.  Each value of spec/types/values.lua in both
-- wire forms, cut short, made longer, and with bytes changed: a value or an error object, never a
-- step outside the bytes (which the sanitizers of `make asan` watch; the entry is there only then).
--
-- FUZZ=20000 changes each value that often (default 60).

local core = require "fastpg.core"
local route_of = require("fastpg.pool.route").of
local pg = require "spec.support.pg"
local groups = require "spec.types.values"

local ROUNDS = tonumber(os.getenv "FUZZ") or 60
local LONGEST = 3000 -- of bytes that are cut and changed

describe("the decoders", function()
  if not core.test_decode then
    it("(are reached by core.test_decode)", function()
      pending("not in this build: -DFPG_TESTING, as in make asan")
    end)
    return
  end

  local db = pg.db()
  db:execute[[
    CREATE TYPE mood AS ENUM ('happy', 'sad', 'so "so"');
    CREATE DOMAIN positive AS integer CHECK (value > 0);
    CREATE TYPE pair AS (a integer, b text);
  ]]

  local seed = 20240229
  local function random(n) -- the same on every Lua
    seed = (seed * 16807) % 2147483647
    return seed % n
  end

  local decoded, refused = 0, 0
  local function decode(oid, binary, bytes)
    local ok, err = pcall(core.test_decode, oid, binary, bytes, "Europe/Dublin", route_of(db).types.map)
    if ok then
      decoded = decoded + 1
    else
      assert(type(err) == "table" and err.name and err.message, tostring(err))
      refused = refused + 1
    end
  end

  local interesting = { "\0", "\1", "\127", "\128", "\255", "{", "}", '"', "\\", ",", "(", ")", "-", "9", "\0\0\0\0", "\255\255\255\255",
    "\127\255\255\255" }

  local function change(bytes)
    for _ = 1, 1 + random(3) do
      local at = random(#bytes + 1)
      local what = random(3)
      local piece = random(2) == 0 and interesting[1 + random(#interesting)] or string.char(random(256))
      local skip = what == 0 and #piece or what == 1 and 0 or random(4)
      bytes = bytes:sub(1, at) .. (what == 2 and "" or piece) .. bytes:sub(at + 1 + skip)
    end
    return bytes
  end

  local function torment(oid, binary, bytes)
    local value, none = core.test_decode(oid, binary, bytes, "Europe/Dublin", route_of(db).types.map)
    if value == nil and none then return end
    if #bytes > LONGEST then bytes = bytes:sub(1, LONGEST) end
    for n = 0, #bytes, math.max(1, math.floor(#bytes / 200)) do decode(oid, binary, bytes:sub(1, n)) end
    decode(oid, binary, bytes .. "\0")
    decode(oid, binary, bytes .. bytes)
    for _ = 1, ROUNDS do decode(oid, binary, change(bytes)) end
  end

  -- A type's oid, and the functions that give its wire forms.
  local function wire_functions(typename)
    local row = db:first("SELECT oid, typsend::text AS send, typoutput::text AS out FROM pg_type WHERE oid = $1::regtype",
      (typename:gsub("%b()", "")))
    return row.oid, row.send, row.out
  end

  -- One wire form of a value; nil where the type borrows its functions from another (refcursor).
  local function wire(fn, expression)
    local ok, bytes = pcall(db.item, db, ("SELECT %s(%s)"):format(fn, expression))
    if not ok and bytes.name ~= "undefined_function" then error(bytes, 0) end
    return ok and bytes or nil
  end

  local function both_forms(typename, expression)
    local oid, send, out = wire_functions(typename)
    db:item(("SELECT %s"):format(expression)) -- so that the type is known
    local binary = send ~= "-" and wire(send, expression)
    if binary then torment(oid, true, binary) end
    local text = wire(out, expression)
    if text then torment(oid, false, text) end
  end

  local names = {}
  for name in pairs(groups) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    for _, typename in ipairs(groups[name].types) do
      it("of " .. typename .. " keep within their bytes", function()
        local extension = groups[name].extension
        if extension then
          if db:item("SELECT count(*) FROM pg_available_extensions WHERE name = $1", extension) == 0 then
            pending("the extension is not installed")
            return
          end
          db:execute("CREATE EXTENSION IF NOT EXISTS " .. extension)
        end
        for i, row in ipairs(groups[name].rows) do
          local literal = ("(%s)::%s"):format(row[1], typename)
          both_forms(typename, literal)
          if i <= 3 then both_forms(typename .. "[]", ("ARRAY[%s, NULL, %s]"):format(literal, literal)) end
        end
        assert.is_true(decoded > 0)
      end)
    end
  end

  it("of containers of containers keep within their bytes", function()
    both_forms("int4[]", "'{{{1,2},{3,4}},{{5,6},{7,NULL}}}'::int4[]")
    both_forms("int4[]", "'[-5:-4][0:1]={{1,2},{3,4}}'::int4[]")
    both_forms("pair[]", "ARRAY[ROW(1, 'a,\"b')::pair, NULL, ROW(NULL, NULL)::pair]")
    torment(2249, true, db:item("SELECT record_send(ROW(1, 'x', ARRAY[1.5], ROW(2, now())))"))
    torment(2249, false, db:item("SELECT ROW(1, 'x', ARRAY[1.5], ROW(2, now()))::text"))
    assert.is_true(refused > 0)
  end)

  local function be32(n)
    return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
  end

  it("of an array without elements give an empty one, whatever its dimensions", function()
    local bytes = be32(3) .. be32(0) .. be32(23) .. be32(3) .. be32(1) .. be32(0) .. be32(8) .. be32(5) .. be32(1)
    assert.is_nil(next(core.test_decode(1007, true, bytes, "UTC", route_of(db).types.map)))
  end)

  it("of records end, however deep they are", function()
    local bytes = be32(0)
    local parts, depth = {}, 50000
    for i = depth, 1, -1 do parts[#parts + 1] = be32(1) .. be32(2249) .. be32(4 + (i - 1) * 12) end
    local before = refused
    decode(2249, true, table.concat(parts) .. bytes)
    assert.equal(before + 1, refused)
    decode(2249, true, table.concat(parts, "", depth - 49) .. bytes)
    assert.equal(before + 1, refused)
  end)

  it("refuse a zero byte between columns, and dates that the server does not have", function()
    local before, taken = refused, decoded
    decode(2249, false, '(1,2\0(""""""""","(1.5,""""")""")"')
    decode(1082, true, be32(2147483640))
    assert.equal(before + 2, refused)
    decode(2249, false, "(a\0b,2)") -- a byte of the column, though the server has none
    decode(1082, true, be32(2147483647))
    assert.equal(taken + 2, decoded)
  end)

  it("refuse an empty range in a multirange, which the server has none of", function()
    local before = refused
    decode(4451, true, be32(1) .. be32(1) .. "\25")
    assert.equal(before + 1, refused)
  end)

  it("of arrays believe no length", function()
    for _, header in ipairs{ be32(6) .. be32(0) .. be32(23) .. (be32(2 ^ 31 - 1) .. be32(1)):rep(6),
      be32(1) .. be32(0) .. be32(23) .. be32(2 ^ 31 - 1) .. be32(1), be32(1) .. be32(0) .. be32(23) .. be32(2 ^ 32 - 1) .. be32(1),
      be32(7) .. be32(0) .. be32(23), be32(2 ^ 32 - 1) .. be32(0) .. be32(23), be32(2) .. be32(0) .. be32(23) .. be32(0) .. be32(1)
      .. be32(2 ^ 31 - 1) .. be32(1) } do
      decode(1007, true, header)
      decode(1007, true, header .. be32(4) .. be32(1))
    end
    assert.is_true(refused > 0)
  end)
end)
