-- SPDX-License-Identifier: MIT
--
-- suggest: which known name was meant, for the messages about unknown ones.
--
-- Near is a Damerau-Levenshtein distance (insert, delete, replace, swap two neighbours; each byte
-- once) of at most a third of the name's length and at least 1, ignoring the case of ASCII; and a
-- name that begins with the one given, or the other way round.
--
-- This runs on the way to an error, over up to ten thousand names of 63 bytes, so most candidates
-- are never compared: the difference in length and in the bytes used bounds the distance from
-- below, candidates are taken in the order of that bound, and the search ends when the bound
-- exceeds the worst distance that could still be reported.  The comparison itself keeps three
-- rows, looks only at cells within the limit of the diagonal, and stops as soon as a whole row
-- exceeds it.  A first pass looks for distances up to 3; what a second one spends on vaguer
-- likeness is capped, so thousands of long names made of the same letters can't hold up a loop.

local ipairs, next, type = ipairs, next, type

local byte, sub = string.byte, string.sub
local floor = math.floor

local suggest = {}

local MAX = 3                -- names in a message
local SHORTEST_PREFIX = 3    -- a candidate shorter than this is no beginning that was meant
local CLOSE = 3              -- the limit of the first pass
local MAX_CELLS = 1000000    -- of all comparisons of the second pass: a tenth of a second or so

-- Bytes of s counted: what `lower_bound` compares.
local function histogram(s)
  local counts = {}
  for i = 1, #s do
    local b = byte(s, i)
    counts[b] = (counts[b] or 0) + 1
  end
  return counts
end

-- Each edit supplies at most one missing byte and removes at most one superfluous one.
local function lower_bound(counts, length, s)
  local left, shared = {}, 0
  for i = 1, #s do
    local b = byte(s, i)
    local have = left[b] or counts[b] or 0
    if have > 0 then
      shared = shared + 1
      left[b] = have - 1
    end
  end
  local missing, extra = length - shared, #s - shared
  return missing > extra and missing or extra
end

-- The distance of a and b, or nil when it exceeds limit; then the cells looked at.
local function distance(a, b, limit)
  local first, last_a, last_b = 1, #a, #b
  while first <= last_a and first <= last_b and byte(a, first) == byte(b, first) do
    first = first + 1
  end
  while last_a >= first and last_b >= first and byte(a, last_a) == byte(b, last_b) do
    last_a, last_b = last_a - 1, last_b - 1
  end
  local n, m = last_a - first + 1, last_b - first + 1
  if n == 0 or m == 0 then
    local d = n + m
    return d <= limit and d or nil, 1
  end
  local over, cells = limit + 1, 0
  local before, previous, current = {}, {}, {}
  for j = 0, m do previous[j] = j <= limit and j or over end
  for i = 1, n do
    local from, to = i - limit > 1 and i - limit or 1, i + limit < m and i + limit or m
    local ai, ai1 = byte(a, first + i - 1), i > 1 and byte(a, first + i - 2)
    current[from - 1] = from == 1 and i or over
    local least = current[from - 1]
    local bj1 = from > 1 and byte(b, first + from - 2)
    for j = from, to do
      local bj = byte(b, first + j - 1)
      local d = previous[j - 1] + (ai == bj and 0 or 1)
      local other = current[j - 1] + 1
      if other < d then d = other end
      other = (previous[j] or over) + 1
      if other < d then d = other end
      if ai1 and bj1 and ai == bj1 and ai1 == bj and j > 1 then
        other = (before[j - 2] or over) + 1
        if other < d then d = other end
      end
      current[j] = d
      if d < least then least = d end
      bj1 = bj
    end
    if to < m then current[to + 1] = over end
    cells = cells + to - from + 1
    if least > limit then return nil, cells end
    before, previous, current = previous, current, before
  end
  local d = previous[m]
  return d and d <= limit and d or nil, cells
end

-- The names in a list, in a set or map keyed by name, or in a table that is both.
local function each_name(candidates, fn)
  local seen = {}
  for k, v in next, candidates do
    local name = type(k) == "string" and k or type(k) == "number" and type(v) == "string" and v
    if name and not seen[name] then
      seen[name] = true
      fn(name)
    end
  end
end

