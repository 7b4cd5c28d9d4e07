/* SPDX-License-Identifier: MIT
 *
 * numeric_power.c: a ^ b with the scale that the server gives it.
 *
 * A whole exponent (of 32 bits) multiplies; any other is exp(b * ln(a)).  The server picks the
 * scale from estimates in double precision, so the estimates here are the same, and products are
 * rounded where the server rounds them.
 *
 * ln works on binary fixed point, v * 2^-bits: a = f * 2^k, f near 1, and j square roots bring f
 * so near that the series of atanh is short.  exp works on decimal digits: x / 2^j by Taylor's
 * series, then j squarings.
 */
#include "numeric_power.h"

#include <math.h>
#include <stdlib.h>

#define BITS_PER_DIGIT 3.3219280948873626
#define LOG10_E 0.434294481903252 /* with the server's digits */
#define MAX_SCALE 1000            /* NUMERIC_MAX_DISPLAY_SCALE */
#define MOST_DIGITS 131073.0      /* more than a numeric has before the point */
#define MIN_DIGITS 16             /* NUMERIC_MIN_SIG_DIGITS */
#define MAX_LN 6000               /* of a result: exp(6000) */

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- whole exponents ---------------------------------------------------------------------- */

/* log10 of |a| from its first sixteen digits or so. */
static double estimate_log10(const fpg_num *a) {
  double f = a->digit[0];
  int p = a->weight * 4;
  for (int i = 1; i < a->ndigits && i * 4 < 16; i++) {
    f = f * FPG_NUM_BASE + a->digit[i];
    p -= 4;
  }
  return log10(f) + p;
}

/* Decimal digits of z. */
static int64_t digits_of(const mpz_t z, mpz_t tmp) {
  size_t n = mpz_sizeinbase(z, 10);
  mpz_ui_pow_ui(tmp, 10, n - 1);
  return (int64_t)n - (mpz_cmpabs(z, tmp) < 0);
}

/* A factor of the product: z * 10^-scale, and the weight of its first base-10000 digit. */
typedef struct factor {
  mpz_ptr z;
  int64_t scale, weight;
} factor;

static void weigh(factor *f, mpz_t tmp) {
  int64_t first = mpz_sgn(f->z) ? digits_of(f->z, tmp) - 1 - f->scale : 0;
  f->weight = first >= 0 ? first / 4 : -((3 - first) / 4);
}

/* f *= by, at as many digits as the server keeps for `digits` significant ones of the result. */
static void multiply(fpg_math *m, factor *f, const factor *by, int64_t digits) {
  int64_t scale = digits - (f->weight + by->weight) * 4;
  scale = max64(min64(scale, f->scale + by->scale), 0);
  mpz_mul(f->z, f->z, by->z);
  fpg_math_shift(f->z, m->z[2], m->z[3], f->scale + by->scale - scale);
  f->scale = scale;
  weigh(f, m->z[2]);
}

/* z[0] * 10^-*scale = a ^ exp, exp > 0; false where it grows beyond all bounds. */
static int power_whole(fpg_math *m, const fpg_num *a, uint32_t exp, int64_t digits,
                       int64_t *scale) {
  factor base = {m->z[1], a->dscale, a->weight}, result = {m->z[0], 0, 0};
  fpg_math_load(base.z, a);
  mpz_set_ui(result.z, 1);
  if (exp & 1) {
    mpz_set(result.z, base.z);
    result.scale = base.scale;
    result.weight = base.weight;
  }
  while ((exp >>= 1)) {
    multiply(m, &base, &base, digits);
    if (exp & 1) multiply(m, &result, &base, digits);
    if (base.weight > FPG_NUM_MAX_WEIGHT || result.weight > FPG_NUM_MAX_WEIGHT) return 0;
  }
  *scale = result.scale;
  return 1;
}

/* Brings z[0] of that scale to the result's scale. */
static int finish(fpg_math *m, int64_t scale, int64_t rscale) {
  fpg_math_shift(m->z[0], m->z[2], m->z[3], scale - rscale);
  m->scale = (int32_t)rscale;
  return FPG_MATH_OK;
}

static int zero(fpg_math *m, int64_t rscale) {
  mpz_set_ui(m->z[0], 0);
  m->scale = (int32_t)rscale;
  return FPG_MATH_OK;
}

