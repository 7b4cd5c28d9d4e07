/* SPDX-License-Identifier: MIT
 *
 * interval.c: the text and the order of intervals.
 *
 * Written as under IntervalStyle postgres, "-1 years -2 mons +3 days -04:05:06.7".  Read is that,
 * the verbose style with its "@" and "ago", ISO 8601 durations ("P1Y2M3DT4H5M6S"), SQL's "1-2",
 * "3 4:05:06" and "+1-2 -3 +4:05:06", and any list of numbers with units: each style tells itself.  Fractions go down as the server's do: of a year to months, of a month to
 * days (30 to a month), of a week or day to microseconds.
 */
#include "interval.h"

#include <math.h>
#include <string.h>

#include "datetime.h"

/* ---- writing ------------------------------------------------------------------------------ */

typedef struct writer {
  char *p;
  int any, after_minus; /* a field was written; the last one was negative */
} writer;

static void put_u64(writer *w, uint64_t v, int width) { w->p = fpg_put_digits(w->p, v, width); }

static void put_part(writer *w, int64_t v, const char *unit) {
  if (!v) return;
  if (w->any) *w->p++ = ' ';
  if (v < 0) *w->p++ = '-';
  else if (w->after_minus) *w->p++ = '+';
  put_u64(w, (uint64_t)(v < 0 ? -v : v), 1);
  *w->p++ = ' ';
  size_t n = strlen(unit);
  memcpy(w->p, unit, n);
  w->p += n;
  if (v != 1) *w->p++ = 's';
  w->any = 1;
  w->after_minus = v < 0;
}

static void put_clock(writer *w, int64_t usec) {
  uint64_t u = usec < 0 ? 0 - (uint64_t)usec : (uint64_t)usec;
  if (w->any) *w->p++ = ' ';
  if (usec < 0) *w->p++ = '-';
  else if (w->after_minus) *w->p++ = '+';
  put_u64(w, u / UINT64_C(3600000000), 2);
  *w->p++ = ':';
  put_u64(w, u / 60000000 % 60, 2);
  *w->p++ = ':';
  put_u64(w, u / 1000000 % 60, 2);
  if (u % 1000000) {
    *w->p++ = '.';
    put_u64(w, u % 1000000, 6);
    while (w->p[-1] == '0') w->p--;
  }
}

size_t fpg_interval_text(char *buf, const fpg_interval *v) {
  int inf = fpg_interval_inf(v);
  if (inf) {
    const char *s = inf < 0 ? "-infinity" : "infinity";
    memcpy(buf, s, strlen(s));
    return strlen(s);
  }
  writer w = {buf, 0, 0};
  put_part(&w, v->months / 12, "year");
  put_part(&w, v->months % 12, "mon");
  put_part(&w, v->days, "day");
  if (v->usec || !w.any) put_clock(&w, v->usec);
  return (size_t)(w.p - buf);
}

/* ---- reading ------------------------------------------------------------------------------ */

typedef struct reader {
  const char *p, *end;
  int64_t months, days, usec;
  int overflow;
} reader;

/* One number: sign, whole part, fraction in [0, 1). */
typedef struct number {
  int negative;
  int64_t whole;
  double frac;
  int64_t frac_nano; /* the same, in 10^-9, cut */
} number;

static int more(const reader *r) { return r->p < r->end; }
static int is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static int is_digit(char c) { return c >= '0' && c <= '9'; }
static int is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

static void skip_blanks(reader *r) {
  while (more(r) && is_blank(*r->p)) r->p++;
}

static void add(reader *r, int64_t *to, int64_t v) {
  if (__builtin_add_overflow(*to, v, to)) r->overflow = 1;
}
static void add_scaled(reader *r, int64_t *to, int64_t v, int64_t unit) {
  int64_t product;
  if (__builtin_mul_overflow(v, unit, &product)) r->overflow = 1;
  else add(r, to, product);
}

