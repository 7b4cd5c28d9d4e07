/* SPDX-License-Identifier: MIT
 *
 * numeric_math.c: + - * / % and rounding.
 *
 * Rules of the server (src/backend/utils/adt/numeric.c, PostgreSQL 15):
 *   + -   the larger scale                  *   the sum of scales, 16383 at most
 *   %     the larger scale; truncated, so the sign is the dividend's
 *   /     as many digits as give 16 significant ones, counted in base-10000 digits: see div_scale
 * NaN wins over everything; infinities follow IEEE 754, but x / 0 is an error.
 */
#include "numeric_math.h"

#include <stdlib.h>

#define MAX_DIGITS_BEFORE 131072

void fpg_math_init(fpg_math *m) {
  for (int i = 0; i < FPG_MATH_REGS; i++) mpz_init(m->z[i]);
}

void fpg_math_clear(fpg_math *m) {
  for (int i = 0; i < FPG_MATH_REGS; i++) mpz_clear(m->z[i]);
}

enum { KEEP_LIMBS = 512 };

void fpg_math_trim(fpg_math *m) {
  for (int i = 0; i < FPG_MATH_REGS; i++)
    if (m->z[i]->_mp_alloc > KEEP_LIMBS) mpz_realloc2(m->z[i], 64);
}

/* ---- between numerics and integers -------------------------------------------------------- */

static const unsigned long powers[] = {1UL,      10UL,      100UL,      1000UL,     10000UL,
                                       100000UL, 1000000UL, 10000000UL, 100000000UL};
enum { SMALL_POWER = 8 };

void fpg_math_shift_up(mpz_t z, mpz_t tmp, int64_t n) {
  if (n <= 0) return;
  if (n <= SMALL_POWER) {
    mpz_mul_ui(z, z, powers[n]);
  } else {
    mpz_ui_pow_ui(tmp, 10, (unsigned long)n);
    mpz_mul(z, z, tmp);
  }
}

void fpg_math_divide(mpz_t q, const mpz_t a, const mpz_t b, mpz_t r) {
  int sign = mpz_sgn(a) * mpz_sgn(b);
  mpz_tdiv_qr(q, r, a, b);
  mpz_mul_2exp(r, r, 1);
  if (mpz_cmpabs(r, b) < 0) return;
  if (sign < 0) mpz_sub_ui(q, q, 1);
  else mpz_add_ui(q, q, 1);
}

void fpg_math_shift(mpz_t z, mpz_t tmp, mpz_t tmp2, int64_t n) {
  if (n <= 0) {
    fpg_math_shift_up(z, tmp, -n);
  } else {
    mpz_ui_pow_ui(tmp, 10, (unsigned long)n);
    fpg_math_divide(z, z, tmp, tmp2);
  }
}

/* Digits four by four, two at a time; then as many zeros as the scale asks for, or fewer. */
void fpg_math_load(mpz_t z, const fpg_num *n) {
  mpz_set_ui(z, 0);
  int32_t i = 0;
  for (; i + 1 < n->ndigits; i += 2) {
    mpz_mul_ui(z, z, 100000000UL);
    mpz_add_ui(z, z, (unsigned long)n->digit[i] * 10000UL + n->digit[i + 1]);
  }
  if (i < n->ndigits) {
    mpz_mul_ui(z, z, 10000UL);
    mpz_add_ui(z, z, n->digit[i]);
  }
  if (n->ndigits == 0) return;
  int64_t shift = n->dscale - 4 * ((int64_t)n->ndigits - 1 - n->weight);
  if (shift < 0) {
    mpz_tdiv_q_ui(z, z, powers[-shift]); /* at most three: what is cut is zeros */
  } else if (shift > 0) {
    mpz_t ten;
    mpz_init(ten);
    fpg_math_shift_up(z, ten, shift);
    mpz_clear(ten);
  }
  if (n->sign == FPG_NUM_NEG) mpz_neg(z, z);
}

size_t fpg_math_room(const fpg_math *m) {
  size_t digits = mpz_sizeinbase(m->z[0], 10); /* exact, or one too many */
  if (digits > (size_t)MAX_DIGITS_BEFORE + 1 + (size_t)m->scale) return 0;
  return digits / 4 + 3;
}

/* Splits v > 0 of at most `count` base-10000 digits into out, most significant first. */
static void split(mpz_t v, uint16_t *out, size_t count) {
  size_t i = count;
  while (i >= 2) {
    unsigned long low = mpz_tdiv_q_ui(v, v, 100000000UL);
    out[--i] = (uint16_t)(low % 10000);
    out[--i] = (uint16_t)(low / 10000);
  }
  if (i) out[0] = (uint16_t)mpz_get_ui(v);
}

