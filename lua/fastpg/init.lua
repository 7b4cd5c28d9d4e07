-- SPDX-License-Identifier: MIT
--
-- fastpg: PostgreSQL for Lua.  This file only gathers what the modules offer.
--
-- The module's table is empty: every name is looked up in `names`, so that one that is not there is an
-- error (`fastpg.Null` is no NULL) and nothing is overwritten.

local next, pairs, setmetatable, tostring, type = next, pairs, setmetatable, tostring, type

local load_core = require "fastpg.load_core"
local later = require "fastpg.base.later"

local arrays = require "fastpg.value.arrays"
local conninfo = require "fastpg.pg.conninfo"
local core = require "fastpg.core"
local Database = require "fastpg.database"
local errors = require "fastpg.base.errors"
local lists = require "fastpg.base.lists"
local fragment = require "fastpg.sql.fragment"
local operation = require "fastpg.sql.operation"
local placeholders = require "fastpg.sql.placeholders"
local rows = require "fastpg.value.rows"
local surface = require "fastpg.base.surface"
local task = require "fastpg.host.task"
local query = require "fastpg.table.query"
local user_sql = require "fastpg.sql.user_sql"
local wait = require "fastpg.host.wait"
local Table = require "fastpg.table.table"
require "fastpg.table.write"

local claim = later.module(function() return require "fastpg.table.claim" end)
local class = later.module(function() return require "fastpg.class.class" end)
local copy_rows = later.module(function() return require "fastpg.table.copy_rows" end)
local codegen = later.module(function() return require "fastpg.class.codegen" end)
local ddl = later.module(function() return require "fastpg.class.ddl" end)
local diagram = later.module(function() return require "fastpg.diagram" end)
local link_classes = later.module(function() return require "fastpg.class.link_classes" end)
local migrate = later.module(function() return require "fastpg.class.migrate" end)
local page = later.module(function() return require "fastpg.table.page" end)
local pretty = later.module(function() return require "fastpg.value.pretty" end)
local query_write = later.module(function() return require "fastpg.table.query_write" end)
local related = later.module(function() return require "fastpg.table.related" end)
local type_names = later.module(function() return require "fastpg.value.type_names" end)

local ANY = surface.ANY

query.extend({ update = query_write.update, delete = query_write.delete }, { update = 2, delete = 1 }, "update", "delete")
query.extend({ page = page.page }, { page = 2 })
Table.extend(
  { class = class.method, claim = claim.claim, claim_one = claim.claim_one, copy = copy_rows.copy },
  { class = 1, claim = ANY, claim_one = 2, copy = ANY }
)

local function multirange(list)
  if type(list) == "table" then lists.length("fastpg.multirange", list) end
  return core.multirange(list)
end

local names = {
  _VERSION = "fastpg scm",
  null = core.null,
  json_null = core.json_null,
  array_mt = core.array_mt,
  NotFoundError = errors.NotFoundError,
}

-- Each function and how many arguments it takes at most.
local functions = {
  is = { errors.is, 2 },
  try = { errors.try, ANY },
  guard = { errors.guard, ANY },
  http_status = { errors.http_status, 1 },
  args = { user_sql.args, 2 },
  set_loop = { wait.set_default, 1 },
  loop_info = { wait.info, 0 },
  spawn = { task.spawn, ANY },
  gather = { task.gather, ANY },
  sleep = { task.sleep, 1 },
  step = { task.step, 2 },
  run = { task.run, ANY },
  conv_placeholders = { placeholders.conv, 2 },
  sql = { fragment.new, ANY },
  op = { operation.op, 2 },
  any = { operation.any, 1 },
  none = { operation.none, 1 },
  from = { query.from, 2 },
  load = { related.load, ANY },
  quote_ident = { core.quote_ident, 1 },
  quote_literal = { core.quote_literal, 1 },
  class = { class.new, 3 },
  class_source = { codegen.class_source, 1 },
  all_classes = { link_classes.all_classes, 2 },
  col_def = { ddl.col_def, 4 },
  lua_type = { type_names.lua_type, 1 },
  html = { pretty.html, 1 },
  columns = { pretty.columns, 1 },
  values = { pretty.values, 1 },
  db_of = { rows.db_of, 1 },
  to_json = { core.to_json, 1 },
  from_json = { core.from_json, 1 },
  json_text = { core.json_text, 1 },
  array = { arrays.array, 2 },
  lower_bounds = { arrays.lower_bounds, 1 },
  numeric = { core.numeric, 1 },
  date = { core.date, 3 },
  time = { core.time, 3 },
  timetz = { core.timetz, 4 },
  timestamp = { core.timestamp, 6 },
  timestamptz = { core.timestamptz, 7 },
  interval = { core.interval, 1 },
  now = { core.now, 1 },
  range = { core.range, 3 },
  multirange = { multirange, 1 },
  connect = { Database.connect, 2 },
  create_pool = { Database.create_pool, 2 },
  database = { Database.new, 0 },
  cluster = { function(options) return require("fastpg.cluster").start(options) end, 1 },
  uri = { conninfo.uri, 1 },
  diagram = { diagram.diagram, 2 },
  migrate = { migrate.migrate, 3 },
}
for name, fn in pairs(functions) do names[name] = surface.limited("fastpg." .. name, fn[2], fn[1]) end

-- fastpg.on_error(err, traceback), when it is set: told of the error of a task that nobody waits for.
local function set(_, name, value)
  if name ~= "on_error" then errors.argument("fastpg takes no assignment but that of on_error, got %s", tostring(name)) end
  if value ~= nil and type(value) ~= "function" then
    errors.argument("fastpg.on_error: a function expected, got %s", type(value))
  end
  task.hooks.on_error = value
end

local function unknown(_, name)
  if name == "on_error" then return task.hooks.on_error end
  if surface.is_name(name) then surface.unknown("fastpg", name, names) end
end

if not load_core.settled() then later.all() end

return setmetatable({}, {
  __name = "fastpg",
  __index = setmetatable(names, { __index = unknown }),
  __newindex = set,
  __pairs = function() return next, names, nil end,
})
