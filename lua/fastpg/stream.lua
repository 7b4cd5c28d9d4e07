-- SPDX-License-Identifier: MIT
--
-- stream: rows one after the other in constant memory.
--
-- Two sources with one face (`next_row`, `finish`): outside a transaction a connection of its own
-- in single-row mode; inside one a cursor, read in batches, so that other statements run between
-- them on the same connection.  What `each` gives is callable (a generic `for` takes it), has
-- :close(), closes itself at the end, on an error, when the loop is left (5.4) and when collected.

local core = require "fastpg.core"
local rows = require "fastpg.rows"
local statement = require "fastpg.statement"

local stream = {}

local FETCH_ROWS = 256

-- ---- a connection of its own ----------------------------------------------------------------

local Single = {}
Single.__index = Single

function Single:next_row()
  local conn = self.conn
  conn:drive()
  local err = conn:outcome()
  if err then error(err, 0) end
  return (conn.c:fetch_row(self.st, self.metatable))
end

-- Rows still to come would have to be read: stop the server instead.
function Single:finish()
  local conn = self.conn
  if conn.c:usable() and conn.c:busy() then
    conn.c:cancel()
    conn:settle()
    conn:outcome()
  end
end

local function open_single(conn, target, sql, list, n)
  local st = conn:statement(sql)
  conn.c:send_list(st, list, n)
  conn.c:stream()
  return setmetatable({ conn = conn, st = st, metatable = rows.of(st:shape(), target.db, target.class, target.class_name) }, Single)
end

-- ---- a cursor -------------------------------------------------------------------------------

local Cursor = {}
Cursor.__index = Cursor

local cursor_serial = 0

function Cursor:next_row()
  self.position = self.position + 1
  local row = self.batch[self.position]
  if row == nil and not self.over then
    self.batch = self.conn:run_once(self.fetch_sql, statement.fetch.rows, self.target, {}, 0)
    self.over = #self.batch < FETCH_ROWS
    self.position = 1
    row = self.batch[1]
  end
  return row
end

function Cursor:finish()
  if self.name and self.conn.c:usable() and self.conn.c:transaction_status() == "intrans" then
    self.conn:simple("CLOSE " .. self.name)
  end
end

local cursor_kinds = { select = true, with = true, values = true, table = true }

local function open_cursor(conn, target, sql, list, n)
  local kind, modifies, several = core.statement_kind(sql, conn.standard_strings)
  if not cursor_kinds[kind] or modifies or several then -- e.g. INSERT … RETURNING has no cursor
    local all = conn:run_list(sql, statement.fetch.rows, target, list, n)
    return setmetatable({ conn = conn, batch = all, position = 0, over = true }, Cursor)
  end
  cursor_serial = cursor_serial + 1
  local name = "fastpg_cursor_" .. cursor_serial
  conn:run_once(("DECLARE %s NO SCROLL CURSOR FOR %s"):format(name, sql), statement.fetch.status, nil, list, n)
  return setmetatable({
    conn = conn, target = target, name = name, batch = {}, position = 0,
    fetch_sql = ("FETCH %d FROM %s"):format(FETCH_ROWS, name),
  }, Cursor)
end

-- ---- what each gives ------------------------------------------------------------------------

local Stream = { __name = "fastpg.each" }

-- On 5.1 and LuaJIT tables have no __gc: a proxy userdata stands in.
function stream.on_collect(object, fn)
  local proxy = rawget(_G, "newproxy")
  if not proxy then return end
  object.sentinel = proxy(true)
  getmetatable(object.sentinel).__gc = fn
end

local function close(self)
  local source, release = self.source, self.release
  if not source then return end
  self.source = nil
  local ok, err = pcall(source.finish, source)
  release(source.conn, ok)
  if not ok then error(err, 0) end
end

Stream.__call = function(self)
  local source = self.source
  if not source then return nil end
  local ok, row = pcall(source.next_row, source)
  if ok and row ~= nil then return row end
  close(self)
  if not ok then error(row, 0) end
  return nil
end

Stream.__close = close
Stream.__index = {
  --- Ends the reading; a no-op when it has ended.
  close = close,
}

-- Collected while rows are outstanding: the connection is not worth a wait.
local function abandon(holder)
  local source, release = holder.source, holder.release
  if source then
    holder.source = nil
    if getmetatable(source) == Single then source.conn.c:close() end
    release(source.conn, false)
  end
end
Stream.__gc = abandon

--- Opens a stream on a connection.
---@param conn table
---@param release fun(conn: table, ok: boolean)  gives the connection back
---@param target table  what rows become (statement.fetch)
---@param own boolean  true: the connection is the stream's own
function stream.open(conn, release, own, target, sql, list, n)
  local ok, source = pcall(own and open_single or open_cursor, conn, target, sql, list, n)
  if not ok then
    release(conn, true)
    error(source, 0)
  end
  local self = { source = source, release = release }
  stream.on_collect(self, function() abandon(self) end)
  return setmetatable(self, Stream)
end

--- Runs fn for each row until it returns false.
function stream.for_each(self, fn)
  local function loop()
    for row in self do
      if fn(row) == false then return end
    end
  end
  local ok, err = pcall(loop)
  close(self)
  if not ok then error(err, 0) end
end

return stream
