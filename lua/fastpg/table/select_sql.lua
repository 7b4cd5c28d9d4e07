-- SPDX-License-Identifier: MIT
--
-- select_sql: writes the SELECT of a selection, from left to right: its tables, conditions, groups, order.
--
-- What a selection may hold beside what one table needs (fastpg.table.selection):
--
--   joins     { kind =, table = name or nil, st = state or nil, query =, as =, on = }, in their order
--   distinct, group_by, having, lock = { … }, ctes = { { name =, query = } }
--   source    nil, or { query =, name = } (fastpg.from), or { parts = { query, "UNION", query, … } }
--
-- A statement with a filtered Table has no table that is not confined by it (`w.inherited`): what was written before a filter
-- turned up is thrown away and written again, knowing it.

local ipairs, next, rawequal, setmetatable, type = ipairs, next, rawequal, setmetatable, type

local conditions = require "fastpg.table.conditions"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local filters = require "fastpg.table.filters"
local join_sql = require "fastpg.table.join_sql"
local sources = require "fastpg.table.sources"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"
local writer = require "fastpg.sql.writer"

local select_sql = {}

local quote = core.quote_ident

-- ---- items ----------------------------------------------------------------------------------

local function unknown_item(at, what, name)
  local first = at:first()
  local ref = first.rel and first.rel.ref or quote(first.name)
  local word = name:lower()
  if word == "asc" or word == "desc" or word:find("^nulls%s") then
    errors.raise("undefined_column", ('%s: %s has no column "%s"; a direction stands behind its name: "name %s"')
      :format(what, ref, name, word))
  end
  if name:find("[^%w_%s%.]") then
    errors.raise("undefined_column", ("%s: %s has no column %s (SQL among names is fastpg.sql)"):format(what, ref, quote(name)))
  end
  at:column(name, what)
end

-- A name, and the order that may follow it ("name desc nulls last") where the whole is no column.
local function split_order(is_known, text)
  if is_known(text) then return text, "" end
  local name, order = text, ""
  local head, word = name:match("^(.-)%s+[Nn][Uu][Ll][Ll][Ss]%s+(%a+)%s*$")
  word = word and word:upper()
  if word == "FIRST" or word == "LAST" then name, order = head, " NULLS " .. word end
  head, word = name:match("^(.-)%s+(%a+)%s*$")
  word = word and word:upper()
  if not is_known(name) and (word == "ASC" or word == "DESC") then name, order = head, " " .. word .. order end
  if is_known(name) then return name, order end
  return text, ""
end

local function put_item(w, at, what, value, aliases)
  if core.is_sql(value) then return w:fragment(value, what) end
  if table_columns.column_of(value) then return w:put(at:sql(at:column(value, what))) end
  local name, order = value, ""
  if what == "order_by" then
    name, order = split_order(function(text) return aliases and aliases[text] or at:find(text, what) ~= nil end, value)
  end
  if aliases and aliases[name] and not at:find(name, what) then return w:put(quote(name) .. order) end
  local source, column = at:find(name, what)
  if not source then return unknown_item(at, what, name) end
  w:put(at:sql(source, column) .. order)
end

--- What an item of an order means: its source, column, and what stands behind (" DESC NULLS LAST").
function select_sql.order_item(at, item)
  if table_columns.column_of(item) then
    local source, name = at:column(item, "order_by")
    return source, name, ""
  end
  local text, order = split_order(function(name) return at:find(name, "order_by") ~= nil end, item)
  local source, name = at:find(text, "order_by")
  if not source then unknown_item(at, "order_by", text) end
  return source, name, order
end

