/* SPDX-License-Identifier: MIT
 *
 * codec_array.c: arrays, as lists that carry the array metatable of JSON: an empty one stays [].
 *
 * Binary (array_send): int32 dimensions, int32 has-nulls, uint32 element oid, then per dimension
 * int32 length and int32 lower bound, then per element int32 length (-1 is NULL) and its bytes.
 * Text (array_out): [l:u]={a,"b c",NULL,{...}}; a quoted element escapes by backslash.  Between
 * boxes the server puts a semicolon.
 * Written in binary where every element has a binary form, else as text, which the server reads for
 * every element type.
 */
#include "codec_array.h"

#include "array_info.h"
#include "be.h"
#include "buffer.h"
#include "clock.h"
#include "escape.h"
#include "json_mark.h"
#include "number.h"
#include "raise.h"

#define MAX_DIMENSIONS 6 /* MAXDIM of PostgreSQL's c.h */

char fpg_array_delimiter(const fpg_type *type) { return type->elem->traits & FPG_SEMICOLON ? ';' : ','; }

static void mark_array(lua_State *L) {
  fpg_push_array_mt(L);
  lua_setmetatable(L, -2);
}

/* ---- binary ------------------------------------------------------------------------------- */

typedef struct {
  const char *p, *end;
  int dims[MAX_DIMENSIONS], lower[MAX_DIMENSIONS];
  int ndim;
  fpg_decode_fn *decode;
  const fpg_type *type, *elem;
} reader;

static int read_i32(lua_State *L, reader *r) {
  if (r->end - r->p < 4) fpg_bad_length(L, r->type, "more", 0);
  int v = be_i32(r->p);
  r->p += 4;
  return v;
}

/* Pushes the next element. */
static void read_element(lua_State *L, const fpg_ctx *cx, reader *r) {
  int len = read_i32(L, r);
  if (len < -1 || (len > 0 && len > r->end - r->p))
    fpg_bad_length(L, r->type, "more", (size_t)(r->end - r->p));
  if (len < 0) {
    lua_pushlightuserdata(L, NULL);
  } else {
    r->decode(L, cx, r->elem, r->p, (size_t)len);
    r->p += len;
  }
}

/* Fills the list on top with n elements.  Those of the commonest types are read here: a call for each costs as much as
 * its value.  What is out of the ordinary (NULL, another length) read_element looks at. */
static void read_elements(lua_State *L, const fpg_ctx *cx, reader *r, int n) {
  int kind = r->elem->traits & FPG_READ_BY_USER ? FPG_KIND_OTHER : r->elem->kind;
  for (int i = 1; i <= n; i++) {
    int64_t left = r->end - r->p - 4;
    int32_t len = left >= 0 ? be_i32(r->p) : -1;
    const char *p = r->p + 4;
    if (kind == FPG_KIND_INT4 && len == 4 && left >= 4)
      lua_pushinteger(L, be_i32(p));
    else if (kind == FPG_KIND_FLOAT8 && len == 8 && left >= 8)
      lua_pushnumber(L, be_f64(p));
    else if (kind == FPG_KIND_TEXT && len >= 0 && left >= len)
      lua_pushlstring(L, p, (size_t)len);
    else
      len = -1;
    if (len < 0) read_element(L, cx, r);
    else r->p = p + len;
    lua_rawseti(L, -2, i);
  }
}

static void read_level(lua_State *L, const fpg_ctx *cx, reader *r, int level) {
  int n = r->dims[level];
  luaL_checkstack(L, 4, "array");
  lua_createtable(L, n, 0);
  mark_array(L);
  if (level + 1 == r->ndim) {
    read_elements(L, cx, r, n);
    return;
  }
  for (int i = 1; i <= n; i++) {
    read_level(L, cx, r, level + 1);
    lua_rawseti(L, -2, i);
  }
}

