-- SPDX-License-Identifier: MIT
--
-- diagram_text: the texts of fastpg.diagram: mermaid's erDiagram, and Graphviz' dot.
--
-- Both are given tables and links as fastpg.diagram makes them.  A name of the database can hold anything, and neither
-- language may take it for more than a name:
--
--   mermaid  A plain word stands as it is; any other has its odd characters as #35; in quotes.  The words of the grammar
--            count in any case, and some of its rules match anywhere in a line ("direction TB"), in quotes too.  In a
--            box nothing but words is allowed: what is none becomes one, and stands in quotes behind it.
--   dot      Boxes are HTML-like labels, with &, <, > and " as entities; nodes whose names are no plain words have numbers.
--
-- https://mermaid.js.org/syntax/entityRelationshipDiagram.html, https://graphviz.org/doc/info/lang.html

local ipairs = ipairs

local core = require "fastpg.core"
local options = require "fastpg.base.options"

local diagram_text = {}

-- ---- types ----------------------------------------------------------------------------------

-- The server's long names for what everybody writes shorter; (120) may stand within them.
local SHORT = {
  { "^character varying", "varchar" }, { "^character", "char" }, { "^bit varying", "varbit" },
  { "^timestamp(.*) with time zone", "timestamptz%1" }, { "^timestamp(.*) without time zone", "timestamp%1" },
  { "^time(.*) with time zone", "timetz%1" }, { "^time(.*) without time zone", "time%1" },
}

local function short_type(name)
  for _, rule in ipairs(SHORT) do
    local text, n = name:gsub(rule[1], rule[2])
    if n > 0 then return text end
  end
  return name
end

local function is_word(text) return text:find "^[%a_][%w_]*$" ~= nil end

-- What stands for each table in the text.
local function give_ids(tables, is_plain)
  local taken = {}
  for _, t in ipairs(tables) do
    if is_plain(t.name) then taken[t.name:lower()] = true end
  end
  local n = 0
  for _, t in ipairs(tables) do
    t.id = is_plain(t.name) and t.name or nil
    while not t.id do
      n = n + 1
      if not taken["t" .. n] then t.id = "t" .. n end
    end
  end
end

local function title_of(t) return t.kind and ("%s (%s)"):format(t.name, t.kind) or t.name end

-- ---- mermaid --------------------------------------------------------------------------------

local KEYWORDS = options.set("erdiagram", "acctitle", "accdescr", "title", "direction", "style", "class", "classdef", "subgraph",
  "end", "one", "only", "many", "zero", "to", "optionally", "o", "u")

local function is_plain_word(text) return is_word(text) and not KEYWORDS[text:lower()] end

-- In quotes: what has a meaning to the grammar or to what draws it goes by its number.
local function quoted(text)
  text = core.printable(text):gsub("[^%w_ .,:()%[%]/+*=!?|$@'\128-\255-]", function(c) return ("#%d;"):format(c:byte()) end)
  text = text:gsub("([Dd][Ii][Rr][Ee][Cc][Tt][Ii][Oo][Nn]) ", "%1#32;")
  return '"' .. text .. '"'
end

-- Letters beyond ASCII are read as such; not so the blanks and signs there.
local function is_letter(c)
  local first, second = c:byte(1, 2)
  return first >= 0xC3 and first <= 0xE0 or first == 0xE3 and second > 0x80 or first >= 0xE4 and first <= 0xED
end

-- A word for a box, and whether it says all.  PK, FK and UK are read as marks there.
local function box_word(text)
  local word = text:gsub('^"(.*)"$', "%1"):gsub("[^%w_()%[%]\128-\255]", "_")
  word = word:gsub("[\194-\244][\128-\191]*", function(c) return is_letter(c) and c or "_" end)
  if not word:find "^[%a_\128-\255]" then word = "_" .. word end
  if word:lower():find "^[pfu]k%f[^%w_]" then word = word:sub(1, 2) .. "_" .. word:sub(3) end
  return word, word == text or word == text:gsub(" ", "_")
end