static int64_t read_whole(reader *r) {
  int64_t v = 0;
  for (; more(r) && is_digit(*r->p); r->p++)
    if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
        __builtin_add_overflow(v, (int64_t)(*r->p - '0'), &v))
      r->overflow = 1, v = 0;
  return v;
}

static int read_number(reader *r, number *n) {
  memset(n, 0, sizeof *n);
  if (more(r) && (*r->p == '-' || *r->p == '+')) n->negative = *r->p++ == '-';
  const char *start = r->p;
  n->whole = read_whole(r);
  size_t digits = (size_t)(r->p - start);
  if (more(r) && *r->p == '.') {
    int64_t place = 100000000;
    for (r->p++; more(r) && is_digit(*r->p); r->p++, digits++, place /= 10)
      n->frac_nano += (*r->p - '0') * place;
    n->frac = (double)n->frac_nano / 1e9;
  }
  return digits > 0;
}

/* What one unit is worth, and where it counts. */
typedef struct unit {
  const char *names; /* separated by blanks */
  char field;        /* m months, w weeks, d days, u microseconds */
  int64_t worth;
} unit;

static const unit units[] = {
    {"usec usecs us microsecond microseconds microsecon", 'u', 1},
    {"msec msecs ms millisecond milliseconds millisecon", 'u', 1000},
    {"s sec secs second seconds", 'u', 1000000},
    {"min mins m minute minutes", 'u', 60000000},
    {"h hour hours hr hrs", 'u', INT64_C(3600000000)},
    {"d day days", 'd', 1},
    {"w week weeks", 'w', 7},
    {"mon mons month months", 'm', 1},
    {"y year years yr yrs", 'm', 12},
    {"decade decades dec decs", 'm', 120},
    {"century centuries cent c", 'm', 1200},
    {"millennium millennia mil mils millenniums", 'm', 12000},
};

static const unit *find_unit(const char *s, size_t len) {
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    for (const char *w = units[i].names; *w;) {
      size_t n = strcspn(w, " "), k = 0;
      while (k < n && k < len && w[k] == (s[k] | 0x20)) k++;
      if (k == n && n == len) return &units[i];
      w += n + (w[n] == ' ');
    }
  }
  return NULL;
}

static void add_usec_fraction(reader *r, double frac, double worth) {
  add(r, &r->usec, (int64_t)rint(frac * worth));
}

static void add_day_fraction(reader *r, double days) {
  double whole = trunc(days);
  add(r, &r->days, (int64_t)whole);
  if (days != whole) add_usec_fraction(r, days - whole, (double)FPG_DAY);
}

static void add_amount(reader *r, const number *n, const unit *u) {
  int64_t whole = n->negative ? -n->whole : n->whole;
  double frac = n->negative ? -n->frac : n->frac;
  if (u->field == 'u') {
    add_scaled(r, &r->usec, whole, u->worth);
    if (n->frac_nano) add_usec_fraction(r, frac, (double)u->worth);
  } else if (u->field == 'd') {
    add(r, &r->days, whole);
    add_day_fraction(r, frac);
  } else if (u->field == 'w') {
    add_scaled(r, &r->days, whole, 7);
    add_day_fraction(r, frac * 7);
  } else if (u->worth == 1) {
    add(r, &r->months, whole);
    add_day_fraction(r, frac * 30);
  } else {
    add_scaled(r, &r->months, whole, u->worth);
    add(r, &r->months, (int64_t)rint(frac * (double)u->worth));
  }
}

