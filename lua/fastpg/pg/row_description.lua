-- SPDX-License-Identifier: MIT
--
-- row_description: what a result is read by: its own description, and types as they are now.
--
-- Things that are remembered can be wrong by the time that they are used, or not be known:
--
--   columns    FETCH, EXECUTE and their like give what their cursor or statement gives by now.  Each result is compared
--              with the statement's description (`outcome` in csrc/pg/result.c), and read by its own where that differs.
--   unknown    the values of a record name types that were never looked up: looked up, and read again.
--   text only  they may be of types that are read as text (money, regclass, those of extensions), and in a record have
--              their binary form only, as it was asked for: the server prints them, all of a result in one question.
--   composites another session may have altered one.  Before a statement that has some in its parameters or columns is
--              used, one look at the catalog says whether they are what they were (a renamed column shows nowhere else);
--              values name the types of their columns besides, and are read again where they are others.
--
-- Where results of a pipeline or a stream are still to come nothing can be looked up: they are put aside until all are
-- there (fastpg.pg.batch, fastpg.pg.stream).

local error, ipairs, pairs, pcall, setmetatable = error, ipairs, pairs, pcall, setmetatable

local errors = require "fastpg.base.errors"

local row_description = {}

local methods = {}

local ATTEMPTS = 3 -- with types looked up anew each time

-- Between statements, that is; not while an unnamed one waits to be run.
local function can_look_up(self)
  return self.types and not self.c:busy() and self.c:transaction_status() ~= "inerror"
end

local function weak() return setmetatable({}, { __mode = "k" }) end

-- What has to be known of a statement whose types are bound.
local function note_types(self, st)
  if st:names_types() then
    self.records = self.records or weak()
    self.records[st] = true
  end
  local list = st:composites()
  if list then
    self.composites = self.composites or weak()
    self.composites[st] = list
  elseif self.composites then
    self.composites[st] = nil
  end
end

--- Finds the types of a statement; the list of those that nobody knows, or nil.
function methods.bind_types(self, st)
  local unknown = st:bind(self.types and self.types.map)
  note_types(self, st)
  return unknown
end

-- The same, and looks them up.  (Meanwhile another coroutine may have had all types forgotten.)
local function bind_again(self, st)
  for _ = 1, ATTEMPTS do
    local unknown = self:bind_types(st)
    if not unknown then return end
    self.types:look_up(self, unknown)
  end
  self:bind_types(st)
end

-- ---- columns --------------------------------------------------------------------------------

--- Looks something up, fn(conn, ...), while the result that is there is put aside.
local function aside(self, fn, ...)
  local result = self.c:take()
  local ok, err = pcall(fn, self, ...)
  if self.c:usable() then self.c:put(result) end
  if not ok then error(err, 0) end
end
methods.aside = aside

--- The statement that reads the result that is there by its own description.  `st`, which was described with another
--- one, is forgotten.
function methods.redescribe(self, st)
  if st then self:forget(st) end
  local fresh = self.c:result_statement()
  local unknown = self:bind_types(fresh)
  if unknown and can_look_up(self) then aside(self, bind_again, fresh) end
  return fresh
end

-- ---- composite types ------------------------------------------------------------------------

-- The statement's types by what is known now; what is known of composites was wrong, unless that was found out already.
local function renew(self, st)
  local types = self.types
  if st:shape().typemap == types.map then types:reset() end
  bind_again(self, st)
end

