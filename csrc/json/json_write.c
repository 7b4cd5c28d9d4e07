/* SPDX-License-Identifier: MIT
 *
 * json_write.c: a Lua value to JSON text.
 *
 * One loop and a stack of nodes, as in json_read.c.  A table becomes a node; `advance` writes the
 * separator and the key of its next child and pushes the child:
 *
 *   PLAIN  not begun: the first key decides between SEQ and OBJECT, no key is {}
 *   SEQ    an array whose keys come as 1, 2, 3, ... out of lua_next, which proves that there are no
 *          others in the same pass; when they come in another order all keys are checked, and the
 *          rest is written as INDEX
 *   INDEX  an array of n elements
 *   OBJECT string keys
 *   ROW    the columns of a shape in their order, then REST, the other keys
 *
 * Each node holds two slots of the Lua stack (ROW four): the table, [columns, index,] the key.
 * No metamethod is called.
 */
#include "json_write.h"

#include "buffer.h"
#include "json_lex.h"
#include "json_mark.h"
#include "json_path.h"
#include "json_put.h"
#include "number.h"
#include "raise.h"
#include "value.h"

enum { PLAIN, SEQ, INDEX, OBJECT, ROW, REST };

typedef struct node {
  const void *self; /* identity of the table, to find cycles */
  int idx, key;     /* stack indices of the table and of the key of the current child */
  size_t i, n;      /* elements or columns: begun, in all */
  size_t found;     /* columns that are not NULL */
  unsigned char kind;
  unsigned char marked; /* an array by its metatable: may have a field n */
  unsigned char padded; /* a nil element is null, because n says so */
  unsigned char twins;  /* columns of one name, of which the last counts */
  unsigned char partial; /* an absent column is left out */
} node;

typedef struct writer {
  lua_State *L;
  fpg_buf *b;
  int param, strict, depth;
  const void *mt; /* the metatable looked at last, and what it means */
  int mt_kind, mt_twins, mt_partial;
  node nodes[FPG_JSON_DEPTH];
} writer;

static const char both_kinds[] =
    "a table with keys of both kinds (a list has 1..n, an object has strings)";

/* What a metatable says of its table. */
enum { MT_NONE, MT_ARRAY, MT_ROW, MT_ROWS };

/* ---- errors ------------------------------------------------------------------------------- */

/* The path to the child that the first `depth` nodes are at. */
static const char *path(writer *w, int depth) {
  lua_State *L = w->L;
  fpg_buf *b = fpg_buf_new(L);
  fpg_buf_putc(L, b, '$');
  for (int i = 0; i < depth; i++) {
    const node *d = &w->nodes[i];
    size_t len;
    if (!fpg_json_path_shows(L, b, i, depth)) continue;
    if (d->kind == SEQ || d->kind == INDEX) {
      fpg_json_path_index(L, b, d->i);
    } else {
      const char *s = lua_tolstring(L, d->key, &len);
      fpg_json_path_key(L, b, s, len);
    }
  }
  fpg_buf_putc(L, b, 0);
  return b->data;
}

/* Raises "$2: json: what at $.a[3].b". */
static int fail_at(writer *w, int depth, const char *what) {
  lua_State *L = w->L;
  const char *where = path(w, depth);
  const char *message = w->param > 0
                            ? lua_pushfstring(L, "$%d: json: %s at %s", w->param, what, where)
                            : lua_pushfstring(L, "json: %s at %s", what, where);
  return fpg_json_raise(L, "invalid_argument", 1, message);
}

static int fail(writer *w, const char *what) { return fail_at(w, w->depth, what); }

static int fail_type(writer *w, const char *type) {
  return fail(w, lua_pushfstring(w->L, "%s has no JSON form", type));
}

/* ---- scalars ------------------------------------------------------------------------------ */

static inline void put_char(writer *w, char c) {
  *fpg_json_reserve(w->L, w->b, 1) = c;
  w->b->len++;
}

