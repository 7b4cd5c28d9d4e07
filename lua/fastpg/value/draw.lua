-- SPDX-License-Identifier: MIT
--
-- draw: the aligned table of psql 15, to the letter: centred headers, numbers on the right, `+` where
-- a value goes on in the next line, tabs expanded, other control characters as \xNN.  It differs
-- where psql miscounts columns (see wcwidth).

local type = type

local bounded = require "fastpg.base.bounded"
local wcwidth = require "fastpg.value.wcwidth"

local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local rep, sub = string.rep, string.sub
local concat = table.concat
local floor = math.floor

local draw = {}

-- ---- cells --------------------------------------------------------------------------------

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

-- ---- lines --------------------------------------------------------------------------------

local wide = bounded.new(16) -- width -> so many spaces
local SPACES = rep(" ", 64)
local function spaces(n)
  if n <= 64 then return sub(SPACES, 1, n) end
  return wide.kept[n] or wide:keep(n, rep(" ", n))
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

--- The table of these texts, footer included, no newline at the end.
---@param header string[]
---@param right boolean[]            which columns stand on the right
---@param count integer              of rows
---@param texts fun(r: integer): string[]   of row r; the table may be the same each time
---@return string
function draw.table(header, right, count, texts)
  local head, head_widths, greatest, rules, n = {}, {}, {}, {}, #header
  for j = 1, n do greatest[j] = 0 end
  measure(header, greatest, head, head_widths)
  local cells, widths = {}, {}
  for r = 1, count do
    cells[r], widths[r] = {}, {}
    measure(texts(r), greatest, cells[r], widths[r])
  end
  local out = {}
  if n > 0 then add_header(out, head, head_widths, greatest) end
  for j = 1, n do rules[j] = rep("-", greatest[j] + 2) end
  out[#out + 1] = n > 0 and concat(rules, "+") or "--"
  if n > 0 then
    for r = 1, count do add_row(out, cells[r], widths[r], greatest, right) end
  end
  out[#out + 1] = count == 1 and "(1 row)" or "(" .. format("%d", count) .. " rows)"
  return concat(out, "\n")
end

return draw
