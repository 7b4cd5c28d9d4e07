/* SPDX-License-Identifier: MIT
 *
 * container.c: arrays.
 *
 * Binary (array_send): int32 dimensions, int32 has-nulls, uint32 element oid, then per dimension
 * int32 length and int32 lower bound, then per element int32 length (-1 is NULL) and its bytes.
 * Text (array_out): [l:u]={a,"b c",NULL,{...}}; a quoted element escapes by backslash.
 * Written as text always, which the server reads for every element type.
 */
#include <stdlib.h>

#include "be.h"
#include "types.h"

#define MAX_DIMENSIONS 6 /* MAXDIM of PostgreSQL's c.h */

/* ---- binary ------------------------------------------------------------------------------- */

typedef struct {
  const char *p, *end;
  int dims[MAX_DIMENSIONS];
  int ndim;
  fpg_decode_fn *decode;
  const fpg_type *type, *elem;
} reader;

static int read_i32(lua_State *L, reader *r) {
  if (r->end - r->p < 4) fpg_bad_length(L, r->type, "more", 0);
  int v = be_i32(r->p);
  r->p += 4;
  return v;
}

static void read_level(lua_State *L, const fpg_ctx *cx, reader *r, int level) {
  int n = r->dims[level];
  luaL_checkstack(L, 4, "array");
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    if (level + 1 < r->ndim) {
      read_level(L, cx, r, level + 1);
    } else {
      int len = read_i32(L, r);
      if (len < -1 || (len > 0 && len > r->end - r->p))
        fpg_bad_length(L, r->type, "more", (size_t)(r->end - r->p));
      if (len < 0) {
        lua_pushlightuserdata(L, NULL);
      } else {
        r->decode(L, cx, r->elem, r->p, (size_t)len);
        r->p += len;
      }
    }
    lua_rawseti(L, -2, i);
  }
}

void fpg_array_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  reader r = {p, p + len, {0}, 0, NULL, type, type->elem};
  r.ndim = read_i32(L, &r);
  read_i32(L, &r); /* has-nulls: each element says so itself */
  uint32_t oid = (uint32_t)read_i32(L, &r);
  if (r.ndim < 0 || r.ndim > MAX_DIMENSIONS || oid != type->elem->oid)
    fpg_raise(L, "protocol_violation", "%s: unexpected array header", type->name);
  r.decode = type->elem->decode_binary;
  int64_t total = 1;
  for (int i = 0; i < r.ndim; i++) {
    r.dims[i] = read_i32(L, &r);
    read_i32(L, &r); /* lower bound */
    total *= r.dims[i];
    /* each element takes four bytes at least: a header that promises more is a lie */
    if (r.dims[i] < 0 || total > (r.end - r.p) / 4 + MAX_DIMENSIONS * 8)
      fpg_raise(L, "protocol_violation", "%s: unexpected array header", type->name);
  }
  if (r.ndim == 0)
    lua_newtable(L);
  else
    read_level(L, cx, &r, 0);
  if (r.p != r.end) fpg_bad_length(L, type, "fewer", len);
}

/* ---- text --------------------------------------------------------------------------------- */

typedef struct {
  const char *p, *end;
  const fpg_type *type;
  fpg_buf *word;
} text_reader;

/* One element: quoted, or bare up to , or }.  Pushes its value. */
static void text_element(lua_State *L, const fpg_ctx *cx, text_reader *r) {
  int quoted = r->p < r->end && *r->p == '"';
  r->word->len = 0;
  if (quoted) r->p++;
  for (;;) {
    if (r->p >= r->end) fpg_bad_text(L, r->type);
    char c = *r->p;
    if (quoted ? c == '"' : (c == ',' || c == '}')) break;
    if (c == '\\' && ++r->p >= r->end) fpg_bad_text(L, r->type);
    fpg_buf_putc(L, r->word, *r->p++);
  }
  if (quoted) r->p++;
  size_t len = r->word->len;
  if (!quoted && len == 4 && memcmp(r->word->data, "NULL", 4) == 0) {
    lua_pushlightuserdata(L, NULL);
    return;
  }
  fpg_buf_putc(L, r->word, 0);
  r->type->elem->decode_text(L, cx, r->type->elem, r->word->data, len);
}

