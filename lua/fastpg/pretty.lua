-- SPDX-License-Identifier: MIT
--
-- pretty: rows and lists of rows as text for people.
--
--   value   one value as Lua would write it, on one line      'it\'s'   6.0   {1, 2, null}
--   row     one row, columns in order                         Artist(artist_id=1, name='AC/DC')
--   list    psql's aligned table                               id | name …  (3 rows)
--   html    the same as an HTML table, everything escaped
--
-- `list` draws what psql 15 draws by default, to the letter: centred headers, numbers on the
-- right, NULL empty, booleans t and f, `+` where a value goes on in the next line, tabs expanded,
-- other control characters as \xNN.  It differs where psql miscounts columns (see wcwidth), and for
-- arrays with lower bounds other than 1 (the bounds are not drawn).  Time and memory are linear in the size of what is drawn.
--
-- Only raw access is used on rows: a strict row raises on unknown keys, and printing never does
-- I/O.  What the C core knows better is injected: `pretty.float_text`, `pretty.null`,
-- `pretty.array_mt`, `pretty.json_null`; without the core there are stand-ins.

local wcwidth = require "fastpg.wcwidth"

local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local rep, sub = string.rep, string.sub
local concat, sort = table.concat, table.sort
local floor = math.floor
local math_type = math.type or function() return "float" end
local rawlen = rawlen or function(t) return #t end

local pretty = {}

local MAX_DEPTH = 6
local MAX_ITEMS = 10000          -- elements drawn within one value: shared tables can't explode

local JSON = { [114] = true, [3802] = true }
local INTEGER = { [20] = true, [21] = true, [23] = true, [26] = true }
local BYTEA = 17
-- As psql: integers, floats, numeric, money, oid and the transaction ids.
local RIGHT = { [20] = true, [21] = true, [23] = true, [26] = true, [28] = true, [29] = true,
  [700] = true, [701] = true, [790] = true, [1700] = true, [5069] = true }
-- Element types of the arrays whose elements print by their type.
local ELEMENT = { [1000] = 16, [1001] = 17, [1005] = 21, [1007] = 23, [1016] = 20, [1028] = 26,
  [1021] = 700, [1022] = 701, [1231] = 1700, [199] = 114, [3807] = 3802, [1020] = 603 }
local BOX = 603                  -- an array of boxes has semicolons

-- ---- numbers ------------------------------------------------------------------------------

local SCIENTIFIC = {}
for p = 1, 17 do SCIENTIFIC[p] = "%." .. (p - 1) .. "e" end

-- x rounded to the nearest float4, halves to even.
local function to_single(x)
  local a = x < 0 and -x or x
  if a == 0 then return x end
  local e = floor(math.log(a) / math.log(2))
  while e > -149 and 2.0 ^ e > a do e = e - 1 end
  while 2.0 ^ (e + 1) <= a do e = e + 1 end
  local ulp = 2.0 ^ (e - 23 > -149 and e - 23 or -149)
  local q = a / ulp
  local n = floor(q)
  local over = q - n
  if over > 0.5 or over == 0.5 and n % 2 == 1 then n = n + 1 end
  return (x < 0 and -n or n) * ulp
end

-- Whether x, written out, is v for every way of rounding: the server refuses exact halves.
local function reads_back(x, v)
  return to_single(x * (1 + 2.0 ^ -50)) == v and to_single(x * (1 - 2.0 ^ -50)) == v
end

-- The fewest digits that read back as v: sign, digits, decimal exponent.
local function shortest_digits(v, single)
  local normal, from, to = 2.2250738585072014e-308, 15, 17
  if single then normal, from, to = 1.1754943508222875e-38, 6, 9 end
  if v < normal and -v < normal then from = 1 end
  local s
  for p = from, to do
    s = format(SCIENTIFIC[p], v)
    local back = tonumber(s)
    if back == v or single and reads_back(back, v) then break end
  end
  local sign, first, rest, exponent = s:match("^(%-?)(%d)%D?(%d*)e([-+]%d+)$")
  return sign, (gsub(first .. rest, "0+$", "")), tonumber(exponent)
end

