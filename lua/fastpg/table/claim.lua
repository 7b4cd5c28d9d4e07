-- SPDX-License-Identifier: MIT
--
-- claim: a table as a job queue.
--
-- claim takes rows nobody else has (FOR UPDATE SKIP LOCKED) and holds them until the transaction
-- around it ends.  claim_one is that transaction:
--
--   BEGIN · claim a pending row · SAVEPOINT · fn(p) · RELEASE or ROLLBACK TO · mark the row · COMMIT
--
-- so a worker that dies leaves its job pending, and one whose function fails marks it failed without
-- what the function had done.  A task that is canceled is a worker that dies: no fault of its job.
--
-- A row that the transaction has claimed is not given to it again (fastpg.pg.claimed_rows): each claimed row brings along
-- what it is known by, in a column that is taken off before anybody sees the row.
--
-- PostgreSQL manual: SELECT, "The Locking Clause".

local error, ipairs, pcall, select, tostring, type, xpcall =
  error, ipairs, pcall, select, tostring, type, xpcall

local claimed_rows = require "fastpg.pg.claimed_rows"
local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local options = require "fastpg.base.options"
local primary_key = require "fastpg.table.primary_key"
local returning = require "fastpg.table.returning"
local select_sql = require "fastpg.table.select_sql"
local selection = require "fastpg.table.selection"
local Table = require "fastpg.table.table"
local table_state = require "fastpg.table.table_state"
local transaction = require "fastpg.pool.transaction"
local write_hook = require "fastpg.table.write_hook"

local check_self = Table.check_self

local claim = {}

local LOCK = "FOR UPDATE SKIP LOCKED"
local CLAIM_OPTIONS = options.declare("t:claim", {
  where = options.condition, args = options.arguments, order_by = options.columns, limit = options.whole(1),
  select = options.columns, as_cls = options.boolean, debug = options.boolean,
})
local JOB_OPTIONS = options.declare("t:claim_one", {
  status_col = options.name, pending = options.any, completed = options.any, failed = options.any,
  order_by = options.columns, where = options.condition, args = options.arguments, debug = options.boolean,
})

-- ---- claim ----------------------------------------------------------------------------------

-- What a row is known by within a transaction, as SQL for a text: its table (of a parent's rows each is of a table
-- of its own) and its key; without a key its place, which it leaves when the transaction changes it; of a view all
-- that it shows.
local function identity(rel)
  if rel.is_view then return ("ROW(%s.*)::text"):format(rel.qualified) end
  local parts = { rel.qualified .. ".tableoid" }
  for i, pk in ipairs(rel.pks) do parts[i + 1] = rel.qualified .. "." .. core.quote_ident(pk) end
  if #rel.pks == 0 then parts[2] = rel.qualified .. ".ctid" end
  return ("ROW(%s)::text"):format(table.concat(parts, ", "))
end

local function free_name(rel)
  local name = "fastpg_claimed"
  while rel.index[name] do name = name .. "_" end
  return name
end

