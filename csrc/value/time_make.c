/* SPDX-License-Identifier: MIT
 *
 * time_make.c: dates, times, timestamps and intervals from text, from tables of fields, from
 * numbers and from each other.
 *
 *   fastpg.date        "2024-02-29" · (2024, 2, 29) · { year = 2024, month = 2, day = 29 } · ts
 *   fastpg.time        "10:00:00.5" · (10, 0, 0.5) · { hour = 10 }
 *   fastpg.timetz      "10:00:00+01" · (10, 0, 0, 3600) · { hour = 10, offset = 3600 }
 *   fastpg.timestamp   "2024-02-29 10:00:00" · (2024, 2, 29, 10, 0, 0) · os.date "*t" · date
 *   fastpg.timestamptz as timestamp, then a zone's name (UTC); one number is Unix time
 *   fastpg.interval    "1 day 02:03:04" · (seconds) · { months =, days =, usec = }
 */
#include "time_make.h"

#include <math.h>
#include <time.h>

#include "number.h"
#include "raise.h"
#include "surface.h"
#include "value.h"
#include "zone.h"

/* ---- text --------------------------------------------------------------------------------- */

static int tstz_of_text(const char *s, size_t len, const fpg_tz *zone, fpg_any *out) {
  int64_t clock;
  int32_t offset;
  int has_offset, ok = fpg_ts_parse(s, len, &clock, &offset, &has_offset);
  if (ok != 1) return ok;
  fpg_tstz v = {clock, zone, 0};
  if (fpg_ts_finite(clock)) {
    if (has_offset) v.usec -= offset * FPG_SEC;
    else v.usec = zone ? fpg_clock_to_instant(clock, zone) : clock;
    if (!zone) v.offset = offset;
    if (!fpg_ts_ok(v.usec)) return -1;
  }
  out->tstz = v;
  return 1;
}

/* Of a timestamp without zone the text may hold an offset: it is not heeded, as in the server. */
static int ts_of_text(const char *s, size_t len, fpg_any *out) {
  int32_t offset;
  int has_offset, ok = fpg_ts_parse(s, len, &out->time.usec, &offset, &has_offset);
  if (ok == 1 && fpg_ts_finite(out->time.usec) && !fpg_ts_ok(out->time.usec)) return -1;
  return ok;
}

int fpg_time_of_text(const char *s, size_t len, int kind, const fpg_tz *zone, fpg_any *out) {
  int has_offset, ok;
  switch (kind) {
  case FPG_V_DATE: ok = fpg_date_parse(s, len, &out->date.days); break;
  case FPG_V_TIME: ok = fpg_time_parse(s, len, &out->time.usec); break;
  case FPG_V_TIMETZ:
    ok = fpg_timetz_parse(s, len, &out->timetz.usec, &out->timetz.offset, &has_offset);
    break;
  case FPG_V_TIMESTAMP: ok = ts_of_text(s, len, out); break;
  case FPG_V_TIMESTAMPTZ: ok = tstz_of_text(s, len, zone, out); break;
  default: ok = fpg_interval_parse(s, len, &out->interval); break;
  }
  if (ok == 1 || ok == 0) return ok ? 1 : FPG_TEXT_BAD;
  if (ok == -2) return FPG_OFFSET_RANGE;
  return kind == FPG_V_INTERVAL ? FPG_INTERVAL_RANGE : FPG_FIELDS_RANGE;
}

/* ---- fields ------------------------------------------------------------------------------- */

/* What a table of fields or the numbers of a constructor say; sec may have a fraction. */
typedef struct parts {
  fpg_fields f;
  double sec;
  int64_t offset;
  int has_offset;
  unsigned seen;
} parts;

enum { YEAR, MONTH, DAY, HOUR, MIN, SEC, USEC, OFFSET, FIELD_COUNT };
enum { SEEN_DATE = 1 << YEAR | 1 << MONTH | 1 << DAY };

static const char *const field_names[] = {"year", "month", "day",  "hour", "min",
                                          "sec",  "usec",  "offset"};
/* What os.date "*t" gives besides. */
static const char *const of_os_date[] = {"wday", "yday", "isdst"};

