-- SPDX-License-Identifier: MIT
--
-- results.lua: what was measured: results.tsv, the ratios in it, and the tables that are made of them.
--
-- A line of the file: question, case, contestant, then "CPU µs" of each round, "wall µs" of each round (between spaces).

local results = {}

--- Where the figures are kept, and what is made for measuring.
results.dir = os.getenv "BENCH_DIR" or "build/bench"

local FILE = results.dir .. "/results.tsv"

--- Where those go that were measured with less work (QUICK, SCALE): no table is made of them.
results.scaled = results.dir .. "/scaled.tsv"

-- ---- the file -------------------------------------------------------------------------------

local function numbers(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = tonumber(word) end
  return list
end

--- All results: `all[question][case][contestant] = { cpu = {...}, wall = {...} }`, one number a round.
---@param path string? of the file
function results.read(path)
  local all = {}
  local f = io.open(path or FILE)
  if not f then return all end
  for line in f:lines() do
    local question, case, who, cpu, wall = line:match "^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)$"
    if question then
      all[question] = all[question] or {}
      all[question][case] = all[question][case] or {}
      all[question][case][who] = { cpu = numbers(cpu), wall = numbers(wall) }
    end
  end
  f:close()
  return all
end

--- Writes them; whoever measured a question anew has put it in place of the old one.
---@param path string? of the file
function results.write(all, path)
  local f = assert(io.open(path or FILE, "w"))
  for question, cases in pairs(all) do
    for case, list in pairs(cases) do
      for who, costs in pairs(list) do
        f:write(table.concat({ question, case, who, table.concat(costs.cpu, " "), table.concat(costs.wall, " ") }, "\t"), "\n")
      end
    end
  end
  f:close()
end

-- ---- figures --------------------------------------------------------------------------------

--- Median, least and greatest of a list; nil of an empty one.
function results.spread(list)
  if not list or #list == 0 then return nil end
  local sorted = {}
  for i, v in ipairs(list) do sorted[i] = v end
  table.sort(sorted)
  local middle = math.floor(#sorted / 2)
  local median = #sorted % 2 == 1 and sorted[middle + 1] or (sorted[middle] + sorted[middle + 1]) / 2
  return median, sorted[1], sorted[#sorted]
end

--- The spread of one to the other, round by round: what disturbed a round disturbed both.
---@param key "cpu"|"wall"
function results.ratio(one, other, key)
  if not one or not other then return nil end
  local list = {}
  for i, v in ipairs(one[key]) do
    local base = other[key][i]
    if base and base > 0 then list[#list + 1] = v / base end
  end
  return results.spread(list)
end

--- What a target says of a contestant: median, least, greatest, and the target itself; nil where it was not measured.
---@param target { [1]: string?, case: string?, wall: boolean?, cpu: boolean?, [2]: number, [3]: number }
function results.judge(cases, case, target, who)
  local mine = cases[case.name] and cases[case.name][who]
  local limits = target[3] and { target[2], target[3] } or { target[1], target[2] }
  if target.cpu then limits = { target.cpu, target.cpu } end
  local limit = who:find "luajit" and limits[2] or limits[1]
  if not mine then return nil end
  local key = target.wall and "wall" or "cpu"
  local median, least, most
  if target.cpu then median, least, most = results.spread(mine.cpu)
  else
    local other = target.case and cases[target.case] and cases[target.case][who] or not target.case and cases[case.name][target[1]]
    median, least, most = results.ratio(mine, other, key)
  end
  if not median then return nil end
  return median, least, most, limit
end

--- What fastpg's page in nginx is to reach: the other's cost divided by its own.
results.nginx_targets = {}
for _, clients in ipairs{ "16", "64" } do
  for _, target in ipairs{ { other = "libpq", key = "wall", what = "requests/s", least = 0.85 },
    { other = "pgmoon", key = "cpu", what = "requests per CPU second of the worker", least = clients == "16" and 2 or 5 } } do
    target.clients = clients
    results.nginx_targets[#results.nginx_targets + 1] = target
  end
end

--- "0.98", or "-".
function results.short(v)
  if not v then return "-" end
  return (v >= 100 and "%.0f" or v >= 10 and "%.1f" or "%.2f"):format(v)
end

return results
