/* SPDX-License-Identifier: MIT
 *
 * codec_geo.c: geometric types, as tables of their parts.
 *
 * Each type is a pattern, from which everything follows: its table, its text, its binary form (the
 * numbers in the pattern's order, as float8).  In a pattern `#x` is a number, the field x; `@p` a
 * point; `*points` a list of points; all else is the text between them.  What is not in the
 * pattern: before its points, a polygon has in binary their number as int32, and a path a byte
 * (1: closed) and then the number; the text of an open path is in brackets instead of parentheses.
 *
 * Tables are sent in binary, and so are strings that are spelled by the pattern.  A value's metatable
 * prints it as the server does, and compares the numbers of two values of one type as the server
 * compares float8: 0 equals -0, NaN equals NaN.
 */
#include "codec_geo.h"

#include <math.h>

#include "be.h"
#include "buffer.h"
#include "float_text.h"
#include "value.h"
#include "value_numeric.h"

/* Which shape a type is. */
enum { POINT, LINE, LSEG, BOX, CIRCLE, PATH, POLYGON };

static int shape_of(const fpg_type *type) { return type->kind - FPG_KIND_POINT; }

_Static_assert(FPG_KIND_POLYGON - FPG_KIND_POINT == POLYGON && FPG_KIND_BOX - FPG_KIND_POINT == BOX,
               "types and shapes come in one order");

static const struct {
  const char *name, *pattern;
  int numbers;      /* in the binary form; 0: as many as there are points */
  const char *size; /* of the binary form, for messages */
  const char *table;
} shapes[] = {
    [POINT] = {"fastpg.point", "(#x,#y)", 2, "16", "x and y"},
    [LINE] = {"fastpg.line", "{#a,#b,#c}", 3, "24", "a, b and c"},
    [LSEG] = {"fastpg.lseg", "[@p1,@p2]", 4, "32", "the points p1 and p2"},
    [BOX] = {"fastpg.box", "@high,@low", 4, "32", "the points high and low"},
    [CIRCLE] = {"fastpg.circle", "<@center,#radius>", 3, "24", "center, a point, and radius"},
    [PATH] = {"fastpg.path", "(*points)", 0, "5 and 16 per point", "points, a list, and closed"},
    [POLYGON] = {"fastpg.polygon", "(*points)", 0, "4 and 16 per point", "points, a list"},
};

/* A part of a pattern. */
typedef struct {
  char kind; /* # @ * or a character of the text */
  const char *name;
  size_t len;
} part;

static int is_field(const part *part) {
  return part->kind == '#' || part->kind == '@' || part->kind == '*';
}

/* The part at *pattern, which goes on behind it; false at the end. */
static int next_part(const char **pattern, part *out) {
  const char *p = *pattern;
  if (!*p) return 0;
  out->kind = *p++;
  out->name = p;
  if (is_field(out))
    while ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')) p++;
  out->len = (size_t)(p - out->name);
  *pattern = p;
  return 1;
}

/* The character of the text, of an open path in its brackets. */
static char literal(char c, int open) {
  if (open) return c == '(' ? '[' : ']';
  return c;
}

/* ---- reading ------------------------------------------------------------------------------ */

typedef struct {
  lua_State *L;
  const fpg_type *type;
  const char *p, *end;
  int text;
  int count; /* of a binary form: how many points; its length is checked */
} source;

/* The number of a text; 0 when it is none. */
static int take_number(source *s, double *v) {
  const char *start = s->p;
  while (s->p < s->end && !memchr(",)]}>", *s->p, 5)) s->p++;
  return fpg_double_of_text(start, (size_t)(s->p - start), v);
}

static double read_number(source *s) {
  double v;
  if (!s->text) {
    v = be_f64(s->p);
    s->p += 8;
  } else if (!take_number(s, &v)) {
    fpg_bad_text(s->L, s->type);
  }
  return v;
}

/* Goes over a character of the text; 0 when it is another. */
static int take_literal(source *s, char c) {
  if (s->p >= s->end || *s->p != c) return 0;
  s->p++;
  return 1;
}

static void read_literal(source *s, char c) {
  if (s->text && !take_literal(s, c)) fpg_bad_text(s->L, s->type);
}

