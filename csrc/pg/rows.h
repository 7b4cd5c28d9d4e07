/* SPDX-License-Identifier: MIT
 *
 * rows.h: where rows come from.
 *
 * Whoever makes values of rows (result.c, flat.c) asks for the next row, and of it for the next field: pointer and
 * length.  Here they come out of a PGresult; another reader, as of messages that are not in a PGresult yet, has these
 * functions to bring along, and nothing else to change.
 */
#ifndef FASTPG_ROWS_H
#define FASTPG_ROWS_H

#include <libpq-fe.h>

/* Rows that are there: the position can be copied, and gone on from later. */
typedef struct {
  PGresult *res;
  int next, nrows; /* the row that fpg_next_row gives, how many there are */
} fpg_rows;

typedef struct {
  const PGresult *res;
  int row, col;
} fpg_row;

static inline fpg_rows fpg_rows_of(PGresult *res) { return (fpg_rows){res, 0, res ? PQntuples(res) : 0}; }

/* There must be one: next < nrows. */
static inline fpg_row fpg_next_row(fpg_rows *rows) { return (fpg_row){rows->res, rows->next++, 0}; }

/* The next field of the row and its length; NULL for NULL.  (libpq's accessors check the row and the column each
 * time: a value with bytes is known not to be NULL.) */
static inline const char *fpg_next_field(fpg_row *row, int *len) {
  int col = row->col++;
  *len = PQgetlength(row->res, row->row, col);
  if (*len == 0 && PQgetisnull(row->res, row->row, col)) return NULL;
  return PQgetvalue(row->res, row->row, col);
}

#endif
