-- SPDX-License-Identifier: MIT
--
-- ways: how a statement can go through fastpg, and what comes back as the server's texts.
--
-- A result is { rows = lists of texts, columns =, tag = }; a text is false where the way doesn't tell.
-- What the texts are made of (the types of the columns, the state of the connection) is looked up behind
-- the public face, by a wrapper around each function of fastpg.pg.fetch: that is what `seen` is.

local server_form = require "fastpg.value.server_form"
local core = require "fastpg.core"
local fetch = require "fastpg.pg.fetch"
local lua_form = require "fastpg.value.lua_form"
local reference = require "tools.regress.reference"
local script = require "tools.regress.script"

local ways = {}

-- ---- looking inside -------------------------------------------------------------------------

local seen = {}

for _, name in ipairs{ "rows", "first", "one", "item", "value", "arrays", "status", "count" } do
  local fn = fetch[name]
  fetch[name] = function(conn, st, target)
    local shape = st and st:shape()
    seen.last_conn, seen.last_shape = conn, shape
    if shape and conn == seen.conn then seen.shape = shape end
    return fn(conn, st, target)
  end
end

--- The connection of c is the one that is tested from here on.
function ways.watch(c)
  c:item "select 1"
  seen.conn, seen.shape = seen.last_conn, nil
end

--- The one value of a statement on any other connection, as text.
function ways.text_of_item(db, sql, value)
  local rows = db:arrays(sql, value)
  return ways.text_of(rows[1][1], seen.last_shape, 1)
end

--- "idle", "intrans", "inerror", … of the connection that is tested; nil when it is lost.
function ways.status()
  local conn = seen.conn
  return conn and conn.c:usable() and conn.c:transaction_status() or nil
end

--- What the server reported of a setting.
function ways.parameter(name)
  return seen.conn and seen.conn.c:usable() and seen.conn.c:parameter(name) or nil
end

-- ---- texts ----------------------------------------------------------------------------------

local function text_of(value, shape, i)
  if value == nil or rawequal(value, core.null) then return reference.NULL end
  return server_form.text(value, server_form.type_of(shape.typemap, shape.types[i] or 0), lua_form.walk(shape.typemap))
end
ways.text_of = text_of

-- A row's texts, with the values themselves under `values`.
local function of_row(row, shape)
  local out = { values = {} }
  for i, name in ipairs(shape.columns) do
    local value = rawget(row, name)
    out[i] = shape.index[name] == i and text_of(value, shape, i) -- of one name only the last is there
    out.values[i] = value
  end
  return out
end

local function of_array(row, shape)
  local out = { values = row }
  for i = 1, #shape.columns do out[i] = text_of(row[i], shape, i) end
  return out
end

local function of_list(list, convert)
  local shape, rows = seen.shape or { columns = {}, types = {} }, {}
  for i, row in ipairs(list) do rows[i] = convert(row, shape) end
  return { rows = rows, columns = shape.columns, types = shape.types }
end

-- ---- the ways -------------------------------------------------------------------------------

local list = {}

function list.q(c, sql) return of_list(c:q(sql), of_row) end
function list.arrays(c, sql) return of_list(c:arrays(sql), of_array) end

--- `item` where psql got one field, else `first`.
function list.first(c, sql, expected)
  local rows = expected and expected.rows
  if rows and #rows == 1 and #expected.columns == 1 and not script.shows_the_session(sql) then
    local value = c:item(sql)
    local shape = seen.shape
    return { rows = { { text_of(value, shape, 1), values = { value } } }, columns = shape.columns, types = shape.types }
  end
  local result = of_list({ (c:first(sql)) }, of_row)
  result.only_first = true
  return result
end

