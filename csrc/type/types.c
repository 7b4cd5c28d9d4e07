/* SPDX-License-Identifier: MIT
 *
 * types.c: the table of types, made of codecs.def, and the codecs of the scalar types that need no
 * object: bool, the integers, floats, text, bytea, uuid.
 *
 * Wire forms: the *send and *recv functions of PostgreSQL's src/backend/utils/adt.
 */
#include "be.h"
#include "codec_geo.h"
#include "codec_hstore.h"
#include "codec_json.h"
#include "codec_net.h"
#include "codec_range.h"
#include "codec_text.h"
#include "codec_value.h"
#include "float_text.h"
#include "hex.h"
#include "json.h"
#include "number.h"
#include "raise.h"
#include "typemap.h"
#include "utf8.h"
#include "value.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- errors ------------------------------------------------------------------------------- */

int fpg_bad_length(lua_State *L, const fpg_type *type, const char *expected, size_t got) {
  return fpg_raise(L, "protocol_violation", "%s: expected %s bytes, got %d", type->name, expected,
                   (int)got);
}

int fpg_bad_binary(lua_State *L, const fpg_type *type) {
  return fpg_raise(L, "invalid_binary_representation", "%s: malformed binary value", type->name);
}

int fpg_bad_text(lua_State *L, const fpg_type *type) {
  return fpg_raise(L, "protocol_violation", "%s: the server's text can't be read", type->name);
}

/* Pushes "$2: ", of an element of an array "$2[3][1]: ", outside a parameter "" or "[3][1]: ". */
static const char *push_place(lua_State *L, const fpg_ctx *cx) {
  if (!cx->param && !cx->depth) return lua_pushfstring(L, "%s", "");
  luaL_checkstack(L, cx->depth + 4, "arguments");
  if (cx->param) lua_pushfstring(L, "$%d", cx->param);
  else lua_pushliteral(L, "");
  for (int i = 0; i < cx->depth; i++) lua_pushfstring(L, "[%d]", cx->path[i]);
  lua_pushliteral(L, ": ");
  lua_concat(L, cx->depth + 2);
  return lua_tostring(L, -1);
}

const char fpg_columns_key = 0;

/* Pushes the name of the column that the parameter is for, and returns it; or pushes nil. */
static const char *push_column(lua_State *L, const fpg_ctx *cx) {
  lua_pushnil(L);
  if (!cx->args || !cx->param) return NULL;
  lua_rawgetp(L, cx->args, &fpg_columns_key);
  if (lua_type(L, -1) == LUA_TTABLE) {
    lua_rawgeti(L, -1, cx->param);
    if (lua_type(L, -1) == LUA_TSTRING) lua_replace(L, -3);
    else lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return lua_tostring(L, -1);
}

int fpg_refuse(lua_State *L, const fpg_ctx *cx, const char *message) {
  luaL_checkstack(L, 8, "an error");
  const char *place = push_place(L, cx), *column = push_column(L, cx);
  int name = lua_gettop(L);
  if (column) fpg_push_error(L, "invalid_argument", "column \"%s\" (%s", column, place);
  else fpg_push_error(L, "invalid_argument", "%s%s", place, message);
  if (column) { /* the place ends in ": " */
    lua_getfield(L, -1, "message");
    const char *head = lua_tostring(L, -1);
    lua_pushlstring(L, head, strlen(head) - 2);
    lua_pushfstring(L, "%s): %s", lua_tostring(L, -1), message);
    lua_setfield(L, -4, "message");
    lua_pop(L, 2);
    lua_pushvalue(L, name);
    lua_setfield(L, -2, "column_name");
  }
  fpg_push_where(L);
  lua_setfield(L, -2, "where");
  return lua_error(L);
}

/* Whether it is a list in the place of one value of a condition, and not of a column that is written. */
static int is_list_for_value(lua_State *L, const fpg_ctx *cx, int idx) {
  if (!cx->param || cx->depth || lua_type(L, idx) != LUA_TTABLE || !lua_rawlen(L, idx)) return 0;
  return !push_column(L, cx);
}

int fpg_bad_value(lua_State *L, const fpg_ctx *cx, int idx, const char *expected) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 8, "an error");
  const char *way = is_list_for_value(L, cx, idx) ? " (one of a list of values is \"= any(?)\", not \"in (?)\")" : "";
  const char *got = fpg_describe(L, idx);
  return fpg_refuse(L, cx, lua_pushfstring(L, "%s expected, got %s%s", expected, got, way));
}

