/* SPDX-License-Identifier: MIT
 *
 * sql_texts.c: see sql_texts.h.
 */
#include "sql_texts.h"

#include "buffer.h"
#include "codec.h"
#include "number.h"

/* Which columns the filters hold, and whether as NULL: part of the signature. */
void fpg_note_filters(lua_State *L, fpg_sql_writer *w) {
  for (int col = 1; w->filters && col <= w->rel->ncols; col++) {
    if (!fpg_lookup_column(L, w->filters, w->at.names, col)) continue;
    fpg_buf_putint(L, w->states, col);
    fpg_buf_putc(L, w->states, fpg_is_null(L, -1) ? 'n' : 'f');
    lua_pop(L, 1);
  }
}

/* Pushes the SQL kept under the signature and returns 1, or pushes nothing. */
int fpg_known_sql(lua_State *L, fpg_sql_writer *w, char op) {
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
void fpg_keep_sql(lua_State *L, fpg_sql_writer *w) {
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

/* Adds the column's name to the list on top of the stack. */
static void add_name(lua_State *L, const fpg_sql_writer *w, int col, int *n) {
  lua_rawgeti(L, w->at.names, col);
  lua_rawseti(L, -2, ++*n);
}

/* Pushes the list of the columns of the arguments: the values in the table's order, then those of the key and of
 * the filters. */
static void push_columns(lua_State *L, fpg_sql_writer *w, int keyed, int filtered) {
  int n = 0;
  lua_createtable(L, w->count, 0);
  for (int col = 1; col <= w->rel->ncols; col++)
    if (fpg_state_of(w, col) == FPG_VALUE) add_name(L, w, col, &n);
  for (int i = 0; keyed && i < w->rel->npk; i++) add_name(L, w, w->rel->pk[i], &n);
  for (int col = 1; filtered && w->filters && col <= w->rel->ncols; col++) {
    if (!fpg_lookup_column(L, w->filters, w->at.names, col)) continue;
    int null = fpg_is_null(L, -1);
    lua_pop(L, 1);
    if (!null) add_name(L, w, col, &n);
  }
}

/* Pushes the lists that are kept: of MOST_SHAPES texts at most. */
static void push_kept(lua_State *L, fpg_sql_writer *w) {
  lua_getfield(L, w->at.names, "columns_of");
  if (lua_type(L, -1) == LUA_TTABLE && w->rel->texts < MOST_SHAPES) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, w->at.names, "columns_of");
  w->rel->texts = 0;
}

void fpg_note_columns(lua_State *L, fpg_sql_writer *w, int keyed, int filtered) {
  int text = lua_gettop(L);
  push_kept(L, w);
  lua_pushvalue(L, text);
  lua_rawget(L, text + 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    push_columns(L, w, keyed, filtered);
    w->rel->texts++;
    lua_pushvalue(L, text);
    lua_pushvalue(L, -2);
    lua_rawset(L, text + 1);
  }
  lua_rawsetp(L, w->args, &fpg_columns_key);
  lua_settop(L, text);
}
