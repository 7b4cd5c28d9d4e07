-- SPDX-License-Identifier: MIT
--
-- paths: what names mean on a connection.
--
-- A name without a schema is looked for along the search_path, which may hold the role's own schema, behind the
-- session's temporary tables.  `names_key` is one text for all of that: connections that have the same one mean the
-- same by a name, and "" is what all connections of a pool begin with.  The catalog and the prepared statements are
-- kept by it.
--
--   path        "" as at the start; else the search_path as text
--   path_known  false: something may have set it, and the server is asked before names are used (no statement of
--               a program pays for that which uses no Table)
--   path_outside, path_touched  what it was before the transaction; whether more than that time's was set in it
--   temps       text of its own from the first temporary table on
--
-- PostgreSQL manual: SET; "The Schema Search Path"; SHOW (which takes no snapshot).

local core = require "fastpg.core"

local methods = {}

-- ---- noticing -------------------------------------------------------------------------------

-- A function that is called by its name only may set it, too: that is not seen before version 18.
local function may_set_path(sql)
  local text = sql:lower()
  return text:find("search_path", 1, true) or text:find("set_config", 1, true)
end

--- A statement that was prepared: whether it may set the search_path.
function methods.watch_path(self, st, sql)
  if not may_set_path(sql) then return end
  self.path_setters = self.path_setters or setmetatable({}, { __mode = "k" })
  self.path_setters[st] = true
end

local function tell(self)
  if self.on_names then self.on_names() end
end

-- Nobody knows what it is now.
local function doubt(self)
  self.path, self.path_known = "?", false
  self:forget_all(true)
  self:switch_session()
  tell(self)
end

-- Whether all that a text sets ends with the transaction.
local function is_local(self, sql)
  for _, st in ipairs(core.statements(sql, self.standard_strings)) do
    local words = st.words
    local is_other = st.verb ~= "SET" and st.verb ~= "BEGIN" and st.verb ~= "START"
    if is_other or st.verb == "SET" and (not words[2] or words[2]:upper() ~= "LOCAL") then return false end
  end
  return true
end

--- After a text that set something, or may have.
function methods.note_path(self, sql)
  if self.setting_path then return end
  local text = sql:lower()
  if not (may_set_path(text) or text:find("reset", 1, true) or text:find("discard", 1, true) or text:find('u&"', 1, true)
    or text:find("set%s+schema") or text:find("set%s+%a+%s+schema")) then return end
  if self.c:transaction_status() ~= "idle" then
    if self.path_known and self.path_outside == nil then self.path_outside = self.path end
    if not self.path_known or not is_local(self, sql) then self.path_touched = true end
  end
  doubt(self)
end

--- After DDL: the connection's own temporary tables come before all others.
function methods.note_temporary(self, sql)
  if self.temps or not sql:lower():find("temp", 1, true) then return end
  self.temps = self.prefix
  tell(self)
end

--- After a rollback, maybe to a savepoint.
function methods.note_path_undone(self)
  if self.path_outside ~= nil or self.path_touched then doubt(self) end
end

--- The transaction is over.
function methods.end_path(self)
  local outside, touched = self.path_outside, self.path_touched
  self.path_outside, self.path_touched = nil, nil
  if touched then return doubt(self) end
  if outside == nil then return end
  self.path, self.path_known = outside, true
  self:switch_session()
end

--- Runs a command that begins a transaction and sets the search_path for its time.
---@param path string?  as text; nil: it does not
function methods.begin_with_path(self, command, path)
  if not path then return self:simple(command) end
  self.path_outside, self.path_touched = self.path, not self.path_known
  self.path, self.path_known, self.setting_path = path, true, true
  self:switch_session()
  tell(self)
  local ok, err = pcall(self.simple, self, command)
  self.setting_path = nil
  if ok then return err end
  if self.c:transaction_status() == "idle" then self:end_path() end
  error(err, 0)
end

-- ---- asking ---------------------------------------------------------------------------------

local function ask(self)
  local c = self.c
  if c:busy() or c:transaction_status() == "inerror" then return end -- nothing can be named there
  c:send_simple "SHOW search_path"
  self:complete "SHOW search_path"
  self.path, self.path_known = c:text(), true
  self:switch_session()
end

--- What names mean: the same text where they mean the same.
function methods.names_key(self)
  if not self.path_known then ask(self) end
  local path, role, temps = self.path, self.role ~= self.role_at_start and self.role or "", self.temps
  if path == "" and role == "" and not temps then return "" end
  return path .. "\0" .. role .. "\0" .. (temps or "")
end

-- ---- the start of a session -----------------------------------------------------------------

--- As it is now the connection begins.
function methods.start_path(self)
  self.role_at_start = self.role
  if not self.path_known then
    ask(self)
    self.path_at_start = self.path
  end
  self.path, self.path_known = "", true
  self:switch_session()
end

--- The session was discarded.
function methods.restart_path(self)
  self.temps = nil
  if not self.path_at_start then
    self.path, self.path_known = "", true
    self:switch_session()
  end
end

--- Before others get the connection, to whom names mean what they mean in the pool.
---@return boolean  whether that is done
function methods.put_path_back(self)
  self:arm_recovery()
  local sql = self.path_at_start and "SET search_path = " .. self.path_at_start or "RESET search_path"
  local ok = pcall(self.simple, self, sql)
  self.deadline, self.overdue = nil, nil
  if not ok or not self:is_clean() then return false end
  self.path, self.path_known = "", true
  self:switch_session()
  return true
end

local paths = {}

--- Adds them to the methods of a connection.
function paths.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return paths
