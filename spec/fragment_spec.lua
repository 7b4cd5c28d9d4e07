-- SPDX-License-Identifier: MIT
--
-- Fragments on a filtered table: what may be used, what is refused and in which words.

local core = require "fastpg.core"

local legal = {
  "", "a = 1", "name like ?", "name = :n", "a = $1 and b = $2", "true", "a = 1 or b = 2",
  "(a, b) = (1, 2)",
  "extract(year from d) = 2024", "substring(a from 1 for 2)", "substring(a for 2)",
  "trim(both from x)", "trim(leading 'x' from y)", "overlay(a placing b from 1 for 2)",
  "position('a' in b)",
  "a is distinct from b", "a is not distinct from b", "A IS NOT DISTINCT FROM B",
  "x::timestamp with time zone", "x::timestamp(3) with time zone", "x::time without time zone",
  "cast(x as time with time zone)",
  "d at time zone 'UTC' > now()", "count(*) filter (where a > 1)", "(a, b) overlaps (c, d)",
  "a = any(array[1,2])", "a[1:2] = b[i:j]", "a[f(1)]",
  [["select" = 1]], [["from" = "limit"]], "a = 'select 1 from t; --'", "a = 'it''s'",
  "a = E'\\' or'", "a = $$select 1; -- $$", "a = $t$ select $$ $t$", [[U&"s\0065lect" = 1]],
  "a = U&'\\0041'",
  [["values" = 1]], "sum(x) over (partition by y order by z)", "row_number() over ()",
  "rank() over w", "x in (1,2)", "percentile_cont(0.5) within group (order by x)",
  "PERCENTILE_CONT(0.5) WITHIN  GROUP(ORDER BY x)",
  "case when a then 1 else 2 end", "a between 1 and 2", "not a", "a is null", "a isnull",
  "a ? 'k'", "a ?| array['k']", "a ?? 'k'", "a @? '$.x'", "a operator(pg_catalog.=) 1",
  "name, id", "name desc nulls last", "name asc, id desc", "count(*), sum(total)", "t.limit = 1",
  "t.select", "t.values = 1", "selected = 1", "from_date > now()", "a$from = 1",
  "limits = offset_", "_select", "größe > 1",
  "f(a => 1)", "f(a := 1)", "a -> 'x' ->> 'y' = 'z'", "1.5e3 > .5", "a = 1_000", "a = 0xff",
  "1..2", "a - -1", "a + 1 * 2 / 3 % 4", "a ~* '^x'", "a collate \"C\" < b",
  "row(a, b) = row(1, 2)", "a::numeric(10,2)", "a::int[]",
  "array[[1,2],[3,4]]", "interval '1 day'", "date '2024-01-01'",
  "timestamp with time zone '2024-01-01'", "a = 'x'\n'y'", "\ta\r\n= 1 ", "x = '\\'",
  "json_object('k':v)", "json_object('k' value v with unique keys)",
  "json_query(a, '$' with wrapper)",
  "json_query(a, '$' with unconditional array wrapper)", "json_value(a, '$' returning text)",
  "string_agg(a, ',' order by b)", "count(distinct a)", "a = :select", "grouping(a)", "xmltable",
  "current_date - 1", "updated = 1", "update = 1",
}

