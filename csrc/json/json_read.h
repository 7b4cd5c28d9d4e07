/* SPDX-License-Identifier: MIT
 *
 * json_read.h: JSON text to a Lua value.
 *
 * null is fastpg.null inside a document and fastpg.json_null as a whole document; an array carries
 * the array metatable; a number that no Lua number holds is a fastpg.numeric.
 *
 * Reading loses nothing and takes every document of the server's: \u0000 is a zero byte, half a
 * surrogate pair the three bytes that UTF-8 would have for it, and both are written back as they came;
 * a number beyond numeric's range, and what is nested deeper than FPG_JSON_DEPTH, is a
 * fastpg.json_text of itself.
 */
#ifndef FASTPG_JSON_READ_H
#define FASTPG_JSON_READ_H

#include "compat.h"

/* Pushes the value of the document s; `what` begins the message of an error ("json").  `blame`: the
 * error names the line of the Lua code that called the running C function. */
void fpg_json_read(lua_State *L, const char *what, int blame, const char *s, size_t len);

/* The same in slices: pushes a reader of the document, whose text must stay where it is; */
void fpg_json_begin(lua_State *L, const char *what, const char *s, size_t len);

/* goes on with the reader at idx (which is absolute) until that time of the clock: true when it is at the end, and the
 * value pushed; else nothing is.  After an error it is of no use any more. */
int fpg_json_more(lua_State *L, int idx, double ends);

#endif
