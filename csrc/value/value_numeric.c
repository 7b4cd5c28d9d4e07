/* SPDX-License-Identifier: MIT
 *
 * value_numeric.c: fastpg.numeric: making, text, order, arithmetic.
 *
 * GMP's integers live in one userdata of the Lua state, so that an error while the result is
 * allocated leaks nothing.  GMP's own allocator is left as it is: it is the process's, not ours.
 */
#include "value_numeric.h"

#include <stdio.h>

#include "float_text.h"
#include "number.h"
#include "numeric_math.h"
#include "numeric_power.h"
#include "raise.h"
#include "surface.h"
#include "value.h"

/* ---- making ------------------------------------------------------------------------------- */

fpg_num *fpg_new_numeric(lua_State *L, size_t ndigits) {
  fpg_num *n = fpg_value_new(L, FPG_V_NUMERIC, fpg_num_size(ndigits));
  n->ndigits = n->weight = 0;
  n->sign = n->dscale = 0;
  return n;
}

/* Pushes the numeric; or pushes nothing and says why. */
static int push_text(lua_State *L, const char *s, size_t len) {
  fpg_num_scan scan;
  int status = fpg_num_parse(s, len, &scan);
  if (status == FPG_NUM_OK) fpg_num_build(fpg_new_numeric(L, (size_t)scan.ndigits), &scan);
  return status;
}

void fpg_push_numeric_text(lua_State *L, const char *s, size_t len) {
  int status = push_text(L, s, len);
  if (status == FPG_NUM_OVERFLOW)
    fpg_value_raise(L, "numeric_value_out_of_range", "value overflows numeric format");
  else if (status != FPG_NUM_OK)
    fpg_value_raise(L, "invalid_text_representation", "numeric: the text is not a number");
}

/* LuaJIT's int64 and uint64. */
static int push_cdata(lua_State *L, int idx) {
  uint64_t v;
  char text[24];
  int sign = fpg_cdata_integer(L, idx, &v);
  if (!sign) return 0;
  int len = sign < 0 ? snprintf(text, sizeof text, "%lld", (long long)v)
                     : snprintf(text, sizeof text, "%llu", (unsigned long long)v);
  return push_text(L, text, (size_t)len) == FPG_NUM_OK;
}

int fpg_push_numeric_of(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  int type = lua_type(L, idx);
  if (type == FPG_TCDATA) return push_cdata(L, idx);
  if (type != LUA_TNUMBER) return 0;
  char text[48];
  int64_t v;
  size_t len;
  if ((!FPG_HAS_INTEGER || lua_isinteger(L, idx)) && fpg_to_int64(L, idx, &v))
    len = (size_t)snprintf(text, sizeof text, "%lld", (long long)v);
  else
    len = fpg_float_text(text, (double)lua_tonumber(L, idx), 0);
  return push_text(L, text, len) == FPG_NUM_OK;
}

static int numeric_coerce(lua_State *L, int idx, int kind, int text_too) {
  (void)kind;
  if (lua_type(L, idx) != LUA_TSTRING) return fpg_push_numeric_of(L, idx);
  if (!text_too) return 0;
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  fpg_push_numeric_text(L, s, len);
  return 1;
}

/* fastpg.numeric(x): x is text, a number or a numeric. */
static int numeric_new(lua_State *L) {
  if (fpg_is_numeric(L, 1)) {
    lua_settop(L, 1);
  } else if (!numeric_coerce(L, 1, FPG_V_NUMERIC, 1)) {
    return fpg_value_raise(L, "invalid_argument", "numeric: text or a number expected, got %s",
                           fpg_describe(L, 1));
  }
  return 1;
}

/* n:tonumber(): an integer where the scale is 0 and this Lua has it, else the nearest float. */
static int numeric_tonumber(lua_State *L) {
  const fpg_num *n = fpg_value_self(L);
#if FPG_HAS_INTEGER
  int64_t v;
  if (n->dscale == 0 && fpg_num_int64(n, &v)) {
    lua_pushinteger(L, (lua_Integer)v);
    return 1;
  }
#endif
  lua_pushnumber(L, (lua_Number)fpg_num_double(n));
  return 1;
}

/* ---- text and order ----------------------------------------------------------------------- */

static size_t numeric_text(lua_State *L, int idx, char *to) {
  const fpg_num *n = lua_touserdata(L, idx);
  return to ? fpg_num_text(n, to) : fpg_num_text_size(n);
}

static int numeric_cmp(int kind, const void *a, const void *b) {
  (void)kind;
  return fpg_num_cmp(a, b);
}

/* ---- arithmetic ---------------------------------------------------------------------------- */

static const char math_key = 0;

/* Ready for use again: when the state closes, another object's finalizer may still calculate. */
static int math_gc(lua_State *L) {
  fpg_math_clear(lua_touserdata(L, 1));
  fpg_math_init(lua_touserdata(L, 1));
  return 0;
}

