-- SPDX-License-Identifier: MIT
--
-- wait.luv_timer: what wait.luv has called later.
--
-- A timer that is due in the turn it was started in would run before libuv looks at any descriptor, again
-- and again: the loop's clock, which stands still while Lua runs, is left so.  What is due at once is an
-- idle handle's, in the order it came; of several handles libuv runs the last one first.
--
-- Wherever memory is taken a finalizer may run, and have something called later, too.

local assert, ipairs, setmetatable = assert, ipairs, setmetatable

--- after(seconds, fn) -> a handle with close(); fn is called with it.
---@param uv table
return function(uv)
  local queue, idle = {}, nil
  local Entry = { __index = { close = function(entry) entry.fn = nil end } }

  local function run_queue()
    local list = queue
    queue = {}
    for _, entry in ipairs(list) do
      if entry.fn then entry.fn(entry) end
    end
    if #queue > 0 then return end
    local handle = idle
    idle = nil
    handle:close()
  end

  return function(seconds, fn)
    if seconds > 0 then
      local timer, late = assert(uv.new_timer()), uv.hrtime() / 1e6 - uv.now()
      timer:start(math.ceil(math.min(seconds, 1e6) * 1000 + late), 0, function() fn(timer) end) -- a wait may end early
      return timer
    end
    local entry = setmetatable({ fn = fn }, Entry)
    queue[#queue + 1] = entry
    if not idle then
      local handle = assert(uv.new_idle())
      if idle then
        handle:close() -- a finalizer was here meanwhile
      else
        idle = handle
        idle:start(run_queue)
      end
    end
    return entry
  end
end
