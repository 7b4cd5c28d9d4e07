/* SPDX-License-Identifier: MIT
 *
 * tz.c: see tz.h.
 *
 * TZif: a header of 44 bytes ("TZif", version, six counts), a block with 32-bit times, and from
 * version 2 on a second header, a block with 64-bit times and a footer: a POSIX rule between two
 * newlines.  A block: times, their types' indexes (a byte each), types of 6 bytes (offset, is it
 * summer, abbreviation), abbreviations, leap seconds, two more lists.  Leap seconds are not
 * counted, as in the server.
 */
#include "tz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "be.h"
#include "datetime.h"

/* ---- files -------------------------------------------------------------------------------- */

static const char *const zone_dirs[] = {"/usr/share/zoneinfo", "/usr/lib/zoneinfo",
                                        "/usr/share/lib/zoneinfo", "/etc/zoneinfo"};

/* Letters, digits, "_+-" and single slashes within: no path leads out of the directory. */
static int name_ok(const char *name) {
  if (!*name || strlen(name) > 100) return 0;
  for (const char *p = name; *p; p++) {
    int letter = (*p | 0x20) >= 'a' && (*p | 0x20) <= 'z', digit = *p >= '0' && *p <= '9';
    if (*p == '/' ? p == name || p[1] == '/' || !p[1] : !letter && !digit && !strchr("_+-", *p))
      return 0;
  }
  return 1;
}

static size_t read_path(const char *path, unsigned char *buf) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return 0;
  struct stat st;
  size_t len = 0;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FPG_TZ_FILE_MAX) {
    ssize_t n;
    while (len < FPG_TZ_FILE_MAX && (n = read(fd, buf + len, FPG_TZ_FILE_MAX - len)) > 0)
      len += (size_t)n;
  }
  close(fd);
  return len;
}

size_t fpg_tz_read_file(const char *name, unsigned char *buf) {
  if (!name_ok(name)) return 0;
  char path[512];
  const char *own = getenv("TZDIR"); /* where it is set, it is the only place, as in the C library */
  const char *const *dirs = own ? &own : zone_dirs;
  size_t len = 0, ndirs = own ? 1 : sizeof zone_dirs / sizeof zone_dirs[0];
  for (size_t i = 0; !len && i < ndirs; i++)
    if (snprintf(path, sizeof path, "%s/%s", dirs[i], name) < (int)sizeof path)
      len = read_path(path, buf);
  return len;
}

typedef struct block {
  const unsigned char *data;
  size_t times, types, chars, width; /* chars: bytes of all names; width of a time: 4 or 8 */
  const unsigned char *footer, *end;
} block;

enum { HEADER = 44 };

static int is_header(const unsigned char *p, size_t len) {
  return len >= HEADER && memcmp(p, "TZif", 4) == 0;
}

/* Bytes of the block behind a header; the counts are 32 bits, the sum fits 64. */
static uint64_t block_size(const unsigned char *h, size_t width) {
  uint64_t isut = be_u32(h + 20), isstd = be_u32(h + 24), leap = be_u32(h + 28),
           times = be_u32(h + 32), types = be_u32(h + 36), chars = be_u32(h + 40);
  return times * (width + 1) + types * 6 + chars + leap * (width + 4) + isstd + isut;
}

static int find_block(const unsigned char *file, size_t len, block *b) {
  if (!is_header(file, len)) return 0;
  const unsigned char *end = file + len;
  b->width = 4;
  uint64_t size = block_size(file, 4);
  if (size > len - HEADER) return 0;
  if (file[4] >= '2') {
    file += HEADER + size;
    if (!is_header(file, (size_t)(end - file))) return 0;
    b->width = 8;
    size = block_size(file, 8);
    if (size > (size_t)(end - file) - HEADER) return 0;
  }
  b->times = be_u32(file + 32);
  b->types = be_u32(file + 36);
  b->chars = be_u32(file + 40);
  b->data = file + HEADER;
  b->footer = b->data + size;
  b->end = end;
  return b->types > 0;
}

