---@meta fastpg
-- SPDX-License-Identifier: MIT
-- luacheck: ignore
--
-- annotations: what fastpg offers, for editors (LuaCATS).  Nothing loads this file; the reference is doc/manual.md.

---@alias fastpg.record table<string, any>
---@alias fastpg.key any  a scalar, a list in the key's order, or a table by column names

---@class fastpg.error
---@field name string  "unique_violation", "not_found", …
---@field message string
---@field sqlstate string?
---@field detail string?
---@field hint string?
---@field position integer?
---@field schema_name string?
---@field table_name string?
---@field column_name string?  also of the value of a record that does not fit
---@field constraint_name string?
---@field commit_unknown boolean?  true: the connection was lost, and what was sent may be committed; or its commit was not waited for
---@field row integer?  of COPY, of inserts and its like, of executemany: counted from 1
---@field statement integer?  of db:pipeline, counted from 1; of db:results: which of the text's statements failed, counted from 1
---@field severity string?  what the server said: "ERROR", "FATAL"
---@field query string?
---@field where string?  the line of the program
---@field is fun(self: fastpg.error, what: string|table): boolean

---@class fastpg.row: { [string]: any }

---@class fastpg.rows: { [integer]: fastpg.row }
local rows = {}
---@return string
function rows:html() end
---@return string[]
function rows:columns() end
---@return { [integer|string]: fastpg.column_type }  in order, and by the names of the columns
function rows:types() end

---@class fastpg.column_type
---@field name string?  as SQL has it: "integer", "mood[]"
---@field oid integer
---@field column string

---@class fastpg.result
---@field status string  "INSERT 0 1"
---@field count integer?  of rows, where the status names it
---@field rows fastpg.rows?

---@class fastpg.class
---@operator call(fastpg.record?): fastpg.row

---@class fastpg.column

---@class fastpg.columns: { [string]: fastpg.column }
---@operator call(string?): fastpg.column[]
local columns = {}
---@param what string|fastpg.column
---@return boolean
function columns:has(what) end

---@class fastpg.stream
---@operator call: fastpg.row?
local stream = {}
function stream:close() end

-- ---- conditions and options -----------------------------------------------------------------

---@class fastpg.fragment: userdata      what fastpg.sql gives
---@class fastpg.operation: userdata     what fastpg.op gives
---@class fastpg.conditions: userdata    what fastpg.any and fastpg.none give
---@alias fastpg.condition string|table|fastpg.fragment|fastpg.conditions
---@alias fastpg.selected string|table|fastpg.fragment  SQL, names of columns, or { alias = "table.column" }

---@class fastpg.related_options
---@field [1] string|fastpg.table?  the key's column, "column" or "table.column"
---@field where fastpg.condition?
---@field args table?
---@field order_by fastpg.selected?
---@field limit integer?            for each row
---@field select fastpg.selected?
---@field count boolean?            their number instead
---@field through string|fastpg.table?
---@field table string|fastpg.table?
---@field with fastpg.related?
---@field as_cls boolean?
---@alias fastpg.related string|fastpg.table|table<string|integer, string|fastpg.table|fastpg.related_options>

---@class fastpg.join_options
---@field on string|fastpg.fragment?  "column", "table.column" or a condition
---@field as string?                  what the table is called in the query

---@class fastpg.count_options
---@field where fastpg.condition?  a fragment, or columns and values
---@field args table?          a list, or a table of names
---@field debug boolean?       prints the SQL

---@class fastpg.select_options: fastpg.count_options
---@field order_by fastpg.selected?
---@field select fastpg.selected?
---@field limit integer?
---@field offset integer?
---@field with fastpg.related?  rows of other tables beside each row
---@field with_pk boolean?  pairs of key and row
---@field as_cls boolean?   false: rows without the class

