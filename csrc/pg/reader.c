/* SPDX-License-Identifier: MIT
 *
 * reader.c: reads a result apart from the connection that it came by, which runs other statements meanwhile, or is closed:
 * what several coroutines asked for in one round trip is read by each of them when its turn comes.
 *
 * A reader has the metatable of a connection, for the methods that fetch; all others find a connection without a server.
 */
#include <string.h>

#include "conn.h"
#include "number.h"
#include "process.h"
#include "raise.h"
#include "result.h"

enum { ZONE_BYTES = 256 }; /* PostgreSQL's TZ_STRLEN_MAX, and a zero */

/* core.reader() -> a reader */
static int core_reader(lua_State *L) {
  fpg_conn *c = fpg_newuserdata(L, sizeof *c + ZONE_BYTES);
  memset(c, 0, sizeof *c + ZONE_BYTES);
  luaL_setmetatable(L, FPG_CONN_MT);
  lua_createtable(L, 4, 0);
  fpg_setuservalue(L, -2);
  c->zone = (char *)(c + 1);
  c->owner = fpg_process_id();
  c->reads = 1;
  return 1;
}

/* reader:read(result, server_version, zone): that result (conn:take) is the one to fetch, of a server of that version with
 * that TimeZone */
static int reader_read(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  int64_t server;
  size_t len;
  luaL_argcheck(L, c->reads, 1, "a reader expected");
  luaL_argcheck(L, fpg_to_int64(L, 3, &server), 3, "a version expected");
  const char *zone = luaL_checklstring(L, 4, &len);
  fpg_put_result(L, c, 2);
  c->server = (int)server;
  if (len >= ZONE_BYTES) len = 0;
  memcpy(c->zone, zone, len);
  c->zone[len] = 0;
  return 0;
}

static const luaL_Reg methods[] = {{"read", reader_read}, {NULL, NULL}};

void fpg_open_reader(lua_State *L) {
  fpg_add_conn_methods(L, methods);
  lua_pushcfunction(L, core_reader);
  lua_setfield(L, -2, "reader");
}
