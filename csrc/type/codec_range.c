/* SPDX-License-Identifier: MIT
 *
 * codec_range.c: ranges and multiranges of any subtype, the user's too.  `elem` of a range is its
 * subtype, of a multirange its range.
 *
 * Binary (range_send): one byte of flags (value_range.h), then for each bound there is int32 length and
 * bytes.  Multirange: int32 count, then per range int32 length and the range.
 * Text: [1,10), (,"a b"], empty; {[1,3),[5,6)}.
 */
#include "buffer.h"
#include "escape.h"
#include "number.h"
#include "value.h"
#include "value_range.h"
#include "codec_range.h"

#include "be.h"

/* ---- reading ------------------------------------------------------------------------------ */

/* The text of a bound as the server prints it. */
static void put_bound(lua_State *L, const fpg_ctx *cx, const fpg_type *elem, int idx, fpg_buf *out,
                      fpg_buf *word) {
  word->len = 0;
  if (fpg_is_plain_text(L, elem, idx)) {
    fpg_put_string(L, idx, word);
  } else {
    elem->encode_text(L, cx, elem, idx, word);
  }
  fpg_range_put_bound(L, out, word->data ? word->data : "", word->len);
}

/* Appends the text of a range whose bounds are at idx and idx + 1. */
static void put_range(lua_State *L, const fpg_ctx *cx, const fpg_type *elem, int flags, int idx,
                      fpg_buf *out, fpg_buf *word) {
  if (flags & FPG_RANGE_EMPTY) {
    fpg_buf_puts(L, out, "empty");
    return;
  }
  fpg_buf_putc(L, out, flags & FPG_RANGE_LOWER_INC ? '[' : '(');
  if (!(flags & FPG_RANGE_LOWER_INF)) put_bound(L, cx, elem, idx, out, word);
  fpg_buf_putc(L, out, ',');
  if (!(flags & FPG_RANGE_UPPER_INF)) put_bound(L, cx, elem, idx + 1, out, word);
  fpg_buf_putc(L, out, flags & FPG_RANGE_UPPER_INC ? ']' : ')');
}

static void read_bound(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char **p,
                       const char *end, int there) {
  if (!there) {
    lua_pushnil(L);
    return;
  }
  int len = end - *p < 4 ? -1 : be_i32(*p);
  if (len < 0 || len > end - *p - 4) fpg_bad_length(L, type, "more", (size_t)(end - *p));
  type->elem->decode_binary(L, cx, type->elem, *p + 4, (size_t)len);
  *p += 4 + len;
}

void fpg_range_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  const char *end = p + len;
  luaL_checkstack(L, 10, "range");
  if (len < 1) fpg_bad_length(L, type, "at least 1", len);
  int flags = (unsigned char)*p++ & FPG_RANGE_FLAGS, base = lua_gettop(L);
  int empty = flags & FPG_RANGE_EMPTY;
  read_bound(L, cx, type, &p, end, !empty && !(flags & FPG_RANGE_LOWER_INF));
  read_bound(L, cx, type, &p, end, !empty && !(flags & FPG_RANGE_UPPER_INF));
  if (p != end) fpg_bad_length(L, type, "fewer", len);
  fpg_buf *text = fpg_buf_new(L), *word = fpg_buf_new(L);
  put_range(L, cx, type->elem, flags, base + 1, text, word);
  lua_pushlstring(L, text->data, text->len);
  lua_replace(L, base + 3);
  lua_settop(L, base + 3);
  fpg_push_range(L, flags);
}

/* Whether the session's settings say what a bound's text looks like: the range's is made anew then, in ISO, for what
 * it may be sent back to. */
static int is_styled(const fpg_type *elem) {
  return (fpg_type_text_needs(elem) & (FPG_NEEDS_DATE_STYLE | FPG_NEEDS_INTERVAL_STYLE)) != 0;
}

void fpg_range_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  const char *start = p, *end = p + len;
  luaL_checkstack(L, 14, "range");
  if (len == 5 && memcmp(p, "empty", 5) == 0) {
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushlstring(L, p, len);
    fpg_push_range(L, FPG_RANGE_EMPTY);
    return;
  }
  if (len < 3 || (*p != '[' && *p != '(')) fpg_bad_text(L, type);
  int flags = *p++ == '[' ? FPG_RANGE_LOWER_INC : 0, base = lua_gettop(L);
  fpg_buf *word = fpg_buf_new(L);
  for (int upper = 0; upper < 2; upper++) {
    if (fpg_unquote(L, word, &p, end, ",)]")) {
      size_t size = word->len;
      fpg_buf_putc(L, word, 0);
      type->elem->decode_text(L, cx, type->elem, word->data, size);
    } else {
      lua_pushnil(L);
      flags |= upper ? FPG_RANGE_UPPER_INF : FPG_RANGE_LOWER_INF;
    }
    if (p >= end || (upper ? p + 1 != end || *p == ',' : *p != ',')) fpg_bad_text(L, type);
    if (upper && *p == ']') flags |= FPG_RANGE_UPPER_INC;
    p++;
  }
  if (is_styled(type->elem)) {
    lua_pushnil(L); /* becomes the text */
    fpg_buf *text = fpg_buf_new(L);
    put_range(L, cx, type->elem, flags, base + 2, text, word);
    lua_pushlstring(L, text->data, text->len);
    lua_replace(L, base + 4);
    lua_settop(L, base + 4);
    lua_remove(L, base + 1);
  } else {
    lua_remove(L, base + 1); /* the word */
    lua_pushlstring(L, start, len);
  }
  fpg_push_range(L, flags);
}

