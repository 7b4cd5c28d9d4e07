-- SPDX-License-Identifier: MIT
--
-- the wire: whatever fails, and wherever, an answer belongs to the statement that was sent for it, and a connection that
-- goes on is in step with its server.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("no error was raised", 2) end
  assert.equal("table", type(err), tostring(err))
  assert.truthy(err.name)
  assert.truthy(err.message and err.message ~= "", tostring(err))
  return err
end

local function fails(name, fn, ...)
  local err = failure(fn, ...)
  if not fastpg.is(err, name) then error(("%s expected, got %s"):format(name, tostring(err)), 2) end
  return err
end

-- Answers are their statements' own: what another one would give shows.
local number = 0
local function in_step(on, what)
  for _ = 1, 3 do
    number = number + 1
    assert.equal(number, on:item("select $1::int", number), what)
    assert.equal(-number, on:item("select " .. -number), what)
  end
  assert.same({ { number, n = 1 }, columns = nil }, { on:arrays("select " .. number)[1] }, what)
end

-- ---- COPY --------------------------------------------------------------------------------------

describe("a COPY that fails", function()
  setup(function()
    db:execute [[
      create table plain (id int, body text);
      create table keyed (id int primary key, body text);
      create table parent (id int primary key);
      create table late (id int references parent deferrable initially deferred, body text);
      create table checked (id int check (id <> 13), body text);
      create table each_row (id int, body text);
      create table each_statement (id int, body text);
      create table after_statement (id int, body text);
      create view plain_view as select * from plain;
      create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused by a trigger'; end $$;
      create function refuse_13() returns trigger language plpgsql as $$
        begin if new.id = 13 then raise exception 'refused by a trigger'; end if; return new; end $$;
      create trigger b before insert on each_statement for each statement execute function refuse();
      create trigger a after insert on after_statement for each statement execute function refuse();
      create trigger r before insert on each_row for each row execute function refuse_13();
      create table generated (id int generated always as (1) stored, body text);
      create role nobody_at_all]]
  end)

  local ROW = "1\tone\n"
  local MANY = ROW:rep(3000) -- more than one piece

  -- A text whose row n is another one.
  local function with(bad, at, rows)
    local list = {}
    for i = 1, rows or 2000 do list[i] = i == at and bad or i + 100 .. "\tx\n" end
    return table.concat(list)
  end

  local function raising_source(after)
    local n = 0
    return function()
      n = n + 1
      if n > after then error("the source raises", 0) end
      return MANY
    end
  end

  local function bad_source(after)
    local n = 0
    return function()
      n = n + 1
      if n > after then return 7 end
      return MANY
    end
  end

  -- Each: what it is, the SQL, the source, and the name of the error (nil: any).
  local from = {
    { "a trigger before the statement", "copy each_statement from stdin", ROW, "raise_exception" },
    { "a trigger before the statement, no rows", "copy each_statement from stdin", "", "raise_exception" },
    { "a trigger before the statement, many rows", "copy each_statement from stdin", MANY, "raise_exception" },
    { "a trigger before the statement, a source", "copy each_statement from stdin", raising_source(2) },
    { "a trigger after the statement", "copy after_statement from stdin", ROW, "raise_exception" },
    { "a view", "copy plain_view from stdin", ROW, "wrong_object_type" },
    { "a view, many rows", "copy plain_view from stdin", MANY, "wrong_object_type" },
    { "a view, no rows", "copy plain_view from stdin", "", "wrong_object_type" },
    { "FREEZE", "copy plain from stdin (freeze)", ROW, "object_not_in_prerequisite_state" },
    { "FREEZE, many rows", "copy plain from stdin with (freeze, format csv)", MANY, "object_not_in_prerequisite_state" },
    { "no such table", "copy nowhere from stdin", ROW, "undefined_table" },
    { "no such column", "copy plain (nothing) from stdin", ROW, "undefined_column" },
    { "a generated column", "copy generated (id) from stdin", "1\n", "invalid_column_reference" },
    { "a wrong option", "copy plain from stdin (format gzip)", ROW, "invalid_parameter_value" },
    { "a wrong encoding", "copy plain from stdin (encoding 'klingon')", ROW, "invalid_parameter_value" },
    { "a syntax error", "copy plain from stdin wherever", ROW, "syntax_error" },
    { "a bad first row", "copy plain from stdin", with("x\ty\n", 1), "invalid_text_representation" },
    { "a bad row in the middle", "copy plain from stdin", with("x\ty\n", 1000), "invalid_text_representation" },
    { "a bad last row", "copy plain from stdin", with("x\ty\n", 2000), "invalid_text_representation" },
    { "a short row", "copy plain from stdin", with("7\n", 900), "bad_copy_file_format" },
    { "a long row", "copy plain from stdin", with("7\ta\tb\n", 2000), "bad_copy_file_format" },
    { "bad UTF-8", "copy plain from stdin", with("7\t\255\n", 500), "character_not_in_repertoire" },
    { "a bad binary header", "copy plain from stdin (format binary)", ROW, "bad_copy_file_format" },
    { "a bad binary header, many", "copy plain from stdin (format binary)", MANY, "bad_copy_file_format" },
    { "a key twice", "copy keyed from stdin", MANY, "unique_violation" },
    { "a key twice at the end", "copy keyed from stdin", with("101\tx\n", 2000), "unique_violation" },
    { "a check", "copy checked from stdin", with("13\tx\n", 700), "check_violation" },
    { "a trigger for a row", "copy each_row from stdin", with("13\tx\n", 1999), "raise_exception" },
    { "a constraint deferred to the end", "copy late from stdin", ROW, "foreign_key_violation" },
    { "a constraint deferred to the end, many rows", "copy late from stdin", MANY, "foreign_key_violation" },
    { "a source that raises at once", "copy plain from stdin", raising_source(0) },
    { "a source that raises later", "copy plain from stdin", raising_source(3) },
    { "a source that gives a number", "copy plain from stdin", bad_source(1), "invalid_argument" },
    { "the other direction", "copy plain to stdout", ROW, "invalid_argument" },
    { "two statements", "copy plain from stdin; select 1", ROW, "invalid_argument" },
    { "a condition that fails", "copy plain from stdin where 1 / (id - 1) > 0", ROW, "division_by_zero" },
  }

  local function raising_sink(after)
    local n = 0
    return function()
      n = n + 1
      if n > after then error("the sink raises", 0) end
    end
  end

  local to = {
    { "no such table", "copy nowhere to stdout", nil, "undefined_table" },
    { "a view", "copy plain_view to stdout", nil, "wrong_object_type" },
    { "at the first row", "copy (select 1 / 0) to stdout", nil, "division_by_zero" },
    { "at the first row, planned late", "copy (select 1 / (i - 1) from generate_series(1, 10) i) to stdout", nil, "division_by_zero" },
    { "in the middle", "copy (select 1 / (i - 50000) from generate_series(1, 100000) i) to stdout", nil, "division_by_zero" },
    { "at the last row", "copy (select 1 / (i - 100000) from generate_series(1, 100000) i) to stdout", nil, "division_by_zero" },
    { "in a sink, at once", "copy (select generate_series(1, 100000)) to stdout", raising_sink(0) },
    { "in a sink, later", "copy (select generate_series(1, 300000)) to stdout", raising_sink(2) },
    { "in the middle, binary", "copy (select 1 / (i - 50000) from generate_series(1, 100000) i) to stdout (format binary)", nil, "division_by_zero" },
    { "the other direction", "copy plain from stdin", nil, "invalid_argument" },
  }

  local function fail(case, fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok, case[1])
    if case[4] and not fastpg.is(err, case[4]) then error(case[1] .. ": " .. tostring(err)) end
    if type(err) == "table" then
      assert.truthy(err.message ~= "" and err.name ~= "connection_busy" and err.name ~= "connection", case[1] .. ": " .. tostring(err))
    end
  end

  local function run_all(on, check)
    for _, case in ipairs(from) do
      fail(case, on.copy_from, on, case[2], case[3])
      check(case[1])
    end
    for _, case in ipairs(to) do
      fail(case, on.copy_to, on, case[2], case[3])
      check(case[1])
    end
  end

  it("leaves the connection in step, 200 times", function()
    local one = pg.pool(nil, { max_size = 1 })
    local pid = one.pid
    for _ = 1, 5 do
      run_all(one, function(what) in_step(one, what) end)
    end
    assert.equal(pid, one.pid) -- it is the same one: none had to be closed
    assert.equal(0, one:item "select count(*) from plain")
    one:close()
  end)

  it("leaves it in step inside acquire", function()
    db:acquire(function(c)
      run_all(c, function(what) in_step(c, what) end)
    end)
  end)

  it("fails the transaction around it, and a savepoint saves that", function()
    for _, case in ipairs(from) do
      local seen
      pcall(db.transaction, db, function(tx)
        tx:execute "set constraints all immediate"
        tx:execute "insert into plain values (77)"
        pcall(tx.transaction, tx, function()
          seen = not pcall(tx.copy_from, tx, case[2], case[3])
          error("away", 0)
        end)
        in_step(tx, case[1])
        assert.equal(1, tx:item "select count(*) from plain")
        error("undone", 0)
      end)
      assert.is_true(seen, case[1])
      in_step(db, case[1])
    end
    for _, case in ipairs(to) do
      pcall(db.transaction, db, function(tx)
        pcall(tx.transaction, tx, function()
          fail(case, tx.copy_to, tx, case[2], case[3])
          error("away", 0)
        end)
        in_step(tx, case[1])
      end)
    end
    assert.equal(0, db:item "select count(*) from plain")
  end)

  it("fails as any statement in a transaction does", function()
    for _, case in ipairs(from) do
      local err = failure(db.transaction, db, function(tx)
        pcall(tx.copy_from, tx, case[2], case[3])
        return tx:item "select 1 / 0"
      end)
      assert.truthy(fastpg.is(err, "in_failed_sql_transaction") or fastpg.is(err, "division_by_zero"), case[1] .. ": " .. tostring(err))
      in_step(db, case[1])
    end
  end)

  it("leaves it in step where rows are made of records", function()
    local t = db.t
    local function rows(bad)
      local list = {}
      for i = 1, 3000 do list[i] = i == bad and { id = 13, body = "x" } or { id = i + 100, body = ("x"):rep(20) } end
      return list
    end
    for _, format in ipairs{ "text", "binary" } do
      for _ = 1, 3 do
        for _, bad in ipairs{ 1, 1500, 3000 } do
          fails("check_violation", t.checked.copy, t.checked, rows(bad), { format = format })
          in_step(db)
          fails("raise_exception", t.each_row.copy, t.each_row, rows(bad), { format = format })
          in_step(db)
        end
        fails("raise_exception", t.each_statement.copy, t.each_statement, rows(), { format = format })
        in_step(db)
        fails("raise_exception", t.after_statement.copy, t.after_statement, rows(), { format = format })
        in_step(db)
        fails("foreign_key_violation", t.late.copy, t.late, rows(), { format = format })
        in_step(db)
        local n = 0
        local ok = pcall(t.plain.copy, t.plain, function()
          n = n + 1
          if n > 2000 then error("the source raises", 0) end
          return { id = n, body = "x" }
        end, { format = format })
        assert.is_false(ok)
        in_step(db)
        fails("invalid_argument", t.plain.copy, t.plain, function() return { id = {}, body = "x" } end, { format = format })
        in_step(db)
      end
    end
    assert.equal(0, db:item "select count(*) from plain")
  end)

  it("leaves it in step when its time is over", function()
    for _ = 1, 3 do
      local err = failure(db.timeout, db, 0.2, function()
        return db:copy_to("copy (select pg_sleep(0.1), generate_series(1, 100000)) to stdout")
      end)
      assert.is_true(fastpg.is(err, "timeout"), tostring(err))
      in_step(db)
      err = failure(db.timeout, db, 0.1, function()
        local begun = false
        return db:copy_from("copy plain from stdin where pg_sleep(0.3) is not null", function()
          if begun then return nil end
          begun = true
          return MANY
        end)
      end)
      assert.is_true(fastpg.is(err, "timeout"), tostring(err))
      in_step(db)
    end
  end)

  it("leaves it in step when its task is canceled", function()
    local tasks_db = pg.db{ loop = "step" }
    local function canceled(fn, delay)
      fastpg.run{ function()
        local task = fastpg.spawn(fn)
        fastpg.sleep(delay)
        task:cancel()
        local err = failure(task.wait, task)
        assert.is_true(fastpg.is(err, "canceled"), tostring(err))
        in_step(tasks_db)
      end }
    end
    if not pcall(canceled, function() fastpg.sleep(1) end, 0.01) then return end -- PUC 5.1 can't
    for _, delay in ipairs{ 0.01, 0.05, 0.1 } do
      canceled(function() tasks_db:copy_to("copy (select pg_sleep(0.02), generate_series(1, 100000)) to stdout") end, delay)
      canceled(function() tasks_db:copy_from("copy plain from stdin where pg_sleep(0.3) is not null", MANY) end, delay)
      canceled(function() tasks_db:copy_from("copy plain from stdin", function() return MANY end) end, delay)
    end
    tasks_db:close()
  end)
end)

