-- SPDX-License-Identifier: MIT
--
-- luasql_peer.lua: the cases in LuaSQL, where it is installed.
--
--   lua5.4 bench/peers/luasql_peer.lua URI CASES [name=count ...]        see peer.lua
--
-- LuaSQL has neither parameters nor prepared statements: every value is text, put into the SQL, and the server plans each
-- statement again. What it gives are strings, which the program turns into numbers and booleans as it reads them.

local driver = require "luasql.postgres"
local socket = require "socket"

local peer = dofile "bench/peers/peer.lua"

local env = driver.postgres()
local db = assert(env:connect(arg[1]))

local contestant = { name = "luasql", db = db, clock = socket.gettime, kinds = {} }

function contestant.execute(sql) assert(db:execute(sql)) end

local function fetch(sql)
  local cursor, rows, i = assert(db:execute(sql)), {}, 0
  local row = cursor:fetch({}, "a")
  while row do
    i = i + 1
    rows[i] = row
    row = cursor:fetch({}, "a")
  end
  cursor:close()
  return rows
end

function contestant.rows_sum(sql, columns) return peer.sum(fetch(sql), columns, peer.from_text) end

local function literal(v) return type(v) == "string" and "'" .. db:escape(v) .. "'" or tostring(v) end

function contestant.kinds.rows(_, case)
  for _, column in ipairs(case.columns) do
    if column.kind == "y" or column.kind == "a" then return nil end -- it knows neither bytes nor arrays
  end
  local read, sql, args = peer.reader(case.columns, peer.from_text), case.sql, case.args
  local function ask()
    return fetch(#args == 0 and sql or (sql:gsub("%$(%d)", function(i) return literal(args[tonumber(i)]) end)))
  end
  return function() return read(ask()) end, function() return peer.sum(ask(), case.columns, peer.from_text) end
end

function contestant.kinds.held(_, case)
  return peer.held(function() return fetch(case.sql) end, case.columns, peer.from_text)
end

function contestant.kinds.execute(_, case)
  return function()
    assert(db:execute(case.sql))
    return 0
  end
end

function contestant.kinds.connect()
  return function()
    assert(env:connect(arg[1])):close()
    return 0
  end
end

peer.main(contestant)
