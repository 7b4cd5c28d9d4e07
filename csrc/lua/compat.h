/* SPDX-License-Identifier: MIT
 *
 * compat.h: the differences between Lua 5.1, LuaJIT, 5.3 and 5.4, and nothing else.
 *
 * The rest of the C core is written against the Lua 5.4 names.  This is the only file that tests
 * LUA_VERSION_NUM.  Integers: 5.3 and later have them; on 5.1 and LuaJIT a number is a double, so
 * an int64 beyond 2^53 becomes an exact decimal string (FPG_HAS_INTEGER says which world this is).
 */
#ifndef FASTPG_COMPAT_H
#define FASTPG_COMPAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

/* The Lua this file was compiled for; the loader reads it out of a .so that will not load. */
#if defined(LUAJIT_VERSION_NUM) || defined(FPG_LUAJIT)
#define FPG_ABI "luajit"
#elif LUA_VERSION_NUM == 501
#define FPG_ABI "lua5.1"
#elif LUA_VERSION_NUM == 503
#define FPG_ABI "lua5.3"
#elif LUA_VERSION_NUM == 504
#define FPG_ABI "lua5.4"
#else
#error "fastpg is built for Lua 5.1, 5.3, 5.4 or LuaJIT"
#endif

#define FPG_HAS_INTEGER (LUA_VERSION_NUM >= 503)

/* PUC Lua 5.1 can't say whether a yield would be an error. */
#if LUA_VERSION_NUM == 501 && !defined(FPG_LUAJIT)
#define fpg_isyieldable(L) ((void)(L), 0)
#else
#define fpg_isyieldable(L) lua_isyieldable(L)
#endif

/* lua_type of an int64_t or other FFI object on LuaJIT. */
#define FPG_TCDATA 10

#if LUA_VERSION_NUM == 501

#define lua_rawlen(L, i) lua_objlen((L), (i))
#define luaL_setfuncs fpg_setfuncs
#define luaL_testudata fpg_testudata
#define luaL_setmetatable(L, name) (luaL_getmetatable((L), (name)), lua_setmetatable((L), -2))
#define lua_absindex(L, i) ((i) > 0 || (i) <= LUA_REGISTRYINDEX ? (i) : lua_gettop(L) + (i) + 1)

static inline void fpg_setfuncs(lua_State *L, const luaL_Reg *l, int nup) {
  for (; l->name; l++) {
    for (int i = 0; i < nup; i++) lua_pushvalue(L, -nup);
    lua_pushcclosure(L, l->func, nup);
    lua_setfield(L, -(nup + 2), l->name);
  }
  lua_pop(L, nup);
}

static inline void *fpg_testudata(lua_State *L, int idx, const char *tname) {
  void *p = lua_touserdata(L, idx);
  if (!p || !lua_getmetatable(L, idx)) return NULL;
  luaL_getmetatable(L, tname);
  if (!lua_rawequal(L, -1, -2)) p = NULL;
  lua_pop(L, 2);
  return p;
}

static inline void lua_rawgetp(lua_State *L, int idx, const void *key) {
  idx = lua_absindex(L, idx);
  lua_pushlightuserdata(L, (void *)(uintptr_t)key);
  lua_rawget(L, idx);
}

static inline void lua_rawsetp(lua_State *L, int idx, const void *key) {
  idx = lua_absindex(L, idx);
  lua_pushlightuserdata(L, (void *)(uintptr_t)key);
  lua_insert(L, -2);
  lua_rawset(L, idx);
}

/* One user value per userdata: its environment table on 5.1. */
#define fpg_newuserdata(L, size) lua_newuserdata((L), (size))
#define fpg_getuservalue(L, idx) lua_getfenv((L), (idx))
#define fpg_setuservalue(L, idx) (void)lua_setfenv((L), (idx))
#define lua_isinteger(L, idx) ((void)(L), (void)(idx), 0)
#define fpg_equal(L, a, b) lua_equal((L), (a), (b))
#define fpg_load_binary(L, reader, data, name) lua_load((L), (reader), (data), (name))

#elif LUA_VERSION_NUM == 503

#define fpg_newuserdata(L, size) lua_newuserdata((L), (size))
#define fpg_getuservalue(L, idx) (void)lua_getuservalue((L), (idx))
#define fpg_setuservalue(L, idx) lua_setuservalue((L), (idx))

#define fpg_equal(L, a, b) lua_compare((L), (a), (b), LUA_OPEQ)

#else

#define fpg_equal(L, a, b) lua_compare((L), (a), (b), LUA_OPEQ)
#define fpg_newuserdata(L, size) lua_newuserdatauv((L), (size), 1)
#define fpg_getuservalue(L, idx) (void)lua_getiuservalue((L), (idx), 1)
#define fpg_setuservalue(L, idx) (void)lua_setiuservalue((L), (idx), 1)

#endif

#if LUA_VERSION_NUM >= 503
#define fpg_load_binary(L, reader, data, name) lua_load((L), (reader), (data), (name), "b")
#endif

/* The length of a chunk's name as string.dump writes it before the name; returns how many bytes that takes.  (In 5.1 the
 * zero that ends the name counts too, and stands at the beginning of what follows.) */
#define FPG_DUMPED_LENGTH 16
static inline size_t fpg_dumped_length(char *out, size_t len) {
#if LUA_VERSION_NUM == 504
  size_t n = FPG_DUMPED_LENGTH, x = len + 1; /* seven bits a byte, the last one is marked */
  do out[--n] = (char)(x & 0x7f);
  while ((x >>= 7) != 0);
  out[FPG_DUMPED_LENGTH - 1] |= (char)0x80;
  memmove(out, out + n, FPG_DUMPED_LENGTH - n);
  return FPG_DUMPED_LENGTH - n;
#elif defined(LUAJIT_VERSION_NUM) || defined(FPG_LUAJIT)
  size_t n = 0; /* seven bits a byte from the lowest on, all but the last are marked */
  for (; len >= 0x80; len >>= 7) out[n++] = (char)(len | 0x80);
  out[n++] = (char)len;
  return n;
#else
  size_t x = len + 1, n = 0;
#if LUA_VERSION_NUM == 503
  if (x < 0xff) {
    out[0] = (char)x;
    return 1;
  }
  out[n++] = (char)0xff;
#endif
  memcpy(out + n, &x, sizeof x);
  return n + sizeof x;
#endif
}

#endif
