/* SPDX-License-Identifier: MIT
 *
 * value_numeric.c: fastpg.numeric as a Lua value.
 */
#include <math.h>
#include <stdio.h>

#include "float_text.h"
#include "number.h"
#include "raise.h"
#include "surface.h"
#include "value.h"

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

int fpg_numeric_coerce(lua_State *L, int idx, int text_too) {
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
  } else if (!fpg_numeric_coerce(L, 1, 1)) {
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

static const fpg_method numeric_methods[] = {{"tonumber", numeric_tonumber, 0}, {NULL, NULL, 0}};

static const fpg_value_class numeric_class = {
    .kind = FPG_V_NUMERIC,
    .methods = numeric_methods,
    .more_methods = fpg_numeric_math,
    .constructor = numeric_new,
    .constructor_name = "numeric",
};

void fpg_open_numeric(lua_State *L) { fpg_value_define(L, &numeric_class); }
