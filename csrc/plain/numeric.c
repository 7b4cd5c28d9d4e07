/* SPDX-License-Identifier: MIT
 *
 * numeric.c: reading, writing and comparing numerics; arithmetic is in numeric_math.c.
 *
 * Text is scanned in two steps, so that the caller can allocate in between: parse finds the sign,
 * the significant digits and the decimal weight, build packs the digits four by four.
 *
 *     "-00123.4500e1"     significant digits 12345, weight of the 1: 10^3, dscale 4 - 1 = 3
 *                         base 10000: 1234 | 5000, weight 0
 */
#include "numeric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "be.h"

void fpg_num_normalize(fpg_num *n) {
  int32_t lead = 0, count = n->ndigits;
  while (lead < count && n->digit[lead] == 0) lead++;
  while (count > lead && n->digit[count - 1] == 0) count--;
  n->ndigits = count - lead;
  if (n->ndigits == 0) {
    n->weight = 0;
    if (n->sign == FPG_NUM_NEG) n->sign = FPG_NUM_POS;
  } else if (lead) {
    n->weight -= lead;
    memmove(n->digit, n->digit + lead, (size_t)n->ndigits * sizeof n->digit[0]);
  }
}

/* ---- wire --------------------------------------------------------------------------------- */

static int sign_ok(uint16_t sign) {
  return sign == FPG_NUM_POS || sign == FPG_NUM_NEG || sign == FPG_NUM_NAN ||
         sign == FPG_NUM_PINF || sign == FPG_NUM_NINF;
}

/* Digits after the point beyond the scale: no server sends them, and arithmetic relies on it. */
static int hidden_digits(const fpg_num *n) {
  int32_t places = (n->ndigits - 1 - n->weight) * 4;
  if (places <= n->dscale) return 0;
  for (unsigned d = n->digit[n->ndigits - 1]; d % 10 == 0; d /= 10) places--;
  return places > n->dscale;
}

int fpg_num_read(fpg_num *n, const char *p, size_t len) {
  if (len < 8) return 0;
  size_t count = be_u16(p);
  n->weight = be_i16(p + 2);
  n->sign = be_u16(p + 4);
  n->dscale = be_u16(p + 6);
  if (len != 8 + 2 * count || !sign_ok(n->sign)) return 0;
  if (!fpg_num_finite(n)) {
    n->weight = n->ndigits = n->dscale = 0;
    return 1;
  }
  if (n->dscale > FPG_NUM_MAX_SCALE) return 0;
  n->ndigits = (int32_t)count;
  for (size_t i = 0; i < count; i++) {
    n->digit[i] = be_u16(p + 8 + 2 * i);
    if (n->digit[i] >= FPG_NUM_BASE) return 0;
  }
  fpg_num_normalize(n);
  return !hidden_digits(n);
}

void fpg_num_write(const fpg_num *n, char *p) {
  be_put16(p, (uint16_t)n->ndigits);
  be_put16(p + 2, (uint16_t)n->weight);
  be_put16(p + 4, n->sign);
  be_put16(p + 6, n->dscale);
  for (int32_t i = 0; i < n->ndigits; i++) be_put16(p + 8 + 2 * i, n->digit[i]);
}

/* ---- text --------------------------------------------------------------------------------- */

static int is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int same_word(const char *s, size_t len, const char *word) {
  if (len != strlen(word)) return 0;
  for (size_t i = 0; i < len; i++)
    if ((s[i] | 0x20) != word[i]) return 0;
  return 1;
}

static int parse_special(const char *s, size_t len, fpg_num_scan *sc) {
  memset(sc, 0, sizeof *sc);
  if (same_word(s, len, "nan")) {
    sc->sign = FPG_NUM_NAN;
    return FPG_NUM_OK;
  }
  sc->sign = FPG_NUM_PINF;
  if (len && (*s == '-' || *s == '+')) {
    if (*s == '-') sc->sign = FPG_NUM_NINF;
    s++, len--;
  }
  return same_word(s, len, "infinity") || same_word(s, len, "inf") ? FPG_NUM_OK : FPG_NUM_INVALID;
}

