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

#endif
