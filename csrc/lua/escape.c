/* SPDX-License-Identifier: MIT
 *
 * escape.c: see escape.h.
 */
#include "escape.h"

static int is_special(char c, const fpg_escapes *how) { return c && strchr(how->special, c); }

/* Counts first: most texts have nothing to escape, and the others are moved once, from the end. */
void fpg_escape_from(lua_State *L, fpg_buf *b, size_t start, const fpg_escapes *how) {
  size_t special = 0;
  for (size_t i = start; i < b->len; i++) special += is_special(b->data[i], how) != 0;
  if (!special) return;
  size_t from = b->len;
  fpg_buf_grow(L, b, special);
  for (size_t to = b->len; to > from;) {
    char c = b->data[--from];
    b->data[--to] = c;
    if (is_special(c, how)) b->data[--to] = how->before ? how->before : c;
  }
}

void fpg_put_quoted(lua_State *L, fpg_buf *b, char quote, const char *s, size_t len,
                    const fpg_escapes *how) {
  fpg_buf_putc(L, b, quote);
  size_t start = b->len;
  fpg_buf_put(L, b, s, len);
  fpg_escape_from(L, b, start, how);
  fpg_buf_putc(L, b, quote);
}

static int is_stop(char c, const char *stops) { return c && strchr(stops, c); }

int fpg_unquote(lua_State *L, fpg_buf *word, const char **at, const char *end,
                const char *stops) {
  const char *p = *at;
  int quoted = 0, any = 0;
  word->len = 0;
  for (; p < end && (quoted || !is_stop(*p, stops)); p++) {
    any = 1;
    if (*p == '\\' && p + 1 < end) {
      fpg_buf_putc(L, word, *++p);
    } else if (*p != '"') {
      fpg_buf_putc(L, word, *p);
    } else if (quoted && p + 1 < end && p[1] == '"') {
      fpg_buf_putc(L, word, *p++);
    } else {
      quoted = !quoted;
    }
  }
  *at = p;
  return any;
}
