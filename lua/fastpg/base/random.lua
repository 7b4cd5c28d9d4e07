-- SPDX-License-Identifier: MIT
--
-- random: whole numbers by chance, for who is tried first and the like.  The random numbers of the program are its own business.

local tonumber, tostring = tonumber, tostring

local core = require "fastpg.core"

local random = {}

--- A source of its own, begun with the time and with where a table happens to lie.
---@return fun(n: integer): integer  from 1 to n
function random.source()
  local seed = (core.clock() * 1e6) % 2147483647
  for digit in tostring({}):gmatch "%x" do seed = (seed * 16 + tonumber(digit, 16)) % 2147483647 end
  return function(n)
    seed = (seed * 16807) % 2147483647
    return math.floor(seed % n) + 1
  end
end

return random
