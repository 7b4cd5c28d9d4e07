/* SPDX-License-Identifier: MIT
 *
 * shortest.h: decimals and binary fractions, without the locale.
 */
#ifndef FASTPG_SHORTEST_H
#define FASTPG_SHORTEST_H

#include <stdint.h>

/* v = m * 10^e with the fewest digits that read back as v; v is finite and above 0. */
void fpg_shortest(double v, uint64_t *m, int *e);

/* The same for a float. */
void fpg_shortest_single(float v, uint64_t *m, int *e);

/* The double nearest to m * 10^e. */
double fpg_decimal_to_double(uint64_t m, int e);

#endif
