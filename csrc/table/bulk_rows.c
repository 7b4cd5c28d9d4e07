/* SPDX-License-Identifier: MIT
 *
 * bulk_rows.c: many records of a list that are written alike, as one array parameter for each column:
 *
 *   INSERT INTO t (a, b) SELECT * FROM unnest($1::int4[], $2::text[]) RETURNING *
 *
 * Two passes.  `alike` looks through the list: how many records, one behind the other, give the same columns values, so
 * that one statement writes them.  `encode` appends such records to the columns' buffers: rows in their order, each
 * value right behind the one of the row before, so that nothing is made of it in Lua.  What any of it would have to
 * say an error of (a record that is none, an unknown column, a key that is missing, fastpg.sql) is not alike to
 * anything: it is left to what builds single statements (sql_builder.c), which says it.
 *
 *   binary   int32 dimensions (1), has-nulls, oid, length, lower bound; per element int32 length (-1 is NULL), bytes
 *   text     {"a","b",NULL}: of a column one of whose values has no binary form
 *
 * Here a value is always one element, where the codec of arrays has to guess whether a list is one more dimension.
 */
#include "be.h"
#include "buffer.h"
#include "codec_array.h"
#include "escape.h"
#include "fragment.h"
#include "number.h"
#include "params.h"
#include "raise.h"
#include "sql_writer.h"
#include "surface.h"

#define ROWS_MT "fastpg.bulk_rows"

enum { HEADER = 20, FULL_BYTES = 256 * 1024, KEEP_BYTES = 1024 * 1024 };

typedef struct {
  fpg_buf *buf;
  fpg_encoded *param; /* what is handed on as an argument */
  int as_text;        /* a value had no binary form: so are all of this statement's */
} column;

typedef struct {
  fpg_operation op;
  int ncols;       /* of the relation */
  int nbuffers;    /* how many columns have a buffer */
  int rows;        /* in the buffers */
  const void *st;  /* the statement they are for */
  char *states;    /* of the record looked at last; behind columns */
  char *kept;      /* of those it is compared with */
  char *conflict;  /* whether a column is one of an upsert's conflict */
  column columns[];
} bulk_rows;

/* Its user value is a table: */
enum { AT_REL = 1, AT_LIST, AT_OVERRIDES, AT_FILTERS, AT_STATEMENT, AT_BUFFERS };

static bulk_rows *check_rows(lua_State *L) { return luaL_checkudata(L, 1, ROWS_MT); }

static void mark_conflict(lua_State *L, bulk_rows *b, int list) {
  fpg_rel_names at = fpg_rel_push(L, 1);
  lua_getfield(L, at.names, "index");
  int index = lua_gettop(L), n = (int)lua_rawlen(L, list);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    lua_rawget(L, index);
    int col = (int)lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (col >= 1 && col <= b->ncols) b->conflict[col - 1] = 1; /* (else the builder of single statements says it) */
  }
}

/* rel:bulk_rows(op, list, overrides, filters, conflict) -> what follows are its methods; `op` is "insert", "update" or
 * "upsert", `conflict` a list of names */
static int rel_bulk_rows(lua_State *L) {
  static const char *const ops[] = {"insert", "update", "upsert", NULL};
  static const fpg_operation operations[] = {FPG_INSERT, FPG_UPDATE, FPG_UPSERT};
  fpg_rel *rel = fpg_check_rel(L, 1);
  fpg_operation op = operations[luaL_checkoption(L, 2, NULL, ops)];
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 6);
  size_t n = (size_t)rel->ncols, size = sizeof(bulk_rows) + 2 * n * sizeof(column) + 3 * n + 1;
  bulk_rows *b = fpg_newuserdata(L, size);
  memset(b, 0, size);
  b->op = op;
  b->ncols = rel->ncols;
  b->states = (char *)(b->columns + 2 * n);
  b->kept = b->states + n;
  b->conflict = b->kept + n;
  lua_createtable(L, AT_BUFFERS, 0);
  static const int from[] = {1, 3, 4, 5};
  for (int i = 0; i < 4; i++) {
    lua_pushvalue(L, from[i]);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_pushboolean(L, 0);
    }
    lua_rawseti(L, -2, AT_REL + i);
  }
  lua_newtable(L);
  lua_rawseti(L, -2, AT_BUFFERS);
  fpg_setuservalue(L, 7);
  luaL_setmetatable(L, ROWS_MT);
  if (lua_istable(L, 6)) mark_conflict(L, b, 6);
  lua_settop(L, 7);
  return 1;
}

