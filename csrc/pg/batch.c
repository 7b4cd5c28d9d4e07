/* SPDX-License-Identifier: MIT
 *
 * batch.c: many runs of one statement in a pipeline, of which only the number of rows is wanted: sent and read by loops,
 * each of which does what it can without waiting and gives back what it can't judge (fastpg.pg.batch).
 *
 * PostgreSQL manual: "Pipeline Mode" of libpq.
 */
#include <stdlib.h>

#include "conn.h"
#include "number.h"
#include "raise.h"
#include "send.h"
#include "step.h"

enum { BYTES = 64 * 1024 }; /* sent at once: what libpq keeps before it hands it to the kernel */

/* Whether the value at idx is a list of n values without anything else in it. */
static int is_plain_list(lua_State *L, int idx, int n) {
  if (!lua_istable(L, idx) || lua_rawlen(L, idx) != (size_t)n) return 0;
  int top = lua_gettop(L), count = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    int64_t key;
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TNUMBER || !fpg_number_to_int64(L, -1, &key) || key < 1 || key > n) {
      lua_settop(L, top);
      return 0;
    }
    count++;
  }
  return count == n;
}

/* conn:send_many(stmt, list, from, most) -> the position of the next item.  It ends at one that is no plain list of as many
 * arguments as the statement takes, behind `most` items, or where enough is under way.  After an error conn:sent_many()
 * says how many were sent. */
static int conn_send_many(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int64_t i, most;
  luaL_argcheck(L, fpg_to_int64(L, 4, &i) && i > 0 && i < INT32_MAX, 4, "a position expected");
  luaL_argcheck(L, fpg_to_int64(L, 5, &most), 5, "a count expected");
  lua_settop(L, 3);
  luaL_checkstack(L, 8, "batch");
  size_t bytes = 0;
  for (c->sent_many = 0; c->sent_many < most && bytes < BYTES; c->sent_many++) {
    lua_rawgeti(L, 3, (int)i + c->sent_many);
    if (!is_plain_list(L, 4, st->nparams)) break;
    bytes += fpg_send_args(L, c, st, 4, 0, st->nparams);
    lua_settop(L, 3);
  }
  lua_pushinteger(L, (lua_Integer)i + c->sent_many);
  return 1;
}

static int conn_sent_many(lua_State *L) {
  lua_pushinteger(L, fpg_check_conn(L, 1)->sent_many);
  return 1;
}

/* conn:drain_many(stmt, most, failed) -> how many results were read, how many rows they name, and where it ended: nil behind
 * `most`, else as conn:step, true being at one that has to be looked at.  Where the batch has failed, what was not run
 * counts as read. */
static int conn_drain_many(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  int64_t most;
  luaL_argcheck(L, fpg_to_int64(L, 3, &most), 3, "a count expected");
  int failed = lua_toboolean(L, 4), ended = 0;
  int64_t count = 0, rows = 0;
  fpg_stop at = FPG_AT_RESULT;
  while (count < most && !ended) {
    at = fpg_step(L, c);
    int is_result = at == FPG_AT_RESULT && c->res;
    if (is_result && fpg_result_is_plain(c, st)) {
      rows += atoll(PQcmdTuples(c->res));
      count++;
    } else if (is_result && failed && PQresultStatus(c->res) == PGRES_PIPELINE_ABORTED) {
      count++;
    } else {
      ended = 1;
    }
  }
  fpg_push_int64(L, count);
  fpg_push_int64(L, rows);
  return ended ? 2 + fpg_push_stop(L, at) : 2;
}

static const luaL_Reg methods[] = {
    {"send_many", conn_send_many},
    {"sent_many", conn_sent_many},
    {"drain_many", conn_drain_many},
    {NULL, NULL},
};

void fpg_open_batch(lua_State *L) { fpg_add_conn_methods(L, methods); }
