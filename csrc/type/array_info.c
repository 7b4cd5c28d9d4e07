/* SPDX-License-Identifier: MIT
 *
 * array_info.c: see array_info.h.  It is kept beside the list, in a table with weak keys.
 */
#include "array_info.h"

static const char infos_key = 0;

static void push_infos(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &infos_key);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &infos_key);
}

void fpg_keep_array_info(lua_State *L, const int *lower, int ndim, int lists) {
  int list = lua_gettop(L), odd = lists && ndim > 1;
  for (int i = 0; i < ndim; i++) odd |= lower[i] != 1;
  if (!odd) return;
  push_infos(L);
  lua_pushvalue(L, list);
  lua_createtable(L, 0, 2);
  lua_createtable(L, ndim, 0);
  for (int i = 0; i < ndim; i++) {
    lua_pushinteger(L, lower[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "lower");
  lua_pushinteger(L, ndim);
  lua_setfield(L, -2, "dims");
  lua_rawset(L, -3);
  lua_settop(L, list);
}

int fpg_push_array_info(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  push_infos(L);
  lua_pushvalue(L, idx);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return !lua_isnil(L, -1);
}

/* core.array_info(list) -> { lower =, dims = } or nil */
static int core_array_info(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  fpg_push_array_info(L, 1);
  return 1;
}

/* core.set_array_info(list, info) */
static int core_set_array_info(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  push_infos(L);
  lua_insert(L, 1);
  lua_rawset(L, 1);
  return 0;
}

void fpg_open_array_info(lua_State *L) {
  lua_pushcfunction(L, core_array_info);
  lua_setfield(L, -2, "array_info");
  lua_pushcfunction(L, core_set_array_info);
  lua_setfield(L, -2, "set_array_info");
}
