-- SPDX-License-Identifier: MIT
--
-- changes: what DDL may have made of what is remembered.
--
-- The server itself plans a prepared statement anew where a table of its plan was altered or dropped.  What it does not
-- notice is that a name in a text means another object by now, because one was made (or renamed, or moved) that stands
-- before the old one.  So of most DDL everything is forgotten; of what programs do all the time, no more than what
-- that may concern.  A change is
--
--   all      anything may be another
--   plans    a text may mean something else: all statements are prepared anew
--   names    relations of these names (whatever the schema) may be others
--   temps    the same, for this session alone: they are temporary
--   lasting  those of temps that outlive the transaction
--   any_temps  temporary relations of any name
--   private  all that this session alone knows may be another
--   discards  it has no temporary relations any more
--
-- Sets of names are in lower case, which is more than what is meant.  A name that can't be told for certain makes it
-- `all`.
--
-- PostgreSQL manual: "SQL Commands", "The Schema Search Path".

local ipairs, next, pairs = ipairs, next, pairs

local changes = {}

-- ---- sets of names --------------------------------------------------------------------------

local LONGEST = 60 -- the server cuts off what is longer than 63 bytes, and objects of a table may have longer names yet

-- Calls fn with what a.b.c may be: a.b.c, b.c, c.
local function each_suffix(name, fn)
  local from = 1
  while from do
    if fn(name:sub(from)) then return true end
    local dot = name:find(".", from, true)
    from = dot and dot + 1
  end
  return false
end

-- Adds a word of the lexer's; false where it can't be told what it names.
local function add(set, word)
  if not word or #word > LONGEST or word:find('[^%w_$. %-]') then return false end
  each_suffix(word:lower(), function(name) set[name] = true end)
  return true
end

--- Whether a name as it is asked for may be one of a set.
---@param name string?  nil: any
function changes.has(set, name)
  if not set then return false end
  if not name then return next(set) ~= nil end
  return each_suffix(name:lower(), function(part) return set[part] end)
end

