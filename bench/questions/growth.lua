-- SPDX-License-Identifier: MIT
--
-- How does the cost grow with the work: with rows, with columns, with tasks on a pool of ten?

local cases = {}

for _, rows in ipairs{ 1, 10, 1000, 100000 } do
  cases[#cases + 1] = { name = "rows" .. rows, title = rows .. " rows × 4", kind = "rows",
    count = math.max(2, math.min(500, 200000 / rows)),
    sql = "SELECT i AS a, i + 1 AS b, 'text ' || i AS c, i % 2 = 0 AS d FROM generate_series(1, $1) i", args = "i:" .. rows,
    cols = "a:i,b:i,c:s,d:b" }
end

for _, columns in ipairs{ 1, 12, 100, 1600 } do
  local sql, cols = {}, {}
  for i = 1, columns do sql[i], cols[i] = ("i + %d AS c%d"):format(i, i), ("c%d:i"):format(i) end
  cases[#cases + 1] = { name = "columns" .. columns, title = "10 rows × " .. columns, kind = "rows",
    count = math.max(10, math.min(500, math.floor(20000 / columns))),
    sql = ("SELECT %s FROM generate_series(1, 10) i"):format(table.concat(sql, ", ")), cols = table.concat(cols, ",") }
end

for _, tasks in ipairs{ 1, 10, 100, 1000 } do
  cases[#cases + 1] = { name = "tasks" .. tasks, title = tasks .. " tasks, a row at a time", kind = "rows", count = 1000,
    tasks = tasks, sql = "SELECT $1::int AS n", args = "i:7", cols = "n:i" }
end

return {
  title = "As the work grows: rows, columns, tasks on ten connections",
  who = { "libpq", "asyncpg", "fastpg" },
  rounds = 5,
  cases = cases,
}
