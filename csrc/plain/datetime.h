/* SPDX-License-Identifier: MIT
 *
 * datetime.h: PostgreSQL's dates and times as numbers, fields and ISO text.
 *
 * As on the wire: a date counts days, a timestamp microseconds from 2000-01-01; a time microseconds
 * from midnight (24:00:00 is legal); a timetz adds its offset, here in seconds *east* of UTC (the
 * wire's is west).  Years are astronomical inside (0 is 1 BC), in fpg_fields as the server and
 * make_date show them (-1 is 1 BC, there is no 0).  The calendar is the proleptic Gregorian one.
 * Text functions write at most FPG_DT_TEXT bytes, no terminator, and return the length.  Parse
 * functions return 1, 0 for text they can't read, -1 for a value out of the type's range.
 */
#ifndef FASTPG_DATETIME_H
#define FASTPG_DATETIME_H

#include <stddef.h>
#include <stdint.h>

#define FPG_DT_TEXT 96

#define FPG_DATE_INF INT32_MAX
#define FPG_DATE_NINF INT32_MIN
#define FPG_TS_INF INT64_MAX
#define FPG_TS_NINF INT64_MIN

#define FPG_SEC INT64_C(1000000)
#define FPG_DAY (86400 * FPG_SEC)

/* Seconds from 1970-01-01 to 2000-01-01. */
#define FPG_UNIX_EPOCH INT64_C(946684800)

/* First legal day and timestamp, and the first past the end. */
#define FPG_DATE_MIN (-2451545)
#define FPG_DATE_END 2145031949
#define FPG_TS_MIN INT64_C(-211813488000000000)
#define FPG_TS_END INT64_C(9223371331200000000)
/* The largest offset, exclusive: sixteen hours. */
#define FPG_OFFSET_END 57600

typedef struct fpg_fields {
  int64_t year;
  int month, day, hour, min, sec, usec;
} fpg_fields;

/* ---- calendar ----------------------------------------------------------------------------- */

/* Days since 2000-01-01 of a legal day of the calendar; year astronomical. */
int64_t fpg_days_from_ymd(int64_t year, int month, int day);
void fpg_ymd_from_days(int64_t days, int64_t *year, int *month, int *day);
int fpg_days_in_month(int64_t year, int month);
/* The weekday of a day, 0 = Sunday. */
int fpg_weekday(int64_t days);

static inline int fpg_date_ok(int64_t d) { return d >= FPG_DATE_MIN && d < FPG_DATE_END; }
static inline int fpg_ts_ok(int64_t t) { return t >= FPG_TS_MIN && t < FPG_TS_END; }
static inline int fpg_date_finite(int32_t d) { return d != FPG_DATE_INF && d != FPG_DATE_NINF; }
static inline int fpg_ts_finite(int64_t t) { return t != FPG_TS_INF && t != FPG_TS_NINF; }

/* a / b rounded down, b positive. */
static inline int64_t fpg_floor_div(int64_t a, int64_t b) {
  return a / b - (a % b < 0);
}
/* What that leaves, never negative. */
static inline int64_t fpg_floor_mod(int64_t a, int64_t b) {
  int64_t rest = a % b;
  return rest < 0 ? rest + b : rest;
}

/* Fields of finite values. */
void fpg_date_fields(int32_t date, fpg_fields *f);
void fpg_time_fields(int64_t usec, fpg_fields *f);
void fpg_ts_fields(int64_t ts, fpg_fields *f);

/* Values of fields; false where a field or the result is out of range.  A 60th second counts. */
int fpg_date_make(const fpg_fields *f, int32_t *out);
int fpg_time_make(const fpg_fields *f, int64_t *out);
int fpg_ts_make(const fpg_fields *f, int64_t *out);

/* The day of the fields and a time of that day, up to a day out of range. */
int fpg_clock_make(const fpg_fields *f, int64_t usec, int64_t *out);

/* date + time of day; the infinities stay; false out of range. */
int fpg_ts_from_date(int32_t date, int64_t *out);

/* ---- text --------------------------------------------------------------------------------- */

/* v in decimal, zeros in front up to `width`; returns the end. */
char *fpg_put_digits(char *p, uint64_t v, int width);

size_t fpg_date_text(char *buf, int32_t date);
size_t fpg_time_text(char *buf, int64_t usec);
size_t fpg_timetz_text(char *buf, int64_t usec, int32_t offset);
size_t fpg_ts_text(char *buf, int64_t ts);
/* The instant ts where clocks are `offset` seconds ahead of UTC. */
size_t fpg_tstz_text(char *buf, int64_t ts, int32_t offset);
/* "+05:30" */
size_t fpg_offset_text(char *buf, int32_t offset);

int fpg_date_parse(const char *s, size_t len, int32_t *out);
int fpg_time_parse(const char *s, size_t len, int64_t *out);
/* An offset is read where there is one: *has_offset.  For a timestamp the result is what the
 * clock shows, up to a day out of range: the caller takes the offset off, then asks fpg_ts_ok. */
int fpg_timetz_parse(const char *s, size_t len, int64_t *out, int32_t *offset, int *has_offset);
int fpg_ts_parse(const char *s, size_t len, int64_t *out, int32_t *offset, int *has_offset);

#endif
