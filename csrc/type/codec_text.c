/* SPDX-License-Identifier: MIT
 *
 * codec_text.c: the text of types whose binary form is another: as the server prints it.
 *
 *   bit, varbit          int32 bits, then bytes, the first bit is the highest
 *   pg_lsn, xid8         uint64          tid    uint32 block, uint16 offset      xid, cid   uint32
 *   int2vector           an array of one dimension without NULLs (codec_array.c), as oidvector
 *   pg_snapshot          int32 count, int64 xmin, int64 xmax, int64 each
 *   jsonpath, ltree, …   a byte that says version 1, then the text
 *
 * The packers take what these readers print.  Vectors and snapshots have none: who sends one?
 */
#include "codec_text.h"

#include <inttypes.h>
#include <stdio.h>

#include "be.h"
#include "buffer.h"
#include "hex.h"
#include "raise.h"

/* Pushes the text of a buffer that is on top, in its place. */
static void push_text(lua_State *L, fpg_buf *text) {
  lua_pushlstring(L, text->data ? text->data : "", text->len);
  fpg_buf_free(L, text);
  lua_remove(L, -2);
}

void fpg_bit_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  (void)cx;
  if (len < 4) fpg_bad_length(L, type, "at least 4", len);
  int32_t bits = be_i32(p);
  p += 4;
  if (bits < 0 || len - 4 != ((size_t)bits + 7) / 8) fpg_bad_length(L, type, "other", len);
  luaL_checkstack(L, 6, "text");
  fpg_buf *text = fpg_buf_new(L);
  char *t = fpg_buf_grow(L, text, (size_t)bits);
  for (int32_t i = 0; i < bits; i++)
    t[i] = (unsigned char)p[i / 8] & 128 >> i % 8 ? '1' : '0';
  push_text(L, text);
}

void fpg_lsn_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  char text[24];
  (void)cx;
  if (len != 8) fpg_bad_length(L, type, "8", len);
  lua_pushlstring(L, text, (size_t)sprintf(text, "%" PRIX32 "/%" PRIX32, be_u32(p), be_u32(p + 4)));
}

void fpg_tid_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  char text[24];
  (void)cx;
  if (len != 6) fpg_bad_length(L, type, "6", len);
  lua_pushlstring(L, text, (size_t)sprintf(text, "(%" PRIu32 ",%d)", be_u32(p), be_u16(p + 4)));
}

void fpg_xid_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  char text[16];
  (void)cx;
  if (len != 4) fpg_bad_length(L, type, "4", len);
  lua_pushlstring(L, text, (size_t)sprintf(text, "%" PRIu32, be_u32(p)));
}

void fpg_xid8_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                            size_t len) {
  char text[24];
  (void)cx;
  if (len != 8) fpg_bad_length(L, type, "8", len);
  lua_pushlstring(L, text, (size_t)sprintf(text, "%" PRIu64, be_u64(p)));
}

/* ---- packing ------------------------------------------------------------------------------ */

int fpg_bit_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
  if (len > INT32_MAX) return 0;
  for (size_t i = 0; i < len; i++)
    if (s[i] != '0' && s[i] != '1') return 0;
  size_t bytes = (len + 7) / 8;
  char *p = fpg_buf_grow(L, out, 4 + bytes);
  be_put32(p, (uint32_t)len);
  p += 4;
  memset(p, 0, bytes);
  for (size_t i = 0; i < len; i++)
    if (s[i] == '1') p[i / 8] = (char)(p[i / 8] | 128 >> i % 8);
  return 1;
}

/* The digits at *at, which goes behind them; 0 where there are none, or a value over max, or a zero
 * before others: the server takes those for octal. */
static int read_digits(const char **at, const char *end, uint64_t max, uint64_t *out) {
  const char *p = *at;
  uint64_t v = 0;
  for (; p < end && *p >= '0' && *p <= '9'; p++) {
    unsigned digit = (unsigned)(*p - '0');
    if (v > (max - digit) / 10) return 0;
    v = v * 10 + digit;
  }
  if (p == *at || (**at == '0' && p - *at > 1)) return 0;
  *at = p;
  *out = v;
  return 1;
}

/* One to eight of them. */
static int read_hex(const char **at, const char *end, uint32_t *out) {
  const char *p = *at;
  *out = 0;
  for (int digit; p < end && p - *at < 9 && (digit = fpg_hex_digit(*p)) >= 0; p++)
    *out = *out << 4 | (uint32_t)digit;
  int digits = (int)(p - *at);
  *at = p;
  return digits >= 1 && digits <= 8;
}

