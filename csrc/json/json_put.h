/* SPDX-License-Identifier: MIT
 *
 * json_put.h: strings and numbers as JSON text, onto a buffer.
 */
#ifndef FASTPG_JSON_PUT_H
#define FASTPG_JSON_PUT_H

#include "buffer.h"

/* Room for n bytes that are not counted yet. */
static inline char *fpg_json_reserve(lua_State *L, fpg_buf *b, size_t n) {
  if (n > b->cap - b->len) {
    fpg_buf_grow(L, b, n);
    b->len -= n;
  }
  return b->data + b->len;
}

/* "s" in quotes; false, with nothing to rely on in b, when s is not text: strict, when the server has no
 * text for it, else when it is none of what the reader makes of a string. */
int fpg_json_put_string(lua_State *L, fpg_buf *b, const char *s, size_t len, int strict);
void fpg_json_put_integer(lua_State *L, fpg_buf *b, int64_t v);
/* False when v is NaN or infinite. */
int fpg_json_put_float(lua_State *L, fpg_buf *b, double v);

#endif
