-- SPDX-License-Identifier: MIT
--
-- diagram: fastpg.diagram: tables, their columns and the foreign keys between them as one string.
--
-- The server is asked anew each time, by two statements.  What the formats write is in fastpg.diagram_text; a picture
-- (svg) is what Graphviz makes of the text in its own language, which blocks as every other process does that is
-- waited for: it is refused where others would wait, too.
--
-- PostgreSQL manual: "System Catalogs" (pg_class, pg_attribute, pg_index, pg_constraint).

local error, getmetatable, ipairs, pcall, tonumber, tostring, type =
  error, getmetatable, ipairs, pcall, tonumber, tostring, type

local compat = require "fastpg.base.compat"
local core = require "fastpg.core"
local diagram_text = require "fastpg.diagram_text"
local errors = require "fastpg.base.errors"
local fetch = require "fastpg.pg.fetch"
local lists = require "fastpg.base.lists"
local options = require "fastpg.base.options"
local table_lookup = require "fastpg.table.table_lookup"
local table_state = require "fastpg.table.table_state"
local wait = require "fastpg.host.wait"

local diagram = {}

local FORMATS = { mermaid = diagram_text.mermaid, dot = diagram_text.dot, svg = diagram_text.dot }
local OPTIONS = options.declare("fastpg.diagram", { format = options.one_of("mermaid", "dot", "svg") })

-- ---- asking ---------------------------------------------------------------------------------

-- Of all that db.t has (or db.v, where $2 is true).  Partitions are in the one box of their table.
local ALL = [[
select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = any(case when $2 then '{v,m}' else '{r,p,f}' end::"char"[]) and not c.relispartition
  and case when $1 = ''
    then pg_catalog.pg_table_is_visible(c.oid) and n.nspname not in ('pg_catalog', 'information_schema')
    else n.nspname = $1 end
order by c.relname collate "C"]]

local COLUMNS = [[
select c.oid::int8, n.nspname, c.relname, pg_catalog.pg_table_is_visible(c.oid), c.relkind,
  (select count(*) from pg_catalog.pg_inherits i where i.inhparent = c.oid and c.relkind = 'p')::int,
  a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
from unnest($1::oid[]) with ordinality w(oid, place)
join pg_catalog.pg_class c on c.oid = w.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
order by w.place, a.attnum]]

-- Keys: primary and unique ones (a part of the rows, or an expression, is no key of the table), then foreign ones.  What
-- a foreign key that refers to a partitioned table left on its partitions is not told beside it.
local KEYS = [[
select i.indrelid::int8, case when i.indisprimary then 'p' else 'u' end, c.relname, null::int8,
  array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality u(num, place)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.num
    where u.place <= i.indnkeyatts order by u.place), null::text[]
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
where i.indrelid = any($1::oid[]) and i.indisunique and i.indpred is null and not 0 = any(i.indkey::int2[])
union all
select k.conrelid::int8, 'f', k.conname, k.confrelid::int8,
  array(select a.attname::text from unnest(k.conkey) with ordinality u(num, place)
    join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num order by u.place),
  array(select a.attname::text from unnest(k.confkey) with ordinality u(num, place)
    join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num order by u.place)
from pg_catalog.pg_constraint k left join pg_catalog.pg_constraint p on p.oid = k.conparentid
where k.conrelid = any($1::oid[]) and k.contype = 'f'
  and (p.oid is null or p.conrelid <> k.conrelid)
order by 1, 2, 3]]

-- ---- what there is --------------------------------------------------------------------------

-- A part of a name; in quotes where a dot in it could be taken for another one.
local function part(name) return name:find '[."]' and core.quote_ident(name) or name end

local KINDS = { v = "view", m = "materialized view", f = "foreign table" }

local function kind_of(f)
  if f[5] == "p" then return ("%d partition%s"):format(f[6], f[6] == 1 and "" or "s") end
  return KINDS[f[5]]
end

