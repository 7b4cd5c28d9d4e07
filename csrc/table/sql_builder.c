/* SPDX-License-Identifier: MIT
 *
 * sql_builder.c: the SQL of select, insert, update, upsert and delete from a relation and Lua values.
 *
 * Writing works in two passes.  The first looks each column up in filters, overrides and record,
 * puts the values into the list of arguments and notes a state per column; those states are the
 * statement's *signature*, and the SQL text of a signature is built once and kept with the
 * relation.  So a row of a known shape costs look-ups and no string building.
 *
 * Precedence per column: filter (it silently replaces), override, record, and for a row that came
 * from the server NULL for what it was selected with and lacks now (on update and upsert).
 *
 * A column that does not exist is answered with nil and its name; the Lua side knows how to word it.
 *
 * PostgreSQL manual: INSERT, UPDATE, DELETE, SELECT.
 */
#include <stdlib.h>

#include "buffer.h"
#include "fragment.h"
#include "number.h"
#include "quote.h"
#include "relation.h"
#include "surface.h"
#include "codec.h"

/* ---- the writer --------------------------------------------------------------------------- */

/* What becomes of a column: its state is one byte of the signature. */
enum { UNSET = '.', VALUE = 'v', RAW = 'r' };

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
} writer;

static int table_or_none(lua_State *L, int idx) {
  return lua_type(L, idx) == LUA_TTABLE ? idx : 0;
}

/* Finds the shape of a row that came from the server. */
static void find_shape(lua_State *L, writer *w) {
  if (!w->record || !lua_getmetatable(L, w->record)) return;
  lua_pushliteral(L, "partial");
  lua_rawget(L, -2);
  int partial = lua_toboolean(L, -1);
  lua_pop(L, 1);
  lua_pushliteral(L, "shape");
  lua_rawget(L, -2);
  if (lua_type(L, -1) == LUA_TTABLE && !partial) {
    lua_pushliteral(L, "index");
    lua_rawget(L, -2);
    lua_replace(L, -3);
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TTABLE)
      w->shape_index = lua_gettop(L);
    else
      lua_pop(L, 1); /* some other library's metatable */
  } else {
    lua_pop(L, 2);
  }
}

/* Pushes the set of fields of the table at idx that hold rows of other tables, read with it, or nil. */
static void push_related(lua_State *L, int idx) {
  if (!lua_getmetatable(L, idx)) {
    lua_pushnil(L);
    return;
  }
  lua_pushliteral(L, "related");
  lua_rawget(L, -2);
  lua_replace(L, -2);
}

/* The first key of the table at idx that names no column is pushed and 1 returned.  Related rows that
 * were read with a row are no columns and no mistake; any other row or list is. */
static int unknown_key(lua_State *L, writer *w, int idx) {
  if (!idx) return 0;
  lua_getfield(L, w->at.names, "index");
  int index = lua_gettop(L);
  push_related(L, idx);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    int known = 0;
    for (int set = index; !known && lua_type(L, -1) == LUA_TSTRING && set <= index + 1; set++) {
      if (lua_type(L, set) != LUA_TTABLE) continue;
      lua_pushvalue(L, -1);
      lua_rawget(L, set);
      known = lua_toboolean(L, -1);
      lua_pop(L, 1);
    }
    if (!known) {
      lua_replace(L, index);
      lua_settop(L, index);
      return 1;
    }
  }
  lua_settop(L, index - 1);
  return 0;
}

static int lookup(lua_State *L, int table, int names, int col) {
  if (!table) return 0;
  lua_rawgeti(L, names, col);
  lua_rawget(L, table);
  if (!lua_isnil(L, -1)) return 1;
  lua_pop(L, 1);
  return 0;
}

static void set_state(writer *w, int col, char state) { w->states->data[col - 1] = state; }
static char state_of(const writer *w, int col) { return w->states->data[col - 1]; }

/* Takes the value on top of the stack as the next argument (or a fragment as itself). */
static void take(lua_State *L, writer *w, int col) {
  if (luaL_testudata(L, -1, FPG_SQL_MT)) {
    w->has_raw = 1;
    set_state(w, col, RAW);
    lua_pop(L, 1);
    return;
  }
  lua_rawseti(L, w->args, ++w->count);
  set_state(w, col, VALUE);
}

