-- SPDX-License-Identifier: MIT
--
-- flat_rows: the rows of a result made by compiled code, on LuaJIT.
--
-- The core lays some rows out in a block of memory (csrc/pg/flat.c); one loop makes the strings, and a function that is
-- generated for the names and kinds of the columns makes the rows: with constant keys a table is a copy of a template, in
-- which the values are stored.  NULLs, booleans that are true, and what only the core can read are mended after that.
--
-- Rows are the same as those that the core makes by itself (csrc/pg/result.c; spec/flat_rows_spec.lua compares them), and
-- that is the way without LuaJIT's compiler or its ffi, for the first rows of a result, for a statement that has not given
-- many yet, and for very many columns.
--
-- Nothing here yields, but a finalizer may run wherever memory is taken, and a codec of the user's while rows are mended: a block
-- in use is nobody else's.

local ipairs, pcall, rawget, rawset, setmetatable = ipairs, pcall, rawget, rawset, setmetatable

local bounded = require "fastpg.base.bounded"
local core = require "fastpg.core"

local flat_rows = {}

--- How many rows of a result the core makes first, always: few are not worth it.
flat_rows.FIRST = 16
--- From how many rows on, of all results of a statement, a function is made for it: LuaJIT needs time to compile it.
flat_rows.worth = 1000

local MOST_COLUMNS = 100
local MOST_BUILDERS = 200 -- LuaJIT keeps 1,000 traces by default, for the program's own code too
local KEPT_BYTES = 65536 -- strings of as many bytes may stay in `texts` until the next rows

local jit = rawget(_G, "jit")
local has_ffi, ffi = pcall(require, "ffi")
if not (jit and has_ffi and core.abi == "luajit") then return flat_rows end

local load, status, to_string = loadstring or load, jit.status, ffi.string
local new_table = require "table.new"

-- As in csrc/pg/flat.c.
local new_block = ffi.typeof [[
  struct {
    double numbers[2048], elements[8192];
    struct { const char *p; uint32_t len; } texts[2049];
    struct { int32_t at, n; } lists[2049];
    int32_t strings[2048], arrays[2048];
    int32_t nulls[4096], trues[4096];
    int32_t nnumbers, nelements, nstrings, ntexts, narrays, nlists, nnulls, ntrues, nothers;
    int32_t bytes;
    struct { const char *p; int32_t len, row, col; } others[2048];
    int32_t slots[256];
  }
]]
if ffi.sizeof(new_block) ~= core.flat_block then return flat_rows end

-- { block =, texts = strings by their position in it }, while it is not in use.
local spare = nil

local function new_space()
  return { block = new_block(), texts = { [0] = "" }, lists = { [0] = false } }
end

-- ---- the function of a shape ----------------------------------------------------------------

local VALUES = {
  n = "numbers[n + %d]",
  s = "texts[strings[s + %d]]",
  b = "false",
  a = "lists[arrays[a + %d]]",
  o = "false",
}

local BUILDER = [[
local rawset, setmetatable = ...
return function(list, first, last, metatable, block, texts, lists)
  local numbers, strings, arrays, n, s, a = block.numbers, block.strings, block.arrays, 0, 0, 0
  for i = first, last do
    rawset(list, i, setmetatable({ %s }, metatable))
    n, s, a = n + %d, s + %d, a + %d
  end
end
]]

