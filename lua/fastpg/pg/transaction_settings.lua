-- SPDX-License-Identifier: MIT
--
-- transaction_settings: settings for one transaction, as commands.
--
-- SET LOCAL, not `SELECT set_config`: a SELECT takes the transaction's snapshot, behind which SET TRANSACTION is
-- refused, and under REPEATABLE READ a LOCK TABLE comes too late.  What a value means is as with set_config: of
-- the few settings whose elements SET quotes each by itself (search_path is one) the text is taken apart as the
-- server takes it apart.
--
-- PostgreSQL manual: SET; "Setting Parameters"; search_path in "Statement Behavior".

local ipairs, pairs, select, tostring, type = ipairs, pairs, select, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local transaction_settings = {}

-- Lists of identifiers: all there are, since extensions can't add to them.
local IDENTIFIERS = {
  search_path = true, temp_tablespaces = true, local_preload_libraries = true, session_preload_libraries = true,
  shared_preload_libraries = true, unix_socket_directories = true,
}

local LONGEST_NAME = 63 -- the server cuts off what is longer, and means another one then

-- ---- values ---------------------------------------------------------------------------------

-- Space as the server's scanner knows it.
local SPACE = "[ \t\n\r\f\v]*"

-- One element of a list at `from`: it, and the position behind it; nil where there is none.
local function element(text, from)
  if text:sub(from, from) ~= '"' then
    local word = text:match("^[^, \t\n\r\f\v]+", from)
    if word then return word:lower(), from + #word end
    return nil
  end
  local at = from + 1
  while true do
    local quote = text:find('"', at, true)
    if not quote then return nil end
    if text:sub(quote + 1, quote + 1) ~= '"' then return (text:sub(from + 1, quote - 1):gsub('""', '"')), quote + 1 end
    at = quote + 2
  end
end

-- The identifiers of a list; nil where the server would not read it.
local function split(text)
  local list, at = {}, select(2, text:find(SPACE)) + 1
  if at > #text then return list end
  while true do
    local word, behind = element(text, at)
    if not word then return nil end
    list[#list + 1] = word
    at = select(2, text:find(SPACE, behind)) + 1
    if at > #text then return list end
    if text:sub(at, at) ~= "," then return nil end
    at = select(2, text:find(SPACE, at + 1)) + 1
  end
end

local function number_text(value)
  if value == math.floor(value) and math.abs(value) < 2 ^ 63 then
    return math.type and math.type(value) == "integer" and ("%d"):format(value) or ("%.0f"):format(value)
  end
  return core.float_text(value, false)
end

-- A value as text; nil for what can be none.
local function text_of(value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "boolean" then return value and "on" or "off" end
  if kind == "number" and value == value and value ~= math.huge and value ~= -math.huge then return number_text(value) end
  return nil
end

local function literals(list)
  for i, word in ipairs(list) do list[i] = core.quote_literal(word) end
  return #list > 0 and table.concat(list, ", ") or "''"
end

local function value_sql(name, value, what)
  local text = text_of(value)
  if not text then
    errors.argument("%s: settings: %s must be a string, a number or a boolean, got %s", what, name,
      value == core.null and "fastpg.null" or type(value) == "number" and "number " .. tostring(value) or type(value))
  end
  if text:find "%z" then errors.argument("%s: settings: the value of %s has a zero byte", what, name) end
  if not IDENTIFIERS[name:lower()] then return core.quote_literal(text) end
  local list = split(text)
  if not list then
    errors.argument("%s: settings: %s is no list of names (a, b, \"C d\")", what, name)
  end
  return literals(list)
end

-- ---- search_path ----------------------------------------------------------------------------

--- A search_path as SHOW gives it, as a list of literals: what SET takes; nil where it is no list of names.
---@return string?
function transaction_settings.path_literals(text)
  local list = split(text)
  return list and literals(list)
end

--- The same of what stands behind SET search_path TO, where that is names and plain strings; "DEFAULT" as it is.
---@return string?
function transaction_settings.set_literals(text)
  if text:upper() == "DEFAULT" then return "DEFAULT" end
  local list = {}
  for item in (text .. ","):gmatch "([^,]*)," do
    local word = item:match "^%s*([%a_][%w_]*)%s*$"
    local quoted = item:match '^%s*"([^"]+)"%s*$' or item:match "^%s*'([^'\\]*)'%s*$"
    if not word and not quoted then return nil end
    list[#list + 1] = quoted or word:lower()
  end
  return literals(list)
end

-- ---- names ----------------------------------------------------------------------------------

local function name_sql(name, what)
  if type(name) ~= "string" then errors.argument("%s: settings have names, got a %s key", what, type(name)) end
  local parts = {}
  for part in (name .. "."):gmatch "([^.]*)%." do
    if part == "" or #part > LONGEST_NAME or part:find "%z" then
      errors.argument('%s: settings: "%s" is no name of a setting', what, name)
    end
    parts[#parts + 1] = core.quote_ident(part)
  end
  return table.concat(parts, ".")
end

--- The search_path among them, as text.
---@return string?
function transaction_settings.path(map, what)
  for name, value in pairs(map or {}) do
    if type(name) == "string" and name:lower() == "search_path" then return value_sql(name, value, what) end
  end
end

--- The commands that set them until the transaction ends, in the order of their names.
---@param map table<string, string|number|boolean>?
---@param what string  who takes them, for messages
---@return string[]
function transaction_settings.commands(map, what)
  local names, commands = {}, {}
  for name in pairs(map or {}) do
    name_sql(name, what)
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    commands[i] = ("SET LOCAL %s = %s"):format(name_sql(name, what), value_sql(name, map[name], what))
  end
  return commands
end

return transaction_settings