-- The tables in order: { name =, kind =, columns = { { name =, type =, not_null =, pk =, uk =, fk = }, … } }, and those
-- by oid.
local function tables_of(rows)
  local tables, by_oid = {}, {}
  for _, f in ipairs(rows) do
    local t = by_oid[f[1]]
    if not t then
      t = { name = (f[4] and "" or part(f[2]) .. ".") .. part(f[3]), kind = kind_of(f), columns = {}, index = {}, unique = {} }
      tables[#tables + 1], by_oid[f[1]] = t, t
    end
    if f[7] ~= core.null then
      local column = { name = f[7], type = f[8], not_null = f[9], place = #t.columns + 1 }
      t.columns[column.place], t.index[column.name] = column, column
    end
  end
  return tables, by_oid
end

local function mark(t, names, field)
  for _, name in ipairs(names) do t.index[name][field] = true end
end

local function is_within(names, set)
  for _, name in ipairs(names) do
    if not set[name] then return false end
  end
  return true
end

-- Whether the columns hold no two rows alike: a key lies within them.
local function is_unique(t, names)
  local set = options.set(compat.unpack(names))
  for _, key in ipairs(t.unique) do
    if is_within(key, set) then return true end
  end
  return false
end

local function is_not_null(t, names)
  for _, name in ipairs(names) do
    if not t.index[name].not_null then return false end
  end
  return true
end

-- The foreign keys between tables that are here: { from = table, to = table, columns =, refers =, required =, unique = }.
local function links_of(rows, by_oid)
  local links = {}
  for _, f in ipairs(rows) do
    local t, names = by_oid[f[1]], f[5]
    if f[2] == "f" then
      mark(t, names, "fk")
      local to = by_oid[f[4]]
      if to then
        links[#links + 1] = { from = t, to = to, columns = names, refers = f[6], required = is_not_null(t, names) }
      end
    else
      t.unique[#t.unique + 1] = names
      if f[2] == "p" then mark(t, names, "pk") elseif #names == 1 then mark(t, names, "uk") end
    end
  end
  for _, link in ipairs(links) do link.unique = is_unique(link.from, link.columns) end
  return links
end

-- ---- what was asked for ---------------------------------------------------------------------

local WANTED = "db.t, db.v, a Table or a list of Tables"

-- The route, and the oids, of Tables in a list.
local function of_list(list)
  local oids, route = {}, nil
  for i = 1, lists.length("diagram", list) do
    local st = core.table_state(list[i])
    if not st then errors.argument("diagram: item %d of the list is a %s: %s expected", i, type(list[i]), WANTED) end
    if route and route.root ~= st.db.root then errors.argument "diagram: the Tables are of different databases" end
    route, oids[i] = route or st.db, table_state.resolve(st).oid
  end
  if not route then errors.argument("diagram: the list is empty: %s expected", WANTED) end
  return route, oids
end

local function of_what(what)
  local route, views = table_lookup.getter_of(what)
  if route then
    local oids = {}
    for i, f in ipairs(route:connected():query(fetch.arrays, ALL, route.catalog.schema, views)) do oids[i] = f[1] end
    return route, oids
  end
  if core.table_state(what) then return of_list{ what } end
  if type(what) ~= "table" or getmetatable(what) ~= nil then errors.argument("diagram: %s expected, got %s", WANTED, type(what)) end
  return of_list(what)
end

-- ---- Graphviz -------------------------------------------------------------------------------

local function refuse_to_freeze(route)
  if wait.under_loop(route.config.loop) then
    errors.raise("blocking_call", 'diagram: format = "svg" waits for Graphviz and would block this event loop: take '
      .. 'format = "dot", and run `dot -Tsvg` on it elsewhere')
  end
end

local function quoted(path) return "'" .. path:gsub("'", "'\\''") .. "'" end

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

-- Nothing of the database is in the command: the text goes by a file.
local function run_graphviz(text, input, output)
  local file, problem = io.open(input, "wb")
  if not file then errors.raise("graphviz", "diagram: no temporary file: " .. tostring(problem)) end
  file:write(text)
  file:close()
  local pipe, why = io.popen(("{ dot -Tsvg -o %s %s; echo \"exit $?\"; } 2>&1"):format(quoted(output), quoted(input)), "r")
  if not pipe then errors.raise("graphviz", "diagram: no process can be started: " .. tostring(why)) end
  local said = pipe:read "*a"
  pipe:close()
  local status = tonumber(said:match "exit (%d+)%s*$")
  if status == 127 or status == 126 then
    errors.raise("graphviz", 'diagram: format = "svg" needs Graphviz, whose program dot is not in PATH (Debian: apt-get '
      .. 'install graphviz); format = "dot" gives the text it would read, "mermaid" needs no program')
  end
  if status ~= 0 then
    errors.raise("graphviz", ("diagram: dot failed (%s): %s"):format(tostring(status), (said:gsub("exit %d+%s*$", ""))))
  end
  return read_file(output)
end

local function svg(text)
  local input, output = os.tmpname(), os.tmpname()
  local ok, result = pcall(run_graphviz, text, input, output)
  os.remove(input)
  os.remove(output)
  if not ok then error(result, 0) end
  return result
end

--- fastpg.diagram: tables, their columns and the foreign keys between them as text.
---@param what any  db.t (without partitions), db.v, a Table or a list of Tables and views: db:tables "sales"
---@param opts { format: "mermaid"|"dot"|"svg"? }?  mermaid by default; svg is made by Graphviz, and blocks
---@return string
function diagram.diagram(what, opts)
  local format = options.check(opts, OPTIONS, "diagram").format or "mermaid"
  local route, oids = of_what(what)
  if format == "svg" then refuse_to_freeze(route) end
  local tables, by_oid = tables_of(route:query(fetch.arrays, COLUMNS, oids))
  local links = links_of(route:query(fetch.arrays, KEYS, oids), by_oid)
  local text = FORMATS[format](tables, links)
  return format == "svg" and svg(text) or text
end

return diagram
