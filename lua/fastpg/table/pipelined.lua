-- SPDX-License-Identifier: MIT
--
-- pipelined: Tables inside a pipeline: db:pipeline(function(p) p.t.artist:insert{ … } p.t.album{ limit = 3 } end).
--
-- p.t.artist stands for db.t.artist.  A call of it that is one statement is recorded (fastpg.table.recorder) with all that
-- the call itself would do, filters and classes too, and joins the pipeline; what it needs of the catalog is looked up before.
-- Whatever takes several statements is an error.  Where the tables turn out to be others than they were taken for when it was
-- recorded, all is recorded once more, as a call by itself would be made once more.

local error, getmetatable, ipairs, next, pcall, rawget, select, setmetatable, tostring, type =
  error, getmetatable, ipairs, next, pcall, rawget, select, setmetatable, tostring, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local pipeline = require "fastpg.pg.pipeline"
local query = require "fastpg.table.query"
local recorder = require "fastpg.table.recorder"
local Table = require "fastpg.table.table"
local table_state = require "fastpg.table.table_state"

local unpack = compat.unpack

local function set(names)
  local all = {}
  for name in names:gmatch "[%w_]+" do all[name] = true end
  return all
end

-- What is one statement; what gives another query; properties, which send nothing.
local RUNS = set [[get has all selectone first count insert insert_from update upsert delete delete_where groupby exists item
  pluck map one]]
local CHAINS = set [[where select order_by limit offset distinct group_by having for_update join left_join where_exists
  where_missing cte union union_all scope with]]
local PROPERTIES = set "name schema pks cols c cls db"

-- The calls that may find that something is not there: what was sent with them is undone then.
local RAISES = set "update upsert delete selectone one item map"

-- ---- queueing -------------------------------------------------------------------------------

-- What p.t.artist, and what its methods give, stand for.
local P, REAL = {}, {} -- keys that no user has

-- What is copied of the arguments: records, rows, options, documents, and nothing that has a life of its own.
local function is_data(mt)
  return mt == nil or type(mt) == "table" and (rawget(mt, "__name") == "fastpg.row" or rawget(mt, "__jsontype") ~= nil)
end

-- An argument as it is now: what is recorded anew, and a document in it, is what it was when the call was made.
local function taken(value, seen)
  if type(value) ~= "table" then return value end
  local behind = rawget(value, REAL)
  if behind ~= nil then return behind end
  local mt = getmetatable(value)
  if not is_data(mt) then return value end
  if seen[value] then return seen[value] end
  local copy = {}
  seen[value] = copy
  for k, v in next, value do copy[k] = taken(v, seen) end
  return setmetatable(copy, mt)
end

local function take(...)
  local list, n, seen = { ... }, select("#", ...), {}
  for i = 1, n do list[i] = taken(list[i], seen) end
  return list, n
end

local function record(item)
  local made = recorder.record(unpack(item.call, 1, item.call_n))
  item.text, item.list, item.n, item.how, item.target = made.text, made.list, made.n, made.how, made.target
  item.table, item.finish, item.value = made, made.finish, made.value
  item.check = made.text and function(conn) table_state.check_recorded(conn, made) end or nil
  made.rel = made.st and made.st.rel
end

local function queue(p, may_raise, ...)
  local item = { may_raise = may_raise }
  item.call, item.call_n = take(...)
  record(item)
  pipeline.add(p, item)
end

local proxy

-- A method of the Table or query behind it.
local function method_of(p, object, name)
  local method = object[name]
  if RUNS[name] then
    return function(...) queue(p, RAISES[name], method, ...) end
  end
  return function(...)
    local args, n = take(...)
    return proxy(p, method(unpack(args, 1, n)))
  end
end

local Proxy = { __name = "fastpg.pipelined" }

local function get(object, key) return object[key] end

local function refuse(name)
  errors.raise("feature_not_supported", ("%s: a pipeline takes calls of one statement each: make this one before or after it, "
    .. "with db.t"):format(name), { sqlstate = "0A000" })
end

Proxy.__index = function(self, key)
  local p, object = self[P], self[REAL]
  local is_table = core.table_state(object) ~= nil
  if PROPERTIES[key] and is_table then return object[key] end
  if RUNS[key] or CHAINS[key] then
    if is_table and Table.methods[key] or not is_table and query.methods[key] then return method_of(p, object, key) end
  end
  if is_table and Table.methods[key] or not is_table and query.methods[key] then refuse(key) end
  if not is_table then return object[key] end -- which says so
  queue(p, true, get, object, key)
  return nil
end

Proxy.__call = function(self, ...) queue(self[P], false, self[REAL], ...) end
Proxy.__tostring = function(self) return tostring(self[REAL]) end
Proxy.__concat = function(a, b) return tostring(a) .. tostring(b) end
Proxy.__newindex = function(_, key)
  errors.argument("a Table of a pipeline can't be assigned to (%s)", tostring(key))
end

function proxy(p, object) return setmetatable({ [P] = p, [REAL] = object }, Proxy) end

-- ---- p.t ------------------------------------------------------------------------------------

local Tables = { __name = "fastpg.pipelined_tables" }
Tables.__index = function(self, name) return proxy(self[P], self[REAL][name]) end
Tables.__newindex = function(_, name) errors.argument("the tables of a pipeline can't be assigned to (%s)", tostring(name)) end

local function tables_of(p, route)
  return setmetatable({ [P] = p, [REAL] = route:user().t }, Tables)
end

local TRIES = 4

-- Why it may run once more.
local function why_again(p, err)
  for _, item in ipairs(p) do
    if item.table and (not err.statement or err.statement == item.statement) then
      local why = table_state.may_record_again(item.table, err)
      if why then return why end
    end
  end
  return nil
end

local function record_again(p)
  for _, item in ipairs(p) do
    if item.call then record(item) end
  end
end

local function run_tables(route, p, run)
  for _ = 2, TRIES do
    local ok, results = pcall(run, route, p)
    if ok then return results end
    local why = errors.is_error(results) and why_again(p, results)
    if not why then error(results, 0) end
    if why == "moved" and not route:bound_connection() then
      return route:on_one_connection(function()
        record_again(p)
        return run(route, p)
      end)
    end
    record_again(p)
    if why == "other" then break end
  end
  return run(route, p)
end

pipeline.extend_tables(tables_of, run_tables)

return {}
