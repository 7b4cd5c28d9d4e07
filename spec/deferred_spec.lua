-- SPDX-License-Identifier: MIT
--
-- A deferred constraint fails when the transaction ends: outside of one, at the Sync behind the statement, when its
-- result was there already.  It is told all the same, and the connection is in step.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local INSERT = "insert into late values (1)"

local ways = {
  q = function(db) db:q(INSERT) end,
  arrays = function(db) db:arrays(INSERT .. " returning n") end,
  first = function(db) db:first(INSERT .. " returning n") end,
  item = function(db) db:item(INSERT .. " returning n") end,
  execute = function(db) db:execute(INSERT) end,
  ["execute with an argument"] = function(db) db:execute("insert into late values (?)", 1) end,
  each = function(db) db:each(INSERT .. " returning n", function() end) end,
  ["each of many rows"] = function(db)
    db:each("insert into late select 1 from generate_series(1, 1000) returning n", function() end)
  end,
  prepare = function(db) db:prepare(INSERT)() end,
  pipeline = function(db) db:pipeline(function(p) p:q "select 7" p:q(INSERT) p:q "select 8" end) end,
  ["pipeline at its end"] = function(db) db:pipeline(function(p) p:q(INSERT) end) end,
  executemany = function(db) db:executemany("insert into late values (?)", { { 2 }, { 1 } }) end,
  insert = function(db) db.t.late:insert{ n = 1 } end,
  inserts = function(db) db.t.late:inserts{ { n = 1 }, { n = 2 } } end,
  copy = function(db) db.t.late:copy{ { n = 1 }, { n = 2 } } end,
  copy_from = function(db) db:copy_from("copy late from stdin", "2\n1\n") end,
  transaction = function(db) db:transaction(function(tx) tx:q(INSERT) end) end,
}

for _, cache in ipairs{ 100, 0 } do
  describe(("a deferred constraint, statement_cache_size = %d,"):format(cache), function()
    local db

    setup(function()
      db = pg.db{ statement_cache_size = cache }
      db:execute "drop table if exists late; create table late (n int unique deferrable initially deferred)"
      db:q(INSERT)
    end)
    teardown(function() db:close() end)

    for name, way in pairs(ways) do
      it("fails by " .. name, function()
        local pid = db.pid
        local ok, err = pcall(way, db)
        assert.is_false(ok)
        assert.is_true(fastpg.is(err, "unique_violation"), tostring(err))
        for i = 1, 3 do assert.equal(i, db:item("select ?::int", i)) end
        assert.equal(1, db:item "select count(*)::int from late")
        assert.equal(pid, db.pid)
      end)
    end
  end)
end
