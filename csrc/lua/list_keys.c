/* SPDX-License-Identifier: MIT
 *
 * list_keys.c: which keys a table has, for lua/fastpg/base/lists.lua: a list of a million takes 10 ms here and 40 in Lua.
 */
#include "compat.h"
#include "number.h"

/* core.list_keys(list, key, most) -> how many positions there are among the `most` keys behind that one (nil: from the
 * first), the greatest of them, the last key that is none (nil: all are, but for "n"), and the key to go on behind, nil at
 * the end */
static int core_list_keys(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Number most = luaL_optnumber(L, 3, 1e300);
  int64_t count = 0, last = 0, k;
  lua_settop(L, 2);
  lua_pushnil(L); /* 3: the stray one */
  lua_pushvalue(L, 2);
  while (most-- >= 1 && lua_next(L, 1)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TNUMBER && fpg_to_int64(L, -1, &k) && k >= 1) {
      count++;
      if (k > last) last = k;
    } else if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "n") != 0) {
      lua_pushvalue(L, -1);
      lua_replace(L, 3);
    }
  }
  if (lua_gettop(L) == 3) lua_pushnil(L);
  fpg_push_int64(L, count);
  lua_insert(L, 3);
  fpg_push_int64(L, last);
  lua_insert(L, 4);
  return 4;
}

void fpg_open_list_keys(lua_State *L) {
  lua_pushcfunction(L, core_list_keys);
  lua_setfield(L, -2, "list_keys");
}
