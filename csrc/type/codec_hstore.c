/* SPDX-License-Identifier: MIT
 *
 * codec_hstore.c: hstore, a table of strings; fastpg.null is a NULL in it.
 *
 * Binary (hstore_send): int32 pairs, then int32 length and bytes of each key and of its value; a
 * length of -1 is NULL.
 * Text (hstore_out): "a"=>"1", "b"=>NULL; in quotes a backslash escapes.
 *
 * The table's metatable prints it so, in the server's order: short keys first, then by their bytes.
 */
#include "codec_hstore.h"

#include <stdlib.h>

#include "be.h"
#include "buffer.h"
#include "codec_scalar.h"
#include "escape.h"
#include "number.h"
#include "value.h"

#define HSTORE_MT "fastpg.hstore"

/* ---- reading ------------------------------------------------------------------------------ */

/* Pushes the string at *p, or fastpg.null. */
static void read_string(lua_State *L, const fpg_type *type, const char **p, const char *end,
                        int nullable) {
  int len = end - *p < 4 ? -2 : be_i32(*p);
  if (len < (nullable ? -1 : 0) || len > end - *p - 4)
    fpg_bad_length(L, type, "more", (size_t)(end - *p));
  if (len < 0) lua_pushlightuserdata(L, NULL);
  else lua_pushlstring(L, *p + 4, (size_t)len);
  *p += 4 + (len < 0 ? 0 : len);
}

void fpg_hstore_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                              size_t len) {
  const char *end = p + len;
  (void)cx;
  if (len < 4) fpg_bad_length(L, type, "at least 4", len);
  int n = be_i32(p);
  p += 4;
  if (n < 0 || (size_t)n > (len - 4) / 8) fpg_bad_length(L, type, "more", len);
  luaL_checkstack(L, 6, "hstore");
  lua_createtable(L, 0, n);
  for (int i = 0; i < n; i++) {
    read_string(L, type, &p, end, 0);
    read_string(L, type, &p, end, 1);
    lua_rawset(L, -3);
  }
  if (p != end) fpg_bad_length(L, type, "fewer", len);
  luaL_setmetatable(L, HSTORE_MT);
}

static int starts(const char *p, const char *end, const char *with, size_t len) {
  return (size_t)(end - p) >= len && memcmp(p, with, len) == 0;
}

/* Pushes the quoted string at p; returns what is behind it. */
static const char *read_quoted(lua_State *L, const fpg_type *type, const char *p, const char *end,
                               fpg_buf *word) {
  if (!starts(p, end, "\"", 1)) fpg_bad_text(L, type);
  word->len = 0;
  for (p++; p < end && *p != '"'; p++) {
    if (*p == '\\' && ++p == end) break;
    fpg_buf_putc(L, word, *p);
  }
  if (p >= end) fpg_bad_text(L, type);
  lua_pushlstring(L, word->data ? word->data : "", word->len);
  return p + 1;
}

