-- SPDX-License-Identifier: MIT
--
-- catalog: what the server's catalogs say of tables and views, read when it is needed.
--
-- Connecting reads nothing.  The first use of a table reads its columns, keys and foreign keys in one round
-- trip; listing reads the names in one.  All of it is kept until `generation` moves on: by refresh, by DDL
-- through fastpg, by an error or a result that shows it stale.
--
-- What a name means depends on the connection: its search_path, its role, its temporary tables.  What is known
-- is kept in *spaces*, one for each meaning (Connection:names_key); most programs have one, "".
--
--   generation  a look-up that began before it moved is not kept
--   stamp       moves with it, and with filters and classes: what a handle found out holds as long as it stands
--
-- PostgreSQL manual: "System Catalogs" (pg_class, pg_attribute, pg_index, pg_constraint).

local error, ipairs, pairs, setmetatable, type = error, ipairs, pairs, setmetatable, type

local bounded = require "fastpg.base.bounded"
local changes = require "fastpg.sql.changes"
local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local from_above = require "fastpg.base.from_above"
local suggest = require "fastpg.base.suggest"

local unpack = compat.unpack

local catalog = {}

local Catalog = {}
Catalog.__index = Catalog

-- One row per column of each relation of one of the names in $2 that is in one of the schemas in $1 beside it (a
-- schema of '' means the search_path), then one per foreign key: its own, and those of others that refer to it.
-- A key may carry columns that are not of it (INCLUDE); a domain counts as its base type.  The keys that refer to a
-- table are found by pg_depend, whose index leads to them: pg_constraint has none for confrelid.
local RELATION = [[
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
order by 1, 2, 3, 4, 9]]

-- Names of tables ('r','p','f') or views ('v','m') of a schema, or of the search_path where it is ''.
local NAMES = [[
select n.nspname, c.relname, c.relkind in ('v','m'), c.oid
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r','p','f','v','m') and case when $1 = ''
  then pg_catalog.pg_table_is_visible(c.oid) and n.nspname not in ('pg_catalog', 'information_schema')
  else n.nspname = $1 end
order by c.relname collate "C"]]

local PLACE = "select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
  .. " where c.oid = $1"
local ALIVE = "select c.oid from pg_catalog.pg_class c where c.oid = any($1::oid[])"

local MOST_SPACES = 256 -- meanings of names
local MOST_RELATIONS = 1000 -- of one meaning, where no more are wanted at once (Catalog:load)
local MOST_LISTS = 100 -- of the names of a schema, likewise

-- Stamps of all catalogs: what was found out in one never looks fresh in the next.
local stamps = 0
local function next_stamp()
  stamps = stamps + 1
  return stamps
end

function catalog.new(db, schema)
  return setmetatable({
    db = db, schema = schema or "", generation = 0, stamp = next_stamp(), many = false, spaces = bounded.new(MOST_SPACES),
    most_relations = MOST_RELATIONS,
  }, Catalog)
end

--- Everything known may be wrong from here on.
function Catalog:stale()
  self.generation, self.stamp = self.generation + 1, next_stamp()
  self.spaces:clear()
end

--- What handles found out must be found out again; what is kept here holds.
function Catalog:touch()
  self.stamp = next_stamp()
end

--- Names mean different things on different connections from here on.
function Catalog:part()
  if self.many then return end
  self.many = true
  self:touch()
end

-- Relations of these names, in any schema, and the lists of names.
local function forget_in(space, is_name)
  space.names:clear()
  for key, rel in pairs(space.relations.kept) do
    if is_name(rel.name) or is_name(key:match "%z(.*)$") then space.relations:remove(key) end
  end
end