static fpg_math *math_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &math_key);
  fpg_math *m = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return m;
}

static int raise_math(lua_State *L, int status) {
  switch (status) {
  case FPG_MATH_DIVISION_BY_ZERO:
    return fpg_value_raise(L, "division_by_zero", "division by zero");
  case FPG_MATH_ZERO_TO_NEGATIVE:
    return fpg_value_raise(L, "invalid_argument_for_power_function",
                           "zero raised to a negative power is undefined");
  case FPG_MATH_COMPLEX:
    return fpg_value_raise(
        L, "invalid_argument_for_power_function",
        "a negative number raised to a non-integer power yields a complex result");
  default:
    return fpg_value_raise(L, "numeric_value_out_of_range", "value overflows numeric format");
  }
}

/* Pushes what an operation left in m. */
static int push_result(lua_State *L, fpg_math *m, int status) {
  if (status == FPG_MATH_SPECIAL) {
    fpg_new_numeric(L, 0)->sign = m->special;
    return 1;
  }
  size_t room = status == FPG_MATH_OK ? fpg_math_room(m) : 0;
  if (room) {
    fpg_num *n = fpg_new_numeric(L, room);
    fpg_math_result(m, n);
    if (n->weight > FPG_NUM_MAX_WEIGHT) room = 0;
  }
  fpg_math_trim(m);
  return room ? 1 : raise_math(L, status);
}

static int numeric_arith(lua_State *L, int op) {
  lua_settop(L, 2);
  for (int i = 1; i <= 2; i++) {
    if (fpg_is_numeric(L, i)) lua_pushvalue(L, i);
    else if (!fpg_push_numeric_of(L, i)) return fpg_arith_undefined(L, op);
  }
  fpg_math *m = math_of(L);
  const fpg_num *a = lua_touserdata(L, 3), *b = lua_touserdata(L, 4);
  return push_result(L, m, op == FPG_MATH_POW ? fpg_math_power(m, a, b) : fpg_math_op(m, op, a, b));
}

/* n:round(digits): half away from zero; 0 digits when left out, negative ones before the point. */
static int numeric_round(lua_State *L) {
  const fpg_num *n = fpg_value_self(L);
  int64_t digits = 0;
  if (!lua_isnoneornil(L, 2) && !fpg_to_int64(L, 2, &digits))
    return fpg_value_raise(L, "invalid_argument", "round: integer expected, got %s",
                           fpg_describe(L, 2));
  fpg_math *m = math_of(L);
  return push_result(L, m, fpg_math_round(m, n, digits));
}

/* Pushes a copy of n with that sign. */
static int push_copy(lua_State *L, const fpg_num *n, uint16_t sign) {
  fpg_num *copy = fpg_new_numeric(L, (size_t)n->ndigits);
  memcpy(copy, n, fpg_num_size((size_t)n->ndigits));
  copy->sign = n->ndigits || !fpg_num_finite(n) ? sign : FPG_NUM_POS;
  return 1;
}

static int numeric_abs(lua_State *L) {
  const fpg_num *n = fpg_value_self(L);
  uint16_t sign = n->sign == FPG_NUM_NEG ? FPG_NUM_POS
                  : n->sign == FPG_NUM_NINF ? FPG_NUM_PINF
                                            : n->sign;
  return push_copy(L, n, sign);
}

static int numeric_negate(lua_State *L) {
  const fpg_num *n = lua_touserdata(L, 1);
  uint16_t sign = FPG_NUM_NAN;
  switch (n->sign) {
  case FPG_NUM_POS: sign = FPG_NUM_NEG; break;
  case FPG_NUM_NEG: sign = FPG_NUM_POS; break;
  case FPG_NUM_PINF: sign = FPG_NUM_NINF; break;
  case FPG_NUM_NINF: sign = FPG_NUM_PINF; break;
  default: break;
  }
  return push_copy(L, n, sign);
}

/* ---- the class ------------------------------------------------------------------------------ */

static const fpg_method numeric_methods[] = {
    {"tonumber", numeric_tonumber, 0}, {"round", numeric_round, 1}, {"abs", numeric_abs, 0}, {NULL, NULL, 0}};

static const fpg_value_class numeric_class = {
    .kind = FPG_V_NUMERIC,
    .text = numeric_text,
    .cmp = numeric_cmp,
    .coerce = numeric_coerce,
    .arith = numeric_arith,
    .negate = numeric_negate,
    .methods = numeric_methods,
    .constructor = numeric_new,
    .constructor_name = "numeric",
};

/* Keeps the integers that operations work with. */
static void keep_math(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, math_gc);
  lua_setfield(L, -2, "__gc");
  fpg_math *m = fpg_newuserdata(L, sizeof *m);
  fpg_math_init(m);
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &math_key);
}

void fpg_open_value_numeric(lua_State *L) {
  keep_math(L);
  fpg_value_define(L, &numeric_class);
}
