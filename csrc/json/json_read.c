/* SPDX-License-Identifier: MIT
 *
 * json_read.c: JSON text to a Lua value.
 *
 * One loop and a stack of levels instead of recursion, so depth costs no C stack.  The elements of
 * an array, and the keys and values of an object, wait on the Lua stack until it closes; its table
 * is then made in exactly its size, without a rehash:
 *
 *   | scratch | array mt | "a" | 1 | 2 | "b" |        reading {"a": [1, 2, {"b":
 *                          '{'   '['   '{'            level.base of each
 *
 * Past CHUNK of them (or when the Lua stack is long) the table is made early, takes the place of
 * its elements and gets the rest one by one: level.made.
 *
 * A long document can be read in slices: what waits on the stack is kept in a table meanwhile.
 */
#include "json_read.h"

#include "buffer.h"
#include "clock.h"
#include "json_lex.h"
#include "json_mark.h"
#include "json_path.h"
#include "value_numeric.h"

enum { CHUNK = 64, LONG_STACK = 2000, SPARE = 8, UNTIMED = 64 /* values between two looks at the clock */ };

typedef struct level {
  int base;     /* stack index of the first element, or of the table when made */
  size_t count; /* elements, or pairs, so far */
  char open;    /* '[' or '{' */
  char made;
} level;

typedef struct reader {
  lua_State *L;
  const char *what, *start, *p, *end;
  fpg_buf *scratch; /* of strings with escapes, and for fpg_json_skip; made at the first */
  int origin;       /* the stack index of the scratch buffer; the array metatable follows */
  int top, room;    /* as lua_gettop; the top up to which the stack may grow unchecked */
  int depth, blame;
  int untimed; /* read in slices: values until the clock is looked at; else 0 */
  double ends; /* and when the slice is over */
  level levels[FPG_JSON_DEPTH];
} reader;

/* ---- errors ------------------------------------------------------------------------------- */

/* The path of what is being read: the keys of open objects are still on the stack. */
static const char *path(reader *r) {
  lua_State *L = r->L;
  luaL_checkstack(L, SPARE, r->what);
  fpg_buf *b = fpg_buf_new(L);
  fpg_buf_putc(L, b, '$');
  for (int i = 0; i < r->depth; i++) {
    const level *l = &r->levels[i];
    int key = l->made ? l->base + 1 : l->base + 2 * (int)l->count;
    if (!fpg_json_path_shows(L, b, i, r->depth)) continue;
    if (l->open == '[') {
      fpg_json_path_index(L, b, l->count + 1);
    } else if (key <= r->top) {
      size_t len;
      const char *s = lua_tolstring(L, key, &len);
      fpg_json_path_key(L, b, s, len);
    }
  }
  fpg_buf_putc(L, b, 0);
  return b->data;
}

static int fail(reader *r, const char *at, const char *wrong) {
  const char *message = lua_pushfstring(r->L, "%s: %s at %s (byte %d)", r->what, wrong, path(r),
                                        (int)(at - r->start) + 1);
  return fpg_json_raise(r->L, "invalid_json", r->blame, message);
}

/* ---- the stack ---------------------------------------------------------------------------- */

static inline void room(reader *r) {
  if (r->top + SPARE <= r->room) return;
  luaL_checkstack(r->L, 2 * CHUNK, r->what);
  r->room = r->top + 2 * CHUNK;
}

static void open_level(reader *r, char open) {
  level *l = &r->levels[r->depth++];
  l->base = r->top + 1;
  l->count = 0;
  l->open = open;
  l->made = 0;
}

