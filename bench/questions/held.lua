-- SPDX-License-Identifier: MIT
--
-- How many bytes does a row take that the program holds?

return {
  title = "Bytes per row of a result that is held",
  unit = "bytes",
  rounds = 3,
  cases = {
    { name = "held", title = "100,000 rows × 4", kind = "held", n = 100000, scales = true, count = 1,
      sql = "SELECT i AS a, i + 1 AS b, 'text ' || i AS c, i % 2 = 0 AS d FROM generate_series(1, {n}) i",
      cols = "a:i,b:i,c:s,d:b" },
  },
}
