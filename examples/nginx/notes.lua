-- SPDX-License-Identifier: MIT
--
-- notes.lua: the handler of nginx.conf.  Each request sees the notes of its tenant and no others: who the
-- tenant is comes from a header here, and from your own authentication in earnest.

local fastpg = require "fastpg"

local notes = {}
local db = fastpg.create_pool(nil, { max_size = 16 }) -- connects when it is first used

function notes.set_up() -- blocks: nobody is served yet
  db:advisory_lock(1, function()
    db:execute "create table if not exists note (id serial primary key, tenant int not null, body text not null)"
  end)
end

local methods = {}

function methods.GET(mine, id)
  if not id then return 200, mine{ order_by = "id", limit = 100 } end
  return 200, mine:get(id) or nil
end

function methods.POST(mine)
  ngx.req.read_body()
  return 201, mine:insert{ body = ngx.req.get_body_data() or "" }
end

function notes.serve()
  local tenant, method = tonumber(ngx.var.http_x_tenant), methods[ngx.req.get_method()]
  if not tenant then return ngx.exit(401) end
  if not method then return ngx.exit(405) end
  local status, result = method(db.t.note:scope("tenant", tenant), tonumber(ngx.var.id))
  if not result then return ngx.exit(404) end
  ngx.status = status
  ngx.say(fastpg.to_json(result))
end

return notes
