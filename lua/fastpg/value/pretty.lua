-- SPDX-License-Identifier: MIT
--
-- pretty: rows and lists of rows as text for people.
--
--   value   one value as it stands inside a printed row       'it\'s'   6.0   {1,2,NULL}
--   row     one row, columns in order                         Artist(artist_id=1, name='AC/DC')
--   list    psql's aligned table                               id | name …  (3 rows)
--   html    the same as an HTML table, everything escaped
--
-- In a row NULL is nil, booleans are true and false, strings have quotes and floats a fraction;
-- all else is the server's text (server_form).  What no type explains is in Lua's form (lua_form).  Printing
-- never fails and never does I/O: rows are read by raw access.

local ipairs, next, rawequal, rawget, type = ipairs, next, rawequal, rawget, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local draw = require "fastpg.value.draw"
local errors = require "fastpg.base.errors"
local from_above = require "fastpg.base.from_above"
local lua_form = require "fastpg.value.lua_form"
local server_form = require "fastpg.value.server_form"

local find, gsub = string.find, string.gsub
local concat = table.concat
local rawlen = compat.rawlen
local escape, is_null, kind_of = lua_form.escape, lua_form.is_null, lua_form.kind_of

local pretty = {}

-- As psql: integers, floats, numeric, money, oid and the transaction ids.
local RIGHT = { [20] = true, [21] = true, [23] = true, [26] = true, [28] = true, [29] = true,
  [700] = true, [701] = true, [790] = true, [1700] = true, [5069] = true }

local function wrong(what, expected, v)
  errors.argument("fastpg.%s: %s expected, got %s", what, expected, type(v))
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

-- ---- value and row ------------------------------------------------------------------------

local function describe(v, of, walk)
  local t, kind = type(v), of and of.kind
  if v == nil then return "nil" end
  if rawequal(v, core.null) then return "null" end
  if kind == "json" then return escape(server_form.text(v, of, walk)) end
  if t == "number" then return lua_form.number(v, kind, true) end
  if t == "string" then
    if kind == "integer" and find(v, "^%-?%d+$") then return v end
    if kind == "bytea" then return server_form.text(v, of, walk) end
  elseif t == "table" then
    local what, mt = kind_of(v) -- (a row with a class was put there)
    if server_form.has_text(v, of) and not (what == "row" and rawget(mt, "class_name")) then
      return escape(server_form.text(v, of, walk))
    end
  end
  return lua_form.value(v, walk)
end

-- The fields that hold rows of other tables, or how many there are.
local function related_fields(row, mt)
  local names = {}
  for name in next, mt.related or {} do
    local kind = type(rawget(row, name))
    if kind == "table" or kind == "number" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function rows_in(value)
  return kind_of(value) == "row" and 1 or rawlen(value)
end

local function row_body(row, mt, walk)
  local shape, out, n = mt.shape, {}, 0
  local types = shape.types or {}
  for _, i in ipairs(positions(shape)) do
    local name = shape.columns[i]
    local v = rawget(row, name)
    if v ~= nil or not mt.partial then
      n = n + 1
      out[n] = escape(name) .. "=" .. describe(v, server_form.type_of(walk.map, types[i] or 0), walk)
    end
  end
  for _, name in ipairs(related_fields(row, mt)) do
    local value = rawget(row, name)
    n = n + 1
    if type(value) == "number" then
      out[n] = escape(name) .. "=" .. lua_form.value(value, walk)
    else
      local count = rows_in(value)
      out[n] = ("%s=<%d row%s>"):format(escape(name), count, count == 1 and "" or "s")
    end
  end
  local class_name = mt.class_name
  if class_name then return escape(class_name) .. "(" .. concat(out, ", ") .. ")" end
  return "<Record" .. (n > 0 and " " or "") .. concat(out, " ") .. ">"
end
from_above.describe_row = row_body

