/* SPDX-License-Identifier: MIT
 *
 * conn.c: a connection: how it is held, looked at, closed.  See conn.h.
 */
#include "conn.h"

#include <stdlib.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "job.h"
#include "nginx_events.h"
#include "process.h"
#include "raise.h"
#include "udata.h"

/* ---- one connection ----------------------------------------------------------------------- */

void fpg_forget_result(fpg_conn *c) {
  fpg_clear_rows(c->res, c->taken, c->may_block);
  c->res = NULL;
  c->taken = NULL;
  if (c->piece.res) fpg_clear_rows(c->piece.res, c->piece.taken, c->may_block);
  c->piece.res = NULL;
}

/* A child process shares the socket with its parent: PQfinish would say goodbye on it.  So it gets a socket
 * that leads nowhere in its place.  Where no descriptor is free for that, or none can be had, the child only
 * lets go of the parent's, and libpq's memory is never given back: 0, PQfinish must not be called. */
static int drop_inherited(fpg_conn *c) {
  int fd = PQsocket(c->pg);
  if (fd < 0) return 1;
  int nowhere = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), safe = nowhere >= 0 && dup2(nowhere, fd) >= 0;
  if (nowhere >= 0) close(nowhere);
  if (!safe) close(fd);
  return safe;
}

/* The server goes on with a statement until it next writes to the client, which may be hours later. */
static void stop_server(fpg_conn *c) {
  if (c->connected && !c->canceled && (c->slots || c->syncs) && PQstatus(c->pg) == CONNECTION_OK)
    fpg_cancel_later(PQgetCancel(c->pg));
}

static void leave_list(fpg_conn *c) {
  if (!c->link) return;
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  c->link = NULL;
}

static void conn_finish(fpg_conn *c) {
  leave_list(c);
  if (c->reads) fpg_forget_result(c);
  if (!c->pg) return;
  fpg_forget_result(c);
  fpg_take_forget(&c->take);
  fpg_clear_rows(c->held.res, c->held.taken, c->may_block);
  c->held = fpg_rows_of(NULL, NULL);
  PQfreemem(c->copy_row);
  c->copy_row = NULL;
  c->hears = 0;
  free(c->notices);
  c->notices = NULL;
  c->notices_len = c->notices_cap = 0;
  fpg_nginx_closing(PQsocket(c->pg));
  int safe = 1;
  if (c->owner == fpg_process_id())
    stop_server(c);
  else
    safe = drop_inherited(c);
  if (safe) PQfinish(c->pg);
  c->pg = NULL;
}

/* ---- all of a Lua state's ----------------------------------------------------------------- */

/* While a state is closed, a finalizer may open a connection whose own finalizer Lua does not call any more.
 * So all open ones are in a list, whose owner was there first and is finalized after all that came later. */
typedef struct {
  fpg_conn *first;
  int closed;
} conn_list;

static const char list_key = 0;

void fpg_conn_enlist(lua_State *L, fpg_conn *c) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
  conn_list *list = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (list->closed) fpg_raise(L, "closed", "the Lua state is being closed: no connection is opened any more");
  c->next = list->first;
  c->link = &list->first;
  if (c->next) c->next->link = &c->next;
  list->first = c;
}

static int list_gc(lua_State *L) {
  conn_list *list = lua_touserdata(L, 1);
  list->closed = 1;
  while (list->first) {
    fpg_conn *c = list->first;
    conn_finish(c);
    if (c->buf) fpg_buf_free(L, c->buf);
    if (c->argv) fpg_buf_free(L, c->argv);
    if (c->recent.nodes) fpg_buf_free(L, c->recent.nodes);
  }
  return 0;
}

static void make_list(lua_State *L) {
  conn_list *list = fpg_newuserdata(L, sizeof *list);
  memset(list, 0, sizeof *list);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, list_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
}

/* ---- using one ---------------------------------------------------------------------------- */

fpg_conn *fpg_any_conn(lua_State *L, int idx) {
  fpg_conn *c = fpg_known_udata(L, idx, FPG_CONN_UPVALUE);
  return c ? c : luaL_checkudata(L, idx, FPG_CONN_MT);
}

