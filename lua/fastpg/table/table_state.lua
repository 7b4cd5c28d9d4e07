-- SPDX-License-Identifier: MIT
--
-- table_state: the state behind a Table, and what it knows of its relation.
--
-- A Table is a userdata whose state is a table:
--   db        the route its statements run on (a root, or a transaction's)
--   name, schema, view, key  what was asked for
--   rel, stamp, space       what the catalog said, when, and for which meaning of names
--   scope     filters that nothing takes away        own   what xtra added to a Table that has a scope
--   filters   all that hold for the relation, or false (see fastpg.table.filters)
--   link      { origin =, class =, class_name =, rel = }: what rows become;  plain  the same for other rows than
--             `select *` gives
--   sql       statements that never change as long as the filters don't, by name
--
-- Filters of xtra and classes are the relation's, not the handle's (fastpg.table.relation_registry): a handle learns of
-- them when it is resolved, and is resolved again whenever some were changed.
--
-- Where names mean different things on different connections (Connection:names_key) a handle has a state of its own for
-- each meaning: `table_state.current` gives the one for the connection that the caller's statement runs on.  So what one
-- coroutine does under one search_path never changes what another one builds under another.

local error, ipairs, pairs, pcall, select, setmetatable, type = error, ipairs, pairs, pcall, select, setmetatable, type

local bounded = require "fastpg.base.bounded"
local catalog = require "fastpg.table.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local filters = require "fastpg.table.filters"
local later = require "fastpg.base.later"
local recorder = require "fastpg.table.recorder"
local relation = require "fastpg.table.relation"
local relation_registry = require "fastpg.table.relation_registry"
local trip = require "fastpg.pool.trip"
local wait = require "fastpg.host.wait"
local writer = require "fastpg.sql.writer"

local batch = later.module(function() return require "fastpg.pg.batch" end)

local table_state = {}

--- Makes the state of a handle.
function table_state.new_state(db, name, schema, view)
  return {
    db = db, name = name, schema = schema, view = view, key = (schema or "") .. "\0" .. name, rel = false, stamp = -1,
    space = "", scope = db.scope or nil,
    own = nil, filters = false, link = false, plain = false, sql = {}, base = nil, places = nil,
  }
end

-- ---- what is kept of relations --------------------------------------------------------------

-- A transaction's filters lie above its root's; classes are the root's.
local function kept_filters(db)
  local root = db.root
  root.kept_filters = root.kept_filters or relation_registry.new()
  return db.kept_filters or root.kept_filters
end

local function own_filters(db)
  db.kept_filters = db.kept_filters or relation_registry.new(db.root ~= db and kept_filters(db.root) or nil)
  return db.kept_filters
end

local function kept_classes(db)
  local root = db.root
  root.kept_classes = root.kept_classes or relation_registry.new()
  return root.kept_classes
end

-- Everybody looks again at what holds for their relation.
local function touch(db)
  local cat = db.root.catalog
  if cat then cat:touch() end
end

-- Several entries that hold for one relation: all of them do.
local function merged_xtra(st, own, named, asked)
  local xtra = own and own.value
  for _, entry in pairs{ named ~= own and named or nil, asked ~= own and asked ~= named and asked or nil } do
    local ok, both = pcall(filters.merge, "xtra", xtra, entry.value)
    if not ok then
      errors.argument("xtra: the filters that were set for %s by different names contradict each other: set or clear them"
        .. " again on this Table", core.quote_ident(st.name))
    end
    xtra = both
  end
  return xtra or nil
end

-- What a scope has said of a column stands; the relation's filters add to it.
local function add_to_scope(st, xtra)
  local base = st.base or st
  if not base.scope then return xtra end
  local fixed = filters.merge("scope", base.scope, base.own or nil)
  if not xtra then return fixed end
  local all = {}
  for name, value in pairs(xtra) do all[name] = value end
  for name, value in pairs(fixed) do all[name] = value end
  return all
end

local function check_filter(rel, filter, of_database)
  for name in pairs(filter or {}) do
    if not rel.index[name] then
      if of_database and of_database[name] ~= nil then
        errors.raise("undefined_column", ("%s has no column %s, which all tables of this database are filtered by (db:scope): "
          .. "take it from the database without that scope"):format(rel.ref, core.quote_ident(name)))
      end
      catalog.unknown_column(rel, name, "filter")
    end
  end
end

local function find_link(st, rel)
  local own, named, asked = kept_classes(st.db):find(st.key, rel)
  local entry = own or named or asked
  return entry and entry.value
end

-- A result of `select *` has other columns than the relation was thought to have: it is looked up again.  (Twice for one
-- statement at most: what differs after that is no matter of time.)
local function compare(target, shape)
  shape.relation = target.rel
  if relation.fits(target.rel, shape) then return end
  shape.doubts = (shape.doubts or 0) + 1
  if shape.doubts <= 2 then table_state.doubt(target.state) end
end

-- What holds for the relation as it is known now (rel is nil where it is not).
local function take_over(st, rel)
  local filter = add_to_scope(st, merged_xtra(st, kept_filters(st.db):find(st.key, rel))) or false
  if rel then check_filter(rel, filter, st.db.scope) end
  local class = find_link(st, rel)
  if st.rel ~= rel or st.filters ~= filter then st.sql = {} end
  if st.rel ~= rel or not st.link or st.link.class ~= (class and class.class) or st.link.filters ~= (filter or nil) then
    local origin = st.db.origin or st.db.root
    st.link = { origin = origin, class = class and class.class, class_name = class and class.name, rel = rel, state = st,
      filters = filter or nil, compare = compare }
    st.plain = { origin = origin, class = st.link.class, class_name = st.link.class_name, state = st, filters = filter or nil }
  end
  st.rel, st.filters = rel or false, filter
end

-- ---- resolving ------------------------------------------------------------------------------

--- Whether what the state knows of its relation holds, found out without looking up anything.
function table_state.is_fresh(st)
  local cat = st.db.catalog
  if not cat or st.stamp ~= cat.stamp then return false end
  return not cat.many or st.space == st.db:names_key(st.name)
end

-- Names that were filtered before anything could be looked up: now it can, and a filter holds for its relation
-- whatever name leads there.
local function bind_names(db, cat)
  local kept = kept_filters(db)
  local keys = kept:unbound()
  for _, key in ipairs(keys or {}) do
    local at = key:find("\0", 1, true)
    local rel = cat:relation(db, key:sub(at + 1), at > 1 and key:sub(1, at - 1) or nil)
    if rel then kept:find(key, rel) end
  end
  if kept.under then bind_names(db.root, cat) end
end

-- Relations that are gone leave the registries now and then.
local function sweep(db, cat)
  for _, kept in pairs{ kept_filters(db.root), kept_classes(db) } do
    local oids = kept:due_for_sweep()
    if oids then kept:sweep(oids, cat:alive(db, oids), kept == kept_classes(db)) end
  end
end

--- What the catalog knows of the table; looked up where that is not known or stale.
function table_state.resolve(st)
  local db = st.db
  if table_state.is_fresh(st) then return st.rel end
  local cat = db:connected().catalog
  local stamp = cat.stamp
  local rel, space = cat:relation(db, st.name, st.schema)
  if not rel then
    st.stamp = -1
    cat:missing(db, st.name, st.schema, st.view and "view" or "table")
  end
  bind_names(db, cat)
  sweep(db, cat)
  take_over(st, rel)
  st.stamp, st.space = stamp, space
  return rel
end

local MOST_PLACES = 64

--- The state of a handle for the connection that the caller's statements run on.
function table_state.current(st)
  st = st.base or st
  local cat = st.db.catalog
  if not cat or not cat.many then return st end
  local key = st.db:names_key(st.name) or false
  st.places = st.places or bounded.new(MOST_PLACES)
  local place = st.places.kept[key]
  if place then return place end
  place = table_state.new_state(st.db, st.name, st.schema, st.view)
  place.base = st
  return st.places:keep(key, place)
end

-- Whether the relation can be looked up here and now.
local function may_look_up(st)
  local root = st.db.root
  return root.pool and not root.closed and wait.may_look_up(root.config.loop)
end

-- The relation, as far as it can be known here and now.  `listed`: its oid and name will do.
local function relation_of(st, listed)
  local cat = st.db.catalog
  if table_state.is_fresh(st) then return st.rel end
  local known = listed and cat and not st.schema and cat:listed(st.name)
  if known then return known end
  return may_look_up(st) and cat:relation(st.db, st.name, st.schema) or nil
end

--- What rows of the table become: st.link, as it is now.
function table_state.link(st)
  if not table_state.is_fresh(st) then
    if may_look_up(st) then table_state.resolve(st) else take_over(st, nil) end
  end
  return st.link
end

--- The class of the table's rows, or nil.
function table_state.class_of(st)
  if table_state.is_fresh(st) then return st.link.class end
  local class = find_link(st, relation_of(st, true))
  return class and class.class
end

--- Rows of the relation become instances of the class, whatever name leads to it.
function table_state.set_class(st, class, name)
  kept_classes(st.db):set(st.key, relation_of(st, true), { class = class, name = name })
  touch(st.db)
end

-- ---- filters --------------------------------------------------------------------------------

--- The filters of xtra: of the relation, or of a Table with a scope its own.
---@param filter table?  nil takes them away
function table_state.set_xtra(st, filter)
  local base = st.base or st
  local rel = relation_of(st) or nil
  if filter and rel then check_filter(rel, filter) end
  if base.scope then
    if filter then filters.merge("xtra", base.scope, filter) end -- raises where they contradict each other
    base.own = filter
  elseif filter then
    own_filters(st.db):set(st.key, rel, filter)
  else
    own_filters(st.db):clear(st.key, rel)
  end
  st.stamp, base.stamp = -1, -1
  touch(st.db)
  if not st.db.catalog then take_over(st, nil) end
end

--- A state like this one with further filters that nothing takes away.
function table_state.scoped(st, filter)
  local scoped = table_state.new_state(st.db, st.name, st.schema, st.view)
  local rel = relation_of(st) or nil
  local before = add_to_scope(st, merged_xtra(st, kept_filters(st.db):find(st.key, rel)))
  scoped.scope = filters.merge("scope", before, filter)
  if rel then check_filter(rel, scoped.scope) end
  return scoped
end

-- A builder's arguments are the list it fills, then maps of values (and lists, which hold no SQL).
local function check_values(n, _, ...)
  for i = 1, n - 1 do
    local map = (select(i, ...))
    if type(map) == "table" then filters.check_values(map) end
  end
end

--- What was found out of the relation is doubtful: it is looked up again.
function table_state.doubt(st)
  st.db.catalog:forget(st.rel or nil, st.name, st.schema)
  st.stamp = -1
end

-- ---- running --------------------------------------------------------------------------------

-- Errors that say no more than that a call has to be made once more: nothing was sent.
local moved = setmetatable({}, { __mode = "k" })

--- What was built for one meaning of a name never runs under another: where the search_path, the role or the temporary
--- tables of the connection are others by now, the call is made once more, by all that is steady.
function table_state.check_meaning(conn, st)
  if conn:names_key(st.name) == st.space then return end
  local c = conn.c
  if c:busy() or c:transaction_status() == "inerror" then return end -- nothing can run there, which is said there
  local err = errors.new("object_not_in_prerequisite_state", ("%s may be another table by now: the search_path, the role or "
    .. "the temporary tables of the connection changed while the statement was being made; it can be made again")
    :format(core.quote_ident(st.name)), { sqlstate = "55000" })
  moved[err] = true
  error(err, 0)
end

-- Whether it is all as nearly always: nothing of the connection is in doubt, and nothing its own.
local function is_meant(conn, st)
  return conn.key == st.space and conn.path_known and conn.role_known
    and not (conn.own or conn.pending or conn.own_home)
end

local function check(conn, st)
  if not is_meant(conn, st) then table_state.check_meaning(conn, st) end
end

local function run_meant(conn, st, sql, how, target, ...)
  if not is_meant(conn, st) then table_state.check_meaning(conn, st) end
  return conn:run(sql, how, target, ...)
end

local function run_list_meant(conn, st, sql, how, target, list, n)
  if not is_meant(conn, st) then table_state.check_meaning(conn, st) end
  return conn:run_list(sql, how, target, list, n)
end

local function simple_meant(conn, st, sql)
  check(conn, st)
  return conn:simple(sql)
end

-- Also of the other tables of the statement: { st =, … } of each.
local function run_meant_all(conn, st, uses, sql, how, target, list, n)
  check(conn, st)
  for _, use in ipairs(uses) do check(conn, use.st) end
  return conn:run_list(sql, how, target, list, n)
end

local function are_meant(conn, of)
  for _, use in ipairs(of.uses) do
    if not is_meant(conn, use.st) then return false end
  end
  return is_meant(conn, of.st)
end

-- What may go with the statements of others.
trip.asks[run_meant] = function(st, sql, how, target, ...)
  return sql, how, target, { ... }, select("#", ...), is_meant, st
end
trip.asks[run_list_meant] = function(st, sql, how, target, list, n) return sql, how, target, list, n, is_meant, st end
trip.asks[run_meant_all] = function(st, uses, sql, how, target, list, n)
  return sql, how, target, list, n, are_meant, { st = st, uses = uses }
end

-- Where a list of arguments has the tables that stand in a value of its statement.
local USES = {}
table_state.USES = USES

local MOST_TARGETS = 64

--- What rows become that a statement gave which stood under more filters than those of its first Table: they remember all.
---@param target table  st.link or st.plain
---@param all table?
function table_state.under(target, all)
  if not target.state or not all or filters.beside(target.filters, all) == target.filters then return target end
  target.under = target.under or bounded.new(MOST_TARGETS)
  local key = filters.key(all)
  local known = target.under.kept[key]
  if known then return known end
  local copy = {}
  for name, value in pairs(target) do copy[name] = value end
  copy.filters, copy.under = all, nil
  return target.under:keep(key, copy)
end

--- Raises where what was recorded (fastpg.table.recorder) would mean something else on this connection.
---@param item { st: table, uses: table[]? }
function table_state.check_recorded(conn, item)
  check(conn, item.st)
  for _, use in ipairs(item.uses or {}) do check(conn, use.st) end
end

--- Runs SQL that was built of the state: Connection.run.
function table_state.run(st, sql, how, target, ...)
  if recorder.count > 0 then
    local pending = recorder.note(st, nil, sql, how, target, { ... }, select("#", ...))
    if pending then return pending end
  end
  return st.db:on_connection(run_meant, st, sql, how, target, ...)
end

--- The same with the arguments in a list.
---@param uses table[]?  the tables of the statement, where there may be others than its first
function table_state.run_list(st, sql, how, target, list, n, uses)
  uses = uses or list[USES]
  if recorder.count > 0 then
    local pending = recorder.note(st, uses, sql, how, target, list, n)
    if pending then return pending end
  end
  if uses and uses[1] then return st.db:on_connection(run_meant_all, st, uses, sql, how, target, list, n) end
  return st.db:on_connection(run_list_meant, st, sql, how, target, list, n)
end

--- The same of a statement that only reads, which a replica may answer.
---@param marked boolean?  the query says that one is to (q:on_replica)
function table_state.read_list(st, sql, how, target, list, n, uses, marked)
  local db = st.db
  if not db.root.servers or recorder.count > 0 or not db:reads_apart(marked) then
    return table_state.run_list(st, sql, how, target, list, n, uses)
  end
  uses = uses or list[USES]
  if uses and uses[1] then return db:on_replica(nil, run_meant_all, st, uses, sql, how, target, list, n) end
  return db:on_replica(nil, run_list_meant, st, sql, how, target, list, n)
end

local function run_batch(conn, items, receive)
  for _, item in ipairs(items) do
    for _, use in ipairs(item.uses) do table_state.check_meaning(conn, use.st) end
  end
  batch.run(conn, function(prepare)
    for _, item in ipairs(items) do item.prepared = prepare(item.sql) end
  end, function(add)
    for _, item in ipairs(items) do add(item.prepared, item.args, item.n, item) end
  end, receive)
end

--- Runs several statements that only read in one round trip: each { sql =, args =, n =, uses = }.
---@param receive fun(conn: table, prepared: userdata, item: table)  called with each result, in order
function table_state.run_batch(st, items, receive)
  if recorder.count > 0 then recorder.refuse() end
  local db = st.db
  if db.root.servers and db:reads_apart() then return db:on_replica(nil, run_batch, items, receive) end
  return db:on_connection(run_batch, items, receive)
end

--- The same of a command.
function table_state.simple(st, sql)
  if recorder.count > 0 then recorder.refuse() end
  return st.db:on_connection(simple_meant, st, sql)
end

--- A stream of what build() gives: target, SQL, arguments, their number, and the tables of the statement.
---@param marked boolean?  the query says that a replica is to give it
function table_state.open_stream(st, build, marked)
  if recorder.count > 0 then recorder.refuse() end
  local uses
  local db = st.db
  local function built()
    local target, sql, list, n
    target, sql, list, n, uses = build()
    return target, sql, list, n
  end
  return db:open_built_stream(built, function(conn)
    check(conn, st)
    for _, use in ipairs(uses or {}) do check(conn, use.st) end
  end, db.root.servers and db:reads_apart(marked))
end

--- Calls fn(...) on one connection, where it could otherwise not be known what its names mean when it ends.
function table_state.on_one_connection(st, fn, ...)
  if not st.db.catalog or not st.db.catalog.many or st.db:bound_connection() then return fn(...) end
  return st.db:on_one_connection(fn, ...)
end

-- ---- once more ------------------------------------------------------------------------------

local TRIES = 4 -- on a connection whose meaning others go on changing

-- What the server says where a relation is not what it was taken for: an unknown column, table or constraint to
-- conflict with, a type without that operator, no table any more, a column that is generated now.
local STALE = {
  ["42703"] = true, ["42P01"] = true, ["42P10"] = true, ["42883"] = true, ["42804"] = true, ["42809"] = true,
  ["3F000"] = true, ["428C9"] = true, ["42846"] = true,
}

-- After a failure that may be due to what is remembered: it is forgotten.  Whether the relation turns out to be
-- another one, and the call may be made once more: not where something was sent in a transaction, which is lost.
local function is_other_now(st, before, err)
  if not errors.is_error(err) then return false end
  local unsent = catalog.is_doubtful(err)
  if not before or not unsent and not STALE[err.sqlstate] then return false end
  table_state.doubt(st)
  local conn = st.db:bound_connection()
  if conn and not unsent and conn.c:transaction_status() ~= "idle" then return false end
  local ok, rel = pcall(table_state.resolve, st)
  return ok and not relation.is_same(before, rel)
end

--- Runs fn(...), which gives one value and changes nothing where it fails.  Where it fails because the relation is
--- not what it was, the relation is looked up again and fn runs once more.
---@param st table  the state that fn runs on
function table_state.steady(st, fn, ...)
  local before = st.rel
  local ok, result = pcall(fn, ...)
  if ok then return result end
  for _ = 2, TRIES do
    if not moved[result] then break end
    if not st.db:bound_connection() then return st.db:on_one_connection(fn, ...) end
    ok, result = pcall(fn, ...)
    if ok then return result end
  end
  if not is_other_now(st, before, result) then error(result, 0) end
  return fn(...)
end

--- Whether what was recorded may be recorded anew after that failure, and why: "moved", on one connection; "other", its
--- relation is another one by now.
---@param item { st: table, rel: table }
function table_state.may_record_again(item, err)
  if moved[err] then return "moved" end
  return is_other_now(item.st, item.rel, err) and "other" or nil
end

local steady, current = table_state.steady, table_state.current

--- Makes methods of functions that take a state, and lets them run so.
---@param methods table<string, function>
---@param fns table<string, fun(st: table, ...): any>
---@param check_self fun(self: any, name: string): table  the state of a method's object
function table_state.add_steady(methods, fns, check_self)
  for name, fn in pairs(fns) do
    methods[name] = function(self, ...)
      local st = check_self(self, name)
      return steady(st, fn, st, ...)
    end
  end
end

--- Lets methods run so.
---@param methods table<string, function>
---@param state_of fun(self: any): table?  the state of a method's object
function table_state.make_steady(methods, state_of, ...)
  for _, name in ipairs{ ... } do
    local method = methods[name]
    methods[name] = function(self, ...)
      local st = state_of(self)
      if not st then return method(self, ...) end -- which says so
      return steady(current(st), method, self, ...)
    end
  end
end

-- SQL that carries values, a query or a column in the place of a value: the builder leaves a mark, and the value in the list.
local RAWS = core.raws_key
table_state.RAWS = RAWS
local MARK = "\1fastpg%d\1"

-- What stands in a statement beside a Table that is not filtered may be filtered only by what that does not have.
local function check_beside(st, uses)
  for _, use in ipairs(uses) do
    for column in pairs(use.filters or {}) do
      if st.rel.index[column] and not (st.filters and st.filters[column] ~= nil) then
        errors.argument("%s is not filtered by %s, and a Table that is stands beside it: filter it too (xtra or scope)",
          st.rel.ref, core.quote_ident(column))
      end
    end
  end
end

-- Writes them where their marks are: SQL, the number of arguments, the tables in it.
local function put_raws(w, sql, raws)
  local from = 1
  for i, value in ipairs(raws) do
    local first, last = sql:find(MARK:format(i), from, true)
    w:put(sql:sub(from, first - 1))
    w:operand(value, "a value")
    from = last + 1
  end
  w:put(sql:sub(from))
end

-- w: the writer of the statement around, which sees to it that every table in it is confined.
local function complete(st, sql, args, n, w)
  local raws = args[RAWS]
  args[RAWS] = nil
  local text
  if w then
    w.n = n
    text = w:aside(function() put_raws(w, sql, raws) end)
  else
    w = filters.settle(st.filters or nil, function(known)
      local one = writer.new(table_state.standard_strings(st), known and filters.check_fragment or nil, args, n)
      one.inherited, one.is_settled = known, true
      text = one:aside(function() put_raws(one, sql, raws) end)
      return one
    end)
  end
  check_beside(st, w.uses)
  if w.uses[1] then args[USES] = w.uses end
  return text, w.n, args
end

-- Every value that a statement gets comes through here, so this is where SQL in place of a value is checked on a
-- filtered Table.  A column that the relation does not know is looked up once more before it is an error.  (A builder
-- that meets one has not touched its arguments.)
local function build(st, writer_around, method, call, args, ...)
  for attempt = 1, 2 do
    local rel = table_state.resolve(st)
    if st.filters then check_values(select("#", ...) + 1, args, ...) end
    local sql, n, list = call(rel.core, rel.core[method], st.filters, args, ...)
    if sql then
      if list[RAWS] then return complete(st, sql, list, n, writer_around) end
      return sql, n, list
    end
    if attempt == 2 or type(n) ~= "string" then catalog.unknown_column(rel, n) end
    table_state.doubt(st)
  end
end

local function conditions(core_rel, method, _, args, n, map) return method(core_rel, args, n, map) end
local function assignments(core_rel, method, filter, args, record, n) return method(core_rel, args, record, filter, n) end
local function writing(core_rel, method, filter, args, record, overrides, ...)
  return method(core_rel, args, record, overrides, filter, ...)
end

--- Conditions of a map, behind n arguments: SQL and the new number of arguments.
function table_state.conditions(st, args, n, map) return build(st, nil, "conditions", conditions, args, n, map) end

--- What UPDATE … SET takes, for a record: SQL and the number of arguments, behind those that are there.
---@param w table  the writer of the statement
function table_state.assignments(st, record, w)
  return build(st, w, "assignments", assignments, w.args, record, w.n)
end

--- The statement that writes a record: SQL, the number of arguments, their list.
---@param args table?  what they are put into; nil: a new list
---@param method "insert"|"update"|"upsert"
---@param more any  what that builder takes behind the filters (csrc/table/sql_builder.c)
function table_state.writing(st, method, args, record, overrides, more, last)
  if table_state.is_fresh(st) and not st.filters then
    local core_rel = st.rel.core
    local sql, n, list = core_rel[method](core_rel, args, record, overrides, nil, more, last)
    if sql then
      if list[RAWS] then return complete(st, sql, list, n) end
      return sql, n, list
    end
  end
  return build(st, nil, method, writing, args, record, overrides, more, last)
end

--- The filters as conditions behind n arguments: SQL and the new number of arguments.
function table_state.filter_conditions(st, rel, args, n)
  local sql, count = rel.core:conditions(args, n, st.filters)
  if not sql then catalog.unknown_column(rel, count, "filter") end
  return sql, count
end

--- A cached statement text of this state, or nil; table_state.keep_sql keeps one.
function table_state.known_sql(st, name)
  if st.sql.filters ~= st.filters then st.sql = { filters = st.filters } end
  return st.sql[name]
end

function table_state.keep_sql(st, name, sql)
  st.sql[name] = sql
  return sql
end

--- standard_conforming_strings, as far as it is known before a connection is chosen.
function table_state.standard_strings(st)
  return st.db:strings()
end

return table_state
