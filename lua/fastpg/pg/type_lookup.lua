-- SPDX-License-Identifier: MIT
--
-- type_lookup: the types of one database that are not built in, looked up when a statement first has one.
--
-- One query gives the types asked for and all they are made of: elements, fields, base types of
-- domains, subtypes.  What was found is kept for as long as the schema is not seen to change.
--
-- PostgreSQL manual: pg_type, pg_attribute, pg_range.

local ipairs, setmetatable = ipairs, setmetatable

local core = require "fastpg.core"
local fetch = require "fastpg.pg.fetch"
local look_up = require "fastpg.pg.look_up"
local rows = require "fastpg.value.rows"

local type_lookup = {}

local Types = {}
Types.__index = Types

-- For each type: its kind (e enum, d domain, c composite, r range, m multirange, b base, p pseudo),
-- what it is made of, and whether the server can send it in binary.
local LOOK_UP = look_up.declare([[
with recursive needed(oid) as (
  select unnest($1::pg_catalog.oid[])
  union
  select d.oid from needed n join pg_catalog.pg_type t on t.oid = n.oid
  left join pg_catalog.pg_range r on r.rngtypid = t.oid
  left join pg_catalog.pg_range mr on mr.rngmultitypid = t.oid,
  lateral (
    select nullif(t.typelem, 0) union all select nullif(t.typbasetype, 0)
    union all select r.rngsubtype union all select mr.rngtypid
    union all select a.atttypid from pg_catalog.pg_attribute a
      where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
  ) d(oid) where d.oid is not null
)
select t.oid, t.typname, n.nspname, t.typtype, t.typelem, t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc,
  t.typbasetype, coalesce(r.rngsubtype, mr.rngtypid, 0), t.typdelim,
  array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and t.typrelid <> 0
    and a.attnum > 0 and not a.attisdropped order by a.attnum),
  array(select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and t.typrelid <> 0
    and a.attnum > 0 and not a.attisdropped order by a.attnum),
  t.typcategory, t.typsend::pg_catalog.oid <> 0
from needed join pg_catalog.pg_type t using (oid) join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_range r on r.rngtypid = t.oid
left join pg_catalog.pg_range mr on mr.rngmultitypid = t.oid]], "oid[]")

-- Extension types by name that the core has a codec for: text in both forms; text behind a byte that
-- is the version of its binary form; hstore.
local EXTENSION_KINDS = {
  citext = "text", ltree = "versioned", lquery = "versioned", ltxtquery = "versioned", hstore = "hstore",
}

function type_lookup.new(db)
  return setmetatable({
    db = db, map = core.typemap(), codecs = {},
    partial = {}, -- oid -> codec with one function, of a type that is not built in
    composites = {}, -- oid of a composite type -> the names and types of its columns, as the map has them
    bases = {}, -- oid of a domain -> of the type below
    count = 0, -- how many were looked up
  }, Types)
end

--- Forgets what was looked up; statements that are prepared already keep what they know.
function Types:reset()
  self.map, self.composites, self.bases, self.count = core.typemap(), {}, {}, 0
  self.map:define(self.codecs)
end

-- ---- codecs of the user's -------------------------------------------------------------------

-- The type, and the built-in types made of it: its array, its range and multirange with theirs.
-- (Those of the database itself are linked when they are looked up.)
local BY_NAME = look_up.declare([[
select t.oid, t.typname, t.typarray, coalesce(r.rngtypid, 0), coalesce(rt.typarray, 0),
  coalesce(r.rngmultitypid, 0), coalesce(mt.typarray, 0)
from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_range r on r.rngsubtype = t.oid
left join pg_catalog.pg_type rt on rt.oid = r.rngtypid
left join pg_catalog.pg_type mt on mt.oid = r.rngmultitypid
where (t.typname = $1 or t.oid = pg_catalog.to_regtype($1))
  and case when $2 = '' then pg_catalog.pg_type_is_visible(t.oid) else n.nspname = $2 end]], "name", "text")

local function remove(self, oid)
  for i, known in ipairs(self.codecs) do
    if known.oid == oid then
      table.remove(self.codecs, i)
      return
    end
  end
end

