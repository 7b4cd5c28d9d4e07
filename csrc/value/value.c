/* SPDX-License-Identifier: MIT
 *
 * value.c: what the value objects have in common: kinds, metatables, text, order.
 *
 * The registry holds each kind's metatable under the address of its row in `kinds`; a metatable
 * holds its class under the address of `class_key`, which no Lua code can make up.
 */
#include "value.h"

#include <stdarg.h>

#include "numeric_math.h"
#include "raise.h"

static const char *const kinds[FPG_V_COUNT] = {
    NULL,           "fastpg.numeric",   "fastpg.date",        "fastpg.time",
    "fastpg.timetz", "fastpg.timestamp", "fastpg.timestamptz", "fastpg.interval",
    "fastpg.range",  "fastpg.multirange",
};
static const char class_key = 0;

const char *fpg_value_name(int kind) { return kinds[kind]; }

/* The class of the value at idx, NULL when it is none of ours. */
static const fpg_value_class *class_of(lua_State *L, int idx) {
  if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx)) return NULL;
  lua_rawgetp(L, -1, &class_key);
  const fpg_value_class *c = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return c;
}

int fpg_value_kind(lua_State *L, int idx) {
  const fpg_value_class *c = class_of(L, idx);
  return c ? c->kind : FPG_V_NONE;
}

void *fpg_value_to(lua_State *L, int idx, int kind) {
  return fpg_value_kind(L, idx) == kind ? lua_touserdata(L, idx) : NULL;
}

int fpg_value_raise(lua_State *L, const char *name, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *message = lua_pushvfstring(L, fmt, ap);
  va_end(ap);
  fpg_push_error(L, name, "%s", message);
  fpg_push_where(L);
  lua_setfield(L, -2, "where");
  return lua_error(L);
}

void *fpg_value_check(lua_State *L, int idx, int kind) {
  void *v = fpg_value_to(L, idx, kind);
  if (!v)
    fpg_value_raise(L, "invalid_argument", "%s expected, got %s", kinds[kind],
                    fpg_describe(L, idx));
  return v;
}

void *fpg_value_new(lua_State *L, int kind, size_t size) {
  void *v = fpg_newuserdata(L, size);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kinds[kind]);
  lua_setmetatable(L, -2);
  return v;
}

/* ---- text --------------------------------------------------------------------------------- */

int fpg_value_text(lua_State *L, int idx, fpg_buf *out) {
  const fpg_value_class *c = class_of(L, idx);
  if (!c) return FPG_V_NONE;
  size_t room = c->text(L, idx, NULL);
  char *at = fpg_buf_grow(L, out, room);
  out->len -= room - c->text(L, idx, at);
  return c->kind;
}

enum { SMALL_TEXT = 256 };

static int value_tostring(lua_State *L) {
  const fpg_value_class *c = class_of(L, 1);
  if (!c) return fpg_value_raise(L, "invalid_argument", "a value of fastpg expected");
  if (c->text(L, 1, NULL) <= SMALL_TEXT) {
    char text[SMALL_TEXT];
    lua_pushlstring(L, text, c->text(L, 1, text));
  } else {
    fpg_buf *b = fpg_buf_new(L);
    fpg_value_text(L, 1, b);
    lua_pushlstring(L, b->data, b->len);
    fpg_buf_free(L, b);
  }
  return 1;
}

/* ---- order -------------------------------------------------------------------------------- */

int fpg_value_cmp(lua_State *L, int a, int b) {
  const fpg_value_class *c = class_of(L, a);
  return c->cmp(c->kind, lua_touserdata(L, a), lua_touserdata(L, b));
}

/* Pushes what is at idx as a value of the class; 0 where it can't be one. */
static int coerce(lua_State *L, int idx, const fpg_value_class *c, int text_too) {
  if (class_of(L, idx) != c) return c->coerce(L, idx, c->kind, text_too);
  lua_pushvalue(L, idx);
  return 1;
}

/* The class of the value at idx, where its values have an order. */
static const fpg_value_class *ordered(lua_State *L, int idx) {
  const fpg_value_class *c = class_of(L, idx);
  return c && c->cmp ? c : NULL;
}

