/* SPDX-License-Identifier: MIT
 *
 * codec_user.c: codecs that the user set.  The data of such a type is { encode = function, decode = function }:
 * text both ways.
 */
#include "codec_user.h"

#include "buffer.h"
#include "codec_other.h"
#include "codec_scalar.h"

void fpg_user_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                          size_t len) {
  luaL_checkstack(L, 4, "codec");
  fpg_type_push_data(L, type);
  lua_getfield(L, -1, "decode");
  lua_remove(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    fpg_bytes_decode(L, cx, type, p, len);
    return;
  }
  lua_pushlstring(L, p, len);
  lua_call(L, 1, 1);
}

int fpg_user_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  luaL_checkstack(L, 4, "codec");
  fpg_type_push_data(L, type);
  lua_getfield(L, -1, "encode");
  lua_remove(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return fpg_any_encode(L, cx, type, idx, out);
  }
  lua_pushvalue(L, idx);
  lua_call(L, 1, 1);
  size_t len;
  const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  if (!s) fpg_bad_value(L, cx, lua_gettop(L), "text from the codec's encode function");
  fpg_buf_put(L, out, s, len);
  lua_pop(L, 1);
  return FPG_TEXT;
}
