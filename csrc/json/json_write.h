/* SPDX-License-Identifier: MIT
 *
 * json_write.h: a Lua value to JSON text.
 */
#ifndef FASTPG_JSON_WRITE_H
#define FASTPG_JSON_WRITE_H

#include "buffer.h"

/* Appends the value at idx as JSON.  Errors begin with "$2: " when param is 2, with nothing when it
 * is 0, and are blamed as above when it is negative.  strict: strings must be text to the server. */
void fpg_json_write(lua_State *L, int idx, int param, int strict, fpg_buf *out);

#endif
