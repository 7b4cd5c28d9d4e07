/* SPDX-License-Identifier: MIT
 *
 * testing.c: what only the specs of the decoders need; not there in a usual build.
 *
 * Compiled with -DFPG_TESTING (make asan, make fuzz), it gives Lua the decoders and the scanner of
 * SQL: each on a block of memory that ends where the bytes end, so that a sanitizer sees a step too
 * far; and the encoders.
 */
#include "buffer.h"
#include "compat.h"
#include "lex.h"
#include "number.h"
#include "typemap.h"

#ifdef FPG_TESTING

static const char *push_zone(lua_State *L, const void *name) {
  lua_pushstring(L, name);
  return name;
}

/* core.test_decode(oid, binary, bytes, timezone, typemap) -> the value; nil, "no decoder" where the
 * type has none for this form */
static int test_decode(lua_State *L) {
  int64_t oid = 0;
  size_t len;
  fpg_to_int64(L, 1, &oid);
  const char *bytes = luaL_checklstring(L, 3, &len);
  fpg_zone_memo zone = {push_zone, luaL_checkstring(L, 4), NULL, 0};
  fpg_ctx cx = {.zone = &zone, .types = fpg_check_typemap(L, 5), .finder = &fpg_typemap_finder};
  const fpg_type *type = fpg_typemap_find(cx.types, (uint32_t)oid);
  int binary = lua_toboolean(L, 2);
  fpg_decode_fn *decode = !type ? NULL : binary ? type->decode_binary : type->decode_text;
  if (!decode || (binary && !fpg_type_has_binary(type))) {
    lua_pushnil(L);
    lua_pushliteral(L, "no decoder");
    return 2;
  }
  char *block = fpg_newuserdata(L, len);
  memcpy(block, bytes, len);
  int top = lua_gettop(L);
  decode(L, &cx, type, block, len);
  if (lua_gettop(L) != top + 1)
    return luaL_error(L, "the decoder pushed %d values", lua_gettop(L) - top);
  return 1;
}

/* core.test_encode(oid, value, timezone, typemap) -> bytes, whether they are the binary form */
static int test_encode(lua_State *L) {
  int64_t oid = 0;
  fpg_to_int64(L, 1, &oid);
  fpg_zone_memo zone = {push_zone, luaL_checkstring(L, 3), NULL, 0};
  fpg_ctx cx = {.zone = &zone, .types = fpg_check_typemap(L, 4), .finder = &fpg_typemap_finder};
  const fpg_type *type = fpg_typemap_find(cx.types, (uint32_t)oid);
  if (!type) return luaL_error(L, "no such type");
  const char *direct = NULL;
  size_t len = 0;
  fpg_buf *out = fpg_buf_new(L);
  int form = fpg_encode_param(L, &cx, type, 2, out, &direct, &len);
  lua_pushlstring(L, direct ? direct : out->data ? out->data : "", direct ? len : out->len);
  lua_pushboolean(L, form == FPG_BINARY);
  return 2;
}

/* core.test_lex(sql, standard_strings) -> how many tokens */
static int test_lex(lua_State *L) {
  size_t len;
  const char *sql = luaL_checklstring(L, 1, &len);
  char *block = fpg_newuserdata(L, len);
  memcpy(block, sql, len);
  fpg_lex lx;
  fpg_token t;
  int n = 0;
  fpg_lex_init(&lx, block, len, lua_toboolean(L, 2));
  const char *last = block;
  for (; fpg_lex_next(&lx, &t); n++) {
    if (t.p < last || t.len == 0 || t.len > (size_t)(block + len - t.p))
      return luaL_error(L, "token %d lies outside of the text", n + 1);
    last = t.p + t.len;
  }
  lua_pushinteger(L, n);
  return 1;
}

static const luaL_Reg functions[] = {{"test_decode", test_decode},
                                     {"test_encode", test_encode},
                                     {"test_lex", test_lex},
                                     {NULL, NULL}};

void fpg_open_testing(lua_State *L) { luaL_setfuncs(L, functions, 0); }

#else

void fpg_open_testing(lua_State *L) { (void)L; }

#endif
