/* SPDX-License-Identifier: MIT
 *
 * zone.c: the time zones of a Lua state.
 *
 * Each zone is read once and kept in a table of the registry, so that a timestamptz may hold a
 * plain pointer to it.  A zone that can't be loaded is never kept: the file may be there later, or
 * a descriptor to open it by.  The last one asked for is remembered beside: a session has one zone.
 *
 * None may ever be freed, and a program may be given any POSIX form for a name: beyond MOST_ZONES, which is
 * more than any system's tzdata has, another one counts as one that can't be loaded.
 */
#include "zone.h"

#include "buffer.h"

enum { MOST_ZONES = 1500 };

static const char cache_key = 0;

typedef struct cache {
  const char *name; /* anchored as a key of the table */
  const fpg_tz *zone;
  int count; /* of those in the table */
} cache;

/* Pushes the table of zones; its [1] is the cache. */
static cache *push_cache(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 4);
    memset(fpg_newuserdata(L, sizeof(cache)), 0, sizeof(cache));
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &cache_key);
  }
  lua_rawgeti(L, -1, 1);
  cache *c = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return c;
}

/* Pushes the zone made of its file or its form, or false. */
static void push_zone(lua_State *L, const char *name) {
  fpg_buf *file = fpg_buf_new(L);
  unsigned char *bytes = (unsigned char *)fpg_buf_grow(L, file, FPG_TZ_FILE_MAX);
  size_t len = fpg_tz_read_file(name, bytes), size = len ? fpg_tz_size(bytes, len) : 0;
  fpg_tz *tz = fpg_newuserdata(L, size ? size : sizeof(fpg_tz));
  if (!(size && fpg_tz_parse(tz, bytes, len)) && !fpg_tz_form(tz, name)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 0);
  }
  fpg_buf_free(L, file);
  lua_remove(L, -2);
}

/* Makes the zone on top the one last asked for, under that name; pops it. */
static const fpg_tz *remember(lua_State *L, cache *c, const char *name) {
  const fpg_tz *zone = lua_touserdata(L, -1);
  lua_pushstring(L, name);
  const char *key = lua_tostring(L, -1);
  lua_pushvalue(L, -1);
  lua_rawseti(L, -4, 2); /* anchors the string that c->name points to */
  c->name = key;
  c->zone = zone;
  lua_pop(L, 2);
  return zone;
}

const fpg_tz *fpg_zone(lua_State *L, const char *name) {
  cache *c = push_cache(L);
  const fpg_tz *zone = c->zone;
  if (!c->name || strcmp(c->name, name) != 0) {
    lua_getfield(L, -1, name);
    if (lua_isnil(L, -1) && c->count < MOST_ZONES) {
      lua_pop(L, 1);
      push_zone(L, name);
      if (lua_isuserdata(L, -1)) {
        c->count++;
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, name);
      }
    }
    zone = lua_isuserdata(L, -1) ? remember(L, c, name) : (lua_pop(L, 1), NULL);
  }
  lua_pop(L, 1);
  return zone;
}
