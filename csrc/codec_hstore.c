/* SPDX-License-Identifier: MIT
 *
 * codec_hstore.c: hstore, a table of strings; fastpg.null is a NULL in it.
 *
 * Binary (hstore_send): int32 pairs, then int32 length and bytes of each key and of its value; a
 * length of -1 is NULL.
 * Text (hstore_out): "a"=>"1", "b"=>NULL; in quotes a backslash escapes.
 */
#include "codec_hstore.h"

#include "be.h"
#include "value.h"

enum { TEXT = 25 };

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
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Appends the text at idx (a string, a number, a value object) in quotes. */
static void put_quoted(lua_State *L, const fpg_ctx *cx, int idx, fpg_buf *out, fpg_buf *word) {
  const fpg_type *text = fpg_type_find(TEXT);
  word->len = 0;
  text->encode_text(L, cx, text, idx, word);
  fpg_buf_putc(L, out, '"');
  for (size_t i = 0; i < word->len; i++) {
    if (word->data[i] == '"' || word->data[i] == '\\') fpg_buf_putc(L, out, '\\');
    fpg_buf_putc(L, out, word->data[i]);
  }
  fpg_buf_putc(L, out, '"');
}

static void put_pair(lua_State *L, const fpg_ctx *cx, int key, fpg_buf *out, fpg_buf *word) {
  int value = key + 1, t = lua_type(L, value);
  if (lua_type(L, key) != LUA_TSTRING) fpg_bad_value(L, cx, key, "a string as key of an hstore");
  put_quoted(L, cx, key, out, word);
  fpg_buf_puts(L, out, "=>");
  if (fpg_is_null(L, value)) {
    fpg_buf_puts(L, out, "NULL");
    return;
  }
  if (t != LUA_TSTRING && t != LUA_TNUMBER && t != FPG_TCDATA && !fpg_value_kind(L, value))
    fpg_bad_value(L, cx, value, "a string, a number or fastpg.null as value of an hstore");
  put_quoted(L, cx, value, out, word);
}

int fpg_hstore_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                      fpg_buf *out) {
  size_t len, start = out->len;
  if (lua_type(L, idx) == LUA_TSTRING) {
    const char *s = lua_tolstring(L, idx, &len);
    fpg_check_text(L, cx, type, s, len);
    fpg_buf_put(L, out, s, len);
    return FPG_TEXT;
  }
  if (lua_type(L, idx) != LUA_TTABLE)
    fpg_bad_value(L, cx, idx, "hstore (text, or a table with strings as keys)");
  luaL_checkstack(L, 12, "hstore");
  int top = lua_gettop(L);
  fpg_buf *word = fpg_buf_new(L);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    if (out->len > start) fpg_buf_putc(L, out, ',');
    put_pair(L, cx, top + 2, out, word);
    lua_settop(L, top + 2);
  }
  fpg_buf_free(L, word);
  lua_settop(L, top);
  return FPG_TEXT;
}
