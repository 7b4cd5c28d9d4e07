-- SPDX-License-Identifier: MIT
--
-- What do MagicStack's seven queries (github.com/MagicStack/pgbench) cost the client, at one connection?

local RECORDS = "SELECT count(*)::int AS n, sum(hashtext(record::text))::text AS sum FROM record"

return {
  title = "MagicStack's seven queries, one connection",
  setup = [[
    CREATE TABLE bytes (b bytea);
    INSERT INTO bytes SELECT repeat('a', 1000)::bytea FROM generate_series(1, 100);
    CREATE TABLE lists (a int[]);
    INSERT INTO lists SELECT (SELECT array_agg(i) FROM generate_series(1, 100) i) FROM generate_series(1, 100);
    CREATE TABLE record (a int, b int, c int, d text, e float, f int, g text);
    ANALYZE]],
  cases = {
    { name = "pg_type", title = "1 pg_type, 617 rows × 12", kind = "rows", count = 100,
      sql = [[select typname, typnamespace, typowner, typlen, typbyval, typcategory, typispreferred, typisdefined, typdelim,
        typrelid, typelem, typarray from pg_type where typtypmod = $1 and typisdefined = $2]], args = "i:-1,b:true",
      cols = "typname:s,typnamespace:o,typowner:o,typlen:i,typbyval:b,typcategory:s,typispreferred:b,typisdefined:b,"
        .. "typdelim:s,typrelid:o,typelem:o,typarray:o",
      targets = { { "asyncpg", 1.2, 0.85 }, { "asyncpg", 1, 1, wall = true } } },
    { name = "series", title = "2 generate_series, 1,000 rows", kind = "rows", count = 150,
      sql = "SELECT i FROM generate_series(1, $1) AS i", args = "i:1000", cols = "i:i",
      targets = { { "asyncpg", 1.5, 0.9 }, { "asyncpg", 1, 1, wall = true } } },
    { name = "bytes", title = "3 bytea, 100 × 1 kB", kind = "rows", count = 200, sql = "SELECT * FROM bytes", cols = "b:y",
      targets = { { "asyncpg", 1, 0.8 }, { "asyncpg", 1, 1, wall = true } } },
    { name = "lists", title = "4 int[100], 100 rows", kind = "rows", count = 120, sql = "SELECT * FROM lists", cols = "a:a",
      targets = { { "asyncpg", 1, 0.7 }, { "asyncpg", 1, 1, wall = true } } },
    { name = "copy", title = "5 COPY of 10,000 records", kind = "copy", n = 10000, count = 3, before = "TRUNCATE record",
      check = RECORDS, check_cols = "n:i,sum:s",
      targets = { { "asyncpg", 0.6, 0.5 }, { "asyncpg", 1, 1, wall = true } } },
    { name = "batch", title = "6 batch of 1,000 inserts", kind = "batch", n = 1000, count = 6, before = "TRUNCATE record",
      sql = "INSERT INTO record (a, b, c, d, e, f, g) VALUES ($1, $2, $3, $4, $5, $6, $7)",
      check = RECORDS, check_cols = "n:i,sum:s",
      targets = { { "asyncpg", 0.95, 0.95 }, { "asyncpg", 1, 1, wall = true } } },
    { name = "one", title = "7 SELECT 1+1", kind = "rows", count = 1500, sql = "SELECT 1+1", cols = "?column?:i",
      targets = { { "asyncpg", 0.75, 0.7 }, { "libpq", 1.3, 1.2 }, { "asyncpg", 1, 1, wall = true } } },
  },
}
