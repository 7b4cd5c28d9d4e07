/* SPDX-License-Identifier: MIT
 *
 * value_time.c: dates, times, timestamps and intervals as Lua values: fields, text, conversions.
 * Constructors are in value_make.c.
 */
#include <math.h>

#include "number.h"
#include "surface.h"
#include "value.h"

/* ---- pushing ------------------------------------------------------------------------------ */

static const size_t sizes[FPG_V_COUNT] = {
    [FPG_V_DATE] = sizeof(fpg_date),           [FPG_V_TIME] = sizeof(fpg_time),
    [FPG_V_TIMETZ] = sizeof(fpg_timetz),       [FPG_V_TIMESTAMP] = sizeof(fpg_time),
    [FPG_V_TIMESTAMPTZ] = sizeof(fpg_tstz),    [FPG_V_INTERVAL] = sizeof(fpg_interval),
};

void fpg_push_any(lua_State *L, int kind, const fpg_any *v) {
  memcpy(fpg_value_new(L, kind, sizes[kind]), v, sizes[kind]);
}

void fpg_push_date(lua_State *L, int32_t days) {
  fpg_any v = {.date = {days}};
  fpg_push_any(L, FPG_V_DATE, &v);
}
void fpg_push_time(lua_State *L, int64_t usec) {
  fpg_any v = {.time = {usec}};
  fpg_push_any(L, FPG_V_TIME, &v);
}
void fpg_push_timetz(lua_State *L, int64_t usec, int32_t offset) {
  fpg_any v = {.timetz = {usec, offset}};
  fpg_push_any(L, FPG_V_TIMETZ, &v);
}
void fpg_push_timestamp(lua_State *L, int64_t usec) {
  fpg_any v = {.time = {usec}};
  fpg_push_any(L, FPG_V_TIMESTAMP, &v);
}
void fpg_push_timestamptz(lua_State *L, int64_t usec, const fpg_tz *zone, int32_t offset) {
  fpg_any v = {.tstz = {usec, zone, offset}};
  fpg_push_any(L, FPG_V_TIMESTAMPTZ, &v);
}
void fpg_push_interval(lua_State *L, const fpg_interval *i) {
  fpg_any v = {.interval = *i};
  fpg_push_any(L, FPG_V_INTERVAL, &v);
}

/* ---- zones -------------------------------------------------------------------------------- */

/* Unix seconds of an instant, rounded down. */
static int64_t unix_seconds(int64_t ts) { return fpg_floor_div(ts, FPG_SEC) + FPG_UNIX_EPOCH; }

int32_t fpg_tstz_offset(const fpg_tstz *v) {
  return v->zone && fpg_ts_finite(v->usec) ? fpg_tz_offset(v->zone, unix_seconds(v->usec))
                                           : v->offset;
}

int64_t fpg_tstz_clock(const fpg_tstz *v) {
  return fpg_ts_finite(v->usec) ? v->usec + fpg_tstz_offset(v) * FPG_SEC : v->usec;
}

int64_t fpg_clock_to_instant(int64_t clock, const fpg_tz *zone) {
  return fpg_ts_finite(clock) ? clock - fpg_tz_local(zone, unix_seconds(clock)) * FPG_SEC : clock;
}

/* ---- text and order ----------------------------------------------------------------------- */

size_t fpg_time_value_text(int kind, const void *v, char *buf) {
  switch (kind) {
  case FPG_V_DATE: return fpg_date_text(buf, ((const fpg_date *)v)->days);
  case FPG_V_TIME: return fpg_time_text(buf, ((const fpg_time *)v)->usec);
  case FPG_V_TIMETZ: {
    const fpg_timetz *t = v;
    return fpg_timetz_text(buf, t->usec, t->offset);
  }
  case FPG_V_TIMESTAMP: return fpg_ts_text(buf, ((const fpg_time *)v)->usec);
  case FPG_V_TIMESTAMPTZ:
    return fpg_tstz_text(buf, ((const fpg_tstz *)v)->usec, fpg_tstz_offset(v));
  default: return fpg_interval_text(buf, v);
  }
}

static int cmp64(int64_t a, int64_t b) { return (a > b) - (a < b); }

/* By the instant, then the one farther east first. */
static int timetz_cmp(const fpg_timetz *a, const fpg_timetz *b) {
  int c = cmp64(a->usec - a->offset * FPG_SEC, b->usec - b->offset * FPG_SEC);
  return c ? c : cmp64(b->offset, a->offset);
}

int fpg_time_cmp(int kind, const void *a, const void *b) {
  if (kind == FPG_V_DATE)
    return cmp64(((const fpg_date *)a)->days, ((const fpg_date *)b)->days);
  if (kind == FPG_V_TIMETZ) return timetz_cmp(a, b);
  if (kind == FPG_V_INTERVAL) return fpg_interval_cmp(a, b);
  if (kind == FPG_V_TIMESTAMPTZ)
    return cmp64(((const fpg_tstz *)a)->usec, ((const fpg_tstz *)b)->usec);
  return cmp64(((const fpg_time *)a)->usec, ((const fpg_time *)b)->usec);
}