static void text_level(lua_State *L, const fpg_ctx *cx, text_reader *r, int depth) {
  if (depth > MAX_DIMENSIONS || r->p >= r->end || *r->p != '{') fpg_bad_text(L, r->type);
  luaL_checkstack(L, 4, "array");
  lua_newtable(L);
  r->p++;
  for (int i = 1; r->p < r->end && *r->p != '}'; i++) {
    if (*r->p == '{')
      text_level(L, cx, r, depth + 1);
    else
      text_element(L, cx, r);
    lua_rawseti(L, -2, i);
    if (r->p < r->end && *r->p == ',')
      r->p++;
    else if (r->p >= r->end || *r->p != '}')
      fpg_bad_text(L, r->type);
  }
  if (r->p >= r->end) fpg_bad_text(L, r->type);
  r->p++;
}

void fpg_array_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  text_reader r = {p, p + len, type, NULL};
  if (len && *p == '[') { /* [0:2]={...}: lower bounds other than 1 */
    r.p = memchr(p, '=', len);
    if (!r.p) fpg_bad_text(L, type);
    r.p++;
  }
  r.word = fpg_buf_new(L);
  text_level(L, cx, &r, 1);
  if (r.p != r.end) fpg_bad_text(L, type);
  lua_remove(L, -2);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void write_level(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, int depth,
                        fpg_buf *out);

static void write_quoted(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                         fpg_buf *out) {
  fpg_buf *word = fpg_buf_new(L);
  if (lua_type(L, idx) == LUA_TSTRING && !fpg_type_takes_tables(type->elem) && type->elem->oid != 17) {
    size_t len;
    const char *s = lua_tolstring(L, idx, &len);
    if (!fpg_valid_utf8(s, len)) fpg_bad_value(L, cx, idx, "UTF-8 text in the array");
    fpg_buf_put(L, word, s, len);
  } else {
    type->elem->encode_text(L, cx, type->elem, idx, word);
  }
  fpg_buf_putc(L, out, '"');
  for (size_t i = 0; i < word->len; i++) {
    if (word->data[i] == '"' || word->data[i] == '\\') fpg_buf_putc(L, out, '\\');
    fpg_buf_putc(L, out, word->data[i]);
  }
  fpg_buf_putc(L, out, '"');
  fpg_buf_free(L, word);
  lua_pop(L, 1);
}

/* The greatest key of a list; any key that is not a positive integer is refused. */
static int list_length(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx) {
  int64_t max = 0, count = 0, k;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (!fpg_to_int64(L, -1, &k) || k < 1) {
      lua_pop(L, 1);
      fpg_bad_value(L, cx, idx, lua_pushfstring(L, "a list for %s", type->name));
    }
    if (k > max) max = k;
    count++;
  }
  if (max != count)
    fpg_bad_value(L, cx, idx,
                  lua_pushfstring(L, "a list without holes for %s (fastpg.null for NULL)", type->name));
  return (int)max;
}

static void write_level(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, int depth,
                        fpg_buf *out) {
  if (depth > MAX_DIMENSIONS)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s of at most 6 dimensions", type->name));
  luaL_checkstack(L, 6, "array");
  int n = list_length(L, cx, type, idx);
  fpg_buf_putc(L, out, '{');
  for (int i = 1; i <= n; i++) {
    if (i > 1) fpg_buf_putc(L, out, ',');
    lua_rawgeti(L, idx, i);
    int elem = lua_gettop(L);
    if (fpg_is_null(L, elem))
      fpg_buf_puts(L, out, "NULL");
    else if (lua_type(L, elem) == LUA_TTABLE && !fpg_type_takes_tables(type->elem))
      write_level(L, cx, type, elem, depth + 1, out);
    else
      write_quoted(L, cx, type, elem, out);
    lua_pop(L, 1);
  }
  fpg_buf_putc(L, out, '}');
}

int fpg_array_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TTABLE)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "a list for %s", type->name));
  write_level(L, cx, type, idx, 1, out);
  return FPG_TEXT;
}
