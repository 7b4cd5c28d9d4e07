-- SPDX-License-Identifier: MIT
--
-- Which of fastpg's own ways is the right one: to read 10,000 rows, and to write 1,000?

local RECORDS = "SELECT count(*)::int AS n, sum(hashtext(record::text))::text AS sum FROM record"
local ROWS = "SELECT i AS a, i + 1 AS b, 'text ' || i AS c, i % 2 = 0 AS d FROM generate_series(1, {n}) i"

local cases = {}

for _, way in ipairs{ { "q", "rows" }, { "arrays", "arrays" }, { "each", "stream" } } do
  cases[#cases + 1] = { name = way[1], title = "10,000 rows × 4 by " .. way[1], kind = way[2], n = 10000, count = 20, sql = ROWS,
    cols = "a:i,b:i,c:s,d:b" }
end

for _, way in ipairs{ { "insert", "one insert after the other" }, { "transaction", "the same in a transaction" },
  { "pipeline", "a pipeline of inserts" }, { "inserts", "inserts" }, { "copy", "copy" } } do
  cases[#cases + 1] = { name = way[1], title = "1,000 rows by " .. way[2], kind = "write", way = way[1], n = 1000, count = 4,
    before = "TRUNCATE record", check = RECORDS, check_cols = "n:i,sum:s" }
end

return {
  title = "fastpg's own ways, beside each other",
  who = { "fastpg" },
  rounds = 5,
  setup = "CREATE TABLE record (a int, b int, c int, d text, e float, f int, g text)",
  cases = cases,
}
