-- SPDX-License-Identifier: MIT
--
-- pooler_table: what works behind which pooler, tried out: the table of doc/manual.md.
--
--   lua5.4 tools/pooler_table.lua            prints it
--   lua5.4 tools/pooler_table.lua --write    puts it into the manual
--
-- spec/pooler_table_spec.lua compares it with what the manual has.  A case gives its answer, which must be the one that is
-- written beside it: a wrong one ends the script, since nothing may be wrong in silence.

local fastpg = require "fastpg"
local Pooler = require "spec.support.pooler"

local pooler_table = {}

local PAGE = "doc/manual.md"
local BEGIN, END = "<!-- made by tools/pooler_table.lua -->\n", "<!-- end -->\n"

-- What is tried on a database; `other` is another one of the same kind, whose transactions take servers away.
local CASES = {
  { "queries, Tables, `executemany`, `pipeline`, COPY", function(db)
    db.t.pooled:insert{ id = 1, body = "a" }
    db:executemany("insert into pooled values ($1, $2)", { { 2, "b" }, { 3, "c" } })
    db:copy_from("copy pooled from stdin", "4\td\n")
    local got = db:pipeline(function(p)
      p:item "select count(*) from pooled"
      p:item("select body from pooled where id = $1", 4)
    end)
    local body = db.t.pooled[3].body
    db:execute "delete from pooled"
    return got[1] .. got[2] .. body
  end, "4dc" },
  { "`db:each`, types that are looked up, `db:prepare`", function(db)
    local n = 0
    for row in db:each "select generate_series(1, 300) as i, 'happy'::mood as m" do n = n + row.i + #row.m end
    return n + db:prepare "select $1::int":item(1)
  end, 46651 },
  { "transactions, savepoints, `settings =`, `SET LOCAL`", function(db)
    return db:transaction({ settings = { work_mem = "7MB" } }, function(tx)
      pcall(tx.transaction, tx, function(inner) inner:execute "select 1 / 0" end)
      tx:execute "set local statement_timeout = '5s'"
      return tx:item "select current_setting('work_mem') || current_setting('statement_timeout')"
    end)
  end, "7MB5s" },
  { "limits of time and canceling (`db:timeout`, `task:cancel()`)", function(db)
    local _, err = fastpg.try(db.timeout, db, 0.1, function() return db:item "select pg_sleep(20)" end)
    return err.name .. db:item "select 1"
  end, "timeout1" },
  { "a statement of a transaction that ran before, while others are busy", function(db, other)
    local function ask() return db:transaction(function(tx) return tx:item("select $1::int + 40", 2) end) end
    ask()
    return other:transaction(ask)
  end, 42 },
  { "`db:advisory_lock` in a transaction, `pg_advisory_xact_lock`", function(db)
    return db:transaction(function(tx) return tx:advisory_lock("a", function(held) return held:item "select 1" end) end)
  end, 1 },
  { "`db:advisory_lock` outside, `fastpg.migrate`", function(db, other)
    return db:advisory_lock("a", function()
      return other:transaction(function(tx)
        return tx:item "select pg_try_advisory_xact_lock(hashtextextended('a', 0))"
      end)
    end)
  end, false },
  { "`db:listen`, `db:notifications`", function(db)
    local got = nil
    db:listen("ch", function(n) got = n.payload end)
    db:notify("ch", "hello")
    if not got then db:poll(5) end
    db:unlisten "ch"
    return got
  end, "hello" },
  { "`db:acquire`", function(db)
    return db:acquire(function(conn)
      conn:execute "set work_mem = '9MB'"
      return conn:item "show work_mem", conn:execute "reset work_mem"
    end)
  end, "9MB" },
  { "`SET`, `RESET`, `set_config(…, false)` by SQL, in a transaction too", function(db)
    return db:execute "set work_mem = '9MB'" .. db:execute "reset work_mem"
  end, "SETRESET" },
  { "`PREPARE`, `EXECUTE`, `DEALLOCATE` by SQL", function(db)
    db:execute "prepare mine as select 5"
    return db:item "execute mine", db:execute "deallocate mine"
  end, 5 },
  { "temporary tables with `ON COMMIT DROP`, in a transaction", function(db)
    return db:transaction(function(tx)
      tx:execute "create temp table passing on commit drop as select 6 as n"
      return tx:item "select n from passing"
    end)
  end, 6 },
  { "other temporary tables", function(db)
    db:execute "create temp table mine as select 6 as n"
    return db:item "select n from mine", db:execute "drop table mine"
  end, 6 },
  { "`DECLARE … WITH HOLD`", function(db)
    db:execute "declare held cursor with hold for select 8 as n"
    return db:item "fetch held", db:execute "close held"
  end, 8 },
  { "`LISTEN`, `pg_advisory_lock` by SQL", function(db)
    db:execute "listen ch"
    db:execute "unlisten ch"
    return db:item "select 1 from pg_advisory_lock(9)", db:execute "select pg_advisory_unlock(9)"
  end, 1 },
  { "`lastval()`, `currval` outside of a transaction", function(db)
    local drawn = db:item "select nextval('pooled_seq')"
    return db:item "select lastval()" == drawn
  end, true },
  { "`db.pid`", function(db) return db.pid == db:item "select pg_backend_pid()" end, true },
}

