-- SPDX-License-Identifier: MIT
--
-- proxy_process.lua: the program that proxy.lua starts: it listens on a TCP port of 127.0.0.1, passes
-- on what it gets to a PostgreSQL server, and does what can go wrong on the way.
--
--   luajit -e "$(cat proxy_process.lua)"         orders on stdin, one line each; one line of answer
--
-- It ends with its stdin.  An order to go wrong is for all connections, there are and to come; bytes
-- are counted, for each connection and direction, from the order on.

local uv = require "luv"

local upstream -- { path = } or { host =, port = }
local listener
local port = 0
local fault = { mode = "pass" } -- { mode =, from = "server"|"client"|"both", after = bytes, … }
local links = {} -- set of open connections
local counts = { accepted = 0, open = 0, cancels = 0, faults = 0, to_server = 0, to_client = 0 }

local QUEUE = 1e6 -- bytes that wait for a slow reader, before the writer has to

-- ---- numbers that a seed repeats on every Lua -------------------------------------------------

local seed = 1

local function random(n)
  seed = (seed * 16807) % 2147483647
  return seed % n
end

-- ---- one connection ---------------------------------------------------------------------------

-- A link has two streams and two lanes: lane.from "client" carries what the client says.
local trigger, pump

local function close_stream(stream, reset)
  if not stream or stream:is_closing() then return end
  if not (reset and pcall(stream.close_reset, stream)) then stream:close() end
end

local function drop(link, reset)
  if not links[link] then return end
  links[link] = nil
  counts.open = counts.open - 1
  if link.timer then link.timer:close() end
  link.timer = nil
  close_stream(link.client, reset)
  close_stream(link.server)
end

-- Ends the connection after what was written has gone out.
local function drop_gently(link)
  link.dead = true
  local left = 0
  for _, stream in ipairs{ link.client, link.server } do
    if not stream:is_closing() and stream:shutdown(function()
      left = left - 1
      if left <= 0 then drop(link) end
    end) then left = left + 1 end
  end
  if left == 0 then drop(link) end
end

local function later(link, ms, fn)
  if link.timer then link.timer:close() end
  link.timer = uv.new_timer()
  link.timer:start(ms, 0, function()
    link.timer:close()
    link.timer = nil
    fn()
  end)
end

local function concerns(link, lane)
  local f = link.fault
  return f.mode ~= "pass" and (f.from == "both" or f.from == lane.from)
end

local function write(lane, data)
  if #data == 0 or lane.to:is_closing() then return end
  lane.bytes = lane.bytes + #data
  local name = lane.from == "client" and "to_server" or "to_client"
  counts[name] = counts[name] + #data
  lane.to:write(data, function(err)
    if err then return end
    if lane.paused and not lane.source:is_closing() then
      lane.paused = false
      lane.source:read_start(lane.reader)
    end
  end)
  if not lane.paused and lane.to:get_write_queue_size() > QUEUE then
    lane.paused = true
    lane.source:read_stop()
  end
end

local function dribble(link)
  local f = link.fault
  if link.dead or f.mode ~= "dribble" then return end
  local more = false
  for _, lane in pairs(link.lanes) do
    if concerns(link, lane) and #lane.queue > 0 then
      local n = f.chunk or 1 + random(7)
      write(lane, lane.queue:sub(1, n))
      lane.queue = lane.queue:sub(n + 1)
      more = more or #lane.queue > 0
    end
  end
  if more then later(link, f.every or 1, function() dribble(link) end) end
end

-- Passes on as much of a lane's queue as the fault lets through.
function pump(link, lane)
  if link.dead or not link.ready then return end
  local f = link.fault
  if not concerns(link, lane) then
    write(lane, lane.queue)
    lane.queue = ""
    return
  end
  if f.mode == "dribble" then
    if not link.timer then dribble(link) end
    return
  end
  local n = math.max((f.after or 0) - lane.bytes, 0)
  write(lane, lane.queue:sub(1, n))
  lane.queue = lane.queue:sub(n + 1)
  if #lane.queue > 0 or lane.bytes >= (f.after or 0) then trigger(link) end
end

local function fault_happened(link)
  if link.hit then return end
  link.hit = true
  counts.faults = counts.faults + 1
  if fault == link.fault and fault.times then
    fault.times = fault.times - 1
    if fault.times <= 0 then fault = { mode = "pass" } end
  end
end

function trigger(link)
  local f = link.fault
  fault_happened(link)
  if f.mode == "cut" then
    drop(link, f.reset)
  elseif f.mode == "truncate" then
    drop_gently(link)
  elseif f.mode == "halfopen" then -- the server is gone, and the client not told
    link.dead = true
    close_stream(link.server)
  elseif f.mode == "stall" and f.seconds and not link.timer then
    later(link, math.ceil(f.seconds * 1000), function() drop(link, f.reset) end)
  end
end

-- ---- what goes wrong by chance ----------------------------------------------------------------

local FAULTS = { "cut", "cut", "truncate", "stall", "dribble", "halfopen" }
local SIDES = { "server", "client", "both" }

