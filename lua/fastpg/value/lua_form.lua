-- SPDX-License-Identifier: MIT
--
-- lua_form: a value on one line as Lua would write it, 'it\'s'  6  {1, 2, x=true}, and what every way
-- of printing stands on: walks, what a table is, numbers, escapes.
--
-- It never fails, whatever the value is, and never does I/O: only raw access is used (a strict row
-- raises on unknown keys), a metatable's __tostring is called protected.  Time and memory are linear
-- in what is printed; tables that share tables can't explode.

local getmetatable, next, pcall, rawequal, rawget, tostring, type =
  getmetatable, next, pcall, rawequal, rawget, tostring, type

local core = require "fastpg.core"
local from_above = require "fastpg.base.from_above"
local wcwidth = require "fastpg.value.wcwidth"

local byte, find, format, sub = string.byte, string.find, string.format, string.sub
local concat, sort = table.concat, table.sort
local floor = math.floor
local math_type = math.type or function() return "float" end
local float_text = core.float_text

local lua_form = {}

local MAX_DEPTH = 6              -- of tables in Lua's form
local MAX_ITEMS = 10000          -- elements printed within one value

-- ---- numbers and other scalars ------------------------------------------------------------

--- fraction: write 6 as 6.0 where the type is a float.
---@param v number
---@param kind string?  of its PostgreSQL type: "float4", "float8", "integer"
---@param fraction boolean?
---@return string
function lua_form.number(v, kind, fraction)
  if kind == "float4" or kind == "float8" then
    local s = float_text(v * 1.0, kind == "float4")
    if fraction and find(s, "^%-?%d+$") then s = s .. ".0" end
    return s
  end
  if math_type(v) == "integer" then return format("%d", v) end
  local limit = kind == "integer" and 2.0 ^ 63 or 2.0 ^ 53
  if v == floor(v) and v <= limit and v >= -limit then
    return v == 0 and "0" or format("%.0f", v)
  end
  return float_text(v, false)
end

--- A number as jsonb prints it, which has no exponents.
---@param v number
---@return string
function lua_form.plain_number(v)
  local s = lua_form.number(v)
  local sign, digits, fraction, exponent = s:match("^(%-?)(%d+)%.?(%d*)e([+-]%d+)$")
  if not exponent then return s end
  local point = #digits + exponent
  digits = digits .. fraction
  if point <= 0 then return sign .. "0." .. ("0"):rep(-point) .. digits end
  if point >= #digits then return sign .. digits .. ("0"):rep(point - #digits) end
  return sign .. digits:sub(1, point) .. "." .. digits:sub(point + 1)
end

--- tostring(v), whatever its metatable does; LuaJIT's int64 without its suffix.
---@param v any
---@return string
function lua_form.object(v)
  local ok, s = pcall(tostring, v)
  if not ok or type(s) ~= "string" then return "(" .. type(v) .. ")" end
  return s:match("^(%-?%d+)U?LL$") or s
end

local NAMED = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["'"] = "\\'", ["\\"] = "\\\\" }

--- Control characters and bytes that are no UTF-8 escaped; with `quotes`, ' and \ too.
---@param s string
---@param quotes boolean?
---@return string
function lua_form.escape(s, quotes)
  local special = quotes and "[^\32-\38\40-\91%]\94-\126]" or "[^\32-\126]"
  local j = find(s, special)
  if not j then return s end
  local out, n, i = {}, 0, 1
  while j do
    local b, following, text = byte(s, j), j + 1, nil
    if b >= 0x80 then
      local cp, after = wcwidth.decode(s, j)
      if cp and cp < 0xA0 then
        text, following = format("\\xC2\\x%02X", cp), after
      elseif cp then
        text, following = sub(s, j, after - 1), after
      end
    end
    n = n + 1
    out[n] = sub(s, i, j - 1) .. (text or NAMED[sub(s, j, j)] or format("\\x%02X", b))
    i = following
    j = find(s, special, i)
  end
  out[n + 1] = sub(s, i)
  return concat(out)
end

local escape = lua_form.escape

-- ---- what a table is ----------------------------------------------------------------------