static int read_char(const char **at, const char *end, char c) {
  if (*at == end || **at != c) return 0;
  ++*at;
  return 1;
}

int fpg_lsn_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
  const char *end = s + len;
  uint32_t high, low;
  if (!read_hex(&s, end, &high) || !read_char(&s, end, '/') || !read_hex(&s, end, &low) || s != end)
    return 0;
  char *p = fpg_buf_grow(L, out, 8);
  be_put32(p, high);
  be_put32(p + 4, low);
  return 1;
}

int fpg_tid_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
  const char *end = s + len;
  uint64_t block, offset;
  if (!read_char(&s, end, '(') || !read_digits(&s, end, UINT32_MAX, &block) ||
      !read_char(&s, end, ',') || !read_digits(&s, end, UINT16_MAX, &offset) ||
      !read_char(&s, end, ')') || s != end)
    return 0;
  char *p = fpg_buf_grow(L, out, 6);
  be_put32(p, (uint32_t)block);
  be_put16(p + 4, (uint16_t)offset);
  return 1;
}

int fpg_xid_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
  const char *end = s + len;
  uint64_t v;
  if (!read_digits(&s, end, UINT32_MAX, &v) || s != end) return 0;
  be_put32(fpg_buf_grow(L, out, 4), (uint32_t)v);
  return 1;
}

int fpg_xid8_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
  const char *end = s + len;
  uint64_t v;
  if (!read_digits(&s, end, UINT64_MAX, &v) || s != end) return 0;
  be_put64(fpg_buf_grow(L, out, 8), v);
  return 1;
}

/* (The server reads the text behind the version as it reads a text alone.) */
int fpg_versioned_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  (void)type;
  fpg_buf_putc(L, out, 1);
  fpg_buf_put(L, out, s, len);
  return 1;
}

/* ---- vectors ------------------------------------------------------------------------------ */

enum { INT2 = 21, OID = 26 };

/* The numbers of an array, with a space between. */
void fpg_vector_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  uint32_t elem = type->kind == FPG_KIND_INT2VECTOR ? INT2 : OID;
  size_t size = elem == INT2 ? 2 : 4;
  (void)cx;
  if (len < 12) fpg_bad_length(L, type, "at least 12", len);
  int dimensions = be_i32(p);
  if (dimensions < 0 || dimensions > 1 || be_u32(p + 8) != elem) fpg_bad_binary(L, type);
  size_t header = dimensions ? 20 : 12;
  if (len < header) fpg_bad_length(L, type, "at least 20", len);
  int n = dimensions ? be_i32(p + 12) : 0;
  if (n < 0 || len - header != (size_t)n * (4 + size)) fpg_bad_length(L, type, "other", len);
  p += header;
  luaL_checkstack(L, 6, "text");
  fpg_buf *text = fpg_buf_new(L);
  for (int i = 0; i < n; i++, p += 4 + size) {
    if (be_u32(p) != size) fpg_bad_binary(L, type);
    if (i) fpg_buf_putc(L, text, ' ');
    fpg_buf_putint(L, text, elem == INT2 ? (int64_t)be_i16(p + 4) : (int64_t)be_u32(p + 4));
  }
  push_text(L, text);
}

/* xmin:xmax:xid,xid */
void fpg_snapshot_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                const char *p, size_t len) {
  (void)cx;
  if (len < 20) fpg_bad_length(L, type, "at least 20", len);
  int n = be_i32(p);
  if (n < 0 || len - 20 != (size_t)n * 8) fpg_bad_length(L, type, "other", len);
  luaL_checkstack(L, 6, "text");
  fpg_buf *text = fpg_buf_new(L);
  p += 4;
  for (int i = 0; i < n + 2; i++, p += 8) {
    char number[24];
    sprintf(number, "%s%" PRIu64, i == 0 ? "" : i <= 2 ? ":" : ",", be_u64(p));
    fpg_buf_puts(L, text, number);
  }
  if (n == 0) fpg_buf_putc(L, text, ':');
  push_text(L, text);
}

/* ---- text with a version ------------------------------------------------------------------ */

void fpg_versioned_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                 const char *p, size_t len) {
  (void)cx;
  if (len < 1) fpg_bad_length(L, type, "at least 1", len);
  if (*p != 1)
    fpg_raise(L, "feature_not_supported", "%s: version %d of its binary form is not known",
              type->name, (int)(unsigned char)*p);
  lua_pushlstring(L, p + 1, len - 1);
}
