/* SPDX-License-Identifier: MIT
 *
 * time_cast.h: dates, times, timestamps and intervals: what they hold, pushing them, one made of another.
 */
#ifndef FASTPG_TIME_CAST_H
#define FASTPG_TIME_CAST_H

#include "compat.h"
#include "datetime.h"
#include "interval.h"
#include "tz.h"

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

typedef union fpg_any {
  fpg_date date;
  fpg_time time;
  fpg_timetz timetz;
  fpg_tstz tstz;
  fpg_interval interval;
} fpg_any;

/* Each pushes one value. */
void fpg_push_date(lua_State *L, int32_t days);
void fpg_push_time(lua_State *L, int64_t usec);
void fpg_push_timetz(lua_State *L, int64_t usec, int32_t offset);
void fpg_push_timestamp(lua_State *L, int64_t usec);
void fpg_push_timestamptz(lua_State *L, int64_t usec, const fpg_tz *zone, int32_t offset);
void fpg_push_interval(lua_State *L, const fpg_interval *v);
void fpg_push_any(lua_State *L, int kind, const fpg_any *v);

/* Seconds east of UTC at that value's instant. */
int32_t fpg_tstz_offset(const fpg_tstz *v);
/* What a clock shows, the infinities as they are; and the instant where it shows that. */
int64_t fpg_tstz_clock(const fpg_tstz *v);
int64_t fpg_clock_to_instant(int64_t clock, const fpg_tz *zone);
/* What a clock shows at v, a date or timestamp of either kind; false when v has no such thing. */
int fpg_clock_of(int kind, const void *v, const fpg_tz *zone, int64_t *clock);

/* Making a time value (date .. interval) of something else gives 1 and the value in *out; 0: it is not that kind of
 * thing; else one of: */
enum {
  FPG_FIELDS_RANGE = -1,
  FPG_FIELDS_UNKNOWN = -2, /* of a table: then its key is on top of the stack */
  FPG_FIELDS_MISSING = -3,
  FPG_TEXT_BAD = -4,
  FPG_OFFSET_RANGE = -5,
  FPG_INTERVAL_RANGE = -6, /* of text: the server has a condition of its own for it */
  FPG_FIELDS_SURPLUS = -7, /* more numbers than the constructor has fields */
};

/* Of another time value, as by a cast.  `zone` is for what names no offset itself. */
int fpg_time_of_value(int from, const void *v, int kind, const fpg_tz *zone, fpg_any *out);
/* True when the conversion loses nothing but the zone. */
int fpg_time_cast_safe(int from, int to);

/* The server's text, of at most FPG_DT_TEXT bytes: returns its length. */
size_t fpg_time_value_text(int kind, const void *v, char *buf);

#endif
