/* SPDX-License-Identifier: MIT
 *
 * value.h: the value objects: numerics, dates, times, intervals as immutable userdata.
 *
 * All seven types share one protocol: the metatable holds the kind under a private key, `__index`
 * finds a field or a method, `__tostring` is the server's text.  A userdata's bytes are the structs
 * below (fpg_num for a numeric).  They own nothing, so they need no __gc.
 */
#ifndef FASTPG_VALUE_H
#define FASTPG_VALUE_H

#include "buffer.h"
#include "datetime.h"
#include "numeric.h"
#include "surface.h"
#include "tz.h"

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

typedef struct fpg_date {
  int32_t days;
} fpg_date;
typedef struct fpg_time { /* also a timestamp */
  int64_t usec;
} fpg_time;
typedef struct fpg_timetz {
  int64_t usec;
  int32_t offset;
} fpg_timetz;
typedef struct fpg_tstz {
  int64_t usec;
  const fpg_tz *zone; /* kept alive by the Lua state; NULL: the offset below */
  int32_t offset;
} fpg_tstz;

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

/* Each pushes one value. */
void fpg_push_numeric_text(lua_State *L, const char *s, size_t len); /* raises on no number */
void fpg_push_date(lua_State *L, int32_t days);
void fpg_push_time(lua_State *L, int64_t usec);
void fpg_push_timetz(lua_State *L, int64_t usec, int32_t offset);
void fpg_push_timestamp(lua_State *L, int64_t usec);
void fpg_push_timestamptz(lua_State *L, int64_t usec, const fpg_tz *zone, int32_t offset);
void fpg_push_interval(lua_State *L, const fpg_interval *v);

/* Pushes a numeric with room for ndigits, to be filled before anything else runs. */
fpg_num *fpg_new_numeric(lua_State *L, size_t ndigits);
/* Pushes the numeric of the number at idx (integer, float, int64 cdata); false, nothing pushed,
 * when it is none. */
int fpg_push_numeric_of(lua_State *L, int idx);

/* The zone of that name, NULL when it can't be loaded (now).  It lives as long as the Lua state. */
const fpg_tz *fpg_zone(lua_State *L, const char *name);

/* Seconds east of UTC at that value's instant. */
int32_t fpg_tstz_offset(const fpg_tstz *v);
/* What a clock shows, the infinities as they are; and the instant where it shows that. */
int64_t fpg_tstz_clock(const fpg_tstz *v);
int64_t fpg_clock_to_instant(int64_t clock, const fpg_tz *zone);

/* A time value (date .. interval) made of what is at idx: another time value (as by a cast), text,
 * a table of fields.  `zone` is for what names no offset itself.  On success 1 and the value is in
 * *out; 0: not that kind of thing; else one of: */
enum {
  FPG_FIELDS_RANGE = -1,
  FPG_FIELDS_UNKNOWN = -2, /* of a table: then its key is on top of the stack */
  FPG_FIELDS_MISSING = -3,
  FPG_TEXT_BAD = -4,
  FPG_OFFSET_RANGE = -5,
  FPG_INTERVAL_RANGE = -6, /* of text: the server has a condition of its own for it */
  FPG_FIELDS_SURPLUS = -7, /* more numbers than the constructor has fields */
};
typedef union fpg_any {
  fpg_date date;
  fpg_time time;
  fpg_timetz timetz;
  fpg_tstz tstz;
  fpg_interval interval;
} fpg_any;
int fpg_time_of_text(const char *s, size_t len, int kind, const fpg_tz *zone, fpg_any *out);
int fpg_time_of_table(lua_State *L, int idx, int kind, const fpg_tz *zone, fpg_any *out);
/* Pushes the names of a kind's fields: a table whose keys they are, and a text, which is returned. */
const char *fpg_time_field_names(lua_State *L, int kind);
int fpg_time_of_value(int from, const void *v, int kind, const fpg_tz *zone, fpg_any *out);
/* True when the conversion loses nothing but the zone. */
int fpg_time_cast_safe(int from, int to);
void fpg_push_any(lua_State *L, int kind, const fpg_any *v);
size_t fpg_time_value_text(int kind, const void *v, char *buf);

