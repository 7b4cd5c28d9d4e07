-- SPDX-License-Identifier: MIT
--
-- tenants.lua: one table for many users, as a server would use it: each request gets a Table that is
-- scoped to its user and can't reach anybody else's rows.
--
--   PGDATABASE=test lua5.4 examples/tenants.lua

local fastpg = require "fastpg"

local db = fastpg.create_pool(nil, { max_size = 4 })
db:execute [[
  drop table if exists note;
  create table note (id serial primary key, user_id int not null, body text not null)
]]

local function request(user_id, body)
  local notes = db.t.note:scope("user_id", user_id) -- a nil user_id is an error
  notes:insert{ body = body, user_id = 99 } -- the scope's value is stored, whatever the record says
  return notes{ order_by = "id" }
end

request(1, "milk")
request(2, "bread")
print(request(1, "eggs"))

local mine = db.t.note:scope("user_id", 1)
print(mine:get(2), #mine)
print(fastpg.try(mine.update, mine, { id = 2, body = "mine now" }))
db:close()
