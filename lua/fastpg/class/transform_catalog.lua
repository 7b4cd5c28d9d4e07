-- SPDX-License-Identifier: MIT
--
-- transform_catalog: what the server says of a table that is to be altered (fastpg.class.transform), read anew.
--
-- Expressions are compared as the server itself writes them.  So the class's columns, checks and indexes are created once
-- as an empty temporary table, the *probe*, and both tables are read alike.
--
-- PostgreSQL manual: "System Catalogs" (pg_attribute, pg_attrdef, pg_constraint, pg_index, pg_depend).

local error, ipairs, pcall, tostring = error, ipairs, pcall, tostring

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local table_extras = require "fastpg.class.table_extras"
local transaction = require "fastpg.pool.transaction"

local quote_ident = core.quote_ident

local transform_catalog = {}

local function or_nil(value)
  if value == core.null then return nil end
  return value
end

-- ---- columns --------------------------------------------------------------------------------

-- The sequence of a serial column is the column's own, and its default takes values from it.
local COLUMNS = [[
select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(a.atttypid, -1), a.attnotnull,
  pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '' or a.attgenerated <> '',
  (select pg_catalog.format('%I.%I', n.nspname, s.relname)
    from pg_catalog.pg_depend own
    join pg_catalog.pg_depend uses on uses.refclassid = own.classid and uses.refobjid = own.objid
      and uses.classid = 'pg_catalog.pg_attrdef'::regclass and uses.objid = d.oid
    join pg_catalog.pg_class s on s.oid = own.objid and s.relkind = 'S'
    join pg_catalog.pg_namespace n on n.oid = s.relnamespace
    where own.classid = 'pg_catalog.pg_class'::regclass and own.refclassid = own.classid
      and own.refobjid = a.attrelid and own.refobjsubid = a.attnum limit 1)
from pg_catalog.pg_attribute a
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped]]

--- The columns of a table, by name: { type =, loose = without its length, not_null =, default =, automatic =, serial =
--- its sequence or nil }.
function transform_catalog.columns(tx, target)
  local columns = {}
  for _, f in ipairs(tx:query(fetch.arrays, COLUMNS, target)) do
    columns[f[1]] = { name = f[1], type = f[2], loose = f[3], not_null = f[4], default = or_nil(f[5]), automatic = f[6],
      serial = or_nil(f[7]) }
  end
  return columns
end

-- ---- constraints ----------------------------------------------------------------------------

-- Of the key of a partitioned table's parent, and of what a table inherits, it is not for this table to say.
local CONSTRAINTS = [[
select k.conname, k.contype, pg_catalog.pg_get_constraintdef(k.oid), k.confrelid::int8,
  array(select a.attname::text from unnest(k.conkey) with ordinality u(num, place)
    join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num order by u.place),
  array(select a.attname::text from unnest(k.confkey) with ordinality u(num, place)
    join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num order by u.place),
  k.confrelid = k.conrelid
from pg_catalog.pg_constraint k
where k.conrelid = $1::text::regclass and k.contype in ('p', 'f', 'c') and k.conislocal and k.conparentid = 0
order by k.conname collate "C"]]

