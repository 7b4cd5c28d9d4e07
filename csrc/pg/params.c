/* SPDX-License-Identifier: MIT
 *
 * params.c: the arguments of one statement in one arena.
 *
 * Bytes go into c->buf one value after the other; since it may move while it grows, positions are
 * kept as offsets and turned into pointers at the end.  A Lua string that the server parses is not
 * copied where it stands on the caller's stack, which anchors it until it is sent.  One in a list is:
 * the list is the user's, and what encodes a later argument may change it.  Only a long one is anchored
 * instead, in a table of this call.
 *
 *   argv:  [ const char *value × n ][ int length × n ][ int format × n ]
 *
 * Encoding may run Lua code (a codec of the user's, a finalizer), and that code another statement on
 * this connection: meanwhile the arenas are taken out of it, and made anew where they are missing.
 */
#include "buffer.h"
#include "params.h"
#include "number.h"
#include "raise.h"

#define KEEP_BYTES (1 << 20) /* an arena that grew beyond this is given back after its statement */
#define COPY_BYTES (1 << 14) /* a string of a list is copied up to this size, else anchored */

/* What the server takes as one message (PQ_LARGE_MESSAGE_LIMIT of its libpq.h); a larger one ends the session
 * after all of it was sent. */
#define MESSAGE_BYTES 0x3ffffffe

static size_t add_to_message(lua_State *L, size_t total, size_t len, int param) {
  if (len > MESSAGE_BYTES)
    fpg_raise(L, "program_limit_exceeded", "$%d: the value has over 1 GB, more than the server takes at once: send it "
              "in parts (a large object, or rows by COPY)", param);
  if (total + len > MESSAGE_BYTES)
    fpg_raise(L, "program_limit_exceeded", "the arguments up to $%d have over 1 GB together, more than the server takes "
              "at once: send them in parts (several statements, or COPY)", param);
  return total + len;
}

static void check_count(lua_State *L, const fpg_stmt *st, int n) {
  if (n == st->nparams) return;
  fpg_raise(L, "invalid_argument", "too %s arguments: the statement takes %d, got %d",
            n < st->nparams ? "few" : "many", st->nparams, n);
}

/* Pushes an arena and takes it out of the connection, whose anchors are at that index. */
static fpg_buf *take_arena(lua_State *L, fpg_buf **held, int anchors, int i) {
  fpg_buf *b = *held;
  if (!b) return fpg_buf_new(L);
  lua_rawgeti(L, anchors, i);
  *held = NULL;
  b->len = 0;
  if (b->cap > KEEP_BYTES) fpg_buf_free(L, b);
  return b;
}

static void put_back(lua_State *L, fpg_buf **held, fpg_buf *b, int anchors, int i) {
  lua_pushvalue(L, anchors + i);
  lua_rawseti(L, anchors, i);
  *held = b;
}

/* (libpq's own text of it is gone after a SET) */
const char *fpg_push_timezone(lua_State *L, const void *session) {
  const fpg_conn *c = session;
  const char *zone = c->reads ? c->zone : PQparameterStatus(c->pg, "TimeZone");
  lua_pushstring(L, zone ? zone : "UTC");
  return lua_tostring(L, -1);
}

fpg_ctx fpg_context(const fpg_conn *c, const fpg_typemap *types, fpg_zone_memo *zone) {
  *zone = (fpg_zone_memo){fpg_push_timezone, c, NULL, 0};
  return (fpg_ctx){.zone = zone,
                   .server = c->reads ? c->server : PQserverVersion(c->pg),
                   .date_order = c->date_order,
                   .zone_changed = c->zone_changed,
                   .types = types,
                   .texts = c->has_texts ? &c->has_texts : NULL,
                   .ready = c->has_ready ? &c->has_ready : NULL,
                   .finder = &fpg_typemap_finder};
}

/* Keeps the string on top until the arguments are sent; `table` is the index of the table for that, nil
 * until one is needed. */
