/* SPDX-License-Identifier: MIT
 *
 * printable.c: text that is shown to people: on one line, harmless to a terminal.
 */
#include <stdio.h>

#include "buffer.h"
#include "utf8.h"

/* The length of the UTF-8 character at s, of at most n bytes, with its code point; 0: it is none. */
static size_t decode_utf8(const char *s, size_t n, uint32_t *cp) {
  unsigned char c = (unsigned char)*s;
  size_t len = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
  if (c == 0) {
    *cp = 0;
    return 1;
  }
  if (len > n || !fpg_valid_utf8(s, len)) return 0;
  *cp = len == 1 ? c : c & (0x7Fu >> len);
  for (size_t i = 1; i < len; i++) *cp = *cp << 6 | ((unsigned char)s[i] & 0x3F);
  return len;
}

/* Code points that act on what is around them or are not seen: the controls, the two separators and
 * Unicode's format characters, but for those that join letters and emoji. */
static int is_unsafe(uint32_t cp) {
  static const uint32_t ranges[][2] = {
      {0x00, 0x1F},       {0x7F, 0x9F},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
      {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x180E, 0x180E},
      {0x200B, 0x200B},   {0x200E, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x206F},   {0xFEFF, 0xFEFF},
      {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3},
      {0x1D173, 0x1D17A}, {0xE0001, 0xE007F},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
    if (cp >= ranges[i][0] && cp <= ranges[i][1]) return 1;
  return 0;
}

static void put_escaped(lua_State *L, fpg_buf *out, const char *s, size_t len, uint32_t cp) {
  char text[16];
  const char *named = cp == '\t' ? "\\t" : cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : NULL;
  if (named) snprintf(text, sizeof text, "%s", named);
  else if (!len || cp < 0x80) snprintf(text, sizeof text, "\\x%02X", (unsigned)(unsigned char)*s);
  else snprintf(text, sizeof text, "\\u{%04X}", (unsigned)cp);
  fpg_buf_puts(L, out, text);
}

/* core.printable(text) -> the text on one line, safe on a terminal: what would act on it is escaped, as
 * \x1B or \u{202E}, and so are bytes that are no UTF-8 */
static int core_printable(lua_State *L) {
  size_t len;
  const char *s = luaL_checklstring(L, 1, &len), *end = s + len;
  fpg_buf *out = NULL;
  for (const char *p = s; p < end;) {
    uint32_t cp = 0;
    size_t n = decode_utf8(p, (size_t)(end - p), &cp);
    if (n && !is_unsafe(cp)) {
      if (out) fpg_buf_put(L, out, p, n);
    } else {
      if (!out) {
        out = fpg_buf_new(L);
        fpg_buf_put(L, out, s, (size_t)(p - s));
      }
      put_escaped(L, out, p, n, cp);
    }
    p += n ? n : 1;
  }
  if (out) lua_pushlstring(L, out->data, out->len);
  else lua_settop(L, 1);
  return 1;
}

void fpg_open_printable(lua_State *L) {
  lua_pushcfunction(L, core_printable);
  lua_setfield(L, -2, "printable");
}
