-- SPDX-License-Identifier: MIT
--
-- database: each call that runs SQL, the arguments it takes, the statements behind it, and the
-- state errors leave.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null = fastpg.null
local unpack = table.unpack or unpack
local db = pg.db()
local other = pg.db()
db:execute "CREATE TABLE artist(artist_id int PRIMARY KEY, name text)"

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("no error was raised", 2) end
  assert.equal("table", type(err), tostring(err))
  return err
end

local function plain(t) return setmetatable(t, nil) end

local function rows_of(list)
  local out = {}
  for i, row in ipairs(list) do
    out[i] = {}
    for k, v in next, row do out[i][k] = v end
  end
  return out
end

before_each(function()
  db:execute "DELETE FROM artist; INSERT INTO artist VALUES (1, 'AC/DC'), (2, 'Accept'), (3, NULL)"
end)

-- Whatever happened, the connections do what they are told, and have no transaction open.
after_each(function()
  for _, each in ipairs{ db, other } do assert.equal(1, each:item("SELECT 1")) end
end)

describe("db:", function()
  it("q and fetch give all rows", function()
    for _, name in ipairs{ "q", "fetch" } do
      local rows = db[name](db, "SELECT * FROM artist WHERE artist_id < $1 ORDER BY 1", 3)
      assert.same({ { artist_id = 1, name = "AC/DC" }, { artist_id = 2, name = "Accept" } }, rows_of(rows))
      assert.same({ "artist_id", "name" }, rows:columns())
      assert.equal("<Record artist_id=1 name='AC/DC'>", tostring(rows[1]))
    end
    local none = db:q("SELECT * FROM artist WHERE false")
    assert.equal(0, #none)
    assert.same({ "artist_id", "name" }, none:columns())
  end)

  it("first and fetchrow give the first row or nil", function()
    for _, name in ipairs{ "first", "fetchrow" } do
      assert.equal("Accept", db[name](db, "SELECT * FROM artist WHERE artist_id > ? ORDER BY 1", 1).name)
      assert.equal(1, select("#", db[name](db, "SELECT 1 WHERE false")))
      assert.is_nil(db[name](db, "SELECT 1 WHERE false"))
    end
  end)

  it("qone gives the one row", function()
    assert.equal("AC/DC", db:qone("SELECT * FROM artist WHERE artist_id = 1").name)
    local err = failure(db.qone, db, "SELECT * FROM artist WHERE false")
    assert.is_true(fastpg.is(err, fastpg.NotFoundError))
    assert.is_true(fastpg.is(err, "not_found"))
    assert.is_true(fastpg.is(failure(db.qone, db, "SELECT * FROM artist"), "not_unique"))
  end)

  it("item gives the one field of the one row", function()
    assert.equal("AC/DC", db:item("SELECT name FROM artist WHERE artist_id = 1"))
    assert.is_nil(db:item("SELECT name FROM artist WHERE artist_id = 3"))
    assert.equal("not_found", failure(db.item, db, "SELECT name FROM artist WHERE false").name)
    assert.equal("not_unique", failure(db.item, db, "SELECT name FROM artist").name)
    assert.truthy(failure(db.item, db, "SELECT * FROM artist WHERE artist_id = 1"))
    assert.truthy(failure(db.item, db, "SELECT"))
    assert.truthy(failure(db.item, db, "DELETE FROM artist WHERE false"))
  end)

  it("fetchval gives the first field of the first row, or nil", function()
    assert.equal(1, db:fetchval("SELECT * FROM artist ORDER BY 1"))
    assert.is_nil(db:fetchval("SELECT name FROM artist WHERE artist_id = 3"))
    assert.is_nil(db:fetchval("SELECT 1 WHERE false"))
    assert.is_nil(db:fetchval("SELECT"))
    assert.is_nil(db:fetchval("DELETE FROM artist WHERE false"))
  end)

  it("execute gives the status", function()
    for _, case in ipairs{
      { "INSERT 0 2", "INSERT INTO artist VALUES (10, 'a'), (11, 'b')" },
      { "UPDATE 2", "UPDATE artist SET name = 'c' WHERE artist_id > 9" },
      { "SELECT 5", "SELECT * FROM artist" },
      { "DELETE 2", "DELETE FROM artist WHERE artist_id > 9" },
      { "CREATE TABLE", "CREATE TEMP TABLE status_of(a int)" },
      { "DROP TABLE", "DROP TABLE status_of" },
      { "SET", "SET work_mem = '4MB'" },
      { "RESET", "RESET work_mem" },
    } do
      assert.equal(case[1], db:execute(case[2]))
    end
    assert.equal("INSERT 0 1", db:execute("INSERT INTO artist VALUES ($1, $2)", 10, "x"))
    assert.equal("INSERT 0 1", db:execute("INSERT INTO artist VALUES (:id, :name)", { id = 11, name = "y" }))
    assert.equal("DELETE 2", db:execute("DELETE FROM artist WHERE artist_id >= ?", 10))
  end)

  it("execute takes several statements without arguments: the last one's status, all or nothing", function()
    assert.equal("UPDATE 3", db:execute "DELETE FROM artist WHERE false; SELECT 1; UPDATE artist SET name = 'z'; ; ")
    local err = failure(db.execute, db, "DELETE FROM artist; SELECT 1/0; SELECT 2")
    assert.equal("division_by_zero", err.name)
    assert.equal(3, db:item("SELECT count(*) FROM artist"))
    assert.equal("syntax_error", failure(db.execute, db, "SELECT $1; SELECT 2", 1).name)
    assert.equal("syntax_error", failure(db.q, db, "SELECT 1; SELECT 2").name)
  end)

  it("arrays gives positional lists", function()
    local lists = db:arrays("SELECT artist_id, name, artist_id AS name FROM artist WHERE artist_id >= ? ORDER BY 1", 2)
    assert.same({ { 2, "Accept", 2, n = 3 }, { 3, null, 3, n = 3 } }, plain(lists))
    assert.same({ "artist_id", "name", "name" }, db:arrays("SELECT artist_id, name, artist_id AS name FROM artist").columns)
    assert.same({ "a" }, db:arrays("SELECT 1 AS a WHERE false").columns)
    assert.same({ { n = 0 } }, plain(db:arrays("SELECT")))
  end)

  it("each gives the rows one after the other", function()
    local ids = {}
    for row in db:each("SELECT * FROM artist WHERE artist_id > $1 ORDER BY 1", 1) do
      ids[#ids + 1] = row.artist_id .. (row.name or "-")
    end
    assert.same({ "2Accept", "3-" }, ids)
    for _ in db:each("SELECT 1 WHERE false") do error "no row expected" end
  end)

  it("each calls a function, which can end it", function()
    local ids = {}
    db:each("SELECT * FROM artist WHERE name LIKE :name ORDER BY 1", { name = "A%" }, function(row) ids[#ids + 1] = row.artist_id end)
    assert.same({ 1, 2 }, ids)
    local n = 0
    db:each("SELECT generate_series(1, 1000000)", function(row)
      n = n + 1
      return row.generate_series ~= 7 and nil
    end)
    assert.equal(7, n)
    local err = failure(db.each, db, "SELECT 1", function() error({ "mine" }, 0) end)
    assert.equal("mine", err[1])
  end)

  it("each can be left and closed", function()
    local rows = db:each("SELECT generate_series(1, 1000000) AS i")
    local sum = 0
    for row in rows do
      sum = sum + row.i
      if row.i == 3 then break end
    end
    assert.equal(6, sum)
    rows:close()
    rows:close()
    assert.equal(2, db:item("SELECT 2"))
  end)

  it("each raises what the server says, also in the middle", function()
    local n = 0
    local err = failure(function()
      for _ in db:each("SELECT 1 / (500 - i) FROM generate_series(1, 1000) i") do n = n + 1 end
    end)
    assert.equal("division_by_zero", err.name)
    assert.equal(499, n)
    assert.equal("syntax_error", failure(db.each, db, "SELEC 1").name)
  end)

  it("each forbids another statement on the one connection", function()
    local rows = db:each("SELECT generate_series(1, 100000) AS i")
    rows()
    local err = failure(db.item, db, "SELECT 1")
    assert.truthy(err.message:find "transaction", err.message)
    assert.equal(2, rows().i)
    rows:close()
    db:transaction(function()
      local sum = 0
      for row in db:each("SELECT i FROM generate_series(1, 300) i") do sum = sum + db:item("SELECT $1::int * 2", row.i) end
      assert.equal(90300, sum)
    end)
  end)

  it("prepare gives a callable query", function()
    local by_id = db:prepare "SELECT * FROM artist WHERE artist_id = ?"
    assert.equal("AC/DC", by_id(1)[1].name)
    assert.equal("AC/DC", by_id:q(1)[1].name)
    assert.equal("AC/DC", by_id:first(1).name)
    assert.is_nil(by_id:first(99))
    assert.equal("AC/DC", by_id:qone(1).name)
    assert.equal("not_found", failure(by_id.qone, by_id, 99).name)
    local name_of = db:prepare "SELECT name FROM artist WHERE artist_id = :id"
    assert.equal("Accept", name_of:item{ id = 2 })
    assert.equal("Accept", name_of{ id = 2 }[1].name)
    local seen = {}
    for row in name_of:each{ id = 1 } do seen[#seen + 1] = row.name end
    name_of:each({ id = 2 }, function(row) seen[#seen + 1] = row.name end)
    assert.same({ "AC/DC", "Accept" }, seen)
    assert.equal("syntax_error", failure(db.prepare, db, "SELEC 1").name)
    assert.equal("undefined_table", failure(db.prepare, db, "SELECT * FROM nowhere").name)
    db:transaction(function() assert.equal("Accept", name_of:item{ id = 2 }) end)
  end)

  it("pipeline gives what each statement would have", function()
    local results = db:pipeline(function(p)
      p:q("SELECT * FROM artist WHERE artist_id < ? ORDER BY 1", 3)
      p:execute("UPDATE artist SET name = :name WHERE artist_id = :id", { name = "new", id = 3 })
      p:item "SELECT name FROM artist WHERE artist_id = 3"
      p:first "SELECT 1 AS one WHERE false"
      p:item "SELECT NULL::int"
      p:first("SELECT $1::int AS n", nil)
    end)
    assert.equal(6, results.n)
    assert.equal(2, #results[1])
    assert.equal("UPDATE 1", results[2])
    assert.equal("new", results[3])
    assert.is_nil(results[4])
    assert.is_nil(results[5])
    assert.is_nil(results[6].n)
    assert.equal(0, db:pipeline(function() end).n)
  end)

  it("pipeline undoes all when one fails", function()
    for _, bad in ipairs{ "SELECT 1/0", "INSERT INTO artist VALUES (1, 'again')", "SELECT * FROM nowhere" } do
      local err = failure(db.pipeline, db, function(p)
        p:execute "DELETE FROM artist WHERE artist_id = 2"
        p:execute(bad)
        p:execute "DELETE FROM artist"
      end)
      assert.truthy(err.sqlstate)
      assert.equal(3, db:item("SELECT count(*) FROM artist"))
    end
    assert.equal("invalid_argument", failure(db.pipeline, db, function(p)
      p:execute "DELETE FROM artist"
      p:item("SELECT $1::int", 1.5)
    end).name)
    assert.equal(3, db:item("SELECT count(*) FROM artist"))
    local own = failure(db.pipeline, db, function(p)
      p:execute "DELETE FROM artist"
      error({ "mine" }, 0)
    end)
    assert.equal("mine", own[1])
    assert.equal("not_found", failure(db.pipeline, db, function(p) p:item "SELECT 1 WHERE false" end).name)
    db:transaction(function()
      db:execute "UPDATE artist SET name = 'kept' WHERE artist_id = 1"
      assert.equal("division_by_zero", failure(db.pipeline, db, function(p)
        p:execute "DELETE FROM artist"
        p:item "SELECT 1/0"
      end).name)
    end)
    assert.equal("kept", db:item("SELECT name FROM artist WHERE artist_id = 1"))
  end)
end)

describe("executemany", function()
  local function count() return db:item("SELECT count(*) FROM artist") end

  it("runs once for each list of arguments", function()
    assert.equal(3, db:executemany("INSERT INTO artist VALUES ($1, $2)", { { 10, "a" }, { 11, null }, { 12, null } }))
    assert.equal(3, db:executemany("UPDATE artist SET name = ? WHERE artist_id >= ?", { { "x", 99 }, { "y", 11 }, { "z", 12 } }))
    assert.equal("-yz", db:item("SELECT string_agg(CASE artist_id WHEN 10 THEN '-' ELSE name END, '' ORDER BY artist_id) FROM artist WHERE artist_id > 9"))
    assert.equal(6, count())
  end)

  it("takes names", function()
    assert.equal(2, db:executemany("INSERT INTO artist VALUES (:id, :name)", { { id = 20, name = "a", more = 1 }, { id = 21, name = null } }))
    assert.equal(2, db:executemany("DELETE FROM artist WHERE artist_id = :id", { { id = 20 }, { id = 21 } }))
  end)

  it("takes nothing at all", function()
    assert.equal(0, db:executemany("INSERT INTO artist VALUES ($1, $2)", {}))
    assert.equal(3, db:executemany("UPDATE artist SET name = 'same' WHERE artist_id = 1", { {}, {}, {} }))
  end)

  it("is all or nothing", function()
    assert.equal("unique_violation", failure(db.executemany, db, "INSERT INTO artist VALUES ($1, $2)",
      { { 30, "a" }, { 1, "b" }, { 31, "c" } }).name)
    assert.equal(3, count())
    assert.equal("invalid_argument", failure(db.executemany, db, "INSERT INTO artist VALUES ($1, $2)", { { 30, "a" }, { 1.5, "b" } }).name)
    assert.equal(3, count())
    assert.equal("invalid_argument", failure(db.executemany, db, "INSERT INTO artist VALUES ($1, $2)", { { 30, "a" }, 7 }).name)
    assert.equal(3, count())
    assert.equal("invalid_argument", failure(db.executemany, db, "INSERT INTO artist VALUES ($1, $2)", { { 30, "a" }, { 31, "b", "c" } }).name)
    assert.equal(3, count())
    assert.equal("invalid_argument", failure(db.executemany, db, "INSERT INTO artist VALUES (:a, :b)", { { a = 30, b = "a" }, { a = 31 } }).name)
    assert.equal(3, count())
    assert.equal("syntax_error", failure(db.executemany, db, "INSER", { {} }).name)
  end)

  it("is all or nothing inside a transaction, which goes on", function()
    db:transaction(function(tx)
      tx:execute "DELETE FROM artist WHERE artist_id = 3"
      assert.equal("unique_violation", failure(tx.executemany, tx, "INSERT INTO artist VALUES ($1, $2)", { { 30, "a" }, { 30, "b" } }).name)
      assert.equal(1, tx:executemany("INSERT INTO artist VALUES ($1, $2)", { { 31, "a" } }))
    end)
    assert.same({ { 1, n = 1 }, { 2, n = 1 }, { 31, n = 1 } }, plain(db:arrays("SELECT artist_id FROM artist ORDER BY 1")))
  end)

  it("takes 20,000 rows, with results longer than the socket's buffers", function()
    local list = {}
    for i = 1, 20000 do list[i] = { i + 100, ("x"):rep(50) } end
    assert.equal(20000, db:executemany("INSERT INTO artist VALUES ($1, $2) RETURNING repeat(name, 4), *", list))
    assert.equal(20003, count())
  end)
end)

describe("placeholders", function()
  it("are $1, ? and :name", function()
    assert.equal("a-b", db:item("SELECT $1::text || '-' || $2::text", "a", "b"))
    assert.equal("b-a-b", db:item("SELECT $2::text || '-' || $1::text || '-' || $2::text", "a", "b"))
    assert.equal("a-b", db:item("SELECT ?::text || '-' || ?::text", "a", "b"))
    assert.equal("a-b-a", db:item("SELECT :x::text || '-' || :y::text || '-' || :x", { x = "a", y = "b", z = 1 }))
  end)

  it("can be mixed, the table of names last", function()
    assert.equal("1-2", db:item("SELECT ?::int || '-' || :n::int", 1, { n = 2 }))
    assert.equal("1-2-3", db:item("SELECT $1::int || '-' || $2::int || '-' || :n::int", 1, 2, { n = 3 }))
    local sql, values = fastpg.conv_placeholders("SELECT ? || :n || :m || :n", { n = 1, m = 2 })
    assert.equal("SELECT $1 || $2 || $3 || $2", sql)
    assert.same({ 1, 2 }, values)
  end)

  it("are not in strings, comments, identifiers and operators", function()
    assert.equal("? :n $1", db:item("SELECT '? :n $1' -- ? :n $1\n /* ? /* :n */ $1 */"))
    assert.equal(7, db:first([[SELECT $1::int AS "a?:b$1"]], 7)["a?:b$1"])
    assert.equal("?", db:item("SELECT $q$?$q$"))
    assert.is_true(db:item([[SELECT '{"a": 1}'::jsonb ? 'a']]))
    assert.is_true(db:item([=[SELECT '{"a": 1}'::jsonb ?| array['a', ?]]=], "b"))
    assert.is_true(db:item([[SELECT '{"a": 1}'::jsonb ?? ?]], "a"))
    assert.equal("{2,3}", db:item("SELECT (('{1,2,3}'::int[])[?:?])::text", 2, 3))
    assert.equal(4, db:item("SELECT (array[:a, :b]::int[])[2]", { a = 3, b = 4 }))
  end)

  it("heed standard_conforming_strings = off", function()
    local odd = pg.db()
    odd:execute "SET standard_conforming_strings = off; SET escape_string_warning = off"
    assert.equal("a' ? b:c", odd:item([[SELECT 'a\' ? b' || ?]], ":c"))
    assert.equal("it's", odd:item([[SELECT 'it\'s' WHERE :x]], { x = true }))
    odd:execute "SET standard_conforming_strings = on"
    assert.equal([[a\x]], odd:item([[SELECT 'a\' || ?]], "x"))
    odd:close()
  end)

  it("get exactly as many arguments as they need", function()
    for _, case in ipairs{ { "SELECT $1::int + $2::int", 1 }, { "SELECT ?::int + ?::int", 1 }, { "SELECT $1::int", 1, 2 },
      { "SELECT ?::int" }, { "SELECT 1", 1 }, { "SELECT $1::int" } } do
      local err = failure(db.item, db, unpack(case))
      assert.equal("invalid_argument", err.name)
      assert.is_nil(err.sqlstate)
      assert.truthy(err.message:find("argument", 1, true), err.message)
    end
    for _, args in ipairs{ {}, { 1 }, { {} }, { 1, { n = 1 } }, { { n = 1 }, 1 } } do
      assert.equal("invalid_argument", failure(db.item, db, "SELECT :n::int", unpack(args)).name)
    end
    assert.equal("invalid_argument", failure(db.item, db, "SELECT ?::int + :n::int", { n = 1 }).name)
    assert.truthy(failure(db.item, db, "SELECT :missing::int", { n = 1 }).message:find(":missing", 1, true))
  end)

  it("take nil as NULL", function()
    assert.is_true(db:item("SELECT $1::int IS NULL", nil))
    assert.equal("t,t,3", db:item("SELECT concat_ws(',', $1::text IS NULL, $2::int IS NULL, $3::int)", nil, nil, 3))
    assert.is_true(db:item("SELECT ?::int IS NULL AND ?::int IS NULL", nil, nil))
    assert.is_true(db:item("SELECT :n::int IS NULL", { n = null }))
  end)

  it("can be 65,535", function()
    local marks, list = {}, {}
    for i = 1, 65535 do marks[i], list[i] = "?", i end
    local sql = "SELECT cardinality(ARRAY[" .. table.concat(marks, ",") .. "]::int[])"
    assert.equal(65535, db:item(sql, fastpg.args(list)))
    list[2] = nil
    assert.equal(65535, db:item(sql, fastpg.args(list, 65535)))
    local err = failure(db.item, db, sql:gsub("%?", "?,?", 1), fastpg.args(list, 65536))
    assert.equal("table", type(err))
    assert.equal(1, db:item("SELECT ?::int", fastpg.args{ 1 }))
    assert.equal("invalid_argument", failure(db.item, db, "SELECT ?::int", fastpg.args({}, 2)).name)
  end)
end)

describe("a result", function()
  it("can have 1,600 columns", function()
    local columns = {}
    for i = 1, 1600 do columns[i] = i .. " AS c" .. i end
    local row = db:first("SELECT " .. table.concat(columns, ", "))
    assert.equal(1600, row.c1600)
    assert.equal(1600, #fastpg.columns(row))
    assert.equal(1600, db:arrays("SELECT " .. table.concat(columns, ", "))[1].n)
  end)

  it("can have values of a megabyte, both ways", function()
    local big = ("0123456789abcdef"):rep(65536)
    assert.equal(big, db:item("SELECT $1::text", big))
    assert.equal(big .. "\0\255", db:item("SELECT $1::bytea", big .. "\0\255"))
    assert.equal(#big, db:item("SELECT length(repeat('0123456789abcdef', 65536))"))
    assert.equal(big, db:item("SELECT repeat('0123456789abcdef', 65536)"))
    assert.equal(big, db:item("SELECT '" .. big .. "'"))
  end)

  it("can have columns of one name: the last wins, NULL too, where that is asked for", function()
    local last = pg.db{ duplicates = "last" }
    assert.equal(2, last:first("SELECT 1 AS a, 2 AS a").a)
    assert.is_nil(last:first("SELECT 1 AS a, NULL::int AS a").a)
    assert.same({ { 1, null, n = 2 } }, plain(last:arrays("SELECT 1 AS a, NULL::int AS a")))
    for row in last:each("SELECT 1 AS a, nullif(i, 2) AS a, i FROM generate_series(1, 3) i") do
      assert.equal(row.i ~= 2 and row.i or nil, row.a)
    end
    last:close()
  end)

  it("need not have rows", function()
    for _, sql in ipairs{ "DELETE FROM artist WHERE false", "SET work_mem = '4MB'", "", "-- nothing", " ; " } do
      assert.equal(0, #db:q(sql), sql)
      assert.is_nil(db:first(sql))
      assert.equal(0, #db:arrays(sql))
      assert.is_nil(db:fetchval(sql))
      assert.equal("not_found", failure(db.qone, db, sql).name)
      assert.equal("not_found", failure(db.item, db, sql).name)
      assert.equal("string", type(db:execute(sql)), sql)
      for _ in db:each(sql) do error "no row expected" end
    end
    db:execute "RESET work_mem"
  end)
end)

describe("SQL text", function()
  it("has no NUL byte", function()
    for _, name in ipairs{ "q", "first", "qone", "item", "fetchval", "execute", "arrays", "each", "prepare" } do
      local err = failure(db[name], db, "DELETE FROM artist --\0 WHERE false")
      assert.equal("invalid_argument", err.name, name)
      assert.truthy(err.message:find("NUL", 1, true))
      assert.equal("invalid_argument", failure(db[name], db, "SELECT 1\0").name)
    end
    assert.equal("invalid_argument", failure(db.execute, db, "SELECT $1::int\0", 1).name)
    assert.equal("invalid_argument", failure(db.executemany, db, "SELECT $1::int\0", { { 1 } }).name)
    assert.equal("invalid_argument", failure(db.pipeline, db, function(p) p:q "SELECT 1\0" end).name)
    assert.equal("invalid_argument", failure(db.t.artist, "true\0 and false").name)
    assert.equal("invalid_argument", failure(function() db.t.artist:delete_where "true --\0" end).name)
    assert.equal("invalid_argument", failure(db.item, db, "SELECT $1::text", "a\0b").name)
    assert.equal(3, db:item("SELECT count(*) FROM artist"))
  end)

  it("is text", function()
    for _, name in ipairs{ "q", "first", "qone", "item", "fetchval", "execute", "arrays", "each", "prepare", "executemany" } do
      for _, bad in ipairs{ 1, true, {} } do
        assert.equal("invalid_argument", failure(db[name], db, bad, {}).name, name)
        assert.equal("invalid_argument", failure(db[name], db, bad).name, name)
      end
      assert.equal("invalid_argument", failure(db[name], db).name, name)
    end
  end)

  it("that copies is refused, and the connection goes on", function()
    for _, name in ipairs{ "q", "first", "item", "execute", "arrays", "each", "prepare" } do
      for _, sql in ipairs{ "COPY artist TO STDOUT", "COPY artist FROM STDIN", "COPY (SELECT generate_series(1, 100000)) TO STDOUT" } do
        local ok, err = pcall(db[name], db, sql)
        if name == "prepare" then
          if ok then ok, err = pcall(err) end
        elseif name == "each" and ok then
          ok, err = pcall(err)
        end
        assert.is_false(ok, name .. " " .. sql)
        assert.truthy(err.message:find "COPY", err.message)
        assert.equal(3, db:item("SELECT count(*) FROM artist"))
      end
    end
    assert.truthy(failure(db.execute, db, "SELECT 1; COPY artist FROM STDIN; COPY artist TO STDOUT; SELECT 2"))
    assert.truthy(failure(db.pipeline, db, function(p)
      p:q "SELECT 1"
      p:q "COPY artist FROM STDIN"
      p:q "COPY artist TO STDOUT"
    end))
    assert.truthy(failure(db.executemany, db, "COPY artist TO STDOUT", { {}, {} }))
    assert.equal(3, db:item("SELECT count(*) FROM artist"))
  end)
end)

describe("the statement cache", function()
  local function prepared(of) return of:item("SELECT count(*) FROM pg_prepared_statements") end

  for _, size in ipairs{ 0, 1, 2, 100 } do
    it("of " .. size .. " serves more statements than it holds", function()
      local small = pg.db{ statement_cache_size = size }
      for round = 1, 3 do
        for i = 1, 6 do
          assert.equal(i + round, small:item("SELECT $1::int + " .. i, round))
          assert.equal(i, small:first(("SELECT %d AS c%d"):format(i, i))["c" .. i])
        end
      end
      assert.is_true(prepared(small) <= math.max(size, 1), prepared(small))
      if size == 0 then assert.equal(0, prepared(small)) end
      local results = small:pipeline(function(p)
        for i = 1, 6 do p:item("SELECT $1::int + " .. i, 1) end
      end)
      assert.same({ 2, 3, 4, 5, 6, 7, n = 6 }, results)
      small:transaction(function(tx)
        for i = 1, 4 do
          assert.equal("division_by_zero", failure(function()
            tx:transaction(function() tx:item(("SELECT %d / $1::int"):format(i), 0) end)
          end).name)
          assert.equal(i, tx:item(("SELECT %d / $1::int"):format(i), 1))
        end
        local n = 0
        for _ in tx:each("SELECT generate_series(1, 200)") do n = n + tx:item("SELECT 1") end
        assert.equal(200, n)
      end)
      assert.is_true(prepared(small) <= math.max(size, 1))
      small:close()
    end)
  end

  for _, size in ipairs{ 0, 1, 100 } do
    it("of " .. size .. " survives DDL of another session", function()
      local one = pg.db{ statement_cache_size = size }
      other:execute "DROP TABLE IF EXISTS changing; CREATE TABLE changing(a int); INSERT INTO changing VALUES (1)"
      assert.same({ a = 1 }, plain(one:first("SELECT * FROM changing")))
      other:execute "ALTER TABLE changing ADD b text DEFAULT 'x'"
      assert.same({ a = 1, b = "x" }, plain(one:first("SELECT * FROM changing")))
      other:execute "ALTER TABLE changing ALTER a TYPE text"
      assert.same({ a = "1", b = "x" }, plain(one:q("SELECT * FROM changing")[1]))
      other:execute "ALTER TABLE changing DROP b"
      assert.equal("1", one:arrays("SELECT * FROM changing")[1][1])
      other:execute "ALTER TABLE changing ADD c int DEFAULT 5"
      local n = 0
      for row in one:each("SELECT * FROM changing") do n = n + row.c end
      assert.equal(5, n)
      other:execute "ALTER TABLE changing ADD d int DEFAULT 6"
      assert.equal(6, one:pipeline(function(p) p:first "SELECT * FROM changing" end)[1].d)
      other:execute "ALTER TABLE changing ALTER a TYPE int USING a::int"
      assert.equal(2, one:executemany("UPDATE changing SET a = $1", { { 1 }, { 2 } }))
      other:execute "DROP TABLE changing"
      assert.equal("undefined_table", failure(one.first, one, "SELECT * FROM changing").name)
      other:execute "CREATE TABLE changing(z int); INSERT INTO changing VALUES (9)"
      assert.equal(9, one:first("SELECT * FROM changing").z)
      other:execute "DROP TABLE changing"
      one:close()
    end)
  end

  it("says inside a transaction that the table was changed", function()
    other:execute "DROP TABLE IF EXISTS changing; CREATE TABLE changing(a int); INSERT INTO changing VALUES (1)"
    local one = pg.db()
    one:first("SELECT * FROM changing")
    local function run()
      return one:transaction(function(tx) return tx:first("SELECT * FROM changing").b end)
    end
    other:execute "ALTER TABLE changing ADD b int DEFAULT 2"
    local err = failure(run)
    assert.equal("0A000", err.sqlstate)
    assert.truthy(err.hint)
    assert.equal(2, run())
    other:execute "DROP TABLE changing"
    one:close()
  end)

  it("notices DEALLOCATE and DISCARD", function()
    local one = pg.db()
    for _, command in ipairs{ "DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE PREPARE ALL", "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$" } do
      for _ = 1, 2 do
        for i = 1, 4 do assert.equal(i, one:item("SELECT $1::int", i)) end
        assert.equal(1, one:first("SELECT 1 AS a").a)
        one:execute(command)
      end
      assert.equal(2, one:executemany("UPDATE artist SET name = name WHERE artist_id = $1", { { 1 }, { 2 } }))
      one:execute(command)
      assert.same({ 1, 2, n = 2 }, one:pipeline(function(p)
        p:item("SELECT $1::int", 1)
        p:item("SELECT $1::int", 2)
      end))
      one:execute(command)
      local n = 0
      for _ in one:each("SELECT $1::int", 1) do n = n + 1 end
      assert.equal(1, n)
    end
    one:close()
  end)

  it("keeps memory level over many calls", function()
    local sql = "SELECT 1"
    local function calls(n)
      for _ = 1, n do db:item(sql) end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    local before = calls(1000)
    local after = calls(20000)
    assert.is_true(after - before < 50, ("%.0f kB more"):format(after - before))
    for i = 1, 3000 do db:item(("SELECT %d"):format(i)) end
    local full = calls(1)
    for i = 3001, 9000 do db:item(("SELECT %d"):format(i)) end
    local later = calls(1)
    assert.is_true(later - full < 300, ("%.0f kB more"):format(later - full))
  end)
end)

describe("an error", function()
  it("leaves the connection as it was", function()
    for _, case in ipairs{
      { "syntax_error", "SELEC" }, { "division_by_zero", "SELECT 1/0" }, { "undefined_table", "SELECT * FROM nowhere" },
      { "undefined_column", "SELECT nothing FROM artist" }, { "unique_violation", "INSERT INTO artist VALUES (1, 'x')" },
      { "invalid_text_representation", "SELECT 'x'::int" }, { "undefined_parameter", "SELECT $0" },
      { "invalid_text_representation", "SELECT $1::int", "x" },
    } do
      for _, name in ipairs{ "q", "first", "qone", "item", "fetchval", "execute", "arrays" } do
        assert.equal(case[1], failure(db[name], db, unpack(case, 2)).name)
      end
    end
    local before = db:item("SELECT pg_backend_pid()")
    pcall(db.item, db, "SELECT 1/0")
    assert.equal(before, db:item("SELECT pg_backend_pid()"))
  end)

  it("of a transaction left open by SQL text is one, and rolls it back", function()
    for _, begin in ipairs{ "BEGIN", "START TRANSACTION", "BEGIN; DELETE FROM artist" } do
      local err = failure(db.execute, db, begin)
      assert.truthy(err.message:find "db:transaction", err.message)
      assert.equal(3, db:item("SELECT count(*) FROM artist"))
    end
    assert.equal("COMMIT", db:execute "BEGIN; UPDATE artist SET name = 'done' WHERE artist_id = 3; COMMIT")
    assert.equal("done", db:item("SELECT name FROM artist WHERE artist_id = 3"))
  end)

  it("of a value that can't be decoded leaves the rest", function()
    db:transaction(function()
      assert.equal("invalid_argument", failure(db.item, db, "SELECT $1::int", {}).name)
      assert.equal(1, db:item("SELECT 1"))
    end)
  end)
end)
