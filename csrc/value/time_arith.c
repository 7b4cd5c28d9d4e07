/* SPDX-License-Identifier: MIT
 *
 * time_arith.c: arithmetic of dates, times and intervals.
 *
 *   date + n, n + date, date - n      date          date - date               days, an integer
 *   date ± interval, date + time      timestamp     date + timetz             timestamptz
 *   timestamp(tz) ± interval          the same      timestamp(tz) - the like  interval
 *   time(tz) ± interval               the same      time - time               interval
 *   interval ± interval, - interval   interval      interval * n, / n         interval
 *
 * Sums work in either order.  Months go first, then days, then time: a day that a month lacks
 * becomes its last, and of a timestamptz months and days move the clock of its zone.
 */
#include "time_arith.h"

#include "interval_math.h"
#include "number.h"
#include "numeric.h"
#include "numeric_math.h"
#include "raise.h"
#include "time_cast.h"
#include "value.h"

/* ---- errors ------------------------------------------------------------------------------- */

static int out_of_range(lua_State *L, const char *what) {
  return fpg_value_raise(L, "datetime_field_overflow", "%s out of range", what);
}

/* Dates reach farther than timestamps. */
static int date_too_late(lua_State *L) {
  return fpg_value_raise(L, "datetime_field_overflow", "date out of range for timestamp");
}

static int push_interval(lua_State *L, int ok, const fpg_interval *v) {
  if (!ok) return out_of_range(L, "interval");
  fpg_push_interval(L, v);
  return 1;
}

/* ---- timestamps --------------------------------------------------------------------------- */

/* The offset in force on a clock of v's zone. */
static int64_t instant_of(const fpg_tstz *v, int64_t clock) {
  return v->zone ? fpg_clock_to_instant(clock, v->zone) : clock - v->offset * FPG_SEC;
}

/* Moves v, whose zone counts when `zoned`; false out of range. */
static int move(fpg_tstz *v, int zoned, const fpg_interval *by, int sign) {
  int inf = fpg_interval_inf(by) * sign;
  if (!fpg_ts_finite(v->usec)) return inf == 0 || (inf > 0) == (v->usec > 0);
  if (inf) {
    v->usec = inf > 0 ? FPG_TS_INF : FPG_TS_NINF;
    return 1;
  }
  int64_t clock, usec;
  if (by->months) {
    clock = zoned ? fpg_tstz_clock(v) : v->usec;
    if (!fpg_ts_add_months(clock, (int64_t)by->months * sign, &clock)) return 0;
    v->usec = zoned ? instant_of(v, clock) : clock;
  }
  if (by->days) {
    clock = zoned ? fpg_tstz_clock(v) : v->usec;
    if (!fpg_ts_add_days(clock, (int64_t)by->days * sign, &clock)) return 0;
    v->usec = zoned ? instant_of(v, clock) : clock;
  }
  usec = by->usec;
  if (sign < 0 && __builtin_sub_overflow((int64_t)0, usec, &usec)) return 0;
  return fpg_ts_add(v->usec, usec, &v->usec);
}

static int move_value(lua_State *L, int idx, const fpg_interval *by, int sign) {
  int kind = fpg_value_kind(L, idx);
  fpg_tstz v = {0, NULL, 0};
  if (kind == FPG_V_TIMESTAMPTZ) v = *(const fpg_tstz *)lua_touserdata(L, idx);
  else if (kind == FPG_V_TIMESTAMP) v.usec = ((const fpg_time *)lua_touserdata(L, idx))->usec;
  else if (!fpg_ts_from_date(((const fpg_date *)lua_touserdata(L, idx))->days, &v.usec))
    return date_too_late(L);
  if (!move(&v, kind == FPG_V_TIMESTAMPTZ, by, sign)) return out_of_range(L, "timestamp");
  if (kind == FPG_V_TIMESTAMPTZ) fpg_push_timestamptz(L, v.usec, v.zone, v.offset);
  else fpg_push_timestamp(L, v.usec);
  return 1;
}

