/* SPDX-License-Identifier: MIT
 *
 * recent.h: which of a connection's prepared statements was used longest ago.
 *
 * Each statement that is kept has a place, a number from 1: a node of a ring in which the one used last stands behind
 * the head (place 0), the one used longest ago before it.  Noting a use, and finding the oldest, takes a few steps,
 * however many there are.  Places are numbers, never pointers: a statement may be collected at any time.
 *
 *   head (0) ⇄ used last ⇄ … ⇄ used longest ago ⇄ head        free places: a list by `next`, which ends with 0
 */
#ifndef FASTPG_RECENT_H
#define FASTPG_RECENT_H

#include "buffer.h"

typedef struct {
  fpg_buf *nodes; /* an array of { int newer, older }; the user value of the connection holds it */
  int free;       /* the first free place */
} fpg_recent;

/* A place, as the one used last. */
int fpg_recent_add(lua_State *L, fpg_recent *r);

/* It was used now. */
void fpg_recent_use(fpg_recent *r, int place);

/* The place used longest ago, 0 where there is none. */
int fpg_recent_oldest(const fpg_recent *r);

/* Gives a place back. */
void fpg_recent_remove(fpg_recent *r, int place);

#endif
