-- SPDX-License-Identifier: MIT
--
-- pg.lua: the PostgreSQL server of a test run.
--
--   local pg = require "spec.support.pg"
--   local db = pg.db()          -- a connection to this spec file's own database, made at first use
--   pg.cluster()                -- the server all spec files of this run share: pid, conninfo, uri ...
--
-- A spec that stops its server, or needs other settings, starts one with fastpg.cluster.

local pg = {}

-- busted forgets modules between files, the registry stays.
local registry = debug.getregistry()
local shared = registry["fastpg.spec"]
if not shared then
  shared = { databases = {} }
  registry["fastpg.spec"] = shared
end

-- The server of this file's worker (tools/test.sh), which other files had before it and will have after it.
local function of_worker(at)
  local host, port, user, pid = at:match "^(.-)|(%d+)|(.-)|(%d+)$"
  local server = {
    conninfo = { host = host, port = tonumber(port), user = user, dbname = "postgres" }, pid = tonumber(pid), dir = host,
  }
  local function options_of(opts)
    local all = {}
    for k, v in pairs(server.conninfo) do all[k] = v end
    for k, v in pairs(opts or {}) do all[k] = v end
    if opts and opts.database ~= nil then all.dbname = nil end
    return all
  end
  function server.connect(_, opts) return require("fastpg").connect(options_of(opts)) end
  function server.create_pool(_, opts, pool_opts) return require("fastpg").create_pool(options_of(opts), pool_opts) end
  server.uri = require("fastpg").uri(server.conninfo)
  return server
end

-- What the file before left on the server: its databases, and then roles, which belong to no database.
local CLEAN = [[
select format('drop database %I with (force)', datname) from pg_database where not datistemplate and datname <> 'postgres' \gexec
select format('drop role %I', rolname) from pg_roles where rolname !~ '^pg_' and rolname <> current_user \gexec]]

---The server: the worker's, or one that is started at first use and ends with this process.
function pg.cluster()
  if not shared.cluster then
    local at = os.getenv "FPG_TEST_SERVER"
    if at then
      shared.cluster = of_worker(at)
      pg.psql(CLEAN)
    end
    shared.cluster = shared.cluster or require("fastpg.cluster").start{ settings = { max_connections = 200 } }
  end
  return shared.cluster
end

-- The spec file that called: "spec/types/date_spec.lua" gives "types_date".
local function caller()
  for level = 3, 20 do
    local info = debug.getinfo(level, "S")
    local name = info and info.source:match "spec/(.*)_spec%.lua$"
    if name then return (name:gsub("%W", "_")) end
  end
  return "shared"
end

---Runs SQL by psql, for what must not go through fastpg. Returns its unaligned output.
---@param sql string
---@param dbname string?
function pg.psql(sql, dbname)
  local c = pg.cluster().conninfo
  local psql = "psql -X -q -A -t -v ON_ERROR_STOP=1 -h '%s' -p %d -U %s -d %s 2>&1 <<'FASTPG_END'\n%s\nFASTPG_END"
  local command = psql:format(c.host, c.port, c.user, dbname or c.dbname, sql)
  local pipe = assert(io.popen(command))
  local out = pipe:read "*a"
  pipe:close()
  return (out:gsub("\n$", ""))
end

---The name of a new, empty database.
function pg.new_database(name)
  shared.count = (shared.count or 0) + 1
  name = ("spec_%s_%s_%d"):format(name or "x", os.getenv "FPG_TEST_JOB" or "0", shared.count)
  local out = pg.psql("create database " .. name)
  assert(out == "", out)
  return name
end

---The name of the calling spec file's own database.
function pg.database()
  local name = caller()
  shared.databases[name] = shared.databases[name] or pg.new_database(name)
  return shared.databases[name]
end

local function with_database(opts, name)
  local all = { database = name }
  for k, v in pairs(opts or {}) do all[k] = v end
  return all
end

---A new connection to the calling spec file's own database.
---@param opts table? as of fastpg.connect
function pg.db(opts)
  return pg.cluster():connect(with_database(opts, pg.database()))
end

---A new pool on the calling spec file's own database.
---@param opts table? as of fastpg.connect
---@param pool_opts table?
function pg.pool(opts, pool_opts)
  return pg.cluster():create_pool(with_database(opts, pg.database()), pool_opts)
end

---What fastpg.connect needs to reach the calling spec file's own database.
---@return table conninfo
function pg.conninfo()
  local c = pg.cluster().conninfo
  return { host = c.host, port = c.port, user = c.user, database = pg.database() }
end

return pg
