/* SPDX-License-Identifier: MIT
 *
 * container.c: arrays, as lists that carry the array metatable of JSON: an empty one stays [].
 *
 * Binary (array_send): int32 dimensions, int32 has-nulls, uint32 element oid, then per dimension
 * int32 length and int32 lower bound, then per element int32 length (-1 is NULL) and its bytes.
 * Text (array_out): [l:u]={a,"b c",NULL,{...}}; a quoted element escapes by backslash.  Between
 * boxes the server puts a semicolon.
 * Written as text always, which the server reads for every element type.
 */
#include <stdlib.h>

#include "be.h"
#include "json.h"
#include "types.h"

#define MAX_DIMENSIONS 6 /* MAXDIM of PostgreSQL's c.h */

enum { BYTEA = 17, BOX = 603 };

static char delimiter(const fpg_type *type) { return type->elem->oid == BOX ? ';' : ','; }

static void mark_array(lua_State *L) {
  fpg_push_array_mt(L);
  lua_setmetatable(L, -2);
}

/* ---- binary ------------------------------------------------------------------------------- */

typedef struct {
  const char *p, *end;
  int dims[MAX_DIMENSIONS];
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

static void read_level(lua_State *L, const fpg_ctx *cx, reader *r, int level) {
  int n = r->dims[level];
  luaL_checkstack(L, 4, "array");
  lua_createtable(L, n, 0);
  mark_array(L);
  for (int i = 1; i <= n; i++) {
    if (level + 1 < r->ndim) {
      read_level(L, cx, r, level + 1);
    } else {
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
    lua_rawseti(L, -2, i);
  }
}

void fpg_array_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  reader r = {p, p + len, {0}, 0, NULL, type, type->elem};
  r.ndim = read_i32(L, &r);
  read_i32(L, &r); /* has-nulls: each element says so itself */
  uint32_t oid = (uint32_t)read_i32(L, &r);
  if (r.ndim < 0 || r.ndim > MAX_DIMENSIONS || oid != type->elem->oid)
    fpg_raise(L, "protocol_violation", "%s: unexpected array header", type->name);
  r.decode = type->elem->decode_binary;
  int64_t total = 1;
  for (int i = 0; i < r.ndim; i++) {
    r.dims[i] = read_i32(L, &r);
    read_i32(L, &r); /* lower bound */
    total *= r.dims[i];
    /* each element takes four bytes at least: a header that promises more is a lie */
    if (r.dims[i] < 0 || total > (r.end - r.p) / 4 + MAX_DIMENSIONS * 8)
      fpg_raise(L, "protocol_violation", "%s: unexpected array header", type->name);
  }
  if (r.ndim == 0) {
    lua_newtable(L);
    mark_array(L);
  } else {
    read_level(L, cx, &r, 0);
  }
  if (r.p != r.end) fpg_bad_length(L, type, "fewer", len);
}

/* ---- text --------------------------------------------------------------------------------- */

typedef struct {
  const char *p, *end;
  const fpg_type *type;
  fpg_buf *word;
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
    if (*r->p == '{')
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

void fpg_array_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len) {
  text_reader r = {p, p + len, type, NULL, delimiter(type)};
  if (len && *p == '[') { /* [0:2]={...}: lower bounds other than 1 */
    r.p = memchr(p, '=', len);
    if (!r.p) fpg_bad_text(L, type);
    r.p++;
  }
  r.word = fpg_buf_new(L);
  text_level(L, cx, &r, 1);
  if (r.p != r.end) fpg_bad_text(L, type);
  fpg_buf_free(L, r.word);
  lua_remove(L, -2);
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
  size_t elements;
} writer;

/* Whether the table at idx is a list of elements.  For json it is an element; so is one that has
 * names only, as { year = 2024, … } for a date. */
static int is_list(lua_State *L, const writer *w, int idx) {
  if (fpg_type_takes_tables(w->type->elem)) return 0;
  lua_pushnil(L);
  if (!lua_next(L, idx)) return 1;
  int first = lua_type(L, -2);
  lua_rawgeti(L, idx, 1);
  int list = first == LUA_TNUMBER || !lua_isnil(L, -1);
  lua_pop(L, 3);
  return list;
}

/* The field n, as table.pack sets it; 0 without one. */
static int64_t promised(lua_State *L, int idx) {
  int64_t n = 0;
  lua_pushliteral(L, "n");
  lua_rawget(L, idx);
  if (!fpg_to_int64(L, -1, &n) || n < 0 || n > INT32_MAX) n = 0;
  lua_pop(L, 1);
  return n;
}

/* The length of a list: its greatest key or its n.  Other keys are refused, and holes that n does not
 * stand for. */
static int list_length(lua_State *L, const writer *w, int idx) {
  int64_t max = 0, count = 0, k, n = promised(L, idx);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (fpg_to_int64(L, -1, &k) && k >= 1) {
      if (k > max) max = k;
      count++;
    } else if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "n") != 0) {
      fpg_bad_value(L, &w->cx, idx, lua_pushfstring(L, "a list for %s", w->type->name));
    }
  }
  if (n >= max) return (int)n;
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

