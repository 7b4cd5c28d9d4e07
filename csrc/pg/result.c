/* SPDX-License-Identifier: MIT
 *
 * result.c: from a libpq result to Lua rows.
 *
 * A row is a plain table with the column names as keys.  The names are Lua strings already (the
 * statement's shape holds them); they are put on the stack once for all rows, so that a cell costs
 * one push, one decode and one rawset.
 *
 * Decoding may run Lua code (a codec of the user's, a finalizer), and that code another statement on
 * this connection.  So the result is taken out of the connection first: a holder on the stack owns it
 * until it is decoded, or until the holder is collected after an error.
 */
#include "result.h"

#include <limits.h>
#include <stdlib.h>

#include "error.h"
#include "job.h"
#include "json_mark.h"
#include "number.h"
#include "params.h"
#include "raise.h"
#include "step.h"
#include "surface.h"

#define HOLDER_MT "fastpg.result"

void fpg_holder_release(fpg_holder *h) {
  fpg_clear_rows(h->rows.res, h->rows.taken, h->may_block);
  h->rows = fpg_rows_of(NULL, NULL);
}

static int holder_gc(lua_State *L) {
  fpg_holder_release(lua_touserdata(L, 1));
  return 0;
}

fpg_holder *fpg_check_holder(lua_State *L, int idx) {
  fpg_holder *h = luaL_checkudata(L, idx, HOLDER_MT);
  if (!h->rows.res) fpg_raise(L, "connection_busy", "there is no result to fetch");
  return h;
}

static fpg_holder *new_holder(lua_State *L) {
  fpg_holder *h = fpg_newuserdata(L, sizeof *h);
  h->rows = fpg_rows_of(NULL, NULL);
  h->may_block = 0;
  luaL_setmetatable(L, HOLDER_MT);
  return h;
}

void fpg_put_result(lua_State *L, fpg_conn *c, int idx) {
  fpg_holder *h = fpg_check_holder(L, idx);
  fpg_rows rows = h->rows;
  h->rows = fpg_rows_of(NULL, NULL);
  fpg_forget_result(c);
  c->res = rows.res;
  c->taken = rows.taken;
}

/* The finished result is the holder's from here on. */
static void hand_over(fpg_holder *h, fpg_conn *c) {
  h->rows = fpg_rows_of(c->res, c->taken);
  h->may_block = c->may_block;
  c->res = NULL;
  c->taken = NULL;
}

void fpg_hold_result(lua_State *L, fpg_conn *c) {
  hand_over(new_holder(L), c);
}

/* Pushes an empty holder: the connection's own, or a new one when that is in use. */
static fpg_holder *push_holder(lua_State *L, fpg_conn *c) {
  fpg_getuservalue(L, 1);
  if (c->holder && !c->holder->rows.res) {
    lua_rawgeti(L, -1, 3);
  } else {
    fpg_holder *h = new_holder(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, 3);
    c->holder = h;
  }
  lua_remove(L, -2);
  return c->holder;
}

/* Pushes the holder of the finished result, or raises what went wrong. */
static fpg_holder *take_result(lua_State *L, fpg_conn *c) {
  if (!c->res) fpg_raise(L, "connection_busy", "there is no result to fetch");
  switch (PQresultStatus(c->res)) {
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY: break;
    case PGRES_PIPELINE_ABORTED:
      fpg_raise(L, "pipeline_aborted", "an earlier statement of the pipeline failed");
      break;
    default: fpg_push_result_error(L, c->pg, c->res); lua_error(L);
  }
  fpg_holder *h = push_holder(L, c);
  hand_over(h, c);
  return h;
}

static void check_shape(lua_State *L, const fpg_stmt *st, const PGresult *res) {
  if (PQnfields(res) != st->ncols)
    fpg_raise(L, "protocol_violation", "the statement was described with %d columns, the result has %d",
              st->ncols, PQnfields(res));
}

