-- SPDX-License-Identifier: MIT
--
-- related: rows of other tables that belong to rows which are there: `with`, fastpg.load.
--
-- One statement a relation, however many rows.  The keys of the rows go along as arrays, each different one once, and each
-- related row comes back with the number of the key that it belongs to, in a last column that nobody sees:
--
--   SELECT track.*, fastpg_keys.n FROM unnest($1::integer[]) WITH ORDINALITY AS fastpg_keys (k1, n)
--     JOIN track ON track.album_id = fastpg_keys.k1 WHERE … ORDER BY …
--
-- so that it is the server which says what is equal.  With a limit the rows of each key are a LATERAL select of their own.
-- Relations of the same rows go in one pipeline; those of the related rows in the next.

local getmetatable, ipairs, rawget, rawset, select, setmetatable, tostring, type =
  getmetatable, ipairs, rawget, rawset, select, setmetatable, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local filters = require "fastpg.table.filters"
local join_sql = require "fastpg.table.join_sql"
local links = require "fastpg.table.links"
local lists = require "fastpg.base.lists"
local recorder = require "fastpg.table.recorder"
local related_options = require "fastpg.table.related_options"
local rows = require "fastpg.value.rows"
local select_sql = require "fastpg.table.select_sql"
local sources = require "fastpg.table.sources"
local table_state = require "fastpg.table.table_state"
local selection = require "fastpg.table.selection"

local related = {}

local quote = core.quote_ident
local KEYS = "fastpg_keys"

-- ---- which rows -----------------------------------------------------------------------------

local function state_of(st, spec)
  if spec.st then return table_state.current(spec.st), nil end
  return table_state.current(table_state.new_state(st.db, spec.table, spec.schema)), spec.table
end

