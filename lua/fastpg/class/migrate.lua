-- SPDX-License-Identifier: MIT
--
-- migrate: fastpg.migrate: the files of a directory, each once, in order, by one process at a time.
--
-- What ran is in a table in the schema of the connection, which is made at the first run:
--
--   fastpg_migrations (number, file, checksum, state, statements, ran_at)
--
-- A file's row is written in the transaction of the file.  A file without a transaction has its row before it begins,
-- with the state "up" (or "down") and how many of its statements ran; only its end makes that "done" (or takes the row away). So
-- whatever happens in the middle, the next run knows of it, and says how far it came.
--
-- One process at a time: a session's advisory lock, which the server releases when the session ends.  It is asked for
-- again and again rather than waited for: a statement that waits has a snapshot, and CREATE INDEX CONCURRENTLY, run by
-- who holds the lock, would wait for that.
--
-- What a file sets for the session (as the output of pg_dump does) holds in that file only, as far as the server can list it.
--
-- PostgreSQL manual: "Advisory Locks".

local error, ipairs, pcall, tostring, type = error, ipairs, pcall, tostring, type

local core = require "fastpg.core"
local current_task = require "fastpg.host.current_task"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local migration_files = require "fastpg.class.migration_files"
local options = require "fastpg.base.options"
local Route = require "fastpg.pool.route"
local session_settings = require "fastpg.class.session_settings"
local transaction = require "fastpg.pool.transaction"
local wait = require "fastpg.host.wait"

local fail = migration_files.fail
local quote_ident = core.quote_ident

local migrate = {}

local TABLE = "fastpg_migrations"
local CREATE = [[
CREATE TABLE %s (
  number integer PRIMARY KEY,
  file text NOT NULL,
  checksum text NOT NULL,
  state text NOT NULL CHECK (state IN ('done', 'up', 'down')),
  statements integer NOT NULL,
  ran_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
)]]

local OPTIONS = options.declare("fastpg.migrate", { to = options.whole(0, 2 ^ 31 - 1), dry_run = options.boolean })

-- ---- one at a time --------------------------------------------------------------------------

local LOCK = "select pg_catalog.%s(pg_catalog.hashtextextended($1, 0))"
local SHORTEST, LONGEST = 0.02, 0.5 -- seconds between two tries

local function sleep(db, seconds)
  local host, ends = wait.pick(db.config.loop), core.clock() + seconds
  repeat
    host.wait(nil, nil, math.max(ends - core.clock(), 0))
    current_task.check()
  until core.clock() >= ends
end

local function lock(db, key)
  local pause = SHORTEST
  while not db:query(fetch.item, LOCK:format "pg_try_advisory_lock", key) do
    sleep(db, pause)
    pause = math.min(pause * 1.5, LONGEST)
  end
end

-- Where that is not possible any more the session ends, or has ended, and the lock with it.
local function unlock(db, key)
  local conn = db.bound_conn
  local function release()
    conn:arm_recovery()
    conn:run(LOCK:format "pg_advisory_unlock", fetch.status, nil, key)
  end
  if not pcall(release) then conn:close() end
end

-- ---- what ran -------------------------------------------------------------------------------

local function find_table(db)
  local schema = db:query(fetch.value, "select coalesce(nullif($1::text, ''), pg_catalog.current_schema())", db.catalog.schema)
  if not schema then fail(nil, "no schema of the search_path is there, so %s has no place", TABLE) end
  return quote_ident(schema) .. "." .. TABLE
end

-- The rows by number, and the highest number.
local function read_records(db, target)
  local records, last = {}, 0
  if db:query(fetch.value, "select pg_catalog.to_regclass($1::text) is null", target) then return records, last, true end
  for _, f in ipairs(db:query(fetch.arrays, "select number, file, checksum, state, statements from " .. target)) do
    records[f[1]] = { number = f[1], file = f[2], checksum = f[3], state = f[4], statements = f[5] }
    last = math.max(last, f[1])
  end
  return records, last, false
end

local function add_checksums(db, list)
  local texts = {}
  for i, one in ipairs(list) do texts[i] = one.up.bytes end
  local sums = db:query(fetch.arrays, "select pg_catalog.encode(pg_catalog.sha256(t), 'hex') from unnest($1::bytea[])"
    .. " with ordinality u(t, place) order by place", texts)
  for i, one in ipairs(list) do one.checksum = sums[i][1] end