local refused = {
  -- a query
  ["id in (select 1)"] = "a sub-select (SELECT)", ["id in (SeLeCt 1)"] = "a sub-select (SELECT)",
  ["select 1"] = "a sub-select (SELECT)", ["f(((select a)))"] = "a sub-select (SELECT)",
  ["exists(select)"] = "a sub-select (SELECT)", ["a = array(select 1)"] = "a sub-select (SELECT)",
  ["a in (table t)"] = "a sub-select (TABLE)", ["(values (1))"] = "a sub-select (VALUES)",
  ["values = 1"] = "a sub-select (VALUES)",
  ["(with x as (a) b)"] = "a sub-select (WITH)",
  ["(with recursive x as (a) b)"] = "a sub-select (WITH)",
  ["(with time as (a) b)"] = "a sub-select (WITH)",
  ["(with \"time\" as (a) b)"] = "a sub-select (WITH)",
  ["f() with ordinality"] = "a sub-select (WITH)",
  ["a with"] = "a sub-select (WITH)", ["a with time"] = "a sub-select (WITH)",
  ["a with 'x'"] = "a sub-select (WITH)", ["a[(select 1)]"] = "a sub-select (SELECT)",
  ["a[:select 1]"] = "a sub-select (SELECT)", ["f(:a, select 1)"] = "a sub-select (SELECT)",
  ["a ?select 1"] = "a sub-select (SELECT)", ["'a'select 1"] = "a sub-select (SELECT)",
  ["1.select"] = "a letter right after a number", ["1select 1"] = "a letter right after a number",
  ["$1select 1"] = "a letter right after a number", ["1eselect"] = "a letter right after a number",
  ["0xselect"] = "a letter right after a number", ["1 select"] = "a sub-select (SELECT)",
  ["a..select"] = "a sub-select (SELECT)", [".5select"] = "a letter right after a number",
  ["0x1select"] = "a letter right after a number", ["1_select"] = "a letter right after a number",
  -- clauses
  ["a from t"] = "FROM outside brackets", ["a into b"] = "INTO outside brackets",
  ["true union all"] = "UNION outside brackets", ["a intersect b"] = "INTERSECT outside brackets",
  ["a except b"] = "EXCEPT outside brackets", ["a limit 1"] = "LIMIT outside brackets",
  ["a offset 1"] = "OFFSET outside brackets",
  ["a fetch first row only"] = "FETCH outside brackets", ["a for update"] = "FOR outside brackets",
  ["a group by b"] = "GROUP outside brackets", ["a having b"] = "HAVING outside brackets",
  ["a window w as ()"] = "WINDOW outside brackets",
  ["a returning b"] = "RETURNING outside brackets", ["a where b"] = "WHERE outside brackets",
  ["a Limit 1"] = "LIMIT outside brackets", ["distinct from t"] = "FROM outside brackets",
  ["a distinct from t"] = "FROM outside brackets",
  ["a not distinct from t"] = "FROM outside brackets",
  ["a is distinct b from t"] = "FROM outside brackets",
  ["t.is distinct from t"] = "FROM outside brackets",
  ["a within group by b"] = "GROUP outside brackets",
  ["a within group"] = "GROUP outside brackets", ["a[1] from t"] = "FROM outside brackets",
  ["(a) from (b)"] = "FROM outside brackets",
  ["x as limit"] = "LIMIT outside brackets",
  ["a is distinct from b from t"] = "FROM outside brackets",
  -- brackets
  ["true) or (true"] = "unbalanced parentheses", ["("] = "unbalanced parentheses",
  [")"] = "unbalanced parentheses", ["(]"] = "unbalanced parentheses",
  ["[)"] = "unbalanced parentheses", ["a[1"] = "unbalanced parentheses",
  ["f(a))"] = "unbalanced parentheses",
  ["'(' )"] = "unbalanced parentheses", ["([)]"] = "unbalanced parentheses",
  ["a]"] = "unbalanced parentheses",
  [("("):rep(300) .. (")"):rep(300)] = "brackets nested too deeply",
  -- comments and the rest
  ["true --"] = "a comment", ["true /* */"] = "a comment", ["a --1"] = "a comment",
  ["a +-- 1"] = "a comment", ["a */* b"] = "a comment", ["/*"] = "a comment",
  ["'a' -- x\n 'b'"] = "a comment", ["?--"] = "a comment", ["?/**/"] = "a comment",
  ["a; drop table t"] = "a semicolon", [";"] = "a semicolon", ["f(;)"] = "a semicolon",
  ["'abc"] = "an unterminated string", ["E'abc\\'"] = "an unterminated string",
  ["$$abc"] = "an unterminated string", ["$a$ $$"] = "an unterminated string",
  ["\"abc"] = "an unterminated identifier",
  ["B'0'' or true"] = "an unterminated string", ["U&'\\'' "] = "an unterminated string",
  ["a\0b"] = "a NUL byte", ["a\0"] = "a NUL byte", ["\255"] = "invalid UTF-8",
  ["'\192\167'"] = "invalid UTF-8", ["a\195"] = "invalid UTF-8", ["a\v= 1"] = "a vertical tab",
  ["\\gexec"] = "a character that is not SQL", ["a \\; b"] = "a character that is not SQL",
  ["{a}"] = "a character that is not SQL", ["$a"] = "a character that is not SQL",
  ["$?$ $"] = "a character that is not SQL", ["a \1"] = "a character that is not SQL",
}

