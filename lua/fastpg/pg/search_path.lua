-- SPDX-License-Identifier: MIT
--
-- search_path: what names mean on a connection.
--
-- A name without a schema is looked for along the search_path, which may hold the role's own schema, behind the
-- session's temporary tables.  `names_key` is one text for all of that: connections that have the same one mean the
-- same by a name.  The catalog is kept by it, and what was built for one meaning never runs under another
-- (fastpg.table.table_state).  A pool's connections begin all with the same one, which it calls home: "".
--
--   path        the search_path as a list of literals
--   path_known  false: something may have set it, and the server is asked before names are used (no statement of
--               a program pays for that which uses no Table)
--   path_base   what the session began with: what RESET gives (told in the round trip that opens it)
--   path_home   what it had when its init was done: what it has again when it comes back to a pool
--   path_outside, path_kept  in a transaction that set it: what a rollback and a commit make of it
--   path_touched, role_touched  nobody knows what they make of it
--   role, role_known, role_base, role_home  the same of the role, as the text that set it (fastpg.pg.session)
--   key         names_key, but of the names that are its own:
--   own         { names =, all = }: temporary tables, which no other connection has
--   own_home    those that init made
--   pending     the changes (fastpg.sql.changes) of the open transaction, which no other connection sees yet
--
-- PostgreSQL manual: SET; RESET; "The Schema Search Path"; SHOW (which takes no snapshot).

local error, ipairs, pairs, pcall, setmetatable = error, ipairs, pairs, pcall, setmetatable

local changes = require "fastpg.sql.changes"
local core = require "fastpg.core"
local transaction_settings = require "fastpg.pg.transaction_settings"

local methods = {}

-- ---- the key --------------------------------------------------------------------------------

local function normal(text)
  return transaction_settings.path_literals(text) or "?" .. text
end

local function key_of(self, path, role)
  local meaning = path .. "\0" .. self.role_base .. "\0" .. (role or "")
  local homes = self.pool and self.pool.homes
  return homes and meaning == homes.first and "" or meaning
end

-- After one of its parts changed: also the prepared statements are others.
local function settle(self)
  self.key = key_of(self, self.path, self.role)
  if self.doubted then self:drop_session() end
  self.doubted = not (self.path_known and self.role_known)
  self:switch_session()
  local homes = self.on_names and self.pool.homes
  if homes and homes.key and self.key ~= homes.key then self.on_names() end
end
methods.settle_names = settle

local function set_path(self, path)
  self.path, self.path_known = path, true
  settle(self)
end

local doubts = 0

-- Nobody knows what it is now.  What is prepared meanwhile is of no use later (ask).
local function doubt(self, role_too)
  doubts = doubts + 1
  self.path, self.path_known = "?" .. doubts, false
  if role_too then self.role, self.role_known = "?" .. doubts, false end
  settle(self)
end

methods.doubt_names = doubt

local function ask_for(self, sql)
  self.c:send_simple(sql)
  self:complete(sql)
  return self.c:text()
end

local function ask(self)
  local c = self.c
  if c:busy() or c:transaction_status() == "inerror" then return end -- nothing can be named there
  if not self.role_known then
    local role = ask_for(self, "SHOW role")
    self.role, self.role_known = role ~= self.role_base and "role " .. role or nil, true
  end
  if not self.path_known then self.path, self.path_known = normal(ask_for(self, "SHOW search_path")), true end
  settle(self)
end

local function is_own(self, name)
  local own, home, pending = self.own, self.own_home, self.pending
  return own and (own.all or changes.has(own.names, name)) or home and (home.all or changes.has(home.names, name))
    or pending and (pending.all or changes.has(pending.names, name) or changes.has(pending.temps, name))
end

--- What a name means: the same text where it means the same.
---@param name string?  nil: any name
function methods.names_key(self, name)
  if not (self.path_known and self.role_known) then ask(self) end
  if (self.own or self.pending or self.own_home) and is_own(self, name) then return self.key .. "\0" .. self.prefix end
  return self.key
end

--- What it will mean when whoever has the connection gives it back, as far as that is known.
---@param name string?
function methods.names_key_later(self, name)
  local path, role = self.path, self.role
  if self.path_outside ~= nil then path = self.path_outside end
  if self.role_outside ~= nil then role = self.role_outside or nil end
  local key = key_of(self, path, role)
  local own, home = self.own, self.own_home
  if own and (own.all or changes.has(own.names, name)) or home and (home.all or changes.has(home.names, name)) then
    return key .. "\0" .. self.prefix
  end
  return key
end

-- ---- noticing -------------------------------------------------------------------------------

-- A function that is called by its name only may set it, too: that is not seen before version 18.
local function sets_by_call(self, sql)
  local text = sql:lower()
  if not (text:find("set_config", 1, true) or text:find("search_path", 1, true) or text:find('u&"', 1, true)) then return nil end
  return core.sets_by_call(sql, self.standard_strings)
end

