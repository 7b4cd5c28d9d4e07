-- SPDX-License-Identifier: MIT
--
-- migration_files: what is in a directory of migrations, as far as that can be told without a server.
--
--   0001_people.sql   0001_people.down.sql   0002_fill.lua   0003_index.sql
--
-- Numbers begin at 1 and have no gaps; each is there once.  A file that begins with a digit, or ends in .sql or .lua, is
-- a migration or an error, so that none is passed over; other files are no concern of ours.  A *migration* is
--
--   number, name   up = a file   down = a file, or nil (of a Lua file its function says)
--
-- and a *file* is { path =, name =, text =, in_transaction =, is_lua = }.  The texts are read whole, at once: what runs is
-- what was looked at.

local ipairs, load, loadstring, pairs, pcall, select, setmetatable, tonumber, tostring, type =
  ipairs, load, loadstring, pairs, pcall, select, setmetatable, tonumber, tostring, type

local core = require "fastpg.core"
local errors = require "fastpg.base.errors"

local migration_files = {}

local NO_TRANSACTION = "-- fastpg: no transaction"
migration_files.NO_TRANSACTION = NO_TRANSACTION
local BOM = "^\239\187\191"

--- Raises the error of migrations: name "migration".
---@param fields table?
function migration_files.fail(fields, fmt, ...)
  errors.raise("migration", "migrate: " .. fmt:format(...), fields)
end
local fail = migration_files.fail

-- ---- names ----------------------------------------------------------------------------------

-- Hidden files, and what editors leave.
local function is_ignored(name) return name:find "^[.#]" or name:find "~$" end

-- { number =, name =, kind = "sql"|"lua", down = boolean } of a file's name, or nil where it is none of ours.
local function read_name(name)
  local digits, rest, kind = name:match "^(%d+)(.*)%.(%a+)$"
  if digits and (kind == "sql" or kind == "lua") and tonumber(digits) < 2 ^ 31 then
    local down = rest:match "^(.*)%.down$"
    if down and kind == "lua" then
      fail(nil, "%s: a Lua file has its way down in itself: return { up = function … , down = function … }", name)
    end
    local label = (down or rest):gsub("^[_-]", "")
    return { number = tonumber(digits), name = label, kind = kind, down = down ~= nil, file = name }
  end
  if name:find "^%d" or name:find "%.sql$" or name:find "%.lua$" then
    fail(nil, "%s: this is no name of a migration: they are 0001_name.sql, 0001_name.down.sql and 0001_name.lua", name)
  end
  return nil
end

local function sorted_names(dir)
  local names, problem = core.list_directory(dir)
  if not names then fail(nil, "the directory %s can't be read: %s", dir, problem) end
  table.sort(names)
  return names
end

local function add(found, entry)
  local one = found[entry.number] or {}
  found[entry.number] = one
  local field = entry.down and "down" or "up"
  if one[field] then fail(nil, "%s and %s have the same number", one[field].file, entry.file) end
  one[field] = entry
end

local function check_pair(one)
  local up, down = one.up, one.down
  if not down then return end
  if not up then fail(nil, "%s leads down from a migration that is not there", down.file) end
  if up.kind == "lua" then fail(nil, "%s: %s has its way down in itself", down.file, up.file) end
  if up.name ~= down.name then fail(nil, "%s and %s have the same number and different names", up.file, down.file) end
end

