/* SPDX-License-Identifier: MIT
 *
 * moment.c: strings such as 'now', which mean the time at which they are read.
 *
 * PostgreSQL manual: "Special Values" of Date/Time Types.
 */
#include "compat.h"
#include "lex.h"
#include "sql_argument.h"

/* Whether the string has one of the words that a date's text turns into the time at which it is read. */
static int names_a_moment(const char *p, size_t len) {
  static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
  for (size_t i = 0; i < len;) {
    size_t n = 0;
    while (i + n < len && ((p[i + n] | 0x20) >= 'a' && (p[i + n] | 0x20) <= 'z')) n++;
    for (size_t k = 0; n && k < sizeof words / sizeof words[0]; k++) {
      size_t j = 0;
      while (j < n && words[k][j] && (p[i + j] | 0x20) == words[k][j]) j++;
      if (j == n && !words[k][j]) return 1;
    }
    i += n ? n : 1;
  }
  return 0;
}

/* names_moment(sql, standard_strings) -> whether a string in it may be a date such as 'now', which a prepared
 * statement would keep as it was when it was prepared.  (In a text no longer than a date's can be.) */
static int text_names_moment(lua_State *L) {
  enum { LONGEST = 256 };
  size_t len;
  const char *sql = luaL_checklstring(L, 1, &len);
  fpg_lex lx;
  fpg_token t;
  int found = 0;
  fpg_lex_init(&lx, sql, len, lua_toboolean(L, 2));
  while (!found && fpg_lex_next(&lx, &t))
    found = t.kind == FPG_STRING && t.len <= LONGEST && names_a_moment(t.p, t.len);
  lua_pushboolean(L, found);
  return 1;
}

void fpg_open_moment(lua_State *L) {
  lua_pushcfunction(L, text_names_moment);
  lua_setfield(L, -2, "names_moment");
}
