/* SPDX-License-Identifier: MIT
 *
 * lex.c: where one SQL token ends and the next begins.  See lex.h.
 */
#include "lex.h"

#include <string.h>

/* What an open bracket is. */
enum {
  L_SQUARE = 1,      /* [ */
  L_SUBSCRIPT = 2,   /* a[ ], not ARRAY[ ] */
  L_OPERATOR = 4,    /* OPERATOR( ): the characters in it are a name */
  L_NO_OPERAND = 8,  /* OPERATOR( ) and DISTINCT ON ( ): an expression follows it */
  L_JSON_OBJECT = 16 /* JSON_OBJECT( ): 'key':value */
};

/* How a quoted text treats what is in it. */
enum { Q_DOUBLED, Q_BACKSLASH, Q_RAW };

/* ---- bytes -------------------------------------------------------------------------------- */

static int is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
static int is_newline(unsigned char c) { return c == '\n' || c == '\r'; }
static int is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int is_hex(unsigned char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

int fpg_ident_start(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

int fpg_ident_cont(unsigned char c) { return fpg_ident_start(c) || is_digit(c) || c == '$'; }

static int is_op(unsigned char c) { return c && strchr("~!@#^&|`?+-*/%<>=", c) != NULL; }

/* The byte n places on, 0 at the end. */
static unsigned char peek(const fpg_lex *lx, const char *p, size_t n) {
  return (size_t)(lx->end - p) > n ? (unsigned char)p[n] : 0;
}

static int is_comment(const fpg_lex *lx, const char *p) {
  unsigned char c = peek(lx, p, 0), d = peek(lx, p, 1);
  return (c == '-' && d == '-') || (c == '/' && d == '*');
}

/* ---- words -------------------------------------------------------------------------------- */

static const struct {
  const char *text;
  unsigned flags;
} words[] = {
#define X(id, text, flags) {text, flags},
  FPG_WORDS(X)
#undef X
};

#define NWORDS (int)(sizeof words / sizeof *words)

unsigned fpg_word_flags(int code) {
  int i = code - FPG_W_BASE - 1;
  return i >= 0 && i < NWORDS ? words[i].flags : 0;
}

const char *fpg_word_text(int code) {
  int i = code - FPG_W_BASE - 1;
  return i >= 0 && i < NWORDS ? words[i].text : "";
}

/* Keywords are ASCII, whatever the locale of the server. */
static int word_code(const char *p, size_t len) {
  char low[20];
  if (len >= sizeof low) return 0;
  for (size_t i = 0; i < len; i++)
    low[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] - 'A' + 'a' : p[i]);
  low[len] = 0;
  for (int lo = 0, hi = NWORDS; lo < hi;) {
    int mid = (lo + hi) / 2, c = strcmp(low, words[mid].text);
    if (c == 0) return FPG_W_BASE + 1 + mid;
    if (c < 0)
      hi = mid;
    else
      lo = mid + 1;
  }
  return 0;
}

/* Whether the word is a value or a name, rather than what comes before an expression.  Unreserved
 * words are decided by their neighbours: see FPG_WORDS. */
static int word_is_operand(const fpg_lex *lx, int code) {
  int last = lx->last, last2 = lx->last2;
  switch (code) {
    case FPG_W_ZONE: return last != FPG_W_TIME;
    case FPG_W_FIRST:
    case FPG_W_NEXT: return last != FPG_W_FETCH;
    case FPG_W_ESCAPE:
    case FPG_W_PASSING: return !lx->operand;
    case FPG_W_ROWS:
    case FPG_W_RANGE:
    case FPG_W_GROUPS: /* OVER (ORDER BY a ROWS ?; OVER (ROWS ?; WINDOW w AS (ROWS ? */
      return !lx->operand && !(last == '(' && (last2 == FPG_W_OVER || last2 == FPG_W_AS));
    case FPG_W_DOCUMENT:
    case FPG_W_CONTENT:
      return !(last == '(' && (last2 == FPG_W_XMLPARSE || last2 == FPG_W_XMLSERIALIZE));
    default: return !(fpg_word_flags(code) & FPG_ASKS);
  }
}

/* ---- quoted text -------------------------------------------------------------------------- */

static const char *skip_line(const fpg_lex *lx, const char *p) {
  while (p < lx->end && !is_newline((unsigned char)*p)) p++;
  return p;
}

/* Behind a closing quote: space with a newline in it and another quote continue the string.
 * Returns where it goes on, or NULL. */
static const char *continuation(const fpg_lex *lx, const char *p, unsigned *flags) {
  int newline = 0, comment = 0;
  for (; p < lx->end; p++) {
    if (*p == '\'') {
      if (!newline) return NULL;
      if (comment) *flags |= FPG_COMMENTED;
      return p + 1;
    }
    if (*p == '-' && peek(lx, p, 1) == '-') {
      comment = 1;
      p = skip_line(lx, p);
      if (p == lx->end) return NULL;
    }
    if (!is_space((unsigned char)*p)) return NULL;
    if (is_newline((unsigned char)*p)) newline = 1;
  }
  return NULL;
}

/* p is behind the opening quote; returns where the string ends. */
static const char *scan_string(const fpg_lex *lx, const char *p, int how, unsigned *flags) {
  while (p < lx->end) {
    if (*p == '\\' && how == Q_BACKSLASH && lx->end - p > 1) {
      p += 2;
    } else if (*p != '\'') {
      p++;
    } else if (how != Q_RAW && peek(lx, p, 1) == '\'') {
      p += 2;
    } else {
      const char *more = continuation(lx, p + 1, flags);
      if (!more) return p + 1;
      p = more;
    }
  }
  *flags |= FPG_UNTERMINATED;
  return p;
}

static const char *scan_quoted(const fpg_lex *lx, const char *p, unsigned *flags) {
  while (p < lx->end) {
    if (*p != '"')
      p++;
    else if (peek(lx, p, 1) == '"')
      p += 2;
    else
      return p + 1;
  }
  *flags |= FPG_UNTERMINATED;
  return p;
}

/* p is at a $: returns where a dollar-quoted string ends, NULL when none begins here. */
static const char *scan_dollar(const fpg_lex *lx, const char *p, unsigned *flags) {
  const char *q = p + 1;
  if (q < lx->end && fpg_ident_start((unsigned char)*q))
    while (q < lx->end && *q != '$' && fpg_ident_cont((unsigned char)*q)) q++;
  if (q == lx->end || *q != '$') return NULL;
  size_t tag = (size_t)(q - p) + 1;
  for (q++; (q = memchr(q, '$', (size_t)(lx->end - q))) != NULL; q++)
    if ((size_t)(lx->end - q) >= tag && memcmp(p, q, tag) == 0) return q + tag;
  *flags |= FPG_UNTERMINATED;
  return lx->end;
}

static const char *scan_comment(const fpg_lex *lx, const char *p, unsigned *flags) {
  if (*p == '-') return skip_line(lx, p);
  size_t depth = 0;
  while (p < lx->end) {
    unsigned char c = (unsigned char)*p, d = peek(lx, p, 1);
    if (c == '/' && d == '*') {
      depth++;
      p += 2;
    } else if (c == '*' && d == '/') {
      p += 2;
      if (--depth == 0) return p;
    } else {
      p++;
    }
  }
  *flags |= FPG_UNTERMINATED;
  return p;
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* Digits with single underscores between them (PostgreSQL 16). */
static const char *scan_digits(const fpg_lex *lx, const char *p, int (*digit)(unsigned char)) {
  while (digit(peek(lx, p, 0)) || (peek(lx, p, 0) == '_' && digit(peek(lx, p, 1)))) p++;
  return p;
}

static const char *scan_number(const fpg_lex *lx, const char *p, unsigned *flags) {
  const char *q;
  int base = *p == '0' ? peek(lx, p, 1) | 0x20 : 0;
  if ((base == 'x' || base == 'o' || base == 'b') &&
      (q = scan_digits(lx, p + 2, base == 'x' ? is_hex : is_digit)) > p + 2) {
    p = q;
  } else {
    p = scan_digits(lx, p, is_digit);
    if (peek(lx, p, 0) == '.' && peek(lx, p, 1) != '.') p = scan_digits(lx, p + 1, is_digit);
    if ((peek(lx, p, 0) | 0x20) == 'e') {
      int sign = peek(lx, p, 1) == '+' || peek(lx, p, 1) == '-';
      if (is_digit(peek(lx, p, 1 + (size_t)sign))) p = scan_digits(lx, p + 1 + sign, is_digit);
    }
  }
  if (fpg_ident_start(peek(lx, p, 0))) *flags |= FPG_JUNK;
  return p;
}

/* ---- brackets ----------------------------------------------------------------------------- */

static unsigned level(const fpg_lex *lx) {
  return lx->depth && lx->depth <= FPG_LEX_DEPTH ? lx->level[lx->depth - 1] : 0;
}

static void open_bracket(fpg_lex *lx, int square) {
  unsigned what = 0;
  if (square)
    what = lx->operand ? L_SQUARE | L_SUBSCRIPT : L_SQUARE;
  else if (lx->last == FPG_W_OPERATOR_)
    what = L_OPERATOR | L_NO_OPERAND;
  else if (lx->last == FPG_W_ON && lx->last2 == FPG_W_DISTINCT)
    what = L_NO_OPERAND;
  else if (lx->last == FPG_W_JSON_OBJECT || lx->last == FPG_W_JSON_OBJECTAGG)
    what = L_JSON_OBJECT;
  if (lx->depth < FPG_LEX_DEPTH) lx->level[lx->depth] = (unsigned char)what;
  lx->depth++;
  lx->operand = 0;
}

static void close_bracket(fpg_lex *lx, int square) {
  unsigned what = level(lx);
  lx->operand = !(what & L_NO_OPERAND);
  int was_square = (what & L_SQUARE) != 0;
  if (lx->depth == 0 || (lx->depth <= FPG_LEX_DEPTH && was_square != square)) lx->unbalanced = 1;
  if (lx->depth) lx->depth--;
}

/* ---- operators and placeholders ----------------------------------------------------------- */

/* A run of operator characters is handed out in pieces.  A ? in it is a placeholder unless an
 * operand stands right before it or it is doubled; only a @? that is the whole run is an operator
 * with its ? at the end.  So a ?| b, a ?& b, a @? b are operators, and in a=?, a->?, ?||? the ?
 * are placeholders. */
static const char *scan_piece(fpg_lex *lx, fpg_token *t) {
  const char *p = lx->p, *end = lx->run_end;
  int name = (level(lx) & L_OPERATOR) != 0;
  if (*p == '?' && end - p > 1 && p[1] == '?') {
    t->kind = FPG_ESCAPED;
    lx->operand = 0;
    return p + 2;
  }
  if (*p == '?' && !lx->operand && !name) {
    t->kind = FPG_MARK;
    lx->operand = 1;
    return p + 1;
  }
  int jsonpath = lx->operand && end - p == 2 && p[0] == '@' && p[1] == '?';
  t->kind = FPG_OPERATOR;
  lx->operand = 0;
  if (jsonpath) return end;
  for (p++; p < end; p++)
    if (*p == '?' && (!name || (end - p > 1 && p[1] == '?'))) break;
  return p;
}

static const char *scan_run(fpg_lex *lx, fpg_token *t) {
  const char *end = lx->p + 1;
  while (is_op(peek(lx, end, 0)) && !is_comment(lx, end)) end++;
  lx->run_end = end;
  return scan_piece(lx, t);
}

static int before_cast(const fpg_lex *lx, const char *p) {
  while (is_space(peek(lx, p, 0))) p++;
  return peek(lx, p, 0) == ':' && peek(lx, p, 1) == ':';
}

/* A : with a name behind it.  In a subscript it is a slice's colon where one can stand: behind an
 * operand, and first ([:n]) unless a cast follows ([:n::int]).  Within JSON_OBJECT( ) a colon
 * behind an operand separates key and value.  Anywhere else only a placeholder makes sense. */
static int is_name(const fpg_lex *lx, const char *name_end) {
  unsigned what = level(lx);
  if (what & L_SUBSCRIPT) {
    if (lx->operand) return 0;
    return lx->last != '[' || before_cast(lx, name_end);
  }
  return !((what & L_JSON_OBJECT) && lx->operand);
}

static const char *scan_ident(const fpg_lex *lx, const char *p) {
  while (p < lx->end && fpg_ident_cont((unsigned char)*p)) p++;
  return p;
}

static const char *scan_colon(fpg_lex *lx, fpg_token *t) {
  const char *p = lx->p;
  unsigned char d = peek(lx, p, 1);
  if (fpg_ident_start(d)) {
    const char *end = scan_ident(lx, p + 1);
    if (is_name(lx, end)) {
      t->kind = FPG_NAME;
      lx->operand = 1;
      return end;
    }
  }
  lx->operand = 0;
  if (d == ':' || d == '=') {
    t->kind = FPG_OPERATOR;
    return p + 2;
  }
  t->kind = FPG_PUNCT;
  t->code = ':';
  return p + 1;
}

/* ---- tokens ------------------------------------------------------------------------------- */

static const char *scan_punct(fpg_lex *lx, fpg_token *t) {
  const char *p = lx->p;
  if (*p == '.' && peek(lx, p, 1) == '.') {
    t->kind = FPG_OPERATOR;
    lx->operand = 0;
    return p + 2;
  }
  t->kind = FPG_PUNCT;
  t->code = *p;
  switch (*p) {
    case '(':
    case '[': open_bracket(lx, *p == '['); break;
    case ')':
    case ']': close_bracket(lx, *p == ']'); break;
    default: lx->operand = 0;
  }
  return p + 1;
}

/* A string with a letter before its quote, or NULL: E'' B'' X'' N'' U&'' U&"". */
static const char *scan_prefixed(const fpg_lex *lx, fpg_token *t) {
  const char *p = lx->p;
  int plain = lx->standard_strings ? Q_DOUBLED : Q_BACKSLASH;
  unsigned char letter = (unsigned char)(*p | 0x20), d = peek(lx, p, 1), e = peek(lx, p, 2);
  t->kind = FPG_STRING;
  if (d == '\'') {
    switch (letter) {
      case 'e': return scan_string(lx, p + 2, Q_BACKSLASH, &t->flags);
      case 'n': return scan_string(lx, p + 2, plain, &t->flags);
      case 'b':
      case 'x': return scan_string(lx, p + 2, Q_RAW, &t->flags);
      default: return NULL;
    }
  }
  if (letter != 'u' || d != '&') return NULL;
  if (e == '\'') {
    t->flags |= FPG_UNICODE;
    return scan_string(lx, p + 3, Q_DOUBLED, &t->flags);
  }
  if (e != '"') return NULL;
  t->kind = FPG_QUOTED;
  return scan_quoted(lx, p + 3, &t->flags);
}

static const char *scan_word(fpg_lex *lx, fpg_token *t) {
  const char *end = scan_prefixed(lx, t);
  if (end) {
    lx->operand = 1;
    return end;
  }
  end = scan_ident(lx, lx->p);
  t->kind = FPG_WORD;
  if (lx->last != '.') t->code = word_code(lx->p, (size_t)(end - lx->p)); /* t.limit is a name */
  lx->operand = word_is_operand(lx, t->code);
  return end;
}

/* What begins with a $ that is no part of an identifier. */
static const char *scan_param(fpg_lex *lx, fpg_token *t) {
  const char *p = lx->p, *end = p + 1;
  lx->operand = 1;
  while (is_digit(peek(lx, end, 0))) end++;
  if (end > p + 1) {
    t->kind = FPG_PARAM;
    if (fpg_ident_start(peek(lx, end, 0))) t->flags |= FPG_JUNK;
    return end;
  }
  t->kind = FPG_STRING;
  if ((end = scan_dollar(lx, p, &t->flags)) != NULL) return end;
  t->kind = FPG_OTHER;
  lx->operand = 0;
  return p + 1;
}

/* Sets the token's kind and the operand bit; returns the token's end. */
static const char *scan_token(fpg_lex *lx, fpg_token *t) {
  const char *p = lx->p;
  unsigned char c = (unsigned char)*p;
  if (fpg_ident_start(c)) return scan_word(lx, t);
  if (is_digit(c) || (c == '.' && is_digit(peek(lx, p, 1)))) {
    t->kind = FPG_NUMBER;
    lx->operand = 1;
    return scan_number(lx, p, &t->flags);
  }
  switch (c) {
    case '\'':
      t->kind = FPG_STRING;
      lx->operand = 1;
      return scan_string(lx, p + 1, lx->standard_strings ? Q_DOUBLED : Q_BACKSLASH, &t->flags);
    case '"':
      t->kind = FPG_QUOTED;
      lx->operand = 1;
      return scan_quoted(lx, p + 1, &t->flags);
    case '$': return scan_param(lx, t);
    case ':': return scan_colon(lx, t);
    case '(':
    case ')':
    case '[':
    case ']':
    case ',':
    case ';':
    case '.': return scan_punct(lx, t);
    default: break;
  }
  if (is_op(c)) return scan_run(lx, t);
  t->kind = FPG_OTHER;
  lx->operand = 0;
  return p + 1;
}

void fpg_lex_init(fpg_lex *lx, const char *text, size_t len, int standard_strings) {
  memset(lx, 0, sizeof *lx);
  lx->p = text;
  lx->end = text + len;
  lx->standard_strings = standard_strings;
}

int fpg_lex_next(fpg_lex *lx, fpg_token *t) {
  while (lx->p < lx->end && is_space((unsigned char)*lx->p)) lx->p++;
  t->p = lx->p;
  t->len = 0;
  t->code = 0;
  t->flags = 0;
  t->kind = FPG_END;
  if (lx->p == lx->end) return 0;
  const char *end;
  if (lx->run_end && lx->p < lx->run_end) {
    end = scan_piece(lx, t);
  } else if (is_comment(lx, lx->p)) {
    t->kind = FPG_COMMENT;
    end = scan_comment(lx, lx->p, &t->flags);
  } else {
    end = scan_token(lx, t);
  }
  if (t->kind != FPG_COMMENT) {
    lx->last2 = lx->last;
    lx->last = t->code;
  }
  t->len = (size_t)(end - lx->p);
  lx->p = end;
  return 1;
}
