/* SPDX-License-Identifier: MIT
 *
 * codec_scalar.c: the types that need no object: bool, integers, floats, text, bytea, uuid, "char", name.
 *
 * Wire forms: the *send and *recv functions of PostgreSQL's src/backend/utils/adt.
 */
#include "codec_scalar.h"

#include <math.h>
#include <stdio.h>

#include "be.h"
#include "float_text.h"
#include "hex.h"
#include "number.h"
#include "value.h"
#include "value_numeric.h"

/* ---- bool --------------------------------------------------------------------------------- */

void fpg_bool_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 1, len);
  lua_pushboolean(L, *p != 0);
}

void fpg_bool_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  if (len != 1 || (*p != 't' && *p != 'f')) fpg_bad_text(L, type);
  lua_pushboolean(L, *p == 't');
}

int fpg_bool_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  (void)type;
  if (lua_type(L, idx) != LUA_TBOOLEAN) fpg_bad_value(L, cx, idx, "boolean (true or false)");
  fpg_buf_putc(L, out, (char)lua_toboolean(L, idx));
  return FPG_BINARY;
}

int fpg_bool_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  (void)type;
  if (lua_type(L, idx) != LUA_TBOOLEAN) fpg_bad_value(L, cx, idx, "boolean (true or false)");
  fpg_buf_putc(L, out, lua_toboolean(L, idx) ? 't' : 'f');
  return FPG_TEXT;
}

/* ---- integers ----------------------------------------------------------------------------- */

void fpg_int2_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 2, len);
  lua_pushinteger(L, be_i16(p));
}

void fpg_int4_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 4, len);
  lua_pushinteger(L, be_i32(p));
}

void fpg_int8_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 8, len);
  fpg_push_int64(L, be_i64(p));
}

void fpg_oid_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 4, len);
  fpg_push_int64(L, be_u32(p));
}

void fpg_int_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
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
  if (lua_type(L, idx) == LUA_TNUMBER) return fpg_number_to_int64(L, idx, v);
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

/* What an integer type holds, and how many bytes. */
static const struct {
  int64_t min, max;
  size_t size;
} widths[] = {{INT16_MIN, INT16_MAX, 2}, {INT32_MIN, INT32_MAX, 4}, {INT64_MIN, INT64_MAX, 8}, {0, UINT32_MAX, 4}};

_Static_assert(FPG_KIND_OID - FPG_KIND_INT2 == 3, "the widths are those of int2, int4, int8, oid");

/* The integer at idx, refused when it has a fraction or the type does not hold it. */
static int64_t take_integer(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx) {
  int64_t v = 0, min = widths[type->kind - FPG_KIND_INT2].min, max = widths[type->kind - FPG_KIND_INT2].max;
  if (to_integer(L, idx, &v)) {
    if (v < min || v > max) fpg_out_of_range(L, cx, idx, type);
    return v;
  }
  if (is_integral(L, idx)) fpg_out_of_range(L, cx, idx, type);
  fpg_bad_value(L, cx, idx, type->name);
  return 0;
}

int fpg_int_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  int64_t v = take_integer(L, cx, type, idx);
  size_t size = widths[type->kind - FPG_KIND_INT2].size;
  char *to = fpg_buf_grow(L, out, size);
  if (size == 4) be_put32(to, (uint32_t)v);
  else if (size == 8) be_put64(to, (uint64_t)v);
  else be_put16(to, (uint16_t)v);
  return FPG_BINARY;
}

int fpg_int_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  fpg_buf_putint(L, out, take_integer(L, cx, type, idx));
  return FPG_TEXT;
}

/* ---- floats ------------------------------------------------------------------------------- */

void fpg_float4_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 4, len);
  lua_pushnumber(L, (lua_Number)be_f32(p));
}

void fpg_float8_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 8, len);
  lua_pushnumber(L, be_f64(p));
}

void fpg_float4_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  double d;
  if (!fpg_single_of_text(p, len, &d)) fpg_bad_text(L, type);
  lua_pushnumber(L, (lua_Number)d);
}

