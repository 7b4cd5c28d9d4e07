/* SPDX-License-Identifier: MIT
 *
 * taken.c: see taken.h.
 */
#include "taken.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "be.h"

enum {
  HEADER = 5,         /* the kind of a message, and its length from there on */
  CHUNK = 128 << 10,
  LEAST_ROOM = 4096   /* what is worth a system call */
};

/* ---- chunks --------------------------------------------------------------------------------- */

/* One lies ready: memory of that size is dear to get (glibc puts all of its small free blocks together at each such call), and cold.
 * Several Lua states may be at it. */
static fpg_chunk *_Atomic spare;

static fpg_chunk *new_chunk(size_t least) {
  size_t cap = least > CHUNK ? least : CHUNK;
  fpg_chunk *c = cap == CHUNK ? atomic_exchange(&spare, NULL) : NULL;
  if (!c) c = malloc(sizeof *c + cap);
  if (!c) return NULL;
  c->next = NULL;
  c->used = 0;
  c->cap = cap;
  return c;
}

static void free_chunk(fpg_chunk *c) { free(c->cap == CHUNK ? atomic_exchange(&spare, c) : c); }

/* ---- rows ----------------------------------------------------------------------------------- */

fpg_taken *fpg_taken_new(int ncols) {
  fpg_taken *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->refs = 1;
  t->ncols = ncols;
  return t;
}

void fpg_taken_drop(fpg_taken *t) {
  if (!t || --t->refs) return;
  for (fpg_chunk *c = t->first, *next; c; c = next) {
    next = c->next;
    free_chunk(c);
  }
  PQclear(t->end);
  free(t);
}

static size_t message_size(const char *p) { return 1 + (size_t)be_u32(p + 1); }

/* What the row under way takes in all, as far as that is known. */
static size_t open_size(const fpg_taken *t) {
  const fpg_chunk *last = t->last;
  return last->used - t->whole < HEADER ? HEADER : message_size(last->data + t->whole);
}

/* A chunk for at least so many bytes: the last one from here on, with the beginning of the row under way. */
static fpg_chunk *add_chunk(fpg_taken *t, size_t least) {
  fpg_chunk *c = new_chunk(least), *last = t->last;
  if (!c) return NULL;
  if (last) {
    c->used = last->used - t->whole;
    memcpy(c->data, last->data + t->whole, c->used);
    last->used = t->whole;
    last->next = c;
  } else {
    t->first = c;
  }
  t->last = c;
  t->whole = 0;
  t->bytes += c->cap;
  return c;
}

char *fpg_taken_room(fpg_taken *t, size_t *room) {
  fpg_chunk *c = t->last;
  size_t need = c ? open_size(t) : 0;
  if (!c || t->whole + need > c->cap || c->cap - c->used < (need > LEAST_ROOM ? 1 : LEAST_ROOM)) {
    c = add_chunk(t, need + LEAST_ROOM);
    if (!c) return NULL;
  }
  *room = c->cap - c->used;
  return c->data + c->used;
}

/* Whether the fields of a row are within it, and it has no more. */
static int is_row(const char *p, size_t len, int ncols) {
  const char *end = p + len;
  p += HEADER;
  if (end - p < 2 || be_u16(p) != ncols) return 0;
  p += 2;
  for (int i = 0; i < ncols; i++) {
    if (end - p < 4) return 0;
    int32_t n = be_i32(p);
    p += 4;
    if (n < -1 || n > end - p) return 0;
    if (n > 0) p += n;
  }
  return p == end;
}

/* Goes from one whole row to the next, from p to before `end`; counts them.  NULL where one is none. */
static const char *walk(const fpg_taken *t, const char *p, const char *end, int *rows) {
  while (end - p >= HEADER && *p == 'D') {
    size_t len = message_size(p);
    if (len > INT_MAX || len < HEADER + 2) return NULL;
    if ((size_t)(end - p) < len) break;
    if (!is_row(p, len, t->ncols)) return NULL;
    ++*rows;
    p += len;
  }
  return p;
}

int fpg_taken_look(const fpg_taken *t, size_t n, fpg_span *span) {
  const fpg_chunk *c = t->last;
  const char *came = c->data + c->used, *end = came + n;
  span->rows = 0;
  const char *p = walk(t, c->data + t->whole, end, &span->rows);
  if (!p || span->rows > INT_MAX - t->nrows) return 0;
  span->whole = (size_t)(p - c->data);
  span->bytes = (size_t)((p < end && *p == 'D' ? end : p) - came);
  return 1;
}

void fpg_taken_add(fpg_taken *t, const fpg_span *span) {
  t->last->used += span->bytes;
  t->came += span->bytes;
  t->whole = span->whole;
  t->nrows += span->rows;
}

fpg_taken *fpg_taken_split(fpg_taken *t) {
  fpg_taken *whole = fpg_taken_new(t->ncols);
  if (!whole) return NULL;
  fpg_chunk *last = t->last;
  fpg_taken rest = {.refs = t->refs, .ncols = t->ncols, .first = last, .last = last, .whole = t->whole};
  if (!add_chunk(&rest, last->used - t->whole + LEAST_ROOM)) {
    fpg_taken_drop(whole);
    return NULL;
  }
  last->next = NULL;
  whole->nrows = t->nrows;
  whole->first = t->first;
  whole->last = last;
  whole->whole = last->used;
  whole->bytes = t->bytes;
  rest.first = rest.last;
  rest.bytes = rest.last->cap;
  *t = rest;
  return whole;
}

void fpg_take_forget(fpg_take *t) {
  fpg_taken_drop(t->rows);
  free(t->description);
  free(t->aside);
  memset(t, 0, sizeof *t);
}