/* The value at idx is a number, but not one of those that the type has. */
static int out_of_range(lua_State *L, const fpg_ctx *cx, int idx, const fpg_type *type) {
  const char *got = fpg_describe(L, idx);
  return fpg_refuse(L, cx, lua_pushfstring(L, "%s expected, got %s, which is out of range",
                                           type->name, got));
}

static void need(lua_State *L, const fpg_type *type, size_t want, size_t got) {
  if (want == got) return;
  char text[24];
  snprintf(text, sizeof text, "%zu", want);
  fpg_bad_length(L, type, text, got);
}

/* ---- bool --------------------------------------------------------------------------------- */

static void bool_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  need(L, type, 1, len);
  lua_pushboolean(L, *p != 0);
}

static void bool_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  (void)cx;
  if (len != 1 || (*p != 't' && *p != 'f')) fpg_bad_text(L, type);
  lua_pushboolean(L, *p == 't');
}

static int bool_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                       fpg_buf *out) {
  (void)type;
  if (lua_type(L, idx) != LUA_TBOOLEAN) fpg_bad_value(L, cx, idx, "boolean (true or false)");
  fpg_buf_putc(L, out, (char)lua_toboolean(L, idx));
  return FPG_BINARY;
}

static int bool_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                            fpg_buf *out) {
  (void)type;
  if (lua_type(L, idx) != LUA_TBOOLEAN) fpg_bad_value(L, cx, idx, "boolean (true or false)");
  fpg_buf_putc(L, out, lua_toboolean(L, idx) ? 't' : 'f');
  return FPG_TEXT;
}

/* ---- integers ----------------------------------------------------------------------------- */

static void int2_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  need(L, type, 2, len);
  lua_pushinteger(L, be_i16(p));
}

static void int4_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  need(L, type, 4, len);
  lua_pushinteger(L, be_i32(p));
}

static void int8_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  need(L, type, 8, len);
  fpg_push_int64(L, be_i64(p));
}

static void oid_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                              size_t len) {
  (void)cx;
  need(L, type, 4, len);
  fpg_push_int64(L, be_u32(p));
}

static void int_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                            size_t len) {
  (void)cx;
  size_t i = 0;
  int negative = len > 0 && p[0] == '-';
  uint64_t v = 0;
  if (negative) i++;
  if (i == len || len - i > 19) fpg_bad_text(L, type);
  for (; i < len; i++) {
    if (p[i] < '0' || p[i] > '9') fpg_bad_text(L, type);
    v = v * 10 + (uint64_t)(p[i] - '0');
  }
  if (v > (uint64_t)INT64_MAX + (uint64_t)negative) fpg_bad_text(L, type);
  fpg_push_int64(L, negative ? (int64_t)(0 - v) : (int64_t)v);
}

/* The value at idx as an integer; a numeric without a fraction is one too.  False when it is none,
 * or beyond 64 bits. */
static int to_integer(lua_State *L, int idx, int64_t *v) {
  if (fpg_is_numeric(L, idx)) return fpg_num_int64(lua_touserdata(L, idx), v);
  return fpg_to_int64(L, idx, v);
}

/* Whether the value at idx is an integer of any size (a float as 1e300 is; a fraction is none). */
static int is_integral(lua_State *L, int idx) {
  if (lua_type(L, idx) == LUA_TNUMBER) {
    double d = (double)lua_tonumber(L, idx);
    return d - d == 0 && d == floor(d);
  }
  if (lua_type(L, idx) == FPG_TCDATA) {
    int is = fpg_push_numeric_of(L, idx);
    if (is) lua_pop(L, 1);
    return is;
  }
  return 0;
}

