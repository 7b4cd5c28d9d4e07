-- SPDX-License-Identifier: MIT
--
-- type_names: the names of types: what SQL calls them, what a class may call them, and what a value
-- of them is in Lua.
--
-- A type's name ends up inside statements, so only a name's own grammar is let through:
--
--   name    ( word | "quoted" ) { . ( word | "quoted" ) }      public.mood   "my type"
--   words   double precision, character|bit varying, timestamp|time with|without time zone,
--           interval year to month ...
--   args    ( number | word, ... )                             numeric(10,2)   geometry(Point,4326)
--   arrays  [] [3] ARRAY ARRAY[3]
--
-- A quoted word can hold anything; whatever else there is (`;`, `'`, comments, a second word) is
-- refused, so that no type can go on into another clause or statement.
--
-- PostgreSQL manual: "Data Types", table of names and aliases.

local ipairs, pairs, type = ipairs, pairs, type

local type_names = {}

-- ---- the table ------------------------------------------------------------------------------

-- name, as SQL or a class spells it -> { sql = as DDL spells it, lua = LuaCATS type, oid = or 0 }
local known = {}

-- One row per type: SQL, Lua, oid (0: not fixed), the names it goes by.
local function add(sql, lua, oid, names)
  local row = { sql = sql, lua = lua, oid = oid }
  for name in names:gmatch("[^,]+") do known[name] = row end
end

add("BOOLEAN", "boolean", 16, "boolean,bool")
add("SMALLINT", "integer", 21, "smallint,int2")
add("INTEGER", "integer", 23, "integer,int,int4")
add("BIGINT", "integer", 20, "bigint,int8")
add("SMALLSERIAL", "integer", 21, "smallserial,serial2")
add("SERIAL", "integer", 23, "serial,serial4")
add("BIGSERIAL", "integer", 20, "bigserial,serial8")
add("OID", "integer", 26, "oid")
add("REAL", "number", 700, "real,float4")
add("DOUBLE PRECISION", "number", 701, "double precision,float8,float,double,number")
add("NUMERIC", "fastpg.numeric", 1700, "numeric,decimal,dec")
add("TEXT", "string", 25, "text,str,string")
add("CHARACTER VARYING", "string", 1043, "character varying,varchar")
add("CHARACTER", "string", 1042, "character,char")
add("BPCHAR", "string", 1042, "bpchar")
add("NAME", "string", 19, "name")
add("BYTEA", "string", 17, "bytea,bytes")
add("UUID", "string", 2950, "uuid")
add("XML", "string", 142, "xml")
add("MONEY", "string", 790, "money")
add("INET", "string", 869, "inet")
add("CIDR", "string", 650, "cidr")
add("MACADDR", "string", 829, "macaddr")
add("MACADDR8", "string", 774, "macaddr8")
add("BIT", "string", 1560, "bit")
add("BIT VARYING", "string", 1562, "bit varying,varbit")
add("TSVECTOR", "string", 3614, "tsvector")
add("TSQUERY", "string", 3615, "tsquery")
add("PG_LSN", "string", 3220, "pg_lsn")
add("DATE", "fastpg.date", 1082, "date")
add("TIME", "fastpg.time", 1083, "time,time without time zone")
add("TIMETZ", "fastpg.timetz", 1266, "timetz,time with time zone")
add("TIMESTAMP", "fastpg.timestamp", 1114, "timestamp,timestamp without time zone,datetime")
add("TIMESTAMPTZ", "fastpg.timestamptz", 1184, "timestamptz,timestamp with time zone")
add("INTERVAL", "fastpg.interval", 1186, "interval")
add("JSON", "any", 114, "json")
add("JSONB", "any", 3802, "jsonb,table")
add("HSTORE", "table<string, string>", 0, "hstore")
add("RECORD", "table", 2249, "record")
for name, oid in pairs{ point = 600, lseg = 601, path = 602, box = 603, polygon = 604, line = 628, circle = 718 } do
  add(name:upper(), "table", oid, name)
end
for name, oid in pairs{ int4 = 3904, num = 3906, ts = 3908, tstz = 3910, date = 3912, int8 = 3926 } do
  add(name:upper() .. "RANGE", "fastpg.range", oid, name .. "range")
  add(name:upper() .. "MULTIRANGE", "fastpg.multirange", 0, name .. "multirange")
end

-- ---- reading a name -------------------------------------------------------------------------

