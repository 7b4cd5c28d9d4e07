-- SPDX-License-Identifier: MIT
--
-- regress.lua: SQL files, statement by statement, by every way through fastpg and beside psql.
--
--   make regress SQL=directory|"a.sql b.sql" [LUA=luajit] [WAYS="q arrays"] [SETUP="test_setup.sql"]
--
-- Each file (with TOGETHER=8 so many, one after the other) runs in a database of its own, made anew for
-- psql (twice: where psql's two runs differ, as with now() or an oid, nothing is compared) and for each way,
-- from a template that the files of SETUP have filled.  Compared are rows as the server prints them, the names of
-- columns, command tags, errors (SQLSTATE and message), and whether the connection is well afterwards.  What
-- differs is printed:
--
--   rowtypes.sql:41 [each] row 2, column b: psql has "(1,2)", fastpg "(1,)"
--
-- Exit code 1 where something differs.

local core = require "fastpg.core"
local ways = require "tools.regress.ways" -- before fastpg, which it looks into
local fastpg = require "fastpg"
local reference = require "tools.regress.reference"
local script = require "tools.regress.script"
local compare = require "tools.regress.compare"
local values = require "tools.regress.values"

local regress = {}

local DATABASE = "regression"
local SECONDS = 30 -- that one statement may take

-- ---- databases --------------------------------------------------------------------------------

local Server = {}
Server.__index = Server

--- The server that all runs on: one that nobody else uses, whose roles come and go.
function regress.server(pg, psql)
  local self = setmetatable({ pg = pg, db = pg:connect{ loop = "block" }, psql = psql }, Server)
  self.strategy = self.db.server_version >= 150000 and " strategy file_copy" or "" -- less work, where nothing is synced
  self.roles = {}
  for _, row in ipairs(self.db:q "select rolname::text from pg_roles") do self.roles[row.rolname] = true end
  return self
end

--- Everything that a run left in the server, databases apart, is dropped.
function Server:clean()
  local db = self.db
  for _, row in ipairs(db:q("select gid from pg_prepared_xacts where database = $1", DATABASE)) do
    local other = self.pg:connect{ loop = "block", dbname = DATABASE }
    pcall(other.execute, other, "rollback prepared " .. core.quote_literal(row.gid))
    other:close()
  end
  pcall(db.execute, db, "alter system reset all; select pg_reload_conf()")
  db:execute("drop database if exists " .. DATABASE .. " with (force)")
  for _, row in ipairs(db:q "select spcname::text from pg_tablespace where spcname not like 'pg%'") do
    pcall(db.execute, db, "drop tablespace " .. core.quote_ident(row.spcname))
  end
  for _ = 1, 3 do -- roles may own each other's things
    for _, row in ipairs(db:q "select rolname::text from pg_roles where rolname not like 'pg\\_%'") do
      if not self.roles[row.rolname] then pcall(db.execute, db, "drop role " .. core.quote_ident(row.rolname)) end
    end
  end
end

function Server:fresh(template)
  self:clean()
  self.db:execute(("create database %s template %s%s"):format(DATABASE, template or "template0", self.strategy))
end

function Server:conninfo()
  local info = self.pg.conninfo
  return ("host=%s port=%d user=%s dbname=%s"):format(info.host, info.port, info.user, DATABASE)
end

function Server:reference(units)
  return reference.run(units, { psql = self.psql, conninfo = self:conninfo(), file = os.tmpname(), seconds = 600 })
end

--- The template of all databases: what the files leave behind.
function Server:set_up(files)
  self:fresh()
  local kept = {}
  for _, path in ipairs(files) do self:reference(regress.read(path)) end
  for _, row in ipairs(self.db:q "select rolname::text from pg_roles") do kept[row.rolname] = true end
  self.roles = kept
  self.db:execute("drop database if exists regress_template with (force)")
  self.db:execute(("create database regress_template template %s"):format(DATABASE))
end

-- ---- one session --------------------------------------------------------------------------------

local Session = { alike = values.alike, send_back = values.send_back }
Session.__index = Session

function Session:connect(user)
  local options = { loop = "block", dbname = DATABASE, command_timeout = SECONDS, duplicates = "last", user = user }
  if self.way == "uncached" then options.statement_cache_size = 0 end
  self.db = self.server.pg:connect(options)
end

-- Statement after statement from the i-th until the end or until another connection is asked for.
local function run_units(self, c, i)
  ways.watch(c)
  while i <= #self.units do
    local unit = self.units[i]
    if unit.command then
      if self:command(unit) then return i + 1 end
      if self.over then return #self.units + 1 end
    elseif self.active then
      self:statement(c, unit, i)
      if self.lost then
        self.lost = false
        return i + 1
      end
    end
    i = i + 1
  end
  return i
end

--- A command of psql's: true when the connection has to be made anew.
function Session:command(unit)
  local rest, name = unit.rest, unit.command
  if not reference.passes(unit) then return false end
  local words = script.arguments(rest, self.variables)
  if name == "if" then
    local word = (words[1] or ""):lower()
    self.active = self.active and (word == "t" or word == "true" or word == "on" or word == "1")
    self.chosen = self.active
  elseif name == "else" or name == "elif" then
    self.active = not self.chosen
  elseif name == "endif" then
    self.active = true
  elseif not self.active then
    return false
  elseif name == "set" and words[1] then
    self.variables[words[1]] = table.concat(words, "", 2)
  elseif name == "unset" then
    self.variables[words[1]] = nil
  elseif name == "getenv" and words[2] then
    self.variables[words[1]] = os.getenv(words[2])
  elseif name == "c" or name == "connect" then
    self.user = words[2] ~= "-" and words[2] or self.user
    return true
  elseif name == "quit" or name == "q" then
    self.over = true
  end
  return false
end

function Session:statement(c, unit, i)
  local expected = self.expected[i]
  local skip = not expected or expected.unstable
  values.watch(self, unit.sql)
  local ok, result = pcall(ways.run, c, unit, self.way, expected, self.variables)
  self.counts.statements = self.counts.statements + 1
  self.variables.ERROR = ok and "false" or "true"
  if not ok and type(result) == "table" then
    self.variables.SQLSTATE, self.variables.LAST_ERROR_SQLSTATE = result.sqlstate, result.sqlstate
    self.variables.LAST_ERROR_MESSAGE = result.message
  end
  if ok and unit.ending == "gset" then self:set_variables(unit, result) end
  if ok and unit.ending == "gexec" then self:execute_cells(c, result) end
  if skip then
    self.counts.unstable = self.counts.unstable + 1
    self.lost = not ways.status()
    return
  end
  compare.outcome(self, unit, expected, ok, result)
  self.lost = not self:is_well(c, unit, ok, result)
end

-- Whether the connection that ran the unit can go on; otherwise another one is made.
function Session:is_well(c, unit, ok, err)
  if not ways.status() then
    self.report(unit, "health", "the connection is lost")
  elseif not ok and fastpg.is(err, "connection_busy") then
    self.report(unit, "health", "the connection is busy for ever")
  elseif not ok and ways.status() == "idle" and not pcall(function() assert(c:item "select 4711" == 4711) end) then
    self.report(unit, "health", "the connection is out of step")
  else
    return true
  end
  return false
end

--- What \gset does: each column of the one row is a variable.
function Session:set_variables(unit, result)
  local row = result.rows and result.rows[1]
  for j, name in ipairs(row and result.columns or {}) do
    local value = row[j]
    self.variables[(unit.rest:match "^%S*" or "") .. name] = value ~= reference.NULL and value or nil
  end
end

--- What \gexec does: each field is a statement.
function Session:execute_cells(c, result)
  for _, row in ipairs(result.rows or {}) do
    for _, sql in ipairs(row) do
      if sql and sql ~= reference.NULL then pcall(c.execute, c, sql) end
    end
  end
end

--- Runs the units by one way.
function Server:session(units, expected, way, report)
  local counts = { statements = 0, unstable = 0, compared = 0, values = 0, ordered = 0 }
  local session = setmetatable({ server = self, units = units, expected = expected, way = way, report = report, counts = counts,
    active = true, variables = { DBNAME = DATABASE, LASTOID = "0" } }, Session)
  local i = 1
  while i <= #units do
    session:connect(session.user)
    local ok, err = pcall(function()
      session.db:acquire(function(c)
        i = run_units(session, c, i)
      end)
    end)
    if session.helper then session.helper:close() end
    session.helper, session.helper_settings, session.type_names = nil, nil, nil
    if not ok and not tostring(err):find("was left open", 1, true) then
      report(units[math.min(i, #units)], "runner", tostring(err))
      i = i + 1
    end
    session.db:close()
  end
  return counts
end

-- ---- files --------------------------------------------------------------------------------------

--- The units of a file.
function regress.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return script.read(text)
end

local function short(s)
  s = tostring(s):gsub("[%z\1-\31]", function(c) return ("\\x%02x"):format(c:byte()) end)
  return #s > 300 and s:sub(1, 300) .. "…" or s
end

local function new_counts(units)
  local counts = { units = 0, skipped = 0, differences = 0, statements = 0, unstable = 0, compared = 0, values = 0, ordered = 0 }
  for _, unit in ipairs(units) do
    if not unit.command then
      counts.units = counts.units + 1
    elseif not reference.passes(unit) then
      counts.skipped = counts.skipped + 1
    end
  end
  return counts
end

-- Reports each difference once, however many ways show it.
local function reporter(file, way, emit)
  return function(unit, what, text)
    file.counts.differences = file.counts.differences + 1
    local place, line = ("%s:%d"):format(file.name, unit and unit.line or 0), short(("%s: %s"):format(what, text))
    if file.told[place .. line] then return end
    file.told[place .. line] = true
    emit(("%s [%s] %s"):format(place, way, line))
  end
end

--- Runs files, one after the other in one database, by the ways named: a list of { name =, counts = }.
---@param paths string[]
---@param names string[]  of ways
---@param emit fun(line: string)
function Server:run(paths, names, emit)
  local files = {}
  for i, path in ipairs(paths) do
    local units = regress.read(path)
    files[i] = { name = path:match "[^/]*$", units = units, counts = new_counts(units), told = {} }
  end
  for turn = 1, 2 do
    self:fresh(self.template)
    for _, file in ipairs(files) do
      local got = self:reference(file.units)
      file.expected = turn == 1 and got or reference.merge(file.expected, got)
    end
  end
  for _, way in ipairs(names) do
    self:fresh(self.template)
    for _, file in ipairs(files) do
      local counts = self:session(file.units, file.expected, way, reporter(file, way, emit))
      for key, n in pairs(counts) do file.counts[key] = file.counts[key] + n end
    end
  end
  return files
end

-- ---- the command line -----------------------------------------------------------------------------

local function words(text)
  local out = {}
  for word in (text or ""):gmatch "%S+" do out[#out + 1] = word end
  return out
end

local function files_of(places)
  local out = {}
  for _, place in ipairs(places) do
    if place:find "%.sql$" then
      out[#out + 1] = place
    else
      local pipe = assert(io.popen(("ls -d '%s'/*.sql"):format(place:gsub("/$", ""))))
      for path in pipe:lines() do out[#out + 1] = path end
      pipe:close()
    end
  end
  return out
end

local function main()
  io.stdout:setvbuf "line"
  local files = files_of(words(os.getenv "SQL"))
  if #files == 0 then
    io.stderr:write 'make regress SQL=directory, or SQL="a.sql b.sql"\n'
    os.exit(2)
  end
  local names = words(os.getenv "WAYS")
  if #names == 0 then names = ways.names end
  local pg = fastpg.cluster{ settings = { max_connections = 60, max_prepared_transactions = 4, wal_level = "minimal",
    max_wal_senders = 0, autovacuum = "off", timezone = "PST8PDT",
    cursor_tuple_fraction = "1" } } -- a cursor's plan is that of the plain statement
  local server = regress.server(pg, os.getenv "PSQL" or "psql")
  local setup = files_of(words(os.getenv "SETUP"))
  if #setup > 0 then
    server:set_up(setup)
    server.template = "regress_template"
  end
  local sum = {}
  local header = "%-24s %9s %8s %9s %9s %8s %8s %11s"
  print(header:format("file", "units", "skipped", "compared", "unstable", "order", "values", "differences"))
  local groups, together = {}, tonumber(os.getenv "TOGETHER") or 1
  for i, path in ipairs(files) do
    if (i - 1) % together == 0 then groups[#groups + 1] = {} end
    table.insert(groups[#groups], path)
  end
  for _, group in ipairs(groups) do
    for _, file in ipairs(server:run(group, names, print)) do
      local n = file.counts
      for key, count in pairs(n) do sum[key] = (sum[key] or 0) + count end
      print(header:format(file.name, n.units, n.skipped, n.compared, n.unstable, n.ordered, n.values, n.differences))
    end
  end
  print(header:format("all", sum.units, sum.skipped, sum.compared, sum.unstable, sum.ordered, sum.values, sum.differences))
  pg:close()
  os.exit(sum.differences == 0 and 0 or 1, true)
end

if arg and arg[0] and arg[0]:find "regress%.lua$" then main() end

return regress
