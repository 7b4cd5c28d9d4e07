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
enum { FPG_UNSET = '.', FPG_VALUE = 'v', FPG_RAW = 'r', FPG_NULL = 'n', FPG_LIST = 'a' }; /* (the last two: of conditions) */

/* Signatures up to this length lie in the writer itself. */
#define FPG_FEW_STATES 192

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
  char *states;       /* one byte per column, then what else the signature has */
  size_t nstates, room;
  fpg_buf *sql;       /* the text; NULL until fpg_begin_text: where it is known none is needed */
  char few[FPG_FEW_STATES];
} fpg_sql_writer;

static inline char fpg_state_of(const fpg_sql_writer *w, int col) { return w->states[col - 1]; }

/* Adds to the signature. */
void fpg_note_state(lua_State *L, fpg_sql_writer *w, const char *bytes, size_t n);

/* Where SQL that carries values stands: the mark, the number of the value in the list that the arguments have under this
 * key, and \1. */
#define FPG_RAW_MARK "\1fastpg"
extern const char fpg_raws_key;

/* ---- beginning and answering ---------------------------------------------------------------- */

/* The relation is at 1, the list of arguments (nil: a new one) at 2, then record, overrides, filters, each a table or nil. */
void fpg_begin_sql(lua_State *L, fpg_sql_writer *w);

/* Finds the shape of the record, where it is a row that came from the server; it stays on the stack. */
void fpg_find_shape(lua_State *L, fpg_sql_writer *w);

/* Begins the text of a statement that is not known. */
void fpg_begin_text(lua_State *L, fpg_sql_writer *w);

/* What a function gives: the SQL on top of the stack, the number of arguments, their list. */
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

/* Of the conditions of a map: what their text depends on, for the signature; and the taking of their values, where the
 * text is known. */
void fpg_note_conditions(lua_State *L, fpg_sql_writer *w, int map);
void fpg_take_conditions(lua_State *L, fpg_sql_writer *w, int map);

#endif
