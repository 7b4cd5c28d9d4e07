/* SPDX-License-Identifier: MIT
 *
 * copy_writer.c: see copy_writer.h.  The types are those that a Describe of an INSERT into the same columns gave.
 *
 *   text:    fields by tabs, a newline behind each row, \N is NULL, backslash before special bytes
 *   binary:  header; per row int16 fields, per field int32 length (-1 is NULL), bytes; int16 -1
 *
 * In binary the plain values of the most frequent types are written here, without a look at anything but the value
 * (`way`); all else, and whatever is wrong, goes by the type's own functions.
 *
 * PostgreSQL manual: COPY ("File Formats").
 */
#include "copy_writer.h"

#include "be.h"
#include "conn.h"
#include "fragment.h"
#include "number.h"
#include "params.h"
#include "raise.h"
#include "row_scan.h"
#include "utf8.h"
#include "zone.h"

#define WRITER_MT "fastpg.copywriter"

typedef enum { BY_TYPE, AS_INT2, AS_INT4, AS_INT8, AS_OID, AS_FLOAT8, AS_BOOL, AS_TEXT, AS_BYTES } way;

enum { WIDEST = 12 }; /* bytes of a field that is no text, with its length */

/* Its user value is the list of the columns' names, with the filters under "filters"; it keeps the
 * statement and the buffer. */
typedef struct {
  const fpg_stmt *st;
  fpg_buf *buf;
  int binary;
  int row;    /* of a list: the one being written, from 1 */
  int column; /* the same; 0: none */
  way ways[];
} copy_writer;

static copy_writer *check_writer(lua_State *L, int idx) { return luaL_checkudata(L, idx, WRITER_MT); }

fpg_buf *fpg_copy_written(lua_State *L, int idx) { return check_writer(L, idx)->buf; }