/* insert, update or upsert: what a column of a fetched row may be written in. */
typedef enum { INSERT, UPDATE, UPSERT } operation;

/* Pushes the value column `col` gets, or returns 0 where it is unset. */
static int column_value(lua_State *L, writer *w, int col, operation op, int conflict) {
  if (lookup(L, w->filters, w->at.names, col)) return 1;
  if (lookup(L, w->overrides, w->at.names, col)) return 1;
  if (w->shape_index && !conflict &&
      (w->rel->flags[col - 1] & (FPG_COL_GENERATED | FPG_COL_ALWAYS)))
    return 0;
  if (lookup(L, w->record, w->at.names, col)) return 1;
  if (op == INSERT || !w->shape_index) return 0;
  if (!lookup(L, w->shape_index, w->at.names, col)) return 0;
  lua_pop(L, 1);
  lua_pushlightuserdata(L, NULL);
  return 1;
}

static void put_quoted(lua_State *L, writer *w, int col) {
  size_t len;
  lua_rawgeti(L, w->at.quoted, col);
  const char *s = lua_tolstring(L, -1, &len);
  fpg_buf_put(L, w->sql, s, len);
  lua_pop(L, 1);
}

static void put_qualified(lua_State *L, writer *w) {
  size_t len;
  lua_getfield(L, w->at.names, "qualified");
  const char *s = lua_tolstring(L, -1, &len);
  fpg_buf_put(L, w->sql, s, len);
  lua_pop(L, 1);
}

static void put_number(lua_State *L, writer *w, int n) {
  fpg_buf_putc(L, w->sql, '$');
  fpg_buf_putint(L, w->sql, n);
}

/* DEFAULT is no expression: it stands without brackets. */
static int is_default(const fpg_sql *f) {
  static const char word[] = "default";
  size_t i = 0;
  for (; i < f->len && i < sizeof word - 1; i++)
    if ((f->text[i] | 0x20) != word[i]) return 0;
  return i == f->len && i == sizeof word - 1;
}

/* `$n` of a value, or the text of a fragment in brackets. */
static void put_value(lua_State *L, writer *w, int col, int *n, operation op) {
  if (state_of(w, col) == VALUE) {
    put_number(L, w, ++*n);
    return;
  }
  if (column_value(L, w, col, op, 1)) {
    fpg_sql *f = luaL_checkudata(L, -1, FPG_SQL_MT);
    int bare = is_default(f);
    if (!bare) fpg_buf_putc(L, w->sql, '(');
    fpg_buf_put(L, w->sql, f->text, f->len);
    if (!bare) fpg_buf_putc(L, w->sql, ')');
    lua_pop(L, 1);
  }
}

static const char *separator(int *first) {
  const char *s = *first ? "" : ", ";
  *first = 0;
  return s;
}

/* ---- conditions --------------------------------------------------------------------------- */

/* Whether the value on top of the stack is a list of alternatives rather than a value itself.  For
 * json a list that says what it is (fastpg.array_mt) is a document, so is a table with keys. */
static int is_list(lua_State *L, const writer *w, int col) {
  if (lua_type(L, -1) != LUA_TTABLE || (w->rel->flags[col - 1] & FPG_COL_ARRAY)) return 0;
  if (!(w->rel->flags[col - 1] & FPG_COL_JSON)) return 1;
  if (lua_rawlen(L, -1) == 0) return 0;
  int document = lua_getmetatable(L, -1);
  if (document) lua_pop(L, 1);
  return !document;
}

/* Of a text that is not kept: adds the column of the argument that was added to those the list knows. */
static void note_column(lua_State *L, writer *w, int col) {
  lua_rawgetp(L, w->args, &fpg_columns_key);
  if (lua_type(L, -1) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, w->args, &fpg_columns_key);
  }
  lua_rawgeti(L, w->at.names, col);
  lua_rawseti(L, -2, w->count);
  lua_pop(L, 1);
}

