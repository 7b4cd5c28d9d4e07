/* SPDX-License-Identifier: MIT
 *
 * numeric.h: PostgreSQL's numeric as the server sends it.
 *
 * A number is sign * sum(digit[i] * 10000^(weight - i)), shown with dscale digits after the point.
 * Kept normal: no zero digit at either end, zero is { weight 0, no digits, positive }.  A caller
 * gives the memory (fpg_num_size of the digits that a scan or a wire value may need at most).
 * Limits are the server's: weight up to 32767 (131072 digits before the point), dscale up to 16383.
 */
#ifndef FASTPG_NUMERIC_H
#define FASTPG_NUMERIC_H

#include <stddef.h>
#include <stdint.h>

#define FPG_NUM_BASE 10000
#define FPG_NUM_MAX_WEIGHT 32767
#define FPG_NUM_MAX_SCALE 16383

/* The sign word of the wire. */
enum {
  FPG_NUM_POS = 0x0000,
  FPG_NUM_NEG = 0x4000,
  FPG_NUM_NAN = 0xC000,
  FPG_NUM_PINF = 0xD000,
  FPG_NUM_NINF = 0xF000
};

typedef struct fpg_num {
  int32_t weight;
  int32_t ndigits;
  uint16_t sign;
  uint16_t dscale;
  uint16_t digit[];
} fpg_num;

static inline size_t fpg_num_size(size_t ndigits) {
  return sizeof(fpg_num) + ndigits * sizeof(uint16_t);
}
static inline int fpg_num_finite(const fpg_num *n) {
  return n->sign == FPG_NUM_POS || n->sign == FPG_NUM_NEG;
}

static inline int fpg_num_is_whole(const fpg_num *n) { return n->ndigits <= n->weight + 1; }
static inline int fpg_num_is_odd(const fpg_num *n) {
  return n->ndigits > 0 && n->ndigits == n->weight + 1 && (n->digit[n->ndigits - 1] & 1);
}

/* ---- wire --------------------------------------------------------------------------------- */

/* Reads len bytes into n, which has room for (len - 8) / 2 digits; false on a malformed value
 * (len below 8 included). */
int fpg_num_read(fpg_num *n, const char *p, size_t len);

static inline size_t fpg_num_wire_size(const fpg_num *n) {
  return 8 + 2 * (size_t)n->ndigits;
}
void fpg_num_write(const fpg_num *n, char *p);

/* ---- text --------------------------------------------------------------------------------- */

/* Text that was found to be a number; build makes it one. */
typedef struct fpg_num_scan {
  const char *s;    /* its digits: from the first that is not zero, a point among them */
  size_t nsig;      /* how many significant digits there are, the point not counted */
  int32_t weight;   /* base-10000 weight of the first digit */
  int32_t ndigits;  /* base-10000 digits needed */
  int32_t lead;     /* decimal digits in the first base-10000 digit */
  uint16_t sign, dscale;
} fpg_num_scan;

enum { FPG_NUM_OK, FPG_NUM_INVALID, FPG_NUM_OVERFLOW };

/* Takes what the server takes as numeric text (blanks around, exponent, NaN, [+-]Inf[inity]). */
int fpg_num_parse(const char *s, size_t len, fpg_num_scan *scan);
void fpg_num_build(fpg_num *n, const fpg_num_scan *scan);

/* An upper bound of the text's length, and the text itself (no terminator); returns its length. */
size_t fpg_num_text_size(const fpg_num *n);
size_t fpg_num_text(const fpg_num *n, char *out);

/* ---- values ------------------------------------------------------------------------------- */

/* Removes zero digits at both ends. */
void fpg_num_normalize(fpg_num *n);

/* -1, 0, 1 in the server's order: -Infinity < numbers < Infinity < NaN, NaN = NaN. */
int fpg_num_cmp(const fpg_num *a, const fpg_num *b);

/* The nearest double (the server's numeric -> float8, infinity beyond its range). */
double fpg_num_double(const fpg_num *n);

/* True, and the integer, when n has no digits after the point and fits. */
int fpg_num_int64(const fpg_num *n, int64_t *out);

#endif
