-- SPDX-License-Identifier: MIT
--
-- report.lua: what a test run prints: each failure where it happens, what is pending and why, and
-- the counts, which also go to the file $FPG_TEST_COUNTS for tools/test.sh to add up.

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local name = os.getenv "FPG_TEST_NAME" or _VERSION
  local counts = os.getenv "FPG_TEST_COUNTS"

  local function place(item)
    local info = item.element.trace or item.trace
    return info and ("%s:%s"):format(info.short_src, info.currentline) or "?"
  end

  local function text(message)
    if type(message) == "table" and message.message then message = message.message end
    return message == nil and "" or tostring(message)
  end

  local function show(kind, item)
    io.write(("%s: %s: %s\n"):format(kind, place(item), item.name or "?"))
    local lines = text(item.message)
    if item.trace and item.trace.traceback and item.isError then
      lines = lines .. item.trace.traceback
    end
    io.write("  ", (lines:gsub("\n", "\n  ")), "\n")
    io.flush()
  end

  local function on_failure(element, parent, message, trace)
    show("failure", handler.format(element, parent, message, trace))
    return nil, true
  end

  local function on_error(element, parent, message, trace)
    show("error", handler.format(element, parent, message, trace, true))
    return nil, true
  end

  local function suite_end()
    if #handler.pendings > 0 then io.write(name, ": not run here:\n") end
    for _, item in ipairs(handler.pendings) do
      local why = text(item.message)
      io.write(("  %s%s\n"):format(item.name, why ~= "" and ": " .. why or ""))
    end
    local failed = handler.failuresCount + handler.errorsCount
    io.write(("%s: %d passed, %d failed, %d pending (%.1f s)\n"):format(name, handler.successesCount,
      failed, handler.pendingsCount, handler.getDuration()))
    io.flush()
    if counts then
      local f = assert(io.open(counts, "w"))
      f:write(("%d %d\n"):format(handler.successesCount, failed))
      f:close()
    end
    return nil, true
  end

  busted.subscribe({ "failure" }, on_failure)
  busted.subscribe({ "error" }, on_error)
  busted.subscribe({ "suite", "end" }, suite_end)
  return handler
end
