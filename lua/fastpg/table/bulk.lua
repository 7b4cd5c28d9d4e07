-- SPDX-License-Identifier: MIT
--
-- bulk: many records at once, all or nothing, with the rows, their order and the errors that one call for each would give.
--
-- All statements go in one pipeline, which to the server is one transaction: no BEGIN, no COMMIT.  Where it is found out
-- here that a row is missing, the results are looked at before the pipeline ends (`checked` of fastpg.pg.batch).
--
--   few records    each is built before anything is sent
--   many           the list is looked through first (csrc/table/bulk_rows.c): which texts there are, what is wrong.  Then
--                  each record is built when it is its turn, so that no more is held than is under way.  Records that are
--                  alike, one behind the other, go as arrays, UNIT_ROWS in a statement (fastpg.table.bulk_sql), where that
--                  does the same; where such a statement fails it does not say of which row: everything was undone, and is
--                  done once more, its rows one by one.
--   careful        in a transaction with BEGIN and COMMIT, CHUNK rows in a pipeline: more texts than can be prepared at once,
--                  and results that have to be looked up before they can be read.

local error, ipairs, next, pcall, setmetatable, tostring, type = error, ipairs, next, pcall, setmetatable, tostring, type

local batch = require "fastpg.pg.batch"
local bulk_sql = require "fastpg.table.bulk_sql"
local Connection = require "fastpg.pg.connection"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local lists = require "fastpg.base.lists"
local rows = require "fastpg.value.rows"
local table_state = require "fastpg.table.table_state"
local transaction = require "fastpg.pool.transaction"
local wait = require "fastpg.host.wait"

local bulk = {}

local FEW = 128 -- records that are built before anything is sent: of more, asking what bulk_sql asks can pay
local TEXTS_AT_ONCE = 200 -- different statements in one pipeline
local UNIT_ROWS = 1000 -- in one statement of arrays
local LEAST_ROWS = 16 -- for which that pays
local SLICE = 64 -- rows looked at or encoded in one go, where others are to have a turn
local CHUNK = 500

-- What careful is for; and that a savepoint has to be there first.
local CAREFUL, UNGUARDED = {}, {}

-- ---- records --------------------------------------------------------------------------------

-- The statement of one record: { sql =, args =, n =, row =, record = }, and what make adds.
local function build(job, i)
  local item = { args = {}, row = i, record = job.list[i] }
  if type(item.record) ~= "table" then
    errors.argument("%s: item %d: a record expected, got %s", job.what, i, type(item.record))
  end
  local ok, err = pcall(job.make, item)
  if ok then return item end
  if errors.is_error(err) then err.row = i end
  error(err, 0)
end

-- ---- results --------------------------------------------------------------------------------

local function new_result() return { rows = {}, n = 0, shape = nil } end

local function add_row(job, result, c, reader, item)
  local row = fetch.first(c, reader, job.st.link)
  if row == nil then
    if job.missing then job.missing(item) end
    return
  end
  result.n = result.n + 1
  result.rows[result.n] = row
  result.shape = result.shape or reader:shape()
end

local function finish(job, result)
  return setmetatable(result.rows, rows.list_of(result.shape or table_state.resolve(job.st).shape))
end

-- Whether the rows can be read while the pipeline is open; whether reading them may fail.
local function look_at_statement(conn, st)
  if conn.composites and conn.composites[st] or conn.records and conn.records[st] then error(CAREFUL, 0) end
  return conn.textual ~= nil and conn.textual[st] ~= nil or conn.types and #conn.types.codecs > 0
end

-- Makes a statement.  One that the server refuses must not fail the transaction around.
local function statement_of(conn, job, statement, sql)
  if not job.is_guarded and not conn.statements[sql] and conn.c:transaction_status() ~= "idle" then error(UNGUARDED, 0) end
  return statement(sql)
end

-- ---- few ------------------------------------------------------------------------------------

local function run_few(conn, job, items)
  table_state.check_meaning(conn, job.st)
  local result, checked = nil, job.missing ~= nil
  local function prepare(statement)
    result = new_result()
    for i = 1, #items do
      local item = items[i]
      item.st = statement_of(conn, job, statement, item.sql)
      checked = look_at_statement(conn, item.st) or checked
    end
    return nil
  end
  local function produce(add)
    for i = 1, #items do
      local item = items[i]
      add(item.st, item.args, item.n, item)
    end
  end
  batch.run(conn, prepare, produce, function(c, reader, item) add_row(job, result, c, reader, item) end, false,
    function() return checked end)
  return finish(job, result)
end

-- ---- many -----------------------------------------------------------------------------------

local function add_text(plan, sql)
  if plan.texts[sql] then return end
  plan.texts[sql] = true
  plan.ntexts = plan.ntexts + 1
  if plan.ntexts > TEXTS_AT_ONCE then error(CAREFUL, 0) end
end