/* H:MM[:SS[.ffffff]] after its hours; the sign is that of the hours. */
static int read_clock(reader *r, const number *hours) {
  number min, sec = {0};
  if (hours->frac_nano || !more(r) || !is_digit(*r->p) || !read_number(r, &min)) return 0;
  int two = more(r) && *r->p == ':';
  if (two) {
    r->p++;
    if (min.frac_nano || !more(r) || !is_digit(*r->p) || !read_number(r, &sec)) return 0;
  } else if (min.frac_nano) { /* 12:34.5 is minutes and seconds */
    return 0;
  }
  if (min.whole > 59 || sec.whole > 60) {
    r->overflow = 1;
    return 1;
  }
  /* counted downwards: the most negative time has no positive twin */
  int64_t t = 0;
  add_scaled(r, &t, hours->whole, INT64_C(-3600000000));
  add_scaled(r, &t, min.whole, -60000000);
  add_scaled(r, &t, sec.whole, -1000000);
  add(r, &t, -((sec.frac_nano + 500) / 1000));
  if (hours->negative) add(r, &r->usec, t);
  else if (t == INT64_MIN) r->overflow = 1;
  else add(r, &r->usec, -t);
  return 1;
}

/* Years and months, "1-2": the sign is that of the years. */
static int read_years(reader *r, const number *years) {
  number months;
  if (years->frac_nano || !more(r) || !is_digit(*r->p) || !read_number(r, &months) || months.frac_nano) return 0;
  int64_t n = 0;
  if (months.whole > 11) r->overflow = 1;
  add_scaled(r, &n, years->whole, 12);
  add(r, &n, months.whole);
  add(r, &r->months, years->negative ? -n : n);
  return 1;
}

/* Whether a time of day is next: [+-]H:... */
static int is_before_clock(const reader *r) {
  const char *p = r->p;
  if (p < r->end && (*p == '-' || *p == '+')) p++;
  const char *digits = p;
  while (p < r->end && is_digit(*p)) p++;
  return p > digits && p < r->end && *p == ':';
}

/* A list of amounts: "1 year 2 mons -3 days 04:05:06". */
static int read_list(reader *r) {
  int any = 0;
  for (skip_blanks(r); more(r) && !is_letter(*r->p); skip_blanks(r)) {
    number n;
    if (!read_number(r, &n)) return 0;
    if (more(r) && (*r->p == ':' || *r->p == '-')) {
      int is_clock = *r->p++ == ':';
      if (!(is_clock ? read_clock(r, &n) : read_years(r, &n))) return 0;
    } else {
      skip_blanks(r);
      const char *word = r->p;
      while (more(r) && is_letter(*r->p)) r->p++;
      /* without a unit: seconds at the end, before a time of day days */
      int bare = word == r->p;
      if (bare && more(r) && !is_before_clock(r)) return 0;
      const unit *u = bare ? &units[more(r) ? 5 : 2] : find_unit(word, (size_t)(r->p - word));
      if (!u) return 0;
      add_amount(r, &n, u);
    }
    any = 1;
  }
  return any;
}

/* After the P of an ISO 8601 duration. */
static int read_iso(reader *r) {
  int any = 0, in_time = 0;
  while (more(r)) {
    if (!in_time && *r->p == 'T') {
      in_time = 1;
      r->p++;
      continue;
    }
    number n;
    if (!read_number(r, &n) || !more(r)) return 0;
    const char *letters = in_time ? "HMS" : "YMWD", *at = strchr(letters, *r->p++);
    if (!at || !*at) return 0;
    static const unsigned char time_units[] = {4, 3, 2}, date_units[] = {8, 7, 6, 5};
    add_amount(r, &n, &units[in_time ? time_units[at - letters] : date_units[at - letters]]);
    any = 1;
  }
  return any;
}

static int take_word(reader *r, const char *word) {
  size_t n = strlen(word);
  if ((size_t)(r->end - r->p) != n) return 0;
  for (size_t i = 0; i < n; i++)
    if ((r->p[i] | 0x20) != word[i]) return 0;
  r->p += n;
  return 1;
}

static int read_infinity(reader *r, fpg_interval *out) {
  int negative = more(r) && *r->p == '-';
  if (more(r) && (*r->p == '-' || *r->p == '+')) r->p++;
  if (!take_word(r, "infinity")) return 0;
  out->usec = negative ? INT64_MIN : INT64_MAX;
  out->days = out->months = negative ? INT32_MIN : INT32_MAX;
  out->number = 0;
  return 1;
}