---@class fastpg.query
---@operator call: fastpg.rows
local query = {}
---@param condition string|table
---@return fastpg.query
function query:where(condition, ...) end
---@param columns string|string[]  a fragment, or names as arguments or as a list
---@return fastpg.query
function query:select(columns, ...) end
---@param order string|string[]  the same; "name desc nulls last"
---@return fastpg.query
function query:order_by(order, ...) end
---@param n integer
---@return fastpg.query
function query:limit(n) end
---@param n integer
---@return fastpg.query
function query:offset(n) end
---@return fastpg.rows
function query:all() end
---@return fastpg.row?
function query:first() end
---@return fastpg.row
function query:one() end
---@return integer
function query:count() end
---@return boolean
function query:exists() end
---@param fn fun(row: fastpg.row): boolean?
---@return fastpg.stream?
function query:each(fn) end
---@param condition fastpg.condition
---@return fastpg.query
function query:having(condition, ...) end
---@param columns fastpg.selected
---@return fastpg.query
function query:group_by(columns, ...) end
---@return fastpg.query
function query:distinct() end
---@param related fastpg.related
---@return fastpg.query
function query:with(related) end
---@param other string|fastpg.table|fastpg.query
---@param options fastpg.join_options?
---@return fastpg.query
function query:join(other, options) end
---@param other string|fastpg.table|fastpg.query
---@param options fastpg.join_options?
---@return fastpg.query
function query:left_join(other, options) end
---@param other string|fastpg.table|fastpg.query
---@param condition fastpg.condition?
---@return fastpg.query
function query:where_exists(other, condition, ...) end
---@param other string|fastpg.table|fastpg.query
---@param condition fastpg.condition?
---@return fastpg.query
function query:where_missing(other, condition, ...) end
---@param options { skip_locked: boolean?, nowait: boolean? }?
---@return fastpg.query
function query:for_update(options) end
---Reads from a replica, where there are some.
---@return fastpg.query
function query:on_replica() end
---@param name string
---@param other fastpg.query|fastpg.fragment
---@return fastpg.query
function query:cte(name, other) end
---@param other fastpg.query
---@return fastpg.query
function query:union(other) end
---@param other fastpg.query
---@return fastpg.query
function query:union_all(other) end
---@param value string|fastpg.fragment|fastpg.column  an aggregate
---@return any
function query:item(value) end
---@param column string|fastpg.fragment|fastpg.column
---@return any[]
function query:pluck(column, ...) end
---@param key string|fastpg.fragment|fastpg.column
---@param value string|fastpg.fragment|fastpg.column
---@return table
function query:map(key, value) end
---@param n integer  rows a page
---@param token string?
---@return fastpg.rows rows, string? next, string? prev
function query:page(n, token) end
---@param values fastpg.record
---@param options { returning: fastpg.selected|false? }?
---@return fastpg.rows|integer
function query:update(values, options) end
---@param options { returning: fastpg.selected|false? }?
---@return fastpg.rows|integer
function query:delete(options) end
---@return string
function query:explain() end

-- ---- tables ---------------------------------------------------------------------------------

