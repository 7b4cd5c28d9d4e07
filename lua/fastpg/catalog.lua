-- SPDX-License-Identifier: MIT
--
-- catalog: what the server's catalogs say of tables and views, read when it is needed.
--
-- Connecting reads nothing.  The first use of a table reads its columns and key in one round trip;
-- listing reads the names in one.  All of it is kept until `generation` moves on: by refresh, by
-- DDL through fastpg, or by a result whose shape shows it stale.
--
-- PostgreSQL manual: "System Catalogs" (pg_class, pg_attribute, pg_index).

local core = require "fastpg.core"
local errors = require "fastpg.errors"
local statement = require "fastpg.statement"
local suggest = require "fastpg.suggest"

local catalog = {}

local Catalog = {}
Catalog.__index = Catalog

-- One row per column of each relation of one of the names in $2 that is in one of the schemas in
-- $1 beside it; a schema of '' means the search_path.  A key may carry columns that are not of it
-- (INCLUDE); a domain counts as its base type.
local RELATION = [[
select n.nspname, c.relname, c.relkind, pg_catalog.pg_table_is_visible(c.oid), w.choice,
  a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity = 'a',
  a.attgenerated <> '', ty.typcategory = 'A', coalesce(base.typname, ty.typname) in ('json', 'jsonb'),
  case when pg_catalog.array_position(k.indkey::int2[], a.attnum) < k.indnkeyatts
    then pg_catalog.array_position(k.indkey::int2[], a.attnum) + 1 else 0 end,
  a.atttypid, coalesce(base.typname, ty.typname), a.atthasdef or a.attidentity <> ''
from unnest($1::text[], $2::text[]) with ordinality w(nsp, rel, choice)
join pg_catalog.pg_class c on c.relname = w.rel and c.relkind in ('r','p','f','v','m')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  and case when w.nsp = '' then pg_catalog.pg_table_is_visible(c.oid) else n.nspname = w.nsp end
left join pg_catalog.pg_index k on k.indrelid = c.oid and k.indisprimary
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_catalog.pg_type ty on ty.oid = a.atttypid
left join pg_catalog.pg_type base on base.oid = ty.typbasetype
order by w.choice, c.oid, a.attnum]]

-- Names of tables ('r','p','f') or views ('v','m') of a schema, or of the search_path where it is ''.
local NAMES = [[
select n.nspname, c.relname, c.relkind in ('v','m')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r','p','f','v','m') and case when $1 = ''
  then pg_catalog.pg_table_is_visible(c.oid) and n.nspname not in ('pg_catalog', 'information_schema')
  else n.nspname = $1 end
order by c.relname collate "C"]]

function catalog.new(db, schema)
  return setmetatable({ db = db, schema = schema or "", generation = 0, relations = {}, names = {} }, Catalog)
end

--- Everything known may be wrong from here on.
function Catalog:stale()
  self.generation = self.generation + 1
  self.relations, self.names = {}, {}
end

--- What is known of one relation may be wrong.
function Catalog:forget(name, schema)
  self.relations[(schema or "") .. "\0" .. name] = nil
end

-- Look-ups of the catalog run on the connection that the caller's statement would run on, so that
-- tables made in an open transaction are seen.
local function query(db, sql, ...)
  return db:on_connection(statement.run, statement.fetch.arrays, nil, sql, ...)
end

-- ---- relations ------------------------------------------------------------------------------