/* The same for numbers so long that dividing them digit by digit is slow: by their text. */
enum { LONG_DIGITS = 1024 };
static int split_long(const mpz_t v, uint16_t *out, size_t count) {
  char *text = malloc(mpz_sizeinbase(v, 10) + 2);
  if (!text) return 0;
  mpz_get_str(text, 10, v);
  const char *end = text;
  while (*end) end++;
  for (size_t i = count; i > 0; i--) {
    int d = 0;
    for (int k = 0, p = 1; k < 4 && end > text; k++, p *= 10) d += (*--end - '0') * p;
    out[i - 1] = (uint16_t)d;
  }
  free(text);
  return 1;
}

void fpg_math_result(fpg_math *m, fpg_num *out) {
  mpz_ptr z = m->z[0];
  int negative = mpz_sgn(z) < 0, pad = (4 - m->scale % 4) % 4;
  out->dscale = (uint16_t)m->scale;
  size_t count = fpg_math_room(m);
  mpz_abs(z, z);
  mpz_mul_ui(z, z, powers[pad]);
  if (count < LONG_DIGITS || !split_long(z, out->digit, count)) split(z, out->digit, count);
  out->ndigits = (int32_t)count;
  out->weight = (int32_t)count - 1 - (m->scale + pad) / 4;
  out->sign = negative ? FPG_NUM_NEG : FPG_NUM_POS;
  fpg_num_normalize(out);
}

/* ---- finite operations -------------------------------------------------------------------- */

static void load_aligned(fpg_math *m, const fpg_num *a, const fpg_num *b) {
  m->scale = a->dscale > b->dscale ? a->dscale : b->dscale;
  fpg_math_load(m->z[0], a);
  fpg_math_load(m->z[1], b);
  fpg_math_shift_up(m->z[0], m->z[2], m->scale - a->dscale);
  fpg_math_shift_up(m->z[1], m->z[2], m->scale - b->dscale);
}

/* What has too many digits is refused before GMP allocates them: where memory is short it aborts. */
static int multiply(fpg_math *m, const fpg_num *a, const fpg_num *b) {
  if (a->ndigits && b->ndigits && a->weight + b->weight > FPG_NUM_MAX_WEIGHT) return FPG_MATH_OVERFLOW;
  fpg_math_load(m->z[0], a);
  fpg_math_load(m->z[1], b);
  mpz_mul(m->z[0], m->z[0], m->z[1]);
  m->scale = a->dscale + b->dscale;
  if (m->scale > FPG_NUM_MAX_SCALE) {
    fpg_math_shift(m->z[0], m->z[1], m->z[2], m->scale - FPG_NUM_MAX_SCALE);
    m->scale = FPG_NUM_MAX_SCALE;
  }
  return FPG_MATH_OK;
}

/* At least 16 significant digits, at least the operands' scales, 1000 at most. */
static int32_t div_scale(const fpg_num *a, const fpg_num *b) {
  int32_t wa = a->ndigits ? a->weight : 0, wb = b->ndigits ? b->weight : 0;
  unsigned da = a->ndigits ? a->digit[0] : 0, db = b->ndigits ? b->digit[0] : 0;
  int32_t weight = wa - wb - (da <= db), scale = 16 - weight * 4;
  if (scale < a->dscale) scale = a->dscale;
  if (scale < b->dscale) scale = b->dscale;
  return scale > 1000 ? 1000 : scale;
}

static int divide(fpg_math *m, const fpg_num *a, const fpg_num *b) {
  if (b->ndigits == 0) return FPG_MATH_DIVISION_BY_ZERO;
  m->scale = div_scale(a, b);
  fpg_math_load(m->z[0], a);
  fpg_math_load(m->z[1], b);
  int64_t up = (int64_t)m->scale + b->dscale - a->dscale;
  if (up >= 0) fpg_math_shift_up(m->z[0], m->z[2], up);
  else fpg_math_shift_up(m->z[1], m->z[2], -up);
  fpg_math_divide(m->z[0], m->z[0], m->z[1], m->z[2]);
  return FPG_MATH_OK;
}

static int finite_op(fpg_math *m, int op, const fpg_num *a, const fpg_num *b) {
  switch (op) {
  case FPG_MATH_MUL: return multiply(m, a, b);
  case FPG_MATH_DIV: return divide(m, a, b);
  default: break;
  }
  if (op == FPG_MATH_MOD && b->ndigits == 0) return FPG_MATH_DIVISION_BY_ZERO;
  load_aligned(m, a, b);
  if (op == FPG_MATH_ADD) mpz_add(m->z[0], m->z[0], m->z[1]);
  else if (op == FPG_MATH_SUB) mpz_sub(m->z[0], m->z[0], m->z[1]);
  else mpz_tdiv_r(m->z[0], m->z[0], m->z[1]);
  return FPG_MATH_OK;
}

/* ---- NaN and the infinities --------------------------------------------------------------- */

