/* SPDX-License-Identifier: MIT
 *
 * types.c: the table of types, made of codecs.def, and the codecs of the scalar types that need no
 * object: bool, the integers, floats, text, bytea, uuid.
 *
 * Wire forms: the *send and *recv functions of PostgreSQL's src/backend/utils/adt.
 */
#include "typemap.h"

#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "be.h"
#include "codec_value.h"
#include "json.h"
#include "value.h"

/* ---- errors ------------------------------------------------------------------------------- */

int fpg_bad_length(lua_State *L, const fpg_type *type, const char *expected, size_t got) {
  return fpg_raise(L, "protocol_violation", "%s: expected %s bytes, got %d", type->name, expected,
                   (int)got);
}

int fpg_bad_text(lua_State *L, const fpg_type *type) {
  return fpg_raise(L, "protocol_violation", "%s: the server's text can't be read", type->name);
}

int fpg_bad_value(lua_State *L, const fpg_ctx *cx, int idx, const char *expected) {
  const char *got = fpg_describe(L, idx);
  if (cx->param)
    return fpg_raise(L, "invalid_argument", "$%d: %s expected, got %s", cx->param, expected, got);
  return fpg_raise(L, "invalid_argument", "%s expected, got %s", expected, got);
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
  if (lua_type(L, idx) != LUA_TBOOLEAN) fpg_bad_value(L, cx, idx, "boolean");
  fpg_buf_putc(L, out, (char)lua_toboolean(L, idx));
  return FPG_BINARY;
}

static int bool_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                            fpg_buf *out) {
  (void)type;
  if (lua_type(L, idx) != LUA_TBOOLEAN) fpg_bad_value(L, cx, idx, "boolean");
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

/* The integer at idx, refused when it has a fraction or is outside [min, max]. */
static int64_t take_integer(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                            int64_t min, int64_t max) {
  int64_t v = 0;
  if (!fpg_to_int64(L, idx, &v)) {
    fpg_buf *text = fpg_buf_new(L); /* a numeric that is integral is an integer too */
    if (fpg_value_text(L, idx, text) == FPG_V_NUMERIC) {
      char *end;
      fpg_buf_putc(L, text, 0);
      v = strtoll(text->data, &end, 10);
      while (*end == '.' || *end == '0') end++;
      if (*end || text->len > 20) fpg_bad_value(L, cx, idx, type->name);
    } else {
      fpg_bad_value(L, cx, idx, type->name);
    }
    lua_pop(L, 1);
  }
  if (v < min || v > max) {
    const char *got = fpg_describe(L, idx);
    if (cx->param)
      fpg_raise(L, "invalid_argument", "$%d: %s expected, got %s, which is out of range", cx->param,
                type->name, got);
    fpg_raise(L, "invalid_argument", "%s expected, got %s, which is out of range", type->name, got);
  }
  return v;
}

#define INT_ENCODERS(id, min, max, bytes, put)                                                   \
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

INT_ENCODERS(int2, INT16_MIN, INT16_MAX, 2, be_put16(fpg_buf_grow(L, out, 2), (uint16_t)v))
INT_ENCODERS(int4, INT32_MIN, INT32_MAX, 4, be_put32(fpg_buf_grow(L, out, 4), (uint32_t)v))
INT_ENCODERS(int8, INT64_MIN, INT64_MAX, 8, be_put64(fpg_buf_grow(L, out, 8), (uint64_t)v))
INT_ENCODERS(oid, 0, UINT32_MAX, 4, be_put32(fpg_buf_grow(L, out, 4), (uint32_t)v))

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

/* Copies into a terminated buffer; a float's text is short. */
static const char *float_text(lua_State *L, const fpg_type *type, char buf[64], const char *p,
                              size_t len) {
  if (len == 0 || len >= 64) fpg_bad_text(L, type);
  memcpy(buf, p, len);
  buf[len] = 0;
  return buf;
}

/* The host may have set a locale whose decimal point is a comma. */
static locale_t c_locale(void) {
  static locale_t c;
  if (!c) c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  return c;
}

static void float4_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  char buf[64], *end;
  float f = strtof_l(float_text(L, type, buf, p, len), &end, c_locale());
  if (*end) fpg_bad_text(L, type);
  lua_pushnumber(L, (lua_Number)f);
}

static void float8_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  (void)cx;
  char buf[64], *end;
  double d = strtod_l(float_text(L, type, buf, p, len), &end, c_locale());
  if (*end) fpg_bad_text(L, type);
  lua_pushnumber(L, d);
}

