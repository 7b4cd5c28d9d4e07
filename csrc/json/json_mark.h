/* SPDX-License-Identifier: MIT
 *
 * json_mark.h: values that mark what Lua has no value for: arrays, null, JSON text as it stands; and errors.
 */
#ifndef FASTPG_JSON_MARK_H
#define FASTPG_JSON_MARK_H

#include "compat.h"

#define FPG_JSON_TEXT_MT "fastpg.json_text"

typedef struct fpg_json_raw { /* fastpg.json_text */
  size_t len;
  char text[1];
} fpg_json_raw;

/* Pushes a fastpg.json_text of what is known to be JSON. */
void fpg_json_push_raw(lua_State *L, const char *s, size_t len);

/* Raises the message, which may be on the stack. */
int fpg_json_raise(lua_State *L, const char *name, int blame, const char *message);

/* The string that is the first argument of the function of that name. */
const char *fpg_json_check_text(lua_State *L, const char *what, size_t *len);

void fpg_push_array_mt(lua_State *L);
void fpg_push_json_null(lua_State *L);

/* True for the metatable at idx when it marks arrays: ours, the one in use, or one that says
 * __jsontype = "array". */
int fpg_is_array_mt(lua_State *L, int idx);

#endif
