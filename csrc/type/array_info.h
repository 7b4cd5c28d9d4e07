/* SPDX-License-Identifier: MIT
 *
 * array_info.h: what a list can't say of an array: lower bounds other than 1, and the number of dimensions where
 * elements may be lists themselves.
 */
#ifndef FASTPG_ARRAY_INFO_H
#define FASTPG_ARRAY_INFO_H

#include "compat.h"

/* Keeps it for the list on top of the stack, where there is something to keep.  `lists`: its elements may be lists. */
void fpg_keep_array_info(lua_State *L, const int *lower, int ndim, int lists);

/* Pushes what is kept for the list at idx, { lower = { … }, dims = n }, and returns 1; else pushes nil: 0. */
int fpg_push_array_info(lua_State *L, int idx);

#endif
