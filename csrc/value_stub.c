/* SPDX-License-Identifier: MIT
 * STUB of branch json: goes when branch values lands. */
#include "value.h"
typedef struct stub { int kind; size_t len; char s[1]; } stub;
static void push(lua_State *L, int kind, const char *s, size_t len) {
  stub *v = fpg_newuserdata(L, sizeof *v + len);
  v->kind = kind; v->len = len; memcpy(v->s, s, len);
  luaL_setmetatable(L, "fastpg.stub");
}
void fpg_push_numeric_text(lua_State *L, const char *s, size_t len) { push(L, FPG_V_NUMERIC, s, len); }
int fpg_value_text(lua_State *L, int idx, fpg_buf *out) {
  stub *v = luaL_testudata(L, idx, "fastpg.stub");
  if (!v) return 0;
  fpg_buf_put(L, out, v->s, v->len);
  return v->kind;
}
static int tostr(lua_State *L) {
  stub *v = luaL_checkudata(L, 1, "fastpg.stub");
  lua_pushlstring(L, v->s, v->len);
  return 1;
}
static int make(lua_State *L) {
  size_t len; const char *s = luaL_checklstring(L, 1, &len);
  push(L, (int)luaL_optinteger(L, 2, 1), s, len);
  return 1;
}
void fpg_open_value_stub(lua_State *L) {
  luaL_newmetatable(L, "fastpg.stub");
  lua_pushcfunction(L, tostr);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
  lua_pushcfunction(L, make);
  lua_setfield(L, -2, "stub");
}
