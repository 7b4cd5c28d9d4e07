/* SPDX-License-Identifier: MIT
 *
 * sql_builder.c: the SQL of select, insert, update, upsert and delete from a relation and Lua values.  What they are
 * made of is in sql_writer.h, which texts are kept in sql_texts.h.
 *
 * PostgreSQL manual: INSERT, UPDATE, DELETE, SELECT.
 */
#include "buffer.h"
#include "codec.h"
#include "number.h"
#include "relation.h"
#include "sql_texts.h"
#include "sql_writer.h"
#include "surface.h"

/* ---- insert and upsert -------------------------------------------------------------------- */

static void put_columns(lua_State *L, fpg_sql_writer *w, fpg_operation op, int overriding) {
  int first = 1, n = 0, any = 0;
  for (int col = 1; col <= w->rel->ncols; col++) any |= fpg_state_of(w, col) != FPG_UNSET;
  if (!any) {
    fpg_buf_puts(L, w->sql, " DEFAULT VALUES");
    return;
  }
  fpg_buf_puts(L, w->sql, " (");
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (fpg_state_of(w, col) == FPG_UNSET) continue;
    fpg_buf_puts(L, w->sql, fpg_separator(&first));
    fpg_put_column(L, w, col);
  }
  fpg_buf_puts(L, w->sql, overriding ? ") OVERRIDING SYSTEM VALUE VALUES (" : ") VALUES (");
  first = 1;
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (fpg_state_of(w, col) == FPG_UNSET) continue;
    fpg_buf_puts(L, w->sql, fpg_separator(&first));
    fpg_put_value(L, w, col, &n, op);
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
  fpg_sql_writer w;
  fpg_begin_sql(L, &w);
  if (fpg_any_unknown(L, &w)) return fpg_answer_unknown(L);
  for (int col = 1; col <= w.rel->ncols; col++)
    if (fpg_column_value(L, &w, col, FPG_INSERT, 0)) fpg_take_value(L, &w, col);
  int nothing = lua_toboolean(L, 6);
  if (fpg_known_sql(L, &w, nothing ? 'N' : 'I')) return fpg_answer_sql(L, &w);
  fpg_begin_text(L, &w);
  put_returned(L, w.sql, w.rel);
  fpg_buf_puts(L, w.sql, "INSERT INTO ");
  fpg_put_qualified(L, &w);
  put_columns(L, &w, FPG_INSERT, 0);
  if (nothing) fpg_buf_puts(L, w.sql, " ON CONFLICT DO NOTHING");
  put_returning(L, w.sql, w.rel);
  fpg_keep_sql(L, &w, 0, 0);
  return fpg_answer_sql(L, &w);
}

/* `"a" = <table>."a"`: an update that changes nothing, so that the row comes back. */
static void put_touch(lua_State *L, fpg_sql_writer *w) {
  int col = 1;
  while (col < w->rel->ncols && (w->rel->flags[col - 1] & (FPG_COL_ALWAYS | FPG_COL_GENERATED))) col++;
  fpg_put_column(L, w, col);
  fpg_buf_puts(L, w->sql, " = ");
  fpg_put_qualified(L, w);
  fpg_buf_putc(L, w->sql, '.');
  fpg_put_column(L, w, col);
}

/* ON CONFLICT ("id") DO UPDATE SET; what is set comes behind. */
static void put_on_conflict(lua_State *L, fpg_sql_writer *w, const char *is_conflict) {
  int first = 1;
  fpg_buf_puts(L, w->sql, " ON CONFLICT (");
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (!is_conflict[col - 1]) continue;
    fpg_buf_puts(L, w->sql, fpg_separator(&first));
    fpg_put_column(L, w, col);
  }
  fpg_buf_puts(L, w->sql, ") DO UPDATE SET ");
}

