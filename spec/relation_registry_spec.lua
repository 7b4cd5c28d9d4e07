-- SPDX-License-Identifier: MIT
--
-- What belongs to a relation and not to a spelling of its name: filters and classes hold whatever name leads to it, stay
-- with the name when it leads to a new relation, and with the relation when it is renamed.

local fastpg = require "fastpg"
local pg = require "spec.support.pg"

local RESET = [[
  drop schema if exists sales, other cascade; drop table if exists orders, orders_old, orders_new, artist cascade;
  create schema sales; create schema other;
  create table sales.orders (id int primary key, tenant int, n int);
  create table other.orders (id int primary key, tenant int, n int);
  create table public.artist (id int primary key, tenant int, n int);
  insert into sales.orders select i, i % 2, i from generate_series(1, 10) i;
  insert into other.orders select i, i % 2, i from generate_series(1, 10) i;
  insert into artist select i, i % 2, i from generate_series(1, 10) i;]]

local function fails(name, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(name, err.name, tostring(err))
  return tostring(err)
end

-- Every way to say `sales.orders` where the search_path leads there, and every way to say `artist`.
local SPELLINGS = {
  ["sales.orders"] = {
    function(db) return db:table("orders", "sales") end,
    function(db) return db.t["sales.orders"] end,
    function(db) return db.t[{ "sales.orders" }][1] end,
    function(db) return (db.t("sales.orders")) end,
    function(db) return db.v["sales.orders"] end,
    function(db) return db.t.orders end,
    function(db) return db:tables()[2] end,
  },
  artist = {
    function(db) return db.t.artist end,
    function(db) return db.t["public.artist"] end,
    function(db) return db:table "artist" end,
    function(db) return db:table("artist", "public") end,
    function(db) return db:table "public.artist" end,
  },
}

describe("filters and classes belong to the relation:", function()
  local db

  before_each(function()
    db = pg.db{ options = "-c search_path=sales,public -c lock_timeout=5s" }
    db:execute(RESET)
  end)
  after_each(function() db:close() end)

  -- Everything that reads is confined, and what is outside can't be written.
  local function check_confined(t, tenant)
    assert.equal(5, #t)
    assert.equal(5, #t())
    assert.equal(5, t:where("n > 0"):count())
    local inside, outside = tenant == 1 and 1 or 2, tenant == 1 and 2 or 1
    assert.equal(tenant, t[inside].tenant)
    assert.is_nil(t:get(outside))
    fails("not_found", t.delete, t, outside)
    fails("not_found", t.update, t, { id = outside, n = 0 })
    fails("not_found", t.upsert, t, { id = outside, n = 0 })
    assert.equal(5, #t:where("true"):order_by("id"):limit(50):update{ n = 1 })
    fails("invalid_argument", t.drop, t)
  end

  for name, spellings in pairs(SPELLINGS) do
    for i, set in ipairs(spellings) do
      it(("a filter of %s, set by spelling %d, holds for all of them"):format(name, i), function()
        local before = {}
        for k, get in ipairs(spellings) do before[k] = get(db) end
        local held = before[1]:where("true")
        set(db):xtra{ tenant = 1 }
        for k, get in ipairs(spellings) do
          check_confined(get(db), 1)
          check_confined(before[k], 1) -- a handle that was there already
        end
        assert.equal(5, held:count()) -- a query that was there already
        db:transaction(function(tx)
          for _, get in ipairs(spellings) do
            assert.equal(5, #get(tx))
            assert.equal(5, #get(db))
          end
        end)
        local tx = db:begin()
        for _, get in ipairs(spellings) do assert.equal(5, #get(tx)) end
        tx:rollback()
        assert.equal(10, #db.t["other.orders"]) -- another relation
        -- cleared by another spelling
        spellings[i % #spellings + 1](db):xtra()
        for k, get in ipairs(spellings) do
          assert.equal(10, #get(db))
          assert.equal(10, #before[k])
        end
      end)
    end
  end

  it("the last filter that was set is the one", function()
    db.t.orders:xtra{ tenant = 1 }
    db.t["sales.orders"]:xtra{ tenant = 0 }
    check_confined(db.t.orders, 0)
    check_confined(db:table("orders", "sales"), 0)
  end)

  it("a filter set before anything is connected", function()
    local later = fastpg.database()
    local t = later:table("orders", "sales")
    t:xtra{ tenant = 1 }
    later:connect(pg.conninfo())
    assert.equal(5, #later.t["sales.orders"]) -- not the name it was set by, and asked for first
    assert.equal(5, #t)
    later:close()
  end)

  it("a transaction's own filter holds for all spellings in it, and nowhere else", function()
    db.t.orders:xtra{ tenant = 1 }
    db:transaction(function(tx)
      tx.t["sales.orders"]:xtra{ tenant = 0 }
      assert.equal(0, tx.t.orders:first().tenant)
      assert.equal(1, db.t.orders:first().tenant)
      tx.t.orders:xtra()
      assert.equal(10, #tx.t["sales.orders"])
    end)
    check_confined(db.t.orders, 1)
  end)

  it("a table that is renamed away keeps its wall, and so does the one made anew", function()
    for _, session in ipairs{ "own", "another" } do
      db:execute(RESET)
      local t = db.t["sales.orders"]
      t:xtra{ tenant = 1 }
      assert.equal(5, #db.t.orders)
      local sql = [[alter table sales.orders rename to orders_old;
        create table sales.orders (id int primary key, tenant int, n int);
        insert into sales.orders select i, i % 2, i from generate_series(1, 10) i]]
      if session == "own" then
        db:execute(sql)
      else
        pg.psql(sql, pg.database())
        db:refresh()
      end
      assert.equal(5, #t)
      assert.equal(5, #db.t.orders)
      assert.equal(5, #db:table("orders", "sales"))
      assert.equal(5, #db.t.orders_old)
      assert.equal(5, #db.t["sales.orders_old"])
      -- the new one has been seen: it keeps the filter under its next name too
      db:execute "alter table sales.orders rename to orders_new"
      assert.equal(5, #db.t.orders_new)
      db.t.orders_old:xtra()
      t:xtra()
      db.t.orders_new:xtra()
    end
  end)

  it("a table that is dropped and made anew keeps its wall", function()
    db.t.artist:xtra{ tenant = 1 }
    db:execute [[drop table artist; create table public.artist (id int primary key, tenant int, n int);
      insert into artist select i, i % 2, i from generate_series(1, 10) i]]
    check_confined(db.t["public.artist"], 1)
    db:execute "alter table artist drop tenant"
    fails("undefined_column", function() return #db.t["public.artist"] end) -- a wall that can't stand lets nobody in
    db.t["public.artist"]:xtra()
    assert.equal(10, #db.t.artist)
  end)

  it("a Table with a scope gets what is filtered later, and keeps what it had", function()
    local early = db.t.orders:scope("n", 3)
    db.t["sales.orders"]:xtra{ tenant = 0 }
    assert.equal(0, #early) -- 3 is tenant 1's
    local late = db.t.orders:scope("n", 4)
    assert.equal(1, #late)
    db.t.orders:xtra()
    assert.equal(1, #early)
    late:xtra()
    assert.is_nil(late:get(3))
    local fixed = db.t.orders:scope("tenant", 1)
    db.t.orders:xtra{ tenant = 0 }
    assert.equal(5, #fixed) -- the scope's word stands
    assert.equal(1, fixed:first().tenant)
  end)

  it("a view and a partition are other relations", function()
    db:execute [[create view public.v as select * from sales.orders;
      create table public.parted (id int, tenant int, primary key (id)) partition by range (id);
      create table public.part1 partition of public.parted for values from (0) to (100);
      insert into public.parted select i, i % 2 from generate_series(1, 10) i]]
    db.t.orders:xtra{ tenant = 1 }
    db.t.parted:xtra{ tenant = 1 }
    assert.equal(10, #db.v.v)
    assert.equal(5, #db.t.parted)
    assert.equal(10, #db.t.part1)
    db.v.v:xtra{ tenant = 0 }
    assert.equal(5, #db.t["public.v"])
    db:execute "drop view public.v; drop table public.parted"
  end)

  it("a wrong filter changes nothing", function()
    db.t.orders:xtra{ tenant = 1 }
    fails("undefined_column", db.t.orders.xtra, db.t["sales.orders"], { tenannt = 1 })
    check_confined(db.t["sales.orders"], 1)
  end)

  it("a class is the relation's, whatever name it was given by", function()
    local Orders = db.t["sales.orders"]:class()
    for i, get in ipairs(SPELLINGS["sales.orders"]) do
      assert.equal(Orders, get(db).cls, i)
      assert.matches("^Orders%(", tostring(get(db)[1]))
    end
    assert.equal(Orders, db.t.orders:class())
    assert.is_nil(db.t["other.orders"].cls)
    db:transaction(function(tx) assert.matches("^Orders%(", tostring(tx.t.orders[1])) end)
    -- and stays with both names
    db:execute [[alter table sales.orders rename to orders_old; create table sales.orders (id int primary key);
      insert into sales.orders values (1)]]
    assert.equal("Orders(id=1)", tostring(db.t["sales.orders"][1]))
    assert.matches("^Orders%(", tostring(db.t.orders_old[1]))
  end)

  it("link_classes gives classes to relations, too", function()
    local Artist = fastpg.class("Artist", { "id int", "tenant int", "n int" })
    db:link_classes{ Artist = Artist }
    assert.equal(Artist, db.t["public.artist"].cls)
    assert.matches("^Artist%(", tostring(db:table("artist", "public")[1]))
  end)
end)
