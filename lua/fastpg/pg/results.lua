-- SPDX-License-Identifier: MIT
--
-- results: everything that a text gives (db:results): of each of its statements the tag, the rows, their number.
--
-- A text of one statement runs as any other.  Several go by the simple protocol, as those of db:execute, and each result
-- is put aside as it comes: types that nobody knows yet are looked up when the last one is there.  They come as text, which
-- reads as what comes in binary would, but where the text itself changes what text means: that is an error (ambiguous_text).
--
-- PostgreSQL manual: "Simple Query" of the protocol, "Multiple Statements in a Simple Query".

local error, ipairs, pairs, pcall, select, type = error, ipairs, pairs, pcall, select, type

local command = require "fastpg.pg.command"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local session_use = require "fastpg.pg.session_use"
local transaction_control = require "fastpg.pg.transaction_control"

local results = {}

local BREATHE = 64 -- results, before others have a turn

-- ---- which statement it was -----------------------------------------------------------------

-- The number of bytes before a character's position.
local function byte_of(sql, position)
  local at, count = 1, 1
  while count < position and at <= #sql do
    at = at + 1
    while (sql:byte(at) or 0) >= 0x80 and sql:byte(at) < 0xC0 do at = at + 1 end
    count = count + 1
  end
  return at
end

-- The failed statement's number: where it stands is told, or it is the one behind those that are answered.  nil: none of
-- them, as what is deferred to the end.
local function failed(sql, err, list, answered)
  if not err.position then return answered < #list and answered + 1 or nil end
  local at = byte_of(sql, err.position)
  for i, one in ipairs(list) do
    if at <= one.last then return i end
  end
  return #list > 0 and #list or nil
end

-- ---- running --------------------------------------------------------------------------------

local methods = {}

--- Runs SQL text of several statements: for each a table { status =, count =, result = (of rows: the core's holder) }.
---@param sql string
---@return table[]
function methods.parts(self, sql)
  local c, parts = self.c, {}
  c:send_simple(sql, true)
  self:drive()
  while c:busy() do
    local status, count, has_rows = c:status()
    if status then
      parts[#parts + 1] = { status = status, count = count, result = has_rows and c:take() or nil }
      if #parts % BREATHE == 0 then self:breathe() end
    end
    self:drive()
  end
  local err = self:outcome(nil, sql)
  if err then
    err.statement = failed(sql, err, core.statements(sql, self.standard_strings), #parts)
    error(errors.annotate(err, sql), 0)
  end
  self:note_path(sql)
  return parts
end

-- ---- reading --------------------------------------------------------------------------------

local DIGITS = 4 -- of stmt:text_needs (FPG_NEEDS_DIGITS)

local function needs_digits(reader) return reader:text_needs() % (2 * DIGITS) >= DIGITS end

-- extra_float_digits is not reported: it is asked for at the first result with floats in it, where it was not set before.
local function check_digits(conn, state)
  if state.digits == false or not state.digits and not conn:has_digits() then
    errors.raise("ambiguous_text", "the text sets extra_float_digits itself, and its floats came without all of their "
      .. "digits: set it before, by a call of its own")
  end
end

-- The result that is put back is read by its own description.
local function read_rows(conn, state, target)
  local reader = conn:redescribe()
  if conn:is_unsure(reader) then conn:aside(conn.verify, reader) end
  if not state.checked and needs_digits(reader) then
    conn:aside(check_digits, state)
    state.checked = true
  end
  conn.c:text_style(state.style, state.style, not state.style)
  return conn:fetch(reader, fetch.rows, target)
end

local function run_parts(conn, target, sql)
  local c, lower, style = conn.c, sql:lower(), conn.c:parameter "DateStyle"
  -- ISO says its own order and offset: what is not ISO then, or where the text may set it, is of a style that is not known
  local state = { style = not style:find "^ISO" and not lower:find("set", 1, true) and style or nil }
  if lower:find("extra_float_digits", 1, true) then
    state.digits = false
  elseif conn.unreported ~= "" and c:transaction_status() ~= "inerror" then
    state.digits = conn:begin_digits()
  end
  conn.looked_at = nil
  local ok, parts = pcall(conn.parts, conn, sql)
  if state.digits and c:usable() then conn:end_digits(state.digits) end
  if not ok then error(parts, 0) end
  for i, part in ipairs(parts) do
    if part.result then
      c:put(part.result)
      part.rows, part.result = read_rows(conn, state, target), nil
    end
    if i % BREATHE == 0 then conn:breathe() end
  end
  return parts
end

-- ---- db:results -----------------------------------------------------------------------------

local function run(conn, target, sql)
  local text = command.text(conn, "results", sql)
  local list = core.statements(text, conn.standard_strings)
  if #list == 1 then return { fetch.run(conn, fetch.result, target, sql) } end
  if conn.in_transaction then transaction_control.check(conn, text) end
  if conn.sharing then session_use.check(conn, text) end
  return run_parts(conn, target, text)
end

--- Of each statement of the text { status =, count =, rows = }: the tag, the number of rows that it names or nil, and the
--- rows where the statement gives some.  With arguments it is one statement.
---@param sql string|userdata
---@return table[]
local function results_method(self, sql, ...)
  if select("#", ...) > 0 or core.is_sql(sql) then return { (self:query(fetch.result, sql, ...)) } end
  if type(sql) ~= "string" then errors.argument("results: SQL text expected, got %s", type(sql)) end
  return self:on_connection(run, self.row_target, sql)
end

--- Adds `parts` to the methods of a connection.
function results.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

results.of_database = results_method

return results
