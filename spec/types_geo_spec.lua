-- SPDX-License-Identifier: MIT
--
-- types_geo: geometric values and hstore as tables: what they have, as parameters, what is refused.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local null = fastpg.null
local db = pg.db()
db:execute[[
  CREATE EXTENSION hstore;
  CREATE DOMAIN area AS box;
  CREATE TYPE place AS (at point, tags hstore);
]]

local function refused(message, ...)
  local ok, err = pcall(db.item, db, ...)
  assert.is_false(ok)
  assert.equal(message, err.message)
  assert.equal(1, db:item "SELECT 1")
end

describe("a geometric value", function()
  it("is a table of its parts", function()
    local row = db:first[[SELECT '(1,-2.5)'::point AS point, '{1,2,3}'::line AS line, '[(1,2),(3,4)]'::lseg AS lseg,
      '(1,2),(3,4)'::box AS box, '[(1,2),(3,4)]'::path AS open, '((1,2),(3,4))'::path AS closed,
      '((1,2),(3,4),(5,6))'::polygon AS polygon, '<(1,2),3>'::circle AS circle]]
    assert.same({ x = 1, y = -2.5 }, { x = row.point.x, y = row.point.y })
    assert.same({ 1, 2, 3 }, { row.line.a, row.line.b, row.line.c })
    assert.same({ 1, 2, 3, 4 }, { row.lseg.p1.x, row.lseg.p1.y, row.lseg.p2.x, row.lseg.p2.y })
    assert.same({ 3, 4, 1, 2 }, { row.box.high.x, row.box.high.y, row.box.low.x, row.box.low.y })
    assert.is_false(row.open.closed)
    assert.is_true(row.closed.closed)
    assert.equal(2, #row.open.points)
    assert.equal(4, row.closed.points[2].y)
    assert.equal(3, #row.polygon.points)
    assert.equal(5, row.polygon.points[3].x)
    assert.same({ 1, 2, 3 }, { row.circle.center.x, row.circle.center.y, row.circle.radius })
    assert.equal("<Record point=(1,-2.5) line={1,2,3} lseg=[(1,2),(3,4)] box=(3,4),(1,2) open=[(1,2),(3,4)] "
      .. "closed=((1,2),(3,4)) polygon=((1,2),(3,4),(5,6)) circle=<(1,2),3>>", tostring(row))
    assert.equal('{"x":1.5,"y":2.5}', fastpg.to_json(db:item "SELECT point(1.5, 2.5)"):gsub('{"y":2.5,"x":1.5}', '{"x":1.5,"y":2.5}'))
  end)

  it("equals another of the same type with the same parts", function()
    local a, b, c = db:item "SELECT '(1,2)'::point", db:item "SELECT '(1,2)'::point", db:item "SELECT '(1,3)'::point"
    assert.is_true(a == b)
    assert.is_false(a == c)
    assert.is_false(a == { x = 1, y = 2 })
    c.y = 2
    assert.is_true(a == c)
    assert.is_false(db:item "SELECT '((1,2))'::path" == db:item "SELECT '((1,2))'::polygon")
  end)

  it("that was changed into something else still prints", function()
    local point = db:item "SELECT '(1,2)'::point"
    point.x = nil
    assert.truthy(tostring(point):find("^fastpg.point: "))
    local path = db:item "SELECT '((1,2))'::path"
    path.points = nil
    assert.truthy(tostring(path):find("^fastpg.path: "))
    assert.is_false(point == db:item "SELECT '(1,2)'::point")
  end)

  it("may be sent as a plain table", function()
    for typename, case in pairs{
      point = { "(1,-2.5)", { x = 1, y = -2.5 } },
      line = { "{1,2,0.1}", { a = 1, b = 2, c = 0.1 } },
      lseg = { "[(1,2),(3,4)]", { p1 = { x = 1, y = 2 }, p2 = { x = 3, y = 4 } } },
      box = { "(3,4),(1,2)", { low = { x = 3, y = 2 }, high = { x = 1, y = 4 } } },
      path = { "[(1,2),(3,4)]", { points = { { x = 1, y = 2 }, { x = 3, y = 4 } } } },
      polygon = { "((1,2),(3,4))", { points = { { x = 1, y = 2 }, { x = 3, y = 4 } } } },
      circle = { "<(1,2),3>", { center = { x = 1, y = 2 }, radius = fastpg.numeric "3" } },
    } do
      local text, value = case[1], case[2]
      assert.equal(text, db:item(("SELECT $1::%s::text"):format(typename), value))
      assert.equal(text, db:item(("SELECT $1::%s::text"):format(typename), text))
      assert.equal(text, tostring(db:item(("SELECT ($1::%s[])[2]"):format(typename), { null, value })))
      assert.equal(text, tostring(db:item(("SELECT ($1::%s[])[1]"):format(typename), { text })))
    end
    assert.equal("((1,2),(3,4))", db:item("SELECT $1::path::text", { closed = true, points = { { x = 1, y = 2 }, { x = 3, y = 4 } } }))
    assert.equal("(NaN,-Infinity)", db:item("SELECT $1::point::text", { x = 0 / 0, y = -math.huge }))
  end)

  it("may be in arrays of more dimensions, in a domain and in a composite type", function()
    for _, column in ipairs{ "", ", '1'::money" } do
      local grid = db:first("SELECT '{{\"(1,2)\",\"(3,4)\"},{\"(5,6)\",NULL}}'::point[] AS v" .. column).v
      assert.equal(3, grid[1][2].x)
      assert.equal(null, grid[2][2])
      assert.equal('{{"(1,2)","(3,4)"},{"(5,6)",NULL}}', db:item("SELECT $1::point[]::text", grid))
      local areas = db:first("SELECT '{(1,2),(3,4);(5,6),(7,8)}'::area[] AS v" .. column).v
      assert.equal("(7,8),(5,6)", tostring(areas[2]))
      assert.equal("{(3,4),(1,2);(7,8),(5,6)}", db:item("SELECT $1::area[]::text", areas))
      local place = db:first("SELECT ROW('(1,2)', 'a=>NULL')::place AS v" .. column).v
      assert.equal(2, place.at.y)
      assert.equal(null, place.tags.a)
      assert.equal('("(1,2)","""a""=>NULL")', db:item("SELECT $1::place::text", place))
    end
  end)

  it("is refused with its parts missing, or of another kind", function()
    refused("$1: a number for y of a point expected, got nil", "SELECT $1::point", { x = 1 })
    refused("$1: a number for x of a point expected, got string", "SELECT $1::point", { x = "1", y = 2 })
    refused("$1: point (text, or a table with x and y) expected, got number 5", "SELECT $1::point", 5)
    refused("$1[2]: a number for x of a point expected, got nil", "SELECT $1::point[]", { { x = 1, y = 2 }, {} })
    refused("$1: a point with x and y for low of a box expected, got nil", "SELECT $1::box", { high = { x = 1, y = 2 } })
    refused("$1: a list of points for points of a polygon expected, got table", "SELECT $1::polygon", { points = {} })
    refused("$1: a point with x and y for points of a path expected, got number 1", "SELECT $1::path", { points = { 1 } })
    refused("$1: a number for radius of a circle expected, got boolean", "SELECT $1::circle", { center = { x = 1, y = 2 }, radius = true })
  end)
end)

describe("a table of rows", function()
  it("draws geometric values and hstore as psql does", function()
    local sql = [[SELECT '(1,2)'::point AS p, '{(1,2),(3,4);NULL}'::box[] AS b, '{"((1,2),(3,4))"}'::polygon[] AS g,
      'a=>1, b=>NULL'::hstore AS h, ARRAY['a=>1'::hstore, '', NULL] AS hs, '{{"(1,2)"},{"(3,4)"}}'::point[] AS pp]]
    local row = db:first(sql)
    local drawn = tostring(db:q(sql))
    local texts = db:first("SELECT p::text, b::text, g::text, h::text, hs::text, pp::text FROM (" .. sql .. ") _")
    for name, text in pairs(texts) do
      assert.truthy(drawn:find("[ |]" .. text:gsub("%p", "%%%0") .. " *[|\n]"), name .. " " .. text .. "\n" .. drawn)
    end
    assert.equal("(1,2)", tostring(row.p))
  end)
end)

describe("hstore", function()
  it("is a table both ways", function()
    for _, column in ipairs{ "", ", '1'::money" } do
      local row = db:first("SELECT 'a=>1, \"b c\"=>NULL, d=>\"\\\"q\\\\\"'::hstore AS v, ''::hstore AS empty" .. column)
      assert.same({ a = "1", ["b c"] = null, d = '"q\\' }, row.v)
      assert.same({}, row.empty)
      assert.is_true(db:item("SELECT $1 = 'a=>1, \"b c\"=>NULL, d=>\"\\\"q\\\\\"'::hstore", row.v))
    end
    assert.equal('"a"=>"1"', db:item("SELECT $1::hstore::text", "a=>1"))
    assert.equal('"n"=>"5"', db:item("SELECT $1::hstore::text", { n = 5 }))
    assert.equal('"n"=>"1.50"', db:item("SELECT $1::hstore::text", { n = fastpg.numeric "1.50" }))
    assert.equal("", db:item("SELECT $1::hstore::text", {}))
  end)

  it("prints as the server does", function()
    local sql = [[SELECT 'bb=>1, a=>NULL, c=>"", ab=>"\"\\ x", ""=>y'::hstore]]
    local v = db:item(sql)
    assert.equal(db:item(sql .. "::text"), tostring(v))
    assert.equal([[<Record v=""=>"y", "a"=>NULL>]], tostring(db:first [[SELECT 'a=>NULL, ""=>y'::hstore AS v]]))
    assert.equal("", tostring(db:item "SELECT ''::hstore"))
    v.x = 1
    assert.truthy(tostring(v):find("^fastpg.hstore: "))
    assert.equal('{"a":null}', fastpg.to_json(db:item "SELECT 'a=>NULL'::hstore"))
    assert.equal("{}", fastpg.to_json(db:item "SELECT ''::hstore"))
  end)

  it("in an array is an element, even an empty one", function()
    for _, column in ipairs{ "", ", '1'::money" } do
      local list = db:first([[SELECT ARRAY['a=>"b,c"'::hstore, NULL, ''] AS v]] .. column).v
      assert.same({ { a = "b,c" }, null, {} }, list)
      assert.is_true(db:item([[SELECT $1 = ARRAY['a=>"b,c"'::hstore, NULL, '']::hstore[] ]], list))
      local grid = db:first([==[SELECT ARRAY[ARRAY['a=>1'::hstore], ARRAY[''::hstore]] AS v]==] .. column).v
      assert.is_true(db:item([==[SELECT $1 = ARRAY[ARRAY['a=>1'::hstore], ARRAY[''::hstore]]]==], grid))
    end
  end)

  it("takes strings as keys, and strings, numbers and null as values", function()
    refused("$1: a string as key of an hstore expected, got number 1", "SELECT $1::hstore", { "a" })
    refused("$1: a string, a number or fastpg.null as value of an hstore expected, got table", "SELECT $1::hstore", { a = {} })
    refused("$1: a string, a number or fastpg.null as value of an hstore expected, got boolean", "SELECT $1::hstore", { a = true })
    refused("$1: hstore (text, or a table with strings as keys) expected, got number 5", "SELECT $1::hstore", 5)
    refused("$1: text expected, got a string with a zero byte (bytes are for bytea parameters)", "SELECT $1::hstore", { a = "\0" })
  end)
end)
