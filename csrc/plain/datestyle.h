/* SPDX-License-Identifier: MIT
 *
 * datestyle.h: the server's text of dates and timestamps under every DateStyle.
 */
#ifndef FASTPG_DATESTYLE_H
#define FASTPG_DATESTYLE_H

#include "datetime.h"
#include "tz.h"

/* What the styles SQL and Postgres put first where both are numbers; UNKNOWN where the style was not known, or
 * changed while the statement ran. */
enum { FPG_ORDER_UNKNOWN, FPG_ORDER_MONTH, FPG_ORDER_DAY };

/* A parse function's answer beside 1, 0 and -1: the text has two meanings. */
enum { FPG_AMBIGUOUS = 2 };

/* Each reads the text whole, whatever style it has. */
int fpg_date_read(const char *s, size_t len, int order, int32_t *out);
int fpg_ts_read(const char *s, size_t len, int order, int64_t *out);

/* An instant, and the offset that the text says.  Styles other than ISO name the zone by an abbreviation: `zone` is the session's (NULL where it is
 * not known, or changed while the statement ran). */
int fpg_tstz_read(const char *s, size_t len, int order, const fpg_tz *zone, int64_t *out, int32_t *offset);

#endif
