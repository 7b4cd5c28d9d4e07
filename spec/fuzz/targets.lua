-- SPDX-License-Identifier: MIT
--
-- targets.lua: what is fuzzed.  A target: { run = fn(input), keep = bytes at the front of an input
-- that are never changed }.  run throws where something is wrong; besides, the sanitizers watch.
--
-- Typed inputs begin with a form (b binary, t text, c the text given to a constructor) and the
-- type's oid, 4 bytes.  A value that was read must be printed, written as JSON and as a parameter, or
-- refused by an error object; and what was written in binary must be read as the same value.

local core = require "fastpg.core"
local rows = require "fastpg.value.rows"
require "fastpg"

local targets = {}

local ZONE = "Europe/Dublin"

-- ---- types of a database, under oids of ours; seeds.lua makes the same ------------------------

targets.types = {
  { name = "fuzz_mood", oid = 90001, kind = "enum", elem = 0 },
  { name = "fuzz_positive", oid = 90002, kind = "domain", elem = 23 },
  { name = "fuzz_pair", oid = 90003, kind = "composite", elem = 0, names = { "a", "b" }, fields = { 23, 25 } },
  { name = "_fuzz_pair", oid = 90004, kind = "array", elem = 90003 },
  { name = "fuzz_nest", oid = 90005, kind = "composite", elem = 0, names = { "p", "l", "n", "r", "j", "x" },
    fields = { 90003, 90004, 1700, 3904, 3802, 600 } },
  { name = "fuzz_range", oid = 90006, kind = "range", elem = 25 },
  { name = "fuzz_multirange", oid = 90007, kind = "multirange", elem = 90006 },
  { name = "hstore", oid = 90008, kind = "hstore", elem = 0 },
  { name = "citext", oid = 90009, kind = "text", elem = 0 },
  { name = "ltree", oid = 90010, kind = "versioned", elem = 0 },
  { name = "_hstore", oid = 90011, kind = "array", elem = 90008 },
  { name = "_fuzz_range", oid = 90012, kind = "array", elem = 90006 },
  { name = "_fuzz_nest", oid = 90013, kind = "array", elem = 90005 },
}

local map = core.typemap()
do
  local defs = {}
  for i, t in ipairs(targets.types) do
    local def = { oid = t.oid, name = t.name, kind = t.kind, elem = t.elem, fields = t.fields }
    if t.fields then
      local shape = { columns = t.names, types = t.fields, index = {} }
      for n, name in ipairs(t.names) do shape.index[name] = n end
      def.data = { names = t.names, metatable = rows.metatable(shape, {}) }
    end
    defs[i] = def
  end
  map:define(defs)
end

-- ---- trying and comparing ---------------------------------------------------------------------

-- The results, or nil: an error that is no object is a finding.
local function try(fn, ...)
  local ok, a, b, c = pcall(fn, ...)
  if ok then return true, a, b, c end
  if type(a) ~= "table" or type(a.name) ~= "string" or type(a.message) ~= "string" then
    error(("not an error object: %s"):format(tostring(a)), 0)
  end
  return false
end

local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then return a == b or a ~= a and b ~= b end
  if type(a) == "userdata" then return rawequal(a, b) or tostring(a) == tostring(b) end
  if type(a) ~= "table" then return a == b end
  for k, v in next, a do if not same(v, rawget(b, k)) then return false end end
  for k in next, b do if rawget(a, k) == nil then return false end end
  return true
end

local function decode(oid, binary, bytes) return core.test_decode(oid, binary, bytes, ZONE, map) end

local function finding(what, oid) error(("type %d: %s"):format(oid, what), 0) end

-- Types whose tostring is the server's text.
local constructors = {
  [1700] = core.numeric, [1082] = core.date, [1083] = core.time, [1266] = core.timetz, [1114] = core.timestamp,
  [1184] = core.timestamptz, [1186] = core.interval, [3904] = core.range, [4451] = core.multirange,
}

local function check_printed(oid, value)
  local text = tostring(value)
  local ok, again = try(decode, oid, false, text)
  if not ok then finding("its own text is not read", oid) end
  if tostring(again) ~= text then finding("its own text is read as another value", oid) end