end

-- ---- is it the same history? ----------------------------------------------------------------

local function refuse_half_way(target, record)
  local there = ("update %s set state = 'done' where number = %d"):format(target, record.number)
  local gone = ("delete from %s where number = %d"):format(target, record.number)
  local is_over, again = there, gone
  if record.state == "down" then is_over, again = gone, there end
  fail({ file = record.file }, "%s, which runs without a transaction, stopped half-way%s: %d of its statements are known to "
    .. "have run. See what is there, and either finish it by hand and run `%s`, or undo it by hand and run `%s`, which lets it "
    .. "run again", record.file, record.state == "down" and " down" or "", record.statements, is_over, again)
end

local function check_record(target, record, one)
  if not one then
    fail({ file = record.file }, "%s ran on this database, and is not in the directory", record.file)
  end
  if record.checksum ~= one.checksum then
    fail({ file = one.up.path }, "%s was changed after it ran (as %s): what is to be different belongs into a new file",
      one.up.path, record.file)
  end
  if record.state ~= "done" then refuse_half_way(target, record) end
end

local function check_history(target, list, records, last)
  for number = 1, last do
    local record, one = records[number], list[number]
    if record then
      check_record(target, record, one)
    elseif one then
      fail({ file = one.up.path }, "%s did not run, and number %d did: it belongs behind that", one.up.path, last)
    end
  end
end

-- ---- what is to run -------------------------------------------------------------------------

local function plan_step(list, number, direction)
  local one = list[number]
  local file = migration_files.way(one, direction)
  if not file then
    fail({ file = one.up.path }, one.up.is_lua and "%s has no way down: it returns no down"
      or "%s has no way down: there is no file %s", one.up.path, (one.up.name:gsub("%.sql$", ".down.sql")))
  end
  return { number = number, name = one.name, direction = direction, file = file, migration = one }
end