/* The integer at idx, refused when it has a fraction or is outside [min, max]. */
static int64_t take_integer(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                            int64_t min, int64_t max) {
  int64_t v = 0;
  if (to_integer(L, idx, &v)) {
    if (v < min || v > max) out_of_range(L, cx, idx, type);
    return v;
  }
  if (is_integral(L, idx)) out_of_range(L, cx, idx, type);
  fpg_bad_value(L, cx, idx, type->name);
  return 0;
}

#define INT_ENCODERS(id, min, max, put)                                                   \
  static int id##_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,         \
                         fpg_buf *out) {                                                         \
    int64_t v = take_integer(L, cx, type, idx, min, max);                                        \
    put;                                                                                         \
    return FPG_BINARY;                                                                           \
  }                                                                                              \
  static int id##_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,    \
                              fpg_buf *out) {                                                    \
    fpg_buf_putint(L, out, take_integer(L, cx, type, idx, min, max));                            \
    return FPG_TEXT;                                                                             \
  }

INT_ENCODERS(int2, INT16_MIN, INT16_MAX, be_put16(fpg_buf_grow(L, out, 2), (uint16_t)v))
INT_ENCODERS(int4, INT32_MIN, INT32_MAX, be_put32(fpg_buf_grow(L, out, 4), (uint32_t)v))
INT_ENCODERS(int8, INT64_MIN, INT64_MAX, be_put64(fpg_buf_grow(L, out, 8), (uint64_t)v))
INT_ENCODERS(oid, 0, UINT32_MAX, be_put32(fpg_buf_grow(L, out, 4), (uint32_t)v))

/* ---- floats ------------------------------------------------------------------------------- */

static void float4_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                 const char *p, size_t len) {
  (void)cx;
  need(L, type, 4, len);
  lua_pushnumber(L, (lua_Number)be_f32(p));
}

static void float8_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                 const char *p, size_t len) {
  (void)cx;
  need(L, type, 8, len);
  lua_pushnumber(L, be_f64(p));
}

static void float4_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  double d;
  if (!fpg_single_of_text(p, len, &d)) fpg_bad_text(L, type);
  lua_pushnumber(L, (lua_Number)d);
}

static void float8_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  double d;
  if (!fpg_double_of_text(p, len, &d)) fpg_bad_text(L, type);
  lua_pushnumber(L, (lua_Number)d);
}

/* Appends the text of a number: a Lua number, LuaJIT's 64-bit integers, a numeric.  False, and
 * nothing appended, when the value at idx is none.  A Lua without integers means one by every
 * number that has no fraction and could be an int8 (but -0 is a float). */
static int put_number(lua_State *L, int idx, fpg_buf *out) {
  int64_t i;
  if (lua_type(L, idx) == LUA_TNUMBER) {
    double d = (double)lua_tonumber(L, idx);
    int integer = FPG_HAS_INTEGER ? lua_isinteger(L, idx) : !(d == 0 && signbit(d));
    if (integer && fpg_to_int64(L, idx, &i)) {
      fpg_buf_putint(L, out, i);
    } else {
      char text[40];
      fpg_buf_put(L, out, text, fpg_float_text(text, d, 0));
    }
    return 1;
  }
  if (fpg_is_numeric(L, idx)) return fpg_value_text(L, idx, out);
  if (lua_type(L, idx) != FPG_TCDATA || !fpg_push_numeric_of(L, idx)) return 0;
  fpg_value_text(L, -1, out);
  lua_pop(L, 1);
  return 1;
}

static int float_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                             fpg_buf *out) {
  if (!put_number(L, idx, out)) fpg_bad_value(L, cx, idx, type->name);
  return FPG_TEXT;
}

