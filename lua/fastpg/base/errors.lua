-- SPDX-License-Identifier: MIT
--
-- errors: every failure is an object.
--
-- The C core makes the same objects (metatable `core.Error`) from what the server reports; here
-- they get their text, and fastpg's own errors are raised.  A wrong argument is blamed on the first
-- stack frame that is not fastpg's, whatever the depth of the call inside.

local error, getmetatable, pairs, pcall, select, setmetatable, tostring, type, xpcall =
  error, getmetatable, pairs, pcall, select, setmetatable, tostring, type, xpcall

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"

local errors = {}

local Error = core.Error

-- "@/usr/share/lua/5.4/fastpg/base/errors.lua" -> "@/usr/share/lua/5.4/fastpg/": what the C core, too,
-- takes for fastpg's own frames (csrc/lua/raise.h, fpg_push_where).
Error.own_source = debug.getinfo(1, "S").source:gsub("base/errors%.lua$", "")

--- Makes an error object.
---@param name string  "invalid_argument", "not_found", … or a SQLSTATE's name, which brings the SQLSTATE
---@param message string
---@param fields? table  further fields of the object
---@return table
function errors.new(name, message, fields)
  local err = { name = name, message = message, sqlstate = core.sqlstate_of(name) }
  if fields then
    for k, v in pairs(fields) do err[k] = v end
  end
  return setmetatable(err, Error)
end

--- Makes an error object and raises it; a wrong argument names the caller's line.
function errors.raise(name, message, fields)
  local err = errors.new(name, message, fields)
  err.where = core.where()
  error(err, 0)
end

--- Raises "invalid_argument" with a formatted message.
function errors.argument(fmt, ...)
  errors.raise("invalid_argument", select("#", ...) > 0 and fmt:format(...) or fmt)
end

--- Adds what a lower layer could not know: the statement and the user's line.
function errors.annotate(err, sql)
  if errors.is_error(err) then
    if err.query == nil then err.query = sql end
    if err.where == nil then err.where = core.where() end
  end
  return err
end

function errors.is_error(err)
  return type(err) == "table" and getmetatable(err) == Error
end

-- ---- methods --------------------------------------------------------------------------------

--- Raises for a method that was called with a dot, or on something else.
---@param what string  "a database"
---@param variable string  what the manual calls one: "db"
function errors.misused(what, variable, name, self)
  errors.argument("%s: %s expected as self, got %s (call it as %s:%s)", name, what, type(self), variable, name)
end

-- ---- kinds ----------------------------------------------------------------------------------

-- Names that stand for several SQLSTATEs, or for errors without one.
local groups = {
  -- a connection was not to be had: whoever is prepared for that need not know how it was found out
  timeout = function(err) return err.name == "timeout" or err.acquiring == true end,
  connection = function(err)
    local code = err.sqlstate
    return err.name == "connection"
      or code ~= nil and (code:sub(1, 2) == "08" or code == "57P01" or code == "57P02" or code == "57P03")
  end,
}

--- Whether err is an error of that kind.
---@param err any
---@param what string|table  a name ("unique_violation", "not_found", "timeout", "connection", "closed"), a SQLSTATE
--- ("23505"), a class of them ("23", "integrity_constraint_violation"), or fastpg.NotFoundError
---@return boolean
function errors.is(err, what)
  if type(what) == "table" then what = what.name end
  if type(what) ~= "string" then
    errors.argument("fastpg.is: the name of an error expected, got %s", type(what))
  end
  if not errors.is_error(err) then return false end
  if err.name == what then return true end
  if groups[what] then return groups[what](err) end
  local code = err.sqlstate
  if not code then return false end
  return code == what or core.sqlstates[code] == what or code:sub(1, 2) == what or core.sqlclasses[code:sub(1, 2)] == what
end

-- By SQLSTATE or its class, by name where there is none.
local HTTP_STATUS = {
  not_found = 404, invalid_argument = 400, timeout = 503, closed = 503, connection = 503, deadlock = 503,
  ["22"] = 400, -- data exceptions: a number out of range, text that is no date, bytes that are no UTF-8
  ["23505"] = 409, ["23P01"] = 409, ["40001"] = 409, ["40P01"] = 409, ["55P03"] = 409,
  ["23"] = 422, -- the other constraints
  ["42501"] = 403, -- a policy of row-level security, or a privilege
  ["53"] = 503, ["57014"] = 503, ["57P01"] = 503, ["57P02"] = 503, ["57P03"] = 503, ["08"] = 503,
}

--- The HTTP status that tells a client what an error is: 404 a row that is not there, 409 a conflict with other
--- rows or transactions, 422 a constraint that the values break, 400 values that can't be, 403, 503 no connection,
--- no time or no room, and 500 for everything else (a mistake of the program's, which a client should not read).
---@param err any
---@return integer
function errors.http_status(err)
  if not errors.is_error(err) then return 500 end
  local code = err.sqlstate
  return code and (HTTP_STATUS[code] or HTTP_STATUS[code:sub(1, 2)]) or HTTP_STATUS[err.name] or 500
end

local pack, unpack = compat.pack, compat.unpack

--- Calls fn: its results, or nil and the error.
---@return any
function errors.try(fn, ...)
  local mt = getmetatable(fn)
  if type(fn) ~= "function" and not (type(mt) == "table" and mt.__call) then
    errors.argument("fastpg.try: a function expected, got %s", type(fn))
  end
  local results = pack(pcall(fn, ...))
  if results[1] then return unpack(results, 2, results.n) end
  return nil, results[2]
end

--- Runs fn(...) and raises its error as one line of text with the traceback, for hosts that log
--- an error object as "unknown reason".
function errors.guard(fn, ...)
  local mt = getmetatable(fn)
  if type(fn) ~= "function" and not (type(mt) == "table" and mt.__call) then
    errors.argument("fastpg.guard: a function expected, got %s", type(fn))
  end
  local args = pack(...)
  local function call() return fn(unpack(args, 1, args.n)) end
  local function handler(err)
    return debug.traceback(tostring(err), 2)
  end
  local results = pack(xpcall(call, handler))
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end

-- ---- how an error object looks --------------------------------------------------------------

local no_prefix = { not_found = true, not_unique = true }

-- Names that a user typed, and what the server says, can hold anything; the fields keep it as it is.
Error.__tostring = function(err)
  local message = tostring(err.message or "")
  local text
  if err.name == "not_found" then
    text = "NotFoundError: " .. message
  elseif err.name == "invalid_argument" then
    text = message
  else
    text = tostring(err.name) .. ": " .. message
  end
  if err.sqlstate then text = text .. " (SQLSTATE " .. err.sqlstate .. ")" end
  if err.where and not no_prefix[err.name] then text = err.where .. ": " .. text end
  return core.printable((text:gsub("%s*\n%s*", " ")))
end

Error.__index = {
  is = function(err, what) return errors.is(err, what) end,
}

-- `print("x: " .. err)` is a habit of those who know errors as strings.
Error.__concat = function(a, b) return tostring(a) .. tostring(b) end

--- The error of `t[key]` for a missing row, for fastpg.is and as a name.
errors.NotFoundError = setmetatable({ name = "not_found" }, {
  __tostring = function() return "NotFoundError" end,
})

return errors
