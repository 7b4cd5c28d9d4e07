-- SPDX-License-Identifier: MIT
--
-- pgmoon_peer.lua: the cases in pgmoon over LuaSocket, where PGMOON names the directory that has pgmoon/init.lua.
--
--   lua5.4 bench/peers/pgmoon_peer.lua URI CASES [name=count ...]        see peer.lua
--
-- It comes by TCP, as LuaSocket's sockets do: BENCH_TCP is "port user password".

local here = os.getenv "PGMOON"
package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(here, here, package.path)

local socket = require "socket"
local pgmoon = require "pgmoon"

local peer = dofile "bench/peers/peer.lua"

local OIDS = { o = peer.from_text.o } -- all other numbers it makes itself
local unpack = table.unpack or unpack

local port, user, password = os.getenv("BENCH_TCP"):match "^(%S+) (%S+) (%S+)$"

local function connect()
  local db = pgmoon.new{ host = "127.0.0.1", port = port, user = user, password = password,
    database = arg[1]:match "[^/]*$", socket_type = "luasocket" }
  assert(db:connect())
  return db
end

local db = connect()
local contestant = { name = "pgmoon", db = db, clock = socket.gettime, kinds = {} }

function contestant.execute(sql) assert(db:query(sql)) end

function contestant.rows_sum(sql, columns) return peer.sum(assert(db:query(sql)), columns, OIDS) end

function contestant.kinds.rows(_, case)
  for _, column in ipairs(case.columns) do
    if column.kind == "a" and not pcall(require, "lpeg") then return nil end -- it reads arrays with LPeg
  end
  local read, sql, args = peer.reader(case.columns, OIDS), case.sql, case.args
  local function fetch() return assert(db:query(sql, unpack(args))) end
  return function() return read(fetch()) end, function() return peer.sum(fetch(), case.columns, OIDS) end
end

function contestant.kinds.held(_, case)
  return peer.held(function() return assert(db:query(case.sql)) end, case.columns, OIDS)
end

function contestant.kinds.execute(_, case)
  return function()
    assert(db:query(case.sql))
    return 0
  end
end

function contestant.kinds.connect()
  return function()
    connect():disconnect()
    return 0
  end
end

peer.main(contestant)