static int float_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                             fpg_buf *out) {
  int64_t i;
  if (lua_type(L, idx) == LUA_TNUMBER && !lua_isinteger(L, idx)) {
    char text[40];
    fpg_buf_put(L, out, text, fpg_float_text(text, (double)lua_tonumber(L, idx), 0));
  } else if (fpg_to_int64(L, idx, &i)) {
    fpg_buf_putint(L, out, i);
  } else if (fpg_value_text(L, idx, out) != FPG_V_NUMERIC) {
    fpg_bad_value(L, cx, idx, type->name);
  }
  return FPG_TEXT;
}

static int float8_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                         fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TNUMBER) return float_encode_text(L, cx, type, idx, out);
  be_putf64(fpg_buf_grow(L, out, 8), (double)lua_tonumber(L, idx));
  return FPG_BINARY;
}

static int float4_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                         fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TNUMBER) return float_encode_text(L, cx, type, idx, out);
  double d = (double)lua_tonumber(L, idx);
  float f = (float)d;
  if (f - f != 0 && d - d == 0) return float_encode_text(L, cx, type, idx, out); /* server: range */
  be_putf32(fpg_buf_grow(L, out, 4), f);
  return FPG_BINARY;
}

/* ---- text and bytes ----------------------------------------------------------------------- */

static void bytes_decode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                         size_t len) {
  (void)cx, (void)type;
  lua_pushlstring(L, p, len);
}

/* Text from what is text already, a number, or one of our value objects. */
static int text_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                       fpg_buf *out) {
  size_t len;
  const char *s;
  switch (lua_type(L, idx)) {
    case LUA_TSTRING:
      s = lua_tolstring(L, idx, &len);
      fpg_buf_put(L, out, s, len);
      break;
    case LUA_TNUMBER:
    case FPG_TCDATA: float_encode_text(L, cx, type, idx, out); break;
    default:
      if (!fpg_value_text(L, idx, out)) fpg_bad_value(L, cx, idx, type->name);
  }
  return FPG_TEXT;
}

static const fpg_type list_of_other;

/* For types the server alone understands: also booleans, in its words, and lists (of an enum, say)
 * as arrays. */
static int any_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                      fpg_buf *out) {
  if (lua_type(L, idx) == LUA_TTABLE) return fpg_array_encode(L, cx, &list_of_other, idx, out);
  if (lua_type(L, idx) == LUA_TBOOLEAN) return bool_encode_text(L, cx, type, idx, out);
  return text_encode(L, cx, type, idx, out);
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/* bytea_output = hex: \x0a0b; = escape: \\ for a backslash, \ooo for other bytes. */
static void bytea_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                              size_t len) {
  (void)cx;
  fpg_buf *out = fpg_buf_new(L);
  if (len >= 2 && p[0] == '\\' && p[1] == 'x') {
    if (len % 2) fpg_bad_text(L, type);
    for (size_t i = 2; i < len; i += 2) {
      int hi = hex(p[i]), lo = hex(p[i + 1]);
      if (hi < 0 || lo < 0) fpg_bad_text(L, type);
      fpg_buf_putc(L, out, (char)(hi << 4 | lo));
    }
  } else {
    for (size_t i = 0; i < len; i++) {
      if (p[i] != '\\') {
        fpg_buf_putc(L, out, p[i]);
      } else if (i + 1 < len && p[i + 1] == '\\') {
        fpg_buf_putc(L, out, '\\');
        i++;
      } else {
        if (i + 3 >= len) fpg_bad_text(L, type);
        int v = (p[i + 1] - '0') << 6 | (p[i + 2] - '0') << 3 | (p[i + 3] - '0');
        if (v < 0 || v > 255) fpg_bad_text(L, type);
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
  size_t len;
  if (lua_type(L, idx) != LUA_TSTRING) fpg_bad_value(L, cx, idx, type->name);
  const char *s = lua_tolstring(L, idx, &len);
  fpg_buf_put(L, out, s, len);
  return FPG_BINARY;
}

static int bytea_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                             fpg_buf *out) {
  static const char digits[] = "0123456789abcdef";
  size_t len;
  if (lua_type(L, idx) != LUA_TSTRING) fpg_bad_value(L, cx, idx, type->name);
  const char *s = lua_tolstring(L, idx, &len);
  fpg_buf_put(L, out, "\\x", 2);
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)s[i];
    fpg_buf_putc(L, out, digits[c >> 4]);
    fpg_buf_putc(L, out, digits[c & 15]);
  }
  return FPG_TEXT;
}

