/* SPDX-License-Identifier: MIT
 *
 * fragment.c: SQL that stands inside the SQL of a table: what fastpg.sql makes, and the check of what a
 * filtered table lets through.
 *
 *   sql(text, values) -> a fragment where a value would be data     is_sql(value) -> whether it is one
 *   sql_values(fragment) -> the table of the values that it carries, or nil
 *   operator(text) -> whether it is one operator
 *   check_fragment(sql, standard_strings) -> nil, or why it may not be used
 */
#include "fragment.h"

#include <ctype.h>

#include "lex.h"
#include "raise.h"
#include "sql_argument.h"
#include "utf8.h"

enum { FPG_OPERATOR_MOST = 64 }; /* with its NUL: the server's NAMEDATALEN */

/* ---- fastpg.sql --------------------------------------------------------------------------- */

/* core.sql(text, values): SQL where a value would be data; values: a table that belongs to it, or nil */
static int core_sql(lua_State *L) {
  size_t len;
  const char *s = luaL_checklstring(L, 1, &len);
  lua_settop(L, 2);
  fpg_sql *f = fpg_newuserdata(L, sizeof *f + len);
  f->len = len;
  f->carries = 0;
  memcpy(f->text, s, len + 1);
  luaL_setmetatable(L, FPG_SQL_MT);
  if (lua_type(L, 2) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    fpg_setuservalue(L, -2);
    f->carries = 1;
  }
  return 1;
}

/* core.sql_values(fragment) -> what core.sql was given, or nil */
static int core_sql_values(lua_State *L) {
  fpg_sql *f = luaL_checkudata(L, 1, FPG_SQL_MT);
  if (!f->carries) return 0;
  fpg_getuservalue(L, 1);
  return 1;
}

static int sql_tostring(lua_State *L) {
  fpg_sql *f = luaL_checkudata(L, 1, FPG_SQL_MT);
  lua_pushlstring(L, f->text, f->len);
  return 1;
}

/* core.is_sql(value) -> whether it is such a fragment */
static int core_is_sql(lua_State *L) {
  lua_pushboolean(L, luaL_testudata(L, 1, FPG_SQL_MT) != NULL);
  return 1;
}

static int sql_concat(lua_State *L) {
  return fpg_raise(L, "invalid_argument",
                   "fastpg.sql: .. would lose the values of a fragment: put it into another one in the "
                   "place of a value, fastpg.sql(\"a and ?\", fragment)");
}

/* core.operator(text) -> whether the text is one operator of SQL, as it would be read behind an operand */
static int core_operator(lua_State *L) {
  size_t len;
  const char *s = fpg_check_sql(L, 1, "operator", &len);
  char text[FPG_OPERATOR_MOST + 4] = "a ";
  int is_one = 0;
  if (len > 0 && len < FPG_OPERATOR_MOST) {
    memcpy(text + 2, s, len);
    fpg_lex lx;
    fpg_token t;
    fpg_lex_init(&lx, text, len + 2, 1);
    fpg_lex_next(&lx, &t);
    is_one = fpg_lex_next(&lx, &t) && t.kind == FPG_OPERATOR && t.p == text + 2 && t.len == len;
  }
  lua_pushboolean(L, is_one);
  return 1;
}

/* ---- the check ---------------------------------------------------------------------------- */

/* What check_fragment keeps between tokens. */
typedef struct fragment {
  int standard;
  int p1, p2, p3; /* codes of the tokens before this one */
  int want;       /* what must come next: ZONE, a bracket, or WITH for what may follow a WITH */
  int refused;    /* the word to name when it does not */
} fragment;

static int push_word_fault(lua_State *L, const char *fmt, int code) {
  char upper[20];
  size_t n = 0;
  for (const char *w = fpg_word_text(code); *w && n + 1 < sizeof upper; w++)
    upper[n++] = (char)toupper((unsigned char)*w);
  upper[n] = 0;
  lua_pushfstring(L, fmt, upper);
  return 1;
}

static int push_fault(lua_State *L, const char *why) {
  lua_pushstring(L, why);
  return 1;
}

/* Faults that need no look at other tokens.  Each is refused because a query could be hidden in
 * it, or because servers of other versions or settings would read it differently. */
