/* SPDX-License-Identifier: MIT
 *
 * json.c: what surrounds the reader (json_read.c) and the writer (json_write.c): the marks for
 * arrays and null, fastpg.json_text, paths for messages.
 */
#include "json.h"

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

/* ---- paths -------------------------------------------------------------------------------- */

enum { PATH_HEAD = 12, PATH_TAIL = 12, PATH_KEY = 40 };

int fpg_json_path_shows(lua_State *L, fpg_buf *b, int i, int n) {
  if (n <= PATH_HEAD + PATH_TAIL || i < PATH_HEAD || i >= n - PATH_TAIL) return 1;
  if (i == PATH_HEAD) fpg_buf_puts(L, b, "...");
  return 0;
}

static int is_word(char c, int first) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         (!first && c >= '0' && c <= '9');
}

static void path_quoted(lua_State *L, fpg_buf *b, const char *s, size_t len) {
  static const char hex[] = "0123456789abcdef";
  const char *end = s + (len < PATH_KEY ? len : PATH_KEY);
  fpg_buf_puts(L, b, "[\"");
  while (s < end) {
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80 ? 1 : fpg_utf8_seq(s, end);
    if (n == 0 || c < 0x20 || c == 0x7F) {
      char escape[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
      fpg_buf_put(L, b, escape, 4);
      s++;
      continue;
    }
    if (c == '"' || c == '\\') fpg_buf_putc(L, b, '\\');
    fpg_buf_put(L, b, s, n);
    s += n;
  }
  fpg_buf_puts(L, b, len > PATH_KEY ? "...\"]" : "\"]");
}

void fpg_json_path_key(lua_State *L, fpg_buf *b, const char *s, size_t len) {
  size_t word = 0;
  while (word < len && is_word(s[word], word == 0)) word++;
  if (word != len || len == 0 || len > PATH_KEY) {
    path_quoted(L, b, s, len);
    return;
  }
  fpg_buf_putc(L, b, '.');
  fpg_buf_put(L, b, s, len);
}

void fpg_json_path_index(lua_State *L, fpg_buf *b, size_t i) {
  fpg_buf_putc(L, b, '[');
  fpg_buf_putint(L, b, (int64_t)i);
  fpg_buf_putc(L, b, ']');
}

/* ---- fastpg.json_text --------------------------------------------------------------------- */

static const char *check_text(lua_State *L, const char *what, size_t *len) {
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
  const char *s = check_text(L, "json_text", &len);
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

/* ---- Lua ---------------------------------------------------------------------------------- */

/* from_json(text) -> value */
static int from_json(lua_State *L) {
  size_t len;
  const char *s = check_text(L, "from_json", &len);
  fpg_json_read(L, "from_json", 1, s, len);
  return 1;
}

enum { KEEP_BUFFER = 1024 * 1024 };

/* to_json(value) -> text.  Upvalue 1 keeps a buffer between calls; it is taken out while in use, so
 * that neither an error nor a call from a finalizer finds it half written. */
static int to_json(lua_State *L) {
  if (lua_gettop(L) == 0)
    return fpg_json_raise(L, "invalid_argument", 1, "to_json: value expected, got no value");
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  fpg_buf *b = lua_touserdata(L, 2);
  if (b) {
    lua_pushnil(L);
    lua_replace(L, lua_upvalueindex(1));
  } else {
    lua_pop(L, 1);
    b = fpg_buf_new(L);
  }
  b->len = 0;
  fpg_json_write(L, 1, -1, 0, b);
  lua_pushlstring(L, b->data, b->len);
  if (b->cap > KEEP_BUFFER) fpg_buf_free(L, b);
  lua_pushvalue(L, 2);
  lua_replace(L, lua_upvalueindex(1));
  return 1;
}

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
static const luaL_Reg functions[] = {
    {"from_json", from_json}, {"json_text", json_text}, {NULL, NULL}};

void fpg_open_json(lua_State *L) {
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
  luaL_setfuncs(L, functions, 0);
  lua_pushnil(L);
  lua_pushcclosure(L, to_json, 1);
  lua_setfield(L, -2, "to_json");
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, json_set_array_mt, 1);
  lua_setfield(L, -2, "set_array_mt");
}
