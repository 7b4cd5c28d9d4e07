-- SPDX-License-Identifier: MIT
--
-- watch: what stands in front of a connection's methods while a database has hooks: "audit", "query", "slow", "notice".
--
-- What such a method calls in turn (a statement that is prepared first, look-ups of types, a second try) belongs to the one
-- operation: who is in `conn.inside`, the coroutines that are in one, passes.  (One that was closed there is nobody any
-- more.)  The catalog's look-ups come past them (Route:run), and are no event.
--
--   run, run_list, run_once, simple, command, parts, begin_with_path    one statement (or a text of several)
--   watch_batch     all of a pipeline          watch_copy    a COPY
--   watch_stream    from the first row of db:each to its end (fastpg.pool.watch_stream)
--
-- An audit has to see all that is sent before it is: so it looks at what a batch or a stream prepares, too.
-- What becomes of an operation, the events, is in fastpg.pool.watch_events.

local error, ipairs, pcall, rawequal, select, setmetatable, tonumber, type =
  error, ipairs, pcall, rawequal, select, setmetatable, tonumber, type

local batch = require "fastpg.pg.batch"
local compat = require "fastpg.base.compat"
local Connection = require "fastpg.pg.connection"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local fetch = require "fastpg.pg.fetch"
local watch_events = require "fastpg.pool.watch_events"
local watch_stream = require "fastpg.pool.watch_stream"

local watch = {}

local audit, over = watch_events.audit, watch_events.over
local MAIN = current_task.main
local function me() return compat.running() or MAIN end

-- ---- one statement --------------------------------------------------------------------------

-- Fetches as the function does, and notes how much there was.
local counting = setmetatable({}, { __mode = "k", __index = function(known, how)
  local function counted(conn, st, target)
    conn.hook_rows, conn.hook_bytes = conn.c:extent()
    return how(conn, st, target)
  end
  known[how] = counted
  if fetch.keyed[how] then fetch.keyed[counted] = true end
  return counted
end })

local function left(conn, ok, ...)
  conn.inside[me()] = nil
  if not ok then error((...), 0) end
  return ...
end

-- Runs fn(conn, ...) as a part of what is under way.
local function pass(conn, fn, ...)
  conn.inside[me()] = true
  return left(conn, pcall(fn, conn, ...))
end

local function ended(self, conn, op, began, ok, ...)
  conn.inside[me()] = nil
  op.seconds = core.clock() - began
  if ok then
    op.rows, op.bytes = op.rows or conn.hook_rows, op.bytes or conn.hook_bytes
  else
    op.rows, op.bytes, op.error = nil, nil, (...)
  end
  over(self, conn, { op })
  if not ok then error((...), 0) end
  return ...
end

-- Runs fn(conn, ...), which is one operation.
local function watched(self, conn, op, fn, ...)
  audit(self, conn, op)
  conn.inside[me()], conn.hook_rows, conn.hook_bytes = true, nil, nil
  return ended(self, conn, op, core.clock(), pcall(fn, conn, ...))
end

local NO_VALUES = {}

-- Runs fn(conn, sql, …), which gives a command tag.  That of several statements is the last one's.
local function watched_text(self, conn, fn, sql, ...)
  local op = { sql = sql, values = NO_VALUES, n = 0 }
  local function run(...)
    local tag = fn(...)
    op.rows = #core.statements(sql, conn.standard_strings) == 1 and tonumber(tag:match "%d+$") or nil
    return tag
  end
  return watched(self, conn, op, run, sql, ...)
end

-- What these only prepare is sent by whoever asks for it.
local function add_statements(self, made)
  function made.run(conn, sql, how, target, ...)
    if conn.inside[me()] then return Connection.run(conn, sql, how, target, ...) end
    local op = { sql = sql, values = { ... }, n = select("#", ...) }
    return watched(self, conn, op, Connection.run, sql, counting[how], target, ...)
  end
  for _, name in ipairs{ "run_list", "run_once" } do
    local method = Connection[name]
    made[name] = function(conn, sql, how, target, list, n)
      if conn.inside[me()] then return method(conn, sql, how, target, list, n) end
      return watched(self, conn, { sql = sql, values = list, n = n }, method, sql, counting[how], target, list, n)
    end
  end
  function made.simple(conn, sql)
    if conn.inside[me()] or sql == "" or conn.setting_own then return Connection.simple(conn, sql) end
    return watched_text(self, conn, Connection.simple, sql)
  end
  function made.parts(conn, sql)
    if conn.inside[me()] then return Connection.parts(conn, sql) end
    local op = { sql = sql, values = NO_VALUES, n = 0 }
    return watched(self, conn, op, function(...)
      local parts = Connection.parts(...)
      op.rows = 0
      for _, part in ipairs(parts) do op.rows = op.rows + (part.count or 0) end
      return parts
    end, sql)
  end
  function made.command(conn, sql, of_user)
    if conn.inside[me()] then return Connection.command(conn, sql, of_user) end
    return watched_text(self, conn, Connection.command, sql, of_user)
  end
  function made.begin_with_path(conn, command, path) -- its settings have values
    local op = { sql = command:match "^[^;]*", values = NO_VALUES, n = 0 }
    return watched(self, conn, op, Connection.begin_with_path, command, path)
  end
  function made.statement(conn, sql, ...)
    if not conn.inside[me()] then audit(self, conn, { sql = sql }) end
    return Connection.statement(conn, sql, ...)
  end
  function made.describe(conn, ...) -- which runs nothing
    if conn.inside[me()] then return Connection.describe(conn, ...) end
    return pass(conn, Connection.describe, ...)
  end
  function made.statement_of_batch(conn, sql, ...)
    audit(self, conn, { sql = sql, in_batch = true })
    return pass(conn, Connection.statement_of_batch, sql, ...)
  end
