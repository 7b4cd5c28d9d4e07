-- SPDX-License-Identifier: MIT
--
-- Placeholders: what the lexer converts and what it leaves alone.  `same` lists texts that come
-- back as they are; `cases` has pairs; the property test builds statements out of pieces whose
-- conversion is known.

local core = require "fastpg.core"
local placeholders = require "fastpg.sql.placeholders"

local conv = placeholders.conv

describe("conv_placeholders", function()
  it("gives the manual's results", function()
    local sql, values = conv [[

    SELECT * FROM a WHERE id = ?;
    SELECT * FROM b WHERE name = ?
]]
    assert.equal([[

    SELECT * FROM a WHERE id = $1;
    SELECT * FROM b WHERE name = $2
]], sql)
    assert.same({}, values)

    sql, values = conv("SELECT * FROM artist WHERE artist_id = $1 AND name = ?")
    assert.equal("SELECT * FROM artist WHERE artist_id = $1 AND name = $1", sql)
    assert.same({}, values)

    sql, values = conv("SELECT * FROM artist WHERE artist_id = :id AND name = :name", { id = 5, name = "AC/DC" })
    assert.equal("SELECT * FROM artist WHERE artist_id = $1 AND name = $2", sql)
    assert.same({ 5, "AC/DC" }, values)

    sql, values = conv("SELECT * FROM a WHERE id = :uid OR creator = :uid", { uid = 42 })
    assert.equal("SELECT * FROM a WHERE id = $1 OR creator = $1", sql)
    assert.same({ 42 }, values)

    sql, values = conv("SELECT * FROM a WHERE id = ? AND name = :name and foo=?", { name = "test" })
    assert.equal("SELECT * FROM a WHERE id = $1 AND name = $3 and foo=$2", sql)
    assert.same({ "test" }, values)
  end)

  it("takes false and NULL as values, and further names", function()
    local _, values = conv("select :a, :b", { a = false, b = core.null, c = 1 })
    assert.same({ false, core.null }, values)
  end)

  it("takes a row as the names: an absent column is NULL", function()
    local shape = { columns = { "id", "name" }, types = { 23, 25 }, index = { id = 1, name = 2 } }
    local row = setmetatable({ id = 1 }, { shape = shape, __index = function(_, k) error("no column " .. k) end })
    local _, values = conv("select :name, :id", row)
    assert.same({ core.null, 1 }, values)
    local ok, err = pcall(conv, "select :nme", row)
    assert.is_false(ok)
    assert.equal("no value for :nme (use fastpg.null for NULL)", err.message)
  end)

  it("says which name has no value", function()
    for _, named in ipairs { {}, { x = 1 }, false } do
      local ok, err = pcall(conv, "select :id", named or nil)
      assert.is_false(ok)
      assert.equal("invalid_argument", err.name)
      assert.equal("no value for :id (use fastpg.null for NULL)", err.message)
    end
    local ok, err = pcall(conv, "select :id", 5)
    assert.is_false(ok)
    assert.equal("invalid_argument", err.name)
    ok, err = pcall(conv, nil)
    assert.is_false(ok)
    assert.equal("invalid_argument", err.name)
  end)
end)

