/* SPDX-License-Identifier: MIT
 *
 * set_config.c: what a text may set otherwise than by the command SET, as far as names are concerned.
 *
 * PostgreSQL manual: "System Administration Functions" (set_config).
 */
#include <string.h>

#include "compat.h"
#include "lex.h"
#include "sql_argument.h"

static int has_word(const char *p, size_t len, const char *lower) {
  size_t n = strlen(lower);
  for (size_t at = 0; at + n <= len; at++) {
    size_t i = 0;
    while (i < n && (p[at + i] >= 'A' && p[at + i] <= 'Z' ? p[at + i] + 32 : p[at + i]) == lower[i]) i++;
    if (i == n) return 1;
  }
  return 0;
}

/* Whether an identifier, with or without quotes, is this one; one in escapes may be any. */
static int is_named(const fpg_token *t, const char *lower) {
  if (t->kind == FPG_QUOTED && *t->p != '"') return 1;
  size_t quotes = t->kind == FPG_QUOTED ? 2 : 0;
  if (t->kind != FPG_QUOTED && t->kind != FPG_WORD) return 0;
  return t->len == strlen(lower) + quotes && has_word(t->p, t->len, lower);
}

/* What may be set: nothing by which names change their meaning, the search_path, that or the role. */
enum { SETS_NOTHING, SETS_PATH, SETS_ANY };

/* What set_config sets whose first argument is this token. */
static int what_is_set(const fpg_token *t) {
  if (t->kind != FPG_STRING || t->len < 3 || *t->p != '\'') return SETS_ANY;
  const char *name = t->p + 1;
  size_t len = t->len - 2;
  for (size_t i = 0; i < len; i++)
    if (!(name[i] == '_' || name[i] == '.' || (name[i] >= '0' && name[i] <= '9') ||
          ((name[i] | 0x20) >= 'a' && (name[i] | 0x20) <= 'z')))
      return SETS_ANY;
  if (len == strlen("search_path") && has_word(name, len, "search_path")) return SETS_PATH;
  int role = (len == strlen("role") && has_word(name, len, "role")) ||
             (len == strlen("session_authorization") && has_word(name, len, "session_authorization"));
  return role ? SETS_ANY : SETS_NOTHING;
}

/* Of a string anywhere, which may be run as SQL. */
static int what_string_sets(const fpg_token *t) {
  if (has_word(t->p, t->len, "set_config")) return SETS_ANY;
  return has_word(t->p, t->len, "search_path") ? SETS_PATH : SETS_NOTHING;
}

/* A call of set_config while its tokens pass by. */
typedef struct call {
  enum { ELSEWHERE, CALLED, OPENED, NAMED, SECOND, THIRD, LOCAL, ASKED, ASKED_OPENED } at;
  size_t depth; /* of its arguments */
  int sets, lasts; /* what all calls set, and whether one may do so for longer than the transaction */
} call;

static void take_set(call *c, int sets, int lasts) {
  if (sets > c->sets) c->sets = sets;
  if (sets && lasts) c->lasts = 1;
}

/* Behind the name of the setting: is the third argument the word true? */
static void watch_arguments(call *c, const fpg_lex *lx, const fpg_token *t) {
  if (c->at == NAMED) {
    if (t->code != ',') take_set(c, SETS_ANY, 1); /* an expression */
    c->at = t->code == ',' ? SECOND : ELSEWHERE;
  } else if (c->at == SECOND) {
    if (t->code == ',' && lx->depth == c->depth) c->at = THIRD;
  } else if (c->at == THIRD) {
    c->at = is_named(t, "true") && t->kind == FPG_WORD ? LOCAL : ELSEWHERE;
    if (c->at == ELSEWHERE) take_set(c, c->sets, 1);
  } else {
    if (t->code != ')') take_set(c, c->sets, 1);
    c->at = ELSEWHERE;
  }
}

static void watch_calls(call *c, const fpg_lex *lx, const fpg_token *t) {
  if (is_named(t, "set_config")) {
    if (c->at != ELSEWHERE) take_set(c, SETS_ANY, 1); /* within an argument of another one */
    c->at = CALLED;
  } else if (c->at == CALLED && t->code == '(') {
    c->at = OPENED;
    c->depth = lx->depth;
  } else if (c->at == OPENED) {
    take_set(c, what_is_set(t), 0);
    c->at = NAMED;
  } else if (c->at >= NAMED && c->at <= LOCAL) {
    watch_arguments(c, lx, t);
  } else if (c->at == ASKED && t->code == '(') {
    c->at = ASKED_OPENED;
  } else if (is_named(t, "current_setting")) {
    c->at = ASKED;
  } else {
    if (t->kind == FPG_STRING && c->at != ASKED_OPENED) take_set(c, what_string_sets(t), 1);
    c->at = ELSEWHERE;
  }
}

/* sets_by_call(sql, standard_strings) -> "path" or "any" where running it may set the search_path, or that or the role,
 * otherwise than by the command SET: by set_config, by SQL in a string (DO), or because a comment says so, where it calls
 * what does; and whether that ends with the transaction for certain.  nil where it sets neither, as
 * set_config('app.tenant', ...). */
static int text_sets_by_call(lua_State *L) {
  size_t len;
  const char *sql = fpg_check_sql(L, 1, "sets_by_call", &len);
  fpg_lex lx;
  fpg_token t;
  call c = {ELSEWHERE, 0, SETS_NOTHING, 0};
  fpg_lex_init(&lx, sql, len, fpg_opt_standard(L, 2));
  while (fpg_lex_next(&lx, &t)) {
    if (t.kind != FPG_COMMENT)
      watch_calls(&c, &lx, &t);
    else if (has_word(t.p, t.len, "search_path"))
      take_set(&c, SETS_PATH, 1);
  }
  if (c.sets == SETS_NOTHING) return 0;
  lua_pushstring(L, c.sets == SETS_ANY ? "any" : "path");
  lua_pushboolean(L, !c.lasts && c.at == ELSEWHERE);
  return 2;
}

void fpg_open_set_config(lua_State *L) {
  lua_pushcfunction(L, text_sets_by_call);
  lua_setfield(L, -2, "sets_by_call");
}
