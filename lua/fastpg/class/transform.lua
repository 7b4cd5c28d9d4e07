-- SPDX-License-Identifier: MIT
--
-- transform: db:create{ transform = true }: an existing table becomes what the class says, with its rows.
--
-- What differs is found by comparing types as the server itself writes them: the class's columns
-- are created once as a temporary table (the *probe*) and both are read from pg_attribute.  Then up to three ALTER
-- TABLE follow, in an order that lets each succeed: defaults that stand in the way go, columns come
-- and change their types, defaults, NOT NULL and keys are set.
--
-- A type is changed as a plain ALTER does it, by the assignment cast, which refuses what does not fit; whether there
-- is one is tried on the probe.  Only where there is none (text to integer) an explicit cast is written, and to the
-- type without its length: an explicit cast cuts what is too long in silence.
--
-- Columns that the class lacks stay.  not_null and defaults say everything where they are given
-- (what they lack is taken away) and nothing where they are not.
--
-- PostgreSQL manual: ALTER TABLE.

local error, ipairs, pcall = error, ipairs, pcall

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local table_plan = require "fastpg.class.table_plan"
local transaction = require "fastpg.pool.transaction"

local quote_ident = core.quote_ident

local transform = {}

-- A name that no temporary table or type of this session has.
local FREE_NAME = [[
select name from pg_catalog.generate_series(1, 1000) n, pg_catalog.concat('pg_temp.fastpg_transform_', n) name
where pg_catalog.to_regclass(name) is null and pg_catalog.to_regtype(name) is null order by n limit 1]]

local COLUMNS = [[
select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(a.atttypid, -1), a.attnotnull,
  pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '' or a.attgenerated <> '',
  exists (select from pg_catalog.pg_depend p join pg_catalog.pg_class s on s.oid = p.objid and s.relkind = 'S'
    where p.classid = 'pg_catalog.pg_class'::regclass and p.refclassid = p.classid
      and p.refobjid = a.attrelid and p.refobjsubid = a.attnum)
from pg_catalog.pg_attribute a
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped]]

local KEY = [[
select conname from pg_catalog.pg_constraint where conrelid = $1::text::regclass and contype = 'p']]

local HAS_FOREIGN_KEY = [[
select exists (select from pg_catalog.pg_constraint c
  join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
  left join pg_catalog.pg_attribute f on f.attrelid = c.confrelid and c.confkey = array[f.attnum]
  where c.contype = 'f' and c.conrelid = $1::text::regclass and a.attname = $2
    and c.confrelid = $3::text::regclass and ($4::text is null or f.attname = $4))]]

local function or_nil(value)
  if value == core.null then return nil end
  return value
end

-- The columns of a table, by name.
local function columns_of(tx, target)
  local columns = {}
  for _, f in ipairs(tx:query(fetch.arrays, COLUMNS, target)) do
    columns[f[1]] = { type = f[2], loose = f[3], not_null = f[4], default = or_nil(f[5]), automatic = f[6], serial = f[7] }
  end
  return columns
end

-- An empty temporary table of the plan's columns: its name, and their types as the server writes them.
local function make_probe(tx, plan)
  local probe = tx:query(fetch.item, FREE_NAME)
  local parts = {}
  for i, field in ipairs(plan.fields) do parts[i] = quote_ident(field.name) .. " " .. field.sql end
  tx:simple(("CREATE TEMPORARY TABLE %s (%s)"):format(probe:gsub("^pg_temp%.", ""), table.concat(parts, ", ")))
  return probe, columns_of(tx, probe)
end

-- Whether the server changes a column's type without being told how.
local function converts(tx, probe, column, have, want)
  local ok, err = pcall(transaction.run, tx, nil, function(inner)
    inner:simple(("ALTER TABLE %s DROP COLUMN %s, ADD COLUMN %s %s"):format(probe, column, column, have.type))
    inner:simple(("ALTER TABLE %s ALTER COLUMN %s TYPE %s"):format(probe, column, want.type))
  end)
  if not ok and not errors.is(err, "datatype_mismatch") then error(err, 0) end
  return ok
end

-- The type to cast to explicitly.  A whole number becomes as many bits as the type of the bit string says, all of
-- them here, so that none is cut.
local BITS = { integer = "bit(32)", bigint = "bit(64)" }
local function cast_type(have, want)
  return want.loose == '"bit"' and BITS[have.type] or want.loose
end

-- What the three statements are to do.
local function new_actions() return { {}, {}, {} } end