--- A statement that was prepared: whether it may set the search_path.
function methods.watch_path(self, st, sql)
  if not sets_by_call(self, sql) and not (self.executes and sql:lower():find("execute", 1, true)) then return end
  self.path_setters = self.path_setters or setmetatable({}, { __mode = "k" })
  self.path_setters[st] = true
end

-- SET [LOCAL | SESSION] search_path { = | TO } names or strings, and nothing else.
local function literal_path(text)
  local rest = text:match "^%s*[sS][eE][tT]%s+(.*)$"
  if not rest then return nil end
  local scope, behind = rest:match "^(%a+)%s+(.*)$"
  scope = scope and scope:upper()
  if scope == "LOCAL" or scope == "SESSION" then rest = behind else scope = nil end
  local name, list = rest:match "^([%w_]+)%s*=%s*(.-)%s*$"
  if not name then
    name, list = rest:match "^([%w_]+)%s+[tT][oO]%s+(.-)%s*$"
  end
  if not name then
    name, list = rest:match "^([sS][cC][hH][eE][mM][aA])%s+('[^']*')%s*$"
    if name then name = "search_path" end
  end
  if not name or name:lower() ~= "search_path" then return nil end
  return transaction_settings.set_literals(list), scope == "LOCAL"
end

-- What one statement makes of it: nil for nothing, else { path = (nil: nobody knows), is_local =, role = true where
-- that may be another too }.
local function effect(self, one, sql)
  local words, text = one.words, sql:sub(one.first, one.last)
  local second = words[2] and words[2]:upper() or ""
  if one.verb == "RESET" then
    return (second == "ALL" or second == "SEARCH_PATH") and { path = self.path_base } or nil
  elseif one.verb == "DISCARD" then
    return second == "ALL" and { path = self.path_base } or nil
  elseif one.verb == "SET" then
    local named = text:lower()
    if not (named:find("search_path", 1, true) or named:find("schema", 1, true) or named:find('u&"', 1, true)) then return nil end
    local path, is_local = literal_path(text)
    if path == "DEFAULT" then path = self.path_base end
    return { path = path, is_local = path and is_local }
  elseif one.verb == "PREPARE" and sets_by_call(self, text) then
    self.executes = true
    return nil
  elseif one.verb == "EXECUTE" and self.executes then
    return { role = true }
  end
end

local ENDS = { COMMIT = true, END = true, ROLLBACK = true, ABORT = true, PREPARE = true, RELEASE = true }

-- What a text makes of it.
local function effect_of(self, sql, failed)
  local list = core.statements(sql, self.standard_strings)
  local sets, is_local = sets_by_call(self, sql)
  local found = sets and { is_local = is_local } or nil
  local unclear, role = #list > 1 and failed, sets == "any"
  for _, one in ipairs(list) do
    local new = effect(self, one, sql)
    unclear = unclear or ENDS[one.verb] or new and found
    role = role or new and new.role
    found = new or found
  end
  if not found then return nil end
  if unclear then return { role = role } end
  found.role = role or nil
  return not failed and found or nil
end

local HINTS = { "search_path", "set_config", "reset", "discard", 'u&"', "schema", "execute" }

local function may_concern(text)
  for _, hint in ipairs(HINTS) do
    if text:find(hint, 1, true) then return true end
  end
  return false
end

local function begin_outside(self)
  if self.path_outside ~= nil then return end
  if self.path_known then self.path_outside = self.path else self.path_touched = true end
end

--- After a text that set something, or may have.
---@param failed boolean?
function methods.note_path(self, sql, failed)
  if self.setting_path or not may_concern(sql:lower()) then return end
  local new = effect_of(self, sql, failed)
  if not new then return end
  local idle = self.c:transaction_status() == "idle"
  if not new.path then
    if idle and new.is_local then return end
    if not idle then
      begin_outside(self)
      if not new.is_local then self.path_touched = true end
      if new.role then self.role_touched = true end
    end
    return doubt(self, new.role)
  end
  if idle then
    if not new.is_local then set_path(self, new.path) end
    return
  end
  begin_outside(self)
  if not new.is_local then self.path_kept = new.path end
  set_path(self, new.path)
end

--- After a rollback to a savepoint, or the end of a transaction that another one follows.
function methods.note_path_undone(self)
  if self.path_outside == nil and not self.path_touched and not self.role_touched then return end
  if self.path_kept then self.path_touched = true end
  doubt(self)
end

--- The transaction is over.
function methods.end_path(self, rolled_back)
  local outside, kept, touched, role_too = self.path_outside, self.path_kept, self.path_touched, self.role_touched
  self.path_outside, self.path_kept, self.path_touched, self.role_touched = nil, nil, nil, nil
  if role_too then self.role_outside, self.role_kept = nil, nil end
  if touched or role_too then return doubt(self, role_too) end
  if outside == nil then return end
  if rolled_back then kept = nil end
  set_path(self, kept or outside)
end

