-- SPDX-License-Identifier: MIT
--
-- copy_rows: t:copy, which writes rows by COPY.
--
-- There are two formats.  Binary, where every value is certain to have a binary form: of a list that
-- is known before anything is sent.  Else text, which takes whatever `insert` takes.  Of an iterator
-- only the first row is known, so its format is text unless `format` says otherwise (or no type can
-- object).  The types are those that the server names for an INSERT into these columns, asked for
-- each time: a wrong type would be silently wrong data in binary.
--
-- PostgreSQL manual: COPY.

local error, ipairs, next, pairs, pcall, rawequal, select, setmetatable, type =
  error, ipairs, next, pairs, pcall, rawequal, select, setmetatable, type

local catalog = require "fastpg.table.catalog"
local Connection = require "fastpg.pg.connection"
local copy = require "fastpg.pg.copy"
local copy_compiled = require "fastpg.pg.copy_compiled"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local options = require "fastpg.base.options"
local rows = require "fastpg.value.rows"
local surface = require "fastpg.base.surface"
local Table = require "fastpg.table.table"
local table_columns = require "fastpg.table.table_columns"
local table_state = require "fastpg.table.table_state"
local wait = require "fastpg.host.wait"
local write_hook = require "fastpg.table.write_hook"

-- ---- which columns, which format ------------------------------------------------------------

local OPTIONS = options.declare("t:copy", {
  columns = options.kinds("a list of column names", "table"), format = options.one_of("text", "binary"),
})

-- What is known of the rows: { rel =, chosen = { name -> true }, known = (the core's scan, which knows the names that need
-- no further look, and what kinds of values they had), strings =, objects = (of the others, columns that got some: { name
-- -> true }), given = the columns of the options or nil, closed = no column is added }.
local Scan = {}
Scan.__index = Scan

