/* SPDX-License-Identifier: MIT
 *
 * numeric_math.h: arithmetic of numerics with the server's rules of scale, integers by GMP.
 *
 * A number is an integer and a decimal scale: z * 10^-scale.  The registers live as long as their
 * owner, so nothing is left on the heap when the caller's allocation for a result fails.
 */
#ifndef FASTPG_NUMERIC_MATH_H
#define FASTPG_NUMERIC_MATH_H

#include <gmp.h>

#include "numeric.h"

enum { FPG_MATH_REGS = 12 };

typedef struct fpg_math {
  mpz_t z[FPG_MATH_REGS]; /* z[0] is the result */
  int32_t scale;          /* of the result */
  uint16_t special;       /* NaN or an infinity, when an operation gives FPG_MATH_SPECIAL */
} fpg_math;

enum { FPG_MATH_ADD, FPG_MATH_SUB, FPG_MATH_MUL, FPG_MATH_DIV, FPG_MATH_MOD, FPG_MATH_POW };

enum {
  FPG_MATH_OK,
  FPG_MATH_SPECIAL,
  FPG_MATH_OVERFLOW,
  FPG_MATH_DIVISION_BY_ZERO,
  FPG_MATH_ZERO_TO_NEGATIVE, /* zero raised to a negative power */
  FPG_MATH_COMPLEX           /* a negative number raised to a fraction */
};

void fpg_math_init(fpg_math *m);
void fpg_math_clear(fpg_math *m);
/* Gives back what a huge operation took. */
void fpg_math_trim(fpg_math *m);

/* Any of these but POW, which is fpg_math_power (numeric_power.h). */
int fpg_math_op(fpg_math *m, int op, const fpg_num *a, const fpg_num *b);
/* Half away from zero, to `scale` digits after the point (before it where negative). */
int fpg_math_round(fpg_math *m, const fpg_num *a, int64_t scale);

/* Digits a fpg_num of the result may need; 0: it has too many for a numeric. */
size_t fpg_math_room(const fpg_math *m);
/* The result; z[0] is used up. */
void fpg_math_result(fpg_math *m, fpg_num *out);

/* ---- for numeric_power.c: on registers ---------------------------------------------------- */

/* a ^ b where one of them is not finite. */
int fpg_math_power_special(fpg_math *m, const fpg_num *a, const fpg_num *b);

/* z = n * 10^dscale */
void fpg_math_load(mpz_t z, const fpg_num *n);
/* z *= 10^n; z = z / 10^n rounded half away from zero (n of any sign). */
void fpg_math_shift_up(mpz_t z, mpz_t tmp, int64_t n);
void fpg_math_shift(mpz_t z, mpz_t tmp, mpz_t tmp2, int64_t n);
/* q = a / b rounded half away from zero; r is scratch; q may be a, not b. */
void fpg_math_divide(mpz_t q, const mpz_t a, const mpz_t b, mpz_t r);

#endif
