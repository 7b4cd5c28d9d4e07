-- SPDX-License-Identifier: MIT
--
-- luadbi_peer.lua: the cases in LuaDBI, where it is installed.
--
--   lua5.4 bench/peers/luadbi_peer.lua URI CASES [name=count ...]        see peer.lua
--
-- A statement is prepared once for each case, as its users do where speed matters. Bytes come as text (\x61…) and arrays
-- too: it takes no part in those.

local DBI = require "DBI"
local socket = require "socket"

local peer = dofile "bench/peers/peer.lua"

local OIDS = { o = peer.from_text.o } -- all other numbers it makes itself

local user, host, port, database = arg[1]:match "^postgresql://([^@]*)@([^:/]*):?(%d*)/(.*)$"
local function unescaped(s) return (s:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)) end

local function connect() return assert(DBI.Connect("PostgreSQL", database, unescaped(user), nil, unescaped(host), port)) end

local db = connect()
db:autocommit(true)

local contestant = { name = "luadbi", db = db, clock = socket.gettime, kinds = {} }

function contestant.execute(sql)
  local statement = assert(db:prepare(sql))
  assert(statement:execute())
  statement:close()
end

local function fetch(statement, args)
  local unpack = table.unpack or unpack
  assert(statement:execute(unpack(args)))
  local rows, i = {}, 0
  for row in statement:rows(true) do
    i = i + 1
    rows[i] = row
  end
  return rows
end

function contestant.rows_sum(sql, columns) return peer.sum(fetch(assert(db:prepare(sql)), {}), columns, OIDS) end

function contestant.kinds.rows(_, case)
  for _, column in ipairs(case.columns) do
    if column.kind == "y" or column.kind == "a" then return nil end
  end
  local statement, read, args = assert(db:prepare(case.sql)), peer.reader(case.columns, OIDS), case.args
  return function() return read(fetch(statement, args)) end,
    function() return peer.sum(fetch(statement, args), case.columns, OIDS) end
end

function contestant.kinds.held(_, case)
  local statement = assert(db:prepare(case.sql))
  return peer.held(function() return fetch(statement, {}) end, case.columns, OIDS)
end

function contestant.kinds.execute(_, case)
  local statement = assert(db:prepare(case.sql))
  return function()
    assert(statement:execute())
    return 0
  end
end

function contestant.kinds.connect()
  return function()
    connect():close()
    return 0
  end
end

peer.main(contestant)
