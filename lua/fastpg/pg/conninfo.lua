-- SPDX-License-Identifier: MIT
--
-- conninfo: from what the user says of a server to libpq's keywords and fastpg's own options.

local ipairs, next, pairs, tonumber, type = ipairs, next, pairs, tonumber, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local options = require "fastpg.base.options"
local suggest = require "fastpg.base.suggest"
local wait = require "fastpg.host.wait"

local conninfo = {}

-- fastpg's own options beside libpq's keywords.
local connection_options = options.declare("fastpg.connect", {
  loop = options.any, -- wait.check says more
  statement_cache_size = options.whole(0),
  command_timeout = options.duration,
  connect_timeout = options.duration,
  init = options.fn,
  schema = options.text,
  strict = options.boolean,
  duplicates = options.one_of("error", "last"),
  replicas = options.table, -- (fastpg.pg.server_list)
  reads = options.one_of("primary", "replica"),
  max_lag = options.duration,
  failover_timeout = options.duration,
  pooler = options.one_of("none", "session", "transaction"), -- what stands before the server (fastpg.pg.session_use)
  direct = options.kinds("a connection string or a table of libpq's keywords", "string", "table"),
  environment = options.boolean, -- false: libpq's environment variables and service files don't count
})
local pool_options = options.declare("fastpg.create_pool", {
  min_size = options.whole(0),
  max_size = options.whole(1),
  acquire_timeout = options.duration,
  max_inactive_connection_lifetime = options.duration,
  max_lifetime = options.duration,
  reset = options.either("true or SQL text", true, options.text),
})

