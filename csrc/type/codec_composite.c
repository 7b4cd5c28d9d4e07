/* SPDX-License-Identifier: MIT
 *
 * codec_composite.c: composite types and anonymous records.
 *
 * Binary (record_send): int32 columns, then per column uint32 oid, int32 length (-1 is NULL), bytes.
 * Text (record_out): (a,"b ""c""",,""): nothing between commas is NULL, "" is the empty string;
 * inside quotes a quote or backslash is doubled (or escaped by a backslash).
 *
 * The data of a composite type is { names =, metatable = } of its rows.  An anonymous record's
 * binary form names its own types (as text they are text); its columns are f1, f2, …, and the data of
 * `record` is { make = function }, which makes such a pair for each list of types: its rows print by them.
 */
#include "codec_composite.h"

#include "be.h"
#include "buffer.h"
#include "escape.h"
#include "number.h"
#include "raise.h"
#include "codec_other.h"

enum { RECORD = 2249 };

enum { MAX_NESTING = 200 }; /* a record may hold records; what no table has is not followed */

/* ---- reading ------------------------------------------------------------------------------ */

/* Pushes the oids of a record's n columns as four bytes each: zeros where p, the first of them in its
 * binary form, is NULL, or where that ends too soon (which is told where it is read). */
static void push_oids(lua_State *L, const char *p, const char *end, int n) {
  fpg_buf *key = fpg_buf_new(L);
  for (int i = 0; i < n; i++) {
    int there = p && end - p >= 8, size = there ? be_i32(p + 4) : 0;
    be_put32(fpg_buf_grow(L, key, 4), there ? be_u32(p) : 0);
    if (there) p = size > end - p - 8 ? NULL : p + 8 + (size > 0 ? size : 0);
  }
  lua_pushlstring(L, key->data ? key->data : "", key->len);
  fpg_buf_free(L, key);
  lua_remove(L, -2);
}

/* Pushes the data of a record with the oids on top, which it replaces.  They are kept with the map of types
 * that explains them (without one, with `record` itself), in its field `records`. */
static void push_record_data(lua_State *L, const fpg_ctx *cx, const fpg_type *type) {
  int oids = lua_gettop(L);
  cx->finder->push(L, cx->types);
  if (lua_isnil(L, -1)) fpg_type_push_data(L, type);
  else fpg_getuservalue(L, -1);
  lua_getfield(L, -1, "records");
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, oids);
    lua_rawget(L, -2);
  }
  if (!lua_istable(L, -1) || lua_gettop(L) == oids + 3) {
    fpg_type_push_data(L, type);
    lua_getfield(L, -1, "make");
    lua_pushvalue(L, oids + 2);
    lua_pushvalue(L, oids + 1);
    lua_pushvalue(L, oids);
    lua_call(L, 3, 1);
  }
  lua_replace(L, oids);
  lua_settop(L, oids);
}

/* Pushes the new row and the names of its n columns: two values.  p is the first of them in binary, or NULL. */
static int begin_row(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int n, const char *p, const char *end) {
  luaL_checkstack(L, 14, "composite");
  lua_createtable(L, 0, n);
  int row = lua_gettop(L);
  if (type->oid != RECORD) {
    fpg_type_push_data(L, type);
  } else {
    push_oids(L, p, end, n);
    push_record_data(L, cx, type);
  }
  lua_getfield(L, -1, "metatable");
  lua_setmetatable(L, row);
  lua_getfield(L, -1, "names");
  lua_remove(L, -2);
  return row;
}

static void push_name(lua_State *L, int row, int i) { lua_rawgeti(L, row + 1, i + 1); }

static void end_row(lua_State *L, int row) { lua_settop(L, row); }

/* The context of the columns of a row. */
static fpg_ctx inside(lua_State *L, const fpg_ctx *cx, const fpg_type *type) {
  fpg_ctx inner = *cx;
  if (++inner.nesting > MAX_NESTING)
    fpg_raise(L, "protocol_violation", "%s: nested too deeply", type->name);
  return inner;
}

/* How many columns a text has: only a record does not know. */
static int count_columns(const char *p, const char *end) {
  int n = 1, quoted = 0;
  for (; p < end; p++) {
    if (*p == '\\') p++;
    else if (*p == '"') quoted = !quoted;
    else if (*p == ',' && !quoted) n++;
  }
  return n;
}

/* Of a column that is read as text only there is the binary form.  The server may have been asked for its text
 * (conn:set_texts): pushes the value and gives 1.  Or what it is to be asked for is being collected: there the table has
 * a number at 0, the list from 1 on, and no text yet; nil is pushed. */
