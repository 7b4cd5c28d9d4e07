/* SPDX-License-Identifier: MIT
 *
 * codec_time.c: date, time, timetz, timestamp, timestamptz and interval, as objects of fastpg.
 *
 * Binary (date_send, … in the server's source): date an int32; time, timestamp and timestamptz an int64; timetz an
 * int64 and an int32 of seconds west of UTC; interval an int64 and two int32, days and months.
 *
 * A parameter may be a value of another type where the conversion is what the server's assignment
 * does and no part of the time is lost: a date for a timestamp, a timestamp for a timestamptz and
 * the reverse (in the session's time zone), a time for an interval.
 *
 * Where the session's zone can't be loaded, what is read shows UTC, and a local time goes as text, for the
 * server to convert: it knows its zones.
 */
#include "codec_time.h"

#include "be.h"
#include "buffer.h"
#include "datestyle.h"
#include "raise.h"
#include "time_make.h"
#include "value.h"
#include "zone.h"

/* Which of the objects a value of the type is. */
static int value_of(const fpg_type *type) { return type->kind - FPG_KIND_DATE + FPG_V_DATE; }

_Static_assert((int)FPG_KIND_INTERVAL - (int)FPG_KIND_DATE == (int)FPG_V_INTERVAL - (int)FPG_V_DATE &&
                   (int)FPG_KIND_TIMESTAMP - (int)FPG_KIND_DATE == (int)FPG_V_TIMESTAMP - (int)FPG_V_DATE,
               "types and objects of times come in one order");

/* ---- reading ------------------------------------------------------------------------------ */

static const struct {
  const char *bytes;
  size_t len;
} wire[FPG_V_COUNT] = {
    [FPG_V_DATE] = {"4", 4},      [FPG_V_TIME] = {"8", 8},        [FPG_V_TIMETZ] = {"12", 12},
    [FPG_V_TIMESTAMP] = {"8", 8}, [FPG_V_TIMESTAMPTZ] = {"8", 8}, [FPG_V_INTERVAL] = {"16", 16},
};

/* The session's zone, NULL where it can't be loaded. */
static const fpg_tz *session_zone(lua_State *L, const fpg_ctx *cx) {
  fpg_zone_memo *memo = cx->zone;
  if (!memo->looked) {
    memo->zone = fpg_zone(L, memo->push_name(L, memo->session));
    memo->looked = 1;
    lua_pop(L, 1);
  }
  return memo->zone;
}

/* The first server to which an interval with all of its fields at their ends is infinite. */
enum { INFINITE_INTERVALS = 170000 };

static int time_ok(int64_t usec) { return usec >= 0 && usec <= FPG_DAY; }

static int read_binary(lua_State *L, const fpg_ctx *cx, int kind, const char *p, fpg_any *v) {
  switch (kind) {
  case FPG_V_DATE:
    v->date.days = be_i32(p);
    return fpg_date_ok(v->date.days) || !fpg_date_finite(v->date.days);
  case FPG_V_TIME:
    v->time.usec = be_i64(p);
    return time_ok(v->time.usec);
  case FPG_V_TIMETZ: {
    int32_t west = be_i32(p + 8);
    if (west <= -FPG_OFFSET_END || west >= FPG_OFFSET_END) return 0;
    v->timetz.usec = be_i64(p);
    v->timetz.offset = -west;
    return time_ok(v->timetz.usec);
  }
  case FPG_V_INTERVAL:
    v->interval.usec = be_i64(p);
    v->interval.days = be_i32(p + 8);
    v->interval.months = be_i32(p + 12);
    v->interval.number = cx->server < INFINITE_INTERVALS && fpg_interval_ends(&v->interval);
    return 1;
  default:
    v->tstz.usec = be_i64(p);
    v->tstz.zone = kind == FPG_V_TIMESTAMPTZ ? session_zone(L, cx) : NULL;
    v->tstz.offset = 0;
    return fpg_ts_ok(v->tstz.usec) || !fpg_ts_finite(v->tstz.usec);
  }
}

void fpg_time_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  int kind = value_of(type);
  fpg_any v;
  if (len != wire[kind].len) fpg_bad_length(L, type, wire[kind].bytes, len);
  if (!read_binary(L, cx, kind, p, &v)) fpg_bad_binary(L, type);
  fpg_push_any(L, kind, &v);
}

void fpg_time_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  int kind = value_of(type), ok;
  fpg_any v;
  switch (kind) {
  case FPG_V_DATE: ok = fpg_date_read(p, len, cx->date_order, &v.date.days); break;
  case FPG_V_TIMESTAMP: ok = fpg_ts_read(p, len, cx->date_order, &v.time.usec); break;
  case FPG_V_TIMESTAMPTZ:
    v.tstz.zone = session_zone(L, cx);
    ok = fpg_tstz_read(p, len, cx->date_order, cx->zone_changed ? NULL : v.tstz.zone, &v.tstz.usec, &v.tstz.offset);
    break;
  case FPG_V_INTERVAL: ok = fpg_interval_read(p, len, &v.interval); break;
  default: ok = fpg_time_of_text(p, len, kind, NULL, &v);
  }
  if (ok == FPG_AMBIGUOUS)
    fpg_raise(L, "ambiguous_text",
              "%s: under this DateStyle the server's text has two meanings (the order of day and month, or which zone an "
              "abbreviation means): SET DateStyle = ISO before the statement, or select nothing beside it that "
              "has no binary form",
              type->name);
  if (ok != 1) fpg_bad_text(L, type);
  fpg_push_any(L, kind, &v);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* "date in range", or "date (year, month, day)": what a table should have been. */