size_t fpg_tz_size(const unsigned char *file, size_t len) {
  block b;
  if (!find_block(file, len, &b)) return 0;
  return sizeof(fpg_tz) + b.times * (sizeof(int64_t) + sizeof(int32_t) + FPG_TZ_NAME);
}

static int32_t *tz_offsets(fpg_tz *tz) { return (int32_t *)(tz->at + tz->count); }
static int32_t offset_after(const fpg_tz *tz, size_t i) {
  return ((const int32_t *)(tz->at + tz->count))[i];
}

static char *tz_names(fpg_tz *tz) { return (char *)(tz_offsets(tz) + tz->count); }
static const char *name_after(const fpg_tz *tz, size_t i) {
  return (const char *)((const int32_t *)(tz->at + tz->count) + tz->count) + i * FPG_TZ_NAME;
}

static void copy_name(char out[FPG_TZ_NAME], const char *s, size_t len) {
  if (len >= FPG_TZ_NAME) len = FPG_TZ_NAME - 1;
  memcpy(out, s, len);
  out[len] = 0;
}

/* The name of a type of the block: its list of names holds them each with a zero byte behind. */
static void name_of_type(const block *b, const unsigned char *type, char out[FPG_TZ_NAME]) {
  const char *list = (const char *)(b->data + b->times * (b->width + 1) + b->types * 6);
  size_t at = type[5], n = 0;
  while (at + n < b->chars && list[at + n] && n < FPG_TZ_NAME) n++;
  copy_name(out, at < b->chars ? list + at : "", n);
}

static int parse_posix(const char *s, fpg_tz_rule *rule);

static void read_footer(fpg_tz *tz, const block *b) {
  char text[128];
  const unsigned char *p = b->footer;
  if (b->width != 8 || p == b->end || *p != '\n') return;
  const unsigned char *stop = memchr(p + 1, '\n', (size_t)(b->end - p - 1));
  size_t n = stop ? (size_t)(stop - p - 1) : 0;
  if (n == 0 || n >= sizeof text) return;
  memcpy(text, p + 1, n);
  text[n] = 0;
  if (!parse_posix(text, &tz->rule)) memset(&tz->rule, 0, sizeof tz->rule);
}

int fpg_tz_parse(fpg_tz *tz, const unsigned char *file, size_t len) {
  block b;
  if (!find_block(file, len, &b)) return 0;
  memset(tz, 0, sizeof *tz);
  tz->count = b.times;
  const unsigned char *index = b.data + b.times * b.width, *types = index + b.times;
  for (size_t i = 0; i < b.types; i++) {
    int32_t o = be_i32(types + 6 * i);
    if (o <= -FPG_OFFSET_END * 2 || o >= FPG_OFFSET_END * 2) return 0;
  }
  for (size_t i = 0; i < b.times; i++) {
    tz->at[i] = b.width == 8 ? be_i64(b.data + 8 * i) : be_i32(b.data + 4 * i);
    if (index[i] >= b.types || (i && tz->at[i] <= tz->at[i - 1])) return 0;
    tz_offsets(tz)[i] = be_i32(types + 6 * index[i]);
    name_of_type(&b, types + 6 * index[i], tz_names(tz) + i * FPG_TZ_NAME);
  }
  tz->first = be_i32(types);
  name_of_type(&b, types, tz->first_name);
  read_footer(tz, &b);
  return 1;
}

/* ---- POSIX rules -------------------------------------------------------------------------- */

static int is_digit(char c) { return c >= '0' && c <= '9'; }
static int is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

/* A name of three letters or more, or anything in angle brackets. */
static const char *take_name(const char *s, char out[FPG_TZ_NAME]) {
  const char *start = s;
  if (*s == '<') {
    while (*s && *s != '>') s++;
    copy_name(out, start + 1, *s ? (size_t)(s - start - 1) : 0);
    return *s ? s + 1 : NULL;
  }
  while (is_letter(*s)) s++;
  copy_name(out, start, (size_t)(s - start));
  return s - start >= 3 ? s : NULL;
}

