-- SPDX-License-Identifier: MIT
--
-- the statements of a text: where each ends, its verb, what it runs; and the server's word on it.

local core = require "fastpg.core"
local pg = require "spec.support.pg"

-- "INSERT DELETE UPDATE > UPDATE" is verbs > verb, then (inner); statements apart by " ; ".
local function outline(sql, standard)
  local out = {}
  for i, one in ipairs(core.statements(sql, standard)) do
    out[i] = table.concat(one.verbs, " ") .. " > " .. tostring(one.verb) .. (one.inner and " (" .. one.inner .. ")" or "")
  end
  return table.concat(out, " ; ")
end

local function words(sql) return table.concat(core.statements(sql)[1].words, " ") end

describe("statements", function()
  it("are apart by semicolons, in the text and nowhere else", function()
    local texts = {
      [""] = {}, [" ;; /* ; */ ; -- ;"] = {}, ["select 1"] = { "select 1" }, [";;select 1; "] = { "select 1" },
      ["commit; begin"] = { "commit", "begin" }, ["a;b /* ; */;c--;"] = { "a", "b", "c" },
      ["select ';', E'\\';', \";\", $$;$$, $a$;$$;$a$, /* /* ; */ ; */ 1;x"] =
        { "select ';', E'\\';', \";\", $$;$$, $a$;$$;$a$, /* /* ; */ ; */ 1", "x" },
      ["create rule r as on insert to t do also (delete from a; delete from b); x"] =
        { "create rule r as on insert to t do also (delete from a; delete from b)", "x" },
      ["create function f() returns int begin atomic select case when a then 1 end; select 1 end; end; commit"] =
        { "create function f() returns int begin atomic select case when a then 1 end; select 1 end; end", "commit" },
      ["create procedure p() begin atomic end; commit"] = { "create procedure p() begin atomic end", "commit" },
      ["create procedure p() begin atomic\n; -- x\n end"] = { "create procedure p() begin atomic\n; -- x\n end" },
      ["begin atomic; commit"] = { "begin atomic", "commit" },
      ["create table begin (atomic int); commit"] = { "create table begin (atomic int)", "commit" },
      ["select 1); commit"] = { "select 1)", "commit" }, ["1; \"commit\" x"] = { "1", "\"commit\" x" },
    }
    for sql, want in pairs(texts) do
      local got = {}
      for i, one in ipairs(core.statements(sql)) do got[i] = sql:sub(one.first, one.last) end
      assert.same(want, got, sql)
    end
  end)

  it("heed standard_conforming_strings", function()
    assert.equal(2, #core.statements([[select '\'; commit --']], true))
    assert.equal(1, #core.statements([[select '\'; commit --']], false))
    assert.equal(2, #core.statements([[select '\'; commit --']]))
  end)

  local outlines = {
    -- what it is
    { "Select 1", "SELECT > SELECT" }, { "(select 1) union select 2", "SELECT > SELECT" }, { "((table a))", "TABLE > TABLE" },
    { "/* x */ values (1)", "VALUES > VALUES" }, { "1", " > nil" }, { "\"select\" 1", " > nil" }, { "commit and chain", "COMMIT > COMMIT" },
    { "insert into t select 1 on conflict do update set a = 1", "INSERT > INSERT" }, { "merge into t using s on a when matched then delete", "MERGE > MERGE" },
    { "select update, delete from t for update", "SELECT > SELECT" }, { "do $$ begin commit; end $$", "DO > DO" }, { "größe", "GRößE > GRößE" },
    -- SELECT INTO
    { "select a, b into t from u", "SELECT CREATE > SELECT" }, { "(select 1 as into into temp t)", "SELECT CREATE > SELECT" },
    { "with x as (select 1) select * into unlogged t from x", "SELECT CREATE > SELECT" }, { "explain analyze select 1 into t", "EXPLAIN SELECT CREATE > EXPLAIN (SELECT)" },
    { "explain select 1 into t", "EXPLAIN > EXPLAIN (SELECT)" }, { "select t.into, (1), 'into' from \"into\"", "SELECT > SELECT" },
    { "merge into t using s on a when matched then delete", "MERGE > MERGE" },
    -- WITH
    { "with x as (select 1) select * from x", "SELECT > SELECT" }, { "with x as (select 1) (select 2)", "SELECT > SELECT" },
    { "with x as (select 1) ((values (2)))", "VALUES > VALUES" }, { "with recursive x(a) as (select 1) table x", "TABLE > TABLE" },
    { "with x as (select 1) update only t set a = 1", "UPDATE > UPDATE" }, { "with x as (select 1) delete from t", "DELETE > DELETE" },
    { "with x as (insert into t values (1) returning *) select * from x", "INSERT SELECT > SELECT" },
    { "with x as materialized (delete from t), y as not materialized (update t set a = 1) insert into u table x",
      "DELETE UPDATE INSERT > INSERT" },
    { "with x as (insert into t values (1)), y as (insert into u values (1)) insert into v values (1)", "INSERT > INSERT" },
    { "WITH x AS (MERGE INTO t USING s ON a = b WHEN MATCHED THEN DELETE) SELECT 1", "MERGE SELECT > SELECT" },
    { "((with x as (delete from t returning *) select * from x) limit 1)", "DELETE SELECT > SELECT" },
    { "with insert as (select 1), update as (select 2) select 3", "SELECT > SELECT" },
    { "with recursive delete as (select 1) search depth first by a, update set c select 1", "SELECT > SELECT" },
    { "with x as (select update, delete, (insert), t.update from t for no key update) select 1", "SELECT > SELECT" },
    { "with x as (select 'insert into') select 1 -- delete from t", "SELECT > SELECT" },
    -- statements with one inside
    { "explain select 1", "EXPLAIN > EXPLAIN (SELECT)" }, { "explain verbose delete from t", "EXPLAIN > EXPLAIN (DELETE)" },
    { "explain analyze verbose delete from t", "EXPLAIN DELETE > EXPLAIN (DELETE)" },
    { "explain (verbose, analyze) with x as (insert into t values (1)) select 1", "EXPLAIN INSERT SELECT > EXPLAIN (SELECT)" },
    { "explain (analyze off, costs) delete from t", "EXPLAIN > EXPLAIN (DELETE)" }, { "explain (analyze 'false') delete from t", "EXPLAIN > EXPLAIN (DELETE)" },
    { "explain (analyze on) delete from t", "EXPLAIN DELETE > EXPLAIN (DELETE)" }, { "explain (format json, analyse true) (select 1)", "EXPLAIN SELECT > EXPLAIN (SELECT)" },
    { "explain (select analyze from t)", "EXPLAIN > EXPLAIN (SELECT)" }, { "explain ((select 1))", "EXPLAIN > EXPLAIN (SELECT)" },
    { "explain (analyze) create table t as select 1", "EXPLAIN CREATE SELECT > EXPLAIN (SELECT)" },
    { "prepare p (int, text) as insert into t values ($1)", "PREPARE > PREPARE (INSERT)" }, { "prepare p as (select 1)", "PREPARE > PREPARE (SELECT)" },
    { "prepare p as with x as (delete from t returning *) select 1", "PREPARE > PREPARE (SELECT)" },
    { "prepare transaction 'x'", "PREPARE > PREPARE" }, { "prepare transaction as select 1", "PREPARE > PREPARE (SELECT)" },
    { "declare c cursor with hold for with x as (select 1) values (1)", "DECLARE > DECLARE (VALUES)" },
    { "copy (delete from t returning *) to stdout", "COPY DELETE > COPY (DELETE)" }, { "copy t (a) from stdin", "COPY > COPY" },
    { "copy (with x as (insert into t values (1) returning *) table x) to stdout", "COPY INSERT TABLE > COPY (TABLE)" },
    { "create table x as with d as (delete from t returning *) select * from d", "CREATE DELETE SELECT > CREATE (SELECT)" },
    { "create domain d as int", "CREATE > CREATE" }, { "create type t as (a int)", "CREATE > CREATE" },
    { "create rule r as on insert to t do instead with x as (delete from t returning *) select 1", "CREATE > CREATE" },
    { "create function f() returns int begin atomic with x as (insert into t values (1)) select 1; end", "CREATE > CREATE" },
    { "create schema s create view v as select 1", "CREATE SELECT > CREATE (SELECT)" },
    { "execute p (1)", "EXECUTE > EXECUTE" }, { "begin; delete from t; end", "BEGIN > BEGIN ; DELETE > DELETE ; END > END" },
  }
  it("have a verb, those that they run, and one inside", function()
    for _, case in ipairs(outlines) do assert.equal(case[2], outline(case[1]), case[1]) end
  end)

  it("have words, brackets apart", function()
    for sql, want in pairs{
      ["set local app.tenant = 'x'"] = "SET LOCAL APP.TENANT", ["copy \"Shop\" . item (a, b) from stdin with (format csv)"] = "COPY Shop.ITEM FROM STDIN WITH",
      ["rollback/**/work to savepoint \"a\"\"B\""] = "ROLLBACK WORK TO SAVEPOINT a\"B", ["Commit And No Chain"] = "COMMIT AND NO CHAIN",
      ["(select a from b)"] = "SELECT A FROM B", ["savepoint U&\"\\0061\""] = "SAVEPOINT U&\"\\0061\"", ["release \""] = "RELEASE \"",
      ["a b c d e f g h i j k l m n o.p"] = "A B C D E F G H I J K L", ["a b c d e f g h i j k l.m"] = "A B C D E F G H I J K L.M",
      ["set a.b.c to d, e"] = "SET A.B.C TO D E", [("x"):rep(200) .. " y"] = ("X"):rep(200) .. " Y",
    } do assert.equal(want, words(sql), sql) end
  end)

  it("are those of the server", function() -- which says by its own command tags what it ran
    local c = pg.db()
    c:execute "CREATE TEMP TABLE verbs_t (a int); CREATE TEMP VIEW verbs_v AS SELECT 1 AS a"
    local texts = {
      "SELECT 1", "(SELECT 1)", "VALUES (1)", "TABLE verbs_t", "INSERT INTO verbs_t VALUES (1)", "UPDATE verbs_t SET a = 2", "DELETE FROM verbs_t",
      "WITH x AS (INSERT INTO verbs_t VALUES (1) RETURNING a) SELECT * FROM x", "WITH insert AS (SELECT 1) UPDATE verbs_t SET a = 3",
      "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a FROM x WHERE false) SEARCH DEPTH FIRST BY a SET o DELETE FROM verbs_t", "EXPLAIN (ANALYZE) DELETE FROM verbs_t",
      "PREPARE verbs_p AS SELECT 1", "DEALLOCATE verbs_p", "PREPARE transaction AS SELECT 1", "DEALLOCATE transaction",
      "CREATE FUNCTION pg_temp.verbs_f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END AS case; SELECT 1 AS end; END",
      "CREATE RULE verbs_r AS ON INSERT TO verbs_v DO INSTEAD (DELETE FROM verbs_t; INSERT INTO verbs_t VALUES (1))",
      "SET TimeZone TO 'UTC'", "RESET TimeZone", "DO 'BEGIN END'", "ROLLBACK", "COMMIT AND NO CHAIN", "END",
    }
    local tags = { VALUES = "SELECT", TABLE = "SELECT", ["END"] = "COMMIT" }
    for _, sql in ipairs(texts) do
      local list = core.statements(sql)
      assert.equal(1, #list, sql)
      assert.equal(c:execute(sql):match "^%u+", tags[list[1].verb] or list[1].verb, sql)
    end
    c:close()
  end)

  it("are an error for what is no text", function()
    for _, value in ipairs{ 1, true, {}, print } do
      local ok, err = pcall(core.statements, value)
      assert.is_false(ok)
      assert.equal("invalid_argument", err.name)
    end
  end)
end)