-- The words that may follow a first word, as Lua patterns over " word word".
local FOLLOW = {
  double = { "^ precision$" },
  character = { "^ varying$" }, char = { "^ varying$" }, bit = { "^ varying$" },
  timestamp = { "^ without time zone$", "^ with time zone$" },
  time = { "^ without time zone$", "^ with time zone$" },
  interval = {
    "^ year$", "^ month$", "^ day$", "^ hour$", "^ minute$", "^ second$", "^ year to month$", "^ day to hour$",
    "^ day to minute$", "^ day to second$", "^ hour to minute$", "^ hour to second$", "^ minute to second$",
  },
}

local WORD = "^[%a_\128-\255][%w_$\128-\255]*"

-- The end of a word or a quoted name at `from`, or nil.
local function name_end(text, from)
  local _, last = text:find(WORD, from)
  if last then return last, false end
  local start = from
  while text:sub(from, from) == '"' do -- "" inside is two such pieces
    _, last = text:find('^"[^"]*"', from)
    if not last then return nil end
    from = last + 1
  end
  if not last or last == start + 1 then return nil end
  return last, true
end

-- "( 10, 2 )" at `from`: its end, or nil.
local function args_end(text, from)
  local _, last, inside = text:find("^%s*%(([^()]*)%)", from)
  if not last then return nil end
  for arg in (inside .. ","):gmatch("([^,]*),") do
    if not (arg:find("^%s*%-?%d+%s*$") or arg:find("^%s*[%a_][%w_]*%s*$")) then return nil end
  end
  return last
end

-- What follows the name: words, arguments, arrays.
local function read_tail(text, at, first)
  local words, has_args, depth = "", false, 0
  while true do
    at = text:match("^%s*()", at)
    if at > #text then break end
    local char = text:sub(at, at)
    local _, last = text:find("^%[%d*%]", at)
    if last then
      depth = depth + 1
    elseif char == "(" and not has_args and depth == 0 then
      last = args_end(text, at)
      has_args = true
    elseif depth == 0 then
      local word
      _, last, word = text:find("^(%a+)", at)
      word = word and word:lower()
      if word == "array" then
        local _, stop = text:find("^%s*%[%d*%]", last + 1)
        last, depth = stop or last, 1
      elseif word and FOLLOW[first] then
        words = words .. " " .. word
      else
        return nil
      end
    end
    if not last then return nil end
    at = last + 1
  end
  if words == "" then return words, has_args, depth end
  for _, pattern in ipairs(FOLLOW[first]) do
    if words:find(pattern) then return words, has_args, depth end
  end
  return nil
end

local function trim(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end

--- Reads a type's name.
---@param text string
---@return { text: string, sql: string, lua: string, oid: integer, depth: integer, base: string,
---  is_known: boolean }?  nil: it is none
function type_names.parse(text)
  text = trim(text)
  if text == "" or text:find("%c") then return nil end
  local last, quoted = name_end(text, 1)
  local qualified, first_last = false, last
  while last and text:sub(last + 1, last + 1) == "." do
    qualified = true
    last = name_end(text, last + 2)
  end
  if not last then return nil end
  local first = not quoted and not qualified and text:sub(1, first_last):lower() or ""
  local words, has_args, depth = read_tail(text, last + 1, first)
  if not words or first == "double" and words == "" and has_args then return nil end
  local base = first ~= "" and first .. words or text:sub(1, last)
  local lookup = base:gsub("^pg_catalog%.", ""):lower()
  if quoted then lookup = "" end
  if first == "interval" then lookup = "interval" end
  local row = known[lookup]
  local sql = text
  if row and not has_args and not quoted and not qualified and (first ~= "interval" or words == "") then
    sql = row.sql .. ("[]"):rep(depth)
  end
  local lua = row and row.lua or "string"
  return { text = text, sql = sql, lua = lua .. ("[]"):rep(depth), oid = row and depth == 0 and row.oid or 0,
    depth = depth, base = row and row.sql or base, is_known = row ~= nil }
end

--- fastpg.lua_type: what a value of that type is in Lua, as LuaCATS names it.  Types that come as
--- the server's text are strings; so is one that is not known (an enum).
---@param pg_type string  "character varying(120)", "integer[]", "timestamp with time zone"
---@return string
function type_names.lua_type(pg_type)
  if type(pg_type) ~= "string" then
    require("fastpg.base.errors").argument("fastpg.lua_type: the name of a PostgreSQL type expected, got %s", type(pg_type))
  end
  local parsed = type_names.parse(pg_type)
  return parsed and parsed.lua or "string"
end

return type_names
