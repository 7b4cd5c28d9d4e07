-- SPDX-License-Identifier: MIT
--
-- links: which foreign key joins two tables, found from what the catalog knows of them, or by what the user says.
--
-- A link of `from` and `to` is { key = the name of the constraint, own = columns of `from`, theirs = columns of `to` beside
-- them, to_one = whether the key is `from`'s: each of its rows has at most one of `to` }.
--
-- What the user says: "column", a column of `from` that is in one of its keys; or "table.column", one of the other's.

local ipairs, type = ipairs, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local links = {}

local quote = core.quote_ident

--- All links between two relations: the keys of `from` that refer to `to`, then those of `to` that refer to `from`.
---@param from table  a relation (fastpg.table.relation)
---@param to table
---@return table[]
function links.all(from, to)
  local list = {}
  for _, key in ipairs(from.foreign_keys) do
    if key.oid == to.oid then list[#list + 1] = { key = key.name, own = key.columns, theirs = key.refers, to_one = true } end
  end
  for _, key in ipairs(to.foreign_keys) do
    if key.oid == from.oid then list[#list + 1] = { key = key.name, own = key.refers, theirs = key.columns, to_one = false } end
  end
  return list
end

--- Whether a column is one of these.
---@param columns string[]
function links.has(columns, name)
  for _, column in ipairs(columns) do
    if column == name then return true end
  end
  return false
end
local has = links.has

--- Writes `to.a = from.x AND to.b = from.y`.
---@param w table  a fastpg.sql.writer
---@param to string  what the tables are called in the statement, as SQL
---@param from string
---@param link table
function links.put(w, to, from, link)
  for i, column in ipairs(link.own) do
    if i > 1 then w:put " AND " end
    w:put(("%s.%s = %s.%s"):format(to, quote(link.theirs[i]), from, quote(column)))
  end
end

--- The links of a list that the user means: "column" or "table.column".
---@param said string
---@param to_name string  what the other table is called there
function links.meant(list, said, to_name)
  local found = {}
  for _, link in ipairs(list) do
    if link.to_one and has(link.own, said) then found[#found + 1] = link end
  end
  if #found > 0 or said:sub(1, #to_name + 1) ~= to_name .. "." then return found end
  local column = said:sub(#to_name + 2)
  for _, link in ipairs(list) do
    if not link.to_one and has(link.theirs, column) then found[#found + 1] = link end
  end
  return found
end

--- How the user can say that this link is meant.
function links.form(link, to_name)
  if link.to_one then return ('"%s"'):format(link.own[1]) end
  return ('"%s.%s"'):format(to_name, link.theirs[1])
end

local function forms_of(list, to_name)
  local forms = {}
  for i, link in ipairs(list) do forms[i] = links.form(link, to_name) end
  return table.concat(forms, ", ")
end

--- The one link between two relations; raises where there is none, or several.
---@param what string  who asks: "with"
---@param said? string
---@param to_name? string  what `to` is called, its own name by default
---@param advice string  how the user says it: 'field = %s'
function links.one(what, from, to, said, to_name, advice)
  if said ~= nil and type(said) ~= "string" then
    errors.argument("%s: the key's column is a text, got %s", what, type(said))
  end
  to_name = to_name or to.name
  local list = links.all(from, to)
  if #list == 0 then
    errors.argument("%s: no foreign key joins %s and %s", what, from.ref, to.ref)
  end
  local found = list
  if said then
    found = links.meant(list, said, to_name)
    if #found == 0 then
      errors.argument("%s: no foreign key that joins %s and %s has %s; there is %s", what, from.ref, to.ref, quote(said),
        forms_of(list, to_name))
    end
  end
  if #found > 1 then
    errors.argument("%s: several foreign keys join %s and %s: say which, " .. advice, what, from.ref, to.ref,
      forms_of(found, to_name))
  end
  return found[1]
end

return links