/* z[0] = 1 / (z[0] * 10^-scale) */
static int reciprocal(fpg_math *m, int64_t scale, int64_t rscale) {
  mpz_ptr one = m->z[1];
  if (!mpz_sgn(m->z[0])) return FPG_MATH_DIVISION_BY_ZERO;
  mpz_set_ui(one, 1);
  if (scale + rscale >= 0) fpg_math_shift_up(one, m->z[2], scale + rscale);
  else fpg_math_shift_up(m->z[0], m->z[2], -(scale + rscale));
  fpg_math_divide(one, one, m->z[0], m->z[3]);
  mpz_swap(m->z[0], one);
  m->scale = (int32_t)rscale;
  return FPG_MATH_OK;
}

static int power_int(fpg_math *m, const fpg_num *a, int32_t exp) {
  int64_t rscale = min64(max64(MIN_DIGITS, a->dscale), MAX_SCALE), scale = a->dscale;
  if (exp == 0) {
    mpz_set_ui(m->z[0], 1);
    return finish(m, 0, rscale);
  }
  if (a->ndigits == 0) return exp < 0 ? FPG_MATH_DIVISION_BY_ZERO : zero(m, rscale);
  double f = exp * estimate_log10(a);
  if (f > MOST_DIGITS) return FPG_MATH_OVERFLOW;
  fpg_math_load(m->z[0], a);
  if (exp == 1) return finish(m, scale, rscale);
  if (exp == -1) return reciprocal(m, scale, rscale);
  if (exp == 2) {
    mpz_mul(m->z[0], m->z[0], m->z[0]);
    return finish(m, 2 * scale, rscale);
  }
  if (f + 1 < (double)-rscale || f + 1 < -MAX_SCALE) return zero(m, rscale);
  int64_t digits = 1 + rscale + (int)f + (int)log(fabs((double)exp)) + 8;
  if (!power_whole(m, a, exp < 0 ? 0 - (uint32_t)exp : (uint32_t)exp, digits, &scale))
    return exp < 0 ? zero(m, rscale) : FPG_MATH_OVERFLOW;
  return exp < 0 ? reciprocal(m, scale, rscale) : finish(m, scale, rscale);
}

/* ---- ln ----------------------------------------------------------------------------------- */

typedef mp_bitcnt_t bits_t;

/* s = atanh(x) = x + x^3/3 + x^5/5 …, |x| < 1; uses t, u, v. */
static void atanh_series(mpz_t s, const mpz_t x, bits_t bits, mpz_t t, mpz_t u, mpz_t v) {
  mpz_set(t, x);
  mpz_mul(u, x, x);
  mpz_tdiv_q_2exp(u, u, bits);
  mpz_set(s, x);
  for (unsigned long k = 3; mpz_sgn(t); k += 2) {
    mpz_mul(t, t, u);
    mpz_tdiv_q_2exp(t, t, bits);
    mpz_tdiv_q_ui(v, t, k);
    mpz_add(s, s, v);
  }
}

/* s += factor * atanh(1 / n) */
static void add_atanh_inverse(mpz_t s, long factor, unsigned long n, bits_t bits, mpz_t t,
                              mpz_t v) {
  mpz_set_ui(t, 1);
  mpz_mul_2exp(t, t, bits);
  mpz_tdiv_q_ui(t, t, n);
  for (unsigned long k = 1; mpz_sgn(t); k += 2) {
    mpz_tdiv_q_ui(v, t, k);
    if (factor < 0) mpz_submul_ui(s, v, (unsigned long)-factor);
    else mpz_addmul_ui(s, v, (unsigned long)factor);
    mpz_tdiv_q_ui(t, t, n * n);
  }
}

static void ln2(mpz_t s, bits_t bits, mpz_t t, mpz_t v) {
  mpz_set_ui(s, 0);
  add_atanh_inverse(s, 18, 26, bits, t, v);
  add_atanh_inverse(s, -2, 4801, bits, t, v);
  add_atanh_inverse(s, 8, 8749, bits, t, v);
}

static unsigned halvings(bits_t bits) { return 4 + (unsigned)sqrt((double)bits) / 4; }

