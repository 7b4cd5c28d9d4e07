-- SPDX-License-Identifier: MIT
--
-- what works behind which pooler, as the manual has it, and the manual itself: run behind PgBouncer in transaction mode.

local check_docs = dofile "tools/check_docs.lua"
local fastpg = require "fastpg"
local pg = require "spec.support.pg"
local Pooler = require "spec.support.pooler"

local here = Pooler.available() and describe or pending

local function merged(...)
  local all = {}
  for _, set in ipairs{ ... } do
    for name, value in pairs(set) do all[name] = value end
  end
  return all
end

-- A cluster whose connections go through the pooler.
local function behind(real, pooler, options)
  local function target(given)
    local all = merged(pooler:conninfo(), options, given or {})
    if given and given.database then all.dbname = nil end
    if all.direct then
      all.direct = merged(real.conninfo, given or {})
      if given and given.database then all.direct.dbname = nil end
    end
    return all
  end
  return setmetatable({
    connect = function(_, given) return fastpg.connect(target(given)) end,
    create_pool = function(_, given, more) return fastpg.create_pool(target(given), more) end,
    conninfo = pooler:conninfo(), uri = fastpg.uri(pooler:conninfo()), pid = real.pid,
  }, { __index = real })
end

-- What differs of the walk and of the manual's blocks.
local function walk(cluster)
  local tour = dofile "examples/demo/tour.lua"
  local problems, env = {}, tour.prepare(cluster, nil)
  for _, chapter in ipairs(tour.chapters()) do
    for i, step in ipairs(chapter) do
      local problem = type(step) == "table" and tour.problem(step, false, tour.run(step, env))
      if problem then problems[#problems + 1] = ("%s %d: %s"):format(chapter.title, i, problem) end
    end
  end
  for _, page in ipairs{ "README.md", "doc/manual.md" } do
    local _, list = check_docs.page(page, cluster)
    for _, problem in ipairs(list) do problems[#problems + 1] = problem end
  end
  return problems
end

here("behind a pooler in transaction mode", function()
  local pooler
  setup(function() pooler = Pooler.start(pg.cluster().conninfo, { pool_mode = "transaction", default_pool_size = 6 }) end)
  teardown(function() pooler:close() end)

  it("the table of the manual holds", function()
    local pooler_table = dofile "tools/pooler_table.lua"
    assert.equal(pooler_table.written(), pooler_table.make(pg.conninfo()))
  end)

  it("the manual's walk and its pages give what they say, with pooler and direct", function()
    assert.same({}, walk(behind(pg.cluster(), pooler, { pooler = "transaction", direct = true })))
  end)

  it("by default what differs says that there is a pooler, and what to do", function()
    local own = fastpg.cluster() -- the pages make roles, which belong to no database
    local before = Pooler.start(own.conninfo, { pool_mode = "transaction", default_pool_size = 6 })
    local problems = walk(behind(own, before, {}))
    before:close()
    own:close()
    assert.is_true(#problems > 0)
    for _, problem in ipairs(problems) do
      assert.truthy(problem:find('this looks like a transaction pooler: connect with pooler = "transaction"', 1, true)
        or problem:find("26000", 1, true), problem)
    end
  end)
end)
