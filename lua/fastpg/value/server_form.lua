-- SPDX-License-Identifier: MIT
--
-- server_form: a value as the server prints it: {1,2,NULL}   (1,"x y")   {"a": 1}   t   \xdead
--
-- What a value is, its type says: that of its column, and for what is inside of it what the core and
-- the database's map of types know (core.type_kind).  A value that is not what its type promises
-- (somebody put it there, or a codec of the user's made it) is printed in Lua's form.
--
-- A json document is laid out as jsonb's text is: its own layout is gone once it is read.

local getmetatable, ipairs, rawget, type = getmetatable, ipairs, rawget, type

local core = require "fastpg.core"
local lua_form = require "fastpg.value.lua_form"

local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local concat = table.concat
local floor = math.floor
local is_null, kind_of, list_length = lua_form.is_null, lua_form.kind_of, lua_form.list_length
local enter, leave, more = lua_form.enter, lua_form.leave, lua_form.more

local server_form = {}

local MAX_DEPTH = 100            -- of what the server made, there is no sharing in it

local UNKNOWN = {}               -- a type of which nothing is known
local LISTS = { json = true, hstore = true, array = true }   -- one value of these may be a list

--- What is known of a type: { kind =, element =, delimiter = }; nil for no type at all (0 is an unknown one).
---@param map userdata?  the database's map of types
---@param oid integer?
---@return table?
function server_form.type_of(map, oid)
  if not oid then return nil end
  local kind, element, delimiter = core.type_kind(map, oid)
  if not kind then return UNKNOWN end
  return { kind = kind, delimiter = delimiter, element = element and server_form.type_of(map, element) }
end

--- The map of types that belongs to rows with this metatable.
---@param mt table
---@return userdata?
function server_form.map_of(mt)
  if mt.shape.typemap then return mt.shape.typemap end
  local types = mt.types
  return types and types.map or nil
end

-- ---- json ---------------------------------------------------------------------------------

local JSON_ESCAPE = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f" }

local function json_escape(c)
  return JSON_ESCAPE[c] or byte(c) < 0x20 and format("\\u%04x", byte(c)) or c
end

-- Half a surrogate pair, as a document is read (three bytes, see csrc/json/json_read.h).
local function json_surrogate(c)
  local _, a, b = byte(c, 1, 3)
  return format("\\ud%x%02x", 8 + floor((a - 0xA0) / 4), (a % 4) * 64 + b - 0x80)
end

local function json_string(s)
  s = gsub(s, '[%z%c"\\]', json_escape)
  return '"' .. gsub(s, "\237[\160-\191][\128-\191]", json_surrogate) .. '"'
end

-- jsonb's own order of keys: shorter ones first.
local function json_key_before(a, b)
  a, b = lua_form.object(a), lua_form.object(b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function is_json_array(t)
  local mt = getmetatable(t)
  return type(mt) == "table" and (mt == core.array_mt or rawget(mt, "__jsontype") == "array")
end

local function json_text(v, walk)
  local t = type(v)
  if is_null(v) then return "null" end
  if t == "string" then return json_string(v) end
  if t == "number" then return lua_form.plain_number(v) end
  if t ~= "table" then return lua_form.object(v) end
  if not enter(walk, v, MAX_DEPTH) then return "..." end
  local out, n = {}, 0
  local length = list_length(v)
  if length == 0 and not is_json_array(v) then length = nil end
  local keys = not length and lua_form.sorted_keys(v, json_key_before)
  for i = 1, length or #keys do
    if not more(walk) then
      out[n + 1] = "..."
      break
    end
    n = n + 1
    if keys then
      out[n] = json_string(lua_form.object(keys[i])) .. ": " .. json_text(rawget(v, keys[i]), walk)
    else
      out[n] = json_text(rawget(v, i), walk)
    end
  end
  leave(walk, v)
  local text = concat(out, ", ")
  return length and "[" .. text .. "]" or "{" .. text .. "}"
end

-- ---- arrays and rows ----------------------------------------------------------------------

local text_of, array_text

-- levels: how many more levels of lists there are; nil where the tables themselves tell.
local function is_inner(v, levels)
  if type(v) ~= "table" or levels and levels <= 0 then return false end
  return not kind_of(v) and not lua_form.prints_itself(v) and list_length(v) ~= nil
end

local function element_text(v, element, delimiter, levels, walk)
  if is_null(v) then return "NULL" end
  if is_inner(v, levels) then
    if not enter(walk, v, MAX_DEPTH) then return "..." end
    local inner = array_text(v, list_length(v), element, delimiter, levels and levels - 1, walk)
    leave(walk, v)
    return inner
  end
  local s = text_of(v, element, walk)
  if s == "" or s:lower() == "null" or find(s, '[{}"\\%s]') or find(s, delimiter, 1, true) then
    s = '"' .. gsub(s, '["\\]', "\\%0") .. '"'
  end
  return s
end

array_text = function(t, length, element, delimiter, levels, walk)
  local out = {}
  for i = 1, length do
    if not more(walk) then
      out[i] = "..."
      break
    end
    out[i] = element_text(rawget(t, i), element, delimiter, levels, walk)
  end
  return "{" .. concat(out, delimiter) .. "}"
end

-- [0:2][1:3]= where a lower bound is not 1, else nothing.
local function bounds_text(t, lower)
  local out, odd = {}, false
  for i = 1, #lower do
    local length = type(t) == "table" and list_length(t)
    if not length or type(lower[i]) ~= "number" then return "" end
    out[i] = format("[%d:%d]", lower[i], lower[i] + length - 1)
    odd = odd or lower[i] ~= 1
    t = rawget(t, 1)
  end
  return odd and concat(out) .. "=" or ""
end

-- The list t as an array of the type (that of an array, or unknown).
local function list_text(t, of, walk)
  local info, levels, length = core.array_info(t), nil, list_length(t)
  if of.element and LISTS[of.element.kind] then levels = (info and info.dims or 1) - 1 end
  local text = array_text(t, length, of.element or UNKNOWN, of.delimiter or ",", levels, walk)
  local lower = length > 0 and info and info.lower
  return type(lower) == "table" and bounds_text(t, lower) .. text or text
end

local function record_text(row, shape, walk)
  local out, types = {}, shape.types or {}
  for i, name in ipairs(shape.columns) do
    local v, s = rawget(row, name), ""
    if not is_null(v) then
      s = text_of(v, server_form.type_of(walk.map, types[i] or 0), walk)
      if s == "" or find(s, '[(),"\\%s]') then
        s = '"' .. gsub(s, '["\\]', "%0%0") .. '"'
      end
    end
    out[i] = s
  end
  return "(" .. concat(out, ",") .. ")"
end

-- Whether the server prints the table as an array: never what a codec of the user's made.
local function prints_as_array(t, of)
  if not of or kind_of(t) == "row" or lua_form.prints_itself(t) or not list_length(t) then return false end
  if of.kind == "array" then return not of.element or of.element.kind ~= "user" end
  return of == UNKNOWN
end

--- Whether the server's text of the table differs from Lua's form.
---@param t table
---@param of table?  its type
function server_form.has_text(t, of)
  if of and of.kind == "json" then return true end
  return of ~= nil and of.kind ~= "user" and kind_of(t) == "row" or prints_as_array(t, of)
end

local function table_text(t, of, walk)
  if not server_form.has_text(t, of) then return lua_form.value(t, walk) end
  if not enter(walk, t, MAX_DEPTH) then return "..." end
  local kind, mt = kind_of(t)
  local text = kind == "row" and record_text(t, mt.shape, walk) or list_text(t, of, walk)
  leave(walk, t)
  return text
end

-- ---- values -------------------------------------------------------------------------------

local function hex(s)
  return "\\x" .. gsub(s, ".", function(c) return format("%02x", byte(c)) end)
end

text_of = function(v, of, walk)
  local t, kind = type(v), of and of.kind
  if kind == "json" then return json_text(v, walk) end
  if t == "boolean" then return v and "t" or "f" end
  if t == "number" then return lua_form.number(v, kind, false) end
  if t == "string" then return kind == "bytea" and hex(v) or v end
  if t == "table" then return table_text(v, of, walk) end
  return lua_form.object(v)
end

--- The server's text of a value that is not NULL.
---@param v any
---@param of table?  its type, of server_form.type_of
---@param walk table
---@return string
server_form.text = text_of

return server_form
