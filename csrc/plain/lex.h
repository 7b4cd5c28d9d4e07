/* SPDX-License-Identifier: MIT
 *
 * lex.h: PostgreSQL's SQL tokens, and fastpg's placeholders among them.
 *
 * An iterator over ptr + len: it allocates nothing, copies nothing, and never reads past the end.
 * It splits text where the server's own scanner does (PostgreSQL manual, 4.1 "Lexical Structure"):
 *
 *   'a' E'a\'' B'0' X'f' N'a' U&'a'   STRING   with its continuation lines; $$a$$, $t$a$t$ too
 *   "a" U&"a"                         QUOTED   an identifier in quotes
 *   select, a$1, größe                WORD     with its number when it is in FPG_WORDS
 *   1 1.5e3 .5 0xff 1_000             NUMBER
 *   $1                                PARAM
 *   -- a, nested block comments       COMMENT
 *   + - <> ->> :: := ..               OPERATOR (it ends before a comment begins)
 *   ( ) [ ] , ; . :                   PUNCT
 *
 * and takes out of that text what fastpg converts:
 *
 *   ?       MARK      where no operand stands before it; else it is the operator ?
 *   ??      ESCAPED   a literal ?, everywhere
 *   :name   NAME      but in a subscript where it can be the bound of a slice
 *
 * To know these it remembers one bit (does an operand end here?), the last two tokens, and what
 * kind of bracket each open bracket is.
 */
#ifndef FASTPG_LEX_H
#define FASTPG_LEX_H

#include <stddef.h>

typedef enum fpg_kind {
  FPG_END,
  FPG_COMMENT,
  FPG_WORD,
  FPG_QUOTED,
  FPG_STRING,
  FPG_NUMBER,
  FPG_PARAM,
  FPG_OPERATOR,
  FPG_PUNCT,
  FPG_MARK,
  FPG_ESCAPED,
  FPG_NAME,
  FPG_OTHER /* one byte that begins no token of SQL */
} fpg_kind;

enum {
  FPG_UNTERMINATED = 1, /* a string, identifier or comment that reaches the end of the text */
  FPG_COMMENTED = 2,    /* a string with a comment between its continuation lines */
  FPG_JUNK = 4,         /* a number or $1 with a letter right behind it: servers differ on it */
  FPG_UNICODE = 8       /* U&'...' */
};

typedef struct fpg_token {
  fpg_kind kind;
  const char *p;
  size_t len;
  int code;       /* a WORD's FPG_W_..., a PUNCT's character, else 0 */
  unsigned flags; /* the bits above */
} fpg_token;

/* The words the core knows, in strcmp order.
 *
 * FPG_ASKS: an expression comes next, so a ? behind it is a placeholder.  These are the reserved
 * words and those usable as function or type names only (manual, appendix C) that are not values
 * themselves (true, null, end, current_date, user, ...), and by, between, values.  A word that may
 * name a column is a name (value ? 'k', interval ? 'k') but where the tokens before it say
 * otherwise (word_is_operand in lex.c): at time zone ?, fetch first ? rows, like a escape ?,
 * order by a rows ? preceding, xmlparse(document ?), xmlexists(a passing ?).
 *
 * FPG_CLAUSE: begins a clause of a query when it stands outside brackets. */
enum { FPG_ASKS = 1, FPG_CLAUSE = 2 };

