-- SPDX-License-Identifier: MIT
--
-- reference: what psql gets for the statements of a script: a session in text mode, by another client.
--
-- psql reads a script made of the units, with marks around each, and writes:
--
-- to its output
--
--   \2 B 17 \n   [ \5 RS names RS values RS … RS (2 rows) \n ]  [ tag \n ]   \2 E 17 false 00000 2 \3 message \4
--
-- RS and US (bytes 30 and 31) separate rows and fields; NULL is a mark too.  Its messages have the same marks:
-- there stands what became of a COPY, of which psql's variables say nothing.

local reference = {}

local RS, US = "\30", "\31"
reference.NULL = "\1N"

local PRELUDE = [[
\pset format unaligned
\pset fieldsep '\037'
\pset recordsep '\036'
\pset null '\001N'
\pset title '\005'
\pset footer on
\pset pager off
\set VERBOSITY verbose
]]

-- Commands that psql may see; all others are skipped.
local PASSED = { set = true, unset = true, getenv = true, c = true, connect = true, ["if"] = true, ["elif"] = true,
  ["else"] = true, ["endif"] = true, quit = true, q = true }
-- Variables that would change how psql itself behaves.
local SPECIAL = { AUTOCOMMIT = true, ON_ERROR_ROLLBACK = true, ON_ERROR_STOP = true, FETCH_COUNT = true, ECHO = true,
  SINGLESTEP = true, SINGLELINE = true, QUIET = true, VERBOSITY = true, SHOW_ALL_RESULTS = true }

--- Whether a command is understood.
function reference.passes(unit)
  if not PASSED[unit.command] then return false end
  return not SPECIAL[unit.rest:match "^%s*(%S*)" or ""]
end

local function put_unit(put, i, unit)
  if unit.command then
    if reference.passes(unit) then put("\\" .. unit.command .. " " .. unit.rest) end
    return
  end
  put "\\r"
  put(("\\echo '\\002B%d'"):format(i))
  put(("\\warn '\\002B%d'"):format(i))
  if unit.ending == ";" then
    local sql = unit.several and unit.sql:gsub(";", "\\;") or unit.sql
    put(sql .. (sql:find "%-%-[^\n]*$" and "\n;" or ";"))
  else
    put(unit.sql .. "\n\\" .. unit.ending .. " " .. (unit.rest or ""))
  end
  if unit.copies == "in" then put((unit.data or "") .. "\\.") end -- where no data is asked for, it is an unknown command
  put(("\\echo '\\002E%d' :ERROR :SQLSTATE :ROW_COUNT '\\003' :LAST_ERROR_MESSAGE '\\004'"):format(i))
end

local function split(text, separator)
  local out, at = {}, 1
  while true do
    local found = text:find(separator, at, true)
    out[#out + 1] = text:sub(at, found and found - 1)
    if not found then return out end
    at = found + 1
  end
end

-- The last result set of what was printed, its names and rows of texts, and what stands behind it.
local function read_table(out)
  local start = out:find("\5" .. RS, 1, true)
  if not start then return nil, nil, out end
  while true do
    local another = out:find("\5" .. RS, start + 2, true)
    if not another then break end
    start = another
  end
  local records = split(out:sub(start + 2), RS)
  local last = table.remove(records)
  local count, rest = last:match "^%((%d+) rows?%)\n(.*)$"
  if not count then return nil, nil, out end
  local names = split(table.remove(records, 1) or "", US)
  local rows = {}
  for i, record in ipairs(records) do rows[i] = split(record, US) end
  if #names == 1 and names[1] == "" and (#rows > 0 and tonumber(count) == #rows and rows[1][1] or "") == "" then
    names = {} -- no columns, or one without a name that is empty
  end
  return names, rows, rest
end

local function read_unit(out, failed, sqlstate, count, message, copy_error)
  local result = { failed = failed == "true", sqlstate = sqlstate, count = tonumber(count) }
  if copy_error then
    local state, text = copy_error:match "ERROR:  (%w%w%w%w%w): ([^\n]*)"
    result.failed, result.sqlstate, message = state ~= nil, state or "00000", text
  end
  if result.failed then
    result.message = message
    return result
  end
  local rest
  result.columns, result.rows, rest = read_table(out)
  result.raw = out
  result.tag = rest:match "([A-Z][^\n]*)\n$"
  return result
end

local function contents(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "*a"
  file:close()
  os.remove(name)
  return text
end

local function run_psql(units, how)
  local parts = { PRELUDE }
  local function put(line) parts[#parts + 1] = line end
  for i, unit in ipairs(units) do put_unit(put, i, unit) end
  put ""
  local file = assert(io.open(how.file .. ".in", "wb"))
  file:write(table.concat(parts, "\n"))
  file:close()
  os.execute(("timeout %d %s -X -d '%s' -f '%s.in' >'%s.out' 2>'%s.err' </dev/null"):format(
    how.seconds, how.psql, how.conninfo, how.file, how.file, how.file))
  os.remove(how.file .. ".in")
  os.remove(how.file)
  return contents(how.file .. ".out"), contents(how.file .. ".err")
end

-- What stands in psql's messages behind the mark of a unit.
local function messages_of(text, i)
  local _, from = text:find(("\2B%d\n"):format(i), 1, true)
  return from and text:sub(from + 1, (text:find("\2B", from, true) or 0) - 1) or ""
end

--- Runs the units.
---@param units table[]
---@param how { psql: string, conninfo: string, file: string, seconds: number }
---@return table<integer, table>  by the unit's number: { failed, sqlstate, message } or { columns, rows, tag, count, raw }
function reference.run(units, how)
  local text, messages = run_psql(units, how)
  local results, at = {}, 1
  for i, unit in ipairs(units) do
    local _, from = text:find(("\2B%d\n"):format(i), at, true)
    local to = from and text:find(("\2E%d "):format(i), from + 1, true)
    if to then
      local failed, sqlstate, count, message, behind = text:match("^\2E%d+ (%a+) (%w+) (%d+) \3 (.-) \4\n()", to)
      if failed then
        results[i] = read_unit(text:sub(from + 1, to - 1), failed, sqlstate, count, message,
          unit.copies and messages_of(messages, i))
        at = behind
      end
    end
  end
  return results
end

-- ---- what is the same each time --------------------------------------------------------------

--- Two runs of the reference: where they differ the server itself does.  Marks in `a` what is not to be
--- compared: a result (`unstable`), its message, or single fields (false).
function reference.merge(a, b)
  for i, one in pairs(a) do
    local two = b[i]
    if not two or one.failed ~= two.failed or one.sqlstate ~= two.sqlstate then
      one.unstable = true
    elseif one.failed then
      if one.message ~= two.message then one.message = nil end
    elseif one.rows then
      if not two.rows or #one.rows ~= #two.rows or #one.columns ~= #two.columns then
        one.unstable = true
      else
        for r, row in ipairs(one.rows) do
          for c = 1, #row do
            if row[c] ~= two.rows[r][c] then row[c] = false end
          end
        end
      end
    elseif one.raw ~= two.raw then
      one.unstable = true
    end
  end
  return a
end

return reference