/* ---- conversions -------------------------------------------------------------------------- */

/* What a clock shows at v, a date or timestamp of either kind; false when v has no such thing. */
static int clock_of(int from, const void *v, const fpg_tz *zone, int64_t *clock) {
  if (from == FPG_V_DATE) return fpg_ts_from_date(((const fpg_date *)v)->days, clock);
  *clock = ((const fpg_time *)v)->usec;
  if (from == FPG_V_TIMESTAMPTZ) {
    fpg_tstz t = *(const fpg_tstz *)v;
    if (zone) t.zone = zone;
    *clock = fpg_tstz_clock(&t);
  }
  return 1;
}

static int to_date(int64_t clock, fpg_any *out) {
  if (fpg_ts_finite(clock)) out->date.days = (int32_t)fpg_floor_div(clock, FPG_DAY);
  else out->date.days = clock < 0 ? FPG_DATE_NINF : FPG_DATE_INF;
  return 1;
}

static int to_tstz(int64_t clock, const fpg_tz *zone, fpg_any *out) {
  fpg_tstz v = {fpg_clock_to_instant(clock, zone), zone, 0};
  out->tstz = v;
  return fpg_ts_ok(v.usec) || !fpg_ts_finite(v.usec) ? 1 : FPG_FIELDS_RANGE;
}

static int64_t day_part(int64_t clock) { return fpg_floor_mod(clock, FPG_DAY); }

/* From a date or timestamp. */
static int cast_clock(int from, const void *v, int kind, const fpg_tz *zone, fpg_any *out) {
  int64_t clock;
  if (from == FPG_V_TIMESTAMPTZ && kind == FPG_V_TIMESTAMPTZ) {
    out->tstz = *(const fpg_tstz *)v;
    return 1;
  }
  if (!clock_of(from, v, zone, &clock)) return FPG_FIELDS_RANGE;
  if (kind == FPG_V_DATE) return to_date(clock, out);
  if (kind == FPG_V_TIMESTAMPTZ) return to_tstz(clock, zone, out);
  out->time.usec = clock;
  if (kind == FPG_V_TIMESTAMP) return 1;
  if (from == FPG_V_DATE || !fpg_ts_finite(clock)) return 0;
  if (kind == FPG_V_TIME) {
    out->time.usec = day_part(clock);
    return 1;
  }
  if (kind != FPG_V_TIMETZ || from != FPG_V_TIMESTAMPTZ) return 0;
  out->timetz.usec = day_part(clock);
  out->timetz.offset = (int32_t)((clock - ((const fpg_tstz *)v)->usec) / FPG_SEC);
  return 1;
}

/* From a time of day, or the time of an interval. */
static int cast_time(int from, const void *v, int kind, fpg_any *out) {
  int64_t usec = ((const fpg_time *)v)->usec; /* all of these begin with it */
  if (kind == FPG_V_INTERVAL && from == FPG_V_TIME) {
    out->interval.months = out->interval.days = out->interval.number = 0;
    out->interval.usec = usec;
    return 1;
  }
  if (kind == FPG_V_TIME) {
    out->time.usec = from == FPG_V_INTERVAL ? day_part(usec) : usec;
    return 1;
  }
  return 0;
}

int fpg_time_of_value(int from, const void *v, int kind, const fpg_tz *zone, fpg_any *out) {
  if (from < FPG_V_DATE) return 0;
  if (from == kind && kind != FPG_V_TIMESTAMPTZ) {
    memcpy(out, v, sizes[kind]);
    return 1;
  }
  if (from == FPG_V_DATE || from == FPG_V_TIMESTAMP || from == FPG_V_TIMESTAMPTZ)
    return cast_clock(from, v, kind, zone, out);
  return cast_time(from, v, kind, out);
}

int fpg_time_cast_safe(int from, int to) {
  if (from == to) return 1;
  if (to == FPG_V_TIMESTAMP || to == FPG_V_TIMESTAMPTZ)
    return from == FPG_V_DATE || from == FPG_V_TIMESTAMP || from == FPG_V_TIMESTAMPTZ;
  return from == FPG_V_TIME && to == FPG_V_INTERVAL;
}

/* ---- fields ------------------------------------------------------------------------------- */

static const char *const date_fields[] = {"year", "month", "day", NULL};
static const char *const time_fields[] = {"hour", "min", "sec", "usec", "offset", NULL};
static const char *const ts_fields[] = {"year", "month", "day",    "hour", "min",
                                        "sec",  "usec",  "offset", NULL};
static const char *const plain_time_fields[] = {"hour", "min", "sec", "usec", NULL};
static const char *const plain_ts_fields[] = {"year", "month", "day", "hour",
                                              "min",  "sec",   "usec", NULL};
static const char *const interval_fields[] = {"months", "days", "usec", NULL};

/* Field i of year month day hour min sec usec. */
static void push_field(lua_State *L, const fpg_fields *f, int i) {
  const int rest[] = {f->month, f->day, f->hour, f->min, f->sec, f->usec};
  lua_pushinteger(L, i == 0 ? (lua_Integer)f->year : (lua_Integer)rest[i - 1]);
}