function list.each(c, sql)
  local rows, shape = {}, nil
  c:each(sql, function(row)
    shape = getmetatable(row).shape
    rows[#rows + 1] = of_row(row, shape)
  end)
  return { rows = rows, columns = shape and shape.columns, types = shape and shape.types }
end

function list.prepare(c, sql)
  local prepared = c:prepare(sql)
  return of_list(prepared(), of_row)
end

--- The command tag, by the extended protocol.
function list.status(c, sql)
  return { tag = (c:prepare(sql):execute()) }
end

--- By the simple one.
function list.execute(c, sql)
  return { tag = (c:execute(sql)) }
end

function list.pipeline(c, sql)
  local before = ways.status()
  local ok, results = pcall(c.pipeline, c, function(p) p:q(sql) end)
  if ok then return of_list(results[1], of_row) end
  -- what failed within a transaction is undone and the transaction goes on; psql's does not
  if before == "intrans" and ways.status() == "intrans" then pcall(c.execute, c, "regress: not that it fails, but where") end
  error(results, 0)
end

--- The statement in a transaction of its own, read by a cursor.
function list.transaction(c, sql)
  if ways.status() ~= "idle" then return list.arrays(c, sql) end
  return (c:transaction(function(tx) return list.each(tx, sql) end))
end

-- Each runs with a cache, but for `uncached`, which has none.
list.uncached = list.arrays

--- `arrays`, and every value that came is sent back (see regress.lua).
list.back = list.arrays

ways.names = { "q", "arrays", "first", "each", "prepare", "status", "execute", "pipeline", "transaction", "uncached", "back" }

-- Statements that are about the transaction, or that none may be around.
local ALONE = { begin = true, start = true, commit = true, rollback = true, savepoint = true, release = true, ["end"] = true,
  abort = true, prepare = true, set = true, lock = true, declare = true, fetch = true, move = true, close = true,
  vacuum = true, cluster = true, reindex = true, call = true, ["do"] = true, deallocate = true, discard = true, execute = true,
  reset = true, show = true, drop = true, create = true, alter = true }
local IN_PIPELINE = { prepare = true, declare = true, fetch = true, move = true, close = true, lock = true, drop = true,
  execute = true, create = true, alter = true, show = true }

local function fitting(way, sql, standard)
  local kind = script.verb(sql, standard)
  if way == "transaction" and (ALONE[kind] or not kind) then return "arrays" end
  if way == "pipeline" and (ALONE[kind] and not IN_PIPELINE[kind] or not kind) then return "q" end
  return way
end

local function copy(c, sql, unit)
  if unit.copies == "in" then return { tag = "COPY " .. c:copy_from(sql, unit.data or "") } end
  local text, n = c:copy_to(sql)
  return { raw = text, tag = "COPY " .. n }
end

-- Doubles each ? in which fastpg would see a placeholder; nil where a :name is seen, which can't be kept
-- from that.
local function without_marks(sql, standard)
  local _, npos, names = core.convert(sql, 0, standard)
  if names then return nil end
  local at = sql:find("?", 1, true)
  while at and npos > 0 do
    local doubled = sql:sub(1, at) .. "?" .. sql:sub(at + 1)
    local _, fewer = core.convert(doubled, 0, standard)
    if fewer < npos then
      sql, npos, at = doubled, fewer, at + 1
    end
    at = sql:find("?", at + 1, true)
  end
  return sql
end

--- Runs a unit: what came back, or raises.
---@param c table  a database
---@param unit table  of script.read
---@param way string
---@param expected table?  psql's result
---@param variables table<string, string>
function ways.run(c, unit, way, expected, variables)
  local standard = ways.parameter "standard_conforming_strings" ~= "off"
  local sql = script.expand(unit.sql, variables)
  if unit.several then return list.execute(c, sql) end
  if sql ~= unit.sql and #core.statements(sql, standard) > 1 then -- a variable held them
    return { tag = list.execute(c, sql).tag, several = true }
  end
  if unit.copies then return copy(c, sql, unit) end
  if unit.ending == "gset" or unit.ending == "gexec" then way = "q" end
  local plain = without_marks(sql, standard)
  if not plain then return list.execute(c, sql) end
  seen.shape = nil
  return list[fitting(way, sql, standard)](c, plain, expected)
end

return ways
