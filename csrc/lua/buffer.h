/* SPDX-License-Identifier: MIT
 *
 * buffer.h: bytes that grow, owned by a userdata on the Lua stack: a longjmp never leaks them.  Memory comes
 * from the state's own allocator, so a failing allocator reaches it.
 */
#ifndef FASTPG_BUFFER_H
#define FASTPG_BUFFER_H

#include "compat.h"

typedef struct fpg_buf {
  char *data;
  size_t len, cap;
} fpg_buf;

/* Pushes a userdata that owns an empty buffer. */
fpg_buf *fpg_buf_new(lua_State *L);

/* Frees the bytes now instead of at collection. */
void fpg_buf_free(lua_State *L, fpg_buf *b);

/* Makes room for n more bytes. */
void fpg_buf_enlarge(lua_State *L, fpg_buf *b, size_t n);

/* Room for n more bytes; returns where to write them and counts them as written. */
static inline char *fpg_buf_grow(lua_State *L, fpg_buf *b, size_t n) {
  if (n > b->cap - b->len) fpg_buf_enlarge(L, b, n);
  char *at = b->data + b->len;
  b->len += n;
  return at;
}

static inline void fpg_buf_put(lua_State *L, fpg_buf *b, const void *p, size_t n) {
  if (n) memcpy(fpg_buf_grow(L, b, n), p, n);
}
static inline void fpg_buf_putc(lua_State *L, fpg_buf *b, char c) {
  *fpg_buf_grow(L, b, 1) = c;
}
static inline void fpg_buf_puts(lua_State *L, fpg_buf *b, const char *s) {
  fpg_buf_put(L, b, s, strlen(s));
}

/* Decimal digits of v. */
void fpg_buf_putint(lua_State *L, fpg_buf *b, int64_t v);

#endif
