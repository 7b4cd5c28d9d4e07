/* SPDX-License-Identifier: MIT
 *
 * sql_texts.h: the texts of statements, each built once and kept with its relation.
 *
 * The states of the columns are the statement's *signature*, and the SQL text of a signature is kept under it.  So a
 * row of a known shape costs look-ups and no string building.
 */
#ifndef FASTPG_SQL_TEXTS_H
#define FASTPG_SQL_TEXTS_H

#include "sql_writer.h"

/* Adds to the signature which columns the filters hold, and whether as NULL. */
void fpg_note_filters(lua_State *L, fpg_sql_writer *w);

/* Pushes the SQL kept under the signature, lets the list of arguments know the column of each, and returns 1, or pushes
 * nothing.  `op` is one letter for each statement. */
int fpg_known_sql(lua_State *L, fpg_sql_writer *w, char op);

/* Pushes the text that was built and keeps it under the signature; likewise.  `keyed` and `filtered`: whether the key's
 * values and the filters' are among the arguments. */
void fpg_keep_sql(lua_State *L, fpg_sql_writer *w, int keyed, int filtered);

/* The same of a part of a statement, which says itself what its arguments are. */
void fpg_keep_part(lua_State *L, fpg_sql_writer *w);

#endif
