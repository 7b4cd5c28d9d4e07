-- SPDX-License-Identifier: MIT
--
-- fragment: fastpg.sql, SQL with the values that its placeholders stand for.
--
-- The object is the core's (csrc/sql/fragment.c); what it carries is a table { [1] =, …, n =, named = }.  It is written
-- into a statement by fastpg.sql.writer, which numbers its placeholders behind those that are there.

local ipairs, select, type = ipairs, select, type

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local placeholders = require "fastpg.sql.placeholders"

local fragment = {}

-- ---- texts ----------------------------------------------------------------------------------

-- Texts cut at their placeholders, for standard_conforming_strings on and off.
local MOST_TEXTS = 2000
local texts = { [true] = bounded.new(MOST_TEXTS), [false] = bounded.new(MOST_TEXTS) }

--- The text cut at its placeholders: { pieces = texts and numbers, npos = number of positional values, names = list or
--- nil }; the names are numbered behind the positions.
---@param text string
---@param standard boolean  standard_conforming_strings
function fragment.parse(text, standard)
  local parsed = texts[standard].kept[text]
  if parsed then return parsed end
  local pieces, npos, names = core.pieces(text, standard)
  return texts[standard]:keep(text, { pieces = pieces, npos = npos, names = names })
end

-- ---- making ---------------------------------------------------------------------------------

local function check_text(text)
  if type(text) ~= "string" then
    errors.argument("fastpg.sql: SQL text expected, got %s", text == nil and "nil" or type(text))
  end
  if text:find("\0", 1, true) then errors.argument("fastpg.sql: the text has a NUL byte") end
end

-- Raises unless what is carried is what the placeholders ask for.
local function check_values(parsed, values)
  local npos, names = parsed.npos, parsed.names
  local n, named = values and values.n or 0, values and values.named
  if n ~= npos then
    errors.argument("fastpg.sql: too %s values: the text has %d placeholder%s, got %d value%s%s", n < npos and "few" or "many",
      npos, npos == 1 and "" or "s", n, n == 1 and "" or "s", n < npos and " (the operator ? is written ??)" or "")
  end
  for i = 1, names and #names or 0 do
    if named == nil or named[names[i]] == nil then
      errors.argument("fastpg.sql: no value for :%s (use fastpg.null for NULL)", names[i])
    end
  end
end

-- What the caller may change later: the values are taken now.
local function carried(parsed, n, ...)
  if n == 0 then return nil end
  local values = { n = n, ... }
  if not parsed.names then return values end
  local named = values[n]
  if type(named) ~= "table" then
    errors.argument("fastpg.sql: the text has named placeholders (:%s): the last argument is the table of names, got %s",
      parsed.names[1], named == nil and "nil" or type(named))
  end
  local list, copy = {}, {}
  placeholders.append(list, 0, parsed.names, named)
  for i, name in ipairs(parsed.names) do copy[name] = list[i] end
  values[n], values.n, values.named = nil, n - 1, copy
  return values
end

--- SQL where a value would be data, with its own values: one for each `?` (or `$n`), and for `:name` a table of names as
--- the last argument.  A value may be another fragment, a column (t.c.name) or a query: it stands there in parentheses.
---@param text string
---@param ... any  nil and fastpg.null are NULL
---@return userdata
function fragment.new(text, ...)
  check_text(text)
  local parsed = fragment.parse(text, true)
  local values = carried(parsed, select("#", ...), ...)
  check_values(parsed, values)
  return core.sql(text, values)
end

-- ---- reading --------------------------------------------------------------------------------

--- What a fragment means under this setting: what fragment.parse gives, and its values: of the positions, then of the
--- names (nil: none).
---@param f userdata
---@param text string  its text
---@param standard boolean  standard_conforming_strings
function fragment.read(f, text, standard)
  local parsed, values = fragment.parse(text, standard), core.sql_values(f)
  -- under the other setting a backslash may hide a placeholder, or show one
  if not standard then check_values(parsed, values) end
  if not parsed.names then return parsed, values end
  local all = {}
  for i = 1, values.n do all[i] = values[i] end
  placeholders.append(all, parsed.npos, parsed.names, values.named)
  return parsed, all
end

return fragment
