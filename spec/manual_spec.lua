-- SPDX-License-Identifier: MIT
--
-- The manual's walk, step by step: what `make demo` shows is compared to the letter.  With CHINOOK set
-- to the path of Chinook_PostgreSql.sql it is walked once more on that file.
--
-- Steps build on each other: read the first failure.

local pg = require "spec.support.pg"
local tour = dofile "examples/demo/tour.lua"

local function name_of(chapter, i, step)
  return ("%s %d: %s"):format(chapter.title, i, (step[1]:gsub("%s+", " ")))
end

local function walk(chinook)
  local env
  setup(function() env = tour.prepare(pg.cluster(), chinook) end)

  for _, chapter in ipairs(tour.chapters()) do
    for i, step in ipairs(chapter) do
      if type(step) == "table" then
        it(name_of(chapter, i, step), function()
          local problem = tour.problem(step, chinook ~= nil, tour.run(step, env))
          assert.is_nil(problem)
        end)
      end
    end
  end
end

describe("the manual's walk on our music", function() walk(nil) end)

local chinook = os.getenv "CHINOOK"
if chinook and chinook ~= "" then
  describe("the manual's walk on Chinook", function() walk(chinook) end)
end

describe("the walk", function()
  it("says what is wrong", function()
    local step = { "1 + 1", "3" }
    assert.equal("gave\n2\ninstead of\n3", tour.problem(step, false, tour.run(step, {})))
    assert.equal("gave 2 instead of raising x", tour.problem({ "1 + 1", raises = "x" }, false, "2"))
    assert.truthy(tour.problem({ "f()" , "1" }, false, tour.run({ "f()" }, {})))
    assert.is_nil(tour.problem({ "1", "1", chinook = "2" }, true, "2"))
    assert.truthy(tour.problem({ "1", like = "^2$" }, false, "1"))
  end)

  it("has its checks", function()
    local checks = 0
    for _, chapter in ipairs(tour.chapters()) do
      for _, step in ipairs(chapter) do
        if type(step) == "table" and (step[2] or step.like or step.raises) then checks = checks + 1 end
      end
    end
    assert.is_true(checks >= 120)
  end)
end)