/* Of an infinite date only the year has a meaning: it is infinite too. */
static void push_infinite_field(lua_State *L, int negative, int i) {
  if (i == 0) lua_pushnumber(L, (lua_Number)(negative ? -INFINITY : INFINITY));
  else lua_pushnil(L);
}

static void date_field(lua_State *L, int kind, const void *v, int i) {
  (void)kind;
  int32_t days = ((const fpg_date *)v)->days;
  fpg_fields f;
  if (!fpg_date_finite(days)) {
    push_infinite_field(L, days < 0, i);
    return;
  }
  fpg_date_fields(days, &f);
  push_field(L, &f, i);
}

static void time_field(lua_State *L, int kind, const void *v, int i) {
  fpg_fields f = {0};
  if (kind == FPG_V_TIMETZ && i == 4) {
    lua_pushinteger(L, ((const fpg_timetz *)v)->offset);
    return;
  }
  fpg_time_fields(((const fpg_time *)v)->usec, &f);
  push_field(L, &f, i + 3);
}

static void ts_field(lua_State *L, int kind, const void *v, int i) {
  int64_t clock;
  fpg_fields f;
  clock_of(kind, v, NULL, &clock);
  if (!fpg_ts_finite(clock)) {
    push_infinite_field(L, clock < 0, i);
  } else if (i == 7) {
    lua_pushinteger(L, fpg_tstz_offset(v));
  } else {
    fpg_ts_fields(clock, &f);
    push_field(L, &f, i);
  }
}

static void interval_field(lua_State *L, int kind, const void *v, int i) {
  (void)kind;
  const fpg_interval *n = v;
  fpg_push_int64(L, i == 0 ? n->months : i == 1 ? n->days : n->usec);
}

/* ---- epoch -------------------------------------------------------------------------------- */

static double ts_epoch(int64_t ts) {
  const int64_t shift = FPG_UNIX_EPOCH * FPG_SEC;
  if (!fpg_ts_finite(ts)) return ts < 0 ? -INFINITY : INFINITY;
  return ts <= INT64_MAX - shift ? (double)(ts + shift) / 1e6
                                 : (double)ts / 1e6 + (double)FPG_UNIX_EPOCH;
}

/* A year counts 365.25 days, a month 30. */
static double interval_epoch(const fpg_interval *v) {
  int inf = fpg_interval_inf(v);
  if (inf) return inf < 0 ? -INFINITY : INFINITY;
  double days = v->months / 12 * 365.25 + v->months % 12 * 30.0 + v->days;
  return days * 86400 + (double)v->usec / 1e6;
}

/* v:epoch(): seconds since 1970-01-01 (of a time: since midnight UTC; of an interval: its length)
 * as extract(epoch from v), a float. */
static int time_epoch(lua_State *L) {
  const void *v = fpg_value_self(L);
  int kind = fpg_value_kind(L, 1);
  double e;
  int64_t ts;
  switch (kind) {
  case FPG_V_DATE: {
    int32_t days = ((const fpg_date *)v)->days;
    e = fpg_date_finite(days) ? days * 86400.0 + (double)FPG_UNIX_EPOCH
                              : (fpg_ts_from_date(days, &ts), ts_epoch(ts));
    break;
  }
  case FPG_V_TIME: e = (double)((const fpg_time *)v)->usec / 1e6; break;
  case FPG_V_TIMETZ: {
    const fpg_timetz *t = v;
    e = (double)(t->usec - t->offset * FPG_SEC) / 1e6;
    break;
  }
  case FPG_V_TIMESTAMP:
  case FPG_V_TIMESTAMPTZ: e = ts_epoch(((const fpg_time *)v)->usec); break;
  default: e = interval_epoch(v); break;
  }
  lua_pushnumber(L, (lua_Number)e);
  return 1;
}

static const fpg_method time_methods[] = {{"epoch", time_epoch, 0}, {NULL, NULL, 0}};

static const fpg_value_class classes[] = {
    {FPG_V_DATE, date_fields, date_field, time_methods, NULL, fpg_make_date, "date"},
    {FPG_V_TIME, plain_time_fields, time_field, time_methods, NULL, fpg_make_time, "time"},
    {FPG_V_TIMETZ, time_fields, time_field, time_methods, NULL, fpg_make_timetz, "timetz"},
    {FPG_V_TIMESTAMP, plain_ts_fields, ts_field, time_methods, NULL, fpg_make_timestamp,
     "timestamp"},
    {FPG_V_TIMESTAMPTZ, ts_fields, ts_field, time_methods, NULL, fpg_make_timestamptz,
     "timestamptz"},
    {FPG_V_INTERVAL, interval_fields, interval_field, time_methods, NULL, fpg_make_interval,
     "interval"},
};

void fpg_open_time(lua_State *L) {
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
    fpg_value_define(L, &classes[i]);
  lua_pushcfunction(L, fpg_now);
  lua_setfield(L, -2, "now");
}
