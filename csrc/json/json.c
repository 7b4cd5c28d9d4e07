/* SPDX-License-Identifier: MIT
 *
 * json.c: fastpg.from_json and fastpg.to_json, by the reader (json_read.c) and the writer (json_write.c).
 */
#include "buffer.h"
#include "json_mark.h"
#include "json_read.h"
#include "json_write.h"

/* from_json(text) -> value */
static int from_json(lua_State *L) {
  size_t len;
  const char *s = fpg_json_check_text(L, "from_json", &len);
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

void fpg_open_json(lua_State *L) {
  lua_pushcfunction(L, from_json);
  lua_setfield(L, -2, "from_json");
  lua_pushnil(L);
  lua_pushcclosure(L, to_json, 1);
  lua_setfield(L, -2, "to_json");
}