-- The entries of a directory, { up =, down = } by number.
local function find(dir)
  local found, numbers = {}, {}
  for _, name in ipairs(sorted_names(dir)) do
    local entry = not is_ignored(name) and read_name(name)
    if entry then
      if not found[entry.number] then numbers[#numbers + 1] = entry.number end
      add(found, entry)
    end
  end
  for _, one in pairs(found) do check_pair(one) end
  table.sort(numbers)
  for i, number in ipairs(numbers) do
    if number ~= i then
      fail(nil, number == 0 and "%s: numbers begin at 1" or "%s: number %d is missing before it", found[number].up.file, i)
    end
  end
  return found
end

-- ---- texts ----------------------------------------------------------------------------------

local function read_file(path)
  local file, problem = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  if not text then fail({ file = path }, "%s can't be read%s", path, problem and ": " .. tostring(problem) or "") end
  return text
end

-- The line of a position.
local function line_of(text, position) return select(2, text:sub(1, position - 1):gsub("\n", "")) + 1 end
migration_files.line_of = line_of

-- Whether the first line says that the file is run without a transaction.  What looks like that and is not it is no
-- comment to be passed over.
local function read_marker(path, text)
  local says_none = text:match "^[^\n]*":gsub("%s+", " "):gsub(" $", "") == NO_TRANSACTION
  for at, rest in ("\n" .. text):gmatch "\n()%-%-%s*fastpg:([^\n]*)" do
    local line = line_of(text, at)
    if line > 1 or not says_none then
      fail({ file = path, line = line }, "%s:%d: -- fastpg:%s says nothing here: what can be said is %s, in the first line", path,
         line, core.printable((rest:gsub("%s+$", ""))), NO_TRANSACTION)
    end
  end
  return says_none
end

local function load_file(dir, entry)
  local path = dir .. "/" .. entry.file
  local text = read_file(path)
  if text:find("%z") then fail({ file = path }, "%s has a NUL byte in it", path) end
  local body = text:gsub(BOM, "")
  return { path = path, name = entry.file, bytes = text, text = body, is_lua = entry.kind == "lua",
    in_transaction = not read_marker(path, body) }
end

--- All migrations of a directory, in order.
---@param dir string
---@return table[]
function migration_files.read(dir)
  local list = {}
  for number, one in ipairs(find(dir)) do
    local down = one.down and load_file(dir, one.down)
    list[number] = { number = number, name = one.up.name, up = load_file(dir, one.up), down = down }
  end
  return list
end

-- ---- SQL ------------------------------------------------------------------------------------

-- What starts or ends transactions: fastpg does that.  (Savepoints are the file's own.)
local CONTROL = { BEGIN = true, START = true, COMMIT = true, END = true, ROLLBACK = true, ABORT = true }

local function is_control(one)
  if one.verb == "PREPARE" then return one.words[2] == "TRANSACTION" and not one.inner end
  if not CONTROL[one.verb] then return false end
  for i = 2, 3 do
    if one.verb == "ROLLBACK" and (one.words[i] == "TO" or one.words[i] == "PREPARED") then return false end
    if one.verb == "COMMIT" and one.words[i] == "PREPARED" then return false end
  end
  return true
end

local IN_ONE = "the file runs in a transaction of fastpg's: leave it out, or write " .. NO_TRANSACTION .. " in the first line"
local ALONE = "each statement of this file is a transaction by itself"
local COPY_IN = "COPY FROM STDIN: its rows can't stand in a file of SQL: write INSERT, or a Lua file with db:copy_from"
local COPY_OUT = "COPY TO STDOUT: nobody takes its rows here: write a Lua file with db:copy_to"

local function check_statement(file, line, sql, standard)
  local one, copies = core.statements(sql, standard)[1], core.copy_direction(sql, standard)
  local problem = copies and (copies == "in" and COPY_IN or COPY_OUT)
  if is_control(one) then problem = one.verb .. ": " .. (file.in_transaction and IN_ONE or ALONE) end
  if problem then fail({ file = file.path, line = line, query = sql }, "%s:%d: %s", file.path, line, problem) end
end

--- Calls fn(sql, line) for each statement of a file's text; standard() says how strings are read by then.
---@param standard fun(): boolean  standard_conforming_strings
function migration_files.each_statement(file, standard, fn)
  local text, from = file.text, 1
  while from <= #text do
    local to, ended = core.next_statement(text, from, standard())
    if ended == "\\" then
      local line = line_of(text, to - 1)
      fail({ file = file.path, line = line }, "%s:%d: a backslash: commands of psql are no SQL", file.path, line)
    end
    local piece = text:sub(from, to - 1)
    local one = core.statements(piece, standard())[1]
    if one then
      local sql, line = piece:sub(one.first, one.last), line_of(text, from + one.first - 1)
      check_statement(file, line, sql, standard())
      fn(sql, line)
    end
    from = to
  end
end

--- The statements of a file, as a list; raises for what can't run in one.
function migration_files.statements(file, standard)
  local list = {}
  migration_files.each_statement(file, function() return standard end, function(sql) list[#list + 1] = sql end)
  return list
end

-- ---- Lua ------------------------------------------------------------------------------------

local compile = loadstring or load -- (5.1, LuaJIT; 5.3 and later)

-- The functions of a Lua file: up, and down or nil.
local function functions_of(file)
  if file.text:byte(1) == 27 then fail({ file = file.path }, "%s is a compiled chunk: the source is wanted", file.path) end
  local chunk, problem = compile(file.text, "@" .. file.path)
  if not chunk then fail({ file = file.path }, "%s", tostring(problem)) end
  local ok, result = pcall(chunk)
  if not ok then fail({ file = file.path, cause = result }, "%s: %s", file.path, tostring(result)) end
  if type(result) == "function" then return { up = result } end
  local fine = type(result) == "table" and type(result.up) == "function" and (result.down == nil or type(result.down) == "function")
  if not fine then
    fail({ file = file.path }, "%s returns a %s: it has to return a function(db), or { up = function(db), down = function(db) }",
      file.path, type(result))
  end
  for name in pairs(result) do
    if name ~= "up" and name ~= "down" then
      fail({ file = file.path }, "%s returns a table with %s: up and down are what it may have", file.path, tostring(name))
    end
  end
  return result
end

local loaded = setmetatable({}, { __mode = "k" }) -- file -> its functions

--- The function of a Lua file for a direction, or nil.
---@param direction "up"|"down"
function migration_files.lua_function(file, direction)
  loaded[file] = loaded[file] or functions_of(file)
  return loaded[file][direction]
end

--- The file that leads up or down, or nil where there is no way down.
---@param direction "up"|"down"
function migration_files.way(migration, direction)
  if direction == "up" or not migration.up.is_lua then return migration[direction] end
  return migration_files.lua_function(migration.up, "down") and migration.up or nil
end

return migration_files