/* The table of a level out of what waits on the stack; takes its place at base. */
static void make(reader *r, level *l) {
  lua_State *L = r->L;
  int n = (int)l->count;
  if (l->open == '[') {
    lua_createtable(L, n, 0);
    lua_pushvalue(L, r->origin + 1);
    lua_setmetatable(L, -2);
    lua_insert(L, l->base);
    for (; n > 0; n--) lua_rawseti(L, l->base, n);
  } else { /* in the order of the text: of equal keys the last wins */
    lua_createtable(L, 0, n);
    for (int i = 0; i < n; i++) {
      lua_pushvalue(L, l->base + 2 * i);
      lua_pushvalue(L, l->base + 2 * i + 1);
      lua_rawset(L, -3);
    }
    if (n) {
      lua_replace(L, l->base);
      lua_settop(L, l->base);
    }
  }
  r->top = l->base;
  l->made = 1;
}

/* The value on top joins the innermost level. */
static inline void store(reader *r, level *l) {
  l->count++;
  if (!l->made) {
    if (l->count == CHUNK || r->top - r->origin > LONG_STACK) make(r, l);
  } else if (l->open == '[') {
    lua_rawseti(r->L, l->base, (int)l->count);
    r->top--;
  } else {
    lua_rawset(r->L, l->base);
    r->top -= 2;
  }
}

static void close_level(reader *r) {
  level *l = &r->levels[r->depth - 1];
  if (!l->made) make(r, l);
  r->depth--;
}

/* ---- strings ------------------------------------------------------------------------------ */

/* The quote or backslash that ends the run of plain text at q. */
static const char *run(reader *r, const char *q) {
  for (;;) {
    q = fpg_json_plain(q, r->end);
    if (q == r->end) fail(r, q, "unfinished string");
    if (*q == '"' || *q == '\\') return q;
    if ((unsigned char)*q < 0x20) fail(r, q, "control character in a string");
    size_t n = fpg_utf8_seq(q, r->end);
    if (!n) fail(r, q, "invalid UTF-8");
    q += n;
  }
}

static size_t put_utf8(char *to, unsigned c) {
  if (c < 0x80) {
    to[0] = (char)c;
    return 1;
  }
  size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3F));
  to[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | c);
  return n;
}

/* \uXXXX at q, or a pair of surrogates: appends it (half a pair as if it were a character) and gives
 * what follows. */
static const char *unicode_escape(reader *r, const char *q) {
  int c = fpg_json_hex4(q + 2, r->end);
  const char *next = q + 6;
  if (c < 0) fail(r, q, "\\u without four hex digits");
  if (c >= 0xD800 && c < 0xDC00 && r->end - next >= 6 && next[0] == '\\' && next[1] == 'u') {
    int low = fpg_json_hex4(next + 2, r->end);
    if (low >= 0xDC00 && low <= 0xDFFF) {
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
      next += 6;
    }
  }
  char utf8[4];
  size_t n = put_utf8(utf8, (unsigned)c);
  fpg_buf_put(r->L, r->scratch, utf8, n);
  return next;
}

static const char *escape(reader *r, const char *q) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (r->end - q < 2) fail(r, r->end, "unfinished string");
  if (q[1] == 'u') return unicode_escape(r, q);
  const char *at = memchr(from, q[1], sizeof from - 1);
  if (!at) fail(r, q, "unknown escape");
  fpg_buf_putc(r->L, r->scratch, to[at - from]);
  return q + 2;
}

static void need_scratch(reader *r) {
  if (!r->scratch) {
    r->scratch = fpg_buf_new(r->L);
    lua_replace(r->L, r->origin);
  }
  r->scratch->len = 0;
}

/* A string from s on whose first backslash is at q. */
static void read_escaped(reader *r, const char *s, const char *q) {
  lua_State *L = r->L;
  need_scratch(r);
  for (; *q != '"'; q = run(r, s)) {
    fpg_buf_put(L, r->scratch, s, (size_t)(q - s));
    s = escape(r, q);
  }
  fpg_buf_put(L, r->scratch, s, (size_t)(q - s));
  lua_pushlstring(L, r->scratch->data, r->scratch->len);
  r->p = q + 1;
}

