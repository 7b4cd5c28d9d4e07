-- SPDX-License-Identifier: MIT
--
-- peer.lua: what the contestants written in Lua have in common: reading cases, reading every field, checksums, clocks.
--
-- A contestant is a program: `program URI CASES [name=count ...]` runs the cases of that file (a line each, `key=value`
-- between tabs; bench/README.md lists the keys), or only those named, and prints for each
--
--   name  CPU µs  wall µs  checksum  rows        per query, between tabs; or `name  skip` for what it can't do
--
-- The checksum is over all values of one run that is not timed, and the same in every language: h = h * 31 + v modulo
-- 2^32 over the fields in order, where v is 1 for NULL, 2 and 3 for true and false, an integer itself, a thousand times
-- a float, and of a string the same sum over its bytes, beginning with 7. A list counts as its items.
-- With BENCH_UNCHECKED set it is left out ("-"): one round of checking is enough.

local peer = {}

local M = 4294967296

-- ---- cases ----------------------------------------------------------------------------------

-- "i:-1,b:true,s:text" as a list of values
local function values_of(text)
  local list = {}
  for kind, value in (text or ""):gmatch "(%l):([^,]*)" do
    if kind == "i" or kind == "f" then value = tonumber(value)
    elseif kind == "b" then value = value == "true"
    end
    list[#list + 1] = value
  end
  return list
end

-- "a:i,b:s" as { { name =, kind = }, … }
local function columns_of(text)
  local list = {}
  for name, kind in (text or ""):gmatch "([^,:]+):(%l)" do list[#list + 1] = { name = name, kind = kind } end
  return list
end

--- The cases of a file.
---@param path string
---@param orders string[] "name=count", which choose and say how often; none: all
---@return table[]
function peer.cases(path, orders)
  local counts, list = {}, {}
  for _, order in ipairs(orders) do
    local name, count = order:match "^(.-)=(%d+)$"
    counts[name] = tonumber(count)
  end
  for line in io.lines(path) do
    local case = {}
    for key, value in line:gmatch "([%w_]+)=([^\t]*)" do case[key] = value end
    case.count = counts[case.name] or tonumber(case.count)
    case.n, case.tasks = tonumber(case.n), tonumber(case.tasks)
    case.args, case.columns, case.checked = values_of(case.args), columns_of(case.cols), columns_of(case.check_cols)
    if #orders == 0 or counts[case.name] then list[#list + 1] = case end
  end
  return list
end

-- ---- rows -----------------------------------------------------------------------------------

--- What there is to do before a value that came as text is one, by the kind of its column: i integer, o oid, f float,
--- b boolean; s text, y bytes and a arrays are left. A driver that gives some kinds as text names them.
peer.from_text = { i = "tonumber(%s)", o = "tonumber(%s)", f = "tonumber(%s)", b = "%s == 't'" }

local function field(column, from_text)
  local form = from_text and from_text[column.kind] or "%s"
  return form:format(("r[%q]"):format(column.name))
end

--- A function that reads every field of a row by name, as a program would write it down.
---@param columns table[]
---@param from_text table<string, string>? for the kinds that the driver gives as text
---@return fun(row: table)
function peer.row_reader(columns, from_text)
  local lines = { "local tonumber = tonumber", "return function(r)", "local v" }
  for _, column in ipairs(columns) do lines[#lines + 1] = "v = " .. field(column, from_text) end
  lines[#lines + 1] = "return v end"
  return assert((loadstring or load)(table.concat(lines, "\n")))()
end

--- The same for a list of rows; gives how many there were.
---@param columns table[]
---@return fun(rows: table[]): integer
function peer.reader(columns, from_text)
  local lines = { "local tonumber = tonumber", "return function(rows)", "local v", "for i = 1, #rows do local r = rows[i]" }
  for _, column in ipairs(columns) do lines[#lines + 1] = "v = " .. field(column, from_text) end
  lines[#lines + 1] = "end return #rows, v end"
  return assert((loadstring or load)(table.concat(lines, "\n")))()
end

local function add(h, v)
  local kind = type(v)
  if v == nil then v = 1
  elseif kind == "boolean" then v = v and 2 or 3
  elseif kind == "string" then
    local s = 7
    for i = 1, #v do s = (s * 31 + v:byte(i)) % M end
    v = s
  elseif kind == "table" then
    for i = 1, #v do h = add(h, v[i]) end
    return h
  elseif v ~= math.floor(v) then v = math.floor(v * 1000 + 0.5)
  end
  return math.floor((h * 31 + v) % M)
end

--- The checksum with one more row in it.
---@param h integer the checksum so far; 0 at the beginning
---@param row table
---@param columns table[]
---@param from_text table? as above
function peer.add_row(h, row, columns, from_text)
  for _, column in ipairs(columns) do
    local v = row[column.name]
    if from_text and from_text[column.kind] and v ~= nil then
      if column.kind == "b" then v = v == "t" else v = tonumber(v) end
    end
    h = add(h, v)
  end
  return h
end

function peer.sum(rows, columns, from_text)
  local h = 0
  for i = 1, #rows do h = peer.add_row(h, rows[i], columns, from_text) end
  return h
end

-- ---- records that are written -----------------------------------------------------------------

--- MagicStack's record, as a row of the table `record`.
function peer.record()
  return { a = 10, b = 11, c = 10, d = "TESTTESTTEST", e = 10.333, f = 12341234, g = "123412341234" }
end

--- Its values, in order.
function peer.record_values() return { 10, 11, 10, "TESTTESTTEST", 10.333, 12341234, "123412341234" } end

--- n of what `make` makes, each one of its own.
function peer.list(n, make)
  local list = {}
  for i = 1, n do list[i] = make() end
  return list
end

-- ---- memory ---------------------------------------------------------------------------------

-- What is resident of this process, in bytes.
local function resident()
  local f = assert(io.open "/proc/self/statm")
  local pages = f:read("*a"):match "^%d+ (%d+)"
  f:close()
  return tonumber(pages) * 4096
end

--- A kind: how many bytes a row of `fetch` takes while the program holds the rows. Prints them where others have µs.
---@param fetch fun(): table[]
function peer.held(fetch, columns, from_text)
  local rows, bytes
  return function()
    collectgarbage()
    collectgarbage()
    local before = resident()
    rows = fetch()
    collectgarbage()
    bytes = (resident() - before) / #rows
    return #rows
  end, function() return peer.sum(rows, columns, from_text) end, function(count) return bytes * count / 1e6, 0 end
end

-- ---- running ----------------------------------------------------------------------------------

local function repeated(once, count)
  for _ = 1, count do once() end
end

--- Runs the cases that the command line names and prints what they cost.
---
--- `contestant.kinds[kind](db, case)` gives `once` (does it, reads every field, gives the number of rows) and `sum`
--- (the checksum of it); where once leaves rows in a table, `sum` is absent and `contestant.rows_sum(sql, columns)`
--- reads what `case.check` selects. A kind may give a third function, `measure(count)`, which does its own timing and
--- gives CPU and wall seconds.
---
--- Where it has `together(case)`, that gives what a kind gets as its db, and a function that runs `once` so many times by
--- case.tasks tasks.
---@param contestant { db: any, clock: function, kinds: table, execute: function, rows_sum: function, together: function? }
function peer.main(contestant)
  local orders, unchecked = {}, os.getenv "BENCH_UNCHECKED"
  for i = 3, #arg do orders[#orders + 1] = arg[i] end
  for _, case in ipairs(peer.cases(arg[2], orders)) do
    local db, run = contestant.db, repeated
    if case.tasks and contestant.together then db, run = contestant.together(case) end
    local kind = (not case.tasks or contestant.together) and contestant.kinds[case.kind]
    if case.before then contestant.execute(case.before) end
    local once, sum, measure
    if kind then once, sum, measure = kind(db, case) end
    if not once then print(case.name .. "\tskip")
    else
      local rows
      run(function() rows = once() end, 1)
      if unchecked then sum = nil
      elseif sum then run(function() sum = sum() end, 1)
      else sum = case.check and contestant.rows_sum(case.check, case.checked) or 0
      end
      local cpu, wall
      if measure then cpu, wall = measure(case.count)
      else
        -- LuaJIT has compiled what it will, and each connection has prepared the statement
        local before = math.max(math.floor(case.count / 10), math.min(case.count, 100), 2 * (case.tasks or 0))
        if case.count >= 3 then run(once, before) end
        if case.before then contestant.execute(case.before) end
        collectgarbage()
        cpu, wall = os.clock(), contestant.clock()
        run(once, case.count)
        cpu, wall = os.clock() - cpu, contestant.clock() - wall
      end
      print(("%s\t%.3f\t%.3f\t%s\t%d"):format(case.name, cpu * 1e6 / case.count, wall * 1e6 / case.count,
        sum and ("%.0f"):format(sum) or "-", rows or 0))
    end
  end
end

return peer