--- What is known of what a change concerns may be wrong.
---@param change table  (fastpg.sql.changes), which is not of all
---@param conn table  where it was done, which alone has its temporary tables
function Catalog:forget_changed(change, conn)
  if not (change.names or change.temps or change.private) then return end
  self.generation, self.stamp = self.generation + 1, next_stamp()
  local is_name, is_own = changes.matcher(change.names or {}), changes.matcher(change.temps or {})
  for key, space in pairs(self.spaces.kept) do
    local is_private = key:sub(-#conn.prefix) == conn.prefix
    if is_private and change.private then
      self.spaces:remove(key)
    else
      if change.names then forget_in(space, is_name) end
      if is_private and change.temps then forget_in(space, is_own) end
    end
  end
end

--- What is known of one relation may be wrong.
---@param rel table?
---@param name string   what was asked for
---@param schema string?
function Catalog:forget(rel, name, schema)
  local asked = (schema or "") .. "\0" .. name
  self.generation, self.stamp = self.generation + 1, next_stamp()
  for _, space in pairs(self.spaces.kept) do
    for key, other in pairs(space.relations.kept) do
      if key == asked or rel and other.oid == rel.oid then space.relations:remove(key) end
    end
  end
end

local function space_of(self, key)
  return self.spaces.kept[key] or self.spaces:keep(key,
    { relations = bounded.new(self.most_relations), names = bounded.new(MOST_LISTS) })
end

-- Look-ups run on the connection that the caller's statement would run on, so that tables made in an open
-- transaction are seen.  Gives what names mean there beside the rows.
---@param name string?  nil: the look-up is of many
---@param note (fun(conn: table, f: table))?  called with each row
local function look_up_on(conn, name, note, sql, ...)
  local key = conn:names_key(name)
  local list = fetch.run(conn, fetch.arrays, nil, sql, ...)
  if not note then return list, key end
  for _, f in ipairs(list) do note(conn, f) end
  return list, conn:names_key(name)
end

local function query(db, name, note, sql, ...)
  return db:on_look_up(name, look_up_on, name, note, sql, ...)
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

-- The columns of RELATION.
local CHOICE, OID, PART, SCHEMA, NAME, KIND, VISIBLE, COLUMN = 1, 2, 3, 5, 6, 7, 8, 9

-- A temporary table that is found belongs to the connection alone: nothing told of it where a function made it.
local function note_relation(conn, f)
  if f[VISIBLE] == true and f[SCHEMA]:find "^pg_temp_" then conn:note_temporary(f[NAME]) end
end

local function note_name(conn, f)
  if f[1]:find "^pg_temp_" then conn:note_temporary(f[2]) end
end

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

local function build(found)
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

local COMPARED = { "name", "type", "not_null", "identity_always", "generated", "pk", "oid", "has_default", "base_oid" }

--- Whether two look-ups found the same.
function catalog.is_same(a, b)
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
function catalog.fits(rel, shape)
  if #shape.columns ~= #rel.columns then return false end
  for i, col in ipairs(rel.columns) do
    if shape.columns[i] ~= col.name then return false end
    if shape.types[i] ~= col.oid and (col.base_oid == 0 or col.base_oid == nil) then return false end
  end
  return true
end

-- The rows of each choice's first relation, by choice.
local function by_choice(list)
  local found = {}
  for _, f in ipairs(list) do
    local rows = found[f[CHOICE]] or {}
    found[f[CHOICE]] = rows
    if #rows == 0 or rows[1][OID] == f[OID] then rows[#rows + 1] = f end
  end
  return found
end

local function look_up(self, db, name, schema)
  local schemas, names = candidates(name, schema, self.schema)
  local list, space = query(db, name, note_relation, RELATION, schemas, names)
  return list[1] and build(by_choice(list)[list[1][CHOICE]]) or nil, space
end

local LOAD = 500 -- names in one look-up

--- Reads what is not known yet of these tables and views of the default schema, many in a round trip.
---@param names string[]  as list gives them
function Catalog:load(db, names)
  if self.many and not db:bound_connection() then return db:pinned(self.load, self, db, names) end
  local unknown, relations = {}, space_of(self, db:names_key()).relations
  self.most_relations = math.max(self.most_relations, 2 * #names)
  relations.most = self.most_relations
  for _, name in ipairs(names) do
    if not relations.kept["\0" .. name] then unknown[#unknown + 1] = name end
  end
  for from = 1, #unknown, LOAD do
    local schemas, some, generation = {}, {}, self.generation
    for i = from, math.min(from + LOAD - 1, #unknown) do
      schemas[#schemas + 1], some[#some + 1] = self.schema, unknown[i]
    end
    local list, key = query(db, nil, note_relation, RELATION, schemas, some)
    local found = by_choice(list)
    if generation ~= self.generation then return end -- it may have changed meanwhile
    relations = space_of(self, key).relations
    relations.most = self.most_relations
    for i, name in ipairs(some) do
      if found[i] then relations:keep("\0" .. name, build(found[i])) end
    end
  end
end

local function pinned_relation(self, db, name, schema)
  return { self:relation(db, name, schema) }
end

--- What is known of a table or view; nil when the server has none of that name.
---@param db table     the database that asks (it may be a transaction's)
---@param name string  "artist", or "sales.orders"
---@param schema? string
---@return table?
---@return string? space  for which meaning of the name that holds
function Catalog:relation(db, name, schema)
  local key = (schema or "") .. "\0" .. name
  local space = db:names_key(name)
  local rel = space_of(self, space).relations.kept[key]
  if rel then return rel, space end
  if self.many and not db:bound_connection() then return unpack(db:pinned(pinned_relation, self, db, name, schema), 1, 2) end
  local generation = self.generation
  rel, space = look_up(self, db, name, schema)
  if rel and generation == self.generation then space_of(self, space).relations:keep(key, rel) end
  return rel, space
end

--- The error for a name that the server does not have.
function Catalog:missing(db, name, schema, what)
  local names = {}
  for _, n in ipairs(self:list(db, false, schema)) do names[#names + 1] = n end
  for _, n in ipairs(self:list(db, true, schema)) do names[#names + 1] = n end
  errors.raise("undefined_table", ('%s "%s" does not exist%s'):format(what or "table", name, suggest.phrase(name, names)))
end

local function read_names(self, db, schema)
  local names, generation = { [true] = {}, [false] = {}, by_name = {} }, self.generation
  local list, space = query(db, nil, schema == "" and note_name or nil, NAMES, schema)
  for _, f in ipairs(list) do
    local of_kind = names[f[3]]
    if of_kind[#of_kind] ~= f[2] then
      of_kind[#of_kind + 1] = f[2]
      names.by_name[f[2]] = { oid = f[4], schema = f[1], name = f[2] }
    end
  end
  if generation == self.generation then space_of(self, space).names:keep(schema, names) end
  return names
end

--- The names of the tables or views of a schema (default: the search_path), sorted.
function Catalog:list(db, views, schema)
  if self.many and not db:bound_connection() then return db:pinned(self.list, self, db, views, schema) end
  schema = schema or self.schema
  local known = space_of(self, db:names_key()).names.kept[schema] or read_names(self, db, schema)
  local copy = {}
  for i, name in ipairs(known[views]) do copy[i] = name end
  return copy
end

--- The oid, schema and name of a relation of the default schema where a list of names told them, else nil.
---@return { oid: integer, schema: string, name: string }?
function Catalog:listed(name)
  local space = not self.many and self.spaces.kept[""]
  local known = space and space.names.kept[self.schema]
  return known and known.by_name[name]
end

--- Those of the oids that are relations still.
---@return table<integer, boolean>
function Catalog:alive(db, oids)
  local alive = {}
  for _, f in ipairs((query(db, nil, nil, ALIVE, oids))) do alive[f[1]] = true end
  return alive
end

--- What a relation is called now.
---@return string? schema  nil: it is gone
---@return string? name
function Catalog:place_of(db, oid)
  local f = query(db, nil, nil, PLACE, oid)[1]
  if f then return f[1], f[2] end
end

-- ---- columns --------------------------------------------------------------------------------

-- Errors that were raised because of what is known here: it may be stale.
local doubtful = setmetatable({}, { __mode = "k" })

--- Whether an error says no more than that the catalog does not know of something.
function catalog.is_doubtful(err)
  return doubtful[err]
end

local function raise_doubtful(err)
  err.where = core.where()
  doubtful[err] = true
  error(err, 0)
end

--- The error for arguments that do not go with what is known of a relation.
function catalog.misfit(fmt, ...)
  raise_doubtful(errors.new("invalid_argument", fmt:format(...)))
end

--- The error for a column that a relation does not have.
function catalog.unknown_column(rel, name, what)
  if type(name) ~= "string" then
    errors.argument("%s: columns have names, got a %s key", what or rel.name, type(name))
  end
  raise_doubtful(errors.new("undefined_column",
    (what and what .. ": " or "") .. suggest.no_such(rel.ref, "column", name, rel.index)))
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

from_above.new_catalog = catalog.new

return catalog
