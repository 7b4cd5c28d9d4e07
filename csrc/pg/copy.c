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
 * A writer turns rows into the bytes of one COPY, with the types that a Describe of an INSERT into
 * the same columns gave.
 *   text:    fields by tabs, a newline behind each row, \N is NULL, backslash before special bytes
 *   binary:  header; per row int16 fields, per field int32 length (-1 is NULL), bytes; int16 -1
 *
 * PostgreSQL manual: COPY ("File Formats"), "Functions Associated with the COPY Command" of libpq.
 */
#include <poll.h>

#include "be.h"
#include "buffer.h"
#include "conn.h"
#include "copy_end.h"
#include "error.h"
#include "fragment.h"
#include "number.h"
#include "params.h"
#include "raise.h"
#include "send.h"
#include "surface.h"
#include "zone.h"

#define WRITER_MT "fastpg.copywriter"

enum {
  PIECE = 64 * 1024,      /* bytes handed on at once */
  KEEP_BYTES = 1024 * 1024 /* a buffer that grew beyond this is given back */
};

/* ---- the writer --------------------------------------------------------------------------- */

/* Its user value is the list of the columns' names, with the filters under "filters"; it keeps the
 * statement and the buffer. */
typedef struct {
  const fpg_stmt *st;
  fpg_buf *buf;
  int binary;
  int column; /* the one being written, from 1; 0: none */
} copy_writer;

static copy_writer *check_writer(lua_State *L, int idx) {
  return luaL_checkudata(L, idx, WRITER_MT);
}

static const char signature[] = "PGCOPY\n\377\r\n"; /* its final zero byte belongs to it */

/* conn:copy_writer(stmt, names, filters or nil, binary): stmt has these columns' types as parameters */
static int conn_copy_writer(lua_State *L) {
  fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 5);
  int n = (int)lua_rawlen(L, 3);
  if (n != st->nparams) return luaL_error(L, "copy_writer: as many names as parameters expected");
  copy_writer *w = fpg_newuserdata(L, sizeof *w);
  memset(w, 0, sizeof *w);
  w->st = st;
  w->binary = lua_toboolean(L, 5);
  lua_createtable(L, n, 3);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 3, i);
    lua_rawseti(L, -2, i);
  }
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "statement");
  lua_pushvalue(L, 4);
  lua_setfield(L, -2, "filters");
  w->buf = fpg_buf_new(L);
  lua_setfield(L, -2, "buffer");
  fpg_setuservalue(L, 6);
  luaL_setmetatable(L, WRITER_MT);
  if (w->binary) {
    fpg_buf_put(L, w->buf, signature, sizeof signature);
    memset(fpg_buf_grow(L, w->buf, 8), 0, 8); /* flags, length of the header's extension */
  }
  return 1;
}

