-- SPDX-License-Identifier: MIT
--
-- compare: what fastpg got beside what psql got.
--
-- Not everything that differs is a difference (values.alike has what is said of single values): the order of rows
-- is the server's where no ORDER BY names it, and the views of what a session has prepared or declared show what
-- fastpg has.

local reference = require "tools.regress.reference"
local script = require "tools.regress.script"

local compare = {}

local NULL = reference.NULL

local function show(text)
  if text == NULL then return "NULL" end
  return '"' .. tostring(text) .. '"'
end

-- ---- errors -----------------------------------------------------------------------------------

-- Names that a server gives anew each time; and psql sends the semicolon, too.
local function even(message)
  return (message:gsub("pg_temp_%d+", "pg_temp_N"):gsub("pg_toast_%d+", "pg_toast_N")
    :gsub('at or near ";"$', "at end of input"))
end

-- Without where it was raised.
local function error_text(err)
  if type(err) ~= "table" then return tostring(err) end
  return ("%s %s: %s"):format(tostring(err.sqlstate), tostring(err.name), tostring(err.message))
end

-- A variable of psql's that there is none of: to psql a colon, to fastpg a placeholder.
local function lacks_variable(expected, ok, result)
  return not ok and type(result) == "table" and result.name == "invalid_argument" and result.message:find("no value for :", 1, true)
    and expected.sqlstate == "42601" and (expected.message or ""):find('near ":"', 1, true)
end

