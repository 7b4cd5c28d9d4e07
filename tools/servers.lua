-- SPDX-License-Identifier: MIT
--
-- servers.lua: the servers of a database, live in a terminal: what each is, how far it is behind, what changed.
--
--   lua5.4 tools/servers.lua [--every 1] [--count N] "host=a dbname=shop" "host=b" "host=c"     (the first and its replicas)
--   lua5.4 tools/servers.lua --demo            a cluster of its own, under a load, to which things happen
--
-- Where the output is no terminal each look is printed below the one before.  Ctrl-C ends it.

local fastpg = require "fastpg"

local SHOWN_CHANGES = 8
local every, count, demo, targets = 1, math.huge, false, {}

local function usage(problem)
  io.stderr:write(problem, "\nusage: tools/servers.lua [--every SECONDS] [--count N] CONNINFO [REPLICA ...] | --demo\n")
  os.exit(2)
end

do
  local i = 1
  local function number(name)
    i = i + 1
    local n = tonumber(arg[i])
    if not n or n <= 0 then usage(name .. " takes a number above 0") end
    return n
  end
  while arg[i] do
    local word = arg[i]
    if word == "--every" then every = number(word)
    elseif word == "--count" then count = number(word)
    elseif word == "--demo" then demo = true
    elseif word:sub(1, 2) == "--" then usage("unknown option " .. word)
    else targets[#targets + 1] = word end
    i = i + 1
  end
  if not demo and #targets == 0 then usage "which servers?" end
end

local is_terminal = os.execute "test -t 1"
is_terminal = is_terminal == true or is_terminal == 0
local function write(...) io.stdout:write(...) end

-- ---- what is shown --------------------------------------------------------------------------

local changes, problem, work = {}, nil, { writes = 0, reads = 0 }

local function watch(db)
  db:on("server", function(e)
    changes[#changes + 1] = ("%s  %s: %s -> %s"):format(os.date "%H:%M:%S", e.server, e.before or "unknown", e.role)
    if #changes > SHOWN_CHANGES then table.remove(changes, 1) end
  end)
end

local COLUMNS = "%-24s %-8s %-7s %8s  %-14s %8s  %s\n"

local function draw(db)
  local stats = db:stats()
  if is_terminal then write "\27[H\27[J" end
  write(("%s  failovers %d"):format(os.date "%H:%M:%S", stats.failovers))
  if demo then write(("  writes/s %d  reads/s %d"):format(work.writes / every, work.reads / every)) end
  work.writes, work.reads = 0, 0
  write("\n", COLUMNS:format("server", "role", "answers", "lag, s", "position", "timeline", "connections"))
  for _, one in ipairs(stats.servers) do
    write(COLUMNS:format(#one.name > 24 and "…" .. one.name:sub(-23) or one.name, one.role, one.answers and "yes" or "no",
      one.lag and ("%.2f"):format(one.lag) or "", one.position or "", one.timeline and ("%d"):format(one.timeline) or "",
      ("%d, %d in use"):format(one.size, one.in_use)))
  end
  for _, change in ipairs(changes) do write(change, "\n") end
  if not is_terminal then changes = {} end
  if problem then write("no primary answers: ", problem, "\n") end
  write(is_terminal and "" or "\n")
  io.stdout:flush()
end

-- Asks all of them what they are: a read looks at the standbys, a ping at the primary.
local function look(db)
  pcall(db.read, db, function() end)
  local ok, err = pcall(db.ping, db)
  problem = not ok and (type(err) == "table" and err.message or tostring(err)) or nil
end

local function show(db)
  local shown = 0
  while true do
    look(db)
    draw(db)
    shown = shown + 1
    if shown >= count then return end
    fastpg.sleep(every)
  end
end

-- ---- the demo -------------------------------------------------------------------------------

local function play(pg)
  local events = {
    { "standby 1 stands still", function() pg:pause_replay(1) end },
    { "standby 1 goes on", function() pg:resume_replay(1) end },
    { "the network of standby 2 is gone", function() pg:partition(2) end },
    { "it is there again", function() pg:heal(2) end },
    { "another primary is promoted", function() pg:promote() end },
    { "the one before comes back as a standby", function() pg:start() end },
    { "the primary crashes", function() pg:crash() end },
    { "a standby is promoted", function() pg:promote() end },
    { "the crashed one comes back", function() pg:start() end },
  }
  for _, event in ipairs(events) do
    fastpg.sleep(5 * every)
    changes[#changes + 1] = ("%s  * %s"):format(os.date "%H:%M:%S", event[1])
    event[2]()
  end
  fastpg.sleep(5 * every)
end

local function run_demo()
  local pg = fastpg.cluster{ standbys = 2, synchronous = true }
  local db = pg:create_pool({ replicas = true, reads = "replica" }, { max_size = 4 })
  db:execute "create table entry (n int)"
  watch(db)
  local over = false
  local function working(kind, fn)
    return function()
      while not over do
        if pcall(fn) then work[kind] = work[kind] + 1 else fastpg.sleep(0.05) end
        fastpg.sleep(0.002)
      end
    end
  end
  local function showing()
    while not over do
      draw(db)
      fastpg.sleep(every)
    end
  end
  local function playing()
    local ok, err = pcall(play, pg)
    over = true
    if not ok then error(err, 0) end
  end
  fastpg.run(showing, playing, working("writes", function() db:execute "insert into entry values (1)" end),
    working("reads", function() db.t.entry:limit(1):count() end))
  db:close()
  pg:close()
end

-- ---- running --------------------------------------------------------------------------------

local function run()
  if demo then return run_demo() end
  local first = table.remove(targets, 1)
  local replicas = #targets > 0 and targets or nil
  local db = fastpg.create_pool(first, { replicas = replicas, failover_timeout = every, max_size = 2 })
  watch(db)
  show(db)
  db:close()
end

if is_terminal then write "\27[?25l" end -- no cursor meanwhile
local ok, err = pcall(run)
if is_terminal then write "\27[?25h" end
io.stdout:flush()
if ok then return end
if tostring(err):find("interrupted", 1, true) then os.exit(130) end
io.stderr:write(tostring(err), "\n")
os.exit(1)