describe("COPY", function()
  it("takes STDIN and STDOUT for each other, as the server does", function()
    db:execute "create table either (id int)"
    for i, sql in ipairs{ "copy either from stdin", "copy either from stdout", "COPY either FROM STDOUT;", "copy either(id)from/* */stdout",
      "/* to stdout */ copy either from STDOUT with (format text) -- x", 'copy "either" from stdin', "copy public.either (id) from stdin where id > 0" } do
      assert.equal(1, db:copy_from(sql, i .. "\n"), sql)
    end
    for _, sql in ipairs{ "copy either to stdout", "copy either to stdin", "COPY(select * from either)TO STDIN",
      "copy (table either) to stdin csv", "copy (select 'from stdin', id from either) to stdout;" } do
      local _, n = db:copy_to(sql)
      assert.equal(7, n, sql)
    end
    for _, sql in ipairs{ "copy either to stdin", "copy (select 'from stdin') to stdout", "copy either from '/nowhere'", 'copy either from "stdin"',
      "copy either from program 'true'", "select 1 as copy", "copy", "copy either from", "copy either", "" } do
      local err = fails("invalid_argument", db.copy_from, db, sql, "1\n")
      assert.truthy(err.message:find("is no COPY … FROM STDIN", 1, true), err.message)
    end
    db:execute "drop table either"
  end)

  it("is refused as a plain statement, before anything has run", function()
    db:execute "create table untouched (id int)"
    local statements = { "copy untouched from stdin", "COPY untouched (id) FROM STDOUT", "copy untouched to stdout",
      "copy (select * from untouched) to stdin", "/* x */ copy untouched from stdin;" }
    for _, sql in ipairs(statements) do
      for _, method in ipairs{ "q", "first", "qone", "item", "fetchval", "arrays", "execute", "each", "prepare" } do
        local err = fails("feature_not_supported", db[method], db, sql)
        assert.truthy(err.message:find(sql:lower():find " from " and not sql:find "select" and "copy_from" or "copy_to", 1, true), err.message)
      end
      fails("feature_not_supported", db.execute, db, "insert into untouched values (1); " .. sql)
      fails("feature_not_supported", db.execute, db, sql .. "; insert into untouched values (1)")
      fails("feature_not_supported", db.execute, db, sql:gsub(";", "") .. " where id = $1", 1)
      fails("feature_not_supported", db.executemany, db, sql, { {} })
      fails("feature_not_supported", db.pipeline, db, function(p)
        p:execute "insert into untouched values (1)"
        p:execute(sql)
      end)
      db:transaction(function(tx)
        fails("feature_not_supported", tx.q, tx, sql)
        in_step(tx)
      end)
      in_step(db, sql)
    end
    assert.equal(0, db:item "select count(*) from untouched")
    db:execute "drop table untouched"
  end)

  it("of the server's own files and programs is a statement like others", function()
    assert.equal("COPY 3", db:execute "copy (select generate_series(1, 3)) to program 'cat > /dev/null'")
    assert.equal("COPY 3", db:execute "copy (select 'from stdin', generate_series(1, 3)) to '/dev/null'")
    fails("undefined_file", db.execute, db, "copy plain from '/nowhere/at/all'")
    in_step(db)
  end)
end)

