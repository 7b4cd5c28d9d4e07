-- SPDX-License-Identifier: MIT
--
-- bulk_sql: records that are alike as one statement, whose parameters are arrays, a column each:
--
--   INSERT INTO t (a, b) SELECT * FROM ROWS FROM (unnest($1::int4[]), unnest($2::text[])) RETURNING *
--
-- and when that leaves what a statement for each record would.  The server is asked each time: another session may have
-- made a trigger meanwhile, and nobody tells of it.
--
--   triggers, rules, row security   fire once, see other rows, suppress some
--   a foreign key to itself         is checked at the end of a statement: it would find rows that come later
--   functions of the user's         in a default or a check may look at the table
--   foreign tables, views, inheritance
--   arrays, composites              unnest takes apart, too
--
-- and of updates and upserts, where a column that is set is part of a unique index: whether a value is there twice depends
-- on what is set first.
--
-- PostgreSQL manual: "Array Functions" (unnest), INSERT, UPDATE.

local getmetatable, ipairs, setmetatable = getmetatable, ipairs, setmetatable

local core = require "fastpg.core"
local fetch = require "fastpg.pg.fetch"
local look_up = require "fastpg.pg.look_up"

local bulk_sql = {}

local quote_ident = core.quote_ident
local null = core.null

-- ---- whether it may be ----------------------------------------------------------------------

-- One row for each column: its name, its type's array or NULL where an array of it would be taken apart or there is none,
-- whether it is part of a unique index or an exclusion constraint; whether the table, or its partitions, have any of what
-- makes a difference.  (A bare "character" would be character(1): format_type with -1 knows.)
local SAFETY = look_up.declare([[
with recursive tree as (
  select c.oid, c.relkind in ('r', 'p') and not c.relhasrules and not c.relrowsecurity
    and (c.relkind = 'p' or not exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid)) as plain
  from pg_catalog.pg_class c where c.oid = $1
  union all
  select c.oid, c.relkind in ('r', 'p') and not c.relhasrules
  from tree t join pg_catalog.pg_inherits i on i.inhparent = t.oid join pg_catalog.pg_class c on c.oid = i.inhrelid
), parts as materialized (
  select pg_catalog.array_agg(oid) as oids, pg_catalog.bool_and(plain) as plain from tree
), used as materialized (
  select d.classid, d.objid from parts p, pg_catalog.pg_attrdef f, pg_catalog.pg_depend d
  where f.adrelid = any (p.oids) and d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid = f.oid
    and d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
), safe as materialized (
  select p.plain
    and not exists (select from pg_catalog.pg_trigger g where g.tgrelid = any (p.oids) and not g.tgisinternal)
    and not exists (select from pg_catalog.pg_constraint k where k.conrelid = any (p.oids) and k.contype = 'f'
      and k.confrelid = any (p.oids))
    and not exists (select from used)
    and not exists (select from pg_catalog.pg_constraint k, pg_catalog.pg_depend d
      where k.conrelid = any (p.oids) and k.contype = 'c' and d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
        and d.objid = k.oid and d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass) as yes
  from parts p
), keys as materialized (
  select array(select o.attname::text from parts p, pg_catalog.pg_index x, pg_catalog.pg_attribute o
    where x.indrelid = any (p.oids) and (x.indisunique or x.indisexclusion) and o.attrelid = x.indrelid
      and (o.attnum = any (x.indkey::int2[]) or 0 = any (x.indkey::int2[]))) as names
)
select a.attname, case when ty.typarray <> 0 and ty.typcategory not in ('A', 'C', 'P')
    then pg_catalog.format_type(ty.typarray, -1) end,
  a.attname::text = any (keys.names), safe.yes
from safe, keys, pg_catalog.pg_attribute a join pg_catalog.pg_type ty on ty.oid = a.atttypid
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped]], "oid")

-- What the server says of the columns, by name: { array =, unique = }; nil where one statement would not do the same.
local function ask(conn, rel)
  local list = conn:look_up(SAFETY, fetch.arrays, nil, { rel.oid }, 1)
  local columns = {}
  for _, f in ipairs(list) do
    if f[4] ~= true then return nil end
    columns[f[1]] = { array = f[2] ~= null and f[2] or nil, unique = f[3] == true }
  end
  return columns
end

-- ---- what a statement consists of -----------------------------------------------------------