--- Runs a command that begins a transaction and sets the search_path for its time.
---@param path string?  as literals; nil: it does not
function methods.begin_with_path(self, command, path)
  if not path then return self:simple(command) end
  self.path_outside, self.path_touched = self.path, not self.path_known or nil
  self.setting_path = true
  set_path(self, path)
  local ok, err = pcall(self.simple, self, command)
  self.setting_path = nil
  if ok then return err end
  if self.c:transaction_status() == "idle" then self:end_path(true) end
  error(err, 0)
end

-- ---- temporary tables, and what a transaction has made ----------------------------------------

local function add_own(self, names, all)
  local own = self.own or { names = {} }
  for name in pairs(names or {}) do own.names[name] = true end
  own.all = own.all or all
  self.own = own
  if self.on_names then self.on_names() end
end

--- Whether the session may have temporary tables.
function methods.has_temporaries(self)
  local pending = self.pending
  return (self.own or self.own_home or pending and (pending.temps or pending.any_temps)) and true or nil
end

--- A look-up found a temporary table that nobody had told of: a function made it.
---@param name string
function methods.note_temporary(self, name)
  if self.own and changes.has(self.own.names, name) or self.own_home and changes.has(self.own_home.names, name) then return end
  local pending = self.pending
  if pending and changes.has(pending.temps, name) then return end
  add_own(self, { [name:lower()] = true })
end

--- After DDL: what only this connection knows of until its transaction ends.
---@param change table  (fastpg.sql.changes)
function methods.note_own(self, change)
  if change.discards and self.c:transaction_status() == "idle" then self.own, self.own_home = nil, nil end
  if self.c:transaction_status() ~= "idle" then
    self.pending = changes.merge(self.pending, change)
    if self.on_names then self.on_names() end
  elseif change.lasting or change.any_temps then
    add_own(self, change.lasting, change.any_temps)
  end
end

--- The transaction is over: what changed in it, for all others now.
---@return table?
function methods.end_own(self, rolled_back)
  local pending = self.pending
  self.pending = nil
  if pending and not rolled_back and (pending.lasting or pending.any_temps) then
    add_own(self, pending.lasting, pending.any_temps)
  end
  return pending
end

-- ---- the start of a session, and its end ------------------------------------------------------

--- What is asked for when a session begins: in the round trip that sets it up.
methods.SESSION_START = "SELECT pg_catalog.current_setting('role'), pg_catalog.current_setting('search_path'), "
  .. "pg_catalog.pg_backend_pid()"

--- The session begins, or was reset, after which these are its role and search_path.
function methods.begin_path(self, role, path)
  if not self.path_base then self.role_base, self.path_base = role, normal(path) end
  self.role, self.role_known = role ~= self.role_base and "role " .. role or nil, true
  set_path(self, normal(path))
end

--- Init is done: as it is now the connection begins for those who use it.
---@return boolean  whether it is the first of its pool, or like the others
function methods.start_path(self)
  if not (self.path_known and self.role_known) then ask(self) end
  self.own, self.own_home = nil, self.own
  self.path_home, self.role_home = self.path, self.role
  local homes = self.pool.homes
  local meaning = self.path .. "\0" .. self.role_base .. "\0" .. (self.role or "")
  if not homes.first then homes.first, homes.key = meaning, "" end
  settle(self)
  self.home_key = self.key
  return self.key == homes.key
end

--- Whether names mean what they mean to the pool's new connections.
function methods.is_home(self)
  return self.path_known and self.role_known and self.key == self.pool.homes.key and not self.own
end

-- Behind a pooler in transaction mode nothing lasts but for a transaction: the next one begins in a session that is as the
-- others are.
function methods.trust_home(self)
  if not self:is_clean() then return false end
  self.own, self.role, self.role_known = nil, self.role_home, true
  set_path(self, self.path_home)
  return true
end

--- Before others get the connection, to whom names mean what they mean in the pool.
---@return boolean  whether that is done
function methods.put_path_back(self)
  if self.own and self.own_home then return false end -- init's own would go with the others
  if self.pooler == "transaction" then return self:trust_home() end
  self:arm_recovery()
  local commands = {}
  if self.own then commands[1] = "DISCARD TEMP" end
  if not (self.path_known and self.path == self.path_home) then
    commands[#commands + 1] = self.path_home == self.path_base and "RESET search_path" or "SET search_path = " .. self.path_home
  end
  if not self.role_known or self.role ~= self.role_home then
    if self.role_home then return false end
    commands[#commands + 1] = "RESET SESSION AUTHORIZATION; RESET ROLE"
  end
  local ok = pcall(function()
    if #commands > 0 then self:simple(table.concat(commands, "; ")) end
  end)
  self.deadline, self.overdue = nil, nil
  if not ok or not self:is_clean() then return false end
  self.own, self.role, self.role_known = nil, self.role_home, true
  set_path(self, self.path_home)
  return true
end

local search_path = {}

--- Whether a text (in lower case) may set the search_path.
search_path.may_concern = may_concern

--- Adds them to the methods of a connection.
function search_path.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return search_path
