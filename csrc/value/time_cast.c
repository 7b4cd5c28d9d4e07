/* SPDX-License-Identifier: MIT
 *
 * time_cast.c: see time_cast.h.
 */
#include "time_cast.h"

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

/* ---- text --------------------------------------------------------------------------------- */

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

/* ---- conversions -------------------------------------------------------------------------- */

int fpg_clock_of(int kind, const void *v, const fpg_tz *zone, int64_t *clock) {
  if (kind == FPG_V_DATE) return fpg_ts_from_date(((const fpg_date *)v)->days, clock);
  *clock = ((const fpg_time *)v)->usec;
  if (kind == FPG_V_TIMESTAMPTZ) {
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
  if (!fpg_clock_of(from, v, zone, &clock)) return FPG_FIELDS_RANGE;
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
