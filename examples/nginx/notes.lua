-- SPDX-License-Identifier: MIT
--
-- notes.lua: the handler of nginx.conf.  Each request sees the notes of its tenant and no others: who the
-- tenant is comes from a header here, and from your own authentication in earnest.

local fastpg = require "fastpg"

local notes, methods = {}, {}
local db = fastpg.create_pool(nil, { max_size = 16, command_timeout = 5 }) -- connects when it is first used
local ready = false

function notes.set_up()
  if ready then return end
  db:advisory_lock(1, function() -- one worker at a time
    db:execute "create table if not exists note (id bigserial primary key, tenant int not null, body text not null)"
  end)
  ready = true
end

local function body_text()
  ngx.req.read_body()
  local path = ngx.req.get_body_file() -- nginx puts a big body into a file
  if not path then return ngx.req.get_body_data() or "" end
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

function methods.GET(mine, id)
  if id then return 200, mine[id] end
  return 200, mine{ order_by = "id", limit = 100 }
end

function methods.POST(mine) return 201, mine:insert{ body = body_text() } end

local function answer(tenant, method, id)
  notes.set_up() -- where there was no database when the worker began
  return method(db.t.note:scope("tenant", tenant), id ~= "" and { id } or nil)
end

function notes.serve()
  local tenant, method = ngx.var.http_x_tenant, methods[ngx.req.get_method()]
  if not tenant then return ngx.exit(401) end
  if not method then return ngx.exit(405) end
  local ok, status, result = pcall(answer, tenant, method, ngx.var.id)
  if not ok then
    local err = status
    status = fastpg.http_status(err)
    result = { error = status < 500 and err.message or "try again later" }
    if status >= 500 then ngx.log(ngx.ERR, tostring(err)) end
  end
  ngx.status = status
  ngx.say(fastpg.to_json(result))
end

return notes