/* ---- one record ----------------------------------------------------------------------------- */

/* Pushes what all records have in common; the list is at the returned index. */
static int begin(lua_State *L, fpg_sql_writer *w) {
  memset(w, 0, sizeof *w);
  luaL_checkstack(L, 24, "bulk rows");
  fpg_getuservalue(L, 1);
  int all = lua_gettop(L);
  lua_rawgeti(L, all, AT_REL);
  lua_rawgeti(L, all, AT_LIST);
  lua_rawgeti(L, all, AT_OVERRIDES);
  lua_rawgeti(L, all, AT_FILTERS);
  w->rel = fpg_check_rel(L, all + 1);
  w->overrides = lua_istable(L, all + 3) ? all + 3 : 0;
  w->filters = lua_istable(L, all + 4) ? all + 4 : 0;
  w->at = fpg_rel_push(L, all + 1);
  return all + 2;
}

static int is_key(const fpg_rel *rel, int col) {
  for (int i = 0; i < rel->npk; i++)
    if (rel->pk[i] == col) return 1;
  return 0;
}

/* Pushes the value that the column is set to and returns 1, as the builders of sql_builder.c have it; or 0. */
static int set_value(lua_State *L, const bulk_rows *b, fpg_sql_writer *w, int col) {
  if (b->op == FPG_UPDATE) {
    if (is_key(w->rel, col)) return 0;
    if (fpg_lookup_column(L, w->filters, w->at.names, col)) {
      lua_pop(L, 1);
      return 0;
    }
  }
  int conflict = b->conflict[col - 1];
  if (!fpg_column_value(L, w, col, b->op, conflict)) return 0;
  if (!conflict || !fpg_is_null(L, -1)) return 1;
  lua_pop(L, 1); /* no key yet: the default makes one */
  return 0;
}

/* Pushes what an update's record says of a column of its key. */
static int key_value(lua_State *L, fpg_sql_writer *w, int col) {
  return fpg_lookup_column(L, w->overrides, w->at.names, col) || fpg_lookup_column(L, w->record, w->at.names, col) ||
         fpg_lookup_column(L, w->filters, w->at.names, col);
}

static int is_fragment(lua_State *L) { return lua_type(L, -1) == LUA_TUSERDATA && luaL_testudata(L, -1, FPG_SQL_MT); }

/* Takes the record on top of the stack; 0 where it is none that can stand beside others. */
static int begin_record(lua_State *L, fpg_sql_writer *w) {
  w->record = lua_gettop(L);
  w->shape_index = 0;
  if (lua_type(L, w->record) != LUA_TTABLE) return 0;
  fpg_find_shape(L, w);
  return !(w->shape_index && lua_rawlen(L, w->record)); /* a list of rows */
}

static int has_key(lua_State *L, fpg_sql_writer *w) {
  for (int i = 0; i < w->rel->npk; i++) {
    if (!key_value(L, w, w->rel->pk[i])) return 0;
    int is_value = !fpg_is_null(L, -1) && !is_fragment(L);
    lua_pop(L, 1);
    if (!is_value) return 0;
  }
  return w->rel->npk > 0;
}

/* The states of the record on top of the stack; 0 where it has to stand alone. */
static int look_at(lua_State *L, const bulk_rows *b, fpg_sql_writer *w) {
  if (!begin_record(L, w) || fpg_unknown_key(L, w, w->record)) return 0;
  for (int col = 1; col <= b->ncols; col++) {
    int is_set = set_value(L, b, w, col);
    b->states[col - 1] = is_set ? FPG_VALUE : FPG_UNSET;
    if (!is_set) continue;
    int raw = is_fragment(L);
    lua_pop(L, 1);
    if (raw) return 0;
  }
  return b->op != FPG_UPDATE || has_key(L, w);
}

/* rows:alike(from, most, goes_on) -> how many records from that one on, of `most`, give the same columns values: as the
 * one before did where it goes on; 0 where the first of them is not alike or has to stand alone */
static int rows_alike(lua_State *L) {
  bulk_rows *b = check_rows(L);
  int from = (int)luaL_checkinteger(L, 2), most = (int)luaL_checkinteger(L, 3), goes_on = lua_toboolean(L, 4), n = 0;
  fpg_sql_writer w;
  int list = begin(L, &w), top = lua_gettop(L);
  int unknown = fpg_unknown_key(L, &w, w.overrides) || fpg_unknown_key(L, &w, w.filters);
  for (; !unknown && n < most; n++) {
    lua_settop(L, top);
    lua_rawgeti(L, list, from + n);
    if (!look_at(L, b, &w)) break;
    if (n || goes_on) {
      if (memcmp(b->states, b->kept, (size_t)b->ncols) != 0) break;
    } else {
      memcpy(b->kept, b->states, (size_t)b->ncols);
    }
  }
  lua_pushinteger(L, n);
  return 1;
}

