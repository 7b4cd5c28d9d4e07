-- SPDX-License-Identifier: MIT
--
-- connection: one connection and the loop that drives the C core's steps over a waiter.  Its prepared
-- statements are in fastpg.pg.prepared, what becomes of one that takes too long in fastpg.pg.deadlines.
--
-- This is the only file that calls `step`.  Everything above says what to send and how to fetch;
-- everything below (the waiter) knows a file descriptor and nothing of SQL.

local error, pcall, select, setmetatable = error, pcall, select, setmetatable

local changes = require "fastpg.sql.changes"
local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local deadlines = require "fastpg.pg.deadlines"
local descriptions = require "fastpg.pg.descriptions"
local errors = require "fastpg.base.errors"
local later = require "fastpg.base.later"
local look_up = require "fastpg.pg.look_up"
local opening = require "fastpg.pg.opening"
local prepared = require "fastpg.pg.prepared"
local row_description = require "fastpg.pg.row_description"
local search_path = require "fastpg.pg.search_path"
local session = require "fastpg.pg.session"
local transaction_control = require "fastpg.pg.transaction_control"
local unreported = require "fastpg.pg.unreported"
local value_types = require "fastpg.pg.value_types"

local batch = later.module(function() return require "fastpg.pg.batch" end)

local pack, unpack = compat.pack, compat.unpack

local Connection = {}
Connection.__index = Connection
deadlines.extend(Connection)
descriptions.extend(Connection)
look_up.extend(Connection)
prepared.extend(Connection)
row_description.extend(Connection)
session.extend(Connection)
search_path.extend(Connection)
unreported.extend(Connection)
value_types.extend(Connection)
later.methods(Connection, function() return require "fastpg.pg.results" end, "parts")

-- What core.conn:outcome reports of a statement beside its error (csrc/pg/conn.h, FPG_EVENT_*).
local EVENT_DDL, EVENT_DISCARD, EVENT_ROLLBACK, EVENT_SET = 1, 2, 4, 8
local EVENT_COMMIT, EVENT_UNLISTEN, EVENT_REPORT, EVENT_RIGHTS, EVENT_ALONE = 16, 32, 64, 128, 256

-- ---- opening --------------------------------------------------------------------------------

