/* SPDX-License-Identifier: MIT
 *
 * heavy.c: the long values of a result are read in slices, before its rows are (codec_slice.h):
 *
 *   conn:heavy(stmt, most)   takes the finished result out where there are such values
 *   conn:heavy_more(heavy, stmt)   again and again, others having a turn in between, until it says true
 *   conn:heavy_ready(heavy)  the result is the finished one again, and whoever reads its rows finds the values
 *   conn:heavy_over()        the values are forgotten: before the result is freed, and with it the places they are kept by
 *
 * While they are read the result belongs to `heavy`: the connection may be closed in between.
 */
#include <limits.h>

#include "clock.h"
#include "codec_slice.h"
#include "conn.h"
#include "job.h"
#include "params.h"
#include "raise.h"

#define HEAVY_MT "fastpg.heavy"
#define SLICE 0.0005 /* seconds */

enum {
  LOOK = 4096, /* cells are looked through at once */
  READER = 1,  /* in the user value: what reads the value under way */
  READY        /* and those that are read */
};

typedef struct {
  fpg_rows rows; /* those that no row is looked at of */
  fpg_row row;   /* the one that is, its fields from `col` on */
  int col, most;
  const char *value; /* the long value that was found, not read to its end yet; NULL: none */
  int len;
  int reading, may_block;
} heavy;

static int has_sliced(const fpg_stmt *st) {
  for (int i = 0; i < st->ncols; i++)
    if (fpg_is_sliced(st->cols[i].type, st->format)) return 1;
  return 0;
}

/* Goes to the next long value, looking at that many cells: 1 when there is one, 0 at the end, -1 when it is not known yet. */
static int find(heavy *h, const fpg_stmt *st, int cells) {
  if (h->value) return 1;
  for (;;) {
    if (h->col == st->ncols) {
      if (h->rows.next == h->most) return 0;
      h->row = fpg_next_row(&h->rows);
      h->col = 0;
    }
    for (; h->col < st->ncols; h->col++) {
      int len;
      if (cells-- == 0) return -1;
      const char *p = fpg_next_field(&h->row, &len);
      if (len < FPG_LONG_VALUE || !fpg_is_sliced(st->cols[h->col].type, st->format)) continue;
      h->value = p;
      h->len = len;
      return 1;
    }
  }
}

/* conn:heavy(stmt, most or nil) -> nothing where no long value is in the first `most` rows; else what reads them */
static int conn_heavy(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  size_t bytes = !c->res ? 0 : c->taken ? c->taken->bytes : PQresultMemorySize(c->res);
  if (c->has_ready || bytes < FPG_LONG_VALUE || PQnfields(c->res) != st->ncols || !has_sliced(st)) return 0;
  int most = lua_isnoneornil(L, 3) ? INT_MAX : (int)lua_tointeger(L, 3);
  heavy first = {.rows = fpg_rows_of(c->res, c->taken), .col = st->ncols, .may_block = c->may_block};
  first.most = first.rows.nrows < most ? first.rows.nrows : most;
  if (find(&first, st, LOOK) == 0) return 0;
  heavy *h = fpg_newuserdata(L, sizeof *h);
  *h = first;
  h->rows.res = NULL;
  luaL_setmetatable(L, HEAVY_MT);
  lua_createtable(L, READY, 0);
  lua_newtable(L);
  lua_rawseti(L, -2, READY);
  fpg_setuservalue(L, -2);
  h->rows.res = c->res;
  c->res = NULL;
  c->taken = NULL;
  return 1;
}

static heavy *check_heavy(lua_State *L, int idx) {
  heavy *h = luaL_checkudata(L, idx, HEAVY_MT);
  if (!h->rows.res) fpg_raise(L, "connection_busy", "there is no result to fetch");
  return h;
}

/* Reads on in the value under way; the user value is on top. */
static void read_value(lua_State *L, const fpg_conn *c, const fpg_stmt *st, heavy *h, double ends) {
  int kept = lua_gettop(L);
  const fpg_type *type = st->cols[h->col].type;
  const char *p = h->value;
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, st->types, &zone);
  if (h->reading)
    lua_rawgeti(L, kept, READER);
  else
    fpg_slice_begin(L, type, st->format, p, (size_t)h->len);
  int over = fpg_slice_more(L, &cx, type, kept + 1, ends);
  if (over) {
    lua_rawgeti(L, kept, READY);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, p);
    h->value = NULL;
    h->col++;
  } else if (!h->reading) {
    lua_rawseti(L, kept, READER);
  }
  h->reading = !over;
  lua_settop(L, kept);
}

/* conn:heavy_more(heavy, stmt[, seconds]) -> whether all are read */
static int conn_heavy_more(lua_State *L) {
  const fpg_conn *c = fpg_check_conn(L, 1);
  heavy *h = check_heavy(L, 2);
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 3);
  double ends = fpg_clock() + (lua_isnoneornil(L, 4) ? SLICE : (double)luaL_checknumber(L, 4));
  int found;
  fpg_getuservalue(L, 2);
  while ((found = find(h, st, LOOK)) != 0) {
    if (found > 0) read_value(L, c, st, h, ends);
    if (fpg_clock() >= ends) break;
  }
  lua_pushboolean(L, found == 0);
  return 1;
}

/* conn:heavy_ready(heavy) */
static int conn_heavy_ready(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  heavy *h = check_heavy(L, 2);
  fpg_getuservalue(L, 2);
  lua_rawgeti(L, -1, READY);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &c->has_ready);
  c->has_ready = 1;
  fpg_forget_result(c);
  c->res = h->rows.res;
  c->taken = h->rows.taken;
  h->rows.res = NULL;
  return 0;
}

/* conn:heavy_over(), which may be closed by now */
static int conn_heavy_over(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  c->has_ready = 0;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &c->has_ready);
  return 0;
}

static int heavy_gc(lua_State *L) {
  heavy *h = lua_touserdata(L, 1);
  if (h->rows.res) fpg_clear_rows(h->rows.res, h->rows.taken, h->may_block);
  h->rows.res = NULL;
  return 0;
}

static const luaL_Reg methods[] = {
    {"heavy", conn_heavy},
    {"heavy_more", conn_heavy_more},
    {"heavy_ready", conn_heavy_ready},
    {"heavy_over", conn_heavy_over},
    {NULL, NULL},
};

void fpg_open_heavy(lua_State *L) {
  luaL_newmetatable(L, HEAVY_MT);
  lua_pushcfunction(L, heavy_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  fpg_add_conn_methods(L, methods);
}
