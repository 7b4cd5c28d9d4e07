/* SPDX-License-Identifier: MIT
 *
 * json_lex.c: see json_lex.h.
 *
 * Numbers.  A JSON number may become a double when nothing is lost: when the shortest text of that
 * double, which is what is sent back, has the value of the literal.  The literal is reduced to
 * m * 10^e without trailing zeros and compared with the shortest m * 10^e of the double, so neither
 * the layout (1e2, 100.0) nor the locale's decimal point matters.
 */
#include "json_lex.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "shortest.h"

#define NUMERIC_WHOLE 131072 /* digits of a numeric before and after the point */
#define NUMERIC_SCALE 16383
#define EXPONENT_LIMIT 100000000

static int is_digit(char c) { return c >= '0' && c <= '9'; }

/* ---- strings ------------------------------------------------------------------------------ */

size_t fpg_utf8_long(const char *str, const char *str_end) {
  const unsigned char *p = (const unsigned char *)str, *end = (const unsigned char *)str_end;
  unsigned c = p[0];
  size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
  if (c < 0xC2 || c > 0xF4 || (size_t)(end - p) < n) return 0;
  unsigned low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
  unsigned high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
  if (p[1] < low || p[1] > high) return 0;
  for (size_t i = 2; i < n; i++)
    if ((p[i] & 0xC0) != 0x80) return 0;
  return n;
}

int fpg_json_hex4(const char *p, const char *end) {
  if (end - p < 4) return -1;
  int v = 0;
  for (int i = 0; i < 4; i++) {
    char c = p[i];
    int d = is_digit(c)              ? c - '0'
            : (c >= 'a' && c <= 'f') ? c - 'a' + 10
            : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                     : -1;
    if (d < 0) return -1;
    v = v << 4 | d;
  }
  return v;
}

/* ---- numbers ------------------------------------------------------------------------------ */

const char *fpg_json_number(const char *p, const char *end) {
  if (p < end && *p == '-') p++;
  if (p == end || !is_digit(*p)) return NULL;
  if (*p == '0')
    p++;
  else
    while (p < end && is_digit(*p)) p++;
  if (p < end && *p == '.') {
    if (++p == end || !is_digit(*p)) return NULL;
    while (p < end && is_digit(*p)) p++;
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    if (++p < end && (*p == '+' || *p == '-')) p++;
    if (p == end || !is_digit(*p)) return NULL;
    while (p < end && is_digit(*p)) p++;
  }
  return p;
}

/* A number's digits from the first to the last that is not 0, and the power of ten of the last. */
typedef struct decimal {
  uint64_t m; /* valid when count <= 19 */
  int64_t count, e;
  int negative;
} decimal;

static int64_t exponent_of(const char *p, const char *end) {
  int negative = p < end && *p == '-';
  int64_t e = 0;
  for (p += p < end && !is_digit(*p); p < end; p++)
    if (e < EXPONENT_LIMIT) e = e * 10 + (*p - '0');
  return negative ? -e : e;
}

static decimal decompose(const char *p, const char *end) {
  decimal d = {0, 0, 0, *p == '-'};
  int64_t zeros = 0, whole_zeros = 0; /* since the last digit that is not 0 */
  int64_t places = 0, last_place = 0; /* after the point: so far, and of that digit */
  int fraction = 0;
  for (p += d.negative; p < end && *p != 'e' && *p != 'E'; p++) {
    if (*p == '.') {
      fraction = 1;
      continue;
    }
    places += fraction;
    if (*p == '0') {
      zeros++;
      whole_zeros += !fraction;
      continue;
    }
    d.count += d.count ? zeros + 1 : 1;
    if (d.count <= 19) {
      if (d.m)
        for (; zeros; zeros--) d.m *= 10;
      d.m = d.m * 10 + (uint64_t)(*p - '0');
    }
    zeros = whole_zeros = 0;
    last_place = places;
  }
  d.e = whole_zeros - last_place;
  if (p < end) d.e += exponent_of(p + 1, end);
  return d;
}

int fpg_json_double(const char *s, size_t len, double *out) {
  decimal d = decompose(s, s + len);
  if (d.count == 0) {
    *out = d.negative ? -0.0 : 0.0;
    return 1;
  }
  if (d.count <= 17 && d.e > -400 && d.e < 400) {
    double v = fpg_decimal_to_double(d.m, (int)d.e);
    int same = d.count <= DBL_DIG && v > 1e-300 && v < 1e15; /* any 15 digits come back */
    if (!same && v > 0 && !isinf(v)) {
      uint64_t m;
      int e;
      fpg_shortest(v, &m, &e);
      same = m == d.m && e == d.e;
    }
    if (same) {
      *out = d.negative ? -v : v;
      return 1;
    }
  }
  return d.count + d.e <= NUMERIC_WHOLE && -d.e <= NUMERIC_SCALE ? 0 : -1;
}