--- Opens a connection; raises "connection" or "timeout".
---@param config { params: table, connect_timeout: number?, statement_cache_size: integer }
---@param wait fun(fd: integer, mode: string, timeout: number?): string?
---@param deadline number?  of the statement that needs it, beside connect_timeout's
---@param place table?  its `c` is the core's connection as soon as there is one
function Connection.open(config, wait, deadline, place)
  local c, limit = opening.open(config, wait, deadline, Connection.check_canceled, place)
  local self = setmetatable({
    c = c,
    fd = c:fd(),
    wait = wait,
    statements = {}, -- SQL text -> prepared statement, those of the session as it is
    caches = {}, -- all of them: what the session is -> such a table (fastpg.pg.session)
    session = "", -- what it is
    key = "", -- what names mean to it (fastpg.pg.search_path)
    path = "",
    path_known = true,
    unreported = "", -- what else texts mean to it (fastpg.pg.unreported)
    unreported_set = {},
    role_known = true,
    role_base = "",
    described = nil, -- texts without a name (fastpg.pg.descriptions)
    own = nil, -- names that mean something to it alone
    own_home = nil,
    pending = nil, -- what the open transaction changed (fastpg.sql.changes)
    places = {}, -- the same by their places (csrc/pg/recent.h): { sql =, st =, session = }
    count = 0, -- how many statements
    counts = { misses = 0, prepared = 0, evicted = 0 }, -- (Connection:add_counts)
    prefix = "fastpg_" .. core.random_text() .. "_", -- of their names: unlike any other connection's (see fastpg.pg.prepared)
    serial = 0, -- for the rest of their names
    cache_size = config.statement_cache_size,
    pooler = config.pooler, -- what the user says that stands before the server
    in_person = false, -- nobody stands before the server
    doubted = false, -- it did not take a write (fastpg.pool.servers)
    sharing = nil, -- "declared", "noticed": its session may be another's at the next transaction (fastpg.pg.session_use)
    pid = nil, -- of the server's process, where that is one for all of its time
    duplicates = config.duplicates, -- "last": of two columns of one name the last has its value in a row
    doubled = nil, -- else: the statements that have such columns
    dead = {}, -- names of statements that are forgotten here and still on the server
    deadline = limit, -- of the statement under way
    deadline_of = deadlines.none, -- gives the next one's: the database's business
    pick = function() return { wait = wait } end, -- gives its host, likewise
    overdue = limit, -- when the time was over, while the server is asked to stop (here: it won't be)
    patience = limit, -- until when it may take to answer that; `deadline` is then when it is asked again
    canceling = nil, -- the job that asks it
    lease = 0, -- counts each giving back, so that those who held it know that it is not theirs any more
    discarded = false, -- by its pool
    eventful = true, -- something happened since it was last found to be as others expect it (fastpg.pool.pool)
    in_transaction = false, -- one that fastpg opened
    one_snapshot = false, -- and all of whose statements see what the first one saw
    held = nil, -- the rows that it has claimed (fastpg.pg.claimed_rows)
  }, Connection)
  self.caches[""] = self.statements
  local ok, err = pcall(self.set_session, self)
  if not ok then
    c:close()
    error(errors.annotate(err), 0)
  end
  self.deadline, self.overdue, self.patience = deadline, nil, nil
  return self
end

-- ---- driving --------------------------------------------------------------------------------

--- Steps until a result is ready, a Sync was reached ("sync") or nothing is outstanding.
function Connection:drive()
  local c = self.c
  local want = c:step()
  while want ~= true and want ~= "sync" do
    self:await(want)
    want = c:step()
  end
  if self.canceling then self:end_cancel() end
  return want
end

--- Reads and drops whatever is still to come, so that the next statement starts clean.
function Connection:settle()
  local c = self.c
  if not c:usable() then return end
  c:send_sync()
  while c:busy() do self:drive() end
  if self.canceling then self:end_cancel() end
end

-- What a statement did to the session: the error that this is, or nil.
-- What is canceled while its commit waits for a synchronous standby is committed, but on its own server only: the server
-- calls that a success with a warning, and it may be lost with that server.
local function committed_alone()
  return errors.new("query_canceled", "the commit was not waited for until a standby had it: it is lost if its server is",
    { sqlstate = "57014", commit_unknown = true })
end

local function note_events(self, events, sql, failed)
  local wrong = nil
  local rolled_back = events % 8 >= EVENT_ROLLBACK
  local idle = self.c:transaction_status() == "idle"
  if events % 2 >= EVENT_DDL then self:note_ddl(changes.of(self, sql, sql and core.statements(sql, self.standard_strings))) end
  if events % 4 >= EVENT_DISCARD then self:forget_all(false) end
  if not idle and (rolled_back or events % 32 >= EVENT_COMMIT) then -- to a savepoint, or AND CHAIN
    if self.pending then self:announce(self.pending) end
    if self.role_outside ~= nil then self:doubt_role() end
    self:note_path_undone()
    self:note_unreported_undone()
  end
  if events % 16 >= EVENT_SET and sql then
    self:note_role(sql)
    self:note_path(sql, failed)
    self:note_unreported(sql, failed)
  end
  if events % 128 >= EVENT_REPORT then wrong = self:note_reports() end
  if events % 256 >= EVENT_RIGHTS then self:note_rights(sql) end
  if self.in_transaction and (idle or events % 32 >= EVENT_COMMIT) then wrong = self:ended_inside() end
  local within_do = events % 16 >= EVENT_SET and sql and sql:lower():find("unlisten", 1, true)
  if (within_do or events % 64 >= EVENT_UNLISTEN) and self.on_unlisten then self.on_unlisten() end
  if idle then self:end_transaction(rolled_back, rolled_back and events % 32 >= EVENT_COMMIT) end
  if events >= EVENT_ALONE then wrong = wrong or committed_alone() end
  return wrong
end

--- No transaction is open any more: what was for its time is as before, and what it changed is so for everybody.
---@param unclear boolean?  nobody knows how it ended
function Connection:end_transaction(rolled_back, unclear)
  local change = self:end_own(rolled_back and not unclear)
  if change then self:announce(change) end
  if unclear and self.path_outside ~= nil then self.path_touched = true end
  if unclear and self.role_outside ~= nil then self.role_touched = true end
  if self.role_outside ~= nil then self:end_role(rolled_back) end
  self:end_path(rolled_back)
  self:end_unreported()
end

-- Whether the end of the transaction that was open changes what is known.
function Connection:has_pending()
  return self.pending or self.path_outside ~= nil or self.path_touched or self.role_outside ~= nil or self.role_touched
    or self.unreported_outside or self.unreported_touched
end

--- The error of a finished operation, after what it tells of the session was noted; and what reads the result: the
--- statement, or where that describes another one, what the result says of itself.
---@param st userdata?
---@param sql string?  its text, where one is known
function Connection:outcome(st, sql)
  local err, events, differs = self.c:outcome(st)
  self.eventful = true
  if self.path_setters and st and self.path_setters[st] then self:note_path(sql or "execute", err ~= nil) end
  if events then
    local wrong = note_events(self, events, sql, err ~= nil)
    err = err or wrong
  end
  if err and self:has_pending() and self.c:usable() and self.c:transaction_status() == "idle" then
    self:end_transaction(true) -- a COMMIT that failed
  end
  if err then
    self:explain(err)
    if err.name == "connection" then self:doubt_commit(err, sql) end
    if err.sqlstate == "25006" then self.doubted = true end
  end
  if self.overdue then err = self:late_outcome(err) end
  if differs and not err then st = self:redescribe(st) end
  return err, st
end

-- Whether a text may end the transaction that it runs in, for good.
local function may_commit(self, sql)
  return sql ~= nil and not self.in_transaction and transaction_control.is_control(self, sql)
end

--- Nobody will hear how what is under way ended.  Outside a transaction it may be committed all the same, or rolled back,
--- and so may what a COMMIT was to end: the error says so, in its field commit_unknown.
---@param err table
---@param sql string?
---@return table err
function Connection:doubt_commit(err, sql)
  if self.c:commits_itself() or may_commit(self, sql) then err.commit_unknown = true end
  return err
end

-- The transaction that fastpg opened was ended by what a statement did, past fastpg.pg.transaction_control: what is left of it is
-- worth nothing, and nothing more may run as if it were open.
function Connection:ended_inside()
  self.in_transaction = false
  self.c:close()
  return errors.new("invalid_transaction_termination",
    "the transaction was ended inside by a statement: the connection was closed", { sqlstate = "2D000" })
end

-- Rights were given or taken: a plan may have been made by those there were, and of a schema those that may use it
-- decide what a name means.
function Connection:note_rights(sql)
  self:note_ddl(changes.of_rights(sql and core.statements(sql, self.standard_strings)))
end

-- The schema changed: what is remembered of it here, and what it concerns of what is remembered by all.
function Connection:note_ddl(change)
  self:note_own(change)
  self:announce(change)
end

--- Lets all that remembers something forget what a change concerns.
---@param change table  (fastpg.sql.changes)
function Connection:announce(change)
  if change.temps and not change.all then self:forget_mentions(change.temps) end
  if self.on_ddl then self.on_ddl(change, self) elseif change.all or change.plans then self:forget_all(true) end
end

-- ---- running --------------------------------------------------------------------------------

local function end_retry(self, ok, ...)
  self.retrying = nil
  if not ok then error((...), 0) end
  return ...
end

-- Once more, and not a third time.
local function retry(self, method, ...)
  self.retrying = true
  return end_retry(self, pcall(method, self, ...))
end

--- Sends a statement.  An argument that can't be encoded must not leave the unnamed statement's
--- pipeline open.
---@param method "send_query"|"send_list"
function Connection:send(method, st, ...)
  local c = self.c
  if st ~= self.unnamed then return c[method](c, st, ...) end
  self.unnamed = nil
  local ok, err = pcall(c[method], c, st, ...)
  if not ok then
    self:settle()
    error(err, 0)
  end
end

-- ---- results that come as text --------------------------------------------------------------

-- What text means depends on settings that may not be known: a batch of one asks for them beside the statement.
local function run_textual(self, sql, st, fetch, target, list, n)
  if st == self.unnamed then -- its pipeline is open: the batch makes it again
    self.unnamed = nil
    self:settle()
  end
  local results
  local ok, err = pcall(batch.run, self, function(prepare) return prepare(sql, list, n) end,
    function(add, made) add(made, list, n) end,
    function(conn, reader) results = pack(conn:fetch(reader, fetch, target)) end, true)
  if not ok then error(errors.annotate(err, sql), 0) end
  return unpack(results, 1, results.n)
end

-- ---- one statement --------------------------------------------------------------------------

-- Waits for the answer of what the core has begun: nil where it is there and holds nothing to look at, else true.
local function follow(self, st, want)
  local c = self.c
  while want and want ~= true do
    self:await(want)
    want = c:answer(st)
  end
  if self.canceling then self:end_cancel() end
  return want or self.overdue and true or nil
end

-- A text without a name whose statement is known from before: in one round trip.
local function run_known(self, known, sql, fetch, target, list, n)
  local st, c = known.st, self.c
  if self.doubled then self:check_duplicates(st, fetch) end
  if self.textual and self.textual[st] then return run_textual(self, sql, st, fetch, target, list, n) end
  if not pcall(c.send_known, c, st, sql, known.oids, list, n) then -- as of new, whose types may be others by now
    self:settle()
    local err = self:outcome()
    if err and c:transaction_status() ~= "idle" then error(errors.annotate(err, sql), 0) end
    self:forget_description(st)
    return self.run_list(self, sql, fetch, target, list, n)
  end
  self:drive()
  return self:finish(st, self.run_list, sql, fetch, target, list, n)
end

-- What is known of a text for these arguments, where its types do not depend on them.
local function known_for(self, sql, list, n)
  local known = not self:goes_by_values(sql) and self:description(sql)
  return known and not known.st:misfit(list, n) and known or nil
end

--- Runs one statement with these arguments and fetches its result.
---@param fetch fun(conn: table, st: userdata, target: any): ...
function Connection:run(sql, fetch, target, ...)
  local st, more = self.statements[sql], false
  if st then more = self.c:ask(st, ...) end
  if more then more = follow(self, st, more) end
  if more == nil then return fetch(self, st, target) end
  if more then return self:finish(st, self.run, sql, fetch, target, ...) end
  if self.described then
    local list, n = { ... }, select("#", ...)
    local known = known_for(self, sql, list, n)
    if known then return run_known(self, known, sql, fetch, target, list, n) end
  end
  if select("#", ...) > 0 then st = self:statement_for(sql, { ... }, select("#", ...)) else st = self:statement(sql) end
  if self.doubled then self:check_duplicates(st, fetch) end
  if self.textual and self.textual[st] then
    return run_textual(self, sql, st, fetch, target, { ... }, select("#", ...))
  end
  self:send("send_query", st, ...)
  self:drive()
  return self:finish(st, self.run, sql, fetch, target, ...)
end

--- What becomes of a statement that is answered: its rows, once more, or an error.
---@param method function  run or run_list, with its arguments behind it
function Connection:finish(st, method, sql, fetch, target, ...)
  local err, reader = self:outcome(st, sql)
  if not err then return self:fetch(reader, fetch, target) end
  if self:may_retry(err, st) then return retry(self, method, sql, fetch, target, ...) end
  error(errors.annotate(err, sql), 0)
end

--- Drives what was sent to its end; raises what went wrong; what reads the result of a statement.
function Connection:complete(sql, st)
  self:drive()
  local err, reader = self:outcome(st, sql)
  if err then error(errors.annotate(err, sql), 0) end
  return reader
end

-- A description of more parameters than these is over 30,000 bytes, which a libpq older than 15.20 takes
-- for a broken protocol.
Connection.most_described = core.libpq_version() >= 150020 and core.libpq_version() < 160000 and 65535 or 7498

-- Without a description: every argument goes as text, and the server finds the types.
local function run_undescribed_now(self, sql, fetch, target, list, n)
  local c, digits = self.c, self:begin_digits()
  local style = c:parameter "DateStyle"
  c:send_undescribed(sql, list, n)
  self:complete(sql)
  if digits then
    c:keep()
    self:end_digits(digits)
    c:unhold()
  end
  c:text_style(style, c:parameter "DateStyle", false)
  return self:fetch(self:redescribe(), fetch, target)
end

-- What is asked and set before belongs to its transaction.
local function run_undescribed(self, ...)
  if self.pooler ~= "transaction" or self.c:transaction_status() ~= "idle" then return run_undescribed_now(self, ...) end
  self:command "BEGIN"
  local results = pack(pcall(run_undescribed_now, self, ...))
  if self.c:usable() then self:command(results[1] and "COMMIT" or "ROLLBACK") end
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end

--- The same with the arguments in a list.
function Connection:run_list(sql, fetch, target, list, n)
  local st, more = self.statements[sql], false
  if st then more = self.c:ask_list(st, list, n) end
  if more then more = follow(self, st, more) end
  if more == nil then return fetch(self, st, target) end
  if more then return self:finish(st, self.run_list, sql, fetch, target, list, n) end
  if n > Connection.most_described then return run_undescribed(self, sql, fetch, target, list, n) end
  local known = self.described and known_for(self, sql, list, n)
  if known then return run_known(self, known, sql, fetch, target, list, n) end
  st = self:statement_for(sql, list, n)
  if self.doubled then self:check_duplicates(st, fetch) end
  if self.textual and self.textual[st] then return run_textual(self, sql, st, fetch, target, list, n) end
  self:send("send_list", st, list, n)
  self:drive()
  return self:finish(st, self.run_list, sql, fetch, target, list, n)
end

--- A look-up of fastpg's own (fastpg.pg.look_up), likewise: no hook is told of it (fastpg.pool.watch).
function Connection:look_up(sql, fetch, target, list, n)
  local st = self.statements[look_up.key(sql)]
  if not st then return self:look_up_first(sql, fetch, target, list, n) end
  local more = self.c:ask_list(st, list, n)
  if more then more = follow(self, st, more) end
  if more == nil then return fetch(self, st, target) end
  return self:finish(st, self.look_up, sql, fetch, target, list, n)
end

--- Runs a statement that will not come again: unnamed, outside the cache.
function Connection:run_once(sql, fetch, target, list, n)
  local st = self:statement_for(sql, list, n, self.unnamed_statement)
  if self.doubled then self:check_duplicates(st, fetch) end
  if self.textual and self.textual[st] then return run_textual(self, sql, st, fetch, target, list, n) end
  self:send("send_list", st, list, n)
  return self:fetch(self:complete(sql, st), fetch, target)
end

--- Runs SQL text without arguments, several statements allowed: the last command tag.
function Connection:simple(sql)
  self.c:send_simple(sql)
  self:complete(sql)
  local status = self.c:fetch_status()
  self:note_path(sql)
  return status
end

--- Runs a command of fastpg's own that sets nothing, as BEGIN and COMMIT, or one of the user's that was looked at
--- (fastpg.pg.command).
---@param of_user string?  the text, where it is the user's: for its error, and for what it did after all
---@return string  the command tag
function Connection:command(sql, of_user)
  local c = self.c
  local more = c:command(sql)
  if more then more = follow(self, nil, more) end
  if more then
    local err = self:outcome(nil, of_user)
    if err then error(errors.annotate(err, sql), 0) end
  end
  return (c:fetch_status())
end

-- Rows that are there already cost less than a request to cancel: whether these were all.
local AT_HAND = 1000
local function drop_what_is_there(c)
  for _ = 1, AT_HAND do
    local want = c:step()
    if want ~= true and want ~= "sync" then return false end
    if not c:busy() then return true end
  end
  return false
end

--- Ends what is under way: rows still to come are of no use to anybody.
function Connection:clear()
  local c = self.c
  self.abandoned = nil
  if c:busy() then
    local deadline = self.deadline
    if not drop_what_is_there(c) then self:cancel() end
    self:settle()
    if self.interrupted then self.put_cancel_back() end -- not what is cleared away was meant
    self.interrupted = nil
    self:outcome()
    self.deadline, self.overdue = deadline, nil
  elseif self.canceling then
    self:end_cancel()
  end
end

local function clean(self)
  self:clear()
  if self.c:transaction_status() ~= "idle" then self:simple("ROLLBACK") end
end

--- Brings the connection back to a known state: nothing under way, no transaction.
---@return boolean  false: it can't be, close it
function Connection:reset()
  local c = self.c
  self.in_transaction, self.held = false, nil
  self:arm_recovery()
  local ok = c:usable() and pcall(clean, self)
  self.deadline, self.overdue = nil, nil
  return ok and self:is_clean()
end

--- Whether statements left something behind that the next user must not find.
function Connection:is_clean()
  return self.c:idle() and not self.canceling
end

--- Its server is not what it was any more: whoever waits for an answer is told that the connection is lost, and so is who
--- has it and comes next.
---@param why string
function Connection:lose(why)
  self.lost = why
  if self.waiter then return self:close() end
  self.c:sever() -- who has it may be anywhere in the middle of it, and is to find it lost, not closed
end

-- Its socket is not closed under a coroutine that waits for it: a host would never tell that one, and
-- nginx must not be left with it.
function Connection:close()
  local co = self.waiter
  if co and self.request and self.host.is_lost(self.fd, self.request) then co = nil end -- its status can't be asked
  if co and self.wake and co ~= coroutine.running() and coroutine.status(co) ~= "dead" then
    self.doomed = true
    self.wake(co)
    return
  end
  self.c:close()
end

-- Lua 5.4 closes it with the coroutine that had it in use.
Connection.__close = function(self)
  if self.pool then self.pool:abandon(self) end
end

--- What a pool that was told so does before another user gets the connection.
---@param how true|string  true: DISCARD ALL; or SQL of one's own
---@return boolean  false: it can't be done, close it
function Connection:reset_session(how)
  if self.pooler == "transaction" then return self:is_clean() end -- nothing of it is ours
  self:arm_recovery()
  local ok = pcall(function()
    self:simple(how == true and "DISCARD ALL" or how)
    self:set_session()
  end)
  self.deadline, self.overdue = nil, nil
  return ok and self.c:idle()
end

return Connection
