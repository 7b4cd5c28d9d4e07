/* SPDX-License-Identifier: MIT
 *
 * datetime.c: the calendar, and the text of dates, times and timestamps.  Intervals are in
 * interval.c.
 *
 * The calendar counts in eras of 400 years (146097 days) that begin on the 1st of March, so that
 * the leap day is an era's last and no table of months is needed.
 */
#include "datetime.h"

#include <string.h>

/* ---- calendar ----------------------------------------------------------------------------- */

#define ERA_DAYS 146097
#define MARCH_0000_TO_2000 730425 /* days from 0000-03-01 to 2000-01-01 */

int64_t fpg_days_from_ymd(int64_t year, int month, int day) {
  if (month <= 2) year--;
  int64_t era = fpg_floor_div(year, 400), y = year - era * 400;
  int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * ERA_DAYS + y * 365 + y / 4 - y / 100 + doy - MARCH_0000_TO_2000;
}

void fpg_ymd_from_days(int64_t days, int64_t *year, int *month, int *day) {
  days += MARCH_0000_TO_2000;
  int64_t era = fpg_floor_div(days, ERA_DAYS), doe = days - era * ERA_DAYS;
  int64_t y = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  int doy = (int)(doe - (365 * y + y / 4 - y / 100)), m = (5 * doy + 2) / 153;
  *day = doy - (153 * m + 2) / 5 + 1;
  *month = m < 10 ? m + 3 : m - 9;
  *year = y + era * 400 + (*month <= 2);
}

static int is_leap(int64_t y) { return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0); }