/* Escapes what was written from `start` on, in place. */
static void quote_from(lua_State *L, fpg_buf *b, size_t start) {
  size_t special = 0;
  for (size_t i = start; i < b->len; i++) special += b->data[i] == '"' || b->data[i] == '\\';
  if (!special) return;
  size_t from = b->len;
  fpg_buf_grow(L, b, special);
  for (size_t to = b->len; to > from;) {
    char c = b->data[--from];
    b->data[--to] = c;
    if (c == '"' || c == '\\') b->data[--to] = '\\';
  }
}

static void write_element(lua_State *L, writer *w, int idx) {
  const fpg_type *elem = w->type->elem;
  fpg_buf_putc(L, w->out, '"');
  size_t start = w->out->len;
  if (lua_type(L, idx) == LUA_TSTRING && !fpg_type_takes_tables(elem) && elem->oid != BYTEA) {
    size_t len;
    const char *s = lua_tolstring(L, idx, &len);
    fpg_check_text(L, &w->cx, elem, s, len);
    fpg_buf_put(L, w->out, s, len);
  } else {
    elem->encode_text(L, &w->cx, elem, idx, w->out);
  }
  quote_from(L, w->out, start);
  fpg_buf_putc(L, w->out, '"');
}

static void write_level(lua_State *L, writer *w, int idx, int level);

/* The value on top: an element, NULL, or a list that is one level deeper. */
static void write_child(lua_State *L, writer *w, int level) {
  int idx = lua_gettop(L);
  if (lua_type(L, idx) == LUA_TTABLE && is_list(L, w, idx)) {
    if (w->leaf_level == level + 1) ragged(L, w, ", here is a list among elements");
    write_level(L, w, idx, level + 1);
    return;
  }
  if (level + 1 < MAX_DIMENSIONS && w->dims[level + 1] >= 0)
    ragged(L, w, ", here is an element among lists");
  w->leaf_level = level + 1;
  w->elements++;
  if (fpg_is_null(L, idx))
    fpg_buf_put(L, w->out, "NULL", 4);
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
  char delim = delimiter(w->type);
  fpg_buf_putc(L, w->out, '{');
  for (int i = 1; i <= n; i++) {
    if (i > 1) fpg_buf_putc(L, w->out, delim);
    w->path[level] = i;
    w->cx.depth = level + 1;
    lua_rawgeti(L, idx, i);
    write_child(L, w, level);
    lua_pop(L, 1);
  }
  w->cx.depth = level;
  fpg_buf_putc(L, w->out, '}');
}

int fpg_array_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TTABLE)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "a list for %s", type->name));
  size_t start = out->len;
  writer w = {.type = type, .out = out, .cx = *cx};
  w.cx.path = w.path;
  w.cx.depth = 0;
  for (int i = 0; i < MAX_DIMENSIONS; i++) w.dims[i] = -1;
  write_level(L, &w, idx, 0);
  if (!w.elements) { /* {{},{}} has no form but {} */
    out->len = start;
    fpg_buf_put(L, out, "{}", 2);
  }
  return FPG_TEXT;
}
