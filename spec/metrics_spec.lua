-- SPDX-License-Identifier: MIT
--
-- metrics: db:metrics, by a strict reader of Prometheus' text format.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local db = pg.db()

-- ---- a reader that takes nothing but what the format allows ------------------------------------

local UNESCAPED = { ["\\\\"] = "\\", ['\\"'] = '"', ["\\n"] = "\n" }

local function read_labels(text)
  local labels, list, at = {}, {}, 1
  while at <= #text do
    local name, from = text:match('^([%a_][%w_]*)="()', at)
    assert(name and not labels[name], "a label expected: " .. text)
    local value = {}
    at = from
    while text:sub(at, at) ~= '"' do
      local c = text:sub(at, at)
      assert(c ~= "", "a label's value that does not end: " .. text)
      if c == "\\" then
        c = assert(UNESCAPED[text:sub(at, at + 1)], "an unknown escape: " .. text)
        at = at + 1
      end
      value[#value + 1] = c
      at = at + 1
    end
    labels[name] = table.concat(value)
    list[#list + 1] = ("%s=%q"):format(name, labels[name])
    local behind = text:sub(at + 1, at + 1)
    assert(behind == "," and at + 1 < #text or behind == "", "a comma expected: " .. text)
    at = at + 2
  end
  table.sort(list)
  return labels, table.concat(list, ",")
end

local function read_number(text)
  if text == "+Inf" then return math.huge end
  assert(text:find "^%-?%d+%.?%d*$" or text:find "^%-?%d+%.?%d*e[+-]?%d+$", "a number expected: " .. text)
  return assert(tonumber(text))
end

local TYPES = { counter = true, gauge = true, histogram = true, summary = true, untyped = true }

-- Name -> { type =, help =, samples = { { name =, labels =, value = } } }.
local function read(text)
  local families, current = {}, nil
  assert(text:sub(-1) == "\n", "the last line ends, too")
  local function family(name)
    if not current or current.name ~= name then
      assert(not families[name], "the lines of " .. name .. " stand together")
      current = { name = name, samples = {}, seen = {} }
      families[name] = current
    end
    return current
  end
  for line in text:gmatch "([^\n]*)\n" do
    local word, name, rest = line:match "^# (%u+) ([%a_:][%w_:]*) (.*)$"
    if word == "HELP" then
      local f = family(name)
      assert(not f.help and #f.samples == 0, line)
      assert(not rest:gsub("\\\\", ""):gsub("\\n", ""):find("\\", 1, true), line)
      f.help = rest
    elseif word == "TYPE" then
      local f = family(name)
      assert(not f.type and #f.samples == 0 and TYPES[rest], line)
      f.type = rest
    else
      local sample, labels, value = line:match "^([%a_:][%w_:]*)(%b{}) (%S+)$"
      if not sample then sample, value = line:match "^([%a_:][%w_:]*) (%S+)$" end
      assert(sample, "a sample expected: " .. line)
      local base = sample
      if current and current.type == "histogram" then base = sample:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "") end
      local f = family(base)
      local set, key = read_labels(labels and labels:sub(2, -2) or "")
      assert(not f.seen[sample .. key], "twice: " .. line)
      f.seen[sample .. key] = true
      f.samples[#f.samples + 1] = { name = sample, labels = set, value = read_number(value) }
    end
  end
  return families
end

local function check_histogram(f)
  local last, bound, sum, count = -1, -math.huge, nil, nil
  for _, s in ipairs(f.samples) do
    if s.name:find "_bucket$" then
      local le = read_number(s.labels.le)
      assert(le > bound and s.value >= last)
      bound, last = le, s.value
    elseif s.name:find "_sum$" then
      sum = s.value
    else
      count = s.value
    end
  end
  assert(bound == math.huge and count == last and sum >= 0)
end

local function metrics(of)
  local families = read((of or db):metrics())
  for name, f in pairs(families) do
    assert(f.help and f.type, name)
    assert.truthy(name:find "^fastpg_")
    assert.equal(f.type == "counter", name:find "_total$" ~= nil, name)
    if f.type == "histogram" then
      check_histogram(f)
    else
      for _, s in ipairs(f.samples) do assert(s.value >= 0 and s.name == name) end
    end
  end
  return families
end

local function value(families, name) return families["fastpg_" .. name].samples[1].value end

describe("the reader of this spec", function()
  it("takes nothing else", function()
    for _, text in ipairs{
      "a 1", "a{ 1\n", 'a{b="c} 1\n', 'a{b="\\c"} 1\n', 'a{b="c",} 1\n', "a one\n", "a 1,5\n", "a 1\na 2\n", "a 1\nb 1\na 2\n", "1a 1\n", "a  1\n",
      "# TYPE a thing\n", "a 1\n# TYPE a gauge\n", "# TYPE a gauge\n# TYPE a gauge\n", "\n",
    } do assert.is_false(pcall(read, text), text) end
    local f = read '# HELP a b\\n\n# TYPE a gauge\na{x="\\"\\\\\\n",y=""} 1e-05\n'
    assert.same({ x = '"\\\n', y = "" }, f.a.samples[1].labels)
  end)
end)

describe("db:metrics", function()
  it("is Prometheus' text format, with the pool's numbers", function()
    local families, stats = metrics(), db:stats()
    assert.equal(stats.size, value(families, "connections"))
    assert.equal(stats.waiting, value(families, "waiting"))
    assert.equal(stats.opened, value(families, "connections_opened_total"))
    assert.is_true(value(families, "statement_cache_hits_total") <= stats.hits)
  end)

  it("counts what is sent from the first call on, whatever way it goes", function()
    local own = pg.cluster():connect{ database = db:item "select current_database()" }
    own:q "select 1 a"
    assert.equal(0, value(metrics(own), "statements_total"))
    local n, rows = 0, 0
    local function step(statements, of_rows, fn)
      fn()
      n, rows = n + statements, rows + of_rows
      local families = metrics(own)
      assert.equal(n, value(families, "statements_total"))
      assert.equal(rows, value(families, "rows_total"))
    end
    step(1, 1, function() own:q "select 1 a" end)
    step(1, 0, function() own:execute "create table counted (id int primary key)" end)
    step(1, 2, function() own:execute "insert into counted values (1), (2)" end)
    step(4, 2, function() own:transaction(function() own:pipeline(function(p) p:q "select 1" p:q "select 2" end) end) end)
    step(3, 3, function() own:executemany("insert into counted values (?)", { { 3 }, { 4 }, { 5 } }) end)
    step(1, 5, function() for _ in own:each "select * from counted" do end end) -- luacheck: ignore
    step(1, 5, function() own:copy_to "copy counted to stdout" end)
    step(1, 1, function() local _ = own.t.counted[1] end)
    step(1, 0, function() pcall(own.q, own, "select 1/0") end)
    own:close()
  end)

  it("counts errors by name, with labels that hold anything", function()
    local own = pg.cluster():connect{ database = db:item "select current_database()" }
    own:metrics()
    for _ = 1, 3 do pcall(own.q, own, "select 1/0") end
    pcall(own.pipeline, own, function(p) p:q "select 1" p:q "selec" end)
    pcall(own.execute, own, "do $$ begin raise exception 'x' using errcode = 'ZX001'; end $$")
    own:set_type_codec("int4", { decode = function() error('a "quoted" \\ error\n') end })
    pcall(own.q, own, "select 1::int4 a")
    local list = {}
    for _, s in ipairs(metrics(own).fastpg_errors_total.samples) do
      list[#list + 1] = ("%s %s %s %d"):format(s.labels.name, s.labels.sqlstate, s.labels.class, s.value)
    end
    own:close()
    table.sort(list)
    assert.equal(4, #list)
    assert.equal("division_by_zero 22012 22 3", list[1])
    assert.equal("error ZX001 ZX 1", list[2])
    assert.equal("other   1", list[3])
    assert.equal("syntax_error 42601 42 1", list[4])
  end)

  it("makes no more than 200 time series of errors", function()
    local own = pg.cluster():connect{ database = db:item "select current_database()" }
    own:metrics()
    for i = 1, 220 do
      pcall(own.execute, own, ("do $$ begin raise exception 'x' using errcode = 'Y%04d'; end $$"):format(i))
    end
    local samples = metrics(own).fastpg_errors_total.samples
    own:close()
    assert.equal(201, #samples)
    local other
    for _, s in ipairs(samples) do if s.labels.name == "other" then other = s.value end end
    assert.equal(20, other)
  end)

  it("has the times of what was run", function()
    local own = pg.cluster():connect{ database = db:item "select current_database()" }
    own:metrics()
    own:q "select pg_sleep(0.06)"
    own:q "select 1 a"
    local sum, count
    for _, s in ipairs(metrics(own).fastpg_trip_seconds.samples) do
      if s.name:find "_sum$" then sum = s.value end
      if s.name:find "_count$" then count = s.value end
      if s.labels.le == "0.05" then assert.is_true(s.value <= 1) end
    end
    own:close()
    assert.equal(2, count)
    assert.is_true(sum >= 0.06)
  end)

  it("goes on beside hooks, and when they are gone", function()
    local own = pg.cluster():create_pool({ database = db:item "select current_database()" }, { max_size = 2 })
    own:metrics()
    local off = own:on("query", function() own:q "select 2 b" end) -- which counts, and is no event
    own:q "select 1 a"
    off()
    own:q "select 1 a"
    local families = metrics(own)
    own:close()
    assert.equal(3, value(families, "statements_total"))
    assert.is_true(fastpg.is(select(2, pcall(own.q, own, "select 1")), "closed"))
  end)

  it("does not depend on the locale", function()
    local before = os.setlocale(nil, "numeric")
    for _, name in ipairs{ "de_DE.UTF-8", "fr_FR.UTF-8", "C" } do
      if os.setlocale(name, "numeric") then metrics() end
    end
    os.setlocale(before, "numeric")
  end)
end)
