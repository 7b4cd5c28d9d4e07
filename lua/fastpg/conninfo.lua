-- SPDX-License-Identifier: MIT
--
-- conninfo: from what the user says of a server to libpq's keywords and fastpg's own options.

local core = require "fastpg.core"
local errors = require "fastpg.errors"
local options = require "fastpg.options"
local suggest = require "fastpg.suggest"
local wait = require "fastpg.wait"

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
  errors.argument('%s: unknown option "%s"%s', what, tostring(name), suggest.phrase(tostring(name), known))
end

local function read_keyword(config, what, name, value)
  if name == "database" then name = "dbname" end
  if type(value) == "number" and value % 1 == 0 then
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
      local near = not libpq_keywords()[name] and suggest.phrase(name, libpq_keywords()) or ""
      if near ~= "" then errors.argument('%s: unknown option "%s"%s', what, name, near) end
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
---@return table  { params = {keyword = text}, …options }
function conninfo.read(what, target, extra, pool)
  local config = { params = {} }
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
  config.statement_cache_size = config.statement_cache_size or 100
  if config.command_timeout == 0 then config.command_timeout = nil end
  config.params.client_encoding = "UTF8"
  config.params.fallback_application_name = config.params.fallback_application_name or "fastpg"
  return config
end

local function escape(text)
  return (text:gsub("[^%w%-%._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- "host", "[::1]" or "%2Fvar%2Frun": a list of hosts keeps its commas
local function hosts(host, port)
  local out, ports, i = {}, {}, 0
  for p in (port .. ","):gmatch("([^,]*),") do ports[#ports + 1] = p end
  for h in (host .. ","):gmatch("([^,]*),") do
    i = i + 1
    local p = ports[i] or ports[1] or ""
    out[i] = (h:find(":", 1, true) and "[" .. h .. "]" or escape(h)) .. (p ~= "" and ":" .. p or "")
  end
  return table.concat(out, ",")
end

--- A URI that connects again, without the password.
---@param params table  { user, host, port, dbname }
function conninfo.uri(params)
  if type(params) ~= "table" then errors.argument("fastpg.uri: a table expected, got %s", type(params)) end
  for _, name in ipairs{ "user", "host", "hostaddr", "port", "dbname" } do
    local kind = type(params[name])
    if kind ~= "string" and kind ~= "number" and kind ~= "nil" then
      errors.argument("fastpg.uri: %s must be a string or a number, got %s", name, kind)
    end
  end
  local defaults = core.conninfo_defaults()
  local user = params.user or defaults.user
  local host = params.host or params.hostaddr or defaults.host or ""
  local port = params.port or defaults.port or "5432"
  local dbname = params.dbname or defaults.dbname or user or ""
  user = user and escape(user) .. "@" or ""
  return ("postgresql://%s%s/%s"):format(user, hosts(host, tostring(port)), escape(dbname))
end

return conninfo
