/* SPDX-License-Identifier: MIT
 *
 * fragment.h: fastpg.sql, a fragment of SQL where a value would be data.
 */
#ifndef FASTPG_FRAGMENT_H
#define FASTPG_FRAGMENT_H

#include <stddef.h>

#define FPG_SQL_MT "fastpg.sql"

/* Its user value is the list of the values that it carries, where it has any. */
typedef struct fpg_sql {
  size_t len;
  int carries;
  char text[1];
} fpg_sql;

#endif