--- The kind of a table, "row" or "list" (of rows), and its metatable; nil for any other value.  (A
--- row's metatable always says `strict`; a list's never has any of a row's fields.)
---@param t any
---@return string? kind, table? metatable
function lua_form.kind_of(t)
  local mt = type(t) == "table" and getmetatable(t)
  if type(mt) ~= "table" then return nil end
  local shape = rawget(mt, "shape")
  if type(shape) ~= "table" or type(shape.columns) ~= "table" then return nil end
  if rawget(mt, "strict") ~= nil or rawget(mt, "class_name") or rawget(mt, "class")
    or rawget(mt, "partial") ~= nil then return "row", mt end
  if rawget(t, 1) ~= nil or next(t) == nil then return "list", mt end
  return "row", mt
end

--- Whether the table's metatable prints it: a geometric value, an hstore.
---@param t table
function lua_form.prints_itself(t)
  local mt = getmetatable(t)
  return type(mt) == "table" and rawget(mt, "__tostring") ~= nil and not rawget(mt, "shape")
end

function lua_form.is_null(v)
  return v == nil or rawequal(v, core.null)
end

--- The length of a table that reads as a list, else nil.  Holes are allowed, not vastness.
---@param t table
---@return integer?
function lua_form.list_length(t)
  local count, max, n = 0, 0, nil
  for k, v in next, t do
    if type(k) == "number" and k >= 1 and k == floor(k) then
      count = count + 1
      if k > max then max = k end
    elseif k == "n" and type(v) == "number" then
      n = v
    else
      return nil
    end
  end
  if count == 0 then return next(t) == nil and 0 or nil end
  if n and n > max and n == floor(n) then max = n end
  return max <= 2 * count + 8 and max or nil
end

local function key_before(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return ta == "number" or tb ~= "number" and ta < tb end
  if ta == "number" or ta == "string" then return a < b end
  return lua_form.object(a) < lua_form.object(b)
end

--- The keys of a table in an order: of its own, numbers, then names.
---@param t table
---@param before function?
---@return any[]
function lua_form.sorted_keys(t, before)
  local keys, n = {}, 0
  for k in next, t do
    n = n + 1
    keys[n] = k
  end
  sort(keys, before or key_before)
  return keys
end

-- ---- walks --------------------------------------------------------------------------------

--- One walk through a value: how deep, through which tables, how many elements so far.
---@param map userdata?  the types of the database that it comes from
function lua_form.walk(map)
  return { depth = 0, items = 0, open = {}, map = map }
end

--- False where the walk goes no further: into a table that it is in, too deep, after too much.
---@param walk table
---@param t table
---@param most integer?  levels
function lua_form.enter(walk, t, most)
  if walk.depth >= (most or MAX_DEPTH) or walk.open[t] or walk.items >= MAX_ITEMS then return false end
  walk.depth, walk.items = walk.depth + 1, walk.items + 1
  walk.open[t] = true
  return true
end

function lua_form.leave(walk, t)
  walk.depth = walk.depth - 1
  walk.open[t] = nil
end

--- Counts one more element; false when the value has had enough of them.
function lua_form.more(walk)
  walk.items = walk.items + 1
  return walk.items <= MAX_ITEMS
end

-- ---- Lua's form ---------------------------------------------------------------------------

local describe

local function key_text(k, walk)
  if type(k) == "string" and find(k, "^[%a_][%w_]*$") then return k end
  return "[" .. describe(k, walk) .. "]"
end

local function table_body(t, walk)
  local out, n = {}, 0
  local length = lua_form.list_length(t)
  local keys = not length and lua_form.sorted_keys(t)
  for i = 1, length or #keys do
    if not lua_form.more(walk) then
      out[n + 1] = "..."
      break
    end
    n = n + 1
    if keys then
      out[n] = key_text(keys[i], walk) .. "=" .. describe(rawget(t, keys[i]), walk)
    else
      out[n] = describe(rawget(t, i), walk)
    end
  end
  return "{" .. concat(out, ", ") .. "}"
end

describe = function(v, walk)
  local t = type(v)
  if t == "nil" then return "nil" end
  if rawequal(v, core.null) then return "null" end
  if t == "boolean" then return v and "true" or "false" end
  if t == "number" then return lua_form.number(v) end
  if t == "string" then return "'" .. escape(v, true) .. "'" end
  if t ~= "table" or lua_form.prints_itself(v) then return escape(lua_form.object(v)) end
  if not lua_form.enter(walk, v) then return "..." end
  local kind, mt = lua_form.kind_of(v)
  local text = kind == "row" and from_above.describe_row(v, mt, walk) or table_body(v, walk)
  lua_form.leave(walk, v)
  return text
end

--- A value as Lua would write it.
---@param v any
---@param walk table
---@return string
lua_form.value = describe

return lua_form
