/* SPDX-License-Identifier: MIT
 *
 * statements.c: the statements of a text, as far as tokens tell.
 *
 *   statements(sql, standard_strings) -> list of { verb, words, verbs, inner, first, last }
 *
 *   verb   the word that says what the statement does, in upper case: "UPDATE", of
 *          `with x as (...) update t ...` and of `(select 1)` too; nil where it begins with no word
 *   words  its words outside brackets, up to MAX_WORDS: in upper case, quoted ones as they are
 *          between their quotes; a.b is one word "A.B".  COPY t (a) FROM STDIN gives COPY T FROM STDIN
 *   verbs  each verb that running it carries out, once: the CTEs' that write, then its own; of
 *          EXPLAIN ANALYZE and COPY ( ) also what they run, and SELECT INTO does a CREATE
 *   inner  the verb of the statement within EXPLAIN, PREPARE, DECLARE, COPY ( ), CREATE ... AS
 *   first, last  where it stands in the text, without its semicolon
 *
 *   next_statement(sql, from, standard_strings) -> position behind the end of one, what ended it
 *   copy_direction(sql, standard_strings) -> "in", "out" or nil, how many statements
 *
 * A ; ends a statement but in brackets (CREATE RULE) and in the body of a function, between
 * BEGIN ATOMIC and an END right behind a semicolon.  Texts that are no SQL give something; the
 * server refuses such a text whole, before it runs any of it.
 */
#include "buffer.h"
#include "lex.h"
#include "number.h"
#include "raise.h"
#include "sql_argument.h"

#define MAX_WORDS 12

/* What the next token can tell. */
typedef enum seeking {
  A_VERB,  /* the next word, opening brackets apart, is the verb */
  A_MAIN,  /* behind WITH: the verb stands at the depth of the WITH, behind the CTEs */
  OPTIONS, /* behind EXPLAIN: ANALYZE, VERBOSE, a list, or the statement */
  A_LIST,  /* behind EXPLAIN (: is it a list of options? */
  IN_LIST, /* it is */
  AN_OPENER, /* behind PREPARE, DECLARE, CREATE, COPY: the word or bracket before the inner statement */
  AN_INNER, /* behind that */
  NOTHING
} seeking;

/* CREATE [OR REPLACE] FUNCTION or PROCEDURE: nothing else has a body with semicolons. */
typedef enum creating { OTHER_THAN_ROUTINE, CREATES, A_ROUTINE } creating;

typedef struct parser {
  fpg_lex lx;
  seeking seek;
  int last, before; /* the codes of the last two tokens; comments are not seen */
  int begun;        /* the statement has a token */
  creating creates; /* what it begins with */
  int atomic;       /* bodies of functions that are open */
  size_t base;      /* brackets around the verb, or the WITH before it */
  int opener;       /* AS, FOR, or COPY's ( */
  int inner;        /* what is found is within another statement */
  int runs;         /* it is carried out, not only prepared or described */
  int selects;      /* it is a SELECT, which an INTO makes a CREATE TABLE */
  int nwords;
  size_t floor; /* brackets around the first word */
  int joins;    /* the token before is a word of `words` (1), or a . behind it (2) */
} parser;

/* Where things are on the stack. */
enum { AT_SQL = 1, AT_LIST, AT_STATEMENT, AT_WORDS, AT_VERBS };

static int is_word(const fpg_token *t, const char *lower) {
  size_t n = strlen(lower);
  if (t->len != n) return 0;
  for (size_t i = 0; i < n; i++)
    if ((t->p[i] >= 'A' && t->p[i] <= 'Z' ? t->p[i] + 32 : t->p[i]) != lower[i]) return 0;
  return 1;
}

static void push_upper(lua_State *L, const char *p, size_t len) {
  char small[64];
  if (len <= sizeof small) { /* nearly all: no buffer */
    for (size_t i = 0; i < len; i++)
      small[i] = (char)(p[i] >= 'a' && p[i] <= 'z' ? p[i] - 'a' + 'A' : p[i]);
    lua_pushlstring(L, small, len);
    return;
  }
  fpg_buf *b = fpg_buf_new(L);
  char *at = fpg_buf_grow(L, b, len);
  for (size_t i = 0; i < len; i++)
    at[i] = (char)(p[i] >= 'a' && p[i] <= 'z' ? p[i] - 'a' + 'A' : p[i]);
  lua_pushlstring(L, b->data, len);
  fpg_buf_free(L, b);
  lua_remove(L, -2);
}