end

-- hstore, and arrays of it: the pairs are sent in the table's order, which is not always the same for the same pairs.
local UNORDERED = { [90008] = true, [90011] = true }

-- What is sent as text is for the server's input functions, which take more than our readers. A range
-- that was text keeps its spelling (+0 for +00), so then what is sent again is compared.
local function check_sent(oid, value, was_binary)
  if value == nil then return end
  local ok, bytes, binary = try(core.test_encode, oid, value, ZONE, map)
  if not ok or not binary then return end
  local read, again = try(decode, oid, true, bytes)
  if not read then finding("what is sent for it is not read", oid) end
  if was_binary and not same(value, again) then finding("what is sent for it is another value", oid) end
  local sent, once_more = try(core.test_encode, oid, again, ZONE, map)
  if sent and UNORDERED[oid] and #once_more == #bytes and same(again, decode(oid, true, once_more)) then return end
  if not sent or once_more ~= bytes then finding("what is sent for it is read as a value that is sent otherwise", oid) end
end

local function check_json(value)
  local ok, text = try(core.to_json, value)
  if ok and not try(core.from_json, text) then error("to_json writes what from_json refuses", 0) end
end

local function check_constructed(make, oid, text)
  local ok, value = try(make, text)
  if not ok then return end
  local printed = tostring(value)
  local read, again = try(make, printed)
  if not read then finding("made from text, its own text is refused", oid) end
  if tostring(again) ~= printed then finding("made from text, its own text makes another value", oid) end
end

local function typed(input)
  local form, a, b, c, d = input:byte(1, 5)
  local oid, bytes = ((a * 256 + b) * 256 + c) * 256 + d, input:sub(6)
  if form == 99 then return check_constructed(constructors[oid], oid, bytes) end
  local ok, value, none = try(decode, oid, form == 98, bytes)
  if not ok or none then return end
  if constructors[oid] and type(value) == "userdata" then check_printed(oid, value) end
  check_json(value)
  check_sent(oid, value, form == 98)
end

for _, name in ipairs{ "binary", "text", "array", "composite", "range", "numeric", "time" } do
  targets[name] = { keep = 5, run = typed }
end

-- ---- json -------------------------------------------------------------------------------------

local function run_json(input)
  local ok, value = try(core.from_json, input)
  local column_ok, column = try(decode, 114, false, input)
  try(decode, 3802, true, "\1" .. input)
  if ok ~= column_ok or ok and not same(value, column) then error("from_json and a column differ", 0) end
  if not ok then return end
  local written, text = try(core.to_json, value)
  if not written then error("to_json refuses what from_json gave", 0) end
  local read, again = try(core.from_json, text)
  if not read or not same(value, again) then error("to_json writes another value", 0) end
end

targets.json = { run = run_json }

-- ---- the scanner of SQL -----------------------------------------------------------------------

-- The statements lie in the text one behind the other, and each alone is one statement that reads the same.
local function check_statements(input, standard)
  local behind = 0
  for _, one in ipairs(core.statements(input, standard)) do
    if one.first <= behind or one.last < one.first or one.last > #input then error("a statement lies outside of the text", 0) end
    behind = one.last
    local again = core.statements(input:sub(one.first, one.last), standard)
    if #again > 1 or #again == 1 and again[1].verb ~= one.verb then error("a statement alone is another", 0) end
  end
end

local function run_sql(input)
  for _, standard in ipairs{ true, false } do
    core.test_lex(input, standard)
    local ok, converted = try(core.convert, input, 0, standard)
    if ok then
      core.test_lex(converted, standard)
      try(core.convert, input, 7, standard)
    end
    try(core.check_fragment, input, standard)
    check_statements(input, standard)
    for _, quote in ipairs{ core.quote_literal, core.quote_ident } do
      local quoted, text = try(quote, input)
      if quoted and core.test_lex(text, standard) ~= 1 then error("what was quoted is not one token", 0) end
    end
  end
end

targets.sql = { run = run_sql }

return targets
