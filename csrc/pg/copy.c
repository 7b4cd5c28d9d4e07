/* SPDX-License-Identifier: MIT
 *
 * copy.c: COPY … FROM STDIN and COPY … TO STDOUT, in steps that never wait.
 *
 *   send_copy ── step: true ── copying: "in"   copy_put, copy_flush again and again, then copy_end
 *                                       "out"  copy_read until it gives no chunk
 *                                       nil    it ended at once: an error, or it was no COPY
 *             ── step: true ── the result, as of any statement (csrc/pg/conn.h)
 *
 * It goes by the simple protocol, in which the server ends a COPY by itself, wherever it fails, and drops
 * what is still sent of it (csrc/pg/conn.h).  In the extended one it would take the Sync sent with the
 * statement for that end, if it failed before it had read anything, and the one behind the rows for another.
 *
 * Flow control: libpq would take everything into memory, so a piece is put only once the one before
 * it is with the kernel.  While rows are taken libpq does not look at what the server says; an error
 * that comes early is seen by a look at the socket (server_ended).
 *
 * What it sends is text of the user's, or what a writer has made of records (copy_writer.c).
 *
 * PostgreSQL manual: COPY, "Functions Associated with the COPY Command" of libpq.
 */
#include <poll.h>

#include "buffer.h"
#include "conn.h"
#include "copy_end.h"
#include "copy_writer.h"
#include "send.h"

enum {
  PIECE = FPG_COPY_PIECE,
  KEEP_BYTES = 1024 * 1024 /* a buffer that grew beyond this is given back */
};

/* ---- the connection ----------------------------------------------------------------------- */

/* conn:send_copy(sql): one statement; step it, then ask `copying` */
static int conn_send_copy(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *sql = luaL_checkstring(L, 2);
  fpg_conn_begin(L, c);
  c->each = 0;
  fpg_send_simple(L, c, sql);
  c->copy = FPG_COPY_ASKED;
  c->copy_ended = 0;
  return 0;
}

/* conn:copying() -> "in", "out", or nil */
static int conn_copying(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (c->copy != FPG_COPY_IN && c->copy != FPG_COPY_OUT) return 0;
  lua_pushstring(L, c->copy == FPG_COPY_IN ? "in" : "out");
  return 1;
}

/* conn:copy_put(string or writer, at) -> where the next piece begins; nil when all was taken, which
 * empties a writer; false when the server takes no more */
static int conn_copy_put(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_buf *buf = NULL;
  size_t len, at = (size_t)luaL_checknumber(L, 3);
  const char *data;
  if (lua_type(L, 2) == LUA_TSTRING) {
    data = lua_tolstring(L, 2, &len);
  } else {
    buf = fpg_copy_written(L, 2);
    data = buf->data;
    len = buf->len;
  }
  if (at < len) {
    size_t n = len - at < PIECE ? len - at : PIECE;
    int taken = PQputCopyData(c->pg, data + at, (int)n);
    if (taken < 0) {
      lua_pushboolean(L, 0);
      return 1;
    }
    if (taken) at += n;
  }
  if (at < len) {
    lua_pushnumber(L, (lua_Number)at);
    return 1;
  }
  if (buf && buf->cap > KEEP_BYTES) fpg_buf_free(L, buf);
  if (buf) buf->len = 0;
  return 0;
}

/* What is there is read, too, but nothing that comes after the look: a server whose notices nobody reads stops
 * reading itself. */
static int server_ended(fpg_conn *c) {
  int some = fpg_look_for_end(c);
  return (some && !PQconsumeInput(c->pg)) || PQstatus(c->pg) == CONNECTION_BAD || c->copy_ended;
}

/* Whether the kernel takes a piece whole.  Where it does not, libpq reads while it sends, without a look. */
static int has_room(fpg_conn *c) {
  struct pollfd p = {.fd = PQsocket(c->pg), .events = POLLOUT};
  return poll(&p, 1, 0) != 0;
}

/* conn:copy_flush() -> true when what was put is with the kernel, "rw" to wait for that; false when
 * the server has ended the copy: copy_end and step give its error */
static int conn_copy_flush(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  int ended = server_ended(c), unsent = ended ? 0 : PQflush(c->pg);
  if (unsent > 0 || (!ended && unsent == 0 && !has_room(c)))
    lua_pushliteral(L, "rw");
  else
    lua_pushboolean(L, !ended && unsent == 0);
  return 1;
}

/* conn:copy_end([why]): no more rows; with a text the copy is given up.  Step gives the result. */
static int conn_copy_end(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *why = luaL_optstring(L, 2, NULL);
  PQputCopyEnd(c->pg, why); /* where this fails the connection is lost, which step finds out */
  c->copy = FPG_COPY_NONE;
  return 0;
}

/* Takes one row over: libpq's copy of it has an owner until that is done. */
static int take_row(lua_State *L, fpg_conn *c, fpg_buf *b) {
  PQfreemem(c->copy_row);
  c->copy_row = NULL;
  int n = PQgetCopyData(c->pg, &c->copy_row, 1);
  if (n > 0) fpg_buf_put(L, b, c->copy_row, (size_t)n);
  return n;
}

/* conn:copy_read() -> a chunk (whole rows), how many rows; nil and "r" to wait for; nil at the end,
 * and step gives the result */
static int conn_copy_read(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  int n = 0, rows = 0;
  if (c->copy != FPG_COPY_OUT) return 0;
  fpg_buf *b = fpg_buf_new(L);
  for (int look = 0; look < 2; look++) {
    while (b->len < PIECE && (n = take_row(L, c, b)) > 0) rows++;
    if (n || b->len) break;
    if (look == 0 && !PQconsumeInput(c->pg)) n = -1;
    if (n < 0) break;
  }
  PQfreemem(c->copy_row);
  c->copy_row = NULL;
  if (n < 0) c->copy = FPG_COPY_NONE;
  if (b->len) {
    lua_pushlstring(L, b->data, b->len);
    fpg_buf_free(L, b);
    lua_pushinteger(L, rows);
    return 2;
  }
  if (n < 0) return 0;
  lua_pushnil(L);
  lua_pushliteral(L, "r");
  return 2;
}

static const luaL_Reg conn_methods[] = {
    {"send_copy", conn_send_copy},
    {"copying", conn_copying},
    {"copy_put", conn_copy_put},
    {"copy_flush", conn_copy_flush},
    {"copy_end", conn_copy_end},
    {"copy_read", conn_copy_read},
    {NULL, NULL},
};

void fpg_open_copy(lua_State *L) { fpg_add_conn_methods(L, conn_methods); }
