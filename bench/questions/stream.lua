-- SPDX-License-Identifier: MIT
--
-- What does a row of a result of a million cost that is read by `each` and never stands in memory as a whole?

return {
  title = "A million rows by each",
  who = { "libpq", "asyncpg", "psycopg", "fastpg" },
  rounds = 5,
  cases = {
    { name = "each", title = "1,000,000 rows × 2", kind = "stream", count = 1, n = 1000000, scales = true,
      sql = "SELECT i, 'n' || i AS name FROM generate_series(1, {n}) i", cols = "i:i,name:s",
      targets = { { "libpq", 1.5, 1.5 } } },
  },
}
