-- SPDX-License-Identifier: MIT
--
-- session: what the settings of a connection's session mean to it.
--
-- A statement's plan keeps literals as they were read when it was prepared, and rights as they were.  So the
-- prepared statements are kept per session: by the settings that the server reports (SETTINGS) and the role, which
-- it does not.  Whoever sets them for a transaction finds the statements of the last such transaction again.
--
-- The client's encoding is the connection's: whatever changes it is undone.
--
-- PostgreSQL manual: "Asynchronous Operations" of the protocol (ParameterStatus); SET ROLE.

local error, ipairs, next, pairs, pcall, tonumber = error, ipairs, next, pairs, pcall, tonumber

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local session = {}

-- Reported by the server when they change (search_path from 18 on), and part of what a plan was made with.
local SETTINGS = {
  "DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings", "client_encoding", "session_authorization",
  "is_superuser", "search_path",
}

-- What is set when a connection opens, where it is anything else: text reads the same whatever role, database or
-- environment say.
local WANTED = {
  { "DateStyle", "^ISO", "SET DateStyle = ISO" },
  { "IntervalStyle", "^postgres$", "SET IntervalStyle = postgres" },
}

local methods = {}

-- ---- at the start ---------------------------------------------------------------------------

-- Behind a pooler in transaction mode nothing is set: that would be another client's.  The encoding is in the startup packet,
-- which all poolers heed; results come in binary, and what comes as text is read by what is asked for beside it.
local function commands_of(self)
  local c, commands = self.c, {}
  if self.pooler == "transaction" then
    local encoding = c:parameter "client_encoding"
    if encoding ~= self.encoding and encoding ~= "UTF8" then
      errors.raise("connection", ("the pooler gives connections whose client_encoding is %s: it has to heed that of the "
        .. "startup packet, UTF8"):format(encoding or "not told"))
    end
    self.encoding = encoding
    return commands
  end
  commands[1] = "SET extra_float_digits = 1"
  for _, setting in ipairs(WANTED) do
    if not (c:parameter(setting[1]) or ""):find(setting[2]) then commands[#commands + 1] = setting[3] end
  end
  if c:parameter "client_encoding" ~= self.encoding then
    commands[#commands + 1] = "SET client_encoding = " .. self.encoding
  end
  return commands
end

-- A pooler has no process of the server's, and invents one.
local function note_process(self, pid)
  self.pid = tonumber(pid)
  self.in_person = self.pid == self.c:info().pid -- else what the server is said to be may be what it was
  if self.pooler == "transaction" then
    self.sharing, self.pid = "declared", nil
  elseif self.pooler ~= "session" and self.pid ~= self.c:info().pid then
    self.sharing, self.pid = "noticed", nil
  end
end

--- Brings a new session, or one that was reset, into the state that is documented.
function methods.set_session(self)
  local c = self.c
  -- (where the server does not know what its bytes mean it would refuse those that are no UTF-8)
  self.encoding = c:parameter "server_encoding" == "SQL_ASCII" and "SQL_ASCII" or "UTF8"
  local commands = commands_of(self)
  commands[#commands + 1] = self.SESSION_START
  local sql = table.concat(commands, "; ")
  self.setting_own = true
  c:send_simple(sql)
  self:drive()
  local err = self:outcome() -- (of no text: what it sets is known, and noted here)
  self.setting_own = nil
  if err then error(errors.annotate(err, sql), 0) end
  self:note_settings()
  note_process(self, c:text(3))
  self:begin_path(c:text(1), c:text(2))
end

--- What the lexer has to know of the session.
function methods.note_settings(self)
  self.standard_strings = self.c:parameter("standard_conforming_strings") ~= "off"
end

--- Before others get the connection, who read SQL by what it is in the pool.
---@return boolean  whether that is done
function methods.put_strings_back(self)
  self:arm_recovery()
  local ok = pcall(self.simple, self, "SET standard_conforming_strings = " .. (self.strings_at_start and "on" or "off"))
  self.deadline, self.overdue = nil, nil
  return ok and self:is_clean()
end

-- ---- which statements -----------------------------------------------------------------------

local function switch(self)
  local values = {}
  for i, name in ipairs(SETTINGS) do values[i] = self.c:parameter(name) or "" end
  values[#values + 1] = self.role or ""
  values[#values + 1] = self.path
  values[#values + 1] = self.unreported
  local key = table.concat(values, "\0")
  if key == self.session then return end
  if next(self.statements) == nil then self.caches[self.session] = nil end
  self.session = key
  self.statements = self.caches[key] or {}
  self.caches[key] = self.statements
end

--- Another session from here on.
methods.switch_session = switch

-- A setting changed that the server reports.
local function put_encoding_back(self)
  local c = self.c
  local now = c:parameter "client_encoding"
  if now == self.encoding or not self.encoding or c:transaction_status() == "inerror" then return nil end
  c:keep()
  self:simple("SET client_encoding = " .. self.encoding)
  c:unhold()
  if now == "UTF8" then return nil end
  return errors.new("feature_not_supported", ("client_encoding is %s on every connection, and was put back: it had "
    .. "been set to %s; convert_to(text, '%s') gives text in that encoding as bytes"):format(self.encoding, now, now))
end

--- To be called after a statement where a reported setting changed: what is wrong with that, or nil.
function methods.note_reports(self)
  self:note_settings()
  switch(self)
  return put_encoding_back(self)
end

local function find(words, wanted)
  for i = 1, math.min(#words, 4) do
    if words[i]:upper() == wanted then return true end
  end
  return false
end

local function set_role(self, role, is_local)
  if self.c:transaction_status() ~= "idle" then
    if self.role_outside == nil then self.role_outside = self.role or false end
    if not is_local then self.role_kept = role or false end
  end
  self.role, self.role_known = role, true
  self:settle_names()
end

--- To be called after a text in which something was set: another role is another session.
function methods.note_role(self, sql)
  if not sql:find "[rR][oO][lL][eE]" and not sql:find "[aA][uU][tT][hH]" then return end
  for _, st in ipairs(core.statements(sql, self.standard_strings)) do
    local words = st.words
    if (st.verb == "SET" or st.verb == "RESET") and (find(words, "ROLE") or find(words, "AUTHORIZATION")) then
      local own = st.verb == "SET" and not find(words, "NONE") and not find(words, "DEFAULT")
      set_role(self, own and sql:sub(st.first, st.last) or nil, find(words, "LOCAL"))
    end
  end
end

--- A savepoint was rolled back, and with it maybe a role: which it is now is unknown until the transaction ends.
function methods.doubt_role(self)
  self:doubt_names(true)
end

--- The transaction is over: what was set for its time is as before.
function methods.end_role(self, rolled_back)
  if self.role_outside == nil or self.role_touched then return end
  local kept = self.role_kept
  if rolled_back or kept == nil then kept = self.role_outside end
  self.role, self.role_known, self.role_outside, self.role_kept = kept or nil, true, nil, nil
  self:settle_names()
end

-- ---- digits of floats -----------------------------------------------------------------------

-- extra_float_digits is not reported.  Below 1 a float's text loses digits, and then the result that came as text.

local function show_digits(self)
  self.c:send_simple "SHOW extra_float_digits"
  self:complete "SHOW extra_float_digits"
  return self.c:text()
end

--- Whether the text of a float has all of its digits.
function methods.has_digits(self) return (tonumber(show_digits(self)) or 0) >= 1 end

--- Before a statement whose result comes as text with floats in it: all of their digits.
---@return string?  what end_digits is to be given
function methods.begin_digits(self)
  if self.pooler == "transaction" and self.c:transaction_status() == "idle" then return nil end -- it would not be this session's
  local digits = show_digits(self)
  if (tonumber(digits) or 0) >= 1 then return nil end
  self:simple_own((self.c:transaction_status() == "idle" and "SET" or "SET LOCAL") .. " extra_float_digits = 1")
  return digits
end

function methods.end_digits(self, digits)
  local status = self.c:transaction_status()
  if digits and (status == "idle" or status == "intrans") then
    self:simple_own((status == "idle" and "SET" or "SET LOCAL") .. " extra_float_digits = " .. digits)
  end
end

--- Adds them to the methods of a connection.
function session.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return session