/* Whether it has elements. */
static int read_head(lua_State *L, reader *r, const fpg_type *type, const char *p, size_t len) {
  *r = (reader){.p = p, .end = p + len, .type = type, .elem = type->elem};
  r->ndim = read_i32(L, r);
  read_i32(L, r); /* has-nulls: each element says so itself */
  uint32_t oid = (uint32_t)read_i32(L, r);
  if (r->ndim < 0 || r->ndim > MAX_DIMENSIONS || oid != type->elem->oid)
    fpg_raise(L, "protocol_violation", "%s: unexpected array header", type->name);
  r->decode = type->elem->decode_binary;
  int64_t total = 1;
  for (int i = 0; i < r->ndim; i++) {
    r->dims[i] = read_i32(L, r);
    r->lower[i] = read_i32(L, r);
    total *= r->dims[i];
    /* each element takes four bytes at least: a header that promises more is a lie */
    if (r->dims[i] < 0 || total > (r->end - r->p) / 4 + MAX_DIMENSIONS * 8)
      fpg_raise(L, "protocol_violation", "%s: unexpected array header", type->name);
  }
  return r->ndim > 0 && total > 0; /* as array_recv: without elements there are no dimensions */
}

/* The list is on top. */
static void read_end(lua_State *L, const reader *r) {
  fpg_keep_array_info(L, r->lower, r->ndim, fpg_type_takes_lists(r->elem));
  if (r->p != r->end) fpg_bad_length(L, r->type, "fewer", (size_t)(r->end - r->p));
}

void fpg_array_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  if (len >= FPG_LONG_VALUE && fpg_push_ready(L, cx, p)) return;
  reader r;
  if (read_head(L, &r, type, p, len)) {
    read_level(L, cx, &r, 0);
    read_end(L, &r);
    return;
  }
  lua_newtable(L);
  mark_array(L);
  if (r.p != r.end) fpg_bad_length(L, type, "fewer", len);
}

/* In slices: the lists that are not full yet are in the user value, from the outermost on. */
typedef struct {
  reader r;
  int open, filled[MAX_DIMENSIONS];
} slices;

enum { UNTIMED = 64 }; /* elements between two looks at the clock */

static void open_list(lua_State *L, slices *s) {
  lua_createtable(L, s->r.dims[s->open], 0);
  mark_array(L);
  s->filled[s->open++] = 0;
}

void fpg_array_begin(lua_State *L, const fpg_type *type, const char *p, size_t len) {
  slices *s = fpg_newuserdata(L, sizeof *s);
  s->open = 0;
  if (!read_head(L, &s->r, type, p, len)) fpg_bad_length(L, type, "fewer", len); /* (a long one has elements) */
  lua_createtable(L, MAX_DIMENSIONS, 0);
  open_list(L, s);
  lua_rawseti(L, -2, 1);
  fpg_setuservalue(L, -2);
}

/* Fills lists until the outermost is full, or the time over: what is open is on the stack. */
static int fill_lists(lua_State *L, const fpg_ctx *cx, slices *s, double ends) {
  for (int untimed = UNTIMED;; untimed--) {
    int level = s->open - 1;
    if (s->filled[level] == s->r.dims[level]) {
      if (level == 0) return 1;
      s->open--;
      lua_rawseti(L, -2, ++s->filled[level - 1]);
    } else if (s->open < s->r.ndim) {
      open_list(L, s);
    } else {
      read_element(L, cx, &s->r);
      lua_rawseti(L, -2, ++s->filled[level]);
    }
    if (untimed > 0) continue;
    untimed = UNTIMED;
    if (fpg_clock() >= ends) return 0;
  }
}

int fpg_array_more(lua_State *L, const fpg_ctx *cx, int idx, double ends) {
  slices *s = lua_touserdata(L, idx);
  luaL_checkstack(L, MAX_DIMENSIONS + 8, "array");
  fpg_getuservalue(L, idx);
  int lists = lua_gettop(L);
  for (int i = 1; i <= s->open; i++) lua_rawgeti(L, lists, i);
  int over = fill_lists(L, cx, s, ends);
  if (over) {
    read_end(L, &s->r);
    lua_remove(L, lists);
    return 1;
  }
  for (int i = s->open; i > 0; i--) lua_rawseti(L, lists, i);
  lua_pop(L, 1);
  return 0;
}

