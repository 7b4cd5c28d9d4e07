/* SPDX-License-Identifier: MIT
 *
 * interval.h: PostgreSQL's intervals as numbers and text.
 */
#ifndef FASTPG_INTERVAL_H
#define FASTPG_INTERVAL_H

#include <stddef.h>
#include <stdint.h>

typedef struct fpg_interval {
  int64_t usec;
  int32_t days, months;
  int32_t number; /* the bits of an infinity, which are a number to a server before 17 (fpg_interval_inf) */
} fpg_interval;

size_t fpg_interval_text(char *buf, const fpg_interval *v);
int fpg_interval_parse(const char *s, size_t len, fpg_interval *out);
/* The server's text under any IntervalStyle: of "-1 2:03:04" the sign may be that of all fields. */
int fpg_interval_read(const char *s, size_t len, fpg_interval *out);

/* The infinite intervals of PostgreSQL 17: all three fields at their ends, unless `number` says that they
 * were counted; `ends` of any such fields. */
int fpg_interval_ends(const fpg_interval *v); /* -1, 0, 1 */
int fpg_interval_inf(const fpg_interval *v); /* -1, 0, 1 */
int fpg_interval_cmp(const fpg_interval *a, const fpg_interval *b);

#endif