-- Texts that hold no placeholder.
local same = {
  -- strings and quoted identifiers
  [['? :a']], [['it''s ? :a']], [["? :a"]], [["a""? :a"]], [[E'\'? :a']], [[e'\\' || '?']],
  [[E'a''?']],
  [[N'? :a']], [[n'?']], [[B'?']], [[X'?']], [[U&'? :a']], [[u&"? :a"]], [[U&'\0041?' UESCAPE '!']],
  "'a'\n  '? :a'", "'a' -- it's\n  '? :a'", "E'a'\n'\\'?'", "'a'\r'?'", "E'a' -- x\n -- y\n '\\'?'",
  "$$ ? :a $1 $$", "$t$ ? $$ :a $t$", "$_t1$ ? $t$ $_t1$", "$é$ ? $é$", "$a$ $b$ ? $a$",
  "$a$ ? $xa$a$", "$a$ $$a$",
  [['a\']], [['\' || '?']],
  -- comments
  "-- ? :a", "1 -- ? :a\n + 1", "/* ? :a */", "/* /* ? */ :a */", "/*/* */ ? */", "/**/ 1",
  "/*/ ? */", "1 +-- ?\n1", "1 */* ? */ 1",
  -- unterminated: the server reports it
  "'abc ? :a", "\"abc ? :a", "/* ? :a", "/* /* */ ? :a", "$$ ? :a", "$t$ ? $$ :a", "E'abc\\' ?",
  "E'\\",
  "B'0''? :a", -- no doubling in B'' and X'': 'a string begins, and has no end
  -- casts, :=, named arguments
  "x::int", "'1'::text", "f(a := 1)", "f(a => 1)", "x ::int", "x:: int", "1::numeric(10,2)",
  "a::b::c", "f(a:=b)",
  -- slices
  "a[1:2]", "a[i:j]", "a[:n]", "a[n:]", "a[:]", "a[ :n ]", "a[1 :n]", "a[lo:hi][i:j]", "a[b[:n]]",
  "a[(i):j]", "a[f(i):j]",
  "(array[1,2,3])[i:j]", "a.b[i:j]", "\"a\"[i:j]", "a[1:n::int]", "a[i::int:j::int]", "f(x)[:n]",
  "'{1}'::int[][i:j]", "a[:n][:m]",
  "array[a[:n], b[i:j]]", "a[end_:x]", "a[current:n]", "a[x.end:n]", "a['1':n]", "a[1.5:n]",
  "a[1:n] || a[m:2]", "a[\"x\":n]", "a[1--\n:n]",
  -- operators
  "a ?| array['k']", "a ?& array['k']", "a @? '$.x'", "a @?'$.x'", "a @@ '$.x'", "a ?- b",
  "a ?-| b", "a ?|| b", "a ?# b", "a ->> 'k'", "a <@ b", "a #>> '{a}'",
  "a ? 'k'", "a.b ? 'k'", "'{}' ? 'k'", "'{}'::jsonb ? 'k'", "(a) ? 'k'", "a[1] ? 'k'", "$1 ? 'k'",
  "case when a then b end ? 'k'", "null ? 'k'", "\"a\" ? 'k'",
  "1 ? 2", "$$a$$ ? 'k'", "E'' ? 'k'", "a?'k'", "a?|b", "größe ? 'k'", "a /* ! */ ? 'k'",
  "a -- ! \n ? 'k'", "true ? 'k'", "false ? 'k'", "user ? 'k'",
  "current_user ? 'k'", "current_date ? 'k'", "session_user ? 'k'", "localtime ? 'k'",
  "a isnull ? 'k'",
  "value ? 'k'", "name ? 'k'", "data ? 'k'", "key ? 'k'", "type ? 'k'", "zone ? 'k'",
  "range ? 'k'", "rows ? 'k'", "first ? 'k'", "next ? 'k'", "content ? 'k'", "document ? 'k'",
  "escape ? 'k'", "interval ? 'k'", "timestamp ? 'k'", "time ? 'k'", "date ? 'k'", "row ? 'k'",
  "settings ? 'k'", "t.limit ? 'k'", "t.order ? 'k'", "t . from ? 'k'",
  "(range ? 'k')", "not data ? 'k'", "distinct data ? 'k'", "by data ? 'k'",
  "where data ? 'k' and data ?| array['k']", "operator(public.?) 'k'", "a operator(public.?|) b",
  "a operator(ext.?-) 1", "a?-1",
  -- other text
  "", " ", ";", "a$1", "a$b$c", "_$1", "é$1", "$1", "$1 + $2", "$1$2", "1.5e3", "1e5", ".5", "1.",
  "1..2", "0x1F", "1_000", "12:30", "a : b", ":1", ":'a'", ":\"a\"", "$0", "$a", "a$",
  "json_object('a':b)", "json_object('a' :b, 'c':d)",
  "{}", "\\", "a\0b",
}

-- Text, its conversion, and the names that it gives.
local cases = {
  { "?", "$1" },
  { "? ?", "$1 ?" },
  { "?, ?, ?", "$1, $2, $3" },
  { "$2 = ?", "$2 = $1" },
  { "(?)", "($1)" },
  -- in runs of operator characters
  { "a=?", "a=$1" }, { "a>=?", "a>=$1" }, { "a->?", "a->$1" }, { "a->>?", "a->>$1" },
  { "?||?", "$1||$2" }, { "-?", "-$1" }, { "- ?", "- $1" }, { "@?", "@$1" },
  { "a<>?", "a<>$1" }, { "?-?", "$1-$2" }, { "?+?*?", "$1+$2*$3" }, { "?|?", "$1|$2" },
  { "?&?", "$1&$2" }, { "a=-?", "a=-$1" }, { "a !~~ ?", "a !~~ $1" }, { "a@@?", "a@@$1" },
  { "f(a=>?)", "f(a=>$1)" }, { "f(a:=?)", "f(a:=$1)" }, { "f(a:=:b)", "f(a:=$1)", "b" },
  { "?--?", "$1--?" }, { "?/*?*/", "$1/*?*/" }, { "a=?--?", "a=$1--?" },
  { "?-- x\n=?", "$1-- x\n=$2" },
  { "a #>> ?", "a #>> $1" }, { "a #>>:p", "a #>>$1", "p" },
  { "a@>:d::jsonb", "a@>$1::jsonb", "d" }, { "a ?|?", "a ?|$1" }, { "a ?& ?", "a ?& $1" },
  { "a @? ?", "a @? $1" }, { "a @?:p", "a @?$1", "p" },
  { "a ?|:p", "a ?|$1", "p" }, { "a ? ?", "a ? $1" }, { "? ? ?", "$1 ? $2" },
  { "$1 ? ?", "$1 ? $1" }, { ":a ? :b", "$1 ? $2", "a b" }, { "a ?||?", "a ?||$1" },
  -- ??
  { "a ?? 'k'", "a ? 'k'" }, { "??", "?" }, { "a ??| b", "a ?| b" }, { "a ??& b", "a ?& b" },
  { "a @?? b", "a @? b" }, { "??-?", "?-$1" }, { "a ???", "a ?$1" }, { "a ?? ?", "a ? $1" },
  { "( ?? )", "( ? )" },
  { "? ?? ?", "$1 ? $2" }, { "a=??", "a=?" }, { "limit ??", "limit ?" },
  { "'??' ?? '??'", "'??' ? '??'" }, { "a operator(public.??) 'k'", "a operator(public.?) 'k'" },
  -- behind keywords
  { "limit ? offset ?", "limit $1 offset $2" }, { "a and ?", "a and $1" },
  { "case when ? then ? else ? end", "case when $1 then $2 else $3 end" },
  { "case ? when 1", "case $1 when 1" },
  { "a in ?", "a in $1" }, { "a like ?", "a like $1" }, { "a ILIKE ?", "a ILIKE $1" },
  { "a at time zone ?", "a at time zone $1" }, { "a between ? and ?", "a between $1 and $2" },
  { "select ?", "select $1" }, { "SELECT ?", "SELECT $1" }, { "values ?", "values $1" },
  { "a is distinct from ?", "a is distinct from $1" },
  { "a is not distinct from ?", "a is not distinct from $1" },
  { "a similar to ?", "a similar to $1" }, { "a like ? escape ?", "a like $1 escape $2" },
  { "a like 'x' escape ?", "a like 'x' escape $1" },
  { "fetch first ? rows only", "fetch first $1 rows only" },
  { "fetch next ? rows only", "fetch next $1 rows only" },
  { "order by ?", "order by $1" }, { "not ?", "not $1" }, { "where ?", "where $1" },
  { "having ?", "having $1" }, { "on ?", "on $1" }, { "returning ?", "returning $1" },
  { "distinct ?", "distinct $1" },
  { "select distinct on (a) ? from t", "select distinct on (a) $1 from t" },
  { "substring(? from ? for ?)", "substring($1 from $2 for $3)" },
  { "overlay(? placing ? from ?)", "overlay($1 placing $2 from $3)" },
  { "position(? in ?)", "position($1 in $2)" }, { "trim(both ? from ?)", "trim(both $1 from $2)" },
  { "extract(year from ?)", "extract(year from $1)" },
  { "over (order by a desc rows ? preceding)", "over (order by a desc rows $1 preceding)" },
  { "over (rows ? preceding)", "over (rows $1 preceding)" },
  { "over (order by a range between ? preceding and ? following)",
    "over (order by a range between $1 preceding and $2 following)" },
  { "window w as (groups ? preceding)", "window w as (groups $1 preceding)" },
  { "xmlparse(document ?)", "xmlparse(document $1)" },
  { "xmlparse(content ?)", "xmlparse(content $1)" },
  { "xmlexists(? passing ?)", "xmlexists($1 passing $2)" },
  { "a operator(pg_catalog.=) ?", "a operator(pg_catalog.=) $1" },
  { "operator(pg_catalog.-) ?", "operator(pg_catalog.-) $1" }, { "a = any(?)", "a = any($1)" },
  { "a overlaps ?", "a overlaps $1" }, { "using ?", "using $1" }, { "variadic ?", "variadic $1" },
  -- what touches a placeholder stays a token of its own
  { "a and?", "a and $1" }, { "limit?", "limit $1" }, { "and:a", "and $1", "a" },
  { "?and?", "$1 and $2" }, { "?1", "$1 1" }, { "?a", "$1 a" }, { "?é", "$1 é" },
  { "?'a'", "$1'a'" }, { "?.5", "$1.5" }, { "$?", "$ $1" }, { "$:a", "$ $1", "a" },
  { "?e'\\''", "$1 e'\\''" },
  -- names
  { ":a", "$1", "a" }, { ":a, :b, :a", "$1, $2, $1", "a b" }, { ":a::int", "$1::int", "a" },
  { ":A, :a", "$1, $2", "A a" }, { ":größe", "$1", "größe" }, { ":_x1", "$1", "_x1" },
  { ":select", "$1", "select" }, { "x=:a", "x=$1", "a" },
  { "(:a)", "($1)", "a" }, { ":a:b", "$1 $2", "a b" }, { ":::a", nil },
  { "$3, :a, ?", "$3, $4, $1", "a" }, { "?, :a, ?, :b", "$1, $3, $2, $4", "a b" },
  { "interval :a", "interval $1", "a" }, { "-:a", "-$1", "a" },
  -- placeholders in brackets
  { "a[?:?]", "a[$1:$2]" }, { "a[:?]", "a[:$1]" }, { "a[?:]", "a[$1:]" }, { "a[?]", "a[$1]" },
  { "a[1:?]", "a[1:$1]" }, { "array[:a, :b]", "array[$1, $2]", "a b" },
  { "ARRAY[[:a,:b],[:c,:d]]", "ARRAY[[$1,$2],[$3,$4]]", "a b c d" },
  { "array[?, ?][?:?]", "array[$1, $2][$3:$4]" }, { "array[:a][:n]", "array[$1][:n]", "a" },
  { "a[f(:x)]", "a[f($1)]", "x" }, { "a[(:x)]", "a[($1)]", "x" },
  { "a[cast(:x as int)]", "a[cast($1 as int)]", "x" },
  { "a[cast(:i as int):cast(:j as int)]", "a[cast($1 as int):cast($2 as int)]", "i j" },
  { "a[:n::int]", "a[$1::int]", "n" }, { "a[:n :: int]", "a[$1 :: int]", "n" },
  { "a[:i::int : :j::int]", "a[$1::int : $2::int]", "i j" }, { "a[1 + :n]", "a[1 + $1]", "n" },
  { "a[1: :n]", "a[1: $1]", "n" }, { "a[array[:x]]", "a[array[$1]]", "x" },
  { "array[a[:n], :x]", "array[a[:n], $1]", "x" },
  { "a[case when :x then :y end]", "a[case when $1 then $2 end]", "x y" },
  { "(a[1:2]), :x", "(a[1:2]), $1", "x" }, { "a[i:j] = :x", "a[i:j] = $1", "x" },
  { "any(:a::int[])", "any($1::int[])", "a" },
  { "json_object('k':v, 'l' : :x)", "json_object('k':v, 'l' : $1)", "x" },
  { "json_object(:k : ?)", "json_object($2 : $1)", "k" },
  -- between strings, comments and the rest
  { "'?' = ?", "'?' = $1" }, { "'a\\' = ?", "'a\\' = $1" }, { "E'a\\'?' = ?", "E'a\\'?' = $1" },
  { "b'0'?'?", nil }, { "N'a' || ?", "N'a' || $1" }, { "$$?$$ || ?", "$$?$$ || $1" },
  { "$1$$?$$ || ?", "$1$$?$$ || $1" },
  { "a$$ || ? || a$$", "a$$ || $1 || a$$" }, { "'a' '?' || ?", "'a' '?' || $1" },
  { "E'a'\n'\\'' = ?", "E'a'\n'\\'' = $1" }, { "E'a' '\\' = ?", "E'a' '\\' = $1" },
  { "U&'\\' = ?", "U&'\\' = $1" }, { "B'\\' = ?", "B'\\' = $1" },
  { "xE'\\' = ?", "xE'\\' = $1" }, { "/* /* */ ? */ ?", "/* /* */ ? */ $1" },
  { "-- '\n?", "-- '\n$1" }, { "-- '\r?", "-- '\r$1" }, { "a; ?", "a; $1" },
  { "1e5, ?", "1e5, $1" }, { "1..?", "1..$1" }, { "[?]", "[$1]" },
  { "a\0 = ?", "a\0 = $1" },
}

describe("convert", function()
  it("gives back the very text without placeholders", function()
    for _, sql in ipairs(same) do
      local text, _, names = core.convert(sql)
      assert.equal(sql, text)
      assert.is_nil(names, sql)
    end
  end)

  it("converts what is a placeholder", function()
    for _, case in ipairs(cases) do
      if case[2] then
        local text, _, names = core.convert(case[1])
        assert.equal(case[2], text)
        assert.equal(case[3] or "", table.concat(names or {}, " "), case[1])
      end
    end
  end)

  it("counts the positional parameters", function()
    for sql, n in pairs {
      [""] = 0, ["?"] = 1, ["? , ?"] = 2, ["$3"] = 3, ["$3, ?"] = 3, ["$1, ?, ?"] = 2, [":a"] = 0,
      [":a, ?"] = 1, ["'?$9'"] = 0, ["a$9"] = 0, ["$007"] = 7, ["$0"] = 0,
      ["$99999999999999999999"] = 2147483647,
    } do
      local _, npos = core.convert(sql)
      assert.equal(n, npos, sql)
    end
  end)

  it("adds an offset to every number", function()
    local text, npos, names = core.convert("a = ? and b = $2 and c = :x and d ? 'k'", 3)
    assert.equal("a = $4 and b = $5 and c = $6 and d ? 'k'", text)
    assert.equal(2, npos)
    assert.same({ "x" }, names)
    assert.equal("$12$13", (core.convert("$2$3", 10)))
    assert.equal("$0", (core.convert("$0", 10)))
    assert.equal("'$1'", (core.convert("'$1'", 10)))
    assert.equal("$99999999999", (core.convert("$99999999999", 10)))
    assert.equal("$1", (core.convert("$1", 0)))
    for _, bad in ipairs { -1, 1.5, "x", 2 ^ 40 } do
      assert.is_false(pcall(core.convert, "?", bad))
    end
  end)

  it("heeds standard_conforming_strings = off", function()
    assert.equal([['\'?' = $1]], (core.convert([['\'?' = ?]], 0, false)))
    assert.equal([[N'\'?' = $1]], (core.convert([[N'\'?' = ?]], 0, false)))
    assert.equal([[B'\' = $1]], (core.convert([[B'\' = ?]], 0, false)))
    assert.equal([['\' = $1]], (core.convert([['\' = ?]], 0, true)))
    assert.equal([["\" = $1]], (core.convert([["\" = ?]], 0, false)))
    assert.equal([[$$\$$ = $1]], (core.convert([[$$\$$ = ?]], 0, false)))
  end)

  it("takes text only", function()
    for _, bad in ipairs { 1, true, {} } do
      local ok, err = pcall(core.convert, bad)
      assert.is_false(ok)
      assert.equal("invalid_argument", err.name)
    end
  end)

  it("keeps count in deep brackets", function()
    local deep = ("("):rep(5000) .. "? , :a" .. (")"):rep(5000)
    local text, npos, names = core.convert(deep)
    assert.equal(("("):rep(5000) .. "$1 , $2" .. (")"):rep(5000), text)
    assert.equal(1, npos)
    assert.same({ "a" }, names)
  end)

  it("takes many names and marks", function()
    local parts, want = {}, {}
    for i = 1, 3000 do
      parts[i] = ":n" .. i .. ", ?"
      want[i] = "$" .. (3000 + i) .. ", $" .. i
    end
    local text, npos, names = core.convert(table.concat(parts, ", "))
    assert.equal(table.concat(want, ", "), text)
    assert.equal(3000, npos)
    assert.equal(3000, #names)
    assert.equal("n3000", names[3000])
  end)
end)

-- ---- the property: statements out of pieces whose conversion is known ------------------------

-- A small generator of its own, so that a failure is the same on every Lua.
local seed = 20240229
local function random(n)
  seed = (seed * 16807) % 2147483647
  return seed % n + 1
end
local function pick(list) return list[random(#list)] end

local inert = { "?", ":a", "$1", "::", "??", " ", "-- ", "x", "[", "(", "é" } -- inside quoted text
local function filling(skip)
  local out = {}
  for i = 1, random(4) do
    local piece = pick(inert)
    out[i] = piece == skip and "y" or piece
  end
  return table.concat(out)
end

local spaces = { " ", "\n", "\t ", " /* ? :a ' */ ", " -- ? :a ' \"\n", " /* /* $$ */ ? */ ", "\r\n" }
local quoted = {
  function() return "'" .. filling() .. "'" end,
  function() return "'" .. filling() .. "''" .. filling() .. "'" end,
  function() return "'" .. filling() .. "\\'" end,
  function() return "E'" .. filling() .. "\\'" .. filling() .. "''\\\\'" end,
  function() return "N'" .. filling() .. "'" end,
  function() return "U&'" .. filling() .. "\\'" end,
  function() return "'" .. filling() .. "' -- it's ?\n '" .. filling() .. "'" end,
  function() return "E'" .. filling() .. "'\n'\\'" .. filling() .. "'" end,
  function() return "$$" .. filling("$1") .. "'$$" end,
  function() return "$q$" .. filling("$1") .. "$$ \" $q$" end,
}
local names = { "a", "data", "t.limit", '"? :a"', '"a""?"', 'U&"?\'"', "größe", "a$1", "value", "name",
  "a[1:2]", "a[i:j]", "a[:n]", "t.b[i:j][:n]", "f(a := 1)", "null", "current_date" }
local binary = { "=", ">=", "->", "->>", "||", "@>", "#>>", "and", "like", "is distinct from", "<>", "-" }
local json = { "?", "?|", "?&", "@?" }

-- st collects the text, its conversion (a function of npos), the count of ? and the names.
local expression

local function put(st, text, want)
  st.text[#st.text + 1] = text
  st.want[#st.want + 1] = want or text
end

local function placeholder(st)
  if random(2) == 1 then
    st.marks = st.marks + 1
    put(st, "?", "$" .. st.marks)
  else
    local name = pick { "a", "b", "uid", "größe", "select" }
    if not st.seen[name] then
      st.names[#st.names + 1] = name
      st.seen[name] = #st.names
    end
    put(st, ":" .. name, { st.seen[name] })
  end
end

local function list(st, depth, open, close)
  put(st, open)
  for i = 1, random(3) do
    if i > 1 then put(st, ",") end
    expression(st, depth + 1)
  end
  put(st, close)
end

local operands = {
  placeholder, placeholder, placeholder,
  function(st) put(st, pick(quoted)()) end,
  function(st) put(st, pick(quoted)()) end,
  function(st) put(st, pick(names)) end,
  function(st) put(st, pick(names)) end,
  function(st) put(st, pick { "1", "1.5e3", ".5", "$2", "$1", "1e5", "B'?'", "X'?'" }) end,
  function(st, depth) list(st, depth, "(", ")") end,
  function(st, depth) list(st, depth, "ARRAY[", "]") end,
  function(st, depth) list(st, depth, "a[f(", ")]") end,
  function(st) -- [?:?]
    put(st, "a[")
    st.marks = st.marks + 2
    put(st, "?:?", "$" .. (st.marks - 1) .. ":$" .. st.marks)
    put(st, "]")
  end,
  function(st, depth)
    put(st, "case when ")
    expression(st, depth + 1)
    put(st, " then ")
    expression(st, depth + 1)
    put(st, " end")
  end,
}

function expression(st, depth)
  if depth > 3 then return put(st, pick(names)) end
  pick(operands)(st, depth)
  if random(4) == 1 then put(st, pick { "::text", " ::int[]", "::numeric(10,2)" }) end
  local more = random(6)
  if more == 1 then -- the jsonb operators stand between spaces
    put(st, pick(spaces) .. pick(json) .. pick(spaces))
    pick(operands)(st, depth + 1)
  elseif more == 2 then
    put(st, pick { " ?? ", " ??| ", " @?? " }, nil)
    st.want[#st.want] = st.text[#st.text]:gsub("%?%?", "?")
    pick(operands)(st, depth + 1)
  elseif more <= 4 then
    local op = pick(binary)
    local tight = not op:find("%a") and op ~= "-" and random(2) == 1
    put(st, tight and op or pick(spaces) .. op .. pick(spaces))
    pick(operands)(st, depth + 1)
  end
end

local function generate()
  local st = { text = {}, want = {}, marks = 0, names = {}, seen = {} }
  put(st, "select ")
  for i = 1, random(4) do
    if i > 1 then put(st, pick { ",", " , " }) end
    expression(st, 0)
  end
  if random(3) == 1 then
    put(st, pick(spaces) .. "limit ")
    placeholder(st)
  end
  return st
end

describe("any statement", function()
  it("is converted as it was built", function()
    local bad
    for _ = 1, 20000 do
      local st = generate()
      local sql = table.concat(st.text)
      local text, npos, found = core.convert(sql)
      for i, want in ipairs(st.want) do
        if type(want) == "table" then st.want[i] = "$" .. (npos + want[1]) end
      end
      local same_names = table.concat(found or {}, " ") == table.concat(st.names, " ")
      if text ~= table.concat(st.want) or npos < st.marks or not same_names then
        bad = { sql = sql, got = text, want = table.concat(st.want) }
        break
      end
    end
    assert.is_nil(bad)
  end)
end)

describe("random bytes", function()
  it("never break the lexer, and placeholders outside it are none", function()
    local alphabet = { "'", '"', "$", "$$", "?", ":", "a", "E'", "U&", "/*", "*/", "--", "\n", "\\",
      "(", ")", "[", "]", "1", ".", "e", "=", "@", "\255", "\0", " ", ";", "select" }
    local count = 0
    for _ = 1, 5000 do
      local out = {}
      for i = 1, random(20) do out[i] = pick(alphabet) end
      local sql = table.concat(out)
      for _, standard in ipairs { true, false } do
        local text, npos = core.convert(sql, 0, standard)
        local _, again = core.convert(text, 0, standard)
        if again >= npos then count = count + 1 end -- what was converted reads back as $n
        core.check_fragment(sql, standard)
        core.statements(sql, standard)
      end
    end
    assert.equal(10000, count)
  end)
end)

-- Valid statements, for the server: its parser must see the parameters that convert counted.
local served = {
  "select * from t where id = ? and n = :name and id=?",
  "select * from t where data ? 'k' and data ?| array['a', ?] and data ?& :keys",
  "select data ?? 'k', data ? ?, data @? '$.x', data @? :path from t",
  "select a[?:?], a[1:2], a[id:id], a[:id], a[:n::int] from t",
  "select ARRAY[:a, :b]::int[], (array[1,2])[:i::int], a[cast(:j as int)] from t",
  "select '?'||?||E'\\'?'||$$?$$||U&'?'||$q$ :a $q$",
  "select 1 from t where n like ? escape ? limit ? offset ?",
  "select * from t order by id fetch first ? rows only", "select d at time zone ? from t",
  "select case ?::int when 1 then ? else ? end::text",
  "select sum(id) over (order by id rows ? preceding), sum(id) over (rows between ? preceding and ? following) from t",
  "select id from t where d is not distinct from ? and id between ? and ? and id in (?, ?)",
  "select distinct on (id) ?::int from t",
  "select id operator(pg_catalog.=) ?, data operator(pg_catalog.?) ? from t",
  "select xmlparse(document ?), xmlparse(content ?), xmlexists(? passing ?)",
  "select id=-?::int, -id<-?::int, id>=-?::int from t", "select 1 from t where id=?and id=:id or n=:n--?",
  "select make_interval(days => ?, hours:=:h)",
  "select substring(n from ? for ?), overlay(n placing ? from ?) from t",
  "select trim(both ? from n), extract(year from ?::date) from t",
  "insert into t (id, data, n) values (?, :d, ?) on conflict do nothing returning ?::int",
  "update t set n = ?, data = :d::jsonb where id = $1",
  "select 'a' -- it's ?\n '?', ?::int, /* /* ? */ ? */ ?::int",
  "select value ? 'k', range ? 'k', zone ? 'k' from (select data as value, data as range, data as zone from t) s",
  "select null ? 'k', '{}' ? 'k', (data) ? 'k', t.data ? 'k', \"data\" ? 'k' from t",
  "select ?::int+?::int*?::int-?::int, ?::text||?::text", "select 1e5, .5, 1., ?::int",
  "values (?, :a), ($3, ?)", "select $2::int, ?::int, :größe::int",
}

describe("the server", function()
  it("sees the parameters that convert counted", function()
    local pg = require "spec.support.pg"
    local script = { "create temp table t (id int primary key, data jsonb, a int[], n text, d timestamptz);" }
    local want = {}
    for i, sql in ipairs(served) do
      local text, npos, found = core.convert(sql)
      script[#script + 1] = ("prepare p%d as %s\n;"):format(i, text)
      want[i] = ("p%d|%d"):format(i, npos + #(found or {}))
    end
    script[#script + 1] = "select name, cardinality(parameter_types) from pg_prepared_statements"
      .. " order by substr(name, 2)::int;"
    assert.equal(table.concat(want, "\n"), pg.psql(table.concat(script, "\n")))
  end)
end)

describe("quoting", function()
  it("quotes identifiers always", function()
    for s, want in pairs { a = '"a"', [""] = '""', ['a"b'] = '"a""b"', ["größe"] = '"größe"',
      ["a\\b"] = '"a\\b"',
      [("x"):rep(100)] = '"' .. ("x"):rep(100) .. '"' } do
      assert.equal(want, core.quote_ident(s))
    end
  end)

  it("quotes literals as the server does", function()
    for s, want in pairs { a = "'a'", [""] = "''", ["a'b"] = "'a''b'", ["a\\b'"] = "E'a\\\\b'''", ["é"] = "'é'" } do
      assert.equal(want, core.quote_literal(s))
    end
  end)

  it("refuses what the server cannot take", function()
    for _, f in ipairs { core.quote_ident, core.quote_literal } do
      for _, bad in ipairs { "a\0b", "\255", "a\195", 1, {}, true } do
        local ok, err = pcall(f, bad)
        assert.is_false(ok)
        assert.equal("invalid_argument", err.name)
      end
      assert.is_false(pcall(f))
    end
  end)
end)
