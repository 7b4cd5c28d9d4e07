-- SPDX-License-Identifier: MIT
--
-- arrays: what a plain list can't say of an array: its lower bounds, and how many dimensions it has
-- where its elements may be tables themselves (json[], hstore[]).  The core keeps it beside the list.

local core = require "fastpg.core"
local errors = require "fastpg.errors"
local options = require "fastpg.options"

local arrays = {}

local OPTIONS = options.set("lower", "dims")

local MAX_DIMENSIONS = 6

local function check_dims(dims)
  if dims == nil then return end
  if type(dims) ~= "number" or dims < 1 or dims > MAX_DIMENSIONS or dims % 1 ~= 0 then
    errors.argument("fastpg.array: dims is a whole number from 1 to 6, got %s", type(dims))
  end
end

local function check_lower(lower)
  if lower == nil then return end
  if type(lower) ~= "table" or #lower == 0 then
    errors.argument("fastpg.array: lower is a list of whole numbers, got %s", type(lower))
  end
  for _, bound in ipairs(lower) do
    if type(bound) ~= "number" or bound % 1 ~= 0 then
      errors.argument("fastpg.array: lower is a list of whole numbers, got a %s in it", type(bound))
    end
  end
end

--- Marks a list as an array, and gives it back.
---@param list table
---@param opts { lower: integer[]?, dims: integer? }?  lower bounds per dimension; how many dimensions there are
---@return table
function arrays.array(list, opts)
  if type(list) ~= "table" then errors.argument("fastpg.array: a list expected, got %s", type(list)) end
  opts = options.check(opts, OPTIONS, "fastpg.array")
  check_dims(opts.dims)
  check_lower(opts.lower)
  if getmetatable(list) == nil then setmetatable(list, core.array_mt) end
  if opts.lower or opts.dims then
    core.set_array_info(list, { lower = opts.lower, dims = opts.dims or #opts.lower })
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