---@class fastpg.table: { [any]: fastpg.row }
---@field name string
---@field schema string
---@field pks string[]
---@field cols table  names in order, and name = type
---@field c fastpg.columns
---@field cls fastpg.class?
---@field db fastpg.database
---@operator call(string|fastpg.select_options?): fastpg.rows
---@operator len: integer
local Table = {}
---@param options string|fastpg.select_options?
---@return fastpg.rows
function Table:all(options, ...) end
---@param options string|fastpg.select_options?
---@return fastpg.row
function Table:selectone(options, ...) end
---@return fastpg.row?
function Table:first() end
---@param key fastpg.key
---@param options { with: fastpg.related? }?
---@return fastpg.row?
function Table:get(key, options) end
---@param key fastpg.key
---@return boolean
function Table:has(key) end
---@param options string|fastpg.count_options?
---@return integer
function Table:count(options, ...) end
---@param options string|fastpg.select_options|function?
---@return fastpg.stream?
function Table:each(options, ...) end
---@param columns string|string[]
---@param aggregates string|string[]
---@return table
function Table:groupby(columns, aggregates, ...) end
---@param condition string|table
---@return fastpg.query
function Table:where(condition, ...) end
---@param columns string|string[]  a fragment, or names as arguments or as a list
---@return fastpg.query
function Table:select(columns, ...) end
---@param order string|string[]  the same; "name desc nulls last"
---@return fastpg.query
function Table:order_by(order, ...) end
---@param n integer
---@return fastpg.query
function Table:limit(n) end
---@param n integer
---@return fastpg.query
function Table:offset(n) end
---@param condition fastpg.condition
---@return fastpg.query
function Table:having(condition, ...) end
---@param columns fastpg.selected
---@return fastpg.query
function Table:group_by(columns, ...) end
---@return fastpg.query
function Table:distinct() end
---@param related fastpg.related
---@return fastpg.query
function Table:with(related) end
---@param other string|fastpg.table|fastpg.query
---@param options fastpg.join_options?
---@return fastpg.query
function Table:join(other, options) end
---@param other string|fastpg.table|fastpg.query
---@param options fastpg.join_options?
---@return fastpg.query
function Table:left_join(other, options) end
---@param other string|fastpg.table|fastpg.query
---@param condition fastpg.condition?
---@return fastpg.query
function Table:where_exists(other, condition, ...) end
---@param other string|fastpg.table|fastpg.query
---@param condition fastpg.condition?
---@return fastpg.query
function Table:where_missing(other, condition, ...) end
---@param options { skip_locked: boolean?, nowait: boolean? }?
---@return fastpg.query
function Table:for_update(options) end
---Reads from a replica, where there are some.
---@return fastpg.query
function Table:on_replica() end
---@param name string
---@param other fastpg.query|fastpg.fragment
---@return fastpg.query
function Table:cte(name, other) end
---@param other fastpg.query
---@return fastpg.query
function Table:union(other) end
---@param other fastpg.query
---@return fastpg.query
function Table:union_all(other) end
---@param value string|fastpg.fragment|fastpg.column  an aggregate
---@return any
function Table:item(value) end
---@param column string|fastpg.fragment|fastpg.column
---@return any[]
function Table:pluck(column, ...) end
---@param key string|fastpg.fragment|fastpg.column
---@param value string|fastpg.fragment|fastpg.column
---@return table
function Table:map(key, value) end
---@param n integer  rows a page
---@param token string?
---@return fastpg.rows rows, string? next, string? prev
function Table:page(n, token) end
---@return boolean
function Table:exists() end
---@return string
function Table:explain() end
---Filters the relation, whatever name leads to it, until `t:xtra()`; the name keeps the filter where a new one comes.
---@param filter fastpg.record?  without: takes the filter away
---@return fastpg.table
function Table:xtra(filter) end
---A new Table with a filter that nothing takes away; a later xtra adds to it, but for the scope's own columns.
---@param filter fastpg.record|string
---@param value any?
---@return fastpg.table
function Table:scope(filter, value) end
---@param record fastpg.record
---@param overrides fastpg.record?
---@param options { on_conflict: "nothing"? }?
---@return fastpg.row?
function Table:insert(record, overrides, options) end
---Inserts the rows that a query gives.
---@param query fastpg.query
---@param options { columns: string[]?, returning: fastpg.selected|false? }?
---@return fastpg.rows|integer
function Table:insert_from(query, options) end
---@param record fastpg.record
---@param key fastpg.key?
---@param overrides fastpg.record?
---@param options { returning: fastpg.selected|false? }?
---@return fastpg.row
function Table:update(record, key, overrides, options) end
---`set`: what is set where the row is there; `where`: of which rows (nil where it is another).
---@param record fastpg.record
---@param overrides fastpg.record?
---@param options { on: string[]?, set: fastpg.record?, where: fastpg.condition?, returning: fastpg.selected|false? }?
---@return fastpg.row?
function Table:upsert(record, overrides, options) end
---@param key fastpg.key
---@param options { returning: fastpg.selected|false? }?
---@return fastpg.row
function Table:delete(key, options) end
---@param condition string|table?
---@return fastpg.rows
function Table:delete_where(condition, ...) end
---@param list fastpg.record[]
---@param overrides fastpg.record?
---@param options { on_conflict: "nothing"? }?
---@return fastpg.rows
function Table:inserts(list, overrides, options) end
---@param list fastpg.record[]
---@param overrides fastpg.record?
---@param options { returning: string|string[]|false? }?
---@return fastpg.rows|integer
function Table:updates(list, overrides, options) end
---@param list fastpg.record[]
---@param overrides fastpg.record?
---@param options { on: string[]? }?
---@return fastpg.rows
function Table:upserts(list, overrides, options) end
---@param source fastpg.record[]|fun(): fastpg.record?
---@param options { columns: string[]?, format: "text"|"binary"? }?
---@return integer  the number of rows
function Table:copy(source, options) end
---@param options fastpg.select_options?
---@return fastpg.row|fastpg.rows|nil
function Table:claim(options) end
---@param options { status_col: string?, pending: any, completed: any, failed: any, order_by: string|string[]? }
---@param fn fun(p: fastpg.claim)
---@return fastpg.claim?
function Table:claim_one(options, fn) end
---@param options { cascade: boolean? }?
function Table:drop(options) end
---@param options { store: boolean?, suf: string? }?
---@return fastpg.class
function Table:class(options) end

---@class fastpg.claim
---@field row fastpg.row
---@field db fastpg.database
---@field failed boolean
---@field error any
---@field traceback string?
---@field retry boolean?

---@class fastpg.tables: { [string]: fastpg.table }
---@operator call(...): fastpg.table

-- ---- databases ------------------------------------------------------------------------------

