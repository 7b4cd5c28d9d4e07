/* SPDX-License-Identifier: MIT
 *
 * interval_math.c: arithmetic of intervals and timestamps, as the server's timestamp.c does it.
 */
#include "interval_math.h"

#include <math.h>

#include "datetime.h"

static int fits32(int64_t v) { return v >= INT32_MIN && v <= INT32_MAX; }

static int set(fpg_interval *out, int64_t months, int64_t days, int64_t usec) {
  if (!fits32(months) || !fits32(days)) return 0;
  out->months = (int32_t)months;
  out->days = (int32_t)days;
  out->usec = usec;
  out->number = 0;
  return 1;
}

int fpg_interval_add(const fpg_interval *a, const fpg_interval *b, int sign, fpg_interval *out) {
  int ia = fpg_interval_inf(a), ib = fpg_interval_inf(b) * sign;
  int64_t usec;
  if (ia || ib) {
    if (ia + ib == 0) return 0; /* infinity - infinity */
    *out = ia ? *a : *b;
    if (!ia && sign < 0) {
      int positive = ib > 0;
      out->usec = positive ? INT64_MAX : INT64_MIN;
      out->days = out->months = positive ? INT32_MAX : INT32_MIN;
    }
    return 1;
  }
  if (sign > 0 ? __builtin_add_overflow(a->usec, b->usec, &usec)
               : __builtin_sub_overflow(a->usec, b->usec, &usec))
    return 0;
  return set(out, a->months + (int64_t)b->months * sign, a->days + (int64_t)b->days * sign, usec) &&
         !fpg_interval_inf(out);
}

/* Seconds rounded to whole microseconds. */
static double round_usec(double sec) { return rint(sec * 1000000.0) / 1000000.0; }

/* months, days and usec are each multiplied or divided already; what their whole numbers leave
 * goes down: a month's fraction to days, a day's to seconds. */
static int cascade(double months, double days, double usec, fpg_interval *out) {
  if (!(months >= INT32_MIN && months <= INT32_MAX && days >= INT32_MIN && days <= INT32_MAX))
    return 0;
  int64_t m = (int64_t)months, d = (int64_t)days;
  double rest = round_usec((months - (double)m) * 30);
  double sec = round_usec((days - (double)d + rest - (double)(int64_t)rest) * 86400);
  if (fabs(sec) >= 86400) {
    int64_t more = (int64_t)(sec / 86400);
    d += more;
    sec -= (double)(more * 86400);
  }
  d += (int64_t)rest;
  double t = rint(usec + sec * 1e6);
  if (!(t >= -9223372036854775808.0 && t < 9223372036854775808.0)) return 0;
  return set(out, m, d, (int64_t)t);
}

static int infinite(const fpg_interval *v, double factor, fpg_interval *out) {
  int sign = fpg_interval_inf(v) * (factor > 0 ? 1 : factor < 0 ? -1 : 0);
  if (!sign) return 0; /* infinity * 0 or * NaN */
  out->usec = sign > 0 ? INT64_MAX : INT64_MIN;
  out->days = out->months = sign > 0 ? INT32_MAX : INT32_MIN;
  out->number = 0;
  return 1;
}

int fpg_interval_mul(const fpg_interval *v, double factor, fpg_interval *out) {
  if (fpg_interval_inf(v)) return infinite(v, factor, out);
  return cascade(v->months * factor, v->days * factor, (double)v->usec * factor, out);
}

int fpg_interval_div(const fpg_interval *v, double divisor, fpg_interval *out) {
  if (fpg_interval_inf(v)) return !isinf(divisor) && infinite(v, divisor, out);
  return cascade(v->months / divisor, v->days / divisor, (double)v->usec / divisor, out);
}

int fpg_ts_diff(int64_t a, int64_t b, fpg_interval *out) {
  int64_t usec;
  if (__builtin_sub_overflow(a, b, &usec)) return 0;
  return set(out, 0, usec / FPG_DAY, usec % FPG_DAY);
}

int fpg_ts_add_months(int64_t ts, int64_t months, int64_t *out) {
  int64_t days = fpg_floor_div(ts, FPG_DAY), time = fpg_floor_mod(ts, FPG_DAY), year;
  int month, day;
  fpg_ymd_from_days(days, &year, &month, &day);
  int64_t count = year * 12 + (month - 1) + months;
  year = fpg_floor_div(count, 12);
  month = (int)fpg_floor_mod(count, 12) + 1;
  if (year < -4714 || year > 294277) return 0;
  int last = fpg_days_in_month(year, month);
  days = fpg_days_from_ymd(year, month, day < last ? day : last);
  if (days < FPG_TS_MIN / FPG_DAY - 1 || days > FPG_TS_END / FPG_DAY) return 0;
  return fpg_ts_add(days * FPG_DAY, time, out);
}

int fpg_ts_add_days(int64_t ts, int64_t days, int64_t *out) {
  days += fpg_floor_div(ts, FPG_DAY);
  if (days < FPG_TS_MIN / FPG_DAY || days >= FPG_TS_END / FPG_DAY) return 0;
  *out = days * FPG_DAY + fpg_floor_mod(ts, FPG_DAY);
  return 1;
}

int fpg_ts_add(int64_t ts, int64_t usec, int64_t *out) {
  return !__builtin_add_overflow(ts, usec, out) && fpg_ts_ok(*out);
}
