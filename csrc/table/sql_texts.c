/* SPDX-License-Identifier: MIT
 *
 * sql_texts.c: see sql_texts.h.
 */
#include "sql_texts.h"

#include <stdio.h>

#include "buffer.h"
#include "codec.h"
#include "number.h"

/* Which columns the filters hold, and whether as NULL: part of the signature. */
void fpg_note_filters(lua_State *L, fpg_sql_writer *w) {
  for (int col = 1; w->filters && col <= w->rel->ncols; col++) {
    if (!fpg_lookup_column(L, w->filters, w->at.names, col)) continue;
    char note[16];
    int n = snprintf(note, sizeof note, "%d%c", col, fpg_is_null(L, -1) ? 'n' : 'f');
    lua_pop(L, 1);
    fpg_note_state(L, w, note, (size_t)n);
  }
}

/* What is kept under a signature: { SQL, columns of the arguments or nil }. */
int fpg_known_sql(lua_State *L, fpg_sql_writer *w, char op) {
  if (w->has_raw) return 0;
  w->states[w->rel->ncols] = op;
  lua_getfield(L, w->at.names, "sql");
  lua_pushlstring(L, w->states, w->nstates);
  lua_rawget(L, -2);
  lua_replace(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return 0;
  }
  lua_rawgeti(L, -1, 2);
  if (lua_isnil(L, -1))
    lua_pop(L, 1);
  else
    lua_rawsetp(L, w->args, &fpg_columns_key);
  lua_rawgeti(L, -1, 1);
  lua_replace(L, -2);
  return 1;
}

/* What callers put into records decides how many signatures there are: at this many all are forgotten. */
#define MOST_TEXTS 500

/* Keeps the text and the columns that are on top of the stack. */
static void keep(lua_State *L, fpg_sql_writer *w) {
  if (w->has_raw) return;
  int text = lua_gettop(L) - 1;
  if (w->rel->ntexts++ >= MOST_TEXTS) {
    w->rel->ntexts = 1;
    lua_newtable(L);
    lua_setfield(L, w->at.names, "sql");
  }
  lua_getfield(L, w->at.names, "sql");
  lua_pushlstring(L, w->states, w->nstates);
  lua_createtable(L, 2, 0);
  for (int i = 0; i < 2; i++) {
    lua_pushvalue(L, text + i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

void fpg_keep_part(lua_State *L, fpg_sql_writer *w) {
  lua_pushlstring(L, w->sql->data ? w->sql->data : "", w->sql->len);
  lua_pushnil(L);
  keep(L, w);
  lua_pop(L, 1);
}

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

void fpg_keep_sql(lua_State *L, fpg_sql_writer *w, int keyed, int filtered) {
  lua_pushlstring(L, w->sql->data, w->sql->len);
  push_columns(L, w, keyed, filtered);
  keep(L, w);
  lua_rawsetp(L, w->args, &fpg_columns_key);
}