/* Appends `"col" = $n`, `= ANY($n)` or `IS NULL` for the value on top of the stack, which it takes. */
static void put_condition(lua_State *L, writer *w, int col, int qualify) {
  if (qualify) {
    put_qualified(L, w);
    fpg_buf_putc(L, w->sql, '.');
  }
  put_quoted(L, w, col);
  fpg_sql *f = luaL_testudata(L, -1, FPG_SQL_MT);
  if (fpg_is_null(L, -1)) {
    fpg_buf_puts(L, w->sql, " IS NULL");
    lua_pop(L, 1);
  } else if (f) {
    fpg_buf_puts(L, w->sql, " = (");
    fpg_buf_put(L, w->sql, f->text, f->len);
    fpg_buf_putc(L, w->sql, ')');
    lua_pop(L, 1);
  } else {
    int list = is_list(L, w, col);
    lua_rawseti(L, w->args, ++w->count);
    note_column(L, w, col);
    fpg_buf_puts(L, w->sql, list ? " = ANY(" : " = ");
    put_number(L, w, w->count);
    if (list) fpg_buf_putc(L, w->sql, ')');
  }
}

/* Appends the conditions of a map in column order, joined by AND. */
static void put_conditions(lua_State *L, writer *w, int map, int qualify, int first) {
  for (int col = 1; map && col <= w->rel->ncols; col++) {
    if (!lookup(L, map, w->at.names, col)) continue;
    if (!first) fpg_buf_puts(L, w->sql, " AND ");
    first = 0;
    put_condition(L, w, col, qualify);
  }
}

/* ---- signatures --------------------------------------------------------------------------- */

static void begin(lua_State *L, writer *w) {
  memset(w, 0, sizeof *w);
  w->rel = fpg_check_rel(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  w->args = 2;
  w->record = table_or_none(L, 3);
  w->overrides = table_or_none(L, 4);
  w->filters = table_or_none(L, 5);
  lua_settop(L, 8);
  w->states = fpg_buf_new(L);
  w->sql = fpg_buf_new(L);
  w->at = fpg_rel_push(L, 1);
  int n = w->rel->ncols;
  memset(fpg_buf_grow(L, w->states, (size_t)n + 1), UNSET, (size_t)n + 1);
  find_shape(L, w);
}

/* Which columns the filters hold, and whether as NULL: part of the signature. */
static void note_filters(lua_State *L, writer *w) {
  for (int col = 1; w->filters && col <= w->rel->ncols; col++) {
    if (!lookup(L, w->filters, w->at.names, col)) continue;
    fpg_buf_putint(L, w->states, col);
    fpg_buf_putc(L, w->states, fpg_is_null(L, -1) ? 'n' : 'f');
    lua_pop(L, 1);
  }
}

/* Pushes the SQL kept under the signature and returns 1, or pushes nothing. */
static int known_sql(lua_State *L, writer *w, char op) {
  if (w->has_raw) return 0;
  w->states->data[w->rel->ncols] = op;
  lua_getfield(L, w->at.names, "sql");
  lua_pushlstring(L, w->states->data, w->states->len);
  lua_rawget(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 2);
    return 0;
  }
  lua_replace(L, -2);
  return 1;
}

/* What callers put into records decides how many signatures there are: at this many all are forgotten. */
#define MOST_TEXTS 500

