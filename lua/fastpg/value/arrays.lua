-- SPDX-License-Identifier: MIT
--
-- arrays: what a plain list can't say of an array: its lower bounds, and how many dimensions it has
-- where its elements may be tables themselves (json[], hstore[]).  The core keeps it beside the list.

local getmetatable, ipairs, rawget, setmetatable, type = getmetatable, ipairs, rawget, setmetatable, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"

local arrays = {}

local MAX_DIMENSIONS = 6
local MAX_LENGTH = 2 ^ 27 -- MaxArraySize of the server

local OPTIONS = options.declare("fastpg.array", {
  lower = options.list_of(options.whole(-2 ^ 31, 2 ^ 31 - 1), "a list of whole numbers, one for each dimension"),
  dims = options.whole(1, MAX_DIMENSIONS),
})

local function is_plain(list)
  local mt = getmetatable(list)
  return mt == nil or mt == core.array_mt
end

-- How many dimensions a list can have by what is in it: a table may always be an element itself (json[]),
-- anything else can't be a dimension.
local function depth_of(list)
  local depth = 1
  while type(list[1]) == "table" and is_plain(list[1]) and depth < MAX_DIMENSIONS do
    list, depth = list[1], depth + 1
  end
  return depth
end

local function check_dimensions(list, opts)
  local lower = opts.lower
  if not lower then return end
  if opts.dims and #lower ~= opts.dims then
    errors.argument("fastpg.array: lower has %d bounds, dims is %d: one for each dimension", #lower, opts.dims)
  end
  if list[1] ~= nil and #lower > depth_of(list) then
    errors.argument("fastpg.array: lower has %d bounds, the list has %d dimension%s: one for each", #lower, depth_of(list),
      depth_of(list) == 1 and "" or "s")
  end
end

-- With it the list's own n counts: the program says that it is a list.
local function check_n(n)
  if n == nil then return end
  if type(n) ~= "number" or not (n >= 0 and n <= MAX_LENGTH) or n % 1 ~= 0 then
    errors.argument("fastpg.array: the list's n is a whole number from 0, got %s", type(n))
  end
end

--- Marks a list as an array, and gives it back.  Its field n, as of table.pack, is its length: what is
--- nil before that is NULL.  (Of a list that is not marked an n beyond the last position is an error.)
---@param list table
---@param opts { lower: integer[]?, dims: integer? }?  lower bounds per dimension; how many dimensions there are
---@return table
function arrays.array(list, opts)
  if type(list) ~= "table" then errors.argument("fastpg.array: a list expected, got %s", type(list)) end
  opts = options.check(opts, OPTIONS, "fastpg.array")
  check_dimensions(list, opts)
  check_n(rawget(list, "n"))
  if getmetatable(list) == nil then setmetatable(list, core.array_mt) end
  if opts.lower or opts.dims then
    core.set_array_info(list, { lower = opts.lower, dims = opts.dims or #opts.lower })
  elseif getmetatable(list) ~= core.array_mt and not core.array_info(list) then
    core.set_array_info(list, {})
  end
  return list
end

--- The lower bounds of an array that was read or marked: one for each dimension, 1 where nothing else was said.
---@param list table
---@return integer[]
function arrays.lower_bounds(list)
  if type(list) ~= "table" then errors.argument("fastpg.lower_bounds: a list expected, got %s", type(list)) end
  local info = core.array_info(list)
  local lower = {}
  if info and info.lower then
    for i, bound in ipairs(info.lower) do lower[i] = bound end
    return lower
  end
  local dims, inner = info and info.dims or 0, list
  while dims == 0 and type(inner) == "table" and #lower < MAX_DIMENSIONS do
    lower[#lower + 1] = 1
    inner = inner[1]
  end
  for i = 1, dims do lower[i] = 1 end
  return lower
end

return arrays
