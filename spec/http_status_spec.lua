-- SPDX-License-Identifier: MIT
--
-- What an error is to a client of a web server.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

describe("fastpg.http_status", function()
  local db
  setup(function()
    db = pg.db()
    db:execute [[create table item (id int primary key, parent int references item, n int check (n > 0), name text not null default 'x');
      insert into item values (1)]]
  end)
  teardown(function() db:close() end)

  local function status(sql, ...)
    local ok, err = pcall(db.q, db, sql, ...)
    assert.is_false(ok)
    return fastpg.http_status(err)
  end

  it("is 404 for what is not there", function()
    assert.equal(404, fastpg.http_status(select(2, pcall(function() return db.t.item[2] end))))
    assert.equal(404, fastpg.http_status(select(2, pcall(db.qone, db, "select 1 where false"))))
  end)

  it("is 409 for conflicts, 422 for other constraints", function()
    assert.equal(409, status "insert into item values (1)")
    assert.equal(422, status "insert into item values (2, 5)")
    assert.equal(422, status "insert into item values (2, null, 0)")
    assert.equal(422, status "insert into item values (2, null, 1, null)")
  end)

  it("is 400 for values that can't be", function()
    assert.equal(400, status("select * from item where id = ?", "99999999999"))
    assert.equal(400, status("select * from item where id = ?", "x"))
    assert.equal(400, status("select * from item where id = ?", 1.5))
    assert.equal(400, status("select * from item where name = ?", "\255"))
    assert.equal(400, status("select ?::date", "2024-02-30"))
  end)

  it("is 503 without a connection or time", function()
    local closed = pg.db()
    closed:close()
    assert.equal(503, fastpg.http_status(select(2, pcall(closed.q, closed, "select 1"))))
    assert.equal(503, fastpg.http_status(select(2, pcall(db.timeout, db, 0.05, function() db:q "select pg_sleep(5)" end))))
    assert.equal(503, fastpg.http_status(select(2, pcall(fastpg.connect, "host=/nowhere"))))
  end)

  it("is 500 for the program's mistakes, and for what is no error of fastpg's", function()
    assert.equal(500, status "select nope")
    assert.equal(500, status "selec 1")
    assert.equal(500, fastpg.http_status "text")
    assert.equal(500, fastpg.http_status(nil))
  end)
end)