/* Pushes the text that was built and keeps it under the signature. */
static void keep_sql(lua_State *L, writer *w) {
  lua_pushlstring(L, w->sql->data, w->sql->len);
  if (w->has_raw) return;
  if (w->rel->ntexts++ >= MOST_TEXTS) {
    w->rel->ntexts = 1;
    lua_newtable(L);
    lua_setfield(L, w->at.names, "sql");
  }
  lua_getfield(L, w->at.names, "sql");
  lua_pushlstring(L, w->states->data, w->states->len);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

enum { MOST_SHAPES = 500 };

/* Lets the list of arguments know the column of each, for the message where one does not fit: the values in
 * the table's order, then those of the key and of the filters.  `keyed` and `filtered`: which of these there
 * are.  The list of a text, which is on top of the stack, is kept; of `count` texts at most. */
static void note_columns(lua_State *L, writer *w, int keyed, int filtered) {
  int text = lua_gettop(L);
  lua_getfield(L, w->at.names, "columns_of");
  if (lua_type(L, -1) != LUA_TTABLE || w->rel->texts >= MOST_SHAPES) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, w->at.names, "columns_of");
    w->rel->texts = 0;
  }
  lua_pushvalue(L, text);
  lua_rawget(L, text + 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, w->count, 0);
    int n = 0;
    for (int col = 1; col <= w->rel->ncols; col++) {
      if (state_of(w, col) != VALUE) continue;
      lua_rawgeti(L, w->at.names, col);
      lua_rawseti(L, -2, ++n);
    }
    for (int i = 0; keyed && i < w->rel->npk; i++) {
      lua_rawgeti(L, w->at.names, w->rel->pk[i]);
      lua_rawseti(L, -2, ++n);
    }
    for (int col = 1; filtered && w->filters && col <= w->rel->ncols; col++) {
      if (!lookup(L, w->filters, w->at.names, col)) continue;
      int null = fpg_is_null(L, -1);
      lua_pop(L, 1);
      if (null) continue;
      lua_rawgeti(L, w->at.names, col);
      lua_rawseti(L, -2, ++n);
    }
    w->rel->texts++;
    lua_pushvalue(L, text);
    lua_pushvalue(L, -2);
    lua_rawset(L, text + 1);
  }
  lua_rawsetp(L, w->args, &fpg_columns_key);
  lua_settop(L, text);
}

static int answer(lua_State *L, writer *w) {
  fpg_buf_free(L, w->sql);
  fpg_buf_free(L, w->states);
  lua_pushinteger(L, w->count);
  return 2;
}

static int any_unknown(lua_State *L, writer *w) {
  return unknown_key(L, w, w->record) || unknown_key(L, w, w->overrides) ||
         unknown_key(L, w, w->filters);
}

static int answer_unknown(lua_State *L) { /* the key is on top */
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* ---- insert and upsert -------------------------------------------------------------------- */

static void put_columns(lua_State *L, writer *w, operation op, int overriding) {
  int first = 1, n = 0, any = 0;
  for (int col = 1; col <= w->rel->ncols; col++) any |= state_of(w, col) != UNSET;
  if (!any) {
    fpg_buf_puts(L, w->sql, " DEFAULT VALUES");
    return;
  }
  fpg_buf_puts(L, w->sql, " (");
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (state_of(w, col) == UNSET) continue;
    fpg_buf_puts(L, w->sql, separator(&first));
    put_quoted(L, w, col);
  }
  fpg_buf_puts(L, w->sql, overriding ? ") OVERRIDING SYSTEM VALUE VALUES (" : ") VALUES (");
  first = 1;
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (state_of(w, col) == UNSET) continue;
    fpg_buf_puts(L, w->sql, separator(&first));
    put_value(L, w, col, &n, op);
  }
  fpg_buf_putc(L, w->sql, ')');
}

/* What a statement that gives the rows as stored begins and ends with.  RETURNING wants a column: where a
 * table has none its rows, which are empty, come through a WITH. */
static void put_returned(lua_State *L, fpg_buf *sql, const fpg_rel *rel) {
  if (!rel->ncols) fpg_buf_puts(L, sql, "WITH stored AS (");
}

static void put_returning(lua_State *L, fpg_buf *sql, const fpg_rel *rel) {
  fpg_buf_puts(L, sql, rel->ncols ? " RETURNING *" : " RETURNING 1) SELECT FROM stored");
}

/* rel:insert(args, record, overrides, filters, on_conflict_nothing) -> SQL, number of arguments;
 * nil and the name of a column that does not exist */
static int rel_insert(lua_State *L) {
  writer w;
  begin(L, &w);
  if (any_unknown(L, &w)) return answer_unknown(L);
  for (int col = 1; col <= w.rel->ncols; col++)
    if (column_value(L, &w, col, INSERT, 0)) take(L, &w, col);
  int nothing = lua_toboolean(L, 6);
  if (known_sql(L, &w, nothing ? 'N' : 'I')) {
    note_columns(L, &w, 0, 0);
    return answer(L, &w);
  }
  put_returned(L, w.sql, w.rel);
  fpg_buf_puts(L, w.sql, "INSERT INTO ");
  put_qualified(L, &w);
  put_columns(L, &w, INSERT, 0);
  if (nothing) fpg_buf_puts(L, w.sql, " ON CONFLICT DO NOTHING");
  put_returning(L, w.sql, w.rel);
  keep_sql(L, &w);
  note_columns(L, &w, 0, 0);
  return answer(L, &w);
}