--- { key = the primary one or nil, foreign = list, checks = list } of { name =, def =, columns =, other = oid, refers =,
--- to_itself = }.
function transform_catalog.constraints(tx, target)
  local found = { foreign = {}, checks = {} }
  for _, f in ipairs(tx:query(fetch.arrays, CONSTRAINTS, target)) do
    local one = { name = f[1], def = f[3], other = f[4], columns = { compat.unpack(f[5]) }, refers = { compat.unpack(f[6]) },
      to_itself = f[7] }
    if f[2] == "p" then
      found.key = one
    else
      local list = f[2] == "f" and found.foreign or found.checks
      list[#list + 1] = one
    end
  end
  return found
end

-- ---- indexes --------------------------------------------------------------------------------

-- All that db:create can say of an index is in its sign; what belongs to a constraint is none of these.
local INDEXES = [[
select c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.concat_ws(chr(1), i.indisunique, m.amname,
    i.indnkeyatts, i.indnatts, i.indoption::text, pg_catalog.pg_get_expr(i.indpred, i.indrelid),
    pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct',
    array(select pg_catalog.pg_get_indexdef(i.indexrelid, k, false) from pg_catalog.generate_series(1, i.indnatts) k order by k),
    array(select case when o.opcdefault then '' else o.opcname::text end
      from unnest(i.indclass::oid[]) with ordinality u(oid, place) join pg_catalog.pg_opclass o on o.oid = u.oid order by u.place),
    array(select case when u.oid in (0, 100) then '' else u.oid::text end
      from unnest(i.indcollation::oid[]) with ordinality u(oid, place) order by u.place)),
  array(select a.attname::text from pg_catalog.pg_depend d
    join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = i.indexrelid and d.refclassid = d.classid
      and d.refobjid = i.indrelid and d.refobjsubid > 0)
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_am m on m.oid = c.relam
where i.indrelid = $1::text::regclass and not i.indisprimary and not c.relispartition
  and not exists (select from pg_catalog.pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
order by c.oid]]

--- List of { name =, qualified =, def =, columns = }.
function transform_catalog.indexes(tx, target)
  local list = {}
  for i, f in ipairs(tx:query(fetch.arrays, INDEXES, target)) do
    list[i] = { name = f[1], qualified = f[2], def = f[3], columns = { compat.unpack(f[4]) } }
  end
  return list
end

-- ---- the probe ------------------------------------------------------------------------------

-- A name that no temporary table or type of this session has.
local FREE_NAME = [[
select name from pg_catalog.generate_series(1, 1000) n, pg_catalog.concat('pg_temp.fastpg_transform_', n) name
where pg_catalog.to_regclass(name) is null and pg_catalog.to_regtype(name) is null order by n limit 1]]

--- An empty temporary table of the plan's columns: its name.
---@param column_sql fun(field: table): string
function transform_catalog.make_probe(tx, plan, column_sql)
  local probe = tx:query(fetch.item, FREE_NAME)
  local parts = {}
  for i, field in ipairs(plan.fields) do parts[i] = column_sql(field) end
  tx:simple(("CREATE TEMPORARY TABLE %s (%s) ON COMMIT DROP"):format(probe:gsub("^pg_temp%.", ""), table.concat(parts, ", ")))
  return probe
end

--- Whether the server changes a column's type without being told how, tried on the probe.
---@param column string  quoted
function transform_catalog.converts(tx, probe, column, have, want)
  local ok, err = pcall(transaction.run, tx, nil, function(inner)
    inner:simple(("ALTER TABLE %s DROP COLUMN %s, ADD COLUMN %s %s"):format(probe, column, column, have.type))
    inner:simple(("ALTER TABLE %s ALTER COLUMN %s TYPE %s"):format(probe, column, want.type))
  end)
  if not ok and not errors.is(err, "datatype_mismatch") then error(err, 0) end
  return ok
end

-- An index of the probe, by the number of the plan's.
local function index_name(i) return ("fastpg_transform index %d"):format(i) end

local function make_all(tx, probe, plan)
  for i, check in ipairs(plan.checks or {}) do
    tx:simple(("ALTER TABLE %s ADD %s"):format(probe, table_extras.check_sql{ name = tostring(i), sql = check.sql }))
  end
  for i, index in ipairs(plan.indexes or {}) do tx:simple(table_extras.index_sql(index, probe, index_name(i))) end
end

local function defs_by_name(list)
  local defs = {}
  for _, one in ipairs(list) do defs[one.name] = one.def end
  return defs
end

--- The plan's checks and indexes as the server writes them: lists of { name =, def =, of = the plan's }.
---@param renames table  those that are still to come: the columns have their old names in what is compared
function transform_catalog.wanted(tx, probe, plan, renames)
  make_all(tx, probe, plan)
  for _, rename in ipairs(renames) do
    tx:simple(("ALTER TABLE %s RENAME COLUMN %s TO %s"):format(probe, quote_ident(rename.new), quote_ident(rename.old)))
  end
  local checks, indexes = {}, {}
  local defs = defs_by_name(plan.checks and transform_catalog.constraints(tx, probe).checks or {})
  for i, check in ipairs(plan.checks or {}) do checks[i] = { name = check.name, of = check, def = defs[tostring(i)] } end
  defs = defs_by_name(plan.indexes and transform_catalog.indexes(tx, probe) or {})
  for i, index in ipairs(plan.indexes or {}) do indexes[i] = { name = index.name, of = index, def = defs[index_name(i)] } end
  return checks, indexes
end

return transform_catalog