static int fits32(int64_t v) { return v >= INT32_MIN && v <= INT32_MAX; }

/* IntervalStyle sql_standard: "1-2", "3 4:05:06", "4:05:06", the sign before the first that of all; with signs of
 * its own for each field "+1-2 -3 +4:05:06".  (Its "0" is read as every number without a unit.) */
static int read_sql(reader *r) {
  number first, n;
  int fields = 1;
  if (!read_number(r, &first)) return 0;
  if (more(r) && *r->p == '-') {
    r->p++;
    if (!read_years(r, &first)) return 0;
    if (!more(r)) return 1;
    fields = 3;
    if (!more(r) || *r->p++ != ' ' || !read_number(r, &first)) return 0;
  }
  if (!more(r) || *r->p++ != ' ' || first.frac_nano || !more(r)) return 0;
  int own_sign = *r->p == '+' || *r->p == '-';
  if (own_sign != (fields == 3) || !read_number(r, &n) || !more(r) || *r->p++ != ':') return 0;
  if (!own_sign) n.negative = first.negative;
  add(r, &r->days, first.negative ? -first.whole : first.whole);
  return read_clock(r, &n) && !more(r);
}

static int finish(const reader *r, int sign, fpg_interval *out) {
  int64_t months = r->months * sign, days = r->days * sign;
  if (r->overflow || (sign < 0 && r->usec == INT64_MIN) || !fits32(months) || !fits32(days)) return -1;
  out->months = (int32_t)months;
  out->days = (int32_t)days;
  out->usec = r->usec * sign;
  out->number = fpg_interval_ends(out) != 0;
  return 1;
}

int fpg_interval_read(const char *s, size_t len, fpg_interval *out) {
  reader r = {s, s + len, 0, 0, 0, 0};
  return read_sql(&r) ? finish(&r, 1, out) : fpg_interval_parse(s, len, out);
}

int fpg_interval_parse(const char *s, size_t len, fpg_interval *out) {
  reader r = {s, s + len, 0, 0, 0, 0};
  skip_blanks(&r);
  while (r.end > r.p && is_blank(r.end[-1])) r.end--;
  const char *start = r.p;
  if (read_infinity(&r, out)) return 1;
  r.p = start;
  int ago = 0;
  if (more(&r) && *r.p == 'P') {
    r.p++;
    if (!read_iso(&r)) return 0;
  } else {
    if (more(&r) && *r.p == '@') r.p++;
    if (!read_list(&r)) return 0;
    if (more(&r) && !(ago = take_word(&r, "ago"))) return 0;
  }
  return finish(&r, ago ? -1 : 1, out);
}

/* ---- order -------------------------------------------------------------------------------- */

int fpg_interval_ends(const fpg_interval *v) {
  if (v->usec == INT64_MAX && v->days == INT32_MAX && v->months == INT32_MAX) return 1;
  if (v->usec == INT64_MIN && v->days == INT32_MIN && v->months == INT32_MIN) return -1;
  return 0;
}

int fpg_interval_inf(const fpg_interval *v) { return v->number ? 0 : fpg_interval_ends(v); }

/* A month counts 30 days, a day 24 hours. */
int fpg_interval_cmp(const fpg_interval *a, const fpg_interval *b) {
  int64_t qa = fpg_floor_div(a->usec, FPG_DAY), qb = fpg_floor_div(b->usec, FPG_DAY);
  int64_t da = (int64_t)a->months * 30 + a->days + qa, db = (int64_t)b->months * 30 + b->days + qb;
  int64_t ua = fpg_floor_mod(a->usec, FPG_DAY), ub = fpg_floor_mod(b->usec, FPG_DAY);
  if (da != db || ua != ub) return da != db ? (da > db) - (da < db) : (ua > ub) - (ua < ub);
  return fpg_interval_inf(a) - fpg_interval_inf(b);
}
