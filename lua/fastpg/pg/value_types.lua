-- SPDX-License-Identifier: MIT
--
-- value_types: parameters whose type the server can't tell by the text.
--
-- `select $1 is null`, `concat($1, …)` and an ambiguous function are refused by Parse; `select $1` is taken for text, which no
-- boolean is.  Then the statement is prepared once more, with the type of the value declared: a boolean is boolean, a date is
-- date; strings, numbers and NULL are text, as they are where the server takes a parameter for text by itself.  Nothing else
-- is declared, so that the server goes on telling the other types.  (What INSERT, UPDATE and MERGE take for text may be a
-- column that is: the server would write "true" into it, so there a boolean stays an error.)
--
-- Which parameters of a text those are is remembered on the connection (`by_values`), and each combination of types is a
-- statement of its own, kept under the text, a NUL and the types: it costs a round trip the first time.
--
-- A Parse that fails ends an open transaction: there a text is refused as ever, with the way out.  Where only a boolean met
-- text nothing has failed yet, and a savepoint stands around the second try.
--
-- PostgreSQL manual: "Parse" of the protocol, "Functions and Operators: Type Conversion".

local error, getmetatable, ipairs, pairs, pcall, setmetatable, tonumber, tostring, type =
  error, getmetatable, ipairs, pairs, pcall, setmetatable, tonumber, tostring, type

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local savepoint = require "fastpg.pg.savepoint"

local TEXT, BOOLEAN = 25, 16
local OBJECTS = {
  ["fastpg.numeric"] = 1700, ["fastpg.date"] = 1082, ["fastpg.time"] = 1083, ["fastpg.timetz"] = 1266, ["fastpg.timestamp"] = 1114,
  ["fastpg.timestamptz"] = 1184, ["fastpg.interval"] = 1186,
}

-- What is declared for a value; nil where that can't be told: a table may be an array, a document, a row.
local function type_of(value)
  local kind = type(value)
  if kind == "boolean" then return BOOLEAN end
  if kind == "table" then return nil end
  if kind ~= "userdata" then return TEXT end
  local mt = getmetatable(value)
  if mt == nil then return TEXT end -- fastpg.null
  return OBJECTS[mt] -- (what getmetatable gives of them)
end

-- ---- errors ---------------------------------------------------------------------------------

local INDETERMINATE = "42P18"
local AMBIGUOUS = { ["42725"] = true, ["42P08"] = true }
local POLYMORPHIC = { enforce_generic_type_consistency = true, check_generic_type_consistency = true }

local methods = {}

--- Whether a Parse failed because the server can't tell a type.
function methods.is_untyped(err)
  local code = err.sqlstate
  return code == INDETERMINATE or AMBIGUOUS[code] or code == "42804" and POLYMORPHIC[err.source_function] or false
end

local function is_plain(value)
  local oid = type_of(value)
  return oid == TEXT, oid
end

-- Of an ambiguous function nobody says which parameters they are: those whose types are certain are declared first, then
-- strings, then all.
local STAGES = {
  function(value)
    local plain, oid = is_plain(value)
    return not plain and oid
  end,
  function(value) return type(value) == "string" and TEXT end,
  function(value) return type_of(value) end,
}

local function declare_stage(declared, list, n, stage)
  local added = false
  for i = 1, n do
    local oid = not declared[i] and STAGES[stage](list[i])
    if oid then declared[i], added = oid, true end
  end
  return added
end

-- Declares more, by what the server said; false where there is nothing more to try.
local function declare_more(declared, err, list, n, state)
  if err.sqlstate == INDETERMINATE then
    local i = tonumber(tostring(err.message):match "%$(%d+)")
    local oid = i and i <= n and not declared[i] and type_of(list[i])
    if oid then declared[i] = oid end
    return oid and true or false
  end
  if not methods.is_untyped(err) then return false end
  while state.stage < #STAGES do
    state.stage = state.stage + 1
    if declare_stage(declared, list, n, state.stage) then return true end
  end
  return false
end

-- ---- preparing ------------------------------------------------------------------------------

-- The oids as a list, and what the statement is kept under.
local function declaration(sql, declared, n)
  local oids, last = {}, 0
  for i = 1, n do
    oids[i] = declared[i] or 0
    if declared[i] then last = i end
  end
  for i = n, last + 1, -1 do oids[i] = nil end
  if last == 0 then return nil, nil end
  return oids, sql .. "\0" .. table.concat(oids, ",")
end

local function is_refused(err)
  return errors.is_error(err) and err.sqlstate ~= nil and err.sqlstate:sub(1, 2) ~= "57" and err.name ~= "connection"
end

-- An unnamed statement that is not run: its pipeline is closed.
local function leave(self, st)
  if st ~= self.unnamed then return end
  self.unnamed = nil
  self:settle()
end

