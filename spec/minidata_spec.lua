-- SPDX-License-Identifier: MIT
--
-- The MiniDataAPI: the examples of that specification (fastlite's and fastsql's common interface) in
-- their order, in Lua.  Its `in` is has(), its keyword arguments are tables.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local function not_found(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(fastpg.is(err, fastpg.NotFoundError), tostring(err))
end

local function names(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = row.name end
  return list
end

describe("the MiniDataAPI's examples:", function()
  local db, users, todos, publications

  setup(function()
    db = pg.db()
    db:execute [[
      create table "user" (name text primary key, email text, year_started int);
      create table todo (id serial primary key, title text, detail text, status text, name text);
      create table publication (authors text, year int, title text, primary key (authors, year))]]
    users, todos, publications = db.t.user, db.t.todo, db.t.publication
  end)

  teardown(function() db:close() end)

  it("a table is transformed", function()
    db:execute 'alter table "user" add pwd text'
    assert.equal("name, email, year_started, pwd", tostring(users.c))
    assert.same({ "name" }, users.pks)
    assert.same({ "authors", "year" }, publications.pks)
  end)

  it("insert", function()
    assert.equal("<Record name='Braden' email='b@example.com' year_started=2018 pwd=nil>",
      tostring(users:insert{ name = "Braden", email = "b@example.com", year_started = 2018 }))
    assert.equal("Alma", users:insert{ name = "Alma", email = "a@example.com", year_started = 2019 }.name)
    assert.equal("Charlie", users:insert{ name = "Charlie", email = "c@example.com", year_started = 2018 }.name)
    todos:insert{ title = "Write MiniDataAPI spec", status = "open", name = "Braden" }
    todos:insert{ title = "Implement SSE in FastHTML", status = "open", name = "Alma" }
    local todo = todos:insert{ title = "Finish development of FastHTML", status = "closed", name = "Charlie" }
    assert.equal("<Record id=3 title='Finish development of FastHTML' detail=nil status='closed' name='Charlie'>", tostring(todo))
    publications:insert{ authors = "Alma", year = 2019, title = "FastHTML" }
    publications:insert{ authors = "Alma", year = 2030, title = "FastHTML and beyond" }
    local publication = publications:insert{ authors = "Alma", year = 2035, title = "FastHTML, the early years" }
    assert.equal("<Record authors='Alma' year=2035 title='FastHTML, the early years'>", tostring(publication))
  end)

  it("square brackets", function()
    assert.equal("a@example.com", users[{ "Alma" }].email)
    not_found(function() return users[{ "David" }] end)
    assert.equal("<Record id=1 title='Write MiniDataAPI spec' detail=nil status='open' name='Braden'>", tostring(todos[1]))
    assert.equal("FastHTML", publications[{ "Alma", 2019 }].title)
    assert.equal("FastHTML and beyond", publications[{ "Alma", 2030 }].title)
  end)

  it("parentheses", function()
    assert.same({ "Braden", "Alma", "Charlie" }, names(users()))
    assert.same({ "Alma", "Braden", "Charlie" }, names(users{ order_by = "name" }))
    assert.same({ "Alma" }, names(users{ where = "name='Alma'" }))
    assert.same({ "Alma" }, names(users("name=?", "Alma")))
    assert.same({ "Braden" }, names(users{ limit = 1 }))
    assert.same({ "Alma", "Charlie" }, names(users{ limit = 5, offset = 1 }))
  end)

  it("update", function()
    local user = users[{ "Alma" }]
    user.year_started = 2099
    assert.equal("<Record name='Alma' email='a@example.com' year_started=2099 pwd=nil>", tostring(users:update(user)))
    assert.equal(2199, users:update{ name = "Alma", year_started = 2199, email = "a@example.com" }.year_started)
    assert.equal(2149, users:update{ name = "Alma", year_started = 2149 }.year_started)
    assert.equal("a@example.com", users[{ "Alma" }].email)
    not_found(users.update, users, { name = "John", year_started = 2024, email = "j@example.com" })
  end)

  it("delete", function()
    assert.equal("Charlie", users:delete("Charlie").name)
    not_found(users.delete, users, "Charlies")
    not_found(users.delete, users, "John")
    assert.equal(2035, publications:delete{ "Alma", 2035 }.year)
  end)

  it("in", function()
    assert.is_true(users:has("Alma"))
    assert.is_false(users:has("John"))
    assert.is_true(publications:has{ "Alma", 2019 })
    assert.is_false(publications:has{ "John", 1967 })
  end)

  it("xtra", function()
    assert.equal(3, #todos())
    todos:xtra{ name = "Charlie" }
    assert.same({ "Charlie" }, names(todos()))
    local ct = todos[3]
    assert.equal("Charlie", ct.name)
    assert.is_true(todos:has(ct.id))
    assert.is_false(todos:has(1))
    assert.is_false(todos:has(2))
    not_found(function() return todos[2] end)
    not_found(todos.update, todos, { id = 1, title = "Finish MiniDataAPI Spec", status = "closed", name = "Braden" })
    assert.equal("closed", todos:update{ id = 3, title = "Finish development of FastHTML", status = "closed", name = "Charlie" }.status)
    not_found(todos.delete, todos, 1)
    todos:delete(ct.id)
    ct = todos:insert{ title = "Rewrite personal site in FastHTML", status = "open" }
    assert.equal("<Record id=4 title='Rewrite personal site in FastHTML' detail=nil status='open' name='Charlie'>", tostring(ct))
    ct.name = "Braden"
    assert.equal("Charlie", todos:update(ct).name)
    assert.equal("Charlie", todos[4].name)
    todos:xtra()
    assert.equal(3, #todos)
  end)

  it("upsert, which fastlite adds", function()
    assert.equal(2001, users:upsert{ name = "Alma", year_started = 2001 }.year_started)
    assert.equal("Dora", users:upsert{ name = "Dora" }.name)
    assert.equal("third", publications:upsert{ authors = "Alma", year = 2019, title = "third" }.title)
    assert.equal(2, #publications)
  end)
end)