-- Those that go one by one, from `first` on.
local function add_single(plan, first, last)
  local run = plan.runs[#plan.runs]
  if run and not run.signature then
    run.last = last
  else
    plan.runs[#plan.runs + 1] = { first = first, last = last }
  end
end

-- Looks through the list: `runs` of records that are alike, or not, one behind the other.
local function look_through(conn, job)
  local rel = table_state.resolve(job.st)
  local conflict = job.conflict and job.conflict()
  local plan = { runs = {}, texts = {}, ntexts = 0, rel = rel, conflict = conflict }
  plan.rows = rel.core:bulk_rows(job.op, job.list, job.overrides, job.st.filters or nil, conflict)
  local n, spend, i = job.n, conn.spend, 1
  local most = spend and SLICE or n
  while i <= n do
    local count, goes_on = plan.rows:alike(i, math.min(most, n - i + 1), false), true
    add_text(plan, build(job, i).sql) -- which says what is wrong with it
    local last = i + math.max(count, 1) - 1
    while goes_on and count > 0 and last < n do
      if spend then spend(0) end
      local more = plan.rows:alike(last + 1, math.min(most, n - last), true)
      last, goes_on = last + more, more > 0
    end
    if last - i + 1 >= LEAST_ROWS then
      plan.runs[#plan.runs + 1] = { first = i, last = last, signature = plan.rows:signature() }
    else
      add_single(plan, i, last)
    end
    i = last + 1
  end
  if job.st.rel ~= rel then return look_through(conn, job) end -- a column was found that had not been known
  return plan
end

-- Rows one by one: built now, as they were looked at.
local function add_singles(conn, job, plan, add, first, last)
  for i = first, last do
    local item = build(job, i)
    local st = plan.texts[item.sql]
    if not st then
      errors.raise("invalid_argument", ("%s: row %d was changed while the list was being written"):format(job.what, i), { row = i })
    end
    add(st, item.args, item.n, item)
    if i % 32 == 0 then conn:breathe() end
  end
end

-- Encodes rows from `first` on: the row behind them.  A column that goes as text all of a sudden is begun again.
local function encode_unit(conn, plan, run, args, first, last)
  local unit, most = run.unit, conn.spend and SLICE or UNIT_ROWS
  local at, full
  repeat
    if not at then
      plan.rows:begin(unit.st, unit.arrays, args)
      at = first
    end
    at, full = plan.rows:encode(conn.c, at, math.min(at + most - 1, last), run.signature)
    conn:breathe()
  until at and (full or at > last)
  plan.rows:finish(unit.arrays)
  return at
end

local function add_units(conn, plan, run, add, first, last)
  local args, n = bulk_sql.arguments(run.unit)
  while first <= last do
    plan.at = first
    local behind = encode_unit(conn, plan, run, args, first, math.min(first + UNIT_ROWS - 1, last))
    add(run.unit.st, args, n, { row = first, count = behind - first, unit = run.unit })
    first = behind
  end
  plan.at = nil
end

-- Rows of a run; those that failed together go one by one.
local function add_run(conn, job, plan, run, add)
  if not run.unit then return add_singles(conn, job, plan, add, run.first, run.last) end
  local from, to = math.max(plan.failed_first, run.first), math.min(plan.failed_last, run.last)
  if from > to then return add_units(conn, plan, run, add, run.first, run.last) end
  add_units(conn, plan, run, add, run.first, from - 1)
  add_singles(conn, job, plan, add, from, to)
  add_units(conn, plan, run, add, to + 1, run.last)
end

-- Fewer rows than were written: a key that is not there or there twice, a row that filters hide.
local NOT_ALL = {}

local function add_rows(job, result, c, reader, item)
  local list = bulk_sql.fetch(c, reader, job.st.link, item.unit)
  local n = #list
  if n ~= item.count and not item.unit.may_skip then error(NOT_ALL, 0) end
  for i = 1, n do result.rows[result.n + i] = list[i] end
  result.n = result.n + n
  result.shape = result.shape or rows.shape(list)
end

local function send_many(conn, job, plan)
  local result, checked = nil, job.missing ~= nil
  local function prepare(statement)
    result = new_result()
    for sql in next, plan.texts do
      local st = statement_of(conn, job, statement, sql)
      checked = look_at_statement(conn, st) or checked
      plan.texts[sql] = st
    end
    for _, run in ipairs(plan.runs) do
      if run.unit then run.unit.st = statement_of(conn, job, statement, run.unit.sql) end
    end
  end
  local function produce(add)
    for _, run in ipairs(plan.runs) do add_run(conn, job, plan, run, add) end
  end
  local function receive(c, reader, item)
    if item.unit then return add_rows(job, result, c, reader, item) end
    add_row(job, result, c, reader, item)
  end
  batch.run(conn, prepare, produce, receive, false, function() return checked end)
  return finish(job, result)
end

-- Errors that say nothing of a row: by SQLSTATE's class, and those of the connection and of time.
local NO_ROW = { ["08"] = true, ["25"] = true, ["40"] = true, ["53"] = true, ["57"] = true, ["58"] = true, XX = true }
local function is_of_rows(conn, err)
  if not conn.c:usable() or err == CAREFUL or err == UNGUARDED then return false end
  if not errors.is_error(err) then return not tostring(err):find "interrupted!$" end -- Ctrl-C, as the interpreter says it
  if err.sqlstate then return not NO_ROW[err.sqlstate:sub(1, 2)] end
  return not (errors.is(err, "canceled") or errors.is(err, "timeout") or errors.is(err, "closed") or errors.is(err, "connection"))
end

local function run_many(conn, job)
  table_state.check_meaning(conn, job.st)
  local plan = look_through(conn, job)
  bulk_sql.choose(conn, job, plan)
  plan.failed_first, plan.failed_last = 1, 0
  while plan.units do
    local ok, result = pcall(send_many, conn, job, plan)
    if ok then return result end
    local row = errors.is_error(result) and result.row or plan.at
    if not is_of_rows(conn, result) then error(result, 0) end
    if row and plan.failed_last == 0 then
      plan.failed_first, plan.failed_last = row, row + UNIT_ROWS - 1
    else
      plan.units = false
      for _, run in ipairs(plan.runs) do run.unit = nil end
    end
  end
  return send_many(conn, job, plan)
end

-- ---- careful --------------------------------------------------------------------------------

-- One chunk: rows of at most as many shapes as the connection keeps statements.
local function send_chunk(conn, job, chunk, result)
  table_state.check_meaning(conn, job.st)
  batch.run(conn, function(statement)
    local prepared = {}
    for _, item in ipairs(chunk) do
      local st = prepared[item.sql]
      if not st then
        st = statement(item.sql)
        conn.c:touch(st)
        prepared[item.sql] = st
      end
      item.st = st
    end
  end, function(add)
    for _, item in ipairs(chunk) do add(item.st, item.args, item.n, item) end
  end, function(c, reader, item) add_row(job, result, c, reader, item) end, true)
end

local function run_carefully(conn, job)
  local result, chunk, shapes, distinct = new_result(), {}, {}, 0
  local most = math.max(conn.cache_size, 1)
  for i = 1, job.n do
    local item = build(job, i)
    local is_new = not shapes[item.sql]
    if #chunk >= CHUNK or is_new and distinct >= most then
      send_chunk(conn, job, chunk, result)
      chunk, shapes, distinct, is_new = {}, {}, 0, true
    end
    if is_new then
      shapes[item.sql] = true
      distinct = distinct + 1
    end
    chunk[#chunk + 1] = item
    if i % 32 == 0 then conn:breathe() end
  end
  if #chunk > 0 then send_chunk(conn, job, chunk, result) end
  return finish(job, result)
end

-- In a transaction of its own, or a savepoint of the one that is open.
local function carefully(job)
  local function attempt()
    return transaction.run(job.st.db, nil, function(tx) return run_carefully(tx:connection(), job) end)
  end
  local ok, result = pcall(attempt)
  if ok then return result end
  -- another session changed the table: nothing was done, and what was prepared is forgotten by now
  if Connection.is_stale_plan(result) and not job.st.db:bound_connection() then return attempt() end
  error(result, 0)
end

-- ---- all ------------------------------------------------------------------------------------

local function few(job)
  local items = {}
  for i = 1, job.n do items[i] = build(job, i) end
  return job.st.db:on_connection(run_few, job, items)
end

-- What lets others have a turn, under a loop, before there is a connection.
local function spend_of(db)
  local config = db.root.config
  local spend = config and wait.pick(config.loop).spend
  return spend and function() spend(0) end or nil
end

-- What is looked up meanwhile is so on the same connection.
local function many(job)
  local db = job.st.db
  if db:bound_connection() then return db:on_connection(run_many, job) end
  return db:on_one_connection(function() return db:on_connection(run_many, job) end)
end

--- Writes the records of a list, all or nothing: the list of rows as stored.
---@param job { st: table, what: string, list: table, op: string, make: fun(item: table), missing: fun(item: table)?,
---   overrides: table?, conflict: (fun(): string[])?, nothing: boolean? }  make adds `sql` and `n` to the item of a record
---   and fills its `args`; missing says so where one gave no row
function bulk.run(job)
  local what, list = job.what, job.list
  if type(list) ~= "table" then errors.argument("%s: a list of records expected, got %s", what, type(list)) end
  if list[1] == nil and type((next(list))) == "string" then
    errors.argument("%s: a list of records expected, got one record: use %s", what, what:sub(1, -2))
  end
  job.n = lists.length(what, list, spend_of(job.st.db))
  table_state.resolve(job.st)
  if job.n == 0 then return finish(job, new_result()) end
  local write = job.n <= FEW and few or many
  local ok, result = pcall(write, job)
  if not ok and result == UNGUARDED then
    job.is_guarded = true
    ok, result = pcall(transaction.run, job.st.db, nil, function() return write(job) end)
  end
  if ok then return result end
  if result ~= CAREFUL then error(result, 0) end
  return carefully(job)
end

return bulk
