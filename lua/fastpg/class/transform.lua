-- SPDX-License-Identifier: MIT
--
-- transform: db:create{ transform = true }: the statements that make an existing table what the class says, with its rows.
--
-- What differs is found by comparing the table with one that is made of the class (fastpg.class.transform_catalog).  Then
-- come, each where it is needed:
--
--   RENAME COLUMN     from here on everything has its new name
--   DROP INDEX, and an ALTER TABLE   what may stand in the way goes: indexes, checks, keys, defaults
--   ALTER TABLE       columns come and change their types
--   ALTER TABLE       those that get their values from others (using): these are there still
--   ALTER TABLE       columns go
--   ALTER TABLE       defaults, NOT NULL, the key, checks
--   CREATE INDEX, and an ALTER TABLE   foreign keys last, which may refer to what became a key here
--
-- A type is changed as a plain ALTER does it, by the assignment cast, which refuses what does not fit; whether there
-- is one is tried on the probe.  Only where there is none (text to integer) an explicit cast is written, and to the
-- type without its length: an explicit cast cuts what is too long in silence.  What `using` says is the user's.
--
-- Columns that the class lacks stay, unless drop names them, with the constraints and indexes that involve them.
-- not_null, defaults, checks, indexes and foreign_keys say everything where they are given (what they lack is taken
-- away) and nothing where they are not.
--
-- PostgreSQL manual: ALTER TABLE.

local ipairs = ipairs

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local suggest = require "fastpg.base.suggest"
local table_extras = require "fastpg.class.table_extras"
local table_plan = require "fastpg.class.table_plan"
local transform_catalog = require "fastpg.class.transform_catalog"

local quote_ident = core.quote_ident

local transform = {}

-- ---- the statements -------------------------------------------------------------------------

-- Lists of what each ALTER TABLE does, and of whole statements before and behind some of them.
local function new_actions()
  return { renames = {}, indexes_go = {}, go = {}, come = {}, filled = {}, columns_go = {}, set = {}, sequences = {}, indexes = {},
    keys = {} }
end

local ORDER = { "renames", "indexes_go", "go", "come", "filled", "columns_go", "set", "sequences", "indexes", "keys" }
local WHOLE = { renames = true, indexes_go = true, sequences = true, indexes = true }

