-- SPDX-License-Identifier: MIT
--
-- lists: a list of the user's, looked through before anything is made of it.
--
-- Lua's `#` and `ipairs` end at a hole, or leave out what has another key: of `{ a, nil, b }` one row would be
-- written and success reported.  So each list that is given where rows, arguments, names or values are expected
-- comes through here.  `n`, as table.pack and db:arrays have it, may be there where it says what is there.

local getmetatable, rawget, tostring, type = getmetatable, rawget, tostring, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local lists = {}

local rawlen = compat.rawlen

local function describe(key)
  if type(key) == "string" then return ('"%s"'):format(key) end
  if type(key) == "number" then return tostring(key) end
  return "of type " .. type(key)
end

local PIECE = 4096 -- keys looked at in one go, where others are to have a turn

-- How many positions there are, the last of them, and a key that is none.
local function look_through(list, rest)
  local count, last, stray, key = 0, 0, nil, nil
  repeat
    local positions, greatest, other
    positions, greatest, other, key = core.list_keys(list, key, rest and PIECE or nil)
    count = count + positions
    if greatest > last then last = greatest end
    if other ~= nil then stray = other end
    if key ~= nil then rest() end
  until key == nil
  return count, last, stray
end

-- A list whose items come from an __index (a proxy): as many as come one after the other.
local function length_of_proxy(list)
  local n = 0
  while list[n + 1] ~= nil do n = n + 1 end
  return n
end

--- What is wrong with a list, or nil; then its length.
---@param list table
---@param rest fun()?  called now and then while a long list is looked through
---@return string? problem
---@return integer? length
function lists.problem(list, rest)
  local n = rawlen(list)
  local count, last, stray = look_through(list, rest)
  if stray ~= nil then return "the key " .. describe(stray) .. " is no position" end
  if count ~= last then
    n = 1
    while rawget(list, n) ~= nil do n = n + 1 end
    return ("item %d is nil (fastpg.null is NULL)"):format(n)
  end
  local said = rawget(list, "n")
  if said ~= nil and said ~= count then
    if type(said) == "number" and said > count then
      return ("item %d is nil, though n is %s (fastpg.null is NULL; n counts in fastpg.args and fastpg.array)")
        :format(count + 1, tostring(said))
    end
    return 'the key "n" is no position'
  end
  if count == 0 then
    local mt = getmetatable(list)
    if type(mt) == "table" and rawget(mt, "__index") and not rawget(mt, "shape") then return nil, length_of_proxy(list) end
  end
  return nil, n
end

--- The length of a list; raises where it has a hole, or a key that is no position.
---@param what string  for the message: "inserts"
---@param list table
---@param rest fun()?  as that of lists.problem
---@return integer
function lists.length(what, list, rest)
  local problem, n = lists.problem(list, rest)
  if problem then errors.argument("%s: a list expected, and %s", what, problem) end
  return n
end

--- A list of that length whose items are its own: of a proxy, whose items come from an __index, a copy.
---@param list table
---@param n integer  its length
---@return table
function lists.plain(list, n)
  if rawlen(list) == n then return list end
  local items = {}
  for i = 1, n do items[i] = list[i] end
  return items
end

return lists
