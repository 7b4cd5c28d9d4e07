/* SPDX-License-Identifier: MIT
 *
 * clock.h: seconds, of a clock and as poll(2) takes them.
 */
#ifndef FASTPG_CLOCK_H
#define FASTPG_CLOCK_H

/* Seconds of a clock that only goes forward. */
double fpg_clock(void);

/* Seconds of CPU that the calling thread has taken. */
double fpg_cpu_clock(void);

/* Milliseconds as poll(2) takes them: rounded up, nothing below 0, no more than an int holds less one. */
int fpg_milliseconds(double seconds);

#endif
