/* SPDX-License-Identifier: MIT
 *
 * reads.c: texts that do nothing but read, as far as tokens tell: one SELECT, VALUES or TABLE that calls nothing but
 * functions of the server's own that give a value and do nothing else.
 *
 * A function of the user's may do anything, so each name in front of a bracket that is not known is refused; what a view
 * calls is not seen.
 *
 * PostgreSQL manual: "Functions and Operators".
 */
#include <stdlib.h>
#include <string.h>

#include "compat.h"
#include "lex.h"
#include "sql_argument.h"

/* What may stand in front of a bracket: words of the grammar, types with a length, functions.  In strcmp order. */
static const char *const harmless[] = {
    "abs", "age", "all", "and", "any", "array", "array_agg", "array_append", "array_cat", "array_length",
    "array_position", "array_remove", "array_to_string", "as", "ascii", "avg", "between", "bit", "bit_length",
    "bool_and", "bool_or", "bpchar", "btrim", "by", "cardinality", "case", "cast", "ceil", "ceiling", "char",
    "char_length", "character", "chr", "coalesce", "concat", "concat_ws", "corr", "count", "cube", "cume_dist",
    "date_part", "date_trunc", "daterange", "dec", "decimal", "dense_rank", "distinct", "else", "every", "except",
    "exists", "exp", "extract", "filter", "first_value", "float", "floor", "format", "from", "generate_series",
    "greatest", "group", "grouping", "having", "host", "ilike", "in", "initcap", "int4range", "int8range",
    "intersect", "interval", "is", "isempty", "isfinite", "join", "json_agg", "json_array_length",
    "json_build_array", "json_build_object", "json_object_agg", "json_typeof", "jsonb_agg", "jsonb_array_length",
    "jsonb_build_array", "jsonb_build_object", "jsonb_object_agg", "jsonb_path_exists", "jsonb_set", "jsonb_typeof",
    "justify_days", "lag", "last_value", "lateral", "lead", "least", "left", "length", "like", "limit", "ln", "log",
    "lower", "lower_inc", "lpad", "ltrim", "make_date", "materialized", "max", "md5", "min", "mod", "mode", "not",
    "now", "nth_value", "ntile", "nullif", "numeric", "numrange", "octet_length", "offset", "on", "only", "or",
    "over", "overlay", "partition", "percent_rank", "percentile_cont", "percentile_disc", "phraseto_tsquery",
    "plainto_tsquery", "position", "power", "range_agg", "rank", "recursive", "regexp_match", "regexp_matches",
    "regexp_replace", "regexp_split_to_array", "repeat", "replace", "reverse", "right", "rollup", "round", "row",
    "row_number", "row_to_json", "rpad", "rtrim", "select", "sets", "sign", "similar", "some", "split_part", "sqrt",
    "starts_with", "stddev", "string_agg", "string_to_array", "strpos", "substr", "substring", "sum", "then",
    "time", "timestamp", "timestamptz", "to_char", "to_date", "to_hex", "to_json", "to_jsonb", "to_number",
    "to_timestamp", "to_tsquery", "to_tsvector", "translate", "trim", "trunc", "ts_headline", "ts_rank",
    "ts_rank_cd", "tsrange", "tstzrange", "union", "unnest", "upper", "upper_inc", "using", "values", "varbit",
    "varchar", "variance", "varying", "websearch_to_tsquery", "when", "where", "with", "within",
};

/* Words that a text that reads has no use for, whatever they mean in their place. */
static const char *const doing[] = {"delete", "insert", "into", "merge", "update"};

static int compare(const void *key, const void *item) { return strcmp(key, *(const char *const *)item); }

static int is_among(const char *const *list, size_t n, const char *word) {
  return bsearch(word, list, n, sizeof *list, compare) != NULL;
}

enum { LONGEST = 24 };

/* The word in lower case, "" for one that is longer than all of ours. */
static void lower(const fpg_token *t, char *word) {
  size_t n = t->len < LONGEST ? t->len : 0;
  for (size_t i = 0; i < n; i++) word[i] = (char)(t->p[i] >= 'A' && t->p[i] <= 'Z' ? t->p[i] + 32 : t->p[i]);
  word[n] = 0;
}