/* The text between the quotes, with doubled quotes made one; U&"..." stays as it is written. */
static void push_quoted(lua_State *L, const fpg_token *t) {
  if (*t->p != '"' || t->len < 2 || (t->flags & FPG_UNTERMINATED)) {
    lua_pushlstring(L, t->p, t->len);
    return;
  }
  const char *end = t->p + t->len - 1;
  fpg_buf *b = fpg_buf_new(L);
  for (const char *p = t->p + 1; p < end; p++) {
    fpg_buf_putc(L, b, *p);
    if (*p == '"') p++;
  }
  lua_pushlstring(L, b->data ? b->data : "", b->len);
  fpg_buf_free(L, b);
  lua_remove(L, -2);
}

/* ---- words -------------------------------------------------------------------------------- */

static void add_word(lua_State *L, parser *p, const fpg_token *t) {
  int joined = p->joins == 2;
  if ((t->kind != FPG_WORD && t->kind != FPG_QUOTED) || p->lx.depth > p->floor) {
    p->joins = p->joins == 1 && t->code == '.' ? 2 : 0;
    return;
  }
  p->joins = 0;
  if (p->nwords >= MAX_WORDS && !joined) return;
  p->joins = 1;
  if (joined) {
    lua_rawgeti(L, AT_WORDS, p->nwords);
    lua_pushliteral(L, ".");
  }
  if (t->kind == FPG_WORD)
    push_upper(L, t->p, t->len);
  else
    push_quoted(L, t);
  if (joined)
    lua_concat(L, 3);
  else
    p->nwords++;
  lua_rawseti(L, AT_WORDS, p->nwords);
}

/* ---- verbs -------------------------------------------------------------------------------- */

/* The verb on top of the stack joins those that are carried out, and is popped. */
static void add_verb(lua_State *L) {
  int n = (int)lua_rawlen(L, AT_VERBS);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, AT_VERBS, i);
    int same = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    if (same) {
      lua_pop(L, 1);
      return;
    }
  }
  lua_rawseti(L, AT_VERBS, n + 1);
}

static int is_write(int code) {
  return code == FPG_W_INSERT || code == FPG_W_UPDATE || code == FPG_W_DELETE ||
         code == FPG_W_MERGE;
}

static int is_query(int code) {
  return code == FPG_W_SELECT || code == FPG_W_VALUES || code == FPG_W_TABLE;
}

static void push_verb(lua_State *L, const parser *p, const fpg_token *t) {
  push_upper(L, t->p, t->len);
  if (!p->runs) return;
  lua_pushvalue(L, -1);
  add_verb(L);
}

/* Before the verb of the next statement of the text, or of the one within this one. */
static void seek_verb(parser *p, int inner, int runs) {
  p->seek = A_VERB;
  p->inner = inner;
  p->runs = runs;
}

static void seek_opener(parser *p, int opener, int runs) {
  seek_verb(p, 1, runs);
  p->seek = AN_OPENER;
  p->opener = opener;
}

/* A word where a verb is due. */
static void take_verb(lua_State *L, parser *p, const fpg_token *t) {
  int runs = p->runs;
  p->base = p->lx.depth;
  if (t->code == FPG_W_WITH) {
    p->seek = A_MAIN;
    return;
  }
  push_verb(L, p, t);
  p->selects = t->code == FPG_W_SELECT && runs;
  lua_setfield(L, AT_STATEMENT, p->inner ? "inner" : "verb");
  p->seek = NOTHING;
  switch (t->code) {
    case FPG_W_EXPLAIN:
      seek_verb(p, 1, 0);
      p->seek = OPTIONS;
      break;
    case FPG_W_PREPARE: seek_opener(p, FPG_W_AS, 0); break;
    case FPG_W_DECLARE: seek_opener(p, FPG_W_FOR, 0); break;
    case FPG_W_CREATE: seek_opener(p, FPG_W_AS, runs); break;
    case FPG_W_COPY: seek_opener(p, '(', runs); break;
    default: break;
  }
}

/* Behind WITH, RECURSIVE, a comma, or the BY of SEARCH, a word is a name. */
static int names_follow(int code) {
  return code == FPG_W_WITH || code == FPG_W_RECURSIVE || code == FPG_W_BY || code == ',';
}

/* A CTE's own statement stands in the bracket behind AS [[NOT] MATERIALIZED]. */
static int opens_cte(const parser *p) {
  return p->lx.depth == p->base + 1 && p->last == '(' &&
         (p->before == FPG_W_AS || p->before == FPG_W_MATERIALIZED);
}