/* ---- text --------------------------------------------------------------------------------- */

typedef struct {
  const char *p, *end;
  const fpg_type *type;
  fpg_buf *word;
  int leaf; /* the level of the elements */
  char delimiter;
} text_reader;

/* Finds the end of an element, and whether it has escapes. */
static const char *element_end(const text_reader *r, int quoted, int *escapes) {
  *escapes = 0;
  for (const char *p = r->p; p < r->end; p++) {
    if (quoted ? *p == '"' : (*p == r->delimiter || *p == '}')) return p;
    if (*p == '\\') {
      *escapes = 1;
      p++;
    }
  }
  return NULL;
}

/* The bytes from r->p to end without their backslashes. */
static void unescape(lua_State *L, text_reader *r, const char *end) {
  r->word->len = 0;
  for (const char *p = r->p; p < end; p++) {
    if (*p == '\\') p++;
    fpg_buf_putc(L, r->word, *p);
  }
}

/* One element: quoted, or bare up to the delimiter or }.  Pushes its value. */
static void text_element(lua_State *L, const fpg_ctx *cx, text_reader *r) {
  int quoted = *r->p == '"', escapes;
  r->p += quoted;
  const char *end = element_end(r, quoted, &escapes), *p = r->p;
  if (!end) fpg_bad_text(L, r->type);
  size_t len = (size_t)(end - p);
  if (!quoted && len == 4 && memcmp(p, "NULL", 4) == 0) {
    lua_pushlightuserdata(L, NULL);
  } else {
    if (escapes) {
      unescape(L, r, end);
      p = r->word->data;
      len = r->word->len;
    }
    r->type->elem->decode_text(L, cx, r->type->elem, p, len);
  }
  r->p = end + quoted;
}

static void text_level(lua_State *L, const fpg_ctx *cx, text_reader *r, int depth) {
  if (depth > MAX_DIMENSIONS || r->p >= r->end || *r->p != '{') fpg_bad_text(L, r->type);
  luaL_checkstack(L, 4, "array");
  lua_newtable(L);
  mark_array(L);
  r->p++;
  for (int i = 1; r->p < r->end && *r->p != '}'; i++) {
    if ((*r->p == '{') != (depth < r->leaf)) fpg_bad_text(L, r->type);
    if (depth < r->leaf)
      text_level(L, cx, r, depth + 1);
    else
      text_element(L, cx, r);
    lua_rawseti(L, -2, i);
    if (r->p < r->end && *r->p == r->delimiter)
      r->p++;
    else if (r->p >= r->end || *r->p != '}')
      fpg_bad_text(L, r->type);
  }
  if (r->p >= r->end) fpg_bad_text(L, r->type);
  r->p++;
}

/* The digits before the colon of a bound, "[-2:" without its bracket; false when there are none. */
static int read_bound(const char *p, const char *end, int *bound) {
  int64_t v = 0;
  int negative = p < end && *p == '-';
  const char *first = p += negative;
  for (; p < end && *p >= '0' && *p <= '9' && p - first < 10; p++) v = v * 10 + (*p - '0');
  if (p == first || p == end || *p != ':' || v > (int64_t)INT32_MAX + negative) return 0;
  *bound = (int)(negative ? -v : v);
  return 1;
}

/* [0:2][1:3]= in front of an array whose lower bounds are not all 1: how many there are. */
static int read_bounds(lua_State *L, text_reader *r, int *lower) {
  int n = 0;
  for (; r->p < r->end && *r->p == '['; n++) {
    if (n == MAX_DIMENSIONS) fpg_bad_text(L, r->type);
    if (!read_bound(r->p + 1, r->end, &lower[n])) fpg_bad_text(L, r->type);
    r->p = memchr(r->p, ']', (size_t)(r->end - r->p));
    if (!r->p) fpg_bad_text(L, r->type);
    r->p++;
  }
  if (n && (r->p >= r->end || *r->p++ != '=')) fpg_bad_text(L, r->type);
  return n;
}

/* The braces an array begins with. */
static int depth_of(const char *p, size_t len) {
  int depth = 0;
  while ((size_t)depth < len && depth < MAX_DIMENSIONS && p[depth] == '{') depth++;
  return depth;
}