/* Whether the list has a point behind its first n; in text, goes over the comma. */
static int more_points(source *s, int n) {
  if (!s->text) return n < s->count;
  return n == 0 || take_literal(s, ',');
}

static void read_shape(source *s, int kind, int open);

static void read_points(source *s) {
  lua_createtable(s->L, s->count, 0);
  for (int n = 0; more_points(s, n); n++) {
    read_shape(s, POINT, 0);
    lua_rawseti(s->L, -2, n + 1);
  }
}

/* Pushes the table. */
static void read_shape(source *s, int kind, int open) {
  lua_State *L = s->L;
  const char *pattern = shapes[kind].pattern;
  part part;
  lua_createtable(L, 0, kind == PATH ? 2 : shapes[kind].numbers);
  while (next_part(&pattern, &part)) {
    if (!is_field(&part)) {
      read_literal(s, literal(part.kind, open));
      continue;
    }
    lua_pushlstring(L, part.name, part.len);
    if (part.kind == '#') lua_pushnumber(L, read_number(s));
    else if (part.kind == '@') read_shape(s, POINT, 0);
    else read_points(s);
    lua_rawset(L, -3);
  }
  if (kind == PATH) {
    lua_pushboolean(L, !open);
    lua_setfield(L, -2, "closed");
  }
  luaL_setmetatable(L, shapes[kind].name);
}

void fpg_geo_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  source s = {L, type, p, p + len, 0, 0};
  (void)cx;
  int kind = shape_of(type), open = 0, header = kind == PATH ? 5 : 4;
  if (shapes[kind].numbers) {
    if (len != 8 * (size_t)shapes[kind].numbers) fpg_bad_length(L, type, shapes[kind].size, len);
  } else {
    if (len < (size_t)header || len > INT32_MAX) fpg_bad_length(L, type, shapes[kind].size, len);
    s.p += header;
    s.count = be_i32(s.p - 4);
    if (s.count < 0 || len - (size_t)header != 16 * (size_t)s.count)
      fpg_bad_length(L, type, shapes[kind].size, len);
    open = kind == PATH && !*p;
  }
  luaL_checkstack(L, 12, "geometry");
  read_shape(&s, kind, open);
}

void fpg_geo_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  source s = {L, type, p, p + len, 1, 0};
  (void)cx;
  int kind = shape_of(type);
  luaL_checkstack(L, 12, "geometry");
  read_shape(&s, kind, kind == PATH && len && *p == '[');
  if (s.p != s.end) fpg_bad_text(L, type);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Where a table's parts go, in which form. */
typedef struct {
  lua_State *L;
  const fpg_ctx *cx; /* NULL: what is wrong is no error */
  fpg_buf *out;
  int binary;
  int no_float; /* in binary a numeric was met that no float8 holds */
} sink;

static void put_literal(sink *s, char c) {
  if (!s->binary) fpg_buf_putc(s->L, s->out, c);
}

/* (There is one NaN only.) */
static void put_double(lua_State *L, fpg_buf *out, double v) {
  be_putf64(fpg_buf_grow(L, out, 8), isnan(v) ? (double)NAN : v);
}

/* False: the part on top is none of the type's.  As a parameter (with cx) that raises. */
static int refuse(sink *s, const char *what, const part *part, int kind) {
  lua_State *L = s->L;
  if (!s->cx) return 0;
  int idx = lua_gettop(L);
  lua_pushlstring(L, part->name, part->len);
  const char *name = lua_tostring(L, -1);
  return fpg_bad_value(L, s->cx, idx, lua_pushfstring(L, "%s for %s of a %s", what, name,
                                                      shapes[kind].name + 7));
}

/* The server refuses the text of a numeric that overflows or turns into zero. */
static void put_numeric(sink *s, int idx) {
  const fpg_num *n = lua_touserdata(s->L, idx);
  if (!s->binary) {
    fpg_value_text(s->L, idx, s->out);
    return;
  }
  double v = fpg_num_double(n);
  s->no_float |= fpg_num_finite(n) && (isinf(v) || (v == 0 && n->ndigits > 0));
  put_double(s->L, s->out, v);
}

