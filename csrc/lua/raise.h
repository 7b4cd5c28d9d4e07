/* SPDX-License-Identifier: MIT
 *
 * raise.h: error objects: what they say, and where.
 */
#ifndef FASTPG_RAISE_H
#define FASTPG_RAISE_H

#include "compat.h"

#define FPG_ERROR_MT "fastpg.Error"

/* Pushes a new error object { name =, message = }, with the sqlstate of a name that PostgreSQL has; the
 * message is formatted as by lua_pushfstring (%s %d %f %p %c %%). */
void fpg_push_error(lua_State *L, const char *name, const char *fmt, ...);

/* Pushes where the user's code called into fastpg, "script.lua:12": the first Lua function on the
 * stack whose source does not begin with own_source of the error metatable; else nil. */
void fpg_push_where(lua_State *L);

/* Pushes an error object with that place in `where`, and raises it.  Returns int so that a caller can say
 * `return fpg_raise(...)`. */
int fpg_raise(lua_State *L, const char *name, const char *fmt, ...);

/* What a message says the value at idx is: "nil", "number 1.5" (numbers show their value, nothing else
 * does), "fastpg.date", "table".  Pushes the text and returns it. */
const char *fpg_describe(lua_State *L, int idx);

/* The SQLSTATE whose condition has that name ("division_by_zero"), or NULL. */
const char *fpg_sqlstate_of(const char *name);

#endif
