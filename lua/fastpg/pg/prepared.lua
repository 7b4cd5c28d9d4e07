-- SPDX-License-Identifier: MIT
--
-- prepared: the prepared statements of one connection.
--
-- A text's statement is made on the server at its first use and kept, until there are as many as
-- statement_cache_size: then the one used least recently is forgotten, and closed together with the next
-- Parse, or before a transaction: inside of one DEALLOCATE, a command, would take the user's snapshot.
-- Without a cache the unnamed statement serves, for one use each.
--
-- Their names begin by chance: a pooler may give one server's connection to many clients, and a name that two of them
-- used would run another's statement.  So it can only be missing (26000), never be somebody else's.

local error, ipairs, next, pairs, setmetatable, tostring = error, ipairs, next, pairs, setmetatable, tostring

local changes = require "fastpg.sql.changes"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local rows = require "fastpg.value.rows"
local session_use = require "fastpg.pg.session_use"
local transaction_control = require "fastpg.pg.transaction_control"

local prepared = {}

-- A statement is kept under its text, and at a place of its own, by which the core tells which was used last
-- (csrc/pg/recent.h).
local function keep(self, sql, st)
  self.statements[sql] = st
  self.places[self.c:keep_statement(st)] = { sql = sql, st = st, session = self.session }
  self.count = self.count + 1
end