/* The string at idx, which is the value or the key of the current child: `what` says which. */
static void put_lua_string(writer *w, int idx, const char *what) {
  size_t len;
  const char *s = lua_tolstring(w->L, idx, &len);
  if (fpg_json_put_string(w->L, w->b, s, len, w->strict)) return;
  fail(w, lua_pushfstring(w->L, "%s that is not UTF-8%s", what, w->strict ? " or has a zero byte" : ""));
}

static void put_number(writer *w, int idx) {
#if FPG_HAS_INTEGER
  if (lua_isinteger(w->L, idx)) {
    fpg_json_put_integer(w->L, w->b, (int64_t)lua_tointeger(w->L, idx));
    return;
  }
#else
  double v = (double)lua_tonumber(w->L, idx);
  if (v >= -9007199254740992.0 && v <= 9007199254740992.0 && v == (double)(int64_t)v) {
    fpg_json_put_integer(w->L, w->b, (int64_t)v);
    return;
  }
#endif
  if (!fpg_json_put_float(w->L, w->b, (double)lua_tonumber(w->L, idx)))
    fail(w, "NaN or Infinity has no JSON form");
}

/* ---- objects of fastpg -------------------------------------------------------------------- */

/* 2024-02-29 10:00:00+00 [BC] as to_json of the server writes it: 2024-02-29T10:00:00+00:00. */
static void put_timestamp(writer *w, const char *s, size_t len, int zone) {
  const char *space = memchr(s, ' ', len), *end = s + len;
  put_char(w, '"');
  if (space) { /* else infinity */
    fpg_buf_put(w->L, w->b, s, (size_t)(space - s));
    put_char(w, 'T');
    const char *bc = memchr(space + 1, ' ', (size_t)(end - space - 1));
    const char *stop = bc ? bc : end, *sign = stop - 1;
    while (sign > space && *sign != '+' && *sign != '-') sign--;
    fpg_buf_put(w->L, w->b, space + 1, (size_t)(stop - space - 1));
    if (zone && stop - sign == 3) fpg_buf_puts(w->L, w->b, ":00");
    s = stop;
  }
  fpg_buf_put(w->L, w->b, s, (size_t)(end - s));
  put_char(w, '"');
}

static void put_numeric(writer *w, const char *s, size_t len) {
  char last = len ? s[len - 1] : 'N';
  if (last < '0' || last > '9') fail(w, "numeric NaN or Infinity has no JSON form");
  fpg_buf_put(w->L, w->b, s, len);
}

/* The value object at idx; false when it is none. */
static int put_value(writer *w, int idx) {
  lua_State *L = w->L;
  fpg_buf *text = fpg_buf_new(L);
  int kind = fpg_value_text(L, idx, text);
  if (kind == FPG_V_NUMERIC)
    put_numeric(w, text->data, text->len);
  else if (kind == FPG_V_TIMESTAMP || kind == FPG_V_TIMESTAMPTZ)
    put_timestamp(w, text->data, text->len, kind == FPG_V_TIMESTAMPTZ);
  else if (kind && !fpg_json_put_string(L, w->b, text->data, text->len, 1))
    fail(w, "text that is not UTF-8 or has a zero byte"); /* a range of text is what someone wrote */
  fpg_buf_free(L, text);
  lua_pop(L, 1);
  return kind != 0;
}

static void put_userdata(writer *w, int idx) {
  lua_State *L = w->L;
  fpg_push_json_null(L);
  int null = lua_rawequal(L, idx, -1);
  lua_pop(L, 1);
  if (null) {
    fpg_buf_put(L, w->b, "null", 4);
    return;
  }
  const fpg_json_raw *raw = luaL_testudata(L, idx, FPG_JSON_TEXT_MT);
  if (raw)
    fpg_buf_put(L, w->b, raw->text, raw->len);
  else if (!put_value(w, idx))
    fail_type(w, fpg_describe(L, idx));
}

/* ---- tables ------------------------------------------------------------------------------- */