static int float8_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                         fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TNUMBER) return float_encode_text(L, cx, type, idx, out);
  be_putf64(fpg_buf_grow(L, out, 8), (double)lua_tonumber(L, idx));
  return FPG_BINARY;
}

/* A number that a float4 can be: not one that would overflow, or turn into zero. */
static float take_float4(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx) {
  double d = (double)lua_tonumber(L, idx);
  float f = (float)d;
  if ((isinf(f) && !isinf(d)) || (f == 0 && d != 0)) out_of_range(L, cx, idx, type);
  return f;
}

static int float4_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                         fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TNUMBER) return float_encode_text(L, cx, type, idx, out);
  float f = take_float4(L, cx, type, idx);
  be_putf32(fpg_buf_grow(L, out, 4), f);
  return FPG_BINARY;
}

static int float4_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                              fpg_buf *out) {
  if (lua_type(L, idx) == LUA_TNUMBER) take_float4(L, cx, type, idx);
  return float_encode_text(L, cx, type, idx, out);
}

/* ---- text and bytes ----------------------------------------------------------------------- */

static void bytes_decode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                         size_t len) {
  (void)cx, (void)type;
  lua_pushlstring(L, p, len);
}

/* What the server sends is the text: it declares an encoding in it only when the client's is not UTF-8.
 * What it receives so it reads in the encoding that the document itself declares, as text it does not:
 * hence a reader of its own, by which text_is_binary tells. */
static void xml_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                              size_t len) {
  bytes_decode(L, cx, type, p, len);
}

/* The text of one byte: byte 0 is nothing, one above 127 is \ooo, as the server prints it (from 15 on; it
 * would be no UTF-8). */
static void push_char(lua_State *L, unsigned char c) {
  char text[5] = {(char)c, 0};
  if (c > 127) snprintf(text, sizeof text, "\\%03o", c);
  lua_pushstring(L, text);
}

static void char_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  need(L, type, 1, len);
  push_char(L, (unsigned char)*p);
}

static int octal(const char *p, size_t len) {
  int v = 0;
  if (len < 3) return -1;
  for (int i = 0; i < 3; i++) {
    if (p[i] < '0' || p[i] > '7') return -1;
    v = v * 8 + (p[i] - '0');
  }
  return v <= 255 ? v : -1;
}

static void char_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  (void)cx, (void)type;
  if (len == 1)
    push_char(L, (unsigned char)*p);
  else
    lua_pushlstring(L, p, len);
}

/* A string as the server will read it.  Refused: what can't be text. */
static void put_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                     fpg_buf *out) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  fpg_check_text(L, cx, type, s, len);
  fpg_buf_put(L, out, s, len);
}

/* Types whose text is a string and nothing else. */
static int string_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                         fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TSTRING)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s (a string)", type->name));
  put_text(L, cx, type, idx, out);
  return FPG_TEXT;
}

/* Text from what is text already, a number, or one of our value objects. */
static int text_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                       fpg_buf *out) {
  if (lua_type(L, idx) == LUA_TSTRING)
    put_text(L, cx, type, idx, out);
  else if (!put_number(L, idx, out) && !fpg_value_text(L, idx, out))
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s (a string or a number)", type->name));
  return FPG_TEXT;
}

static const fpg_type list_of_other;

/* For types that have no row: the server alone understands them.  Also booleans, in its words, and
 * lists as arrays. */
static int any_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                      fpg_buf *out) {
  if (lua_type(L, idx) == LUA_TTABLE) return fpg_array_encode(L, cx, &list_of_other, idx, out);
  if (lua_type(L, idx) == LUA_TBOOLEAN) return bool_encode_text(L, cx, type, idx, out);
  if (lua_type(L, idx) == LUA_TSTRING)
    put_text(L, cx, type, idx, out);
  else if (!put_number(L, idx, out) && !fpg_value_text(L, idx, out))
    fpg_bad_value(L, cx, idx, "a string, a number, a boolean or a list");
  return FPG_TEXT;
}

