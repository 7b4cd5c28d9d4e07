/* SPDX-License-Identifier: MIT
 *
 * notice.h: the server's notices, kept until somebody asks for them.
 */
#ifndef FASTPG_NOTICE_H
#define FASTPG_NOTICE_H

#include "conn.h"

/* Puts a notice into the connection's queue.  Calls no Lua, and raises nothing: libpq is what calls it. */
void fpg_keep_notice(fpg_conn *c, const PGresult *res);

/* Looks whether it says that a commit is on its own server only. */
void fpg_note_commit(fpg_conn *c, const PGresult *res);

void fpg_open_notice(lua_State *L);

#endif