void fpg_array_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  text_reader r = {p, p + len, type, NULL, 0, fpg_array_delimiter(type)};
  int lower[MAX_DIMENSIONS] = {1, 1, 1, 1, 1, 1}, ndim = read_bounds(L, &r, lower);
  r.word = fpg_buf_new(L);
  r.leaf = depth_of(r.p, (size_t)(r.end - r.p));
  text_level(L, cx, &r, 1);
  if (r.p != r.end) fpg_bad_text(L, type);
  fpg_buf_free(L, r.word);
  lua_remove(L, -2);
  if (!ndim) ndim = len == 2 ? 0 : r.leaf; /* an empty one has no dimension */
  fpg_keep_array_info(L, lower, ndim, fpg_type_takes_lists(type->elem));
}

/* ---- writing ------------------------------------------------------------------------------ */

/* While an array is written: how long the lists of each level are (-1: not met yet), at which level
 * the elements are (0: not met yet), where we are. */
typedef struct {
  const fpg_type *type;
  fpg_buf *out;
  fpg_ctx cx; /* its path is `path` below, for messages */
  int dims[MAX_DIMENSIONS], path[MAX_DIMENSIONS];
  int leaf_level;
  int said_dims; /* by fastpg.array or by the server; 0: look at the tables */
  int binary;    /* the form; 0 after an element was met that has no binary form */
  size_t elements;
} writer;

enum { NO_LENGTH = -1 };

/* The field n, as table.pack sets it; 0 without one, NO_LENGTH where it can't be one. */
static int64_t promised(lua_State *L, int idx) {
  int64_t n = 0;
  lua_pushliteral(L, "n");
  lua_rawget(L, idx);
  if (!lua_isnil(L, -1) && (lua_type(L, -1) != LUA_TNUMBER || !fpg_to_int64(L, -1, &n) || n < 0 || n > INT32_MAX))
    n = NO_LENGTH;
  lua_pop(L, 1);
  return n;
}

/* Whether the table at idx, at that level, is a list of elements.  For json and the like every table
 * is an element unless more dimensions were said; so is one that has names only, as { year = 2024, … }
 * for a date. */
static int is_list(lua_State *L, const writer *w, int idx, int level) {
  if (fpg_type_takes_lists(w->type->elem)) return level < w->said_dims;
  lua_pushnil(L);
  if (!lua_next(L, idx)) return !fpg_type_takes_tables(w->type->elem);
  int first = lua_type(L, -2);
  lua_rawgeti(L, idx, 1);
  int list = first == LUA_TNUMBER || !lua_isnil(L, -1);
  lua_pop(L, 3);
  return list || (promised(L, idx) && !fpg_type_takes_tables(w->type->elem));
}

/* Whether fastpg made the list, or was told that it is one (fastpg.array): its n is the program's. */
static int is_ours(lua_State *L, int idx) {
  int ours = 0;
  if (lua_getmetatable(L, idx)) {
    ours = fpg_is_array_mt(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  if (ours) return 1;
  ours = fpg_push_array_info(L, idx);
  lua_pop(L, 1);
  return ours;
}

/* The length of a list: its greatest key or its n.  Other keys are refused, and holes that n does not
 * stand for.  An n beyond the greatest key may come out of somebody's JSON: only that of a list of ours
 * is believed. */
static int list_length(lua_State *L, const writer *w, int idx) {
  int64_t max = 0, count = 0, k, n = promised(L, idx);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (fpg_to_int64(L, -1, &k) && k >= 1) {
      if (k > max) max = k;
      count++;
    } else if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "n") != 0) {
      fpg_refuse(L, &w->cx, lua_pushfstring(L, "a list for %s expected, got %s", w->type->name, fpg_describe(L, idx)));
    }
  }
  if (n == NO_LENGTH)
    fpg_refuse(L, &w->cx, lua_pushfstring(L, "a list for %s expected, got one whose n is no length", w->type->name));
  if (n > max && !is_ours(L, idx))
    fpg_refuse(L, &w->cx,
               lua_pushfstring(L, "a list for %s expected, got one whose n is beyond its last position: "
                                  "fastpg.array(list) takes n as the length (fastpg.args(list, n) is for "
                                  "the arguments of a statement)", w->type->name));
  if (n && n >= max) return (int)n;
  if (max != count)
    fpg_refuse(
        L, &w->cx,
        lua_pushfstring(L, "a list without holes for %s expected (fastpg.null stands for NULL)",
                        w->type->name));
  return (int)max;
}

