/* SPDX-License-Identifier: MIT
 *
 * clock.c: see clock.h.
 */
#include "clock.h"

#include <limits.h>
#include <time.h>

static double seconds_of(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double fpg_clock(void) { return seconds_of(CLOCK_MONOTONIC); }

double fpg_cpu_clock(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

int fpg_milliseconds(double seconds) {
  double ms = seconds * 1000;
  if (!(ms > 0)) return 0;
  return ms > INT_MAX - 1 ? INT_MAX - 1 : (int)ms + (ms > (int)ms);
}