static way way_of(const fpg_type *type) {
  if (type->traits & FPG_WRITTEN_BY_USER) return BY_TYPE;
  switch (type->kind) {
    case FPG_KIND_INT2: return AS_INT2;
    case FPG_KIND_INT4: return AS_INT4;
    case FPG_KIND_INT8: return AS_INT8;
    case FPG_KIND_OID: return AS_OID;
    case FPG_KIND_FLOAT8: return AS_FLOAT8;
    case FPG_KIND_BOOL: return AS_BOOL;
    case FPG_KIND_TEXT: return type->pack || type->traits != FPG_TRAITS_TEXT ? BY_TYPE : AS_TEXT;
    case FPG_KIND_BYTEA: return AS_BYTES;
    default: return BY_TYPE;
  }
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
  copy_writer *w = fpg_newuserdata(L, sizeof *w + (size_t)n * sizeof w->ways[0]);
  memset(w, 0, sizeof *w);
  w->st = st;
  w->binary = lua_toboolean(L, 5);
  lua_createtable(L, n, 3);
  for (int i = 1; i <= n; i++) {
    w->ways[i - 1] = way_of(st->params[i - 1]);
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

/* ---- text --------------------------------------------------------------------------------- */

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

static void put_text_field(lua_State *L, const fpg_ctx *cx, fpg_buf *b, const fpg_type *type, int idx) {
  if (fpg_is_null(L, idx)) {
    fpg_buf_put(L, b, "\\N", 2);
    return;
  }
  size_t start = b->len;
  fpg_encode_text(L, cx, type, idx, b);
  escape_from(L, b, start);
}

/* ---- binary ------------------------------------------------------------------------------- */

static void put_binary_field(lua_State *L, const fpg_ctx *cx, fpg_buf *b, const fpg_type *type, int idx) {
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

/* Room for n more bytes, which are not counted yet. */
static void reserve(lua_State *L, fpg_buf *b, size_t n) {
  if (b->cap - b->len < n) fpg_buf_enlarge(L, b, n);
}

/* There is room for these: */
static inline int put_int(fpg_buf *b, int64_t v, int64_t min, int64_t max, uint32_t size) {
  if (v < min || v > max) return 0;
  char *to = b->data + b->len;
  be_put32(to, size);
  if (size == 2) be_put16(to + 4, (uint16_t)v);
  else if (size == 4) be_put32(to + 4, (uint32_t)v);
  else be_put64(to + 4, (uint64_t)v);
  b->len += 4 + size;
  return 1;
}

static int put_number(lua_State *L, fpg_buf *b, way as) {
  int64_t v;
  if (as == AS_FLOAT8) {
    be_put32(b->data + b->len, 8);
    be_putf64(b->data + b->len + 4, (double)lua_tonumber(L, -1));
    b->len += 12;
    return 1;
  }
  if (as < AS_INT2 || as > AS_OID || !fpg_number_to_int64(L, -1, &v)) return 0;
  switch (as) {
    case AS_INT2: return put_int(b, v, INT16_MIN, INT16_MAX, 2);
    case AS_INT4: return put_int(b, v, INT32_MIN, INT32_MAX, 4);
    case AS_INT8: return put_int(b, v, INT64_MIN, INT64_MAX, 8);
    default: return put_int(b, v, 0, UINT32_MAX, 4);
  }
}

/* Leaves room for `more` fields behind it. */
static int put_string(lua_State *L, fpg_buf *b, way as, int more) {
  size_t len;
  if (as != AS_TEXT && as != AS_BYTES) return 0;
  const char *s = lua_tolstring(L, -1, &len);
  if (len > 0x3ffffffe || (as == AS_TEXT && !fpg_valid_utf8(s, len))) return 0;
  reserve(L, b, len + 4 + WIDEST * (size_t)more);
  be_put32(b->data + b->len, (uint32_t)len);
  memcpy(b->data + b->len + 4, s, len);
  b->len += 4 + len;
  return 1;
}

/* The plain value on top of the stack; 0 where it is not plain. */
static int put_plain(lua_State *L, fpg_buf *b, way as, int more) {
  switch (lua_type(L, -1)) {
    case LUA_TNIL:
      be_put32(b->data + b->len, UINT32_MAX);
      b->len += 4;
      return 1;
    case LUA_TNUMBER: return put_number(L, b, as);
    case LUA_TSTRING: return put_string(L, b, as, more);
    case LUA_TBOOLEAN:
      if (as != AS_BOOL) return 0;
      be_put32(b->data + b->len, 1);
      b->data[b->len + 4] = (char)lua_toboolean(L, -1);
      b->len += 5;
      return 1;
    default: return 0;
  }
}

/* ---- a row -------------------------------------------------------------------------------- */

/* What is needed for each row: indices on the stack. */
typedef struct {
  int names;   /* the first of the columns' names */
  int filters; /* or 0 */
} place;

/* The writer is at index 2; pushes what is needed. */
static place begin_rows(lua_State *L, const copy_writer *w) {
  int n = w->st->nparams;
  luaL_checkstack(L, 2 * n + 20, "copy"); /* the names, and the values of one row */
  fpg_getuservalue(L, 2);
  int list = lua_gettop(L);
  lua_getfield(L, list, "filters");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, list, i);
  return (place){list + 2, lua_istable(L, list + 1) ? list + 1 : 0};
}

/* Pushes what a column gets: a filter silently replaces the record's value. */
static void push_value(lua_State *L, place at, int record, int col) {
  if (at.filters) {
    lua_pushvalue(L, at.names + col);
    lua_rawget(L, at.filters);
    if (!lua_isnil(L, -1)) return;
    lua_pop(L, 1);
  }
  lua_pushvalue(L, at.names + col);
  lua_rawget(L, record);
}

/* The value on top of the stack, by its type's functions. */
static void put_by_type(lua_State *L, const fpg_ctx *cx, copy_writer *w, int col) {
  int idx = lua_gettop(L);
  w->column = col + 1;
  if (lua_type(L, idx) == LUA_TUSERDATA && luaL_testudata(L, idx, FPG_SQL_MT))
    fpg_raise(L, "invalid_argument", "COPY takes values, not fastpg.sql (use inserts)");
  (w->binary ? put_binary_field : put_text_field)(L, cx, w->buf, w->st->params[col], idx);
  w->column = 0;
  lua_settop(L, idx);
}

static void put_row(lua_State *L, const fpg_ctx *cx, copy_writer *w, place at, int record) {
  fpg_buf *b = w->buf;
  int n = w->st->nparams, top = lua_gettop(L);
  if (w->binary) {
    reserve(L, b, 2 + WIDEST * (size_t)n);
    be_put16(fpg_buf_grow(L, b, 2), (uint16_t)n);
  }
  for (int i = 0; i < n; i++) {
    if (i && !w->binary) fpg_buf_putc(L, b, '\t');
    push_value(L, at, record, i);
    if (!w->binary || !put_plain(L, b, w->ways[i], n - i - 1)) {
      put_by_type(L, cx, w, i);
      if (w->binary) reserve(L, b, WIDEST * (size_t)(n - i - 1));
    }
  }
  lua_settop(L, top);
  if (!w->binary) fpg_buf_putc(L, b, '\n');
}

/* conn:copy_list(writer, list, from, to) -> the position of the next row.  It comes back when enough is there for a piece.
 * After an error writer:place() says where it was. */
static int conn_copy_list(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  copy_writer *w = check_writer(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int64_t i, to;
  luaL_argcheck(L, fpg_to_int64(L, 4, &i) && i > 0, 4, "a position expected");
  luaL_argcheck(L, fpg_to_int64(L, 5, &to) && to < INT32_MAX, 5, "a position expected");
  lua_settop(L, 3);
  place at = begin_rows(L, w);
  int record = lua_gettop(L) + 1;
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, w->st->types, &zone);
  for (; i <= to && w->buf->len < FPG_COPY_PIECE; i++) {
    w->row = (int)i;
    lua_rawgeti(L, 3, (int)i);
    if (!lua_istable(L, record)) /* an encoder of the user's may have changed the list since it was looked through */
      fpg_raise(L, "invalid_argument", "copy: row %d was a record when copy began, and is %s now", (int)i,
                luaL_typename(L, record));
    put_row(L, &cx, w, at, record);
    lua_settop(L, record - 1);
  }
  lua_pushinteger(L, (lua_Integer)i);
  return 1;
}

/* conn:copy_row(writer, record[, scan]) -> true when enough is there for a piece; nil, and nothing was written, where
 * the record has a key that the scan does not know.  After an error writer:place() says where it was. */
static int conn_copy_row(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  copy_writer *w = check_writer(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 4);
  if (!lua_isnil(L, 4)) {
    fpg_row_scan *scan = fpg_check_row_scan(L, 4);
    luaL_checkstack(L, 8, "copy");
    fpg_getuservalue(L, 4);
    if (!fpg_scan_record(L, scan, 5, 3)) return 0;
  }
  place at = begin_rows(L, w);
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, w->st->types, &zone);
  put_row(L, &cx, w, at, 3);
  lua_pushboolean(L, w->buf->len >= FPG_COPY_PIECE);
  return 1;
}

/* ---- the writer as an object --------------------------------------------------------------- */

/* writer:place() -> the name of the column at which copy_row or copy_list raised, or nil; of a list its row */
static int writer_place(lua_State *L) {
  copy_writer *w = check_writer(L, 1);
  if (!w->column) return 0;
  fpg_getuservalue(L, 1);
  lua_rawgeti(L, -1, w->column);
  lua_pushinteger(L, w->row);
  return 2;
}

/* writer:flat() -> how each column is written (a list of "int4", "text" and their like, false for those by their type's
 * functions), the address of the buffer, of the check for UTF-8: for code that writes rows by itself
 * (fastpg.pg.copy_compiled).  Nil where that may not be: in text, and with filters. */
static int writer_flat(lua_State *L) {
  static const char *const names[] = {[AS_INT2] = "int2", [AS_INT4] = "int4", [AS_INT8] = "int8", [AS_OID] = "oid",
                                      [AS_FLOAT8] = "float8", [AS_BOOL] = "bool", [AS_TEXT] = "text", [AS_BYTES] = "bytes"};
  copy_writer *w = check_writer(L, 1);
  fpg_getuservalue(L, 1);
  lua_getfield(L, -1, "filters");
  if (!w->binary || lua_toboolean(L, -1)) return 0;
  int n = w->st->nparams;
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    if (w->ways[i] == BY_TYPE) lua_pushboolean(L, 0);
    else lua_pushstring(L, names[w->ways[i]]);
    lua_rawseti(L, -2, i + 1);
  }
  int (*valid)(const char *, size_t) = fpg_valid_utf8;
  void *address;
  _Static_assert(sizeof valid == sizeof address, "a function's address is passed as one of data");
  memcpy(&address, &valid, sizeof address);
  lua_pushlightuserdata(L, w->buf);
  lua_pushlightuserdata(L, address);
  return 3;
}

