-- SPDX-License-Identifier: MIT
--
-- server.lua: `make server`: a private server with the record shop of examples/music.sql, until Ctrl-C.

local fastpg = require "fastpg"

local pg = fastpg.cluster()
local db = pg:connect()
local here = arg[0]:match "^(.-)tools/server%.lua$"
local file = assert(io.open(here .. "examples/music.sql"))
db:execute(file:read "*a")
file:close()
db:close()

print("A PostgreSQL server of your own, with the record shop of examples/music.sql in it:\n")
print("  psql '" .. pg.uri .. "'")
print("  lua:  db = require('fastpg').connect '" .. pg.uri .. "'\n")
print("Ctrl-C stops it and removes it.")
io.stdout:flush()
while true do fastpg.sleep(3600) end
