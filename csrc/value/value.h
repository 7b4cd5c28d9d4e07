/* SPDX-License-Identifier: MIT
 *
 * value.h: the value objects: numerics, dates, times, intervals, ranges as immutable userdata.
 *
 * All share one protocol: the metatable holds the class under a private key, `__index` finds a field or a method,
 * `__tostring` is the server's text.  What a class can do hangs on it as functions, so that this file knows none of
 * them.  A userdata's bytes are the class's own (value_numeric.h, time_cast.h, value_range.h); they own nothing, so
 * they need no __gc.
 */
#ifndef FASTPG_VALUE_H
#define FASTPG_VALUE_H

#include "buffer.h"
#include "surface.h"

enum {
  FPG_V_NONE,
  FPG_V_NUMERIC,
  FPG_V_DATE,
  FPG_V_TIME,
  FPG_V_TIMETZ,
  FPG_V_TIMESTAMP,
  FPG_V_TIMESTAMPTZ,
  FPG_V_INTERVAL,
  FPG_V_RANGE,
  FPG_V_MULTIRANGE,
  FPG_V_COUNT
};

/* ---- for other C code --------------------------------------------------------------------- */

/* The kind of the value at idx, FPG_V_NONE when it is none of ours. */
int fpg_value_kind(lua_State *L, int idx);
static inline int fpg_is_numeric(lua_State *L, int idx) {
  return fpg_value_kind(L, idx) == FPG_V_NUMERIC;
}
/* Appends the server's text of the value at idx; its kind, or FPG_V_NONE and nothing appended. */
int fpg_value_text(lua_State *L, int idx, fpg_buf *out);

/* "fastpg.date" of FPG_V_DATE. */
const char *fpg_value_name(int kind);

/* ---- for the classes ---------------------------------------------------------------------- */

typedef struct fpg_value_class {
  int kind;
  /* Writes the server's text of the value at idx to `to` and gives its length; with NULL only how much room it takes. */
  size_t (*text)(lua_State *L, int idx, char *to);
  /* The order of two values of the kind; NULL: they have none. */
  int (*cmp)(int kind, const void *a, const void *b);
  /* What cmp, eq, lt and le accept beside their own kind: pushes a value of the kind or returns 0. */
  int (*coerce)(lua_State *L, int idx, int kind, int text_too);
  /* An operation (FPG_MATH_ADD …, see numeric_math.h) on the values at 1 and 2, of which one is of the kind and the
   * other of none or of an earlier one; pushes the result.  NULL: none is defined. */
  int (*arith)(lua_State *L, int op);
  int (*negate)(lua_State *L); /* of the value at 1 */
  const char *const *fields;   /* names, NULL at the end; the getter gets the position */
  void (*field)(lua_State *L, int kind, const void *v, int i);
  const fpg_method *methods;
  lua_CFunction constructor;
  const char *constructor_name;
} fpg_value_class;

/* Makes the metatable and adds the constructor to the table on top of the stack. */
void fpg_value_define(lua_State *L, const fpg_value_class *c);
/* Makes the metatable of a class that has a way of its own: from its __index, which it takes from the stack, and
 * `meta`, beside what all have. */
void fpg_value_metatable(lua_State *L, const fpg_value_class *c, const luaL_Reg *meta);
/* What __index gives for a key at 2 that is neither a field nor a key of the table `known`: an error for
 * a name, nil for keys of other types, and for those of Lua's own kind (__name), which tools ask for. */
int fpg_value_unknown(lua_State *L, int kind, int known);

/* Pushes an empty value. */
void *fpg_value_new(lua_State *L, int kind, size_t size);
/* The value at idx, NULL when it is of another kind. */
void *fpg_value_to(lua_State *L, int idx, int kind);
/* The same, raising "fastpg.date expected, got …". */
void *fpg_value_check(lua_State *L, int idx, int kind);
/* In a method of a class: its own value, raising where it was called with another's. */
const void *fpg_value_self(lua_State *L);
/* The order of two values of one kind, which has one. */
int fpg_value_cmp(lua_State *L, int a, int b);
/* Raises an error that names the line of the Lua code that called the running C function. */
int fpg_value_raise(lua_State *L, const char *name, const char *fmt, ...);
/* Raises "fastpg.date + table is not defined". */
int fpg_arith_undefined(lua_State *L, int op);

#endif