void fpg_multirange_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                  const char *p, size_t len) {
  const char *end = p + len;
  luaL_checkstack(L, 10, "multirange");
  int n = len < 4 ? -1 : be_i32(p);
  if (n < 0 || (size_t)n > (len - 4) / 5) fpg_bad_length(L, type, "other", len);
  p += 4;
  lua_createtable(L, n, 1);
  int list = lua_gettop(L);
  fpg_buf *text = fpg_buf_new(L);
  fpg_buf_putc(L, text, '{');
  for (int i = 1; i <= n; i++) {
    int size = end - p < 4 ? -1 : be_i32(p);
    if (size < 0 || size > end - p - 4) fpg_bad_length(L, type, "more", len);
    fpg_range_decode_binary(L, cx, type->elem, p + 4, (size_t)size);
    if (p[4] & FPG_RANGE_EMPTY) fpg_bad_binary(L, type); /* the server drops empty ones */
    p += 4 + size;
    if (i > 1) fpg_buf_putc(L, text, ',');
    fpg_value_text(L, lua_gettop(L), text);
    lua_rawseti(L, list, i);
  }
  if (p != end) fpg_bad_length(L, type, "fewer", len);
  fpg_buf_putc(L, text, '}');
  lua_pushlstring(L, text->data, text->len);
  lua_replace(L, list + 1);
  lua_settop(L, list + 1);
  fpg_push_multirange(L);
}

/* The end of the range that begins at p: its bracket outside of quotes. */
static const char *range_end(const char *p, const char *end) {
  int quoted = 0;
  for (; p < end; p++) {
    if (*p == '\\') p++;
    else if (*p == '"') quoted = !quoted;
    else if (!quoted && (*p == ']' || *p == ')')) return p + 1;
  }
  return NULL;
}

void fpg_multirange_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                const char *p, size_t len) {
  const char *end = p + len;
  luaL_checkstack(L, 14, "multirange");
  if (len < 2 || *p++ != '{') fpg_bad_text(L, type);
  lua_newtable(L);
  int list = lua_gettop(L);
  fpg_buf *text = fpg_buf_new(L);
  fpg_buf_putc(L, text, '{');
  for (int i = 1; p < end && *p != '}'; i++) {
    const char *stop = range_end(p, end);
    if (!stop || stop >= end) fpg_bad_text(L, type);
    fpg_range_decode_text(L, cx, type->elem, p, (size_t)(stop - p));
    if (i > 1) fpg_buf_putc(L, text, ',');
    fpg_value_text(L, lua_gettop(L), text);
    lua_rawseti(L, list, i);
    p = stop;
    if (*p == ',') p++;
  }
  if (p + 1 != end) fpg_bad_text(L, type);
  fpg_buf_putc(L, text, '}');
  lua_pushlstring(L, text->data, text->len);
  lua_replace(L, list + 1);
  fpg_push_multirange(L);
}

/* ---- writing ------------------------------------------------------------------------------ */

static int get_flag(lua_State *L, int idx, const char *field, int otherwise) {
  lua_getfield(L, idx, field);
  int v = lua_isnil(L, -1) ? otherwise : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return v;
}

/* The flags of { lower =, upper =, lower_inc = true, upper_inc = false, empty = }; pushes the bounds. */
static int table_parts(lua_State *L, int idx) {
  int flags = get_flag(L, idx, "empty", 0) ? FPG_RANGE_EMPTY : 0;
  lua_getfield(L, idx, "lower");
  lua_getfield(L, idx, "upper");
  if (fpg_is_null(L, -2)) flags |= FPG_RANGE_LOWER_INF;
  else if (get_flag(L, idx, "lower_inc", 1)) flags |= FPG_RANGE_LOWER_INC;
  if (fpg_is_null(L, -1)) flags |= FPG_RANGE_UPPER_INF;
  else if (get_flag(L, idx, "upper_inc", 0)) flags |= FPG_RANGE_UPPER_INC;
  return flags;
}

static int has_bounds(lua_State *L, int idx) {
  static const char *const fields[] = {"lower", "upper", "empty"};
  for (int i = 0; i < 3; i++) {
    lua_getfield(L, idx, fields[i]);
    int found = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (found) return 1;
  }
  return 0;
}

static int pass_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TSTRING) return 0;
  fpg_put_text(L, cx, type, idx, out);
  return 1;
}

