/* SPDX-License-Identifier: MIT
 *
 * flat.c: rows laid out for LuaJIT's compiler (fastpg.pg.flat_rows), which makes tables of them faster than C can.
 *
 * Through the C API a row costs a call for each key and each value.  Compiled code copies a template with all keys in it
 * and stores the values; what it needs is memory that it can read without calls.  One call fills a block for some rows:
 *
 *   numbers   a double for each field of the kinds that are numbers, row by row
 *   strings   which of `texts` it is, for each field that is a string, row by row
 *   texts     pointers and lengths, each short text once: a string that was met is not made again
 *   lists     where its elements lie, and how many, for each field that is an array of numbers, in one dimension and from 1 on
 *   elements  the numbers of all lists
 *   nulls     row and column of each NULL; the field holds 0, texts[0] or lists[0] meanwhile
 *   trues     the same of each true: booleans are false else
 *
 * No field says what it is: a branch for each would cost more than all else, so the exceptions are listed and mended.
 * Fields that only the type's own reader can make, and those that are out of the ordinary (an int8 beyond 2^53), are
 * left to conn:mend_rows, which sets them in the rows.
 */
#include <math.h>

#include "be.h"
#include "codec_slice.h"
#include "params.h"
#include "result.h"

/* fastpg.pg.flat_rows has the same declaration. */
enum { CELLS = 2048, SLOTS = 256, ELEMENTS = 8192 };

typedef struct {
  const char *p;
  uint32_t len;
} text;

typedef struct {
  const char *p; /* NULL for NULL */
  int32_t len, row, col;
} other;

typedef struct {
  int32_t at, n;
} list;

typedef struct {
  double numbers[CELLS], elements[ELEMENTS];
  text texts[CELLS + 1];
  list lists[CELLS + 1];
  int32_t strings[CELLS], arrays[CELLS];
  int32_t nulls[2 * CELLS], trues[2 * CELLS];
  int32_t nnumbers, nelements, nstrings, ntexts, narrays, nlists, nnulls, ntrues, nothers;
  int32_t bytes; /* of all texts: they are not kept for the next rows where they are many */
  other others[CELLS];
  int32_t slots[SLOTS]; /* of texts that were met, by a hash */
} block;

/* How a column is laid out; fastpg.pg.flat_rows knows these letters.  HIDDEN is one behind which comes another of its
 * name: it is read, as errors and functions of the user's may be in it, and is nowhere. */
enum { NUMBER = 'n', STRING = 's', TRUTH = 'b', NUMBERS = 'a', OTHER = 'o', HIDDEN = 'h' };

static int is_number(const fpg_type *type) {
  switch (type->kind) {
    case FPG_KIND_INT2:
    case FPG_KIND_INT4:
    case FPG_KIND_INT8:
    case FPG_KIND_OID:
    case FPG_KIND_FLOAT4:
    case FPG_KIND_FLOAT8: return !(type->traits & FPG_READ_BY_USER);
    default: return 0;
  }
}

static char layout_of(const fpg_type *type, int format) {
  if (type->traits & FPG_READ_BY_USER) return OTHER;
  if (type->kind == FPG_KIND_TEXT || type->kind == FPG_KIND_NAME) return STRING;
  if (format == FPG_TEXT) return OTHER;
  if (is_number(type)) return NUMBER;
  if (type->kind == FPG_KIND_ARRAY && is_number(type->elem)) return NUMBERS;
  switch (type->kind) {
    case FPG_KIND_BOOL: return TRUTH;
    case FPG_KIND_BYTEA:
    case FPG_KIND_CHAR: return STRING;
    default: return OTHER;
  }
}

/* conn:row_layout(stmt) -> a letter for each of its columns */
static int conn_row_layout(lua_State *L) {
  fpg_check_conn(L, 1);
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_Buffer letters;
  luaL_buffinit(L, &letters);
  for (int i = 0; i < st->ncols; i++) luaL_addchar(&letters, layout_of(st->cols[i].type, st->format));
  luaL_pushresult(&letters);
  return 1;
}

/* Whether the letters are those of the statement's columns, as their types are now. */
static int is_layout_of(const fpg_stmt *st, const char *letters, size_t n) {
  if (n != (size_t)st->ncols || n > CELLS) return 0;
  for (size_t i = 0; i < n; i++)
    if (letters[i] != HIDDEN && letters[i] != layout_of(st->cols[i].type, st->format)) return 0;
  return 1;
}

/* ---- filling ------------------------------------------------------------------------------- */

/* The bytes of a short text mixed: its beginning, its end and its length. */
static uint32_t slot_of(const char *p, uint32_t len) {
  uint64_t a = len, b = 0;
  if (len >= 8) {
    memcpy(&a, p, 8);
    memcpy(&b, p + len - 8, 8);
  } else if (len >= 4) {
    uint32_t head, tail;
    memcpy(&head, p, 4);
    memcpy(&tail, p + len - 4, 4);
    a = head, b = tail;
  } else if (len) {
    a = (unsigned char)p[0], b = (uint64_t)(unsigned char)p[len - 1] << 8 | (unsigned char)p[len / 2];
  }
  uint64_t h = (a ^ (b << 21 | b >> 43) ^ len) * UINT64_C(0x9E3779B97F4A7C15);
  return (uint32_t)(h >> 56) % SLOTS;
}