local function add(self, def)
  for i, known in ipairs(self.codecs) do
    if known.oid == def.oid then
      self.codecs[i] = def
      return
    end
  end
  self.codecs[#self.codecs + 1] = def
end

local function add_made_of(self, oid, kind, elem, name)
  if oid ~= 0 then add(self, { oid = oid, kind = kind, elem = elem, name = name }) end
end

--- Sets the functions that write and read a type's text; one that is not given stays what it was.
---@param conn table
---@param name string
---@param codec { encode: (fun(value: any): string)?, decode: (fun(text: string): any)?, schema: string? }
---@return boolean  false: there is no such type
function Types:set_codec(conn, name, codec)
  local found = conn:look_up(BY_NAME, fetch.arrays, nil, { name, codec.schema or "" }, 2)
  for _, f in ipairs(found) do
    local oid, typname, array, range, range_array, multirange, multirange_array =
      f[1], f[2], f[3], f[4], f[5], f[6], f[7]
    local functions = { encode = codec.encode, decode = codec.decode }
    local whole = codec.encode and codec.decode or core.typemap():knows(oid)
    self.partial[oid] = not whole and functions or nil
    if whole then
      add(self, { oid = oid, kind = "user", elem = 0, name = typname, data = functions })
      add_made_of(self, array, "array", oid, typname .. "[]")
      add_made_of(self, range, "range", oid, typname .. " range")
      add_made_of(self, range_array, "array", range, typname .. " range[]")
      add_made_of(self, multirange, "multirange", range, typname .. " multirange")
      add_made_of(self, multirange_array, "array", multirange, typname .. " multirange[]")
    else -- the other way is that of the type, which is looked up when a statement has it
      for _, made in ipairs{ oid, array, range, range_array, multirange, multirange_array } do remove(self, made) end
    end
  end
  self:reset()
  return #found > 0
end

-- ---- looking up -----------------------------------------------------------------------------

-- Below all domains.
local function base_type(by_oid, oid)
  local t = by_oid[oid]
  while t and t.typtype == "d" do
    oid = t.base
    t = by_oid[oid]
  end
  return oid
end

-- What the core needs to make rows of these columns.
local function row_data(names, oids, db, map)
  local shape = { columns = names, types = oids, index = {}, typemap = map }
  for i, name in ipairs(names) do shape.index[name] = i end
  return { names = names, metatable = rows.metatable(shape, { origin = db }) }
end

-- Anonymous records have columns f1, f2, … of types that each value names: one pair for each list of types
-- (csrc/type/codec_composite.c), kept in `holder`, forgotten when they get many.
local RECORD = 2249
local MOST_RECORDS = 500
core.set_type_data(RECORD, {
  make = function(holder, map, key)
    if not holder.records or holder.record_count == MOST_RECORDS then holder.records, holder.record_count = {}, 0 end
    local names, oids = {}, {}
    for i = 1, #key / 4 do
      local a, b, c, d = key:byte(4 * i - 3, 4 * i)
      names[i], oids[i] = "f" .. i, ((a * 256 + b) * 256 + c) * 256 + d
    end
    local data = row_data(names, oids, nil, map)
    holder.records[key], holder.record_count = data, holder.record_count + 1
    return data
  end,
})

local function define(self, t, by_oid)
  local def = { oid = t.oid, name = t.name, elem = 0 }
  if t.typtype == "c" then
    def.kind, def.fields, def.data = "composite", t.fields, row_data(t.names, t.fields, self.db, self.map)
  elseif t.typtype == "e" then
    def.kind = "enum"
  elseif t.typtype == "d" then
    def.kind, def.elem = "domain", base_type(by_oid, t.oid)
  elseif t.typtype == "r" or t.typtype == "m" then
    def.kind, def.elem = t.typtype == "r" and "range" or "multirange", base_type(by_oid, t.sub)
  elseif t.is_array then
    def.kind, def.elem = "array", t.elem
  else
    def.kind = t.has_send and EXTENSION_KINDS[t.name] or "other"
  end
  local codec = self.partial[t.oid]
  if codec then
    def.base, def.kind, def.data = def.kind, "user", def.data or {}
    def.data.encode, def.data.decode = codec.encode, codec.decode
  end
  return def
end

local function describe(f)
  return {
    oid = f[1], name = f[2], schema = f[3], typtype = f[4], elem = f[5], is_array = f[6], base = f[7], sub = f[8],
    delim = f[9], names = f[10], fields = f[11], category = f[12], has_send = f[13],
  }
end

-- The connection remembers for its statement under way which types were looked at now.
local function look_at(conn, list, field)
  local seen = conn.looked_at or {}
  for _, item in ipairs(list) do seen[field and item[field] or item] = true end
  conn.looked_at = seen
end

local MOST_TYPES = 2000 -- those that other sessions dropped are not noticed

--- Looks types up on this connection and adds them to the map; at its bound that begins anew, and statements whose
--- types are in the old one are bound again.
---@param conn table
---@param oids integer[]
function Types:look_up(conn, oids)
  local list, by_oid = {}, {}
  if self.count >= MOST_TYPES then self:reset() end
  for _, f in ipairs(conn:look_up(LOOK_UP, fetch.arrays, nil, { oids }, 1)) do
    local t = describe(f)
    list[#list + 1], by_oid[t.oid] = t, t
  end
  local defs = {}
  for _, t in ipairs(list) do
    if not self.map:knows(t.oid) then defs[#defs + 1] = define(self, t, by_oid) end
  end
  for _, oid in ipairs(oids) do -- dropped meanwhile: not asked for again
    if not by_oid[oid] and not self.map:knows(oid) then
      by_oid[oid] = true
      defs[#defs + 1] = { oid = oid, name = "a type that is gone", kind = "other", elem = 0 }
    end
  end
  self.map:define(defs)
  self.count = self.count + #defs
  for _, t in ipairs(list) do
    if t.typtype == "d" then self.bases[t.oid] = base_type(by_oid, t.oid) end
    if t.typtype == "c" and not self.composites[t.oid] then self.composites[t.oid] = { names = t.names, fields = t.fields } end
  end
  look_at(conn, list, "oid")
end

-- ---- composite types ------------------------------------------------------------------------

-- What of a composite type another session may have altered.
local COLUMNS = look_up.declare([[
select t.oid,
  array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = t.typrelid
    and a.attnum > 0 and not a.attisdropped order by a.attnum),
  array(select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = t.typrelid
    and a.attnum > 0 and not a.attisdropped order by a.attnum)
from pg_catalog.pg_type t where t.oid = any($1::pg_catalog.oid[])]], "oid[]")

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- Whether these composite types have the columns with which they are known.
---@param conn table
---@param oids integer[]
---@return boolean
function Types:are_current(conn, oids)
  local bases, known = {}, self.composites
  for i, oid in ipairs(oids) do bases[i] = self.bases[oid] or oid end
  local found = conn:look_up(COLUMNS, fetch.arrays, nil, { bases }, 1)
  look_at(conn, oids)
  for _, f in ipairs(found) do
    local k = known[f[1]]
    if not k or not same(k.names, f[2]) or not same(k.fields, f[3]) then return false end
  end
  return true
end

return type_lookup