static void seek_main(lua_State *L, parser *p, const fpg_token *t) {
  if (is_write(t->code) && opens_cte(p)) {
    push_verb(L, p, t);
    lua_pop(L, 1);
  } else if (t->code == '(' && p->last == ')' && p->lx.depth == p->base + 1) {
    p->seek = A_VERB; /* WITH a AS (...) (SELECT ...) */
  } else if (p->lx.depth == p->base && !names_follow(p->last) &&
             (is_write(t->code) || is_query(t->code))) {
    take_verb(L, p, t);
  }
}

static int is_analyze(int code) { return code == FPG_W_ANALYZE || code == FPG_W_ANALYSE; }

/* Whether the value of an option is one of those that say no. */
static int says_no(const fpg_token *t) {
  static const char *const no[] = {"off", "false", "0", "'off'", "'false'"};
  for (size_t i = 0; i < sizeof no / sizeof *no; i++)
    if (is_word(t, no[i])) return 1;
  return 0;
}

static void seek_in_list(parser *p, const fpg_token *t) {
  if (p->lx.depth == p->base) /* the closing bracket */
    p->seek = A_VERB;
  else if ((is_analyze(t->code) || t->kind == FPG_QUOTED) && (p->last == '(' || p->last == ','))
    p->runs = 1; /* (a quoted name may be analyze, too) */
  else if (is_analyze(p->last) && says_no(t))
    p->runs = 0;
}

static int begins_query(const fpg_token *t) {
  return t->code == FPG_W_WITH || is_query(t->code) || is_write(t->code) || is_word(t, "execute");
}

/* CREATE DOMAIN d AS int has no statement behind AS; what CREATE RULE r AS ON has is run later. */
static void seek_inner(lua_State *L, parser *p, const fpg_token *t) {
  if (t->code == '(') return;
  if (t->code == FPG_W_ON) {
    p->seek = NOTHING;
    return;
  }
  if (t->kind == FPG_WORD && begins_query(t))
    take_verb(L, p, t);
  else
    p->seek = AN_OPENER;
}

static void seek_into(lua_State *L, parser *p, const fpg_token *t) {
  if (t->code != FPG_W_INTO || !p->selects || p->lx.depth != p->base) return;
  p->selects = 0;
  lua_pushliteral(L, "CREATE");
  add_verb(L);
}

static void seek(lua_State *L, parser *p, const fpg_token *t) {
  switch (p->seek) {
    case A_VERB:
      if (t->kind == FPG_WORD)
        take_verb(L, p, t);
      else if (t->code != '(')
        p->seek = NOTHING;
      break;
    case A_MAIN: seek_main(L, p, t); break;
    case OPTIONS:
      if (t->code == '(')
        p->seek = A_LIST;
      else if (is_analyze(t->code))
        p->runs = 1;
      else if (t->code != FPG_W_VERBOSE)
        take_verb(L, p, t);
      break;
    case A_LIST:
      p->seek = IN_LIST;
      if (t->code == '(')
        p->seek = A_VERB;
      else if (begins_query(t))
        take_verb(L, p, t);
      else
        seek_in_list(p, t);
      break;
    case IN_LIST: seek_in_list(p, t); break;
    case AN_OPENER:
      if (p->opener == '(')
        p->seek = t->code == '(' ? AN_INNER : NOTHING;
      else if (t->code == p->opener && p->lx.depth == p->base)
        p->seek = AN_INNER;
      break;
    case AN_INNER: seek_inner(L, p, t); break;
    case NOTHING: seek_into(L, p, t); break;
  }
}

/* ---- statements --------------------------------------------------------------------------- */

static void begin_statement(lua_State *L, parser *p, const fpg_token *t, const char *sql) {
  p->begun = 1;
  p->creates = OTHER_THAN_ROUTINE;
  p->atomic = p->nwords = p->joins = p->selects = 0;
  p->last = p->before = 0;
  p->base = p->floor = 0;
  seek_verb(p, 0, 1);
  lua_createtable(L, 0, 6);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, AT_STATEMENT, "words");
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, AT_STATEMENT, "verbs");
  lua_pushinteger(L, (lua_Integer)(t->p - sql) + 1);
  lua_setfield(L, AT_STATEMENT, "first");
}

static void end_statement(lua_State *L, parser *p, size_t last) {
  p->begun = 0;
  lua_pushinteger(L, (lua_Integer)last);
  lua_setfield(L, AT_STATEMENT, "last");
  lua_settop(L, AT_STATEMENT);
  lua_rawseti(L, AT_LIST, (int)lua_rawlen(L, AT_LIST) + 1);
}