local function source_of(layout, columns)
  local fields, counts = {}, { n = 0, s = 0, a = 0, b = 0, o = 0 }
  for i = 1, #layout do
    local letter = layout:sub(i, i)
    if letter ~= "h" then
      local value = VALUES[letter]:format(counts[letter])
      fields[#fields + 1] = columns and ("[%q] = %s"):format(columns[i], value) or value
      counts[letter] = counts[letter] + 1
    end
  end
  if not columns then fields[#fields + 1] = "n = " .. #layout end
  return BUILDER:format(table.concat(fields, ", "), counts.n, counts.s, counts.a)
end

-- The letters of the statement's columns; those behind which comes another of their name are in no row.
local function layout_of(c, st, shape, named)
  local layout = c:row_layout(st)
  if not (named and shape.duplicates) then return layout end
  local letters = {}
  for i, name in ipairs(shape.columns) do letters[i] = shape.index[name] == i and layout:sub(i, i) or "h" end
  return table.concat(letters)
end

local builders = bounded.new(MOST_BUILDERS)

-- The function that makes the rows of a shape, and the layout that it is made for; nil where most of their values are made
-- by the core in any case.
local function builder_of(c, st, shape, named)
  local layout = layout_of(c, st, shape, named)
  local _, others = layout:gsub("[oh]", "")
  if others > #layout / 2 then return nil end
  local columns = named and shape.columns or nil
  local key = columns and layout .. "\0" .. table.concat(columns, "\0") or layout
  local builder = builders.kept[key]
  if builder then return builder end
  local build = load(source_of(layout, columns), "=fastpg.rows")(rawset, setmetatable)
  return builders:keep(key, { layout = layout, build = build })
end

-- The builder of a statement's rows; nil as long as there were few, and where the core makes them better.
local function look_up(c, st, shape, named, seen)
  local flat = shape.flat
  if not flat then
    flat = { seen = 0 }
    shape.flat = flat
  end
  local builder = flat[named]
  if builder == nil then
    flat.seen = flat.seen + seen
    if flat.seen < flat_rows.worth then return nil end
    builder = #shape.columns <= MOST_COLUMNS and builder_of(c, st, shape, named) or false
    flat[named] = builder
  end
  return builder or nil
end

-- ---- the loops that all shapes share --------------------------------------------------------

local function make_texts(texts, block)
  local list = block.texts
  for i = 1, block.ntexts do
    local text = list[i]
    texts[i] = to_string(text.p, text.len)
  end
end

local function make_lists(lists, block, metatable)
  local list, elements = block.lists, block.elements
  for i = 1, block.nlists do
    local at, n = list[i].at - 1, list[i].n
    local made = new_table(n, 0)
    for k = 1, n do made[k] = elements[at + k] end
    lists[i] = setmetatable(made, metatable)
  end
end

local function set_named(list, first, cells, n, columns, value)
  for i = 0, 2 * n - 2, 2 do rawset(list[first + cells[i]], columns[cells[i + 1] + 1], value) end
end

local function set_positional(list, first, cells, n, value)
  for i = 0, 2 * n - 2, 2 do rawset(list[first + cells[i]], cells[i + 1] + 1, value) end
end

local function mend(list, first, block, columns)
  local nulls, trues = block.nnulls, block.ntrues
  if columns then
    if trues > 0 then set_named(list, first, block.trues, trues, columns, true) end
    if nulls > 0 then set_named(list, first, block.nulls, nulls, columns, nil) end
  else
    if trues > 0 then set_positional(list, first, block.trues, trues, true) end
    if nulls > 0 then set_positional(list, first, block.nulls, nulls, core.null) end
  end
end

-- Some of the rows that are left: the rest, and how many rows there are now.
local function make_some(c, st, builder, columns, metatable, most, list, rest, space)
  local block, texts, lists = space.block, space.texts, space.lists
  local n, first = c:lay_rows(st, builder.layout, most, rest, block)
  if not n then return c:fetch_more(st, columns and metatable, most, list, rest) end
  make_texts(texts, block)
  make_lists(lists, block, core.array_mt)
  builder.build(list, first, first + n - 1, metatable, block, texts, lists)
  mend(list, first, block, columns)
  for i = 1, block.nlists do lists[i] = false end -- whoever has the row has them alone
  if block.bytes > KEPT_BYTES then space.texts = { [0] = "" } end
  return list, c:mend_rows(st, columns ~= nil, list, first, rest, block), first + n - 1
end

--- Makes more rows of a result, as conn:fetch_more of the core does.
---@param shape table  the statement's
---@param metatable table|false  of the rows; false: they are positional
---@param most integer?  how many at most, fewer where they are heavy; nil: all
---@param list table  to which they are added
---@param rest userdata  what is left of the result
---@return table list, userdata? rest, integer n  how many there are in it
function flat_rows.more(c, st, shape, metatable, most, list, rest)
  local builder = status() and look_up(c, st, shape, metatable and true or false, math.min(most or math.huge, c:rows_left(rest)))
  if not builder then return c:fetch_more(st, metatable, most, list, rest) end
  local space = spare or new_space()
  spare = nil
  local columns = metatable and shape.columns or nil
  local n
  repeat
    list, rest, n = make_some(c, st, builder, columns, metatable or core.array_mt, most, list, rest, space)
  until most or not rest
  spare = space
  return list, rest, n
end

return flat_rows
