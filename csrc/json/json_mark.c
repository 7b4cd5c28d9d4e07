/* SPDX-License-Identifier: MIT
 *
 * json_mark.c: see json_mark.h.
 */
#include "json_mark.h"

#include "json_lex.h"
#include "raise.h"

#define JSON_NULL_MT "fastpg.json_null"

/* Keys of the registry. */
static const char array_mt_key, own_array_mt_key, json_null_key;

int fpg_json_raise(lua_State *L, const char *name, int blame, const char *message) {
  fpg_push_error(L, name, "%s", message);
  if (blame) {
    fpg_push_where(L);
    lua_setfield(L, -2, "where");
  }
  return lua_error(L);
}

/* ---- arrays and null ---------------------------------------------------------------------- */

void fpg_push_array_mt(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &array_mt_key); }

void fpg_push_json_null(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &json_null_key); }

int fpg_is_array_mt(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  fpg_push_array_mt(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &own_array_mt_key);
  int is = lua_rawequal(L, idx, -1) || lua_rawequal(L, idx, -2);
  lua_pop(L, 2);
  if (is) return 1;
  lua_pushliteral(L, "__jsontype");
  lua_rawget(L, idx);
  is = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "array") == 0;
  lua_pop(L, 1);
  return is;
}

/* set_array_mt(t): the metatable that arrays get from now on; upvalue 1 is the core table. */
static int json_set_array_mt(lua_State *L) {
  if (lua_type(L, 1) != LUA_TTABLE)
    return fpg_raise(L, "invalid_argument", "set_array_mt: table expected, got %s",
                     fpg_describe(L, 1));
  lua_pushvalue(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_mt_key);
  lua_pushvalue(L, 1);
  lua_setfield(L, lua_upvalueindex(1), "array_mt");
  return 0;
}

static int null_tostring(lua_State *L) {
  lua_pushliteral(L, "null");
  return 1;
}

/* ---- fastpg.json_text --------------------------------------------------------------------- */

const char *fpg_json_check_text(lua_State *L, const char *what, size_t *len) {
  if (lua_type(L, 1) != LUA_TSTRING)
    fpg_json_raise(L, "invalid_argument", 1,
                   lua_pushfstring(L, "%s: string expected, got %s", what,
                                   lua_isnone(L, 1) ? "no value" : fpg_describe(L, 1)));
  return lua_tolstring(L, 1, len);
}

void fpg_json_push_raw(lua_State *L, const char *s, size_t len) {
  fpg_json_raw *raw = fpg_newuserdata(L, sizeof *raw + len);
  raw->len = len;
  memcpy(raw->text, s, len);
  luaL_setmetatable(L, FPG_JSON_TEXT_MT);
}

/* json_text(s): JSON that is written as it stands. */
static int json_text(lua_State *L) {
  size_t len, at;
  const char *s = fpg_json_check_text(L, "json_text", &len);
  const char *wrong = fpg_json_check(s, len, &at);
  if (wrong)
    return fpg_json_raise(L, "invalid_json", 1,
                          lua_pushfstring(L, "json_text: %s (byte %d)", wrong, (int)at + 1));
  fpg_json_push_raw(L, s, len);
  return 1;
}

static int text_tostring(lua_State *L) {
  const fpg_json_raw *raw = luaL_checkudata(L, 1, FPG_JSON_TEXT_MT);
  lua_pushlstring(L, raw->text, raw->len);
  return 1;
}

static int text_eq(lua_State *L) {
  const fpg_json_raw *a = luaL_testudata(L, 1, FPG_JSON_TEXT_MT);
  const fpg_json_raw *b = luaL_testudata(L, 2, FPG_JSON_TEXT_MT);
  lua_pushboolean(L, a && b && a->len == b->len && memcmp(a->text, b->text, a->len) == 0);
  return 1;
}

/* ---- metatables --------------------------------------------------------------------------- */

static void metatable(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
}

static const luaL_Reg null_methods[] = {{"__tostring", null_tostring}, {NULL, NULL}};
static const luaL_Reg text_methods[] = {
    {"__tostring", text_tostring}, {"__eq", text_eq}, {NULL, NULL}};

void fpg_open_json_mark(lua_State *L) {
  metatable(L, FPG_JSON_TEXT_MT, text_methods);
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushliteral(L, "fastpg.array");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "array");
  lua_setfield(L, -2, "__jsontype");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &own_array_mt_key);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_mt_key);
  lua_setfield(L, -2, "array_mt");
  fpg_newuserdata(L, 1);
  metatable(L, JSON_NULL_MT, null_methods);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &json_null_key);
  lua_setfield(L, -2, "json_null");
  lua_pushcfunction(L, json_text);
  lua_setfield(L, -2, "json_text");
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, json_set_array_mt, 1);
  lua_setfield(L, -2, "set_array_mt");
}