/* A row and a list of rows both have a shape; the name of the metatable tells, or else the keys. */
static int kind_of_shape(lua_State *L, int mt, int idx) {
  lua_pushliteral(L, "__name");
  lua_rawget(L, mt);
  const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  int row = strcmp(name, "fastpg.row") == 0, rows = strcmp(name, "fastpg.rows") == 0;
  lua_pop(L, 1);
  if (!row && !rows) {
    lua_pushnil(L);
    if (lua_next(L, idx)) {
      row = lua_type(L, -2) == LUA_TSTRING;
      lua_pop(L, 2);
    }
  }
  return row ? MT_ROW : MT_ROWS;
}

/* Whether the metatable belongs to instances made by hand: what they lack is unset, not NULL. */
static int is_partial(lua_State *L, int mt) {
  lua_pushliteral(L, "partial");
  lua_rawget(L, mt);
  int partial = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return partial;
}

/* Pushes shape.columns and shape.index of the metatable at mt; false, and pushes nothing, when it
 * has no shape. */
static int push_shape(lua_State *L, int mt) {
  lua_pushliteral(L, "shape");
  lua_rawget(L, mt);
  if (lua_type(L, -1) == LUA_TTABLE) {
    lua_pushliteral(L, "columns");
    lua_rawget(L, -2);
    lua_pushliteral(L, "index");
    lua_rawget(L, -3);
    lua_remove(L, -3);
    if (lua_type(L, -1) == LUA_TTABLE && lua_type(L, -2) == LUA_TTABLE) return 1;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 0;
}

/* Whether columns share a name; columns and index are on top. */
static int has_twins(lua_State *L) {
  int columns = lua_gettop(L) - 1, twins = 0;
  for (int i = (int)lua_rawlen(L, columns); i > 0 && !twins; i--) {
    lua_rawgeti(L, columns, i);
    lua_rawget(L, columns + 1);
    twins = lua_tointeger(L, -1) != i;
    lua_pop(L, 1);
  }
  return twins;
}

/* The metatable on top belongs to the table at idx: pops it and pushes columns and index of a row,
 * nothing else. */
static int classify(writer *w, int idx) {
  lua_State *L = w->L;
  int mt = lua_gettop(L);
  const void *p = lua_topointer(L, mt);
  if (p == w->mt && w->mt_kind != MT_ROW) {
    lua_pop(L, 1);
    return w->mt_kind;
  }
  int kind = MT_NONE;
  if (push_shape(L, mt)) {
    kind = p == w->mt ? MT_ROW : kind_of_shape(L, mt, idx);
    if (kind == MT_ROWS) {
      lua_pop(L, 2);
    } else if (p != w->mt) {
      w->mt_twins = has_twins(L);
      w->mt_partial = is_partial(L, mt);
    }
  } else if (fpg_is_array_mt(L, mt)) {
    kind = MT_ARRAY;
  }
  lua_remove(L, mt);
  w->mt = p;
  w->mt_kind = kind;
  return kind;
}

/* The table on top becomes a node. */
static void begin_table(writer *w) {
  lua_State *L = w->L;
  if (w->depth == FPG_JSON_DEPTH) fail(w, "nested too deeply");
  luaL_checkstack(L, 16, "json");
  node *d = &w->nodes[w->depth];
  d->self = lua_topointer(L, -1);
  for (int i = 0; i < w->depth; i++)
    if (w->nodes[i].self == d->self) fail(w, "a table inside itself");
  d->idx = lua_gettop(L);
  d->i = d->n = 0;
  d->kind = PLAIN;
  d->marked = d->padded = 0;
  int kind = lua_getmetatable(L, d->idx) ? classify(w, d->idx) : MT_NONE;
  if (kind == MT_ARRAY || kind == MT_ROWS) {
    d->kind = SEQ;
    d->marked = 1;
    put_char(w, '[');
  } else if (kind == MT_ROW) {
    d->kind = ROW;
    d->n = lua_rawlen(L, -2);
    d->found = 0;
    d->twins = (unsigned char)w->mt_twins;
    d->partial = (unsigned char)w->mt_partial;
    put_char(w, '{');
  }
  lua_pushnil(L);
  d->key = lua_gettop(L);
  w->depth++;
}

static void end_table(writer *w) {
  node *d = &w->nodes[--w->depth];
  put_char(w, d->kind == SEQ || d->kind == INDEX ? ']' : '}');
  lua_settop(w->L, d->idx - 1);
}

/* The number of elements that the field n promises, 0 without one. */
static size_t promised(writer *w, const node *d) {
  lua_pushliteral(w->L, "n");
  lua_rawget(w->L, d->idx);
  int64_t n = 0;
  if (!fpg_to_int64(w->L, -1, &n) || n < 0 || n > INT32_MAX) n = 0;
  lua_pop(w->L, 1);
  return (size_t)n;
}

/* Checks that the keys of an array are 1..n, whatever order they come in, and counts them. */
static void check_array(writer *w, node *d) {
  lua_State *L = w->L;
  size_t count = 0, most = 0, n = d->marked ? promised(w, d) : 0;
  lua_pushnil(L);
  while (lua_next(L, d->idx)) {
    int64_t k;
    lua_pop(L, 1);
    if (fpg_to_int64(L, -1, &k) && k >= 1) {
      count++;
      if ((uint64_t)k > most) most = (size_t)k;
    } else if (!(d->marked && lua_type(L, -1) == LUA_TSTRING &&
                 strcmp(lua_tostring(L, -1), "n") == 0)) {
      fail_at(w, w->depth - 1, both_kinds);
    }
  }
  if (most > count && most > n)
    fail_at(w, w->depth - 1,
            "a list with holes (fastpg.null stands for null; string keys make an object)");
  d->padded = n > 0;
  d->n = n > most ? n : most;
  d->kind = INDEX;
}

/* Each of these pushes the next child and is true, or false at the end. */

static int next_index(writer *w, node *d) {
  lua_State *L = w->L;
  while (d->i < d->n) {
    if (d->i++) put_char(w, ',');
    lua_rawgeti(L, d->idx, (int)d->i);
    if (!lua_isnil(L, -1)) return 1;
    lua_pop(L, 1);
    fpg_buf_put(L, w->b, "null", 4);
  }
  return 0;
}

/* The pair on top is the next of an array. */
static int element(writer *w, node *d) {
  lua_State *L = w->L;
  if (lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) == (lua_Number)(d->i + 1)) {
    if (d->i++) put_char(w, ',');
    return 1;
  }
  lua_pop(L, 1);
  check_array(w, d);
  return next_index(w, d);
}

