-- SPDX-License-Identifier: MIT
--
-- from_above: functions that a room calls and a higher one has: all that goes against the order of the rooms.
--
-- Each has its name here, with who calls and who gives it; whoever gives one assigns it when it is loaded.  A name that
-- is not here can be neither given nor called, and spec/rooms_spec.lua holds the list against the sources.

local error, setmetatable, tostring = error, setmetatable, tostring

local NAMES = {
  -- name = { who calls it, who gives it }
  describe_row = { "value/lua_form", "value/pretty" }, -- (row, mt, walk) -> what is between the brackets of a row
  new_catalog = { "pool/route", "table/catalog" }, -- (route, schema) -> what is known of a database's tables
  make_facade = { "pool/route", "database" }, -- (route) -> the `db` that the user holds
}

local given = {}

local function unknown(name) error(("fastpg.base.from_above: no function %q is handed down"):format(tostring(name)), 3) end

return setmetatable({}, {
  __index = function(_, name) return given[name] or unknown(name) end,
  __newindex = function(_, name, fn)
    if not NAMES[name] or given[name] then unknown(name) end
    given[name] = fn
  end,
  names = NAMES,
})
