-- SPDX-License-Identifier: MIT
--
-- batch: many statements in one pipeline, all or nothing.
--
-- Outside a transaction the server runs a pipeline up to its Sync as one transaction of its own.
-- Inside one, a savepoint around the batch makes it all or nothing too, but where its statements begin or
-- end transactions themselves: there would be none to release, and what went wrong first would be hidden.  A statement whose
-- arguments can't be encoded is answered with one that fails on purpose, so that what was queued
-- before it is undone as well.  What `receive` makes of a result comes too late for that, unless the batch is `checked`:
-- then the results are asked for before the Sync.  While sending, results that are there are read: neither side ever
-- waits for the other with full buffers.
--
-- PostgreSQL manual: "Pipeline Mode" of libpq; "Pipelining" in the protocol.

local error, ipairs, pcall, tonumber, type = error, ipairs, pcall, tonumber, type

local errors = require "fastpg.base.errors"
local savepoint = require "fastpg.pg.savepoint"
local transaction_control = require "fastpg.pg.transaction_control"

local batch = {}

local READ_EVERY = 64 -- statements between looks at what has come back
local READ_MOST = 256 -- results read before others have a turn

local NAME = savepoint.name "batch"
local ABANDON = "ROLLBACK TO SAVEPOINT " .. savepoint.name "batch_abandoned" -- there is none: it fails

-- A slot of the pipeline that is a command of ours: only its failure is of interest.
local COMMAND = {}

-- Of one of many rows, which may be what the tag says: a number, or an item with a field `row`.
local function row_of(tag)
  if type(tag) == "table" then return tag.row end
  return tag
end

-- The error with the row it is about, or the statement.
local function placed(err, tag)
  if not tag or not errors.is_error(err) then return err end
  local row = row_of(tag)
  if row then err.row = row end
  if type(tag) == "table" and tag.statement then err.statement = tag.statement end
  return err
end

-- ---- results that come as text --------------------------------------------------------------

-- What the text of a result depends on (csrc/type/types.h), asked for right before and behind the statement: the server
-- reports DateStyle and TimeZone at the end of the pipeline only, and extra_float_digits never.  SHOW takes no snapshot.
local DATE_STYLE, ZONE, DIGITS = 1, 2, 4
local NEEDS = { { DATE_STYLE, "DateStyle" }, { ZONE, "TimeZone" }, { DIGITS, "extra_float_digits" } }

local function needs_one(needs, bit) return needs % (2 * bit) >= bit end

-- The result of a textual item can be fetched, once what followed it is there.
local function receive_text(state, item)
  local c, before, after = state.conn.c, item.before, item.after
  c:unhold()
  if needs_one(item.needs, DIGITS) then
    if tonumber(after.extra_float_digits) < 1 then
      errors.raise("ambiguous_text", "the statement set extra_float_digits itself, and its floats came as text without "
        .. "all of their digits: set it before")
    end
    state.digits = state.digits or before.extra_float_digits
  end
  local zone = after.TimeZone
  c:text_style(before.DateStyle, after.DateStyle, zone and (zone ~= before.TimeZone or zone ~= c:parameter "TimeZone"))
  state.receive(state.conn, item.reader, item.tag)
end

