-- SPDX-License-Identifier: MIT
--
-- command: the user's SQL without arguments: several statements are allowed, and the tag of the last one is given.
--
-- What is to be found out of a text is found out once: whether it has placeholders, which lack their values, a COPY, for
-- whose rows there is no place, whether it may set what names mean, or has to do with transactions.  One that does not is
-- *quiet*: where its answer tells of nothing either, it is looked at no more.

local ipairs = ipairs

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"
local errors = require "fastpg.base.errors"
local search_path = require "fastpg.pg.search_path"
local session_use = require "fastpg.pg.session_use"
local transaction_control = require "fastpg.pg.transaction_control"
local user_sql = require "fastpg.sql.user_sql"

local command = {}

-- A text that comes without arguments: `??` is `?` as elsewhere, and a placeholder lacks its value.  ($1 is none of
-- ours there: PREPARE may have it.)
local function without_arguments(name, sql, standard)
  local text, npos, names = core.convert(sql, 0, standard)
  if text == sql then return sql end
  if names then errors.argument("%s: no value for :%s", name, names[1]) end
  if core.convert(sql, 1, standard) ~= text then
    errors.argument("%s: too few arguments: the text takes %d, got 0 (the operator ? is written ?? there)", name, npos)
  end
  return text
end

-- Texts that were looked at, for standard_conforming_strings on and off.
local MOST_COMMANDS = 500
local LONG = 4096 -- a script, which will not come again
local commands = {}
for _, standard in ipairs{ true, false } do commands[standard] = bounded.new(MOST_COMMANDS) end

--- What is sent of such a text; raises where something of it lacks its value, or is a COPY.
---@param conn table
---@param name string  of the function that was called
---@param sql string
---@return string
function command.text(conn, name, sql)
  local text = without_arguments(name, sql, conn.standard_strings)
  user_sql.refuse_copy(text, conn.standard_strings)
  return text
end

local function look_at(conn, sql)
  local text = command.text(conn, "execute", sql)
  if #sql > LONG then return { text = text, is_quiet = false } end
  return commands[conn.standard_strings]:keep(sql, {
    text = text, is_quiet = not (search_path.may_concern(text:lower()) or transaction_control.is_control(conn, text)),
  })
end

--- Runs such a text on a connection: the last command tag.
---@param conn table
---@param sql string
---@return string
function command.run(conn, sql)
  local known = commands[conn.standard_strings].kept[sql] or look_at(conn, sql)
  if conn.sharing then session_use.check(conn, known.text) end
  if known.is_quiet then return conn:command(known.text, known.text) end
  if conn.in_transaction then transaction_control.check(conn, known.text) end
  return conn:simple(known.text)
end

return command
