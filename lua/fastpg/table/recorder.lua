-- SPDX-License-Identifier: MIT
--
-- recorder: a call of a Table that is written down instead of being run: db:pipeline sends it with others.
--
-- While record(fn, …) runs fn, the statement that its coroutine would send (fastpg.table.table_state) becomes an item, and
-- PENDING comes back in the place of a result.  Whoever makes something else of a result says so by `after`:
--
--   if row == recorder.PENDING then return recorder.after(fn, …) end      fn(row, …) when it is there
--
-- What is looked up meanwhile (the catalog) runs as ever.

local error, pcall, select, setmetatable = error, pcall, select, setmetatable

local compat = require "fastpg.base.compat"
local errors = require "fastpg.base.errors"

local unpack = compat.unpack

local recorder = {
  count = 0, -- of those that are recording: nobody looks further where there is none
  PENDING = setmetatable({}, { __name = "fastpg.pending" }),
}

local PENDING = recorder.PENDING
local MAIN = {}
local open = setmetatable({}, { __mode = "k" }) -- coroutine -> the item that it records

local function me() return coroutine.running() or MAIN end

local function finish(co, item, ok, ...)
  open[co], recorder.count = nil, recorder.count - 1
  if not ok then error((...), 0) end
  if not item.text then item.value = (...) end
  return item
end

--- Calls fn(...): what it would have sent, { st =, uses =, text =, how =, target =, list =, n =, finish = nil or a function of
--- the result }; without `text` nothing has to be sent, and `value` is the result.
---@return table item
function recorder.record(fn, ...)
  local co, item = me(), {}
  open[co], recorder.count = item, recorder.count + 1
  return finish(co, item, pcall(fn, ...))
end

--- Whether the coroutine records.
function recorder.is_recording() return open[me()] ~= nil end

local function refuse()
  errors.raise("feature_not_supported", "a pipeline takes calls of one statement each: make this one before or after it, "
    .. "with db.t", { sqlstate = "0A000" })
end

--- Raises where the coroutine records: what is about to run is more than a statement.
function recorder.refuse()
  if open[me()] then refuse() end
end

--- Notes a statement: PENDING, or nil where the coroutine does not record.
function recorder.note(st, uses, sql, how, target, list, n)
  local item = open[me()]
  if not item then return nil end
  if item.text then refuse() end
  item.st, item.uses, item.text, item.how, item.target, item.list, item.n = st, uses, sql, how, target, list, n
  return PENDING
end

--- What becomes of the result of the statement that was noted: fn(result, ...).
---@param fn function  it may raise
function recorder.after(fn, ...)
  local item, n, args = open[me()], select("#", ...), { ... }
  item.finish = function(result) return fn(result, unpack(args, 1, n)) end
  return PENDING
end

return recorder