/* `"a" = <table>."a"`: an update that changes nothing, so that the row comes back. */
static void put_touch(lua_State *L, writer *w) {
  int col = 1;
  while (col < w->rel->ncols && (w->rel->flags[col - 1] & (FPG_COL_ALWAYS | FPG_COL_GENERATED))) col++;
  put_quoted(L, w, col);
  fpg_buf_puts(L, w->sql, " = ");
  put_qualified(L, w);
  fpg_buf_putc(L, w->sql, '.');
  put_quoted(L, w, col);
}

/* ON CONFLICT ("id") DO UPDATE SET …; what is set are the columns given beside the conflict's */
static void put_on_conflict(lua_State *L, writer *w, const char *is_conflict) {
  int first = 1;
  fpg_buf_puts(L, w->sql, " ON CONFLICT (");
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (!is_conflict[col - 1]) continue;
    fpg_buf_puts(L, w->sql, separator(&first));
    put_quoted(L, w, col);
  }
  fpg_buf_puts(L, w->sql, ") DO UPDATE SET ");
  first = 1;
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (state_of(w, col) == UNSET || is_conflict[col - 1]) continue;
    fpg_buf_puts(L, w->sql, separator(&first));
    put_quoted(L, w, col);
    fpg_buf_puts(L, w->sql, " = EXCLUDED.");
    put_quoted(L, w, col);
  }
  if (first) put_touch(L, w);
}

/* rel:upsert(args, record, overrides, filters, conflict) -> as rel:insert; `conflict` is a list of
 * column names */
static int rel_upsert(lua_State *L) {
  writer w;
  luaL_checktype(L, 6, LUA_TTABLE);
  begin(L, &w);
  if (any_unknown(L, &w)) return answer_unknown(L);
  size_t ncols = (size_t)w.rel->ncols;
  fpg_buf *conflict = fpg_buf_new(L);
  memset(fpg_buf_grow(L, conflict, ncols + 1), 0, ncols + 1);
  lua_getfield(L, w.at.names, "index");
  int n = (int)lua_rawlen(L, 6), overriding = 0;
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 6, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    int col = (int)lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (!col) return answer_unknown(L);
    conflict->data[col - 1] = 1;
    lua_pop(L, 1);
  }
  for (int col = 1; col <= w.rel->ncols; col++) {
    if (!column_value(L, &w, col, UPSERT, conflict->data[col - 1])) continue;
    if (conflict->data[col - 1] && fpg_is_null(L, -1)) { /* no key yet: the default makes one */
      lua_pop(L, 1);
      continue;
    }
    if (conflict->data[col - 1] && (w.rel->flags[col - 1] & FPG_COL_ALWAYS)) overriding = 1;
    take(L, &w, col);
  }
  fpg_buf_put(L, w.states, conflict->data, ncols);
  note_filters(L, &w);
  int known = known_sql(L, &w, 'P');
  if (!known) {
    fpg_buf_puts(L, w.sql, "INSERT INTO ");
    put_qualified(L, &w);
    put_columns(L, &w, UPSERT, overriding);
    put_on_conflict(L, &w, conflict->data);
  }
  /* the filter's values come last among the arguments, known text or not */
  int first = 1;
  for (int col = 1; w.filters && col <= w.rel->ncols; col++) {
    if (!lookup(L, w.filters, w.at.names, col)) continue;
    if (!known) fpg_buf_puts(L, w.sql, first ? " WHERE " : " AND ");
    first = 0;
    if (known && !fpg_is_null(L, -1))
      lua_rawseti(L, w.args, ++w.count);
    else if (known)
      lua_pop(L, 1);
    else
      put_condition(L, &w, col, 1);
  }
  if (!known) {
    put_returning(L, w.sql, w.rel);
    keep_sql(L, &w);
  }
  note_columns(L, &w, 0, 1);
  return answer(L, &w);
}

/* ---- update ------------------------------------------------------------------------------- */

