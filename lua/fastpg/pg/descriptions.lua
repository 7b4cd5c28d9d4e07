-- SPDX-License-Identifier: MIT
--
-- descriptions: what statements without a name were found to be, kept by their texts.
--
-- Where nothing is prepared under a name (statement_cache_size = 0: behind poolers) a text is parsed each time it runs.  What
-- its parameters and columns are need not be asked each time:
--
--   new text     Parse, Describe ──▶ types ──▶ Bind, Execute, Sync      two round trips; of a batch two for all of its texts
--   known text   Parse with the types that it was found to have, Bind, Execute, Sync      one
--
-- The types of parameters are declared, so values are what they are encoded as, also where a table is another by now; what a
-- result holds is told by itself (fastpg.pg.row_description).  Where the types are no longer right the server refuses the
-- statement, and it runs once more from a new description.
--
-- Not kept is what has to be looked at each time: rows of composite types and records, FETCH, EXECUTE, BEGIN and its like.

local ipairs, next, pairs, pcall, setmetatable = ipairs, next, pairs, pcall, setmetatable

local bounded = require "fastpg.base.bounded"
local changes = require "fastpg.sql.changes"
local errors = require "fastpg.base.errors"
local transaction_control = require "fastpg.pg.transaction_control"

local descriptions = {}

local MOST_TEXTS = 500
local LEARNED_AT_ONCE = 64 -- texts

local LOOKED_AT = { "composites", "records", "path_setters" }

local methods = {}

local function key_of(self, key) return self.session .. "\0" .. key end

--- Whether texts go without a name, and are described for that alone.
local function is_nameless(self) return self.cache_size == 0 end

local function is_lasting(self, sql, st)
  for _, name in ipairs(LOOKED_AT) do
    local notes = self[name]
    if notes and notes[st] then return false end
  end
  return not (self:is_unsure(st) or transaction_control.is_control(self, sql) or self:is_unsteady(sql) or self:uses_session(sql))
end

--- Keeps what an unnamed statement was found to be.
---@param key string?  what it is kept under: by default its text
---@param declared integer[]?  types of parameters that were said
function methods.note_description(self, sql, key, st, declared)
  if not is_nameless(self) or not is_lasting(self, sql, st) then return end
  self.described = self.described or bounded.new(MOST_TEXTS)
  self.described:keep(key_of(self, key or sql), { st = st, sql = sql, oids = st:param_oids(), declared = declared })
end

--- What is known of a text: { st =, oids = }, or nil.
function methods.description(self, key)
  local described = self.described
  local found = described and described.kept[key_of(self, key)]
  if not found then return nil end
  self.recalled = self.recalled or setmetatable({}, { __mode = "k" })
  self.recalled[found.st] = true
  return found
end

--- Forgets all of them, or those that may name one of these relations.
---@param names table<string, boolean>?
function methods.forget_descriptions(self, names)
  local described = self.described
  if not described then return end
  if not names then
    self.described = nil
    return
  end
  for key, one in pairs(described.kept) do
    if changes.mentions(names, one.sql) then described:remove(key) end
  end
end

--- Forgets that of a statement.
function methods.forget_description(self, st)
  local described = self.described
  for key, one in pairs(described and described.kept or {}) do
    if one.st == st then described:remove(key) end
  end
end

local function entry_of(self, st)
  local described = self.described
  for _, one in pairs(described and described.kept or {}) do
    if one.st == st then return one end
  end
  return nil
end

local function is_same(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

-- A value of a type that a parameter is no more: what the server says of it, or of the statement.
local function may_be_of_types(code)
  local class = code:sub(1, 2)
  return class == "42" or class == "22" or code == "08P01"
end

--- After an error of a statement that was sent by what was known: whether its parameters have other types by now.  It is
--- described anew for that: what failed for another reason does not run again.
function methods.is_outdated(self, err, st)
  if not (st and err.sqlstate and self.recalled and self.recalled[st] and may_be_of_types(err.sqlstate)) then return false end
  local known = entry_of(self, st)
  self:forget_description(st)
  if not known or self.retrying or self.c:transaction_status() ~= "idle" then return false end
  local ok, fresh = pcall(self.describe_alone, self, known.sql, known.declared)
  return ok and fresh ~= nil and not is_same(fresh:param_oids(), known.oids)
end

--- After a batch could not be sent: the same of its statements, which are forgotten then.
---@param texts table<userdata, string>
function methods.are_outdated(self, err, texts)
  if err.sqlstate or not self.described or self.retrying then return false end
  local found = false
  for st in pairs(texts) do
    if self.recalled and self.recalled[st] then
      found = true
      self:forget_description(st)
    end
  end
  return found
end

-- ---- several at once --------------------------------------------------------------------------

local function send_all(c, texts)
  c:batch()
  for _, sql in ipairs(texts) do
    c:send_parse(sql)
    c:send_describe()
  end
  c:send_sync()
end

-- The statements that were described, up to the first error; that error, and of which text.
local function receive_all(self, texts)
  local c, found, failure, at = self.c, {}, nil, 0
  repeat
    local reached = self:drive()
    if reached ~= "sync" then
      at = at + 1
      local err = self:outcome()
      if err and not failure then
        failure = err
        failure.commit_unknown = nil -- nothing ran
      elseif not failure and at % 2 == 0 then
        found[at / 2] = c:make_statement ""
      end
    end
  until reached == "sync" or not c:busy()
  local err = self:outcome()
  return found, failure or err, #found + 1 <= #texts and #found + 1 or nil
end

local function learn(self, texts)
  send_all(self.c, texts)
  local found, failure, at = receive_all(self, texts)
  for i, st in ipairs(found) do
    self:note_duplicates(st)
    self:watch_path(st, texts[i])
    if not self:bind_types(st) then self:note_description(texts[i], nil, self:note_text(st)) end -- else its types are looked up
  end
  return failure, at
end

--- Before a batch: has all of its texts that are not known described in one round trip.  What can't be is left to whoever
--- prepares it, but in a transaction, which is over then.
---@param texts string[]
---@return table? err  in a transaction: of what could not be described
---@return string? text
function methods.learn(self, texts)
  if not is_nameless(self) then return end
  local new, seen = {}, {}
  for _, sql in ipairs(texts) do
    if not seen[sql] and not self:description(sql) and not self:goes_by_values(sql) and not self:uses_session(sql)
      and not transaction_control.is_control(self, sql) and not self:is_unsteady(sql) then
      seen[sql], new[#new + 1] = true, sql
    end
  end
  if #new < 2 then return end
  for first = 1, #new, LEARNED_AT_ONCE do
    local some = {}
    for i = first, math.min(first + LEARNED_AT_ONCE - 1, #new) do some[#some + 1] = new[i] end
    local failure, at = learn(self, some)
    if failure and self.c:transaction_status() ~= "idle" then return errors.annotate(failure, some[at or 1]), some[at or 1] end
    if failure then return end
  end
end

--- Adds them to the methods of a connection.
function descriptions.extend(Connection)
  for name, method in next, methods do Connection[name] = method end
end

return descriptions