#define FPG_WORDS(X)                                                                              \
  X(ALL, "all", FPG_ASKS)                                                                         \
  X(ANALYSE, "analyse", FPG_ASKS)                                                                 \
  X(ANALYZE, "analyze", FPG_ASKS)                                                                 \
  X(AND, "and", FPG_ASKS)                                                                         \
  X(ANY, "any", FPG_ASKS)                                                                         \
  X(ARRAY, "array", FPG_ASKS)                                                                     \
  X(AS, "as", FPG_ASKS)                                                                           \
  X(ASYMMETRIC, "asymmetric", FPG_ASKS)                                                           \
  X(ATOMIC, "atomic", 0)                                                                          \
  X(BEGIN, "begin", 0)                                                                            \
  X(BETWEEN, "between", FPG_ASKS)                                                                 \
  X(BOTH, "both", FPG_ASKS)                                                                       \
  X(BY, "by", FPG_ASKS)                                                                           \
  X(CASE, "case", FPG_ASKS)                                                                       \
  X(CAST, "cast", FPG_ASKS)                                                                       \
  X(CHECK, "check", FPG_ASKS)                                                                     \
  X(COLLATE, "collate", FPG_ASKS)                                                                 \
  X(COLUMN, "column", FPG_ASKS)                                                                   \
  X(CONDITIONAL, "conditional", 0)                                                                \
  X(CONSTRAINT, "constraint", FPG_ASKS)                                                           \
  X(CONTENT, "content", 0)                                                                        \
  X(COPY, "copy", 0)                                                                              \
  X(CREATE, "create", FPG_ASKS)                                                                   \
  X(CROSS, "cross", FPG_ASKS)                                                                     \
  X(DECLARE, "declare", 0)                                                                        \
  X(DEFAULT, "default", FPG_ASKS)                                                                 \
  X(DELETE, "delete", 0)                                                                          \
  X(DISTINCT, "distinct", FPG_ASKS)                                                               \
  X(DO, "do", FPG_ASKS)                                                                           \
  X(DOCUMENT, "document", 0)                                                                      \
  X(ELSE, "else", FPG_ASKS)                                                                       \
  X(END, "end", 0)                                                                                \
  X(ESCAPE, "escape", 0)                                                                          \
  X(EXCEPT, "except", FPG_ASKS | FPG_CLAUSE)                                                      \
  X(EXPLAIN, "explain", 0)                                                                        \
  X(FETCH, "fetch", FPG_ASKS | FPG_CLAUSE)                                                        \
  X(FIRST, "first", 0)                                                                            \
  X(FOR, "for", FPG_ASKS | FPG_CLAUSE)                                                            \
  X(FOREIGN, "foreign", FPG_ASKS)                                                                 \
  X(FROM, "from", FPG_ASKS | FPG_CLAUSE)                                                          \
  X(FULL, "full", FPG_ASKS)                                                                       \
  X(GRANT, "grant", FPG_ASKS)                                                                     \
  X(GROUP, "group", FPG_ASKS | FPG_CLAUSE)                                                        \
  X(GROUPS, "groups", 0)                                                                          \
  X(HAVING, "having", FPG_ASKS | FPG_CLAUSE)                                                      \
  X(ILIKE, "ilike", FPG_ASKS)                                                                     \
  X(IN, "in", FPG_ASKS)                                                                           \
  X(INNER, "inner", FPG_ASKS)                                                                     \
  X(INSERT, "insert", 0)                                                                          \
  X(INTERSECT, "intersect", FPG_ASKS | FPG_CLAUSE)                                                \
  X(INTO, "into", FPG_ASKS | FPG_CLAUSE)                                                          \
  X(IS, "is", FPG_ASKS)                                                                           \
  X(JOIN, "join", FPG_ASKS)                                                                       \
  X(JSON_OBJECT, "json_object", 0)                                                                \
  X(JSON_OBJECTAGG, "json_objectagg", 0)                                                          \
  X(KEY, "key", 0)                                                                                \
  X(LATERAL, "lateral", FPG_ASKS)                                                                 \
  X(LEADING, "leading", FPG_ASKS)                                                                 \
  X(LEFT, "left", FPG_ASKS)                                                                       \
  X(LIKE, "like", FPG_ASKS)                                                                       \
  X(LIMIT, "limit", FPG_ASKS | FPG_CLAUSE)                                                        \
  X(MATERIALIZED, "materialized", 0)                                                              \
  X(MERGE, "merge", 0)                                                                            \
  X(NATURAL, "natural", FPG_ASKS)                                                                 \
  X(NEXT, "next", 0)                                                                              \
  X(NOT, "not", FPG_ASKS)                                                                         \
  X(OFFSET, "offset", FPG_ASKS | FPG_CLAUSE)                                                      \
  X(ON, "on", FPG_ASKS)                                                                           \
  X(ONLY, "only", FPG_ASKS)                                                                       \
  X(OPERATOR_, "operator", 0)                                                                     \
  X(OR, "or", FPG_ASKS)                                                                           \
  X(ORDER, "order", FPG_ASKS)                                                                     \
  X(OUTER, "outer", FPG_ASKS)                                                                     \
  X(OVER, "over", 0)                                                                              \
  X(OVERLAPS, "overlaps", FPG_ASKS)                                                               \
  X(PASSING, "passing", 0)                                                                        \
  X(PLACING, "placing", FPG_ASKS)                                                                 \
  X(PREPARE, "prepare", 0)                                                                        \
  X(PRIMARY, "primary", FPG_ASKS)                                                                 \
  X(RANGE, "range", 0)                                                                            \
  X(RECURSIVE, "recursive", 0)                                                                    \
  X(REFERENCES, "references", FPG_ASKS)                                                           \
  X(RETURNING, "returning", FPG_ASKS | FPG_CLAUSE)                                                \
  X(RIGHT, "right", FPG_ASKS)                                                                     \
  X(ROWS, "rows", 0)                                                                              \
  X(SELECT, "select", FPG_ASKS)                                                                   \
  X(SIMILAR, "similar", FPG_ASKS)                                                                 \
  X(SOME, "some", FPG_ASKS)                                                                       \
  X(SYMMETRIC, "symmetric", FPG_ASKS)                                                             \
  X(TABLE, "table", FPG_ASKS)                                                                     \
  X(TABLESAMPLE, "tablesample", FPG_ASKS)                                                         \
  X(THEN, "then", FPG_ASKS)                                                                       \
  X(TIME, "time", 0)                                                                              \
  X(TO, "to", FPG_ASKS)                                                                           \
  X(TRAILING, "trailing", FPG_ASKS)                                                               \
  X(UNCONDITIONAL, "unconditional", 0)                                                            \
  X(UNION, "union", FPG_ASKS | FPG_CLAUSE)                                                        \
  X(UNIQUE, "unique", FPG_ASKS)                                                                   \
  X(UPDATE, "update", 0)                                                                          \
  X(USING, "using", FPG_ASKS)                                                                     \
  X(VALUES, "values", FPG_ASKS)                                                                   \
  X(VARIADIC, "variadic", FPG_ASKS)                                                               \
  X(VERBOSE, "verbose", FPG_ASKS)                                                                 \
  X(WHEN, "when", FPG_ASKS)                                                                       \
  X(WHERE, "where", FPG_ASKS | FPG_CLAUSE)                                                        \
  X(WINDOW, "window", FPG_ASKS | FPG_CLAUSE)                                                      \
  X(WITH, "with", FPG_ASKS)                                                                       \
  X(WITHIN, "within", 0)                                                                          \
  X(WRAPPER, "wrapper", 0)                                                                        \
  X(XMLPARSE, "xmlparse", 0)                                                                      \
  X(XMLSERIALIZE, "xmlserialize", 0)                                                              \
  X(ZONE, "zone", 0)