-- "a.b.c" may be table "a.b.c", table "b.c" of schema "a" or table "c" of schema "a.b": the exact
-- name is tried first.
local function candidates(name, schema, default)
  if schema then return { schema }, { name } end
  local schemas, names = { default }, { name }
  local from = 1
  while true do
    local dot = name:find(".", from, true)
    if not dot then break end
    if dot > 1 and dot < #name then
      schemas[#schemas + 1] = name:sub(1, dot - 1)
      names[#names + 1] = name:sub(dot + 1)
    end
    from = dot + 1
  end
  return schemas, names
end

local function build(found)
  local first = found[1]
  local rel = { schema = first[1], name = first[2], kind = first[3], columns = {}, index = {}, pks = {} }
  local visible = first[4]
  rel.is_view = rel.kind == "v" or rel.kind == "m"
  rel.ref = core.quote_ident(rel.name)
  rel.qualified = visible and rel.ref or core.quote_ident(rel.schema) .. "." .. rel.ref
  rel.shape = { columns = {}, types = {}, index = {} } -- of a list without rows
  for _, f in ipairs(found) do
    if f[6] ~= core.null then
      local col = {
        name = f[6], type = f[7], not_null = f[8], identity_always = f[9], generated = f[10], is_array = f[11],
        is_json = f[12], pk = f[13], oid = f[14], base_type = f[15], has_default = f[16],
      }
      rel.columns[#rel.columns + 1] = col
      rel.index[col.name] = col
      local at = #rel.columns
      rel.shape.columns[at], rel.shape.types[at], rel.shape.index[col.name] = col.name, col.oid, at
      if col.pk > 0 then rel.pks[col.pk] = col.name end
    end
  end
  rel.core = core.relation(rel.qualified, rel.columns)
  return rel
end

local function look_up(self, db, name, schema)
  local schemas, names = candidates(name, schema, self.schema)
  local found, choice, oid_of = {}, nil, nil
  for _, f in ipairs(query(db, RELATION, schemas, names)) do
    choice, oid_of = choice or f[5], oid_of or f[1] .. "\0" .. f[2]
    if f[5] == choice and f[1] .. "\0" .. f[2] == oid_of then found[#found + 1] = f end
  end
  if #found > 0 then return build(found) end
end

local LOAD = 500 -- names in one look-up

--- Reads what is not known yet of these tables and views of the default schema, many in a round trip.
---@param names string[]  as list gives them
function Catalog:load(db, names)
  local unknown = {}
  for _, name in ipairs(names) do
    if not self.relations["\0" .. name] then unknown[#unknown + 1] = name end
  end
  for from = 1, #unknown, LOAD do
    local schemas, some, found = {}, {}, {}
    for i = from, math.min(from + LOAD - 1, #unknown) do
      schemas[#schemas + 1], some[#some + 1] = self.schema, unknown[i]
    end
    for _, f in ipairs(query(db, RELATION, schemas, some)) do
      local of_name = found[f[5]] or {}
      found[f[5]] = of_name
      if #of_name == 0 or of_name[1][1] == f[1] then of_name[#of_name + 1] = f end
    end
    for i, name in ipairs(some) do
      if found[i] then self.relations["\0" .. name] = build(found[i]) end
    end
  end
end

--- What is known of a table or view; nil when the server has none of that name.
---@param db table     the database that asks (it may be a transaction's)
---@param name string  "artist", or "sales.orders"
---@param schema? string
function Catalog:relation(db, name, schema)
  local key = (schema or "") .. "\0" .. name
  local rel = self.relations[key]
  if rel then return rel end
  rel = look_up(self, db, name, schema)
  if rel then self.relations[key] = rel end
  return rel
end

--- The error for a name that the server does not have.
function Catalog:missing(db, name, schema, what)
  local names = {}
  for _, n in ipairs(self:list(db, false, schema)) do names[#names + 1] = n end
  for _, n in ipairs(self:list(db, true, schema)) do names[#names + 1] = n end
  errors.raise("undefined_table", ('%s "%s" does not exist%s'):format(what or "table", name, suggest.phrase(name, names)))
end

--- The names of the tables or views of a schema (default: the search_path), sorted.
function Catalog:list(db, views, schema)
  schema = schema or self.schema
  local known = self.names[schema]
  if not known then
    known = { [true] = {}, [false] = {} }
    for _, f in ipairs(query(db, NAMES, schema)) do
      local list = known[f[3]]
      if list[#list] ~= f[2] then list[#list + 1] = f[2] end
    end
    self.names[schema] = known
  end
  local copy = {}
  for i, name in ipairs(known[views]) do copy[i] = name end
  return copy
end

-- ---- columns --------------------------------------------------------------------------------

--- The error for a column that a relation does not have.
function catalog.unknown_column(rel, name, what)
  if type(name) ~= "string" then
    errors.argument("%s: columns have names, got a %s key", what or rel.name, type(name))
  end
  errors.raise("undefined_column",
    ('%s%s has no column "%s"%s'):format(what and what .. ": " or "", rel.ref, name, suggest.phrase(name, rel.index)))
end

--- { "artist_id", "name", artist_id = "integer", name = "character varying(120)" }
function catalog.columns_of(rel)
  local cols = {}
  for i, col in ipairs(rel.columns) do
    cols[i] = col.name
    cols[col.name] = col.type
  end
  return cols
end

return catalog