/* The pair on top is the next of an object. */
static int member(writer *w, node *d) {
  int type = lua_type(w->L, -2);
  if (type == LUA_TNUMBER) fail_at(w, w->depth - 1, both_kinds);
  if (type != LUA_TSTRING)
    fail_at(w, w->depth - 1, lua_pushfstring(w->L, "a key that is a %s", lua_typename(w->L, type)));
  if (d->i++) put_char(w, ',');
  put_lua_string(w, -2, "a key");
  put_char(w, ':');
  return 1;
}

static int next_plain(writer *w, node *d) {
  int any = lua_next(w->L, d->idx);
  int list = any && lua_type(w->L, -2) == LUA_TNUMBER;
  d->kind = list ? SEQ : OBJECT;
  put_char(w, list ? '[' : '{');
  return any && (list ? element(w, d) : member(w, d));
}

/* The keys of a row that are no columns. */
static int next_rest(writer *w, node *d) {
  lua_State *L = w->L;
  while (lua_next(L, d->idx)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, d->idx + 2);
    int column = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!column) return member(w, d);
    lua_pop(L, 1);
  }
  return 0;
}

/* After the columns of a row: true when it has other keys. */
static int has_rest(lua_State *L, const node *d) {
  size_t keys = 0;
  lua_pushnil(L);
  while (lua_next(L, d->idx)) {
    keys++;
    lua_pop(L, 1);
  }
  return keys != d->found;
}

