-- SPDX-License-Identifier: MIT
--
-- join_sql: the other tables of a query: joins, EXISTS, queries as sources.
--
-- The tables of a statement confine each other; what does that, and writes the conditions, is fastpg.table.select_sql, which
-- is above and puts `confine`, `put_where` and `put_filters` here.

local ipairs, setmetatable, type = ipairs, setmetatable, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local links = require "fastpg.table.links"
local sources = require "fastpg.table.sources"
local table_state = require "fastpg.table.table_state"

local join_sql = {}

local quote, has = core.quote_ident, links.has

-- ---- queries as tables ----------------------------------------------------------------------

--- The source that a query is: { query =, name = }, or { parts = } of a union.
function join_sql.of_query(from)
  local name = from.name or "united"
  return {
    query = from.query, parts = from.parts, name = name, ref = quote(name), index = from.columns and from.columns() or nil,
    filters = false,
  }
end

--- Writes the queries of a union and the words between them.
function join_sql.put_parts(w, parts)
  for _, part in ipairs(parts) do
    if type(part) == "string" then w:put(" " .. part .. " ") else w:operand(part, "union") end
  end
end

local function put_table(w, source)
  if source.parts then
    w:put "("
    join_sql.put_parts(w, source.parts)
    w:put(") AS " .. source.ref)
  elseif source.query then
    w:operand(source.query, "from")
    w:put(" AS " .. source.ref)
  else
    w:put(source.from)
  end
end

-- ---- the key of a join ----------------------------------------------------------------------

-- How the user can name a link of two tables of the query.
local function form_of(found)
  local side = found.link.to_one and found.from or found.to
  local columns = found.link.to_one and found.link.own or found.link.theirs
  return ('"%s.%s"'):format(side.name, columns[1])
end

-- Whether `on = said` means this link: "column" of the table that is there, or "table.column" of either.
local function is_meant(found, said)
  local link, from, to = found.link, found.from, found.to
  if link.to_one then return has(link.own, said) or said:sub(1, #from.name + 1) == from.name .. "."
    and has(link.own, said:sub(#from.name + 2)) end
  return said:sub(1, #to.name + 1) == to.name .. "." and has(link.theirs, said:sub(#to.name + 2))
end

local function all_links(at, to)
  local all = {}
  for _, from in ipairs(at.list) do
    for _, link in ipairs(from.rel and links.all(from.rel, to.rel) or {}) do
      all[#all + 1] = { from = from, to = to, link = link }
    end
  end
  return all
end

local function forms(list)
  local texts = {}
  for i, found in ipairs(list) do texts[i] = form_of(found) end
  return table.concat(texts, ", ")
end

local function find_link(at, to, said, what)
  if not to.rel then
    errors.argument("%s: %s is a query, which has no foreign keys: say on = fastpg.sql(…)", what, quote(to.name))
  end
  local all = all_links(at, to)
  if #all == 0 then
    errors.argument("%s: no foreign key joins %s and %s: say on = fastpg.sql(…)", what, to.rel.ref, at:described())
  end
  local found = all
  if said then
    found = {}
    for _, one in ipairs(all) do
      if is_meant(one, said) then found[#found + 1] = one end
    end
    if #found == 0 then
      errors.argument("%s: no foreign key that joins %s and %s has %s; there is %s", what, to.rel.ref, at:described(), quote(said),
        forms(all))
    end
  end
  if #found > 1 then
    errors.argument("%s: several foreign keys join %s and %s: say which, on = one of %s", what, to.rel.ref, at:described(),
      forms(found))
  end
  return found[1]
end

-- ---- joins ----------------------------------------------------------------------------------

-- A table that the query joins to itself needs a name, and which way: said at once.
local function check_self_join(at, source, what)
  for _, other in ipairs(at.list) do
    if other.rel and source.rel and other.rel.oid == source.rel.oid and other.name == source.name then
      errors.argument('%s: %s is in the query already: give it another name and say the key, { as = "…", on = %s }', what,
        source.rel.ref, (function()
          local named = setmetatable({ name = "…" }, { __index = source })
          local list = forms(all_links({ list = { other } }, named))
          return list ~= "" and "one of " .. list or "fastpg.sql(…)"
        end)())
    end
  end
end

local function source_of(w, at, st, join, what)
  local name = join.table
  if join.query then return join_sql.of_query({ query = join.query, name = join.as, columns = join.columns }) end
  if name and w.ctes and w.ctes[name] then
    local cte = w.ctes[name]
    return { name = join.as or name, ref = quote(join.as or name), filters = false, index = cte.columns and cte.columns() or nil,
      from = quote(name) .. (join.as and " AS " .. quote(join.as) or "") }
  end
  local other = table_state.current(join.st or table_state.new_state(st.db, name))
  local source = sources.of_table(other, join.as)
  check_self_join(at, source, what)
  source.filters = join_sql.confine(w, other, name, what)
  return source
end

--- Adds the tables of the joins to those of the query.
function join_sql.add_all(w, at, st, joins)
  for _, join in ipairs(joins or {}) do
    local what = join.kind == "LEFT JOIN" and "left_join" or "join"
    local source = source_of(w, at, st, join, what)
    source.join, source.is_optional = join, join.kind == "LEFT JOIN"
    if not core.is_sql(join.on) then source.link = find_link(at, source, join.on, what) end
    at:add(source, what)
  end
end

local function put_on(w, source)
  local found = source.link
  if found then return links.put(w, found.to.ref, found.from.ref, found.link) end
  w:operand(source.join.on, "join: on")
end

--- Writes what stands behind FROM.
function join_sql.put_from(w, at)
  for i, source in ipairs(at.list) do
    if i > 1 then w:put(" " .. source.join.kind .. " ") end
    put_table(w, source)
    if i > 1 then
      w:put " ON "
      put_on(w, source)
      if source.is_optional then join_sql.put_filters(w, at, source, " AND ") end
    end
  end
end

--- Writes the joins as UPDATE and DELETE have them: `, table` behind its FROM, and what stands in its WHERE.
function join_sql.put_using(w, at, word)
  for i = 2, #at.list do
    w:put(i == 2 and " " .. word .. " " or ", ")
    put_table(w, at.list[i])
  end
end

function join_sql.put_using_conditions(w, at, prefix)
  for i = 2, #at.list do
    w:put(prefix)
    prefix = " AND "
    put_on(w, at.list[i])
  end
  return prefix
end

-- ---- exists ---------------------------------------------------------------------------------

--- Writes EXISTS (…) or NOT EXISTS (…): rows of another table that a key joins to one of these.
---@param cond { exists: table, negated: boolean, conds: table[] }
function join_sql.put_exists(w, at, st, cond)
  local join, what = cond.exists, cond.negated and "where_missing" or "where_exists"
  local source = source_of(w, { list = {} }, st, join, what)
  for _, other in ipairs(at.list) do
    if other.name == source.name then
      errors.argument('%s: %s is in the query already: give it another name, { as = "…", on = … }', what, quote(source.name))
    end
  end
  source.join = join
  if not core.is_sql(join.on) then source.link = find_link(at, source, join.on, what) end
  local inner = sources.new(source)
  inner.is_many = true
  w:put((cond.negated and "NOT EXISTS (" or "EXISTS (") .. "SELECT 1 FROM ")
  put_table(w, source)
  w:put " WHERE "
  put_on(w, source)
  join_sql.put_where(w, inner, source.st, cond.conds, " AND ")
  w:put ")"
end

return join_sql
