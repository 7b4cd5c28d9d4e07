---@meta
-- SPDX-License-Identifier: MIT
--
-- meta: what an editor (lua-language-server) is to know of fastpg's objects.  Nothing loads this file.
--
-- db:create_mod writes modules that add to it: a class per table, a field per table in fastpg.tables.

---@class fastpg.error
---@field name string           "unique_violation", "not_found", "timeout", …
---@field message string
---@field sqlstate string?
---@field detail string?
---@field hint string?
---@field position string?
---@field schema_name string?
---@field table_name string?
---@field column_name string?
---@field constraint_name string?
---@field query string?
---@field is fun(self: fastpg.error, what: string|table): boolean

---@class fastpg.database
---@field t fastpg.tables       tables by name
---@field v fastpg.tables       views by name
---@field server_version integer
---@field pid integer
---@field connect fun(self: self, target?: string|table, extra?: table): fastpg.database
---@field close fun(self: self)
---@field ping fun(self: self): boolean
---@field parameter fun(self: self, name: string): string?
---@field q fun(self: self, sql: string, ...: any): fastpg.rows
---@field fetch fun(self: self, sql: string, ...: any): fastpg.rows
---@field first fun(self: self, sql: string, ...: any): table?
---@field fetchrow fun(self: self, sql: string, ...: any): table?
---@field qone fun(self: self, sql: string, ...: any): table
---@field item fun(self: self, sql: string, ...: any): any
---@field fetchval fun(self: self, sql: string, ...: any): any
---@field arrays fun(self: self, sql: string, ...: any): any[][]
---@field execute fun(self: self, sql: string, ...: any): string
---@field executemany fun(self: self, sql: string, list: table[]): integer
---@field each fun(self: self, sql: string, ...: any): fun(): table?
---@field prepare fun(self: self, sql: string): fun(...: any): fastpg.rows
---@field pipeline fun(self: self, fn: fun(p: table)): any[]
---@field transaction fun(self: self, opts: table|fun(tx: fastpg.database), fn?: fun(tx: fastpg.database)): any
---@field begin fun(self: self, opts?: table): fastpg.database
---@field commit fun(self: self)
---@field rollback fun(self: self)
---@field acquire fun(self: self, fn: fun(conn: fastpg.database)): any
---@field timeout fun(self: self, seconds: number, fn: fun(db: fastpg.database)): any
---@field table fun(self: self, name: string, schema?: string): fastpg.table
---@field tables fun(self: self): fastpg.table[]
---@field views fun(self: self): fastpg.table[]
---@field has fun(self: self, what: string|fastpg.table): boolean
---@field table_names fun(self: self, schema?: string): string[]
---@field view_names fun(self: self, schema?: string): string[]
---@field columns_info fun(self: self, table: string|fastpg.table, schema?: string): table<string|integer, string>
---@field pk_cols fun(self: self, table: string|fastpg.table, schema?: string): string[]
---@field refresh fun(self: self): fastpg.database
---@field create fun(self: self, cls: fastpg.class, opts?: fastpg.create_options): fastpg.table
---@field create_from_schema fun(self: self, name: string, schema: string, opts?: table): fastpg.table
---@field create_mod fun(self: self, path: string, opts?: fastpg.class_options): string
---@field link_classes fun(self: self, classes: table): table<string, fastpg.class>
---@field set_classes fun(self: self, namespace: table): table<string, fastpg.class>
---@field get_tables fun(self: self, namespace: table): table<string, fastpg.table>
---@field table2glb fun(self: self, name: string, namespace: table): table<string, any>

---@class fastpg.class_options
---@field with_views boolean?   the views too
---@field store boolean?        false: the tables don't get the classes
---@field suf string?           an end for the classes' names

---@class fastpg.create_options
---@field pk string|string[]|nil                        "id"
---@field foreign_keys table<string, any[]>?            { owner_id = { "person", "id" } }
---@field defaults table<string, any>?                  literals, or fastpg.sql"now()"
---@field not_null string[]|table<string, boolean>|nil
---@field column_order string[]?                        the columns that come first
---@field name string?                                  the class's name in snake_case
---@field schema string?
---@field if_not_exists boolean?
---@field replace boolean?                              drops what is there, with what depends on it
---@field transform boolean?                            alters what is there

---@class fastpg.tables
---@field [string] fastpg.table

---@class fastpg.class
---@operator call(table): table

---@class fastpg.rows
---@field [integer] table
---@field html fun(self: self): string
---@field columns fun(self: self): string[]

---@class fastpg.table
---@field name string
---@field schema string
---@field pks string[]
---@field cols table<string|integer, string>
---@field c any
---@field cls fastpg.class?
---@field db fastpg.database
---@field class fun(self: self, opts?: fastpg.class_options): fastpg.class
---@field count fun(self: self, ...: any): integer
---@field has fun(self: self, key: any): boolean
---@field where fun(self: self, ...: any): fastpg.query
---@field xtra fun(self: self, ...: any): self
---@field scope fun(self: self, ...: any): self
---@field groupby fun(self: self, columns: string|string[], aggregates: string|string[], ...: any): table
---@field drop fun(self: self, opts?: { cascade: boolean? })

---@class fastpg.query
---@operator call: fastpg.rows
---@field where fun(self: self, ...: any): fastpg.query
---@field select fun(self: self, columns: string|string[]): fastpg.query
---@field order_by fun(self: self, order: string|string[]): fastpg.query
---@field limit fun(self: self, n: integer): fastpg.query
---@field offset fun(self: self, n: integer): fastpg.query
---@field first fun(self: self): table?
---@field one fun(self: self): table
---@field all fun(self: self): fastpg.rows
---@field count fun(self: self): integer
---@field exists fun(self: self): boolean
---@field each fun(self: self, fn?: fun(row: table): boolean?): fun(): table?
---@field update fun(self: self, record: table): fastpg.rows
---@field delete fun(self: self): fastpg.rows
---@field explain fun(self: self): string

---@class fastpg.numeric
---@field tonumber fun(self: self): number
---@field cmp fun(self: self, other: any): integer
---@field eq fun(self: self, other: any): boolean
---@field lt fun(self: self, other: any): boolean
---@field le fun(self: self, other: any): boolean

---@class fastpg.date
---@field year integer
---@field month integer
---@field day integer
---@field epoch fun(self: self): number

---@class fastpg.time
---@field hour integer
---@field min integer
---@field sec integer
---@field usec integer

---@class fastpg.timetz: fastpg.time
---@field offset integer  seconds east of UTC

---@class fastpg.timestamp: fastpg.date
---@field hour integer
---@field min integer
---@field sec integer
---@field usec integer

---@class fastpg.timestamptz: fastpg.timestamp
---@field offset integer  seconds east of UTC

---@class fastpg.interval
---@field months integer
---@field days integer
---@field usec integer

---@class fastpg.range
---@field lower any
---@field upper any
---@field lower_inc boolean
---@field upper_inc boolean
---@field empty boolean

---@class fastpg.multirange
---@field [integer] fastpg.range