void fpg_float8_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
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

int fpg_float_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (!put_number(L, idx, out)) fpg_bad_value(L, cx, idx, type->name);
  return FPG_TEXT;
}

int fpg_float8_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TNUMBER) return fpg_float_encode_text(L, cx, type, idx, out);
  be_putf64(fpg_buf_grow(L, out, 8), (double)lua_tonumber(L, idx));
  return FPG_BINARY;
}

/* A number that a float4 can be: not one that would overflow, or turn into zero. */
static float take_float4(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx) {
  double d = (double)lua_tonumber(L, idx);
  float f = (float)d;
  if ((isinf(f) && !isinf(d)) || (f == 0 && d != 0)) fpg_out_of_range(L, cx, idx, type);
  return f;
}

int fpg_float4_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TNUMBER) return fpg_float_encode_text(L, cx, type, idx, out);
  float f = take_float4(L, cx, type, idx);
  be_putf32(fpg_buf_grow(L, out, 4), f);
  return FPG_BINARY;
}

int fpg_float4_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) == LUA_TNUMBER) take_float4(L, cx, type, idx);
  return fpg_float_encode_text(L, cx, type, idx, out);
}

/* ---- text and bytes ----------------------------------------------------------------------- */

void fpg_bytes_decode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx, (void)type;
  lua_pushlstring(L, p, len);
}

/* The text of one byte: byte 0 is nothing, one above 127 is \ooo, as the server prints it (from 15 on; it
 * would be no UTF-8). */
static void push_char(lua_State *L, unsigned char c) {
  char text[5] = {(char)c, 0};
  if (c > 127) snprintf(text, sizeof text, "\\%03o", c);
  lua_pushstring(L, text);
}

void fpg_char_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx;
  fpg_need_length(L, type, 1, len);
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

void fpg_char_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx, (void)type;
  if (len == 1)
    push_char(L, (unsigned char)*p);
  else
    lua_pushlstring(L, p, len);
}

/* Types whose text is a string and nothing else. */
int fpg_string_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TSTRING)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s (a string)", type->name));
  fpg_put_text(L, cx, type, idx, out);
  return FPG_TEXT;
}

int fpg_put_scalar(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TSTRING) return put_number(L, idx, out) || fpg_value_text(L, idx, out);
  fpg_put_text(L, cx, type, idx, out);
  return 1;
}

int fpg_text_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (!fpg_put_scalar(L, cx, type, idx, out))
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s (a string or a number)", type->name));
  return FPG_TEXT;
}

/* bytea_output = hex: \x0a0b; = escape: \\ for a backslash, \ooo for other bytes. */
void fpg_bytea_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
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

int fpg_bytea_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  (void)type;
  size_t len;
  if (lua_type(L, idx) != LUA_TSTRING) fpg_bad_value(L, cx, idx, "bytea (a string of bytes)");
  const char *s = lua_tolstring(L, idx, &len);
  fpg_buf_put(L, out, s, len);
  return FPG_BINARY;
}

int fpg_bytea_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
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
void fpg_uuid_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  static const char digits[] = "0123456789abcdef";
  (void)cx;
  char text[36], *t = text;
  fpg_need_length(L, type, 16, len);
  for (int i = 0; i < 16; i++) {
    unsigned char c = (unsigned char)p[i];
    if (after_hyphen(i)) *t++ = '-';
    *t++ = digits[c >> 4];
    *t++ = digits[c & 15];
  }
  lua_pushlstring(L, text, sizeof text);
}

int fpg_uuid_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
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
int fpg_name_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
  enum { LONGEST = 63, LONGEST_ANY = LONGEST * 2 / 3 };
  if (len > LONGEST) return 0;
  for (size_t i = 0; len > LONGEST_ANY && i < len; i++)
    if ((unsigned char)s[i] > 127) return 0;
  fpg_buf_put(L, out, s, len);
  return 1;
}
