-- SPDX-License-Identifier: MIT
--
-- tour: runs the steps of the chapters beside this file; `make demo` prints them, a spec checks them.
--
-- A chapter is { title =, step, step, … }.  A step is one of
--   "prose"
--   { "source", "what it gives" }            compared to the letter
--   { "source", like = "a Lua pattern" }     where it differs from run to run
--   { "source", raises = "the error's text" }
--   { "source" }                             only runs
-- `chinook =` in a step is what it gives on the real file, where that is not what it gives on ours.
-- What a step gives is what it printed, then its value as a reader would write it down.

local fastpg = require "fastpg"

local tour = {}

local CHAPTERS = { "sql", "metadata", "queries", "classes", "get", "select", "modules", "write", "create", "pool", "more" }

-- ---- values as text -------------------------------------------------------------------------

local show

local function show_key(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return key end
  return "[" .. show(key) .. "]"
end

local function by_text(a, b) return tostring(a) < tostring(b) end

local function show_table(t)
  local parts, rest, n = {}, {}, 0
  for i, value in ipairs(t) do
    parts[i], n = show(value), i
  end
  for key in pairs(t) do
    if not (type(key) == "number" and key >= 1 and key <= n and key % 1 == 0) then rest[#rest + 1] = key end
  end
  table.sort(rest, by_text)
  for _, key in ipairs(rest) do parts[#parts + 1] = show_key(key) .. " = " .. show(t[key]) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function show(value)
  if value == fastpg.null then return "null" end
  if type(value) == "string" then return '"' .. value:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"' end
  if type(value) ~= "table" then return tostring(value) end
  local mt = getmetatable(value)
  if mt and mt.__tostring then return tostring(value) end
  if next(value) == nil then return "{}" end
  return show_table(value)
end

-- ---- running --------------------------------------------------------------------------------

-- Lua 5.1 and LuaJIT set a chunk's environment afterwards.
local function load_in(env, source)
  if not setfenv then return load(source, "=demo", "t", env) end
  local chunk, problem = loadstring(source, "=demo")
  return chunk and setfenv(chunk, env), problem
end

-- An expression, statements with an expression in the last line, or statements.
local function compile(source, env)
  local before, last = ("\n" .. source):match "^\n?(.*\n)(.-)$"
  local ends_in_value = load_in(env, "return " .. last)
  return load_in(env, "return " .. source) or ends_in_value and load_in(env, before .. "return " .. last)
    or load_in(env, source)
end

local function pack(...) return { n = select("#", ...), ... } end

-- `debug = true` prints by the global print, so that one is caught, not only the chunk's own.
local function call(chunk)
  local lines, real = {}, print
  _G.print = function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    lines[#lines + 1] = table.concat(parts, "\t")
  end
  local results = pack(pcall(chunk))
  _G.print = real
  return results, lines
end

--- Runs a step in env: what it gave as text, and the error's text where it raised one.
---@return string given, string? raised
function tour.run(step, env)
  local chunk = assert(compile(step[1], env))
  local results, lines = call(chunk)
  if not results[1] then return table.concat(lines, "\n"), tostring(results[2]) end
  local parts = {}
  for i = 2, results.n do parts[i - 1] = show(results[i]) end
  if #parts > 0 then lines[#lines + 1] = table.concat(parts, "  ") end
  return table.concat(lines, "\n")
end

local function trimmed(text) return (text:gsub("[ \t]+\n", "\n"):gsub("%s+$", "")) end

--- What is wrong with what a step gave, or nil.
function tour.problem(step, on_chinook, given, raised)
  local expected = on_chinook and step.chinook or step[2]
  if raised and not step.raises then return "raised " .. raised end
  if step.raises then
    if not raised then return "gave " .. given .. " instead of raising " .. step.raises end
    if not raised:find(step.raises, 1, true) then return ("raised %s instead of %s"):format(raised, step.raises) end
  end
  if step.like and not given:find(step.like) then return ("gave %s, which is not like %s"):format(given, step.like) end
  if expected and trimmed(given) ~= trimmed(expected) then
    return ("gave\n%s\ninstead of\n%s"):format(given, expected)
  end
end

-- ---- chapters and data ----------------------------------------------------------------------

local here = debug.getinfo(1, "S").source:match "^@(.*)tour%.lua$"

--- The chapters in order.
function tour.chapters()
  local list = {}
  for i, name in ipairs(CHAPTERS) do list[i] = assert(loadfile(here .. name .. ".lua"))() end
  return list
end

-- Chinook's file drops, creates and enters a database of its own: what comes after that is loaded.
local function read_data(path)
  local f, problem = io.open(path, "rb")
  if not f then error("demo: " .. problem, 0) end
  local text = f:read "*a"
  f:close()
  text = text:gsub("^\239\187\191", ""):gsub("\r\n", "\n")
  local _, last = text:find "\n\\c[^\n]*\n"
  return last and text:sub(last + 1) or text
end

--- Loads the music shop, or Chinook's file, into a new database and gives the environment of the steps.
---@param pg table  a cluster
---@param chinook string?  the path of Chinook_PostgreSql.sql
function tour.prepare(pg, chinook)
  local admin = pg:connect()
  admin:execute "drop database if exists chinook with (force)"
  admin:execute "create database chinook"
  admin:close()
  local db = pg:connect{ database = "chinook" }
  db:execute(read_data(chinook or here .. "../music.sql"))
  db:close()
  local env = setmetatable({ fastpg = fastpg, pg = pg }, { __index = _G })
  env._G = env
  env.print = function(...) return _G.print(...) end
  return env
end

return tour
