-- SPDX-License-Identifier: MIT
--
-- metrics: db:metrics, the numbers of a database in Prometheus' text format.

local ipairs, tostring = ipairs, tostring

local metrics = {}

local METRICS = {
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

--- How the pool stands, in Prometheus' text format.
---@return string
local function text(self)
  local stats, lines = self:connected().root.pool:stats(), {}
  for _, m in ipairs(METRICS) do
    local name = "fastpg_" .. m[2]
    lines[#lines + 1] = ("# HELP %s %s\n# TYPE %s %s\n%s %s\n"):format(name, m[4], name, m[3], name, tostring(stats[m[1]]))
  end
  return table.concat(lines)
end

--- Adds db:metrics.
function metrics.extend(methods) methods.metrics = text end

return metrics