-- The key that `said` names: of the rows' own table, or "table.column" of one that refers to it.
local function follow(st, rel, spec, what)
  local found = {}
  for _, key in ipairs(rel.foreign_keys) do
    if links.has(key.columns, spec.said) then
      local link = { own = key.columns, theirs = key.refers, to_one = true }
      found[#found + 1] = { table = key.table, schema = key.schema, link = link }
    end
  end
  for _, key in ipairs(rel.referenced_by) do
    for _, column in ipairs(key.refers) do
      if key.table .. "." .. column == spec.said or key.schema .. "." .. key.table .. "." .. column == spec.said then
        found[#found + 1] = { table = key.table, schema = key.schema, link = { own = key.columns, theirs = key.refers } }
      end
    end
  end
  if #found == 1 then
    -- by its bare name where that means it, so that the filters which it inherits are those of a name
    local one = found[1]
    local named = table_state.new_state(st.db, one.table, one.schema)
    return table_state.current(named), one.table, one.link
  end
  errors.argument("%s: %s: %s foreign key of %s, or of a table that refers to it, has that column: write \"column\", or "
    .. '"table.column" of the other table', what, quote(spec.said), #found == 0 and "no" or "more than one", rel.ref)
end

-- Tables with a key to both: each { schema =, table =, oid = }.
local function junctions(from, to)
  local of_to, list, seen = {}, {}, {}
  for _, key in ipairs(to.referenced_by) do of_to[key.oid] = true end
  for _, key in ipairs(from.referenced_by) do
    if of_to[key.oid] and not seen[key.oid] and key.oid ~= from.oid and key.oid ~= to.oid then
      seen[key.oid] = true
      list[#list + 1] = key
    end
  end
  return list
end

local function names_of(list)
  local names = {}
  for i, key in ipairs(list) do names[i] = quote(key.table) end
  return table.concat(names, ", ")
end

-- The junction between two tables, and its two links: that of the rows' table to it, and of it to the related one.
local function pass_through(st, rel, to, spec, what)
  local through, said = spec.through, nil
  local junction, name
  if type(through) == "table" then
    junction = table_state.current(through)
  else
    if type(through) == "string" then
      for _, key in ipairs(rel.referenced_by) do -- "table.column": which of its keys is that of the rows
        for _, column in ipairs(key.refers) do
          if through == key.table .. "." .. column then through, said = key.table, through end
        end
      end
      name = through
      junction = table_state.current(table_state.new_state(st.db, through))
    else
      local list = junctions(rel, to)
      if #list == 0 then
        errors.argument("%s: no foreign key joins %s and %s, and no table has keys to both", what, rel.ref, to.ref)
      end
      if #list > 1 then
        errors.argument("%s: several tables join %s and %s: say which, { through = … }: %s", what, rel.ref, to.ref, names_of(list))
      end
      name = list[1].table
      junction = table_state.current(table_state.new_state(st.db, name, list[1].schema))
    end
  end
  local between = table_state.resolve(junction)
  local first = links.one(what, rel, between, said, nil, "through = %s")
  local rest = {}
  for _, link in ipairs(links.all(between, to)) do
    if link.to_one and not (rel.oid == to.oid and link.own[1] == first.theirs[1]) then rest[#rest + 1] = link end
  end
  if #rest ~= 1 then
    errors.argument("%s: %s has %s keys to %s", what, between.ref, #rest == 0 and "no" or "several", to.ref)
  end
  return { st = junction, name = name, first = first, second = rest[1] }
end

--- What a spec means for rows of this relation: { spec =, field =, st =, name =, link =, junction = }.
local function resolve(st, spec, what)
  local rel = table_state.resolve(st)
  local to, name, link, junction
  if spec.said and not spec.st and not spec.table then
    to, name, link = follow(st, rel, spec, what)
  else
    if not spec.st and not spec.table then spec = setmetatable({ table = spec.field }, { __index = spec }) end
    to, name = state_of(st, spec)
    local other = table_state.resolve(to)
    if spec.through or not spec.said and #links.all(rel, other) == 0 then
      junction = pass_through(st, rel, other, spec, what)
      link = junction.first
    else
      link = links.one(what, rel, other, spec.said, nil, (spec.field or other.name) .. " = one of %s")
    end
  end
  local field = spec.field or table_state.resolve(to).name
  if rel.index[field] then
    errors.argument("%s: %s is a column of %s: give the related rows another name, { %s_rows = … }", what, quote(field), rel.ref,
      field)
  end
  return { spec = spec, field = field, st = to, name = name, link = link, junction = junction,
    to_one = link.to_one and not junction and not spec.count, what = what }
end

-- ---- the keys -------------------------------------------------------------------------------

local function text_of(value)
  local kind = type(value)
  if kind == "table" then return "table:" .. core.to_json(value) end
  return kind .. ":" .. tostring(value)
end

-- The keys of the rows: a list of values per column; and of each row the number of its key, nil where a column is NULL.
local function keys_of(list, columns, what, rel)
  local shape = rows.shape(list[1])
  for _, name in ipairs(columns) do
    if shape and not shape.index[name] then
      errors.argument("%s: the rows have no column %s of %s, which the related rows are found by: select it too", what, quote(name),
        rel.ref)
    end
  end
  local values, numbers, known, count = {}, {}, {}, 0
  for k = 1, #columns do values[k] = {} end
  for i, row in ipairs(list) do
    local parts, missing = {}, false
    for k, name in ipairs(columns) do
      local value = rawget(row, name)
      if value == nil or value == core.null then missing = true else parts[k] = text_of(value) end
    end
    if not missing then
      local key = #columns == 1 and parts[1] or table.concat(parts, "\0")
      if not known[key] then
        count = count + 1
        known[key] = count
        for k, name in ipairs(columns) do values[k][count] = rawget(row, name) end
      end
      numbers[i] = known[key]
    end
  end
  return values, numbers, count
end

-- ---- the statement --------------------------------------------------------------------------

local function put_keys(w, rel, columns, values)
  local names = {}
  w:put "unnest("
  for k, name in ipairs(columns) do
    if k > 1 then w:put ", " end
    w:value(values[k])
    w:put("::" .. rel.index[name].type .. "[]")
    names[k] = "k" .. k
  end
  w:put((") WITH ORDINALITY AS %s (%s, n)"):format(KEYS, table.concat(names, ", ")))
end

local function put_equal(w, ref, columns)
  for k, name in ipairs(columns) do
    if k > 1 then w:put " AND " end
    w:put(("%s.%s = %s.k%d"):format(ref, quote(name), KEYS, k))
  end
end

local function default_order(rel)
  if #rel.pks == 0 then return nil end
  return rel.pks
end

-- The related table behind the keys: `JOIN t ON t.fk = keys.k1`, through the junction where there is one.
local function put_joined(w, at, one, source, junction)
  if not junction then
    w:put(" JOIN " .. source.from .. " ON ")
    return put_equal(w, source.ref, one.link.theirs)
  end
  w:put(" JOIN " .. junction.from .. " ON ")
  put_equal(w, junction.ref, one.junction.first.theirs)
  w:put(" JOIN " .. source.from .. " ON ")
  links.put(w, source.ref, junction.ref, one.junction.second)
  select_sql.put_filters(w, at, junction, " AND ")
end

-- The same as a select of its own for each key.
local function put_lateral(w, at, one, source, junction, sel, order)
  local place = one.place
  w:put " CROSS JOIN LATERAL (SELECT "
  select_sql.put_list(w, at, sel)
  w:put ", row_number() OVER ("
  if order then
    w:put "ORDER BY "
    select_sql.put_order(w, at, sel, order)
  end
  w:put((") AS %s FROM "):format(place))
  if junction then
    w:put(junction.from .. " JOIN " .. source.from .. " ON ")
    links.put(w, source.ref, junction.ref, one.junction.second)
    select_sql.put_filters(w, at, junction, " AND ")
    w:put " WHERE "
    put_equal(w, junction.ref, one.junction.first.theirs)
  else
    w:put(source.from .. " WHERE ")
    put_equal(w, source.ref, one.link.theirs)
  end
  select_sql.put_where(w, at, source.st, sel.conds, " AND ")
  w:put((" ORDER BY %s LIMIT "):format(place))
  w:value(sel.limit)
  w:put((") AS %s"):format(source.ref))
end

local function selection_of(one)
  local given = one.spec.given
  local where = ("%s: %s"):format(one.what, one.field)
  local cond = selection.condition_of_options(where, given)
  local sel = { conds = cond and { cond } or {}, limit = given.limit, as_cls = given.as_cls }
  if given.select ~= nil then sel.select = selection.read_columns("select", 1, given.select) end
  if given.order_by ~= nil then sel.order_by = selection.read_columns("order_by", 1, given.order_by) end
  return sel
end

-- Writes the statement of one relation.
local function write(w, one, parent, values)
  local source = sources.of_table(one.st)
  source.filters = join_sql.confine(w, one.st, one.name, one.what)
  local junction
  if one.junction then
    junction = sources.of_table(one.junction.st, one.junction.st.rel.name == source.name and "fastpg_junction" or nil)
    junction.filters = join_sql.confine(w, one.junction.st, one.junction.name, one.what)
  end
  local at = sources.new(source)
  at.is_many = true
  local sel = one.sel
  one.number, one.place = at:free_name "fastpg_number", at:free_name "fastpg_place"
  local number, place = one.number, one.place
  local order = sel.order_by or default_order(source.rel)
  local key_columns = one.link.own
  if one.spec.count then
    w:put(("SELECT count(*) AS count, %s.n AS %s FROM "):format(KEYS, number))
    put_keys(w, parent, key_columns, values)
    put_joined(w, at, one, source, junction)
    select_sql.put_where(w, at, one.st, sel.conds)
    return w:put((" GROUP BY %s.n"):format(KEYS))
  end
  w:put "SELECT "
  if sel.limit then
    w:put(("%s.*, %s.n AS %s FROM "):format(source.ref, KEYS, number))
    put_keys(w, parent, key_columns, values)
    put_lateral(w, at, one, source, junction, sel, order)
    return w:put((" ORDER BY %s.n, %s.%s"):format(KEYS, source.ref, place))
  end
  select_sql.put_list(w, at, sel)
  w:put((", %s.n AS %s FROM "):format(KEYS, number))
  put_keys(w, parent, key_columns, values)
  put_joined(w, at, one, source, junction)
  select_sql.put_where(w, at, one.st, sel.conds)
  if order and not one.to_one then
    w:put " ORDER BY "
    select_sql.put_order(w, at, sel, order)
  end
end

-- ---- the rows -------------------------------------------------------------------------------

-- Rows without what is in their last columns: these, and the number of the key that each belongs to.
local function fetch_numbered(conn, st, one)
  local target = { to = select_sql.target_of(one.st, one.sel, one.uses), hidden = { one.number, one.sel.limit and one.place } }
  local list, numbers = fetch.apart(conn, st, target)
  if one.sel.limit then
    for i, hidden in ipairs(numbers) do numbers[i] = hidden[1] end
  end
  return list, numbers
end

local function fetch_counts(conn, st)
  local list, numbers = conn.c:fetch_rows(st, false, nil, {}), {}
  for i, row in ipairs(list) do list[i], numbers[i] = row[1], row[2] end
  return list, numbers
end

local function empty_list(one)
  return setmetatable({}, rows.list_of(table_state.resolve(one.st).shape))
end

-- Gives each row what belongs to it.
local function distribute(list, one)
  local found, field = {}, one.field
  for i, item in ipairs(one.rows) do
    local n = one.numbers[i]
    if one.to_one or one.spec.count then
      found[n] = item
    else
      if not found[n] then found[n] = setmetatable({}, getmetatable(one.rows)) end
      found[n][#found[n] + 1] = item
    end
  end
  for i, row in ipairs(list) do
    local number = one.row_numbers[i]
    local value = number and found[number]
    if value == nil and one.spec.count then value = 0 end
    if value == nil and not one.to_one then value = empty_list(one) end
    rawset(row, field, value)
  end
end

local function run_all(st, pending)
  table_state.run_batch(st, pending, function(conn, prepared, one)
    if one.spec.count then one.rows, one.numbers = fetch_counts(conn, prepared)
    else one.rows, one.numbers = fetch_numbered(conn, prepared, one) end
  end)
end

-- Marks the rows as such that have these fields beside their columns.
local function mark(list, all)
  local fields = {}
  for i, one in ipairs(all) do fields[i] = one.field end
  local before, after
  for _, row in ipairs(list) do
    local mt = getmetatable(row)
    if mt ~= before then before, after = mt, rows.with_related(mt, fields) end
    setmetatable(row, after)
  end
end

--- Puts related rows beside rows: each as a field, a row or nil for a key of the rows' own table, else a list.
---@param st table  the state of the rows' table
---@param list table[]  the rows
---@param specs table[]  (fastpg.table.related_options)
---@param what string
---@param inherited table?  the filters that the rows were read with
function related.add(st, list, specs, what, inherited)
  if recorder.count > 0 and recorder.is_recording() then
    errors.raise("feature_not_supported", what .. ": related rows are read by statements of their own, when the rows are there: "
      .. "fastpg.load(rows, …) behind the pipeline reads them", { sqlstate = "0A000" })
  end
  local all, pending = {}, {}
  for i, spec in ipairs(specs) do
    local one = resolve(st, spec, what)
    one.sel = selection_of(one)
    all[i] = one
    for k = 1, i - 1 do
      if all[k].field == one.field then
        errors.argument("%s: two related tables would be the field %s: give one another name", what, quote(one.field))
      end
    end
    local rel = table_state.resolve(st)
    local values, numbers, count = {}, {}, 0
    if #list > 0 then values, numbers, count = keys_of(list, one.link.own, what, rel) end
    one.row_numbers, one.rows, one.numbers = numbers, {}, {}
    -- also where there are no rows: what is wrong with it is wrong then, too
    local w = select_sql.statement(st, function(w) write(w, one, rel, values) end, inherited)
    one.sql, one.args, one.n, one.uses = w:finish()
    one.uses = w.uses
    if count > 0 then pending[#pending + 1] = one end
  end
  if #list == 0 then return end
  mark(list, all)
  if #pending > 0 then run_all(st, pending) end
  for _, one in ipairs(all) do
    distribute(list, one)
    if one.spec.with then
      related.add(one.st, one.rows, one.spec.with, what .. ": " .. one.field .. ": with", one.uses.filters)
    end
  end
end

--- fastpg.load: puts related rows beside rows that are there already, which were read by a Table.
---@param list table  a row or a list of rows of one table
---@param ... any  names, or what `with` takes
---@return table list
function related.load(list, ...)
  local n = select("#", ...)
  if n == 0 then errors.argument("fastpg.load: the name of a related table expected, got nothing") end
  local given = ...
  if n > 1 then given = { ... } end
  local specs = related_options.read("fastpg.load", given)
  local all = list
  if rows.is_fetched(list) and getmetatable(list).__name == "fastpg.row" then all = { list } end
  if type(all) ~= "table" then errors.argument("fastpg.load: a row or a list of rows expected, got %s", type(list)) end
  if lists.length("fastpg.load", all) == 0 then return list end
  local st, filtered
  for i, row in ipairs(all) do
    local mt = getmetatable(row)
    local state = type(mt) == "table" and rawget(mt, "state")
    if not state then
      errors.argument("fastpg.load: item %d: a row that was read by a Table expected, got %s", i, rows.shape(row) and
        "one of other SQL" or type(row))
    end
    if st and table_state.resolve(state).oid ~= table_state.resolve(st).oid then
      errors.argument("fastpg.load: item %d: a row of %s expected, got one of %s", i, table_state.resolve(st).ref,
        table_state.resolve(state).ref)
    end
    if st and filters.key(filtered or {}) ~= filters.key(mt.filters or {}) then
      errors.argument("fastpg.load: item %d: a row that was read under the same filter as those before it expected", i)
    end
    st, filtered = st or state, filtered or mt.filters
  end
  related.add(table_state.current(st), all, specs, "fastpg.load", filtered)
  return list
end

return related