end

-- ---- batches --------------------------------------------------------------------------------

-- The operations of a batch: one for each text of which rows of a list are written, with `runs`, and one for each other
-- statement.  They have one time, and one error: all of them were done, or none.
local WEAK = { __mode = "k" }
local Ops = {}
Ops.__index = Ops

-- What is prepared: its statement is found by that.
function Ops:prepare(statement)
  self.list, self.texts, self.of_text, self.of_tag = {}, {}, {}, setmetatable({}, WEAK)
  return function(sql)
    self.preparing = sql
    local st = statement(sql)
    self.texts[st] = sql
    return st
  end
end

local function begin_op(self, sql)
  local op = { sql = sql, runs = 0, rows = 0, bytes = 0 }
  self.list[#self.list + 1] = op
  return op
end

function Ops:of_rows(st)
  local op = self.of_text[st] or begin_op(self, self.texts[st])
  self.of_text[st], self.last = op, op
  return op
end

function Ops:sent(st, list, n, tag)
  local op
  if tag == nil or batch.row_of(tag) ~= nil then
    op = self:of_rows(st)
  else
    op = begin_op(self, self.texts[st])
    op.values, op.n = list, n
  end
  op.runs = op.runs + 1
  if tag ~= nil then self.of_tag[tag] = op end
end

function Ops:received(conn, tag)
  local op, rows, bytes = tag ~= nil and self.of_tag[tag] or self.last, conn.c:extent()
  if not op then return end
  op.rows, op.bytes = op.rows + (rows or 0), op.bytes + (bytes or 0)
end

-- Gives what batch.run takes, with a look at all that goes by.
local function looking(ops, prepare, produce, receive)
  return function(statement)
    return prepare(ops:prepare(statement))
  end, function(add, prepared, add_many)
    return produce(function(st, list, n, tag)
      ops:sent(st, list, n, tag)
      return add(st, list, n, tag)
    end, prepared, function(st, items, arguments, counted)
      local op = ops:of_rows(st)
      op.runs = op.runs + #items
      return add_many(st, items, arguments, function(rows)
        op.rows = op.rows + rows
        return counted(rows)
      end)
    end)
  end, function(conn, reader, tag)
    ops:received(conn, tag)
    return receive(conn, reader, tag)
  end
end

local function add_batches(self, made)
  function made.watch_batch(conn, run, prepare, produce, receive, guarded, checked)
    if conn.inside[me()] then return run(conn, prepare, produce, receive, guarded, checked) end
    local ops = setmetatable({ list = {} }, Ops)
    local p, q, r = looking(ops, prepare, produce, receive)
    local began = core.clock()
    local ok, err = pcall(pass, conn, run, p, q, r, guarded, checked)
    local seconds = core.clock() - began
    if not ok and rawequal(err, conn.refused) then error(err, 0) end -- nothing was sent
    if not ok and #ops.list == 0 and ops.preparing then ops.list[1] = { sql = ops.preparing } end
    local done = {}
    for _, op in ipairs(ops.list) do
      op.seconds = seconds
      if not ok then op.error, op.rows, op.bytes = err, nil, nil end
      if op.runs ~= 0 or not ok then done[#done + 1] = op end
    end
    over(self, conn, done)
    if not ok then error(err, 0) end
  end
end

-- ---- COPY -----------------------------------------------------------------------------------

local function size_of(piece)
  if type(piece) == "string" then return #piece end
  return piece and piece:size() or 0
end

local function add_copies(self, made)
  --- Runs a COPY, fn(conn, sql, move, ...); `move` gives pieces or takes them.
  function made.watch_copy(conn, fn, sql, move, ...)
    local op = { sql = sql, bytes = 0 }
    local function moved(chunk)
      local piece = move(chunk)
      op.bytes = op.bytes + size_of(chunk or piece)
      return piece
    end
    local function run(...)
      op.rows = fn(...)
      return op.rows
    end
    return watched(self, conn, op, run, sql, moved, ...)
  end
end

--- The methods of a connection of a database that has hooks.
---@param self table  the hooks (fastpg.pool.hooks)
function watch.methods(self)
  local made = {}
  add_statements(self, made)
  add_batches(self, made)
  add_copies(self, made)
  function made.watch_stream(conn, open, ...)
    return watch_stream.open(self, conn, open, ...)
  end
  return made
end

return watch