/* Behind CREATE. */
static void watch_routine(parser *p, const fpg_token *t) {
  if (p->creates != CREATES || t->code == FPG_W_CREATE || is_word(t, "or") || is_word(t, "replace")) return;
  p->creates = is_word(t, "function") || is_word(t, "procedure") ? A_ROUTINE : OTHER_THAN_ROUTINE;
}

/* The body of a function: its END stands behind a semicolon, that of a CASE never does.  (A column, a domain or a type may be
 * called begin or atomic.) */
static void watch_body(parser *p, int code) {
  if (p->creates != A_ROUTINE || p->lx.depth) return;
  if (code == FPG_W_ATOMIC && p->last == FPG_W_BEGIN) {
    p->atomic++;
    p->seek = NOTHING;
  }
  if (p->atomic && code == FPG_W_END && (p->last == ';' || p->last == FPG_W_ATOMIC)) p->atomic--;
}

static void take_token(lua_State *L, parser *p, const fpg_token *t) {
  if (t->kind == FPG_WORD && p->nwords == 0) {
    p->floor = p->lx.depth;
    p->creates = t->code == FPG_W_CREATE ? CREATES : OTHER_THAN_ROUTINE;
  }
  watch_routine(p, t);
  seek(L, p, t);
  add_word(L, p, t);
  watch_body(p, t->code);
  p->before = p->last;
  p->last = t->code;
}

/* statements(sql, standard_strings) -> list */
static int text_statements(lua_State *L) {
  size_t len, last = 0;
  if (lua_type(L, AT_SQL) != LUA_TSTRING)
    return fpg_raise(L, "invalid_argument", "statements: string expected, got %s",
                     fpg_describe(L, AT_SQL));
  const char *sql = lua_tolstring(L, AT_SQL, &len);
  int standard = !lua_isboolean(L, 2) || lua_toboolean(L, 2);
  parser p = {0};
  fpg_token t;
  lua_settop(L, AT_SQL);
  lua_newtable(L);
  fpg_lex_init(&p.lx, sql, len, standard);
  while (fpg_lex_next(&p.lx, &t)) {
    if (t.kind == FPG_COMMENT) continue;
    int ends = t.code == ';' && p.lx.depth == 0 && !(p.begun && p.atomic);
    if (ends && p.begun) end_statement(L, &p, last);
    if (ends) continue;
    if (!p.begun) begin_statement(L, &p, &t, sql);
    take_token(L, &p, &t);
    last = (size_t)(t.p - sql) + t.len;
  }
  if (p.begun) end_statement(L, &p, last);
  return 1;
}

/* next_statement(sql, from, standard_strings) -> position, ";" or "\\" or nil
 *
 * For who reads a script of psql's: where the statement ends that begins at byte `from` (from 1): at
 * its semicolon, at a backslash outside of strings, or with the text.  The position is behind that. */
static int text_next_statement(lua_State *L) {
  size_t len;
  const char *sql = luaL_checklstring(L, 1, &len);
  int64_t from = 0;
  if (!fpg_to_int64(L, 2, &from) || from < 1 || (uint64_t)from > len + 1)
    return fpg_raise(L, "invalid_argument", "next_statement: a position in the text expected");
  parser p = {0};
  fpg_token t;
  fpg_lex_init(&p.lx, sql + from - 1, len - (size_t)from + 1,
               !lua_isboolean(L, 3) || lua_toboolean(L, 3));
  while (fpg_lex_next(&p.lx, &t)) {
    if (t.kind == FPG_COMMENT) continue;
    if (!p.last && t.code == FPG_W_CREATE) p.creates = CREATES;
    watch_routine(&p, &t);
    int command = t.kind == FPG_OTHER && *t.p == '\\';
    if (command || (t.code == ';' && p.lx.depth == 0 && !p.atomic)) {
      lua_pushinteger(L, (lua_Integer)(t.p - sql) + 2);
      lua_pushstring(L, command ? "\\" : ";");
      return 2;
    }
    watch_body(&p, t.code);
    p.last = t.code ? t.code : -1;
  }
  lua_pushinteger(L, (lua_Integer)len + 1);
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
  const char *s = fpg_check_sql(L, 1, "copy_direction", &len), *found = NULL;
  int standard = fpg_opt_standard(L, 2), n = 0;
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

static const luaL_Reg functions[] = {
    {"statements", text_statements},
    {"next_statement", text_next_statement},
    {"copy_direction", text_copy_direction},
    {NULL, NULL},
};

void fpg_open_statements(lua_State *L) { luaL_setfuncs(L, functions, 0); }