/* Orders the values at 1 and 2, one of which is ours. */
static int order(lua_State *L, int text_too) {
  const fpg_value_class *c = ordered(L, 1);
  if (!c) c = ordered(L, 2);
  if (!c) return fpg_value_raise(L, "invalid_argument", "a value of fastpg expected");
  lua_settop(L, 2);
  if (!coerce(L, 1, c, text_too) || !coerce(L, 2, c, text_too)) {
    const char *a = fpg_describe(L, 1), *b = fpg_describe(L, 2);
    return fpg_value_raise(L, "invalid_argument", "cannot compare %s with %s", a, b);
  }
  return c->cmp(c->kind, lua_touserdata(L, 3), lua_touserdata(L, 4));
}

static int value_eq(lua_State *L) {
  const fpg_value_class *c = ordered(L, 1);
  lua_pushboolean(L, c && c == class_of(L, 2) && fpg_value_cmp(L, 1, 2) == 0);
  return 1;
}
static int value_lt(lua_State *L) {
  lua_pushboolean(L, order(L, 0) < 0);
  return 1;
}
static int value_le(lua_State *L) {
  lua_pushboolean(L, order(L, 0) <= 0);
  return 1;
}

/* A method knows its class and takes no other's value: d.lt is the date's. */
const void *fpg_value_self(lua_State *L) {
  return fpg_value_check(L, 1, fpg_method_owner(L));
}

static int method_order(lua_State *L) {
  fpg_value_self(L);
  return order(L, 1);
}

/* v:cmp(x) -> -1, 0 or 1; x a value of the same type, its text, for a numeric also a number. */
static int method_cmp(lua_State *L) {
  lua_pushinteger(L, method_order(L));
  return 1;
}
static int method_eq(lua_State *L) {
  lua_pushboolean(L, method_order(L) == 0);
  return 1;
}
static int method_lt(lua_State *L) {
  lua_pushboolean(L, method_order(L) < 0);
  return 1;
}
static int method_le(lua_State *L) {
  lua_pushboolean(L, method_order(L) <= 0);
  return 1;
}

/* ---- arithmetic ---------------------------------------------------------------------------- */

int fpg_arith_undefined(lua_State *L, int op) {
  static const char *const names[] = {"+", "-", "*", "/", "%", "^"};
  const char *a = fpg_describe(L, 1), *b = fpg_describe(L, 2);
  return fpg_value_raise(L, "invalid_argument", "%s %s %s is not defined", a, names[op], b);
}

/* Of two kinds the later one knows the earlier. */
static int arith(lua_State *L, int op) {
  const fpg_value_class *a = class_of(L, 1), *b = class_of(L, 2), *c = !a || (b && b->kind > a->kind) ? b : a;
  return c && c->arith ? c->arith(L, op) : fpg_arith_undefined(L, op);
}

static int value_add(lua_State *L) { return arith(L, FPG_MATH_ADD); }
static int value_sub(lua_State *L) { return arith(L, FPG_MATH_SUB); }
static int value_mul(lua_State *L) { return arith(L, FPG_MATH_MUL); }
static int value_div(lua_State *L) { return arith(L, FPG_MATH_DIV); }
static int value_mod(lua_State *L) { return arith(L, FPG_MATH_MOD); }
static int value_pow(lua_State *L) { return arith(L, FPG_MATH_POW); }

static int value_unm(lua_State *L) {
  const fpg_value_class *c = class_of(L, 1);
  if (c && c->negate) return c->negate(L);
  return fpg_value_raise(L, "invalid_argument", "- %s is not defined", fpg_describe(L, 1));
}

/* ---- concatenation ------------------------------------------------------------------------ */

/* Appends an operand as it prints; 0 where it is neither a value nor a string nor a number. */
static int append_operand(lua_State *L, int idx, fpg_buf *out) {
  if (fpg_value_text(L, idx, out)) return 1;
  if (lua_type(L, idx) != LUA_TSTRING && lua_type(L, idx) != LUA_TNUMBER) return 0;
  size_t len;
  lua_pushvalue(L, idx); /* a number at idx stays one */
  const char *s = lua_tolstring(L, -1, &len);
  fpg_buf_put(L, out, s, len);
  lua_pop(L, 1);
  return 1;
}

