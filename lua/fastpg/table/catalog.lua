-- SPDX-License-Identifier: MIT
--
-- catalog: what the server's catalogs say of tables and views, read when it is needed.
--
-- Connecting reads nothing.  The first use of a table reads its columns, keys and foreign keys in one round
-- trip (fastpg.table.relation); listing reads the names in one.  All of it is kept until `generation` moves on: by refresh, by DDL
-- through fastpg, by an error or a result that shows it stale.
--
-- What a name means depends on the connection: its search_path, its role, its temporary tables.  What is known
-- is kept in *spaces*, one for each meaning (Connection:names_key); most programs have one, "".
--
--   generation  a look-up that began before it moved is not kept
--   stamp       moves with it, and with filters and classes: what a handle found out holds as long as it stands
--
-- PostgreSQL manual: "System Catalogs" (pg_class, pg_attribute, pg_index, pg_constraint).

local error, ipairs, pairs, select, setmetatable, type = error, ipairs, pairs, select, setmetatable, type

local bounded = require "fastpg.base.bounded"
local changes = require "fastpg.sql.changes"
local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local from_above = require "fastpg.base.from_above"
local questions = require "fastpg.pg.look_up"
local relation = require "fastpg.table.relation"
local suggest = require "fastpg.base.suggest"
local wait = require "fastpg.host.wait"

local unpack = compat.unpack

local catalog = {}

local Catalog = {}
Catalog.__index = Catalog

-- Names of tables ('r','p','f') or views ('v','m') of a schema, or of the search_path where it is ''.
local NAMES = questions.declare([[
select n.nspname, c.relname, c.relkind in ('v','m'), c.oid
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r','p','f','v','m') and case when $1 = ''
  then pg_catalog.pg_table_is_visible(c.oid) and n.nspname not in ('pg_catalog', 'information_schema')
  else n.nspname = $1 end
order by c.relname collate "C"]], "text")

local PLACE = questions.declare("select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
  .. "on n.oid = c.relnamespace where c.oid = $1", "oid")
local ALIVE = questions.declare("select c.oid from pg_catalog.pg_class c where c.oid = any($1::oid[])", "oid[]")

local AT_ONCE = 500 -- names are taken over before others have a turn
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
  local list = conn:look_up(sql, fetch.arrays, nil, { ... }, select("#", ...))
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

-- A temporary table that is found belongs to the connection alone.
local function note_name(conn, f)
  if f[1]:find "^pg_temp_" then conn:note_temporary(f[2]) end
end

local function look_up(self, db, name, schema)
  local schemas, names = candidates(name, schema, self.schema)
  local list, space = query(db, name, relation.note, relation.SQL, schemas, names)
  return relation.first(list), space
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
    local list, key = query(db, nil, relation.note, relation.SQL, schemas, some)
    local found = relation.by_choice(list)
    if generation ~= self.generation then return end -- it may have changed meanwhile
    relations = space_of(self, key).relations
    relations.most = self.most_relations
    for i, name in ipairs(some) do
      if found[i] then relations:keep("\0" .. name, relation.build(found[i])) end
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
  for i, f in ipairs(list) do
    if i % AT_ONCE == 0 then wait.share(db.root.config.loop) end
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

-- ---- what it does not know ------------------------------------------------------------------

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

from_above.new_catalog = catalog.new

return catalog