-- The columns that get values, by the signature of records (csrc/table/bulk_rows.c).
local function columns_of(rel, signature)
  local names = {}
  for i, column in ipairs(rel.columns) do
    if signature:sub(i, i) == "v" then names[#names + 1] = column.name end
  end
  return names
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

-- A column for `a = t.a`, which changes nothing, so that the row comes back.
local function touched(rel)
  for _, column in ipairs(rel.columns) do
    if not (column.generated or column.identity_always) then return column.name end
  end
  return rel.columns[#rel.columns].name
end

local function map(list, fn)
  local made = {}
  for i, item in ipairs(list) do made[i] = fn(item, i) end
  return table.concat(made, ", ")
end

-- `AND t.a = $3` for the filters; their values are arguments behind the arrays.
local function add_filters(unit, rel, st, parts, n)
  unit.values = {}
  if not st.filters then return end
  for _, column in ipairs(rel.columns) do
    local value = st.filters[column.name]
    if value ~= nil then
      local name = rel.qualified .. "." .. quote_ident(column.name)
      if value == null then
        parts[#parts + 1] = name .. " IS NULL"
      else
        unit.values[#unit.values + 1] = value
        parts[#parts + 1] = ("%s = $%d"):format(name, n + #unit.values)
      end
    end
  end
end

local function arrays(names, columns)
  return map(names, function(name, i) return ("pg_catalog.unnest($%d::%s)"):format(i, columns[name].array) end)
end

local function insert_text(rel, names, columns, middle)
  return ("INSERT INTO %s (%s)%s SELECT * FROM ROWS FROM (%s)"):format(rel.qualified, map(names, quote_ident), middle,
    arrays(names, columns))
end

local makers = {}

function makers.insert(unit, job, plan, names, columns)
  unit.arrays, unit.values, unit.may_skip = #names, {}, job.nothing
  return insert_text(plan.rel, names, columns, "") .. (job.nothing and " ON CONFLICT DO NOTHING" or "") .. " RETURNING *"
end

function makers.upsert(unit, job, plan, names, columns)
  local rel, conflict = plan.rel, set_of(plan.conflict)
  local keys, sets, middle = {}, {}, ""
  for _, column in ipairs(rel.columns) do
    if conflict[column.name] then keys[#keys + 1] = column.name end
  end
  for _, name in ipairs(names) do
    if not conflict[name] then
      if columns[name].unique then return nil end
      sets[#sets + 1] = ("%s = EXCLUDED.%s"):format(quote_ident(name), quote_ident(name))
    elseif rel.index[name].identity_always then
      middle = " OVERRIDING SYSTEM VALUE"
    end
  end
  if #sets == 0 then
    local name = quote_ident(touched(rel))
    sets[1] = ("%s = %s.%s"):format(name, rel.qualified, name)
  end
  local conditions = {}
  unit.arrays = #names
  add_filters(unit, rel, job.st, conditions, #names)
  return ("%s ON CONFLICT (%s) DO UPDATE SET %s%s RETURNING *"):format(insert_text(rel, names, columns, middle),
    map(keys, quote_ident), table.concat(sets, ", "), #conditions > 0 and " WHERE " .. table.concat(conditions, " AND ") or "")
end

-- Its rows come in any order, so each says which one it is, in a column that the table does not have.
function makers.update(unit, job, plan, names, columns)
  local rel = plan.rel
  local from, place = "fastpg_rows", "fastpg_row"
  while rel.name == from do from = from .. "_" end
  while rel.index[place] do place = place .. "_" end
  local sets, conditions = {}, {}
  for i, name in ipairs(names) do
    if columns[name].unique then return nil end
    sets[i] = ("%s = %s.c%d"):format(quote_ident(name), from, i)
  end
  if #sets == 0 then
    local name = quote_ident(touched(rel))
    sets[1] = ("%s = %s.%s"):format(name, rel.qualified, name)
  end
  local all = {}
  for i, name in ipairs(names) do all[i] = name end
  for _, name in ipairs(rel.pks) do
    all[#all + 1] = name
    conditions[#conditions + 1] = ("%s.%s = %s.c%d"):format(rel.qualified, quote_ident(name), from, #all)
  end
  for _, name in ipairs(all) do
    if not columns[name].array then return nil end
  end
  unit.arrays, unit.place = #all, place
  add_filters(unit, rel, job.st, conditions, #all)
  return ("UPDATE %s SET %s FROM ROWS FROM (%s) WITH ORDINALITY AS %s(%s, at) WHERE %s RETURNING %s.*, %s.at AS %s"):format(
    rel.qualified, table.concat(sets, ", "), arrays(all, columns), from, map(all, function(_, i) return "c" .. i end),
    table.concat(conditions, " AND "), rel.qualified, from, quote_ident(place))
end

local function make(job, plan, run, columns)
  local names = columns_of(plan.rel, run.signature)
  if #names == 0 and job.op ~= "update" then return nil end -- DEFAULT VALUES
  for _, name in ipairs(names) do
    local column = columns[name]
    if not (column and column.array) then return nil end
  end
  local unit = {}
  unit.sql = makers[job.op](unit, job, plan, names, columns)
  return unit.sql and unit
end

--- Gives the runs of a plan (fastpg.table.bulk) that may go so a `unit`, and says in `units` whether any may.
function bulk_sql.choose(conn, job, plan)
  plan.units = false
  local worth = false
  for _, run in ipairs(plan.runs) do worth = worth or run.signature ~= nil end
  local columns = worth and ask(conn, plan.rel)
  if not columns then return end
  local made = {}
  for _, run in ipairs(plan.runs) do
    if run.signature then
      if made[run.signature] == nil then made[run.signature] = make(job, plan, run, columns) or false end
      run.unit = made[run.signature] or nil
      plan.units = plan.units or run.unit ~= nil
    end
  end
end

-- ---- running it -----------------------------------------------------------------------------

--- A list of a unit's arguments but for the arrays, and how many there are.
function bulk_sql.arguments(unit)
  local args = {}
  for i, value in ipairs(unit.values) do args[unit.arrays + i] = value end
  return args, unit.arrays + #unit.values
end

--- The rows of a unit's result, in the order of the records; those of an update that are missing leave fewer.
function bulk_sql.fetch(conn, reader, link, unit)
  if not unit.place then return fetch.rows(conn, reader, link) end
  local found, places = fetch.apart(conn, reader, { to = link, hidden = { unit.place } })
  local placed, n = {}, #found
  for i, place in ipairs(places) do
    if place > n then return {} end
    placed[place] = found[i]
  end
  return setmetatable(placed, getmetatable(found))
end

return bulk_sql