/* a .. b, one of which is a value: as both print.  What is neither text nor a value may know better (a
 * Table does). */
static int value_concat(lua_State *L) {
  lua_settop(L, 2);
  fpg_buf *b = fpg_buf_new(L);
  int other = !append_operand(L, 1, b) ? 1 : !append_operand(L, 2, b) ? 2 : 0;
  if (!other) {
    lua_pushlstring(L, b->data ? b->data : "", b->len);
    fpg_buf_free(L, b);
    return 1;
  }
  fpg_buf_free(L, b);
  if (!luaL_getmetafield(L, other, "__concat"))
    return fpg_value_raise(L, "invalid_argument", "cannot concatenate %s with %s",
                           fpg_describe(L, 1), fpg_describe(L, 2));
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_call(L, 2, 1);
  return 1;
}

/* ---- metatables --------------------------------------------------------------------------- */

int fpg_value_unknown(lua_State *L, int kind, int known) {
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "__";
  if (strncmp(key, "__", 2) == 0) return 0;
  return fpg_unknown_name(L, kinds[kind], 2, known);
}

/* Upvalues: the table name -> method or number of a field; the class. */
static int value_index(lua_State *L) {
  int kind = fpg_value_kind(L, 1);
  const fpg_value_class *c = lua_touserdata(L, lua_upvalueindex(2));
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  if (lua_type(L, -1) == LUA_TNUMBER && kind == c->kind)
    c->field(L, kind, lua_touserdata(L, 1), (int)lua_tointeger(L, -1));
  else if (lua_isnil(L, -1))
    return fpg_value_unknown(L, c->kind, lua_upvalueindex(1));
  return 1;
}

static int value_newindex(lua_State *L) {
  return fpg_value_raise(L, "invalid_argument", "%s cannot be changed", fpg_describe(L, 1));
}

static const fpg_method common_methods[] = {
    {"cmp", method_cmp, 1}, {"eq", method_eq, 1}, {"lt", method_lt, 1}, {"le", method_le, 1}, {NULL, NULL, 0}};
static const luaL_Reg common_meta[] = {
    {"__concat", value_concat}, {"__newindex", value_newindex}, {NULL, NULL}};
static const luaL_Reg scalar_meta[] = {
    {"__tostring", value_tostring}, {"__eq", value_eq}, {"__lt", value_lt}, {"__le", value_le},
    {"__add", value_add}, {"__sub", value_sub}, {"__mul", value_mul}, {"__div", value_div},
    {"__mod", value_mod}, {"__pow", value_pow}, {"__unm", value_unm}, {NULL, NULL}};

/* Pushes a metatable with what all kinds have. */
static void push_metatable(lua_State *L, const fpg_value_class *c) {
  lua_createtable(L, 0, 16);
  luaL_setfuncs(L, common_meta, 0);
  lua_pushstring(L, kinds[c->kind]);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__name");
  lua_setfield(L, -2, "__metatable");
  lua_pushlightuserdata(L, (void *)(uintptr_t)c);
  lua_rawsetp(L, -2, &class_key);
}

void fpg_value_metatable(lua_State *L, const fpg_value_class *c, const luaL_Reg *meta) {
  push_metatable(L, c);
  lua_insert(L, -2);
  lua_setfield(L, -2, "__index");
  luaL_setfuncs(L, meta, 0);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kinds[c->kind]);
}

void fpg_value_define(lua_State *L, const fpg_value_class *c) {
  push_metatable(L, c);
  luaL_setfuncs(L, scalar_meta, 0);

  lua_createtable(L, 0, 16); /* what __index finds */
  fpg_set_methods(L, common_methods, c->kind);
  fpg_set_methods(L, c->methods, c->kind);
  for (int i = 0; c->fields && c->fields[i]; i++) {
    lua_pushinteger(L, i);
    lua_setfield(L, -2, c->fields[i]);
  }
  lua_pushlightuserdata(L, (void *)(uintptr_t)c);
  lua_pushcclosure(L, value_index, 2);
  lua_setfield(L, -2, "__index");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kinds[c->kind]);

  lua_pushcfunction(L, c->constructor);
  lua_setfield(L, -2, c->constructor_name);
}
