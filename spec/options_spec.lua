-- SPDX-License-Identifier: MIT
--
-- Every options table of the library: an unknown name, and a value of another type, is an error at the
-- caller's line, before anything happens.  What there is, is not listed here but declared by the library
-- (fastpg.base.options): one that this file can't call yet fails below.

local fastpg = require "fastpg"
local options = require "fastpg.base.options"
local pg = require "spec.support.pg"

require "fastpg.cluster" -- loaded by its first use

local db = pg.db()
db:execute "CREATE TABLE opt(id int PRIMARY KEY, name text, status text)"
local t = db.t.opt
local class = fastpg.class("Opt2", { "id int", "name text" })

local own -- a server that may be stopped
teardown(function() if own then own:close() end end)

-- How each is called with options.
local calls = {
  ["db:transaction"] = function(o) db:transaction(o, function() end) end,
  ["db:read"] = function(o) db:read(o, function() end) end,
  ["db:begin"] = function(o) db:begin(o):rollback() end,
  ["db:on: audit"] = function(o) db:on("audit", print, o)() end,
  ["db:on: connect"] = function(o) db:on("connect", print, o)() end,
  ["db:on: notice"] = function(o) db:on("notice", print, o)() end,
  ["db:on: query"] = function(o) db:on("query", print, o)() end,
  ["db:on: server"] = function(o) db:on("server", print, o)() end,
  ["db:on: slow"] = function(o) db:on("slow", print, o)() end,
  ["db:on: write"] = function(o) db:on("write", print, o)() end,
  ["db:set_type_codec"] = function(o) db:set_type_codec("int4", o) end,
  ["db:create"] = function(o) db:create(class, o) end,
  ["db:create: an index"] = function(o)
    local index = type(o) == "table" and { "id" } or o
    for name, value in pairs(type(o) == "table" and o or {}) do index[name] = value end
    db:create(class, { name = "opt_index", replace = true, indexes = { index } })
  end,
  ["db:create_from_schema"] = function(o) db:create_from_schema("opt3", "id int", o) end,
  ["t{…}"] = function(o) return t(o) end,
  ["t:count"] = function(o) t:count(o) end,
  ["t:claim"] = function(o) t:claim(o) end,
  ["t:claim_one"] = function(o) t:claim_one(o, function() end) end,
  ["t:class"] = function(o) t:class(o) end,
  ["t:copy"] = function(o) t:copy({}, o) end,
  ["t:drop"] = function(o) t:drop(o) end,
  ["t:insert"] = function(o) t:insert({ id = 1 }, nil, o) end,
  ["t:insert_from"] = function(o) t:insert_from(t:where{ id = 1 }, o) end,
  ["t:update"] = function(o) t:update({ id = 1 }, nil, nil, o) end,
  ["t:delete"] = function(o) t:delete(1, o) end,
  ["t:get"] = function(o) t:get(1, o) end,
  ["q:update"] = function(o) t:where{ id = 1 }:update({ name = "x" }, o) end,
  ["q:delete"] = function(o) t:where{ id = 1 }:delete(o) end,
  ["q:join"] = function(o) return t:join("opt", o) end,
  ["q:where_exists"] = function(o) return t:where_exists("opt", { id = 1 }, o) end,
  ["q:for_update"] = function(o) return t:for_update(o) end,
  ["with"] = function(o) return t:with{ x = o } end,
  ["t:upserts"] = function(o) t:upserts({}, nil, o) end,
  ["t:upsert"] = function(o) t:upsert({ id = 1 }, nil, o) end,
  ["fastpg.all_classes"] = function(o) fastpg.all_classes(db, o) end,
  ["fastpg.array"] = function(o) fastpg.array({ 1 }, o) end,
  ["fastpg.class"] = function(o) fastpg.class("X", { "id int" }, o) end,
  ["fastpg.class: a field"] = function(o) fastpg.class("X", { o }) end,
  ["fastpg.cluster"] = function(o) fastpg.cluster(o):close() end,
  ["fastpg.migrate"] = function(o) fastpg.migrate(db, "doc", o) end,
  ["fastpg.diagram"] = function(o) fastpg.diagram(t, o) end,
  ["fastpg.connect"] = function(o) fastpg.connect(o):close() end,
  ["fastpg.create_pool"] = function(o) fastpg.create_pool(o):close() end,
  ["pg:stop"] = function(o)
    own = own or fastpg.cluster()
    own:stop(o)
  end,
}