static int move_time(lua_State *L, int idx, const fpg_interval *by, int sign) {
  if (fpg_interval_inf(by)) return out_of_range(L, "time");
  const fpg_timetz *v = lua_touserdata(L, idx);
  int64_t shift = by->usec % FPG_DAY * sign, usec = fpg_floor_mod(v->usec + shift, FPG_DAY);
  if (fpg_value_kind(L, idx) == FPG_V_TIMETZ) fpg_push_timetz(L, usec, v->offset);
  else fpg_push_time(L, usec);
  return 1;
}

static int subtract_timestamps(lua_State *L, int ka, int kb) {
  int zoned = ka == FPG_V_TIMESTAMPTZ || kb == FPG_V_TIMESTAMPTZ;
  const fpg_tstz *with_zone = lua_touserdata(L, ka == FPG_V_TIMESTAMPTZ ? 1 : 2);
  int64_t t[2];
  for (int i = 0; i < 2; i++) {
    int kind = i ? kb : ka;
    const void *v = lua_touserdata(L, i + 1);
    if (kind != FPG_V_DATE) t[i] = ((const fpg_time *)v)->usec;
    else if (!fpg_ts_from_date(((const fpg_date *)v)->days, &t[i])) return date_too_late(L);
    if (!fpg_ts_finite(t[i]))
      return fpg_value_raise(L, "datetime_field_overflow", "cannot subtract infinite timestamps");
    if (zoned && kind != FPG_V_TIMESTAMPTZ) t[i] = instant_of(with_zone, t[i]);
  }
  fpg_interval out;
  return push_interval(L, fpg_ts_diff(t[0], t[1], &out), &out);
}

/* ---- dates -------------------------------------------------------------------------------- */

static int move_date(lua_State *L, int idx, int other, int sign) {
  int32_t days = ((const fpg_date *)lua_touserdata(L, idx))->days;
  int64_t n;
  if (!fpg_to_int64(L, other, &n))
    return fpg_value_raise(L, "invalid_argument", "date: a whole number of days expected, got %s",
                           fpg_describe(L, other));
  if (fpg_date_finite(days)) {
    if (n > 2 * (int64_t)INT32_MAX || n < 2 * (int64_t)INT32_MIN || !fpg_date_ok(days + n * sign))
      return out_of_range(L, "date");
    days = (int32_t)(days + n * sign);
  }
  fpg_push_date(L, days);
  return 1;
}

static int subtract_dates(lua_State *L) {
  const fpg_date *a = lua_touserdata(L, 1), *b = lua_touserdata(L, 2);
  if (!fpg_date_finite(a->days) || !fpg_date_finite(b->days))
    return fpg_value_raise(L, "datetime_field_overflow", "cannot subtract infinite dates");
  fpg_push_int64(L, (int64_t)a->days - b->days);
  return 1;
}

static int join_date_time(lua_State *L, int date, int time) {
  const fpg_timetz *t = lua_touserdata(L, time);
  int zoned = fpg_value_kind(L, time) == FPG_V_TIMETZ;
  int64_t ts;
  if (!fpg_ts_from_date(((const fpg_date *)lua_touserdata(L, date))->days, &ts))
    return date_too_late(L);
  if (fpg_ts_finite(ts)) {
    ts += t->usec - (zoned ? t->offset * FPG_SEC : 0);
    if (!fpg_ts_ok(ts)) return out_of_range(L, "timestamp");
  }
  if (zoned) fpg_push_timestamptz(L, ts, NULL, t->offset);
  else fpg_push_timestamp(L, ts);
  return 1;
}

/* ---- intervals ---------------------------------------------------------------------------- */

/* The number or numeric at idx as a double. */
static int number_at(lua_State *L, int idx, double *out) {
  const fpg_num *n = fpg_value_to(L, idx, FPG_V_NUMERIC);
  if (n) *out = fpg_num_double(n);
  else if (lua_type(L, idx) == LUA_TNUMBER) *out = (double)lua_tonumber(L, idx);
  else return 0;
  return 1;
}

