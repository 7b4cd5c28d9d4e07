/* SPDX-License-Identifier: MIT
 *
 * interval_math.h: arithmetic of intervals, and of times with them.
 */
#ifndef FASTPG_INTERVAL_MATH_H
#define FASTPG_INTERVAL_MATH_H

#include "interval.h"

/* Each false where the result is out of range; sign is 1 or -1. */
int fpg_interval_add(const fpg_interval *a, const fpg_interval *b, int sign, fpg_interval *out);
int fpg_interval_mul(const fpg_interval *v, double factor, fpg_interval *out);
int fpg_interval_div(const fpg_interval *v, double divisor, fpg_interval *out);
/* a - b as days and time of day. */
int fpg_ts_diff(int64_t a, int64_t b, fpg_interval *out);
/* ts, finite, moved by `months`: a day the month lacks becomes its last. */
int fpg_ts_add_months(int64_t ts, int64_t months, int64_t *out);
int fpg_ts_add_days(int64_t ts, int64_t days, int64_t *out);
int fpg_ts_add(int64_t ts, int64_t usec, int64_t *out);

#endif