describe("check_fragment", function()
  it("takes what is an expression", function()
    for _, text in ipairs(legal) do
      local why = core.check_fragment(text)
      assert.is_nil(why, text .. " -> " .. tostring(why))
    end
  end)

  it("says what it refuses", function()
    for text, why in pairs(refused) do
      assert.equal(why, core.check_fragment(text), text)
    end
  end)

  it("reads strings as the server does", function()
    for _, case in ipairs {
      -- text, fault with standard_conforming_strings on, and off
      { [[a = '\' or b = ' or true --']], nil, "a comment" },
      { [[a = '\'' or true --']], nil, "a comment" }, { [[a = '\\' or true]], nil, nil },
      { [[a = '\']], nil, "an unterminated string" },
      { [[a = E'\' or b = ' or true --']], "a comment", "a comment" },
      { [[a = N'\'' or true --']], nil, "a comment" },
      { [[a = U&'\0041']], nil, "a U&'' string while standard_conforming_strings is off" },
      { [[a = U&"\0041"]], nil, nil },
      { [[a = $$\$$]], nil, nil }, { [["\" = 1]], nil, nil }, { [[B'\' = b]], nil, nil },
      { "'a'\n'\\' ; '", "a semicolon", nil },
    } do
      assert.equal(case[2], core.check_fragment(case[1], true), case[1])
      assert.equal(case[3], core.check_fragment(case[1], false), case[1])
    end
  end)

  it("finds a keyword wherever it hides", function()
    local n = 0
    local around = {
      { "(", ")" }, { "f(", ")" }, { "a[", "]" }, { "array[", "]" }, { "((a)+(", "))" }, { "case when ", " end" },
      { "a = any(", ")" }, { "'x' || (", ")" }, { "e'\\'' || (", ")" },
      { "$$'$$ || (", ")" }, { "? || (:a, ", ")" },
    }
    for _, pair in ipairs(around) do
      for _, word in ipairs { "select", "table", "values", "with", "SELECT", "sElEcT" } do
        for _, before in ipairs { "", " ", "\n", "\t", "1+", "'a'", '"a"', "$1 ", ")(" } do
          local fault = core.check_fragment(pair[1] .. before .. word .. " x" .. pair[2])
          assert.is_string(fault)
          n = n + 1
        end
      end
    end
    assert.equal(11 * 6 * 9, n)
  end)

  it("is not fooled by what only looks like a keyword", function()
    for _, text in ipairs { "ſelect", "ＳＥＬＥＣＴ", "selecté", "eselect", "select_", "select1", "select$1" } do
      assert.is_nil(core.check_fragment(text), text)
    end
  end)

  it("is right about the text after its placeholders are converted", function()
    local n = 0
    for _, text in ipairs(legal) do
      local sql = core.convert(text)
      assert.is_nil(core.check_fragment(sql), text)
      n = n + 1
    end
    for text in pairs(refused) do
      assert.is_string(core.check_fragment((core.convert(text))), text)
      n = n + 1
    end
    assert.is_true(n > 100)
  end)

  it("takes text only", function()
    local ok, err = pcall(core.check_fragment, {})
    assert.is_false(ok)
    assert.equal("invalid_argument", err.name)
  end)
end)