/* Appends the number on top. */
static int put_number(sink *s) {
  lua_State *L = s->L;
  int top = lua_gettop(L), is = 1;
  if (lua_type(L, top) == LUA_TNUMBER) {
    char text[40];
    double v = (double)lua_tonumber(L, top);
    if (s->binary) put_double(L, s->out, v);
    else fpg_buf_put(L, s->out, text, fpg_float_text(text, v, 0));
  } else if (fpg_is_numeric(L, top) ||
             (lua_type(L, top) == FPG_TCDATA && fpg_push_numeric_of(L, top))) {
    put_numeric(s, lua_gettop(L));
  } else {
    is = 0;
  }
  lua_settop(L, top);
  return is;
}

static int put_shape(sink *s, int kind, int idx);

/* Appends the points of the list on top. */
static int put_points(sink *s, const part *part, int kind) {
  lua_State *L = s->L;
  int list = lua_gettop(L), n = lua_type(L, list) == LUA_TTABLE ? (int)lua_rawlen(L, list) : 0;
  if (n == 0) return refuse(s, "a list of points", part, kind);
  if (s->binary) be_put32(fpg_buf_grow(L, s->out, 4), (uint32_t)n);
  for (int i = 1; i <= n; i++) {
    if (i > 1) put_literal(s, ',');
    lua_rawgeti(L, list, i);
    if (lua_type(L, -1) != LUA_TTABLE) return refuse(s, "a point with x and y", part, kind);
    if (!put_shape(s, POINT, list + 1)) return 0;
    lua_pop(L, 1);
  }
  return 1;
}

/* The part on top. */
static int put_part(sink *s, const part *part, int kind) {
  if (part->kind == '#') return put_number(s) || refuse(s, "a number", part, kind);
  if (part->kind == '*') return put_points(s, part, kind);
  if (lua_type(s->L, -1) != LUA_TTABLE) return refuse(s, "a point with x and y", part, kind);
  return put_shape(s, POINT, lua_gettop(s->L));
}

/* Appends the table at idx; leaves things on the stack when it fails. */
static int put_shape(sink *s, int kind, int idx) {
  lua_State *L = s->L;
  const char *pattern = shapes[kind].pattern;
  part part;
  int open = 0;
  if (kind == PATH) {
    lua_getfield(L, idx, "closed");
    open = !lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (s->binary) fpg_buf_putc(L, s->out, (char)!open);
  }
  while (next_part(&pattern, &part)) {
    if (!is_field(&part)) {
      put_literal(s, literal(part.kind, open));
      continue;
    }
    lua_pushlstring(L, part.name, part.len);
    lua_gettable(L, idx);
    if (!put_part(s, &part, kind)) return 0;
    lua_pop(L, 1);
  }
  return 1;
}

static int encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                  int binary) {
  size_t start = out->len;
  int kind = shape_of(type);
  sink s = {L, cx, out, binary, 0};
  luaL_checkstack(L, 20, "geometry");
  if (lua_type(L, idx) == LUA_TSTRING) {
    fpg_put_text(L, cx, type, idx, out);
    return FPG_TEXT;
  }
  if (lua_type(L, idx) != LUA_TTABLE)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s (text, or a table with %s)", type->name,
                                              shapes[kind].table));
  put_shape(&s, kind, idx);
  if (!s.no_float) return binary ? FPG_BINARY : FPG_TEXT;
  out->len = start;
  return encode(L, cx, type, idx, out, 0);
}

int fpg_geo_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  return encode(L, cx, type, idx, out, 1);
}

int fpg_geo_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  return encode(L, cx, type, idx, out, 0);
}

/* ---- packing ------------------------------------------------------------------------------ */

/* Whether the text from p to end is a float8 to the server: what overflows, or turns into zero, is
 * none. */
static int in_range(const char *p, const char *end, double v) {
  if (isinf(v)) return end[-1] == 'y';
  if (v != 0) return 1;
  for (; p < end && *p != 'e'; p++)
    if (*p >= '1' && *p <= '9') return 0;
  return 1;
}

static int pack_shape(source *s, int kind, int open, fpg_buf *out);

static int pack_points(source *s, fpg_buf *out) {
  size_t at = out->len;
  int n = 0;
  fpg_buf_grow(s->L, out, 4);
  for (; more_points(s, n); n++)
    if (!pack_shape(s, POINT, 0, out)) return 0;
  be_put32(out->data + at, (uint32_t)n);
  return 1;
}

