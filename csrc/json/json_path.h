/* SPDX-License-Identifier: MIT
 *
 * json_path.h: where in a document something is, for messages: $.a[3]["b c"].
 */
#ifndef FASTPG_JSON_PATH_H
#define FASTPG_JSON_PATH_H

#include "buffer.h"

/* One step of a path such as $.a[3]["b c"]. */
void fpg_json_path_key(lua_State *L, fpg_buf *b, const char *s, size_t len);
void fpg_json_path_index(lua_State *L, fpg_buf *b, size_t i);
/* Of a path of n steps, whether step i is shown; puts "..." where steps are left out. */
int fpg_json_path_shows(lua_State *L, fpg_buf *b, int i, int n);

#endif
