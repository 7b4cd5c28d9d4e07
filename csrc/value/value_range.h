/* SPDX-License-Identifier: MIT
 *
 * value_range.h: fastpg.range and fastpg.multirange.
 */
#ifndef FASTPG_VALUE_RANGE_H
#define FASTPG_VALUE_RANGE_H

#include "buffer.h"

enum { /* the wire format's */
  FPG_RANGE_EMPTY = 1,
  FPG_RANGE_LOWER_INC = 2,
  FPG_RANGE_UPPER_INC = 4,
  FPG_RANGE_LOWER_INF = 8,
  FPG_RANGE_UPPER_INF = 16,
  FPG_RANGE_FLAGS = 31
};

/* Takes lower, upper and the text from the stack (three values), pushes the range. */
void fpg_push_range(lua_State *L, int flags);
/* Takes the list of ranges and the text, pushes the multirange. */
void fpg_push_multirange(lua_State *L);
/* The flags of the range at idx; pushes its two bounds. */
int fpg_range_parts(lua_State *L, int idx);
/* Appends a bound's text, quoted where it has to be. */
void fpg_range_put_bound(lua_State *L, fpg_buf *out, const char *s, size_t len);

#endif
