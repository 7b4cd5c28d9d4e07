/* SPDX-License-Identifier: MIT
 *
 * buffer.c: see buffer.h.
 */
#include "buffer.h"

#include "raise.h"

#define BUF_MT "fastpg.buffer"

void fpg_buf_free(lua_State *L, fpg_buf *b) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  if (b->data) alloc(ud, b->data, b->cap, 0);
  b->data = NULL;
  b->len = b->cap = 0;
}

static int buf_gc(lua_State *L) {
  fpg_buf_free(L, lua_touserdata(L, 1));
  return 0;
}

fpg_buf *fpg_buf_new(lua_State *L) {
  fpg_buf *b = fpg_newuserdata(L, sizeof *b);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, BUF_MT);
  return b;
}

void fpg_buf_enlarge(lua_State *L, fpg_buf *b, size_t n) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  size_t cap = b->cap ? b->cap : 256;
  while (cap - b->len < n) {
    if (cap > SIZE_MAX / 2) fpg_raise(L, "out_of_memory", "value too large");
    cap *= 2;
  }
  char *data = alloc(ud, b->data, b->cap, cap);
  if (!data) luaL_error(L, "not enough memory");
  b->data = data;
  b->cap = cap;
}

void fpg_buf_putint(lua_State *L, fpg_buf *b, int64_t v) {
  char digits[24], *end = digits + sizeof digits, *p = end;
  uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  do *--p = (char)('0' + left % 10);
  while (left /= 10);
  if (v < 0) *--p = '-';
  fpg_buf_put(L, b, p, (size_t)(end - p));
}

void fpg_open_buffer(lua_State *L) {
  luaL_newmetatable(L, BUF_MT);
  lua_pushcfunction(L, buf_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
