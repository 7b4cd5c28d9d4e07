-- SPDX-License-Identifier: MIT
--
-- session_settings: what a session has set, and how that is put back behind somebody else's SQL (fastpg.class.migrate).
--
-- PostgreSQL manual: pg_settings, SET ROLE, SET SESSION AUTHORIZATION.

local ipairs, pairs = ipairs, pairs

local core = require "fastpg.core"
local fetch = require "fastpg.pg.fetch"

local quote_ident, quote_literal = core.quote_ident, core.quote_literal

local session_settings = {}

-- (The role and the session's user are in no list of settings; neither are settings of the user's own, as app.x.)
local SETTINGS = [[
select name, setting from pg_catalog.pg_settings where source = 'session'
union all select 'role', pg_catalog.current_setting('role')
union all select 'session_authorization', session_user::text order by 1]]

--- Those of the session, by name, with its role and its user.
---@param db table  a route that is bound to a connection
---@return table<string, string>
function session_settings.read(db)
  local settings = {}
  for _, f in ipairs(db:query(fetch.arrays, SETTINGS)) do settings[f[1]] = f[2] end
  return settings
end

local function set(db, name, value)
  db:simple(("select pg_catalog.set_config(%s, %s, false)"):format(quote_literal(name), quote_literal(value)))
end

local function reset(db, name)
  db:simple("RESET " .. (name:gsub("[^.]+", quote_ident)))
end

-- Who the session is comes first: other settings may need its rights.
local function put_user_back(db, now, before)
  if now.session_authorization ~= before.session_authorization then
    db:simple "RESET SESSION AUTHORIZATION"
    if session_settings.read(db).session_authorization ~= before.session_authorization then
      db:simple("SET SESSION AUTHORIZATION " .. quote_ident(before.session_authorization))
    end
  end
  if now.role ~= before.role then
    db:simple(before.role == "none" and "RESET ROLE" or "SET ROLE " .. quote_ident(before.role))
  end
end

--- Makes them what they were.
---@param before table  as read gave them
function session_settings.put_back(db, before)
  local now = session_settings.read(db)
  put_user_back(db, now, before)
  now.role, now.session_authorization = before.role, before.session_authorization
  for name, value in pairs(before) do
    if now[name] ~= value then set(db, name, value) end
  end
  for name in pairs(now) do
    if before[name] == nil then reset(db, name) end
  end
end

return session_settings