int fpg_days_in_month(int64_t year, int month) {
  static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

int fpg_weekday(int64_t days) {
  int64_t w = (days + 6) % 7; /* 2000-01-01 was a Saturday */
  return (int)(w < 0 ? w + 7 : w);
}

/* ---- fields ------------------------------------------------------------------------------- */

void fpg_date_fields(int32_t date, fpg_fields *f) {
  memset(f, 0, sizeof *f);
  fpg_ymd_from_days(date, &f->year, &f->month, &f->day);
  if (f->year <= 0) f->year--;
}

void fpg_time_fields(int64_t usec, fpg_fields *f) {
  f->hour = (int)(usec / (3600 * FPG_SEC));
  f->min = (int)(usec / (60 * FPG_SEC) % 60);
  f->sec = (int)(usec / FPG_SEC % 60);
  f->usec = (int)(usec % FPG_SEC);
}

void fpg_ts_fields(int64_t ts, fpg_fields *f) {
  fpg_date_fields((int32_t)fpg_floor_div(ts, FPG_DAY), f);
  fpg_time_fields(fpg_floor_mod(ts, FPG_DAY), f);
}

/* Days of a day that the calendar has, in any year near the legal ones. */
static int days_of(const fpg_fields *f, int64_t *days) {
  if (f->year == 0 || f->year < -4714 || f->year > 5874898) return 0;
  int64_t year = f->year < 0 ? f->year + 1 : f->year;
  if (f->month < 1 || f->month > 12 || f->day < 1 || f->day > fpg_days_in_month(year, f->month))
    return 0;
  *days = fpg_days_from_ymd(year, f->month, f->day);
  return 1;
}

int fpg_date_make(const fpg_fields *f, int32_t *out) {
  int64_t days;
  if (!days_of(f, &days) || !fpg_date_ok(days)) return 0;
  *out = (int32_t)days;
  return 1;
}

int fpg_time_make(const fpg_fields *f, int64_t *out) {
  if (f->hour < 0 || f->min < 0 || f->min > 59 || f->sec < 0 || f->sec > 60 || f->usec < 0 ||
      f->usec >= FPG_SEC || f->hour > 24)
    return 0;
  int64_t t = ((int64_t)f->hour * 3600 + f->min * 60 + f->sec) * FPG_SEC + f->usec;
  if (t > FPG_DAY) return 0;
  *out = t;
  return 1;
}

int fpg_ts_make(const fpg_fields *f, int64_t *out) {
  int32_t date;
  int64_t time, ts;
  if (!fpg_date_make(f, &date) || !fpg_time_make(f, &time) || !fpg_ts_from_date(date, &ts))
    return 0;
  if (ts > FPG_TS_END - time - 1) return 0;
  *out = ts + time;
  return 1;
}

int fpg_clock_make(const fpg_fields *f, int64_t usec, int64_t *out) {
  int64_t day;
  if (!days_of(f, &day) || day < FPG_TS_MIN / FPG_DAY - 1 || day > FPG_TS_END / FPG_DAY) return 0;
  *out = day * FPG_DAY + usec;
  return 1;
}

int fpg_ts_from_date(int32_t date, int64_t *out) {
  if (!fpg_date_finite(date)) {
    *out = date < 0 ? FPG_TS_NINF : FPG_TS_INF;
    return 1;
  }
  if (date >= FPG_TS_END / FPG_DAY) return 0;
  *out = date * FPG_DAY;
  return 1;
}

/* ---- writing ------------------------------------------------------------------------------ */

char *fpg_put_digits(char *p, uint64_t v, int width) {
  char digits[20];
  int n = 0;
  do digits[n++] = (char)('0' + v % 10);
  while (v /= 10);
  for (; width > n; width--) *p++ = '0';
  while (n) *p++ = digits[--n];
  return p;
}

static char *put_str(char *p, const char *s) {
  size_t n = strlen(s);
  memcpy(p, s, n);
  return p + n;
}

static char *put_ymd(char *p, const fpg_fields *f) {
  p = fpg_put_digits(p, (uint64_t)(f->year < 0 ? -f->year : f->year), 4);
  *p++ = '-';
  p = fpg_put_digits(p, (uint64_t)f->month, 2);
  *p++ = '-';
  return fpg_put_digits(p, (uint64_t)f->day, 2);
}

static char *put_hms(char *p, const fpg_fields *f) {
  p = fpg_put_digits(p, (uint64_t)f->hour, 2);
  *p++ = ':';
  p = fpg_put_digits(p, (uint64_t)f->min, 2);
  *p++ = ':';
  p = fpg_put_digits(p, (uint64_t)f->sec, 2);
  if (f->usec) {
    *p++ = '.';
    p = fpg_put_digits(p, (uint64_t)f->usec, 6);
    while (p[-1] == '0') p--;
  }
  return p;
}

static char *put_offset(char *p, int32_t offset) {
  uint32_t o = (uint32_t)(offset < 0 ? -offset : offset);
  *p++ = offset < 0 ? '-' : '+';
  p = fpg_put_digits(p, o / 3600, 2);
  if (o % 3600) {
    *p++ = ':';
    p = fpg_put_digits(p, o / 60 % 60, 2);
  }
  if (o % 60) {
    *p++ = ':';
    p = fpg_put_digits(p, o % 60, 2);
  }
  return p;
}

size_t fpg_offset_text(char *buf, int32_t offset) {
  return (size_t)(put_offset(buf, offset) - buf);
}

static size_t put_infinity(char *buf, int negative) {
  return (size_t)(put_str(buf, negative ? "-infinity" : "infinity") - buf);
}

size_t fpg_date_text(char *buf, int32_t date) {
  if (!fpg_date_finite(date)) return put_infinity(buf, date < 0);
  fpg_fields f;
  fpg_date_fields(date, &f);
  char *p = put_ymd(buf, &f);
  if (f.year < 0) p = put_str(p, " BC");
  return (size_t)(p - buf);
}

size_t fpg_time_text(char *buf, int64_t usec) {
  fpg_fields f;
  fpg_time_fields(usec, &f);
  return (size_t)(put_hms(buf, &f) - buf);
}

size_t fpg_timetz_text(char *buf, int64_t usec, int32_t offset) {
  size_t n = fpg_time_text(buf, usec);
  return n + fpg_offset_text(buf + n, offset);
}

static size_t ts_text(char *buf, int64_t ts, const int32_t *offset) {
  if (!fpg_ts_finite(ts)) return put_infinity(buf, ts < 0);
  fpg_fields f;
  fpg_ts_fields(offset ? ts + *offset * FPG_SEC : ts, &f);
  char *p = put_ymd(buf, &f);
  *p++ = ' ';
  p = put_hms(p, &f);
  if (offset) p = put_offset(p, *offset);
  if (f.year < 0) p = put_str(p, " BC");
  return (size_t)(p - buf);
}

size_t fpg_ts_text(char *buf, int64_t ts) { return ts_text(buf, ts, NULL); }
size_t fpg_tstz_text(char *buf, int64_t ts, int32_t offset) { return ts_text(buf, ts, &offset); }

/* ---- reading ------------------------------------------------------------------------------ */

typedef struct cursor {
  const char *p, *end;
} cursor;

static int digit_next(const cursor *c) { return c->p < c->end && *c->p >= '0' && *c->p <= '9'; }

static int take(cursor *c, char ch) {
  if (c->p == c->end || *c->p != ch) return 0;
  c->p++;
  return 1;
}

static void skip_blanks(cursor *c) {
  while (c->p < c->end && (*c->p == ' ' || (*c->p >= '\t' && *c->p <= '\r'))) c->p++;
}

/* A word of letters in any case, followed by no other letter. */
static int take_word(cursor *c, const char *word) {
  size_t n = strlen(word);
  if ((size_t)(c->end - c->p) < n) return 0;
  for (size_t i = 0; i < n; i++)
    if ((c->p[i] | 0x20) != word[i]) return 0;
  if ((size_t)(c->end - c->p) > n && (c->p[n] | 0x20) >= 'a' && (c->p[n] | 0x20) <= 'z') return 0;
  c->p += n;
  return 1;
}

static int at_end(cursor *c) {
  skip_blanks(c);
  return c->p == c->end;
}

/* An unsigned number of least..most digits, or -1. */
static int64_t take_num(cursor *c, int least, int most) {
  int64_t v = 0;
  int n = 0;
  for (; n < most && digit_next(c); n++) v = v * 10 + (*c->p++ - '0');
  return n < least || digit_next(c) ? -1 : v;
}

/* The digits after the point as microseconds, rounded at the seventh; may give 1000000. */
static int take_fraction(cursor *c, int *usec) {
  *usec = 0;
  if (!take(c, '.')) return 1;
  for (int place = 100000; digit_next(c) && place; place /= 10) *usec += (*c->p++ - '0') * place;
  if (digit_next(c) && *c->p >= '5') ++*usec;
  while (digit_next(c)) c->p++;
  return 1;
}

static int take_ymd(cursor *c, fpg_fields *f) {
  f->year = take_num(c, 4, 17);
  if (f->year < 0 || !take(c, '-')) return 0;
  f->month = (int)take_num(c, 1, 2);
  if (f->month < 0 || !take(c, '-')) return 0;
  f->day = (int)take_num(c, 1, 2);
  return f->day >= 0;
}

/* The time of day in microseconds; the fields are checked by fpg_time_make. */
static int take_hms(cursor *c, int64_t *out) {
  fpg_fields f = {0};
  f.hour = (int)take_num(c, 1, 2);
  if (f.hour < 0 || !take(c, ':')) return 0;
  f.min = (int)take_num(c, 2, 2);
  if (f.min < 0) return 0;
  if (take(c, ':')) {
    f.sec = (int)take_num(c, 2, 2);
    if (f.sec < 0 || !take_fraction(c, &f.usec)) return 0;
  }
  int carry = f.usec == FPG_SEC;
  if (carry) f.usec = 0;
  if (!fpg_time_make(&f, out)) return -1;
  *out += carry ? FPG_SEC : 0;
  return *out > FPG_DAY ? -1 : 1;
}

/* Z, UTC, GMT, or +HH, +HH:MM, +HH:MM:SS, +HHMM. */
static int take_offset(cursor *c, int32_t *offset) {
  *offset = 0;
  if (take_word(c, "z") || take_word(c, "utc") || take_word(c, "gmt")) return 1;
  int negative = c->p < c->end && *c->p == '-';
  if (!take(c, '+') && !take(c, '-')) return 0;
  const char *start = c->p;
  int64_t h = take_num(c, 1, 4), m = 0, s = 0;
  if (h < 0) return 0;
  if (c->p - start > 2) {
    m = h % 100;
    h /= 100;
  } else if (take(c, ':')) {
    m = take_num(c, 2, 2);
    if (m >= 0 && take(c, ':')) s = take_num(c, 2, 2);
    if (m < 0 || s < 0) return 0;
  }
  int64_t o = h * 3600 + m * 60 + s;
  if (m > 59 || s > 59 || o >= FPG_OFFSET_END) return -2;
  *offset = (int32_t)(negative ? -o : o);
  return 1;
}

static int take_infinity(cursor *c, int *negative) {
  cursor at = *c;
  skip_blanks(&at);
  *negative = take(&at, '-');
  if (!*negative) take(&at, '+');
  if (!take_word(&at, "infinity") || !at_end(&at)) return 0;
  *c = at;
  return 1;
}

/* BC or AD; a year without one is AD. */
static int take_era(cursor *c, fpg_fields *f) {
  skip_blanks(c);
  if (take_word(c, "bc")) {
    if (f->year == 0) return 0;
    f->year = -f->year;
  } else {
    take_word(c, "ad");
  }
  return 1;
}

int fpg_date_parse(const char *s, size_t len, int32_t *out) {
  cursor c = {s, s + len};
  fpg_fields f = {0};
  int negative;
  if (take_infinity(&c, &negative)) {
    *out = negative ? FPG_DATE_NINF : FPG_DATE_INF;
    return 1;
  }
  skip_blanks(&c);
  if (!take_ymd(&c, &f) || !take_era(&c, &f) || !at_end(&c)) return 0;
  return fpg_date_make(&f, out) ? 1 : -1;
}

int fpg_time_parse(const char *s, size_t len, int64_t *out) {
  cursor c = {s, s + len};
  skip_blanks(&c);
  int ok = take_hms(&c, out);
  return ok == 1 && !at_end(&c) ? 0 : ok;
}

int fpg_timetz_parse(const char *s, size_t len, int64_t *out, int32_t *offset, int *has_offset) {
  cursor c = {s, s + len};
  *offset = *has_offset = 0;
  skip_blanks(&c);
  int ok = take_hms(&c, out);
  if (ok != 1) return ok;
  if (at_end(&c)) return 1;
  *has_offset = 1;
  ok = take_offset(&c, offset);
  return ok == 1 && !at_end(&c) ? 0 : ok;
}

int fpg_ts_parse(const char *s, size_t len, int64_t *out, int32_t *offset, int *has_offset) {
  cursor c = {s, s + len};
  fpg_fields f = {0};
  int64_t time = 0;
  int negative, ok;
  *offset = *has_offset = 0;
  if (take_infinity(&c, &negative)) {
    *out = negative ? FPG_TS_NINF : FPG_TS_INF;
    return 1;
  }
  skip_blanks(&c);
  if (!take_ymd(&c, &f)) return 0;
  if (!take(&c, 'T') && !take(&c, 't')) skip_blanks(&c);
  if (digit_next(&c) && (ok = take_hms(&c, &time)) != 1) return ok;
  skip_blanks(&c);
  if (c.p < c.end && ((*c.p | 0x20) != 'b' && (*c.p | 0x20) != 'a')) {
    if ((ok = take_offset(&c, offset)) != 1) return ok;
    *has_offset = 1;
  }
  if (!take_era(&c, &f) || !at_end(&c)) return 0;
  return fpg_clock_make(&f, time, out) ? 1 : -1;
}
