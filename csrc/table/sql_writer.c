/* SPDX-License-Identifier: MIT
 *
 * sql_writer.c: see sql_writer.h.
 */
#include "sql_writer.h"

#include <stdio.h>

#include "codec.h"
#include "fragment.h"
#include "number.h"

const char fpg_raws_key = 0;

/* ---- columns and values --------------------------------------------------------------------- */

static int table_or_none(lua_State *L, int idx) {
  return lua_type(L, idx) == LUA_TTABLE ? idx : 0;
}

/* Finds the shape of a row that came from the server. */
void fpg_find_shape(lua_State *L, fpg_sql_writer *w) {
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
int fpg_unknown_key(lua_State *L, fpg_sql_writer *w, int idx) {
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

int fpg_lookup_column(lua_State *L, int table, int names, int col) {
  if (!table) return 0;
  lua_rawgeti(L, names, col);
  lua_rawget(L, table);
  if (!lua_isnil(L, -1)) return 1;
  lua_pop(L, 1);
  return 0;
}

static void set_state(fpg_sql_writer *w, int col, char state) { w->states[col - 1] = state; }

/* Whether the value at idx is SQL: a fragment, or an object that says so (a query, a column). */
static int is_sql(lua_State *L, int idx) {
  if (lua_type(L, idx) == LUA_TUSERDATA) return luaL_testudata(L, idx, FPG_SQL_MT) != NULL;
  if (lua_type(L, idx) != LUA_TTABLE || !lua_getmetatable(L, idx)) return 0;
  lua_pushliteral(L, "__fastpg_sql");
  lua_rawget(L, -2);
  int is = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return is;
}

/* Takes the value on top of the stack as the next argument (or a fragment as itself). */
void fpg_take_value(lua_State *L, fpg_sql_writer *w, int col) {
  if (is_sql(L, -1)) {
    w->has_raw = 1;
    set_state(w, col, FPG_RAW);
    lua_pop(L, 1);
    return;
  }
  lua_rawseti(L, w->args, ++w->count);
  set_state(w, col, FPG_VALUE);
}

/* Pushes the value column `col` gets, or returns 0 where it is unset. */
int fpg_column_value(lua_State *L, fpg_sql_writer *w, int col, fpg_operation op, int conflict) {
  if (fpg_lookup_column(L, w->filters, w->at.names, col)) return 1;
  if (fpg_lookup_column(L, w->overrides, w->at.names, col)) return 1;
  if (w->shape_index && !conflict &&
      (w->rel->flags[col - 1] & (FPG_COL_GENERATED | FPG_COL_ALWAYS)))
    return 0;
  if (fpg_lookup_column(L, w->record, w->at.names, col)) return 1;
  if (op == FPG_INSERT || !w->shape_index) return 0;
  if (!fpg_lookup_column(L, w->shape_index, w->at.names, col)) return 0;
  lua_pop(L, 1);
  lua_pushlightuserdata(L, NULL);
  return 1;
}

void fpg_put_column(lua_State *L, fpg_sql_writer *w, int col) {
  size_t len;
  lua_rawgeti(L, w->at.quoted, col);
  const char *s = lua_tolstring(L, -1, &len);
  fpg_buf_put(L, w->sql, s, len);
  lua_pop(L, 1);
}

void fpg_put_qualified(lua_State *L, fpg_sql_writer *w) {
  size_t len;
  lua_getfield(L, w->at.names, "qualified");
  const char *s = lua_tolstring(L, -1, &len);
  fpg_buf_put(L, w->sql, s, len);
  lua_pop(L, 1);
}

void fpg_put_number(lua_State *L, fpg_sql_writer *w, int n) {
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

/* SQL that is written where all of the statement is known: a mark, and the value (which this takes) into a
 * list that goes along with the arguments. */
static void put_mark(lua_State *L, fpg_sql_writer *w) {
  lua_rawgetp(L, w->args, &fpg_raws_key);
  if (lua_type(L, -1) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, w->args, &fpg_raws_key);
  }
  int n = (int)lua_rawlen(L, -1) + 1;
  lua_insert(L, -2);
  lua_rawseti(L, -2, n);
  lua_pop(L, 1);
  fpg_buf_puts(L, w->sql, FPG_RAW_MARK);
  fpg_buf_putint(L, w->sql, n);
  fpg_buf_putc(L, w->sql, '\1');
}

/* The SQL on top of the stack, in brackets. */
static void put_sql(lua_State *L, fpg_sql_writer *w) {
  fpg_sql *f = luaL_testudata(L, -1, FPG_SQL_MT);
  if (!f || f->carries || memchr(f->text, '?', f->len)) {
    put_mark(L, w);
    return;
  }
  int bare = is_default(f);
  if (!bare) fpg_buf_putc(L, w->sql, '(');
  fpg_buf_put(L, w->sql, f->text, f->len);
  if (!bare) fpg_buf_putc(L, w->sql, ')');
  lua_pop(L, 1);
}

/* `$n` of a value, or SQL in brackets. */
void fpg_put_value(lua_State *L, fpg_sql_writer *w, int col, int *n, fpg_operation op) {
  if (fpg_state_of(w, col) == FPG_VALUE)
    fpg_put_number(L, w, ++*n);
  else if (fpg_column_value(L, w, col, op, 1))
    put_sql(L, w);
}

const char *fpg_separator(int *first) {
  const char *s = *first ? "" : ", ";
  *first = 0;
  return s;
}

/* ---- conditions --------------------------------------------------------------------------- */

/* Whether the value on top of the stack is a list of alternatives rather than a value itself.  For
 * json a list that says what it is (fastpg.array_mt) is a document, so is a table with keys. */
static int is_list(lua_State *L, const fpg_sql_writer *w, int col) {
  if (lua_type(L, -1) != LUA_TTABLE || (w->rel->flags[col - 1] & FPG_COL_ARRAY)) return 0;
  if (!(w->rel->flags[col - 1] & FPG_COL_JSON)) return 1;
  if (lua_rawlen(L, -1) == 0) return 0;
  int document = lua_getmetatable(L, -1);
  if (document) lua_pop(L, 1);
  return !document;
}

/* Of a text that is not kept: adds the column of the argument that was added to those the list knows. */
void fpg_note_column(lua_State *L, fpg_sql_writer *w, int col) {
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
void fpg_put_condition(lua_State *L, fpg_sql_writer *w, int col, int qualify) {
  if (qualify) {
    fpg_put_qualified(L, w);
    fpg_buf_putc(L, w->sql, '.');
  }
  fpg_put_column(L, w, col);
  if (fpg_is_null(L, -1)) {
    fpg_buf_puts(L, w->sql, " IS NULL");
    lua_pop(L, 1);
  } else if (is_sql(L, -1)) {
    fpg_buf_puts(L, w->sql, " = ");
    put_sql(L, w);
  } else {
    int list = is_list(L, w, col);
    lua_rawseti(L, w->args, ++w->count);
    fpg_note_column(L, w, col);
    fpg_buf_puts(L, w->sql, list ? " = ANY(" : " = ");
    fpg_put_number(L, w, w->count);
    if (list) fpg_buf_putc(L, w->sql, ')');
  }
}

/* Appends the conditions of a map in column order, joined by AND. */
void fpg_put_conditions(lua_State *L, fpg_sql_writer *w, int map, int qualify, int first) {
  for (int col = 1; map && col <= w->rel->ncols; col++) {
    if (!fpg_lookup_column(L, map, w->at.names, col)) continue;
    if (!first) fpg_buf_puts(L, w->sql, " AND ");
    first = 0;
    fpg_put_condition(L, w, col, qualify);
  }
}

void fpg_note_conditions(lua_State *L, fpg_sql_writer *w, int map) {
  char first[16];
  fpg_note_state(L, w, first, (size_t)snprintf(first, sizeof first, "%d", w->count));
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (!fpg_lookup_column(L, map, w->at.names, col)) continue;
    if (is_sql(L, -1)) {
      w->has_raw = 1;
      set_state(w, col, FPG_RAW);
    } else {
      set_state(w, col, fpg_is_null(L, -1) ? FPG_NULL : is_list(L, w, col) ? FPG_LIST : FPG_VALUE);
    }
    lua_pop(L, 1);
  }
}

void fpg_take_conditions(lua_State *L, fpg_sql_writer *w, int map) {
  for (int col = 1; col <= w->rel->ncols; col++) {
    char state = fpg_state_of(w, col);
    if ((state != FPG_VALUE && state != FPG_LIST) || !fpg_lookup_column(L, map, w->at.names, col)) continue;
    lua_rawseti(L, w->args, ++w->count);
    fpg_note_column(L, w, col);
  }
}

/* ---- beginning and answering --------------------------------------------------------------- */

void fpg_begin_sql(lua_State *L, fpg_sql_writer *w) {
  memset(w, 0, sizeof *w);
  w->rel = fpg_check_rel(L, 1);
  if (lua_isnil(L, 2)) { /* of a good size for the values, and for the columns that it knows (fpg_columns_key) */
    lua_createtable(L, w->rel->ncols < 8 ? w->rel->ncols : 8, 1);
    lua_replace(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  w->args = 2;
  w->record = table_or_none(L, 3);
  w->overrides = table_or_none(L, 4);
  w->filters = table_or_none(L, 5);
  lua_settop(L, 8);
  fpg_getuservalue(L, 1);
  w->at.names = lua_gettop(L);
  w->states = w->few;
  w->room = sizeof w->few;
  size_t n = (size_t)w->rel->ncols + 1; /* and one for the statement's letter */
  if (n > w->room) w->states = fpg_newuserdata(L, w->room = 2 * n);
  memset(w->states, FPG_UNSET, n);
  w->nstates = n;
  fpg_find_shape(L, w);
}

void fpg_note_state(lua_State *L, fpg_sql_writer *w, const char *bytes, size_t n) {
  if (n > w->room - w->nstates) {
    size_t room = 2 * (w->nstates + n);
    char *states = fpg_newuserdata(L, room); /* stays on the stack */
    memcpy(states, w->states, w->nstates);
    w->states = states;
    w->room = room;
  }
  memcpy(w->states + w->nstates, bytes, n);
  w->nstates += n;
}

void fpg_begin_text(lua_State *L, fpg_sql_writer *w) {
  w->sql = fpg_buf_new(L);
  lua_getfield(L, w->at.names, "quoted");
  w->at.quoted = lua_gettop(L);
}

int fpg_answer_sql(lua_State *L, fpg_sql_writer *w) {
  if (w->sql) fpg_buf_free(L, w->sql);
  lua_pushinteger(L, w->count);
  lua_pushvalue(L, w->args);
  return 3;
}

int fpg_any_unknown(lua_State *L, fpg_sql_writer *w) {
  return fpg_unknown_key(L, w, w->record) || fpg_unknown_key(L, w, w->overrides) ||
         fpg_unknown_key(L, w, w->filters);
}

int fpg_answer_unknown(lua_State *L) { /* the key is on top */
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}
