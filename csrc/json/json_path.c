/* SPDX-License-Identifier: MIT
 *
 * json_path.c: see json_path.h.
 */
#include "json_path.h"

#include "json_lex.h"

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