static void uuid_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  static const char digits[] = "0123456789abcdef";
  (void)cx;
  char text[36], *t = text;
  need(L, type, 16, len);
  for (int i = 0; i < 16; i++) {
    unsigned char c = (unsigned char)p[i];
    if (i == 4 || i == 6 || i == 8 || i == 10) *t++ = '-';
    *t++ = digits[c >> 4];
    *t++ = digits[c & 15];
  }
  lua_pushlstring(L, text, sizeof text);
}

void fpg_bytes_decode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                      size_t len) {
  bytes_decode(L, cx, type, p, len);
}

int fpg_any_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  return any_encode(L, cx, type, idx, out);
}

/* ---- the table ---------------------------------------------------------------------------- */

#define NO_ARRAY 0

enum {
#define FPG_TYPE(id, name, oid, array, db, dt, e, et) T_##id,
#include "codecs.def"
#undef FPG_TYPE
  T_COUNT
};

static const fpg_type base_types[T_COUNT] = {
/* (macro parameters can't be named like the members) */
#define FPG_TYPE(id, nm, o, array, db, dt, e, et) \
  {.oid = o, .name = nm, .decode_binary = db, .decode_text = dt, .encode = e, .encode_text = et},
#include "codecs.def"
#undef FPG_TYPE
};

static const fpg_type array_types[T_COUNT] = {
#define FPG_TYPE(id, nm, o, array, db, dt, e, et) \
  {.oid = array,                                  \
   .name = nm "[]",                               \
   .decode_binary = fpg_array_decode_binary,      \
   .decode_text = fpg_array_decode_text,          \
   .encode = fpg_array_encode,                    \
   .encode_text = fpg_array_encode,               \
   .elem = &base_types[T_##id]},
#include "codecs.def"
#undef FPG_TYPE
};

const fpg_type fpg_type_other = {.name = "a type without a codec",
                                 .decode_text = bytes_decode,
                                 .encode = any_encode,
                                 .encode_text = any_encode};

static const fpg_type list_of_other = {.name = "a list of a type without a codec",
                                       .decode_text = bytes_decode,
                                       .encode = fpg_array_encode,
                                       .encode_text = fpg_array_encode,
                                       .elem = &fpg_type_other};

/* Built-in oids are below 4096: one byte each says which row.  0 is none, else row + 1, with the
 * high bit for the array type.  (Types without an array type all write entry 0, which is unused.) */
#define OID_LIMIT 4096

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const unsigned char rows_by_oid[OID_LIMIT] = {
#define FPG_TYPE(id, name, oid, array, db, dt, e, et) \
  [oid] = T_##id + 1, [array] = 128 | (T_##id + 1),
#include "codecs.def"
#undef FPG_TYPE
};
#pragma GCC diagnostic pop

const fpg_type *fpg_type_find(uint32_t oid) {
  if (oid == 0 || oid >= OID_LIMIT || !rows_by_oid[oid]) return NULL;
  int row = (rows_by_oid[oid] & 127) - 1;
  return rows_by_oid[oid] & 128 ? &array_types[row] : &base_types[row];
}

/* (A composite type may hold an array of itself, hence the depth.) */
static int has_binary(const fpg_type *type, int depth) {
  if (!type->decode_binary) return 0;
  if (depth > 32) return 1;
  if (type->elem && !has_binary(type->elem, depth + 1)) return 0;
  for (int i = 0; i < type->nfields; i++)
    if (!has_binary(type->fields[i], depth + 1)) return 0;
  return 1;
}

int fpg_type_takes_tables(const fpg_type *type) {
  return type->nfields > 0 || type->encode == fpg_json_encode || type->encode == fpg_user_encode;
}

int fpg_type_has_binary(const fpg_type *type) { return has_binary(type, 0); }

int fpg_encode_param(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                     const char **direct, size_t *direct_len) {
  if (lua_type(L, idx) == LUA_TSTRING && type->encode != fpg_json_encode) {
    *direct = lua_tolstring(L, idx, direct_len);
    if (type->encode == bytea_encode) return FPG_BINARY;
    if (!fpg_valid_utf8(*direct, *direct_len))
      fpg_raise(L, "invalid_argument", "$%d: %s expected, got a string that is not UTF-8 text%s",
                cx->param, type->name,
                memchr(*direct, 0, *direct_len) ? " (it holds a NUL byte)" : "");
    return FPG_TEXT;
  }
  return type->encode(L, cx, type, idx, out);
}
