/* SPDX-License-Identifier: MIT
 *
 * sqltext.c: what the Lua side asks of SQL text.
 *
 *   convert(sql, offset, standard_strings) -> text, npos, names
 *   check_fragment(sql, standard_strings) -> nil, or why it may not be used
 *   copy_direction(sql, standard_strings) -> "in", "out" or nil, how many statements
 *   quote_ident(s), quote_literal(s)
 *
 * Conversion reads the text twice: names are numbered behind the positional parameters, so these
 * must be counted first.  A text without placeholders is handed back as the string it was.
 */
#include "sqltext.h"

#include <ctype.h>
#include <limits.h>

#include "lex.h"

/* ---- arguments ---------------------------------------------------------------------------- */

static const char *check_text(lua_State *L, int idx, const char *who, size_t *len) {
  if (lua_type(L, idx) != LUA_TSTRING)
    fpg_raise(L, "invalid_argument", "%s: string expected, got %s", who, fpg_describe(L, idx));
  return lua_tolstring(L, idx, len);
}

/* standard_conforming_strings is on unless the caller says false. */
static int opt_standard(lua_State *L, int idx) {
  return !lua_isboolean(L, idx) || lua_toboolean(L, idx);
}

/* ---- placeholders ------------------------------------------------------------------------- */

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

/* Appends $n in the place of the token.  Where a letter or digit touches a ? or :name, a space
 * keeps them apart: `and?` must not become the name and$1, nor `?1` the parameter $11, nor `$?` the
 * `$$` that opens a string. */
