/* SPDX-License-Identifier: MIT
 *
 * value_time.c: the classes of dates, times, timestamps and intervals: fields, order, epoch.  They are made in
 * time_make.c and time_cast.c, arithmetic is in time_arith.c.
 */
#include <math.h>

#include "number.h"
#include "surface.h"
#include "time_arith.h"
#include "time_cast.h"
#include "time_make.h"
#include "value.h"

/* ---- text and order ----------------------------------------------------------------------- */

static size_t time_text(lua_State *L, int idx, char *to) {
  return to ? fpg_time_value_text(fpg_value_kind(L, idx), lua_touserdata(L, idx), to) : FPG_DT_TEXT;
}

static int cmp64(int64_t a, int64_t b) { return (a > b) - (a < b); }

/* By the instant, then the one farther east first. */
static int timetz_cmp(const fpg_timetz *a, const fpg_timetz *b) {
  int c = cmp64(a->usec - a->offset * FPG_SEC, b->usec - b->offset * FPG_SEC);
  return c ? c : cmp64(b->offset, a->offset);
}

static int time_cmp(int kind, const void *a, const void *b) {
  if (kind == FPG_V_DATE)
    return cmp64(((const fpg_date *)a)->days, ((const fpg_date *)b)->days);
  if (kind == FPG_V_TIMETZ) return timetz_cmp(a, b);
  if (kind == FPG_V_INTERVAL) return fpg_interval_cmp(a, b);
  if (kind == FPG_V_TIMESTAMPTZ)
    return cmp64(((const fpg_tstz *)a)->usec, ((const fpg_tstz *)b)->usec);
  return cmp64(((const fpg_time *)a)->usec, ((const fpg_time *)b)->usec);
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
  fpg_clock_of(kind, v, NULL, &clock);
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

/* ---- the classes ----------------------------------------------------------------------------- */

#define CLASS(its_kind, its_fields, getter, its_negate, make, name)                                              \
  {.kind = its_kind, .text = time_text, .cmp = time_cmp, .coerce = fpg_time_coerce, .arith = fpg_time_arith,     \
   .negate = its_negate, .fields = its_fields, .field = getter, .methods = time_methods, .constructor = make,    \
   .constructor_name = name}

static const fpg_value_class classes[] = {
    CLASS(FPG_V_DATE, date_fields, date_field, NULL, fpg_make_date, "date"),
    CLASS(FPG_V_TIME, plain_time_fields, time_field, NULL, fpg_make_time, "time"),
    CLASS(FPG_V_TIMETZ, time_fields, time_field, NULL, fpg_make_timetz, "timetz"),
    CLASS(FPG_V_TIMESTAMP, plain_ts_fields, ts_field, NULL, fpg_make_timestamp, "timestamp"),
    CLASS(FPG_V_TIMESTAMPTZ, ts_fields, ts_field, NULL, fpg_make_timestamptz, "timestamptz"),
    CLASS(FPG_V_INTERVAL, interval_fields, interval_field, fpg_interval_negate, fpg_make_interval, "interval"),
};

void fpg_open_value_time(lua_State *L) {
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
    fpg_value_define(L, &classes[i]);
  lua_pushcfunction(L, fpg_now);
  lua_setfield(L, -2, "now");
}
