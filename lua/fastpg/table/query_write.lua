-- SPDX-License-Identifier: MIT
--
-- query_write: what changes the rows of a query: update and delete.
--
-- With joins the other tables stand in FROM (or USING), so that values can come from them; where rows are chosen by an
-- order, a limit or a left join, it is by way of the key.
--
-- PostgreSQL manual: "UPDATE", "DELETE".

local ipairs, type = ipairs, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local join_sql = require "fastpg.table.join_sql"
local query = require "fastpg.table.query"
local returning = require "fastpg.table.returning"
local select_sql = require "fastpg.table.select_sql"
local table_state = require "fastpg.table.table_state"
local write_hook = require "fastpg.table.write_hook"

local methods = {}

local UPDATE_OPTIONS = returning.declare("q:update", {})
local DELETE_OPTIONS = returning.declare("q:delete", {})

local function refuse(sel, what)
  for _, name in ipairs{ "select", "group_by", "having", "distinct", "source", "lock", "with" } do
    if sel[name] ~= nil then errors.argument("%s does not go with %s", name == "source" and "a query of a query" or name, what) end
  end
end

local function is_by_key(sel)
  if sel.limit or sel.offset then return true end
  for _, join in ipairs(sel.joins or {}) do
    if join.kind == "LEFT JOIN" then return true end
  end
  return false
end

-- `(key) IN (SELECT key …)`, and the filters once more: a row that another session just moved out of reach is left alone.
local function put_by_key(w, st, sel, what)
  local rel = table_state.resolve(st)
  if #rel.pks == 0 then errors.argument("%s: limit, offset and left_join need a primary key, which %s lacks", what, rel.ref) end
  local names, keys = {}, {}
  for i, name in ipairs(rel.pks) do
    names[i] = core.quote_ident(name)
    keys[i] = sel.joins and rel.ref .. "." .. names[i] or names[i]
  end
  w:put((" WHERE (%s) IN ("):format(table.concat(names, ", ")))
  select_sql.write(w, st, sel, { select = table.concat(keys, ", ") })
  w:put ")"
  select_sql.put_where(w, select_sql.open(w, st, {}), st, {}, " AND ")
end

-- What stands behind the table and its SET: FROM or USING, and WHERE.
local function put_rows(w, st, sel, word, what)
  if is_by_key(sel) then return put_by_key(w, st, sel, what) end
  local at = select_sql.open(w, st, sel)
  join_sql.put_using(w, at, word)
  select_sql.put_where(w, at, st, sel.conds, join_sql.put_using_conditions(w, at, " WHERE "))
end

local function run_now(st, opts, sel, write)
  local w = select_sql.statement(st, function(w)
    if sel.ctes then select_sql.put_ctes(w, sel.ctes) else returning.begin(w, st, opts) end
    write(w)
    w.ctes = nil
    returning.put(w, st, opts, sel.joins ~= nil and not is_by_key(sel))
  end)
  local sql, args, n = w:finish()
  if sel.debug then print(sql) end
  return returning.run(st, sql, args, n, w.uses, opts, false)
end

local function run(st, op, sel, opts, write)
  if st.db.root.writes then return write_hook.run(st, op, opts, run_now, sel, write) end
  return run_now(st, opts, sel, write)
end

--- Changes all rows of the query: the list of rows as they are now.
---@param record table  values, which may be fastpg.sql with columns of joined tables
---@param opts { returning: any }?
function methods.update(self, record, opts)
  local st, sel = query.state(self), self.sel
  if type(record) ~= "table" then errors.argument("update: a table of values expected, got %s", type(record)) end
  opts = returning.check(opts, UPDATE_OPTIONS, "update")
  refuse(sel, "update")
  return run(st, "update", sel, opts, function(w)
    w:put(("UPDATE %s SET "):format(table_state.resolve(st).qualified))
    local set
    set, w.n = table_state.assignments(st, record, w)
    if set == "" then errors.argument("update: no column to set") end
    w:put(set)
    put_rows(w, st, sel, "FROM", "update")
  end)
end

--- Deletes all rows of the query: the list of what was there.
---@param opts { returning: any }?
function methods.delete(self, opts)
  local st, sel = query.state(self), self.sel
  opts = returning.check(opts, DELETE_OPTIONS, "delete")
  refuse(sel, "delete")
  return run(st, "delete", sel, opts, function(w)
    w:put(("DELETE FROM %s"):format(table_state.resolve(st).qualified))
    put_rows(w, st, sel, "USING", "delete")
  end)
end

return methods
