/* SPDX-License-Identifier: MIT
 *
 * escape.h: text in quotes, written and read.
 */
#ifndef FASTPG_ESCAPE_H
#define FASTPG_ESCAPE_H

#include "buffer.h"

/* How text stands in quotes: before each of the special characters goes `before`, or that character itself. */
typedef struct fpg_escapes {
  const char *special;
  char before;
} fpg_escapes;

/* Escapes, in place, what was written from `start` on. */
void fpg_escape_from(lua_State *L, fpg_buf *b, size_t start, const fpg_escapes *how);

/* Appends the text in quotes, escaped. */
void fpg_put_quoted(lua_State *L, fpg_buf *b, char quote, const char *s, size_t len,
                    const fpg_escapes *how);

/* Reads one piece of a composite's or a range's text from *at on into `word` (emptied first), without
 * its quotes and backslashes, up to a byte of `stops` outside of quotes or the end; *at stays there.
 * 0 where the piece is left out altogether, which is NULL or no bound ("" is the empty string). */
int fpg_unquote(lua_State *L, fpg_buf *word, const char **at, const char *end, const char *stops);

#endif
