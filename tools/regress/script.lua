-- SPDX-License-Identifier: MIT
--
-- script: a file of psql's as the list of its statements.
--
--   { line =, sql =, ending = ";" }            a statement; ending: what sent it, ";" "g" "gset" "gexec"
--   { line =, sql =, copies = "in", data = }   COPY … FROM STDIN with the lines that follow it, or "out"
--   { line =, sql =, several = true }          statements joined by `\;`; `streams`: one of them is such a COPY
--   { line =, command = "set", rest = text }   a command of psql's own
--
-- Where a statement ends the core's lexer says.  psql's variables are still in the text: psql puts in
-- its own values, and `expand` ours.
--
-- PostgreSQL manual: psql ("Meta-Commands", "Variables").

local core = require "fastpg.core"

local script = {}

-- What sends the statement before it; "gdesc", "watch", … are not understood.
local SENDS = { g = true, gset = true, gexec = true }

--- The verb of the first statement in lower case; nil where there is none.
local function verb(sql, standard)
  local first = core.statements(sql, standard)[1]
  return first and (first.verb or first.words[1] or "?"):lower()
end
script.verb = verb

--- Whether a statement reads the views of what its session has prepared or declared, where fastpg's own show.
function script.shows_the_session(sql)
  local low = sql:lower()
  return low:find("pg_prepared_statements", 1, true) ~= nil or low:find("pg_cursors", 1, true) ~= nil
end

local function line_counter(text)
  local at, line = 1, 1
  return function(position)
    while true do
      local newline = text:find("\n", at, true)
      if not newline or newline >= position then return line end
      at, line = newline + 1, line + 1
    end
  end
end

-- The end of the line and where the next one begins.
local function rest_of_line(text, from)
  local newline = text:find("\n", from, true)
  if not newline then return text:sub(from), #text + 1 end
  return text:sub(from, newline - 1), newline + 1
end

-- Lines that look like SQL are none of a COPY's: the server had refused it, and no data follows.
local SQL_LINE = { copy = true, select = true, create = true, drop = true, insert = true, alter = true, truncate = true,
  begin = true, reset = true, set = true, rollback = true, commit = true }