-- Further functions that take the same.
local more = {
  ["t{…}"] = { all = function(o) t:all(o) end, each = function(o) t:each(o) end, selectone = function(o) t:selectone(o) end },
  ["t:insert"] = { inserts = function(o) t:inserts({}, nil, o) end },
  ["t:update"] = { updates = function(o) t:updates({}, nil, o) end },
  ["q:join"] = { left_join = function(o) return t:left_join("opt", o) end },
  ["fastpg.all_classes"] = { create_mod = function(o) db:create_mod("/nonexistent/x", o) end },
  ["fastpg.connect"] = { connect = function(o) fastpg.database():connect(o) end, ["pg:connect"] = function(o) pg.cluster():connect(o) end },
  ["fastpg.create_pool"] = { ["pg:create_pool"] = function(o) pg.cluster():create_pool(o) end },
}

local values = { true, false, 0, 1, -1, 1.5, 0 / 0, 1e300, "false", "x", "", {}, { 1, nil, 3 }, print, fastpg.null, fastpg.numeric(1) }

local function here() return debug.getinfo(2, "S").short_src:match "[%w_]+%.lua" end

-- The call raises "invalid_argument", which names the option and this file.
local function refuses(call, opts, name)
  local ok, err = pcall(call, opts)
  assert.is_false(ok, name .. " is accepted")
  assert.equal("invalid_argument", err.name, tostring(err))
  assert.truthy(err.message:find(name, 1, true), err.message)
  assert.truthy(tostring(err):find(here(), 1, true), tostring(err))
  return err.message
end

local function shown(value) return type(value) == "string" and ("%q"):format(value) or tostring(value) end

for what, types in pairs(options.declared) do
  describe(what, function()
    local named = { [what] = calls[what] }
    for name, call in pairs(more[what] or {}) do named[name] = call end

    it("can be called here", function() assert.is_function(calls[what]) end)

    for name, call in pairs(named) do
      it("refuses unknown names: " .. name, function()
        refuses(call, { no_such_option = 1 }, "no_such_option")
        for option, wanted in pairs(types) do
          if #option > 3 then
            local message = refuses(call, { [option .. "x"] = 1 }, option .. "x")
            if not wanted.refused then assert.truthy(message:find('did you mean "' .. option .. '"', 1, true), message) end
          end
        end
        assert.is_false(pcall(call, { 1 }))
      end)

      for option, wanted in pairs(types) do
        it("types: " .. name .. ": " .. option, function()
          if wanted.refused then
            assert.truthy(refuses(call, { [option] = 3 }, option):find(wanted.refused, 1, true))
            return
          end
          assert.is_string(wanted.wanted)
          local refused = 0
          for _, value in ipairs(values) do
            if not wanted.test(value) then
              local message = refuses(call, { [option] = value }, option)
              assert.truthy(message:find(wanted.wanted, 1, true), shown(value) .. ": " .. message)
              refused = refused + 1
            end
          end
          assert.is_true(refused > 0 or wanted == options.any)
        end)
      end
    end
  end)
end

