-- SPDX-License-Identifier: MIT
--
-- sources: the tables of a query, and the columns that names in it mean.
--
-- A source is { st =, rel =, name = what it is called in the query, ref = that as SQL, from = how it stands in FROM,
-- filters = what confines it, or false }.  Of a query as a source (fastpg.from, a CTE) `rel` is nil, and `index` the set of
-- its columns, nil where only the server knows them.
--
-- Where a query has one table columns stand under their bare names; else with the name of their table.  A bare name is
-- the first table's, and a column's whole name comes before `table.column`: names may have dots.

local ipairs, setmetatable, tostring, type = ipairs, setmetatable, tostring, type

local catalog = require "fastpg.table.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"

local sources = {}

local Sources = {}
Sources.__index = Sources

local quote = core.quote_ident

--- The source that a Table is.
---@param st table  its state
---@param alias? string  what it is called instead
function sources.of_table(st, alias)
  local rel = table_state.resolve(st)
  local source = {
    st = st, rel = rel, index = rel.index, name = alias or rel.name, filters = st.filters, is_aliased = alias ~= nil,
  }
  source.ref = alias and quote(alias) or rel.ref
  source.from = alias and rel.qualified .. " AS " .. source.ref or rel.qualified
  return source
end

--- The tables of a query, the first so far.
function sources.new(first)
  return setmetatable({ list = { first }, is_many = first.is_aliased }, Sources)
end

--- One more, under a name of its own.
function Sources:add(source, what)
  for _, other in ipairs(self.list) do
    if other.name == source.name then
      errors.argument('%s: two tables would be called %s in the query: give one another name, as = "…"', what, quote(source.name))
    end
  end
  self.list[#self.list + 1] = source
  self.is_many = true
end

--- The first one.
function Sources:first() return self.list[1] end

--- The one of that name, or nil.
function Sources:named(name)
  for _, source in ipairs(self.list) do
    if source.name == name then return source end
  end
end

-- The source and the column that a text means, nil where there is none.
local function find(self, text)
  local first = self.list[1]
  if first.index and first.index[text] then return first, text end
  for _, source in ipairs(self.list) do
    local n = #source.name
    if text:sub(1, n + 1) == source.name .. "." then
      local column = text:sub(n + 2)
      if column ~= "" and (not source.index or source.index[column]) then return source, column end
    end
  end
  if not first.index and not text:find(".", 1, true) then return first, text end
  return nil
end

-- Which of the tables an object such as t.c.name is a column of.
local function source_of_column(self, column, what)
  local oid, found = table_state.resolve(column.state).oid, nil
  for _, source in ipairs(self.list) do
    if source.rel and source.rel.oid == oid then
      if found then
        errors.argument('%s: %s stands for a table that is in the query twice: write "%s.%s" or "%s.%s"', what, tostring(column),
          found.name, column.name, source.name, column.name)
      end
      found = source
    end
  end
  if not found then
    errors.argument("%s: %s is a column of another table than %s", what, tostring(column), self:described())
  end
  return found
end

--- The tables, for a message.
function Sources:described()
  local names = {}
  for i, source in ipairs(self.list) do names[i] = quote(source.name) end
  return table.concat(names, ", ")
end

local function unknown(self, text, what)
  for _, source in ipairs(self.list) do
    if source.rel and text:sub(1, #source.name + 1) == source.name .. "." then
      catalog.unknown_column(source.rel, text:sub(#source.name + 2), what)
    end
  end
  local first = self.list[1]
  if first.rel and (#self.list == 1 or not text:find(".", 1, true)) then catalog.unknown_column(first.rel, text, what) end
  errors.raise("undefined_column", ("%s: no column %s in %s; a column of another table than the first is written "
    .. '"table.column"'):format(what, quote(text), self:described()))
end

--- The source and the name of the column that is meant; nil where there is none of that name.
---@param key any  a name or a column (t.c.name)
function Sources:find(key, what)
  local column = table_columns.column_of(key)
  if column then
    local source = source_of_column(self, column, what)
    if source.index[column.name] then return source, column.name end
    return nil
  end
  if type(key) ~= "string" then errors.argument("%s: columns have names, got a %s", what, type(key)) end
  return find(self, key)
end

--- The same; raises where there is none.
function Sources:column(key, what)
  local source, name = self:find(key, what)
  if source then return source, name end
  local column = table_columns.column_of(key)
  if column then catalog.unknown_column(table_state.resolve(column.state), column.name, what) end
  return unknown(self, key, what)
end

--- A name like this one that no column of a table of the query has.
function Sources:free_name(name)
  local taken = true
  while taken do
    taken = false
    for _, source in ipairs(self.list) do
      if source.index and source.index[name] then taken, name = true, name .. "_" end
    end
  end
  return name
end

--- A column of a source as SQL.
function Sources:sql(source, name)
  if not self.is_many then return quote(name) end
  return source.ref .. "." .. quote(name)
end

return sources
