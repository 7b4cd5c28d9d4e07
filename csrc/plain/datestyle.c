/* SPDX-License-Identifier: MIT
 *
 * datestyle.c: see datestyle.h.
 *
 *              date          timestamp with time zone
 *   ISO        2003-02-01    2003-02-01 04:05:06.7+01
 *   SQL        02/01/2003    02/01/2003 04:05:06.7 CET
 *   German     01.02.2003    01.02.2003 04:05:06.7 CET
 *   Postgres   02-01-2003    Sat Feb 01 04:05:06.7 2003 CET
 *
 * Under the order DMY SQL and Postgres put the day first.  A year has four digits or more and ends in " BC" behind
 * all else.  So the text itself tells its style; what it does not tell is the order of two numbers, and the offset
 * of a zone, which ISO prints.
 */
#include "datestyle.h"

#include <string.h>

typedef struct cursor {
  const char *p, *end;
} cursor;

static int is_digit(const cursor *c) { return c->p < c->end && *c->p >= '0' && *c->p <= '9'; }

static int take(cursor *c, char ch) {
  if (c->p == c->end || *c->p != ch) return 0;
  c->p++;
  return 1;
}

/* An unsigned number and how many digits it has; 0 digits: there is none. */
static int take_number(cursor *c, int64_t *out) {
  int n = 0;
  for (*out = 0; is_digit(c) && n < 8; n++) *out = *out * 10 + (*c->p++ - '0');
  return is_digit(c) ? 0 : n;
}

static int take_month(cursor *c, int *month) {
  static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (c->end - c->p < 3) return 0;
  for (*month = 1; *month <= 12; ++*month)
    if (memcmp(c->p, names + 3 * (*month - 1), 3) == 0) {
      c->p += 3;
      return 1;
    }
  return 0;
}

/* Two numbers in an order that may have to be known. */
static int set_month_and_day(fpg_fields *f, int64_t first, int64_t second, int order) {
  if (order == FPG_ORDER_UNKNOWN) {
    if (first <= 12 && second <= 12 && first != second) return FPG_AMBIGUOUS;
    order = first > 12 ? FPG_ORDER_DAY : FPG_ORDER_MONTH;
  }
  f->month = (int)(order == FPG_ORDER_DAY ? second : first);
  f->day = (int)(order == FPG_ORDER_DAY ? first : second);
  return 1;
}

/* The numbers of a date in any style. */
static int take_date(cursor *c, fpg_fields *f, int order) {
  int64_t a, b, third;
  int digits = take_number(c, &a);
  if (!digits || c->p == c->end) return 0;
  char between = *c->p++;
  if ((between != '-' && between != '/' && between != '.') || !take_number(c, &b) || !take(c, between)) return 0;
  int last = take_number(c, &third);
  if (digits >= 4 && between == '-') {
    f->year = a, f->month = (int)b, f->day = (int)third;
    return last == 2;
  }
  if (digits != 2 || last < 4) return 0;
  f->year = third;
  return set_month_and_day(f, a, b, between == '.' ? FPG_ORDER_DAY : order);
}

/* The time of day, whose text is the same in all styles. */
static int take_time(cursor *c, int64_t *usec) {
  const char *start = c->p;
  while (c->p < c->end && (is_digit(c) || *c->p == ':' || *c->p == '.')) c->p++;
  return fpg_time_parse(start, (size_t)(c->p - start), usec);
}

/* "Sat Feb 01 04:05:06 2003", behind the weekday. */
static int take_postgres(cursor *c, fpg_fields *f, int64_t *usec) {
  int64_t day;
  int month_first = take_month(c, &f->month);
  if (month_first && !take(c, ' ')) return 0;
  if (!take_number(c, &day) || !take(c, ' ')) return 0;
  if (!month_first && (!take_month(c, &f->month) || !take(c, ' '))) return 0;
  f->day = (int)day;
  return take_time(c, usec) == 1 && take(c, ' ') && take_number(c, &f->year) >= 4;
}

/* " BC" at the end, which it then is not any more. */
static void take_era(cursor *c, fpg_fields *f) {
  if (c->end - c->p < 3 || memcmp(c->end - 3, " BC", 3) != 0) return;
  f->year = -f->year;
  c->end -= 3;
}

static int read_infinity(const char *s, size_t len) {
  if (len == 8 && memcmp(s, "infinity", 8) == 0) return 1;
  return len == 9 && memcmp(s, "-infinity", 9) == 0 ? -1 : 0;
}

