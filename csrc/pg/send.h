/* SPDX-License-Identifier: MIT
 *
 * send.h: what is sent to the server.
 */
#ifndef FASTPG_SEND_H
#define FASTPG_SEND_H

#include "conn.h"

/* Hands one text to libpq by the simple protocol. */
void fpg_send_simple(lua_State *L, fpg_conn *c, const char *sql);

/* Sends the statement with n arguments: those of the list at that index, or where that is 0 those on the stack from
 * `first` on.  About how many bytes that are. */
size_t fpg_send_args(lua_State *L, fpg_conn *c, fpg_stmt *st, int list, int first, int n);

#endif
