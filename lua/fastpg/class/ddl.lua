-- SPDX-License-Identifier: MIT
--
-- ddl: tables from classes and from SQL.  All that a call does, it does in one transaction.
--
-- What the arguments mean and how columns look in SQL is in fastpg.class.table_plan, the altering of tables that
-- exist in fastpg.class.transform.
--
-- PostgreSQL manual: CREATE TABLE, DROP TABLE.

local error, ipairs, pcall, type = error, ipairs, pcall, type

local class = require "fastpg.class.class"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local options = require "fastpg.base.options"
local table_extras = require "fastpg.class.table_extras"
local table_lookup = require "fastpg.table.table_lookup"
local table_plan = require "fastpg.class.table_plan"
local table_state = require "fastpg.table.table_state"
local transaction = require "fastpg.pool.transaction"
local transform = require "fastpg.class.transform"

local ddl = {}

ddl.col_def = table_plan.col_def

local function create_sql(db, plan)
  local parts = {}
  for _, field in ipairs(plan.fields) do parts[#parts + 1] = table_plan.field_sql(plan, field, true) end
  if #plan.pks > 1 then parts[#parts + 1] = ("PRIMARY KEY (%s)"):format(table_plan.quoted_list(plan.pks)) end
  for _, check in ipairs(plan.checks or {}) do parts[#parts + 1] = table_extras.check_sql(check) end
  for _, fk in ipairs(plan.foreign_keys) do parts[#parts + 1] = (table_plan.foreign_key_sql(db, plan, fk)) end
  return ("CREATE TABLE %s%s (\n  %s\n)"):format(plan.if_not_exists and "IF NOT EXISTS " or "", plan.target,
    table.concat(parts, ",\n  "))
end

local function drop_sql(plan) return ("DROP TABLE IF EXISTS %s CASCADE"):format(plan.target) end

local IS_THERE = [[
select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relname = $1::text and n.nspname = coalesce($2::text, pg_catalog.current_schema()))]]

-- The statements that make the table of a class.  One that is there already has its indexes.
local function create_statements(tx, plan)
  local list = { plan.replace and drop_sql(plan) or nil }
  local is_there = plan.if_not_exists and tx:query(fetch.value, IS_THERE, plan.name, plan.schema)
  list[#list + 1] = create_sql(tx, plan)
  for _, index in ipairs(not is_there and plan.indexes or {}) do
    list[#list + 1] = table_extras.index_sql(index, plan.target, index.name)
  end
  return list
end

-- What is meant for the brackets of a statement can't bring another one along.
local function run_once(conn, sql) return conn:run_once(sql, fetch.status, nil, {}, 0) end

local function run_all(tx, statements)
  for _, sql in ipairs(statements) do tx:on_connection(run_once, sql) end
end

-- The Table, with rows of that class.
local function finish(db, plan)
  local t = table_lookup.table_of(db, plan.name, plan.asked_schema)
  local st = core.table_state(t)
  if plan.class then
    class.link(st, plan.class)
    class.follow(plan.class, table_state.resolve(st))
  end
  return t
end

local UNDONE = {} -- raised to undo what was needed to find the statements

-- What statements(tx) gives, in a transaction that is rolled back.
local function dry_run(db, statements)
  local list
  local ok, problem = pcall(transaction.run, db, nil, function(tx)
    list = statements(tx)
    error(UNDONE, 0)
  end)
  if not ok and problem ~= UNDONE then error(problem, 0) end
  return list
end

--- db:create: the table of a class.
---@param cls table  fastpg.class
---@param opts table?  pk ("id"), foreign_keys, defaults, not_null, column_order, name, schema, if_not_exists,
--- replace (drops what is there, with what depends on it), checks, indexes; transform (alters what is there), and for that
--- renames, drop, using; dry_run (gives the statements as a list, and changes nothing)
---@return userdata  the Table; its rows are instances of the class
function ddl.create(db, cls, opts)
  db:connected()
  local plan = table_plan.read(db, cls, opts)
  local function statements(tx) return opts and opts.transform and transform.statements(tx, plan) or create_statements(tx, plan) end
  if opts and opts.dry_run then return dry_run(db, statements) end
  transaction.run(db, nil, function(tx) run_all(tx, statements(tx)) end)
  return finish(db, plan)
end

local SCHEMA_OPTIONS = options.declare("db:create_from_schema", {
  cls = options.table, if_not_exists = options.boolean, replace = options.boolean,
})

--- db:create_from_schema: a table from what stands between the brackets of CREATE TABLE.
---@param name string
---@param schema string  SQL: "id serial primary key, payload text"
---@param opts { cls: table?, if_not_exists: boolean?, replace: boolean? }?
---@return userdata  the Table
function ddl.create_from_schema(db, name, schema, opts)
  local what = "create_from_schema"
  db:connected()
  opts = options.check(opts, SCHEMA_OPTIONS, what)
  if type(schema) ~= "string" then
    errors.argument("%s: SQL text (columns and constraints) expected, got %s", what, type(schema))
  end
  if opts.cls ~= nil then class.check(what, opts.cls) end
  local plan = table_plan.place(db, { class = opts.cls, replace = opts.replace }, table_plan.check_ident(what, name))
  transaction.run(db, nil, function(tx)
    if plan.replace then tx:simple(drop_sql(plan)) end
    tx:on_connection(run_once, ("CREATE TABLE %s%s (\n%s\n)"):format(opts.if_not_exists and "IF NOT EXISTS " or "",
      plan.target, schema))
  end)
  return finish(db, plan)
end

--- Adds to a database's methods.
function ddl.extend(methods)
  methods.create = ddl.create
  methods.create_from_schema = ddl.create_from_schema
end

return ddl
