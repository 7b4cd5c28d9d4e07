-- SPDX-License-Identifier: MIT
--
-- page: pages by key: q:page(50, token) -> rows, next, prev.
--
-- A page begins behind the row where the last one ended, found by the values of the order's columns: an index leads to
-- page 1,000 as to the first, and rows that come or go meanwhile move none of the others.  The order is made one of all rows
-- by the primary key behind it.
--
--   token   base64url of { signature of the order, where it goes, values of the columns as the server's text or null }
--
-- A token holds values and no SQL: each is sent as a parameter and read by the server as its column's type.
--
-- What comes behind a row, by columns c1, c2 …:  c1 equal to v1 and c2 behind v2, then c1 behind v1; where all go one way and
-- none can be NULL that is (c1, c2) > (v1, v2), which an index reads.  Else each is a select of its own, and they stand in a
-- UNION ALL, one after the other as they follow in the order: PostgreSQL reads them so, and the second one only where the
-- first has too few rows.  (One condition with OR would read all rows from the first page on.)

local error, ipairs, pcall, tostring, type = error, ipairs, pcall, tostring, type

local base64url = require "fastpg.base.base64url"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local query = require "fastpg.table.query"
local related = require "fastpg.table.related"
local select_sql = require "fastpg.table.select_sql"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"

local methods = {}

local quote = core.quote_ident

-- ---- the order ------------------------------------------------------------------------------

-- The columns of the order: { source =, name =, sql =, is_desc =, nulls_first =, may_be_null = }.
local function add_column(list, at, source, name, order)
  for _, column in ipairs(list) do
    if column.source == source and column.name == name then return end
  end
  local column = source.rel and source.rel.index[name]
  if not column then errors.argument("page: %s is no column of a table, and pages are ordered by those", quote(name)) end
  local is_desc = order:find(" DESC", 1, true) ~= nil
  local nulls_first = is_desc
  if order:find("NULLS", 1, true) then nulls_first = order:find("FIRST", 1, true) ~= nil end
  list[#list + 1] = {
    source = source, name = name, sql = at:sql(source, name), type = column.type, is_desc = is_desc, nulls_first = nulls_first,
    may_be_null = not column.not_null or source.is_optional or false,
  }
end

local function order_of(at, sel)
  local list, given = {}, sel.order_by
  if type(given) == "string" then given = select_sql.columns_of_text(at, given) or given end
  if type(given) == "string" or core.is_sql(given) then
    errors.argument('page: the order is SQL: pages are ordered by columns, order_by("created desc", "id")')
  end
  if given ~= nil and table_columns.column_of(given) then given = { given } end
  for _, item in ipairs(given or {}) do
    if core.is_sql(item) then errors.argument("page: the order has SQL in it: pages are ordered by columns") end
    local source, name, order = select_sql.order_item(at, item)
    add_column(list, at, source, name, order)
  end
  for _, source in ipairs(at.list) do
    local rel = source.rel
    if not rel or #rel.pks == 0 then
      errors.argument("page: %s has no primary key, which makes the order one of all rows", quote(source.name))
    end
    for _, pk in ipairs(rel.pks) do add_column(list, at, source, pk, "") end
  end
  return list
end

-- Unlike that of any other order, as far as a short text can be.
local function signature_of(list)
  local hash = 5381
  for _, column in ipairs(list) do
    local text = ("%s.%s %s %s %s"):format(column.source.name, column.name, column.type, tostring(column.is_desc),
      tostring(column.nulls_first))
    for i = 1, #text do hash = (hash * 33 + text:byte(i)) % 4294967296 end
    hash = (hash * 33 + 10) % 4294967296
  end
  return ("%08x"):format(hash)
end

-- ---- tokens ---------------------------------------------------------------------------------

-- Behind a row or before it; and with the row itself, where all rows of the page that the token came with are gone.
local AFTER, FROM, BEFORE, UP_TO = "a", "f", "b", "u"
local GOES = { a = "forward", f = "forward", b = "back", u = "back" }

local function make_token(signature, where, values, n)
  local list = { signature, where }
  for i = 1, n do list[i + 2] = values[i] == nil and core.json_null or values[i] end
  return base64url.encode(core.to_json(list))
end

local function bad(why) errors.argument("page: the token is %s", why) end

local function read_token(token, signature, n)
  if type(token) ~= "string" then errors.argument("page: a token is a text, got %s", type(token)) end
  local bytes = base64url.decode(token)
  local ok, list = pcall(core.from_json, bytes or "")
  if not bytes or not ok or type(list) ~= "table" or type(list[1]) ~= "string" then bad "none of ours" end
  if list[1] ~= signature or #list ~= n + 2 then bad "that of another order" end
  if not GOES[list[2]] then bad "none of ours" end
  local values = {}
  for i = 1, n do
    local value = list[i + 2]
    if value ~= core.json_null and value ~= core.null then
      if type(value) ~= "string" then bad "none of ours" end
      values[i] = value
    end
  end
  return list[2], values
end

-- ---- what comes behind a row ----------------------------------------------------------------

local function put_value(w, column, value)
  w:put "("
  w:value(value)
  w:put("::text)::" .. column.type)
end

local function put_equal(w, column, value)
  if value == nil then return w:put(column.sql .. " IS NULL") end
  w:put(column.sql .. " = ")
  put_value(w, column, value)
end

-- From which column on (c1, c2) > (v1, v2) says it: none of them can be NULL, and all go one way.
local function uniform_from(list)
  local first, n = #list, #list
  if list[n].may_be_null then return n + 1 end
  while first > 1 and not list[first - 1].may_be_null and list[first - 1].is_desc == list[n].is_desc do first = first - 1 end
  return first
end

local function put_row_behind(w, list, values, first, is_back, or_equal)
  local names = {}
  for i = first, #list do names[#names + 1] = list[i].sql end
  local sign = (list[first].is_desc ~= is_back and "<" or ">") .. (or_equal and "=" or "")
  w:put(#names == 1 and names[1] .. " " .. sign .. " " or ("(%s) %s ("):format(table.concat(names, ", "), sign))
  for i = first, #list do
    if i > first then w:put ", " end
    put_value(w, list[i], values[i])
  end
  if #names > 1 then w:put ")" end
end

-- The rows behind a place, as ranges that follow each other in the order, each of which an index gives from its beginning:
-- those that are equal up to the last column and behind in that, … at last those behind in the first column.
---@return (fun(w: table))[]
local function ranges_of(list, values, is_back, or_equal)
  local ranges = {}
  local function add(upto, put)
    ranges[#ranges + 1] = function(w)
      for i = 1, upto do
        put_equal(w, list[i], values[i])
        w:put " AND "
      end
      put(w)
    end
  end
  local function add_behind(i)
    local column, value = list[i], values[i]
    local nulls_first = column.nulls_first ~= is_back
    if or_equal and i == #list then
      if value == nil then add(i - 1, function(w) put_equal(w, column, nil) end) end
    end
    if value == nil then
      if nulls_first then add(i - 1, function(w) w:put(column.sql .. " IS NOT NULL") end) end
      return
    end
    local sign = column.is_desc ~= is_back and " <" or " >"
    if or_equal and i == #list then sign = sign .. "=" end
    add(i - 1, function(w)
      w:put(column.sql .. sign .. " ")
      put_value(w, column, value)
    end)
    if column.may_be_null and not nulls_first then add(i - 1, function(w) w:put(column.sql .. " IS NULL") end) end
  end
  local first = uniform_from(list)
  for i = first, #list do
    if values[i] == nil then first = #list + 1 end -- of an outer join, or made up
  end
  if first <= #list then add(first - 1, function(w) put_row_behind(w, list, values, first, is_back, or_equal) end) end
  for i = math.min(first - 1, #list), 1, -1 do add_behind(i) end
  return ranges
end

-- The same as one condition.
local function put_any(w, ranges)
  if #ranges == 0 then return w:put "false" end
  w:put "("
  for i, range in ipairs(ranges) do
    w:put(i == 1 and "(" or " OR (")
    range(w)
    w:put ")"
  end
  w:put ")"
end

-- ---- a page ---------------------------------------------------------------------------------

local function put_order(w, list, is_back)
  for i, column in ipairs(list) do
    if i > 1 then w:put ", " end
    local is_desc, nulls_first = column.is_desc ~= is_back, column.nulls_first ~= is_back
    w:put(column.sql .. (is_desc and " DESC" or ""))
    if column.may_be_null and nulls_first ~= is_desc then w:put(nulls_first and " NULLS FIRST" or " NULLS LAST") end
  end
end

local function write(w, st, sel, n, token)
  local at = select_sql.open(w, st, sel)
  local list = order_of(at, sel)
  local signature = signature_of(list)
  local where, values = AFTER, nil
  if token ~= nil then where, values = read_token(token, signature, #list) end
  local is_back = GOES[where] == "back"
  local also = {}
  for i, column in ipairs(list) do
    column.hidden = at:free_name("fastpg_page_" .. i)
    also[i] = ("%s::text AS %s"):format(column.sql, column.hidden)
  end
  local function put(where_more, limit)
    select_sql.write(w, st, sel, {
      also = table.concat(also, ", "), limit = limit, where = where_more, order = function() put_order(w, list, is_back) end,
    })
  end
  local ranges = values and ranges_of(list, values, is_back, where == UP_TO or where == FROM)
  if not ranges then
    put(nil, n + 1)
  elseif #ranges < 2 or sel.lock then -- (no lock goes with UNION)
    put(function() put_any(w, ranges) end, n + 1)
  else
    for i, range in ipairs(ranges) do
      w:put(i == 1 and "(" or ") UNION ALL (")
      put(function() range(w) end, n + 1)
    end
    w:put((") LIMIT %d"):format(n + 1))
  end
  return { list = list, signature = signature, is_back = is_back, where = where, values = values }
end

-- The rows, and of each the values of the order's columns.
local function fetch_page(conn, st, target)
  local list, keys = fetch.apart(conn, st, target)
  for i, key in ipairs(keys) do
    if #target.hidden == 1 then keys[i] = { key } end
  end
  return { list = list, keys = keys }
end

fetch.keyed[fetch_page] = true

local function reversed(list)
  local n = #list
  for i = 1, math.floor(n / 2) do list[i], list[n - i + 1] = list[n - i + 1], list[i] end
end

local function refuse(sel)
  for _, name in ipairs{ "group_by", "having", "distinct", "source", "limit", "offset", "with_pk" } do
    if sel[name] ~= nil then
      errors.argument("page: a query with %s has no pages", name == "source" and "a query as its table" or name)
    end
  end
end

local function read_page(st, sel, n, token)
  local w, page = select_sql.statement(st, function(w) return write(w, st, sel, n, token) end)
  local sql, args, count = w:finish()
  if sel.debug then print(sql) end
  local target = { to = select_sql.target_of(st, sel, w.uses), hidden = {} }
  for i, column in ipairs(page.list) do target.hidden[i] = column.hidden end
  local ok, found = pcall(table_state.read_list, st, sql, fetch_page, target, args, count, w.uses, sel.on_replica)
  if not ok then
    if token ~= nil and errors.is_error(found) and tostring(found.sqlstate):sub(1, 2) == "22" then bad "none of ours" end
    error(found, 0)
  end
  local list, keys = found.list, found.keys
  local more = #list > n
  if more then list[n + 1], keys[n + 1] = nil, nil end
  if page.is_back then
    reversed(list)
    reversed(keys)
  end
  local function token_of(where, values) return make_token(page.signature, where, values, #page.list) end
  local next_token, prev_token
  if #list == 0 then
    if page.is_back then next_token = token_of(FROM, page.values)
    elseif token ~= nil then prev_token = token_of(UP_TO, page.values) end
  else
    if more or page.is_back then next_token = token_of(AFTER, keys[#list]) end
    if page.is_back and more or not page.is_back and token ~= nil then prev_token = token_of(BEFORE, keys[1]) end
  end
  if sel.with then related.add(st, list, sel.with, "with", w.uses.filters) end
  return { list = list, next_token = next_token, prev_token = prev_token }
end

--- A page of the query, in its order: the rows, and the tokens of the next page and of the one before, nil where there is
--- none.
---@param n integer  rows a page
---@param token string?  nil: the first page
---@return table rows, string? next, string? prev
function methods.page(self, n, token)
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 or n > 1000000 then
    errors.argument("page: the number of rows of a page expected, got %s", type(n) == "number" and tostring(n) or type(n))
  end
  refuse(self.sel)
  local st = query.state(self)
  local found = table_state.steady(st, read_page, st, self.sel, n, token)
  return found.list, found.next_token, found.prev_token
end

return methods
