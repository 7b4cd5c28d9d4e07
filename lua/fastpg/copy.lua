-- SPDX-License-Identifier: MIT
--
-- copy: COPY.  t:copy writes rows, db:copy_from and db:copy_to pass bytes through.
--
-- The C core (csrc/copy.c) encodes and never waits; here are the sources and sinks, the waiting, and
-- the ways out: whatever happens, the connection is idle again, or in the failed transaction that
-- any failed statement leaves behind.
--
-- t:copy has two formats.  Binary, where every value is certain to have a binary form: of a list that
-- is known before anything is sent.  Else text, which takes whatever `insert` takes.  Of an iterator
-- only the first row is known, so its format is text unless `format` says otherwise (or no type can
-- object).  The types are those that the server names for an INSERT into these columns, asked for
-- each time: a wrong type would be silently wrong data in binary.
--
-- PostgreSQL manual: COPY.

local catalog = require "fastpg.catalog"
local core = require "fastpg.core"
local errors = require "fastpg.errors"
local handle = require "fastpg.handle"
local options = require "fastpg.options"
local rows = require "fastpg.rows"
local Table = require "fastpg.table"

local copy = {}

local READ_BYTES = 65536
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
  errors.argument("%s: the statement is no COPY … %s", what, direction == "in" and "FROM STDIN" or "TO STDOUT")
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
  until not at
  return true
end

local function put_all(conn, next_piece)
  for data in next_piece do
    if not put(conn, data) then return false end
  end
  return true
end

-- Sends what next_piece gives, text or a writer, until nil.
local function copy_in(conn, sql, what, word, next_piece)
  begin(conn, sql, "in", what)
  local ok, complete = pcall(put_all, conn, next_piece)
  if not ok then
    abandon(conn)
    error(complete, 0)
  end
  conn.c:copy_end(not complete and GIVEN_UP or nil)
  return result(conn, sql, word)
end

-- Gives each chunk to take until that returns false: whether it did, and how many rows there were.
local function read_all(conn, take)
  local c, count = conn.c, 0
  while true do
    local chunk, n = c:copy_read()
    if chunk then
      count = count + n
      if take(chunk) == false then return true, count end
    elseif n then
      conn:await(n)
    else
      return false, count
    end
    conn:in_time()
  end
end

local SAVEPOINT, RELEASE = "SAVEPOINT fastpg_copy", "RELEASE SAVEPOINT fastpg_copy"
local UNDO = "ROLLBACK TO SAVEPOINT fastpg_copy; RELEASE SAVEPOINT fastpg_copy"

-- A copy that is ended early is canceled, which is an error to the transaction around it: a savepoint
-- keeps that from failing.
local function copy_out(conn, sql, take, may_end)
  local guarded = may_end and conn.c:transaction_status() == "intrans"
  if guarded then conn:simple(SAVEPOINT) end
  begin(conn, sql, "out", "copy_to")
  local ok, ended, count = pcall(read_all, conn, take)
  if ok and not ended then
    local n = result(conn, sql, "line")
    if guarded then conn:simple(RELEASE) end
    return n
  end
  abandon(conn)
  if guarded and conn.c:usable() then conn:simple(UNDO) end
  if not ok then error(ended, 0) end
  return count
end

-- ---- db:copy_from, db:copy_to ---------------------------------------------------------------

local function is_callable(value)
  if type(value) == "function" then return true end
  local mt = (type(value) == "table" or type(value) == "userdata") and getmetatable(value)
  return type(mt) == "table" and mt.__call ~= nil
end

local function check_sql(self, what, sql, word)
  if type(sql) ~= "string" then errors.argument("%s: SQL text expected, got %s", what, type(sql)) end
  local kind = core.statement_kind(sql, self.root.standard_strings)
  if kind ~= "copy" or not sql:lower():find("%f[%w]" .. word .. "%f[%W]") then
    errors.argument("%s: the statement is no COPY … %s %s", what, word == "stdin" and "FROM" or "TO", word:upper())
  end
end

local function check_piece(piece, where)
  if type(piece) ~= "string" then errors.argument("copy_from: %s expected to be text, got %s", where, type(piece)) end
  return piece
end

local function pieces_of_list(list)
  for i = 1, #list do check_piece(list[i], ("item %d of the list"):format(i)) end
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
  check_sql(self, "copy_from", sql, "stdin")
  return self:on_connection(copy_in, sql, "copy_from", "line", pieces_of(source))
end

local function write_to(file)
  return function(chunk)
    local ok, problem = file:write(chunk)
    if not ok then errors.raise("io_error", "copy_to: the file can't be written: " .. tostring(problem)) end
  end
