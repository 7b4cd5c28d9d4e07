/* SPDX-License-Identifier: MIT
 *
 * take.h: takes rows off the socket before libpq sees them.
 *
 * libpq copies each field of a result twice, into its buffer and into the result, and is done when the last row has come.  Of
 * a statement that gives many rows they are taken here, as they come, and lie where they were received (taken.h):
 *
 *   ParseComplete.. BindComplete RowDescription │ DataRow DataRow … DataRow │ CommandComplete ReadyForQuery
 *                                 taken, looked through                     │ libpq's, as ever
 *
 * libpq is then told of a command that gave no rows, and what it makes of that is put together with the description and the
 * rows (fpg_take_result).  Only its public functions are used.
 *
 * It must never take what is not meant for it.  So:
 *   - a statement alone, by the extended protocol and outside of a pipeline, over a socket without encryption;
 *   - its beginning and end are looked at first and taken then (MSG_PEEK): where what has come does not begin with a BindComplete and a whole
 *     RowDescription, nothing is taken and libpq reads on by itself.  Where libpq still had the beginning of another message in its
 *     buffer (a notification, a notice), the rest of that could not look so: both are texts without zero bytes;
 *   - a message between the rows that is none (a notice, a notification, a report of a setting) is laid aside, and given to
 *     libpq behind them, by a socket that stands in for its own for that moment; so is what was taken of its messages, where a
 *     result is shorter than that of the same statement before;
 *   - anything else ends it: libpq reads from there on.
 *
 * PostgreSQL manual: "Message Flow" (Extended Query), "Message Formats".
 */
#ifndef FASTPG_TAKE_H
#define FASTPG_TAKE_H

#include <libpq-fe.h>

#include "conn.h"

/* The statement that was just sent will give many rows, about so many bytes: they are taken where that can be. */
void fpg_take_begin(fpg_conn *c, size_t bytes);

/* One step: 1 where libpq is to go on, 0 to wait for the socket. */
int fpg_take_step(lua_State *L, fpg_conn *c);

/* The first rows of a stream that have been taken become the finished result; false where there are none. */
int fpg_take_piece(lua_State *L, fpg_conn *c);

/* libpq's result, which it takes, together with the rows that were taken before it. */
fpg_rows fpg_take_result(lua_State *L, fpg_conn *c, PGresult *end);

#endif
