/* SPDX-License-Identifier: MIT
 *
 * float_text.h: floats as PostgreSQL prints them, and back.
 */
#ifndef FASTPG_FLOAT_TEXT_H
#define FASTPG_FLOAT_TEXT_H

#include <stddef.h>

/* The shortest text that reads back as the same double, as the server writes a float8 (or a float4 when
 * `single`): NaN, Infinity, -Infinity, 1e+30, -0.  buf holds at least 32 bytes; returns the length. */
size_t fpg_float_text(char *buf, double v, int single);

/* The double, or the float, that the server's text is; false when it is none of the server's. */
int fpg_double_of_text(const char *p, size_t len, double *out);
int fpg_single_of_text(const char *p, size_t len, double *out);

#endif