static int is_key(const writer *w, int col) {
  for (int i = 0; i < w->rel->npk; i++)
    if (w->rel->pk[i] == col) return 1;
  return 0;
}

/* rel:update(args, record, overrides, filters, key, keep_key) -> as rel:insert; `key` is the list of
 * the key's values, `keep_key` says that the record's own key columns are that key: not set */
static int rel_update(lua_State *L) {
  writer w;
  luaL_checktype(L, 6, LUA_TTABLE);
  int keep_key = lua_toboolean(L, 7);
  begin(L, &w);
  if (any_unknown(L, &w)) return answer_unknown(L);
  for (int col = 1; col <= w.rel->ncols; col++) {
    if (w.filters && lookup(L, w.filters, w.at.names, col)) { /* the row has that value already */
      lua_pop(L, 1);
      continue;
    }
    if (keep_key && is_key(&w, col)) continue;
    if (column_value(L, &w, col, UPDATE, 0)) take(L, &w, col);
  }
  note_filters(L, &w);
  int known = known_sql(L, &w, keep_key ? 'K' : 'U');
  int first = 1, n = 0;
  if (!known) {
    fpg_buf_puts(L, w.sql, "UPDATE ");
    put_qualified(L, &w);
    fpg_buf_puts(L, w.sql, " SET ");
    for (int col = 1; col <= w.rel->ncols; col++) {
      if (state_of(&w, col) == UNSET) continue;
      fpg_buf_puts(L, w.sql, separator(&first));
      put_quoted(L, &w, col);
      fpg_buf_puts(L, w.sql, " = ");
      put_value(L, &w, col, &n, UPDATE);
    }
    if (first) put_touch(L, &w);
    fpg_buf_puts(L, w.sql, " WHERE ");
  }
  for (int i = 0; i < w.rel->npk; i++) {
    lua_rawgeti(L, 6, i + 1);
    lua_rawseti(L, w.args, ++w.count);
    if (known) continue;
    if (i) fpg_buf_puts(L, w.sql, " AND ");
    put_quoted(L, &w, w.rel->pk[i]);
    fpg_buf_puts(L, w.sql, " = ");
    put_number(L, &w, w.count);
  }
  if (!known) {
    put_conditions(L, &w, w.filters, 0, 0);
    put_returning(L, w.sql, w.rel);
    keep_sql(L, &w);
    note_columns(L, &w, 1, 1);
    return answer(L, &w);
  }
  for (int col = 1; w.filters && col <= w.rel->ncols; col++) {
    if (!lookup(L, w.filters, w.at.names, col)) continue;
    if (fpg_is_null(L, -1))
      lua_pop(L, 1);
    else
      lua_rawseti(L, w.args, ++w.count);
  }
  note_columns(L, &w, 1, 1);
  return answer(L, &w);
}

/* ---- pieces for select and delete --------------------------------------------------------- */

/* rel:conditions(args, n, map) -> `"a" = $1 AND "b" IS NULL`, the new number of arguments;
 * nil and the name of a column that does not exist */
static int rel_conditions(lua_State *L) {
  int64_t n = 0;
  fpg_to_int64(L, 3, &n);
  luaL_checktype(L, 4, LUA_TTABLE);
  lua_pushvalue(L, 4);
  lua_replace(L, 3);
  lua_settop(L, 3);
  writer w;
  begin(L, &w);
  w.count = (int)n;
  if (unknown_key(L, &w, w.record)) return answer_unknown(L);
  put_conditions(L, &w, w.record, 0, 1);
  lua_pushlstring(L, w.sql->data ? w.sql->data : "", w.sql->len);
  return answer(L, &w);
}

/* rel:key_conditions(n) -> `"id" = $n+1 AND …` for the primary key; nil where there is none */
static int rel_key_conditions(lua_State *L) {
  fpg_rel *r = fpg_check_rel(L, 1);
  int64_t n = 0;
  fpg_to_int64(L, 2, &n);
  if (!r->npk) return 0;
  writer w;
  memset(&w, 0, sizeof w);
  w.rel = r;
  w.sql = fpg_buf_new(L);
  w.at = fpg_rel_push(L, 1);
  for (int i = 0; i < r->npk; i++) {
    if (i) fpg_buf_puts(L, w.sql, " AND ");
    put_quoted(L, &w, r->pk[i]);
    fpg_buf_puts(L, w.sql, " = ");
    put_number(L, &w, (int)n + i + 1);
  }
  lua_pushlstring(L, w.sql->data, w.sql->len);
  return 1;
}