--- The shortest text of a float as the server writes it: 6, 0.1, 1e+30, NaN, -Infinity.
--- The stand-in for the C core's `float_text`; `pretty.float_text` is the one in use.  Of two
--- equally good last digits of a float8 (an exact half) it may take the other.
---@param v number
---@param single boolean? a float4
---@return string
function pretty.shortest(v, single)
  if v ~= v then return "NaN" end
  if v == math.huge then return "Infinity" elseif v == -math.huge then return "-Infinity" end
  if v == 0 then return 1 / v < 0 and "-0" or "0" end
  if single then
    local near = to_single(v)
    if near == 0 or near >= 2.0 ^ 128 or near <= -2.0 ^ 128 then single = false else v = near end
  end
  local sign, digits, e = shortest_digits(v, single)
  if e < -4 or e >= (single and 6 or 15) then
    local mantissa = #digits > 1 and sub(digits, 1, 1) .. "." .. sub(digits, 2) or digits
    return format("%s%se%s%02d", sign, mantissa, e < 0 and "-" or "+", e < 0 and -e or e)
  end
  if e < 0 then return sign .. "0." .. rep("0", -e - 1) .. digits end
  if #digits <= e + 1 then return sign .. digits .. rep("0", e + 1 - #digits) end
  return sign .. sub(digits, 1, e + 1) .. "." .. sub(digits, e + 2)
end

-- fraction: write 6 as 6.0 where the type is a float.
local function number_text(v, oid, fraction)
  if oid == 700 or oid == 701 then
    local s = pretty.float_text(v * 1.0, oid == 700)
    if fraction and find(s, "^%-?%d+$") then s = s .. ".0" end
    return s
  end
  if math_type(v) == "integer" then return format("%d", v) end
  local limit = INTEGER[oid] and 2.0 ^ 63 or 2.0 ^ 53
  if v == floor(v) and v <= limit and v >= -limit then
    return v == 0 and "0" or format("%.0f", v)
  end
  return pretty.float_text(v, false)
end

-- ---- strings ------------------------------------------------------------------------------

local NAMED = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["'"] = "\\'", ["\\"] = "\\\\" }

-- Control characters and bytes that are no UTF-8 escaped; with `quotes`, ' and \ too.
local function escape(s, quotes)
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

local function hex(s)
  return "\\x" .. gsub(s, ".", function(c) return format("%02x", byte(c)) end)
end

-- ---- rows and lists: what they are --------------------------------------------------------

-- The metatable of a row or list of rows, and which of the two.  A row's metatable always says
-- `strict`; a list's never has any of a row's fields.
local function kind_of(t)
  local mt = type(t) == "table" and getmetatable(t)
  if type(mt) ~= "table" then return nil end
  local shape = rawget(mt, "shape")
  if type(shape) ~= "table" or type(shape.columns) ~= "table" then return nil end
  if rawget(mt, "strict") ~= nil or rawget(mt, "class_name") or rawget(mt, "class")
    or rawget(mt, "partial") ~= nil then return "row", mt end
  if rawget(t, 1) ~= nil or next(t) == nil then return "list", mt end
  return "row", mt
end

-- Positions of a shape's columns; of columns with one name only the last, which is the one whose
-- value the row holds.
local function positions(shape)
  local out, n, index = {}, 0, shape.index
  for i, name in ipairs(shape.columns) do
    if not index or index[name] == nil or index[name] == i then
      n = n + 1
      out[n] = i
    end
  end
  return out
end

local function is_null(v)
  return v == nil or rawequal(v, pretty.null)
end

-- The length of a table that reads as a list, else nil.  Holes are allowed, not vastness.
local function list_length(t)
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
  return tostring(a) < tostring(b)
end

local function sorted_keys(t, before)
  local keys, n = {}, 0
  for k in next, t do
    n = n + 1
    keys[n] = k
  end
  sort(keys, before or key_before)
  return keys
end

-- One walk through a value: how deep, through which tables, how many elements so far.
local function new_walk()
  return { depth = 0, items = 0, open = {} }
end

local function enter(walk, t)
  if walk.depth >= MAX_DEPTH or walk.open[t] or walk.items >= MAX_ITEMS then return false end
  walk.depth, walk.items = walk.depth + 1, walk.items + 1
  walk.open[t] = true
  return true
