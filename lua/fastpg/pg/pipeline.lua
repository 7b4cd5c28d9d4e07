-- SPDX-License-Identifier: MIT
--
-- pipeline: many statements of the user's in one round trip (fastpg.pg.batch): db:pipeline, db:executemany.

local ipairs, pairs, rawget, setmetatable, type = ipairs, pairs, rawget, setmetatable, type

local batch = require "fastpg.pg.batch"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local lists = require "fastpg.base.lists"
local surface = require "fastpg.base.surface"
local user_sql = require "fastpg.sql.user_sql"

local pipeline = {}

local ANY = surface.ANY

-- ---- one statement, many arguments ----------------------------------------------------------

-- One set of executemany's arguments as a list of as many as the statement takes.
local function arguments_of(parsed, args, position)
  if type(args) ~= "table" then
    errors.argument("executemany: item %d: a table of arguments expected, got %s", position, type(args))
  end
  if parsed.names then return user_sql.collect(parsed, args) end
  if user_sql.is_args(args) then return args.list, args.n end
  local n = lists.length("executemany: item " .. position, args)
  if n ~= parsed.npos then
    errors.argument("executemany: item %d: too %s arguments: the statement takes %d, got %d%s", position,
      n < parsed.npos and "few" or "many", parsed.npos, n, n < parsed.npos and " (fastpg.null is NULL)" or "")
  end
  return lists.plain(args, n), n
end

local function run_many(conn, sql, list)
  local parsed = user_sql.parse(sql, conn.standard_strings)
  local count
  batch.run(conn, function(prepare)
      count = 0
      return prepare(parsed.text)
    end,
    function(add, st, add_many)
      local function arguments(args, i) return arguments_of(parsed, args, i) end
      if not parsed.names then return add_many(st, list, arguments, function(rows) count = count + rows end) end
      for i, args in ipairs(list) do
        local given, n = arguments(args, i)
        add(st, given, n, i)
      end
    end,
    function(c) count = count + fetch.count(c) end)
  return count
end

--- Runs the statement once for each item of the list, pipelined, all or nothing: the number of rows.
local function executemany(self, sql, list)
  if type(list) ~= "table" then errors.argument("executemany: a list of arguments expected, got %s", type(list)) end
  list = lists.plain(list, lists.length("executemany", list))
  return self:on_connection(run_many, sql, list)
end

-- ---- many statements ------------------------------------------------------------------------

local Pipeline = {}
local queue = {}
for name, how in pairs{ q = "rows", first = "first", item = "item", execute = "status" } do
  queue[name] = function(self, sql, ...)
    if rawget(self, "over") then errors.raise("closed", "the pipeline is over: it queues statements within its function only") end
    local parsed = user_sql.parse(sql, self.standard)
    local list, n = user_sql.collect(parsed, ...)
    self[#self + 1] = { text = parsed.text, how = fetch[how], list = list, n = n }
  end
end

surface.methods(queue, { q = ANY, first = ANY, item = ANY, execute = ANY }, Pipeline, "a pipeline", "p")
Pipeline.__index = surface.names(queue, "a pipeline")

local function run_pipeline(conn, target, p)
  local results = {}
  batch.run(conn, function(prepare)
    for _, item in ipairs(p) do
      item.st = prepare(item.text)
      if conn.doubled then conn:check_duplicates(item.st, item.how) end
    end
  end, function(add)
    for i, item in ipairs(p) do
      item.position = i
      add(item.st, item.list, item.n, item)
    end
  end, function(c, st, item)
    results[item.position] = item.how(c, st, target)
  end)
  results.n = #p
  return results
end

--- Queues the statements that fn(p) names and sends them in one round trip: the list of results.
local function pipeline_method(self, fn)
  if type(fn) ~= "function" then errors.argument("pipeline: a function expected, got %s", type(fn)) end
  local p = setmetatable({ standard = self:strings() }, Pipeline)
  fn(p)
  p.over = true
  return self:on_connection(run_pipeline, self.row_target, p)
end

--- Adds them to the methods of a database.
function pipeline.extend(methods)
  methods.executemany, methods.pipeline = executemany, pipeline_method
end

return pipeline