/* The exponent at s, saturated far beyond any that can be stored; returns where it ends. */
static const char *parse_exponent(const char *s, const char *end, int64_t *exp) {
  int neg = 0;
  if (s < end && (*s == '-' || *s == '+')) neg = *s++ == '-';
  if (s == end || !is_digit(*s)) return NULL;
  int64_t e = 0;
  for (; s < end && is_digit(*s); s++)
    if (e < 1000000000) e = e * 10 + (*s - '0');
  *exp = neg ? -e : e;
  return s;
}

/* Digits with one point at most: how many stand before and after it. */
static const char *parse_digits(const char *s, const char *end, int64_t *whole, int64_t *frac) {
  const char *start = s;
  while (s < end && is_digit(*s)) s++;
  *whole = s - start;
  *frac = 0;
  if (s < end && *s == '.') {
    const char *f = ++s;
    while (s < end && is_digit(*s)) s++;
    *frac = s - f;
  }
  return *whole + *frac ? s : NULL;
}

static int floor_div4(int64_t v, int64_t *rem) {
  int64_t q = v >= 0 ? v / 4 : -((3 - v) / 4);
  *rem = v - q * 4;
  return (int)q;
}

int fpg_num_parse(const char *s, size_t len, fpg_num_scan *sc) {
  const char *end = s + len;
  while (s < end && is_blank(*s)) s++;
  while (s < end && is_blank(end[-1])) end--;
  const char *p = s;
  memset(sc, 0, sizeof *sc);
  if (p < end && (*p == '-' || *p == '+')) sc->sign = *p++ == '-' ? FPG_NUM_NEG : FPG_NUM_POS;
  int64_t whole, frac, exp = 0;
  const char *digits = p, *stop = parse_digits(p, end, &whole, &frac);
  if (!stop) return parse_special(s, (size_t)(end - s), sc);
  p = stop;
  if (p < end && (*p == 'e' || *p == 'E')) p = parse_exponent(p + 1, end, &exp);
  if (p != end) return FPG_NUM_INVALID;

  int64_t scale = frac - exp, weight = whole - 1 + exp, rem;
  if (scale > FPG_NUM_MAX_SCALE) return FPG_NUM_OVERFLOW;
  sc->dscale = (uint16_t)(scale > 0 ? scale : 0);
  for (; digits < stop && (*digits == '0' || *digits == '.'); digits++)
    if (*digits == '0') weight--;
  while (stop > digits && (stop[-1] == '0' || stop[-1] == '.')) stop--;
  sc->s = digits;
  sc->nsig = (size_t)(stop - digits) - (memchr(digits, '.', (size_t)(stop - digits)) != NULL);
  if (!sc->nsig) {
    sc->sign = FPG_NUM_POS;
    return FPG_NUM_OK;
  }
  if (weight >= ((int64_t)FPG_NUM_MAX_WEIGHT + 1) * 4) return FPG_NUM_OVERFLOW;
  sc->weight = floor_div4(weight, &rem);
  sc->lead = (int32_t)rem + 1;
  sc->ndigits = (int32_t)((sc->nsig + (size_t)(4 - sc->lead) + 3) / 4);
  return FPG_NUM_OK;
}

void fpg_num_build(fpg_num *n, const fpg_num_scan *sc) {
  n->sign = sc->sign;
  n->dscale = sc->dscale;
  n->weight = sc->weight;
  n->ndigits = sc->ndigits;
  const char *s = sc->s;
  size_t left = sc->nsig;
  for (int32_t i = 0; i < n->ndigits; i++) {
    int d = 0;
    for (int k = i == 0 ? sc->lead : 4; k; k--) {
      d *= 10;
      if (!left) continue;
      if (*s == '.') s++;
      d += *s++ - '0';
      left--;
    }
    n->digit[i] = (uint16_t)d;
  }
  fpg_num_normalize(n);
}

size_t fpg_num_text_size(const fpg_num *n) {
  return 16 + (n->weight > 0 ? (size_t)n->weight : 0) * 4 + n->dscale;
}

static const char *special_text(uint16_t sign) {
  return sign == FPG_NUM_NAN ? "NaN" : sign == FPG_NUM_PINF ? "Infinity" : "-Infinity";
}

static unsigned digit_at(const fpg_num *n, int32_t weight) {
  int32_t i = n->weight - weight;
  return i >= 0 && i < n->ndigits ? n->digit[i] : 0;
}

static char *put4(char *p, unsigned d) {
  p[0] = (char)('0' + d / 1000);
  p[1] = (char)('0' + d / 100 % 10);
  p[2] = (char)('0' + d / 10 % 10);
  p[3] = (char)('0' + d % 10);
  return p + 4;
}

