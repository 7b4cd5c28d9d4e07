/* SPDX-License-Identifier: MIT
 *
 * time_arith.h: arithmetic of dates, times and intervals, as a class needs it (value.h).
 */
#ifndef FASTPG_TIME_ARITH_H
#define FASTPG_TIME_ARITH_H

#include "compat.h"

int fpg_time_arith(lua_State *L, int op);
int fpg_interval_negate(lua_State *L);

#endif