/* Pushes the value of the row's next field, which is that of column i; pushes nothing and gives 0 when it is NULL. */
static inline int push_field(lua_State *L, const fpg_ctx *cx, const fpg_stmt *st, fpg_row *row, int i) {
  int len;
  const char *p = fpg_next_field(row, &len);
  if (!p) return 0;
  const fpg_column *c = &st->cols[i];
  c->decode(L, cx, c->type, p, (size_t)len);
  return 1;
}

int fpg_push_names(lua_State *L, int stmt, int ncols) {
  luaL_checkstack(L, ncols + 16, "too many columns");
  fpg_getuservalue(L, stmt);
  lua_getfield(L, -1, "columns");
  int columns = lua_gettop(L);
  for (int i = 1; i <= ncols; i++) lua_rawgeti(L, columns, i);
  return columns + 1;
}

static void push_row(lua_State *L, const fpg_ctx *cx, const fpg_stmt *st, fpg_row row, int names, int meta) {
  lua_createtable(L, 0, st->ncols);
  for (int i = 0; i < st->ncols; i++) {
    lua_pushvalue(L, names + i);
    if (!push_field(L, cx, st, &row, i)) {
      if (!st->duplicates) {
        lua_pop(L, 1);
        continue;
      }
      lua_pushnil(L); /* of duplicate names the last wins, NULL too */
    }
    lua_rawset(L, -3);
  }
  lua_pushvalue(L, meta);
  lua_setmetatable(L, -2);
}

/* From so many rows on, or bytes of a result of libpq's, taking rows costs less than having libpq do it. */
enum { BULKY_ROWS = 32, BULKY = 8192 };

static void note_bulk(fpg_stmt *st, const fpg_rows *rows) {
  size_t bytes = rows->taken ? rows->taken->came : PQresultMemorySize(rows->res);
  st->bulk = rows->nrows < BULKY_ROWS && bytes < BULKY ? 0 : rows->taken ? bytes : 1;
}

/* What every fetch begins with. */
typedef struct {
  const fpg_conn *c;
  const fpg_stmt *st;
  fpg_holder *h;
  int nrows;
} fetch;

/* The connection is at index 1 and the statement at 2, of `nargs` arguments; pushes the holder. */
static fetch begin_fetch(lua_State *L, int nargs) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  lua_settop(L, nargs);
  fpg_holder *h = take_result(L, c);
  check_shape(L, st, h->rows.res);
  note_bulk(st, &h->rows);
  return (fetch){c, st, h, h->rows.nrows};
}