static int scale_interval(lua_State *L, int op) {
  int at = fpg_value_kind(L, 1) == FPG_V_INTERVAL ? 1 : 2;
  const fpg_interval *v = lua_touserdata(L, at);
  double n;
  fpg_interval out;
  if (!number_at(L, 3 - at, &n) || (op == FPG_MATH_DIV && at == 2))
    return fpg_arith_undefined(L, op);
  if (op == FPG_MATH_MUL) return push_interval(L, fpg_interval_mul(v, n, &out), &out);
  if (n == 0) return fpg_value_raise(L, "division_by_zero", "division by zero");
  return push_interval(L, fpg_interval_div(v, n, &out), &out);
}

/* ---- sums --------------------------------------------------------------------------------- */

static int dated(int kind) {
  return kind == FPG_V_DATE || kind == FPG_V_TIMESTAMP || kind == FPG_V_TIMESTAMPTZ;
}
static int timed(int kind) { return kind == FPG_V_TIME || kind == FPG_V_TIMETZ; }

/* The operand at `at` plus or minus the interval or number at `by`. */
static int move_any(lua_State *L, int op, int at, int by) {
  int kind = fpg_value_kind(L, at), other = fpg_value_kind(L, by);
  int sign = op == FPG_MATH_ADD ? 1 : -1;
  if (other == FPG_V_INTERVAL) {
    const fpg_interval *i = lua_touserdata(L, by);
    fpg_interval out;
    if (dated(kind)) return move_value(L, at, i, sign);
    if (timed(kind)) return move_time(L, at, i, sign);
    if (kind == FPG_V_INTERVAL)
      return push_interval(L, fpg_interval_add(lua_touserdata(L, at), i, sign, &out), &out);
  }
  if (kind == FPG_V_DATE && !other) return move_date(L, at, by, sign);
  return fpg_arith_undefined(L, op);
}

static int add(lua_State *L, int ka, int kb) {
  if (ka == FPG_V_DATE && timed(kb)) return join_date_time(L, 1, 2);
  if (timed(ka) && kb == FPG_V_DATE) return join_date_time(L, 2, 1);
  int swap = ka == FPG_V_INTERVAL || !ka;
  return swap && (kb != FPG_V_INTERVAL || !ka) ? move_any(L, FPG_MATH_ADD, 2, 1)
                                               : move_any(L, FPG_MATH_ADD, 1, 2);
}

static int subtract(lua_State *L, int ka, int kb) {
  if (ka == FPG_V_DATE && kb == FPG_V_DATE) return subtract_dates(L);
  if (dated(ka) && dated(kb)) return subtract_timestamps(L, ka, kb);
  if (ka == FPG_V_TIME && kb == FPG_V_TIME) {
    const fpg_time *a = lua_touserdata(L, 1), *b = lua_touserdata(L, 2);
    fpg_interval out = {.usec = a->usec - b->usec};
    return push_interval(L, 1, &out);
  }
  return ka ? move_any(L, FPG_MATH_SUB, 1, 2) : fpg_arith_undefined(L, FPG_MATH_SUB);
}

int fpg_time_arith(lua_State *L, int op) {
  lua_settop(L, 2);
  int ka = fpg_value_kind(L, 1), kb = fpg_value_kind(L, 2);
  if (op == FPG_MATH_ADD) return add(L, ka, kb);
  if (op == FPG_MATH_SUB) return subtract(L, ka, kb);
  if ((op == FPG_MATH_MUL || op == FPG_MATH_DIV) && (ka == FPG_V_INTERVAL || kb == FPG_V_INTERVAL))
    return scale_interval(L, op);
  return fpg_arith_undefined(L, op);
}

/* -v is 0 - v. */
int fpg_interval_negate(lua_State *L) {
  fpg_interval zero = {0};
  lua_settop(L, 1);
  fpg_push_interval(L, &zero);
  lua_insert(L, 1);
  return fpg_time_arith(L, FPG_MATH_SUB);
}