-- ---- statements that are made and not run --------------------------------------------------------

describe("prepare", function()
  local function bad_and_good(on)
    fails("undefined_table", on.prepare, on, "select * from nowhere")
    in_step(on)
    fails("syntax_error", on.prepare, on, "selekt")
    in_step(on)
    fails("syntax_error", on.prepare, on, "select 1; select 2")
    in_step(on)
    on:prepare "select $1 is null" -- (its type is that of the value, which comes later)
    in_step(on)
    local st = on:prepare "select 1 as one"
    in_step(on)
    assert.equal(1, st()[1].one)
    in_step(on)
    assert.equal(1, st:item())
    on:prepare ""
    in_step(on)
    on:prepare "-- nothing"
    in_step(on)
    on:prepare "select 1"
    on:prepare "select 2"
    local insert = on:prepare "insert into prepared_rows values (:a) returning a"
    in_step(on)
    assert.equal(5, insert:item{ a = 5 })
    assert.equal("INSERT 0 1", insert:execute{ a = 6 })
  end

  for _, size in ipairs{ 0, 1, 100 } do
    it("leaves nothing open, with statement_cache_size = " .. size, function()
      local one = pg.db{ statement_cache_size = size }
      one:execute "create table if not exists prepared_rows (a int)"
      bad_and_good(one)
      one:acquire(bad_and_good)
      local begun = one:begin()
      begun:prepare "select 1"
      in_step(begun)
      begun:prepare "select 1"
      begun:commit()
      one:transaction(function(tx)
        tx:prepare "select 1"
        in_step(tx)
        tx:prepare "insert into prepared_rows values (1)"
        tx:transaction(function() tx:prepare "select 2" end)
        for row in tx:each "select generate_series(1, 3) as n" do
          tx:prepare("select " .. row.n)
          in_step(tx)
        end
        tx:prepare "select 1"
        tx:copy_from("copy prepared_rows from stdin", "1\n")
        tx:prepare "select 1"
        tx:pipeline(function(p) p:q "select 1" end)
        tx:prepare "select 1"
        tx:executemany("insert into prepared_rows values ($1)", { { 1 }, { 2 } })
        tx:prepare "select 1"
      end)
      in_step(one)
      one:close()
    end)

    it("works in a transaction that has failed, with statement_cache_size = " .. size, function()
      local one = pg.db{ statement_cache_size = size }
      one:acquire(function(c)
        for _, how in ipairs{ "prepare", "pipeline", "execute" } do
          c:execute "begin"
          fails("division_by_zero", c.item, c, "select 1/0")
          fails("in_failed_sql_transaction", c.item, c, "select 1")
          fails("in_failed_sql_transaction", c.prepare, c, "select 1")
          if how == "prepare" then
            local rollback = c:prepare "rollback"
            c:prepare "rollback"
            fails("in_failed_sql_transaction", c.item, c, "select 1")
            assert.equal("ROLLBACK", rollback:execute())
          elseif how == "pipeline" then
            assert.same({ "ROLLBACK", n = 1 }, c:pipeline(function(p) p:execute "rollback" end))
          else
            assert.equal("ROLLBACK", c:execute "rollback")
          end
          in_step(c)
        end
      end)
      in_step(one)
      one:close()
    end)
  end
end)

