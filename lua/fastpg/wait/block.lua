-- SPDX-License-Identifier: MIT
--
-- wait.block: the waiter of plain scripts, poll(2) in C.

local core = require "fastpg.core"

local block = { name = "block" }

--- Waits until the descriptor is ready.
---@param fd integer
---@param mode "r"|"w"|"rw"
---@param timeout number?  seconds; nil waits for ever
---@return string?  the ready mode, nil when the time is over (or a signal came: look again)
block.wait = core.poll

function block.sleep(seconds)
  core.poll(-1, "r", seconds)
end

return block