int fpg_date_read(const char *s, size_t len, int order, int32_t *out) {
  cursor c = {s, s + len};
  fpg_fields f = {0};
  int infinity = read_infinity(s, len);
  if (infinity) {
    *out = infinity < 0 ? FPG_DATE_NINF : FPG_DATE_INF;
    return 1;
  }
  int ok = take_date(&c, &f, order);
  if (ok != 1) return ok;
  take_era(&c, &f);
  if (c.p != c.end) return 0;
  return fpg_date_make(&f, out) ? 1 : -1;
}

/* What the clock shows, up to a day out of range, and what stands behind it: c is left there. */
static int read_clock(cursor *c, int order, int64_t *out) {
  fpg_fields f = {0};
  int64_t usec = 0;
  int weekday = c->p < c->end && !is_digit(c), ok;
  if (weekday) {
    if (c->end - c->p < 4 || c->p[3] != ' ') return 0;
    c->p += 4;
    ok = take_postgres(c, &f, &usec);
  } else {
    ok = take_date(c, &f, order);
    if (ok == 1 && !(take(c, ' ') && take_time(c, &usec) == 1)) ok = 0;
  }
  if (ok != 1) return ok;
  take_era(c, &f);
  return fpg_clock_make(&f, usec, out) ? 1 : -1;
}

int fpg_ts_read(const char *s, size_t len, int order, int64_t *out) {
  cursor c = {s, s + len};
  int infinity = read_infinity(s, len);
  if (infinity) {
    *out = infinity < 0 ? FPG_TS_NINF : FPG_TS_INF;
    return 1;
  }
  int ok = read_clock(&c, order, out);
  if (ok == 1 && c.p != c.end) return 0;
  return ok == 1 && !fpg_ts_ok(*out) ? -1 : ok;
}

/* ---- zones -------------------------------------------------------------------------------- */

/* +01, -03:30, +05:53:28, or an abbreviation made of digits, +0530. */
static int read_offset(const cursor *c, int32_t *offset) {
  int64_t clock;
  int has;
  char text[32] = "00:00:00";
  size_t n = (size_t)(c->end - c->p);
  if (n < 2 || n > 12 || (*c->p != '+' && *c->p != '-')) return 0;
  memcpy(text + 8, c->p, n);
  return fpg_timetz_parse(text, 8 + n, &clock, offset, &has) == 1 && has;
}

enum { LONGEST = 10 }; /* of an abbreviation: the server cuts off what is longer */

static int is_named(const char *name, const cursor *c) {
  size_t n = strlen(name);
  if (n > LONGEST) n = LONGEST;
  return n == (size_t)(c->end - c->p) && memcmp(name, c->p, n) == 0;
}

/* The offset at which the zone's clocks show `local` (Unix seconds) under this abbreviation. */
static int find_offset(const fpg_tz *zone, int64_t local, const cursor *c, int32_t *offset) {
  enum { DAY = 86400, WINDOW = 2 * DAY };
  fpg_tz_change change;
  int found = 0;
  for (int64_t t = local - WINDOW;; t = change.at) {
    int more = fpg_tz_next(zone, t, &change);
    int64_t instant = local - change.before;
    const char *name = fpg_tz_name(zone, instant);
    if (fpg_tz_offset(zone, instant) == change.before && (!*name || is_named(name, c))) {
      if (found && *offset != change.before) return FPG_AMBIGUOUS;
      found = 1;
      *offset = change.before;
    }
    if (!more || change.at > local + WINDOW) return found ? 1 : FPG_AMBIGUOUS;
  }
}

int fpg_tstz_read(const char *s, size_t len, int order, const fpg_tz *zone, int64_t *out, int32_t *offset) {
  cursor c = {s, s + len};
  int64_t clock;
  *offset = 0;
  int infinity = read_infinity(s, len);
  if (infinity) {
    *out = infinity < 0 ? FPG_TS_NINF : FPG_TS_INF;
    return 1;
  }
  int ok = read_clock(&c, order, &clock);
  if (ok != 1) return ok;
  if (take(&c, ' ')) {
    if (c.p == c.end) return 0;
    if (!zone) {
      if (!read_offset(&c, offset) && !is_named("UTC", &c) && !is_named("GMT", &c)) return FPG_AMBIGUOUS;
    } else if ((ok = find_offset(zone, fpg_floor_div(clock, FPG_SEC) + FPG_UNIX_EPOCH, &c, offset)) != 1) {
      return ok;
    }
  } else if (!read_offset(&c, offset)) {
    return 0;
  }
  *out = clock - *offset * FPG_SEC;
  return fpg_ts_ok(*out) ? 1 : -1;
}