---@class fastpg.transaction_options
---@field isolation "serializable"|"repeatable read"|"read committed"|"read uncommitted"|nil
---@field readonly boolean?
---@field deferrable boolean?
---@field retries integer?
---@field id string|integer|{ [1]: string|integer, [2]: string|integer }|nil  it happens once; { scope, id }
---@field settings table<string, any>?

---What goes beside libpq's own keywords.
---@class fastpg.connect_options: { [string]: any }
---@field connect_timeout number?  seconds for each host and address
---@field command_timeout number?  seconds for each call
---@field statement_cache_size integer?  100; with pooler = "transaction" 0
---@field pooler "none"|"session"|"transaction"|nil  what stands before the server
---@field direct string|table|nil  the server itself, behind a pooler in transaction mode
---@field init fun(db: fastpg.database)?
---@field schema string?
---@field strict boolean?
---@field duplicates "error"|"last"|nil
---@field loop string|table|nil
---@field replicas { [integer]: string|table, max_size: integer? }?  servers that may be read from
---@field reads "primary"|"replica"|nil  where plain reads go
---@field max_lag number?  seconds that a replica may be behind
---@field failover_timeout number?  seconds to wait for a primary
---@field environment boolean?  false: libpq's environment variables don't count

---@class fastpg.pool_options: fastpg.connect_options
---@field min_size integer?
---@field max_size integer?
---@field acquire_timeout number?  seconds
---@field max_inactive_connection_lifetime number?  seconds
---@field max_lifetime number?  seconds
---@field reset boolean|string|nil  true: DISCARD ALL; or SQL

---@class fastpg.database
---@field t fastpg.tables
---@field v fastpg.tables
---@field pid integer
---@field server_version integer
local Database = {}
---@param target string|fastpg.connect_options?
---@param options fastpg.connect_options?
---@return fastpg.database
function Database:connect(target, options) end
---@class fastpg.notification
---@field channel string
---@field payload string?
---@field pid integer?  of the server process that sent it
---@field gap boolean?  true: the connection was lost, and what was sent meanwhile is not known

---@param channel string
---@param fn fun(n: fastpg.notification)
function Database:listen(channel, fn) end
---@param channel string?  nil: every channel
---@param fn function?  nil: every function
function Database:unlisten(channel, fn) end
---@param channel string
---@param payload string?
function Database:notify(channel, payload) end
---@param timeout number?  seconds
---@return integer  how many came
function Database:poll(timeout) end
---@param channel string
---@param timeout number?  seconds without one that end it
---@return fun(): fastpg.notification
function Database:notifications(channel, timeout) end

