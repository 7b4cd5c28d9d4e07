/* SPDX-License-Identifier: MIT
 *
 * codec.c: what holds for all types: errors, questions about a type, writing a value by its type's functions.
 * See codec.h.
 */
#include "codec.h"

#include <stdio.h>

#include "number.h"
#include "raise.h"
#include "utf8.h"

const uint16_t fpg_traits_of[FPG_KIND_COUNT] = {
#define FPG_KIND(name, printed, traits) [FPG_KIND_##name] = FPG_TRAITS_##name,
    FPG_KINDS(FPG_KIND)
#undef FPG_KIND
};

/* ---- errors ------------------------------------------------------------------------------- */

int fpg_bad_length(lua_State *L, const fpg_type *type, const char *expected, size_t got) {
  return fpg_raise(L, "protocol_violation", "%s: expected %s bytes, got %d", type->name, expected,
                   (int)got);
}

int fpg_bad_binary(lua_State *L, const fpg_type *type) {
  return fpg_raise(L, "invalid_binary_representation", "%s: malformed binary value", type->name);
}

int fpg_bad_text(lua_State *L, const fpg_type *type) {
  return fpg_raise(L, "protocol_violation", "%s: the server's text can't be read", type->name);
}

/* Pushes "$2: ", of an element of an array "$2[3][1]: ", outside a parameter "" or "[3][1]: ". */
static const char *push_place(lua_State *L, const fpg_ctx *cx) {
  if (!cx->param && !cx->depth) return lua_pushfstring(L, "%s", "");
  luaL_checkstack(L, cx->depth + 4, "arguments");
  if (cx->param) lua_pushfstring(L, "$%d", cx->param);
  else lua_pushliteral(L, "");
  for (int i = 0; i < cx->depth; i++) lua_pushfstring(L, "[%d]", cx->path[i]);
  lua_pushliteral(L, ": ");
  lua_concat(L, cx->depth + 2);
  return lua_tostring(L, -1);
}

const char fpg_columns_key = 0;

/* Pushes the name of the column that the parameter is for, and returns it; or pushes nil. */
static const char *push_column(lua_State *L, const fpg_ctx *cx) {
  lua_pushnil(L);
  if (!cx->args || !cx->param) return NULL;
  lua_rawgetp(L, cx->args, &fpg_columns_key);
  if (lua_type(L, -1) == LUA_TTABLE) {
    lua_rawgeti(L, -1, cx->param);
    if (lua_type(L, -1) == LUA_TSTRING) lua_replace(L, -3);
    else lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return lua_tostring(L, -1);
}

int fpg_refuse(lua_State *L, const fpg_ctx *cx, const char *message) {
  luaL_checkstack(L, 8, "an error");
  const char *place = push_place(L, cx), *column = push_column(L, cx);
  int name = lua_gettop(L);
  if (column) fpg_push_error(L, "invalid_argument", "column \"%s\" (%s", column, place);
  else fpg_push_error(L, "invalid_argument", "%s%s", place, message);
  if (column) { /* the place ends in ": " */
    lua_getfield(L, -1, "message");
    const char *head = lua_tostring(L, -1);
    lua_pushlstring(L, head, strlen(head) - 2);
    lua_pushfstring(L, "%s): %s", lua_tostring(L, -1), message);
    lua_setfield(L, -4, "message");
    lua_pop(L, 2);
    lua_pushvalue(L, name);
    lua_setfield(L, -2, "column_name");
  }
  fpg_push_where(L);
  lua_setfield(L, -2, "where");
  return lua_error(L);
}

/* Whether it is a list in the place of one value of a condition, and not of a column that is written. */
static int is_list_for_value(lua_State *L, const fpg_ctx *cx, int idx) {
  if (!cx->param || cx->depth || lua_type(L, idx) != LUA_TTABLE || !lua_rawlen(L, idx)) return 0;
  return !push_column(L, cx);
}

int fpg_bad_value(lua_State *L, const fpg_ctx *cx, int idx, const char *expected) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 8, "an error");
  const char *way = is_list_for_value(L, cx, idx) ? " (one of a list of values is \"= any(?)\", not \"in (?)\")" : "";
  const char *got = fpg_describe(L, idx);
  return fpg_refuse(L, cx, lua_pushfstring(L, "%s expected, got %s%s", expected, got, way));
}

