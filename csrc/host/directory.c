/* SPDX-License-Identifier: MIT
 *
 * directory.c: the names in a directory, which Lua itself can't ask for (fastpg.migrate).
 */
#include <dirent.h>
#include <errno.h>

#include "compat.h"

#define DIRECTORY_MT "fastpg.directory"

/* The handle is in a userdata: pushing a name can throw. */
static int directory_gc(lua_State *L) {
  DIR **dir = luaL_checkudata(L, 1, DIRECTORY_MT);
  if (*dir) closedir(*dir);
  *dir = NULL;
  return 0;
}

/* core.list_directory(path) -> list of names (in no order, without "." and ".."), or nil and what is wrong */
static int core_list_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  DIR **dir = lua_newuserdata(L, sizeof *dir);
  *dir = NULL;
  luaL_setmetatable(L, DIRECTORY_MT);
  *dir = opendir(path);
  if (!*dir) {
    int error = errno;
    lua_pushnil(L);
    lua_pushstring(L, strerror(error));
    return 2;
  }
  lua_newtable(L);
  const struct dirent *entry;
  for (int n = 0; (errno = 0, entry = readdir(*dir)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    lua_pushstring(L, entry->d_name);
    lua_rawseti(L, -2, ++n);
  }
  int error = errno;
  closedir(*dir);
  *dir = NULL;
  if (!error) return 1;
  lua_pushnil(L);
  lua_pushstring(L, strerror(error));
  return 2;
}

void fpg_open_directory(lua_State *L) {
  static const luaL_Reg functions[] = {{"list_directory", core_list_directory}, {NULL, NULL}};
  luaL_newmetatable(L, DIRECTORY_MT);
  lua_pushcfunction(L, directory_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