-- A result whose types have to be looked up before it is read, and those behind it.
local function put_off(state, reader, tag)
  local late = state.late or {}
  late[#late + 1], state.late = { result = state.conn.c:take(), reader = reader, tag = tag }, late
end

-- They are read when no other result is to come.
local function receive_late(state)
  for _, one in ipairs(state.late) do
    state.conn.c:put(one.result)
    state.conn:fetch(one.reader, state.receive, one.tag)
  end
end

-- One result is ready: note the first error, or hand it to the one it belongs to.
local function deliver(state, item, reader, tag)
  if not item then
    if state.late then return put_off(state, reader, tag) end
    return state.receive(state.conn, reader, tag)
  end
  if item.st then
    item.reader = reader
    return state.conn.c:keep()
  end
  item.into[item.name] = state.conn.c:text()
  if item.last then receive_text(state, item.last) end
end

-- Whether it is the failure that ABANDON asked for.  (Where memory was short something may have been sent that was not
-- counted: then it is known by what it says.)
local function is_ours(state, err)
  return state.abandoned and (state.read == state.abandoned or err.sqlstate == "25P01" or err.sqlstate == "3B001")
end

local function collect(state)
  state.read = state.read + 1
  if state.read % READ_EVERY == 0 then state.conn:breathe() end
  local st, tag = state.pending[state.read], state.tags[state.read]
  local many = state.many
  if not st and many then st, tag = many.st, state.read - many.before end
  state.pending[state.read], state.tags[state.read] = nil, nil
  local item = st ~= COMMAND and type(st) == "table" and st or nil
  local described = nil
  if item then described = item.st elseif st ~= COMMAND then described = st end
  local err, reader = state.conn:outcome(described, state.texts[described])
  if err then
    if not state.failure and not is_ours(state, err) then state.failure, state.failed = placed(err, tag), described end
    state.undone = true
  elseif not state.failure and st ~= COMMAND then
    local ok, problem = pcall(deliver, state, item, reader, tag)
    if not ok and not item and state.conn:is_readable_later(problem) then
      put_off(state, reader, tag)
    elseif not ok then
      state.failure = placed(problem, tag)
    end
  end
end

-- Reads what is there; waits only while the socket takes no more bytes.
local function pump(state)
  local conn = state.conn
  while state.read < state.sent do
    local want = conn.c:step()
    if want == true then
      collect(state)
    elseif want == "rw" then
      conn:await(want)
    else
      return
    end
  end
end

-- Notes what the next slot is, before it is sent: where memory for that is short nothing is.
local function note(state, st, tag)
  state.pending[state.sent + 1], state.tags[state.sent + 1] = st, tag
end

local function noted_is_sent(state)
  state.sent = state.sent + 1
end

local function command(state, sql)
  note(state, COMMAND)
  state.conn.c:send_command(sql)
  noted_is_sent(state)
end

local function send_statement(state, st, list, n, item, tag)
  local sql = state.unnamed[st]
  if sql and state.parsed ~= st then -- described only: it is parsed again where it is used
    state.parsed = st
    note(state, COMMAND)
    state.conn.c:send_parse(sql, state.oids[st])
    noted_is_sent(state)
  end
  state.sending = tag
  note(state, item, tag)
  state.conn.c:send_batch(st, list, n)
  state.sending = nil
  noted_is_sent(state)
end

local function ask(state, item, into, is_last)
  local probe
  for _, need in ipairs(NEEDS) do
    if needs_one(item.needs, need[1]) then
      local sql = "SHOW " .. need[2]
      probe = { into = into, name = need[2] }
      note(state, probe)
      state.conn.c:send_command(sql)
      noted_is_sent(state)
    end
  end
  if is_last then probe.last = item end
  state.parsed = nil -- a command is an unnamed statement, too
end

local function send_textual(state, st, list, n, tag, needs)
  local item = { st = st, tag = tag, needs = needs, before = {}, after = {} }
  ask(state, item, item.before, false)
  -- (outside a transaction it holds to the end of the pipeline, and a SELECT may take a snapshot)
  if needs_one(needs, DIGITS) then
    command(state, state.idle and "SELECT pg_catalog.set_config('extra_float_digits', '1', true)"
      or "SET LOCAL extra_float_digits = 1")
  end
  send_statement(state, st, list, n, item, tag)
  ask(state, item, item.after, true)
end

local function send(state, st, list, n, tag)
  local textual = state.conn.textual
  local needs = textual and textual[st]
  if needs then send_textual(state, st, list, n, tag, needs) else send_statement(state, st, list, n, st, tag) end
  if state.sent - state.looked >= READ_EVERY then
    state.looked = state.sent
    pump(state)
    state.conn:breathe()
  end
end

-- ---- many runs of one statement ---------------------------------------------------------------
--
-- Where only the number of rows is wanted, and nothing about the statement is special, the core sends and reads in loops.
-- `many` is { st =, counted =, before = (the slots before the first item's), last = (the last one's) }: an item's slot is
-- known by its position, and has no entry of its own.

-- Reads results in the core: what ended that, as conn:step says; nil: none of these is left.
local function drain(state, most)
  local many = state.many
  local read, rows, want = state.conn.c:drain_many(many.st, most, state.failure ~= nil)
  state.read = state.read + read
  many.counted(rows)
  state.conn:breathe()
  return want
end

-- As pump, where the next slot is one of these.
local function pump_many(state)
  local conn, many = state.conn, state.many
  while state.read < state.sent do
    local want
    if state.read < many.before then want = conn.c:step() else want = drain(state, state.sent - state.read) end
    if want == true then
      collect(state)
    elseif want == "rw" then
      conn:await(want)
    elseif want then
      return
    end
  end
end

local function is_special(state, st)
  local conn = state.conn
  return conn.textual and conn.textual[st] or conn.path_setters and conn.path_setters[st] or state.unnamed[st]
end

-- `arguments(item, i)` gives the list and the number of the arguments of an item that is no plain list of them.
local function send_many(state, st, items, arguments, counted)
  if is_special(state, st) then
    for i, item in ipairs(items) do
      local list, n = arguments(item, i)
      send(state, st, list, n, i)
    end
    return
  end
  local c, i, n = state.conn.c, 1, #items
  state.many = { st = st, counted = counted, before = state.sent, last = state.sent + n }
  while i <= n do
    state.sending_many = i
    local next_i = c:send_many(st, items, i, READ_MOST)
    state.sending_many = nil
    state.sent = state.sent + next_i - i
    if next_i == i then
      local list, count = arguments(items[i], i)
      send_statement(state, st, list, count, st, i)
      next_i = i + 1
    end
    i = next_i
    pump_many(state)
  end
end

-- What was sent of them when that failed.
local function end_sending(state)
  if not state.sending_many then return end
  local n = state.conn.c:sent_many()
  state.sent, state.sending, state.sending_many = state.sent + n, state.sending_many + n, nil
end

-- The statements, prepared or only described where the connection's cache is too small for all; so are those behind one
-- that sets something, since literals mean what they mean in their place.
local function preparer(state)
  local conn, by_text, used, is_changed = state.conn, {}, 0, false
  return function(sql, list, n)
    local st, key = by_text[sql], sql
    if list and (conn:goes_by_values(sql) or st and st:misfit(list, n)) then
      key = conn.values_key(sql, list, n)
      st = by_text[key]
    end
    if st then return st end
    local is_texts
    st, is_texts = conn:statement_of_batch(sql, is_changed and math.huge or used, list, n)
    if is_texts == false and key == sql then key = conn.values_key(sql, list, n) end
    by_text[key] = st
    if state.texts[st] then return st end
    if transaction_control.is_control(conn, sql) then state.controls = true end -- the savepoint may be gone after it
    state.texts[st] = sql
    if st:info() == "" then state.unnamed[st], state.oids[st] = sql, st:param_oids() else used = used + 1 end
    if conn:sets_something(sql) then by_text, is_changed = {}, true end
    return st
  end
end

-- Closes the pipeline and reads to its end.
local function finish(state)
  local conn = state.conn
  local many, reached = state.many
  conn.c:send_sync()
  repeat
    if many and state.read >= many.before and state.read < many.last then
      reached = drain(state, math.min(many.last - state.read, READ_MOST))
      if reached == true then collect(state) elseif reached == "r" or reached == "rw" then conn:await(reached) end
    else
      reached = conn:drive()
      if reached ~= "sync" then collect(state) end
    end
  until reached == "sync" or not conn.c:busy()
  local err = conn:outcome() -- what the server reports of settings comes last
  if err and not state.failure and not state.abandoned then state.failure = err end
  if state.late and not state.failure then
    local ok, problem = pcall(receive_late, state)
    if not ok then state.failure = problem end
  end
  conn:tell_later()
end

-- What receive makes of the results still decides what becomes of the batch: the server is asked for all of them, and its
-- transaction goes on meanwhile.
local function check(state)
  local conn = state.conn
  conn.c:send_flush()
  while state.read < state.sent and conn.c:usable() do
    conn:drive()
    collect(state)
  end
end

-- Lets the batch fail, so that all of it is undone.
local function abandon(state)
  state.abandoned = state.sent + 1
  command(state, ABANDON)
end

local function run(conn, prepare, produce, receive, in_transaction, checked)
  local state = {
    conn = conn, receive = receive, sent = 0, read = 0, looked = 0, pending = {}, tags = {}, unnamed = {}, oids = {},
    texts = {}, idle = conn.c:transaction_status() == "idle",
  }
  local prepared = prepare(preparer(state))
  local guarded = in_transaction and not state.controls
  conn.c:batch()
  local ok, problem = pcall(function()
    if guarded then command(state, savepoint.make(NAME)) end
    produce(function(st, list, n, tag) send(state, st, list, n, tag) end, prepared,
      function(...) send_many(state, ...) end)
    if checked and checked() then check(state) end
    if checked and state.failure then return abandon(state) end
    if guarded then command(state, savepoint.release(NAME)) end
  end)
  if ok or conn.c:usable() then
    if not ok then
      end_sending(state)
      if state.sending and not state.failure and errors.is_error(problem) then
        placed(problem, state.sending)
        if row_of(state.sending) then problem.message = ("row %d, %s"):format(problem.row, problem.message) end
      end
      abandon(state)
    end
    finish(state)
  end
  if not ok and not state.failure then state.failure = problem end -- else what was sent before it failed first
  if not state.idle and (tonumber(state.digits) or 1) < 1 and conn.c:usable() then conn:end_digits(state.digits) end
  return state.failure, state.undone and guarded, state.failed, not ok and state.failure == problem and state.texts or nil
end

-- Whether it may run once more, from new descriptions of its statements.
---@param unsent table?  the texts of one that could not be sent as a whole, and is undone
local function may_run_again(conn, failure, failed, unsent)
  if not errors.is_error(failure) or not conn.c:usable() then return false end
  if conn:may_retry(failure, failed) then return true end
  return unsent ~= nil and conn:are_outdated(failure, unsent) and conn.c:transaction_status() == "idle"
end

local function run_all(conn, prepare, produce, receive, guarded, checked)
  local in_transaction = not guarded and conn.c:transaction_status() ~= "idle"
  local failure, undone, failed, unsent = run(conn, prepare, produce, receive, in_transaction, checked)
  if may_run_again(conn, failure, failed, unsent) then
    failure, undone = run(conn, prepare, produce, receive, in_transaction, checked)
  end
  if not failure then return end
  if undone and conn.c:usable() and conn.c:transaction_status() ~= "idle" then
    conn:arm_recovery()
    pcall(conn.simple, conn, savepoint.undo(NAME)) -- where it fails the transaction has failed, and what went wrong first says why
  end
  error(errors.annotate(failure), 0)
end

--- Runs a batch.  Where the server's plans turn out stale it is run a second time, from the start.
---@param conn table
---@param prepare fun(statement: fun(sql: string): userdata): any  called first, while statements can still be prepared
---@param produce fun(add: fun(st, list, n, tag), prepared: any, add_many: fun(st, items, arguments, counted))  queues the
--- statements; add_many those of one statement of whose results only the number of rows is wanted, one for each item (a list
--- of arguments, or what `arguments(item, i)` makes one of), once in a batch: `counted(rows)` is called with those numbers,
--- `receive` for results that need a look
---@param receive fun(conn, st, tag)  called with each result, in order
---@param guarded boolean?  true: the caller undoes a failed batch (it is in a transaction of its own)
---@param checked (fun(): boolean)?  asked when the statements are prepared; true: what receive raises undoes the batch, for one
--- more round trip
function batch.run(conn, ...)
  if conn.watch_batch then return conn:watch_batch(run_all, ...) end -- (fastpg.pool.watch)
  return run_all(conn, ...)
end

--- Of one of many rows: which, from what its tag says, a number, or an item with a field `row`.
batch.row_of = row_of

return batch