local WAYS = {
  { "no pooler", nil, {} },
  { '`"session"`, PgBouncer in session mode', "session", { pooler = "session" } },
  { '`"none"`, transaction mode', "transaction", {} },
  { '`"transaction"`', "transaction", { pooler = "transaction" } },
  { '`"transaction"` and `direct`', "transaction", { pooler = "transaction", direct = true } },
}

local function with(params, more)
  local all = {}
  for name, value in pairs(params) do all[name] = value end
  for name, value in pairs(more) do all[name] = value end
  return all
end

local function try(case, db, other)
  local label, fn, wanted = case[1], case[2], case[3]
  local ok, got = pcall(fn, db, other)
  if ok and got ~= wanted then error(("%s: gave %s instead of %s"):format(label, tostring(got), tostring(wanted)), 0) end
  if ok then return "yes" end
  if not fastpg.is(got, "0A000") and not fastpg.is(got, "26000") then error(("%s: %s"):format(label, tostring(got)), 0) end
  if not (tostring(got) .. tostring(got.hint)):find 'pooler = "transaction"' then
    error(("%s: the error names no way out: %s"):format(label, tostring(got)), 0)
  end
  return "error"
end

-- The column of one way.
local function column(way, conninfo)
  local options = with(way[3], {})
  if options.direct then options.direct = conninfo end
  local pooler = way[2] and Pooler.start(conninfo, { pool_mode = way[2], default_pool_size = 6 })
  local target = with(pooler and pooler:conninfo() or conninfo, options)
  local cells = {}
  local ok, err = pcall(function()
    for i, case in ipairs(CASES) do
      local db, other = fastpg.connect(target), fastpg.connect(target)
      cells[i] = try(case, db, other)
      db:close()
      other:close()
    end
  end)
  if pooler then pooler:close() end
  if not ok then error(("%s: %s"):format(way[1], tostring(err)), 0) end
  return cells
end

--- The table's lines.
---@param conninfo table  of a server
---@return string
function pooler_table.make(conninfo)
  local admin = fastpg.connect(conninfo)
  admin:execute [[drop table if exists pooled; create table pooled (id int primary key, body text);
    drop type if exists mood; create type mood as enum ('happy'); drop sequence if exists pooled_seq; create sequence pooled_seq]]
  admin:close()
  local head, line, columns = { "| `pooler =` " }, { "| --- " }, {}
  for i, way in ipairs(WAYS) do
    head[#head + 1], line[#line + 1] = "| " .. way[1] .. " ", "| --- "
    columns[i] = column(way, conninfo)
  end
  local lines = { table.concat(head) .. "|", table.concat(line) .. "|" }
  for i, case in ipairs(CASES) do
    local cells = { "| " .. case[1] .. " " }
    for j in ipairs(WAYS) do cells[#cells + 1] = "| " .. columns[j][i] .. " " end
    lines[#lines + 1] = table.concat(cells) .. "|"
  end
  return table.concat(lines, "\n") .. "\n"
end

local function read()
  local f = assert(io.open(PAGE, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function place(text)
  local _, first = text:find(BEGIN, 1, true)
  local last = first and text:find(END, first, true)
  if not last then error(PAGE .. " has no place for the table of poolers", 0) end
  return first, last
end

--- What the manual has.
---@return string
function pooler_table.written()
  local text = read()
  local first, last = place(text)
  return text:sub(first + 1, last - 1)
end

if arg and arg[0] and arg[0]:find "pooler_table%.lua$" then
  local pg = fastpg.cluster()
  local made = pooler_table.make(pg.conninfo)
  pg:close()
  io.write(made)
  if arg[1] == "--write" then
    local text = read()
    local first, last = place(text)
    local f = assert(io.open(PAGE, "wb"))
    f:write(text:sub(1, first), made, text:sub(last))
    f:close()
  end
end

return pooler_table