/* A text while its tokens pass by. */
typedef struct reader {
  char word[LONGEST];  /* the word before, in lower case; "" where the token before was none */
  char owner[LONGEST]; /* what stood before a . in front of it */
  int named;      /* the token before is a name in quotes */
  int is_alias;   /* ... and what it follows makes the name before an alias or a new name, which calls nothing */
  int dotted;     /* the token before is a . */
  int locks;      /* the word before is FOR */
  int distinct;   /* DISTINCT was said: ON (...) may be followed by a call */
  int begun, ended;
} reader;

static int is_lock(const char *word) {
  static const char *const words[] = {"key", "no", "share", "update"};
  return is_among(words, sizeof words / sizeof words[0], word);
}

/* Whether the bracket behind the name before calls nothing that might do something. */
static int is_harmless_call(const reader *r) {
  if (r->is_alias) return 1;
  if (r->named) return 0;
  if (r->owner[0] && strcmp(r->owner, "pg_catalog") != 0) return 0;
  return is_among(harmless, sizeof harmless / sizeof harmless[0], r->word);
}

/* Whether a name behind this token is one that the text gives: an alias with its columns, a CTE. */
static int gives_names(const reader *r, int code) {
  return (code == ')' && !r->distinct) || strcmp(r->word, "as") == 0 || strcmp(r->word, "with") == 0 || strcmp(r->word, "recursive") == 0;
}

static int begins_reading(const fpg_token *t) {
  return t->code == '(' || t->code == FPG_W_SELECT || t->code == FPG_W_VALUES || t->code == FPG_W_TABLE ||
         t->code == FPG_W_WITH;
}

/* Takes the next word or name; 0 where it does something. */
static int take_name(reader *r, const fpg_token *t, int last) {
  char word[LONGEST] = "";
  if (t->kind == FPG_WORD) lower(t, word);
  if (t->kind == FPG_WORD && !r->dotted) {
    if (is_among(doing, sizeof doing / sizeof doing[0], word) || (r->locks && is_lock(word))) return 0;
  }
  if (!r->dotted) r->owner[0] = 0;
  r->is_alias = !r->dotted && gives_names(r, last);
  r->locks = strcmp(word, "for") == 0;
  r->distinct |= t->code == FPG_W_DISTINCT;
  r->named = t->kind == FPG_QUOTED || !word[0];
  memcpy(r->word, word, sizeof word);
  return 1;
}

/* 0 where it does something, or may do. */
static int take(reader *r, const fpg_token *t, int last) {
  if (r->ended || (!r->begun && !begins_reading(t))) return 0;
  r->begun = 1;
  if (t->kind == FPG_WORD || t->kind == FPG_QUOTED) {
    int goes_on = take_name(r, t, last);
    r->dotted = 0;
    return goes_on;
  }
  if (t->code == '(' && (r->word[0] || r->named) && !is_harmless_call(r)) return 0;
  if (t->code == ';') r->ended = 1;
  r->dotted = t->code == '.';
  if (r->dotted && !r->owner[0]) memcpy(r->owner, r->named ? "?" : r->word, r->named ? 2 : sizeof r->word);
  else if (r->dotted) memcpy(r->owner, "?", 2);
  else r->owner[0] = 0;
  r->word[0] = 0;
  r->named = r->is_alias = r->locks = 0;
  return t->kind != FPG_OTHER && !(t->flags & FPG_UNTERMINATED);
}

/* only_reads(sql, standard_strings) -> whether the text is one statement that reads and does nothing else */
static int text_only_reads(lua_State *L) {
  size_t len;
  const char *sql = fpg_check_sql(L, 1, "only_reads", &len);
  fpg_lex lx;
  fpg_token t;
  reader r;
  int last = 0, reads = 1;
  memset(&r, 0, sizeof r);
  fpg_lex_init(&lx, sql, len, fpg_opt_standard(L, 2));
  while (reads && fpg_lex_next(&lx, &t)) {
    if (t.kind == FPG_COMMENT) continue;
    reads = take(&r, &t, last);
    last = t.code;
  }
  lua_pushboolean(L, reads && r.begun);
  return 1;
}

void fpg_open_reads(lua_State *L) {
  lua_pushcfunction(L, text_only_reads);
  lua_setfield(L, -2, "only_reads");
}