static void put_param(lua_State *L, fpg_buf *out, const fpg_token *t, const char *start,
                      const char *end, int64_t n) {
  const char *behind = t->p + t->len;
  int apart = t->kind != FPG_PARAM;
  if (apart && t->p > start && fpg_ident_cont((unsigned char)t->p[-1])) fpg_buf_putc(L, out, ' ');
  fpg_buf_putc(L, out, '$');
  fpg_buf_putint(L, out, n);
  if (apart && behind < end && *behind != '$' && fpg_ident_cont((unsigned char)*behind))
    fpg_buf_putc(L, out, ' ');
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

/* convert(sql, offset, standard_strings) -> text, npos, names.
 *
 * offset (default 0) is added to every number.  npos is how many positional arguments the text
 * needs: the number of ? or the greatest $n, whichever is more.  names is the list of distinct
 * :names, whose numbers follow npos, or nil.  `$0`, and numbers beyond INT_MAX, are left for the
 * server to refuse. */
static int text_convert(lua_State *L) {
  size_t len;
  const char *s = check_text(L, 1, "convert", &len);
  int64_t offset = 0;
  if (!lua_isnoneornil(L, 2) && (!fpg_to_int64(L, 2, &offset) || offset < 0 || offset > INT_MAX))
    return fpg_raise(L, "invalid_argument", "convert: offset expected, got %s", fpg_describe(L, 2));
  int standard = opt_standard(L, 3);
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
  int64_t mark = 0;
  fpg_lex lx;
  fpg_token t;
  fpg_lex_init(&lx, s, len, standard);
  while (fpg_lex_next(&lx, &t)) {
    int64_t n = 0;
    switch (t.kind) {
      case FPG_MARK: n = ++mark; break;
      case FPG_NAME: n = c.npos + name_number(L, &t, 2, 3); break;
      case FPG_PARAM:
        n = param_number(&t);
        if (offset == 0 || n == 0 || n == INT_MAX) continue;
        break;
      case FPG_ESCAPED: break;
      default: continue;
    }
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

/* ---- fragments ---------------------------------------------------------------------------- */

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
  const char *s = check_text(L, 1, "check_fragment", &len);
  fragment f = {0};
  f.standard = opt_standard(L, 2);
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

/* ---- COPY --------------------------------------------------------------------------------- */

/* What copy_direction keeps between tokens of one statement. */
typedef struct copy_scan {
  int begun;      /* a token was there that is no bracket */
  int is_copy;    /* it is the word COPY */
  int way;        /* FPG_W_FROM or FPG_W_TO, outside brackets: the next word says where the rows are */
  const char *to; /* "in", "out": they go through this connection */
} copy_scan;

/* Letters only, in lower case; without the locale. */
static int is_word(const fpg_token *t, const char *word) {
  if (t->kind != FPG_WORD || t->len != strlen(word)) return 0;
  for (size_t i = 0; i < t->len; i++)
    if ((t->p[i] | 0x20) != word[i]) return 0;
  return 1;
}

/* STDIN and STDOUT are the same to the server: FROM and TO say the direction. */
static void scan_copy(copy_scan *st, const fpg_token *t, size_t depth) {
  if (!st->begun) {
    st->begun = 1;
    st->is_copy = is_word(t, "copy");
  } else if (!st->is_copy || depth) {
    return;
  } else if (st->way) {
    if (is_word(t, "stdin") || is_word(t, "stdout")) st->to = st->way == FPG_W_FROM ? "in" : "out";
    st->is_copy = 0; /* else it is a file or a program of the server's, or an error */
  } else if (t->code == FPG_W_FROM || t->code == FPG_W_TO) {
    st->way = t->code;
  }
}

/* copy_direction(sql, standard_strings) -> "in" or "out" where the text holds a COPY FROM STDIN or COPY TO
 * STDOUT (the first one decides), else nil; how many statements the text holds */
static int text_copy_direction(lua_State *L) {
  size_t len;
  const char *s = check_text(L, 1, "copy_direction", &len), *found = NULL;
  int standard = opt_standard(L, 2), n = 0;
  copy_scan st = {0};
  fpg_lex lx;
  fpg_token t;
  fpg_lex_init(&lx, s, len, standard);
  while (fpg_lex_next(&lx, &t)) {
    if (t.kind == FPG_COMMENT) continue;
    if (t.code == ';' && lx.depth == 0) {
      memset(&st, 0, sizeof st);
      continue;
    }
    n += !st.begun;
    scan_copy(&st, &t, lx.depth);
    if (st.to && !found) found = st.to;
  }
  lua_pushstring(L, found);
  lua_pushinteger(L, n);
  return 2;
}

/* ---- quoting ------------------------------------------------------------------------------ */

/* Appends s with every `quote`, and every backslash when asked, doubled. */
static void put_doubled(lua_State *L, fpg_buf *b, const char *s, size_t len, char quote,
                        int backslash) {
  for (size_t i = 0; i < len; i++) {
    if (s[i] == quote || (backslash && s[i] == '\\')) fpg_buf_putc(L, b, s[i]);
    fpg_buf_putc(L, b, s[i]);
  }
}

static void check_utf8(lua_State *L, const char *s, size_t len, const char *what) {
  if (!fpg_valid_utf8(s, len))
    fpg_raise(L, "invalid_argument",
              memchr(s, 0, len) ? "%s with a NUL byte" : "%s that is not valid UTF-8", what);
}

void fpg_put_ident(lua_State *L, fpg_buf *b, const char *s, size_t len) {
  check_utf8(L, s, len, "an identifier");
  fpg_buf_putc(L, b, '"');
  put_doubled(L, b, s, len, '"', 0);
  fpg_buf_putc(L, b, '"');
}

void fpg_put_literal(lua_State *L, fpg_buf *b, const char *s, size_t len) {
  check_utf8(L, s, len, "a string literal");
  int backslash = memchr(s, '\\', len) != NULL;
  if (backslash) fpg_buf_putc(L, b, 'E');
  fpg_buf_putc(L, b, '\'');
  put_doubled(L, b, s, len, '\'', backslash);
  fpg_buf_putc(L, b, '\'');
}

static int quote(lua_State *L, const char *who,
                 void (*put)(lua_State *, fpg_buf *, const char *, size_t)) {
  size_t len;
  const char *s = check_text(L, 1, who, &len);
  fpg_buf *b = fpg_buf_new(L);
  put(L, b, s, len);
  lua_pushlstring(L, b->data, b->len);
  fpg_buf_free(L, b);
  return 1;
}

static int text_quote_ident(lua_State *L) { return quote(L, "quote_ident", fpg_put_ident); }
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

static int text_quote_literal(lua_State *L) { return quote(L, "quote_literal", fpg_put_literal); }

static const luaL_Reg functions[] = {
    {"convert", text_convert},
    {"check_fragment", text_check_fragment},
    {"copy_direction", text_copy_direction},
    {"quote_ident", text_quote_ident},
    {"quote_literal", text_quote_literal},
    {"names_moment", text_names_moment},
    {NULL, NULL},
};

void fpg_open_sqltext(lua_State *L) { luaL_setfuncs(L, functions, 0); }
