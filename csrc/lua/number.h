/* SPDX-License-Identifier: MIT
 *
 * number.h: integers that keep their digits on every Lua, and seconds.
 */
#ifndef FASTPG_NUMBER_H
#define FASTPG_NUMBER_H

#include "compat.h"

/* Pushes v: an integer, or on a Lua without integers a number up to 2^53 and else its digits. */
void fpg_push_int64(lua_State *L, int64_t v);

/* The integer at idx: a Lua integer, a float with an integral value in range, or LuaJIT's int64
 * and uint64 cdata.  Strings are not converted.  False when it is none of these. */
int fpg_to_int64(lua_State *L, int idx, int64_t *out);

/* The same of a value that is known to be a number. */
static inline int fpg_number_to_int64(lua_State *L, int idx, int64_t *out) {
#if FPG_HAS_INTEGER
  int integral;
  *out = (int64_t)lua_tointegerx(L, idx, &integral); /* (of a float, too, where it is one exactly) */
  return integral;
#else
  double d = (double)lua_tonumber(L, idx);
  if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0) || d != (double)(int64_t)d) return 0;
  *out = (int64_t)d;
  return 1;
#endif
}

/* The bits of LuaJIT's int64 (-1 is returned) or uint64 (1) at idx; 0 when it is neither. */
int fpg_cdata_integer(lua_State *L, int idx, uint64_t *out);

/* The number of seconds at idx; NaN is refused. */
double fpg_check_seconds(lua_State *L, int idx);

/* Whether the value at idx is nil, none, or fastpg.null. */
static inline int fpg_is_null(lua_State *L, int idx) {
  int t = lua_type(L, idx);
  return t <= LUA_TNIL || (t == LUA_TLIGHTUSERDATA && !lua_touserdata(L, idx));
}

#endif