/* The fields that a kind has. */
static unsigned fields_of(int kind) {
  enum { CLOCK = 1 << HOUR | 1 << MIN | 1 << SEC | 1 << USEC };
  switch (kind) {
  case FPG_V_DATE: return SEEN_DATE;
  case FPG_V_TIME: return CLOCK;
  case FPG_V_TIMETZ: return CLOCK | 1 << OFFSET;
  case FPG_V_TIMESTAMP: return SEEN_DATE | CLOCK;
  default: return SEEN_DATE | CLOCK | 1 << OFFSET;
  }
}

/* Stores the number at idx as field i; false when it can't be one. */
static int set_part(lua_State *L, parts *p, int i, int idx) {
  int64_t v;
  if (lua_type(L, idx) != LUA_TNUMBER) return 0;
  p->seen |= 1u << i;
  if (i == SEC) {
    p->sec = (double)lua_tonumber(L, idx);
    return p->sec >= 0 && p->sec <= 60;
  }
  if (!fpg_to_int64(L, idx, &v) || v < -5874898 || v > 5874898) return 0;
  switch (i) {
  case YEAR: p->f.year = v; break;
  case MONTH: p->f.month = (int)v; break;
  case DAY: p->f.day = (int)v; break;
  case HOUR: p->f.hour = (int)v; break;
  case MIN: p->f.min = (int)v; break;
  case USEC: p->f.usec = (int)v; break;
  default: p->offset = v; p->has_offset = 1; break;
  }
  return 1;
}

static int name_in(const char *name, const char *const *list, int n) {
  for (int i = 0; i < n; i++)
    if (strcmp(name, list[i]) == 0) return i;
  return -1;
}

/* Splits sec into seconds and microseconds; then the time of day. */
static int parts_time(parts *p, int64_t *out) {
  double whole = floor(p->sec);
  int64_t fraction = (int64_t)rint((p->sec - whole) * 1e6);
  p->f.sec = (int)whole;
  if (!fpg_time_make(&p->f, out)) return 0;
  *out += fraction;
  return *out <= FPG_DAY;
}

static int parts_clock(parts *p, int64_t *clock) {
  int32_t date;
  int64_t time;
  if (!fpg_date_make(&p->f, &date) || !parts_time(p, &time) || !fpg_ts_from_date(date, clock))
    return 0;
  *clock += time;
  return fpg_ts_ok(*clock);
}

static int parts_tstz(parts *p, const fpg_tz *zone, fpg_any *out) {
  int64_t clock;
  if (!parts_clock(p, &clock)) return FPG_FIELDS_RANGE;
  fpg_tstz v = {clock, zone, 0};
  if (p->has_offset) v.usec -= p->offset * FPG_SEC;
  else if (zone) v.usec = fpg_clock_to_instant(clock, zone);
  if (!zone) v.offset = (int32_t)p->offset;
  out->tstz = v;
  return fpg_ts_ok(v.usec) ? 1 : FPG_FIELDS_RANGE;
}

static int parts_make(parts *p, int kind, const fpg_tz *zone, fpg_any *out) {
  int dated = kind == FPG_V_DATE || kind == FPG_V_TIMESTAMP || kind == FPG_V_TIMESTAMPTZ;
  if (dated ? (p->seen & SEEN_DATE) != SEEN_DATE : !(p->seen & 1 << HOUR))
    return FPG_FIELDS_MISSING;
  if (p->offset <= -FPG_OFFSET_END || p->offset >= FPG_OFFSET_END) return FPG_FIELDS_RANGE;
  int ok;
  if (kind == FPG_V_DATE) {
    ok = fpg_date_make(&p->f, &out->date.days);
  } else if (kind == FPG_V_TIMESTAMP) {
    ok = parts_clock(p, &out->time.usec);
  } else if (kind == FPG_V_TIMESTAMPTZ) {
    return parts_tstz(p, zone, out);
  } else {
    ok = parts_time(p, &out->time.usec);
    if (kind == FPG_V_TIMETZ) out->timetz.offset = (int32_t)p->offset;
  }
  return ok ? 1 : FPG_FIELDS_RANGE;
}

/* ---- intervals ---------------------------------------------------------------------------- */

typedef struct amount {
  const char *name;
  char field;
  int64_t worth;
} amount;