size_t fpg_num_text(const fpg_num *n, char *out) {
  if (!fpg_num_finite(n)) {
    const char *s = special_text(n->sign);
    memcpy(out, s, strlen(s));
    return strlen(s);
  }
  char *p = out;
  if (n->sign == FPG_NUM_NEG) *p++ = '-';
  char *whole = p;
  for (int32_t w = n->weight > 0 ? n->weight : 0; w >= 0; w--) p = put4(p, digit_at(n, w));
  size_t zeros = 0, width = (size_t)(p - whole);
  while (zeros < width - 1 && whole[zeros] == '0') zeros++;
  memmove(whole, whole + zeros, width - zeros);
  p -= zeros;
  if (n->dscale) {
    *p++ = '.';
    char *end = p + n->dscale;
    for (int32_t w = -1; p < end; w--) p = put4(p, digit_at(n, w));
    p = end;
  }
  return (size_t)(p - out);
}

/* ---- values ------------------------------------------------------------------------------- */

/* -Infinity 0, numbers 1, Infinity 2, NaN 3. */
static int rank(const fpg_num *n) {
  return n->sign == FPG_NUM_NINF ? 0 : n->sign == FPG_NUM_PINF ? 2 : n->sign == FPG_NUM_NAN ? 3 : 1;
}

static int cmp_abs(const fpg_num *a, const fpg_num *b) {
  if (a->ndigits == 0 || b->ndigits == 0) return (a->ndigits != 0) - (b->ndigits != 0);
  if (a->weight != b->weight) return a->weight < b->weight ? -1 : 1;
  for (int32_t i = 0; i < a->ndigits && i < b->ndigits; i++)
    if (a->digit[i] != b->digit[i]) return a->digit[i] < b->digit[i] ? -1 : 1;
  return (a->ndigits > b->ndigits) - (a->ndigits < b->ndigits);
}

int fpg_num_cmp(const fpg_num *a, const fpg_num *b) {
  int ra = rank(a), rb = rank(b);
  if (ra != rb || ra != 1) return (ra > rb) - (ra < rb);
  if (a->sign != b->sign) return a->sign == FPG_NUM_NEG ? -1 : 1;
  return a->sign == FPG_NUM_NEG ? cmp_abs(b, a) : cmp_abs(a, b);
}

/* Digits a double's rounding can depend on: 767; one more stands for all that follow. */
#define DOUBLE_DIGITS 196

double fpg_num_double(const fpg_num *n) {
  if (n->sign == FPG_NUM_NAN) return (double)NAN;
  if (n->sign == FPG_NUM_PINF) return (double)INFINITY;
  if (n->sign == FPG_NUM_NINF) return -(double)INFINITY;
  char text[DOUBLE_DIGITS * 4 + 32], *p = text;
  int32_t take = n->ndigits < DOUBLE_DIGITS ? n->ndigits : DOUBLE_DIGITS;
  *p++ = n->sign == FPG_NUM_NEG ? '-' : '+';
  *p++ = '0';
  for (int32_t i = 0; i < take; i++) p = put4(p, n->digit[i]);
  int32_t exp = (n->weight - take + 1) * 4;
  if (take < n->ndigits) *p++ = '1', exp--;
  *p++ = 'e'; /* no point in it: its sign depends on the locale */
  *p++ = exp < 0 ? '-' : '+';
  for (int32_t e = abs(exp), k = 100000; k; k /= 10) *p++ = (char)('0' + e / k % 10);
  *p = 0;
  return strtod(text, NULL);
}

int fpg_num_int64(const fpg_num *n, int64_t *out) {
  if (!fpg_num_finite(n) || n->ndigits > n->weight + 1 || n->weight > 4) return 0;
  if (n->ndigits == 0) return *out = 0, 1;
  uint64_t v = 0, max = (uint64_t)INT64_MAX + (n->sign == FPG_NUM_NEG);
  for (int32_t w = n->weight; w >= 0; w--) {
    unsigned d = digit_at(n, w);
    if (v > (max - d) / FPG_NUM_BASE) return 0;
    v = v * FPG_NUM_BASE + d;
  }
  *out = n->sign == FPG_NUM_NEG ? (int64_t)(0 - v) : (int64_t)v;
  return 1;
}