/* Pushes the string at p, which is a quote. */
static void read_string(reader *r) {
  const char *s = r->p + 1, *q = run(r, s);
  if (*q == '"') {
    lua_pushlstring(r->L, s, (size_t)(q - s));
    r->p = q + 1;
  } else {
    read_escaped(r, s, q);
  }
  r->top++;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static int push_integer(lua_State *L, uint64_t m, int negative) {
#if FPG_HAS_INTEGER
  if (m > (uint64_t)INT64_MAX + (uint64_t)negative) return 0;
  lua_pushinteger(L, (lua_Integer)(negative ? 0 - m : m));
#else
  if (m > (uint64_t)1 << 53) return 0;
  lua_pushnumber(L, negative && m ? -(lua_Number)m : (lua_Number)m);
#endif
  return 1;
}

static void read_number(reader *r) {
  const char *s = r->p, *p = s + (*s == '-');
  const char *digits = p;
  uint64_t m = 0;
  while (p < r->end && *p >= '0' && *p <= '9') m = m * 10 + (uint64_t)(*p++ - '0');
  int whole = p == r->end || (*p != '.' && *p != 'e' && *p != 'E');
  if (!whole || p == digits || (*digits == '0' && p - digits > 1)) p = fpg_json_number(s, r->end);
  if (!p) fail(r, s, "malformed number");
  r->p = p;
  r->top++;
  if (whole && p - digits <= 19 && push_integer(r->L, m, *s == '-')) return;
  double d;
  int exact = fpg_json_double(s, (size_t)(p - s), &d);
  if (exact < 0)
    fpg_json_push_raw(r->L, s, (size_t)(p - s));
  else if (exact)
    lua_pushnumber(r->L, (lua_Number)d);
  else if (!fpg_json_whole(s, (size_t)(p - s), &m) || !push_integer(r->L, m, *s == '-'))
    fpg_push_numeric_text(r->L, s, (size_t)(p - s));
}

/* ---- documents ---------------------------------------------------------------------------- */

static inline int peek(reader *r) {
  const char *p = r->p, *end = r->end;
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
  r->p = p;
  return p < end ? (unsigned char)*p : -1;
}

static void word(reader *r, const char *text, size_t len) {
  if ((size_t)(r->end - r->p) < len || memcmp(r->p, text, len) != 0)
    fail(r, r->p, "unknown word");
  r->p += len;
  r->top++;
}

static void read_key(reader *r) {
  if (peek(r) != '"') fail(r, r->p, "a string key expected");
  read_string(r);
  if (peek(r) != ':') fail(r, r->p, "':' expected");
  r->p++;
}

static void read_null(reader *r) {
  word(r, "null", 4);
  if (r->depth)
    lua_pushlightuserdata(r->L, NULL);
  else
    fpg_push_json_null(r->L);
}

/* A container that is too deep: its text. */
static int read_deep(reader *r) {
  size_t len = (size_t)(r->end - r->p), at;
  need_scratch(r);
  unsigned char *bits = (unsigned char *)fpg_buf_grow(r->L, r->scratch, len / 8 + 1);
  const char *wrong = fpg_json_skip(r->p, len, bits, &at);
  if (wrong) fail(r, r->p + at, wrong);
  fpg_json_push_raw(r->L, r->p, at);
  r->p += at;
  r->top++;
  return 1;
}

/* Opens a container.  True when it is complete, being empty or too deep. */
static int read_open(reader *r, char open) {
  if (r->depth == FPG_JSON_DEPTH) return read_deep(r);
  open_level(r, open);
  r->p++;
  if (peek(r) == (open == '[' ? ']' : '}')) {
    r->p++;
    close_level(r);
    return 1;
  }
  if (open == '{') read_key(r);
  return 0;
}

/* Pushes a scalar or an empty container and is true, or opens a container and is false. */
static int read_value(reader *r) {
  room(r);
  int c = peek(r);
  switch (c) {
  case '"': read_string(r); return 1;
  case '{':
  case '[': return read_open(r, (char)c);
  case 't':
    word(r, "true", 4);
    lua_pushboolean(r->L, 1);
    return 1;
  case 'f':
    word(r, "false", 5);
    lua_pushboolean(r->L, 0);
    return 1;
  case 'n': read_null(r); return 1;
  case -1: return fail(r, r->p, "a value expected, the text ends");
  default:
    if (c != '-' && (c < '0' || c > '9')) return fail(r, r->p, "a value expected");
    read_number(r);
    return 1;
  }
}

/* After a value: closes what closes.  True when another value follows. */
static int read_next(reader *r) {
  while (r->depth) {
    level *l = &r->levels[r->depth - 1];
    store(r, l);
    int c = peek(r);
    if (c == ',') {
      r->p++;
      if (l->open == '{') read_key(r);
      return 1;
    }
    if (c != (l->open == '[' ? ']' : '}'))
      fail(r, r->p, l->open == '[' ? "',' or ']' expected" : "',' or '}' expected");
    r->p++;
    close_level(r);
  }
  return 0;
}

static inline int time_is_over(reader *r) {
  if (!r->untimed || --r->untimed) return 0;
  r->untimed = UNTIMED;
  return fpg_clock() >= r->ends;
}

/* Reads on, to the end of the document or of the slice; whether it was the document's. */
static int read_on(reader *r) {
  do {
    if (time_is_over(r)) return 0;
    while (!read_value(r)) {
    }
  } while (read_next(r));
  if (peek(r) >= 0) fail(r, r->p, "the end of the text expected");
  return 1;
}

static void begin(lua_State *L, reader *r, const char *what, int blame, const char *s, size_t len) {
  r->L = L;
  r->what = what;
  r->start = r->p = s;
  r->end = s + len;
  r->scratch = NULL;
  r->depth = r->untimed = 0;
  r->blame = blame;
  luaL_checkstack(L, SPARE, what);
  lua_pushnil(L);
  fpg_push_array_mt(L);
  r->top = lua_gettop(L);
  r->origin = r->top - 1;
  r->room = 0;
}

static void finish(reader *r) {
  if (r->scratch) fpg_buf_free(r->L, r->scratch);
  lua_replace(r->L, r->origin);
  lua_settop(r->L, r->origin);
}

void fpg_json_read(lua_State *L, const char *what, int blame, const char *s, size_t len) {
  reader r;
  begin(L, &r, what, blame, s, len);
  read_on(&r);
  finish(&r);
}

/* ---- in slices ---------------------------------------------------------------------------- */

/* What waits on the stack goes into a table of its own, the reader's user value. */
static void put_aside(lua_State *L, const reader *r, int idx) {
  int n = r->top - r->origin + 1;
  lua_settop(L, r->top);
  luaL_checkstack(L, SPARE, r->what);
  lua_createtable(L, n, 0);
  lua_insert(L, r->origin);
  for (int i = n; i > 0; i--) lua_rawseti(L, r->origin, i);
  fpg_setuservalue(L, idx);
}

static void take_back(lua_State *L, reader *r, int idx) {
  int n = r->top - r->origin + 1, moved = lua_gettop(L) + 1 - r->origin;
  luaL_checkstack(L, n + 2 * SPARE, r->what);
  fpg_getuservalue(L, idx);
  for (int i = 1; i <= n; i++) lua_rawgeti(L, r->origin + moved, i);
  lua_remove(L, r->origin + moved);
  for (int i = 0; i < r->depth; i++) r->levels[i].base += moved;
  r->L = L;
  r->origin += moved;
  r->top = r->room = lua_gettop(L);
}

void fpg_json_begin(lua_State *L, const char *what, const char *s, size_t len) {
  reader *r = fpg_newuserdata(L, sizeof *r);
  begin(L, r, what, 0, s, len);
  put_aside(L, r, r->origin - 1);
}

int fpg_json_more(lua_State *L, int idx, double ends) {
  reader *r = lua_touserdata(L, idx);
  take_back(L, r, idx);
  r->untimed = UNTIMED;
  r->ends = ends;
  int over = read_on(r);
  if (over)
    finish(r);
  else
    put_aside(L, r, idx);
  return over;
}