/* rows:signature() -> which columns those that were alike give values, as a string */
static int rows_signature(lua_State *L) {
  bulk_rows *b = check_rows(L);
  lua_pushlstring(L, b->kept, (size_t)b->ncols);
  return 1;
}

/* ---- the columns of a statement --------------------------------------------------------------- */

static const fpg_stmt *statement(lua_State *L) {
  fpg_getuservalue(L, 1);
  lua_rawgeti(L, -1, AT_STATEMENT);
  const fpg_stmt *st = fpg_check_stmt(L, lua_gettop(L));
  lua_pop(L, 2);
  return st;
}

/* Makes the buffer of one more column; the list of buffers is on top of the stack. */
static void add_buffer(lua_State *L, bulk_rows *b) {
  column *c = &b->columns[b->nbuffers];
  c->buf = fpg_buf_new(L);
  lua_rawseti(L, -2, 2 * b->nbuffers + 1);
  c->param = fpg_encoded_new(L);
  lua_rawseti(L, -2, 2 * b->nbuffers + 2);
  b->nbuffers++;
}

/* rows:begin(stmt, n, args): the first n parameters of the statement are arrays, which are put into the list of
 * arguments, empty */
static int rows_begin(lua_State *L) {
  bulk_rows *b = check_rows(L);
  fpg_stmt *st = fpg_check_stmt(L, 2);
  int n = (int)luaL_checkinteger(L, 3);
  luaL_checktype(L, 4, LUA_TTABLE);
  luaL_argcheck(L, n >= 1 && n <= 2 * b->ncols && n <= st->nparams, 3, "as many columns as it has expected");
  int is_other = b->st != st;
  fpg_getuservalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, AT_STATEMENT);
  b->st = st;
  b->rows = 0;
  lua_rawgeti(L, -1, AT_BUFFERS);
  while (b->nbuffers < n) add_buffer(L, b);
  for (int i = 0; i < n; i++) {
    column *c = &b->columns[i];
    const fpg_type *type = st->params[i];
    if (type->kind != FPG_KIND_ARRAY) return luaL_error(L, "bulk rows: parameter %d is no array", i + 1);
    if (is_other) c->as_text = !fpg_type_has_binary(type->elem);
    if (c->buf->cap > KEEP_BYTES) fpg_buf_free(L, c->buf);
    c->buf->len = 0;
    if (c->as_text)
      fpg_buf_putc(L, c->buf, '{');
    else
      fpg_buf_grow(L, c->buf, HEADER);
    lua_rawgeti(L, -1, 2 * i + 2);
    lua_rawseti(L, 4, i + 1);
  }
  return 0;
}

static const fpg_escapes backslashed = {"\"\\", '\\'};

static void put_text(lua_State *L, const bulk_rows *b, const fpg_ctx *cx, const fpg_type *type, column *c) {
  if (b->rows) fpg_buf_putc(L, c->buf, fpg_array_delimiter(type));
  if (fpg_is_null(L, -1)) {
    fpg_buf_put(L, c->buf, "NULL", 4);
    return;
  }
  fpg_buf_putc(L, c->buf, '"');
  size_t start = c->buf->len;
  fpg_encode_text(L, cx, type->elem, lua_gettop(L), c->buf);
  fpg_escape_from(L, c->buf, start, &backslashed);
  fpg_buf_putc(L, c->buf, '"');
}

/* Appends the value on top of the stack and takes it; 0: it has no binary form. */
static int put(lua_State *L, const bulk_rows *b, fpg_ctx *cx, const fpg_stmt *st, int i) {
  column *c = (column *)&b->columns[i];
  const fpg_type *type = st->params[i];
  cx->param = i + 1;
  if (c->as_text) {
    put_text(L, b, cx, type, c);
  } else {
    size_t at = c->buf->len;
    fpg_buf_grow(L, c->buf, 4);
    if (fpg_is_null(L, -1)) {
      be_put32(c->buf->data + at, UINT32_MAX);
    } else {
      if (!fpg_encode_binary(L, cx, type->elem, lua_gettop(L), c->buf)) {
        c->as_text = 1;
        return 0;
      }
      size_t len = c->buf->len - at - 4;
      if (len > 0x3fffffff) fpg_refuse(L, cx, "an element is over 1 GB");
      be_put32(c->buf->data + at, (uint32_t)len);
    }
  }
  lua_pop(L, 1);
  return 1;
}