enum { SHORT = 40 }; /* bytes: longer texts are seldom the same, and dear to compare */

static int32_t add_text(block *b, const char *p, uint32_t len) {
  b->texts[++b->ntexts] = (text){p, len};
  b->bytes += len < CELLS ? (int32_t)len : CELLS;
  return b->ntexts;
}

static int32_t text_at(block *b, const char *p, uint32_t len) {
  if (len > SHORT) return add_text(b, p, len);
  int32_t *slot = &b->slots[slot_of(p, len)];
  const text *met = &b->texts[*slot];
  if (*slot && met->len == len && memcmp(met->p, p, len) == 0) return *slot;
  return *slot = add_text(b, p, len);
}

static void note(int32_t *list, int32_t *n, int row, int col) {
  list[2 * *n] = row;
  list[2 * *n + 1] = col;
  ++*n;
}

/* (Any NaN but this one may be another value in the eyes of LuaJIT, which keeps types in them.) */
static double of_float(double d) { return isnan(d) ? -(double)NAN : d; }

enum { EXACT = 53 }; /* bits of a double */

/* The number of the field; 0 where it is none that a double holds. */
static int read_number(const fpg_type *type, const char *p, int len, double *d) {
  switch (type->kind) {
    case FPG_KIND_INT2: *d = len == 2 ? be_i16(p) : 0; return len == 2;
    case FPG_KIND_INT4: *d = len == 4 ? be_i32(p) : 0; return len == 4;
    case FPG_KIND_OID: *d = len == 4 ? be_u32(p) : 0; return len == 4;
    case FPG_KIND_FLOAT4: *d = len == 4 ? of_float((double)be_f32(p)) : 0; return len == 4;
    case FPG_KIND_FLOAT8: *d = len == 8 ? of_float(be_f64(p)) : 0; return len == 8;
    default: {
      int64_t i = len == 8 ? be_i64(p) : 0, most = INT64_C(1) << EXACT;
      *d = (double)i;
      return len == 8 && i >= -most && i <= most;
    }
  }
}

/* Whether the field is a string of the bytes as they came; of "char" only what is ASCII is. */
static int is_string(const fpg_type *type, const char *p, int len) {
  return type->kind != FPG_KIND_CHAR || (len == 1 && *p > 0);
}

/* The elements of an array that is a plain list of numbers, none of them NULL: its place among the lists; 0 where it is none, or
 * too long for what is left of the room. */
static int32_t list_of(block *b, const fpg_type *type, const char *p, int len) {
  enum { HEAD = 12, DIMENSION = 8 };
  const fpg_type *elem = type->elem;
  const char *end = p + len;
  int dims = len >= HEAD && len < FPG_LONG_VALUE ? be_i32(p) : -1, n = 0; /* (long ones may be read already: heavy.c) */
  if (dims < 0 || dims > 1 || be_u32(p + 8) != elem->oid) return 0;
  p += HEAD;
  if (dims) {
    if (end - p < DIMENSION || be_i32(p + 4) != 1) return 0;
    n = be_i32(p);
    p += DIMENSION;
  }
  if (n < 0 || n > ELEMENTS - b->nelements) return 0;
  double *to = b->elements + b->nelements;
  for (int i = 0; i < n; i++) {
    int32_t size = end - p >= 4 ? be_i32(p) : -1;
    p += 4;
    if (size < 0 || size > end - p || !read_number(elem, p, size, &to[i])) return 0;
    p += size;
  }
  if (p != end) return 0;
  b->lists[++b->nlists] = (list){b->nelements, n};
  b->nelements += n;
  return b->nlists;
}

static void fill_row(block *b, const fpg_stmt *st, const char *letters, fpg_row row, int at) {
  for (int i = 0; i < st->ncols; i++) {
    int len, odd = 0;
    const char *p = fpg_next_field(&row, &len);
    const fpg_type *type = st->cols[i].type;
    switch (letters[i]) {
      case NUMBER: {
        double d = 0;
        if (p) odd = !read_number(type, p, len, &d);
        else note(b->nulls, &b->nnulls, at, i);
        b->numbers[b->nnumbers++] = d;
        break;
      }
      case STRING:
        if (p) odd = !is_string(type, p, len);
        else note(b->nulls, &b->nnulls, at, i);
        b->strings[b->nstrings++] = p && !odd ? text_at(b, p, (uint32_t)len) : 0;
        break;
      case TRUTH:
        if (p) odd = len != 1;
        else note(b->nulls, &b->nnulls, at, i);
        if (p && !odd && *p) note(b->trues, &b->ntrues, at, i);
        break;
      case NUMBERS: {
        int32_t place = p ? list_of(b, type, p, len) : 0;
        if (!p) note(b->nulls, &b->nnulls, at, i);
        odd = p && !place;
        b->arrays[b->narrays++] = place;
        break;
      }
      default: odd = 1;
    }
    if (odd) b->others[b->nothers++] = (other){p, len, at, letters[i] == HIDDEN ? ~i : i};
  }
}

