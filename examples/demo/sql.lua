-- SPDX-License-Identifier: MIT

return {
  title = "Connecting, and plain SQL",
  "`pg` is a private PostgreSQL server that this demo has started on a unix socket. What follows works\n" ..
    "the same on fastpg.connect \"dbname=…\", on a URI, or on nothing at all (libpq's environment).",
  { "db = fastpg.connect(pg.uri)" },
  { "tostring(db)", like = '^"postgresql://postgres@.+:5432/postgres"$' },
  { 'db:fetchval "select version()"', like = '^"PostgreSQL %d' },
  "execute runs statements and gives the status of the last one.",
  { 'db:execute "drop table if exists users"', '"DROP TABLE"' },
  { 'db:execute "create table users (id serial primary key, name text not null, age integer)"', '"CREATE TABLE"' },
  "Values go beside the text, never into it.",
  { 'db:execute("insert into users (name, age) values ($1, $2)", "Alice", 30)', '"INSERT 0 1"' },
  "fetch (or q) gives all rows: a plain list whose tostring draws a table.",
  { 'rs = db:fetch "select * from users"' },
  { "rs", " id | name  | age\n----+-------+-----\n  1 | Alice |  30\n(1 row)" },
  { "rs[1]", "<Record id=1 name='Alice' age=30>" },
  "A row is a plain Lua table with its columns as fields.",
  { "rs[1].name", '"Alice"' },
  { "type(rs), type(rs[1])", '"table"  "table"' },
  { "rs[1].nmae", raises = 'the row has no column "nmae" (did you mean "name"?)' },
  "each reads rows one by one, in constant memory. In a transaction it is a cursor.",
  { "db:transaction(function()\n  for row in db:each \"select * from users\" do print(row) end\nend)",
    "<Record id=1 name='Alice' age=30>" },
  { "db:close()" },
}