enum {
  FPG_W_BASE = 256, /* above every PUNCT code */
#define X(id, text, flags) FPG_W_##id,
  FPG_WORDS(X)
#undef X
};

#define FPG_LEX_DEPTH 256 /* brackets deeper than this are counted, their kind is not kept */

typedef struct fpg_lex {
  const char *p, *end;
  const char *run_end; /* of the operator characters being handed out, or NULL */
  int standard_strings;
  int operand;     /* an operand ends here: a ? now is an operator */
  int last, last2; /* the codes of the last two tokens, comments apart */
  int unbalanced;  /* a closing bracket did not fit */
  size_t depth;
  unsigned char level[FPG_LEX_DEPTH];
} fpg_lex;

/* standard_strings: the server's standard_conforming_strings; when off, '...' heeds backslashes. */
void fpg_lex_init(fpg_lex *lx, const char *text, size_t len, int standard_strings);

/* The next token; false at the end (kind FPG_END).  Space is skipped, comments are tokens. */
int fpg_lex_next(fpg_lex *lx, fpg_token *t);

/* FPG_ASKS | FPG_CLAUSE of a word's code, and its text in lower case. */
unsigned fpg_word_flags(int code);
const char *fpg_word_text(int code);

/* A byte of which an identifier may begin; or go on, a digit or $ too. */
int fpg_ident_start(unsigned char c);
int fpg_ident_cont(unsigned char c);

#endif