end

local function leave(walk, t)
  walk.depth = walk.depth - 1
  walk.open[t] = nil
end

-- Counts one more element; false when the value has had enough of them.
local function more(walk)
  walk.items = walk.items + 1
  return walk.items <= MAX_ITEMS
end

-- ---- value and row ------------------------------------------------------------------------

local describe

local function row_body(row, mt, walk)
  local shape, out, n = mt.shape, {}, 0
  local types = shape.types or {}
  for _, i in ipairs(positions(shape)) do
    local name = shape.columns[i]
    local v = rawget(row, name)
    if v ~= nil or not mt.partial then
      n = n + 1
      out[n] = escape(name) .. "=" .. describe(v, types[i], walk)
    end
  end
  local class_name = mt.class_name
  if class_name then return escape(class_name) .. "(" .. concat(out, ", ") .. ")" end
  return "<Record" .. (n > 0 and " " or "") .. concat(out, " ") .. ">"
end

local function key_text(k, walk)
  if type(k) == "string" and find(k, "^[%a_][%w_]*$") then return k end
  return "[" .. describe(k, nil, walk) .. "]"
end

local function table_body(t, oid, walk)
  local kind, mt = kind_of(t)
  if kind == "row" then return row_body(t, mt, walk) end
  local out, n = {}, 0
  local element = ELEMENT[oid] or oid      -- an inner dimension has the type of the outer one
  if oid and not ELEMENT[oid] and not INTEGER[oid] and oid ~= 700 and oid ~= 701 then
    element = nil
  end
  local length = list_length(t)
  local keys = not length and sorted_keys(t)
  for i = 1, length or #keys do
    if not more(walk) then
      out[n + 1] = "..."
      break
    end
    n = n + 1
    if keys then
      out[n] = key_text(keys[i], walk) .. "=" .. describe(rawget(t, keys[i]), nil, walk)
    else
      out[n] = describe(rawget(t, i), element, walk)
    end
  end
  return "{" .. concat(out, ", ") .. "}"
end

-- Whether the table's metatable prints it: a geometric value, an hstore.
local function prints_itself(t)
  local mt = getmetatable(t)
  return type(mt) == "table" and rawget(mt, "__tostring") and not rawget(mt, "shape")
end

local function table_text(t, oid, walk)
  if prints_itself(t) then return tostring(t) end
  if not enter(walk, t) then return "..." end
  local text = table_body(t, oid, walk)
  leave(walk, t)
  return text
end

-- An object of another kind: numeric, date, range, LuaJIT's int64.
local function object_text(v)
  local s = tostring(v)
  return s:match("^(%-?%d+)U?LL$") or s
end

describe = function(v, oid, walk)
  local t = type(v)
  if t == "nil" then return "nil" end
  if rawequal(v, pretty.null) then return "null" end
  if t == "boolean" then return v and "true" or "false" end
  if t == "number" then return number_text(v, oid, true) end
  if t == "string" then
    if oid == 20 and find(v, "^%-?%d+$") then return v end
    return "'" .. escape(v, true) .. "'"
  end
  if t == "table" then return table_text(v, oid, walk) end
  return object_text(v)
end

--- One value on one line, as it stands inside a printed row.
---@param v any
---@param oid integer? its PostgreSQL type
---@return string
function pretty.value(v, oid)
  return describe(v, oid, new_walk())
end

-- errors needs the core; without it a plain message has to do.
local has_errors, errors = pcall(require, "fastpg.errors")

local function wrong(what, expected, v)
  local message = format("fastpg.%s: %s expected, got %s", what, expected, type(v))
  if has_errors then errors.argument("%s", message) end
  error(message, 3)
end

--- `Artist(artist_id=1, name='AC/DC')`, or `<Record artist_id=1 name='AC/DC'>` without a class.
---@param row table
---@return string
function pretty.row(row)
  local kind, mt = kind_of(row)
  if kind == nil then wrong("row", "a row", row) end
  local walk = new_walk()
  walk.open[row] = true
  return row_body(row, mt, walk)
end

