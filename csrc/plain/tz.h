/* SPDX-License-Identifier: MIT
 *
 * tz.h: time zones: the system's TZif files (RFC 8536) and POSIX rules.
 *
 * A zone is one block of memory: this header, then `count` instants, `count` offsets, `count` names.  Times
 * are Unix seconds, offsets seconds east of UTC.  Before the first instant `first` holds; after the
 * last the rule of the file's footer, where there is one.
 */
#ifndef FASTPG_TZ_H
#define FASTPG_TZ_H

#include <stddef.h>
#include <stdint.h>

/* A day of the year and a time of that day. */
typedef struct fpg_tz_day {
  char form; /* 'J' 1..365 without leap days, '0' 0..365, 'M' month.week.weekday */
  int16_t month, week, day;
  int32_t time; /* seconds, -167..167 hours */
} fpg_tz_day;

enum { FPG_TZ_NAME = 12 }; /* of an abbreviation, "CEST", with its end: what is longer is cut off */

typedef struct fpg_tz_rule {
  int kind; /* 0 none, 1 one offset, 2 summer and winter */
  int32_t std, dst;
  fpg_tz_day start, end;
  char std_name[FPG_TZ_NAME], dst_name[FPG_TZ_NAME];
} fpg_tz_rule;

typedef struct fpg_tz {
  size_t count;
  int32_t first;
  char first_name[FPG_TZ_NAME];
  fpg_tz_rule rule;
  int64_t at[]; /* the offsets and names follow: see tz_offsets */
} fpg_tz;

typedef struct fpg_tz_change {
  int32_t before;
  int64_t at;
  int32_t after;
} fpg_tz_change;

/* The largest zone file that is read. */
#define FPG_TZ_FILE_MAX 65536

/* Reads the zone's file into buf (FPG_TZ_FILE_MAX bytes); its length, or 0: no such zone. */
size_t fpg_tz_read_file(const char *name, unsigned char *buf);

/* Bytes a zone made of this file needs, 0 when it is no TZif file; then the zone itself, false
 * when the file is malformed. */
size_t fpg_tz_size(const unsigned char *file, size_t len);
int fpg_tz_parse(fpg_tz *tz, const unsigned char *file, size_t len);

/* A zone by its form: UTC, GMT, Z, "+02", "-03:30" (east of UTC), and POSIX: "<+03>-3",
 * "CET-1CEST,M3.5.0,M10.5.0/3" (west of UTC).  tz needs sizeof(fpg_tz) bytes. */
int fpg_tz_form(fpg_tz *tz, const char *name);

/* The offset at an instant. */
int32_t fpg_tz_offset(const fpg_tz *tz, int64_t t);
/* The abbreviation of the time then: "CEST"; "" where it has none that is known. */
const char *fpg_tz_name(const fpg_tz *tz, int64_t t);
/* The first change after t; false when there is none, `before` is set all the same. */
int fpg_tz_next(const fpg_tz *tz, int64_t t, fpg_tz_change *out);
/* The offset for what a clock of the zone shows (seconds as if it were UTC), as the server
 * resolves it: a time that does not exist takes the offset before the change, one that exists
 * twice the one after it. */
int32_t fpg_tz_local(const fpg_tz *tz, int64_t local);

#endif
