/* SPDX-License-Identifier: MIT
 *
 * float_text.c: see float_text.h.
 */
#include "float_text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shortest.h"

/* ---- printing ----------------------------------------------------------------------------- */

/* Digits d.ddd * 10^exp as PostgreSQL lays them out: plain from 1e-4 to below 1e15 (1e6 for a
 * float4), else with an exponent of two digits at least. */
static size_t lay_out(char *out, const char *digits, int n, int exp, int limit) {
  char *p = out;
  if (exp < -4 || exp >= limit) {
    *p++ = digits[0];
    if (n > 1) *p++ = '.';
    memcpy(p, digits + 1, (size_t)n - 1);
    p += n - 1;
    return (size_t)(p - out) + (size_t)sprintf(p, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
  }
  if (exp < 0) {
    memcpy(p, "0.0000", (size_t)(1 - exp));
    p += 1 - exp;
  }
  for (int i = 0; i < n || i <= exp; i++) {
    if (exp >= 0 && i == exp + 1) *p++ = '.';
    *p++ = i < n ? digits[i] : '0';
  }
  return (size_t)(p - out);
}

size_t fpg_float_text(char *buf, double v, int single) {
  if (single) v = (double)(float)v;
  if (isnan(v)) return (size_t)sprintf(buf, "NaN");
  if (isinf(v)) return (size_t)sprintf(buf, v < 0 ? "-Infinity" : "Infinity");
  size_t sign = signbit(v) ? 1 : 0;
  if (sign) *buf++ = '-';
  if (v == 0) return sign + (size_t)sprintf(buf, "0");
  uint64_t m;
  int e;
  if (single)
    fpg_shortest_single((float)fabs(v), &m, &e);
  else
    fpg_shortest(fabs(v), &m, &e);
  char digits[24];
  int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)m);
  return sign + lay_out(buf, digits, n, e + n - 1, single ? 6 : 15);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Rewrites a float's text without its point ("-1.5e+10" to "-15e9"), so that the locale has no say
 * in how the C library reads it.  False when it is none of the server's. */
static int plain_float(const char *p, size_t len, char out[64]) {
  const char *end = p + len;
  char *o = out;
  int places = 0, exponent = 0, point = 0, digits = 0, negative;
  if (len == 0 || len >= 48) return 0;
  if (*p == '-') *o++ = *p++;
  for (; p < end && ((*p >= '0' && *p <= '9') || (*p == '.' && !point)); p++) {
    if (*p == '.') {
      point = 1;
    } else {
      *o++ = *p;
      digits++;
      places += point;
    }
  }
  if (!digits) return 0;
  if (p < end) {
    if (*p++ != 'e') return 0;
    negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (p == end || end - p > 4) return 0;
    for (; p < end; p++) {
      if (*p < '0' || *p > '9') return 0;
      exponent = exponent * 10 + (*p - '0');
    }
    if (negative) exponent = -exponent;
  }
  snprintf(o, 12, "e%d", exponent - places);
  return 1;
}

/* What is not finite in the server's words; false when it is something else. */
static int special_float(const char *p, size_t len, double *out) {
  if (len == 3 && memcmp(p, "NaN", 3) == 0)
    *out = (double)NAN;
  else if (len == 8 && memcmp(p, "Infinity", 8) == 0)
    *out = (double)INFINITY;
  else if (len == 9 && memcmp(p, "-Infinity", 9) == 0)
    *out = (double)-INFINITY;
  else
    return 0;
  return 1;
}

int fpg_double_of_text(const char *p, size_t len, double *out) {
  char plain[64];
  if (special_float(p, len, out)) return 1;
  if (!plain_float(p, len, plain)) return 0;
  *out = strtod(plain, NULL);
  return 1;
}

int fpg_single_of_text(const char *p, size_t len, double *out) {
  char plain[64];
  if (special_float(p, len, out)) return 1;
  if (!plain_float(p, len, plain)) return 0;
  *out = (double)strtof(plain, NULL);
  return 1;
}
