/* SPDX-License-Identifier: MIT
 *
 * shortest.c: the shortest decimal of a double, and of a float.
 *
 * The shortest text has 15 to 17 digits or, without its trailing zeros, fewer.  In usual magnitudes
 * it is found exactly, with 128-bit integers: the double is a / unit * 10^-k, a decimal of n digits
 * is d * 10^-k, and it reads back when |d * unit - a| is under half of `ulp`, the distance to the
 * next double in the same measure (below a power of two: a quarter).  A decimal right between two
 * doubles is not taken, as in PostgreSQL, so that the text is the server's own.
 */
#include "shortest.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double pow10d[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { POW10D_MAX = 22 };

/* m * 10^e as a double, correctly rounded. */
double fpg_decimal_to_double(uint64_t m, int e) {
  if (m <= (uint64_t)1 << 53 && e >= -POW10D_MAX && e <= POW10D_MAX)
    return e < 0 ? (double)m / pow10d[-e] : (double)m * pow10d[e];
  char text[48]; /* without a point: the locale has no say */
  snprintf(text, sizeof text, "%llue%d", (unsigned long long)m, e);
  return strtod(text, NULL);
}

static void strip(uint64_t *m, int *e) {
  for (; *m % 10 == 0; ++*e) *m /= 10;
}

/* Decimals with few places: v * 10^k rounds to the integer that, divided, gives v again. */
static int shortest_places(double v, uint64_t *m, int *e) {
  for (int k = 0; k <= POW10D_MAX; k++) {
    double x = v * pow10d[k];
    if (x >= 1e15) return 0;
    double whole = floor(x + 0.5);
    if (fabs(x - whole) > x * 4.5e-16 || whole / pow10d[k] != v) continue;
    *m = (uint64_t)whole;
    *e = -k;
    return 1;
  }
  return 0;
}

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 u128;

static u128 power10(int n) {
  u128 p = 1;
  while (n-- > 0) p *= 10;
  return p;
}

/* The decimal d nearest to a / unit that reads back; false when there is none. */
static int nearest(u128 a, u128 unit, u128 ulp, int power_of_two, uint64_t *d) {
  u128 below = a % unit, above = unit - below;
  int low = below * (power_of_two ? 4 : 2) < ulp, high = above * 2 < ulp;
  *d = (uint64_t)(a / unit);
  if (!low && !high) return 0;
  if (!low || (high && (above < below || (above == below && (*d & 1))))) ++*d;
  return 1;
}

/* For 1e-6 < v < 2^120 every product fits. */
static int shortest_exact(double v, uint64_t *m, int *e) {
  if (!(v > 1e-6 && v < 0x1p120)) return 0;
  int bits, places = 14; /* after the point, for 15 digits */
  uint64_t f = (uint64_t)ldexp(frexp(v, &bits), 53);
  int power_of_two = f == (uint64_t)1 << 52;
  for (double x = v; x < 1; x *= 10) places++;
  for (double x = v; x >= 10; x /= 10) places--;
  for (int n = 15; n <= 17; n++, places++) {
    if (places > POW10D_MAX) return 0;
    u128 up = power10(places), down = power10(-places), ulp = up, a = f * up, unit = down;
    if (bits > 53) {
      if (places > 0) return 0;
      ulp = (u128)1 << (bits - 53);
      a = f * ulp;
    } else {
      unit = down << (53 - bits);
    }
    *e = -places;
    if (nearest(a, unit, ulp, power_of_two, m)) return 1;
  }
  return 0;
}
#else
static int shortest_exact(double v, uint64_t *m, int *e) {
  (void)v, (void)m, (void)e;
  return 0;
}
#endif

/* Whether the decimal m * 10^e lies right between f * 2^q and the next one above, or below (half as far away
 * where f is the `least` of its exponent): it reads back by the rule for ties alone, and PostgreSQL does not
 * print it. */
static int is_midpoint(uint64_t m, int e, uint64_t f, int q, int least) {
  int p = e; /* m * 5^e * 2^p, with an odd m * 5^e */
  if (!m) return 0;
  for (; m % 2 == 0; p++) m /= 2;
  for (; e < 0; e++, m /= 5)
    if (m % 5) return 0;
  for (; e > 0; e--, m *= 5)
    if (m > ((uint64_t)1 << 60) / 5) return 0;
  return (m == 2 * f + 1 && p == q - 1) || (least ? m == 4 * f - 1 && p == q - 2 : m == 2 * f - 1 && p == q - 1);
}

/* Prints v with n digits: m * 10^e. */
static void print_digits(double v, int n, uint64_t *m, int *e) {
  char text[48];
  snprintf(text, sizeof text, "%.*e", n - 1, v);
  const char *exponent = strchr(text, 'e');
  *m = 0;
  for (const char *p = text; p < exponent; p++)
    if (*p >= '0' && *p <= '9') *m = *m * 10 + (uint64_t)(*p - '0');
  *e = atoi(exponent + 1) - (n - 1);
}

static void shortest_printed(double v, uint64_t *m, int *e) {
  int bits;
  uint64_t f = (uint64_t)ldexp(frexp(v, &bits), 53);
  int least = f == (uint64_t)1 << 52;
  for (int n = v < DBL_MIN ? 1 : DBL_DIG; n <= 17; n++) {
    print_digits(v, n, m, e);
    if (n == 17) return;
    /* above a power of two there is more room than below */
    if (fpg_decimal_to_double(*m, *e) == v && !is_midpoint(*m, *e, f, bits - 53, least)) return;
    ++*m;
    if (fpg_decimal_to_double(*m, *e) == v && !is_midpoint(*m, *e, f, bits - 53, least)) return;
  }
}

void fpg_shortest(double v, uint64_t *m, int *e) {
  if (!(v > 1e-7 && shortest_places(v, m, e)) && !shortest_exact(v, m, e))
    shortest_printed(v, m, e);
  strip(m, e);
}

/* Whether m * 10^e is a text of the float v = f * 2^q. */
static int reads_as_single(uint64_t m, int e, float v, uint64_t f, int q, int least) {
  char text[48];
  snprintf(text, sizeof text, "%llue%d", (unsigned long long)m, e);
  return strtof(text, NULL) == v && !is_midpoint(m, e, f, q, least);
}

void fpg_shortest_single(float v, uint64_t *m, int *e) {
  int bits;
  uint64_t f = (uint64_t)ldexpf(frexpf(v, &bits), FLT_MANT_DIG);
  int q = bits - FLT_MANT_DIG, lowest = FLT_MIN_EXP - FLT_MANT_DIG;
  int least = f == (uint64_t)1 << (FLT_MANT_DIG - 1) && q > lowest;
  for (; q < lowest; q++) f /= 2; /* below the least normal one the digits end sooner */
  for (int n = v < FLT_MIN ? 1 : FLT_DIG; n <= 9; n++) {
    print_digits((double)v, n, m, e);
    if (reads_as_single(*m, *e, v, f, q, least)) break;
    ++*m;
    if (reads_as_single(*m, *e, v, f, q, least)) break;
  }
  strip(m, e);
}
