-- SPDX-License-Identifier: MIT
--
-- table_extras: checks and indexes of db:create, and what its transform is told of columns that change: renames, drop, using.
--
--   checks   list of { name = or nil, sql = }
--   indexes  list of { name = or nil, keys = SQL, unique =, where = SQL or nil, using = or nil }
--   renames  list of { old =, new = }    drop  list of names    using  column -> SQL
--
-- SQL here is the program's, as in fastpg.sql; it never comes from input.
--
-- PostgreSQL manual: CREATE INDEX, "Constraints", ALTER TABLE.

local ipairs, pairs, tostring, type = ipairs, pairs, tostring, type

local class = require "fastpg.class.class"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local options = require "fastpg.base.options"

local quote_ident = core.quote_ident

local table_extras = {}

local MAX_NAME = 63 -- bytes; the server would cut a longer name off

function table_extras.check_ident(what, name)
  if type(name) ~= "string" or name == "" then
    errors.argument("%s: a name expected, got %s", what, type(name) == "string" and '""' or type(name))
  end
  if #name > MAX_NAME then errors.argument("%s: %s is longer than %d bytes", what, quote_ident(name), MAX_NAME) end
  return name
end
local check_ident = table_extras.check_ident

--- The text of a fragment: a definition has no place for values.
function table_extras.fragment_text(what, fragment)
  if core.sql_values(fragment) then
    errors.argument("%s: a definition can't hold a fragment's values: write them into its text (fastpg.quote_literal)", what)
  end
  return tostring(fragment)
end

local function read_sql(what, value)
  if core.is_sql(value) then return table_extras.fragment_text(what, value) end
  if type(value) == "string" and value:find "%S" then return value end
  errors.argument("%s: SQL expected, got %s", what, type(value) == "string" and "an empty text" or type(value))
end

-- In brackets; a comment at the end does not swallow the last one.
local function in_brackets(sql) return "(" .. sql .. (sql:find("--", 1, true) and "\n" or "") .. ")" end

-- The entries of a table: those of the list in order, then those with names in the order of the names.
local function entries(what, given)
  local list, names, positions = {}, {}, {}
  for key, value in pairs(given) do
    if type(key) == "string" then names[#names + 1] = check_ident(what, key) else positions[key] = value end
  end
  for i = 1, lists.length(what, positions) do list[i] = { value = positions[i] } end
  table.sort(names)
  for _, name in ipairs(names) do list[#list + 1] = { name = name, value = given[name] } end
  return list
end

-- ---- checks ---------------------------------------------------------------------------------

--- { "price > 0", cheap = "price < 9" }; nil stays nil.
function table_extras.read_checks(given)
  if given == nil then return nil end
  local list = {}
  for i, entry in ipairs(entries("create: checks", given)) do
    list[i] = { name = entry.name, sql = read_sql("create: checks", entry.value) }
  end
  return list
end

--- `CONSTRAINT "cheap" CHECK (price < 9)`
function table_extras.check_sql(check)
  return (check.name and "CONSTRAINT " .. quote_ident(check.name) .. " " or "") .. "CHECK " .. in_brackets(check.sql)
end

-- ---- indexes --------------------------------------------------------------------------------

local sql_text = {
  wanted = "SQL", test = function(value) return type(value) == "string" and value:find "%S" ~= nil or core.is_sql(value) end,
}

local INDEX_OPTIONS = options.declare("db:create: an index", {
  unique = options.boolean, where = sql_text, using = options.name,
})

local ORDERS = { "asc nulls first", "asc nulls last", "desc nulls first", "desc nulls last", "nulls first", "nulls last", "asc",
  "desc" }

-- "name", "born desc nulls last", or SQL.
local function index_key(info, key)
  local what = "create: indexes"
  if core.is_sql(key) then return in_brackets(table_extras.fragment_text(what, key)) end
  if type(key) ~= "string" then errors.argument("%s: the name of a column, or fastpg.sql, expected, got %s", what, type(key)) end
  if info.index[key] then return quote_ident(key) end
  for _, order in ipairs(ORDERS) do
    local name = key:sub(1, -#order - 2)
    if info.index[name] and key:sub(-#order - 1):lower() == " " .. order then return quote_ident(name) .. " " .. order:upper() end
  end
  return class.unknown_field(what, info, key)
end

local function read_index(info, entry)
  local what, given = "create: indexes", entry.value
  if type(given) ~= "table" then given = { given } end
  local positions, named = {}, {}
  for key, value in pairs(given) do
    if type(key) == "string" then named[key] = value else positions[key] = value end
  end
  options.check(named, INDEX_OPTIONS, what)
  local keys = {}
  for i = 1, lists.length(what, positions) do keys[i] = index_key(info, positions[i]) end
  if #keys == 0 then errors.argument("%s: an index without columns", what) end
  return { name = entry.name, keys = table.concat(keys, ", "), unique = named.unique or false, using = named.using,
    where = named.where ~= nil and read_sql(what .. ": where", named.where) or nil }
end

--- { "name", { "a", "b desc", unique = true }, by_day = { "day", where = "day is not null" } }; nil stays nil.
function table_extras.read_indexes(info, given)
  if given == nil then return nil end
  local list = {}
  for i, entry in ipairs(entries("create: indexes", given)) do list[i] = read_index(info, entry) end
  return list
end

--- CREATE INDEX.
---@param target string  the table, quoted
---@param name string?  its name; nil: the server finds one
function table_extras.index_sql(index, target, name)
  return ("CREATE %sINDEX %sON %s%s (%s)%s"):format(index.unique and "UNIQUE " or "",
    name and quote_ident(name) .. " " or "", target,
    index.using and " USING " .. quote_ident(index.using) or "", index.keys,
    index.where and " WHERE " .. in_brackets(index.where) or "")
end

-- ---- what happens to columns ----------------------------------------------------------------

--- renames = { old = "new" }: the new name is a column of the class, the old one is none.
function table_extras.read_renames(info, given)
  local what, list, by_new, olds = "create: renames", {}, {}, {}
  for old, new in pairs(given or {}) do
    check_ident(what, old)
    check_ident(what, new)
    if not info.index[new] then class.unknown_field(what, info, new) end
    if info.index[old] then errors.argument("%s: %s has a column %s itself", what, info.name, quote_ident(old)) end
    if by_new[new] then errors.argument("%s: two columns can't become %s", what, quote_ident(new)) end
    by_new[new] = true
    olds[#olds + 1] = old
  end
  table.sort(olds)
  for i, old in ipairs(olds) do list[i] = { old = old, new = given[old] } end
  return list
end

--- drop: names of columns that the class lacks.
---@param names string[]
---@param renames table  as read_renames gives them
function table_extras.check_drop(info, names, renames)
  for _, name in ipairs(names) do
    if info.index[name] then errors.argument("create: drop: %s has a column %s", info.name, quote_ident(name)) end
    for _, rename in ipairs(renames) do
      if rename.old == name then errors.argument("create: drop: %s is renamed", quote_ident(name)) end
    end
  end
  return names
end

--- using = { column = "sql" }: the value of a column that changes its type, or comes.
function table_extras.read_using(info, given)
  local using = {}
  for name, sql in pairs(given or {}) do
    if not info.index[name] then class.unknown_field("create: using", info, name) end
    using[name] = in_brackets(read_sql("create: using", sql))
  end
  return using
end

return table_extras
