-- SPDX-License-Identifier: MIT
--
-- What does the Table layer add to the same statement by db:q, and what does a row by its key cost beside others?

local ARTIST = "artist_id:i,name:s,born:i"

local function q(name) return { { case = name, 1.25, 1.25 } } end

return {
  title = "The Table layer beside the same statement by db:q",
  who = { "libpq", "asyncpg", "psycopg", "fastpg", "pgmoon" },
  setup = [[
    CREATE TABLE artist (artist_id int PRIMARY KEY, name text, born int);
    INSERT INTO artist SELECT i, 'artist ' || i, 1900 + i FROM generate_series(1, 100) i;
    CREATE TABLE changed AS SELECT * FROM artist;
    ALTER TABLE changed ADD PRIMARY KEY (artist_id);
    CREATE TABLE added (id int DEFAULT 7, name text, weight int);
    ANALYZE]],
  cases = {
    { name = "get.q", title = "a row by its key, db:q", kind = "rows", count = 1000,
      sql = "SELECT * FROM artist WHERE artist_id = $1", args = "i:1", cols = ARTIST },
    { name = "get", title = "t[1]", kind = "rows", count = 1000, way = "get", table = "artist",
      sql = "SELECT * FROM artist WHERE artist_id = $1", args = "i:1", cols = ARTIST,
      targets = { { case = "get.q", 1.25, 1.25 }, { "asyncpg", 0.75, 0.7 }, { "libpq", 1.3, 1.2 } } },
    { name = "list.q", title = "100 rows, db:q", kind = "rows", count = 300,
      sql = "SELECT * FROM artist LIMIT $1", args = "i:100", cols = ARTIST },
    { name = "list", title = "t{ limit = 100 }", kind = "rows", count = 300, way = "list", table = "artist",
      sql = "SELECT * FROM artist LIMIT $1", args = "i:100", cols = ARTIST, targets = q "list.q" },
    { name = "insert.q", title = "insert, db:q", kind = "rows", count = 500, before = "TRUNCATE added",
      sql = "INSERT INTO added (name, weight) VALUES ($1, $2) RETURNING *", args = "s:meow,i:6",
      cols = "id:i,name:s,weight:i" },
    { name = "insert", title = "t:insert", kind = "rows", count = 500, way = "insert", table = "added",
      before = "TRUNCATE added", names = "name,weight",
      sql = "INSERT INTO added (name, weight) VALUES ($1, $2) RETURNING *", args = "s:meow,i:6",
      cols = "id:i,name:s,weight:i", targets = q "insert.q" },
    { name = "update.q", title = "update, db:q", kind = "rows", count = 500,
      sql = "UPDATE changed SET name = $1 WHERE artist_id = $2 RETURNING *", args = "s:moo,i:2", cols = ARTIST },
    { name = "update", title = "t:update", kind = "rows", count = 500, way = "update", table = "changed",
      names = "name,artist_id", sql = "UPDATE changed SET name = $1 WHERE artist_id = $2 RETURNING *", args = "s:moo,i:2",
      cols = ARTIST, targets = q "update.q" },
  },
}