/* bytea_output = hex: \x0a0b; = escape: \\ for a backslash, \ooo for other bytes. */
static void bytea_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                              size_t len) {
  (void)cx;
  fpg_buf *out = fpg_buf_new(L);
  if (len >= 2 && p[0] == '\\' && p[1] == 'x') {
    if (len % 2) fpg_bad_text(L, type);
    for (size_t i = 2; i < len; i += 2) {
      int byte = fpg_hex_byte(p + i);
      if (byte < 0) fpg_bad_text(L, type);
      fpg_buf_putc(L, out, (char)byte);
    }
  } else {
    for (size_t i = 0; i < len; i++) {
      if (p[i] != '\\') {
        fpg_buf_putc(L, out, p[i]);
      } else if (i + 1 < len && p[i + 1] == '\\') {
        fpg_buf_putc(L, out, '\\');
        i++;
      } else {
        int v = octal(p + i + 1, len - i - 1);
        if (v < 0) fpg_bad_text(L, type);
        fpg_buf_putc(L, out, (char)v);
        i += 3;
      }
    }
  }
  lua_pushlstring(L, out->data ? out->data : "", out->len);
  fpg_buf_free(L, out);
  lua_remove(L, -2);
}

static int bytea_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                        fpg_buf *out) {
  (void)type;
  size_t len;
  if (lua_type(L, idx) != LUA_TSTRING) fpg_bad_value(L, cx, idx, "bytea (a string of bytes)");
  const char *s = lua_tolstring(L, idx, &len);
  fpg_buf_put(L, out, s, len);
  return FPG_BINARY;
}

static int bytea_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                             fpg_buf *out) {
  static const char digits[] = "0123456789abcdef";
  (void)type;
  size_t len;
  if (lua_type(L, idx) != LUA_TSTRING) fpg_bad_value(L, cx, idx, "bytea (a string of bytes)");
  const char *s = lua_tolstring(L, idx, &len);
  fpg_buf_put(L, out, "\\x", 2);
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)s[i];
    fpg_buf_putc(L, out, digits[c >> 4]);
    fpg_buf_putc(L, out, digits[c & 15]);
  }
  return FPG_TEXT;
}

/* The bytes of a uuid that have a hyphen before them. */
static int after_hyphen(int i) { return i == 4 || i == 6 || i == 8 || i == 10; }

static void uuid_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  static const char digits[] = "0123456789abcdef";
  (void)cx;
  char text[36], *t = text;
  need(L, type, 16, len);
  for (int i = 0; i < 16; i++) {
    unsigned char c = (unsigned char)p[i];
    if (after_hyphen(i)) *t++ = '-';
    *t++ = digits[c >> 4];
    *t++ = digits[c & 15];
  }
  lua_pushlstring(L, text, sizeof text);
}

static int uuid_pack(lua_State *L, const char *s, size_t len, fpg_buf *out) {
  if (len != 36) return 0;
  for (int i = 0; i < 16; i++, s += 2) {
    if (after_hyphen(i) && *s++ != '-') return 0;
    int byte = fpg_hex_byte(s);
    if (byte < 0) return 0;
    fpg_buf_putc(L, out, (char)byte);
  }
  return 1;
}

/* The server cuts a name off behind 63 bytes of its own encoding, of which a character may need half
 * as many again as in UTF-8; but it does so in text only. */
static int name_pack(lua_State *L, const char *s, size_t len, fpg_buf *out) {
  enum { LONGEST = 63, LONGEST_ANY = LONGEST * 2 / 3 };
  if (len > LONGEST) return 0;
  for (size_t i = 0; len > LONGEST_ANY && i < len; i++)
    if ((unsigned char)s[i] > 127) return 0;
  fpg_buf_put(L, out, s, len);
  return 1;
}

void fpg_bytes_decode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                      size_t len) {
  bytes_decode(L, cx, type, p, len);
}

int fpg_any_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  return any_encode(L, cx, type, idx, out);
}

/* ---- the table ---------------------------------------------------------------------------- */

