/* SPDX-License-Identifier: MIT
 *
 * notify.c: what LISTEN brings.
 *
 * libpq keeps notifications in a queue until they are asked for; the server sends them between
 * statements.  A connection that nobody listens on drops them before each statement (fpg_conn_begin), or
 * after a LISTEN of the user's own libpq would keep them all.
 *
 * PostgreSQL manual: "Asynchronous Notification".
 */
#include "compat.h"
#include "conn.h"
#include "error.h"
#include "surface.h"

/* conn:listening(boolean): from here on notifications are kept until next_notification takes them */
static int conn_listening(lua_State *L) {
  fpg_check_conn(L, 1)->listening = lua_toboolean(L, 2);
  return 0;
}

/* conn:consume(): takes in what the socket has, without waiting; raises "connection" when it is lost.  (Where the rows of a
 * stream are taken by its reader, notifications come behind them.) */
static int conn_consume(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (fpg_take_is_on(&c->take)) return 0;
  if (PQconsumeInput(c->pg) && PQstatus(c->pg) == CONNECTION_OK) return 0;
  fpg_push_conn_error(L, c->pg);
  return lua_error(L);
}

/* conn:next_notification() -> channel, payload, process id of the sender; nothing when there is none */
static int conn_next_notification(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  luaL_checkstack(L, 4, NULL);
  PGnotify **box = fpg_newuserdata(L, sizeof(PGnotify *)); /* owns it while strings are made */
  *box = NULL;
  luaL_setmetatable(L, FPG_NOTIFY_MT);
  PGnotify *n = *box = PQnotifies(c->pg);
  if (!n) return 0;
  lua_pushstring(L, n->relname);
  lua_pushstring(L, n->extra);
  lua_pushinteger(L, n->be_pid);
  *box = NULL;
  PQfreemem(n);
  return 3;
}

static int notify_gc(lua_State *L) {
  PGnotify **box = lua_touserdata(L, 1);
  PQfreemem(*box);
  *box = NULL;
  return 0;
}

static const luaL_Reg methods[] = {
    {"listening", conn_listening},
    {"consume", conn_consume},
    {"next_notification", conn_next_notification},
    {NULL, NULL},
};

void fpg_open_notify(lua_State *L) {
  luaL_newmetatable(L, FPG_NOTIFY_MT);
  lua_pushcfunction(L, notify_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  fpg_add_conn_methods(L, methods);
}