-- Every connection lives for some bytes; what then happens ends in `limit` seconds.
local function random_fault(order)
  if random(100) < (order.calm or 20) then return { mode = "pass", random = true } end
  local f = { mode = FAULTS[1 + random(#FAULTS)], from = SIDES[1 + random(3)], random = true }
  f.after = random(10) == 0 and random(600) or random(order.bytes or 20000)
  f.reset = random(2) == 0
  f.seconds = (1 + random(100)) / 100 * (order.seconds or 1)
  f.every = 1
  if f.mode == "dribble" then f.chunk = 1 + random(400) end
  return f
end

local function fault_of_new_link()
  if fault.mode == "random" then return random_fault(fault) end
  return fault
end

-- ---- accepting --------------------------------------------------------------------------------

local CANCEL = "\4\210\22\46" -- 80877102, the code of a cancel request

local function begin_lane(link, from, source, to)
  local lane = { from = from, source = source, to = to, queue = "", bytes = 0 }
  link.lanes[from] = lane
  function lane.reader(err, data)
    if err or not data then
      if link.fault.mode == "stall" and concerns(link, lane) and from == "server" then return end
      if not link.dead then
        if from == "server" then drop_gently(link) else drop(link) end
      elseif from == "client" then
        drop(link)
      end
      return
    end
    if link.dead then return end
    if from == "client" and not link.greeted then
      link.greeted = true
      if data:sub(5, 8) == CANCEL then counts.cancels = counts.cancels + 1 end
    end
    lane.queue = lane.queue .. data
    pump(link, lane)
  end
  source:read_start(lane.reader)
end

local function connected(link, err)
  if err then return drop(link, true) end
  link.ready = true
  begin_lane(link, "server", link.server, link.client)
  pump(link, link.lanes.client)
end

local function connect_upstream(link)
  if upstream.path then
    link.server = uv.new_pipe(false)
    link.server:connect(upstream.path, function(err) connected(link, err) end)
  else
    link.server = uv.new_tcp()
    link.server:connect(upstream.host, upstream.port, function(err) connected(link, err) end)
  end
end

local function accept()
  local client = uv.new_tcp()
  listener:accept(client)
  client:nodelay(true)
  local link = { client = client, lanes = {}, fault = fault_of_new_link() }
  links[link] = true
  counts.accepted, counts.open = counts.accepted + 1, counts.open + 1
  if link.fault.mode == "halfopen" and (link.fault.after or 0) == 0 then
    fault_happened(link)
    link.dead = true
  else
    connect_upstream(link)
  end
  begin_lane(link, "client", client, link.server)
  if link.fault.mode == "halfopen" and link.fault.seconds then -- nobody stays half-open for ever by chance
    later(link, 1000 * math.ceil(link.fault.seconds + 1), function() drop(link) end)
  end
end

local function listen()
  if listener then return end
  listener = uv.new_tcp()
  assert(listener:bind("127.0.0.1", port))
  assert(listener:listen(128, accept))
  port = listener:getsockname().port
end

local function stop_listening()
  if listener then listener:close() end
  listener = nil
end

-- ---- orders -----------------------------------------------------------------------------------

local function apply_to(link)
  link.fault, link.hit = fault, false
  if link.timer then
    link.timer:close()
    link.timer = nil
  end
  if not link.lanes.server then return end
  for _, lane in pairs(link.lanes) do lane.bytes = 0 end
  for _, lane in pairs(link.lanes) do
    if links[link] and not link.dead then pump(link, lane) end
  end
end

local function set_fault(new)
  fault = new
  if new.mode == "refuse" then return stop_listening() end
  listen()
  if new.mode == "random" then
    seed = new.seed or 1
    return -- for connections to come
  end
  local present = {}
  for link in pairs(links) do present[#present + 1] = link end
  for _, link in ipairs(present) do apply_to(link) end
end

local orders = {}

function orders.upstream(o)
  upstream = o
  listen()
  return tostring(port)
end

-- Connections to come go there.
function orders.redirect(o)
  upstream = o
  return ""
end

function orders.fault(o)
  set_fault(o)
  return ""
end

-- Ends all connections there are, and nothing else.
function orders.cut(o)
  for link in pairs(links) do drop(link, o.reset) end
  return ""
end

function orders.counts()
  local words = {}
  for name, n in pairs(counts) do words[#words + 1] = ("%s=%d"):format(name, n) end
  return table.concat(words, " ")
end

-- "fault mode=cut after=10" -> the order's function and { mode = "cut", after = 10 }
local function read_order(line)
  local o = {}
  for key, value in line:gmatch "(%w+)=(%S+)" do
    if value == "true" then value = true end
    o[key] = tonumber(value) or value
  end
  return orders[line:match "^%w+"], o
end

local control = uv.new_pipe(false)
control:open(0)
local unread = ""
control:read_start(function(err, data)
  if err or not data then os.exit(0) end
  unread = unread .. data
  while true do
    local line, rest = unread:match "^([^\n]*)\n(.*)$"
    if not line then return end
    unread = rest
    local fn, o = read_order(line)
    local ok, answer = pcall(fn, o)
    io.stdout:write(ok and "+" or "-", (tostring(answer):gsub("\n", " ")), "\n")
    io.stdout:flush()
  end
end)

uv.run()