local function fetch_claimed(conn, st, target)
  local list, hidden = fetch.apart(conn, st, target)
  local known = claimed_rows.rows(conn)
  for _, place in ipairs(hidden) do known[#known + 1] = place end
  if target.one then return list[1] end
  return list
end

fetch.keyed[fetch_claimed] = true

-- The list of what is held goes along as it is when the statement's turn has come.
local function claim_rows(st, sel, limit)
  local rel = table_state.resolve(st)
  local known_by, name = identity(rel), free_name(rel)
  local conn = st.db:bound_connection()
  sel.conds[#sel.conds + 1] = selection.fragment_condition("claim", known_by .. " <> ALL(?)", 1, claimed_rows.rows(conn))
  local also = ("%s AS %s"):format(known_by, core.quote_ident(name))
  local sql, args, n = selection.sql(st, sel, { also = also, limit = limit, lock = LOCK })
  local target = { to = select_sql.target_of(st, sel), hidden = { name }, one = limit == 1 }
  return table_state.run_list(st, sql, fetch_claimed, target, args, n)
end

--- Locks a row that nobody has locked, this transaction included, until the transaction ends: the row, or nil where
--- there is none; with limit > 1 a list.
---@param ... any  nothing, a fragment with its arguments, or options: where, args, order_by, limit, select, as_cls, debug
function claim.claim(self, ...)
  local st = check_self(self, "claim")
  local sel = selection.read(st, "claim", CLAIM_OPTIONS, select("#", ...), ...)
  local conn = st.db:bound_connection()
  if not (conn and conn.in_transaction) then
    errors.raise("no_active_sql_transaction",
      "claim: a claimed row is yours until the transaction ends, and there is none: use db:transaction, or claim_one")
  end
  return claim_rows(st, sel, sel.limit or 1)
end

-- ---- claim_one ------------------------------------------------------------------------------

local function check_jobs(st, opts)
  local rel = table_state.resolve(st)
  opts = options.check(opts, JOB_OPTIONS, "claim_one", rel.index)
  if #rel.pks == 0 then errors.argument("claim_one: %s has no primary key, by which a job is marked", rel.ref) end
  local job = {
    column = opts.status_col or "status", pending = opts.pending, completed = opts.completed, failed = opts.failed,
  }
  if job.pending == nil then job.pending = "pending" end
  if job.completed == nil then job.completed = "completed" end
  if job.failed == nil then job.failed = "failed" end
  if st.filters and st.filters[job.column] ~= nil then
    errors.argument('claim_one: the status column "%s" is filtered on this Table: it could not be changed', job.column)
  end
  local sel = selection.from_options(st, "claim_one",
    { where = opts.where, args = opts.args, order_by = opts.order_by, debug = opts.debug })
  sel.conds[#sel.conds + 1] = { map = { [job.column] = job.pending } }
  return job, sel
end

-- The row may be gone: a function that deletes a job that is done has its reasons.
local function mark_now(st, opts, job, key, status)
  local args = {}
  local sql, n = table_state.writing(st, "update", args, { [job.column] = status }, nil, key, false)
  returning.run(st, sql, args, n, nil, opts, true)
end

local function mark(st, ...)
  if st.db.root.writes then return write_hook.run(st, "update", {}, mark_now, ...) end
  return mark_now(st, {}, ...)
end

-- What says nothing of the job: its transaction met another one (and would do well the next time, as
-- db:transaction's retries have it), or somebody pressed Ctrl-C, of which the interpreter makes this text.
local function is_chance(err)
  if type(err) == "string" then return err:find "interrupted!$" ~= nil end
  return errors.is(err, "40001") or errors.is(err, "40P01")
end

-- Runs fn(p) inside a savepoint: what it did is undone where it fails.  Gives the error that ends the worker,
-- which is none of the job's: chance, or that the task was canceled meanwhile, also if fn made nothing of it,
-- since what it was waiting for was not done.
local function work(tx, p, fn)
  local cancels = current_task.cancels()
  local function handler(err)
    p.error, p.traceback = err, debug.traceback(tostring(err), 2)
    return err
  end
  local ok, err = pcall(transaction.run, tx, nil, function(inner)
    p.db = inner:user()
    local done, problem = xpcall(function() fn(p) end, handler)
    if not done then error(problem, 0) end
  end)
  p.failed = not ok
  if not ok and p.error == nil then p.error, p.traceback = err, debug.traceback(tostring(err), 1) end
  if current_task.cancels() == cancels then return not ok and is_chance(err) and err or nil end
  return not ok and errors.is(err, "canceled") and err or errors.new("canceled", "the task was canceled")
end

--- Takes one job off the queue and runs fn(p) on it: p, or nil where no job is pending.
--- p has `row` and, inside fn, `db` (the transaction, which is ambient too); after it `failed`,
--- `error`, `traceback`.  `p.retry = true` leaves the status as it was.  Raises "canceled" where the task is
--- canceled meanwhile, and a serialization failure, a deadlock, Ctrl-C: the job stays pending.
---@param opts { status_col: string?, pending: any, completed: any, failed: any, order_by: any, where: any, args: table? }?
---@param fn fun(p: table)
function claim.claim_one(self, opts, fn)
  local st = check_self(self, "claim_one")
  if fn == nil and type(opts) == "function" then opts, fn = nil, opts end
  if type(fn) ~= "function" then errors.argument("claim_one: a function expected, got %s", type(fn)) end
  local job, sel = check_jobs(st, opts)
  return transaction.run(st.db, nil, function(tx)
    local row = claim_rows(st, sel, 1)
    if row == nil then return nil end
    local p = { row = row, db = tx:user(), failed = false, retry = false }
    local key = primary_key.of_row(table_state.resolve(st), row) -- now: the function may change p.row
    local ended = work(tx, p, fn)
    if ended then error(ended, 0) end
    if not p.retry then mark(st, job, key, p.failed and job.failed or job.completed) end
    return p
  end)
end

table_state.make_steady(claim, core.table_state, "claim")

return claim