static int bad_table(lua_State *L, const fpg_ctx *cx, int idx, int kind, int why) {
  const char *type = fpg_value_name(kind) + 7;
  if (why == FPG_FIELDS_UNKNOWN && lua_type(L, -1) == LUA_TSTRING) {
    const char *name = lua_tostring(L, -1), *known = fpg_time_field_names(L, kind);
    return fpg_refuse(L, cx, lua_pushfstring(L, "%s expected, whose fields are %s, got table with \"%s\"", type, known, name));
  }
  const char *fields = kind == FPG_V_INTERVAL ? "months, days, usec, …"
                       : kind == FPG_V_DATE   ? "year, month, day"
                       : kind == FPG_V_TIME || kind == FPG_V_TIMETZ
                           ? "hour, min, sec, …"
                           : "year, month, day, hour, …";
  return fpg_bad_value(L, cx, idx,
                       why == FPG_FIELDS_RANGE || why <= FPG_OFFSET_RANGE ? lua_pushfstring(L, "%s in range", type)
                                               : lua_pushfstring(L, "%s (%s)", type, fields));
}

/* Whether the value at idx is what a clock shows, wherever it hangs. */
static int is_local(lua_State *L, int idx, int from) {
  if (lua_type(L, idx) != LUA_TTABLE) return from == FPG_V_DATE || from == FPG_V_TIMESTAMP;
  lua_pushliteral(L, "offset");
  lua_rawget(L, idx);
  int local = lua_isnil(L, -1);
  lua_pop(L, 1);
  return local;
}

/* The value of that kind, or, which is returned, of another one whose text the server reads as it. */
static int value_for(lua_State *L, const fpg_ctx *cx, int idx, int kind, fpg_any *v) {
  int from = fpg_value_kind(L, idx), ok = 0;
  const fpg_tz *zone = NULL;
  if (kind == FPG_V_TIMESTAMPTZ && is_local(L, idx, from)) {
    zone = session_zone(L, cx);
    if (!zone) kind = FPG_V_TIMESTAMP;
  } else if (kind == FPG_V_TIMESTAMP && from == FPG_V_TIMESTAMPTZ) {
    zone = session_zone(L, cx);
    if (!zone)
      fpg_refuse(L, cx, "timestamp expected, got fastpg.timestamptz, and the session's time zone can't be "
                        "loaded here (is tzdata installed?): cast to timestamptz in the SQL");
  }
  if (from && fpg_time_cast_safe(from, kind)) {
    ok = fpg_time_of_value(from, lua_touserdata(L, idx), kind, zone, v);
    if (ok < 0) bad_table(L, cx, idx, kind, ok);
  } else if (lua_type(L, idx) == LUA_TTABLE) {
    ok = fpg_time_of_table(L, idx, kind, zone, v);
    if (ok < 0) bad_table(L, cx, idx, kind, ok);
  }
  if (ok != 1) fpg_bad_value(L, cx, idx, fpg_value_name(kind) + 7);
  if (kind == FPG_V_INTERVAL && fpg_interval_ends(&v->interval) &&
      v->interval.number != (cx->server < INFINITE_INTERVALS))
    fpg_bad_value(L, cx, idx, v->interval.number ? "interval in range"
                                                 : "interval that is finite (servers before 17 have no infinite ones)");
  return kind;
}

static void write_binary(int kind, const fpg_any *v, char *p) {
  switch (kind) {
  case FPG_V_DATE: be_put32(p, (uint32_t)v->date.days); break;
  case FPG_V_TIMETZ:
    be_put64(p, (uint64_t)v->timetz.usec);
    be_put32(p + 8, (uint32_t)-v->timetz.offset);
    break;
  case FPG_V_INTERVAL:
    be_put64(p, (uint64_t)v->interval.usec);
    be_put32(p + 8, (uint32_t)v->interval.days);
    be_put32(p + 12, (uint32_t)v->interval.months);
    break;
  default: be_put64(p, (uint64_t)v->time.usec); break;
  }
}

static int put_text(lua_State *L, int kind, const fpg_any *v, fpg_buf *out) {
  char text[FPG_DT_TEXT];
  fpg_buf_put(L, out, text, fpg_time_value_text(kind, v, text));
  return FPG_TEXT;
}

int fpg_time_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  fpg_any v;
  int kind = value_of(type), got = value_for(L, cx, idx, kind, &v);
  if (got != kind) return put_text(L, got, &v, out);
  write_binary(kind, &v, fpg_buf_grow(L, out, wire[kind].len));
  return FPG_BINARY;
}

int fpg_time_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  fpg_any v;
  if (fpg_put_string(L, idx, out)) return FPG_TEXT; /* inside an array: the text already */
  int got = value_for(L, cx, idx, value_of(type), &v);
  return put_text(L, got, &v, out);
}
