-- SPDX-License-Identifier: MIT
--
-- copy: one COPY on a connection, db:copy_from and db:copy_to.  t:copy is in fastpg.table.copy_rows.
--
-- The C core (csrc/pg/copy.c) takes and gives pieces and never waits; here are the sources and sinks, the
-- waiting, and the ways out: whatever happens, the connection is idle again, or in the failed
-- transaction that any failed statement leaves behind.
--
-- PostgreSQL manual: COPY.

local error, getmetatable, pcall, tonumber, tostring, type = error, getmetatable, pcall, tonumber, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local savepoint = require "fastpg.pg.savepoint"

local copy = {}

local READ_BYTES = 65536
local FORMS = { ["in"] = "FROM STDIN", out = "TO STDOUT" }
local GIVEN_UP = "the client gave up" -- what the server's log says of an abandoned copy

-- ---- one COPY on a connection ---------------------------------------------------------------

-- What the server says of a row is in the context only: 'COPY cat, line 2, column weight: "x"', in
-- its own language, behind lines of triggers.  The value in it is not repeated.
local function name_row(err, word)
  local row, rest
  for line in ((err.context or "") .. "\n"):gmatch("(.-)\n") do
    row, rest = line:match("^COPY .-, [^%s,%d]+ (%d+)(.*)$")
    if row then break end
  end
  if not row then return err end
  local column = rest:match("^, [^%s,]+ (.-):") or rest:match("^, [^%s,]+ (.+)$")
  err.row = tonumber(row)
  err.column_name = err.column_name or column
  local place = err.column_name and ('%s %s, column "%s"'):format(word, row, err.column_name) or word .. " " .. row
  err.message = place .. ": " .. err.message
  return err
end

-- The number of rows of the finished COPY.
local function result(conn, sql, word)
  conn:drive()
  local err = conn:outcome()
  if err then error(errors.annotate(name_row(err, word), sql), 0) end
  local _, n = conn.c:fetch_status()
  return n or 0
end

local function end_early(conn)
  if conn.c:copying() ~= "in" then return conn:clear() end
  conn.c:copy_end(GIVEN_UP)
  conn:settle()
  conn:outcome()
end

-- After an error that is not the server's.
local function abandon(conn)
  if not conn.c:usable() then return end
  conn:arm_recovery()
  if not pcall(end_early, conn) then conn:close() end -- it can't be brought back to a known state
end

local function begin(conn, sql, direction, what)
  conn.c:send_copy(sql)
  conn:drive()
  local got = conn.c:copying()
  if got == direction then return end
  local err = got == nil and conn:outcome()
  if err then error(errors.annotate(err, sql), 0) end
  if got then abandon(conn) end
  errors.argument("%s: the statement is no COPY … %s", what, FORMS[direction])
end

-- Hands one piece after the other to the kernel; false when the server takes no more.
local function put(conn, data)
  local c, at = conn.c, 0
  repeat
    at = c:copy_put(data, at)
    if at == false or not conn:in_time() then return false end
    local want = c:copy_flush()
    while want == "rw" do
      conn:await(want)
      if conn.overdue then return false end
      want = c:copy_flush()
    end
    if not want then return false end
    conn:breathe()
  until not at
  return true
end

local function put_all(conn, next_piece)
  for data in next_piece do
    if not put(conn, data) then return false end
  end
  return true
end

-- Sends what next_piece gives, text or a writer, until nil: the number of rows.
local function copy_in_now(conn, sql, next_piece, what, word)
  begin(conn, sql, "in", what)
  local ok, complete = pcall(put_all, conn, next_piece)
  if not ok then
    abandon(conn)
    error(complete, 0)
  end
  conn.c:copy_end(not complete and GIVEN_UP or nil)
  return result(conn, sql, word)
end

local function copy_in(conn, ...)
  if conn.watch_copy then return conn:watch_copy(copy_in_now, ...) end -- (fastpg.pool.watch)
  return copy_in_now(conn, ...)
end

-- Gives each chunk to take until that returns false: whether it did, and how many rows there were.
local function read_all(conn, take)
  local c, count = conn.c, 0
  while true do
    local chunk, n = c:copy_read()
    if chunk then
      count = count + n
      if take(chunk) == false then return true, count end
      if conn.spend then conn.spend(n) end
    elseif n then
      conn:await(n)
    else
      return false, count
    end
    conn:in_time()
  end