local function choose(self, name)
  name = table_columns.column_name(self.st, name, "copy: columns")
  if type(name) ~= "string" then errors.argument("copy: columns is a list of names, got a %s in it", type(name)) end
  if not self.rel.index[name] then self:missing(name, "copy: columns") end
  if self.chosen[name] then errors.argument('copy: column "%s" is named twice', name) end
  self:take(name)
  self.given[#self.given + 1] = name
end

-- From here on it is one of the columns.
function Scan:take(name)
  self.chosen[name] = true
  self.known:add(name)
end

local function new_scan(st, opts)
  local self = setmetatable({ st = st, rel = table_state.resolve(st), chosen = {}, strings = {}, objects = {} }, Scan)
  self.known = core.row_scan(#self.rel.columns)
  local columns = opts.columns
  if columns ~= nil then
    if table_columns.column_of(columns) or lists.length("copy: columns", columns) == 0 then
      errors.argument("copy: columns is a list of names, got none")
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
    table_state.doubt(st)
    self.rel = table_state.resolve(st)
    if self.rel.index[name] then return end
  end
  catalog.unknown_column(self.rel, name, where)
end

local function note_value(self, name, value)
  local kind = type(value)
  if kind == "string" then self.strings[name] = true
  elseif (kind == "userdata" or kind == "cdata") and value ~= core.null then self.objects[name] = true end
end

-- One key of a row.  Related rows that were read with it are no columns and no mistake.
local function note_key(self, number, record, name, value, fetched)
  local column = type(name) == "string" and self.rel.index[name]
  if not column then
    if rows.is_related(record, name) then return end
    self:missing(name, "copy: row " .. number)
    column = self.rel.index[name]
  end
  if not self.chosen[name] then
    if fetched and (column.generated or column.identity_always) then return end
    if self.given then return self.known:add(name) end -- which is left out
    if self.closed then
      errors.argument('copy: row %d has a column "%s" that the first row lacks: name them all in columns = { … }', number, name)
    end
    self:take(name)
  end
  self.known:add(name) -- (of the filters, maybe)
  note_value(self, name, value)
end

--- Looks at a row: its columns are chosen, or must be among those that are.
function Scan:note(number, record)
  if type(record) ~= "table" then errors.argument("copy: row %d: a record expected, got %s", number, type(record)) end
  local fetched = rows.is_fetched(record)
  if fetched and record[1] ~= nil then errors.argument("copy: row %d: a record expected, got a list of rows", number) end
  for name, value in next, record do note_key(self, number, record, name, value, fetched) end
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
    local strings, objects = scan.known:kinds(name)
    if values == "none" or values ~= "any" and (not all_seen or strings or scan.strings[name])
      or values == "numbers" and (objects or scan.objects[name]) then
      certain = false
    end
  end
  return certain
end

local function choose_format(conn, scan, described, names, all_seen, wanted)
  if wanted == "text" or wanted == nil and not conn.c:zone_loads() then return false end
  local certain, without = is_binary(scan, described, names, all_seen)
  if wanted == nil then return certain end
  if without then
    errors.argument('copy: column "%s" has no binary form here (%s): leave format = "binary" away', names[without],
      described:param_type(without))
  end
  return true
end

-- ---- sending --------------------------------------------------------------------------------

local function quoted(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = core.quote_ident(name) end
  return table.concat(list, ", ")
end

-- Asks the server for the types of these columns.  (Nothing of it is ever run: it is no event.)
local function describe(conn, rel, names)
  local numbers = {}
  for i = 1, #names do numbers[i] = "$" .. i end
  return Connection.statement_of_batch(conn, ("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)"):format(rel.qualified,
    quoted(names), table.concat(numbers, ", ")), math.huge)
end

-- Writes rows by compiled code until a piece is full; by the core those that the code stops at, and where they are many,
-- all that follow.
local ODD_ROWS, ODD_SHARE = 32, 8

local function compiled_writer(c, writer, names)
  local write, odd = copy_compiled.new(writer, names), 0
  return write and function(list, from, to)
    if not write then return c:copy_list(writer, list, from, to) end
    writer:reserve()
    local at = from
    repeat
      at = write(list, at, to)
      local stopped = at <= to and at
      if stopped then
        at = c:copy_list(writer, list, at, at)
        if at > stopped then odd = odd + 1 end
      end
    until at == stopped or at > to
    if odd > ODD_ROWS and odd * ODD_SHARE > at then write = nil end
    return at
  end
end

-- Fills the writer with rows of the list until a piece is full, and gives it; nil when there are no more.
local function filler_of_list(conn, writer, names, list, n)
  local c, at = conn.c, 1
  local write = compiled_writer(c, writer, names) or function(...) return c:copy_list(writer, ...) end
  return function()
    if at > n then return nil end
    local ok, next_at = pcall(write, list, at, n)
    if not ok then
      local column, row = writer:place()
      error(with_place(next_at, row, column), 0)
    end
    at = next_at
    if at > n then writer:finish() end
    return writer
  end
end

-- One row of an iterator, looked at as it comes: whether a piece is full.
local function write_row(c, writer, scan, number, record)
  if type(record) == "table" then
    local full = c:copy_row(writer, record, scan.known)
    if full ~= nil then return full end
  end
  note(scan, number, record)
  return c:copy_row(writer, record)
end

-- The same of an iterator: one row, or as many as fill a piece.
local function filler_of_rows(conn, writer, next_row, scan)
  local c, number, ended = conn.c, 0, false
  local function fill(one)
    while not ended do
      local record = next_row()
      if record == nil then
        ended = true
        writer:finish()
        return writer
      end
      number = number + 1
      if write_row(c, writer, scan, number, record) or one then return writer end
    end
  end
  return function(one)
    local ok, filled = pcall(fill, one)
    if not ok then error(with_place(filled, number, (writer:place())), 0) end
    return filled
  end
end

-- The rows are a list of n, all of which were looked at, or what an iterator gives, of which that is the first.
local function run(conn, scan, names, source, n, wanted)
  table_state.check_meaning(conn, scan.st)
  local described = describe(conn, scan.rel, names)
  local binary = choose_format(conn, scan, described, names, n ~= nil, wanted)
  local writer = conn.c:copy_writer(described, names, scan.st.filters or nil, binary)
  local fill = n and filler_of_list(conn, writer, names, source, n) or filler_of_rows(conn, writer, source, scan)
  local first = fill(true) -- what is wrong here is an error before anything is sent
  local sql = ("COPY %s (%s) FROM STDIN%s"):format(scan.rel.qualified, quoted(names), binary and " (FORMAT binary)" or "")
  return copy.run(conn, sql, function()
    local piece = first or fill()
    first = nil
    return piece
  end, "copy", "row")
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

local LOOK_ROWS = 1000 -- at once, under a loop

local function scan_list(scan, list, spend)
  if list[1] == nil and type((next(list))) == "string" then
    errors.argument("copy: a list of records expected, got one record: use insert")
  end
  local n = lists.length("copy", list)
  list = lists.plain(list, n)
  local at = 1
  while at <= n do
    local last = spend and math.min(at + LOOK_ROWS - 1, n) or n
    at = scan.known:look(list, at, last)
    if at <= last then
      note(scan, at, list[at])
      at = at + 1
    elseif spend then
      spend(0)
    end
  end
  if n > 0 then return list, n end
end

local function scan_first(scan, source)
  local first = source()
  if first == nil then return nil end
  note(scan, 1, first)
  scan.closed, scan.streaming = true, true
  return rows_behind(first, source)
end

-- (opts.db: the transaction that a hook on writes is told in.)
local function send(st, opts, ...)
  local count = (opts.db or st.db):on_connection(run, ...)
  if opts.seen then opts.seen.rows, opts.seen.keys = count, nil end -- COPY gives no rows back
  return count
end

local function copy_scanned(st, source, callable, opts)
  local scan, n = new_scan(st, opts), nil
  if callable then
    source = scan_first(scan, source)
  else
    source, n = scan_list(scan, source, wait.pick(st.db.root.config.loop).spend)
  end
  if not source then return 0 end
  local names = scan:columns()
  if #names == 0 then errors.argument("copy: the rows have no columns: use inserts for rows of defaults") end
  if st.db.root.writes then return write_hook.run(st, "copy", opts, send, scan, names, source, n, opts.format) end
  return send(st, opts, scan, names, source, n, opts.format)
end

--- Writes many rows by COPY, all or nothing: the number of rows.  A column that a row lacks is NULL.
---@param source table[]|fun(): table?  a list of records, or what gives one after the other until nil
---@param opts { columns: string[]?, format: "text"|"binary"? }?  columns: which ones, by default those that any
--- row of a list has, those of the first row of an iterator
---@return integer
local function copy_rows(self, source, opts, ...)
  local st = Table.check_self(self, "copy")
  local n = select("#", ...)
  -- `t:copy(other:each())`: what a generic for takes, the iterator with what closes it
  if n > 0 and not (n == 2 and opts == nil and rawequal(source, (select(2, ...)))) then surface.surplus("copy", 2, n + 2) end
  opts = options.check(opts, OPTIONS, "copy")
  local callable = copy.is_callable(source)
  if not callable and type(source) ~= "table" then
    errors.argument("copy: a list of records or an iterator expected, got %s", type(source))
  end
  return table_state.on_one_connection(st, copy_scanned, st, source, callable, opts)
end

return { copy = copy_rows }
