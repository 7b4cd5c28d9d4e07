/* SPDX-License-Identifier: MIT
 *
 * testing.c: what only the specs of the decoders need; not there in a usual build.
 *
 * Compiled with -DFPG_TESTING (make asan), it gives Lua the decoders themselves: each on a block of
 * memory that ends where the bytes end, so that a sanitizer sees a step too far.
 */
#include "testing.h"

#ifdef FPG_TESTING

#include "typemap.h"

/* core.test_decode(oid, binary, bytes, timezone, typemap) -> the value; nil, "no decoder" where the
 * type has none for this form */
static int test_decode(lua_State *L) {
  int64_t oid = 0;
  size_t len;
  fpg_to_int64(L, 1, &oid);
  const char *bytes = luaL_checklstring(L, 3, &len);
  fpg_ctx cx = {.timezone = luaL_checkstring(L, 4), .types = fpg_check_typemap(L, 5)};
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

void fpg_open_testing(lua_State *L) {
  lua_pushcfunction(L, test_decode);
  lua_setfield(L, -2, "test_decode");
}

#else

void fpg_open_testing(lua_State *L) { (void)L; }

#endif
