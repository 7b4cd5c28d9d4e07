-- SPDX-License-Identifier: MIT
--
-- ddl: tables from classes and from SQL.  All that a call does, it does in one transaction.
--
-- What the arguments mean and how columns look in SQL is in fastpg.class.table_plan, the altering of tables that
-- exist in fastpg.class.transform.
--
-- PostgreSQL manual: CREATE TABLE, DROP TABLE.

local ipairs, type = ipairs, type

local class = require "fastpg.class.class"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local options = require "fastpg.base.options"
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
  for _, fk in ipairs(plan.foreign_keys) do parts[#parts + 1] = (table_plan.foreign_key_sql(db, plan, fk)) end
  return ("CREATE TABLE %s%s (\n  %s\n)"):format(plan.if_not_exists and "IF NOT EXISTS " or "", plan.target,
    table.concat(parts, ",\n  "))
end

local function drop_first(tx, plan)
  if plan.replace then tx:simple(("DROP TABLE IF EXISTS %s CASCADE"):format(plan.target)) end
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

--- db:create: the table of a class.
---@param cls table  fastpg.class
---@param opts table?  pk ("id"), foreign_keys, defaults, not_null, column_order, name, schema, if_not_exists,
--- replace (drops what is there, with what depends on it), transform (alters what is there)
---@return userdata  the Table; its rows are instances of the class
function ddl.create(db, cls, opts)
  db:connected()
  local plan = table_plan.read(db, cls, opts)
  transaction.run(db, nil, function(tx)
    if opts and opts.transform and transform.transform(tx, plan) then return end
    drop_first(tx, plan)
    tx:simple(create_sql(tx, plan))
  end)
  return finish(db, plan)
end

local SCHEMA_OPTIONS = options.declare("db:create_from_schema", {
  cls = options.table, if_not_exists = options.boolean, replace = options.boolean,
})

local function run_once(conn, sql) return conn:run_once(sql, fetch.status, nil, {}, 0) end

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
    drop_first(tx, plan)
    -- one statement at a time: what is meant for the brackets can't bring another one along
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