static void keep_string(lua_State *L, int table) {
  if (lua_isnil(L, table)) {
    lua_newtable(L);
    lua_replace(L, table);
  }
  lua_pushvalue(L, -1);
  lua_rawseti(L, table, (int)lua_rawlen(L, table) + 1);
}

#define ENCODED_MT "fastpg.encoded"

fpg_encoded *fpg_encoded_new(lua_State *L) {
  fpg_encoded *e = fpg_newuserdata(L, sizeof *e);
  *e = (fpg_encoded){"", 0, FPG_TEXT};
  luaL_newmetatable(L, ENCODED_MT); /* (made at its first use) */
  lua_setmetatable(L, -2);
  return e;
}

static const fpg_encoded *encoded_at(lua_State *L, int idx) {
  return lua_type(L, idx) == LUA_TUSERDATA ? luaL_testudata(L, idx, ENCODED_MT) : NULL;
}

fpg_args fpg_encode_args(lua_State *L, fpg_conn *c, const fpg_stmt *st, int list, int first,
                         int n) {
  check_count(L, st, n);
  if (n == 0) return (fpg_args){NULL, NULL, NULL, 0};
  int top = lua_gettop(L), anchors = top + 1;
  luaL_checkstack(L, 16, "arguments");
  fpg_getuservalue(L, 1);
  fpg_buf *buf = take_arena(L, &c->buf, anchors, 1), *argv = take_arena(L, &c->argv, anchors, 2);
  fpg_buf_grow(L, argv, (size_t)n * (sizeof(char *) + 2 * sizeof(int)) + 1);
  const char **values = (const char **)(void *)argv->data;
  int *lengths = (int *)(void *)(values + n), *formats = lengths + n;
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, st->types, &zone);
  cx.args = list;
  lua_pushnil(L);
  int kept = lua_gettop(L);
  size_t total = strlen(st->name) + 16;
  for (int i = 0; i < n; i++) {
    int idx = first + i;
    if (list) {
      lua_rawgeti(L, list, i + 1);
      idx = lua_gettop(L);
    }
    cx.param = i + 1;
    values[i] = NULL;
    lengths[i] = -1; /* NULL */
    formats[i] = FPG_TEXT;
    if (!fpg_is_null(L, idx)) {
      size_t at = buf->len, len = 0;
      const char *direct = NULL;
      const fpg_encoded *encoded = list ? encoded_at(L, idx) : NULL;
      if (encoded) {
        formats[i] = encoded->format;
        direct = encoded->data;
        len = encoded->len;
      } else {
        formats[i] = fpg_encode_param(L, &cx, st->params[i], idx, buf, &direct, &len);
      }
      if (encoded) {
        /* it is held as long as the list is */
      } else if (direct && list && len <= COPY_BYTES) {
        fpg_buf_put(L, buf, direct, len);
        direct = NULL;
      } else if (direct && list) {
        keep_string(L, kept);
      }
      if (!direct) len = buf->len - at;
      total = add_to_message(L, total, len + 6, i + 1); /* with its length and its format */
      if (!direct) fpg_buf_putc(L, buf, 0); /* libpq finds the end of a text value by strlen */
      values[i] = direct;
      lengths[i] = (int)len;
    }
    if (list) lua_pop(L, 1);
  }
  const char *p = buf->data;
  for (int i = 0; i < n; i++) {
    if (lengths[i] < 0 || values[i]) continue;
    values[i] = p;
    p += lengths[i] + 1;
  }
  for (int i = 0; i < n; i++)
    if (lengths[i] < 0) lengths[i] = 0;
  put_back(L, &c->buf, buf, anchors, 1);
  put_back(L, &c->argv, argv, anchors, 2);
  if (!c->pg) fpg_raise(L, "closed", "the connection was closed while its arguments were encoded");
  lua_settop(L, top); /* nothing of Lua runs before libpq has taken its copies */
  return (fpg_args){values, lengths, formats, total};
}