fpg_conn *fpg_open_conn_at(lua_State *L, int idx) {
  fpg_conn *c = fpg_any_conn(L, idx);
  if (!c->pg && !c->reads) fpg_raise(L, "closed", "the connection is closed");
  return c;
}

fpg_conn *fpg_check_conn(lua_State *L, int idx) {
  fpg_conn *c = fpg_open_conn_at(L, idx);
  if (c->owner != fpg_process_id())
    fpg_raise(L, "connection", "the connection belongs to another process (it was open at fork)");
  return c;
}

fpg_stmt *fpg_check_stmt_of_conn(lua_State *L, int idx) {
  fpg_stmt *st = fpg_known_udata(L, idx, FPG_STMT_UPVALUE);
  return st ? st : luaL_checkudata(L, idx, FPG_STMT_MT);
}

void fpg_add_conn_methods(lua_State *L, const luaL_Reg *list) {
  luaL_getmetatable(L, FPG_CONN_MT);
  lua_getfield(L, -1, "__index");
  lua_pushvalue(L, -2);
  luaL_getmetatable(L, FPG_STMT_MT);
  luaL_setfuncs(L, list, FPG_CONN_UPVALUES);
  lua_pop(L, 2);
}

/* After a LISTEN of the user's libpq would keep them all. */
static void drop_notifications(fpg_conn *c) {
  for (PGnotify *n; (n = PQnotifies(c->pg)) != NULL;) PQfreemem(n);
}

const char FPG_OUT_OF_STEP[] =
    "the server's answers are out of step with what was asked: the connection can't be used any more";

/* Nothing is under way on a connection that is lost: what is sent next says so. */
static void forget_what_is_lost(fpg_conn *c) {
  if (PQstatus(c->pg) != CONNECTION_BAD) return;
  c->slots = c->syncs = 0;
  c->open_pipeline = c->queueing = c->streaming = c->copy = 0;
}

void fpg_conn_begin(lua_State *L, fpg_conn *c) {
  forget_what_is_lost(c);
  if (c->slots || c->syncs || c->queueing)
    fpg_raise(L, "connection_busy", c->streaming
                  ? "a db:each is being read on this connection: use a transaction around both, or db:q"
              : c->copy ? "a COPY is under way on this connection"
                        : "another statement is under way on this connection");
  if (c->doubtful) fpg_raise(L, "connection", FPG_OUT_OF_STEP);
  fpg_forget_result(c);
  fpg_take_forget(&c->take);
  c->refused = c->copy = c->canceled = c->simple = c->parts = c->answered = c->has_texts = c->has_ready = 0;
  PGTransactionStatusType status = PQtransactionStatus(c->pg);
  if (status != PQTRANS_ACTIVE) c->outside = status == PQTRANS_IDLE;
  if (!c->listening) drop_notifications(c);
}

/* ---- Lua ------------------------------------------------------------------------------------ */

static int conn_close(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  conn_finish(c);
  return 0;
}

/* conn:sever(): whoever uses it finds that the connection is lost, at once; it can be closed by them later */
static int conn_sever(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  if (!c->pg || c->owner != fpg_process_id()) return 0;
  c->severed = 1;
  shutdown(PQsocket(c->pg), SHUT_RDWR);
  return 0;
}

/* core.libpq_version() -> 150018 for 15.18 */
static int core_libpq_version(lua_State *L) {
  lua_pushinteger(L, PQlibVersion());
  return 1;
}

static const luaL_Reg methods[] = {{"close", conn_close}, {"sever", conn_sever}, {NULL, NULL}};

void fpg_open_conn(lua_State *L) {
  make_list(L);
  luaL_newmetatable(L, FPG_CONN_MT);
  lua_pushliteral(L, FPG_CONN_MT);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, conn_close);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  fpg_add_conn_methods(L, methods);
  lua_pushcfunction(L, core_libpq_version);
  lua_setfield(L, -2, "libpq_version");
}
