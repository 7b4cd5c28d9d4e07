-- SPDX-License-Identifier: MIT
--
-- copy_compiled: rows into the bytes of a binary COPY by code that LuaJIT compiles, one function for each set of columns.
--
-- The core's writer (csrc/pg/copy_writer.c) asks Lua's API for each value, which costs LuaJIT more than the value itself.
-- Here the names are constants of the code, and the bytes go straight into the writer's buffer.  A function writes rows that are
-- plain: each value a number, a string, as its column's type has them.  At any other row (a NULL, an object, what is out of
-- range or no UTF-8, or what the buffer has no room for) it stops, and the core writes that one, or raises.  So there is
-- nothing here that could go wrong, and no branch for what is seldom.
--
-- Without `ffi`, with the compiler off, on a big-endian machine, for columns of other types and for very many: nil, and the
-- core writes all.

local pcall, rawget, tonumber, tostring, type = pcall, rawget, tonumber, tostring, type
local concat, floor, load_text = table.concat, math.floor, loadstring or load

local bounded = require "fastpg.base.bounded"

local compiled = {}

local PIECE = 65536 -- as FPG_COPY_PIECE
local WIDE = 60
local WIDEST = 12 -- bytes of a field that is no text, with its length

local has_ffi, ffi = pcall(require, "ffi")
local has_bit, bit = pcall(require, "bit")
local jit_status = jit and jit.status

local functions = bounded.new(50)

-- What writes one value `v`; `rest` is the room that is needed behind it.
local CODE = {
  int2 = [[if type(v) ~= "number" or v < -32768 or v > 32767 or v ~= floor(v) then break end
    cast(words, data + pos)[0] = LENGTH2
    data[pos + 4], data[pos + 5] = band(rshift(v, 8), 255), band(v, 255)
    pos = pos + 6]],
  int4 = [[if type(v) ~= "number" or v < -2147483648 or v > 2147483647 or v ~= floor(v) then break end
    local p = cast(words, data + pos)
    p[0], p[1] = LENGTH4, bswap(v)
    pos = pos + 8]],
  oid = [[if type(v) ~= "number" or v < 0 or v > 4294967295 or v ~= floor(v) then break end
    local p = cast(words, data + pos)
    p[0], p[1] = LENGTH4, bswap(v)
    pos = pos + 8]],
  int8 = [[if type(v) ~= "number" or v < -9007199254740992 or v > 9007199254740992 or v ~= floor(v) then break end
    local p, high = cast(words, data + pos), floor(v / 4294967296)
    p[0], p[1], p[2] = LENGTH8, bswap(high), bswap(v - high * 4294967296)
    pos = pos + 12]],
  float8 = [[if type(v) ~= "number" then break end
    local p = cast(words, data + pos)
    number.value = v
    p[0], p[1], p[2] = LENGTH8, bswap(number.half[1]), bswap(number.half[0])
    pos = pos + 12]],
  bytes = [[if type(v) ~= "string" then break end
    local len = #v
    if pos + len + REST > cap then break end
    cast(words, data + pos)[0] = bswap(len)
    copy(data + pos + 4, v, len)
    pos = pos + 4 + len]],
  text = [[if type(v) ~= "string" then break end
    local len = #v
    if pos + len + REST > cap or valid(v, len) == 0 then break end
    cast(words, data + pos)[0] = bswap(len)
    copy(data + pos + 4, v, len)
    pos = pos + 4 + len]],
}

local HEAD = [[
local rawget, type, floor, band, rshift, bswap, cast, copy, words, number, valid, PIECE, tonumber = ...
local LENGTH2, LENGTH4, LENGTH8 = bswap(2), bswap(4), bswap(8)
return function(buf, list, i, to)
  local data, pos, cap = buf.data, tonumber(buf.len), tonumber(buf.cap)
  local start = pos
  while i <= to and pos < PIECE do
    start = pos
    local row = rawget(list, i)
    if type(row) ~= "table" or pos + FIXED > cap then break end
    data[pos], data[pos + 1] = 0, COUNT
    pos = pos + 2
]]

local TAIL = [[
    start = pos
    i = i + 1
  end
  buf.len = start
  return i
end
]]

local environment -- what the code is given, made once

local function make_environment(valid)
  if not environment then
    environment = {
      buffer = ffi.typeof "struct { uint8_t *data; size_t len, cap; } *", -- as fpg_buf
      words = ffi.typeof "int32_t *",
      number = ffi.new "union { double value; int32_t half[2]; }",
      valid = ffi.cast("int (*)(const char *, size_t)", valid),
    }
  end
  return environment
end

local function generate(names, ways, env)
  local n = #names
  local parts = { (HEAD:gsub("FIXED", tostring(2 + WIDEST * n)):gsub("COUNT", tostring(n))) }
  for i = 1, n do
    local code = CODE[ways[i]]:gsub("REST", tostring(4 + WIDEST * (n - i)))
    parts[#parts + 1] = ("    do local v = rawget(row, %q)\n    %s end\n"):format(names[i], code)
  end
  parts[#parts + 1] = TAIL
  return load_text(concat(parts), "=fastpg.copy")(rawget, type, floor, bit.band, bit.rshift, bit.bswap, ffi.cast, ffi.copy,
    env.words, env.number, env.valid, PIECE, tonumber)
end

--- A function(list, from, to) that writes rows into the writer's buffer until a piece is full: the position of the first one
--- that it has not written.  Nil where there is none for these columns.
---@param writer userdata  of the core, binary and without filters
---@param names string[]
---@return (fun(list: table, from: integer, to: integer): integer)?
function compiled.new(writer, names)
  if not (has_ffi and has_bit and jit_status and jit_status()) or #names > WIDE or not ffi.abi "le" then return nil end
  local ways, buffer, valid = writer:flat()
  if not ways then return nil end
  for i = 1, #names do
    if not CODE[ways[i]] then return nil end
  end
  local env = make_environment(valid)
  local key = concat(ways, ",") .. "\0" .. concat(names, "\0")
  local write = functions.kept[key] or functions:keep(key, generate(names, ways, env))
  local buf = ffi.cast(env.buffer, buffer)
  return function(list, from, to) return write(buf, list, from, to) end
end

return compiled