-- Forgets one that is still there on the server, of the session of that key.
local function forget(self, session, sql, st)
  local statements = self.caches[session]
  statements[sql] = nil
  local place = self.c:drop_statement(st)
  if place then self.places[place] = nil end
  self.count = self.count - 1
  if self.pooler ~= "transaction" then self.dead[#self.dead + 1] = (st:info()) end -- (a pooler knows it by another name)
  if statements ~= self.statements and next(statements) == nil then self.caches[session] = nil end
end

-- Makes room for one more: the least recently used statement goes.
local function evict(self)
  if self.count < self.cache_size then return end
  local oldest = self.places[self.c:oldest_statement()]
  forget(self, oldest.session, oldest.sql, oldest.st)
  self.counts.evicted = self.counts.evicted + 1
end

local prepare

-- What the text of its result depends on, where it comes as text.
local function note_text(self, st)
  local needs = st:text_needs()
  if needs ~= 0 then
    self.textual = self.textual or setmetatable({}, { __mode = "k" })
    self.textual[st] = needs
  end
  return st
end

-- Types that a statement has and nobody knows yet, or that may be others by now.  The unnamed statement does not
-- outlive the look-up: it is prepared again.
local function look_up_types(self, st, name, sql, unknown, oids, alone)
  if name == "" then self:settle() end
  self:verify(st, unknown)
  if name == "" then return prepare(self, name, sql, oids, false, alone) end
  return note_text(self, st)
end

-- Parse and Describe, before them the end of what is dead.  `oids`: of parameters, 0 for what the server finds; `soft`: where it
-- can't tell a type, nil and the error come back; `alone`: it is not run, and nothing of it stays open.
function prepare(self, name, sql, oids, soft, alone)
  local c, dead = self.c, self.dead
  local drop = name ~= "" and #dead > 0 and c:can_close()
  c:send_prepare(name, sql, drop and dead or nil, oids, alone)
  if drop then self.dead = {} end
  self:drive()
  local err = self:outcome()
  if err then err.commit_unknown = nil end -- nothing ran
  local late = not err and self:late_reason() -- what it is for has not begun
  if not err and not late then
    local st = c:make_statement(name)
    self:note_duplicates(st)
    self:watch_path(st, sql)
    local unknown = self:bind_types(st)
    if not unknown and not self:is_unsure(st) or not self.types or c:transaction_status() == "inerror" then
      return note_text(self, st)
    end
    return look_up_types(self, st, name, sql, unknown, oids, alone)
  end
  self:settle()
  if late then
    if name ~= "" and self.pooler ~= "transaction" then self.dead[#self.dead + 1] = name end
    error(errors.annotate(late, sql), 0)
  end
  if drop and err.sqlstate == "26000" and c:transaction_status() == "idle" then
    -- what was to be deallocated is gone already, and the rest with it; the new one may be there
    self:forget_all(false)
    self.serial = self.serial + 1
    return prepare(self, self.prefix .. self.serial, sql, oids, soft, alone)
  end
  if soft and self.is_untyped(err) then return nil, errors.annotate(err, sql) end
  error(errors.annotate(err, sql), 0)
end

-- What was looked at for the statement before may be others by now.
local function prepare_now(self, name, sql, oids, soft, alone)
  self.looked_at = nil
  return prepare(self, name, sql, oids, soft, alone)
end

-- What gives the rows of a cursor or of a statement that the user prepared: each time it is described anew.  And
-- what holds 'now' or 'today', which would stay what it was when the statement was prepared.
local UNSTEADY = { FETCH = true, EXECUTE = true }

-- (is never kept, so that a batch always looks)
local function sets_encoding(one)
  local words = one.words
  if one.verb ~= "SET" then return false end
  local name = (words[(words[2] == "LOCAL" or words[2] == "SESSION") and 3 or 2] or ""):lower()
  return name == "client_encoding" or name == "names"
end

local function is_unsteady(self, sql)
  local first = core.statements(sql, self.standard_strings)[1]
  return first and (UNSTEADY[first.verb] or sets_encoding(first)) or core.names_moment(sql, self.standard_strings)
end

-- ---- methods of a connection -----------------------------------------------------------------

local methods = {}

--- Notes a statement whose result has two columns of one name.
function methods.note_duplicates(self, st)
  if self.duplicates == "last" or not st:shape().duplicates then return end
  self.doubled = self.doubled or setmetatable({}, { __mode = "k" })
  self.doubled[st] = true
end

--- Raises before such a statement is run where its rows would be fetched by name.
function methods.check_duplicates(self, st, how)
  if not self.doubled[st] or not fetch.keyed[how] then return end
  if st == self.unnamed then
    self.unnamed = nil
    self:settle()
  end
  rows.refuse_duplicates(st:shape())
end

methods.is_unsteady, methods.note_text = is_unsteady, note_text

--- Whether a text that runs where sessions are shared has to be looked at each time.
function methods.uses_session(self, sql)
  return self.sharing and session_use.of(sql, self.standard_strings) and true or false
end

--- Forgets every statement; `deallocate`: they still exist on the server.
function methods.forget_all(self, deallocate)
  self:forget_descriptions()
  deallocate = deallocate and self.pooler ~= "transaction"
  for _, place in pairs(self.places) do
    self.c:drop_statement(place.st)
    if deallocate then self.dead[#self.dead + 1] = (place.st:info()) end
  end
  if not deallocate then self.dead = {} end
  self.by_values = nil
  self.statements, self.places, self.count = {}, {}, 0
  self.caches = { [self.session] = self.statements }
end

--- Forgets the statements whose texts may name one of these relations.
---@param names table<string, boolean>  (fastpg.sql.changes)
function methods.forget_mentions(self, names)
  self:forget_descriptions(names)
  for _, place in pairs(self.places) do
    if changes.mentions(names, place.sql) then forget(self, place.session, place.sql, place.st) end
  end
end

--- Forgets the statements of the session as it is: there will be no other like it.
function methods.drop_session(self)
  for sql, st in pairs(self.statements) do forget(self, self.session, sql, st) end
end

local MOST_DEAD = 10 -- a round trip for so many is cheap

--- Before a transaction begins, in which there may be no place for it: closes the statements that are forgotten.
function methods.bury(self)
  local dead, c = self.dead, self.c
  if #dead < MOST_DEAD or not c:can_close() then return end
  self.dead = {}
  c:send_closes(dead)
  self:drive()
  local err = self:outcome()
  if not err then return end
  if err.sqlstate ~= "26000" then error(errors.annotate(err), 0) end
  self:forget_all(false) -- they are gone already, and the rest with them
end

--- Forgets one statement.
function methods.forget(self, st)
  local at = self.c:drop_statement(st)
  local place = at and self.places[at]
  if not place then return end
  self.places[at] = nil
  forget(self, place.session, place.sql, st)
end

--- What is known of the cache: adds to a table of numbers `hits` (a kept statement ran once more), `misses` (a text had
--- none), `prepared` (so many were made to be kept) and `evicted`.
---@param sums table<string, number>
function methods.add_counts(self, sums)
  local counts = self.counts -- by their names: a collector may be who calls this, and there LuaJIT's compiled `pairs` may not end
  sums.hits = sums.hits + self.c:hits()
  sums.misses, sums.prepared = sums.misses + counts.misses, sums.prepared + counts.prepared
  sums.evicted = sums.evicted + counts.evicted
end

--- The unnamed statement, for one use: its pipeline stays open until that (see csrc/pg/conn.h), so that
-- behind a pooler both happen on the same server connection.
function methods.unnamed_statement(self, sql, key, oids, soft)
  if self.in_transaction then transaction_control.check(self, sql) end
  if self.sharing then session_use.check(self, sql) end
  local err
  self.unnamed, err = prepare_now(self, "", sql, oids, soft)
  if self.unnamed then self:note_description(sql, key, self.unnamed, oids) end
  return self.unnamed, err
end

-- Of those that can't be closed before the transaction's end (MOST_DEAD for the time after it): texts that come then
-- have no named statement.
local MOST_OPEN = 1000

local function is_full(self)
  return #self.dead >= MOST_OPEN and not self.c:can_close()
end

-- What may have to be looked at when a statement is run.
local NOTES = { "doubled", "textual", "composites", "records", "path_setters" }

-- Whether there is nothing of that: such a one is sent without further ado (Connection:run).
local function is_plain(self, st)
  for _, name in ipairs(NOTES) do
    local notes = self[name]
    if notes and notes[st] then return false end
  end
  return true
end

-- Counts a text without a statement, and says whether the one that is made can be kept.
local function may_keep(self)
  self.counts.misses = self.counts.misses + 1
  return self.cache_size ~= 0 and self.c:transaction_status() ~= "inerror" and not is_full(self)
end

local function new_name(self)
  evict(self)
  self.serial = self.serial + 1
  return self.prefix .. self.serial
end

--- The name of a new statement, for which there is room; "" where it can't be kept.
function methods.name_to_keep(self)
  return may_keep(self) and new_name(self) or ""
end

--- Keeps the statement of such a name under a key.
function methods.keep_statement(self, key, st)
  self.counts.prepared = self.counts.prepared + 1
  keep(self, key, st)
end

--- A statement of that name, which is not kept, is on the server.
function methods.note_dead(self, name)
  if name ~= "" and self.pooler ~= "transaction" then self.dead[#self.dead + 1] = name end
end

--- The prepared statement of this text, made on the server (one round trip) when it is new.
--- Where there is no cache, or nothing but a rollback would be heeded, it is the unnamed one; of COMMIT and its like
--- too, at which fastpg.pg.transaction_control looks each time.
---@param sql string
---@param key string?  what it is kept under: by default its text (fastpg.pg.value_types)
---@param oids integer[]?  types of parameters
---@param soft boolean?  where the server can't tell a type, nil and the error come back
function methods.statement(self, sql, key, oids, soft)
  key = key or sql
  local st = self.statements[key]
  if st then
    local composites = self.composites
    if composites and composites[st] then
      self.looked_at = nil
      self:verify(st)
    end
    return st
  end
  if not may_keep(self) or transaction_control.is_control(self, sql) or is_unsteady(self, sql)
    or self.sharing and session_use.of(sql, self.standard_strings) then
    return methods.unnamed_statement(self, sql, key, oids, soft)
  end
  if self.sharing then session_use.check(self, sql) end
  local err
  st, err = prepare_now(self, new_name(self), sql, oids, soft)
  if not st then return nil, err end
  if is_plain(self, st) then st:set_plain() end
  self:keep_statement(key, st)
  return st
end

--- Lets the server check a text, which is not run now: its statement is made, or found.  An unnamed one serves
--- for one use only: this was it, and nothing of it stays open.
function methods.describe(self, sql, key, oids, soft)
  local st, err = methods.statement(self, sql, key, oids, soft)
  if st and st == self.unnamed then
    self.unnamed = nil
    self:settle()
  end
  return st, err
end

--- What a text is, which is not run: no statement of it stays.
function methods.describe_alone(self, sql, oids) return prepare_now(self, "", sql, oids, true, true) end

-- What comes behind it would be read, and written, in another encoding, before anybody is told.
local function refuse_encoding(self, sql)
  local first = core.statements(sql, self.standard_strings)[1]
  if first and sets_encoding(first) then
    errors.raise("feature_not_supported", ("client_encoding is %s on every connection: a batch can't set it"):format(self.encoding))
  end
end

--- What a batch needs of a statement: a named one that is not evicted while `used` others are, or
--- only its description, where the cache has no room; of these arguments, where they are given.
---@param list table?
---@param n integer?
function methods.statement_of_batch(self, sql, used, list, n)
  if not self.statements[sql] then
    transaction_control.check_batch(self, sql)
    refuse_encoding(self, sql)
    if self.sharing then session_use.check(self, sql) end
  end
  local is_kept = used < self.cache_size and not is_unsteady(self, sql)
  local function make(conn, text, key, oids, soft)
    local st, err
    if is_kept then
      st, err = methods.describe(conn, text, key, oids, soft)
      if st then conn.c:touch(st) end
      return st, err
    end
    local known = conn:description(key or text)
    if known then return known.st end
    conn.counts.misses = conn.counts.misses + 1
    st, err = prepare_now(conn, "", text, oids, soft, true)
    if st then conn:note_description(text, key, st, oids) end
    return st, err
  end
  if list and n > 0 then return self:statement_for(sql, list, n, make) end
  return make(self, sql)
end

-- The statement is not what the server has any more: its plan's result changed (the server says so
-- in its own function's name, in every language), or it was deallocated behind our back.
function methods.is_stale_plan(err)
  return err.sqlstate == "0A000" and err.source_function == "RevalidateCachedQuery"
    or err.sqlstate == "26000"
end

local LOOKS_HINT = "The statement was prepared on another connection of the server, or was deallocated there: "
  .. session_use.LOOKS .. ". Or with statement_cache_size = 0 alone, which needs no named statements."
local POOLER_HINT = "The pooler does not know the names of prepared statements: that takes PgBouncer 1.21 or later with "
  .. "max_prepared_statements. Connect with statement_cache_size = 0."

-- The functions of the server that find that a type inside of another value has no binary form.
local WRITERS = { getTypeBinaryOutputInfo = true, array_send = true, get_range_io_data = true }

--- Where the server does not know a name that was made here, or knows it already, somebody stands between.  What a record
--- holds shows only when it is there, too late to ask for its text.
function methods.explain(self, err)
  local code = err.sqlstate
  if code == "42883" and WRITERS[err.source_function] and not err.hint then
    err.hint = "The values of an anonymous record are asked for in binary, which the type has no form for: cast it to text."
  end
  if (code == "26000" or code == "42P05") and not err.hint and tostring(err.message):find(self.prefix, 1, true) then
    err.hint = self.pooler == "transaction" and POOLER_HINT or LOOKS_HINT
  end
end

--- After a failed statement: whether it may run once more from a fresh Parse.
function methods.may_retry(self, err, st)
  if self:is_outdated(err, st) then return true end
  if not methods.is_stale_plan(err) and not self:is_stale_composite(err, st) then return false end
  self:forget_all(err.sqlstate ~= "26000")
  if self.on_ddl then self.on_ddl() end
  if self.c:transaction_status() == "idle" then return not self.retrying end
  err.hint = err.hint or "The table was changed by another session; the transaction can run again."
  return false
end

--- Adds them to the methods of a connection.
function prepared.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return prepared