/* ---- ranges (value_range.c) --------------------------------------------------------------- */

enum { /* the wire format's */
  FPG_RANGE_EMPTY = 1,
  FPG_RANGE_LOWER_INC = 2,
  FPG_RANGE_UPPER_INC = 4,
  FPG_RANGE_LOWER_INF = 8,
  FPG_RANGE_UPPER_INF = 16,
  FPG_RANGE_FLAGS = 31
};

/* Takes lower, upper and the text from the stack (three values), pushes the range. */
void fpg_push_range(lua_State *L, int flags);
/* Takes the list of ranges and the text, pushes the multirange. */
void fpg_push_multirange(lua_State *L);
/* The flags of the range at idx; pushes its two bounds. */
int fpg_range_parts(lua_State *L, int idx);
/* Appends the text of the range or multirange at idx. */
void fpg_range_text(lua_State *L, int idx, fpg_buf *out);
/* Appends a bound's text, quoted where it has to be. */
void fpg_range_put_bound(lua_State *L, fpg_buf *out, const char *s, size_t len);

/* ---- among the value files ---------------------------------------------------------------- */

/* The value at idx, NULL when it is of another kind. */
void *fpg_value_to(lua_State *L, int idx, int kind);
/* The same, raising "method: fastpg.date expected, got …". */
void *fpg_value_check(lua_State *L, int idx, int kind);
/* In a method of a class: its own value, raising where it was called with another's. */
const void *fpg_value_self(lua_State *L);
void *fpg_value_new(lua_State *L, int kind, size_t size);
/* Raises an error that names the line of the Lua code that called the running C function. */
int fpg_value_raise(lua_State *L, const char *name, const char *fmt, ...);

typedef struct fpg_value_class {
  int kind;
  const char *const *fields; /* names, NULL at the end; the getter gets the position */
  void (*field)(lua_State *L, int kind, const void *v, int i);
  const fpg_method *methods, *more_methods;
  lua_CFunction constructor;
  const char *constructor_name;
} fpg_value_class;
/* Makes the metatable and adds the constructor to the table on top of the stack. */
void fpg_value_define(lua_State *L, const fpg_value_class *c);

/* What cmp, eq, lt and le accept beside their own kind: pushes a value of `kind` or returns 0. */
int fpg_numeric_coerce(lua_State *L, int idx, int text_too);
int fpg_time_coerce(lua_State *L, int idx, int kind);
int fpg_time_cmp(int kind, const void *a, const void *b);

/* An operation (FPG_MATH_ADD …, see numeric_math.h) on the values at 1 and 2, of which one is a
 * numeric, or a date or time; pushes the result. */
int fpg_numeric_arith(lua_State *L, int op);
int fpg_time_arith(lua_State *L, int op);
/* Raises "fastpg.date + table is not defined". */
int fpg_arith_undefined(lua_State *L, int op);
/* The metamethods of arithmetic. */
extern const luaL_Reg fpg_arith_meta[];
extern const fpg_method fpg_numeric_math[]; /* methods round, abs */

/* The constructors, and fastpg.now: lua_CFunctions. */
int fpg_make_date(lua_State *L);
int fpg_make_time(lua_State *L);
int fpg_make_timetz(lua_State *L);
int fpg_make_timestamp(lua_State *L);
int fpg_make_timestamptz(lua_State *L);
int fpg_make_interval(lua_State *L);
int fpg_now(lua_State *L);

/* Makes the metatable of a kind from its __index, which it takes from the stack, and `meta`, beside
 * what all have. */
void fpg_value_metatable(lua_State *L, int kind, const luaL_Reg *meta);
/* What __index gives for a key at 2 that is neither a field nor a key of the table `known`: an error for
 * a name, nil for keys of other types, and for those of Lua's own kind (__name), which tools ask for. */
int fpg_value_unknown(lua_State *L, int kind, int known);

#endif
