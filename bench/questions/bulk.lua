-- SPDX-License-Identifier: MIT
--
-- What does writing many rows cost, beside COPY by the others; and what does fastpg add where Lua adds no values?

local RECORDS = "SELECT count(*)::int AS n, sum(hashtext(record::text))::text AS sum FROM record"

return {
  title = "Bulk: many rows written, and what passes through",
  who = { "libpq", "asyncpg", "psycopg", "fastpg" },
  rounds = 5,
  setup = [[CREATE TABLE record (a int, b int, c int, d text, e float, f int, g text);
    CREATE TABLE one (id int PRIMARY KEY, n int); INSERT INTO one VALUES (1, 0)]],
  cases = {
    { name = "inserts", title = "100,000 rows: t:inserts (others: COPY)", kind = "copy", way = "inserts", n = 100000, scales = true,
      count = 1, before = "TRUNCATE record", check = RECORDS, check_cols = "n:i,sum:s" },
    { name = "copy", title = "1,000,000 rows from an iterator: t:copy", kind = "copy", source = "iterator", n = 1000000,
      scales = true, count = 1, before = "TRUNCATE record", check = RECORDS, check_cols = "n:i,sum:s" },
    { name = "copytext", title = "copy_from of a string, 100,000 lines", kind = "copytext", n = 100000, scales = true, count = 5,
      before = "TRUNCATE record", check = RECORDS, check_cols = "n:i,sum:s", targets = { { "libpq", 1.3, 1.3 } } },
    { name = "execute", title = "execute, no values", kind = "execute", count = 500, sql = "UPDATE one SET n = n WHERE id = 1",
      targets = { { "libpq", 1.3, 1.3 } } },
  },
}