/* Appends the binary form of the text at s; 0 when that is not as the pattern says. */
static int pack_shape(source *s, int kind, int open, fpg_buf *out) {
  const char *pattern = shapes[kind].pattern, *start;
  part part;
  double v;
  if (kind == PATH) fpg_buf_putc(s->L, out, (char)!open);
  while (next_part(&pattern, &part)) {
    start = s->p;
    if (!is_field(&part)) {
      if (!take_literal(s, literal(part.kind, open))) return 0;
    } else if (part.kind == '@') {
      if (!pack_shape(s, POINT, 0, out)) return 0;
    } else if (part.kind == '*') {
      if (!pack_points(s, out)) return 0;
    } else {
      if (!take_number(s, &v) || !in_range(start, s->p, v)) return 0;
      put_double(s->L, out, v);
    }
  }
  return 1;
}

/* A line without a direction, a circle whose radius is negative: the server's error names its text. */
static int is_shape(int kind, const char *p) {
  const double epsilon = 1e-6; /* of geo_decls.h */
  if (kind == CIRCLE) return !(be_f64(p + 16) < 0);
  return kind != LINE || fabs(be_f64(p)) > epsilon || fabs(be_f64(p + 8)) > epsilon;
}

int fpg_geo_pack(lua_State *L, const fpg_type *type, const char *p, size_t len, fpg_buf *out) {
  source s = {L, type, p, p + len, 1, 0};
  int kind = shape_of(type);
  size_t start = out->len;
  return pack_shape(&s, kind, kind == PATH && len && *p == '[', out) && s.p == s.end &&
         is_shape(kind, out->data + start);
}

/* ---- values ------------------------------------------------------------------------------- */

/* Pushes a buffer with the table at idx in one form; NULL when it is none of the kind. */
static fpg_buf *form_of(lua_State *L, int idx, int kind, int binary) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 20, "geometry");
  sink s = {L, NULL, fpg_buf_new(L), binary, 0};
  int ok = put_shape(&s, kind, idx);
  lua_settop(L, top + 1);
  return ok ? s.out : NULL;
}

static int shape_tostring(lua_State *L) {
  int kind = (int)lua_tointeger(L, lua_upvalueindex(1));
  luaL_checktype(L, 1, LUA_TTABLE);
  const fpg_buf *text = form_of(L, 1, kind, 0);
  if (text) lua_pushlstring(L, text->data, text->len);
  else lua_pushfstring(L, "%s: %p", shapes[kind].name, lua_topointer(L, 1));
  return 1;
}

/* Whether two binary forms have the same numbers. */
static int same_shape(const fpg_buf *a, const fpg_buf *b, int kind) {
  size_t at = shapes[kind].numbers ? 0 : kind == PATH ? 5 : 4;
  if (a->len != b->len || memcmp(a->data, b->data, at) != 0) return 0;
  for (; at < a->len; at += 8) {
    double x = be_f64(a->data + at), y = be_f64(b->data + at);
    if (x != y && !(isnan(x) && isnan(y))) return 0;
  }
  return 1;
}

static int shape_eq(lua_State *L) {
  int kind = (int)lua_tointeger(L, lua_upvalueindex(1)), same = 0;
  lua_settop(L, 2);
  if (lua_getmetatable(L, 1) && lua_getmetatable(L, 2) && lua_rawequal(L, -1, -2)) {
    const fpg_buf *a = form_of(L, 1, kind, 1), *b = form_of(L, 2, kind, 1);
    same = a && b && same_shape(a, b, kind);
  }
  lua_pushboolean(L, same);
  return 1;
}

void fpg_open_codec_geo(lua_State *L) {
  for (int kind = 0; kind < (int)(sizeof shapes / sizeof shapes[0]); kind++) {
    luaL_newmetatable(L, shapes[kind].name);
    lua_pushstring(L, shapes[kind].name);
    lua_setfield(L, -2, "__name");
    lua_pushinteger(L, kind);
    lua_pushcclosure(L, shape_tostring, 1);
    lua_setfield(L, -2, "__tostring");
    lua_pushinteger(L, kind);
    lua_pushcclosure(L, shape_eq, 1);
    lua_setfield(L, -2, "__eq");
    lua_pop(L, 1);
  }
}