void fpg_hstore_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                            size_t len) {
  const char *end = p + len;
  (void)cx;
  luaL_checkstack(L, 6, "hstore");
  lua_newtable(L);
  int table = lua_gettop(L);
  fpg_buf *word = fpg_buf_new(L);
  while (p < end) {
    p = read_quoted(L, type, p, end, word);
    if (!starts(p, end, "=>", 2)) fpg_bad_text(L, type);
    p += 2;
    if (starts(p, end, "NULL", 4)) {
      lua_pushlightuserdata(L, NULL);
      p += 4;
    } else {
      p = read_quoted(L, type, p, end, word);
    }
    lua_rawset(L, table);
    if (p == end) break;
    if (end - p < 3 || !starts(p, end, ", ", 2)) fpg_bad_text(L, type);
    p += 2;
  }
  fpg_buf_free(L, word);
  lua_settop(L, table);
  luaL_setmetatable(L, HSTORE_MT);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* In quotes, a backslash goes before a quote and a backslash. */
static const fpg_escapes backslashed = {"\"\\", '\\'};

/* What messages call the strings in it. */
static const fpg_type string_type = {.name = "text"};

/* Where the pairs of a table go, in which form. */
typedef struct {
  const fpg_ctx *cx;
  fpg_buf *out;
  int binary, pairs;
} sink;

/* Appends the string, number or value object at idx. */
static void put_text(lua_State *L, sink *s, int idx) {
  size_t at = s->out->len;
  if (!s->binary) {
    fpg_buf_putc(L, s->out, '"');
    fpg_text_encode(L, s->cx, &string_type, idx, s->out);
    fpg_escape_from(L, s->out, at + 1, &backslashed);
    fpg_buf_putc(L, s->out, '"');
    return;
  }
  fpg_buf_grow(L, s->out, 4);
  fpg_text_encode(L, s->cx, &string_type, idx, s->out);
  size_t len = s->out->len - at - 4;
  if (len > INT32_MAX) fpg_refuse(L, s->cx, "a string of an hstore is over 2 GB");
  fpg_check_text(L, s->cx, &string_type, s->out->data + at + 4, len);
  be_put32(s->out->data + at, (uint32_t)len);
}

static void put_null(lua_State *L, sink *s) {
  if (s->binary) be_put32(fpg_buf_grow(L, s->out, 4), UINT32_MAX);
  else fpg_buf_puts(L, s->out, "NULL");
}

static void put_pair(lua_State *L, sink *s, int key) {
  int value = key + 1, t = lua_type(L, value);
  if (lua_type(L, key) != LUA_TSTRING) fpg_bad_value(L, s->cx, key, "a string as key of an hstore");
  if (!s->binary && s->pairs) fpg_buf_putc(L, s->out, ',');
  put_text(L, s, key);
  if (!s->binary) fpg_buf_puts(L, s->out, "=>");
  s->pairs++;
  if (fpg_is_null(L, value)) {
    put_null(L, s);
    return;
  }
  if (t != LUA_TSTRING && t != LUA_TNUMBER && t != FPG_TCDATA && !fpg_value_kind(L, value))
    fpg_bad_value(L, s->cx, value, "a string, a number or fastpg.null as value of an hstore");
  put_text(L, s, value);
}

/* A string is left to the server, which has its own rules for one key that comes twice. */
static int encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                  int binary) {
  if (lua_type(L, idx) == LUA_TSTRING) {
    fpg_put_text(L, cx, type, idx, out);
    return FPG_TEXT;
  }
  if (lua_type(L, idx) != LUA_TTABLE)
    fpg_bad_value(L, cx, idx, "hstore (text, or a table with strings as keys)");
  luaL_checkstack(L, 12, "hstore");
  int top = lua_gettop(L);
  size_t start = out->len;
  sink s = {cx, out, binary, 0};
  if (binary) fpg_buf_grow(L, out, 4);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    put_pair(L, &s, top + 1);
    lua_settop(L, top + 1);
  }
  if (binary) be_put32(out->data + start, (uint32_t)s.pairs);
  lua_settop(L, top);
  return binary ? FPG_BINARY : FPG_TEXT;
}

int fpg_hstore_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                      fpg_buf *out) {
  return encode(L, cx, type, idx, out, 1);
}

int fpg_hstore_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                           fpg_buf *out) {
  return encode(L, cx, type, idx, out, 0);
}

/* ---- values ------------------------------------------------------------------------------- */

typedef struct {
  const char *key, *value; /* of Lua strings in the table; value NULL: NULL */
  size_t key_len, value_len;
} pair;

static int before(const void *a, const void *b) {
  const pair *x = a, *y = b;
  if (x->key_len != y->key_len) return x->key_len < y->key_len ? -1 : 1;
  return memcmp(x->key, y->key, x->key_len);
}

/* The pairs of the table at 1; false when something else than strings is in it. */
static int read_pairs(lua_State *L, fpg_buf *pairs) {
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    pair p = {0};
    if (lua_type(L, -2) != LUA_TSTRING) return 0;
    p.key = lua_tolstring(L, -2, &p.key_len);
    if (lua_type(L, -1) == LUA_TSTRING) p.value = lua_tolstring(L, -1, &p.value_len);
    else if (!fpg_is_null(L, -1)) return 0;
    fpg_buf_put(L, pairs, &p, sizeof p);
    lua_pop(L, 1);
  }
  return 1;
}

static int hstore_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  fpg_buf *pairs = fpg_buf_new(L), *out = fpg_buf_new(L);
  if (!read_pairs(L, pairs)) {
    lua_pushfstring(L, HSTORE_MT ": %p", lua_topointer(L, 1));
    return 1;
  }
  size_t n = pairs->len / sizeof(pair);
  pair *p = (pair *)(void *)pairs->data;
  if (n) qsort(p, n, sizeof *p, before);
  for (size_t i = 0; i < n; i++) {
    if (i) fpg_buf_puts(L, out, ", ");
    fpg_put_quoted(L, out, '"', p[i].key, p[i].key_len, &backslashed);
    fpg_buf_puts(L, out, "=>");
    if (p[i].value) fpg_put_quoted(L, out, '"', p[i].value, p[i].value_len, &backslashed);
    else fpg_buf_puts(L, out, "NULL");
  }
  lua_pushlstring(L, out->data ? out->data : "", out->len);
  return 1;
}

void fpg_open_codec_hstore(lua_State *L) {
  luaL_newmetatable(L, HSTORE_MT);
  lua_pushliteral(L, HSTORE_MT);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, hstore_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
}
