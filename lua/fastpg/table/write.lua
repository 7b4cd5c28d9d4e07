-- SPDX-License-Identifier: MIT
--
-- write: insert, update, upsert, delete and their bulk forms; each gives back what was stored.
--
-- The C builders (csrc/table/sql_builder.c) decide what becomes of each column; here are the keys, the errors
-- for rows that are not there, and the batches.

local ipairs, next, select, type = ipairs, next, select, type

local catalog = require "fastpg.table.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local later = require "fastpg.base.later"
local lists = require "fastpg.base.lists"
local options = require "fastpg.base.options"
local primary_key = require "fastpg.table.primary_key"
local query = require "fastpg.table.query"
local recorder = require "fastpg.table.recorder"
local returning = require "fastpg.table.returning"
local rows = require "fastpg.value.rows"
local selection = require "fastpg.table.selection"
local surface = require "fastpg.base.surface"
local Table = require "fastpg.table.table"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"

local bulk = later.module(function() return require "fastpg.table.bulk" end)
local conflict = later.module(function() return require "fastpg.table.conflict" end)
local write_hook = later.module(function() return require "fastpg.table.write_hook" end)

local run_list, is_fresh, first = table_state.run_list, table_state.is_fresh, fetch.first
local PENDING, present = recorder.PENDING, primary_key.present

local methods, fns = {}, {} -- the latter of a Table's state
local check_self = Table.check_self

-- ---- arguments ------------------------------------------------------------------------------

local function check_record(what, record)
  if type(record) ~= "table" then
    errors.argument("%s: a record (a table of columns and values) expected, got %s", what, type(record))
  end
  if record[1] ~= nil and rows.shape(record) then
    errors.argument("%s: one record expected, got a list of rows: use %ss", what, what)
  end
end

local function check_overrides(what, overrides)
  if overrides == nil then return end
  if type(overrides) ~= "table" then
    errors.argument("%s: overrides are a table of columns and values, got %s", what, type(overrides))
  end
end

local INSERT_OPTIONS = returning.declare("t:insert", { on_conflict = options.one_of "nothing" })
local UPDATE_OPTIONS = returning.declare("t:update", {})
local UPSERT_OPTIONS = returning.declare("t:upsert", {
  on = options.names, set = options.table, where = options.condition,
})
local UPSERTS_OPTIONS = returning.declare("t:upserts", { on = options.names })
local DELETE_OPTIONS = returning.declare("t:delete", {})
local FROM_OPTIONS = returning.declare("t:insert_from", { columns = options.list_of(options.name, "a list of columns") })
local RAWS = table_state.RAWS

-- Runs the statement of a builder, with the RETURNING that the options ask for: a row, nil, or the number.
local function run_one(st, sql, args, n, opts)
  if opts == nil then return run_list(st, sql, first, st.link, args, n) end
  if opts.returning ~= nil then sql, n = returning.replace(st, sql, args, n, opts) end
  return returning.run(st, sql, args, n, nil, opts, true)
end

-- Whether the relation is known and nothing but the record says what is written.  What is built then is built at once; of
-- what can't be, the other way says why.
local function is_simple(st, record)
  return type(record) == "table" and record[1] == nil and is_fresh(st) and not st.filters
end

-- ---- insert ---------------------------------------------------------------------------------

-- Each builder gives the SQL, the number of arguments, what finish needs to know, and at last their list: `args`, or a new
-- one where that is nil.

local function build_insert(st, args, record, overrides, opts)
  check_record("insert", record)
  check_overrides("insert", overrides)
  return table_state.writing(st, "insert", args, record, overrides, opts ~= nil and opts.on_conflict == "nothing")
end

local function insert(st, opts, record, overrides)
  if opts == nil and overrides == nil and is_simple(st, record) then
    local core_rel = st.rel.core
    local sql, n, args = core_rel:insert(nil, record, nil, nil, false)
    if sql and not args[RAWS] then return run_list(st, sql, first, st.link, args, n) end
  end
  local sql, n, args = build_insert(st, nil, record, overrides, opts)
  return run_one(st, sql, args, n, opts)
end

--- Inserts one row: the row as stored.
---@param record table  columns and values; an absent one gets its default
---@param overrides table?  values that replace the record's
---@param opts { on_conflict: "nothing"? }?  nil is returned where nothing was inserted
function fns.insert(st, record, overrides, opts)
  if opts ~= nil then opts = returning.check(opts, INSERT_OPTIONS, "insert") end
  if st.db.root.writes then return write_hook.run(st, "insert", opts, insert, record, overrides) end
  return insert(st, opts, record, overrides)
end

--- Inserts the rows that a query gives: the list of rows as stored.
---@param q table  a query, whose columns have the names of this table's
---@param opts { columns: string[]?, returning: any }?
function fns.insert_from(st, q, opts)
  opts = returning.check(opts, FROM_OPTIONS, "insert_from")
  if st.db.root.writes then return write_hook.run(st, "insert", opts, conflict.insert_from, q) end
  return conflict.insert_from(st, opts, q)
