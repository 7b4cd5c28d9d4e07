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
 * A value's metatable prints it as the server does, and compares values of one type by that text.
 */
#include "codec_geo.h"

#include "be.h"
#include "value.h"

enum { POINT, LINE, LSEG, BOX, CIRCLE, PATH, POLYGON };

static const struct {
  const char *name, *pattern;
  int numbers;      /* in the binary form; 0: as many as there are points */
  const char *size; /* of the binary form, for messages */
  const char *table;
  fpg_encode_fn *encode;
} shapes[] = {
    [POINT] = {"fastpg.point", "(#x,#y)", 2, "16", "x and y", fpg_point_encode},
    [LINE] = {"fastpg.line", "{#a,#b,#c}", 3, "24", "a, b and c", fpg_line_encode},
    [LSEG] = {"fastpg.lseg", "[@p1,@p2]", 4, "32", "the points p1 and p2", fpg_lseg_encode},
    [BOX] = {"fastpg.box", "@high,@low", 4, "32", "the points high and low", fpg_box_encode},
    [CIRCLE] = {"fastpg.circle", "<@center,#radius>", 3, "24", "center, a point, and radius",
                fpg_circle_encode},
    [PATH] = {"fastpg.path", "(*points)", 0, "5 and 16 per point", "points, a list, and closed",
              fpg_path_encode},
    [POLYGON] = {"fastpg.polygon", "(*points)", 0, "4 and 16 per point", "points, a list",
                 fpg_polygon_encode},
};

/* A part of a pattern. */
typedef struct {
  char kind; /* # @ * or a character of the text */
  const char *name;
  size_t len;
} part;

/* The part at *pattern, which goes on behind it; false at the end. */
static int next_part(const char **pattern, part *out) {
  const char *p = *pattern;
  if (!*p) return 0;
  out->kind = *p++;
  out->name = p;
  if (out->kind == '#' || out->kind == '@' || out->kind == '*')
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

static double read_number(source *s) {
  double v;
  if (!s->text) {
    v = be_f64(s->p);
    s->p += 8;
    return v;
  }
  const char *start = s->p;
  while (s->p < s->end && !memchr(",)]}>", *s->p, 5)) s->p++;
  if (!fpg_float_of_text(start, (size_t)(s->p - start), &v)) fpg_bad_text(s->L, s->type);
  return v;
}

static void read_literal(source *s, char c) {
  if (!s->text) return;
  if (s->p >= s->end || *s->p != c) fpg_bad_text(s->L, s->type);
  s->p++;
}

/* Whether the list has a point behind its first n; in text, goes over the comma. */
static int more_points(source *s, int n) {
  if (!s->text) return n < s->count;
  if (n == 0) return 1;
  if (s->p >= s->end || *s->p != ',') return 0;
  s->p++;
  return 1;
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
    if (part.kind != '#' && part.kind != '@' && part.kind != '*') {
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

static void decode_binary(lua_State *L, const fpg_type *type, const char *p, size_t len,
                          int kind) {
  source s = {L, type, p, p + len, 0, 0};
  int open = 0, header = kind == PATH ? 5 : 4;
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

static void decode_text(lua_State *L, const fpg_type *type, const char *p, size_t len, int kind) {
  source s = {L, type, p, p + len, 1, 0};
  luaL_checkstack(L, 12, "geometry");
  read_shape(&s, kind, kind == PATH && len && *p == '[');
  if (s.p != s.end) fpg_bad_text(L, type);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* False: the part on top is none of the type's.  As a parameter (with cx) that raises. */
static int refuse(lua_State *L, const fpg_ctx *cx, const char *what, const part *part, int kind) {
  if (!cx) return 0;
  int idx = lua_gettop(L);
  lua_pushlstring(L, part->name, part->len);
  const char *name = lua_tostring(L, -1);
  return fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s for %s of a %s", what, name,
                                                   shapes[kind].name + 7));
}

/* Appends the number on top. */
static int put_number(lua_State *L, fpg_buf *out) {
  if (lua_type(L, -1) == LUA_TNUMBER) {
    char text[40];
    fpg_buf_put(L, out, text, fpg_float_text(text, (double)lua_tonumber(L, -1), 0));
    return 1;
  }
  int top = lua_gettop(L), ok = 0;
  if (fpg_is_numeric(L, top) || (lua_type(L, top) == FPG_TCDATA && fpg_push_numeric_of(L, top)))
    ok = fpg_value_text(L, lua_gettop(L), out);
  lua_settop(L, top);
  return ok;
}

static int put_shape(lua_State *L, const fpg_ctx *cx, int kind, int idx, fpg_buf *out);

/* Appends the points of the list on top. */
static int put_points(lua_State *L, const fpg_ctx *cx, const part *part, int kind, fpg_buf *out) {
  int list = lua_gettop(L), n = lua_type(L, list) == LUA_TTABLE ? (int)lua_rawlen(L, list) : 0;
  if (n == 0) return refuse(L, cx, "a list of points", part, kind);
  for (int i = 1; i <= n; i++) {
    if (i > 1) fpg_buf_putc(L, out, ',');
    lua_rawgeti(L, list, i);
    if (lua_type(L, -1) != LUA_TTABLE) return refuse(L, cx, "a point with x and y", part, kind);
    if (!put_shape(L, cx, POINT, list + 1, out)) return 0;
    lua_pop(L, 1);
  }
  return 1;
}

/* Appends the text of the table at idx; leaves things on the stack when it fails. */
static int put_shape(lua_State *L, const fpg_ctx *cx, int kind, int idx, fpg_buf *out) {
  const char *pattern = shapes[kind].pattern;
  part part;
  int open = 0;
  if (kind == PATH) {
    lua_getfield(L, idx, "closed");
    open = !lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  while (next_part(&pattern, &part)) {
    if (part.kind != '#' && part.kind != '@' && part.kind != '*') {
      fpg_buf_putc(L, out, literal(part.kind, open));
      continue;
    }
    lua_pushlstring(L, part.name, part.len);
    lua_gettable(L, idx);
    if (part.kind == '#') {
      if (!put_number(L, out)) return refuse(L, cx, "a number", &part, kind);
    } else if (part.kind == '*') {
      if (!put_points(L, cx, &part, kind, out)) return 0;
    } else if (lua_type(L, -1) != LUA_TTABLE) {
      return refuse(L, cx, "a point with x and y", &part, kind);
    } else if (!put_shape(L, cx, POINT, lua_gettop(L), out)) {
      return 0;
    }
    lua_pop(L, 1);
  }
  return 1;
}

static int encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                  int kind) {
  size_t len;
  luaL_checkstack(L, 20, "geometry");
  if (lua_type(L, idx) == LUA_TSTRING) {
    const char *s = lua_tolstring(L, idx, &len);
    fpg_check_text(L, cx, type, s, len);
    fpg_buf_put(L, out, s, len);
  } else if (lua_type(L, idx) == LUA_TTABLE) {
    put_shape(L, cx, kind, idx, out);
  } else {
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "%s (text, or a table with %s)", type->name,
                                              shapes[kind].table));
  }
  return FPG_TEXT;
}

/* ---- values ------------------------------------------------------------------------------- */

/* Pushes a buffer with the text of the table at idx; NULL when it is none of the kind. */
static fpg_buf *text_of(lua_State *L, int idx, int kind) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 20, "geometry");
  fpg_buf *out = fpg_buf_new(L);
  int ok = put_shape(L, NULL, kind, idx, out);
  lua_settop(L, top + 1);
  return ok ? out : NULL;
}

