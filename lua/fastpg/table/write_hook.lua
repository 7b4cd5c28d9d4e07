-- SPDX-License-Identifier: MIT
--
-- write_hook: db:on "write": what a Table or a query has written is told in the transaction of the write.
--
-- That is one of its own where none is open, else a savepoint of the one that is, so that a hook that fails undoes the write
-- and no more.  Where others use the connection, too, it is the writer's until the savepoint is gone: what they did meanwhile
-- would be undone with it.
--
-- A function that writes is called with its options; those of one that is to be told of have `db`, the transaction, and `seen`,
-- into which fastpg.table.returning notes what was written: { rows = the number, keys = their list, nil where there are none }.

local error, ipairs, pairs = error, ipairs, pairs

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local filters = require "fastpg.table.filters"
local hook_calls = require "fastpg.pool.hook_calls"
local recorder = require "fastpg.table.recorder"
local table_state = require "fastpg.table.table_state"
local transaction = require "fastpg.pool.transaction"

local pack, unpack = compat.pack, compat.unpack

local write_hook = {}

-- A hook of a database that db:scope made hears of what is written under its filters.
local function hears(hook, st)
  local scope = hook.from.scope
  if scope then table_state.resolve(st) end
  return not scope or st.filters and filters.beside(st.filters, scope) == st.filters
end

-- The hooks that are to be told; nil where there are none: inside of a hook nothing is told.
local function hooks_of(st)
  local root, list = st.db.root, {}
  if st.db.quiet or hook_calls.is_inside(root.config and root.config.loop) then return nil end
  for _, hook in ipairs(root.writes or list) do
    if hears(hook, st) then list[#list + 1] = hook end
  end
  return list[1] and list
end

local function copy_of(keys)
  local copy = {}
  for i, key in ipairs(keys) do copy[i] = key end
  return copy
end

local function tell(st, op, seen, list, conn)
  local rel, loop = table_state.resolve(st), st.db.root.config.loop
  for i, hook in ipairs(list) do
    local tx = hook.from:bind(conn, "transaction")
    tx.quiet = true
    local ok, err = hook_calls.call(loop, hook, {
      table = rel.name, schema = rel.schema, op = op, rows = seen.rows, tx = tx:user(), where = core.where(),
      pid = conn.pid,
      keys = seen.keys and (i < #list and copy_of(seen.keys) or seen.keys),
    })
    tx:finish_use()
    if not ok then error(err, 0) end
  end
end

--- Gives fn(st, opts, ...), which writes rows of the table of a state, and tells of it.
---@param op "insert"|"update"|"upsert"|"delete"|"copy"
---@param opts table?  of the call, checked
---@param fn fun(st: table, opts: table?, ...): any
function write_hook.run(st, op, opts, fn, ...)
  local list = hooks_of(st)
  if not list then return fn(st, opts, ...) end
  if recorder.is_recording() then
    errors.raise("feature_not_supported", 'a hook on "write" hears of each write in its own transaction, which a pipeline is '
      .. "not: write before or after it, with db.t", { sqlstate = "0A000" })
  end
  local args, known = pack(...), {}
  for name, value in pairs(opts or known) do known[name] = value end
  return transaction.atomic(st.db, op == "copy", function(tx)
    local seen = { rows = 0, keys = #table_state.resolve(st).pks > 0 and {} or nil }
    known.seen, known.db = seen, tx
    local result = fn(st, known, unpack(args, 1, args.n))
    if seen.rows > 0 then tell(st, op, seen, list, tx:connection()) end
    return result
  end)
end

return write_hook