end

-- ---- update ---------------------------------------------------------------------------------

-- `update(rec, { name = "x" })` means overrides, which are the third argument.
local function check_key_argument(rel, key)
  if type(key) ~= "table" or key[1] ~= nil or rows.shape(key) then return end
  for name in next, key do
    local column = type(name) == "string" and rel.index[name]
    if column and column.pk == 0 then
      errors.argument('update: the second argument is the key (%s), and "%s" is no column of it: overrides are the third, '
        .. "update(record, nil, { … })", #rel.pks > 0 and table.concat(rel.pks, ", ") or "of which there is none", name)
    end
  end
end

local function build_update(st, args, record, key, overrides)
  check_record("update", record)
  check_overrides("update", overrides)
  local rel = table_state.resolve(st)
  local given = key ~= nil
  if given then
    check_key_argument(rel, key)
    key = primary_key.values(st, rel, key)
  else
    key = primary_key.of_record(st, rel, "update", record, overrides)
  end
  local sql, n, list = table_state.writing(st, "update", args, record, overrides, key, not given)
  return sql, n, key, list
end

local function update(st, opts, record, key, overrides)
  if opts == nil and key == nil and overrides == nil and is_simple(st, record) then
    local core_rel = st.rel.core
    local sql, n, args = core_rel:update(nil, record, nil, nil, nil, true)
    if sql and not args[RAWS] then
      local row = run_list(st, sql, first, st.link, args, n)
      if row ~= nil and row ~= PENDING then return row end
      local values = primary_key.of_record(st, st.rel, "update", record)
      if row == PENDING then return recorder.after(present, st.rel, values) end
      primary_key.raise_missing(st.rel, values)
    end
  end
  local sql, n, values, args = build_update(st, nil, record, key, overrides)
  local row = run_one(st, sql, args, n, opts)
  if row == PENDING then return recorder.after(present, table_state.resolve(st), values) end
  if row == nil or row == 0 then primary_key.raise_missing(table_state.resolve(st), values) end
  return row
end

--- Updates one row: the row as stored, or NotFoundError.
---@param record table
---@param key any?  the primary key, where the record does not hold it (or is to change it)
---@param overrides table?
---@param opts { returning: any }?
function fns.update(st, record, key, overrides, opts)
  if opts ~= nil then opts = returning.check(opts, UPDATE_OPTIONS, "update") end
  if st.db.root.writes then return write_hook.run(st, "update", opts, update, record, key, overrides) end
  return update(st, opts, record, key, overrides)
end

-- ---- upsert ---------------------------------------------------------------------------------

local function conflict_columns(st, opts)
  local rel, on = table_state.resolve(st), opts and opts.on
  if on == nil then
    if #rel.columns == 0 then catalog.misfit("upsert: %s has no columns, so no key: use insert", rel.ref) end
    if #rel.pks == 0 then catalog.misfit("upsert: %s has no primary key: say on = { … }", rel.ref) end
    return rel.pks
  end
  if type(on) == "string" or table_columns.column_of(on) then on = { on } end
  if lists.length("upsert: on", on) == 0 then errors.argument("upsert: on is a list of columns, got none") end
  local names = {}
  for i, column in ipairs(on) do names[i] = table_columns.column_name(st, column, "upsert: on") end
  return names
end

local function build_upsert(st, args, record, overrides, opts)
  check_record("upsert", record)
  check_overrides("upsert", overrides)
  local columns = conflict_columns(st, opts)
  local sql, n, list = table_state.writing(st, "upsert", args, record, overrides, columns)
  return sql, n, columns, list
end

-- The row that is in the way belongs to somebody else (or a rule swallowed it).
local function raise_not_visible(rel, columns, values)
  if columns == rel.pks and #values == #rel.pks then primary_key.raise_missing(rel, values) end
  errors.raise("not_found", rel.name .. ": the row in the way is not visible here", { table_name = rel.name })
end

local function raise_hidden(st, record, overrides, columns)
  raise_not_visible(table_state.resolve(st), columns, primary_key.of_columns(st, columns, record, overrides))
end

local function visible(row, rel, columns, values)
  if row == nil or row == 0 then raise_not_visible(rel, columns, values) end
  return row
end

-- The same of an upsert that runs later.
local function visible_later(st, record, overrides, columns)
  return recorder.after(visible, table_state.resolve(st), columns, primary_key.of_columns(st, columns, record, overrides))
end

local function upsert(st, opts, record, overrides)
  if opts ~= nil and (opts.set ~= nil or opts.where ~= nil) then
    check_record("upsert", record)
    check_overrides("upsert", overrides)
    local columns = conflict_columns(st, opts)
    local row = conflict.upsert(st, record, overrides, columns, opts)
    if row == PENDING and opts.where == nil then return visible_later(st, record, overrides, columns) end
    if opts.where == nil and (row == nil or row == 0) then raise_hidden(st, record, overrides, columns) end
    return row
  end
  local sql, n, columns, args = build_upsert(st, nil, record, overrides, opts)
  local row = run_one(st, sql, args, n, opts)
  if row == PENDING then return visible_later(st, record, overrides, columns) end
  if row == nil or row == 0 then raise_hidden(st, record, overrides, columns) end
  return row
end

--- Inserts the row, or updates the one that has its key: the row as stored.
--- `set` says what is set where the row is there (SQL may speak of the table and of "excluded"), `where` of which rows:
--- nil where it is another.
---@param opts { on: string[]?, set: table?, where: any, returning: any }?  `on`: the columns that conflict, by default the key
function fns.upsert(st, record, overrides, opts)
  if opts ~= nil then opts = returning.check(opts, UPSERT_OPTIONS, "upsert") end
  if st.db.root.writes then return write_hook.run(st, "upsert", opts, upsert, record, overrides) end
  return upsert(st, opts, record, overrides)
end

-- ---- delete ---------------------------------------------------------------------------------

local function delete(st, opts, key)
  local rel = table_state.resolve(st)
  local args = primary_key.values(st, rel, key)
  local n, more = #args, nil
  if st.filters then more, n = table_state.filter_conditions(st, rel, args, n) end
  local sql = table_state.known_sql(st, "delete")
  if not sql then
    local where = rel.core:key_conditions(0)
    sql = table_state.keep_sql(st, "delete", rel.core:delete(more and where .. " AND " .. more or where))
  end
  local row = run_one(st, sql, args, n, opts)
  if row == PENDING then return recorder.after(present, rel, primary_key.values(st, rel, key)) end
  if row == nil or row == 0 then primary_key.raise_missing(rel, primary_key.values(st, rel, key)) end
  return row
end

--- Deletes the row of that key: the row that was there, or NotFoundError.
---@param opts { returning: any }?
function fns.delete(st, key, opts)
  if opts ~= nil then opts = returning.check(opts, DELETE_OPTIONS, "delete") end
  if st.db.root.writes then return write_hook.run(st, "delete", opts, delete, key) end
  return delete(st, opts, key)
end

--- Deletes the rows of a condition, all without one: the list of what was there.
function fns.delete_where(st, ...)
  local n = select("#", ...)
  local conds = {}
  if n > 0 then conds[1] = selection.condition("delete_where", n, ...) end
  return query.new(st, { conds = conds }):delete()
end

-- ---- bulk -----------------------------------------------------------------------------------

local function write_many(st, opts, job)
  local list = bulk.run(job)
  returning.note(st, opts, list)
  return returning.project(st, opts, list)
end

local function run_many(st, opts, job)
  if st.db.root.writes then return write_hook.run(st, job.op, opts, write_many, job) end
  return write_many(st, opts, job)
end

--- Inserts many rows, pipelined, all or nothing: the list of rows as stored.
function methods.inserts(self, list, overrides, opts)
  local st = check_self(self, "inserts")
  opts = returning.check(opts, INSERT_OPTIONS, "inserts")
  return run_many(st, opts, {
    st = st, what = "inserts", op = "insert", list = list, overrides = overrides,
    nothing = opts.on_conflict == "nothing",
    make = function(item) item.sql, item.n = build_insert(st, item.args, item.record, overrides, opts) end,
  })
end

--- Updates many rows by their keys, all or nothing; one that is not there is NotFoundError.
---@param opts { returning: any }?
function methods.updates(self, list, overrides, opts)
  local st = check_self(self, "updates")
  opts = returning.check(opts, UPDATE_OPTIONS, "updates")
  return run_many(st, opts, {
    st = st, what = "updates", op = "update", list = list, overrides = overrides,
    make = function(item) item.sql, item.n, item.key = build_update(st, item.args, item.record, nil, overrides) end,
    missing = function(item) primary_key.raise_missing(table_state.resolve(st), item.key) end,
  })
end

--- Upserts many rows, all or nothing.
function methods.upserts(self, list, overrides, opts)
  local st = check_self(self, "upserts")
  opts = returning.check(opts, UPSERTS_OPTIONS, "upserts")
  return run_many(st, opts, {
    st = st, what = "upserts", op = "upsert", list = list, overrides = overrides,
    conflict = function() return conflict_columns(st, opts) end,
    make = function(item) item.sql, item.n, item.conflict = build_upsert(st, item.args, item.record, overrides, opts) end,
    missing = function(item) raise_hidden(st, item.record, overrides, item.conflict) end,
  })
end

table_state.make_steady(methods, core.table_state, "inserts", "updates", "upserts")
table_state.add_steady(methods, fns, check_self)
Table.extend(methods, {
  insert = 3, insert_from = 2, update = 4, upsert = 3, delete = 2, delete_where = surface.ANY, inserts = 3, updates = 3,
  upserts = 3,
})

return Table
