-- SPDX-License-Identifier: MIT
--
-- report.lua: what the run of a spec file prints: each failure where it happens.  The counts (passed, failed, not
-- run here) go to the file $FPG_TEST_COUNTS, why some were not run to $FPG_TEST_PENDING, and the names of those that
-- failed to $FPG_TEST_FAILED, for tools/test.sh.

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

  local failed = os.getenv "FPG_TEST_FAILED"

  local function show(kind, item)
    if failed then -- at once: the run may end early
      local f = assert(io.open(failed, "a"))
      f:write(("%s %s: %s\n"):format(name, place(item), ((item.name or "?"):gsub("%s+", " "))))
      f:close()
    end
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

  local function write(path, text_of)
    if not path then return end
    local f = assert(io.open(path, "w"))
    f:write(text_of)
    f:close()
  end

  -- Why a test can't run here is most often the same for many: those are counted together.
  local function suite_end()
    local reasons = {}
    for i, item in ipairs(handler.pendings) do
      local why = text(item.message)
      reasons[i] = ("%s: %s\n"):format(name, (why ~= "" and why or item.name):gsub("^%S+:%d+: ", ""):gsub("%s+", " "))
    end
    write(os.getenv "FPG_TEST_PENDING", table.concat(reasons))
    write(counts, ("%d %d %d\n"):format(handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount))
    return nil, true
  end

  busted.subscribe({ "failure" }, on_failure)
  busted.subscribe({ "error" }, on_error)
  busted.subscribe({ "suite", "end" }, suite_end)
  return handler
end