---@param timeout number?  seconds to wait for connections in use, before they are closed
function Database:close(timeout) end
---@return { size: integer, idle: integer, in_use: integer, waiting: integer, min_size: integer, max_size: integer, opened: integer, closed: integer, acquired: integer, waited: integer, together: integer, timeouts: integer, statements: integer, hits: integer, misses: integer, prepared: integer, evicted: integer }
function Database:stats() end
---How the pool stands and, counted from the first call on, what was run, in Prometheus' text format.
---@return string
function Database:metrics() end
---@class fastpg.HookEvent
---@field sql string?
---@field seconds number?
---@field rows integer?
---@field bytes integer?
---@field error any
---@field runs integer?  of a batch: how often it ran
---@field where string?  the line of the program
---@field pid integer  of the server's side of the connection
---@field kind "dml"|"ddl"|nil  of an audit
---@field verb string?  of an audit
---@field plan string?  of a slow query
---@field values table?  where the hook asked for them
---@field server_version integer?  of a new connection
---@field table string?  of a write; with `schema`, `op`, `keys`, `rows`, `tx`
---@field schema string?
---@field op "insert"|"update"|"upsert"|"delete"|"copy"|nil
---@field keys any[]?  of a write: the primary keys of its rows, lists where they have several columns; nil where they are not known
---@field tx fastpg.database?  the transaction of a write
---@field message string?  of a notice, whose other fields are those of an error
---@field severity string?
---@field sqlstate string?
---@field server string?  whose role changed; with `role` and `before`
---@field role "primary"|"standby"|"former"|"away"|nil
---@field before string?
---Sets a hook; gives the function that takes it away.
---@param kind "audit"|"connect"|"notice"|"query"|"server"|"slow"|"write"
---@param fn fun(e: fastpg.HookEvent)
---@param opts { over: number?, explain: boolean?, values: boolean? }?
---@return fun() off
function Database:on(kind, fn, opts) end
---@return true
function Database:ping() end
---@param name string
---@return string?
function Database:parameter(name) end
---@param sql string
---@return fastpg.rows
function Database:q(sql, ...) end
---@param sql string
---@return fastpg.rows
function Database:fetch(sql, ...) end
---@param sql string
---@return fastpg.row?
function Database:first(sql, ...) end
---@param sql string
---@return fastpg.row?
function Database:fetchrow(sql, ...) end
---@param sql string
---@return fastpg.row
function Database:qone(sql, ...) end
---@param sql string
---@return any
function Database:item(sql, ...) end
---@param sql string
---@return any
function Database:fetchval(sql, ...) end
---@param sql string
---@return string
function Database:execute(sql, ...) end
---@param sql string|userdata  of several statements where there are no arguments
---@return fastpg.result[]  one for each statement
function Database:results(sql, ...) end
---@param sql string
---@param list table[]
---@return integer
function Database:executemany(sql, list) end
---@param sql string
---@return any[][]
function Database:arrays(sql, ...) end
---@param sql string
---@return fastpg.stream?
function Database:each(sql, ...) end
---@param sql string
---@return fastpg.prepared
function Database:prepare(sql) end
---@param fn fun(p: fastpg.pipeline)
---@return any[]
function Database:pipeline(fn) end
---@param sql string  COPY … FROM STDIN
---@param source string|file*|string[]|fun(): string?
---@return integer  the number of rows
function Database:copy_from(sql, source) end
---@param sql string  COPY … TO STDOUT
---@param sink? file*|fun(chunk: string): boolean?
---@return string|integer  the text; with a sink the number of rows
---@return integer?  the number of rows, beside the text
function Database:copy_to(sql, sink) end
---@param options fastpg.transaction_options|fun(tx: fastpg.database): ...
---@param fn? fun(tx: fastpg.database): ...
---@return ...
function Database:transaction(options, fn) end
---A READ ONLY transaction, on a replica where there are some.
---@param options { at_least: string?, staleness: number?, isolation: "read committed"|"repeatable read"|nil }|fun(tx: fastpg.database): ...
---@param fn? fun(tx: fastpg.database): ...
---@return ...
function Database:read(options, fn) end
---How far the primary's WAL is now, for `at_least` of `read`.
---@return string
function Database:lsn() end
---@param options fastpg.transaction_options?
---@return fastpg.database tx
function Database:begin(options) end
function Database:commit() end
function Database:rollback() end
---@param fn fun(conn: fastpg.database): ...
---@return ...
function Database:acquire(fn) end
---@param seconds number
---@param fn fun(db: fastpg.database): ...
---@return ...
function Database:timeout(seconds, fn) end
---This database with all of its tables filtered; SQL of the program's own is not looked at.
---@param filter table<string, any>|string  columns and values, or a column
---@param value? any
---@return fastpg.database
function Database:scope(filter, value) end
---@param key integer|string
---@param fn fun(db: fastpg.database): ...
---@return ...
function Database:advisory_lock(key, fn) end
---@param name string
---@param codec { encode: (fun(value: any): string)?, decode: (fun(text: string): any)?, schema: string? }
function Database:set_type_codec(name, codec) end
---@param name string
---@param schema string?
---@return fastpg.table
function Database:table(name, schema) end
---@param schema string?  the search_path
---@return fastpg.table[]
function Database:tables(schema) end
---@param schema string?  the search_path
---@return fastpg.table[]
function Database:views(schema) end
---@param schema string?
---@return string[]
function Database:table_names(schema) end
---@param schema string?
---@return string[]
function Database:view_names(schema) end
---@param what string|fastpg.table
---@param schema string?
---@return boolean
function Database:has(what, schema) end
---@param t string|fastpg.table
---@param schema string?
---@return table
function Database:columns_info(t, schema) end
---@param t string|fastpg.table
---@param schema string?
---@return string[]
function Database:pk_cols(t, schema) end
---Forgets what is known of tables.  Seldom needed: a Table that proves stale looks again by itself.
---@return fastpg.database
function Database:refresh() end
---Of db:create.  What is said of transform: pk, not_null, defaults, checks, indexes and foreign_keys say everything where they are given.
---@class fastpg.create_options
---@field name string?  the class's name in snake_case
---@field schema string?
---@field pk string|string[]?  "id"
---@field foreign_keys table<string, table>?  { owner_id = { "person", "id" } }
---@field defaults table<string, any>?
---@field not_null string[]?
---@field checks table<string|integer, any>?  { "price > 0", cheap = "price < 9" }
---@field indexes table<string|integer, any>?  { "name", { "a", "b desc", unique = true }, by_day = { "day", where = "…" } }
---@field column_order string[]?
---@field if_not_exists boolean?
---@field replace boolean?
---@field transform boolean?  alters a table that is there
---@field renames table<string, string>?  old name = new name
---@field drop string|string[]?  columns that go
---@field using table<string, any>?  the value of a column that changes its type, or comes
---@field dry_run boolean?  gives the statements, and changes nothing
---@param class fastpg.class
---@param options fastpg.create_options?
---@return fastpg.table|string[]  with dry_run the statements
function Database:create(class, options) end
---@param name string
---@param sql string
---@param options { cls: fastpg.class?, if_not_exists: boolean?, replace: boolean? }?
---@return fastpg.table
function Database:create_from_schema(name, sql, options) end
---@param path string
---@param options { with_views: boolean?, store: boolean?, suf: string? }?
---@return string path
---@return string[]? left_out  names of tables
function Database:create_mod(path, options) end
---@param classes table<string, fastpg.class>
---@return table<string, fastpg.class>
function Database:link_classes(classes) end
---@param namespace table
---@return table<string, fastpg.class>
function Database:set_classes(namespace) end
---@param namespace table
---@return table<string, fastpg.table>
function Database:get_tables(namespace) end
---@param name string
---@param namespace table
---@return table
function Database:table2glb(name, namespace) end