/* out = ln(|a|) * 2^bits, a not zero; uses the registers from 4 on. */
static void ln_fixed(fpg_math *m, mpz_t out, const fpg_num *a, bits_t bits) {
  mpz_ptr f = m->z[4], t = m->z[5], u = m->z[6], v = m->z[7], x = m->z[8];
  unsigned j = halvings(bits);
  bits_t work = bits + j + 64;
  fpg_math_load(f, a);
  mpz_abs(f, f);
  mpz_ui_pow_ui(t, 10, a->dscale);
  long k = (long)mpz_sizeinbase(f, 2) - (long)mpz_sizeinbase(t, 2);
  /* f = |a| / 2^k, between 1/2 and 2 */
  long shift = (long)work - k;
  if (shift >= 0) mpz_mul_2exp(f, f, (bits_t)shift);
  else mpz_mul_2exp(t, t, (bits_t)-shift);
  mpz_tdiv_q(f, f, t);
  for (unsigned i = 0; i < j; i++) {
    mpz_mul_2exp(f, f, work);
    mpz_sqrt(f, f);
  }
  /* ln f = 2 atanh((f - 1) / (f + 1)) */
  mpz_set_ui(t, 1);
  mpz_mul_2exp(t, t, work);
  mpz_sub(x, f, t);
  mpz_add(t, f, t);
  mpz_mul_2exp(x, x, work);
  mpz_tdiv_q(x, x, t);
  atanh_series(out, x, work, t, u, v);
  mpz_mul_2exp(out, out, j + 1);
  if (k) {
    ln2(u, work, t, v);
    mpz_mul_si(u, u, k);
    mpz_add(out, out, u);
  }
  mpz_tdiv_q_2exp(out, out, work - bits);
}

/* z = fixed-point v at `scale` decimal digits, rounded. */
static void to_decimal(mpz_t z, const mpz_t v, bits_t bits, int64_t scale, mpz_t tmp) {
  int negative = mpz_sgn(v) < 0;
  mpz_ui_pow_ui(tmp, 10, (unsigned long)scale);
  mpz_mul(z, v, tmp);
  mpz_abs(z, z);
  mpz_set_ui(tmp, 1);
  mpz_mul_2exp(tmp, tmp, bits - 1);
  mpz_add(z, z, tmp);
  mpz_tdiv_q_2exp(z, z, bits);
  if (negative) mpz_neg(z, z);
}

/* z[1] = b * ln(|a|), at `scale` digits, both factors rounded as the server does. */
static void ln_times(fpg_math *m, const fpg_num *a, const fpg_num *b, int64_t scale) {
  bits_t bits = (bits_t)((double)scale * BITS_PER_DIGIT) + 64;
  ln_fixed(m, m->z[0], a, bits);
  to_decimal(m->z[1], m->z[0], bits, scale, m->z[4]);
  fpg_math_load(m->z[0], b);
  mpz_mul(m->z[1], m->z[1], m->z[0]);
  fpg_math_shift(m->z[1], m->z[4], m->z[5], b->dscale);
}

/* ---- exp ---------------------------------------------------------------------------------- */

/* z *= by * 10^-by_scale, then / n; z keeps its scale. */
static void next_term(fpg_math *m, mpz_t z, const mpz_t by, int64_t by_scale, unsigned long n) {
  mpz_mul(z, z, by);
  fpg_math_shift(z, m->z[4], m->z[5], by_scale);
  mpz_set_ui(m->z[4], n);
  fpg_math_divide(z, z, m->z[4], m->z[5]);
}

/* x = x / 2^halved near 0, so that the series is short; one more digit for each halving. */
static int reduce(fpg_math *m, mpz_t x, int64_t *scale, double val) {
  int halved = 0;
  for (; fabs(val) > 0.01; val /= 2) halved++;
  if (halved) {
    fpg_math_shift_up(x, m->z[4], halved);
    *scale += halved;
    mpz_set_ui(m->z[4], 1UL << halved);
    fpg_math_divide(x, x, m->z[4], m->z[5]);
  }
  return halved;
}

/* z[0] = exp(z[1] * 10^-scale), about exp(val), at rscale digits.  Decimal, in the server's own
 * steps: where the last digit hangs by a hair, it falls to the same side. */