/* The key on top is column i: false when a later column has the same name. */
static int counts(lua_State *L, const node *d) {
  if (!d->twins) return 1;
  lua_pushvalue(L, -1);
  lua_rawget(L, d->idx + 2);
  int last = lua_tointeger(L, -1) == (lua_Integer)d->i;
  lua_pop(L, 1);
  return last;
}

static int next_column(writer *w, node *d) {
  lua_State *L = w->L;
  while (d->i < d->n) {
    lua_settop(L, d->key - 1);
    lua_rawgeti(L, d->idx + 1, (int)++d->i);
    if (lua_type(L, -1) != LUA_TSTRING || !counts(L, d)) continue;
    lua_pushvalue(L, d->key);
    lua_rawget(L, d->idx);
    int null = lua_isnil(L, -1);
    if (null && d->partial) continue;
    if (w->b->data[w->b->len - 1] != '{') put_char(w, ',');
    put_lua_string(w, d->key, "a column's name");
    put_char(w, ':');
    d->found += !null;
    if (!null) return 1;
    fpg_buf_put(L, w->b, "null", 4);
  }
  lua_settop(L, d->key - 1);
  if (!has_rest(L, d)) return 0;
  lua_pushnil(L);
  d->kind = REST;
  d->i = w->b->data[w->b->len - 1] != '{';
  return next_rest(w, d);
}

static int advance(writer *w) {
  node *d = &w->nodes[w->depth - 1];
  switch (d->kind) {
  case PLAIN: return next_plain(w, d);
  case SEQ: return lua_next(w->L, d->idx) && element(w, d);
  case OBJECT: return lua_next(w->L, d->idx) && member(w, d);
  case INDEX: return next_index(w, d);
  case ROW: return next_column(w, d);
  default: return next_rest(w, d);
  }
}

/* ---- values ------------------------------------------------------------------------------- */

static void put_cdata(writer *w, int idx) {
  int64_t v;
  if (!fpg_to_int64(w->L, idx, &v)) fail_type(w, "cdata that is no integer of 64 bits with sign");
  fpg_json_put_integer(w->L, w->b, v);
}

/* Writes and pops the scalar on top and is true; a table becomes a node. */
static int put_scalar(writer *w) {
  lua_State *L = w->L;
  int top = lua_gettop(L), t = lua_type(L, top);
  switch (t) {
  case LUA_TSTRING: put_lua_string(w, top, "text"); break;
  case LUA_TNUMBER: put_number(w, top); break;
  case LUA_TTABLE: begin_table(w); return 0;
  case LUA_TBOOLEAN:
    if (lua_toboolean(L, top))
      fpg_buf_put(L, w->b, "true", 4);
    else
      fpg_buf_put(L, w->b, "false", 5);
    break;
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(L, top)) fail_type(w, "light userdata");
    fpg_buf_put(L, w->b, "null", 4);
    break;
  case LUA_TNIL: fpg_buf_put(L, w->b, "null", 4); break;
  case LUA_TUSERDATA: put_userdata(w, top); break;
  case FPG_TCDATA: put_cdata(w, top); break;
  default: fail_type(w, lua_typename(L, t));
  }
  lua_settop(L, top - 1);
  return 1;
}

void fpg_json_write(lua_State *L, int idx, int param, int strict, fpg_buf *out) {
  writer w;
  w.L = L;
  w.b = out;
  w.param = param;
  w.strict = strict;
  w.depth = 0;
  w.mt = NULL;
  luaL_checkstack(L, 16, "json");
  lua_pushvalue(L, idx);
  put_scalar(&w);
  while (w.depth) {
    if (advance(&w))
      put_scalar(&w);
    else
      end_table(&w);
  }
}