--- The names of the columns of a row or a list of rows, in order.
---@param row table
---@return string[]
function pretty.columns(row)
  local kind, mt = kind_of(row)
  if not kind then wrong("columns", "a row or a list of rows", row) end
  local out = {}
  for n, i in ipairs(positions(mt.shape)) do out[n] = mt.shape.columns[i] end
  return out
end

--- The values of a row in the order of its columns; NULL is fastpg.null, so there are no holes.
---@param row table
---@return any[]
function pretty.values(row)
  local kind, mt = kind_of(row)
  if kind == nil then wrong("values", "a row", row) end
  local out = {}
  for n, i in ipairs(positions(mt.shape)) do
    local v = rawget(row, mt.shape.columns[i])
    if v == nil then v = pretty.null end
    out[n] = v
  end
  return out
end

-- ---- cells: the server's text of a value --------------------------------------------------

local server_text

local JSON_ESCAPE = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f" }

local function json_string(s)
  return '"' .. gsub(s, '[%c"\\]', function(c)
    return JSON_ESCAPE[c] or (byte(c) < 0x20 and format("\\u%04x", byte(c))) or c
  end) .. '"'
end

-- jsonb's own order of keys: shorter ones first.
local function json_key_before(a, b)
  a, b = tostring(a), tostring(b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function json_text(v, walk)
  local t = type(v)
  if is_null(v) or rawequal(v, pretty.json_null) then return "null" end
  if t == "string" then return json_string(v) end
  if t == "number" then return number_text(v) end
  if t ~= "table" then return object_text(v) end
  if not enter(walk, v) then return "..." end
  local out, n = {}, 0
  local length = list_length(v)
  if length == 0 and (pretty.array_mt == nil or getmetatable(v) ~= pretty.array_mt) then
    length = nil
  end
  local keys = not length and sorted_keys(v, json_key_before)
  for i = 1, length or #keys do
    if not more(walk) then
      out[n + 1] = "..."
      break
    end
    n = n + 1
    if keys then
      out[n] = json_string(tostring(keys[i])) .. ": " .. json_text(rawget(v, keys[i]), walk)
    else
      out[n] = json_text(rawget(v, i), walk)
    end
  end
  leave(walk, v)
  local text = concat(out, ", ")
  return length and "[" .. text .. "]" or "{" .. text .. "}"
end

local function array_element(v, element, walk)
  if is_null(v) then return "NULL" end
  if type(v) == "table" and not kind_of(v) and not JSON[element] and not prints_itself(v) and list_length(v) then
    return server_text(v, nil, walk, element)
  end
  local s = server_text(v, element, walk)
  if s == "" or s:lower() == "null" or find(s, element == BOX and '[{}";\\%s]' or '[{}",\\%s]') then
    s = '"' .. gsub(s, '["\\]', "\\%0") .. '"'
  end
  return s
end

local function array_text(t, length, element, walk)
  local out = {}
  for i = 1, length do
    if not more(walk) then
      out[i] = "..."
      break
    end
    out[i] = array_element(rawget(t, i), element, walk)
  end
  return "{" .. concat(out, element == BOX and ";" or ",") .. "}"
end

local function record_text(row, shape, walk)
  local out, types = {}, shape.types or {}
  for i, name in ipairs(shape.columns) do
    local v, s = rawget(row, name), ""
    if not is_null(v) then
      s = server_text(v, types[i], walk)
      if s == "" or find(s, '[(),"\\%s]') then
        s = '"' .. gsub(s, '["\\]', "%0%0") .. '"'
      end
    end
    out[i] = s
  end
  return "(" .. concat(out, ",") .. ")"
end

-- `element` is known where t is an inner dimension of an array.
server_text = function(v, oid, walk, element)
  local t = type(v)
  if JSON[oid] then return json_text(v, walk) end
  if t == "boolean" then return v and "t" or "f" end
  if t == "number" then return number_text(v, oid, false) end
  if t == "string" then return oid == BYTEA and hex(v) or v end
  if t ~= "table" then return object_text(v) end
  local kind, mt = kind_of(v)
  local length = kind ~= "row" and list_length(v)
  if kind ~= "row" and not length or not kind and prints_itself(v) then return table_text(v, oid, walk) end
  if not enter(walk, v) then return "..." end
  local text = kind == "row" and record_text(v, mt.shape, walk)
    or array_text(v, length, element or ELEMENT[oid], walk)
  leave(walk, v)
  return text
end

-- ---- list ---------------------------------------------------------------------------------

-- Rows, the shape they share and the positions drawn.  Any list of rows will do.
local function rows_of(x, what)
  if type(x) ~= "table" then wrong(what, "a row or a list of rows", x) end
  local kind, mt = kind_of(x)
  if kind == "row" then return { x }, mt.shape, positions(mt.shape) end
  if not mt or not kind then
    kind, mt = kind_of(rawget(x, 1))
    if kind ~= "row" then
      if next(x) ~= nil then wrong(what, "a row or a list of rows", x) end
      return x, { columns = {}, types = {} }, {}
    end
  end
  return x, mt.shape, positions(mt.shape)
end

-- The control characters U+0080 to U+009F as psql shows them; bytes that are no UTF-8 as \xNN.
local function visible_high(s)
  local out, n, i = {}, 0, 1
  local j = find(s, "[\128-\255]")
  while j do
    local cp, following = wcwidth.decode(s, j)
    if not cp or cp < 0xA0 then
      n = n + 1
      out[n] = sub(s, i, j - 1) .. format(cp and "\\u%04X" or "\\x%02X", cp or byte(s, j))
      i = following or j + 1
    end
    j = find(s, "[\128-\255]", following or j + 1)
  end
  if n == 0 then return s end
  out[n + 1] = sub(s, i)
  return concat(out)
end

-- One line of a cell with control characters made visible, and its columns.
local function visible_line(s)
  if not find(s, "[^\32-\126]") then return s, #s end
  s = gsub(s, "[^\9\32-\126\128-\255]", function(c)
    return c == "\r" and "\\r" or format("\\x%02X", byte(c))
  end)
  s = visible_high(s)
  local tab = find(s, "\t", 1, true)
  if not tab then return s, wcwidth.width(s) end
  local out, n, columns, from = {}, 0, 0, 1
  while tab do
    local piece = sub(s, from, tab - 1)
    columns = columns + wcwidth.width(piece)
    local spaces = 8 - columns % 8
    columns = columns + spaces
    n = n + 1
    out[n] = piece .. rep(" ", spaces)
    from = tab + 1
    tab = find(s, "\t", from, true)
  end
  out[n + 1] = sub(s, from)
  return concat(out), columns + wcwidth.width(out[n + 1])
end

-- A cell: its line and width, or of several lines a list of both in turn and the greatest width.
local function cell_lines(s)
  if not find(s, "\n", 1, true) then return visible_line(s) end
  local lines, n, most = {}, 0, 0
  for line in (s .. "\n"):gmatch("([^\n]*)\n") do
    local text, width = visible_line(line)
    lines[n + 1], lines[n + 2] = text, width
    n = n + 2
    if width > most then most = width end
  end
  return lines, most
end

local spaces_cache = setmetatable({}, { __mode = "v" })
local SPACES = rep(" ", 64)
local function spaces(n)
  if n <= 64 then return sub(SPACES, 1, n) end
  local s = spaces_cache[n]
  if not s then
    s = rep(" ", n)
    spaces_cache[n] = s
  end
  return s
end

-- Line k of a cell and its width; nil after the last; true as a third when another follows.
local function line_of(cell, width, k)
  if type(cell) == "string" then
    if k == 1 then return cell, width, false end
    return nil
  end
  return cell[2 * k - 1], cell[2 * k], cell[2 * k + 1] ~= nil
end

local function add_header(out, cells, widths, greatest)
  local k, go_on, n = 1, true, #cells
  while go_on do
    local line = {}
    go_on = false
    for j = 1, n do
      local text, width, another = line_of(cells[j], widths[j], k)
      local pad = greatest[j] - (width or 0)
      local left = floor(pad / 2)
      line[j] = " " .. spaces(left) .. (text or "") .. spaces(pad - left)
        .. (another and "+" or " ")
      go_on = go_on or another
    end
    out[#out + 1] = concat(line, "|")
    k = k + 1
  end
end

local function add_row(out, cells, widths, greatest, right)
  local k, go_on, n = 1, true, #cells
  while go_on do
    local line = {}
    go_on = false
    for j = 1, n do
      local text, width, another = line_of(cells[j], widths[j], k)
      local pad = spaces(greatest[j] - (width or 0))
      local mark = another and "+" or j < n and " " or ""
      if right[j] and text then
        line[j] = " " .. pad .. text .. mark
      else
        line[j] = " " .. (text or "") .. (mark ~= "" and pad or "") .. mark
      end
      go_on = go_on or another
    end
    out[#out + 1] = concat(line, "|")
    k = k + 1
  end
end

local function measure(texts, greatest, cells, widths)
  for j = 1, #texts do
    local cell, width = cell_lines(texts[j])
    cells[j], widths[j] = cell, width
    if width > greatest[j] then greatest[j] = width end
  end
end

--- A list of rows (or one row) as the table psql draws, footer included, no newline at the end.
---@param rows table
---@return string
function pretty.list(rows)
  local list, shape, shown = rows_of(rows, "list")
  local columns, types, count = shape.columns, shape.types or {}, rawlen(list)
  local head, head_widths, greatest, right, rules, texts = {}, {}, {}, {}, {}, {}
  for j, i in ipairs(shown) do
    greatest[j], right[j], texts[j] = 0, RIGHT[types[i]] or false, columns[i]
  end
  measure(texts, greatest, head, head_widths)
  local cells, widths = {}, {}
  for r = 1, count do
    local row = list[r]
    for j, i in ipairs(shown) do
      local v = type(row) == "table" and rawget(row, columns[i])
      if type(row) ~= "table" or is_null(v) then
        texts[j] = ""
      else
        texts[j] = server_text(v, types[i], new_walk())
      end
    end
    cells[r], widths[r] = {}, {}
    measure(texts, greatest, cells[r], widths[r])
  end
  local out = {}
  if #shown > 0 then add_header(out, head, head_widths, greatest) end
  for j = 1, #shown do rules[j] = rep("-", greatest[j] + 2) end
  out[#out + 1] = #shown > 0 and concat(rules, "+") or "--"
  if #shown > 0 then
    for r = 1, count do add_row(out, cells[r], widths[r], greatest, right) end
  end
  out[#out + 1] = count == 1 and "(1 row)" or "(" .. format("%d", count) .. " rows)"
  return concat(out, "\n")
end

-- ---- html ---------------------------------------------------------------------------------

local HTML = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function html_escape(s)
  return (gsub(s, "[&<>\"']", HTML))
end

-- Unlike psql's cells: true and false, 6.0 for a float, as in a printed row.
local function html_text(v, oid)
  if is_null(v) then return "" end
  if not JSON[oid] then
    if type(v) == "boolean" then return v and "true" or "false" end
    if type(v) == "number" then return number_text(v, oid, true) end
  end
  return html_escape(server_text(v, oid, new_walk()))
end

--- A list of rows, or one row, as an HTML table; everything in it is escaped.
---@param rows table
---@return string
function pretty.html(rows)
  local list, shape, shown = rows_of(rows, "html")
  local columns, types = shape.columns, shape.types or {}
  local out, n = { "<table><thead><tr>" }, 1
  local function put(s)
    n = n + 1
    out[n] = s
  end
  for _, i in ipairs(shown) do put("<th>" .. html_escape(columns[i]) .. "</th>") end
  put("</tr></thead><tbody>")
  for r = 1, rawlen(list) do
    local row = list[r]
    put("<tr>")
    for _, i in ipairs(shown) do
      local v
      if type(row) == "table" then v = rawget(row, columns[i]) end
      put("<td>" .. html_text(v, types[i]) .. "</td>")
    end
    put("</tr>")
  end
  put("</tbody></table>")
  return concat(out)
end

-- ---- what the core gives ------------------------------------------------------------------

local loaded, core = pcall(require, "fastpg.core")
if not loaded or type(core) ~= "table" then core = {} end

pretty.float_text = core.float_text or pretty.shortest
pretty.array_mt = core.array_mt
pretty.json_null = core.json_null
pretty.null = core.null
if pretty.null == nil then
  pretty.null = setmetatable({}, { __tostring = function() return "null" end })
end

return pretty