/* Where an array can't go on as it began: {1, {2}} or {{1}, {2, 3}}. */
static int ragged(lua_State *L, const writer *w, const char *what) {
  return fpg_refuse(L, &w->cx,
                    lua_pushfstring(L, "%s: all lists of one level must have the same length%s",
                                    w->type->name, what));
}

/* In quotes, a backslash goes before a quote and a backslash. */
static const fpg_escapes backslashed = {"\"\\", '\\'};

static void write_element(lua_State *L, writer *w, int idx) {
  fpg_buf_putc(L, w->out, '"');
  size_t start = w->out->len;
  fpg_encode_text(L, &w->cx, w->type->elem, idx, w->out);
  fpg_escape_from(L, w->out, start, &backslashed);
  fpg_buf_putc(L, w->out, '"');
}

/* int32 length and bytes. */
static void write_binary_element(lua_State *L, writer *w, int idx) {
  size_t at = w->out->len;
  fpg_buf_grow(L, w->out, 4);
  if (!fpg_encode_binary(L, &w->cx, w->type->elem, idx, w->out)) {
    w->binary = 0;
    return;
  }
  size_t len = w->out->len - at - 4;
  if (len > INT32_MAX) fpg_refuse(L, &w->cx, "an element is over 2 GB");
  be_put32(w->out->data + at, (uint32_t)len);
}

static void write_level(lua_State *L, writer *w, int idx, int level);

/* The value on top: an element, NULL, or a list that is one level deeper. */
static void write_child(lua_State *L, writer *w, int level) {
  int idx = lua_gettop(L);
  if (lua_type(L, idx) == LUA_TTABLE && is_list(L, w, idx, level + 1)) {
    if (w->leaf_level == level + 1) ragged(L, w, ", here is a list among elements");
    write_level(L, w, idx, level + 1);
    return;
  }
  if (level + 1 < MAX_DIMENSIONS && w->dims[level + 1] >= 0)
    ragged(L, w, ", here is an element among lists");
  w->leaf_level = level + 1;
  w->elements++;
  if (fpg_is_null(L, idx))
    fpg_buf_put(L, w->out, w->binary ? "\xff\xff\xff\xff" : "NULL", 4);
  else if (w->binary)
    write_binary_element(L, w, idx);
  else
    write_element(L, w, idx);
}

static void write_level(lua_State *L, writer *w, int idx, int level) {
  if (level == MAX_DIMENSIONS)
    fpg_refuse(L, &w->cx, "an array has at most 6 dimensions (a table inside itself?)");
  luaL_checkstack(L, 8, "array");
  int n = list_length(L, w, idx);
  if (w->dims[level] < 0) w->dims[level] = n;
  if (w->dims[level] != n) ragged(L, w, lua_pushfstring(L, " (%d, here %d)", w->dims[level], n));
  char delim = fpg_array_delimiter(w->type);
  int binary = w->binary;
  if (!binary) fpg_buf_putc(L, w->out, '{');
  for (int i = 1; i <= n && w->binary == binary; i++) {
    if (i > 1 && !binary) fpg_buf_putc(L, w->out, delim);
    w->path[level] = i;
    w->cx.depth = level + 1;
    lua_rawgeti(L, idx, i);
    write_child(L, w, level);
    lua_pop(L, 1);
  }
  w->cx.depth = level;
  if (!binary) fpg_buf_putc(L, w->out, '}');
}