static void exp_decimal(fpg_math *m, int64_t scale, int64_t rscale, double val) {
  mpz_ptr x = m->z[1], term = m->z[6];
  int weight = (int)(val * LOG10_E), halved = reduce(m, x, &scale, val);
  int64_t digits = max64(1 + weight + rscale + (int)(halved * 0.301029995663981), 0) + 8;
  int64_t term_scale = digits - 1, sum_scale = max64(term_scale, scale);
  factor sum = {m->z[0], sum_scale, 0};
  mpz_ui_pow_ui(sum.z, 10, (unsigned long)sum_scale);
  mpz_set(term, x);
  fpg_math_shift_up(term, m->z[4], sum_scale - scale);
  mpz_add(sum.z, sum.z, term);
  mpz_mul(term, x, x);
  fpg_math_shift(term, m->z[4], m->z[5], 2 * scale - term_scale);
  mpz_set_ui(m->z[4], 2);
  fpg_math_divide(term, term, m->z[4], m->z[5]);
  for (unsigned long n = 3; mpz_sgn(term); n++) {
    mpz_set(m->z[7], term);
    fpg_math_shift_up(m->z[7], m->z[4], sum_scale - term_scale);
    mpz_add(sum.z, sum.z, m->z[7]);
    next_term(m, term, x, scale, n);
  }
  weigh(&sum, m->z[4]);
  for (; halved; halved--) {
    int64_t to = max64(digits - sum.weight * 8, 0);
    mpz_mul(sum.z, sum.z, sum.z);
    fpg_math_shift(sum.z, m->z[4], m->z[5], 2 * sum.scale - to);
    sum.scale = to;
    weigh(&sum, m->z[4]);
  }
  finish(m, sum.scale, rscale);
}

/* ---- other exponents ---------------------------------------------------------------------- */

/* The decimal weight of ln(a): how many digits it has before the point, or after it, less one. */
static int64_t ln_weight(fpg_math *m, const fpg_num *a) {
  mpz_ptr x = m->z[0], t = m->z[1];
  fpg_math_load(x, a);
  mpz_abs(x, x);
  mpz_ui_pow_ui(t, 10, a->dscale);
  mpz_sub(x, x, t); /* a - 1 */
  mpz_mul_ui(x, x, 10);
  if (mpz_cmpabs(x, t) <= 0) { /* 0.9 … 1.1: ln(1 + x) is about x */
    if (!mpz_sgn(x)) return 0;
    return digits_of(x, t) - 2 - a->dscale; /* x has ten times its value here */
  }
  double digits = a->digit[0];
  int weight = a->weight * 4;
  if (a->ndigits > 1) {
    digits = digits * FPG_NUM_BASE + a->digit[1];
    weight -= 4;
  }
  return (int)log10(fabs(log(digits) + weight * 2.302585092994046));
}

/* z[1] * 10^-scale as a double. */
static double decimal_double(fpg_math *m, int64_t scale) {
  mpz_ptr z = m->z[0];
  mpz_set(z, m->z[1]);
  int64_t keep = min64(scale, 22);
  fpg_math_shift(z, m->z[4], m->z[5], scale - keep);
  return mpz_get_d(z) / pow(10, (double)keep);
}

static int power_fraction(fpg_math *m, const fpg_num *a, const fpg_num *b) {
  if (a->ndigits == 0) return zero(m, MIN_DIGITS);
  int64_t weight = ln_weight(m, a), scale = max64(8 - weight, 0);
  ln_times(m, a, b, scale);
  double val = decimal_double(m, scale);
  if (fabs(val) > 2000 * 3.01) return val > 0 ? FPG_MATH_OVERFLOW : zero(m, MAX_SCALE);
  val *= LOG10_E;
  int64_t rscale = max64(MIN_DIGITS - (int)val, max64(a->dscale, b->dscale));
  rscale = min64(max64(rscale, 0), MAX_SCALE);
  int64_t digits = max64(rscale + (int)val, 0);
  scale = max64(digits - weight + 8, 0);
  ln_times(m, a, b, scale);
  val = decimal_double(m, scale);
  if (fabs(val) >= MAX_LN) return val > 0 ? FPG_MATH_OVERFLOW : zero(m, rscale);
  exp_decimal(m, scale, rscale, val);
  if (a->sign == FPG_NUM_NEG && fpg_num_is_odd(b)) mpz_neg(m->z[0], m->z[0]);
  return FPG_MATH_OK;
}

int fpg_math_power(fpg_math *m, const fpg_num *a, const fpg_num *b) {
  int64_t exp;
  if (!fpg_num_finite(a) || !fpg_num_finite(b)) return fpg_math_power_special(m, a, b);
  int whole = fpg_num_is_whole(b);
  if (a->ndigits == 0 && b->sign == FPG_NUM_NEG) return FPG_MATH_ZERO_TO_NEGATIVE;
  if (a->sign == FPG_NUM_NEG && !whole) return FPG_MATH_COMPLEX;
  if (whole && fpg_num_int64(b, &exp) && exp >= INT32_MIN && exp <= INT32_MAX)
    return power_int(m, a, (int32_t)exp);
  return power_fraction(m, a, b);
}
