-- SPDX-License-Identifier: MIT
--
-- check_docs.lua: do the pages show what really comes out?
--
--   lua tools/check_docs.lua README.md doc/manual.md
--
-- A ```lua block that a ```text block follows is run, and what it prints must be that text.  A lua
-- block without one must compile.  The blocks of one page share their globals and find there: fastpg;
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

--- The lua blocks of a page: { line =, code =, output = string or nil }.
function check_docs.blocks(text)
  local blocks, open, last, number = {}, nil, nil, 0
  for line in (text:gsub("\n?$", "\n")):gmatch "(.-)\n" do
    number = number + 1
    if open and line == "```" then
      local body = table.concat(open.lines, "\n")
      if open.language == "lua" then
        last = { line = open.line, code = body }
        blocks[#blocks + 1] = last
      elseif open.language == "text" and last then
        last.output, last = body, nil
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

local function load_in(env, block, name)
  local source = ("\n"):rep(block.line) .. block.code -- so that errors name the page's line
  if not setfenv then return load(source, "@" .. name, "t", env) end
  local chunk, problem = loadstring(source, "@" .. name)
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

local function check_block(env, block, name)
  local chunk, problem = load_in(env, block, name)
  if not chunk then return problem end
  if not block.output then return nil end
  local printed
  printed, problem = capture(chunk)
  if problem then return problem end
  if trimmed(printed) ~= trimmed(block.output) then
    return ("%s:%d: prints\n%s\nand the page says\n%s"):format(name, block.line, printed, block.output)
  end
end

-- A page's own database.
local count = 0
local function new_env(pg)
  count = count + 1
  local name = ("page_%d_%d"):format(count, pg.pid)
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

--- Checks one page: the number of blocks that were run, and the list of problems.
---@param path string
---@param pg table  a cluster
function check_docs.page(path, pg)
  local problems, ran, env = {}, 0, nil
  for _, block in ipairs(check_docs.blocks(read(path))) do
    if block.output then
      env = env or new_env(pg)
      ran = ran + 1
    end
    problems[#problems + 1] = check_block(env or {}, block, path)
  end
  if env then env.db:close() end
  return ran, problems
end

-- ---- as a script ----------------------------------------------------------------------------

if arg and arg[0] and arg[0]:find "check_docs%.lua$" then
  local pg, failed = fastpg.cluster(), 0
  for _, path in ipairs(arg) do
    local ran, problems = check_docs.page(path, pg)
    for _, problem in ipairs(problems) do print(problem) end
    failed = failed + #problems
    print(("%s: %d blocks run, %d problems"):format(path, ran, #problems))
  end
  pg:close()
  if failed > 0 then os.exit(1) end
end

return check_docs
