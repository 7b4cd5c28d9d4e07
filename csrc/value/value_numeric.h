/* SPDX-License-Identifier: MIT
 *
 * value_numeric.h: fastpg.numeric: a userdata whose bytes are a fpg_num.
 */
#ifndef FASTPG_VALUE_NUMERIC_H
#define FASTPG_VALUE_NUMERIC_H

#include "compat.h"
#include "numeric.h"

/* Pushes a numeric with room for ndigits, to be filled before anything else runs. */
fpg_num *fpg_new_numeric(lua_State *L, size_t ndigits);

/* Pushes the numeric that the text is; raises on no number. */
void fpg_push_numeric_text(lua_State *L, const char *s, size_t len);

/* Pushes the numeric of the number at idx (integer, float, int64 cdata); false, nothing pushed,
 * when it is none. */
int fpg_push_numeric_of(lua_State *L, int idx);

#endif
