-- SPDX-License-Identifier: MIT
--
-- cqueues.lua: twenty coroutines move money between accounts, by transactions on four connections.
--
--   PGDATABASE=test lua5.4 examples/cqueues.lua

local cqueues = require "cqueues"
local fastpg = require "fastpg"

local db = fastpg.create_pool({}, { max_size = 4 }) -- finds the controller by itself
local moved, refused = 0, 0

-- Inside of the transaction `db` is its connection, in this coroutine only.
local function move(from, to, amount)
  db:transaction({ retries = 5 }, function()
    db:q("update account set balance = balance - $1 where id = $2", amount, from)
    db:q("update account set balance = balance + $1 where id = $2", amount, to)
  end)
end

local function customer(number)
  for i = 1, 5 do
    local _, err = fastpg.try(move, (number + i) % 10 + 1, (number * i) % 10 + 1, 20 * i)
    if err and not fastpg.is(err, "check_violation") then error(err, 0) end
    if err then refused = refused + 1 else moved = moved + 1 end
  end
end

local controller = cqueues.new()
controller:wrap(function()
  db:execute [[drop table if exists account;
    create table account (id int primary key, balance int not null check (balance >= 0));
    insert into account select i, 100 from generate_series(1, 10) i]]
  for number = 1, 20 do controller:wrap(customer, number) end
end)
assert(controller:loop())
print(moved + refused .. " transfers tried")
print("in all accounts: " .. db:q("select sum(balance)::int as total from account")[1].total)
db:close()