local function is_prefix(name, candidate)
  local n, m = #name, #candidate
  if n <= m then return sub(candidate, 1, n) == name end
  return m >= SHORTEST_PREFIX and sub(name, 1, m) == candidate
end

-- Keeps `best` sorted by distance, then name, and at most `max` long.
local function keep(best, max, name, d)
  local i = #best
  while i > 0 and (best[i].d > d or best[i].d == d and best[i].name > name) do i = i - 1 end
  if i >= max then return end
  table.insert(best, i + 1, { name = name, d = d })
  best[max + 1] = nil
end

-- Compares the candidates of the buckets, the most promising first, within a limit.
local function compare(wanted, buckets, limit, best, max, budget)
  for bound = 0, limit do
    for i, candidate in ipairs(buckets[bound]) do
      local reach = best[max] and best[max].d < limit and best[max].d or limit
      if bound > reach or budget <= 0 then return end
      if candidate then
        local d, cells = distance(wanted, candidate:lower(), reach)
        budget = budget - cells
        if d then
          keep(best, max, candidate, d)
          buckets[bound][i] = false
        end
      end
    end
  end
end

-- Candidates by the least distance they can have; those that share a beginning go to `best`.
local function sort_out(name, wanted, candidates, limit, best, max)
  local length, counts, buckets = #wanted, histogram(wanted), {}
  for d = 0, limit do buckets[d] = {} end
  each_name(candidates, function(candidate)
    if candidate == name or candidate == "" then return end
    local difference = #candidate - length
    if difference < 0 then difference = -difference end
    local lower = candidate:lower()
    if is_prefix(wanted, lower) then
      keep(best, max, candidate, difference)
    elseif difference <= limit then
      local bound = lower_bound(counts, length, lower)
      if bound <= limit then
        local bucket = buckets[bound]
        bucket[#bucket + 1] = candidate
      end
    end
  end)
  return buckets
end

--- The names nearest to `name`, the nearest first.
---@param name string
---@param candidates table a list of names, or a table keyed by name
---@param max integer? at most so many (3)
---@return string[]
function suggest.near(name, candidates, max)
  max = max or MAX
  if type(name) ~= "string" or name == "" or type(candidates) ~= "table" or max < 1 then
    return {}
  end
  local wanted, best = name:lower(), {}
  local limit = floor(#wanted / 3)
  if limit < 1 then limit = 1 end
  local buckets = sort_out(name, wanted, candidates, limit, best, max)
  compare(wanted, buckets, limit < CLOSE and limit or CLOSE, best, max, math.huge)
  if limit > CLOSE and not (best[max] and best[max].d <= CLOSE) then
    -- By name, so that what is beyond the cap does not depend on the order of a hash.
    for bound = 0, limit do
      local rest = {}
      for _, candidate in ipairs(buckets[bound]) do
        if candidate then rest[#rest + 1] = candidate end
      end
      table.sort(rest)
      buckets[bound] = rest
    end
    compare(wanted, buckets, limit, best, max, MAX_CELLS)
  end
  local out = {}
  for i, found in ipairs(best) do out[i] = found.name end
  return out
end

local function quoted(name)
  return '"' .. name:gsub("%c", function(c) return ("\\x%02X"):format(byte(c)) end) .. '"'
end

--- ` (did you mean "limit"?)`, ` (did you mean "a" or "b"?)`, or "" when nothing is near: the
--- end of a message.
---@param name string
---@param candidates table a list of names, or a table keyed by name
---@return string
function suggest.phrase(name, candidates)
  local near = suggest.near(name, candidates)
  if #near == 0 then return "" end
  for i = 1, #near do near[i] = quoted(near[i]) end
  local last = table.remove(near)
  local text = #near > 0 and table.concat(near, ", ") .. " or " .. last or last
  return " (did you mean " .. text .. "?)"
end

--- `cat has no column "nmae" (did you mean "name"?)`
---@param what string  what has such names: "the row"
---@param kind string  what is looked for: "column"; "" where that has no word of its own
---@param name string
---@param known table  as for near
---@return string
function suggest.no_such(what, kind, name, known)
  return ('%s has no %s"%s"%s'):format(what, kind ~= "" and kind .. " " or "", name, suggest.phrase(name, known))
end

return suggest