/* "a" = EXCLUDED."a", … for the columns given beside the conflict's */
static void put_excluded(lua_State *L, fpg_sql_writer *w, const char *is_conflict) {
  int first = 1;
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (fpg_state_of(w, col) == FPG_UNSET || is_conflict[col - 1]) continue;
    fpg_buf_puts(L, w->sql, fpg_separator(&first));
    fpg_put_column(L, w, col);
    fpg_buf_puts(L, w->sql, " = EXCLUDED.");
    fpg_put_column(L, w, col);
  }
  if (first) put_touch(L, w);
}

/* Pushes a buffer with one byte per column, which says whether it is one of the list at 6.  0: the name on top is no
 * column's. */
static const char *push_conflict(lua_State *L, const fpg_sql_writer *w) {
  size_t ncols = (size_t)w->rel->ncols;
  fpg_buf *conflict = fpg_buf_new(L);
  memset(fpg_buf_grow(L, conflict, ncols + 1), 0, ncols + 1);
  lua_getfield(L, w->at.names, "index");
  int n = (int)lua_rawlen(L, 6);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 6, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    int col = (int)lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (!col) return NULL;
    conflict->data[col - 1] = 1;
    lua_pop(L, 1);
  }
  return conflict->data;
}

/* Takes the values of an upsert; whether one is for a column that is GENERATED ALWAYS AS IDENTITY. */
static int take_upserted(lua_State *L, fpg_sql_writer *w, const char *is_conflict) {
  int overriding = 0;
  for (int col = 1; col <= w->rel->ncols; col++) {
    int conflict = is_conflict[col - 1];
    if (!fpg_column_value(L, w, col, FPG_UPSERT, conflict)) continue;
    if (conflict && fpg_is_null(L, -1)) { /* no key yet: the default makes one */
      lua_pop(L, 1);
      continue;
    }
    if (conflict && (w->rel->flags[col - 1] & FPG_COL_ALWAYS)) overriding = 1;
    fpg_take_value(L, w, col);
  }
  return overriding;
}

/* The values of the filters come last among the arguments, for a text that is known. */
static void take_filters(lua_State *L, fpg_sql_writer *w) {
  for (int col = 1; w->filters && col <= w->rel->ncols; col++) {
    if (!fpg_lookup_column(L, w->filters, w->at.names, col)) continue;
    if (fpg_is_null(L, -1))
      lua_pop(L, 1);
    else
      lua_rawseti(L, w->args, ++w->count);
  }
}

static int has_any(lua_State *L, fpg_sql_writer *w, int map) {
  for (int col = 1; map && col <= w->rel->ncols; col++) {
    if (!fpg_lookup_column(L, map, w->at.names, col)) continue;
    lua_pop(L, 1);
    return 1;
  }
  return 0;
}

/* rel:upsert(args, record, overrides, filters, conflict, upto) -> as rel:insert; `conflict` is a list of
 * column names.  `upto`: "set" ends the text behind DO UPDATE SET, "where" before the filters, for a caller
 * that says what stands there. */
static int rel_upsert(lua_State *L) {
  static const char *const ends[] = {"set", "where", "", NULL};
  fpg_sql_writer w;
  luaL_checktype(L, 6, LUA_TTABLE);
  int end = luaL_checkoption(L, 7, "", ends);
  fpg_begin_sql(L, &w);
  if (fpg_any_unknown(L, &w)) return fpg_answer_unknown(L);
  const char *is_conflict = push_conflict(L, &w);
  if (!is_conflict) return fpg_answer_unknown(L);
  int overriding = take_upserted(L, &w, is_conflict);
  fpg_note_state(L, &w, is_conflict, (size_t)w.rel->ncols);
  fpg_note_filters(L, &w);
  int has_set = *ends[end] != 's', is_whole = !*ends[end];
  if (fpg_known_sql(L, &w, is_whole ? 'P' : has_set ? 'W' : 'S')) {
    if (is_whole) take_filters(L, &w);
    return fpg_answer_sql(L, &w);
  }
  fpg_begin_text(L, &w);
  fpg_buf_puts(L, w.sql, "INSERT INTO ");
  fpg_put_qualified(L, &w);
  put_columns(L, &w, FPG_UPSERT, overriding);
  put_on_conflict(L, &w, is_conflict);
  if (has_set) put_excluded(L, &w, is_conflict);
  if (is_whole) {
    if (has_any(L, &w, w.filters)) fpg_buf_puts(L, w.sql, " WHERE ");
    fpg_put_conditions(L, &w, w.filters, 1, 1);
    put_returning(L, w.sql, w.rel);
  }
  fpg_keep_sql(L, &w, 0, is_whole);
  return fpg_answer_sql(L, &w);
}