-- Whether it may be one, or one of what the server makes along with it: t_pkey, t_id_seq.
local function concerns(set, name)
  return each_suffix(name:lower(), function(part)
    for known in pairs(set) do
      if part:sub(1, #known) == known and (#part == #known or part:sub(#known + 1, #known + 1) == "_") then return true end
    end
    return false
  end)
end

--- A test for names that a change concerns.
---@param set table<string, boolean>
---@return fun(name: string): boolean
function changes.matcher(set)
  return function(name) return concerns(set, name) end
end

local function is_part_of_name(byte) return byte and byte ~= "" and byte:find "[%w$\128-\255]" ~= nil end

local function mentions_one(text, name)
  local from = 1
  while true do
    local first, last = text:find(name, from, true)
    if not first then return false end
    local before, behind = text:sub(first - 1, first - 1), text:sub(last + 1, last + 1)
    if not is_part_of_name(before) and not is_part_of_name(behind) then return true end
    from = first + 1
  end
end

--- Whether a text may name one of them.
---@param set table<string, boolean>
function changes.mentions(set, sql)
  local text = sql:lower()
  if text:find("\\", 1, true) or text:find('u&"', 1, true) then return true end
  for name in pairs(set) do
    if mentions_one(text, name) then return true end
  end
  return false
end

-- ---- one statement --------------------------------------------------------------------------

local MODIFIERS = {
  OR = true, REPLACE = true, GLOBAL = true, LOCAL = true, TEMP = true, TEMPORARY = true, UNLOGGED = true, UNIQUE = true,
  MATERIALIZED = true, FOREIGN = true, RECURSIVE = true, CONSTRAINT = true, EVENT = true,
}
local TEMPORARY = { TEMP = true, TEMPORARY = true }

-- What kind of object it is about, where its name begins, and whether it is temporary.
local function object(words, from)
  local at, temporary = from, false
  while MODIFIERS[words[at]] do
    temporary = temporary or TEMPORARY[words[at]]
    at = at + 1
  end
  local kind = words[at]
  at = at + 1
  if words[at] == "CONCURRENTLY" then at = at + 1 end
  if words[at] == "IF" then at = at + (words[at + 1] == "NOT" and 3 or 2) end
  return kind, at, temporary
end

-- No relation, and nothing that a text is read by.
local HARMLESS = {
  STATISTICS = true, TRIGGER = true, PUBLICATION = true, SUBSCRIPTION = true, ROLE = true, USER = true, TABLESPACE = true,
  DATABASE = true, SERVER = true, DATA = true, POLICY = true,
}
local RELATIONS = { TABLE = true, VIEW = true, SEQUENCE = true }
local ROUTINES = { FUNCTION = true, PROCEDURE = true, ROUTINE = true }

local WORDS_TOLD = 12 -- that the lexer tells (csrc/sql/statements.c)

local ALL = { all = true }
local NOTHING = {}

local function has(words, wanted, from)
  for i = from or 1, #words do
    if words[i] == wanted then return i end
  end
end

-- ON COMMIT DROP, before the query whose result it is.
local function is_dropped_at_end(words, from)
  local at, as = has(words, "ON", from), has(words, "AS", from)
  return at and words[at + 1] == "COMMIT" and words[at + 2] == "DROP" and not (as and as < at)
end

local function temporary_change(word, lasts, private)
  local change = { temps = {}, private = private }
  if not add(change.temps, word) then return { all = true, any_temps = true } end
  if lasts then change.lasting = change.temps end
  return change
end

-- A relation was made: one of another table that refers to it, or is a part of it, is known with that.
local function made(word, text, temporary, dropped)
  local tied = text:find("references", 1, true) or text:find("inherits", 1, true) or text:find("partition", 1, true)
  if temporary then return temporary_change(word, not dropped, tied ~= nil) end
  local change = { names = {}, plans = true }
  return not tied and add(change.names, word) and change or ALL
end

local function is_temporary(self, word)
  return word and word:sub(1, 8):lower() == "pg_temp." or self.path:find("pg_temp", 1, true) ~= nil
end

local verbs = {}

function verbs.CREATE(self, words, text)
  local kind, at, temporary = object(words, 2)
  if RELATIONS[kind] then
    temporary = temporary or is_temporary(self, words[at])
    return made(words[at], text, temporary, is_dropped_at_end(words, at + 1))
  end
  if kind == "INDEX" then
    if words[at] == "ON" then return NOTHING end
    local change = { names = {} }
    return add(change.names, words[at]) and change or ALL
  end
  if HARMLESS[kind] then return NOTHING end
  return ROUTINES[kind] and { plans = true } or ALL
end

function verbs.DROP(_, words)
  local kind, at = object(words, 2)
  if has(words, "CASCADE", at) or #words >= WORDS_TOLD then return ALL end
  if HARMLESS[kind] then return NOTHING end
  if kind ~= "INDEX" then return ROUTINES[kind] and { plans = true } or ALL end
  local change = { names = {} }
  for i = at, #words do
    if not add(change.names, words[i]) then return ALL end
  end
  return change
end

function verbs.ALTER(self, words)
  local kind, at = object(words, 2)
  if kind == "DEFAULT" or kind == "SYSTEM" then return NOTHING end
  -- (it may be a temporary table that has another name from now on)
  if has(words, "RENAME", at) or #words >= WORDS_TOLD then return { all = true, any_temps = self:has_temporaries() } end
  if HARMLESS[kind] or kind == "INDEX" then return NOTHING end
  return ALL
end

function verbs.DISCARD(_, words)
  return (words[2] == "ALL" or TEMPORARY[words[2]]) and { private = true, discards = true } or nil
end

function verbs.IMPORT() return ALL end

-- SELECT … INTO t
local function selected_into(self, words)
  local at = has(words, "INTO")
  if not at then return { all = true, any_temps = true } end
  local _, name_at, temporary = object(words, at + 1)
  if words[name_at - 1] ~= "TABLE" then name_at = name_at - 1 end
  return made(words[name_at], "", temporary or is_temporary(self, words[name_at]), false)
end

local function of_statement(self, one, sql)
  local of_verb = verbs[one.verb]
  if of_verb then return of_verb(self, one.words, sql:sub(one.first, one.last):lower()) end
  for _, verb in ipairs(one.verbs) do
    if verb == "CREATE" then
      return one.verb == "SELECT" and selected_into(self, one.words) or { all = true, any_temps = true }
    end
  end
end

-- ---- several --------------------------------------------------------------------------------

local FLAGS = { "all", "plans", "private", "any_temps", "discards" }
local SETS = { "names", "temps", "lasting" }

--- Both of two changes, either of which may be nil.
function changes.merge(a, b)
  if not a or not b then return a or b end
  local both = {}
  for _, flag in ipairs(FLAGS) do both[flag] = a[flag] or b[flag] end
  for _, field in ipairs(SETS) do
    for _, change in ipairs{ a, b } do
      for name in pairs(change[field] or {}) do
        both[field] = both[field] or {}
        both[field][name] = true
      end
    end
  end
  return both
end

--- What a text that is known to have DDL in it changed.
---@param self table  the connection
---@param sql string?  nil where it is not known
---@param list table[]?  its statements (core.statements)
function changes.of(self, sql, list)
  if not sql then return ALL end
  local change
  for _, one in ipairs(list) do change = changes.merge(change, of_statement(self, one, sql)) end
  return change or ALL
end

--- What GRANT and REVOKE changed: those of a schema decide who finds the names in it, as does whose member a role is.
---@param list table[]?
function changes.of_rights(list)
  for _, one in ipairs(list or {}) do
    local is_rights = one.verb == "GRANT" or one.verb == "REVOKE"
    if is_rights and (not has(one.words, "ON") or has(one.words, "SCHEMA")) then return ALL end
  end
  return list and { plans = true } or ALL
end

return changes