---@class fastpg.prepared
---@operator call(...): fastpg.rows
---@field q fun(self: fastpg.prepared, ...): fastpg.rows
---@field first fun(self: fastpg.prepared, ...): fastpg.row?
---@field qone fun(self: fastpg.prepared, ...): fastpg.row
---@field item fun(self: fastpg.prepared, ...): any
---@field fetchval fun(self: fastpg.prepared, ...): any
---@field arrays fun(self: fastpg.prepared, ...): any[][]
---@field execute fun(self: fastpg.prepared, ...): string
---@field each fun(self: fastpg.prepared, ...): fastpg.stream?

---@class fastpg.pipeline
---@field q fun(self: fastpg.pipeline, sql: string, ...)
---@field first fun(self: fastpg.pipeline, sql: string, ...)
---@field item fun(self: fastpg.pipeline, sql: string, ...)
---@field execute fun(self: fastpg.pipeline, sql: string, ...)
---@field t fastpg.tables  calls of one statement are queued, and give nothing yet

---@class fastpg.cluster
---@field dir string
---@field pid integer
---@field uri string
---@field conninfo { host: string, port: integer, user: string, dbname: string }
---@field connect fun(self: fastpg.cluster, options: table?): fastpg.database
---@field create_pool fun(self: fastpg.cluster, options: table?, pool_options: table?): fastpg.database
---@field stop fun(self: fastpg.cluster, options: { mode: "smart"|"fast"|"immediate" }?)  the primary
---@field crash fun(self: fastpg.cluster)  the primary, without finishing anything
---@field start fun(self: fastpg.cluster)  every server that is stopped: a former primary as a standby
---@field restart fun(self: fastpg.cluster, options: { mode: "smart"|"fast"|"immediate" }?)
---@field standbys fastpg.server[]
---@field promote fun(self: fastpg.cluster, standby: integer?)  which; by default the one that has received most
---@field pause_replay fun(self: fastpg.cluster, standby: integer)
---@field resume_replay fun(self: fastpg.cluster, standby: integer)
---@field partition fun(self: fastpg.cluster, server: integer)  0 is the primary
---@field heal fun(self: fastpg.cluster, server: integer)
---@field close fun(self: fastpg.cluster)

---@class fastpg.server  a standby of a cluster, or what was one
---@field dir string
---@field pid integer?
---@field uri string
---@field conninfo { host: string, port: integer, user: string, dbname: string }
---@field connect fun(self: fastpg.server, options: table?): fastpg.database
---@field create_pool fun(self: fastpg.server, options: table?, pool_options: table?): fastpg.database
---@field stop fun(self: fastpg.server, options: { mode: "smart"|"fast"|"immediate" }?)
---@field crash fun(self: fastpg.server)
---@field start fun(self: fastpg.server)
---@field restart fun(self: fastpg.server, options: { mode: "smart"|"fast"|"immediate" }?)

-- ---- values ---------------------------------------------------------------------------------

