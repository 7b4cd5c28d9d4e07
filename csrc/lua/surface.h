/* SPDX-License-Identifier: MIT
 *
 * surface.h: what users call: methods that take no surplus arguments, objects that have no other names.
 */
#ifndef FASTPG_SURFACE_H
#define FASTPG_SURFACE_H

#include "compat.h"

/* A method that users call, and the most arguments it takes beside self. */
typedef struct fpg_method {
  const char *name;
  lua_CFunction func;
  int most;
} fpg_method;

/* Adds the methods of a list that ends with a NULL name to the table on top of the stack.  A surplus
 * argument is an error, as everywhere in fastpg (lua/fastpg/base/surface.lua does the same for Lua's).
 * `owner` says whose methods they are: within one fpg_method_owner gives it. */
void fpg_set_methods(lua_State *L, const fpg_method *list, int owner);
int fpg_method_owner(lua_State *L);

/* Adds functions to the methods, __index, of a metatable that is there already. */
void fpg_add_methods(lua_State *L, const char *metatable, const luaL_Reg *list);

/* Raises for a name, at `key`, that an object does not have, with the near ones of those that are keys of
 * the table at `known`.  (Which is near is Lua's to say: core.set_unknown_name.) */
int fpg_unknown_name(lua_State *L, const char *what, int key, int known);

#endif
