/* SPDX-License-Identifier: MIT
 *
 * taken.h: rows that were taken off the socket, before libpq would have made a result of them (take.h).
 *
 *   taken ──▶ chunk ──▶ chunk ──▶ chunk        each: DataRow messages as they came, whole, one behind the other;
 *                                              in the last one, behind `whole`, the beginning of the next
 *
 * A row never lies in two chunks; one that is longer than a chunk has its own.  What is counted in nrows was looked through
 * once: its fields are within it.  Whoever reads the fields needs no further look.
 *
 * PostgreSQL manual: "Message Formats" (DataRow).
 */
#ifndef FASTPG_TAKEN_H
#define FASTPG_TAKEN_H

#include <libpq-fe.h>
#include <stddef.h>

typedef struct fpg_chunk {
  struct fpg_chunk *next;
  size_t used, cap;
  char data[];
} fpg_chunk;

typedef struct fpg_taken {
  int refs; /* holders, all of one Lua state */
  int ncols, nrows;
  fpg_chunk *first, *last;
  size_t whole, bytes; /* of the last chunk: in whole rows; of all chunks */
  size_t came;         /* bytes of rows */
  PGresult *end;       /* what libpq has made of the rest: the command tag is in it */
} fpg_taken;

/* Without rows yet; NULL where there is no memory. */
fpg_taken *fpg_taken_new(int ncols);

/* One holder less: the last one frees it. */
void fpg_taken_drop(fpg_taken *t);

/* Where the next bytes of rows go, and how many have room there, at least one; NULL where there is no memory. */
char *fpg_taken_room(fpg_taken *t, size_t *room);

/* What of the bytes in the room is of rows. */
typedef struct {
  size_t bytes, whole; /* of rows, also of the one under way; up to the end of the last whole one, in the chunk */
  int rows;            /* whole ones that they make */
} fpg_span;

/* Looks through the n bytes that lie in the room: what comes behind the span is another message.  False where a row is none. */
int fpg_taken_look(const fpg_taken *t, size_t n, fpg_span *span);

/* The span is taken. */
void fpg_taken_add(fpg_taken *t, const fpg_span *span);

/* Whether a row has begun that is not whole. */
static inline int fpg_taken_is_open(const fpg_taken *t) { return t->last && t->last->used > t->whole; }

/* Moves what is whole into a new one, which has an own holder: this one goes on with the row under way.  NULL where there is no
 * memory. */
fpg_taken *fpg_taken_split(fpg_taken *t);

/* ---- how it comes to them (take.h) ---------------------------------------------------------- */

enum { FPG_TAKE_NOTHING, FPG_TAKE_HEAD, FPG_TAKE_ROWS, FPG_TAKE_OVER };

typedef struct {
  int at;            /* FPG_TAKE_*: how the answer begins, its rows, what is behind them */
  size_t sure;       /* so many bytes will most likely be of rows */
  int dropping;      /* there was no memory for rows */
  fpg_taken *rows;
  char *description; /* the RowDescription, of so many bytes */
  size_t size;
  char header[5];    /* of a message between the rows: so much of it has come, and is left */
  int have;
  size_t left;
  char *aside;       /* those messages */
  size_t aside_len, aside_cap;
} fpg_take;

/* Whether what the socket has may be rows, which libpq is not to see. */
static inline int fpg_take_is_on(const fpg_take *t) { return t->at == FPG_TAKE_HEAD || t->at == FPG_TAKE_ROWS; }

/* What is taken and not handed out is of no use any more. */
void fpg_take_forget(fpg_take *t);

#endif
