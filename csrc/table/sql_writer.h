/* SPDX-License-Identifier: MIT
 *
 * sql_writer.h: what all statements are made of: columns, values, conditions.
 *
 * A writer looks each column up in filters, overrides and record, puts the values into the list of arguments and notes
 * a state per column.  Precedence: filter (it silently replaces), override, record, and for a row that came
 * from the server NULL for what it was selected with and lacks now (on update and upsert).
 *
 * A column that does not exist is answered with nil and its name; the Lua side knows how to word it.
 */
#ifndef FASTPG_SQL_WRITER_H
#define FASTPG_SQL_WRITER_H

#include "buffer.h"
#include "relation.h"

/* What becomes of a column: its state is one byte of the statement's signature (sql_texts.h). */
enum { FPG_UNSET = '.', FPG_VALUE = 'v', FPG_RAW = 'r' };

/* What a column of a fetched row may be written in. */
typedef enum { FPG_INSERT, FPG_UPDATE, FPG_UPSERT } fpg_operation;

typedef struct {
  fpg_rel *rel;
  fpg_rel_names at;
  int args;                        /* the list of arguments that is filled */
  int count;                       /* how many it holds */
  int record, overrides, filters;  /* indexes of tables, or 0 */
  int shape_index;                 /* of a fetched row: name -> position, or 0 */
  int has_raw;
  fpg_buf *states; /* one byte per column */
  fpg_buf *sql;
} fpg_sql_writer;

static inline char fpg_state_of(const fpg_sql_writer *w, int col) { return w->states->data[col - 1]; }

/* ---- beginning and answering ---------------------------------------------------------------- */

/* The relation is at 1, the list of arguments at 2, then record, overrides, filters, each a table or nil. */
void fpg_begin_sql(lua_State *L, fpg_sql_writer *w);

/* Finds the shape of the record, where it is a row that came from the server; it stays on the stack. */
void fpg_find_shape(lua_State *L, fpg_sql_writer *w);

/* What a function gives: the SQL on top of the stack and the number of arguments. */
int fpg_answer_sql(lua_State *L, fpg_sql_writer *w);

/* Whether one of the tables has a key that names no column: it is pushed, for fpg_answer_unknown. */
int fpg_any_unknown(lua_State *L, fpg_sql_writer *w);
int fpg_unknown_key(lua_State *L, fpg_sql_writer *w, int idx);
int fpg_answer_unknown(lua_State *L);

/* ---- columns and values --------------------------------------------------------------------- */

/* Pushes what the table (0: there is none) has for the column and returns 1; `names`: the list of columns. */
int fpg_lookup_column(lua_State *L, int table, int names, int col);

/* Pushes the value that a column gets and returns 1, or 0 where it is unset.  `conflict`: it is one of an upsert's. */
int fpg_column_value(lua_State *L, fpg_sql_writer *w, int col, fpg_operation op, int conflict);

/* Takes the value on top of the stack as the next argument (or a fragment as itself). */
void fpg_take_value(lua_State *L, fpg_sql_writer *w, int col);

/* Of a text that is not kept: adds the column of the argument that was added to those the list knows. */
void fpg_note_column(lua_State *L, fpg_sql_writer *w, int col);

/* ---- text ------------------------------------------------------------------------------------ */

/* "name" of the column, "schema"."table" of the relation, $n. */
void fpg_put_column(lua_State *L, fpg_sql_writer *w, int col);
void fpg_put_qualified(lua_State *L, fpg_sql_writer *w);
void fpg_put_number(lua_State *L, fpg_sql_writer *w, int n);

/* `$n` of a value, or the text of a fragment in brackets. */
void fpg_put_value(lua_State *L, fpg_sql_writer *w, int col, int *n, fpg_operation op);

/* Nothing the first time, then ", ". */
const char *fpg_separator(int *first);

/* `"col" = $n`, `= ANY($n)` or `IS NULL` for the value on top of the stack, which it takes. */
void fpg_put_condition(lua_State *L, fpg_sql_writer *w, int col, int qualify);

/* The conditions of a map in the order of columns, joined by AND. */
void fpg_put_conditions(lua_State *L, fpg_sql_writer *w, int map, int qualify, int first);

#endif
