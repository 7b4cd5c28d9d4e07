-- SPDX-License-Identifier: MIT
--
-- gates: the gates (csrc/host/gate.c) of all hosts that wait by them, used again and again: each is three
-- descriptors, and costs more to make than to wait with.

local pcall = pcall

local core = require "fastpg.core"

local gates = {}

local MOST_FREE = 20

local free = {}

--- Whether there are gates on this system.
gates.available = pcall(core.gate)

--- A gate for one wait.
function gates.take()
  return table.remove(free) or core.gate()
end

--- Takes it back after the wait: it refers to nothing from here on.
function gates.give(gate)
  if #free >= MOST_FREE then return gate:close() end
  gate:disarm()
  free[#free + 1] = gate
end

return gates