static int shape_tostring(lua_State *L) {
  int kind = (int)lua_tointeger(L, lua_upvalueindex(1));
  luaL_checktype(L, 1, LUA_TTABLE);
  const fpg_buf *text = text_of(L, 1, kind);
  if (text) lua_pushlstring(L, text->data, text->len);
  else lua_pushfstring(L, "%s: %p", shapes[kind].name, lua_topointer(L, 1));
  return 1;
}

static int shape_eq(lua_State *L) {
  int kind = (int)lua_tointeger(L, lua_upvalueindex(1)), same = 0;
  lua_settop(L, 2);
  if (lua_getmetatable(L, 1) && lua_getmetatable(L, 2) && lua_rawequal(L, -1, -2)) {
    const fpg_buf *a = text_of(L, 1, kind), *b = text_of(L, 2, kind);
    same = a && b && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
  }
  lua_pushboolean(L, same);
  return 1;
}

/* ---- one set of functions per type -------------------------------------------------------- */

#define CODEC(name, kind)                                                                        \
  void fpg_##name##_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,         \
                                  const char *p, size_t len) {                                   \
    (void)cx;                                                                                    \
    decode_binary(L, type, p, len, kind);                                                        \
  }                                                                                              \
  void fpg_##name##_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type,           \
                                const char *p, size_t len) {                                     \
    (void)cx;                                                                                    \
    decode_text(L, type, p, len, kind);                                                          \
  }                                                                                              \
  int fpg_##name##_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,        \
                          fpg_buf *out) {                                                        \
    return encode(L, cx, type, idx, out, kind);                                                  \
  }

CODEC(point, POINT)
CODEC(line, LINE)
CODEC(lseg, LSEG)
CODEC(box, BOX)
CODEC(circle, CIRCLE)
CODEC(path, PATH)
CODEC(polygon, POLYGON)

int fpg_type_is_geometric(const fpg_type *type) {
  for (size_t kind = 0; kind < sizeof shapes / sizeof shapes[0]; kind++)
    if (type->encode == shapes[kind].encode) return 1;
  return 0;
}

void fpg_open_geo(lua_State *L) {
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
