/* SPDX-License-Identifier: MIT
 *
 * number.c: see number.h.
 */
#include "number.h"

#include <math.h>
#include <stdio.h>

#include "float_text.h"

#define EXACT_DOUBLE 9007199254740992LL /* 2^53 */

void fpg_push_int64(lua_State *L, int64_t v) {
#if FPG_HAS_INTEGER
  lua_pushinteger(L, (lua_Integer)v);
#else
  if (v >= -EXACT_DOUBLE && v <= EXACT_DOUBLE) {
    lua_pushnumber(L, (lua_Number)v);
  } else {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)v);
    lua_pushlstring(L, digits, (size_t)n);
  }
#endif
}

/* LuaJIT's integers: what tells them is kept from the time of loading, since none of the user's code may
 * run while a value is looked at (a metatype's __tostring, a tostring of the program's own). */
static const char is_type_key = 0, cast_key = 0, int64_key = 0, uint64_key = 0;

static int is_cdata_of(lua_State *L, int idx, const char *type_key) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &is_type_key);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return 0;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, type_key);
  lua_pushvalue(L, idx);
  lua_call(L, 2, 1);
  int is = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return is;
}

int fpg_cdata_integer(lua_State *L, int idx, uint64_t *out) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 4, "integer");
  int sign = is_cdata_of(L, idx, &int64_key) ? -1 : is_cdata_of(L, idx, &uint64_key) ? 1 : 0;
  if (!sign) return 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cast_key); /* a reference becomes what it refers to */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &uint64_key);
  lua_pushvalue(L, idx);
  lua_call(L, 2, 1);
  memcpy(out, lua_topointer(L, -1), sizeof *out);
  lua_pop(L, 1);
  return sign;
}

static int cdata_to_int64(lua_State *L, int idx, int64_t *out) {
  uint64_t v;
  int sign = fpg_cdata_integer(L, idx, &v);
  if (!sign || (sign > 0 && v > INT64_MAX)) return 0;
  *out = (int64_t)v;
  return 1;
}

/* Keeps what LuaJIT's ffi gives; without it there is no cdata either. */
static void keep_ffi(lua_State *L) {
  static const char code[] =
      "local ok, ffi = pcall(require, 'ffi')\n"
      "if ok then return ffi.istype, ffi.cast, ffi.typeof 'int64_t', ffi.typeof 'uint64_t' end";
  if (strcmp(FPG_ABI, "luajit") != 0) return;
  if (luaL_loadbuffer(L, code, sizeof code - 1, "=fastpg")) lua_error(L);
  lua_call(L, 0, 4);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &uint64_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &int64_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cast_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &is_type_key);
}

int fpg_to_int64(lua_State *L, int idx, int64_t *out) {
  int t = lua_type(L, idx);
  if (t == FPG_TCDATA) return cdata_to_int64(L, idx, out);
  if (t != LUA_TNUMBER) return 0;
  return fpg_number_to_int64(L, idx, out);
}

double fpg_check_seconds(lua_State *L, int idx) {
  double seconds = (double)luaL_checknumber(L, idx);
  if (isnan(seconds)) luaL_argerror(L, idx, "a number of seconds expected, got nan");
  return seconds;
}

/* core.float_text(number, single) -> its shortest text as the server's */
static int core_float_text(lua_State *L) {
  char text[40];
  size_t len = fpg_float_text(text, (double)luaL_checknumber(L, 1), lua_toboolean(L, 2));
  lua_pushlstring(L, text, len);
  return 1;
}

void fpg_open_number(lua_State *L) {
  keep_ffi(L);
  lua_pushcfunction(L, core_float_text);
  lua_setfield(L, -2, "float_text");
}