static block *check_block(lua_State *L, int idx) {
  if (lua_type(L, idx) != FPG_TCDATA) luaL_argerror(L, idx, "a block expected");
  return (block *)(uintptr_t)lua_topointer(L, idx);
}

/* conn:rows_left(holder) -> how many rows of the result are still to be made */
static int conn_rows_left(lua_State *L) {
  fpg_check_conn(L, 1);
  const fpg_rows *rows = &fpg_check_holder(L, 2)->rows;
  lua_pushinteger(L, rows->nrows - rows->next);
  return 1;
}

/* conn:lay_rows(stmt, layout, most, holder, block) -> how many of the next rows were laid out in the block, at most
 * `most` (and those of a piece then; nil: as many as fit), and the number of the first; nil where the statement's columns are others than those of the layout.  The block is good as long as the result
 * is held. */
static int conn_lay_rows(lua_State *L) {
  fpg_check_conn(L, 1);
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  size_t n;
  const char *letters = luaL_checklstring(L, 3, &n);
  int most = (int)luaL_optinteger(L, 4, INT32_MAX);
  fpg_rows *rows = &fpg_check_holder(L, 5)->rows;
  block *b = check_block(L, 6);
  if (!is_layout_of(st, letters, n)) return 0;
  int count = n ? CELLS / (int)n : CELLS;
  if (count > rows->nrows - rows->next) count = rows->nrows - rows->next;
  if (most < INT32_MAX) most = fpg_rows_of_piece(st, rows, most);
  if (count > most) count = most;
  b->nnumbers = b->nstrings = b->ntexts = b->nnulls = b->ntrues = b->nothers = b->bytes = 0;
  b->nelements = b->narrays = b->nlists = 0;
  memset(b->slots, 0, sizeof b->slots);
  int first = rows->next + 1, laid = 0;
  while (laid < count && b->nelements <= ELEMENTS / 2) fill_row(b, st, letters, fpg_next_row(rows), laid++);
  lua_pushinteger(L, laid);
  lua_pushinteger(L, first);
  return 2;
}

/* ---- mending ------------------------------------------------------------------------------- */

/* Puts the value on top, or NULL, into the row below it. */
static void set_field(lua_State *L, int is_null, int col, int names) {
  if (names) {
    if (is_null) lua_pushnil(L);
    lua_pushvalue(L, names + col);
    lua_insert(L, -2);
    lua_rawset(L, -3);
  } else {
    if (is_null) lua_pushlightuserdata(L, NULL);
    lua_rawseti(L, -2, col + 1);
  }
}

/* conn:mend_rows(stmt, is_named, list, first, holder, block) -> the holder, or nil where that was at its end and is
 * released: sets what was left out in the rows that were laid out in the block and stand in the list from `first` on. */
static int conn_mend_rows(lua_State *L) {
  const fpg_conn *c = fpg_check_conn(L, 1);
  const fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  int named = lua_toboolean(L, 3), first = (int)luaL_checkinteger(L, 5), row = -1;
  luaL_checktype(L, 4, LUA_TTABLE);
  fpg_holder *h = fpg_check_holder(L, 6);
  const block *b = check_block(L, 7);
  lua_settop(L, 7);
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, st->types, &zone);
  int names = b->nothers && named ? fpg_push_names(L, 2, st->ncols) : 0;
  lua_pushnil(L); /* the row */
  for (int i = 0; i < b->nothers; i++) {
    other o = b->others[i];
    int hidden = o.col < 0, col = hidden ? ~o.col : o.col;
    if (o.row != row) {
      row = o.row;
      lua_pop(L, 1);
      lua_rawgeti(L, 4, first + row);
    }
    if (o.p) st->cols[col].decode(L, &cx, st->cols[col].type, o.p, (size_t)o.len);
    if (!hidden) set_field(L, !o.p, col, names);
    else if (o.p) lua_pop(L, 1);
  }
  if (h->rows.next < h->rows.nrows) {
    lua_pushvalue(L, 6);
    return 1;
  }
  fpg_holder_release(h);
  return 0;
}

static const luaL_Reg methods[] = {
    {"row_layout", conn_row_layout}, {"rows_left", conn_rows_left}, {"lay_rows", conn_lay_rows},
    {"mend_rows", conn_mend_rows},   {NULL, NULL}};

void fpg_open_flat(lua_State *L) {
  fpg_add_conn_methods(L, methods);
  lua_pushinteger(L, (lua_Integer)sizeof(block)); /* fastpg.pg.flat_rows compares it with its own */
  lua_setfield(L, -2, "flat_block");
}