/* ---- update ------------------------------------------------------------------------------- */

static int is_key(const fpg_sql_writer *w, int col) {
  for (int i = 0; i < w->rel->npk; i++)
    if (w->rel->pk[i] == col) return 1;
  return 0;
}

/* Whether the filters have the column: the row has that value already. */
static int is_filtered(lua_State *L, const fpg_sql_writer *w, int col) {
  if (!w->filters || !fpg_lookup_column(L, w->filters, w->at.names, col)) return 0;
  lua_pop(L, 1);
  return 1;
}

/* UPDATE "schema"."table" SET "a" = $1, … */
static void put_update(lua_State *L, fpg_sql_writer *w) {
  int first = 1, n = 0;
  fpg_buf_puts(L, w->sql, "UPDATE ");
  fpg_put_qualified(L, w);
  fpg_buf_puts(L, w->sql, " SET ");
  for (int col = 1; col <= w->rel->ncols; col++) {
    if (fpg_state_of(w, col) == FPG_UNSET) continue;
    fpg_buf_puts(L, w->sql, fpg_separator(&first));
    fpg_put_column(L, w, col);
    fpg_buf_puts(L, w->sql, " = ");
    fpg_put_value(L, w, col, &n, FPG_UPDATE);
  }
  if (first) put_touch(L, w);
}

/* Whether the record has a value for each column of the key. */
static int has_key(lua_State *L, const fpg_sql_writer *w) {
  for (int i = 0; i < w->rel->npk; i++) {
    if (!fpg_lookup_column(L, w->record, w->at.names, w->rel->pk[i])) return 0;
    int null = fpg_is_null(L, -1);
    lua_pop(L, 1);
    if (null) return 0;
  }
  return w->rel->npk > 0;
}

/* Takes the key's values, from the list at 6 or from the record; writes its conditions unless the text is known. */
static void take_key(lua_State *L, fpg_sql_writer *w, int known) {
  int list = !lua_isnil(L, 6);
  if (!known) fpg_buf_puts(L, w->sql, " WHERE ");
  for (int i = 0; i < w->rel->npk; i++) {
    if (list)
      lua_rawgeti(L, 6, i + 1);
    else
      fpg_lookup_column(L, w->record, w->at.names, w->rel->pk[i]);
    lua_rawseti(L, w->args, ++w->count);
    if (known) continue;
    if (i) fpg_buf_puts(L, w->sql, " AND ");
    fpg_put_column(L, w, w->rel->pk[i]);
    fpg_buf_puts(L, w->sql, " = ");
    fpg_put_number(L, w, w->count);
  }
}

/* rel:update(args, record, overrides, filters, key, keep_key) -> as rel:insert; `key` is the list of
 * the key's values, `keep_key` says that the record's own key columns are that key: not set.  Without a list they are
 * taken from the record; false where it has none. */