/* Escapes what was written from `start` on, in place. */
static void escape_from(lua_State *L, fpg_buf *b, size_t start) {
  static const char letters[256] = {['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
  size_t special = 0;
  for (size_t i = start; i < b->len; i++) special += letters[(unsigned char)b->data[i]] != 0;
  if (!special) return;
  size_t from = b->len;
  fpg_buf_grow(L, b, special);
  for (size_t to = b->len; to > from;) {
    unsigned char c = (unsigned char)b->data[--from];
    b->data[--to] = letters[c] ? letters[c] : (char)c;
    if (letters[c]) b->data[--to] = '\\';
  }
}

static void put_text_field(lua_State *L, const fpg_ctx *cx, copy_writer *w, const fpg_type *type,
                           int idx) {
  if (w->column > 1) fpg_buf_putc(L, w->buf, '\t');
  if (fpg_is_null(L, idx)) {
    fpg_buf_put(L, w->buf, "\\N", 2);
    return;
  }
  size_t start = w->buf->len;
  fpg_encode_text(L, cx, type, idx, w->buf);
  escape_from(L, w->buf, start);
}

static void put_binary_field(lua_State *L, const fpg_ctx *cx, copy_writer *w, const fpg_type *type,
                             int idx) {
  fpg_buf *b = w->buf;
  size_t at = b->len;
  fpg_buf_grow(L, b, 4);
  if (fpg_is_null(L, idx)) {
    be_put32(b->data + at, UINT32_MAX);
    return;
  }
  if (!fpg_encode_binary(L, cx, type, idx, b))
    fpg_raise(L, "invalid_argument", "%s: %s has no binary form here (format = \"text\" takes it)",
              type->name, fpg_describe(L, idx));
  size_t len = b->len - at - 4;
  if (len > 0x3ffffffe) /* the server reads a row into one buffer */
    fpg_raise(L, "program_limit_exceeded", "%s: the value has over 1 GB, more than the server takes at once", type->name);
  be_put32(b->data + at, (uint32_t)len);
}

/* Pushes what a column gets: a filter silently replaces the record's value. */
static void push_value(lua_State *L, int record, int names, int filters, int col) {
  if (filters) {
    lua_rawgeti(L, names, col);
    lua_rawget(L, filters);
    if (!lua_isnil(L, -1)) return;
    lua_pop(L, 1);
  }
  lua_rawgeti(L, names, col);
  lua_rawget(L, record);
  if (lua_type(L, -1) == LUA_TUSERDATA && luaL_testudata(L, -1, FPG_SQL_MT))
    fpg_raise(L, "invalid_argument", "COPY takes values, not fastpg.sql (use inserts)");
}

/* conn:zone_loads() -> whether local times can be turned into instants here: else they have no binary
 * form */
static int conn_zone_loads(lua_State *L) {
  lua_pushboolean(L, fpg_zone(L, fpg_push_timezone(L, fpg_check_conn(L, 1))) != NULL);
  return 1;
}

/* conn:copy_row(writer, record) -> true when enough is there for a piece.  After an error
 * writer:column() says where it was. */
static int conn_copy_row(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  copy_writer *w = check_writer(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  luaL_checkstack(L, 12, "copy");
  fpg_getuservalue(L, 2);
  lua_getfield(L, 4, "filters");
  int filters = lua_istable(L, 5) ? 5 : 0;
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, w->st->types, &zone);
  int n = w->st->nparams;
  if (w->binary) be_put16(fpg_buf_grow(L, w->buf, 2), (uint16_t)n);
  for (int i = 0; i < n; i++) {
    w->column = i + 1;
    push_value(L, 3, 4, filters, i + 1);
    (w->binary ? put_binary_field : put_text_field)(L, &cx, w, w->st->params[i], 6);
    lua_settop(L, 5);
  }
  w->column = 0;
  if (!w->binary) fpg_buf_putc(L, w->buf, '\n');
  lua_pushboolean(L, w->buf->len >= PIECE);
  return 1;
}

/* writer:column() -> the name of the column at which copy_row raised, or nil */
static int writer_column(lua_State *L) {
  copy_writer *w = check_writer(L, 1);
  if (!w->column) return 0;
  fpg_getuservalue(L, 1);
  lua_rawgeti(L, -1, w->column);
  return 1;
}

/* writer:finish(): what ends the data */
static int writer_finish(lua_State *L) {
  copy_writer *w = check_writer(L, 1);
  if (w->binary) be_put16(fpg_buf_grow(L, w->buf, 2), UINT16_MAX);
  return 0;
}

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
    buf = check_writer(L, 2)->buf;
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
    {"copy_writer", conn_copy_writer},
    {"zone_loads", conn_zone_loads},
    {"copy_row", conn_copy_row},
    {"copy_put", conn_copy_put},
    {"copy_flush", conn_copy_flush},
    {"copy_end", conn_copy_end},
    {"copy_read", conn_copy_read},
    {NULL, NULL},
};

static const luaL_Reg writer_methods[] = {
    {"column", writer_column},
    {"finish", writer_finish},
    {NULL, NULL},
};

void fpg_open_copy(lua_State *L) {
  luaL_newmetatable(L, WRITER_MT);
  lua_pushliteral(L, WRITER_MT);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 2);
  luaL_setfuncs(L, writer_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  fpg_add_conn_methods(L, conn_methods);
}
