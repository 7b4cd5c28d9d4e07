-- SPDX-License-Identifier: MIT
--
-- opening: from the servers that were named to one open connection.
--
-- libpq's non-blocking calls resolve names blocking, and wait for ever for a host that is silent.  So
-- the list of hosts is taken apart here: names are resolved by a thread, each address gets a PGconn of
-- its own and its share of the time, and target_session_attrs is judged here.  TLS, passwords and all
-- else of a connection stay libpq's; which failure ends the search and which leads to the next address
-- is as in libpq.  Where libpq can't make sense of what it is given, it is asked as it is, and says so.
--
-- PostgreSQL manual: "Specifying Multiple Hosts" and "Parameter Key Words" of libpq.

local error, ipairs, pairs, pcall, setmetatable = error, ipairs, pairs, pcall, setmetatable

local compat = require "fastpg.base.compat"
local conninfo = require "fastpg.pg.conninfo"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local random = require "fastpg.base.random"

local unpack = compat.unpack

local opening = {}

-- Seconds for an address that has no limit of its own, while others are to be tried.
opening.SHARE = 10

local CANNOT_CONNECT_NOW = "57P03"

-- ---- which servers --------------------------------------------------------------------------

local function is_given(text) return text ~= nil and text ~= "" end

local function split(list)
  local out = {}
  for item in ((list or "") .. ","):gmatch "([^,]*)," do out[#out + 1] = item end
  return out
end

local function or_nil(text) return is_given(text) and text or nil end

--- The servers of libpq's lists, in order; nil where their lengths don't fit.
---@param known { host: string?, hostaddr: string?, port: string? }
---@return { host: string?, hostaddr: string?, port: string? }[]?
function opening.servers(known)
  local hosts, addresses, ports = split(known.host), split(known.hostaddr), split(known.port)
  local n = is_given(known.hostaddr) and #addresses or #hosts
  if is_given(known.host) and #hosts ~= n or #ports ~= 1 and #ports ~= n then return nil end
  local list = {}
  for i = 1, n do
    local port = or_nil(ports[#ports == 1 and 1 or i]) or #ports > 1 and "5432" or nil
    list[i] = { host = or_nil(hosts[i]), hostaddr = or_nil(addresses[i]), port = port }
    -- one that is left out between others is libpq's own socket, whatever PGHOST says
    if n > 1 and not list[i].host and not list[i].hostaddr then list[i].host = "," end
  end
  return list
end

local function shuffle(list)
  local draw = random.source()
  for i = #list, 2, -1 do
    local j = draw(i)
    list[i], list[j] = list[j], list[i]
  end
end

-- ---- which sessions -------------------------------------------------------------------------

-- What target_session_attrs wants: what is asked, the answer wanted, and what it is called else.
local ATTRIBUTES = {
  ["any"] = {},
  ["read-write"] = { "read_only", false, "session is read-only" },
  ["read-only"] = { "read_only", true, "session is not read-only" },
  ["primary"] = { "standby", false, "server is in hot standby mode" },
  ["standby"] = { "standby", true, "server is not in hot standby mode" },
  ["prefer-standby"] = { "standby", true, "server is not in hot standby mode" },
}

-- ---- one address ----------------------------------------------------------------------------

-- A search: { config, wait, check, deadline, timeout, attributes, failures, c = the connection under
-- way, spare = one to fall back on, limit = until when the address at hand may take }.
local Search = {}
Search.__index = Search

-- The share of an address when so many others may follow.
function Search:set_limit(others)
  local now = core.clock()
  local share = self.timeout or others > 0 and opening.SHARE or nil
  if self.deadline then
    local left = (self.deadline - now) / (others + 1)
    share = share and share < left and share or left
  end
  self.limit = share and now + share
end

function Search:is_late()
  return self.deadline and core.clock() >= self.deadline
end

-- Waits until the descriptor is ready, which libpq's steps rely on; false when the time is over.
function Search:await(fd, mode)
  while true do
    local left = self.limit and self.limit - core.clock()
    if left and left <= 0 then return false end
    local ready = self.wait(fd, mode, left)
    if ready and ready ~= "woken" then return true end
    if ready then self.check() end
  end
end

function Search:fail(kind, message, sqlstate, severity)
  local failures = self.failures
  local last = failures[#failures]
  if last and last.message == message then return end -- of what has nothing to do with the address
  failures[#failures + 1] = { kind = kind, message = message, sqlstate = sqlstate, severity = severity }
end

-- As libpq names a server in its messages.
local function place_name(server, address)
  local host, port = server.host or address, server.port or "5432"
  if not host or host == "," then return "server on the default socket" end
  if host:find "^[/@]" and not address then return ('server on socket "%s/.s.PGSQL.%s"'):format(host, port) end
  local where = address and address ~= host and (" (%s)"):format(address) or ""
  return ('server at "%s"%s, port %s'):format(host, where, port)
end

function Search:fail_at(kind, server, address, problem)
  self:fail(kind, ("connection to %s failed: %s"):format(place_name(server, address), problem))
end

-- libpq's message in one line, and the SQLSTATE and severity in it: "FATAL:  28P01: password …\nLOCATION:  auth.c:1".
-- The word may be one of the server's language; what ends a connection that is being opened is a FATAL.
local function read_message(text)
  local sqlstate, severity
  text = text:gsub("(%S*):  (%w%w%w%w%w): ", function(word, code)
    sqlstate, severity = code, (word == "ERROR" or word == "PANIC") and word or "FATAL"
    return word .. ":  "
  end)
  if sqlstate then text = text:gsub("[^\n]*:  [%w_]+, [%w_]+%.c:%d+\n?", "") end
  text = text:gsub("%s+$", ""):gsub("%s*\n%s*", " ")
  return text ~= "" and text or "the connection is lost", sqlstate, severity
end

-- libpq is given an address, and names no more than that.
local function add_host_name(text, server, address)
  local host = server.host
  if not host or not address or host == address then return text end
  local before = ('connection to server at "%s", '):format(address)
  if text:sub(1, #before) ~= before then return text end
  return ('connection to server at "%s" (%s), '):format(host, address) .. text:sub(#before + 1)
end

-- Whether it is connected; `stop`: no other is to be tried.
function Search:step_through(server, address)
  local c = self.c
  while true do
    local want, message, reached = c:connect_step()
    if want == true then return true end
    if not want then
      local text, sqlstate, severity = read_message(message)
      self:fail("connection", add_host_name(text, server, address), sqlstate, severity)
      self.stop = reached and sqlstate ~= CANNOT_CONNECT_NOW
      return false
    end
    if not self:await(c:fd(), want) then
      self:fail_at("timeout", server, address, "timeout expired")
      return false
    end
  end
end

-- What one SELECT or SHOW says; nil, why, where that can't be found out.
function Search:ask(sql)
  local c = self.c
  c:send_simple(sql)
  local want = c:step()
  while want ~= true do
    if not self:await(c:fd(), want) then return nil, "timeout expired" end
    want = c:step()
  end
  local err = c:outcome()
  if err then return nil, err.message end
  local st = c:result_statement()
  st:bind()
  return c:fetch_item(st)
end

-- Servers from version 14 on report it; one behind a pooler, or an older one, is asked.
local QUESTIONS = {}

function QUESTIONS.read_only(search)
  local c = search.c
  local default, standby = c:parameter "default_transaction_read_only", c:parameter "in_hot_standby"
  if default and standby then return default == "on" or standby == "on" end
  local answer, why = search:ask "SHOW transaction_read_only"
  if answer == nil then return nil, why end
  return answer == "on"
end

function QUESTIONS.standby(search)
  local standby = search.c:parameter "in_hot_standby"
  if standby then return standby == "on" end
  local answer, why = search:ask "SELECT CAST(pg_catalog.pg_is_in_recovery() AS pg_catalog.text)"
  if answer == nil then return nil, why end
  return answer == "true"
end

-- Whether the session is one of those that are wanted.
function Search:suits(server, address)
  local question, wanted, else_called = unpack(self.attributes)
  if not question then return true end
  local answer, why = QUESTIONS[question](self)
  if answer == wanted then return true end
  self:fail_at(why == "timeout expired" and "timeout" or "connection", server, address, why or else_called)
  return false
end

-- Closes the connection under way, or keeps it as the one to fall back on.
function Search:give_up(connected)
  local c = self.c
  self.c = nil
  if connected and self.prefers and not self.spare and c:idle() then
    self.spare = c
  else
    c:close()
  end
end

--- Tries one address: whether self.c is what was looked for.
function Search:try(params, server, address, others)
  self:set_limit(others)
  self.c = core.connect(params, self.config.environment == false)
  if self.place then self.place.c = self.c end
  local connected = self:step_through(server, address)
  if connected and self:suits(server, address) then return true end
  self:give_up(connected)
  return false
end

-- ---- all addresses --------------------------------------------------------------------------

-- The addresses of a server: { false } where libpq needs none.
function Search:addresses(server, others)
  local host = server.host
  if server.hostaddr then return { server.hostaddr } end
  if not host or host:find "^[/@,]" then return { false } end
  self:set_limit(others)
  local job = core.resolve_job(host)
  local name = ('could not translate host name "%s" to address: '):format(host)
  while not job:done() do
    if not self:await(job:fd(), "r") then
      self:fail("timeout", name .. "timeout expired")
      return {}
    end
  end
  local list, why = job:result()
  if not list then
    self:fail("connection", name .. why)
    return {}
  end
  if self.random then shuffle(list) end
  return list
end

local function params_of(config, server, address)
  local params = {}
  for name, value in pairs(config.all_params()) do params[name] = value end
  params.host, params.hostaddr, params.port = server.host, address or nil, server.port
  params.target_session_attrs = "any" -- whatever the environment says
  return params
end

function Search:try_all(servers)
  for i, server in ipairs(servers) do
    local addresses = self:addresses(server, #servers - i)
    for j, address in ipairs(addresses) do
      if self:is_late() then return false end
      local params = params_of(self.config, server, address)
      if self:try(params, server, address or nil, #addresses - j + #servers - i) then return true end
      if self.stop then return false end
    end
  end
  return false
end

-- One error of all that was tried.
function Search:raise()
  local messages, kind, sqlstate, severity = {}, self:is_late() and "timeout", nil, nil
  local all_late = #self.failures > 0
  for i, failure in ipairs(self.failures) do
    messages[i] = failure.message
    all_late = all_late and failure.kind == "timeout"
    sqlstate, severity = failure.sqlstate, failure.severity -- of the last one
  end
  if #messages == 0 then messages[1] = "no connection to the server within the time allowed" end
  errors.raise(kind or all_late and "timeout" or "connection", table.concat(messages, "; "),
    { sqlstate = sqlstate, severity = severity })
end

local function run(search, known)
  local servers = known and ATTRIBUTES[known.target_session_attrs or "any"] and opening.servers(known)
  if not servers then return search:try(search.config.all_params(), {}, nil, 0) end
  if search.random then shuffle(servers) end
  return search:try_all(servers)
end

-- Seconds, of an option or of what libpq knows; 0 is no limit, as there.
local function time_limit(config, known)
  local seconds = config.connect_timeout
  if not seconds then
    local text = (known or core.conninfo_defaults()).connect_timeout or ""
    seconds = text:find("%S") and conninfo.seconds("connect", text) or 0
  end
  return seconds > 0 and seconds or nil
end

local function drop(search)
  if search.c then search.c:close() end
  if search.spare then search.spare:close() end
end

--- Opens a connection; raises "connection" or "timeout".
---@param config { params: table, connect_timeout: number? }  connect_timeout: of each address
---@param wait fun(fd: integer, mode: string, timeout: number?): string?
---@param deadline number?  for all of it
---@param check fun()  raises when the task that connects was canceled
---@param place table?  its `c` is the connection under way: who opens may be killed
---@return userdata c  the core's connection
---@return number? limit  until when what belongs to connecting may take
function opening.open(config, wait, deadline, check, place)
  local known = core.conninfo_effective(config.params, config.environment == false)
  local attributes = known and known.target_session_attrs or "any"
  local search = setmetatable({
    config = config, wait = wait, check = check, deadline = deadline, place = place, timeout = time_limit(config, known),
    attributes = ATTRIBUTES[attributes] or {}, prefers = attributes == "prefer-standby",
    random = known and known.load_balance_hosts == "random", failures = {},
  }, Search)
  local ok, found = pcall(run, search, known)
  if not ok then
    drop(search)
    error(found, 0)
  end
  if found then
    if search.spare then search.spare:close() end
    return search.c, search.limit
  end
  if search.spare then
    search:set_limit(0)
    return search.spare, search.limit
  end
  return search:raise()
end

return opening
