/* SPDX-License-Identifier: MIT
 *
 * alloc.c: for the specs, an allocator that fails on demand around the one that the Lua state has.
 *
 *   alloc.try(n, once, fn) -> reached, ok, error   runs fn; the n-th allocation fails, and unless
 *                                                  `once` all after it, until fn has ended
 *   alloc.count(fn) -> allocations                 how many there are when none fails
 *
 * (Lua tries again after an emergency collection: "once" fails that second attempt too.)
 */
#include <lauxlib.h>
#include <lua.h>

typedef struct {
  lua_Alloc alloc;
  void *ud;
  long seen, fail_at; /* 0: none fails */
  int once;
} state;

static void *failing(void *ud, void *p, size_t old, size_t size) {
  state *s = ud;
  if (size && (!p || size > old)) {
    s->seen++;
    if (s->fail_at && (s->seen == s->fail_at || s->seen == s->fail_at + 1 ||
                       (s->seen > s->fail_at && !s->once)))
      return NULL;
  }
  return s->alloc(s->ud, p, old, size);
}

static int run(lua_State *L, long fail_at, int once, long *seen, int *reached) {
  state s = {NULL, NULL, 0, fail_at, once};
  s.alloc = lua_getallocf(L, &s.ud);
  lua_setallocf(L, failing, &s);
  int status = lua_pcall(L, 0, 0, 0);
  lua_setallocf(L, s.alloc, s.ud);
  *seen = s.seen;
  *reached = fail_at && s.seen >= fail_at;
  return status;
}

static int alloc_try(lua_State *L) {
  long n = (long)luaL_checknumber(L, 1), seen;
  int once = lua_toboolean(L, 2), reached;
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  int status = run(L, n, once, &seen, &reached);
  lua_pushboolean(L, reached);
  lua_pushboolean(L, status == 0);
  if (status)
    lua_pushvalue(L, -3);
  else
    lua_pushnil(L);
  return 3;
}

static int alloc_count(lua_State *L) {
  long seen;
  int reached;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  if (run(L, 0, 0, &seen, &reached)) return lua_error(L);
  lua_pushnumber(L, (lua_Number)seen);
  return 1;
}

int luaopen_alloc(lua_State *L);
int luaopen_alloc(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, alloc_try);
  lua_setfield(L, -2, "try");
  lua_pushcfunction(L, alloc_count);
  lua_setfield(L, -2, "count");
  return 1;
}