/* Appends the record that begin_record took.  1: it is in; 0: a column goes as text from here on; -1: it is not as it
 * was. */
static int put_record(lua_State *L, const bulk_rows *b, fpg_sql_writer *w, fpg_ctx *cx, const fpg_stmt *st,
                      const char *signature, size_t *bytes) {
  int n = 0, top = lua_gettop(L);
  size_t total = 0;
  for (int col = 1; col <= b->ncols; col++) {
    int is_set = set_value(L, b, w, col);
    if ((is_set ? FPG_VALUE : FPG_UNSET) != signature[col - 1] || (is_set && is_fragment(L))) return -1;
    if (!is_set) continue;
    if (!put(L, b, cx, st, n)) return 0;
    total += b->columns[n++].buf->len;
  }
  for (int i = 0; b->op == FPG_UPDATE && i < w->rel->npk; i++) {
    if (!key_value(L, w, w->rel->pk[i]) || fpg_is_null(L, -1) || is_fragment(L)) return -1;
    if (!put(L, b, cx, st, n)) return 0;
    total += b->columns[n++].buf->len;
  }
  lua_settop(L, top);
  *bytes = total;
  return 1;
}

/* rows:encode(conn, first, last, signature) -> the row behind those that were appended, whether that is enough for one
 * statement; nil where the statement has to be begun once more, since a column goes as text */
static int rows_encode(lua_State *L) {
  bulk_rows *b = check_rows(L);
  const fpg_conn *c = fpg_check_conn(L, 2);
  int row = (int)luaL_checkinteger(L, 3), last = (int)luaL_checkinteger(L, 4);
  size_t len, bytes = 0;
  const char *signature = luaL_checklstring(L, 5, &len);
  luaL_argcheck(L, len == (size_t)b->ncols, 5, "a signature expected");
  const fpg_stmt *st = statement(L);
  fpg_sql_writer w;
  int list = begin(L, &w), top = lua_gettop(L);
  fpg_zone_memo zone;
  fpg_ctx cx = fpg_context(c, st->types, &zone);
  for (; row <= last && bytes < FULL_BYTES; row++) {
    lua_settop(L, top);
    lua_rawgeti(L, list, row);
    int done = begin_record(L, &w) ? put_record(L, b, &w, &cx, st, signature, &bytes) : -1;
    if (done < 0) return fpg_raise(L, "invalid_argument", "row %d was changed while the list was being written", row);
    if (!done) return 0;
    b->rows++;
  }
  lua_pushinteger(L, row);
  lua_pushboolean(L, bytes >= FULL_BYTES);
  return 2;
}

/* rows:finish(n): the first n columns are arguments now */
static int rows_finish(lua_State *L) {
  bulk_rows *b = check_rows(L);
  int n = (int)luaL_checkinteger(L, 2);
  luaL_argcheck(L, n >= 1 && n <= b->nbuffers, 2, "as many columns as were begun expected");
  const fpg_stmt *st = statement(L);
  for (int i = 0; i < n; i++) {
    column *c = &b->columns[i];
    if (c->as_text) {
      fpg_buf_put(L, c->buf, "}", 2); /* libpq finds the end of text by its zero byte */
      *c->param = (fpg_encoded){c->buf->data, c->buf->len - 1, FPG_TEXT};
    } else {
      char *p = c->buf->data;
      be_put32(p, 1);
      be_put32(p + 4, 1); /* there may be NULLs: the server looks itself */
      be_put32(p + 8, st->params[i]->elem->oid);
      be_put32(p + 12, (uint32_t)b->rows);
      be_put32(p + 16, 1);
      *c->param = (fpg_encoded){p, c->buf->len, FPG_BINARY};
    }
  }
  return 0;
}

static const luaL_Reg methods[] = {
    {"alike", rows_alike},   {"signature", rows_signature}, {"begin", rows_begin},
    {"encode", rows_encode}, {"finish", rows_finish},       {NULL, NULL},
};

static const luaL_Reg rel_methods[] = {{"bulk_rows", rel_bulk_rows}, {NULL, NULL}};

void fpg_open_bulk_rows(lua_State *L) {
  luaL_newmetatable(L, ROWS_MT);
  lua_pushliteral(L, ROWS_MT);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 5);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  fpg_add_methods(L, FPG_REL_MT, rel_methods);
}
