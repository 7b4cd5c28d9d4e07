-- SPDX-License-Identifier: MIT
--
-- check_docs.lua: do the pages show what really comes out?
--
--   lua tools/check_docs.lua [--write] README.md doc/manual.md
--
-- A ```lua block that a ```text block (or a ```mermaid one) follows is run, and what it prints must be that text.  A lua
-- block without one must compile.  --write puts what is printed into the page, to be read.
--
-- The blocks of one page share their globals and find there: fastpg;
-- pg, a private server; db, a connection to a database of its own with the music shop (examples/music.sql).

local fastpg = require "fastpg"

local check_docs = {}

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

-- ---- pages ----------------------------------------------------------------------------------

--- The lua blocks of a page: { line =, code =, output = string or nil, first =, last = of the output }.
function check_docs.blocks(text)
  local blocks, open, last, number = {}, nil, nil, 0
  for line in (text:gsub("\n?$", "\n")):gmatch "(.-)\n" do
    number = number + 1
    if open and line == "```" then
      local body = table.concat(open.lines, "\n")
      if open.language == "lua" then
        last = { line = open.line, code = body }
        blocks[#blocks + 1] = last
      elseif (open.language == "text" or open.language == "mermaid") and last then
        last.output, last.first, last.last, last = body, open.line + 1, number - 1, nil
      end
      open = nil
    elseif open then
      open.lines[#open.lines + 1] = line
    elseif line:find "^```" then
      open = { language = line:match "^```(.*)$", lines = {}, line = number }
    elseif line:find "%S" then
      last = nil -- something stands between
    end
  end
  return blocks
end

-- ---- running --------------------------------------------------------------------------------

-- Errors name the line of the block, not of the page, so that a page may grow above it.
local function load_in(env, code)
  if not setfenv then return load(code, "=script.lua", "t", env) end
  local chunk, problem = loadstring(code, "=script.lua")
  return chunk and setfenv(chunk, env), problem
end

local function trimmed(text) return (text:gsub("[ \t]+\n", "\n"):gsub("%s+$", "")) end

-- Calls chunk: what it printed, and its error's text.
local function capture(chunk)
  local lines, real = {}, print
  _G.print = function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    lines[#lines + 1] = table.concat(parts, "\t")
  end
  local ok, problem = pcall(chunk)
  _G.print = real
  return table.concat(lines, "\n"), not ok and tostring(problem) or nil
end

-- A block's problem, and what it printed.
local function check_block(env, block)
  local chunk, problem = load_in(env, block.code)
  if not chunk then return problem end
  if not block.output then return nil end
  local printed
  printed, problem = capture(chunk)
  if not problem and trimmed(printed) ~= trimmed(block.output) then
    problem = ("prints\n%s\nand the page says\n%s"):format(printed, block.output)
  end
  return problem, printed
end

-- A page's own database.
local count = 0
local function new_env(pg)
  count = count + 1
  local name = ("page_%d_%s"):format(count, os.getenv "FPG_TEST_JOB" or pg.pid)
  local admin = pg:connect()
  admin:execute("create database " .. name)
  admin:close()
  local db = pg:connect{ database = name }
  db:execute(read "examples/music.sql")
  local env = setmetatable({ fastpg = fastpg, pg = pg, db = db }, { __index = _G })
  env._G = env
  env.print = function(...) return _G.print(...) end
  return env
end

-- The page with these outputs, from the end so that line numbers stay.
local function rewrite(path, outputs)
  local lines = {}
  for line in (read(path):gsub("\n?$", "\n")):gmatch "(.-)\n" do lines[#lines + 1] = line end
  for i = #outputs, 1, -1 do
    local block, text = outputs[i].block, trimmed(outputs[i].text)
    for _ = block.first, block.last do table.remove(lines, block.first) end
    table.insert(lines, block.first, text)
  end
  local f = assert(io.open(path, "wb"))
  f:write(table.concat(lines, "\n"), "\n")
  f:close()
end

--- Checks one page: the number of blocks that were run, and the list of problems.
---@param path string
---@param pg table  a cluster
---@param write boolean?  put what is printed into the page
function check_docs.page(path, pg, write)
  local problems, outputs, env = {}, {}, nil
  for _, block in ipairs(check_docs.blocks(read(path))) do
    if block.output then env = env or new_env(pg) end
    local problem, printed = check_block(env or {}, block)
    if problem then problems[#problems + 1] = ("%s:%d: %s"):format(path, block.line, problem) end
    if block.output then outputs[#outputs + 1] = { block = block, text = printed or "" } end
  end
  if env then env.db:close() end
  if write then rewrite(path, outputs) end
  return #outputs, problems
end

-- ---- as a script ----------------------------------------------------------------------------

if arg and arg[0] and arg[0]:find "check_docs%.lua$" then
  local pg, failed = fastpg.cluster(), 0
  local write = arg[1] == "--write" and table.remove(arg, 1) ~= nil
  for _, path in ipairs(arg) do
    local ran, problems = check_docs.page(path, pg, write)
    for _, problem in ipairs(problems) do print(problem) end
    failed = failed + #problems
    print(("%s: %d blocks run, %d problems"):format(path, ran, #problems))
  end
  pg:close()
  if failed > 0 then os.exit(1) end
end

return check_docs
