/* SPDX-License-Identifier: MIT
 *
 * clock.c: see clock.h.
 */
#include "clock.h"

#include <limits.h>
#include <time.h>

double fpg_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int fpg_milliseconds(double seconds) {
  double ms = seconds * 1000;
  if (!(ms > 0)) return 0;
  return ms > INT_MAX - 1 ? INT_MAX - 1 : (int)ms + (ms > (int)ms);
}
