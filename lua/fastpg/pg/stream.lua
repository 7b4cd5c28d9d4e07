-- SPDX-License-Identifier: MIT
--
-- stream: rows one after the other in constant memory.
--
-- Two sources with one face (`next_row`, `finish`): outside a transaction single-row mode, which has
-- the connection for itself; inside one a cursor, read in batches, so that other statements run
-- between them on the same connection.  What `each` gives is callable (a generic `for` takes it), has
-- :close(), closes itself at the end, on an error, when the loop is left (5.4) and when collected.

local error, pcall, setmetatable = error, pcall, setmetatable

local core = require "fastpg.core"
local defer = require "fastpg.base.defer"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local options = require "fastpg.base.options"
local surface = require "fastpg.base.surface"
local turn = require "fastpg.host.turn"
local wait = require "fastpg.host.wait"

local stream = {}

local FETCH_ROWS = 256

local open_whole

-- ---- single-row mode ------------------------------------------------------------------------

local Single = {}
Single.__index = Single

-- How many rows are made at once; each time the clock is looked at.
local MOST = 64

-- The time allowed is that of each wait for rows.
local function wait_for_row(conn, want)
  if not conn.overdue then conn:arm() end
  if want ~= true then
    conn:await(want)
    conn:drive()
  end
end

-- A row may be of types that have to be looked up, which only an idle connection can: the rows that are still to come
-- are put aside before.
local function gather(self)
  local conn, c = self.conn, self.conn.c
  local rest = { c:take() }
  self.rest, self.position = rest, 0
  while c:busy() do
    wait_for_row(conn, c:step())
    local err = conn:outcome()
    if err then
      self.failure = err
      return
    end
    rest[#rest + 1] = c:take()
  end
end

local function fetch_row(conn, st, target)
  return (conn.c:fetch_row(st, fetch.row_metatable(conn, st, target)))
end

local function gathered_row(self)
  local at = self.position + 1
  local result = self.rest[at]
  if not result then
    if self.failure then error(errors.annotate(self.failure, self.sql), 0) end
    return nil
  end
  self.rest[at], self.position = false, at
  self.conn.c:put(result)
  return self.conn:fetch(self.st, fetch_row, self.target)
end

local function read_row(self)
  local conn = self.conn
  local ok, row = pcall(conn.c.fetch_row, conn.c, self.st, self.metatable)
  if ok then return row end
  if not conn:is_readable_later(row) then error(row, 0) end
  gather(self)
  return gathered_row(self)
end

-- At the end: rows that came as text were read by what was in force when they were asked for.
local function check_style(self)
  local conn = self.conn
  conn:clear() -- the report comes behind the rows
  local now = conn.c:parameter "DateStyle"
  if now == self.style then return end
  errors.raise("ambiguous_text", ("the statement changed DateStyle from %s to %s itself, and its rows came as text: which "
    .. "style their dates had is not known; set it before"):format(self.style, now), { query = self.sql })
end

local function later_row(self)
  local row = gathered_row(self)
  if row == nil and self.style then check_style(self) end
  return row
end

-- What is there: a row that needs a look of its own, the end (nil), or an error.
local function look(self)
  local conn = self.conn
  if not conn.c:busy() then self.told = true end
  local err = conn:outcome()
  if err then error(errors.annotate(err, self.sql), 0) end
  local row
  if self.names_types then row = read_row(self) else row = conn.c:fetch_row(self.st, self.metatable) end
  if row == nil and self.style then check_style(self) end
  return row
end

-- The next row by itself: its values name types, which may have to be looked up.
local function single_row(self)
  if self.rest then return later_row(self) end
  if self.ready then -- the first one was waited for at the start
    self.ready = false
  else
    local want = self.conn.c:step()
    self.untimed = self.untimed + 1
    if want ~= true or self.untimed == MOST then
      self.untimed = 0
      wait_for_row(self.conn, want)
    end
  end
  return look(self)
end

local function take(ring)
  local at = ring.at + 1
  local row = ring[at]
  if not row then return nil end
  ring[at], ring.at = false, at -- whoever has the row has it alone
  return row
end

-- The next row, and more of them in the ring where they are there.
local function ring_row(self)
  local conn, ring = self.conn, self.ring
  local row = take(ring)
  if row then return row end
  local failure = self.failure
  if failure then error(failure, 0) end
  local c = conn.c
  ring.at = 0
  if not conn.overdue then conn:arm() end
  while true do
    local ok, n, stop = pcall(c.next_rows, c, self.st, self.metatable, ring, MOST)
    row = take(ring)
    if not ok then
      if not row then error(n, 0) end
      self.failure = n
    end
    if row then return row end
    if stop == true then return look(self) end
    wait_for_row(conn, stop)
  end
end

function Single:next_row()
  local row
  if self.names_types then row = single_row(self) else row = ring_row(self) end
  local spend = self.conn.spend
  if spend then spend(1) end
  return row
end

-- Collected on a connection that is not its own: the next statement makes room for itself.
function Single:lost(owned)
  if owned then self.conn.abandoned = true end
end

-- Rows still to come would have to be read: stop the server instead.
function Single:finish()
  local conn = self.conn
  if not conn.c:usable() then return end
  conn:arm_recovery()
  if not self.told and not conn.c:busy() then conn:outcome() end -- the end came with rows that nobody took
  conn:clear()
  conn:end_digits(self.digits)
end

-- What the text of its rows depends on is asked for before, since nothing fits in between.  While they come the
-- statement itself may set another style (SELECT set_config), whose report comes behind them.  ISO says its own
-- order and offset: what is not ISO there is of a style that is not known.
local function begin_text(conn, st, sql, list, n)
  if st == conn.unnamed then
    conn.unnamed = nil
    conn:settle()
  end
  local digits = conn:begin_digits()
  local style = conn.c:parameter "DateStyle"
  local known = not style:find "^ISO" and not sql:lower():find("set_config", 1, true)
  conn.c:text_style(style, known and style or nil, not known)
  return conn:statement_for(sql, list, n), digits, style
end

local function start_single(conn, sql, list, n, st)
  st = st or conn:statement_for(sql, list, n)
  local digits, style
  if conn.doubled then conn:check_duplicates(st, fetch.rows) end
  if conn.textual and conn.textual[st] then st, digits, style = begin_text(conn, st, sql, list, n) end
  conn:send("send_list", st, list, n)
  conn.c:stream(not conn:names_types(st))
  conn:drive()
  local err, reader = conn:outcome(st, sql)
  return reader, err, st, digits, style
end

-- Behind a pooler in transaction mode what is asked for before is of another transaction.  A batch of one asks in its own.
local function comes_as_text(conn, st)
  if not (conn.textual and conn.textual[st]) then return false end
  if st == conn.unnamed then
    conn.unnamed = nil
    conn:settle()
  end
  return true
end

local function open_single(conn, target, sql, list, n)
  local known = nil
  if conn.pooler == "transaction" then
    known = conn:statement_for(sql, list, n)
    if comes_as_text(conn, known) then return open_whole(conn, target, sql, list, n) end
  end
  local st, err, sent, digits, style = start_single(conn, sql, list, n, known)
  if err and conn:may_retry(err, sent) then
    local _
    st, err, _, digits, style = start_single(conn, sql, list, n)
  end
  if err then error(errors.annotate(err, sql), 0) end
  return setmetatable({
    conn = conn, st = st, sql = sql, digits = digits, style = style, ready = true, untimed = 0, target = target,
    names_types = conn:names_types(st), -- its values do
    ring = { at = 0 }, told = false,
    metatable = fetch.row_metatable(conn, st, target),
  }, Single)
end

-- ---- a cursor -------------------------------------------------------------------------------

local Cursor = {}
Cursor.__index = Cursor

local cursor_serial = 0

local function fetch_batch(conn, self)
  if self.owner then self.owner:connection() end -- it may have ended while this coroutine waited
  conn:arm()
  return conn:run_once(self.fetch_sql, fetch.rows, self.target, {}, 0)
end

function Cursor:next_row()
  self.position = self.position + 1
  local row = self.batch[self.position]
  if row == nil and not self.over then
    self.batch = turn.run(self.conn, fetch_batch, self)
    self.over = #self.batch < FETCH_ROWS
    self.position = 1
    row = self.batch[1]
  end
  return row
end

local function close_cursor(conn, self)
  if not conn.c:usable() or conn.c:transaction_status() ~= "intrans" then return end
  if self.owner and self.owner.over then return end -- and the cursor with it
  conn:arm_recovery()
  conn:simple("CLOSE " .. self.name)
end

function Cursor:finish()
  if self.name then turn.run_by(self.conn, core.clock() + self.conn.GRACE, close_cursor, self) end
end

local cursor_verbs = { SELECT = true, VALUES = true, TABLE = true }

-- One statement that only reads: INSERT … RETURNING, a CTE that writes and SELECT INTO have no cursor.
local function takes_cursor(sql, standard_strings)
  local list = core.statements(sql, standard_strings)
  return #list == 1 and #list[1].verbs == 1 and cursor_verbs[list[1].verb]
end

-- All rows at once.
function open_whole(conn, target, sql, list, n)
  local all = conn:run_list(sql, fetch.rows, target, list, n)
  return setmetatable({ conn = conn, batch = all, position = 0, over = true }, Cursor)
end

local function open_cursor(conn, target, sql, list, n, owner)
  if not takes_cursor(sql, conn.standard_strings) then return open_whole(conn, target, sql, list, n) end
  cursor_serial = cursor_serial + 1
  local name = "fastpg_cursor_" .. cursor_serial
  conn:run_once(("DECLARE %s NO SCROLL CURSOR FOR %s"):format(name, sql), fetch.status, nil, list, n)
  return setmetatable({
    conn = conn, target = target, owner = owner, name = name, batch = {}, position = 0,
    fetch_sql = ("FETCH %d FROM %s"):format(FETCH_ROWS, name),
  }, Cursor)
end

-- ---- what each gives ------------------------------------------------------------------------

local Stream = { __name = "fastpg.each" }

-- Whether the connection is still the one that this stream may use.
local function is_owned(self)
  local owner = self.owner
  return not owner or not owner.over and owner.lease == self.source.conn.lease
end

local function close(self)
  local source = self.source
  if not source then return end
  local owned = is_owned(self)
  self.source, self.ring = nil, false
  local ok, err = true, nil
  if owned then ok, err = pcall(source.finish, source) elseif source.left then source:left() end
  if self.release then self.release() end
  if not ok then error(err, 0) end
end

-- Collected while rows are outstanding: no place to wait for them.
local function abandon(self)
  local source = self.source
  if not source then return end
  local owned = is_owned(self)
  self.source, self.ring = nil, false
  if source.lost then source:lost(owned and not self.release) end
  if self.release then self.release(true) end
end

local function next_row(self, source)
  if not is_owned(self) then self.owner:connection() end -- raises
  return source:next_row()
end

Stream.__call = function(self)
  local ring = self.ring
  if ring then
    local row = take(ring)
    if row then return row end
  end
  local source = self.source
  if not source then return nil end
  local ok, row = pcall(next_row, self, source)
  if ok and row ~= nil then return row end
  if ok then
    close(self)
    return nil
  end
  pcall(close, self) -- what went wrong first is what the caller is told
  error(row, 0)
end

Stream.__close = function(self)
  if wait.can_finish() then return close(self) end
  abandon(self)
end
Stream.__gc = abandon
surface.closable(Stream, "what db:each gave", "rows", close, options.set("source", "owner", "release", "sentinel", "ring"))

--- Opens a stream on a connection: in a transaction a cursor, else in single-row mode.
---@param conn table
---@param owner table?  the bound database whose connection this is
---@param release fun(lost: boolean?)?  gives back a connection that is the stream's own, when it ends
---@param target table  what rows become (fastpg.pg.fetch)
function stream.open(conn, owner, release, target, sql, list, n)
  if conn.abandoned then conn:clear() end
  local open = conn.in_transaction and open_cursor or open_single
  local source
  if conn.watch_stream then -- (fastpg.pool.watch)
    source = conn:watch_stream(open, target, sql, list, n, owner)
  else
    source = open(conn, target, sql, list, n, owner)
  end
  -- A row that lies ready is handed out without a further look where nothing is to be looked at.
  local self = { source = source, owner = owner, release = release, ring = not owner and not conn.spend and source.ring or false }
  defer.collected(self, function() abandon(self) end)
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
  if ok then return close(self) end
  pcall(close, self)
  error(err, 0)
end

return stream
