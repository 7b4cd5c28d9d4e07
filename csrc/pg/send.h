/* SPDX-License-Identifier: MIT
 *
 * send.h: what is sent to the server.
 */
#ifndef FASTPG_SEND_H
#define FASTPG_SEND_H

#include "conn.h"

/* Hands one text to libpq by the simple protocol. */
void fpg_send_simple(lua_State *L, fpg_conn *c, const char *sql);

#endif