static const char *token_fault(const fragment *f, const fpg_lex *lx, const fpg_token *t) {
  if (t->kind == FPG_COMMENT || (t->flags & FPG_COMMENTED)) return "a comment";
  if (t->flags & FPG_UNTERMINATED)
    return t->kind == FPG_QUOTED ? "an unterminated identifier" : "an unterminated string";
  if (t->kind == FPG_PUNCT && t->code == ';') return "a semicolon";
  if (t->kind == FPG_OTHER) return "a character that is not SQL";
  if (t->flags & FPG_JUNK) return "a letter right after a number";
  if ((t->flags & FPG_UNICODE) && !f->standard)
    return "a U&'' string while standard_conforming_strings is off";
  if (lx->unbalanced) return "unbalanced parentheses";
  if (lx->depth > FPG_LEX_DEPTH) return "brackets nested too deeply";
  return NULL;
}

/* After WITH, in an expression: WITH TIME ZONE, and in the JSON functions WITH UNIQUE and
 * WITH [[UN]CONDITIONAL] [ARRAY] WRAPPER.  Any other begins a query or belongs to FROM. */
static int with_may_precede(int code) {
  return code == FPG_W_TIME || code == FPG_W_UNIQUE || code == FPG_W_CONDITIONAL ||
         code == FPG_W_UNCONDITIONAL || code == FPG_W_ARRAY || code == FPG_W_WRAPPER;
}

/* Whether the token may follow the WITH or the WITHIN GROUP before it. */
static int follows(fragment *f, int code) {
  int want = f->want;
  f->want = 0;
  if (want == FPG_W_WITH) {
    if (code == FPG_W_TIME) f->want = FPG_W_ZONE;
    return with_may_precede(code);
  }
  return want == 0 || want == code;
}

static int push_missing_fault(lua_State *L, const fragment *f) {
  return push_word_fault(
      L, f->refused == FPG_W_WITH ? "a sub-select (%s)" : "%s outside brackets", f->refused);
}

static int is_distinct_from(const fragment *f) {
  return f->p1 == FPG_W_DISTINCT &&
         (f->p2 == FPG_W_IS || (f->p2 == FPG_W_NOT && f->p3 == FPG_W_IS));
}

/* Pushes the fault of a word, or returns 0. */
static int word_fault(lua_State *L, fragment *f, int code, size_t depth) {
  switch (code) {
    case FPG_W_SELECT:
    case FPG_W_TABLE:
    case FPG_W_VALUES: return push_word_fault(L, "a sub-select (%s)", code);
    case FPG_W_WITH:
      f->want = f->refused = FPG_W_WITH;
      return 0;
    case FPG_W_FROM:
      if (is_distinct_from(f)) return 0;
      break;
    case FPG_W_GROUP:
      if (f->p1 == FPG_W_WITHIN && depth == 0) {
        f->want = '(';
        f->refused = FPG_W_GROUP;
        return 0;
      }
      break;
    default: break;
  }
  if (depth == 0 && (fpg_word_flags(code) & FPG_CLAUSE))
    return push_word_fault(L, "%s outside brackets", code);
  return 0;
}

/* check_fragment(sql, standard_strings) -> nil when it may stand in the SQL of a filtered table,
 * else what is wrong: "a comment", "LIMIT outside brackets". */
static int text_check_fragment(lua_State *L) {
  size_t len;
  const char *s = fpg_check_sql(L, 1, "check_fragment", &len);
  fragment f = {0};
  f.standard = fpg_opt_standard(L, 2);
  if (memchr(s, 0, len)) return push_fault(L, "a NUL byte");
  if (!fpg_valid_utf8(s, len)) return push_fault(L, "invalid UTF-8");
  if (memchr(s, '\v', len)) return push_fault(L, "a vertical tab"); /* space since version 16 */
  fpg_lex lx;
  fpg_token t;
  fpg_lex_init(&lx, s, len, f.standard);
  while (fpg_lex_next(&lx, &t)) {
    const char *why = token_fault(&f, &lx, &t);
    if (why) return push_fault(L, why);
    if (!follows(&f, t.code)) return push_missing_fault(L, &f);
    if (t.kind == FPG_WORD && word_fault(L, &f, t.code, lx.depth)) return 1;
    f.p3 = f.p2;
    f.p2 = f.p1;
    f.p1 = t.code;
  }
  if (f.want) return push_missing_fault(L, &f);
  if (lx.depth) return push_fault(L, "unbalanced parentheses");
  lua_pushnil(L);
  return 1;
}

static const luaL_Reg functions[] = {
    {"sql", core_sql},
    {"is_sql", core_is_sql},
    {"sql_values", core_sql_values},
    {"operator", core_operator},
    {"check_fragment", text_check_fragment},
    {NULL, NULL},
};

void fpg_open_fragment(lua_State *L) {
  luaL_newmetatable(L, FPG_SQL_MT);
  lua_pushliteral(L, FPG_SQL_MT);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, sql_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, sql_concat);
  lua_setfield(L, -2, "__concat");
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