static const char *take_num(const char *s, int least, int most, int *out) {
  int v = 0, n = 0;
  for (; is_digit(*s) && n < 4; n++) v = v * 10 + (*s++ - '0');
  *out = v;
  return n && v >= least && v <= most ? s : NULL;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static const char *take_hms(const char *s, int max_hours, int32_t *out) {
  int h, m = 0, sec = 0, negative = *s == '-';
  if (*s == '-' || *s == '+') s++;
  if (!(s = take_num(s, 0, max_hours, &h))) return NULL;
  if (*s == ':' && !(s = take_num(s + 1, 0, 59, &m))) return NULL;
  if (*s == ':' && !(s = take_num(s + 1, 0, 59, &sec))) return NULL;
  *out = (negative ? -1 : 1) * (h * 3600 + m * 60 + sec);
  return s;
}

static const char *take_day(const char *s, fpg_tz_day *d) {
  int a, b, c;
  memset(d, 0, sizeof *d);
  d->time = 7200;
  d->form = *s == 'M' || *s == 'J' ? *s++ : '0';
  if (d->form == 'M') {
    if (!(s = take_num(s, 1, 12, &a)) || *s++ != '.' || !(s = take_num(s, 1, 5, &b)) ||
        *s++ != '.' || !(s = take_num(s, 0, 6, &c)))
      return NULL;
    d->month = (int16_t)a, d->week = (int16_t)b, d->day = (int16_t)c;
  } else {
    if (!(s = take_num(s, d->form == 'J', 365, &a))) return NULL;
    d->day = (int16_t)a;
  }
  return *s == '/' ? take_hms(s + 1, 167, &d->time) : s;
}

static int parse_posix(const char *s, fpg_tz_rule *rule) {
  memset(rule, 0, sizeof *rule);
  if (!(s = take_name(s, rule->std_name)) || !(s = take_hms(s, 24, &rule->std))) return 0;
  rule->std = -rule->std;
  rule->kind = 1;
  if (!*s) return 1;
  if (!(s = take_name(s, rule->dst_name))) return 0;
  rule->kind = 2;
  rule->dst = rule->std + 3600;
  if (*s && *s != ',') {
    if (!(s = take_hms(s, 24, &rule->dst))) return 0;
    rule->dst = -rule->dst;
  }
  if (!*s) s = ",M3.2.0,M11.1.0"; /* the server's default, the rule of the United States */
  if (*s++ != ',' || !(s = take_day(s, &rule->start))) return 0;
  if (*s++ != ',' || !(s = take_day(s, &rule->end))) return 0;
  return *s == 0;
}

static int is_utc_name(const char *s) {
  static const char *const names[] = {"UTC", "GMT", "Z", "UCT", "ETC/UTC", "ETC/GMT"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *p = s, *n = names[i];
    while (*n && *n == (*p >= 'a' && *p <= 'z' ? *p - 0x20 : *p)) n++, p++;
    if (!*n && !*p) return 1;
  }
  return 0;
}

/* Zones of a name that is a rule, too, but that have a history in their files. */
static int has_history(const char *name) {
  static const char *const names[] = {"EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(name, names[i]) == 0) return 1;
  return 0;
}

int fpg_tz_form(fpg_tz *tz, const char *name) {
  memset(tz, 0, sizeof *tz);
  if (has_history(name)) return 0;
  if (is_utc_name(name)) {
    tz->rule.kind = 1;
    return 1;
  }
  if (*name == '+' || *name == '-') {
    const char *end = take_hms(name, 15, &tz->rule.std);
    tz->rule.kind = 1;
    tz->first = tz->rule.std;
    return end && !*end;
  }
  int ok = parse_posix(name, &tz->rule);
  tz->first = tz->rule.std;
  return ok;
}

/* ---- look-up ------------------------------------------------------------------------------ */

/* The instant of a rule's day in a year, as if local time were UTC. */
static int64_t day_of_year(const fpg_tz_day *d, int64_t year) {
  int64_t days = fpg_days_from_ymd(year, 1, 1);
  if (d->form == 'M') {
    days = fpg_days_from_ymd(year, d->month, 1);
    int ahead = d->day - fpg_weekday(days);
    int day = 1 + (ahead < 0 ? ahead + 7 : ahead) + 7 * (d->week - 1);
    while (day > fpg_days_in_month(year, d->month)) day -= 7;
    days += day - 1;
  } else if (d->form == 'J') {
    days += d->day - 1;
    if (d->day >= 60 && fpg_days_in_month(year, 2) == 29) days++;
  } else {
    days += d->day;
  }
  return days * 86400 + FPG_UNIX_EPOCH + d->time;
}

/* The changes of the years around t in order of time: two for each of `years` years. */
enum { AROUND = 3 };

static void rule_changes(const fpg_tz_rule *r, int64_t t, fpg_tz_change *out) {
  int64_t year;
  int month, day;
  fpg_ymd_from_days(fpg_floor_div(t - FPG_UNIX_EPOCH, 86400), &year, &month, &day);
  for (int i = 0; i < AROUND; i++) {
    fpg_tz_change on = {r->std, day_of_year(&r->start, year + i - 1) - r->std, r->dst};
    fpg_tz_change off = {r->dst, day_of_year(&r->end, year + i - 1) - r->dst, r->std};
    int start_first = on.at < off.at;
    out[2 * i] = start_first ? on : off;
    out[2 * i + 1] = start_first ? off : on;
  }
  /* a year's last change may fall on the next one's first; the later one of the list holds */
}

/* The rule's state at t and its next change. */
static void rule_next(const fpg_tz_rule *r, int64_t t, fpg_tz_change *out) {
  fpg_tz_change around[2 * AROUND];
  rule_changes(r, t, around);
  int i = 0;
  while (i < 2 * AROUND && around[i].at <= t) i++;
  *out = around[i < 2 * AROUND ? i : 2 * AROUND - 1];
}

/* How many changes of the table lie at or before t. */
static size_t table_position(const fpg_tz *tz, int64_t t) {
  size_t low = 0, high = tz->count;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (tz->at[mid] <= t) low = mid + 1;
    else high = mid;
  }
  return low;
}

static int32_t rule_offset(const fpg_tz_rule *r, int64_t t) {
  if (r->kind == 1) return r->std;
  fpg_tz_change c;
  rule_next(r, t, &c);
  return c.before;
}

/* In the year around t, which of the two holds. */
static const char *rule_name(const fpg_tz_rule *r, int64_t t) {
  if (r->kind == 1 || rule_offset(r, t) == r->std) return r->std_name;
  return r->dst_name;
}

const char *fpg_tz_name(const fpg_tz *tz, int64_t t) {
  size_t i = table_position(tz, t);
  if (i == tz->count && tz->rule.kind) return rule_name(&tz->rule, t);
  return i == 0 ? tz->first_name : name_after(tz, i - 1);
}

int32_t fpg_tz_offset(const fpg_tz *tz, int64_t t) {
  size_t i = table_position(tz, t);
  if (i == tz->count && tz->rule.kind) return rule_offset(&tz->rule, t);
  return i == 0 ? tz->first : offset_after(tz, i - 1);
}

int fpg_tz_next(const fpg_tz *tz, int64_t t, fpg_tz_change *out) {
  size_t i = table_position(tz, t);
  out->before = fpg_tz_offset(tz, t);
  if (i < tz->count) {
    out->at = tz->at[i];
    out->after = fpg_tz_offset(tz, out->at);
    return 1;
  }
  if (tz->rule.kind != 2) return 0;
  rule_next(&tz->rule, t, out);
  return 1;
}

int32_t fpg_tz_local(const fpg_tz *tz, int64_t local) {
  fpg_tz_change c;
  if (!fpg_tz_next(tz, local - 86400, &c)) return c.before;
  int64_t before = local - c.before, after = local - c.after;
  if (before < c.at && after < c.at) return c.before;
  if (before > c.at && after >= c.at) return c.after;
  return before > after ? c.before : c.after;
}