/* What was said of the list at idx; the lower bounds stay on the stack, nil where there are none. */
static void push_said(lua_State *L, writer *w, int idx) {
  if (!fpg_push_array_info(L, idx)) return;
  lua_getfield(L, -1, "dims");
  w->said_dims = (int)lua_tonumber(L, -1);
  lua_pop(L, 1);
  lua_getfield(L, -1, "lower");
  lua_remove(L, -2);
}

/* The lower bound of a dimension; the list of them, or nil, is at idx. */
static int64_t lower_bound(lua_State *L, int idx, int dimension) {
  int64_t lower = 1;
  if (lua_isnil(L, idx)) return lower;
  lua_rawgeti(L, idx, dimension + 1);
  fpg_to_int64(L, -1, &lower);
  lua_pop(L, 1);
  return lower;
}

/* Puts `head` before what was written from `start` on. */
static void put_before(lua_State *L, fpg_buf *out, size_t start, const fpg_buf *head) {
  size_t len = out->len - start;
  fpg_buf_grow(L, out, head->len);
  memmove(out->data + start + head->len, out->data + start, len);
  memcpy(out->data + start, head->data, head->len);
}

/* [0:2][1:3]= */
static void put_bounds(lua_State *L, writer *w, size_t start, int said) {
  fpg_buf *head = fpg_buf_new(L);
  for (int i = 0; i < MAX_DIMENSIONS && w->dims[i] >= 0; i++) {
    int64_t lower = lower_bound(L, said, i);
    fpg_buf_putc(L, head, '[');
    fpg_buf_putint(L, head, lower);
    fpg_buf_putc(L, head, ':');
    fpg_buf_putint(L, head, lower + w->dims[i] - 1);
    fpg_buf_putc(L, head, ']');
  }
  fpg_buf_putc(L, head, '=');
  put_before(L, w->out, start, head);
  fpg_buf_free(L, head);
  lua_pop(L, 1);
}

static void put_header(lua_State *L, writer *w, size_t start, int said) {
  fpg_buf *head = fpg_buf_new(L);
  int ndim = 0;
  while (w->elements && ndim < MAX_DIMENSIONS && w->dims[ndim] >= 0) ndim++;
  char *p = fpg_buf_grow(L, head, 12 + 8 * (size_t)ndim);
  be_put32(p, (uint32_t)ndim);
  be_put32(p + 4, 1); /* there may be NULLs: the server looks itself */
  be_put32(p + 8, w->type->elem->oid);
  for (int i = 0; i < ndim; i++) {
    be_put32(p + 12 + 8 * i, (uint32_t)w->dims[i]);
    be_put32(p + 16 + 8 * i, (uint32_t)lower_bound(L, said, i));
  }
  put_before(L, w->out, start, head);
  fpg_buf_free(L, head);
  lua_pop(L, 1);
}

/* Writes the list at idx in one form; 0 when that was binary and an element has none. */
static int write_array(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                       int binary) {
  if (lua_type(L, idx) != LUA_TTABLE)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "a list for %s", type->name));
  size_t start = out->len;
  writer w = {.type = type, .out = out, .cx = *cx, .binary = binary};
  w.cx.path = w.path;
  w.cx.depth = 0;
  for (int i = 0; i < MAX_DIMENSIONS; i++) w.dims[i] = -1;
  luaL_checkstack(L, 8, "array");
  push_said(L, &w, idx);
  int said = lua_gettop(L);
  write_level(L, &w, idx, 0);
  if (w.binary != binary) {
    out->len = start;
  } else if (binary) {
    put_header(L, &w, start, said);
  } else if (!w.elements) { /* {{},{}} has no form but {} */
    out->len = start;
    fpg_buf_put(L, out, "{}", 2);
  } else if (!lua_isnil(L, said)) {
    put_bounds(L, &w, start, said);
  }
  lua_pop(L, 1);
  return w.binary == binary;
}

int fpg_array_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                          fpg_buf *out) {
  write_array(L, cx, type, idx, out, 0);
  return FPG_TEXT;
}

int fpg_array_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (fpg_type_has_binary(type->elem) && write_array(L, cx, type, idx, out, 1)) return FPG_BINARY;
  return fpg_array_encode_text(L, cx, type, idx, out);
}
