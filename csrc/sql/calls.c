/* SPDX-License-Identifier: MIT
 *
 * calls.c: which functions a text calls, as far as tokens tell.
 *
 *   calls(sql, standard_strings) -> list of the words, or quoted names, that stand right before a bracket: unquoted ones in
 *   lower case, of a.b the b.  Comments and strings are passed over.  (`in (1)` and `values (1)` give words, too.)
 */
#include "lex.h"
#include "raise.h"
#include "sql_argument.h"

static void push_lower(lua_State *L, const char *p, size_t len) {
  char small[64]; /* the length of a name; a longer one is none that anybody asks for */
  if (len > sizeof small) len = sizeof small;
  for (size_t i = 0; i < len; i++) small[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
  lua_pushlstring(L, small, len);
}

static void push_name(lua_State *L, const fpg_token *t) {
  if (t->kind == FPG_QUOTED && *t->p == '"' && t->len >= 2)
    lua_pushlstring(L, t->p + 1, t->len - 2);
  else
    push_lower(L, t->p, t->len);
}

static int text_calls(lua_State *L) {
  size_t len;
  const char *sql = fpg_check_sql(L, 1, "calls", &len);
  fpg_lex lx;
  fpg_token t, before = {FPG_END, NULL, 0, 0, 0};
  int n = 0;
  fpg_lex_init(&lx, sql, len, fpg_opt_standard(L, 2));
  lua_newtable(L);
  while (fpg_lex_next(&lx, &t)) {
    if (t.kind == FPG_COMMENT) continue;
    if (t.code == '(' && (before.kind == FPG_WORD || before.kind == FPG_QUOTED)) {
      push_name(L, &before);
      lua_rawseti(L, -2, ++n);
    }
    before = t;
  }
  return 1;
}

void fpg_open_calls(lua_State *L) {
  lua_pushcfunction(L, text_calls);
  lua_setfield(L, -2, "calls");
}
