/* SPDX-License-Identifier: MIT
 *
 * rows.h: where rows come from.
 *
 * Whoever makes values of rows (result.c, flat.c, heavy.c) asks for the next row, and of it for the next field: pointer and
 * length.  They come out of a PGresult, or were taken off the socket before there was one (taken.h): then the PGresult
 * beside them describes the columns and has no rows.
 */
#ifndef FASTPG_ROWS_H
#define FASTPG_ROWS_H

#include "be.h"
#include "taken.h"

/* Rows that are there: the position can be copied, and gone on from later. */
typedef struct {
  PGresult *res;
  fpg_taken *taken;
  const fpg_chunk *chunk; /* where the next one that was taken lies */
  const char *at;
  int next, nrows; /* the row that fpg_next_row gives, how many there are */
} fpg_rows;

typedef struct {
  const PGresult *res;
  const char *at; /* of one that was taken: the next field */
  int row, col;
} fpg_row;

static inline fpg_rows fpg_rows_of(PGresult *res, fpg_taken *taken) {
  fpg_rows rows = {res, taken, NULL, NULL, 0, taken ? taken->nrows : res ? PQntuples(res) : 0};
  if (rows.nrows && taken) {
    rows.chunk = taken->first;
    rows.at = rows.chunk->data;
  }
  return rows;
}

/* There must be one: next < nrows. */
static inline fpg_row fpg_next_row(fpg_rows *rows) {
  fpg_row row = {rows->res, NULL, rows->next++, 0};
  if (rows->chunk) {
    while (rows->at == rows->chunk->data + rows->chunk->used) {
      rows->chunk = rows->chunk->next;
      rows->at = rows->chunk->data;
    }
    row.at = rows->at + 7; /* its kind, its length, the number of its fields */
    rows->at += 1 + be_u32(rows->at + 1);
  }
  return row;
}

/* The next field of the row and its length; NULL for NULL.  (libpq's accessors check the row and the column each
 * time: a value with bytes is known not to be NULL.) */
static inline const char *fpg_next_field(fpg_row *row, int *len) {
  if (row->at) {
    const char *p = row->at + 4;
    *len = be_i32(row->at);
    if (*len < 0) {
      *len = 0;
      row->at = p;
      return NULL;
    }
    row->at = p + *len;
    return p;
  }
  int col = row->col++;
  *len = PQgetlength(row->res, row->row, col);
  if (*len == 0 && PQgetisnull(row->res, row->row, col)) return NULL;
  return PQgetvalue(row->res, row->row, col);
}

#endif