static int sign_of(const fpg_num *n) {
  if (n->sign == FPG_NUM_PINF) return 1;
  if (n->sign == FPG_NUM_NINF || n->sign == FPG_NUM_NEG) return -1;
  return n->ndigits != 0;
}

static int special(fpg_math *m, uint16_t what) {
  m->special = what;
  return FPG_MATH_SPECIAL;
}

static int infinite(fpg_math *m, int sign) {
  return special(m, sign == 0 ? FPG_NUM_NAN : sign > 0 ? FPG_NUM_PINF : FPG_NUM_NINF);
}

static int whole(fpg_math *m, unsigned long v) {
  mpz_set_ui(m->z[0], v);
  m->scale = 0;
  return FPG_MATH_OK;
}

static int add_special(fpg_math *m, const fpg_num *a, const fpg_num *b, int minus) {
  int sa = fpg_num_finite(a) ? 0 : sign_of(a);
  int sb = fpg_num_finite(b) ? 0 : minus ? -sign_of(b) : sign_of(b);
  return infinite(m, sa + sb == 0 ? 0 : sa ? sa : sb);
}

static int divide_special(fpg_math *m, const fpg_num *a, const fpg_num *b, int mod) {
  if (!fpg_num_finite(a)) {
    if (!fpg_num_finite(b)) return infinite(m, 0);
    if (b->ndigits == 0) return FPG_MATH_DIVISION_BY_ZERO;
    return infinite(m, mod ? 0 : sign_of(a) * sign_of(b));
  }
  if (!mod) return whole(m, 0);
  fpg_math_load(m->z[0], a);
  m->scale = a->dscale;
  return FPG_MATH_OK;
}

/* |n| against 1: -1, 0, 1. */
static int cmp_abs_one(const fpg_num *n) {
  if (!fpg_num_finite(n)) return 1;
  if (n->ndigits == 0 || n->weight < 0) return -1;
  return n->weight == 0 && n->ndigits == 1 && n->digit[0] == 1 ? 0 : 1;
}
static int is_one(const fpg_num *n) { return n->sign == FPG_NUM_POS && cmp_abs_one(n) == 0; }

/* The rules of pow(3). */
int fpg_math_power_special(fpg_math *m, const fpg_num *a, const fpg_num *b) {
  if (a->sign == FPG_NUM_NAN)
    return fpg_num_finite(b) && b->ndigits == 0 ? whole(m, 1) : infinite(m, 0);
  if (b->sign == FPG_NUM_NAN) return is_one(a) ? whole(m, 1) : infinite(m, 0);
  int sa = sign_of(a), sb = sign_of(b), bfinite = fpg_num_finite(b);
  if (sa == 0 && sb < 0) return FPG_MATH_ZERO_TO_NEGATIVE;
  if (sa < 0 && bfinite && !fpg_num_is_whole(b)) return FPG_MATH_COMPLEX;
  if (is_one(a) || sb == 0) return whole(m, 1);
  if (sa == 0) return whole(m, 0);
  if (!bfinite) {
    int c = cmp_abs_one(a);
    if (c == 0) return whole(m, 1);
    return (c > 0) == (sb > 0) ? infinite(m, 1) : whole(m, 0);
  }
  if (sb < 0) return whole(m, 0);
  return infinite(m, sa > 0 || !fpg_num_is_odd(b) ? 1 : -1);
}

int fpg_math_op(fpg_math *m, int op, const fpg_num *a, const fpg_num *b) {
  if (fpg_num_finite(a) && fpg_num_finite(b)) return finite_op(m, op, a, b);
  if (a->sign == FPG_NUM_NAN || b->sign == FPG_NUM_NAN) return infinite(m, 0);
  switch (op) {
  case FPG_MATH_ADD: return add_special(m, a, b, 0);
  case FPG_MATH_SUB: return add_special(m, a, b, 1);
  case FPG_MATH_MUL: return infinite(m, sign_of(a) * sign_of(b));
  default: return divide_special(m, a, b, op == FPG_MATH_MOD);
  }
}

int fpg_math_round(fpg_math *m, const fpg_num *a, int64_t scale) {
  if (!fpg_num_finite(a)) return special(m, a->sign);
  if (scale > FPG_NUM_MAX_SCALE) scale = FPG_NUM_MAX_SCALE;
  if (scale < -MAX_DIGITS_BEFORE - 1) scale = -MAX_DIGITS_BEFORE - 1;
  fpg_math_load(m->z[0], a);
  fpg_math_shift(m->z[0], m->z[1], m->z[2], a->dscale - scale);
  m->scale = scale > 0 ? (int32_t)scale : 0;
  if (scale < 0) fpg_math_shift_up(m->z[0], m->z[1], -scale);
  return FPG_MATH_OK;
}
