-- SPDX-License-Identifier: MIT
--
-- audit.lua: who has changed what.  The hook writes its row in the transaction of the change: there is none without the
-- other, and a hook that raises an error undoes the change.
--
--   PGDATABASE=test lua5.4 examples/audit.lua

local fastpg = require "fastpg"

local db = fastpg.connect()
db:execute [[
  drop table if exists account, audit;
  create table account (id serial primary key, owner text not null, balance int not null check (balance >= 0));
  create table audit (id serial primary key, at timestamptz default now(), who text not null, what text, rows int, keys jsonb)
]]
local account = db.t.account
local who

db:on("write", function(e)
  if e.op == "delete" and who ~= "root" then error("only root may delete", 0) end
  e.tx.t.audit:insert{ who = who, what = e.op .. " " .. e.table, rows = e.rows, keys = e.keys }
end)

who = "ann"
account:inserts{ { owner = "Ann", balance = 100 }, { owner = "Bob", balance = 20 } }
db:transaction(function()
  account:update{ id = 1, balance = fastpg.sql "balance - 30" }
  account:update{ id = 2, balance = fastpg.sql "balance + 30" }
end)
print(fastpg.try(account.update, account, { id = 2, balance = -1 })) -- it fails, and leaves no trace
print(fastpg.try(account.delete, account, 1)) -- nor does this
account:where("balance < 60"):update{ balance = 60 }
who = "root"
account:delete_where()

print(db:q "select id, who, what, rows, keys from audit order by id")
db:close()