int fpg_out_of_range(lua_State *L, const fpg_ctx *cx, int idx, const fpg_type *type) {
  const char *got = fpg_describe(L, idx);
  return fpg_refuse(L, cx, lua_pushfstring(L, "%s expected, got %s, which is out of range",
                                           type->name, got));
}

int fpg_wrong_length(lua_State *L, const fpg_type *type, size_t want, size_t got) {
  char text[24];
  snprintf(text, sizeof text, "%zu", want);
  return fpg_bad_length(L, type, text, got);
}

/* ---- values that are ready --------------------------------------------------------------------- */

int fpg_push_ready(lua_State *L, const fpg_ctx *cx, const char *p) {
  if (!cx->ready) return 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, cx->ready);
  if (lua_istable(L, -1)) {
    lua_rawgetp(L, -1, p);
    lua_remove(L, -2);
    if (!lua_isnil(L, -1)) return 1;
  }
  lua_pop(L, 1);
  return 0;
}

/* ---- questions about a type ---------------------------------------------------------------- */

enum { DEEPEST = 32 }; /* a composite type may hold an array of itself */

/* Whether the text of a bound that is made here may differ from the server's. */
static int prints_its_own_way(const fpg_type *subtype) {
  return subtype->elem || subtype->nfields || subtype->traits & FPG_SERVER_PRINTS;
}

static int has_binary(const fpg_type *type, int depth, int no_choice) {
  if (!type->decode_binary) return 0;
  if (depth > DEEPEST) return 1;
  if (type->elem && !has_binary(type->elem, depth + 1, no_choice)) return 0;
  if (type->kind == FPG_KIND_RANGE && !no_choice && prints_its_own_way(type->elem)) return 0;
  for (int i = 0; i < type->nfields; i++)
    if (!has_binary(type->fields[i], depth + 1, no_choice)) return 0;
  return 1;
}

int fpg_type_has_binary(const fpg_type *type) { return has_binary(type, 0, 0); }

int fpg_type_reads_binary(const fpg_type *type) { return has_binary(type, 0, 1); }

static int text_needs(const fpg_type *type, int depth) {
  int needs = type->traits & FPG_NEEDS;
  if (depth > DEEPEST) return 0;
  if (type->elem) needs |= text_needs(type->elem, depth + 1);
  for (int i = 0; i < type->nfields; i++) needs |= text_needs(type->fields[i], depth + 1);
  return needs;
}

int fpg_type_text_needs(const fpg_type *type) { return text_needs(type, 0); }

int fpg_type_takes_lists(const fpg_type *type) { return (type->traits & FPG_TAKES_LISTS) != 0; }

int fpg_type_takes_tables(const fpg_type *type) {
  return type->nfields > 0 || type->traits & (FPG_TAKES_TABLES | FPG_TAKES_LISTS);
}

const char *fpg_type_kind(const fpg_type *type) {
  static const char *const kinds[] = {
#define FPG_KIND(name, printed, traits) printed,
      FPG_KINDS(FPG_KIND)
#undef FPG_KIND
  };
  if (type->traits & (FPG_READ_BY_USER | FPG_WRITTEN_BY_USER)) return "user";
  return kinds[type->kind];
}

/* (Where `encode` and `encode_text` are one function it writes text.) */
const char *fpg_type_binary_values(const fpg_type *type) {
  if (type->traits & FPG_TEXT_IS_BINARY) return "any";
  if (type->kind == FPG_KIND_ARRAY && !(type->traits & FPG_WRITTEN_BY_USER)) { /* a list may hold strings */
    const char *elements = fpg_type_binary_values(type->elem);
    if (elements && strcmp(elements, "any") == 0) return "values";
  }
  if (type->elem || type->nfields) return fpg_type_has_binary(type) ? "none" : NULL;
  if (type->encode == type->encode_text) return type->pack ? "none" : NULL;
  return type->kind == FPG_KIND_FLOAT4 || type->kind == FPG_KIND_FLOAT8 ? "numbers" : "values";
}

