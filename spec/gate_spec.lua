-- SPDX-License-Identifier: MIT
--
-- Gates (csrc/host/gate.c): what ends a wait, that a gate can be used again, and what is left open.

local core = require "fastpg.core"
local route_of = require("fastpg.pool.route").of
local pg = require "spec.support.pg"

-- What a gate says within the time given.
local function ask(gate, seconds)
  if seconds then core.poll(gate:fd(), "r", seconds) end
  return gate:result()
end

-- A connected socket: it can be written, and not be read.
local function with_socket(fn)
  local db = pg.db()
  db:acquire(function(tx) fn(route_of(tx):connection().fd) end)
  db:close()
end

local function open_descriptors()
  collectgarbage()
  collectgarbage()
  local n = 0
  local pipe = io.popen("ls /proc/$PPID/fd")
  for _ in pipe:lines() do n = n + 1 end
  pipe:close()
  return n
end

describe("a gate", function()
  local gate, other
  before_each(function() gate, other = core.gate(), core.gate() end)
  after_each(function()
    gate:close()
    other:close()
  end)

  it("says nothing before anything happened", function()
    gate:arm(other:fd(), "r", 10)
    assert.is_nil(ask(gate))
    gate:arm()
    assert.is_nil(ask(gate, 0.01))
  end)

  it("opens when the descriptor can be read", function()
    gate:arm(other:fd(), "r", 10)
    other:wake()
    assert.equal("r", ask(gate, 30))
    assert.equal("r", ask(gate)) -- until it is disarmed
    gate:disarm()
    assert.is_nil(ask(gate))
  end)

  it("opens when the descriptor can be written", function()
    with_socket(function(fd)
      gate:arm(fd, "w", 10)
      assert.equal("w", ask(gate, 30))
      gate:arm(fd, "rw", 10)
      assert.equal("w", ask(gate, 30))
      gate:arm(fd, "r", 0.01)
      assert.equal("timeout", ask(gate, 30))
      gate:disarm()
    end)
  end)

  it("opens when the time is over, and says so after a descriptor that is ready", function()
    gate:arm(nil, nil, 0)
    assert.equal("timeout", ask(gate, 30))
    gate:arm(other:fd(), "r", 0.02)
    assert.is_nil(ask(gate))
    assert.equal("timeout", ask(gate, 30))
    other:wake()
    assert.equal("r", ask(gate))
    gate:arm(nil, nil, 1e300)
    assert.is_nil(ask(gate, 0.01))
  end)

  it("opens when it is woken, once", function()
    gate:arm(other:fd(), "r")
    gate:wake()
    gate:wake()
    other:wake()
    assert.equal("woken", ask(gate, 30))
    gate:arm(nil, nil, 10)
    assert.is_nil(ask(gate, 0.01))
  end)

  it("forgets the descriptor and the time", function()
    gate:arm(other:fd(), "r", 0.01)
    gate:disarm()
    other:wake()
    assert.is_nil(ask(gate, 0.03))
  end)

  it("survives that the descriptor was closed, and another has its number", function()
    for _ = 1, 3 do
      local third = core.gate()
      local fd = third:fd()
      gate:arm(fd, "r", 10)
      third:close()
      third = core.gate()
      third:wake()
      assert.is_nil(ask(gate, 0.01))
      gate:arm(third:fd(), "r", 10)
      assert.equal("r", ask(gate, 30))
      third:close()
    end
    gate:arm(nil, nil, 0)
    assert.equal("timeout", ask(gate, 30))
  end)

  it("refuses what can't be watched", function()
    local fd = other:fd()
    other:close()
    local ok, err = pcall(gate.arm, gate, fd, "r", 1)
    assert.is_false(ok)
    assert.equal("connection", err.name)
    assert.has_error(function() gate:arm(0, "x") end)
    gate:close()
    ok, err = pcall(gate.result, gate)
    assert.is_false(ok)
    assert.equal("closed", err.name)
  end)

  it("leaves nothing open when it is collected", function()
    collectgarbage() -- what other files left
    collectgarbage()
    local before = open_descriptors()
    for _ = 1, 20 do core.gate():arm(nil, nil, 10) end
    assert.equal(before, open_descriptors())
  end)
end)

describe("what luv has called at once", function()
  -- A libuv whose handles are lists of callbacks, and whose functions run a finalizer.
  local function loop(finalizer)
    local uv = { handles = {} }
    local function collect()
      local fn = finalizer
      finalizer = nil
      if fn then fn() end
    end
    function uv.new_idle()
      collect()
      local handle = {}
      function handle.start(_, fn) uv.handles[handle] = fn end
      function handle.close()
        collect()
        uv.handles[handle] = nil
      end
      return handle
    end
    function uv.turn()
      local list = {}
      for _, fn in pairs(uv.handles) do list[#list + 1] = fn end
      for _, fn in ipairs(list) do fn() end
      return next(uv.handles) ~= nil
    end
    return uv
  end

  it("is called once each, also what a finalizer wants in between", function()
    for _, when in ipairs{ "new_idle", "close" } do
      local called, after = {}, nil
      local function finalizer() after(0, function() called[#called + 1] = "finalizer's" end) end
      local uv = loop(when == "new_idle" and finalizer or nil)
      after = require "fastpg.host.wait.luv_timer"(uv)
      after(0, function() called[#called + 1] = "first" end)
      if when == "close" then
        local close_with = next(uv.handles)
        local close = close_with.close
        close_with.close = function(handle)
          finalizer()
          return close(handle)
        end
      end
      local turns = 0
      while uv.turn() do
        turns = turns + 1
        assert.is_true(turns < 10)
      end
      table.sort(called)
      assert.same({ "finalizer's", "first" }, called)
    end
  end)
end)