int fpg_json_whole(const char *s, size_t len, uint64_t *out) {
  decimal d = decompose(s, s + len);
  if (d.e < 0 || d.count + d.e > 19) return 0;
  for (*out = d.m; d.e > 0; d.e--) *out *= 10;
  return 1;
}

/* ---- a check that builds nothing ---------------------------------------------------------- */

typedef struct check {
  const char *p, *end, *wrong;
  size_t depth, limit;
  unsigned char *objects; /* a bit per level: 1 is an object, 0 an array */
  int rest;               /* nothing may follow the value */
} check;

static int in_object(const check *c) {
  size_t i = c->depth - 1;
  return c->objects[i / 8] >> i % 8 & 1;
}

static void go_in(check *c, int object) {
  unsigned char *byte = &c->objects[c->depth / 8], bit = (unsigned char)(1u << c->depth % 8);
  *byte = (unsigned char)(object ? *byte | bit : *byte & ~bit);
  c->depth++;
}

static int bad(check *c, const char *wrong) {
  c->wrong = wrong;
  return 0;
}

static int peek(check *c) {
  while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t')) c->p++;
  return c->p < c->end ? (unsigned char)*c->p : -1;
}

static int check_escape(check *c) {
  if (c->end - c->p < 2) return c->p = c->end, bad(c, "unfinished string");
  if (c->p[1] == 'u') {
    if (fpg_json_hex4(c->p + 2, c->end) < 0) return bad(c, "\\u without four hex digits");
    c->p += 6;
    return 1;
  }
  if (!c->p[1] || !strchr("\"\\/bfnrt", c->p[1])) return bad(c, "unknown escape");
  c->p += 2;
  return 1;
}

static int check_string(check *c) {
  for (c->p++;;) {
    c->p = fpg_json_plain(c->p, c->end);
    if (c->p == c->end) return bad(c, "unfinished string");
    unsigned char b = (unsigned char)*c->p;
    if (b == '"') return c->p++, 1;
    if (b == '\\') {
      if (!check_escape(c)) return 0;
    } else if (b < 0x20) {
      return bad(c, "control character in a string");
    } else {
      size_t n = fpg_utf8_seq(c->p, c->end);
      if (!n) return bad(c, "invalid UTF-8");
      c->p += n;
    }
  }
}

static int check_word(check *c, const char *word) {
  size_t n = strlen(word);
  if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0) return bad(c, "unknown word");
  c->p += n;
  return 1;
}

static int check_key(check *c) {
  if (peek(c) != '"') return bad(c, "a string key expected");
  if (!check_string(c)) return 0;
  if (peek(c) != ':') return bad(c, "':' expected");
  c->p++;
  return 1;
}

/* A scalar, an empty container, or the opening of another (then *opened is set). */
static int check_value(check *c, int *opened) {
  int b = peek(c);
  *opened = 0;
  switch (b) {
  case '"': return check_string(c);
  case 't': return check_word(c, "true");
  case 'f': return check_word(c, "false");
  case 'n': return check_word(c, "null");
  case -1: return bad(c, "a value expected, the text ends");
  case '[':
  case '{':
    if (c->depth == c->limit) return bad(c, "nested too deeply");
    c->p++;
    if (peek(c) == (b == '[' ? ']' : '}')) return c->p++, 1;
    go_in(c, b == '{');
    *opened = 1;
    return b == '[' || check_key(c);
  default: {
    const char *end = b == '-' || is_digit((char)b) ? fpg_json_number(c->p, c->end) : NULL;
    if (!end) return bad(c, "a value expected");
    c->p = end;
    return 1;
  }
  }
}

static int check_document(check *c) {
  for (int opened;;) {
    if (!check_value(c, &opened)) return 0;
    if (opened) continue;
    for (;;) {
      if (!c->depth) return !c->rest || peek(c) < 0 || bad(c, "the end of the text expected");
      int object = in_object(c), b = peek(c);
      if (b == ',') break;
      if (b != (object ? '}' : ']'))
        return bad(c, object ? "',' or '}' expected" : "',' or ']' expected");
      c->p++;
      c->depth--;
    }
    c->p++;
    if (in_object(c) && !check_key(c)) return 0;
  }
}

static const char *run_check(const char *s, size_t len, unsigned char *bits, size_t limit, int rest,
                             size_t *at) {
  check c = {s, s + len, NULL, 0, limit, bits, rest};
  check_document(&c);
  *at = (size_t)(c.p - s);
  return c.wrong;
}

const char *fpg_json_check(const char *s, size_t len, size_t *at) {
  unsigned char bits[FPG_JSON_DEPTH / 8];
  return run_check(s, len, bits, FPG_JSON_DEPTH, 1, at);
}

const char *fpg_json_skip(const char *s, size_t len, unsigned char *bits, size_t *at) {
  return run_check(s, len, bits, len, 0, at);
}
