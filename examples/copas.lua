-- SPDX-License-Identifier: MIT
--
-- copas.lua: a server that answers each line, a name, with what the database knows of it; and five
-- clients who ask at the same time.
--
--   PGDATABASE=test luajit examples/copas.lua

local copas = require "copas"
local fastpg = require "fastpg"
local socket = require "socket"

fastpg.set_loop "copas"
local db = fastpg.create_pool({}, { max_size = 5 })

local server = assert(socket.bind("127.0.0.1", 0))
local _, port = server:getsockname()

copas.addserver(server, function(client)
  local name = copas.receive(client)
  local row = db:q("select initcap($1) as name, length($1) as letters, pg_sleep(0.1)", name)[1]
  copas.send(client, ("%s has %d letters\n"):format(row.name, row.letters))
  client:close() -- copas closes what its thread waited for last: here, that was the database
end)

local waiting = 0
local function ask(name)
  waiting = waiting + 1
  local client = assert(socket.connect("127.0.0.1", port))
  client:settimeout(0)
  copas.send(client, name .. "\n")
  print((copas.receive(client)))
  client:close()
  waiting = waiting - 1
end

for name in ("anna bob christine dora emil"):gmatch "%a+" do copas.addthread(function() ask(name) end) end
while waiting > 0 do copas.step(1) end
server:close()
db:close()