--- The data behind a COPY … FROM STDIN, up to the line `\.`, and where it goes on; nil where there is none.
local function data_of(text, from)
  local _, at = rest_of_line(text, from)
  local lines = {}
  while at <= #text do
    local line, following = rest_of_line(text, at)
    if line == "\\." then
      lines[#lines + 1] = ""
      return table.concat(lines, "\n"), following
    end
    local word = line:match "^%s*(%a+)%s"
    if word and SQL_LINE[word:lower()] and line:find ";%s*$" or line:find "^%-%-" then return nil end
    lines[#lines + 1] = line
    at = following
  end
  return nil
end

-- Without the space around it, and the comments before it, which psql does not send.
local function strip(sql, standard)
  local first = core.statements(sql, standard)[1]
  return (sql:sub(first and first.first or 1):gsub("%s+$", ""))
end

-- "in" or "out" of a COPY between server and client.
local function copy_direction(sql, standard)
  if verb(sql, standard) ~= "copy" then return nil end
  local low = sql:lower()
  return low:find "%f[%w]from%s+std%a+%f[%W]" and "in" or low:find "%f[%w]to%s+std%a+%f[%W]" and "out" or nil
end

-- Whether a COPY between server and client is among the statements.
local function streams(sql, standard)
  for _, one in ipairs(core.statements(sql, standard)) do
    if copy_direction(sql:sub(one.first, one.last), standard) then return true end
  end
  return false
end

-- How strings are read behind this statement; `now` where it says nothing of that.
local function standard_after(sql, now)
  local value = sql:lower():match "^%s*set%s+standard_conforming_strings%s*[=t]o?%s*'?(%w+)"
  if sql:lower():find "^%s*reset%s+standard_conforming_strings" then return true end
  if value == nil then return now end
  return value ~= "off" and value ~= "false"
end

--- Reads a script.
---@param text string
---@return table[]
function script.read(text)
  local units, at, standard = {}, 1, true
  local line_of = line_counter(text)
  local pieces, begun = {}, nil -- a statement whose beginning was read: `\;` is in it

  local function finish(sql, ending, extra)
    pieces[#pieces + 1] = sql
    local whole = strip(table.concat(pieces), standard)
    local several = #pieces > 1
    pieces = {}
    if verb(whole, standard) == nil then return end
    local unit = { line = begun, sql = whole, ending = ending, several = several, streams = several and streams(whole, standard) }
    for k, v in pairs(extra or {}) do unit[k] = v end
    units[#units + 1] = unit
    standard = standard_after(whole, standard)
  end

  while at <= #text do
    at = text:find("%S", at) or #text + 1
    if at > #text then break end
    local behind, what = core.next_statement(text, at, standard)
    local sql = text:sub(at, what and behind - 2 or behind - 1)
    local first = core.statements(sql, standard)[1]
    if #pieces == 0 then begun = line_of(at + (first and first.first or 1) - 1) end
    if what == ";" then
      local data, following
      local copies = copy_direction(sql, standard)
      if copies == "in" then data, following = data_of(text, behind) end
      finish(sql, ";", { data = data, copies = copies })
      at = following or behind
    elseif what == nil then
      finish(sql, ";")
      at = behind
    elseif text:sub(behind, behind) == ";" then
      pieces[#pieces + 1] = sql .. ";"
      at = behind + 1
    else
      local rest, following = rest_of_line(text, behind)
      local command, arguments = rest:match "^([%a_]+%+?)%s*(.*)$"
      at = following
      if SENDS[command] then
        finish(sql, command, { rest = arguments })
      else
        -- psql keeps what stands before it; here that statement, if any, is one of those skipped
        if #pieces > 0 or verb(sql, standard) then command, pieces = "?", {} end
        units[#units + 1] = { line = line_of(behind - 1), command = command or "?", rest = arguments or rest }
      end
    end
  end
  return units
end

-- ---- variables ------------------------------------------------------------------------------

local function is_there(variables)
  return function(name) return variables[name] ~= nil and "TRUE" or "FALSE" end
end

--- Puts in the variables that there are: :name, :'name', :"name"; and of :{?name} whether there is one.
---@param text string
---@param variables table<string, string>
---@return string
function script.expand(text, variables)
  local function put(form, quote)
    return function(colon, name)
      if variables[name] == nil or colon ~= "" then return nil end
      return quote(variables[name], form)
    end
  end
  text = text:gsub(":{%?([%w_]+)}", is_there(variables))
  text = text:gsub("(:?):'([%w_]+)'", put("literal", core.quote_literal))
  text = text:gsub('(:?):"([%w_]+)"', put("ident", core.quote_ident))
  return (text:gsub("(:?):([%a_][%w_]*)", put("plain", function(value) return value end)))
end

local ESCAPES = { n = "\n", t = "\t", b = "\b", r = "\r", f = "\f" }

-- What stands between quotes at `at`, where a quote is doubled or escaped, and where it goes on; nil where there is none.
local function quoted_at(rest, at)
  if rest:sub(at, at) ~= "'" then return nil end
  local out = {}
  at = at + 1
  while at <= #rest do
    local c, following = rest:sub(at, at), rest:sub(at + 1, at + 1)
    if c == "'" and following ~= "'" then break end
    local pair = c == "'" or c == "\\"
    out[#out + 1] = c == "\\" and (ESCAPES[following] or following) or c
    at = at + (pair and 2 or 1)
  end
  return table.concat(out), at + 1
end

--- The arguments of a command, as psql reads them: variables put in, quotes taken off.
---@return string[]
function script.arguments(rest, variables)
  local out, at = {}, 1
  rest = rest:gsub(":{%?([%w_]+)}", is_there(variables))
  while true do
    at = rest:find("%S", at)
    if not at then return out end
    local word = {}
    while at <= #rest and not rest:find("^%s", at) do
      local quoted, behind = quoted_at(rest, at)
      local name, past = rest:match("^:([%a_][%w_]*)()", at)
      local literal, after = rest:match("^:'([%w_]+)'()", at)
      if quoted then
        word[#word + 1], at = quoted, behind
      elseif literal and variables[literal] then
        word[#word + 1], at = core.quote_literal(variables[literal]), after
      elseif name and variables[name] then
        word[#word + 1], at = variables[name], past
      else
        word[#word + 1], at = rest:sub(at, at), at + 1
      end
    end
    out[#out + 1] = table.concat(word)
  end
end

return script