describe("a pipeline", function()
  setup(function()
    db:execute [[
      create table if not exists parent_p (id int primary key);
      create table child_p (id int references parent_p deferrable initially deferred)]]
  end)

  it("says what went wrong first, at a COMMIT too", function()
    local function queue(p)
      p:execute "insert into child_p values (7)"
      p:execute "commit"
    end
    db:acquire(function(c)
      c:execute "begin"
      fails("foreign_key_violation", c.pipeline, c, queue)
      in_step(c)
      c:execute "begin"
      fails("foreign_key_violation", c.pipeline, c, function(p)
        queue(p)
        p:item "select 1"
      end)
      in_step(c)
      c:execute "begin"
      fails("unique_violation", c.pipeline, c, function(p)
        p:execute "insert into parent_p values (1), (1)"
        p:execute "commit"
      end)
      c:execute "rollback"
      in_step(c)
    end)
    fails("active_sql_transaction", db.pipeline, db, function(p) -- before anything is sent
      p:execute "begin"
      queue(p)
    end)
    in_step(db)
    fails("foreign_key_violation", db.pipeline, db, function(p) p:execute "insert into child_p values (7)" end)
    fails("foreign_key_violation", db.executemany, db, "insert into child_p values ($1)", { { 1 }, { 2 } })
    assert.equal(0, db:item "select count(*) from child_p")
    assert.equal(0, db:item "select count(*) from parent_p")
  end)

  it("may end the transaction that the program began", function()
    db:acquire(function(c)
      c:execute "begin"
      local results = c:pipeline(function(p)
        p:execute "insert into parent_p values (1)"
        p:execute "commit"
        p:item "select count(*) from parent_p"
      end)
      assert.same({ "INSERT 0 1", "COMMIT", 1, n = 3 }, results)
      in_step(c)
    end)
    db:execute "delete from parent_p"
  end)
end)