/* Positional: NULL is fastpg.null, n the number of columns; to JSON it is an array. */
static void push_array(lua_State *L, const fpg_ctx *cx, const fpg_stmt *st, fpg_row row) {
  lua_createtable(L, st->ncols, 1);
  for (int i = 0; i < st->ncols; i++) {
    if (!push_field(L, cx, st, &row, i)) lua_pushlightuserdata(L, NULL);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushinteger(L, st->ncols);
  lua_setfield(L, -2, "n");
  fpg_push_array_mt(L);
  lua_setmetatable(L, -2);
}

/* What reading costs, in bytes that are as dear: a row, a cell; a byte where a value is more than a string. */
enum { PIECE = 48 * 1024, ROW_COST = 32, CELL_COST = 16, BYTE_COST = 4 };

static int is_string(const fpg_type *type) {
  return type->kind == FPG_KIND_TEXT || type->kind == FPG_KIND_BYTEA || type->kind == FPG_KIND_NAME ||
         type->kind == FPG_KIND_OTHER;
}

static size_t cost_of(const fpg_stmt *st, fpg_row row) {
  size_t cost = ROW_COST + CELL_COST * (size_t)st->ncols;
  for (int i = 0; i < st->ncols; i++) {
    int len;
    if (!fpg_next_field(&row, &len) || len < CELL_COST) continue;
    cost += is_string(st->cols[i].type) ? (size_t)len : (size_t)len * BYTE_COST;
  }
  return cost;
}

int fpg_rows_of_piece(const fpg_stmt *st, const fpg_rows *rows, int most) {
  fpg_rows at = *rows;
  int n = 0;
  for (size_t cost = 0; at.next < at.nrows && n < most && cost < PIECE; n++) cost += cost_of(st, fpg_next_row(&at));
  return n;
}

/* Where a host must not be held up a long list is decoded in pieces, `most` rows at a time, fewer where they are heavy:
 *
 *   conn:fetch_rows(stmt, row_metatable or false, most or nil, list_metatable) -> list, rest
 *   conn:fetch_more(stmt, row_metatable or false, most, list, rest)            -> list, rest, how many there are in it
 *
 * rest is what is left, or nil; without row_metatable the rows are positional. */
static int fill_list(lua_State *L, fetch f, int list, int holder) {
  int named = lua_toboolean(L, 3), most = f.nrows;
  if (lua_toboolean(L, 4)) most = fpg_rows_of_piece(f.st, &f.h->rows, (int)lua_tointeger(L, 4));
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(f.c, f.st->types, &zone);
  int names = named ? fpg_push_names(L, 2, f.st->ncols) : 0;
  for (; f.h->rows.next < f.nrows && most > 0; most--) {
    fpg_row row = fpg_next_row(&f.h->rows);
    if (named)
      push_row(L, &cx, f.st, row, names, 3);
    else
      push_array(L, &cx, f.st, row);
    lua_rawseti(L, list, f.h->rows.next);
  }
  lua_pushvalue(L, list);
  if (f.h->rows.next == f.nrows) {
    fpg_holder_release(f.h);
    return 1;
  }
  lua_pushvalue(L, holder);
  lua_pushinteger(L, f.h->rows.next);
  return 3;
}

static int conn_fetch_rows(lua_State *L) {
  fetch f = begin_fetch(L, 5); /* conn, stmt, row metatable, most, list metatable, holder */
  lua_createtable(L, f.nrows, 0);
  lua_pushvalue(L, 5);
  lua_setmetatable(L, -2);
  return fill_list(L, f, 7, 6);
}

static int conn_fetch_more(lua_State *L) {
  const fpg_conn *c = fpg_check_conn(L, 1); /* conn, stmt, row metatable, most, list, holder */
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_checktype(L, 5, LUA_TTABLE);
  fpg_holder *h = fpg_check_holder(L, 6);
  lua_settop(L, 6);
  return fill_list(L, (fetch){c, st, h, h->rows.nrows}, 5, 6);
}

/* conn:fetch_row(stmt, row_metatable) -> the first row or nil, number of rows in the result */
static int conn_fetch_row(lua_State *L) {
  fetch f = begin_fetch(L, 3);
  if (f.nrows == 0) {
    lua_pushnil(L);
  } else {
    fpg_zone_memo zone;
    fpg_ctx cx = fpg_context(f.c, f.st->types, &zone);
    push_row(L, &cx, f.st, fpg_next_row(&f.h->rows), fpg_push_names(L, 2, f.st->ncols), 3);
  }
  lua_pushinteger(L, f.nrows);
  fpg_holder_release(f.h);
  return 2;
}

/* Whether rows of a stream are there, and nothing else to be looked at. */
static int has_piece(const fpg_conn *c) {
  return c->res && PQresultStatus(c->res) == PGRES_SINGLE_TUPLE && !c->events && !c->refused;
}

/* What is left of the rows of a stream that were taken at once. */
static int take_up_piece(fpg_holder *h, fpg_conn *c) {
  if (!c->piece.res) return 0;
  h->rows = c->piece;
  c->piece.res = NULL;
  return 1;
}

static void leave_piece(fpg_holder *h, fpg_conn *c) {
  if (h->rows.next < h->rows.nrows && c->pg) {
    c->piece = h->rows;
    h->rows = fpg_rows_of(NULL, NULL);
  } else {
    fpg_holder_release(h);
  }
}

/* conn:next_rows(stmt, row_metatable, list, most) -> n, stop: of a stream the rows that are there without a wait, at
 * most that many, and no more than a piece, are list[1] to list[n].  stop is what comes behind them: "r" or "rw" to
 * wait for, true for what is no row (outcome and fetch_row tell what), nil where it was not looked at.  After an error in
 * a row those before it are in the list. */
static int conn_next_rows(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_checktype(L, 4, LUA_TTABLE);
  int most = (int)luaL_checkinteger(L, 5), n = 0;
  lua_settop(L, 5);
  fpg_holder *h = push_holder(L, c);
  h->may_block = c->may_block;
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, st->types, &zone);
  int names = fpg_push_names(L, 2, st->ncols);
  for (size_t cost = 0; n < most && cost < PIECE;) {
    if (!c->pg) fpg_check_conn(L, 1); /* a codec of the user's closed it */
    if (!take_up_piece(h, c)) {
      fpg_stop at = c->res ? FPG_AT_RESULT : fpg_step(L, c);
      if (at != FPG_AT_RESULT || !has_piece(c)) {
        lua_pushinteger(L, n);
        fpg_push_stop(L, at);
        return 2;
      }
      check_shape(L, st, c->res);
      hand_over(h, c);
    }
    while (h->rows.next < h->rows.nrows && n < most && cost < PIECE) {
      fpg_row row = fpg_next_row(&h->rows);
      cost += cost_of(st, row);
      push_row(L, &cx, st, row, names, 3);
      lua_rawseti(L, 4, ++n);
    }
    leave_piece(h, c);
  }
  lua_pushinteger(L, n);
  return 1;
}

