/* SPDX-License-Identifier: MIT
 *
 * cancel.c: asking the server to stop what it does for a connection, in a job: libpq can do that blocking only.
 */
#include "compat.h"
#include "conn.h"
#include "job.h"

/* core.cancel_job(conn) -> a job whose result is whether the server was asked (not whether anything was stopped) */
static int core_cancel_job(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_push_cancel_job(L, c->pg);
  c->canceled = 1;
  return 1;
}

void fpg_open_cancel(lua_State *L) {
  lua_pushcfunction(L, core_cancel_job);
  lua_setfield(L, -2, "cancel_job");
}
