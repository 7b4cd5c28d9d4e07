/* SPDX-License-Identifier: MIT
 *
 * copy_end.h: whether the server has ended a COPY, which libpq does not tell.
 */
#ifndef FASTPG_COPY_END_H
#define FASTPG_COPY_END_H

#include "conn.h"

/* To be called before libpq reads while a COPY is under way: sets copy_ended.  Gives whether there is anything to read. */
int fpg_look_for_end(fpg_conn *c);

#endif
