/* SPDX-License-Identifier: MIT
 *
 * numeric_power.h: a ^ b of numerics.
 */
#ifndef FASTPG_NUMERIC_POWER_H
#define FASTPG_NUMERIC_POWER_H

#include "numeric_math.h"

/* As fpg_math_op. */
int fpg_math_power(fpg_math *m, const fpg_num *a, const fpg_num *b);

#endif
