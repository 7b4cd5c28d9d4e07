-- SPDX-License-Identifier: MIT
--
-- script.lua: a plain script.  It connects to what libpq's environment says (PGHOST, PGDATABASE, …),
-- counts the lines of the files it is given by their first word, and keeps the counts in a table.
--
--   PGDATABASE=test lua5.4 examples/script.lua README.md

local fastpg = require "fastpg"

local db = fastpg.connect()
db:execute "create table if not exists word (name text primary key, lines int not null default 0)"
local words = db.t.word

local counts = {}
for _, path in ipairs(arg) do
  for line in io.lines(path) do
    local word = line:match "^%s*(%a+)"
    if word then counts[word:lower()] = (counts[word:lower()] or 0) + 1 end
  end
end

local list = {}
for name, lines in pairs(counts) do list[#list + 1] = { name = name, lines = lines } end
words:upserts(list)

print(words{ order_by = "lines desc, name", limit = 5 })
print(#words .. " words in " .. tostring(db.t.word))
db:close()
