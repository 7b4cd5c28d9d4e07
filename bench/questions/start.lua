-- SPDX-License-Identifier: MIT
--
-- What does it cost to begin: loading, connecting, the first use of a table, among ten and among ten thousand?

return {
  title = "Beginning",
  who = { "libpq", "asyncpg", "psycopg", "fastpg", "pgmoon" },
  databases = {
    bench_few = [[DO $$BEGIN FOR i IN 1..10 LOOP
      EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, name text)', i); END LOOP; INSERT INTO t7 VALUES (1, 'x'); END$$]],
    bench_many = [[DO $$BEGIN FOR i IN 1..{many} LOOP
      EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, name text)', i);
      IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; INSERT INTO t7 VALUES (1, 'x'); END$$]],
  },
  cases = {
    { name = "load", title = "loading the module", kind = "load", count = 1, targets = { { cpu = 5000, 5000, 5000 } } },
    { name = "connect", title = "connect and close", kind = "connect", count = 20,
      targets = { { "libpq", 1.1, 1.1, wall = true } } },
    { name = "few", title = "first use of a table, 10 tables", kind = "firstuse", count = 10, database = "bench_few", table = "t7",
      cols = "id:i,name:s" },
    { name = "many", title = "first use of a table, {many} tables", kind = "firstuse", count = 10, database = "bench_many",
      table = "t7", cols = "id:i,name:s", targets = { { case = "few", 1.1, 1.1 } } },
  },
}
