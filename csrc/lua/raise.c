/* SPDX-License-Identifier: MIT
 *
 * raise.c: see raise.h.
 */
#include "raise.h"

#include <stdarg.h>
#include <stdio.h>

#include "float_text.h"

typedef struct {
  const char *code, *name;
} condition;

static const condition conditions[] = {
#define FPG_SQLSTATE(code, name) {code, name},
#define FPG_SQLCLASS(code, name)
#include "sqlstates.def"
#undef FPG_SQLSTATE
#undef FPG_SQLCLASS
};

/* Of a name that two classes have, the error's, never the warning's.  A protocol_violation of ours is a
 * value that can't be read, which says nothing of the connection: the server's own means that. */
const char *fpg_sqlstate_of(const char *name) {
  if (strcmp(name, "protocol_violation") == 0) return NULL;
  if (strcmp(name, "invalid_json") == 0) name = "invalid_text_representation";
  for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
    if (strncmp(conditions[i].code, "03", 2) >= 0 && strcmp(conditions[i].name, name) == 0)
      return conditions[i].code;
  return NULL;
}

static void push_verror(lua_State *L, const char *name, const char *fmt, va_list ap) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  lua_pushvfstring(L, fmt, ap);
  lua_setfield(L, -2, "message");
  const char *code = fpg_sqlstate_of(name);
  if (code) {
    lua_pushstring(L, code);
    lua_setfield(L, -2, "sqlstate");
  }
  luaL_setmetatable(L, FPG_ERROR_MT);
}

void fpg_push_error(lua_State *L, const char *name, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  push_verror(L, name, fmt, ap);
  va_end(ap);
}

void fpg_push_where(lua_State *L) {
  lua_Debug ar;
  luaL_getmetatable(L, FPG_ERROR_MT);
  lua_getfield(L, -1, "own_source");
  const char *own = lua_tostring(L, -1);
  size_t len = own ? strlen(own) : 0;
  int found = 0;
  for (int level = 0; !found && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    found = ar.currentline > 0 && !(own && strncmp(ar.source, own, len) == 0);
  }
  if (found)
    lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
  else
    lua_pushnil(L);
  lua_insert(L, -3);
  lua_pop(L, 2);
}

int fpg_raise(lua_State *L, const char *name, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  push_verror(L, name, fmt, ap);
  va_end(ap);
  fpg_push_where(L);
  lua_setfield(L, -2, "where");
  return lua_error(L);
}

const char *fpg_describe(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  int t = lua_type(L, idx);
  if (t == LUA_TNUMBER) {
#if FPG_HAS_INTEGER
    if (lua_isinteger(L, idx)) {
      char digits[24];
      snprintf(digits, sizeof digits, "%lld", (long long)lua_tointeger(L, idx));
      return lua_pushfstring(L, "number %s", digits);
    }
#endif
    char text[40];
    text[fpg_float_text(text, (double)lua_tonumber(L, idx), 0)] = 0;
    return lua_pushfstring(L, "number %s", text);
  }
  if (t == LUA_TLIGHTUSERDATA && !lua_touserdata(L, idx)) return lua_pushfstring(L, "fastpg.null");
  if (t == FPG_TCDATA) return lua_pushfstring(L, "cdata");
  if (lua_getmetatable(L, idx)) {
    lua_pushliteral(L, "__name");
    lua_rawget(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) {
      lua_remove(L, -2);
      return lua_tostring(L, -1);
    }
    lua_pop(L, 2);
  }
  return lua_pushfstring(L, "%s", lua_typename(L, t));
}

void fpg_open_raise(lua_State *L) {
  luaL_newmetatable(L, FPG_ERROR_MT);
  lua_pushliteral(L, "fastpg.Error");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}
