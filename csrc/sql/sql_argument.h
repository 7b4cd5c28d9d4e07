/* SPDX-License-Identifier: MIT
 *
 * sql_argument.h: what the functions of this room are called with: a text, and how its strings are read.
 */
#ifndef FASTPG_SQL_ARGUMENT_H
#define FASTPG_SQL_ARGUMENT_H

#include "raise.h"

static inline const char *fpg_check_sql(lua_State *L, int idx, const char *who, size_t *len) {
  if (lua_type(L, idx) != LUA_TSTRING)
    fpg_raise(L, "invalid_argument", "%s: string expected, got %s", who, fpg_describe(L, idx));
  return lua_tolstring(L, idx, len);
}

/* standard_conforming_strings is on unless the caller says false. */
static inline int fpg_opt_standard(lua_State *L, int idx) {
  return !lua_isboolean(L, idx) || lua_toboolean(L, idx);
}

#endif