-- connect_timeout is ours (libpq's own is not heeded by its non-blocking calls); opening.lua reads the
-- environment's.
local keywords
local function libpq_keywords()
  if not keywords then
    local _
    _, keywords = core.conninfo_defaults()
    keywords.database = true
  end
  return keywords
end

local hidden
local function secrets()
  hidden = hidden or core.conninfo_secrets()
  return hidden
end

-- What anybody may see of the keywords stays in config.params; all of them are given by a function, since
-- whoever follows tables and metatables (an inspector, an error reporter) prints what is in a table.
local function hide(config)
  local all, shown = config.params, {}
  for name, value in pairs(all) do
    if not secrets()[name] then shown[name] = value end
  end
  config.params = shown
  config.all_params = function() return all end
end

--- Whether it is an option of fastpg's own.
---@param name any
function conninfo.is_option(name) return connection_options[name] ~= nil end

--- Seconds to wait for a primary, where there are several servers and none are given.
conninfo.FAILOVER_TIMEOUT = 30

local DIRECT_FIRST = options.set("pooler", "direct", "loop", "init", "schema", "strict", "duplicates")

-- The second way, past the pooler: a config of its own, which differs in where it leads.
local function read_direct(config, what)
  local given = config.direct
  if given == nil then return end
  if config.pooler ~= "transaction" then
    errors.argument('%s: direct goes with pooler = "transaction": it is the way past that pooler', what)
  end
  if type(given) == "table" then
    for name in pairs(given) do
      if DIRECT_FIRST[name] then errors.argument("%s: direct: %s is the option of the whole database", what, name) end
    end
  end
  local direct = conninfo.read(what .. ": direct", given, nil, false)
  for _, name in ipairs{ "loop", "init", "strict", "duplicates", "schema", "environment", "command_timeout", "connect_timeout" } do
    if direct[name] == nil then direct[name] = config[name] end
  end
  for _, name in ipairs{ "max_size", "acquire_timeout", "max_lifetime", "max_inactive_connection_lifetime" } do
    direct[name] = config[name]
  end
  -- where the primary may be one of several servers, the way past the poolers has to lead to it, too
  if (config.replicas or config.failover_timeout) and direct.failover_timeout == nil then
    direct.failover_timeout = config.failover_timeout or conninfo.FAILOVER_TIMEOUT
  end
  config.direct = direct
end

local function check_pooler(config, what)
  if config.pooler ~= "transaction" then return end
  if type(config.reset) == "string" then
    errors.argument('%s: reset: behind a pooler in transaction mode no session comes back to be reset (PgBouncer: '
      .. "server_reset_query_always)", what)
  end
  config.statement_cache_size = config.statement_cache_size or 0
end

local function take(config, what, allowed, name, value)
  options.check_value(what, name, allowed[name], value)
  config[name] = allowed[name] == options.duration and options.seconds(what, value) or value
end

local function unknown(what, name, allowed)
  local known = {}
  for k in pairs(libpq_keywords()) do known[k] = true end
  for _, set in ipairs(allowed) do
    for k in pairs(set) do known[k] = true end
  end
  options.unknown(what, name, known)
end

local function read_keyword(config, what, name, value)
  if name == "database" then name = "dbname" end
  if type(value) == "number" and value % 1 == 0 and math.abs(value) <= 2^53 then
    value = ("%d"):format(value)
  elseif type(value) ~= "string" then
    errors.argument("%s: %s must be a string or a whole number, got %s", what, name,
      type(value) == "number" and value or type(value))
  end
  config.params[name] = value
end

local function read_table(config, what, given, allowed)
  if given.database ~= nil and given.dbname ~= nil then
    errors.argument("%s: the database is named twice, as database and as dbname", what)
  end
  for name, value in pairs(given) do
    local mine
    for _, set in ipairs(allowed) do mine = mine or set[name] and set end
    if mine then
      take(config, what, mine, name, value)
    elseif libpq_keywords()[name] then
      read_keyword(config, what, name, value)
    else
      unknown(what, name, allowed)
    end
  end
end

--- The seconds of a connect_timeout in a connection string, the environment or a service file, as libpq
--- reads it: none or fewer are no limit.
---@param what string
---@param text string
---@return number
function conninfo.seconds(what, text)
  local seconds = text:find("^%s*[+-]?%d+%s*$") and tonumber(text)
  if not seconds then errors.argument("%s: connect_timeout must be a whole number of seconds", what) end
  return seconds > 0 and seconds or 0
end

-- libpq's messages quote the text, and with it pieces of a password: what is wrong with one is said
-- here, and of the text at most a name that is nearly a keyword.
local function explain(what, text)
  if not text:find("^postgres%w*://") then
    for name in text:gmatch("([%a_]+)%s*=") do
      if connection_options[name] and name ~= "connect_timeout" or pool_options[name] then
        errors.argument("%s: %s is fastpg's own: give it in a table of options", what, name)
      end
      local near = not libpq_keywords()[name] and suggest.near(name, libpq_keywords())[1]
      if near then options.unknown(what, name, libpq_keywords()) end
    end
  end
  errors.argument("%s: the connection string can't be parsed: write key=value pairs or postgresql://…", what)
end

-- A "@" or "/" of a password would end it early, and its rest would be a host, port or database, which
-- messages show.
local function check_uri(what, text)
  local authority, path = text:match("^%w+://([^/?]*)([^?]*)")
  if path:find("@", 1, true) or authority:find("@.*@") then
    errors.argument('%s: in a URI a name or password spells "@" as %%40, "/" as %%2F, ":" as %%3A', what)
  end
end

local function is_uri(text) return text:find("^postgresql://") or text:find("^postgres://") end

local function read_text(config, what, text)
  if text:find("%z") then errors.argument("%s: the connection string has a NUL byte", what) end
  if not text:find("=", 1, true) and not is_uri(text) and text:find("%S") then
    -- a bare name is a database; what looks like a misspelled URI must not end in a message as one
    if text:find("[%s:/@]") then explain(what, text) end
    config.params.dbname = text
    return
  end
  if is_uri(text) then check_uri(what, text) end
  local keywords_given = core.conninfo_parse(text)
  if not keywords_given then explain(what, text) end
  for name, value in pairs(keywords_given) do
    if name == "connect_timeout" then
      take(config, what, connection_options, name, conninfo.seconds(what, value))
    else
      config.params[name] = value
    end
  end
end

-- What libpq would only find out later, with a message that shows the value.
local function check_params(what, params)
  local dbname = params.dbname or ""
  if dbname:find("^%w+://") or libpq_keywords()[dbname:match("^%s*([%a_]+)%s*=")] then
    errors.argument("%s: database is a name: a connection string is the first argument, options the second", what)
  end
  for name, value in pairs(params) do
    if value:find("%z") then errors.argument("%s: %s has a NUL byte", what, name) end
    if name ~= "password" and value:find("^%s*postgres%w*://") then
      errors.argument("%s: %s can't be a connection string: that is the first argument, options the second", what, name)
    end
  end
  for port in ((params.port or "") .. ","):gmatch("([^,]*),") do
    if not port:find("^%s*%d*%s*$") then errors.argument("%s: port must be a number", what) end
  end
end

--- Reads what connect, create_pool or db:connect were given.
---@param what string  the function's name, for messages
---@param target string|table|nil  a conninfo string or URI, a table of keywords and options, or nothing
---@param extra table?  a second table of options
---@param pool boolean  whether the pool's options are allowed
---@return table  { params = {keyword = text} without secrets, all_params = function() -> all of them, …options }
function conninfo.read(what, target, extra, pool)
  local config = { params = {}, what = what }
  local allowed = pool and { connection_options, pool_options } or { connection_options }
  if type(target) == "string" then
    read_text(config, what, target)
  elseif type(target) == "table" then
    read_table(config, what, target, allowed)
  elseif target ~= nil then
    errors.argument("%s: a connection string or a table expected, got %s", what, type(target))
  end
  if extra ~= nil then
    if type(extra) ~= "table" then errors.argument("%s: a table of options expected, got %s", what, type(extra)) end
    read_table(config, what, extra, allowed)
  end
  check_params(what, config.params)
  wait.check(config.loop, what)
  check_pooler(config, what)
  config.statement_cache_size = config.statement_cache_size or 100
  if config.command_timeout == 0 then config.command_timeout = nil end
  config.params.client_encoding = "UTF8"
  config.params.fallback_application_name = config.params.fallback_application_name or "fastpg"
  hide(config)
  read_direct(config, what)
  return config
end

-- ---- as a URI -------------------------------------------------------------------------------

-- What the environment or a service file may say of it, and what a connection would be less safe, or
-- another one, without.  All else is in the URI where the program gave it.
local DECIDING = options.set("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslsni", "sslcertmode",
  "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding", "require_auth", "requirepeer",
  "gssencmode", "gssdelegation", "krbsrvname", "gsslib", "target_session_attrs", "load_balance_hosts", "hostaddr")

-- In the URI's own places, or fastpg's.
local ELSEWHERE = options.set("user", "host", "port", "dbname", "client_encoding")

local function escape(text, but)
  return (text:gsub("[^%w%-%._~" .. (but or "") .. "]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- "host", "[::1]" or "%2Fvar%2Frun"
local function host_text(host)
  if host:find(":", 1, true) and not host:find "^[/@]" then return "[" .. escape(host, ":") .. "]" end
  return escape(host)
end

-- host:port, as many as there are
local function server_list(host, port)
  local out, ports = {}, {}
  for p in (port .. ","):gmatch "([^,]*)," do ports[#ports + 1] = p end
  for h in (host .. ("," ):rep(host == "" and #ports or 1)):gmatch "([^,]*)," do
    local p = ports[#ports == 1 and 1 or #out + 1] or ""
    out[#out + 1] = host_text(h) .. ":" .. (p ~= "" and p or "5432")
  end
  return table.concat(out, ",")
end

local function query(given, known)
  local kept, names, parts = {}, {}, {}
  for name, value in pairs(known) do
    if DECIDING[name] then kept[name] = value end
  end
  for name, value in pairs(given) do kept[name] = value end
  if kept.fallback_application_name == "fastpg" then kept.fallback_application_name = nil end
  local secret = secrets()
  for name in pairs(kept) do
    if not ELSEWHERE[name] and not secret[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = name .. "=" .. escape(kept[name], "/:,") end
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

-- A URI of libpq's keywords; `info` is what a connection that was made says of itself.
local function uri_of(given, info)
  local known = core.conninfo_resolved(given)
  if next(known) == nil then known = given end -- a service that is not there
  local user = info.user or known.user or ""
  local host, port = known.host, known.port or "5432"
  if not host and not known.hostaddr then host, port = info.host, info.port or port end
  local dbname = info.dbname or known.dbname or user
  return ("postgresql://%s%s/%s%s"):format(user ~= "" and escape(user) .. "@" or "", server_list(host or "", port),
    escape(dbname), query(given, known))
end

--- The URI of a database: it connects again, as safely, but for what is secret.
---@param config table  as conninfo.read gives it
---@param info table|false  { user, host, port, dbname } of a connection that was made
---@return string
function conninfo.uri_of(config, info)
  local given = {}
  for name, value in pairs(config.params) do given[name] = value end
  local limit = config.connect_timeout
  if limit and limit % 1 == 0 then given.connect_timeout = ("%d"):format(limit) end
  return uri_of(given, info or {})
end

--- A URI that connects, without the password and other secrets.
---@param params table  libpq's keywords, as fastpg.connect takes them
---@return string
function conninfo.uri(params)
  if type(params) ~= "table" then errors.argument("fastpg.uri: a table expected, got %s", type(params)) end
  local config = { params = {} }
  for name in pairs(params) do
    if type(name) == "string" and name ~= "connect_timeout" and (connection_options[name] or pool_options[name]) then
      errors.argument("fastpg.uri: %s is fastpg's own and has no place in a URI: leave it out", name)
    end
  end
  read_table(config, "fastpg.uri", params, { connection_options })
  check_params("fastpg.uri", config.params)
  return conninfo.uri_of(config, {})
end

return conninfo
