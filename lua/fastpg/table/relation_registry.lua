-- SPDX-License-Identifier: MIT
--
-- relation_registry: what belongs to a relation and not to the way its name was written: the filters of xtra, the class
-- of its rows.
--
-- Each thing is kept under up to three keys, and found by any of them:
--
--   oids[oid]    the relation itself: whatever name leads to it, also after it was renamed
--   names[name]  "schema\0relation": the one that is made anew under that name
--   asked[key]   the name that the Table was asked for by ("orders"), wherever it leads to
--
-- A name that is found to lead to a new relation gives it what is kept, so that it stays there when that one is
-- renamed in its turn.  A Table whose relation is not known yet (its database is not connected) keeps things
-- under `asked` only; they get their other keys when it is looked up.
--
-- There are entries only for what the program filtered or gave a class; oids of relations that are gone are
-- swept out when the entries get many.

local ipairs, next, pairs, setmetatable = ipairs, next, pairs, setmetatable

local relation_registry = {}

local Kept = {}
Kept.__index = Kept

--- Things of one kind, each of one relation.
---@param under table?  what is kept where there is none here: a transaction's lie above its root's
function relation_registry.new(under)
  return setmetatable({ oids = {}, names = {}, asked = {}, under = under, is_empty = true, swept_at = 128, size = 0 }, Kept)
end

--- "schema\0relation": the name that a relation has whatever the search_path.
function relation_registry.name_of(rel)
  return rel.schema .. "\0" .. rel.name
end

--- What is kept of a relation: up to three entries, the relation's own first, as { value = }.
---@param key string  what was asked for
---@param rel table?  { oid =, schema =, name = } where that is known
---@return table?, table?, table?
function Kept:find(key, rel)
  if self.is_empty then
    local under = self.under
    if under then return under:find(key, rel) end
    return nil
  end
  local own, named, asked = nil, nil, self.asked[key]
  if rel then
    local name = relation_registry.name_of(rel)
    own, named = self.oids[rel.oid], self.names[name]
    if asked and asked.unbound then -- what it leads to is known for the first time
      asked.unbound = nil
      own, named = own or asked, named or asked
      self.names[name] = named
    end
    if not own and named then own = named end
    if own and self.oids[rel.oid] ~= own then
      self.oids[rel.oid] = own
      self.size = self.size + 1
    end
  end
  if own == nil and named == nil and asked == nil and self.under then return self.under:find(key, rel) end
  return own or named or asked, named, asked
end

-- Lets the names asked for that have one entry have another (or none).
local function replace_asked(self, old, new)
  for key, entry in pairs(self.asked) do
    if entry == old then self.asked[key] = new end
  end
end

--- Keeps a value: of the relation, of its name and of the name that was asked for.
---@param rel table?  nil where it is not known yet
function Kept:set(key, rel, value)
  local entry = { value = value }
  self.is_empty = false
  if rel then
    local old = self.oids[rel.oid]
    if old then replace_asked(self, old, entry) else self.size = self.size + 1 end
    self.oids[rel.oid], self.names[relation_registry.name_of(rel)] = entry, entry
  else
    entry.unbound = true
  end
  self.asked[key] = entry
end

local function drop(map, entry)
  for key, value in pairs(map) do
    if value == entry then map[key] = nil end
  end
end

--- Forgets whatever `find` gives, under all its keys.  What lies above others hides theirs from then on.
function Kept:clear(key, rel)
  if self.under then return self:set(key, rel, nil) end
  local own, named, asked = self:find(key, rel)
  for _, map in pairs{ self.oids, self.names, self.asked } do
    for _, entry in pairs{ own, named, asked } do drop(map, entry) end
  end
  self.is_empty = next(self.asked) == nil and next(self.oids) == nil and next(self.names) == nil
end

--- Names that were asked for and whose relation is not known yet.
---@return string[]?  keys; nil where there is none
function Kept:unbound()
  if self.is_empty then return nil end
  local keys
  for key, entry in pairs(self.asked) do
    if entry.unbound then
      keys = keys or {}
      keys[#keys + 1] = key
    end
  end
  return keys
end

--- The oids that are kept, where they have doubled since the last sweep.
---@return integer[]?
function Kept:due_for_sweep()
  if self.size < self.swept_at then return nil end
  local oids = {}
  for oid in pairs(self.oids) do oids[#oids + 1] = oid end
  return oids
end

--- Forgets relations that the server does not have any more.
---@param alive table<integer, boolean>
---@param with_names boolean?  their names too: a class without a table is of no use, a filter waits for the next one
function Kept:sweep(oids, alive, with_names)
  for _, oid in ipairs(oids) do
    local entry = not alive[oid] and self.oids[oid]
    if entry then
      self.oids[oid] = nil
      if with_names then
        drop(self.names, entry)
        drop(self.asked, entry)
      end
    end
  end
  self.size = 0
  for _ in pairs(self.oids) do self.size = self.size + 1 end
  self.swept_at = math.max(128, 2 * self.size)
end

return relation_registry
