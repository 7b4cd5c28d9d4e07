-- SPDX-License-Identifier: MIT
--
-- codegen: Lua source from classes: one class (fastpg.class_source), or a module of all classes of a
-- database with LuaCATS annotations, so that an editor completes `row.` and `db.t.` (db:create_mod).
--
--   ---@class Artist                        the rows             classes.Artist = fastpg.class("Artist", { … })
--   ---@class fastpg.table.Artist           the Table            ---@field [integer] Artist
--   ---@class fastpg.tables                 what db.t is         ---@field artist fastpg.table.Artist
--
-- The names come from a database, and whoever may create a table there chooses them.  The file holds
-- them only inside string literals and at the end of comment lines:
--   - a name with a control character (a line's end among them) is refused, or its table left out of the module;
--   - in literals `"` and `\` are escaped, and so are characters that are not seen or turn the
--     direction of text, so that what is read is what is run;
--   - in comments a name that is no plain identifier is such a literal too, and a comment line begins
--     with `---@`, which never opens a long comment.

local ipairs, type = ipairs, type

local class = require "fastpg.class.class"
local errors = require "fastpg.base.errors"
local link_classes = require "fastpg.class.link_classes"
local options = require "fastpg.base.options"
local table_state = require "fastpg.table.table_state"

local codegen = {}

-- ---- names ----------------------------------------------------------------------------------

local KEYWORDS = options.set("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if",
  "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while")

-- UTF-8 of what is not seen: C1 controls, soft hyphen, zero-width and directional marks, separators, the
-- byte order mark, and tags.
local UNSEEN = {
  "\194[\128-\159]", "\194\173", "\216\156", "\225\160\142", "\226\128[\139-\143]", "\226\128[\168-\174]",
  "\226\129[\160-\175]", "\239\187\191", "\239\191[\185-\187]", "\243\160[\128-\129][\128-\191]",
}

local function escape_bytes(s)
  return (s:gsub(".", function(c) return ("\\%03d"):format(c:byte()) end))
end

local function check_name(what, name)
  if name:find("%c") then
    errors.argument("%s: the name %q has a control character: the file would not be only data", what, name)
  end
  return name
end

-- The name as a Lua literal on one line.
local function quote(what, name)
  local text = check_name(what, name):gsub('[\\"]', "\\%0")
  for _, pattern in ipairs(UNSEEN) do text = text:gsub(pattern, escape_bytes) end
  return '"' .. text .. '"'
end

-- The same of any name, for a comment that says why it is not there.
local function quote_any(name)
  local text = name:gsub('[\\"]', "\\%0"):gsub("%c", escape_bytes)
  for _, pattern in ipairs(UNSEEN) do text = text:gsub(pattern, escape_bytes) end
  return '"' .. text .. '"'
end

local function is_identifier(name)
  return name:find("^[%a_][%w_]*$") ~= nil and not KEYWORDS[name]
end

-- `.name` or `["na me"]`.
local function index(what, name)
  return is_identifier(name) and "." .. name or "[" .. quote(what, name) .. "]"
end

-- The name as a LuaCATS field.
local function field_name(what, name)
  return is_identifier(name) and name or "[" .. quote(what, name) .. "]"
end

-- The name as that of a LuaCATS class: what can't be in one becomes "_".
local function type_name(name)
  return (name:gsub("[^%w_]", "_"))
end

-- ---- one class ------------------------------------------------------------------------------

local function field_line(what, field)
  local text = field.name .. " " .. field.type
  if field.name:find("^[%w_\128-\255]+$") then return quote(what, text) end
  return ("{ name = %s, type = %s }"):format(quote(what, field.name), quote(what, field.type))
end

local function annotation_lines(lines, what, info)
  lines[#lines + 1] = "---@class " .. type_name(info.name)
  for _, field in ipairs(info.fields) do
    lines[#lines + 1] = ("---@field %s %s?"):format(field_name(what, field.name), field.lua)
  end
end

-- The table a class belongs to, where its name alone does not say it.
local function relation_text(what, info, always)
  local relation = info.relation
  if not relation or not always and not relation.schema and class.camel(relation.name) == info.name then return "" end
  local schema = relation.schema and ", schema = " .. quote(what, relation.schema) or ""
  return (", { table = %s%s }"):format(quote(what, relation.name), schema)
end

-- `<assign>fastpg.class("Artist", { … })` behind the annotations.
local function definition_lines(lines, what, info, assign, always)
  annotation_lines(lines, what, info)
  lines[#lines + 1] = ("%sclass(%s, {"):format(assign, quote(what, info.name))
  for _, field in ipairs(info.fields) do lines[#lines + 1] = ("  %s,"):format(field_line(what, field)) end
  lines[#lines + 1] = ("}%s)"):format(relation_text(what, info, always))
end

--- fastpg.class_source: the definition of a class as Lua source, which returns it when it is run.
---@param cls table
---@return string
function codegen.class_source(cls)
  local info = class.check("class_source", cls)
  class.refresh(cls)
  local name = is_identifier(info.name) and info.name or "Class"
  local lines = {}
  definition_lines(lines, "class_source", info, ('local %s = require("fastpg").'):format(name), false)
  lines[#lines + 1] = "return " .. name
  return table.concat(lines, "\n") .. "\n"
end

-- ---- a module -------------------------------------------------------------------------------

local HEAD = [[
-- Generated by fastpg (db:create_mod): the classes of a database's tables.  Changes are lost when it is
-- written again.
--
--   local classes = require "…"      db:link_classes(classes)

local fastpg = require "fastpg"

local classes = {}
]]

-- The Table of a class as LuaCATS sees it; %s is the class.
local TABLE_FIELDS = {
  "[integer|string|table] %s", "get fun(self: any, key: any): %s?", "all fun(self: any, ...: any): %s[]",
  "selectone fun(self: any, ...: any): %s", "first fun(self: any): %s?", "each fun(self: any, ...: any): fun(): %s?",
  "insert fun(self: any, record: %s|table, overrides?: table, opts?: table): %s",
  "update fun(self: any, record: %s|table, key?: any, overrides?: table): %s",
  "upsert fun(self: any, record: %s|table, overrides?: table, opts?: table): %s",
  "delete fun(self: any, key: any): %s", "delete_where fun(self: any, ...: any): %s[]",
  "inserts fun(self: any, list: table[], overrides?: table, opts?: table): %s[]",
  "updates fun(self: any, list: table[], overrides?: table): %s[]",
  "upserts fun(self: any, list: table[], overrides?: table, opts?: table): %s[]",
}

local function table_lines(lines, info)
  local name = type_name(info.name)
  lines[#lines + 1] = ("---@class fastpg.table.%s: fastpg.table"):format(name)
  lines[#lines + 1] = ("---@operator call: %s[]"):format(name)
  for _, field in ipairs(TABLE_FIELDS) do lines[#lines + 1] = "---@field " .. field:gsub("%%s", name) end
end

local function getter_lines(lines, what, infos)
  lines[#lines + 1] = "---@class fastpg.tables"
  for _, info in ipairs(infos) do
    local name = field_name(what, info.relation.name)
    lines[#lines + 1] = ("---@field %s fastpg.table.%s"):format(name, type_name(info.name))
  end
end

-- The source of a module of these classes, each with its table; `left_out` are names of tables.
local function module_source(what, infos, left_out)
  table.sort(infos, function(a, b) return a.name < b.name end)
  local lines = { HEAD }
  for _, name in ipairs(left_out) do
    lines[#lines + 1] = "-- Left out, for a control character in its name or a column's: the table " .. quote_any(name)
  end
  if left_out[1] then lines[#lines + 1] = "" end
  for _, info in ipairs(infos) do
    definition_lines(lines, what, info, ("classes%s = fastpg."):format(index(what, info.name)), true)
    lines[#lines + 1] = ""
  end
  for _, info in ipairs(infos) do
    table_lines(lines, info)
    lines[#lines + 1] = ""
  end
  getter_lines(lines, what, infos)
  lines[#lines + 1] = "\nreturn classes\n"
  return table.concat(lines, "\n")
end

-- Whether a name of the class can't be in the file.
local function has_control(info)
  if info.relation.name:find("%c") or (info.relation.schema or ""):find("%c") then return true end
  for _, field in ipairs(info.fields) do
    if field.name:find("%c") then return true end
  end
  return false
end

local function write_file(path, text)
  local file, err = io.open(path, "wb")
  local ok = file ~= nil
  if file then
    ok, err = file:write(text)
    local closed, close_err = file:close()
    if ok and not closed then ok, err = false, close_err end
  end
  if not ok then errors.raise("io_error", ("create_mod: %s"):format(err)) end
end

--- db:create_mod: writes a module that returns a map class name -> class.
---@param path string  "path/db_classes"; ".lua" is added
---@param opts { with_views: boolean?, store: boolean?, suf: string? }?  as of fastpg.all_classes; tables that have a
--- class keep it
---@return string path  of the file
---@return string[]? left_out  tables with a control character in their name or a column's, which are not in it
function codegen.create_mod(db, path, opts)
  if type(path) ~= "string" or path == "" then errors.argument("create_mod: a path expected, got %s", type(path)) end
  if not path:find("%.lua$") then path = path .. ".lua" end
  local infos, left_out = {}, {}
  for _, item in ipairs(link_classes.collect("create_mod", db, opts, true)) do
    -- (a class made by hand may say less than the table)
    local info = class.info(class.of_relation(table_state.resolve(item.state), item.name))
    if has_control(info) then left_out[#left_out + 1] = info.relation.name else infos[#infos + 1] = info end
  end
  write_file(path, module_source("create_mod", infos, left_out))
  if left_out[1] then return path, left_out end
  return path
end

--- Adds to a database's methods.
function codegen.extend(methods)
  methods.create_mod = codegen.create_mod
end

return codegen
