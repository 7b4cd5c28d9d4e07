-- SPDX-License-Identifier: MIT
--
-- hooks: db:on: which functions of the user's are told of what.
--
-- A statement pays nothing where no hook is set: the methods of a connection are the plain ones.  Where one is, each
-- connection of the database has methods of its own in front of them (fastpg.pool.watch), which are taken away with the last
-- hook.  Writes of Tables and queries look at `root.writes`, which is there as long as there is a hook on them
-- (fastpg.table.write_hook).
--
--   root.hooks = { loop =, methods =, watches =, meter =, audit = { hook, … }, … } or nil
--   hook = { fn =, from =, over =, explain =, values = }

local ipairs, next, pairs, setmetatable, type = ipairs, next, pairs, setmetatable, type

local errors = require "fastpg.base.errors"
local hook_calls = require "fastpg.pool.hook_calls"
local options = require "fastpg.base.options"
local watch = require "fastpg.pool.watch"

local hooks = {}

local KINDS = { "audit", "connect", "notice", "query", "server", "slow", "write" }

-- ---- connections ----------------------------------------------------------------------------

local function all_connections(root)
  local list = {}
  local function add(pool)
    pool:each_connection(function(conn) list[#list + 1] = conn end)
  end
  if root.pool then add(root.pool) end
  if root.servers then root.servers:each_pool(add) end
  return list
end

local function install(self, conn)
  conn.hook_pid = conn.pid
  conn.inside = conn.inside or setmetatable({}, { __mode = "k" })
  conn.c:hear(self.notice ~= nil)
  for name, method in pairs(self.methods) do conn[name] = method end
end

local function uninstall(self, conn)
  conn.c:hear(false)
  for name in pairs(self.methods) do conn[name] = nil end
end

-- Connections are watched while there is a hook on what they do, or a meter.
local function settle(root, self)
  local watches = (self.audit or self.notice or self.query or self.slow or self.meter) ~= nil
  root.writes = self.write or false
  if not watches and not self.watches then return end
  self.watches = watches
  for _, conn in ipairs(all_connections(root)) do (watches and install or uninstall)(self, conn) end
end

-- The hooks of a database, made where there are none.
local function hooks_of(root)
  local self = root.hooks
  if self then return self end
  self = { loop = root.config and root.config.loop, watches = false }
  self.methods = watch.methods(self)
  root.hooks = self
  return self
end

--- What counts all that is sent, made at the first call: it has a method count(list of operations).
---@param make fun(): table
function hooks.meter(root, make)
  local self = hooks_of(root)
  if not self.meter then
    self.meter = make()
    settle(root, self)
  end
  return self.meter
end

--- A new connection of a database that has hooks, before anything runs on it.
function hooks.install(root, conn)
  local self = root.hooks
  self.loop = root.config.loop
  if self.watches then install(self, conn) end
end

--- And when it is ready.
function hooks.opened(root, conn)
  if not root.hooks.connect then return end
  local info = conn.c:info()
  hook_calls.tell(root.hooks.loop, root.hooks.connect, function()
    return { pid = conn.pid, server_version = info.server_version }
  end)
end

--- One of several servers is something else than before (fastpg.pool.servers): { server =, role =, before = }.
function hooks.server_changed(root, change)
  local self = root.hooks
  if not self or not self.server then return end
  hook_calls.tell(root.config.loop, self.server, function()
    return { server = change.server, role = change.role, before = change.before }
  end)
end

-- ---- db:on ----------------------------------------------------------------------------------

local OPTIONS = {
  audit = options.declare("db:on: audit", { values = options.boolean }),
  connect = options.declare("db:on: connect", {}),
  notice = options.declare("db:on: notice", {}),
  query = options.declare("db:on: query", { values = options.boolean }),
  server = options.declare("db:on: server", {}),
  write = options.declare("db:on: write", {}),
  slow = options.declare("db:on: slow", { over = options.number(0), explain = options.boolean, values = options.boolean }),
}

local function remove(root, kind, hook)
  local self = root.hooks
  local list = self and self[kind]
  if not list then return end
  local rest = {} -- (a new list: the old one may be walked through right now)
  for _, one in ipairs(list) do
    if one ~= hook then rest[#rest + 1] = one end
  end
  self[kind] = next(rest) and rest or nil
  settle(root, self)
  if self.meter then return end
  for _, name in ipairs(KINDS) do
    if self[name] then return end
  end
  root.hooks = nil
end

local methods = {}

--- Sets a hook, fn(event); gives the function that takes it away again.
--- An error in it goes to fastpg.on_error; one in "audit" stops the statement, one in "write" undoes the write.
---@param kind "audit"|"connect"|"notice"|"query"|"slow"|"write"
---@param fn fun(event: table)
---@param opts { over: number?, explain: boolean?, values: boolean? }?  over: seconds, 0.2 where nothing is said
---@return fun()
function methods.on(self, kind, fn, opts)
  local declared = type(kind) == "string" and OPTIONS[kind]
  if not declared then
    errors.argument("on: one of %s expected, got %s", table.concat(KINDS, ", "), type(kind) == "string" and '"' .. kind .. '"'
      or type(kind))
  end
  if type(fn) ~= "function" then errors.argument("on: a function expected, got %s", type(fn)) end
  opts = options.check(opts, declared, "db:on: " .. kind)
  local root = self.root
  local hook = {
    fn = fn, from = self.scope and self or root, over = opts.over or 0.2, explain = opts.explain, values = opts.values,
  }
  local set = hooks_of(root)
  local list = {} -- (a new one: the old one may be walked through right now)
  for i, one in ipairs(set[kind] or list) do list[i] = one end
  list[#list + 1] = hook
  set[kind] = list
  settle(root, set)
  return function() remove(root, kind, hook) end
end

--- Adds db:on.
function hooks.extend(into) into.on = methods.on end

return hooks
