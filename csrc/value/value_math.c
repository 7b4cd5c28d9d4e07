/* SPDX-License-Identifier: MIT
 *
 * value_math.c: arithmetic of fastpg.numeric.
 *
 * GMP's integers live in one userdata of the Lua state, so that an error while the result is
 * allocated leaks nothing.  GMP's own allocator is left as it is: it is the process's, not ours.
 */
#include "number.h"
#include "numeric_math.h"
#include "raise.h"
#include "surface.h"
#include "value.h"

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

int fpg_arith_undefined(lua_State *L, int op) {
  static const char *const names[] = {"+", "-", "*", "/", "%", "^"};
  const char *a = fpg_describe(L, 1), *b = fpg_describe(L, 2);
  return fpg_value_raise(L, "invalid_argument", "%s %s %s is not defined", a, names[op], b);
}

int fpg_numeric_arith(lua_State *L, int op) {
  lua_settop(L, 2);
  for (int i = 1; i <= 2; i++) {
    if (fpg_is_numeric(L, i)) lua_pushvalue(L, i);
    else if (!fpg_push_numeric_of(L, i)) return fpg_arith_undefined(L, op);
  }
  fpg_math *m = math_of(L);
  return push_result(L, m, fpg_math_op(m, op, lua_touserdata(L, 3), lua_touserdata(L, 4)));
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

static int numeric_unm(lua_State *L, const fpg_num *n) {
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

/* ---- metamethods of all value types ------------------------------------------------------- */

static int is_time(lua_State *L, int idx) { return fpg_value_kind(L, idx) > FPG_V_NUMERIC; }

static int arith(lua_State *L, int op) {
  return is_time(L, 1) || is_time(L, 2) ? fpg_time_arith(L, op) : fpg_numeric_arith(L, op);
}

static int value_add(lua_State *L) { return arith(L, FPG_MATH_ADD); }
static int value_sub(lua_State *L) { return arith(L, FPG_MATH_SUB); }
static int value_mul(lua_State *L) { return arith(L, FPG_MATH_MUL); }
static int value_div(lua_State *L) { return arith(L, FPG_MATH_DIV); }
static int value_mod(lua_State *L) { return arith(L, FPG_MATH_MOD); }
static int value_pow(lua_State *L) { return arith(L, FPG_MATH_POW); }

static int value_unm(lua_State *L) {
  const fpg_num *n = fpg_value_to(L, 1, FPG_V_NUMERIC);
  if (n) return numeric_unm(L, n);
  fpg_interval zero = {0}; /* -v is 0 - v, for an interval */
  lua_settop(L, 1);
  if (fpg_value_to(L, 1, FPG_V_INTERVAL)) {
    fpg_push_interval(L, &zero);
    lua_insert(L, 1);
    return fpg_time_arith(L, FPG_MATH_SUB);
  }
  return fpg_value_raise(L, "invalid_argument", "- %s is not defined", fpg_describe(L, 1));
}

const fpg_method fpg_numeric_math[] = {
    {"round", numeric_round, 1}, {"abs", numeric_abs, 0}, {NULL, NULL, 0}};
const luaL_Reg fpg_arith_meta[] = {{"__add", value_add}, {"__sub", value_sub}, {"__mul", value_mul},
                                   {"__div", value_div}, {"__mod", value_mod}, {"__pow", value_pow},
                                   {"__unm", value_unm}, {NULL, NULL}};

void fpg_open_math(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, math_gc);
  lua_setfield(L, -2, "__gc");
  fpg_math *m = fpg_newuserdata(L, sizeof *m);
  fpg_math_init(m);
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &math_key);
}
