/* SPDX-License-Identifier: MIT
 *
 * moment.c: strings such as 'now', which mean the time at which they are read.
 *
 * PostgreSQL manual: "Special Values" of Date/Time Types.
 */
#include <string.h>

#include "compat.h"
#include "lex.h"
#include "sql_argument.h"

/* The characters of a string's token, as far as words of letters are concerned: what separates letters is 0, what an
 * array's or a composite value's text may have around or between them (backslashes, double quotes) is left out. */
typedef struct reader {
  const char *p, *end;
  int backslashes; /* '...' in which they escape */
  int dollar;      /* $$...$$ */
  int numbers;     /* an escape by number (\x6e, \156, \u006e): any letter */
} reader;

static void begin_reading(reader *r, const fpg_token *t, int standard_strings) {
  r->p = t->p;
  r->end = t->p + t->len;
  r->backslashes = *t->p == 'E' || *t->p == 'e' || (*t->p == '\'' && !standard_strings);
  r->dollar = *t->p == '$';
  r->numbers = 0;
  if (r->dollar) {
    const char *tag = memchr(r->p + 1, '$', t->len - 1);
    if (tag) r->p = tag + 1;
  } else {
    while (r->p < r->end && *r->p != '\'') r->p++;
    if (r->p < r->end) r->p++;
  }
}

/* Behind a quote that ends a line of the string: behind the one that begins the next, comments apart. */
static void skip_to_next_line(reader *r) {
  while (r->p < r->end && *r->p != '\'') {
    if (*r->p == '-')
      while (r->p < r->end && *r->p != '\n' && *r->p != '\r') r->p++;
    else
      r->p++;
  }
  if (r->p < r->end) r->p++;
}

/* Behind a backslash that escapes. */
static int read_escape(reader *r) {
  char c = r->p < r->end ? *r->p++ : 0;
  if (c == 'x' || c == 'u' || c == 'U' || (c >= '0' && c <= '7')) r->numbers = 1;
  return c == 'b' || c == 'f' || c == 'n' || c == 'r' || c == 't' ? 0 : c;
}

/* The next character in lower case, 0 for one that is no letter; -1 at the end. */
static int next_letter(reader *r) {
  while (r->p < r->end) {
    int c = *r->p++;
    if (c == '\'' && !r->dollar) {
      if (r->p < r->end && *r->p == '\'') {
        r->p++;
        return 0;
      }
      skip_to_next_line(r);
      continue;
    }
    if (c == '\\' && r->backslashes) c = read_escape(r);
    if (c == '\\' || c == '"') continue;
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c : 0;
  }
  return -1;
}

/* Whether the string has one of the words that a date's text turns into the time at which it is read, or may have:
 * where letters are written as numbers. */
static int names_a_moment(const fpg_token *t, int standard_strings) {
  static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
  char word[10];
  size_t n = 0;
  int c;
  reader r;
  if (t->flags & FPG_UNICODE) return 1; /* UESCAPE, behind it, says what its escapes look like */
  begin_reading(&r, t, standard_strings);
  do {
    c = next_letter(&r);
    if (c > 0) {
      if (n < sizeof word - 1) word[n] = (char)c;
      n++;
      continue;
    }
    if (n < sizeof word) {
      word[n] = 0;
      for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
        if (strcmp(word, words[k]) == 0) return 1;
    }
    n = 0;
  } while (c >= 0);
  return r.numbers;
}

/* names_moment(sql, standard_strings) -> whether a string in it may be a date such as 'now', or an array or another value
 * with such dates, which a prepared statement would keep as it was when it was prepared. */
static int text_names_moment(lua_State *L) {
  size_t len;
  const char *sql = luaL_checklstring(L, 1, &len);
  int standard_strings = lua_toboolean(L, 2);
  fpg_lex lx;
  fpg_token t;
  int found = 0;
  fpg_lex_init(&lx, sql, len, standard_strings);
  while (!found && fpg_lex_next(&lx, &t)) found = t.kind == FPG_STRING && names_a_moment(&t, standard_strings);
  lua_pushboolean(L, found);
  return 1;
}

void fpg_open_moment(lua_State *L) {
  lua_pushcfunction(L, text_names_moment);
  lua_setfield(L, -2, "names_moment");
}
