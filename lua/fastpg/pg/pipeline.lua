-- SPDX-License-Identifier: MIT
--
-- pipeline: many statements of the user's in one round trip (fastpg.pg.batch): db:pipeline, db:executemany.

local error, ipairs, pairs, pcall, rawget, setmetatable, type = error, ipairs, pairs, pcall, rawget, setmetatable, type

local batch = require "fastpg.pg.batch"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local lists = require "fastpg.base.lists"
local surface = require "fastpg.base.surface"
local user_sql = require "fastpg.sql.user_sql"

local pipeline = {}

local BREATHE = 128 -- statements, before others have a turn

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

-- Each item by the statement for its own arguments.
local function run_each(conn, parsed, list)
  local count, items = 0, {}
  batch.run(conn, function(prepare)
    count = 0
    for i, args in ipairs(list) do
      local given, n = arguments_of(parsed, args, i)
      items[i] = { st = prepare(parsed.text, given, n), list = given, n = n }
      if i % BREATHE == 0 then conn:breathe() end
    end
  end, function(add)
    for i, item in ipairs(items) do add(item.st, item.list, item.n, i) end
  end, function(c) count = count + fetch.count(c) end)
  return count
end

-- Whether the statement is one whose types its arguments say: Parse was refused, or a boolean met text.
local function may_go_by_values(conn, parsed, list, err)
  if not errors.is_error(err) or not conn.c:usable() then return false end
  if conn.is_untyped(err) then return conn.c:transaction_status() == "idle" end
  if not err.row or err.sqlstate or conn.c:transaction_status() == "inerror" then return false end
  local given, n = arguments_of(parsed, list[err.row], err.row)
  for i = 1, n do
    if type(given[i]) == "boolean" then return true end
  end
  return false
end

local function run_alike(conn, parsed, list)
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

local function run_many(conn, sql, list)
  local parsed = user_sql.parse(sql, conn.standard_strings)
  if conn:goes_by_values(parsed.text) then return run_each(conn, parsed, list) end
  local ok, result = pcall(run_alike, conn, parsed, list)
  if ok then return result end
  if not may_go_by_values(conn, parsed, list, result) then error(result, 0) end
  return run_each(conn, parsed, list)
end

--- Runs the statement once for each item of the list, pipelined, all or nothing: the number of rows.
local function executemany(self, sql, list)
  if type(list) ~= "table" then errors.argument("executemany: a list of arguments expected, got %s", type(list)) end
  list = lists.plain(list, lists.length("executemany", list))
  return self:on_connection(run_many, sql, list)
end

-- ---- many statements ------------------------------------------------------------------------

-- A pipeline is a list of items, each { text =, list =, n =, how = of fastpg.pg.fetch }; of a Table's call also { target =,
-- finish = what becomes of what was fetched, or nil, check = what is looked at on the connection }, and one that needs no
-- statement { value = } (fastpg.table.pipelined).

local Pipeline = {}
local queue = {}

local function check_open(p)
  if rawget(p, "over") then errors.raise("closed", "the pipeline is over: it queues statements within its function only") end
end

--- Adds an item.
function pipeline.add(p, item)
  check_open(p)
  p[#p + 1] = item
end

for name, how in pairs{ q = "rows", first = "first", item = "item", execute = "status" } do
  queue[name] = function(self, sql, ...)
    check_open(self)
    local parsed = user_sql.parse(sql, self.standard)
    local list, n = user_sql.collect(parsed, ...)
    self[#self + 1] = { text = parsed.text, how = fetch[how], list = list, n = n }
  end
end

surface.methods(queue, { q = ANY, first = ANY, item = ANY, execute = ANY }, Pipeline, "a pipeline", "p")

-- Its tables (pipeline.extend_tables) are made when they are asked for.
local members = surface.names(queue, "a pipeline")
Pipeline.__index = function(p, key)
  if key ~= "t" then return members[key] end
  check_open(p)
  p.t = pipeline.tables_of(p, rawget(p, "route"))
  return p.t
end

local function prepare_all(conn, p, prepare)
  for i, item in ipairs(p) do
    p.at = i
    item.statement = i
    if item.text then
      item.st = prepare(item.text, item.list, item.n)
      if conn.doubled then conn:check_duplicates(item.st, item.how) end
    end
    if i % BREATHE == 0 then conn:breathe() end
  end
  p.at = nil
end

-- Where statements have no names, what is new is asked in one round trip.
local function learn(conn, p)
  if conn.cache_size > 0 then return end
  local texts = {}
  for _, item in ipairs(p) do
    if item.text then texts[#texts + 1] = item.text end
  end
  local err, text = conn:learn(texts)
  if not err then return end
  for i, item in ipairs(p) do
    if item.text == text then err.statement = err.statement or i end
  end
  conn.refuse_text(err)
end

-- What a Table makes of a result, which may be that something is not there, undoes all of it.
local function is_checked(p)
  for _, item in ipairs(p) do
    if item.may_raise then return #p > 1 end
  end
  return false
end

local function run_pipeline(conn, target, p)
  local results = {}
  for _, item in ipairs(p) do
    if item.check then item.check(conn, item) end
  end
  learn(conn, p)
  batch.run(conn, function(prepare) prepare_all(conn, p, prepare) end, function(add)
    for i, item in ipairs(p) do
      if item.text then add(item.st, item.list, item.n, item) else results[i] = item.value end
    end
  end, function(c, st, item)
    local result = item.how(c, st, item.target or target)
    if item.finish then result = item.finish(result) end
    results[item.statement] = result
  end, nil, function() return is_checked(p) end)
  results.n = #p
  return results
end

local function run(self, p)
  local ok, results = pcall(self.on_connection, self, run_pipeline, self.row_target, p)
  if ok then return results end
  if rawget(p, "at") and errors.is_error(results) and not results.statement then results.statement = rawget(p, "at") end
  error(results, 0)
end

--- Queues the statements that fn(p) names and sends them in one round trip: the list of results.
local function pipeline_method(self, fn)
  if type(fn) ~= "function" then errors.argument("pipeline: a function expected, got %s", type(fn)) end
  local p = setmetatable({ standard = self:strings(), route = self }, Pipeline)
  fn(p)
  p.over = true
  if rawget(p, "t") then return pipeline.run_tables(self, p, run) end
  return run(self, p)
end

--- Adds the tables of a pipeline.
---@param tables_of fun(p: table, route: table): any  what p.t is
---@param run_tables fun(route: table, p: table, run: function): table  runs run(route, p), maybe once more
function pipeline.extend_tables(tables_of, run_tables)
  pipeline.tables_of, pipeline.run_tables = tables_of, run_tables
end

--- Adds them to the methods of a database.
function pipeline.extend(methods)
  methods.executemany, methods.pipeline = executemany, pipeline_method
end

return pipeline
