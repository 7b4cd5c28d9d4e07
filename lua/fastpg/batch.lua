-- SPDX-License-Identifier: MIT
--
-- batch: many statements in one pipeline, all or nothing.
--
-- Outside a transaction the server runs a pipeline up to its Sync as one transaction of its own.
-- Inside one, a savepoint around the batch makes it all or nothing too.  A statement whose
-- arguments can't be encoded is answered with one that fails on purpose, so that what was queued
-- before it is undone as well.  While sending, results that are there are read: neither side ever
-- waits for the other with full buffers.
--
-- PostgreSQL manual: "Pipeline Mode" of libpq; "Pipelining" in the protocol.

local errors = require "fastpg.errors"

local batch = {}

local READ_EVERY = 64 -- statements between looks at what has come back

local SAVEPOINT, RELEASE = "SAVEPOINT fastpg_batch", "RELEASE SAVEPOINT fastpg_batch"
local UNDO = "ROLLBACK TO SAVEPOINT fastpg_batch; RELEASE SAVEPOINT fastpg_batch"
local ABANDON = "ROLLBACK TO SAVEPOINT fastpg_batch_abandoned" -- there is none: it fails

-- One result is ready: note the first error, or hand it to the one it belongs to.
local function collect(state)
  state.read = state.read + 1
  local err = state.conn:outcome()
  if err then
    state.failure = state.failure or err
  elseif not state.failure then
    local st = state.pending[state.read]
    if st then
      local ok, problem = pcall(state.receive, state.conn, st, state.tags[state.read])
      if not ok then state.failure = problem end
    end
  end
  state.pending[state.read], state.tags[state.read] = nil, nil
end

-- Reads what is there; waits only while the socket takes no more bytes.
local function pump(state)
  local conn = state.conn
  while state.read < state.sent do
    local want = conn.c:step()
    if want == true then
      collect(state)
    elseif want == "rw" then
      conn.wait(conn.fd, "rw")
    else
      return
    end
  end
end

local function command(state, sql)
  state.conn.c:send_command(sql)
  state.sent = state.sent + 1
end

local function send(state, st, list, n, tag)
  state.conn.c:send_batch(st, list, n)
  state.sent = state.sent + 1
  state.pending[state.sent], state.tags[state.sent] = st, tag
  if state.sent % READ_EVERY == 0 then pump(state) end
end

local function finish(state)
  local conn = state.conn
  conn.c:send_sync()
  while conn:drive() ~= "sync" do collect(state) end
end

--- Runs a batch.
---@param conn table
---@param prepare fun(statement: fun(sql: string): userdata): any  called first, while statements can still be prepared
---@param produce fun(add: fun(st, list, n, tag), prepared: any)  queues the statements
---@param receive fun(conn, st, tag)  called with each result, in order
---@param guarded boolean?  true: the caller undoes a failed batch (it is in a transaction of its own)
function batch.run(conn, prepare, produce, receive, guarded)
  local prepared = prepare(function(sql) return conn:statement(sql) end)
  local in_transaction = not guarded and conn.c:transaction_status() ~= "idle"
  local state = { conn = conn, receive = receive, sent = 0, read = 0, pending = {}, tags = {} }
  conn.c:batch() -- behind the preparing: the unnamed statement's pipeline is open already
  if in_transaction then command(state, SAVEPOINT) end
  local ok, problem = pcall(produce, function(st, list, n, tag) send(state, st, list, n, tag) end, prepared)
  if ok then
    if in_transaction then command(state, RELEASE) end
  else
    state.failure = problem
    command(state, ABANDON)
  end
  finish(state)
  if not state.failure then return end
  if in_transaction and conn.c:usable() then conn:simple(UNDO) end
  error(errors.annotate(state.failure), 0)
end

return batch