/* writer:reserve(): the buffer has room for a piece */
static int writer_reserve(lua_State *L) {
  copy_writer *w = check_writer(L, 1);
  reserve(L, w->buf, 2 * FPG_COPY_PIECE - w->buf->len % FPG_COPY_PIECE);
  return 0;
}

/* writer:size() -> the bytes that are in it */
static int writer_size(lua_State *L) {
  fpg_push_int64(L, (int64_t)check_writer(L, 1)->buf->len);
  return 1;
}

/* writer:finish(): what ends the data */
static int writer_finish(lua_State *L) {
  copy_writer *w = check_writer(L, 1);
  if (w->binary) be_put16(fpg_buf_grow(L, w->buf, 2), UINT16_MAX);
  return 0;
}

/* conn:zone_loads() -> whether local times can be turned into instants here: else they have no binary
 * form */
static int conn_zone_loads(lua_State *L) {
  lua_pushboolean(L, fpg_zone(L, fpg_push_timezone(L, fpg_check_conn(L, 1))) != NULL);
  return 1;
}

static const luaL_Reg conn_methods[] = {
    {"copy_writer", conn_copy_writer},
    {"zone_loads", conn_zone_loads},
    {"copy_row", conn_copy_row},
    {"copy_list", conn_copy_list},
    {NULL, NULL},
};

static const luaL_Reg writer_methods[] = {
    {"place", writer_place},
    {"flat", writer_flat},
    {"reserve", writer_reserve},
    {"finish", writer_finish},
    {"size", writer_size},
    {NULL, NULL},
};

void fpg_open_copy_writer(lua_State *L) {
  luaL_newmetatable(L, WRITER_MT);
  lua_pushliteral(L, WRITER_MT);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 2);
  luaL_setfuncs(L, writer_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  fpg_add_conn_methods(L, conn_methods);
}