-- With types declared anything may be wrong: that is given back, too.
local function try(self, make, sql, key, oids)
  local ok, st, err = pcall(make, self, sql, key, oids, true)
  if ok then return st, err end
  if not is_refused(st) then error(st, 0) end
  return nil, st
end

local NAME = savepoint.name "value_types"

-- In a transaction what fails must not end it.
local function try_inside(self, make, sql, key, oids)
  local is_known = self.statements[key] or self:description(key)
  if is_known or self.c:transaction_status() ~= "intrans" then return try(self, make, sql, key, oids) end
  self:simple_own(savepoint.make(NAME))
  local st, err = try(self, make, sql, key, oids)
  if not st then
    self:simple_own(savepoint.undo(NAME))
    return nil, err
  end
  if st ~= self.unnamed then
    self:simple_own(savepoint.release(NAME))
    return st
  end
  leave(self, st)
  self:simple_own(savepoint.release(NAME))
  return make(self, sql, key, oids)
end

local MOST_TEXTS = 200

local function remember(self, sql, declared)
  self.by_values = self.by_values or bounded.new(MOST_TEXTS)
  local which = {}
  for i in pairs(declared) do which[i] = true end
  self.by_values:keep(sql, which)
end

local function refuse(err)
  err.hint = err.hint or "Write the type behind the placeholder: $1::boolean, ?::integer, :name::jsonb."
  error(err, 0)
end

--- The error of a text that a transaction ended by: which has a hint where types are missing.
function methods.refuse_text(err)
  if methods.is_untyped(err) then refuse(err) end
  error(err, 0)
end

local ASSIGNS = { INSERT = true, UPDATE = true, MERGE = true }

local function assigns(self, sql)
  for _, one in ipairs(core.statements(sql, self.standard_strings)) do
    for _, verb in ipairs(one.verbs) do
      if ASSIGNS[verb] then return true end
    end
  end
  return false
end

-- Whether the text itself says the parameter's type.
local function is_cast(sql, at)
  return sql:find(("%%$%d%%s*::"):format(at)) or sql:lower():find(("cast%%s*%%(%%s*%%$%d%%s+as%%s"):format(at))
end

-- Which of the arguments is a boolean that the server takes for text for want of anything better; nil for none.
local function misfit(self, st, sql, list, n)
  local at = st:misfit(list, n)
  if not at or assigns(self, sql) or is_cast(sql, at) then return nil end
  return at
end

-- What the server says of types by the text alone: `plain`, the statement, or `first`, why there is none; or `which` parameters
-- it can't tell, then nil and the error where that leads nowhere.
local function find(self, sql, list, n, make, which, plain, first)
  local declared, state, st, err, oids = {}, { stage = 0 }, plain, first, nil
  for i in pairs(which or {}) do declared[i] = type_of(list[i]) end
  while true do
    if st then
      local at = misfit(self, st, sql, list, n)
      if not at then break end
      leave(self, st)
      if declared[at] then break end
      declared[at] = BOOLEAN
    elseif err and not (self.c:transaction_status() ~= "inerror" and declare_more(declared, err, list, n, state)) then
      break
    end
    local key
    oids, key = declaration(sql, declared, n)
    st, err = try_inside(self, make, sql, key or sql, oids)
    if err and plain then break end
  end
  if st and not misfit(self, st, sql, list, n) then
    if not plain then remember(self, sql, declared) end
    if st ~= plain then
      self.declared = self.declared or setmetatable({}, { __mode = "k" })
      self.declared[st] = oids
    end
    return st, plain == st
  end
  if plain then return make(self, sql), true end -- whose parameter says what it takes
  if which then return nil, err end
  refuse(first)
end

--- The statement of a text for these arguments; whether it is the text's own, whatever they are.
---@param sql string
---@param list table
---@param n integer
---@param make function?  makes it, with arguments and results as those of Connection.statement, which is the default
function methods.statement_for(self, sql, list, n, make)
  make = make or self.statement
  local which = self.by_values and self.by_values.kept[sql]
  if which then
    local found, problem = find(self, sql, list, n, make, which)
    if found then return found, false end
    if self.c:transaction_status() ~= "idle" then refuse(problem) end -- the text by itself would end the transaction
  end
  local st, err = make(self, sql, nil, nil, n > 0)
  if st and not misfit(self, st, sql, list, n) then return st, true end
  return find(self, sql, list, n, make, nil, st, err)
end

--- Whether statements of this text have types that depend on their arguments.
function methods.goes_by_values(self, sql)
  return self.by_values ~= nil and self.by_values.kept[sql] ~= nil
end

--- What was declared for such a statement, or nil.
function methods.oids_of(self, st) return self.declared and self.declared[st] end

--- A text that is the same for arguments of the same types.
function methods.values_key(sql, list, n)
  local types = {}
  for i = 1, n do types[i] = type_of(list[i]) or "?" end
  return sql .. "\0" .. table.concat(types, ",")
end

local value_types = {}

--- Adds them to the methods of a connection.
function value_types.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return value_types
