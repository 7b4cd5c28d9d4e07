-- SPDX-License-Identifier: MIT
--
-- look_up: fastpg's own questions to the catalogs, whose answer somebody waits for before his statement can even be written:
-- each takes one round trip, the first one on a connection too.
--
-- A statement of the user's takes two at first, since what its parameters are only the server knows.  Of these the types are
-- declared here: Parse, Bind and Execute go at once, and the answer says itself what its columns are.  They are of types that
-- the core knows and has a binary form of, and are read as those whatever codecs a user has set.

local error, ipairs, pairs = error, ipairs, pairs

local errors = require "fastpg.base.errors"

local look_up = {}

local OIDS = { oid = 26, ["oid[]"] = 1028, name = 19, text = 25, ["text[]"] = 1009 }

local known = {} -- text -> { oids =, key = what its statement is kept under, which is no text that a user can have }

--- Declares such a question: its text.
---@param sql string
---@param ... "oid"|"oid[]"|"name"|"text"|"text[]"  the types of its parameters
---@return string
function look_up.declare(sql, ...)
  local oids = {}
  for i, name in ipairs{ ... } do oids[i] = OIDS[name] end
  known[sql] = { oids = oids, key = "look-up: " .. sql }
  return sql
end

--- What the statement of a question is kept under.
function look_up.key(sql) return known[sql].key end

local methods = {}

--- Asks for the first time on this connection; where there is room the statement is kept for the next time.
function methods.look_up_first(self, sql, fetch, target, list, n)
  local c, question = self.c, known[sql]
  local name = self:name_to_keep()
  local asked = c:known_statement(name, question.oids)
  asked:bind()
  c:send_look_up(asked, sql, list, n)
  self:drive()
  local err = self:outcome(nil, sql)
  if err then
    if c:was_parsed() then self:note_dead(name) end
    error(errors.annotate(err, sql), 0)
  end
  local st = c:known_statement(name, question.oids, true)
  st:bind()
  if name ~= "" then
    st:set_plain()
    self:keep_statement(question.key, st)
  end
  return self:fetch(st, fetch, target)
end

--- Adds it to the methods of a connection.
function look_up.extend(Connection)
  for name, method in pairs(methods) do Connection[name] = method end
end

return look_up