/* ---- writing a value --------------------------------------------------------------------------- */

void fpg_check_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *s,
                    size_t len) {
  if (fpg_valid_utf8(s, len)) return;
  fpg_refuse(L, cx,
             lua_pushfstring(L, "%s expected, got a string %s (bytes are for bytea parameters)",
                             !type->oid ? "text" : type->name,
                             memchr(s, 0, len) ? "with a zero byte" : "that is not UTF-8"));
}

int fpg_is_plain_text(lua_State *L, const fpg_type *type, int idx) {
  return lua_type(L, idx) == LUA_TSTRING && !(type->traits & FPG_STRING_IS_VALUE);
}

void fpg_put_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  fpg_check_text(L, cx, type, s, len);
  fpg_buf_put(L, out, s, len);
}

int fpg_put_string(lua_State *L, int idx, fpg_buf *out) {
  if (lua_type(L, idx) != LUA_TSTRING) return 0;
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  fpg_buf_put(L, out, s, len);
  return 1;
}

/* Checks what an encoder wrote from `start` on: strings may be anywhere inside of it. */
static void check_written(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const fpg_buf *out,
                          size_t start) {
  if (out->len > start) fpg_check_text(L, cx, type, out->data + start, out->len - start);
}

/* Appends a string's binary form; 0, and nothing, where the server is to parse it. */
static int pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  size_t start = out->len;
  if (type->pack && type->pack(L, type, s, len, out)) return 1;
  out->len = start;
  return 0;
}

/* The same for what an encoder wrote from `start` on: of a number, say, which is short. */
static int pack_written(lua_State *L, const fpg_type *type, fpg_buf *out, size_t start) {
  char text[32] = {0};
  size_t len = out->len - start;
  if (!type->pack || len > sizeof text) return 0;
  if (len) memcpy(text, out->data + start, len);
  out->len = start;
  if (pack(L, type, text, len, out)) return 1;
  fpg_buf_put(L, out, text, len);
  return 0;
}

int fpg_encode_param(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                     const char **direct, size_t *direct_len) {
  size_t start = out->len;
  if (lua_type(L, idx) == LUA_TSTRING && !(type->traits & FPG_STRING_IS_VALUE)) {
    const char *s = lua_tolstring(L, idx, direct_len);
    fpg_check_text(L, cx, type, s, *direct_len);
    if (type->pack && pack(L, type, s, *direct_len, out)) return FPG_BINARY;
    *direct = s;
    return FPG_TEXT;
  }
  if (type->traits & FPG_STRING_IS_BYTES && lua_type(L, idx) == LUA_TSTRING) {
    *direct = lua_tolstring(L, idx, direct_len);
    return FPG_BINARY;
  }
  if (type->encode(L, cx, type, idx, out) == FPG_BINARY) return FPG_BINARY;
  check_written(L, cx, type, out, start);
  return pack_written(L, type, out, start) ? FPG_BINARY : FPG_TEXT;
}

void fpg_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  size_t start = out->len;
  if (fpg_is_plain_text(L, type, idx)) {
    fpg_put_text(L, cx, type, idx, out);
  } else {
    type->encode_text(L, cx, type, idx, out);
    check_written(L, cx, type, out, start);
  }
}

static int encode_string_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                                fpg_buf *out) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  if (!type->pack && !(type->traits & FPG_TEXT_IS_BINARY)) return 0;
  fpg_check_text(L, cx, type, s, len);
  if (type->pack) return pack(L, type, s, len, out);
  fpg_buf_put(L, out, s, len);
  return 1;
}

int fpg_encode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                      fpg_buf *out) {
  if (fpg_is_plain_text(L, type, idx)) return encode_string_binary(L, cx, type, idx, out);
  if (type->traits & FPG_VERSION_FIRST) fpg_buf_putc(L, out, 1);
  size_t start = out->len;
  if (type->encode(L, cx, type, idx, out) == FPG_BINARY || type->traits & FPG_TEXT_IS_BINARY) return 1;
  return pack_written(L, type, out, start);
}
