-- SPDX-License-Identifier: MIT
--
-- bounded: what is kept by a key and can be made again, no more than so much of it.
--
-- Keys are texts, names and shapes that a program's users may choose, so that nobody knows how many there will be.
-- At its bound a cache is emptied: those in use come back at once, and no use is written down for the others.
-- spec/caches_spec.lua names them all.

local setmetatable = setmetatable

local bounded = {}

local Bounded = {}
Bounded.__index = Bounded

--- Makes a cache.  What is in it is read as cache.kept[key].
---@param most integer  how many keys it has at most
function bounded.new(most)
  return setmetatable({ kept = {}, n = 0, most = most }, Bounded)
end

--- Keeps a value.
---@param key any
---@param value any  not nil
---@return any  the value
function Bounded:keep(key, value)
  if self.kept[key] == nil then
    if self.n >= self.most then self:clear() end
    self.n = self.n + 1
  end
  self.kept[key] = value
  return value
end

--- Forgets one; any may be removed while `kept` is gone through.
function Bounded:remove(key)
  if self.kept[key] ~= nil then self.kept[key], self.n = nil, self.n - 1 end
end

--- Forgets all of them.
function Bounded:clear()
  self.kept, self.n = {}, 0
end

return bounded