/* The fields of an interval, and the arguments of the server's make_interval. */
static const amount amounts[] = {
    {"months", 'm', 1}, {"days", 'd', 1},        {"usec", 'u', 1},
    {"years", 'm', 12}, {"weeks", 'd', 7},       {"hours", 'u', INT64_C(3600000000)},
    {"mins", 'u', 60000000}, {"secs", 'u', 1000000},
};

static int seconds_to_usec(double sec, int64_t *out) {
  double usec = rint(sec * 1e6);
  if (!(usec > -9223372036854775808.0 && usec < 9223372036854775808.0)) return 0;
  *out = (int64_t)usec;
  return 1;
}

/* Adds the number at idx (an int64 of a Lua without integers may be a string of digits). */
static int add_amount(lua_State *L, int idx, const amount *a, int64_t sum[3]) {
  int64_t v, *to = &sum[a->field == 'm' ? 0 : a->field == 'd' ? 1 : 2];
  if (a->worth == 1000000 && lua_type(L, idx) == LUA_TNUMBER) {
    if (!seconds_to_usec((double)lua_tonumber(L, idx), &v)) return 0;
  } else if (!fpg_to_int64(L, idx, &v) || __builtin_mul_overflow(v, a->worth, &v)) {
    return 0;
  }
  return !__builtin_add_overflow(*to, v, to);
}

static int interval_make(const int64_t sum[3], fpg_any *out) {
  if (sum[0] < INT32_MIN || sum[0] > INT32_MAX || sum[1] < INT32_MIN || sum[1] > INT32_MAX)
    return FPG_FIELDS_RANGE;
  out->interval.months = (int32_t)sum[0];
  out->interval.days = (int32_t)sum[1];
  out->interval.usec = sum[2];
  out->interval.number = fpg_interval_ends(&out->interval) != 0;
  return 1;
}

static int interval_of_table(lua_State *L, int idx, fpg_any *out) {
  int64_t sum[3] = {0, 0, 0};
  int any = 0;
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    size_t i = 0, n = sizeof amounts / sizeof amounts[0];
    while (i < n && strcmp(name, amounts[i].name) != 0) i++;
    if (i == n) {
      lua_pop(L, 1);
      return FPG_FIELDS_UNKNOWN;
    }
    if (!add_amount(L, -1, &amounts[i], sum)) {
      lua_pop(L, 2);
      return FPG_FIELDS_RANGE;
    }
    any = 1;
  }
  return any ? interval_make(sum, out) : FPG_FIELDS_MISSING;
}

/* ---- tables ------------------------------------------------------------------------------- */

/* Whether it is all that os.date "*t" gives: a moment, of which a date or a time is a part.  In a table of
 * one's own a field that the value does not have is a slip. */
static int is_os_date(lua_State *L, int idx) {
  lua_pushliteral(L, "yday");
  lua_rawget(L, idx);
  int yes = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return yes;
}

int fpg_time_of_table(lua_State *L, int idx, int kind, const fpg_tz *zone, fpg_any *out) {
  idx = lua_absindex(L, idx);
  if (kind == FPG_V_INTERVAL) return interval_of_table(L, idx, out);
  parts p;
  memset(&p, 0, sizeof p);
  unsigned fields = fields_of(kind);
  int moment = is_os_date(L, idx);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    int i = name_in(name, field_names, FIELD_COUNT);
    if (i >= 0 && fields & 1u << i) {
      if (set_part(L, &p, i, -1)) continue;
      lua_pop(L, 2);
      return FPG_FIELDS_RANGE;
    }
    if (moment && (i >= 0 ? i < USEC : name_in(name, of_os_date, 3) >= 0)) continue;
    lua_pop(L, 1);
    return FPG_FIELDS_UNKNOWN;
  }
  return parts_make(&p, kind, zone, out);
}