static int push_by_text(lua_State *L, const fpg_ctx *cx, const fpg_type *field, uint32_t oid, const char *p, int size) {
  if (!cx->texts) return 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, cx->texts);
  int texts = lua_gettop(L);
  if (!lua_istable(L, texts)) return 0;
  fpg_buf *key = fpg_buf_new(L);
  be_put32(fpg_buf_grow(L, key, 4), oid);
  fpg_buf_put(L, key, p, (size_t)size);
  lua_pushlstring(L, key->data, key->len);
  fpg_buf_free(L, key);
  lua_pushvalue(L, -1);
  lua_rawget(L, texts);
  lua_rawgeti(L, texts, 0);
  int collects = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (lua_type(L, -1) == LUA_TSTRING) {
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    field->decode_text(L, cx, field, text, len);
    return 1;
  }
  if (!collects) return 0;
  if (lua_isnil(L, -1)) { /* new */
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_rawseti(L, texts, (int)lua_rawlen(L, texts) + 1);
    lua_pushboolean(L, 0);
    lua_rawset(L, texts);
  }
  lua_pushnil(L);
  return 1;
}

/* An anonymous record may hold types that were never looked up: the error carries the oid, so that
 * the Lua side can look it up and read the result once more; or types that are read as text only: `text_only`. */
static void cannot_read(lua_State *L, const fpg_type *type, const fpg_type *field, uint32_t oid,
                        int column) {
  fpg_push_error(L, "feature_not_supported",
                 "%s: column %d has a type without a binary form (%s): select it by itself, or cast "
                 "it to text",
                 type->name, column, field ? field->name : "unknown");
  fpg_push_int64(L, oid);
  lua_setfield(L, -2, field ? "text_only" : "unknown_type");
  lua_error(L);
}

/* The type is not what it was when it was looked up: another session altered it.  The error carries its oid, so that the
 * Lua side can look it up once more. */
static void stale(lua_State *L, const fpg_type *type) {
  fpg_push_error(L, "protocol_violation", "%s: the value has other columns than the type is known with (db:refresh() forgets it)",
                 type->name);
  fpg_push_int64(L, type->oid);
  lua_setfield(L, -2, "stale_type");
  lua_error(L);
}

void fpg_composite_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                 const char *p, size_t len) {
  const char *end = p + len;
  if (len < 4) fpg_bad_length(L, type, "at least 4", len);
  int n = be_i32(p);
  p += 4;
  int anonymous = type->oid == RECORD;
  if (n < 0 || n > (end - p) / 8) fpg_bad_length(L, type, "8 for each column", len);
  if (!anonymous && n != type->nfields) stale(L, type);
  fpg_ctx inner = inside(L, cx, type);
  int row = begin_row(L, cx, type, n, p, end);
  for (int i = 0; i < n; i++) {
    if (end - p < 8) fpg_bad_length(L, type, "more", len);
    uint32_t oid = be_u32(p);
    int size = be_i32(p + 4);
    p += 8;
    if (size < -1 || (size > 0 && size > end - p)) fpg_bad_length(L, type, "more", len);
    if (!anonymous && oid != type->fields[i]->oid) stale(L, type);
    if (size < 0) continue;
    const fpg_type *field = anonymous ? cx->finder->find(cx->types, oid) : type->fields[i];
    push_name(L, row, i);
    int name = lua_gettop(L);
    if (field && fpg_type_reads_binary(field)) {
      field->decode_binary(L, &inner, field, p, (size_t)size);
    } else if (field && push_by_text(L, &inner, field, oid, p, size)) {
      lua_replace(L, name + 1);
      lua_settop(L, name + 1);
    } else {
      cannot_read(L, type, field, oid, i + 1);
    }
    lua_rawset(L, row);
    p += size;
  }
  if (p != end) fpg_bad_length(L, type, "fewer", len);
  end_row(L, row);
}