local function marks_of(column)
  local marks = {}
  for _, mark in ipairs{ "pk", "fk", "uk" } do
    if column[mark] then marks[#marks + 1] = mark:upper() end
  end
  return table.concat(marks, ", ")
end

local function mermaid_column(column)
  local type_name = short_type(column.type)
  local type_word, same_type = box_word(type_name)
  local word, same = box_word(column.name)
  same = same and word == column.name
  local line = ("    %s %s"):format(type_word, word)
  local marks = marks_of(column)
  if marks ~= "" then line = line .. " " .. marks end
  if same and same_type then return line end
  local told = same and type_name or same_type and column.name or column.name .. " " .. type_name
  return line .. " " .. quoted(told)
end

-- A ||--o{ B: one A (or none, where the key may be NULL) has any number of B (at most one, where the key is unique).
local function mermaid_link(link)
  local label = table.concat(link.columns, ", ")
  return ("  %s %s--%s %s : %s"):format(link.to.id, link.required and "||" or "|o", link.unique and "o|" or "o{", link.from.id,
    is_plain_word(label) and label or quoted(label))
end

--- mermaid's erDiagram.
---@return string
function diagram_text.mermaid(tables, links)
  give_ids(tables, is_plain_word)
  local lines = { "erDiagram" }
  for _, t in ipairs(tables) do
    local title = title_of(t)
    local head = "  " .. t.id .. (title ~= t.id and "[" .. quoted(title) .. "]" or "")
    lines[#lines + 1] = head .. (#t.columns > 0 and " {" or "")
    for _, column in ipairs(t.columns) do lines[#lines + 1] = mermaid_column(column) end
    if #t.columns > 0 then lines[#lines + 1] = "  }" end
  end
  for _, link in ipairs(links) do lines[#lines + 1] = mermaid_link(link) end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- dot ------------------------------------------------------------------------------------

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function html(text) return (core.printable(text):gsub('[&<>"]', ENTITIES)) end

local function dot_box(t)
  local lines = { ('  "%s" [label=<<table border="0" cellborder="1" cellspacing="0" cellpadding="4">'):format(t.id),
    ('    <tr><td colspan="2" bgcolor="#dbe9f6"><b>%s</b></td></tr>'):format(html(title_of(t))) }
  for _, column in ipairs(t.columns) do
    local marks = marks_of(column)
    lines[#lines + 1] = ('    <tr><td port="l%d" align="left">%s</td><td port="r%d" align="left">%s%s%s</td></tr>'):format(
      column.place, html(column.name), column.place, html(short_type(column.type)), column.not_null and "" or "?",
      marks ~= "" and " " .. marks or "")
  end
  lines[#lines + 1] = "  </table>>];"
  return table.concat(lines, "\n")
end

-- Where a line ends: beside the column (the first one, where the key has several).
local function dot_end(t, names, is_left)
  local place = t.index[names[1]].place
  return is_left and ('"%s":l%d:w'):format(t.id, place) or ('"%s":r%d:e'):format(t.id, place)
end

-- From the right of a box to the left of another; of a table to itself it stays on the right.
local function dot_link(link)
  local label = #link.columns > 1 and (", label=<%s>"):format(html(table.concat(link.columns, ", "))) or ""
  local to = dot_end(link.to, link.refers, link.to ~= link.from)
  return ("  %s -> %s [arrowhead=%s, arrowtail=%s%s];"):format(dot_end(link.from, link.columns, false), to,
    link.required and "teetee" or "teeodot", link.unique and "teeodot" or "crowodot", label)
end

--- Graphviz' language.
---@return string
function diagram_text.dot(tables, links)
  give_ids(tables, is_word)
  local lines = { "digraph tables {", "  rankdir=LR;", '  node [shape=plain, fontname="Helvetica", fontsize=11];',
    '  edge [dir=both, fontname="Helvetica", fontsize=10];' }
  for _, t in ipairs(tables) do lines[#lines + 1] = dot_box(t) end
  for _, link in ipairs(links) do lines[#lines + 1] = dot_link(link) end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n") .. "\n"
end

return diagram_text
