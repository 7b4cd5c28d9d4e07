-- SPDX-License-Identifier: MIT
--
-- relation: what is known of one table or view: how the server's catalogs are asked, and what is made of the answer.
--
--   oid, schema, name, kind, is_view    ref, qualified   its name in SQL, without and with a schema where it needs one
--   columns, index   the columns in order, and by name   pks             the names of the key's columns, in its order
--   foreign_keys     its own                             referenced_by   those of others (or its own) that refer to it
--   shape            of rows (fastpg.value.rows)         core            what builds its SQL (csrc/table/relation.c)
--
-- What was found is kept by fastpg.table.catalog.

local ipairs = ipairs

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local look_up = require "fastpg.pg.look_up"

local unpack = compat.unpack

local relation = {}

-- ---- asking ---------------------------------------------------------------------------------

-- One row per column of each relation of one of the names in $2 that is in one of the schemas in $1 beside it (a
-- schema of '' means the search_path), then one per foreign key: its own, and those of others that refer to it.
-- A key may carry columns that are not of it (INCLUDE); a domain counts as its base type.  The keys that refer to a
-- table are found by pg_depend, whose index leads to them: pg_constraint has none for confrelid.
relation.SQL = look_up.declare([[
with found as materialized (
  select w.choice, c.oid, n.nspname, c.relname, c.relkind, pg_catalog.pg_table_is_visible(c.oid) as visible
  from unnest($1::text[], $2::text[]) with ordinality w(nsp, rel, choice)
  join pg_catalog.pg_class c on c.relname = w.rel and c.relkind in ('r','p','f','v','m')
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    and case when w.nsp = '' then pg_catalog.pg_table_is_visible(c.oid) else n.nspname = w.nsp end
), refers as (
  select f.choice, f.oid, 1 as part, k.oid as key, k.conparentid, k.conname, k.conkey as own, k.confrelid as other,
    k.confkey as theirs
  from found f join pg_catalog.pg_constraint k on k.conrelid = f.oid and k.contype = 'f'
  union
  select f.choice, f.oid, 2, k.oid, k.conparentid, k.conname, k.confkey, k.conrelid, k.conkey
  from found f
  join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = f.oid
    and d.classid = 'pg_catalog.pg_constraint'::regclass
  join pg_catalog.pg_constraint k on k.oid = d.objid and k.contype = 'f' and k.confrelid = f.oid
)
select f.choice, f.oid, 0 as part, a.attnum::int as place, f.nspname, f.relname, f.relkind, f.visible,
  a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity = 'a',
  a.attgenerated <> '', ty.typcategory = 'A', coalesce(base.typname, ty.typname) in ('json', 'jsonb'),
  case when pg_catalog.array_position(k.indkey::int2[], a.attnum) < k.indnkeyatts
    then pg_catalog.array_position(k.indkey::int2[], a.attnum) + 1 else 0 end,
  a.atttypid, coalesce(base.typname, ty.typname), a.atthasdef or a.attidentity <> '', ty.typbasetype,
  null::oid, null::name, null::name, null::text[], null::text[], null::oid, null::oid
from found f
left join pg_catalog.pg_index k on k.indrelid = f.oid and k.indisprimary
left join pg_catalog.pg_attribute a on a.attrelid = f.oid and a.attnum > 0 and not a.attisdropped
left join pg_catalog.pg_type ty on ty.oid = a.atttypid
left join pg_catalog.pg_type base on base.oid = ty.typbasetype
union all
select r.choice, r.oid, r.part, 0, null, null, null, null,
  r.conname, null, null, null, null, null, null, null, null, null, null, null,
  r.other, n.nspname, o.relname,
  array(select a.attname::text from unnest(r.own) with ordinality u(num, place)
    join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attnum = u.num order by u.place),
  array(select a.attname::text from unnest(r.theirs) with ordinality u(num, place)
    join pg_catalog.pg_attribute a on a.attrelid = r.other and a.attnum = u.num order by u.place),
  r.key, r.conparentid
from refers r
join pg_catalog.pg_class o on o.oid = r.other
join pg_catalog.pg_namespace n on n.oid = o.relnamespace
order by 1, 2, 3, 4, 9]], "text[]", "text[]")

-- The columns of its result.
local CHOICE, OID, PART, SCHEMA, NAME, KIND, VISIBLE, COLUMN = 1, 2, 3, 5, 6, 7, 8, 9