-- The steps in order.  Each is looked at before the first one runs.
local function make_plan(db, list, last, to)
  local steps = {}
  to = to or #list
  if to > #list then fail(nil, "to is %d, and the last number is %d", to, #list) end
  for number = last + 1, to do steps[#steps + 1] = plan_step(list, number, "up") end
  for number = last, to + 1, -1 do steps[#steps + 1] = plan_step(list, number, "down") end
  for _, step in ipairs(steps) do
    if step.file.is_lua then
      migration_files.lua_function(step.file, step.direction)
    else
      step.statements = migration_files.statements(step.file, db:connection().standard_strings)
    end
  end
  return steps
end

-- What the user is told of a step.
local function told(step, with_statements)
  return { number = step.number, name = step.name, file = step.file.path, direction = step.direction,
    statements = with_statements and step.statements or nil }
end

-- ---- running --------------------------------------------------------------------------------

local SHOWN = 100 -- bytes of a statement in a message

local function shown(sql)
  local text = sql:gsub("%s+", " ")
  if #text > SHOWN then text = text:sub(1, SHOWN):gsub("[\192-\255]?[\128-\191]*$", "") .. "…" end
  return text
end

-- Where the server says an error is: its position counts characters.
local function line_of_error(err, sql, line)
  local position = err.position
  if not position then return line end
  local before, count = 1, 1
  for at in sql:gmatch "()[%z\1-\127\194-\244]" do
    before = at
    if count == position then break end
    count = count + 1
  end
  return line + migration_files.line_of(sql, before) - 1
end

-- What the server runs outside of transactions only.
local function advice(err, file)
  if err.sqlstate ~= "25001" or not file.in_transaction then return "" end
  return "; a file whose first line is " .. migration_files.NO_TRANSACTION .. " runs without one"
end

-- The error with its place.  What is no error object becomes one.
local function place(err, step, sql, line)
  if not errors.is_error(err) then
    local text = tostring(err)
    local names_it = text:sub(1, #step.file.path) == step.file.path
    err = errors.new("migration", "migrate: " .. (names_it and "" or step.file.path .. ": ") .. text, { cause = err })
  elseif not err.file then
    line = line and line_of_error(err, sql, line)
    err.message = line
      and ("%s:%d: %s, in the statement: %s%s"):format(step.file.path, line, err.message, shown(sql), advice(err, step.file))
      or ("%s: %s"):format(step.file.path, err.message)
    err.line = line
  end
  err.file = err.file or step.file.path
  return err
end

-- Runs one statement of a file.
local function run_statement(db, step, sql, line)
  local ok, err = pcall(db.simple, db, sql)
  if not ok then error(place(err, step, sql, line), 0) end
end

local function run_file(db, step, after_each)
  local file = step.file
  if file.is_lua then return migration_files.lua_function(file, step.direction)(db:user()) end
  local function standard() return db:connection().standard_strings end
  migration_files.each_statement(file, standard, function(sql, line)
    run_statement(db, step, sql, line)
    if after_each then after_each() end
  end)
end

local function begin_record(db, target, step, state)
  if step.direction == "down" then
    db:query(fetch.status, ("update %s set state = $2, statements = 0, ran_at = default where number = $1"):format(target),
      step.number, state)
  else
    local sql = "insert into %s (number, file, checksum, state, statements) values ($1, $2, $3, $4, $5)"
    local ran = state == "done" and #(step.statements or {}) or 0
    db:query(fetch.status, sql:format(target), step.number, step.file.name, step.migration.checksum, state, ran)
  end
end

local function end_record(db, target, step)
  local sql = step.direction == "down" and "delete from %s where number = $1"
    or "update %s set state = 'done', ran_at = default where number = $1"
  db:query(fetch.status, sql:format(target), step.number)
end

local function in_transaction(db, target, step)
  transaction.run(db, nil, function(tx)
    if step.direction == "up" then begin_record(tx, target, step, "done") end
    run_file(tx, step)
    if step.direction == "down" then end_record(tx, target, step) end
  end)
end

local function without_transaction(db, target, step)
  begin_record(db, target, step, step.direction)
  local count = ("update %s set statements = statements + 1 where number = $1"):format(target)
  run_file(db, step, function() db:query(fetch.status, count, step.number) end)
  end_record(db, target, step)
end

local function run_step(db, target, step, settings)
  local run = step.file.in_transaction and in_transaction or without_transaction
  local ok, err = pcall(run, db, target, step)
  local clean, problem = pcall(session_settings.put_back, db, settings)
  if not ok then error(place(err, step), 0) end
  if not clean then error(problem, 0) end
end

-- ---- fastpg.migrate -------------------------------------------------------------------------

local function look(db, target, list, to)
  local records, last, is_new = read_records(db, target)
  check_history(target, list, records, last)
  return make_plan(db, list, last, to), is_new
end

local function run_all(db, target, list, to)
  local steps, is_new = look(db, target, list, to)
  if is_new then db:simple(CREATE:format(target)) end
  local done, settings = {}, #steps > 0 and session_settings.read(db)
  for i, step in ipairs(steps) do
    run_step(db, target, step, settings)
    done[i] = told(step)
  end
  return done
end

local function run_locked(db, target, list, to)
  local key = "fastpg.migrate " .. target
  lock(db, key)
  local ok, result = pcall(run_all, db, target, list, to)
  unlock(db, key)
  if not ok then error(result, 0) end
  return result
end

local function check_no_transaction(db)
  local conn = db:bound_connection()
  if conn and conn.c:transaction_status() ~= "idle" then
    errors.raise("active_sql_transaction", "migrate: a transaction is open here: each file has one of its own")
  end
end

--- fastpg.migrate: runs what has not run yet of a directory of numbered .sql and .lua files.
---@param database table  a database
---@param dir string
---@param opts { to: integer?, dry_run: boolean? }?  to: the number to go up or down to (default: the last one);
--- dry_run: nothing runs, and what would run is told, with its statements
---@return { number: integer, name: string, file: string, direction: "up"|"down", statements: string[]? }[]  what ran
function migrate.migrate(database, dir, opts)
  local route = Route.of(database)
  if not route then errors.argument("migrate: a database expected, got %s", type(database)) end
  if type(dir) ~= "string" or dir == "" then errors.argument("migrate: the path of a directory expected, got %s", type(dir)) end
  opts = options.check(opts, OPTIONS, "migrate")
  route:connected()
  check_no_transaction(route)
  local list = migration_files.read((dir:gsub("(.)/+$", "%1")))
  return transaction.acquire(route, function(db)
    check_no_transaction(db)
    add_checksums(db, list)
    local target = find_table(db)
    if not opts.dry_run then return run_locked(db, target, list, opts.to) end
    local planned = {}
    for i, step in ipairs((look(db, target, list, opts.to))) do planned[i] = told(step, true) end
    return planned
  end, false, "migrate")
end

return migrate