---@class fastpg.numeric
---@operator add(number|fastpg.numeric): fastpg.numeric
---@operator sub(number|fastpg.numeric): fastpg.numeric
---@operator mul(number|fastpg.numeric): fastpg.numeric
---@operator div(number|fastpg.numeric): fastpg.numeric
---@operator mod(number|fastpg.numeric): fastpg.numeric
---@operator pow(number|fastpg.numeric): fastpg.numeric
---@operator unm: fastpg.numeric
---@field tonumber fun(self: fastpg.numeric): number
---@operator concat(any): string
---@field round fun(self: fastpg.numeric, n: integer?): fastpg.numeric
---@field abs fun(self: fastpg.numeric): fastpg.numeric
---@field cmp fun(self: fastpg.numeric, x: any): integer
---@field eq fun(self: fastpg.numeric, x: any): boolean
---@field lt fun(self: fastpg.numeric, x: any): boolean
---@field le fun(self: fastpg.numeric, x: any): boolean

---@class fastpg.datetime
---@field year integer
---@field month integer
---@field day integer
---@field hour integer
---@field min integer
---@field sec integer
---@field usec integer
---@field offset integer  seconds east of UTC
---@field epoch fun(self: fastpg.datetime): number
---@field cmp fun(self: fastpg.datetime, x: any): integer
---@field eq fun(self: fastpg.datetime, x: any): boolean
---@field lt fun(self: fastpg.datetime, x: any): boolean
---@field le fun(self: fastpg.datetime, x: any): boolean
---@operator concat(any): string

-- What fastpg.lua_type names, and with it the modules of db:create_mod.
---@class fastpg.date: fastpg.datetime
---@class fastpg.time: fastpg.datetime
---@class fastpg.timetz: fastpg.datetime
---@class fastpg.timestamp: fastpg.datetime
---@class fastpg.timestamptz: fastpg.datetime

---@class fastpg.range
---@field lower any
---@field upper any
---@field lower_inc boolean
---@field upper_inc boolean
---@field empty boolean

---@class fastpg.multirange: { [integer]: fastpg.range }
---@field ranges fun(self: fastpg.multirange): fastpg.range[]

---@class fastpg.interval
---@field months integer
---@field days integer
---@field usec integer

-- ---- the module -----------------------------------------------------------------------------

local fastpg = {}

---@type string
fastpg._VERSION = ""
---@type lightuserdata
fastpg.null = nil
---@type userdata
fastpg.json_null = nil
---@type table
fastpg.array_mt = nil
---@type table
fastpg.NotFoundError = nil

---@param target string|fastpg.connect_options?
---@param options fastpg.connect_options?
---@return fastpg.database
function fastpg.connect(target, options) end
---@param target string|fastpg.pool_options?
---@param options fastpg.pool_options?
---@return fastpg.database
function fastpg.create_pool(target, options) end
---@return fastpg.database
function fastpg.database() end
---@param options { bindir: string?, superuser: string?, settings: table?, durable: boolean?, standbys: integer?, synchronous: boolean? }?
---@return fastpg.cluster
function fastpg.cluster(options) end
---@param params table
---@return string
function fastpg.uri(params) end
---Tables, their columns and the foreign keys between them as text; "svg" is made by Graphviz, and blocks.
---@param what fastpg.tables|fastpg.table|fastpg.table[]  db.t, db.v, a Table or a list of Tables
---@param options { format: "mermaid"|"dot"|"svg"? }?  mermaid by default
---@return string
function fastpg.diagram(what, options) end
---What ran, or with dry_run would run, of a directory of migrations.
---@class fastpg.migration
---@field number integer
---@field name string
---@field file string  its path
---@field direction "up"|"down"
---@field statements string[]?  of a SQL file, with dry_run
---Runs what has not run yet of a directory of numbered .sql and .lua files: each in its transaction, one process at a time.
---@param db fastpg.database
---@param dir string
---@param options { to: integer?, dry_run: boolean? }?  to: the number to go up or down to
---@return fastpg.migration[]
function fastpg.migrate(db, dir, options) end
---@param loop string|table|nil
function fastpg.set_loop(loop) end
---@return { name: string, method: string }
function fastpg.loop_info() end

---A coroutine that fastpg started.
---@class fastpg.task
---@field done boolean
---@field error any
local Task = {}
---Its results when it is done; raises its error.
---@return any ...
function Task:wait() end
---The call it waits in raises "canceled"; its transaction rolls back.
function Task:cancel() end

