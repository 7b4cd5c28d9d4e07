/* SPDX-License-Identifier: MIT
 *
 * trip.c: the results of statements that several coroutines sent in one round trip (fastpg.pool.trip): those that
 * are good ones are taken one after the other, what is not is left to be looked at.
 *
 * PostgreSQL manual: "Pipeline Mode" of libpq.
 */
#include "conn.h"
#include "result.h"
#include "step.h"

/* conn:take_all(stmts, results) -> where it ended, as conn:step says.  The statements are those that were sent, in order;
 * each good result becomes the next item of the list of results.  true: there is one that is none. */
static int conn_take_all(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  int n = (int)lua_rawlen(L, 2), i = (int)lua_rawlen(L, 3);
  fpg_stop at;
  while ((at = fpg_step(L, c)) == FPG_AT_RESULT && i < n) {
    lua_rawgeti(L, 2, i + 1);
    if (!fpg_result_is_plain(c, fpg_check_stmt_of_conn(L, 4))) break;
    fpg_hold_result(L, c);
    lua_rawseti(L, 3, ++i);
    lua_settop(L, 3);
  }
  return fpg_push_stop(L, at);
}

static const luaL_Reg methods[] = {{"take_all", conn_take_all}, {NULL, NULL}};

void fpg_open_trip(lua_State *L) { fpg_add_conn_methods(L, methods); }
