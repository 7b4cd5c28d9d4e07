-- SPDX-License-Identifier: MIT
--
-- fastpg.diagram: mermaid, dot, and Graphviz where it is (here a program of the spec's own stands for it).

local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local yields = require "spec.support.yields"

local lua = os.getenv "FPG_TEST_LUA"

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok, "an error was expected")
  return tostring(err), err
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q in %q"):format(part, text))
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- What mermaid reads, read by its grammar: boxes by what they show, with their columns, and lines between them.
local function parse(text)
  local function decode(s) return (s:gsub("#(%d+);", function(n) return string.char(n) end)) end
  local boxes, links, by_id, box = {}, {}, {}, nil
  local WORD = "[%a_\128-\255][%w_%(%)%[%]\128-\255]*"
  for line in text:gmatch "[^\n]+" do
    local id, label, open = line:match '^  ([%a_][%w_]*)%["([^"%%\\~{}<>]+)"%]( ?{?)$'
    if not id then id, open = line:match "^  ([%a_][%w_]*)( ?{?)$" end
    local to, spec, from, role = line:match "^  ([%a_][%w_]*) ([|o]+%-%-[|o{]+) ([%a_][%w_]*) : (.+)$"
    if line == "erDiagram" or line == "  }" then
      box = nil
    elseif box then
      local type_name, name, rest = line:match("^    (" .. WORD .. ") (" .. WORD .. ")(.*)$")
      assert(type_name and not type_name:lower():find "^[pfu]k%f[^%w_]" and not name:lower():find "^[pfu]k%f[^%w_]", line)
      local marks, comment = rest:match '^ ?([PFUK, ]-) ?"([^"%%\\~{}<>]+)"$'
      if not marks then marks = rest:match "^ ?([PFUK, ]*)$" end
      assert(marks, line)
      box[#box + 1] = ("%s %s%s%s"):format(type_name, name, marks ~= "" and " " .. marks or "", comment and " = " .. decode(comment) or "")
    elseif id then
      assert(open ~= " " and not by_id[id], line)
      by_id[id] = decode(label or id)
      boxes[by_id[id]] = {}
      if open == " {" then box = boxes[by_id[id]] end
    else
      assert(to and by_id[to] and by_id[from], line)
      role = role:match '^"([^"%%\\~{}<>]+)"$' or assert(role:match "^[%a_][%w_]*$", line)
      links[#links + 1] = ("%s %s %s: %s"):format(by_id[to], spec, by_id[from], decode(role))
    end
    assert(not line:lower():find "direction%s+[tblr][tblr]", line)
  end
  table.sort(links)
  return boxes, links
end

describe("diagram", function()
  local db
  setup(function()
    db = pg.db()
    db:execute(read "examples/music.sql")
    db:execute [=[
      create schema other;
      create table other.weird ("a b" int, "pk" int, "UK~x" numeric(10,2)[], "q""uote" timestamp(3) with time zone,
        "direction TB" text, primary key ("a b", "pk"));
      create table other."a.b" (id int primary key);
      create type "My Type" as enum ('a');
      create table trouble ();
      create schema hard;
      create table hard."we""ird.\;{} %%{init:x}%%
<b>" ("größe" "char", x int, y int unique, "#" text, "日本" "My Type", foreign key (x, y) references other.weird ("a b", "pk"));
      create table hard.class ("one" int primary key, "to" int references hard.class, t int not null unique references hard.class,
        "a.b" int references other."a.b", "9" int);
      create table hard."a direction TB" (id int primary key references hard.class);
      create table hard.ev (id int, at date, c int not null references hard.class, primary key (id, at)) partition by range (at);
      create table hard.ev1 partition of hard.ev for values from ('2020-01-01') to ('2021-01-01');
      create table hard.ev2 partition of hard.ev for values from ('2021-01-01') to ('2022-01-01');
      create table hard.ev_ref (id int, at date, foreign key (id, at) references hard.ev);
      create table hard.partial (id int primary key, a int references hard.class, b int references hard.class);
      create unique index on hard.partial (a) where id > 3;
      create unique index on hard.partial ((b + 1));
      create view hard.vv as select 1 as one, 2 as "two words";
      create materialized view hard."m v" as select 1 as one]=]
  end)
  teardown(function() db:close() end)

  local function hard()
    local all = {}
    for _, list in ipairs{ db:tables "hard", db:tables "other", db:views "hard" } do
      for _, t in ipairs(list) do all[#all + 1] = t end
    end
    return all
  end

  it("of db.t is mermaid's text of tables, columns and keys", function()
    local text = fastpg.diagram(db.t("artist", "album") and { db.t.artist, db.t.album, db.t.playlist_track, db.t.employee })
    assert.equal([[
erDiagram
  artist {
    integer artist_id PK
    varchar(120) name
  }
  album {
    integer album_id PK
    varchar(160) title
    integer artist_id FK
  }
  playlist_track {
    integer playlist_id PK, FK
    integer track_id PK, FK
  }
  employee {
    integer employee_id PK
    varchar(20) last_name
    varchar(20) first_name
    varchar(30) title
    integer reports_to FK
    timestamp birth_date
    timestamp hire_date
    varchar(70) address
    varchar(40) city
    varchar(40) state
    varchar(40) country
    varchar(10) postal_code
    varchar(24) phone
    varchar(24) fax
    varchar(60) email
  }
  artist ||--o{ album : artist_id
  employee |o--o{ employee : reports_to
]], text)
    local boxes, links = parse(fastpg.diagram(db.t))
    local names = {}
    for name in pairs(boxes) do names[#names + 1] = name end
    table.sort(names)
    assert.same(db:table_names(), names)
    assert.same({}, boxes.trouble)
    assert.equal(11, #links)
    assert.equal(fastpg.diagram(db.t), fastpg.diagram(db.t, { format = "mermaid" }))
    assert.equal("erDiagram\n  genre {\n    integer genre_id PK\n    varchar(120) name\n  }\n", fastpg.diagram(db.t.genre))
  end)

  it("takes names for nothing but names", function()
    local boxes, links = parse(fastpg.diagram(hard()))
    local weird = [[hard."we""ird.\;{} %%{init:x}%%\n<b>"]]
    assert.same({
      [weird] = { 'char größe = "char"', "integer x FK", "integer y FK, UK", "text _ = #", 'My_Type 日本 = "My Type"' },
      ["hard.class"] = { "integer one PK", "integer to FK", "integer t FK, UK", "integer a_b FK = a.b", "integer _9 = 9" },
      ["hard.a direction TB"] = { "integer id PK, FK" },
      ["hard.ev (2 partitions)"] = { "integer id PK", "date at PK", "integer c FK" },
      ["hard.ev1"] = { "integer id PK", "date at PK", "integer c FK" },
      ["hard.ev2"] = { "integer id PK", "date at PK", "integer c FK" },
      ["hard.ev_ref"] = { "integer id FK", "date at FK" },
      ["hard.partial"] = { "integer id PK", "integer a FK", "integer b FK" },
      ["hard.vv (view)"] = { "integer one", "integer two_words = two words" },
      ["hard.m v (materialized view)"] = { "integer one" },
      ["other.weird"] = { "integer a_b PK = a b", "integer pk_ PK = pk", "numeric(10_2)[] UK_x = UK~x numeric(10,2)[]",
        "timestamptz(3) q_uote = q\"uote", "text direction_TB = direction TB" },
      ['other."a.b"'] = { "integer id PK" },
    }, boxes)
    assert.same({
      "hard.class |o--o{ hard.class: to",
      "hard.class |o--o{ hard.partial: a",
      "hard.class |o--o{ hard.partial: b",
      "hard.class ||--o{ hard.ev (2 partitions): c",
      "hard.class ||--o{ hard.ev1: c",
      "hard.class ||--o{ hard.ev2: c",
      "hard.class ||--o| hard.a direction TB: id",
      "hard.class ||--o| hard.class: t",
      "hard.ev (2 partitions) |o--o{ hard.ev_ref: id, at",
      'other."a.b" |o--o{ hard.class: a.b',
      "other.weird |o--o| " .. weird .. ": x, y",
    }, links)
  end)

  it("has partitions where they are named, views of db.v, and the schema of the connection", function()
    local other = pg.db{ schema = "hard" }
    local boxes = parse(fastpg.diagram(other.t))
    assert.truthy(boxes["hard.ev (2 partitions)"])
    assert.is_nil(boxes["hard.ev1"])
    assert.is_nil(boxes["hard.vv (view)"])
    assert.same({ "integer x FK" }, { boxes[ [[hard."we""ird.\;{} %%{init:x}%%\n<b>"]] ][2] }) -- of a table that is not there
    boxes = parse(fastpg.diagram(other.v))
    assert.truthy(boxes["hard.vv (view)"] and boxes["hard.m v (materialized view)"])
    other:close()
    db:transaction(function(tx)
      tx:execute "create table made_here (id int primary key)"
      assert.truthy((parse(fastpg.diagram(tx.t))).made_here)
      tx:execute "drop table made_here"
    end)
  end)

  it("in dot has names as text", function()
    local text = fastpg.diagram(hard(), { format = "dot" })
    has(text, [[<b>hard.&quot;we&quot;&quot;ird.\;{} %%{init:x}%%\n&lt;b&gt;&quot;</b>]])
    has(text, "<b>hard.vv (view)</b>")
    has(text, '<td port="l1" align="left">größe</td><td port="r1" align="left">&quot;char&quot;?</td>')
    has(text, "[arrowhead=teeodot, arrowtail=teeodot, label=<x, y>];")
    has(text, ":r1:e [arrowhead=") -- to itself
    local plain = fastpg.diagram({ db.t.album, db.t.artist }, { format = "dot" })
    has(plain, '  "album":r3:e -> "artist":l1:w [arrowhead=teetee, arrowtail=crowodot];\n}\n')
    has(plain, '<td port="l3" align="left">artist_id</td><td port="r3" align="left">integer FK</td>')
  end)

  it("says what it takes", function()
    has(fails(fastpg.diagram, db), "db.t, db.v, a Table or a list of Tables expected, got table")
    has(fails(fastpg.diagram, {}), "the list is empty")
    has(fails(fastpg.diagram, { db.t.album, 5 }), "item 2 of the list is a number")
    has(fails(fastpg.diagram), "got nil")
    has(fails(fastpg.diagram, db.t, { format = "png" }), 'format must be "mermaid", "dot" or "svg"')
    has(fails(fastpg.diagram, fastpg.database().t), "not connected")
    local other = pg.db()
    has(fails(fastpg.diagram, { db.t.album, other.t.artist }), "different databases")
    other:close()
  end)

  -- ---- Graphviz -------------------------------------------------------------------------------

  -- Runs Lua in a process whose PATH is that directory.
  local function run(path, code)
    local c, script = pg.conninfo(), os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write('local fastpg = require "fastpg"\nlocal db = fastpg.connect()\n' .. code)
    file:close()
    local pipe = io.popen(("PGHOST='%s' PGPORT=%d PGUSER='%s' PGDATABASE='%s'; export PGHOST PGPORT PGUSER PGDATABASE; "
      .. "lua=$(command -v %s); PATH='%s' \"$lua\" %s 2>&1"):format(c.host, c.port, c.user, c.database, lua, path, script))
    local out = pipe:read "*a"
    pipe:close()
    os.remove(script)
    return out
  end

  local function with_dot(script, code)
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    if script then
      local file = assert(io.open(dir .. "/dot", "w"))
      file:write("#!/bin/sh\n" .. script)
      file:close()
      os.execute("chmod +x " .. dir .. "/dot")
    end
    local out = run(dir, code)
    os.execute("rm -r " .. dir)
    return out
  end

  local SVG = 'print(pcall(fastpg.diagram, db:tables "other", { format = "svg" }))'

  it("svg is what Graphviz makes of the dot", function()
    local out = with_dot('[ "$1 $2" = "-Tsvg -o" ] && { echo "<svg>"; while read -r line; do echo "$line"; done <"$4"; } >"$3"',
      'print(fastpg.diagram(db:tables "other", { format = "svg" }) == "<svg>\\n" .. '
      .. 'fastpg.diagram(db:tables "other", { format = "dot" }):gsub("\\n%s+", "\\n"))')
    assert.equal("true", out:match "^%w+", out)
  end)

  it("svg says what is missing, and what went wrong", function()
    has(with_dot(nil, SVG), "needs Graphviz, whose program dot is not in PATH")
    has(with_dot("echo 'syntax error in line 1' >&2; exit 3", SVG), "graphviz: diagram: dot failed (3): syntax error in line 1")
  end)

  it("svg would freeze a loop", function()
    if not yields then return pending "a call blocks on PUC Lua 5.1" end
    local text, err
    fastpg.run(function() text, err = fails(fastpg.diagram, db.t, { format = "svg" }) end)
    has(text, 'take format = "dot"')
    assert.equal("blocking_call", err.name)
    fastpg.run(function() text = fastpg.diagram(db.t.genre) end)
    has(text, "genre {")
  end)
end)