local function parts_of(text)
  local items = {}
  for part in (text .. ","):gmatch "(.-)," do items[#items + 1] = part:match "^%s*(.-)%s*$" end
  return items
end

-- The items of a text that is nothing but columns, each with the order behind it; nil where it is other SQL.
local function split_text(at, text)
  local items = parts_of(text)
  for _, item in ipairs(items) do
    local name = split_order(function(part) return at:find(part, "order_by") ~= nil end, item)
    if not at:find(name, "order_by") then return nil end
  end
  return items
end

--- The same where it must be columns: of words alone one that is no column is an error of its own.
function select_sql.columns_of_text(at, text)
  return split_text(at, text) or not text:find "[^%w_%s,.]" and parts_of(text) or nil
end
local function put_items(w, at, what, value, aliases)
  if type(value) == "string" and at.is_many and what ~= "groupby" then value = split_text(at, value) or value end
  if type(value) == "string" then
    if w.check then w.check(what, value) end
    return w:put(value)
  end
  if core.is_sql(value) or table_columns.column_of(value) then return put_item(w, at, what, value, aliases) end
  for i, item in ipairs(value) do
    if i > 1 then w:put ", " end
    put_item(w, at, what, item, aliases)
  end
end

-- Behind the list come the columns under names of their own, in the order of these names.
local function put_aliases(w, at, aliases, is_first)
  local names = {}
  for name in next, aliases do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    if not (is_first and i == 1) then w:put ", " end
    local value = aliases[name]
    if type(value) == "string" or table_columns.column_of(value) then
      put_item(w, at, "select", value)
    else
      w:operand(value, "select")
    end
    w:put(" AS " .. quote(name))
  end
end

local function put_select_list(w, at, sel)
  local value = sel.select
  if value == nil then return w:put(at.is_many and at:first().ref .. ".*" or "*") end
  put_items(w, at, "select", value)
  if type(value) == "table" and not table_columns.column_of(value) and value.aliases then
    put_aliases(w, at, value.aliases, #value == 0)
  end
end

select_sql.put_list = put_select_list

--- Writes what stands behind ORDER BY.
function select_sql.put_order(w, at, sel, order)
  local list = sel.select
  local aliases = type(list) == "table" and not table_columns.column_of(list) and list.aliases or nil
  put_items(w, at, "order_by", order, aliases)
end

--- What fetched rows become: the table's class unless as_cls = false.
---@param uses table?  the tables of their statement
function select_sql.target_of(st, sel, uses)
  if sel.as_cls == false or sel.source then return st.db.row_target end
  table_state.resolve(st)
  return table_state.under(sel.select == nil and sel.group_by == nil and st.link or st.plain, uses and uses.filters)
end

-- ---- tables ---------------------------------------------------------------------------------

-- A statement is of one database.
local function check_database(w, st, what)
  local root = st.db.root
  w.root = w.root or root
  if w.root ~= root then
    errors.argument("%s: %s is a table of another database than the rest of the statement", what, st.rel.ref)
  end
end

-- A CTE hides the table of its name, also from those who mean that.
local function check_hidden(w, rel, what)
  if w.ctes and w.ctes[rel.name] and rel.qualified == quote(rel.name) then
    errors.argument("%s: %s is a CTE here, and hides the table of that name: give the CTE another name", what, rel.ref)
  end
end

-- What confines a table of the statement, beside what is its own: `name` is set where the user gave no more than a name.
local function confine(w, st, name, what)
  local rel, own = table_state.resolve(st), st.filters or nil
  check_database(w, st, what)
  check_hidden(w, rel, what)
  w.uses[#w.uses + 1] = { st = st, filters = own }
  w.check_meaning = table_state.check_meaning
  local inherited = w.inherited
  if not inherited then return own or false end
  for column, value in next, inherited do
    local is_own = own ~= nil and own[column] ~= nil
    if not name and rel.index[column] and not is_own then
      errors.argument("%s: %s is not filtered by %s, and stands beside a Table that is: filter it too (xtra or scope), or "
        .. "give its name", what, rel.ref, quote(column))
    elseif name and not rel.index[column] then
      errors.argument("%s: %s has no column %s, which the filter beside it is by: give a Table (db.t.%s) in place of its name "
        .. "where all of its rows may be seen", what, rel.ref, quote(column), rel.name)
    elseif name and rawequal(value, filters.CONTRADICTION) and not is_own then
      errors.argument("%s: the Tables beside %s are filtered by different values of %s: give a Table with a scope of its own in "
        .. "place of its name", what, rel.ref, quote(column))
    end
  end
  if not name then return own or false end
  return filters.of_bare_name(what, own, inherited)
end
join_sql.confine = confine

-- The source that stands first.
local function first_source(w, st, sel)
  local from = sel.source
  if not from then
    local source = sources.of_table(st)
    source.filters = confine(w, st, false, source.rel.name)
    return source
  end
  return join_sql.of_query(from)
end

local function put_filters(w, at, source, prefix)
  if not source.filters then return prefix end
  for _, column in ipairs(source.rel.columns) do
    local value = source.filters[column.name]
    if value ~= nil then
      w:put(prefix)
      prefix = " AND "
      conditions.put(w, at, source, column.name, value)
    end
  end
  return prefix
end

-- ---- conditions -----------------------------------------------------------------------------

local function put_condition(w, at, st, cond, what, within)
  if cond.map then
    if cond.is_plain and not at.is_many and at:first().rel then
      local text
      text, w.n = table_state.conditions(st, w.args, w.n, cond.map)
      return w:put(text)
    end
    return conditions.write(w, at, cond.map, what)
  elseif cond.node then
    return conditions.write(w, at, cond.node, what, within)
  elseif cond.exists then
    return join_sql.put_exists(w, at, st, cond)
  end
  if within then w:put "(" end
  if w.check then w.check(what, cond.text) end
  local parsed, values = cond.read(w.standard)
  w:template(parsed, values, what)
  if within then w:put ")" end
end

-- All conditions, joined by AND; gives whether there was one.
local function put_conditions(w, at, st, conds, what, prefix, several)
  for _, cond in ipairs(conds) do
    w:put(prefix)
    prefix = " AND "
    put_condition(w, at, st, cond, what, several or #conds > 1)
  end
  return prefix
end

local function is_filtered(at)
  for _, source in ipairs(at.list) do
    if source.filters then return true end
  end
  return false
end

--- Writes what stands behind WHERE, the word too where anything does: the conditions and the filters.
---@param prefix string?  what stands before the first of them
---@param more any  whether others will follow
---@return string prefix  what stands before the next one
function select_sql.put_where(w, at, st, conds, prefix, more)
  local several = more ~= nil or prefix ~= nil or is_filtered(at)
  prefix = put_conditions(w, at, st, conds, "where", prefix or " WHERE ", several)
  for i, source in ipairs(at.list) do
    if i == 1 or not source.is_optional then prefix = put_filters(w, at, source, prefix) end
  end
  return prefix
end
select_sql.put_filters = put_filters
join_sql.put_where, join_sql.put_filters = select_sql.put_where, put_filters

-- ---- statements -----------------------------------------------------------------------------

--- The tables of a selection.
function select_sql.open(w, st, sel)
  local at = sources.new(first_source(w, st, sel))
  join_sql.add_all(w, at, st, sel.joins)
  return at
end

--- Writes WITH; each name is known from there on (w.ctes).
function select_sql.put_ctes(w, ctes)
  w:put "WITH "
  for i, cte in ipairs(ctes) do
    if i > 1 then w:put ", " end
    w:put(quote(cte.name) .. " AS ")
    w:operand(cte.query, "cte")
    w.ctes = setmetatable({ [cte.name] = cte }, { __index = w.ctes })
  end
  w:put " "
end

-- Whether it is no more than a union with an order and a limit.
local function is_bare_union(sel, over)
  return sel.source and sel.source.parts and #sel.conds == 0 and not (sel.joins or sel.select or sel.distinct or sel.group_by
    or sel.having or sel.lock or over.select)
end

local LOCKS = { skip_locked = " SKIP LOCKED", nowait = " NOWAIT" }

local function put_lock(w, at, lock)
  w:put " FOR UPDATE"
  if at.is_many then w:put(" OF " .. at:first().ref) end
  for name, word in next, LOCKS do
    if lock[name] then w:put(word) end
  end
end

local function put_tail(w, at, sel, over)
  if over.order then
    w:put " ORDER BY "
    over.order()
  elseif sel.order_by ~= nil and not over.unordered then
    w:put " ORDER BY "
    select_sql.put_order(w, at, sel, sel.order_by)
  end
  if over.limit then
    w:put(" LIMIT " .. over.limit)
  elseif sel.limit then
    w:put " LIMIT "
    if over.is_shown then w:put(("%d"):format(sel.limit)) else w:value(sel.limit) end
  end
  if sel.offset and sel.offset > 0 then
    w:put " OFFSET "
    w:value(sel.offset)
  end
end

--- Writes the SELECT of a selection into a statement.
---@param w table
---@param st table  the state of its first table
---@param over { select: string?, also: string?, limit: integer?, lock: string?, unordered: boolean?, is_shown: boolean? }
---  is_shown: for people, who want to see the limit as the number that it is
function select_sql.write(w, st, sel, over)
  local ctes = w.ctes
  if sel.ctes then select_sql.put_ctes(w, sel.ctes) end
  local at = select_sql.open(w, st, sel)
  if is_bare_union(sel, over) then
    join_sql.put_parts(w, sel.source.parts)
  else
    w:put(sel.distinct and "SELECT DISTINCT " or "SELECT ")
    if over.select then w:put(over.select) else put_select_list(w, at, sel) end
    if over.also then w:put(", " .. over.also) end
    w:put " FROM "
    join_sql.put_from(w, at)
    local prefix = select_sql.put_where(w, at, st, sel.conds, nil, over.where)
    if over.where then
      w:put(prefix)
      over.where()
    end
    if sel.group_by ~= nil then
      w:put " GROUP BY "
      put_items(w, at, "group_by", sel.group_by)
    end
    if sel.having then put_conditions(w, at, st, sel.having, "having", " HAVING ", is_filtered(at)) end
  end
  put_tail(w, at, sel, over)
  if over.lock then w:put(" " .. over.lock) elseif sel.lock then put_lock(w, at, sel.lock) end
  w.ctes = ctes
  return at
end

--- Writes the SELECT of aggregates by groups, in the order of these.
---@param columns any[]  names, columns, SQL
---@param aggregates any[]  SQL
function select_sql.write_groups(w, st, sel, columns, aggregates)
  local at = select_sql.open(w, st, sel)
  at.is_many = true -- with the table's name: an aggregate may be called like a column
  local function put_keys()
    for i, column in ipairs(columns) do
      if i > 1 then w:put ", " end
      put_item(w, at, "groupby", column)
    end
  end
  w:put "SELECT "
  put_keys()
  for _, aggregate in ipairs(aggregates) do
    w:put ", "
    put_items(w, at, "groupby", aggregate)
  end
  w:put(" FROM " .. at:first().from)
  at.is_many = false
  select_sql.put_where(w, at, st, sel.conds)
  at.is_many = true
  for _, word in ipairs{ " GROUP BY ", " ORDER BY " } do
    w:put(word)
    put_keys()
  end
end

--- Writes a statement; once more where it turns out that a table in it is filtered, and what stood before was not
--- confined by that.
---@param st table  the state of the first table
---@param write fun(w: table): any
---@param inherited table?  filters that the statement stands under
---@return table w  w.uses.filters: all filters that it stands under
---@return any what  what write gave
function select_sql.statement(st, write, inherited)
  table_state.resolve(st)
  local result
  local w = filters.settle(filters.beside(inherited, st.filters or nil), function(known)
    local one = writer.new(table_state.standard_strings(st), known and filters.check_fragment or nil)
    one.inherited, one.is_settled, one.root = known, true, st.db.root
    result = write(one)
    return one
  end)
  w.uses.filters = w.inherited
  return w, result
end

--- Writes a query that stands in another statement.  Where nobody settles that (it is the user's own SQL), the query is
--- confined as if it stood alone.
function select_sql.write_within(w, st, sel)
  if w.is_settled then return select_sql.write(w, st, sel, {}) end
  local length, n, uses, check, inherited = w.length, w.n, #w.uses, w.check, w.inherited
  local known
  w.is_settled = true
  for _ = 1, 4 do
    w:back_to(length, n)
    w.inherited, w.check = known, known and filters.check_fragment or check
    select_sql.write(w, st, sel, {})
    local all = known
    for i = uses + 1, #w.uses do all = filters.beside(all, w.uses[i].filters) end
    if all == known then break end
    known = all
  end
  w.is_settled, w.check, w.inherited = nil, check, inherited
end

return select_sql
