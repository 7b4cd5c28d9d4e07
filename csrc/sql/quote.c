/* SPDX-License-Identifier: MIT
 *
 * quote.c: names and strings as SQL writes them.
 *
 *   quote_ident(s), quote_literal(s)
 */
#include "quote.h"

#include "escape.h"
#include "raise.h"
#include "sql_argument.h"
#include "utf8.h"

static const fpg_escapes ident = {"\"", 0}, literal = {"'", 0}, escape_literal = {"'\\", 0};

static void check_utf8(lua_State *L, const char *s, size_t len, const char *what) {
  if (!fpg_valid_utf8(s, len))
    fpg_raise(L, "invalid_argument",
              memchr(s, 0, len) ? "%s with a NUL byte" : "%s that is not valid UTF-8", what);
}

void fpg_put_ident(lua_State *L, fpg_buf *b, const char *s, size_t len) {
  check_utf8(L, s, len, "an identifier");
  fpg_put_quoted(L, b, '"', s, len, &ident);
}

void fpg_put_literal(lua_State *L, fpg_buf *b, const char *s, size_t len) {
  check_utf8(L, s, len, "a string literal");
  int backslash = memchr(s, '\\', len) != NULL;
  if (backslash) fpg_buf_putc(L, b, 'E');
  fpg_put_quoted(L, b, '\'', s, len, backslash ? &escape_literal : &literal);
}

static int quote(lua_State *L, const char *who,
                 void (*put)(lua_State *, fpg_buf *, const char *, size_t)) {
  size_t len;
  const char *s = fpg_check_sql(L, 1, who, &len);
  fpg_buf *b = fpg_buf_new(L);
  put(L, b, s, len);
  lua_pushlstring(L, b->data, b->len);
  fpg_buf_free(L, b);
  return 1;
}

static int text_quote_ident(lua_State *L) { return quote(L, "quote_ident", fpg_put_ident); }

static int text_quote_literal(lua_State *L) { return quote(L, "quote_literal", fpg_put_literal); }

void fpg_open_quote(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"quote_ident", text_quote_ident}, {"quote_literal", text_quote_literal}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