---@param fn function
---@param ... any
---@return fastpg.task
function fastpg.spawn(fn, ...) end
---The first result of each function.
---@param ... function
---@return any ...
function fastpg.gather(...) end
---@param seconds number
function fastpg.sleep(seconds) end
---@param timeout number?  seconds; 0, the default, never waits
---@param rows integer?  how many are decoded at most (1000)
---@return boolean  whether tasks are left
function fastpg.step(timeout, rows) end
---@param ... function
---@return any ...
function fastpg.run(...) end
---Set it to be told of errors of tasks that nobody waits for.
---@type fun(err: any, traceback: string)|nil
fastpg.on_error = nil
---@param sql string
---@param names table?
---@return string sql, any[] values
function fastpg.conv_placeholders(sql, names) end
---@param list any[]
---@param n integer?
---@return table
function fastpg.args(list, n) end
---SQL with its values: for each `?` one, for `:name` a table of names behind them; a value may be a fragment, a column, a query.
---@param text string
---@param ... any
---@return fastpg.fragment
function fastpg.sql(text, ...) end
---An operator and what stands behind it, in the place of a column's value.
---@param operator string  ">=", "@>", "ilike", "not in", "between", "= any", …
---@param value any
---@return fastpg.operation
function fastpg.op(operator, value) end
---A condition that holds where one of these does.
---@param conditions (fastpg.condition)[]
---@return fastpg.conditions
function fastpg.any(conditions) end
---A condition that holds where none of these does.
---@param conditions (fastpg.condition)[]
---@return fastpg.conditions
function fastpg.none(conditions) end
---A query whose rows are those of another one, under a name.
---@param query fastpg.query
---@param name string
---@return fastpg.query
function fastpg.from(query, name) end
---Puts related rows beside rows of a Table that are there already.
---@generic T
---@param rows T  a row, or a list of rows
---@param ... any  what `with` takes
---@return T
function fastpg.load(rows, ...) end
---@param name string
---@return string
function fastpg.quote_ident(name) end
---@param text string
---@return string
function fastpg.quote_literal(text) end
---@param err any
---@param what string|table
---@return boolean
function fastpg.is(err, what) end
---@param fn function
---@return any ...  the results, or nil and the error
function fastpg.try(fn, ...) end
---@param fn function
---@return any ...
function fastpg.guard(fn, ...) end

---The HTTP status that tells a client what an error is: 404, 409, 422, 400, 403, 503, and 500 for a mistake of the program's.
---@param err any
---@return integer
function fastpg.http_status(err) end
---@param value fastpg.row|fastpg.rows
---@return string
function fastpg.html(value) end
---@param row fastpg.row
---@return string[]
function fastpg.columns(row) end
---@param row fastpg.row
---@return any[]
function fastpg.values(row) end
---@param row fastpg.row
---@return fastpg.database?
function fastpg.db_of(row) end
---@param value any
---@return string
function fastpg.to_json(value) end
---@param text string
---@return any
function fastpg.from_json(text) end
---@param text string
---@return userdata
function fastpg.json_text(text) end
---@param value string|number
---@return fastpg.numeric
function fastpg.numeric(value) end
---@return fastpg.datetime
function fastpg.date(...) end
---@return fastpg.datetime
function fastpg.time(...) end
---@return fastpg.datetime
function fastpg.timetz(...) end
---@return fastpg.datetime
function fastpg.timestamp(...) end
---@return fastpg.datetime
function fastpg.timestamptz(...) end
---@return fastpg.interval
function fastpg.interval(...) end
---@return fastpg.timestamptz
function fastpg.now() end
---Marks a list as an array; its n counts from then on.
---@generic T: table
---@param list T
---@param options { lower: integer[]?, dims: integer? }?
---@return T
function fastpg.array(list, options) end
---@param list table
---@return integer[]
function fastpg.lower_bounds(list) end
---@param lower any  a bound, or the text of a range
---@param upper any?
---@param bounds "[)"|"[]"|"(]"|"()"|nil
---@return fastpg.range
function fastpg.range(lower, upper, bounds) end
---@param ranges fastpg.range[]|string
---@return fastpg.multirange
function fastpg.multirange(ranges) end
---@param name string
---@param fields (string|{ name: string, type: string })[]
---@param options { table: string?, schema: string? }?
---@return fastpg.class
function fastpg.class(name, fields, options) end
---@param class fastpg.class
---@return string
function fastpg.class_source(class) end
---@param db fastpg.database
---@param options { with_views: boolean?, store: boolean?, suf: string? }?
---@return table<string, fastpg.class>
function fastpg.all_classes(db, options) end
---@param name string
---@param pg_type string
---@param pk string|string[]|nil
---@param not_null string[]|nil
---@return string
function fastpg.col_def(name, pg_type, pk, not_null) end
---@param pg_type string
---@return string
function fastpg.lua_type(pg_type) end

return fastpg