describe("a type of options", function()
  local accepted = {
    boolean = { true, false }, text = { "", "x" }, name = { "x" }, table = { {} }, fn = { print },
  }
  local all = { true, 0, 1, "", "false", {}, print, fastpg.null }
  for name, good in pairs(accepted) do
    it("takes nothing else: " .. name, function()
      for _, value in ipairs(good) do assert.is_true(options[name].test(value)) end
      for _, value in ipairs(all) do
        local same = false
        for _, g in ipairs(good) do same = same or type(g) == type(value) and (name ~= "name" or value ~= "") end
        assert.equal(same, options[name].test(value), name .. ": " .. shown(value))
      end
    end)
  end

  it("is a number in its bounds, never NaN", function()
    local number, whole = options.number(0), options.whole(1, 6)
    for _, value in ipairs{ -1, 0 / 0, "1", true } do assert.is_false(number.test(value)) end
    for _, value in ipairs{ 0, 0.5, 1e9 } do assert.is_true(number.test(value)) end
    for _, value in ipairs{ 0, 7, 1.5, 0 / 0, 1 / 0, "1" } do assert.is_false(whole.test(value)) end
    for _, value in ipairs{ 1, 6, 3.0 } do assert.is_true(whole.test(value)) end
  end)

  it("is a list without holes", function()
    local list = options.list_of(options.whole(0), "a list")
    for _, value in ipairs{ {}, { 1, nil, 3 }, { 1, x = 2 }, { "1" }, { [2] = 1 }, "1", 1 } do assert.is_false(list.test(value)) end
    assert.is_true(list.test{ 1, 2 })
  end)
end)

describe("what was given wrong", function()
  local function message(fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    return err.message
  end

  it("is named by its type, a number by itself", function()
    assert.equal("transaction: readonly must be true or false, got string", message(db.transaction, db, { readonly = "false" }, print))
    assert.equal("transaction: readonly must be true or false, got number 0", message(db.transaction, db, { readonly = 0 }, print))
    assert.equal("opt: limit must be a whole number of at least 0, got fastpg.null", message(t, { limit = fastpg.null }))
    assert.equal('copy: format must be "text" or "binary", got string (did you mean "text"?)', message(t.copy, t, {}, { format = "txt" }))
  end)

  it("is refused where the option belongs to another function", function()
    assert.truthy(message(db.begin, db, { retries = 3 }):find("db:transaction", 1, true))
    assert.truthy(message(db.begin, db, { retry = 3 }):find('unknown option "retry"', 1, true))
  end)

  it("is refused in a connection string and in the environment", function()
    for _, text in ipairs{ "connect_timeout=abc", "postgresql://h/d?connect_timeout=1.5", "connect_timeout=' '" } do
      assert.truthy(message(fastpg.connect, text):find("connect_timeout must be a whole number of seconds", 1, true))
    end
    local c = pg.cluster().conninfo
    local text = ("host=%s port=%d user=%s dbname=%s connect_timeout="):format(c.host, c.port, c.user, c.dbname)
    for _, seconds in ipairs{ "0", "-1", "10", " 10 " } do
      fastpg.connect(text .. "'" .. seconds .. "'"):close()
    end
  end)

  it("is a number that no keyword has", function()
    for _, number in ipairs{ 1e308, 2^63, -1e300, 1 / 0, 0 / 0, 1.5 } do
      for _, keyword in ipairs{ "port", "user", "keepalives", "application_name" } do
        local text = message(fastpg.connect, { [keyword] = number })
        assert.truthy(text:find(keyword .. " must be a string or a whole number, got", 1, true), text)
      end
    end
  end)

  it("is a bound for a dimension that is not there", function()
    assert.equal("fastpg.array: lower has 2 bounds, the list has 1 dimension: one for each",
      message(fastpg.array, { 7, 8 }, { lower = { 0, 1 } }))
    assert.equal("fastpg.array: lower has 1 bounds, dims is 2: one for each dimension",
      message(fastpg.array, { { 7 }, { 8 } }, { lower = { 0 }, dims = 2 }))
    assert.equal("[0:0][5:6]={{7,8}}", db:item("select (?::int[])::text", fastpg.array({ { 7, 8 } }, { lower = { 0, 5 } })))
    assert.equal("[0:0][5:6]={{7,8}}",
      db:item("select (?::int[])::text", fastpg.array({ fastpg.array{ 7, 8 } }, { lower = { 0, 5 } })))
  end)
end)