end

local NAME = savepoint.name "copy"

-- A copy that is ended early is canceled, which is an error to the transaction around it: a savepoint
-- keeps that from failing.
local function copy_out_now(conn, sql, take, may_end)
  local guarded = may_end and conn.c:transaction_status() == "intrans"
  if guarded then conn:simple(savepoint.make(NAME)) end
  begin(conn, sql, "out", "copy_to")
  local ok, ended, count = pcall(read_all, conn, take)
  if ok and not ended then
    local n = result(conn, sql, "line")
    if guarded then conn:simple(savepoint.release(NAME)) end
    return n
  end
  abandon(conn)
  if guarded and conn.c:usable() then conn:simple(savepoint.undo(NAME)) end
  if not ok then error(ended, 0) end
  return count
end

local function copy_out(conn, ...)
  if conn.watch_copy then return conn:watch_copy(copy_out_now, ...) end
  return copy_out_now(conn, ...)
end

-- ---- db:copy_from, db:copy_to ---------------------------------------------------------------

local function is_callable(value)
  if type(value) == "function" then return true end
  local mt = (type(value) == "table" or type(value) == "userdata") and getmetatable(value)
  return type(mt) == "table" and mt.__call ~= nil
end

local function check_sql(self, what, sql, direction)
  if type(sql) ~= "string" then errors.argument("%s: SQL text expected, got %s", what, type(sql)) end
  local found, count = core.copy_direction(sql, self:strings())
  if found ~= direction then errors.argument("%s: the statement is no COPY … %s", what, FORMS[direction]) end
  if count > 1 then errors.argument("%s: one statement expected, got %d", what, count) end
end

local function check_piece(piece, where)
  if type(piece) ~= "string" then errors.argument("copy_from: %s expected to be text, got %s", where, type(piece)) end
  return piece
end

local function pieces_of_list(list)
  for i = 1, lists.length("copy_from", list) do check_piece(list[i], ("item %d of the list"):format(i)) end
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

local function pieces_of_file(file)
  return function()
    local piece, problem = file:read(READ_BYTES)
    if piece == nil and problem then errors.raise("io_error", "copy_from: the file can't be read: " .. problem) end
    return piece
  end
end

local function pieces_of(source)
  if type(source) == "string" then return pieces_of_list{ source } end
  if io.type(source) == "file" then return pieces_of_file(source) end
  if is_callable(source) then
    return function()
      local piece = source()
      return piece ~= nil and check_piece(piece, "what the source gives is") or nil
    end
  end
  if type(source) == "table" then return pieces_of_list(source) end
  errors.argument("copy_from: the source is text, an open file, a function or a list of texts, got %s",
    io.type(source) or type(source))
end

local function copy_from(self, sql, source)
  check_sql(self, "copy_from", sql, "in")
  return self:on_connection(copy_in, sql, pieces_of(source), "copy_from", "line")
end

local function write_to(file)
  return function(chunk)
    local ok, problem = file:write(chunk)
    if not ok then errors.raise("io_error", "copy_to: the file can't be written: " .. tostring(problem)) end
  end
end

local function copy_to(self, sql, sink)
  check_sql(self, "copy_to", sql, "out")
  if sink == nil then
    local parts = {}
    local n = self:on_connection(copy_out, sql, function(chunk) parts[#parts + 1] = chunk end, false)
    return table.concat(parts), n
  end
  if io.type(sink) == "file" then return self:on_connection(copy_out, sql, write_to(sink), true) end
  if is_callable(sink) then return self:on_connection(copy_out, sql, sink, true) end
  errors.argument("copy_to: the sink is an open file, a function, or nil for the text, got %s", io.type(sink) or type(sink))
end

-- ---- what others use ------------------------------------------------------------------------

copy.run, copy.is_callable = copy_in, is_callable

--- Adds the methods of a database.
function copy.extend(methods)
  --- Runs COPY … FROM STDIN with the bytes of the source: the number of rows.
  ---@param sql string
  ---@param source string|file*|string[]|fun(): string?
  methods.copy_from = copy_from

  --- Runs COPY … TO STDOUT: the text and the number of rows; with a sink the number of rows.
  ---@param sql string
  ---@param sink file*|nil|fun(chunk: string): boolean?  false ends it; a chunk holds whole rows
  methods.copy_to = copy_to
end

return copy