--- One value on one line, as it stands inside a printed row.
---@param v any
---@param oid integer? its PostgreSQL type
---@return string
function pretty.value(v, oid)
  return describe(v, server_form.type_of(nil, oid), lua_form.walk())
end

--- `Artist(artist_id=1, name='AC/DC')`, or `<Record artist_id=1 name='AC/DC'>` without a class.
---@param row table
---@return string
function pretty.row(row)
  local kind, mt = kind_of(row)
  if kind == nil then wrong("row", "a row", row) end
  local walk = lua_form.walk(server_form.map_of(mt))
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
    if v == nil then v = core.null end
    out[n] = v
  end
  return out
end

-- ---- lists --------------------------------------------------------------------------------

-- Of any list of rows, or one row: the rows, and of each column drawn its name, oid and type.
local function columns_of(x, what)
  if type(x) ~= "table" then wrong(what, "a row or a list of rows", x) end
  local kind, mt = kind_of(x)
  local list = kind == "row" and { x } or x
  if not kind then
    kind, mt = kind_of(rawget(x, 1))
    if kind ~= "row" then
      if next(x) ~= nil then wrong(what, "a row or a list of rows", x) end
      return { list = x, map = nil }
    end
  end
  if kind == "list" then -- it knows no database, its rows do
    local _, row_mt = kind_of(rawget(x, 1))
    if row_mt then mt = { shape = mt.shape, db = rawget(row_mt, "db") } end
  end
  local map, types = server_form.map_of(mt), mt.shape.types or {}
  local out = { list = list, map = map }
  for j, i in ipairs(positions(mt.shape)) do
    out[j] = { name = mt.shape.columns[i], oid = types[i], type = server_form.type_of(map, types[i] or 0) }
  end
  return out
end

-- The value of a column, nil where it is NULL.
local function field(row, column)
  local v = nil
  if type(row) == "table" then v = rawget(row, column.name) end
  if is_null(v) then return nil end
  return v
end

--- A list of rows (or one row) as the table psql draws, footer included, no newline at the end.
---@param rows table
---@return string
function pretty.list(rows)
  local columns = columns_of(rows, "list")
  local list, header, right, texts = columns.list, {}, {}, {}
  for j, column in ipairs(columns) do
    header[j], right[j] = column.name, RIGHT[column.oid] or false
  end
  return draw.table(header, right, rawlen(list), function(r)
    for j, column in ipairs(columns) do
      local v = field(list[r], column)
      texts[j] = v == nil and "" or server_form.text(v, column.type, lua_form.walk(columns.map))
    end
    return texts
  end)
end

local HTML = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function html_escape(s)
  return (gsub(s, "[&<>\"']", HTML))
end

-- Unlike psql's cells: true and false, 6.0 for a float, as in a printed row.
local function html_text(v, column, map)
  if v == nil then return "" end
  local kind = column.type and column.type.kind
  if kind ~= "json" then
    if type(v) == "boolean" then return v and "true" or "false" end
    if type(v) == "number" then return lua_form.number(v, kind, true) end
  end
  return html_escape(server_form.text(v, column.type, lua_form.walk(map)))
end

--- A list of rows, or one row, as an HTML table; everything in it is escaped.
---@param rows table
---@return string
function pretty.html(rows)
  local columns = columns_of(rows, "html")
  local out, n = { "<table><thead><tr>" }, 1
  local function put(s)
    n = n + 1
    out[n] = s
  end
  for _, column in ipairs(columns) do put("<th>" .. html_escape(column.name) .. "</th>") end
  put("</tr></thead><tbody>")
  for r = 1, rawlen(columns.list) do
    local row = columns.list[r]
    put("<tr>")
    for _, column in ipairs(columns) do
      put("<td>" .. html_text(field(row, column), column, columns.map) .. "</td>")
    end
    put("</tr>")
  end
  put("</tbody></table>")
  return concat(out)
end

return pretty
