-- SPDX-License-Identifier: MIT
--
-- claimed_rows: the rows that the open transaction of a connection has claimed.
--
-- A transaction's own locks do not stop it, so SKIP LOCKED alone would give it the same row again.  What a
-- savepoint is rolled back to is free again, on the server and here: so the savepoints are known too, those of
-- fastpg and those that SQL makes.
--
--   conn.held = { rows = { identity, … }, marks = { { name, number of rows }, … } }, or nil
--
-- PostgreSQL manual: SELECT, "The Locking Clause"; ROLLBACK TO SAVEPOINT.

local savepoint = require "fastpg.pg.savepoint"

local claimed_rows = {}

local function of(conn)
  local state = conn.held
  if not state then
    state = { rows = {}, marks = {} }
    conn.held = state
  end
  return state
end

--- The identities of the rows held: a list that the caller may add to.
---@return string[]
function claimed_rows.rows(conn) return of(conn).rows end

--- The transaction is over, or begins.
function claimed_rows.forget(conn) conn.held = nil end

--- A savepoint was made.
---@param name string
function claimed_rows.savepoint(conn, name)
  local state = of(conn)
  state.marks[#state.marks + 1] = { name, #state.rows }
end

-- The position of the newest savepoint of that name.
local function find(marks, name)
  for i = #marks, 1, -1 do
    if marks[i][1] == name then return i end
  end
end

local function cut(list, n)
  for i = #list, n + 1, -1 do list[i] = nil end
end

--- A savepoint is gone, and those made after it.
function claimed_rows.release(conn, name)
  local marks = of(conn).marks
  local i = find(marks, name)
  if i then cut(marks, i - 1) end
end

--- Whether a savepoint of fastpg's own was made after the newest one of that name: it would go with it.
function claimed_rows.is_outside(conn, name)
  local marks = of(conn).marks
  for i = #marks, 1, -1 do
    if marks[i][1] == name then return false end
    if savepoint.is_ours(marks[i][1]) then return find(marks, name) ~= nil end
  end
  return false
end

--- What was done since the savepoint was undone; the savepoint stays.
function claimed_rows.rolled_back(conn, name)
  local state = of(conn)
  local i = find(state.marks, name)
  if not i then return end
  cut(state.rows, state.marks[i][2])
  cut(state.marks, i)
end

return claimed_rows