local function add(actions, step, fmt, ...)
  local list = actions[step]
  list[#list + 1] = fmt:format(...)
end

local function statements_of(actions, target)
  local list = {}
  for _, step in ipairs(ORDER) do
    local parts = actions[step]
    if WHOLE[step] then
      for _, sql in ipairs(parts) do list[#list + 1] = sql end
    elseif #parts > 0 then
      list[#list + 1] = ("ALTER TABLE %s %s"):format(target, table.concat(parts, ", "))
    end
  end
  return list
end

-- ---- renamed columns ------------------------------------------------------------------------

-- Those that are still to come: once done they are no more.
local function pending_renames(plan, have)
  local pending = {}
  for _, rename in ipairs(plan.renames) do
    if have[rename.old] and have[rename.new] then
      errors.argument("create: renames: the table has both columns, %s and %s", quote_ident(rename.old), quote_ident(rename.new))
    elseif have[rename.old] then
      pending[#pending + 1] = rename
    elseif not have[rename.new] then
      errors.argument("create: renames: %s", suggest.no_such(plan.target, "column", rename.old, have))
    end
  end
  return pending
end

-- What is known of the table, with the names that it will have: a function from old names to new ones.
local function rename_all(actions, pending, have, target)
  local new_of = {}
  for _, rename in ipairs(pending) do
    new_of[rename.old] = rename.new
    have[rename.new], have[rename.old] = have[rename.old], nil
    add(actions, "renames", "ALTER TABLE %s RENAME COLUMN %s TO %s", target, quote_ident(rename.old), quote_ident(rename.new))
  end
  return function(names)
    for i, name in ipairs(names) do names[i] = new_of[name] or name end
    return names
  end
end

local function rename_constraints(found, renamed)
  if found.key then renamed(found.key.columns) end
  for _, fk in ipairs(found.foreign) do
    renamed(fk.columns)
    if fk.to_itself then renamed(fk.refers) end
  end
  for _, check in ipairs(found.checks) do renamed(check.columns) end
  return found
end

-- ---- columns --------------------------------------------------------------------------------

-- The type to cast to explicitly.  A whole number becomes as many bits as the type of the bit string says, all of
-- them here, so that none is cut.
local BITS = { integer = "bit(32)", bigint = "bit(64)" }
local function cast_type(have, want)
  return want.loose == '"bit"' and BITS[have.type] or want.loose
end

local INTEGERS = { smallint = true, integer = true, bigint = true }

-- A default may have no cast to the new type of its own: it goes, and comes back cast as the values are.  The one
-- of a serial column is part of its type, as long as it counts.
local function change_default(self, field, column, have, want, cast)
  local plan, type_changes = self.plan, have.type ~= want.type
  local wanted = plan.defaults and plan.defaults[field.name]
  local counts = have.serial and (want.serial or table_plan.counts(plan, field, self.pks))
  local kept = (plan.defaults == nil or counts) and have.default
  if type_changes and have.default then
    add(self.actions, "go", "ALTER COLUMN %s DROP DEFAULT", column)
    if not wanted and kept then wanted = ("(%s)%s"):format(kept, cast) end
  elseif have.default and not wanted and not kept then
    add(self.actions, "set", "ALTER COLUMN %s DROP DEFAULT", column)
  end
  if wanted and (type_changes or have.default ~= want.default) then
    add(self.actions, "set", "ALTER COLUMN %s SET DEFAULT %s", column, wanted)
  end
  if type_changes and counts and INTEGERS[want.type] then
    add(self.actions, "sequences", "ALTER SEQUENCE %s AS %s", have.serial, want.type)
  end
end

local function change_not_null(self, column, have, want, is_key)
  if not self.plan.not_null or is_key or want.not_null == have.not_null then return end
  add(self.actions, "set", "ALTER COLUMN %s %s NOT NULL", column, want.not_null and "SET" or "DROP")
end

local function change_column(self, field, have, want)
  local column, given, cast = quote_ident(field.name), self.plan.using[field.name], ""
  if have.type ~= want.type then
    if not have.automatic and not transform_catalog.converts(self.tx, self.probe, column, have, want) then
      cast = "::" .. cast_type(have, want)
    end
    local using = given or cast ~= "" and column .. cast
    add(self.actions, given and "filled" or "come", "ALTER COLUMN %s TYPE %s%s", column, want.type,
      using and " USING " .. using or "")
  end
  if have.automatic then return end -- an identity or generated column says itself what is in it
  change_default(self, field, column, have, want, cast)
  change_not_null(self, column, have, want, self.is_key[field.name])
end

-- A new column; one that gets its values from others is NOT NULL when it has them.
local function add_column(self, field, want)
  local using = self.plan.using[field.name]
  if not using then
    return add(self.actions, "come", "ADD COLUMN %s", table_plan.field_sql(self.plan, field, self.inline_key))
  end
  local column = quote_ident(field.name)
  local default = self.plan.defaults and self.plan.defaults[field.name]
  add(self.actions, "come", "ADD COLUMN %s %s%s", column, want.type, default and " DEFAULT " .. default or "")
  add(self.actions, "filled", "ALTER COLUMN %s TYPE %s USING %s", column, want.type, using)
  if want.not_null then add(self.actions, "set", "ALTER COLUMN %s SET NOT NULL", column) end
end

local function change_columns(self, want)
  for _, field in ipairs(self.plan.fields) do
    local have = self.have[field.name]
    if have then
      change_column(self, field, have, want[field.name])
    else
      add_column(self, field, want[field.name])
    end
  end
  for _, name in ipairs(self.plan.drop) do
    if self.have[name] then add(self.actions, "columns_go", "DROP COLUMN %s", quote_ident(name)) end
  end
end

-- ---- the key --------------------------------------------------------------------------------

local function same_list(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

local FREE_SEQUENCE = [[
select pg_catalog.format('%I.%I', n.nspname, name)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
  pg_catalog.generate_series(0, 1000) i,
  pg_catalog.concat(pg_catalog.left($2::text, 50), '_seq', case when i > 0 then i end) name
where c.oid = $1::text::regclass
  and not exists (select from pg_catalog.pg_class o where o.relnamespace = n.oid and o.relname = name)
order by i limit 1]]

-- A column that is there becomes one that counts, behind the highest number in it.
local function make_serial(self, field, want)
  local column = quote_ident(field.name)
  local name = self.tx:query(fetch.item, FREE_SEQUENCE, self.target, self.plan.name .. "_" .. field.name)
  add(self.actions, "sequences", "CREATE SEQUENCE %s AS %s OWNED BY %s.%s", name, want.type, self.target, column)
  local literal = core.quote_literal(name)
  add(self.actions, "sequences", "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT nextval(%s::regclass)", self.target, column, literal)
  add(self.actions, "sequences", "SELECT pg_catalog.setval(%s, coalesce((SELECT max(%s) FROM %s), 0) + 1, false)", literal,
    column, self.target)
end

-- The columns of the key as it will be: one that the user names (or none) replaces another; where there is none the plan's
-- is added.
local function find_key(self, key)
  local plan, old = self.plan, key and key.columns or {}
  if plan.pk_given or #old == 0 then return plan.pks end
  for _, name in ipairs(plan.drop) do
    for _, column in ipairs(old) do
      if column == name then
        errors.argument("create: drop: %s is of the primary key: pk says which one is to come", quote_ident(name))
      end
    end
  end
  return old
end

-- A key of one column that has values counts as a new one does, where nothing else is known of them.
local function change_counting(self, only, want)
  local field, have = self.plan.info.index[only], self.have[only]
  if not field or not have and not self.plan.using[only] then return end
  local is_taken = have and (have.automatic or have.serial or have.default and self.plan.defaults == nil)
  if not is_taken and table_plan.counts(self.plan, field, self.pks) then make_serial(self, field, want[only]) end
end

-- A column that is new and the whole key says so itself (it counts).
local function change_key(self, key, want)
  local only = #self.pks == 1 and self.pks[1]
  local is_same = same_list(self.pks, key and key.columns or {})
  if only and (self.plan.pk_given or not is_same) then change_counting(self, only, want) end
  if is_same then return end
  if key then add(self.actions, "go", "DROP CONSTRAINT %s", quote_ident(key.name)) end
  if #self.pks == 0 then return end
  self.inline_key = only and not self.have[only] and not self.plan.using[only]
  if not self.inline_key then add(self.actions, "set", "ADD PRIMARY KEY (%s)", table_plan.quoted_list(self.pks)) end
end

-- ---- checks, indexes, foreign keys ----------------------------------------------------------

-- Whether the class says what is with these columns.
local function is_of_class(self, columns)
  for _, name in ipairs(columns) do
    if not self.plan.info.index[name] then return false end
  end
  return true
end

-- Of two lists: calls come(wanted) for what is not there, go(there) for what is not wanted.
local function match(self, there, wanted, come, go)
  local taken, named, missing = {}, {}, {}
  for _, want in ipairs(wanted) do named[want.name or 0] = true end
  local function find(want)
    for _, one in ipairs(there) do
      local fits = want.name == one.name or want.name == nil and not named[one.name]
      if fits and not taken[one] and one.def == want.def then return one end
    end
  end
  for _, by_name in ipairs{ true, false } do -- one without a name is content with any that is left
    for _, want in ipairs(wanted) do
      if (want.name ~= nil) == by_name then
        local one = find(want)
        if one then taken[one] = true else missing[#missing + 1] = want end
      end
    end
  end
  for _, one in ipairs(there) do
    if not taken[one] and is_of_class(self, one.columns) then go(one) end
  end
  for _, want in ipairs(missing) do come(want) end
end

local function change_checks(self, there, wanted)
  match(self, there, wanted,
    function(want) add(self.actions, "set", "ADD %s", table_extras.check_sql(want.of)) end,
    function(one) add(self.actions, "go", "DROP CONSTRAINT %s", quote_ident(one.name)) end)
end

local function change_indexes(self, there, wanted)
  match(self, there, wanted,
    function(want) add(self.actions, "indexes", "%s", table_extras.index_sql(want.of, self.target, want.name)) end,
    function(one) add(self.actions, "indexes_go", "DROP INDEX %s", one.qualified) end)
end

local OID = "select pg_catalog.to_regclass($1::text)::oid::int8"

-- Keys of several columns can't be said by db:create: they stay.
local function change_foreign_keys(self, there)
  local taken = {}
  for _, fk in ipairs(self.plan.foreign_keys) do
    local sql, target = table_plan.foreign_key_sql(self.tx, self.plan, fk)
    local oid, found = self.tx:query(fetch.value, OID, target), nil
    for _, one in ipairs(there) do
      local same = #one.columns == 1 and one.columns[1] == fk.column and one.other == oid
      if same and (not fk.key or one.refers[1] == fk.key) and not taken[one] then found = found or one end
    end
    if found then taken[found] = true else add(self.actions, "keys", "ADD %s", sql) end
  end
  if not self.plan.keys_given then return end
  for _, one in ipairs(there) do
    if #one.columns == 1 and not taken[one] and is_of_class(self, one.columns) then
      add(self.actions, "go", "DROP CONSTRAINT %s", quote_ident(one.name))
    end
  end
end

-- ---- all of it ------------------------------------------------------------------------------

-- The table in the schema that creating would put it into, or nil.
local function find(tx, plan)
  local rel = tx.catalog:relation(tx, plan.name, plan.schema)
  if not rel or rel.name ~= plan.name then return nil end
  if rel.kind ~= "r" and rel.kind ~= "p" then
    errors.argument("create: %s is no table: transform can't alter it", rel.ref)
  end
  return rel
end

-- Two processes that begin at once do it one after the other; the second finds it done.
local LOCK = "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))"

local function probe_column(plan)
  return function(field) return table_plan.field_sql(plan, field, false) end
end

--- The statements that alter the table of a plan (fastpg.class.table_plan), to be run in the transaction that this is
--- called in.
---@return string[]?  nil where there is no such table
function transform.statements(tx, plan)
  tx:query(fetch.status, LOCK, "fastpg.transform " .. plan.target)
  local rel = find(tx, plan)
  if not rel then return nil end
  local self = { tx = tx, plan = plan, target = rel.qualified, actions = new_actions(), is_key = {} }
  self.have = transform_catalog.columns(tx, self.target)
  local pending = pending_renames(plan, self.have)
  local renamed = rename_all(self.actions, pending, self.have, self.target)
  local found = rename_constraints(transform_catalog.constraints(tx, self.target), renamed)
  self.pks = find_key(self, found.key)
  for _, name in ipairs(self.pks) do self.is_key[name] = true end
  self.probe = transform_catalog.make_probe(tx, plan, probe_column(plan))
  local want = transform_catalog.columns(tx, self.probe)
  change_key(self, found.key, want)
  change_columns(self, want)
  local checks, indexes = transform_catalog.wanted(tx, self.probe, plan, pending)
  if plan.checks then change_checks(self, found.checks, checks) end
  if plan.indexes then
    local there = transform_catalog.indexes(tx, self.target)
    for _, one in ipairs(there) do renamed(one.columns) end
    change_indexes(self, there, indexes)
  end
  change_foreign_keys(self, found.foreign)
  tx:simple("DROP TABLE " .. self.probe)
  return statements_of(self.actions, self.target)
end

return transform