const char *fpg_time_field_names(lua_State *L, int kind) {
  lua_newtable(L);
  int known = lua_gettop(L);
  lua_pushliteral(L, "");
  int n = kind == FPG_V_INTERVAL ? (int)(sizeof amounts / sizeof amounts[0]) : FIELD_COUNT;
  for (int i = 0, any = 0; i < n; i++) {
    if (kind != FPG_V_INTERVAL && !(fields_of(kind) & 1u << i)) continue;
    const char *name = kind == FPG_V_INTERVAL ? amounts[i].name : field_names[i];
    lua_pushboolean(L, 1);
    lua_setfield(L, known, name);
    lua_pushfstring(L, "%s%s%s", lua_tostring(L, -1), any++ ? ", " : "", name);
    lua_remove(L, -2);
  }
  return lua_tostring(L, -1);
}

/* ---- errors ------------------------------------------------------------------------------- */

/* A field that is none of the kind's: its key is on top of the stack. */
static int raise_unknown(lua_State *L, int kind) {
  int key = lua_gettop(L);
  const char *fields = fpg_time_field_names(L, kind);
  const char *what = lua_pushfstring(L, "%s{ %s }", fpg_value_name(kind), fields);
  if (lua_type(L, key) == LUA_TSTRING) return fpg_unknown_name(L, what, key, key + 1);
  return fpg_value_raise(L, "invalid_argument", "%s: its fields have names, got a key that is a %s", what,
                         luaL_typename(L, key));
}

static int raise_why(lua_State *L, int kind, int why) {
  const char *type = fpg_value_name(kind) + 7; /* without "fastpg." */
  switch (why) {
  case FPG_TEXT_BAD:
    return fpg_value_raise(L, "invalid_datetime_format", "%s: the text cannot be read", type);
  case FPG_FIELDS_RANGE:
    return fpg_value_raise(L, "datetime_field_overflow", "%s out of range", type);
  case FPG_INTERVAL_RANGE:
    return fpg_value_raise(L, "interval_field_overflow", "interval out of range");
  case FPG_OFFSET_RANGE:
    return fpg_value_raise(L, "invalid_time_zone_displacement_value", "%s: offset out of range", type);
  case FPG_FIELDS_UNKNOWN: return raise_unknown(L, kind);
  case FPG_FIELDS_SURPLUS:
    return fpg_value_raise(L, "invalid_argument", "%s: takes fewer numbers", type);
  case FPG_FIELDS_MISSING:
    return fpg_value_raise(L, "invalid_argument", "%s: %s needed", type,
                           kind == FPG_V_INTERVAL                        ? "at least one field"
                           : kind == FPG_V_TIME || kind == FPG_V_TIMETZ ? "an hour"
                                                                        : "year, month and day");
  default:
    return fpg_value_raise(L, "invalid_argument", "%s: text, fields or a value expected, got %s",
                           type, fpg_describe(L, 1));
  }
}

int fpg_time_coerce(lua_State *L, int idx, int kind, int text_too) {
  fpg_any v;
  size_t len;
  if (!text_too || lua_type(L, idx) != LUA_TSTRING) return 0;
  const char *s = lua_tolstring(L, idx, &len);
  int why = fpg_time_of_text(s, len, kind, NULL, &v);
  if (why != 1) return raise_why(L, kind, why);
  fpg_push_any(L, kind, &v);
  return 1;
}

/* ---- constructors ------------------------------------------------------------------------- */

/* Fields first..last of the arguments from 1 on. */
static int of_numbers(lua_State *L, int kind, int first, int n, const fpg_tz *zone, fpg_any *out) {
  parts p;
  memset(&p, 0, sizeof p);
  for (int i = 0; i < n; i++) {
    int field = first + i;
    if (field >= USEC) field++; /* a constructor's seconds have a fraction: no usec */
    if (field > OFFSET || !(fields_of(kind) & 1u << field)) return FPG_FIELDS_SURPLUS;
    if (!lua_isnil(L, i + 1) && !set_part(L, &p, field, i + 1)) return FPG_FIELDS_RANGE;
  }
  return parts_make(&p, kind, zone, out);
}

