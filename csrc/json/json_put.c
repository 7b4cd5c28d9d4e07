/* SPDX-License-Identifier: MIT
 *
 * json_put.c: strings and numbers as JSON text, onto a buffer.
 *
 * What goes out is laid out as PostgreSQL does it: \b \f \n \r \t \" \\ and \u00XX in strings,
 * doubles in the form of float8 with the fewest digits that read back.  What the reader makes of
 * escapes that stand for no text, a zero byte and half a surrogate pair, goes out as they came.
 */
#include "json_put.h"

#include <math.h>

#include "buffer.h"
#include "json_lex.h"
#include "shortest.h"

/* ---- strings ------------------------------------------------------------------------------ */

static void put_escape(lua_State *L, fpg_buf *b, unsigned c) {
  static const char hex[] = "0123456789abcdef", named[] = "\b\f\n\r\t\"\\", as[] = "bfnrt\"\\";
  char *o = fpg_json_reserve(L, b, 6);
  const char *at = c < 0x80 ? memchr(named, (int)c, sizeof named - 1) : NULL;
  o[0] = '\\';
  if (at) {
    o[1] = as[at - named];
    b->len += 2;
  } else {
    o[1] = 'u';
    for (int i = 0; i < 4; i++) o[2 + i] = hex[c >> (12 - 4 * i) & 15];
    b->len += 6;
  }
}

int fpg_json_put_string(lua_State *L, fpg_buf *b, const char *s, size_t len, int strict) {
  const char *end = s + len;
  char *o = fpg_json_reserve(L, b, len + 10); /* copies eight bytes at a time */
  *o++ = '"';
  for (;;) {
    while (end - s >= 8) {
      int n = fpg_json_plain8(s);
      memcpy(o, s, 8);
      o += n;
      s += n;
      if (n < 8) break;
    }
    while (s < end && fpg_json_is_plain((unsigned char)*s)) *o++ = *s++;
    if (s == end) break;
    unsigned c = (unsigned char)*s;
    size_t n = 1;
    if (c >= 0x80) {
      n = fpg_utf8_seq(s, end);
      for (size_t i = n; i; i--) *o++ = *s++;
      if (n) continue;
      c = strict ? 0 : fpg_json_surrogate(s, end);
      if (!c) return 0;
      n = 3;
    } else if (c == 0 && strict) {
      return 0;
    }
    b->len = (size_t)(o - b->data);
    put_escape(L, b, c);
    s += n;
    o = fpg_json_reserve(L, b, (size_t)(end - s) + 10);
  }
  *o++ = '"';
  b->len = (size_t)(o - b->data);
  return 1;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static char *digits_of(char *end, uint64_t v) {
  static const char pairs[] = "0001020304050607080910111213141516171819"
                              "2021222324252627282930313233343536373839"
                              "4041424344454647484950515253545556575859"
                              "6061626364656667686970717273747576777879"
                              "8081828384858687888990919293949596979899";
  for (; v >= 100; v /= 100) memcpy(end -= 2, pairs + v % 100 * 2, 2);
  if (v >= 10)
    memcpy(end -= 2, pairs + v * 2, 2);
  else
    *--end = (char)('0' + v);
  return end;
}

void fpg_json_put_integer(lua_State *L, fpg_buf *b, int64_t v) {
  char text[24], *end = text + sizeof text;
  char *p = digits_of(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
  if (v < 0) *--p = '-';
  fpg_buf_put(L, b, p, (size_t)(end - p));
}

/* d1.d2d3e+30 */
static char *scientific(char *o, const char *digits, int n, int exponent) {
  *o++ = digits[0];
  if (n > 1) {
    *o++ = '.';
    memcpy(o, digits + 1, (size_t)n - 1);
    o += n - 1;
  }
  *o++ = 'e';
  *o++ = exponent < 0 ? '-' : '+';
  if (exponent < 0) exponent = -exponent;
  if (exponent >= 100) *o++ = (char)('0' + exponent / 100);
  *o++ = (char)('0' + exponent / 10 % 10);
  *o++ = (char)('0' + exponent % 10);
  return o;
}

/* A double above 0 as PostgreSQL lays it out; `point`: with a fraction even when it is whole. */
static char *put_digits(char *o, double v, int point) {
  uint64_t m;
  int e, whole;
  fpg_shortest(v, &m, &e);
  char text[24], *end = text + sizeof text, *digits = digits_of(end, m);
  int n = (int)(end - digits);
  whole = n + e; /* digits before the point */
  if (whole < -3 || whole > 15) return scientific(o, digits, n, whole - 1);
  if (whole <= 0) {
    memcpy(o, "0.000", 5);
    o += 2 - whole;
    memcpy(o, digits, (size_t)n);
    return o + n;
  }
  for (int i = 0; i < whole; i++) *o++ = i < n ? digits[i] : '0';
  if (n > whole) {
    *o++ = '.';
    memcpy(o, digits + whole, (size_t)(n - whole));
    return o + (n - whole);
  }
  if (point) {
    memcpy(o, ".0", 2);
    o += 2;
  }
  return o;
}

int fpg_json_put_float(lua_State *L, fpg_buf *b, double v) {
  if (isnan(v) || isinf(v)) return 0;
  char *start = fpg_json_reserve(L, b, 40), *o = start;
  if (signbit(v)) *o++ = '-';
  if (v == 0) {
    memcpy(o, "0.0", 3);
    o += FPG_HAS_INTEGER ? 3 : 1;
  } else {
    o = put_digits(o, fabs(v), FPG_HAS_INTEGER);
  }
  b->len += (size_t)(o - start);
  return 1;
}