static int add_clause(lua_State *L, fpg_buf *b, const char *before, int idx, const char *after) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  if (!s) return 0;
  fpg_buf_puts(L, b, before);
  fpg_buf_put(L, b, s, len);
  fpg_buf_puts(L, b, after);
  return 1;
}

/* rel:select(columns, where, order_by, limit, offset, lock) -> SQL; each a text or nil (`columns`
 * nil: all), limit a number */
static int rel_select(lua_State *L) {
  fpg_check_rel(L, 1);
  lua_settop(L, 7);
  fpg_buf *b = fpg_buf_new(L);
  fpg_rel_names at = fpg_rel_push(L, 1);
  if (!add_clause(L, b, "SELECT ", 2, " FROM ")) fpg_buf_puts(L, b, "SELECT * FROM ");
  lua_getfield(L, at.names, "qualified");
  add_clause(L, b, "", lua_gettop(L), "");
  add_clause(L, b, " WHERE ", 3, "");
  add_clause(L, b, " ORDER BY ", 4, "");
  int64_t limit;
  if (fpg_to_int64(L, 5, &limit)) {
    fpg_buf_puts(L, b, " LIMIT ");
    fpg_buf_putint(L, b, limit);
  }
  add_clause(L, b, " OFFSET ", 6, "");
  add_clause(L, b, " ", 7, "");
  lua_pushlstring(L, b->data, b->len);
  return 1;
}

/* rel:delete(where) -> DELETE FROM … RETURNING * */
static int rel_delete(lua_State *L) {
  const fpg_rel *rel = fpg_check_rel(L, 1);
  lua_settop(L, 2);
  fpg_buf *b = fpg_buf_new(L);
  fpg_rel_names at = fpg_rel_push(L, 1);
  put_returned(L, b, rel);
  lua_getfield(L, at.names, "qualified");
  add_clause(L, b, "DELETE FROM ", lua_gettop(L), "");
  add_clause(L, b, " WHERE ", 2, "");
  put_returning(L, b, rel);
  lua_pushlstring(L, b->data, b->len);
  return 1;
}

/* rel:assignments(args, record, filters) -> `"a" = $1, "b" = $2`, number of arguments: for an update
 * of many rows; nil and the name of a column that does not exist */
static int rel_assignments(lua_State *L) {
  writer w;
  lua_settop(L, 4);
  lua_pushnil(L);
  lua_insert(L, 4);
  begin(L, &w);
  if (any_unknown(L, &w)) return answer_unknown(L);
  int first = 1;
  for (int col = 1; col <= w.rel->ncols; col++) {
    if (w.filters && lookup(L, w.filters, w.at.names, col)) {
      lua_pop(L, 1);
      continue;
    }
    if (!column_value(L, &w, col, UPDATE, 0)) continue;
    take(L, &w, col);
    if (state_of(&w, col) == VALUE) note_column(L, &w, col);
    fpg_buf_puts(L, w.sql, separator(&first));
    put_quoted(L, &w, col);
    fpg_buf_puts(L, w.sql, " = ");
    int n = w.count - 1;
    put_value(L, &w, col, &n, UPDATE);
  }
  lua_pushlstring(L, w.sql->data ? w.sql->data : "", w.sql->len);
  return answer(L, &w);
}

static const luaL_Reg rel_methods[] = {
    {"insert", rel_insert},
    {"upsert", rel_upsert},
    {"update", rel_update},
    {"conditions", rel_conditions},
    {"key_conditions", rel_key_conditions},
    {"assignments", rel_assignments},
    {"select", rel_select},
    {"delete", rel_delete},
    {NULL, NULL},
};

void fpg_open_sql_builder(lua_State *L) {
  fpg_add_methods(L, FPG_REL_MT, rel_methods);
  lua_pushlightuserdata(L, (void *)(uintptr_t)&fpg_columns_key);
  lua_setfield(L, -2, "columns_key");
}