/* conn:fetch_item(stmt) -> the first field of the first row (nil for NULL), rows, columns */
static int conn_fetch_item(lua_State *L) {
  fetch f = begin_fetch(L, 2);
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(f.c, f.st->types, &zone);
  int pushed = 0;
  if (f.nrows && f.st->ncols) {
    fpg_row row = fpg_next_row(&f.h->rows);
    pushed = push_field(L, &cx, f.st, &row, 0);
  }
  if (!pushed) lua_pushnil(L);
  lua_pushinteger(L, f.nrows);
  lua_pushinteger(L, f.st->ncols);
  fpg_holder_release(f.h);
  return 3;
}

/* What has the command tag. */
static PGresult *end_of(PGresult *res, const fpg_taken *taken) { return taken && taken->end ? taken->end : res; }

/* Pushes the command tag, and the number of rows that it names or nil. */
static void push_status(lua_State *L, PGresult *res) {
  lua_pushstring(L, PQcmdStatus(res));
  const char *rows = PQcmdTuples(res);
  if (*rows) {
    lua_pushstring(L, rows);
    fpg_push_int64(L, (int64_t)lua_tonumber(L, -1));
    lua_remove(L, -2);
  } else {
    lua_pushnil(L);
  }
}

/* conn:fetch_status() -> the command tag ("INSERT 0 1"), the number of rows it names or nil */
static int conn_fetch_status(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_holder *h = take_result(L, c);
  push_status(L, end_of(h->rows.res, h->rows.taken));
  fpg_holder_release(h);
  return 2;
}

/* conn:status() -> the command tag of the result that is there, the number of rows it names or nil, whether it is one of
 * rows; nothing where there is none, or a failure, or the text was empty.  It stays. */
static int conn_status(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  ExecStatusType status = c->res ? PQresultStatus(c->res) : PGRES_FATAL_ERROR;
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) return 0;
  push_status(L, end_of(c->res, c->taken));
  lua_pushboolean(L, status == PGRES_TUPLES_OK);
  return 3;
}

