/* SPDX-License-Identifier: MIT
 *
 * placeholders.c: `?`, `:name` and `$n` to the server's `$n`.
 *
 *   convert(sql, offset, standard_strings) -> text, npos, names
 *   pieces(sql, standard_strings) -> { text, number, text, … }, npos, names
 *
 * Conversion reads the text twice: names are numbered behind the positional parameters, so these
 * must be counted first.  A text without placeholders is handed back as the string it was.
 */
#include <limits.h>

#include "buffer.h"
#include "lex.h"
#include "number.h"
#include "raise.h"
#include "sql_argument.h"

typedef struct counts {
  int64_t npos;
  int params, others; /* whether there are $n; and ? ?? :name */
} counts;

/* The n of $n; beyond what any server takes it is INT_MAX. */
static int64_t param_number(const fpg_token *t) {
  int64_t n = 0;
  for (size_t i = 1; i < t->len; i++) {
    n = n * 10 + (t->p[i] - '0');
    if (n > INT_MAX) return INT_MAX;
  }
  return n;
}

static counts count_placeholders(const char *s, size_t len, int standard) {
  counts c = {0, 0, 0};
  int64_t marks = 0;
  fpg_lex lx;
  fpg_token t;
  if (!memchr(s, '?', len) && !memchr(s, ':', len) && !memchr(s, '$', len)) return c;
  fpg_lex_init(&lx, s, len, standard);
  while (fpg_lex_next(&lx, &t)) {
    if (t.kind == FPG_PARAM) {
      int64_t n = param_number(&t);
      c.params = 1;
      if (n > c.npos) c.npos = n;
    } else if (t.kind == FPG_MARK) {
      marks++;
    }
    if (t.kind == FPG_MARK || t.kind == FPG_NAME || t.kind == FPG_ESCAPED) c.others = 1;
  }
  if (marks > c.npos) c.npos = marks;
  return c;
}

/* Where a letter or digit touches a ? or :name, a space keeps them apart: `and?` must not become the
 * name and$1, nor `?1` the parameter $11, nor `$?` the `$$` that opens a string. */
static int touches_before(const fpg_token *t, const char *start) {
  return t->kind != FPG_PARAM && t->p > start && fpg_ident_cont((unsigned char)t->p[-1]);
}

static int touches_behind(const fpg_token *t, const char *end) {
  const char *behind = t->p + t->len;
  return t->kind != FPG_PARAM && behind < end && *behind != '$' &&
         fpg_ident_cont((unsigned char)*behind);
}

/* Appends $n in the place of the token. */
static void put_param(lua_State *L, fpg_buf *out, const fpg_token *t, const char *start,
                      const char *end, int64_t n) {
  if (touches_before(t, start)) fpg_buf_putc(L, out, ' ');
  fpg_buf_putc(L, out, '$');
  fpg_buf_putint(L, out, n);
  if (touches_behind(t, end)) fpg_buf_putc(L, out, ' ');
}

/* The number of a :name among the names, given at its first appearance.  seen: name -> number,
 * names: the list. */
static int64_t name_number(lua_State *L, const fpg_token *t, int seen, int names) {
  lua_pushlstring(L, t->p + 1, t->len - 1);
  lua_pushvalue(L, -1);
  lua_rawget(L, seen);
  int64_t k = (int64_t)lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (k == 0) {
    k = (int64_t)lua_rawlen(L, names) + 1;
    lua_pushvalue(L, -1);
    lua_pushinteger(L, (lua_Integer)k);
    lua_rawset(L, seen);
    lua_pushvalue(L, -1);
    lua_rawseti(L, names, (int)k);
  }
  lua_pop(L, 1);
  return k;
}

/* The next placeholder or `??` of the text, 0 at its end; *n is its number, 0 of a `??`.  `mark` counts the ?; `seen` and
 * `names` as name_number has them.  `$0`, and numbers beyond INT_MAX, are left for the server to refuse. */
static int next_placeholder(lua_State *L, fpg_lex *lx, fpg_token *t, const counts *c, int64_t *mark,
                            int seen, int names, int64_t *n) {
  while (fpg_lex_next(lx, t)) {
    switch (t->kind) {
      case FPG_MARK: *n = ++*mark; return 1;
      case FPG_NAME: *n = c->npos + name_number(L, t, seen, names); return 1;
      case FPG_ESCAPED: *n = 0; return 1;
      case FPG_PARAM:
        *n = param_number(t);
        if (*n != 0 && *n != INT_MAX) return 1;
        break;
      default: break;
    }
  }
  return 0;
}