-- The composite types of a statement that were not looked at for it, or nil.  An anonymous record may hold any of those
-- that are known; one that is not is looked up when it is there.
local function unsure(self, st)
  local list = self.composites and self.composites[st]
  if not list then return nil end
  local seen, found = self.looked_at or {}, {}
  for _, oid in ipairs(list) do
    if not seen[oid] then found[#found + 1] = oid end
  end
  if list.any then
    for oid in pairs(self.types.composites) do
      if not seen[oid] then found[#found + 1] = oid end
    end
  end
  return found[1] and found or nil
end

--- Whether there are any.
function methods.is_unsure(self, st)
  return self.types ~= nil and unsure(self, st) ~= nil
end

--- Makes sure that the types of a statement, which is to be used now, are known, and as they are.
---@param unknown any  true: there are some that are not known
function methods.verify(self, st, unknown)
  local types = self.types
  if not can_look_up(self) then return end
  if unknown or st:shape().typemap ~= types.map then bind_again(self, st) end
  local list = unsure(self, st)
  if list and not types:are_current(self, list) then renew(self, st) end
end

-- ---- what is read as text only --------------------------------------------------------------

local AT_ONCE = 500 -- values that the server prints in one statement

-- Types that the server sends and does not take: pg_node_tree, statistics, summaries of BRIN indexes.
local NOT_TAKEN = { [194] = true, [3361] = true, [3402] = true, [5017] = true, [4600] = true, [4601] = true }

-- Has the server print values, each four bytes of a type's oid and the value in binary.
local function print_values(self, values)
  local c, texts = self.c, {}
  local digits = self:begin_digits()
  for first = 1, #values, AT_ONCE do
    local piece = {}
    for i = first, math.min(#values, first + AT_ONCE - 1) do piece[#piece + 1] = values[i] end
    c:send_printing(piece)
    self:complete "SELECT $1"
    for i, text in ipairs(c:texts()) do texts[piece[i]] = text end
  end
  if digits then self:end_digits(digits) end
  local style = c:parameter "DateStyle"
  c:text_style(style, style, false)
  return texts
end

-- Reads the result, or a copy of it, with these texts; so that they are gone whatever happens.
local function read_with(self, texts, result, is_copy, fn, ...)
  local c = self.c
  c:put(result, is_copy)
  c:set_texts(texts)
  local function done(...)
    if c:usable() then c:set_texts(nil) end
    return ...
  end
  return done(pcall(fn, ...))
end

-- ---- fetching -------------------------------------------------------------------------------

local read

-- Reads a result a first time to see what the server has to be asked for, then with that.
local function read_printed(self, st, fetch, target, tried, err)
  local result, wanted = self.c:take(), { [0] = 0 }
  local ok, problem = read_with(self, wanted, result, true, fetch, self, st, target)
  if not ok then return false, problem end
  for _, value in ipairs(wanted) do
    local a, b, c, d = value:byte(1, 4)
    if NOT_TAKEN[((a * 256 + b) * 256 + c) * 256 + d] then error(err, 0) end
  end
  tried.text_only = true
  return read_with(self, print_values(self, wanted), result, false, fetch, self, st, target)
end

local function finish_reading(self, st, fetch, target, tried, ok, ...)
  if ok then return ... end
  local err = ...
  local unknown, stale, text_only = nil, nil, nil
  if errors.is_error(err) then unknown, stale, text_only = err.unknown_type, err.stale_type, err.text_only end
  if not (unknown or stale or text_only) or not can_look_up(self) then error(err, 0) end
  if stale and tried.stale == ATTEMPTS and self.c:transaction_status() ~= "idle" then
    err.hint = "The type was altered after the transaction's snapshot was taken: the transaction can run again."
  end
  if unknown and unknown == tried.unknown or stale and tried.stale == ATTEMPTS then error(err, 0) end
  if text_only then
    if tried.text_only then error(err, 0) end
    return finish_reading(self, st, fetch, target, tried, read_printed(self, st, fetch, target, tried, err))
  elseif stale then
    tried.stale = tried.stale + 1
    aside(self, renew, st)
  else
    tried.unknown = unknown
    aside(self, function() self.types:look_up(self, { unknown }) end)
  end
  return read(self, st, fetch, target, tried)
end

function read(self, st, fetch, target, tried)
  return finish_reading(self, st, fetch, target, tried, pcall(fetch, self, st, target))
end

--- Whether the values of a statement's result name types.
function methods.names_types(self, st)
  return self.records ~= nil and self.records[st] ~= nil
end

--- Whether a result that could not be read can be, once all results that are to come are there.
function methods.is_readable_later(self, err)
  return errors.is_error(err) and (err.unknown_type or err.stale_type or err.text_only) ~= nil and self.types ~= nil
    and self.c:usable() and self.c:busy()
end

--- Fetches the result of a statement that has just ended.
function methods.fetch(self, st, fetch, target)
  if self.records and self.records[st] then return read(self, st, fetch, target, { stale = 0 }) end
  return fetch(self, st, target)
end

-- The functions of the server that refuse a composite value whose columns are others than the type's.
local READERS = { record_recv = "42804", record_in = "22P02" }

--- Whether a statement may have failed because a composite type was altered after the look at it.
function methods.is_stale_composite(self, err, st)
  if not (st and self.composites and self.composites[st]) then return false end
  return READERS[err.source_function] == err.sqlstate
end

--- Adds them to the methods of a connection.
function row_description.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return row_description