enum {
#define FPG_TYPE(id, name, oid, array, db, dt, e, et) T_##id,
#include "codecs.def"
#undef FPG_TYPE
  T_COUNT
};

static const fpg_type base_types[T_COUNT];

static const fpg_type base_types[T_COUNT] = {
/* (macro parameters can't be named like the members) */
#define FPG_TYPE(id, nm, o, array, db, dt, e, et) \
  {.oid = o, .name = nm, .decode_binary = db, .decode_text = dt, .encode = e, .encode_text = et},
#define FPG_PACKED(id, nm, o, array, db, dt, e, et, pk) \
  {.oid = o,                                            \
   .name = nm,                                          \
   .decode_binary = db,                                 \
   .decode_text = dt,                                   \
   .encode = e,                                         \
   .encode_text = et,                                   \
   .pack = pk},
#define FPG_RANGE(id, nm, o, array, el)          \
  {.oid = o,                                     \
   .name = nm,                                   \
   .decode_binary = fpg_range_decode_binary,     \
   .decode_text = fpg_range_decode_text,         \
   .encode = fpg_range_encode,                   \
   .encode_text = fpg_range_encode_text,              \
   .elem = &base_types[T_##el]},
#define FPG_MULTIRANGE(id, nm, o, array, el)     \
  {.oid = o,                                     \
   .name = nm,                                   \
   .decode_binary = fpg_multirange_decode_binary, \
   .decode_text = fpg_multirange_decode_text,    \
   .encode = fpg_multirange_encode,              \
   .encode_text = fpg_multirange_encode_text,         \
   .elem = &base_types[T_##el]},
#include "codecs.def"
#undef FPG_TYPE
#undef FPG_PACKED
#undef FPG_RANGE
#undef FPG_MULTIRANGE
};

static const fpg_type array_types[T_COUNT] = {
#define FPG_TYPE(id, nm, o, array, db, dt, e, et) \
  {.oid = array,                                  \
   .name = nm "[]",                               \
   .decode_binary = fpg_array_decode_binary,      \
   .decode_text = fpg_array_decode_text,          \
   .encode = fpg_array_encode,                    \
   .encode_text = fpg_array_encode_text,               \
   .elem = &base_types[T_##id]},
#include "codecs.def"
#undef FPG_TYPE
};

const fpg_type fpg_type_other = {.name = "a type without a codec",
                                 .decode_text = bytes_decode,
                                 .encode = any_encode,
                                 .encode_text = any_encode};

static const fpg_type list_of_other = {.name = "an array",
                                       .decode_text = fpg_array_decode_text,
                                       .encode = fpg_array_encode,
                                       .encode_text = fpg_array_encode_text,
                                       .elem = &fpg_type_other};

/* One byte for each oid below OID_LIMIT says which row: 0 is none, else row + 1, with the high bit
 * for the array type.  The built-in oids of today end at 6157. */
#define OID_LIMIT 6200

_Static_assert(T_COUNT < 127, "a row's number no longer fits into seven bits");

static const unsigned char rows_by_oid[OID_LIMIT] = {
#define FPG_TYPE_ALONE(id, name, oid, db, dt, e, et) [oid] = T_##id + 1,
#define FPG_TYPE(id, name, oid, array, db, dt, e, et) \
  [oid] = T_##id + 1, [array] = 128 | (T_##id + 1),
#include "codecs.def"
#undef FPG_TYPE
#undef FPG_TYPE_ALONE
};

const fpg_type *fpg_type_find(uint32_t oid) {
  if (oid == 0 || oid >= OID_LIMIT || !rows_by_oid[oid]) return NULL;
  int row = (rows_by_oid[oid] & 127) - 1;
  return rows_by_oid[oid] & 128 ? &array_types[row] : &base_types[row];
}

/* Whether the text of a bound made here may differ from the server's: in spaces, quotes, the order of
 * keys, digits. */
static int prints_its_own_way(const fpg_type *subtype) {
  return subtype->elem || subtype->nfields || subtype->encode == fpg_json_encode ||
         subtype->encode == fpg_hstore_encode || subtype->encode == float4_encode;
}

/* (A composite type may hold an array of itself, hence the depth.) */
static int has_binary(const fpg_type *type, int depth, int no_choice) {
  if (!type->decode_binary) return 0;
  if (depth > 32) return 1;
  if (type->elem && !has_binary(type->elem, depth + 1, no_choice)) return 0;
  if (type->encode == fpg_range_encode && !no_choice && prints_its_own_way(type->elem)) return 0;
  for (int i = 0; i < type->nfields; i++)
    if (!has_binary(type->fields[i], depth + 1, no_choice)) return 0;
  return 1;
}

static int text_needs(const fpg_type *type, int depth) {
  fpg_decode_fn *read = type->decode_text;
  if (depth > 32) return 0;
  if (read == fpg_date_decode_text || read == fpg_timestamp_decode_text) return FPG_NEEDS_DATE_STYLE;
  if (read == fpg_timestamptz_decode_text) return FPG_NEEDS_DATE_STYLE | FPG_NEEDS_ZONE;
  if (read == fpg_interval_decode_text) return FPG_NEEDS_INTERVAL_STYLE;
  if (read == float4_decode_text || read == float8_decode_text || fpg_type_is_geometric(type)) return FPG_NEEDS_DIGITS;
  int needs = type->elem ? text_needs(type->elem, depth + 1) : 0;
  for (int i = 0; i < type->nfields; i++) needs |= text_needs(type->fields[i], depth + 1);
  return needs;
}

int fpg_type_text_needs(const fpg_type *type) { return text_needs(type, 0); }

int fpg_type_takes_lists(const fpg_type *type) {
  return type->encode == fpg_json_encode || type->encode == fpg_user_encode ||
         type->encode == fpg_multirange_encode || type->encode == fpg_hstore_encode ||
         type->encode == fpg_array_encode; /* a domain over an array */
}

int fpg_type_takes_tables(const fpg_type *type) {
  return type->nfields > 0 || type->encode == fpg_range_encode || fpg_type_takes_lists(type) ||
         fpg_type_is_geometric(type);
}

int fpg_type_has_binary(const fpg_type *type) { return has_binary(type, 0, 0); }

int fpg_type_reads_binary(const fpg_type *type) { return has_binary(type, 0, 1); }

const char *fpg_type_kind(const fpg_type *type) {
  static const struct {
    fpg_encode_fn *encode;
    const char *kind;
  } kinds[] = {
      {fpg_json_encode, "json"},     {fpg_array_encode, "array"}, {fpg_hstore_encode, "hstore"},
      {fpg_composite_encode, "composite"}, {bytea_encode, "bytea"}, {float4_encode, "float4"},
      {float8_encode, "float8"},     {int2_encode, "integer"},    {int4_encode, "integer"},
      {int8_encode, "integer"},      {oid_encode, "integer"},     {fpg_user_encode, "user"},
  };
  if (type->decode_text == fpg_user_decode_text) return "user"; /* whatever it is written by */
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (type->encode == kinds[i].encode) return kinds[i].kind;
  return "other";
}

/* ---- parameters --------------------------------------------------------------------------- */

void fpg_check_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *s,
                    size_t len) {
  if (fpg_valid_utf8(s, len)) return;
  fpg_refuse(L, cx,
             lua_pushfstring(L, "%s expected, got a string %s (bytes are for bytea parameters)",
                             type == &fpg_type_other ? "text" : type->name,
                             memchr(s, 0, len) ? "with a zero byte" : "that is not UTF-8"));
}

int fpg_is_plain_text(lua_State *L, const fpg_type *type, int idx) {
  return lua_type(L, idx) == LUA_TSTRING && type->encode != fpg_json_encode &&
         type->encode != fpg_user_encode && type->encode != bytea_encode;
}

/* Checks what an encoder wrote from `start` on: strings may be anywhere inside of it. */
static void check_written(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const fpg_buf *out,
                          size_t start) {
  if (out->len > start) fpg_check_text(L, cx, type, out->data + start, out->len - start);
}

/* Appends a string's binary form; 0, and nothing, where the server is to parse it. */
static int pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  size_t start = out->len;
  if (type->pack && type->pack(L, s, len, out)) return 1;
  out->len = start;
  return 0;
}

/* The same for what an encoder wrote from `start` on: of a number, say, which is short. */
static int pack_written(lua_State *L, const fpg_type *type, fpg_buf *out, size_t start) {
  char text[32] = {0};
  size_t len = out->len - start;
  if (!type->pack || len > sizeof text) return 0;
  if (len) memcpy(text, out->data + start, len);
  out->len = start;
  if (pack(L, type, text, len, out)) return 1;
  fpg_buf_put(L, out, text, len);
  return 0;
}

int fpg_encode_param(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                     const char **direct, size_t *direct_len) {
  size_t start = out->len;
  if (fpg_is_plain_text(L, type, idx)) {
    const char *s = lua_tolstring(L, idx, direct_len);
    fpg_check_text(L, cx, type, s, *direct_len);
    if (pack(L, type, s, *direct_len, out)) return FPG_BINARY;
    *direct = s;
    return FPG_TEXT;
  }
  if (type->encode == bytea_encode && lua_type(L, idx) == LUA_TSTRING) {
    *direct = lua_tolstring(L, idx, direct_len);
    return FPG_BINARY;
  }
  if (type->encode(L, cx, type, idx, out) == FPG_BINARY) return FPG_BINARY;
  check_written(L, cx, type, out, start);
  return pack_written(L, type, out, start) ? FPG_BINARY : FPG_TEXT;
}

/* ---- COPY --------------------------------------------------------------------------------- */

void fpg_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  size_t start = out->len;
  if (fpg_is_plain_text(L, type, idx)) {
    put_text(L, cx, type, idx, out);
  } else {
    type->encode_text(L, cx, type, idx, out);
    check_written(L, cx, type, out, start);
  }
}

/* Types whose binary form is any text itself (of bytea: the bytes): they are read so, too.  That of
 * jsonb has a version before it. */
static int text_is_binary(const fpg_type *type) {
  fpg_decode_fn *read = type->decode_binary;
  if (type->pack) return 0;
  return read == bytes_decode || read == fpg_bytes_decode ||
         (type->encode == fpg_json_encode &&
          (read == fpg_json_decode || read == fpg_jsonb_decode_binary));
}

static int encode_string_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                                fpg_buf *out) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  if (!type->pack && !text_is_binary(type)) return 0;
  fpg_check_text(L, cx, type, s, len);
  if (type->pack) return pack(L, type, s, len, out);
  fpg_buf_put(L, out, s, len);
  return 1;
}

int fpg_encode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                      fpg_buf *out) {
  if (fpg_is_plain_text(L, type, idx)) return encode_string_binary(L, cx, type, idx, out);
  if (type->decode_binary == fpg_jsonb_decode_binary) fpg_buf_putc(L, out, 1);
  size_t start = out->len;
  if (type->encode(L, cx, type, idx, out) == FPG_BINARY || text_is_binary(type)) return 1;
  return pack_written(L, type, out, start);
}

/* (Where `encode` and `encode_text` are one function it writes text.) */
const char *fpg_type_binary_values(const fpg_type *type) {
  if (text_is_binary(type)) return "any";
  if (type->encode == fpg_array_encode) { /* a list may hold strings */
    const char *elements = fpg_type_binary_values(type->elem);
    if (elements && strcmp(elements, "any") == 0) return "values";
  }
  if (type->elem || type->nfields) return fpg_type_has_binary(type) ? "none" : NULL;
  if (type->encode == type->encode_text) return type->pack ? "none" : NULL;
  return type->encode == float4_encode || type->encode == float8_encode ? "numbers" : "values";
}