/* The flags of what is at idx; pushes the bounds. */
static int range_parts(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx) {
  if (fpg_value_kind(L, idx) == FPG_V_RANGE) return fpg_range_parts(L, idx);
  if (lua_type(L, idx) == LUA_TTABLE && has_bounds(L, idx)) return table_parts(L, idx);
  return fpg_bad_value(
      L, cx, idx,
      lua_pushfstring(L, "%s (a fastpg.range, text, or a table with lower and upper)", type->name));
}

/* int32 length and bytes of the bound at idx; 0 when it has no binary form. */
static int write_bound(lua_State *L, const fpg_ctx *cx, const fpg_type *elem, int idx,
                       fpg_buf *out) {
  size_t at = out->len;
  fpg_buf_grow(L, out, 4);
  if (!fpg_encode_binary(L, cx, elem, idx, out)) return 0;
  be_put32(out->data + at, (uint32_t)(out->len - at - 4));
  return out->len - at - 4 <= INT32_MAX;
}

static int write_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *elem, int flags, int idx,
                        fpg_buf *out) {
  fpg_buf_putc(L, out, (char)flags);
  if (flags & FPG_RANGE_EMPTY) return 1;
  if (!(flags & FPG_RANGE_LOWER_INF) && !write_bound(L, cx, elem, idx, out)) return 0;
  return flags & FPG_RANGE_UPPER_INF || write_bound(L, cx, elem, idx + 1, out);
}

/* In binary where the bounds have that form and it may be. */
static int write_range(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                       int try_binary) {
  if (pass_text(L, cx, type, idx, out)) return FPG_TEXT;
  luaL_checkstack(L, 10, "range");
  int top = lua_gettop(L), flags = range_parts(L, cx, type, idx), form = FPG_BINARY;
  size_t start = out->len;
  if (!try_binary || !write_binary(L, cx, type->elem, flags, top + 1, out)) {
    form = FPG_TEXT;
    out->len = start;
    put_range(L, cx, type->elem, flags, top + 1, out, fpg_buf_new(L));
  }
  lua_settop(L, top);
  return form;
}

int fpg_range_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  return write_range(L, cx, type, idx, out, fpg_type_has_binary(type->elem));
}

int fpg_range_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                          fpg_buf *out) {
  return write_range(L, cx, type, idx, out, 0);
}

/* Pushes the list of ranges at idx; NULL and its text appended where only that is known. */
static int push_ranges(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                       fpg_buf *out) {
  int kind = fpg_value_kind(L, idx);
  if (kind != FPG_V_MULTIRANGE && lua_type(L, idx) != LUA_TTABLE)
    fpg_bad_value(
        L, cx, idx,
        lua_pushfstring(L, "%s (a fastpg.multirange, text, or a list of ranges)", type->name));
  if (kind != FPG_V_MULTIRANGE) {
    lua_pushvalue(L, idx);
    return 1;
  }
  fpg_getuservalue(L, idx);
  if (lua_rawlen(L, -1)) return 1;
  fpg_value_text(L, idx, out); /* made of text, or empty */
  return 0;
}

/* int32 ranges, then of each its length and bytes. */
static int write_ranges_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *range, int list,
                               fpg_buf *out) {
  int n = (int)lua_rawlen(L, list), binary = 1;
  be_put32(fpg_buf_grow(L, out, 4), (uint32_t)n);
  for (int i = 1; i <= n && binary; i++) {
    size_t at = out->len;
    fpg_buf_grow(L, out, 4);
    lua_rawgeti(L, list, i);
    binary = fpg_range_encode(L, cx, range, lua_gettop(L), out) == FPG_BINARY;
    be_put32(out->data + at, (uint32_t)(out->len - at - 4));
    lua_pop(L, 1);
  }
  return binary;
}

static void write_ranges_text(lua_State *L, const fpg_ctx *cx, const fpg_type *range, int list,
                              fpg_buf *out) {
  int n = (int)lua_rawlen(L, list);
  fpg_buf_putc(L, out, '{');
  for (int i = 1; i <= n; i++) {
    if (i > 1) fpg_buf_putc(L, out, ',');
    lua_rawgeti(L, list, i);
    fpg_range_encode_text(L, cx, range, lua_gettop(L), out);
    lua_pop(L, 1);
  }
  fpg_buf_putc(L, out, '}');
}

static int write_multirange(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                            fpg_buf *out, int try_binary) {
  if (pass_text(L, cx, type, idx, out)) return FPG_TEXT;
  luaL_checkstack(L, 10, "multirange");
  int top = lua_gettop(L), form = FPG_TEXT;
  size_t start = out->len;
  if (push_ranges(L, cx, type, idx, out)) {
    if (try_binary && write_ranges_binary(L, cx, type->elem, top + 1, out)) {
      form = FPG_BINARY;
    } else {
      out->len = start;
      write_ranges_text(L, cx, type->elem, top + 1, out);
    }
  }
  lua_settop(L, top);
  return form;
}

int fpg_multirange_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                          fpg_buf *out) {
  return write_multirange(L, cx, type, idx, out, fpg_type_has_binary(type->elem));
}

int fpg_multirange_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                               fpg_buf *out) {
  return write_multirange(L, cx, type, idx, out, 0);
}
