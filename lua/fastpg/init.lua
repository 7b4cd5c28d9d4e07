-- SPDX-License-Identifier: MIT
--
-- fastpg: PostgreSQL for Lua.  This file only gathers what the modules offer.

require "fastpg.load"

local class = require "fastpg.class"
local codegen = require "fastpg.codegen"
local arrays = require "fastpg.arrays"
local conninfo = require "fastpg.conninfo"
local core = require "fastpg.core"
local Database = require "fastpg.database"
local ddl = require "fastpg.ddl"
local errors = require "fastpg.errors"
local linking = require "fastpg.linking"
local placeholders = require "fastpg.placeholders"
local pretty = require "fastpg.pretty"
local rows = require "fastpg.rows"
local statement = require "fastpg.statement"
local task = require "fastpg.task"
local typenames = require "fastpg.typenames"
local wait = require "fastpg.wait"
require "fastpg.write"
require "fastpg.claim"
require "fastpg.copyrows"

local fastpg = {
  _VERSION = "fastpg scm",
  null = core.null,
  NotFoundError = errors.NotFoundError,
  is = errors.is,
  try = errors.try,
  guard = errors.guard,
  args = statement.args,
  set_loop = wait.set_default,
  loop_info = wait.info,
  spawn = task.spawn,
  gather = task.gather,
  sleep = task.sleep,
  step = task.step,
  run = task.run,
  conv_placeholders = placeholders.conv,
  sql = core.sql,
  quote_ident = core.quote_ident,
  quote_literal = core.quote_literal,
  class = class.new,
  class_source = codegen.class_source,
  all_classes = linking.all_classes,
  col_def = ddl.col_def,
  lua_type = typenames.lua_type,
  html = pretty.html,
  columns = pretty.columns,
  values = pretty.values,
  db_of = rows.db_of,
  to_json = core.to_json,
  from_json = core.from_json,
  json_text = core.json_text,
  json_null = core.json_null,
  array_mt = core.array_mt,
  array = arrays.array,
  lower_bounds = arrays.lower_bounds,
  numeric = core.numeric,
  date = core.date,
  time = core.time,
  timetz = core.timetz,
  timestamp = core.timestamp,
  timestamptz = core.timestamptz,
  interval = core.interval,
  now = core.now,
  range = core.range,
  multirange = core.multirange,
}

--- Opens one connection.
---@param target string|table|nil  a conninfo string or URI, a table of keywords and options; nil: libpq's environment
---@param extra table?  more options
---@return fastpg.database
function fastpg.connect(target, extra)
  return Database.connect(target, extra)
end

--- Makes a pool of connections.
---@type fun(target?: string|table, extra?: table): fastpg.database
fastpg.create_pool = Database.create_pool

--- A database that is not connected yet: db:connect(...) does it later.
---@type fun(): fastpg.database
fastpg.database = Database.new

--- Starts a private PostgreSQL server.
function fastpg.cluster(options)
  return require("fastpg.cluster").start(options)
end

--- The URI of a conninfo table, without its password.
fastpg.uri = conninfo.uri

-- fastpg.on_error(err, traceback), when it is set: told of the error of a task that nobody waits for.
task.hooks = fastpg

return fastpg
