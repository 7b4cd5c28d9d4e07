/* SPDX-License-Identifier: MIT
 *
 * surface.c: see surface.h.
 */
#include "surface.h"

#include "raise.h"

/* Upvalues: the function, its name, the most arguments it takes, how many of them are self, whose it is. */
static int limited_call(lua_State *L) {
  int most = (int)lua_tointeger(L, lua_upvalueindex(3));
  int n = lua_gettop(L);
  if (n <= most) return lua_tocfunction(L, lua_upvalueindex(1))(L);
  int self = (int)lua_tointeger(L, lua_upvalueindex(4));
  most -= self;
  return fpg_raise(L, "invalid_argument", "%s: takes %s%d argument%s, got %d",
                   lua_tostring(L, lua_upvalueindex(2)), most > 0 ? "at most " : "", most,
                   most == 1 ? "" : "s", n - self);
}

static void push_limited(lua_State *L, lua_CFunction func, const char *name, int most, int self,
                         int owner) {
  lua_pushcfunction(L, func);
  lua_pushstring(L, name);
  lua_pushinteger(L, most + self);
  lua_pushinteger(L, self);
  lua_pushinteger(L, owner);
  lua_pushcclosure(L, limited_call, 5);
}

int fpg_method_owner(lua_State *L) { return (int)lua_tointeger(L, lua_upvalueindex(5)); }

void fpg_set_methods(lua_State *L, const fpg_method *list, int owner) {
  for (; list->name; list++) {
    push_limited(L, list->func, list->name, list->most, 1, owner);
    lua_setfield(L, -2, list->name);
  }
}

void fpg_add_methods(lua_State *L, const char *metatable, const luaL_Reg *list) {
  luaL_getmetatable(L, metatable);
  lua_getfield(L, -1, "__index");
  luaL_setfuncs(L, list, 0);
  lua_pop(L, 2);
}

static const char unknown_name_key = 0;

/* core.set_unknown_name(fn): fn(what, name, known) raises. */
static int core_set_unknown_name(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &unknown_name_key);
  return 0;
}

int fpg_unknown_name(lua_State *L, const char *what, int key, int known) {
  key = lua_absindex(L, key);
  known = lua_absindex(L, known);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &unknown_name_key);
  lua_pushstring(L, what);
  lua_pushvalue(L, key);
  lua_pushvalue(L, known);
  lua_call(L, 3, 0);
  return 0;
}

void fpg_open_surface(lua_State *L) {
  lua_pushcfunction(L, core_set_unknown_name);
  lua_setfield(L, -2, "set_unknown_name");
}