local function compare_errors(session, unit, expected, ok, result)
  local report = session.report
  if lacks_variable(expected, ok, result) then return end
  if ok then
    return report(unit, "error", ("psql has %s %s, fastpg none"):format(expected.sqlstate, expected.message or ""))
  end
  if not expected.failed then
    return report(unit, "error", ("psql has none, fastpg %s"):format(error_text(result)))
  end
  local is_error = type(result) == "table"
  if not is_error or result.sqlstate ~= expected.sqlstate then
    return report(unit, "error", ("psql has %s %s, fastpg %s"):format(expected.sqlstate, expected.message or "",
      error_text(result)))
  end
  -- the way makes the transaction
  if session.way == "transaction" and result.message:find "cannot run inside a transaction block$" then return end
  local message, wanted = even(result.message), expected.message and even(expected.message)
  if wanted and message ~= wanted and message:sub(-#wanted - 2) ~= ": " .. wanted then
    report(unit, "message", ("psql has %s, fastpg %s"):format(show(wanted), show(message)))
  end
end

-- A COPY to or from the client among several statements: psql takes it, fastpg says what to do in its place.
local function compare_refusal(session, unit, ok, result)
  if not ok and type(result) == "table" and result.sqlstate == "0A000" then return end
  session.report(unit, "error", "COPY among several statements: 0A000 expected, fastpg " .. (ok and "none" or error_text(result)))
end

-- ---- rows -------------------------------------------------------------------------------------

local function joined(row, mask)
  local out = {}
  for c = 1, #mask do out[c] = mask[c] == false and "" or tostring(row[c]) end
  return table.concat(out, "\31")
end

-- Sorts both where the rows are the same but in another order.  What the way doesn't tell, the first of two columns
-- of one name, it tells of no row.
local function same_but_for_order(got, wanted)
  local a, b, mask = {}, {}, got[1]
  for i, row in ipairs(wanted) do
    for c = 1, #row do
      if row[c] == false then return false end
    end
    a[i], b[i] = joined(got[i], mask), joined(row, mask)
  end
  table.sort(a)
  table.sort(b)
  return table.concat(a, "\30") == table.concat(b, "\30")
end

--- Whether the server takes both texts for the same value of the type, printed as the session prints.
local function same_value(session, result, i, c, wanted)
  local oid = result.types and result.types[c]
  return oid and session:alike(oid, result.rows[i].values[c], result.rows[i][c], wanted)
end

local function first_difference(session, got, wanted, result)
  for i, row in ipairs(wanted) do
    for c = 1, #row do
      local mine = got[i][c]
      if row[c] ~= false and mine ~= false and mine ~= row[c] and not same_value(session, result, i, c, row[c]) then
        return i, c
      end
    end
  end
end

-- The rows of a rule's SELECT: by the extended protocol such a statement is described without columns, and the server
-- sends none.
local WRITES = { insert = true, update = true, delete = true }
local function selects_by_rule(unit, result)
  local outside = unit.sql:lower():gsub("%b()", "") -- of what WITH names
  return #result.rows == 0 and WRITES[script.verb(unit.sql, true)] and not outside:find "%f[%w]returning%f[%W]"
end

local function compare_rows(session, unit, expected, result)
  local report, wanted, got = session.report, expected.rows, result.rows
  if selects_by_rule(unit, result) then return end
  if result.columns and #expected.columns > 0 then
    for c, name in ipairs(expected.columns) do
      if result.columns[c] ~= name then
        return report(unit, "columns", ("psql has %s, fastpg %s"):format(show(name), show(result.columns[c])))
      end
    end
  end
  if #expected.columns == 0 then wanted = nil end
  local count = wanted and #wanted or expected.count
  if result.only_first then count = math.min(1, count) end
  if #got ~= count then return report(unit, "rows", ("psql has %d, fastpg %d"):format(count, #got)) end
  if not wanted then return end
  if result.only_first then wanted = { wanted[1] } end
  local i, c = first_difference(session, got, wanted, result)
  if not i then return end
  if same_but_for_order(got, wanted) then
    session.counts.ordered = session.counts.ordered + 1
    return
  end
  if result.only_first and not unit.sql:lower():find "order%s+by" then return end
  report(unit, "value", ("row %d, column %s: psql has %s, fastpg %s"):format(i, tostring(expected.columns[c]),
    show(wanted[i][c]), show(got[i][c])))
end

-- ---- tags -------------------------------------------------------------------------------------

local function compare_tag(session, unit, expected, result)
  local tag = result.tag
  if expected.tag and expected.tag ~= tag then
    return session.report(unit, "tag", ("psql has %s, fastpg %s"):format(show(expected.tag), show(tag)))
  end
  local n = tag:match "(%d+)$"
  if expected.rows and not expected.tag and n and tonumber(n) ~= expected.count then
    session.report(unit, "tag", ("psql has %d rows, fastpg %s"):format(expected.count, show(tag)))
  end
end

-- Whether the rows are about the session itself: of EXECUTE, too, by what was prepared under the name.
local function shows_itself(session, unit)
  local prepared = unit.sql:match "^%s*[Pp][Rr][Ee][Pp][Aa][Rr][Ee]%s+([%w_]+)"
  local executed = unit.sql:match "^%s*[Ee][Xx][Ee][Cc][Uu][Tt][Ee]%s+([%w_]+)"
  session.showing = session.showing or {}
  if prepared then session.showing[prepared] = script.shows_the_session(unit.sql) end
  return script.shows_the_session(unit.sql) or executed and session.showing[executed]
end

-- A pipeline within a transaction has a savepoint, and with it a transaction's number of its own, and counts of its own.
local function numbers_transactions(session, unit)
  if session.way ~= "pipeline" then return false end
  local low = unit.sql:lower()
  return low:find "%f[%w]xmin%f[%W]" ~= nil or low:find("pg_stat_get_xact_", 1, true) ~= nil
end

--- Reports what differs.
---@param session table  of regress.lua: report, counts, alike, way
---@param unit table
---@param expected table  of the reference
---@param ok boolean  whether the statement succeeded
---@param result any  what ways.run gave, or the error
function compare.outcome(session, unit, expected, ok, result)
  session.counts.compared = session.counts.compared + 1
  if unit.streams then return compare_refusal(session, unit, ok, result) end
  if unit.ending == "gexec" then return end -- psql tells of the last statement that it made
  if not ok or expected.failed then
    if not ok and expected.failed or ok ~= not expected.failed then
      compare_errors(session, unit, expected, ok, result)
    end
    return
  end
  local own = shows_itself(session, unit)
  if unit.several or result.several or unit.ending ~= ";" then return end -- psql shows less of these
  if result.raw then
    if result.raw ~= expected.raw then
      session.report(unit, "copy", ("psql has %s, fastpg %s"):format(show(expected.raw), show(result.raw)))
    end
  elseif result.tag then
    if not own then compare_tag(session, unit, expected, result) end
  elseif expected.rows then
    if not own and not numbers_transactions(session, unit) then compare_rows(session, unit, expected, result) end
    if session.way == "back" then session:send_back(unit, result) end
  elseif #result.rows > 0 then
    session.report(unit, "rows", ("psql has none, fastpg %d"):format(#result.rows))
  end
end

return compare
