-- SPDX-License-Identifier: MIT
--
-- metrics: db:metrics, the numbers of a database in Prometheus' text format.
--
-- What the pool knows costs nothing.  Statements are counted from the first call on, by a meter that stands where hooks do
-- (fastpg.pool.watch_events calls it with what is over): who never asks pays nothing.
--
-- Prometheus manual: "Exposition formats", "Histograms".

local ipairs, pairs, setmetatable, type = ipairs, pairs, setmetatable, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local hooks = require "fastpg.pool.hooks"

local metrics = {}

-- ---- counting -------------------------------------------------------------------------------

local BOUNDS = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local MOST_NAMES = 200 -- of errors: a program may make SQLSTATEs of its own, and each label is a time series

local Meter = {}
Meter.__index = Meter

local function new_meter()
  local meter = { statements = 0, rows = 0, bytes = 0, seconds = 0, trips = 0, errors = {}, names = 0, buckets = {} }
  for i = 1, #BOUNDS do meter.buckets[i] = 0 end
  return setmetatable(meter, Meter)
end

local function error_key(err)
  if not errors.is_error(err) then return "other", "" end
  return type(err.name) == "string" and err.name or "other", type(err.sqlstate) == "string" and err.sqlstate or ""
end

local function count_error(self, err)
  local name, sqlstate = error_key(err)
  local key = name .. "\0" .. sqlstate
  local one = self.errors[key]
  if not one then
    if self.names >= MOST_NAMES and err ~= nil then return count_error(self, nil) end
    one = { name = name, sqlstate = sqlstate, count = 0 }
    self.errors[key], self.names = one, self.names + 1
  end
  one.count = one.count + 1
end

--- Counts what went in one trip.
---@param list table[]  operations (fastpg.pool.watch_events)
function Meter:count(list)
  local first = list[1]
  if not first then return end
  local seconds, buckets = first.seconds, self.buckets
  self.trips, self.seconds = self.trips + 1, self.seconds + seconds
  local i = 1
  while BOUNDS[i] and seconds > BOUNDS[i] do i = i + 1 end
  if BOUNDS[i] then buckets[i] = buckets[i] + 1 end
  for _, op in ipairs(list) do
    self.statements = self.statements + (op.runs or 1)
    if op.rows then self.rows = self.rows + op.rows end
    if op.bytes then self.bytes = self.bytes + op.bytes end
  end
  if first.error ~= nil then count_error(self, first.error) end
end

-- ---- the text -------------------------------------------------------------------------------

local STATS = {
  { "size", "connections", "gauge", "open connections" },
  { "idle", "connections_idle", "gauge", "open connections that nobody uses" },
  { "in_use", "connections_in_use", "gauge", "connections in use" },
  { "waiting", "waiting", "gauge", "those who wait for a connection" },
  { "max_size", "connections_max", "gauge", "connections there may be" },
  { "min_size", "connections_min", "gauge", "connections that are kept" },
  { "opened", "connections_opened_total", "counter", "connections opened" },
  { "closed", "connections_closed_total", "counter", "connections closed" },
  { "acquired", "acquired_total", "counter", "times that a connection was taken" },
  { "waited", "waited_total", "counter", "times that one had to wait for it" },
  { "together", "together_total", "counter", "statements that went in one round trip with another's" },
  { "timeouts", "wait_timeouts_total", "counter", "times that none came in time" },
  { "statements", "prepared_statements", "gauge", "prepared statements that are kept" },
  { "hits", "statement_cache_hits_total", "counter", "statements that had been prepared before" },
  { "misses", "statement_cache_misses_total", "counter", "texts that had no prepared statement" },
  { "prepared", "statements_prepared_total", "counter", "statements prepared to be kept" },
  { "evicted", "statements_evicted_total", "counter", "prepared statements that made room for others" },
}

local COUNTS = {
  { "statements", "statements_total", "statements run, counted from the first call of db:metrics on, as all that follows" },
  { "rows", "rows_total", "rows that came or were changed" },
  { "bytes", "bytes_total", "bytes that results took in memory, and that COPY moved" },
}

-- A number as every Lua and every locale writes it.
local function number(n)
  return n == math.floor(n) and ("%.0f"):format(n) or core.float_text(n, false)
end

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function labels_of(labels)
  local parts = {}
  for i, label in ipairs(labels) do parts[i] = ('%s="%s"'):format(label[1], (label[2]:gsub('[\\"\n]', ESCAPES))) end
  return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
end

local function put_head(lines, name, kind, help)
  lines[#lines + 1] = ("# HELP fastpg_%s %s"):format(name, help)
  lines[#lines + 1] = ("# TYPE fastpg_%s %s"):format(name, kind)
end

local function put(lines, name, value, labels)
  lines[#lines + 1] = ("fastpg_%s%s %s"):format(name, labels_of(labels or {}), number(value))
end

local function put_errors(lines, meter)
  put_head(lines, "errors_total", "counter", "statements that failed, by the error's name and SQLSTATE; of a batch one")
  local keys = {}
  for key in pairs(meter.errors) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local one = meter.errors[key]
    local code = one.sqlstate
    put(lines, "errors_total", one.count, { { "name", one.name }, { "sqlstate", code }, { "class", code:sub(1, 2) } })
  end
end

local function put_seconds(lines, meter)
  local name, below = "trip_seconds", 0
  put_head(lines, name, "histogram", "how long statements took; a batch, a stream, a COPY is one")
  for i, bound in ipairs(BOUNDS) do
    below = below + meter.buckets[i]
    put(lines, name .. "_bucket", below, { { "le", number(bound) } })
  end
  put(lines, name .. "_bucket", meter.trips, { { "le", "+Inf" } })
  put(lines, name .. "_sum", meter.seconds)
  put(lines, name .. "_count", meter.trips)
end

--- How the pool stands and what was run, in Prometheus' text format.
---@return string
local function put_servers(lines, servers)
  local list = servers:stats()
  put_head(lines, "failovers_total", "counter", "times that another server became the primary")
  put(lines, "failovers_total", servers.failovers)
  put_head(lines, "server_up", "gauge", "1: the server answers")
  for _, one in ipairs(list) do
    put(lines, "server_up", one.answers and 1 or 0, { { "server", one.name }, { "role", one.role } })
  end
  put_head(lines, "server_lag_seconds", "gauge", "how far a standby is behind")
  for _, one in ipairs(list) do
    if one.lag then put(lines, "server_lag_seconds", one.lag, { { "server", one.name } }) end
  end
  put_head(lines, "server_connections", "gauge", "open connections to a server")
  for _, one in ipairs(list) do put(lines, "server_connections", one.size, { { "server", one.name } }) end
end

local function text(self)
  local root, lines = self:connected().root, {}
  local stats, meter = root.pool:stats(), hooks.meter(root, new_meter)
  for _, m in ipairs(STATS) do
    put_head(lines, m[2], m[3], m[4])
    put(lines, m[2], stats[m[1]])
  end
  for _, m in ipairs(COUNTS) do
    put_head(lines, m[2], "counter", m[3])
    put(lines, m[2], meter[m[1]])
  end
  put_errors(lines, meter)
  put_seconds(lines, meter)
  if root.servers then put_servers(lines, root.servers) end
  return table.concat(lines, "\n") .. "\n"
end

--- Adds db:metrics.
function metrics.extend(methods) methods.metrics = text end

return metrics