void fpg_composite_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                               size_t len) {
  const char *end = p + len;
  if (len < 2 || *p != '(') fpg_bad_text(L, type);
  p++;
  fpg_ctx inner = inside(L, cx, type);
  int anonymous = type->oid == RECORD, n = 0;
  int empty = p + 1 == end && *p == ')' && type->nfields == 0;
  int columns = anonymous ? empty ? 0 : count_columns(p, end) : type->nfields;
  int row = begin_row(L, cx, type, columns, NULL, NULL);
  fpg_buf *word = fpg_buf_new(L);
  while (!empty) {
    if (n >= columns) stale(L, type);
    int there = fpg_unquote(L, word, &p, end, ",)");
    if (p >= end) fpg_bad_text(L, type);
    if (there) {
      const fpg_type *field = anonymous ? &fpg_type_other : type->fields[n];
      size_t size = word->len;
      fpg_buf_putc(L, word, 0);
      push_name(L, row, n);
      field->decode_text(L, &inner, field, word->data, size);
      lua_rawset(L, row);
    }
    n++;
    if (*p++ == ')') break;
  }
  if (!empty && p != end) fpg_bad_text(L, type);
  if (n != columns) stale(L, type);
  end_row(L, row);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* In quotes, a quote and a backslash are doubled. */
static const fpg_escapes doubled = {"\"\\", 0};

/* Pushes "a, b, c". */
static const char *push_columns(lua_State *L, int names, int n) {
  lua_pushliteral(L, "");
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, names, i);
    lua_pushfstring(L, "%s%s%s", lua_tostring(L, -2), i > 1 ? ", " : "", lua_tostring(L, -1));
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
  return lua_tostring(L, -1);
}

/* A key of the table at idx that is no column's name is an error. */
static void check_keys(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, int names) {
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    int known = 0;
    for (int i = 1; i <= type->nfields && !known; i++) {
      lua_rawgeti(L, names, i);
      known = lua_rawequal(L, -1, -2);
      lua_pop(L, 1);
    }
    if (known) continue;
    if (lua_type(L, -1) != LUA_TSTRING) {
      const char *columns = push_columns(L, names, type->nfields);
      fpg_bad_value(L, cx, idx, lua_pushfstring(L, "a row of %s by its names (%s)", type->name, columns));
    }
    fpg_bad_value(L, cx, idx,
                  lua_pushfstring(L, "a row of %s (which has no column %s)", type->name, lua_tostring(L, -1)));
  }
}

/* int32 columns, then of each its type, length and bytes; 0 when one has no binary form. */
static int write_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, int names,
                        fpg_buf *out) {
  be_put32(fpg_buf_grow(L, out, 4), (uint32_t)type->nfields);
  int binary = 1;
  for (int i = 0; i < type->nfields && binary; i++) {
    const fpg_type *field = type->fields[i];
    be_put32(fpg_buf_grow(L, out, 4), field->oid);
    size_t at = out->len;
    be_put32(fpg_buf_grow(L, out, 4), UINT32_MAX); /* NULL */
    lua_rawgeti(L, names, i + 1);
    lua_rawget(L, idx);
    if (!fpg_is_null(L, -1)) {
      binary = field->oid && fpg_encode_binary(L, cx, field, lua_gettop(L), out) &&
               out->len - at - 4 <= INT32_MAX;
      be_put32(out->data + at, (uint32_t)(out->len - at - 4));
    }
    lua_pop(L, 1);
  }
  return binary;
}

static void write_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, int names,
                       fpg_buf *out) {
  fpg_buf_putc(L, out, '(');
  for (int i = 0; i < type->nfields; i++) {
    if (i) fpg_buf_putc(L, out, ',');
    lua_rawgeti(L, names, i + 1);
    lua_rawget(L, idx);
    if (!fpg_is_null(L, -1)) {
      fpg_buf_putc(L, out, '"');
      size_t start = out->len;
      fpg_encode_text(L, cx, type->fields[i], lua_gettop(L), out);
      fpg_escape_from(L, out, start, &doubled);
      fpg_buf_putc(L, out, '"');
    }
    lua_pop(L, 1);
  }
  fpg_buf_putc(L, out, ')');
}

/* A table by column names; an absent column is NULL.  In binary where all of it has that form. */
static int write_row(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                     int try_binary) {
  if (lua_type(L, idx) == LUA_TSTRING) {
    fpg_encode_text(L, cx, type, idx, out);
    return FPG_TEXT;
  }
  if (lua_type(L, idx) != LUA_TTABLE || type->oid == RECORD)
    fpg_bad_value(L, cx, idx, lua_pushfstring(L, "a row of %s", type->name));
  luaL_checkstack(L, 12, "composite");
  int top = lua_gettop(L), form = FPG_TEXT;
  size_t start = out->len;
  fpg_type_push_data(L, type);
  lua_getfield(L, -1, "names");
  int names = lua_gettop(L);
  check_keys(L, cx, type, idx, names);
  if (try_binary && write_binary(L, cx, type, idx, names, out)) {
    form = FPG_BINARY;
  } else {
    out->len = start;
    write_text(L, cx, type, idx, names, out);
  }
  lua_settop(L, top);
  return form;
}

int fpg_composite_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                         fpg_buf *out) {
  return write_row(L, cx, type, idx, out, fpg_type_has_binary(type));
}

int fpg_composite_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                              fpg_buf *out) {
  return write_row(L, cx, type, idx, out, 0);
}
