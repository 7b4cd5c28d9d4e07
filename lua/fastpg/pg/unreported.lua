-- SPDX-License-Identifier: MIT
--
-- unreported: settings that change what a text means, and that the server does not report.
--
-- They say how a literal is read when its statement is prepared ('{null}'::text[], '1,50'::money), or what a plan
-- calculates beforehand ('a'::bytea::text).  So the prepared statements are kept by them, too (fastpg.pg.session), as far as
-- the program's own SQL sets them; a function's `set_config` is not seen.
--
--   unreported          "" as at the start; else what was set, as text
--   unreported_set      the same, by name
--   unreported_outside  what was set before the transaction, where that has set more
--   unreported_touched  some of that may stay, or be gone already: nobody knows at its end
--
-- PostgreSQL manual: SET; RESET; "Client Connection Defaults"; "Version and Platform Compatibility".

local error, ipairs, pairs, pcall = error, ipairs, pairs, pcall

local core = require "fastpg.core"

local NAMES = {}
for _, name in ipairs{
  "array_nulls", "backslash_quote", "bytea_output", "default_text_search_config", "extra_float_digits", "lc_monetary",
  "lc_numeric", "lc_time", "quote_all_identifiers", "timezone_abbreviations", "transform_null_equals", "xmlbinary",
  "xmloption",
} do
  NAMES[name] = true
end

-- Other words for one, or for all.
local WORDS = { all = true, xml = true }

local methods = {}

-- ---- what is set ----------------------------------------------------------------------------

local function use(self, set)
  local parts = {}
  for name, text in pairs(set) do parts[#parts + 1] = name .. "\0" .. text end
  table.sort(parts)
  self.unreported_set, self.unreported = set, table.concat(parts, "\0")
  self:switch_session()
end

local doubts = 0

-- Unlike anything before.
local function doubt(self)
  doubts = doubts + 1
  use(self, { ["?"] = ("%d"):format(doubts) })
end

local function may_set_one(text)
  if not text:find("set", 1, true) and not text:find("discard", 1, true) then return false end
  if text:find('u&"', 1, true) then return true end
  for word in text:gmatch "[%a_]+" do
    if NAMES[word] or WORDS[word] then return true end
  end
  return false
end

local SETS = { SET = true, RESET = true, DISCARD = true }

-- The setting that a statement sets, or "all"; whether for the transaction only.
local function setting_of(one)
  if not SETS[one.verb] then return nil end
  local words = one.words
  local at = 2
  local is_local = words[2] == "LOCAL"
  if is_local or words[2] == "SESSION" and words[3] then at = 3 end
  local name = (words[at] or ""):lower()
  if one.verb ~= "SET" and name == "all" then return "all", false end
  if name == "xml" then name = "xmloption" end
  if name == "u&" or NAMES[name] then return name, is_local end
  return nil
end

local CONTROL = { COMMIT = true, END = true, ROLLBACK = true, ABORT = true, SAVEPOINT = true, RELEASE = true, PREPARE = true }

-- The statements of the text that set one, in order; nil where it can't be known which hold.
local function settings_in(self, sql)
  local list, is_mixed = {}, false
  for _, one in ipairs(core.statements(sql, self.standard_strings)) do
    local name, is_local = setting_of(one)
    if name then list[#list + 1] = { name = name, is_local = is_local, text = sql:sub(one.first, one.last) } end
    if CONTROL[one.verb] then is_mixed = true end
  end
  return not (is_mixed and list[1]) and list or nil
end

local function copy(set)
  local new = {}
  for name, text in pairs(set) do new[name] = text end
  return new
end

--- After a text that set something.
---@param failed boolean  a later statement of it, which may have taken that back
function methods.note_unreported(self, sql, failed)
  if self.setting_own or not may_set_one(sql:lower()) then return end
  local list, status = settings_in(self, sql), self.c:transaction_status()
  if list and not list[1] then return end
  if not list or failed or status == "active" or sql:lower():find('u&"', 1, true) then
    self.unreported_touched = status ~= "idle"
    return doubt(self)
  end
  if status ~= "idle" and not self.unreported_outside then self.unreported_outside = self.unreported_set end
  local set = copy(self.unreported_set)
  for _, one in ipairs(list) do
    if not one.is_local and status ~= "idle" then self.unreported_touched = true end
    if one.name == "all" then set = {} end
    if not (one.is_local and status == "idle") then set[one.name] = one.text end
  end
  use(self, set)
end

--- After a rollback, maybe to a savepoint.
function methods.note_unreported_undone(self)
  if self.unreported_outside or self.unreported_touched then doubt(self) end
end

--- The transaction is over.
function methods.end_unreported(self)
  local outside, touched = self.unreported_outside, self.unreported_touched
  self.unreported_outside, self.unreported_touched = nil, nil
  if touched then return doubt(self) end
  if outside then use(self, outside) end
end

--- Runs commands of our own, which are known to leave all as it was.
function methods.simple_own(self, sql)
  self.setting_own = true
  local ok, result = pcall(self.simple, self, sql)
  self.setting_own = nil
  if not ok then error(result, 0) end
  return result
end

-- ---- in a batch -----------------------------------------------------------------------------

--- Whether what stands behind this text in a batch may mean something else by it.
function methods.sets_something(self, sql)
  local first = core.statements(sql, self.standard_strings)[1]
  return first ~= nil and SETS[first.verb] or sql:lower():find("set_config", 1, true) ~= nil
end

local unreported = {}

--- Adds them to the methods of a connection.
function unreported.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return unreported