/* convert(sql, offset, standard_strings) -> text, npos, names.
 *
 * offset (default 0) is added to every number.  npos is how many positional arguments the text
 * needs: the number of ? or the greatest $n, whichever is more.  names is the list of distinct
 * :names, whose numbers follow npos, or nil. */
static int text_convert(lua_State *L) {
  size_t len;
  const char *s = fpg_check_sql(L, 1, "convert", &len);
  int64_t offset = 0;
  if (!lua_isnoneornil(L, 2) && (!fpg_to_int64(L, 2, &offset) || offset < 0 || offset > INT_MAX))
    return fpg_raise(L, "invalid_argument", "convert: offset expected, got %s", fpg_describe(L, 2));
  int standard = fpg_opt_standard(L, 3);
  lua_settop(L, 1);
  counts c = count_placeholders(s, len, standard);
  if (!c.others && !(c.params && offset)) {
    fpg_push_int64(L, c.npos);
    return 2;
  }
  lua_newtable(L); /* 2: seen */
  lua_newtable(L); /* 3: names */
  fpg_buf *out = fpg_buf_new(L);
  const char *done = s, *end = s + len;
  int64_t mark = 0, n = 0;
  fpg_lex lx;
  fpg_token t;
  fpg_lex_init(&lx, s, len, standard);
  while (next_placeholder(L, &lx, &t, &c, &mark, 2, 3, &n)) {
    if (t.kind == FPG_PARAM && offset == 0) continue;
    fpg_buf_put(L, out, done, (size_t)(t.p - done));
    if (t.kind == FPG_ESCAPED)
      fpg_buf_putc(L, out, '?');
    else
      put_param(L, out, &t, s, end, n + offset);
    done = t.p + t.len;
  }
  fpg_buf_put(L, out, done, (size_t)(end - done));
  lua_pushlstring(L, out->data ? out->data : "", out->len);
  fpg_buf_free(L, out);
  fpg_push_int64(L, c.npos);
  if (lua_rawlen(L, 3) == 0) return 2;
  lua_pushvalue(L, 3);
  return 3;
}

/* pieces(sql, standard_strings) -> the text cut at its placeholders: a list of texts and of numbers, as
 * convert gives them, of what stands in between; npos and names as convert has them.  `??` is in the
 * texts as `?`. */
static int text_pieces(lua_State *L) {
  size_t len;
  const char *s = fpg_check_sql(L, 1, "pieces", &len);
  int standard = fpg_opt_standard(L, 2);
  lua_settop(L, 1);
  counts c = count_placeholders(s, len, standard);
  lua_newtable(L); /* 2: seen */
  lua_newtable(L); /* 3: names */
  lua_newtable(L); /* 4: the pieces */
  fpg_buf *out = fpg_buf_new(L);
  const char *done = s, *end = s + len;
  int64_t mark = 0, n = 0;
  int count = 0;
  fpg_lex lx;
  fpg_token t;
  fpg_lex_init(&lx, s, len, standard);
  while (next_placeholder(L, &lx, &t, &c, &mark, 2, 3, &n)) {
    fpg_buf_put(L, out, done, (size_t)(t.p - done));
    done = t.p + t.len;
    if (t.kind == FPG_ESCAPED) {
      fpg_buf_putc(L, out, '?');
      continue;
    }
    if (touches_before(&t, s)) fpg_buf_putc(L, out, ' ');
    lua_pushlstring(L, out->len ? out->data : "", out->len);
    lua_rawseti(L, 4, ++count);
    out->len = 0;
    fpg_push_int64(L, n);
    lua_rawseti(L, 4, ++count);
    if (touches_behind(&t, end)) fpg_buf_putc(L, out, ' ');
  }
  fpg_buf_put(L, out, done, (size_t)(end - done));
  lua_pushlstring(L, out->len ? out->data : "", out->len);
  lua_rawseti(L, 4, ++count);
  fpg_buf_free(L, out);
  lua_pushvalue(L, 4);
  fpg_push_int64(L, c.npos);
  if (lua_rawlen(L, 3) == 0) return 2;
  lua_pushvalue(L, 3);
  return 3;
}

void fpg_open_placeholders(lua_State *L) {
  lua_pushcfunction(L, text_convert);
  lua_setfield(L, -2, "convert");
  lua_pushcfunction(L, text_pieces);
  lua_setfield(L, -2, "pieces");
}
