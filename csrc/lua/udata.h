/* SPDX-License-Identifier: MIT
 *
 * udata.h: which userdata an argument is, in a few instructions.
 *
 * luaL_checkudata looks for the metatable's name in the registry each time.  A method that is called for every statement
 * has the metatable as an upvalue instead.
 */
#ifndef FASTPG_UDATA_H
#define FASTPG_UDATA_H

#include "compat.h"

/* The userdata at idx where its metatable is that upvalue of the running function, else NULL. */
static inline void *fpg_known_udata(lua_State *L, int idx, int upvalue) {
  if (!lua_getmetatable(L, idx)) return NULL;
  int known = lua_rawequal(L, -1, lua_upvalueindex(upvalue));
  lua_pop(L, 1);
  return known ? lua_touserdata(L, idx) : NULL;
}

#endif
