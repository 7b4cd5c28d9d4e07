-- SPDX-License-Identifier: MIT
--
-- wait.block: the waiter of plain scripts, poll(2) in C.  Nobody can be woken: nothing else runs.

local core = require "fastpg.core"

local block = { name = "block", method = "poll", exact = true }

--- Waits until the descriptor is ready.
---@param fd integer?  nil: nothing but the time
---@param mode "r"|"w"|"rw"|nil
---@param timeout number?  seconds; nil waits for ever
---@return string?  the ready mode, nil when the time is over (or a signal came: look again)
function block.wait(fd, mode, timeout)
  return core.poll(fd or -1, mode or "r", timeout)
end

return block