local function add(actions, step, fmt, ...)
  local list = actions[step]
  list[#list + 1] = fmt:format(...)
end

-- A default may have no cast to the new type of its own: it goes, and comes back cast as the values are.  The one
-- of a serial column is part of its type.
local function change_default(actions, plan, field, column, have, type_changes, cast)
  local wanted = plan.defaults and plan.defaults[field.name]
  local kept = (plan.defaults == nil or have.serial) and have.default
  if type_changes and have.default then
    add(actions, 1, "ALTER COLUMN %s DROP DEFAULT", column)
    if not wanted and kept then wanted = ("(%s)%s"):format(kept, cast) end
  elseif have.default and not wanted and not kept then
    add(actions, 3, "ALTER COLUMN %s DROP DEFAULT", column)
  end
  if wanted then add(actions, 3, "ALTER COLUMN %s SET DEFAULT %s", column, wanted) end
end

local function change_not_null(actions, plan, field, column, have, is_key)
  if not plan.not_null or is_key then return end
  local wanted = plan.not_null[field.name] or false
  if wanted ~= have.not_null then add(actions, 3, "ALTER COLUMN %s %s NOT NULL", column, wanted and "SET" or "DROP") end
end

local function change_column(tx, actions, plan, probe, field, have, want, is_key)
  local column = quote_ident(field.name)
  local type_changes, cast = have.type ~= want.type, ""
  if type_changes then
    if not have.automatic and not converts(tx, probe, column, have, want) then cast = "::" .. cast_type(have, want) end
    local using = cast ~= "" and (" USING %s%s"):format(column, cast) or ""
    add(actions, 2, "ALTER COLUMN %s TYPE %s%s", column, want.type, using)
  end
  if have.automatic then return end -- an identity or generated column says itself what is in it
  change_default(actions, plan, field, column, have, type_changes, cast)
  change_not_null(actions, plan, field, column, have, is_key)
end

local function same_list(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

-- A key that the user names replaces another; where there is none the plan's is added.  A column that
-- is new and the whole key says so itself (it counts).
local function change_key(tx, actions, plan, rel, have)
  if #plan.pks == 0 or #rel.pks > 0 and (not plan.pk_given or same_list(plan.pks, rel.pks)) then return false end
  if #rel.pks > 0 then add(actions, 1, "DROP CONSTRAINT %s", quote_ident(tx:query(fetch.item, KEY, rel.qualified))) end
  if #plan.pks == 1 and not have[plan.pks[1]] then return true end
  add(actions, 3, "ADD PRIMARY KEY (%s)", table_plan.quoted_list(plan.pks))
  return false
end

local function change_columns(tx, actions, plan, rel, probe, have, want, inline_key)
  local is_key = {}
  for _, name in ipairs(rel.pks) do is_key[name] = true end
  for _, name in ipairs(plan.pks) do is_key[name] = true end
  for _, field in ipairs(plan.fields) do
    local old = have[field.name]
    if old then
      change_column(tx, actions, plan, probe, field, old, want[field.name], is_key[field.name])
    else
      add(actions, 2, "ADD COLUMN %s", table_plan.field_sql(plan, field, inline_key))
    end
  end
end

local function add_foreign_keys(tx, actions, plan, rel)
  for _, fk in ipairs(plan.foreign_keys) do
    local sql, target = table_plan.foreign_key_sql(tx, plan, fk)
    local there = tx:query(fetch.item, HAS_FOREIGN_KEY, rel.qualified, fk.column, target, fk.key)
    if not there then add(actions, 3, "ADD %s", sql) end
  end
end

-- The table in the schema that creating would put it into, or nil.
local function find(tx, plan)
  local rel = tx.catalog:relation(tx, plan.name, plan.schema)
  if not rel or rel.name ~= plan.name then return nil end
  if rel.kind ~= "r" and rel.kind ~= "p" then
    errors.argument("create: %s is no table: transform can't alter it", rel.ref)
  end
  return rel
end

--- Alters the table of a plan (fastpg.class.table_plan) inside a transaction.
---@return boolean  false where there is none
function transform.transform(tx, plan)
  local rel = find(tx, plan)
  if not rel then return false end
  local have, probe, want = columns_of(tx, rel.qualified), make_probe(tx, plan)
  local actions = new_actions()
  local inline_key = change_key(tx, actions, plan, rel, have)
  change_columns(tx, actions, plan, rel, probe, have, want, inline_key)
  tx:simple("DROP TABLE " .. probe)
  add_foreign_keys(tx, actions, plan, rel)
  for _, list in ipairs(actions) do
    if #list > 0 then tx:simple(("ALTER TABLE %s %s"):format(rel.qualified, table.concat(list, ", "))) end
  end
  return true
end

return transform