static int of_epoch(lua_State *L, int kind, const fpg_tz *zone, fpg_any *out) {
  double sec = (double)lua_tonumber(L, 1);
  if (kind == FPG_V_INTERVAL) {
    out->interval.months = out->interval.days = out->interval.number = 0;
    return seconds_to_usec(sec, &out->interval.usec) ? 1 : FPG_FIELDS_RANGE;
  }
  if (kind != FPG_V_TIMESTAMPTZ) return FPG_FIELDS_MISSING;
  fpg_tstz v = {0, zone, 0};
  if (isinf(sec)) v.usec = sec < 0 ? FPG_TS_NINF : FPG_TS_INF;
  else if (!seconds_to_usec(sec - (double)FPG_UNIX_EPOCH, &v.usec) || !fpg_ts_ok(v.usec))
    return FPG_FIELDS_RANGE;
  out->tstz = v;
  return 1;
}

/* The value of n arguments; zone NULL: the one the text or the value itself brings. */
static int make(lua_State *L, int kind, int n, const fpg_tz *zone) {
  fpg_any v;
  int why = 0, type = lua_type(L, 1);
  if (n > 1 && type != LUA_TNUMBER)
    return fpg_value_raise(L, "invalid_argument", "%s: nothing goes behind %s, got %d arguments",
                           fpg_value_name(kind) + 7, fpg_describe(L, 1), n);
  if (type == LUA_TSTRING) {
    size_t len;
    const char *s = lua_tolstring(L, 1, &len);
    why = fpg_time_of_text(s, len, kind, zone, &v);
  } else if (type == LUA_TTABLE) {
    why = fpg_time_of_table(L, 1, kind, zone, &v);
  } else if (type == LUA_TUSERDATA) {
    int from = fpg_value_kind(L, 1);
    const fpg_tz *to = !zone && kind == FPG_V_TIMESTAMPTZ ? fpg_zone(L, "UTC") : zone;
    why = fpg_time_of_value(from, lua_touserdata(L, 1), kind, to, &v);
    if (why == 1 && kind == FPG_V_TIMESTAMPTZ && zone) v.tstz.zone = zone;
  } else if (type == LUA_TNUMBER) {
    int first = kind == FPG_V_TIME || kind == FPG_V_TIMETZ ? HOUR : YEAR;
    why = n == 1 || kind == FPG_V_INTERVAL ? of_epoch(L, kind, zone, &v)
                                           : of_numbers(L, kind, first, n, zone, &v);
  }
  if (why != 1) return raise_why(L, kind, why);
  fpg_push_any(L, kind, &v);
  return 1;
}

int fpg_make_date(lua_State *L) { return make(L, FPG_V_DATE, lua_gettop(L), NULL); }
int fpg_make_time(lua_State *L) { return make(L, FPG_V_TIME, lua_gettop(L), NULL); }
int fpg_make_timetz(lua_State *L) { return make(L, FPG_V_TIMETZ, lua_gettop(L), NULL); }
int fpg_make_timestamp(lua_State *L) { return make(L, FPG_V_TIMESTAMP, lua_gettop(L), NULL); }
int fpg_make_interval(lua_State *L) { return make(L, FPG_V_INTERVAL, lua_gettop(L), NULL); }

/* The last argument may name a zone, unless it is the first, which is the text. */
int fpg_make_timestamptz(lua_State *L) {
  int n = lua_gettop(L);
  const fpg_tz *zone = NULL;
  while (n > 1 && lua_isnil(L, n)) n--;
  if (n > 1 && lua_type(L, n) == LUA_TSTRING) {
    zone = fpg_zone(L, lua_tostring(L, n));
    if (!zone) return fpg_value_raise(L, "invalid_parameter_value", "timestamptz: no such time zone");
    n--;
  }
  return make(L, FPG_V_TIMESTAMPTZ, n, zone);
}

/* fastpg.now([zone]): this machine's time as a timestamptz, in UTC or in that zone. */
int fpg_now(lua_State *L) {
  const fpg_tz *zone = NULL;
  if (!lua_isnoneornil(L, 1)) {
    if (lua_type(L, 1) != LUA_TSTRING)
      return fpg_value_raise(L, "invalid_argument", "now: the name of a time zone expected, got %s",
                             fpg_describe(L, 1));
    zone = fpg_zone(L, lua_tostring(L, 1));
    if (!zone) return fpg_value_raise(L, "invalid_parameter_value", "now: no such time zone");
  }
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  fpg_push_timestamptz(L, (t.tv_sec - FPG_UNIX_EPOCH) * FPG_SEC + t.tv_nsec / 1000, zone, 0);
  return 1;
}