--- To be called with each row.  A temporary table that is found belongs to the connection alone: nothing told of it
--- where a function made it.
function relation.note(conn, f)
  if f[VISIBLE] == true and f[SCHEMA]:find "^pg_temp_" then conn:note_temporary(f[NAME]) end
end

--- The rows of each choice's first relation, by choice: the position of a name in what was asked for.
function relation.by_choice(list)
  local found = {}
  for _, f in ipairs(list) do
    local rows = found[f[CHOICE]] or {}
    found[f[CHOICE]] = rows
    if #rows == 0 or rows[1][OID] == f[OID] then rows[#rows + 1] = f end
  end
  return found
end

-- ---- making ---------------------------------------------------------------------------------

local function add_column(rel, f)
  local col = {
    name = f[COLUMN], type = f[10], not_null = f[11], identity_always = f[12], generated = f[13], is_array = f[14],
    is_json = f[15], pk = f[16], oid = f[17], base_type = f[18], has_default = f[19], base_oid = f[20],
  }
  local at = #rel.columns + 1
  rel.columns[at], rel.index[col.name] = col, col
  rel.shape.columns[at], rel.shape.types[at], rel.shape.index[col.name] = col.name, col.oid, at
  if col.pk > 0 then rel.pks[col.pk] = col.name end
end

-- Adds { name = of the constraint, columns = this table's, oid =, schema =, table =, refers = the other's columns }.
-- What a constraint of a partitioned table left on partitions is not told again beside it.
local function add_key(list, f, told)
  if told[f[27]] then return end
  list[#list + 1] = {
    name = f[COLUMN], oid = f[21], schema = f[22], table = f[23],
    columns = { unpack(f[24]) }, refers = { unpack(f[25]) },
  }
end

local function constraints_of(found, part)
  local told = {}
  for _, f in ipairs(found) do
    if f[PART] == part then told[f[26]] = true end
  end
  return told
end

--- What is known of the relation of these rows.
function relation.build(found)
  local first = found[1]
  local rel = {
    oid = first[OID], schema = first[SCHEMA], name = first[NAME], kind = first[KIND], columns = {}, index = {}, pks = {},
    foreign_keys = {}, -- this table's
    referenced_by = {}, -- those of others (or of itself) that refer to it
    shape = { columns = {}, types = {}, index = {} }, -- of a list without rows
  }
  rel.is_view = rel.kind == "v" or rel.kind == "m"
  rel.ref = core.quote_ident(rel.name)
  rel.qualified = first[VISIBLE] and rel.ref or core.quote_ident(rel.schema) .. "." .. rel.ref
  local own, of_others = constraints_of(found, 1), constraints_of(found, 2)
  for _, f in ipairs(found) do
    if f[PART] == 1 then
      add_key(rel.foreign_keys, f, own)
    elseif f[PART] == 2 then
      add_key(rel.referenced_by, f, of_others)
    elseif f[COLUMN] ~= core.null then
      add_column(rel, f)
    end
  end
  rel.core = core.relation(rel.qualified, rel.columns)
  return rel
end

--- The relation of the first choice that there is, or nil.
---@param list table[]  all rows
function relation.first(list)
  return list[1] and relation.build(relation.by_choice(list)[list[1][CHOICE]]) or nil
end

-- ---- comparing ------------------------------------------------------------------------------

local COMPARED = { "name", "type", "not_null", "identity_always", "generated", "pk", "oid", "has_default", "base_oid" }

--- Whether two look-ups found the same.
function relation.is_same(a, b)
  if a.oid ~= b.oid or a.qualified ~= b.qualified or a.kind ~= b.kind or #a.columns ~= #b.columns then return false end
  for i, col in ipairs(a.columns) do
    for _, field in ipairs(COMPARED) do
      if col[field] ~= b.columns[i][field] then return false end
    end
  end
  return true
end

--- Whether a result of `select *` (or returning *) has the columns that are known.  The server describes a domain as
--- its base type.
---@param shape table  of a statement
function relation.fits(rel, shape)
  if #shape.columns ~= #rel.columns then return false end
  for i, col in ipairs(rel.columns) do
    if shape.columns[i] ~= col.name then return false end
    if shape.types[i] ~= col.oid and (col.base_oid == 0 or col.base_oid == nil) then return false end
  end
  return true
end

--- { "artist_id", "name", artist_id = "integer", name = "character varying(120)" }
function relation.columns_of(rel)
  local cols = {}
  for i, col in ipairs(rel.columns) do
    cols[i] = col.name
    cols[col.name] = col.type
  end
  return cols
end

return relation