/* conn:extent() -> the number of rows of the result that is there, or of its command tag, and the bytes it takes; nil where
 * there is none.  It stays. */
static int conn_extent(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (!c->res) return 0;
  fpg_rows all = fpg_rows_of(c->res, c->taken);
  fpg_push_int64(L, PQresultStatus(c->res) == PGRES_COMMAND_OK ? (int64_t)atoll(PQcmdTuples(c->res)) : all.nrows);
  fpg_push_int64(L, (int64_t)(PQresultMemorySize(c->res) + (c->taken ? c->taken->bytes : 0)));
  return 2;
}

/* conn:outcome([stmt]) -> the error object of the finished operation or nil, what happened to the session (FPG_EVENT_*
 * added up) or nil for nothing, whether the result is other than the statement's description; the result stays */
static int conn_outcome(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  ExecStatusType status = c->res ? PQresultStatus(c->res) : PGRES_COMMAND_OK;
  fpg_conn_note_reports(c);
  int failed = status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || c->refused;
  int other = !lua_isnoneornil(L, 2) && fpg_result_differs(c, fpg_check_stmt_of_conn(L, 2));
  if (!failed && !c->events && !other) return 0;
  if (c->refused && PQstatus(c->pg) == CONNECTION_OK)
    fpg_push_error(L, "feature_not_supported",
                   "COPY FROM STDIN and COPY TO STDOUT can't run as a plain statement: db:copy_from and db:copy_to run them");
  else if (failed)
    fpg_push_result_error(L, c->pg, c->res);
  else
    lua_pushnil(L);
  if (!c->events)
    lua_pushnil(L);
  else
    lua_pushinteger(L, c->events);
  c->events = 0;
  lua_pushboolean(L, other);
  return 3;
}

/* conn:take() -> the finished result, or the one whose decoding has just failed: an object of its own, beside which
 * other statements can run; conn:put(result[, copy]): makes it, or a copy of it, the finished result again. */
static int conn_take(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_holder *h = new_holder(L), *from = c->holder;
  if (c->res) {
    hand_over(h, c);
    return 1;
  }
  if (!from || !from->rows.res) return fpg_raise(L, "connection_busy", "there is no result to take");
  h->rows = fpg_rows_of(from->rows.res, from->rows.taken);
  h->may_block = c->may_block;
  from->rows = fpg_rows_of(NULL, NULL);
  return 1;
}

static int conn_put(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (!lua_toboolean(L, 3)) {
    fpg_put_result(L, c, 2);
    return 0;
  }
  const fpg_holder *h = fpg_check_holder(L, 2);
  PGresult *res = PQcopyResult(h->rows.res, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
  if (!res) return luaL_error(L, "not enough memory");
  fpg_forget_result(c);
  c->res = res;
  c->taken = h->rows.taken;
  if (c->taken) c->taken->refs++;
  return 0;
}

/* conn:unhold(): makes what was put aside by conn:keep() the finished result again */
static int conn_unhold(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_forget_result(c);
  c->res = c->held.res;
  c->taken = c->held.taken;
  c->held = fpg_rows_of(NULL, NULL);
  return 0;
}

static const luaL_Reg methods[] = {
    {"take", conn_take},
    {"put", conn_put},
    {"unhold", conn_unhold},
    {"fetch_rows", conn_fetch_rows},
    {"fetch_row", conn_fetch_row},
    {"next_rows", conn_next_rows},
    {"fetch_item", conn_fetch_item},
    {"fetch_more", conn_fetch_more},
    {"fetch_status", conn_fetch_status},
    {"status", conn_status},
    {"extent", conn_extent},
    {"outcome", conn_outcome},
    {NULL, NULL},
};

void fpg_open_result(lua_State *L) {
  luaL_newmetatable(L, HOLDER_MT);
  lua_pushcfunction(L, holder_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  fpg_add_conn_methods(L, methods);
}