static int rel_update(lua_State *L) {
  fpg_sql_writer w;
  lua_settop(L, 7);
  if (!lua_isnil(L, 6)) luaL_checktype(L, 6, LUA_TTABLE);
  int keep_key = lua_toboolean(L, 7);
  fpg_begin_sql(L, &w);
  if (fpg_any_unknown(L, &w)) return fpg_answer_unknown(L);
  if (lua_isnil(L, 6) && !has_key(L, &w)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  for (int col = 1; col <= w.rel->ncols; col++) {
    if (is_filtered(L, &w, col) || (keep_key && is_key(&w, col))) continue;
    if (fpg_column_value(L, &w, col, FPG_UPDATE, 0)) fpg_take_value(L, &w, col);
  }
  fpg_note_filters(L, &w);
  int known = fpg_known_sql(L, &w, keep_key ? 'K' : 'U');
  if (!known) {
    fpg_begin_text(L, &w);
    put_update(L, &w);
  }
  take_key(L, &w, known);
  if (known) {
    take_filters(L, &w);
  } else {
    fpg_put_conditions(L, &w, w.filters, 0, 0);
    put_returning(L, w.sql, w.rel);
    fpg_keep_sql(L, &w, 1, 1);
  }
  return fpg_answer_sql(L, &w);
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
  fpg_sql_writer w;
  fpg_begin_sql(L, &w);
  w.count = (int)n;
  if (fpg_unknown_key(L, &w, w.record)) return fpg_answer_unknown(L);
  fpg_note_conditions(L, &w, w.record);
  if (fpg_known_sql(L, &w, 'C')) {
    fpg_take_conditions(L, &w, w.record);
    return fpg_answer_sql(L, &w);
  }
  fpg_begin_text(L, &w);
  fpg_put_conditions(L, &w, w.record, 0, 1);
  fpg_keep_part(L, &w);
  return fpg_answer_sql(L, &w);
}

/* rel:key_conditions(n) -> `"id" = $n+1 AND …` for the primary key; nil where there is none */
static int rel_key_conditions(lua_State *L) {
  fpg_rel *r = fpg_check_rel(L, 1);
  int64_t n = 0;
  fpg_to_int64(L, 2, &n);
  if (!r->npk) return 0;
  fpg_sql_writer w;
  memset(&w, 0, sizeof w);
  w.rel = r;
  w.sql = fpg_buf_new(L);
  w.at = fpg_rel_push(L, 1);
  for (int i = 0; i < r->npk; i++) {
    if (i) fpg_buf_puts(L, w.sql, " AND ");
    fpg_put_column(L, &w, r->pk[i]);
    fpg_buf_puts(L, w.sql, " = ");
    fpg_put_number(L, &w, (int)n + i + 1);
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
 * nil: all), limit a number, or the text of a parameter */
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
  if (lua_type(L, 5) == LUA_TSTRING) {
    add_clause(L, b, " LIMIT ", 5, "");
  } else if (fpg_to_int64(L, 5, &limit)) {
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

/* rel:assignments(args, record, filters, n) -> `"a" = $n+1, "b" = $n+2`, the new number of arguments: for an
 * update of many rows; nil and the name of a column that does not exist */
static int rel_assignments(lua_State *L) {
  fpg_sql_writer w;
  int64_t n = 0;
  fpg_to_int64(L, 5, &n);
  lua_settop(L, 4);
  lua_pushnil(L);
  lua_insert(L, 4);
  fpg_begin_sql(L, &w);
  w.count = (int)n;
  if (fpg_any_unknown(L, &w)) return fpg_answer_unknown(L);
  fpg_begin_text(L, &w);
  int first = 1;
  for (int col = 1; col <= w.rel->ncols; col++) {
    if (is_filtered(L, &w, col)) continue;
    if (!fpg_column_value(L, &w, col, FPG_UPDATE, 0)) continue;
    fpg_take_value(L, &w, col);
    if (fpg_state_of(&w, col) == FPG_VALUE) fpg_note_column(L, &w, col);
    fpg_buf_puts(L, w.sql, fpg_separator(&first));
    fpg_put_column(L, &w, col);
    fpg_buf_puts(L, w.sql, " = ");
    int number = w.count - 1;
    fpg_put_value(L, &w, col, &number, FPG_UPDATE);
  }
  lua_pushlstring(L, w.sql->data ? w.sql->data : "", w.sql->len);
  return fpg_answer_sql(L, &w);
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
  lua_pushlightuserdata(L, (void *)(uintptr_t)&fpg_raws_key);
  lua_setfield(L, -2, "raws_key");
}
