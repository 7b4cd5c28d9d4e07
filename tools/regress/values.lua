-- SPDX-License-Identifier: MIT
--
-- values: two questions to the server about values, on a connection beside the one that is tested.
--
--   alike      is fastpg's text the value that psql shows, printed by the session's DateStyle and the like?
--   send_back  is a value that was read, sent back as a parameter of its type, printed as it was?

local core = require "fastpg.core"
local ways = require "tools.regress.ways"

local values = {}

local JSON = { ["pg_catalog.json"] = "jsonb", ["pg_catalog._json"] = "jsonb[]" }
local DOCUMENTS = { ["pg_catalog.jsonb"] = true, ["pg_catalog._jsonb"] = true }
local REPORTED = { "DateStyle", "IntervalStyle", "TimeZone" }
local WATCHED = { "extra_float_digits", "bytea_output" } -- never reported: every value that the script named is tried
local DEFAULTS = { extra_float_digits = "1", bytea_output = "hex" }

local function connection(session)
  if session.helper then return session.helper end
  session.helper = session.server.pg:connect{ loop = "block", dbname = session.db:item "select current_database()",
    command_timeout = 30, statement_cache_size = 0 } -- a plan that is kept holds texts in the style of before
  return session.helper
end

--- Notes the settings that the script makes and no server reports.
function values.watch(session, sql)
  for _, name in ipairs(WATCHED) do
    local value = sql:lower():match("set%s+[%a%s]*" .. name .. "%s*[=t]o?%s*'?(%-?%w+)")
    if value then
      session.seen_settings = session.seen_settings or {}
      local list = session.seen_settings[name] or {}
      list[#list + 1], session.seen_settings[name] = value, list
    end
  end
end

-- The type's name and whether values of it can be cast; by the helper, whose search_path is its own.
local function type_of(session, oid)
  local known = session.type_names or {}
  session.type_names = known
  if known[oid] == nil then
    local row = connection(session):first([[
      select quote_ident(nspname) || '.' || quote_ident(typname) as name, typtype::text as kind,
        typname::text in ('record', '_record') as record
      from pg_type t join pg_namespace n on n.oid = typnamespace where t.oid = $1::int8::oid]], oid)
    known[oid] = row and row.kind ~= "p" and not row.record and row.name or false
  end
  return known[oid]
end

-- Sets what the session has; `extra`: those that are not reported.
local function settings(session, helper, extra)
  local wanted = {}
  for _, name in ipairs(REPORTED) do wanted[name] = ways.parameter(name) end
  for name, value in pairs(extra) do wanted[name] = value end
  local now = session.helper_settings or {}
  for name, value in pairs(wanted) do
    if now[name] ~= value then helper:execute(("set %s = %s"):format(name, core.quote_literal(value))) end
    now[name] = value
  end
  session.helper_settings = now
end

local function combinations(session)
  local out, seen = {}, session.seen_settings or {}
  local function add(name, value)
    local one = {}
    for k, v in pairs(DEFAULTS) do one[k] = v end
    if name then one[name] = value end
    out[#out + 1] = one
  end
  add()
  for name, list in pairs(seen) do
    for _, value in ipairs(list) do add(name, value) end
  end
  return out
end

-- A document without the space between its tokens.
local function compact(text)
  local out, at = {}, 1
  while at <= #text do
    local piece, behind = text:match('^("[^"\\]*)()', at)
    if piece then
      while true do -- to the end of the string
        local more, past = text:match('^(\\.[^"\\]*)()', behind)
        if not more then break end
        piece, behind = piece .. more, past
      end
      piece, behind = piece .. '"', behind + 1
    else
      piece, behind = text:match('^([^"]+)()', at)
      piece = piece:gsub("%s+", "")
    end
    out[#out + 1], at = piece, behind
  end
  return table.concat(out)
end

-- jsonb keeps the zeros at the end of 1.50; a number in Lua does not.
local function without_zeros(text)
  return (text:gsub("(%d%.%d-)0+%f[^%d]", "%1"):gsub("(%d)%.%f[^%d.]", "%1"))
end

-- The value as the server prints it in the style of the session: its text read by the server, and
-- the value itself sent (the server does not read all that it prints).
local function printings(helper, name, value, text)
  local ok, again = pcall(helper.item, helper, ("select ((%s::text)::%s)::text"):format(core.quote_literal(text), name))
  local taken, sent = pcall(helper.item, helper, ("select ($1::%s)::text"):format(name), value)
  return ok and again, taken and sent
end

local RECORD = 2249
local DOCUMENT_OIDS = { [114] = true, [199] = true, [3802] = true, [3807] = true }

-- Whether an anonymous record has a document for a column, whose layout is not kept.
local function has_document(record)
  local mt = type(record) == "table" and getmetatable(record)
  local shape = type(mt) == "table" and mt.shape
  for _, oid in ipairs(shape and shape.types or {}) do
    if DOCUMENT_OIDS[oid] then return true end
  end
  return false
end

local function alike(session, oid, value, got, wanted)
  if oid == RECORD and has_document(value) then
    return without_zeros((got:gsub("%s+", ""))) == without_zeros((wanted:gsub("%s+", "")))
  end
  local name = type_of(session, oid)
  if not name then return false end
  if DOCUMENTS[name] and without_zeros(got) == without_zeros(wanted) then return true end
  local helper = connection(session)
  if JSON[name] then
    return compact(got) == compact(wanted)
      or helper:item(("select ($1::text)::%s = ($2::text)::%s"):format(JSON[name], JSON[name]), got, wanted)
  end
  for _, extra in ipairs(combinations(session)) do
    settings(session, helper, extra)
    local again, sent = printings(helper, name, value, got)
    if again == wanted or sent == wanted then return true end
  end
  return false
end

--- Whether psql's text is the value's in the style of the session; json is laid out as jsonb's once it was read.
---@param session table
---@param oid integer  of its type
---@param value any  as fastpg gave it
---@param got string  as fastpg prints it
---@param wanted string  as psql shows it
function values.alike(session, oid, value, got, wanted)
  local ok, same = pcall(alike, session, oid, value, got, wanted)
  return ok and same
end

-- Types whose values are names of what there is.
local NAMES = { [24] = true, [2202] = true, [2203] = true, [2204] = true, [2205] = true, [2206] = true, [3734] = true,
  [3769] = true, [4089] = true, [4096] = true, [4191] = true }

-- What a transaction has not committed the helper's session does not see.
local function is_visible(oid)
  return oid < 16384 and not NAMES[oid] or ways.status() == "idle"
end

local MOST_ROWS = 300 -- of one result that are sent back

local function send_one(session, unit, name, oid, value, text)
  session.counts.values = session.counts.values + 1
  local ok, got = pcall(ways.text_of_item, connection(session), ("select $1::%s"):format(name), value)
  if not ok then
    session.report(unit, "back", ("%s as %s: %s"):format(text, name, tostring(got)))
  elseif got ~= text and not values.alike(session, oid, value, got, text) then
    session.report(unit, "back", ("%s as %s comes back as %s"):format(text, name, got))
  end
end

--- Sends the values of a result back.
function values.send_back(session, unit, result)
  for r = 1, math.min(#result.rows, MOST_ROWS) do
    local row = result.rows[r]
    for c, oid in ipairs(result.types or {}) do
      local value = row.values[c]
      local name = value ~= nil and not rawequal(value, core.null) and is_visible(oid) and type_of(session, oid)
      if name then send_one(session, unit, name, oid, value, row[c]) end
    end
  end
end

return values