end

local function copy_to(self, sql, sink)
  check_sql(self, "copy_to", sql, "stdout")
  if sink == nil then
    local parts = {}
    local n = self:on_connection(copy_out, sql, function(chunk) parts[#parts + 1] = chunk end, false)
    return table.concat(parts), n
  end
  if io.type(sink) == "file" then return self:on_connection(copy_out, sql, write_to(sink), true) end
  if is_callable(sink) then return self:on_connection(copy_out, sql, sink, true) end
  errors.argument("copy_to: the sink is an open file, a function, or nil for the text, got %s", io.type(sink) or type(sink))
end

-- ---- t:copy: which columns, which format ----------------------------------------------------

local OPTIONS = options.set("columns", "format")
local FORMATS = { text = true, binary = true }

-- What is known of the rows: { rel =, chosen = { name -> true }, strings =, objects = (columns that got
-- some: { name -> true }), given = the columns of the options or nil, closed = no column is added }.
local Scan = {}
Scan.__index = Scan

local function choose(self, name)
  if type(name) ~= "string" then
    local column = handle.column_of(name)
    if not column then errors.argument("copy: columns is a list of names, got a %s in it", type(name)) end
    name = column.name
  end
  if not self.rel.index[name] then self:missing(name, "copy: columns") end
  if self.chosen[name] then errors.argument('copy: column "%s" is named twice', name) end
  self.chosen[name] = true
  self.given[#self.given + 1] = name
end

local function new_scan(st, opts)
  local self = setmetatable({ st = st, rel = handle.resolve(st), chosen = {}, strings = {}, objects = {} }, Scan)
  local columns = opts.columns
  if columns ~= nil then
    if type(columns) ~= "table" or handle.column_of(columns) or #columns == 0 then
      errors.argument("copy: columns is a list of names, got %s", type(columns) == "table" and "none" or type(columns))
    end
    self.given, self.closed = {}, true
    for _, name in ipairs(columns) do choose(self, name) end
  end
  return self
end

-- A column that the catalog does not know is looked up once more before it is an error.
function Scan:missing(name, where)
  local st = self.st
  if not self.streaming and type(name) == "string" then
    st.db.catalog:forget(st.name, st.schema)
    st.generation = -1
    self.rel = handle.resolve(st)
    if self.rel.index[name] then return end
  end
  catalog.unknown_column(self.rel, name, where)
end

local function note_value(self, name, value)
  local kind = type(value)
  if kind == "string" then self.strings[name] = true
  elseif kind == "userdata" or kind == "cdata" then self.objects[name] = true end
end

-- One key of a row.  Related rows that it carries along are no columns and no mistake.
local function note_key(self, number, name, value, fetched)
  local column = type(name) == "string" and self.rel.index[name]
  if not column then
    if type(name) == "string" and rows.shape(value) then return end
    self:missing(name, "copy: row " .. number)
    column = self.rel.index[name]
  end
  if not self.chosen[name] then
    if self.given or fetched and (column.generated or column.identity_always) then return end
    if self.closed then
      errors.argument('copy: row %d has a column "%s" that the first row lacks: name them all in columns = { … }', number, name)
    end
    self.chosen[name] = true
  end
  note_value(self, name, value)
end

--- Looks at a row: its columns are chosen, or must be among those that are.
function Scan:note(number, record)
  if type(record) ~= "table" then errors.argument("copy: row %d: a record expected, got %s", number, type(record)) end
  local fetched = rows.is_fetched(record)
  if fetched and record[1] ~= nil then errors.argument("copy: row %d: a record expected, got a list of rows", number) end
  for name, value in next, record do note_key(self, number, name, value, fetched) end
end

-- As note, with the row in the error's fields.
local function note(scan, number, record)
  local ok, err = pcall(scan.note, scan, number, record)
  if ok then return end
  if errors.is_error(err) then err.row = number end
  error(err, 0)
end

-- What went wrong while a row was encoded, with its place.
local function with_place(err, number, column)
  if not column then return err end
  local place = ('row %d, column "%s": '):format(number, column)
  if type(err) == "string" then return place .. err end -- of a codec that the user set
  if not errors.is_error(err) then return err end
  err.message = place .. err.message
  err.row, err.column_name = number, column
  return err
end

--- The names of the columns: as given, else in the table's order; those of the filters are among them.
function Scan:columns()
  local names = {}
  for name, value in pairs(self.st.filters or {}) do
    if not self.chosen[name] and self.given then self.given[#self.given + 1] = name end
    self.chosen[name] = true
    note_value(self, name, value)
  end
  if self.given then return self.given end
  for _, column in ipairs(self.rel.columns) do
    if self.chosen[column.name] then names[#names + 1] = column.name end
  end
  return names
end

-- Whether all values are certain to have a binary form; the first column whose type has none.
local function is_binary(scan, described, names, all_seen)
  local certain = true
  for i, name in ipairs(names) do
    local values = described:binary_values(i)
    if not values then return false, i end
    if values ~= "any" and (not all_seen or scan.strings[name] or values == "numbers" and scan.objects[name]) then
      certain = false
    end
  end
  return certain
end

local function choose_format(scan, described, names, all_seen, wanted)
  if wanted == "text" then return false end
  local certain, without = is_binary(scan, described, names, all_seen)
  if wanted == nil then return certain end
  if without then
    errors.argument('copy: column "%s" has no binary form here (%s): leave format = "binary" away', names[without],
      described:param_type(without))
  end
  return true
end

-- ---- t:copy: sending ------------------------------------------------------------------------

local function quoted(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = core.quote_ident(name) end
  return table.concat(list, ", ")
end

-- Asks the server for the types of these columns.
local function describe(conn, rel, names)
  local numbers = {}
  for i = 1, #names do numbers[i] = "$" .. i end
  return conn:statement_of_batch(("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)"):format(rel.qualified,
    quoted(names), table.concat(numbers, ", ")), math.huge)
end

-- Fills the writer with one row, or with rows until a piece is full, and gives it; nil when there are
-- no more.
local function filler(conn, writer, next_row, scan)
  local c, number, ended = conn.c, 0, false
  local copy_row = c.copy_row
  return function(one)
    while not ended do
      local record = next_row()
      if record == nil then
        ended = true
        writer:finish()
        return writer
      end
      number = number + 1
      if scan then note(scan, number, record) end
      local ok, full = pcall(copy_row, c, writer, record)
      if not ok then error(with_place(full, number, writer:column()), 0) end
      if full or one then return writer end
    end
  end
end

-- `rest` goes on behind what was looked at already, where that is not all.
local function run(conn, scan, names, next_row, rest, wanted)
  local described = describe(conn, scan.rel, names)
  local binary = choose_format(scan, described, names, not rest, wanted)
  local writer = conn.c:copy_writer(described, names, scan.st.filters or nil, binary)
  local fill = filler(conn, writer, next_row, rest and scan)
  local first = fill(rest) -- what is wrong here is an error before anything is sent
  local sql = ("COPY %s (%s) FROM STDIN%s"):format(scan.rel.qualified, quoted(names), binary and " (FORMAT binary)" or "")
  return copy_in(conn, sql, "copy", "row", function()
    local piece = first or fill()
    first = nil
    return piece
  end)
end

local function rows_of_list(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

-- The first row, then the others.
local function rows_behind(first, source)
  return function()
    local record = first
    first = nil
    if record == nil then record = source() end
    return record
  end
end

local function scan_list(scan, list)
  if list[1] == nil and next(list) ~= nil then
    errors.argument("copy: a list of records expected, got one record: use insert")
  end
  for i, record in ipairs(list) do note(scan, i, record) end
  return list[1] ~= nil and rows_of_list(list) or nil
end

local function scan_first(scan, source)
  local first = source()
  if first == nil then return nil end
  note(scan, 1, first)
  scan.closed, scan.streaming = true, true
  return rows_behind(first, source)
end

--- Writes many rows by COPY, all or nothing: the number of rows.  A column that a row lacks is NULL.
---@param source table[]|fun(): table?  a list of records, or what gives one after the other until nil
---@param opts { columns: string[]?, format: "text"|"binary"? }?  columns: which ones, by default those that any
--- row of a list has, those of the first row of an iterator
---@return integer
function Table.methods.copy(self, source, opts)
  local st = Table.check_self(self, "copy")
  opts = options.check(opts, OPTIONS, "copy")
  if opts.format ~= nil and not FORMATS[opts.format] then
    errors.argument('copy: format is "text" or "binary", got %s', tostring(opts.format))
  end
  local callable = is_callable(source)
  if not callable and type(source) ~= "table" then
    errors.argument("copy: a list of records or an iterator expected, got %s", type(source))
  end
  local scan = new_scan(st, opts)
  local next_row = (callable and scan_first or scan_list)(scan, source)
  if not next_row then return 0 end
  local names = scan:columns()
  if #names == 0 then errors.argument("copy: the rows have no columns: use inserts for rows of defaults") end
  return st.db:on_connection(run, scan, names, next_row, callable, opts.format)
end

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
